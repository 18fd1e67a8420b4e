// SPDX-License-Identifier: Apache-2.0

import CApus

// One customer's frame for several hosts, and frames for one host that are not IP: docs/pipeline.md 3.2 and 4.1.

/// Where a copy that waits for its next hop is going. VSID 0: it is no copy.
struct CopyTarget: BitwiseCopyable {
    var pa: IPAddress
    var vsid: UInt32
    /// Who sends.
    var source: IPAddress
    /// It is no copy but a message of ours.
    var isControl = false

    static var nowhere: CopyTarget { CopyTarget(pa: .unspecified, vsid: 0, source: .unspecified) }
}

extension Worker {
    static var arpFrameLength: Int { Ethernet.headerLength &+ ARPPacket.length }

    /// How many provider addresses that are not ours have something of this kind in the virtual subnet.
    func countRemotes(_ vsid: UInt32, _ kind: RemoteAddress.Kind) -> UInt64 {
        var count: UInt64 = 0
        forEachRemote(vsid, kind) { _ in count &+= 1 }
        return count
    }

    /// May `count` copies of a frame from this port be made? Those of a tenth of a second may be ahead.
    func mayCopy(_ count: UInt64, from port: UInt32, interval: UInt64) -> Bool {
        // A worker that explains has buckets of its own.
        admits(&copyTimes[PortSlots.slot(of: port)], cost: count &* interval, ahead: 100_000_000)
    }

    /// Copies per second, where a virtual subnet does not say how many.
    static var copyInterval: UInt64 { 1_000_000_000 / 10_000 }

    /// A copy of the first `length` bytes of a frame for each of them.
    mutating func copyToRemotes(_ frame: Frame, _ length: Int, _ vsid: UInt32, _ kind: RemoteAddress.Kind) {
        let (remotes, source) = (tables.remotes, senderAddress(frame, vsid))
        _ = remotes.findInChain(
            RemoteAddress.hash(tables.key, in: vsid, kind), at: version,
            { remotes[$0].vsid == vsid && remotes[$0].kind == kind }
        ) {
            if !isLocal(remotes[$0].pa) {
                counters.add(.generated)
                if let copy = buffers.allocate(length) {
                    copy.bytes.copy(length, from: frame.bytes)
                    sendCopy(copy, CopyTarget(pa: remotes[$0].pa, vsid: vsid, source: source))
                } else {
                    counters.addDrop(.noBuffer)
                }
            }
            return false
        }
    }

    /// One copy for the multicast group of a virtual subnet.
    mutating func copyToGroup(_ frame: Frame, _ length: Int, _ options: SubnetOptions) {
        counters.add(.generated)
        guard let copy = buffers.allocate(length) else { return counters.addDrop(.noBuffer) }
        copy.bytes.copy(length, from: frame.bytes)
        let source = senderAddress(frame, options.vsid)
        sendCopy(copy, CopyTarget(pa: options.group, vsid: options.vsid, source: source))
    }

    /// The provider address of ours that hosts who believe lookup records expect frames of this machine from; unspecified: any.
    private func senderAddress(_ frame: Frame, _ vsid: UInt32) -> IPAddress {
        let number = machine(vsid, frame.bytes.mac(Ethernet.source))
        return number.map { tables.records[$0].pa } ?? .unspecified
    }

    /// Encapsulate a copy, or let it wait.
    mutating func sendCopy(_ copy: Frame, _ target: CopyTarget) {
        var sent = copy
        sent.port = none
        switch decideTunnel(to: target) {
        case .flow, .packet:
            if scratch.value.kind == .drop { return drop(sent, DropReason(value: scratch.value.reason), ingress: none) }
            if let reason = scratch.encapsulateWhole(&sent) { return drop(sent, reason, ingress: none) }
            guard emitMade(sent, to: scratch.value.egress) else { return }
            counters.add(.encapsulated)
            counters.add(target.isControl ? .unreachableSent : .replicated)
        case .unresolved(let neighbor):
            hold(sent, for: neighbor, target)
        case .control:
            break
        }
    }

    /// A copy has waited long enough.
    mutating func sendCopyAnew(_ copy: Frame, _ target: CopyTarget) {
        if !target.isControl, !hosts(target.pa, vsid: target.vsid) { return drop(copy, .destinationRecordMissing, ingress: none) }
        sendCopy(copy, target)
    }

    /// How to get there, in `scratch`.
    mutating func decideTunnel(to target: CopyTarget) -> Decision {
        scratch.value = Transposition(.encapsulate, scope: 0)
        let decision = decideEncapsulation(to: target.pa, vsid: target.vsid, from: target.source)
        if case .flow = decision, scratch.value.neighbor != none, keepAlive(scratch.value.neighbor, scratch) == nil {
            return .unresolved(scratch.value.neighbor)
        }
        return decision
    }

    /// A frame that is not IP, to the host of the machine with its destination MAC, whose record is `number`.
    mutating func sendWhole(_ frame: Frame, to number: UInt32) {
        let target = tables.records[number]
        if target.isUnusable { return drop(frame, .recordUnusable) }
        if target.isRuleNone { return drop(frame, .ruleNone) }
        let source = senderAddress(frame, target.vsid)
        switch decideTunnel(to: CopyTarget(pa: target.pa, vsid: target.vsid, source: source)) {
        case .flow, .packet:
            if scratch.value.kind == .drop { return drop(frame, DropReason(value: scratch.value.reason)) }
            var sent = frame
            if let reason = scratch.encapsulateWhole(&sent) { return drop(frame, reason) }
            if emit(sent, to: scratch.value.egress, from: frame.port) { counters.add(.encapsulated) }
        case .unresolved(let neighbor):
            hold(frame, for: neighbor)
        case .control:
            break
        }
    }

