#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
End-to-end tests: two real forwarders, machines in network namespaces, real pings and TCP.

They need root, and skip themselves with a reason where namespaces, taps or bridges are not to be had.
`test_end_to_end.py [NAME...]` runs the tests whose names contain one of the words.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accounting import Account
from frames import parse, write_pcap
from nvgre_peer import NvgrePeer
from runner import run_tests
from system import Capture, SetupError, namespaces, run, wait_until
from topology import (
    APUSCTL,
    C_FORWARDER,
    DIRECTORY,
    FABRIC,
    HOSTS,
    MACHINE_MTU,
    MACHINES,
    ROOT,
    SWIFT_FORWARDER,
    UPLINK,
    Lab,
    Machine,
    eal_arguments,
    finish_ping,
    machine,
    machines_of,
    trials,
)
from traffic import Transfer, interface_counters, tshark_fields

_VSIDS = {vm.virtual_subnet_id for vm in MACHINES}


def counter_names() -> list[str]:
    """The counters of struct apus_stats, in its order."""
    fields = re.search(r"struct apus_stats \{(.*?)\n\};", (ROOT / "include/apus/stats.h").read_text(), re.DOTALL)
    return re.findall(r"uint64_t (\w+);", fields[1] if fields else "")


# --- the Simple setup, with the forwarders in either order ----------------------------------------


