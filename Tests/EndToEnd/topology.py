# SPDX-License-Identifier: Apache-2.0
"""
The "Simple setup" of Hyper-V Network Virtualization, twice over: two tenants on the same two hosts.

The model (MACHINES, HOSTS) describes it; Lab builds it for real. Every machine and every host is a Linux
network namespace:

    machine --- tap --- forwarder --- af_packet --- veth --- bridge --- veth --- ... the other host

The policies of the two hosts are the files policies/host1.yaml and policies/host2.yaml.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frames import NVGRE_OVERHEAD
from system import (
    IFF_UP,
    Capture,
    Cleanup,
    SetupError,
    add_namespace,
    disable_offloads,
    end,
    link_flags,
    remove_leftovers,
    run,
    snmp6_counter,
    snmp_counter,
    spawn,
    wait_until,
)

DIRECTORY = Path(__file__).resolve().parent
ROOT = DIRECTORY.parent.parent
BINARIES = ROOT / "build" / "bin"
SWIFT_FORWARDER = BINARIES / "apus-forwarder"
C_FORWARDER = BINARIES / "apus-forwarder-c"
APUSCTL = BINARIES / "apusctl"

UNDERLAY_MTU = 1500
MACHINE_MTU = UNDERLAY_MTU - NVGRE_OVERHEAD
UPLINK = "uplink"
FABRIC = "fabric"


# --- the model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """A virtual machine: one adapter in one virtual subnet of one tenant."""

    name: str
    tenant: str
    host: int
    virtual_subnet_id: int
    address: str
    mac: str

    @property
    def port(self) -> str:
        """The name of its port in the policy, and of its network interface."""
        return self.name.lower()

    @property
    def gateway(self) -> str:
        """The default gateway of its /24: the first address."""
        return self.address.rsplit(".", 1)[0] + ".1"

    @property
    def prefix6(self) -> str:
        """The IPv6 prefix of its virtual subnet; like the IPv4 one, it may be another tenant's too."""
        return f"2001:db8:{self.address.split('.')[2]}::/64"

    @property
    def address6(self) -> str:
        """Its IPv6 address: 2001:db8:1::101 beside 10.0.1.101."""
        return self.prefix6.removesuffix("/64") + self.address.split(".")[3]

    @property
    def gateway6(self) -> str:
        """The IPv6 gateway: the first address of the prefix."""
        return self.prefix6.removesuffix("/64") + "1"

    def address_of(self, family: int) -> str:
        """Its address of family 4 or 6."""
        return self.address6 if family == 6 else self.address

    def gateway_of(self, family: int) -> str:
        """Its gateway of family 4 or 6."""
        return self.gateway6 if family == 6 else self.gateway


@dataclass(frozen=True)
class Host:
    """A virtualization host: one forwarder process with one provider address."""

    number: int
    provider_address: str
    mac: str

    @property
    def provider_address6(self) -> str:
        """Its IPv6 provider address: 2001:db8:a::22 beside 192.168.0.22."""
        return "2001:db8:a::" + self.provider_address.split(".")[3]

    def provider_address_of(self, family: int) -> str:
        """Its provider address of family 4 or 6."""
        return self.provider_address6 if family == 6 else self.provider_address

    @property
    def policy(self) -> Path:
        """The policy file of this host."""
        return DIRECTORY / "policies" / f"host{self.number}.yaml"


HOSTS = (
    Host(1, "192.168.0.22", "32:44:55:66:77:88"),
    Host(2, "192.168.0.33", "44:55:66:77:88:99"),
)

MACHINES = (
    Machine("Contoso1", "Contoso", 1, 6000, "10.0.1.101", "60:00:60:00:01:01"),
    Machine("Contoso2", "Contoso", 1, 6000, "10.0.1.102", "60:00:60:00:01:02"),
    Machine("Woodgrove1", "Woodgrove", 1, 7000, "10.0.1.101", "60:00:60:00:01:01"),
    Machine("Woodgrove2", "Woodgrove", 1, 7000, "10.0.1.102", "60:00:60:00:01:02"),
    Machine("Contoso3", "Contoso", 2, 6000, "10.0.1.103", "60:00:60:00:02:03"),
    Machine("Contoso4", "Contoso", 2, 6001, "10.0.2.104", "60:01:60:01:02:04"),
    Machine("Woodgrove3", "Woodgrove", 2, 7000, "10.0.1.103", "60:00:60:00:02:03"),
    Machine("Woodgrove4", "Woodgrove", 2, 7001, "10.0.3.104", "60:01:60:01:02:04"),
)

