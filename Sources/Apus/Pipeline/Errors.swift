// SPDX-License-Identifier: Apache-2.0

// ICMP errors to customers, from the gateway address of their virtual subnet: docs/pipeline.md section 7.

extension Worker {
    /// Drop a packet, and tell its sender where that helps: when it expired, and when it is too big for its way, which
    /// `transposition` has.
    mutating func refuse(_ frame: Frame, _ reason: DropReason, _ transposition: Ref<Transposition>) {
        if reason == .ttlExpired {
            sendError(to: frame, .timeExceeded, transposition)
        } else if reason == .mtuExceeded {
            sendError(to: frame, .tooBig, transposition)
        } else if settings.sendsUnreachable, reason.isMissingPolicy {
            sendUnreachable(about: frame)
        }
        drop(frame, reason)
    }

    enum ICMPError {
        case timeExceeded
        case tooBig
        /// To another host: section 4.4.
        case unreachable

        /// Type and code, as the upper half of a word.
        fileprivate var wordIPv4: UInt32 {
            switch self {
            case .timeExceeded: 0x0B00_0000  // in transit
            case .tooBig: 0x0304_0000  // with the next hop's MTU (RFC 1191 section 4)
            case .unreachable: 0x030A_0000
            }
        }
        fileprivate var wordIPv6: UInt32 {
            switch self {
            case .timeExceeded: ICMPv6Message.timeExceeded.u32 &<< 24
            case .tooBig: ICMPv6Message.packetTooBig.u32 &<< 24
            case .unreachable: 0x0101_0000
            }
        }
    }

    /// RFC 792, RFC 4443; when not to: RFC 1812 section 4.4.2.7, RFC 4443 section 2.4.
    private mutating func sendError(to frame: Frame, _ error: ICMPError, _ transposition: Ref<Transposition>) {
        let packet = IPPacket(in: frame.bytes)
        let mtu = error == .tooBig ? transposition.value.maximum : 0
        // Less is in memory for certain of what was behind outer headers.
        let readable = min(frame.length.int, Frame.readableMaximum &- transposition.value.innerOffset)
        guard settings.sendsErrors, mayBeAnswered(packet, readable: readable &- Ethernet.headerLength),
            let way = wayBack(to: frame, packet, transposition.value.externalPort)
        else { return }
        if !mayTell(way.bucket) { return counters.add(.icmpSuppressed) }

        counters.add(.generated)
        let header = packet.isIPv6 ? Self.headersIPv6 : Self.headersIPv4
        let quotedMaximum = packet.isIPv6 ? Self.quotedMaximumIPv6 : Self.quotedMaximumIPv4
        let quoted = min(packet.totalLength, quotedMaximum, frame.contiguous.int &- Ethernet.headerLength)
        let link = Ethernet.headerLength(vlan: way.vlan)
        guard var made = buffers.allocate(link &+ header &+ quoted) else {
            return counters.addDrop(.noBuffer)
        }
        Ethernet.write(made.bytes, to: way.receiver, from: way.mac, vlan: way.vlan, frame.bytes.u16(Ethernet.etherType))
        let ip = made.bytes.advanced(by: link)
        ip.advanced(by: header).copy(quoted, from: packet.ip)
        if packet.isIPv6 {
            writeIPv6(error, mtu, quoted, IPv6Header(ip), from: way.address, to: packet.v6.source)
        } else {
            writeIPv4(error, mtu, quoted, ip, from: way.address.v4, to: packet.v4.source)
        }
        if way.isInwards {
            made.port = way.port
            counters.add(.icmpErrors)
            enterInside(made)
        } else if emitMade(made, to: way.port) {
            counters.add(.icmpErrors)
        }
    }

    /// How the sender of a packet is reached, and as whom.
    private struct WayBack {
        var address: IPAddress
        var mac: MACAddress
        var receiver: MACAddress
        var vlan: UInt16 = 0
        var port: UInt32
        /// Whose errors are counted together.
        var bucket: UInt32
        /// Not to a port, but from this external port into its VM network.
        var isInwards = false
    }

    private func wayBack(to frame: Frame, _ packet: IPPacket, _ externalPort: UInt32) -> WayBack? {
        guard let number = findPort(frame.port) else { return nil }
        let ingress = tables.ports[number]
        if ingress.kind == Port.vm {
            let sender = frame.bytes.mac(Ethernet.source)
            guard sender.isUsable, let (address, mac) = router(for: packet.source, vsid: ingress.vsid) else { return nil }
            return WayBack(address: address, mac: mac, receiver: sender, port: ingress.id, bucket: ingress.id)
        }
        let isInwards = ingress.kind == Port.provider
        guard let number = isInwards ? findPort(externalPort) : number else { return nil }
        let port = tables.ports[number]
        let side = port.side(isIPv6: packet.isIPv6)
        guard side.isPresent, isInwards || outsideSender.isUsable else { return nil }
        return WayBack(
            address: side.address, mac: port.mac, receiver: isInwards ? port.mac : outsideSender,
            vlan: isInwards ? 0 : port.vlan, port: isInwards ? port.id : port.device, bucket: port.id,
            isInwards: isInwards)
    }

