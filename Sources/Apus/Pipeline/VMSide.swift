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
        guard etherType == Ethernet.ipv4 || etherType == Ethernet.ipv6 else { return drop(frame, .etherType) }
        guard stageVM(frame, single) else {
            // Malformed, or neighbour discovery.
            let available = frame.length.int &- Ethernet.headerLength
            guard IPPacket.isWellFormed(in: frame.bytes, available: available) else {
                return drop(frame, .ipMalformed)
            }
            return processDiscovery(frame, port)
        }
        carryOut(decideVM(frame), frame, single)
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
    func decideVM(_ frame: Frame) -> Decision {
        let packet = IPPacket(in: frame.bytes)
        let decision = decideVM(frame, packet)
        scratch.value.variant.set(Transposition.Variant.ipv6, packet.isIPv6)
        return decision
    }

    private func decideVM(_ frame: Frame, _ packet: IPPacket) -> Decision {
        guard let number = findPort(frame.port) else { return dropPacket(.portUnknown) }
        let port = tables.ports[number]
        guard let subnetNumber = subnet(port.vsid) else { return dropPacket(.portUnknown) }
        let domain = tables.subnets[subnetNumber].domain
        let scope = Scopes.of(vsid: port.vsid, domain: domain)
        let bytes = frame.bytes
        let sourceMAC = bytes.mac(Ethernet.source)
        let destinationMAC = bytes.mac(Ethernet.destination)

        if !port.isTrusted, sourceMAC != port.mac { return dropFlow(.sourceMAC, scope) }
        if destinationMAC.isGroup || !packet.hasUnicastDestination { return dropFlow(.notUnicast, scope) }
        if !packet.hasUnicastSource { return dropFlow(.ipMalformed, scope) }

        let source = record(port.vsid, packet.source)
        if !port.isTrusted, let source {
            if tables.records[source].mac != sourceMAC { return dropFlow(.sourceCAMAC, scope) }
            if !isLocal(tables.records[source].pa) { return dropFlow(.sourceCARemote, scope) }
        }
        let isKnown = port.isTrusted || source != nil
        if domain != none, isGatewayMAC(destinationMAC, vsid: port.vsid) {
            return decideRouted(packet, from: port, domain: domain, isKnown)
        }
        return decideSwitched(packet.destination, destinationMAC, from: port, scope, isKnown)
    }

    /// Section 2.1.
    private func decideSwitched(
        _ destination: IPAddress, _ mac: MACAddress, from port: Port, _ scope: UInt32, _ isKnown: Bool
    ) -> Decision {
        if let egress = vmPort(port.vsid, mac) {
            if egress == port.id { return dropFlow(.hairpin, scope) }
            scratch.value = Transposition(.deliver, scope: scope)
            scratch.value.egress = egress
            return .flow
        }
        if !isKnown { return dropFlow(.sourceRecordMissing, scope) }
        guard let number = record(port.vsid, destination) else { return dropFlow(.destinationRecordMissing, scope) }
        let target = tables.records[number]
        if target.mac != mac { return dropFlow(.destinationCAMAC, scope) }
        if isLocal(target.pa) { return dropFlow(.noLocalPort, scope) }
        if target.isRuleNone { return dropFlow(.ruleNone, scope) }
        scratch.value = Transposition(.encapsulate, scope: scope)
        scratch.value.variant.set(Transposition.Variant.ipv6, !destination.isV4)
        return decideEncapsulation(to: target.pa, vsid: port.vsid)
    }

    /// Section 2.2.
    private func decideRouted(_ packet: IPPacket, from port: Port, domain: UInt32, _ isKnown: Bool) -> Decision {
        if let trace { note(trace, "destination MAC is that of the gateway: routed") }
        let scope = Scopes.of(domain: domain)
        if !isKnown { return dropFlow(.sourceRecordMissing, scope) }
        let destination = packet.destination
        if isGateway(destination, domain: domain) || routerMAC(destination, vsid: port.vsid) != nil {
            scratch.value = Transposition(.gateway, scope: scope)
            return .flow
        }
        if destination.isLinkLocal || packet.source.isLinkLocal { return dropFlow(.linkLocal, scope) }
        guard let routeNumber = customerRoute(destination, domain: domain, onLinkOnly: false) else {
            return dropFlow(.customerRouteMissing, scope)
        }
        let route = tables.routes[routeNumber]
        guard let number = record(route.vsid, route.isOnLink ? destination : route.nextHop) else {
            return dropFlow(route.isOnLink ? .destinationRecordMissing : .nextHopRecordMissing, scope)
        }
        let target = tables.records[number]
        let isLocal = isLocal(target.pa)
        if target.isRuleNone, !isLocal { return dropFlow(.ruleNone, scope) }
        if isLocal {
            guard let egress = vmPort(route.vsid, target.mac) else { return dropFlow(.noLocalPort, scope) }
            if egress == port.id { return dropFlow(.hairpin, scope) }
            scratch.value = Transposition(.deliver, scope: scope)
            scratch.value.egress = egress
        } else {
            scratch.value = Transposition(.encapsulate, scope: scope)
        }
        scratch.value.variant.set(Transposition.Variant.ipv6, packet.isIPv6)
        scratch.value.isRouted = 1
        scratch.value.destinationMAC = target.mac.inMemoryOrder
        return isLocal ? .flow : decideEncapsulation(to: target.pa, vsid: route.vsid)
    }

    func dropFlow(_ reason: DropReason, _ scope: UInt32) -> Decision {
        scratch.value = Transposition(drop: reason, scope: scope)
        return .flow
    }

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
        if !port.isTrusted, arp.senderMAC != port.mac || isForeign(sender, port) { return drop(frame, .arpSpoofed) }
        if arp.operation == ARPPacket.reply {
            let egress = vmPort(port.vsid, frame.bytes.mac(Ethernet.destination))
            if let egress, egress != port.id { return emitSwitched(frame, to: egress) }
            return consume(frame)
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
        copyToMembers(frame, of: port, orDrop: .arpUnanswered)
    }

}

extension MACAddress {
    /// As six bytes of memory in the low bits of a word, for storing without a byte swap.
    var inMemoryOrder: UInt64 { (value &<< 16).byteSwapped }
}