TENANTS = ("Contoso", "Woodgrove")

#: What the book's setup has besides: a host for the gateway alone, the gateway, and the physical host behind it.
GATEWAY_HOST = Host(3, "192.168.0.11", "22:33:44:55:66:77")
GATEWAY = Machine("MT-GW", "Contoso", 3, 6001, "10.0.2.2", "60:01:60:01:03:01")
PHYSICAL = Machine("Physical", "Contoso", 0, 0, "10.1.3.100", "00:15:5d:00:00:64")


def machine(name: str) -> Machine:
    """The machine of that name."""
    return next(candidate for candidate in MACHINES if candidate.name == name)


def machines_of(host: int, machines: Sequence[Machine] = MACHINES) -> list[Machine]:
    """The machines of a host, in the order of its taps: net_tap0, net_tap1, ..."""
    return [candidate for candidate in machines if candidate.host == host]


@dataclass(frozen=True)
class Trial:
    """A ping that shows something: who asks for which address, and who must answer, if anybody."""

    source: Machine
    address: str
    shows: str
    answers: str | None

    @property
    def must_work(self) -> bool:
        """True if answers are expected."""
        return self.answers is not None


def trials(family: int = 4) -> list[Trial]:
    """The pings of the demonstration and of the tests, between addresses of family 4 or 6."""
    result = []
    for tenant in TENANTS:
        first, second, third, fourth = (machine(f"{tenant}{number}") for number in (1, 2, 3, 4))
        result += [
            Trial(first, first.gateway_of(family), "its default gateway", "gateway"),
            Trial(first, second.address_of(family), "same host", second.name),
            Trial(first, third.address_of(family), "other host", third.name),
            Trial(first, fourth.address_of(family), "other host, other virtual subnet", fourth.name),
            Trial(third, second.address_of(family), "other host, the other way", second.name),
            Trial(fourth, fourth.gateway_of(family), "its default gateway, Host 2", "gateway"),
        ]
    nobody = "2001:db8:1::199" if family == 6 else "10.0.1.199"
    contoso, woodgrove = machine("Contoso1"), machine("Woodgrove1")
    result += [
        Trial(contoso, machine("Woodgrove4").address_of(family), "only Woodgrove has this address", None),
        Trial(woodgrove, machine("Contoso4").address_of(family), "only Contoso has this address", None),
        Trial(contoso, nobody, "nobody has this address", None),
        Trial(machine("Woodgrove3"), nobody, "nobody has this address", None),
    ]
    return result


# --- results -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PingResult:
    """What a ping reported."""

    sent: int
    received: int
    milliseconds: float | None
    output: str

    @classmethod
    def parse(cls, output: str) -> PingResult:
        """Read the summary of ping(8)."""
        counts = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        times = re.search(r"rtt min/avg/max/mdev = [\d.]+/([\d.]+)/", output)
        sent, received = (int(counts[1]), int(counts[2])) if counts else (0, 0)
        return cls(sent, received, float(times[1]) if times else None, output)


@dataclass(frozen=True)
class Outcome:
    """A trial and what came of it. `answered_by` names the machines whose kernel saw the requests."""

    trial: Trial
    ping: PingResult
    answered_by: tuple[str, ...]

    @property
    def as_expected(self) -> bool:
        """True if exactly the right machine answered every request, or nobody did where nobody may."""
        if not self.trial.must_work:
            return self.ping.sent > 0 and self.ping.received == 0 and not self.answered_by
        expected = () if self.trial.answers == "gateway" else (self.trial.answers,)
        return 0 < self.ping.sent == self.ping.received and self.answered_by == expected


@dataclass(frozen=True)
class Stopped:
    """How a forwarder ended."""

    status: int | None
    seconds: float
    output: str


# --- the real thing ----------------------------------------------------------------------------


