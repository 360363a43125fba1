# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests on KVM that use a register as fast as they go and look at each value (guest-load.S); for container.py."""

import collections
import json
import os
import random
import select
import shutil
import subprocess

from host import BUS, UNITS, drop_in, journal, systemctl, write
from privatebus import LIMIT
from program import Program

TESTS = '/rig/build/tests/system'
LIBEXEC = '/usr/local/libexec/ioregiond'
REGISTERS = {'space': 'mmio', 'base': '0xd0000', 'size': '4K'}
RULE = {'name': 'registers', 'match': {'unit': 'ioregion-registers*.service'}, 'vms': ['*'], 'features': ['replay'],
        'regions': [REGISTERS], 'timeout': '2s', 'on-disconnect': ['hold', 'ones'], 'grace': '20s'}

# How many rounds; and in how many the value was all ones, that of the round before, or wrong in another way
Seen = collections.namedtuple('Seen', 'rounds ones before others')


def has_kvm():
    return os.access('/dev/kvm', os.R_OK | os.W_OK)


def plant_seed():
    seed = int(os.environ.get('IOREGION_SEED') or random.SystemRandom().randrange(1 << 32))
    random.seed(seed)
    print(f'# IOREGION_SEED={seed}')


def add_template():
    """For the program registers, in the sandbox of a shipped device, but for its file."""
    shutil.copy('/usr/local/lib/systemd/system/ioregion-scratch@.service', f'{UNITS}/ioregion-registers@.service')
    drop_in('ioregion-registers@.service', f'''
[Unit]
StartLimitIntervalSec=0
[Service]
Environment=DESCRIPTION=/rig/out/%i.json
ExecStart=
ExecStart={TESTS}/registers ${{STATE_DIRECTORY}}/registers
ExecPaths={TESTS}
StateDirectory=registers-%i
InaccessiblePaths=
Restart=always
RestartSec=0
''')
    systemctl('daemon-reload')


def describe(vm, **description):
    """A file with a device's description."""
    path = f'/rig/out/{vm}.json'
    write(path, json.dumps({'version': 1, 'regions': [REGISTERS], 'timeout': '2s', **description}))
    return path


def add_device(vm, **description):
    """The unit, which is not yet started."""
    describe(vm, **description)
    return f'ioregion-registers@{vm}.service'


def add_device_that_attaches_itself(vm):
    """A unit without a sandbox, with replay."""
    unit = f'ioregion-registers-{vm}.service'
    write(f'{UNITS}/{unit}', f'''
[Unit]
StartLimitIntervalSec=0
[Service]
User=device
StateDirectory=registers-{vm}
ExecStart={TESTS}/registers ${{STATE_DIRECTORY}}/registers {vm}
Restart=always
RestartSec=0
''')
    systemctl('daemon-reload')
    return unit


class Guest:
    """A guest of a kind, counts or keeps, with the VM and the device that it uses."""

    def __init__(self, add_cleanup, kind, vm, unit, libexec=LIBEXEC):
        self.vm, self.unit = f'vm@{vm}.service', unit
        self.vmm = Program(BUS, 'systemd-run', '--quiet', '--pipe', '--collect', f'--unit={self.vm}', '--uid=qemu',
                           f'--setenv=DBUS_SYSTEM_BUS_ADDRESS={BUS}', f'{libexec}/ioregion-demo-vmm', '--vm', vm,
                           '--guest', f'{TESTS}/guest-{kind}', '--paused', '--timeout', '600')
        add_cleanup(self.close)
        self.vmm.expect('paused')
        started = subprocess.run(['ioregionctl', 'start', unit], capture_output=True, text=True, timeout=LIMIT)
        if started.returncode:
            raise AssertionError(started.stderr + journal(unit))
        self.vmm.say('')
        self.seen = Seen(0, 0, 0, 0)

    def close(self):
        systemctl('kill', '--signal=KILL', self.vm, check=False)  # asked to end, it waits for a device that it holds
        systemctl('stop', self.unit)
        self.vmm.close()

    def look(self):
        """What it has seen since the last look, up to after the beginning of this one."""
        fd = self.vmm.process.stdout.fileno()
        while select.select([fd], [], [], 0)[0]:
            if not os.read(fd, 65536):
                raise AssertionError('the guest ended')
        self.vmm.text = b''
        self.vmm.line()  # may have been begun before
        line = self.vmm.line()
        last, self.seen = self.seen, Seen(*(int(word, 16) for word in line.split()))
        return Seen(*(now - before for now, before in zip(self.seen, last)))
