# SPDX-License-Identifier: LGPL-2.1-or-later
"""52: the broker is killed at every step of every transaction; then all or nothing of it is there, and nothing leaks."""

import contextlib
import select
import signal

import rig
import service
from privatebus import BusError
from rig import region

BASE = 0xd0000000
KILLED = 99  # as killed-at.c says
PRELOAD = {'LD_PRELOAD': f'{rig.BUILD}/tests/integration/killed-at.so',
           'ASAN_OPTIONS': 'verify_asan_link_order=0'}
ENOUGH = 500  # steps; no transaction has as many


def has_ended(sock):
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


class Kills(service.Case):
    def each_step(self, prepare, transact, check):
        """Ends once a transaction goes through without meeting its end."""
        for self.step in range(1, ENOUGH):
            what = prepare()
            self.restart(KILL_AT=str(self.step), **PRELOAD)
            result = None
            with contextlib.suppress(BusError):
                result = transact(what)
            status = self.daemon.end()
            self.daemon.start()
            check(what, result)
            if status == -signal.SIGKILL:
                self.assertGreater(self.step, 5, 'there was something to die of')
                return
            self.assertEqual(status, KILLED, self.daemon.log())
        self.fail('it never got through')

    def nothing_is_left(self, *names, regions=0):
        self.wait_until(lambda: self.vmm.regions is None or len(self.vmm.regions) == regions)
        self.wait_until(lambda: self.daemon.names() == sorted(names))
        self.assertEqual(self.daemon.state(), ['vm.json'])

    def start_with_vm(self):
        self.vmm = self.register()
        self.vm_name, = self.daemon.names()

    def test_52_attach(self):
        self.start_with_vm()

        def check(_, device):
            if device:
                self.exchange(self.vmm, device, BASE)
                self.exchange(self.vmm, device, BASE + 0x1000)
                device.close()
            self.nothing_is_left(self.vm_name)

        self.each_step(lambda: None, lambda _: self.attach(
            regions=[region('mmio', BASE, 0x100, 1), region('mmio', BASE + 0x1000, 0x100, 2)],
            on_disconnect='remove'), check)

    def test_52_resume(self):
        self.start_with_vm()

        def prepare():
            device = self.attach(on_disconnect='hold')
            device.close()
            self.wait_for_state(device, 'held')

        def check(_, device):
            if device:
                self.assertEqual(self.state(device.path), 'attached')
                device.close()
            again = self.attach(on_disconnect='hold')
            self.exchange(self.vmm, again)
            again.release()
            self.nothing_is_left(self.vm_name)
            again.close()

        self.each_step(prepare, lambda _: self.attach(on_disconnect='hold'), check)

    def detach(self, device):
        self.call(device.path, 'org.ioregion1.Device', 'Detach')

    def check_ended(self, device, _):
        """It was told to, or nobody was told that it was: then the next try does it."""
        device.close()
        if self.state(device.path):
            self.detach(device)
        self.nothing_is_left(self.vm_name)

    def test_52_detach(self):
        self.start_with_vm()
        self.each_step(lambda: self.attach(on_disconnect='hold'), self.detach, self.check_ended)

    def test_52_release(self):
        self.start_with_vm()

        def release(device):
            device.release()
            while self.state(device.path):  # until it is gone, or the daemon
                pass

        def check(device, _):
            self.wait_until(lambda: self.state(device.path) is None)
            device.close()
            self.nothing_is_left(self.vm_name)

        self.each_step(lambda: self.attach(on_disconnect='hold'), release, check)

    def test_52_register(self):
        def check(_, vmm):
            if vmm:
                device = self.attach()
                self.exchange(vmm, device)
                vmm.close()
                self.vmms.remove(vmm)
                device.close()
            self.wait_until(lambda: not self.vm_names())
            self.wait_until(lambda: (self.daemon.names(), self.daemon.state()) == ([], []))

        self.each_step(lambda: None, lambda _: self.register(), check)

    def test_52_end_of_a_vm(self):
        def prepare():
            vmm = self.register()
            return vmm, [self.attach(name=f'd{i}', regions=[region('mmio', BASE + 0x1000 * i, 1)], on_disconnect='hold')
                         for i in range(2)]

        def end(what):
            vmm, _ = what
            vmm.close()
            self.vmms.remove(vmm)
            while self.vm_names():  # until it is gone, or the daemon
                pass

        def check(what, _):
            self.wait_until(lambda: not self.vm_names())
            self.wait_until(lambda: (self.daemon.names(), self.daemon.state()) == ([], []))
            for device in what[1]:
                while device.lease.recv(100):  # a REVOKE, or not, and the end
                    pass
                device.close()

        self.each_step(prepare, end, check)

    def test_52_restore(self):
        """Of what is not in use yet nothing is lost: the process after it goes on in its place."""
        self.start_with_vm()
        device = self.attach(on_disconnect='hold')
        before, names = self.everything(), self.daemon.names()
        for step in range(1, ENOUGH):
            self.daemon.end()
            self.daemon.launch(KILL_AT=str(step), KILL_EARLY='1', **PRELOAD)
            if self.daemon.wait_for(b'READY=1'):
                break
            self.assertEqual(self.daemon.wait(), KILLED, self.daemon.log())
            self.daemon.start()
            self.assertEqual((self.everything(), self.daemon.names()), (before, names))
            self.assertEqual(self.daemon.state(), ['vm.json'])
            self.exchange(self.vmm, device)
        self.assertGreater(step, 20, 'there was something to die of')
        self.restart()  # that one would die yet
        self.assertEqual((self.everything(), self.daemon.names()), (before, names))

    def test_52_64_refused_state(self):
        """The descriptors that it was about are closed in order: at no step is the VM gone and a device is not."""
        self.start_with_vm()
        devices = [self.attach(name=f'd{i}', regions=[region('mmio', BASE + 0x1000 * i, 1)]) for i in range(2)]
        parts = [device.lease for device in devices]
        if rig.DISPATCH == 'vmm':  # else channels are the module's, and end with its handle
            parts += [device.channels[0] for device in devices]
        self.daemon.end()
        with open(f'{self.daemon.runtime}/vm/vm.json', 'r+') as file:
            file.truncate(100)
        seen = []
        for step in range(1, ENOUGH):
            self.daemon.launch(KILL_AT=str(step), KILL_EARLY='1', **PRELOAD)
            if self.daemon.wait_for(b'READY=1'):
                break
            self.assertEqual(self.daemon.wait(), KILLED, self.daemon.log())
            seen.append((sum(map(has_ended, parts)), has_ended(self.vmm.lease)))
        self.assertEqual(seen[0], (0, False))
        self.assertEqual([n for n, vm_ended in seen if vm_ended and n < len(parts)], [])
        self.assertIn((len(parts), False), seen, 'it was seen in between')
        self.restart()  # that one would die yet
        self.assertEqual((has_ended(self.vmm.lease), self.daemon.names(), self.daemon.state()), (True, [], []))

    def test_52_reload(self):
        self.start_with_vm()
        device = self.attach()
        generations = []

        def check(before, _):
            after = self.properties(rig.ROOT, rig.MANAGER)['PolicyGeneration']
            self.assertIn(after - before, (0, 1))
            self.exchange(self.vmm, device)
            generations.append(after)

        self.each_step(lambda: self.properties(rig.ROOT, rig.MANAGER)['PolicyGeneration'],
                       lambda _: self.manager('Reload'), check)
        self.assertEqual(generations, sorted(generations))


if __name__ == '__main__':
    rig.main()
