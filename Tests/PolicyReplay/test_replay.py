#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""apusctl from outside: captures in, captures and counters out.

    Tests/PolicyReplay/test_replay.py path/to/apusctl

Needs nothing but Python. Captures are written and read here, byte by byte, so that neither libpcap nor the core is
tested against itself.
"""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from ipaddress import IPv6Address

APUSCTL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "apusctl"

POLICY = """\
apus: 1
settings: {flow_id_zero: true}
ports:
  - {name: uplink, kind: provider}
  - {name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01}
  - {name: contoso2, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:02}
provider_addresses:
  - {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: 32:44:55:66:77:88}
provider_neighbours:
  - {address: 192.168.0.33, mac: 44:55:66:77:88:99}
customer_routes:
  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000, destination_prefix: 10.0.1.0/24}
lookup_records:
  - {customer_address: 10.0.1.101, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01, provider_address: 192.168.0.22}
  - {customer_address: 10.0.1.102, virtual_subnet_id: 6000, mac: 60:00:60:00:01:02, provider_address: 192.168.0.22}
  - {customer_address: 10.0.1.103, virtual_subnet_id: 6000, mac: 60:00:60:00:02:03, provider_address: 192.168.0.33}
  - {customer_address: 10.0.1.104, virtual_subnet_id: 6000, mac: 60:00:60:00:02:04, provider_address: 192.168.0.44}
"""

POLICY6 = """\
apus: 1
settings: {flow_id_zero: true}
ports:
  - {name: uplink, kind: provider}
  - {name: contoso1, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01}
  - {name: contoso2, kind: vm, virtual_subnet_id: 6000, mac: 60:00:60:00:01:02}
provider_addresses:
  - {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: 32:44:55:66:77:88}
  - {provider_address: 2001:db8:a::22, prefix_length: 64, port: uplink, mac: 32:44:55:66:77:88}
provider_neighbours:
  - {address: 192.168.0.33, mac: 44:55:66:77:88:99}
  - {address: 2001:db8:a::33, mac: 44:55:66:77:88:99}
customer_routes:
  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000, destination_prefix: 10.0.1.0/24}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000,
     destination_prefix: 2001:db8:1::/64, advertise: true, autoconfigure: true}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6001, destination_prefix: 2001:db8:2::/64}
lookup_records:
  - {customer_address: 10.0.1.101, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01, provider_address: 192.168.0.22}
  - {customer_address: 10.0.1.103, virtual_subnet_id: 6000, mac: 60:00:60:00:02:03, provider_address: 192.168.0.33}
  - {customer_address: 2001:db8:1::101, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01, provider_address: 192.168.0.22}
  - {customer_address: 2001:db8:1::102, virtual_subnet_id: 6000, mac: 60:00:60:00:01:02, provider_address: 192.168.0.22}
  - {customer_address: 2001:db8:1::103, virtual_subnet_id: 6000, mac: 60:00:60:00:02:03, provider_address: 2001:db8:a::33}
  - {customer_address: 2001:db8:2::104, virtual_subnet_id: 6001, mac: 60:00:60:00:02:04, provider_address: 192.168.0.33}
"""

#: A gateway: two tenants with the same addresses, each with a VLAN of one trunk to networks outside with the same addresses.
GATEWAY_POLICY = """\
apus: 1
settings: {flow_id_zero: true}
ports:
  - {name: uplink, kind: provider}
  - {name: contoso-out, kind: external, parent: trunk, vlan: 101, routing_domain_id: 12345678-1000-2000-3000-123456780001,
     virtual_subnet_id: 6009, mac: 60:00:60:00:0f:01, ipv4: {address: 10.9.0.2/24, next_hop: 10.9.0.1}}
  - {name: woodgrove-out, kind: external, parent: trunk, vlan: 102, routing_domain_id: 12345678-1000-2000-3000-123456780002,
     virtual_subnet_id: 7009, mac: 60:00:60:00:0f:01, ipv4: {address: 10.9.0.2/24, next_hop: 10.9.0.1},
     ipv6: {address: 2001:db8:9::2/64}}
  - {name: trunk, kind: provider}
provider_addresses:
  - {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: 32:44:55:66:77:88}
provider_neighbours:
  - {address: 192.168.0.33, mac: 44:55:66:77:88:99}
customer_routes:
  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000, destination_prefix: 10.0.1.0/24}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6009, destination_prefix: 0.0.0.0/0}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780002, virtual_subnet_id: 7000, destination_prefix: 10.0.1.0/24}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780002, virtual_subnet_id: 7009, destination_prefix: 0.0.0.0/0}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780002, virtual_subnet_id: 7000, destination_prefix: 2001:db8:1::/64}
  - {routing_domain_id: 12345678-1000-2000-3000-123456780002, virtual_subnet_id: 7009, destination_prefix: "::/0"}
lookup_records:
  - {virtual_subnet_id: 6009, mac: 60:00:60:00:0f:01, provider_address: 192.168.0.22, type: GatewayWildcard}
  - {virtual_subnet_id: 7009, mac: 60:00:60:00:0f:01, provider_address: 192.168.0.22, type: GatewayWildcard}
  - {customer_address: "::", virtual_subnet_id: 7009, mac: 60:00:60:00:0f:01, provider_address: 192.168.0.22, type: GatewayWildcard}
  - {customer_address: 10.0.1.103, virtual_subnet_id: 6000, mac: 60:00:60:00:02:03, provider_address: 192.168.0.33}
  - {customer_address: 10.0.1.103, virtual_subnet_id: 7000, mac: 60:00:60:00:02:03, provider_address: 192.168.0.33}
  - {customer_address: 2001:db8:1::103, virtual_subnet_id: 7000, mac: 60:00:60:00:02:03, provider_address: 192.168.0.33}
