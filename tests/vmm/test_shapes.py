# SPDX-License-Identifier: LGPL-2.1-or-later
"""Accesses of every shape, answered by ioregion-scratch as by QEMU's pc-testdev.

The numbers are those of the list of edge cases.
"""

import re

import comparison
from qemu import KINDS

REGISTERS, PORTS = 0xff000000, 0xe0


class Shapes(comparison.Case):
    def scratches(self):
        self.attached('scratch', '--base', hex(REGISTERS), '--size', '64K', '--name', 'registers')
        self.attached('scratch', '--space', 'pio', '--base', hex(PORTS), '--size', '4', '--name', 'ports')

    def compare(self, guest, *arguments, **machine):
        """What the guest told, the same on both."""
        image = self.image(guest, *arguments)
        theirs, status = self.qemu('-device', 'pc-testdev', *image, **machine).guest_ended()
        self.assertEqual(status, 0, theirs)
        qemu = self.run_qemu(*image, paused=True, **machine)
        self.scratches()
        qemu.send('cont')
        ours, status = qemu.guest_ended()
        self.assertEqual(status, 0, ours)
        self.assertEqual(ours.splitlines(), theirs.splitlines())
        self.wait_until(lambda: not self.vm_names())
        return theirs

    def test_25_27_28_every_shape(self):
        told = self.compare('shapes.rom')
        for words, times in (('^(01|02|04|08|10) at', 76), (' over the end', 4), ('^(cmpxchg|xchg|xadd|bt|inc)', 16),
                             ('^move', 3), ('^outs .* ins:', 42)):
            self.assertEqual(len(re.findall(words, told, re.M)), times, words)  # the guest did it all

    def test_25_27_long_mode(self):
        told = self.compare('long.rom')
        self.assertEqual(len(re.findall('^[a-z ]+ at ', told, re.M)), 16 * 18)  # the guest did it all
        self.assertRegex(told, 'constant at 0100: [0-9a-f ]+[|] [0-9a-f]+ [0-9a-f]+ 89abcdf0 ffffffff ')  # in one

    def test_42_several_processors(self):
        for smp in (2, 4):
            told = self.compare('processors.rom', smp, 300, smp=smp)
            self.assertIn(f'{smp:02x} processors, wrong 00000000', told)

    def test_every_machine(self):
        """QEMU 7.2 starts no second processor without the kernel's interrupt controller, not even for its own BIOS."""
        for kind in KINDS:
            for irqchip in ('on', 'off', 'split'):
                smp = 1 if irqchip == 'off' or kind == 'isapc' else 2
                with self.subTest(kind=kind, irqchip=irqchip):
                    self.compare('processors.rom', smp, 50, machine=kind, irqchip=irqchip, smp=smp)


class Straddling(comparison.Case):
    """An access is a device's as a whole, or the VMM's as a whole."""

    def test_26_ends_of_regions(self):
        qemu = self.run_qemu('-device', 'pc-testdev', *self.image('straddle.rom'), paused=True)
        self.attached('scratch', '--base', '0xff000100', '--size', '128', '--name', 'registers')
        self.attached('scratch', '--space', 'pio', '--base', '0xe1', '--size', '2', '--name', 'ports')
        qemu.send('cont')
        told, _ = qemu.guest_ended()
        self.assertEqual(told.splitlines(), list(Model().lines()))


class Model:
    """What straddle.c has to tell, by that rule: two memories, one of them for what lies within a region."""

    def __init__(self):
        self.vmm, self.device = {}, {}

    def memory(self, at, size, first, last):
        return self.device if first <= at and at + size - 1 <= last else self.vmm

    def write(self, at, size, value, region):
        memory = self.memory(at, size, *region)
        for i in range(size):
            memory[at + i] = value >> 8 * i & 0xff

    def read(self, at, size, region):
        memory = self.memory(at, size, *region)
        return sum(memory.get(at + i, 0) << 8 * i for i in range(size))

    def across(self, end, region):
        for size, value in ((2, 0xa1a2), (4, 0xb1b2b3b0), (8, 0xc1c2c3c4c5c6c7c0)):
            for before in range(1, size):
                self.write(end - before, size, value + (before if size > 2 else 0), region)
                yield f'{size} {before:02x}: {self.read(end - before, size, region):0{2 * size}x}'
            yield ''.join(f'{self.read(at, 1, region):02x}' for at in range(end - 8, end + 8))

    def lines(self):
        region = (0x100, 0x17f)
        for end in (0x100, 0x180):
            for i in range(16):
                self.write(end - 8 + i, 1, i + 1, region)
        for end in (0x100, 0x180):
            yield from self.across(end, region)
        region = (0xe1, 0xe2)
        self.write(0xe0, 4, 0x44332211, region)
        words = [f'ports {self.read(0xe0, 4, region):08x}']
        for port in (0xe0, 0xe1, 0xe2):
            self.write(port, 2, 0xd0d1 + port, region)
            words.append(f'{self.read(port, 2, region):04x}')
        words += [f'{self.read(port, 1, region):02x}' for port in range(0xe0, 0xe4)]
        yield ' '.join([*words, f'{self.read(0xe0, 4, region):08x}'])


if __name__ == '__main__':
    comparison.main()
