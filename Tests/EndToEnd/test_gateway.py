#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests of the forwarding gateway inside the library (Figure 1-12 of the book): external ports.

Host 1 has the tenants' machines. Host 2 is the gateway, with one trunk to the networks outside, on which each tenant has a VLAN:

    machine --- tap --- Host 1 --- bridge --- Host 2 --- trunk --- VLAN --- switch and router --- router's other side
    (netns)                                                                 |        (netns)                  |
                                                                          near (netns)                     far (netns)

Both tenants' machines have the same addresses, and so have their physical hosts outside: `near` is on the gateway's link, `far` behind
a router. They need root, and skip themselves with a reason where namespaces, taps or bridges are not to be had.
`test_gateway.py [NAME...]` runs the tests whose names contain one of the words.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Mapping, Sequence
from pathlib import Path

from accounting import Account
from runner import run_tests
from system import add_namespace, disable_offloads, inside, run, snmp6_counter, snmp_counter
from topology import (
    C_FORWARDER,
    DIRECTORY,
    HOSTS,
    SWIFT_FORWARDER,
    TENANTS,
    Lab,
    Machine,
    control_request,
    machine,
    machines_of,
)
from traffic import Transfer, exchange_datagrams

TRUNK = "trunk"
TAGGED = {"Contoso": 101, "Woodgrove": 102}
#: What of a customer's packet gets through the tunnel: 1500 bytes less those of the outer headers.
TUNNEL_MTU = 1458
GATEWAY = {4: "10.9.0.2", 6: "2001:db8:9::2"}
ROUTER = {4: "10.9.0.1", 6: "2001:db8:9::1"}
POLICY = DIRECTORY / "policies" / "gateway.yaml"


class Outsider(Machine):
    """A physical host outside, of a tenant: 10.9.0.50 is 2001:db8:9::50 too."""

    @property
    def prefix6(self) -> str:
        return f"2001:db8:{self.address.split('.')[1]}::/64"


def near(tenant: str) -> Outsider:
    """The physical host on the gateway's link."""
    return Outsider(f"{tenant}Near", tenant, 0, 0, "10.9.0.50", "")


def far(tenant: str) -> Outsider:
    """The one behind a router."""
    return Outsider(f"{tenant}Far", tenant, 0, 0, "10.77.0.50", "")


