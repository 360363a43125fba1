# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that talk in lines, each waited for with a time limit."""

import os
import select
import signal
import subprocess
import time

from privatebus import LIMIT, die_with_the_test


class Program:
    """Standard output and standard error are one stream of lines."""

    def __init__(self, address, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=die_with_the_test,
                                        env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address})
        self.text = b''

    def line(self):
        """The next line, without its end; '' at the end of all."""
        deadline = time.monotonic() + LIMIT
        while b'\n' not in self.text:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f'{self.process.args} says nothing more than {self.text}')
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                return ''
            self.text += more
        line, self.text = self.text.split(b'\n', 1)
        return line.decode(errors='replace')

    def expect(self, text):
        """Skip to a line that contains the text; the line."""
        lines = []
        while text not in (line := self.line()):
            lines.append(line)
            if not line:
                raise AssertionError(f'{self.process.args} never says {text!r}, but {lines}')
        return line

    def say(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()

    def ask(self, line):
        """One line in, one line out."""
        self.say(line)
        return self.line()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM):
        """Its exit status, after the end of its input and perhaps a signal."""
        self.process.stdin.close()
        if number:
            self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if not stream.closed:
                stream.close()
