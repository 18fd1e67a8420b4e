// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import Synchronization

// One round of a worker: receive, make frames, process, make mbufs, transmit. No call into a Swift runtime, no trap, no
// locked instruction of our own; the gate of the tests disassembles `apus_dpdk_worker_poll`.

extension Worker {
    /// `apus_dpdk_worker_poll`.
    mutating func poll() -> Int {
        let now = clock.now
        refreshPorts()
        var received = 0
        var frames = 0
        var i = 0
        while i < queueCount {
            let queue = queues[i]
            let lane = lanes.advanced(by: queue.lane.int)
            let count = unsafe rte_eth_rx_burst(lane.value.ethdev, queue.queue, burstRoom.pointer, burst.u16).int
            if count > 0 {
                if frames &+ count > Self.inputCapacity {
                    process(frames, now)
                    frames = 0
                }
                lane.value.counters.received.add(count)
                received = received &+ count
                frames = unsafe take(burstRoom, count, lane.value.port, frames, lane.value.counters)
            }
            i = i &+ 1
        }
        // Also without frames: ageing and retries happen there.
        process(frames, now)
        i = 0
        while i < laneCount {
            if lanes[i].count != 0 { flush(lanes.advanced(by: i)) }
            i = i &+ 1
        }
        rounds.add(1)
        if received == 0 { idle() }
        return received
    }

    /// Once in a while let the devices give back what they have sent: some do it only when they are asked to send more,
    /// and if all mbufs are there nothing is received that could be sent.
    @inline(__always)
    private mutating func idle() {
        idleRounds.add(1)
        if idleRounds.now & 63 == 0 { cleanUp() }
    }

    @inline(never)
    private func cleanUp() {
        var i = 0
        while i < laneCount {
            _ = rte_eth_tx_done_cleanup(lanes[i].ethdev, lanes[i].txQueue, 0)
            i = i &+ 1
        }
    }

    // MARK: - In

    /// Make frames of mbufs, from `input[first]` on. Returns the number of frames in `input`.
    @inline(__always)
    func take(
        _ mbufs: Ref<OpaquePointer?>, _ count: Int, _ port: UInt32, _ first: Int,
        _ counters: borrowing DeviceCounters
    ) -> Int {
        let input = unsafe input
        var frames = first
        var i = 0
        while i < count {
            if let mbuf = unsafe Mbuf(mbufs[i]), let head = Heads.isReady(mbuf) ? mbuf : prepare(mbuf, counters) {
                unsafe input[frames] = unsafe Self.frame(head, port)
                frames = frames &+ 1
            }
            i = i &+ 1
        }
        return frames
    }

    @inline(never)
    private func prepare(_ mbuf: Mbuf, _ counters: borrowing DeviceCounters) -> Mbuf? {
        switch heads.prepare(mbuf) {
        case .ready(let head):
            return head
        case .copied(let head):
            counters.copied.add(1)
            return head
        case .noBuffer:
            counters.noBuffer.add(1)
        case .malformed:
            counters.malformed.add(1)
        }
        return nil
    }

    @inline(__always)
    private static func frame(_ mbuf: Mbuf, _ port: UInt32) -> apus_frame {
        // Of both flags (the sum in the packet is no sum) and of none the library is told nothing: it computes the sum.
        let verdict = mbuf.flags & apus_rx_ip_checksum_mask()
        var flags: UInt32 = 0
        if !_fastPath(verdict == 0) {
            if verdict == apus_rx_ip_checksum_good() { flags = APUS_FRAME_IP_CHECKSUM_GOOD }
            if verdict == apus_rx_ip_checksum_bad() { flags = APUS_FRAME_IP_CHECKSUM_BAD }
        }
        return unsafe apus_frame(
            data: mbuf.data, buffer: UnsafeMutableRawPointer(mbuf.pointer), length: mbuf.packetLength.u32,
            contiguous: mbuf.length.u16, headroom: mbuf.offset.u16, port: port, flags: flags)
    }

    // MARK: - Through

    /// Process the frames in `input` and put what comes out into the lanes.
    @inline(__always)
    private mutating func process(_ count: Int, _ now: UInt64) {
        let made = unsafe apus_worker_process(
            core, input.pointer, count.u32, output.pointer, Self.outputCapacity.u32, now
        ).int
        if made < 0 { return refuse(count) }
        var i = 0
        while i < made { i = sendRun(from: i, made) }
    }

