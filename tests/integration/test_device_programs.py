# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped devices. The numbers are those of the list of edge cases."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
from unittest import mock

import programs
import rig
from privatebus import LIMIT
from programs import SCRATCH, UART, Program

DEBUG, PANIC = 0x402, 0x505
CONTROL = SCRATCH + 0x1000 - 64
WRITES, READS, DELAY, CRASH, SILENCE, GARBAGE = range(0, 24, 4)


def close_stdout():
    """For a device: a standard output that nothing can be written to."""
    os.dup2(os.open('/dev/full', os.O_WRONLY), 1)


class Devices(programs.Case):
    """Real devices on a VM whose guest is the test."""

    def setUp(self):
        super().setUp()
        self.vmm = self.register()

    def access(self, address, size=1, value=None):
        region = next(r for r in self.vmm.regions.values() if r.base <= address < r.base + r.size)
        self.vmm.command(region.base, address - region.base, size, value)
        return self.vmm.response(region.base).data

    def send(self, data):
        for byte in data:
            self.access(UART, 1, byte)

    # the example

    def test_example(self):
        latch = Program(self, 'devices/example-latch', 'vm')
        self.wait_until(lambda: self.vmm.regions)
        self.access(0x378, 1, 0x5a)
        self.assertEqual(self.access(0x378, 1), 0x5a)
        self.call(self.vmm.path, 'org.ioregion1.VM', 'Unregister')
        if rig.INSTRUMENTED:  # the leak checker's calls at exit are not those of a device
            latch.process.wait(LIMIT)
        else:
            self.assertEqual(latch.ended(0), '')

    def test_example_refused(self):
        self.assertIn('org.ioregion1.Error.NoSuchVM', Program(self, 'devices/example-latch', 'nowhere').ended(1))

    # the debug console

    def test_debug_console(self):
        console = self.attached('debugcon')
        self.assertEqual(self.access(DEBUG), 0xe9)
        for byte in b'log\n':
            self.access(DEBUG, 1, byte)
        self.assertEqual(console.output(4), b'log\n')
        self.assertEqual(self.access(DEBUG), 0xe9)

    def test_debug_console_appends_to_a_file(self):
        path = f'{self.directory}/log'
        console = self.attached('debugcon', '--backend', f'file:{path}')
        self.access(DEBUG, 1, ord('x'))
        with open(path) as file:
            self.assertTrue(file.read().endswith('x'))
        console.process.terminate()
        console.ended(0)

    def test_debug_console_counts_what_nobody_takes(self):
        console = self.attached('debugcon', stdout=subprocess.DEVNULL, preexec_fn=close_stdout)
        self.access(DEBUG, 1, 1)
        console.process.terminate()
        self.assertIn('1 bytes were dropped', console.ended(0))

    # the pvpanic port

    def pvpanic(self, path=None):
        """The device, and the socket of its service manager."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(LIMIT)
        manager.bind(path or f'{self.directory}/notify')
        name = '@' + path[1:] if path else f'{self.directory}/notify'
        with mock.patch.dict(os.environ, NOTIFY_SOCKET=name):
            return self.attached('pvpanic'), manager

    def test_panics_become_the_units_status(self):
        _, manager = self.pvpanic()
        self.assertEqual(self.access(PANIC), 3)
        self.access(PANIC, 1, 1)
        self.assertEqual(manager.recv(256), b'STATUS=GUEST_PANICKED (1)')
        self.access(PANIC, 1, 2)
        self.assertEqual(manager.recv(256), b'STATUS=GUEST_CRASHLOADED (1)')
        self.assertEqual(self.access(PANIC), 3)

    def test_panic_counts_before_other_bits(self):
        _, manager = self.pvpanic(path=f'\0ioregion-test-{os.getpid()}')
        for value in (0x00, 0x04, 0xf8):  # nothing that is known
            self.access(PANIC, 1, value)
        self.access(PANIC, 1, 0xff)
        self.assertEqual(manager.recv(256), b'STATUS=GUEST_PANICKED (1)')

    def test_panics_are_logged(self):
        """Where there is no journal; there, they are records."""
        if os.path.exists('/run/systemd/journal/socket'):
            self.skipTest('there is a journal')
        for status in (None, '', '/', f'{self.directory}/{"long" * 40}', f'{self.directory}/missing'):
            with mock.patch.dict(os.environ, {} if status is None else {'NOTIFY_SOCKET': status}):
                device = self.attached('pvpanic')
            self.access(PANIC, 1, 1)
            self.assertIn('the guest panicked (1)', device.said('GUEST_PANICKED'))
            device.process.terminate()
            device.ended(0)
            self.wait_until(lambda: not self.vmm.regions)

    def test_panics_without_end_are_told_once_a_second(self):
        _, manager = self.pvpanic()
        self.vmm.write_often(PANIC, 1, 2000)
        self.assertEqual(self.access(PANIC), 3)
        manager.setblocking(False)
        told = []
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(manager.recv(256))
        self.assertEqual(told[0], b'STATUS=GUEST_PANICKED (1)')
        self.assertLess(len(told), 30)

    # the UART

    def test_uart_sends_to_standard_output(self):
        uart = self.uart()
        self.assertIn('pio 0x3f8-0x3ff, features none, deadline 1000 ms', uart.words)
        self.send(b'hello')
        self.assertEqual(uart.output(5), b'hello')
        self.assertEqual(self.access(UART + 5, 1), 0x60)

    def test_uart_appends_to_a_file(self):
        path = f'{self.directory}/line'
        with open(path, 'w') as file:
            file.write('old ')
        self.uart('--backend', f'file:{path}')
        self.send(b'new')
        with open(path) as file:
            self.assertEqual(file.read(), 'old new')

    def terminal(self):
        uart = self.device('uart', '--backend', 'pty')
        path = uart.said('terminal').split()[-1]
        uart.said('attached to VM')
        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.addCleanup(os.close, terminal)
        return uart, terminal

    def receive(self, count):
        """Poll LSR and read, as a guest without interrupts does."""
        data = []
        while len(data) < count:
            if self.access(UART + 5) & 1:
                data.append(self.access(UART))
        return bytes(data)

    def test_uart_on_a_terminal_both_ways(self):
        _, terminal = self.terminal()
        self.send(b'login: \n')
        line = b''
        while len(line) < 8 and select.select([terminal], [], [], LIMIT)[0]:
            line += os.read(terminal, 64)
        self.assertEqual(line, b'login: \n')  # neither echoed nor edited
        os.write(terminal, b'root\r\x03\x00')
        self.assertEqual(self.receive(7), b'root\r\x03\x00')

    def test_uart_takes_from_a_terminal_only_what_it_has_room_for(self):
        _, terminal = self.terminal()
        self.access(UART + 2, 1, 1)
        text = bytes(range(256)) * 4
        os.write(terminal, text)
        self.assertEqual(self.receive(len(text)), text)
        self.assertEqual(self.access(UART + 5), 0x60)  # no overrun

    def test_uart_never_makes_the_guest_wait_for_a_reader(self):
        for backend in ('pty', 'stdout'):
            with self.subTest(backend):
                uart = self.device('uart', '--backend', backend)
                uart.said('attached to VM')
                fcntl.fcntl(uart.process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # a terminal takes more
                for _ in range(30):
                    self.vmm.write_often(UART, 0x2e, 1000)
                uart.process.terminate()
                self.assertIn('bytes were dropped', uart.ended(0))
                self.wait_until(lambda: not self.vmm.regions)

    def test_uart_survives_the_end_of_its_reader(self):
        uart = self.uart()
        uart.process.stdout.close()
        uart.process.stdout = None
        self.send(b'anyone?')
        uart.process.terminate()
        self.assertIn('7 bytes were dropped', uart.ended(0))

    def test_uart_replay_is_wanted(self):
        self.assertIn('features replay', self.uart('--replay').words)

    # scratch

    def test_25_scratch_all_sizes(self):
        self.scratch()
        for size in (1, 2, 4, 8):
            value = 0xf1e2d3c4b5a69788 >> (64 - 8 * size)
            self.access(SCRATCH + 0x10, size, value)
            self.assertEqual(self.access(SCRATCH + 0x10, size), value)

    def test_32_posted_write_then_read(self):
        self.assertIn('features posted-writes', self.scratch('--posted').words)
        region, = self.vmm.regions.values()
        self.assertTrue(region.flags & self.vmm.POSTED)
        for value in range(100):
            self.vmm.command(SCRATCH, 0x20, 4, value, posted=True)
            self.assertEqual(self.access(SCRATCH + 0x20, 4), value)

    def test_scratch_in_port_space_of_any_size(self):
        device = self.device('scratch', '--space', 'pio', '--base', '0x200', '--size', '3', '--name', 'odd')
        self.assertIn('pio 0x200-0x202', device.said('attached to VM'))

    def test_scratch_counts(self):
        self.scratch('--test-controls')
        self.access(SCRATCH, 4, 1)
        self.access(SCRATCH, 4, 2)
        self.access(SCRATCH, 4)
        self.assertEqual(self.access(CONTROL + WRITES, 4), 2)
        self.assertEqual(self.access(CONTROL + READS, 4), 1)

    def test_47_scratch_crashes(self):
        for when in ('now', 'later'):
            with self.subTest(when):
                device = self.scratch('--test-controls', '--on-disconnect', 'remove')
                if when == 'later':
                    self.access(CONTROL + CRASH, 4, 1)
                self.vmm.command(SCRATCH, *((CONTROL - SCRATCH + CRASH, 4, 0) if when == 'now' else (0, 4)))
                device.ended(-signal.SIGILL)
                self.wait_until(lambda: not self.vmm.regions)

    def test_48_scratch_is_late_or_never_answers(self):
        device = self.scratch('--test-controls')
        self.access(CONTROL + DELAY, 4, 300)
        self.vmm.command(SCRATCH, 0, 4)
        self.assertFalse(self.vmm.answers_within(SCRATCH, 0.1))
        self.assertEqual(self.vmm.response(SCRATCH).data, 0)
        self.access(CONTROL + SILENCE, 4, 1)
        self.vmm.command(SCRATCH, 0, 4)
        self.assertFalse(self.vmm.answers_within(SCRATCH, 0.2))
        self.assertIsNone(device.process.poll())

    def test_29_scratch_sends_garbage(self):
        self.scratch('--test-controls')
        channel, _ = self.vmm.channel(SCRATCH)
        for size in (1, 31, 33, 4096):
            self.access(CONTROL + GARBAGE, 4, size)
            self.vmm.command(SCRATCH, 0, 4)
            self.assertEqual(len(channel.recv(8192)), size)
            self.assertEqual(self.vmm.response(SCRATCH).data, 0)

    # what every device does

    def test_lockdown(self):
        for arguments, mode in ((['--no-lockdown'], '0'), (['--lockdown'], '2')):
            device = self.scratch(*arguments, '--name', f'scratch{mode}', '--on-disconnect', 'remove')
            self.access(SCRATCH, 4, 1)  # answered: so it is past the lockdown
            with open(f'/proc/{device.process.pid}/status') as status:
                self.assertIn(f'Seccomp:\t{mode}\n', status.read())
            device.close()
            self.wait_until(lambda: not self.vmm.regions)

    def test_stopped_by_a_signal(self):
        for start in (self.uart, self.scratch, lambda: self.terminal()[0]):
            device = start()
            device.process.terminate()
            self.assertIn('stopped', device.ended(0))
            self.wait_until(lambda: not self.vmm.regions)
        self.assertNotIn('failure: ', self.daemon.log())

    def test_ended_by_an_operator(self):
        device = self.scratch()
        self.call(rig.path_of('vm', 'scratch0'), 'org.ioregion1.Device', 'Revoke', 's', 'enough')
        self.assertIn('an operator took it away', device.ended(0))

    def test_ended_by_the_vm(self):
        devices = self.uart(), self.scratch(), self.device('uart', '--backend', 'pty', '--base', '0x2f8', '--name', 'b')
        devices[2].said('attached')
        self.vmm.close()
        for device in devices:
            self.assertIn('the VM ended', device.ended(0))

    def test_broker_and_vmm_hang_up(self):
        device = self.scratch()
        self.vmm.keep()
        self.daemon.process.kill()
        self.daemon.process.wait(LIMIT)
        self.daemon = None
        self.access(SCRATCH, 4, 7)
        self.assertEqual(self.access(SCRATCH, 4), 7)  # the data path goes on
        self.vmm.close()
        self.assertIn('hung up', device.ended(4))

    def test_refused(self):
        for arguments, words in ((['--base', '0xe0000'], 'PolicyDenied'), (['--vm', 'none'], 'NoSuchVM'),
                                 (['--size', '128K'], 'PolicyDenied'), (['--on-disconnect', 'never'], 'refused'),
                                 (['--require', 'state'], 'FeatureUnavailable'), (['--name', '../x'], 'refused')):
            with self.subTest(arguments):
                device = self.device('scratch', '--base', hex(SCRATCH), *arguments)
                self.assertIn(words, device.ended(3))

    def test_wrong_command_lines(self):
        for arguments in ([], ['--vm', 'x'], ['--vm', 'x', '--base', '1z'], ['--vm', 'x', '--base', '1', 'more'],
                          ['--vm', 'x', '--base', '1', '--size', '0'], ['--nonsense'], ['--vm'],
                          ['--vm', 'x', '--base', '1', '--size', '8', '--test-controls'],
                          ['--vm', 'x', '--base', '1', '--want', 'all']):
            with self.subTest(arguments):
                self.assertIn('--help', Program(self, 'devices/ioregion-scratch', *arguments).ended(2))

    def test_help_and_version(self):
        for program in ('devices/ioregion-uart', 'devices/ioregion-scratch', 'vmm/ioregion-demo-vmm'):
            for option in ('--help', '--version'):
                process = Program(self, program, option)
                self.assertIn(os.path.basename(program).encode(), process.process.stdout.read())
                process.ended(0)

    def test_no_broker(self):
        self.stop_daemon()
        self.assertIn('no broker', self.device('scratch', '--base', hex(SCRATCH)).ended(1))

    def test_back_end_that_can_not_be_opened(self):
        for backend in ('file:/nowhere/at/all', 'telegraph'):
            self.assertIn(backend, self.device('uart', '--backend', backend).ended(1))


if __name__ == '__main__':
    rig.main()
