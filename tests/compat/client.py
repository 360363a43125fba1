# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ask the broker over D-Bus for a lease, with an asynchronous client: CHALLENGE comes while the call is pending."""

import asyncio
import socket

import dbus_next
import dbus_next.aio

import protocol

SERVICE, PATH, MANAGER = 'org.ioregion1', '/org/ioregion1', 'org.ioregion1.Manager'


class Refused(Exception):
    """The broker's answer is an error."""

    def __init__(self, name, text):
        super().__init__(f'{name}: {text}')
        self.name = name


async def readable(sock):
    """Wait until there is something to receive."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


async def _prove(lease):
    """Answer the challenge; give the grant."""
    while True:
        await readable(lease)
        message = protocol.receive(lease)
        if message is None or message.type == protocol.Type.GRANT:
            return message
        if message.type != protocol.Type.CHALLENGE:
            raise protocol.Violation(f'{message} before GRANT')
        protocol.prove(lease, message)


async def request(member, signature, body):
    """Call a Manager method whose last argument is a lease: its reply, the lease and the grant."""
    lease, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    proof = asyncio.create_task(_prove(lease))
    bus = await dbus_next.aio.MessageBus(bus_type=dbus_next.BusType.SYSTEM, negotiate_unix_fd=True).connect()
    try:
        call = dbus_next.Message(destination=SERVICE, path=PATH, interface=MANAGER, member=member,
                                 signature=signature, body=body + [0], unix_fds=[theirs.fileno()])
        reply = await bus.call(call)
        if reply.message_type == dbus_next.MessageType.ERROR:
            raise Refused(reply.error_name, reply.body[0] if reply.body else '')
        theirs.close()
        return reply.body, lease, await proof
    finally:
        proof.cancel()
        bus.disconnect()


def options(**values):
    """Options as the broker wants them: those given, under their D-Bus names, in variants of their types."""
    signatures = {'require': 'as', 'want': 'as', 'ceiling': 'as', 'channels': 'u', 'timeout_usec': 't',
                  'on_disconnect': 's', 'dispatch': 's', 'reserve': 'a(stt)', 'posted': 'b', 'channel': 'u'}
    return {name.replace('_', '-'): dbus_next.Variant(signatures[name], value)
            for name, value in values.items() if value is not None}
