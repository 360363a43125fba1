# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest's panic: management hears the same of our pvpanic port as of QEMU's."""

import os
import re
import socket
from unittest import mock

import comparison
from privatebus import LIMIT


class Panic(comparison.Case):
    def theirs(self, value):
        """What the guest told, and QEMU's events."""
        qemu = self.qemu('-device', 'pvpanic', '-action', 'panic=none', *self.image('panic.rom', value, 1), paused=True)
        qemu.send('cont')
        told, _ = qemu.guest_ended()
        return told, [event['event'] for event in qemu.events if event['event'].startswith('GUEST_')]

    def ours(self, value):
        """The same, from the status of the device's unit."""
        path = f'{self.directory}/notify'
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(LIMIT)
            qemu = self.run_qemu(*self.image('panic.rom', value, 1), paused=True)
            with mock.patch.dict(os.environ, NOTIFY_SOCKET=path):
                device = self.attached('pvpanic')
            qemu.send('cont')
            told, _ = qemu.guest_ended()
            device.ended(0)
            os.unlink(path)
            manager.setblocking(False)
            events = []
            while True:
                try:
                    status = manager.recv(256).decode()
                except BlockingIOError:
                    return told, events
                events.append(re.fullmatch(r'STATUS=(\w+) \(1\)', status)[1])

    def test_events(self):
        heard = {}
        for value in (0, 1, 2, 3, 4, 0xff):
            with self.subTest(value=value):
                heard[value] = self.theirs(value)
                self.assertEqual(heard[value][0], 'events 03\nevents 03\n')
                self.assertEqual(self.ours(value), heard[value])
        self.assertEqual([events for _, events in heard.values()],
                         [[], ['GUEST_PANICKED'], ['GUEST_CRASHLOADED'], ['GUEST_PANICKED'], [], ['GUEST_PANICKED']])


if __name__ == '__main__':
    comparison.main()
