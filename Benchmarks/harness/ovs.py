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
from .child import Child, wait_until
from .contender import Contender, eal
from .machine import first_line
from .program import Refused

VSWITCHD = os.environ.get("OVS_VSWITCHD", "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
MEGABYTES = 1024
# Its table of flows has room for all and keeps them while others take their turn. Nothing else is other than Debian's.
FLOW_LIMIT = 2000000
IDLE_MS = 600000


class OpenVSwitch(Contender):
    """One ovs-vswitchd for all cases: it takes seconds to start."""

    name = "ovs"

    def __init__(self, directory, cpus, pages, ports=None):
        super().__init__(directory, cpus, pages, ports)
        self.database = None
        self.places = {f"OVS_{kind}DIR": str(self.directory) for kind in ("RUN", "LOG", "DB")}

    # ---- processes

    def open(self):
        self._tool("ovsdb-tool", "create", self.directory / "conf.db", SCHEMA)
        (self.directory / "ovsdb").mkdir()
        self.database = Child(
            "ovsdb-server", ["ovsdb-server", f"--remote=punix:{self.directory}/db.sock", f"--unixctl={self.directory}/ovsdb.ctl",
                             "-vconsole:warn", self.directory / "conf.db"], self.directory / "ovsdb", self.cpus[0], self.places)
        wait_until((self.directory / "db.sock").exists, 10, "ovsdb-server")
        # Virtual devices are made with the bridges' ports.
        cards = [port for port in self.ports or () if not port.startswith("net_")]
        settings = {
            "dpdk-init": "true", "dpdk-lcore-mask": hex(1 << self.cpus[0]), "pmd-cpu-mask": hex(1 << self.cpus[1]),
            "dpdk-extra": '"' + " ".join(map(str, eal(self.pages, MEGABYTES, cards))) + '"', "max-idle": IDLE_MS, "flow-limit": FLOW_LIMIT}
        self._vsctl("--no-wait", "init")
        self._vsctl("--no-wait", "set", "Open_vSwitch", ".", *(f"other_config:{key}={value}" for key, value in settings.items()))
        # IPv6 off in the namespace: the kernel would speak on the bridges' own interfaces.
        start = ("for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done; ip link set lo up; "
                 f"exec {VSWITCHD} unix:{self.directory}/db.sock --unixctl={self.directory}/ovs.ctl "
                 f"-vsyslog:off -vconsole:warn")
        switch = Child(self.name, ["unshare", "--net", "--", "sh", "-c", start], self.directory, self.cpus[0], self.places)
        self.children = [switch]

        def is_up():
            switch.must_run()
            return self._vsctl("get", "Open_vSwitch", ".", "dpdk_initialized") == "true"

        wait_until(is_up, 30, "DPDK in ovs-vswitchd")

    def finish(self):
        """The program stays for the next case; the bridges go."""
        self.resume()
        self._clear()

    def close(self):
        super().close()
        if self.database is not None:
            self.database.kill()

    # ---- tools

    def _tool(self, *words, **more):
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=120, env={**os.environ, **self.places}, **more)
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
        return self._tool("nsenter", f"--net=/proc/{self.children[0].pid}/ns/net", "--", *words)

    # ---- a case

    def _clear(self):
        for bridge in self._vsctl("list-br").split():
            self._vsctl("del-br", bridge)

    def launch(self, case):
        if self.children:
            self.resume()
        else:
            self.open()
        self._clear()
        ends = self.ends(case)
        machine, uplink = ends if case.direction == "encap" else reversed(ends)

        def port(bridge, name, number, device):
            return ["--", "add-port", bridge, name, "--", "set", "Interface", name, "type=dpdk",
                    f'options:dpdk-devargs="{device}"', f"mtu_request={case.mtu}", f"ofport_request={number}"]

        self._vsctl(
            "--", "add-br", "inside", "--", "set", "bridge", "inside", "datapath_type=netdev", "fail-mode=secure",
            "--", "add-br", "outside", "--", "set", "bridge", "outside", "datapath_type=netdev", "fail-mode=secure",
            f'other-config:hwaddr="{world.OUR_MAC}"', *port("inside", "machine", 1, machine), *port("outside", "uplink", 2, uplink),
            "--", "add-port", "inside", "tunnel", "--", "set", "Interface", "tunnel", "type=gre", "options:key=flow",
            "options:remote_ip=flow", f"options:local_ip={world.OUR_ADDRESS}", "ofport_request=3")
        self._inside("ip", "address", "replace", f"{world.OUR_ADDRESS}/16", "dev", "outside")
        self._inside("ip", "link", "set", "outside", "up")
        wait_until(lambda: "192.168.0.0/16" in self._appctl("ovs/route/show"), 10, "the route to the other hosts")
        for number in range(case.hosts):
            self._appctl("tnl/neigh/set", "outside", world.host(number), world.host_mac(number))
        # The limit would begin at 10,000, grow by a thousand in each half second, and what is above it be thrown out.
        self._appctl("upcall/set-flow-limit", FLOW_LIMIT)
        self._rules("outside", ["in_port=LOCAL,actions=output:2", "in_port=2,actions=LOCAL"])
        self._rules("inside", world.rules(case))

    def warm(self, case):
        """Until its table of flows in the datapath does not grow any more."""
        expected = case.records if case.is_rule_per_record else 1
        counts = [-1]

        def is_steady():
            time.sleep(0.3)
            counts.append(int(re.search(r"flows: (\d+)", self._appctl("dpctl/show"))[1]))
            return expected <= counts[-1] == counts[-2]

        wait_until(is_steady, 120, "ovs: a flow in the datapath for each rule")
        super().warm(case)

    def conditions(self):
        return f"{first_line(VSWITCHD, '--version')}, bursts of 32, as Debian has it but for max-idle {IDLE_MS} and flow-limit {FLOW_LIMIT}"
