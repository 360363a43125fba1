#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""container.py TEST [ARGUMENT]...: run a test inside a container of its own, as root, with a real systemd as PID 1.

systemd-nspawn makes the container; where that can't be had or may not, namespaces alone do (unshared).

The container has this machine's /usr and nothing else of it, but for its /usr/local, which is what the build installs:
nothing, where IOREGION_PACKAGES names a folder with packages for the test to install. It has a bus, the accounts below
and those that the installation asks for, and in /rig the source, the build and a folder for what is to be seen from
outside. The test, in Python or any other language, starts all else as units. Says what the test says, as it says it.
"""

import contextlib
import ctypes
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.realpath(f'{os.path.dirname(__file__)}/../..')
BUILD = os.environ.get('IOREGION_BUILD', f'{SOURCE}/build')
BUS = os.environ.get('IOREGION_BUS', 'dbus-daemon')
LIMIT = int(os.environ.get('IOREGION_LIMIT', '90'))  # seconds, for all of it
PATIENCE = 20  # for the end of what has to be ended
PREFIX = os.environ.get('IOREGION_PREFIX', '/usr/local')
PACKAGES = os.environ.get('IOREGION_PACKAGES')
ACCOUNTS = {'root': 0, 'messagebus': 101, 'vmm': 103, 'device': 104, 'qemu': 105, 'stranger': 106, 'nobody': 65534}
GROUPS = {'/dev/kvm': 'kvm:x:{}:qemu', '/dev/ioregionfd': 'ioregion:x:{}:'}  # that device nodes are for
NODES = [node for node in GROUPS if os.path.exists(node)]
NAME = f'ioregion-system-{os.getpid()}'
HIERARCHIES = [path for path in ('/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified') if os.path.isdir(path)] \
    or ['/sys/fs/cgroup']

BUSES = {
    'dbus-daemon': '/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation',
    'dbus-broker': '/usr/bin/dbus-broker-launch --scope system',
}

# The log goes where it can be read afterwards; the journal is for dbus-broker, which does not start without
UNITS = {
    # It boots to no more than the test
    'service.d/rig.conf': '''
[Unit]
DefaultDependencies=no
''',
    'rig.target': '''
[Unit]
DefaultDependencies=no
Wants=rig.service
''',
    'dbus.socket': '''
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
''',
    'dbus.service': f'''
[Unit]
Requires=dbus.socket systemd-journald.socket
After=dbus.socket systemd-journald.socket
[Service]
Type=notify
Sockets=dbus.socket
ExecStart={BUSES[BUS]}
LimitNOFILE=65536
StandardError=append:/rig/out/log
''',
    'rig.service': '''
[Unit]
Requires=dbus.socket
After=dbus.socket
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
Environment={environment}
ExecStart={arguments}
TimeoutStartSec={limit}
StandardOutput=file:/rig/out/said
StandardError=append:/rig/out/log
''',
}


def skip(reason):
    print('1..0 # SKIP', reason)
    sys.exit()


def find_obstacle():
    if os.geteuid() != 0:
        return 'containers need root'
    if not all(os.access(f'{path}/cgroup.procs', os.W_OK) for path in HIERARCHIES):
        return 'no control groups may be made here'
    if PREFIX != '/usr/local':
        return f'the prefix is {PREFIX}; what is below /usr/local is what a container can have of its own'
    return None


def lay_out(directory, arguments):
    """What the container gets of its own."""
    environment = {
        'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin',
        'IOREGION_BUILD': '/rig/build', 'IOREGION_INSTRUMENTED': os.environ.get('IOREGION_INSTRUMENTED', ''),
        'IOREGION_BUS': BUS, 'IOREGION_SEED': os.environ.get('IOREGION_SEED', ''),
        'PYTHONPATH': ':'.join(f'/rig/source/tests/{name}' for name in ('system', 'integration', 'compat', 'lib')),
        'PYTHONDONTWRITEBYTECODE': '1',
    }
    for folder in ('units/service.d', 'out'):
        os.makedirs(f'{directory}/{folder}')
    os.mkfifo(f'{directory}/out/said')
    for name, text in UNITS.items():
        if name == 'rig.service':
            text = text.format(limit=LIMIT - 10, arguments=' '.join(arguments),
                               environment=' '.join(f'{key}={value}' for key, value in environment.items()))
        with open(f'{directory}/units/{name}', 'w') as unit:
            unit.write(text)
    os.makedirs(f'{directory}/root/etc')
    with open(f'{directory}/root/etc/passwd', 'w') as passwd, open(f'{directory}/root/etc/group', 'w') as group:
        for name, number in ACCOUNTS.items():
            passwd.write(f'{name}:x:{number}:{number}::/:/bin/sh\n')
            group.write(f'{name}:x:{number}:\n')
        for node in NODES:
            group.write(GROUPS[node].format(os.stat(node).st_gid) + '\n')
    root = f'{directory}/root'
    if PACKAGES:
        os.makedirs(root + PREFIX)
        return
    for command in (['meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', root],
                    ['systemd-sysusers', f'--root={root}', f'{root}{PREFIX}/lib/sysusers.d/ioregiond.conf']):
        subprocess.run(command, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Groups:
    """Control groups of the container's own, a context: it starts in them, and nothing outlives them."""

    def __init__(self, name):
        self.folders = [f'{path}/{name}' for path in HIERARCHIES]

    def __enter__(self):
        for folder in self.folders:
            os.mkdir(folder)
        return self

    def enter(self):
        for folder in self.folders:
            with open(f'{folder}/cgroup.procs', 'w') as procs:
                procs.write('0')

    def _subfolders(self):
        for folder in self.folders:
            yield from (path for path, _, _ in os.walk(folder, topdown=False))

    def __exit__(self, *error):
        """What is killed takes a moment to go, and may have made more of both meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while any(map(os.path.isdir, self.folders)) and time.monotonic() < deadline:
            for folder in self._subfolders():
                with contextlib.suppress(OSError), open(f'{folder}/cgroup.procs') as procs:
                    for pid in map(int, procs):
                        os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


def launchers(directory):
    """Ways to boot a container, the better one first: each a command, and how it is ended, it and the container."""
    if shutil.which('systemd-nspawn') and not os.environ.get('IOREGION_UNSHARED'):
        # killed, it would leave the container behind
        yield (['systemd-nspawn', '--quiet', '--volatile=yes', '--directory=/', '--boot', '--register=no', '--keep-unit',
                '--private-network', f'--machine={NAME}', '--console=pipe',
                # without these, what units may not do with devices and addresses is not enforced, silently
                '--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON', '--system-call-filter=bpf',
                '--setenv=SYSTEMD_UNIT_PATH=/rig/units:'], signal.SIGTERM)
    os.mkdir(f'{directory}/boot')
    yield [f'{SOURCE}/tests/system/unshared', f'{directory}/boot'], signal.SIGKILL


def boot(directory, groups, launcher, end):
    """The container's exit status, which is that of the test, whether it said anything, and what its console said."""
    binds = [f'--bind={directory}:/rig', f'--bind-ro={BUILD}:/rig/build', f'--bind-ro={SOURCE}:/rig/source',
             f'--bind-ro={directory}/root{PREFIX}:{PREFIX}',
             *([f'--bind-ro={PACKAGES}:/rig/packages', '--bind-ro=/etc:/rig/etc',
                '--bind-ro=/var/lib/dpkg:/rig/dpkg'] if PACKAGES else
               [f'--bind-ro={directory}/root{PREFIX}/share/dbus-1/system.d:/etc/dbus-1/system.d']),
             *(f'--bind-ro={directory}/root/etc/{name}:/etc/{name}' for name in ('passwd', 'group')),
             *(f'--bind={node}' for node in NODES)]
    container = subprocess.Popen(
        [*launcher, *binds, 'systemd.firstboot=no', 'systemd.unit=rig.target', 'systemd.show_status=no'],
        preexec_fn=groups.enter, env={**os.environ, 'SYSTEMD_NSPAWN_UNIFIED_HIERARCHY': '1'},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        said, console = follow(f'{directory}/out/said', container.stdout)
        container.wait(PATIENCE)
    except BaseException:
        end_container(container, end)
        raise
    return container.returncode, said, console


def end_container(container, number):
    """systemd-nspawn passes the first signal on to the container, which does not hear it while it boots: then again."""
    for patience in 2, PATIENCE:
        container.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.communicate(timeout=patience)
            break


def follow(pipe, console):
    """Repeat what is said in a named pipe until the console closes: whether anything was, and what the console said."""
    deadline, said, console_said = time.monotonic() + LIMIT, False, b''
    with selectors.DefaultSelector() as selector, open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), 'rb') as said_pipe:
        for stream in (console, said_pipe):
            selector.register(stream, selectors.EVENT_READ)
        while console in selector.get_map() or said_pipe in selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready:
                raise TimeoutError(f'nothing more after {LIMIT} s')
            for key, _ in ready:
                text = os.read(key.fd, 65536)
                if key.fileobj is said_pipe:
                    said = said or bool(text)
                    sys.stdout.buffer.write(text)
                    sys.stdout.flush()
                console_said += text if key.fileobj is console else b''
                if not text:
                    selector.unregister(key.fileobj)
            if console not in selector.get_map() and not said:
                break  # it did not boot
    return said, console_said.decode(errors='replace')


