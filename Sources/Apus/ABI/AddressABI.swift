// SPDX-License-Identifier: Apache-2.0

import CApus

// address.h

@c @implementation
public func apus_address_parse(_ text: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<apus_address>?) -> Int32 {
    guard let text = unsafe text, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    var reader = unsafe TextReader(text)
    guard let address = reader.address(), reader.isAtEnd else { return APUS_ERR_SYNTAX.rawValue }
    unsafe out.pointee = address.c(asV4: !reader.isV6)
    return APUS_OK.rawValue
}

@c @implementation
public func apus_prefix_parse(_ text: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<apus_prefix>?) -> Int32 {
    guard let text = unsafe text, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    var reader = unsafe TextReader(text)
    guard let address = reader.address(), reader.skip(0x2F), let length = reader.decimal(digits: 3, max: 999),
        reader.isAtEnd
    else { return APUS_ERR_SYNTAX.rawValue }
    let offset = reader.isV6 ? 0 : IPAddress.v4PrefixOffset.u32
    if length &+ offset > 128 || address.masked((length &+ offset).u8) != address { return APUS_ERR_PREFIX.rawValue }
    unsafe out.pointee = apus_prefix(address: address.c(asV4: !reader.isV6), length: length.u8, reserved: (0, 0, 0))
    return APUS_OK.rawValue
}

@c @implementation
public func apus_mac_parse(_ text: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<apus_mac>?) -> Int32 {
    guard let text = unsafe text, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    var reader = unsafe TextReader(text)
    guard let mac = reader.mac(), reader.isAtEnd else { return APUS_ERR_SYNTAX.rawValue }
    unsafe out.pointee = mac.c
    return APUS_OK.rawValue
}

@c @implementation
public func apus_guid_parse(_ text: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<apus_guid>?) -> Int32 {
    guard let text = unsafe text, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    var reader = unsafe TextReader(text)
    guard let guid = reader.guid(), reader.isAtEnd else { return APUS_ERR_SYNTAX.rawValue }
    unsafe out.pointee = guid.c
    return APUS_OK.rawValue
}

/// Run `body` on a writer over the caller's buffer and return what the format functions return.
private func format(_ text: UnsafeMutablePointer<CChar>?, _ size: Int, _ body: (inout TextWriter) -> Void) -> Int32 {
    guard let text = unsafe text else { return APUS_ERR_NULL.rawValue }
    var writer = unsafe TextWriter(UnsafeMutableRawPointer(text).assumingMemoryBound(to: UInt8.self), size: size)
    body(&writer)
    return writer.isComplete ? Int32(truncatingIfNeeded: writer.length) : APUS_ERR_RANGE.rawValue
}

private func hasFamily(_ address: apus_address) -> Bool {
    address.family.u32 == APUS_IPV4 || address.family.u32 == APUS_IPV6
}

@c @implementation
public func apus_address_format(
    _ address: UnsafePointer<apus_address>?, _ text: UnsafeMutablePointer<CChar>?, _ size: Int
) -> Int32 {
    guard let address = unsafe address else { return APUS_ERR_NULL.rawValue }
    if unsafe !hasFamily(address.pointee) { return APUS_ERR_FAMILY.rawValue }
    return unsafe format(text, size) {
        $0.put(IPAddress(unsafe address.pointee), asV4: unsafe address.pointee.family.u32 == APUS_IPV4)
    }
}

@c @implementation
public func apus_prefix_format(
    _ prefix: UnsafePointer<apus_prefix>?, _ text: UnsafeMutablePointer<CChar>?, _ size: Int
) -> Int32 {
    guard let prefix = unsafe prefix else { return APUS_ERR_NULL.rawValue }
    if unsafe !hasFamily(prefix.pointee.address) { return APUS_ERR_FAMILY.rawValue }
    return unsafe format(text, size) {
        $0.put(IPAddress(unsafe prefix.pointee.address), asV4: unsafe prefix.pointee.address.family.u32 == APUS_IPV4)
        $0.put(0x2F)
        $0.put(decimal: unsafe prefix.pointee.length.u64)
    }
}

@c @implementation
public func apus_mac_format(
    _ mac: UnsafePointer<apus_mac>?, _ text: UnsafeMutablePointer<CChar>?, _ size: Int
) -> Int32 {
    guard let mac = unsafe mac else { return APUS_ERR_NULL.rawValue }
    return unsafe format(text, size) { $0.put(MACAddress(unsafe mac.pointee)) }
}

@c @implementation
public func apus_guid_format(
    _ guid: UnsafePointer<apus_guid>?, _ text: UnsafeMutablePointer<CChar>?, _ size: Int
) -> Int32 {
    guard let guid = unsafe guid else { return APUS_ERR_NULL.rawValue }
    return unsafe format(text, size) { $0.put(GUID(unsafe guid.pointee)) }
}
