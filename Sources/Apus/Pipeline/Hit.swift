// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stages 2 and 3 of a burst: what happens to the packets of known flows. No call, and no counter that is written more
// than once for several packets.

extension Worker {
    /// Most flows stand in the very first line of theirs; which do not nobody can predict, so there is no branch for it. The
    /// others' further lines are asked for, some packets at a time, and looked at last. Nor is there a branch for what kind of packet it
    /// is: what has no narrow key is looked up in vain.
    @inline(__always)
    mutating func lookUp(_ count: Int) {
        let (staged, transpositions, others) = (staged, transpositions, widePackets | keylessPackets)
        let all = UInt64.max &>> (Self.chunk &- count).u64
        // One bit for each packet of the chunk.
        var further: UInt64 = 0
        var i = 0
        while i < count, others != all {
            let end = min(i &+ Self.lookUps, count)
            var these: UInt64 = 0
            repeat {
                let packet = staged.advanced(by: i)
                let flow = packet.value.flow
                these |= (FlowCache.key(of: flow) == packet.value.key ? 0 : 1) &<< i.u64
                prefetch(flow, transpositions)
                i &+= 1
            } while i < end
            these &= ~others
            if these != 0 { fetchNeighbors(these) }
            further |= these
        }
        if widePackets != 0 { further |= lookUpWide() }
        if further != 0 { lookFurther(further) }
    }

    /// Packets that are looked up before their further lines are asked for.
    private static var lookUps: Int { 32 }

