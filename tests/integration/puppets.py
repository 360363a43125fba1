# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VMM and a device that move only when the test pulls their strings."""

import contextlib
import errno
import io
import os
import select
import socket
import stat
import struct

import actors
import protocol
from privatebus import LIMIT
from protocol import Type


def adopt(sock):
    """A socket that blocks for a while at most, read as a file too, and that actors do not keep open."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack('@ll', LIMIT, 0))
    sock.setblocking(True)
    actors.puppets.add(sock)
    return sock


class Channel(io.FileIO):
    """A device's end of a channel: a socket or an ioregionfd, of which it need not know."""

    def __init__(self, fd):
        super().__init__(fd, 'r+')
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            adopt(socket.socket(fileno=os.dup(fd))).close()  # for its time limit
        actors.puppets.add(self)

    send = io.FileIO.write


class Vmm:
    """The VMM's end of a lease. It says yes to the broker; refuse() makes it say something else, mute nothing."""

    POSTED = protocol.POSTED  # among its regions' flags

    def __init__(self, lease, path, grant):
        self.lease, self.path, self.grant = adopt(lease), path, grant
        self.regions, self.channels, self.refusals = {}, {}, {}
        self.seen, self.unheard, self.mute, self.ended = [], [], False, False
        self.counts = dict.fromkeys(('reads', 'writes', 'posted', 'failures', 'timeouts'), 0)

    def fileno(self):
        return self.lease.fileno()

    def keep(self):
        """For a broker that is killed; here the dispatcher is ours."""

    @property
    def revoked(self):
        return any(message.type == Type.REVOKE for message in self.seen)

    def refuse(self, type, error):
        self.refusals[type] = error

    def pump(self):
        """Take in one message of the broker."""
        message = protocol.receive(self.lease)
        if message is None:
            self.ended = True
            return
        self.seen.append(message)
        if self.mute:
            self.unheard.append(message)
        else:
            self._answer(message)

    def wake(self):
        """No longer mute: answer all that came meanwhile."""
        self.mute, unheard, self.unheard = False, self.unheard, []
        for message in unheard:
            self._answer(message)

    def _answer(self, message):
        if message.type == Type.REVOKE:
            return
        with contextlib.suppress(BrokenPipeError):  # a broker that has hung up may have left more to read
            if message.type == Type.STATS:
                protocol.send(self.lease, Type.STATS_REPLY, message.serial, message.region, *self.counts.values())
            else:
                error = self.refusals.get(message.type) or self._obey(message)
                protocol.send(self.lease, Type.ACK, message.serial, error, 0)

    def _obey(self, message):
        """Do it; the errno."""
        fresh = [adopt(socket.socket(fileno=fd)) for fd in message.fds]
        if message.type == Type.REGION_ADD:
            self.regions[message.region] = message
            if fresh:
                self.channels[message.channel], = fresh
        elif message.type == Type.REGION_SWAP:
            self.channels[message.channel].close()
            self.channels[message.channel], = fresh
        elif message.region not in self.regions:
            return errno.ENOENT  # a region that we refused to add
        else:
            region = self.regions.pop(message.region)
            if not any(other.channel == region.channel for other in self.regions.values()):
                self.channels.pop(region.channel).close()
        return 0

    def channel(self, base):
        """The channel and the region's message for the region with that base."""
        region = next(region for region in self.regions.values() if region.base == base)
        return self.channels[region.channel], region

    def command(self, base, *arguments, **keywords):
        """Send a command as the guest's access would; the command."""
        channel, region = self.channel(base)
        command = protocol.Command.access(region.user_data, *arguments, **keywords)
        channel.send(command.pack())
        return command

    def response(self, base):
        return protocol.Response.unpack(protocol.receive_packet(self.channel(base)[0]))

    def write_often(self, base, value, times):
        """Bytes to the start of a region, each answered before the next."""
        for _ in range(times):
            self.command(base, 0, 1, value)
            self.response(base)

    def answers_within(self, base, seconds):
        return bool(select.select([self.channel(base)[0]], [], [], seconds)[0])

    def event(self, base, what):
        protocol.send(self.lease, Type.EVENT, self.channel(base)[1].region, what, 0)

    def close(self):
        for sock in (self.lease, *self.channels.values()):
            sock.close()


class Device:
    """The device's end of a lease, and its channels."""

    def __init__(self, lease, path, features, grant):
        self.lease, self.path, self.features, self.grant = adopt(lease), path, features, grant
        self.channels = [Channel(fd) for fd in grant.fds]

    def answer(self, data=0, channel=0):
        """Receive one command, answer it; the command."""
        command = protocol.Command.unpack(protocol.receive_packet(self.channels[channel]))
        if command.wants_response:
            self.channels[channel].send(protocol.Response(data).pack())
        return command

    def misbehave(self):
        """Send what no device may."""
        with contextlib.suppress(OSError):
            self.channels[0].send(b'garbage')

    def release(self):
        protocol.send(self.lease, Type.RELEASE)

    def close(self):
        for sock in (self.lease, *self.channels):
            sock.close()
