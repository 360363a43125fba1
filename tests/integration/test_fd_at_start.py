# SPDX-License-Identifier: LGPL-2.1-or-later
"""ioregionctl attach, start and release: a device that gets its descriptors when it is started."""

import json
import os
import select
import socket
import subprocess

import protocol
import rig
from privatebus import LIMIT
from protocol import Type
from puppets import Channel
from rig import BUILD
from tool import TOOL, Tool

DESCRIPTION = {'version': 1, 'want': ['posted-writes'], 'on-disconnect': 'hold', 'timeout': '20ms', 'channels': 2,
               'regions': [{'space': 'pio', 'base': '0x3f8', 'size': '8'},
                           {'space': 'mmio', 'base': '0xd2000000', 'size': '4K', 'posted': True, 'channel': 1}]}


class FdAtStart(Tool):
    """A service manager's descriptor store, played."""

    def setUp(self):
        super().setUp()
        self.vmm = self.register()
        self.description = f'{self.directory}/device.json'
        with open(self.description, 'w') as file:
            json.dump(DESCRIPTION, file)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(f'{self.directory}/manager')
        self.manager.settimeout(LIMIT)
        self.stored = {}
        self.addCleanup(self.empty_store)

    def empty_store(self):
        for sock in self.stored.values():
            sock.close()

    def attach_by_tool(self, vm='vm', status=0):
        """What was told to the service manager, up to the barrier or the tool's end."""
        told = []
        with subprocess.Popen([TOOL, 'attach', vm, 'dev', '--description', self.description], stderr=subprocess.PIPE,
                              env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address,
                                   'NOTIFY_SOCKET': f'{self.directory}/manager'}) as process:
            while 'BARRIER' not in told:
                self.play_vmms(Either(self.manager, process.stderr))
                if not select.select([self.manager], [], [], 0)[0]:
                    break
                told.append(self.hear())
            self.error = process.stderr.read().decode()
            self.assertEqual(process.wait(LIMIT), status, self.error)
        return told

    def hear(self):
        text, fds, _, _ = socket.recv_fds(self.manager, 4096, 8)
        message = dict(line.split('=', 1) for line in text.decode().splitlines())
        if 'BARRIER' in message:
            os.close(fds[0])
            return 'BARRIER'
        if 'STATUS' in message:
            return message['STATUS']
        name = message['FDNAME']
        if 'FDSTOREREMOVE' in message:
            if name in self.stored:
                self.stored.pop(name).close()
            return f'remove {name}'
        self.assertEqual(message['FDSTORE'], '1')
        self.stored[name] = socket.socket(fileno=fds[0]) if name == 'lease' else Channel(fds[0])
        return f'store {name}'

    def serve_once(self):
        """A device without library or bus: 32 bytes in, 32 bytes out."""
        command = self.vmm.command(0x3f8, 5, 1)
        self.assertEqual(protocol.Command.unpack(protocol.receive_packet(self.stored['channel-0'])), command)
        self.stored['channel-0'].send(protocol.Response(0x60).pack())
        self.assertEqual(self.vmm.response(0x3f8).data, 0x60)

    def test_device_is_started_with_its_descriptors(self):
        told = self.attach_by_tool()
        self.assertEqual(told, [f'remove {name}' for name in ('lease', 'channel-0', 'channel-1')] +
                         [f'store {name}' for name in ('lease', 'channel-0', 'channel-1')] + ['BARRIER'])
        self.serve_once()
        command = self.vmm.command(0xd2000000, 0, 4, 7, posted=True)
        self.assertEqual(protocol.Command.unpack(protocol.receive_packet(self.stored['channel-1'])), command)
        self.assertEqual(self.properties(rig.path_of('vm', 'dev'), 'org.ioregion1.Device')['TimeoutUSec'], 20000)

    def test_next_start_resumes(self):
        self.attach_by_tool()
        first = self.stored['lease'].dup()
        self.addCleanup(first.close)
        self.attach_by_tool()
        self.assertEqual(protocol.receive(first).reason, protocol.Revoked.RESUMED)
        self.assertEqual(sorted(self.stored), ['channel-0', 'channel-1', 'lease'])
        self.serve_once()
        command = self.vmm.command(0xd2000000, 0, 4, 7, posted=True)
        self.assertEqual(protocol.Command.unpack(protocol.receive_packet(self.stored['channel-1'])), command)

    def test_an_instance_names_the_device(self):
        self.attach_by_tool('vm:console')
        self.assertEqual(self.state(rig.path_of('vm', 'console')), 'attached')
        self.serve_once()

    def serve(self):
        """The shipped UART, started with what was stored."""
        script = 'exec 3<&0 4<&1 </dev/null >&2; LISTEN_PID=$$ exec "$@"'
        uart = subprocess.Popen(['sh', '-c', script, 'sh', f'{BUILD}/clients/devices/ioregion-uart', '--fds',
                                 *(['--no-lockdown'] if rig.INSTRUMENTED else [])],
                                stdin=self.stored['lease'], stdout=self.stored['channel-0'], stderr=subprocess.PIPE,
                                env={**os.environ, 'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'lease:channel-0'})
        self.addCleanup(uart.stderr.close)
        self.addCleanup(uart.kill)
        return uart

    def test_a_shipped_device_is_started_with_its_descriptors(self):
        with open(self.description, 'w') as file:
            json.dump({'version': 1, 'regions': DESCRIPTION['regions'][:1], 'on-disconnect': 'hold'}, file)
        self.attach_by_tool()
        lease = self.stored['lease'].dup()
        self.addCleanup(lease.close)
        uart = self.serve()
        for _ in range(2):
            self.vmm.command(0x3f8, 5, 1)
            self.assertEqual(self.vmm.response(0x3f8).data, 0x60)
        uart.terminate()
        words = uart.communicate(timeout=LIMIT)[1]
        self.assertEqual(uart.returncode, 0, words)
        self.attach_by_tool()
        self.assertEqual(protocol.receive(lease).reason, protocol.Revoked.RESUMED, 'it gave back what its unit holds')
        uart = self.serve()
        self.vmm.command(0x3f8, 5, 1)
        self.assertEqual(self.vmm.response(0x3f8).data, 0x60)
        self.call(self.vmm.path, 'org.ioregion1.VM', 'Unregister')
        self.assertIn(b'the VM ended', uart.communicate(timeout=LIMIT)[1])
        self.assertEqual(uart.returncode, 0)

    def test_a_shipped_device_without_descriptors(self):
        uart = subprocess.run([f'{BUILD}/clients/devices/ioregion-uart', '--fds'], capture_output=True, timeout=LIMIT)
        self.assertEqual(uart.returncode, 1)
        self.assertIn(b'ioregionctl attach', uart.stderr)

    def test_release_over_the_stored_lease(self):
        self.attach_by_tool()
        protocol.send(self.stored['lease'], Type.RELEASE)
        self.wait_until(lambda: self.state(rig.path_of('vm', 'dev')) is None)

    def test_refusals(self):
        with open(self.description, 'w') as file:
            file.write('{"version": 1, "regions": [ {"space": "pio"} ]}')
        self.assertEqual(self.attach_by_tool(status=1), [])
        self.assertIn('device.json:1:29: ', self.error)
        with open(self.description, 'w') as file:
            json.dump({**DESCRIPTION, 'on-disconnect': 'ones'}, file)
        told, = self.attach_by_tool(status=1)
        self.assertIn('(org.ioregion1.Error.PolicyDenied)', told, 'the status of its unit')
        self.assertEqual(self.error, f'ioregionctl: {told}\n')
        self.run_tool('attach', 'vm', 'dev', status=2)
        out, error = self.run_tool('attach', 'vm', 'dev', '--description', self.description, status=1)
        self.assertIn('ExecStartPre', error)


class Either:
    """Readable when one of several is."""

    def __init__(self, *members):
        self.poll = select.epoll()
        for member in members:
            self.poll.register(member, select.EPOLLIN)

    def fileno(self):
        return self.poll.fileno()


if __name__ == '__main__':
    rig.main()
