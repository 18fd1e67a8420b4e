// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// Between the C structs of address.h and the values of the core.

extension IPAddress {
    /// Whatever the family says: the caller has looked at it. Only IPv4 uses the mapped form.
    init(_ address: apus_address) {
        let (high, low) = unsafe withUnsafePointer(to: address.bytes) {
            unsafe (UInt64(bigEndian: apus_load64($0)), UInt64(bigEndian: apus_load64(UnsafeRawPointer($0) + 8)))
        }
        if address.family.u32 == APUS_IPV4 {
            self.init(v4: (high &>> 32).u32)
        } else {
            self.init(high: high, low: low)
        }
    }

    var c: apus_address { c(asV4: isV4) }

    /// The same for an address whose family is known: an IPv6 address may have the mapped form too.
    func c(asV4: Bool) -> apus_address {
        var address = apus_address()
        let first = asV4 ? v4.u64 &<< 32 : high
        let second = asV4 ? 0 : low
        address.family = asV4 ? APUS_IPV4.u8 : APUS_IPV6.u8
        unsafe withUnsafeMutablePointer(to: &address.bytes) {
            unsafe apus_store64($0, first.bigEndian)
            unsafe apus_store64(UnsafeMutableRawPointer($0) + 8, second.bigEndian)
        }
        return address
    }

    func prefix(_ length: UInt8) -> apus_prefix {
        var prefix = apus_prefix()
        prefix.address = c
        prefix.length = isV4 ? length &- Self.v4PrefixOffset : length
        return prefix
    }
}

extension apus_address {
    /// Nonzero when an IPv4 address has something behind its four bytes.
    var hasStrayBytes: UInt64 {
        unsafe withUnsafePointer(to: bytes) {
            let raw = unsafe UnsafeRawPointer($0)
            return unsafe apus_load32(raw + 4).u64 | apus_load64(raw + 8) != 0 ? 1 : 0
        }
    }
}

extension MACAddress {
    init(_ mac: apus_mac) {
        let b = mac.bytes
        let high = b.0.u64 &<< 40 | b.1.u64 &<< 32 | b.2.u64 &<< 24
        self.init(high | b.3.u64 &<< 16 | b.4.u64 &<< 8 | b.5.u64)
    }

    var c: apus_mac {
        let v = value
        return apus_mac(
            bytes: ((v &>> 40).u8, (v &>> 32).u8, (v &>> 24).u8, (v &>> 16).u8, (v &>> 8).u8, v.u8))
    }
}

extension GUID {
    init(_ guid: apus_guid) {
        (high, low) = unsafe withUnsafePointer(to: guid) {
            unsafe (UInt64(bigEndian: apus_load64($0)), UInt64(bigEndian: apus_load64(UnsafeRawPointer($0) + 8)))
        }
    }

    var c: apus_guid {
        var guid = apus_guid()
        unsafe withUnsafeMutablePointer(to: &guid) {
            unsafe apus_store64($0, high.bigEndian)
            unsafe apus_store64(UnsafeMutableRawPointer($0) + 8, low.bigEndian)
        }
        return guid
    }
}

/// Copy a NUL-terminated text of a C struct; nil when it is not terminated. What stands behind the NUL is not kept.
func readText<let size: Int>(_ source: UnsafeRawPointer, _ text: inout InlineArray<size, UInt8>) -> Bool {
    var i = 0
    while i < size {
        let byte = unsafe source.load(fromByteOffset: i, as: UInt8.self)
        if byte == 0 { return true }
        unsafe text[unchecked: i] = byte
        i &+= 1
    }
    return false
}
