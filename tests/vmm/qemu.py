# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU as Debian ships it, on KVM, for a test: started, talked to by QMP, listened to, ended in time."""

import itertools
import json
import os
import select
import socket
import subprocess
import time

from privatebus import die_with_the_test

LIMIT = 60  # seconds, for a whole run; the longest here, of a BIOS, takes ten on a slow machine

TELL_PORT, EXIT_PORT = 0x500, 0x501
KINDS = ('pc', 'q35', 'isapc')
SANDBOX = ('-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny')

numbers = itertools.count()


class QmpError(Exception):
    pass


class Stream:
    """What comes in on one socket, kept from the first byte."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.data, self.ended = b'', False

    def receive(self):
        chunk = self.ours.recv(65536)
        self.data += chunk
        self.ended = not chunk

    def close(self):
        self.ours.close()
        self.theirs.close()


class Qemu:
    """One QEMU. The guest's debug console is listened to; what it tells is in told()."""

    def __init__(self, directory, *arguments, machine='pc', irqchip='on', smp=1, memory=32, tell_port=TELL_PORT,
                 paused=False, pass_fds=(), wrapper=(), environment=()):
        self.deadline = time.monotonic() + LIMIT
        self.qmp, self.console = Stream(), Stream()
        self.greeted, self.lines, self.events = False, [], []
        self.errors = f'{directory}/qemu-{next(numbers)}'
        command = [*wrapper, 'qemu-system-x86_64', '-accel', f'kvm,kernel-irqchip={irqchip}', '-machine', machine,
                   '-cpu', 'qemu64,-sse3', '-smp', str(smp), '-m', str(memory), '-nodefaults', '-no-user-config',
                   '-display', 'none', *(['-S'] if paused else []),
                   '-chardev', f'socket,id=qmp,fd={self.qmp.theirs.fileno()}', '-mon', 'chardev=qmp,mode=control',
                   '-chardev', f'socket,id=told,fd={self.console.theirs.fileno()}',
                   '-device', f'isa-debugcon,iobase={tell_port},chardev=told',
                   '-device', f'isa-debug-exit,iobase={EXIT_PORT},iosize=1', *arguments]
        fds = [stream.theirs.fileno() for stream in (self.qmp, self.console)]
        with open(self.errors, 'w') as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                                            pass_fds=[*fds, *pass_fds],
                                            env={**os.environ, **dict(environment)}, preexec_fn=die_with_the_test)
        self.pid = self.process.pid
        for stream in (self.qmp, self.console):
            stream.theirs.close()

    # What it says

    def error_text(self):
        with open(self.errors, errors='replace') as errors:
            return errors.read()

    def told(self):
        """What the guest told on its debug console so far."""
        return self.console.data.decode('latin-1')

    def _wait(self, condition, what):
        """Take in what comes until there is the thing, which is returned."""
        while True:
            while b'\n' in self.qmp.data:
                line, self.qmp.data = self.qmp.data.split(b'\n', 1)
                message = json.loads(line)
                (self.events if 'event' in message else self.lines).append(message)
            result = condition()
            if result:
                return result
            streams = [stream for stream in (self.qmp, self.console) if not stream.ended]
            ready = select.select([stream.ours for stream in streams], [], [],
                                  max(0, self.deadline - time.monotonic()))[0]
            if not ready:
                why = 'time is up' if streams else 'QEMU ended'
                raise AssertionError(f'no {what}: {why}\n{self.error_text()}\nthe guest told: {self.told()[-2000:]}')
            for stream in streams:
                if stream.ours in ready:
                    stream.receive()

    def wait_for_words(self, text, after=0):
        """Until the guest has told this behind so many characters; where it ends."""
        at = self._wait(lambda: self.told().find(text, after) + 1, f'"{text}" from the guest')
        return at - 1 + len(text)

    # QMP

    def send(self, command, **arguments):
        """Ask without waiting for the answer."""
        if not self.greeted:
            self._wait(lambda: self.lines, 'greeting')
            self.lines.clear()
            self.greeted = True
            self.call('qmp_capabilities')
        message = {'execute': command, **({'arguments': arguments} if arguments else {})}
        self.qmp.ours.sendall(json.dumps(message).encode())

    def answer(self):
        return self._wait(lambda: self.lines and self.lines.pop(0), 'answer')

    def call(self, command, **arguments):
        self.send(command, **arguments)
        answer = self.answer()
        if 'error' in answer:
            raise QmpError(answer['error']['desc'])
        return answer['return']

    def wait_for_start(self):
        """Until it answers: its machine is there by then."""
        self.call('query-status')

    def human(self, command):
        """A command of the human monitor, for what QMP can't ask."""
        return self.call('human-monitor-command', **{'command-line': command})

    def event(self, name):
        def take():
            for i, event in enumerate(self.events):
                if event['event'] == name:
                    return self.events.pop(i)
            return None

        return self._wait(take, f'event {name}')

    # Its end

    def ended(self):
        """It ends by itself: its exit status."""
        self._wait(lambda: self.qmp.ended and self.console.ended, 'end')
        return self.process.wait(max(0, self.deadline - time.monotonic()))

    def guest_ended(self):
        """The guest ends QEMU; what it told, and the status that it gave."""
        status = self.ended()
        if not status & 1 or status < 0:
            raise AssertionError(f'QEMU ended with {status}\n{self.error_text()}')
        return self.told(), status >> 1

    def quit(self):
        self.send('quit')
        return self.ended()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.qmp.close()
        self.console.close()
