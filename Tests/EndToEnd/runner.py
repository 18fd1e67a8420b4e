# SPDX-License-Identifier: Apache-2.0
"""Runs test cases: a line for each test, reasons at once, a time limit, and one line that sums up."""

from __future__ import annotations

import sys
import time
import unittest
from collections.abc import Sequence
from typing import Any

from system import Interrupted, interrupt_on_signals
from topology import missing_for_lab


class _Result(unittest.TestResult):
    """Prints a line for each test as it ends, and the reasons of failures at once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0
        self._start = 0.0
        self._broken: set[str] = set()

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._start = time.monotonic()

    def _say(self, word: str, test: unittest.TestCase, text: str = "") -> None:
        name = test.id().removeprefix("__main__.")
        print(f"  {word:<4}  {name}  ({time.monotonic() - self._start:.1f} s)", flush=True)
        for line in text.strip().splitlines():
            print(f"          {line}", flush=True)

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed += 1
        self._say("ok", test)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._say("FAIL", test, self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._say("FAIL", test, self.errors[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            failures = len(self.failures)
            super().addSubTest(test, subtest, err)
            where = self.failures if len(self.failures) > failures else self.errors
            self._say("FAIL", subtest, where[-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        print(f"SKIP {test.id().removeprefix('__main__.')}: {reason}", flush=True)

    @property
    def failed(self) -> int:
        """Tests (and parts of tests) that failed."""
        return len(self.failures) + len(self.errors)


def _tests(cases: Sequence[type[unittest.TestCase]], words: Sequence[str]) -> unittest.TestSuite:
    """The tests whose names contain one of the words; all of them without words."""
    suite = unittest.TestSuite()
    for case in cases:
        for name in unittest.TestLoader().getTestCaseNames(case):
            test = case(name)
            if not words or any(word in test.id() for word in words):
                suite.addTest(test)
    return suite


def run_tests(what: str, cases: Sequence[type[unittest.TestCase]], time_limit: int) -> int:
    """Run the tests that the command line chooses; the exit status is 0 if none failed."""
    suite = _tests(cases, sys.argv[1:])
    if reason := missing_for_lab():
        print(f"SKIP {what}: {reason}")
        print(f"0 passed, 0 failed, {suite.countTestCases()} skipped")
        return 0
    interrupt_on_signals(time_limit)
    result = _Result()
    try:
        suite.run(result)
    except Interrupted as interrupted:
        print(f"stopped: {interrupted}", file=sys.stderr)
        return interrupted.status
    print(f"{result.passed} passed, {result.failed} failed, {len(result.skipped)} skipped")
    return 0 if result.wasSuccessful() else 1
