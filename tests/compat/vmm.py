#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A complete VMM in plain Python, less the guest: the accesses come from standard input, a line each.

    vmm.py NAME [--ceiling FEATURE]... [--reserve SPACE:BASE:SIZE]...

    read SPACE ADDRESS SIZE           says the value, or "unclaimed"
    write SPACE ADDRESS SIZE VALUE    says "done", or "unclaimed"
    regions                           says the number of regions
    wait COUNT                        says the number of regions once it is COUNT

Says "registered" first. Ends, and gives its VM back, at end of file.
"""

import argparse
import asyncio
import contextlib
import errno
import socket
import sys

import client
import protocol
from protocol import Event, Type


NO_COUNTS = dict.fromkeys(('reads', 'writes', 'posted', 'failures', 'timeouts'), 0)


class Channel:
    """The dispatcher's end for one device. One command at a time is under way on it."""

    def __init__(self, fd):
        self.swap(fd)
        self.exchange = asyncio.Lock()

    def swap(self, fd):
        self.socket = socket.socket(fileno=fd)
        self.lost = False
        self.back = asyncio.Event()

    async def send(self, command):
        """Send; a device that lets its queue fill up is waited for."""
        loop = asyncio.get_running_loop()
        self.socket.setblocking(False)
        while True:
            try:
                return self.socket.send(command.pack())
            except BlockingIOError:
                room = loop.create_future()
                loop.add_writer(self.socket, room.set_result, None)
                try:
                    await room
                finally:
                    loop.remove_writer(self.socket)

    async def answer(self, command):
        await self.send(command)
        if not command.wants_response:
            return protocol.Response(0)
        await client.readable(self.socket)
        packet = protocol.receive_packet(self.socket)
        if not packet:
            raise ConnectionResetError
        response = protocol.Response.unpack(packet)
        response.check(command)
        return response


class Vmm:
    def __init__(self):
        self.regions, self.channels, self.counts = {}, {}, {}
        self.changed = asyncio.Condition()

    async def register(self, name, **options):
        _, self.lease, _ = await client.request('RegisterVM', 'sa{sv}h', [name, client.options(**options)])

    async def follow_lease(self):
        """Do what the broker asks, until it hangs up."""
        while True:
            await client.readable(self.lease)
            message = protocol.receive(self.lease)
            if message is None or message.type == Type.REVOKE:
                return
            async with self.changed:
                self._take(message)
                self.changed.notify_all()

    def _take(self, message):
        if message.type == Type.STATS:
            counts = self.counts.get(message.region, NO_COUNTS)
            return self._reply(Type.STATS_REPLY, serial=message.serial, region=message.region, **counts)
        handlers = {Type.REGION_ADD: self._add, Type.REGION_SWAP: self._swap, Type.REGION_REMOVE: self._remove}
        if message.type not in handlers:
            raise protocol.Violation(f'{message} to a VMM')
        self._reply(Type.ACK, message.serial, handlers[message.type](message), 0)

    def _reply(self, *values, **fields):
        with contextlib.suppress(BrokenPipeError):  # a broker that has hung up may have left more to read
            protocol.send(self.lease, *values, **fields)

    def _add(self, message):
        if bool(message.fds) == (message.channel in self.channels):
            return errno.EPROTO
        for fd in message.fds:
            self.channels[message.channel] = Channel(fd)
        self.regions[message.region] = message.body
        self.counts[message.region] = dict(NO_COUNTS)
        return 0

    def _swap(self, message):
        channel = self.channels.get(message.channel)
        if not channel or len(message.fds) != 1:
            return errno.ENOENT
        channel.socket.close()
        back = channel.back
        channel.swap(message.fds[0])
        back.set()
        return 0

    def _remove(self, message):
        region = self.regions.pop(message.region, None)
        if not region:
            return errno.ENOENT
        if all(other.channel != region.channel for other in self.regions.values()):
            channel = self.channels.pop(region.channel)
            channel.socket.close()
            channel.back.set()
        return 0

    def find(self, space, address, size):
        for region in self.regions.values():
            if protocol.SPACES[region.space] == space and region.base <= address and \
                    address + size <= region.base + region.size:
                return region
        return None

    async def access(self, space, address, size, value=None):
        """What the guest sees of one access; None when it is nobody's."""
        region = self.find(space, address, size)
        if not region:
            return None
        channel, counts = self.channels[region.channel], self.counts[region.region]
        posted = value is not None and bool(region.flags & protocol.POSTED)
        command = protocol.Command.access(region.user_data, address - region.base, size, value, posted)
        counts['reads' if value is None else 'writes'] += 1
        counts['posted'] += posted
        async with channel.exchange:
            data = await self._exchange(region, channel, command)
        if data is None:
            counts['failures'] += 1
            data = protocol.all_ones(size)
        return data

    async def _exchange(self, region, channel, command):
        """One command and its answer; None where the device failed."""
        while True:
            if not channel.lost:
                try:
                    response = await asyncio.wait_for(channel.answer(command), region.timeout_usec / 1e6)
                    return response.data
                except asyncio.TimeoutError:  # before OSError, which it is one of
                    self.counts[region.region]['timeouts'] += 1
                    self._lose(region, channel, Event.DEADLINE)
                except OSError:
                    self._lose(region, channel, Event.EOF)
                except protocol.Violation:
                    self._lose(region, channel, Event.VIOLATION)
                    return None
                if not region.features & protocol.bits(['replay']):
                    await self._held(region, channel)
                    return None
            if not await self._held(region, channel):
                return None

    def _lose(self, region, channel, what):
        channel.lost = True
        channel.socket.close()
        protocol.send(self.lease, Type.EVENT, region.region, what, 0)

    async def _held(self, region, channel):
        """Under hold, wait for the device's return; true if it came."""
        if protocol.ON_DISCONNECT[region.on_disconnect] != 'hold':
            return False
        try:
            await asyncio.wait_for(channel.back.wait(), region.grace_usec / 1e6)
        except asyncio.TimeoutError:
            return False
        return region.region in self.regions

    async def do(self, verb, *arguments):
        if verb == 'regions':
            return len(self.regions)
        if verb == 'wait':
            async with self.changed:
                await self.changed.wait_for(lambda: len(self.regions) == int(arguments[0]))
            return len(self.regions)
        space, address, size, *value = arguments
        result = await self.access(space, int(address, 0), int(size), *(int(text, 0) for text in value))
        return 'unclaimed' if result is None else 'done' if verb == 'write' else hex(result)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('name')
    parser.add_argument('--ceiling', action='append', choices=protocol.FEATURES)
    parser.add_argument('--reserve', action='append')
    arguments = parser.parse_args()
    reserve = [[space, int(base, 0), int(size, 0)] for space, base, size in
               (text.split(':') for text in arguments.reserve or [])]

    vmm = Vmm()
    try:
        await vmm.register(arguments.name, ceiling=arguments.ceiling, reserve=reserve or None)
    except client.Refused as refused:
        raise SystemExit(f'refused: {refused}')
    print('registered', flush=True)
    follower = asyncio.create_task(vmm.follow_lease())
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        print(await vmm.do(*line.decode().split()), flush=True)
    follower.cancel()
    vmm.lease.close()


if __name__ == '__main__':
    asyncio.run(main())
