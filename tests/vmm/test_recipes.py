# SPDX-License-Identifier: LGPL-2.1-or-later
"""The recipes of doc/unmodified-vmms.md do what they say."""

import json
import os
import re
import shlex
import subprocess

import comparison
from comparison import RUN
from daemon import BUILD

with open(f'{os.environ["IOREGION_SOURCE"]}/doc/unmodified-vmms.md') as document:
    TEXT = document.read()
# What libvirt 9 starts, shortened: to ask, and for a domain
PROBE = '-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg -qmp stdio'
DOMAIN = ('-name guest=alpha-1,debug-threads=on -S -machine pc,usb=off,dump-guest-core=off -accel kvm '
          '-cpu qemu64,-sse3 -m 32 -smp 1 -no-user-config -nodefaults -display none -qmp stdio '
          '-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny')


def recipes(kind):
    return re.findall(rf'```{kind}\n(.*?)```', TEXT, flags=re.S)


class Recipes(comparison.Case):
    def emulator(self):
        """The script, with this build's ioregion-run; its path."""
        path = f'{self.directory}/qemu-ioregion'
        script, = recipes('sh')
        with open(path, 'w') as file:
            file.write(script)
        os.chmod(path, 0o755)
        return path

    def start(self, arguments):
        """QEMU as libvirt would start it, and its answers to these questions."""
        qemu = subprocess.Popen([self.emulator(), *arguments.split()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True, env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.bus.address,
                                                'PATH': f'{os.path.dirname(RUN)}:{os.environ["PATH"]}'})
        self.addCleanup(self.stop, qemu)
        self.assertIn('QMP', qemu.stdout.readline())
        for command in ('qmp_capabilities', 'query-kvm'):
            qemu.stdin.write(f'{{"execute": "{command}"}}\n')
            qemu.stdin.flush()
            answer = qemu.stdout.readline()
        self.assertTrue(json.loads(answer)['return']['enabled'])
        return qemu

    def stop(self, qemu):
        qemu.kill()
        qemu.communicate(timeout=20)

    def test_libvirt_asks(self):
        """Nothing is registered, and nothing refused."""
        self.start(PROBE)
        self.assertEqual(self.vm_names(), [])

    def test_libvirt_starts_a_domain(self):
        self.start(DOMAIN)
        self.assertEqual(self.vm_names(), ['alpha-1'])

    def test_unit(self):
        """systemd takes it as it is."""
        unit, drop_in = recipes('ini')
        path = f'{self.directory}/vm-alpha.service'
        with open(path, 'w') as file:
            file.write(unit.replace('ExecStart=ioregion-run', f'ExecStart={RUN}').replace('User=vmm', 'User=root'))
        verified = subprocess.run(['systemd-analyze', 'verify', '--man=no', path], capture_output=True, text=True,
                                  timeout=30)
        complaints = [line for line in verified.stderr.splitlines() if 'vm-alpha' in line]
        self.assertEqual(complaints, [])
        command = shlex.split(re.search('^ExecStart=(.*)$', unit, re.M)[1])
        self.assertEqual(command[:5], ['ioregion-run', '--vm', 'alpha', '--', 'qemu-system-x86_64'])
        self.assertIn('vm-alpha.service', drop_in)

    def test_policy(self):
        """It lets a VM's own unit register it, and no other."""
        policy, = recipes('json')
        self.write_policy(policy.replace('"vmm"', '"daemon"'), 'recipe.json')
        for unit, words in (('vm-alpha.service', 'Allowed'), ('vm-beta.service', 'Denied')):
            answer = subprocess.run([f'{BUILD}/clients/ioregionctl/ioregionctl', 'policy', 'explain', 'vm=alpha',
                                     f'unit={unit}', 'user=daemon', f'policy={self.directory}/policy.d/recipe.json'],
                                    capture_output=True, text=True, timeout=20)
            self.assertIn(words, answer.stdout + answer.stderr)


if __name__ == '__main__':
    comparison.main()
