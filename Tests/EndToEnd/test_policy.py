#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests of what a policy can say beside the Simple setup: a VXLAN peer, a gateway machine that a wildcard
record names, broadcast. A gateway that a customer route names, and addresses that are learned: test_book_flows.py.

They need root, and skip themselves with a reason where namespaces, taps or bridges are not to be had.
`test_policy.py [NAME...]` runs the tests whose names contain one of the words.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path

from accounting import Account
from frames import parse
from runner import run_tests
from system import SetupError, add_namespace, inside, run, wait_until
from topology import (
    C_FORWARDER,
    FABRIC,
    HOSTS,
    SWIFT_FORWARDER,
    UPLINK,
    Lab,
    machine,
)

_DOMAIN = "{12345678-1000-2000-3000-123456780001}"
_ORDERS = ((SWIFT_FORWARDER, C_FORWARDER), (C_FORWARDER, SWIFT_FORWARDER))

Change = tuple[str, str]


class _Case(unittest.TestCase):
    """A setup whose policies differ from those of the Simple setup."""

    lab: Lab

    def build(
        self, programs: tuple[Path | None, Path | None], changes: Sequence[Change], *, machine_mtu: int | None = None
    ) -> Lab:
        """The setup with changed policies: each change replaces a text in those of the two hosts that have it."""
        directory = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="apus-")))
        texts = [host.policy.read_text() for host in HOSTS]
        for old, new in changes:
            self.assertTrue(any(old in text for text in texts), old)
            texts = [text.replace(old, new) for text in texts]
        policies = (directory / "host1.yaml", directory / "host2.yaml")
        for path, text in zip(policies, texts):
            path.write_text(text)
        options = {} if machine_mtu is None else {"machine_mtu": machine_mtu}
        self.lab = self.enterContext(Lab(programs, policies=policies, **options))
        return self.lab

    def ping_from(self, namespace: str, address: str, count: int = 3) -> str:
        """Run ping(8) in a namespace that is no machine's."""
        command = ["ip", "netns", "exec", namespace, "ping", "-n", "-c", str(count), "-i", "0.2", "-W", "2", address]
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False
        )
        return result.stdout

    def check_accounts(self) -> None:
        """Everything adds up on all hosts."""
        for forwarder in self.lab.forwarders.values():
            self.assertEqual(Account.from_json(forwarder.statistics()).faults(), [], forwarder.program.name)


# --- a VXLAN device of Linux in the place of Host 2 -----------------------------------------------


class Vxlan(_Case):
    """Host 2 is a Linux VXLAN device; the policy of Host 1 says that it wants VXLAN."""

    def _converse(self, program: Path) -> None:
        vm, host = machine("Contoso3"), HOSTS[1]
        peer = f"provider_peers:\n  - {{provider_address: {host.provider_address}, encapsulation: vxlan}}\n\nlookup_records:"
        mtu = 1450  # 50 bytes of outer headers
        lab = self.build((program, None), [("lookup_records:", peer)], machine_mtu=mtu)
        lab.attach(lab.namespace("peer"), "peer", UPLINK)
        tool = ("ip", "-netns", lab.namespace("peer"))
        run(*tool, "link", "set", UPLINK, "down")
        run(*tool, "link", "set", UPLINK, "address", host.mac)
        run(*tool, "link", "set", UPLINK, "up")
        run(*tool, "address", "add", f"{host.provider_address}/24", "dev", UPLINK)
        tunnel = ("type", "vxlan", "id", str(vm.virtual_subnet_id), "dstport", "4789", "nolearning")
        ends = ("local", host.provider_address, "remote", HOSTS[0].provider_address)
        try:
            run(*tool, "link", "add", vm.port, *tunnel, *ends)
        except SetupError as error:
            self.skipTest(f"this kernel has no VXLAN ({str(error).rsplit(': ', 1)[-1]})")
        run(*tool, "link", "set", vm.port, "address", vm.mac, "mtu", str(mtu))
        run(*tool, "address", "add", f"{vm.address}/24", "dev", vm.port)
        run(*tool, "link", "set", vm.port, "up")
        for name in ("Contoso1", "Contoso2"):
            other = machine(name)
            run(*tool, "neighbour", "add", other.address, "lladdr", other.mac, "dev", vm.port, "nud", "permanent")

        capture = lab.capture(FABRIC, "host1")
        first = lab.ping(machine("Contoso1"), vm.address, count=4)
        largest = lab.ping(machine("Contoso1"), vm.address, options=("-M", "do", "-s", str(mtu - 28)))
        self.assertEqual((largest.sent, largest.received), (3, 3), first.output + largest.output)
        answer = self.ping_from(lab.namespace("peer"), machine("Contoso2").address)
        self.assertIn("3 packets transmitted, 3 received", answer)
        tunnels = set()
        for captured in capture.stop():
            data = captured.data
            if data[12:14] == b"\x08\x00":
                tunnels.add((data[23], data[36:38].hex(), data[42:50].hex()))
        self.assertEqual(tunnels, {(17, "12b5", f"08000000{vm.virtual_subnet_id:06x}00")})
        self.check_accounts()

    def test_swift(self) -> None:
        self._converse(SWIFT_FORWARDER)

    def test_c(self) -> None:
        self._converse(C_FORWARDER)


