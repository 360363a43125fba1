# SPDX-License-Identifier: LGPL-2.1-or-later
"""VMs on an unmodified QEMU as units, as doc/unmodified-vmms.md says; for container.py."""

import os
import re

import tap
from host import MANAGER, POLICY, UNITS, Case, journal, say, set_up, systemctl, write

VM, DEVICE = 'vm-alpha.service', 'ioregion-uart@alpha.service'

with open('/rig/source/doc/unmodified-vmms.md') as document:
    TEXT = document.read()


def recipes(kind):
    """As they stand there, but for the account: here only root has KVM."""
    return [text.replace('User=vmm', 'User=root').replace('"user": "vmm"', '"user": "root"')
            for text in re.findall(rf'```{kind}\n(.*?)```', TEXT, flags=re.S)]


def setUpModule():
    set_up()


class Vms(Case):
    def setUp(self):
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('no /dev/kvm')
        write(f'{POLICY}/30-vms.json', recipes('json')[0])
        self.bus.call(*MANAGER, 'Reload')
        unit, drop_in = recipes('ini')
        write(f'{UNITS}/{VM}', unit)
        write(f'{UNITS}/{DEVICE}.d/vm.conf', drop_in)
        write('/var/lib/vm/alpha.qcow2', '\0' * 512)
        systemctl('daemon-reload')
        self.addCleanup(systemctl, 'stop', VM, DEVICE)

    def vms(self):
        return self.bus.call(*MANAGER, 'ListVMs')[0]

    def test_unit_with_a_device(self):
        """Ready is registered; the device is ordered behind it, attaches, and goes with it."""
        systemctl('start', DEVICE)
        self.assertEqual(say(VM, 'ActiveState'), 'active', journal(VM))
        self.assertIn(VM, str(self.vms()))
        device = '/org/ioregion1/vm/alpha/device/uart0', 'org.ioregion1.Device'
        self.assertEqual(self.get('State', *device), 'attached')
        self.assertEqual(self.get('Unit', *device), DEVICE)
        systemctl('stop', VM)
        self.assertEqual(say(DEVICE, 'ActiveState'), 'inactive')
        self.wait(lambda: not self.vms())

    def test_unit_that_is_refused(self):
        """It fails with the reason in its journal, and is never ready."""
        write(f'{POLICY}/30-vms.json', '{"version": 1}')
        self.bus.call(*MANAGER, 'Reload')
        systemctl('start', VM, check=False)
        self.assertEqual(say(VM, 'ExecMainStatus'), '125')
        self.wait(lambda: 'PolicyDenied' in journal(VM))


if __name__ == '__main__':
    tap.main()
