# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real systemd keeps the handles of VMs, and the shipped unit comes back to them; for ../system/container.py.

Guests use a register as fast as they go meanwhile, and look at each value.
"""

import json
import os
import signal
import unittest

import guest
import host
import kernel_vmm
import tap
from host import MANAGER, POLICY, UNIT, drop_in, journal, say, systemctl, write

KILLS = 5
PATIENCE = '60s'  # longer than the emulated machine ever takes
VM, DEVICE = '/org/ioregion1/vm/{}', '/org/ioregion1/vm/{}/device/scratch0'


def setUpModule():
    if not os.path.exists('/dev/ioregionfd'):
        raise unittest.SkipTest('there is no kernel dispatcher here')
    host.set_up()
    drop_in(UNIT, f'[Service]\nWatchdogSec={PATIENCE}\n')
    write(f'{POLICY}/30-registers.json', json.dumps({'version': 1, 'devices': [{**guest.RULE, 'timeout': PATIENCE}]}))
    guest.add_template()


class Systemd(host.Case):
    def setUp(self):
        """Two VMs, since systemd must not take one handle for the other; and only one has a guest that writes, too."""
        self.guests = {vm: guest.Guest(self.addCleanup, kind, vm, guest.add_device(vm, timeout=PATIENCE))
                       for vm, kind in (('reads', 'counts'), ('writes', 'keeps'))}
        for vm in self.guests:
            self.assertEqual(self.get('Dispatch', VM.format(vm), 'org.ioregion1.VM'), 'kernel')

    def check(self, vm):
        """The guest goes on, all that it reads is right, and all that it ever did was counted."""
        using = self.guests[vm]
        rounds, *wrong = using.look()
        self.assertGreater(rounds, 0)
        self.assertFalse(any(wrong), (wrong, journal(UNIT)))
        counts, = self.bus.call(f'{DEVICE.format(vm)}/region/0', 'org.ioregion1.Region', 'GetStatistics')
        self.assertGreaterEqual(counts['reads'], using.seen.rounds)
        self.assertEqual(counts['writes'] >= using.seen.rounds, vm == 'writes', counts)
        self.assertEqual((counts['failures'], counts['timeouts']), (0, 0))

    def vms(self):
        return {vm[0] for vm in self.bus.call(*MANAGER, 'ListVMs')[0]}

    def kept(self):
        """How many handles the broker has; and how many descriptors systemd, which has leases as well."""
        return len(kernel_vmm.handles(self.pid())), int(say(UNIT, 'NFileDescriptorStore'))

    def test_65_killed_and_then_they_end(self):
        before = self.objects(), self.kept()
        self.assertEqual(before[1][0], len(self.guests))
        for _ in range(KILLS):
            self.end(signal.SIGKILL)
            self.assertEqual((self.objects(), self.kept()), before)
            for vm in self.guests:
                self.check(vm)
        self.end_of_a_vm()
        self.end_of_a_device()

    def end_of_a_vm(self):
        device = say('ioregion-registers@writes.service', 'MainPID')
        systemctl('kill', '--signal=KILL', '--kill-whom=main', 'vm@writes.service')
        self.wait(lambda: self.vms() == {'reads'} and self.kept()[0] == 1)
        self.wait(lambda: say('ioregion-registers@writes.service', 'MainPID') != device)
        self.guests['writes'].close()
        self.check('reads')

    def end_of_a_device(self):
        """The guest's accesses find nobody, as before it came; and when the VM has ended, too, nothing is kept."""
        systemctl('stop', 'ioregion-registers@reads.service')
        self.wait(lambda: self.guests['reads'].look().ones)
        self.assertNotIn(DEVICE.format('reads'), self.objects())
        self.guests['reads'].close()
        self.wait(lambda: self.kept() == (0, 0))
        self.assertEqual(self.vms(), set())


if __name__ == '__main__':
    tap.main()
