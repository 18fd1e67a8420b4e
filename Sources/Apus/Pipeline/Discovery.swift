// SPDX-License-Identifier: Apache-2.0

import CApus

// Neighbour discovery from vm ports: docs/pipeline.md 3.1. What ARP is to IPv4, and the router's own part.

extension Worker {
    mutating func processDiscovery(_ frame: Frame, _ port: Port) {
        let packet = NeighborDiscovery(IPv6Header(frame.bytes.advanced(by: Ethernet.headerLength)))
        guard packet.isWellFormed(readable: frame.readable &- Ethernet.headerLength) else {
            return drop(frame, .ndMalformed)
        }
        if !accepts(packet, frame.bytes.mac(Ethernet.source), from: port) { return drop(frame, .ndSpoofed) }
        switch packet.type {
        case NeighborDiscovery.routerSolicitation: answerRouterSolicitation(frame, packet, port)
        case NeighborDiscovery.solicitation: answerSolicitation(frame, packet, port)
        default:
            let egress = vmPort(port.vsid, frame.bytes.mac(Ethernet.destination))
            if let egress, egress != port.id { return emitSwitched(frame, to: egress) }
            if packet.type != NeighborDiscovery.advertisement { return consume(frame) }
            sendReply(frame, Ethernet.headerLength &+ packet.ip.totalLength, from: port)
        }
    }

    /// What a machine says of itself and of others.
    private mutating func accepts(_ packet: NeighborDiscovery, _ mac: MACAddress, from port: Port) -> Bool {
        if !port.isTrusted {
            // No machine is a router here.
            if packet.type == NeighborDiscovery.routerAdvertisement || packet.type == NeighborDiscovery.redirect {
                return false
            }
            if !packet.names(only: port.mac) { return false }
        }
        guard accepts(sender: packet.ip.source, mac, from: port) else { return false }
        if packet.type != NeighborDiscovery.advertisement || packet.target == packet.ip.source { return true }
        return accepts(sender: packet.target, mac, from: port)
    }

    private mutating func answerSolicitation(_ frame: Frame, _ packet: NeighborDiscovery, _ port: Port) {
        if let mac = routerMAC(packet.target, vsid: port.vsid) {
            return advertise(mac, isRouter: true, to: frame, link: Ethernet.headerLength)
        }
        guard let number = record(port.vsid, packet.target) else {
            return ask(frame, Ethernet.headerLength &+ packet.ip.totalLength, of: port, orDrop: .ndUnanswered)
        }
        let mac = tables.records[number].mac
        // A machine that looks for itself: duplicate address detection.
        if mac == port.mac { return consume(frame) }
        advertise(mac, isRouter: false, to: frame, link: Ethernet.headerLength)
    }

    /// Answer the solicitation behind a link header of `link` bytes, which may hold a tag. The request may be shorter than
    /// the answer, which has a buffer of its own.
    mutating func advertise(
        _ mac: MACAddress, isRouter: Bool, isOverride: Bool = true, to frame: Frame, link: Int
    ) {
        let request = NeighborDiscovery(IPv6Header(frame.bytes.advanced(by: link)))
        counters.add(.generated)
        if var answer = buffers.allocate(link &+ NeighborDiscovery.length) {
            let asker = request.ip.source
            answer.bytes.copy(link, from: frame.bytes)
            answer.bytes.store(frame.bytes.mac(Ethernet.source), at: Ethernet.destination)
            answer.bytes.store(mac, at: Ethernet.source)
            // Router, solicited, override (RFC 4861 section 4.4): what the policy says is the truth.
            let override = isOverride ? NeighborDiscovery.override : 0
            let flags: UInt8 = (isRouter ? 0x80 : 0) | (asker.isUnspecified ? 0 : 0x40) | override
            NeighborDiscovery.write(
                IPv6Header(answer.bytes.advanced(by: link)), NeighborDiscovery.advertisement, flags: flags,
                target: request.target, mac, from: request.target, to: asker.isUnspecified ? .allNodes : asker)
            answer.port = none
            if emitMade(answer, to: frame.port) { counters.add(.arpReplies) }
        } else {
            counters.addDrop(.noBuffer)
        }
        consume(frame)
    }

    // MARK: - Router advertisements (section 6.1)

    private mutating func answerRouterSolicitation(_ frame: Frame, _ packet: NeighborDiscovery, _ port: Port) {
        let sender = frame.bytes.mac(Ethernet.source)
        guard !sender.isGroup, !settings.usesExternalRouter,
            let first = nextIPv6Route(vsid: port.vsid, flags: CustomerRoute.advertise, after: nil)
        else { return consume(frame) }
        counters.add(.generated)
        guard var answer = buffers.allocate(Ethernet.headerLength &+ RouterAdvertisement.lengthMaximum) else {
            counters.addDrop(.noBuffer)
            return consume(frame)
        }
        let mac = gatewayMAC(first.gateway, vsid: port.vsid)
        answer.bytes.store(sender, at: Ethernet.destination)
        answer.bytes.store(mac, at: Ethernet.source)
        answer.bytes.store(Ethernet.ipv6, at: Ethernet.etherType)
        var advertisement = RouterAdvertisement(
            IPv6Header(answer.bytes.advanced(by: Ethernet.headerLength)), mac, mtu: port.mtu)
        var next: CustomerRoute? = first
        while let route = next, !advertisement.isFull {
            advertisement.add(
                route.prefix, route.length, isAutonomous: route.flags.u32 & CustomerRoute.autoconfigure != 0)
            next = nextIPv6Route(vsid: port.vsid, flags: CustomerRoute.advertise, after: route)
        }
        let asker = packet.ip.source
        advertisement.finish(from: .linkLocal(mac), to: asker.isUnspecified ? .allNodes : asker)
        answer.length = (Ethernet.headerLength &+ advertisement.length).u32
        answer.port = none
        if emitMade(answer, to: frame.port) { counters.add(.routerAdvertisements) }
        consume(frame)
    }
}
