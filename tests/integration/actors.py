# SPDX-License-Identifier: LGPL-2.1-or-later
"""Processes that play clients: of any account, in any unit, honest or not.

A lease lives as long as anyone holds its end, so an actor makes the request, proves who it is, hands the lease to the
test and ends; the test then drives everything itself, in one thread and in an order of its choice.
"""

import ctypes
import fcntl
import json
import os
import pwd
import select
import signal
import socket
import struct
import traceback
import weakref

import protocol
from privatebus import LIMIT, BusError, Connection, die_with_the_test

HIERARCHIES = [path for path in ('/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified') if os.path.isdir(path)] \
    or ['/sys/fs/cgroup']


# The test's own sockets: an actor closes them, or it would keep others from seeing them hang up
puppets = weakref.WeakSet()


def units_can_be_played():
    return os.geteuid() == 0 and all(os.access(f'{path}/cgroup.procs', os.W_OK) for path in HIERARCHIES)


class Stage:
    """The folders of played units, a context. Their names are global, so one test at a time plays on a machine."""

    depth = 0

    def __init__(self, *units):
        self.folders = [f'{path}/system.slice/{unit}' for unit in units if unit for path in HIERARCHIES]

    def __enter__(self):
        if self.folders and not Stage.depth:
            Stage.lock = os.open(HIERARCHIES[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(Stage.lock, fcntl.LOCK_EX)
        Stage.depth += bool(self.folders)
        for folder in self.folders:
            os.makedirs(folder, exist_ok=True)

    def __exit__(self, *error):
        for folder in self.folders:
            for path in (folder, os.path.dirname(folder)):
                try:
                    os.rmdir(path)
                except OSError:
                    pass  # another actor is still in it
        Stage.depth -= bool(self.folders)
        if self.folders and not Stage.depth:
            os.close(Stage.lock)


def become(user, unit=None):
    """Move this process into a unit, and make it that user's."""
    for path in HIERARCHIES if unit else ():
        with open(f'{path}/system.slice/{unit}/cgroup.procs', 'w') as procs:
            procs.write('0')
    account = pwd.getpwnam(user)
    if account.pw_uid:
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def fork(function):
    """Run a function in a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    _play(function)


def _play(function):
    status = 1
    try:
        signal.alarm(LIMIT)
        for sock in list(puppets):
            sock.close()
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def fork_as(pid, function):
    """The same under a pid of our choice, which is free: what pid reuse gives by chance. OSError if we may not."""
    wanted = struct.pack('=i', pid)
    buffer = ctypes.create_string_buffer(wanted, 4)
    arguments = struct.pack('=10Q', 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(buffer), 1)
    libc = ctypes.CDLL(None, use_errno=True)
    clone3 = 435  # the same number on all architectures
    child = libc.syscall(clone3, ctypes.create_string_buffer(arguments, len(arguments)), len(arguments))
    if child < 0:
        raise OSError(ctypes.get_errno(), 'clone3')
    if child == 0:
        _play(function)
    return child


def make_lease():
    """What an honest client makes: its own end, and the one that it sends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def receive_challenge(lease):
    """CHALLENGE, or None if the broker has hung up."""
    if not select.select([lease], [], [], LIMIT)[0]:
        raise TimeoutError('no challenge')
    return protocol.receive(lease)


def prove(lease):
    """What an honest client does."""
    challenge = receive_challenge(lease)
    if challenge:
        protocol.prove(lease, challenge)


class Request:
    """A request with a lease that an actor of its own makes. finish() gives the answer; meanwhile others can act.

    make_lease() and prove() are what a dishonest client does otherwise. With a machine (a function that makes one), the
    actor stays and runs it, for a VM can be run only by the process that made it: results takes accesses then, and
    end() ends it.
    """

    def __init__(self, address, member, signature, body, user='root', unit=None, make_lease=make_lease, prove=prove,
                 machine=None):
        self.stage, self.stays = Stage(unit), machine
        self.results, results = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lease = None

        def act():
            become(user, unit)
            connection = Connection(address)
            vm = machine and machine()
            if vm:
                body[-1]['vm-fd'] = ('h', vm)
            mine, theirs = make_lease()
            serial = connection.send('/org/ioregion1', 'org.ioregion1.Manager', member, signature, *body, theirs)
            theirs.close()
            socket.send_fds(results, [b'lease'], [mine.fileno()])
            try:
                prove(mine)
            except BrokenPipeError:
                pass  # it was refused meanwhile
            try:
                answer = {'reply': connection.reply(serial)}
            except BusError as error:
                answer = {'error': [error.name, error.text]}
            results.send(json.dumps(answer).encode())
            if vm and 'reply' in answer:
                signal.alarm(0)
                die_with_the_test()
                for unneeded in (mine, connection, self.results):
                    unneeded.close()
                vm.serve(results)

        with results:
            self.stage.__enter__()
            try:
                self.pid = fork(act)
            except BaseException:
                self.stage.__exit__()
                raise

    def fileno(self):
        return self.results.fileno()

    def receive_lease(self):
        """The client's end, as soon as the call was made."""
        self.results.settimeout(LIMIT)
        _, (fd,), _, _ = socket.recv_fds(self.results, 16, 1, socket.MSG_CMSG_CLOEXEC)
        self.lease = socket.socket(fileno=fd)
        return self.lease

    def finish(self, wait=lambda request: None):
        """The reply's body, or BusError."""
        try:
            if not self.lease:
                self.receive_lease()
            wait(self)
            answer = self.results.recv(1 << 16)
        except BaseException:
            self.end()
            raise
        if not (self.stays and answer.startswith(b'{"reply"')):
            self.end()
        if not answer:
            raise RuntimeError('the actor failed')
        answer = json.loads(answer)
        if 'error' in answer:
            self.lease.close()
            raise BusError(*answer['error'])
        return answer['reply']

    def kill(self):
        """The client dies half-way."""
        self.stays = True
        self.end()
        if self.lease:
            self.lease.close()

    def end(self):
        """The actor has ended, or ends now if it would stay."""
        if self.stays:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.results.close()
        self.stage.__exit__()
