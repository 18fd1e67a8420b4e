// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// port.h

private let object: Words = "port"
private let minimum = MemoryLayout<apus_port_params>.size

/// Check a port's parameters and turn them into a ``Port`` without an id.
private func read(_ params: UnsafePointer<apus_port_params>?, _ settings: Settings) -> (Failure?, Port) {
    var copy = apus_port_params()
    var port = Port(id: 0, vsid: 0, mac: MACAddress(0), flags: 0, mtu: 0, kind: 0, name: .init(repeating: 0), dynamicLimit: 0)
    if let failure = unsafe readStruct(params, into: &copy, minimum: minimum, object) { return (failure, port) }
    if let failure = checkFlags(copy.flags, APUS_PORT_TRUSTED | APUS_PORT_DHCP_GUARD, object) { return (failure, port) }
    let isNamed = unsafe withUnsafePointer(to: copy.name) { unsafe readText($0, &port.name) }
    if !isNamed {
        return (Failure(APUS_ERR_RANGE, object, "name", .none, "is not NUL-terminated within 32 bytes"), port)
    }
    switch copy.kind {
    case APUS_PORT_VM.rawValue: return (readVM(copy, &port, settings), port)
    case APUS_PORT_PROVIDER.rawValue: return (readProvider(copy, &port), port)
    case APUS_PORT_EXTERNAL.rawValue:
        return (Failure(APUS_ERR_UNSUPPORTED, object, "kind", .number(3), "(external) is not in this version"), port)
    default:
        return (Failure(APUS_ERR_RANGE, object, "kind", .number(copy.kind.u64), "is outside 1-3"), port)
    }
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
    if params.flags != 0 {
        return Failure(APUS_ERR_CONFLICT, object, "flags", .number(params.flags.u64), "is for vm ports")
    }
    if params.virtual_subnet_id != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "virtual_subnet_id", .number(params.virtual_subnet_id.u64), "is for vm ports")
    }
    if MACAddress(params.mac).value != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "mac", .mac(MACAddress(params.mac)),
            "is for vm ports; a provider address has its own")
    }
    if let failure = checkNoDomain(params) { return failure }
    if params.dynamic_address_limit != 0 {
        return Failure(
            APUS_ERR_CONFLICT, object, "dynamic_address_limit", .number(params.dynamic_address_limit.u64),
            "is for vm ports")
    }
    return port.mtu < 128
        ? Failure(APUS_ERR_RANGE, object, "mtu", .number(port.mtu.u64), "is outside 128-65535") : nil
}

private func checkNoDomain(_ params: apus_port_params) -> Failure? {
    let id = GUID(params.routing_domain_id)
    return id.isZero
        ? nil : Failure(APUS_ERR_CONFLICT, object, "routing_domain_id", .guid(id), "is for external ports")
}

private func fill(_ port: Port, _ out: UnsafeMutablePointer<apus_port_params>, size: Int) {
    var params = apus_port_params()
    params.kind = port.kind.u32
    params.flags = port.flags
    params.virtual_subnet_id = port.vsid
    params.mac = port.mac.c
    params.mtu = port.mtu
    params.dynamic_address_limit = port.dynamicLimit
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
        let (failure, port) = unsafe read(params, dataplane.value.settings)
        if let failure { return failure }
        let (refusal, given) = dataplane.value.store.addPort(port)
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
        unsafe fill(dataplane.value.store.tables.ports[number], out, size: size)
        return nil
    }
}

@c @implementation
public func apus_port_set(
    _ dataplane: OpaquePointer?, _ id: UInt32, _ params: UnsafePointer<apus_port_params>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, port) = unsafe read(params, dataplane.value.settings)
        return failure ?? dataplane.value.store.setPort(id, port)
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
        unsafe fill(tables.ports[number], out, size: size)
    }
}
