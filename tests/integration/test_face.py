# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the bus shows of the broker, and what the bus's own troubles do to it. The numbers are those of edge cases."""

import collections
import os
import pwd
import resource
import select
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import actors
import jeepney
import privatebus
import rig
from privatebus import LIMIT, Connection
from protocol import Event
from rig import path_of, region

SOURCE = os.environ.get('IOREGION_SOURCE', '.')
FIXED = ('org.freedesktop.DBus.Peer', 'org.freedesktop.DBus.Introspectable', 'org.freedesktop.DBus.Properties',
         'org.freedesktop.DBus.ObjectManager', 'org.freedesktop.LogControl1')


def interfaces(text):
    """Members of interfaces as comparable sets, from introspection XML."""
    return {interface.get('name'): {
        (member.tag, member.get('name'), member.get('type'), member.get('access'),
         tuple((argument.get('name'), argument.get('type'), argument.get('direction'))
               for argument in member.findall('arg')))
        for member in interface if member.tag in ('method', 'signal', 'property')}
        for interface in ElementTree.fromstring(text).iter('interface')}


class Face(rig.Case):
    def introspect(self, path):
        return self.call(path, 'org.freedesktop.DBus.Introspectable', 'Introspect')[0]

    def test_introspection_is_the_document(self):
        self.register()
        self.attach()
        with open(f'{SOURCE}/daemon/org.ioregion1.xml') as file:
            documented = interfaces(file.read())
        shown = {}
        for path in (rig.ROOT, path_of('vm'), path_of('vm', 'dev'), path_of('vm', 'dev', 0)):
            shown.update(interfaces(self.introspect(path)))
        for name in documented:
            self.assertEqual(documented[name], shown.get(name), name)
        self.assertLessEqual(set(shown) - set(FIXED), set(documented))
        for name in ('Manager', 'VM', 'Device', 'Region'):
            self.assertIn(f'org.ioregion1.{name}', documented)

    def test_arguments_have_names(self):
        for members in interfaces(self.introspect(rig.ROOT)).values():
            for tag, name, _, _, arguments in members:
                if tag == 'method' and arguments and name in ('RegisterVM', 'AttachDevice', 'ListVMs', 'ExplainAccess'):
                    self.assertTrue(all(argument[0] for argument in arguments), name)

    def test_busctl_walks_the_tree(self):
        self.register()
        self.attach()
        tree = subprocess.run(['busctl', f'--address={self.bus.address}', '--list', 'tree', 'org.ioregion1'],
                              capture_output=True, text=True, timeout=LIMIT, check=True).stdout
        self.assertIn(path_of('vm', 'dev', 0), tree.split())

    def test_objects_that_are_gone_are_unknown(self):
        self.register()
        device = self.attach()
        device.release()
        self.wait_for_state(device, None)
        with self.assertRaises(rig.BusError):
            self.properties(device.path, 'org.ioregion1.Device')
        with self.assertRaises(rig.BusError):
            self.introspect(device.path)

    def test_log_control(self):
        def get():
            return self.properties('/org/freedesktop/LogControl1', 'org.freedesktop.LogControl1')

        def set(level):
            self.call('/org/freedesktop/LogControl1', 'org.freedesktop.DBus.Properties', 'Set', 'ssv',
                      'org.freedesktop.LogControl1', 'LogLevel', ('s', level))

        self.assertEqual((get()['LogLevel'], get()['SyslogIdentifier']), ('info', 'ioregiond'))
        access = {name: access for _, name, _, access, _ in
                  interfaces(self.introspect('/org/freedesktop/LogControl1'))['org.freedesktop.LogControl1']}
        self.assertEqual(access, {'LogLevel': 'readwrite', 'LogTarget': 'read', 'SyslogIdentifier': 'read'})
        with self.refused('org.freedesktop.DBus.Error.PropertyReadOnly'):
            self.call('/org/freedesktop/LogControl1', 'org.freedesktop.DBus.Properties', 'Set', 'ssv',
                      'org.freedesktop.LogControl1', 'LogTarget', ('s', 'null'))
        set('debug')
        self.assertEqual(get()['LogLevel'], 'debug')
        for signature, body in (('ssv', ('org.freedesktop.LogControl1', 'LogLevel', ('u', 3))), ('s', ('LogLevel',))):
            with self.refused('org.freedesktop.DBus.Error.InvalidArgs'):
                self.call('/org/freedesktop/LogControl1', 'org.freedesktop.DBus.Properties', 'Set', signature, *body)
        with self.assertRaises(rig.BusError):
            set('chatty')
        self.assertEqual(get()['LogLevel'], 'debug')

    def test_every_change_is_told(self):
        """Who reads all properties once, and takes in all signals, knows what reading them again would tell."""
        vmm = self.register()
        device = self.attach(on_disconnect='hold', regions=[region('mmio', 0xd0000000, 16), region('pio', 0x200, 1, 2)])
        objects = [(rig.ROOT, rig.MANAGER), (path_of('vm'), 'org.ioregion1.VM'),
                   (device.path, 'org.ioregion1.Device'),
                   *((path_of('vm', 'dev', index), 'org.ioregion1.Region') for index in range(2))]
        before = {key: self.properties(*key) for key in objects}
        self.connection.signals.clear()

        def as_told():
            mirror = {key: dict(values) for key, values in before.items()}
            for signal in self.connection.signals:
                if signal.member == 'PropertiesChanged' and (signal.path, signal.body[0]) in mirror:
                    values = mirror[signal.path, signal.body[0]]
                    values.update((name, value) for name, (_, value) in signal.body[1].items())
                    for name in signal.body[2]:
                        values.pop(name)
                        invalidated.add(name)
            return {key: {**values, **{name: now[key][name] for name in now[key] if name not in values}}
                    for key, values in mirror.items()}

        def changed():
            return {name for key in objects for name in now[key] if now[key][name] != before[key][name]}

        invalidated = set()
        device.lease.close()
        self.wait_for_state(device, 'held')
        now = {key: self.properties(*key) for key in objects}
        self.assertEqual(as_told(), now)
        self.assertEqual(changed(), {'State', 'LastError'})
        device = self.attach(on_disconnect='hold',
                             regions=[region('mmio', 0xd0000000, 16), region('pio', 0x200, 1, 2)])
        device.misbehave()
        vmm.event(0xd0000000, Event.VIOLATION)
        self.wait_for_state(device, 'failed')
        self.attach(name='more', regions=[region('pio', 0x300, 1)])
        self.register('other')
        self.manager('Reload')
        now = {key: self.properties(*key) for key in objects}
        self.assertEqual(as_told(), now)
        self.assertEqual(changed(), {'State', 'LastError', 'VMCount', 'DeviceCount', 'RegionCount', 'Devices',
                                     'PolicyGeneration', 'PolicyLoadedUSec'})
        self.assertEqual(invalidated, {'Devices'})

    def test_anyone_may_look(self):
        self.register()

        def look():
            actors.become(rig.STRANGER)
            assert len(Connection(self.bus.address).call(rig.ROOT, rig.MANAGER, 'ListVMs')[0]) == 1

        self.assertEqual(os.waitpid(actors.fork(look), 0)[1], 0)

    def test_audit_trail(self):
        self.register()
        self.attach().release()
        with self.refused('PolicyDenied'):
            self.attach(name='denied', user=rig.STRANGER)
        self.wait_until(lambda: not self.manager('ListDevices')[0])
        log = self.daemon.log()
        uid = pwd.getpwnam(rig.DEVICE_USER).pw_uid
        for record in ('register: vm vm ', 'attach: device dev on vm vm ', f'uid={uid} ', 'rule=scratches',
                       'detach: device dev on vm vm ', 'deny: device denied on vm vm ', 'PolicyDenied', 'default'):
            self.assertIn(record, log)

    def test_60_unread_replies_of_one_user_slow_nobody(self):
        """A user asks and never listens, until the bus takes no more of it; others are served meanwhile and after."""
        self.register()

        def ask_and_not_listen():
            actors.become(rig.STRANGER)
            connection = Connection(self.bus.address)
            connection.dbus.sock.setblocking(False)
            enough = time.monotonic() + LIMIT / 4  # for slow machines
            try:
                for _ in range(20000):
                    connection.send(rig.ROOT, rig.MANAGER, 'ListVMs')
                    if time.monotonic() > enough:
                        break
            except OSError:
                pass
            ready.write(b'x')
            ready.close()
            select.select([], [], [], LIMIT)

        listen, told = os.pipe()
        ready = os.fdopen(told, 'wb')
        pid = actors.fork(ask_and_not_listen)
        ready.close()
        try:
            self.assertEqual(os.read(listen, 1), b'x')
            for number in range(20):
                self.attach(name='dev', regions=[region('mmio', 0xd0000000, 16)]).release()
                self.wait_until(lambda: not self.manager('ListDevices')[0])
        finally:
            os.close(listen)
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    def test_60_who_asks_for_everything_a_thousand_times_slows_nobody(self):
        """All at once, over one connection: little of it is served, and all of it is answered."""
        self.write_policy({**self.policy, 'limits': {'list-rate': '100/s'}})
        self.manager('Reload')
        self.register()
        self.attach(regions=[region('pio', 0x200 + number, 1, number) for number in range(16)])

        def ask():
            actors.become(rig.STRANGER)
            connection = Connection(self.bus.address)
            serials = [connection.send(rig.ROOT, 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')
                       for _ in range(2000)]
            answers = collections.Counter()
            for serial in serials:
                message = connection.receive()
                answers[message.header.fields.get(jeepney.HeaderFields.error_name, 'served')] += 1
            refused = sum(answers[error] for error in (  # the last is dbus-daemon's own
                'org.ioregion1.Error.Busy', 'org.ioregion1.Error.QuotaExceeded',
                'org.freedesktop.DBus.Error.LimitsExceeded'))
            assert 0 < answers['served'] < 200 and answers['served'] + refused == 2000, answers

        pid = actors.fork(ask)
        try:
            self.manager('ListRegions')
        finally:
            self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_60_clients_that_ask_and_leave(self):
        self.register()
        before = self.daemon.fds()

        def ask_and_leave():
            connection = Connection(self.bus.address)
            for _ in range(100):
                connection.send(rig.ROOT, rig.MANAGER, 'ListVMs')

        for _ in range(5):
            self.assertEqual(os.waitpid(actors.fork(ask_and_leave), 0)[1], 0)
        self.assertEqual(self.vm_names(), ['vm'])
        self.assertEqual(self.daemon.fds(), before)

    def test_24_no_signal_for_who_writes_to_nobody(self):
        with open(f'/proc/{self.daemon.pid}/status') as status:
            ignored = next(int(line.split()[1], 16) for line in status if line.startswith('SigIgn:'))
        self.assertTrue(ignored & 1 << (signal.SIGPIPE - 1))

    def test_58_descriptors_run_out(self):
        """What was granted stays, what can't be done is refused, and all is well when there is room again."""
        self.register()
        device = self.attach()
        used = self.daemon.fds()
        limits = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)
        for room in range(0, 6):
            resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (used + room, limits[1]))
            try:
                self.attach(name='more', regions=[region('pio', 0x200, 1)]).release()
                self.wait_until(lambda: len(self.manager('ListDevices')[0]) == 1)
            except rig.BusError:
                pass
        resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(self.state(device.path), 'attached')
        self.attach(name='more', regions=[region('pio', 0x200, 1)])

    def test_65_the_bus_goes(self):
        """VMs and devices don't notice, and the daemon is there again when a bus is."""
        vmm = self.register()
        device = self.attach()
        operators = [Connection(self.bus.address) for _ in range(16)]
        for connection in operators:
            self.addCleanup(connection.close)
            connection.call(rig.ROOT, rig.MANAGER, 'Reload')
        self.connection.close()
        self.bus.close()
        vmm.command(0xd0000000, 0, 1)
        device.answer(7)
        self.assertEqual(vmm.response(0xd0000000).data, 7)
        self.bus = privatebus.BUSES[rig.BUS](self.directory)
        self.addCleanup(self.bus.close)
        self.connection = Connection(self.bus.address)
        self.addCleanup(self.connection.close)
        self.connection.wait_for_name('org.ioregion1')
        self.assertEqual((self.vm_names(), self.state(device.path)), (['vm'], 'attached'))
        self.attach(name='another', regions=[region('pio', 0x200, 1)])

        def be_called_as_the_last_operator():
            actors.become(rig.STRANGER)
            strangers = []
            while not strangers or strangers[-1].name != operators[-1].name:
                strangers.append(Connection(self.bus.address))
                self.assertLess(len(strangers), 64)
            with self.refused('PolicyDenied', 'operators'):
                strangers[-1].call(rig.ROOT, rig.MANAGER, 'Reload')

        self.assertEqual(os.waitpid(actors.fork(be_called_as_the_last_operator), 0)[1], 0)


