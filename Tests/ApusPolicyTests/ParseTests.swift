// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import Testing

/// What a good file becomes.
@Suite struct ParseTests {
    @Test func everyFieldOfEveryObject() throws {
        let file = try PolicyFile.parse(text: example, name: "host1.yaml")

        #expect(file.settings.hasZeroFlowID == true)
        #expect(file.settings.validatesSource == nil)
        #expect(file.settings.outerTTL == 64)
        #expect(file.settings.gatewayMAC.map(bytes) == [2, 0, 0, 0, 0, 1])
        #expect(file.settings.neighborRetries == 5)

        #expect(file.ports.map(\.name) == ["uplink", "contoso1", "contoso2"])
        #expect(file.ports.map(\.kind) == [APUS_PORT_PROVIDER, APUS_PORT_VM, APUS_PORT_VM])
        #expect(file.ports.map(\.device) == ["net_af_packet0", "net_tap0", nil])
        #expect(file.ports.map(\.virtualSubnetID) == [0, 6000, 6000])
        #expect(file.ports.map(\.mtu) == [0, 1400, 0])
        #expect(file.ports.map(\.isTrusted) == [false, false, true])
        // Without quotes, YAML 1.1 takes this for a number in base 60; it is the text that counts.
        #expect(bytes(file.ports[1].mac) == [0x60, 0, 0x60, 0, 1, 1])
        #expect(bytes(file.ports[2].mac) == [0x60, 0, 0x60, 0, 1, 2])

        let address = try #require(file.providerAddresses.first)
        #expect(bytes(address.providerAddress) == [192, 168, 0, 22])
        #expect(address.prefixLength == 24)
        #expect(address.port == "uplink")
        #expect(address.vlan == 7)
        #expect(bytes(address.mac) == [0x32, 0x44, 0x55, 0x66, 0x77, 0x88])

        let providerRoute = try #require(file.providerRoutes.first)
        #expect(bytes(providerRoute.destinationPrefix.address) == [0, 0, 0, 0])
        #expect(providerRoute.destinationPrefix.length == 0)
        #expect(bytes(providerRoute.nextHop) == [192, 168, 0, 1])
        #expect(providerRoute.metric == 10)

        #expect(bytes(try #require(file.providerNeighbors.first).address) == [192, 168, 0, 33])

        let route = try #require(file.customerRoutes.first)
        #expect(route.routingDomainID.bytes.0 == 0x12 && route.routingDomainID.bytes.15 == 0x01)
        #expect(bytes(route.nextHop) == [0, 0, 0, 0], "on-link is the default")
        #expect(route.nextHop.family == UInt8(APUS_IPV4))
        #expect(route.metric == 0)

        #expect(file.lookupRecords.map(\.rule) == [APUS_RULE_ENCAP, APUS_RULE_ENCAP])
        #expect(file.lookupRecords.map(\.type) == [APUS_RECORD_STATIC, APUS_RECORD_DYNAMIC])
        let record = file.lookupRecords[1]
        #expect(bytes(record.customerAddress) == [10, 0, 1, 103])
        #expect(bytes(record.mac) == [0x60, 0, 0x60, 0, 2, 3])
        #expect(bytes(record.providerAddress) == [192, 168, 0, 33])
        #expect(record.vmName == "Contoso3")
        #expect(record.customerID == "{12345678-1000-2000-3000-123456780000}")
        #expect(record.context == "rack 12")
    }

