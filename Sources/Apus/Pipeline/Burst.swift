// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Synchronization

// One burst, in stages over arrays: parse and hash all and prefetch where they will be found; look all up; apply in
// order. Each stage has the next one's cache lines on their way before it needs them. The stages are for the packets
// of known flows; every other packet leaves them and is looked at step by step.

extension Worker {
    /// docs/pipeline.md, and `apus_worker_process` in worker.h. Returns the number of frames in `output`.
    @_optimize(speed)
    mutating func process(_ input: Ref<Frame>, _ count: Int, _ output: Ref<Frame>, _ capacity: Int, _ now: UInt64)
        -> Int
    {
        grace.enter(index)
        begin(output, capacity, count, now)
        var first = 0
        while first < count {
            let n = min(Self.chunk, count &- first)
            chunk(input.advanced(by: first), n)
            first &+= n
        }
        flushReleases()
        counters.add(.bursts)
        grace.leave(index)
        return outputCount
    }

    @inline(__always)
    mutating func begin(_ output: Ref<Frame>, _ capacity: Int, _ count: Int, _ now: UInt64) {
        self.output = output
        outputCount = 0
        outputCapacity = capacity
        remaining = count
        self.now = max(self.now, now)
        counters.add(.received, count.u64)
        let shared = tables.shared
        // Before the version: whoever sees that there are new addresses sees them.
        let epoch = shared.value.neighborEpoch.load(ordering: .acquiring)
        let published = shared.value.version.load(ordering: .acquiring)
        let isNewEra = published &>> 32 != version &>> 32
        if isNewEra { forgetAllFlows() }
        version = published
        floor = shared.value.floor.load(ordering: .relaxed)
        hasRewrites = shared.value.rewrites.load(ordering: .relaxed) != 0
        hasFlowLimits = shared.value.flowLimits.load(ordering: .relaxed) != 0
        hasExternalPorts = shared.value.externalPorts.load(ordering: .relaxed) != 0
        hasDraftPeers = shared.value.draftPeers.load(ordering: .relaxed) != 0
        if epoch != seenNeighborEpoch || self.now >= nextRefresh { lookAround(epoch) }
        let isNews = floor != heldFloor || isNewEra
        // The floor of a version that is not published yet: again when it is.
        if floor <= version.u32 { heldFloor = floor }
        if held.waitingCount != 0 {
            if isNews { reconsiderHeld() } else { serveHeld() }
        }
    }

    /// Headers and our own addresses are looked at again.
    @inline(never)
    private mutating func lookAround(_ epoch: UInt32) {
        seenNeighborEpoch = epoch
        nextRefresh = now &+ settings.retry
        neighborEpoch &+= 1
        if tables.shared.value.watchedAddresses.load(ordering: .relaxed) != 0 { watchAddresses() }
    }

    @_optimize(speed)
    private mutating func chunk(_ frames: Ref<Frame>, _ count: Int) {
        parse(frames, count)
        prefetchedPackets = 0
        lookUp(count)
        if restlessChunks != 0 {
            restlessChunks &-= 1
            renew(count)
        }
        apply(frames, count)
        if confirmations &* 8 > count { restlessChunks = 256 }
        confirmations = 0
    }

    // MARK: - One packet, step by step

    /// A packet that the hit path leaves alone: an earlier packet of this burst may have changed the cache, its result may
    /// be old, or drop it. `remaining`: with all of the chunk.
    @inline(never)
    @_optimize(speed)
    mutating func applyCarefully(_ frame: Frame, _ packet: Ref<Staged>) {
        remaining = remaining &- packet.index(in: staged)
        if held.waitingCount != 0 { releaseResolved() }
        isExtra = false
        if packet.value.form == .none { return processSlowly(frame) }
        // Who begins too many flows costs no second look. What was known when all were looked up begins none, whatever became of it.
        let wasKnown = packet.value.flow.address != noFlow.address
        if hasFlowLimits, !wasKnown, !mayBeginFlow(from: frame.port) { return refuseFlow(frame) }
        // Nor can it be there now, but if it began since.
        if wasKnown || newcomers.mayContain(packet.value.hash) { return processStaged(frame, packet) }
        counters.add(.flowMisses)
        classify(frame, packet)
    }

    /// The same for a packet that had to be made ready first, and is staged by itself.
    mutating func processStaged(_ frame: Frame) {
        // What waited was a miss already; what is explained, or made here, is nobody's flow.
        if trace != nil || isExtra { return carryOut(decideVM(frame), frame) }
        if hasFlowLimits, findFlow(single) == nil, !mayBeginFlow(from: frame.port) { return refuseFlow(frame) }
        processStaged(frame, single)
    }

