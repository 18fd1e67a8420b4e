# SPDX-License-Identifier: Apache-2.0
"""End to end over DPDK: a source, a forwarder, a sink, one core; contenders take turns with the same frames."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from . import contender, ovs, scenarios
from .machine import ROOT, first_line
from .processes import spread
from .program import Refused

LIBRARIES = [ROOT / f"build/lib/lib{name}.so" for name in ("apus", "apus_dpdk", "apus_policy")]
PACKAGES = {"ovs": "openvswitch-switch-dpdk", "testpmd": "dpdk-dev"}
PROGRAMS = {"ovs": [ovs.VSWITCHD, "ovsdb-server", "ovs-vsctl", "unshare", "nsenter", "ip"], "testpmd": ["dpdk-testpmd"]}
CONTENDERS = {"apus": contender.Apus, "ovs": ovs.OpenVSwitch, "testpmd": contender.Testpmd}
PAIRS = {"apus": contender.ApusPair, "testpmd": contender.TestpmdPair}
HUGE_PAGES = 1024
TURN = {"quick": 0.25, "full": 0.5}
ROUNDS = {"quick": 3, "full": 5}
PASSES = {"quick": 1, "full": 3}
# So many times the rounds that are wanted, where those do not count in which a CPU was not free.
TRIES = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """Frames of a source, and the work that is to be done on them: encap, decap or, on two CPUs, one after the other."""

    direction: str
    flows: int
    records: int = 1
    hosts: int = 1
    frame: int = 64
    ring: int = 0
    is_rule_per_record: bool = False

    # The frames as the device knows them (dpdk/device.c).
    received = property(lambda self: "outer-back" if self.direction == "decap" else "inner")
    sent = property(lambda self: {"encap": "outer", "decap": "inner-back", "back-to-back": "inner"}[self.direction])
    frames = property(lambda self: f"flows={self.flows},records={self.records},hosts={self.hosts},frame={self.frame}")
    # Room for the outer header, where a frame needs it.
    mtu = property(lambda self: 1500 if self.frame <= 1400 else 1600)
    # NICs have rings of their own.
    is_for_ports = property(lambda self: self.direction != "back-to-back" and self.ring == 0)
    contenders = property(lambda self: PAIRS if self.direction == "back-to-back" else CONTENDERS)


def cases(ports=None):
    """Every case: name -> Case; those for real ports have names of their own."""
    found = {}
    for direction in scenarios.TUNNEL:
        for label in ("1k", "64k", "1M"):
            found[f"dpdk/{direction}/flows-{label}"] = Case(direction, scenarios.SIZES[label])
        for label in ("1k", "64k"):
            size = scenarios.SIZES[label]
            found[f"dpdk/{direction}/records-{label}"] = Case(direction, size, size, 64, is_rule_per_record=True)
        found[f"dpdk/{direction}/frame-1500"] = Case(direction, 65536, frame=1500)
        for label in ("1k", "64k", "1M"):
            found[f"dpdk/{direction}/ring-4096-{label}"] = Case(direction, scenarios.SIZES[label], ring=4096)
    for label in ("1k", "64k", "1M"):
        found[f"dpdk/back-to-back/flows-{label}"] = Case("back-to-back", scenarios.SIZES[label])
    if ports:
        return {name.replace("dpdk/", "rfc2544/"): case for name, case in found.items() if case.is_for_ports}
    return found


QUICK = ("dpdk/encap/flows-1k", "dpdk/encap/flows-1M", "dpdk/decap/flows-64k", "dpdk/encap/records-64k")


def select(quick, only, ports):
    """The cases of a run; those that are named are taken from all."""
    chosen = cases(ports)
    if only is not None:
        return scenarios.named(chosen, only)
    return {name: case for name, case in chosen.items() if not quick or scenarios.matches(name.replace("rfc2544/", "dpdk/"), QUICK)}


# ---- what is needed


def missing(peer):
    """Why a peer cannot take part, or None."""
    if peer == "ovs" and "OVS_VSWITCHD" in os.environ and shutil.which(ovs.VSWITCHD) is None:
        return f"OVS_VSWITCHD: {ovs.VSWITCHD} is no program"
    if any(shutil.which(program) is None for program in PROGRAMS[peer]):
        return f"apt-get install --no-install-recommends {PACKAGES[peer]}"
    if peer == "ovs" and os.geteuid() != 0:
        return "needs root, for interfaces in a network namespace of its own"
    return None


def peers(wanted):
    """(names of those that take part, name -> why not). Those that are asked for must be there."""
    names = [name for name in (wanted.split(",") if wanted is not None else PROGRAMS) if name]
    absent = {name: missing(name) if name in PROGRAMS else f"there is no such peer, but {', '.join(PROGRAMS)}" for name in names}
    absent = {name: reason for name, reason in absent.items() if reason}
    if wanted is not None and absent:
        sys.exit("bench.py: " + "; ".join(f"{name}: {reason}" for name, reason in absent.items()))
    return [name for name in names if name not in absent], absent


def build():
    if not contender.FORWARDER.exists():
        sys.exit("bench.py: build/bin/apus-forwarder-c is missing: run `make lib build/bin/apus-forwarder-c` first")
    if first_line("pkg-config", "--modversion", "libdpdk") is None:
        sys.exit("bench.py: libdpdk is missing: apt-get install libdpdk-dev")
    done = subprocess.run(["make", "-s", "-C", str(ROOT / "Benchmarks/dpdk")], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench.py: the device does not build:\n{done.stderr}")


def pages(wanted):
    free = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
    has_room = free.exists() and int(free.read_text()) >= HUGE_PAGES
    if wanted == "huge" and not has_room:
        sys.exit(f"bench.py: fewer than {HUGE_PAGES} huge pages are free: echo {HUGE_PAGES} > /proc/sys/vm/nr_hugepages")
    return wanted or ("huge" if has_room else "small")


def cpus():
    """(for everything else, for the thread that forwards). Where two forward each has one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        sys.exit("bench.py: two CPUs are needed: one forwards, the other measures")
    return allowed[0], allowed[-1]


