# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch with DPDK, doing the same work: a bridge with the machine and a GRE port, another with the underlay.

It runs in directories and a network namespace of its own, which end with its processes: no other Open vSwitch on the system
is touched.
"""

import os
import re
import subprocess
import time

from . import world
from .contender import SINK, SOURCE, Contender, wait_until
from .machine import first_line
from .program import Refused

VSWITCHD = os.environ.get("OVS_VSWITCHD", "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
MEGABYTES = 1024
# The only settings that are not Debian's: caches keep what they have while others take their turn, and have room for all.
SETTINGS = {"max-idle": 600000, "flow-limit": 2000000}


class OpenVSwitch(Contender):
    """One ovs-vswitchd for all cases: it takes seconds to start."""

    name = "ovs"

    def __init__(self, directory, cpus, pages):
        super().__init__(directory, cpus, pages)
        self.database = None
        self.environment = {**os.environ, **{f"OVS_{kind}DIR": str(self.directory) for kind in ("RUN", "LOG", "DB")}}

    # ---- processes

    def open(self):
        self._tool("ovsdb-tool", "create", self.directory / "conf.db", SCHEMA)
        self.database = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "ovsdb-server", f"--remote=punix:{self.directory}/db.sock",
             f"--unixctl={self.directory}/ovsdb.ctl", "-vconsole:off", self.directory / "conf.db"], env=self.environment)
        wait_until((self.directory / "db.sock").exists, 10, "ovsdb-server")
        settings = {
            "dpdk-init": "true", "dpdk-lcore-mask": hex(1 << self.main_cpu), "pmd-cpu-mask": hex(1 << self.cpu),
            "dpdk-extra": '"' + " ".join(self.eal(MEGABYTES)) + '"', **SETTINGS}
        self._vsctl("--no-wait", "init")
        self._vsctl("--no-wait", "set", "Open_vSwitch", ".", *(f"other_config:{key}={value}" for key, value in settings.items()))
        # IPv6 off in the namespace: the kernel would speak on the bridges' own interfaces.
        start = ("for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done; ip link set lo up; "
                 f"exec {VSWITCHD} unix:{self.directory}/db.sock --unixctl={self.directory}/ovs.ctl "
                 f"--log-file={self.directory}/ovs.log -vconsole:warn")
        self.spawn(["unshare", "--net", "--", "sh", "-c", start])
        wait_until(lambda: (self.directory / "ovs.ctl").exists() or self._has_ended(), 20, "ovs-vswitchd")
        self.log = self.directory / "ovs.log"
        wait_until(lambda: self._has_ended() or self._vsctl("get", "Open_vSwitch", ".", "dpdk_initialized") == "true", 30,
                   "DPDK in ovs-vswitchd")

    def _has_ended(self):
        if self.process.poll() is not None:
            raise self.explain(f"ended with status {self.process.returncode}")
        return False

    def spawn(self, words, **more):
        saved = dict(os.environ)
        os.environ.update({key: value for key, value in self.environment.items() if key.startswith("OVS_")})
        try:
            super().spawn(words, **more)
        finally:
            os.environ.clear()
            os.environ.update(saved)

    def finish(self):
        """The program stays for the next case; the bridges go."""
        self.resume()
        self._clear()

    def close(self):
        super().close()
        if self.database is not None:
            self.database.kill()
            self.database.wait()

    # ---- tools

    def _tool(self, *words, **more):
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=120, env=self.environment, **more)
        if done.returncode != 0:
            raise Refused(f"{words[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _vsctl(self, *words):
        return self._tool("ovs-vsctl", "--timeout=60", f"--db=unix:{self.directory}/db.sock", *words)

    def _appctl(self, *words):
        return self._tool("ovs-appctl", "-t", self.directory / "ovs.ctl", *words)

    def _rules(self, bridge, rules):
        self._tool("ovs-ofctl", "--bundle", "replace-flows", f"unix:{self.directory}/{bridge}.mgmt", "-", input="\n".join(rules) + "\n")

    def _inside(self, *words):
        """In its network namespace."""
        return self._tool("nsenter", f"--net=/proc/{self.process.pid}/ns/net", "--", *words)

    # ---- a case

    def _clear(self):
        for bridge in self._vsctl("list-br").split():
            self._vsctl("del-br", bridge)

    def launch(self, case):
        if self.process is None:
            self.open()
        else:
            self.resume()
        self._clear()
        source, sink = self.devices(case)
        machine, uplink = ((SOURCE, source), (SINK, sink)) if case.direction == "encap" else ((SINK, sink), (SOURCE, source))

        def port(bridge, name, number, arguments):
            return ["--", "add-port", bridge, name, "--", "set", "Interface", name, "type=dpdk",
                    f'options:dpdk-devargs="{arguments}"', f"mtu_request={world.MTU}", f"ofport_request={number}"]

        self._vsctl(
            "--", "add-br", "inside", "--", "set", "bridge", "inside", "datapath_type=netdev", "fail-mode=secure",
            "--", "add-br", "outside", "--", "set", "bridge", "outside", "datapath_type=netdev", "fail-mode=secure",
            f'other-config:hwaddr="{world.OUR_MAC}"',
            *port("inside", "machine", 1, machine[1]), *port("outside", "uplink", 2, uplink[1]),
            "--", "add-port", "inside", "tunnel", "--", "set", "Interface", "tunnel", "type=gre", "options:key=flow",
            "options:remote_ip=flow", f"options:local_ip={world.OUR_ADDRESS}", "ofport_request=3")
        self._inside("ip", "address", "replace", f"{world.OUR_ADDRESS}/16", "dev", "outside")
        self._inside("ip", "link", "set", "outside", "up")
        wait_until(lambda: "192.168.0.0/16" in self._appctl("ovs/route/show"), 10, "the route to the other hosts")
        for number in range(case.hosts):
            self._appctl("tnl/neigh/set", "outside", world.host(number), world.host_mac(number))
        self._rules("outside", ["in_port=LOCAL,actions=output:2", "in_port=2,actions=LOCAL"])
        self._rules("inside", world.rules(case.direction, case.records, case.hosts, case.is_rule_per_record))

    def warm(self, case):
        """Until its table of flows in the datapath does not grow any more."""
        expected = case.records if case.is_rule_per_record else 1
        last = [-1]

        def is_steady():
            time.sleep(0.3)
            count = int(re.search(r"flows: (\d+)", self._appctl("dpctl/show"))[1])
            last.append(count)
            return expected <= count == last[-2]

        wait_until(is_steady, 120, "ovs: a flow in the datapath for each rule")
        super().warm(case)

    def conditions(self):
        return {"program": first_line(VSWITCHD, "--version"), "burst": 32, "settings": SETTINGS}
