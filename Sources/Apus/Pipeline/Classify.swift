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
    /// The packet is a control message of another host.
    case control

    var isComplete: Bool {
        switch self {
        case .flow, .packet: true
        case .unresolved, .control: false
        }
    }
}

extension Worker {
    /// A flow that is not in the cache, or no longer valid there: decide, remember, apply.
    @inline(never)
    @_optimize(speed)
    mutating func classify(_ frame: Frame, _ packet: Ref<Staged>) {
        let decision: Decision
        let i = packet.index(in: staged)
        if i < Self.chunk, prefetchedPackets & 1 &<< i.u64 != 0 {
            expected = (probableRecords[2 &* i].u32, probableRecords[2 &* i &+ 1].u32)
        }
        defer { expected = (none, none) }
        if packet.value.outerIdentity == 0 {
            decision = decideVM(frame)
        } else if let outer = outerPacket(frame), !isForRewriting(frame), !isFromOutside(frame) {
            decision = decideProvider(frame, outer)
        } else {
            return processSlowly(frame)
        }
        carryOut(decision, frame, packet)
    }

    @_optimize(speed)
    mutating func carryOut(_ decision: Decision, _ frame: Frame, _ packet: Ref<Staged>) {
        // The common packet's goes to the wire as it is.
        let flowID = scratch.value.variant.isCommonTunnel && scratch.value.sendsFlowID == 0 ? 0 : self.flowID(of: packet)
        switch decision {
        case .flow:
            // A next hop that only short flows use is kept alive here, not on the hit path.
            if scratch.value.neighbor != none, keepAlive(scratch.value.neighbor, scratch) == nil {
                return carryOut(.unresolved(scratch.value.neighbor), frame, packet)
            }
            if packet.value.form == .wide {
                remember(wideKey(of: packet).value, packet, in: wideCache, flowID, length: frame.length)
            } else {
                remember(packet.value.key, packet, in: cache, flowID, length: frame.length)
            }
            apply(scratch, flowID, to: frame)
        case .packet:
            apply(scratch, flowID, to: frame)
        case .unresolved(let neighbor):
            let packet = scratch.customerPacket(in: frame)
            if scratch.value.isRouted != 0, IPPacket(in: packet.bytes).ttl <= 1 {
                refuse(packet, .ttlExpired, scratch)
            } else {
                hold(frame, for: neighbor)
            }
        case .control:
            processControlMessage(frame)
        }
    }

    /// The same for a packet that was looked at step by step.
    mutating func carryOut(_ decision: Decision, _ frame: Frame) {
        single.value.flow = findFlow(single) ?? noFlow
        carryOut(decision, frame, single)
    }

    /// Put the flow whose result is in `scratch` into a cache; `packet` knows where it stands there now.
    @_optimize(speed)
    private mutating func remember<Key: FlowIdentity>(
        _ key: Key, _ packet: Ref<Staged>, in cache: FlowCache<Key>, _ flowID: UInt8, length: UInt32
    ) {
        scratch.value.neighborEpoch = neighborEpoch
        if !scratch.value.isPrepared { scratch.value.prepare(portCounters) }
        let scope = scratch.value.scope
        let index: Int
        if !packet.value.flow.value.isFree {
            index = cache.index(of: packet.value.flow)
            forget(index, in: cache)
        } else {
            let placement = cache.place(packet.value.hash, scope: scope) { flow in
                let transposition = transpositions.place(at: flow.value.transposition)
                return isCurrent(flow.value, transposition) ? transposition.value.scope : nil
            }
            switch placement {
            case .free(let free): index = free
            case .stale(let stale):
                replacements &+= 1
                forget(stale, in: cache)
                index = stale
            case .evict(let victim):
                replacements &+= 1
                counters.add(.flowEvictions)
                forget(victim, in: cache)
                index = victim
            case .suppressed:
                counters.add(.flowSuppressed)
                return
            }
        }
        guard let number = transpositions.intern(scratch) else {
            // What it was to have is free, for any flow.
            replacements &+= 1
            counters.add(.flowSuppressed)
            return
        }
        transpositions[number].neighborEpoch = neighborEpoch
        // One that was there may know those of an earlier policy.
        (transpositions[number].mtu, transpositions[number].overhead) = (scratch.value.mtu, scratch.value.overhead)
        let result = flowID.u32 &<< 24 | TranspositionTable.offset(of: number)
        cache.put(key, packet.value.hash, at: index, FlowState(stamp: version.u32, result: result, bytes: length))
        newcomers.add(packet.value.hash)
        cache.gained(scope)
        counters.add(.flowInserts)
        counters.add(.flowEntries)
    }

    @_optimize(speed)
    private mutating func forget<Key>(_ index: Int, in cache: FlowCache<Key>) {
        let number = TranspositionTable.number(of: cache.state(index).value.transposition)
        cache.lost(transpositions[number].scope)
        transpositions.release(number)
        cache.clear(index, cache.entries[index].key.hash(HashKey(tables.key)))
        counters.subtract(.flowEntries)
    }

    /// The versions' lower half starts over: stamps of before mean nothing any more.
    mutating func forgetAllFlows() {
        forgetAll(in: cache)
        forgetAll(in: wideCache)
    }

    private mutating func forgetAll<Key>(in cache: FlowCache<Key>) {
        var index = 0
        while index <= cache.mask {
            if !cache.state(index).value.isFree { forget(index, in: cache) }
            index &+= 1
        }
    }

    // MARK: - Packets that the cache is not for

    /// docs/pipeline.md from its beginning, one check after the other.
    mutating func processSlowly(_ frame: Frame) {
        guard frame.isValid || findPort(frame.port) == nil else { return drop(frame, .frameInvalid) }
        if hasExternalPorts, let number = findPort(frame.port), tables.ports[number].kind == Port.external {
            guard let external = outside(of: frame) else { return drop(frame, .outerVLAN) }
            return processFromOutside(frame, external)
        }
        processAnew(frame)
    }

    /// The same for a frame that was valid when it came; it may have lost its tags since.
    mutating func processAnew(_ frame: Frame) {
        let found = findPort(frame.port)
        // Also of one that waited: its VLAN may be an external port's now.
        if hasExternalPorts, let found, tables.ports[found].kind == Port.provider, let external = outside(of: frame) {
            return processFromOutside(frame, external)
        }
        if let trace { note(trace, port: found, frame.port) }
        guard let number = found else { return drop(frame, .portUnknown) }
        switch tables.ports[number].kind {
        case Port.vm: processFromVM(frame, port: number)
        case Port.external: processOutside(frame)
        default: processFromProvider(frame)
        }
    }

    @inline(never)
    @_optimize(speed)
    func findPort(_ id: UInt32) -> UInt32? {
        tables.ports.find(Port.hash(tables.key, id: id), at: version) { tables.ports[$0].id == id }
    }
}
