#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How little the shipped units are exposed, by systemd's own measure: tenths, the fewer the better."""

import os
import pathlib
import shutil
import subprocess
import unittest

import tap

UNITS = pathlib.Path(os.environ['IOREGION_BUILD']) / 'units'


class Exposure(unittest.TestCase):
    def check(self, unit, tenths):
        if not shutil.which('systemd-analyze'):
            self.skipTest('no systemd-analyze')
        analysis = subprocess.run(['systemd-analyze', 'security', '--offline=true', '--no-pager',
                                   f'--threshold={tenths}', UNITS / unit], capture_output=True, text=True, timeout=20)
        self.assertIn('Overall exposure level', analysis.stdout, analysis.stderr)
        self.assertEqual(analysis.returncode, 0, analysis.stdout)

    def test_of_the_service(self):
        self.check('ioregiond.service', 4)

    def test_of_devices(self):
        units = sorted(UNITS.glob('ioregion-*@.service'))
        self.assertEqual(len(units), 5)
        for unit in units:
            with self.subTest(unit.name):
                self.check(unit.name, 2)


if __name__ == '__main__':
    tap.main()
