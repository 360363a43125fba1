# SPDX-License-Identifier: LGPL-2.1-or-later
"""The broker ends and comes back; the module goes on meanwhile, and is what the broker finds again."""

import copy
import io
import os
import select
import signal
import unittest

import programs
import protocol
import rig
import service
from machine import Machine
from programs import SCRATCH
from rig import region

PORT, WRITES = 0x200, 20000
POLICY = copy.deepcopy(programs.POLICY)
POLICY['devices'][0]['timeout'] = '60s'  # longer than the emulated machine ever takes


@unittest.skipUnless(os.path.exists('/dev/ioregionfd'), 'there is no kernel dispatcher here')
class Restarts(service.Case, programs.Case):
    policy = POLICY

    def start(self, **keywords):
        self.vmm = self.register(dispatch='kernel', machine=Machine)
        return self.attach(user='root', regions=[region('pio', PORT, 1, 7)], **keywords)

    def read(self, device, value):
        self.vmm.ask('pio', PORT, 1)
        device.answer(value)
        self.assertEqual(self.vmm.answer(), value)

    def statistics(self, path):
        return self.call(path, 'org.ioregion1.Region', 'GetStatistics')[0]

    def replace_handle(self, fd):
        for name, stored in self.daemon.store[:]:
            if stored.fileno() == self.vmm.handle[1]:
                self.daemon.store.remove((name, stored))
                stored.close()
                if fd is not None:
                    self.daemon.store.append((name, io.FileIO(fd)))

    def nothing_is_left(self):
        self.wait_until(lambda: not self.vm_names())
        self.assertEqual((self.daemon.names(), self.handles(), self.daemon.state()), ([], set(), []))

    def test_52_at_full_rate(self):
        """A guest writes without a pause while the broker is killed again and again: none is lost, or done twice."""
        self.vmm = self.register(dispatch='kernel', machine=Machine)
        self.scratch()
        self.vmm.ask('mmio', SCRATCH, 1, 0x5a, WRITES)
        kills = 0
        while not select.select([self.vmm.guest], [], [], 0)[0]:
            self.restart()
            kills += 1
        self.assertEqual(self.vmm.answer(), 0)
        self.assertGreater(kills, 2)
        counts = self.statistics(rig.path_of('vm', 'scratch0', 0))
        self.assertEqual({name: counts[name] for name in ('reads', 'writes', 'failures', 'timeouts')},
                         {'reads': 0, 'writes': WRITES, 'failures': 0, 'timeouts': 0})
        self.vmm.ask('mmio', SCRATCH, 1)
        self.assertEqual(self.vmm.answer(), 0x5a)

    def test_65_all_that_a_device_does(self):
        """Accesses while nobody is there; then the broker counts on, and the device comes back, goes, comes anew."""
        device = self.start(on_disconnect='hold')
        self.read(device, 1)
        before = self.everything()
        self.daemon.end()
        self.read(device, 2)
        self.daemon.start()
        self.assertEqual(self.everything(), before)
        self.read(device, 3)
        self.assertEqual(self.statistics(f'{device.path}/region/0')['reads'], 3)
        device.close()
        self.wait_for_state(device, 'held')
        self.restart()
        again = self.attach(user='root', regions=[region('pio', PORT, 1, 7)], on_disconnect='hold')
        self.read(again, 4)
        self.restart()
        self.call(again.path, 'org.ioregion1.Device', 'Detach')
        self.assertEqual(self.vmm.regions, {})
        self.vmm.ask('pio', PORT, 1)
        self.assertIsNone(self.vmm.answer(), 'the VMM itself is asked again')
        self.read(self.attach(user='root', regions=[region('pio', PORT, 1, 7)]), 5)

    def test_65_the_vm_ends_meanwhile(self):
        device = self.start()
        self.daemon.end()
        self.vmm.request.end()
        self.daemon.start()
        self.nothing_is_left()
        self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.VM_GONE)
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')

    def test_65_a_vm_that_lives_by_its_handle_alone(self):
        """It was adopted, and its VMM has no lease that would tell of its end."""
        machine, process = Machine(), os.open('/proc/self/', os.O_RDONLY)
        self.addCleanup(os.close, process)
        self.register(dispatch='kernel', user='root', vm_fd=machine, process=process)
        device = self.attach(user='root', regions=[region('pio', PORT, 1, 7)])
        for number in (signal.SIGKILL, signal.SIGTERM):
            self.restart(number)
            self.assertEqual(self.state(device.path), 'attached')
        self.daemon.end()
        machine.close()
        self.daemon.start()
        self.nothing_is_left()

    def test_64_not_its_handle(self):
        """What comes back in the place of a VM's handle: descriptors of other kinds, or none."""
        for wrong in (None, lambda _: os.eventfd(0), lambda _: os.open('/dev/ioregionfd', os.O_RDWR),
                      lambda device: os.dup(device.channels[0].fileno())):
            device = self.start()
            self.daemon.end()
            self.replace_handle(wrong and wrong(device))
            self.daemon.start()
            self.nothing_is_left()
            self.assertIn('VM vm ends: what it lives by did not come back', self.daemon.log())
            self.assertIsNone(protocol.receive(device.lease))
            self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
            self.vmm.close()

    def test_52_a_loss_that_was_read(self):
        """The module tells of it once, and who read of it died."""
        device = self.start(on_disconnect='hold')
        self.daemon.end()
        device.misbehave()
        self.assertEqual(len(os.read(self.vmm.handle[1], 64)), 32)
        self.daemon.start()
        self.wait_for_state(device, 'failed')


if __name__ == '__main__':
    rig.main()
