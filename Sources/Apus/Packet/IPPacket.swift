// SPDX-License-Identifier: Apache-2.0

/// A customer's IP packet of either family whose header has been checked. Built where packets are decided, one by one;
/// the hit path reads single fields instead.
struct IPPacket: BitwiseCopyable {
    let ip: Bytes
    let isIPv6: Bool

    /// The packet in an Ethernet frame that `isWellFormed` accepted.
    @inline(__always)
    init(in frame: Bytes) {
        ip = frame.advanced(by: Ethernet.headerLength)
        isIPv6 = frame.u16(Ethernet.etherType) == Ethernet.ipv6
    }

    /// An IP packet of either family whose header is possible. `available` is the length of what follows the Ethernet header.
    static func isWellFormed(in frame: Bytes, available: Int) -> Bool {
        let ip = frame.advanced(by: Ethernet.headerLength)
        switch frame.u16(Ethernet.etherType) {
        case Ethernet.ipv4: return IPv4Header(ip).isWellFormed(available: available)
        case Ethernet.ipv6: return IPv6Header(ip).isWellFormed(available: available)
        default: return false
        }
    }

    var v4: IPv4Header { IPv4Header(ip) }
    var v6: IPv6Header { IPv6Header(ip) }

    var source: IPAddress { isIPv6 ? v6.source : IPAddress(v4: v4.source) }
    var destination: IPAddress { isIPv6 ? v6.destination : IPAddress(v4: v4.destination) }
    var hasUnicastSource: Bool { isIPv6 ? v6.source.isUnicastIPv6 : v4.source.isUnicastIPv4 }
    var hasUnicastDestination: Bool { isIPv6 ? v6.destination.isUnicastIPv6 : v4.destination.isUnicastIPv4 }
    /// Of IPv6 without extension headers.
    var headerLength: Int { isIPv6 ? IPv6Header.length : v4.headerLength }
    var totalLength: Int { isIPv6 ? v6.totalLength : v4.totalLength }
    var ttl: UInt8 { isIPv6 ? v6.hopLimit : v4.ttl }

    /// A neighbour discovery message, wherever in the packet it hides.
    func isNeighborDiscovery(readable: Int) -> Bool {
        guard isIPv6 else { return false }
        let upper = v6.upperLayer(readable: readable)
        return upper.proto == ICMPv6Message.proto && upper.isReadable && NeighborDiscovery.isType(ip[upper.offset])
    }
}
