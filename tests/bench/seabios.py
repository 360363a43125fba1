# SPDX-License-Identifier: LGPL-2.1-or-later
"""What it costs a guest on an unmodified QEMU that a device is a process of its own, instead of one of QEMU's.

seabios: SeaBIOS from its first instruction until it finds nothing to boot, with its log through ioregion-debugcon and
through QEMU's isa-debugcon, in turns; the ratio is that of the medians. chardev: single writes to the same two.
"""

import argparse
import contextlib
import json
import os
import select
import statistics
import time

import comparison
import guests
from comparison import VM

PORT = 0x402
LAST_WORDS = b'No bootable device.'
ACCESSES = 2000
WRITE_PORT = 1  # to the guest called accesses


class Contest(comparison.Case):
    """Each way starts a QEMU whose debug console writes to a pipe, and holds the guest back."""

    def runTest(self):
        pass

    @contextlib.contextmanager
    def log(self):
        """The path and the reading end of a pipe."""
        path = f'{self.directory}/console'
        os.mkfifo(path)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb', buffering=0) as reader:
                yield path, reader
        finally:
            os.unlink(path)

    @contextlib.contextmanager
    def theirs(self, *arguments):
        with self.log() as (path, reader):
            qemu = self.qemu('-chardev', f'file,id=log,path={path}', '-device',
                             f'isa-debugcon,iobase={PORT},chardev=log', *arguments, paused=True)
            qemu.wait_for_start()
            yield qemu, reader
            qemu.close()

    @contextlib.contextmanager
    def ours(self, *arguments):
        with self.log() as (path, reader):
            qemu = self.run_qemu(*arguments, paused=True)
            device = self.device('debugcon', '--backend', f'file:{path}')
            device.said('attached to VM')
            yield qemu, reader
            qemu.close()
            device.ended(0)
            self.wait_until(lambda: VM not in self.vm_names())

    def boot(self, way):
        """Seconds, and what SeaBIOS said."""
        text = b''
        with way() as (qemu, reader):
            start = time.monotonic()
            qemu.call('cont')
            while LAST_WORDS not in text:
                if not select.select([reader], [], [], 60)[0]:
                    raise TimeoutError(f'SeaBIOS said no more than {text}')
                text += reader.read(65536)
            return time.monotonic() - start, text

    def writes(self, way):
        """Seconds for so many of the guest's writes."""
        with way(*self.image('accesses.rom', WRITE_PORT, PORT, ACCESSES)) as (qemu, reader):
            qemu.call('cont')
            qemu.wait_for_words('start')
            start = time.monotonic()
            while '\ndone' not in qemu.told() and select.select([reader, qemu.console.ours], [], [], 60)[0]:
                if select.select([reader], [], [], 0)[0]:
                    reader.read(65536)
                if select.select([qemu.console.ours], [], [], 0)[0]:
                    qemu.console.receive()
            return time.monotonic() - start


def contest(measure, case, rounds):
    """The medians of our way and of QEMU's own; who goes first takes turns."""
    ours, theirs = [], []
    for i in range(rounds):
        for way, times in ((case.ours, ours), (case.theirs, theirs))[::1 if i % 2 else -1]:
            times.append(measure(way))
    return statistics.median(ours), statistics.median(theirs)


def tell(name, ours, theirs, rounds, unit):
    print(f'{name:16} on QEMU\'s own device {unit(theirs)}, on ours {unit(ours)}')
    print(json.dumps({'bench': name, 'ratio': round(ours / theirs, 3), 'rounds': rounds}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=10)
    rounds = parser.parse_args().rounds
    reason = guests.missing()
    if reason:
        print('skipped:', reason)
        raise SystemExit(77)
    case = Contest()
    try:
        case.setUp()
        tell('seabios', *contest(lambda way: case.boot(way)[0], case, rounds), rounds, '{:.2f} s'.format)
        tell('chardev', *contest(case.writes, case, rounds), rounds,
             lambda seconds: f'{1e6 * seconds / ACCESSES:.1f} us an access')
    finally:
        case.doCleanups()


main()
