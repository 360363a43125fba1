# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the module tells of, and what happens to the lease, in the order in which it came about."""

import os
import signal
import unittest

import protocol
import rig
from machine import Machine
from rig import region


@unittest.skipUnless(os.path.exists('/dev/ioregionfd'), 'there is no kernel dispatcher here')
class Events(rig.Case):
    def stop_the_daemon(self):
        os.kill(self.daemon.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.daemon.pid, os.WSTOPPED | os.WNOWAIT)

    def test_29_51_violation_and_hang_up(self):
        """The broker learns of both at once, and yet none is held: who broke the protocol failed, and then hung up."""
        self.register(dispatch='kernel', machine=Machine)
        devices = [self.attach(name=f'dev{i}', regions=[region('pio', 0x200 + i, 1)], on_disconnect='hold')
                   for i in range(4)]
        self.stop_the_daemon()
        for device in devices:
            device.misbehave()
            device.lease.close()
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.wait_until(lambda: not self.manager('ListDevices')[0])

    def test_45_release_while_the_guest_waits(self):
        vmm = self.register(dispatch='kernel', machine=Machine)
        device = self.attach(regions=[region('pio', 0x200, 1)], on_disconnect='hold')
        vmm.ask('pio', 0x200, 1)
        self.assertEqual(len(protocol.receive_packet(device.channels[0])), 32)
        device.release()
        self.assertEqual(vmm.answer(), 0xff)
        self.wait_until(lambda: not vmm.regions)
        vmm.ask('pio', 0x200, 1)
        self.assertIsNone(vmm.answer(), 'the VMM itself is asked again')


if __name__ == '__main__':
    rig.main()
