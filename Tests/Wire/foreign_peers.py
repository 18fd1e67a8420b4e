#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""VXLAN, the first draft's key, other peers and rewritten packets, read and made by scapy and tshark.

    Tests/Wire/foreign_peers.py path/to/two_hosts [--seed N] [--count N]

Whole frames are compared with those that scapy builds; a rewritten packet is what scapy makes of the other addresses,
and what a second host makes of that is, bit for bit, what was sent.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt
    from scapy.layers.l2 import GRE, Ether
    from scapy.layers.vxlan import VXLAN
    from scapy.packet import Packet, Raw
    from scapy.utils import wrpcap
except ImportError as error:
    print(f"FAILED: scapy cannot be imported by {sys.executable}: {error}. packaging/dependencies.sh installs what is missing.")
    print("0 passed, 1 failed")
    sys.exit(1)

VM, VM_MAC, UPLINK_MAC = 2, "60:00:60:00:01:01", "32:44:55:66:77:88"
VXLAN_PEER, DRAFT_PEER, ZERO_PEER, PIPE_PEER, COPY_PEER = range(0x40, 0x45)
HERE, THERE = 0x60, 0x61
SUBNET = 6000

passed = failed = 0


def equal(got: object, expected: object, what: str) -> None:
    global passed, failed
    if got == expected:
        passed += 1
        return
    failed += 1
    if isinstance(got, bytes) and isinstance(expected, bytes):
        got, expected = got.hex(), expected.hex()
    if failed <= 20:
        print(f"FAILED: {what}\n  expected {expected}\n  got      {got}")


def ca(number: int, v6: bool) -> str:
    return f"2001:db8:1::{number:x}" if v6 else f"10.0.1.{number}"


def pa(number: int, v6: bool) -> str:
    return f"2001:db8:f::{number:x}" if v6 else f"192.168.0.{number}"


def machine(number: int) -> str:
    return f"60:00:60:00:01:{number:02x}"


def host_mac(number: int) -> str:
    return f"44:55:66:77:00:{number:02x}"


def nat_mac(number: int) -> str:
    return f"32:44:55:66:00:{number:02x}"


def raw(packet: Packet) -> bytes:
    return bytes(packet)


class Hosts:
    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sent: list[bytes] = []

    def send(self, host: str, port: str, frame: bytes) -> list[tuple[str, bytes]]:
        self.process.stdin.write(f"{host} {port} {frame.hex()}\n")
        self.process.stdin.flush()
        out = []
        while (line := self.process.stdout.readline().strip()) != ".":
            if not line:
                raise RuntimeError("two_hosts ended")
            place, what = line.split()
            if place == "drop":
                out.append((place, what.encode()))
            else:
                out.append((place, bytes.fromhex(what)))
                self.sent.append(out[-1][1])
        return out

    def one(self, host: str, port: str, frame: bytes, through: str, what: str) -> bytes:
        out = self.send(host, port, frame)
        equal([place for place, _ in out], [through], f"{what}: where it left ({out})")
        return out[0][1] if out else b""


def ip(v6: bool, source: str, destination: str, **fields: object) -> Packet:
    if v6:
        return IPv6(src=source, dst=destination, tc=fields.get("tos", 0), hlim=fields.get("ttl", 64))
    return IP(src=source, dst=destination, tos=fields.get("tos", 0), ttl=fields.get("ttl", 64), id=fields.get("id", 1),
              flags=fields.get("flags", "DF"))


def some_transport(choose: random.Random, v6: bool) -> Packet:
    port = {"sport": choose.randrange(65536), "dport": choose.choice([53, 80, 7])}
    kind = choose.randrange(4)
    if kind == 0:
        above = TCP(**port, seq=choose.getrandbits(32), flags=choose.randrange(256))
    elif kind == 1:
        above = ICMPv6EchoRequest(id=choose.randrange(65536)) if v6 else ICMP(id=choose.randrange(65536))
    else:
        above = UDP(**port)
    return above / Raw(choose.randbytes(choose.choice([4, 20, 21, choose.randrange(4, 1200)])))


# ---- tunnels -----------------------------------------------------------------------------------------------------


