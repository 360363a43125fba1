# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which ranges of addresses can be had. The numbers are those of the list of edge cases."""

import rig
from rig import region

TOP = 2**64
EVERYTHING = {'version': 1,
              'vmms': [{'name': 'guests', 'match': {'user': rig.VMM_USER}, 'vms': ['*'], 'dispatch': ['kernel', 'vmm'],
                        'features': []}],
              'devices': [{'name': 'all', 'match': {'user': rig.DEVICE_USER}, 'vms': ['*'],
                           'regions': [{'space': 'mmio', 'within': ['0', '0xffffffffffffffff']},
                                       {'space': 'pio', 'within': ['0', '0xffff']}],
                           'features': [], 'timeout': '1s', 'on-disconnect': ['ones']}],
              'operators': [{'name': 'root', 'match': {'user': 'root'}}],
              'limits': {'regions-per-vm': 8, 'devices-per-unit': 64}}


class Ranges(rig.Case):
    policy = EVERYTHING

    def setUp(self):
        super().setUp()
        self.vmm = self.register(reserve=[('mmio', 0xe0000000, 0x1000), ('pio', 0x60, 1)])

    def attach_one(self, *range, **options):
        """One more device, with this range."""
        self.devices = getattr(self, 'devices', 0) + 1
        return self.attach(name=f'd{self.devices}', regions=[region(*range)], **options)

    def overlap(self, first, second):
        device = self.attach_one(*first)
        with self.refused('RegionOverlap', device.path.rsplit('/', 1)[1]):
            self.attach_one(*second)
        self.assertEqual(len(self.manager('ListDevices')[0]), 1)
        self.assertEqual(len(self.vmm.regions), 1)

    def test_01_identical_bytes(self):
        self.overlap(('mmio', 0x1000, 1), ('mmio', 0x1000, 1))

    def test_02_last_byte(self):
        self.overlap(('mmio', 0x1000, 0x10), ('mmio', 0x100f, 1))

    def test_02_first_byte(self):
        self.overlap(('mmio', 0x1000, 0x10), ('mmio', 0xff1, 0x10))

    def test_03_adjacent_regions_pass(self):
        for base in (0x1000, 0x1010, 0xff0):
            self.attach_one('mmio', base, 0x10)
        self.assertEqual(len(self.vmm.regions), 3)

    def test_04_contained(self):
        self.overlap(('mmio', 0x1000, 0x100), ('mmio', 0x1010, 0x10))

    def test_04_containing(self):
        self.overlap(('mmio', 0x1010, 0x10), ('mmio', 0x1000, 0x100))

    def test_04_among_ones_own(self):
        with self.refused('RegionOverlap'):
            self.attach(regions=[region('pio', 0x100, 8, 1), region('pio', 0x107, 8, 2)])

    def test_05_same_number_in_both_spaces_passes(self):
        self.attach_one('mmio', 0x3f8, 8)
        self.attach_one('pio', 0x3f8, 8)

    def test_07_region_ending_at_the_top(self):
        self.attach_one('mmio', TOP - 8, 8)
        with self.refused('RegionOverlap'):
            self.attach_one('mmio', TOP - 1, 1)

    def test_08_large_sizes(self):
        if rig.DISPATCH == 'kernel':  # KVM's buses keep sizes in an int
            self.attach_one('mmio', 0x100000000, 2**31 - 1)
            for size in (2**31, 2**32):
                with self.assertRaises(rig.BusError):
                    self.attach_one('mmio', 0x200000000, size)
            self.assertEqual([region.size for region in self.vmm.regions.values()], [2**31 - 1])
            return
        self.attach_one('mmio', 0x100000000, 2**31)
        self.attach_one('mmio', 0x200000000, 2**32)
        self.assertEqual(sorted(region.size for region in self.vmm.regions.values()), [2**31, 2**32])
        with self.refused('RegionOverlap'):
            self.attach_one('mmio', 0x2ffffffff, 1)

    def test_09_port_beyond_the_last(self):
        for base, size in ((0x10000, 1), (0xffff, 2), (0, 0x10001), (TOP - 1, 1)):
            with self.subTest(base=base, size=size), self.refused('InvalidRegion'):
                self.attach_one('pio', base, size)
        self.attach_one('pio', 0xffff, 1)

    def test_10_empty(self):
        with self.refused('InvalidRegion'):
            self.attach_one('mmio', 0x1000, 0)
        with self.refused('InvalidRegion'):
            self.register('other', reserve=[('mmio', 0x1000, 0)])

    def test_11_overflow(self):
        for base, size in ((TOP - 1, 2), (1, TOP - 1), (TOP - 1, TOP - 1)):
            with self.subTest(base=base, size=size):
                if base + size <= TOP:
                    continue
                with self.refused('InvalidRegion'):
                    self.attach_one('mmio', base, size)
                with self.refused('InvalidRegion'):
                    self.register('other', reserve=[('mmio', base, size)])

    def test_12_unknown_space_and_flag(self):
        with self.refused('InvalidRegion', 'config'):
            self.attach_one('config', 0, 1)
        with self.refused('org.freedesktop.DBus.Error.InvalidArgs', 'shiny'):
            self.attach(regions=[('mmio', 0x1000, 1, 1, {'shiny': ('b', True)})])
        with self.refused('InvalidRegion', 'other'):
            self.register('other', reserve=[('other', 0, 1)])

    def test_14_what_the_vmm_reserves(self):
        for space, base, size in (('mmio', 0xe0000000, 1), ('mmio', 0xe0000fff, 2), ('pio', 0x60, 1)):
            with self.subTest(base=base), self.refused('RegionOverlap'):
                self.attach_one(space, base, size)
        self.attach_one('mmio', 0xe0001000, 1)

    def test_15_no_room_half_way(self):
        self.attach(regions=[region('pio', 0x100 + number, 1, number) for number in range(5)])
        with self.refused('QuotaExceeded', '8'):
            self.attach(name='more', regions=[region('pio', 0x200 + number, 1, number) for number in range(4)])
        self.assertEqual(len(self.vmm.regions), 5)
        self.attach(name='fits', regions=[region('pio', 0x200 + number, 1, number) for number in range(3)])

    def test_15_the_dispatcher_fails_half_way(self):
        device = self.attach(regions=[region('pio', 0x100, 1)])
        answers = [0, 12, 0, 0]
        obey, self.vmm._obey = self.vmm._obey, lambda message: answers.pop(0) if answers else obey(message)
        with self.assertRaises(rig.BusError):
            self.attach(name='more', regions=[region('pio', 0x200 + number, 1, number) for number in range(4)])
        self.assertEqual([message.type for message in self.vmm.seen[1:]].count(rig.Type.REGION_ADD), 4)
        self.assertIsNone(self.state(rig.path_of('vm', 'more')))
        self.assertEqual(self.state(device.path), 'attached')
        self.vmm._obey = obey
        self.attach(name='more', regions=[region('pio', 0x200 + number, 1, number) for number in range(4)])

    def test_no_regions_and_the_tokens_of_regions(self):
        with self.refused('InvalidRegion'):
            self.attach(regions=[])
        with self.refused('InvalidRegion'):
            self.attach(regions=[region('pio', 1, 1, 5), region('pio', 2, 1, 5)])

    def test_channel_that_was_not_asked_for(self):
        with self.refused('InvalidRegion'):
            self.attach(regions=[region('pio', 1, 1, channel=1)])

    def test_posted_needs_its_feature(self):
        with self.refused('InvalidRegion', 'posted'):
            self.attach(regions=[region('pio', 1, 1, posted=True)])

    def test_range_is_free_again(self):
        for _ in range(2):
            self.attach_one('mmio', 0x1000, 1).release()
            self.wait_until(lambda: not self.vmm.regions)


if __name__ == '__main__':
    rig.main()
