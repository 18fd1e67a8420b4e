// SPDX-License-Identifier: Apache-2.0

// Frames for all machines of a virtual subnet, and frames that are not IP: docs/pipeline.md 2.5, 2.6 and 4.3.

extension Worker {
    func subnetOptions(_ vsid: UInt32) -> SubnetOptions? {
        let number = tables.subnetOptions.find(SubnetOptions.hash(tables.key, vsid), at: version) {
            tables.subnetOptions[$0].vsid == vsid
        }
        if let trace, let number { note(trace, subnet: tables.subnetOptions[number]) }
        return number.map { tables.subnetOptions[$0] }
    }

    /// Is this the multicast group of any virtual subnet?
    func isGroup(_ address: IPAddress) -> Bool {
        guard address.isMulticast else { return false }
        return tables.subnetOptions.findInChain(
            SubnetOptions.hash(tables.key, group: address), at: version, { tables.subnetOptions[$0].group == address },
            { _ in true }) != nil
    }

    // MARK: - From a vm port

    /// A packet for a group MAC, decided: 2.6. nil: the virtual subnet does not carry them.
    func decideGroup(
        _ packet: IPPacket, _ mac: MACAddress, from port: Ref<Port>, _ scope: UInt32
    ) -> Decision? {
        guard let options = subnetOptions(port.value.vsid), options.carriesBroadcast else { return nil }
        let source = packet.source
        if !source.isUnspecified {
            if !packet.hasUnicastSource { return dropFlow(.ipMalformed, scope) }
            if let refusal = checkSource(source, mac, port).refusal { return dropFlow(refusal, scope) }
        }
        scratch.value = Transposition(.copyOut, scope: scope)
        return .flow
    }

    /// 2.6, for each packet.
    mutating func copyOut(_ frame: Frame) {
        guard let number = findPort(frame.port), let options = subnetOptions(tables.ports[number].vsid) else {
            return drop(frame, .portUnknown)
        }
        var length = frame.length.int
        if frame.bytes.u16(Ethernet.etherType) == Ethernet.ipv4 || frame.bytes.u16(Ethernet.etherType) == Ethernet.ipv6 {
            length = Ethernet.headerLength &+ IPPacket(in: frame.bytes).totalLength
        }
        copyToAll(frame, length, tables.ports[number], options)
    }

    private mutating func copyToAll(_ frame: Frame, _ length: Int, _ port: Port, _ options: SubnetOptions) {
        let mayLeave = port.isTrusted || isLocalMachine(port.vsid, frame.bytes.mac(Ethernet.source))
        let remotes = mayLeave ? countRemotes(port.vsid, .any) : 0
        let count = findMembers(of: port.vsid, except: port.id)
        if remotes == 0, count == 0 { return consume(frame) }
        if remotes > 0 || count > 1, frame.contiguous.u32 < frame.length { return drop(frame, .frameInvalid) }
        if remotes > 0 {
            let copies = options.hasGroup ? 1 : remotes
            if !mayCopy(copies, from: port.id, interval: 1_000_000_000 / max(options.rate, 1).u64) {
                return drop(frame, .replicationLimit)
            }
            if options.hasGroup {
                copyToGroup(frame, length, options)
            } else {
                copyToRemotes(frame, length, port.vsid, .any)
            }
        }
        if count == 0 { return consume(frame) }
        var i = 0
        while i < count &- 1 {
            if let copy = makeCopy(of: frame), emitMade(copy, to: members[i]) { counters.add(.switched) }
            i &+= 1
        }
        emitSwitched(frame, to: members[count &- 1])
    }

    /// 2.5: a frame that is neither IP nor ARP.
    mutating func processOther(_ frame: Frame, _ port: Port) {
        guard let options = subnetOptions(port.vsid), options.carriesNonIP else { return drop(frame, .etherType) }
        let (source, destination) = (frame.bytes.mac(Ethernet.source), frame.bytes.mac(Ethernet.destination))
        if destination.isGroup {
            if !options.carriesBroadcast { return drop(frame, .notUnicast) }
            return copyToAll(frame, frame.length.int, port, options)
        }
        if let egress = vmPort(port.vsid, destination) {
            return egress == port.id ? drop(frame, .hairpin) : emitSwitched(frame, to: egress)
        }
        if !port.isTrusted, !isLocalMachine(port.vsid, source) { return drop(frame, .sourceRecordMissing) }
        guard let number = machine(port.vsid, destination) else { return drop(frame, .destinationRecordMissing) }
        if tables.records[number].isUnusable { return drop(frame, .recordUnusable) }
        if isLocal(tables.records[number].pa) { return drop(frame, .noLocalPort) }
        sendWhole(frame, to: number)
    }

