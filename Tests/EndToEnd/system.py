# SPDX-License-Identifier: Apache-2.0
"""The Linux pieces that the end-to-end tests are made of: network namespaces, links, captures, processes.

Everything created here is registered with a Cleanup, which undoes it in reverse order on every way
out: the end of a `with` block, an exception, SIGINT, SIGTERM, SIGHUP, a time limit, or interpreter exit.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from frames import Captured

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
_T = TypeVar("_T")


class SetupError(RuntimeError):
    """The test bed could not be built; the text says what to do about it."""


# --- interruption and cleanup ------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """A signal that ends the program asked us to stop; `status` is the shell's exit status for it."""

    def __init__(self, number: int) -> None:
        name = "time limit reached" if number == signal.SIGALRM else signal.Signals(number).name
        super().__init__(name)
        self.status = 128 + number


def interrupt_on_signals(time_limit: int) -> None:
    """Turn terminating signals, and a run longer than `time_limit` seconds, into Interrupted."""

    def handler(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, handler)
    signal.alarm(time_limit)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals wait, also in programs that are started, until this ends."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


class Cleanup:
    """A stack of things to undo. Undoing goes on when one step fails, and cannot be interrupted."""

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        atexit.register(self.close)

    def add(self, step: Callable[[], object]) -> None:
        """Register a step; the last one registered is the first one done."""
        self._steps.append(step)

    def close(self) -> None:
        """Undo everything. May be called again; then it does what has been added since."""
        with uninterrupted():
            while self._steps:
                step = self._steps.pop()
                with contextlib.suppress(Exception):
                    step()
            atexit.unregister(self.close)


def wait_until(condition: Callable[[], _T], seconds: float, interval: float = 0.02) -> _T:
    """Call `condition` until what it returns is true, or the time is over; return its last answer."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer or time.monotonic() >= deadline:
            return answer
        time.sleep(interval)


# --- processes ---------------------------------------------------------------------------------


def run(*arguments: str, timeout: float = 20) -> str:
    """Run a command to its end and return its output; SetupError if it fails."""
    try:
        result = subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        raise SetupError(f"{arguments[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"`{' '.join(arguments)}` did not end within {timeout:g} s") from error
    if result.returncode != 0:
        raise SetupError(f"`{' '.join(arguments)}` failed with {result.returncode}: {result.stdout.strip()}")
    return result.stdout


def spawn(
    arguments: Sequence[str], *, namespace: str | None = None, output: Path | None = None
) -> subprocess.Popen[str]:
    """
    Start a command in the background, in a namespace if one is given.

    It gets a session of its own, so that Ctrl-C at the terminal reaches only this program, which then
    ends its children in order; should this program die without a chance to do so, the kernel ends them.
    Output (both streams) goes to the file, or to a pipe.
    """
    command = list(arguments)
    if namespace is not None:
        command = ["ip", "netns", "exec", namespace, *command]
    if shutil.which("setpriv"):
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(output.open("ab")) if output else subprocess.PIPE
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def end(process: subprocess.Popen[str], *, patience: float = 5, number: int = signal.SIGTERM) -> int | None:
    """End a process that spawn() started. Returns its status, or None if it had to be killed."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(patience)
            return None
    return process.returncode


# --- namespaces and links ----------------------------------------------------------------------


def add_namespace(name: str, cleanup: Cleanup, *, ipv6: bool = False) -> None:
    """
    Create a network namespace without IPv6, so that nothing but the test's own frames is ever sent.

    With `ipv6` links get addresses, which are used at once (no duplicate address detection), and no router
    is asked for.
    """
    with uninterrupted():
        run("ip", "netns", "add", name)
        cleanup.add(lambda: run("ip", "netns", "delete", name))
    for scope in ("all", "default"):
        for setting, value in (("accept_ra", 0), ("accept_dad", 0)) if ipv6 else (("disable_ipv6", 1),):
            set_ipv6(name, scope, setting, value)
    run("ip", "-netns", name, "link", "set", "lo", "up")


def without_ipv6() -> str | None:
    """Why IPv6 cannot be used here, or None."""
    return None if Path("/proc/sys/net/ipv6").is_dir() else "this kernel has no IPv6"


def set_ipv6(namespace: str, interface: str, setting: str, value: int) -> None:
    """Set net.ipv6.conf.INTERFACE.SETTING in a namespace, if this kernel has it."""
    with inside(namespace):
        path = Path(f"/proc/sys/net/ipv6/conf/{interface}/{setting}")
        if path.exists():
            path.write_text(str(value))