class Patches:
    """
    Puts what comes from links into VLANs of a trunk, and what comes from there onto the links. VLAN 0 is no tag.

    Linux can do that with links of type vlan; not every kernel has them, and this is all that is needed.
    """

    def __init__(self, namespace: str, trunk: str, links: Mapping[int, str]) -> None:
        def bind(interface: str) -> socket.socket:
            with inside(namespace):
                end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            end.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
            end.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
            end.bind((interface, 0x0003))  # ETH_P_ALL
            end.setblocking(False)
            return end

        self._trunk = bind(trunk)
        self._links = {vlan: bind(link) for vlan, link in links.items()}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        vlans = {link: vlan for vlan, link in self._links.items()}
        while not self._stopping.is_set():
            for ready in select.select([self._trunk, *vlans], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # would block; or the link is not up yet
                    while True:
                        data, control, _, sender = ready.recvmsg(65535, 256)
                        if sender[2] == 4:  # PACKET_OUTGOING
                            continue
                        if ready is not self._trunk:
                            tag = struct.pack(">HH", 0x8100, vlans[ready]) if vlans[ready] else b""
                            self._trunk.send(data[:12] + tag + data[12:])
                        elif link := self._links.get(self._vlan(control)):
                            link.send(data)

    @staticmethod
    def _vlan(control: Sequence[tuple[int, int, bytes]]) -> int:
        """The kernel takes the tag out and tells it beside the frame; 0 if there was none."""
        for level, kind, data in control:
            if (level, kind) == (263, 8):
                status, tag = struct.unpack_from("=I12xH", data)
                return tag & 0xFFF if status & 0x10 else 0  # TP_STATUS_VLAN_VALID
        return 0

    def close(self) -> None:
        """Stop."""
        self._stopping.set()
        self._thread.join(5)
        for end in (self._trunk, *self._links.values()):
            end.close()


class GatewayLab(Lab):
    """The setup with a gateway in the place of Host 2. `vlans` are the tenants' on the trunk."""

    def __init__(self, programs: tuple[Path, Path], policies: tuple[Path, Path], vlans: Mapping[str, int]) -> None:
        super().__init__(
            programs, policies=policies, machines=machines_of(1), spare_taps={2: [TRUNK]}, ipv6=True, machine_mtu=1500
        )
        self.vlans = vlans

    def _build(self) -> None:
        super()._build()
        disable_offloads(self.host_namespace(2), TRUNK)
        for tenant in TENANTS:
            self._build_outside(tenant)
        patches = Patches(self.host_namespace(2), TRUNK, {vlan: f"vlan{vlan}" for vlan in self.vlans.values()})
        self.cleanup.add(patches.close)

    def _build_outside(self, tenant: str) -> None:
        """What is behind a VLAN: a router that is a switch too, a host at the switch, a host at the router."""
        router = self.namespace(f"{tenant}Router")
        tag, gateway = f"vlan{self.vlans[tenant]}", self.host_namespace(2)
        add_namespace(router, self.cleanup, ipv6=True)
        ours = ("ip", "-netns", router)
        run("ip", "link", "add", tag, "netns", gateway, "type", "veth", "peer", "name", tag, "netns", router)
        for where in (gateway, router):
            disable_offloads(where, tag)
            run("ip", "-netns", where, "link", "set", tag, "up")
        run(*ours, "link", "add", "switch", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        run(*ours, "link", "set", tag, "master", "switch")
        for family, length in ((4, 24), (6, 64)):
            run(*ours, "address", "add", f"{ROUTER[family]}/{length}", "dev", "switch", *(["nodad"] if family == 6 else []))
        for outsider, cable in ((near(tenant), "near"), (far(tenant), "far")):
            there = self.namespace(outsider.name)
            add_namespace(there, self.cleanup, ipv6=True)
            run("ip", "link", "add", cable, "netns", router, "type", "veth", "peer", "name", "eth", "netns", there)
            for where, name in ((router, cable), (there, "eth")):
                disable_offloads(where, name)
                run("ip", "-netns", where, "link", "set", name, "up")
            for family, length in ((4, 24), (6, 64)):
                nodad = ["nodad"] if family == 6 else []
                address = outsider.address_of(family)
                run("ip", "-netns", there, "address", "add", f"{address}/{length}", "dev", "eth", *nodad)
                if cable == "far":
                    hop = outsider.gateway_of(family)
                    run(*ours, "address", "add", f"{hop}/{length}", "dev", cable, *nodad)
                    run("ip", "-netns", there, f"-{family}", "route", "add", "default", "via", hop)
                else:
                    run("ip", "-netns", there, f"-{family}", "route", "add", "default", "via", GATEWAY[family])
                    run("ip", "-netns", there, f"-{family}", "route", "add", self._far_prefix(family), "via", ROUTER[family])
        run(*ours, "link", "set", "near", "master", "switch")
        run(*ours, "link", "set", "switch", "up")
        disable_offloads(router, "switch")
        for family in (4, 6):
            run(*ours, f"-{family}", "route", "add", "default", "via", GATEWAY[family])
        with inside(router):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")

    @staticmethod
    def _far_prefix(family: int) -> str:
        return "2001:db8:77::/64" if family == 6 else "10.77.0.0/24"


class _Setup(unittest.TestCase):
    """One setup; the programs are those of Host 1 and of the gateway."""

    programs: tuple[Path, Path]
    lab: GatewayLab
    directory: Path
    vlans: Mapping[str, int] = TAGGED

    @staticmethod
    def gateway_policy() -> str:
        """The policy of the gateway."""
        return POLICY.read_text().replace("net_af_packet1", "net_tap0")

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="apus-")))
        gateway = cls.gateway_policy()
        machines = HOSTS[0].policy.read_text()
        # What all hosts know of the VM networks is in the gateway's file.
        shared = gateway[gateway.index("customer_routes:") :]
        policies = (cls.directory / "host1.yaml", cls.directory / "gateway.yaml")
        policies[0].write_text(machines[: machines.index("customer_routes:")] + shared)
        policies[1].write_text(gateway)
        cls.lab = cls.enterClassContext(GatewayLab(cls.programs, policies, cls.vlans))

    def tearDown(self) -> None:
        for forwarder in self.lab.forwarders.values():
            document = forwarder.statistics()
            self.assertEqual(Account.from_json(document).faults(), [], forwarder.program.name)

    @staticmethod
    def inside_of(tenant: str) -> tuple[Machine, Machine]:
        return machine(f"{tenant}1"), machine(f"{tenant}2")

    def ping(self, source: Machine, address: str, *options: str) -> str:
        """What ping(8) says in the namespace of a machine or a host outside."""
        command = ["ip", "netns", "exec", self.lab.namespace(source.name), "ping", "-n", "-i", "0.2", "-W", "2", *options, address]
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False
        )
        return result.stdout

    def echoes(self, target: Machine) -> int:
        """Echo requests that a namespace has seen."""
        namespace = self.lab.namespace(target.name)
        return snmp_counter(namespace, "Icmp", "InEchos") + snmp6_counter(namespace, "Icmp6InEchos")

    def test_everybody_reaches_his_own(self) -> None:
        """In both directions and both families, and nobody sees what is another tenant's."""
        for index, tenant in enumerate(TENANTS):
            other = TENANTS[1 - index]
            first = self.inside_of(tenant)[0]
            for outsider, foreign in ((near(tenant), near(other)), (far(tenant), far(other))):
                for family in (4, 6):
                    for source, target, stranger in (
                        (first, outsider, foreign), (outsider, first, self.inside_of(other)[0]),
                    ):
                        with self.subTest(source=source.name, target=target.name, family=family):
                            before, seen = self.echoes(target), self.echoes(stranger)
                            output = self.ping(source, target.address_of(family), "-c", "3")
                            self.assertIn("3 packets transmitted, 3 received", output)
                            self.assertEqual((self.echoes(target) - before, self.echoes(stranger) - seen), (3, 0))


