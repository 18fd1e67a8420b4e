// SPDX-License-Identifier: Apache-2.0

public import CApus

// The objects of a policy file. The fields are those of the C structs of port.h, provider.h and policy.h; ports are
// named instead of numbered. Each initializer is at the same time the list of the keys that the object has.

/// An entry of `ports`.
public struct Port: Sendable {
    public var name: String
    public var kind: apus_port_kind
    /// What the host connects the port to; it alone knows what this means.
    public var device: String?
    public var virtualSubnetID: UInt32
    public var mac: apus_mac
    /// 0 = the default.
    public var mtu: UInt16
    public var isTrusted: Bool
    /// Drop what the machine sends as a DHCP server.
    public var hasDHCPGuard: Bool
    /// Customer addresses that may be learned of the machine; 0 = the default.
    public var dynamicAddressLimit: UInt32
    /// Packets of unknown flows that a worker decides about in a second; 0 = no limit.
    public var newFlowRate: UInt32
    /// The VM network that an external port serves.
    public var routingDomainID: apus_guid
    /// The port that an external one's frames come from and go to, with the tag of `vlan`; nil: a device of its own.
    public var parent: String?
    /// 0 = untagged.
    public var vlan: UInt16
    /// How an external port speaks outside; nil: not this family.
    public var ipv4: ExternalSide?
    public var ipv6: ExternalSide?
    public let lines: SourceLines

    /// The words for the kinds.
    private static var kinds: KeyValuePairs<String, apus_port_kind> {
        ["vm": APUS_PORT_VM, "provider": APUS_PORT_PROVIDER, "external": APUS_PORT_EXTERNAL]
    }
    /// The name must be the name of a file too: replay writes one for each port.
    private static let nameCharacters = "letters, digits, '-', '_' and '.', not beginning with '.' or '-'"

    init?(_ fields: inout FieldReader, _ references: inout References) {
        let name = Self.name(&fields)
        let kind = fields.word("kind", .required, of: Self.kinds)
        if let name { references.define(port: name, kind: kind, fields) }

        let isVM = kind == APUS_PORT_VM, isExternal = kind == APUS_PORT_EXTERNAL
        let hasMachine: FieldReader.Presence = isVM || isExternal ? .required : .optional
        let device = fields.text("device", .optional, limit: 4096)
        let subnet = references.virtualSubnet("virtual_subnet_id", hasMachine, &fields)
        let mac = fields.mac("mac", hasMachine)
        // Limits of port.h: an underlay may carry less than what every IPv4 host must accept.
        let mtu = fields.number("mtu", .optional, in: (kind == APUS_PORT_PROVIDER ? 128 : 576)...UInt16.max)
        let trusted = fields.flag("trusted")
        let domain = fields.guid("routing_domain_id", isExternal ? .required : .optional)
        let guardsDHCP = fields.flag("dhcp_guard")
        let limit = fields.number("dynamic_address_limit", .optional, in: 1...UInt32(65536))
        let rate = fields.number("new_flow_rate", .optional, in: 1...UInt32(1_000_000_000))
        let parent = isExternal ? references.parentPort("parent", name, &fields) : fields.text("parent", .optional, limit: 31)
        let vlan = fields.number("vlan", .optional, in: (fields.has("parent") ? 1 : 0)...UInt16(4094))
        let ipv4 = ExternalSide("ipv4", UInt8(APUS_IPV4), &fields)
        let ipv6 = ExternalSide("ipv6", UInt8(APUS_IPV6), &fields)

        if let kind {
            let strangers =
                (isVM || isExternal ? [] : ["virtual_subnet_id", "mac", "new_flow_rate"])
                + (isVM ? [] : ["trusted", "dhcp_guard", "dynamic_address_limit"])
                + (isExternal ? [] : ["routing_domain_id", "parent", "vlan", "ipv4", "ipv6"])
            let word = Self.kinds.first { $0.value == kind }?.key ?? ""
            for key in strangers where fields.has(key) {
                fields.refuse(key, "does not apply to a port of kind \(word)")
            }
        }
        if isExternal { Self.checkExternal(fields) }
        guard let name, let kind else { return nil }
        self.name = name
        self.kind = kind
        self.device = device
        virtualSubnetID = subnet ?? 0
        self.mac = mac ?? apus_mac()
        self.mtu = mtu ?? 0
        isTrusted = trusted ?? false
        routingDomainID = domain ?? apus_guid()
        hasDHCPGuard = guardsDHCP ?? false
        dynamicAddressLimit = limit ?? 0
        newFlowRate = rate ?? 0
        self.parent = parent
        self.vlan = vlan ?? 0
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        lines = fields.lines
    }

