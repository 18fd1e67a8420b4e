// SPDX-License-Identifier: Apache-2.0

import CApus

// Out of the VM network and into it, through external ports: docs/pipeline.md section 9.

extension Worker {
    // MARK: - Out

    /// Section 9.1: a packet that the policy leads to the machine that this port is.
    func decideLeaving(_ packet: IPPacket, through number: UInt32, _ scope: UInt32) -> Decision {
        let port = tables.ports[number]
        let destination = packet.destination
        if isOwn(destination, port) { return decideAnswer(through: port.id, scope) }
        if destination.isLinkLocal || packet.source.isLinkLocal { return dropFlow(.linkLocal, scope) }
        let side = port.side(isIPv6: packet.isIPv6)
        let nextHop = side.isPresent ? side.nextHop(to: destination) : side.nextHop
        if nextHop.isUnspecified { return dropFlow(.externalRouteMissing, scope) }

        scratch.value = Transposition(.leave, scope: scope)
        scratch.value.isRouted = 1
        scratch.value.externalPort = port.id
        scratch.value.egress = port.device
        scratch.value.maximum = port.mtu
        scratch.value.variant.set(Transposition.Variant.ipv6, packet.isIPv6)
        let rewrite = AddressRewrite(scratch)
        (rewrite.source, rewrite.destination) = (side.address, nextHop)
        let neighbor = neighbor(nextHop, port.id)
        let mac = neighbor.flatMap { tables.cells[tables.neighbors[$0].cell].value.mac }
        let length = Ethernet.headerLength(vlan: port.vlan)
        scratch.value.headerLength = length.u8
        Ethernet.write(
            rewrite.link(length), to: mac ?? .broadcast, from: port.mac, vlan: port.vlan,
            packet.isIPv6 ? Ethernet.ipv6 : Ethernet.ipv4)
        guard let neighbor else { return .unresolved(none) }
        scratch.value.neighbor = neighbor
        return mac == nil ? .unresolved(neighbor) : .flow
    }

    /// Is this an address of the gateway itself: on its other side, or in its virtual subnet?
    private func isOwn(_ address: IPAddress, _ port: Port) -> Bool {
        if port.side(isIPv6: !address.isV4).address == address { return true }
        return record(port.vsid, address).map { tables.records[$0].mac == port.mac } ?? false
    }

    /// A packet of a flow that leaves, or that is for the gateway itself.
    mutating func leave(_ frame: Frame, _ transposition: Ref<Transposition>) {
        let offset = transposition.value.innerOffset
        if offset == 0 { return leave(frame, frame, nil, transposition) }
        var inner = frame
        let reason = transposition.decapsulate(&inner, offset: offset)
        inner.port = frame.port
        leave(frame, inner, reason, transposition)
    }

    /// The same for one whose outer headers are gone already, or could not be removed for a `reason`.
    mutating func leave(_ frame: Frame, _ inner: Frame, _ reason: DropReason?, _ transposition: Ref<Transposition>) {
        if let reason { return drop(frame, reason) }
        let isTunnelled = transposition.value.innerOffset != 0
        if transposition.value.kind == .gateway {
            return processForGateway(inner, isTunnelled ? transposition.value.externalPort : none)
        }
        var sent = inner
        let reason = transposition.leave(&sent)
        if reason == .mtuExceeded, fragment(inner, transposition, 0) { return }
        finish(transposition, inner, sent, reason)
    }

    /// Frames of an external port that another one carries count at both.
    func countOutside(_ port: UInt32, on device: UInt32, _ field: PortCounters.Field, _ length: UInt32) {
        if port == device { return }
        portCounters.add(port, field, 1, bytes: length.u64)
    }

    /// The same for what was made here.
    func countMadeOutside(_ frame: Frame, to device: UInt32) {
        // What leaves as fragments is counted as what leaves.
        if !hasExternalPorts || frame.flags & APUS_FRAME_GENERATED == 0 { return }
        var sent = frame
        sent.port = device
        if let number = outside(of: sent) { countOutside(tables.ports[number].id, on: device, .transmitted, frame.length) }
    }

    // MARK: - In

    /// The number of the external port to which a frame from a device belongs.
    @inline(never)
    func outside(of frame: Frame) -> UInt32? {
        let link = LinkHeader(frame)
        return tables.ports.findInChain(
            Port.hash(tables.key, device: frame.port, link.vlan), at: version,
            { tables.ports[$0].isAt(frame.port, link.vlan) }, { _ in true })
    }