class _SimpleSetup(unittest.TestCase):
    """All trials are run once, recorded on the underlay; the tests look at what happened from all sides."""

    programs: tuple[Path, Path]
    lab: Lab
    outcomes: list[Any]
    underlay: list[Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.lab = Lab(cls.programs).__enter__()
        cls.addClassCleanup(cls.lab.close)
        capture = cls.lab.capture_underlay()
        cls.outcomes = cls.lab.run_trials(trials())
        cls.underlay = capture.stop()

    def _save(self, frames: Sequence[Any]) -> Path:
        path = self.lab.directory / "underlay.pcap"
        write_pcap(path, frames)
        return path

    def test_pings_are_answered_by_the_right_machine_and_others_by_nobody(self) -> None:
        for outcome in self.outcomes:
            with self.subTest(source=outcome.trial.source.name, to=outcome.trial.address):
                self.assertTrue(outcome.as_expected, f"answered by {outcome.answered_by}\n{outcome.ping.output}")

    def test_underlay_carries_only_arp_and_valid_nvgre(self) -> None:
        mac_of = {host.provider_address: host.mac for host in HOSTS}
        seen = set()
        for captured in self.underlay:
            frame = parse(captured.data)  # verifies lengths, GRE header and checksums
            if frame.arp:
                continue
            if frame.nvgre is None or frame.ip_source is None or frame.ip_destination is None:
                self.fail(f"neither ARP nor NVGRE: {captured.data.hex()}")
            self.assertEqual(frame.source, mac_of[frame.ip_source])
            self.assertEqual(frame.destination, mac_of[frame.ip_destination])
            seen.add(frame.nvgre.vsid)
        self.assertEqual(seen, _VSIDS)

    def test_underlay_as_tshark_sees_it(self) -> None:
        if shutil.which("tshark") is None:
            self.skipTest("tshark is not installed")
        self.check_with_tshark(self.underlay, protocol="icmp")

    def check_with_tshark(self, frames: Sequence[Any], protocol: str) -> None:
        """Let an independent decoder look at each header of each frame."""
        names = ["frame.protocols", "ip.src", "ip.dst", "ip.ttl", "ip.flags.df", "ip.checksum.status"]
        names += ["gre.flags_and_version", "gre.proto", "gre.key", "_ws.malformed"]
        names += [f"{protocol}.checksum.status", f"{protocol}.checksum"]
        carried = 0
        for row in tshark_fields(self._save(frames), names):
            self.assertEqual(row["_ws.malformed"], [], row)
            if row["frame.protocols"] == ["eth:ethertype:arp"]:
                continue
            self.assertTrue(
                row["frame.protocols"][0].startswith("eth:ethertype:ip:gre:eth:ethertype:ip:" + protocol), row
            )
            self.assertEqual({row["ip.src"][0], row["ip.dst"][0]}, {host.provider_address for host in HOSTS}, row)
            self.assertEqual((row["ip.ttl"][0], row["ip.flags.df"][0]), ("128", "1"), row)
            self.assertEqual(row["ip.checksum.status"], ["1", "1"], row)
            # Linux writes 0xffff where the sum is 0 (it does not ask whether it is UDP's); tshark wants 0.
            if row[f"{protocol}.checksum"] != ["0xffff"]:
                self.assertEqual(row[f"{protocol}.checksum.status"], ["1"], row)
            self.assertEqual((row["gre.flags_and_version"], row["gre.proto"]), (["0x2000"], ["0x6558"]), row)
            self.assertIn(int(row["gre.key"][0], 16) >> 8, _VSIDS, row)
            carried += 1
        self.assertGreater(carried, 20)

    def test_routed_packets_lose_one_hop(self) -> None:
        ttls: dict[int, set[int | None]] = {6000: set(), 6001: set()}
        for captured in self.underlay:
            nvgre = parse(captured.data).nvgre
            if nvgre and nvgre.inner.echo and nvgre.inner.echo.is_request and nvgre.vsid in ttls:
                ttls[nvgre.vsid].add(nvgre.inner.ttl)
        self.assertEqual(ttls, {6000: {64}, 6001: {63}})

    def test_provider_addresses_are_resolved_by_arp(self) -> None:
        first_nvgre = next(index for index, frame in enumerate(self.underlay) if parse(frame.data).nvgre)
        packets = [parse(frame.data).arp for frame in self.underlay]
        for host, other in (HOSTS, HOSTS[::-1]):
            asked = [a for a in packets if a and a.operation == 1 and a.target_ip == host.provider_address]
            self.assertTrue(asked, f"nobody asked for {host.provider_address}")
            self.assertEqual({(a.sender_ip, a.sender_mac) for a in asked}, {(other.provider_address, other.mac)})
            told = [a for a in packets if a and a.operation == 2 and a.sender_ip == host.provider_address]
            self.assertEqual({a.sender_mac for a in told}, {host.mac})
            self.assertLess(len(asked), 8, "requests are repeated although they are answered")
        self.assertTrue(any(packets[:first_nvgre]), "NVGRE before any ARP")

    def test_accounting_balances_and_agrees_with_the_kernel(self) -> None:
        for host in HOSTS:
            with self.subTest(host=host.number):
                forwarder = self.lab.forwarders[host.number]
                account = Account.from_json(forwarder.statistics())
                self.assertEqual(account.faults(), [])
                self.assertEqual(account.totals["held"], 0)
                for vm in machines_of(host.number):
                    received, sent = interface_counters(self.lab.namespace(vm.name), vm.port)
                    port = account.ports[vm.port]
                    self.assertEqual((port["transmitted"], port["received"]), (received, sent), vm.name)

    def test_every_counter_is_told(self) -> None:
        for forwarder in self.lab.forwarders.values():
            self.assertEqual(list(forwarder.statistics()["totals"]), counter_names(), forwarder.program.name)

    def test_drops_have_the_right_reasons(self) -> None:
        first, second = (Account.from_json(self.lab.forwarders[number].statistics()) for number in (1, 2))
        self.assertGreaterEqual(first.drops.get("CUSTOMER_ROUTE_MISSING", 0), 4)
        self.assertGreaterEqual(second.drops.get("ARP_UNANSWERED", 0), 1)
        for account in (first, second):
            unexpected = {name for name, count in account.drops.items() if count}
            unexpected -= {"CUSTOMER_ROUTE_MISSING", "ARP_UNANSWERED"}
            self.assertEqual(unexpected, set())

    def test_largest_packet_crosses_the_tunnel_unfragmented(self) -> None:
        largest = MACHINE_MTU - 28
        for target in ("Contoso3", "Contoso4"):
            result = self.lab.ping(
                machine("Contoso1"), machine(target).address, options=("-M", "do", "-s", str(largest))
            )
            self.assertEqual((result.sent, result.received), (3, 3), result.output)

    def test_path_mtu_is_learned_and_packets_without_df_are_fragmented(self) -> None:
        """A machine that believes in 1500 bytes: the gateway tells it better, and what it must not know is cut for it."""
        source, target = machine("Contoso1"), machine("Contoso3")
        link = ("ip", "-netns", self.lab.namespace(source.name), "link", "set", source.port, "mtu")
        run(*link, "1500")
        try:
            cut = self.lab.ping(source, target.address, options=("-M", "dont", "-s", "3000"))
            self.assertEqual((cut.sent, cut.received), (3, 3), cut.output)
            told = self.lab.ping(source, target.address, options=("-M", "do", "-s", "1472"))
            self.assertEqual(told.received, 0, told.output)
            self.assertRegex(told.output, rf"(?i)from 10\.0\.1\.1 .*mtu ?= ?{MACHINE_MTU}")
            transfer = Transfer(self.lab, source, target, 1 << 20, source_port=40002, port=5003)
            sent, received, error = transfer.finish()
            self.assertIsNone(error)
            self.assertEqual(sent, received)
        finally:
            run(*link, str(MACHINE_MTU))
        account = Account.from_json(self.lab.forwarders[1].statistics())
        self.assertEqual(account.faults(), [])
        self.assertGreaterEqual(account.totals["icmp_errors"], 1)
        self.assertGreaterEqual(account.totals["fragmented"], 3)

    def test_time_exceeded_comes_from_the_gateway(self) -> None:
        expired = self.lab.ping(machine("Contoso1"), machine("Contoso4").address, options=("-t", "1"))
        self.assertEqual(expired.received, 0, expired.output)
        self.assertRegex(expired.output, r"From 10\.0\.1\.1 .*Time to live exceeded")

    def test_tenants_see_nothing_of_each_other(self) -> None:
        """Both tenants talk at the same time, with marked payloads; nobody sees a mark, or an ARP, of the other."""
        marks = {"Contoso": b"\xc0\x57" * 8, "Woodgrove": b"\x3d\x6e" * 8}
        captures: dict[str, Capture] = {vm.name: self.lab.capture(vm.name, vm.port) for vm in MACHINES}
        running = []
        for tenant, mark in marks.items():
            for number, address in (("1", "10.0.1.103"), ("1", "10.0.1.102"), ("3", "10.0.1.102")):
                source = machine(tenant + number)
                running.append(self.lab.start_ping(source, address, count=5, options=("-p", mark.hex())))
        running.append(self.lab.start_ping(machine("Contoso1"), "10.0.1.198", count=2, wait=1))
        running.append(self.lab.start_ping(machine("Woodgrove1"), "10.0.1.197", count=2, wait=1))
        results = [finish_ping(process) for process in running]
        seen = {name: [captured.data for captured in capture.stop()] for name, capture in captures.items()}
        for result in results[:-2]:
            self.assertEqual((result.sent, result.received), (5, 5), result.output)
        for vm in MACHINES:
            own, other = marks[vm.tenant], next(mark for tenant, mark in marks.items() if tenant != vm.tenant)
            if vm.name[-1] in "123":
                self.assertTrue(any(own in data for data in seen[vm.name]), f"{vm.name} saw nothing at all")
            self.assertFalse(any(other in data for data in seen[vm.name]), f"{vm.name} saw a frame of the other tenant")

        def asked(name: str, address: str) -> bool:
            frames = (parse(data) for data in seen[name])
            return any(frame.arp and frame.arp.target_ip == address for frame in frames)

        self.assertTrue(asked("Contoso2", "10.0.1.198"), "ARP for an unknown address reaches the subnet's machines")
        self.assertTrue(asked("Woodgrove2", "10.0.1.197"))
        for name in ("Woodgrove1", "Woodgrove2", "Woodgrove3", "Woodgrove4"):
            self.assertFalse(asked(name, "10.0.1.198"), f"{name} saw Contoso's ARP")
        for name in ("Contoso1", "Contoso2", "Contoso3", "Contoso4"):
            self.assertFalse(asked(name, "10.0.1.197"), f"{name} saw Woodgrove's ARP")

    def test_tcp_of_both_tenants_with_the_same_addresses_and_ports(self) -> None:
        capture = self.lab.capture_underlay()
        transfers = [
            Transfer(self.lab, machine(f"{tenant}1"), machine(f"{tenant}3"), 4 << 20, source_port=40000, port=5001)
            for tenant in ("Contoso", "Woodgrove")
        ]
        for transfer in transfers:
            sent, received, error = transfer.finish()
            self.assertIsNone(error)
            self.assertEqual(sent, received)
        frames = capture.stop()
        self.assertLessEqual(max(len(frame.data) for frame in frames), 14 + 1500)
        if shutil.which("tshark"):
            self.check_with_tshark(frames, protocol="tcp")

    def test_tcp_to_another_virtual_subnet(self) -> None:
        transfer = Transfer(self.lab, machine("Contoso4"), machine("Contoso2"), 1 << 20, source_port=40001, port=5002)
        sent, received, error = transfer.finish()
        self.assertIsNone(error)
        self.assertEqual(sent, received)


class SwiftAndC(_SimpleSetup):
    """Host 1 runs the Swift forwarder, Host 2 the C forwarder."""

    programs = (SWIFT_FORWARDER, C_FORWARDER)


class CAndSwift(_SimpleSetup):
    """Host 1 runs the C forwarder, Host 2 the Swift forwarder."""

    programs = (C_FORWARDER, SWIFT_FORWARDER)


# --- the end of a forwarder ------------------------------------------------------------------------


class Stopping(unittest.TestCase):
    """A forwarder that gets SIGTERM or SIGINT in the middle of traffic ends cleanly and says where all went."""

    def _stop(self, programs: tuple[Path, Path]) -> None:
        with Lab(programs) as lab:
            source = machine("Contoso1")
            flood = lab.start_ping(source, "10.0.1.103", count=2000, options=("-i", "0.002", "-q"))
            time.sleep(0.7)
            for host, number in zip(HOSTS, (signal.SIGTERM, signal.SIGINT)):
                forwarder = lab.forwarders[host.number]
                before = len(forwarder.output())
                stopped = forwarder.stop(number)
                what = f"{forwarder.program.name} after {signal.Signals(number).name}"
                self.assertEqual(stopped.status, 0, f"{what}:\n{stopped.output[-2000:]}")
                self.assertLess(stopped.seconds, 5, what)
                final = stopped.output[before:]
                for counter in counter_names():
                    self.assertIn(counter.replace("_", " ") + " ", final, f"{what}: no final accounting of {counter}")
                self.assertFalse(forwarder.control.exists(), f"{what}: the control socket is left behind")
            flood.terminate()

    def test_swift_on_sigterm_and_c_on_sigint(self) -> None:
        self._stop((SWIFT_FORWARDER, C_FORWARDER))

    def test_c_on_sigterm_and_swift_on_sigint(self) -> None:
        self._stop((C_FORWARDER, SWIFT_FORWARDER))

    def test_remote_host_that_does_not_exist(self) -> None:
        """Packets for a host that nobody answers for are bounded, asked for at a bounded rate, and accounted for."""
        with Lab((SWIFT_FORWARDER, None)) as lab:
            lab.attach(lab.namespace("observer"), "observer", UPLINK)
            capture = lab.capture("observer", UPLINK)
            result = lab.ping(machine("Contoso1"), "10.0.1.103", count=20, wait=1)
            self.assertEqual(result.received, 0, result.output)
            requests = [parse(frame.data).arp for frame in capture.stop()]
            self.assertTrue(requests)
            self.assertLess(len(requests), 10)
            self.assertEqual({(a.operation, a.target_ip) for a in requests if a}, {(1, "192.168.0.33")})
            account = Account.from_json(lab.forwarders[1].statistics())
            self.assertEqual(account.faults(), [])


# --- command lines -----------------------------------------------------------------------------


class CommandLine(unittest.TestCase):
    """What the forwarders say before any frame moves."""

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False
        )

    def test_help_needs_no_eal(self) -> None:
        for program in (SWIFT_FORWARDER, C_FORWARDER):
            for arguments in (["--help"], ["--", "--help"]):
                with self.subTest(program=program.name, arguments=arguments):
                    result = self._run(str(program), *arguments)
                    self.assertEqual(result.returncode, 0, result.stdout)
                    for word in ("--policy", "--stats", "--control"):
                        self.assertIn(word, result.stdout)
                    self.assertNotIn("EAL:", result.stdout)

    def _refused(self, text: str, line: int, *words: str) -> None:
        with tempfile.TemporaryDirectory(prefix="apus-") as directory:
            policy = Path(directory) / "wrong.yaml"
            policy.write_text(text)
            for program in (SWIFT_FORWARDER, C_FORWARDER):
                with self.subTest(program=program.name):
                    eal = eal_arguments(0, f"apus-{os.getpid()}-cl")
                    result = self._run(str(program), *eal, "--", "--policy", str(policy))
                    self.assertNotEqual(result.returncode, 0)
                    self.assertGreaterEqual(result.returncode, 0, "killed by a signal")
                    self.assertIn(f"wrong.yaml:{line}:", result.stdout)
                    for word in words:
                        self.assertIn(word, result.stdout)

    def test_wrong_policies_are_refused_with_file_and_line(self) -> None:
        good = HOSTS[0].policy.read_text()
        lines = good.splitlines()
        line = next(number for number, text in enumerate(lines, 1) if "provider_address: 192.168.0.22" in text)
        # The provider MAC address as the book prints it: a group address.
        self._refused(good.replace("32:44:55:66:77:88", "33:44:55:66:77:88"), line, "mac", "33:44:55:66:77:88")
        line = next(number for number, text in enumerate(lines, 1) if "name: contoso2" in text)
        wrong = good.replace("device: net_tap1, virtual_subnet_id: 6000", "device: net_tap1, virtual_subnet_id: 17")
        self._refused(wrong, line, "virtual_subnet_id", "17", "4096")
        wrong = good.replace("name: contoso2, kind: vm", "name: contoso2, kind: vn")
        self._refused(wrong, line, "kind", "vn")

    def test_missing_policy_is_an_error(self) -> None:
        for program in (SWIFT_FORWARDER, C_FORWARDER):
            with self.subTest(program=program.name):
                eal = eal_arguments(0, f"apus-{os.getpid()}-cl")
                result = self._run(str(program), *eal, "--", "--policy", "/nonexistent/policy.yaml")
                self.assertGreater(result.returncode, 0, result.stdout)
                self.assertIn("/nonexistent/policy.yaml", result.stdout)


