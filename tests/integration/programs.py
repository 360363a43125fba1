# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped devices and the demo VMM, as processes of a test."""

import os
import select
import subprocess

import rig
from daemon import BUILD
from privatebus import LIMIT

UART, SCRATCH = 0x3f8, 0xd0000
USER = {'match': {'user': 'root'}, 'vms': ['*'], 'features': rig.FEATURES}
POLICY = {
    'version': 1,
    'vmms': [{'name': 'vmms', **USER, 'dispatch': ['kernel', 'vmm']}, {**rig.POLICY['vmms'][0]}],
    'devices': [{'name': 'devices', **USER, 'regions': [{'space': 'mmio', 'within': ['0xd0000', '0xdffff']},
                                                         {'space': 'pio', 'within': ['0', '0xfff']}],
                 'limits': {'regions': 4, 'channels': 4}, 'timeout': '1s', 'grace': '60s',
                 'on-disconnect': ['ones', 'hold', 'remove']}],
    'operators': [{'name': 'root', 'match': {'user': 'root'}}],
}


class Program:
    """A process whose lines on standard error the test waits for."""

    def __init__(self, case, path, *arguments, **keywords):
        environment = {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': case.bus.address}
        self.case, self.name = case, os.path.basename(path)
        self.process = subprocess.Popen([f'{BUILD}/clients/{path}', *arguments], bufsize=0, env=environment,
                                        **{'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE,
                                           'stderr': subprocess.PIPE, **keywords})
        case.addCleanup(self.close)

    def close(self):
        self.process.kill()
        self.process.wait(LIMIT)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def said(self, text):
        """The line with this text, the VMMs playing meanwhile."""
        words = ''
        while True:
            self.case.play_vmms(self.process.stderr)
            line = self.process.stderr.readline().decode()
            if text in line:
                return line.rstrip()
            self.case.assertTrue(line, f'{self.name} ended without saying "{text}"; it said: {words}')
            words += line

    def ended(self, status):
        """It has to end by itself; the rest of its words."""
        rest = b''
        while True:
            self.case.play_vmms(self.process.stderr)
            chunk = self.process.stderr.read(4096)
            if not chunk:
                break
            rest += chunk
        self.case.assertEqual(self.process.wait(LIMIT), status, rest.decode())
        return rest.decode()

    def output(self, size):
        """So many bytes of standard output."""
        data = b''
        while len(data) < size:
            self.case.assertTrue(select.select([self.process.stdout], [], [], LIMIT)[0], data)
            data += self.process.stdout.read(size - len(data))
        return data


class Case(rig.Case):
    """A broker whose policy lets root attach these."""

    policy = POLICY

    def device(self, program, *arguments, vm='vm', **keywords):
        # the sanitizers' own calls at exit are not those of a device
        instrumented = ['--no-lockdown'] if os.environ.get('IOREGION_INSTRUMENTED') else []
        return Program(self, f'devices/ioregion-{program}', '--vm', vm, *instrumented, *arguments, **keywords)

    def attached(self, program, *arguments, **keywords):
        device = self.device(program, *arguments, **keywords)
        device.words = device.said('attached to VM')
        return device

    def uart(self, *arguments, **keywords):
        return self.attached('uart', *arguments, **keywords)

    def scratch(self, *arguments, **keywords):
        return self.attached('scratch', '--base', hex(SCRATCH), *arguments, **keywords)

    def demo_vmm(self, *arguments, vm='demo', **keywords):
        return Program(self, 'vmm/ioregion-demo-vmm', '--vm', vm, *arguments, **keywords)
