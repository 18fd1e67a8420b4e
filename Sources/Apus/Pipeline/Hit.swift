// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stages 2 and 3 of a burst: what happens to the packets of known flows. No call, and no counter that is written more
// than once for several packets.

extension Worker {
    /// Most flows stand in the very first line of theirs; which do not nobody can predict, so there is no branch for it. The
    /// others' further lines are asked for, and looked at last. Nor is there one for what kind of packet it is: what has no narrow
    /// key - a bit of `others` - has one of before, which is looked for in vain.
    @inline(__always)
    mutating func lookUp(_ count: Int, others: UInt64) {
        let (staged, cache, transpositions) = (staged, cache, transpositions)
        // One bit for each packet of the chunk.
        var further: UInt64 = 0
        if others.nonzeroBitCount != count {
            var i = 0
            while i < count {
                let packet = staged.advanced(by: i)
                let (flow, isThere) = cache.home(packet.value.hash, packet.value.key)
                further |= (isThere ? 0 : 1) &<< i.u64
                found(flow, packet, transpositions)
                i &+= 1
            }
        }
        if others != 0 { further = further & ~others | lookUpOthers(others) }
        if further != 0 { lookFurther(further) }
    }

    @inline(never)
    @_optimize(speed)
    private func lookUpOthers(_ packets: UInt64) -> UInt64 {
        let (staged, wideCache, transpositions) = (staged, wideCache, transpositions)
        var further: UInt64 = 0
        var left = packets
        while left != 0 {
            let i = left.trailingZeroBitCount
            left &= left &- 1
            let packet = staged.advanced(by: i)
            packet.value.flow = nil
            if packet.value.form == .none { continue }
            let (flow, isThere) = wideCache.home(packet.value.hash, packet.value.wideKey.value)
            further |= (isThere ? 0 : 1) &<< i.u64
            found(flow, packet, transpositions)
        }
        return further
    }

    @inline(__always)
    private func found(_ flow: Ref<FlowState>, _ packet: Ref<Staged>, _ transpositions: TranspositionTable) {
        let result = transpositions.place(of: flow.value.transposition)
        packet.value.flow = flow
        packet.value.result = result
        unsafe apus_prefetch(result.raw + 32)
    }