class Filter(rig.Case):
    def test_account_services_that_come_later(self):
        """glibc loads what nsswitch.conf has come to name; the filter forbids it, and the daemon lives on without."""
        self.need_mounts()
        services = f'{self.directory}/nsswitch.conf'
        with open(services, 'w') as file:
            file.write('passwd: files\ngroup: files\n')
        self.stop_daemon()
        self.start_daemon(wrapper=['unshare', '--mount', 'sh', '-c',
                                   f'mount --bind {services} /etc/nsswitch.conf && exec "$@"', 'sh'])
        with open(services, 'w') as file:
            file.write('passwd: files compat\ngroup: files compat\n')
        with self.refused('org.freedesktop.DBus.Error.InvalidArgs', 'no account'):
            self.explain('register', user='no-such-user-here', vm='vm')
        self.register()


class CommandLine(rig.Case):
    def run_daemon(self, *arguments):
        return subprocess.run([f'{rig.BUILD}/daemon/ioregiond', *arguments],
                              capture_output=True, text=True, timeout=LIMIT,
                              env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address})

    def test_help_and_version(self):
        for option in ('--help', '--version'):
            result = self.run_daemon(option)
            self.assertEqual((result.returncode, result.stderr), (0, ''))
            self.assertIn('ioregiond', result.stdout)
        for option in ('--user', '--policy', '--seccomp', '--log-level'):
            self.assertIn(option, self.run_daemon('--help').stdout)

    def test_bad_arguments(self):
        for arguments in (['--colour'], ['extra'], ['--seccomp', 'maybe'], ['--log-level', 'chatty'],
                          ['--user', 'no-such-user-here'], ['--policy', f'{self.directory}/policy.d/rig.json']):
            with self.subTest(arguments):
                result = self.run_daemon(*arguments)
                self.assertNotEqual(result.returncode, 0)
                self.assertTrue(result.stderr)

    def test_bad_policy_at_start(self):
        self.stop_daemon()
        self.write_policy('{"version": 1,\n"colour": 2}', 'bad.json')
        result = self.run_daemon('--policy', f'{self.directory}/policy.d', '--seccomp', rig.SECCOMP)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('bad.json:2:1', result.stderr)

    def test_second_daemon_does_not_take_over(self):
        self.register()
        second = self.run_daemon('--policy', f'{self.directory}/policy.d', '--seccomp', rig.SECCOMP)
        self.assertNotEqual(second.returncode, 0)
        self.assertEqual(self.vm_names(), ['vm'])

    def test_terms_end_it(self):
        for signal in (2, 15):
            with self.subTest(signal):
                self.daemon.process.send_signal(signal)
                self.assertEqual(self.daemon.process.wait(LIMIT), 0)
                self.daemon = None
                self.start_daemon()


if __name__ == '__main__':
    rig.main()
