# SPDX-License-Identifier: LGPL-2.1-or-later
"""ioregionctl adopt: a VM whose VMM knows nothing of the broker."""

import os
import subprocess
import sys
import unittest

import rig
from daemon import USER
from played_systemd import Systemd
from privatebus import LIMIT
from tool import Tool

NODE = '/dev/ioregionfd'
VMM = '''
import fcntl, os, sys
kvm = os.open('/dev/kvm', os.O_RDWR)
vms = [fcntl.ioctl(kvm, 0xAE01, 0) for _ in range(int(sys.argv[1]))]
print('ready', flush=True)
sys.stdin.read()
'''


class Adoption(Tool):
    """A VM whose VMM knows nothing of the broker. What comes of it is for the kernel dispatcher's rig to show."""

    policy = {**rig.POLICY, 'vmms': [{'name': 'roots', 'match': {'user': 'root'}, 'vms': ['*']}]}

    def vmm(self, vms=1, **account):
        """A process with VMs, and nothing else."""
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('no /dev/kvm')
        process = subprocess.Popen([sys.executable, '-c', VMM, str(vms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   **account)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, LIMIT)
        self.addCleanup(process.stdin.close)
        self.assertEqual(process.stdout.readline(), b'ready\n')
        return process

    def adopt(self, process, *arguments, **keywords):
        return self.run_tool('adopt', '--pid', str(process.pid), '--vm', 'found', *arguments, **keywords)[1]

    @unittest.skipIf(os.path.exists(NODE), 'the module is here')
    def test_without_the_module(self):
        self.assertIn('ioregionfd.ko loaded', self.adopt(self.vmm(), status=1))

    @unittest.skipUnless(os.path.exists(NODE), 'there is no /dev/ioregionfd')
    def test_until_the_end(self):
        process = self.vmm()
        self.adopt(process)
        rows = self.json('list', 'vms')
        self.assertEqual([(row['name'], row['pid'], row['dispatch']) for row in rows],
                         [('found', process.pid, 'kernel')])
        self.assertIn('adopted by user 0', self.daemon.log())
        self.assertIn('VMExists', self.adopt(process, status=1))
        process.kill()
        self.wait_until(lambda: not self.json('list', 'vms'))

    def test_which_vm(self):
        self.assertIn('has no VM', self.adopt(self.vmm(0), status=1))
        two = self.vmm(2)
        self.assertIn('choose with --fd', self.adopt(two, status=1))
        self.assertIn('Bad file descriptor', self.adopt(two, '--fd', '999', status=1))
        self.assertIn('NotAVM', self.adopt(two, '--fd', '0', status=1))

    def test_no_process(self):
        process = subprocess.Popen(['true'])
        process.wait(LIMIT)
        self.assertIn('No such process', self.adopt(process, status=1))

    def test_operators_only(self):
        self.write_policy({**self.policy, 'operators': [{'name': 'nobody', 'match': {'user': 'nobody'}}]})
        self.run_tool('policy', 'reload')
        self.assertIn('PolicyDenied', self.adopt(self.vmm(), status=1))

    def test_policy_is_asked_about_the_process(self):
        self.write_policy(rig.POLICY)
        self.run_tool('policy', 'reload')
        self.assertIn('PolicyDenied', self.adopt(self.vmm(), status=1))

    def test_policy_is_asked_about_a_process_that_the_broker_does_not_see(self):
        self.need_mounts()
        self.write_policy(rig.POLICY)
        self.stop_daemon()
        self.start_daemon('--user', USER or rig.DAEMON_USER, wrapper=rig.HIDDEN_PROCESSES)
        systemd = Systemd(self.bus.address)
        self.addCleanup(systemd.close)
        self.vmms.append(systemd)  # it's played like one
        self.assertIn('PolicyDenied', self.adopt(self.vmm(), status=1))
        process = self.vmm(user=rig.VMM_USER, group=os.stat('/dev/kvm').st_gid, extra_groups=[])
        if os.path.exists(NODE):
            self.adopt(process)
            self.assertEqual([(row['pid'], row['user']) for row in self.json('list', 'vms')],
                             [(process.pid, rig.VMM_USER)])
        else:
            self.assertIn('ioregionfd.ko loaded', self.adopt(process, status=1))

    def test_usage(self):
        for arguments in ((), ('--pid', '1'), ('--vm', 'x'), ('--pid', 'x', '--vm', 'x'), ('--pid', '0', '--vm', 'x'),
                          ('--pid', '1', '--vm', 'x', '--fd', '-1'), ('--pid', '1', '--vm', 'x', 'y')):
            self.run_tool('adopt', *arguments, status=2)


if __name__ == '__main__':
    rig.main()
