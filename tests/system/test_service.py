# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is installed, run as it is installed: the service, the units of devices, their sandbox; for container.py."""

import json
import os
import re
import shutil
import stat
import subprocess
import time
import unittest

import tap
from host import POLICY, READY, UART, UNITS, Case, drop_in, journal, run, say, set_up, start_vmm, systemctl, write
from privatebus import LIMIT

PROBE = 'ioregion-scratch@probe:probe.service'
LATCH, SCRATCH = 0x378, 0xd0000010


def setUpModule():
    drop_in(PROBE, '[Service]\nExecStart=\nExecStart=/usr/bin/python3 -I /rig/source/tests/system/probe.py\n'
            'ExecPaths=/usr/bin/python3\nRestart=no\n')
    set_up()


class Rig(unittest.TestCase):
    """Without this, the rest would prove little."""

    def test_devices_are_kept_from_units(self):
        command = ['/bin/sh', '-c', 'exec 3</dev/full']
        self.assertEqual(run(command=command), 0)
        self.assertNotEqual(run('DevicePolicy=strict', 'DeviceAllow=/dev/null rw', command=command), 0)

    def test_addresses_are_kept_from_units(self):
        command = ['/usr/bin/python3', '-c', 'import socket; '
                   'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9))']
        self.assertEqual(run(command=command), 0)
        self.assertNotEqual(run('IPAddressDeny=any', command=command), 0)


class Service(Case):
    def test_a_call_starts_it_as_its_own_account(self):
        self.assertEqual(say('ioregiond.service', 'ActiveState'), 'active')
        with open(f"/proc/{say('ioregiond.service', 'MainPID')}/status") as status:
            status = dict(line.split(':\t') for line in status.read().splitlines() if ':\t' in line)
        with open('/etc/passwd') as passwd:
            number, = (line.split(':')[2] for line in passwd if line.startswith('ioregion:'))
        self.assertEqual(status['Uid'].split(), [number] * 4)
        for capabilities in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            self.assertEqual(int(status[capabilities], 16), 0, capabilities)
        self.assertEqual(status['NoNewPrivs'], '1')

    def test_the_watchdog_is_fed(self):
        start = int(say('ioregiond.service', 'ActiveEnterTimestampMonotonic'))
        self.wait(lambda: int(say('ioregiond.service', 'WatchdogTimestampMonotonic')) > start)

    def test_a_reload_is_told(self):
        generation = self.get('PolicyGeneration')
        systemctl('reload', 'ioregiond.service')
        self.wait(lambda: self.get('PolicyGeneration') == generation + 1)
        self.wait(lambda: f'Status: "Policy generation {generation + 1} is in force"' in
                  systemctl('status', 'ioregiond.service'))

    def test_a_mistake_in_the_policy_is_told(self):
        generation = self.get('PolicyGeneration')
        write(f'{POLICY}/90-mistake.json', '{ "version": 1,\n  "device": [] }')
        self.addCleanup(os.unlink, f'{POLICY}/90-mistake.json')
        systemctl('reload', 'ioregiond.service')
        self.wait(lambda: '90-mistake.json:2:3: ' in say('ioregiond.service', 'StatusText'))
        self.assertEqual(self.get('PolicyGeneration'), generation)
        self.assertEqual(say('ioregiond.service', 'ActiveState'), 'active')

    def test_a_mistake_in_the_policy_is_no_reason_for_restarts(self):
        write('/rig/out/mistaken.d/10.json', '{ "version": 2 }')
        self.assertEqual(run('User=ioregion', command=['ioregiond', '--policy', '/rig/out/mistaken.d']), 78)
        self.assertEqual(say('ioregiond.service', 'RestartPreventExitStatus'), '78')

    def test_an_account_that_the_bus_refuses_is_no_reason_for_restarts(self):
        self.assertEqual(run('User=nobody', command=['ioregiond']), 78)


    def sandboxed(self, program):
        """The exit status of Python where the service would be."""
        unit = 'rig-sandboxed.service'
        with open('/usr/local/lib/systemd/system/ioregiond.service') as file:
            text = file.read()
        for key, value in (('Type', 'oneshot'), ('Restart', 'no'), ('ExecStart', f'/usr/bin/python3 -I -c "{program}"')):
            text = re.sub(f'(?m)^{key}=.*', lambda _: f'{key}={value}', text)
        write(f'{UNITS}/{unit}', text)
        systemctl('daemon-reload')
        systemctl('start', unit, check=False)
        return int(say(unit, 'ExecMainStatus'))

    def test_it_gets_the_kernel_dispatchers_node_and_no_other(self):
        """Whatever device is behind it: here, KVM."""
        if not os.path.exists('/dev/kvm'):
            self.skipTest('there is no /dev/kvm to take the place of /dev/ioregionfd')
        opens = "import os; os.open('/dev/{}', os.O_RDWR)"
        self.assertEqual(self.sandboxed(opens.format('ioregionfd')), 1, 'there is none')
        os.mknod('/dev/ioregionfd', stat.S_IFCHR, os.stat('/dev/kvm').st_rdev)
        os.chmod('/dev/ioregionfd', 0o660)
        self.addCleanup(os.unlink, '/dev/ioregionfd')
        shutil.chown('/dev/ioregionfd', 'root', 'ioregion')
        self.assertEqual(self.sandboxed(opens.format('ioregionfd')), 0)
        self.assertEqual(self.sandboxed(opens.format('kvm')), 1)

    def test_it_sees_no_process_but_its_own(self):
        looks = "import os; os.stat('/proc/{}/cgroup')"
        self.assertEqual(self.sandboxed(looks.format('self')), 0)
        self.assertEqual(self.sandboxed(looks.format(1)), 1)