    /// Frames to one port come in runs: the lane is looked up, and its count kept, for a run. Returns where the next begins.
    @inline(__always)
    private mutating func sendRun(from first: Int, _ made: Int) -> Int {
        let port = unsafe output[first].port
        let found = lane(ofPort: port)
        if found < 0 {
            unsafe Mbuf(OpaquePointer(output[first].buffer.unsafelyUnwrapped)).free()
            unknownPort.add(1)
            return first &+ 1
        }
        let lane = lanes.advanced(by: found)
        let output = unsafe output
        let waiting = unsafe lane.value.waiting
        let limit = lane.value.frameLimit
        let sendsChains = lane.value.sendsChains
        var at = lane.value.count
        // As many as the lane has room for.
        let end = min(made, first &+ Lane.capacity &- at)
        var i = first
        repeat {
            let frame = unsafe output[i]
            i = i &+ 1
            let mbuf = unsafe Mbuf(OpaquePointer(frame.buffer.unsafelyUnwrapped))
            let isChain = unsafe !Self.finish(mbuf, frame)
            if unsafe frame.length.int > limit || (isChain && !sendsChains) {
                guard reconsider(mbuf, lane) else { continue }
            }
            unsafe waiting[at] = unsafe mbuf.pointer
            at = at &+ 1
        } while unsafe i < end && output[i].port == port
        lane.value.count = at
        if at == Lane.capacity { flush(lane) }
        return i
    }

    /// The worker of the dataplane took nothing: somebody else uses it, or destroyed it.
    @inline(never)
    private func refuse(_ count: Int) {
        var i = 0
        while i < count {
            let frame = unsafe input[i]
            unsafe Mbuf(OpaquePointer(frame.buffer.unsafelyUnwrapped)).free()
            let lane = unsafe lane(ofPort: frame.port)
            if lane >= 0 { lanes[lane].counters.refused.add(1) } else { direct.refused.add(1) }
            i = i &+ 1
        }
    }

    /// Make the mbuf say what the frame says. True: it is alone, as nearly every one is.
    @inline(__always) @discardableResult
    static func finish(_ mbuf: Mbuf, _ frame: apus_frame) -> Bool {
        let offset = unsafe apus_mbuf_offset_of(mbuf.pointer, frame.data)
        let length = unsafe frame.length.int
        if _fastPath(mbuf.segments == 1) {
            unsafe apus_mbuf_describe(mbuf.pointer, offset, length.u16)
            return true
        }
        unsafe apus_mbuf_forget(mbuf.pointer)
        mbuf.reshape(shift: mbuf.offset &- offset.int, newLength: length)
        return mbuf.segments == 1
    }

    // MARK: - Out

    /// A frame that the device cannot send as it is. False: it was dropped.
    @inline(never)
    private func reconsider(_ mbuf: Mbuf, _ lane: Ref<Lane>) -> Bool {
        if mbuf.packetLength > lane.value.frameLimit {
            lane.value.counters.tooLong.add(1)
            mbuf.free()
            return false
        }
        if unsafe rte_pktmbuf_linearize(mbuf.pointer) == 0 { return true }
        lane.value.counters.segmented.add(1)
        mbuf.free()
        return false
    }

    /// Give a device what waits for it. It is asked again as long as it takes some; what it then does not take is
    /// dropped: a dataplane that waits for one device stops all others.
    @inline(__always)
    private func flush(_ lane: Ref<Lane>) {
        let count = lane.value.count
        let list = unsafe lane.value.waiting.pointer
        var sent = 0
        while sent < count {
            let taken = unsafe rte_eth_tx_burst(
                lane.value.ethdev, lane.value.txQueue, list + sent, (count &- sent).u16
            ).int
            if taken == 0 { break }
            sent = sent &+ taken
        }
        lane.value.count = 0
        lane.value.counters.transmitted.add(sent)
        if sent < count {
            lane.value.counters.full.add(count &- sent)
            unsafe rte_pktmbuf_free_bulk(list + sent, (count &- sent).u32)
        }
    }
}

// MARK: - The host's own mbufs

extension Worker {
    /// `apus_dpdk_worker_process`; the arguments have been checked.
    mutating func process(
        _ mbufs: Ref<OpaquePointer?>, _ count: Int, _ port: UInt32, _ out: Ref<OpaquePointer?>, _ ports: Ref<UInt32>,
        _ capacity: Int
    ) -> Int {
        let frames = unsafe take(mbufs, count, port, 0, direct)
        let made = unsafe apus_worker_process(
            core, input.pointer, frames.u32, output.pointer, min(capacity, Self.outputCapacity).u32, clock.now
        ).int
        rounds.add(1)
        if count == 0 { idleRounds.add(1) }
        direct.received.add(count)
        if made < 0 {
            refuse(frames)
            return 0
        }
        var i = 0
        while i < made {
            let frame = unsafe output[i]
            let mbuf = unsafe Mbuf(OpaquePointer(frame.buffer.unsafelyUnwrapped))
            unsafe Self.finish(mbuf, frame)
            unsafe out[i] = unsafe mbuf.pointer
            ports[i] = unsafe frame.port
            i = i &+ 1
        }
        direct.transmitted.add(made)
        return made
    }
}