def read(path):
    with contextlib.suppress(FileNotFoundError), open(path, errors='replace') as file:
        return file.read()
    return None


def interrupt(*arguments):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: now all is ended in order
    raise KeyboardInterrupt


def step_aside():
    """Go on in a process that ends the container in order, whatever ends this one, which passes on how it went.

    meson, for one, has half a second of patience with what it ends, and then kills the group.
    """
    front = os.getpid()
    worker = os.fork()
    if worker:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os.kill(worker, signal.SIGTERM))
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
    signal.signal(signal.SIGTERM, interrupt)
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != front:
        sys.exit(1)


def main():
    obstacle = find_obstacle()
    if obstacle:
        skip(obstacle)
    step_aside()
    test = os.path.relpath(os.path.realpath(sys.argv[1]), SOURCE)
    with tempfile.TemporaryDirectory(prefix='ioregion-system-') as directory, Groups(NAME) as groups:
        os.chmod(directory, 0o755)
        interpreter = ['/usr/bin/python3'] if test.endswith('.py') else []
        lay_out(directory, [*interpreter, f'/rig/source/{test}', *sys.argv[2:]])
        for launcher in launchers(directory):
            status, said, console = boot(directory, groups, *launcher)
            forbidden = re.search('.*(?:not permitted|denied|Failed to mount).*', console)
            if said or not forbidden:
                break
        log = read(f'{directory}/out/log')
        if not said and forbidden:
            skip(f'no container may boot here: {forbidden[0]}')
        if not said or status:
            print(console, log, file=sys.stderr)
        sys.exit(not said or status)


main()
