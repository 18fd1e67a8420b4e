// SPDX-License-Identifier: Apache-2.0

import CApus

// Frames that the library makes from the ones that asked for them, in the same buffer. What came in is counted as
// consumed, what goes out as generated.

extension Worker {
    /// Answer the ARP request behind a link header of `link` bytes (which may hold a tag) with `mac`.
    mutating func answerARP(_ frame: Frame, _ link: Int, with mac: MACAddress) {
        let bytes = frame.bytes
        let arp = ARPPacket(bytes.advanced(by: link))
        let (asker, askerIP, targetIP) = (arp.senderMAC, arp.senderIP, arp.targetIP)
        bytes.store(asker, at: Ethernet.destination)
        bytes.store(mac, at: Ethernet.source)
        arp.write(operation: ARPPacket.reply, sender: (mac, targetIP), target: (asker, askerIP))
        var answer = frame
        answer.trim(to: link &+ ARPPacket.length)
        if emitAnswer(answer) { counters.add(.arpReplies) }
    }

    /// A packet for the gateway address of a virtual subnet: docs/pipeline.md 2.2.3 and 6.
    mutating func processForGateway(_ frame: Frame) {
        let bytes = frame.bytes
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        let headerLength = ip.headerLength
        let length = ip.totalLength &- headerLength
        guard ip.proto == 1, !ip.isFragment, length >= 8, ip.hasCorrectChecksum else {
            return drop(frame, .gatewayUnserved)
        }
        let icmp = ip.ip.advanced(by: headerLength)
        guard icmp.u16(0) == 0x0800 else { return drop(frame, .gatewayUnserved) }

        let (source, destination) = (ip.source, ip.destination)
        let asker = bytes.mac(Ethernet.source)
        bytes.store(bytes.mac(Ethernet.destination), at: Ethernet.source)
        bytes.store(asker, at: Ethernet.destination)
        // Swapping the addresses leaves the header's sum alone; TTL 128 does not.
        let old = ip.ip.u16(8)
        ip.ip[8] = 128
        ip.ip.store(Checksum.updated(ip.checksum, from: old, to: ip.ip.u16(8)), at: 10)
        ip.ip.store(destination, at: 12)
        ip.ip.store(source, at: 16)
        // Echo request 8 becomes echo reply 0 (RFC 792); a wrong checksum stays as wrong as it was.
        icmp[0] = 0
        let checksum = Checksum.updated(icmp.u16(2), from: 0x0800, to: 0)
        // Zero stands for the same sum, but is wrong for a message of zeros only, where 0xFFFF is right.
        icmp.store(checksum == 0 ? 0xFFFF : checksum, at: 2)
        if emitAnswer(frame) { counters.add(.echoReplies) }
    }

    private mutating func emitAnswer(_ frame: Frame) -> Bool {
        counters.add(.consumed)
        counters.add(.generated)
        var answer = frame
        answer.flags = APUS_FRAME_GENERATED
        return emit(answer, to: frame.port, from: none)
    }
}
