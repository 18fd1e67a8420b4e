#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The demonstration: the book's "Simple setup" of Hyper-V Network Virtualization, with two tenants.

As root it starts two forwarders, one per host, gives every virtual machine a network namespace with a tap,
and lets the machines ping each other. Without root (or with --replay) it plays the same story
through `apusctl replay`. The exit status is 0 if everything came out as it should.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from accounting import Account
from frames import Captured
from replay import ReplayNetwork
from report import (
    decode_here,
    decode_with_tshark,
    find_echo_request,
    heading,
    outcome_table,
    paint,
)
from system import Interrupted, SetupError, interrupt_on_signals
from topology import (
    APUSCTL,
    C_FORWARDER,
    HOSTS,
    SWIFT_FORWARDER,
    Lab,
    Outcome,
    machine,
    machines_of,
    missing_for_lab,
    trials,
)

_TIME_LIMIT = 150


def print_picture(names: tuple[str, str]) -> None:
    """Draw the setup."""
    width = 40

    def box(host: int) -> list[str]:
        lines = ["+" + "-" * width + "+"]
        for vm in machines_of(host):
            text = f" {vm.name:<11} {vm.address:<11} VSID {vm.virtual_subnet_id}"
            lines.append("|" + text.ljust(width) + "|")
        return lines + ["+" + "-" * width + "+"]

    left, right = box(1), box(2)
    titles = [f"Host {host.number}: {name}" for host, name in zip(HOSTS, names)]
    addresses = [f"provider address {host.provider_address}" for host in HOSTS]
    gap = ["       "] * len(left)
    gap[len(left) // 2 - 1] = " NVGRE "
    gap[len(left) // 2] = "======="
    for pair in (titles, addresses):
        print(f"  {pair[0].ljust(width + 2)}       {pair[1]}")
    for one, between, other in zip(left, gap, right):
        print(f"  {one}{between}{other}")
    print("\n  Contoso and Woodgrove use the same IP and MAC addresses. Only the virtual subnet differs.")


def print_frames(underlay: Sequence[Captured]) -> bool:
    """Show one frame per tenant between the hosts; false if there is none."""
    found = True
    for tenant, full in (("Contoso", True), ("Woodgrove", False)):
        source, target = machine(f"{tenant}1"), machine(f"{tenant}3")
        frame = find_echo_request(underlay, source.virtual_subnet_id, source.address, target.address)
        if frame is None:
            print(f"  No echo request from {source.name} to {target.name} was seen between the hosts.")
            found = False
            continue
        lines = decode_with_tshark(frame)
        decoder = "tshark" if lines else "this program (tshark is not installed)"
        lines = lines or decode_here(frame)
        if not full:
            lines = [line for line in lines if "Key" in line or "key" in line or "Internet Protocol" in line]
        print(f"  {source.name} asks {target.name}, {len(frame.data)} bytes, decoded by {decoder}:\n")
        for line in lines:
            print(f"      {paint(line, 'bold') if 'VSID' in line else line}")
        print()
    return found


def print_verdict(outcomes: Sequence[Outcome], other_faults: Sequence[str], seconds: float) -> int:
    """Say whether all is well; the exit status."""
    good = sum(outcome.as_expected for outcome in outcomes)
    faults = list(other_faults)
    if good != len(outcomes):
        faults.insert(0, f"{len(outcomes) - good} of {len(outcomes)} pings did not come out as expected")
    for fault in faults:
        print(paint(f"  UNEXPECTED: {fault}", "red"))
    if not faults:
        print(paint(f"  All {good} pings came out as expected, and every frame is accounted for.", "green"))
    print(f"  ({seconds:.0f} s)\n")
    return 1 if faults else 0


def real_demo() -> int:
    """The demonstration with real forwarders, real machines and real pings."""
    start = time.monotonic()
    faults: list[str] = []
    heading('Apus: the book\'s "Simple setup", two tenants, real pings')
    print_picture((f"{SWIFT_FORWARDER.name} (Swift)", f"{C_FORWARDER.name} (C)"))
    print("\n  Starting both hosts and eight machines ...", flush=True)
    with Lab() as lab:
        print("  Each is a network namespace; another terminal can use them while this runs, e.g.")
        print(f"    ip netns exec {lab.namespace('Contoso1')} ping 10.0.1.103")
        capture = lab.capture_underlay()

        heading("Who reaches whom (both tenants at the same time)")
        outcomes = lab.run_trials(trials())
        print("\n".join(outcome_table(outcomes)))

        heading("The same customer addresses on the wire, told apart by the GRE key")
        underlay = capture.stop()
        if not print_frames(underlay):
            faults.append("a frame that had to travel between the hosts was not seen there")

        for host in HOSTS:
            forwarder = lab.forwarders[host.number]
            account = Account.from_json(forwarder.statistics())
            before = len(forwarder.output())
            stopped = forwarder.stop()
            heading(f"Accounting of Host {host.number} ({forwarder.program.name})")
            print("\n".join("  " + line for line in stopped.output[before:].strip("\n").splitlines()))
            if stopped.status != 0:
                faults.append(f"{forwarder.program.name} ended with status {stopped.status}")
            faults += [f"Host {host.number}: {text}" for text in account.faults()]
    print()
    return print_verdict(outcomes, faults, time.monotonic() - start)


def replay_demo(reason: str) -> int:
    """The same story through `apusctl replay`."""
    start = time.monotonic()
    faults: list[str] = []
    heading('Apus: the book\'s "Simple setup", two tenants, offline')
    print(f"  {reason}, so this is a replay: frames are made by this program, go through")
    print("  `apusctl replay` once for each host, and no packet touches a real network.")
    print("  Run it as root to see two forwarders and real machines.\n")
    print_picture(("apusctl replay", "apusctl replay"))
    with tempfile.TemporaryDirectory(prefix="apus-") as directory:
        result = ReplayNetwork(APUSCTL, Path(directory)).play(trials())

        heading("Who reaches whom (one echo request each)")
        print("\n".join(outcome_table(result.outcomes)))

        heading("The same customer addresses on the wire, told apart by the GRE key")
        if not print_frames(result.underlay):
            faults.append("a frame that had to travel between the hosts was not seen there")

        for host in HOSTS:
            heading(f"Accounting of Host {host.number} (apusctl replay --policy {host.policy.name})")
            account = Account.from_json(result.counters[host.number])
            print("\n".join(account.lines()))
            faults += [f"Host {host.number}: {text}" for text in account.faults()]
    print()
    return print_verdict(result.outcomes, faults, time.monotonic() - start)


def main() -> int:
    """Parse the command line, choose the way, and clean up whatever happens."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--replay", action="store_true", help="do it offline, with `apusctl replay`, even as root")
    arguments = parser.parse_args()
    interrupt_on_signals(_TIME_LIMIT)
    try:
        missing = "You asked for it" if arguments.replay else missing_for_lab()
        return real_demo() if missing is None else replay_demo(missing)
    except SetupError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(f"\ndemo: stopped ({interrupted}); everything has been cleaned up", file=sys.stderr)
        return interrupted.status


if __name__ == "__main__":
    sys.exit(main())
