#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Apus' frames read by others, and others' frames read by Apus.

    Tests/Wire/foreign_decoders.py path/to/apusctl [--seed N]

What machines send is made by scapy, goes through `apusctl replay`, and what leaves is taken apart by tshark and by
scapy and compared with the frame that scapy would have built; then the other way round. Golden frames are written out
in hexadecimal, so that three programs that err alike are noticed too.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import NoReturn


def give_up(what: str) -> NoReturn:
    print(f"FAILED: {what}. packaging/dependencies.sh installs what is missing.")
    print("0 passed, 1 failed")
    sys.exit(1)


try:
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet import IPOption_NOP, IPOption_RR, IPOption_Router_Alert, IPOption_Timestamp
    from scapy.layers.inet6 import HBHOptUnknown, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig
    from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6TimeExceeded, ICMPv6Unknown
    from scapy.layers.inet6 import ICMPv6NDOptDstLLAddr, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
    from scapy.layers.inet6 import PadN, RouterAlert
    from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
    from scapy.packet import Packet, Raw
    from scapy.utils import RawPcapReader, RawPcapWriter
except ImportError as error:
    give_up(f"scapy cannot be imported by {sys.executable}: {error}")
if shutil.which("tshark") is None:
    give_up("tshark is not on the PATH")

# ---- the policy: this host (left) and its peers ------------------------------------------------------------------

DOMAIN = "12345678-1000-2000-3000-123456780001"
ROUTER = "02:61:70:75:73:01"
#: fe80::/64 with the modified EUI-64 of ROUTER (RFC 4291 appendix A)
ROUTER_LOCAL = "fe80::61:70ff:fe75:7301"
NVGRE_TYPE = 0x6558


@dataclass(frozen=True)
class Machine:
    """A customer's machine with one of its addresses; `at` is its provider address, `port` its port if it is here."""

    ip: str
    vsid: int
    mac: str
    at: str
    port: str = ""

    @property
    def family(self) -> int:
        return ip_address(self.ip).version


@dataclass(frozen=True)
class Uplink:
    """A provider port with our addresses on it."""

    port: str
    ours: str
    ours6: str
    mac: str
    vlan: int

    def source(self, at: str) -> str:
        """Our address of the family of a provider address."""
        return self.ours6 if ":" in at else self.ours


# Both families of customers over both of providers, in both directions.
HERE = [
    Machine("10.0.1.2", 6000, "60:00:60:00:01:02", "192.168.0.22", "contoso1"),
    Machine("10.0.1.3", 6000, "60:00:60:00:01:03", "2001:db8:b::22", "contoso2"),
    Machine("10.0.2.2", 6001, "60:00:60:00:02:02", "192.168.0.22", "contoso3"),
    Machine("2001:db8:1::2", 6000, "60:00:60:00:01:02", "2001:db8:a::22", "contoso1"),
    Machine("2001:db8:1::3", 6000, "60:00:60:00:01:03", "172.16.0.22", "contoso2"),
    Machine("2001:db8:2::2", 6001, "60:00:60:00:02:02", "2001:db8:a::22", "contoso3"),
]
THERE = [
    Machine("10.0.1.4", 6000, "60:00:60:00:01:04", "192.168.0.33"),
    Machine("10.0.1.5", 6000, "60:00:60:00:01:05", "172.16.0.33"),
    Machine("10.0.1.6", 6000, "60:00:60:00:01:06", "10.99.0.44"),
    Machine("10.0.1.7", 6000, "60:00:60:00:01:07", "2001:db8:b::33"),
    Machine("10.0.2.4", 6001, "60:00:60:00:02:04", "192.168.0.33"),
    Machine("10.0.2.5", 6001, "60:00:60:00:02:05", "172.16.0.33"),
    Machine("10.0.2.6", 6001, "60:00:60:00:02:06", "2001:db8:c::44"),
    Machine("2001:db8:1::4", 6000, "60:00:60:00:01:04", "2001:db8:a::33"),
    Machine("2001:db8:1::5", 6000, "60:00:60:00:01:05", "2001:db8:b::33"),
    Machine("2001:db8:1::6", 6000, "60:00:60:00:01:06", "2001:db8:c::44"),
    Machine("2001:db8:1::7", 6000, "60:00:60:00:01:07", "172.16.0.33"),
    Machine("2001:db8:2::4", 6001, "60:00:60:00:02:04", "2001:db8:a::33"),
    Machine("2001:db8:2::5", 6001, "60:00:60:00:02:05", "10.99.0.44"),
]
UPLINKS = {
    "uplink": Uplink("uplink", "192.168.0.22", "2001:db8:a::22", "32:44:55:66:77:88", 0),
    "trunk": Uplink("trunk", "172.16.0.22", "2001:db8:b::22", "32:44:55:66:77:99", 100),
}
#: How a provider address is reached: the uplink and the next hop's MAC.
PATHS = {
    "192.168.0.33": (UPLINKS["uplink"], "44:55:66:77:88:99"),
    "10.99.0.44": (UPLINKS["uplink"], "44:55:66:77:88:01"),
    "172.16.0.33": (UPLINKS["trunk"], "44:55:66:77:88:aa"),
    "2001:db8:a::33": (UPLINKS["uplink"], "44:55:66:77:88:99"),
    "2001:db8:c::44": (UPLINKS["uplink"], "44:55:66:77:88:02"),
    "2001:db8:b::33": (UPLINKS["trunk"], "44:55:66:77:88:aa"),
}
POLICY = f"""\
apus: 1
settings: {{accept_ip_options: true}}
ports:
  - {{name: uplink, kind: provider, mtu: 9000}}
  - {{name: trunk, kind: provider, mtu: 9000}}
  - {{name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:02, mtu: 1438}}
  - {{name: contoso2, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:03, mtu: 1279}}
  - {{name: contoso3, kind: vm, virtual_subnet_id: 6001, mac: 60:00:60:00:02:02}}
provider_addresses:
  - {{provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: 32:44:55:66:77:88}}
  - {{provider_address: 172.16.0.22, prefix_length: 24, port: trunk, vlan: 100, mac: 32:44:55:66:77:99}}
  - {{provider_address: 2001:db8:a::22, prefix_length: 64, port: uplink, mac: 32:44:55:66:77:88}}
  - {{provider_address: 2001:db8:b::22, prefix_length: 64, port: trunk, vlan: 100, mac: 32:44:55:66:77:99}}
provider_routes:
  - {{destination_prefix: 10.99.0.0/16, next_hop: 192.168.0.1, port: uplink}}
  - {{destination_prefix: 2001:db8:c::/48, next_hop: 2001:db8:a::1, port: uplink}}
provider_neighbours:
  - {{address: 192.168.0.33, mac: 44:55:66:77:88:99}}
  - {{address: 192.168.0.1, mac: 44:55:66:77:88:01}}
  - {{address: 172.16.0.33, mac: 44:55:66:77:88:aa}}
  - {{address: 2001:db8:a::33, mac: 44:55:66:77:88:99}}
  - {{address: 2001:db8:a::1, mac: 44:55:66:77:88:02}}
  - {{address: 2001:db8:b::33, mac: 44:55:66:77:88:aa}}
customer_routes:
  - {{routing_domain_id: {DOMAIN}, virtual_subnet_id: 6000, destination_prefix: 10.0.1.0/24}}
  - {{routing_domain_id: {DOMAIN}, virtual_subnet_id: 6001, destination_prefix: 10.0.2.0/24}}
  - {{routing_domain_id: {DOMAIN}, virtual_subnet_id: 6000, destination_prefix: 2001:db8:1::/64,
     advertise: true, autoconfigure: true}}
  - {{routing_domain_id: {DOMAIN}, virtual_subnet_id: 6000, destination_prefix: 2001:db8:9::/80, advertise: true}}
  - {{routing_domain_id: {DOMAIN}, virtual_subnet_id: 6001, destination_prefix: 2001:db8:2::/64}}
lookup_records:
""" + "".join(
    f"  - {{customer_address: {m.ip}, virtual_subnet_id: {m.vsid}, mac: {m.mac}, provider_address: {m.at}}}\n"
    for m in HERE + THERE
)

