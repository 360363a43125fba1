# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of devices when their units restart, stop and fail; to be run by container.py.

The numbers are those of the list of edge cases.
"""

import collections
import json
import os
import subprocess
import time
import unittest

import tap
from daemon import BUILD, INSTRUMENTED, SECCOMP
from privatebus import LIMIT, Connection
from program import Program

BUS = 'unix:path=/run/dbus/system_bus_socket'
DEVICE = '/org/ioregion1/vm/demo/device/'
LOG = 'StandardError=append:/rig/out/log'

POLICY = {
    'version': 1,
    'vmms': [{'name': 'vmms', 'match': {'unit': 'vmm-${vm}.service'}, 'vms': ['${vm}'], 'features': ['replay']}],
    'devices': [{'name': 'devices', 'match': {'unit': 'rig-*@*.service'}, 'vms': ['${vm}'], 'features': ['replay'],
                 'regions': [{'space': 'pio', 'within': ['0x100', '0xfff']}], 'timeout': '5s', 'grace': '60s',
                 'on-disconnect': ['ones', 'hold', 'remove']}],
    'limits': {'attach-rate': '1000/s'},
}

BROKER = f'''
[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket
[Service]
Type=notify
User=ioregion
ExecStart={BUILD}/daemon/ioregiond --policy /rig/out/policy.d --seccomp {SECCOMP} --log-level debug
{LOG}
'''

# Killed to be stopped, too, so that no device has a chance to give back what it holds
TEMPLATE = f'''
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=1h
StartLimitBurst={{burst}}
[Service]
User=device
KillSignal=SIGKILL
Restart=on-failure
RestartSec={{restart}}
{LOG}
'''

# name: what it is to do, when it is restarted, how often it may be started
DEVICES = {
    'hold': ('hold', '100ms', 100),
    'remove': ('remove', '100ms', 100),
    'hold-away': ('hold', '1h', 100),  # restarted by the test alone
    'ones-away': ('ones', '1h', 100),
    'crash': ('hold', '0', 2),
}
PORTS = dict(zip(DEVICES, range(0x100, 0x1000, 0x10)))
STATUS, READY = 5, '0x60'  # a UART's line status register, and what it reads as

# What the device holds is safe in the unit's store, so that nothing hangs up when its process dies
STORED = f'''
ExecStartPre=+{BUILD}/clients/ioregionctl/ioregionctl attach %i stored --description /rig/out/stored.json
ExecStart=/bin/sleep infinity
NotifyAccess=exec
FileDescriptorStoreMax=8
'''


def systemctl(*arguments):
    return subprocess.run(['systemctl', *arguments], check=True, timeout=LIMIT, capture_output=True, text=True).stdout


def unit_of(name, vm='demo'):
    return f'rig-{name}@{vm}.service'


def say(unit, *properties):
    """What systemd says of a unit."""
    said = dict(line.split('=', 1) for line in systemctl('show', '-p', ','.join(properties), unit).splitlines())
    return tuple(said[key] for key in properties)


def uart(name, what, vm='%i'):
    lockdown = '--no-lockdown' if INSTRUMENTED else ''
    return f'ExecStart={BUILD}/clients/devices/ioregion-uart --vm {vm} --name {name} --base {PORTS.get(name, 0x800):#x} ' \
        f'--on-disconnect {what} --replay {lockdown}\n'


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


def write_units():
    units = {'ioregiond.service': BROKER, unit_of('stored', ''): TEMPLATE.format(restart='100ms', burst=100) + STORED,
             unit_of('thief', ''): TEMPLATE.format(restart='1h', burst=100) + uart('thief', 'ones', 'demo')}
    for name, (what, restart, burst) in DEVICES.items():
        units[unit_of(name, '')] = TEMPLATE.format(restart=restart, burst=burst) + uart(name, what)
    for name, text in units.items():
        write(f'/run/systemd/system/{name}', text)
    systemctl('daemon-reload')


def setUpModule():
    write('/rig/out/policy.d/rig.json', json.dumps(POLICY))
    write('/rig/out/stored.json', json.dumps({'version': 1, 'regions': [{'space': 'pio', 'base': '0x900', 'size': '8'}],
                                              'on-disconnect': 'hold'}))
    write_units()
    systemctl('start', 'ioregiond.service')
    Units.vmm = Program(BUS, 'systemd-run', '--quiet', '--pipe', '--collect', '--unit=vmm-demo.service', '--uid=vmm',
                        f'--setenv=DBUS_SYSTEM_BUS_ADDRESS={BUS}', '--property=DefaultDependencies=no',
                        '/usr/bin/python3', '/rig/source/tests/compat/vmm.py', 'demo')
    Units.vmm.expect('registered')


def tearDownModule():
    systemctl('stop', 'ioregiond.service')
    result = say('ioregiond.service', 'Result', 'ExecMainStatus')
    if result != ('success', '0'):
        raise AssertionError(result)
    Units.vmm.close()


class Units(unittest.TestCase):
    """Each test uses devices of its own; what happened to them is told by the broker's signals, to the last one."""

    def setUp(self):
        self.connection = Connection(BUS)
        self.addCleanup(self.connection.close)
        self.connection.watch()
        self.events = collections.defaultdict(list)

    def receive(self):
        self.connection.receive()
        for signal in self.connection.signals:
            path = signal.body[0] if signal.member.startswith('Interfaces') else signal.path
            if not path.startswith(DEVICE) or '/region/' in path:
                continue
            name = path[len(DEVICE):].replace('_2d', '-')
            if signal.member == 'InterfacesAdded':
                self.events[name].append('attached')
            elif signal.member == 'InterfacesRemoved':
                self.events[name].append('gone')
            else:
                self.events[name].append(signal.body[1]['State'][1])
        self.connection.signals.clear()

    def expect(self, name, *states):
        """Exactly this happens to a device, and since the last time nothing else did."""
        while len(self.events[name]) < len(states):
            try:
                self.receive()
            except TimeoutError:
                break
        self.assertEqual(self.events.pop(name, []), list(states))

    def wait_for_restart(self, unit):
        """Until systemd says that it is due."""
        deadline = time.monotonic() + LIMIT
        while say(unit, 'SubState') != ('auto-restart',):
            self.assertLess(time.monotonic(), deadline)

    def start(self, name):
        systemctl('start', unit_of(name))
        self.expect(name, 'attached')

    def kill(self, name):
        systemctl('kill', '--signal=KILL', unit_of(name))

    def stop(self, name):
        systemctl('stop', unit_of(name))

    def read(self, name):
        return self.vmm.ask(f'read pio {PORTS[name] + STATUS:#x} 1')

    def test_a_guest_waits_for_the_restart_under_hold(self):
        self.start('hold')
        self.assertEqual(self.read('hold'), READY)
        self.kill('hold')
        self.expect('hold', 'held')
        self.assertEqual(self.read('hold'), READY, 'the access waited')
        self.expect('hold', 'attached')
        self.assertEqual(say(unit_of('hold'), 'NRestarts'), ('1',), 'systemd restarted it')
        self.stop('hold')
        self.expect('hold', 'held', 'gone')
        self.assertEqual(self.read('hold'), 'unclaimed')

    def test_a_guest_reads_ones_until_the_restart(self):
        self.start('ones-away')
        self.kill('ones-away')
        self.expect('ones-away', 'failed')
        self.wait_for_restart(unit_of('ones-away'))
        self.assertEqual(self.read('ones-away'), '0xff')
        systemctl('restart', unit_of('ones-away'))
        self.expect('ones-away', 'attached')
        self.assertEqual(self.read('ones-away'), READY)
        self.stop('ones-away')
        self.expect('ones-away', 'failed', 'gone')

    def test_a_device_that_is_removed_attaches_afresh(self):
        self.start('remove')
        self.kill('remove')
        self.expect('remove', 'gone', 'attached')
        self.stop('remove')
        self.expect('remove', 'gone')

    def test_a_stop_ends_what_is_held(self):
        self.start('hold-away')
        self.kill('hold-away')
        self.expect('hold-away', 'held')
        self.wait_for_restart(unit_of('hold-away'))
        self.stop('hold-away')
        self.expect('hold-away', 'gone')
        self.assertEqual(self.read('hold-away'), 'unclaimed')

    def test_a_stop_ends_what_failed(self):
        self.start('ones-away')
        self.kill('ones-away')
        self.expect('ones-away', 'failed')
        self.wait_for_restart(unit_of('ones-away'))
        self.stop('ones-away')
        self.expect('ones-away', 'gone')

    def test_a_restart_by_hand_is_no_end(self):
        """The unit is inactive on the way."""
        self.start('hold-away')
        systemctl('restart', unit_of('hold-away'))
        self.expect('hold-away', 'held', 'attached')
        self.kill('hold-away')
        self.expect('hold-away', 'held')
        systemctl('restart', unit_of('hold-away'))
        self.expect('hold-away', 'attached')
        self.stop('hold-away')
        self.expect('hold-away', 'held', 'gone')

    def test_a_crash_loop_comes_to_an_end(self):
        self.start('crash')
        self.kill('crash')
        self.expect('crash', 'held', 'attached')
        self.kill('crash')
        self.expect('crash', 'held', 'gone')
        self.assertEqual(say(unit_of('crash'), 'ActiveState'), ('failed',))

    def test_a_restart_is_seen_where_nothing_hangs_up(self):
        self.start('stored')
        self.assertEqual(say(unit_of('stored'), 'NFileDescriptorStore'), ('2',))
        self.kill('stored')
        self.expect('stored', 'held', 'attached')
        systemctl('stop', unit_of('stored'))
        while self.events['stored'][-1:] != ['gone']:  # perhaps held before: systemd closes the store meanwhile
            self.receive()

    def test_policy_knows_the_real_unit(self):
        self.start('hold')
        self.assertEqual(self.connection.call(DEVICE + 'hold', 'org.freedesktop.DBus.Properties', 'Get', 'ss',
                                              'org.ioregion1.Device', 'Unit')[0], ('s', unit_of('hold')))
        self.stop('hold')
        thief = unit_of('thief', 'other')  # it wants the VM demo
        systemctl('start', thief)
        self.wait_for_restart(thief)
        self.assertEqual(say(thief, 'ExecMainStatus'), ('3',), 'refused')
        systemctl('stop', thief)
        with open('/rig/out/log') as log:
            self.assertIn(f'for unit {thief} ', next(line for line in log if 'PolicyDenied' in line))

    def test_65_systemd_executes_itself_again(self):
        self.start('hold-away')
        systemctl('daemon-reexec')
        self.kill('hold-away')
        self.expect('hold-away', 'held')
        self.stop('hold-away')
        self.expect('hold-away', 'gone')

    def test_65_what_ended_while_the_bus_was_away(self):
        self.start('hold-away')
        self.kill('hold-away')
        self.expect('hold-away', 'held')
        systemctl('stop', 'dbus.service')
        self.stop('hold-away')
        systemctl('start', 'dbus.service')
        connection = Connection(BUS)
        self.addCleanup(connection.close)
        connection.watch()
        connection.wait_for_name('org.ioregion1')
        while connection.call('/org/ioregion1', 'org.ioregion1.Manager', 'ListDevices')[0]:
            connection.receive()


if __name__ == '__main__':
    tap.main()
