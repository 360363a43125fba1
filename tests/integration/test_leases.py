# SPDX-License-Identifier: LGPL-2.1-or-later
"""What may be passed as a lease, and what may be done with one. The numbers are those of the list of edge cases."""

import fcntl
import os
import select
import signal
import socket
import struct
import tempfile

import actors
import protocol
import rig
from privatebus import Connection
from protocol import Type
from rig import region


class File:
    """A descriptor with close(), for what is no socket."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd

    def close(self):
        os.close(self.fd)


def beside(make):
    """The lease that is sent is something else; what is kept says that the broker has hung up, as it never came."""
    def make_lease():
        mine, theirs = actors.make_lease()
        theirs.close()
        return mine, make()
    return make_lease


def connected_to_a_name():
    """A socket that is connected to somebody else's, to make the broker write there."""
    path = tempfile.mkdtemp() + '/lease'
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    os.unlink(path)
    os.rmdir(os.path.dirname(path))
    return listener


def client_of_a_name():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f'{folder}/lease')
        listener.listen()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(f'{folder}/lease')
        return listener.accept()[0], client


def accepted_by_a_name():
    client, accepted = client_of_a_name()
    return accepted, client


def shared():
    """A pair of which the client keeps the broker's end, too: as make_lease.kept."""
    def make_lease():
        mine, theirs = actors.make_lease()
        make_lease.kept = theirs.dup()
        return mine, theirs
    return make_lease


