# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same guest on QEMU with its own devices, and with ours through ioregion-run."""

import os

import guests
import programs
import rig
from daemon import BUILD
from qemu import Qemu

RUN = f'{BUILD}/clients/ioregion-run/ioregion-run'
VM = 'guest'

POLICY = {
    **programs.POLICY,
    'vmms': [{'name': 'vmms', **programs.USER, 'dispatch': ['vmm']}],
    'devices': [{**programs.POLICY['devices'][0], 'regions': [{'space': 'mmio', 'within': ['0', '0xffffffff']},
                                                              {'space': 'pio', 'within': ['0', '0xffff']}]}],
}


class Case(programs.Case):
    """A broker, QEMUs and devices."""

    policy = POLICY

    def setUp(self):
        reason = guests.missing()
        if reason:
            self.skipTest(reason)
        super().setUp()

    def qemu(self, *arguments, **keywords):
        qemu = Qemu(self.directory, *arguments, **keywords)
        self.addCleanup(qemu.close)
        return qemu

    def run_qemu(self, *arguments, vm=VM, **keywords):
        """QEMU through ioregion-run, its VM registered."""
        if not os.access(RUN, os.X_OK):
            self.skipTest('no ioregion-run')
        qemu = self.qemu(*arguments, wrapper=[RUN, '--vm', vm, '--'],
                         environment={'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address}, **keywords)
        qemu.wait_for_start()
        self.assertIn(vm, self.vm_names(), qemu.error_text())
        return qemu

    def device(self, program, *arguments, vm=VM, **keywords):
        return super().device(program, *arguments, vm=vm, **keywords)

    def image(self, name, *values):
        """QEMU's options to run that guest."""
        return guests.boot(guests.image(self.directory, name, *values))


main = rig.main
