#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests with Open vSwitch as the other host: NVGRE and VXLAN over IPv4 and IPv6, with machines of two tenants
on both sides that use IPv4 and IPv6, are switched and routed, and have the same addresses.

They need root, and skip themselves with a reason where namespaces or Open vSwitch are not to be had.
`test_open_vswitch.py [NAME...]` runs the tests whose names contain one of the words.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

from accounting import USUAL_DROPS, Account
from dual_stack import DualStack, overhead
from frames import parse, write_pcap
from open_vswitch import OpenVSwitch, without_open_vswitch
from runner import run_tests
from system import without_ipv6
from topology import (
    C_FORWARDER,
    HOSTS,
    MACHINES,
    SWIFT_FORWARDER,
    UNDERLAY_MTU,
    Lab,
    Machine,
    Outcome,
    machine,
    trials,
)
from traffic import Transfer, exchange_datagrams, tshark_fields

_VSIDS = {vm.virtual_subnet_id for vm in MACHINES}
#: Who talks with whom, and a port: both directions, switched and routed, and twice what only the key tells apart.
_WAYS = (
    ("Contoso1", "Contoso3", 5200),
    ("Woodgrove1", "Woodgrove3", 5200),
    ("Contoso3", "Contoso2", 5210),
    ("Contoso2", "Contoso4", 5220),
    ("Woodgrove4", "Woodgrove1", 5230),
)
_VXLAN_MORE = 8  # bytes that VXLAN has more than NVGRE


class _Case(unittest.TestCase):
    """Host 1 is a forwarder, Host 2 is Open vSwitch."""

    program: Path
    kind: str
    provider_family: int
    peer = ""
    machines: Sequence[Machine] | None = None
    lab: Lab
    switch: OpenVSwitch

    @classmethod
    def setUpClass(cls) -> None:
        if reason := without_ipv6() or without_open_vswitch():
            raise unittest.SkipTest(reason)
        directory = tempfile.TemporaryDirectory(prefix="apus-")
        cls.addClassCleanup(directory.cleanup)
        policies = DualStack(cls.provider_family, peer=cls.peer).write(Path(directory.name))
        mtu = UNDERLAY_MTU - overhead(cls.provider_family) - (_VXLAN_MORE if cls.kind == "vxlan" else 0)
        cls.lab = Lab((cls.program, None), policies=policies, ipv6=True, machine_mtu=mtu).__enter__()
        cls.addClassCleanup(cls.lab.close)
        cls.switch = OpenVSwitch(cls.lab, HOSTS[1], cls.provider_family, machines=cls.machines)

    def account(self) -> Account:
        """The counters of Host 1."""
        return Account.from_json(self.lab.forwarders[1].statistics())

    def check_transfer(self, transfer: Transfer) -> None:
        """What was sent has arrived."""
        sent, received, error = transfer.finish()
        self.assertIsNone(error)
        self.assertEqual(sent, received)


# --- a host of Hyper-V Network Virtualization made of OpenFlow rules -----------------------------------------------