# ---- counting ----------------------------------------------------------------------------------------------------

passed = failed = 0


def check(ok: bool, what: str) -> None:
    global passed, failed
    if ok:
        passed += 1
        return
    failed += 1
    if failed <= 20:
        print(f"FAILED: {what}")


def equal(got: object, expected: object, what: str) -> None:
    if got == expected:
        check(True, what)
        return
    if isinstance(got, bytes) and isinstance(expected, bytes):
        got, expected = got.hex(), expected.hex()
    if isinstance(got, dict) and isinstance(expected, dict):
        differs = [key for key in {**got, **expected} if got.get(key) != expected.get(key)]
        got, expected = ({key: side.get(key) for key in differs} for side in (got, expected))
    check(False, f"{what}\n  expected {expected}\n  got      {got}")


# ---- apusctl and tshark ------------------------------------------------------------------------------------------

EPOCH = 1_700_000_000


@dataclass
class Replayed:
    """What left, by port: the number of the input frame that it came from (its time says so), and its bytes."""

    frames: dict[str, list[tuple[int, bytes]]]
    captures: Path
    counters: dict

    def check_books(self, drops: dict[str, int], what: str) -> None:
        equal(self.counters["drops"], drops, f"{what}: drops")
        check(self.counters["balanced"] is True, f"{what}: the statistics balance")

    def check_left(self, expected: dict[str, dict[int, bytes]], what: str) -> None:
        """Every frame left where it should, and no other did."""
        for port, got in self.frames.items():
            wanted = expected.get(port, {})
            equal([number for number, _ in got], sorted(wanted), f"{what}: which frames left through {port}")
            for number, data in got:
                equal(data, wanted.get(number, b""), f"{what}: frame {number} through {port}")


class Broken(Exception):
    """A program that is needed did not do its work."""


def output_of(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Broken(error) from error
    if run.returncode != 0:
        raise Broken(f"{' '.join(command)} ended with {run.returncode}: {run.stderr}")
    return run.stdout


class Apus:
    def __init__(self, program: str, directory: Path) -> None:
        self.program, self.directory, self.runs = program, directory, 0
        (directory / "policy.yaml").write_text(POLICY)

    def replay(self, frames: list[tuple[str, bytes]]) -> Replayed:
        """Feed (port, frame), a millisecond between two; frame n is known by its time."""
        self.runs += 1
        place = self.directory / f"run{self.runs}"
        place.mkdir()
        inputs = []
        for port in sorted({port for port, _ in frames}):
            path = place / f"{port}.in.pcap"
            with RawPcapWriter(str(path), linktype=1) as writer:
                writer.write_header(b"")
                for number, (into, data) in enumerate(frames):
                    if into == port:
                        writer.write_packet(data, sec=EPOCH + number // 1000, usec=number % 1000 * 1000)
            inputs += ["--in", f"{port}={path}"]
        output_of(self.program, "replay", "--policy", f"{self.directory}/policy.yaml", "--out-dir", f"{place}/out",
                  "--json", f"{place}/counters.json", *inputs)
        out = {path.stem: read_capture(path) for path in sorted((place / "out").glob("*.pcap"))}
        return Replayed(out, place / "out", json.loads((place / "counters.json").read_text()))


def read_capture(path: Path) -> list[tuple[int, bytes]]:
    with closing(RawPcapReader(str(path))) as reader:
        millisecond = 10**6 if reader.nano else 10**3
        return [((about.sec - EPOCH) * 1000 + about.usec // millisecond, data) for data, about in reader]


def tshark(capture: Path, *fields: str) -> list[dict[str, list[str]]]:
    """Each frame as tshark sees it; fields that occur in the outer and the inner packet have two values."""
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a",
               "-o", "ip.check_checksum:TRUE", "-o", "ip.defragment:FALSE"]
    for field in fields:
        command += ["-e", field]
    return [{field: value.split(",") for field, value in zip(fields, line.split("|"), strict=True)}
            for line in output_of(*command).splitlines()]


# ---- what is expected, from the RFCs -----------------------------------------------------------------------------


READABLE = 160
"""Bytes of a frame in which upper layers are looked for (docs/pipeline.md 2.4)."""


def upper_layer(packet: bytes) -> tuple[int, bytes, bool]:
    """docs/pipeline.md 2.4: the protocol behind the extension headers, what is readable of it, is it of a fragment?"""
    number, at, is_fragment = packet[6], 40, False
    readable = packet[:min(40 + int.from_bytes(packet[4:6], "big"), READABLE - 14)]
    for _ in range(8):
        if number not in (0, 43, 44, 51, 60) or at + 8 > len(readable):
            break
        size = {44: 8, 51: (readable[at + 1] + 2) * 4}.get(number, (readable[at + 1] + 1) * 8)
        if at + size > len(readable):
            break
        where = int.from_bytes(readable[at + 2:at + 4], "big") if number == 44 else 0
        is_fragment |= where & 0xFFF9 != 0
        number, at = readable[at], at + size
        if where >> 3:
            return number, b"", True
    return number, readable[at:], is_fragment


def flow_id(packet: Packet) -> int:
    """docs/pipeline.md 2.3: FlowID is a hash of the customer's addresses, protocol and ports."""
    if packet.version == 6:
        protocol, payload, is_fragment = upper_layer(raw(packet))
    else:
        protocol, payload = packet.proto, raw(packet)[packet.ihl * 4:packet.len]
        is_fragment = bool(packet.flags.MF) or packet.frag != 0
    ports = 0
    if protocol in (6, 17) and not is_fragment and len(payload) >= 4:
        ports = int.from_bytes(payload[:4], "big")
    source, destination = word(packet.src), word(packet.dst)
    h = source * 0x9E3779B1 ^ destination * 0x85EBCA77 ^ (ports + protocol) % 2**32 * 0xC2B2AE3D
    h %= 2**32
    return (h ^ h >> 15) * 0x2C1B3C6D % 2**32 >> 24


def word(address: str) -> int:
    """An IPv4 address, or the XOR of the four words of an IPv6 address."""
    data = ip_address(address).packed
    total = 0
    for start in range(0, len(data), 4):
        total ^= int.from_bytes(data[start:start + 4], "big")
    return total


def ip_of(frame: Packet) -> Packet:
    """The IP packet of a frame, behind tags."""
    packet = frame.payload
    while isinstance(packet, Dot1Q):
        packet = packet.payload
    return packet


def length_of(packet: Packet) -> int:
    return 40 + packet.plen if packet.version == 6 else packet.len


def traffic_class(packet: Packet) -> int:
    return packet.tc if packet.version == 6 else packet.tos


def outer_header(source: str, destination: str, tos: int, flow: int, ttl: int) -> Packet:
    if ":" in source:
        return IPv6(tc=tos, fl=flow, hlim=ttl, src=source, dst=destination, nh=47)
    return IP(tos=tos, id=0, flags="DF", ttl=ttl, src=source, dst=destination)


def raw(packet: Packet) -> bytes:
    return bytes(packet)


def resolved(packet: Packet) -> Packet:
    """The packet with the lengths and checksums that scapy fills in."""
    return packet.__class__(raw(packet))


def after_ecn(inner: int, outer: int) -> int | None:
    """RFC 6040 section 4.2: the ECN field that leaves the tunnel; None = drop."""
    not_ect, ect1, ect0, ce = range(4)
    if inner == not_ect:
        return None if outer == ce else not_ect
    if outer == ce:
        return ce
    return ect1 if (inner, outer) == (ect0, ect1) else inner


def encapsulated(customer: Packet, vsid: int, at: str) -> bytes:
    """NVGRE as scapy builds it (RFC 7637 section 3.2): `customer` on the wire to the provider address `at`."""
    uplink, next_hop = PATHS[at]
    ip = resolved(ip_of(customer))
    outer = Ether(dst=next_hop, src=uplink.mac)
    if uplink.vlan:
        outer /= Dot1Q(vlan=uplink.vlan)
    outer /= outer_header(uplink.source(at), at, traffic_class(ip), flow_id(ip), 128)
    outer /= GRE(key_present=1, proto=NVGRE_TYPE, key=vsid << 8 | flow_id(ip))
    return raw(outer / customer)


# ---- random packets ----------------------------------------------------------------------------------------------


def random_ip(choose: random.Random, source: str, destination: str) -> Packet:
    """Sizes, TOS, options, fragments and protocols of all kinds."""
    options = choose.choice([
        [], [], [], [IPOption_NOP()] * choose.randint(1, 4), [IPOption_Router_Alert()],
        [IPOption_RR(routers=["10.0.9.9"] * choose.randint(1, 9))],
        [IPOption_Timestamp(flg=0, timestamp=choose.getrandbits(32))], [IPOption_NOP()] * 40,
    ])
    fragment = choose.choice([{}, {}, {}, {"flags": "MF"}, {"frag": choose.randint(1, 8191)}, {"flags": "DF"}])
    header = IP(src=source, dst=destination, tos=choose.randrange(256), ttl=choose.randint(2, 255),
                id=choose.randrange(65536), options=options, **fragment)
    port = {"sport": choose.randrange(65536), "dport": choose.randrange(65536)}
    above = choose.choice([
        lambda: UDP(**port), lambda: TCP(**port, flags=choose.randrange(256)), lambda: ICMP(type=choose.randrange(256)),
        lambda: None,
    ])()
    if above is None:
        header.proto = choose.choice([0, 4, 6, 17, 41, 47, 50, 89, 132, 255])
    else:
        header /= above
    size = choose.choice([choose.randint(0, 20), choose.randint(0, 1400), choose.choice([0, 1, 1400])])
    return header / Raw(choose.randbytes(size)) if size else header


def random_ip6(choose: random.Random, source: str, destination: str) -> Packet:
    """Sizes, traffic classes, extension headers, fragments and protocols of all kinds, but neighbour discovery."""
    header = IPv6(src=source, dst=destination, tc=choose.randrange(256), fl=choose.getrandbits(20),
                  hlim=choose.randint(2, 255))
    if choose.random() < 0.2:
        header /= IPv6ExtHdrHopByHop(options=[choose.choice([RouterAlert(), PadN(optdata=b"\0" * 4)])])
    for _ in range(choose.choice([0, 0, 0, 0, 1, 2, 9])):
        header /= choose.choice([
            lambda: IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=b"a" * choose.choice([4, 12]))]),
            lambda: IPv6ExtHdrRouting(type=choose.randrange(256), segleft=0, addresses=["2001:db8::9"]),
            lambda: IPv6ExtHdrDestOpt(),
        ])()
    if choose.random() < 0.25:
        offset = choose.choice([0, 0, choose.randint(1, 8191)])
        header /= IPv6ExtHdrFragment(offset=offset, m=choose.randrange(2), id=choose.getrandbits(32))
    port = {"sport": choose.randrange(65536), "dport": choose.randrange(65536)}
    header /= choose.choice([
        lambda: UDP(**port), lambda: TCP(**port, flags=choose.randrange(256)), lambda: ICMPv6EchoRequest(id=7),
        lambda: ICMPv6EchoReply(seq=9),
        lambda: ICMPv6Unknown(type=choose.choice([1, 2, 3, 4, 100, 132, 138, 160, 255])),
        lambda: IPv6ExtHdrDestOpt(nh=choose.choice([6, 17, 47, 59, 89, 132, 255])),
    ])()
    size = choose.choice([choose.randint(0, 20), choose.randint(0, 1300), choose.choice([0, 1, 1300])])
    return header / Raw(choose.randbytes(size)) if size else header


