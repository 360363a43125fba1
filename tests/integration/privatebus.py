# SPDX-License-Identifier: LGPL-2.1-or-later
"""Message buses of a test's own, made like the system bus, and a plain blocking client of them."""

import collections
import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import time

import jeepney
import jeepney.auth
import jeepney.io.blocking

LIMIT = 20  # seconds; nothing here takes longer unless it is broken

CONFIG = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow own="org.ioregion1"/>
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.ioregion1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
  </policy>
</busconfig>
'''


def die_with_the_test():
    """For children: when the test itself is killed, for its time limit, nothing of it stays."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class DBusDaemon:
    """The reference implementation."""

    def __init__(self, directory):
        self.path = path = f'{directory}/bus'
        with open(f'{directory}/bus.conf', 'w') as config:
            config.write(CONFIG.format(socket=path))
        self.process = subprocess.Popen(['dbus-daemon', '--nofork', '--nopidfile', '--print-address',
                                         f'--config-file={directory}/bus.conf'], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, preexec_fn=die_with_the_test)
        self.address = f'unix:path={path}'
        if not select.select([self.process.stdout], [], [], LIMIT)[0] or not self.process.stdout.readline():
            raise RuntimeError('dbus-daemon does not start')

    def close(self):
        self.process.terminate()
        self.process.wait(LIMIT)
        self.process.stdout.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


# What dbus-broker is told to allow, in its controller's terms: connecting, owning, sending, receiving; for all.
_BATCH = 'bta(btbs)a(btssssuutt)a(btssssuutt)'
_POLICY_TYPE = f'(a(u({_BATCH}))a(buu({_BATCH}))a(ss)bs)'
_MESSAGES = (True, 1, '', '', '', '', 0, 0, 0, 2**64 - 1)
_POLICY = ([(2**32 - 1, (True, 1, [(True, 1, True, '')], [_MESSAGES], [_MESSAGES]))], [], [], False, '')


class DBusBroker:
    """dbus-broker without its launcher, which wants systemd: this is the controller."""

    def __init__(self, directory):
        self.path = path = f'{directory}/bus'
        self.address = f'unix:path={path}'
        ours, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            os.chmod(path, 0o666)
            listener.listen(64)
            listener.setblocking(False)
            self.process = subprocess.Popen(['dbus-broker', '--controller', str(theirs.fileno()), '--machine-id',
                                             '0123456789abcdef0123456789abcdef'], pass_fds=[theirs.fileno()],
                                            preexec_fn=die_with_the_test)
            ours.settimeout(LIMIT)
            dialogue = jeepney.auth.Authenticator(enable_fds=True)
            for line in dialogue:
                ours.sendall(line)
                dialogue.feed(ours.recv(1024))
            ours.sendall(jeepney.auth.BEGIN)
            self.controller = jeepney.io.blocking.DBusConnectionBase(ours, enable_fds=True)
            call = jeepney.new_method_call(
                jeepney.DBusAddress('/org/bus1/DBus/Broker', 'none', 'org.bus1.DBus.Broker'), 'AddListener', 'ohv',
                ('/org/bus1/DBus/Listener/0', listener, (_POLICY_TYPE, _POLICY)))
            del call.header.fields[jeepney.HeaderFields.destination]  # there is no bus here
            self.controller._send_with_fds(*self.controller._serialise(call, 1))
            reply = self.controller._receive(time.monotonic() + LIMIT)
            if reply.header.message_type != jeepney.MessageType.method_return:
                raise RuntimeError(f'dbus-broker: {reply.body}')

    def close(self):
        self.controller.close()
        self.process.terminate()
        self.process.wait(LIMIT)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


BUSES = {'dbus-daemon': DBusDaemon, 'dbus-broker': DBusBroker}


class BusError(Exception):
    """An error reply."""

    def __init__(self, name, text):
        super().__init__(f'{name}: {text}')
        self.name, self.text = name, text


Signal = collections.namedtuple('Signal', 'path interface member body')


class Connection:
    """A client of the bus. Signals that come meanwhile are kept."""

    def __init__(self, address):
        self.dbus = jeepney.io.blocking.open_dbus_connection(address, enable_fds=True, auth_timeout=LIMIT)
        self.name = self.dbus.unique_name
        self.signals = []

    def fileno(self):
        return self.dbus.sock.fileno()

    def receive(self):
        message = self.dbus.receive(timeout=LIMIT)
        if message.header.message_type == jeepney.MessageType.signal:
            field = message.header.fields.get
            self.signals.append(Signal(*(field(jeepney.HeaderFields[name]) for name in Signal._fields[:3]),
                                       message.body))
        return message

    def send(self, path, interface, member, signature='', *body, destination='org.ioregion1'):
        serial = next(self.dbus.outgoing_serial)
        call = jeepney.new_method_call(jeepney.DBusAddress(path, destination, interface), member,
                                       signature or None, body)
        self.dbus.send(call, serial)
        return serial

    def reply(self, serial, wait=lambda connection: None):
        """The reply's body; wait() is called before each look and may do other work until there is something."""
        while True:
            wait(self)
            message = self.receive()
            if message.header.fields.get(jeepney.HeaderFields.reply_serial) == serial:
                break
        if message.header.message_type == jeepney.MessageType.error:
            raise BusError(message.header.fields[jeepney.HeaderFields.error_name], *(message.body[:1] or ['']))
        return message.body

    def call(self, *arguments, wait=lambda connection: None, **keywords):
        return self.reply(self.send(*arguments, **keywords), wait)

    def wait_for_name(self, name):
        """Wait until a name has an owner."""
        def bus(member, argument):
            return self.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', member, 's', argument,
                             destination='org.freedesktop.DBus')

        bus('AddMatch', f"type='signal',member='NameOwnerChanged',arg0='{name}'")
        while not bus('NameHasOwner', name)[0]:
            self.receive()

    def watch(self):
        """Receive the broker's signals."""
        self.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'AddMatch', 's',
                  "type='signal',sender='org.ioregion1'", destination='org.freedesktop.DBus')

    def close(self):
        self.dbus.close()
