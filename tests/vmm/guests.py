# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guests that were built, and their arguments."""

import os
import struct

from daemon import BUILD

MARK = b'guest arguments:'
ARGUMENTS = 4


def image(directory, name, *values):
    """A copy of guest NAME.rom or NAME.sector that finds these values as its arguments; its path."""
    with open(f'{BUILD}/tests/vmm/guests/{name}', 'rb') as file:
        data = bytearray(file.read())
    at = data.index(MARK) + len(MARK)
    data[at:at + 4 * ARGUMENTS] = struct.pack(f'<{ARGUMENTS}I', *values, *[0] * (ARGUMENTS - len(values)))
    path = f'{directory}/{name}'
    with open(path, 'wb') as file:
        file.write(data)
    return path


def boot(path):
    """QEMU's options to run it: in place of the BIOS, or from the BIOS."""
    return ['-drive', f'file={path},format=raw,if=ide'] if path.endswith('.sector') else ['-bios', path]


def missing():
    """Why no guest can be run here, or None."""
    if not os.access('/dev/kvm', os.R_OK | os.W_OK):
        return 'no /dev/kvm'
    if not any(os.access(f'{folder}/qemu-system-x86_64', os.X_OK) for folder in os.get_exec_path()):
        return 'no qemu-system-x86_64'
    return None
