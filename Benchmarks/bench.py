#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the library. `bench.py COMMAND --help` says more; Benchmarks/README.md says what the figures mean."""

import argparse
import datetime
import fcntl
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import endtoend, guard, machine, plots, processes, program, report, rfc2544, scenarios

# Of the JSON file of a run.
FORMAT = 2
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
    """Every scenario once, then every scenario again: a slow spell of the machine meets one process of a scenario, not all. Returns what was
    measured, and whether that is all: it is not if somebody interrupted."""
    results = {name: [] for name in chosen}
    refused = {}
    start = time.monotonic()
    passes = max(processes_of(name, words, quick) for name, words in chosen.items())
    is_complete = True
    try:
        for number in range(passes):
            for position, (name, words) in enumerate(chosen.items(), 1):
                if name in refused or number >= processes_of(name, words, quick):
                    continue
                progress(f"[pass {number + 1}/{passes}, {position}/{len(chosen)}, {time.monotonic() - start:.0f} s] {name}")
                try:
                    results[name].append(program.run(words_of(words, quick)))
                except program.Refused as refusal:
                    refused[name] = {"error": str(refusal)}
    except KeyboardInterrupt:
        is_complete = False
    measured = {name: refused.get(name) or processes.combine(results[name]) for name in chosen if name in refused or results[name]}
    return measured, is_complete


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
    return {"format": FORMAT, "when": when.isoformat(timespec="seconds"), "quick": quick,
            "machine": machine.fingerprint(libraries), "scenarios": {}}


def destination(out):
    """The directory of runs; before anything is measured for it."""
    directory = pathlib.Path(out)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        sys.exit(f"bench.py: --out: {out}: {error.strerror}")
    return directory


def alone():
    """A lock for as long as it is held: two measurements at once are none."""
    lock = open(pathlib.Path(tempfile.gettempdir()) / "apus-bench.lock", "a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        sys.exit(f"bench.py: another measurement is running on this machine (process {lock.read().strip() or '?'})")
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def write(result, directory, kind):
    """Into a file that was not there."""
    when = f"{datetime.datetime.fromisoformat(result['when']):%Y%m%d-%H%M%S}"
    number = 1
    while True:
        path = directory / f"{when}-{kind}{'' if number == 1 else f'-{number}'}.json"
        try:
            with open(path, "x") as file:
                file.write(json.dumps(result, indent=1) + "\n")
            return path
        except FileExistsError:
            number += 1


def end(result, libraries, start, directory, kind):
    """Write a run, print its table; the exit status of the program."""
    result["seconds"] = round(time.monotonic() - start, 1)
    result["machine"]["load_after"] = os.getloadavg()
    if machine.digests(libraries) != result["machine"]["digests"]:
        sys.exit("bench.py: a library was built anew while it was measured: these figures belong to nothing")
    if not result["scenarios"]:
        sys.exit(f"bench.py: {'interrupted' if not result['complete'] else 'nothing was chosen'}: no figures")
    path = write(result, directory, kind)
    print("\n".join(report.table(result)))
    progress(f"{path}, {result['seconds']} s")
    if not result["complete"]:
        progress("interrupted: not all was measured")
        return 128 + signal.SIGINT
    return 1 if any("error" in found for found in result["scenarios"].values()) else 0


def run(options):
    directory, lock = destination(options.out), alone()
    chosen = scenarios.select(options.quick, options.only)
    program.build()
    start = time.monotonic()
    result = begin(options.quick, [program.LIBRARY])
    result["scenarios"], result["complete"] = measure(chosen, options.quick)
    if result["complete"]:
        count(chosen, result["scenarios"], options.quick)
    return end(result, [program.LIBRARY], start, directory, "run")


def dpdk(options):
    if options.ports and len(options.ports) != 4 and options.ports != ["memif"]:
        sys.exit("bench.py: --ports takes four ports, or \"memif\"")
    directory, lock = destination(options.out), alone()
    chosen = endtoend.select(options.quick, options.only, options.ports)
    endtoend.build()
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
        found = rfc2544.run(chosen, ["apus", *peers], options.quick, pages, options.ports, progress)
    else:
        found = endtoend.run(chosen, peers, options.quick, pages, progress)
    result["scenarios"], result["complete"] = found
    return end(result, libraries, start, directory, "dpdk")


def load(path):
    try:
        found = json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        sys.exit(f"bench.py: {path}: {error.strerror}")
    except UnicodeDecodeError:
        sys.exit(f"bench.py: {path} is no run of this program: it is no text")
    except ValueError as error:
        sys.exit(f"bench.py: {path} is no run of this program: {error}")
    if not isinstance(found, dict) or "format" not in found:
        sys.exit(f"bench.py: {path} is no run of this program: it has no \"format\"")
    if found["format"] != FORMAT:
        sys.exit(f"bench.py: {path}: its format is {found['format']}, this program reads {FORMAT}")
    for key in ("machine", "scenarios"):
        if not isinstance(found.get(key), dict):
            sys.exit(f"bench.py: {path} is no run of this program: \"{key}\" is {'missing' if key not in found else 'no object'}")
    if not all(isinstance(result, dict) for result in found["scenarios"].values()):
        sys.exit(f"bench.py: {path} is no run of this program: a scenario in it is no object")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = argparse.ArgumentParser(add_help=False)
    measuring.add_argument("--quick", action="store_true", help="the most telling scenarios, in less than two minutes")
    measuring.add_argument("--only", metavar="GLOB", help="the scenario with this name, those that fit it, or else those that contain it, whether --quick "
                           "has them or not; `--only list` lists all")
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
    command.add_argument("--out", metavar="DIR", help="where the pictures go; without: build/benchmarks/plots/RUN")
    options = parser.parse_args()
    # What was started is ended, and its directories go, however this program is asked to end.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.command in ("run", "dpdk"):
        if options.only == "list":
            print("\n".join(scenarios.arguments() if options.command == "run" else endtoend.cases(options.ports)))
            return 0
        return run(options) if options.command == "run" else dpdk(options)
    if options.command == "compare":
        old, new = load(options.old), load(options.new)
        if not old["scenarios"].keys() & new["scenarios"].keys():
            sys.exit("bench.py: the runs have no scenario in common")
        print("\n".join(report.comparison(old, new)))
    elif options.command == "table":
        print("\n".join(report.table(load(options.run))))
    elif options.command == "guard":
        program.build()
        return guard.guard(options.update, progress)
    else:
        found = load(options.run)
        return plots.plot(found, pathlib.Path(options.out or machine.ROOT / "build/benchmarks/plots" / pathlib.Path(options.run).stem))
    return 0


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        progress("interrupted")
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read the table has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
