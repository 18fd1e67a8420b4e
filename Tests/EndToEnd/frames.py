# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames as bytes: making them, reading them, and libpcap files.

This is a second, independent implementation of the formats that Apus speaks (written from RFC 826,
RFC 791, RFC 792, RFC 8200, RFC 4443, RFC 4861 and RFC 7637), so that a mistake in the library is not
repeated here. Nothing but the standard library is used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
PROTOCOL_ICMP = 1
PROTOCOL_GRE = 47
PROTOCOL_ICMPV6 = 58
GRE_TRANSPARENT_ETHERNET = 0x6558
GRE_KEY_PRESENT = 0x2000
BROADCAST = "ff:ff:ff:ff:ff:ff"
NVGRE_OVERHEAD = 42
"""Bytes that NVGRE over IPv4 adds to the customer's IP packet: inner Ethernet 14, outer IPv4 20, GRE 8."""
NVGRE_OVERHEAD_IPV6 = 62
"""The same over IPv6, whose header has 40 bytes."""


def mac_bytes(text: str) -> bytes:
    """The six bytes of "60:00:60:00:01:01"."""
    return bytes.fromhex(text.replace(":", ""))


def mac_text(data: bytes) -> str:
    """ "60:00:60:00:01:01" from six bytes."""
    return data.hex(":")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- making frames -----------------------------------------------------------------------------


def ethernet(destination: str, source: str, ethertype: int, payload: bytes) -> bytes:
    """An untagged Ethernet frame without FCS."""
    return mac_bytes(destination) + mac_bytes(source) + struct.pack("!H", ethertype) + payload


def ipv4(
    source: str, destination: str, protocol: int, payload: bytes, *, ttl: int = 64, identification: int = 0
) -> bytes:
    """An IPv4 packet with DF set and a correct header checksum."""
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        identification,
        0x4000,
        ttl,
        protocol,
        0,
        IPv4Address(source).packed,
        IPv4Address(destination).packed,
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes, *, hop_limit: int = 64) -> bytes:
    """An IPv6 packet without extension headers."""
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return header + IPv6Address(source).packed + IPv6Address(destination).packed + payload


def icmpv6_checksum(source: str, destination: str, message: bytes) -> int:
    """The checksum of an ICMPv6 message, which covers a pseudo-header too; zero if that of the message is right."""
    pseudo = IPv6Address(source).packed + IPv6Address(destination).packed
    return checksum(pseudo + struct.pack("!II", len(message), PROTOCOL_ICMPV6) + message)


def icmpv6(source: str, destination: str, message: bytes, *, hop_limit: int = 255) -> bytes:
    """An IPv6 packet with an ICMPv6 message, whose checksum is filled in."""
    total = icmpv6_checksum(source, destination, message[:2] + b"\0\0" + message[4:])
    whole = message[:2] + struct.pack("!H", total) + message[4:]
    return ipv6(source, destination, PROTOCOL_ICMPV6, whole, hop_limit=hop_limit)


def solicited_node(address: str) -> str:
    """The multicast group in which the owner of an address is asked for (RFC 4291 section 2.7.1)."""
    return str(IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + IPv6Address(address).packed[13:]))


def solicited_node_mac(address: str) -> str:
    """The MAC address of that group (RFC 2464 section 7)."""
    return "33:33:" + mac_text(IPv6Address(solicited_node(address)).packed[12:])


def link_local(mac: str) -> str:
    """The link-local address that is made of a MAC address (RFC 4291 appendix A)."""
    return interface_address("fe80::/64", mac)


def interface_address(prefix: str, mac: str) -> str:
    """The address of an adapter in a prefix of length 64 (RFC 4862 with modified EUI-64)."""
    data = mac_bytes(mac)
    identifier = bytes([data[0] ^ 2]) + data[1:3] + b"\xff\xfe" + data[3:]
    return str(IPv6Address(IPv6Address(prefix.removesuffix("/64")).packed[:8] + identifier))


def solicitation(source: str, source_mac: str, target: str) -> bytes:
    """The frame of a neighbour solicitation (RFC 4861 section 4.3)."""
    group = solicited_node(target)
    message = bytes([135, 0, 0, 0, 0, 0, 0, 0]) + IPv6Address(target).packed + b"\x01\x01" + mac_bytes(source_mac)
    return ethernet(solicited_node_mac(target), source_mac, ETHERTYPE_IPV6, icmpv6(source, group, message))


def advertisement(source: str, source_mac: str, destination: str, destination_mac: str) -> bytes:
    """The frame of a neighbour advertisement that answers a solicitation for `source`."""
    message = bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + IPv6Address(source).packed + b"\x02\x01" + mac_bytes(source_mac)
    return ethernet(destination_mac, source_mac, ETHERTYPE_IPV6, icmpv6(source, destination, message))


