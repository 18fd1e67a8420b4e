// SPDX-License-Identifier: Apache-2.0

// Frames from vm ports: docs/pipeline.md sections 2 and 3.

extension Worker {
    /// A frame that is not a plain IPv4 packet, or was waiting.
    mutating func processFromVM(_ original: Frame, port number: UInt32) {
        let port = tables.ports[number]
        var frame = original
        if !port.isTrusted, frame.bytes.mac(Ethernet.source) != port.mac { return drop(frame, .sourceMAC) }
        guard removeTags(&frame) else { return drop(original, .frameInvalid) }
        let etherType = frame.bytes.u16(Ethernet.etherType)
        if etherType == Ethernet.arp { return processARP(frame, port) }
        guard etherType == Ethernet.ipv4 || etherType == Ethernet.ipv6 else { return processOther(frame, port) }
        guard stageVM(frame, single) else {
            // Malformed, or neighbour discovery.
            let available = frame.length.int &- Ethernet.headerLength
            guard IPPacket.isWellFormed(in: frame.bytes, available: available) else {
                return drop(frame, .ipMalformed)
            }
            return processDiscovery(frame, port)
        }
        processStaged(frame)
    }

    /// RFC 7637 section 3.3: an inner frame has no 802.1Q tag. The MAC addresses move towards the payload.
    private func removeTags(_ frame: inout Frame) -> Bool {
        var tags = 0
        while Ethernet.isTag(frame.bytes.u16(Ethernet.etherType &+ Ethernet.tagLength &* tags)) {
            tags &+= 1
            if tags > Ethernet.maximumTags { return false }
            if Ethernet.headerLength &+ Ethernet.tagLength &* tags > frame.readable { return false }
        }
        if tags == 0 { return true }
        frame.bytes.move(Ethernet.etherType, from: 0, to: Ethernet.tagLength &* tags)
        frame.pop(Ethernet.tagLength &* tags)
        return true
    }

    /// Section 2 for a well-formed, untagged IP packet. The result goes to `scratch`.
    @_optimize(speed)
    func decideVM(_ frame: Frame) -> Decision {
        let packet = IPPacket(in: frame.bytes)
        let decision = decideVM(frame, packet)
        scratch.value.variant.set(Transposition.Variant.ipv6, packet.isIPv6)
        return decision
    }

    @_optimize(speed)
    private func decideVM(_ frame: Frame, _ packet: IPPacket) -> Decision {
        guard let recent = ingress(frame.port) else { return dropPacket(.portUnknown) }
        let domain = recent.value.ingress.domain
        let port = tables.ports.place(of: recent.value.ingress.port)
        if port.value.kind == Port.external { return decideOutside(packet, from: port, domain: domain) }
        let scope = Scopes.of(vsid: port.value.vsid, domain: domain)
        let bytes = frame.bytes
        let sourceMAC = bytes.mac(Ethernet.source)
        let destinationMAC = bytes.mac(Ethernet.destination)

        if !port.value.isTrusted, sourceMAC != port.value.mac { return dropFlow(.sourceMAC, scope) }
        if port.value.hasDHCPGuard, isFromDHCPServer(frame, packet) { return dropFlow(.dhcpGuard, scope) }
        if destinationMAC.isGroup, let decision = decideGroup(packet, sourceMAC, from: port, scope) { return decision }
        if destinationMAC.isGroup || !packet.hasUnicastDestination { return dropFlow(.notUnicast, scope) }
        if !packet.hasUnicastSource { return dropFlow(.ipMalformed, scope) }

        let sender = checkSource(packet.source, sourceMAC, port)
        if let refusal = sender.refusal { return dropFlow(refusal, scope) }
        let decision =
            domain != none && isGatewayMAC(destinationMAC, port.value.vsid, recent.value.ingress)
            ? decideRouted(packet, from: port, domain: domain, sender)
            : decideSwitched(packet, destinationMAC, from: port, scope, sender)
        if !sender.hasRecord { scratch.value.dependsOnTwoRecords = false }
        return decision
    }

    /// Who sends a packet into the VM network.
    struct Sender {
        /// The packet may leave the virtual subnet or the host.
        var isKnown = true
        /// There is a record of its address on this host.
        var hasRecord = false
        /// Where others expect its packets from: docs/pipeline.md 5, "sender's address". Unspecified: anywhere.
        var pa = IPAddress.unspecified
        var refusal: DropReason?
    }

