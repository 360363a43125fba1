#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is to be found all over the tree: licences, short lines, and a test for each edge case."""

import pathlib
import re
import unittest

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What has no room for comments, or is not ours to write
BARE = re.compile(r'\.json$|^LICENSES/|^tests/fuzz/corpus/|^debian/(?:changelog|copyright|source/format)$')
LATER = re.compile(r'later: \S')


def sources():
    """Every file of the tree, as the repository has it."""
    for path in sorted(ROOT.rglob('*')):
        name = str(path.relative_to(ROOT))
        if path.is_file() and not re.match(r'\.git/|\.git$|build|\.cache/|.*__pycache__/', name):
            yield name


class Licences(unittest.TestCase):
    def test_every_file_names_its_licence_at_its_head(self):
        files = [name for name in sources() if not BARE.search(name)]
        self.assertGreater(len(files), 200)
        for name in files:
            head = (ROOT / name).read_text().splitlines()[:5]
            named = [match[1] for match in map(re.compile(r'SPDX-License-Identifier: (\S+)').search, head) if match]
            self.assertEqual(len(named), 1, name)
            self.assertTrue((ROOT / f'LICENSES/{named[0]}.txt').exists(), name)


class Lines(unittest.TestCase):
    def test_c_has_120_columns(self):
        shipped = [name for name in sources() if re.match(r'(?:clients|daemon|include|policy)/.*\.[ch]$', name)]
        self.assertGreater(len(shipped), 150)
        self.assertEqual([f'{name}:{number}' for name in shipped
                          for number, line in enumerate((ROOT / name).read_text().splitlines(), 1) if len(line) > 120],
                         [])


class EdgeCases(unittest.TestCase):
    """tests/EDGE-CASES.md, line by line: FILE: test, test; FILE: test."""

    rows = dict(re.findall(r'^\| (\d+) \| [^|]+ \| ([^|]+) \|$', (ROOT / 'tests/EDGE-CASES.md').read_text(), re.M))

    def listed(self, row):
        for part in row.split('; '):
            file, _, tests = part.partition(': ')
            for test in tests.split(', '):
                yield file, test

    def test_all_numbers_are_there(self):
        self.assertEqual([int(number) for number in self.rows], list(range(1, 67)))

    def test_every_test_exists(self):
        for number, row in self.rows.items():
            if LATER.match(row):
                continue
            for file, test in self.listed(row):
                with self.subTest(number=number, file=file, test=test):
                    text = (ROOT / 'tests' / file).read_text()
                    self.assertRegex(text, rf'(?m)^    def {test}\(self|^static void {test}\(void( \*\*state)?\)')

    def test_every_test_that_bears_a_number_is_listed(self):
        for path in sorted((ROOT / 'tests').glob('*/test*')):
            file = str(path.relative_to(ROOT / 'tests'))
            for test in re.findall(r'^(?:    def|static void) (test_\d\d_\w*)\(', path.read_text(), re.M):
                for number in re.match(r'test((?:_\d\d(?=_))+)', test)[1].split('_')[1:]:
                    with self.subTest(test=test):
                        self.assertIn((file, test), list(self.listed(self.rows[str(int(number))])))


if __name__ == '__main__':
    tap.main()