    func writeIPv4(
        _ error: ICMPError, _ mtu: UInt16, _ quoted: Int, _ ip: Bytes, from source: UInt32, to destination: UInt32
    ) {
        ip.store(UInt32(0x45C0_0000) | (28 &+ quoted).u32, at: 0)  // precedence 6: RFC 1812 section 4.4.2.5
        ip.store(UInt32(0x0000_4000), at: 4)
        ip.store(UInt32(0x8001_0000), at: 8)
        ip.store(source, at: 12)
        ip.store(destination, at: 16)
        ip.store(~Checksum.fold(Checksum.sum(ip, 20)), at: 10)

        let icmp = ip.advanced(by: 20)
        icmp.store(error.wordIPv4, at: 0)
        icmp.store(mtu.u32, at: 4)
        icmp.store(~Checksum.fold(Checksum.sum(icmp, 8 &+ quoted)), at: 2)
    }

    func writeIPv6(
        _ error: ICMPError, _ mtu: UInt16, _ quoted: Int, _ ip: IPv6Header, from source: IPAddress,
        to destination: IPAddress
    ) {
        ip.write(payload: 8 &+ quoted, nextHeader: ICMPv6Message.proto, hopLimit: 128, from: source, to: destination)
        let message = ICMPv6Message(ip)
        message.bytes.store(error.wordIPv6, at: 0)
        message.bytes.store(mtu.u32, at: 4)
        message.writeChecksum()
    }

    /// IP and ICMP.
    static var headersIPv4: Int { 28 }
    static var headersIPv6: Int { 48 }
    /// Of the packet that could not be delivered: the error has 576 bytes then (RFC 1812 section 4.3.2.3), or 1280 (RFC 4443
    /// section 2.4 c).
    static var quotedMaximumIPv4: Int { 548 }
    static var quotedMaximumIPv6: Int { 1232 }
    /// Errors that may follow each other at once.
    private static var errorBurst: UInt64 { 10 }

    /// No error is sent for a later fragment, for a broken header, or for an ICMP message that is no query or is cut off before
    /// its type.
    private func mayBeAnswered(_ packet: IPPacket, readable: Int) -> Bool {
        if packet.isIPv6 {
            let upper = packet.v6.upperLayer(readable: readable)
            if upper.isLaterFragment { return false }
            return upper.proto != ICMPv6Message.proto
                || (upper.isReadable && packet.ip[upper.offset] >= ICMPv6Message.firstQuery)
        }
        let ip = packet.v4
        return ip.fragmentOffset == 0 && !isError(ip, readable: readable) && ip.hasCorrectChecksum
    }

    private func isError(_ ip: IPv4Header, readable: Int) -> Bool {
        guard ip.proto == 1 else { return false }
        let header = ip.headerLength
        guard header < ip.totalLength, header < readable else { return true }
        let type = ip.ip[header]
        return !(type == 0 || type == 8 || (type >= 13 && type <= 18))
    }

    func mayTell(_ port: UInt32) -> Bool {
        let interval = settings.errorInterval
        return admits(
            &errorTimes[PortSlots.slot(of: port)], cost: interval, ahead: (Self.errorBurst &- 1) &* interval)
    }

    /// A token bucket, kept as the time at which it would be full again: takes `cost` nanoseconds, unless that time is more than `ahead`
    /// away.
    func admits(_ bucket: inout UInt64, cost: UInt64, ahead: UInt64) -> Bool {
        let due = max(bucket, now)
        if due &- now > ahead { return false }
        bucket = due &+ cost
        return true
    }

    /// As whom the router talks to this address: the gateway of the longest on-link prefix of the virtual subnet that has
    /// it; to a link-local one as the first IPv6 gateway's link-local address.
    private func router(for address: IPAddress, vsid: UInt32) -> (IPAddress, MACAddress)? {
        if address.isLinkLocal {
            guard let first = nextIPv6Route(vsid: vsid, flags: 0, after: nil) else { return nil }
            let mac = gatewayMAC(first.gateway, vsid: vsid)
            return (.linkLocal(mac), mac)
        }
        var best: CustomerRoute?
        tables.routes.visitSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            if route.vsid == vsid, route.isOnLink, address.isIn(route.prefix, route.length),
                best.map({ route.length > $0.length }) ?? true
            {
                best = route
            }
        }
        return best.map { ($0.gateway, gatewayMAC($0.gateway, vsid: vsid)) }
    }
}

extension DropReason {
    /// Another host believes that there is something here that is not.
    fileprivate var isMissingPolicy: Bool {
        self == .vsidUnknown || self == .innerDestinationMissing || self == .innerDestinationCAPA
    }
}