    /// What an external port has with and without a parent, and what it needs to reach anybody.
    private static func checkExternal(_ fields: FieldReader) {
        if fields.has("parent") {
            if fields.has("device") {
                fields.refuse("device", "does not apply to a port with a parent, which brings its frames")
            }
            if !fields.has("vlan") { fields.refuse("vlan", "missing; accepted with a parent: 1-4094") }
        }
        if !fields.has("ipv4"), !fields.has("ipv6") {
            fields.refuse("ipv4", "missing, and so is ipv6; at least one is required")
        }
    }

    private static func name(_ fields: inout FieldReader) -> String? {
        // 32 bytes in apus_port_params, one of them for the NUL.
        guard let name = fields.text("name", .required, limit: 31) else { return nil }
        let fits = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        if fits, let first = name.first, first != ".", first != "-" { return name }
        fields.refuse("name", "\(quoted(name)) is not a port name; accepted: \(nameCharacters)")
        return nil
    }
}

/// How an external port speaks one address family: `ipv4` and `ipv6` of a port.
public struct ExternalSide: Sendable {
    /// The port's own address outside, with the length of its prefix.
    public var address: apus_address
    public var prefixLength: UInt8
    /// The router outside; family 0 if there is none.
    public var nextHop: apus_address

    /// Nil if it is not there, or wrong, which was noted.
    init?(_ key: String, _ family: UInt8, _ fields: inout FieldReader) {
        guard var side = fields.mapping(key, "a mapping such as {address: 10.9.0.2/24, next_hop: 10.9.0.1}") else { return nil }
        let interface = side.interface("address", .required)
        let nextHop = side.address("next_hop", .optional)
        side.finish()
        guard let interface else { return nil }
        let word = apus_address.unspecified(family).familyName
        guard interface.address.family == family else {
            side.refuse("address", "\(interface.address.text) is an \(interface.address.familyName) address; accepted: an \(word) address")
            return nil
        }
        if let wrong = Self.fault(of: interface) { side.refuse("address", "\(interface.address.text) \(wrong)") }
        if let nextHop, let wrong = Self.fault(of: nextHop, in: interface) { side.refuse("next_hop", "\(nextHop.text) \(wrong)") }
        address = interface.address
        prefixLength = interface.length
        self.nextHop = nextHop ?? apus_address()
    }

    /// Why this is nobody's address. Prefixes of one or two addresses (RFC 3021), and IPv6, have no such addresses.
    private static func fault(of interface: (address: apus_address, length: UInt8)) -> String? {
        guard interface.address.isIPv4, interface.length <= 30 else { return nil }
        let bytes = interface.address.bytes
        let address = [bytes.0, bytes.1, bytes.2, bytes.3].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        let hosts = UInt32.max >> UInt32(interface.length)
        let name = address & hosts == 0 ? "network" : ~address & hosts == 0 ? "broadcast" : nil
        return name.map { "is the \($0) address of its prefix; accepted: another address in \(interface.address.network(interface.length).text)" }
    }

    /// Why this is no next hop outside.
    private static func fault(of nextHop: apus_address, in interface: (address: apus_address, length: UInt8)) -> String? {
        let prefix = interface.address.network(interface.length).text
        let accepted = "accepted: another address in \(prefix)"
        if nextHop.family != interface.address.family { return "is an \(nextHop.familyName) address; \(accepted)" }
        if nextHop.text == interface.address.text { return "is the port's own address; \(accepted)" }
        return nextHop.network(interface.length).text == prefix ? nil : "is not in the prefix of the address; \(accepted)"
    }
}

/// An entry of `provider_addresses`.
public struct ProviderAddress: Sendable {
    public var providerAddress: apus_address
    public var prefixLength: UInt8
    public var port: String
    public var mac: apus_mac
    public var vlan: UInt16
    public var state: apus_address_state
    public var detectsDuplicates: Bool
    public let lines: SourceLines