"""

M1, M2, M3, M4 = (bytes.fromhex(m) for m in ("600060000101", "600060000102", "600060000203", "600060000204"))
HOST, PEER = bytes.fromhex("324455667788"), bytes.fromhex("445566778899")
GATEWAY = bytes.fromhex("026170757301")
T0 = 1_700_000_000_000_000_000


def address(text):
    return bytes(map(int, text.split(".")))


def ipv4(source, destination, protocol, payload, ttl=64, identification=0, flags=0):
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), identification, flags, ttl, protocol, 0,
                         address(source), address(destination))
    total = sum(struct.unpack(">10H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack(">H", total ^ 0xFFFF) + header[12:] + payload


def ipv6(source, destination, protocol, payload, hop_limit=64):
    return (struct.pack(">IHBB", 6 << 28, len(payload), protocol, hop_limit) + IPv6Address(source).packed
            + IPv6Address(destination).packed + payload)


def icmpv6(source, destination, message):
    """A message, whose checksum is zero, with its checksum."""
    pseudo = IPv6Address(source).packed + IPv6Address(destination).packed + struct.pack(">II", len(message), 58)
    total = sum(struct.unpack(f">{len(pseudo + message) // 2}H", pseudo + message))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack(">H", total ^ 0xFFFF) + message[4:]


def frame(destination, source, packet, ethertype=0x0800):
    return destination + source + struct.pack(">H", ethertype) + packet


def customer(source_mac, destination_mac, source, destination, payload=b"payload"):
    datagram = struct.pack(">HHHH", 1, 2, 8 + len(payload), 0) + payload
    return frame(destination_mac, source_mac, ipv4(source, destination, 17, datagram))


def nvgre(inner):
    """The outer frame that host 1 puts around a frame of virtual subnet 6000 for host 2."""
    gre = struct.pack(">HHI", 0x2000, 0x6558, 6000 << 8)
    return frame(PEER, HOST, ipv4("192.168.0.22", "192.168.0.33", 47, gre + inner, ttl=128, flags=0x4000))


def pcap(frames, order="<", nanoseconds=False, link_type=1):
    """A pcap file of (time, frame) or (time, frame, length on the wire)."""
    unit = 1 if nanoseconds else 1000
    data = struct.pack(order + "IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link_type)
    for time, bytes_, *length in frames:
        data += struct.pack(order + "IIII", time // 10**9, time % 10**9 // unit, len(bytes_),
                            length[0] if length else len(bytes_)) + bytes_
    return data


def pcapng(frames, order="<"):
    """A pcapng file with nanoseconds."""
    def block(kind, body):
        body += bytes(-len(body) % 4)
        return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)
    data = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack(order + "HHIHHBxxxHH", 1, 0, 262144, 9, 1, 9, 0, 0))
    for time, bytes_ in frames:
        head = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(bytes_), len(bytes_))
        data += block(6, head + bytes_)
    return data


def read(path):
    """The (time, frame) pairs of a nanosecond pcap file."""
    with open(path, "rb") as file:
        data = file.read()
    magic, _, _, _, _, _, link_type = struct.unpack_from("<IHHiIII", data)
    assert magic == 0xA1B23C4D and link_type == 1, path
    frames, offset = [], 24
    while offset < len(data):
        seconds, rest, captured, length = struct.unpack_from("<IIII", data, offset)
        assert captured == length
        frames.append((seconds * 10**9 + rest, data[offset + 16:offset + 16 + captured]))
        offset += 16 + captured
    return frames


class ReplayTests(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.write("policy.yaml", POLICY.encode())

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as file:
            file.write(data)

    def apusctl(self, *arguments):
        return subprocess.run(
            [APUSCTL, *arguments], cwd=self.directory.name, capture_output=True, text=True, timeout=60)

    def replay(self, *inputs, policy="policy.yaml", out="out", status=0):
        arguments = [argument for item in inputs for argument in ("--in", item)]
        result = self.apusctl("replay", "--policy", policy, "--out-dir", out, *arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        return result

    def events(self):
        """What happened, and how often. Every kind is in the file, also if it did not happen."""
        events = self.counters()["events"]
        self.assertIn("NVE_UNREACHABLE", events)
        return {kind: count for kind, count in events.items() if count}

    def counters(self, out="out"):
        with open(self.path(f"{out}/counters.json")) as file:
            return json.load(file)

    def refused(self, message, *inputs, status=1, **options):
        self.assertEqual(self.replay(*inputs, status=status, **options).stderr.splitlines()[0], message)
        self.assertFalse(os.path.exists(self.path("out")), "something was written")

    # What comes out

    def test_a_frame_is_encapsulated(self):
        inner = customer(M1, M3, "10.0.1.101", "10.0.1.103")
        self.write("a.pcap", pcap([(T0 + 123_456_000, inner)]))
        result = self.replay("contoso1=a.pcap")
        self.assertEqual(read(self.path("out/uplink.pcap")), [(T0 + 123_456_000, nvgre(inner))])
        self.assertEqual(read(self.path("out/contoso1.pcap")), [])
        self.assertEqual(read(self.path("out/contoso2.pcap")), [])
        counters = self.counters()
        self.assertEqual(counters["ports"]["contoso1"]["received"], 1)
        self.assertEqual(counters["ports"]["uplink"]["transmitted"], 1)
        self.assertEqual(counters["ports"]["uplink"]["transmitted_bytes"], len(inner) + 42)
        self.assertEqual(counters["totals"]["encapsulated"], 1)
        self.assertEqual(counters["drops"], {})
        self.assertIs(counters["balanced"], True)
        self.assertRegex(result.stdout, r"(?m)^contoso1 +vm +1 +0 +0$")
        self.assertEqual(result.stderr, "")

    def test_every_form_of_capture(self):
        frames = [(T0 + 1000 * n, customer(M1, M2, "10.0.1.101", "10.0.1.102", bytes([n]))) for n in range(9)]
        forms = {f"{order}{nano}": pcap(frames, order, nano) for order in "<>" for nano in (False, True)}
        forms.update({f"{order}ng": pcapng(frames, order) for order in "<>"})
        for name, data in forms.items():
            with self.subTest(name):
                self.write("a.pcap", data)
                self.replay("contoso1=a.pcap")
                self.assertEqual(read(self.path("out/contoso2.pcap")), frames)

    def test_nanoseconds_stay(self):
        frames = [(T0 + 1, customer(M1, M2, "10.0.1.101", "10.0.1.102"))]
        for data in (pcap(frames, nanoseconds=True), pcapng(frames)):
            self.write("a.pcap", data)
            self.replay("contoso1=a.pcap")
            self.assertEqual(read(self.path("out/contoso2.pcap")), frames)

    def test_inputs_are_merged_by_time_and_ties_keep_the_order_of_arguments(self):
        def to_peer(mac, ca, number):
            return customer(mac, M3, ca, "10.0.1.103", bytes([number]))
        one = [(T0 + t, to_peer(M1, "10.0.1.101", n)) for t, n in ((0, 0), (2000, 2), (5000, 5))]
        two = [(T0 + t, to_peer(M2, "10.0.1.102", n)) for t, n in ((1000, 1), (2000, 3), (4000, 4))]
        self.write("a.pcap", pcap(one))
        self.write("b.pcap", pcap(two))
        self.replay("contoso1=a.pcap", "contoso2=b.pcap")
        self.assertEqual([f[-1] for _, f in read(self.path("out/uplink.pcap"))], [0, 1, 2, 3, 4, 5])
        self.replay("contoso2=b.pcap", "contoso1=a.pcap", out="other")
        self.assertEqual([f[-1] for _, f in read(self.path("other/uplink.pcap"))], [0, 1, 3, 2, 4, 5])

    def test_time_passes_between_frames_and_after_the_last(self):
        """Nobody answers for 192.168.0.44: three requests, a second apart, then the packet is given up."""
        lost = customer(M1, M4, "10.0.1.101", "10.0.1.104")
        after_an_hour = 3600 * 10**9
        self.write("a.pcap", pcap([(T0, lost), (T0 + after_an_hour, lost)]))
        self.replay("contoso1=a.pcap")
        requests = read(self.path("out/uplink.pcap"))
        self.assertEqual([t - T0 for t, _ in requests],
                         [s * 10**9 for s in (0, 1, 2)] + [after_an_hour + s * 10**9 for s in (0, 1, 2)])
        self.assertTrue(all(f[12:14] == b"\x08\x06" for _, f in requests))
        counters = self.counters()
        self.assertEqual(counters["drops"], {"NEIGHBOR_FAILED": 2})
        self.assertEqual(counters["totals"]["held"], 0)
        self.assertIs(counters["balanced"], True)

    def test_an_answer_lets_waiting_packets_out(self):
        packet = customer(M1, M4, "10.0.1.101", "10.0.1.104")
        mac = bytes.fromhex("020000000044")
        reply = frame(HOST, mac, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + mac + address("192.168.0.44") + HOST
                      + address("192.168.0.22"), 0x0806)
        self.write("a.pcap", pcap([(T0, packet)]))
        self.write("b.pcap", pcap([(T0 + 400_000_000, reply)]))
        self.replay("contoso1=a.pcap", "uplink=b.pcap")
        frames = read(self.path("out/uplink.pcap"))
        self.assertEqual([t - T0 for t, _ in frames], [0, 400_000_000])
        self.assertEqual(frames[1][1][-len(packet):], packet)

    def test_the_same_input_gives_the_same_output(self):
        frames = [(T0 + 10**8 * n, customer(M1, (M2, M3, M4)[n % 3], "10.0.1.101", f"10.0.1.{102 + n % 3}", bytes([n])))
                  for n in range(60)]
        self.write("a.pcap", pcap(frames))
        for out in ("one", "two"):
            self.replay("contoso1=a.pcap", out=out)
        for name in sorted(os.listdir(self.path("one"))):
            with open(self.path(f"one/{name}"), "rb") as one, open(self.path(f"two/{name}"), "rb") as two:
                self.assertEqual(one.read(), two.read(), name)

    def test_every_length_of_frame(self):
        whole = customer(M1, M3, "10.0.1.101", "10.0.1.103", bytes(300))
        frames = [(T0 + n, whole[:n]) for n in range(len(whole) + 1)]
        frames += [(T0 + 10**6, bytes(65535)), (T0 + 10**6, bytes(65536))]
        self.write("a.pcap", pcap(frames, nanoseconds=True))
        self.replay("contoso1=a.pcap")
        counters = self.counters()
        self.assertEqual(counters["totals"]["received"], len(frames))
        self.assertEqual(counters["totals"]["transmitted"], 1)
        self.assertIs(counters["balanced"], True)

    def test_json_on_standard_output(self):
        self.write("a.pcap", pcap([]))
        result = self.apusctl(
            "replay", "--policy", "policy.yaml", "--in", "uplink=a.pcap", "--out-dir", "out", "--json", "-")
        counters = json.loads(result.stdout)
        self.assertEqual(list(counters), ["ports", "carried", "drops", "events", "totals", "balanced"])
        self.assertEqual(list(counters["ports"]), ["uplink", "contoso1", "contoso2"])
        self.assertIn("port", result.stderr)
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["contoso1.pcap", "contoso2.pcap", "uplink.pcap"])

    def test_every_counter_is_there(self):
        """The counters of struct apus_stats, in its order: in the document, and but for the bytes and the drops in the table."""
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/apus/stats.h")) as file:
            fields = re.search(r"struct apus_stats \{(.*?)\n\};", file.read(), re.S).group(1)
        names = re.findall(r"uint64_t (\w+);", fields)
        self.assertGreater(len(names), 30)
        self.write("a.pcap", pcap([]))
        result = self.replay("contoso1=a.pcap")
        self.assertEqual(list(self.counters()["totals"]), names)
        for name in names:
            self.assertIn(name.replace("_", " ") + " 0", result.stdout)

    # Peers, machines without addresses, broadcast

    def variant(self, *changes):
        policy = POLICY
        for old, new in changes:
            self.assertIn(old, policy)
            policy = policy.replace(old, new)
        self.write("variant.yaml", policy.encode())
        return "variant.yaml"

    def test_a_vxlan_peer(self):
        peer = ("provider_peers:\n  - {provider_address: 192.168.0.33, encapsulation: vxlan, dscp_mode: pipe, dscp: 46, ttl: 9, "
                "df_mode: copy}\n")
        policy = self.variant(("customer_routes:", peer + "customer_routes:"), ("flow_id_zero: true", "vxlan_port: 8472"))
        inner = customer(M1, M3, "10.0.1.101", "10.0.1.103")
        self.write("a.pcap", pcap([(T0, inner)]))
        self.replay("contoso1=a.pcap", policy=policy)
        [(_, sent)] = read(self.path("out/uplink.pcap"))
        self.assertEqual((sent[15], sent[20:24]), (46 << 2, b"\0\0\x09\x11"))
        self.assertEqual(sent[36:38], struct.pack(">H", 8472))
        self.assertEqual(sent[42:50], struct.pack(">II", 1 << 27, 6000 << 8))
        self.assertEqual(sent[50:], inner)

    def l2_only(self):
        return self.variant(("  - {customer_address: 10.0.1.104, virtual_subnet_id: 6000, mac: 60:00:60:00:02:04, provider_address: "
                             "192.168.0.44}", "  - {virtual_subnet_id: 6000, mac: 60:00:60:00:02:04, provider_address: 192.168.0.33, "
                             "type: L2Only}"))

    def test_an_address_is_learned(self):
        """The machine behind an L2Only record asks for another; from then on packets to it find their way."""
        question = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + M4 + address("10.0.1.104") + bytes(6) + address("10.0.1.101")
        gre = struct.pack(">HHI", 0x2000, 0x6558, 6000 << 8)
        asked = frame(HOST, PEER, ipv4("192.168.0.33", "192.168.0.22", 47,
                                       gre + frame(b"\xff" * 6, M4, question, 0x0806), ttl=128, flags=0x4000))
        packet = customer(M1, M4, "10.0.1.101", "10.0.1.104")
        self.write("a.pcap", pcap([(T0, packet), (T0 + 2_000_000, packet)]))
        self.write("b.pcap", pcap([(T0 + 1_000_000, asked)]))
        result = self.replay("contoso1=a.pcap", "uplink=b.pcap", policy=self.l2_only())
        self.assertEqual(result.stderr, "apusctl: learned 10.0.1.104: 60:00:60:00:02:04 in virtual subnet 6000, on the host "
                         "192.168.0.33 (1 of 256)\n")
        self.assertIn("events: RECORD_LEARNED 1\n", result.stdout)
        counters = self.counters()
        self.assertEqual(self.events(), {"RECORD_LEARNED": 1})
        self.assertEqual(counters["totals"]["learned"], 1)
        self.assertEqual(counters["drops"], {"DESTINATION_RECORD_MISSING": 1})
        self.assertIn((T0 + 2_000_000, nvgre(packet)), read(self.path("out/uplink.pcap")))

    def test_every_event_is_told(self):
        def announcement(mac, ca):
            return frame(b"\xff" * 6, mac, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + mac + address(ca) + bytes(6) + address(ca), 0x0806)
        def l2_only(number):
            old = (f"  - {{customer_address: 10.0.1.10{number}, virtual_subnet_id: 6000, mac: 60:00:60:00:01:0{number}, "
                   "provider_address: 192.168.0.22}\n")
            return old, old.replace(f"customer_address: 10.0.1.10{number}", "type: L2Only")
        policy = self.variant(l2_only(1), l2_only(2), ("mac: 60:00:60:00:01:01}\n", "mac: 60:00:60:00:01:01, dynamic_address_limit: 2}\n"))
        first = [(T0 + n, announcement(M1, ca)) for n, ca in enumerate(("10.0.1.201", "10.0.1.202", "10.0.1.203", "10.0.1.103"))]
        self.write("a.pcap", pcap(first, nanoseconds=True))
        self.write("b.pcap", pcap([(T0 + 10, announcement(M2, "10.0.1.201"))], nanoseconds=True))
        result = self.replay("contoso1=a.pcap", "contoso2=b.pcap", policy=policy)
        machine = "60:00:60:00:01:0%d in virtual subnet 6000, on the host 192.168.0.22"
        self.assertEqual(result.stderr.splitlines(), ["apusctl: " + text for text in (
            f"learned 10.0.1.201: {machine % 1} (1 of 2)", f"learned 10.0.1.202: {machine % 1} (2 of 2)",
            f"limit near: {machine % 1} has 80 % of the addresses that it may have (2 of 2)",
            f"limit 10.0.1.203 was not learned: {machine % 1} has as many addresses as it may (2 of 2)",
            f"conflict 10.0.1.103: claimed by {machine % 1}, but its record says 60:00:60:00:02:03 on the host 192.168.0.33",
            f"moved 10.0.1.201: now {machine % 2}, before 60:00:60:00:01:01 on the host 192.168.0.22 (1 of 16)")])
        self.assertEqual(self.events(), {"RECORD_LEARNED": 2, "RECORD_MOVED": 1, "RECORD_CONFLICT": 1, "LEARN_LIMIT": 1,
                                         "LEARN_THRESHOLD": 1})
        policy = self.variant(l2_only(1), ("{flow_id_zero: true}", "{learn_rate: 1}"))
        self.write("a.pcap", pcap([(T0 + n, announcement(M1, f"10.0.1.{200 + n}")) for n in range(15)], nanoseconds=True))
        result = self.replay("contoso1=a.pcap", policy=policy)
        self.assertIn(f"throttled: addresses were not learned, because there were too many in a second: {machine % 1}\n", result.stderr)
        self.assertEqual(self.counters()["events"]["LEARN_THROTTLED"], 1)
        self.assertGreaterEqual(self.counters()["totals"]["learn_throttled"], 3)

    def test_a_question_for_an_unknown_address_reaches_the_machine_without_one(self):
        question = frame(b"\xff" * 6, M1, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + M1 + address("10.0.1.101") + bytes(6)
                         + address("10.0.1.104"), 0x0806)
        self.write("a.pcap", pcap([(T0, question)]))
        self.replay("contoso1=a.pcap", policy=self.l2_only())
        [(_, sent)] = read(self.path("out/uplink.pcap"))
        self.assertEqual(sent[42:], question)

    def test_a_gateway_for_all_other_addresses(self):
        policy = self.variant(
            ("  - {customer_address: 10.0.1.104, virtual_subnet_id: 6000, mac: 60:00:60:00:02:04, provider_address: 192.168.0.44}",
             "  - {virtual_subnet_id: 6000, mac: 60:00:60:00:02:04, provider_address: 192.168.0.33, type: GatewayWildcard}"),
            ("lookup_records:", "  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000, "
             "destination_prefix: 0.0.0.0/0}\nlookup_records:"))
        self.write("a.pcap", pcap([(T0, customer(M1, GATEWAY, "10.0.1.101", "203.0.113.9"))]))
        self.replay("contoso1=a.pcap", policy=policy)
        [(_, sent)] = read(self.path("out/uplink.pcap"))
        self.assertEqual(sent[42:48], M4)

    def test_broadcast(self):
        policy = self.variant(("customer_routes:", "virtual_subnets: [{virtual_subnet_id: 6000, broadcast: true}]\ncustomer_routes:"))
        sent = frame(b"\xff" * 6, M1, customer(M1, M3, "10.0.1.101", "255.255.255.255")[14:])
        self.write("a.pcap", pcap([(T0, sent)]))
        self.replay("contoso1=a.pcap", policy=policy)
        self.assertEqual(read(self.path("out/contoso2.pcap")), [(T0, sent)])
        self.assertIn((T0, nvgre(sent)), read(self.path("out/uplink.pcap")))
        self.assertGreaterEqual(self.counters()["totals"]["replicated"], 1)

    def test_an_unusable_record(self):
        policy = self.variant(("02:03, provider_address: 192.168.0.33", "02:03, provider_address: 192.168.0.33, unusable: true"))
        self.write("a.pcap", pcap([(T0, customer(M1, M3, "10.0.1.101", "10.0.1.103"))]))
        self.replay("contoso1=a.pcap", policy=policy)
        self.assertEqual(self.counters()["drops"], {"RECORD_UNUSABLE": 1})

    # External ports

    EXTERNAL = bytes.fromhex("600060000f01")
    TENANTS = {101: 6000, 102: 7000}

    def gateway_policy(self):
        self.write("policy.yaml", GATEWAY_POLICY.encode())

    def outside(self, vlan, destination, source, packet, ethertype=0x0800):
        """A frame on the trunk."""
        return destination + source + struct.pack(">HHH", 0x8100, vlan, ethertype) + packet

    def from_tenant(self, vlan, packet):
        """A machine's packet, which its host's router has passed, in the tunnel to the gateway."""
        gre = struct.pack(">HHI", 0x2000, 0x6558, (self.TENANTS[vlan] + 9) << 8)
        inner = frame(self.EXTERNAL, M3, packet)
        return frame(HOST, PEER, ipv4("192.168.0.33", "192.168.0.22", 47, gre + inner, ttl=128, flags=0x4000))

    def to_tenant(self, vlan, packet):
        gre = struct.pack(">HHI", 0x2000, 0x6558, self.TENANTS[vlan] << 8)
        inner = frame(M3, self.EXTERNAL, packet)
        return frame(PEER, HOST, ipv4("192.168.0.22", "192.168.0.33", 47, gre + inner, ttl=128, flags=0x4000))

    def arp(self, vlan, operation, sender_mac, sender, target_mac, target, destination):
        body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + sender_mac + address(sender) + target_mac + address(target)
        return self.outside(vlan, destination, sender_mac, body, 0x0806)

    def test_a_gateway_of_two_tenants(self):
        """The same addresses in two VM networks and in two networks outside; the next hop outside has to be asked for."""
        self.gateway_policy()
        routers = {101: bytes.fromhex("020000000101"), 102: bytes.fromhex("020000000102")}
        def packet(source, destination, vlan, ttl):
            return ipv4(source, destination, 17, struct.pack(">HHHH", 1, 2, 10, 0) + struct.pack(">H", vlan), ttl=ttl)
        out = [(T0, self.from_tenant(vlan, packet("10.0.1.103", "203.0.113.9", vlan, 63))) for vlan in routers]
        answers = [(T0 + 10**8, self.arp(vlan, 2, mac, "10.9.0.1", self.EXTERNAL, "10.9.0.2", self.EXTERNAL))
                   for vlan, mac in routers.items()]
        home = [(T0 + 2 * 10**8, self.outside(vlan, self.EXTERNAL, mac, packet("203.0.113.9", "10.0.1.103", vlan, 50)))
                for vlan, mac in routers.items()]
        self.write("a.pcap", pcap(out))
        self.write("b.pcap", pcap(answers + home))
        result = self.replay("uplink=a.pcap", "trunk=b.pcap")
        left = read(self.path("out/trunk.pcap"))
        questions = [(T0, self.arp(vlan, 1, self.EXTERNAL, "10.9.0.2", bytes(6), "10.9.0.1", b"\xff" * 6)) for vlan in routers]
        sent = [(T0 + 10**8, self.outside(vlan, mac, self.EXTERNAL, packet("10.0.1.103", "203.0.113.9", vlan, 62)))
                for vlan, mac in routers.items()]
        self.assertEqual(left, questions + sent)
        entered = [(T0 + 2 * 10**8, self.to_tenant(vlan, packet("203.0.113.9", "10.0.1.103", vlan, 49))) for vlan in routers]
        self.assertEqual(read(self.path("out/uplink.pcap")), entered)
        self.assertEqual(sorted(os.listdir(self.path("out"))), ["counters.json", "trunk.pcap", "uplink.pcap"])
        counters = self.counters()
        self.assertEqual(list(counters["ports"]), ["uplink", "trunk"])
        # The question for the next hop, and the packet.
        self.assertEqual(counters["carried"]["woodgrove-out"]["transmitted"], 2)
        self.assertEqual(counters["carried"]["woodgrove-out"]["received"], 2)
        self.assertEqual((counters["totals"]["decapsulated"], counters["totals"]["routed"], counters["totals"]["encapsulated"]), (2, 4, 2))
        self.assertEqual(counters["drops"], {})
        self.assertIs(counters["balanced"], True)
        self.assertRegex(result.stdout, r"(?m)^contoso-out +external, VLAN 101 of trunk +2 +2 +0$")

    def test_a_next_hop_outside_that_nobody_named(self):
        """An address on the gateway's link is entered when it is wanted, then asked for."""
        self.gateway_policy()
        mac, text = bytes.fromhex("020000000950"), "10.9.0.50"
        packet = ipv4("10.0.1.103", text, 17, b"12345678", ttl=63)
        self.write("a.pcap", pcap([(T0, self.from_tenant(102, packet)), (T0 + 10**9 // 2, self.from_tenant(101, packet))]))
        answer = self.arp(102, 2, mac, text, self.EXTERNAL, "10.9.0.2", self.EXTERNAL)
        self.write("b.pcap", pcap([(T0 + 3 * 10**8, answer)]))
        self.replay("uplink=a.pcap", "trunk=b.pcap")
        frames = [one for _, one in read(self.path("out/trunk.pcap"))]
        question = self.arp(102, 1, self.EXTERNAL, "10.9.0.2", bytes(6), text, b"\xff" * 6)
        sent = self.outside(102, mac, self.EXTERNAL, ipv4("10.0.1.103", text, 17, b"12345678", ttl=62))
        self.assertEqual(frames[:2], [question, sent])
        # The other tenant's 10.9.0.50 is somebody else.
        self.assertEqual({one[12:18] for one in frames[2:]}, {bytes.fromhex("810000650806")})
        self.assertEqual(self.counters()["drops"], {"NEIGHBOR_FAILED": 1})

    def test_packets_that_no_external_port_takes(self):
        self.gateway_policy()
        mac = bytes.fromhex("020000000101")
        stray = ipv4("203.0.113.9", "10.0.1.103", 17, b"12345678")
        six = ipv6("2001:db8:77::9", "2001:db8:1::103", 17, b"12345678")
        self.write("b.pcap", pcap([
            (T0, self.outside(103, self.EXTERNAL, mac, stray)), (T0, self.outside(101, M1, mac, stray)),
            (T0, self.outside(101, self.EXTERNAL, mac, six, 0x86DD)), (T0, self.outside(102, self.EXTERNAL, mac, six, 0x86DD)),
            (T0, self.outside(101, self.EXTERNAL, mac, ipv4("10.0.1.103", "10.0.1.103", 17, b"12345678")))]))
        self.replay("trunk=b.pcap")
        drops = self.counters()["drops"]
        self.assertEqual(sum(drops.values()), 4, drops)
        self.assertEqual((drops["OUTER_MAC"], drops["EXTERNAL_ROUTE_MISSING"], drops["SOURCE_CA_MAC"]), (1, 1, 1))
        self.assertEqual(len(read(self.path("out/uplink.pcap"))), 1)

    def test_a_port_that_another_one_carries_is_no_input(self):
        self.gateway_policy()
        self.write("a.pcap", pcap([]))
        self.refused("apusctl: --in contoso-out=a.pcap: frames of this port come in through trunk, with the tag of VLAN 101",
                     "contoso-out=a.pcap")

    def test_explain_through_an_external_port(self):
        self.gateway_policy()
        packet = ipv4("10.0.1.103", "203.0.113.9", 17, b"12345678", ttl=63)
        lines = self.explain("--port", "uplink", "--frame", self.from_tenant(101, packet).hex())
        self.assertIn("  port 4098 (contoso-out): external, virtual subnet 6009, 60:00:60:00:0f:01, VLAN 101, MTU 1500", lines)
        self.assertIn("  neighbour outside 10.9.0.1: 02:00:00:00:00:01, resolved", lines)
        self.assertEqual(lines[-1], "  verdict: LEAVE through port 4097 (trunk)")
        near = ipv4("10.0.1.103", "10.9.0.50", 17, b"12345678", ttl=63)
        lines = self.explain("--port", "uplink", "--frame", self.from_tenant(102, near).hex())
        self.assertIn("  neighbour outside 10.9.0.50: 02:00:00:00:00:01, resolved", lines)
        self.assertEqual(lines[-1], "  verdict: LEAVE through port 4097 (trunk)")
        lines = self.explain("--port", "woodgrove-out", "--from", "203.0.113.9", "--to", "10.0.1.103")
        self.assertEqual(lines[0], "who has 10.9.0.2?")
        self.assertIn("the packet, to 60:00:60:00:0f:01:", lines)
        self.assertIn("verdict: ENCAPSULATE to 192.168.0.33, virtual subnet 7000, through port 4096 (uplink)", lines[-1])
        lines = self.explain("--port", "woodgrove-out", "--from", "2001:db8:9::50", "--to", "2001:db8:1::103", "--protocol", "tcp")
        self.assertIn("verdict: ENCAPSULATE to 192.168.0.33, virtual subnet 7000", lines[-1])
        self.assertIn("DROP SOURCE_CA_MAC", self.explain("--port", "contoso-out", "--from", "10.0.1.103", "--to", "10.0.1.103", status=2)[-1])
        for arguments, said in (
            (("--to", "10.0.1.103"), "is an external port; say with --from who sends to it"),
            (("--from", "2001:db8:9::50", "--to", "2001:db8:1::103"), "--port 'contoso-out' has no IPv6 address"),
        ):
            result = self.apusctl("explain", "--policy", "policy.yaml", "--port", "contoso-out", *arguments)
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertIn(said, result.stderr)

    def test_explain_to_outside_over_ipv6(self):
        """A next hop outside that is asked for by neighbour discovery."""
        self.gateway_policy()
        gre = struct.pack(">HHI", 0x2000, 0x6558, 7009 << 8)
        inner = frame(self.EXTERNAL, M3, ipv6("2001:db8:1::103", "2001:db8:9::50", 17, b"12345678", 63), 0x86DD)
        sent = frame(HOST, PEER, ipv4("192.168.0.33", "192.168.0.22", 47, gre + inner, ttl=128, flags=0x4000))
        lines = self.explain("--port", "uplink", "--frame", sent.hex())
        self.assertIn("  neighbour outside 2001:db8:9::50: 02:00:00:00:00:01, resolved", lines)
        self.assertEqual(lines[-1], "  verdict: LEAVE through port 4097 (trunk)")
        # Beyond its prefix this side has no router.
        inner = frame(self.EXTERNAL, M3, ipv6("2001:db8:1::103", "2001:db8:77::9", 17, b"12345678", 63), 0x86DD)
        sent = frame(HOST, PEER, ipv4("192.168.0.33", "192.168.0.22", 47, gre + inner, ttl=128, flags=0x4000))
        self.assertIn("DROP EXTERNAL_ROUTE_MISSING", self.explain("--port", "uplink", "--frame", sent.hex(), status=2)[-1])

    def test_the_example_of_a_gateway_is_good(self):
        example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../EndToEnd/policies/gateway.yaml")
        result = self.apusctl("check", "--policy", example)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_check_of_an_external_port(self):
        self.write("policy.yaml", GATEWAY_POLICY.replace("vlan: 102", "vlan: 101").encode())
        result = self.apusctl("check", "--policy", "policy.yaml")
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.startswith("policy.yaml:7: ports[2].vlan: 101"), result.stderr)
        self.write("policy.yaml", GATEWAY_POLICY.replace("10.9.0.1}", "10.9.1.1}", 1).encode())
        result = self.apusctl("check", "--policy", "policy.yaml")
        self.assertEqual(result.stderr, "policy.yaml:6: ports[1].ipv4.next_hop: 10.9.1.1 is not in the prefix of the address; "
                         "accepted: another address in 10.9.0.0/24\n")

    # What is odd, but not refused

    def test_frames_that_were_captured_in_part_are_left_out(self):
        whole = customer(M1, M2, "10.0.1.101", "10.0.1.102")
        self.write("a.pcap", pcap([(T0, whole[:30], len(whole)), (T0 + 1000, whole)]))
        result = self.replay("contoso1=a.pcap")
        self.assertEqual(result.stderr, "apusctl: a.pcap: left out 1 frame captured only in part\n")
        self.assertEqual(self.counters()["ports"]["contoso1"]["partial_frames"], 1)
        self.assertEqual(read(self.path("out/contoso2.pcap")), [(T0 + 1000, whole)])

    def test_a_capture_that_is_cut_off_is_replayed_and_reported(self):
        whole = customer(M1, M2, "10.0.1.101", "10.0.1.102")
        self.write("a.pcap", pcap([(T0, whole), (T0, whole)])[:-1])
        result = self.replay("contoso1=a.pcap", status=1)
        self.assertIn("apusctl: a.pcap: replayed only up to where it is damaged: truncated dump file", result.stderr)
        self.assertEqual(len(read(self.path("out/contoso2.pcap"))), 1)

    def test_time_that_goes_backwards(self):
        whole = customer(M1, M2, "10.0.1.101", "10.0.1.102")
        self.write("a.pcap", pcap([(T0 + 10**9, whole), (T0, whole)]))
        result = self.replay("contoso1=a.pcap")
        self.assertIn("apusctl: a.pcap: time goes backwards at 1 frame;", result.stderr)
        self.assertEqual(len(read(self.path("out/contoso2.pcap"))), 2)

    def test_damaged_captures_never_crash(self):
        data = pcap([(T0, customer(M1, M2, "10.0.1.101", "10.0.1.102"))] * 2)
        for offset in range(0, len(data), 3):
            broken = bytearray(data)
            broken[offset] ^= 0xFF
            self.write("a.pcap", broken)
            result = self.apusctl("replay", "--policy", "policy.yaml", "--in", "contoso1=a.pcap", "--out-dir", "out")
            self.assertIn(result.returncode, (0, 1), (offset, result.stderr))

    # What is refused

    def test_refusals(self):
        self.write("a.pcap", pcap([]))
        self.write("raw.pcap", pcap([], link_type=101))
        self.write("junk.pcap", b"junk" * 100)
        self.write("file", b"")
        self.refused("apusctl: --in nobody=a.pcap: policy.yaml has no port of this name; its ports: uplink, contoso1, "
                     "contoso2", "nobody=a.pcap")
        self.refused("Error: --in names the port uplink twice. Merge the captures: mergecap -w both.pcap a.pcap b.pcap",
                     "uplink=a.pcap", "uplink=a.pcap", status=64)
        self.refused("Error: The value 'uplink' is invalid for '--in <port=file>'", "uplink", status=64)
        self.refused("Error: There is nothing to replay: give at least one --in PORT=FILE.", status=64)
        self.refused("apusctl: none.pcap: No such file or directory", "uplink=none.pcap")
        self.refused("apusctl: junk.pcap: unknown file format", "uplink=junk.pcap")
        self.refused("apusctl: raw.pcap: holds frames of link type RAW; accepted: EN10MB (Ethernet)", "uplink=raw.pcap")
        self.refused("none.yaml: cannot be read: No such file or directory", "uplink=a.pcap", policy="none.yaml")
        self.refused("apusctl: file: is not a directory", "uplink=a.pcap", out="file")
        self.refused("apusctl: file/out: cannot be made: Not a directory", "uplink=a.pcap", out="file/out")

    def test_an_input_is_never_overwritten(self):
        self.write("contoso1.pcap", pcap([(T0, b"precious")]))
        os.symlink("contoso1.pcap", self.path("uplink.pcap"))
        for capture in ("contoso1.pcap", "uplink.pcap", "./contoso1.pcap"):
            result = self.replay(f"contoso1={capture}", out=".", status=1)
            self.assertIn("would be overwritten while it is read; choose another directory", result.stderr)
        self.assertEqual(len(read_any(self.path("contoso1.pcap"))), 24 + 16 + 8)

    # check

    def test_check(self):
        result = self.apusctl("check", "--policy", "policy.yaml")
        self.assertEqual((result.returncode, result.stdout), (0, (
            "policy.yaml: good: 3 ports, 1 provider address, 0 provider routes, 1 provider neighbour, "
            "0 provider peers, 0 virtual subnets, "
            "1 customer route, 4 lookup records\n")))

    def test_check_finds_what_only_the_dataplane_can_judge(self):
        wrong = POLICY.replace("10.0.1.104", "10.0.1.103").replace("mac: 60:00:60:00:01:02}", "mac: 60:00:60:00:01:01}")
        self.write("policy.yaml", wrong.encode())
        result = self.apusctl("check", "--policy", "policy.yaml")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 2, result.stderr)
        self.assertTrue(lines[0].startswith("policy.yaml:6: ports[2]"), lines[0])
        self.assertTrue(lines[1].startswith("policy.yaml:17: lookup_records[3]"), lines[1])

    def explain(self, *arguments, status=0):
        result = self.apusctl("explain", "--policy", self.path("policy.yaml"), *arguments)
        self.assertEqual(result.returncode, status, result.stdout + result.stderr)
        return result.stdout.splitlines()

    def test_explain_names_every_object_that_decides(self):
        lines = self.explain("--port", "contoso1", "--to", "10.0.1.103")
        self.assertEqual(lines[0], "who has 10.0.1.103?")
        self.assertIn("  lookup record (6000, 10.0.1.103): 60:00:60:00:02:03 at 192.168.0.33", lines)
        self.assertIn("the packet, to 60:00:60:00:02:03:", lines)
        self.assertIn("  provider route to 192.168.0.33: 192.168.0.0/24 through port 4096 (uplink), on-link, metric 0", lines)
        self.assertIn("  provider neighbour 192.168.0.33: 44:55:66:77:88:99, static", lines)
        self.assertEqual(lines[-1], "  verdict: ENCAPSULATE to 192.168.0.33, virtual subnet 6000, through port 4096 (uplink), "
                         "packets of up to 1458 bytes")
        lines = self.explain("--port", "contoso1", "--to", "10.0.1.104")
        self.assertIn("  provider neighbour 192.168.0.44: 02:00:00:00:00:01, static", lines)
        self.assertEqual(self.explain("--port", "contoso1", "--to", "10.0.1.102")[-1], "  verdict: DELIVER through port 4098 (contoso2)")
        self.assertEqual(self.explain("--port", "contoso1", "--to", "10.0.1.1")[-1], "  verdict: ANSWER through port 4097 (contoso1)")

    def test_explain_says_why_a_packet_is_dropped(self):
        lines = self.explain("--port", "contoso1", "--to", "10.9.9.9", status=2)
        self.assertIn("who has 10.0.1.1?", lines)
        self.assertEqual(lines[-1], "  verdict: DROP CUSTOMER_ROUTE_MISSING: no customer route to the destination")
        self.assertIn("no lookup record for 10.0.1.77", self.explain("--port", "contoso1", "--to", "10.0.1.77", status=2)[-1])
        lines = self.explain("--port", "contoso1", "--to", "10.0.1.103", "--protocol", "udp", "--length", "1500", status=2)
        self.assertIn("DROP MTU_EXCEEDED", lines[-1])
        self.assertIn("an ICMP error goes back through port 4097 (contoso1)", lines[-1])
        frame = customer(M2, M2, "10.0.1.101", "10.0.1.102")
        self.assertIn("DROP SOURCE_MAC", self.explain("--port", "contoso1", "--frame", frame.hex(), status=2)[-1])

    def test_explain_with_a_gateway_machine(self):
        """The wildcard record of the port's own machine is no address, and a default route no prefix of it."""
        policy = self.variant(
            ("lookup_records:\n", "  - {routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000, "
             "destination_prefix: 0.0.0.0/0}\nlookup_records:\n  - {virtual_subnet_id: 6000, mac: 60:00:60:00:01:01, provider_address: "
             "192.168.0.22, type: GatewayWildcard}\n"))
        result = self.apusctl("explain", "--policy", self.path(policy), "--port", "contoso2", "--to", "203.0.113.9")
        self.assertIn("who has 10.0.1.1?", result.stdout)
        self.assertTrue(result.stdout.endswith("verdict: DELIVER through port 4097 (contoso1)\n"), result.stdout + result.stderr)
        result = self.apusctl("explain", "--policy", self.path(policy), "--port", "contoso1", "--to", "10.0.1.102")
        self.assertTrue(result.stdout.endswith("verdict: DELIVER through port 4098 (contoso2)\n"), result.stdout + result.stderr)

    def test_explain_with_an_external_router(self):
        policy = self.variant(("{flow_id_zero: true}", "{use_external_router: true}"))
        arguments = ("explain", "--policy", self.path(policy), "--port", "contoso1", "--to", "203.0.113.9")
        result = self.apusctl(*arguments)
        self.assertEqual(result.returncode, 2)
        self.assertIn("no lookup record for 10.0.1.1: nothing is sent", result.stdout)
        self.variant(("{flow_id_zero: true}", "{use_external_router: true}"), ("10.0.1.104", "10.0.1.1"))
        result = self.apusctl(*arguments)
        self.assertIn("the packet, to 60:00:60:00:02:04:", result.stdout)
        self.assertIn("verdict: ENCAPSULATE to 192.168.0.44", result.stdout)

    def test_explain_agrees_with_replay(self):
        """The same frames, one by one: what is explained is what comes out."""
        frames = [customer(M1, mac, "10.0.1.101", ip) for mac, ip in
                  ((M2, "10.0.1.102"), (M3, "10.0.1.103"), (M4, "10.0.1.103"), (M2, "10.0.1.1"))]
        for frame in frames:
            self.write("a.pcap", pcap([(T0, frame)]))
            self.replay("contoso1=a.pcap")
            drops = self.counters()["drops"]
            verdict = self.explain("--port", "contoso1", "--frame", frame.hex(), status=2 if drops else 0)[-1]
            self.assertEqual([reason for reason in drops if f"DROP {reason}:" not in verdict], [], verdict)

    def test_explain_refuses_what_it_cannot_explain(self):
        for arguments, said in (
            (("--port", "nowhere", "--to", "10.0.1.1"), "ports: uplink, contoso1, contoso2"),
            (("--port", "uplink", "--to", "10.0.1.1"), "is a provider port"),
            (("--port", "contoso1", "--to", "10.0.1"), "is no IP address such as 10.0.1.5 or 2001:db8::5"),
            (("--port", "contoso1", "--frame", "abc"), "even number of hexadecimal digits"),
        ):
            result = self.apusctl("explain", "--policy", self.path("policy.yaml"), *arguments)
            self.assertEqual(result.returncode, 1, arguments)
            self.assertIn(said, result.stderr)

    # IPv6

    def test_explain_ipv6(self):
        """A machine with both kinds of address asks by neighbour discovery for the one, by ARP for the other."""
        self.write("policy.yaml", POLICY6.encode())
        lines = self.explain("--port", "contoso1", "--to", "2001:db8:1::103")
        self.assertEqual(lines[0], "who has 2001:db8:1::103?")
        self.assertIn("  lookup record (6000, 2001:db8:1::103): 60:00:60:00:02:03 at 2001:db8:a::33", lines)
        self.assertIn("the packet, to 60:00:60:00:02:03:", lines)
        self.assertIn("verdict: ANSWER through port 4097", "".join(lines[:lines.index("the packet, to 60:00:60:00:02:03:")]))
        self.assertEqual(lines[-1], "  verdict: ENCAPSULATE to 2001:db8:a::33, virtual subnet 6000, through port 4096 (uplink), "
                         "packets of up to 1438 bytes")
        for target, verdict in (("10.0.1.103", "ENCAPSULATE to 192.168.0.33"), ("2001:db8:1::102", "DELIVER"),
                                ("2001:db8:1::1", "ANSWER"), ("fe80::61:70ff:fe75:7301", "ANSWER"),
                                ("2001:db8:2::104", "ENCAPSULATE to 192.168.0.33, virtual subnet 6001"),
                                ("2001:db8:2::1", "ANSWER")):
            self.assertIn(f"verdict: {verdict}", self.explain("--port", "contoso1", "--to", target)[-1], target)
        lines = self.explain("--port", "contoso1", "--to", "2001:db8:2::104")
        self.assertEqual(lines[0], "who has 2001:db8:1::1?")
        self.assertIn("the packet, to 02:61:70:75:73:01:", lines)

    def test_explain_says_why_an_ipv6_packet_is_dropped(self):
        self.write("policy.yaml", POLICY6.encode())
        for arguments, reason in (
            (("--to", "2001:db8:9::1"), "CUSTOMER_ROUTE_MISSING"),
            (("--to", "2001:db8:1::103", "--length", "1439", "--protocol", "udp"), "MTU_EXCEEDED"),
            (("--to", "2001:db8:2::104", "--length", "1459", "--protocol", "tcp"), "MTU_EXCEEDED"),
            (("--to", "2001:db8:2::104", "--ttl", "1"), "TTL_EXPIRED"),
            (("--to", "2001:db8:1::103", "--from", "2001:db8:1::66"), "SOURCE_RECORD_MISSING"),
            (("--to", "2001:db8:2::104", "--from", "2001:db8:1::102"), "SOURCE_CA_MAC"),
            (("--to", "fe80::1"), None),
        ):
            line = self.explain("--port", "contoso1", *arguments, status=2)[-1]
            self.assertIn(f"DROP {reason}" if reason else "no lookup record for fe80::1", line, arguments)
        lines = self.explain("--port", "contoso1", "--to", "2001:db8:1::103", "--length", "1438", "--protocol", "udp")
        self.assertIn("verdict: ENCAPSULATE", lines[-1])
        lines = self.explain("--port", "contoso1", "--to", "2001:db8:2::104", "--length", "1458", "--protocol", "tcp")
        self.assertIn("verdict: ENCAPSULATE", lines[-1])
        for arguments, status, said in (
            (("--to", "2001:db8:1::103", "--from", "10.0.1.101"), 1, "--from '10.0.1.101' is an IPv4 address, but --to"),
            (("--to", "2001:db8::1::2"), 1, "is no IP address such as 10.0.1.5 or 2001:db8::5"),
            (("--to", "2001:db8:1::103", "--length", "47"), 64, "--length 47 is outside 48-65535"),
        ):
            result = self.apusctl("explain", "--policy", "policy.yaml", "--port", "contoso1", *arguments)
            self.assertEqual(result.returncode, status, arguments)
            self.assertIn(said, result.stderr)
        result = self.apusctl("explain", "--policy", "policy.yaml", "--port", "contoso2", "--to", "2001:db8:2::104")
        self.assertEqual(result.returncode, 0)
        self.write("policy.yaml", POLICY.encode())
        result = self.apusctl("explain", "--policy", "policy.yaml", "--port", "contoso1", "--to", "2001:db8:2::104")
        self.assertEqual(result.returncode, 1)
        self.assertIn("port 'contoso1' has no lookup record with an IPv6 address; say with --from", result.stderr)

    def test_check_ipv6(self):
        self.write("policy.yaml", POLICY6.encode())
        result = self.apusctl("check", "--policy", "policy.yaml")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("2 provider addresses", result.stdout)
        wrong = POLICY6.replace("2001:db8:1::103,", '"::1",').replace("prefix_length: 64", "prefix_length: 129")
        self.write("policy.yaml", wrong.encode())
        result = self.apusctl("check", "--policy", "policy.yaml")
        self.assertEqual(result.returncode, 1)
        line = 1 + wrong[:wrong.index("prefix_length: 129")].count("\n")
        self.assertEqual(result.stderr, f"policy.yaml:{line}: provider_addresses[1].prefix_length: 129 is outside 1-128\n")
        wrong = wrong.replace("prefix_length: 129", "prefix_length: 64")
        self.write("policy.yaml", wrong.encode())
        result = self.apusctl("check", "--policy", "policy.yaml")
        line = 1 + wrong[:wrong.index('"::1"')].count("\n")
        self.assertTrue(result.stderr.startswith(f"policy.yaml:{line}: lookup_records["), result.stderr)
        self.assertIn("].customer_address: ::1 is not a unicast address", result.stderr)

    def test_replay_ipv6(self):
        """An IPv6 packet between IPv6 hosts, one between IPv4 hosts, and a router that is asked for."""
        self.write("policy.yaml", POLICY6.encode())
        near = frame(M3, M1, ipv6("2001:db8:1::101", "2001:db8:1::103", 253, b"payload"), 0x86DD)
        far = frame(GATEWAY, M1, ipv6("2001:db8:1::101", "2001:db8:2::104", 253, b"payload"), 0x86DD)
        routers = bytes.fromhex("333300000002")
        message = icmpv6("fe80::6200:60ff:fe00:101", "ff02::2", bytes([133, 0, 0, 0, 0, 0, 0, 0, 1, 1]) + M1)
        solicitation = frame(routers, M1, ipv6("fe80::6200:60ff:fe00:101", "ff02::2", 58, message, 255), 0x86DD)
        self.write("a.pcap", pcap([(T0, near), (T0 + 1000, far), (T0 + 2000, solicitation)]))
        self.replay("contoso1=a.pcap")
        gre = struct.pack(">HHI", 0x2000, 0x6558, 6000 << 8)
        outer = frame(PEER, HOST, ipv6("2001:db8:a::22", "2001:db8:a::33", 47, gre + near, 128), 0x86DD)
        inner = frame(M4, M1, ipv6("2001:db8:1::101", "2001:db8:2::104", 253, b"payload", 63), 0x86DD)
        gre = struct.pack(">HHI", 0x2000, 0x6558, 6001 << 8)
        routed = frame(PEER, HOST, ipv4("192.168.0.22", "192.168.0.33", 47, gre + inner, ttl=128, flags=0x4000))
        (time, first), second = read(self.path("out/uplink.pcap"))
        # The flow label is the FlowID (see Tests/Wire), which is not in the key here.
        self.assertEqual((time, first[:17] + b"\0" + first[18:], second), (T0, outer, (T0 + 1000, routed)))
        (time, answer), = read(self.path("out/contoso1.pcap"))
        self.assertEqual((time, answer[:12], answer[20], answer[54]), (T0 + 2000, M1 + GATEWAY, 58, 134))
        counters = self.counters()
        self.assertEqual(counters["totals"]["router_advertisements"], 1)
        self.assertEqual((counters["totals"]["encapsulated"], counters["totals"]["routed"]), (2, 1))
        self.assertEqual(counters["drops"], {})
        self.assertIs(counters["balanced"], True)

    def test_help_teaches(self):
        for command in ([], ["check"], ["replay"], ["explain"]):
            result = self.apusctl(*command, "--help")
            self.assertEqual(result.returncode, 0)
            self.assertIn("EXAMPLE", result.stdout)


def read_any(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(failed != 0)
