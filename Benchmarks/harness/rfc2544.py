# SPDX-License-Identifier: Apache-2.0
"""Throughput over real ports: a tester on two ports, a contender on two others, NDR, PDR and MRR (search.py)."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile

from . import endtoend, search
from .contender import eal
from .machine import ROOT
from .processes import spread
from .program import Refused

TESTER = ROOT / "build/benchmarks/dpdk/apus-bench-tester"
# FCS, preamble and the gap between frames, on Ethernet.
WIRE_BYTES = 24
OUTER_BYTES = 42
# Where a device does not know its speed.
LINK_MBPS = 10000
# What the tester must have sent of what it should, for a trial to be one.
OFFERED = 0.99
LEAST_LOAD = 1000
WARM_LOAD = 200000
MRR_TRIALS = 5
GOALS = {
    "full": {"ndr": search.Goal(0.0), "pdr": search.Goal(0.005)},
    "quick": {"ndr": search.Goal(0.0, width=0.02, trial_seconds=0.5, duration_sum=2.5),
              "pdr": search.Goal(0.005, width=0.02, trial_seconds=0.5, duration_sum=2.5)},
}


class Tester:
    """apus-bench-tester, which does one trial after another."""

    def __init__(self, ports, case, received, cpu, pages, directory):
        self.log = pathlib.Path(directory) / "log"
        words = [TESTER, "-l", cpu, *eal(pages, 256, ports), "--", *(port.partition(",")[0] for port in ports),
                 f"send={case.received},receive={received},{case.frames}"]
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=self.log.open("w"), env={**os.environ, "RUNTIME_DIRECTORY": str(directory)})

    def answer(self):
        line = self.process.stdout.readline()
        # What a driver prints is not for us.
        while line and not line.startswith("{"):
            line = self.process.stdout.readline()
        if not line:
            raise Refused("the tester ended: " + self.log.read_text()[-500:])
        return json.loads(line)

    def trial(self, load, seconds):
        self.process.stdin.write(f"{load:.3f} {seconds:.3f}\n")
        self.process.stdin.flush()
        found = self.answer()
        if found["wrong"]:
            raise Refused(f"{found['wrong']} of {found['received']} frames that came back are not as they must be")
        return found

    def loss(self, load, seconds):
        found = self.trial(load, seconds)
        if found["sent"] < OFFERED * load * seconds:
            raise Refused(f"the tester sent {found['sent']} frames in {seconds} s, not {load * seconds:.0f}")
        return max(0.0, 1 - found["received"] / found["sent"])

    def greatest_load(self, link, bytes_out):
        """What the slower of the two directions can carry, or the tester send: (frames per second, what limits it)."""
        line = (link["link_mbps"] if 0 < link["link_mbps"] < 1 << 31 else LINK_MBPS) * 1e6 / 8 / (bytes_out + WIRE_BYTES)
        can = self.trial(line, 1.0)["sent"]
        return (line, "line") if can >= OFFERED * line else (can * 0.95, "tester")

    def close(self):
        self.process.kill()
        self.process.communicate()


def warm(tester, contender):
    """Until little is lost at a moderate load: no flow is decided for the first time any more."""
    for _ in range(60):
        found = tester.trial(WARM_LOAD, 0.5)
        if found["received"] > 0.999 * found["sent"]:
            return
    raise contender.refusal(f"of {found['sent']} frames, {WARM_LOAD} a second, {found['received']} came back")


def measure(contender, case, ports, cpu, quick, directory):
    """One contender, one case. Both ports' cables are there; the tester waits for the contender's ends of them."""
    goals = GOALS["quick" if quick else "full"]
    out = contender.out(case)
    with contextlib.ExitStack() as stack:
        stack.callback(contender.close)
        tester = Tester(ports, case, out, cpu, contender.pages, directory)
        stack.callback(tester.close)
        # A memif's client comes when its server is there.
        tester.answer()
        contender.launch(case)
        link = tester.answer()
        warm(tester, contender)
        greatest, limit = tester.greatest_load(link, link["bytes"] + (OUTER_BYTES if out == "outer" else 0))
        received = search.received_at_most(tester.loss, greatest, goals["ndr"].trial_seconds, MRR_TRIALS)
        tested = search.Search(tester.loss, LEAST_LOAD, greatest)
        found = tested.run(list(goals.values()))
        return {"mrr": spread(received), "trials": tested.count, "greatest_load": greatest, "limited_by": limit,
                **{name: dataclasses.asdict(found[goal]) for name, goal in goals.items()}}


def ports_of(words, directory):
    """What `--ports` says: the tester's sending and receiving port, the forwarder's first and second."""
    if words != ["memif"]:
        return words
    return [f"net_memif{number},role={role},socket={directory}/{number},socket-abstract=no"
            for role in ("server", "client") for number in (0, 1)]


def run(chosen, names, quick, page_size, ports, progress):
    """All cases: name -> result, or why there is none; and whether nobody interrupted."""
    results = {}
    try:
        for name, case in chosen.items():
            results[name] = search(name, case, names, quick, page_size, ports, progress)
    except KeyboardInterrupt:
        return results, False
    return results, True


def search(name, case, names, quick, page_size, ports, progress):
    """One case, with all contenders."""
    cpus = endtoend.cpus()
    tester_cpu = endtoend.cpu_of_tester()
    result = {"scenario": "rfc2544", "conditions": {
        **dataclasses.asdict(case), "goals": {key: dataclasses.asdict(goal) for key, goal in GOALS["quick" if quick else "full"].items()},
        "pages": page_size, "cpus": cpus, "tester_cpu": tester_cpu, "ports": ports}}
    for each in names:
        progress(f"{name}: {each}")
        with tempfile.TemporaryDirectory(prefix="apus-bench-", dir="/dev/shm") as directory:
            place = pathlib.Path(directory) / "tester"
            place.mkdir()
            placed = ports_of(ports, directory)
            contender = endtoend.CONTENDERS[each](directory, cpus, page_size, placed[2:])
            try:
                result[each] = measure(contender, case, placed[:2], tester_cpu, quick, place)
                result["conditions"][each] = contender.conditions()
            except Refused as refusal:
                return {"error": str(refusal)}
    return result
