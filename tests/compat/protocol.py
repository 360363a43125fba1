# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two wire protocols in plain Python: packets of the channel, messages of the lease.

Written from the protocol's description, not from the C headers: where the two disagree, one of them is wrong.
"""

import collections
import enum
import os
import select
import socket
import struct

SPACES = ('mmio', 'pio')
FEATURES = ('posted-writes', 'replay', 'out-of-order', 'interrupts', 'state')
ON_DISCONNECT = ('ones', 'hold', 'remove')
POSTED = 1
FDS_MAX = 64


def bits(names):
    return sum(1 << FEATURES.index(name) for name in names)


def names(bits):
    return [name for index, name in enumerate(FEATURES) if bits >> index & 1]


class Violation(Exception):
    """The other side sent what the protocol does not allow."""


# The channel: commands and responses of 32 bytes.

PACKET = 32
READ, WRITE = 0, 1
WANTS_RESPONSE = 1 << 6


def all_ones(size):
    return (1 << 8 * size) - 1


class Command(collections.namedtuple('Command', 'info padding user_data offset data')):
    LAYOUT = struct.Struct('=IIQQQ')

    @classmethod
    def access(cls, user_data, offset, size, value=None, posted=False):
        """A read, or a write when there is a value."""
        operation = READ if value is None else WRITE
        info = operation | (size.bit_length() - 1) << 4 | (0 if posted else WANTS_RESPONSE)
        return cls(info, 0, user_data, offset, value or 0)

    @classmethod
    def unpack(cls, packet):
        if len(packet) != PACKET:
            raise Violation(f'a command of {len(packet)} bytes')
        return cls(*cls.LAYOUT.unpack(packet))

    def pack(self):
        return self.LAYOUT.pack(*self)

    @property
    def size(self):
        return 1 << (self.info >> 4 & 3)

    @property
    def is_write(self):
        return self.info & 0xf == WRITE

    @property
    def wants_response(self):
        return bool(self.info & WANTS_RESPONSE)

    def check(self, region_size, features=0):
        """Raise Violation unless a device that agreed to these features may be sent this."""
        if self.info >> 7 or self.info & 0xf not in (READ, WRITE):
            raise Violation(f'info {self.info:#x}')
        if self.padding and not features & bits(['out-of-order']):
            raise Violation('nonzero padding')
        if not self.wants_response and not (self.is_write and features & bits(['posted-writes'])):
            raise Violation('no response wanted')
        if self.data > (all_ones(self.size) if self.is_write else 0):
            raise Violation(f'data {self.data:#x} in an access of {self.size} bytes')
        if self.offset + self.size > region_size:
            raise Violation(f'offset {self.offset:#x} and {self.size} bytes beyond the region')


class Response(collections.namedtuple('Response', 'data pad', defaults=[bytes(24)])):
    LAYOUT = struct.Struct('=Q24s')

    @classmethod
    def unpack(cls, packet):
        if len(packet) != PACKET:
            raise Violation(f'a response of {len(packet)} bytes')
        return cls(*cls.LAYOUT.unpack(packet))

    def pack(self):
        return self.LAYOUT.pack(*self)

    def check(self, command):
        """Raise Violation unless this answers the command."""
        if any(self.pad):
            raise Violation('nonzero pad')
        if self.data > (0 if command.is_write else all_ones(command.size)):
            raise Violation(f'{self.data:#x} is no answer to an access of {command.size} bytes')


def receive_packet(channel):
    """One packet of the channel; b'' at its end. A longer packet is a violation, and so is an empty one."""
    if isinstance(channel, socket.socket) and channel.gettimeout():  # which os.read() knows nothing of
        select.select([channel], [], [], channel.gettimeout())
    try:
        packet = os.read(channel.fileno(), PACKET + 1)
    except ConnectionResetError:
        return b''
    if len(packet) > PACKET:
        raise Violation('a packet of more than 32 bytes')
    return packet


# The lease: a header of type and size, then a fixed body.

VERSION = 1


class Type(enum.IntEnum):
    CHALLENGE = 1
    PROOF = 2
    GRANT = 3
    REVOKE = 4
    RELEASE = 5
    REGION_ADD = 6
    REGION_SWAP = 7
    REGION_REMOVE = 8
    ACK = 9
    STATS = 10
    STATS_REPLY = 11
    EVENT = 12


class Event(enum.IntEnum):
    EOF = 1
    DEADLINE = 2
    VIOLATION = 3


class Revoked(enum.IntEnum):
    OPERATOR = 1
    VM_GONE = 2
    RESUMED = 3
    POLICY = 4
    FAILED = 5


HEADER = struct.Struct('=II')
BODIES = {
    Type.CHALLENGE: ('II32s', 'min_version max_version nonce'),
    Type.PROOF: ('II32s', 'version zero nonce'),
    Type.GRANT: ('QQIIII', 'features timeout_usec channels regions interrupts zero'),
    Type.REVOKE: ('IIQ', 'reason zero deadline_usec'),
    Type.RELEASE: ('', ''),
    Type.REGION_ADD: ('QQQQQQQQIIII', 'serial region base size user_data timeout_usec grace_usec features '
                                      'space flags on_disconnect channel'),
    Type.REGION_SWAP: ('QII', 'serial channel zero'),
    Type.REGION_REMOVE: ('QQ', 'serial region'),
    Type.ACK: ('QiI', 'serial error zero'),
    Type.STATS: ('QQ', 'serial region'),
    Type.STATS_REPLY: ('QQQQQQQ', 'serial region reads writes posted failures timeouts'),
    Type.EVENT: ('QII', 'region what zero'),
}
LAYOUTS = {type: struct.Struct('=' + layout) for type, (layout, _) in BODIES.items()}
TUPLES = {type: collections.namedtuple(type.name.title().replace('_', ''), fields)
          for type, (_, fields) in BODIES.items()}


class Message(collections.namedtuple('Message', 'type body fds')):
    """One message of the lease; its fields can be named on it directly."""

    def __getattr__(self, field):
        return getattr(self.body, field)


def pack(type, *values, **fields):
    body = LAYOUTS[type].pack(*TUPLES[type](*values, **fields))
    return HEADER.pack(type, HEADER.size + len(body)) + body


def unpack(packet, fds=()):
    if len(packet) < HEADER.size:
        raise Violation(f'a lease message of {len(packet)} bytes')
    type, size = HEADER.unpack_from(packet)
    if type not in BODIES or size != len(packet) or size != HEADER.size + LAYOUTS[type].size:
        raise Violation(f'lease message of type {type}, size {size}, in a packet of {len(packet)} bytes')
    body = TUPLES[type](*LAYOUTS[type].unpack_from(packet, HEADER.size))
    if getattr(body, 'zero', 0):
        raise Violation(f'nonzero reserved field in {body}')
    return Message(Type(type), body, list(fds))


def send(lease, type, *values, **fields):
    lease.send(pack(type, *values, **fields))


def receive(lease):
    """The next message; None once the broker hung up."""
    try:
        packet, fds, flags, _ = socket.recv_fds(lease, 256, FDS_MAX, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise Violation('a truncated lease message')
    return unpack(packet, fds) if packet else None


def prove(lease, challenge):
    """Answer CHALLENGE; the kernel adds who we are."""
    if not challenge.min_version <= VERSION <= challenge.max_version:
        raise Violation(f'the broker speaks versions {challenge.min_version} to {challenge.max_version}')
    send(lease, Type.PROOF, VERSION, 0, challenge.nonce)
