# SPDX-License-Identifier: Apache-2.0
"""
An NVGRE endpoint that owes nothing to Apus: RFC 7637 in a few lines, between a tap and a packet socket.

It treats the key as Linux, Open vSwitch and VPP do: all 32 bits must match, so the other side must send
FlowID 0.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading

from frames import (
    ETHERTYPE_ARP,
    ETHERTYPE_IPV6,
    PROTOCOL_ICMPV6,
    MalformedFrame,
    advertisement,
    arp,
    nvgre,
    parse,
    solicitation,
)
from system import Cleanup, inside

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000


class NvgrePeer:
    """
    Connects a tap (created here) with one remote endpoint through an uplink, until close().

    It answers ARP, or neighbour solicitations, for its own address and learns the remote's MAC address from them.
    """

    def __init__(
        self,
        namespace: str,
        *,
        tap: str,
        uplink: str,
        mac: str,
        address: str,
        remote: str,
        vsid: int,
        cleanup: Cleanup,
    ) -> None:
        self.mac = mac
        self.address = address
        self.remote = remote
        self.key = vsid << 8
        self.refused: list[str] = []
        """Frames from the underlay that were for us and that we could not take, in words."""
        self._remote_mac: str | None = None
        self._stopping = threading.Event()
        with inside(namespace):
            self._uplink = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._uplink.bind((uplink, 0x0003))
            self._tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self._tap, _TUNSETIFF, struct.pack("16sH22x", tap.encode(), _IFF_TAP | _IFF_NO_PI))
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        cleanup.add(self.close)

    def close(self) -> None:
        """Stop; the tap disappears."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join(5)
            self._uplink.close()
            os.close(self._tap)

    def _work(self) -> None:
        while not self._stopping.is_set():
            uplink = self._uplink.fileno()
            readable, _, _ = select.select([uplink, self._tap], [], [], 0.1)
            try:
                if uplink in readable:
                    data, where = self._uplink.recvfrom(65535)
                    if where[2] != socket.PACKET_OUTGOING:
                        self._from_underlay(data)
                if self._tap in readable:
                    self._from_machine(os.read(self._tap, 65535))
            except MalformedFrame as error:
                self.refused.append(str(error))
            except OSError as error:  # a link is down, or being taken away
                self.refused.append(f"system: {error}")

    def _from_underlay(self, data: bytes) -> None:
        frame = parse(data)
        if frame.discovery:
            if frame.ip_source == self.remote and frame.discovery.mac:
                self._remote_mac = frame.discovery.mac
            if frame.discovery.kind == 135 and frame.discovery.target == self.address:
                self._uplink.send(advertisement(self.address, self.mac, self.remote, frame.source))
            return
        if frame.arp:
            if frame.arp.sender_ip == self.remote:
                self._remote_mac = frame.arp.sender_mac
            if frame.arp.operation == 1 and frame.arp.target_ip == self.address:
                asker = frame.arp
                self._uplink.send(
                    arp(2, self.mac, self.address, asker.sender_mac, asker.sender_ip, to=asker.sender_mac)
                )
            return
        if frame.destination != self.mac or frame.ip_destination != self.address or frame.nvgre is None:
            return
        if frame.nvgre.key != self.key:
            self.refused.append(f"key {frame.nvgre.key:#010x} is not {self.key:#010x}")
        else:
            os.write(self._tap, data[14 + (40 if ":" in self.address else 20) + 8 :])

    def _from_machine(self, data: bytes) -> None:
        if len(data) < 14 or struct.unpack("!H", data[12:14])[0] == ETHERTYPE_ARP or _is_discovery(data):
            return  # a static neighbour is configured; NVGRE carries no ARP between hosts that know their records
        if self._remote_mac is None and ":" in self.address:
            self._uplink.send(solicitation(self.address, self.mac, self.remote))
            return
        if self._remote_mac is None:
            self._uplink.send(arp(1, self.mac, self.address, "00:00:00:00:00:00", self.remote, to="ff:ff:ff:ff:ff:ff"))
            return  # as an IP stack may: the machine asks again
        self._uplink.send(
            nvgre(
                self.key,
                data,
                source=self.address,
                destination=self.remote,
                source_mac=self.mac,
                destination_mac=self._remote_mac,
            )
        )


def _is_discovery(data: bytes) -> bool:
    """Neighbour discovery, or multicast of other kinds, of a machine with IPv6."""
    if struct.unpack("!H", data[12:14])[0] != ETHERTYPE_IPV6 or len(data) < 14 + 41:
        return False
    return data[0] & 1 == 1 or data[14 + 6] == PROTOCOL_ICMPV6 and 133 <= data[14 + 40] <= 137
