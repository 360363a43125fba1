# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a flood does to those who behave, for container.py; the arguments are the number of rounds, and which.

Who behaves reads a property, one call after the other. For each flood, three times: its calls and the flood go to the
broker; both go to a trivial service on the same bus; the flood goes there, and its calls to the broker. The ratio is
that of the first p99 to the second: what both services have in common is that their calls come in one queue. Where
rates are limited, they are those of the policy's defaults, and what is measured comes after the burst that they allow;
the second in which that comes has a ratio of its own. No descriptor may stay open after a flood.

Under some floods another one that behaves attaches a device, gives it back, and so on, up to 80 times a second; what is
compared with it is a call to the trivial service that has the same arguments, a descriptor among them. Behind devices
that never answer there is a guest that reads their registers: each is an access that is given up, an event to the
broker, and a device that fails and comes back; to the trivial service go the same calls, and no guest runs.
"""

import collections
import json
import os
import shutil
import subprocess
import sys
import time

from privatebus import LIMIT, Connection
from program import Program

BUS = 'unix:path=/run/dbus/system_bus_socket'
BUS_KIND = os.environ['IOREGION_BUS']
BROKER, ECHO = 'org.ioregion1', 'org.ioregion1.Echo'
FLOODS = sys.argv[2:] or ['reads', 'unread', 'objects', 'fds', 'leases', 'register', 'forged', 'mute', 'churn',
                          'connections', 'silent']
ATTACHED = {'reads', 'register', 'churn'}
BURSTS = {'register', 'churn', 'silent'}
LIMITED = {'objects', *BURSTS}
MSEC = {'broker': 2000, 'echo': 2000}  # what is compared is measured for longer
POLICY = '/usr/local/etc/ioregiond/policy.d'

RULES = {'version': 1, 'operators': [{'name': 'root', 'match': {'user': 'root'}}],
         'vmms': [{'name': user, 'match': {'user': user}, 'vms': ['*']} for user in ('vmm', 'stranger')],
         'devices': [{'name': user, 'match': {'user': user}, 'vms': ['*'], 'on-disconnect': ['ones', 'remove'],
                      'regions': [{'space': 'mmio', 'within': ['0x0', '0xffffffff']}]} for user in ('vmm', 'stranger')],
         'limits': {'vms-per-user': 1000, 'devices-per-unit': 1000}}
BUS_CONFIG = '''<busconfig><policy context="default">
<allow own="org.ioregion1.Echo"/><allow send_destination="org.ioregion1.Echo"/>
<allow receive_sender="org.ioregion1.Echo"/></policy></busconfig>'''


def run(*command):
    return subprocess.run(command, check=True, timeout=LIMIT, capture_output=True, text=True).stdout


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)


def client(user, *arguments):
    """In a unit of its own, since units are what the broker counts by."""
    return Program(BUS, 'systemd-run', '--quiet', '--pipe', '--collect', f'--uid={user}',
                   '--property=DefaultDependencies=no', '--property=LimitNOFILE=65536',
                   '/rig/build/tests/bench/flood-client', *arguments)


def set_limits(**limits):
    limits = {name.replace('_', '-'): value for name, value in limits.items()}
    write('/rig/out/policy.d/rig.json', json.dumps({**RULES, 'limits': {**RULES['limits'], **limits}}))


def set_up():
    write('/run/systemd/system/service.d/rig.conf', '[Unit]\nDefaultDependencies=no\n')
    set_limits(register_rate='100000/s', attach_rate='100000/s')
    run('mount', '--bind', '/rig/out/policy.d', POLICY)
    write('/etc/dbus-1/system-local.conf', BUS_CONFIG)
    run('systemctl', 'daemon-reload')
    bus = Connection(BUS)
    bus.call('/org/freedesktop/DBus', 'org.freedesktop.DBus', 'ReloadConfig', destination='org.freedesktop.DBus')
    run('systemctl', 'start', 'ioregiond.service')
    clients = [client('device', 'echo'), client('vmm', 'populate')]
    for program, word in zip(clients, ('echo', 'populated')):
        program.expect(word)
    set_limits()
    bus.call('/org/ioregion1', 'org.ioregion1.Manager', 'Reload')
    bus.close()
    return clients


class Broker:
    """What it has."""

    def __init__(self):
        self.pid = run('systemctl', 'show', '--value', '-p', 'MainPID', 'ioregiond.service').strip()

    def fds(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def rss(self):
        with open(f'/proc/{self.pid}/status') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('VmRSS:'))

    def wait_for_fds(self, number):
        deadline = time.monotonic() + LIMIT
        while self.fds() > number and time.monotonic() < deadline:
            Connection(BUS).close()
        return self.fds() - number


def measure(service, milliseconds, delay=0, user='qemu', what='measure'):
    """Microseconds that calls took, after a delay in which some are made, too."""
    program = client(user, what, service, str(milliseconds), str(delay))
    line = program.expect('[')
    if not line.endswith(']'):
        raise AssertionError(line[-200:], *program.process.stdout)
    program.end(number=None)
    program.close()
    return json.loads(line)


def attach(service, milliseconds):
    return measure(service, milliseconds, user='vmm', what='attach')


def flood(kind, service, samples, *measured):
    """The answers that it got; meanwhile calls to services are measured, one kind after the other."""
    program = client('stranger', 'flood', kind, service)
    program.expect('flooding')
    for name, function, called in measured:
        if name == 'broker' and kind in BURSTS:
            program.expect('limited')
        samples[kind, name] += function(called, MSEC.get(name, 1000))
    program.process.stdin.close()
    answers = json.loads(program.expect('{'))
    program.process.wait(LIMIT)
    program.process.stdout.close()
    return answers


def p99(samples):
    return sorted(samples)[-(-99 * len(samples) // 100) - 1]


def inundate(kind, broker, samples, leaked):
    """One round; the answers that the flood got."""
    samples['quiet'] += measure(BROKER, 300)
    fds, rss = broker.fds(), broker.rss()
    attaches = kind in ATTACHED
    answers = flood(kind, BROKER, samples, *(kind in BURSTS) * [('burst', measure, BROKER)],
                    ('broker', measure, BROKER), *attaches * [('attach', attach, BROKER)])
    samples[kind, 'after'] += measure(BROKER, 300, delay=1000)
    leaked[kind, 'fds'] += broker.wait_for_fds(fds)
    leaked[kind, 'KiB'] += broker.rss() - rss
    if kind in LIMITED and not answers.get('org.ioregion1.Error.QuotaExceeded'):
        raise AssertionError(f'the flood met no limit: {answers}')
    if answers.get('unanswered') == 0:
        raise AssertionError('the guest had an answer of every device')
    flood(kind, ECHO, samples, ('echo', measure, ECHO), ('bystander', measure, BROKER),
          *attaches * [('attach-echo', attach, ECHO)])
    return answers


def report(kind, rounds, samples, fds, kib, answers):
    own, echo, bystander, after = (p99(samples[kind, name]) for name in ('broker', 'echo', 'bystander', 'after'))
    quiet = p99(samples['quiet'])
    print(f'{"flood-" + kind:18}{BUS_KIND:12} p99 of the broker {own} us, of an echo {echo} us; '
          f'with the flood at the echo {bystander} us; quiet {quiet} us, a second after {after} us; '
          f'{fds:+} fds, {kib:+} KiB; {json.dumps(answers)}')
    print(json.dumps({'bench': f'flood-{kind}-{BUS_KIND}', 'ratio': round(own / echo, 3), 'rounds': rounds,
                      'after_ratio': round(after / quiet, 3), 'bystander_ratio': round(own / bystander, 3),
                      'us': [own, echo, bystander, quiet, after], 'fds': fds, 'kib': kib}), flush=True)


def report_also(kind, what, rounds, own, echo):
    own, echo = p99(own), p99(echo)
    print(f'{"flood-" + kind:18}{BUS_KIND:12} p99 of {what} {own} us, at an echo {echo} us')
    print(json.dumps({'bench': f'flood-{kind}-{what}-{BUS_KIND}', 'ratio': round(own / echo, 3), 'rounds': rounds,
                      'us': [own, echo]}), flush=True)


def main():
    rounds = int(sys.argv[1])
    clients, broker = set_up(), Broker()
    measure(BROKER, 300)
    samples, leaked, answers = collections.defaultdict(list), collections.Counter(), {}
    for _ in range(rounds):
        for kind in FLOODS:
            answers[kind] = inundate(kind, broker, samples, leaked)
    for kind in FLOODS:
        report(kind, rounds, samples, leaked[kind, 'fds'], leaked[kind, 'KiB'], answers[kind])
        if kind in BURSTS:
            report_also(kind, 'burst', rounds, samples[kind, 'burst'], samples[kind, 'echo'])
        if kind in ATTACHED:
            report_also(kind, 'attach', rounds, samples[kind, 'attach'], samples[kind, 'attach-echo'])
    for program in clients:
        program.end(number=None)
        program.close()
    run('systemctl', 'stop', 'ioregiond.service')
    # what malloc() keeps after the largest answer is no leak
    if any(leaked[kind, 'fds'] for kind in FLOODS) or sum(leaked[kind, 'KiB'] for kind in FLOODS) > 16384:
        raise AssertionError(f'the broker leaks: {leaked}')


main()