class Devices(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.vmm = start_vmm(cls, 'demo')

    def start(self, unit):
        try:
            systemctl('start', unit)
        except subprocess.CalledProcessError:
            self.fail(journal(unit))
        self.addCleanup(self.stop, unit)

    def stop(self, unit):
        systemctl('stop', unit)
        self.assertEqual((say(unit, 'Result'), say(unit, 'ActiveState')), ('success', 'inactive'), journal(unit))

    def test_an_example_of_a_policy_allows_a_uart(self):
        unit = 'ioregion-uart@demo.service'
        self.start(unit)
        self.assertEqual(self.vmm.ask(f'read pio {UART:#x} 1'), READY)
        for byte in b'hello\n':
            self.assertEqual(self.vmm.ask(f'write pio 0x3f8 1 {byte}'), 'done')
        self.wait(lambda: 'hello' in journal(unit))
        self.stop(unit)
        self.wait(lambda: self.vmm.ask(f'read pio {UART:#x} 1') == 'unclaimed')

    def test_an_instance_names_the_device(self):
        """And a drop-in what it asks for."""
        unit = 'ioregion-uart@demo:console.service'
        write('/rig/out/console.json', json.dumps({'version': 1, 'regions': [
            {'space': 'pio', 'base': '0x2f8', 'size': '8'}]}))
        drop_in(unit, '[Service]\nEnvironment=DESCRIPTION=/rig/out/console.json\n')
        systemctl('daemon-reload')
        self.start(unit)
        self.assertEqual(self.get('Unit', '/org/ioregion1/vm/demo/device/console', 'org.ioregion1.Device'), unit)
        self.assertEqual(self.vmm.ask('read pio 0x2fd 1'), READY)

    def test_a_restart_resumes(self):
        unit = 'ioregion-scratch@demo.service'
        self.start(unit)
        self.assertEqual(self.vmm.ask(f'write mmio {SCRATCH:#x} 4 7'), 'done')
        self.assertEqual(self.vmm.ask(f'read mmio {SCRATCH:#x} 4'), '0x7', journal(unit))
        self.assertEqual(self.vmm.ask('regions'), '1')
        for how in (('restart', unit), ('kill', '--signal=KILL', unit)):
            process = say(unit, 'MainPID')
            systemctl(*how)
            self.wait(lambda: say(unit, 'MainPID') not in (process, '0'))
            self.assertEqual(self.vmm.ask(f'read mmio {SCRATCH:#x} 4'), '0x0', 'a new process, the old region')
        self.stop(unit)
        self.wait(lambda: self.vmm.ask('regions') == '0')
        told = [line.split(':')[0] for line in journal('ioregiond.service').splitlines()
                if 'device scratch0 on vm demo' in line]
        self.assertEqual([kind for kind in told if kind != 'failure'], ['attach', 'resume', 'resume', 'detach'])

    def test_a_device_of_a_few_lines(self):
        unit = 'ioregion-latch@demo.service'
        self.start(unit)
        self.assertEqual(self.vmm.ask(f'write pio {LATCH:#x} 1 0x5a'), 'done')
        self.assertEqual(self.vmm.ask(f'read pio {LATCH:#x} 1'), '0x5a')
        user = int(subprocess.run(['stat', '-c', '%u', f"/proc/{say(unit, 'MainPID')}"], check=True, timeout=LIMIT,
                                  capture_output=True).stdout)
        self.assertIn(user, range(61184, 65520), 'a dynamic account')
        systemctl('kill', '--signal=KILL', unit)
        self.wait(lambda: say(unit, 'NRestarts') == '1' and say(unit, 'ActiveState') == 'active')
        self.assertEqual(self.vmm.ask(f'read pio {LATCH:#x} 1'), '0x0')
        self.stop(unit)
        self.wait(lambda: self.vmm.ask(f'read pio {LATCH:#x} 1') == 'unclaimed')

    def test_a_debug_console(self):
        unit = 'ioregion-debugcon@demo.service'
        self.start(unit)
        self.assertEqual(self.vmm.ask('read pio 0x402 1'), '0xe9')
        for byte in b'firmware\n':
            self.assertEqual(self.vmm.ask(f'write pio 0x402 1 {byte}'), 'done')
        self.wait(lambda: 'firmware' in journal(unit))

    def test_a_panic_is_told(self):
        """To who watches the unit on the bus, and to who reads the journal."""
        unit = 'ioregion-pvpanic@demo.service'
        self.start(unit)
        self.assertEqual(self.vmm.ask('read pio 0x505 1'), '0x3')
        for number, (value, event) in enumerate(((1, 'GUEST_PANICKED'), (2, 'GUEST_CRASHLOADED'))):
            self.assertEqual(self.vmm.ask(f'write pio 0x505 1 {value}'), 'done')
            self.wait(lambda: say(unit, 'StatusText') == f'{event} (1)')
            self.wait(lambda: len(self.panics(unit)) > number)
            record = self.panics(unit)[-1]
            self.assertEqual((record['IOREGION_EVENT'], record['IOREGION_COUNT'], record['IOREGION_DEVICE']),
                             (event, '1', 'demo'))
        self.assertEqual(self.vmm.ask('read pio 0x505 1'), '0x3')

    def panics(self, unit):
        records = subprocess.run(['journalctl', '--no-pager', '-o', 'json', f'_SYSTEMD_UNIT={unit}'],
                                 capture_output=True, text=True, timeout=LIMIT).stdout
        return [record for record in map(json.loads, records.splitlines()) if 'IOREGION_EVENT' in record]

    def test_the_end_of_a_vm_is_that_of_its_devices(self):
        unit = 'ioregion-uart@brief.service'
        vmm = start_vmm(type(self), 'brief')
        self.start(unit)
        vmm.end(number=None)
        self.wait(lambda: say(unit, 'ActiveState') == 'inactive')
        self.assertEqual((say(unit, 'Result'), say(unit, 'NRestarts')), ('success', '0'), journal(unit))

    def test_a_device_of_no_vm_is_refused(self):
        unit = 'ioregion-uart@other.service'
        systemctl('start', unit, check=False)
        self.addCleanup(systemctl, 'stop', unit)
        self.assertIn('NoSuchVM', journal(unit))
        self.assertNotEqual(say(unit, 'ActiveState'), 'active')


class Sandbox(Case):
    """The shipped sandbox with a device in it that tries to get out. Without, all of it can be done."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = json.loads(subprocess.run(['python3', '-I', '/rig/source/tests/system/probe.py'], check=True,
                                              capture_output=True, timeout=LIMIT).stdout)
        start_vmm(cls, 'probe')
        systemctl('start', PROBE, check=False)
        deadline = time.monotonic() + LIMIT
        while not (lines := [line for line in journal(PROBE).splitlines() if line.startswith('{')]):
            if time.monotonic() > deadline:
                raise AssertionError(journal(PROBE))
        cls.tried = json.loads(lines[-1])

    def check(self, what, *errors):
        if what == 'kvm' and self.plain['kvm'] == 'ENOENT':
            self.skipTest('there is no /dev/kvm')
        self.assertEqual(self.plain[what], 'done')
        self.assertIn(self.tried[what], errors)

    def test_it_gets_no_vm(self):
        self.check('kvm', 'ENOENT')

    def test_it_gets_no_socket(self):
        self.check('socket', 'EPERM')

    def test_it_gets_no_bus(self):
        self.check('bus', 'EPERM', 'EACCES')

    def test_it_reads_no_home(self):
        self.check('home', 'ENOENT', 'EACCES')

    def test_it_learns_nothing_of_the_machine(self):
        self.check('sys', 'EACCES')

    def test_it_writes_no_file(self):
        self.check('write', 'ENOENT', 'EROFS', 'EACCES')

    def test_it_sees_no_process(self):
        self.check('process', 'ENOENT')

    def test_it_traces_nobody(self):
        self.check('ptrace', 'EPERM')

    def test_it_starts_no_process(self):
        self.check('fork', 'EPERM')

    def test_it_runs_no_program(self):
        self.check('execve', 'EACCES')


if __name__ == '__main__':
    tap.main()
