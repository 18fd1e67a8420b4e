// SPDX-License-Identifier: Apache-2.0

/// An ARP packet for IPv4 over Ethernet (RFC 826). `arp` points behind the Ethernet header.
struct ARPPacket: BitwiseCopyable {
    let arp: Bytes

    static var length: Int { 28 }
    static var request: UInt16 { 1 }
    static var reply: UInt16 { 2 }

    @inline(__always) init(_ arp: Bytes) { self.arp = arp }

    var operation: UInt16 { arp.u16(6) }
    var senderMAC: MACAddress { arp.mac(8) }
    var senderIP: UInt32 { arp.u32(14) }
    var targetIP: UInt32 { arp.u32(24) }

    func isWellFormed(available: Int) -> Bool {
        available >= Self.length && arp.u32(0) == 0x0001_0800 && arp.u16(4) == 0x0604
            && (operation == Self.request || operation == Self.reply)
    }

    func write(operation: UInt16, sender: (mac: MACAddress, ip: UInt32), target: (mac: MACAddress, ip: UInt32)) {
        arp.store(UInt32(0x0001_0800), at: 0)
        arp.store(UInt16(0x0604), at: 4)
        arp.store(operation, at: 6)
        arp.store(sender.mac, at: 8)
        arp.store(sender.ip, at: 14)
        arp.store(target.mac, at: 18)
        arp.store(target.ip, at: 24)
    }
}