def random_packet(choose: random.Random, source: Machine, destination: Machine) -> Packet:
    make = random_ip6 if source.family == 6 else random_ip
    return make(choose, source.ip, destination.ip)


def random_padding(choose: random.Random) -> bytes:
    """What Ethernet drivers leave behind a packet."""
    return choose.randbytes(choose.choice([0, 0, 0, 1, 6, 46]))


def random_egress(apus: Apus, choose: random.Random, count: int) -> None:
    """Machines here send to machines elsewhere, in their own virtual subnet and through the distributed router."""
    frames, expected = [], {"uplink": {}, "trunk": {}}
    for number in range(count):
        sender = choose.choice(HERE)
        target = choose.choice([machine for machine in THERE if machine.family == sender.family])
        packet = random_packet(choose, sender, target)
        is_routed = sender.vsid != target.vsid
        ethernet = Ether(dst=ROUTER if is_routed else target.mac, src=sender.mac)
        for _ in range(choose.choice([0, 0, 0, 1, 2])):  # RFC 7637 section 3.3: the tag is removed
            ethernet /= Dot1Q(vlan=choose.randrange(4096), prio=choose.randrange(8))
        frames.append((sender.port, raw(ethernet / packet) + random_padding(choose)))

        inner = packet.copy()
        if is_routed and sender.family == 6:
            inner.hlim -= 1
        elif is_routed:
            inner.ttl -= 1
        frame = encapsulated(Ether(dst=target.mac, src=sender.mac) / inner, target.vsid, target.at)
        expected[PATHS[target.at][0].port][number] = frame
    replayed = apus.replay(frames)
    replayed.check_left(expected, "random egress")
    replayed.check_books({}, "random egress")
    for uplink in UPLINKS.values():
        seen_by_tshark(replayed, uplink, frames)
        seen_by_scapy(replayed, uplink, frames)


@dataclass
class Origin:
    """The customer's frame that an outer frame has to carry, as the sender's bytes say."""

    ip: Packet
    target: Machine
    source: Machine

    @classmethod
    def of(cls, frame: bytes) -> Origin:
        packet = ip_of(Ether(frame))
        return cls(packet, next(m for m in THERE if m.ip == packet.dst), next(m for m in HERE if m.ip == packet.src))

    @property
    def ttl(self) -> int:
        ttl = self.ip.hlim if self.ip.version == 6 else self.ip.ttl
        return ttl - (self.source.vsid != self.target.vsid)


def seen_by_tshark(replayed: Replayed, uplink: Uplink, frames: list[tuple[str, bytes]]) -> None:
    """Field by field, outer (0) and inner (1)."""
    rows = tshark(
        replayed.captures / f"{uplink.port}.pcap", "eth.dst", "eth.src", "vlan.id", "vlan.priority",
        "ip.hdr_len", "ip.dsfield", "ip.len", "ip.id", "ip.flags.df", "ip.flags.mf", "ip.ttl",
        "ip.proto", "ip.checksum.status", "ip.src", "ip.dst", "ipv6.version", "ipv6.tclass", "ipv6.flow", "ipv6.plen",
        "ipv6.nxt", "ipv6.hlim", "ipv6.src", "ipv6.dst", "gre.flags_and_version", "gre.proto", "gre.key")
    equal(len(rows), len(replayed.frames[uplink.port]), f"tshark reads all of {uplink.port}")
    for row, (number, data) in zip(rows, replayed.frames[uplink.port]):
        origin = Origin.of(frames[number][1])
        target, ip = origin.target, origin.ip
        want = {
            "eth.dst": [PATHS[target.at][1], target.mac],
            "eth.src": [uplink.mac, origin.source.mac],
            "vlan.id": [str(uplink.vlan) if uplink.vlan else ""],
            "vlan.priority": ["0" if uplink.vlan else ""],
            "gre.flags_and_version": ["0x2000"],
            "gre.proto": [f"0x{NVGRE_TYPE:04x}"],
            "gre.key": [f"0x{target.vsid << 8 | flow_id(ip):08x}"],
        }
        outer = (uplink.source(target.at), target.at, traffic_class(ip), 128)
        inner = (ip.src, ip.dst, traffic_class(ip), origin.ttl)
        if ":" in target.at:
            add_ipv6(want, outer, flow=flow_id(ip), plen=length_of(ip) + 22, number=47)
        else:
            add_ipv4(want, outer, length=length_of(ip) + 42, fields=IP(id=0, flags="DF", proto=47, ihl=5))
        if ip.version == 6:
            add_ipv6(want, inner, flow=ip.fl, plen=ip.plen, number=ip.nh)
        else:
            add_ipv4(want, inner, length=ip.len, fields=ip)
        # The customer's payload may itself be something that tshark takes for IP or GRE.
        got = {field: row[field][:len(value)] for field, value in want.items()}
        equal(got, want, f"tshark: frame {number} on {uplink.port}, {data.hex()}")


