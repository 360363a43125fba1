# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is left of a container when container.py is killed: nothing. On the machine itself, since it looks from outside.

Inside, it is what runs there: it says so, and waits for its end.
"""

import glob
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import tap

HERE = os.path.dirname(os.path.abspath(__file__))
UP = b'# up\n'
LIMIT = 60  # seconds, of which a container takes about one to boot and one to end


class Container(unittest.TestCase):
    unshared = ''

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def start(self, *wrapper, **environment):
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, f'{HERE}/container.py', __file__, 'wait'], start_new_session=True,
            env={**os.environ, 'IOREGION_UNSHARED': self.unshared, 'TMPDIR': self.directory, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(self.process.stdout.close)
        self.addCleanup(self.process.wait, LIMIT)
        self.addCleanup(self.process.kill)

    def boot(self, *wrapper, **environment):
        self.start(*wrapper, **environment)
        self.assertTrue(select.select([self.process.stdout], [], [], LIMIT)[0], 'it does not boot')
        self.hear()
        self.assertTrue(self.left())

    def hear(self):
        said = self.process.stdout.readline()
        if b'# SKIP' in said:
            self.skipTest(said.decode().strip())
        self.assertEqual(said, UP)

    def groups(self):
        name = f'ioregion-system-{self.process.pid}'
        return [path for pattern in (name, f'*/{name}') for path in glob.glob(f'/sys/fs/cgroup/{pattern}')]

    def left(self):
        return [*self.groups(), *os.listdir(self.directory),
                *glob.glob(f'/run/systemd/nspawn/*/ioregion-system-{self.process.pid}')]

    def wait_until_nothing_is_left(self):
        deadline = time.monotonic() + LIMIT
        while self.left():
            self.assertLess(time.monotonic(), deadline, self.left())

    def test_killed(self):
        self.boot()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait_until_nothing_is_left()

    def test_killed_while_it_boots(self):
        """As soon as anything in the container's control groups is its own."""
        self.start()
        while not any(glob.glob(f'{group}/*/') for group in self.groups()):
            if self.process.poll() is not None:
                self.hear()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait_until_nothing_is_left()

    def test_told_to_end_and_killed(self):
        self.boot()
        os.killpg(self.process.pid, signal.SIGTERM)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait_until_nothing_is_left()

    def test_interrupted(self):
        self.boot()
        os.killpg(self.process.pid, signal.SIGINT)
        self.wait_until_nothing_is_left()
        self.assertNotEqual(self.process.wait(LIMIT), 0)


class Unshared(Container):
    unshared = '1'

    def test_whatever_the_environment_says(self):
        """In a mount namespace of its own, so that this machine keeps its root where it is mistaken for a container."""
        self.boot('unshare', '--mount', UNSHARED='1')


def wait():
    sys.stdout.buffer.write(UP)
    sys.stdout.flush()
    signal.pause()


if __name__ == '__main__':
    wait() if sys.argv[1:] == ['wait'] else tap.main()
