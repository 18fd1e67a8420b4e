#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the library. `bench.py COMMAND --help` says more; Benchmarks/README.md says what the figures mean."""

import argparse
import datetime
import json
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import endtoend, guard, machine, plots, processes, program, report, rfc2544, scenarios

# Processes of each scenario; those that take long to set up have the fewest.
PROCESSES = {"quick": 3, "full": 5, "8M": 3}
PACKETS_WORDS = ["--rounds", "5", "--count", "65536"]
QUICK_WORDS = {"changes": ["--seconds", "0.2"], "handover": ["--seconds", "0.2"], "scale": ["--seconds", "0.2"]}


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def words_of(words, quick):
    """A scenario's command line with what depends on the run."""
    placed = [] if words[0] in ("changes", "handover", "scale") else ["--cpu", str(program.last_cpu())]
    shorter = PACKETS_WORDS if words[0] == "packets" else QUICK_WORDS.get(words[0], []) if quick else []
    return [*words, *placed, *shorter]


def processes_of(name, words, quick):
    return PROCESSES["8M" if name.endswith("8M") else "quick" if quick or words[0] != "packets" else "full"]


def measure(chosen, quick):
    """Every scenario once, then every scenario again: a slow spell of the machine meets one process of a scenario, not all."""
    results = {name: [] for name in chosen}
    refused = {}
    start = time.monotonic()
    passes = max(processes_of(name, words, quick) for name, words in chosen.items())
    for number in range(passes):
        for position, (name, words) in enumerate(chosen.items(), 1):
            if name in refused or number >= processes_of(name, words, quick):
                continue
            progress(f"[pass {number + 1}/{passes}, {position}/{len(chosen)}, {time.monotonic() - start:.0f} s] {name}")
            try:
                results[name].append(program.run(words_of(words, quick)))
            except program.Refused as refusal:
                refused[name] = {"error": str(refusal)}
    return {name: refused.get(name) or processes.combine(results[name]) for name in chosen}


def count(chosen, measured, quick):
    """Add the instructions of the scenarios that are counted."""
    for name, result in measured.items():
        if "error" in result or not scenarios.matches(name, scenarios.COUNTED) or (quick and not name.endswith(("flows-1k", "ipv6-1k"))):
            continue
        progress(f"[instructions] {name}")
        engines = ("apus", "c") if "c" in result else ("apus",)
        try:
            counted = {engine: program.count(chosen[name], engine) for engine in engines}
        except program.Refused as refusal:
            result["instructions_unavailable"] = str(refusal)
            continue
        result["instructions_per_packet"] = {engine: total for engine, (total, _) in counted.items()}
        result["instruction_places"] = program.readable(counted["apus"][1])


def begin(quick, libraries):
    when = datetime.datetime.now(datetime.timezone.utc)
    return {"format": 2, "when": when.isoformat(timespec="seconds"), "quick": quick,
            "machine": machine.fingerprint(libraries), "scenarios": {}}


def end(result, libraries, start, out):
    """Write a run, print its table; the exit status of the program."""
    result["seconds"] = round(time.monotonic() - start, 1)
    result["machine"]["load_after"] = os.getloadavg()
    if machine.digests(libraries) != result["machine"]["digests"]:
        sys.exit("bench.py: a library was built anew while it was measured: these figures belong to nothing")
    directory = pathlib.Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{datetime.datetime.fromisoformat(result['when']):%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(report.table(result)))
    progress(f"{path}, {result['seconds']} s")
    return 1 if any("error" in found for found in result["scenarios"].values()) else 0


def run(options):
    program.build()
    chosen = scenarios.select(options.quick, options.only)
    if not chosen:
        sys.exit(f"bench.py: no scenario is called {options.only}")
    start = time.monotonic()
    result = begin(options.quick, [program.LIBRARY])
    result["scenarios"] = measure(chosen, options.quick)
    count(chosen, result["scenarios"], options.quick)
    return end(result, [program.LIBRARY], start, options.out)


