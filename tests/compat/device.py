#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A complete device in plain Python: plain memory behind each of its regions.

    device.py VM NAME SPACE:BASE:SIZE[:posted]... [--want FEATURE]... [--on-disconnect WHAT]

Says "attached FEATURES" once the broker granted it, then answers its guest until the hold ends, and says why it did.
"""

import argparse
import asyncio
import io

import client
import protocol


class Region:
    """A range of the guest's addresses, and the memory behind it."""

    def __init__(self, text, user_data):
        space, base, size, *flags = text.split(':')
        self.space, self.base, self.size = space, int(base, 0), int(size, 0)
        self.posted = 'posted' in flags
        self.user_data = user_data
        self.memory = bytearray(self.size)

    def declaration(self):
        return [self.space, self.base, self.size, self.user_data, client.options(posted=self.posted or None)]

    def answer(self, command):
        start, end = command.offset, command.offset + command.size
        if command.is_write:
            self.memory[start:end] = command.data.to_bytes(command.size, 'little')
            return protocol.Response(0)
        return protocol.Response(int.from_bytes(self.memory[start:end], 'little'))


class Device:
    def __init__(self, regions):
        self.regions = {region.user_data: region for region in regions}
        self.features = 0

    async def attach(self, vm, name, **options):
        regions = [region.declaration() for region in self.regions.values()]
        _, self.lease, grant = await client.request('AttachDevice', 'ssa(sttta{sv})a{sv}h',
                                                 [vm, name, regions, client.options(**options)])
        self.features = grant.features
        self.channels = [io.FileIO(fd, 'r+') for fd in grant.fds]
        if len(self.channels) != grant.channels or grant.regions != len(regions):
            raise protocol.Violation(f'{grant} for {len(regions)} regions')

    def handle(self, packet):
        """The bytes to send back for a command; None for a posted write."""
        command = protocol.Command.unpack(packet)
        if command.user_data not in self.regions:
            raise protocol.Violation(f'unknown region {command.user_data:#x}')
        region = self.regions[command.user_data]
        command.check(region.size, self.features & (-1 if region.posted else ~protocol.bits(['posted-writes'])))
        response = region.answer(command)
        return response.pack() if command.wants_response else None

    async def _serve(self, channel):
        while True:
            await client.readable(channel)
            packet = protocol.receive_packet(channel)
            if not packet:
                return 'hang-up'
            answer = self.handle(packet)
            if answer:
                channel.write(answer)

    async def _follow_lease(self):
        await client.readable(self.lease)
        message = protocol.receive(self.lease)
        return protocol.Revoked(message.reason).name if message else 'hang-up'

    async def run(self):
        """Answer the guest until broker or dispatcher hang up or the broker revokes the hold; tell which."""
        tasks = [asyncio.create_task(task) for task in [self._follow_lease(), *map(self._serve, self.channels)]]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return sorted(task.result() for task in done)[0]

    def close(self):
        for sock in (self.lease, *self.channels):
            sock.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('vm')
    parser.add_argument('name')
    parser.add_argument('regions', nargs='+')
    parser.add_argument('--require', action='append', choices=protocol.FEATURES)
    parser.add_argument('--want', action='append', choices=protocol.FEATURES)
    parser.add_argument('--on-disconnect', choices=protocol.ON_DISCONNECT)
    arguments = parser.parse_args()

    device = Device([Region(text, number + 1) for number, text in enumerate(arguments.regions)])
    try:
        await device.attach(arguments.vm, arguments.name, require=arguments.require, want=arguments.want,
                            on_disconnect=arguments.on_disconnect)
    except client.Refused as refused:
        raise SystemExit(f'refused: {refused}')
    print('attached', *protocol.names(device.features), flush=True)
    print('ended', await device.run(), flush=True)
    device.close()


if __name__ == '__main__':
    asyncio.run(main())
