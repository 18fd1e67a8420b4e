# SPDX-License-Identifier: Apache-2.0
"""The world of the end-to-end benchmark, as dpdk/frames.h has it: policies for Apus, rules for Open vSwitch."""

VSID = 5001
OUR_ADDRESS = "192.168.0.1"
OUR_MAC = "02:02:c0:a8:00:01"
MACHINE_ADDRESS = "10.0.0.2"
MACHINE_MAC = "02:01:0a:00:00:02"


def host(number):
    return f"192.168.1.{number}"


def host_mac(number):
    return f"02:02:c0:a8:01:{number:02x}"


def machine(record):
    return f"10.{64 + (record >> 16)}.{record >> 8 & 255}.{record & 255}"


def machine_mac(record):
    return f"02:01:0a:{64 + (record >> 16):02x}:{record >> 8 & 255:02x}:{record & 255:02x}"


def _record(address, mac, provider):
    return f"  - {{customer_address: {address}, virtual_subnet_id: {VSID}, mac: \"{mac}\", provider_address: {provider}}}"


def _policy(mtu, machine_device, mac, uplink_device, provider, provider_mac, neighbours, records):
    return "\n".join([
        "apus: 1",
        "ports:",
        f"  - {{name: uplink, kind: provider, device: {uplink_device}, mtu: {mtu}}}",
        f"  - {{name: machine, kind: vm, device: {machine_device}, virtual_subnet_id: {VSID}, mac: \"{mac}\", mtu: {mtu}}}",
        "provider_addresses:",
        f"  - {{provider_address: {provider}, prefix_length: 16, port: uplink, mac: \"{provider_mac}\"}}",
        "provider_neighbours:",
        *(f"  - {{address: {address}, mac: \"{neighbour_mac}\"}}" for address, neighbour_mac in neighbours),
        "customer_routes:",
        f"  - {{routing_domain_id: \"{{12345678-1000-2000-3000-123456780001}}\", virtual_subnet_id: {VSID}, "
        "destination_prefix: 10.0.0.0/8, next_hop: 0.0.0.0}",
        "lookup_records:",
        _record(MACHINE_ADDRESS, MACHINE_MAC, OUR_ADDRESS),
        *records, ""])


def policy(case, machine_device, uplink_device):
    """The policy of this host."""
    return _policy(
        case.mtu, machine_device, MACHINE_MAC, uplink_device, OUR_ADDRESS, OUR_MAC,
        ((host(number), host_mac(number)) for number in range(case.hosts)),
        (_record(machine(number), machine_mac(number), host(number % case.hosts)) for number in range(case.records)))


def policy_of_other(case, machine_device, uplink_device):
    """The policy of the first of the other hosts, where its first machine is."""
    return _policy(case.mtu, machine_device, machine_mac(0), uplink_device, host(0), host_mac(0), [(OUR_ADDRESS, OUR_MAC)],
                   [_record(machine(0), machine_mac(0), host(0))])


def rules(case):
    """OpenFlow rules of the bridge that the machine (port 1) and the tunnel (port 3) are at."""
    key = VSID << 8
    for number in range(case.records if case.is_rule_per_record else 1):
        if case.direction == "encap":
            match = f",ip,nw_dst={machine(number)}" if case.is_rule_per_record else ""
            yield f"in_port=1{match},actions=set_field:{key}->tun_id,set_field:{host(number % case.hosts)}->tun_dst,output:3"
        else:
            match = f",tun_src={host(number % case.hosts)},ip,nw_src={machine(number)}" if case.is_rule_per_record else ""
            yield f"in_port=3,tun_id={key}/0xffffff00{match},actions=output:1"