    func isFromOutside(_ frame: Frame) -> Bool { hasExternalPorts && outside(of: frame) != nil }

    /// Section 9.2: a frame as it came.
    mutating func processFromOutside(_ frame: Frame, _ number: UInt32) {
        let port = tables.ports[number]
        if let trace { note(trace, port: number, port.id) }
        // One that waited came when its VLAN was nobody's.
        if !isExtra { countOutside(port.id, on: frame.port, .received, frame.length) }
        let link = LinkHeader(frame)
        guard frame.length.int >= link.length else { return drop(frame, .outerTruncated) }
        if link.etherType == Ethernet.arp { return processOutsideARP(frame, link, port) }
        guard link.etherType == Ethernet.ipv4 || link.etherType == Ethernet.ipv6 else { return drop(frame, .etherType) }
        // As if there were no tag: what is read is behind it.
        let bytes = frame.bytes.advanced(by: link.length &- Ethernet.headerLength)
        guard IPPacket.isWellFormed(in: bytes, available: frame.length.int &- link.length) else {
            return drop(frame, .ipMalformed)
        }
        let readable = min(frame.length.int &- link.length, Frame.readableMaximum &- Ethernet.headerLength)
        if IPPacket(in: bytes).isNeighborDiscovery(readable: readable) {
            return processOutsideDiscovery(frame, link, port, readable)
        }
        let destination = frame.bytes.mac(Ethernet.destination)
        if destination != port.mac { return drop(frame, destination.isGroup ? .notUnicast : .outerMAC) }

        // From here on it is a packet of the gateway's.
        var packet = frame
        removeTag(&packet, link)
        outsideSender = packet.bytes.mac(Ethernet.source)
        packet.bytes.store(port.mac, at: Ethernet.source)
        packet.port = port.id
        processOutside(packet)
        outsideSender = MACAddress(0)
    }

    /// A packet that is the gateway's: it came from outside, waited, or was made here.
    mutating func processOutside(_ frame: Frame) {
        guard stageVM(frame, single) else { return drop(frame, .ipMalformed) }
        processStaged(frame)
    }

    func decideOutside(_ packet: IPPacket, from place: Ref<Port>, domain: UInt32) -> Decision {
        let port = place.value
        if !packet.hasUnicastDestination { return dropPacket(.notUnicast) }
        if !packet.hasUnicastSource { return dropPacket(.ipMalformed) }
        if !port.side(isIPv6: packet.isIPv6).isPresent { return dropPacket(.externalRouteMissing) }
        if isOwn(packet.destination, port) { return decideAnswer(through: none, Scopes.of(domain: domain)) }
        // Nobody outside has the address of a machine of the VM network.
        let source = packet.source
        if let known = record(sourceSubnet(of: source, arrivedIn: port.vsid, domain: domain), source),
            tables.records[known].mac != port.mac
        {
            return dropPacket(.sourceCAMAC)
        }
        let own = record(port.vsid, source).flatMap {
            tables.records[$0].mac == port.mac && isLocal(tables.records[$0].pa) ? $0 : nil
        }
        let sender = own ?? forwardingRecord(port.vsid, port.mac, for: source)
        // Nor one that a machine or a router there could have: not where the policy does not lead out. A forwarding record for what is
        // on-link in the gateway's own virtual subnet is a wildcard record, and leads out.
        if !isOwn(source, port) {
            if isGateway(source, domain: domain) { return dropPacket(.sourceRecordMissing) }
            if let route = customerRoute(source, domain: domain, onLinkOnly: false), tables.routes[route].isOnLink,
                sender == nil || tables.routes[route].vsid != port.vsid
            {
                return dropPacket(.sourceRecordMissing)
            }
        }
        let decision = decideRouted(
            packet, from: place, domain: domain, Sender(pa: sender.map { tables.records[$0].pa } ?? .unspecified))
        scratch.value.dependsOnTwoRecords = false
        return decision
    }

    /// Something that was made here enters the VM network.
    mutating func enterInside(_ frame: Frame) {
        let (wasExtra, sender, mtu) = (isExtra, outsideSender, trace?.value.mtu)
        (isExtra, outsideSender) = (true, MACAddress(0))
        processOutside(frame)
        (isExtra, outsideSender) = (wasExtra, sender)
        // That of its way is not what was asked for.
        if let mtu { trace?.value.mtu = mtu }
    }

