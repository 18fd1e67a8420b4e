// SPDX-License-Identifier: Apache-2.0

/// The IPv6 header (RFC 8200 section 3). `ip` points at its first byte.
struct IPv6Header: BitwiseCopyable {
    let ip: Bytes

    static var length: Int { 40 }
    static var addressesOffset: Int { 8 }

    @inline(__always) init(_ ip: Bytes) { self.ip = ip }

    @inline(__always) var version: UInt8 { ip[0] &>> 4 }
    @inline(__always) var trafficClass: UInt8 { (ip.u16(0) &>> 4).u8 }
    @inline(__always) var payloadLength: Int { ip.u16(4).int }
    /// Of the whole packet.
    @inline(__always) var totalLength: Int { Self.length &+ payloadLength }
    @inline(__always) var nextHeader: UInt8 { ip[6] }
    @inline(__always) var hopLimit: UInt8 { ip[7] }
    var source: IPAddress { ip.ipv6(8) }
    var destination: IPAddress { ip.ipv6(24) }

    /// Version and payload length are possible within `available` bytes; more bytes are padding.
    @inline(__always)
    func isWellFormed(available: Int) -> Bool { available >= Self.length && version == 6 && totalLength <= available }

    /// The common case of what `isWellFormed` accepts: TCP or UDP right behind the header, and the ports are there.
    /// `frame` is an Ethernet frame; this looks at its EtherType too. `available` is the length of what follows that.
    @inline(__always)
    static func isPlain(_ frame: Bytes, available: Int) -> Bool {
        guard available >= 44 else { return false }
        let payload = frame.u16(18).int
        let proto = frame[20]
        return frame.raw32(12) & UInt32(0xFFFF_F000).bigEndian == UInt32(0x86DD_6000).bigEndian
            && (proto == 17 || proto == 6) && payload >= 4 && payload <= available &- length
    }

    /// Replace DSCP and ECN (RFC 2474, RFC 3168).
    func setTrafficClass(_ trafficClass: UInt8) {
        ip.store(ip.u16(0) & 0xF00F | trafficClass.u16 &<< 4, at: 0)
    }

    /// What the extension headers (RFC 8200 section 4) lead to.
    struct UpperLayer {
        /// The protocol number, or that of the header at which the search ended.
        var proto: UInt8
        /// Where it begins, from the first byte of the IP packet.
        var offset: Int
        var isFragment = false
        /// Not the first of them: there is no upper layer in it.
        var isLaterFragment = false
        /// Its first byte is there: it is no later fragment, and not cut off.
        var isReadable = false
    }

    /// Behind so many extension headers nothing is looked for.
    private static var extensionsMaximum: Int { 8 }

    /// `readable`: what of the IP packet may be looked at.
    func upperLayer(readable: Int) -> UpperLayer {
        let end = min(readable, totalLength)
        var upper = UpperLayer(proto: nextHeader, offset: Self.length)
        var passed = 0
        while Self.isExtension(upper.proto) {
            let at = upper.offset
            if passed == Self.extensionsMaximum || at &+ 8 > end { return upper }
            let length: Int
            if upper.proto == Self.fragment {
                length = 8
                if ip.u16(at &+ 2) & 0xFFF9 != 0 { upper.isFragment = true }
                if ip.u16(at &+ 2) & 0xFFF8 != 0 {
                    // A later fragment: what follows is no header.
                    upper.proto = ip[at]
                    upper.isLaterFragment = true
                    return upper
                }
            } else if upper.proto == Self.authentication {
                length = (ip[at &+ 1].int &+ 2) &* 4
            } else {
                length = (ip[at &+ 1].int &+ 1) &* 8
            }
            if at &+ length > end { return upper }
            upper.proto = ip[at]
            upper.offset = at &+ length
            passed &+= 1
        }
        upper.isReadable = upper.offset < end
        return upper
    }

    static var fragment: UInt8 { 44 }
    private static var authentication: UInt8 { 51 }

    /// Hop-by-hop options, routing, fragment, authentication, destination options.
    @inline(__always)
    static func isExtension(_ number: UInt8) -> Bool {
        number == 0 || number == 43 || number == 44 || number == 51 || number == 60
    }

    /// Begin a packet: no traffic class, no flow label.
    func write(
        payload: Int, nextHeader: UInt8, hopLimit: UInt8, from source: IPAddress, to destination: IPAddress
    ) {
        ip.store(UInt32(0x6000_0000), at: 0)
        ip.store(payload.u16, at: 4)
        ip[6] = nextHeader
        ip[7] = hopLimit
        ip.store(ipv6: source, at: 8)
        ip.store(ipv6: destination, at: 24)
    }
}

extension Bytes {
    @inline(__always)
    func ipv6(_ offset: Int) -> IPAddress {
        IPAddress(high: UInt64(bigEndian: raw64(offset)), low: UInt64(bigEndian: raw64(offset &+ 8)))
    }

    @inline(__always)
    func store(ipv6 address: IPAddress, at offset: Int) {
        store((address.high &>> 32).u32, at: offset)
        store(address.high.u32, at: offset &+ 4)
        store((address.low &>> 32).u32, at: offset &+ 8)
        store(address.low.u32, at: offset &+ 12)
    }
}
