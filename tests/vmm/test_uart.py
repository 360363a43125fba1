# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that drives a 16550 in all its ways: what it sends and reads is the same on QEMU's isa-serial and on ours."""

import comparison


class Uart(comparison.Case):
    def line(self):
        with open(f'{self.directory}/line', 'rb') as file:
            return file.read()

    def theirs(self, guest):
        qemu = self.qemu('-chardev', f'file,id=line,path={self.directory}/line', '-device', 'isa-serial,chardev=line',
                         *self.image(guest))
        told, status = qemu.guest_ended()
        self.assertEqual(status, 0)
        return told, self.line()

    def ours(self, guest):
        qemu = self.run_qemu(*self.image(guest), paused=True)
        uart = self.attached('uart', '--backend', f'file:{self.directory}/our-line')
        qemu.send('cont')
        told, status = qemu.guest_ended()
        self.assertEqual(status, 0)
        uart.ended(0)
        with open(f'{self.directory}/our-line', 'rb') as file:
            return told, file.read()

    def check(self, guest):
        told, line = self.theirs(guest)
        self.assertIn('loopback: lsr 60 lsr 61 rbr 4c', told)  # it did reach its UART
        self.assertIn(b'The quick brown fox', line)
        our_told, our_line = self.ours(guest)
        self.assertEqual(our_told.splitlines(), told.splitlines())
        self.assertEqual(our_line, line)

    def test_boot_sector(self):
        self.check('uart.sector')

    def test_in_place_of_the_bios(self):
        self.check('uart.rom')


if __name__ == '__main__':
    comparison.main()
