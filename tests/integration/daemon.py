# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon under test."""

import os
import socket
import subprocess

from privatebus import LIMIT, die_with_the_test

BUILD = os.environ.get('IOREGION_BUILD', 'build')
# Sanitizers and coverage make system calls of their own, which the filters are right to forbid
INSTRUMENTED = bool(os.environ.get('IOREGION_INSTRUMENTED'))
SECCOMP = 'off' if INSTRUMENTED else 'kill'
USER = os.environ.get('IOREGION_USER')


class Daemon:
    """ioregiond, from READY to its end, which must be clean."""

    def __init__(self, directory, address, *arguments, wrapper=(), environment=()):
        self.log_path = f'{directory}/log'
        if USER and '--user' not in arguments:
            arguments += ('--user', USER)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(self.log_path, 'a') as log:
            notify.bind(f'{directory}/notify')
            os.chmod(f'{directory}/notify', 0o666)
            environment = {**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': address, 'NOTIFY_SOCKET': f'{directory}/notify',
                           **dict(environment)}
            self.process = subprocess.Popen([*wrapper, f'{BUILD}/daemon/ioregiond', '--policy', f'{directory}/policy.d',
                                             '--seccomp', SECCOMP, *arguments], stdout=log, stderr=log, env=environment,
                                            preexec_fn=die_with_the_test)
            self.pid = self.process.pid
            notify.settimeout(LIMIT)
            try:
                while b'READY=1' not in notify.recv(4096):
                    pass
            except TimeoutError:
                self.process.kill()
                self.process.wait()
                raise RuntimeError(f'the daemon does not get ready:\n{self.log()}') from None
        os.unlink(f'{directory}/notify')

    def log(self):
        with open(self.log_path, errors='replace') as log:
            return log.read()

    def fds(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def rss(self):
        """In KiB."""
        with open(f'/proc/{self.pid}/status') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('VmRSS:'))

    def stop(self):
        """Its exit status and log."""
        self.process.terminate()
        try:
            return self.process.wait(LIMIT), self.log()
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(), self.log()
