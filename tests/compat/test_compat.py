# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our library against an implementation that knows the protocol's description alone, in all four pairs."""

import os

import rig
from program import Program

HERE = os.path.dirname(os.path.realpath(__file__))
SCRATCH, DEMO_VMM, UART = (f'{rig.BUILD}/clients/{path}' for path in (
    'devices/ioregion-scratch', 'vmm/ioregion-demo-vmm', 'devices/ioregion-uart'))
BASE = 0xd0000
FEATURES = ['posted-writes', 'replay']

# Programs run as root here: their folder may be closed to others
POLICY = {
    'version': 1,
    'vmms': [{'name': 'vmms', 'match': {'user': 'root'}, 'vms': ['*'], 'dispatch': ['kernel', 'vmm'], 'features': FEATURES}],
    'devices': [{'name': 'devices', 'match': {'user': 'root'}, 'vms': ['*'], 'features': FEATURES,
                 'regions': [{'space': 'mmio', 'within': ['0', '0xfffff']},
                             {'space': 'pio', 'within': ['0', '0xffff']}],
                 'limits': {'channels': 4}, 'timeout': '500ms', 'grace': '10s',
                 'on-disconnect': ['ones', 'hold', 'remove']}],
    'operators': [{'name': 'root', 'match': {'user': 'root'}}],
}


class Guest:
    """Speaks as the Python VMM does, but its accesses are a real guest's, and the kernel dispatches them."""

    def __init__(self, case, vmm):
        self.case, self.vmm = case, vmm

    def say(self, line):
        verb, *words = line.split()
        if verb == 'wait':
            self.said = words[0]
            self.case.wait_until(lambda: len(self.vmm.regions) == int(words[0]))
        else:
            self.said = verb
            space, *numbers = words
            self.vmm.ask(space, *(int(number, 0) for number in numbers))

    def line(self):
        if self.said.isdigit():
            return self.said
        value = self.vmm.answer()
        return 'unclaimed' if value is None else 'done' if self.said == 'write' else hex(value)

    def ask(self, line):
        self.say(line)
        return self.line()

    def end(self, number):
        self.vmm.close()
        return 0


