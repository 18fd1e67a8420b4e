#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests of IPv6: real forwarders, and Linux in network namespaces.

Customers use IPv4 and IPv6 at the same time, over an IPv4 and over an IPv6 provider network. They need root, and skip
themselves with a reason where namespaces, taps or bridges are not to be had.
`test_ipv6.py [NAME...]` runs the tests whose names contain one of the words.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accounting import USUAL_DROPS, Account
from dual_stack import ADVERTISED_MTU, DualStack, gateway_mac, overhead, own_address
from frames import Captured, Frame, link_local, parse, write_pcap
from nvgre_peer import NvgrePeer
from runner import run_tests
from system import Capture, SetupError, end, get_ipv6, run, set_ipv6, spawn, wait_until, without_ipv6
from topology import (
    C_FORWARDER,
    FABRIC,
    HOSTS,
    MACHINES,
    SWIFT_FORWARDER,
    UNDERLAY_MTU,
    UPLINK,
    Lab,
    Machine,
    finish_ping,
    machine,
    machines_of,
    trials,
)
from traffic import Transfer, exchange_datagrams, interface_counters, tshark_fields

_VSIDS = {vm.virtual_subnet_id for vm in MACHINES}


# --- one setup, looked at from all sides --------------------------------------------------------------------------


class _DualStackSetup(unittest.TestCase):
    """All pings of both families are made once, recorded on the underlay; the tests look at what happened."""

    programs: tuple[Path, Path]
    provider_family: int
    lab: Lab
    mtu: int
    outcomes: list[Any]
    underlay: list[Captured]

    @classmethod
    def setUpClass(cls) -> None:
        if reason := without_ipv6():
            raise unittest.SkipTest(reason)
        directory = tempfile.TemporaryDirectory(prefix="apus-")
        cls.addClassCleanup(directory.cleanup)
        cls.mtu = UNDERLAY_MTU - overhead(cls.provider_family)
        policies = DualStack(cls.provider_family).write(Path(directory.name))
        cls.lab = Lab(cls.programs, policies=policies, ipv6=True, machine_mtu=cls.mtu).__enter__()
        cls.addClassCleanup(cls.lab.close)
        capture = cls.lab.capture_underlay()
        cls.outcomes = cls.lab.run_trials(trials(6)) + cls.lab.run_trials(trials(4))
        cls.underlay = capture.stop()

    def _account(self, host: int) -> Account:
        return Account.from_json(self.lab.forwarders[host].statistics())

    def _balanced(self) -> None:
        for host in HOSTS:
            self.assertEqual(self._account(host.number).faults(), [])

    # -- the pings

    def test_pings_are_answered_by_the_right_machine_and_others_by_nobody(self) -> None:
        for outcome in self.outcomes:
            with self.subTest(source=outcome.trial.source.name, to=outcome.trial.address):
                self.assertTrue(outcome.as_expected, f"answered by {outcome.answered_by}\n{outcome.ping.output}")

    def test_underlay_carries_only_discovery_and_valid_nvgre(self) -> None:
        mac_of = {host.provider_address_of(self.provider_family): host.mac for host in HOSTS}
        seen = set()
        for captured in self.underlay:
            frame = parse(captured.data)  # verifies lengths, GRE header and checksums
            if self._is_resolution(frame):
                continue
            if frame.nvgre is None or frame.ip_source is None or frame.ip_destination is None:
                self.fail(f"neither neighbour resolution nor NVGRE: {captured.data.hex()}")
            self.assertEqual(frame.source, mac_of[frame.ip_source])
            self.assertEqual(frame.destination, mac_of[frame.ip_destination])
            self.assertEqual(frame.ttl, 128)
            self.assertIsNone(frame.nvgre.inner.discovery, "neighbour discovery leaves its host")
            seen.add((frame.nvgre.vsid, frame.nvgre.inner.ethertype))
        self.assertEqual(seen, {(vsid, ethertype) for vsid in _VSIDS for ethertype in (0x0800, 0x86DD)})

    def _is_resolution(self, frame: Frame) -> bool:
        if self.provider_family == 4:
            return frame.arp is not None
        return frame.discovery is not None and frame.discovery.kind in (135, 136)

    def test_underlay_as_tshark_sees_it(self) -> None:
        self._check_with_tshark(self.underlay, ("icmp", "icmpv6"))

    def _check_with_tshark(self, frames: Sequence[Captured], protocols: Sequence[str]) -> None:
        """Let an independent decoder look at each header of each frame."""
        if shutil.which("tshark") is None:
            self.skipTest("tshark is not installed")
        path = self.lab.directory / "underlay.pcap"
        write_pcap(path, frames)
        names = ["frame.protocols", "ip.src", "ip.dst", "ip.ttl", "ipv6.src", "ipv6.dst", "ipv6.hlim", "ipv6.plen"]
        names += ["ip.checksum.status", "gre.flags_and_version", "gre.proto", "gre.key", "_ws.malformed", "frame.len"]
        for protocol in protocols:
            names += [f"{protocol}.checksum.status", f"{protocol}.checksum"]
        outer = "ipv6" if self.provider_family == 6 else "ip"
        ours = {host.provider_address_of(self.provider_family) for host in HOSTS}
        carried: dict[str, int] = {}
        for row in tshark_fields(path, names):
            self.assertEqual(row["_ws.malformed"], [], row)
            stack = row["frame.protocols"][0]
            if stack in ("eth:ethertype:arp", "eth:ethertype:ipv6:icmpv6"):
                continue
            match = re.match(rf"eth:ethertype:{outer}:gre:eth:ethertype:(ip|ipv6):(\w+)", stack)
            if match is None or match[2] not in protocols:
                self.fail(str(row))
            self.assertEqual({row[f"{outer}.src"][0], row[f"{outer}.dst"][0]}, ours, row)
            self.assertEqual(row["ipv6.hlim" if outer == "ipv6" else "ip.ttl"][0], "128", row)
            self.assertLessEqual(set(row["ip.checksum.status"]), {"1"}, row)
            if outer == "ipv6":
                self.assertEqual(int(row["ipv6.plen"][0]), int(row["frame.len"][0]) - 54, row)
            if row[f"{match[2]}.checksum"] != ["0xffff"]:
                self.assertEqual(row[f"{match[2]}.checksum.status"], ["1"], row)
            self.assertEqual((row["gre.flags_and_version"], row["gre.proto"]), (["0x2000"], ["0x6558"]), row)
            self.assertIn(int(row["gre.key"][0], 16) >> 8, _VSIDS, row)
            carried[match[1]] = carried.get(match[1], 0) + 1
        for family in ("ip", "ipv6") if "icmp" in protocols else ("ipv6",):
            self.assertGreater(carried.get(family, 0), 20)

    def test_routed_packets_lose_one_hop(self) -> None:
        hops: dict[tuple[int, int], set[int | None]] = {}
        for captured in self.underlay:
            nvgre = parse(captured.data).nvgre
            if nvgre and nvgre.inner.echo and nvgre.inner.echo.is_request and nvgre.vsid in (6000, 6001):
                hops.setdefault((nvgre.vsid, nvgre.inner.ethertype), set()).add(nvgre.inner.ttl)
        expected = {(6000, 0x0800): {64}, (6001, 0x0800): {63}, (6000, 0x86DD): {64}, (6001, 0x86DD): {63}}
        self.assertEqual(hops, expected)

    def test_provider_addresses_are_resolved(self) -> None:
        if self.provider_family == 4:
            self.skipTest("ARP: see test_end_to_end.py")
        messages = [frame for frame in (parse(captured.data) for captured in self.underlay) if frame.discovery]
        for host, other in (HOSTS, HOSTS[::-1]):
            asked = [f for f in messages if f.discovery and f.discovery.target == host.provider_address6]
            said = {(f.discovery.kind, f.ip_source, f.source, f.discovery.mac) for f in asked if f.discovery}
            question = (135, other.provider_address6, other.mac, other.mac)
            self.assertEqual(said, {question, (136, host.provider_address6, host.mac, host.mac)})
            self.assertLess(len(asked), 16, "solicitations are repeated although they are answered")
            self.assertEqual({f.ttl for f in asked}, {255})

    def test_accounting_balances_and_agrees_with_the_kernel(self) -> None:
        for host in HOSTS:
            with self.subTest(host=host.number):

                def differences(number: int = host.number) -> list[str]:
                    account = self._account(number)
                    found = account.faults()
                    for vm in machines_of(number):
                        counted = account.ports[vm.port]["transmitted"], account.ports[vm.port]["received"]
                        seen = interface_counters(self.lab.namespace(vm.name), vm.port)
                        if counted != seen:
                            found.append(f"{vm.name}: (out, in) {counted}, the kernel says {seen}")
                    return found

                # The kernels send something of their own now and then, just between the two readings perhaps.
                wait_until(lambda: not differences(), 5)
                self.assertEqual(differences(), [])
                self.assertEqual(self._account(host.number).totals["held"], 0)

    def test_drops_have_the_right_reasons(self) -> None:
        for host in HOSTS:
            account = self._account(host.number)
            seen = {name for name, count in account.drops.items() if count}
            self.assertLessEqual(seen, USUAL_DROPS | {"MTU_EXCEEDED", "TTL_EXPIRED"})
        self.assertGreaterEqual(self._account(1).drops.get("CUSTOMER_ROUTE_MISSING", 0), 8)
        self.assertGreaterEqual(self._account(2).drops.get("ND_UNANSWERED", 0), 1)

    # -- sizes and hops

    def test_largest_packet_crosses_the_tunnel(self) -> None:
        source = machine("Contoso1")
        for target in ("Contoso3", "Contoso4"):
            for family, headers in ((4, 28), (6, 48)):
                options = ("-M", "do", "-s", str(self.mtu - headers))
                result = self.lab.ping(source, machine(target).address_of(family), options=options)
                self.assertEqual((result.sent, result.received), (3, 3), result.output)

    def test_time_exceeded_comes_from_the_gateway(self) -> None:
        """What traceroute does: one hop is the gateway, two are the machine."""
        source, target = machine("Contoso1"), machine("Contoso4")
        for family in (4, 6):
            expired = self.lab.ping(source, target.address_of(family), options=("-t", "1"))
            self.assertEqual(expired.received, 0, expired.output)
            self.assertRegex(expired.output, rf"From {source.gateway_of(family)} .*(Time to live|Hop limit)")
            arrived = self.lab.ping(source, target.address_of(family), options=("-t", "2"))
            self.assertEqual((arrived.sent, arrived.received), (3, 3), arrived.output)
        switched = self.lab.ping(source, machine("Contoso3").address6, options=("-t", "1"))
        self.assertEqual((switched.sent, switched.received), (3, 3), switched.output)
        self._balanced()

    def test_path_mtu_is_learned(self) -> None:
        """Machines that believe in 1500 bytes are told better, by a packet too big from their gateway."""
        source, switched, routed = machine("Contoso1"), machine("Contoso3"), machine("Contoso4")
        tool = ("ip", "-netns", self.lab.namespace(source.name))
        before = self._account(1)
        self._believe_in(1500, source, switched, routed)
        try:
            told = self.lab.ping(source, switched.address6, count=3, options=("-M", "do", "-s", str(1500 - 48)))
            self.assertEqual(told.received, 0, told.output)
            self.assertRegex(told.output, rf"(?i)from {source.gateway6} .*mtu[ =:]+{self.mtu}")
            self.assertIn(f"mtu {self.mtu}", run(*tool, "-6", "route", "get", switched.address6))
            # The sender cuts what is too big. The answering machine learns in its turn, from the first answer.
            self.lab.ping(source, switched.address6, count=1, wait=1, options=("-s", "3000"))
            cut = self.lab.ping(source, switched.address6, options=("-s", "3000"))
            self.assertEqual((cut.sent, cut.received), (3, 3), cut.output)
            # About the way to the other machine nothing is known yet: TCP, with segments for 1500 bytes, finds out.
            for receiver, port in ((routed, 5011), (switched, 5012)):
                transfer = Transfer(self.lab, source, receiver, 2 << 20, source_port=port + 35000, port=port, family=6)
                sent, received, error = transfer.finish()
                self.assertIsNone(error)
                self.assertEqual(sent, received)
                self.assertIn(f"mtu {self.mtu}", run(*tool, "-6", "route", "get", receiver.address6))
        finally:
            self._believe_in(self.mtu, source, switched, routed)
        account = self._account(1)
        self.assertEqual(account.faults(), [])
        self.assertGreaterEqual(account.totals["icmp_errors"], before.totals["icmp_errors"] + 2)
        self.assertEqual(account.totals["fragmented"], before.totals["fragmented"], "fragmented on its way")

    def _believe_in(self, mtu: int, *machines: Machine) -> None:
        for vm in machines:
            namespace = self.lab.namespace(vm.name)
            run("ip", "-netns", namespace, "link", "set", vm.port, "mtu", str(mtu))
            set_ipv6(namespace, vm.port, "mtu", mtu)
            run("ip", "-netns", namespace, "-6", "route", "flush", "cache")

    # -- bulk

    def test_tcp_of_both_tenants_with_the_same_addresses_and_ports(self) -> None:
        capture = self.lab.capture_underlay()
        transfers = [
            Transfer(
                self.lab, machine(f"{tenant}1"), machine(f"{tenant}3"), 4 << 20, source_port=40020, port=5021, family=6
            )
            for tenant in ("Contoso", "Woodgrove")
        ]
        for transfer in transfers:
            sent, received, error = transfer.finish()
            self.assertIsNone(error)
            self.assertEqual(sent, received)
        frames = capture.stop()
        self.assertLessEqual(max(len(frame.data) for frame in frames), 14 + UNDERLAY_MTU)
        self._check_with_tshark(frames, protocols=("tcp",))

    def test_tcp_to_another_virtual_subnet(self) -> None:
        transfer = Transfer(
            self.lab, machine("Contoso4"), machine("Contoso2"), 2 << 20, source_port=40021, port=5022, family=6
        )
        sent, received, error = transfer.finish()
        self.assertIsNone(error)
        self.assertEqual(sent, received)

    def test_udp_in_bulk(self) -> None:
        """Datagrams of all sizes, those that need fragments (the sender's own) among them."""
        choose = random.Random(7637)
        sizes = [choose.choice((16, 100, 512, 1200, self.mtu - 48, 2000, 4000)) for _ in range(1000)]
        for source, target in (("Contoso1", "Contoso3"), ("Woodgrove4", "Woodgrove1"), ("Contoso2", "Contoso1")):
            with self.subTest(source=source, target=target):
                ends = machine(source), machine(target)
                returned, missing = exchange_datagrams(self.lab, *ends, sizes, port=5031, family=6)
                self.assertEqual((returned, missing), (len(sizes), 0))
        self._balanced()

    # -- isolation

    def test_tenants_see_nothing_of_each_other(self) -> None:
        """Both tenants talk at the same time, with marked payloads; nobody sees a mark, or a question, of the other."""
        marks = {"Contoso": b"\xc0\x57" * 8, "Woodgrove": b"\x3d\x6e" * 8}
        captures: dict[str, Capture] = {vm.name: self.lab.capture(vm.name, vm.port) for vm in MACHINES}
        running = []
        for tenant, mark in marks.items():
            for source, target in (("1", "3"), ("1", "2"), ("3", "2"), ("1", "4")):
                address = machine(tenant + target).address6
                running.append(
                    self.lab.start_ping(machine(tenant + source), address, count=5, options=("-p", mark.hex()))
                )
        running.append(self.lab.start_ping(machine("Contoso1"), "2001:db8:1::198", count=2, wait=1))
        running.append(self.lab.start_ping(machine("Woodgrove1"), "2001:db8:1::197", count=2, wait=1))
        results = [finish_ping(process) for process in running]
        seen = {name: [captured.data for captured in capture.stop()] for name, capture in captures.items()}
        for result in results[:-2]:
            self.assertEqual((result.sent, result.received), (5, 5), result.output)
        for vm in MACHINES:
            own, other = marks[vm.tenant], next(mark for tenant, mark in marks.items() if tenant != vm.tenant)
            self.assertTrue(any(own in data for data in seen[vm.name]), f"{vm.name} saw nothing at all")
            self.assertFalse(any(other in data for data in seen[vm.name]), f"{vm.name} saw a frame of the other tenant")

        def asked(name: str, address: str) -> bool:
            frames = (parse(data) for data in seen[name])
            return any(frame.discovery and frame.discovery.target == address for frame in frames)

        self.assertTrue(asked("Contoso2", "2001:db8:1::198"), "a question about an unknown address reaches the subnet")
        self.assertTrue(asked("Woodgrove2", "2001:db8:1::197"))
        for vm in MACHINES:
            unknown = "2001:db8:1::197" if vm.tenant == "Contoso" else "2001:db8:1::198"
            self.assertFalse(asked(vm.name, unknown), f"{vm.name} saw the other tenant's question")

    # -- neighbours and routers

    def test_linux_knows_the_gateway_as_a_router(self) -> None:
        for name in ("Contoso1", "Contoso4", "Woodgrove3", "Woodgrove4"):
            vm = machine(name)
            tool = ("ip", "-netns", self.lab.namespace(name), "-6", "neighbour")
            mac = gateway_mac(vm.host, vm.virtual_subnet_id)
            for address in (vm.gateway6, link_local(mac)):
                run(*tool, "flush", "dev", vm.port)
                target = address if not address.startswith("fe80") else f"{address}%{vm.port}"
                self.lab.ping(vm, target, count=1, wait=1)
                known = run(*tool, "show", address, "dev", vm.port)
                self.assertIn(f"lladdr {mac} router REACHABLE", known)

    def test_linux_learns_its_router_and_makes_its_address(self) -> None:
        """Router solicitation and advertisement, duplicate address detection, and then traffic with what came of it."""
        vm, other = machine("Woodgrove2"), machine("Woodgrove4")
        namespace = self.lab.namespace(vm.name)
        tool = ("ip", "-netns", namespace, "-6")
        before = self._account(vm.host).totals["router_advertisements"]
        mtu = get_ipv6(namespace, vm.port, "mtu")
        self._listen_to_routers(vm)
        try:
            mac = gateway_mac(vm.host, vm.virtual_subnet_id)

            def has_address() -> bool:
                addresses = self._addresses(vm)
                return own_address(vm) in addresses and "tentative" not in addresses

            self.assertTrue(wait_until(has_address, 10), f"after ten seconds:\n{self._addresses(vm)}")
            self.assertNotIn("dadfailed", self._addresses(vm))
            routes = run(*tool, "route", "show", "default")
            self.assertRegex(routes, rf"default via {link_local(mac)} dev {vm.port} proto ra .*expires [89]\d\d\dsec")
            self.assertRegex(run(*tool, "route"), rf"{vm.prefix6} dev {vm.port} proto (ra|kernel)")
            self.assertEqual(get_ipv6(namespace, vm.port, "mtu"), ADVERTISED_MTU[vm.port])
            result = self.lab.ping(vm, other.address6)
            self.assertEqual((result.sent, result.received), (3, 3), result.output)
            result = self.lab.ping(other, own_address(vm))
            self.assertEqual((result.sent, result.received), (3, 3), result.output)
            self.assertGreater(self._account(vm.host).totals["router_advertisements"], before)
        finally:
            self._stop_listening(vm)
            set_ipv6(namespace, vm.port, "mtu", mtu)
        self._balanced()

    def test_routers_announce_no_more_than_the_policy_says(self) -> None:
        """A prefix that is advertised but not for addresses; and a virtual subnet whose routers say nothing."""
        with_route, without = machine("Woodgrove4"), machine("Contoso4")
        before = self._account(2).totals["router_advertisements"]
        self._listen_to_routers(with_route, without)
        try:
            tool = ("ip", "-netns", self.lab.namespace(with_route.name), "-6", "route", "show", "default")
            self.assertTrue(wait_until(lambda: "proto ra" in run(*tool), 10), "no default route after ten seconds")
            self.assertIn(f"default via {link_local(gateway_mac(2, 7001))}", run(*tool))
            self.assertNotIn(own_address(with_route), self._addresses(with_route))
            run(*tool[:3], "-6", "address", "add", f"{with_route.address6}/128", "dev", with_route.port, "nodad")
            result = self.lab.ping(with_route, machine("Woodgrove1").address6)
            self.assertEqual((result.sent, result.received), (3, 3), result.output)
            tool = ("ip", "-netns", self.lab.namespace(without.name), "-6", "route", "show", "default")
            self.assertEqual(run(*tool).strip(), "")
            self.assertGreater(self._account(2).totals["router_advertisements"], before)
        finally:
            self._stop_listening(with_route, without)
        self._balanced()

    def _addresses(self, vm: Machine) -> str:
        return run("ip", "-netns", self.lab.namespace(vm.name), "-6", "address", "show", "dev", vm.port)

    def _listen_to_routers(self, *machines: Machine) -> None:
        """Start as a machine that was just plugged in and knows nothing."""
        for vm in machines:
            namespace = self.lab.namespace(vm.name)
            for setting in ("accept_ra", "accept_dad"):
                set_ipv6(namespace, vm.port, setting, 1)
            run("ip", "-netns", namespace, "link", "set", vm.port, "down")
            run("ip", "-netns", namespace, "-6", "address", "flush", "dev", vm.port)
            run("ip", "-netns", namespace, "link", "set", vm.port, "up")

    def _stop_listening(self, *machines: Machine) -> None:
        """As Lab made them."""
        for vm in machines:
            namespace = self.lab.namespace(vm.name)
            tool = ("ip", "-netns", namespace)
            for setting in ("accept_ra", "accept_dad"):
                set_ipv6(namespace, vm.port, setting, 0)
            run(*tool, "link", "set", vm.port, "down")
            run(*tool, "-6", "address", "flush", "dev", vm.port)
            run(*tool, "link", "set", vm.port, "up")
            run(*tool, "-6", "address", "add", f"{vm.address6}/64", "dev", vm.port, "nodad")
            run(*tool, "-6", "route", "replace", "default", "via", vm.gateway6, "dev", vm.port)
            run(*tool, "route", "replace", "default", "via", vm.gateway)

    def test_duplicate_addresses_are_detected(self) -> None:
        """An address of a machine here or elsewhere, or of the gateway, is taken; the own one and a free one are not."""
        vm = machine("Contoso2")
        namespace = self.lab.namespace(vm.name)
        tool = ("ip", "-netns", namespace, "-6", "address")
        taken = [machine("Contoso1").address6, machine("Contoso3").address6, vm.gateway6]
        free = [own_address(vm), "2001:db8:1::177"]
        set_ipv6(namespace, vm.port, "accept_dad", 1)
        try:
            for address in taken + free:
                run(*tool, "add", f"{address}/64", "dev", vm.port)

            def state() -> dict[str, bool]:
                """Which addresses failed; those that are still being tried are left out."""
                lines = self._addresses(vm).splitlines()
                found = {a: next(line for line in lines if f" {a}/" in line).split() for a in taken + free}
                return {a: "dadfailed" in w for a, w in found.items() if "dadfailed" in w or "tentative" not in w}

            wait_until(lambda: len(state()) == len(taken + free), 8)
            self.assertEqual(state(), dict.fromkeys(taken, True) | dict.fromkeys(free, False))
        finally:
            set_ipv6(namespace, vm.port, "accept_dad", 0)
            for address in taken + free:
                subprocess.run([*tool, "delete", f"{address}/64", "dev", vm.port], timeout=10, check=False)
        self._balanced()