def get_ipv6(namespace: str, interface: str, setting: str) -> int:
    """Read net.ipv6.conf.INTERFACE.SETTING in a namespace."""
    with inside(namespace):
        return int(Path(f"/proc/sys/net/ipv6/conf/{interface}/{setting}").read_text())


def namespaces(prefix: str) -> list[str]:
    """The names of existing network namespaces that begin with `prefix`."""
    return sorted(path.name for path in _NAMESPACES.glob(f"{prefix}*")) if _NAMESPACES.is_dir() else []


def remove_leftovers(pattern: re.Pattern[str]) -> None:
    """Delete namespaces of runs that were killed: `pattern` finds the process id in the name."""
    for name in namespaces(""):
        match = pattern.match(name)
        if match and not Path(f"/proc/{match.group(1)}").exists():
            with contextlib.suppress(SetupError):
                run("ip", "netns", "delete", name)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread see the network of `namespace`. Sockets made inside stay there for ever."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(_NAMESPACES / namespace, "rb") as away:
        _set_namespace(away.fileno())
        try:
            yield
        finally:
            _set_namespace(home.fileno())


def _set_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


class _EthtoolValue(ctypes.Structure):
    _fields_ = [("command", ctypes.c_uint32), ("data", ctypes.c_uint32)]


def disable_offloads(namespace: str, interface: str) -> None:
    """
    Switch checksum, segmentation and receive offloads of a link off, as `ethtool -K` does.

    A link that leaves checksums to "the hardware" would hand frames with unfinished checksums to a
    forwarder, which is right to pass them on as they are. What a link does not have is ignored.
    """
    set_commands = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)  # ETHTOOL_{SRXCSUM,STXCSUM,SSG,STSO,SGSO,SGRO}
    with inside(namespace):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with control:
        for command in set_commands:
            value = _EthtoolValue(command, 0)
            request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
            with contextlib.suppress(OSError):
                fcntl.ioctl(control.fileno(), 0x8946, request)  # SIOCETHTOOL


def link_flags(namespace: str, interface: str) -> int:
    """The IFF_* flags of a link; 0 if there is no such link."""
    with inside(namespace):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with control:
        try:
            answer = fcntl.ioctl(control.fileno(), 0x8913, struct.pack("16s24x", interface.encode()))  # SIOCGIFFLAGS
        except OSError:
            return 0
    (flags,) = struct.unpack("16xH22x", answer)
    return int(flags)


IFF_UP = 0x1


def snmp_counter(namespace: str, protocol: str, counter: str) -> int:
    """A counter of the kernel's IP stack in a namespace, for example ("Icmp", "InEchos")."""
    with inside(namespace):
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith(protocol + ":"))
    return int(values[names.index(counter)])


def snmp6_counter(namespace: str, counter: str) -> int:
    """A counter of the kernel's IPv6 stack in a namespace, for example "Icmp6InEchos"; 0 without IPv6."""
    with inside(namespace):
        path = Path("/proc/thread-self/net/snmp6")
        lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) for line in lines if line.split()[0] == counter), 0)


# --- captures ----------------------------------------------------------------------------------


class Capture:
    """
    Everything that passes a link, in both directions, from construction to stop().

    A packet socket of our own: unlike a capture program it is certain to be listening when the
    constructor returns.
    """

    def __init__(self, namespace: str, interface: str, cleanup: Cleanup) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((interface, 0x0003))  # ETH_P_ALL
        self._socket.setblocking(False)
        self._frames: list[Captured] = []
        self._stopping = threading.Event()
        self.lost = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        cleanup.add(lambda: self.stop(0))

    def _read(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            if select.select([self._socket], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):  # the link went down, which is reported once
                    self._frames.append(Captured(time.time_ns(), self._socket.recv(65535)))
            elif stopping:
                return

    def snapshot(self) -> list[Captured]:
        """What has been seen so far."""
        return list(self._frames)

    def stop(self, quiet: float = 0.1) -> list[Captured]:
        """Wait for stragglers, stop, and return all frames in order. `lost` says how many the kernel dropped."""
        if self._socket.fileno() >= 0:
            time.sleep(quiet)
            self._stopping.set()
            self._thread.join(5)
            statistics = self._socket.getsockopt(263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS
            self.lost = struct.unpack("II", statistics)[1]
            self._socket.close()
        return self._frames
