# SPDX-License-Identifier: LGPL-2.1-or-later
"""How units of devices begin, by ioregionctl start, and how they end; for container.py."""

import json
import os
import re
import shutil
import subprocess
import unittest

import tap
from host import BUS, POLICY, READY, UART, UNITS, Case, drop_in, journal, say, set_up, start_vmm, systemctl, write
from privatebus import LIMIT, BusError, Connection

DEVICE = '/org/ioregion1/vm/demo/device/'
UNIT = 'ioregion-uart@demo.service'
# What is attached while the unit is already active: the program does it itself. To be filled in by drop-ins
PLAIN = '''
[Unit]
StartLimitIntervalSec=0
[Service]
User=device
ExecStart=/usr/local/libexec/ioregiond/ioregion-uart --vm demo --name plain --base 0x2f8
'''
RULE = {'version': 1, 'devices': [{
    'name': 'plain', 'match': {'unit': 'plain@*.service'}, 'vms': ['demo'], 'timeout': '1s',
    'regions': [{'space': 'pio', 'base': '0x2f8', 'size': '8'}], 'on-disconnect': ['ones']}]}
SCRATCH, LOOPS = 0xd0000000, {'hold': 0xd0000100, 'ones': 0xd0000200}


def setUpModule():
    write(f'{UNITS}/plain@.service', PLAIN)
    for name, program in (('fails', '/bin/false'), ('ends', '/bin/true'), ('idles', '/bin/sleep infinity'),
                          ('killed', "/bin/sh -c 'kill -KILL $$$$'")):
        drop_in(f'plain@{name}.service', f'[Service]\nExecStart=\nExecStart={program}\n')
    drop_in('plain@again.service', '[Service]\nExecStart=\nExecStart=/bin/false\nRestart=always\nRestartSec=1h\n')
    drop_in('plain@waits.service', '[Service]\nExecStartPre=/bin/sleep infinity\n')
    drop_in('plain@depends.service', '[Unit]\nRequires=broken.service\nAfter=broken.service\n')
    write(f'{UNITS}/broken.service', '[Service]\nType=oneshot\nExecStart=/bin/false\n')
    os.symlink('/usr/local/lib/systemd/system/ioregion-uart@.service', f'{UNITS}/serial@.service')
    for name, base in LOOPS.items():
        write(f'/rig/out/{name}.json', json.dumps({'version': 1, 'on-disconnect': name, 'regions': [
            {'space': 'mmio', 'base': f'{base:#x}', 'size': '16'}]}))
        drop_in(f'ioregion-scratch@demo:{name}.service', f'[Service]\nExecStart=\nExecStart=/bin/false\n'
                f'ExecPaths=/usr/bin/false\nEnvironment=DESCRIPTION=/rig/out/{name}.json\n')
    set_up()
    write(f'{POLICY}/30-plain.json', json.dumps(RULE))
    Units.vmm = start_vmm(Units, 'demo')


def tearDownModule():
    Units.doClassCleanups()


