// SPDX-License-Identifier: Apache-2.0

/// An Ethernet address as a number: the first byte on the wire is the most significant of 48 bits.
struct MACAddress: BitwiseCopyable, Equatable {
    let value: UInt64

    @inline(__always)
    init(_ value: UInt64) { self.value = value }

    static var broadcast: MACAddress { MACAddress(0xFFFF_FFFF_FFFF) }

    /// Multicast or broadcast: the lowest bit of the first byte (IEEE 802.3 section 3.2.3).
    @inline(__always)
    var isGroup: Bool { value & 0x0100_0000_0000 != 0 }

    /// Can be the address of one interface.
    @inline(__always)
    var isUsable: Bool { value != 0 && !isGroup }
}

/// An IP address of either family as 128 bits; IPv4 in its mapped form ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so
/// that one kind of table, prefix and comparison serves both.
struct IPAddress: BitwiseCopyable, Equatable {
    var high: UInt64
    var low: UInt64

    @inline(__always)
    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// IPv6's.
    static var unspecified: IPAddress { IPAddress(high: 0, low: 0) }

    @inline(__always)
    init(v4: UInt32) {
        high = 0
        low = 0xFFFF_0000_0000 | v4.u64
    }

    /// The XOR of the words of the address as they are in packets.
    var foldedAsInPackets: UInt32 {
        isV4 ? v4.byteSwapped : ((high &>> 32).u32 ^ high.u32 ^ (low &>> 32).u32 ^ low.u32).byteSwapped
    }

    @inline(__always) var isV4: Bool { high == 0 && low &>> 32 == 0xFFFF }
    @inline(__always) var v4: UInt32 { low.u32 }
    @inline(__always) var isUnspecified: Bool { high == 0 && (low == 0 || low == 0xFFFF_0000_0000) }

    /// A customer or provider address that one host can have: not unspecified, loopback, multicast or reserved.
    @inline(__always)
    var isUnicast: Bool { isV4 ? v4.isUnicastIPv4 : isUnicastIPv6 }
    /// The same for an address that stood in an IPv6 header: the form that IPv4 has here is nobody's there.
    @inline(__always)
    var isUnicastIPv6: Bool { high &>> 56 != 0xFF && (high != 0 || (low > 1 && !isV4)) }
    /// 224/4 or ff00::/8.
    @inline(__always) var isMulticast: Bool { isV4 ? v4 &>> 28 == 14 : high &>> 56 == 0xFF }
    /// What stands for no multicast group.
    static var noGroup: IPAddress { IPAddress(v4: 0) }
    /// fe80::/10 (RFC 4291 section 2.5.6).
    @inline(__always) var isLinkLocal: Bool { high &>> 54 == 0x3FA }

    /// Leading bits that an IPv4 prefix length does not count.
    static var v4PrefixOffset: UInt8 { 96 }

    @inline(__always)
    func masked(_ length: UInt8) -> IPAddress {
        if length >= 128 { return self }
        if length > 64 { return IPAddress(high: high, low: low & ~(UInt64.max &>> (length &- 64).u64)) }
        if length == 64 { return IPAddress(high: high, low: 0) }
        return IPAddress(high: length == 0 ? 0 : high & ~(UInt64.max &>> length.u64), low: 0)
    }

    /// IPv4 is in no IPv6 prefix, whatever its mapped form says.
    @inline(__always)
    func isIn(_ prefix: IPAddress, _ length: UInt8) -> Bool { masked(length) == prefix && isV4 == prefix.isV4 }

    /// The lowest usable address of the prefix that starts here: the default gateway of an on-link prefix.
    /// For prefixes of one or two addresses that is the first.
    func gateway(prefixLength length: UInt8) -> IPAddress {
        length >= 127 ? self : IPAddress(high: high, low: low | 1)
    }

    @inline(__always)
    static func < (a: IPAddress, b: IPAddress) -> Bool { a.high < b.high || (a.high == b.high && a.low < b.low) }
}

/// How a customer packet's IPv4 address may be used.
extension UInt32 {
    /// 0.0.0.0/8 is "this host", 127/8 loopback, 224/4 multicast, 240/4 reserved with broadcast: none is one host's.
    @inline(__always)
    var isUnicastIPv4: Bool { self != 0 && self &>> 24 != 127 && self < 0xE000_0000 }
}
