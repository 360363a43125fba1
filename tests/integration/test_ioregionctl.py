# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tool for people, against the real broker."""

import json
import os
import signal

import jeepney

import actors
import protocol
import rig
from privatebus import LIMIT, Connection
from program import Program
from rig import region
from tool import TOOL, Tool


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


if __name__ == '__main__':
    rig.main()
