# SPDX-License-Identifier: Apache-2.0
"""
Open vSwitch in the place of a host: an implementation of GRE, VXLAN, ARP and neighbour discovery that owes nothing to
Apus.

It is Debian's, with the datapath in user space (no kernel module), and all of it - database, control sockets,
processes - belongs to one test: no service of the system is used, and none that runs is touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from dual_stack import gateway_mac
from system import SetupError, disable_offloads, end, run, set_ipv6, spawn, wait_until
from topology import HOSTS, MACHINES, UPLINK, Host, Lab, Machine, machines_of

_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_UNDERLAY, _OVERLAY, _TUNNEL = "br_phy", "br_int", "tunnel"


def without_open_vswitch() -> str | None:
    """Why Open vSwitch cannot be had here, or None."""
    tools = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return f"{', '.join(missing)} not installed (Debian package openvswitch-switch)" if missing else None


class OpenVSwitch:
    """
    A host with the provider address and the machines of `host`: two bridges, one for the provider network and one for
    the machines, which forwards nothing until it is told how.
    """

    def __init__(
        self, lab: Lab, host: Host, provider_family: int, *, machines: Sequence[Machine] | None = None
    ) -> None:
        """`machines`: those that are there; all that the host should have, if nothing is said."""
        self.machines = machines_of(host.number) if machines is None else machines
        self.remote = next(other for other in HOSTS if other is not host).provider_address_of(provider_family)
        self.local = host.provider_address_of(provider_family)
        self._namespace = lab.namespace("ovs")
        self._directory = lab.directory / "ovs"
        self._directory.mkdir()
        lab.attach(self._namespace, f"host{host.number}", UPLINK, ipv6=provider_family == 6)
        set_ipv6(self._namespace, UPLINK, "disable_ipv6", 1)
        self._ip("link", "set", UPLINK, "arp", "off")  # or Linux answers for the bridge's address, with the cable's MAC
        self._start(lab)
        self._add_bridge(_UNDERLAY, f"other-config:hwaddr={host.mac}")
        self._add_bridge(_OVERLAY, "fail_mode=secure")
        self._vsctl("add-port", _UNDERLAY, UPLINK)
        self._ip("address", "add", f"{self.local}/{64 if provider_family == 6 else 24}", "dev", _UNDERLAY)
        self._ip("link", "set", _UNDERLAY, "up")
        for vm in self.machines:
            self._plug(lab, vm)

    # -- building

    def _start(self, lab: Lab) -> None:
        """Both daemons, in the foreground, as children that end with the test."""
        run("ovsdb-tool", "create", str(self._directory / "conf.db"), str(_SCHEMA))
        database = f"unix:{self._directory}/db.sock"
        server = ["ovsdb-server", f"{self._directory}/conf.db", f"--remote=p{database}"]
        for command in (server, ["ovs-vswitchd", database]):
            program = command[0]
            control, log = self._directory / f"{program}.ctl", self._directory / f"{program}.log"
            ours = ["env", f"OVS_RUNDIR={self._directory}", *command, f"--unixctl={control}"]
            process = spawn(ours, namespace=self._namespace, output=log)
            lab.cleanup.add(lambda process=process: end(process))  # type: ignore[misc]
            if not wait_until(lambda: control.exists() or process.poll() is not None, 10) or process.poll() is not None:
                raise SetupError(f"{program} did not start:\n{log.read_text()[-2000:]}")

    def _add_bridge(self, name: str, setting: str) -> None:
        self._vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev", setting)

    def _plug(self, lab: Lab, vm: Machine) -> None:
        """A machine on a cable. Whom it may talk with it knows: nobody here answers ARP or neighbour solicitations."""
        self._ip("link", "add", vm.port, "type", "veth", "peer", "name", _port(vm))
        set_ipv6(self._namespace, _port(vm), "disable_ipv6", 1)
        disable_offloads(self._namespace, _port(vm))
        self._ip("link", "set", _port(vm), "mtu", str(lab.machine_mtu), "up")
        lab.plug(vm, self._namespace)
        self._vsctl("add-port", _OVERLAY, _port(vm))

    def _ip(self, *arguments: str) -> None:
        run("ip", "-netns", self._namespace, *arguments)

    def _vsctl(self, *arguments: str) -> str:
        return run("ovs-vsctl", "--timeout=10", f"--db=unix:{self._directory}/db.sock", *arguments)

    def _ofctl(self, command: str, *arguments: str) -> str:
        return run("ovs-ofctl", "--timeout=10", command, f"unix:{self._directory}/{_OVERLAY}.mgmt", *arguments)

    # -- being a host

    def bridge(self, kind: str, key: int) -> None:
        """What Open vSwitch's own manual proposes: a bridge that learns, and a tunnel to one place with one key."""
        self._vsctl("set", "bridge", _OVERLAY, "fail_mode=standalone")
        self._add_tunnel(kind, f"options:key={key}", f"options:remote_ip={self.remote}")

    def virtualize(self, lab: Lab, kind: str) -> None:
        """A virtualization host that is made of OpenFlow rules. Nothing is forwarded that is not in them."""
        self._add_tunnel(kind, "options:key=flow", "options:remote_ip=flow")
        for vm in self.machines:
            self._introduce(lab, vm)
        rules = self._directory / "rules"
        rules.write_text("\n".join(self._rules(kind)) + "\n")
        self._ofctl("add-flows", str(rules))

    def _add_tunnel(self, kind: str, *options: str) -> None:
        options = (f"options:local_ip={self.local}", *options)
        self._vsctl("add-port", _OVERLAY, _TUNNEL, "--", "set", "interface", _TUNNEL, f"type={kind}", *options)

    def set_tunnel(self, option: str) -> None:
        """Change an option of the tunnel, for example "csum=true"."""
        self._vsctl("set", "interface", _TUNNEL, f"options:{option}")

    @staticmethod
    def _introduce(lab: Lab, vm: Machine) -> None:
        tool = ("ip", "-netns", lab.namespace(vm.name), "neighbour", "add")
        gateway = gateway_mac(vm.host, vm.virtual_subnet_id)
        known = [(address, gateway) for address in (vm.gateway, vm.gateway6)]
        known += [(other.address_of(f), other.mac) for other in _same_subnet(vm) for f in (4, 6)]
        for address, mac in known:
            run(*tool, address, "lladdr", mac, "dev", vm.port, "nud", "permanent")

    def _rules(self, kind: str) -> list[str]:
        rules = [f"priority=1,in_port={_TUNNEL},actions=drop"]  # which is counted: see refused()
        for vm in self.machines:
            source = "tun_ipv6_src" if ":" in self.remote else "tun_src"
            known = f"in_port={_TUNNEL},{source}={self.remote},tun_id={_key(kind, vm)}"
            rules.append(f"priority=2,{known},dl_dst={vm.mac},actions=output:{_port(vm)}")
            ours = f"priority=2,in_port={_port(vm)},dl_src={vm.mac}"
            for other in _same_subnet(vm):
                rules.append(f"{ours},dl_dst={other.mac},actions={self._to(kind, other)}")
            gateway = gateway_mac(vm.host, vm.virtual_subnet_id)
            for other in MACHINES:
                if other.tenant != vm.tenant or other.virtual_subnet_id == vm.virtual_subnet_id:
                    continue
                routed = f"dec_ttl,set_field:{other.mac}->eth_dst,{self._to(kind, other)}"
                for destination in (f"ip,nw_dst={other.address}", f"ipv6,ipv6_dst={other.address6}"):
                    rules.append(f"{ours},dl_dst={gateway},{destination},actions={routed}")
        return rules

    def _to(self, kind: str, vm: Machine) -> str:
        """The actions that bring a frame to a machine, here or there."""
        if vm in self.machines:
            return f"output:{_port(vm)}"
        destination = "tun_ipv6_dst" if ":" in self.remote else "tun_dst"
        actions = [f"set_field:{_key(kind, vm).partition('/')[0]}->tun_id"]
        if kind == "gre":  # the FlowID of RFC 7637, of addresses and ports
            actions.append("multipath(symmetric_l4,0,modulo_n,256,0,NXM_NX_TUN_ID[0..7])")
        return ",".join([*actions, f"set_field:{self.remote}->{destination}", f"output:{_TUNNEL}"])

    def refused(self) -> int:
        """How many frames came out of the tunnel that no rule is about."""
        line = next(line for line in self._ofctl("dump-flows").splitlines() if "actions=drop" in line)
        return int(line.split("n_packets=")[1].split(",")[0])


def _port(vm: Machine) -> str:
    return f"to_{vm.port}"


def _same_subnet(vm: Machine) -> list[Machine]:
    return [other for other in MACHINES if other.virtual_subnet_id == vm.virtual_subnet_id and other is not vm]


def _key(kind: str, vm: Machine) -> str:
    """The tunnel key of a machine's virtual subnet, with the mask that leaves the FlowID out."""
    return str(vm.virtual_subnet_id) if kind == "vxlan" else f"{vm.virtual_subnet_id << 8:#x}/0xffffff00"
