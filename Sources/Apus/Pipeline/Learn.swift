// SPDX-License-Identifier: Apache-2.0

// Who says what of themselves in ARP packets: what is not true is refused, what is new is noted. docs/pipeline.md 3.2, 4.1 and 8.

extension Worker {
    /// May a machine behind a vm port say that it has this address? Notes what is new.
    mutating func accepts(sender: IPAddress, _ mac: MACAddress, from port: Port) -> Bool {
        if mac != port.mac { return port.isTrusted }
        if sender.isUnspecified { return true }
        if routerMAC(sender, vsid: port.vsid) != nil { return port.isTrusted }
        if !sender.isUnicast { return true }
        let known = record(port.vsid, sender)
        if let known, tables.records[known].mac == mac, isLocal(tables.records[known].pa) { return true }
        guard let pa = localL2Only(port.vsid, mac) else { return port.isTrusted || known == nil }
        let bucket = PortSlots.slot(of: port.id)
        note(Note(kind: .seen, port: port.id, vsid: port.vsid, ca: sender, mac: mac, pa: pa), bucket)
        return port.isTrusted || known.map { tables.records[$0].isDynamic } ?? true
    }

    /// Is the machine that sends from behind this provider address there?
    func refusal(ofMachine mac: MACAddress, at pa: IPAddress, _ vsid: UInt32) -> DropReason? {
        if !settings.validatesSource || isMachine(vsid, mac, at: pa) { return nil }
        return machine(vsid, mac) == nil ? .innerSourceMissing : .innerSourceCAPA
    }

    /// The same as `accepts` for a machine behind a provider address, whose frame arrived in `vsid`.
    mutating func refusal(
        ofSender sender: IPAddress, _ mac: MACAddress, at pa: IPAddress, _ vsid: UInt32, from port: UInt32
    ) -> DropReason? {
        if sender.isUnspecified { return nil }
        let isChecked = settings.validatesSource
        if routerMAC(sender, vsid: vsid) != nil { return isChecked ? .innerSourceCAMAC : nil }
        if !sender.isUnicast { return nil }
        let known = record(vsid, sender)
        if let known, tables.records[known].mac == mac, tables.records[known].pa == pa { return nil }
        if l2Only(vsid, mac, at: pa) != nil {
            // Many machines share a provider port; those of one virtual subnet share its rate.
            note(Note(kind: .seen, port: port, vsid: vsid, ca: sender, mac: mac, pa: pa), Self.learnBucket(vsid))
            if let known, tables.records[known].isDynamic { return nil }
        }
        guard isChecked, let known else { return nil }
        return tables.records[known].mac == mac ? .innerSourceCAPA : .innerSourceCAMAC
    }

    static var learnBuckets: Int { 2 &* PortSlots.count }
    private static var learnBurst: UInt64 { 10 }
    /// Of what is seen or said of a virtual subnet on other hosts.
    private static func learnBucket(_ vsid: UInt32) -> Int { PortSlots.count &+ (vsid.int & (PortSlots.count &- 1)) }

    /// In a time: it was told that this is too fast. No clock gets there.
    private static var told: UInt64 { 1 &<< 63 }

    private func mayNote(_ bucket: Int) -> Bool {
        let interval = settings.learnInterval
        var time = learnTimes[bucket] & ~Self.told
        guard admits(&time, cost: interval, ahead: (Self.learnBurst &- 1) &* interval) else { return false }
        learnTimes[bucket] = time & ~Self.told
        return true
    }

    private func note(_ note: Note, _ bucket: Int) {
        if trace != nil || events.endsWith(note) { return }
        if !mayNote(bucket) {
            counters.add(.learnThrottled)
            if learnTimes[bucket] & Self.told != 0 { return }
            learnTimes[bucket] |= Self.told
            var throttled = note
            throttled.kind = .throttled
            return put(throttled)
        }
        put(note)
    }

    /// Packets wait for a next hop behind an external port that there is no entry for.
    func want(_ address: IPAddress, behind port: UInt32) {
        let nothing = IPAddress.unspecified
        note(Note(kind: .wanted, port: port, vsid: 0, ca: address, mac: MACAddress(0), pa: nothing), PortSlots.slot(of: port))
    }

    /// What a host says of a virtual subnet counts as what is learned of its machines does, but nothing is told of what is too much.
    func note(control note: Note) {
        if trace != nil || events.endsWith(note) { return }
        if mayNote(Self.learnBucket(note.vsid)) { put(note) } else { counters.add(.eventsLost) }
    }

    func put(_ note: Note) {
        if !events.put(note) { counters.add(.eventsLost) }
    }
}
