# SPDX-License-Identifier: LGPL-2.1-or-later
"""The broker ends in all the ways that there are, under a real systemd, and guests do not notice; for container.py.

A guest on KVM reads a device that counts, as fast as it goes: an access that is lost, answered twice or wrong shows.
Where there is no KVM, load.c makes the accesses.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import time

import guest
import host
import tap
from host import BUS, MANAGER, POLICY, UNIT, drop_in, journal, say, systemctl, write
from privatebus import BusError, Connection
from program import Program

BROKER = '/usr/local/sbin/ioregiond'
KILLS = 100
RANGE = {'space': 'mmio', 'within': ['0xd0000000', '0xdfffffff']}
RULES = {
    'version': 1,
    'vmms': [{'name': 'root', 'match': {'user': 'root'}, 'vms': ['*']}],
    'devices': [{'name': 'loads', 'match': {'unit': 'vm@*.service'}, 'vms': ['*'], 'regions': [RANGE],
                 'limits': {'regions': 16}, 'on-disconnect': ['ones', 'hold']},
                guest.RULE,
                {'name': 'root', 'match': {'user': 'root'}, 'vms': ['*'], 'regions': [RANGE],
                 'limits': {'regions': 64, 'channels': 64}, 'on-disconnect': ['ones', 'remove']}],
}
LIMITS = {'regions-per-vm': 20000, 'devices-per-unit': 1000, 'attach-rate': '100000/s'}


def setUpModule():
    host.set_up()
    with open(f'{POLICY}/10-fleet.json') as file:
        fleet = json.load(file)
    write(f'{POLICY}/10-fleet.json', json.dumps({**fleet, 'limits': {**fleet['limits'], **LIMITS}}))
    write(f'{POLICY}/30-loads.json', json.dumps(RULES))
    guest.add_template()
    guest.plant_seed()


def start_load(case, *arguments, name='load'):
    load = Program(BUS, 'systemd-run', '--quiet', '--pipe', '--collect', f'--unit=vm@{name}.service', '--uid=qemu',
                   f'--setenv=DBUS_SYSTEM_BUS_ADDRESS={BUS}', '--property=LimitNOFILE=65536',
                   '/rig/build/tests/system/load', *arguments)
    case.addClassCleanup(load.close)
    load.expect('ready')
    return load


class Case(host.Case):
    def vms(self):
        return [vm[0] for vm in self.bus.call(*MANAGER, 'ListVMs')[0]]


class Guests(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if guest.has_kvm():
            unit = guest.add_device('load')
            cls.guest = guest.Guest(cls.addClassCleanup, 'counts', 'load', unit)
            cls.look = cls.look_at_guest
        else:
            cls.load = start_load(cls, 'load')
            cls.look = cls.look_at_load

    def setUp(self):
        self.what_there_is = self.objects()
        self.check()

    def tearDown(self):
        self.wait(lambda: say(UNIT, 'ActiveState') == 'active')
        self.check()
        self.assertEqual(self.objects(), self.what_there_is)

    def check(self):
        """So many accesses since the last time, all of them right."""
        accesses, wrong = self.look()
        self.assertFalse(wrong, journal(UNIT))
        self.assertGreater(accesses, 0)
        return accesses

    def look_at_guest(self):
        seen = self.guest.look()
        return seen.rounds, any(seen[1:]) and seen

    def look_at_load(self):
        return map(int, self.load.ask('').split()[:2])

    def test_65_restart(self):
        for how in ('restart', 'try-restart'):
            old = self.pid()
            systemctl(how, UNIT)
            self.assertNotEqual(self.pid(), old)
            self.check()

    def test_65_daemon_reexec(self):
        systemctl('daemon-reexec')
        self.check()
        self.end(signal.SIGKILL)

    def test_65_upgrade(self):
        """Another program, in the same unit."""
        shutil.copy(BROKER, '/rig/out/ioregiond')
        drop_in(UNIT, '[Service]\nWatchdogSec=3s\nExecStart=\nExecStart=/rig/out/ioregiond\n')
        systemctl('daemon-reload')
        systemctl('restart', UNIT)
        self.assertEqual(os.readlink(f'/proc/{self.pid()}/exe'), '/rig/out/ioregiond')

    def test_65_watchdog(self):
        started = int(say(UNIT, 'NRestarts'))
        self.end(signal.SIGSTOP)
        self.assertGreater(int(say(UNIT, 'NRestarts')), started)

    def test_65_bus(self):
        systemctl('restart', 'dbus.service')
        type(self).bus = Connection(BUS)
        self.addClassCleanup(self.bus.close)
        self.wait(self.is_back)

    def is_back(self):
        with contextlib.suppress(BusError):
            return self.vms()

    def test_52_killed_all_the_time(self):
        accesses = 0
        for _ in range(KILLS):
            self.end(signal.SIGKILL)
            for _ in range(random.randrange(3)):
                accesses += self.check()
        print(f'# {KILLS} kills, {accesses} accesses')

    def test_killed_while_devices_come_and_go(self):
        """One more device attaches and detaches all the time: none of it stays."""
        for _ in range(20):
            churn = Program(BUS, '/usr/bin/python3', '/rig/source/tests/compat/device.py', 'load', 'churn',
                            'mmio:0xd0010000:0x100', '--on-disconnect', 'remove')
            self.addCleanup(churn.close)
            if random.random() < .5:
                churn.line()  # attached, or refused, or the broker died of it
            self.end(signal.SIGKILL)
            self.check()
            churn.close()
        self.wait(lambda: not any(path.endswith('/churn') for path in self.objects()))

    def test_units_are_watched_as_before(self):
        """A device whose unit restarts comes back to what it had; one whose unit ends while nobody watches is gone."""
        unit, path = 'ioregion-latch@load.service', '/org/ioregion1/vm/load/device/latch'
        systemctl('start', unit)
        self.addCleanup(systemctl, 'stop', unit)
        self.end(signal.SIGKILL)
        self.assertEqual(self.get('State', path, 'org.ioregion1.Device'), 'attached')
        for how in (('restart', unit), ('kill', '--signal=KILL', unit)):
            process = say(unit, 'MainPID')
            systemctl(*how)
            self.wait(lambda: say(unit, 'MainPID') not in (process, '0'))
            self.wait(lambda: self.get('State', path, 'org.ioregion1.Device') == 'attached')
        os.kill(self.pid(), signal.SIGKILL)
        systemctl('stop', unit)
        self.wait(lambda: path not in self.objects())

    def test_stopped_for_a_while(self):
        drop_in(UNIT, '[Service]\nWatchdogSec=30s\n')
        systemctl('daemon-reload')
        systemctl('restart', UNIT)
        pid = self.pid()
        self.check()
        os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 10  # what is tested is that it takes time
        accesses = 0
        while time.monotonic() < deadline:
            accesses += self.check()
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(self.pid(), pid)
        print(f'# {accesses} accesses in 10 s without a broker')


class Stop(Case):
    def test_stop_leaves_nothing(self):
        start_load(type(self), 'stopped', name='stopped')
        self.assertNotEqual(say(UNIT, 'NFileDescriptorStore'), '0')
        systemctl('stop', UNIT)
        self.assertEqual(say(UNIT, 'NFileDescriptorStore'), '0')
        self.assertFalse(os.path.exists('/run/ioregiond'))
        self.wait(lambda: say('vm@stopped.service', 'ActiveState') != 'active')


if __name__ == '__main__':
    tap.main()
