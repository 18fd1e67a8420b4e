// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Synchronization

// One burst, in stages over arrays: parse and hash all and prefetch where they will be found; look all up; apply in
// order. Each stage has the next one's cache lines on their way before it needs them.

extension Worker {
    /// docs/pipeline.md, and `apus_worker_process` in worker.h. Returns the number of frames in `output`.
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

    private mutating func begin(_ output: Ref<Frame>, _ capacity: Int, _ count: Int, _ now: UInt64) {
        self.output = output
        outputCount = 0
        outputCapacity = capacity
        remaining = count
        self.now = max(self.now, now)
        counters.add(.received, count.u64)
        let shared = tables.shared
        let published = shared.value.version.load(ordering: .acquiring)
        if published &>> 32 != version &>> 32 { forgetAllFlows() }
        version = published
        let lastFloor = floor
        floor = shared.value.floor.load(ordering: .relaxed)
        let epoch = shared.value.neighborEpoch.load(ordering: .acquiring)
        if epoch != seenNeighborEpoch || self.now >= nextRefresh {
            seenNeighborEpoch = epoch
            nextRefresh = self.now &+ settings.retry
            neighborEpoch &+= 1
        }
        if held.waitingCount != 0 {
            if floor != lastFloor { reconsiderHeld() } else { serveHeld() }
        }
    }

    private mutating func chunk(_ frames: Ref<Frame>, _ count: Int) {
        var i = 0
        while i < min(4, count) {
            prefetchFrame(frames[i])
            i &+= 1
        }
        i = 0
        while i < count {
            if i &+ 4 < count { prefetchFrame(frames[i &+ 4]) }
            parse(frames[i], at: i)
            i &+= 1
        }
        lookUp(count)
        let replacementsBefore = replacements
        i = 0
        while i < count {
            isExtra = false
            apply(frames[i], at: i, lookAgain: replacements != replacementsBefore)
            remaining &-= 1
            i &+= 1
        }
    }

    @inline(__always)
    private func prefetchFrame(_ frame: Frame) {
        if frame.address != 0 { frame.bytes.prefetch() }
    }

    // MARK: - Stage 1: parse

    /// Make the key of a packet that the flow cache is for; leave every other one to the slow path, which looks at it
    /// step by step and names what is wrong.
    @inline(__always)
    private func parse(_ frame: Frame, at i: Int) {
        let stages = stages
        unsafe stages.value.entries[unchecked: i] = Stages.slow
        let kind = tables.portSlots.kind(of: frame.port)
        if kind != 0 {
            portCounters.add(frame.port, .received, 1)
            portCounters.add(frame.port, .receivedBytes, frame.length.u64)
        }
        counters.add(.receivedBytes, frame.length.u64)
        guard frame.isValid else { return }
        if kind == Port.vm {
            guard let key = vmKey(frame) else { return }
            note(key, 0, at: i)
        } else if kind == Port.provider {
            guard let outer = OuterPacket(fast: frame), let key = providerKey(frame, outer) else { return }
            note(key, outer.identity, at: i)
        }
    }

    @inline(__always)
    private func note(_ key: FlowKey, _ outerIdentity: UInt64, at i: Int) {
        let stages = stages
        unsafe stages.value.keys[unchecked: i] = key
        let hash = hash(key)
        unsafe stages.value.hashes[unchecked: i] = hash
        unsafe stages.value.outerIdentities[unchecked: i] = outerIdentity
        unsafe stages.value.entries[unchecked: i] = Stages.miss
        cache.prefetch(hash)
    }

    @inline(__always)
    func hash(_ key: FlowKey) -> UInt64 {
        unsafe withUnsafePointer(to: key) { unsafe apus_hash_bytes($0, 2, tables.key.pointer) }
    }

    /// The key of an untagged, well-formed IPv4 packet from a vm port.
    @inline(__always)
    func vmKey(_ frame: Frame) -> FlowKey? {
        let bytes = frame.bytes
        guard bytes.u16(Ethernet.etherType) == Ethernet.ipv4 else { return nil }
        let ip = IPv4Header(bytes.advanced(by: Ethernet.headerLength))
        guard ip.isWellFormed(available: frame.length.int &- Ethernet.headerLength) else { return nil }
        return FlowKey(
            frame: bytes, readable: frame.readable &- Ethernet.headerLength, port: frame.port, identity: frame.port,
            outer: 0)
    }

