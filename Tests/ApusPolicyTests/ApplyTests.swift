// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import Testing

/// What a dataplane makes of a policy file.
@Suite struct ApplyTests {
    @Test func everythingArrives() throws {
        let dataplane = try TestDataplane()
        let ids = unsafe try PolicyFile.parse(text: example, name: "p").apply(to: dataplane.pointer)
        #expect(Set(ids.keys) == ["uplink", "contoso1", "contoso2"])

        var port = apus_port_params()
        port.size = MemoryLayout<apus_port_params>.size
        #expect(unsafe apus_port_get(dataplane.pointer, try #require(ids["contoso2"]), &port) == 0)
        #expect(port.kind == APUS_PORT_VM.rawValue)
        #expect(port.flags == APUS_PORT_TRUSTED)
        #expect(port.virtual_subnet_id == 6000)
        #expect(bytes(port.mac) == [0x60, 0, 0x60, 0, 1, 2])
        #expect(text(port.name) == "contoso2")
        #expect(unsafe apus_port_get(dataplane.pointer, try #require(ids["contoso1"]), &port) == 0)
        #expect(port.mtu == 1400)

        var address = apus_provider_address()
        address.size = MemoryLayout<apus_provider_address>.size
        #expect(unsafe apus_address_parse("192.168.0.22", &address.provider_address) == 0)
        #expect(unsafe apus_provider_address_get(dataplane.pointer, &address) == 0)
        #expect(address.port == ids["uplink"])
        #expect(address.vlan == 7)
        #expect(address.prefix_length == 24)

        var route = apus_provider_route()
        route.size = MemoryLayout<apus_provider_route>.size
        #expect(unsafe apus_prefix_parse("0.0.0.0/0", &route.destination_prefix) == 0)
        #expect(unsafe apus_address_parse("192.168.0.1", &route.next_hop) == 0)
        route.port = try #require(ids["uplink"])
        #expect(unsafe apus_provider_route_get(dataplane.pointer, &route) == 0)
        #expect(route.metric == 10)

        var neighbor = apus_provider_neighbor()
        neighbor.size = MemoryLayout<apus_provider_neighbor>.size
        #expect(unsafe apus_address_parse("192.168.0.33", &neighbor.address) == 0)
        #expect(unsafe apus_provider_neighbor_get(dataplane.pointer, &neighbor) == 0)
        #expect(neighbor.state == UInt8(APUS_NEIGHBOR_STATIC.rawValue))

        var customerRoute = apus_customer_route()
        customerRoute.size = MemoryLayout<apus_customer_route>.size
        #expect(unsafe apus_guid_parse("12345678-1000-2000-3000-123456780001", &customerRoute.routing_domain_id) == 0)
        customerRoute.virtual_subnet_id = 6000
        #expect(unsafe apus_prefix_parse("10.0.1.0/24", &customerRoute.destination_prefix) == 0)
        customerRoute.next_hop.family = UInt8(APUS_IPV4)
        #expect(unsafe apus_customer_route_get(dataplane.pointer, &customerRoute) == 0)

        var record = apus_lookup_record()
        record.size = MemoryLayout<apus_lookup_record>.size
        record.virtual_subnet_id = 6000
        #expect(unsafe apus_address_parse("10.0.1.103", &record.customer_address) == 0)
        #expect(unsafe apus_lookup_record_get(dataplane.pointer, &record) == 0)
        #expect(bytes(record.provider_address) == [192, 168, 0, 33])
        #expect(record.type == UInt8(APUS_RECORD_DYNAMIC.rawValue))
        #expect(text(record.vm_name) == "Contoso3")
        #expect(text(record.customer_id) == "{12345678-1000-2000-3000-123456780000}")
        #expect(text(record.context) == "rack 12")
    }

