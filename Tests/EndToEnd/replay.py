# SPDX-License-Identifier: Apache-2.0
"""
The "Simple setup" without root: both hosts are runs of `apusctl replay`, the machines are modelled here.

What a host sends depends on what it has received, and that on what the other host and the machines have
sent. A replay is deterministic, so the conversation is found step by step: replay both hosts with all frames
known so far, see what comes out, work out what machines and hosts answer to that, and start over
with the answers added, until nothing new is said.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frames import (
    BROADCAST,
    ETHERTYPE_IPV4,
    PROTOCOL_ICMP,
    Captured,
    arp,
    ethernet,
    icmp_echo,
    ipv4,
    parse,
    read_pcap,
    write_pcap,
)
from system import SetupError
from topology import HOSTS, MACHINES, UPLINK, Machine, Outcome, PingResult, Trial, machines_of

_MILLISECOND = 1_000_000
_START = 1_000 * _MILLISECOND
_BETWEEN_TRIALS = 5 * _MILLISECOND
_MACHINE_DELAY = 20_000
_WIRE_DELAY = 50_000
_PAYLOAD = bytes(range(48))
_MAX_STEPS = 60


@dataclass
class _Stack:
    """The IP stack of a machine, as far as ping needs one: ARP, echo requests, echo replies."""

    machine: Machine
    sent: list[Captured] = field(default_factory=list)
    requests_seen: list[int] = field(default_factory=list)
    replies: dict[int, int] = field(default_factory=dict)
    _neighbours: dict[str, str] = field(default_factory=dict)
    _waiting: dict[str, list[bytes]] = field(default_factory=dict)

    def send_echo(self, time: int, kind: int, to: str, identifier: int, data: bytes) -> None:
        """Send an echo request or reply, after ARP where that is needed."""
        vm = self.machine
        packet = ipv4(vm.address, to, PROTOCOL_ICMP, icmp_echo(kind, identifier, 1, data))
        on_link = vm.address.rsplit(".", 1)[0] == to.rsplit(".", 1)[0]
        hop = to if on_link else vm.gateway
        if hop in self._neighbours:
            self._transmit(time, ethernet(self._neighbours[hop], vm.mac, ETHERTYPE_IPV4, packet))
        elif hop in self._waiting:
            self._waiting[hop].append(packet)
        else:
            self._waiting[hop] = [packet]
            self._transmit(time, arp(1, vm.mac, vm.address, "00:00:00:00:00:00", hop, to=BROADCAST))

    def receive(self, time: int, data: bytes) -> None:
        """React to a frame that came out of the machine's port."""
        vm = self.machine
        frame = parse(data)
        if frame.destination not in (vm.mac, BROADCAST):
            return
        if frame.arp and frame.arp.operation == 1 and frame.arp.target_ip == vm.address:
            self._transmit(
                time, arp(2, vm.mac, vm.address, frame.arp.sender_mac, frame.arp.sender_ip, to=frame.arp.sender_mac)
            )
        elif frame.arp and frame.arp.operation == 2:
            self._neighbours[frame.arp.sender_ip] = frame.arp.sender_mac
            for packet in self._waiting.pop(frame.arp.sender_ip, []):
                self._transmit(time, ethernet(frame.arp.sender_mac, vm.mac, ETHERTYPE_IPV4, packet))
        elif frame.echo and frame.ip_source and frame.ip_destination == vm.address:
            if frame.echo.is_request:
                self.requests_seen.append(frame.echo.identifier)
                self.send_echo(time, 0, frame.ip_source, frame.echo.identifier, frame.echo.data)
            elif frame.echo.data == _PAYLOAD:
                self.replies[frame.echo.identifier] = time

    def _transmit(self, time: int, data: bytes) -> None:
        self.sent.append(Captured(time + _MACHINE_DELAY, data))


@dataclass(frozen=True)
class Replayed:
    """The whole conversation."""

    outcomes: list[Outcome]
    underlay: list[Captured]
    """What Host 1 and Host 2 sent to each other."""
    counters: dict[int, dict[str, Any]]
    """For each host what `apusctl replay --json` wrote."""
    steps: int
    """How often both hosts were replayed."""