def tunnels(hosts: Hosts, choose: random.Random, count: int) -> None:
    for number in range(count):
        v6 = inner_v6 = choose.random() < 0.5  # a machine's two records are at provider addresses of their own families
        peer = choose.choice([VXLAN_PEER, DRAFT_PEER, ZERO_PEER, PIPE_PEER, COPY_PEER])
        tos = choose.randrange(256)
        identification, flags = choose.randrange(65536), choose.choice(["DF", ""])
        customer = Ether(dst=machine(peer), src=VM_MAC) / ip(inner_v6, ca(VM, inner_v6), ca(peer, inner_v6), tos=tos, id=identification,
                                                             flags=flags) / some_transport(choose, inner_v6)
        frame = raw(customer)
        left = hosts.one("a", "vm", frame, "uplink", f"tunnel {number}")
        if not left:
            continue
        outer = Ether(left)
        outer_tos = 46 << 2 if peer == PIPE_PEER else tos
        ttl = 7 if peer == PIPE_PEER else 128
        if v6:
            flow = outer[IPv6].fl
            network = IPv6(src=pa(0x22, True), dst=pa(peer, True), tc=outer_tos, fl=flow, hlim=ttl)
        else:
            copied = peer == COPY_PEER and flags == ""
            network = IP(src="192.168.0.22", dst=pa(peer, False), tos=outer_tos, id=identification if copied else 0,
                         flags="" if copied else "DF", ttl=ttl)
        if peer == VXLAN_PEER:
            port = outer[UDP].sport
            equal(port >= 0xC000, True, "source ports of VXLAN (RFC 7348 section 5)")
            if v6:
                equal(port, 0xC000 | flow << 6 | flow >> 2, "the source port has the FlowID")
            tunnel = UDP(sport=port, dport=4789, chksum=0) / VXLAN(flags=0x08, vni=SUBNET)
            equal((outer[VXLAN].vni, outer[VXLAN].flags), (SUBNET, 8), f"VXLAN {number} as scapy reads it")
        else:
            key = SUBNET if peer == DRAFT_PEER else SUBNET << 8
            if peer in (PIPE_PEER, COPY_PEER):
                key |= outer[GRE].key & 0xFF
                if v6:
                    equal(key & 0xFF, flow, "flow label and FlowID")
            network.nh, network.proto = 47, 47
            tunnel = GRE(key_present=1, proto=0x6558, key=key)
        expected = raw(Ether(dst=host_mac(peer), src=UPLINK_MAC) / network / tunnel / Raw(frame))
        equal(left, expected, f"tunnel {number} to {pa(peer, v6)}")

        # And back: machine, MAC and provider addresses change places.
        back = Ether(dst=VM_MAC, src=machine(peer)) / ip(inner_v6, ca(peer, inner_v6), ca(VM, inner_v6)) / some_transport(choose, inner_v6)
        network.src, network.dst = network.dst, network.src
        if not v6:
            network.tos = 0
        else:
            network.tc = 0
        if choose.random() < 0.4:
            wrapped = UDP(sport=choose.randrange(65536), dport=4789) / VXLAN(flags=0x08, vni=SUBNET)
            if choose.random() < 0.5:
                wrapped[UDP].chksum = 0
            network.nh, network.proto = 17, 17
        else:
            wrapped = GRE(key_present=1, proto=0x6558, key=SUBNET if peer == DRAFT_PEER else SUBNET << 8 | choose.randrange(256))
            network.nh, network.proto = 47, 47
        came = raw(Ether(dst=UPLINK_MAC, src=host_mac(peer)) / network / wrapped / Raw(raw(back)))
        if VXLAN in wrapped:  # the other flags and the reserved bytes are ignored: scapy gives them meanings of its own
            at = 14 + (40 if v6 else 20) + 8
            reserved = choose.randbytes(4)
            came = came[:at] + bytes([reserved[0] | 0x08]) + reserved[1:] + came[at + 4:at + 7] + choose.randbytes(1) + came[at + 8:]
        equal(hosts.one("a", "uplink", came, "vm", f"from {pa(peer, v6)}: {wrapped.summary()}"), raw(back), f"what came in frame {number}")


#: PROTOCOL.md 1.2: VSID, the RFC's key with FlowID 0, the first draft's key.
KEYS = [(0x123456, "12345600", "00123456"), (445566, "06cc7e00", "0006cc7e"), (7788990, "76d9be00", "0076d9be"),
        (4096, "00100000", "00001000"), (16777214, "fffffe00", "00fffffe")]


def keys(hosts: Hosts) -> None:
    for vsid, rfc, draft in KEYS:
        for peer, key in ((ZERO_PEER, rfc), (DRAFT_PEER, draft)):
            customer = raw(Ether(dst=machine(peer), src=VM_MAC) / ip(False, ca(VM, False), ca(peer, False)) / UDP() / b"apus")
            left = hosts.one("a", f"vm{vsid}", customer, "uplink", f"VSID {vsid}")
            equal(left[34:42].hex(), "20006558" + key, f"GRE header of VSID {vsid} to {pa(peer, False)}")
            back = raw(Ether(dst=VM_MAC, src=machine(peer)) / ip(False, ca(peer, False), ca(VM, False)) / UDP() / b"apus")
            network = raw(Ether(dst=UPLINK_MAC, src=host_mac(peer)) / IP(src=pa(peer, False), dst="192.168.0.22", proto=47, len=28 + len(back)))
            came = network + bytes.fromhex("20006558" + key) + back
            equal(hosts.one("a", "uplink", came, f"vm{vsid}", f"VSID {vsid} comes"), back, f"VSID {vsid} came")
            # In the layout of the other one, and a draft's key whose reserved byte is not 0.
            wrong = [draft if key == rfc else rfc] + (["01" + draft[2:]] if key == draft else [])
            for other in wrong:
                out = hosts.send("a", "uplink", network + bytes.fromhex("20006558" + other) + back)
                equal(out, [("drop", b"KEY_LAYOUT")], f"VSID {vsid} in key {other} from {pa(peer, False)}")