    /// The same for an answer that was made of a packet from a tunnel, and takes its place.
    mutating func enterInside(from id: UInt32, _ answer: Frame) {
        guard let number = findPort(id) else { return drop(answer, .portUnknown, ingress: none) }
        var frame = answer
        frame.bytes.store(tables.ports[number].mac, at: Ethernet.source)
        frame.port = id
        guard stageVM(frame, single) else { return drop(frame, .ipMalformed) }
        // It begins no flow of the port's, so it is not counted as one.
        if trace != nil { processStaged(frame) } else { processStaged(frame, single) }
    }

    /// Send an answer, made of a packet from outside, back to who sent that.
    mutating func emitOutside(_ answer: Frame) -> Bool {
        guard let number = findPort(answer.port), outsideSender.isUsable else {
            drop(answer, .gatewayUnserved)
            return false
        }
        let port = tables.ports[number]
        let tag = Ethernet.headerLength(vlan: port.vlan) &- Ethernet.headerLength
        var frame = answer
        let etherType = frame.bytes.u16(Ethernet.etherType)
        // The request had this tag.
        frame.push(tag)
        Ethernet.write(frame.bytes, to: outsideSender, from: port.mac, vlan: port.vlan, etherType)
        frame.port = port.device
        return emitAnswer(frame)
    }

    // MARK: - ARP and neighbour discovery outside (section 9.3)

    private mutating func processOutsideARP(_ frame: Frame, _ link: LinkHeader, _ port: Port) {
        guard let arp = arpPacket(in: frame, link) else { return drop(frame, .providerARPMalformed) }
        let (sender, senderMAC) = (IPAddress(v4: arp.senderIP), arp.senderMAC)
        let isReplyToUs = arp.operation == ARPPacket.reply && frame.bytes.mac(Ethernet.destination) == port.mac
        if arp.operation == ARPPacket.request, port.ipv4.isPresent, IPAddress(v4: arp.targetIP) == port.ipv4.address {
            answerARP(frame, link.length, with: port.mac)
        } else {
            consume(frame)
        }
        learn(sender, senderMAC, on: NeighborCell.place(frame.port, link.vlan), isReplyToUs, behind: port.id)
    }

    private mutating func processOutsideDiscovery(_ frame: Frame, _ link: LinkHeader, _ port: Port, _ readable: Int) {
        let sender = frame.bytes.mac(Ethernet.source)
        guard let packet = discoveryPacket(in: frame, link, readable: readable) else {
            return drop(frame, .providerNDMalformed)
        }
        let place = NeighborCell.place(frame.port, link.vlan)
        switch packet.type {
        case NeighborDiscovery.advertisement:
            let isReplyToUs = packet.isSolicited && frame.bytes.mac(Ethernet.destination) == port.mac
            let isNews = isReplyToUs || packet.isSolicited || packet.isOverride
            let target = packet.target
            consume(frame)
            if isNews { learn(target, sender, on: place, isReplyToUs, behind: port.id) }
        case NeighborDiscovery.solicitation:
            let asker = packet.linkLayer(.source) == nil ? nil : packet.ip.source
            if port.ipv6.isPresent, packet.target == port.ipv6.address {
                advertise(port.mac, isRouter: true, to: frame, link: link.length)
            } else {
                consume(frame)
            }
            if let asker { learn(asker, sender, on: place, false, behind: port.id) }
        default: consume(frame)
        }
    }
}

// MARK: - Each packet

extension Ref where Value == Transposition {
    /// The customer's part of a frame that this result is for.
    func customerPacket(in frame: Frame) -> Frame {
        var packet = frame
        packet.pop(value.innerOffset)
        return packet
    }

    /// An untagged frame goes on, as every router sends it.
    func leave(_ frame: inout Frame) -> DropReason? {
        let packet = IPPacket(in: frame.bytes)
        if packet.ttl <= 1 { return .ttlExpired }
        let length = packet.totalLength
        if length > value.maximum.int { return .mtuExceeded }
        if value.headerLength.int &- Ethernet.headerLength > frame.headroom.int { return .noHeadroom }
        if packet.isIPv6 { packet.ip[7] &-= 1 } else { packet.v4.decrementTTL() }
        replaceLink(&frame, length)
        return nil
    }
}
