# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a VMM does beside running a guest, under ioregion-run."""

import os
import select
import socket

import moves
import protocol
import rig
from privatebus import LIMIT
from rig import region


class Devices(moves.Case):
    def test_served_from_attach_to_detach(self):
        vmm = self.made()
        self.assert_unserved(vmm)
        device = self.port()
        self.assert_served(vmm, device)
        device.release()
        self.wait_until(lambda: not self.properties(rig.path_of('vm'), 'org.ioregion1.VM')['Devices'])
        self.assert_unserved(vmm)
        self.assertEqual(vmm.ended(), (0, '', ''))
        self.wait_until(lambda: not self.vm_names())

    def test_options_reach_the_broker(self):
        self.made('--reserve', 'pio:0x3f8:8', '--reserve', 'mmio:0xd0000:4K', '--ceiling', 'replay', '--dispatch',
                  'vmm')
        vm = self.properties(rig.path_of('vm'), 'org.ioregion1.VM')
        self.assertEqual((vm['Ceiling'], vm['Dispatch']), (['replay'], 'vmm'))
        with self.refused('RegionOverlap'):
            self.port()
        with self.refused('RegionOverlap'):
            self.attach('vm', 'window', [region('mmio', 0xd0fff, 1)], user='root')

    def test_14_region_in_guest_memory(self):
        vmm = self.made()
        self.assertEqual(vmm.ask('slot 0 0xd0000 0x10000'), 'set')
        with self.refused('RegionOverlap', 'guest memory'):
            self.attach('vm', 'window', [region('mmio', 0xd0000, 0x1000)], user='root')
        self.assertEqual(vmm.ask('slot 0 0xd0000 0'), 'set')
        self.attach('vm', 'window', [region('mmio', 0xd0000, 0x1000)], user='root')

    def test_memory_that_comes_over_a_region_is_told(self):
        vmm = self.made()
        self.attach('vm', 'window', [region('mmio', 0xd0000, 0x1000)], user='root')
        self.assert_unserved(vmm)
        self.assertEqual(vmm.ask('slot 0 0xd0000 0x1000'), 'set')
        self.assertIn('guest memory covers', vmm.warning())
        self.assert_unserved(vmm)

    def test_broker_that_goes(self):
        vmm = self.made()
        device = self.port()
        self.daemon.process.kill()
        self.daemon.process.wait(LIMIT)
        self.daemon = None
        self.assertIn('the broker is gone', vmm.warning())
        self.assert_served(vmm, device)

    def test_unregistered_by_an_operator(self):
        vmm = self.made()
        device = self.port()
        self.assert_served(vmm, device)
        self.call(rig.path_of('vm'), 'org.ioregion1.VM', 'Unregister')
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
        while (answer := vmm.ask('run 0')) != f'in {moves.PORT:#x}':
            self.assertEqual(answer, 'out 0xf4 0xff')  # the device is cut off before the region goes

    def test_38_threads_that_end(self):
        vmm = self.made()
        device = self.port()
        for move in ('thread', 'thread', 'run', 'thread'):
            self.assert_served(vmm, device, move=move)

    def assert_kicked(self, vmm, device, run, kick, answer):
        """An access that is under way ends as ever, then the VMM has its vCPU back, and nothing is done twice."""
        vmm.start(run)
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        self.assertEqual(vmm.ask(kick), answer)
        device.channels[0].send(protocol.Response(0x5a).pack())
        self.assertEqual(vmm.answer(), 'failed EINTR')

    def test_39_kicked_by_a_signal(self):
        vmm = self.made()
        device = self.port()
        self.assert_kicked(vmm, device, 'masked 0', 'kick', 'kicked')
        self.assertEqual(vmm.ask('run 0'), 'out 0xf4 0x5a')
        self.assert_served(vmm, device)

    def test_39_kicked_by_immediate_exit(self):
        vmm = self.made()
        device = self.port()
        self.assert_kicked(vmm, device, 'background 0', 'immediate-exit 0', '1')
        self.assertEqual(vmm.ask('run 0'), 'failed EINTR')
        self.assertEqual(vmm.ask('immediate-exit 0'), '0')
        self.assertEqual(vmm.ask('run 0'), 'out 0xf4 0x5a')
        self.assert_served(vmm, device)

    def test_a_thread_that_no_signal_reaches(self):
        vmm = self.made()
        tasks = f'/proc/{vmm.process.pid}/task'
        blocked = {}
        for task in os.listdir(tasks):
            with open(f'{tasks}/{task}/status') as status:
                fields = dict(line.rstrip('\n').split(':\t', 1) for line in status if ':\t' in line)
            blocked[fields['Name']] = int(fields['SigBlk'], 16)
        self.assertEqual(blocked.keys(), {'moves', 'ioregion-run'})
        for signal in range(1, 32):
            if signal not in (9, 19):  # which nobody can block
                self.assertTrue(blocked['ioregion-run'] >> (signal - 1) & 1, signal)