def ioregionctl(*arguments):
    """Its exit status and what it says."""
    tool = subprocess.run(['ioregionctl', *arguments], timeout=LIMIT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    return tool.returncode, tool.stdout


class Units(Case):
    def start(self, unit, *options):
        systemctl('reset-failed', unit, check=False)  # no test counts the starts of the one before
        self.addCleanup(systemctl, 'stop', unit)
        self.assertEqual(ioregionctl('start', unit, *options), (0, ''), journal(unit))

    def fail_to_start(self, unit, *options, text):
        self.addCleanup(systemctl, 'stop', unit, check=False)
        status, said = ioregionctl('start', unit, *options)
        self.assertEqual(status, 1, said)
        self.assertIn(text, said)
        return said

    def state(self, device):
        try:
            return self.get('State', DEVICE + device, 'org.ioregion1.Device')
        except BusError:
            return None


class Start(Units):
    def test_it_returns_when_the_device_is_attached(self):
        self.start('ioregion-uart@demo')
        self.assertEqual(self.state('uart0'), 'attached')
        self.assertEqual(say(UNIT, 'ActiveState'), 'active')
        self.assertEqual(self.vmm.ask(f'read pio {UART:#x} 1'), READY)
        process = say(UNIT, 'MainPID')
        self.start(UNIT)
        self.assertEqual(say(UNIT, 'MainPID'), process, 'it was attached already')

    def test_it_starts_what_awaits_its_restart(self):
        self.start('ioregion-scratch@demo')
        unit = 'ioregion-scratch@demo.service'
        for _ in range(2):
            process = say(unit, 'MainPID')
            systemctl('kill', '--signal=KILL', unit)
            self.wait(lambda: say(unit, 'MainPID') != process)
            self.assertEqual(ioregionctl('start', unit), (0, ''), journal(unit))
            self.assertEqual(self.vmm.ask(f'read mmio {SCRATCH:#x} 4'), '0x0', journal(unit))
        self.assertEqual(self.state('scratch0'), 'attached')

    def test_it_waits_for_a_program_that_attaches_itself(self):
        self.start('plain@demo.service')
        self.assertEqual(self.state('plain'), 'attached')

    def test_it_knows_a_unit_by_another_name(self):
        self.addCleanup(systemctl, 'stop', 'serial@demo.service')
        self.start('serial@demo')
        self.assertEqual(self.state('uart0'), 'attached')

    def test_a_vm_that_is_not_registered(self):
        said = self.fail_to_start('ioregion-uart@nobody', text='(org.ioregion1.Error.NoSuchVM)')
        self.assertIn('unit ioregion-uart@nobody.service failed', said)
        self.assertIn('Result=exit-code', said)
        self.assertIn('journalctl -u ioregion-uart@nobody.service', said)
        self.assertIn('NoSuchVM', systemctl('status', 'ioregion-uart@nobody.service', check=False))

    def test_a_unit_that_is_not_there(self):
        self.fail_to_start('nothing@demo', text='Unit nothing@demo.service not found')
        self.fail_to_start('ioregion-uart@', text='missing the instance name')

    def test_programs_that_do_not_attach(self):
        for unit, text in (('plain@fails', 'plain@fails.service failed (Result=exit-code, ExecMainStatus=1)'),
                           ('plain@killed', 'plain@killed.service failed (Result=signal, ExecMainStatus=9/KILL)'),
                           ('plain@ends', 'plain@ends.service ended before its device was attached'),
                           ('plain@again', 'plain@again.service failed, and will be started again'),
                           ('plain@depends', "plain@depends.service was not started: the result of its job is "
                                             "'dependency'")):
            with self.subTest(unit):
                self.fail_to_start(unit, text=text)

    def test_a_time_limit(self):
        self.fail_to_start('plain@idles', '--timeout', '2s', text='runs and has no device attached')
        self.assertEqual(say('plain@idles.service', 'ActiveState'), 'active', 'it is left as it is')
        systemctl('start', '--no-block', 'plain@waits.service')
        self.fail_to_start('plain@waits', '--timeout', '2s', text='is still starting')

    def test_not_everybody_starts_units(self):
        tool = subprocess.run(['setpriv', '--reuid=nobody', '--regid=nobody', '--clear-groups', 'ioregionctl', 'start',
                               UNIT, '--timeout', '2s'], timeout=LIMIT, stderr=subprocess.PIPE, text=True)
        self.assertEqual(tool.returncode, 1)
        self.assertRegex(tool.stderr, r'systemd: .* \(org\.freedesktop\.DBus\.Error\.\w+\)')
        self.assertEqual(say(UNIT, 'ActiveState'), 'inactive')


class End(Units):
    DEVICES = {'uart': 'uart0', 'scratch': 'scratch0', 'latch': 'latch'}

    def expect_clean_end(self, unit):
        self.wait(lambda: say(unit, 'ActiveState') != 'active')
        self.assertEqual([say(unit, name) for name in ('ActiveState', 'Result', 'ExecMainStatus', 'NRestarts')],
                         ['inactive', 'success', '0', '0'], journal(unit))

    def test_detach_and_revoke_end_in_a_clean_exit(self):
        for program, device in self.DEVICES.items():
            for command in (['detach'], ['revoke', '--reason', 'ticket 4711']):
                with self.subTest(program, command=command):
                    unit = f'ioregion-{program}@demo.service'
                    self.start(unit)
                    self.assertEqual(ioregionctl(*command, 'demo', device), (0, ''))
                    self.assertIsNone(self.state(device))
                    self.expect_clean_end(unit)

    def test_the_end_of_a_vm_is_that_of_its_devices(self):
        vmm = start_vmm(type(self), 'brief')
        units = [f'ioregion-{program}@brief.service' for program in self.DEVICES]
        for unit in units:
            self.start(unit)
        vmm.end(number=None)
        for unit in units:
            self.expect_clean_end(unit)

    def test_the_drop_in_that_binds_a_device_to_its_vm(self):
        """As the unit's file shows it, for another VM; and no unit of that name is there but while the VM runs."""
        unit, vm = 'ioregion-scratch@bound.service', 'vm@bound.service'
        with open('/usr/local/lib/systemd/system/ioregion-scratch@.service') as file:
            shown = re.search(r'^#   (\[Unit\]\n(?:#   .*\n)+)', file.read(), re.M)[1]
        text = shown.replace('#   ', '').replace('vm@vm0.service', vm)
        self.assertEqual(text.count(vm), 2)
        drop_in(unit, text)
        os.makedirs('/etc/ioregiond', exist_ok=True)
        shutil.copy('/usr/local/share/ioregiond/scratch.json', '/etc/ioregiond/mine.json')
        systemctl('daemon-reload')
        self.fail_to_start(unit, text=f'Unit {vm} not found')
        start_vmm(type(self), 'bound')
        self.start(unit)
        self.assertIn('DESCRIPTION=/etc/ioregiond/mine.json', say(unit, 'Environment'))
        systemctl('stop', vm)
        self.expect_clean_end(unit)


class CrashLoop(Units):
    """A program that dies as soon as it runs; systemd's default limit of starts ends the loop."""

    def follow(self, device):
        """The device's states, as the bus tells them, until it is gone."""
        connection = Connection(BUS)
        self.addCleanup(connection.close)
        connection.watch()
        systemctl('start', f'ioregion-scratch@demo:{device}.service', check=False)
        path, states = DEVICE + device, []
        while states[-1:] != ['gone']:
            connection.receive()
            for signal in connection.signals:
                if signal.member == 'InterfacesAdded' and signal.body[0] == path:
                    states.append('attached')
                elif signal.member == 'InterfacesRemoved' and signal.body[0] == path:
                    states.append('gone')
                elif signal.member == 'PropertiesChanged' and signal.path == path and 'State' in signal.body[1]:
                    states.append(signal.body[1]['State'][1])
            connection.signals.clear()
        return states

    def check(self, device, away):
        states = self.follow(device)
        unit = f'ioregion-scratch@demo:{device}.service'
        self.wait(lambda: say(unit, 'ActiveState') == 'failed')
        # A restart that is over before the broker asks resumes what was attached
        self.assertEqual((states[0], {*states[1:-1]}, states[-1]), ('attached', {away, 'attached'}, 'gone'), states)
        self.assertEqual(say(unit, 'NRestarts'), '5', journal(unit))
        self.assertIsNone(self.state(device))
        self.assertEqual(self.vmm.ask(f'read mmio {LOOPS[device]:#x} 4'), 'unclaimed')
        shown = systemctl('status', unit, check=False)
        self.assertIn('Active: failed (Result: exit-code)', shown)
        self.assertIn('Start request repeated too quickly', shown)
        self.fail_to_start(unit, text=f'unit {unit} failed (Result=')
        systemctl('reset-failed', unit)

    def test_under_hold(self):
        self.check('hold', 'held')

    def test_under_ones(self):
        self.check('ones', 'failed')


if __name__ == '__main__':
    tap.main()
