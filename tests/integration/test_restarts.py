# SPDX-License-Identifier: LGPL-2.1-or-later
"""52, 64, 65: the broker may die at any moment, and VMs and devices are as they were."""

import json
import os
import re
import shutil
import signal
import socket

import protocol
import rig
from privatebus import BusError
from protocol import Event, Type
from rig import region
from service import FIRST_FD, Case

DETACHED, UNREGISTERED = ['detach: device dev on vm vm'], ['unregister: vm vm']
FIRST, SECOND = 0xd0000000, 0xd0001000


class Restarts(Case):
    def test_65_killed(self):
        """Whatever ends it: what it had is there again, and works."""
        vmm = self.register(reserve=[('mmio', 0xdf000000, 0x1000)], ceiling=['posted-writes'])
        device = self.attach(regions=[region('mmio', FIRST, 0x100, 7), region('pio', 0x3f8, 8, 9)])
        before, kept = self.everything(), self.daemon.names()
        self.assertEqual(set(kept), {'d2', 'v1'})
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
            self.restart(number)
            self.assertEqual(self.everything(), before)
            self.exchange(vmm, device)
            self.assertEqual(self.daemon.names(), kept)
        with self.refused('RegionOverlap'):
            self.attach(name='late', regions=[region('mmio', FIRST + 0xff, 1)])
        with self.refused('RegionOverlap', 'keeps for itself'):
            self.attach(name='late', regions=[region('mmio', 0xdf000000, 1)])
        late = self.attach(name='late', regions=[region('mmio', SECOND, 0x100)])
        self.exchange(vmm, late, SECOND)
        device.release()
        self.wait_until(lambda: FIRST not in [region.base for region in vmm.regions.values()])
        self.exchange(vmm, late, SECOND)

    def test_accesses_flow_meanwhile(self):
        vmm, device = self.register(), self.attach()
        self.daemon.end()
        self.exchange(vmm, device)
        self.daemon.start()
        self.exchange(vmm, device)

    def test_what_clients_said_meanwhile(self):
        """They hung up, gave back, told of losses: it happens as if somebody had been there to hear it."""
        vmm = self.register()
        devices = {what: self.attach(name=what, regions=[region('mmio', FIRST + 0x1000 * i, 0x100)],
                                     on_disconnect=on_disconnect, unit=rig.UNIT.format(what))
                   for i, (what, on_disconnect) in enumerate(
                       [('hangs-up', 'hold'), ('gone', 'remove'), ('ones', 'ones'), ('released', 'hold'),
                        ('late', 'hold'), ('wrong', 'hold')])}
        self.daemon.end()
        for name in ('hangs-up', 'gone', 'ones'):
            devices[name].close()
        devices['released'].release()
        devices['wrong'].misbehave()
        vmm.event(FIRST + 0x5000, Event.VIOLATION)
        vmm.command(FIRST + 0x4000, 0, 1)
        vmm.event(FIRST + 0x4000, Event.DEADLINE)
        self.daemon.start()
        for name, state in (('hangs-up', 'held'), ('gone', None), ('ones', 'failed'), ('released', None),
                            ('late', 'held'), ('wrong', 'failed')):
            self.wait_for_state(devices[name], state)
        self.wait_until(lambda: len(vmm.regions) == 4)

    def test_a_vm_that_ended_meanwhile(self):
        vmm, device = self.register(), self.attach()
        self.daemon.end()
        vmm.close()
        self.vmms.remove(vmm)
        self.daemon.start()
        self.wait_until(lambda: not self.vm_names())
        self.assertEqual(protocol.receive(device.lease).type, Type.REVOKE)
        self.assertIsNone(protocol.receive(device.lease))
        self.assertEqual((self.daemon.names(), self.daemon.state()), ([], []))

    def test_states_and_grace(self):
        """A device that is held has the time that was left, one that failed stays so; both resume."""
        vmm = self.register()
        held, failed = (self.attach(name=name, regions=[region('mmio', base, 0x100)], on_disconnect='hold')
                        for name, base in (('held', FIRST), ('failed', SECOND)))
        kept = self.daemon.names()
        held.close()
        failed.misbehave()
        vmm.event(SECOND, Event.VIOLATION)
        self.wait_for_state(held, 'held')
        self.wait_for_state(failed, 'failed')
        before = self.everything()
        with open(f'{self.daemon.runtime}/vm/vm.json') as file:
            ends = {device['name']: device['grace-ends'] for device in json.load(file)['devices']}
        for _ in range(2):
            self.restart()
            self.assertEqual(self.everything(), before)
        with open(f'{self.daemon.runtime}/vm/vm.json') as file:
            self.assertEqual({device['name']: device['grace-ends'] for device in json.load(file)['devices']}, ends)
        for name, base in (('held', FIRST), ('failed', SECOND)):
            again = self.attach(name=name, regions=[region('mmio', base, 0x100)], on_disconnect='hold')
            self.assertEqual(self.state(again.path), 'attached')
            self.exchange(vmm, again, base)
        self.restart()
        self.assertEqual(self.state(again.path), 'attached')
        self.assertEqual(len(self.daemon.names()), len(kept))

    def test_grace_ends_while_nobody_is_there(self):
        policy = json.loads(json.dumps(self.policy))
        policy['devices'][1]['grace'] = '300ms'
        self.write_policy(policy)
        self.manager('Reload')
        self.register()
        device = self.attach(on_disconnect='hold')
        device.close()
        self.wait_for_state(device, 'held')
        self.daemon.end()
        self.daemon.start()
        self.wait_for_state(device, 'failed')

    def test_answers_to_the_process_before(self):
        """What a VMM says to what nobody remembers asking is no fault; what nobody ever asked is one."""
        vmm, device = self.register(), self.attach()
        vmm.mute = True
        request = self.request_attach('vm', 'late', [region('mmio', SECOND, 0x100)])
        self.wait_until(lambda: vmm.unheard)
        self.restart()
        vmm.wake()
        self.wait_until(lambda: vmm.seen[-1].type == Type.REGION_REMOVE)
        self.assertEqual([region.base for region in vmm.regions.values()], [FIRST])
        with self.assertRaises(BusError):
            request.finish(self.play_vmms)
        self.exchange(vmm, device)
        self.assertEqual(self.vm_names(), ['vm'])
        self.wait_until(lambda: len(self.daemon.names()) == 3)
        protocol.send(vmm.lease, Type.ACK, 2 ** 63, 0, 0)
        self.wait_until(lambda: not self.vm_names())

    def test_policy_generation(self):
        for generation in (1, 2, 3):
            self.assertEqual(self.properties(rig.ROOT, rig.MANAGER)['PolicyGeneration'], generation)
            self.restart()
            self.assertEqual(self.properties(rig.ROOT, rig.MANAGER)['PolicyGeneration'], generation)
            self.manager('Reload')

    def test_grants_that_the_policy_would_not_give_again(self):
        vmm, device = self.register(), self.attach()
        self.daemon.end()
        self.write_policy({**self.policy, 'devices': []})
        self.daemon.start()
        self.exchange(vmm, device)
        self.assertIn('reload: device dev on vm vm', self.daemon.log())

    def test_a_policy_with_a_mistake(self):
        """It is no reason to end what runs; nothing new is granted."""
        vmm, device = self.register(), self.attach()
        self.daemon.end()
        self.write_policy('{ "version": 1, "devices": {} }')
        self.daemon.start()
        self.assertIn('rig.json:1:', self.daemon.messages[-1]['STATUS'])
        self.exchange(vmm, device)
        with self.refused('PolicyDenied'):
            self.attach(name='late', regions=[region('mmio', SECOND, 0x100)])
        self.daemon.stop()
        self.daemon = None

    def test_58_descriptors_run_out(self):
        """However many there are for the new process: it goes on with all, or leaves all to the one after it."""
        vmm, device = self.register(reserve=[('mmio', 0xdf000000, 0x1000)]), self.attach()
        others = [self.register(name=f'other{number}') for number in range(3)]
        held = self.attach(name='held', regions=[region('mmio', SECOND, 0x100)], on_disconnect='hold')
        held.close()
        self.wait_for_state(held, 'held')
        before, files, names = self.everything(), self.daemon.state(), self.daemon.names()
        self.daemon.end()
        command, limit, failures = self.daemon.command, FIRST_FD + len(names), 0
        while True:
            limit += 1
            self.daemon.command = ['/usr/bin/prlimit', f'--nofile={limit}', *command]
            self.daemon.launch()
            ready = self.daemon.wait_for(b'READY=1')
            self.daemon.end()
            self.assertEqual((self.daemon.state(), self.daemon.names()), (files, names), limit)
            if ready:
                break
            failures += 1
        self.assertGreater(failures, 2)
        self.daemon.command = command
        self.daemon.start()
        self.assertEqual(self.everything(), before)
        self.exchange(vmm, device)
        self.assertEqual([other.ended for other in others], [False] * 3)

    def test_stop_leaves_nothing(self):
        vmm, device = self.register(), self.attach()
        daemon, self.daemon = self.daemon, None
        status, _ = daemon.stop()
        self.assertEqual(status, 0)
        for lease in (vmm.lease, device.lease):
            self.assertIsNone(protocol.receive(lease))