    // MARK: - From a provider port

    /// A packet for a group MAC from another host, decided: 4.3. nil: the virtual subnet does not carry them.
    func decideGroup(
        _ packet: IPPacket, _ mac: MACAddress, at pa: IPAddress, _ outer: OuterPacket, _ scope: UInt32
    ) -> Decision? {
        guard let options = subnetOptions(outer.vsid), options.carriesBroadcast else { return nil }
        let source = packet.source
        if !source.isUnspecified, !packet.hasUnicastSource { return dropPacket(.innerIPMalformed) }
        if !hosts(pa, vsid: outer.vsid) { return dropPacket(.vsidPAMismatch) }
        if let reason = refusal(ofMachine: mac, at: pa, outer.vsid) { return dropPacket(reason) }
        if settings.validatesSource, !source.isUnspecified, let known = record(outer.vsid, source) {
            if tables.records[known].pa != pa { return dropPacket(.innerSourceCAPA) }
            if tables.records[known].mac != mac { return dropPacket(.innerSourceCAMAC) }
        }
        scratch.value = Transposition(.copyIn, scope: scope)
        scratch.value.headerLength = outer.innerOffset.u8
        scratch.value.destinationMAC = outer.innerLength.u64
        scratch.value.egress = outer.vsid
        // Our own multicast, heard again.
        if isLocal(pa) { scratch.value.egress = 0 }
        return .packet
    }

    /// What `decideGroup` put into the transposition is done.
    mutating func copyIn(_ original: Frame, _ result: Ref<Transposition>) {
        var frame = original
        frame.pop(result.value.headerLength.int)
        frame.length = result.value.destinationMAC.u32
        let vsid = result.value.egress
        if vsid == 0 { return consume(frame) }
        deliverToAll(frame, vsid)
    }

    private mutating func deliverToAll(_ frame: Frame, _ vsid: UInt32) {
        let count = findMembers(of: vsid, except: none)
        if count == 0 { return drop(frame, .noLocalPort) }
        if count > 1, frame.contiguous.u32 < frame.length { return drop(frame, .frameInvalid) }
        deliverDecapsulated(frame, copiesTo: count)
    }

    /// 4.3: an inner frame that is neither IP nor ARP.
    mutating func processTunnelledOther(
        _ original: Frame, _ outer: OuterPacket, from pa: IPAddress, to ourPA: IPAddress
    ) {
        let frame = inner(of: original, outer)
        guard let options = subnetOptions(outer.vsid), options.carriesNonIP else { return drop(frame, .innerEtherType) }
        let destination = frame.bytes.mac(Ethernet.destination)
        if destination.isGroup, !options.carriesBroadcast { return drop(frame, .innerNotUnicast) }
        if !hosts(pa, vsid: outer.vsid) { return drop(frame, .vsidPAMismatch) }
        if let reason = refusal(ofMachine: frame.bytes.mac(Ethernet.source), at: pa, outer.vsid) {
            return drop(frame, reason)
        }
        if destination.isGroup {
            return isLocal(pa) ? consume(frame) : deliverToAll(frame, outer.vsid)
        }
        guard let number = machine(outer.vsid, destination) else { return drop(frame, .innerDestinationMissing) }
        if !isMachine(outer.vsid, destination, at: ourPA) { return drop(frame, .innerDestinationCAPA) }
        if tables.records[number].isUnusable { return drop(frame, .recordUnusable) }
        deliverDecapsulated(frame, outer.vsid, destination)
    }

    @inline(never)
    private func note(_ trace: Ref<Trace>, subnet options: SubnetOptions) {
        trace.value.begin("virtual subnet ")
        trace.value.text.put(decimal: options.vsid.u64)
        trace.value.text.put(options.carriesBroadcast ? ": broadcast" : ": no broadcast")
        if options.carriesNonIP { trace.value.text.put(", not only IP") }
        if options.hasGroup {
            trace.value.text.put(", multicast group ")
            trace.value.text.put(options.group)
        }
    }
}