def add_ipv4(want: dict[str, list[str]], common: tuple[str, str, int, int], length: int, fields: Packet) -> None:
    """What tshark has to show of an IPv4 header."""
    source, destination, tos, ttl = common
    for field, value in {
        "ip.hdr_len": str(fields.ihl * 4), "ip.dsfield": f"0x{tos:02x}", "ip.len": str(length),
        "ip.id": f"0x{fields.id:04x}", "ip.flags.df": str(int(fields.flags.DF)),
        "ip.flags.mf": str(int(fields.flags.MF)), "ip.ttl": str(ttl), "ip.proto": str(fields.proto),
        "ip.checksum.status": "1", "ip.src": source, "ip.dst": destination,
    }.items():
        want.setdefault(field, []).append(value)


def add_ipv6(want: dict[str, list[str]], common: tuple[str, str, int, int], flow: int, plen: int, number: int) -> None:
    """The same of an IPv6 header."""
    source, destination, tos, ttl = common
    for field, value in {
        "ipv6.version": "6", "ipv6.tclass": f"0x{tos:08x}", "ipv6.flow": f"0x{flow:06x}", "ipv6.plen": str(plen),
        "ipv6.nxt": str(number), "ipv6.hlim": str(ttl), "ipv6.src": source, "ipv6.dst": destination,
    }.items():
        want.setdefault(field, []).append(value)


def seen_by_scapy(replayed: Replayed, uplink: Uplink, frames: list[tuple[str, bytes]]) -> None:
    for number, data in replayed.frames[uplink.port]:
        origin = Origin.of(frames[number][1])
        frame = Ether(data)
        gre, outer = frame[GRE], ip_of(frame)
        got = (frame.dst, outer.src, outer.dst, traffic_class(outer), gre.key_present, gre.chksum_present,
               gre.seqnum_present, gre.version, gre.proto, gre.key >> 8)
        want = (PATHS[origin.target.at][1], uplink.source(origin.target.at), origin.target.at, traffic_class(origin.ip),
                1, 0, 0, 0, NVGRE_TYPE, origin.target.vsid)
        equal(got, want, f"scapy: frame {number} on {uplink.port}")
        if outer.version == 6:
            equal((outer.hlim, outer.fl, outer.nh), (128, gre.key & 255, 47), f"scapy: IPv6 header of frame {number}")
        else:
            header = outer.copy()
            del header.chksum
            equal((outer.ttl, str(outer.flags), outer.chksum), (128, "DF", resolved(header).chksum),
                  f"scapy: IPv4 header of frame {number}")
        if origin.source.vsid == origin.target.vsid:
            # Bit for bit the customer's packet: from the IP header on, which is where removed tags end.
            sent = origin.ip.original[:length_of(origin.ip)]
            equal(gre.payload.original[14:], sent, f"scapy: the customer's packet in frame {number} on {uplink.port}")


def random_ingress(apus: Apus, choose: random.Random, count: int) -> None:
    """NVGRE by scapy: any TOS, TTL, FlowID, ignored GRE bits, outer options, tags and padding."""
    frames, drops = [], {}
    expected: dict[str, dict[int, bytes]] = {machine.port: {} for machine in HERE}
    for number in range(count):
        target = choose.choice(HERE)
        uplink = next(uplink for uplink in UPLINKS.values() if target.at in (uplink.ours, uplink.ours6))
        # What arrives where does not depend on how we would reach the sender.
        source = choose.choice([m for m in THERE if m.family == target.family and (":" in m.at) == (":" in target.at)])
        packet = random_packet(choose, source, target)
        inner = Ether(dst=target.mac, src=source.mac) / packet
        behind = choose.randbytes(choose.choice([0, 0, 0, 4]))  # inside the tunnel, behind the customer's packet

        # The outer source MAC is that of whoever was the last hop.
        outer = Ether(dst=uplink.mac, src=choose.choice(["44:55:66:77:88:99", "02:00:00:00:00:09"]))
        if uplink.vlan or choose.random() < 0.2:
            outer /= Dot1Q(vlan=uplink.vlan, prio=choose.randrange(8), id=choose.randrange(2))
        tos, flow, ttl = choose.randrange(256), choose.getrandbits(20), choose.randrange(256)
        outer_ip = outer_header(source.at, target.at, tos, flow, ttl)
        if ":" not in target.at:
            outer_ip.id, outer_ip.flags = choose.randrange(65536), choose.choice(["DF", ""])
            outer_ip.options = choose.choice([
                [], [], [], [IPOption_NOP()] * 4, [IPOption_Router_Alert()], [IPOption_NOP()] * 40])
        # Bits 6-12 are ignored (RFC 2784 section 2.3); scapy, after RFC 1701, calls 5-7 recursion control.
        gre = GRE(key_present=1, proto=NVGRE_TYPE, key=target.vsid << 8 | choose.randrange(256),
                  recursion_control=choose.choice([0, 0, 1, 2, 3]), flags=choose.choice([0, 0, choose.randrange(32)]))
        frames.append((uplink.port, raw(outer / outer_ip / gre / (raw(inner) + behind)) + random_padding(choose)))

        ecn = after_ecn(traffic_class(packet) & 3, traffic_class(outer_ip) & 3)
        if ecn is None:
            drops["ECN"] = drops.get("ECN", 0) + 1
            continue
        left = inner.copy()
        if target.family == 6:
            left[IPv6].tc = packet.tc & 0xFC | ecn
        else:
            left[IP].tos = packet.tos & 0xFC | ecn
        expected[target.port][number] = raw(left) + behind
    replayed = apus.replay(frames)
    replayed.check_left(expected, "random ingress")
    replayed.check_books(drops, "random ingress")
    for port, frames_of_port in expected.items():
        rows = tshark(replayed.captures / f"{port}.pcap", "eth.dst", "ip.dst", "ip.checksum.status", "ipv6.dst")
        equal(len(rows), len(frames_of_port), f"tshark reads all of {port}")
        for row, number in zip(rows, sorted(frames_of_port)):
            packet = ip_of(Ether(frames_of_port[number]))
            machine = next(machine for machine in HERE if machine.ip == packet.dst)
            equal(row["eth.dst"][0], machine.mac, f"tshark: a frame to {port}")
            if machine.family == 6:
                equal(row["ipv6.dst"][0], machine.ip, f"tshark: a frame to {port}")
            else:
                equal((row["ip.dst"][0], row["ip.checksum.status"][0]), (machine.ip, "1"), f"tshark: a frame to {port}")


# ---- neighbour discovery, router advertisements, ICMPv6 errors ----------------------------------------------------

ALL_NODES = "ff02::1"


def solicited(target: str) -> tuple[str, str]:
    """The group in which an address is asked for (RFC 4291 section 2.7.1), and the group's MAC (RFC 2464 section 7)."""
    end = ip_address(target).packed[13:]
    return str(IPv6Address(ip_address("ff02::1:ff00:0").packed[:13] + end)), "33:33:ff:" + end.hex(":")


def local_address(mac: str) -> str:
    """RFC 4291 appendix A."""
    data = bytes.fromhex(mac.replace(":", ""))
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([data[0] ^ 2]) + data[1:3] + b"\xff\xfe" + data[3:]))