    @Test func everyAddressMayBeIPv6() throws {
        let file = try PolicyFile.parse(text: exampleIPv6, name: "host1.yaml")
        #expect(file.providerAddresses.map { text($0.providerAddress) } == ["2001:db8:0:a::22", "192.168.0.22"])
        #expect(file.providerAddresses.map(\.prefixLength) == [64, 24])
        #expect(file.providerRoutes.map { text($0.destinationPrefix) } == ["::/0", "2001:db8:0:b::/64"])
        #expect(file.providerRoutes.map { text($0.nextHop) } == ["2001:db8:0:a::1", "::"])
        #expect(file.providerNeighbors.map { text($0.address) } == ["2001:db8:0:a::33"])
        let prefixes = ["2001:db8:1::/64", "fd00::/8", "2001:db8:2::/120"]
        #expect(file.customerRoutes.map { text($0.destinationPrefix) } == prefixes)
        #expect(
            file.customerRoutes.map { text($0.nextHop) } == ["::", "2001:db8:1::fe", "::"], "on-link is the default")
        #expect(file.customerRoutes.map(\.advertises) == [true, false, true])
        #expect(file.customerRoutes.map(\.autoconfigures) == [true, false, false])
        #expect(file.customerRoutes.map(\.object.flags) == [3, 0, 1])
        #expect(file.lookupRecords.map { text($0.customerAddress) } == ["2001:db8:1::101", "fd00::", "10.0.1.103"])
        let providers = ["2001:db8:0:a::22", "192.168.0.33", "2001:db8:0:a::33"]
        #expect(file.lookupRecords.map { text($0.providerAddress) } == providers)
    }

    @Test func everyFieldOfExternalPorts() throws {
        let ports = try PolicyFile.parse(text: exampleOfGateway, name: "gateway.yaml").ports
        #expect(ports.map(\.name) == ["contoso", "trunk", "woodgrove", "alone", "beside"])
        #expect(ports.map(\.parent) == ["trunk", nil, "trunk", nil, "alone"])
        #expect(ports.map(\.device) == [nil, "net_af_packet1", nil, "net_tap0", nil])
        #expect(ports.map(\.vlan) == [101, 0, 4094, 0, 1])
        #expect(ports.map(\.virtualSubnetID) == [6009, 0, 7009, 8009, 8009])
        #expect(ports.map { $0.ipv4.map { text($0.address) } } == ["10.9.0.2", nil, "10.9.0.2", nil, "10.9.0.2"])
        #expect(ports.map { $0.ipv4?.prefixLength } == [24, nil, 24, nil, 32])
        #expect(ports.map { $0.ipv6.map { text($0.address) } } == ["2001:db8:9::2", nil, nil, "2001:db8:9::2", nil])
        #expect(ports[0].ipv4.map { text($0.nextHop) } == "10.9.0.1")
        #expect(ports[0].ipv6?.nextHop.family == 0)
        #expect(ports[3].ipv6.map { text($0.nextHop) } == "2001:db8:9::3")
        #expect(ports[3].lines["ipv6"] == 23)
    }

    @Test func linesOfObjectsAndKeys() throws {
        let file = try PolicyFile.parse(text: example, name: "host1.yaml")
        #expect(file.ports.map(\.lines.first) == [4, 5, 6])
        #expect(file.ports[1].lines["mac"] == 5)
        #expect(file.ports[2].lines["mac"] == 9)
        #expect(file.lookupRecords[1].lines["context"] == 31)
        #expect(file.lookupRecords[1].lines["no such key"] == 23)
    }

    @Test(arguments: [
        "apus: 1", "apus: 1\n", "---\napus: 1\n...\n", "\u{FEFF}apus: 1", "%YAML 1.1\n---\napus: 1",
        "apus: 1\nports:\nlookup_records: ~\nsettings: null", "apus: 1\r\nports: []\r\n", "{apus: 1, settings: {}}",
    ])
    func emptyPolicies(_ text: String) throws {
        let file = try PolicyFile.parse(text: text, name: "policy")
        #expect(file.ports.isEmpty && file.lookupRecords.isEmpty)
    }

    @Test func sectionsComeInAnyOrder() throws {
        let file = try PolicyFile.parse(
            text: """
                lookup_records:
                - {customer_address: 10.0.0.2, virtual_subnet_id: 17, mac: 600060000001, provider_address: 10.1.0.1}
                provider_routes: [{destination_prefix: 10.1.0.0/16, port: up}]
                ports: [{kind: provider, name: up}]
                settings: {accept_reserved_vsids: true}
                apus: 1
                """, name: "policy")
        #expect(file.lookupRecords.first?.virtualSubnetID == 17)
        #expect(file.providerRoutes.first?.port == "up")
    }

    @Test func settingsFillOnlyWhatTheySay() throws {
        var options = unsafe apus_dataplane_opts()
        unsafe options.neighbor_retry_ms = 77
        unsafe options.flags = APUS_DATAPLANE_ACCEPT_IP_OPTIONS
        unsafe options.outer_ttl = 3
        try unsafe PolicyFile.parse(text: example, name: "policy").fill(&options)
        #expect(unsafe options.flags == APUS_DATAPLANE_ACCEPT_IP_OPTIONS | APUS_DATAPLANE_FLOW_ID_ZERO)
        #expect(unsafe options.neighbor_retry_ms == 77)
        #expect(unsafe options.neighbor_retries == 5)
        #expect(unsafe options.outer_ttl == 64)
        #expect(unsafe options.expected_records == 0)

        let all =
            "{accept_reserved_vsids: true, flow_id_zero: true, source_validation: false, accept_ip_options: true, "
            + "neighbour_reachable_ms: 1000, neighbour_retry_ms: 60000, send_unreachable: true}"
        try unsafe PolicyFile.parse(text: "apus: 1\nsettings: \(all)", name: "policy").fill(&options)
        #expect(unsafe options.flags == 0x2F)
        #expect(unsafe options.neighbor_reachable_ms == 1000)
        #expect(unsafe options.neighbor_retry_ms == 60_000)
    }

    @Test(arguments: [
        ("", APUS_ADDRESS_PREFERRED, 0), (", state: Preferred", APUS_ADDRESS_PREFERRED, 0),
        (", state: Deprecated, detect_duplicates: true", APUS_ADDRESS_DEPRECATED, APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES),
        (", state: Invalid, detect_duplicates: false", APUS_ADDRESS_INVALID, 0),
    ])
    func statesOfProviderAddresses(_ words: String, _ state: apus_address_state, _ flags: UInt32) throws {
        let text = """
            apus: 1
            ports: [{name: uplink, kind: provider}]
            provider_addresses:
            - {provider_address: 192.168.0.22, prefix_length: 24, port: uplink, mac: 324455667788\(words)}
            """
        let object = try PolicyFile.parse(text: text, name: "policy").providerAddresses[0].object(port: 7)
        #expect(UInt32(object.state) == state.rawValue)
        #expect(object.flags == flags)
    }

    @Test func aHundredThousandRecords() throws {
        var text = "apus: 1\nlookup_records:\n"
        for index in 0..<100_000 {
            text += "- {customer_address: 10.\(index >> 16).\(index >> 8 & 255).\(index & 255), "
            text += "virtual_subnet_id: 6000, mac: 600060000001, provider_address: 192.168.0.33}\n"
        }
        let file = try PolicyFile.parse(text: text, name: "policy")
        #expect(file.lookupRecords.count == 100_000)
        #expect(file.lookupRecords[99_999].lines.first == 100_002)
        var options = unsafe apus_dataplane_opts()
        unsafe file.fill(&options)
        #expect(unsafe options.expected_records == 100_000)
    }
}

func bytes(_ mac: apus_mac) -> [UInt8] {
    [mac.bytes.0, mac.bytes.1, mac.bytes.2, mac.bytes.3, mac.bytes.4, mac.bytes.5]
}

/// The bytes of an IPv4 address.
func bytes(_ address: apus_address) -> [UInt8] {
    [address.bytes.0, address.bytes.1, address.bytes.2, address.bytes.3]
}

func text(_ address: apus_address) -> String {
    var address = address
    var text = [CChar](repeating: 0, count: Int(APUS_TEXT_SIZE))
    let length = unsafe apus_address_format(&address, &text, text.count)
    return String(decoding: text.prefix(Int(length)).map(UInt8.init(bitPattern:)), as: UTF8.self)
}

func text(_ prefix: apus_prefix) -> String { "\(text(prefix.address))/\(prefix.length)" }
