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
    """docs/pipeline.md 2.4: the protocol behind an IPv6 packet's extension headers, what is readable of it, a fragment?"""
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
            lambda: IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=choose.randbytes(choose.choice([4, 12])))]),
            lambda: IPv6ExtHdrRouting(type=choose.randrange(256), segleft=0, addresses=["2001:db8::9"]),
            lambda: IPv6ExtHdrDestOpt(),
        ])()
    if choose.random() < 0.25:
        offset = choose.choice([0, 0, choose.randint(1, 8191)])
        header /= IPv6ExtHdrFragment(offset=offset, m=choose.randrange(2), id=choose.getrandbits(32))
    port = {"sport": choose.randrange(65536), "dport": choose.randrange(65536)}
    header /= choose.choice([
        lambda: UDP(**port), lambda: TCP(**port, flags=choose.randrange(256)), lambda: ICMPv6EchoRequest(id=7),
        lambda: ICMPv6EchoReply(seq=9), lambda: ICMPv6Unknown(type=choose.choice([1, 2, 3, 4, 100, 132, 138, 160, 255])),
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
        outer_ip = outer_header(source.at, target.at, choose.randrange(256), choose.getrandbits(20), choose.randrange(256))
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
        ("OUTER_PROTOCOL", ethernet / outer / UDP(sport=4789, dport=4789) / raw(inner / customer)),
        ("OUTER_IP_CHECKSUM", nvgre(key, chksum=0xDEAD)),
        ("OUTER_NOT_OURS", nvgre(key, dst="192.168.0.23")),
        ("SOURCE_PA_UNKNOWN", nvgre(key, src="192.168.0.34")),
        ("VSID_RESERVED", nvgre({**key, "key": 0xFFFFFF00})),
        ("VSID_RESERVED", nvgre({**key, "key": 0x000FFF00})),
        ("VSID_UNKNOWN", nvgre({**key, "key": 0x00100000})),
        ("INNER_VLAN", nvgre(key, inner / Dot1Q(vlan=5) / customer)),
        ("INNER_ETHERTYPE", nvgre(key, inner / ARP())),
        ("INNER_SOURCE_CA_PA", nvgre(key, src="172.16.0.33")),
        ("INNER_SOURCE_CA_MAC", nvgre(key, Ether(dst=target.mac, src=THERE[1].mac) / customer)),
        ("INNER_DESTINATION_CA_MAC", nvgre(key, Ether(dst=HERE[1].mac, src=source.mac) / customer)),
    ]
    for reason, frame in cases:
        replayed = apus.replay([("uplink", raw(frame))])
        replayed.check_left({}, reason)
        replayed.check_books({reason: 1}, reason)


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
]


def golden(apus: Apus) -> None:
    for one in GOLDEN:
        replayed = apus.replay([(one.into, bytes.fromhex(one.sent))])
        replayed.check_left({one.through: {0: bytes.fromhex(one.left)}}, f"golden: {one.what}")
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
            random_egress(apus, random.Random(arguments.seed), arguments.count)
            random_ingress(apus, random.Random(arguments.seed + 1), arguments.count)
        except Broken as error:
            check(False, str(error))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
