// SPDX-License-Identifier: Apache-2.0

import ApusPolicy
import CApus
import Glibc

/// A dataplane with one worker, whose clock is the time of the frames that it is fed.
@safe
final class ReplayEngine {
    /// Called for each frame that leaves: its port, its bytes, and the time of what made it leave.
    typealias Output = (UInt32, UnsafeRawBufferPointer, UInt64) -> Void
    /// Called for each event.
    typealias Report = (apus_event) -> Void

    private static let tick: UInt64 = 100_000_000
    /// Before a frame. More than APUS_HEADROOM asks for, so that the frame itself is aligned.
    private static let headroom = 128

    let dataplane: ScratchDataplane
    private let worker: OpaquePointer
    private let out: UnsafeMutableBufferPointer<apus_frame>
    private let output: Output
    private let report: Report
    private(set) var events = EventCounts()
    /// After this much time without a frame nothing can happen any more: retries are over, answers have come.
    private let quiet: UInt64
    private(set) var now: UInt64?

    init(_ file: PolicyFile, output: @escaping Output, report: @escaping Report) throws {
        dataplane = try ScratchDataplane(file)
        var options = unsafe apus_worker_opts()
        unsafe options.size = MemoryLayout<apus_worker_opts>.size
        unsafe options.buffers.allocate = { _, capacity, frame in
            guard let base = unsafe malloc(ReplayEngine.headroom + Int(capacity)) else { return -1 }
            unsafe frame?.pointee.buffer = unsafe base
            unsafe frame?.pointee.data = unsafe base.assumingMemoryBound(to: UInt8.self) + ReplayEngine.headroom
            unsafe frame?.pointee.contiguous = UInt16(clamping: capacity)
            unsafe frame?.pointee.headroom = UInt16(ReplayEngine.headroom)
            return 0
        }
        unsafe options.buffers.release = { _, buffers, count in
            for index in 0..<Int(count) { unsafe free(buffers?[index]) }
        }
        var created: OpaquePointer?
        let result = unsafe apus_worker_create(dataplane.pointer, &options, &created)
        guard result == 0, let created = unsafe created else {
            throw Refusal("no worker: \(unsafe String(cString: apus_strerror(result)))")
        }
        unsafe worker = unsafe created
        // One frame can be flooded to every port, and let all that waited out.
        unsafe out = .allocate(capacity: 1024 + file.ports.count)
        unsafe self.output = unsafe output
        self.report = report
        let retry = UInt64(file.settings.neighborRetryMilliseconds ?? 1000)
        quiet = max(10_000, retry * UInt64((file.settings.neighborRetries ?? 3) + 1)) * 1_000_000
    }

    deinit {
        unsafe apus_worker_destroy(worker)
        unsafe out.deallocate()
    }

    /// The number of a port.
    func port(_ name: String) -> UInt32? { dataplane.ports[name] }

    /// Let a frame enter.
    func feed(_ bytes: UnsafeRawBufferPointer, port: UInt32, time: UInt64) throws {
        advance(to: time)
        guard let base = unsafe malloc(Self.headroom + max(bytes.count, 1)) else { throw Refusal("out of memory") }
        let data = unsafe base + Self.headroom
        if let source = bytes.baseAddress { unsafe memcpy(data, source, bytes.count) }
        var frame = unsafe apus_frame()
        unsafe frame.buffer = unsafe base
        unsafe frame.data = unsafe data.assumingMemoryBound(to: UInt8.self)
        unsafe frame.length = UInt32(clamping: bytes.count)
        unsafe frame.contiguous = UInt16(clamping: bytes.count)
        unsafe frame.headroom = UInt16(Self.headroom)
        unsafe frame.port = port
        unsafe process(&frame, 1, max(time, now ?? 0))
    }

    /// Let time pass until nothing waits any more.
    func drain() {
        guard let start = now else { return }
        while statistics().held > 0, let now, now - start < quiet { unsafe process(nil, 0, now + Self.tick) }
    }

    /// Let a little time pass.
    func pass() { unsafe process(nil, 0, (now ?? 0) + Self.tick) }

    func statistics() -> apus_stats {
        var statistics = apus_stats()
        statistics.size = MemoryLayout<apus_stats>.size
        _ = unsafe apus_stats_get(dataplane.pointer, &statistics)
        return statistics
    }

    func statistics(port: UInt32) -> apus_port_stats {
        var statistics = apus_port_stats()
        statistics.size = MemoryLayout<apus_port_stats>.size
        _ = unsafe apus_port_stats_get(dataplane.pointer, port, &statistics)
        return statistics
    }

    /// Live through the time between two frames as a host does, which calls at least every 100 ms.
    private func advance(to time: UInt64) {
        guard let start = now else { return }
        while let now, time > now, time - now > Self.tick, now - start < quiet {
            unsafe process(nil, 0, now + Self.tick)
        }
    }

    private func process(_ frame: UnsafeMutablePointer<apus_frame>?, _ count: UInt32, _ time: UInt64) {
        now = time
        let left = unsafe apus_worker_process(worker, frame, count, out.baseAddress, UInt32(out.count), time)
        precondition(left >= 0, "apus_worker_process refused a call that is right")
        for index in 0..<Int(left) {
            let frame = unsafe out[index]
            unsafe output(frame.port, UnsafeRawBufferPointer(start: frame.data, count: Int(frame.length)), time)
            unsafe free(frame.buffer)
        }
        poll()
    }

    /// Let the dataplane learn from what it saw.
    private func poll() {
        var event = apus_event.empty
        while unsafe apus_event_poll(dataplane.pointer, &event, 1) == 1 {
            events.count(event)
            report(event)
        }
    }
}
