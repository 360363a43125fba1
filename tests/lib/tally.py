#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tally.py TESTLOG.json: count what meson ran, case by case where a test reports its cases (TAP).

Tells skips with their reasons and failures on standard error, and "PASSED FAILED SKIPPED" on standard output.
"""

import json
import re
import sys

# a comment, and the case behind it; cmocka's skipped ones are "not ok", named behind SKIP, and explained before
CASE = re.compile(r'^(?:# (.*)\n)?(not )?ok\b[ \d-]*(.*?)(?:\s*#\s*(SKIP)\b\s*(.*))?$', re.MULTILINE | re.IGNORECASE)
GOOD, SKIPPED = ('OK', 'EXPECTEDFAIL'), 'SKIP'


def cases(test):
    """(case, verdict, reason) for each case; the test itself where it has none, or ended badly all the same."""
    output = test.get('stdout', '')
    found = False
    if re.search(r'^1\.\.\d+', output, re.MULTILINE):
        for comment, bad, name, skip, reason in CASE.findall(output):
            verdict = 'skipped' if skip else 'failed' if bad else 'passed'
            found = found or verdict != 'passed' or test['result'] in GOOD
            yield (name, verdict, reason) if name or not skip else (reason, verdict, comment)
    if not found:
        verdict = 'passed' if test['result'] in GOOD else 'skipped' if test['result'] == SKIPPED else 'failed'
        why = (output.strip().splitlines() or [''])[-1] if verdict == 'skipped' else test['result']
        yield test['name'], verdict, why


def main():
    counts = dict.fromkeys(('passed', 'failed', 'skipped'), 0)
    with open(sys.argv[1]) as log:
        for test in map(json.loads, log):
            for name, verdict, reason in cases(test):
                counts[verdict] += 1
                if verdict != 'passed':
                    print(f"{verdict}: {test['name']}: {name}: {reason}", file=sys.stderr)
    print(*counts.values())


main()
