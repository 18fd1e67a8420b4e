// SPDX-License-Identifier: Apache-2.0

// What the policy says about a MAC address: records that have no customer address, and where a machine is.

extension Worker {
    @inline(__always)
    private func findRecord(
        _ vsid: UInt32, _ mac: MACAddress, special: Bool, _ matches: (UInt32) -> Bool
    ) -> UInt32? {
        tables.records.findInChain(
            LookupRecord.hash(tables.key, vsid, mac, special: special), at: version,
            { tables.records[$0].isIn(vsid, mac, special: special) }, matches)
    }

    /// The record by which the machine with this MAC forwards packets to or from `address`: a wildcard record, or that of a
    /// customer route's next hop.
    func forwardingRecord(_ vsid: UInt32, _ mac: MACAddress, for address: IPAddress) -> UInt32? {
        wildcard(vsid, mac, for: address) ?? nextHopRecord(vsid, mac, for: address)
            ?? (settings.usesExternalRouter ? routerRecord(vsid, mac, for: address) : nil)
    }

    /// The record of the external router, which has a gateway address of the virtual subnet: of several the lowest.
    private func routerRecord(_ vsid: UInt32, _ mac: MACAddress, for address: IPAddress) -> UInt32? {
        var found: UInt32?
        var isOnLink = false
        tables.routes.visitSecondary(CustomerRoute.hash(tables.key, onLinkIn: vsid), at: version) {
            let route = tables.routes[$0]
            guard !isOnLink, route.vsid == vsid, route.isOnLink, route.prefix.isV4 == address.isV4 else { return }
            isOnLink = address.isIn(route.prefix, route.length)
            if !isOnLink, let number = record(vsid, route.gateway), tables.records[number].mac == mac,
                found.map({ tables.records[number].ca < tables.records[$0].ca }) ?? true
            {
                found = number
            }
        }
        return isOnLink ? nil : found
    }

    private func nextHopRecord(_ vsid: UInt32, _ mac: MACAddress, for address: IPAddress) -> UInt32? {
        guard let subnet = subnet(vsid), tables.subnets[subnet].domain != none,
            let number = customerRoute(address, domain: tables.subnets[subnet].domain, onLinkOnly: false)
        else { return nil }
        let route = tables.routes[number]
        guard !route.isOnLink, route.vsid == vsid, let hop = record(vsid, route.nextHop) else { return nil }
        return tables.records[hop].mac == mac ? hop : nil
    }

    /// The wildcard record with this MAC, of the family of `address`.
    private func wildcard(_ vsid: UInt32, _ mac: MACAddress, for address: IPAddress) -> UInt32? {
        let number = findRecord(vsid, mac, special: true) {
            tables.records[$0].type == LookupRecord.wildcard && tables.records[$0].ca.isV4 == address.isV4
        }
        if let trace { note(trace, special: number, "wildcard record ", vsid, mac) }
        return number
    }

    /// The wildcard record of the family of `address` with the lowest MAC.
    func wildcard(_ vsid: UInt32, for address: IPAddress) -> UInt32? {
        let unspecified = address.isV4 ? IPAddress(v4: 0) : IPAddress(high: 0, low: 0)
        var best: UInt32?
        tables.records.visit(LookupRecord.hash(tables.key, vsid, unspecified), at: version) {
            let candidate = tables.records[$0]
            if candidate.vsid == vsid, candidate.ca == unspecified, candidate.type == LookupRecord.wildcard,
                best.map({ candidate.mac.value < tables.records[$0].mac.value }) ?? true
            {
                best = $0
            }
        }
        if let trace { note(trace, gateway: best, vsid) }
        return best
    }

    /// An L2Only record with this MAC, of either family, and this provider address.
    func l2Only(_ vsid: UInt32, _ mac: MACAddress, at pa: IPAddress) -> UInt32? {
        let number = findRecord(vsid, mac, special: true) {
            tables.records[$0].type == LookupRecord.l2Only && tables.records[$0].pa == pa
        }
        if let trace { note(trace, special: number, "L2Only record ", vsid, mac) }
        return number
    }

