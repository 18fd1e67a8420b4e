// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import Testing

/// One kind of mistake, and the exact words that a person gets.
struct Mistake: CustomTestStringConvertible {
    let text: String
    let messages: [String]

    init(_ text: String, _ messages: String...) {
        self.text = text
        self.messages = messages
    }

    var testDescription: String { messages.first ?? text }
}

/// A file of one object, which stands on line 3.
private func one(_ section: String, _ object: String) -> String {
    "apus: 1\n\(section):\n  - {\(object)}\n"
}

private let uplink = "ports: [{name: up, kind: provider}]\n"

private let structure = [
    Mistake("", #"p:1: the file is empty; a policy file begins with "apus: 1""#),
    Mistake("# only a comment\n", #"p:2: the file is empty; a policy file begins with "apus: 1""#),
    Mistake("---\n...\n", #"p:2: the file is empty; a policy file begins with "apus: 1""#),
    Mistake("hello", #"p:1: the file is not a mapping; a policy file begins with "apus: 1""#),
    Mistake("- apus: 1", #"p:1: the file is not a mapping; a policy file begins with "apus: 1""#),
    Mistake("ports: []", #"p:1: apus: missing; a policy file begins with "apus: 1""#),
    Mistake("apus: 2", #"p:1: apus: "2" is not a version of policy files that is known; accepted: 1"#),
    Mistake("apus: [1]", "p:1: apus: this is not a version of policy files that is known; accepted: 1"),
    Mistake("apus: 1\napus: 1", "p:2: apus: given twice, first on line 1"),
    Mistake("apus: 1\nports: []\nports: []", "p:3: ports: given twice, first on line 2"),
    Mistake(
        "apus: 1\nlookup_record: []",
        #"p:2: unknown key "lookup_record"; did you mean lookup_records?; known keys: apus, settings, ports, "#
            + "provider_addresses, provider_routes, provider_neighbours, provider_peers, virtual_subnets, customer_routes, "
            + "lookup_records"),
    Mistake(
        "apus: 1\nnonsense: [{a: [b]}]",
        #"p:2: unknown key "nonsense"; known keys: apus, settings, ports, "#
            + "provider_addresses, provider_routes, provider_neighbours, provider_peers, virtual_subnets, customer_routes, "
            + "lookup_records"),
    Mistake("apus: 1\n? [a]\n: b", "p:2: a key must be a word"),
    Mistake("apus: 1\nports: 12", #"p:2: ports: expected a list, found "12""#),
    Mistake("apus: 1\nports: {name: a}", "p:2: ports: expected a list, found a mapping"),
    Mistake("apus: 1\nports:\n- hello", #"p:3: ports[0]: expected a mapping, found "hello""#),
    Mistake(
        "apus: 1\nports:\n- []\n- ~", "p:3: ports[0]: expected a mapping, found a list",
        #"p:4: ports[1]: expected a mapping, found "~""#),
    Mistake("apus: 1\nports:\n- {[a]: b, name: x, kind: provider}", "p:3: ports[0]: a key must be a word"),
    Mistake("apus: 1\nsettings: []", "p:2: settings: expected a mapping, found a list"),
    Mistake("apus: 1\n---\napus: 1", "p:2: a second YAML document begins here; a policy file has one"),
    Mistake("apus: &x 1", "p:1: anchors (&name) are not accepted in a policy file"),
    Mistake("apus: 1\nports: *x", "p:2: aliases (*name) are not accepted in a policy file"),
    Mistake("apus: !!int 1", "p:1: tags (!name) are not accepted in a policy file"),
    Mistake(
        "apus: 1\nports: [", "p:3: not YAML: did not find expected node content (while parsing a flow node, line 3)"),
    Mistake(
        "apus: 1\n\tports: []",
        "p:2: not YAML: found a tab character that violates indentation (while scanning a plain scalar, line 1)"),
    Mistake(
        "apus: 1\nports: \"", "p:2: not YAML: found unexpected end of stream (while scanning a quoted scalar, line 2)"),
    Mistake("apus: 1\nports: \u{1}", "p:2: not a text file in UTF-8: control characters are not allowed"),
    Mistake(
        "apus: 1\nports: " + String(repeating: "[", count: 20) + String(repeating: "]", count: 20),
        "p:2: ports[0]: expected a mapping, found a list", "p:2: lists and mappings are nested too deeply"),
]

private let ports = [
    Mistake(
        one("ports", "kind: vm"), "p:3: ports[0].name: missing; it is required",
        "p:3: ports[0].virtual_subnet_id: missing; it is required", "p:3: ports[0].mac: missing; it is required"),
    Mistake(one("ports", "name: a"), "p:3: ports[0].kind: missing; it is required"),
    Mistake(one("ports", "name: , kind: provider"), "p:3: ports[0].name: has no value; expected text"),
    Mistake(
        one("ports", "name: a, kind: provder"),
        #"p:3: ports[0].kind: "provder" is not one of vm, provider, external; did you mean provider?"#),
    Mistake(
        one("ports", "name: a, kind: 7"), #"p:3: ports[0].kind: "7" is not one of vm, provider, external"#),
    Mistake(
        one("ports", "name: ../etc/passwd, kind: provider"),
        #"p:3: ports[0].name: "../etc/passwd" is not a port name; accepted: letters, digits, '-', '_' and '.', "#
            + "not beginning with '.' or '-'"),
    Mistake(
        one("ports", "name: \(String(repeating: "n", count: 32)), kind: provider"),
        "p:3: ports[0].name: \"\(String(repeating: "n", count: 32))\" is 32 bytes long; accepted: at most 31"),
    Mistake(
        one("ports", #"name: a, kind: provider, device: "net\0tap""#),
        #"p:3: ports[0].device: "net\u{0}tap" contains control characters"#),
    Mistake(
        one("ports", "name: a, kind: provider, virtual_subnet_id: 6000, mac: 600060000001, trusted: false"),
        "p:3: ports[0].virtual_subnet_id: does not apply to a port of kind provider",
        "p:3: ports[0].mac: does not apply to a port of kind provider",
        "p:3: ports[0].trusted: does not apply to a port of kind provider"),
    Mistake(
        one("ports", #"name: a, kind: vm, virtual_subnet_id: 6000, mac: 600060000001, routing_domain_id: "#
            + #""{12345678-1000-2000-3000-123456780001}""#),
        "p:3: ports[0].routing_domain_id: does not apply to a port of kind vm"),
    Mistake(one("ports", "name: a, kind: provider, mtu: 127"), "p:3: ports[0].mtu: 127 is outside 128-65535"),
    Mistake(
        one("ports", "name: a, kind: vm, virtual_subnet_id: 6000, mac: 600060000001, mtu: 575"),
        "p:3: ports[0].mtu: 575 is outside 576-65535"),
    Mistake(
        "apus: 1\nports:\n- {name: a, kind: provider}\n- {name: a, kind: provider}",
        #"p:4: ports[1].name: "a" is already the name of ports[0] on line 3"#),
    Mistake(
        one("ports", "name: a, kind: provider, trusted: yes, speed: 10"),
        #"p:3: ports[0].trusted: "yes" is neither true nor false"#,
        "p:3: ports[0].trusted: does not apply to a port of kind provider",
        #"p:3: ports[0]: unknown key "speed"; known keys: name, kind, device, virtual_subnet_id, mac, mtu, trusted, "#
            + "routing_domain_id, dhcp_guard, dynamic_address_limit, new_flow_rate, parent, vlan, ipv4, ipv6"),
    Mistake(
        one("ports", "name: a, kind: provider, dhcp_guard: true, dynamic_address_limit: 0, new_flow_rate: 1000000001"),
        "p:3: ports[0].dynamic_address_limit: 0 is outside 1-65536",
        "p:3: ports[0].new_flow_rate: 1000000001 is outside 1-1000000000",
        "p:3: ports[0].new_flow_rate: does not apply to a port of kind provider",
        "p:3: ports[0].dhcp_guard: does not apply to a port of kind provider",
        "p:3: ports[0].dynamic_address_limit: does not apply to a port of kind provider"),
    Mistake(one("ports", "name: a, name: b, kind: provider"), "p:3: ports[0].name: given twice, first on line 3"),
]

private let external =
    "name: a, kind: external, routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000, mac: 600060000001"
private let side = "ipv4: {address: 10.9.0.2/24}"

private let externalPorts = [
    Mistake(
        one("ports", "name: a, kind: external"),
        "p:3: ports[0].virtual_subnet_id: missing; it is required",
        "p:3: ports[0].mac: missing; it is required",
        "p:3: ports[0].routing_domain_id: missing; it is required",
        "p:3: ports[0].ipv4: missing, and so is ipv6; at least one is required"),
    Mistake(
        one("ports", "name: a, kind: provider, parent: b, vlan: 5, \(side), ipv6: {address: 2001:db8::2/64}"),
        "p:3: ports[0].parent: does not apply to a port of kind provider",
        "p:3: ports[0].vlan: does not apply to a port of kind provider",
        "p:3: ports[0].ipv4: does not apply to a port of kind provider",
        "p:3: ports[0].ipv6: does not apply to a port of kind provider"),
    Mistake(
        one("ports", "\(external), \(side), trusted: true, dhcp_guard: true, dynamic_address_limit: 5, vlan: 4095"),
        "p:3: ports[0].vlan: 4095 is outside 0-4094",
        "p:3: ports[0].trusted: does not apply to a port of kind external",
        "p:3: ports[0].dhcp_guard: does not apply to a port of kind external",
        "p:3: ports[0].dynamic_address_limit: does not apply to a port of kind external"),
    Mistake(
        uplink.replacing("ports: [", with: "apus: 1\nports:\n- ").replacing("]", with: "")
            + "- {\(external), \(side), parent: up}\n- {\(external.replacing("name: a", with: "name: b")), \(side), parent: up, vlan: 0, "
            + "device: x}\n",
        "p:4: ports[1].vlan: missing; accepted with a parent: 1-4094",
        "p:5: ports[2].vlan: 0 is outside 1-4094",
        "p:5: ports[2].device: does not apply to a port with a parent, which brings its frames"),
    Mistake(
        one("ports", "\(external), \(side), parent: upp, vlan: 5") + "  - {name: up, kind: provider}\n",
        #"p:3: ports[0].parent: no port is named "upp"; did you mean up?; provider or external ports: up"#),
    Mistake(
        one("ports", "\(external), \(side), parent: up, vlan: 5"),
        #"p:3: ports[0].parent: no port is named "up", and there is no port of kind provider or external"#),
    Mistake(
        one("ports", "\(external), \(side), parent: a, vlan: 5"),
        #"p:3: ports[0].parent: "a" (ports[0], line 3) is a port with a parent itself; accepted: a provider port, or an "#
            + "external one without a parent"),
    Mistake(
        one("ports", "\(external), \(side), parent: vm, vlan: 5")
            + "  - {name: vm, kind: vm, virtual_subnet_id: 6000, mac: 600060000002}\n",
        #"p:3: ports[0].parent: "vm" (ports[1], line 4) is a port of kind vm; accepted: a provider port, or an external "#
            + "one without a parent"),
    Mistake(
        "apus: 1\nports:\n- name: a\n  kind: external\n  routing_domain_id: 12345678-1000-2000-3000-123456780001\n"
            + "  virtual_subnet_id: 6000\n  mac: 600060000001\n  ipv4:\n    next_hop: 10.9.0\n    prefix: 24\n"
            + "  ipv6: {address: 10.9.0.2/24, address: 10.9.0.2}\n",
        "p:8: ports[0].ipv4.address: missing; it is required",
        #"p:9: ports[0].ipv4.next_hop: "10.9.0" is not an IP address such as 10.0.1.5 or 2001:db8::5"#,
        #"p:10: ports[0].ipv4: unknown key "prefix"; known keys: address, next_hop"#,
        "p:11: ports[0].ipv6.address: given twice, first on line 11",
        "p:11: ports[0].ipv6.address: 10.9.0.2 is an IPv4 address; accepted: an IPv6 address"),
    Mistake(
        one("ports", #"\#(external), ipv4: {address: 10.9.0.2}, ipv6: {address: "::ffff:10.9.0.2/120"}"#),
        #"p:3: ports[0].ipv4.address: "10.9.0.2" is not an address with a prefix length such as 10.9.0.2/24 or "#
            + "2001:db8::2/64",
        #"p:3: ports[0].ipv6.address: "::ffff:10.9.0.2/120" is an IPv4-mapped IPv6 address; accepted: 10.9.0.2"#),
    Mistake(
        one("ports", "\(external), ipv4: {address: 10.9.0.2/33}, ipv6: {address: 2001:db8::2/0}"),
        #"p:3: ports[0].ipv4.address: "10.9.0.2/33": the prefix length is outside 1-32"#,
        #"p:3: ports[0].ipv6.address: "2001:db8::2/0": the prefix length is outside 1-128"#),
    Mistake(
        one("ports", "\(external), ipv4: {address: 10.9.0.2/24, next_hop: 10.9.1.1}, "
            + "ipv6: {address: 2001:db8::2/64, next_hop: 10.9.0.1}"),
        "p:3: ports[0].ipv4.next_hop: 10.9.1.1 is not in the prefix of the address; accepted: another address in 10.9.0.0/24",
        "p:3: ports[0].ipv6.next_hop: 10.9.0.1 is an IPv4 address; accepted: another address in 2001:db8::/64"),
    Mistake(
        one("ports", "\(external), ipv4: {address: 10.9.0.0/24, next_hop: 10.9.1.1}"),
        "p:3: ports[0].ipv4.address: 10.9.0.0 is the network address of its prefix; accepted: another address in 10.9.0.0/24",
        "p:3: ports[0].ipv4.next_hop: 10.9.1.1 is not in the prefix of the address; accepted: another address in 10.9.0.0/24"),
    Mistake(
        one("ports", "\(external), ipv4: {address: 10.9.0.7/30}"),
        "p:3: ports[0].ipv4.address: 10.9.0.7 is the broadcast address of its prefix; accepted: another address in 10.9.0.4/30"),
    Mistake(
        one("ports", "\(external), ipv4: {address: 127.255.255.255/1}"),
        "p:3: ports[0].ipv4.address: 127.255.255.255 is the broadcast address of its prefix; accepted: another address in 0.0.0.0/1"),
    Mistake(
        one("ports", "\(external), ipv4: {address: 10.9.0.2/24, next_hop: 10.9.0.2}"),
        "p:3: ports[0].ipv4.next_hop: 10.9.0.2 is the port's own address; accepted: another address in 10.9.0.0/24"),
    Mistake(
        one("ports", "\(external), ipv4: 10.9.0.2/24, ipv6: [2001:db8::2/64]"),
        "p:3: ports[0].ipv4: expected a mapping such as {address: 10.9.0.2/24, next_hop: 10.9.0.1}, found \"10.9.0.2/24\"",
        "p:3: ports[0].ipv6: expected a mapping such as {address: 10.9.0.2/24, next_hop: 10.9.0.1}, found a list"),
    Mistake(
        one("ports", "\(external), ipv4: , ipv6: {address: {a: b}}"),
        "p:3: ports[0].ipv4: has no value; expected a mapping such as {address: 10.9.0.2/24, next_hop: 10.9.0.1}",
        "p:3: ports[0].ipv6.address: expected an address with a prefix length, found a mapping"),
]

private let record = "customer_address: 10.0.1.103, provider_address: 192.168.0.33"

private let values = [
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 17, mac: 600060000001"),
        "p:3: lookup_records[0].virtual_subnet_id: 17 is outside 4096-16777214"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 99999999999999999999999999, mac: 600060000001"),
        "p:3: lookup_records[0].virtual_subnet_id: 99999999999999999999... is outside 4096-16777214"),
    Mistake(
        "settings: {accept_reserved_vsids: true}\n"
            + one("lookup_records", "\(record), virtual_subnet_id: 16777216, mac: 600060000001"),
        "p:4: lookup_records[0].virtual_subnet_id: 16777216 is outside 0-16777215"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 0x1770, mac: 600060000001"),
        #"p:3: lookup_records[0].virtual_subnet_id: "0x1770" is not a whole number; accepted: 4096-16777214"#),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 06000, mac: 600060000001"),
        #"p:3: lookup_records[0].virtual_subnet_id: "06000" is not a whole number; accepted: 4096-16777214"#),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: -6000, mac: 600060000001"),
        "p:3: lookup_records[0].virtual_subnet_id: -6000 is outside 4096-16777214"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: 60:00:60:00:01"),
        #"p:3: lookup_records[0].mac: "60:00:60:00:01" is not a MAC address such as 60:00:60:00:01:01"#),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: 33:44:55:66:77:88"),
        "p:3: lookup_records[0].mac: 33:44:55:66:77:88 is a group address (the first byte is odd); "
            + "accepted: a unicast address"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: 000000000000"),
        "p:3: lookup_records[0].mac: 000000000000 is no adapter's address; accepted: a unicast address"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: "),
        "p:3: lookup_records[0].mac: has no value; expected a MAC address"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: 600060000001, rule: encap, type: static"),
        #"p:3: lookup_records[0].rule: "encap" is not one of TranslationMethodEncap, TranslationMethodNat, "#
            + "TranslationMethodNone",
        #"p:3: lookup_records[0].type: "static" is not one of Static, Dynamic, GatewayWildcard, L2Only; "#
            + "did you mean Static?"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: 600060000001, vm_name: "
            + String(repeating: "é", count: 32)),
        "p:3: lookup_records[0].vm_name: \"\(String(repeating: "é", count: 32))\" is 64 bytes long; "
            + "accepted: at most 63"),
    Mistake(
        "apus: 1\nlookup_records:\n- customer_address: 10.0.1.300\n  mac: 600060000001\n"
            + "  virtual_subnet_id: 6000\n  provider_address: [192.168.0.33]\n",
        #"p:3: lookup_records[0].customer_address: "10.0.1.300" is not an IP address such as 10.0.1.5 or 2001:db8::5"#,
        "p:6: lookup_records[0].provider_address: expected an IP address, found a list"),
    Mistake(
        one("customer_routes", "virtual_subnet_id: 6000, destination_prefix: 10.0.1.5/24, "
            + "routing_domain_id: {12345678-1000-2000-3000-123456780001}"),
        "p:3: customer_routes[0].routing_domain_id: expected a GUID in quotes, "
            + #""{12345678-1000-2000-3000-123456780001}", found a mapping"#,
        #"p:3: customer_routes[0].destination_prefix: "10.0.1.5/24" has bits after its length; "#
            + "the prefix would be 10.0.1.0/24"),
    Mistake(
        one("customer_routes", "virtual_subnet_id: 6000, destination_prefix: 10.0.1.0/33, routing_domain_id: abc, "
            + "metric: 4294967296"),
        #"p:3: customer_routes[0].routing_domain_id: "abc" is not a GUID such as "#
            + "{12345678-1000-2000-3000-123456780001}",
        #"p:3: customer_routes[0].destination_prefix: "10.0.1.0/33" is not a prefix such as 10.0.1.0/24 or "#
            + "2001:db8::/64",
        "p:3: customer_routes[0].metric: 4294967296 is outside 0-4294967295"),
    Mistake(
        "apus: 1\n" + uplink + "provider_addresses:\n- {provider_address: 192.168.0.22, prefix_length: 64, port: up, "
            + "mac: 324455667788, vlan: 4095}",
        "p:4: provider_addresses[0].prefix_length: 64 is outside 1-32",
        "p:4: provider_addresses[0].vlan: 4095 is outside 0-4094"),
    Mistake(
        "apus: 1\n" + uplink + "provider_routes:\n- {destination_prefix: 10.0.0.0/8, port: upp}",
        #"p:4: provider_routes[0].port: no port is named "upp"; did you mean up?; provider ports: up"#),
    Mistake(
        "apus: 1\nprovider_routes:\n- {destination_prefix: 10.0.0.0/8, port: up}",
        #"p:3: provider_routes[0].port: no port is named "up", and there is no port of kind provider"#),
    Mistake(
        "apus: 1\nprovider_routes:\n- {destination_prefix: 10.0.0.0/8, port: vm}\n"
            + "ports: [{name: vm, kind: vm, virtual_subnet_id: 6000, mac: 600060000001}]",
        #"p:3: provider_routes[0].port: "vm" (ports[0], line 4) is not a port of kind provider"#),
    Mistake(
        "apus: 1\nsettings: {outer_ttl: 0, neighbour_retry_ms: 9, neighbor_retries: 3, flow_id_zero: 1}",
        #"p:2: settings.flow_id_zero: "1" is neither true nor false"#,
        "p:2: settings.outer_ttl: 0 is outside 1-255",
        "p:2: settings.neighbour_retry_ms: 9 is outside 10-60000",
        #"p:2: settings: unknown key "neighbor_retries"; did you mean neighbour_retries?; known keys: "#
            + "accept_reserved_vsids, flow_id_zero, source_validation, accept_ip_options, gateway_mac, outer_ttl, "
            + "neighbour_reachable_ms, neighbour_retry_ms, neighbour_retries, icmp_errors, icmp_error_rate, "
            + "send_unreachable, vxlan_port, "
            + "learn_rate, use_external_router, one_customer_family"),
    Mistake(
        "apus: 1\nsettings: {vxlan_port: 65536, learn_rate: 0, use_external_router: 1, one_customer_family: no}",
        "p:2: settings.vxlan_port: 65536 is outside 1-65535",
        "p:2: settings.learn_rate: 0 is outside 1-1000000",
        #"p:2: settings.use_external_router: "1" is neither true nor false"#,
        #"p:2: settings.one_customer_family: "no" is neither true nor false"#),
    Mistake(
        one("lookup_records", "provider_address: 192.168.0.33, virtual_subnet_id: 6000, mac: 600060000001"),
        "p:3: lookup_records[0].customer_address: missing; it is required"),
    Mistake(
        one("lookup_records", "customer_address: 0.0.0.0, provider_address: 192.168.0.33, virtual_subnet_id: 6000, "
            + "mac: 600060000001"),
        "p:3: lookup_records[0].customer_address: 0.0.0.0 is no machine's address; accepted: a unicast address, or "
            + "this with type: GatewayWildcard or L2Only"),
    Mistake(
        one("lookup_records", "\(record), virtual_subnet_id: 6000, mac: 600060000001, type: L2Only, unusable: 1, "
            + "use_vm_mac_address: true"),
        "p:3: lookup_records[0].customer_address: 10.0.1.103, but type is L2Only; accepted: 0.0.0.0 or ::, or "
            + "nothing, which is 0.0.0.0",
        #"p:3: lookup_records[0].unusable: "1" is neither true nor false"#,
        "p:3: lookup_records[0].use_vm_mac_address: true, but rule is not TranslationMethodNat; accepted: true with "
            + "that rule"),
    Mistake(
        one("provider_peers", "provider_address: 10.1.1.1, encapsulation: geneve, key_layout: draft, flow_id: none, "
            + "dscp_mode: pipes, dscp: 64, ecn_mode: off, df_mode: never, ttl: 0, mtu: 127"),
        #"p:3: provider_peers[0].encapsulation: "geneve" is not one of nvgre, vxlan"#,
        #"p:3: provider_peers[0].key_layout: "draft" is not one of rfc7637, draft00; did you mean draft00?"#,
        #"p:3: provider_peers[0].flow_id: "none" is not one of hash, zero"#,
        #"p:3: provider_peers[0].dscp_mode: "pipes" is not one of copy, uniform, pipe; did you mean pipe?"#,
        "p:3: provider_peers[0].dscp: 64 is outside 0-63",
        #"p:3: provider_peers[0].ecn_mode: "off" is not one of normal, compatibility"#,
        #"p:3: provider_peers[0].df_mode: "never" is not one of always, copy"#,
        "p:3: provider_peers[0].ttl: 0 is outside 1-255",
        "p:3: provider_peers[0].mtu: 127 is outside 128-65535"),
    Mistake(
        "apus: 1\nprovider_peers:\n- provider_address: 10.1.1.1\n  encapsulation: vxlan\n  key_layout: draft00\n"
            + "  dscp: 5\n",
        "p:5: provider_peers[0].key_layout: draft00, but encapsulation is vxlan; accepted: draft00 with nvgre",
        "p:6: provider_peers[0].dscp: 5, but dscp_mode is not pipe; accepted: 0-63 with dscp_mode: pipe"),
    Mistake(
        one("provider_peers", "address: 10.1.1.1"),
        "p:3: provider_peers[0].provider_address: missing; it is required",
        #"p:3: provider_peers[0]: unknown key "address"; known keys: provider_address, encapsulation, key_layout, "#
            + "flow_id, dscp_mode, dscp, ecn_mode, df_mode, ttl, mtu"),
    Mistake(
        one("virtual_subnets", "virtual_subnet_id: 17, broadcast: 1, replication_rate: 10000001, "
            + "multicast_group: 10.0.0.1"),
        #"p:3: virtual_subnets[0].broadcast: "1" is neither true nor false"#,
        "p:3: virtual_subnets[0].replication_rate: 10000001 is outside 1-10000000",
        "p:3: virtual_subnets[0].multicast_group: 10.0.0.1 is not a multicast address; accepted: an address in "
            + "224.0.0.0/4 or ff00::/8",
        "p:3: virtual_subnets[0].virtual_subnet_id: 17 is outside 4096-16777214"),
    Mistake(
        one("virtual_subnets", "virtual_subnet_id: 6000, multicast_group: ff15::5"),
        "p:3: virtual_subnets[0].multicast_group: ff15::5, but broadcast is not true; accepted: with broadcast: true"),
    Mistake(
        "apus: 1\nports: [{name: uplink, kind: provider}]\nprovider_addresses:\n"
            + "- {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: 324455667788, state: Tentative, "
            + "detect_duplicates: 1}",
        #"p:4: provider_addresses[0].state: "Tentative" is not one of Preferred, Deprecated, Invalid"#,
        #"p:4: provider_addresses[0].detect_duplicates: "1" is neither true nor false"#),
]

private let domain = "routing_domain_id: 12345678-1000-2000-3000-123456780001, virtual_subnet_id: 6000"

private let version6 = [
    Mistake(
        one("lookup_records", "virtual_subnet_id: 6000, mac: 600060000001, customer_address: \"::ffff:10.0.1.5\", "
            + "provider_address: 2001:db8::5%eth0"),
        #"p:3: lookup_records[0].customer_address: "::ffff:10.0.1.5" is an IPv4-mapped IPv6 address; "#
            + "accepted: 10.0.1.5",
        #"p:3: lookup_records[0].provider_address: "2001:db8::5%eth0" is not an IP address such as 10.0.1.5 or "#
            + "2001:db8::5"),
    Mistake(
        one("provider_neighbours", "address: 2001:db8::1::5, mac: 600060000001"),
        #"p:3: provider_neighbours[0].address: "2001:db8::1::5" is not an IP address such as 10.0.1.5 or 2001:db8::5"#),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::5/64"),
        #"p:3: customer_routes[0].destination_prefix: "2001:db8::5/64" has bits after its length; "#
            + "the prefix would be 2001:db8::/64"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/129"),
        #"p:3: customer_routes[0].destination_prefix: "2001:db8::/129" is not a prefix such as 10.0.1.0/24 or "#
            + "2001:db8::/64"),
    Mistake(
        one("customer_routes", #"\#(domain), destination_prefix: "::ffff:10.0.0.0/104""#),
        #"p:3: customer_routes[0].destination_prefix: "::ffff:10.0.0.0/104" is a prefix of IPv4-mapped IPv6 "#
            + "addresses; accepted: an IPv4 or an IPv6 prefix"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/64, next_hop: 0.0.0.0"),
        "p:3: customer_routes[0].next_hop: 0.0.0.0 is an IPv4 address, but 2001:db8::/64 an IPv6 prefix; "
            + "accepted: an IPv6 address, :: for on-link"),
    Mistake(
        "apus: 1\n" + uplink
            + "provider_routes:\n- destination_prefix: 10.0.0.0/8\n  port: up\n  next_hop: 2001:db8::1",
        "p:6: provider_routes[0].next_hop: 2001:db8::1 is an IPv6 address, but 10.0.0.0/8 an IPv4 prefix; "
            + "accepted: an IPv4 address, 0.0.0.0 for on-link"),
    Mistake(
        "apus: 1\n" + uplink + "provider_addresses:\n"
            + "- {provider_address: 2001:db8::22, prefix_length: 129, port: up, mac: 324455667788}\n"
            + "- {provider_address: 2001:db8::23, prefix_length: 0, port: up, mac: 324455667788}\n"
            + "- {provider_address: 192.168.0.22, prefix_length: 33, port: up, mac: 324455667788}\n"
            + "- {provider_address: nonsense, prefix_length: 129, port: up, mac: 324455667788}\n",
        "p:4: provider_addresses[0].prefix_length: 129 is outside 1-128",
        "p:5: provider_addresses[1].prefix_length: 0 is outside 1-128",
        "p:6: provider_addresses[2].prefix_length: 33 is outside 1-32",
        #"p:7: provider_addresses[3].provider_address: "nonsense" is not an IP address such as 10.0.1.5 or "#
            + "2001:db8::5",
        "p:7: provider_addresses[3].prefix_length: 129 is outside 1-128"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/64, advertise: yes, autoconfigure: 1"),
        #"p:3: customer_routes[0].advertise: "yes" is neither true nor false"#,
        #"p:3: customer_routes[0].autoconfigure: "1" is neither true nor false"#),
    Mistake(
        "apus: 1\ncustomer_routes:\n- routing_domain_id: 12345678-1000-2000-3000-123456780001\n"
            + "  virtual_subnet_id: 6000\n  destination_prefix: 10.0.1.0/24\n  advertise: true",
        "p:6: customer_routes[0].advertise: true, but 10.0.1.0/24 is an IPv4 prefix; accepted: true with an IPv6 prefix"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/64, next_hop: 2001:db8::5, advertise: true"),
        "p:3: customer_routes[0].advertise: true, but next_hop is 2001:db8::5; accepted: true on-link, without "
            + "next_hop or with ::"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/64, autoconfigure: true"),
        "p:3: customer_routes[0].autoconfigure: true, but advertise is not; accepted: true with advertise: true"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/65, advertise: true, autoconfigure: true"),
        "p:3: customer_routes[0].autoconfigure: true, but 2001:db8::/65 has length 65; accepted: true with length 64"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/64, advertize: true"),
        #"p:3: customer_routes[0]: unknown key "advertize"; did you mean advertise?; known keys: routing_domain_id, "#
            + "virtual_subnet_id, destination_prefix, next_hop, metric, advertise, autoconfigure"),
    Mistake(
        one("customer_routes", "\(domain), destination_prefix: 2001:db8::/64, next_hop: ::"),
        "p:3: not YAML: did not find expected node content (while parsing a flow node, line 3); "
            + #"an IPv6 address that begins or ends with a colon needs quotes: "::""#),
    Mistake(
        "apus: 1\ncustomer_routes:\n- next_hop: 2001:db8::\n",
        "p:3: not YAML: mapping values are not allowed in this context; "
            + #"an IPv6 address that begins or ends with a colon needs quotes: "::""#),
]

/// What a wrong file is told.
@Suite struct ErrorTests {
    @Test(arguments: structure + ports + externalPorts + values + version6)
    func exactMessages(_ mistake: Mistake) {
        let error = #expect(throws: PolicyError.self) { try PolicyFile.parse(text: mistake.text, name: "p") }
        #expect(error?.description == mistake.messages.joined(separator: "\n"))
        #expect(error?.code == APUS_ERR_SYNTAX.rawValue)
    }

    @Test func atMostTwentyAreReported() {
        let text = "apus: 1\nports:\n" + String(repeating: "- 1\n", count: 25)
        let error = #expect(throws: PolicyError.self) { try PolicyFile.parse(text: text, name: "p") }
        #expect(error?.problems.count == 20)
        #expect(error?.omitted == 5)
        #expect(error?.description.hasSuffix("\np: and 5 more") == true)
    }

    /// Terminals act on escape sequences, and a message must stay on its line.
    @Test func messagesAreOneLineOfPlainText() {
        let text = "apus: 1\n\"a\\e[31m\\n\\u202Eb\(String(repeating: "x", count: 100))\": 1"
        let error = #expect(throws: PolicyError.self) { try PolicyFile.parse(text: text, name: "p") }
        #expect(error?.description.hasPrefix(#"p:2: unknown key "a\u{1b}[31m\u{a}\u{202e}bxxx"#) == true)
        #expect(error?.description.contains("x...\"") == true)
        #expect(error?.problems.count == 1)
    }

    @Test func unreadableFiles() {
        func message(_ path: String) -> String? {
            #expect(throws: PolicyError.self) { try PolicyFile.load(path: path) }?.description
        }
        #expect(message("/no/such/file") == "/no/such/file: cannot be read: No such file or directory")
        #expect(message("/") == "/: cannot be read: Is a directory")
        #expect(message("") == ": cannot be read: No such file or directory")
        #expect(message("a\0b") == "a\0b: no file can have this name")
        #expect(message("/dev/null") == #"/dev/null:1: the file is empty; a policy file begins with "apus: 1""#)
    }
}
