# SPDX-License-Identifier: LGPL-2.1-or-later
"""A broker on a bus of its own for each test, and clients of it that the test holds by the hand.

Everything happens in the test's thread: whoever waits also plays the VMMs, which answer the broker meanwhile.
"""

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
import unittest

import actors
import kernel_vmm
import privatebus
import protocol
import tap
from daemon import BUILD, INSTRUMENTED, SECCOMP, Daemon
from privatebus import LIMIT, BusError
from kernel_vmm import KernelVmm
from machine import Machine
from protocol import Type
from puppets import Device, Vmm

BUS = os.environ.get('IOREGION_BUS', 'dbus-daemon')
DISPATCH = os.environ.get('IOREGION_DISPATCH', 'vmm')

MANAGER, ROOT = 'org.ioregion1.Manager', '/org/ioregion1'

# Accounts that every Debian has, and what they are here.
VMM_USER, DEVICE_USER, OTHER_USER, STRANGER, DAEMON_USER = 'games', 'news', 'uucp', 'mail', 'daemon'
UNIT = 'rig-uart@{}.service'

FEATURES = ['posted-writes', 'replay']
RAM = {'space': 'mmio', 'within': ['0xd0000000', '0xdfffffff']}
PORTS = {'space': 'pio', 'within': ['0x100', '0xfff']}

POLICY = {
    'version': 1,
    'vmms': [{'name': 'guests', 'match': {'user': VMM_USER}, 'vms': ['*'], 'dispatch': ['kernel', 'vmm'],
              'features': FEATURES}],
    'devices': [
        {'name': 'uarts', 'match': {'unit': UNIT.format('*')}, 'vms': ['${vm}'], 'regions': [RAM, PORTS],
         'features': FEATURES, 'on-disconnect': ['ones', 'hold', 'remove'], 'timeout': '1s', 'grace': '60s'},
        {'name': 'scratches', 'match': {'user': DEVICE_USER}, 'vms': ['*'], 'regions': [RAM, PORTS],
         'features': FEATURES, 'limits': {'regions': 16, 'channels': 4}, 'timeout': '1s', 'grace': '60s',
         'on-disconnect': ['ones', 'hold', 'remove']},
        {'name': 'others', 'match': {'user': OTHER_USER}, 'vms': ['*'], 'regions': [RAM], 'features': [],
         'timeout': '1s', 'grace': '200ms', 'on-disconnect': ['hold', 'ones']},
    ],
    'reserved': [{'space': 'mmio', 'within': ['0xfec00000', '0xfeefffff'], 'why': 'IOAPIC, HPET, LAPIC'}],
    'operators': [{'name': 'root', 'match': {'user': 'root'}}],
    'limits': {'vms': 8, 'regions-per-vm': 32, 'devices-per-unit': 4, 'vms-per-user': 4, 'attach-rate': '10000/s'},
}

# Around a daemon that is to see no process but its own, as ProtectProc=invisible has it
HIDDEN_PROCESSES = ['unshare', '--mount', 'sh', '-c',
                    'mount -t proc -o hidepid=invisible proc /proc && exec "$@"', 'sh']

SIGNATURES = {'require': 'as', 'want': 'as', 'ceiling': 'as', 'channels': 'u', 'timeout-usec': 't',
              'on-disconnect': 's', 'dispatch': 's', 'reserve': 'a(stt)', 'posted': 'b', 'channel': 'u', 'vm-fd': 'h',
              'process': 'h', 'manifest': 's', 'interrupts': 'au'}


def options(values):
    """A dictionary with variants; a value that is one already stays as it is."""
    return {key: value if isinstance(value, tuple) else (SIGNATURES[key], value) for key, value in values.items()}


def region(space, base, size, user_data=1, **flags):
    return (space, base, size, user_data, options(flags))


def path_of(vm, device=None, index=None):
    """Object paths, as sd_bus_path_encode() makes them."""
    def encode(name):
        return ''.join(c if c.isalnum() and (i or not c.isdigit()) else f'_{ord(c):02x}' for i, c in enumerate(name))

    parts = [ROOT, 'vm', encode(vm)]
    if device is not None:
        parts += ['device', encode(device)]
    if index is not None:
        parts += ['region', str(index)]
    return '/'.join(parts)


