# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every error by name, each with words that help; and what callers send that makes no sense."""

import copy
import os

import actors
import rig
from privatebus import BusError, Connection
from rig import path_of, region

INVALID = 'org.freedesktop.DBus.Error.InvalidArgs'
DEVICE = [region('mmio', 0xd0000000, 16)]


class Many(rig.Case):
    policy = {**rig.POLICY, 'devices': [dict(rig.POLICY['devices'][1], limits={'regions': 256, 'channels': 1})],
              'limits': {'vms': 999, 'vms-per-user': 999, 'devices-per-unit': 999, 'regions-per-vm': 256,
                         'register-rate': '10000/s', 'attach-rate': '10000/s'}}

    def test_more_objects_than_a_message_holds(self):
        """dbus-daemon would hang up on a broker that sent them all."""
        if rig.INSTRUMENTED:
            self.skipTest('32,768 regions take too long with instruments')
        if rig.DISPATCH == 'kernel':
            self.skipTest('these VMs are dispatched by their VMMs in any case: the kernel has no part in it')
        regions = [region('mmio', 0xd0000000 + number, 1, number) for number in range(256)]

        def managed():
            return len(self.call(rig.ROOT, 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')[0])

        for number in range(127):
            self.register(f'{number:064}', dispatch='vmm')
            self.attach(f'{number:064}', f'{number:064}', regions)
            self.vmms.clear()  # nobody asks them anything more
        self.assertEqual(managed(), 127 * 258)
        self.register('last', dispatch='vmm')
        self.attach('last', 'one', regions)
        with self.refused('org.freedesktop.DBus.Error.LimitsExceeded', '32768'):
            managed()
        self.assertEqual(len(self.manager('ListRegions')[0]), 128 * 256)


class Errors(rig.Case):
    def setUp(self):
        super().setUp()
        self.register()

    def test_policy_denied(self):
        with self.refused('PolicyDenied', 'default'):
            self.register('other', user=rig.STRANGER)
        with self.refused('PolicyDenied', 'default'):
            self.attach(user=rig.STRANGER)
        with self.refused('PolicyDenied', 'scratches'):
            self.attach(regions=[region('mmio', 0x1000, 16)])
        with self.refused('PolicyDenied', 'scratches'):
            self.attach(timeout_usec=1000001)
        with self.refused('PolicyDenied', 'scratches'):
            self.attach(channels=5, regions=[region('pio', 0x200 + n, 1, channel=n) for n in range(5)])
        with self.refused('PolicyDenied', 'others'):
            self.attach(user=rig.OTHER_USER, on_disconnect='remove')

    def test_reserved_wins_over_every_rule(self):
        policy = copy.deepcopy(rig.POLICY)
        policy['reserved'].append({'space': 'mmio', 'within': ['0xd0001000', '0xd0001fff'], 'why': 'the doorbell'})
        policy['devices'][1]['regions'] = [{'space': 'mmio', 'within': ['0xd0000000', '0xd0000fff']}]
        policy['devices'][0]['regions'] = policy['devices'][2]['regions'] = [rig.PORTS]
        self.write_policy(policy)
        self.manager('Reload')
        with self.refused('PolicyDenied', 'the doorbell'):
            self.attach(regions=[region('mmio', 0xd0000ff8, 16)])

    def test_identity_unproven(self):
        with self.refused('IdentityUnproven'):
            self.attach(make_lease=lambda: actors.socket.socketpair())

    def test_no_such_vm(self):
        with self.refused('NoSuchVM', 'elsewhere'):
            self.attach('elsewhere')

    def test_vm_exists(self):
        with self.refused('VMExists', 'vm'):
            self.register()

    def test_not_a_vm(self):
        for options in ({}, {'dispatch': 'auto'}):
            with self.refused('NotAVM'):
                self.register('other', vm_fd=os.open('/dev/null', os.O_RDWR), **options)
        with self.assertRaisesRegex(BusError, 'InvalidArgs.*of no use to the vmm dispatcher'):
            self.register('other', vm_fd=os.open('/dev/null', os.O_RDWR), dispatch='vmm')

    def test_no_dispatcher(self):
        with self.refused('NoDispatcher', 'kernel'):
            self.register('other', dispatch='kernel')
        self.register('other', dispatch='auto')

    def test_no_such_device(self):
        for path, interface, member in ((path_of('vm', 'none'), 'Device', 'Detach'),
                                        (path_of('vm', 'none', 0), 'Region', 'GetStatistics')):
            with self.subTest(path), self.refused('NoSuchDevice', 'none'):
                self.call(path, f'org.ioregion1.{interface}', member)

    def test_device_exists(self):
        self.attach()
        with self.refused('DeviceExists', 'dev'):
            self.attach(user=rig.OTHER_USER)

    def test_region_overlap(self):
        self.attach()
        with self.refused('RegionOverlap', 'dev'):
            self.attach(name='other')

    def test_invalid_region(self):
        with self.refused('InvalidRegion'):
            self.attach(regions=[region('pio', 0xffff, 2)])

    def test_62_feature_unavailable(self):
        self.register('modest', ceiling=['replay'])
        for vm, user, feature, party in (('vm', rig.DEVICE_USER, 'out-of-order', 'dispatcher'),
                                         ('modest', rig.DEVICE_USER, 'posted-writes', 'ceiling'),
                                         ('vm', rig.OTHER_USER, 'replay', 'policy')):
            with self.subTest(party):
                with self.refused('FeatureUnavailable', feature) as refusal:
                    self.attach(vm, user=user, require=[feature])
                self.assertIn(party, refusal.text)
                device = self.attach(vm, f'wants-{party}', user=user, want=[feature], regions=DEVICE)
                self.assertEqual(device.features, [])
                device.release()
                self.wait_for_state(device, None)

    def test_quota_exceeded(self):
        devices = [self.attach(name=f'd{number}', regions=[region('pio', 0x200 + number, 1)]) for number in range(4)]
        with self.refused('QuotaExceeded', '4'):
            self.attach(name='fifth')
        devices[0].release()
        self.wait_for_state(devices[0], None)
        self.attach(name='fifth')

    def test_quota_of_vms(self):
        for number in range(3):
            self.register(f'vm{number}')
        with self.refused('QuotaExceeded', '4'):
            self.register('vm3')

    def test_policy_invalid(self):
        self.write_policy('{ "version": 1,\n  "vms": [] }', 'bad.json')
        with self.refused('PolicyInvalid', 'bad.json:2:3'):
            self.manager('Reload')

    def test_every_error_has_an_errno(self):
        """What C callers see is told by the unit tests of the map; that all of the names are ours is told here."""
        with self.assertRaises(BusError) as caught:
            self.attach('elsewhere')
        self.assertTrue(caught.exception.name.startswith('org.ioregion1.Error.'))
        self.assertTrue(caught.exception.text)


class Nonsense(rig.Case):
    """Nothing of it changes anything, and each costs at most a line in the log."""

    def setUp(self):
        super().setUp()
        self.register()
        self.before = self.daemon.fds(), self.manager('ListVMs')

    def tearDown(self):
        if self.daemon:
            self.assertEqual((self.daemon.fds(), self.manager('ListVMs')), self.before)

    def test_unknown_options(self):
        for request in (lambda: self.attach(colour=('s', 'red')), lambda: self.register('other', colour=('s', 'red'))):
            with self.refused(INVALID, 'colour'):
                request()

    def test_options_of_another_type(self):
        for options in (dict(require=('s', 'replay')), dict(channels=('t', 1)), dict(timeout_usec=('u', 1)),
                        dict(on_disconnect=('u', 1)), dict(want=('a{sv}', {}))):
            with self.subTest(**options), self.refused(INVALID, list(options)[0].replace('_', '-')):
                self.attach(**options)
        for options in (dict(ceiling=('s', 'replay')), dict(dispatch=('u', 1)), dict(reserve=('a(tt)', [(1, 2)])),
                        dict(vm_fd=('i', 1))):
            with self.subTest(**options), self.refused(INVALID, list(options)[0].replace('_', '-')):
                self.register('other', **options)

    def test_values_out_of_range(self):
        for options in (dict(require=['telepathy']), dict(on_disconnect='panic'), dict(channels=0), dict(channels=65)):
            with self.subTest(**options), self.assertRaises(BusError) as caught:
                self.attach(**options)
            self.assertTrue(caught.exception.text)
        with self.refused(INVALID, 'magic'):
            self.register('other', dispatch='magic')

    def test_wanting_what_nobody_knows_is_no_error(self):
        device = self.attach(want=['telepathy', 'replay'])
        self.assertEqual(device.features, ['replay'])
        device.release()
        self.wait_for_state(device, None)

    def test_options_of_others(self):
        """What later versions bring is unknown to this one, and what is the operators' is not for all."""
        folder = os.open('/proc/self', os.O_RDONLY)
        self.addCleanup(os.close, folder)
        for options, error in ((dict(manifest='{}'), INVALID), (dict(process=folder, vm_fd=folder), 'PolicyDenied')):
            with self.subTest(**options), self.refused(error):
                self.register('other', **options)

    def test_61_names(self):
        names = ('', '.hidden', '-x', '_x', 'a' * 65, 'a/b', 'a b', 'a\nb', 'a\x1b[31m', 'a\x7f', 'ü', 'a%s%n', '../x')
        for name in names:
            with self.subTest(name=name):
                with self.refused(INVALID):
                    self.register(name)
                with self.refused(INVALID):
                    self.attach(name, 'dev')
                with self.refused(INVALID):
                    self.attach('vm', name)
        log = self.daemon.log()
        self.assertTrue(all(line.isprintable() for line in log.splitlines()), log)

    def test_61_reasons(self):
        device = self.attach()
        self.call(device.path, 'org.ioregion1.Device', 'Revoke', 's', 'first\nsecond MESSAGE=forged \x1b[31m')
        log = self.daemon.log()
        self.assertTrue(all(line.isprintable() for line in log.splitlines()), log)
        self.assertNotIn('\nsecond', log)

    def test_arguments_of_another_shape(self):
        for signature, body in (('', ()), ('s', ('vm',)), ('ssa(sttt)a{sv}h', ('vm', 'dev', [], {}, 0)),
                                ('sa{sv}s', ('x', {}, 'lease')), ('sa{sv}h', ('x', {}, 0))):
            for member in ('AttachDevice', 'RegisterVM'):
                if (member, signature) == ('RegisterVM', 'sa{sv}h'):
                    continue
                with self.subTest(member=member, signature=signature), self.refused(INVALID):
                    self.manager(member, signature, *body)
        with self.refused('org.freedesktop.DBus.Error.UnknownMethod'):
            self.manager('Format')

    def test_questions_of_another_shape(self):
        for question in ({}, {'action': ('s', 'dance')}, {'action': ('u', 1)}, {'colour': ('s', 'red')},
                         {'action': ('s', 'attach'), 'regions': ('s', 'all')}):
            with self.subTest(question), self.refused(INVALID):
                self.manager('ExplainAccess', 'a{sv}', question)

    def test_10000_refused_requests_leave_nothing(self):
        connection = Connection(self.bus.address)
        self.addCleanup(connection.close)
        good = [region('mmio', 0xd0000000, 16)]
        nonsense = [('RegisterVM', 'sa{sv}h', 'a\nb', {}), ('RegisterVM', 'sa{sv}h', 'x', {'colour': ('s', 'red')}),
                    ('AttachDevice', 'ssa(sttta{sv})a{sv}h', 'vm', 'dev', good, {'require': ('as', ['telepathy'])}),
                    ('AttachDevice', 'ssa(sttta{sv})a{sv}h', 'vm', 'dev', [region('pio', 0xffff, 2)], {}),
                    ('AttachDevice', 'ssa(sttta{sv})a{sv}h', 'vm', 'a/b', good, {})]
        null = os.open('/dev/null', os.O_RDWR)
        self.addCleanup(os.close, null)

        def refuse(times):
            for number in range(times):
                member, signature, *body = nonsense[number % len(nonsense)]
                with self.assertRaises(BusError):
                    connection.call(rig.ROOT, rig.MANAGER, member, signature, *body, null)

        refuse(1000)  # what is allocated once and kept is there now
        fds, rss, lines = self.daemon.fds(), self.daemon.rss(), len(self.daemon.log().splitlines())
        refuse(10000)
        self.assertEqual(self.daemon.fds(), fds)
        if not rig.INSTRUMENTED:  # sanitizers keep what was freed; the leak checker says the rest when the daemon ends
            self.assertLess(self.daemon.rss() - rss, 256)
        self.assertLess(len(self.daemon.log().splitlines()) - lines, 2000, 'the log is rate-limited')


if __name__ == '__main__':
    rig.main()
