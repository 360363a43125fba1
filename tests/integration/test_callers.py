# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which unit a caller runs in, as a systemd says that the test plays, or as its cgroup does where there is none."""

import os
import signal

import jeepney

import actors
import privatebus
import rig
from attacks import VICTIM, Attack, Victims
from daemon import USER
from played_systemd import NAME, PATH, Systemd, path_of_unit
from privatebus import LIMIT, Connection
from rig import region

class Case(rig.Case):
    def start_systemd(self, say_unit=None):
        self.systemd = Systemd(self.bus.address)
        self.addCleanup(self.systemd.close)
        self.systemd.say_unit = say_unit or self.systemd.say_unit
        self.vmms.append(self.systemd)  # it's played like one

    def says(self, unit):
        """A systemd that says this of everybody."""
        self.start_systemd(lambda call: self.systemd.dbus.send(
            jeepney.new_method_return(call, 'o', (path_of_unit(unit),))))

    def fails(self, error, text):
        self.start_systemd(lambda call: self.systemd.dbus.send(jeepney.new_error(call, error, 's', (text,))))

    def attach_as_stranger(self):
        """To whom policy allows nothing but for his unit."""
        return self.attach(user=rig.STRANGER)

    def unit_of(self, device):
        return self.properties(device.path, 'org.ioregion1.Device')['Unit']


class Answers(Victims, Case):
    def setUp(self):
        super().setUp()
        self.register()
        self.address, self.broker, self.stranger = self.bus.address, self.daemon.pid, rig.STRANGER

    def test_its_word_counts(self):
        self.says(VICTIM)
        self.assertEqual(self.unit_of(self.attach_as_stranger()), VICTIM)

    def test_its_word_counts_more_than_the_cgroup(self):
        if not actors.units_can_be_played():
            self.skipTest('units can not be played here')
        self.fails(f'{NAME}.NoUnitForPID', 'none')
        with self.refused('PolicyDenied', 'without a unit'):
            self.attach(user=rig.STRANGER, unit=VICTIM)

    def test_a_slice_is_no_unit(self):
        self.says('rig-uart@vm.slice')
        with self.refused('PolicyDenied', 'without a unit'):
            self.attach_as_stranger()

    def test_nonsense(self):
        for signature, answer in (('s', VICTIM), ('o', '/'), ('o', '/org/freedesktop/systemd1/job/1'), ('', None),
                                  ('o', f'{PATH}/unit/_'), ('o', path_of_unit('a\nb.service')),
                                  ('o', path_of_unit('a' * 300))):
            with self.subTest(answer):
                self.start_systemd(lambda call: self.systemd.dbus.send(
                    jeepney.new_method_return(call, signature, (answer,) if signature else ())))
                with self.refused('Busy', 'nonsense'):
                    self.attach(user=rig.DEVICE_USER)
                self.systemd.close()

    def test_errors(self):
        for error in (f'{NAME}.Failed', 'org.freedesktop.DBus.Error.AccessDenied'):
            with self.subTest(error):
                self.fails(error, 'too tired')
                with self.refused('Busy', 'too tired'):
                    self.attach(user=rig.DEVICE_USER)
                self.systemd.close()

    def test_no_answer(self):
        before = self.daemon.fds()
        self.start_systemd(lambda call: None)
        with self.refused('Busy', 'no answer within 1 s'):
            self.attach(user=rig.DEVICE_USER)
        self.assertEqual(self.daemon.fds(), before)
        self.systemd.say_unit = self.systemd.say_real_unit
        self.attach(user=rig.DEVICE_USER)

    def test_65_it_goes_meanwhile_and_comes_back(self):
        self.start_systemd(lambda call: self.systemd.close())
        with self.refused('Busy', 'does not say'):
            self.attach(user=rig.DEVICE_USER)
        self.attach(user=rig.DEVICE_USER)  # there is none
        self.says(VICTIM)
        self.assertEqual(self.unit_of(self.attach(name='other', user=rig.STRANGER, regions=[region('pio', 0x200, 1)])),
                         VICTIM)

    def test_65_the_bus_goes_meanwhile(self):
        before = self.daemon.fds()
        asked = []
        self.start_systemd(asked.append)
        request = self.request_attach('vm', 'dev', [region('mmio', 0xd0000000, 16)])
        lease = request.receive_lease()
        while not asked:
            self.systemd.receive()
        os.kill(request.pid, signal.SIGSTOP)  # it has nothing to say about the rest
        self.connection.close()
        self.systemd.close()
        self.bus.close()
        lease.settimeout(LIMIT)
        while lease.recv(256):  # a challenge, and no GRANT
            pass
        request.kill()
        self.bus = privatebus.BUSES[rig.BUS](self.directory)
        self.addCleanup(self.bus.close)
        self.connection = Connection(self.bus.address)
        self.addCleanup(self.connection.close)
        self.connection.wait_for_name('org.ioregion1')
        self.assertEqual(self.manager('ListDevices')[0], [])
        self.assertEqual(self.daemon.fds(), before)
        self.attach()

    def test_53_pid_reused_between_question_and_answer(self):
        """systemd looks when the pid is the victim's."""
        if not actors.units_can_be_played():
            self.skipTest('units can not be played here')
        asked = []
        self.start_systemd(asked.append)
        attack = Attack(self.address, self.stranger)
        connection, lease = attack.take_over()
        attack.say(b'.')
        self.assertEqual(attack.hear(), b'called')
        attack.say(b'prove')
        self.assertEqual(attack.hear(), b'proven')
        while not asked:
            self.systemd.receive()
        attack.end()
        with self.victim_as(attack.pid):
            self.systemd.say_real_unit(*asked)
            self.expect_refusal_on(connection)


class Hidden(Case):
    """The daemon sees no process but its own, as ProtectProc=invisible has it."""

    def start_daemon(self, *arguments, **keywords):
        self.need_mounts()
        super().start_daemon('--user', USER or rig.DAEMON_USER, *arguments, wrapper=rig.HIDDEN_PROCESSES, **keywords)

    def setUp(self):
        super().setUp()
        self.start_systemd()
        self.register()

    def test_systemd_says_it(self):
        if not actors.units_can_be_played():
            self.skipTest('units can not be played here')
        self.assertEqual(self.unit_of(self.attach(user=rig.STRANGER, unit=VICTIM)), VICTIM)

    def test_nobody_says_it(self):
        """Which is not to be taken for none."""
        self.systemd.close()
        with self.refused('Busy', '/proc does not show'):
            self.attach(user=rig.DEVICE_USER)
        self.start_systemd()
        self.attach(user=rig.DEVICE_USER)


if __name__ == '__main__':
    rig.main()
