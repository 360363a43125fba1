#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the test run counts is what happened."""

import json
import pathlib
import subprocess
import tempfile
import unittest

import tap

TALLY = pathlib.Path(__file__).resolve().parents[1] / 'lib/tally.py'


def tally(*tests):
    """Counts, and what is told."""
    with tempfile.NamedTemporaryFile('w') as log:
        for result, stdout in tests:
            print(json.dumps({'name': 'suite / t', 'result': result, 'stdout': stdout}), file=log)
        log.flush()
        done = subprocess.run([TALLY, log.name], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip(), done.stderr


class Tally(unittest.TestCase):
    def test_without_cases_the_test_counts(self):
        self.assertEqual(tally(('OK', ''), ('FAIL', ''), ('TIMEOUT', ''))[0], '1 2 0')
        counts, told = tally(('SKIP', 'first\nno such tool\n'))
        self.assertEqual(counts, '0 0 1')
        self.assertIn('no such tool', told)

    def test_cases_count_one_by_one(self):
        counts, told = tally(('FAIL', '1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no bus\n'))
        self.assertEqual(counts, '1 1 1')
        self.assertIn('failed: suite / t: b', told)
        self.assertIn('skipped: suite / t: c: no bus', told)

    def test_cmocka_skips_in_a_way_of_its_own(self):
        counts, told = tally(('OK', '1..2\n# no /dev/kvm\nnot ok 1 # SKIP test_a\nok 2 - test_b\n# ok - tests\n'))
        self.assertEqual(counts, '1 0 1')
        self.assertIn('skipped: suite / t: test_a: no /dev/kvm', told)

    def test_a_bad_end_behind_good_cases_is_a_failure(self):
        self.assertEqual(tally(('FAIL', '1..2\nok 1 - a\nok 2 - b\n'))[0], '2 1 0')
        self.assertEqual(tally(('TIMEOUT', '1..2\nok 1 - a\n'))[0], '1 1 0')


if __name__ == '__main__':
    tap.main()
