# SPDX-License-Identifier: LGPL-2.1-or-later
"""What udev makes of the module's node by the rule that is shipped, among all of Debian's."""

import grp
import os
import pathlib
import re
import stat
import subprocess
import unittest

import tap

NODE, RULES = '/dev/ioregionfd', pathlib.Path(__file__).resolve().parents[2] / 'kernel/60-ioregionfd.rules'
# What udevadm calls a test is done in earnest, but for programs. Its files go to a /run that nobody else sees
TEST = ('mount -t tmpfs tmpfs /run && mkdir -p /run/udev/rules.d && cat > /run/udev/rules.d/60-ioregionfd.rules && '
        'exec udevadm test --action=add /sys/devices/virtual/misc/ioregionfd')


@unittest.skipUnless(os.path.exists(NODE), 'there is no kernel dispatcher here')
class Udev(unittest.TestCase):
    def owners(self):
        told = os.stat(NODE)
        return told.st_uid, grp.getgrgid(told.st_gid).gr_name, stat.S_IMODE(told.st_mode)

    def test_the_node_is_for_the_broker_alone(self):
        before = os.stat(NODE)
        self.addCleanup(os.chmod, NODE, stat.S_IMODE(before.st_mode))
        self.addCleanup(os.chown, NODE, before.st_uid, before.st_gid)
        os.chown(NODE, 0, 0)
        os.chmod(NODE, 0o600)
        told = subprocess.run(['unshare', '--mount', 'sh', '-c', TEST], input=RULES.read_text(), timeout=30, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(told.returncode, 0, told.stdout)
        self.assertEqual(self.owners(), (0, 'ioregion', 0o660), told.stdout)
        self.assertEqual(re.findall(r'60-ioregionfd\.rules:\d+ (\w+)', told.stdout), ['OWNER', 'GROUP', 'MODE'])


if __name__ == '__main__':
    tap.main()
