// SPDX-License-Identifier: Apache-2.0

/// Ethernet II: destination 6, source 6, EtherType 2.
enum Ethernet {
    static var headerLength: Int { 14 }
    static var tagLength: Int { 4 }
    /// More stacked tags than any network has. They are taken out of the contiguous part of a frame, and what is left
    /// must still hold all headers.
    static var maximumTags: Int { 8 }
    static var destination: Int { 0 }
    static var source: Int { 6 }
    static var etherType: Int { 12 }

    static var ipv4: UInt16 { 0x0800 }
    static var ipv6: UInt16 { 0x86DD }
    static var arp: UInt16 { 0x0806 }

    /// Length of a header with this VLAN; 0: without a tag.
    static func headerLength(vlan: UInt16) -> Int { headerLength &+ (vlan == 0 ? 0 : tagLength) }

    /// A header of that length.
    static func write(
        _ start: Bytes, to destination: MACAddress, from source: MACAddress, vlan: UInt16, _ type: UInt16
    ) {
        start.store(destination, at: Self.destination)
        start.store(source, at: Self.source)
        if vlan != 0 {
            start.store(UInt16(0x8100), at: etherType)
            start.store(vlan, at: etherType &+ 2)
        }
        start.store(type, at: headerLength(vlan: vlan) &- 2)
    }

    /// A customer or service tag. RFC 7637 section 3.3 says "802.1Q tag"; IEEE 802.1Q defines both.
    @inline(__always)
    static func isTag(_ etherType: UInt16) -> Bool { etherType == 0x8100 || etherType == 0x88A8 }
}
