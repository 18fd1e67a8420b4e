// SPDX-License-Identifier: Apache-2.0

public import CApus

// The objects of a policy file as the structs of port.h, provider.h and policy.h.

extension Port {
    /// `parent`: the number of the port that the file names; 0 if it names none.
    public func object(parent: UInt32) -> apus_port_params {
        var object = apus_port_params()
        object.size = MemoryLayout<apus_port_params>.size
        object.kind = kind.rawValue
        if isTrusted { object.flags |= APUS_PORT_TRUSTED }
        if hasDHCPGuard { object.flags |= APUS_PORT_DHCP_GUARD }
        object.dynamic_address_limit = dynamicAddressLimit
        object.virtual_subnet_id = virtualSubnetID
        object.mac = mac
        object.mtu = mtu
        object.routing_domain_id = routingDomainID
        object.new_flow_rate = newFlowRate
        object.parent_port = parent
        object.vlan = vlan
        if let ipv4 { object.ipv4 = ipv4.object }
        if let ipv6 { object.ipv6 = ipv6.object }
        fill(&object.name, name)
        return object
    }
}

extension ExternalSide {
    fileprivate var object: apus_external_side {
        var object = apus_external_side()
        object.address = address
        object.prefix_length = prefixLength
        object.next_hop = nextHop
        return object
    }
}

extension ProviderAddress {
    /// `port`: the number of the port that the file names.
    public func object(port: UInt32) -> apus_provider_address {
        var object = apus_provider_address()
        object.size = MemoryLayout<apus_provider_address>.size
        object.provider_address = providerAddress
        object.port = port
        object.prefix_length = prefixLength
        object.vlan = vlan
        object.mac = mac
        object.state = UInt8(state.rawValue)
        if detectsDuplicates { object.flags = APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES }
        return object
    }
}

extension ProviderRoute {
    /// `port`: the number of the port that the file names.
    public func object(port: UInt32) -> apus_provider_route {
        var object = apus_provider_route()
        object.size = MemoryLayout<apus_provider_route>.size
        object.destination_prefix = destinationPrefix
        object.next_hop = nextHop
        object.port = port
        object.metric = metric
        return object
    }
}

extension ProviderNeighbor {
    public var object: apus_provider_neighbor {
        var object = apus_provider_neighbor()
        object.size = MemoryLayout<apus_provider_neighbor>.size
        object.address = address
        object.mac = mac
        return object
    }
}

extension ProviderPeer {
    public var object: apus_provider_peer {
        var object = apus_provider_peer()
        object.size = MemoryLayout<apus_provider_peer>.size
        object.provider_address = providerAddress
        object.encapsulation = encapsulation
        object.key_layout = keyLayout
        object.flow_id = flowID
        object.dscp_mode = dscpMode
        object.dscp = dscp
        object.ecn_mode = ecnMode
        object.df_mode = dfMode
        object.ttl = ttl
        object.mtu = mtu
        return object
    }
}

extension VirtualSubnet {
    public var object: apus_virtual_subnet {
        var object = apus_virtual_subnet()
        object.size = MemoryLayout<apus_virtual_subnet>.size
        object.virtual_subnet_id = virtualSubnetID
        if broadcasts { object.flags |= APUS_SUBNET_BROADCAST }
        if allowsNonIP { object.flags |= APUS_SUBNET_ALLOW_NON_IP }
        object.multicast_group = multicastGroup
        object.replication_rate = replicationRate
        return object
    }
}

extension CustomerRoute {
    public var object: apus_customer_route {
        var object = apus_customer_route()
        object.size = MemoryLayout<apus_customer_route>.size
        object.routing_domain_id = routingDomainID
        object.virtual_subnet_id = virtualSubnetID
        object.destination_prefix = destinationPrefix
        object.next_hop = nextHop
        object.metric = metric
        if advertises { object.flags |= APUS_CUSTOMER_ROUTE_ADVERTISE }
        if autoconfigures { object.flags |= APUS_CUSTOMER_ROUTE_AUTOCONFIGURE }
        return object
    }
}

extension LookupRecord {
    public var object: apus_lookup_record {
        var object = apus_lookup_record()
        object.size = MemoryLayout<apus_lookup_record>.size
        object.customer_address = customerAddress
        object.virtual_subnet_id = virtualSubnetID
        object.mac = mac
        object.rule = UInt8(truncatingIfNeeded: rule.rawValue)
        object.type = UInt8(truncatingIfNeeded: type.rawValue)
        object.provider_address = providerAddress
        if isUnusable { object.flags |= APUS_RECORD_UNUSABLE }
        if usesVMMACAddress { object.flags |= APUS_RECORD_USE_VM_MAC }
        fill(&object.customer_id, customerID)
        fill(&object.context, context)
        fill(&object.vm_name, vmName)
        return object
    }
}

/// Copy a text into a `char[]` field that is longer than it, which leaves the final NUL.
private func fill<Characters>(_ field: inout Characters, _ text: String) {
    unsafe withUnsafeMutableBytes(of: &field) { bytes in
        for (index, byte) in zip(bytes.indices.dropLast(), text.utf8) { unsafe bytes[index] = byte }
    }
}