class Compat(rig.Case):
    policy = POLICY

    def start(self, *command):
        program = Program(self.bus.address, *command)
        self.addCleanup(program.close)
        return program

    def python_vmm(self, **options):
        if rig.DISPATCH == 'kernel':
            return Guest(self, self.register(user='root', **options))
        arguments = [word for name, values in options.items() for value in values
                     for word in (f'--{name}', value if isinstance(value, str) else ':'.join(map(str, value)))]
        vmm = self.start(f'{HERE}/vmm.py', 'vm', *arguments)
        self.assertEqual(vmm.line(), 'registered')
        return vmm

    def python_device(self, *arguments):
        device = self.start(f'{HERE}/device.py', 'vm', 'scratch0', *arguments)
        device.expect('attached')
        return device

    def scratch(self, *arguments):
        lockdown = '--no-lockdown' if rig.INSTRUMENTED else '--lockdown'
        device = self.start(SCRATCH, '--vm', 'vm', '--base', hex(BASE), '--size', '4K', lockdown, *arguments)
        device.expect('attached')
        return device

    def assert_memory(self, vmm, space='mmio', base=BASE):
        """Little-endian memory at any offset and width."""
        for offset, size, value in ((0, 1, 0xa5), (2, 2, 0xcafe), (4, 4, 0xdeadbeef), (8, 8, 0x1122334455667788)):
            if (space, size) == ('pio', 8):
                continue  # x86 has no such access
            self.assertEqual(vmm.ask(f'write {space} {base + offset:#x} {size} {value:#x}'), 'done')
            self.assertEqual(vmm.ask(f'read {space} {base + offset:#x} {size}'), hex(value))
        self.assertEqual(vmm.ask(f'read {space} {base + 4:#x} 1'), '0xef')

    def demo(self, *arguments):
        vmm = self.start(DEMO_VMM, '--vm', 'vm', '--no-kvm', '--paused', *arguments)
        vmm.expect('registered')
        return vmm

    def test_python_device_python_vmm(self):
        vmm = self.python_vmm()
        device = self.python_device(f'mmio:{BASE:#x}:0x1000', 'pio:0x100:16')
        self.assertEqual(vmm.ask('wait 2'), '2')
        self.assert_memory(vmm)
        self.assert_memory(vmm, 'pio', 0x100)
        self.assertEqual(vmm.ask('read mmio 0xcfff8 8'), 'unclaimed')
        self.call(rig.path_of('vm', 'scratch0'), 'org.ioregion1.Device', 'Detach')
        self.assertEqual(vmm.ask('wait 0'), '0')
        device.expect('ended')
        self.assertEqual(device.end(None), 0)
        self.assertEqual(vmm.end(None), 0)
        self.wait_until(lambda: not self.vm_names())

    def test_library_device_python_vmm(self):
        vmm = self.python_vmm()
        device = self.scratch()
        self.assertEqual(vmm.ask('wait 1'), '1')
        self.assert_memory(vmm)
        self.assertEqual(vmm.ask(f'read mmio {BASE + 0xffd:#x} 4'), 'unclaimed')
        self.assertEqual(device.end(), 0)
        self.assertEqual(vmm.ask('wait 0'), '0')

    def test_library_device_ends_with_its_vm(self):
        vmm = self.python_vmm()
        device = self.scratch()
        self.assertEqual(vmm.end(None), 0)
        self.assertEqual(device.process.wait(rig.LIMIT), 0)

    def test_python_device_library_vmm(self):
        vmm = self.demo()
        device = self.python_device(f'mmio:{BASE:#x}:0x1000')
        uart = self.start(UART, '--vm', 'vm')
        uart.expect('attached')
        vmm.say('')
        self.assertEqual(vmm.expect('the guest ended').split()[-1], '0')
        self.assertEqual(vmm.end(None), 0)
        device.expect('ended')
        uart.expect('Hello from a guest')

    def test_library_device_library_vmm(self):
        vmm = self.demo()
        self.scratch()
        self.start(UART, '--vm', 'vm').expect('attached')
        vmm.say('')
        self.assertEqual(vmm.expect('the guest ended').split()[-1], '0')

    def test_statistics(self):
        vmm = self.python_vmm()
        self.scratch()
        self.assertEqual(vmm.ask('wait 1'), '1')
        self.assert_memory(vmm)
        counts, = self.call(rig.path_of('vm', 'scratch0', 0), 'org.ioregion1.Region', 'GetStatistics')
        self.assertEqual((counts['reads'], counts['writes'], counts['failures']), (5, 4, 0))

    def test_31_32_posted_writes(self):
        vmm = self.python_vmm()
        self.scratch('--posted')
        self.assertEqual(vmm.ask('wait 1'), '1')
        for value in range(500):
            self.assertEqual(vmm.ask(f'write mmio {BASE:#x} 4 {value}'), 'done')
        self.assertEqual(vmm.ask(f'read mmio {BASE:#x} 4'), hex(499), 'in order on one channel')

    # What the device's last 64 bytes make it do, as the Python VMM sees it

    def misbehaves(self, switch, argument, *options):
        vmm = self.python_vmm()
        device = self.scratch('--test-controls', *options)
        self.assertEqual(vmm.ask('wait 1'), '1')
        vmm.ask(f'write mmio {BASE + 0xfc0 + switch:#x} 4 {argument}')
        return vmm, device

    def assert_fails(self, vmm, reason):
        self.assertEqual(vmm.ask(f'read mmio {BASE:#x} 4'), '0xffffffff')
        self.wait_until(lambda: self.state(rig.path_of('vm', 'scratch0')) in ('failed', None))
        self.assertRegex(self.daemon.log(), reason)

    def test_29_garbage_is_cut_off(self):
        for length in (1, 31, 32, 33, 0):
            with self.subTest(length):
                vmm, device = self.misbehaves(0x14, length)
                self.assert_fails(vmm, 'protocol')
                device.kill()
                vmm.end(None)
                self.wait_until(lambda: not self.vm_names())

    def test_48_silence(self):
        vmm, device = self.misbehaves(0x10, 1)
        self.assert_fails(vmm, 'deadline')
        device.kill()

    def test_47_crash_before_the_answer(self):
        """Channel and lease end one after the other, and whichever is heard of first, the region stays."""
        vmm, device = self.misbehaves(0x0c, 1)
        self.assert_fails(vmm, 'hung up|closed its channel')
        device.process.wait(rig.LIMIT)
        self.assertEqual(vmm.ask(f'read mmio {BASE:#x} 4'), '0xffffffff')
        self.assertEqual(self.state(rig.path_of('vm', 'scratch0')), 'failed')

    def test_47_resume(self):
        """Without replay the unanswered read is all ones; with it the access is made again."""
        for options, value in (((), '0xffffffff'), (('--want', 'replay'), '0x0')):
            with self.subTest(options):
                vmm, device = self.misbehaves(0x0c, 1, '--on-disconnect', 'hold', *options)
                vmm.say(f'read mmio {BASE:#x} 4')
                device.process.wait(rig.LIMIT)
                self.wait_until(lambda: self.state(rig.path_of('vm', 'scratch0')) == 'held')
                again = self.scratch('--test-controls', '--on-disconnect', 'hold', *options)
                self.assertEqual(vmm.line(), value)
                self.assert_memory(vmm)
                again.end()
                vmm.end(None)
                self.wait_until(lambda: not self.vm_names())

    def test_features_are_agreed(self):
        self.python_vmm(ceiling=['replay'])
        device = self.start(f'{HERE}/device.py', 'vm', 'scratch0', 'pio:0x100:1', '--want', 'replay',
                            '--want', 'posted-writes')
        self.assertEqual(device.line(), 'attached replay')

    def test_refusals_are_told(self):
        self.python_vmm(reserve=[('pio', 0x100, 1)])
        device = self.start(f'{HERE}/device.py', 'vm', 'scratch0', 'pio:0x100:1')
        self.assertIn('org.ioregion1.Error.RegionOverlap', device.line())
        self.assertNotEqual(device.end(None), 0)


if __name__ == '__main__':
    rig.main()