class _Gateway(_Setup):
    """Everything else, where each tenant has a VLAN."""

    def test_the_gateway_itself_answers(self) -> None:
        for tenant in TENANTS:
            for family in (4, 6):
                for source in (near(tenant), far(tenant), self.inside_of(tenant)[0]):
                    with self.subTest(source=source.name, family=family):
                        self.assertIn("3 received", self.ping(source, GATEWAY[family], "-c", "3"))

    def test_the_gateway_is_a_hop(self) -> None:
        """What traceroute finds: the distributed router and the gateway on the way out, the router and the gateway on the way in."""
        for tenant in TENANTS:
            first = self.inside_of(tenant)[0]
            for family in (4, 6):
                out, home = far(tenant).address_of(family), first.address_of(family)
                for source, target, hops, said in (
                    (first, out, 1, f"From {first.gateway_of(family)}"), (first, out, 2, f"From {GATEWAY[family]}"),
                    (first, out, 3, f"From {ROUTER[family]}"), (first, out, 4, "1 received"),
                    (far(tenant), home, 1, f"From {far(tenant).gateway_of(family)}"),
                    (far(tenant), home, 2, f"From {GATEWAY[family]}"), (far(tenant), home, 3, "1 received"),
                ):
                    with self.subTest(source=source.name, family=family, hops=hops):
                        self.assertIn(said, self.ping(source, target, "-c", "1", "-t", str(hops)))

    def test_path_mtu(self) -> None:
        """Packets have 1500 bytes on both sides; the gateway says how many the tunnel takes, or divides them."""
        first = self.inside_of("Contoso")[0]
        for source in (near("Contoso"), far("Contoso")):
            for family, headers, said in ((4, 28, f"From {GATEWAY[4]}.*mtu ?= ?{TUNNEL_MTU}"), (6, 48, f"mtu ?[:=] ?{TUNNEL_MTU}")):
                with self.subTest(source=source.name, family=family):
                    target = first.address_of(family)
                    run("ip", "-netns", self.lab.namespace(source.name), f"-{family}", "route", "flush", "cache")
                    self.assertRegex(self.ping(source, target, "-c", "2", "-M", "do", "-s", str(1500 - headers)), said)
                    fits = self.ping(source, target, "-c", "2", "-M", "do", "-s", str(TUNNEL_MTU - headers))
                    self.assertIn("2 received", fits)
                    # The machine's answer is too big too: over IPv6 the first one is lost.
                    divided = self.ping(source, target, "-c", "3", "-M", "dont", "-s", str(1500 - headers))
                    self.assertRegex(divided, "[23] received" if family == 6 else "3 received")

    def test_tcp(self) -> None:
        """Both tenants at once, from the same address and port to the same; neither end knows what the tunnel takes."""
        for family in (4, 6):
            for outsider in (near, far):
                for turned in (False, True):
                    with self.subTest(family=family, outsider=outsider("").name, into=turned):
                        port = 5000 + 10 * family + 2 * (outsider is far) + turned
                        transfers = []
                        for tenant in TENANTS:
                            ends = (self.inside_of(tenant)[0], outsider(tenant))
                            source, target = reversed(ends) if turned else ends
                            transfers.append(
                                Transfer(
                                    self.lab, source, target, 1 << 20, source_port=port + 1000, port=port, family=family
                                )
                            )
                        for transfer in transfers:
                            sent, received, error = transfer.finish()
                            self.assertIsNone(error)
                            self.assertEqual(received, sent)

    def test_udp(self) -> None:
        for tenant in TENANTS:
            second = self.inside_of(tenant)[1]
            for family in (4, 6):
                for outsider in (near(tenant), far(tenant)):
                    for source, target in ((second, outsider), (outsider, second)):
                        with self.subTest(source=source.name, target=target.name, family=family):
                            sizes = [8, 100, 1000, TUNNEL_MTU - (28 if family == 4 else 48)] * 4
                            done = exchange_datagrams(self.lab, source, target, sizes, port=6000, family=family)
                            self.assertEqual(done, (len(sizes), 0))

    def test_what_the_control_socket_tells(self) -> None:
        self.ping(near("Contoso"), GATEWAY[4], "-c", "1")
        control = self.lab.forwarders[2].control
        ports = {port["name"]: port for port in control_request(control, "ports")["ports"]}
        self.assertEqual([port["kind"] for port in ports.values()], ["provider", "provider", "external", "external"])
        self.assertEqual((ports["woodgrove-outside"]["parent"], ports["woodgrove-outside"]["vlan"]), (TRUNK, 102))
        statistics = control_request(control, "stats")
        self.assertGreater(statistics["carried"]["contoso-outside"]["received"], 0)
        self.assertEqual(list(statistics["ports"]), ["uplink", TRUNK])


