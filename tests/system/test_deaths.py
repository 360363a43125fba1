# SPDX-License-Identifier: LGPL-2.1-or-later
"""A device is killed, over and over, while a guest on KVM uses it as fast as it goes; for container.py."""

import json
import os
import random
import signal
import time

import guest
import host
import tap
from host import POLICY, say, write

KILLS, FEWER_KILLS = 100, 30


def setUpModule():
    host.set_up()
    guest.plant_seed()
    guest.add_template()
    write(f'{POLICY}/30-registers.json', json.dumps({'version': 1, 'devices': [guest.RULE]}))


class Deaths(host.Case):
    def setUp(self):
        if not guest.has_kvm():
            self.skipTest('no /dev/kvm')

    def load(self, vm, unit):
        load = guest.Guest(self.addCleanup, 'keeps', vm, unit)
        self.assertEqual(load.look()[1:], (0, 0, 0))
        return load

    def kills(self, load, number):
        """Kill the device at any moment; yield what the guest has seen when it goes on with the next one."""
        for i in range(number):
            time.sleep(random.uniform(0, .02))  # what is tested is that it may be at any moment
            os.kill(int(say(load.unit, 'MainPID')), signal.SIGKILL)
            seen = load.look()
            yield seen, f'kill {i}: {seen}'
        self.assertEqual(say(load.unit, 'NRestarts'), str(number))

    def lose_nothing(self, load, number):
        begin, rounds = time.monotonic(), 0
        for seen, what in self.kills(load, number):
            self.assertEqual(seen[1:], (0, 0, 0), what)
            rounds += seen.rounds
        print(f'# {number} kills in {time.monotonic() - begin:.1f} s, {rounds} rounds')

    def test_47_replay(self):
        """What the dead device left unanswered, the next one is told again: nothing is lost, nothing wrong."""
        unit = guest.add_device('replay', **{'on-disconnect': 'hold', 'require': ['replay']})
        self.lose_nothing(self.load('replay', unit), KILLS)

    def test_47_replay_to_who_attaches_itself(self):
        unit = guest.add_device_that_attaches_itself('own')
        self.lose_nothing(self.load('own', unit), FEWER_KILLS)

    def test_47_without_replay(self):
        """The one access left unanswered is all ones, or a write that went nowhere; no other is."""
        unit = guest.add_device('plain', **{'on-disconnect': 'hold'})
        load, lost = self.load('plain', unit), 0
        for seen, what in self.kills(load, FEWER_KILLS):
            self.assertLessEqual(seen.ones + seen.before, 1, what)
            self.assertEqual(seen.others, 0, what)
            lost += seen.ones + seen.before
        self.assertGreater(lost, 0, 'so nobody needs replay')
        print(f'# {FEWER_KILLS} kills, {lost} accesses lost')

    def test_47_ones(self):
        """Until the unit's next start it is all ones, and the guest goes on; then everything is right again."""
        unit = guest.add_device('ones', **{'on-disconnect': 'ones'})
        load, ones = self.load('ones', unit), 0
        for i in range(FEWER_KILLS):
            os.kill(int(say(unit, 'MainPID')), signal.SIGKILL)
            self.wait(lambda i=i: (say(unit, 'NRestarts'), say(unit, 'ActiveState')) == (str(i + 1), 'active'))
            seen = load.look()
            # the device may come back in the middle of a round: what was written before went nowhere
            self.assertLessEqual(seen.before + seen.others, 1, f'kill {i}: {seen}')
            self.assertEqual(load.look()[1:], (0, 0, 0), f'after kill {i}')
            ones += seen.ones
        self.assertGreater(ones, FEWER_KILLS, 'so nobody noticed')
        print(f'# {FEWER_KILLS} kills, {ones} times all ones')


if __name__ == '__main__':
    tap.main()
