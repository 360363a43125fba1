#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""debugcon.py VM SOCKET: the port that SeaBIOS writes its log to, if 0xe9 is read from it; as QEMU's isa-debugcon."""

import asyncio
import socket
import sys

import device
import protocol


class Port(device.Region):
    def __init__(self, log):
        super().__init__('pio:0x402:1', 1)
        self.log = log

    def answer(self, command):
        if not command.is_write:
            return protocol.Response(0xe9)
        self.log.sendall(bytes([command.data]))
        return protocol.Response(0)


async def main():
    vm, path = sys.argv[1:]
    with socket.socket(socket.AF_UNIX) as log:
        log.connect(path)
        debugcon = device.Device([Port(log)])
        await debugcon.attach(vm, 'debugcon')
        print('attached', flush=True)
        channel, = debugcon.channels
        while packet := protocol.receive_packet(channel):
            channel.write(debugcon.handle(packet))
        print('ended', flush=True)
        debugcon.close()


asyncio.run(main())
