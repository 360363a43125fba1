# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon tells the service manager and the journal, both of which the test plays."""

import os
import re
import socket
import struct

import protocol
import rig
from privatebus import LIMIT

SOURCE = os.environ.get('IOREGION_SOURCE', '.')
# The journal's socket has a place of its own: the daemon gets another one there
IN_ITS_PLACE = ('unshare', '--mount', 'sh', '-ec', 'mount -t tmpfs none /run; mkdir -p /run/systemd/journal; '
                'mount --bind "$0" /run/systemd/journal; exec "$@"')


def fields(packet):
    """A record, in the journal's own format."""
    record = {}
    while packet:
        name = re.match(rb'[A-Z_0-9]+', packet)[0]
        packet = packet[len(name):]
        if packet[:1] == b'=':
            value, _, packet = packet[1:].partition(b'\n')
        else:
            size, = struct.unpack('<Q', packet[1:9])
            value, packet = packet[9:9 + size], packet[10 + size:]
        record[name.decode()] = value.decode()
    return record


class Manager(rig.Case):
    def listen(self, name):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        os.makedirs(os.path.dirname(f'{self.directory}/{name}'), exist_ok=True)
        sock.bind(f'{self.directory}/{name}')
        os.chmod(f'{self.directory}/{name}', 0o666)
        sock.settimeout(LIMIT)
        return sock

    def test_audit_records(self):
        self.need_mounts()
        self.stop_daemon()
        journal = self.listen('journal/socket')
        log = os.stat(f'{self.directory}/log')
        self.start_daemon(wrapper=(*IN_ITS_PLACE, f'{self.directory}/journal'),
                          environment={'JOURNAL_STREAM': f'{log.st_dev}:{log.st_ino}'})
        vmm = self.register()
        with self.refused('PolicyDenied'):
            self.attach(name='denied', user=rig.STRANGER)
        device = self.attach(on_disconnect='ones')
        pid = next(vm[1] for vm in self.manager('ListVMs')[0])
        vmm.command(0xd0000000, 0, 1)
        protocol.receive_packet(device.channels[0])
        vmm.event(0xd0000000, protocol.Event.DEADLINE)
        self.wait_for_state(device, 'failed')
        self.call(device.path, 'org.ioregion1.Device', 'Revoke', 's', 'ticket\n4711')
        self.wait_until(lambda: not self.manager('ListDevices')[0])
        self.manager('Reload')

        with open(f'{SOURCE}/daemon/ioregiond.catalog') as catalog:
            subjects = dict(re.findall(r'^-- (\w{32})\nSubject: (.*)', catalog.read(), re.M))
        records = []
        while not records or 'reload' not in records[-1]['MESSAGE']:
            records.append(fields(journal.recv(65536)))
        self.assertEqual({record['SYSLOG_IDENTIFIER'] for record in records}, {'ioregiond'})
        told = {subjects[record['MESSAGE_ID']]: record for record in records if 'MESSAGE_ID' in record}
        for subject, expected in {
                'A VM was registered': {'IOREGION_VM': 'vm', 'IOREGION_RULE': 'guests', 'OBJECT_PID': str(pid),
                                        'PRIORITY': '6'},
                'A request was refused': {'IOREGION_VM': 'vm', 'IOREGION_DEVICE': 'denied', 'PRIORITY': '4',
                                          'IOREGION_ERROR': 'org.ioregion1.Error.PolicyDenied'},
                'A device was attached': {'IOREGION_VM': 'vm', 'IOREGION_DEVICE': 'dev', 'IOREGION_RULE': 'scratches'},
                'A device failed': {'IOREGION_VM': 'vm', 'IOREGION_DEVICE': 'dev', 'PRIORITY': '4'},
                'A device is gone': {'IOREGION_VM': 'vm', 'IOREGION_DEVICE': 'dev'},
                'The policy was loaded again': {}}.items():
            with self.subTest(subject):
                self.assertEqual({key: told[subject].get(key) for key in expected}, expected)
        self.assertIn('ticket\\x0a4711', told['A device is gone']['IOREGION_REASON'])

    def test_a_journal_that_takes_nothing_keeps_nobody_waiting(self):
        self.need_mounts()
        self.stop_daemon()
        journal = self.listen('journal/socket')
        log = os.stat(f'{self.directory}/log')
        self.start_daemon(wrapper=(*IN_ITS_PLACE, f'{self.directory}/journal'),
                          environment={'JOURNAL_STREAM': f'{log.st_dev}:{log.st_ino}'})
        filled = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as chatterbox:
            chatterbox.connect(f'{self.directory}/journal/socket')
            chatterbox.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    chatterbox.send(b'MESSAGE=so much to say')
                    filled += 1
        self.register('unheard')
        while filled:
            filled -= b'so much' in journal.recv(65536)
        self.register('heard')
        record = fields(journal.recv(65536, socket.MSG_DONTWAIT))  # there is no answer without a record
        self.assertIn('register: vm heard', record['MESSAGE'])
        self.assertEqual(record['IOREGION_LOST'], '1')

    def test_reload_and_watchdog(self):
        self.stop_daemon()
        self.start_daemon(environment={'WATCHDOG_USEC': '400000'})
        notify = self.listen('notify')  # READY has been told already
        self.assertEqual(notify.recv(4096), b'WATCHDOG=1')
        self.manager('Reload')
        self.write_policy('half a pol')
        with self.refused('PolicyInvalid'):
            self.manager('Reload')
        words = []
        while words.count('READY=1') < 2 or words[-1] != 'WATCHDOG=1':
            words += notify.recv(4096).decode().splitlines()
        words = [word for word in words if word != 'WATCHDOG=1']
        told = [word for word in words if word.startswith('STATUS=')]
        self.assertEqual(told[0], 'STATUS=Policy generation 2 is in force')
        self.assertRegex(told[1], f'^{told[0]}; there is a newer one with a mistake: .*:1:1: ')
        words = [word for word in words if word not in told]
        self.assertEqual([word for word in words if not re.fullmatch(r'MONOTONIC_USEC=\d+', word)],
                         ['RELOADING=1', 'READY=1'] * 2)
        self.assertEqual(len(words), 6)


if __name__ == '__main__':
    rig.main()
