// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// What the tables say about a packet.
enum Decision {
    /// `scratch` holds the result; it may be remembered for the flow.
    case flow
    /// `scratch` holds the result for this packet only.
    case packet
    /// `scratch` holds the result but for the MAC of this next hop (number of its ``Neighbor``), which is unknown.
    case unresolved(UInt32)
}

extension Worker {
    /// A flow that is not in the cache, or no longer valid there: decide, remember, apply.
    @inline(never)
    mutating func classify(_ frame: Frame, at i: Int) {
        let key = staged[i].key
        let hash = staged[i].hash
        let decision: Decision
        if staged[i].outerIdentity == 0 {
            decision = decideVM(frame)
        } else if let outer = OuterPacket(fast: frame) {
            decision = decideProvider(frame, outer)
        } else {
            return processSlowly(frame)
        }
        carryOut(decision, frame, key, hash)
    }

    mutating func carryOut(_ decision: Decision, _ frame: Frame, _ key: FlowKey, _ hash: UInt64) {
        let flowID = settings.sendsFlowID ? key.flowID : 0
        switch decision {
        case .flow:
            // A next hop that only short flows use is kept alive here, not on the hit path.
            if scratch.value.neighbor != none, keepAlive(scratch.value.neighbor, scratch) == nil {
                return carryOut(.unresolved(scratch.value.neighbor), frame, key, hash)
            }
            remember(key, hash, flowID, length: frame.length)
            apply(scratch, flowID, to: frame)
        case .packet:
            apply(scratch, flowID, to: frame)
        case .unresolved(let neighbor):
            if scratch.value.isRouted != 0, IPv4Header(frame.bytes.advanced(by: Ethernet.headerLength)).ttl <= 1 {
                refuse(frame, .ttlExpired, maximum: 0)
            } else {
                hold(frame, for: neighbor)
            }
        }
    }

    /// Put the flow whose result is in `scratch` into the cache.
    private mutating func remember(_ key: FlowKey, _ hash: UInt64, _ flowID: UInt8, length: UInt32) {
        replacements &+= 1
        scratch.value.neighborEpoch = neighborEpoch
        let scope = scratch.value.scope
        let index: Int
        if let present = cache.find(hash, key) {
            forget(present)
            index = present
        } else {
            let placement = cache.place(
                hash, scope: scope,
                scopeOf: { transpositions[cache.entries[$0].transposition].scope },
                isStale: { !isCurrent(cache.entries[$0], transpositions.place(of: cache.entries[$0].transposition)) })
            switch placement {
            case .free(let free): index = free
            case .stale(let stale):
                forget(stale)
                index = stale
            case .evict(let victim):
                counters.add(.flowEvictions)
                forget(victim)
                index = victim
            case .suppressed:
                counters.add(.flowSuppressed)
                return
            }
        }
        guard let number = transpositions.intern(scratch) else {
            counters.add(.flowSuppressed)
            return
        }
        transpositions[number].neighborEpoch = neighborEpoch
        cache.entries[index] = FlowEntry(
            key: key, stamp: version.u32, result: (number &+ 1).u32 &<< 8 | flowID.u32, packets: 1, bytes: length.u64)
        cache.gained(scope)
        counters.add(.flowInserts)
        counters.add(.flowEntries)
    }

    private mutating func forget(_ index: Int) {
        let number = cache.entries[index].transposition
        cache.lost(transpositions[number].scope)
        transpositions.release(number)
        cache.entries[index].result = 0
        counters.subtract(.flowEntries)
    }

    /// The versions' lower half starts over: stamps of before mean nothing any more.
    mutating func forgetAllFlows() {
        var index = 0
        while index <= cache.mask {
            if !cache.entries[index].isFree { forget(index) }
            index &+= 1
        }
    }

    // MARK: - Packets that the cache is not for

    /// docs/pipeline.md from its beginning, one check after the other.
    mutating func processSlowly(_ frame: Frame) {
        guard frame.isValid || findPort(frame.port) == nil else { return drop(frame, .frameInvalid) }
        processAnew(frame)
    }

    /// The same for a frame that was valid when it came; it may have lost its tags since.
    mutating func processAnew(_ frame: Frame) {
        let found = findPort(frame.port)
        if let trace { note(trace, port: found, frame.port) }
        guard let number = found else { return drop(frame, .portUnknown) }
        if tables.ports[number].kind == Port.vm {
            processFromVM(frame, port: number)
        } else {
            processFromProvider(frame)
        }
    }

    func findPort(_ id: UInt32) -> UInt32? {
        tables.ports.find(Port.hash(tables.key, id: id), at: version) { tables.ports[$0].id == id }
    }
}
