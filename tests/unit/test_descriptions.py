#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped device descriptions fit the schema, and the schema fits the reader."""

import copy
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import tap

try:
    import jsonschema
except ImportError:
    jsonschema = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
READER = ROOT / 'clients/ioregionctl/description.c'
PROGRAM = pathlib.Path(os.environ.get('IOREGION_BUILD', ROOT / 'build')) / 'clients/ioregionctl/ioregionctl'
LIMIT = 20  # seconds


def read(path):
    return json.loads((ROOT / path).read_text())


@unittest.skipUnless(jsonschema, 'python3-jsonschema is not installed')
class Schema(unittest.TestCase):
    def setUp(self):
        self.schema = read('clients/ioregionctl/device.schema.json')
        self.validator = jsonschema.Draft202012Validator(self.schema)

    def test_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(self.schema)

    def test_shipped_files_fit(self):
        files = [*sorted((ROOT / 'units').glob('*.json')), ROOT / 'clients/demo/scratch.json']
        self.assertEqual(len(files), 6)
        for path in files:
            with self.subTest(path.name):
                self.assertEqual([error.message for error in self.validator.iter_errors(read(path))], [])

    def is_read(self, description):
        """By the reader: what it understands, it would attach, if there were somebody to keep the descriptors."""
        with tempfile.NamedTemporaryFile('w', suffix='.json') as file:
            json.dump(description, file)
            file.flush()
            said = subprocess.run([PROGRAM, 'attach', 'vm', 'device', '--description', file.name], timeout=LIMIT,
                                  env={key: value for key, value in os.environ.items() if key != 'NOTIFY_SOCKET'},
                                  stderr=subprocess.PIPE, text=True).stderr
            self.assertRegex(said, f'{file.name}:1:|there is no service manager')
        return 'there is no service manager' in said

    def judge(self, change, good):
        description = copy.deepcopy(read('units/uart.json'))
        change(description, description['regions'][0])
        self.assertEqual((self.validator.is_valid(description), self.is_read(description)), (good, good), description)

    def accept(self, change):
        self.judge(change, True)

    def refuse(self, change):
        self.judge(change, False)

    def test_accepts_what_the_reader_accepts(self):
        self.accept(lambda d, region: None)
        self.accept(lambda d, region: d.update(require=['replay', 'replay'], want=[]))
        self.accept(lambda d, region: d.update(channels=1, timeout='24h'))
        self.accept(lambda d, region: d.update(want=['posted-writes']) or region.update(posted=True))
        for way in ('ones', 'hold', 'remove'):
            self.accept(lambda d, region: d.update({'on-disconnect': way}))
        self.accept(lambda d, region: region.update({'base': '1016', 'size': '0x8', 'user-data': '1K', 'channel': 0}))
        self.accept(lambda d, region: region.update(space='mmio', base='0xffffffffffffffff', size='1'))

    def test_refuses_what_the_reader_refuses(self):
        self.refuse(lambda d, region: d.pop('version'))
        self.refuse(lambda d, region: d.update(version=2))
        self.refuse(lambda d, region: d.update(region=[]))
        self.refuse(lambda d, region: d.update(regions=[]))
        self.refuse(lambda d, region: d.update(channels=65))
        self.refuse(lambda d, region: d.update(timeout='1'))
        self.refuse(lambda d, region: d.update(want=['posted-wites']))
        self.refuse(lambda d, region: d.update({'on-disconnect': 'zeros'}))
        self.refuse(lambda d, region: region.pop('size'))
        self.refuse(lambda d, region: region.update(base=0x3f8))
        self.refuse(lambda d, region: region.update(space='io'))
        self.refuse(lambda d, region: region.update(posted='yes'))
        self.refuse(lambda d, region: region.update(channel=64))

    def test_has_the_keys_that_the_reader_has(self):
        keys = set(re.findall(r'\{"([a-z-]+)", JSON_', READER.read_text()))
        regions = self.schema['properties']['regions']['items']['properties']
        self.assertEqual(keys, set(self.schema['properties']) | set(regions))


if __name__ == '__main__':
    tap.main()
