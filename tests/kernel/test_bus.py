# SPDX-License-Identifier: LGPL-2.1-or-later
"""What else has to do with the VM: its other users of addresses, and others' processes. Edge cases by number."""

import fcntl
import os
import struct
import unittest

import machine
import rig
from machine import Machine
from rig import region

KVM_IOEVENTFD, PIO = 0x4040ae79, 2


class Doorbell(Machine):
    """With an ioeventfd of its own at a port, of which the broker hears nothing."""

    PORT = 0x202

    def __init__(self):
        super().__init__()
        self.doorbell = os.eventfd(0)
        fcntl.ioctl(self.fd, KVM_IOEVENTFD, struct.pack('=QQIiI36x', 0, self.PORT, 1, self.doorbell, PIO))


@unittest.skipUnless(os.path.exists('/dev/ioregionfd'), 'there is no kernel dispatcher here')
class Bus(rig.Case):
    def test_06_15_port_with_an_ioeventfd(self):
        """The third of four regions can't be had: none is, and all that was done is undone."""
        vmm = self.register(dispatch='kernel', machine=Doorbell)
        fds = self.daemon.fds()
        four = [region('pio', 0x200 + number, 1, number) for number in range(4)]
        with self.refused('RegionOverlap', 'a device of its own'):
            self.attach(regions=four)
        self.assertEqual((vmm.regions, self.manager('ListDevices')[0]), ({}, []))
        self.assertEqual(self.daemon.fds(), fds)
        self.attach(regions=four[:2] + four[3:])
        self.assertEqual(len(vmm.regions), 3)

    def test_14_guest_memory(self):
        self.register(dispatch='kernel', machine=Machine)
        with self.refused('RegionOverlap', 'guest memory'):
            self.attach(regions=[region('mmio', machine.BASE, 16)])

    def test_16_53_vm_of_another_process(self):
        """Its descriptor is all that it takes to make a VM's ioctls fail; ours would work, so who made it is asked."""
        fds = self.daemon.fds()
        for dispatch in ('kernel', 'auto'):
            with self.refused('NotAVM', 'not a VM of process'):
                self.register(dispatch=dispatch, vm_fd=Machine())
        self.assertEqual((self.vm_names(), self.daemon.fds()), ([], fds))


if __name__ == '__main__':
    rig.main()
