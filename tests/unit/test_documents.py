#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the documents say is what the code says."""

import pathlib
import re
import shutil
import subprocess
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
        for path in ('README.md', 'doc/protocol.md', 'doc/architecture.md'):
            for target in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', read(path)):
                with self.subTest(document=path, target=target):
                    self.assertTrue((ROOT / path).parent.joinpath(target).exists())


class Readme(unittest.TestCase):
    def test_its_device_is_the_one_that_is_built(self):
        shown = re.search(r'<!-- example-latch\.c -->\n```c\n(.*?)```\n<!-- end -->', read('README.md'), flags=re.S)
        self.assertEqual(shown[1], read('clients/devices/example-latch.c'))


class Manual(unittest.TestCase):
    def test_ioregionctl_page_is_well_formed(self):
        if not shutil.which('mandoc'):
            self.skipTest('no mandoc')
        lint = subprocess.run(['mandoc', '-Tlint', '-Wstyle', ROOT / 'doc/ioregionctl.1'], capture_output=True,
                              text=True, timeout=30)
        # whether other pages are installed is no matter of ours
        self.assertEqual([line for line in lint.stdout.splitlines() if 'referenced manual not found' not in line], [])


if __name__ == '__main__':
    tap.main()