class OverIPv6(_DualStackSetup):
    """The provider network is IPv6; Host 1 runs the Swift forwarder, Host 2 the C forwarder."""

    programs = (SWIFT_FORWARDER, C_FORWARDER)
    provider_family = 6


class OverIPv4(_DualStackSetup):
    """The provider network is IPv4, the forwarders the other way round."""

    programs = (C_FORWARDER, SWIFT_FORWARDER)
    provider_family = 4


# --- peers that are not Apus --------------------------------------------------------------------------------------


class ForeignPeer(unittest.TestCase):
    """Host 2 is replaced by an endpoint of other origin, which matches all 32 bits of the GRE key."""

    def _lab(self, program: Path, provider_family: int) -> Lab:
        if reason := without_ipv6():
            self.skipTest(reason)
        directory = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="apus-")))
        policies = DualStack(provider_family, settings="flow_id_zero: true").write(directory)
        mtu = UNDERLAY_MTU - overhead(provider_family)
        lab = self.enterContext(Lab((program, None), policies=policies, ipv6=True, machine_mtu=mtu))
        lab.attach(lab.namespace("peer"), "peer", UPLINK, ipv6=True)
        return lab

    def _converse(self, lab: Lab, vm: Machine, provider_family: int) -> None:
        """Give the peer's tunnel interface the identity of a machine, and let it talk."""
        tool = ("ip", "-netns", lab.namespace("peer"))
        run(*tool, "link", "set", vm.port, "address", vm.mac, "mtu", str(lab.machine_mtu))
        run(*tool, "link", "set", vm.port, "up")
        run(*tool, "address", "add", f"{vm.address}/24", "dev", vm.port)
        run(*tool, "-6", "address", "add", f"{vm.address6}/64", "dev", vm.port, "nodad")
        for other in (machine("Contoso1"), machine("Contoso2")):
            for address in (other.address, other.address6):
                run(*tool, "neighbour", "add", address, "lladdr", other.mac, "dev", vm.port, "nud", "permanent")
        capture = lab.capture(FABRIC, "host1")
        for family, headers in ((4, 28), (6, 48)):
            first = lab.ping(machine("Contoso1"), vm.address_of(family), count=4)
            result = lab.ping(machine("Contoso1"), vm.address_of(family), count=5)
            self.assertEqual((result.sent, result.received), (5, 5), first.output + result.output)
            command = ["ping", "-n", "-c", "5", "-i", "0.2", "-W", "2", "-M", "do"]
            command += ["-s", str(lab.machine_mtu - headers)]
            process = spawn([*command, machine("Contoso2").address_of(family)], namespace=lab.namespace("peer"))
            lab.cleanup.add(lambda process=process: end(process, patience=1))  # type: ignore[misc]
            from_peer = finish_ping(process)
            self.assertEqual((from_peer.sent, from_peer.received), (5, 5), from_peer.output)
        frames = [parse(captured.data) for captured in capture.stop()]
        carried = {(frame.ethertype, frame.nvgre.key, frame.nvgre.inner.ethertype) for frame in frames if frame.nvgre}
        outer, key = 0x86DD if provider_family == 6 else 0x0800, vm.virtual_subnet_id << 8
        self.assertEqual(carried, {(outer, key, 0x0800), (outer, key, 0x86DD)})
        self.assertEqual(Account.from_json(lab.forwarders[1].statistics()).faults(), [])

    def _endpoint_written_from_the_rfc(self, program: Path, provider_family: int) -> None:
        lab = self._lab(program, provider_family)
        set_ipv6(lab.namespace("peer"), UPLINK, "disable_ipv6", 1)
        vm, host = machine("Contoso3"), HOSTS[1]
        peer = NvgrePeer(
            lab.namespace("peer"),
            tap=vm.port,
            uplink=UPLINK,
            mac=host.mac,
            address=host.provider_address_of(provider_family),
            remote=HOSTS[0].provider_address_of(provider_family),
            vsid=vm.virtual_subnet_id,
            cleanup=lab.cleanup,
        )
        self._converse(lab, vm, provider_family)
        self.assertEqual([text for text in peer.refused if not text.startswith("system")], [])

    def test_endpoint_written_from_the_rfc_over_ipv6_and_swift(self) -> None:
        self._endpoint_written_from_the_rfc(SWIFT_FORWARDER, 6)

    def test_endpoint_written_from_the_rfc_over_ipv6_and_c(self) -> None:
        self._endpoint_written_from_the_rfc(C_FORWARDER, 6)

    def test_endpoint_written_from_the_rfc_over_ipv4(self) -> None:
        self._endpoint_written_from_the_rfc(C_FORWARDER, 4)

    def _linux(self, kind: str, provider_family: int, *options: str) -> None:
        lab = self._lab(C_FORWARDER, provider_family)
        vm, host = machine("Contoso3"), HOSTS[1]
        tool = ("ip", "-netns", lab.namespace("peer"))
        ours = host.provider_address_of(provider_family)
        run(*tool, "link", "set", UPLINK, "down")
        run(*tool, "link", "set", UPLINK, "address", host.mac)
        run(*tool, "link", "set", UPLINK, "up")
        nodad = ("nodad",) if provider_family == 6 else ()
        run(*tool, "address", "add", f"{ours}/{64 if provider_family == 6 else 24}", "dev", UPLINK, *nodad)
        tunnel = ("type", kind, "local", ours, "remote", HOSTS[0].provider_address_of(provider_family), *options)
        try:
            run(*tool, "link", "add", vm.port, *tunnel, "key", str(vm.virtual_subnet_id << 8))
        except SetupError as error:
            self.skipTest(f"this kernel has no {kind} ({str(error).rsplit(': ', 1)[-1]})")
        self._converse(lab, vm, provider_family)

    def test_linux_gretap(self) -> None:
        self._linux("gretap", 4, "ttl", "64")

    def test_linux_ip6gretap(self) -> None:
        """Without its tunnel encapsulation limit, which is an extension header, and those NVGRE has not."""
        self._linux("ip6gretap", 6, "hoplimit", "64", "encaplimit", "none")


if __name__ == "__main__":
    sys.exit(
        run_tests(
            "end-to-end tests of IPv6",
            (OverIPv6, OverIPv4, ForeignPeer),
            time_limit=300,
        )
    )