def icmp_echo(kind: int, identifier: int, sequence: int, data: bytes) -> bytes:
    """An ICMP echo request (kind 8) or reply (kind 0)."""
    body = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + data
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def arp(operation: int, sender_mac: str, sender_ip: str, target_mac: str, target_ip: str, *, to: str) -> bytes:
    """An ARP frame: operation 1 asks, 2 answers."""
    body = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, operation)
    body += mac_bytes(sender_mac) + IPv4Address(sender_ip).packed
    body += mac_bytes(target_mac) + IPv4Address(target_ip).packed
    return ethernet(to, sender_mac, ETHERTYPE_ARP, body)


def nvgre(key: int, inner: bytes, *, source: str, destination: str, source_mac: str, destination_mac: str) -> bytes:
    """An inner frame inside Ethernet, IPv4 or IPv6 and GRE with a key (RFC 7637 section 3.2)."""
    gre = struct.pack("!HHI", GRE_KEY_PRESENT, GRE_TRANSPARENT_ETHERNET, key)
    if ":" in source:
        outer = ipv6(source, destination, PROTOCOL_GRE, gre + inner, hop_limit=128)
        return ethernet(destination_mac, source_mac, ETHERTYPE_IPV6, outer)
    outer = ipv4(source, destination, PROTOCOL_GRE, gre + inner, ttl=128)
    return ethernet(destination_mac, source_mac, ETHERTYPE_IPV4, outer)


# --- reading frames ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Arp:
    """An ARP packet."""

    operation: int
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


@dataclass(frozen=True)
class Echo:
    """An ICMP or ICMPv6 echo request or reply."""

    kind: int
    identifier: int
    sequence: int
    data: bytes

    @property
    def is_request(self) -> bool:
        """True for a request, false for a reply."""
        return self.kind in (8, 128)


@dataclass(frozen=True)
class Discovery:
    """A neighbour discovery message: 133 asks for routers, 134 answers, 135 asks for a neighbour, 136 answers."""

    kind: int
    flags: int
    target: str | None
    mac: str | None
    """The first source or target link-layer address option."""


@dataclass(frozen=True)
class Nvgre:
    """A GRE header with a key, and the frame it carries."""

    key: int
    inner: Frame

    @property
    def vsid(self) -> int:
        """The virtual subnet: the upper 24 bits of the key."""
        return self.key >> 8

    @property
    def flow_id(self) -> int:
        """The FlowID: the lower 8 bits of the key."""
        return self.key & 0xFF


@dataclass(frozen=True)
class Frame:
    """What this module understands of an Ethernet frame; what it does not understand stays None."""

    destination: str
    source: str
    ethertype: int
    arp: Arp | None = None
    ip_source: str | None = None
    ip_destination: str | None = None
    ttl: int | None = None
    tos: int | None = None
    """DSCP and ECN: TOS, or the traffic class."""
    echo: Echo | None = None
    nvgre: Nvgre | None = None
    discovery: Discovery | None = None


class MalformedFrame(ValueError):
    """A frame whose headers contradict each other, or whose checksum is wrong."""


def parse(data: bytes) -> Frame:
    """Read an Ethernet frame. Raises MalformedFrame for wrong lengths and checksums."""
    if len(data) < 14:
        raise MalformedFrame(f"{len(data)} bytes are no Ethernet frame")
    destination, source = mac_text(data[0:6]), mac_text(data[6:12])
    (ethertype,) = struct.unpack("!H", data[12:14])
    body = data[14:]
    if ethertype == ETHERTYPE_ARP:
        return Frame(destination, source, ethertype, arp=_parse_arp(body))
    if ethertype == ETHERTYPE_IPV6:
        return _parse_ipv6(destination, source, body)
    if ethertype != ETHERTYPE_IPV4:
        return Frame(destination, source, ethertype)
    if len(body) < 20 or body[0] != 0x45:
        raise MalformedFrame("not an IPv4 header of 20 bytes")
    total = struct.unpack("!H", body[2:4])[0]
    if not 20 <= total <= len(body):
        raise MalformedFrame(f"IPv4 total length {total} in {len(body)} bytes")
    if checksum(body[:20]) != 0:
        raise MalformedFrame("wrong IPv4 header checksum")
    payload = body[20:total]
    echo: Echo | None = None
    carried: Nvgre | None = None
    if body[9] == PROTOCOL_ICMP and len(payload) >= 8 and payload[0] in (0, 8):
        if checksum(payload) != 0:
            raise MalformedFrame("wrong ICMP checksum")
        identifier, sequence = struct.unpack("!HH", payload[4:8])
        echo = Echo(payload[0], identifier, sequence, payload[8:])
    if body[9] == PROTOCOL_GRE:
        carried = _parse_nvgre(payload)
    return Frame(
        destination,
        source,
        ethertype,
        ip_source=str(IPv4Address(body[12:16])),
        ip_destination=str(IPv4Address(body[16:20])),
        ttl=body[8],
        tos=body[1],
        echo=echo,
        nvgre=carried,
    )


