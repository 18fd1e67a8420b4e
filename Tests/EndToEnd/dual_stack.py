# SPDX-License-Identifier: Apache-2.0
"""
The policies of the Simple setup with both kinds of addresses, made from the model.

Every machine has an IPv4 address, an IPv6 address, and the IPv6 address that it would make for itself from a router
advertisement. The provider network is IPv4 or IPv6. A machine may have a port on a host that it is not on, so that it
can move there: until then that port is parked in a virtual subnet of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from frames import NVGRE_OVERHEAD, NVGRE_OVERHEAD_IPV6, interface_address
from topology import HOSTS, MACHINES, Host, Machine, machine, machines_of

DOMAINS = {
    "Contoso": "{12345678-1000-2000-3000-123456780001}",
    "Woodgrove": "{12345678-1000-2000-3000-123456780002}",
}
DEFAULT_GATEWAY_MAC = "02:61:70:75:73:01"
#: Virtual subnets whose gateways have lookup records, and with them a MAC address of their own on each host.
RECORDED_GATEWAYS = (6000, 7000)
#: What routers say: nothing in 6001; in 7001 that they are there, in the others a prefix for addresses too.
ADVERTISING = (6000, 7000, 7001)
AUTOCONFIGURING = (6000, 7000)
#: The MTU of one machine's port, as routers tell it.
ADVERTISED_MTU = {"woodgrove2": 1400}
_PARKED_SUBNET = 16_000_000


def overhead(provider_family: int) -> int:
    """What the tunnel adds to a customer's packet."""
    return NVGRE_OVERHEAD_IPV6 if provider_family == 6 else NVGRE_OVERHEAD


def gateway_mac(host: int, virtual_subnet_id: int) -> str:
    """The MAC address of the gateways of a virtual subnet on a host."""
    return f"60:00:60:00:{host:02}:00" if virtual_subnet_id in RECORDED_GATEWAYS else DEFAULT_GATEWAY_MAC


def own_address(vm: Machine) -> str:
    """The address that a machine makes for itself in its prefix (RFC 4862)."""
    return interface_address(vm.prefix6, vm.mac)