class Case(unittest.TestCase):
    """A bus, a broker and root's connection for each test."""

    policy = POLICY
    arguments = ()
    maxDiff = None

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix='ioregion-rig-')
        self.addCleanup(shutil.rmtree, self.directory)
        os.chmod(self.directory, 0o755)
        os.mkdir(f'{self.directory}/policy.d')
        self.write_policy(self.policy)
        self.bus = privatebus.BUSES[BUS](self.directory)
        self.addCleanup(self.bus.close)
        self.vmms, self.daemon = [], None
        self.start_daemon(*self.arguments)
        self.connection = privatebus.Connection(self.bus.address)
        self.addCleanup(self.connection.close)
        self.connection.watch()

    def start_daemon(self, *arguments, **keywords):
        self.daemon = Daemon(self.directory, self.bus.address, *arguments, **keywords)
        self.addCleanup(self.stop_daemon)

    def stop_daemon(self, status=0):
        if not self.daemon:
            return
        daemon, self.daemon = self.daemon, None
        result, log = daemon.stop()
        self.assertEqual(result, status, log)
        for trouble in ('Sanitizer', 'runtime error:', 'Assertion'):
            self.assertNotIn(trouble, log)

    def write_policy(self, policy, name='rig.json'):
        text = policy if isinstance(policy, (str, bytes)) else json.dumps(policy, indent=1)
        with open(f'{self.directory}/policy.d/{name}', 'wb') as file:
            file.write(text.encode() if isinstance(text, str) else text)

    def need_mounts(self):
        """The test gives its daemon other files than ours; some containers let nobody do that."""
        tried = subprocess.run(['unshare', '--mount', 'true'], stderr=subprocess.PIPE, text=True)
        if tried.returncode:
            self.skipTest(tried.stderr.strip())

    # Waiting

    def live_vmms(self):
        return [vmm for vmm in self.vmms if vmm.fileno() >= 0 and not vmm.ended]

    def play_vmms(self, waiting_for):
        """Let the VMMs answer the broker until there is something for the one who waits."""
        deadline = time.monotonic() + LIMIT
        while True:
            live = self.live_vmms()
            ready = select.select([waiting_for, *live], [], [], max(0, deadline - time.monotonic()))[0]
            if waiting_for in ready:
                return
            if not ready:
                raise TimeoutError(f'nothing from {waiting_for}')
            for vmm in ready:
                vmm.pump()

    def wait_until(self, condition):
        """Look again after each signal of the broker and message to a VMM; true conditions only end this."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            live = self.live_vmms()
            left = deadline - time.monotonic()
            ready = select.select([self.connection, *live], [], [], max(0, left))[0]
            if not ready:
                self.fail(f'waited in vain\n{self.daemon.log()}')
            for vmm in (vmm for vmm in ready if vmm is not self.connection):
                vmm.pump()
            if self.connection in ready:
                self.connection.receive()

    # Calls

    def call(self, path, interface, member, signature='', *body):
        """By root, on its own connection; other ways by request()."""
        return self.connection.call(path, interface, member, signature, *body, wait=self.play_vmms)

    def manager(self, member, signature='', *body):
        return self.call(ROOT, MANAGER, member, signature, *body)

    def properties(self, path, interface):
        values, = self.call(path, 'org.freedesktop.DBus.Properties', 'GetAll', 's', interface)
        return {name: value for name, (_, value) in values.items()}

    def state(self, path):
        """A device's state; None when there is no such device."""
        try:
            return self.properties(path, 'org.ioregion1.Device')['State']
        except BusError:
            return None

    def wait_for_state(self, device, state):
        self.wait_until(lambda: self.state(device.path) == state)

    def vm_names(self):
        return [vm[0] for vm in self.manager('ListVMs')[0]]

    def explain(self, action, **question):
        """ExplainAccess: allowed, rule, reason."""
        types = {'regions': 'a(sttta{sv})', **SIGNATURES}
        question = {key.replace('_', '-'): value for key, value in {'action': action, **question}.items()}
        return self.manager('ExplainAccess', 'a{sv}', {key: (types.get(key, 's'), question[key]) for key in question})

    # Requests

    def request(self, member, signature, body, keywords):
        """The keywords are those of Request, and options."""
        ours = ('user', 'unit', 'make_lease', 'prove', 'machine')
        actor = {key: keywords.pop(key) for key in ours if key in keywords}
        body += (options({key.replace('_', '-'): value for key, value in keywords.items()}),)
        return actors.Request(self.bus.address, member, signature, body, **actor)

    def request_register(self, name, **keywords):
        """Over the dispatcher that the environment names, unless the test has another in mind."""
        if DISPATCH == 'kernel' and not {'dispatch', 'vm_fd'} & keywords.keys():
            keywords = {'dispatch': 'kernel', 'machine': Machine, **keywords}
        return self.request('RegisterVM', 'sa{sv}h', (name,), {'user': VMM_USER, **keywords})

    def request_attach(self, vm, name, regions, **keywords):
        return self.request('AttachDevice', 'ssa(sttta{sv})a{sv}h', (vm, name, regions),
                            {'user': DEVICE_USER, **keywords})

    def granted(self, request):
        """The answer of a request, and GRANT, which was sent before it."""
        reply = request.finish(self.play_vmms)
        request.lease.setblocking(False)
        grant = protocol.receive(request.lease)
        self.assertEqual(grant.type, Type.GRANT)
        request.lease.setblocking(True)
        return reply, grant

    def handles(self):
        """Of the VMs that the kernel dispatches: where their regions can be seen."""
        return kernel_vmm.handles(self.daemon.pid)

    def register(self, name='vm', **keywords):
        before = self.handles()
        request = self.request_register(name, **keywords)
        (path,), grant = self.granted(request)
        if request.stays:
            handle, = self.handles() - before
            vmm = KernelVmm(request, path, grant, handle)
        else:
            vmm = Vmm(request.lease, path, grant)
        self.vmms.append(vmm)
        self.addCleanup(vmm.close)
        return vmm

    def attach(self, vm='vm', name='dev', regions=(region('mmio', 0xd0000000, 0x100),), **keywords):
        request = self.request_attach(vm, name, list(regions), **keywords)
        (path, features), grant = self.granted(request)
        device = Device(request.lease, path, features, grant)
        self.addCleanup(device.close)
        return device

    def refused(self, error, text=''):
        """A context in which the broker must refuse with this error, and say this."""
        return Refusal(self, error if '.' in error else f'org.ioregion1.Error.{error}', text)


class Refusal:
    def __init__(self, case, name, text):
        self.case, self.name, self.expected = case, name, text

    def __enter__(self):
        return self

    def __exit__(self, type, error, trace):
        self.case.assertIsInstance(error, BusError, f'not refused with {self.name}')
        self.case.assertEqual(error.name, self.name, error.text)
        self.case.assertIn(self.expected, error.text)
        self.text = error.text
        return True


main = tap.main
