# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ioregion-run can't do it says, and the guest does not start."""

import os
import shutil
import struct
import subprocess

import moves
import rig


class Refuses(moves.Case):
    def assert_refused(self, status, words, *arguments, program=(moves.MOVES,), **keywords):
        """Nothing but these words, and this status; the VMM's own moves are not even begun."""
        vmm = moves.Moves(self, *arguments, program=program, **keywords)
        result, output, errors = vmm.ended()
        self.assertEqual((result, output), (status, ''), errors)
        self.assertRegex(errors, '^ioregion-run: .*\n$')
        self.assertIn(words, errors)

    def variant(self, change=lambda data: data, mode=0o755):
        """Another program, much like the VMM; its path."""
        path = f'{self.directory}/variant'
        with open(moves.MOVES, 'rb') as file, open(path, 'wb') as copy:
            copy.write(change(file.read()))
        os.chmod(path, mode)
        return path

    def assert_unfit(self, words, path):
        self.assert_refused(126, words, '--vm', 'vm', '--', program=[path])

    # The program

    def test_static_program(self):
        self.assert_unfit('linked statically', '/sbin/ldconfig')

    def test_setuid_programs(self):
        for mode in (0o4755, 0o2755):
            with self.subTest(mode):
                self.assert_unfit('setuid', self.variant(mode=mode))

    def test_program_with_capabilities(self):
        path = self.variant()
        magic, net_bind = 0x02000001, 1 << 10
        os.setxattr(path, 'security.capability', struct.pack('<5I', magic, net_bind, 0, 0, 0))
        self.assert_unfit('capabilities', path)

    def test_script(self):
        self.assert_unfit('script', self.variant(lambda data: b'#!/bin/sh\nexec true\n'))
        self.assert_unfit('script', self.variant(lambda data: b''))

    def test_other_loader(self):
        self.assert_unfit('its loader is /lib64/ld-other-x86-64.so.2',
                          self.variant(lambda data: data.replace(b'/lib64/ld-linux-', b'/lib64/ld-other-', 1)))

    def test_other_machine(self):
        self.assert_unfit('another kind of machine', self.variant(lambda data: data[:18] + b'\xb7\0' + data[20:]))

    def test_cut_off_program(self):
        self.assert_unfit('Input/output error', self.variant(lambda data: data[:64]))

    def test_no_program(self):
        self.assert_refused(127, 'no such program', '--vm', 'vm', '--', program=['/nonexistent/vmm'])
        self.assert_refused(127, 'no such program', '--vm', 'vm', '--', program=['no-such-vmm-anywhere'])
        self.assert_refused(126, 'Permission denied', '--vm', 'vm', '--', program=[self.variant(mode=0o644)])

    def test_program_that_makes_no_vm(self):
        self.assert_refused(125, 'without ever making a VM', '--vm', 'vm', '--', program=['true'])

    def test_program_that_fails_by_itself(self):
        self.assertEqual(moves.Moves(self, '--vm', 'vm', '--', program=['false']).ended(), (1, '', ''))

    def test_program_that_leaves_it_to_a_child(self):
        vmm = self.start()
        self.assertEqual(vmm.ask('fork'), 'forked')
        self.assertEqual(vmm.ended(), (0, '', ''))

    def test_program_that_becomes_another(self):
        """Which the library is not before: as taskset, nice, numactl and env do."""
        vmm = self.start()
        vmm.start('become')
        result, output, errors = vmm.ended()
        self.assertEqual((result, output), (126, ''), errors)
        self.assertIn('before ioregion-run', errors)
        for wrapper in (['env', '-i'], ['nice'], ['taskset', '3'], ['/bin/setpriv']):
            self.assert_refused(126, 'before ioregion-run', '--vm', 'vm', '--', program=[*wrapper, moves.MOVES])

    def test_other_effective_group(self):
        """The loader drops the library then, too."""
        launcher = subprocess.run([moves.RUN, '--vm', 'vm', moves.MOVES], capture_output=True, text=True,
                                  env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address},
                                  stdin=subprocess.DEVNULL, timeout=20,
                                  preexec_fn=lambda: os.setresgid(65534, 0, 0))
        self.assertEqual((launcher.returncode, launcher.stdout), (126, ''))
        self.assertIn('effective', launcher.stderr)

    def test_emulation(self):
        vmm = self.start()
        vmm.start('emulate')
        result, output, errors = vmm.ended()
        self.assertEqual((result, output), (125, ''))
        self.assertIn('without KVM', errors)

    def test_code_beside_a_vm(self):
        self.assertEqual(self.made().ask('emulate'), 'code')

    # The rest

    def test_no_broker(self):
        self.stop_daemon()
        self.assert_refused(125, 'no broker', '--vm', 'vm')

    def test_no_bus(self):
        self.assert_refused(125, 'no broker: system bus', '--vm', 'vm',
                            environment={'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent/bus'})

    def test_broker_that_goes_before_the_vm_is_made(self):
        vmm = self.start()
        self.assertEqual(vmm.ask('nothing'), 'what?')
        self.stop_daemon()
        self.assert_ends_at_make(vmm, 'VM vm: no broker: ')

    def test_no_kvm(self):
        self.need_mounts()
        launcher = subprocess.run(
            ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /dev && exec "$@"', 'sh', moves.RUN, '--vm', 'vm',
             moves.MOVES], capture_output=True, text=True, stdin=subprocess.PIPE, timeout=20)
        self.assertEqual(launcher.returncode, 125)
        self.assertIn('no KVM', launcher.stderr)
        self.assertIn('/dev/kvm', launcher.stderr)

    def test_no_library(self):
        shutil.copy(moves.RUN, f'{self.directory}/ioregion-run')
        launcher = subprocess.run([f'{self.directory}/ioregion-run', '--vm', 'vm', moves.MOVES], capture_output=True,
                                  text=True, env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address},
                                  stdin=subprocess.DEVNULL, timeout=20)
        self.assertEqual(launcher.returncode, 125)
        self.assertIn('/ioregiond/ioregion-run.so: No such file', launcher.stderr)

    def assert_ends_at_make(self, vmm, words):
        vmm.start('make 0')
        result, output, errors = vmm.ended()
        self.assertEqual((result, output), (125, ''), errors)
        self.assertIn(words, errors)

    def test_refused_by_policy(self):
        self.write_policy({'version': 1})
        self.daemon.process.send_signal(1)
        self.wait_until(lambda: self.properties(rig.ROOT, rig.MANAGER)['PolicyGeneration'] > 1)
        self.assert_ends_at_make(self.start(), 'refused: org.ioregion1.Error.PolicyDenied')

    def test_name_that_is_taken(self):
        self.register('vm')
        self.assert_ends_at_make(self.start(), 'VMExists')

    def test_dispatcher_that_is_not_there(self):
        self.assert_ends_at_make(self.start('--dispatch', 'kernel'), 'NoDispatcher')

    def test_region_under_memory(self):
        """Memory that comes after a device, but before the guest."""
        vmm = self.made()
        self.attach('vm', 'window', [rig.region('mmio', 0xd0000, 0x1000)], user='root')
        self.assertEqual(vmm.ask('slot 0 0xc8000 0x8001000'), 'set')
        vmm.start('run 0')
        result, output, errors = vmm.ended()
        self.assertEqual((result, output), (125, ''))
        self.assertIn('guest memory covers the region of a device', errors)
        self.assertIn('0xd0000, size 0x1000', errors)

    def test_command_lines(self):
        for arguments in ([], ['--vm', 'a/b', 'true'], ['--vm', 'vm'], ['--vm', 'vm', '--'], ['--vm'], ['--nonsense'],
                          ['--vm', 'vm', '--dispatch', 'magic', 'true'], ['--vm', 'vm', '--ceiling', 'all', 'true'],
                          ['--vm', 'vm', '--reserve', 'pio:1', 'true'], ['true'],
                          ['--vm', 'vm', '--ceiling', 'replay\nvm=other', 'true'],
                          ['--vm', 'vm', *['--reserve', 'pio:1:1'] * 65, 'true']):
            with self.subTest(arguments):
                result, output, errors = moves.Moves(self, *arguments, program=[]).ended()
                self.assertEqual((result, output), (125, ''))
                self.assertIn('ioregion-run: ', errors)

    def test_help(self):
        for option, words in (('--help', 'Exit status'), ('--version', 'ioregion-run 0')):
            with self.subTest(option):
                result, output, errors = moves.Moves(self, option, program=[]).ended()
                self.assertEqual((result, errors), (0, ''))
                self.assertIn(words, output)


if __name__ == '__main__':
    moves.main()