    // MARK: - Machines on other hosts that ask, and answer

    /// An ARP reply or neighbour advertisement whose destination is not on this host: somebody there asked, if there is such a
    /// machine. `length`: of the frame without padding.
    mutating func sendReply(_ frame: Frame, _ length: Int, from port: Port) {
        let mac = frame.bytes.mac(Ethernet.destination)
        guard let number = machine(port.vsid, mac), !isLocal(tables.records[number].pa) else { return consume(frame) }
        var reply = frame
        reply.trim(to: length)
        sendWhole(reply, to: number)
    }

    /// What an ARP or ND packet from another host says.
    private struct Statement {
        var sender: IPAddress
        /// Another address that the sender says it has; unspecified: none.
        var claim = IPAddress(v4: 0)
        var target: IPAddress
        /// The MAC that it names as its own.
        var isConsistent: Bool
        var isReply: Bool
    }

    /// Section 4.1; what is around the inner frame has been checked.
    mutating func processTunnelledARP(_ original: Frame, _ outer: OuterPacket, from pa: IPAddress) {
        let frame = inner(of: original, outer)
        let arp = ARPPacket(frame.bytes.advanced(by: Ethernet.headerLength))
        guard arp.isWellFormed(available: frame.length.int &- Ethernet.headerLength) else {
            return drop(frame, .innerARPMalformed)
        }
        let statement = Statement(
            sender: IPAddress(v4: arp.senderIP), target: IPAddress(v4: arp.targetIP),
            isConsistent: arp.senderMAC == frame.bytes.mac(Ethernet.source),
            isReply: arp.operation == ARPPacket.reply)
        process(statement, frame, outer.vsid, from: pa, orDrop: .arpUnanswered)
    }

    /// The same for a neighbour discovery message whose IP header is well-formed.
    mutating func processTunnelledDiscovery(_ original: Frame, _ outer: OuterPacket, from pa: IPAddress) {
        let frame = inner(of: original, outer)
        let packet = NeighborDiscovery(IPv6Header(frame.bytes.advanced(by: Ethernet.headerLength)))
        // Contiguous in every frame, whatever is before it.
        let readable = min(outer.innerLength, Frame.contiguousMinimum.int &- outer.innerOffset)
        let isReply = packet.type == NeighborDiscovery.advertisement
        guard isReply || packet.type == NeighborDiscovery.solicitation,
            packet.isWellFormed(readable: readable &- Ethernet.headerLength)
        else { return drop(frame, .innerIPMalformed) }
        var statement = Statement(
            sender: packet.ip.source, target: packet.target,
            isConsistent: packet.names(only: frame.bytes.mac(Ethernet.source)), isReply: isReply)
        if isReply, packet.target != packet.ip.source { statement.claim = packet.target }
        process(statement, frame, outer.vsid, from: pa, orDrop: .ndUnanswered)
    }

    func inner(of original: Frame, _ outer: OuterPacket) -> Frame {
        var frame = original
        frame.pop(outer.innerOffset)
        frame.length = outer.innerLength.u32
        return frame
    }

    private mutating func process(
        _ statement: Statement, _ frame: Frame, _ vsid: UInt32, from pa: IPAddress, orDrop reason: DropReason
    ) {
        let mac = frame.bytes.mac(Ethernet.source)
        if !hosts(pa, vsid: vsid) { return drop(frame, .vsidPAMismatch) }
        if !statement.isConsistent { return drop(frame, .innerSourceCAMAC) }
        if let reason = refusal(ofMachine: mac, at: pa, vsid)
            ?? refusal(ofSender: statement.sender, mac, at: pa, vsid, from: frame.port)
            ?? refusal(ofSender: statement.claim, mac, at: pa, vsid, from: frame.port)
        {
            return drop(frame, reason)
        }
        if statement.isReply { return deliverDecapsulated(frame, vsid, frame.bytes.mac(Ethernet.destination)) }
        if statement.target == statement.sender { return consume(frame) }
        if let number = record(vsid, statement.target) {
            let known = tables.records[number]
            return isLocal(known.pa) ? deliverDecapsulated(frame, vsid, known.mac) : consume(frame)
        }
        let count = findMembers(of: vsid, except: none)
        if count == 0 { return drop(frame, reason) }
        deliverDecapsulated(frame, copiesTo: count)
    }

    mutating func deliverDecapsulated(_ frame: Frame, _ vsid: UInt32, _ mac: MACAddress) {
        guard let egress = vmPort(vsid, mac) else { return drop(frame, .noLocalPort) }
        emitDecapsulated(frame, to: egress)
    }

    private mutating func emitDecapsulated(_ frame: Frame, to egress: UInt32) {
        var sent = frame
        sent.flags = 0
        if emit(sent, to: egress, from: frame.port) { counters.add(.decapsulated) }
    }

    /// To the first `count` of `members`, the frame itself to the last of them.
    mutating func deliverDecapsulated(_ frame: Frame, copiesTo count: Int) {
        var i = 0
        while i < count &- 1 {
            if let copy = makeCopy(of: frame), emitMade(copy, to: members[i]) { counters.add(.decapsulated) }
            i &+= 1
        }
        emitDecapsulated(frame, to: members[count &- 1])
    }
}
