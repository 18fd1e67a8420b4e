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
    case APUS_EVENT_ADDRESS_PREFERRED.rawValue: "ADDRESS_PREFERRED"
    case APUS_EVENT_ADDRESS_DUPLICATE.rawValue: "ADDRESS_DUPLICATE"
    case APUS_EVENT_ADDRESS_CONFLICT.rawValue: "ADDRESS_CONFLICT"
    case APUS_EVENT_NVE_REDIRECT.rawValue: "NVE_REDIRECT"
    case APUS_EVENT_NVE_UNREACHABLE.rawValue: "NVE_UNREACHABLE"
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
    if note.kind == .wanted { return dataplane.value.store.meetNeighbor(note.ca, behind: note.port) }
    var event = apus_event()
    event.port = note.port
    event.virtual_subnet_id = note.vsid
    event.mac = note.mac.c
    if !note.pa.isUnspecified { event.provider_address = note.pa.c }
    if note.kind != .seen {
        if let kind = kind(of: note, dataplane) {
            event.kind = kind.rawValue
            if note.kind == .redirect || note.kind == .unreachable { name(note, in: &event) }
            sink.put(event)
        }
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

/// What a note that nothing is learned from tells. nil: nothing any more.
private func kind(of note: Note, _ dataplane: Ref<Dataplane>) -> apus_event_kind? {
    switch note.kind {
    case .seen: return nil
    case .throttled: return APUS_EVENT_LEARN_THROTTLED
    // Several workers may have found the same at once; and the operator may have changed the address since.
    case .addressPassed:
        return dataplane.value.store.tellResult(of: note.pa, isDuplicate: false) ? APUS_EVENT_ADDRESS_PREFERRED : nil
    case .addressDuplicate:
        return dataplane.value.store.tellResult(of: note.pa, isDuplicate: true) ? APUS_EVENT_ADDRESS_DUPLICATE : nil
    case .addressConflict: return APUS_EVENT_ADDRESS_CONFLICT
    case .redirect: return APUS_EVENT_NVE_REDIRECT
    case .unreachable: return APUS_EVENT_NVE_UNREACHABLE
    case .wanted: return nil
    }
}

/// The addresses of a control message of another host.
private func name(_ note: Note, in event: inout apus_event) {
    event.previous_provider_address = note.teller.c
    if note.kind == .unreachable { event.provider_address = apus_address() }
    // The unspecified address stands for none.
    if !note.ca.isUnspecified { event.customer_address = note.ca.c }
}