class Notification(moves.Case):
    def test_ready_with_the_first_vm(self):
        """What a unit of Type=notify waits for."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(f'{self.directory}/ready')
            notify.settimeout(LIMIT)
            vmm = self.start(environment={'NOTIFY_SOCKET': f'{self.directory}/ready'})
            self.assertEqual(vmm.ask('nothing'), 'what?')
            self.assertFalse(select.select([notify], [], [], 0)[0])
            self.assertEqual(vmm.ask('make 0'), 'made')
            self.assertEqual(notify.recv(100), b'READY=1')
            self.assertEqual(vmm.ask('make 1'), 'made')
            self.assertFalse(select.select([notify], [], [], 0)[0])


class Descriptors(moves.Case):
    def assert_gone(self, *left):
        self.wait_until(lambda: self.vm_names() == list(left))

    def test_several_vms(self):
        vmm = self.made()
        self.assertEqual(vmm.ask('make 1'), 'made')
        self.assertEqual(sorted(self.vm_names()), ['vm', 'vm.2'])
        devices = [self.port('vm'), self.port('vm.2')]
        for number in (0, 1, 1, 0):
            self.assert_served(vmm, devices[number], number)
        self.assertEqual(vmm.ask('free 0'), 'freed')
        self.assert_gone('vm.2')
        self.assert_served(vmm, devices[1], 1)
        self.assertEqual(vmm.ask('make 0'), 'made')
        self.assertEqual(sorted(self.vm_names()), ['vm', 'vm.2'])
        self.assert_unserved(vmm)

    def test_refusal_of_a_second_vm_is_its_own(self):
        self.register('vm.2')
        vmm = self.made()
        device = self.port()
        self.assertEqual(vmm.ask('make 1'), 'failed EEXIST')
        self.assertIn('VM vm.2: refused', vmm.warning())
        self.assert_served(vmm, device)

    def test_numbers_that_come_again(self):
        """At once, and under the same name."""
        vmm = self.made()
        for _ in range(20):
            device = self.port()
            self.assert_served(vmm, device)
            self.assertEqual(vmm.ask('free 0'), 'freed')
            self.assertEqual(vmm.ask('make 0'), 'made')
            device.close()
        self.assert_unserved(vmm)

    def test_numbers_that_come_again_unseen(self):
        vmm = self.made()
        self.port()
        self.assertEqual(vmm.ask('lose-vcpu 0'), 'lost')
        self.assertEqual(vmm.ask('lose-vm 0'), 'lost')
        self.assertEqual(self.vm_names(), ['vm'])
        self.assertEqual(vmm.ask('make 1'), 'made')
        self.assertEqual(vmm.ask('make 2'), 'made')
        self.assert_unserved(vmm, 1)

    def test_numbers_that_come_again_in_the_library(self):
        """The channels of devices have them now, and are closed again."""
        vmm = self.made()
        self.assertEqual(vmm.ask('lose-vcpu 0'), 'lost')
        self.assertEqual(vmm.ask('lose-vm 0'), 'lost')
        devices = [self.attach('vm', f'port{i}', [region('pio', 0x300 + i, 1)], user='root') for i in range(3)]
        for device in devices:
            device.release()
        self.wait_until(lambda: not self.properties(rig.path_of('vm'), 'org.ioregion1.VM')['Devices'])
        self.assertEqual(vmm.ask('make 1'), 'made')
        self.assert_unserved(vmm, 1)
        self.assertEqual(vmm.ended(), (0, '', ''))

    def test_duplicates_are_told(self):
        """They are not known, and what is run under them has no device: nobody should have to find that out."""
        vmm = self.made()
        self.assertEqual(vmm.ask('duplicate-vm 0'), 'EBADF')
        self.assertIn('another descriptor', vmm.warning())
        self.assertEqual(vmm.ask('duplicate-vcpu 0'), 'duplicated')
        self.assertEqual(vmm.ask('run 0'), 'failed EBADF')
        self.assertIn('another descriptor', vmm.warning())

    def test_vm_lives_as_long_as_a_vcpu(self):
        vmm = self.made()
        device = self.port()
        self.assertEqual(vmm.ask('close-vm 0'), 'closed')
        self.assert_served(vmm, device)
        self.assertEqual(self.vm_names(), ['vm'])
        self.assertEqual(vmm.ask('close-vcpu 0'), 'closed')
        self.assert_gone()

    def test_closed_while_a_vcpu_waits(self):
        vmm = self.made()
        device = self.port()
        vmm.start('background 0')
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        self.assertEqual(vmm.ask('close-vcpu 0'), 'closed')
        self.assertEqual(vmm.ask('close-vm 0'), 'closed')
        self.assertEqual(self.vm_names(), ['vm'])
        device.channels[0].send(protocol.Response(0x5a).pack())
        self.assertEqual(vmm.answer(), 'failed EBADF')
        self.assert_gone()

    def test_closed_while_a_vcpu_waits_and_there_again(self):
        """The number is another vCPU's by then, which this thread has no business with."""
        vmm = self.made()
        self.assertEqual(vmm.ask('make 1'), 'made')
        device = self.port()
        vmm.start('background 0')
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        self.assertEqual(vmm.ask('close-vcpu 0'), 'closed')
        self.assertEqual(vmm.ask('duplicate-vcpu 1'), 'duplicated')
        device.channels[0].send(protocol.Response(0x5a).pack())
        self.assertEqual(vmm.answer(), 'failed EBADF')

    def test_children_take_nothing_away(self):
        vmm = self.made()
        device = self.port()
        for move in ('fork', 'vfork'):
            self.assertEqual(vmm.ask(move), 'forked')
            self.assert_served(vmm, device)
        self.assertEqual(self.vm_names(), ['vm'])

    def children(self, vmm):
        lines = []
        vmm.start('children')
        while (line := vmm.answer()) != 'end':
            lines.append(line)
        return lines

    def test_children_know_nothing(self):
        """No variable, no descriptor."""
        vmm = self.made()
        self.port()
        lines = self.children(vmm)
        self.assertTrue(any(line.startswith('DBUS_SYSTEM_BUS_ADDRESS=') for line in lines), lines)
        self.assertFalse([line for line in lines if line.startswith(('LD_PRELOAD=', 'IOREGION_RUN='))])
        # the last is the shell's own, for the folder
        self.assertEqual([line for line in lines if line.startswith('descriptor')][:3],
                         ['descriptor 0', 'descriptor 1', 'descriptor 2'])
        self.assertLessEqual(len([line for line in lines if line.startswith('descriptor')]), 4)

    def test_other_libraries_stay(self):
        vmm = self.start(environment={'LD_PRELOAD': 'libcap.so.2'})
        self.assertIn('LD_PRELOAD=libcap.so.2', self.children(vmm))


if __name__ == '__main__':
    moves.main()
