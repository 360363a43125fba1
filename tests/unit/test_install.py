#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is installed is what the documents say, and it is enough to build a device with."""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, PREFIX = os.environ['IOREGION_BUILD'], os.environ['IOREGION_PREFIX']
PROGRAMS = ['bin/ioregion-run', 'bin/ioregionctl', 'sbin/ioregiond', *(f'libexec/ioregiond/{name}' for name in (
    'example-latch', 'example-latch.py', 'ioregion-debugcon', 'ioregion-demo-vmm', 'ioregion-pvpanic',
    'ioregion-scratch', 'ioregion-uart'))]
FILES = [
    *(f'include/ioregion/{name}.h' for name in ('device', 'ioregionfd', 'lease', 'region', 'vmm', 'wire')),
    'LIB/libioregion.so', 'LIB/libioregion.so.0', 'LIB/libioregion.so.0.1.0', 'LIB/pkgconfig/libioregion.pc',
    'LIB/ioregiond/ioregion-run.so',
    'lib/systemd/catalog/ioregiond.catalog', 'lib/systemd/system-preset/80-ioregiond.preset',
    'lib/sysusers.d/ioregiond.conf',
    *(f'lib/systemd/system/{name}.service' for name in (
        'ioregion-debugcon@', 'ioregion-latch@', 'ioregion-pvpanic@', 'ioregion-scratch@', 'ioregion-uart@',
        'ioregiond')),
    'share/bash-completion/completions/ioregionctl',
    'share/dbus-1/interfaces/org.ioregion1.xml', 'share/dbus-1/system-services/org.ioregion1.service',
    'share/dbus-1/system.d/org.ioregion1.conf',
    *(f'share/doc/ioregiond/{name}.md' for name in ('architecture', 'protocol', 'unmodified-vmms', 'writing-a-device')),
    *(f'share/doc/ioregiond/examples/{name}' for name in (
        'fleet.json', 'locked-down.conf', 'locked-down.json', 'single-host.json')),
    *(f'share/ioregiond/{name}.json' for name in (
        'debugcon', 'device.schema', 'latch', 'policy.schema', 'pvpanic', 'scratch', 'uart')),
    'share/man/man1/ioregion-run.1', 'share/man/man1/ioregionctl.1', 'share/man/man3/libioregion.3',
    'share/man/man5/ioregion-policy.5', 'share/man/man5/org.ioregion1.5', 'share/man/man8/ioregion-devices.8',
    'share/man/man8/ioregiond.8',
    'lib/modules-load.d/ioregionfd.conf', 'lib/udev/rules.d/60-ioregionfd.rules',
    *(f'src/ioregionfd-0.1.0/{name}' for name in (
        'Kbuild', 'README.md', 'dkms.conf', 'include/ioregion/ioregionfd.h', *(f'{name}.h' for name in (
            'internal', 'trace')), *(f'{name}.c' for name in (
                'access', 'bind', 'bus', 'channel', 'exchange', 'handle', 'linger', 'main', 'region', 'sentinel',
                'set', 'sweep', 'time', 'vm')))),
]


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix='ioregion-install-')
        cls.addClassCleanup(folder.cleanup)
        cls.stage = pathlib.Path(folder.name) / 'stage'
        subprocess.run(['meson', 'install', '-C', BUILD, '--no-rebuild', '--quiet', '--destdir', cls.stage], check=True,
                       timeout=50, stdout=subprocess.DEVNULL)
        cls.library, = cls.stage.glob('**/libioregion.so')

    def relative(self, path):
        path = '/' + str(path.relative_to(self.stage))
        return path.removeprefix(PREFIX).removeprefix('/')

    def test_all_files_are_where_they_belong(self):
        library = self.relative(self.library.parent)
        policy = 'etc/ioregiond/policy.d/50-default.json'
        expected = [name.replace('LIB', library) for name in PROGRAMS + FILES] + [policy]
        found = [self.relative(path) for path in self.stage.rglob('*') if not path.is_dir() or path.is_symlink()]
        self.assertEqual(sorted(found), sorted(expected))
        for name in PROGRAMS:
            self.assertTrue(os.access(f'{self.stage}{PREFIX}/{name}', os.X_OK), name)

    def test_manuals_name_files_that_are_there(self):
        installed = {re.sub(r'/[^/]*\.json$', '/*.json', self.relative(path)) for path in self.stage.rglob('*')}
        for page in (ROOT / 'doc').glob('*.[1-8]'):
            for path in re.findall(r'^\.It Pa (\S+)', page.read_text(), re.M):
                if path.startswith(('/usr/', '/etc/ioregiond/')):
                    with self.subTest(page=page.name, path=path):
                        name = path.removeprefix('/usr/').strip('/')
                        self.assertIn(re.sub(r'/[^/]*\.json$', '/*.json', name), installed)

    def test_what_is_put_before_a_vmm_shows_no_more_than_it_stands_in_for(self):
        preloaded = self.library.parent / 'ioregiond/ioregion-run.so'
        names = subprocess.run(['nm', '--dynamic', '--defined-only', '--format=just-symbols', preloaded], check=True,
                               capture_output=True, text=True, timeout=20).stdout.split()
        wanted = re.findall(r'^    (\w+);', (ROOT / 'clients/ioregion-run/ioregion-run.sym').read_text(), re.M)
        self.assertEqual(sorted(names), sorted(wanted))

    def test_a_device_is_built_with_what_is_installed(self):
        environment = {**os.environ, 'PKG_CONFIG_PATH': f'{self.library.parent}/pkgconfig',
                       'PKG_CONFIG_SYSROOT_DIR': str(self.stage), 'LD_LIBRARY_PATH': str(self.library.parent)}
        flags = subprocess.run(['pkg-config', '--cflags', '--libs', 'libioregion'], env=environment, check=True,
                               capture_output=True, text=True, timeout=20).stdout
        self.assertIn('-lioregion', flags)
        sanitize = os.environ['IOREGION_SANITIZE']
        program = self.stage.parent / 'latch'
        subprocess.run([*shlex.split(os.environ['IOREGION_COMPILER']), '-Wall', '-Werror',
                        *([] if sanitize == 'none' else [f'-fsanitize={sanitize}']), '-o', program,
                        ROOT / 'clients/devices/example-latch.c', *shlex.split(flags)], check=True, timeout=50)
        latch = subprocess.run([program, 'vm'], capture_output=True, text=True, timeout=20,
                               env={**environment, 'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nonexistent/bus'})
        self.assertEqual(latch.returncode, 1, latch.stderr)
        self.assertIn('VM: ', latch.stderr)


if __name__ == '__main__':
    tap.main()
