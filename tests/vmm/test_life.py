# SPDX-License-Identifier: LGPL-2.1-or-later
"""What management does to a VM while devices of ours come, answer, don't answer, and go."""

import subprocess
import time

import comparison
import protocol
from comparison import VM
from qemu import KINDS, SANDBOX
from rig import region

PORT = 0x600
DEADLINE, PATIENCE = 1, 10  # seconds: of the device, by policy; for a slow machine on top of that


class Case(comparison.Case):
    """The guest polls a port, and counts its starts in the next one. Where no device is, both read as 0xff."""

    def start(self, *arguments, vm=VM, **keywords):
        return self.run_qemu(*arguments, *self.image('watch.rom', PORT), vm=vm, **keywords)

    def ports(self, *arguments, vm=VM):
        return self.attached('scratch', '--space', 'pio', '--base', hex(PORT), '--size', '2', *arguments, vm=vm)

    def started(self, *arguments, **keywords):
        """A guest that has met its device."""
        qemu = self.start(*arguments, paused=True, **keywords)
        device = self.ports()
        qemu.call('cont')
        qemu.wait_for_words('start 01 reads 00')
        return qemu, device

    def assert_alive(self, qemu):
        qemu.wait_for_words('tick', after=len(qemu.told()))

    def disk(self):
        """QEMU's options for a place to save its state in."""
        path = f'{self.directory}/disk.qcow2'
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', path, '1M'], check=True, timeout=20)
        return '-drive', f'file={path},format=qcow2,if=none'


class Spaces(comparison.Case):
    """The guest polls the line status of a UART, in ports and in memory."""

    BASES = {'pio': PORT, 'mmio': 0xfe000000}
    NOBODY = {'pio': 'ff', 'mmio': '00'}  # what QEMU answers where nothing is
    READY = '60'

    def start(self, space, **keywords):
        return self.run_qemu(*self.image('watch.rom', self.BASES[space] + 5, space == 'mmio'), **keywords)

    def uart(self, space):
        return self.attached('uart', '--space', space, '--base', hex(self.BASES[space]))

    def test_attached_before_the_start(self):
        for space in self.BASES:
            with self.subTest(space):
                qemu = self.start(space, paused=True)
                device = self.uart(space)
                qemu.call('cont')
                qemu.wait_for_words(f'reads {self.READY}')
                qemu.wait_for_words('tick')
                self.assertEqual(qemu.quit(), 0)
                device.ended(0)
                self.assertEqual(qemu.told().count('reads'), 1)
                self.wait_until(lambda: not self.vm_names())

    def test_attached_and_detached_while_it_runs(self):
        for space in self.BASES:
            with self.subTest(space):
                qemu = self.start(space)
                told = qemu.wait_for_words(f'reads {self.NOBODY[space]}')
                for _ in range(3):
                    device = self.uart(space)
                    told = qemu.wait_for_words(f'reads {self.READY}', after=told)
                    device.process.terminate()
                    device.ended(0)
                    told = qemu.wait_for_words(f'reads {self.NOBODY[space]}', after=told)
                self.assertEqual(qemu.quit(), 0)
                self.wait_until(lambda: not self.vm_names())


class Devices(Case):
    def test_detached_by_an_operator(self):
        qemu, device = self.started()
        self.call(f'/org/ioregion1/vm/{VM}/device/scratch0', 'org.ioregion1.Device', 'Revoke', 's', 'test')
        device.ended(0)
        qemu.wait_for_words('reads ff')
        self.assert_alive(qemu)

    def test_killed(self):
        """The guest reads all ones, and meets the next one."""
        qemu, device = self.started()
        device.process.kill()
        told = qemu.wait_for_words('reads ff')
        self.ports()
        qemu.wait_for_words('reads 00', after=told)

    def test_several_vms(self):
        """The same addresses, and each guest has its own device."""
        names = ['one', 'two', 'three']
        qemus = [self.start(vm=name, paused=True) for name in names]
        self.assertEqual(sorted(self.vm_names()), sorted(names))
        for name, qemu in zip(names, qemus):
            self.ports(vm=name)
            qemu.call('cont')
        for qemu in qemus:
            qemu.wait_for_words('start 01 reads 00')  # one that was shared would have counted on
        qemus[0].quit()
        self.wait_until(lambda: sorted(self.vm_names()) == ['three', 'two'])
        for qemu in qemus[1:]:
            self.assert_alive(qemu)


