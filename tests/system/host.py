# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed system as its tests find it, in container.py's container: a policy, a VMM's unit, systemd's words."""

import glob
import json
import os
import shutil
import subprocess
import time
import unittest

from privatebus import LIMIT, Connection
from program import Program

BUS = 'unix:path=/run/dbus/system_bus_socket'
POLICY, INSTALLED_POLICY = '/rig/out/policy.d', '/usr/local/etc/ioregiond/policy.d'
MANAGER = '/org/ioregion1', 'org.ioregion1.Manager'
UNITS = '/run/systemd/system'
UNIT = 'ioregiond.service'
UART, READY = 0x3f8 + 5, '0x60'  # its line status register

# The example's rules are for UARTs alone
MORE = {'version': 1, 'devices': [
    {'name': name, 'match': {'unit': f'ioregion-{name}@*.service'}, 'vms': ['${vm}'], 'regions': [region],
     'timeout': '2s', 'on-disconnect': ['hold', 'ones'], 'grace': '20s'}
    for name, region in (('latch', {'space': 'pio', 'base': '0x378', 'size': '1'}),
                         ('debugcon', {'space': 'pio', 'base': '0x402', 'size': '1'}),
                         ('pvpanic', {'space': 'pio', 'base': '0x505', 'size': '1'}),
                         ('scratch', {'space': 'mmio', 'within': ['0xd0000000', '0xd0000fff']}))]}


def systemctl(*arguments, check=True):
    return subprocess.run(['systemctl', *arguments], check=check, timeout=LIMIT, capture_output=True, text=True).stdout


def say(unit, name):
    return systemctl('show', '--value', '-p', name, unit).strip()


def journal(unit):
    return subprocess.run(['journalctl', '--no-pager', '-o', 'cat', '-u', unit], capture_output=True, text=True,
                          timeout=LIMIT).stdout


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


def drop_in(unit, text):
    write(f'{UNITS}/{unit}.d/rig.conf', text)


def run(*properties, command):
    """The exit status of a command in a unit of its own."""
    return subprocess.run(['systemd-run', '--quiet', '--wait', '--collect', '--property=DefaultDependencies=no',
                           *(f'--property={text}' for text in properties), *command], timeout=LIMIT,
                          stderr=subprocess.DEVNULL).returncode


def set_up():
    drop_in(UNIT, '[Service]\nWatchdogSec=3s\n')  # as told, but sooner
    shutil.copytree(INSTALLED_POLICY, POLICY)
    subprocess.run(['mount', '--bind', POLICY, INSTALLED_POLICY], check=True, timeout=LIMIT)  # to write to
    shutil.copy('/usr/local/share/doc/ioregiond/examples/fleet.json', f'{POLICY}/10-fleet.json')
    write(f'{POLICY}/20-rig.json', json.dumps(MORE))
    write('/home/rig/letter', 'dear')
    os.chmod('/home/rig/letter', 0o644)
    library, = glob.glob('/usr/local/lib/**/libioregion.so.0', recursive=True)
    subprocess.run(['ldconfig', os.path.dirname(library)], check=True, timeout=LIMIT)
    systemctl('daemon-reload')


def start_vmm(case, vm):
    """As a unit that the example of a policy knows."""
    vmm = Program(BUS, 'systemd-run', '--quiet', '--pipe', '--collect', f'--unit=vm@{vm}.service', '--uid=qemu',
                  f'--setenv=DBUS_SYSTEM_BUS_ADDRESS={BUS}', '/usr/bin/python3', '/rig/source/tests/compat/vmm.py', vm)
    case.addClassCleanup(vmm.close)
    vmm.expect('registered')
    return vmm


class Case(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        """The first call starts the daemon: nobody else does."""
        cls.bus = Connection(BUS)
        cls.addClassCleanup(cls.bus.close)
        cls.bus.call('/org/ioregion1', 'org.freedesktop.DBus.Peer', 'Ping')

    def get(self, name, path=MANAGER[0], interface=MANAGER[1]):
        return self.bus.call(path, 'org.freedesktop.DBus.Properties', 'Get', 'ss', interface, name)[0][1]

    def objects(self):
        """All that there is to see on the bus, but for what each process has of its own."""
        objects, = self.bus.call(MANAGER[0], 'org.freedesktop.DBus.ObjectManager', 'GetManagedObjects')
        for interfaces in objects.values():
            interfaces.get(MANAGER[1], {}).pop('PolicyLoadedUSec', None)
        return objects

    def pid(self):
        return int(say(UNIT, 'MainPID'))

    def end(self, number):
        """Send the broker a signal; wait until another process is ready."""
        old = self.pid()
        os.kill(old, number)
        self.wait(lambda: self.pid() not in (0, old) and say(UNIT, 'ActiveState') == 'active')

    def wait(self, what):
        deadline = time.monotonic() + LIMIT
        while not what():
            self.assertLess(time.monotonic(), deadline, what)
