# SPDX-License-Identifier: LGPL-2.1-or-later
"""Devices that fail, and come back: each cell of the state table. The numbers are those of the list of edge cases."""

import errno
import os
import signal

import protocol
import rig
from protocol import Event, Revoked, Type
from rig import OTHER_USER, path_of, region

BASE = 0xd0000000


class Devices(rig.Case):
    def setUp(self):
        super().setUp()
        self.vmm = self.register()

    def assert_cut(self, device):
        """The device can't reach the guest any more, nor the guest the device."""
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'')
        with self.assertRaises(OSError):
            device.channels[0].send(bytes(32))

    def assert_gone(self, device):
        self.wait_for_state(device, None)
        self.wait_until(lambda: not self.vmm.regions)

    def lose_lease(self, device, state):
        device.lease.close()
        self.wait_for_state(device, state)
        self.assert_cut(device) if state else None

    def lose_channel(self, device, state):
        device.channels[0].close()
        self.vmm.event(BASE, Event.EOF)
        self.wait_for_state(device, state)

    def miss_deadline(self, device, state):
        self.vmm.command(BASE, 0, 1)
        protocol.receive_packet(device.channels[0])
        self.vmm.event(BASE, Event.DEADLINE)
        self.wait_for_state(device, state)
        self.assert_cut(device)

    def violate(self, device, state):
        device.misbehave()
        self.vmm.event(BASE, Event.VIOLATION)
        self.wait_for_state(device, state)
        self.assert_cut(device)

    LOSSES = {'lease': lose_lease, 'channel': lose_channel, 'deadline': miss_deadline, 'violation': violate}

    def lost(self, how, on_disconnect, state, **keywords):
        device = self.attach(on_disconnect=on_disconnect, **keywords)
        self.LOSSES[how](self, device, state)
        return device

    def each_loss(self, cells):
        for on_disconnect, state in cells.items():
            for how in ('lease', 'channel'):
                with self.subTest(on_disconnect=on_disconnect, how=how):
                    yield self.lost(how, on_disconnect, state)
                    if state:
                        self.call(path_of('vm', 'dev'), 'org.ioregion1.Device', 'Detach')

    # attached

    def test_release_is_no_failure(self):
        """Nor is the end of the channel that comes with it, whichever the broker is told of first."""
        devices = [self.attach(name=f'dev{i}', regions=[region('mmio', BASE + i, 1)], on_disconnect=what)
                   for i, what in enumerate(('ones', 'hold', 'remove', 'ones'))]
        os.kill(self.daemon.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.daemon.pid, os.WSTOPPED | os.WNOWAIT)
        for i, device in enumerate(devices):
            self.vmm.event(BASE + i, Event.EOF)
            device.release()
            device.close()
        os.kill(self.daemon.pid, signal.SIGCONT)
        self.wait_until(lambda: not self.manager('ListDevices')[0])
        self.assertNotIn('failure: ', self.daemon.log())
        self.assertEqual(self.daemon.log().count('released by its owner'), len(devices))

    def test_47_51_loss_under_hold(self):
        for device in self.each_loss({'hold': 'held'}):
            self.assertIn(BASE, [region.base for region in self.vmm.regions.values()])

    def test_47_51_loss_under_ones(self):
        for device in self.each_loss({'ones': 'failed'}):
            self.assertIn(BASE, [region.base for region in self.vmm.regions.values()])
            self.assertTrue(self.properties(path_of('vm', 'dev', 0), 'org.ioregion1.Region')['LastError'])

    def test_47_51_loss_under_remove(self):
        for device in self.each_loss({'remove': None}):
            self.wait_until(lambda: not self.vmm.regions)

    def test_48_deadline_missed(self):
        for on_disconnect, state in {'hold': 'held', 'ones': 'failed', 'remove': 'failed'}.items():
            with self.subTest(on_disconnect):
                device = self.lost('deadline', on_disconnect, state)
                self.call(device.path, 'org.ioregion1.Device', 'Detach')

    def test_29_violation_fails_whatever_was_agreed(self):
        for on_disconnect in protocol.ON_DISCONNECT:
            with self.subTest(on_disconnect):
                device = self.lost('violation', on_disconnect, 'failed')
                self.call(device.path, 'org.ioregion1.Device', 'Detach')

    def test_state_changes_are_signalled(self):
        device = self.lost('lease', 'hold', 'held')
        for path, interface in ((device.path, 'org.ioregion1.Device'),
                                (path_of('vm', 'dev', 0), 'org.ioregion1.Region')):
            self.wait_until(lambda: any('State' in (*signal.body[1], *signal.body[2])
                                        for signal in self.connection.signals
                                        if signal.path == path and signal.body[0] == interface))

    def test_attached_is_resumed_by_its_owner(self):
        first = self.attach(on_disconnect='hold')
        second = self.attach(on_disconnect='hold')
        self.assertEqual(protocol.receive(first.lease).reason, Revoked.RESUMED)
        self.assert_cut(first)
        self.assertEqual(self.state(second.path), 'attached')
        self.serve(second)

    def test_resume_swaps_each_channel(self):
        regions = [region('mmio', BASE, 16, 1), region('mmio', BASE + 16, 16, 2), region('pio', 0x200, 2, 3, channel=1)]
        for value in (3, 4):
            device = self.attach(regions=regions, channels=2, on_disconnect='hold')
            for base, channel in ((BASE, 0), (BASE + 16, 0), (0x200, 1)):
                self.serve(device, base, channel, value)
        if rig.DISPATCH == 'vmm':
            self.assertEqual([message.type for message in self.vmm.seen],
                             [Type.REGION_ADD] * 3 + [Type.REGION_SWAP] * 2)

    def serve(self, device, base=BASE, channel=0, value=3):
        self.vmm.command(base, 0, 1)
        device.answer(value, channel)
        self.assertEqual(self.vmm.response(base).data, value)

    def ends(self):
        """All that ends a device for good, by name."""
        return {'detach': lambda device: self.call(device.path, 'org.ioregion1.Device', 'Detach'),
                'revoke': lambda device: self.call(device.path, 'org.ioregion1.Device', 'Revoke', 's', 'enough'),
                'release': lambda device: device.release(),
                'VM': lambda device: self.vmm.close()}

    def test_every_end_of_an_attached_device(self):
        for name, end in self.ends().items():
            with self.subTest(name):
                device = self.attach(on_disconnect='hold')
                end(device)
                self.wait_for_state(device, None)
                self.assert_cut(device)

    # held

    def test_held_resumed(self):
        for how in ('lease', 'channel', 'deadline'):
            with self.subTest(how):
                self.lost(how, 'hold', 'held')
                device = self.attach(on_disconnect='hold')
                self.assertEqual(self.state(device.path), 'attached')
                self.serve(device)
                device.release()
                self.assert_gone(device)

    def test_47_resume_keeps_regions_and_features(self):
        regions = [region('mmio', BASE, 16, 1, posted=True), region('pio', 0x200, 2, 2, channel=1)]
        terms = dict(regions=regions, channels=2, require=['posted-writes'], want=['replay'], on_disconnect='hold')
        first = self.attach(**terms)
        before = dict(self.vmm.regions)
        first.close()
        self.wait_for_state(first, 'held')
        second = self.attach(**terms)
        self.assertEqual((second.features, second.grant.channels), (first.features, 2))
        self.assertEqual(self.vmm.regions, before)
        self.vmm.command(0x200, 0, 2)
        second.answer(0xbeef, channel=1)
        self.assertEqual(self.vmm.response(0x200).data, 0xbeef)

    def test_resume_on_other_terms_is_another_device(self):
        first = self.lost('lease', 'hold', 'held', want=['replay'])
        for terms in (dict(regions=[region('mmio', BASE, 0x101)]), dict(regions=[region('mmio', BASE, 0x100, 2)]),
                      dict(want=[]), dict(regions=[region('mmio', BASE, 0x100), region('pio', 0x100, 1, 2)])):
            with self.subTest(**terms), self.refused('DeviceExists'):
                self.attach(**{'on_disconnect': 'hold', 'want': ['replay'], **terms})
        self.assertEqual(self.state(first.path), 'held')
        self.attach(on_disconnect='hold', want=['replay'])

    def test_held_until_the_grace_is_over(self):
        device = self.lost('lease', 'hold', 'held', user=OTHER_USER)
        self.wait_for_state(device, 'failed')
        self.assertTrue(self.vmm.regions, 'reads are all ones now')
        self.attach(user=OTHER_USER, on_disconnect='hold')
        self.assertEqual(self.state(device.path), 'attached')

    def test_every_end_of_a_held_device(self):
        for name, end in self.ends().items():
            with self.subTest(name):
                device = self.lost('channel', 'hold', 'held')
                end(device)
                self.wait_for_state(device, None)

    def test_losses_of_a_held_device_change_nothing(self):
        device = self.lost('channel', 'hold', 'held')
        device.lease.close()
        self.vmm.event(BASE, Event.EOF)
        self.manager('ListVMs')
        self.assertEqual(self.state(device.path), 'held')

    # failed

    def test_failed_resumed(self):
        for how in self.LOSSES:
            with self.subTest(how):
                self.lost(how, 'ones', 'failed')
                device = self.attach()
                self.assertEqual(self.state(device.path), 'attached')
                self.assertEqual(self.properties(path_of('vm', 'dev', 0), 'org.ioregion1.Region')['LastError'], '')
                self.serve(device)
                device.release()
                self.assert_gone(device)

    def test_failed_is_gone_when_its_lease_goes(self):
        for how in ('deadline', 'violation'):
            with self.subTest(how):
                device = self.lost(how, 'ones', 'failed')
                device.lease.close()
                self.assert_gone(device)

    def test_disconnect_told_twice_is_one(self):
        device = self.lost('channel', 'ones', 'failed')
        open_now = self.daemon.fds()
        device.lease.close()
        for _ in range(1000):  # each question is an event of the daemon's, so that the hang-up gets its turn
            self.assertEqual(self.state(device.path), 'failed')
            if self.daemon.fds() < open_now:
                return
        self.fail('the broker holds a lease that hung up')

    def test_every_end_of_a_failed_device(self):
        for name, end in self.ends().items():
            with self.subTest(name):
                device = self.lost('channel', 'ones', 'failed')
                end(device)
                self.wait_for_state(device, None)

    # more ways to misbehave

    def test_49_answers_after_revoke(self):
        device = self.attach()
        self.vmm.command(BASE, 0, 4)
        self.call(device.path, 'org.ioregion1.Device', 'Revoke', 's', 'too late')
        protocol.receive_packet(device.channels[0])
        with self.assertRaises(OSError):
            device.channels[0].send(protocol.Response(1).pack())

    def test_50_flood_of_the_lease(self):
        other = self.attach(name='honest', regions=[region('pio', 0x200, 1)])
        device = self.attach()
        device.lease.setblocking(False)
        with self.assertRaises(OSError):
            for _ in range(100000):
                device.lease.send(protocol.pack(Type.STATS_REPLY, 1, 1, 0, 0, 0, 0, 0))
        self.wait_until(lambda: self.state(device.path) != 'attached')
        self.assertEqual(self.state(other.path), 'attached')

    def test_event_that_crosses_a_removal(self):
        removed = self.attach(name='removed', regions=[region('pio', 0x200, 1)])
        gone = self.vmm.channel(0x200)[1].region
        removed.release()
        self.wait_until(lambda: not self.vmm.regions)
        device = self.attach()
        protocol.send(self.vmm.lease, Type.EVENT, gone, Event.EOF, 0)
        self.manager('ListVMs')
        self.assertEqual((self.vm_names(), self.state(device.path)), (['vm'], 'attached'))

    def test_event_of_a_region_that_never_was(self):
        self.attach()
        protocol.send(self.vmm.lease, Type.EVENT, 2**40, Event.EOF, 0)
        self.wait_until(lambda: not self.vm_names())

    def test_50_flood_of_events(self):
        self.attach(on_disconnect='hold')
        event = protocol.pack(Type.EVENT, self.vmm.channel(BASE)[1].region, Event.EOF, 0)
        with self.assertRaises(OSError):
            for _ in range(100000):
                self.vmm.lease.send(event)
        self.wait_until(lambda: not self.vm_names())

    def test_50_one_loss_of_many_regions(self):
        """However many regions a channel has, its loss is one, and no flood."""
        regions = [region('mmio', BASE + 16 * i, 16, i) for i in range(12)]
        for how in ('lease', 'channel'):
            with self.subTest(how):
                device = self.lost(how, 'ones', 'failed', regions=regions)
                for _ in regions:  # the broker hears of each
                    self.assertEqual(self.vm_names(), ['vm'])
                self.call(device.path, 'org.ioregion1.Device', 'Detach')

    def test_vmm_that_refuses(self):
        self.vmm.refuse(Type.REGION_ADD, 28)
        with self.assertRaises(rig.BusError) as caught:
            self.attach()
        self.assertIn('No space left', caught.exception.text)
        self.vmm.refusals.clear()
        self.attach()

    def test_14_guest_memory(self):
        """What the VMM alone knows of: the broker says it in words."""
        self.vmm.refuse(Type.REGION_ADD, errno.EADDRINUSE)
        with self.refused('RegionOverlap', 'guest memory of VM vm'):
            self.attach()

    def test_vmm_that_refuses_a_resume(self):
        device = self.lost('lease', 'hold', 'held')
        self.vmm.refuse(Type.REGION_SWAP, 5)
        with self.assertRaises(rig.BusError):
            self.attach(on_disconnect='hold')
        self.assertEqual(self.state(device.path), 'held')

    def test_vmm_that_never_answers(self):
        """After two seconds the attach is undone; the VMM hears of it in order whenever it wakes up."""
        self.vmm.mute = True
        with self.refused('Busy'):
            self.attach()
        self.assertIsNone(self.state(path_of('vm', 'dev')))
        self.vmm.wake()
        self.attach()
        self.assertEqual(len(self.vmm.regions), 1)

    def test_vmm_that_dies_during_an_attach(self):
        self.vmm.mute = True
        request = self.request_attach('vm', 'dev', [region('mmio', BASE, 16)])
        request.receive_lease()
        self.wait_until(lambda: self.vmm.seen)
        self.vmm.close()
        with self.refused('VMGone'):
            request.finish(self.play_vmms)
        self.assertEqual(self.vm_names(), [])


if __name__ == '__main__':
    rig.main()