    private func isFromDHCPServer(_ frame: Frame, _ packet: IPPacket) -> Bool {
        let readable = frame.readable &- Ethernet.headerLength
        let transport = Transport(packet.ip, isIPv6: packet.isIPv6, readable: readable)
        guard transport.proto == Transport.udp, !transport.isFragment, transport.contains(transport.offset, 4) else {
            return false
        }
        return packet.ip.u16(transport.offset) == (packet.isIPv6 ? 547 : 67)
    }

    /// Step 6.
    @_optimize(speed)
    func checkSource(_ ca: IPAddress, _ mac: MACAddress, _ port: Ref<Port>) -> Sender {
        let source = record(port.value.vsid, ca, expected: expected.source)
        if let source, isLocal(tables.records[source].pa), port.value.isTrusted || tables.records[source].mac == mac {
            return Sender(hasRecord: true, pa: tables.records[source].pa)
        }
        if let gateway = forwardingRecord(port.value.vsid, port.value.isTrusted ? port.value.mac : mac, for: ca),
            isLocal(tables.records[gateway].pa)
        {
            return Sender(pa: tables.records[gateway].pa)
        }
        if port.value.isTrusted { return Sender() }
        guard let source else { return Sender(isKnown: false) }
        return Sender(isKnown: false, refusal: tables.records[source].mac == mac ? .sourceCARemote : .sourceCAMAC)
    }

    /// Section 2.1.
    @_optimize(speed)
    private func decideSwitched(
        _ packet: IPPacket, _ mac: MACAddress, from port: Ref<Port>, _ scope: UInt32, _ sender: Sender
    ) -> Decision {
        if let egress = vmPort(port.value.vsid, mac) {
            if egress == port.value.id { return dropFlow(.hairpin, scope) }
            scratch.value = Transposition(.deliver, scope: scope)
            scratch.value.egress = egress
            // Without a source record some gateway may be the sender tomorrow.
            scratch.value.dependsOnTwoRecords = sender.hasRecord
            return .flow
        }
        if !sender.isKnown { return dropFlow(.sourceRecordMissing, scope) }
        if let external = externalPort(port.value.vsid, mac) { return decideLeaving(packet, through: external, scope) }
        let destination = packet.destination
        let own = record(port.value.vsid, destination, expected: expected.destination)
        guard let number = own ?? forwardingRecord(port.value.vsid, mac, for: destination) else {
            return dropFlow(.destinationRecordMissing, scope)
        }
        let target = tables.records.place(of: number)
        if target.value.mac != mac { return dropFlow(.destinationCAMAC, scope) }
        if target.value.isUnusable { return dropFlow(.recordUnusable, scope) }
        if isLocal(target.value.pa) { return dropFlow(.noLocalPort, scope) }
        if target.value.isRuleNone { return dropFlow(.ruleNone, scope) }
        scratch.value = Transposition(.encapsulate, scope: scope)
        let decision = decideTransport(packet, from: port, sender, to: target)
        scratch.value.dependsOnTwoRecords = own != nil
        return decision
    }

    /// Into a tunnel or rewritten, by the rules of both records; `scratch` is an encapsulation whose inner side is decided.
    @_optimize(speed)
    private func decideTransport(
        _ packet: IPPacket, from port: Ref<Port>, _ sender: Sender, to target: Ref<LookupRecord>
    ) -> Decision {
        scratch.value.variant.set(Transposition.Variant.ipv6, packet.isIPv6)
        if target.value.isRewritten || hasRewrites {
            let source = record(port.value.vsid, packet.source).map { tables.records[$0] }
            if target.value.isRewritten != source?.isRewritten ?? false { return failEncapsulation(.translationMismatch) }
            // The address of somebody behind a gateway would be lost.
            if target.value.isRewritten, target.value.ca != packet.destination { return failEncapsulation(.translationMismatch) }
            if target.value.isRewritten, let source { return decideRewrite(packet, from: source, to: target.value) }
        }
        return decideEncapsulation(to: target.value.pa, vsid: target.value.vsid, from: sender.pa)
    }