class Answering(Case):
    """The device answers: whatever management does, the guest goes on where it was."""

    def test_stop_and_cont(self):
        qemu, _ = self.started()
        for _ in range(3):
            qemu.call('stop')
            qemu.event('STOP')
            self.assertFalse(qemu.call('query-status')['running'])
            qemu.call('cont')
            qemu.event('RESUME')
            self.assert_alive(qemu)

    def test_system_reset(self):
        """The VM stays registered, and the device attached and as it was."""
        qemu, _ = self.started()
        for start in range(2, 5):
            qemu.call('system_reset')
            qemu.event('RESET')
            qemu.wait_for_words(f'start {start:02x} reads 00')
        self.assert_alive(qemu)
        self.assertNotIn('reads ff', qemu.told())

    def test_savevm_and_loadvm(self):
        qemu, _ = self.started(*self.disk())
        self.assertEqual(qemu.human('savevm here'), '')
        self.assert_alive(qemu)
        self.assertEqual(qemu.human('loadvm here'), '')
        self.assert_alive(qemu)
        self.assertNotIn('reads ff', qemu.told())

    def test_quit(self):
        qemu, device = self.started(smp=2)
        self.assertEqual(qemu.quit(), 0)
        device.ended(0)
        self.wait_until(lambda: not self.vm_names())


    def test_every_machine(self):
        """In QEMU's own sandbox, too."""
        for kind in KINDS:
            for irqchip in ('on', 'off', 'split'):
                with self.subTest(kind=kind, irqchip=irqchip):
                    qemu, device = self.started(*self.disk(), *SANDBOX, machine=kind, irqchip=irqchip)
                    qemu.call('stop')
                    qemu.call('cont')
                    self.assert_alive(qemu)
                    qemu.call('system_reset')
                    qemu.wait_for_words('start 02 reads 00')
                    self.assertEqual(qemu.human('savevm here'), '')
                    self.assertEqual(qemu.human('loadvm here'), '')
                    self.assert_alive(qemu)
                    device.process.terminate()
                    device.ended(0)
                    qemu.wait_for_words('reads ff')
                    self.assertEqual(qemu.quit(), 0)
                    self.wait_until(lambda: not self.vm_names())


class Silent(Case):
    """The device never answers: all is as ever after its deadline, and the guest has read all ones."""

    def waiting(self, *arguments):
        """A guest that waits for an answer."""
        qemu = self.start(*arguments, paused=True)
        device = self.attach(VM, 'port', [region('pio', PORT, 2)], user='root')
        qemu.call('cont')
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        return qemu, device

    def in_time(self, started):
        self.assertLess(time.monotonic() - started, DEADLINE + PATIENCE)

    def goes_on(self, qemu, device, started):
        self.in_time(started)
        self.wait_for_state(device, 'failed')
        qemu.wait_for_words('start ff reads ff')
        self.assert_alive(qemu)

    def test_40_stop_and_cont(self):
        qemu, device = self.waiting()
        started = time.monotonic()
        qemu.call('stop')
        qemu.event('STOP')
        self.in_time(started)
        qemu.call('cont')
        self.goes_on(qemu, device, started)

    def test_40_system_reset(self):
        qemu, device = self.waiting()
        started = time.monotonic()
        qemu.call('system_reset')
        qemu.event('RESET')
        self.goes_on(qemu, device, started)

    def test_40_savevm(self):
        qemu, device = self.waiting(*self.disk())
        started = time.monotonic()
        self.assertEqual(qemu.human('savevm here'), '')
        self.goes_on(qemu, device, started)
        self.assertEqual(qemu.human('loadvm here'), '')
        self.assert_alive(qemu)

    def test_40_quit(self):
        qemu, device = self.waiting()
        started = time.monotonic()
        self.assertEqual(qemu.quit(), 0)
        self.in_time(started)
        self.wait_until(lambda: not self.vm_names())

    def test_41_killed(self):
        qemu, device = self.waiting()
        qemu.process.kill()
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
        self.wait_until(lambda: not self.vm_names())


class Held(Case):
    """The device is away and its regions are held: the guest waits for its next start, and management with it."""

    grace = 3  # seconds
    policy = {**comparison.POLICY, 'devices': [{**comparison.POLICY['devices'][0], 'grace': f'{grace}s'}]}

    def held(self):
        qemu = self.start(paused=True)
        device = self.ports('--on-disconnect', 'hold', '--want', 'replay')
        qemu.call('cont')
        qemu.wait_for_words('start 01 reads 00')
        device.process.kill()
        self.wait_until(lambda: self.state(f'/org/ioregion1/vm/{VM}/device/scratch0') == 'held')
        qemu.send('stop')
        return qemu

    def goes_on(self, qemu):
        self.assertEqual(qemu.answer(), {'return': {}})
        qemu.event('STOP')
        qemu.call('cont')
        self.assert_alive(qemu)

    def test_device_that_comes_back(self):
        qemu = self.held()
        self.ports('--on-disconnect', 'hold', '--want', 'replay')
        self.goes_on(qemu)
        self.assertNotIn('reads ff', qemu.told())

    def test_device_that_does_not(self):
        started = time.monotonic()
        qemu = self.held()
        self.goes_on(qemu)
        self.assertLess(time.monotonic() - started, self.grace + PATIENCE)
        qemu.wait_for_words('reads ff')


if __name__ == '__main__':
    comparison.main()