# --- peers that are not Apus ------------------------------------------------------------------------


class ForeignPeer(unittest.TestCase):
    """Host 2 is replaced by an NVGRE endpoint of other origin, which matches all 32 bits of the GRE key."""

    def _lab(self, program: Path) -> Lab:
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="apus-"))
        policy = Path(directory) / "host1.yaml"
        policy.write_text(HOSTS[0].policy.read_text() + "\nsettings:\n  flow_id_zero: true\n")
        lab = self.enterContext(Lab((program, None), policies=(policy, HOSTS[1].policy)))
        namespace = lab.namespace("peer")
        lab.attach(namespace, "peer", UPLINK)
        return lab

    def _configure(self, lab: Lab, vm: Machine) -> None:
        """Give the peer's tunnel interface the identity of a machine, and static neighbours."""
        tool = ("ip", "-netns", lab.namespace("peer"))
        run(*tool, "link", "set", vm.port, "address", vm.mac, "mtu", str(MACHINE_MTU))
        run(*tool, "address", "add", f"{vm.address}/24", "dev", vm.port)
        run(*tool, "link", "set", vm.port, "up")
        for neighbour in ("Contoso1", "Contoso2"):
            other = machine(neighbour)
            run(*tool, "neighbour", "add", other.address, "lladdr", other.mac, "dev", vm.port, "nud", "permanent")

    def _converse(self, lab: Lab, vm: Machine) -> None:
        capture = lab.capture(FABRIC, "host1")
        first = lab.ping(machine("Contoso1"), vm.address, count=4)
        result = lab.ping(machine("Contoso1"), vm.address, count=5)
        self.assertEqual((result.sent, result.received), (5, 5), first.output + result.output)
        from_peer = subprocess.run(
            ["ip", "netns", "exec", lab.namespace("peer"), "ping", "-n", "-c", "5", "-i", "0.2", "-W", "2"]
            + ["-M", "do", "-s", str(MACHINE_MTU - 28), machine("Contoso2").address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=20,
            check=False,
        )
        self.assertIn("5 packets transmitted, 5 received", from_peer.stdout)
        keys = {frame.nvgre.key for frame in (parse(captured.data) for captured in capture.stop()) if frame.nvgre}
        self.assertEqual(keys, {vm.virtual_subnet_id << 8})
        self.assertEqual(Account.from_json(lab.forwarders[1].statistics()).faults(), [])

    def _endpoint_written_from_the_rfc(self, program: Path) -> None:
        lab = self._lab(program)
        vm, host = machine("Contoso3"), HOSTS[1]
        peer = NvgrePeer(
            lab.namespace("peer"),
            tap=vm.port,
            uplink=UPLINK,
            mac=host.mac,
            address=host.provider_address,
            remote=HOSTS[0].provider_address,
            vsid=vm.virtual_subnet_id,
            cleanup=lab.cleanup,
        )
        self._configure(lab, vm)
        self._converse(lab, vm)
        self.assertEqual([text for text in peer.refused if not text.startswith("system")], [])

    def test_endpoint_written_from_the_rfc_and_swift(self) -> None:
        self._endpoint_written_from_the_rfc(SWIFT_FORWARDER)

    def test_endpoint_written_from_the_rfc_and_c(self) -> None:
        self._endpoint_written_from_the_rfc(C_FORWARDER)

    def test_linux_gretap(self) -> None:
        lab = self._lab(C_FORWARDER)
        vm, host = machine("Contoso3"), HOSTS[1]
        tool = ("ip", "-netns", lab.namespace("peer"))
        run(*tool, "link", "set", UPLINK, "down")
        run(*tool, "link", "set", UPLINK, "address", host.mac)
        run(*tool, "link", "set", UPLINK, "up")
        run(*tool, "address", "add", f"{host.provider_address}/24", "dev", UPLINK)
        tunnel = ("type", "gretap", "local", host.provider_address, "remote", HOSTS[0].provider_address)
        try:
            run(*tool, "link", "add", vm.port, *tunnel, "key", str(vm.virtual_subnet_id << 8), "ttl", "64")
        except SetupError as error:
            self.skipTest(f"this kernel has no gretap ({str(error).rsplit(': ', 1)[-1]})")
        self._configure(lab, vm)
        self._converse(lab, vm)


# --- the demonstration -------------------------------------------------------------------------


class Demonstration(unittest.TestCase):
    """`make demo` itself: offline without root, and interrupted by Ctrl-C."""

    def test_replay_tells_the_same_story_without_root(self) -> None:
        if not APUSCTL.exists():
            self.fail(f"{APUSCTL} does not exist")
        nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}

        def works(python: str) -> bool:
            try:
                probe = [python, "-c", f"open({str(DIRECTORY / 'demo.py')!r}); open({str(APUSCTL)!r}, 'rb')"]
                return (
                    subprocess.run(probe, stderr=subprocess.DEVNULL, timeout=20, check=False, **nobody).returncode == 0
                )
            except OSError:
                return False

        python = next((path for path in (sys.executable, "/usr/bin/python3") if works(path)), None)
        if python is None:
            self.skipTest("an unprivileged user cannot read this directory or run Python here")
        result = subprocess.run(
            [python, "-B", str(DIRECTORY / "demo.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            **nobody,
        )
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("replay", result.stdout)
        self.assertNotIn("WRONG", result.stdout)

    def _interrupt(self, moment: str, number: signal.Signals) -> None:
        """Send a signal to the demonstration as soon as a certain namespace exists."""
        demo = subprocess.Popen(
            [sys.executable, "-B", str(DIRECTORY / "demo.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        prefix = f"apus-{demo.pid}-"
        try:
            wait_until(lambda: prefix + moment in namespaces(prefix) or demo.poll() is not None, 40, 0.005)
            os.killpg(demo.pid, number)
            output, _ = demo.communicate(timeout=20)
        finally:
            if demo.poll() is None:
                demo.kill()
                demo.communicate()
        self.assertEqual(demo.returncode, 128 + number, output)
        self.assertIn("cleaned up", output)
        self.assertEqual(namespaces(prefix), [])
        self.assertEqual(list(Path(tempfile.gettempdir()).glob(prefix + "*")), [])
        self.assertEqual(list(Path("/var/run/dpdk").glob(prefix + "*")), [])
        self.assertEqual(self._processes(prefix), [])

    def test_ctrl_c_while_building_cleans_up(self) -> None:
        self._interrupt("host1", signal.SIGINT)

    def test_sigterm_while_running_cleans_up(self) -> None:
        self._interrupt("woodgrove4", signal.SIGTERM)

    @staticmethod
    def _processes(prefix: str) -> list[str]:
        """Command lines of running processes that name the prefix."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if prefix in command:
                found.append(command)
        return found


# --- the policies ------------------------------------------------------------------------------


class Policies(unittest.TestCase):
    """The policy files and the model of the setup say the same."""

    def test_policy_files_describe_the_model(self) -> None:
        for host in HOSTS:
            lines = host.policy.read_text().splitlines()
            for index, vm in enumerate(machines_of(host.number)):
                port = f"name: {vm.port}, kind: vm, device: net_tap{index}, virtual_subnet_id: {vm.virtual_subnet_id}"
                self.assertEqual(sum(port in line and vm.mac in line for line in lines), 1, vm.name)
            self.assertTrue(any(host.provider_address in line and host.mac in line for line in lines))
            for vm in MACHINES:
                parts = [f"customer_address: {vm.address},", f"virtual_subnet_id: {vm.virtual_subnet_id},", vm.mac]
                parts += [HOSTS[vm.host - 1].provider_address, f"vm_name: {vm.name}}}"]
                self.assertEqual(sum(all(part in line for part in parts) for line in lines), 1, vm.name)


# --- running -----------------------------------------------------------------------------------


if __name__ == "__main__":
    sys.exit(
        run_tests(
            "end-to-end tests",
            (Policies, CommandLine, SwiftAndC, CAndSwift, Stopping, ForeignPeer, Demonstration),
            time_limit=600,
        )
    )
