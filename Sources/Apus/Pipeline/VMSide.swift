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
        guard etherType == Ethernet.ipv4 else { return drop(frame, .etherType) }
        guard let key = vmKey(frame) else { return drop(frame, .ipMalformed) }
        carryOut(decideVM(frame), frame, key, key.hash(tables.key))
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

    /// Section 2 for a well-formed, untagged IPv4 packet. The result goes to `scratch`.
    func decideVM(_ frame: Frame) -> Decision {
        guard let number = findPort(frame.port) else { return dropPacket(.portUnknown) }
        let port = tables.ports[number]
        guard let subnetNumber = subnet(port.vsid) else { return dropPacket(.portUnknown) }
        let domain = tables.subnets[subnetNumber].domain
        let scope = Scopes.of(vsid: port.vsid, domain: domain)
        let bytes = frame.bytes
        let header = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        let sourceMAC = bytes.mac(Ethernet.source)
        let destinationMAC = bytes.mac(Ethernet.destination)

        if !port.isTrusted, sourceMAC != port.mac { return dropFlow(.sourceMAC, scope) }
        if destinationMAC.isGroup || !header.destination.isUnicastIPv4 { return dropFlow(.notUnicast, scope) }
        if !header.source.isUnicastIPv4 { return dropFlow(.ipMalformed, scope) }

        let source = record(port.vsid, IPAddress(v4: header.source))
        if !port.isTrusted, let source {
            if tables.records[source].mac != sourceMAC { return dropFlow(.sourceCAMAC, scope) }
            if !isLocal(tables.records[source].pa) { return dropFlow(.sourceCARemote, scope) }
        }
        let isKnown = port.isTrusted || source != nil
        let destination = IPAddress(v4: header.destination)
        if domain != none, isGatewayMAC(destinationMAC, vsid: port.vsid) {
            return decideRouted(destination, from: port, domain: domain, isKnown)
        }
        return decideSwitched(destination, destinationMAC, from: port, scope, isKnown)
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
        return decideEncapsulation(to: target.pa, vsid: port.vsid)
    }

    /// Section 2.2.
    private func decideRouted(_ destination: IPAddress, from port: Port, domain: UInt32, _ isKnown: Bool) -> Decision {
        if let trace { note(trace, "destination MAC is that of the gateway: routed") }
        let scope = Scopes.of(domain: domain)
        if !isKnown { return dropFlow(.sourceRecordMissing, scope) }
        if gatewaySubnet(destination, domain: domain) != nil {
            scratch.value = Transposition(.gateway, scope: scope)
            return .flow
        }
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
        if !port.isTrusted, isSpoofed(sender, arp.senderMAC, port) { return drop(frame, .arpSpoofed) }
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
        copyToMembers(frame, of: port)
    }

    private func isSpoofed(_ sender: IPAddress, _ mac: MACAddress, _ port: Port) -> Bool {
        if mac != port.mac { return true }
        if sender.isUnspecified { return false }
        if isGateway(sender, vsid: port.vsid) { return true }
        guard let number = record(port.vsid, sender) else { return false }
        return tables.records[number].mac != port.mac || !isLocal(tables.records[number].pa)
    }

    private mutating func emitSwitched(_ frame: Frame, to egress: UInt32) {
        var sent = frame
        sent.flags = 0
        if emit(sent, to: egress, from: frame.port) { counters.add(.switched) }
    }

    /// To every other vm port of the virtual subnet, in the order of their numbers; the frame itself goes to the last.
    private mutating func copyToMembers(_ frame: Frame, of port: Port) {
        var count = 0
        _ = tables.members.find(Member.hash(tables.key, port.vsid), at: version) {
            let member = tables.members[$0]
            if member.vsid == port.vsid, member.port != port.id, count < PortSlots.count {
                members[count] = member.port
                count &+= 1
            }
            return false
        }
        if count == 0 { return drop(frame, .arpUnanswered) }
        sortMembers(count)
        var i = 0
        while i < count &- 1 {
            emitCopy(of: frame, to: members[i])
            i &+= 1
        }
        emitSwitched(frame, to: members[count &- 1])
    }

    /// Heapsort: n log n whatever the order is that tenants brought about.
    private func sortMembers(_ count: Int) {
        var root = count / 2
        while root > 0 {
            root &-= 1
            siftDown(root, count)
        }
        var end = count
        while end > 1 {
            end &-= 1
            (members[0], members[end]) = (members[end], members[0])
            siftDown(0, end)
        }
    }

    private func siftDown(_ start: Int, _ end: Int) {
        var root = start
        while 2 &* root &+ 1 < end {
            var child = 2 &* root &+ 1
            if child &+ 1 < end, members[child] < members[child &+ 1] { child &+= 1 }
            if members[root] >= members[child] { return }
            (members[root], members[child]) = (members[child], members[root])
            root = child
        }
    }

    private mutating func emitCopy(of frame: Frame, to egress: UInt32) {
        counters.add(.generated)
        if outputCount &+ remaining >= outputCapacity { return counters.addDrop(.outputFull) }
        // An ARP packet: what is contiguous is enough, the rest is padding.
        let length = min(frame.length.int, frame.contiguous.int)
        guard var copy = buffers.allocate(length) else { return counters.addDrop(.noBuffer) }
        copy.bytes.copy(length, from: frame.bytes)
        copy.port = frame.port
        if emitMade(copy, to: egress) { counters.add(.switched) }
    }
}

extension MACAddress {
    /// As six bytes of memory in the low bits of a word, for storing without a byte swap.
    var inMemoryOrder: UInt64 { (value &<< 16).byteSwapped }
}
