#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""initrd.py OUT INIT FOLDER:... MODULE...: an uncompressed initial RAM disk (cpio, "newc") of a program and modules.

The modules and what they depend on are looked for in the folders, uncompressed, and named in modules/order as they
have to be loaded.
"""

import lzma
import os
import re
import sys


def entry(name, mode, data=b''):
    """One member: header, name, data, the last two padded to four bytes."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b'070701' + b''.join(b'%08X' % field for field in fields) + name.encode() + b'\0'
    return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)


def content(path):
    with (lzma.open if path.endswith('.xz') else open)(path, 'rb') as file:
        return file.read()


def find(folders):
    """All modules below, by name."""
    return {re.sub(r'\.ko(\.xz)?$', '', name).replace('-', '_'): f'{path}/{name}'
            for folder in folders for path, _, names in os.walk(folder) for name in names
            if re.search(r'\.ko(\.xz)?$', name)}


def add(modules, paths, name):
    """A module, behind those that it depends on; one that is not to be found is built into the kernel."""
    if name not in paths or name in modules:
        return
    data = content(paths[name])
    for other in re.search(rb'\0depends=([^\0]*)', data)[1].decode().split(','):
        add(modules, paths, other.replace('-', '_'))
    modules[name] = data


def main():
    out, init, folders, *names = sys.argv[1:]
    modules, paths = {}, find(folders.split(':'))
    for name in names:
        add(modules, paths, name)
    with open(out, 'wb') as archive:
        archive.write(entry('init', 0o100755, content(init)) + entry('modules', 0o040755))
        archive.write(entry('modules/order', 0o100644, '\n'.join([*modules, '']).encode()))
        for name, data in modules.items():
            archive.write(entry(f'modules/{name}.ko', 0o100644, data))
        archive.write(entry('TRAILER!!!', 0))


main()
