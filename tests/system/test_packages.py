# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Debian packages, installed by dpkg on a machine that has never heard of them; for packages, in container.py."""

import contextlib
import glob
import json
import os
import pwd
import subprocess
import unittest

import guest
import tap
from host import drop_in, say, systemctl, write
from privatebus import LIMIT

SERVICE = 'ioregiond.service'
PACKAGES = sorted(glob.glob('/rig/packages/*.deb'))
DEVICE = 'ioregion-scratch@load.service'
POLICY = {'version': 1, 'vmms': [{'name': 'load', 'match': {'unit': 'vm@${vm}.service'}, 'vms': ['load']}],
          'devices': [{**guest.RULE, 'match': {'unit': DEVICE}}]}


def run(*command, **keywords):
    """What it says; an error with all that it said where it fails."""
    ended = subprocess.run(command, timeout=2 * LIMIT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           **keywords)
    if ended.returncode:
        raise AssertionError(f'{command}: {ended.returncode}\n{ended.stdout}')
    return ended.stdout


def dpkg(*arguments):
    return run('dpkg', *arguments, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})


def make_writable(path, lower):
    """What is written to there stays in memory."""
    folders = [f'/run/written{path}/{name}' for name in ('upper', 'work')]
    for folder in (path, *folders):
        os.makedirs(folder, exist_ok=True)
    run('mount', '-t', 'overlay', '-o', f'lowerdir={lower},upperdir={folders[0]},workdir={folders[1]}', 'overlay', path)


def read_accounts(path):
    with open(path) as file:
        return {line.split(':')[0]: line for line in file}


def setUpModule():
    """A Debian machine: this machine's /usr, /etc and packages, with the container's accounts beside its own."""
    systemctl('start', 'systemd-journald.service', 'dbus.service')
    accounts = {name: read_accounts(f'/rig/etc/{name}') | read_accounts(f'/etc/{name}') for name in ('passwd', 'group')}
    with open('/etc/machine-id') as file:
        machine = file.read()
    for name in accounts:
        run('umount', f'/etc/{name}')
    make_writable('/etc', '/etc:/rig/etc')
    with open('/etc/machine-id', 'w') as file:
        file.write(machine)  # the journal goes by it
    for name, lines in accounts.items():
        with open(f'/etc/{name}', 'w') as file:
            file.writelines(lines.values())
    make_writable('/usr', '/usr')
    make_writable('/var/lib/dpkg', '/rig/dpkg')
    for folder in ('/var/cache/debconf', '/var/lib/dkms'):
        os.makedirs(folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink('/usr/sbin/policy-rc.d')  # here packages may start services
    Packages.before = find_ours()
    dpkg('--install', *PACKAGES)


def find_ours():
    return run('find', '/etc', '/usr', '/var/lib', '-name', '*ioregion*', '-not', '-path', '/var/lib/dpkg/*')


class Packages(unittest.TestCase):
    """In the order of their names."""

    def test_1_installed_is_running(self):
        self.assertEqual(len(PACKAGES), 7)
        self.assertEqual(say(SERVICE, 'ActiveState'), 'active')
        self.assertEqual(say(SERVICE, 'UnitFileState'), 'enabled')
        process = say(SERVICE, 'MainPID')
        self.assertEqual(os.stat(f'/proc/{process}').st_uid, pwd.getpwnam('ioregion').pw_uid)
        self.assertEqual(os.readlink(f'/proc/{process}/exe'), '/usr/sbin/ioregiond')
        self.assertIn('ioregiond 0', run('ioregionctl', 'version'), 'the bus has its policy')

    def test_2_the_demo(self):
        self.assertIn('checks passed', run('/rig/source/clients/demo/on-systemd'))

    def test_3_a_device_is_built_with_the_library(self):
        flags = run('pkg-config', '--cflags', '--libs', 'libioregion').split()
        run('cc', '-o', '/run/latch', '/rig/source/clients/devices/example-latch.c', *flags)
        self.assertIn('libioregion.so.0 => /', run('ldd', '/run/latch'))

    def test_4_the_module_is_known_to_dkms(self):
        self.assertRegex(run('dkms', 'status', 'ioregionfd'), r'^ioregionfd/\d.*: (?:added|installed)')

    def test_5_an_upgrade_restarts(self):
        """While files change it runs on, and nothing stops it: it is asked to restart."""
        before = say(SERVICE, 'InvocationID')
        package, = (path for path in PACKAGES if '/ioregiond_' in path)
        dpkg('--unpack', package)
        self.assertEqual(say(SERVICE, 'InvocationID'), before)
        self.assertEqual(say(SERVICE, 'ActiveState'), 'active')
        dpkg('--configure', 'ioregiond')
        self.assertNotEqual(say(SERVICE, 'InvocationID'), before)
        self.assertEqual(say(SERVICE, 'ActiveState'), 'active')
        with open('/var/lib/dpkg/info/ioregiond.postinst') as script:
            self.assertIn('_dh_action=restart', script.read())

    def test_6_an_upgrade_under_load(self):
        """VM and device are there as before, with the same processes; the guest goes on and misses nothing."""
        if not guest.has_kvm():
            self.skipTest('no /dev/kvm')
        write('/etc/ioregiond/policy.d/load.json', json.dumps(POLICY))
        self.addCleanup(os.unlink, '/etc/ioregiond/policy.d/load.json')
        drop_in(DEVICE, f'[Service]\nEnvironment=DESCRIPTION={guest.describe("load")}\n')
        systemctl('daemon-reload')
        run('ioregionctl', 'policy', 'reload')
        load = guest.Guest(self.addCleanup, 'keeps', 'load', DEVICE, libexec='/usr/libexec/ioregiond')
        listed, process, broker = run('ioregionctl', 'list'), say(DEVICE, 'MainPID'), say(SERVICE, 'MainPID')
        self.assertRegex(listed, rf'load +scratch0 +{DEVICE} +\S+ +attached')
        dpkg('--install', *(path for path in PACKAGES if '-dkms_' not in path))
        self.assertNotEqual(say(SERVICE, 'MainPID'), broker)
        self.assertEqual(run('ioregionctl', 'list'), listed)
        self.assertEqual([say(DEVICE, name) for name in ('MainPID', 'NRestarts')], [process, '0'])
        for _ in range(2):
            seen = load.look()
            self.assertEqual(seen[1:], (0, 0, 0))
            self.assertGreater(seen.rounds, 0)
        print(f'# {load.seen.rounds} rounds')

    def test_7_removal_and_purge(self):
        names = [os.path.basename(path).split('_')[0] for path in PACKAGES]
        dpkg('--remove', *names)
        self.assertEqual(say(SERVICE, 'ActiveState'), 'inactive')
        self.assertTrue(os.path.exists('/etc/ioregiond/policy.d'), 'what an administrator wrote')
        dpkg('--purge', *names)
        self.assertEqual(find_ours(), self.before)


if __name__ == '__main__':
    tap.main()
