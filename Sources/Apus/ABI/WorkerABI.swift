// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

// worker.h

private let object: Words = "worker"

@c @implementation
public func apus_worker_create(
    _ dataplane: OpaquePointer?, _ opts: UnsafePointer<apus_worker_opts>?, _ out: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
    let handle = unsafe Handle(dataplane)
    return unsafe control(dataplane) { dataplane in
        if unsafe opts == nil { return nullFailure(object, "opts") }
        var copy = unsafe apus_worker_opts()
        if let failure = unsafe readStruct(
            opts, into: &copy, minimum: MemoryLayout<apus_worker_opts>.size, object)
        {
            return failure
        }
        guard let out = unsafe out, let handle else { return nullFailure(object, "out") }
        if let failure = unsafe checkOptions(copy) { return failure }
        let (failure, made) = unsafe make(copy, dataplane, handle.slot)
        if let made { unsafe out.pointee = made.pointer }
        return failure
    }
}

private func checkOptions(_ opts: apus_worker_opts) -> Failure? {
    if unsafe opts.buffers.release == nil { return nullFailure(object, "buffers.release") }
    let flows = unsafe opts.flow_capacity
    if flows != 0, flows < 64 || flows > 16_777_216 {
        return Failure(APUS_ERR_RANGE, object, "flow_capacity", .number(flows.u64), "is outside 64-16777216")
    }
    let wideFlows = unsafe opts.ipv6_flow_capacity
    if wideFlows != 0, wideFlows < 64 || wideFlows > 16_777_216 {
        return Failure(APUS_ERR_RANGE, object, "ipv6_flow_capacity", .number(wideFlows.u64), "is outside 64-16777216")
    }
    if unsafe opts.held_capacity > 1024 {
        return Failure(
            APUS_ERR_RANGE, object, "held_capacity", .number(unsafe opts.held_capacity.u64), "is outside 1-1024")
    }
    return unsafe checkFlags(opts.flags, 0, object)
}

private func make(_ opts: apus_worker_opts, _ dataplane: Ref<Dataplane>, _ slot: Int) -> (Failure?, Handle?) {
    var index = 0
    while index < Grace.workers, dataplane.value.workers[index].worker.load(ordering: .relaxed) != 0 { index &+= 1 }
    if index == Grace.workers {
        return (Failure(APUS_ERR_LIMIT, object, "", .none, "256 workers exist, which is the most"), nil)
    }
    let memory = dataplane.value.memory
    let flows = unsafe opts.flow_capacity == 0 ? 65536 : opts.flow_capacity.int.roundedUpToPowerOfTwo
    let wideFlows = unsafe opts.ipv6_flow_capacity == 0 ? flows : opts.ipv6_flow_capacity.int.roundedUpToPowerOfTwo
    let held = unsafe opts.held_capacity == 0 ? 256 : opts.held_capacity.int
    let worker = Worker(
        memory, tables: dataplane.value.store.tables, settings: dataplane.value.settings,
        grace: dataplane.value.store.grace, index: index, buffers: unsafe Buffers(opts.buffers), flowCapacity: flows,
        wideFlowCapacity: wideFlows, heldCapacity: held)
    guard var worker else { return (.memory(object), nil) }
    guard let place = memory.value.allocate(Worker.self, count: 1, alignment: 64) else {
        worker.destroy(memory)
        return (.memory(object), nil)
    }
    place.initialize(to: worker)
    dataplane.value.store.grace.enroll(index)
    let generation = Registry.nextGeneration()
    dataplane.value.workers[index].busy.store(0, ordering: .relaxed)
    dataplane.value.workers[index].generation.store(generation, ordering: .relaxed)
    dataplane.value.workers[index].worker.store(place.address, ordering: .releasing)
    return (nil, Handle(slot: slot, worker: index, generation: generation))
}

@c @implementation
public func apus_worker_destroy(_ worker: OpaquePointer?) -> Int32 {
    if unsafe worker == nil { return APUS_OK.rawValue }
    guard let handle = unsafe Handle(worker), let found = unsafe Apus.worker(of: worker) else {
        return APUS_ERR_STALE.rawValue
    }
    let owner = Handle(slot: handle.slot, worker: nil, generation: found.dataplane.value.generation)
    return unsafe control(owner.pointer) { dataplane in
        if found.slot.value.busy.load(ordering: .relaxed) != 0 {
            return Failure(APUS_ERR_BUSY, object, "", .none, "a thread is inside this worker")
        }
        found.slot.value.busy.store(1, ordering: .relaxed)
        found.worker.value.dropHeld()
        found.worker.value.counters.add(.eventsLost, found.worker.value.events.count)
        found.slot.value.worker.store(0, ordering: .releasing)
        found.slot.value.generation.store(0, ordering: .relaxed)
        dataplane.value.retired.absorb(found.worker.value.counters)
        dataplane.value.retiredPorts.absorb(found.worker.value.portCounters)
        // Its entries are gone; the totals only keep what happened.
        dataplane.value.retired.subtract(
            .flowEntries, found.worker.value.counters.read(Counter.flowEntries.rawValue))
        let memory = dataplane.value.memory
        found.worker.value.destroy(memory)
        memory.value.release(found.worker, count: 1)
        return nil
    }
}

@c @implementation
@_optimize(speed)
public func apus_worker_process(
    _ worker: OpaquePointer?, _ input: UnsafeMutablePointer<apus_frame>?, _ count: UInt32,
    _ output: UnsafeMutablePointer<apus_frame>?, _ capacity: UInt32, _ now: UInt64
) -> Int32 {
    if unsafe worker == nil { return APUS_ERR_NULL.rawValue }
    guard let found = unsafe Apus.worker(of: worker) else { return APUS_ERR_STALE.rawValue }
    if count > 0, unsafe input == nil { return APUS_ERR_NULL.rawValue }
    if capacity > 0, unsafe output == nil { return APUS_ERR_NULL.rawValue }
    if capacity < count || capacity > 0x7FFF_FFFF { return APUS_ERR_RANGE.rawValue }
    if found.slot.value.busy.load(ordering: .relaxed) != 0 { return APUS_ERR_BUSY.rawValue }
    found.slot.value.busy.store(1, ordering: .relaxed)
    // Without frames the pointers are never followed; any address will do.
    let nowhere = unsafe UnsafeMutableRawPointer(found.worker.raw).assumingMemoryBound(to: Frame.self)
    let frames = unsafe input.map { unsafe UnsafeMutableRawPointer($0).assumingMemoryBound(to: Frame.self) }
    let sent = unsafe output.map { unsafe UnsafeMutableRawPointer($0).assumingMemoryBound(to: Frame.self) }
    let made = unsafe found.worker.value.process(
        Ref(frames ?? nowhere), count.int, Ref(sent ?? nowhere), capacity.int, now)
    found.slot.value.busy.store(0, ordering: .relaxed)
    return Int32(truncatingIfNeeded: made)
}