    // MARK: - Stage 2: look up

    @inline(__always)
    private func lookUp(_ count: Int) {
        let stages = stages
        var i = 0
        while i < count {
            if unsafe stages.value.entries[unchecked: i] == Stages.miss {
                let key = unsafe stages.value.keys[unchecked: i]
                if let entry = cache.find(unsafe stages.value.hashes[unchecked: i], key) {
                    unsafe stages.value.entries[unchecked: i] = Int32(truncatingIfNeeded: entry)
                    transpositions.prefetch(cache.entries[entry].transposition)
                }
            }
            i &+= 1
        }
    }

    // MARK: - Stage 3: apply

    @inline(__always)
    private mutating func apply(_ frame: Frame, at i: Int, lookAgain: Bool) {
        let stages = stages
        var entry = unsafe stages.value.entries[unchecked: i].int
        if entry == Stages.slow.int {
            processSlowly(frame)
            return
        }
        let outerIdentity = unsafe stages.value.outerIdentities[unchecked: i]
        // A miss may have been filled, or the entry given away, by an earlier packet of this burst.
        if lookAgain || entry == Stages.miss.int { entry = findAgain(i) }
        if entry >= 0 {
            let flow = cache.entries.advanced(by: entry)
            let number = flow.value.transposition
            let transposition = transpositions.place(of: number)
            if isCurrent(flow.value, transposition), transposition.value.outerIdentity == outerIdentity,
                transposition.value.neighborEpoch == neighborEpoch || refresh(number)
            {
                counters.add(.flowHits)
                flow.value.packets &+= 1
                flow.value.bytes &+= frame.length.u64
                apply(transposition, flow.value.flowID, to: frame)
                return
            }
        }
        counters.add(.flowMisses)
        classify(frame, at: i)
    }

    @inline(never)
    private func findAgain(_ i: Int) -> Int {
        let stages = stages
        let key = unsafe stages.value.keys[unchecked: i]
        return cache.find(unsafe stages.value.hashes[unchecked: i], key) ?? Stages.miss.int
    }

    @inline(__always)
    func isCurrent(_ flow: FlowEntry, _ transposition: Ref<Transposition>) -> Bool {
        flow.stamp >= floor && flow.stamp >= tables.scopes.lastChange(transposition.value.scope)
    }

    // MARK: - Output

    /// Give a frame to the host. A frame of this burst always has room; another one only while it takes none from those.
    @inline(__always)
    mutating func emit(_ frame: Frame, to port: UInt32, from ingress: UInt32) {
        if isExtra, outputCount &+ remaining >= outputCapacity {
            drop(frame, .outputFull, ingress: ingress)
            return
        }
        var sent = frame
        sent.port = port
        output[outputCount] = sent
        outputCount &+= 1
        counters.add(.transmitted)
        counters.add(.transmittedBytes, frame.length.u64)
        portCounters.add(port, .transmitted, 1)
        portCounters.add(port, .transmittedBytes, frame.length.u64)
    }

    @inline(__always)
    mutating func drop(_ frame: Frame, _ reason: DropReason) { drop(frame, reason, ingress: frame.port) }

    mutating func drop(_ frame: Frame, _ reason: DropReason, ingress: UInt32) {
        counters.addDrop(reason)
        if tables.portSlots.kind(of: ingress) != 0 { portCounters.add(ingress, .dropped, 1) }
        giveBack(frame)
    }

    /// The frame has done its work here.
    mutating func consume(_ frame: Frame) {
        counters.add(.consumed)
        giveBack(frame)
    }

    private mutating func giveBack(_ frame: Frame) {
        let stages = stages
        if stages.value.releaseCount == 256 { flushReleases() }
        unsafe stages.value.releases[unchecked: stages.value.releaseCount] = frame.buffer
        stages.value.releaseCount &+= 1
    }

    mutating func flushReleases() {
        let stages = stages
        let count = stages.value.releaseCount
        if count == 0 { return }
        stages.value.releaseCount = 0
        buffers.release(unsafe Ref(stages.raw.assumingMemoryBound(to: UInt.self)), count)
    }
}