class State(Case):
    """64: what comes back may be anything."""

    def setUp(self):
        super().setUp()
        self.vmm, self.device = self.register(), self.attach()
        self.other = self.register('other')
        self.daemon.end()
        self.file = f'{self.daemon.runtime}/vm/vm.json'
        with open(self.file) as file:
            self.text = file.read()

    def check_refused(self, why, trail=UNREGISTERED):
        """Nothing of it is left, and that much of what was granted is seen to end."""
        self.daemon.start()
        self.assertEqual(self.vm_names(), ['other'])
        self.assertIn(why, self.daemon.log())
        self.assertEqual(re.findall(r'(detach: device \w+ on vm \w+|unregister: vm \w+) .*\(', self.daemon.log()), trail)
        for lease in (self.vmm.lease, self.device.lease):
            self.assertIsNone(protocol.receive(lease))
        self.assertEqual(protocol.receive_packet(self.device.channels[0]), b'')
        self.assertEqual((self.daemon.names(), self.daemon.state()), (['v3'], ['other.json']))
        self.assertEqual([message['FDNAME'] for message in self.daemon.messages if 'FDSTOREREMOVE' in message],
                         ['d2', 'v1'], 'devices first, as when a VM ends')
        self.restart()
        self.assertEqual(self.vm_names(), ['other'])
        self.assertEqual(self.daemon.log().count(why), 1, 'once')

    def write(self, text):
        with open(self.file, 'w') as file:
            file.write(text)

    def test_64_truncated(self):
        self.write(self.text[:-1])
        self.check_refused('vm.json:1:')

    def test_64_empty(self):
        self.write('')
        self.check_refused('vm.json:1:1')

    def test_64_corrupt(self):
        self.write(self.text.replace('"attached"', '"detached"'))
        self.check_refused('unknown "detached"')

    def test_64_not_of_a_vm(self):
        """A file that no broker wrote is nobody's end."""
        for name in ('.json', 'json', 'a b.json', 'vm.text', f'{"a" * 65}.json'):
            with open(f'{self.daemon.runtime}/vm/{name}', 'w') as file:
                file.write('nothing')
        self.daemon.start()
        self.assertEqual(self.daemon.log().count('the state of a VM is refused'), 4)
        self.assertNotIn('unregister:', self.daemon.log())
        self.exchange(self.vmm, self.device)
        self.assertEqual(self.daemon.state(), ['other.json', 'vm.json'])

    def test_64_newer(self):
        self.write(self.text.replace('"version":1', '"version":2,"more":[]'))
        self.check_refused('version 2 is not known; this program reads version 1')

    def test_64_another_name(self):
        os.rename(self.file, f'{self.daemon.runtime}/vm/else.json')
        self.check_refused('else.json is of VM vm', ['unregister: vm else'])

    def test_64_a_copy(self):
        """It is refused, and whom it is a copy of goes on."""
        shutil.copy(self.file, f'{self.daemon.runtime}/vm/else.json')
        self.daemon.start()
        self.assertEqual(re.findall(r'detach: .*|unregister: vm \w+', self.daemon.log()), ['unregister: vm else'])
        self.assertEqual(self.vm_names(), ['other', 'vm'])
        self.exchange(self.vmm, self.device)
        self.assertEqual(self.daemon.state(), ['other.json', 'vm.json'])

    def test_64_no_file(self):
        os.unlink(self.file)
        self.check_refused('hung up on 2 others', [])

    def test_64_half_a_file(self):
        """That it was in the middle of means nothing."""
        with open(f'{self.daemon.runtime}/vm/.vm.json', 'w') as file:
            file.write(self.text[:100])
        self.daemon.start()
        self.assertEqual(self.vm_names(), ['other', 'vm'])
        self.exchange(self.vmm, self.device)
        self.assertEqual(self.daemon.state(), ['other.json', 'vm.json'])

    def test_another_lease(self):
        """The VM's descriptors are those of another one: both are in the store, neither is what it says."""
        state = json.loads(self.text)
        state['lease'] += 2
        self.write(json.dumps(state))
        self.check_refused('VM vm ends: what it lives by did not come back', [*DETACHED, *UNREGISTERED])

    def test_another_owner(self):
        state = json.loads(self.text)
        state['owner']['pid'] += 1
        self.write(json.dumps(state))
        self.check_refused('VM vm ends, as it is not as it was left: Stale file handle', [*DETACHED, *UNREGISTERED])

    def test_descriptors_of_nobody(self):
        ours, theirs = socket.socketpair()
        self.daemon.store += [('d77', theirs), ('strange', theirs.dup()), ('d2', theirs.dup())]
        self.daemon.start()
        self.exchange(self.vmm, self.device)
        self.assertEqual([name for name in self.daemon.names() if name in ('d77', 'strange')], [])
        ours.close()

    def test_a_device_without_its_descriptors(self):
        self.daemon.store = [(name, stored) for name, stored in self.daemon.store if name != 'd2']
        self.daemon.start()
        self.wait_for_state(self.device, 'failed')


if __name__ == '__main__':
    rig.main()
