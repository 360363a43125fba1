#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shipped policies fit the schema, the schema fits the language, and the bus policy says what it should."""

import copy
import json
import pathlib
import unittest
import xml.etree.ElementTree as xml

import tap

try:
    import jsonschema
except ImportError:
    jsonschema = None

POLICY = pathlib.Path(__file__).resolve().parents[2] / 'policy'


def read(name):
    return json.loads((POLICY / name).read_text())


@unittest.skipUnless(jsonschema, 'python3-jsonschema is not installed')
class Schema(unittest.TestCase):
    files = ['default.json'] + [str(p.relative_to(POLICY)) for p in sorted(POLICY.glob('examples/*.json'))]

    def setUp(self):
        self.validator = jsonschema.Draft7Validator(read('policy.schema.json'))

    def test_is_a_schema(self):
        jsonschema.Draft7Validator.check_schema(read('policy.schema.json'))

    def test_shipped_files_fit(self):
        self.assertEqual(len(self.files), 4)
        for name in self.files:
            with self.subTest(name):
                self.assertEqual([e.message for e in self.validator.iter_errors(read(name))], [])

    def refuse(self, change):
        policy = copy.deepcopy(read('examples/fleet.json'))
        change(policy)
        self.assertFalse(self.validator.is_valid(policy), policy)

    def test_refuses_what_the_loader_refuses(self):
        device = lambda p: p['devices'][0]
        self.refuse(lambda p: p.pop('version'))
        self.refuse(lambda p: p.update(version=2))
        self.refuse(lambda p: p.update(vmm=[]))
        self.refuse(lambda p: p['limits'].update({'attach-rate': 100}))
        self.refuse(lambda p: p['limits'].update(vms=-1))
        self.refuse(lambda p: p['operators'][0]['match'].update(unit='x'))
        self.refuse(lambda p: device(p).update(match={}))
        self.refuse(lambda p: device(p).update(vms=[]))
        self.refuse(lambda p: device(p).update(regions=[]))
        self.refuse(lambda p: device(p).update(name='default'))
        self.refuse(lambda p: device(p).update(name='.x'))
        self.refuse(lambda p: device(p).update(timeout='1'))
        self.refuse(lambda p: device(p).update(interrupts=[4096]))
        self.refuse(lambda p: device(p)['limits'].update(channels=65))
        self.refuse(lambda p: device(p)['regions'][0].update(base=0x3f8))
        self.refuse(lambda p: device(p)['regions'][0].update(within=['0', '1']))
        self.refuse(lambda p: device(p)['regions'][0].update(align='4K'))
        self.refuse(lambda p: p.update(reserved=[{'space': 'pio', 'base': '1', 'size': '1'}]))
        self.refuse(lambda p: p.update(reserved=[{'space': 'pio', 'base': '1', 'why': ''}]))

    def test_knows_the_keys_that_the_loader_knows(self):
        source = ''.join(p.read_text() for p in POLICY.glob('compile*.c'))
        schema = json.dumps(read('policy.schema.json'))
        for key in set(__import__('re').findall(r'\{"([a-z$-]+)", JSON_', source)):
            self.assertIn(f'"{key}": {{', schema)


class BusPolicy(unittest.TestCase):
    def rules(self, name, **attributes):
        root = xml.fromstring((POLICY / name).read_text())
        policies = [p for p in root.findall('policy') if all(p.get(k) == v for k, v in attributes.items())]
        return [rule for policy in policies for rule in policy]

    def test_only_the_service_owns_the_name(self):
        self.assertEqual([r.attrib for r in self.rules('org.ioregion1.conf', user='ioregion')],
                         [{'own': 'org.ioregion1'}])

    def test_denies_by_default_and_allows_by_interface(self):
        rules = self.rules('org.ioregion1.conf', context='default')
        self.assertEqual([r.attrib for r in rules if r.tag == 'deny'],
                         [{'own': 'org.ioregion1'}, {'send_destination': 'org.ioregion1'}])
        sends = [r for r in rules if r.tag == 'allow' and 'send_destination' in r.attrib]
        self.assertTrue(sends)
        for rule in sends:
            self.assertIn('send_interface', rule.attrib)
        self.assertNotIn('Set', [r.get('send_member') for r in sends])

    def test_locked_down_allows_nothing_to_everyone(self):
        rules = self.rules('examples/locked-down.conf', context='default')
        self.assertEqual({r.tag for r in rules}, {'deny'})


if __name__ == '__main__':
    tap.main()