    init?(_ fields: inout FieldReader, _ references: inout References) {
        let address = fields.address("provider_address", .required)
        let length = fields.number("prefix_length", .required, in: 1...(address?.bitCount ?? 128))
        let port = references.providerPort("port", &fields)
        let mac = fields.mac("mac", .required)
        let vlan = fields.number("vlan", .optional, in: 0...UInt16(4094))
        let state = fields.word(
            "state", .optional,
            of: [
                "Preferred": APUS_ADDRESS_PREFERRED, "Deprecated": APUS_ADDRESS_DEPRECATED,
                "Invalid": APUS_ADDRESS_INVALID,
            ])
        let detectsDuplicates = fields.flag("detect_duplicates")
        guard let address, let length, let port, let mac else { return nil }
        providerAddress = address
        prefixLength = length
        self.port = port
        self.mac = mac
        self.vlan = vlan ?? 0
        self.state = state ?? APUS_ADDRESS_PREFERRED
        self.detectsDuplicates = detectsDuplicates ?? false
        lines = fields.lines
    }
}

/// An entry of `provider_routes`.
public struct ProviderRoute: Sendable {
    public var destinationPrefix: apus_prefix
    public var nextHop: apus_address
    public var port: String
    public var metric: UInt32
    public let lines: SourceLines

    init?(_ fields: inout FieldReader, _ references: inout References) {
        let prefix = fields.prefix("destination_prefix", .required)
        let port = references.providerPort("port", &fields)
        let nextHop = fields.nextHop("next_hop", to: prefix)
        let metric = fields.number("metric", .optional, in: 0...UInt32.max)
        guard let prefix, let nextHop, let port else { return nil }
        destinationPrefix = prefix
        self.nextHop = nextHop
        self.port = port
        self.metric = metric ?? 0
        lines = fields.lines
    }
}

/// An entry of `provider_neighbours`.
public struct ProviderNeighbor: Sendable {
    public var address: apus_address
    public var mac: apus_mac
    public let lines: SourceLines

    init?(_ fields: inout FieldReader) {
        let address = fields.address("address", .required)
        let mac = fields.mac("mac", .required)
        guard let address, let mac else { return nil }
        self.address = address
        self.mac = mac
        lines = fields.lines
    }
}

/// An entry of `provider_peers`. Words that are not given are 0, the default.
public struct ProviderPeer: Sendable {
    public var providerAddress: apus_address
    public var encapsulation: UInt8
    public var keyLayout: UInt8
    public var flowID: UInt8
    public var dscpMode: UInt8
    public var dscp: UInt8
    public var ecnMode: UInt8
    public var dfMode: UInt8
    public var ttl: UInt8
    public var mtu: UInt16
    public let lines: SourceLines

    init?(_ fields: inout FieldReader) {
        let address = fields.address("provider_address", .required)
        let encapsulation = fields.word(
            "encapsulation", .optional,
            of: ["nvgre": APUS_ENCAPSULATION_NVGRE.rawValue, "vxlan": APUS_ENCAPSULATION_VXLAN.rawValue])
        let layout = fields.word(
            "key_layout", .optional,
            of: ["rfc7637": APUS_KEY_RFC7637.rawValue, "draft00": APUS_KEY_DRAFT00.rawValue])
        let flowID = fields.word(
            "flow_id", .optional, of: ["hash": APUS_FLOW_ID_HASH.rawValue, "zero": APUS_FLOW_ID_ZERO.rawValue])
        let dscpMode = fields.word(
            "dscp_mode", .optional,
            of: [
                "copy": APUS_DSCP_COPY.rawValue, "uniform": APUS_DSCP_UNIFORM.rawValue,
                "pipe": APUS_DSCP_PIPE.rawValue,
            ])
        let dscp = fields.number("dscp", .optional, in: 0...UInt8(63))
        let ecnMode = fields.word(
            "ecn_mode", .optional,
            of: ["normal": APUS_ECN_NORMAL.rawValue, "compatibility": APUS_ECN_COMPATIBILITY.rawValue])
        let dfMode = fields.word(
            "df_mode", .optional, of: ["always": APUS_DF_ALWAYS.rawValue, "copy": APUS_DF_COPY.rawValue])
        let ttl = fields.number("ttl", .optional, in: 1...UInt8.max)
        let mtu = fields.number("mtu", .optional, in: 128...UInt16.max)

        if let dscp, dscpMode != APUS_DSCP_PIPE.rawValue {
            fields.refuse("dscp", "\(dscp), but dscp_mode is not pipe; accepted: 0-63 with dscp_mode: pipe")
        }
        if layout == APUS_KEY_DRAFT00.rawValue, encapsulation == APUS_ENCAPSULATION_VXLAN.rawValue {
            fields.refuse("key_layout", "draft00, but encapsulation is vxlan; accepted: draft00 with nvgre")
        }
        guard let address else { return nil }
        providerAddress = address
        self.encapsulation = UInt8(encapsulation ?? 0)
        keyLayout = UInt8(layout ?? 0)
        self.flowID = UInt8(flowID ?? 0)
        self.dscpMode = UInt8(dscpMode ?? 0)
        self.dscp = dscp ?? 0
        self.ecnMode = UInt8(ecnMode ?? 0)
        self.dfMode = UInt8(dfMode ?? 0)
        self.ttl = ttl ?? 0
        self.mtu = mtu ?? 0
        lines = fields.lines
    }
}

