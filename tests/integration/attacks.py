# SPDX-License-Identifier: LGPL-2.1-or-later
"""Attacks on identities.

The victim is a process in a unit that policy lets attach; the attackers run as nobody's friend, in no unit.
"""

import contextlib
import os
import select
import signal
import socket
import unittest

import actors
import protocol
import rig
from privatebus import LIMIT, Connection
from rig import UNIT, region

VICTIM = UNIT.format('vm')
CALL = ('AttachDevice', 'ssa(sttta{sv})a{sv}h', 'vm', 'dev', [region('mmio', 0xd0000000, 16)], {})


def send_call(connection, fd):
    return connection.send(rig.ROOT, rig.MANAGER, *CALL, fd)


@contextlib.contextmanager
def stopped(pid):
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        while True:
            with open(f'/proc/{pid}/stat') as stat:
                if stat.read().rsplit(')', 1)[1].split()[0] == 'T':
                    break
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Attack:
    """An attacker that makes the lease and the call, and an accomplice that keeps both when the attacker is gone."""

    def __init__(self, address, user):
        self.user = user
        self.theirs, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.address = address
        self.pid = actors.fork(self._act)
        self.theirs.close()
        self.ours.settimeout(LIMIT)

    def _act(self):
        self.ours.close()
        actors.become(self.user)
        connection = Connection(self.address)
        mine, theirs = actors.make_lease()
        socket.send_fds(self.theirs, [b'here'], [connection.fileno(), mine.fileno()])
        self.theirs.recv(1)
        self.serial = send_call(connection, theirs)
        theirs.close()
        self.theirs.send(b'called')
        if self.theirs.recv(16) == b'prove':
            actors.prove(mine)
            self.theirs.send(b'proven')
            self.theirs.recv(1)

    def take_over(self):
        """The accomplice's copies of connection and lease."""
        _, (connection, lease), _, _ = socket.recv_fds(self.ours, 16, 2)
        return socket.socket(fileno=connection), socket.socket(fileno=lease)

    def say(self, word):
        self.ours.send(word)

    def hear(self):
        return self.ours.recv(16)

    def end(self):
        self.ours.close()
        os.waitpid(self.pid, 0)


class Victims:
    """For a test case that says where the bus is, who the broker and the stranger are, and what manager() says."""

    @contextlib.contextmanager
    def victim_as(self, pid):
        """The victim's process, under a pid that was the attacker's."""
        with actors.Stage(VICTIM):
            go, gone = socket.socketpair()

            def live():
                go.close()
                actors.become(self.stranger, VICTIM)
                gone.send(b'x')
                gone.recv(1)

            try:
                child = actors.fork_as(pid, live)
            except OSError as error:
                raise unittest.SkipTest(f'pids cannot be chosen: {error}')
            gone.close()
            self.assertEqual((child, go.recv(1)), (pid, b'x'))
            with open(f'/proc/{pid}/cgroup') as cgroup:
                self.assertIn(VICTIM, cgroup.read())
            try:
                yield
            finally:
                go.close()
                os.waitpid(pid, 0)

    def expect_refusal_on(self, connection):
        """The error that comes on a taken-over connection; nothing must have been attached."""
        data = b''
        while b'org.ioregion1.Error.' not in data:
            self.assertTrue(select.select([connection], [], [], LIMIT)[0], 'no answer')
            data += connection.recv(1 << 16)
        self.assertIn(b'org.ioregion1.Error.IdentityUnproven', data)
        self.assertEqual(self.manager('ListDevices')[0], [])


class ReusedPids(Victims):
    """Tests."""

    def test_53_pid_reused_between_call_and_check(self):
        attack = Attack(self.address, self.stranger)
        connection, lease = attack.take_over()
        with stopped(self.broker):
            attack.say(b'.')
            self.assertEqual(attack.hear(), b'called')
            attack.end()
            with self.victim_as(attack.pid):
                os.kill(self.broker, signal.SIGCONT)
                # The accomplice answers; we are root and may even claim that the victim's pid sends
                challenge = actors.receive_challenge(lease)
                if challenge:
                    protocol.prove(lease, challenge)
                self.expect_refusal_on(connection)

    def test_53_pid_reused_between_proof_and_look_up(self):
        attack = Attack(self.address, self.stranger)
        connection, lease = attack.take_over()
        attack.say(b'.')
        self.assertEqual(attack.hear(), b'called')
        self.assertTrue(select.select([lease], [], [], LIMIT)[0], 'no challenge')
        with stopped(self.broker):
            attack.say(b'prove')
            self.assertEqual(attack.hear(), b'proven')
            attack.end()
            with self.victim_as(attack.pid):
                os.kill(self.broker, signal.SIGCONT)
                self.expect_refusal_on(connection)
