// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// port.h

private let object: Words = "port"
private let minimum = MemoryLayout<apus_port_params>.size

/// Check a port's parameters and turn them into a ``Port`` without an id; of an external port without what the ``Store`` completes.
private func read(_ params: UnsafePointer<apus_port_params>?, _ settings: Settings) -> (Failure?, Port, GUID) {
    var copy = apus_port_params()
    var port = Port(id: 0, vsid: 0, mac: MACAddress(0), flags: 0, mtu: 0, kind: 0, name: .init(repeating: 0), dynamicLimit: 0)
    if let failure = unsafe readStruct(params, into: &copy, minimum: minimum, object) { return (failure, port, GUID(high: 0, low: 0)) }
    let domain = GUID(copy.routing_domain_id)
    let early =
        checkFlags(copy.flags, APUS_PORT_TRUSTED | APUS_PORT_DHCP_GUARD, object)
        ?? checkZero(copy.reserved.u64, object, "reserved") ?? readRate(copy, &port)
    if let early { return (early, port, domain) }
    let isNamed = unsafe withUnsafePointer(to: copy.name) { unsafe readText($0, &port.name) }
    if !isNamed {
        return (Failure(APUS_ERR_RANGE, object, "name", .none, "is not NUL-terminated within 32 bytes"), port, domain)
    }
    switch copy.kind {
    case APUS_PORT_VM.rawValue: return (readVM(copy, &port, settings) ?? checkNotExternal(copy), port, domain)
    case APUS_PORT_PROVIDER.rawValue: return (readProvider(copy, &port) ?? checkNotExternal(copy), port, domain)
    case APUS_PORT_EXTERNAL.rawValue: return (readExternal(copy, &port, settings), port, domain)
    default:
        return (Failure(APUS_ERR_RANGE, object, "kind", .number(copy.kind.u64), "is outside 1-3"), port, domain)
    }
}

private func readRate(_ params: apus_port_params, _ port: inout Port) -> Failure? {
    port.newFlowRate = params.new_flow_rate
    return port.newFlowRate > 1_000_000_000
        ? Failure(APUS_ERR_RANGE, object, "new_flow_rate", .number(port.newFlowRate.u64), "is outside 0-1000000000") : nil
}

private func readExternal(_ params: apus_port_params, _ port: inout Port, _ settings: Settings) -> Failure? {
    port.kind = Port.external
    port.vsid = params.virtual_subnet_id
    port.mac = MACAddress(params.mac)
    port.mtu = params.mtu == 0 ? 1500 : params.mtu
    port.device = params.parent_port == 0 ? none : params.parent_port
    port.vlan = params.vlan
    if let failure = checkVSID(port.vsid, settings, object) ?? checkMAC(port.mac, object) { return failure }
    if GUID(params.routing_domain_id).isZero {
        return Failure(APUS_ERR_CONFLICT, object, "routing_domain_id", .guid(GUID(high: 0, low: 0)), "is all zero; an external port serves one")
    }
    if let failure = checkNotVM(params) { return failure }
    if port.mtu < 576 { return Failure(APUS_ERR_RANGE, object, "mtu", .number(port.mtu.u64), "is outside 576-65535") }
    if port.vlan > 4094 || (port.vlan == 0 && params.parent_port != 0) {
        return Failure(
            APUS_ERR_RANGE, object, "vlan", .number(port.vlan.u64),
            params.parent_port != 0 ? "is outside 1-4094 (there is a parent port)" : "is outside 0-4094")
    }
    if let failure = readSide(params.ipv4, &port.ipv4, isIPv6: false) ?? readSide(params.ipv6, &port.ipv6, isIPv6: true) {
        return failure
    }
    return port.ipv4.isPresent || port.ipv6.isPresent
        ? nil : Failure(APUS_ERR_CONFLICT, object, "ipv4", .none, "and ipv6 are both empty: the port reaches nobody")
}

