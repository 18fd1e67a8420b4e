# SPDX-License-Identifier: Apache-2.0
"""A program that forwards frames between a source and a sink on one core, and takes turns with others on it.

All contenders of a case are there at the same time; one runs, the others are stopped (SIGSTOP). What a turn took is what the
kernel says that the forwarding thread ran: where a core is shared, time that others had on it is nobody's cost.
"""

import os
import pathlib
import signal
import subprocess
import time

from .counters import Counters
from .machine import ROOT
from .program import Refused

PLUGIN = ROOT / "build/benchmarks/dpdk/librte_net_apusbench.so"
SOURCE, SINK = "net_apusbench0", "net_apusbench1"
# Frames that may be between source and sink when a program is stopped.
IN_FLIGHT = 1024


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Refused(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Contender:
    """What all have in common. A subclass has `name`, `launch(case)` and `conditions()`."""

    name = ""
    # Whether it does the work, or only passes frames on.
    transforms = True

    def __init__(self, directory, cpus, pages):
        self.directory = pathlib.Path(directory) / self.name
        self.directory.mkdir()
        self.main_cpu, self.cpu = cpus
        self.pages = pages
        self.process = None
        self.source = self.sink = None

    # ---- what subclasses use

    def eal(self, megabytes):
        """Words for the EAL. Nothing of it is left behind, and no program sees another."""
        # Open vSwitch adds --in-memory, which needs huge pages, unless it finds --legacy-mem.
        memory = ["--in-memory"] if self.pages == "huge" else ["--no-huge", "--no-shconf", "--legacy-mem"]
        return [*memory, "-m", str(megabytes), "--no-pci", "--no-telemetry", "-d", str(PLUGIN)]

    def devices(self, case):
        """Arguments of the two devices, with fresh counters."""
        self.source = Counters(self.directory / "source")
        self.sink = Counters(self.directory / "sink")
        flows = f"flows={case.flows},records={case.records},hosts={case.hosts},frame={case.frame}"
        expected = case.sent if self.transforms else case.received
        ring = f",ring={case.ring}" if case.ring else ""
        return (f"{SOURCE},counters={self.source.path},receive={case.received},{flows}{ring}",
                f"{SINK},counters={self.sink.path},send={expected},{flows}")

    def spawn(self, words, **more):
        """A child that the kernel kills if this process goes away, however it does."""
        self.log = self.directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, words)], stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, "RUNTIME_DIRECTORY": str(self.directory)}, **more)

    def explain(self, what):
        tail = self.log.read_text(errors="replace").splitlines()[-4:] if self.process else []
        return Refused("\n    ".join([f"{self.name}: {what}", *tail]))

    # ---- turns

    def start(self, case):
        """Ready to forward, all that happens once behind it; stopped."""
        self.launch(case)
        wait_until(self._forwards, 30, f"{self.name} forwards")
        self.warm(case)
        self.stop()

    def _forwards(self):
        if self.process.poll() is not None:
            raise self.explain(f"ended with status {self.process.returncode}")
        return self.source.thread != 0 and self.sink.sent > 0

    def warm(self, case):
        """Long enough for each flow to have had several packets."""
        goal = self.sink.sent + 8 * case.flows
        wait_until(lambda: self.sink.sent > goal, 60, f"{self.name}: every flow's first packets")

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: self._state() in "TX", 10, f"{self.name} stops")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def _state(self):
        try:
            return pathlib.Path(f"/proc/{self.source.thread}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError as error:
            raise self.explain("the forwarding thread is gone") from error

    def ran(self):
        """Seconds that the forwarding thread had its core. Exact while it is stopped."""
        return int(pathlib.Path(f"/proc/{self.source.thread}/schedstat").read_text().split()[0]) / 1e9

    def turn(self, seconds):
        """(packets, seconds on the core, seconds by the clock) of one turn."""
        packets, ran, clock = self.sink.sent, self.ran(), time.monotonic()
        self.resume()
        time.sleep(seconds)
        self.stop()
        return self.sink.sent - packets, self.ran() - ran, time.monotonic() - clock

    def check(self, seconds):
        """A turn in which the sink looks at every byte. Returns how many frames that were."""
        self.sink.check(True)
        self.turn(seconds)
        self.sink.check(False)
        if self.sink.checked == 0:
            raise self.explain("no frame was looked at")
        if self.sink.wrong:
            raise self.explain(f"{self.sink.wrong} of {self.sink.checked} frames are not as they must be")
        return self.sink.checked

    def account(self, before):
        """Refuse when frames were lost, or had another length, since `before` = (received, sent, wrong lengths)."""
        received, sent, wrong = (now - then for now, then in zip(self.totals(), before))
        if wrong:
            raise self.explain(f"{wrong} of {sent} frames have not the length that they must have")
        if not -IN_FLIGHT <= received - sent <= IN_FLIGHT:
            raise self.explain(f"{received} frames went in, {sent} came out")

    def totals(self):
        return self.source.received, self.sink.sent, self.sink.wrong_length

    # ---- the end

    def finish(self):
        """End the program; refuse if it says that something was wrong."""
        self.resume()
        self.ask_to_end()
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired as late:
            raise self.explain("does not end") from late
        if status != 0:
            raise self.explain(f"ended with status {status}")

    def ask_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def close(self):
        """Nothing of it runs any more, whatever happened."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process.stdin.close()


class Apus(Contender):
    """apus-forwarder-c, as it is shipped."""

    name = "apus"
    program = ROOT / "build/bin/apus-forwarder-c"

    def launch(self, case):
        from . import world

        source, sink = self.devices(case)
        machine, uplink = (SOURCE, SINK) if case.direction == "encap" else (SINK, SOURCE)
        policy = self.directory / "policy.yaml"
        policy.write_text(world.policy(machine, uplink, case.records, case.hosts))
        self.spawn([self.program, "-l", f"{self.main_cpu},{self.cpu}", "--main-lcore", self.main_cpu, *self.eal(256), "--vdev", source,
                    "--vdev", sink, "--", "--policy", policy, "--flows", max(65536, 2 * case.flows)])

    def conditions(self):
        return {"program": "apus-forwarder-c", "burst": 64, "flow_cache": "twice the flows, at least 65536"}


class Testpmd(Contender):
    """dpdk-testpmd moves frames from the source to the sink and does nothing: the floor under all others."""

    name = "testpmd"
    transforms = False

    def launch(self, case):
        source, sink = self.devices(case)
        self.spawn(["dpdk-testpmd", "-l", f"{self.main_cpu},{self.cpu}", "--main-lcore", self.main_cpu, *self.eal(256),
                    "--vdev", source, "--vdev", sink, "--", "--forward-mode=io", "--nb-cores=1", "--burst=32",
                    "--no-flush-rx", f"--total-num-mbufs={16384 + case.ring}"])

    def ask_to_end(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def conditions(self):
        return {"program": "dpdk-testpmd", "mode": "io", "burst": 32}
