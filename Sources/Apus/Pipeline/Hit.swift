// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

// Stages 2 and 3 of a burst: what happens to the packets of known flows. No call, and no counter that is written more
// than once for several packets.

extension Worker {
    /// Most flows stand in the very first line of theirs; which do not nobody can predict, so there is no branch for it. The
    /// others' further lines are asked for, and looked at last. `others`: a bit for each packet that has no narrow key.
    @inline(__always)
    mutating func lookUp(_ count: Int, others: UInt64) {
        let (staged, cache, transpositions) = (staged, cache, transpositions)
        // One bit for each packet of the chunk.
        var further: UInt64 = 0
        var i = 0
        while i < count {
            let packet = staged.advanced(by: i)
            if others &>> i.u64 & 1 == 0, let flow = packet.value.flow {
                further |= (cache.key(of: flow) == packet.value.key ? 0 : 1) &<< i.u64
                prefetch(flow, transpositions)
            }
            i &+= 1
        }
        if others != 0 { further |= lookUpOthers(others) }
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
            if packet.value.form == .wide, let flow = packet.value.flow {
                further |= (wideCache.key(of: flow) == packet.value.wideKey.value ? 0 : 1) &<< i.u64
                prefetch(flow, transpositions)
            } else {
                packet.value.flow = nil
            }
        }
        return further
    }

    @inline(__always)
    private func prefetch(_ flow: Ref<FlowState>, _ transpositions: TranspositionTable) {
        unsafe apus_prefetch(transpositions.place(at: flow.value.transposition).raw + 32)
    }

    @inline(never)
    @_optimize(speed)
    private func lookFurther(_ packets: UInt64) {
        var left = packets
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            packet.value.flow =
                packet.value.form == .narrow
                ? cache.fetchNeighbor(packet.value.hash) : wideCache.fetchNeighbor(packet.value.hash)
            left &= left &- 1
        }
        var new: UInt64 = 0
        left = packets
        while left != 0 {
            let packet = staged.advanced(by: left.trailingZeroBitCount)
            if let flow = packet.value.flow, !stands(flow, packet) {
                packet.value.flow =
                    packet.value.form == .narrow
                    ? cache.flowElsewhere(packet.value.hash, packet.value.key)
                    : wideCache.flowElsewhere(packet.value.hash, packet.value.wideKey.value)
            }
            if let flow = packet.value.flow { prefetch(flow, transpositions) } else { new |= left & (0 &- left) }
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

    @inline(never)
    @_optimize(speed)
    mutating func apply(_ frames: Ref<Frame>, _ count: Int) {
        let (staged, transpositions, portCounters, output) = (staged, transpositions, portCounters, output)
        let (version, replacements, remaining) = (version.u32, replacements, remaining)
        var neighborEpoch = neighborEpoch
        // An entry or a result that was found in stage 2 may belong to another flow now.
        var isDisturbed = false
        var sent = Sent(at: outputCount)
        var i = 0
        while i < count {
            let packet = staged.advanced(by: i)
            if let flow = packet.value.flow, !isDisturbed || stillStands(flow, packet) {
                let result = transpositions.place(at: flow.value.transposition)
                if flow.value.stamp == version || isCurrent(flow.value, result) || confirm(flow, result, packet),
                    result.value.outerIdentity == packet.value.outerIdentity,
                    result.value.neighborEpoch == neighborEpoch
                {
                    var frame = frames[i]
                    let place = output.advanced(by: sent.end)
                    if sent.add(result, &frame, flow.value.flowID, place) {
                        place.value = frame
                        // Apart, or the compiler makes a vector of the two words, which takes longer.
                        flow.value.countPacket()
                        portCounters.add(frame.port, .transmitted, 1, bytes: frame.length.u64)
                        flow.value.countBytes(frames[i].length)
                        sent.bytes &+= frame.length.u64
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

    /// Is the flow of a packet still where it was in stage 2?
    @inline(never)
    @_optimize(speed)
    private func stillStands(_ flow: Ref<FlowState>, _ packet: Ref<Staged>) -> Bool { stands(flow, packet) }

    /// Is this the flow of a packet?
    @inline(__always)
    private func stands(_ flow: Ref<FlowState>, _ packet: Ref<Staged>) -> Bool {
        packet.value.form == .narrow
            ? cache.key(of: flow) == packet.value.key : wideCache.key(of: flow) == packet.value.wideKey.value
    }

    /// Frames that were sent and not counted yet.
    private struct Sent {
        /// Where they are in the output.
        var begin: Int
        var end: Int
        var bytes: UInt64 = 0
        /// How many were encapsulated, decapsulated, routed, switched: 16 bits each.
        var counts: UInt64 = 0

        static var encapsulated: UInt64 { 1 }
        static var decapsulated: UInt64 { 1 &<< 16 }
        static var routed: UInt64 { 1 &<< 32 }
        static var switched: UInt64 { 1 &<< 48 }

        @_optimize(speed)
        init(at index: Int) {
            begin = index
            end = index
        }

        /// False: the packet needs a closer look, and is as it was. The common frame stays in registers, any other is made in its
        /// `place`: in memory of the stack it would be read before it is quite written.
        @inline(__always)
        mutating func add(_ result: Ref<Transposition>, _ frame: inout Frame, _ flowID: UInt8, _ place: Ref<Frame>) -> Bool {
            // The common ones first: a chain of comparisons, not a jump table.
            let operation = result.value.operation
            if _fastPath(operation == .encapsulate) {
                if result.encapsulate(&frame, flowID, isRouted: false, isIPv6: false) != nil { return false }
                counts &+= Self.encapsulated
            } else if operation == .decapsulate {
                if result.decapsulate(&frame, isIPv6: false) != nil { return false }
                counts &+= Self.decapsulated
            } else if operation == .deliver {
                if result.deliver(&frame, isRouted: false) != nil { return false }
                counts &+= Self.switched
            } else if operation == .encapsulateRouted {
                if result.encapsulate(&frame, flowID, isRouted: true, isIPv6: false) != nil { return false }
                counts &+= Self.encapsulated &+ Self.routed
            } else if operation == .encapsulateIPv6 {
                if result.encapsulate(&frame, flowID, isRouted: false, isIPv6: true) != nil { return false }
                counts &+= Self.encapsulated
            } else if operation == .decapsulateIPv6 {
                if result.decapsulate(&frame, isIPv6: true) != nil { return false }
                counts &+= Self.decapsulated
            } else {
                place.value = frame
                let count = Self.addOther(result, &place.value, flowID)
                if count == 0 { return false }
                counts &+= count
                frame = place.value
            }
            return true
        }

        @inline(never)
        @_optimize(speed)
        private static func addOther(_ result: Ref<Transposition>, _ frame: inout Frame, _ flowID: UInt8) -> UInt64 {
            let isRouted = result.value.isRouted != 0
            switch result.value.kind {
            case .encapsulate:
                return result.encapsulate(&frame, flowID) != nil ? 0 : isRouted ? encapsulated &+ routed : encapsulated
            case .decapsulate: return result.decapsulate(&frame) != nil ? 0 : decapsulated
            case .deliver: return result.deliver(&frame, isRouted: isRouted) != nil ? 0 : isRouted ? routed : switched
            default: return 0
            }
        }
    }

    @inline(__always)
    private mutating func settle(_ sent: inout Sent) {
        let frames = (sent.end &- sent.begin).u64
        outputCount = sent.end
        counters.add(.flowHits, frames)
        counters.add(.transmitted, frames)
        counters.add(.transmittedBytes, sent.bytes)
        counters.add(.encapsulated, sent.counts & 0xFFFF)
        counters.add(.decapsulated, sent.counts &>> 16 & 0xFFFF)
        counters.add(.routed, sent.counts &>> 32 & 0xFFFF)
        counters.add(.switched, sent.counts &>> 48)
    }
}
