# SPDX-License-Identifier: Apache-2.0
"""What the tests send and how they look at it: bulk transfers, interface counters, tshark."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from system import inside
from topology import Lab, Machine


def tshark_fields(capture: Path, names: Sequence[str], options: Sequence[str] = ()) -> list[dict[str, list[str]]]:
    """The values of the named fields in each frame, all occurrences, checksums verified."""
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]
    command += ["-E", "aggregator=,", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    # What TCP carries are random bytes: a dissector that takes them for its own would have retransmissions be malformed.
    command += ["-o", "udp.check_checksum:TRUE", "-d", "tcp.port==1-65535,data", *options]
    for name in names:
        command += ["-e", name]
    output = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120, check=True
    )
    rows = []
    for line in output.stdout.splitlines():
        cells = line.split("\t")
        rows.append({name: cell.split(",") if cell else [] for name, cell in zip(names, cells)})
    return rows


def interface_counters(namespace: str, interface: str) -> tuple[int, int]:
    """Frames that the kernel has (received, sent) on an interface."""
    with inside(namespace):
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    values = next(line for line in lines if line.strip().startswith(interface + ":")).split(":")[1].split()
    return int(values[1]), int(values[9])


def socket_family(address: str) -> socket.AddressFamily:
    """The family of sockets for an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Transfer:
    """A TCP connection from one machine to another that carries random bytes, and their hashes at both ends."""

    def __init__(
        self,
        lab: Lab,
        source: Machine,
        target: Machine,
        size: int,
        *,
        source_port: int,
        port: int,
        family: int = 4,
        pace: float = 0,
    ) -> None:
        """`pace`: seconds between two pieces of 16 KiB."""
        ours, theirs = source.address_of(family), target.address_of(family)
        self._data = os.urandom(size)
        self._pace = pace
        self._sent = hashlib.sha256(self._data).hexdigest()
        self._received = ""
        self._error: Exception | None = None
        with inside(lab.namespace(target.name)):
            self._listener = socket.create_server((theirs, port), family=socket_family(theirs))
        with inside(lab.namespace(source.name)):
            self._client = socket.socket(socket_family(ours), socket.SOCK_STREAM)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._client.bind((ours, source_port))
        for end in (self._listener, self._client):
            end.settimeout(60)
        self._target = (theirs, port)
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(part,)) for part in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def _guard(self, part: Callable[[], None]) -> None:
        try:
            part()
        except OSError as error:
            self._error = error

    def _receive(self) -> None:
        with self._listener:
            connection, _ = self._listener.accept()
        digest = hashlib.sha256()
        with connection:
            connection.settimeout(60)
            while chunk := connection.recv(1 << 16):
                digest.update(chunk)
            connection.sendall(b"done")
        self._received = digest.hexdigest()

    def _send(self) -> None:
        with self._client as client:
            client.connect(self._target)
            piece = 1 << 14 if self._pace else len(self._data)
            for start in range(0, len(self._data), piece):
                client.sendall(self._data[start : start + piece])
                if self._pace:
                    self._done.wait(self._pace)
            client.shutdown(socket.SHUT_WR)
            client.recv(4)

    @property
    def is_running(self) -> bool:
        """True until both ends have finished."""
        return any(thread.is_alive() for thread in self._threads)

    def finish(self) -> tuple[str, str, Exception | None]:
        """Wait for the end; the hash of what was sent, of what was received, and an error."""
        for thread in self._threads:
            thread.join(150)
        return self._sent, self._received, self._error


def exchange_datagrams(
    lab: Lab, source: Machine, target: Machine, sizes: Sequence[int], *, port: int, family: int, window: int = 16
) -> tuple[int, int]:
    """
    Send UDP datagrams of random bytes, which the target sends back, `window` at a time.

    Returns how many came back unchanged, and how many did not come back within two seconds of the last of their window.
    """
    ours, theirs = source.address_of(family), target.address_of(family)
    with inside(lab.namespace(target.name)):
        echo = socket.socket(socket_family(theirs), socket.SOCK_DGRAM)
    with inside(lab.namespace(source.name)):
        sender = socket.socket(socket_family(ours), socket.SOCK_DGRAM)
    stopping = threading.Event()

    def reflect() -> None:
        while not stopping.is_set():
            try:
                data, peer = echo.recvfrom(65535)
                echo.sendto(data, peer)
            except OSError:  # a time-out, or a message that was too big (and is sent again by nobody)
                continue

    returned = missing = 0
    with echo, sender:
        for end in (echo, sender):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        echo.bind((theirs, port))
        echo.settimeout(0.2)
        sender.bind((ours, 0))
        sender.settimeout(2)
        thread = threading.Thread(target=reflect)
        thread.start()
        try:
            for start in range(0, len(sizes), window):
                waiting = {os.urandom(size) for size in sizes[start : start + window]}
                for data in waiting:
                    sender.sendto(data, (theirs, port))
                while waiting:
                    try:
                        waiting.remove(sender.recv(65535))
                        returned += 1
                    except (TimeoutError, KeyError):
                        break
                missing += len(waiting)
        finally:
            stopping.set()
            thread.join(5)
    return returned, missing
