# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMM, device and broker end without a word while a vCPU waits for the device: nothing hangs, and nothing stays."""

import copy
import itertools
import os
import re
import signal
import time
import unittest

import programs
import protocol
import rig
from machine import Machine
from programs import SCRATCH

POLICY = copy.deepcopy(programs.POLICY)
POLICY['devices'][0]['timeout'] = '60s'  # longer than this test may take
SILENCE = SCRATCH + 0x1000 - 64 + 16
SOON = 5  # seconds, under emulation


def references(module):
    with open(f'/sys/module/{module}/refcnt') as count:
        return int(count.read())


def soon(condition):
    """KVM gives the last references back from a work queue, and nobody tells of it."""
    deadline = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > deadline:
            return False
        os.sched_yield()
    return True


def ioregionfds(pid):
    """What the kernel tells of a process's ioregionfds."""
    for number in os.listdir(f'/proc/{pid}/fd'):
        if os.readlink(f'/proc/{pid}/fd/{number}') == 'anon_inode:[ioregionfd]':
            with open(f'/proc/{pid}/fdinfo/{number}') as info:
                yield info.read()


def end(pid):
    """SIGKILL, and how long it took in seconds."""
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return time.monotonic() - start


@unittest.skipUnless(os.path.exists('/dev/ioregionfd'), 'there is no kernel dispatcher here')
class Kill(programs.Case):
    policy = POLICY

    def setUp(self):
        super().setUp()
        self.before = references('ioregionfd'), references('kvm_amd')

    def set_scene(self):
        """A vCPU that waits for a device that has its command, and the pids of all three."""
        vmm = self.register(dispatch='kernel', machine=Machine)
        device = self.scratch('--test-controls')
        vmm.ask('mmio', SILENCE, 4, 1)
        self.assertEqual(vmm.answer(), 0)
        vmm.ask('mmio', SCRATCH, 4)
        self.assertTrue(soon(lambda: any(re.search('unread:\t0\nowed:\t1', info)
                                         for info in ioregionfds(device.process.pid))))
        return vmm, device

    def assert_nothing_left(self):
        self.assertTrue(soon(lambda: (references('ioregionfd'), references('kvm_amd')) == self.before),
                        (references('ioregionfd'), references('kvm_amd'), self.before))

    def end_all(self, order):
        vmm, device = self.set_scene()
        pids = {'vmm': vmm.request.pid, 'device': device.process.pid, 'broker': self.daemon.pid}
        for number, role in enumerate(order):
            self.assertLess(end(pids[role]), SOON, role)
            if number == 0 and role != 'vmm':
                self.assertEqual(vmm.answer(), 0xffffffff, 'ones, as soon as the device can no longer be asked')
        self.daemon = None
        vmm.request.stays = False
        for closed in (vmm.lease, vmm.guest, device):
            closed.close()
        self.assert_nothing_left()
        self.start_daemon()

    def test_57_every_order(self):
        for order in itertools.permutations(('vmm', 'device', 'broker')):
            with self.subTest(order):
                self.end_all(order)

    def test_41_nothing_of_a_vm_stays_with_the_broker(self):
        """The descriptor that keeps a VM alive is closed before the VMM hears that it is registered."""
        fds = self.daemon.fds()
        vmm = self.register(dispatch='kernel', machine=Machine)
        kinds = {os.readlink(f'/proc/{self.daemon.pid}/fd/{fd}') for fd in os.listdir(f'/proc/{self.daemon.pid}/fd')}
        self.assertIn('anon_inode:[ioregionfd-vm]', kinds)
        self.assertFalse([kind for kind in kinds if kind.startswith('anon_inode:kvm')])
        device = self.attach(user='root', regions=[rig.region('mmio', SCRATCH, 16)])
        vmm.ask('mmio', SCRATCH, 4)
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        vmm.close()
        self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.VM_GONE)
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
        self.wait_until(lambda: not self.vm_names())
        device.close()
        self.assert_nothing_left()
        self.assertEqual(self.daemon.fds(), fds)


if __name__ == '__main__':
    rig.main()
