# SPDX-License-Identifier: LGPL-2.1-or-later
"""58: memory is refused to the daemon, once, at each place that no-memory.c knows; each call has its answer, and
nothing is left."""

import time

import rig
import service
from privatebus import LIMIT, BusError, Connection
from rig import path_of, region

PRELOAD = {'LD_PRELOAD': f'{rig.BUILD}/tests/integration/no-memory.so', 'ASAN_OPTIONS': 'verify_asan_link_order=0'}
ENOUGH = 500  # times; a call asks for less
DEVICE = path_of('vm', 'dev')


class Memory(service.Case):
    def setUp(self):
        super().setUp()
        self.register()
        self.first = self.attach(on_disconnect='hold')
        self.kept = self.daemon.names()

    def look_until(self, condition):
        """The signal that would tell of it may be what there was no memory for."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.daemon.log())

    def each_time(self, call, clean=lambda: None):
        """What the call comes to once nothing is refused."""
        for nth in range(1, ENOUGH):
            self.restart(FAIL_AT=str(nth), **PRELOAD)
            log, fds = len(self.daemon.log()), self.daemon.fds()
            try:
                call()
                words = 'granted'
            except BusError as error:
                words = error.name.split('.')[-1]
            self.assertNotIn(words, ('NoReply', 'Disconnected'))
            clean()
            if 'no memory\n' not in self.daemon.log()[log:]:
                self.assertGreater(nth, 1, 'there was something to refuse')
                return words
            self.look_until(lambda: self.daemon.fds() <= fds and self.vm_names() == ['vm'])
            self.assertEqual(self.daemon.names(), self.kept)
        return self.fail('it never got through')

    def forget_vms(self):
        for vmm in self.vmms[1:]:
            vmm.close()
            self.vmms.remove(vmm)

    def test_58_register(self):
        self.assertEqual(self.each_time(lambda: self.register('other'), self.forget_vms), 'granted')

    def test_58_attach(self):
        def attach():
            self.attach(name='other', regions=[region('mmio', 0xd1000000, 1)], on_disconnect='remove').close()

        other = path_of('vm', 'other')
        self.assertEqual(self.each_time(attach, lambda: self.look_until(lambda: not self.state(other))), 'granted')

    def test_58_refused(self):
        self.assertEqual(self.each_time(lambda: self.attach(name='other')), 'RegionOverlap')

    def test_58_refused_to_others(self):
        def detach():
            connection = Connection(self.bus.address)
            self.addCleanup(connection.close)
            connection.call(DEVICE, 'org.ioregion1.Device', 'Detach', wait=self.play_vmms)

        self.write_policy({**rig.POLICY, 'operators': [{'name': 'others', 'match': {'user': rig.OTHER_USER}}]})
        self.manager('Reload')
        self.assertEqual(self.each_time(detach), 'PolicyDenied')

    def test_58_lists(self):
        for member in 'ListVMs', 'ListDevices', 'ListRegions':
            self.assertEqual(self.each_time(lambda: self.manager(member)), 'granted')

    def test_58_objects(self):
        self.assertEqual(self.each_time(lambda: self.call(rig.ROOT, 'org.freedesktop.DBus.ObjectManager',
                                                          'GetManagedObjects')), 'granted')

    def test_58_statistics(self):
        self.assertEqual(self.each_time(lambda: self.call(path_of('vm', 'dev', 0), 'org.ioregion1.Region',
                                                          'GetStatistics')), 'granted')

    def test_58_explain(self):
        self.assertEqual(self.each_time(lambda: self.explain('attach', vm='vm', device='x')), 'granted')


if __name__ == '__main__':
    rig.main()
