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

    /// A packet for the gateway address of a virtual subnet: docs/pipeline.md 2.2.3 and 6. `externalPort`: the packet came to this one out of a
    /// tunnel, or `none`.
    mutating func processForGateway(_ frame: Frame, _ externalPort: UInt32) {
        let packet = IPPacket(in: frame.bytes)
        if packet.isIPv6 { return answerEcho(frame, packet.v6, externalPort) }
        let ip = packet.v4
        let headerLength = ip.headerLength
        let length = ip.totalLength &- headerLength
        guard ip.proto == 1, !ip.isFragment, length >= 8, ip.hasCorrectChecksum else {
            return drop(frame, .gatewayUnserved)
        }
        let icmp = ip.ip.advanced(by: headerLength)
        guard icmp.u16(0) == 0x0800 else { return drop(frame, .gatewayUnserved) }

        let (source, destination) = (ip.source, ip.destination)
        swapMACs(frame.bytes)
        // Swapping the addresses leaves the header's sum alone; TTL 128 does not.
        let old = ip.ip.u16(8)
        ip.ip[8] = 128
        ip.ip.store(Checksum.updated(ip.checksum, from: old, to: ip.ip.u16(8)), at: 10)
        ip.ip.store(destination, at: 12)
        ip.ip.store(source, at: 16)
        // Echo request 8 becomes echo reply 0 (RFC 792).
        turnAround(icmp, from: 0x0800, to: 0)
        emitEcho(frame, externalPort)
    }

    private mutating func answerEcho(_ frame: Frame, _ ip: IPv6Header, _ externalPort: UInt32) {
        let message = ICMPv6Message(ip)
        guard ip.nextHeader == ICMPv6Message.proto, ip.payloadLength >= 8, message.type == ICMPv6Message.echoRequest,
            message.code == 0
        else { return drop(frame, .gatewayUnserved) }
        let (source, destination) = (ip.source, ip.destination)
        swapMACs(frame.bytes)
        ip.ip[7] = 128
        ip.ip.store(ipv6: destination, at: 8)
        ip.ip.store(ipv6: source, at: 24)
        // The addresses are in the checksum too, whichever is the source (RFC 4443 section 2.3).
        turnAround(
            message.bytes, from: ICMPv6Message.echoRequest.u16 &<< 8, to: ICMPv6Message.echoReply.u16 &<< 8)
        emitEcho(frame, externalPort)
    }

    private mutating func emitEcho(_ frame: Frame, _ externalPort: UInt32) {
        if externalPort != none {
            counters.add(.consumed)
            counters.add(.generated)
            counters.add(.echoReplies)
            return enterInside(from: externalPort, frame)
        }
        if tables.portSlots.kind(of: frame.port) == Port.external ? emitOutside(frame) : emitAnswer(frame) {
            counters.add(.echoReplies)
        }
    }

    private func swapMACs(_ bytes: Bytes) {
        let asker = bytes.mac(Ethernet.source)
        bytes.store(bytes.mac(Ethernet.destination), at: Ethernet.source)
        bytes.store(asker, at: Ethernet.destination)
    }

    /// Another type and code; a wrong checksum stays as wrong as it was.
    private func turnAround(_ icmp: Bytes, from request: UInt16, to reply: UInt16) {
        icmp.store(reply, at: 0)
        let checksum = Checksum.updated(icmp.u16(2), from: request, to: reply)
        // Zero stands for the same sum, but is wrong for a message of zeros only, where 0xFFFF is right.
        icmp.store(checksum == 0 ? 0xFFFF : checksum, at: 2)
    }

    mutating func emitAnswer(_ frame: Frame) -> Bool {
        counters.add(.consumed)
        counters.add(.generated)
        var answer = frame
        answer.flags = APUS_FRAME_GENERATED
        if !emit(answer, to: frame.port, from: none) { return false }
        countMadeOutside(answer, to: frame.port)
        return true
    }
}
