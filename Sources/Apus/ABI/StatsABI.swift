// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// stats.h

private let object: Words = "statistics"
private let minimum = MemoryLayout<apus_stats>.size

/// `struct apus_stats` is its size, the counters in the order of ``Counter``, and the drops: 64-bit words throughout.
private func fill(_ out: UnsafeMutablePointer<apus_stats>, size: Int, _ read: (Int) -> UInt64) {
    let words = unsafe (UnsafeMutableRawPointer(out) + 8).assumingMemoryBound(to: UInt64.self)
    var i = 0
    while i < Counters.count {
        unsafe words[i] = read(i)
        i &+= 1
    }
    if size > minimum { unsafe apus_zero(UnsafeMutableRawPointer(out) + minimum, size &- minimum) }
}

@c @implementation
public func apus_stats_get(_ dataplane: OpaquePointer?, _ out: UnsafeMutablePointer<apus_stats>?) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, size) = unsafe sizeOfStruct(out, minimum: minimum, object)
        guard failure == nil, let out = unsafe out else { return failure }
        unsafe fill(out, size: size) { dataplane.value.total($0) }
        return nil
    }
}

@c @implementation
public func apus_worker_stats_get(_ worker: OpaquePointer?, _ out: UnsafeMutablePointer<apus_stats>?) -> Int32 {
    if unsafe worker == nil { return APUS_ERR_NULL.rawValue }
    guard let found = unsafe Apus.worker(of: worker) else { return APUS_ERR_STALE.rawValue }
    let (failure, size) = unsafe sizeOfStruct(out, minimum: minimum, object)
    if let failure { return failure.code }
    guard let out = unsafe out else { return APUS_ERR_NULL.rawValue }
    unsafe fill(out, size: size) { found.worker.value.counters.read($0) }
    return APUS_OK.rawValue
}

@c @implementation
public func apus_port_stats_get(
    _ dataplane: OpaquePointer?, _ id: UInt32, _ out: UnsafeMutablePointer<apus_port_stats>?
) -> Int32 {
    unsafe control(dataplane) { dataplane in
        let (failure, size) = unsafe sizeOfStruct(out, minimum: MemoryLayout<apus_port_stats>.size, object)
        guard failure == nil, let out = unsafe out else { return failure }
        if dataplane.value.store.port(id) == nil { return Store.portMissing(id) }
        func count(_ field: PortCounters.Field) -> UInt64 {
            dataplane.value.portTotal(id, field.rawValue) &- dataplane.value.portBaselines.read(id, field.rawValue)
        }
        let stats = apus_port_stats(
            size: 0, received: count(.received), received_bytes: count(.receivedBytes),
            transmitted: count(.transmitted), transmitted_bytes: count(.transmittedBytes), dropped: count(.dropped))
        unsafe writeStruct(stats, to: out, size: size)
        return nil
    }
}

@c @implementation
public func apus_drop_reason_name(_ reason: UInt32) -> UnsafePointer<CChar>? { unsafe apus_drop_name(reason) }

@c @implementation
public func apus_drop_reason_text(_ reason: UInt32) -> UnsafePointer<CChar>? { unsafe apus_drop_text(reason) }

@c @implementation
public func apus_drop_reason_windows(_ reason: UInt32) -> UInt32 { apus_drop_windows(reason) }
