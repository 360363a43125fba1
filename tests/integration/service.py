# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon as a service of a manager that this test plays: it keeps descriptors, and hands them to the next process.

What systemd does beside that is tested with systemd itself, in tests/system.
"""

import array
import fcntl
import io
import os
import random
import select
import shutil
import signal
import socket

import actors
import rig
from daemon import BUILD, SECCOMP
from kernel_vmm import is_handle
from privatebus import LIMIT, die_with_the_test

FIRST_FD = 3  # where the descriptors begin, by sd_listen_fds(3)


class Service:
    def __init__(self, directory, address, *arguments, environment=()):
        self.log_path, self.runtime = f'{directory}/log', f'{directory}/run'
        self.command = [f'{BUILD}/daemon/ioregiond', '--policy', f'{directory}/policy.d', '--seccomp', SECCOMP,
                        *arguments]
        self.environment = {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address, 'NOTIFY_SOCKET': f'{directory}/notify',
                            'RUNTIME_DIRECTORY': self.runtime, **dict(environment)}
        self.store, self.messages = [], []  # pairs of a name and a file; what the daemon said
        self.pid = None
        os.mkdir(self.runtime, 0o700)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f'{directory}/notify')
        actors.puppets.add(self.notify)
        self.start()

    # What a manager does

    def start(self, **environment):
        """A new process, from what is in the store; until it is ready."""
        self.launch(**environment)
        if not self.wait_for(b'READY=1'):
            raise RuntimeError(f'the daemon does not get ready:\n{self.log()}')

    def launch(self, **environment):
        stored = self.store[:]
        random.shuffle(stored)
        environment = {**self.environment, **environment}
        if stored:
            environment |= {'LISTEN_FDS': str(len(stored)), 'LISTEN_FDNAMES': ':'.join(name for name, _ in stored)}
        self.ready = False
        self.pid = os.fork()
        if not self.pid:
            try:
                self._become(stored, environment)
            finally:
                os._exit(127)
        self.pidfd = os.pidfd_open(self.pid)

    def _become(self, stored, environment):
        die_with_the_test()
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        free = FIRST_FD + len(stored)
        for number, fd in enumerate([fcntl.fcntl(fd.fileno(), fcntl.F_DUPFD, free) for _, fd in stored]):
            os.dup2(fd, FIRST_FD + number)
        os.closerange(free, os.sysconf('SC_OPEN_MAX'))
        os.execve(self.command[0], self.command, {**environment, 'LISTEN_PID': str(os.getpid())})

    def _take(self):
        """One message of the daemon."""
        text, control, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(253 * 4))
        fds = array.array('i')
        for _, _, data in control:
            fds.frombytes(data)
        fields = dict(line.split('=', 1) for line in text.decode().splitlines())
        self.messages.append(fields)
        if fields.get('FDSTORE') == '1':
            for fd in fds:
                stored = io.FileIO(fd)
                actors.puppets.add(stored)
                self.store.append((fields['FDNAME'], stored))
        if fields.get('FDSTOREREMOVE') == '1':
            for name, stored in self.store:
                if name == fields['FDNAME']:
                    stored.close()
            self.store = [(name, stored) for name, stored in self.store if name != fields['FDNAME']]
        self.ready |= fields.get('READY') == '1'
        return text

    def pump(self):
        while select.select([self.notify], [], [], 0)[0]:
            self._take()

    def wait_for(self, text):
        """Until the daemon says so; false if it ended instead."""
        while True:
            ready = select.select([self.notify, self.pidfd], [], [], LIMIT)[0]
            if self.notify in ready:
                if text in self._take():
                    return True
            else:
                return False

    def names(self):
        """Of what is kept, but for the kernel's handles, each of which goes by the name of its VM's lease."""
        self.pump()
        return sorted(name for name, stored in self.store if not is_handle('self', stored.fileno()))

    # As rig.Case knows daemons

    def log(self):
        with open(self.log_path, errors='replace') as log:
            return log.read()

    def fds(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def wait(self):
        """Its end, and how: an exit status or a negative signal."""
        if self.pid is None:
            return None
        while not select.select([self.pidfd], [], [], LIMIT)[0]:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = None
        self.pump()
        return status

    def end(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        return self.wait()

    def restart(self, number=signal.SIGKILL, **environment):
        status = self.end(number)
        self.start(**environment)
        return status

    def stop(self):
        """As systemctl stop: nothing of it stays."""
        status = self.end(signal.SIGTERM) if self.pid else 0
        self.empty()
        self.notify.close()
        os.unlink(self.environment['NOTIFY_SOCKET'])
        return status, self.log()

    def empty(self):
        for _, stored in self.store:
            stored.close()
        self.store = []
        shutil.rmtree(self.runtime)

    def state(self):
        """The files there are, by name, but for one that is being written."""
        folder = f'{self.runtime}/vm'
        return sorted(name for name in os.listdir(folder) if not name.startswith('.'))


class Case(rig.Case):
    def start_daemon(self, *arguments, **keywords):
        self.daemon = Service(self.directory, self.bus.address, *arguments, **keywords)
        self.addCleanup(self.stop_daemon)

    def handles(self):
        """The daemon may die; those in its store stay."""
        self.daemon.pump()
        numbers = [stored.fileno() for _, stored in self.daemon.store]
        return {(os.getpid(), number) for number in numbers if is_handle('self', number)}

    def restart(self, number=signal.SIGKILL, **environment):
        status = self.daemon.restart(number, **environment)
        self.assertIn(status, (-number, 0))
        return status

    def everything(self):
        """All that there is to see on the bus."""
        self.wait_until(lambda: self.daemon.ready)
        objects, = self.call(rig.ROOT, 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')
        for interfaces in objects.values():
            interfaces.get('org.ioregion1.Manager', {}).pop('PolicyLoadedUSec', None)
        return objects

    def exchange(self, vmm, device, base=0xd0000000, value=0x5a):
        """The guest reads what the device says, as ever."""
        vmm.command(base, 0, 4)
        device.answer(value)
        self.assertEqual(vmm.response(base).data, value)