def neighbour_answer(target: str, mac: str, asker: str, asker_mac: str, is_router: bool) -> Packet:
    """What scapy would answer (RFC 4861 section 7.2.4)."""
    is_probe = asker == "::"
    return (Ether(dst=asker_mac, src=mac) / IPv6(src=target, dst=ALL_NODES if is_probe else asker, hlim=255)
            / ICMPv6ND_NA(tgt=target, R=is_router, S=not is_probe, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac))


def discovery(apus: Apus) -> None:
    """Every machine asks for every address, in the three ways in which a machine asks."""
    frames, expected, drops = [], {machine.port: {} for machine in HERE}, 0
    routers = {6000: ["2001:db8:1::1", "2001:db8:9::1", ROUTER_LOCAL], 6001: ["2001:db8:2::1", ROUTER_LOCAL]}
    for machine in (m for m in HERE if m.family == 6):
        known = {other.ip: other.mac for other in HERE + THERE if other.vsid == machine.vsid and other.family == 6}
        known |= dict.fromkeys(routers[machine.vsid], ROUTER)
        for target, mac in known.items():
            group, group_mac = solicited(target)
            for source, to, option in (
                (machine.ip, group, True), (local_address(machine.mac), target, True), (machine.ip, target, False),
                ("::", group, False),
            ):
                question = Ether(dst=group_mac if to == group else mac, src=machine.mac)
                question /= IPv6(src=source, dst=to, hlim=255) / ICMPv6ND_NS(tgt=target)
                if option:
                    question /= ICMPv6NDOptSrcLLAddr(lladdr=machine.mac)
                if mac != machine.mac:
                    answer = neighbour_answer(target, mac, source, machine.mac, mac == ROUTER)
                    expected[machine.port][len(frames)] = raw(answer)
                frames.append((machine.port, raw(question)))
    replayed = apus.replay(frames)
    replayed.check_left(expected, "neighbour discovery")
    replayed.check_books({}, "neighbour discovery")
    equal(replayed.counters["totals"]["arp_replies"], sum(map(len, expected.values())), "solicitations answered")
    for port, answers in expected.items():
        fields = ("ipv6.hlim", "icmpv6.type", "icmpv6.checksum.status", "icmpv6.nd.na.target_address",
                  "icmpv6.opt.linkaddr", "_ws.malformed")
        for row, number in zip(tshark(replayed.captures / f"{port}.pcap", *fields), sorted(answers)):
            answer = Ether(answers[number])
            want = ("255", "136", "1", answer[ICMPv6ND_NA].tgt, answer.src, "")
            equal(tuple(row[field][0] for field in fields), want, f"tshark: answer {number} to {port}")

    # The provider's side: our addresses are asked for, each in its VLAN.
    for uplink in UPLINKS.values():
        peer, mac = next((at, mac) for at, (up, mac) in PATHS.items() if up is uplink and at.endswith("::33"))
        group, group_mac = solicited(uplink.ours6)
        tag = [Dot1Q(vlan=uplink.vlan)] if uplink.vlan else []
        question = Ether(dst=group_mac, src=mac)
        answer = Ether(dst=mac, src=uplink.mac)
        for layer in tag:
            question, answer = question / layer, answer / layer
        question /= IPv6(src=peer, dst=group, hlim=255) / ICMPv6ND_NS(tgt=uplink.ours6)
        question /= ICMPv6NDOptSrcLLAddr(lladdr=mac)
        answer /= neighbour_answer(uplink.ours6, uplink.mac, peer, mac, False).payload
        replayed = apus.replay([(uplink.port, raw(question))])
        replayed.check_left({uplink.port: {0: raw(answer)}}, f"a solicitation from {uplink.port}")
        replayed.check_books({}, f"a solicitation from {uplink.port}")


def routers(apus: Apus) -> None:
    """Router advertisements: which prefixes, which flags, which MTU, to whom."""
    frames, expected = [], {machine.port: {} for machine in HERE}
    for port, mac, mtu in (("contoso1", "60:00:60:00:01:02", 1438), ("contoso2", "60:00:60:00:01:03", None),
                           ("contoso3", "60:00:60:00:02:02", None)):
        for source in (local_address(mac), "::"):
            question = Ether(dst="33:33:00:00:00:02", src=mac) / IPv6(src=source, dst="ff02::2", hlim=255)
            question /= ICMPv6ND_RS()
            if source != "::":
                question /= ICMPv6NDOptSrcLLAddr(lladdr=mac)
            if port != "contoso3":  # whose virtual subnet has nothing to advertise
                asker = ALL_NODES if source == "::" else source
                answer = Ether(dst=mac, src=ROUTER) / IPv6(src=ROUTER_LOCAL, dst=asker, hlim=255)
                answer /= ICMPv6ND_RA(chlim=64, M=0, O=0, prf=0, routerlifetime=9000, reachabletime=0, retranstimer=0)
                answer /= ICMPv6NDOptSrcLLAddr(lladdr=ROUTER)
                if mtu:  # below 1280 an MTU is none of IPv6
                    answer /= ICMPv6NDOptMTU(mtu=mtu)
                for prefix, length, autonomous in (("2001:db8:1::", 64, 1), ("2001:db8:9::", 80, 0)):
                    answer /= ICMPv6NDOptPrefixInfo(prefixlen=length, L=1, A=autonomous, R=0, validlifetime=0xFFFFFFFF,
                                                    preferredlifetime=0xFFFFFFFF, prefix=prefix)
                expected[port][len(frames)] = raw(answer)
            frames.append((port, raw(question)))
    replayed = apus.replay(frames)
    replayed.check_left(expected, "router advertisements")
    replayed.check_books({}, "router advertisements")
    equal(replayed.counters["totals"]["router_advertisements"], 4, "router advertisements")
    for row in tshark(replayed.captures / "contoso1.pcap", "icmpv6.type", "icmpv6.checksum.status", "icmpv6.opt.mtu",
                      "icmpv6.opt.prefix", "icmpv6.opt.prefix.length", "_ws.malformed"):
        want = [["134"], ["1"], ["1438"], ["2001:db8:1::", "2001:db8:9::"], ["64", "80"], [""]]
        equal(list(row.values()), want, "tshark: a router advertisement")


