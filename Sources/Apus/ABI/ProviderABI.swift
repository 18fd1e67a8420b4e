// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

// provider.h

// MARK: - Provider addresses

private let addressObject: Words = "provider address"
private let addressMinimum = MemoryLayout<apus_provider_address>.size

private func readAddress(_ pointer: UnsafePointer<apus_provider_address>?) -> (Failure?, ProviderAddress) {
    var copy = apus_provider_address()
    let sizeFailure = unsafe readStruct(pointer, into: &copy, minimum: addressMinimum, addressObject)
    let (addressFailure, address) = readUnicast(copy.provider_address, addressObject, "provider_address")
    let (lengthFailure, length) = readLength(
        copy.prefix_length, minimum: 1, of: address, addressObject, "prefix_length")
    let value = ProviderAddress(
        address: address, mac: MACAddress(copy.mac), port: copy.port, vlan: copy.vlan, length: length,
        state: copy.state == 0 ? APUS_ADDRESS_PREFERRED.rawValue.u8 : copy.state, flags: copy.flags)
    if let failure = sizeFailure ?? addressFailure ?? lengthFailure { return (failure, value) }
    if copy.vlan > 4094 {
        return (Failure(APUS_ERR_RANGE, addressObject, "vlan", .number(copy.vlan.u64), "is outside 0-4094"), value)
    }
    switch value.state.u32 {
    case APUS_ADDRESS_PREFERRED.rawValue, APUS_ADDRESS_DEPRECATED.rawValue, APUS_ADDRESS_INVALID.rawValue: break
    default:
        return (
            Failure(
                APUS_ERR_RANGE, addressObject, "state", .number(copy.state.u64),
                "is not a state that can be given: 0, PREFERRED 1, INVALID 4 or DEPRECATED 5"), value
        )
    }
    let failure =
        checkMAC(value.mac, addressObject) ?? checkZero(copy.reserved.u64, addressObject, "reserved")
        ?? checkFlags(copy.flags, APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES, addressObject)
    return (failure, value)
}

private func fill(
    _ address: ProviderAddress, state: UInt8, _ out: UnsafeMutablePointer<apus_provider_address>, size: Int
) {
    var c = apus_provider_address()
    c.provider_address = address.address.c
    c.port = address.port
    c.prefix_length = address.address.isV4 ? address.length &- IPAddress.v4PrefixOffset : address.length
    c.state = state
    c.vlan = address.vlan
    c.mac = address.mac.c
    c.flags = address.flags
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_provider_address_add(
    _ dataplane: OpaquePointer?, _ address: UnsafePointer<apus_provider_address>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readAddress(address)
        return failure ?? dataplane.value.store.addAddress(value)
    }
}

@c @implementation
public func apus_provider_address_set(
    _ dataplane: OpaquePointer?, _ address: UnsafePointer<apus_provider_address>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readAddress(address)
        return failure ?? dataplane.value.store.setAddress(value)
    }
}

@c @implementation
public func apus_provider_address_get(
    _ dataplane: OpaquePointer?, _ address: UnsafeMutablePointer<apus_provider_address>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(address, minimum: addressMinimum, addressObject)
        guard sizeFailure == nil, let address = unsafe address else { return sizeFailure }
        let (failure, key) = unsafe readUnicast(address.pointee.provider_address, addressObject, "provider_address")
        if let failure { return failure }
        guard let number = dataplane.value.store.address(key) else { return Store.addressMissing(key) }
        let found = dataplane.value.store.tables.addresses[number]
        unsafe fill(found, state: found.shownState(dataplane.value.store.tables), address, size: size)
        return nil
    }
}

@c @implementation
public func apus_provider_address_remove(
    _ dataplane: OpaquePointer?, _ address: UnsafePointer<apus_provider_address>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_provider_address()
        if let failure = unsafe readStruct(address, into: &copy, minimum: addressMinimum, addressObject) {
            return failure
        }
        let (failure, key) = readUnicast(copy.provider_address, addressObject, "provider_address")
        return failure ?? dataplane.value.store.removeAddress(key)
    }
}

