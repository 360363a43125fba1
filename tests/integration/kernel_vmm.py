# SPDX-License-Identifier: LGPL-2.1-or-later
"""The played VMM of a VM that the kernel dispatches, in place of puppets.Vmm."""

import collections
import contextlib
import ctypes
import json
import os
import re
import select
import unittest

import protocol
from protocol import Type
from puppets import adopt

Region = collections.namedtuple('Region', 'space base size user_data flags')
REGION = re.compile(r'^(mmio|pio):\t(0x\w+)\+(0x\w+) flags (0x\w+) .* user_data (0x\w+)$', re.M)


def _played(name):
    """What only a VMM has that hears of regions, dispatches to them and counts."""
    def skip(self, value=None):
        raise unittest.SkipTest(f"plays what a VMM with a dispatcher of its own hears and answers ({name})")
    return property(skip, skip)


def is_handle(pid, number):
    """A VM's; false also of what was closed meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(f'/proc/{pid}/fd/{number}') == 'anon_inode:[ioregionfd-vm]'


def handles(pid):
    """Of a process's descriptors those that are VM handles, as pairs with its pid."""
    return {(pid, int(number)) for number in os.listdir(f'/proc/{pid}/fd') if is_handle(pid, number)}


class KernelVmm:
    """The VMM of a VM whose accesses the kernel dispatches: it runs its guest, and has its lease."""

    POSTED = 2  # among its regions' flags, which are the module's

    def __init__(self, request, path, grant, handle):
        self.request, self.path, self.grant, self.handle = request, path, grant, handle
        self.lease, self.ended, self.revoked = adopt(request.lease), False, False
        self.guest, self.unheard_answers = adopt(request.results), 0
        self.kept = -1

    seen, counts, mute, unheard, channel, refuse, _obey = map(
        _played, ('seen', 'counts', 'mute', 'unheard', 'channel', 'refuse', '_obey'))

    def fileno(self):
        return self.lease.fileno()

    def pump(self):
        message = protocol.receive(self.lease)
        self.ended = message is None
        self.revoked |= not self.ended and message.type == Type.REVOKE

    def keep(self):
        """Hold what a service manager's descriptor store would: without their handle regions are gone."""
        pid, number = self.handle
        pidfd = os.pidfd_open(pid)
        pidfd_getfd = 438  # the same number on all architectures
        self.kept = ctypes.CDLL(None).syscall(pidfd_getfd, pidfd, number, 0)
        os.close(pidfd)
        self.handle = os.getpid(), self.kept

    @property
    def regions(self):
        """As the kernel tells, by space and base."""
        regions = {}
        pid, number = self.handle
        with contextlib.suppress(FileNotFoundError), open(f'/proc/{pid}/fdinfo/{number}') as info:
            for space, base, size, flags, user_data in REGION.findall(info.read()):
                numbers = (int(text, 16) for text in (base, size, user_data, flags))
                regions[space, int(base, 16)] = Region(protocol.SPACES.index(space), *numbers)
        return regions

    def command(self, base, offset, size, value=None, posted=False):
        """Let the guest make the access; the command that has to come of it."""
        region = next(region for region in self.regions.values() if region.base == base)
        self.ask(protocol.SPACES[region.space], base + offset, size, value)
        self.unheard_answers += posted
        return protocol.Command.access(region.user_data, offset, size, value, posted)

    def ask(self, *access):
        """Let the guest make an access: as Machine.access()."""
        self.guest.send(json.dumps(access).encode())

    def answer(self):
        """What came of an access, of all in their order: as Machine.access()."""
        return json.loads(self.guest.recv(64))

    def write_often(self, base, value, times):
        region = next(region for region in self.regions.values() if region.base == base)
        self.ask(protocol.SPACES[region.space], base, 1, value, times)
        self.response(base)

    def answers_within(self, base, seconds):
        return bool(select.select([self.guest], [], [], seconds)[0])

    def response(self, base):
        """What came of the guest's last access."""
        data = self.answer()
        while self.unheard_answers:
            self.unheard_answers -= 1
            data = self.answer()
        if data is None:
            raise AssertionError('the access came to the VMM')
        return protocol.Response(data)

    def event(self, base, what):
        """The module sees for itself; the access whose deadline is missed is answered, but nobody asks what with."""
        self.unheard_answers += what == protocol.Event.DEADLINE

    def close(self):
        self.lease.close()
        if self.kept >= 0:
            os.close(self.kept)
            self.kept = -1
        if self.guest.fileno() >= 0:
            self.request.end()
