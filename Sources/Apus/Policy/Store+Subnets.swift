// SPDX-License-Identifier: Apache-2.0

import CApus

// What exists because something else names it: virtual subnets, remote provider addresses, dynamic neighbours.

extension Store {
    @inline(never)
    func subnet(_ vsid: UInt32) -> UInt32? {
        tables.subnets.find(VirtualSubnet.hash(tables.key, vsid), at: next) { tables.subnets[$0].vsid == vsid }
    }

    /// One more object names the virtual subnet. Returns its entry; nil: no memory.
    mutating func retainSubnet(_ vsid: UInt32) -> UInt32? {
        if let number = subnet(vsid) {
            tables.subnets[number].references &+= 1
            log(.referenced, .subnets, number)
            return number
        }
        // Frames of this VSID were refused as unknown until now: whatever was remembered of that is stale.
        invalidate(scope: Scopes.unbound(vsid))
        return insert(
            VirtualSubnet(references: 1, bindings: 0, vsid: vsid, domain: none), .subnets, tables.subnets)
    }

    mutating func releaseSubnet(_ vsid: UInt32) {
        guard let number = subnet(vsid) else { return }
        if tables.subnets[number].references == 1 {
            invalidate(scope: tables.subnets[number].scope)
            kill(number, .subnets, tables.subnets)
        } else {
            tables.subnets[number].references &-= 1
            log(.dereferenced, .subnets, number)
        }
    }

    /// The scope in which objects of this virtual subnet take effect.
    func scope(_ vsid: UInt32) -> UInt32 {
        subnet(vsid).map { tables.subnets[$0].scope } ?? Scopes.unbound(vsid)
    }

    /// A customer route binds the virtual subnet to `domain`. False: no memory.
    mutating func bind(_ vsid: UInt32, to domain: UInt32) -> Bool {
        guard let number = subnet(vsid) else { return false }
        var bound = tables.subnets[number]
        if bound.bindings > 0 {
            tables.subnets[number].bindings &+= 1
            log(.bound, .subnets, number)
            return true
        }
        invalidate(scope: bound.scope)
        bound.domain = domain
        bound.bindings = 1
        invalidate(scope: bound.scope)
        return replace(number, with: bound, .subnets, tables.subnets) != nil
    }

    mutating func unbind(_ vsid: UInt32) -> Bool {
        guard let number = subnet(vsid) else { return false }
        var free = tables.subnets[number]
        if free.bindings > 1 {
            tables.subnets[number].bindings &-= 1
            log(.unbound, .subnets, number)
            return true
        }
        invalidate(scope: free.scope)
        free.domain = none
        free.bindings = 0
        invalidate(scope: free.scope)
        return replace(number, with: free, .subnets, tables.subnets) != nil
    }

    // MARK: - Remote provider addresses

    /// The provider address of a lookup record. False: no memory.
    mutating func retainRemote(of record: LookupRecord) -> Bool {
        retainRemote(record.vsid, record.pa, .any)
            && (record.type != LookupRecord.l2Only || retainRemote(record.vsid, record.pa, .l2Only))
    }

    mutating func releaseRemote(of record: LookupRecord) {
        if record.type == LookupRecord.l2Only { releaseRemote(record.vsid, record.pa, .l2Only) }
        releaseRemote(record.vsid, record.pa, .any)
    }

    /// A lookup record of `vsid` has this provider address. False: no memory.
    private mutating func retainRemote(_ vsid: UInt32, _ pa: IPAddress, _ kind: RemoteAddress.Kind) -> Bool {
        if let number = remote(vsid, pa, kind) {
            tables.remotes[number].references &+= 1
            log(.referenced, .remotes, number)
            return true
        }
        let remote = RemoteAddress(references: 1, vsid: vsid, pa: pa, kind: kind)
        guard insert(remote, .remotes, tables.remotes) != nil else { return false }
        if kind != .any { return true }
        // The first of any virtual subnet behind it: it may become a neighbour, and frames from it are known from now on.
        if vsid != 0 {
            return retainRemote(0, pa, .any)
        }
        invalidateEverything()
        return retainNeighbor(pa)
    }

    private mutating func releaseRemote(_ vsid: UInt32, _ pa: IPAddress, _ kind: RemoteAddress.Kind) {
        guard let number = remote(vsid, pa, kind) else { return }
        if tables.remotes[number].references > 1 {
            tables.remotes[number].references &-= 1
            log(.dereferenced, .remotes, number)
            return
        }
        kill(number, .remotes, tables.remotes)
        if kind != .any { return }
        if vsid != 0 {
            releaseRemote(0, pa, .any)
        } else {
            invalidateEverything()
            releaseNeighbor(pa)
        }
    }

    /// Does another record have this provider address? It has one already, in this virtual subnet.
    func isShared(_ pa: IPAddress, vsid: UInt32) -> Bool {
        func references(_ vsid: UInt32) -> UInt32 {
            remote(vsid, pa, .any).map { tables.remotes[$0].references } ?? 0
        }
        return references(0) > 1 || references(vsid) > 1
    }

    @inline(never)
    private func remote(_ vsid: UInt32, _ pa: IPAddress, _ kind: RemoteAddress.Kind) -> UInt32? {
        tables.remotes.find(RemoteAddress.hash(tables.key, vsid, pa, kind), at: next) {
            tables.remotes[$0].pa == pa && tables.remotes[$0].vsid == vsid && tables.remotes[$0].kind == kind
        }
    }
}
