#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""coverage.py BUILD PART:FOLDER...: tell which share of each part's lines ran; fail below the bar."""

import collections
import json
import subprocess
import sys

BAR = 90


def main():
    build, *parts = sys.argv[1:]
    summary = json.loads(subprocess.run(['gcovr', '--root', '.', '--object-directory', build, '--json-summary', '-'],
                                        check=True, capture_output=True, text=True).stdout)
    lines = collections.Counter()
    for file in summary['files']:
        for part, folder in (part.split(':') for part in parts):
            if file['filename'].startswith(folder):
                lines[part, 'ran'] += file['line_covered']
                lines[part, 'all'] += file['line_total']
    shares = {part: 100 * lines[part, 'ran'] / max(1, lines[part, 'all']) for part, _ in (p.split(':') for p in parts)}
    print('coverage:', *(f'{part} {share:.0f} %' for part, share in shares.items()))
    sys.exit(any(share < BAR for share in shares.values()))


main()