    @inline(never)
    @_optimize(speed)
    private func lookFurther(_ packets: UInt64) {
        var left = packets
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            if packet.value.form == .narrow {
                cache.prefetchNeighbor(packet.value.hash)
            } else {
                wideCache.prefetchNeighbor(packet.value.hash)
            }
            left &= left &- 1
        }
        var new: UInt64 = 0
        left = packets
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            packet.value.flow =
                packet.value.form == .narrow
                ? cache.flowFurther(packet.value.hash, packet.value.key)
                : wideCache.flowFurther(packet.value.hash, packet.value.wideKey.value)
            if let flow = packet.value.flow { found(flow, packet, transpositions) } else { new |= left & (0 &- left) }
            left &= left &- 1
        }
        if new & (new &- 1) != 0, tables.records.isLarge { prefetchRecords(new) }
    }

    /// First packets of flows: ask for the records of their addresses, all of them before any is needed. Only a guess: a
    /// routed packet's destination is in another virtual subnet.
    @inline(never)
    private func prefetchRecords(_ packets: UInt64) {
        var left = packets
        while left != 0 {
            let i = left.trailingZeroBitCount
            left &= left &- 1
            let packet = staged.advanced(by: i)
            let (key, ports) = (packet.value.recordKey, tables.ports)
            var vsid = key.vsid
            if packet.value.outerIdentity == 0, let recent = ingress(key.port) { vsid = ports[recent.value.ingress.port].vsid }
            recordHashes[2 &* i] = LookupRecord.hash(tables.key, vsid, key.source)
            recordHashes[2 &* i &+ 1] = LookupRecord.hash(tables.key, vsid, key.destination)
            tables.records.prefetchIndex(recordHashes[2 &* i])
            tables.records.prefetchIndex(recordHashes[2 &* i &+ 1])
        }
        left = packets
        while left != 0 {
            let i = left.trailingZeroBitCount
            left &= left &- 1
            tables.records.prefetchEntry(recordHashes[2 &* i])
            tables.records.prefetchEntry(recordHashes[2 &* i &+ 1])
        }
    }

    @inline(__always)
    mutating func apply(_ frames: Ref<Frame>, _ count: Int) {
        let (staged, portCounters, output) = (staged, portCounters, output)
        let (version, replacements, remaining) = (version.u32, replacements, remaining)
        var neighborEpoch = neighborEpoch
        // An entry or a result that was found in stage 2 may belong to another flow now.
        var isDisturbed = false
        var sent = Sent(at: outputCount)
        var i = 0
        while i < count {
            let packet = staged.advanced(by: i)
            if let flow = packet.value.flow, !isDisturbed || findAgain(packet, flow) {
                let result = packet.value.result
                if flow.value.stamp == version || isCurrent(flow.value, result) || confirm(flow, result, packet),
                    result.value.outerIdentity == packet.value.outerIdentity,
                    result.value.neighborEpoch == neighborEpoch
                {
                    // Where it goes if all is well: a copy on the stack would be read before it is quite written.
                    let frame = output.advanced(by: sent.end)
                    frame.value = frames[i]
                    if sent.add(result, &frame.value, flow.value.flowID) {
                        flow.value.count(frames[i].length)
                        portCounters.add(frame.value.port, .transmitted, 1)
                        portCounters.add(frame.value.port, .transmittedBytes, frame.value.length.u64)
                        sent.bytes &+= frame.value.length.u64
                        sent.end &+= 1
                        i &+= 1
                        continue
                    }
                }
            }
            settle(&sent)
            self.remaining = remaining &- i
            applyCarefully(frames[i], at: i)
            isDisturbed = self.replacements != replacements
            neighborEpoch = self.neighborEpoch
            sent = Sent(at: outputCount)
            i &+= 1
        }
        settle(&sent)
        self.remaining = remaining &- count
    }

    /// Is the flow of a packet still where it was in stage 2? What it does may have another place.
    @inline(never)
    @_optimize(speed)
    private func findAgain(_ packet: Ref<Staged>, _ flow: Ref<FlowState>) -> Bool {
        let isThere =
            packet.value.form == .narrow
            ? cache.key(of: flow) == packet.value.key : wideCache.key(of: flow) == packet.value.wideKey.value
        if isThere { packet.value.result = transpositions.place(of: flow.value.transposition) }
        return isThere
    }

    /// Frames that were sent and not counted yet.
    private struct Sent {
        /// Where they are in the output.
        var begin: Int
        var end: Int
        var bytes: UInt64 = 0
        var encapsulated: UInt64 = 0
        var decapsulated: UInt64 = 0
        var routed: UInt64 = 0
        /// From one vm port to another, in one virtual subnet or routed.
        var delivered: UInt64 = 0
        var deliveredRouted: UInt64 = 0

        @_optimize(speed)
        init(at index: Int) {
            begin = index
            end = index
        }

        /// False: the packet needs a closer look, and is as it was.
        @inline(__always)
        mutating func add(_ result: Ref<Transposition>, _ frame: inout Frame, _ flowID: UInt8) -> Bool {
            // The common kinds first: a chain of comparisons, not a jump table.
            let kind = result.value.kind
            if kind == .encapsulate {
                if result.encapsulate(&frame, flowID) != nil { return false }
                encapsulated &+= 1
                routed &+= result.value.isRouted.u64
            } else if kind == .decapsulate {
                if result.decapsulate(&frame) != nil { return false }
                decapsulated &+= 1
            } else {
                if kind != .deliver || result.deliver(&frame) != nil { return false }
                delivered &+= 1
                deliveredRouted &+= result.value.isRouted.u64
            }
            return true
        }
    }

    @inline(__always)
    private mutating func settle(_ sent: inout Sent) {
        let frames = (sent.end &- sent.begin).u64
        outputCount = sent.end
        counters.add(.flowHits, frames)
        counters.add(.transmitted, frames)
        counters.add(.transmittedBytes, sent.bytes)
        counters.add(.encapsulated, sent.encapsulated)
        counters.add(.decapsulated, sent.decapsulated)
        counters.add(.switched, sent.delivered &- sent.deliveredRouted)
        counters.add(.routed, sent.routed &+ sent.deliveredRouted)
    }
}