private func readSide(_ given: apus_external_side, _ side: inout ExternalSide, isIPv6: Bool) -> Failure? {
    let field: Words = isIPv6 ? "ipv6" : "ipv4"
    let reserved = given.reserved.0.u64 | given.reserved.1.u64 | given.reserved.2.u64
    if let failure = checkZero(reserved, object, field) { return failure }
    if given.address.family == 0 {
        return given.next_hop.family == 0 && given.prefix_length == 0
            ? nil : Failure(APUS_ERR_CONFLICT, object, field, .none, "has a next hop or a prefix length, but no address")
    }
    let (failure, address) = readUnicast(given.address, object, field)
    if let failure { return failure }
    if address.isV4 == isIPv6 {
        return Failure(APUS_ERR_FAMILY, object, field, .address(address), "is an address of the other family")
    }
    let (lengthFailure, length) = readLength(given.prefix_length, minimum: 1, of: address, object, field)
    if let lengthFailure { return lengthFailure }
    // Prefixes of one or two addresses (RFC 3021), and IPv6, have no addresses that are nobody's.
    let hosts = UInt32(1) &<< (128 &- length).u32 &- 1
    if !isIPv6, hosts > 1, address.v4 & hosts == 0 || ~address.v4 & hosts == 0 {
        return Failure(
            APUS_ERR_ADDRESS, object, field, .address(address), "is the network or the broadcast address; accepted: those between, in",
            .prefix(address.masked(length), length))
    }
    (side.address, side.length) = (address, length)
    if given.next_hop.family == 0 { return nil }
    let (hopFailure, nextHop) = readUnicast(given.next_hop, object, field)
    if let hopFailure { return hopFailure }
    if nextHop.isV4 == isIPv6 {
        return Failure(APUS_ERR_FAMILY, object, field, .address(nextHop), "is a next hop of the other family")
    }
    if nextHop == address {
        return Failure(APUS_ERR_ADDRESS, object, field, .address(nextHop), "is a next hop, and the port's own address")
    }
    if !nextHop.isIn(address.masked(length), length) {
        return Failure(APUS_ERR_ADDRESS, object, field, .address(nextHop), "is a next hop outside", .prefix(address.masked(length), length))
    }
    side.nextHop = nextHop
    return nil
}

/// What only external ports have.
private func checkNotExternal(_ params: apus_port_params) -> Failure? {
    if params.parent_port != 0 {
        return Failure(APUS_ERR_CONFLICT, object, "parent_port", .number(params.parent_port.u64), "is for external ports")
    }
    if params.vlan != 0 {
        return Failure(APUS_ERR_CONFLICT, object, "vlan", .number(params.vlan.u64), "is for external ports")
    }
    var none = ExternalSide()
    if readSide(params.ipv4, &none, isIPv6: false) != nil || readSide(params.ipv6, &none, isIPv6: true) != nil || none.isPresent {
        return Failure(APUS_ERR_CONFLICT, object, none.isPresent && !none.address.isV4 ? "ipv6" : "ipv4", .none, "is for external ports")
    }
    return nil
}

/// What only vm ports have.
private func checkNotVM(_ params: apus_port_params) -> Failure? {
    if params.flags != 0 {
        return Failure(APUS_ERR_CONFLICT, object, "flags", .number(params.flags.u64), "is for vm ports")
    }
    if params.dynamic_address_limit != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "dynamic_address_limit", .number(params.dynamic_address_limit.u64),
            "is for vm ports")
    }
    return nil
}

private func readVM(_ params: apus_port_params, _ port: inout Port, _ settings: Settings) -> Failure? {
    port.kind = Port.vm
    port.flags = params.flags
    port.vsid = params.virtual_subnet_id
    port.mac = MACAddress(params.mac)
    port.mtu = params.mtu == 0 ? 1500 : params.mtu
    port.dynamicLimit = params.dynamic_address_limit == 0 ? 16 : params.dynamic_address_limit
    if let failure = checkVSID(port.vsid, settings, object) { return failure }
    if let failure = checkMAC(port.mac, object) { return failure }
    if let failure = checkNoDomain(params) { return failure }
    if port.dynamicLimit > 65536 {
        return Failure(
            APUS_ERR_RANGE, object, "dynamic_address_limit", .number(port.dynamicLimit.u64), "is outside 0-65536")
    }
    return port.mtu < 576
        ? Failure(APUS_ERR_RANGE, object, "mtu", .number(port.mtu.u64), "is outside 576-65535") : nil
}