class _VirtualizationHost(_Case):
    """
    Open vSwitch sets the key of what it sends, and takes only what has the right key and comes from the right host.

    All pings are made, and everything is sent, once; the tests look at what happened.
    """

    outcomes: list[Outcome]
    transfers: list[Transfer]
    datagrams: list[tuple[int, int]]
    rows: list[dict[str, list[str]]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.switch.virtualize(cls.lab, cls.kind)
        cls.lab.ping(machine("Contoso3"), machine("Contoso1").address)  # Open vSwitch drops what has to wait for ARP
        capture = cls.lab.capture_underlay()
        # Its gateways do not answer pings: that is a service of Apus.
        chosen = [t for f in (4, 6) for t in trials(f) if (t.answers, t.source.host) != ("gateway", 2)]
        cls.outcomes = cls.lab.run_trials(chosen)
        cls.transfers = [cls._transfer(*way, family) for way in _WAYS for family in (4, 6)]
        for transfer in cls.transfers:
            transfer.finish()
        cls.datagrams = [cls._datagrams(*way, family) for way in _WAYS for family in (4, 6)]
        frames = capture.stop()
        path = cls.lab.directory / "underlay.pcap"
        write_pcap(path, frames)
        names = ["frame.len", "frame.protocols", "ip.src", "ipv6.src", "ip.ttl", "ipv6.hlim", "ip.checksum.status"]
        names += ["ip.flags.df", "gre.flags_and_version", "gre.proto", "gre.key", "vxlan.flags", "vxlan.vni"]
        names += ["udp.srcport", "udp.dstport", "udp.checksum", "udp.checksum.status", "tcp.srcport", "tcp.dstport"]
        names += ["_ws.malformed"]
        names += [f"{p}.{field}" for p in ("tcp", "icmp", "icmpv6") for field in ("checksum", "checksum.status")]
        as_data = ("-d", f"udp.port=={_WAYS[0][2]}-{_WAYS[-1][2] + 9},data")  # random bytes look like RTCP, too
        cls.rows = tshark_fields(path, names, as_data) if shutil.which("tshark") else []

    @classmethod
    def _transfer(cls, source: str, target: str, port: int, family: int) -> Transfer:
        port += family
        return Transfer(
            cls.lab, machine(source), machine(target), 1 << 20, source_port=port + 35000, port=port, family=family
        )

    @classmethod
    def _datagrams(cls, source: str, target: str, port: int, family: int) -> tuple[int, int]:
        sizes = [18, 19, 512, cls.lab.machine_mtu - (48 if family == 6 else 28), 3000] * 20
        return exchange_datagrams(cls.lab, machine(source), machine(target), sizes, port=port + family, family=family)

    def test_pings_are_answered_by_the_right_machine_and_others_by_nobody(self) -> None:
        for outcome in self.outcomes:
            with self.subTest(source=outcome.trial.source.name, to=outcome.trial.address):
                self.assertTrue(outcome.as_expected, f"answered by {outcome.answered_by}\n{outcome.ping.output}")

    def test_tcp_both_ways(self) -> None:
        for transfer in self.transfers:
            self.check_transfer(transfer)

    def test_udp_both_ways(self) -> None:
        for answer in self.datagrams:
            self.assertEqual(answer, (100, 0))

    def test_nobody_refused_anything(self) -> None:
        self.assertEqual(self.switch.refused(), 0, "frames with another key, source or machine came out of the tunnel")
        account = self.account()
        self.assertEqual(account.faults(), [])
        # Linux says on an IPv6 provider network which groups it listens to.
        usual = USUAL_DROPS | ({"OUTER_NOT_OURS"} if self.provider_family == 6 else set())
        self.assertLessEqual({name for name, count in account.drops.items() if count}, usual)

    # -- what an independent decoder says of what both have sent

    def _tunnelled(self) -> list[tuple[int, dict[str, list[str]]]]:
        """The encapsulated frames, and from which host they are."""
        if not self.rows:
            self.skipTest("tshark is not installed")
        outer = "ipv6" if self.provider_family == 6 else "ip"
        host_of = {host.provider_address_of(self.provider_family): host.number for host in HOSTS}
        besides = ("eth:ethertype:arp", "eth:ethertype:ipv6:icmpv6", "eth:ethertype:ipv6:ipv6.hopopts:icmpv6")
        rows = [row for row in self.rows if row["frame.protocols"][0] not in besides]
        found = [(host_of[row[f"{outer}.src"][0]], row) for row in rows]
        self.assertGreater(min(sum(host == number for host, _ in found) for number in (1, 2)), 1000)
        return found

    def _vsid(self, row: dict[str, list[str]]) -> int:
        return int(row["vxlan.vni"][0]) if self.kind == "vxlan" else int(row["gre.key"][0], 16) >> 8

    def test_headers(self) -> None:
        outer = "ipv6" if self.provider_family == 6 else "ip"
        tunnel = "udp:vxlan" if self.kind == "vxlan" else "gre"
        vsids: set[int] = set()
        for _, row in self._tunnelled():
            self.assertEqual(row["_ws.malformed"], [], row)
            self.assertRegex(row["frame.protocols"][0], f"^eth:ethertype:{outer}:{tunnel}:eth:ethertype:ip(v6)?:")
            self.assertLessEqual(int(row["frame.len"][0]), 14 + UNDERLAY_MTU)
            if self.kind == "vxlan":
                self.assertEqual((row["vxlan.flags"], row["udp.dstport"][0]), (["0x0800"], "4789"), row)
            else:
                self.assertEqual((row["gre.flags_and_version"], row["gre.proto"]), (["0x2000"], ["0x6558"]), row)
            vsids.add(self._vsid(row))
            if self.provider_family == 4:
                self.assertEqual(row["ip.flags.df"][0], "1", row)
        self.assertEqual(vsids, _VSIDS)

    def test_ttl(self) -> None:
        """The tunnel's is that of each host (Open vSwitch: 64); inside, one less where there is a router between."""
        outer, seen = (1 if self.provider_family == 6 else 0), set()
        for host, row in self._tunnelled():
            hops = [row["ip.ttl"], row["ipv6.hlim"]]
            first = hops[outer].pop(0)
            (inner,) = hops[0] + hops[1]
            seen.add((host, first, self._vsid(row), inner))
        routed = {1: {6001, 7001}, 2: set()}  # virtual subnets into which everything is routed
        for host, ttl in ((1, "128"), (2, "64")):
            self.assertEqual({first for number, first, *_ in seen if number == host}, {ttl})
            for vsid in routed[host]:
                self.assertEqual({inner for number, _, v, inner in seen if (number, v) == (host, vsid)}, {"63"})
            for vsid in (6000, 7000):
                both = {inner for number, _, v, inner in seen if (number, v) == (host, vsid)}
                self.assertEqual(both, {"64"} if host == 1 else {"63", "64"})

    def test_checksums(self) -> None:
        for _, row in self._tunnelled():
            self.assertLessEqual(set(row["ip.checksum.status"]), {"1"}, row)
            for protocol in ("tcp", "icmp", "icmpv6", "udp"):
                for value, status in zip(row[f"{protocol}.checksum"], row[f"{protocol}.checksum.status"]):
                    # 0: VXLAN without a checksum; 0xffff: Linux's 0, also where it is not UDP.
                    if value not in ("0x0000", "0xffff"):
                        self.assertEqual(status, "1", row)

    def test_flows_are_told_apart(self) -> None:
        """Both hosts spread flows, but no single one: NVGRE over FlowIDs, VXLAN over source ports."""
        field, mask = ("udp.srcport", 0xFFFF) if self.kind == "vxlan" else ("gre.key", 0xFF)
        connections: dict[tuple[int, int, str, str], set[int]] = {}
        seen: dict[int, set[int]] = {1: set(), 2: set()}
        for host, row in self._tunnelled():
            value = int(row[field][0], 0) & mask
            seen[host].add(value)
            if row["tcp.srcport"]:
                what = (host, self._vsid(row), row["tcp.srcport"][0], row["tcp.dstport"][0])  # ports are of a family
                connections.setdefault(what, set()).add(value)
        self.assertEqual(len(connections), 2 * len(self.transfers))
        self.assertEqual({len(values) for values in connections.values()}, {1})
        for host, values in seen.items():
            self.assertGreater(len(values), 8)
            if self.kind == "vxlan":
                self.assertGreaterEqual(min(values), 0xC000 if host == 1 else 0x8000)


    def test_ecn_and_dscp(self) -> None:
        """
        Nothing that a customer says is lost. To the tunnel Apus says the same (RFC 6040), and Open vSwitch only the
        ECN, of a packet that has met congestion before ECT(0) (RFC 3168).
        """
        said = {0x00: 0x00, 0xB9: 0x01, 0xBA: 0x02, 0xBB: 0x02}  # nothing; EF with ECT(1), ECT(0), CE
        for (source, target), (tos, of_switch) in itertools.product(
            itertools.permutations((machine("Contoso1"), machine("Contoso3"))), said.items()
        ):
            with self.subTest(source=source.name, tos=tos):
                wire, other_end = self.lab.capture_underlay(), self.lab.capture(target.name, target.port)
                result = self.lab.ping(source, target.address, count=1, options=("-Q", str(tos)))
                self.assertEqual(result.received, 1, result.output)
                arrived = [parse(frame.data) for frame in other_end.stop()]
                self.assertEqual({f.tos for f in arrived if f.echo and f.echo.is_request}, {tos})
                ours = HOSTS[source.host - 1].provider_address_of(self.provider_family)
                outer = [parse(frame.data) for frame in wire.stop()]
                sent = {f.tos for f in outer if f.ip_source == ours and not f.discovery}
                self.assertEqual(sent, {tos if source.host == 1 else of_switch})


class NvgreOverIPv4(_VirtualizationHost):
    """NVGRE over IPv4, with the Swift forwarder."""

    program, kind, provider_family = SWIFT_FORWARDER, "gre", 4


class NvgreOverIPv6(_VirtualizationHost):
    """NVGRE over IPv6, with the C forwarder."""

    program, kind, provider_family = C_FORWARDER, "gre", 6


class VxlanOverIPv4(_VirtualizationHost):
    """VXLAN over IPv4, with the C forwarder."""

    program, kind, provider_family, peer = C_FORWARDER, "vxlan", 4, "encapsulation: vxlan"


class VxlanOverIPv6(_VirtualizationHost):
    """VXLAN over IPv6, with the Swift forwarder."""

    program, kind, provider_family, peer = SWIFT_FORWARDER, "vxlan", 6, "encapsulation: vxlan"


# --- a bridge and a tunnel ------------------------------------------------------------------------------------------


class PlainBridge(_Case):
    """
    One bridge, one tunnel, one key, as Open vSwitch's manual shows it, and Contoso3. All 32 bits of the key have to
    match there, so the FlowID is 0. Contoso3 knows nobody: its ARP and neighbour solicitations go through the tunnel.
    """

    program, kind, provider_family, peer = C_FORWARDER, "gre", 4, "flow_id: zero"
    machines = (machine("Contoso3"),)
    right_key = machine("Contoso3").virtual_subnet_id << 8

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.switch.bridge(cls.kind, cls.right_key)
        cls.lab.ping(machine("Contoso3"), machine("Contoso1").address)

    def _converse(self) -> None:
        for source, target in (("Contoso1", "Contoso3"), ("Contoso3", "Contoso2")):
            for family in (4, 6):
                result = self.lab.ping(machine(source), machine(target).address_of(family))
                self.assertEqual((result.sent, result.received), (3, 3), result.output)

    def test_machines_find_each_other(self) -> None:
        capture = self.lab.capture_underlay()
        self._converse()
        for family in (4, 6):
            transfer = Transfer(
                self.lab, machine("Contoso3"), machine("Contoso2"), 1 << 20, source_port=40220, port=5220, family=family
            )
            self.check_transfer(transfer)
        frames = [parse(captured.data) for captured in capture.stop()]
        self.assertEqual({frame.nvgre.key for frame in frames if frame.nvgre}, {self.right_key})
        self.assertEqual(self.account().faults(), [])

    def _refused(self, wrong: str, right: str, reason: str) -> None:
        """What comes is dropped for the reason, and all is well again when the other side is."""
        before = self.account().drops.get(reason, 0)
        self.switch.set_tunnel(wrong)
        try:
            result = self.lab.ping(machine("Contoso3"), machine("Contoso1").address, wait=1)
            self.assertEqual((result.sent, result.received), (3, 0), result.output)
            self.assertGreaterEqual(self.account().drops.get(reason, 0) - before, 3)
        finally:
            self.switch.set_tunnel(right)
        self._converse()

    def test_checksums_in_gre_are_refused(self) -> None:
        """RFC 7637 section 3.2: the C bit is zero. Open vSwitch can set it."""
        self._refused("csum=true", "csum=false", "GRE_FLAGS")

    def test_keys_of_nobody_are_refused(self) -> None:
        self._refused(f"key={4242 << 8}", f"key={self.right_key}", "VSID_UNKNOWN")

    def test_keys_in_the_layout_of_the_first_draft_are_told_by_name(self) -> None:
        """`options:key=6000`, as one would write it at first."""
        self._refused(f"key={self.right_key >> 8}", f"key={self.right_key}", "KEY_LAYOUT")


if __name__ == "__main__":
    sys.exit(
        run_tests(
            "end-to-end tests with Open vSwitch",
            (NvgreOverIPv4, NvgreOverIPv6, VxlanOverIPv4, VxlanOverIPv6, PlainBridge),
            time_limit=300,
        )
    )