class Leases(rig.Case):
    def setUp(self):
        super().setUp()
        self.vmm = self.register()
        self.fds = self.daemon.fds()

    def tearDown(self):
        for vm, device, *_ in self.manager('ListDevices')[0]:
            self.call(rig.path_of(vm, device), 'org.ioregion1.Device', 'Detach')
        self.assertEqual(self.daemon.fds(), self.fds, 'leaked')

    def unproven(self, make_lease, **keywords):
        with self.refused('IdentityUnproven'):
            self.attach(make_lease=make_lease, **keywords)

    def test_17_closed_and_odd_descriptors(self):
        self.unproven(beside(lambda: File(os.open('/', os.O_PATH))))
        self.unproven(beside(lambda: File(os.open('/dev/null', os.O_RDONLY))))

        def shut():
            mine, theirs = actors.make_lease()
            mine.shutdown(socket.SHUT_RDWR)
            return mine, theirs
        self.unproven(shut)

    def test_18_other_kinds_of_descriptor(self):
        poller = select.epoll()
        self.addCleanup(poller.close)
        for make in (lambda: os.eventfd(0), lambda: os.dup(poller.fileno()),
                     lambda: os.open('/etc/passwd', os.O_RDONLY), lambda: os.open('/', os.O_RDONLY),
                     lambda: os.memfd_create('x'), lambda: os.pipe()[0], lambda: os.pidfd_open(os.getpid())):
            self.unproven(beside(lambda: File(make())))

    def test_19_stream_and_datagram_and_internet(self):
        for type in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            self.unproven(lambda: socket.socketpair(socket.AF_UNIX, type), prove=lambda lease: None)
        self.unproven(beside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
        self.unproven(beside(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)))

    def test_20_device_holds_both_ends(self):
        """It hurts itself alone: its hang-up goes unseen, and all else ends it as ever."""
        inbox, outbox = socket.socketpair()

        def make_lease():
            mine, theirs = actors.make_lease()
            socket.send_fds(outbox, [b'x'], [theirs.fileno()])
            return mine, theirs

        device = self.attach(make_lease=make_lease)
        _, (kept,), _, _ = socket.recv_fds(inbox, 1, 1)
        self.call(device.path, 'org.ioregion1.Device', 'Detach')
        self.assertIsNone(self.state(device.path))
        self.assertEqual(protocol.receive_packet(device.channels[0]), b'', 'it is cut all the same')
        os.close(kept)

    def test_22_connected_and_named_sockets(self):
        self.unproven(client_of_a_name)
        self.unproven(accepted_by_a_name)
        self.unproven(beside(connected_to_a_name))

    def test_22_lease_used_twice(self):
        make_lease = shared()

        def prove_and_ask_again(lease):
            actors.prove(lease)
            other = Connection(self.bus.address)
            try:
                other.call(rig.ROOT, rig.MANAGER, 'AttachDevice', 'ssa(sttta{sv})a{sv}h', 'vm', 'second',
                           [region('pio', 0x200, 1)], {}, make_lease.kept)
            except rig.BusError as error:
                assert error.name == 'org.ioregion1.Error.IdentityUnproven', error
            else:
                raise AssertionError('a second use of a lease')

        device = self.attach(make_lease=make_lease, prove=prove_and_ask_again)
        self.assertEqual(len(self.manager('ListDevices')[0]), 1)
        device.release()

    def test_22_lease_sent_into_itself(self):
        """A cycle: the end that the broker would hold lies in its own queue."""
        def make_lease():
            mine, theirs = actors.make_lease()
            socket.send_fds(mine, [b'x'], [theirs.fileno()])
            return mine, theirs
        self.unproven(make_lease)

    def test_22_flags_changed_through_the_shared_end(self):
        make_lease = shared()

        def prove(lease):
            challenge = actors.receive_challenge(lease)
            make_lease.kept.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            fcntl.fcntl(make_lease.kept, fcntl.F_SETFL, 0)  # O_NONBLOCK goes; the broker must not block on it
            protocol.prove(lease, challenge)

        self.unproven(make_lease, prove=prove)

    def test_22_messages_stolen_through_the_shared_end(self):
        make_lease = shared()

        def steal(lease):
            challenge = actors.receive_challenge(lease)
            os.kill(self.daemon.pid, signal.SIGSTOP)
            protocol.prove(lease, challenge)
            make_lease.kept.recv(256)
            os.kill(self.daemon.pid, signal.SIGCONT)

        with self.refused('IdentityUnproven'):
            self.attach(user='root', make_lease=make_lease, prove=steal)

    def test_23_descriptors_that_nobody_asked_for(self):
        for count in (1, 2, 100):
            device = self.attach()
            null = os.open('/dev/null', os.O_RDONLY)
            socket.send_fds(device.lease, [protocol.pack(Type.RELEASE)], [null] * count)
            os.close(null)
            self.assertEqual(device.lease.recv(256), b'', 'the lease ends')
            self.call(device.path, 'org.ioregion1.Device', 'Detach')

    def test_23_descriptors_with_the_proof(self):
        def prove(lease):
            challenge = actors.receive_challenge(lease)
            socket.send_fds(lease, [protocol.pack(Type.PROOF, 1, 0, challenge.nonce)], [0])
        self.unproven(actors.make_lease, prove=prove)

    def test_bad_messages_end_the_lease(self):
        ack = protocol.pack(Type.ACK, 1, 0, 0)
        for message in (b'', b'x', struct.pack('=II', 99, 8), struct.pack('=II', Type.RELEASE, 9) + b'x',
                        struct.pack('=II', Type.RELEASE, 12), ack, ack + b'x', bytes(300),
                        protocol.pack(Type.EVENT, 1, 1, 0), protocol.pack(Type.STATS_REPLY, 1, 1, 0, 0, 0, 0, 0),
                        protocol.pack(Type.PROOF, 1, 0, bytes(32)), protocol.pack(Type.GRANT, 0, 0, 0, 0, 0, 0)):
            with self.subTest(message=message):
                device = self.attach()
                device.lease.send(message)
                self.assertIsNone(protocol.receive(device.lease))
                self.call(device.path, 'org.ioregion1.Device', 'Detach')

    def test_bad_messages_of_a_vmm_end_the_vm(self):
        for message in (protocol.pack(Type.ACK, 12345, 0, 0), protocol.pack(Type.EVENT, 1, 77, 0), b'x',
                        protocol.pack(Type.EVENT, 1, 1, 9)):
            with self.subTest(message=message):
                vmm = self.register('other')
                vmm.lease.send(message)
                self.wait_until(lambda: self.vm_names() == ['vm'])
        self.wait_until(lambda: self.daemon.fds() == self.fds)

    def test_bad_proofs(self):
        def answer(make):
            def prove(lease):
                lease.send(make(actors.receive_challenge(lease).nonce))
            return prove

        for name, make in {'nonce': lambda nonce: protocol.pack(Type.PROOF, 1, 0, nonce[::-1]),
                           'older version': lambda nonce: protocol.pack(Type.PROOF, 0, 0, nonce),
                           'newer version': lambda nonce: protocol.pack(Type.PROOF, 2, 0, nonce),
                           'reserved field': lambda nonce: protocol.pack(Type.PROOF, 1, 1, nonce),
                           'other message': lambda nonce: protocol.pack(Type.RELEASE),
                           'short': lambda nonce: protocol.pack(Type.PROOF, 1, 0, nonce)[:-1],
                           'empty': lambda nonce: b''}.items():
            with self.subTest(name):
                self.unproven(actors.make_lease, prove=answer(make))

    def test_bad_proof_and_hang_up_and_silence(self):
        self.unproven(actors.make_lease, prove=lambda lease: (actors.receive_challenge(lease),
                                                              lease.shutdown(socket.SHUT_RDWR)))
        self.unproven(actors.make_lease, prove=lambda lease: None)  # takes the second that a proof may take

    def test_55_grant_that_cannot_be_delivered(self):
        """The broker's send buffer is full before GRANT: everything is undone."""
        make_lease = shared()

        def prove(lease):
            challenge = actors.receive_challenge(lease)
            kept = make_lease.kept
            kept.setblocking(False)
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            try:
                while True:
                    kept.send(bytes(64))
            except BlockingIOError:
                pass
            protocol.prove(lease, challenge)

        with self.assertRaises(rig.BusError):
            self.attach(make_lease=make_lease, prove=prove)
        self.wait_until(lambda: not self.vmm.regions)
        self.assertEqual(self.manager('ListDevices')[0], [])


if __name__ == '__main__':
    rig.main()
