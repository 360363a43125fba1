# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forging, stealing and losing identities. The numbers are those of the list of edge cases."""

import os
import select
import signal
import socket
import unittest

import actors
import protocol
import rig
from attacks import VICTIM, ReusedPids
from privatebus import LIMIT, Connection
from rig import region


class Identity(ReusedPids, rig.Case):
    def setUp(self):
        super().setUp()
        self.register()
        if not actors.units_can_be_played():
            self.skipTest('units cannot be played: no writable cgroup hierarchy')
        self.address, self.broker, self.stranger = self.bus.address, self.daemon.pid, rig.STRANGER

    def unproven(self, **keywords):
        with self.refused('IdentityUnproven'):
            self.attach(**keywords)
        self.assertEqual(self.manager('ListDevices')[0], [])

    def test_victim_may_attach(self):
        """What the attacks are after."""
        self.attach(user=rig.STRANGER, unit=VICTIM)
        with self.refused('PolicyDenied', 'default'):
            self.attach(name='other', user=rig.STRANGER)

    def test_53_child_proves_for_its_parent(self):
        def prove(lease):
            os.waitpid(actors.fork(lambda: actors.prove(lease)), 0)
        self.unproven(unit=VICTIM, prove=prove)

    def child_with_lease(self, afterwards=lambda lease: None):
        """A make_lease() whose pair is a child's, which goes on to do something with it."""
        def make_lease():
            inbox, outbox = socket.socketpair()

            def child():
                mine, theirs = actors.make_lease()
                socket.send_fds(outbox, [b'x'], [mine.fileno(), theirs.fileno()])
                theirs.close()  # so that it meets the end
                afterwards(mine)

            actors.fork(child)
            _, fds, _, _ = socket.recv_fds(inbox, 1, 2)
            return tuple(socket.socket(fileno=fd) for fd in fds)
        return make_lease

    def test_53_parent_calls_with_its_childs_socket(self):
        self.unproven(make_lease=self.child_with_lease())

    def test_53_parent_calls_and_its_child_proves(self):
        def prove_and_stay(lease):
            actors.prove(lease)
            lease.recv(256)  # the end of it
        self.unproven(make_lease=self.child_with_lease(prove_and_stay), prove=lambda lease: None)

    def test_53_caller_becomes_another_user(self):
        def prove(lease):
            actors.become(rig.DEVICE_USER)
            actors.prove(lease)
        self.unproven(user='root', prove=prove)

    def test_53_socket_of_another_user(self):
        ends = actors.make_lease()  # made by root, who could do all
        self.unproven(make_lease=lambda: ends, user=rig.STRANGER)

    def test_54_caller_dies_before_the_proof(self):
        before = self.daemon.fds()
        request = self.request_attach('vm', 'dev', [region('mmio', 0xd0000000, 16)],
                                      prove=lambda lease: signal.pause())
        lease = request.receive_lease()
        self.assertTrue(select.select([lease], [], [], LIMIT)[0])
        request.kill()
        self.wait_until_quiet(before)
        self.attach()

    def test_54_caller_dies_while_the_dispatcher_works(self):
        before = self.daemon.fds()
        vmm, = self.vmms
        vmm.mute = True
        request = self.request_attach('vm', 'dev', [region('mmio', 0xd0000000, 16)])
        request.receive_lease()
        self.wait_until(lambda: vmm.seen)
        request.kill()
        vmm.wake()
        self.wait_until(lambda: not vmm.regions)
        self.wait_until_quiet(before)
        self.attach()

    def wait_until_quiet(self, fds):
        """Each question is an event of the daemon's, so that what is pending gets its turn."""
        for _ in range(1000):
            if not self.manager('ListDevices')[0] and self.daemon.fds() == fds:
                return
        self.fail(f'{self.daemon.fds()} descriptors, {fds} before')

    def test_only_the_owner_resumes(self):
        device = self.attach(user=rig.STRANGER, unit=VICTIM, regions=[region('mmio', 0xd0000000, 16)])
        with self.refused('DeviceExists'):
            self.attach(user=rig.DEVICE_USER, regions=[region('mmio', 0xd0000000, 16)])
        self.attach(user=rig.STRANGER, unit=VICTIM, regions=[region('mmio', 0xd0000000, 16)])
        self.assertEqual(self.state(device.path), 'attached')

    def test_fifth_pending_proof_is_busy(self):
        silent = [self.request_attach('vm', f'd{number}', [region('mmio', 0xd0000000, 16)], prove=lambda lease: None)
                  for number in range(4)]
        for request in silent:
            self.assertTrue(select.select([request.receive_lease()], [], [], LIMIT)[0], 'no challenge')
        with self.refused('Busy'):
            self.attach()
        self.attach(name='of-another-user', user=rig.STRANGER, unit=VICTIM)
        for request in silent:
            with self.refused('IdentityUnproven'):
                request.finish(self.play_vmms)
        self.attach(regions=[region('pio', 0x200, 1)])

    def test_59_replayed_and_late_proofs(self):
        """A nonce is good for one lease: the proof of an earlier one proves nothing."""
        inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def prove_and_tell(lease):
            challenge = actors.receive_challenge(lease)
            outbox.send(challenge.nonce)
            protocol.prove(lease, challenge)

        def replay(lease):
            actors.receive_challenge(lease)
            protocol.send(lease, protocol.Type.PROOF, 1, 0, inbox.recv(32))

        device = self.attach(prove=prove_and_tell)
        with self.refused('IdentityUnproven'):
            self.attach(name='second', regions=[region('pio', 0x200, 1)], prove=replay)
        protocol.send(device.lease, protocol.Type.PROOF, 1, 0, bytes(32))
        self.assertEqual(device.lease.recv(256), b'', 'a second proof ends the lease')

    def test_owners_of_nothing_are_no_operators(self):
        self.attach()
        for member, path, interface in (('Detach', rig.path_of('vm', 'dev'), 'org.ioregion1.Device'),
                                        ('Unregister', rig.path_of('vm'), 'org.ioregion1.VM'),
                                        ('Reload', rig.ROOT, rig.MANAGER), ('ReloadAndRevoke', rig.ROOT, rig.MANAGER)):
            def ask():
                actors.become(rig.DEVICE_USER)
                with self.refused('PolicyDenied', 'operator'):
                    Connection(self.bus.address).call(path, interface, member)

            with self.subTest(member):
                self.assertEqual(os.waitpid(actors.fork(ask), 0)[1], 0)
        self.assertEqual(len(self.manager('ListDevices')[0]), 1)


if __name__ == '__main__':
    rig.main()
