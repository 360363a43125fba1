# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU's own ways to go about it, under ioregion-run: emulation, the sandbox, the background, helpers."""

import os
import subprocess

import comparison
from comparison import RUN, VM
from qemu import SANDBOX
from rig import region

PLAIN = ['-nodefaults', '-no-user-config', '-display', 'none']
QEMU = 'qemu-system-x86_64'


class Case(comparison.Case):
    def start(self, *arguments, status=125):
        """QEMU from its start to its end, or into the background; what it said."""
        qemu = subprocess.run([RUN, '--vm', VM, '--', QEMU, *PLAIN, *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=30,
                              env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address})
        self.assertEqual(qemu.returncode, status, qemu.stderr)
        return qemu.stderr


class Emulation(Case):
    """QEMU without KVM is refused before its guest runs, however it came to that."""

    def test_by_default(self):
        self.assertIn('without KVM', self.start())

    def test_by_name(self):
        self.assertIn('without KVM', self.start('-accel', 'tcg'))
        self.assertIn('without KVM', self.start('-machine', 'q35,accel=tcg'))
        self.assertIn('without KVM', self.start('-accel', 'tcg,split-wx=on', '-S'))

    def test_in_the_background(self):
        self.assertIn('without KVM', self.start('-daemonize', status=1))

    def test_instead_of_kvm(self):
        """No falling back from a VM that the broker refuses."""
        self.write_policy({'version': 1})
        self.stop_daemon()
        self.start_daemon()
        self.assertIn('PolicyDenied', self.start('-accel', 'kvm', '-accel', 'tcg'))

    def test_no_guest_at_all(self):
        self.assertIn('without ever making a VM', self.start('-version'))

    def test_errors_of_its_own(self):
        errors = self.start('-no-such-option', status=1)
        self.assertNotIn('ioregion-run', errors)


class Beside(Case):
    def test_in_the_background(self):
        """The VM belongs to the process that stays."""
        pid_file = f'{self.directory}/pid'
        self.start('-accel', 'kvm', '-S', '-daemonize', '-pidfile', pid_file, status=0)
        with open(pid_file) as file:
            pid = int(file.read())
        self.addCleanup(self.kill, pid)
        self.assertEqual(self.vm_names(), [VM])
        os.kill(pid, 15)
        self.wait_until(lambda: not self.vm_names())

    def kill(self, pid):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass

    def inheritable(self, qemu):
        """What a program that QEMU executes would be given, each by its kind."""
        kinds = []
        for fd in os.listdir(f'/proc/{qemu.pid}/fd'):
            with open(f'/proc/{qemu.pid}/fdinfo/{fd}') as info:
                flags = int(next(line.split()[1] for line in info if line.startswith('flags:')), 8)
            if not flags & os.O_CLOEXEC:
                kinds.append(os.readlink(f'/proc/{qemu.pid}/fd/{fd}').split(':')[0])
        return sorted(kinds)

    def test_descriptors_that_children_get(self):
        """No more than without us, with a device attached."""
        plain = self.qemu(paused=True)
        plain.wait_for_start()
        qemu = self.run_qemu(paused=True)
        self.attached('scratch', '--base', '0xd0000000')
        # their files for standard error have different names
        self.assertEqual([kind for kind in self.inheritable(qemu) if '/' not in kind],
                         [kind for kind in self.inheritable(plain) if '/' not in kind])

    def test_helpers_know_nothing(self):
        """What QEMU executes finds the environment that QEMU was meant to have."""
        qemu = self.run_qemu(paused=True)
        qemu.call('migrate', uri=f'exec:env > {self.directory}/environment')
        qemu.quit()
        with open(f'{self.directory}/environment') as file:
            names = {line.split('=')[0] for line in file if '=' in line}
        self.assertIn('DBUS_SYSTEM_BUS_ADDRESS', names)
        self.assertFalse(names & {'LD_PRELOAD', 'IOREGION_RUN'})

    def test_sandbox(self):
        """Registered, attached and served behind QEMU's own filter."""
        qemu = self.run_qemu(*SANDBOX, *self.image('watch.rom', 0x3ff), paused=True)
        device = self.attach(VM, 'port', [region('pio', 0x3ff, 2)], user='root')
        qemu.call('cont')
        for value in (0x11, 0, 0, 0x22):
            device.answer(value)
        qemu.wait_for_words('start 22 reads 11')


if __name__ == '__main__':
    comparison.main()
