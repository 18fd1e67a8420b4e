// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// event.h

private let object: Words = "event"

@c @implementation
public func apus_event_name(_ kind: UInt32) -> UnsafePointer<CChar>? { unsafe name(kind).c }

private func name(_ kind: UInt32) -> Words {
    switch kind {
    case APUS_EVENT_RECORD_LEARNED.rawValue: "RECORD_LEARNED"
    case APUS_EVENT_RECORD_MOVED.rawValue: "RECORD_MOVED"
    case APUS_EVENT_RECORD_CONFLICT.rawValue: "RECORD_CONFLICT"
    case APUS_EVENT_LEARN_LIMIT.rawValue: "LEARN_LIMIT"
    case APUS_EVENT_LEARN_THRESHOLD.rawValue: "LEARN_THRESHOLD"
    case APUS_EVENT_LEARN_THROTTLED.rawValue: "LEARN_THROTTLED"
    case APUS_EVENT_LOST.rawValue: "LOST"
    default: ""
    }
}

@c @implementation
public func apus_event_poll(
    _ dataplane: OpaquePointer?, _ out: UnsafeMutablePointer<apus_event>?, _ count: UInt32
) -> Int32 {
    var taken: Int32 = 0
    let code = unsafe control(dataplane) { dataplane in
        let (sizeFailure, size) = unsafe sizeOfStruct(out, minimum: MemoryLayout<apus_event>.size, object)
        guard sizeFailure == nil, let out = unsafe out else { return sizeFailure }
        if count == 0 || count > 0x7FFF_FFFF {
            return Failure(APUS_ERR_RANGE, object, "count", .number(count.u64), "is outside 1-2147483647")
        }
        if let failure = dataplane.value.store.begin() { return failure }
        var sink = unsafe EventSink(out, size: size, count: count.int)
        let failure = drain(dataplane, to: &sink)
        // All that was learned becomes visible at once. A stalled worker is the next change's to tell.
        _ = dataplane.value.store.commit()
        taken = Int32(truncatingIfNeeded: sink.written)
        return taken == 0 ? failure : nil
    }
    return code == APUS_OK.rawValue ? taken : code
}

/// Where the events of one call go.
@safe
private struct EventSink {
    private let out: UnsafeMutableRawPointer
    private let size: Int
    private let count: Int
    private(set) var written = 0

    init(_ out: UnsafeMutablePointer<apus_event>, size: Int, count: Int) {
        unsafe self.out = UnsafeMutableRawPointer(out)
        self.size = size
        self.count = count
    }

    var isFull: Bool { written == count }

    mutating func put(_ event: apus_event) {
        let place = unsafe out + written &* size
        unsafe apus_store64(place, size.u64)
        unsafe writeStruct(event, to: place.assumingMemoryBound(to: apus_event.self), size: size)
        written &+= 1
    }
}

/// In the order of docs/pipeline.md section 8: what did not fit last time, how many were lost, the workers' notes.
private func drain(_ dataplane: Ref<Dataplane>, to sink: inout EventSink) -> Failure? {
    if let event = dataplane.value.pendingEvent {
        dataplane.value.pendingEvent = nil
        sink.put(event)
    }
    let lost = dataplane.value.total(Counter.eventsLost.rawValue)
    if lost != dataplane.value.lostEvents, !sink.isFull {
        var event = apus_event()
        event.kind = APUS_EVENT_LOST.rawValue
        event.count = min(lost &- dataplane.value.lostEvents, 0xFFFF_FFFF).u32
        dataplane.value.lostEvents = lost
        sink.put(event)
    }
    var failure: Failure?
    dataplane.value.forEachWorker { worker in
        let ring = worker.value.events
        while failure == nil, !sink.isFull, let note = ring.first {
            failure = take(note, dataplane, to: &sink)
            if failure == nil { ring.removeFirst() }
        }
    }
    return failure
}

private func take(_ note: Note, _ dataplane: Ref<Dataplane>, to sink: inout EventSink) -> Failure? {
    var event = apus_event()
    event.port = note.port
    event.virtual_subnet_id = note.vsid
    event.mac = note.mac.c
    event.provider_address = note.pa.c
    if note.kind == .throttled {
        event.kind = APUS_EVENT_LEARN_THROTTLED.rawValue
        sink.put(event)
        return nil
    }
    let tables = dataplane.value.store.tables
    guard let port = dataplane.value.store.port(note.port) else { return nil }
    let limit = tables.ports[port].kind == Port.vm ? tables.ports[port].dynamicLimit : APUS_REMOTE_ADDRESS_LIMIT
    let (failure, result) = dataplane.value.store.learn(note, limit: limit)
    guard failure == nil, let result else { return failure }
    event.kind = result.kind.rawValue
    event.customer_address = note.ca.c
    if result.kind == APUS_EVENT_RECORD_MOVED || result.kind == APUS_EVENT_RECORD_CONFLICT {
        event.previous_mac = result.previousMAC.c
        event.previous_provider_address = result.previousPA.c
    }
    if result.kind != APUS_EVENT_RECORD_CONFLICT {
        event.count = result.count
        event.limit = limit
    }
    sink.put(event)
    if result.kind == APUS_EVENT_RECORD_LEARNED || result.kind == APUS_EVENT_RECORD_MOVED {
        // Workers count for themselves; this is nobody's.
        dataplane.value.retired.add(.learned)
    }
    if result.crossesThreshold {
        event.kind = APUS_EVENT_LEARN_THRESHOLD.rawValue
        event.customer_address = apus_address()
        event.previous_mac = apus_mac()
        event.previous_provider_address = apus_address()
        if sink.isFull { dataplane.value.pendingEvent = event } else { sink.put(event) }
    }
    return nil
}
