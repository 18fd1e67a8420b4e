# SPDX-License-Identifier: Apache-2.0
"""Instructions per packet against a stored baseline: they repeat exactly, so a change is a change of the code or compiler."""

import json
import sys

from . import machine, program, scenarios

BASELINE = machine.ROOT / "Benchmarks/baseline.json"
# The same code compiled again gives the same number; this is what a change may cost without being talked about.
TOLERANCE = 0.01
SHOWN = 8


def measure(progress):
    found = {}
    for name, words in scenarios.arguments().items():
        if scenarios.matches(name, scenarios.COUNTED):
            progress(name)
            total, places = program.count(words, "apus")
            found[name] = {"instructions_per_packet": round(total, 3),
                           "places": {place: round(value, 2) for place, value in program.readable(places).items()}}
    return {"tolerance": TOLERANCE, "swiftc": machine.first_line("swiftc", "--version"), "scenarios": found}


def explain(old, new):
    """The places that changed most."""
    changes = {place: new.get(place, 0) - old.get(place, 0) for place in set(old) | set(new)}
    for place, value in sorted(changes.items(), key=lambda change: -abs(change[1]))[:SHOWN]:
        if abs(value) >= 0.05:
            yield f"    {value:+8.2f}  {old.get(place, 0):7.2f} -> {new.get(place, 0):7.2f}  {place}"


def baseline():
    try:
        known = json.loads(BASELINE.read_text())
        return {key: known[key] for key in ("tolerance", "swiftc", "scenarios")}
    except OSError as error:
        reason = error.strerror
    except (ValueError, KeyError, TypeError) as error:
        reason = f"is no baseline: {error}"
    sys.exit(f"bench.py: {BASELINE.relative_to(machine.ROOT)}: {reason}; `bench.py guard --update` writes one")


def guard(update, progress):
    """0: no scenario needs more instructions than the baseline and its tolerance say."""
    known = None if update else baseline()
    found = measure(progress)
    if update:
        BASELINE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(f"{BASELINE.relative_to(machine.ROOT)}: {len(found['scenarios'])} scenarios")
        return 0
    is_comparable = known["swiftc"] == found["swiftc"]
    if not is_comparable:
        print(f"The baseline was made by another compiler: {known['swiftc']}; this is {found['swiftc']}.")
    worse = better = 0
    for name, new in found["scenarios"].items():
        old = known["scenarios"].get(name)
        if old is None:
            print(f"{name}: not in the baseline: update it")
            worse += 1
            continue
        a, b = old["instructions_per_packet"], new["instructions_per_packet"]
        change = b / a - 1
        verdict = "more" if change > known["tolerance"] else "less" if change < -known["tolerance"] else "same"
        worse += verdict == "more"
        better += verdict == "less"
        print(f"{name:<28} {a:9.2f} -> {b:9.2f}  {change:+.2%}  {verdict}")
        if verdict != "same":
            print("\n".join(explain(old["places"], new["places"])))
    if better:
        print(f"{better} scenarios need fewer instructions: `bench.py guard --update` keeps that.")
    count = len(found["scenarios"])
    print(f"{worse} of {count} scenarios need more than {known['tolerance']:.0%} more instructions.")
    if not is_comparable:
        print(f"0 passed, 0 failed, {count} skipped")
        return 0
    print(f"{count - worse} passed, {worse} failed")
    return 1 if worse else 0
