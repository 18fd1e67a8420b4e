// SPDX-License-Identifier: Apache-2.0

/// A neighbour discovery message (RFC 4861 section 4).
struct NeighborDiscovery: BitwiseCopyable {
    let message: ICMPv6Message

    static var routerSolicitation: UInt8 { 133 }
    static var routerAdvertisement: UInt8 { 134 }
    static var solicitation: UInt8 { 135 }
    static var advertisement: UInt8 { 136 }
    static var redirect: UInt8 { 137 }

    /// Messages arrive with the hop limit that no router lets through.
    static var hopLimit: UInt8 { 255 }
    /// Solicitation or advertisement with one link-layer option: IPv6 header and all.
    static var length: Int { IPv6Header.length &+ 32 }
    /// Solicitation without.
    static var probeLength: Int { IPv6Header.length &+ 24 }
    /// Flag of advertisements.
    static var override: UInt8 { 0x20 }

    @inline(__always)
    static func isType(_ type: UInt8) -> Bool { type >= routerSolicitation && type <= redirect }

    init(_ ip: IPv6Header) { message = ICMPv6Message(ip) }

    var ip: IPv6Header { message.ip }
    var type: UInt8 { message.type }
    /// Of solicitations and advertisements.
    var target: IPAddress { message.bytes.ipv6(8) }
    /// Of advertisements.
    var isSolicited: Bool { message.bytes[4] & 0x40 != 0 }
    var isOverride: Bool { message.bytes[4] & 0x20 != 0 }

    /// RFC 4861 sections 6.1 and 7.1, RFC 6980. `readable` is what of the IP packet may be looked at.
    func isWellFormed(readable: Int) -> Bool {
        let payload = ip.payloadLength
        guard ip.nextHeader == ICMPv6Message.proto, ip.hopLimit == Self.hopLimit, ip.totalLength <= readable,
            payload >= optionsOffset, message.code == 0, message.hasCorrectChecksum,
            hasWholeOptions
        else { return false }
        let source = ip.source
        if !source.isUnspecified, !source.isUnicastIPv6 { return false }
        if type == Self.advertisement { return target.isUnicastIPv6 && !source.isUnspecified }
        if type == Self.solicitation {
            if source.isUnspecified, !ip.destination.isSolicitedNode || linkLayer(.source) != nil { return false }
            return target.isUnicastIPv6
        }
        return true
    }

    private var optionsOffset: Int {
        switch type {
        case Self.routerSolicitation: 8
        case Self.routerAdvertisement: 16
        case Self.redirect: 40
        default: 24
        }
    }

    private var hasWholeOptions: Bool {
        var offset = optionsOffset
        while offset < ip.payloadLength {
            guard offset &+ 8 <= ip.payloadLength, message.bytes[offset &+ 1] != 0 else { return false }
            offset &+= message.bytes[offset &+ 1].int &* 8
        }
        return offset == ip.payloadLength
    }

    enum LinkLayer: UInt8 {
        case source = 1
        case target = 2
    }

    /// The address in the first such option of Ethernet's length.
    func linkLayer(_ option: LinkLayer) -> MACAddress? {
        var offset = optionsOffset
        while offset < ip.payloadLength {
            let length = message.bytes[offset &+ 1]
            if message.bytes[offset] == option.rawValue, length == 1 { return message.bytes.mac(offset &+ 2) }
            offset &+= length.int &* 8
        }
        return nil
    }

    /// Every link-layer option says this.
    func names(only mac: MACAddress) -> Bool {
        var offset = optionsOffset
        while offset < ip.payloadLength {
            let (kind, length) = (message.bytes[offset], message.bytes[offset &+ 1])
            if kind == LinkLayer.source.rawValue || kind == LinkLayer.target.rawValue, length == 1,
                message.bytes.mac(offset &+ 2) != mac
            {
                return false
            }
            offset &+= length.int &* 8
        }
        return true
    }

    /// An advertisement (flags) or solicitation (no flags) of `Self.length` bytes at `ip`.
    static func write(
        _ ip: IPv6Header, _ type: UInt8, flags: UInt8, target: IPAddress, _ mac: MACAddress, from source: IPAddress,
        to destination: IPAddress
    ) {
        ip.write(
            payload: length &- IPv6Header.length, nextHeader: ICMPv6Message.proto, hopLimit: hopLimit, from: source,
            to: destination)
        let message = ICMPv6Message(ip)
        message.bytes.store(type.u32 &<< 24, at: 0)
        message.bytes.store(flags.u32 &<< 24, at: 4)
        message.bytes.store(ipv6: target, at: 8)
        let option = type == solicitation ? LinkLayer.source : LinkLayer.target
        message.bytes.store(option.rawValue.u16 &<< 8 | 1, at: 24)
        message.bytes.store(mac, at: 26)
        message.writeChecksum()
    }
}

extension NeighborDiscovery {
    /// A solicitation of `probeLength` bytes at `ip` that looks for others with this address (RFC 4862 section 5.4.2).
    static func writeProbe(_ ip: IPv6Header, for address: IPAddress) {
        ip.write(
            payload: probeLength &- IPv6Header.length, nextHeader: ICMPv6Message.proto, hopLimit: hopLimit,
            from: IPAddress(high: 0, low: 0), to: address.solicitedNode)
        let message = ICMPv6Message(ip)
        message.bytes.store(solicitation.u32 &<< 24, at: 0)
        message.bytes.store(UInt32(0), at: 4)
        message.bytes.store(ipv6: address, at: 8)
        message.writeChecksum()
    }
}

extension IPAddress {
    /// ff02::1
    static var allNodes: IPAddress { IPAddress(high: 0xFF02 &<< 48, low: 1) }

    /// ff02::1:ff00:0/104 with the last 24 bits of this address (RFC 4291 section 2.7.1).
    var solicitedNode: IPAddress { IPAddress(high: 0xFF02 &<< 48, low: 0x1_FF00_0000 | low & 0xFF_FFFF) }
    var isSolicitedNode: Bool { high == 0xFF02 &<< 48 && low &>> 24 == 0x1FF }

    /// The Ethernet address of this multicast address (RFC 1112 section 6.4, RFC 2464 section 7).
    var multicastMAC: MACAddress {
        MACAddress(isV4 ? 0x0100_5E00_0000 | low & 0x7F_FFFF : 0x3333_0000_0000 | low & 0xFFFF_FFFF)
    }

    /// The link-local address with the modified EUI-64 of `mac` (RFC 4291 appendix A).
    static func linkLocal(_ mac: MACAddress) -> IPAddress {
        let upper = mac.value &>> 24 ^ 0x02_0000
        return IPAddress(high: 0xFE80 &<< 48, low: upper &<< 40 | 0xFF_FE00_0000 | mac.value & 0xFF_FFFF)
    }
}