@dataclass
class DualStack:
    """What the policies say. Change it, write them again, and let the forwarders reload them."""

    provider_family: int = 6
    #: Machines that may move, and the host on which they have a second port.
    guests: Mapping[str, int] = field(default_factory=dict)
    #: Where machines are that are not at home.
    places: dict[str, int] = field(default_factory=dict)
    #: Provider addresses that stand in the records of a machine instead of the right ones.
    wrong: dict[str, str] = field(default_factory=dict)
    settings: str = ""
    hosts: Sequence[Host] = HOSTS
    machines: Sequence[Machine] = MACHINES
    #: Machines of which only the MAC address and the host are known.
    unknown: Sequence[str] = ()
    #: The machine that is the way out of its VM network.
    gateway: Machine | None = None
    #: How the other hosts are talked to ("encapsulation: vxlan").
    peer: str = ""

    def host_of(self, vm: Machine) -> int:
        """Where a machine is."""
        return self.places.get(vm.name, vm.host)

    def guest_tap(self, vm: Machine) -> str:
        """The second tap of a machine that may move."""
        return f"{vm.port}-2"

    def spare_taps(self) -> dict[int, Sequence[str]]:
        """For Lab."""
        return {
            host.number: [self.guest_tap(machine(name)) for name, other in self.guests.items() if other == host.number]
            for host in self.hosts
        }

    def write(self, directory: Path) -> list[Path]:
        """Write the policies of all hosts."""
        paths = [directory / f"host{host.number}.yaml" for host in self.hosts]
        for host, path in zip(self.hosts, paths):
            path.write_text(self.policy(host))
        return paths

    def policy(self, host: Host) -> str:
        """The policy of one host."""
        lines = ["apus: 1", *([f"settings: {{{self.settings}}}"] if self.settings else [])]
        lines += ["ports:", "  - {name: uplink, kind: provider, device: net_af_packet0}", *self._ports(host.number)]
        length = 64 if self.provider_family == 6 else 24
        lines += [
            "provider_addresses:",
            f"  - {{provider_address: {host.provider_address_of(self.provider_family)}, prefix_length: {length}, "
            f'port: uplink, mac: "{host.mac}"}}',
            *self._peers(host),
            "customer_routes:",
            *self._routes(),
            "lookup_records:",
            *self._records(host),
        ]
        return "\n".join(lines) + "\n"

    def _peers(self, host: Host) -> list[str]:
        others = [other.provider_address_of(self.provider_family) for other in self.hosts if other is not host]
        lines = [f'  - {{provider_address: "{address}", {self.peer}}}' for address in others]
        return ["provider_peers:", *lines] if self.peer else []

    def _ports(self, host: int) -> list[str]:
        ports = [(vm.port, vm) for vm in machines_of(host, self.machines)]
        guests = [machine(name) for name, other in self.guests.items() if other == host]
        ports += [(self.guest_tap(vm), vm) for vm in guests]
        lines = []
        for index, (name, vm) in enumerate(ports):
            is_here = self.host_of(vm) == host
            subnet = vm.virtual_subnet_id if is_here else _PARKED_SUBNET + index
            mac = vm.mac if is_here else f"02:00:00:00:00:{index:02}"
            mtu = f", mtu: {ADVERTISED_MTU[name]}" if name in ADVERTISED_MTU else ""
            lines.append(
                f"  - {{name: {name}, kind: vm, device: net_tap{index}, virtual_subnet_id: {subnet}, "
                f'mac: "{mac}"{mtu}}}'
            )
        return lines

    def _subnets(self) -> dict[int, Machine]:
        """A machine of each virtual subnet."""
        return {vm.virtual_subnet_id: vm for vm in self.machines}

    def _routes(self) -> list[str]:
        lines = []
        for subnet, vm in self._subnets().items():
            start = f'  - {{routing_domain_id: "{DOMAINS[vm.tenant]}", virtual_subnet_id: {subnet}, '
            start += "destination_prefix: "
            if self.gateway and self.gateway.virtual_subnet_id == subnet:
                lines.append(f"{start}0.0.0.0/0, next_hop: {self.gateway.address}}}")
                lines.append(f'{start}"::/0", next_hop: "{self.gateway.address6}"}}')
            lines.append(f"{start}{vm.gateway[:-1]}0/24, next_hop: 0.0.0.0}}")
            told = ", advertise: true" if subnet in ADVERTISING else ""
            told += ", autoconfigure: true" if subnet in AUTOCONFIGURING else ""
            lines.append(f'{start}{vm.prefix6}, next_hop: "::"{told}}}')
        return lines

    def _records(self, host: Host) -> list[str]:
        lines = []

        def add(address: str, subnet: int, mac: str, at: str, name: str) -> None:
            lines.append(
                f'  - {{customer_address: "{address}", virtual_subnet_id: {subnet}, mac: "{mac}", '
                f'provider_address: "{at}", vm_name: {name}}}'
            )

        for subnet, family in itertools.product(RECORDED_GATEWAYS, (4, 6)):
            at = host.provider_address_of(self.provider_family)
            gateway = self._subnets()[subnet].gateway_of(family)
            add(gateway, subnet, gateway_mac(host.number, subnet), at, "Gateway")
        for vm in self.machines:
            right = self.hosts[self.host_of(vm) - 1].provider_address_of(self.provider_family)
            if vm.name in self.unknown:
                known = f'virtual_subnet_id: {vm.virtual_subnet_id}, mac: "{vm.mac}", provider_address: "{right}"'
                lines.append(f"  - {{{known}, type: L2Only, vm_name: {vm.name}}}")
                continue
            for address in (vm.address, vm.address6, own_address(vm)):
                add(address, vm.virtual_subnet_id, vm.mac, self.wrong.get(vm.name, right), vm.name)
        return lines