    @inline(never)
    @_optimize(speed)
    private func lookUpWide() -> UInt64 {
        let (staged, transpositions) = (staged, transpositions)
        var further: UInt64 = 0
        var left = widePackets
        while left != 0 {
            let i = left.trailingZeroBitCount
            let packet = staged.advanced(by: i)
            let flow = packet.value.flow
            further |= (FlowCache.key(of: flow) == wideKey(of: packet).value ? 0 : 1) &<< i.u64
            prefetch(flow, transpositions)
            left &= left &- 1
        }
        left = further
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            packet.value.flow = wideCache.fetchNeighbor(packet.value.hash)
            left &= left &- 1
        }
        return further
    }

    @inline(__always)
    private func prefetch(_ flow: Ref<FlowState>, _ transpositions: TranspositionTable) {
        unsafe apus_prefetch(transpositions.place(at: flow.value.transposition).raw)
    }

    @inline(never)
    @_optimize(speed)
    private func fetchNeighbors(_ packets: UInt64) {
        let (staged, cache) = (staged, cache)
        var left = packets
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            packet.value.flow = cache.fetchNeighbor(packet.value.hash)
            left &= left &- 1
        }
    }

    @inline(never)
    @_optimize(speed)
    private mutating func lookFurther(_ packets: UInt64) {
        newcomers.clear()
        var far: UInt64 = 0
        var left = packets
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            if stands(packet.value.flow, packet) {
                prefetch(packet.value.flow, transpositions)
            } else {
                far |= left & (0 &- left)
                let hash = packet.value.hash
                if packet.value.form == .narrow { cache.fetchFarLines(hash) } else { wideCache.fetchFarLines(hash) }
            }
            left &= left &- 1
        }
        var new: UInt64 = 0
        left = far
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            packet.value.flow = flowElsewhere(packet) ?? noFlow
            prefetch(packet.value.flow, transpositions)
            if packet.value.flow.value.isFree { new |= left & (0 &- left) }
            left &= left &- 1
        }
        if new & (new &- 1) != 0, tables.records.isLarge { prefetchRecords(new) }
    }

    private func flowElsewhere(_ packet: Ref<Staged>) -> Ref<FlowState>? {
        packet.value.form == .narrow
            ? cache.flowElsewhere(packet.value.hash, packet.value.key)
            : wideCache.flowElsewhere(packet.value.hash, wideKey(of: packet).value)
    }

    /// First packets of flows: ask for the records of their addresses, all of them before any is needed. Only a guess: a
    /// routed packet's destination is in another virtual subnet.
    @inline(never)
    @_optimize(speed)
    private mutating func prefetchRecords(_ packets: UInt64) {
        var left = packets
        while left != 0 {
            let i = left.trailingZeroBitCount
            left &= left &- 1
            let packet = staged.advanced(by: i)
            let (key, ports) = (recordKey(of: packet), tables.ports)
            var vsid = key.vsid
            if packet.value.outerIdentity == 0, let recent = ingress(key.port) { vsid = ports[recent.value.ingress.port].vsid }
            probableRecords[2 &* i] = LookupRecord.hash(tables.key, vsid, key.source)
            probableRecords[2 &* i &+ 1] = LookupRecord.hash(tables.key, vsid, key.destination)
            tables.records.prefetchIndex(probableRecords[2 &* i])
            tables.records.prefetchIndex(probableRecords[2 &* i &+ 1])
        }
        left = packets
        while left != 0 {
            let i = left.trailingZeroBitCount
            left &= left &- 1
            probableRecords[2 &* i] = tables.records.prefetchEntry(probableRecords[2 &* i]).u64
            probableRecords[2 &* i &+ 1] = tables.records.prefetchEntry(probableRecords[2 &* i &+ 1]).u64
        }
        prefetchedPackets = packets
    }

    /// When records change every few bursts nobody can predict which flows are of the burst's version; that no record of theirs changed
    /// is almost certain, and then they are of it from here on.
    @inline(never)
    @_optimize(speed)
    func renew(_ count: Int) {
        let (staged, transpositions, scopes, version) = (staged, transpositions, tables.scopes, version.u32)
        let settled = max(floor, scopes.lastOtherChange)
        var i = 0
        while i < count {
            let packet = staged.advanced(by: i)
            let flow = packet.value.flow
            let stamp = flow.value.stamp
            let (source, destination) = addresses(of: packet)
            let changed = scopes.lastChangeNear(source, destination)
            let result = transpositions.place(at: flow.value.transposition)
            if stamp >= changed, stamp >= settled, result.value.dependsOnTwoRecords { flow.value.stamp = version }
            i &+= 1
        }
    }

    @inline(never)
    @_optimize(speed)
    mutating func apply(_ frames: Ref<Frame>, _ count: Int) {
        let (transpositions, replacements, remaining) = (transpositions, replacements, remaining)
        var neighborEpoch = neighborEpoch
        // What flows of this version have as stamp; none has it while what was found in stage 2 may belong to another flow now.
        var version = version & 0xFFFF_FFFF
        var sent = Sent(at: output.advanced(by: outputCount))
        var (frame, packet) = (frames, staged)
        let end = frames.advanced(by: count).address
        while frame.address < end {
            let flow = packet.value.flow
            let result = transpositions.place(at: flow.value.transposition)
            if _fastPath(flow.value.stamp.u64 == version) || version != .max && isCurrent(flow.value, result)
                || holds(flow, result, packet, isDisturbed: version == .max),
                result.value.outerIdentity == packet.value.outerIdentity,
                result.value.neighborEpoch == neighborEpoch,
                sent.add(result, frame, flow)
            {
                // Apart, or the compiler makes a vector of the two words, which takes longer.
                flow.value.countPacket()
                PortCounters.addFrame(at: result.value.transmitted, bytes: sent.last)
                flow.value.countBytes(frame.value.length)
                sent.bytes &+= sent.last
                sent.counts += result.value.counts
            } else {
                settle(sent)
                self.remaining = remaining
                applyCarefully(frame.value, packet)
                if self.replacements != replacements { version = .max }
                neighborEpoch = self.neighborEpoch
                sent = Sent(at: output.advanced(by: outputCount))
            }
            (frame, packet) = (frame.advanced(by: 1), packet.advanced(by: 1))
        }
        settle(sent)
        self.remaining = remaining &- count
    }

    /// What was decided about the flow of a packet is still true, and the flow still where it was in stage 2. Of one that is not
    /// disturbed the quick questions have been asked.
    @inline(never)
    @_optimize(speed)
    private mutating func holds(_ flow: Ref<FlowState>, _ result: Ref<Transposition>, _ packet: Ref<Staged>, isDisturbed: Bool) -> Bool {
        if flow.value.isFree { return false }
        if isDisturbed {
            guard stands(flow, packet) else { return false }
            if flow.value.stamp == version.u32 || isCurrent(flow.value, result) { return true }
        }
        confirmations &+= 1
        return confirm(flow, result, packet)
    }

    /// Is this the flow of a packet?
    @inline(__always)
    private func stands(_ flow: Ref<FlowState>, _ packet: Ref<Staged>) -> Bool {
        packet.value.form == .narrow
            ? FlowCache.key(of: flow) == packet.value.key : FlowCache.key(of: flow) == wideKey(of: packet).value
    }

    /// Frames that were sent and not counted yet.
    private struct Sent {
        /// Where the next one goes.
        var place: Ref<Frame>
        /// The length of the last one, and of all.
        var last: UInt64 = 0
        var bytes: UInt64 = 0
        var counts = Transposition.PacketCounts()

        @inline(__always)
        init(at place: Ref<Frame>) { self.place = place }

        /// False: the packet needs a closer look, and is as it was.
        @inline(__always)
        mutating func add(_ result: Ref<Transposition>, _ frame: Ref<Frame>, _ flow: Ref<FlowState>) -> Bool {
            let bytes = frame.value.bytes
            // The two that are most common first.
            let operation = result.value.operation
            if operation == .encapsulate { return encapsulate(result, frame, flow, isRouted: false, isIPv6: false) }
            if operation == .decapsulate { return decapsulate(result, frame, isIPv6: false) }
            if operation.encapsulates {
                if !operation.isIPv6 { return encapsulate(result, frame, flow, isRouted: true, isIPv6: false) }
                if !operation.isRouted { return encapsulate(result, frame, flow, isRouted: false, isIPv6: true) }
                return encapsulate(result, frame, flow, isRouted: true, isIPv6: true)
            }
            if operation.decapsulates { return decapsulate(result, frame, isIPv6: true) }
            if operation.delivers {
                if operation.isRouted {
                    let isAlive =
                        operation.isIPv6 ? result.deliverRouted(bytes, isIPv6: true) : result.deliverRouted(bytes, isIPv6: false)
                    if !isAlive { return false }
                }
                return send(result, frame, bytes, frame.value.length)
            }
            place.value = frame.value
            return result.change(&place.value, flow.value.flowID) && send(result, frame, place.value.bytes, place.value.length)
        }

        @inline(__always)
        private mutating func encapsulate(
            _ result: Ref<Transposition>, _ frame: Ref<Frame>, _ flow: Ref<FlowState>, isRouted: Bool, isIPv6: Bool
        ) -> Bool {
            let bytes = frame.value.bytes
            let outcome = result.encapsulate(bytes, headroom: frame.value.headroom, isRouted: isRouted, isIPv6: isIPv6)
            guard case .done(let length) = outcome else { return false }
            bytes[-1] = flow.value.flowID
            let header = result.value.headerLength
            return send(result, frame, bytes.advanced(by: 0 &- header.int), length &+ header.u32)
        }

        @inline(__always)
        private mutating func decapsulate(_ result: Ref<Transposition>, _ frame: Ref<Frame>, isIPv6: Bool) -> Bool {
            let bytes = frame.value.bytes.advanced(by: result.value.headerLength.int)
            guard case .done(let length) = result.decapsulate(bytes, isIPv6: isIPv6) else { return false }
            return send(result, frame, bytes, length)
        }

        /// It is put together where it is given to the host: nothing is read that was just written.
        @inline(__always)
        private mutating func send(_ result: Ref<Transposition>, _ frame: Ref<Frame>, _ start: Bytes, _ length: UInt32) -> Bool {
            place.value.address = start.address
            place.value.buffer = frame.value.buffer
            place.value.length = length
            place.value.space = result.moved(frame.value.space)
            place.value.way = result.value.way
            place = place.advanced(by: 1)
            last = length.u64
            return true
        }
    }

    @inline(__always)
    private mutating func settle(_ sent: Sent) {
        let end = sent.place.index(in: output)
        let frames = (end &- outputCount).u64
        outputCount = end
        counters.add(.flowHits, frames)
        counters.add(.transmitted, frames)
        counters.add(.transmittedBytes, sent.bytes)
        counters.add(.encapsulated, sent.counts.encapsulated)
        counters.add(.decapsulated, sent.counts.decapsulated)
        counters.add(.routed, sent.counts.routed)
        counters.add(.switched, sent.counts.switched)
    }
}
