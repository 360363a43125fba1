#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""initrd.py OUT NAME=FILE...: an uncompressed initial RAM disk (cpio, "newc") of programs and modules.

Modules that come compressed (.xz) are uncompressed.
"""

import lzma
import sys


def entry(name, mode, data=b''):
    """One member: header, name, data, the last two padded to four bytes."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b'070701' + b''.join(b'%08X' % field for field in fields) + name.encode() + b'\0'
    return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)


def content(path):
    with (lzma.open if path.endswith('.xz') else open)(path, 'rb') as file:
        return file.read()


def main():
    out, members = sys.argv[1], [argument.split('=', 1) for argument in sys.argv[2:]]
    with open(out, 'wb') as archive:
        for folder in sorted({name.rpartition('/')[0] for name, _ in members} - {''}):
            archive.write(entry(folder, 0o040755))
        for name, path in members:
            archive.write(entry(name, 0o100755, content(path)))
        archive.write(entry('TRAILER!!!', 0))


main()
