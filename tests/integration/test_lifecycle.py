# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of VMs, devices and regions, as all goes well."""

import select
import time

import protocol
import rig
from privatebus import LIMIT, Connection
from rig import path_of, region

OBJECT_MANAGER = 'org.freedesktop.DBus.ObjectManager'


class Lifecycle(rig.Case):
    def test_guest_access_reaches_the_device(self):
        vmm = self.register()
        device = self.attach()
        command = vmm.command(0xd0000000, 0x10, 4, 0xcafe)
        self.assertEqual(device.answer(), command)
        self.assertEqual(vmm.response(0xd0000000).data, 0)
        vmm.command(0xd0000000, 0x10, 8)
        self.assertEqual(device.answer(0x1122334455667788).size, 8)
        self.assertEqual(vmm.response(0xd0000000), protocol.Response(0x1122334455667788))

    def test_grants(self):
        vmm = self.register(ceiling=['posted-writes'])
        self.assertEqual((vmm.grant.channels, vmm.grant.regions, vmm.grant.interrupts), (0, 0, 0))
        device = self.attach(require=['posted-writes'], want=['replay'], timeout_usec=5000)
        self.assertEqual(device.features, ['posted-writes'])
        self.assertEqual(device.grant.body, (1, 5000, 1, 1, 0, 0))
        device = self.attach(name='unhurried', regions=[region('pio', 0x100, 8)])
        self.assertEqual(device.grant.timeout_usec, 1000000, "0 means the rule's")

    def test_dispatcher_hears_what_was_granted(self):
        vmm = self.register()
        self.attach(regions=[region('mmio', 0xd0000000, 0x1000, 7, posted=True), region('pio', 0x3f8, 8, 9),
                             region('mmio', 0xd1000000, 4, 7, channel=1)],
                    channels=2, want=['posted-writes'], on_disconnect='hold', timeout_usec=20000)
        first, second, third = vmm.seen
        self.assertEqual((first.space, first.base, first.size, first.user_data), (0, 0xd0000000, 0x1000, 7))
        self.assertEqual((second.space, second.base, second.size, second.user_data), (1, 0x3f8, 8, 9))
        self.assertEqual((first.flags, second.flags, first.on_disconnect, first.features), (1, 0, 1, 1))
        self.assertEqual((first.timeout_usec, first.grace_usec), (20000, 60000000))
        self.assertEqual([len(message.fds) for message in vmm.seen], [1, 0, 1], 'one descriptor a channel')
        self.assertEqual(first.channel, second.channel)
        self.assertNotEqual(first.channel, third.channel)
        self.assertEqual(len({message.region for message in vmm.seen}), 3)

    def test_channels_are_in_order(self):
        vmm = self.register()
        device = self.attach(regions=[region('pio', 0x100, 1, 1, channel=1), region('pio', 0x200, 1, 1, channel=0)],
                             channels=2)
        self.assertEqual(device.grant.channels, 2)
        vmm.command(0x100, 0, 1)
        device.answer(5, channel=1)
        self.assertEqual(vmm.response(0x100).data, 5)

    def test_objects_have_properties(self):
        self.register(ceiling=['posted-writes', 'replay'])
        self.attach(regions=[region('mmio', 0xd0000000, 0x100, 3, posted=True), region('pio', 0x3f8, 8, 4)],
                    want=['posted-writes'], on_disconnect='hold')
        manager = self.properties(rig.ROOT, rig.MANAGER)
        self.assertEqual((manager['VMCount'], manager['DeviceCount'], manager['RegionCount']), (1, 1, 2))
        self.assertIn('vmm', manager['Dispatchers'])
        self.assertLessEqual({'posted-writes', 'replay'}, set(manager['Features']))
        vm = self.properties(path_of('vm'), 'org.ioregion1.VM')
        self.assertEqual((vm['Name'], vm['Unit'], vm['User'], vm['Dispatch']), ('vm', '', rig.VMM_USER, rig.DISPATCH))
        self.assertEqual((vm['Devices'], sorted(vm['Ceiling'])), ([path_of('vm', 'dev')], ['posted-writes', 'replay']))
        device = self.properties(path_of('vm', 'dev'), 'org.ioregion1.Device')
        self.assertEqual((device['Name'], device['User'], device['State']), ('dev', rig.DEVICE_USER, 'attached'))
        self.assertEqual((device['Features'], device['Channels'], device['TimeoutUSec'], device['OnDisconnect']),
                         (['posted-writes'], 1, 1000000, 'hold'))
        self.assertEqual(device['Regions'], [path_of('vm', 'dev', 0), path_of('vm', 'dev', 1)])
        first = self.properties(path_of('vm', 'dev', 0), 'org.ioregion1.Region')
        self.assertEqual((first['Space'], first['Base'], first['Size'], first['UserData'], first['Flags']),
                         ('mmio', 0xd0000000, 0x100, 3, ['posted']))
        self.assertEqual((first['State'], first['LastError']), ('attached', ''))

    def test_lists(self):
        self.register()
        self.attach(want=['replay'])
        (name, pid, unit, user, dispatch, state, devices, regions, path), = self.manager('ListVMs')[0]
        self.assertEqual((name, unit, user, dispatch, devices, regions, path),
                         ('vm', '', rig.VMM_USER, rig.DISPATCH, 1, 1, path_of('vm')))
        self.assertGreater(pid, 1)
        self.assertEqual(self.manager('ListDevices')[0],
                         [('vm', 'dev', '', rig.DEVICE_USER, 'attached', ['replay'], 1, 1000000, path_of('vm', 'dev'))])
        self.assertEqual(self.manager('ListRegions')[0],
                         [('vm', 'dev', 0, 'mmio', 0xd0000000, 0x100, [], 'attached', path_of('vm', 'dev', 0))])

    def test_objects_come_and_go_by_signals(self):
        self.register()
        device = self.attach()
        device.release()
        self.wait_until(lambda: self.state(device.path) is None)

        def paths(member):
            return [signal.body[0] for signal in self.connection.signals
                    if (signal.interface, signal.member) == (OBJECT_MANAGER, member)]

        objects = {path_of('vm', 'dev'), path_of('vm', 'dev', 0)}
        self.assertEqual(set(paths('InterfacesAdded')), {path_of('vm'), *objects})
        self.assertEqual(set(paths('InterfacesRemoved')), objects)
        managed, = self.call(rig.ROOT, OBJECT_MANAGER, 'GetManagedObjects')
        self.assertEqual([path for path in managed if path.startswith(f'{rig.ROOT}/vm/')], [path_of('vm')])

    def test_managed_objects_are_what_their_properties_are(self):
        self.register(ceiling=['replay'])
        self.register('other-1')
        self.attach(want=['replay'], regions=[region('mmio', 0xd0000000, 0x100), region('pio', 0x200, 8, 7)])
        managed, = self.call(rig.ROOT, OBJECT_MANAGER, 'GetManagedObjects')
        self.assertEqual(set(managed), {path_of('vm'), path_of('other-1'), path_of('vm', 'dev'),
                                        path_of('vm', 'dev', 0), path_of('vm', 'dev', 1)})
        for path, interfaces in managed.items():
            for name, values in interfaces.items():
                if name.startswith('org.ioregion1.'):
                    told, = self.call(path, 'org.freedesktop.DBus.Properties', 'GetAll', 's', name)
                    self.assertEqual(values, told, path)
            self.assertEqual(len(interfaces), 4, 'and those of every object')
        with self.refused('org.freedesktop.DBus.Error.UnknownMethod'):
            self.call(path_of('vm'), OBJECT_MANAGER, 'GetManagedObjects')

    def test_counts_emit_changes(self):
        self.register()
        self.attach()

        def changed():
            return {name for signal in self.connection.signals
                    if (signal.path, signal.member) == (rig.ROOT, 'PropertiesChanged')
                    for name in (*signal.body[1], *signal.body[2])}

        self.wait_until(lambda: {'VMCount', 'DeviceCount', 'RegionCount'} <= changed())

    def test_statistics_are_the_dispatchers(self):
        vmm = self.register()
        self.attach()
        vmm.counts = dict(reads=5, writes=4, posted=3, failures=2, timeouts=1)
        counts, = self.call(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')
        self.assertEqual(counts, vmm.counts)

    def test_60_statistics_that_nobody_tells_keep_no_device_away(self):
        vmm = self.register()
        self.attach()
        vmm.mute = True
        crowd = [Connection(self.bus.address) for _ in range(11)]
        for connection in crowd:
            self.addCleanup(connection.close)
            asked = [connection.send(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')
                     for _ in range(100)]
        with self.refused('Busy', 'does not answer'):
            connection.reply(asked[-1], self.play_vmms)
        # one of two that are the same device is under way when the other is refused
        requests = [self.request_attach('vm', 'other', [region('pio', 0x200, 1)]) for _ in range(2)]
        for request in requests:
            request.receive_lease()
        first = select.select(requests, [], [], LIMIT)[0][0]
        with self.refused('Busy', 'is being attached'):
            first.finish(self.play_vmms)
        requests.remove(first)
        vmm.wake()
        self.granted(requests[0])

    def test_statistics_that_too_many_wait_for(self):
        """Refused at once, and in the log as every refusal is."""
        vmm = self.register()
        self.attach()
        vmm.mute = True
        for connection in [Connection(self.bus.address) for _ in range(8)]:
            self.addCleanup(connection.close)
            for _ in range(32):
                connection.send(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')
            connection.call(rig.ROOT, 'org.freedesktop.DBus.Peer', 'Ping')
        self.assertNotIn('deny:', self.daemon.log())
        with self.refused('Busy', 'does not answer'):
            self.call(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')
        self.assertIn('deny: org.ioregion1.Error.Busy', self.daemon.log())

    def test_60_who_waits_for_much_waits_alone(self):
        vmm = self.register()
        self.attach()
        vmm.mute = True
        connections = [Connection(self.bus.address) for _ in range(2)]
        asked = []
        for connection, number in zip(connections, (33, 1)):
            self.addCleanup(connection.close)
            asked.append([connection.send(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')
                          for _ in range(number)])
        with self.refused('Busy', '32 calls of yours'):
            connections[0].reply(asked[0][-1], self.play_vmms)
        vmm.wake()
        for connection, serials in zip(connections, asked):
            for serial in serials[:32]:
                self.assertEqual(connection.reply(serial, self.play_vmms), (vmm.counts,))

    def test_statistics_of_a_vmm_that_never_answers(self):
        vmm = self.register()
        self.attach()
        vmm.mute = True
        with self.refused('Busy', 'does not answer'):
            self.call(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')
        vmm.wake()
        self.call(path_of('vm', 'dev', 0), 'org.ioregion1.Region', 'GetStatistics')

    def test_release_gives_everything_back(self):
        vmm = self.register()
        device = self.attach()
        device.release()
        self.wait_until(lambda: not vmm.regions)
        self.wait_until(lambda: self.state(device.path) is None)
        self.assertEqual(device.lease.recv(256), b'')
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
        self.attach()

    def test_vmm_release_ends_the_vm(self):
        vmm = self.register()
        device = self.attach()
        protocol.send(vmm.lease, protocol.Type.RELEASE)
        self.wait_until(lambda: not self.vm_names())
        revoke = protocol.receive(device.lease)
        self.assertEqual((revoke.type, revoke.reason), (protocol.Type.REVOKE, protocol.Revoked.VM_GONE))
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')

    def test_operator_detaches_and_revokes(self):
        vmm = self.register()
        for member, arguments in (('Detach', ()), ('Revoke', ('s', 'it misbehaves'))):
            device = self.attach()
            self.call(device.path, 'org.ioregion1.Device', member, *arguments)
            self.assertFalse(vmm.regions, 'the reply comes when no vCPU is inside')
            self.assertIsNone(self.state(device.path))
            self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.OPERATOR)
            self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
        self.assertIn('it misbehaves', self.daemon.log())

    def test_operator_unregisters(self):
        vmm = self.register()
        device = self.attach()
        self.call(vmm.path, 'org.ioregion1.VM', 'Unregister')
        self.assertEqual(self.vm_names(), [])
        self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.VM_GONE)
        self.wait_until(lambda: vmm.revoked)

    def test_57_vm_dies_first(self):
        vmm = self.register()
        device = self.attach(on_disconnect='hold')
        vmm.close()
        self.assertEqual(protocol.receive(device.lease).reason, protocol.Revoked.VM_GONE)
        self.wait_until(lambda: not self.vm_names())
        self.vmms.clear()
        self.register()

    def test_names_are_free_again_in_any_vm(self):
        for name in ('a', 'b.c-d_e', '0'):
            self.assertEqual(self.register(name).path, path_of(name))
            self.assertEqual(self.attach(name, 'dev').path, path_of(name, 'dev'))

    def test_played_unit_is_proven_and_matched(self):
        if not rig.actors.units_can_be_played():
            self.skipTest('units cannot be played: no writable cgroup hierarchy')
        self.register()
        unit = rig.UNIT.format('vm')
        device = self.attach(user=rig.STRANGER, unit=unit)
        self.assertEqual(self.properties(device.path, 'org.ioregion1.Device')['Unit'], unit)

    def test_dropped_account_serves_as_well(self):
        self.stop_daemon()
        self.start_daemon('--user', rig.DAEMON_USER)
        with open(f'/proc/{self.daemon.pid}/status') as status:
            fields = dict(line.rstrip('\n').split(':\t', 1) for line in status)
        self.assertNotIn('0', fields['Uid'].split('\t'))
        for capabilities in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
            self.assertEqual(int(fields[capabilities], 16), 0, capabilities)
        self.assertEqual(fields['NoNewPrivs'], '1')
        self.register()
        device = self.attach()
        self.assertEqual(self.state(device.path), 'attached')

    def let_the_clock_jump(self):
        """Whoever sets the clock of the host changes no deadline, and no grace time."""
        if rig.INSTRUMENTED:
            self.skipTest('a sanitizer tolerates no library before its own')
        self.stop_daemon()
        self.start_daemon(wrapper=('env', f'LD_PRELOAD={rig.BUILD}/tests/integration/jumping-clock.so'))
        loaded = self.properties(rig.ROOT, rig.MANAGER)['PolicyLoadedUSec'] / 1e6
        self.assertGreater(abs(loaded - time.time()), 3600, 'the clock does not jump')

    def test_63_clock_jumps(self):
        self.let_the_clock_jump()
        self.register()
        brief, long = (self.attach(name=user, user=user, on_disconnect='hold', regions=[region('mmio', base, 16)])
                       for user, base in ((rig.OTHER_USER, 0xd0001000), (rig.DEVICE_USER, 0xd0000000)))
        long.close()
        self.wait_for_state(long, 'held')
        brief.close()
        self.wait_for_state(brief, 'held')
        self.wait_for_state(brief, 'failed')  # 200 ms
        self.assertEqual(self.state(long.path), 'held')  # 60 s
        with self.refused('IdentityUnproven'):
            self.attach(name='silent', regions=[region('mmio', 0xd0002000, 16)], prove=lambda lease: None)

    def test_63_clock_jumps_while_a_vmm_says_nothing(self):
        self.let_the_clock_jump()
        self.register().mute = True
        with self.refused('Busy'):
            self.attach(name='unheard', regions=[region('mmio', 0xd0002000, 16)])

    def test_filter_is_on_where_it_is_asked_for(self):
        with open(f'/proc/{self.daemon.pid}/status') as status:
            self.assertIn(f"Seccomp:\t{0 if rig.SECCOMP == 'off' else 2}\n", status.read())

    def test_nothing_is_left_open(self):
        vmm = self.register()
        before = self.daemon.fds()
        for _ in range(3):
            self.attach().release()
            self.wait_until(lambda: not vmm.regions)
        self.wait_until(lambda: not self.manager('ListDevices')[0])
        self.assertEqual(self.daemon.fds(), before)


if __name__ == '__main__':
    rig.main()