    /// By what is remembered of its flow, or as the first packet of one.
    @_optimize(speed)
    mutating func processStaged(_ frame: Frame, _ packet: Ref<Staged>) {
        let found = findFlow(packet)
        packet.value.flow = found ?? noFlow
        if let flow = found {
            let transposition = transpositions.place(at: flow.value.transposition)
            if isCurrent(flow.value, transposition) || confirm(flow, transposition, packet),
                transposition.value.outerIdentity == packet.value.outerIdentity,
                transposition.value.neighborEpoch == neighborEpoch || refresh(TranspositionTable.number(of: flow.value.transposition))
            {
                counters.add(.flowHits)
                flow.value.countPacket()
                flow.value.countBytes(frame.length)
                apply(transposition, flow.value.flowID, to: frame)
                return
            }
        }
        counters.add(.flowMisses)
        classify(frame, packet)
    }

    private mutating func refuseFlow(_ frame: Frame) {
        counters.add(.flowMisses)
        drop(frame, .newFlowLimit)
    }

    @inline(never)
    @_optimize(speed)
    private func mayBeginFlow(from port: UInt32) -> Bool {
        let interval = flowInterval(of: port)
        if interval == 0 { return true }
        let slot = PortSlots.slot(of: port)
        // This rate never gets that far ahead: it was another one, or another port.
        if max(flowTimes[slot], now) &- now > Self.newFlowBurst &* interval { flowTimes[slot] = now }
        return admits(&flowTimes[slot], cost: interval, ahead: (Self.newFlowBurst &- 1) &* interval)
    }

    private static var newFlowBurst: UInt64 { 1024 }

    @_optimize(speed)
    func findFlow(_ packet: Ref<Staged>) -> Ref<FlowState>? {
        packet.value.form == .wide
            ? wideCache.flow(packet.value.hash, wideKey(of: packet).value)
            : cache.flow(packet.value.hash, packet.value.key)
    }

    /// Records of the tenant have changed. Perhaps no others than such as did not decide about this flow: then it is as if it
    /// had been decided in this version.
    @inline(__always)
    func confirm(_ flow: Ref<FlowState>, _ transposition: Ref<Transposition>, _ packet: Ref<Staged>) -> Bool {
        guard transposition.value.dependsOnTwoRecords, flow.value.stamp >= floor else { return false }
        let (source, destination) = addresses(of: packet)
        guard tables.scopes.confirms(flow.value.stamp, transposition.value.scope, source, destination) else { return false }
        flow.value.stamp = version.u32
        return true
    }

    @inline(__always)
    func isCurrent(_ flow: FlowState, _ transposition: Ref<Transposition>) -> Bool {
        flow.stamp >= floor && flow.stamp >= tables.scopes.lastChange(transposition.value.scope)
    }

    // MARK: - Output

    /// Give a frame to the host. A frame of this burst always has room; another one only while it takes none from those:
    /// false when it was dropped. `ingress`: where it was received, `none` for a frame that was made here.
    @inline(never)
    @_optimize(speed)
    mutating func emit(_ frame: Frame, to port: UInt32, from ingress: UInt32) -> Bool {
        if isExtra, outputCount &+ remaining >= outputCapacity {
            drop(frame, .outputFull, ingress: ingress)
            return false
        }
        var sent = frame
        sent.port = port
        output[outputCount] = sent
        outputCount &+= 1
        counters.add(.transmitted)
        counters.add(.transmittedBytes, frame.length.u64)
        portCounters.add(port, .transmitted, 1, bytes: frame.length.u64)
        return true
    }

    /// Send a frame that was made here: it has no place of its own in the output.
    @inline(never)
    mutating func emitMade(_ frame: Frame, to port: UInt32) -> Bool {
        let wasExtra = isExtra
        isExtra = true
        defer { isExtra = wasExtra }
        if !emit(frame, to: port, from: none) { return false }
        countMadeOutside(frame, to: port)
        return true
    }

    @inline(__always)
    mutating func drop(_ frame: Frame, _ reason: DropReason) { drop(frame, reason, ingress: frame.port) }

    @inline(never)
    @_optimize(speed)
    mutating func drop(_ frame: Frame, _ reason: DropReason, ingress: UInt32) {
        counters.addDrop(reason)
        if tables.portSlots.kind(of: ingress) != 0 { portCounters.add(ingress, .dropped, 1) }
        giveBack(frame)
    }

    /// The frame has done its work here.
    @inline(never)
    @_optimize(speed)
    mutating func consume(_ frame: Frame) {
        counters.add(.consumed)
        giveBack(frame)
    }

    @_optimize(speed)
    private mutating func giveBack(_ frame: Frame) {
        if releaseCount == Self.releaseBatch { flushReleases() }
        releases[releaseCount] = frame.buffer
        releaseCount &+= 1
    }

    @_optimize(speed)
    mutating func flushReleases() {
        let count = releaseCount
        if count == 0 { return }
        releaseCount = 0
        buffers.release(releases, count)
    }
}
