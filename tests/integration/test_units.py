# SPDX-License-Identifier: LGPL-2.1-or-later
"""The watch over units, with a systemd that the test plays: in any order, and with any nonsense.

An actor ends after its request and leaves the lease open, as a process does whose unit keeps descriptors for it.
"""

import unittest

import jeepney
from jeepney import HeaderFields, MessageType

import actors
import rig
from played_systemd import NAME, PATH, Systemd
from rig import UNIT, region

ONE, OTHER = UNIT.format('vm'), UNIT.format('vm:other')
LIVES, INACTIVE, FAILED = ('active', 'running', 0), ('inactive', 'dead', 0), ('failed', 'failed', 0)
RESTARTS, ON_THE_WAY = ('activating', 'auto-restart', 0), ('inactive', 'dead', 7)


@unittest.skipUnless(actors.units_can_be_played(), 'units can not be played here')
class Units(rig.Case):
    def setUp(self):
        super().setUp()
        self.register()
        self.systemd = None

    def start_systemd(self):
        self.systemd = Systemd(self.bus.address)
        self.addCleanup(self.systemd.close)
        self.systemd.subscribe()
        self.vmms.append(self.systemd)  # it's played like one

    def attach_device(self, name='dev', unit=ONE, base=0xd0000000, **keywords):
        return self.attach(name=name, unit=unit, regions=[region('mmio', base, 16)], **keywords)

    def hear(self, *units):
        self.assertEqual(sorted(self.systemd.question()), sorted(units))

    def test_a_restart_and_an_end(self):
        self.start_systemd()
        device = self.attach_device(on_disconnect='hold')
        self.hear(ONE)
        self.systemd.answer({ONE: RESTARTS})
        self.assertEqual(self.state(device.path), 'held')
        self.systemd.change(ONE)
        self.hear(ONE)
        self.systemd.answer({ONE: ON_THE_WAY})
        self.assertEqual(self.state(device.path), 'held')
        device = self.attach_device(on_disconnect='hold')
        self.hear(ONE)
        self.systemd.answer({ONE: LIVES})
        self.assertEqual(self.state(device.path), 'attached')
        self.systemd.change(ONE)
        self.hear(ONE)
        self.systemd.answer({ONE: FAILED})
        self.assertEqual(self.state(device.path), None)

    def test_old_news(self):
        """A question from before an attach has an answer about the process before."""
        for news in (INACTIVE, RESTARTS):
            with self.subTest(news=news):
                self.systemd or self.start_systemd()
                first = self.attach_device(on_disconnect='hold')
                self.hear(ONE)
                second = self.attach_device('second', base=0xd1000000)
                self.systemd.answer({ONE: news})
                self.assertEqual([self.state(device.path) for device in (first, second)], ['attached'] * 2)
                self.hear(ONE)
                self.systemd.answer({ONE: INACTIVE})
                self.assertEqual([self.state(device.path) for device in (first, second)], [None] * 2)

    def test_one_question_at_a_time(self):
        self.start_systemd()
        one = self.attach_device()
        self.hear(ONE)
        other = self.attach_device('other', OTHER, 0xd1000000)
        self.systemd.change(ONE)
        self.systemd.change(ONE)
        self.systemd.answer({ONE: LIVES})
        self.hear(ONE, OTHER)
        self.systemd.answer({ONE: LIVES, OTHER: INACTIVE, 'strange.service': INACTIVE})
        self.assertEqual([self.state(device.path) for device in (one, other)], ['attached', None])
        self.systemd.change(OTHER)  # nobody's any more
        self.systemd.change('strange.service')
        self.systemd.change(ONE)
        self.hear(ONE)
        self.assertEqual(self.systemd.calls, [])

    def test_a_signal_is_not_believed(self):
        self.start_systemd()
        device = self.attach_device()
        self.hear(ONE)
        self.systemd.answer({ONE: LIVES})
        forger = self.connection
        forger.dbus.send(jeepney.Message(jeepney.Header(
            jeepney.Endianness.little, MessageType.signal, jeepney.MessageFlag(0), 1, 0, 0,
            {HeaderFields.path: f'{PATH}/unit/rig_2duart_40vm_2eservice', HeaderFields.member: 'PropertiesChanged',
             HeaderFields.interface: 'org.freedesktop.DBus.Properties', HeaderFields.destination: 'org.ioregion1',
             HeaderFields.signature: 'sa{sv}as'}),
            (f'{NAME}.Unit', {'ActiveState': ('s', 'failed'), 'SubState': ('s', 'failed')}, [])))
        self.hear(ONE)
        self.assertEqual(self.state(device.path), 'attached')

    def test_65_systemd_comes_later_and_comes_again(self):
        device = self.attach_device()
        self.start_systemd()
        self.hear(ONE)
        self.systemd.close()
        self.start_systemd()
        self.hear(ONE)
        self.systemd.answer({ONE: INACTIVE})
        self.assertEqual(self.state(device.path), None)

    def test_errors_and_nonsense_change_nothing(self):
        self.start_systemd()
        device = self.attach_device()
        for answer in (lambda call: jeepney.new_error(call, f'{NAME}.Failed', 's', ('no',)),
                       lambda call: jeepney.new_method_return(call, 's', ('inactive',))):
            self.hear(ONE)
            self.systemd.dbus.send(answer(self.systemd.asked))
            self.systemd.settle()
            self.assertEqual(self.state(device.path), 'attached')
            self.systemd.change(ONE)
        self.hear(ONE)
        self.systemd.answer({ONE: INACTIVE})
        self.assertEqual(self.state(device.path), None)

    def test_a_question_that_failed_is_asked_again(self):
        """With the next one: what happened to the units that it was about is still to be known."""
        self.start_systemd()
        one = self.attach_device()
        self.hear(ONE)
        other = self.attach_device('other', OTHER, 0xd1000000)
        self.systemd.dbus.send(jeepney.new_error(self.systemd.asked, f'{NAME}.Failed', 's', ('no',)))
        self.systemd.settle()
        self.systemd.change(OTHER)
        self.hear(ONE, OTHER)
        self.systemd.answer({ONE: INACTIVE, OTHER: LIVES})
        self.assertEqual([self.state(device.path) for device in (one, other)], [None, 'attached'])


if __name__ == '__main__':
    rig.main()