class Forwarder:
    """A running forwarder process."""

    def __init__(self, program: Path, namespace: str, arguments: Sequence[str], log: Path, control: Path) -> None:
        self.program = program
        self.log = log
        self.control = control
        self.process = spawn([str(program), *arguments], namespace=namespace, output=log)

    def output(self) -> str:
        """Everything that it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def check_alive(self) -> None:
        """SetupError, with its last words, if it has ended."""
        if self.process.poll() is not None:
            tail = "\n".join("    " + line for line in self.output().splitlines()[-25:])
            raise SetupError(f"{self.program.name} ended with {self.process.returncode}:\n{tail}")

    def statistics(self) -> dict[str, Any]:
        """The counters, from the control socket."""
        return control_request(self.control, "stats")

    def stop(self, number: int = signal.SIGTERM) -> Stopped:
        """Send a signal, wait for the end (5 s at most; then it is killed and the status is None)."""
        start = time.monotonic()
        status = end(self.process, number=number)
        return Stopped(status, time.monotonic() - start, self.output())


def control_request(path: Path, request: str, timeout: float = 5) -> dict[str, Any]:
    """Send one line to a control socket and read the JSON document that it answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout)
        client.connect(str(path))
        client.sendall(request.encode() + b"\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
            try:
                document: dict[str, Any] = json.loads(answer)
                return document
            except json.JSONDecodeError:
                continue
    raise SetupError(f"the control socket answered {answer[:200]!r} to {request!r}")


class Lab:
    """
    Builds the setup and takes it down again. Use it in a `with` block.

    `programs` are the forwarders of the `hosts`; None leaves a host out, so that something else can
    take its place on the bridge (see attach()). `policies` replace the hosts' own policy files. With `ipv6` the
    machines have IPv6 addresses too. `spare_taps` are further taps of the hosts' forwarders, which stay in the hosts'
    namespaces.
    """

    def __init__(
        self,
        programs: Sequence[Path | None] = (SWIFT_FORWARDER, C_FORWARDER),
        *,
        policies: Sequence[Path] = (HOSTS[0].policy, HOSTS[1].policy),
        hosts: Sequence[Host] = HOSTS,
        machines: Sequence[Machine] = MACHINES,
        ipv6: bool = False,
        machine_mtu: int = MACHINE_MTU,
        spare_taps: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        self.hosts = hosts
        self.machines = machines
        self.ipv6 = ipv6
        self.machine_mtu = machine_mtu
        self.spare_taps = spare_taps or {}
        self.prefix = f"apus-{os.getpid()}-"
        self.programs = programs
        self.policies = policies
        self.cleanup = Cleanup()
        self.forwarders: dict[int, Forwarder] = {}
        self.directory = Path()

    def __enter__(self) -> Lab:
        """Build it; what was built is taken down again if that fails."""
        try:
            self._build()
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take it down."""
        self.close()

    def close(self) -> None:
        """Take everything down. May be called again."""
        self.cleanup.close()

    # building

    def namespace(self, name: str) -> str:
        """The full name of the namespace of a machine ("Contoso1"), a host ("host1") or the bridge ("fabric")."""
        return self.prefix + name.lower()

    def host_namespace(self, host: int) -> str:
        """The namespace in which a host's forwarder runs."""
        return self.namespace(f"host{host}")

    def _build(self) -> None:
        check_tools()
        remove_leftovers(re.compile(r"apus-(\d+)-"))
        self.directory = Path(tempfile.mkdtemp(prefix=self.prefix))
        self.cleanup.add(lambda: shutil.rmtree(self.directory, ignore_errors=True))
        self._build_fabric()
        for host, program in zip(self.hosts, self.programs):
            if program is not None:
                self.attach(self.host_namespace(host.number), f"host{host.number}", UPLINK)
                self._start_forwarder(host, program)
        for number, forwarder in self.forwarders.items():
            self._plug_machines(number, forwarder)

    def _build_fabric(self) -> None:
        fabric = self.namespace(FABRIC)
        add_namespace(fabric, self.cleanup)
        run("ip", "-netns", fabric, "link", "add", FABRIC, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        run("ip", "-netns", fabric, "link", "set", FABRIC, "up")

    def attach(self, namespace: str, port: str, interface: str, *, ipv6: bool = False) -> None:
        """Create a namespace whose interface is connected to the bridge by a cable; `port` is the bridge's end."""
        fabric = self.namespace(FABRIC)
        add_namespace(namespace, self.cleanup, ipv6=ipv6)
        cable = ("link", "add", port, "netns", fabric, "type", "veth", "peer", "name", interface, "netns", namespace)
        run("ip", *cable)
        for where, name in ((fabric, port), (namespace, interface)):
            run("ip", "-netns", where, "link", "set", name, "mtu", str(UNDERLAY_MTU))
            disable_offloads(where, name)
        run("ip", "-netns", fabric, "link", "set", port, "master", FABRIC)
        run("ip", "-netns", fabric, "link", "set", port, "up")
        run("ip", "-netns", namespace, "link", "set", interface, "up")

    def _start_forwarder(self, host: Host, program: Path) -> None:
        if not program.exists():
            raise SetupError(f"{program} does not exist; build it first (`make`)")
        cpus = sorted(os.sched_getaffinity(0))
        prefix = f"{self.prefix}{host.number}"
        control = self.directory / f"host{host.number}.sock"
        arguments = eal_arguments(cpus[host.number % len(cpus)], prefix)
        arguments.append(f"--vdev=net_af_packet0,iface={UPLINK}")
        for index, tap in enumerate(self._taps(host.number)):
            arguments.append(f"--vdev=net_tap{index},iface={tap}")
        arguments += ["--", "--policy", str(self.policies[host.number - 1])]
        arguments += ["--control", str(control), "--idle-sleep", "50"]
        log = self.directory / f"host{host.number}.log"
        forwarder = Forwarder(program, self.host_namespace(host.number), arguments, log, control)
        self.cleanup.add(lambda: shutil.rmtree(Path("/var/run/dpdk") / prefix, ignore_errors=True))
        self.cleanup.add(lambda: end(forwarder.process))
        self.forwarders[host.number] = forwarder

    def _taps(self, host: int) -> list[str]:
        """The taps of a host's forwarder, in order."""
        return [vm.port for vm in machines_of(host, self.machines)] + list(self.spare_taps.get(host, ()))

    def _plug_machines(self, host: int, forwarder: Forwarder) -> None:
        """
        Give each machine its tap. The forwarder creates the taps in the namespace of its host, and must have
        started them before they move: it finds them by name, later only by file descriptor.
        """

        def ready() -> bool:
            forwarder.check_alive()
            taps = [link_flags(self.host_namespace(host), tap) for tap in self._taps(host)]
            return forwarder.control.exists() and all(flags & IFF_UP for flags in taps)

        if not wait_until(ready, 30):
            raise SetupError(f"{forwarder.program.name} did not start within 30 s:\n{forwarder.output()[-2000:]}")
        for vm in machines_of(host, self.machines):
            self.plug(vm, self.host_namespace(host))

    def plug(self, vm: Machine, host: str) -> None:
        """Make a machine of a link with its name in a host's namespace."""
        namespace = self.namespace(vm.name)
        add_namespace(namespace, self.cleanup, ipv6=self.ipv6)
        run("ip", "-netns", host, "link", "set", vm.port, "netns", namespace)
        inside = ("ip", "-netns", namespace)
        run(*inside, "link", "set", vm.port, "address", vm.mac, "mtu", str(self.machine_mtu))
        disable_offloads(namespace, vm.port)
        run(*inside, "address", "add", f"{vm.address}/24", "dev", vm.port)
        run(*inside, "link", "set", vm.port, "up")
        run(*inside, "route", "add", "default", "via", vm.gateway)
        if self.ipv6:
            run(*inside, "-6", "address", "add", f"{vm.address6}/64", "dev", vm.port, "nodad")
            run(*inside, "-6", "route", "add", "default", "via", vm.gateway6, "dev", vm.port)

    # using

    def capture(self, where: str, interface: str) -> Capture:
        """Start to record a link; `where` as in namespace()."""
        return Capture(self.namespace(where), interface, self.cleanup)

    def capture_underlay(self) -> Capture:
        """Start to record what Host 1 and the bridge send to each other."""
        return self.capture(FABRIC, "host1")

    def start_ping(
        self, source: Machine, address: str, *, count: int = 3, wait: float = 2, options: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start ping(8) inside a machine."""
        command = ["ping", "-n", "-c", str(count), "-i", "0.2", "-W", f"{wait:g}", *options, address]
        process = spawn(command, namespace=self.namespace(source.name))
        self.cleanup.add(lambda: end(process, patience=1))
        return process

    def ping(self, source: Machine, address: str, **options: Any) -> PingResult:
        """Run ping(8) inside a machine."""
        return finish_ping(self.start_ping(source, address, **options))

    def run_trials(self, chosen: Sequence[Trial]) -> list[Outcome]:
        """
        Run pings, and find out who answered.

        Pings that run at the same time go to different addresses: the trials are dealt out in rounds in which
        no two ask for the same address in the same tenant. Both tenants take part in each round.
        """
        waiting = list(chosen)
        outcomes: dict[int, Outcome] = {}
        while waiting:
            taken: list[Trial] = []
            for trial in waiting:
                if all((trial.source.tenant, trial.address) != (t.source.tenant, t.address) for t in taken):
                    taken.append(trial)
            waiting = [trial for trial in waiting if all(trial is not t for t in taken)]
            for outcome in self._run_round(taken):
                outcomes[id(outcome.trial)] = outcome
        return [outcomes[id(trial)] for trial in chosen]

    def _echo_counters(self) -> dict[str, int]:
        """Echo requests that each machine has seen, of both families."""
        return {
            vm.name: snmp_counter(self.namespace(vm.name), "Icmp", "InEchos")
            + snmp6_counter(self.namespace(vm.name), "Icmp6InEchos")
            for vm in self.machines
        }

    def _owners(self, address: str) -> list[Machine]:
        """The machines of all tenants that have an address."""
        return [vm for vm in self.machines if address in (vm.address, vm.address6)]

    def _run_round(self, chosen: Sequence[Trial]) -> list[Outcome]:
        before = self._echo_counters()
        running = []
        for trial in chosen:
            count, wait = (3, 2) if trial.must_work else (2, 1)
            running.append(self.start_ping(trial.source, trial.address, count=count, wait=wait))
        results = [finish_ping(process) for process in running]
        after = self._echo_counters()

        def unexplained(vm: Machine, trial: Trial) -> bool:
            """True if this machine has seen requests that cannot be those of the other trials of the round."""
            others = (
                result.sent
                for other, result in zip(chosen, results)
                if other is not trial
                and other.source.tenant == vm.tenant
                and other.address in (vm.address, vm.address6)
            )
            return after[vm.name] - before[vm.name] > sum(others)

        return [
            Outcome(
                trial,
                result,
                tuple(vm.name for vm in self._owners(trial.address) if unexplained(vm, trial)),
            )
            for trial, result in zip(chosen, results)
        ]


def finish_ping(process: subprocess.Popen[str], timeout: float = 20) -> PingResult:
    """Wait for a ping and read its summary."""
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process, patience=1)
        output, _ = process.communicate()
    return PingResult.parse(output)


def eal_arguments(cpu: int, prefix: str) -> list[str]:
    """EAL arguments that need neither huge pages nor a NIC, and that leave nothing behind."""
    return [
        "-l",
        str(cpu),
        "--no-huge",
        "-m",
        "256",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "--file-prefix",
        prefix,
    ]


def check_tools() -> None:
    """SetupError if a program or a right that Lab needs is missing."""
    if os.geteuid() != 0:
        raise SetupError("network namespaces and taps need root")
    for tool, package in (("ip", "iproute2"), ("ping", "iputils-ping")):
        if shutil.which(tool) is None:
            raise SetupError(f"{tool} is not installed (Debian package {package})")
    if not Path("/dev/net/tun").exists():
        raise SetupError("this kernel offers no /dev/net/tun")


def missing_for_lab() -> str | None:
    """Why the real setup cannot be built here, or None."""
    try:
        check_tools()
        probe = f"apus-{os.getpid()}-probe"
        run("ip", "netns", "add", probe)
        try:
            run("ip", "-netns", probe, "link", "add", "probe0", "type", "veth", "peer", "name", "probe1")
            run("ip", "-netns", probe, "link", "add", "probe2", "type", "bridge")
        finally:
            run("ip", "netns", "delete", probe)
    except SetupError as error:
        return str(error)
    return None
