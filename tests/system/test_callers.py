# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which unit a caller runs in, asked of the real systemd by the daemon as it is installed: it sees no other process.

For container.py. The numbers are those of the list of edge cases.
"""

import json
import os
import subprocess

import actors
import tap
from attacks import CALL, VICTIM, ReusedPids
from host import BUS, MANAGER, POLICY, UNITS, Case, journal, say, set_up, start_vmm, systemctl, write
from privatebus import LIMIT, BusError
from program import Program

SERVICES = (VICTIM, 'plain.service', 'nested.service', 'user@4711.service', 'vm@found.service')
SCOPE = 'session-1.scope'
IDLE = '[Service]\nSlice=system.slice\nDelegate=yes\nUser={}\nExecStart=/bin/sleep infinity\n'
# Control groups below system.slice, and what a process in one is said to run in
PLACES = {
    VICTIM: VICTIM,
    'plain.service': 'plain.service',
    SCOPE: SCOPE,
    'nested.service/inner.service/deeper.scope': 'nested.service',
    'user@4711.service/app.slice/app.service': 'user@4711.service',
    'unknown.service': '',  # to systemd; by its cgroup it would be one
    '.': '',
    '..': '',
}
# What systemd runs, and waits for, when it reloads
GENERATOR, GATE = '/run/systemd/system-generators/rig', '/run/rig-gate'
RULES = {
    'version': 1,
    'devices': [{'name': 'victims', 'match': {'unit': VICTIM}, 'vms': ['*'], 'on-disconnect': ['ones', 'remove'],
                 'regions': [{'space': 'mmio', 'within': ['0xd0000000', '0xdfffffff']},
                             {'space': 'pio', 'within': ['0x100', '0x107']}]},
                {'name': 'roots', 'match': {'user': 'root'}, 'vms': ['*'], 'on-disconnect': ['remove'],
                 'regions': [{'space': 'pio', 'within': ['0x100', '0x107']}]}],
    'operators': [{'name': 'roots', 'match': {'user': 'root'}}],
}


def setUpModule():
    set_up()
    write(f'{POLICY}/30-callers.json', json.dumps(RULES))


class Callers(ReusedPids, Case):
    address, stranger = BUS, 'stranger'

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        start_vmm(cls, 'vm')
        cls.broker = int(say('ioregiond.service', 'MainPID'))
        for service in SERVICES:
            write(f'{UNITS}/{service}', IDLE.format('qemu' if service.startswith('vm@') else 'root'))
        systemctl('daemon-reload')
        systemctl('start', *SERVICES)
        scope = Program(BUS, 'systemd-run', '--quiet', '--scope', f'--unit={SCOPE}', '--slice=system.slice', '/bin/cat')
        cls.addClassCleanup(scope.close)
        if scope.ask('there?') != 'there?':
            raise AssertionError('the scope does not start')

    def manager(self, member):
        return self.bus.call(*MANAGER, member)

    def test_every_place(self):
        for number, (place, unit) in enumerate(PLACES.items()):
            with self.subTest(place):
                request = actors.Request(BUS, *CALL[:2], ('vm', f'd{number}', [('pio', 0x100, 8, 1, {})],
                                                          {'on-disconnect': ('s', 'remove')}), unit=place)
                path, _ = request.finish()
                self.assertEqual(self.get('Unit', path, 'org.ioregion1.Device'), unit)
                request.lease.close()
                self.wait(lambda: self.manager('ListDevices') == ([],))

    def test_an_adopted_process(self):
        """It has no VM, which is looked at when its unit and its user have got it past the policy."""
        folder = os.open(f"/proc/{say('vm@found.service', 'MainPID')}", os.O_RDONLY)
        self.addCleanup(os.close, folder)
        for vm, error in (('found', 'NotAVM'), ('other', 'PolicyDenied')):
            request = actors.Request(BUS, 'RegisterVM', 'sa{sv}h',
                                     (vm, {'process': ('h', folder), 'vm-fd': ('h', folder)}))
            with self.assertRaisesRegex(BusError, error):
                request.finish()

    def test_65_systemd_is_away(self):
        """It reloads, or executes itself again, and something keeps it at that: who tries again is served."""
        for what in ('daemon-reload', 'daemon-reexec'):
            with self.subTest(what):
                os.mkfifo(GATE)
                write(GENERATOR, f'#!/bin/sh\nread line <{GATE}\n')
                os.chmod(GENERATOR, 0o755)
                before = len(journal('ioregiond.service'))
                away = subprocess.Popen(['systemctl', what])
                with open(GATE, 'w'):  # once somebody reads
                    for path in (GATE, GENERATOR):
                        os.unlink(path)
                    device = Program(BUS, '/rig/build/clients/devices/ioregion-uart', '--vm', 'vm', '--name', 'uart',
                                     '--base', '0x100', '--on-disconnect', 'remove')
                    self.addCleanup(device.close)
                    self.wait(lambda: 'Busy' in journal('ioregiond.service')[before:])
                self.wait(lambda: self.manager('ListDevices') != ([],))
                self.assertEqual(away.wait(LIMIT), 0)
                device.close()
                self.wait(lambda: self.manager('ListDevices') == ([],))


if __name__ == '__main__':
    tap.main()
