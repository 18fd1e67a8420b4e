# SPDX-License-Identifier: Apache-2.0
"""Throughput by trials, as in RFC 2544, found as draft-ietf-bmwg-mlrsearch finds it.

A goal is a loss that is tolerated: none (NDR, the throughput of RFC 2544), or a small part (PDR). A single trial says little about a
device that now and then loses a frame, or about one that happened not to. A load is therefore decided by the time that its
trials took: it is a lower bound of the throughput when at most `exceed_ratio` of `duration_sum` can still turn out bad, an upper
bound when more than that was bad. All goals share the trials; short trials narrow the interval before long ones decide.

Loads are frames per second. `measure(load, seconds)` returns the part of the frames that was lost.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is searched, and when it is found."""

    loss_ratio: float
    exceed_ratio: float = 0.5
    # How far apart the bounds may be at the end, as a part of the upper one.
    width: float = 0.005
    trial_seconds: float = 1.0
    duration_sum: float = 21.0


@dataclasses.dataclass(frozen=True)
class Found:
    """The bounds of a goal. `lower` None: not even the least load was good enough. `upper` None: the greatest was."""

    lower: float | None
    upper: float | None
    # What came through at the lower bound: the load without the loss that the goal's trials there had.
    throughput: float | None


# Shorter trials, in coarser steps, before those of the goal: (part of the trial's length, times the width).
STAGES = ((0.1, 8.0), (0.3, 2.8), (1.0, 1.0))


class Search:
    def __init__(self, measure, least, greatest):
        self._measure = measure
        self.least, self.greatest = least, greatest
        self.trials = {}
        self.count = 0

    def trial(self, load, seconds):
        loss = self._measure(load, seconds)
        self.trials.setdefault(load, []).append((seconds, loss))
        self.count += 1
        return loss

    # ---- what the trials of a load say

    def _verdict(self, load, goal, seconds, duration_sum):
        """True: a lower bound. False: an upper bound. None: not known yet. Of trials that long or longer."""
        counted = [(length, loss) for length, loss in self.trials.get(load, []) if length >= seconds * 0.999]
        good = sum(length for length, loss in counted if loss <= goal.loss_ratio)
        bad = sum(length for length, loss in counted if loss > goal.loss_ratio)
        whole = max(good + bad, duration_sum)
        missing = whole - good - bad
        if bad > whole * goal.exceed_ratio:
            return False
        return True if bad + missing <= whole * goal.exceed_ratio else None

    def _bounds(self, verdict):
        """(greatest lower bound below the least upper bound, least upper bound)."""
        known = {load: verdict(load) for load in self.trials}
        upper = min((load for load, is_good in known.items() if is_good is False), default=None)
        lower = max((load for load, is_good in known.items() if is_good and (upper is None or load < upper)), default=None)
        return lower, upper

    # ---- searching

    def _decide(self, load, goal, seconds, duration_sum):
        while self._verdict(load, goal, seconds, duration_sum) is None:
            self.trial(load, seconds)

    def _next(self, lower, upper, width, hint, tries):
        """The load to be tried, or None when the bounds are close enough, or at the ends."""
        step = (1 - width) ** (2 ** tries)
        if lower is None and upper is None:
            return min(max(hint, self.least), self.greatest)
        if upper is None:
            return None if lower >= self.greatest else min(lower / step, self.greatest)
        if lower is None:
            return None if upper <= self.least else max(upper * step, self.least)
        if (upper - lower) / upper <= width * 1.000001:
            return None
        return math.sqrt(lower * upper)

    def _stage(self, goal, part, widening, hint):
        seconds, width = goal.trial_seconds * part, goal.width * widening
        # Before the last stage a single trial decides.
        duration_sum = goal.duration_sum if part == 1.0 else seconds
        tries = 0
        while True:
            lower, upper = self._bounds(lambda load: self._verdict(load, goal, seconds, duration_sum))
            load = self._next(lower, upper, width, hint, tries)
            if load is None:
                return lower, upper
            self._decide(load, goal, seconds, duration_sum)
            tries += 1

    def _throughput(self, load, goal):
        """At the lower bound: of the trials in order of their loss, the one that `exceed_ratio` of the time is worse than."""
        counted = sorted((loss, length) for length, loss in self.trials[load] if length >= goal.trial_seconds * 0.999)
        whole = max(sum(length for _, length in counted), goal.duration_sum)
        left = whole * (1 - goal.exceed_ratio)
        loss = 0.0
        for loss, length in counted:
            left -= length
            if left <= 0:
                break
        return load * (1 - loss)

    def run(self, goals):
        """The bounds of each goal, hardest goal first."""
        # What comes through at the greatest load is near what is searched.
        shortest = min(goal.trial_seconds for goal in goals) * STAGES[0][0]
        hint = self.greatest * (1 - self.trial(self.greatest, shortest))
        results = {}
        for part, widening in STAGES:
            for goal in sorted(goals, key=lambda goal: goal.loss_ratio):
                near = results[goal][0] if goal in results else None
                results[goal] = self._stage(goal, part, widening, near or hint)
        return {goal: Found(lower, upper, None if lower is None else self._throughput(lower, goal))
                for goal, (lower, upper) in results.items()}


def received_at_most(measure, greatest, seconds, trials):
    """MRR: what comes through when the greatest load is offered, frames per second of each trial."""
    return [greatest * (1 - measure(greatest, seconds)) for _ in range(trials)]
