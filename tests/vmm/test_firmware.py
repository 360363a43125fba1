# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's SeaBIOS: its log through our debug console is, byte for byte, that through QEMU's."""

import comparison
from qemu import SANDBOX

DEBUG = 0x402
END = 'No bootable device.\n'


class SeaBios(comparison.Case):
    def theirs(self, **machine):
        qemu = self.qemu(tell_port=DEBUG, **machine)
        qemu.wait_for_words(END)
        self.assertEqual(qemu.quit(), 0)
        return qemu.told()

    def ours(self, *arguments, **machine):
        qemu = self.run_qemu(*arguments, paused=True, **machine)
        console = self.attached('debugcon', '--base', hex(DEBUG))
        qemu.call('cont')
        log = b''
        while not log.endswith(END.encode()):
            log += console.output(1)
        self.assertEqual(qemu.quit(), 0)
        console.process.wait(20)
        return (log + console.process.stdout.read()).decode()

    def compare(self, *arguments, **machine):
        log = self.theirs(**machine)
        self.assertTrue(log.startswith('SeaBIOS (version '), log)
        self.assertGreater(len(log), 1000)
        self.assertEqual(self.ours(*arguments, **machine), log)

    def test_pc_with_two_processors(self):
        self.compare(smp=2)

    def test_q35_with_split_irqchip_in_a_sandbox(self):
        self.compare(*SANDBOX, machine='q35', irqchip='split')

    def test_isapc_without_irqchip(self):
        self.compare(machine='isapc', irqchip='off')


if __name__ == '__main__':
    comparison.main()