@c @implementation
public func apus_provider_address_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_provider_address>?
) -> Int32 {
    unsafe iterate(dataplane, cursor, out, addressMinimum, addressObject, { $0.addresses }) {
        tables, number, out, size in
        unsafe fill(tables.addresses[number], state: tables.addresses[number].shownState(tables), out, size: size)
    }
}

// MARK: - Provider routes

private let routeObject: Words = "provider route"
private let routeMinimum = MemoryLayout<apus_provider_route>.size

private func readRoute(_ route: apus_provider_route) -> (Failure?, ProviderRoute) {
    let (prefixFailure, prefix, length) = readPrefix(route.destination_prefix, routeObject, "destination_prefix")
    let (hopFailure, nextHop) = readNextHop(route.next_hop, towards: route.destination_prefix, routeObject)
    let value = ProviderRoute(
        prefix: prefix, nextHop: nextHop, port: route.port, metric: route.metric, length: length, isConnected: 0)
    return (prefixFailure ?? hopFailure ?? checkFlags(route.flags, 0, routeObject), value)
}

private func readRoute(_ pointer: UnsafePointer<apus_provider_route>?) -> (Failure?, ProviderRoute) {
    var copy = apus_provider_route()
    let failure = unsafe readStruct(pointer, into: &copy, minimum: routeMinimum, routeObject)
    let (fieldFailure, route) = readRoute(copy)
    return (failure ?? fieldFailure, route)
}

private func fill(_ route: ProviderRoute, _ out: UnsafeMutablePointer<apus_provider_route>, size: Int) {
    var c = apus_provider_route()
    c.destination_prefix = route.prefix.prefix(route.length)
    c.next_hop = route.nextHop.c
    c.port = route.port
    c.metric = route.metric
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_provider_route_add(_ dataplane: OpaquePointer?, _ route: UnsafePointer<apus_provider_route>?) -> Int32
{
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readRoute(route)
        return failure ?? dataplane.value.store.addProviderRoute(value)
    }
}

@c @implementation
public func apus_provider_route_set(_ dataplane: OpaquePointer?, _ route: UnsafePointer<apus_provider_route>?) -> Int32
{
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readRoute(route)
        return failure ?? dataplane.value.store.setProviderRoute(value)
    }
}

@c @implementation
public func apus_provider_route_get(
    _ dataplane: OpaquePointer?, _ route: UnsafeMutablePointer<apus_provider_route>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(route, minimum: routeMinimum, routeObject)
        guard sizeFailure == nil, let route = unsafe route else { return sizeFailure }
        var key = unsafe route.pointee
        key.flags = 0
        let (failure, value) = readRoute(key)
        if let failure { return failure }
        guard let number = dataplane.value.store.providerRoute(value) else { return Store.providerRouteMissing(value) }
        unsafe fill(dataplane.value.store.tables.providerRoutes[number], route, size: size)
        return nil
    }
}

@c @implementation
public func apus_provider_route_remove(
    _ dataplane: OpaquePointer?, _ route: UnsafePointer<apus_provider_route>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_provider_route()
        if let failure = unsafe readStruct(route, into: &copy, minimum: routeMinimum, routeObject) { return failure }
        copy.flags = 0
        let (failure, value) = readRoute(copy)
        return failure ?? dataplane.value.store.removeProviderRoute(value)
    }
}

@c @implementation
public func apus_provider_route_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_provider_route>?
) -> Int32 {
    // The prefixes of provider addresses stand in the same table; they are not the caller's.
    unsafe iterate(
        dataplane, cursor, out, routeMinimum, routeObject, { $0.providerRoutes }, where: { $0.isConnected == 0 }
    ) { tables, number, out, size in
        unsafe fill(tables.providerRoutes[number], out, size: size)
    }
}

// MARK: - Provider neighbours

private let neighborObject: Words = "provider neighbour"
private let neighborMinimum = MemoryLayout<apus_provider_neighbor>.size