private func readProvider(_ params: apus_port_params, _ port: inout Port) -> Failure? {
    port.kind = Port.provider
    port.mtu = params.mtu == 0 ? 1500 : params.mtu
    if params.virtual_subnet_id != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "virtual_subnet_id", .number(params.virtual_subnet_id.u64),
            "is for vm and external ports")
    }
    if MACAddress(params.mac).value != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "mac", .mac(MACAddress(params.mac)),
            "is for vm and external ports; a provider address has its own")
    }
    if params.new_flow_rate != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "new_flow_rate", .number(params.new_flow_rate.u64), "is for vm and external ports")
    }
    if let failure = checkNoDomain(params) ?? checkNotVM(params) { return failure }
    return port.mtu < 128
        ? Failure(APUS_ERR_RANGE, object, "mtu", .number(port.mtu.u64), "is outside 128-65535") : nil
}

private func checkNoDomain(_ params: apus_port_params) -> Failure? {
    let id = GUID(params.routing_domain_id)
    return id.isZero
        ? nil : Failure(APUS_ERR_CONFLICT, object, "routing_domain_id", .guid(id), "is for external ports")
}

private func fill(_ port: Port, _ tables: Tables, _ out: UnsafeMutablePointer<apus_port_params>, size: Int) {
    var params = apus_port_params()
    params.kind = port.kind.u32
    params.flags = port.flags
    params.virtual_subnet_id = port.vsid
    params.mac = port.mac.c
    params.mtu = port.mtu
    params.dynamic_address_limit = port.dynamicLimit
    params.new_flow_rate = port.newFlowRate
    if port.kind == Port.external {
        params.routing_domain_id = tables.domains[port.domain].value.id.c
        params.parent_port = port.device == port.id ? 0 : port.device
        params.vlan = port.vlan
        params.ipv4 = port.ipv4.c
        params.ipv6 = port.ipv6.c
    }
    unsafe withUnsafeMutablePointer(to: &params.name) { to in
        unsafe withUnsafePointer(to: port.name) { unsafe apus_copy(to, $0, 32) }
    }
    unsafe writeStruct(params, to: out, size: size)
}

@c @implementation
public func apus_port_add(
    _ dataplane: OpaquePointer?, _ params: UnsafePointer<apus_port_params>?, _ id: UnsafeMutablePointer<UInt32>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        guard let id = unsafe id else { return nullFailure(object, "id") }
        let (failure, port, domain) = unsafe read(params, dataplane.value.settings)
        if let failure { return failure }
        let (refusal, given) = dataplane.value.store.addPort(port, domain)
        if given != 0 {
            // A slot keeps the counts of the ports that had it before.
            var field = 0
            while field < PortCounters.fields {
                dataplane.value.portBaselines.store(given, field, dataplane.value.portTotal(given, field))
                field &+= 1
            }
            unsafe id.pointee = given
        }
        return refusal
    }
}

@c @implementation
public func apus_port_get(
    _ dataplane: OpaquePointer?, _ id: UInt32, _ out: UnsafeMutablePointer<apus_port_params>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, size) = unsafe sizeOfStruct(out, minimum: minimum, object)
        guard failure == nil, let out = unsafe out else { return failure }
        guard let number = dataplane.value.store.port(id) else { return Store.portMissing(id) }
        let tables = dataplane.value.store.tables
        unsafe fill(tables.ports[number], tables, out, size: size)
        return nil
    }
}

@c @implementation
public func apus_port_set(
    _ dataplane: OpaquePointer?, _ id: UInt32, _ params: UnsafePointer<apus_port_params>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, port, domain) = unsafe read(params, dataplane.value.settings)
        return failure ?? dataplane.value.store.setPort(id, port, domain)
    }
}

@c @implementation
public func apus_port_remove(_ dataplane: OpaquePointer?, _ id: UInt32) -> Int32 {
    unsafe control(dataplane) { $0.value.store.removePort(id) }
}

@c @implementation
public func apus_port_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?, _ id: UnsafeMutablePointer<UInt32>?,
    _ out: UnsafeMutablePointer<apus_port_params>?
) -> Int32 {
    if unsafe id == nil { return unsafe control(dataplane) { _ in nullFailure(object, "id") } }
    return unsafe iterate(dataplane, cursor, out, minimum, object, { $0.ports }) { tables, number, out, size in
        unsafe id?.pointee = tables.ports[number].id
        unsafe fill(tables.ports[number], tables, out, size: size)
    }
}

extension ExternalSide {
    fileprivate var c: apus_external_side {
        var side = apus_external_side()
        if !isPresent { return side }
        side.address = address.c
        side.prefix_length = address.isV4 ? length &- IPAddress.v4PrefixOffset : length
        if !nextHop.isUnspecified { side.next_hop = nextHop.c }
        return side
    }
}
