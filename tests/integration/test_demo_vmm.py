# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo VMM, with the shipped devices or none."""

import os

import programs
import protocol
import rig
from privatebus import LIMIT
from rig import region


class DemoVmm(programs.Case):
    """The VMM with real devices, or none."""

    def transcript(self, *arguments):
        vmm = self.demo_vmm('--paused', *arguments)
        vmm.said('paused')
        devices = [self.uart(vm='demo'), self.scratch(vm='demo')]
        vmm.process.stdin.write(b'go\n')
        vmm.said('ended with status 0')
        text = vmm.process.stdout.read()
        vmm.ended(0)
        self.assertEqual(devices[0].output(5), b'Hello')
        for device in devices:
            device.ended(0)
        return text.decode()

    def test_replay_makes_the_guests_accesses(self):
        text = self.transcript('--no-kvm')
        self.assertIn('guest: scratch[0x10] wrote 0xcafe read 0xcafe (two bytes)\n', text)
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('no /dev/kvm to compare with')
        self.assertEqual(self.transcript(), text)

    def test_guest_without_devices_finds_an_empty_bus(self):
        vmm = self.demo_vmm('--no-kvm')
        vmm.said('accesses hit no device')
        self.assertIn(b'read 0xff but wanted 0x5a', vmm.process.stdout.read())
        vmm.ended(1)

    def test_time_limit(self):
        vmm = self.demo_vmm('--paused', '--no-kvm', '--timeout', '0')
        self.assertIn('time is up', vmm.ended(4))

    def test_guest_that_never_ends(self):
        self.run_guest(b'\xeb\xfe', 4, 'time is up')  # 1: jmp 1b

    def test_guest_that_halts(self):
        self.run_guest(b'\xf4', 5, 'stopped in disorder')

    def run_guest(self, code, status, words):
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('no /dev/kvm')
        with open(f'{self.directory}/guest', 'wb') as file:
            file.write(code)
        vmm = self.demo_vmm('--guest', f'{self.directory}/guest', '--timeout', '1')
        self.assertIn(words, vmm.ended(status))

    def test_stopped_by_a_signal(self):
        vmm = self.demo_vmm('--paused', '--no-kvm')
        vmm.said('paused')
        self.assertEqual(self.vm_names(), ['demo'])
        vmm.process.terminate()
        self.assertIn('stopped', vmm.ended(0))
        self.wait_until(lambda: self.vm_names() == [])

    def wait_for_an_answer(self, *arguments):
        """A VMM whose guest waits for a device that never answers; the device."""
        vmm = self.demo_vmm('--paused', *arguments)
        vmm.said('paused')
        device = self.attach('demo', regions=[region('pio', programs.UART, 8)], user='root')
        vmm.process.stdin.write(b'go\n')
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        return vmm, device

    def each_player(self):
        """The vCPU-less player, and KVM where it is."""
        for arguments in ([], ['--no-kvm']):
            if arguments or os.access('/dev/kvm', os.R_OK | os.W_OK):
                with self.subTest(arguments=arguments):
                    yield arguments

    def test_40_stopped_while_the_guest_waits(self):
        """The vCPU comes out of it by the device's deadline."""
        for arguments in self.each_player():
            vmm, device = self.wait_for_an_answer(*arguments)
            vmm.process.terminate()
            self.assertIn('stopped', vmm.ended(0))
            self.wait_until(lambda: self.vm_names() == [])
            device.close()

    def test_41_killed_while_the_guest_waits(self):
        """Nobody is left waiting, and all is free for the next one."""
        for arguments in self.each_player():
            vmm, device = self.wait_for_an_answer(*arguments)
            vmm.process.kill()
            vmm.process.wait(LIMIT)
            self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
            self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.VM_GONE)
            self.wait_until(lambda: self.vm_names() == [])
            device.close()

    def test_guest_goes_on_without_the_broker(self):
        vmm = self.demo_vmm('--paused', '--no-kvm')
        vmm.said('paused')
        self.uart(vm='demo'), self.scratch(vm='demo')
        self.daemon.process.kill()
        self.daemon.process.wait(LIMIT)
        self.daemon = None
        vmm.said('the broker is gone')
        vmm.process.stdin.write(b'go\n')
        vmm.ended(0)

    def test_reserved_ranges_and_ceiling(self):
        vmm = self.demo_vmm('--paused', '--no-kvm', '--reserve', 'mmio:0xd4000:4K', '--ceiling', 'replay')
        vmm.said('paused')
        for arguments, words in ((['--base', '0xd4800'], 'RegionOverlap'),
                                 (['--space', 'pio', '--base', '0xe9', '--size', '1'], 'RegionOverlap'),
                                 (['--base', '0xd0000', '--posted'], 'FeatureUnavailable')):
            with self.subTest(words):
                self.assertIn(words, self.device('scratch', *arguments, vm='demo').ended(3))

    def test_refused(self):
        self.register('demo')
        self.assertIn('VMExists', self.demo_vmm('--no-kvm').ended(3))

    def test_wrong_command_lines(self):
        for arguments in (['--reserve', 'pio:1'], ['--ceiling', 'all'], ['--timeout', 'long'], ['more'], ['--nonsense'],
                          ['--kvm-fd', '-1'], ['--no-kvm', '--guest', '/dev/null'],
                          ['--reserve', 'pio:1:1'] * 31):
            with self.subTest(arguments):
                self.assertIn('--help', self.demo_vmm(*arguments).ended(2))


if __name__ == '__main__':
    rig.main()
