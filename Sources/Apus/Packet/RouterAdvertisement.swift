// SPDX-License-Identifier: Apache-2.0

/// A router advertisement that is being written (RFC 4861 section 4.2).
struct RouterAdvertisement {
    private let ip: IPv6Header
    /// Bytes of ICMPv6 until now.
    private var payload: Int
    private var prefixes = 0

    private static var prefixesMaximum: Int { 4 }
    /// Until it is sent again: what a machine that keeps quiet for so long has to ask for.
    private static var lifetime: UInt16 { 9000 }

    static var lengthMaximum: Int { IPv6Header.length &+ 16 &+ 8 &+ 8 &+ prefixesMaximum &* 32 }

    /// `ip` is where it begins. An MTU that IPv6 does not allow is not mentioned.
    init(_ ip: IPv6Header, _ mac: MACAddress, mtu: UInt16) {
        self.ip = ip
        let message = ICMPv6Message(ip).bytes
        message.zero(32)
        message[0] = NeighborDiscovery.routerAdvertisement
        message[4] = 64  // hop limit of what machines send
        message.store(Self.lifetime, at: 6)
        message.store(UInt16(0x0101), at: 16)
        message.store(mac, at: 18)
        payload = 24
        if mtu >= 1280 {
            message.store(UInt16(0x0501), at: 24)
            message.store(mtu.u32, at: 28)
            payload = 32
        }
    }

    var isFull: Bool { prefixes == Self.prefixesMaximum }
    /// With the IPv6 header.
    var length: Int { IPv6Header.length &+ payload }

    /// Prefix information (section 4.6.2), valid for ever.
    mutating func add(_ prefix: IPAddress, _ length: UInt8, isAutonomous: Bool) {
        let option = ICMPv6Message(ip).bytes.advanced(by: payload)
        option.store(UInt16(0x0304), at: 0)
        option[2] = length
        option[3] = isAutonomous ? 0xC0 : 0x80
        option.store(UInt32.max, at: 4)
        option.store(UInt32.max, at: 8)
        option.store(UInt32(0), at: 12)
        option.store(ipv6: prefix, at: 16)
        payload &+= 32
        prefixes &+= 1
    }

    func finish(from source: IPAddress, to destination: IPAddress) {
        ip.write(
            payload: payload, nextHeader: ICMPv6Message.proto, hopLimit: NeighborDiscovery.hopLimit, from: source,
            to: destination)
        ICMPv6Message(ip).writeChecksum()
    }
}