class ReplayNetwork:
    """Plays trials through `apusctl replay`."""

    def __init__(self, apusctl: Path, directory: Path) -> None:
        if not apusctl.exists():
            raise SetupError(f"{apusctl} does not exist; build it first (`make`)")
        self._apusctl = apusctl
        self._directory = directory

    def play(self, chosen: Sequence[Trial]) -> Replayed:
        """Play all trials, one after the other in time, one echo request each."""
        outputs: dict[tuple[int, str], list[Captured]] = {}
        inputs: dict[tuple[int, str], list[Captured]] | None = None
        counters: dict[int, dict[str, Any]] = {}
        steps = 0
        while steps < _MAX_STEPS:
            stacks = self._machines(chosen, outputs)
            following = self._inputs(stacks, outputs)
            if following == inputs:
                break
            inputs = following
            steps += 1
            outputs, counters = {}, {}
            for host in HOSTS:
                counters[host.number] = self._replay(host.number, inputs, outputs)
        else:
            raise SetupError(f"the two hosts did not come to an end within {_MAX_STEPS} replays")
        underlay = sorted(frame for host in HOSTS for frame in outputs.get((host.number, UPLINK), []))
        return Replayed(self._outcomes(chosen, stacks), underlay, counters, steps)

    @staticmethod
    def _machines(chosen: Sequence[Trial], outputs: dict[tuple[int, str], list[Captured]]) -> dict[str, _Stack]:
        stacks = {vm.name: _Stack(vm) for vm in MACHINES}
        for vm in MACHINES:
            stack = stacks[vm.name]
            events: list[tuple[int, int, bytes | None]] = [
                (_START + index * _BETWEEN_TRIALS, index, None)
                for index, trial in enumerate(chosen)
                if trial.source is vm
            ]
            arrived = outputs.get((vm.host, vm.port), [])
            events += [(frame.time, len(chosen) + order, frame.data) for order, frame in enumerate(arrived)]
            for time, number, data in sorted(events, key=lambda event: event[:2]):
                if data is None:
                    stack.send_echo(time, 8, chosen[number].address, number, _PAYLOAD)
                else:
                    stack.receive(time, data)
        return stacks

    @staticmethod
    def _inputs(
        stacks: dict[str, _Stack], outputs: dict[tuple[int, str], list[Captured]]
    ) -> dict[tuple[int, str], list[Captured]]:
        inputs: dict[tuple[int, str], list[Captured]] = defaultdict(list)
        for stack in stacks.values():
            inputs[stack.machine.host, stack.machine.port] += stack.sent
        for host, other in ((1, 2), (2, 1)):
            for frame in outputs.get((host, UPLINK), []):
                inputs[other, UPLINK].append(Captured(frame.time + _WIRE_DELAY, frame.data))
        return {where: sorted(frames, key=lambda frame: frame.time) for where, frames in inputs.items() if frames}

    def _replay(
        self,
        host: int,
        inputs: dict[tuple[int, str], list[Captured]],
        outputs: dict[tuple[int, str], list[Captured]],
    ) -> dict[str, Any]:
        """Run `apusctl replay` for one host: write its inputs, read its outputs."""
        directory = self._directory / f"host{host}"
        incoming, outgoing = directory / "in", directory / "out"
        incoming.mkdir(parents=True, exist_ok=True)
        outgoing.mkdir(parents=True, exist_ok=True)
        for old in outgoing.glob("*.pcap"):
            old.unlink()
        policy = HOSTS[host - 1].policy
        report = directory / "counters.json"
        command = [str(self._apusctl), "replay", "--policy", str(policy), "--out-dir", str(outgoing)]
        command += ["--json", str(report)]
        ports = [UPLINK] + [vm.port for vm in machines_of(host)]
        for port in ports:
            if frames := inputs.get((host, port)):
                write_pcap(incoming / f"{port}.pcap", frames)
                command += ["--in", f"{port}={incoming / port}.pcap"]
        if "--in" not in command:
            return {}
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False
        )
        if result.returncode != 0:
            raise SetupError(f"`{' '.join(command)}` failed with {result.returncode}:\n{result.stdout}")
        for port in ports:
            file = outgoing / f"{port}.pcap"
            outputs[host, port] = list(read_pcap(file)) if file.exists() else []
        counters: dict[str, Any] = json.loads(report.read_text())
        return counters

    @staticmethod
    def _outcomes(chosen: Sequence[Trial], stacks: dict[str, _Stack]) -> list[Outcome]:
        outcomes = []
        for index, trial in enumerate(chosen):
            replied = index in stacks[trial.source.name].replies
            answered_by = tuple(name for name, stack in stacks.items() if index in stack.requests_seen)
            outcomes.append(Outcome(trial, PingResult(1, int(replied), None, ""), answered_by))
        return outcomes
