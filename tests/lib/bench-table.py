#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures of a bench run as a table, beside what the project wants them to be. Reads lines of JSON; judges nothing."""

import json
import sys

BARS = {  # at most; or at least, where it says so
    'exchange': (1.10, 'libioregion / bare socket ping-pong, two CPUs'),
    'exchange-1cpu': (1.25, 'the same on one CPU'),
    'exchange-10k': (1.05, 'with 10,000 regions / with one'),
    'guest-access': (1.05, 'brokered access / hand-written forwarder, guest on KVM'),
    'seabios': (1.10, 'boot of SeaBIOS, its log through a device of ours / of QEMU'),
    'foreign-exits': (1.05, 'exits that are not ours, under ioregion-run / without it'),
    'attach': (1.6, 'attach to GRANT / bus call that learns as much of its caller'),
    'attach-growth': (1.5, 'attach number 1,000 / number 10'),
    'start-device': (1.3, 'ioregionctl start to the first answer / plain start of the same unit'),
    'restore': (12, 'return of the broker with 1,000 VMs of ten regions / with 100'),
    'restart-latency': (1.5, "p99.9 of a guest's access while the broker restarts over and over / while it does not"),
    'attach-persistent': ('-', 'attach, with descriptor store and state file, to GRANT / the same bus call'),
    'attach-persistent-growth': ('-', 'the same, attach number 1,000 / number 10'),
    'policy-1k': (2, 'decision with 1,000 rules / with 10'),
    'rss-per-region': (2, 'KiB of the broker for each region'),
    'chardev': ('-', 'a write to our debug console / to the one of QEMU'),
    'kernel-exits': (0, 'exits to the VMM / 1,000 accesses, kernel dispatcher, two CPUs'),
    'kernel-vs-forward': ('>= 1.2', 'hand-written forwarder / kernel dispatcher, two CPUs'),
    'posted-vs-answered': ('>= 3', 'answered / posted write, kernel dispatcher, two CPUs'),
    'regions-256': (1.1, 'kernel dispatcher with 256 regions / with one, two CPUs'),
}

FLOODS = 'reads', 'unread', 'objects', 'fds', 'leases', 'register', 'forged', 'mute', 'churn', 'connections', \
    'silent'
for bus in 'dbus-daemon', 'dbus-broker':
    BARS.update((f'flood-{kind}-{bus}', (1.5, 'p99 of a call, of a flooded broker / of a flooded echo')) for kind in FLOODS)

figures = [json.loads(line) for line in sys.stdin if line.startswith('{"bench"')]
print(f'{"figure":30}{"is":>8}{"bar":>8}{"rounds":>8}  what')
for figure in figures:
    base = BARS.get(figure['bench'].removesuffix('-1cpu'), ('-', ''))
    bar, what = BARS.get(figure['bench'], ('-', base[1].replace('two CPUs', 'one CPU')))
    if 'faster' in figure:
        what += f'; faster in {figure["faster"]} of {figure["rounds"]} rounds'
    print(f'{figure["bench"]:30}{figure["ratio"]:8.3f}{bar:>8}{figure["rounds"]:8}  {what}')