    @Test func everythingArrivesInIPv6() throws {
        let dataplane = try TestDataplane()
        _ = unsafe try PolicyFile.parse(text: exampleIPv6, name: "p").apply(to: dataplane.pointer)

        var address = apus_provider_address()
        address.size = MemoryLayout<apus_provider_address>.size
        #expect(unsafe apus_address_parse("2001:db8:0:a::22", &address.provider_address) == 0)
        #expect(unsafe apus_provider_address_get(dataplane.pointer, &address) == 0)
        #expect(address.prefix_length == 64)

        var cursor: UInt64 = 0
        var flags: [String: UInt32] = [:]
        var route = apus_customer_route()
        route.size = MemoryLayout<apus_customer_route>.size
        while unsafe apus_customer_route_iterate(dataplane.pointer, &cursor, &route) == 1 {
            flags[text(route.destination_prefix)] = route.flags
        }
        #expect(flags == ["2001:db8:1::/64": 3, "fd00::/8": 0, "2001:db8:2::/120": 1])

        cursor = 0
        var places: [String: String] = [:]
        var record = apus_lookup_record()
        record.size = MemoryLayout<apus_lookup_record>.size
        while unsafe apus_lookup_record_iterate(dataplane.pointer, &cursor, &record) == 1 {
            places[text(record.customer_address)] = text(record.provider_address)
        }
        #expect(
            places == [
                "2001:db8:1::101": "2001:db8:0:a::22", "fd00::": "192.168.0.33", "10.0.1.103": "2001:db8:0:a::33",
            ])
    }

    /// Peers, virtual subnets, records of machines, rewriting, and the options of ports and of the dataplane.
    @Test func everythingElseArrives() throws {
        let file = try PolicyFile.parse(text: exampleOfOptions, name: "p")
        var options = unsafe apus_dataplane_opts()
        unsafe options.size = MemoryLayout<apus_dataplane_opts>.size
        unsafe file.fill(&options)
        #expect(unsafe options.vxlan_port == 8472)
        #expect(unsafe options.learn_rate == 7)
        #expect(unsafe options.flags == APUS_DATAPLANE_USE_EXTERNAL_ROUTER | APUS_DATAPLANE_ONE_CUSTOMER_FAMILY)

        let dataplane = try TestDataplane()
        let ids = unsafe try file.apply(to: dataplane.pointer)
        var port = apus_port_params()
        port.size = MemoryLayout<apus_port_params>.size
        #expect(unsafe apus_port_get(dataplane.pointer, try #require(ids["a"]), &port) == 0)
        #expect(port.flags == APUS_PORT_DHCP_GUARD)
        #expect(port.dynamic_address_limit == 65536)

        var cursor: UInt64 = 0
        var peers: [String: [UInt16]] = [:]
        var peer = apus_provider_peer()
        peer.size = MemoryLayout<apus_provider_peer>.size
        while unsafe apus_provider_peer_iterate(dataplane.pointer, &cursor, &peer) == 1 {
            peers[text(peer.provider_address)] =
                [
                    peer.encapsulation, peer.key_layout, peer.flow_id, peer.dscp_mode, peer.dscp, peer.ecn_mode,
                    peer.df_mode, peer.ttl,
                ].map(UInt16.init) + [peer.mtu]
        }
        #expect(peers["192.168.0.33"] == [2, 1, 2, 3, 46, 2, 2, 64, 1400])
        #expect(peers["2001:db8::44"] == [1, 2, 1, 2, 0, 1, 1, 0, 0])
        // What is not given may be told as 0 or as the default that it is.
        #expect(peers.count == 3)

        cursor = 0
        var subnets: [UInt32: (flags: UInt32, group: String, rate: UInt32)] = [:]
        var subnet = apus_virtual_subnet()
        subnet.size = MemoryLayout<apus_virtual_subnet>.size
        while unsafe apus_virtual_subnet_iterate(dataplane.pointer, &cursor, &subnet) == 1 {
            subnets[subnet.virtual_subnet_id] = (
                subnet.flags, subnet.multicast_group.family == 0 ? "" : text(subnet.multicast_group),
                subnet.replication_rate
            )
        }
        #expect(subnets.count == 3)
        #expect(subnets[6000]! == (APUS_SUBNET_BROADCAST | APUS_SUBNET_ALLOW_NON_IP, "239.0.0.1", 500))
        #expect(subnets[6001]?.flags == APUS_SUBNET_BROADCAST)
        #expect(subnets[6001]?.group == "")
        #expect(subnets[6002]?.flags == 0)

        cursor = 0
        var records: Set<String> = []
        var record = apus_lookup_record()
        record.size = MemoryLayout<apus_lookup_record>.size
        while unsafe apus_lookup_record_iterate(dataplane.pointer, &cursor, &record) == 1 {
            records.insert("\(text(record.customer_address)) \(record.mac.text) \(record.type) \(record.rule) \(record.flags)")
        }
        #expect(
            records == [
                "0.0.0.0 60:00:60:00:00:11 3 1 0", ":: 60:00:60:00:00:12 3 1 0", "0.0.0.0 60:00:60:00:00:13 4 1 0",
                "0.0.0.0 60:00:60:00:00:14 4 1 0", "10.0.1.5 60:00:60:00:00:05 1 2 4", "10.0.1.6 60:00:60:00:00:06 1 1 1",
            ])
    }

    /// What only the dataplane can judge comes back with the file's line and object; nothing stays behind.
    @Test func whatIsRefusedIsNamedAndNothingStays() throws {
        let dataplane = try TestDataplane()
        let file = try PolicyFile.parse(
            text: """
                apus: 1
                ports:
                  - {name: up, kind: provider}
                  - {name: a, kind: vm, virtual_subnet_id: 6000, mac: 600060000001}
                  - {name: b, kind: vm, virtual_subnet_id: 6000, mac: 600060000001}
                lookup_records:
                  - {customer_address: 10.0.0.1, virtual_subnet_id: 6000, mac: 600060000001, provider_address: 10.1.0.1}
                  - {customer_address: 10.0.0.1, virtual_subnet_id: 6000, mac: 600060000002, provider_address: 10.1.0.1}
                  - customer_address: 10.0.0.3
                    virtual_subnet_id: 6000
                    mac: 600060000003
                    provider_address: 224.0.0.1
                  - {customer_address: 10.0.0.4, virtual_subnet_id: 6000, mac: 600060000004, provider_address: 10.1.0.1,
                     rule: TranslationMethodNat}
                """, name: "p")
        let error = #expect(throws: PolicyError.self) { unsafe try file.apply(to: dataplane.pointer) }
        #expect(error?.code == APUS_ERR_DUPLICATE.rawValue)
        let lines = (error?.description ?? "").split(separator: "\n")
        #expect(lines.count == 4)
        let beginnings = [
            "p:5: ports[2]", "p:8: lookup_records[1]", "p:12: lookup_records[2].provider_address: 224.0.0.1",
            "p:13: lookup_records[3].provider_address: 10.1.0.1",
        ]
        for (line, beginning) in zip(lines, beginnings) { #expect(line.hasPrefix(beginning), "\(line)") }

        var cursor: UInt64 = 0
        var id: UInt32 = 0
        var port = apus_port_params()
        port.size = MemoryLayout<apus_port_params>.size
        #expect(unsafe apus_port_iterate(dataplane.pointer, &cursor, &id, &port) == 0, "a port stayed behind")
        // The transaction was closed, too: the next file can be applied.
        #expect(unsafe try PolicyFile.parse(text: example, name: "p").apply(to: dataplane.pointer).count == 3)
    }

    @Test func anOpenTransactionIsLeftAlone() throws {
        let dataplane = try TestDataplane()
        #expect(unsafe apus_transaction_begin(dataplane.pointer) == 0)
        let file = try PolicyFile.parse(text: example, name: "p")
        let error = #expect(throws: PolicyError.self) { unsafe try file.apply(to: dataplane.pointer) }
        #expect(error?.code == APUS_ERR_TRANSACTION.rawValue)
        #expect(unsafe apus_transaction_abort(dataplane.pointer) == 0)
    }

    @Test func externalPortsArrive() throws {
        let dataplane = try TestDataplane()
        let ids = unsafe try PolicyFile.parse(text: exampleOfGateway, name: "p").apply(to: dataplane.pointer)
        var port = apus_port_params()
        port.size = MemoryLayout<apus_port_params>.size
        #expect(unsafe apus_port_get(dataplane.pointer, try #require(ids["contoso"]), &port) == 0)
        #expect(port.kind == APUS_PORT_EXTERNAL.rawValue)
        #expect(port.parent_port == ids["trunk"])
        #expect(port.vlan == 101)
        #expect(port.mtu == 9000)
        #expect(port.new_flow_rate == 50000)
        #expect(port.virtual_subnet_id == 6009)
        #expect(port.routing_domain_id.text == "{12345678-1000-2000-3000-123456780001}")
        #expect(text(port.ipv4.address) == "10.9.0.2")
        #expect(port.ipv4.prefix_length == 24)
        #expect(text(port.ipv4.next_hop) == "10.9.0.1")
        #expect(text(port.ipv6.address) == "2001:db8:9::2")
        #expect(port.ipv6.next_hop.family == 0)
        #expect(unsafe apus_port_get(dataplane.pointer, try #require(ids["alone"]), &port) == 0)
        #expect(port.parent_port == 0)
        #expect(port.vlan == 0)
        #expect(port.ipv4.address.family == 0)
        #expect(unsafe apus_port_get(dataplane.pointer, try #require(ids["beside"]), &port) == 0)
        #expect(port.parent_port == ids["alone"])
    }

    /// Two ports in one VLAN, and one whose virtual subnet is another tenant's: each is named where it stands.
    @Test func externalPortsThatContradictEachOther() throws {
        let dataplane = try TestDataplane()
        let port = """
            kind: external, parent: up, routing_domain_id: 12345678-1000-2000-3000-123456780001, ipv4: {address: 10.9.0.2/24}
            """
        let other = port.replacing("0001", with: "0002")
        let file = try PolicyFile.parse(
            text: """
                apus: 1
                ports:
                  - {name: a, \(port), vlan: 5, virtual_subnet_id: 6009, mac: 600060000001}
                  - {name: b, \(port), vlan: 5, virtual_subnet_id: 6009, mac: 600060000002}
                  - {name: c, \(other), vlan: 6, virtual_subnet_id: 6009, mac: 600060000003}
                  - {name: up, kind: provider}
                  - {name: d, \(port), vlan: 7, virtual_subnet_id: 6009, mac: 600060000004}
                provider_addresses:
                  - {provider_address: 192.168.0.22, prefix_length: 24, port: up, mac: 324455667788, vlan: 7}
                """, name: "p")
        let error = #expect(throws: PolicyError.self) { unsafe try file.apply(to: dataplane.pointer) }
        let lines = (error?.description ?? "").split(separator: "\n")
        #expect(lines.count == 3)
        for (line, beginning) in zip(
            lines, ["p:4: ports[1].vlan: 5", "p:5: ports[2].virtual_subnet_id: 6009", "p:9: provider_addresses[0].vlan: 7"])
        {
            #expect(line.hasPrefix(beginning), "\(line)")
        }
    }
}

/// A dataplane for one test.
final class TestDataplane {
    let pointer: OpaquePointer

    init() throws {
        var created: OpaquePointer?
        try #require(unsafe apus_dataplane_create(nil, &created) == 0)
        pointer = try #require(created)
    }

    deinit { unsafe apus_dataplane_destroy(pointer) }
}

/// The text in a `char[]` field.
func text<Characters>(_ field: Characters) -> String {
    unsafe withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}
