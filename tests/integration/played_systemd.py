# SPDX-License-Identifier: LGPL-2.1-or-later
"""A systemd that a test plays on its bus: in any order, and with any nonsense."""

import jeepney
from jeepney import HeaderFields, MessageType

import actors
import rig
from privatebus import Connection

NAME, PATH = 'org.freedesktop.systemd1', '/org/freedesktop/systemd1'


def path_of_unit(unit):
    return PATH + '/unit/' + ''.join(c if c.isalnum() else f'_{ord(c):02x}' for c in unit)


class Systemd(Connection):
    """Says about units what the test wants, when it wants; and of processes at once which unit's they are."""

    ended = False

    def __init__(self, address):
        super().__init__(address)
        actors.puppets.add(self.dbus.sock)
        self.calls = []
        self.say_unit = self.say_real_unit
        self.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'RequestName', 'su', NAME, 0,
                  destination='org.freedesktop.DBus')

    def receive(self):
        message = super().receive()
        self.take(message)
        return message

    def pump(self):
        """Played like a VMM, while a test waits for the broker."""
        self.receive()
        while message := self.dbus.parser.get_next_message():
            self.take(message)

    def take(self, message):
        if message.header.message_type != MessageType.method_call:
            return
        if message.header.fields[HeaderFields.member] == 'GetUnitByPID':
            self.say_unit(message)
        else:
            self.calls.append(message)

    def say_real_unit(self, call):
        with open(f'/proc/{call.body[0]}/cgroup') as cgroup:
            units = [path.split('/')[-1] for path in cgroup.read().splitlines() if path.endswith('.service')]
        if units:
            self.dbus.send(jeepney.new_method_return(call, 'o', (path_of_unit(units[0]),)))
        else:
            self.dbus.send(jeepney.new_error(call, f'{NAME}.NoUnitForPID', 's', ('none',)))

    def next_call(self, member):
        while not self.calls:
            self.receive()
        call = self.calls.pop(0)
        assert call.header.fields[HeaderFields.member] == member, call
        return call

    def subscribe(self):
        self.dbus.send(jeepney.new_method_return(self.next_call('Subscribe')))

    def question(self):
        """The names of the units that the broker asks about."""
        self.asked = self.next_call('ListUnitsByNames')
        return self.asked.body[0]

    def answer(self, states):
        """The broker has taken it in when this returns."""
        units = [(name, '', 'loaded', active, sub, '', '/', job, '', '/') for name, (active, sub, job) in states.items()]
        self.dbus.send(jeepney.new_method_return(self.asked, 'a(ssssssouso)', (units,)))
        self.settle()

    def change(self, unit):
        """A signal that something changed; it says no more."""
        address = jeepney.DBusAddress(path_of_unit(unit), interface='org.freedesktop.DBus.Properties')
        self.dbus.send(jeepney.new_signal(address, 'PropertiesChanged', 'sa{sv}as',
                                          (f'{NAME}.Unit', {}, ['ActiveState'])))
        self.settle()

    def settle(self):
        self.call(rig.ROOT, 'org.freedesktop.DBus.Peer', 'Ping')
