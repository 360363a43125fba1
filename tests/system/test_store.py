# SPDX-License-Identifier: LGPL-2.1-or-later
"""58: what systemd does with the descriptors that it is sent: as many as it takes, and in time; for container.py."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import time
import unittest

import client
import tap
import test_restarts as restarts
from host import BUS, MANAGER, UNIT, say, systemctl, write
from program import Program

CAP = 8192  # as units/ioregiond.service has it
PATIENCE = 120  # seconds


def setUpModule():
    resource.setrlimit(resource.RLIMIT_NOFILE, 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1:])
    restarts.setUpModule()


def start_vmm_with_room(case, vm):
    vmm = Program(BUS, 'systemd-run', '--quiet', '--pipe', '--collect', f'--unit=vm@{vm}-vmm.service', '--uid=root',
                  f'--setenv=DBUS_SYSTEM_BUS_ADDRESS={BUS}', '--property=LimitNOFILE=65536',
                  '/usr/bin/python3', '/rig/source/tests/compat/vmm.py', vm)
    case.addClassCleanup(vmm.close)
    vmm.expect('registered')
    return vmm


class Cap(restarts.Case):
    """58: as many descriptors as the store takes."""

    async def attach(self, name, base, channels):
        regions = [['mmio', base + 16 * i, 16, i, client.options(channel=i)] for i in range(channels)]
        _, lease, grant = await client.request('AttachDevice', 'ssa(sttta{sv})a{sv}h',
                                               ['cap', name, regions, client.options(channels=channels)])
        self.addCleanup(lease.close)
        for fd in grant.fds:
            self.addCleanup(os.close, fd)

    def test_58_a_kill_at_the_cap(self):
        vmm = start_vmm_with_room(type(self), 'cap')
        n = (CAP - 1) // 65  # a VM has one, a device one and its channels'
        for i in range(n):
            asyncio.run(self.attach(f'd{i}', 0xd0000000 + 0x1000 * i, 64))
        with self.assertRaises(client.Refused) as refused:
            for i in range(n, n + 65):
                asyncio.run(self.attach(f'd{i}', 0xd0000000 + 0x1000 * i, 1))
        self.assertIn('QuotaExceeded', str(refused.exception))
        self.wait_for_systemd()
        stored = int(say(UNIT, 'NFileDescriptorStore'))
        self.assertIn(stored, (CAP, CAP - 1))
        before = self.bus.call(*MANAGER, 'ListRegions')
        self.end(signal.SIGKILL)
        self.assertEqual(self.bus.call(*MANAGER, 'ListRegions'), before)
        self.assertEqual(int(say(UNIT, 'NFileDescriptorStore')), stored)
        print(f'# {stored} descriptors, {len(before[0])} regions')
        vmm.end(number=None)
        self.wait(lambda: say(UNIT, 'NFileDescriptorStore') == '0')

    def wait_for_systemd(self):
        """It compares each new descriptor with all that it has, which are 33 million comparisons."""
        begin, answered = time.monotonic(), False
        while not answered:
            with contextlib.suppress(subprocess.TimeoutExpired):
                answered = say(UNIT, 'NFileDescriptorStore')
            self.assertLess(time.monotonic() - begin, PATIENCE)
        print(f'# systemd has taken all of them {time.monotonic() - begin:.1f} s after the last')


class Order(unittest.TestCase):
    def test_what_a_process_sent_last_is_there_for_the_next(self):
        """However soon it dies of it: so nobody waits for systemd to say that it has them."""
        deaths = 100
        write('/rig/out/dies.py', f"""
import array, os, signal, socket
if os.environ.get('LISTEN_FDS') == '{deaths}':
    signal.pause()
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.connect(os.environ['NOTIFY_SOCKET'])
mine, _ = socket.socketpair()
socket.send_fds(manager, [b'FDSTORE=1\\nFDPOLL=0\\nFDNAME=x'], [mine.fileno()])
os.kill(os.getpid(), signal.SIGKILL)
""")
        write('/run/systemd/system/dies.service', """
[Unit]
DefaultDependencies=no
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 -I /rig/out/dies.py
NotifyAccess=main
FileDescriptorStoreMax=1000
Restart=always
RestartSec=0
""")
        systemctl('daemon-reload')
        systemctl('start', 'dies.service')
        self.addCleanup(systemctl, 'stop', 'dies.service')
        deadline = time.monotonic() + PATIENCE
        while int(say('dies.service', 'NRestarts')) < deaths:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(say('dies.service', 'NFileDescriptorStore'), str(deaths))


if __name__ == '__main__':
    tap.main()
