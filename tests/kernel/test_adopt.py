# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's own QEMU, unmodified, is given a device: the port that SeaBIOS writes its log to."""

import json
import os
import socket
import subprocess
import time
import unittest

import rig
from daemon import BUILD
from privatebus import die_with_the_test
from program import Program

HERE = os.path.dirname(os.path.realpath(__file__))
RUN = f'{BUILD}/clients/ioregion-run/ioregion-run'
PATIENCE = 120  # seconds; an emulated machine emulates one that boots
LAST = b'No bootable device'

POLICY = {
    'version': 1,
    'vmms': [{'name': 'vmms', 'match': {'user': 'root'}, 'vms': ['*'], 'dispatch': ['kernel', 'vmm'], 'features': []}],
    'devices': [{'name': 'devices', 'match': {'user': 'root'}, 'vms': ['*'], 'features': [],
                 'regions': [{'space': 'pio', 'within': ['0x402', '0x402']}], 'timeout': '5s',
                 'on-disconnect': ['ones']}],
    'operators': [{'name': 'root', 'match': {'user': 'root'}}],
}


class Log:
    """A socket that somebody writes a log of SeaBIOS's to."""

    def __init__(self, path):
        self.path = path
        self.listener = self.socket = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.listener.settimeout(PATIENCE)

    def accept(self):
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(PATIENCE)
        os.unlink(self.path)

    def boot(self):
        """What is written until SeaBIOS has come to its end."""
        text = b''
        while not (LAST in text and text.endswith(b'\n')):
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(f'the log ends with {text[-200:]}')
            text += more
        return text

    def close(self):
        self.socket.close()
        self.listener.close()


class Qemu:
    """A PC without anything that it could boot from, stopped before its first instruction."""

    def __init__(self, directory, *arguments, wrapper=(), environment=()):
        path = f'{directory}/qmp'
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.settimeout(PATIENCE)
            self.process = subprocess.Popen(
                [*wrapper, 'qemu-system-x86_64', '-machine', 'pc', '-accel', 'kvm', '-m', '32', '-nodefaults', '-display', 'none',
                 '-S', '-chardev', f'socket,id=qmp,path={path}', '-mon', 'qmp,mode=control', *arguments],
                stdin=subprocess.DEVNULL, env={**os.environ, **dict(environment)}, preexec_fn=die_with_the_test)
            self.qmp = listener.accept()[0].makefile('rw')
        os.unlink(path)
        self.qmp.readline()
        self.ask('qmp_capabilities')

    def ask(self, command, **arguments):
        self.qmp.write(json.dumps({'execute': command, 'arguments': arguments}) + '\n')
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline())
            if 'event' not in answer:
                return answer['return']

    def run_until_idle(self):
        """SeaBIOS has nothing to do, and begins to wait."""
        deadline = time.monotonic() + PATIENCE
        self.ask('cont')
        while time.monotonic() < deadline:
            vcpu, = self.ask('query-stats', target='vcpu', providers=[{'provider': 'kvm', 'names': ['halt_exits']}])
            if vcpu['stats'][0]['value'] > 10:
                return
        raise TimeoutError

    def close(self):
        self.process.kill()
        self.process.wait()
        self.qmp.close()


@unittest.skipUnless(os.path.exists('/dev/ioregionfd'), 'there is no kernel dispatcher here')
class Adopt(rig.Case):
    policy = POLICY

    def qemu(self, *arguments, **keywords):
        qemu = Qemu(self.directory, *arguments, **keywords)
        self.addCleanup(qemu.close)
        return qemu

    def log(self):
        log = Log(f'{self.directory}/seabios')
        self.addCleanup(log.close)
        return log

    def adopt(self, qemu):
        tool = f'{BUILD}/clients/ioregionctl/ioregionctl'
        subprocess.run([tool, 'adopt', '--pid', str(qemu.process.pid), '--vm', 'pc'], check=True, timeout=rig.LIMIT,
                       env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address})

    def attach_debugcon(self):
        log = self.log()
        device = Program(self.bus.address, f'{HERE}/debugcon.py', 'pc', log.path)
        self.addCleanup(device.close)
        log.accept()
        device.expect('attached')
        return device, log

    def reference(self):
        """What QEMU's own device logs of the first boot, and of the second."""
        log = self.log()
        qemu = self.qemu('-chardev', f'socket,id=log,path={log.path}',
                         '-device', 'isa-debugcon,iobase=0x402,chardev=log')
        log.accept()
        qemu.ask('cont')
        first = log.boot()
        qemu.ask('system_reset')
        second = log.boot()
        qemu.close()
        return first, second

    def assert_gone(self, qemu, device):
        """Nothing of the VM stays when the VMM ends."""
        qemu.close()
        device.expect('ended')
        self.wait_until(lambda: not self.vm_names())

    def assert_served(self, qemu, expected):
        """By the kernel, from its first access on."""
        self.assertEqual(self.properties(rig.path_of('pc'), 'org.ioregion1.VM')['Dispatch'], 'kernel')
        device, log = self.attach_debugcon()
        qemu.ask('cont')
        self.assertEqual(log.boot(), expected)
        qemu.ask('stop')  # a posted write is counted once it was sent: the device may have it before
        counts, = self.call(rig.path_of('pc', 'debugcon', 0), 'org.ioregion1.Region', 'GetStatistics')
        self.assertEqual((counts['writes'], counts['failures']), (len(expected), 0))
        self.assert_gone(qemu, device)

    def test_before_its_first_access(self):
        first, _ = self.reference()
        self.assertGreater(len(first), 1000)
        qemu = self.qemu()
        self.adopt(qemu)
        self.assert_served(qemu, first)

    def test_through_ioregion_run(self):
        """Which leaves the way to the broker."""
        first, _ = self.reference()
        qemu = self.qemu(wrapper=[RUN, '--vm', 'pc', '--'],
                         environment={'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address})
        self.assert_served(qemu, first)

    def test_hot(self):
        """SeaBIOS found no port at its first boot; so it is silent up to where it starts anew."""
        _, second = self.reference()
        qemu = self.qemu()
        qemu.run_until_idle()
        self.adopt(qemu)
        device, log = self.attach_debugcon()
        qemu.ask('system_reset')
        self.assertEqual(log.boot(), second[second.index(b'SeaBIOS (version'):])
        self.assert_gone(qemu, device)


if __name__ == '__main__':
    rig.main()