def dpdk(options):
    endtoend.build()
    chosen = endtoend.select(options.quick, options.only)
    if not chosen:
        sys.exit(f"bench.py: no scenario is called {options.only}")
    if options.ports and len(options.ports) != 4 and options.ports != ["memif"]:
        sys.exit("bench.py: --ports takes four ports, or \"memif\"")
    peers, absent = endtoend.peers(options.peers)
    if options.ports == ["memif"] and "ovs" in peers:
        peers.remove("ovs")
        absent["ovs"] = "its end of a memif gets no link"
    for name, reason in absent.items():
        progress(f"{name} is not measured: {reason}")
    start = time.monotonic()
    libraries = [*endtoend.LIBRARIES, endtoend.contender.FORWARDER]
    result = begin(options.quick, libraries)
    result["absent"] = absent
    pages = endtoend.pages(options.pages)
    if options.ports:
        chosen = {name.replace("dpdk/", "rfc2544/"): case for name, case in chosen.items() if case.is_for_ports}
        result["scenarios"] = rfc2544.run(chosen, ["apus", *peers], options.quick, pages, options.ports, progress)
    else:
        result["scenarios"] = endtoend.run(chosen, peers, options.quick, pages, progress)
    return end(result, libraries, start, options.out)


def load(path):
    try:
        found = json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        sys.exit(f"bench.py: {path}: {error.strerror}")
    except ValueError:
        sys.exit(f"bench.py: {path} is no run of this program")
    if not isinstance(found, dict) or found.get("format") != 2 or "machine" not in found:
        sys.exit(f"bench.py: {path} is no run of this program")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = argparse.ArgumentParser(add_help=False)
    measuring.add_argument("--quick", action="store_true", help="the most telling scenarios, in less than two minutes")
    measuring.add_argument("--only", metavar="GLOB", help="scenarios with such a name; `--only list` lists all")
    measuring.add_argument("--out", default=str(machine.ROOT / "build/benchmarks/runs"), metavar="DIR",
                           help="where the JSON file goes; without: build/benchmarks/runs")
    commands.add_parser("run", parents=[measuring], help="measure the library, print a table, write one JSON file")
    command = commands.add_parser("dpdk", parents=[measuring], help="the same end to end over DPDK, beside other switches")
    command.add_argument("--peers", metavar="LIST", help="beside Apus, of ovs,testpmd, with a comma between; without it those that are installed; \"\": Apus alone")
    command.add_argument("--ports", nargs="+", metavar="PORT", help="search NDR, PDR and MRR over ports: the tester's sending and "
                         "receiving one, the forwarder's first and second (PCI addresses, or vdevs); \"memif\": without NICs")
    command.add_argument("--pages", choices=("huge", "small"), help="memory of DPDK; without: huge pages if enough are free")
    command = commands.add_parser("compare", help="two runs, figure by figure")
    command.add_argument("old")
    command.add_argument("new")
    command = commands.add_parser("guard", help="instructions per packet against Benchmarks/baseline.json")
    command.add_argument("--update", action="store_true", help="write the baseline")
    command = commands.add_parser("table", help="print a run again")
    command.add_argument("run")
    command = commands.add_parser("plot", help="a run as SVG pictures")
    command.add_argument("run")
    command.add_argument("--out", default=str(machine.ROOT / "build/benchmarks/plots"), metavar="DIR")
    options = parser.parse_args()
    # What was started is ended, and its directories go, however this program is asked to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.command in ("run", "dpdk"):
        if options.only == "list":
            print("\n".join(scenarios.arguments() if options.command == "run" else endtoend.cases()))
            return 0
        return run(options) if options.command == "run" else dpdk(options)
    if options.command == "compare":
        print("\n".join(report.comparison(load(options.old), load(options.new))))
    elif options.command == "table":
        print("\n".join(report.table(load(options.run))))
    elif options.command == "guard":
        program.build()
        return guard.guard(options.update, progress)
    else:
        plots.plot(load(options.run), pathlib.Path(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