# ---- rewritten packets -------------------------------------------------------------------------------------------


def rewritten(hosts: Hosts, choose: random.Random, count: int) -> None:
    for number in range(count):
        v6 = choose.random() < 0.5
        fields = {"tos": choose.randrange(256), "ttl": choose.randrange(1, 256), "id": choose.randrange(65536)}
        transport = some_transport(choose, v6)
        if UDP in transport and choose.random() < 0.2:
            transport[UDP].chksum = 0  # none: stays none, RFC 6935
        options = [IPv6ExtHdrDestOpt()] if v6 and choose.random() < 0.3 else []

        def packet(source: str, destination: str) -> Packet:
            out = ip(v6, source, destination, **fields)
            for option in options:
                out /= option
            return out / transport.copy()

        inside = raw(packet(ca(HERE, v6), ca(THERE, v6)))
        outside = raw(packet(pa(HERE, v6), pa(THERE, v6)))
        frame = raw(Ether(dst=machine(THERE), src=machine(HERE), type=0x86DD if v6 else 0x0800)) + inside
        left = hosts.one("a", "nat", frame + choose.randbytes(choose.choice([0, 6])), "uplink", f"rewritten {number}")
        link = raw(Ether(dst=nat_mac(THERE), src=nat_mac(HERE), type=0x86DD if v6 else 0x0800))
        equal(left, link + outside, f"rewritten {number}: scapy's packet with the other addresses, checksums and all")

        # What the other host makes of it is what was sent: rewriting and its inverse are the identity.
        arrived = hosts.one("b", "uplink", left, "nat", f"rewritten {number} arrives")
        equal(arrived, frame, f"rewritten {number} and back")

        # Its receiver complains: the sender reads about the packet that it sent.
        quote = inside[:choose.choice([28, 40, 68, len(inside)]) + (20 if v6 else 0)]
        if v6:
            quote = inside[:max(len(quote), 60)]
            error = raw(ip(True, ca(THERE, True), ca(HERE, True)) / ICMPv6DestUnreach(code=4) / Raw(quote))
        else:
            error = raw(ip(False, ca(THERE, False), ca(HERE, False)) / ICMP(type=choose.choice([3, 11, 12]), code=1) / Raw(quote))
        error = raw(Ether(dst=machine(HERE), src=machine(THERE), type=0x86DD if v6 else 0x0800)) + error
        left = hosts.one("b", "nat", error, "uplink", f"error {number}")
        about = Ether(left)
        # On the wire it is about the packet that was on the wire.
        header = 14 + (40 if v6 else 20) + 8
        seen = min(len(quote), 160 - header)
        whole = 58 + (8 * len(options)) + 18 if v6 else 40
        if seen >= whole and len(quote) >= whole:
            equal(left[header:], outside[:len(quote)], f"what error {number} quotes on the wire: {about.summary()}")
        equal(hosts.one("a", "uplink", left, "nat", f"error {number} arrives"), error, f"error {number} and back")


def seen_by_tshark(hosts: Hosts, directory: Path) -> None:
    """Every checksum of everything that left, except in quotes and where there is none."""
    capture = directory / "sent.pcap"
    wrpcap(str(capture), [Ether(frame) for frame in hosts.sent])
    options = [f"{protocol}.check_checksum:TRUE" for protocol in ("ip", "tcp", "udp")]
    fields = ["ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status",
              "vxlan.vni", "icmp.type", "icmpv6.type"]
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"]
    for option in options:
        command += ["-o", option]
    for field in fields:
        command += ["-e", field]
    rows = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    equal(len(rows), len(hosts.sent), "tshark reads every frame")
    vnis = 0
    for number, row in enumerate(rows):
        values = dict(zip(fields, row.split("|"), strict=True))
        vnis += values["vxlan.vni"] == str(SUBNET)
        # A quoted packet is cut off: nobody can sum it up.
        is_error = values["icmp.type"] in ("3", "11", "12") or values["icmpv6.type"] == "1"
        bad = {field: value for field, value in values.items() if field.endswith("status") and "0" in value.split(",")
               and not (is_error and field[:3] in ("tcp", "udp"))}
        equal(bad, {}, f"tshark: a wrong checksum in {hosts.sent[number].hex()}")
    equal(vnis > 0, True, "tshark sees VXLAN")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("two_hosts")
    parser.add_argument("--seed", type=int, default=7348)
    parser.add_argument("--count", type=int, default=600, help="random frames of each kind")
    arguments = parser.parse_args()
    hosts = Hosts(arguments.two_hosts)
    keys(hosts)
    tunnels(hosts, random.Random(arguments.seed), arguments.count)
    rewritten(hosts, random.Random(arguments.seed + 1), arguments.count)
    with tempfile.TemporaryDirectory(prefix="apus-peers-") as directory:
        seen_by_tshark(hosts, Path(directory))
    hosts.process.stdin.close()
    equal(hosts.process.wait(timeout=60), 0, "two_hosts ends well")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
