# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tool for people, run against the real broker."""

import json
import os
import subprocess

import rig
from privatebus import LIMIT
from rig import BUILD

TOOL = f'{BUILD}/clients/ioregionctl/ioregionctl'
ROOTS = {'name': 'roots', 'match': {'user': 'root'}, 'vms': ['*'], 'regions': [rig.RAM, rig.PORTS],
         'features': rig.FEATURES, 'limits': {'regions': 4, 'channels': 2}, 'timeout': '1s', 'grace': '60s',
         'on-disconnect': ['hold']}


class Tool(rig.Case):
    policy = {**rig.POLICY, 'devices': [*rig.POLICY['devices'], ROOTS]}

    def run_tool(self, *arguments, address=None, status=0, **environment):
        """What it says on standard output and standard error."""
        with subprocess.Popen([TOOL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address or self.bus.address, 'LC_ALL': 'C',
                                   **environment}) as process:
            texts = {process.stdout: b'', process.stderr: b''}
            for stream in texts:
                while more := self.read(stream):
                    texts[stream] += more
            self.assertEqual(process.wait(LIMIT), status, texts)
        return tuple(text.decode() for text in texts.values())

    def read(self, stream):
        self.play_vmms(stream)
        return os.read(stream.fileno(), 65536)

    def json(self, *arguments):
        return json.loads(self.run_tool(*arguments, '--json')[0])