def icmpv6_errors(apus: Apus) -> None:
    """Time exceeded and packet too big, and when there is none; echo answers."""
    here = next(machine for machine in HERE if machine.ip == "2001:db8:1::2")
    there = {machine.ip: machine for machine in THERE}
    near, far = there["2001:db8:1::4"], there["2001:db8:2::4"]
    over_ipv4 = there["2001:db8:1::7"]
    gateway = "2001:db8:1::1"

    def error(message: Packet, packet: Packet, source: str = gateway) -> bytes:
        head = Ether(dst=here.mac, src=ROUTER) / IPv6(src=source, dst=packet.src, hlim=128)
        return raw(head / message / Raw(raw(packet)[:1232]))

    def expired(hlim: int) -> Packet:
        return IPv6(src=here.ip, dst=far.ip, hlim=hlim) / UDP(sport=33434, dport=33434) / b"trace"

    def large(machine: Machine, size: int, above: Packet | None = None) -> Packet:
        head = IPv6(src=here.ip, dst=machine.ip) / (above or UDP(sport=1, dport=2))
        return head / Raw(bytes(i % 251 for i in range(size - len(head))))

    # The provider ports' MTU is 9000.
    cases: list[tuple[str, str, Packet, Packet | None]] = [
        ("TTL_EXPIRED", ROUTER, expired(1), ICMPv6TimeExceeded(code=0)),
        ("TTL_EXPIRED", ROUTER, expired(0), ICMPv6TimeExceeded(code=0)),
        ("MTU_EXCEEDED", near.mac, large(near, 8939), ICMPv6PacketTooBig(code=0, mtu=8938)),
        ("MTU_EXCEEDED", over_ipv4.mac, large(over_ipv4, 8959), ICMPv6PacketTooBig(code=0, mtu=8958)),
        ("MTU_EXCEEDED", ROUTER, large(far, 8939), ICMPv6PacketTooBig(code=0, mtu=8938)),
        ("MTU_EXCEEDED", near.mac, large(near, 8939, ICMPv6EchoRequest()), ICMPv6PacketTooBig(code=0, mtu=8938)),
        ("MTU_EXCEEDED", near.mac, large(near, 8939, ICMPv6Unknown(type=1)), None),  # itself an error
        ("MTU_EXCEEDED", near.mac, large(near, 8939, IPv6ExtHdrFragment(offset=100, nh=17)), None),
    ]
    for reason, mac, packet, message in cases:
        replayed = apus.replay([(here.port, raw(Ether(dst=mac, src=here.mac) / packet))])
        expected = {here.port: {0: error(message, packet)}} if message else {}
        replayed.check_left(expected, f"{reason}: {packet.summary()}")
        replayed.check_books({reason: 1}, reason)
        if message:
            capture = replayed.captures / f"{here.port}.pcap"
            row = tshark(capture, "icmpv6.type", "icmpv6.checksum.status", "ipv6.src")[0]
            equal((row["icmpv6.type"][0], row["icmpv6.checksum.status"][0], row["ipv6.src"]),
                  (str(message.type), "1", [gateway, here.ip]), f"tshark: {reason}")
    for machine, size in ((near, 8938), (over_ipv4, 8958)):
        packet = large(machine, size)
        frame = Ether(dst=machine.mac, src=here.mac) / packet
        replayed = apus.replay([(here.port, raw(frame))])
        uplink = PATHS[machine.at][0]
        replayed.check_left({uplink.port: {0: encapsulated(frame, machine.vsid, machine.at)}}, f"{size} bytes fit")

    for target in (gateway, "2001:db8:9::1", "2001:db8:2::1", ROUTER_LOCAL):
        for data in (b"", b"apus", bytes(1200)):
            question = IPv6(src=here.ip, dst=target, hlim=1, tc=0x0A, fl=77) / ICMPv6EchoRequest(id=7, seq=9, data=data)
            answer = IPv6(src=target, dst=here.ip, hlim=128, tc=0x0A, fl=77) / ICMPv6EchoReply(id=7, seq=9, data=data)
            replayed = apus.replay([(here.port, raw(Ether(dst=ROUTER, src=here.mac) / question))])
            replayed.check_left({here.port: {0: raw(Ether(dst=here.mac, src=ROUTER) / answer)}}, f"echo from {target}")
            equal(replayed.counters["totals"]["echo_replies"], 1, f"echo from {target}")


# ---- what must not come in ---------------------------------------------------------------------------------------


def refusals(apus: Apus) -> None:
    """One frame for each reason; scapy makes the wrong ones as gladly as the right ones."""
    source, target = THERE[0], HERE[0]
    ethernet = Ether(dst=UPLINKS["uplink"].mac, src="44:55:66:77:88:99")
    outer = IP(src=source.at, dst=target.at, id=0, flags="DF")
    key = {"key_present": 1, "key": 6000 << 8, "proto": NVGRE_TYPE}
    inner = Ether(dst=target.mac, src=source.mac)
    customer = IP(src=source.ip, dst=target.ip) / UDP(sport=1, dport=2) / b"apus"

    def nvgre(gre: dict, frame: Packet = inner / customer, **fields: object) -> Packet:
        changed = outer.copy()
        for field, value in fields.items():
            setattr(changed, field, value)
        return ethernet / changed / GRE(**gre) / frame

    cases = [
        ("GRE_FLAGS", nvgre({**key, "chksum_present": 1})),
        ("GRE_FLAGS", nvgre({**key, "seqnum_present": 1, "seqence_number": 7})),  # sic
        ("GRE_FLAGS", nvgre({**key, "strict_route_source": 1})),
        ("GRE_FLAGS", nvgre({**key, "recursion_control": 4})),
        ("GRE_VERSION", nvgre({**key, "version": 1})),
        ("GRE_NO_KEY", nvgre({"proto": NVGRE_TYPE})),
        ("GRE_PROTOCOL", nvgre({**key, "proto": 0x0800}, customer)),
        ("OUTER_FRAGMENT", nvgre(key, flags="MF")),
        ("OUTER_FRAGMENT", nvgre(key, frag=1)),
        ("OUTER_PROTOCOL", ethernet / outer / UDP(sport=4790, dport=4790) / raw(inner / customer)),
        ("OUTER_IP_CHECKSUM", nvgre(key, chksum=0xDEAD)),
        ("OUTER_NOT_OURS", nvgre(key, dst="192.168.0.23")),
        ("SOURCE_PA_UNKNOWN", nvgre(key, src="192.168.0.34")),
        ("VSID_RESERVED", nvgre({**key, "key": 0xFFFFFF00})),
        ("VSID_RESERVED", nvgre({**key, "key": 0x000FFF00})),
        ("VSID_UNKNOWN", nvgre({**key, "key": 0x00100000})),
        ("INNER_VLAN", nvgre(key, inner / Dot1Q(vlan=5) / customer)),
        ("INNER_ETHERTYPE", nvgre(key, Ether(dst=target.mac, src=source.mac, type=0x88CC) / Raw(bytes(46)))),
        ("INNER_ARP_MALFORMED", nvgre(key, inner / ARP(hwsrc=source.mac, psrc=source.ip, ptype=0x86DD))),
        ("INNER_SOURCE_CA_PA", nvgre(key, src="172.16.0.33")),
        ("INNER_SOURCE_CA_MAC", nvgre(key, Ether(dst=target.mac, src=THERE[1].mac) / customer)),
        ("INNER_DESTINATION_CA_MAC", nvgre(key, Ether(dst=HERE[1].mac, src=source.mac) / customer)),
    ]
    for reason, frame in cases + refusals_ipv6():
        replayed = apus.replay([("uplink", raw(frame))])
        replayed.check_left({}, reason)
        replayed.check_books({reason: 1}, f"{reason}: {raw(frame).hex()}")
    refusals_from_machines(apus)


