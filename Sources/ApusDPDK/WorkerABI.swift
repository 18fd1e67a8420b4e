// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import CApusIntrinsics
import Synchronization

// The worker functions of apus_dpdk.h.

private func worker(_ pointer: OpaquePointer?) -> Ref<Worker>? {
    unsafe Ref<Worker>(address: Registry.find(.worker, pointer))
}

@c @implementation
public func apus_dpdk_worker_create(
    _ dataplane: OpaquePointer!, _ opts: UnsafePointer<apus_dpdk_worker_opts>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> Int32 {
    guard let dataplane = unsafe dataplane, let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    var copy = unsafe apus_dpdk_worker_opts()
    let wrong = unsafe readStruct(opts, into: &copy)
    if wrong != 0 { return wrong }
    return control {
        Pool.freeOrphans()
        var text = unsafe ErrorText(copy.error_text, size: copy.error_text_size)
        var made: OpaquePointer?
        if let failure = unsafe WorkerMaker.make(dataplane, copy, &made) {
            unsafe text.put(failure, device: nil)
            return failure.code
        }
        unsafe out.pointee = unsafe made
        return 0
    }
}

@c @implementation
public func apus_dpdk_worker_destroy(_ pointer: OpaquePointer!) -> Int32 {
    if unsafe pointer == nil { return 0 }
    return control {
        guard let worker = unsafe worker(pointer) else { return APUS_ERR_STALE.rawValue }
        if worker.value.busy.load(ordering: .relaxed) != 0 { return APUS_ERR_BUSY.rawValue }
        // Waiting packets come back through the callbacks, so first.
        let result = unsafe apus_worker_destroy(worker.value.core)
        // The host may have destroyed it behind our back; that is no reason to keep the rest.
        if result != 0, result != APUS_ERR_STALE.rawValue { return result }
        Registry.forget(.worker, worker.value.slot)
        var i = 0
        while i < worker.value.laneCount {
            let device = worker.value.lanes[i].device
            device.value.retired.absorb(worker.value.lanes[i].counters)
            device.value.users = device.value.users &- 1
            i = i &+ 1
        }
        if worker.value.ownsPool { unsafe Pool.abandon(worker.value.heads.pool) }
        Pool.freeOrphans()
        unsafe rte_free(worker.pointer)
        return 0
    }
}

@c @implementation
public func apus_dpdk_worker_attach(
    _ pointer: OpaquePointer!, _ devicePointer: OpaquePointer!, _ rx_queue: UInt16, _ tx_queue: UInt16
) -> Int32 {
    if unsafe pointer == nil || devicePointer == nil { return APUS_ERR_NULL.rawValue }
    return control {
        guard let worker = unsafe worker(pointer),
            let device = unsafe Ref<Device>(address: Registry.find(.device, devicePointer))
        else { return APUS_ERR_STALE.rawValue }
        guard worker.value.busy.load(ordering: .relaxed) == 0 else { return APUS_ERR_BUSY.rawValue }
        worker.value.busy.store(1, ordering: .relaxed)
        let result = worker.value.attach(device, rx_queue, tx_queue)
        worker.value.busy.store(0, ordering: .relaxed)
        return result
    }
}

extension Worker {
    fileprivate mutating func attach(_ device: Ref<Device>, _ rxQueue: UInt16, _ txQueue: UInt16) -> Int32 {
        let receives = rxQueue.u32 != APUS_DPDK_NO_QUEUE
        guard txQueue < device.value.txQueues, !receives || rxQueue < device.value.rxQueues else {
            return APUS_ERR_RANGE.rawValue
        }
        var index = lane(of: device)
        if let index, lanes[index].txQueue != txQueue { return APUS_ERR_CONFLICT.rawValue }
        if index == nil, Self.isTaken(device, txQueue: txQueue) { return APUS_ERR_IN_USE.rawValue }
        if receives {
            if Self.isTaken(device, rxQueue: rxQueue) { return APUS_ERR_IN_USE.rawValue }
            if queueCount == Self.queueCapacity { return APUS_ERR_LIMIT.rawValue }
        }
        if index == nil {
            if laneCount == Self.laneCapacity { return APUS_ERR_LIMIT.rawValue }
            let waiting = unsafe burstRoom.advanced(by: Self.inputCapacity &+ laneCount &* Lane.capacity)
            unsafe lanes.advanced(by: laneCount).pointer.initialize(
                to: Lane(device, txQueue: txQueue, waiting: waiting))
            index = laneCount
            laneCount = laneCount &+ 1
            device.value.users = device.value.users &+ 1
            rebuildPortMap()
        }
        if receives, let index {
            queues[queueCount] = ReceiveQueue(lane: index.u16, queue: rxQueue)
            queueCount = queueCount &+ 1
        }
        return 0
    }

    /// Whether a worker has this transmit queue.
    private static func isTaken(_ device: Ref<Device>, txQueue: UInt16) -> Bool {
        var slot = 0
        while slot < Registry.slots {
            if let worker = Ref<Worker>(address: Registry.object(.worker, slot)),
                let lane = worker.value.lane(of: device), worker.value.lanes[lane].txQueue == txQueue
            {
                return true
            }
            slot = slot &+ 1
        }
        return false
    }

    /// Whether a worker has this receive queue.
    private static func isTaken(_ device: Ref<Device>, rxQueue: UInt16) -> Bool {
        var slot = 0
        while slot < Registry.slots {
            if let worker = Ref<Worker>(address: Registry.object(.worker, slot)),
                let lane = worker.value.lane(of: device)
            {
                var i = 0
                while i < worker.value.queueCount {
                    let queue = worker.value.queues[i]
                    if queue.lane == lane.u16, queue.queue == rxQueue { return true }
                    i = i &+ 1
                }
            }
            slot = slot &+ 1
        }
        return false
    }
}

@c @implementation
public func apus_dpdk_worker_poll(_ pointer: OpaquePointer!) -> Int32 {
    if unsafe pointer == nil { return APUS_ERR_NULL.rawValue }
    guard let worker = unsafe worker(pointer) else { return APUS_ERR_STALE.rawValue }
    if worker.value.busy.load(ordering: .relaxed) != 0 { return APUS_ERR_BUSY.rawValue }
    worker.value.busy.store(1, ordering: .relaxed)
    let received = worker.value.poll()
    worker.value.busy.store(0, ordering: .relaxed)
    return received.i32
}

@c @implementation
public func apus_dpdk_worker_process(
    _ pointer: OpaquePointer!, _ input: UnsafeMutablePointer<OpaquePointer?>!, _ n_in: UInt32, _ port: UInt32,
    _ out: UnsafeMutablePointer<OpaquePointer?>!, _ ports: UnsafeMutablePointer<UInt32>!, _ capacity: UInt32
) -> Int32 {
    if unsafe pointer == nil { return APUS_ERR_NULL.rawValue }
    guard let worker = unsafe worker(pointer) else { return APUS_ERR_STALE.rawValue }
    if unsafe (n_in > 0 && input == nil) || (capacity > 0 && (out == nil || ports == nil)) {
        return APUS_ERR_NULL.rawValue
    }
    if n_in > APUS_DPDK_BURST_MAX || capacity < n_in { return APUS_ERR_RANGE.rawValue }
    if worker.value.busy.load(ordering: .relaxed) != 0 { return APUS_ERR_BUSY.rawValue }
    worker.value.busy.store(1, ordering: .relaxed)
    // Arrays of no elements are never followed; any address will do.
    let nowhere = unsafe worker.value.burstRoom.pointer
    let made = unsafe worker.value.process(
        Ref(input ?? nowhere), n_in.int, port, Ref(out ?? nowhere),
        Ref(ports ?? UnsafeMutableRawPointer(nowhere).assumingMemoryBound(to: UInt32.self)), capacity.int)
    worker.value.busy.store(0, ordering: .relaxed)
    return made.i32
}

@c @implementation
public func apus_dpdk_worker_stats_get(_ pointer: OpaquePointer!, _ out: UnsafeMutablePointer<apus_dpdk_stats>!)
    -> Int32
{
    if unsafe pointer == nil { return APUS_ERR_NULL.rawValue }
    return control {
        guard let worker = unsafe worker(pointer) else { return APUS_ERR_STALE.rawValue }
        var stats = apus_dpdk_stats()
        worker.value.direct.add(to: &stats)
        var i = 0
        while i < worker.value.laneCount {
            worker.value.lanes[i].counters.add(to: &stats)
            i = i &+ 1
        }
        stats.tx_no_device = worker.value.unknownPort.now
        stats.no_answer = worker.value.noAnswer.now
        stats.rounds = worker.value.rounds.now
        stats.idle_rounds = worker.value.idleRounds.now
        return unsafe writeStruct(stats, to: out)
    }
}

@c @implementation
public func apus_dpdk_worker_core(_ pointer: OpaquePointer!) -> OpaquePointer! {
    guard let worker = unsafe worker(pointer) else { return nil }
    return unsafe worker.value.core
}