def _parse_nvgre(payload: bytes) -> Nvgre:
    if len(payload) < 8:
        raise MalformedFrame("GRE header is cut off")
    flags, protocol, key = struct.unpack("!HHI", payload[:8])
    if flags != GRE_KEY_PRESENT or protocol != GRE_TRANSPARENT_ETHERNET:
        raise MalformedFrame(f"GRE flags {flags:#06x}, protocol {protocol:#06x} are not NVGRE")
    return Nvgre(key, parse(payload[8:]))


def _parse_ipv6(destination: str, source: str, body: bytes) -> Frame:
    if len(body) < 40 or body[0] >> 4 != 6:
        raise MalformedFrame("not an IPv6 header")
    length, protocol, hop_limit = struct.unpack("!HBB", body[4:8])
    if 40 + length > len(body):
        raise MalformedFrame(f"IPv6 payload length {length} in {len(body)} bytes")
    sender, receiver = str(IPv6Address(body[8:24])), str(IPv6Address(body[24:40]))
    payload = body[40 : 40 + length]
    echo: Echo | None = None
    carried: Nvgre | None = None
    discovery: Discovery | None = None
    if protocol == PROTOCOL_ICMPV6:
        if len(payload) < 4 or icmpv6_checksum(sender, receiver, payload) != 0:
            raise MalformedFrame("wrong ICMPv6 checksum")
        if payload[0] in (128, 129) and len(payload) >= 8:
            identifier, sequence = struct.unpack("!HH", payload[4:8])
            echo = Echo(payload[0], identifier, sequence, payload[8:])
        if 133 <= payload[0] <= 136:
            discovery = _parse_discovery(payload)
    if protocol == PROTOCOL_GRE:
        carried = _parse_nvgre(payload)
    return Frame(
        destination,
        source,
        ETHERTYPE_IPV6,
        ip_source=sender,
        ip_destination=receiver,
        ttl=hop_limit,
        tos=(body[0] & 0x0F) << 4 | body[1] >> 4,
        echo=echo,
        nvgre=carried,
        discovery=discovery,
    )


def _parse_discovery(message: bytes) -> Discovery:
    kind = message[0]
    position = {133: 8, 134: 16}.get(kind, 24)
    if len(message) < position:
        raise MalformedFrame(f"neighbour discovery message {kind} of {len(message)} bytes")
    target = str(IPv6Address(message[8:24])) if kind >= 135 else None
    mac = None
    while position < len(message):
        option, size = message[position], message[position + 1] * 8 if position + 1 < len(message) else 0
        if size == 0 or position + size > len(message):
            raise MalformedFrame("neighbour discovery option of a wrong length")
        if option in (1, 2) and mac is None:
            mac = mac_text(message[position + 2 : position + 8])
        position += size
    return Discovery(kind, message[5] if kind == 134 else message[4], target, mac)


def _parse_arp(body: bytes) -> Arp:
    if len(body) < 28 or body[:6] != b"\x00\x01\x08\x00\x06\x04":
        raise MalformedFrame("not ARP for IPv4 over Ethernet")
    return Arp(
        operation=struct.unpack("!H", body[6:8])[0],
        sender_mac=mac_text(body[8:14]),
        sender_ip=str(IPv4Address(body[14:18])),
        target_mac=mac_text(body[18:24]),
        target_ip=str(IPv4Address(body[24:28])),
    )


# --- capture files -----------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Captured:
    """A frame and when it was seen, in nanoseconds."""

    time: int
    data: bytes


_PCAP_MICROSECONDS = 0xA1B2C3D4
_PCAP_NANOSECONDS = 0xA1B23C4D
_LINKTYPE_ETHERNET = 1


def write_pcap(path: Path, frames: Iterable[Captured]) -> None:
    """Write a libpcap file of Ethernet frames, with microseconds as every reader understands them."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", _PCAP_MICROSECONDS, 2, 4, 0, 0, 65535, _LINKTYPE_ETHERNET))
        for frame in frames:
            seconds, nanoseconds = divmod(frame.time, 1_000_000_000)
            file.write(struct.pack("<IIII", seconds, nanoseconds // 1000, len(frame.data), len(frame.data)))
            file.write(frame.data)


def read_pcap(path: Path) -> Iterator[Captured]:
    """Read a libpcap file of either byte order, with microseconds or nanoseconds."""
    content = path.read_bytes()
    for order in "<>":
        (magic,) = struct.unpack(order + "I", content[:4])
        if magic in (_PCAP_MICROSECONDS, _PCAP_NANOSECONDS):
            break
    else:
        raise ValueError(f"{path} is not a libpcap file")
    unit = 1 if magic == _PCAP_NANOSECONDS else 1000
    position = 24
    while position < len(content):
        seconds, fraction, length, _ = struct.unpack(order + "IIII", content[position : position + 16])
        position += 16
        yield Captured(seconds * 1_000_000_000 + fraction * unit, content[position : position + length])
        position += length
