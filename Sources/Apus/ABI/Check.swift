// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

// What every function of the C boundary checks first, and how a failure becomes an error code and a text.

/// Make one control call: find the dataplane, keep a second caller out, remember why it failed.
@inline(__always)
func control(_ pointer: OpaquePointer?, _ body: (Ref<Dataplane>) -> Failure?) -> Int32 {
    let (code, found) = unsafe enter(pointer)
    guard let dataplane = found else { return code }
    return leave(dataplane, body(dataplane))
}

@inline(never)
private func enter(_ pointer: OpaquePointer?) -> (code: Int32, dataplane: Ref<Dataplane>?) {
    if unsafe pointer == nil { return (APUS_ERR_NULL.rawValue, nil) }
    guard let dataplane = unsafe dataplane(of: pointer) else { return (APUS_ERR_STALE.rawValue, nil) }
    let (taken, _) = dataplane.value.busy.compareExchange(expected: 0, desired: 1, ordering: .acquiring)
    return taken ? (APUS_OK.rawValue, dataplane) : (APUS_ERR_BUSY.rawValue, nil)
}

@inline(never)
private func leave(_ dataplane: Ref<Dataplane>, _ failure: Failure?) -> Int32 {
    let code = failure?.code ?? APUS_OK.rawValue
    write(failure, to: dataplane.value.errorText, size: Dataplane.errorTextSize)
    dataplane.value.busy.store(0, ordering: .releasing)
    return code
}

/// The same for iterations, whose success is 1 or 0.
func iteration(_ pointer: OpaquePointer?, _ body: (Ref<Dataplane>) -> (Failure?, Bool)) -> Int32 {
    var found = false
    let code = unsafe control(pointer) {
        let (failure, isFound) = body($0)
        found = isFound
        return failure
    }
    return code == APUS_OK.rawValue && found ? 1 : code
}

func nullFailure(_ object: Words, _ field: Words) -> Failure {
    Failure(APUS_ERR_NULL, object, field, .none, "is NULL")
}

/// A struct that begins with `size`: copy what the caller has of it over `copy`, which is all zero.
///
/// A caller built against an older header passes less, at least `minimum`; one built against a newer header more, of
/// which the part that is unknown here must be zero.
func readStruct<Value: BitwiseCopyable>(
    _ pointer: UnsafePointer<Value>?, into copy: inout Value, minimum: Int, _ object: Words
) -> Failure? {
    unsafe withUnsafeMutablePointer(to: &copy) {
        unsafe readBytes(
            pointer.map { unsafe UnsafeRawPointer($0) }, to: $0, known: MemoryLayout<Value>.size, minimum, object)
    }
}

@inline(never)
private func readBytes(
    _ pointer: UnsafeRawPointer?, to copy: UnsafeMutableRawPointer, known: Int, _ minimum: Int, _ object: Words
) -> Failure? {
    guard let raw = unsafe pointer else { return nullFailure(object, "pointer") }
    let size = unsafe apus_load64(raw).int
    if let failure = checkSize(size, minimum, object) { return failure }
    unsafe apus_copy(copy, raw, min(size, known))
    var offset = known
    while offset < size {
        if unsafe raw.load(fromByteOffset: offset, as: UInt8.self) != 0 {
            return Failure(
                APUS_ERR_UNKNOWN_FIELD, object, "size", .number(size.u64),
                "bytes contain a field that this version does not know")
        }
        offset &+= 1
    }
    return nil
}

/// Write a struct that begins with `size` to a caller who may have less of it, or more. Its `size` stays the caller's.
func writeStruct<Value: BitwiseCopyable>(
    _ value: Value, to pointer: UnsafeMutablePointer<Value>, size: Int
) {
    let known = MemoryLayout<Value>.size
    let raw = UnsafeMutableRawPointer(pointer)
    unsafe withUnsafePointer(to: value) {
        unsafe apus_copy(raw + 8, UnsafeRawPointer($0) + 8, min(size, known) &- 8)
    }
    if size > known { unsafe apus_zero(raw + known, size &- known) }
}

/// The size that the caller's struct says it has.
func sizeOfStruct<Value>(
    _ pointer: UnsafeMutablePointer<Value>?, minimum: Int, _ object: Words
) -> (Failure?, Int) {
    guard let pointer = unsafe pointer else { return (nullFailure(object, "pointer"), 0) }
    let size = unsafe apus_load64(pointer).int
    return (checkSize(size, minimum, object), size)
}

@inline(never)
private func checkSize(_ size: Int, _ minimum: Int, _ object: Words) -> Failure? {
    if size >= minimum, size <= 65536 { return nil }
    return Failure(
        APUS_ERR_SIZE, object, "size", .number(size.u64), "is not the size of this struct; use APUS_INIT() or sizeof")
}

// MARK: - Fields

/// A field that has to be zero in this version.
@inline(never)
func checkZero(_ value: UInt64, _ object: Words, _ field: Words) -> Failure? {
    value == 0 ? nil : Failure(APUS_ERR_UNKNOWN_FIELD, object, field, .number(value), "is reserved and must be 0")
}