def refusals_ipv6() -> list[tuple[str, Packet]]:
    source = next(machine for machine in THERE if machine.ip == "2001:db8:1::4")
    target = next(machine for machine in HERE if machine.ip == "2001:db8:1::2")
    ethernet = Ether(dst=UPLINKS["uplink"].mac, src="44:55:66:77:88:99")
    gre = GRE(key_present=1, key=6000 << 8, proto=NVGRE_TYPE)
    inner = Ether(dst=target.mac, src=source.mac)
    customer = IPv6(src=source.ip, dst=target.ip) / UDP(sport=1, dport=2) / b"apus"
    asked = ICMPv6ND_NS(tgt=target.ip) / ICMPv6NDOptSrcLLAddr(lladdr=source.mac)

    def nvgre(frame: Packet = inner / customer, between: Packet | None = None, **fields: object) -> Packet:
        outer = IPv6(src=source.at, dst=target.at, nh=47)
        for field, value in fields.items():
            setattr(outer, field, value)
        if between is not None:
            outer.nh = between.overload_fields.get(IPv6, {}).get("nh", outer.nh)
            outer /= between
        return ethernet / outer / gre / frame

    def provider_nd(message: Packet, hlim: int = 255, mac: str = "44:55:66:77:88:99") -> Packet:
        group, group_mac = solicited(target.at)
        return Ether(dst=group_mac, src=mac) / IPv6(src=source.at, dst=group, hlim=hlim) / message

    whole = raw(nvgre())
    return [
        ("OUTER_IP_OPTIONS", nvgre(between=IPv6ExtHdrDestOpt(nh=47, options=[PadN(optdata=b"\0" * 4)]))),
        ("OUTER_IP_OPTIONS", nvgre(between=IPv6ExtHdrHopByHop(nh=47, options=[PadN(optdata=b"\0" * 4)]))),
        ("OUTER_FRAGMENT", nvgre(between=IPv6ExtHdrFragment(nh=47, m=1))),
        ("OUTER_FRAGMENT", nvgre(between=IPv6ExtHdrFragment(nh=47))),
        ("OUTER_PROTOCOL", ethernet / IPv6(src=source.at, dst=target.at) / UDP(sport=4790, dport=4790) / b"gpe"),
        ("OUTER_PROTOCOL", ethernet / IPv6(src=source.at, dst=target.at) / ICMPv6EchoRequest()),
        ("OUTER_IP_LENGTH", nvgre(plen=2000)),
        ("OUTER_IP_VERSION", nvgre(version=4)),
        ("OUTER_TRUNCATED", Ether(whole[:14 + 39])),
        ("OUTER_TRUNCATED", nvgre(plen=7)),
        ("INNER_TRUNCATED", nvgre(plen=21)),
        ("OUTER_NOT_OURS", nvgre(dst="2001:db8:a::23")),
        ("OUTER_NOT_OURS", nvgre(dst="2001:db8:b::22")),
        ("OUTER_MAC", Ether(dst=UPLINKS["trunk"].mac, src="44:55:66:77:88:99") / nvgre().payload),
        ("OUTER_VLAN", Ether(dst=UPLINKS["uplink"].mac, src="44:55:66:77:88:99", type=0x8100) / Dot1Q(vlan=5)
         / nvgre().payload),
        ("SOURCE_PA_UNKNOWN", nvgre(src="2001:db8:a::34")),
        ("INNER_SOURCE_CA_PA", nvgre(src="2001:db8:b::33")),
        ("INNER_SOURCE_CA_MAC", nvgre(Ether(dst=target.mac, src=THERE[1].mac) / customer)),
        ("INNER_DESTINATION_CA_MAC", nvgre(Ether(dst=HERE[1].mac, src=source.mac) / customer)),
        ("INNER_IP_MALFORMED", nvgre(inner / IPv6(src=source.ip, dst=target.ip, plen=100) / UDP())),
        ("INNER_IP_MALFORMED", nvgre(inner / IPv6(src="::", dst=target.ip) / UDP())),
        ("INNER_IP_MALFORMED", nvgre(inner / IPv6(src=source.ip, dst=target.ip, hlim=64) / asked)),
        ("INNER_IP_MALFORMED", nvgre(inner / IPv6(src=source.ip, dst=ALL_NODES, hlim=255) / ICMPv6ND_RA())),
        ("INNER_IP_MALFORMED", nvgre(inner / IPv6(src=source.ip, dst=target.ip, hlim=255) / ICMPv6ND_RS())),
        ("INNER_IP_MALFORMED", nvgre(inner / IPv6(src=source.ip, dst=target.ip) / IPv6ExtHdrDestOpt() / ICMPv6ND_RS())),
        ("INNER_NOT_UNICAST", nvgre(inner / IPv6(src=source.ip, dst="ff02::1") / UDP())),
        ("INNER_NOT_UNICAST", nvgre(inner / IPv6(src=source.ip, dst="::ffff:10.0.1.2") / UDP())),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt=target.at), hlim=254)),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt=target.at, cksum=1))),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt=target.at, code=1))),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt="ff02::1"))),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt=target.at) / ICMPv6NDOptSrcLLAddr(lladdr=source.mac))),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt=target.at) / ICMPv6NDOptSrcLLAddr(len=0))),
        ("PROVIDER_ND_MALFORMED", provider_nd(ICMPv6ND_NS(tgt=target.at), mac="33:33:00:00:00:01")),
    ]


def refusals_from_machines(apus: Apus) -> None:
    """What a machine must not send."""
    here = next(machine for machine in HERE if machine.ip == "2001:db8:1::2")
    other = next(machine for machine in HERE if machine.ip == "2001:db8:1::3")
    near = next(machine for machine in THERE if machine.ip == "2001:db8:1::4")
    own = ICMPv6NDOptSrcLLAddr(lladdr=here.mac)

    def nd(message: Packet, source: str = here.ip, destination: str = "2001:db8:1::1", **fields: int) -> Packet:
        return Ether(dst=ROUTER, src=here.mac) / IPv6(src=source, dst=destination, **{"hlim": 255, **fields}) / message

    def ip(source: str, destination: str, mac: str = near.mac) -> Packet:
        return Ether(dst=mac, src=here.mac) / IPv6(src=source, dst=destination) / UDP(sport=1, dport=2)

    cases = [
        ("ND_SPOOFED", nd(ICMPv6ND_RA() / own, source=local_address(here.mac), destination=ALL_NODES)),
        ("ND_SPOOFED", nd(ICMPv6Unknown(type=137, msgbody=bytes(36)), source=local_address(here.mac))),
        ("ND_SPOOFED", nd(ICMPv6ND_NS(tgt=near.ip) / ICMPv6NDOptSrcLLAddr(lladdr=other.mac))),
        ("ND_SPOOFED", nd(ICMPv6ND_NS(tgt=near.ip) / own, source=other.ip)),
        ("ND_SPOOFED", nd(ICMPv6ND_NS(tgt=near.ip) / own, source=near.ip)),
        ("ND_SPOOFED", nd(ICMPv6ND_NS(tgt=near.ip) / own, source="2001:db8:1::1")),
        ("ND_SPOOFED", nd(ICMPv6ND_NS(tgt=near.ip) / own, source=ROUTER_LOCAL)),
        ("ND_SPOOFED", nd(ICMPv6ND_NA(tgt="2001:db8:1::1") / ICMPv6NDOptDstLLAddr(lladdr=here.mac))),
        ("ND_SPOOFED", nd(ICMPv6ND_NA(tgt=near.ip) / ICMPv6NDOptDstLLAddr(lladdr=here.mac))),
        ("ND_MALFORMED", nd(ICMPv6ND_NS(tgt=near.ip) / own, hlim=64)),
        ("ND_MALFORMED", nd(ICMPv6ND_NS(tgt=near.ip, cksum=0x1234) / own)),
        ("ND_MALFORMED", nd(ICMPv6ND_NS(tgt=near.ip, code=1) / own)),
        ("ND_MALFORMED", nd(ICMPv6ND_NS(tgt="ff02::5") / own)),
        ("ND_MALFORMED", nd(ICMPv6ND_NS(tgt=near.ip) / own, source="::", destination=solicited(near.ip)[0])),
        ("ND_MALFORMED", nd(ICMPv6ND_NS(tgt=near.ip), source="::", destination=ALL_NODES)),
        ("ND_MALFORMED", nd(ICMPv6ND_NA(tgt=here.ip), source="::", destination=ALL_NODES)),
        ("ND_MALFORMED", nd(IPv6ExtHdrDestOpt() / ICMPv6ND_RS())),
        ("ND_MALFORMED", nd(IPv6ExtHdrFragment(m=1) / ICMPv6ND_RS())),
        ("ND_MALFORMED", nd(ICMPv6ND_RS() / Raw(b"\x01\x00" + bytes(6)))),
        ("ND_MALFORMED", nd(ICMPv6ND_RS() / Raw(b"\x0e\x02" + bytes(6)))),
        ("ND_MALFORMED", nd(ICMPv6ND_RS() / Raw(b"\x0e\x0d" + bytes(102)))),
        ("IP_MALFORMED", ip("::", near.ip)),
        ("IP_MALFORMED", ip("ff02::1", near.ip)),
        ("IP_MALFORMED", ip("::ffff:10.0.1.2", near.ip)),
        ("NOT_UNICAST", ip(here.ip, "ff02::1", "33:33:00:00:00:01")),
        ("NOT_UNICAST", ip(here.ip, "::1")),
        ("NOT_UNICAST", ip(here.ip, "::ffff:10.0.1.4")),
        ("LINK_LOCAL", ip(here.ip, "fe80::1", ROUTER)),
        ("SOURCE_CA_MAC", ip(other.ip, near.ip)),
        ("SOURCE_CA_MAC", ip(near.ip, here.ip)),
        ("SOURCE_RECORD_MISSING", ip("2001:db8:1::77", near.ip)),
        ("GATEWAY_UNSERVED", ip(here.ip, "2001:db8:1::1", ROUTER)),
        ("CUSTOMER_ROUTE_MISSING", ip(here.ip, "2001:db8:ffff::1", ROUTER)),
    ]
    for reason, frame in cases:
        replayed = apus.replay([("contoso1", raw(frame))])
        replayed.check_left({}, reason)
        replayed.check_books({reason: 1}, f"{reason}: {raw(frame).hex()}")


