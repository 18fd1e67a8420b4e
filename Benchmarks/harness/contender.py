# SPDX-License-Identifier: Apache-2.0
"""What forwards frames between a source and a sink on one core, and takes turns with others on it.

All contenders of a case are there at the same time; one runs, the others are stopped. What a turn took is what the kernel says
that the forwarding thread ran: where a core is shared, time that others had on it is nobody's cost.
"""

import json
import pathlib
import signal
import socket
import time

from . import world
from .child import Child, wait_until
from .counters import Counters
from .machine import ROOT

PLUGIN = ROOT / "build/benchmarks/dpdk/librte_net_apusbench.so"
SOURCE, SINK = "net_apusbench0", "net_apusbench1"
MEMORY = {
    "huge": ["--in-memory"],
    # Open vSwitch adds --in-memory, which needs huge pages, unless it finds --legacy-mem.
    "small": ["--no-huge", "--no-shconf", "--legacy-mem"],
}
# Frames that may be between source and sink when a program is stopped.
IN_FLIGHT = 1024
FORWARDER = ROOT / "build/bin/apus-forwarder-c"


def eal(pages, megabytes, devices):
    """Words for the EAL: memory, and the devices that it makes or takes."""
    cards = [device for device in devices if not device.startswith("net_")]
    return [*MEMORY[pages], "-m", megabytes, "--no-telemetry", "-d", PLUGIN, *(f"--allow={card}" for card in cards), *([] if cards else ["--no-pci"]),
            *(f"--vdev={device}" for device in devices if device not in cards)]


def name_of(device):
    """Of "NAME,ARGUMENTS"."""
    return device.partition(",")[0]


def source(counters, case):
    ring = f",ring={case.ring}" if case.ring else ""
    return f"{SOURCE},counters={counters.path},receive={case.received},{case.frames}{ring}"


def sink(counters, case, expected):
    return f"{SINK},counters={counters.path},send={expected},{case.frames}"


def forwarder(name, directory, cpus, pages, devices, policy, flows):
    """apus-forwarder-c, as it is shipped. `cpus`: of the main thread and of the forwarding one, or one for both."""
    file = pathlib.Path(directory) / "policy.yaml"
    file.write_text(policy)
    words = [FORWARDER, "-l", ",".join(map(str, sorted(cpus))), "--main-lcore", cpus[0], *eal(pages, 256, devices), "--", "--policy", file,
             "--control", pathlib.Path(directory) / "control", "--flows", max(65536, 2 * flows)]
    return Child(name, words, directory, cpus[0])


def testpmd(name, directory, cpus, pages, devices, mbufs):
    """dpdk-testpmd, which moves frames and does nothing else."""
    words = ["dpdk-testpmd", "-l", ",".join(map(str, sorted(cpus))), "--main-lcore", cpus[0], *eal(pages, 256, devices),
             "--", "--forward-mode=io", "--nb-cores=1", "--burst=32", "--no-flush-rx", f"--total-num-mbufs={mbufs}"]
    return Child(name, words, directory, cpus[0])


