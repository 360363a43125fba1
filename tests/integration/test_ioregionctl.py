# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tool for people, against the real broker."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import unittest

import jeepney

import actors
import protocol
import rig
from daemon import USER
from played_systemd import Systemd
from privatebus import LIMIT, Connection
from program import Program
from protocol import Type
from puppets import Channel
from rig import BUILD, region

TOOL = f'{BUILD}/clients/ioregionctl/ioregionctl'
DESCRIPTION = {'version': 1, 'want': ['posted-writes'], 'on-disconnect': 'hold', 'timeout': '20ms', 'channels': 2,
               'regions': [{'space': 'pio', 'base': '0x3f8', 'size': '8'},
                           {'space': 'mmio', 'base': '0xd2000000', 'size': '4K', 'posted': True, 'channel': 1}]}
NODE = '/dev/ioregionfd'
VMM = '''
import fcntl, os, sys
kvm = os.open('/dev/kvm', os.O_RDWR)
vms = [fcntl.ioctl(kvm, 0xAE01, 0) for _ in range(int(sys.argv[1]))]
print('ready', flush=True)
sys.stdin.read()
'''
ROOTS = {'name': 'roots', 'match': {'user': 'root'}, 'vms': ['*'], 'regions': [rig.RAM, rig.PORTS],
         'features': rig.FEATURES, 'limits': {'regions': 4, 'channels': 2}, 'timeout': '1s', 'grace': '60s',
         'on-disconnect': ['hold']}


class Tool(rig.Case):
    policy = {**rig.POLICY, 'devices': [*rig.POLICY['devices'], ROOTS]}

    def run_tool(self, *arguments, address=None, status=0, **environment):
        """What it says on standard output and standard error."""
        with subprocess.Popen([TOOL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address or self.bus.address, 'LC_ALL': 'C',
                                   **environment}) as process:
            texts = {process.stdout: b'', process.stderr: b''}
            for stream in texts:
                while more := self.read(stream):
                    texts[stream] += more
            self.assertEqual(process.wait(LIMIT), status, texts)
        return tuple(text.decode() for text in texts.values())

    def read(self, stream):
        self.play_vmms(stream)
        return os.read(stream.fileno(), 65536)

    def json(self, *arguments):
        return json.loads(self.run_tool(*arguments, '--json')[0])


class Impostor(Tool):
    """Somebody else has the broker's name, and says odd things."""

    def answer(self, answer):
        def serve():
            connection = Connection(self.bus.address)
            connection.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'RequestName', 'su', 'org.ioregion1', 0,
                            destination='org.freedesktop.DBus')
            while True:
                message = connection.dbus.receive(timeout=LIMIT)
                if message.header.message_type == jeepney.MessageType.method_call:
                    connection.dbus.send(answer(message))

        self.stop_daemon()
        pid = actors.fork(serve)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.connection.wait_for_name('org.ioregion1')

    def test_error_without_a_word(self):
        self.answer(lambda message: jeepney.new_error(message, 'org.example.Odd'))
        self.assertEqual(self.run_tool('detach', 'vm', 'dev', status=1)[1], 'ioregionctl: vm/dev (org.example.Odd)\n')

    def test_61_text_and_numbers(self):
        text = 'a\x1b[31m\nb\u202e\x7f'
        values = {'Version': ('s', text), text: ('s', text)}
        self.answer(lambda message: jeepney.new_method_return(message, 'a{sv}', (values,)))
        self.assertEqual(self.json('show'), {'Version': text, text: text})
        self.assertTrue(all(line.isprintable() for line in self.run_tool('show')[0].splitlines()))

    def test_number_that_json_has_not(self):
        self.answer(lambda message: jeepney.new_method_return(message, 'a{sv}', ({'X': ('d', float('nan'))},)))
        self.assertEqual(self.run_tool('show', '--json', status=1)[0], '')