@inline(never)
func checkFlags(_ flags: UInt32, _ known: UInt32, _ object: Words) -> Failure? {
    flags & ~known == 0
        ? nil : Failure(APUS_ERR_UNKNOWN_FIELD, object, "flags", .number(flags.u64), "has bits that mean nothing here")
}

@inline(never)
func checkVSID(_ vsid: UInt32, _ settings: Settings, _ object: Words) -> Failure? {
    if settings.acceptsReservedVSIDs {
        if vsid != 0, vsid <= 0xFF_FFFF { return nil }
        return Failure(APUS_ERR_VSID, object, "virtual_subnet_id", .number(vsid.u64), "is outside 1-16777215")
    }
    if vsid >= APUS_VSID_MIN, vsid <= APUS_VSID_MAX { return nil }
    return Failure(APUS_ERR_VSID, object, "virtual_subnet_id", .number(vsid.u64), "is outside 4096-16777214")
}

@inline(never)
func checkMAC(_ mac: MACAddress, _ object: Words, _ field: Words = "mac") -> Failure? {
    if mac.isUsable { return nil }
    return Failure(
        APUS_ERR_MAC, object, field, .mac(mac),
        mac.value == 0
            ? "is zero; a unicast address is needed"
            : "is a group address (lowest bit of the first byte); a unicast address is needed")
}

/// An address of either family in the form of the tables. An IPv6 address in the form that IPv4 has there is refused.
@inline(never)
func readAddress(
    _ address: apus_address, _ object: Words, _ field: Words
) -> (failure: Failure?, value: IPAddress) {
    let value = IPAddress(address)
    let isIPv4 = address.family.u32 == APUS_IPV4
    if !isIPv4, address.family.u32 != APUS_IPV6 {
        return (
            Failure(
                APUS_ERR_FAMILY, object, field, .number(address.family.u64), "is the address family; it must be 4 or 6"),
            value
        )
    }
    if !isIPv4, value.isV4 {
        return (
            Failure(
                APUS_ERR_ADDRESS, object, field, .address(value), "was given as an IPv4-mapped IPv6 address; use IPv4"),
            value
        )
    }
    let stray = isIPv4 ? address.hasStrayBytes : 0
    let rest = checkZero(
        address.reserved.0.u64 | address.reserved.1.u64 | address.reserved.2.u64 | stray, object, field)
    return (rest, value)
}

@inline(never)
func readUnicast(
    _ address: apus_address, _ object: Words, _ field: Words
) -> (failure: Failure?, value: IPAddress) {
    let (failure, value) = readAddress(address, object, field)
    return (failure ?? checkUnicast(value, object, field), value)
}

func checkUnicast(_ address: IPAddress, _ object: Words, _ field: Words) -> Failure? {
    address.isUnicast ? nil : Failure(APUS_ERR_ADDRESS, object, field, .address(address), "is not a unicast address")
}

/// The next hop of a route to a prefix: of its family, and unicast or unspecified.
@inline(never)
func readNextHop(
    _ address: apus_address, towards prefix: apus_prefix, _ object: Words
) -> (failure: Failure?, value: IPAddress) {
    let (failure, value) = readAddress(address, object, "next_hop")
    if let failure { return (failure, value) }
    if address.family != prefix.address.family {
        return (
            Failure(APUS_ERR_FAMILY, object, "next_hop", .address(value), "is not of the destination prefix's family"),
            value
        )
    }
    return (value.isUnspecified ? nil : checkUnicast(value, object, "next_hop"), value)
}

/// A prefix: the length in bits of the 128-bit form.
@inline(never)
func readPrefix(
    _ prefix: apus_prefix, _ object: Words, _ field: Words
) -> (failure: Failure?, value: IPAddress, length: UInt8) {
    let (failure, value) = readAddress(prefix.address, object, field)
    if let failure { return (failure, value, 0) }
    let (lengthFailure, length) = readLength(prefix.length, minimum: 0, of: value, object, field)
    if let lengthFailure { return (lengthFailure, value, 0) }
    let reserved = prefix.reserved.0.u64 | prefix.reserved.1.u64 | prefix.reserved.2.u64
    if let failure = checkZero(reserved, object, field) { return (failure, value, 0) }
    if value.masked(length) != value {
        return (
            Failure(APUS_ERR_PREFIX, object, field, .prefix(value, length), "has bits set behind its length"), value, 0
        )
    }
    return (nil, value, length)
}

/// A prefix length of an address, in bits of the 128-bit form.
@inline(never)
func readLength(
    _ length: UInt8, minimum: UInt8, of address: IPAddress, _ object: Words, _ field: Words
) -> (failure: Failure?, length: UInt8) {
    if length >= minimum, length <= (address.isV4 ? 32 : 128) {
        return (nil, address.isV4 ? length &+ IPAddress.v4PrefixOffset : length)
    }
    let words: Words =
        minimum == 0
        ? (address.isV4 ? "is the prefix length; it must be 0-32" : "is the prefix length; it must be 0-128")
        : (address.isV4 ? "is outside 1-32" : "is outside 1-128")
    return (Failure(APUS_ERR_PREFIX, object, field, .number(length.u64), words), 0)
}
