# SPDX-License-Identifier: LGPL-2.1-or-later
"""What it takes to plug in a device: from ioregionctl start to the first access that it answers, against a plain start
of the same unit, sandbox and all, where ExecStartPre= does nothing; for bench-start-device, in a container.
"""

import statistics
import subprocess
import sys
import time

from host import READY, UART, Case, drop_in, set_up, start_vmm, systemctl

DEVICE, PLAIN = 'ioregion-uart@demo.service', 'ioregion-uart@demo:plain.service'
STARTS = 5  # of each kind, a round


def begin():
    drop_in(DEVICE, '[Unit]\nStartLimitIntervalSec=0\n')
    # A device without descriptors would end at once, and its unit fail; what waits does as well
    drop_in(PLAIN, '[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStartPre=\nExecStartPre=+/bin/true\n'
            'ExecStart=\nExecStart=/usr/bin/sleep infinity\nExecPaths=/usr/bin/sleep\n')
    set_up()
    Case.setUpClass()
    return start_vmm(Case, 'demo')


def measure(unit, *command, vmm=None):
    """Seconds until the start returns and, with a VMM, an access was answered."""
    before = time.monotonic()
    subprocess.run([*command, unit], check=True)  # with a time limit it would look every 50 ms; the container has one
    if vmm and vmm.ask(f'read pio {UART:#x} 1') != READY:
        raise AssertionError('not answered')
    seconds = time.monotonic() - before
    systemctl('stop', unit)
    while vmm and vmm.ask('regions') != '0':
        pass
    return seconds


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else 11
    vmm = begin()
    plain, device = [], []
    for _ in range(rounds * STARTS):
        plain.append(measure(PLAIN, 'systemctl', 'start'))
        device.append(measure(DEVICE, 'ioregionctl', 'start', vmm=vmm))
    plain, device = (1000 * statistics.median(times) for times in (plain, device))
    print(f'{"start-device":16} plain start {plain:.1f} ms, ioregionctl start to the first answer {device:.1f} ms')
    print(f'{{"bench": "start-device", "ratio": {device / plain:.3f}, "rounds": {rounds}}}')
    Case.doClassCleanups()


main()