class Looking(Tool):
    def setUp(self):
        super().setUp()
        self.vmm = self.register()
        self.device = self.attach(regions=[region('mmio', 0xd0000000, 0x1000, 7, posted=True),
                                           region('pio', 0x3f8, 8, 2**64 - 1)], want=['posted-writes'])

    def test_tables_are_aligned(self):
        out, _ = self.run_tool('list', 'regions')
        self.assertEqual(out, 'VM  DEVICE  REGION  SPACE        BASE  SIZE  FLAGS   STATE\n'
                              'vm  dev          0  mmio   0xd0000000    4K  posted  attached\n'
                              'vm  dev          1  pio         0x3f8     8  -       attached\n'
                              '2 regions\n')
        out, _ = self.run_tool('list', 'regions', '--no-legend')
        self.assertEqual(out, 'vm  dev  0  mmio  0xd0000000  4K  posted  attached\n'
                              'vm  dev  1  pio        0x3f8   8  -       attached\n')

    def test_list_of_everything(self):
        out, _ = self.run_tool('list')
        for total in ('1 vm\n', '1 device\n', '2 regions\n'):
            self.assertIn(total, out)
        lists = self.json('list')
        self.assertEqual(lists, {kind: self.json('list', kind) for kind in ('vms', 'devices', 'regions')})
        self.assertEqual([vm['name'] for vm in lists['vms']], ['vm'])
        self.assertEqual(lists['regions'][0], {
            'vm': 'vm', 'device': 'dev', 'region': 0, 'space': 'mmio', 'base': '0xd0000000', 'size': '0x1000',
            'flags': ['posted'], 'state': 'attached', 'path': rig.path_of('vm', 'dev', 0)})

    def test_show_tells_properties_and_statistics(self):
        self.vmm.counts.update(reads=3, writes=2**64 - 1, timeouts=1)
        shown = self.json('show', 'vm/dev/1')
        self.assertEqual((shown['Base'], shown['UserData']), ('0x3f8', '0xffffffffffffffff'))
        self.assertEqual(shown['Statistics'], self.vmm.counts)
        self.assertEqual(self.json('show', 'vm/dev')['Regions'][1]['statistics'], self.vmm.counts)
        self.assertEqual([device['device'] for device in self.json('show', 'vm')['Devices']], ['dev'])
        self.assertEqual(self.json('show')['RegionCount'], 2)
        out, _ = self.run_tool('show', 'vm/dev')
        for line in ('TimeoutUSec:  1s', 'REGION  READS                WRITES  POSTED  FAILURES  TIMEOUTS',
                     '     1      3  18446744073709551615       0         0         1'):
            self.assertIn(line, out)

    def test_properties_are_shown_though_the_vmm_is_mute(self):
        self.vmm.mute = True
        out, error = self.run_tool('show', 'vm/dev/0', status=1)
        self.assertIn('Base:  0xd0000000', out)
        self.assertIn('(org.', error)

    def test_what_is_not_there(self):
        for name in ('nobody', 'vm/nothing', 'vm/dev/2'):
            with self.subTest(name=name):
                self.assertIn('(org.', self.run_tool('show', name, status=1)[1])

    def test_monitor_prints_a_line_an_event(self):
        monitor = Program(self.bus.address, TOOL, 'monitor')
        self.addCleanup(monitor.close)
        monitor.expect('Following')
        late = self.attach(name='late', regions=[region('pio', 0x100, 1)])
        self.assertIn('added    device vm/late  ', monitor.expect('vm/late'))
        self.assertIn('Base=0x100', monitor.expect('region vm/late/0'))
        late.misbehave()
        self.vmm.event(0x100, protocol.Event.VIOLATION)
        self.assertIn('State=failed', monitor.expect('changed  device vm/late'))
        self.run_tool('detach', 'vm', 'late')
        monitor.expect('removed  device vm/late')
        self.stop_daemon()
        monitor.expect('stopped  broker')
        self.assertEqual(monitor.end(signal.SIGINT), 0)

    def test_monitor_in_json(self):
        monitor = Program(self.bus.address, TOOL, 'monitor', '--json')
        self.addCleanup(monitor.close)
        monitor.expect('Following')
        self.device.lease.close()
        line = json.loads(monitor.expect('"kind":"device"'))
        self.assertEqual((line['event'], line['name'], line['properties']['State']), ('changed', 'vm/dev', 'failed'))


