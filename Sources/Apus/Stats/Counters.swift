// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

/// The counters of `struct apus_stats`, in its order.
enum Counter: Int {
    case received, transmitted, generated, consumed, dropped, held
    case receivedBytes, transmittedBytes
    case encapsulated, decapsulated, switched, rewritten, routed
    case flowHits, flowMisses, flowInserts, flowEvictions, flowSuppressed, flowEntries
    case arpReplies, arpRequests, echoReplies, routerAdvertisements, icmpErrors, pathMTUUpdates, icmpSuppressed, fragmented
    case replicated, learned, learnThrottled, eventsLost
    case addressProbes, addressConflicts, controlMessages, unreachableSent, bursts
}

/// The counters of one worker. One writer; anybody may read at any time. An addition is a load and a store, not a
/// locked instruction.
struct Counters: BitwiseCopyable {
    private let words: Ref<Atomic<UInt64>>

    static var dropsOffset: Int { Counter.bursts.rawValue &+ 1 }
    static var count: Int { dropsOffset &+ APUS_DROP_REASON_COUNT.rawValue.int }

    init?(_ memory: Ref<Memory>) {
        guard let words = memory.value.allocateZeroed(Atomic<UInt64>.self, count: Self.count) else { return nil }
        self.words = words
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(words, count: Self.count) }

    @inline(__always)
    private func add(_ value: UInt64, at index: Int) {
        words[index].store(words[index].load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    @inline(__always)
    func add(_ counter: Counter, _ value: UInt64 = 1) { add(value, at: counter.rawValue) }

    @inline(__always)
    func subtract(_ counter: Counter, _ value: UInt64 = 1) { add(0 &- value, at: counter.rawValue) }

    @inline(__always)
    func addDrop(_ reason: DropReason) {
        add(1, at: Self.dropsOffset &+ reason.value.int)
        add(1, at: Counter.dropped.rawValue)
    }

    func read(_ index: Int) -> UInt64 { words[index].load(ordering: .relaxed) }

    /// Take over the counters of a worker that goes away.
    func absorb(_ other: Counters) {
        var i = 0
        while i < Self.count {
            add(other.read(i), at: i)
            i &+= 1
        }
    }
}

/// The counters of all ports on one worker, by slot.
struct PortCounters: BitwiseCopyable {
    enum Field: Int { case received, receivedBytes, transmitted, transmittedBytes, dropped }

    /// Eight words, one cache line, for each port.
    private let words: Ref<Atomic<UInt64>>

    static var fields: Int { 5 }
    private static var stride: Int { 8 }
    private static var count: Int { PortSlots.count &* stride }

    init?(_ memory: Ref<Memory>) {
        guard let words = memory.value.allocateZeroed(Atomic<UInt64>.self, count: Self.count, alignment: 64) else {
            return nil
        }
        self.words = words
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(words, count: Self.count) }

    /// Frames that were received or transmitted, and their bytes, which are counted behind them.
    @inline(__always)
    func add(_ port: UInt32, _ field: Field, _ frames: UInt64, bytes: UInt64) {
        Self.add(word(port, field), frames, bytes: bytes)
    }

    @inline(__always)
    func add(_ port: UInt32, _ field: Field, _ value: UInt64) { Self.add(value, to: word(port, field)) }

    /// Where `add` adds.
    @inline(__always)
    func address(of port: UInt32, _ field: Field) -> UInt { word(port, field).address }

    /// The same as `add` at such an address, of one frame.
    @inline(__always)
    static func addFrame(at address: UInt, bytes: UInt64) {
        add(unsafe Ref(UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped), 1, bytes: bytes)
    }

    @inline(__always)
    private static func add(_ word: Ref<Atomic<UInt64>>, _ frames: UInt64, bytes: UInt64) {
        add(frames, to: word)
        add(bytes, to: word.advanced(by: 1))
    }

    @inline(__always)
    private static func add(_ value: UInt64, to word: Ref<Atomic<UInt64>>) {
        word.value.store(word.value.load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    @inline(__always)
    private func word(_ port: UInt32, _ field: Field) -> Ref<Atomic<UInt64>> {
        words.advanced(by: PortSlots.slot(of: port) &* Self.stride &+ field.rawValue)
    }

    func read(_ port: UInt32, _ field: Int) -> UInt64 {
        words[PortSlots.slot(of: port) &* Self.stride &+ field].load(ordering: .relaxed)
    }

    func store(_ port: UInt32, _ field: Int, _ value: UInt64) {
        words[PortSlots.slot(of: port) &* Self.stride &+ field].store(value, ordering: .relaxed)
    }

    func absorb(_ other: PortCounters) {
        var i = 0
        while i < Self.count {
            words[i].store(
                words[i].load(ordering: .relaxed) &+ other.words[i].load(ordering: .relaxed), ordering: .relaxed)
            i &+= 1
        }
    }
}
