#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the documents say is what the code says."""

import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import unittest

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = {'uint8_t': 1, 'uint32_t': 4, 'int32_t': 4, 'uint64_t': 8}
NAMES = {'uint8_t': 'u8', 'uint32_t': 'u32', 'int32_t': 's32', 'uint64_t': 'u64'}


def read(path):
    return (ROOT / path).read_text()


def struct_layouts():
    """Every message of lease.h: name, size, and its body as the document writes it."""
    source = re.sub(r'/\*.*?\*/', '', read('include/ioregion/lease.h'), flags=re.S)
    for name, body in re.findall(r'struct ioregion_lease_(\w+) \{(.*?)\}', source, flags=re.S):
        if name == 'header':
            continue
        fields, offset = [], 8
        for kind, members in re.findall(r'^\s*(u?int\d+_t) (.*?);', body, flags=re.M):
            for member in members.split(', '):
                field, count = re.fullmatch(r'(\w+)(?:\[(\d+)\])?', member).groups()
                fields.append(f'{offset} {NAMES[kind]}{f"[{count}]" if count else ""} {field}')
                offset += SIZES[kind] * int(count or 1)
        yield name.upper(), offset, ', '.join(fields)


class Protocol(unittest.TestCase):
    document = read('doc/protocol.md')

    def test_every_message_is_told_as_it_is(self):
        rows = re.findall(r'^\| (\d+) \| ([A-Z_]+) \| \S+ \| (\d+) \| (.*?) ?\|$', self.document, flags=re.M)
        types = dict(re.findall(r'IOREGION_LEASE_([A-Z_]+) = (\d+)', read('include/ioregion/lease.h')))
        self.assertEqual({name: (type, int(size), body) for type, name, size, body in rows},
                         {name: (types[name], size, body) for name, size, body in struct_layouts()})

    def test_every_error_is_told(self):
        source = read('daemon/refusal.c')
        errors = dict(re.findall(r'"org\.ioregion1\.Error\.(\w+)", (\w+)', source))
        rows = re.findall(r'^\| ((?:[A-Z]\w+(?:, )?)+) \| (E[A-Z]+) \|', self.document, flags=re.M)
        told = {name: errno for names, errno in rows for name in names.split(', ')}
        for operator_only in ('NoSuchDevice', 'PolicyInvalid'):
            errors.pop(operator_only)
        self.assertEqual(told, errors)

    def test_links_lead_somewhere(self):
        for path in ('README.md', 'HACKING.md', *(f'doc/{path.name}' for path in (ROOT / 'doc').glob('*.md'))):
            for target in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', read(path)):
                with self.subTest(document=path, target=target):
                    self.assertTrue((ROOT / path).parent.joinpath(target).exists())


class Readme(unittest.TestCase):
    def test_its_device_is_the_one_that_is_built(self):
        shown = re.search(r'<!-- example-latch\.c -->\n```c\n(.*?)```\n<!-- end -->', read('README.md'), flags=re.S)
        self.assertEqual(shown[1], read('clients/devices/example-latch.c'))


class Guide(unittest.TestCase):
    def test_its_device_without_a_library_is_the_one_that_is_installed(self):
        shown = re.search(r'```python\n(.*?)```', read('doc/writing-a-device.md'), flags=re.S)[1]
        self.assertEqual(shown, read('clients/devices/example-latch.py'))

    def test_its_device_without_a_library_works(self):
        source = read('clients/devices/example-latch.py')
        vectors = [line.split() for line in read('tests/vectors/wire.txt').splitlines()]
        packets = {fields[1]: bytes.fromhex(''.join(fields[5:])) for fields in vectors
                   if fields[:1] == ['command'] and fields[5] != '-'}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(20)
        # descriptor 3 is what comes first in LISTEN_FDNAMES, so 4 is the channel
        script = 'exec 3</dev/null 4<&0 </dev/null; exec "$@"'
        with ours, subprocess.Popen(['sh', '-c', script, 'sh', sys.executable, '-c', source], stdin=theirs,
                                    env={**os.environ, 'LISTEN_FDNAMES': 'lease:channel-0'}) as device:
            theirs.close()
            for name, value in (('write-8', 0), ('read-8', 0xff)):
                ours.send(packets[name])
                self.assertEqual(ours.recv(64), struct.pack('=Q24x', value), name)
            ours.send(packets['long'])
            self.assertEqual(ours.recv(64), b'', 'it should have closed its channel')
            self.assertEqual(device.wait(20), 0)