private func readNeighbor(_ pointer: UnsafePointer<apus_provider_neighbor>?) -> (Failure?, IPAddress, MACAddress) {
    var copy = apus_provider_neighbor()
    let sizeFailure = unsafe readStruct(pointer, into: &copy, minimum: neighborMinimum, neighborObject)
    let (addressFailure, address) = readUnicast(copy.address, neighborObject, "address")
    let mac = MACAddress(copy.mac)
    let failure =
        sizeFailure ?? addressFailure ?? checkMAC(mac, neighborObject)
        ?? checkZero(copy.state.u64, neighborObject, "state") ?? checkZero(
            copy.reserved.u64, neighborObject, "reserved")
        ?? checkFlags(copy.flags, 0, neighborObject) ?? checkZero(copy.port.u64, neighborObject, "port")
        ?? checkZero(copy.reserved2.u64, neighborObject, "reserved2")
    return (failure, address, mac)
}

private func fill(
    _ neighbor: Neighbor, _ cell: Ref<NeighborCell>, _ out: UnsafeMutablePointer<apus_provider_neighbor>, size: Int
) {
    var c = apus_provider_neighbor()
    c.address = neighbor.address.c
    c.port = neighbor.port
    if neighbor.isStatic != 0 {
        c.mac = neighbor.mac.c
        c.state = APUS_NEIGHBOR_STATIC.rawValue.u8
    } else if let mac = cell.value.mac {
        c.mac = mac.c
        let isAsked = cell.value.requests.load(ordering: .relaxed) != 0
        c.state = (isAsked ? APUS_NEIGHBOR_PROBE : APUS_NEIGHBOR_REACHABLE).rawValue.u8
    } else {
        let isFailed = cell.value.failed.load(ordering: .relaxed) != 0
        c.state = (isFailed ? APUS_NEIGHBOR_FAILED : APUS_NEIGHBOR_INCOMPLETE).rawValue.u8
    }
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_provider_neighbor_add(
    _ dataplane: OpaquePointer?, _ neighbor: UnsafePointer<apus_provider_neighbor>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, address, mac) = unsafe readNeighbor(neighbor)
        return failure ?? dataplane.value.store.addNeighbor(address, mac)
    }
}

@c @implementation
public func apus_provider_neighbor_set(
    _ dataplane: OpaquePointer?, _ neighbor: UnsafePointer<apus_provider_neighbor>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, address, mac) = unsafe readNeighbor(neighbor)
        return failure ?? dataplane.value.store.setNeighbor(address, mac)
    }
}

@c @implementation
public func apus_provider_neighbor_get(
    _ dataplane: OpaquePointer?, _ neighbor: UnsafeMutablePointer<apus_provider_neighbor>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(neighbor, minimum: neighborMinimum, neighborObject)
        guard sizeFailure == nil, let neighbor = unsafe neighbor else { return sizeFailure }
        let (failure, address) = unsafe readUnicast(neighbor.pointee.address, neighborObject, "address")
        if let failure { return failure }
        guard let number = dataplane.value.store.neighbor(address) else { return Store.neighborMissing(address) }
        let tables = dataplane.value.store.tables
        let found = tables.neighbors[number]
        unsafe fill(found, tables.cells[found.cell], neighbor, size: size)
        return nil
    }
}

@c @implementation
public func apus_provider_neighbor_remove(
    _ dataplane: OpaquePointer?, _ neighbor: UnsafePointer<apus_provider_neighbor>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_provider_neighbor()
        if let failure = unsafe readStruct(neighbor, into: &copy, minimum: neighborMinimum, neighborObject) {
            return failure
        }
        let (failure, address) = readUnicast(copy.address, neighborObject, "address")
        return failure ?? dataplane.value.store.removeNeighbor(address)
    }
}

@c @implementation
public func apus_provider_neighbor_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_provider_neighbor>?
) -> Int32 {
    unsafe iterate(dataplane, cursor, out, neighborMinimum, neighborObject, { $0.neighbors }) {
        tables, number, out, size in
        let found = tables.neighbors[number]
        unsafe fill(found, tables.cells[found.cell], out, size: size)
    }
}