    /// The provider address of ours at which an L2Only record says that this machine is.
    func localL2Only(_ vsid: UInt32, _ mac: MACAddress) -> IPAddress? {
        var number: UInt32?
        _ = findRecord(vsid, mac, special: true) {
            let record = tables.records[$0]
            // IPv4's before IPv6's; there is at most one of each.
            if record.type == LookupRecord.l2Only, isLocal(record.pa), number == nil || record.ca.isV4 { number = $0 }
            return false
        }
        if let trace { note(trace, special: number, "L2Only record ", vsid, mac) }
        return number.map { tables.records[$0].pa }
    }

    /// The record that says where the machine with this MAC is: docs/pipeline.md, "a record of (V, MAC)".
    func machine(_ vsid: UInt32, _ mac: MACAddress) -> UInt32? {
        var number: UInt32?
        _ = findRecord(vsid, mac, special: true) {
            // IPv4's before IPv6's; there is at most one of each.
            if number == nil || tables.records[$0].ca.isV4 { number = $0 }
            return false
        }
        if number == nil { number = findRecord(vsid, mac, special: false) { _ in true } }
        if let trace { note(trace, special: number, "lookup record ", vsid, mac) }
        return number
    }

    /// Does any record of (V, MAC) have this provider address?
    func isMachine(_ vsid: UInt32, _ mac: MACAddress, at pa: IPAddress) -> Bool {
        findRecord(vsid, mac, special: true, { tables.records[$0].pa == pa }) != nil
            || findRecord(vsid, mac, special: false, { tables.records[$0].pa == pa }) != nil
    }

    /// Is there a record of (V, MAC) that is local?
    func isLocalMachine(_ vsid: UInt32, _ mac: MACAddress) -> Bool {
        findRecord(vsid, mac, special: true, { isLocal(tables.records[$0].pa) }) != nil
            || findRecord(vsid, mac, special: false, { isLocal(tables.records[$0].pa) }) != nil
    }

    /// Does the machine with this MAC behind `pa`, whose packet arrived in D, forward packets of others? docs/pipeline.md 4.11.
    func isForwarder(
        _ mac: MACAddress, at pa: IPAddress, for source: IPAddress, _ sourceVSID: UInt32, arrivedIn vsid: UInt32,
        domain: UInt32
    ) -> Bool {
        func forwards(_ candidate: UInt32) -> Bool {
            forwardingRecord(candidate, mac, for: source).map { tables.records[$0].pa == pa } ?? false
        }
        if forwards(sourceVSID) || (sourceVSID != vsid && forwards(vsid)) { return true }
        guard domain != none, let route = customerRoute(source, domain: domain, onLinkOnly: false),
            customerRoute(source, domain: domain, onLinkOnly: true) == nil
        else { return false }
        return forwards(tables.routes[route].vsid)
    }

    /// Call `body` with each provider address that has something of this kind in the virtual subnet and is not ours, in order.
    func forEachRemote(_ vsid: UInt32, _ kind: RemoteAddress.Kind, _ body: (IPAddress) -> Void) {
        _ = tables.remotes.findInChain(
            RemoteAddress.hash(tables.key, in: vsid, kind), at: version,
            { tables.remotes[$0].vsid == vsid && tables.remotes[$0].kind == kind }
        ) {
            if !isLocal(tables.remotes[$0].pa) { body(tables.remotes[$0].pa) }
            return false
        }
    }

    // MARK: - Explaining

    @inline(never)
    private func note(_ trace: Ref<Trace>, special number: UInt32?, _ words: Words, _ vsid: UInt32, _ mac: MACAddress) {
        trace.value.begin(words)
        trace.value.text.put(0x28)
        trace.value.text.put(decimal: vsid.u64)
        trace.value.text.put(", ")
        trace.value.text.put(mac)
        trace.value.text.put(0x29)
        note(trace, place: number)
    }

    @inline(never)
    private func note(_ trace: Ref<Trace>, gateway number: UInt32?, _ vsid: UInt32) {
        trace.value.begin("gateway of virtual subnet ")
        trace.value.text.put(decimal: vsid.u64)
        if let number {
            trace.value.text.put(": ")
            trace.value.text.put(tables.records[number].mac)
        }
        note(trace, place: number)
    }

    private func note(_ trace: Ref<Trace>, place number: UInt32?) {
        guard let number else { return trace.value.text.put(": none") }
        trace.value.text.put(" at ")
        trace.value.text.put(tables.records[number].pa)
        if tables.records[number].isUnusable { trace.value.text.put(", unusable") }
        if tables.records[number].isRuleNone { trace.value.text.put(", TranslationMethodNone") }
    }
}
