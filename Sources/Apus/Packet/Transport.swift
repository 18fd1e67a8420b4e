// SPDX-License-Identifier: Apache-2.0

/// The upper layer of an IP packet as address translation sees it: where its checksum is, and whether that contains the
/// addresses of the IP header.
struct Transport {
    let ip: Bytes
    let isIPv6: Bool
    let proto: UInt8
    /// From the first byte of the IP packet.
    let offset: Int
    /// The end of what is in the packet and may be read.
    let readableEnd: Int
    let isFragment: Bool
    /// There is no upper layer here.
    let isLaterFragment: Bool

    static var icmp: UInt8 { 1 }
    static var tcp: UInt8 { 6 }
    static var udp: UInt8 { 17 }
    static var dccp: UInt8 { 33 }
    static var udpLite: UInt8 { 136 }

    /// Of a packet whose header was checked; `readable` bytes of it may be looked at.
    init(_ ip: Bytes, isIPv6: Bool, readable: Int) {
        self.ip = ip
        self.isIPv6 = isIPv6
        if isIPv6 {
            let header = IPv6Header(ip)
            let upper = header.upperLayer(readable: readable)
            (proto, offset, isLaterFragment) = (upper.proto, upper.offset, upper.isLaterFragment)
            isFragment = upper.isFragment
            readableEnd = min(readable, header.totalLength)
        } else {
            let header = IPv4Header(ip)
            (proto, offset, isLaterFragment) = (header.proto, header.headerLength, header.fragmentOffset != 0)
            isFragment = header.isFragment
            readableEnd = min(readable, header.totalLength)
        }
    }

    /// Offset of the checksum that contains the addresses, from the first byte of the IP packet; nil: there is none.
    var checksum: Int? {
        if isLaterFragment { return nil }
        switch proto {
        case Self.tcp: return offset &+ 16
        case Self.udp, Self.dccp, Self.udpLite: return offset &+ 6
        case ICMPv6Message.proto where isIPv6: return offset &+ 2
        default: return nil
        }
    }

    /// It ends, or what may be read of it does, before the upper layer is found: whether there is a checksum nobody knows.
    var isHidden: Bool { isIPv6 && !isLaterFragment && IPv6Header.isExtension(proto) }

    func contains(_ offset: Int, _ count: Int) -> Bool { offset &+ count <= readableEnd }

    /// Offset of the checksum of an ICMP error message; nil: it is none.
    var errorChecksum: Int? {
        if isLaterFragment || !contains(offset, 8) { return nil }
        let type = ip[offset]
        if isIPv6 { return proto == ICMPv6Message.proto && type >= 1 && type <= 4 ? offset &+ 2 : nil }
        let isError = type == 3 || type == 4 || type == 5 || type == 11 || type == 12
        return proto == Self.icmp && isError ? offset &+ 2 : nil
    }

    /// Where an error's quoted packet begins.
    var quoted: Int { offset &+ 8 }

    /// The addresses changed by `delta` (a folded sum of the words that came, and of the complements of those that went).
    func correct(_ checksum: Int, by delta: UInt16) {
        let old = ip.u16(checksum)
        // None: in IPv6 that of tunnels (RFC 6935).
        if proto == Self.udp, old == 0 { return }
        let new = ~Checksum.fold((~old).u32 &+ delta.u32)
        // The two for which 0 would say so (RFC 768, RFC 3828 section 3.1).
        let isNeverZero = proto == Self.udp || proto == Self.udpLite
        ip.store(isNeverZero && new == 0 ? 0xFFFF : new, at: checksum)
    }
}
