# SPDX-License-Identifier: Apache-2.0
"""Building apus-bench, running it, and counting its instructions."""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from .machine import ROOT

LIBRARY = ROOT / "build/lib/libapus.so"
PROGRAM = ROOT / "build/benchmarks/apus-bench"
# Enough bursts that what happens once does not show.
BURSTS = 64


class Refused(Exception):
    """The program measured nothing, and says why."""


def build():
    if not LIBRARY.exists():
        sys.exit("bench.py: build/lib/libapus.so is missing: run `make lib` first")
    done = subprocess.run(["make", "-s", "-C", str(ROOT / "Benchmarks")], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench.py: apus-bench does not build:\n{done.stderr}")


def run(words, timeout=900):
    """One scenario, in a process of its own."""
    try:
        done = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise Refused(f"not finished after {timeout} s") from late
    if done.returncode != 0:
        raise Refused(done.stderr.strip() or f"ended with status {done.returncode}")
    result = json.loads(done.stdout)
    if "conditions" not in result:
        raise Refused("a result without its conditions")
    return result


def last_cpu():
    return max(os.sched_getaffinity(0))


def count(words, engine):
    """Instructions per packet of one engine, in all and by place: "file: function" -> instructions. Repeats exactly."""
    if shutil.which("valgrind") is None:
        raise Refused("valgrind is not installed")
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "callgrind.out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=bench_measured",
             str(PROGRAM), *words, "--engine", engine, "--callgrind", str(BURSTS)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Refused(done.stderr.strip().splitlines()[-1])
        packets = json.loads(done.stdout)["packets_counted"]
        annotated = subprocess.run(
            ["callgrind_annotate", "--threshold=100", "--auto=no", str(out)], capture_output=True, text=True, check=True).stdout
    places = collections.Counter()
    total = None
    for line in annotated.splitlines():
        found = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(.*)$", line)
        if found is None:
            continue
        value = int(found[1].replace(",", ""))
        if found[2].startswith("PROGRAM TOTALS"):
            total = value
        else:
            file, _, function = re.sub(r" \[.*\]$", "", found[2]).rpartition(":")
            places[f"{pathlib.PurePath(file).name}: {function}"] += value
    if total is None:
        raise Refused("callgrind counted nothing")
    return total / packets, {place: value / packets for place, value in places.most_common() if value >= packets / 10}


def readable(places):
    """The same with Swift's names as people write them."""
    tool = shutil.which("swift-demangle") or shutil.which("swift")
    if tool is None:
        return places
    command = [tool] if tool.endswith("demangle") else [tool, "demangle"]
    done = subprocess.run([*command, "--compact", "--simplified"], input="\n".join(places), capture_output=True, text=True)
    names = done.stdout.splitlines()
    return dict(zip(names, places.values())) if len(names) == len(places) else places