class Operating(Tool):
    def test_detach_and_revoke(self):
        self.register()
        for command in (['detach'], ['revoke'], ['revoke', '--reason', 'ticket 4711']):
            device = self.attach()
            self.run_tool(*command, 'vm', 'dev')
            self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.OPERATOR)
        self.assertIn('ticket 4711', self.daemon.log())
        self.run_tool('detach', 'vm', 'dev', status=1)

    def test_unregister(self):
        vmm = self.register()
        self.run_tool('unregister', 'vm')
        self.wait_until(lambda: vmm.ended)
        self.assertEqual(self.vm_names(), [])

    def test_reload(self):
        self.run_tool('policy', 'reload')
        self.assertEqual(self.json('show')['PolicyGeneration'], 2)
        self.run_tool('policy', 'reload', '--revoke')
        self.assertIn('0 grants that it would not give are revoked', self.daemon.log())
        self.run_tool('policy', 'check', '--revoke', status=2)
        self.write_policy('{\n  "version": 1,\n}')
        self.assertIn('rig.json:3:1', self.run_tool('policy', 'reload', status=1)[1])

    def test_version(self):
        out, _ = self.run_tool('version')
        self.assertRegex(out, r'^ioregionctl [0-9.]+\nioregiond [0-9.]+\n$')

    def test_exit_status(self):
        self.run_tool('list', 'nonsense', status=2)
        self.run_tool('list', '--reason', 'x', status=2)
        self.run_tool('detach', 'vm', status=2)
        self.run_tool('show', 'a//b', status=2)
        self.run_tool('--nonsense', status=2)
        self.run_tool(status=2)
        self.run_tool('list', '-H', 'a', '-M', 'b', status=2)
        self.run_tool('list', address='unix:path=/nonexistent/bus', status=3)
        self.stop_daemon()
        self.assertIn('ServiceUnknown', self.run_tool('list', status=3)[1])

    def test_start_without_systemd(self):
        for wrong in (['start'], ['start', 'a', 'b'], ['start', 'a.socket'], ['start', '.service'],
                      ['start', 'a', '--timeout', '5'], ['start', 'a', '--timeout', '0s'], ['list', '--timeout', '5s']):
            with self.subTest(wrong=wrong):
                self.run_tool(*wrong, status=2)
        self.assertIn('systemd: ', self.run_tool('start', 'a', status=1)[1])
        self.run_tool('start', 'a', address='unix:path=/nonexistent/bus', status=3)

    def test_host_that_can_not_be_reached(self):
        with open(f'{self.directory}/ssh', 'w') as ssh:
            ssh.write('#!/bin/sh\necho "$@" >&2\nexit 255\n')
        os.chmod(f'{self.directory}/ssh', 0o755)
        _, error = self.run_tool('-H', 'nowhere.example', 'list', status=3, PATH=f'{self.directory}:/bin')
        self.assertIn('nowhere.example', error)

    def test_help_of_every_command(self):
        overview, _ = self.run_tool('--help')
        for command in ('list', 'show', 'monitor', 'start', 'adopt', 'attach', 'detach', 'revoke', 'unregister',
                        'policy', 'version'):
            self.assertIn(f'\n  {command} ', overview)
            self.assertIn(f'Usage: ioregionctl {command}', self.run_tool(command, '--help')[0])