def cpu_of_tester():
    """The one beside that of the forwarding thread; where there are only two, that of everything else."""
    return sorted(os.sched_getaffinity(0))[-2]


# ---- measuring


def turn(each, seconds):
    packets, took, share = each.turn(seconds)
    if packets == 0:
        raise each.refusal("no packet in a whole turn")
    return {"packets_per_second": packets / took, "cycles_per_packet": each.source.tsc_hertz * took / packets, "share_of_core": share}


def rounds(contenders, count, seconds):
    """Turns of all, A B C C B A; figures by contender, one for each round."""
    found = {each.name: [] for each in contenders}
    least = max(each.least_share for each in contenders)
    for number in range(TRIES * count):
        order = contenders if number % 2 == 0 else contenders[::-1]
        turns = {each.name: turn(each, seconds) for each in order}
        if min(figures["share_of_core"] for figures in turns.values()) < least:
            continue
        for name, figures in turns.items():
            found[name].append(figures)
        if len(found[contenders[0].name]) == count:
            return found
    raise Refused(f"the CPUs were not free: fewer than {count} of {TRIES * count} rounds in which each thread had {least:.0%} of its own")


def measure(case, contenders, quick):
    """One case with all contenders."""
    size = "quick" if quick else "full"
    result = {"scenario": "end-to-end", "conditions": {
        **dataclasses.asdict(case), "turn_seconds": TURN[size], "rounds": ROUNDS[size], "pages": contenders[0].pages,
        "cpus": contenders[0].cpus}}
    for each in contenders:
        each.start(case)
    before = {each.name: each.totals() for each in contenders}
    found = rounds(contenders, ROUNDS[size], TURN[size])
    result["tsc_hertz"] = contenders[0].source.tsc_hertz
    for each in contenders:
        checked = each.check(TURN[size])
        each.account(before[each.name])
        result[each.name] = {
            **{key: spread([turn[key] for turn in found[each.name]]) for key in found[each.name][0]}, "frames_checked": checked}
    for each in contenders[1:]:
        ratios = [a["packets_per_second"] / b["packets_per_second"] for a, b in zip(found["apus"], found[each.name])]
        result[f"apus_speed_over_{each.name}"] = spread(ratios)
    for each in contenders:
        result["conditions"][each.name] = each.conditions()
        each.finish()
    return result


def combine(results):
    """Median over passes; of one pass, over its rounds."""
    combined = dict(results[0])
    if len(results) == 1:
        return combined
    for key, value in results[0].items():
        if key.startswith("apus_speed_over_"):
            combined[key] = spread([result[key]["median"] for result in results])
        elif key in CONTENDERS:
            combined[key] = {
                figure: spread([result[key][figure]["median"] for result in results]) if isinstance(inner, dict)
                else sum(result[key][figure] for result in results) for figure, inner in value.items()}
    combined["processes"] = results
    return combined


class Field:
    """The contenders of a run. Open vSwitch lives through all cases, the others for one."""

    def __init__(self, names, page_size):
        self.names = names
        self.pages = page_size
        self._stack = contextlib.ExitStack()
        self._switch = None

    def __enter__(self):
        self._directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="apus-bench-", dir="/dev/shm"))
        self._count = 0
        return self

    def __exit__(self, *what):
        self._stack.close()

    def _make(self, maker, stack):
        self._count += 1
        directory = pathlib.Path(self._directory) / str(self._count)
        directory.mkdir()
        made = maker(directory, cpus(), self.pages)
        stack.callback(made.close)
        return made

    def _contender(self, name, case, stack):
        if name != "ovs":
            return self._make(case.contenders[name], stack)
        if self._switch is None:
            self._switch = self._make(ovs.OpenVSwitch, self._stack)
        return self._switch

    def measure(self, case, quick):
        with contextlib.ExitStack() as stack:
            contenders = [self._contender(name, case, stack) for name in self.names if name in case.contenders]
            try:
                return measure(case, contenders, quick)
            except Refused:
                # What may be in any state is not for the next case.
                if self._switch is not None:
                    self._switch.close()
                    self._switch = None
                raise


def run(chosen, peers, quick, page_size, progress):
    """All cases, as many times as there are passes: name -> result, or why there is none; and whether nobody interrupted."""
    results = {name: [] for name in chosen}
    refused = {}
    is_complete = True
    try:
        with Field(["apus", *peers], page_size) as field:
            passes = PASSES["quick" if quick else "full"]
            for number in range(passes):
                for position, (name, case) in enumerate(chosen.items(), 1):
                    if name in refused:
                        continue
                    progress(f"[pass {number + 1}/{passes}, {position}/{len(chosen)}] {name}")
                    try:
                        results[name].append(field.measure(case, quick))
                    except Refused as refusal:
                        refused[name] = {"error": str(refusal)}
    except KeyboardInterrupt:
        is_complete = False
    measured = {name: refused.get(name) or combine(results[name]) for name in chosen if name in refused or results[name]}
    return measured, is_complete