/// An entry of `virtual_subnets`.
public struct VirtualSubnet: Sendable {
    public var virtualSubnetID: UInt32
    public var broadcasts: Bool
    public var allowsNonIP: Bool
    /// Family 0 if there is none.
    public var multicastGroup: apus_address
    /// 0 = the default.
    public var replicationRate: UInt32
    public let lines: SourceLines

    init?(_ fields: inout FieldReader, _ references: inout References) {
        let subnet = references.virtualSubnet("virtual_subnet_id", .required, &fields)
        let broadcasts = fields.flag("broadcast") ?? false
        let allowsNonIP = fields.flag("allow_non_ip") ?? false
        let group = fields.address("multicast_group", .optional)
        let rate = fields.number("replication_rate", .optional, in: 1...UInt32(10_000_000))
        if let group, !group.isMulticast {
            fields.refuse(
                "multicast_group",
                "\(group.text) is not a multicast address; accepted: an address in 224.0.0.0/4 or ff00::/8")
        } else if let group, !broadcasts {
            fields.refuse(
                "multicast_group", "\(group.text), but broadcast is not true; accepted: with broadcast: true")
        }
        guard let subnet else { return nil }
        virtualSubnetID = subnet
        self.broadcasts = broadcasts
        self.allowsNonIP = allowsNonIP
        multicastGroup = group ?? apus_address()
        replicationRate = rate ?? 0
        lines = fields.lines
    }
}

/// An entry of `customer_routes`.
public struct CustomerRoute: Sendable {
    public var routingDomainID: apus_guid
    public var virtualSubnetID: UInt32
    public var destinationPrefix: apus_prefix
    public var nextHop: apus_address
    public var metric: UInt32
    /// Answer router solicitations, naming this prefix.
    public var advertises: Bool
    /// Let machines make their own addresses in it.
    public var autoconfigures: Bool
    public let lines: SourceLines

    init?(_ fields: inout FieldReader, _ references: inout References) {
        let domain = fields.guid("routing_domain_id", .required)
        let subnet = references.virtualSubnet("virtual_subnet_id", .required, &fields)
        let prefix = fields.prefix("destination_prefix", .required)
        let nextHop = fields.nextHop("next_hop", to: prefix)
        let metric = fields.number("metric", .optional, in: 0...UInt32.max)
        let advertises = fields.flag("advertise") ?? false
        let autoconfigures = fields.flag("autoconfigure") ?? false
        if let prefix, let nextHop, advertises || autoconfigures {
            Self.check(advertises, autoconfigures, prefix, nextHop, fields)
        }
        guard let domain, let subnet, let prefix, let nextHop else { return nil }
        routingDomainID = domain
        virtualSubnetID = subnet
        destinationPrefix = prefix
        self.nextHop = nextHop
        self.metric = metric ?? 0
        self.advertises = advertises
        self.autoconfigures = autoconfigures
        lines = fields.lines
    }

    /// Say of which routes routers tell machines (RFC 4861, RFC 4862).
    private static func check(
        _ advertises: Bool, _ autoconfigures: Bool, _ prefix: apus_prefix, _ nextHop: apus_address,
        _ fields: FieldReader
    ) {
        let key = advertises ? "advertise" : "autoconfigure"
        if prefix.address.isIPv4 {
            fields.refuse(key, "true, but \(prefix.text) is an IPv4 prefix; accepted: true with an IPv6 prefix")
        } else if !nextHop.isUnspecified {
            fields.refuse(
                key, "true, but next_hop is \(nextHop.text); accepted: true on-link, without next_hop or with ::")
        } else if !advertises {
            fields.refuse(key, "true, but advertise is not; accepted: true with advertise: true")
        } else if autoconfigures && prefix.length != 64 {
            fields.refuse(
                "autoconfigure", "true, but \(prefix.text) has length \(prefix.length); accepted: true with length 64")
        }
    }
}

