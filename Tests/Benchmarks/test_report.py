# SPDX-License-Identifier: Apache-2.0
"""That every figure is printed with what it is measured in, and that what is made of figures is made of the right ones."""

import json
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Benchmarks"))
from harness import report, scenarios, stages, units

CONTROL = ("changes.c", "records.c", "sharing.c")


def figures():
    """The names of all figures of control scenarios, from the program's source."""
    for file in CONTROL:
        for line in (ROOT / "Benchmarks/core" / file).read_text().splitlines():
            found = re.search(r'json_(?:number|integer)\("(\w+)"', line)
            if found:
                yield found[1]


def packets(*cycles):
    return {"scenario": "packets", "conditions": {}, "apus": {"cycles_per_packet": {"median": 0, "least": 0, "greatest": 0}},
            "processes": [{"apus": {"cycles_per_packet": {"median": value}}} for value in cycles]}


class Selection(unittest.TestCase):
    def test_a_name_is_itself_a_pattern_what_fits_it_and_else_a_part_of_names(self):
        for only, chosen in {"core/encap/flows-1": ["core/encap/flows-1"], "core/*cap/miss-1M": ["core/encap/miss-1M", "core/decap/miss-1M"],
                             "frame-570": ["core/encap/frame-570", "core/decap/frame-570"]}.items():
            self.assertEqual(list(scenarios.select(True, only)), chosen)

    def test_what_does_not_exist_is_refused(self):
        for only in ("", "nothing"):
            with self.assertRaisesRegex(SystemExit, "no scenario is called"):
                scenarios.select(False, only)


class Report(unittest.TestCase):
    def test_every_control_figure_has_a_unit(self):
        names = list(figures())
        self.assertGreater(len(names), 30)
        self.assertEqual([name for name in names if units.unit(name) is None], [])

    def test_units(self):
        for name, unit in {"all_milliseconds": "ms", "nanoseconds_until_commit_returns.p99": "ns", "victim_beside_limited_flood": "cycles/packet",
                           "victim_throughput_kept_with_limit": "share of 1", "inserts_per_second_in_one_transaction": "records/s",
                           "frames_under_old_policy": "frames", "something_else": None}.items():
            self.assertEqual(units.unit(name), unit, name)

    def test_ipv6_is_compared_with_ipv4_of_the_same_pass(self):
        run = {"scenarios": {"core/encap/flows-1k": packets(100, 200, 100), "core/encap/ipv6-1k": packets(130, 240, 110),
                             "core/encap/ipv6-64k": packets(1, 1, 1), "core/decap/flows-1k": {"error": "none"}, "core/decap/ipv6-1k": packets(1)}}
        self.assertEqual(dict(report.ipv6_ratios(run, "apus")), {"core/encap/ipv6-1k": {"median": 1.2, "least": 1.1, "greatest": 1.3}})
        self.assertEqual(dict(report.ipv6_ratios(run, "c")), {})

    def test_ipv6_has_its_ipv4(self):
        names = scenarios.arguments()
        for name, words in names.items():
            if "/ipv6-" in name and name.replace("/ipv6-", "/flows-") in names:
                other = names[name.replace("/ipv6-", "/flows-")]
                self.assertEqual(words, [*other, "--family", "6"])

    def test_the_places_of_known_flows_have_a_stage(self):
        baseline = json.loads((ROOT / "Benchmarks/baseline.json").read_text())["scenarios"]
        for name, found in baseline.items():
            sums = stages.split(found["places"])
            self.assertAlmostEqual(sum(sums.values()), sum(found["places"].values()))
            if "miss" not in name:
                self.assertLess(sums["rest: first packets"], 0.01 * found["instructions_per_packet"], name)
                # What is only switched gets no header.
                never = ("rest: first packets", "apply: headers") if "/switch/" in name else ("rest: first packets",)
                self.assertTrue(all(sums[stage] > 0 for stage in stages.STAGES if stage not in never), name)


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=1)
    result = program.result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
