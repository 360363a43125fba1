# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a module's tests and report each in the Test Anything Protocol, which meson counts one by one."""

import sys
import traceback
import unittest


class Result(unittest.TestResult):
    count = 0

    def _say(self, good, test, remark=''):
        Result.count += 1
        print(f"{'ok' if good else 'not ok'} {Result.count} {test.id().removeprefix('__main__.')}{remark}", flush=True)

    def _fail(self, test, error):
        self._say(False, test)
        for line in ''.join(traceback.format_exception(*error)).splitlines():
            print('#', line, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._say(True, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._say(True, test, f' # SKIP {reason}')

    def addError(self, test, error):
        super().addError(test, error)
        self._fail(test, error)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._fail(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self._fail(subtest, error)


def main():
    """Run the calling program's tests, or those that its arguments name."""
    loader = unittest.defaultTestLoader
    module = sys.modules['__main__']
    suite = loader.loadTestsFromNames(sys.argv[1:], module) if sys.argv[1:] else loader.loadTestsFromModule(module)
    result = suite.run(Result())
    print(f'1..{Result.count}', flush=True)
    sys.exit(not result.wasSuccessful() or not Result.count)