class Adoption(Tool):
    """A VM whose VMM knows nothing of the broker. What comes of it is for the kernel dispatcher's rig to show."""

    policy = {**rig.POLICY, 'vmms': [{'name': 'roots', 'match': {'user': 'root'}, 'vms': ['*']}]}

    def vmm(self, vms=1, **account):
        """A process with VMs, and nothing else."""
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('no /dev/kvm')
        process = subprocess.Popen([sys.executable, '-c', VMM, str(vms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   **account)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, LIMIT)
        self.addCleanup(process.stdin.close)
        self.assertEqual(process.stdout.readline(), b'ready\n')
        return process

    def adopt(self, process, *arguments, **keywords):
        return self.run_tool('adopt', '--pid', str(process.pid), '--vm', 'found', *arguments, **keywords)[1]

    @unittest.skipIf(os.path.exists(NODE), 'the module is here')
    def test_without_the_module(self):
        self.assertIn('ioregionfd.ko loaded', self.adopt(self.vmm(), status=1))

    @unittest.skipUnless(os.path.exists(NODE), 'there is no /dev/ioregionfd')
    def test_until_the_end(self):
        process = self.vmm()
        self.adopt(process)
        rows = self.json('list', 'vms')
        self.assertEqual([(row['name'], row['pid'], row['dispatch']) for row in rows],
                         [('found', process.pid, 'kernel')])
        self.assertIn('adopted by user 0', self.daemon.log())
        self.assertIn('VMExists', self.adopt(process, status=1))
        process.kill()
        self.wait_until(lambda: not self.json('list', 'vms'))

    def test_which_vm(self):
        self.assertIn('has no VM', self.adopt(self.vmm(0), status=1))
        two = self.vmm(2)
        self.assertIn('choose with --fd', self.adopt(two, status=1))
        self.assertIn('Bad file descriptor', self.adopt(two, '--fd', '999', status=1))
        self.assertIn('NotAVM', self.adopt(two, '--fd', '0', status=1))

    def test_no_process(self):
        process = subprocess.Popen(['true'])
        process.wait(LIMIT)
        self.assertIn('No such process', self.adopt(process, status=1))

    def test_operators_only(self):
        self.write_policy({**self.policy, 'operators': [{'name': 'nobody', 'match': {'user': 'nobody'}}]})
        self.run_tool('policy', 'reload')
        self.assertIn('PolicyDenied', self.adopt(self.vmm(), status=1))

    def test_policy_is_asked_about_the_process(self):
        self.write_policy(rig.POLICY)
        self.run_tool('policy', 'reload')
        self.assertIn('PolicyDenied', self.adopt(self.vmm(), status=1))

    def test_policy_is_asked_about_a_process_that_the_broker_does_not_see(self):
        self.need_mounts()
        self.write_policy(rig.POLICY)
        self.stop_daemon()
        self.start_daemon('--user', USER or rig.DAEMON_USER, wrapper=rig.HIDDEN_PROCESSES)
        systemd = Systemd(self.bus.address)
        self.addCleanup(systemd.close)
        self.vmms.append(systemd)  # it's played like one
        self.assertIn('PolicyDenied', self.adopt(self.vmm(), status=1))
        process = self.vmm(user=rig.VMM_USER, group=os.stat('/dev/kvm').st_gid, extra_groups=[])
        if os.path.exists(NODE):
            self.adopt(process)
            self.assertEqual([(row['pid'], row['user']) for row in self.json('list', 'vms')],
                             [(process.pid, rig.VMM_USER)])
        else:
            self.assertIn('ioregionfd.ko loaded', self.adopt(process, status=1))

    def test_usage(self):
        for arguments in ((), ('--pid', '1'), ('--vm', 'x'), ('--pid', 'x', '--vm', 'x'), ('--pid', '0', '--vm', 'x'),
                          ('--pid', '1', '--vm', 'x', '--fd', '-1'), ('--pid', '1', '--vm', 'x', 'y')):
            self.run_tool('adopt', *arguments, status=2)


class Policies(Tool):
    """No broker is asked."""

    def ask(self, *question, status):
        return self.run_tool('policy', 'explain', f'policy={self.directory}/policy.d', *question,
                             address='unix:path=/nonexistent/bus', status=status)[0]

    def test_check(self):
        self.run_tool('policy', 'check', f'{self.directory}/policy.d')
        self.write_policy('{\n  "version": 2\n}', 'worse.json')
        self.assertIn('worse.json:2:14: ', self.run_tool('policy', 'check', f'{self.directory}/policy.d', status=1)[1])
        self.assertIn('nowhere', self.run_tool('policy', 'check', '/nowhere', status=1)[1])

    def test_explain(self):
        device = ('vm=a', 'device=d', f'user={rig.DEVICE_USER}', 'want=posted-writes')
        self.assertIn('Allowed by rule scratches.\n', self.ask(*device, 'region=mmio:0xd0000000:4K', status=0))
        self.assertIn('Denied by rule ', self.ask(*device, 'region=mmio:0xfec00000:4K', status=1))
        self.assertIn('Allowed by rule guests.\n', self.ask('vm=a', f'user={rig.VMM_USER}', status=0))
        self.assertIn('Denied by rule default.\n', self.ask('vm=a', 'user=root', 'dispatch=vmm', status=1))
        answer = json.loads(self.ask(*device, 'region=pio:0x100:1', '--json', status=0))
        self.assertEqual((answer['rule'], answer['features'], answer['timeout-usec']),
                         ('scratches', ['posted-writes'], 1000000))

    def test_questions_that_are_none(self):
        for wrong in ('vm=', 'vm=/', 'region=pio:1', 'region=io:1:1', 'region=pio:1:1:1', 'want=speed', 'timeout=soon',
                      'channels=0', 'on-disconnect=never', 'dispatch=x', 'colour=red', 'vm'):
            with self.subTest(wrong=wrong):
                self.ask('vm=a', wrong, status=2)
        self.ask('device=d', status=2)


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