    /// Section 2.2.
    @_optimize(speed)
    func decideRouted(_ packet: IPPacket, from port: Ref<Port>, domain: UInt32, _ sender: Sender) -> Decision {
        if let trace { note(trace, "destination MAC is that of the gateway: routed") }
        let scope = Scopes.of(domain: domain)
        if !sender.isKnown { return dropFlow(.sourceRecordMissing, scope) }
        let destination = packet.destination
        if isGateway(destination, domain: domain) || routerMAC(destination, vsid: port.value.vsid) != nil {
            return decideAnswer(through: none, scope)
        }
        if destination.isLinkLocal || packet.source.isLinkLocal { return dropFlow(.linkLocal, scope) }
        guard let routeNumber = customerRoute(destination, domain: domain, onLinkOnly: false) else {
            return dropFlow(.customerRouteMissing, scope)
        }
        let route = tables.routes[routeNumber]
        let own = route.isOnLink ? record(route.vsid, destination) : nil
        let found =
            route.isOnLink ? own ?? wildcard(route.vsid, for: destination) : record(route.vsid, route.nextHop)
        guard let number = found else {
            return dropFlow(route.isOnLink ? .destinationRecordMissing : .nextHopRecordMissing, scope)
        }
        let target = tables.records.place(of: number)
        if target.value.isUnusable { return dropFlow(.recordUnusable, scope) }
        let isLocal = isLocal(target.value.pa)
        if target.value.isRuleNone, !isLocal { return dropFlow(.ruleNone, scope) }
        if isLocal {
            guard let egress = vmPort(route.vsid, target.value.mac) else {
                guard let external = externalPort(route.vsid, target.value.mac) else { return dropFlow(.noLocalPort, scope) }
                if tables.ports[external].id == port.value.id { return dropFlow(.hairpin, scope) }
                return decideLeaving(packet, through: external, scope)
            }
            if egress == port.value.id { return dropFlow(.hairpin, scope) }
            scratch.value = Transposition(.deliver, scope: scope)
            scratch.value.egress = egress
        } else {
            scratch.value = Transposition(.encapsulate, scope: scope)
        }
        scratch.value.isRouted = 1
        scratch.value.destinationMAC = target.value.mac.inMemoryOrder
        let decision = isLocal ? .flow : decideTransport(packet, from: port, sender, to: target)
        scratch.value.dependsOnTwoRecords = own != nil
        return decision
    }

    /// Each packet is looked at: echo requests are answered.
    func decideAnswer(through externalPort: UInt32, _ scope: UInt32) -> Decision {
        scratch.value = Transposition(.gateway, scope: scope)
        scratch.value.externalPort = externalPort
        return .flow
    }

    @inline(never)
    func dropFlow(_ reason: DropReason, _ scope: UInt32) -> Decision {
        scratch.value = Transposition(drop: reason, scope: scope)
        return .flow
    }

    @inline(never)
    func dropPacket(_ reason: DropReason) -> Decision {
        scratch.value = Transposition(drop: reason, scope: 0)
        return .packet
    }

    // MARK: - ARP (section 3)

    private mutating func processARP(_ frame: Frame, _ port: Port) {
        let arp = ARPPacket(frame.bytes.advanced(by: Ethernet.headerLength))
        guard arp.isWellFormed(available: frame.length.int &- Ethernet.headerLength) else {
            return drop(frame, .arpMalformed)
        }
        let sender = IPAddress(v4: arp.senderIP)
        if !accepts(sender: sender, arp.senderMAC, from: port) { return drop(frame, .arpSpoofed) }
        if arp.operation == ARPPacket.reply {
            let egress = vmPort(port.vsid, frame.bytes.mac(Ethernet.destination))
            if let egress, egress != port.id { return emitSwitched(frame, to: egress) }
            return sendReply(frame, Self.arpFrameLength, from: port)
        }
        let target = IPAddress(v4: arp.targetIP)
        if target == sender { return consume(frame) }
        if isGateway(target, vsid: port.vsid) {
            return answerARP(frame, Ethernet.headerLength, with: gatewayMAC(target, vsid: port.vsid))
        }
        if let number = record(port.vsid, target) {
            let mac = tables.records[number].mac
            return mac == port.mac ? consume(frame) : answerARP(frame, Ethernet.headerLength, with: mac)
        }
        ask(frame, Self.arpFrameLength, of: port, orDrop: .arpUnanswered)
    }
}

extension MACAddress {
    /// As six bytes of memory in the low bits of a word, for storing without a byte swap.
    var inMemoryOrder: UInt64 { (value &<< 16).byteSwapped }
}
