# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest drives a 16550: what it sends, receives and reads is the same on QEMU's isa-serial and on ours."""

import os
import select
import socket

import comparison
from privatebus import LIMIT

END = b'\x04'


class Registers(comparison.Case):
    """All registers in all their ways, then at random; the guest tells what it reads."""

    def line(self, name):
        with open(f'{self.directory}/{name}', 'rb') as file:
            line = file.read()
        os.unlink(file.name)
        return line

    def theirs(self, *guest):
        qemu = self.qemu('-chardev', f'file,id=line,path={self.directory}/theirs', '-device', 'isa-serial,chardev=line',
                         *self.image(*guest))
        told, status = qemu.guest_ended()
        self.assertEqual(status, 0)
        return told, self.line('theirs')

    def ours(self, *guest):
        qemu = self.run_qemu(*self.image(*guest), paused=True)
        uart = self.attached('uart', '--backend', f'file:{self.directory}/ours')
        qemu.send('cont')
        told, status = qemu.guest_ended()
        self.assertEqual(status, 0)
        uart.ended(0)
        return told, self.line('ours')

    def check(self, *guest):
        told, line = self.theirs(*guest)
        self.assertIn('loopback: lsr 60 lsr 61 rbr 4c', told)  # it did reach its UART
        self.assertIn(b'The quick brown fox', line)
        our_told, our_line = self.ours(*guest)
        self.assertEqual(our_told.splitlines(), told.splitlines())
        self.assertEqual(our_line, line)
        self.wait_until(lambda: not self.vm_names())

    def test_boot_sector(self):
        self.check('uart.sector')

    def test_in_place_of_the_bios(self):
        for seed in range(1, 3):
            with self.subTest(seed=seed):
                self.check('uart.rom', seed)


class Echo(comparison.Case):
    """The far end sends more than the guest has room for, and gets all of it back."""

    TEXT = bytes(range(5, 256)) * 3 + END

    def converse(self, line):
        """What comes back on a descriptor, while all is being sent; the guest ends when all is there."""
        rest, back = self.TEXT, b''
        while not back.endswith(END):
            readable, writable, _ = select.select([line], [line] if rest else [], [], LIMIT)
            self.assertTrue(readable or writable, back)
            if writable:
                rest = rest[os.write(line, rest[:64]):]
            if readable:
                chunk = os.read(line, 4096)
                self.assertTrue(chunk, 'the line was hung up')
                back += chunk
        os.write(line, END)
        return back

    def theirs(self, control):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            qemu = self.qemu('-chardev', f'socket,id=line,fd={theirs.fileno()}', '-device', 'isa-serial,chardev=line',
                             *self.image('echo.rom', control), pass_fds=[theirs.fileno()])
            qemu.wait_for_words('ready')
            back = self.converse(ours.fileno())
            return back, qemu.guest_ended()

    def ours(self, control):
        qemu = self.run_qemu(*self.image('echo.rom', control), paused=True)
        uart = self.device('uart', '--backend', 'pty')
        line = os.open(uart.said('terminal').split()[-1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.addCleanup(os.close, line)
        uart.said('attached to VM')
        qemu.call('cont')
        qemu.wait_for_words('ready')
        back = self.converse(line)
        ended = qemu.guest_ended()
        uart.ended(0)
        return back, ended

    def test_fifo_off_and_on(self):
        for control in (0x00, 0x07, 0xc7):
            with self.subTest(control=control):
                back, ended = self.theirs(control)
                self.assertEqual(back, self.TEXT)
                self.assertEqual(self.ours(control), (back, ended))


if __name__ == '__main__':
    comparison.main()
