// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK
import CApusIntrinsics
import Synchronization

/// Creates workers: one piece of DPDK's memory with the worker and its arrays, a pool, and a worker of the dataplane
/// whose buffers come from that pool.
enum WorkerMaker {
    /// Called with the lock taken.
    static func make(
        _ dataplane: OpaquePointer, _ opts: apus_dpdk_worker_opts, _ handle: inout OpaquePointer?
    ) -> Failure? {
        if let failure = unsafe check(opts) { return failure }
        guard let slot = Registry.freeSlot(.worker) else {
            return Failure(APUS_ERR_LIMIT, "256 workers exist, which is the most")
        }
        let socket = unsafe opts.socket == 0 ? rte_socket_id().i32 : opts.socket &- 1
        guard let memory = unsafe rte_zmalloc_socket(nil, Layout().size, 64, socket) else {
            return Failure(APUS_ERR_MEMORY, "no memory for the worker")
        }
        guard let pool = unsafe opts.pool ?? makePool(opts, socket) else {
            unsafe rte_free(memory)
            return Failure(
                APUS_ERR_MEMORY.rawValue, "no memory for a pool of mbufs", number: -1, errno: apus_rte_errno())
        }
        var core: OpaquePointer?
        let result = unsafe makeCore(dataplane, opts, context: memory, &core)
        guard result == 0, let core = unsafe core else {
            if unsafe opts.pool == nil { unsafe Pool.abandon(pool) }
            unsafe rte_free(memory)
            return Failure(result, "the dataplane refuses a worker", number: -1, errno: 0)
        }
        let burst = unsafe opts.burst == 0 ? 64 : opts.burst.int
        unsafe memory.assumingMemoryBound(to: Worker.self).initialize(
            to: Worker(memory, core: core, pool: pool, ownsPool: opts.pool == nil, slot: slot, burst: burst))
        unsafe handle = unsafe Registry.publish(.worker, slot, UInt(bitPattern: memory))
        return nil
    }

    private static func check(_ opts: apus_dpdk_worker_opts) -> Failure? {
        if unsafe opts.flags != 0 { return Failure(APUS_ERR_UNKNOWN_FIELD, "flags is not 0") }
        if unsafe opts.burst > APUS_DPDK_BURST_MAX {
            return Failure(APUS_ERR_RANGE, "burst is outside 1-256", number: unsafe Int64(opts.burst))
        }
        if unsafe opts.pool_size > 16_777_216 {
            return Failure(APUS_ERR_RANGE, "pool_size is more than 16777216", number: unsafe Int64(opts.pool_size))
        }
        if let pool = unsafe opts.pool, unsafe !Pool.isUsable(pool) {
            return Failure(APUS_ERR_RANGE, "mbufs of the pool have less than 256 bytes beyond their headroom")
        }
        return nil
    }

    private static func makePool(_ opts: apus_dpdk_worker_opts, _ socket: Int32) -> OpaquePointer? {
        let count = unsafe opts.pool_size == 0 ? 2047 : opts.pool_size
        return unsafe Pool.create(0x77, Registry.nextNumber(), count: count, room: 2048, socket: socket)
    }

    private static func makeCore(
        _ dataplane: OpaquePointer, _ opts: apus_dpdk_worker_opts, context: UnsafeMutableRawPointer,
        _ core: inout OpaquePointer?
    ) -> Int32 {
        var inner = unsafe apus_worker_opts()
        unsafe inner.size = MemoryLayout<apus_worker_opts>.size
        unsafe inner.flow_capacity = unsafe opts.flow_capacity
        unsafe inner.held_capacity = unsafe opts.held_capacity
        unsafe inner.buffers.context = unsafe context
        unsafe inner.buffers.allocate = { context, capacity, frame in unsafe allocate(context, capacity, frame) }
        unsafe inner.buffers.release = { _, buffers, count in unsafe release(buffers, count) }
        return unsafe apus_worker_create(dataplane, &inner, &core)
    }
}

// MARK: - The host's packet buffers, struct apus_buffers