# ---- golden frames -----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Golden:
    """A frame into one port and what has to leave through another, written and summed by hand."""

    what: str
    into: str
    sent: str
    through: str
    left: str


GOLDEN = [
    Golden(
        "switched: the same virtual subnet, another host",
        "contoso1", """
            600060000104 600060000102 0800
            4500 0020 1234 4000 40 11 1294 0a000102 0a000104
            03e8 07d0 000c 0735 61707573""",
        "uplink", """
            445566778899 324455667788 0800
            4500 004a 0000 4000 80 2f 78fd c0a80016 c0a80021
            2000 6558 001770 be
            600060000104 600060000102 0800
            4500 0020 1234 4000 40 11 1294 0a000102 0a000104
            03e8 07d0 000c 0735 61707573"""),
    Golden(
        "routed: another virtual subnet, TOS, a tag and padding of the machine's, a provider VLAN",
        "contoso1", """
            026170757301 600060000102 8100 6005 0800
            45b9 0020 5678 4000 40 11 cc95 0a000102 0a000205
            03e8 07d0 000c 0634 61707573 0000 0000""",
        "trunk", """
            4455667788aa 324455667799 8100 0064 0800
            45b9 004a 0000 4000 80 2f a174 ac100016 ac100021
            2000 6558 001771 f3
            600060000205 600060000102 0800
            45b9 0020 5678 4000 3f 11 cd95 0a000102 0a000205
            03e8 07d0 000c 0634 61707573"""),
    Golden(
        "ARP is answered for a machine on another host",
        "contoso1", """
            ffffffffffff 600060000102 0806
            0001 0800 06 04 0001 600060000102 0a000102 000000000000 0a000104
            0000 0000 0000 0000 0000 0000 0000 0000 0000""",
        "contoso1", """
            600060000102 600060000104 0806
            0001 0800 06 04 0002 600060000104 0a000104 600060000102 0a000102"""),
    Golden(
        "the gateway answers ping",
        "contoso1", """
            026170757301 600060000102 0800
            4500 0020 9abc 4000 40 01 8a1e 0a000102 0a000101
            08 00 2114 0007 0001 61707573""",
        "contoso1", """
            600060000102 026170757301 0800
            4500 0020 9abc 4000 80 01 4a1e 0a000101 0a000102
            00 00 2914 0007 0001 61707573"""),
    Golden(
        "ARP for our provider address is answered, in its VLAN",
        "trunk", """
            ffffffffffff 4455667788aa 8100 0064 0806
            0001 0800 06 04 0001 4455667788aa ac100021 000000000000 ac100016""",
        "trunk", """
            4455667788aa 324455667799 8100 0064 0806
            0001 0800 06 04 0002 324455667799 ac100016 4455667788aa ac100021"""),
    Golden(
        "decapsulated: ECT(0) that met congestion leaves as CE (RFC 6040)",
        "uplink", """
            324455667788 445566778899 0800
            4503 004a 0000 0000 40 2f f8fa c0a80021 c0a80016
            2000 6558 001770 2a
            600060000102 600060000104 0800
            4502 0020 1234 0000 40 11 5292 0a000104 0a000102
            07d0 03e8 000c 0735 61707573""",
        "contoso1", """
            600060000102 600060000104 0800
            4503 0020 1234 0000 40 11 5291 0a000104 0a000102
            07d0 03e8 000c 0735 61707573"""),
    Golden(
        "IPv6 in IPv6: the traffic class outside too, the FlowID as flow label",
        "contoso1", """
            600060000104 600060000102 86dd
            6b9 12345 000c 11 40 20010db8000100000000000000000002 20010db8000100000000000000000004
            03e8 07d0 000c c1c0 61707573""",
        "uplink", """
            445566778899 324455667788 86dd
            6b9 000b6 004a 2f 80 20010db8000a00000000000000000022 20010db8000a00000000000000000033
            2000 6558 001770 b6
            600060000104 600060000102 86dd
            6b9 12345 000c 11 40 20010db8000100000000000000000002 20010db8000100000000000000000004
            03e8 07d0 000c c1c0 61707573"""),
    Golden(
        "IPv6 in IPv4, routed: one hop less, nothing else changes; padding is cut off",
        "contoso1", """
            026170757301 600060000102 86dd
            6b9 12345 000c 11 40 20010db8000100000000000000000002 20010db8000200000000000000000005
            03e8 07d0 000c c1be 61707573 0000 0000""",
        "uplink", """
            445566778801 324455667788 0800
            45b9 005e 0000 4000 80 2f 2e6b c0a80016 0a63002c
            2000 6558 001771 85
            600060000205 600060000102 86dd
            6b9 12345 000c 11 3f 20010db8000100000000000000000002 20010db8000200000000000000000005
            03e8 07d0 000c c1be 61707573"""),
    Golden(
        "a neighbour solicitation is answered for a machine on another host",
        "contoso1", """
            3333ff000004 600060000102 86dd
            600 00000 0020 3a ff 20010db8000100000000000000000002 ff0200000000000000000001ff000004
            87 00 5d1e 00000000 20010db8000100000000000000000004 01 01 600060000102""",
        "contoso1", """
            600060000102 600060000104 86dd
            600 00000 0020 3a ff 20010db8000100000000000000000004 20010db8000100000000000000000002
            88 00 cb66 60000000 20010db8000100000000000000000004 02 01 600060000104"""),
    Golden(
        "a router solicitation is answered: MTU 1438, one prefix for addresses (L, A), one on link only (L)",
        "contoso1", """
            333300000002 600060000102 86dd
            600 00000 0010 3a ff fe80000000000000620060fffe000102 ff020000000000000000000000000002
            85 00 f928 00000000 01 01 600060000102""",
        "contoso1", """
            600060000102 026170757301 86dd
            600 00000 0060 3a ff fe80000000000000006170fffe757301 fe80000000000000620060fffe000102
            86 00 9023 40 00 2328 00000000 00000000 01 01 026170757301 05 01 0000 0000059e
            03 04 40 c0 ffffffff ffffffff 00000000 20010db8000100000000000000000000
            03 04 50 80 ffffffff ffffffff 00000000 20010db8000900000000000000000000"""),
]


def hexadecimal(text: str) -> bytes:
    """Digits with spaces wherever they help."""
    return bytes.fromhex("".join(text.split()))


def golden(apus: Apus) -> None:
    for one in GOLDEN:
        replayed = apus.replay([(one.into, hexadecimal(one.sent))])
        replayed.check_left({one.through: {0: hexadecimal(one.left)}}, f"golden: {one.what}")
        replayed.check_books({}, f"golden: {one.what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("apusctl")
    parser.add_argument("--seed", type=int, default=7637)
    parser.add_argument("--count", type=int, default=500, help="random frames in each direction")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="apus-wire-") as directory:
        apus = Apus(str(Path(arguments.apusctl).resolve()), Path(directory))
        try:
            golden(apus)
            refusals(apus)
            discovery(apus)
            routers(apus)
            icmpv6_errors(apus)
            random_egress(apus, random.Random(arguments.seed), arguments.count)
            random_ingress(apus, random.Random(arguments.seed + 1), arguments.count)
        except Broken as error:
            check(False, str(error))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
