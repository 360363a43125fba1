# SPDX-License-Identifier: LGPL-2.1-or-later
"""The plain Python implementation on the golden vectors."""

import os
import unittest

import device
import protocol
import tap

TOKEN = 0x1122334455667788
VECTORS = f"{os.environ.get('IOREGION_SOURCE', '.')}/tests/vectors/wire.txt"


def packet(words):
    return bytes.fromhex(''.join(word for word in words if word != '-'))


def region(size):
    """A region of plain memory, less the memory: some are as large as the address space."""
    region = device.Region(f'mmio:0:{0}:posted', TOKEN)
    region.size = size
    region.answer = lambda command: protocol.Response(0)
    return region


class Vectors(unittest.TestCase):
    def setUp(self):
        with open(VECTORS) as file:
            rows = [line.split() for line in file if line.strip() and not line.startswith('#')]
        self.commands = {row[1]: row[2:] for row in rows if row[0] == 'command'}
        self.responses = {row[1]: row[2:] for row in rows if row[0] == 'response'}
        self.assertEqual(len(rows), len(self.commands) + len(self.responses))

    def judge(self, name, verdict, receive):
        with self.subTest(name):
            if verdict == 'valid':
                receive()
            else:
                with self.assertRaises(protocol.Violation):
                    receive()

    def test_commands(self):
        self.assertGreater(len(self.commands), 10)
        for name, (verdict, size, features, *words) in self.commands.items():
            receiver = device.Device([region(int(size))])
            receiver.features = protocol.bits(features.split(',') if features != '-' else [])
            self.judge(name, verdict, lambda: receiver.handle(packet(words)))

    def test_responses(self):
        self.assertGreater(len(self.responses), 5)
        for name, (verdict, command, *words) in self.responses.items():
            command = protocol.Command.unpack(packet(self.commands[command][3:]))
            self.judge(name, verdict, lambda: protocol.Response.unpack(packet(words)).check(command))

    def test_packing_gives_the_golden_bytes(self):
        for name, access in {'read-8': (0, 1), 'read-64': (0, 8), 'write-8': (0, 1, 0xff), 'write-16': (0, 2, 0xffff),
                             'write-64': (0, 8, 0xefcdab8967452301)}.items():
            with self.subTest(name):
                golden = packet(self.commands[name][3:])
                packed = protocol.Command.access(TOKEN, *access)._replace(offset=golden[16]).pack()
                self.assertEqual(packed, golden)


if __name__ == '__main__':
    tap.main()