class SwiftGateway(_Gateway):
    """The gateway is the Swift forwarder, which can also reload its policy."""

    programs = (C_FORWARDER, SWIFT_FORWARDER)

    def test_neighbours_outside(self) -> None:
        self.ping(machine("Contoso1"), near("Contoso").address, "-c", "1")
        neighbours = control_request(self.lab.forwarders[2].control, "neighbours")["neighbours"]
        outside = {(one["address"], one["state"]) for one in neighbours if one.get("port") == "contoso-outside"}
        self.assertIn((near("Contoso").address, "reachable"), outside)

    def test_reload(self) -> None:
        """External ports go, come and change places, while the other tenant's do their work."""
        control, policy = self.lab.forwarders[2].control, self.directory / "gateway.yaml"
        text = policy.read_text()
        start, end = text.index("  - name: woodgrove-outside"), text.index("provider_addresses:")

        def reload(changed: str) -> None:
            policy.write_text(changed)
            self.assertEqual(control_request(control, "reload"), {"ok": True})

        def reaches(tenant: str, address: str = "10.9.0.50") -> bool:
            options = ("-c", "2", "-W", "1")
            return " 2 received" in self.ping(machine(f"{tenant}1"), address, *options)

        try:
            reload(text[:start] + text[end:])
            self.assertEqual((reaches("Contoso"), reaches("Woodgrove")), (True, False))
            reload(text)
            self.assertEqual((reaches("Contoso"), reaches("Woodgrove")), (True, True))
            # The tenants' VLANs are exchanged: neither place is free before both have gone.
            reload(text.replace("vlan: 101", "vlan: 0101").replace("vlan: 102", "vlan: 101").replace("vlan: 0101", "vlan: 102"))
            before = self.echoes(near("Woodgrove"))
            self.assertTrue(reaches("Contoso"))
            self.assertEqual(self.echoes(near("Woodgrove")) - before, 2)
            # Another address of the gateway's outside: the port stays what it is, and keeps its counters.
            counted = control_request(control, "stats")["carried"]["contoso-outside"]["transmitted"]
            reload(text)
            reload(text.replace("10.9.0.2/24", "10.9.0.3/24"))
            self.assertIn("2 received", self.ping(near("Contoso"), "10.9.0.3", "-c", "2"))
            self.assertTrue(reaches("Contoso"))
            self.assertGreater(counted, 0)
            # A mistake changes nothing.
            policy.write_text(text.replace("vlan: 102", "vlan: 101"))
            self.assertIn("vlan", control_request(control, "reload")["error"])
            self.assertTrue(reaches("Woodgrove"))
        finally:
            reload(text)


class CGateway(_Gateway):
    """The gateway is the C forwarder."""

    programs = (SWIFT_FORWARDER, C_FORWARDER)


class OwnDevice(_Setup):
    """Contoso's external port has the device, and frames without tags; it carries Woodgrove's, which has a VLAN there."""

    programs = (C_FORWARDER, SWIFT_FORWARDER)
    vlans = {"Contoso": 0, "Woodgrove": 102}

    @staticmethod
    def gateway_policy() -> str:
        text = _Setup.gateway_policy()
        text = text[: text.index("  # Only what")] + text[text.index("  - name: contoso-outside") :]
        text = text.replace("    parent: trunk\n    vlan: 101\n", "    device: net_tap0\n")
        return text.replace("parent: trunk", "parent: contoso-outside")


class OwnDeviceOfC(OwnDevice):
    """The same with the C forwarder."""

    programs = (SWIFT_FORWARDER, C_FORWARDER)


if __name__ == "__main__":
    sys.exit(run_tests("end-to-end tests of the forwarding gateway", (SwiftGateway, CGateway, OwnDevice, OwnDeviceOfC), time_limit=300))
