# SPDX-License-Identifier: LGPL-2.1-or-later
"""The policy in the daemon: reload, rollback, limits, explanations. The language itself has unit tests."""

import copy
import grp
import os
import pwd
import select
import signal
import subprocess
import sys
import time

import actors
import privatebus
import protocol
import rig
from rig import path_of, region

NOBODY = {'version': 1, 'operators': [{'name': 'root', 'match': {'user': 'root'}}]}


class Policy(rig.Case):
    def generation(self):
        return self.properties(rig.ROOT, rig.MANAGER)['PolicyGeneration']

    def changed(self, **parts):
        policy = copy.deepcopy(rig.POLICY)
        policy.update(parts)
        return policy

    def test_reload_takes_effect(self):
        before = self.properties(rig.ROOT, rig.MANAGER)
        self.write_policy(NOBODY)
        self.manager('Reload')
        after = self.properties(rig.ROOT, rig.MANAGER)
        self.assertEqual(after['PolicyGeneration'], before['PolicyGeneration'] + 1)
        self.assertGreater(after['PolicyLoadedUSec'], before['PolicyLoadedUSec'])
        with self.refused('PolicyDenied', 'default'):
            self.register()
        self.write_policy(rig.POLICY)
        self.manager('Reload')
        self.register()

    def test_reload_by_signal(self):
        before = self.generation()
        self.write_policy(NOBODY)
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.wait_until(lambda: self.generation() == before + 1)
        with self.refused('PolicyDenied'):
            self.register()

    def test_policy_of_a_large_site(self):
        """Many files, each with many rules, when the filter of system calls is in force."""
        for name in range(150):
            self.write_policy({'version': 1, 'devices': [dict(rig.POLICY['devices'][1], name=f'{name}-{rule}')
                                                         for rule in range(10)]}, f'{name:03}.json')
        self.manager('Reload')
        self.assertEqual(self.explain('attach', user=rig.DEVICE_USER, vm='vm', device='dev',
                                      regions=[region('mmio', 0xd0000000, 16)])[:2], (True, '0-0'))
        self.stop_daemon()
        self.start_daemon()
        self.register()

    def test_policy_properties_are_signalled(self):
        self.manager('Reload')
        self.wait_until(lambda: any('PolicyGeneration' in (*signal.body[1], *signal.body[2])
                                    for signal in self.connection.signals if signal.member == 'PropertiesChanged'))

    def test_bad_policies_change_nothing(self):
        self.register()
        before = self.properties(rig.ROOT, rig.MANAGER)
        deep = '{"version": 1, "vmms": ' + '[' * 100000 + ']' * 100000 + '}'
        texts = {'66 duplicate keys': '{"version": 1, "version": 1}',
                 '66 nested deeply': deep,
                 '66 invalid UTF-8': b'{"version": 1, "vmms": [{"name": "\xff\xfe"}]}',
                 'half-written': '{"version": 1, "vm', 'empty': '',
                 'of a newer version': '{"version": 2}', 'unknown key': '{"version": 1, "colour": 1}',
                 '66 huge': '{"version": 1}' + ' ' * (64 << 20)}
        for name, text in texts.items():
            with self.subTest(name):
                self.write_policy(text, 'zz.json')
                with self.refused('PolicyInvalid', 'zz.json') as refusal:
                    self.manager('Reload')
                self.assertRegex(refusal.text, r'zz\.json(:\d+:\d+)?')
                self.assertEqual(self.properties(rig.ROOT, rig.MANAGER), before)
        log = self.daemon.log()
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.wait_until_logged('zz.json', len(log))
        self.assertEqual(self.properties(rig.ROOT, rig.MANAGER), before)
        self.attach()

    def wait_until_logged(self, text, start=0):
        for _ in range(1000):
            if text in self.daemon.log()[start:]:
                return
            self.manager('ListVMs')
        self.fail(f'{text} is not in the log:\n{self.daemon.log()}')

    def test_66_unreadable_files(self):
        for name in ('directory', 'dangling'):
            with self.subTest(name):
                path = f'{self.directory}/policy.d/zz.json'
                os.mkdir(path) if name == 'directory' else os.symlink('/nonexistent', path)
                with self.refused('PolicyInvalid', 'zz.json'):
                    self.manager('Reload')
                os.rmdir(path) if name == 'directory' else os.unlink(path)

    def test_files_of_other_names_are_not_read(self):
        self.write_policy('nonsense', 'README')
        self.write_policy('nonsense', 'rig.json~')
        self.manager('Reload')

    def test_no_policy_denies_everything(self):
        self.stop_daemon()
        os.unlink(f'{self.directory}/policy.d/rig.json')
        self.start_daemon()
        with self.refused('PolicyDenied', 'default'):
            self.register()

    def test_56_grants_that_a_reload_would_not_give_are_kept_and_told(self):
        self.register()
        device = self.attach()
        for policy, told in ((self.changed(devices=[]), 'device dev on vm vm'), (NOBODY, 'vm vm')):
            start = len(self.daemon.log())
            self.write_policy(policy)
            self.manager('Reload')
            self.assertEqual((self.vm_names(), self.state(device.path)), (['vm'], 'attached'))
            self.assertIn(f'reload: {told} ', self.daemon.log()[start:])
            self.assertIn('1 grants', self.daemon.log()[start:])

    def test_56_what_is_under_way_is_judged_by_the_new_policy(self):
        vmm = self.register()
        for policy, error in ((self.changed(limits=dict(rig.POLICY['limits'], vms=7)), None),
                              (self.changed(devices=[]), 'PolicyDenied')):
            vmm.mute, count = True, len(vmm.seen)
            request = self.request_attach('vm', 'dev', [region('mmio', 0xd0000000, 16)])
            request.receive_lease()
            self.wait_until(lambda: len(vmm.seen) > count)
            self.write_policy(policy)
            self.manager('Reload')
            vmm.wake()
            if error:
                with self.refused(error, 'default'):
                    self.granted(request)
            else:
                self.granted(request)
                self.call(path_of('vm', 'dev'), 'org.ioregion1.Device', 'Detach')
            self.wait_until(lambda: not vmm.regions)

    def test_56_grants_that_a_reload_would_not_give_are_revoked_where_that_is_asked(self):
        vmm = self.register()
        device = self.attach()
        self.manager('ReloadAndRevoke')
        self.assertEqual(self.state(device.path), 'attached', 'the policy gives it as before')
        self.write_policy(self.changed(devices=[]))
        self.manager('ReloadAndRevoke')
        self.assertEqual((self.vm_names(), self.state(device.path)), (['vm'], None))
        self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.POLICY)
        self.write_policy(NOBODY)
        self.manager('ReloadAndRevoke')
        self.assertEqual(self.vm_names(), [])
        self.wait_until(lambda: vmm.revoked)
        self.assertIn('1 grants that it would not give are revoked', self.daemon.log())

    def test_operators(self):
        self.write_policy(self.changed(operators=[{'name': 'few', 'match': {'user': rig.STRANGER}}]))
        self.manager('Reload')
        with self.refused('PolicyDenied', 'operator'):
            self.manager('Reload')
        with self.refused('PolicyDenied', 'operator'):
            self.explain('register', vm='vm', user=rig.VMM_USER)

    def test_operators_by_group(self):
        """Whether it is the primary group of the caller or one of many others; the bus tells."""
        wanted, other = grp.getgrnam('adm').gr_gid, grp.getgrnam('lp').gr_gid
        self.write_policy(self.changed(operators=[{'name': 'staff', 'match': {'group': 'adm'}}]))
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.wait_until_logged('reload:')

        def ask(primary, others):
            os.setgroups(others)
            os.setgid(primary)
            os.setuid(pwd.getpwnam(rig.STRANGER).pw_uid)
            try:
                privatebus.Connection(self.bus.address).call(rig.ROOT, rig.MANAGER, 'Reload')
            except rig.BusError as error:
                os._exit(2 if error.name == 'org.ioregion1.Error.PolicyDenied' else 3)

        for primary, others, status in ((wanted, [], 0), (other, [wanted], 0), (other, [], 2),
                                        (other, [*range(60000, 62000), wanted], 0),
                                        (other, list(range(60000, 62000)), 2)):
            with self.subTest(primary=primary, others=len(others)):
                pid = actors.fork(lambda: ask(primary, others))
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), status)

    def test_explanations(self):
        regions = [region('mmio', 0xd0000000, 16)]
        allowed, rule, reason = self.explain('attach', user=rig.DEVICE_USER, vm='vm', device='dev', regions=regions)
        self.assertEqual((allowed, rule), (True, 'scratches'))
        self.assertTrue(reason)
        allowed, rule, _ = self.explain('attach', unit=rig.UNIT.format('vm'), user='root', vm='vm', device='dev',
                                        regions=regions, want=['replay'], on_disconnect='hold', channels=1)
        self.assertEqual((allowed, rule), (True, 'uarts'))
        allowed, rule, reason = self.explain('attach', unit=rig.UNIT.format('vm2'), user='root', vm='vm', device='dev',
                                             regions=regions)
        self.assertEqual((allowed, rule), (False, 'default'))
        allowed, rule, reason = self.explain('attach', user=rig.DEVICE_USER, vm='vm', device='dev', regions=regions,
                                             timeout_usec=2000000)
        self.assertEqual((allowed, rule), (False, 'scratches'))
        self.assertIn('1', reason)
        self.assertEqual(self.explain('register', user=rig.VMM_USER, vm='vm')[:2], (True, 'guests'))
        self.assertEqual(self.explain('register', user=rig.STRANGER, vm='vm')[:2], (False, 'default'))

    def test_explanations_are_what_happens(self):
        self.register()
        for user, base, on_disconnect in ((rig.DEVICE_USER, 0xd0000000, 'ones'), (rig.OTHER_USER, 0xd0000000, 'remove'),
                                          (rig.OTHER_USER, 0xd0001000, 'ones'), (rig.STRANGER, 0xd0000000, 'ones'),
                                          (rig.DEVICE_USER, 0xfec00000, 'ones')):
            regions = [region('mmio', base, 16)]
            with self.subTest(user=user, base=base, on_disconnect=on_disconnect):
                allowed, rule, reason = self.explain('attach', user=user, vm='vm', device='dev', regions=regions,
                                                     on_disconnect=on_disconnect)
                if allowed:
                    device = self.attach(user=user, regions=regions, on_disconnect=on_disconnect)
                    device.release()
                    self.wait_for_state(device, None)
                else:
                    with self.refused('PolicyDenied', rule) as refusal:
                        self.attach(user=user, regions=regions, on_disconnect=on_disconnect)
                    self.assertIn(reason, refusal.text)

    def until_refused(self, limit, request):
        """How often it is granted at once."""
        for granted in range(100):
            try:
                request(granted)
            except rig.BusError as error:
                self.assertEqual(error.name, 'org.ioregion1.Error.QuotaExceeded')
                self.assertIn(limit, error.text)
                return granted
        return self.fail('there is no limit')

    def attach_and_release(self, _):
        device = self.attach()
        device.release()
        self.wait_for_state(device, None)

    def test_attach_rate(self):
        """A minute's worth may come at once; slow machines see more of it come back meanwhile."""
        self.write_policy(self.changed(limits={**rig.POLICY['limits'], 'attach-rate': '1/s'}))
        self.manager('Reload')
        self.register()
        self.assertGreaterEqual(self.until_refused('attach-rate: 1', self.attach_and_release), 60)
        self.attach(user=rig.OTHER_USER)

    def test_register_rate(self):
        self.write_policy(self.changed(limits={'register-rate': '1/s', 'vms-per-user': 1000}))
        self.manager('Reload')
        self.assertGreaterEqual(self.until_refused('register-rate: 1', lambda n: self.register(f'vm{n}')), 60)

    def connect(self):
        connection = privatebus.Connection(self.bus.address)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, member='AttachDevice', **options):
        """Was it challenged, and what was the answer?"""
        mine, theirs = actors.make_lease()
        asked_for = ('dev', [region('pio', 0x200, 1)]) if member == 'AttachDevice' else ()
        with mine, theirs:
            serial = connection.send(rig.ROOT, rig.MANAGER, member, 'ssa(sttta{sv})a{sv}h' if asked_for else 'sa{sv}h',
                                     'vm', *asked_for, rig.options(options), theirs)
            theirs.close()
            challenge = actors.receive_challenge(mine)
            if challenge:
                protocol.prove(mine, challenge)
            with self.assertRaises(rig.BusError) as error:
                connection.reply(serial)
            self.assertTrue(select.select([mine], [], [], 0)[0], 'the lease has ended with the answer')
            return bool(challenge), error.exception.name.rpartition('.')[2]

    def test_who_has_used_a_rate_up_is_not_challenged_again(self):
        """Nobody else's connection is known for it; and it is one rate, and not all."""
        first, second = self.connect(), self.connect()
        self.write_policy(self.changed(limits={'attach-rate': '0/s'}))
        self.manager('Reload')
        for connection in (first, second):
            self.assertEqual(self.ask(connection), (True, 'QuotaExceeded'))
            self.assertEqual(self.ask(connection, 'RegisterVM'), (True, 'PolicyDenied'))
            for _ in range(100):
                self.assertEqual(self.ask(connection), (False, 'QuotaExceeded'))
            with self.refused('org.freedesktop.DBus.Error.InvalidArgs'):
                connection.call(rig.ROOT, rig.MANAGER, 'AttachDevice', 'ssa(sttta{sv})a{sv}h', '', 'dev', [], {},
                                sys.stderr)
        self.write_policy(self.changed(limits={'attach-rate': '100/s'}))
        self.manager('Reload')
        self.assertEqual(self.ask(first), (True, 'PolicyDenied'))

    def test_who_has_used_a_rate_up_is_challenged_again_when_there_is_more(self):
        self.write_policy(self.changed(limits={'attach-rate': '1/s'}))
        self.manager('Reload')
        connection = self.connect()
        self.assertIn((False, 'QuotaExceeded'), (self.ask(connection) for _ in range(1000)))
        deadline = time.monotonic() + privatebus.LIMIT
        while not self.ask(connection)[0]:
            self.assertLess(time.monotonic(), deadline, 'a second is over')

    def test_the_rate_of_who_is_adopted_is_not_that_of_who_adopts(self):
        self.write_policy(self.changed(limits={'register-rate': '1/s'}))
        self.manager('Reload')
        connection = self.connect()
        with subprocess.Popen(['cat'], stdin=subprocess.PIPE, user=rig.VMM_USER) as process:
            folder = os.open(f'/proc/{process.pid}', os.O_RDONLY | os.O_DIRECTORY)
            self.addCleanup(os.close, folder)
            adoption = {'vm-fd': ('h', sys.stderr), 'process': ('h', folder)}
            answers = (self.ask(connection, 'RegisterVM', **adoption) for _ in range(1000))
            self.assertIn((True, 'QuotaExceeded'), answers)
        self.assertTrue(self.ask(connection, 'RegisterVM')[0], 'it has used none of its own')

    def test_list_rate(self):
        """One list comes whole; who asked for it waits for the next of any kind. Others do not, nor do operators."""
        self.write_policy(self.changed(limits={'list-rate': '1/s'}))
        self.manager('Reload')
        self.register()
        self.attach(regions=[region('pio', 0x200 + number, 1, number) for number in range(16)])

        def look(user):
            """How long the lists are."""
            actors.become(user)
            connection = privatebus.Connection(self.bus.address)
            for interface, member in ((rig.MANAGER, 'ListRegions'), (rig.MANAGER, 'ListVMs'),
                                      (rig.MANAGER, 'ListDevices'),
                                      ('org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')):
                try:
                    yield len(connection.call(rig.ROOT, interface, member)[0])
                except rig.BusError as error:
                    yield str(error)

        refused = 3 * ['org.ioregion1.Error.QuotaExceeded: limit list-rate: 1 rows a second']
        for user, expected in ((rig.STRANGER, [16, *refused]), (rig.OTHER_USER, [16, *refused]),
                               ('root', [16, 1, 1, 18])):
            with self.subTest(user):
                pid = actors.fork(lambda: self.assertEqual(list(look(user)), expected))
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(self.properties(rig.ROOT, rig.MANAGER)['RegionCount'], 16)

    def test_limit_of_all_vms(self):
        self.write_policy(self.changed(limits={'vms': 1}))
        self.manager('Reload')
        self.register()
        with self.refused('QuotaExceeded', '1'):
            self.register('other')

    def test_one_rule_serves_a_fleet(self):
        """${vm} keeps a device from another's VM."""
        if not actors.units_can_be_played():
            self.skipTest('units cannot be played: no writable cgroup hierarchy')
        self.register('red')
        self.register('blue')
        for unit, vm in (('red', 'red'), ('blue:uart', 'blue')):
            self.attach(vm, user=rig.STRANGER, unit=rig.UNIT.format(unit))
        for unit, vm in (('red', 'blue'), ('blue:uart', 'red'), ('red-blue', 'red')):
            with self.subTest(unit=unit), self.refused('PolicyDenied', 'default'):
                self.attach(vm, user=rig.STRANGER, unit=rig.UNIT.format(unit))


if __name__ == '__main__':
    rig.main()
