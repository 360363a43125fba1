# SPDX-License-Identifier: LGPL-2.1-or-later
"""ioregion-run around a VMM that makes one move at a time, with devices that the test plays."""

import os
import select
import subprocess

import programs
import rig
from daemon import BUILD, INSTRUMENTED
from privatebus import LIMIT, die_with_the_test
from rig import region

RUN = f'{BUILD}/clients/ioregion-run/ioregion-run'
MOVES = f'{BUILD}/tests/vmm/moves'
PORT = 0x3f8


class Moves:
    """The VMM; ask() makes a move and gives the answer."""

    def __init__(self, case, *arguments, program=(MOVES,), environment=()):
        self.case = case
        self.process = subprocess.Popen(
            [RUN, *arguments, *program], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, preexec_fn=die_with_the_test,
            env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': case.bus.address, **dict(environment)})
        case.addCleanup(self.close)

    def close(self):
        self.process.kill()
        self.process.wait(LIMIT)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def start(self, move):
        self.process.stdin.write(f'{move}\n'.encode())

    def answer(self, stream=None):
        """The next line; '' at the end."""
        stream = stream or self.process.stdout
        self.case.assertTrue(select.select([stream], [], [], LIMIT)[0], 'no answer')
        return stream.readline().decode().rstrip('\n')

    def ask(self, move):
        self.start(move)
        return self.answer()

    def warning(self):
        return self.answer(self.process.stderr)

    def ended(self):
        """No more moves: exit status, and what it said on standard output and standard error."""
        output, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, output.decode(), errors.decode()


class Case(programs.Case):
    def setUp(self):
        if INSTRUMENTED:
            self.skipTest('an instrumented library can be put before nothing that is not')
        if not os.access('/dev/kvm', os.R_OK | os.W_OK):
            self.skipTest('no /dev/kvm')
        super().setUp()

    def start(self, *arguments, vm='vm', **keywords):
        return Moves(self, '--vm', vm, *arguments, **keywords)

    def made(self, *arguments, **keywords):
        """With a VM."""
        moves = self.start(*arguments, **keywords)
        self.assertEqual(moves.ask('make 0'), 'made')
        return moves

    def port(self, vm='vm', **keywords):
        """A device at the port that the guests read."""
        return self.attach(vm, 'port', [region('pio', PORT, 1)], user='root', **keywords)

    def assert_served(self, moves, device, number=0, move='run'):
        """The guest reads what the device answers, and its VMM sees nothing of that."""
        moves.start(f'{move} {number}')
        self.assertEqual(device.answer(0x5a).offset, 0)
        self.assertEqual(moves.answer(), 'out 0xf4 0x5a')

    def assert_unserved(self, moves, number=0):
        self.assertEqual(moves.ask(f'run {number}'), f'in {PORT:#x}')
        self.assertEqual(moves.ask(f'run {number}'), 'out 0xf4 0xee')


main = rig.main
