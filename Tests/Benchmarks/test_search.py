#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The search for throughput against simulated devices, whose throughput is known."""

import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Benchmarks"))
from harness import search  # noqa: E402

NDR = search.Goal(0.0)
PDR = search.Goal(0.005)
LEAST, GREATEST = 10_000, 14_880_952


class Device:
    """Passes `capacity` frames a second and loses what is more; in some trials it also loses a part for no reason."""

    def __init__(self, capacity, unlucky=0.0, loses=0.001, seed=1):
        self.capacity, self.unlucky, self.loses = capacity, unlucky, loses
        self.random = random.Random(seed)
        self.seconds = 0.0

    def measure(self, load, seconds):
        self.seconds += seconds
        passed = min(load, self.capacity) / load
        if self.random.random() < self.unlucky:
            passed *= 1 - self.loses
        return 1 - passed


def find(device, goals=(NDR, PDR), least=LEAST, greatest=GREATEST):
    return search.Search(device.measure, least, greatest).run(goals)


class SearchTests(unittest.TestCase):
    def assert_brackets(self, found, throughput, width=0.005):
        self.assertLessEqual(found.lower, throughput * 1.0000001)
        self.assertGreater(found.upper, throughput * 0.9999999)
        self.assertLessEqual((found.upper - found.lower) / found.upper, width * 1.0001)

    def test_exact_devices(self):
        for capacity in (10_500, 123_456, 1_000_000, 7_654_321, 14_800_000):
            with self.subTest(capacity=capacity):
                found = find(Device(capacity))
                self.assert_brackets(found[NDR], capacity)
                # At this load 0.5 % is lost.
                self.assert_brackets(found[PDR], capacity / 0.995)
                self.assertLessEqual(found[PDR].throughput, capacity * 1.0000001)
                self.assertGreaterEqual(found[PDR].throughput, capacity * 0.995)

    def test_a_device_that_loses_nothing_has_no_upper_bound(self):
        found = find(Device(GREATEST * 2))
        self.assertEqual((found[NDR].lower, found[NDR].upper, found[NDR].throughput), (GREATEST, None, GREATEST))

    def test_a_device_that_passes_nothing_has_no_lower_bound(self):
        found = find(Device(LEAST / 2))
        self.assertEqual((found[NDR].lower, found[NDR].upper, found[NDR].throughput), (None, LEAST, None))

    def test_loss_in_fewer_than_half_of_the_trials_is_no_verdict(self):
        for seed in range(5):
            found = find(Device(2_000_000, unlucky=0.15, seed=seed))
            self.assertLess(abs(found[NDR].lower - 2_000_000) / 2_000_000, 0.05)

    def test_loss_in_most_trials_is_one_for_the_hard_goal_only(self):
        found = find(Device(2_000_000, unlucky=0.95, loses=0.001))
        self.assertTrue(found[NDR].lower is None or found[NDR].lower < 1_000_000)
        self.assertLess(abs(found[PDR].lower - 2_000_000) / 2_000_000, 0.02)

    def test_a_bound_takes_its_whole_time(self):
        device = Device(1_000_000)
        tested = search.Search(device.measure, LEAST, GREATEST)
        found = tested.run([NDR])[NDR]
        for bound in (found.lower, found.upper):
            longest = sum(seconds for seconds, _ in tested.trials[bound] if seconds >= NDR.trial_seconds)
            self.assertGreater(longest, NDR.duration_sum * NDR.exceed_ratio)

    def test_the_search_is_short(self):
        for capacity in (123_456, 7_654_321):
            device = Device(capacity)
            find(device)
            self.assertLess(device.seconds, 120)

    def test_half_of_the_time_decides(self):
        tested = search.Search(lambda load, seconds: 0.0, LEAST, GREATEST)
        tested.trials[1000] = [(1.0, 0.0)] * 10 + [(1.0, 0.1)] * 10
        self.assertIsNone(tested._verdict(1000, NDR, 1.0, 21.0))
        tested.trials[1000].append((1.0, 0.0))
        self.assertTrue(tested._verdict(1000, NDR, 1.0, 21.0))
        tested.trials[1000][-1] = (1.0, 0.1)
        self.assertIs(tested._verdict(1000, NDR, 1.0, 21.0), False)

    def test_short_trials_do_not_decide(self):
        tested = search.Search(lambda load, seconds: 0.0, LEAST, GREATEST)
        tested.trials[1000] = [(0.1, 0.0)] * 1000
        self.assertIsNone(tested._verdict(1000, NDR, 1.0, 21.0))

    def test_an_upper_bound_below_a_lower_one_wins(self):
        tested = search.Search(lambda load, seconds: 0.0, LEAST, GREATEST)
        tested.trials = {1000: [(21.0, 0.0)], 2000: [(21.0, 0.1)], 3000: [(21.0, 0.0)]}
        self.assertEqual(tested._bounds(lambda load: tested._verdict(load, NDR, 1.0, 21.0)), (1000, 2000))

    def test_most_that_is_received(self):
        self.assertEqual(search.received_at_most(Device(1000.0).measure, 4000.0, 1.0, 3), [1000.0] * 3)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=1)
    result = program.result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