/// An entry of `lookup_records`.
public struct LookupRecord: Sendable {
    public var customerAddress: apus_address
    public var virtualSubnetID: UInt32
    public var mac: apus_mac
    public var providerAddress: apus_address
    public var rule: apus_rule
    public var type: apus_record_type
    /// Packets to the record are dropped.
    public var isUnusable: Bool
    /// Rewritten packets leave with the machine's MAC address.
    public var usesVMMACAddress: Bool
    public var vmName: String
    public var customerID: String
    public var context: String
    public let lines: SourceLines

    init?(_ fields: inout FieldReader, _ references: inout References) {
        // Texts have APUS_RECORD_TEXT_SIZE bytes in the C struct, one of them for the NUL.
        let textLimit = Int(APUS_RECORD_TEXT_SIZE) - 1
        let givenAddress = fields.address("customer_address", .optional)
        let subnet = references.virtualSubnet("virtual_subnet_id", .required, &fields)
        let mac = fields.mac("mac", .required)
        let providerAddress = fields.address("provider_address", .required)
        let rule = fields.word(
            "rule", .optional,
            of: [
                "TranslationMethodEncap": APUS_RULE_ENCAP, "TranslationMethodNat": APUS_RULE_NAT,
                "TranslationMethodNone": APUS_RULE_NONE,
            ])
        let type = fields.word(
            "type", .optional,
            of: [
                "Static": APUS_RECORD_STATIC, "Dynamic": APUS_RECORD_DYNAMIC,
                "GatewayWildcard": APUS_RECORD_GATEWAY_WILDCARD, "L2Only": APUS_RECORD_L2_ONLY,
            ])
        let customerAddress = Self.customerAddress(givenAddress, type, fields)
        let unusable = fields.flag("unusable") ?? false
        let usesVMMAC = fields.flag("use_vm_mac_address") ?? false
        if usesVMMAC, rule != APUS_RULE_NAT {
            fields.refuse(
                "use_vm_mac_address", "true, but rule is not TranslationMethodNat; accepted: true with that rule")
        }
        let vmName = fields.text("vm_name", .optional, limit: textLimit)
        let customerID = fields.text("customer_id", .optional, limit: textLimit)
        let context = fields.text("context", .optional, limit: textLimit)
        guard let customerAddress, let subnet, let mac, let providerAddress else { return nil }
        self.customerAddress = customerAddress
        virtualSubnetID = subnet
        self.mac = mac
        self.providerAddress = providerAddress
        self.rule = rule ?? APUS_RULE_ENCAP
        self.type = type ?? APUS_RECORD_STATIC
        isUnusable = unusable
        usesVMMACAddress = usesVMMAC
        self.vmName = vmName ?? ""
        self.customerID = customerID ?? ""
        self.context = context ?? ""
        lines = fields.lines
    }

    /// The customer address, which records of two types have not: they say which machine there is, not where an address is.
    private static func customerAddress(
        _ given: apus_address?, _ type: apus_record_type?, _ fields: FieldReader
    ) -> apus_address? {
        let key = "customer_address"
        // A type that is wrong has been noted, and so has an address: what goes with which cannot be said.
        if (fields.has("type") && type == nil) || (fields.has(key) && given == nil) { return given }
        let isWildcard = type == APUS_RECORD_GATEWAY_WILDCARD
        guard isWildcard || type == APUS_RECORD_L2_ONLY else {
            if given == nil {
                fields.refuse(key, "missing; it is required")
            } else if given?.isUnspecified == true {
                fields.refuse(
                    key, "\(given?.text ?? "") is no machine's address; accepted: a unicast address, or this with "
                        + "type: GatewayWildcard or L2Only")
            }
            return given
        }
        if let given, !given.isUnspecified {
            fields.refuse(
                key, "\(given.text), but type is \(isWildcard ? "GatewayWildcard" : "L2Only"); accepted: 0.0.0.0 or ::, "
                    + "or nothing, which is 0.0.0.0")
        }
        return given ?? .unspecified(UInt8(APUS_IPV4))
    }
}