def ask(path, command):
    """What a forwarder answers on its control socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(f"{command}\n".encode())
        return json.loads(connection.makefile().readline())


class Contender:
    """A subclass launches, and describes, what forwards."""

    name = ""
    # The share of its core that the forwarding thread must have had for a turn to count. None where time is that of the thread.
    least_share = 0

    # What comes out: the case's frames transformed, or as they went in.
    transforms = True

    def __init__(self, directory, cpus, pages, ports=None):
        """`ports`: what frames come in and go out on, where these are not our own source and sink."""
        self.directory = pathlib.Path(directory) / self.name
        self.directory.mkdir()
        self.cpus = cpus
        self.pages = pages
        self.ports = ports
        self.children = []
        self.source = self.sink = None

    def out(self, case):
        """What comes out, as the devices know it."""
        return case.sent if self.transforms else case.received

    def ends(self, case):
        """The devices that frames come in and go out on."""
        if self.ports is not None:
            return self.ports
        self.source = Counters(self.directory / "source")
        self.sink = Counters(self.directory / "sink")
        return source(self.source, case), sink(self.sink, case, self.out(case))

    def threads(self):
        """The forwarding thread of each child."""
        return [self.source.thread]

    # ---- turns

    def start(self, case):
        """Ready to forward, all that happens once behind it; stopped."""
        self.launch(case)
        wait_until(self._forwards, 30, f"{self.name} forwards")
        self.warm(case)
        self.stop()

    def _forwards(self):
        for child in self.children:
            child.must_run()
        return self.sink.sent > 0 and all(self.threads())

    def warm(self, case):
        """Long enough for each flow to have had several packets."""
        goal = self.sink.sent + 8 * case.flows
        wait_until(lambda: self.sink.sent > goal, 60, f"{self.name}: every flow's first packets")

    def resume(self):
        for child in self.children:
            child.resume()

    def stop(self):
        for child, thread in zip(self.children, self.threads()):
            child.stop(thread)

    def ran(self):
        """Seconds that each forwarding thread had its core."""
        return [child.ran(thread) for child, thread in zip(self.children, self.threads())]

    def turn(self, seconds):
        """One turn: (packets, seconds that count, share of it that the forwarding threads had their cores)."""
        packets, ran, clock = self.sink.sent, self.ran(), time.monotonic()
        self.resume()
        time.sleep(seconds)
        self.stop()
        clock = time.monotonic() - clock
        ran = [now - before for now, before in zip(self.ran(), ran)]
        return self.sink.sent - packets, ran[0] if len(ran) == 1 else clock, min(ran) / clock

    def refusal(self, what):
        return self.children[-1].refusal(what)

    def check(self, seconds):
        """A turn in which the sink looks at every byte. Returns how many frames that were."""
        self.sink.check(True)
        self.turn(seconds)
        self.sink.check(False)
        if self.sink.checked == 0:
            raise self.refusal("no frame was looked at")
        if self.sink.wrong:
            raise self.refusal(f"{self.sink.wrong} of {self.sink.checked} frames are not as they must be")
        return self.sink.checked

    def totals(self):
        return self.source.received, self.sink.sent, self.sink.wrong_length

    def account(self, before):
        """Refuse when frames were lost, or had another length, since the totals were `before`."""
        received, sent, wrong = (now - then for now, then in zip(self.totals(), before))
        if wrong:
            raise self.refusal(f"{wrong} of {sent} frames have not the length that they must have")
        if not -IN_FLIGHT <= received - sent <= IN_FLIGHT:
            raise self.refusal(f"{received} frames went in, {sent} came out")

    # ---- the end

    def finish(self):
        """End all; refuse if one says that something was wrong."""
        for child in self.children:
            child.ask_to_end(self.goodbye)
        self.resume()
        for child in self.children:
            child.must_end_well()

    def close(self):
        for child in self.children:
            child.kill()


class Apus(Contender):
    name = "apus"
    goodbye = signal.SIGTERM

    def launch(self, case):
        entrance, exit = self.ends(case)
        machine, uplink = (entrance, exit) if case.direction == "encap" else (exit, entrance)
        self.children = [forwarder(self.name, self.directory, self.cpus, self.pages, [entrance, exit],
                                   world.policy(case, name_of(machine), name_of(uplink)), case.flows)]

    def conditions(self):
        return "apus-forwarder-c, bursts of 64, flow cache for twice the flows, at least 65,536"


class Testpmd(Contender):
    """The floor under all others: frames go from the source to the sink as they are."""

    name = "testpmd"
    goodbye = b"\n"
    transforms = False

    def launch(self, case):
        self.children = [testpmd(self.name, self.directory, self.cpus, self.pages, self.ends(case), 16384 + case.ring)]

    def conditions(self):
        return "dpdk-testpmd, io mode, bursts of 32"


# ---- two, back to back


class Pair(Contender):
    """One forwards from the source into a memif on a CPU, another from there to the sink on the other CPU.

    The source always has frames and the slower of the two says how many come through: what the first cannot send is lost.
    Time is that of the clock: a thread that is not there loses the other's frames.
    """

    least_share = 0.8

    def launch(self, case):
        entrance, exit = self.ends(case)
        link = self.directory / "memif"
        ends = [f"net_memif0,role={role},socket={link},socket-abstract=no" for role in ("server", "client")]
        first, second = self.directory / "first", self.directory / "second"
        first.mkdir()
        second.mkdir()
        self.children = [self.forward(case, first, tuple(reversed(self.cpus)), entrance, ends[0])]
        wait_until(link.exists, 20, f"{self.name}: a memif")
        self.children.append(self.forward(case, second, self.cpus, ends[1], exit))

    def threads(self):
        return [self.source.thread, self.sink.thread]

    def account(self, before):
        wrong = self.sink.wrong_length - before[2]
        if wrong:
            raise self.refusal(f"{wrong} frames have not the length that they must have")

    def finish(self):
        """Not asked to end: DPDK's memif crashes the one that polls it while the other one goes."""
        self.close()


class ApusPair(Pair):
    """A host that encapsulates and a host that decapsulates."""

    name = Apus.name
    goodbye = Apus.goodbye
    conditions = Apus.conditions

    def forward(self, case, directory, cpus, entrance, exit):
        if entrance.startswith(SOURCE):
            policy = world.policy(case, SOURCE, "net_memif0")
        else:
            policy = world.policy_of_other(case, SINK, "net_memif0")
        return forwarder(self.name, directory, cpus[1:], self.pages, [entrance, exit], policy, case.flows)

    def finish(self):
        self.resume()
        for name in ("first", "second"):
            totals = ask(self.directory / name / "control", "stats")["totals"]
            if totals["dropped"] or totals["encapsulated"] + totals["decapsulated"] != totals["received"]:
                raise self.refusal(f"the {name} forwarder did not transform every frame: {totals}")
        super().finish()


class TestpmdPair(Pair):
    name = Testpmd.name
    goodbye = Testpmd.goodbye
    conditions = Testpmd.conditions

    def forward(self, case, directory, cpus, entrance, exit):
        return testpmd(self.name, directory, cpus, self.pages, [entrance, exit], 32768)