/// An mbuf for a frame that the library makes.
private func allocate(
    _ context: UnsafeMutableRawPointer?, _ capacity: UInt32, _ frame: UnsafeMutablePointer<apus_frame>?
) -> Int32 {
    let worker = unsafe Ref(context.unsafelyUnwrapped.assumingMemoryBound(to: Worker.self))
    guard let frame = unsafe frame, let mbuf = unsafe Mbuf(pool: worker.value.heads.pool) else {
        worker.value.noAnswer.add(1)
        return -1
    }
    guard capacity.int <= mbuf.tailroom, mbuf.offset >= Int(APUS_HEADROOM) else {
        mbuf.free()
        worker.value.noAnswer.add(1)
        return -1
    }
    unsafe frame.pointee.data = unsafe mbuf.data
    unsafe frame.pointee.buffer = unsafe UnsafeMutableRawPointer(mbuf.pointer)
    unsafe frame.pointee.contiguous = mbuf.tailroom.u16
    unsafe frame.pointee.headroom = mbuf.offset.u16
    return 0
}

/// Frames that were dropped or consumed.
private func release(_ buffers: UnsafePointer<UnsafeMutableRawPointer?>?, _ count: UInt32) {
    // `void *const *` and `struct rte_mbuf **` are the same words; they are read only.
    let list = unsafe UnsafeMutableRawPointer(mutating: buffers)?.assumingMemoryBound(to: OpaquePointer?.self)
    unsafe rte_pktmbuf_free_bulk(list, count)
}

// MARK: - Memory

/// Where in its piece of memory a worker has its arrays.
struct Layout {
    let lanes: Int
    let queues: Int
    let portMap: Int
    let input: Int
    let output: Int
    let mbufs: Int
    let size: Int

    init() {
        lanes = Self.aligned(MemoryLayout<Worker>.size)
        queues = lanes &+ Self.aligned(MemoryLayout<Lane>.stride &* Worker.laneCapacity)
        portMap = queues &+ Self.aligned(MemoryLayout<ReceiveQueue>.stride &* Worker.queueCapacity)
        input = portMap &+ Self.aligned(MemoryLayout<Worker.PortEntry>.stride &* Worker.portMapCapacity)
        output = unsafe input &+ Self.aligned(MemoryLayout<apus_frame>.stride &* Worker.inputCapacity)
        mbufs = unsafe output &+ Self.aligned(MemoryLayout<apus_frame>.stride &* Worker.outputCapacity)
        let mbufCount = Worker.inputCapacity &+ Worker.laneCapacity &* Lane.capacity
        size = unsafe mbufs &+ Self.aligned(MemoryLayout<OpaquePointer?>.stride &* mbufCount)
    }

    /// Whole cache lines.
    private static func aligned(_ bytes: Int) -> Int { (bytes &+ 63) & ~63 }
}

extension Worker {
    /// A worker with nothing attached, in zeroed memory of `Layout().size` bytes.
    init(
        _ memory: UnsafeMutableRawPointer, core: OpaquePointer, pool: OpaquePointer, ownsPool: Bool, slot: Int,
        burst: Int
    ) {
        unsafe self.core = unsafe core
        heads = unsafe Heads(pool: pool)
        self.slot = slot
        self.burst = burst
        self.ownsPool = ownsPool
        let layout = Layout()
        lanes = unsafe Ref((memory + layout.lanes).assumingMemoryBound(to: Lane.self))
        queues = unsafe Ref((memory + layout.queues).assumingMemoryBound(to: ReceiveQueue.self))
        portMap = unsafe Ref((memory + layout.portMap).assumingMemoryBound(to: PortEntry.self))
        unsafe input = unsafe Ref((memory + layout.input).assumingMemoryBound(to: apus_frame.self))
        unsafe output = unsafe Ref((memory + layout.output).assumingMemoryBound(to: apus_frame.self))
        unsafe burstRoom = unsafe Ref((memory + layout.mbufs).assumingMemoryBound(to: OpaquePointer?.self))
    }
}