# --- a machine that is the gateway to an external network ------------------------------------------


class Gateway(_Case):
    """Contoso4, on Host 2, forwards between its VM network and a network outside; a wildcard record says so."""

    inside_address, outside_address = "203.0.113.1", "203.0.113.9"

    def _build(self, programs: tuple[Path, Path]) -> Lab:
        vm = machine("Contoso4")
        record = (
            f'{{virtual_subnet_id: {vm.virtual_subnet_id}, mac: "{vm.mac}", '
            f"provider_address: {HOSTS[1].provider_address}, type: GatewayWildcard}}"
        )
        route = f'{{routing_domain_id: "{_DOMAIN}", virtual_subnet_id: 6001, destination_prefix: 0.0.0.0/0}}'
        first, after = "  # Contoso\n", "\nlookup_records:"
        lab = self.build(programs, [(after, f"  - {route}\n{after}"), (first, f"{first}  - {record}\n")])
        gateway, outside = lab.namespace("Contoso4"), lab.namespace("outside")
        add_namespace(outside, lab.cleanup)
        run("ip", "link", "add", "ext", "netns", gateway, "type", "veth", "peer", "name", "ext", "netns", outside)
        for where, address in ((gateway, self.inside_address), (outside, self.outside_address)):
            run("ip", "-netns", where, "address", "add", f"{address}/24", "dev", "ext")
            run("ip", "-netns", where, "link", "set", "ext", "up")
        run("ip", "-netns", outside, "route", "add", "default", "via", self.inside_address)
        with inside(gateway):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return lab

    def _converse(self, programs: tuple[Path, Path]) -> None:
        lab = self._build(programs)
        for name in ("Contoso1", "Contoso3"):
            source = machine(name)
            with self.subTest(source=name):
                out = lab.ping(source, self.outside_address)
                self.assertEqual((out.sent, out.received), (3, 3), out.output)
                back = self.ping_from(lab.namespace("outside"), source.address)
                self.assertIn("3 packets transmitted, 3 received", back)
        foreign = lab.ping(machine("Woodgrove1"), self.outside_address, count=2, wait=1)
        self.assertEqual(foreign.received, 0, "another tenant's machine reached the gateway")
        known = lab.ping(machine("Contoso1"), machine("Contoso4").address)
        self.assertEqual(known.received, 3, known.output)
        self.check_accounts()

    def test_swift_and_c(self) -> None:
        self._converse(_ORDERS[0])

    def test_c_and_swift(self) -> None:
        self._converse(_ORDERS[1])


# --- broadcast ----------------------------------------------------------------------------------------


class Broadcast(_Case):
    """A virtual subnet that carries broadcast, and one of the same addresses that does not."""

    def _shout(self, programs: tuple[Path, Path]) -> None:
        subnet = "virtual_subnets:\n  - {virtual_subnet_id: 6000, broadcast: true}\n\nlookup_records:"
        lab = self.build(programs, [("lookup_records:", subnet)])
        listeners = ("Contoso2", "Contoso3", "Contoso4", "Woodgrove2", "Woodgrove3")
        captures = {name: lab.capture(name, machine(name).port) for name in listeners}
        for name in ("Contoso1", "Woodgrove1"):
            lab.ping(machine(name), "10.0.1.255", count=3, wait=1, options=("-b",))

        def heard(name: str) -> int:
            frames = (parse(frame.data) for frame in captures[name].snapshot())
            return sum(frame.destination == "ff:ff:ff:ff:ff:ff" and frame.arp is None for frame in frames)

        wait_until(lambda: heard("Contoso3") == 3, 3)
        self.assertEqual(
            {name: heard(name) for name in listeners},
            {"Contoso2": 3, "Contoso3": 3, "Contoso4": 0, "Woodgrove2": 0, "Woodgrove3": 0},
        )
        account = Account.from_json(lab.forwarders[1].statistics())
        self.assertEqual(account.drops["NOT_UNICAST"], 3)
        self.check_accounts()

    def test_swift_and_c(self) -> None:
        self._shout(_ORDERS[0])

    def test_c_and_swift(self) -> None:
        self._shout(_ORDERS[1])


if __name__ == "__main__":
    sys.exit(run_tests("end-to-end tests of policies", (Vxlan, Gateway, Broadcast), time_limit=300))
