// SPDX-License-Identifier: Apache-2.0

import CApus

// subnet.h

private let object: Words = "virtual subnet"
private let minimum = MemoryLayout<apus_virtual_subnet>.size

private func readSubnet(
    _ pointer: UnsafePointer<apus_virtual_subnet>?, _ settings: Settings
) -> (Failure?, SubnetOptions) {
    var copy = apus_virtual_subnet()
    let sizeFailure = unsafe readStruct(pointer, into: &copy, minimum: minimum, object)
    let (groupFailure, group) = readGroup(copy)
    let options = SubnetOptions(
        vsid: copy.virtual_subnet_id, flags: copy.flags, group: group,
        rate: copy.replication_rate == 0 ? SubnetOptions.defaultRate : copy.replication_rate)
    let known = SubnetOptions.broadcast | SubnetOptions.allowNonIP
    var failure =
        sizeFailure ?? checkVSID(options.vsid, settings, object) ?? checkFlags(copy.flags, known, object)
        ?? groupFailure
    if failure == nil, options.rate > 10_000_000 {
        failure = Failure(
            APUS_ERR_RANGE, object, "replication_rate", .number(options.rate.u64), "is outside 0-10000000")
    }
    return (failure, options)
}

/// A multicast address of either family, or nothing: the unspecified one.
private func readGroup(_ subnet: apus_virtual_subnet) -> (failure: Failure?, value: IPAddress) {
    let field: Words = "multicast_group"
    let given = subnet.multicast_group
    if given.family == 0 {
        let isEmpty = IPAddress(given).isUnspecified
        return (isEmpty ? nil : Failure(APUS_ERR_FAMILY, object, field, .number(0), "is the address family"), .noGroup)
    }
    let (failure, group) = readAddress(given, object, field)
    if let failure { return (failure, group) }
    if !group.isMulticast {
        return (Failure(APUS_ERR_ADDRESS, object, field, .address(group), "is not a multicast address"), group)
    }
    if subnet.flags & SubnetOptions.broadcast == 0 {
        return (
            Failure(APUS_ERR_CONFLICT, object, field, .address(group), "is given without APUS_SUBNET_BROADCAST"), group
        )
    }
    return (nil, group)
}

private func fill(_ options: SubnetOptions, _ out: UnsafeMutablePointer<apus_virtual_subnet>, size: Int) {
    var c = apus_virtual_subnet()
    c.virtual_subnet_id = options.vsid
    c.flags = options.flags
    if options.hasGroup { c.multicast_group = options.group.c }
    c.replication_rate = options.rate
    unsafe writeStruct(c, to: out, size: size)
}

@c @implementation
public func apus_virtual_subnet_add(
    _ dataplane: OpaquePointer?, _ subnet: UnsafePointer<apus_virtual_subnet>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readSubnet(subnet, dataplane.value.settings)
        return failure ?? dataplane.value.store.addSubnetOptions(value)
    }
}

@c @implementation
public func apus_virtual_subnet_set(
    _ dataplane: OpaquePointer?, _ subnet: UnsafePointer<apus_virtual_subnet>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, value) = unsafe readSubnet(subnet, dataplane.value.settings)
        return failure ?? dataplane.value.store.setSubnetOptions(value)
    }
}

@c @implementation
public func apus_virtual_subnet_get(
    _ dataplane: OpaquePointer?, _ subnet: UnsafeMutablePointer<apus_virtual_subnet>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(subnet, minimum: minimum, object)
        guard sizeFailure == nil, let subnet = unsafe subnet else { return sizeFailure }
        let vsid = unsafe subnet.pointee.virtual_subnet_id
        if let failure = checkVSID(vsid, dataplane.value.settings, object) { return failure }
        guard let number = dataplane.value.store.subnetOptions(vsid) else { return Store.subnetOptionsMissing(vsid) }
        unsafe fill(dataplane.value.store.tables.subnetOptions[number], subnet, size: size)
        return nil
    }
}

@c @implementation
public func apus_virtual_subnet_remove(
    _ dataplane: OpaquePointer?, _ subnet: UnsafePointer<apus_virtual_subnet>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        var copy = apus_virtual_subnet()
        if let failure = unsafe readStruct(subnet, into: &copy, minimum: minimum, object) { return failure }
        if let failure = checkVSID(copy.virtual_subnet_id, dataplane.value.settings, object) { return failure }
        return dataplane.value.store.removeSubnetOptions(copy.virtual_subnet_id)
    }
}

@c @implementation
public func apus_virtual_subnet_iterate(
    _ dataplane: OpaquePointer?, _ cursor: UnsafeMutablePointer<UInt64>?,
    _ out: UnsafeMutablePointer<apus_virtual_subnet>?
) -> Int32 {
    unsafe iterate(dataplane, cursor, out, minimum, object, { $0.subnetOptions }) { tables, number, out, size in
        unsafe fill(tables.subnetOptions[number], out, size: size)
    }
}