class Manual(unittest.TestCase):
    pages = {page.name: page.read_text() for page in sorted((ROOT / 'doc').glob('*.[1-8]'))}

    def test_pages_are_well_formed(self):
        if not shutil.which('mandoc'):
            self.skipTest('no mandoc')
        self.assertEqual(len(self.pages), 7)
        for name in self.pages:
            lint = subprocess.run(['mandoc', '-Tlint', '-Wwarning', ROOT / 'doc' / name], capture_output=True, text=True,
                                  timeout=30)
            self.assertEqual(lint.stdout, '', name)

    def test_pages_refer_to_each_other(self):
        for name, text in self.pages.items():
            referred = {f'{page}.{section}' for page, section in re.findall(r'^\.Xr (\S+) (\d)', text, re.M)}
            ours = {page for page in referred if 'ioregion' in page}
            with self.subTest(page=name):
                self.assertTrue(ours, 'it stands alone')
                self.assertLessEqual(ours, self.pages.keys())
        told = {f'{page}({section})' for page, section in (name.rsplit('.', 1) for name in self.pages)}
        for page in told:
            self.assertIn(page, read('README.md'))

    def test_every_option_is_told(self):
        for source, page in (('daemon/main.c', 'ioregiond.8'), ('clients/ioregionctl/main.c', 'ioregionctl.1'),
                             ('clients/ioregion-run/main.c', 'ioregion-run.1')):
            options = set(re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', read(source)))
            entries = re.findall(r'^\.It .*Fl .*', self.pages[page], re.M)
            told = set(re.findall(r'Fl -([a-z-]+)', ' '.join(entries)))
            self.assertGreater(len(options), 5)
            self.assertEqual(options, told, page)

    def test_every_option_of_a_device_is_told(self):
        for name in ('uart', 'scratch', 'debugcon', 'pvpanic'):
            options = set(re.findall(r'\{"([a-z-]+)", (?:no|required)_argument',
                                     read('clients/devices/service.h') + read(f'clients/devices/{name}.c')))
            told = set(re.findall(r'Fl -([a-z-]+)', self.pages['ioregion-devices.8']))
            self.assertGreater(len(options), 10)
            self.assertLessEqual(options, told, name)

    def test_every_function_is_told(self):
        functions = set(re.findall(r'^    (ioregion_\w+);', read('clients/libioregion/libioregion.sym'), re.M))
        told = set(re.findall(r'^\.Fo (\w+)', self.pages['libioregion.3'], re.M))
        told |= set(re.findall(r'^\.Fn (ioregion_\w+)', self.pages['libioregion.3'], re.M))
        self.assertEqual(functions, told)

    def test_every_error_is_told(self):
        errors = dict(re.findall(r'"org\.ioregion1\.Error\.(\w+)", (\w+)', read('daemon/refusal.c')))
        told = {}
        for names, errno in re.findall(r'^\.It Sy (.*) Bq Er (\w+)', self.pages['org.ioregion1.5'], re.M):
            told.update(dict.fromkeys(re.findall(r'[A-Z]\w+', names), errno))
        self.assertEqual(told, errors)

    def test_every_method_and_property_is_told(self):
        page = self.pages['org.ioregion1.5']
        kinds = {'method': r'Fn {}\b', 'property': r'Va {}\b'}
        for kind, name in re.findall(r'<(method|property) name="(\w+)"', read('daemon/org.ioregion1.xml')):
            with self.subTest(name):
                self.assertRegex(page, kinds[kind].format(name) + (rf'|\.Fo {name}\b' if kind == 'method' else ''))


class Errors(unittest.TestCase):
    def test_broker_and_library_mean_the_same(self):
        brokers, librarys = (dict(re.findall(r'"org\.ioregion1\.Error\.(\w+)", (\w+)', read(path)))
                             for path in ('daemon/refusal.c', 'clients/libioregion/call.c'))
        brokers.pop('PolicyInvalid')  # no answer to what the library asks
        self.assertEqual(librarys, brokers)

    def test_each_is_reached_by_a_test(self):
        tests = ''.join(path.read_text() for path in (ROOT / 'tests/integration').glob('test_*.py'))
        reached = set(re.findall(r"'(?:org\.ioregion1\.Error\.)?([A-Z]\w+)'", tests))
        for name in re.findall(r'"org\.ioregion1\.Error\.(\w+)"', read('daemon/refusal.c')):
            with self.subTest(name):
                self.assertIn(name, reached)


class Catalog(unittest.TestCase):
    source = ''.join(read(path) for path in ('daemon/journal.c', 'clients/devices/pvpanic.c',
                                             'clients/devices/announcement.c'))

    def test_it_explains_every_kind_of_record(self):
        ids = re.findall(r'"([0-9a-f]{32})"', self.source)
        self.assertEqual(sorted(re.findall(r'^-- ([0-9a-f]{32})$', read('daemon/ioregiond.catalog'), re.M)), sorted(ids))
        self.assertEqual(len(ids), len(set(ids)))

    def test_its_fields_are_those_of_the_records(self):
        fields = set(re.findall(r'@(\w+)@', read('daemon/ioregiond.catalog')))
        self.assertLessEqual(fields, set(re.findall(r'\b(OBJECT_[A-Z]+|IOREGION_[A-Z]+)\b', self.source)))


if __name__ == '__main__':
    tap.main()
