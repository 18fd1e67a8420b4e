// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// What is known of a flow besides its key.
struct FlowState {
    /// Low 32 bits of the policy version under which it was decided; see ``Scopes``.
    var stamp: UInt32
    /// Number + 1 of the ``Transposition`` in the upper 24 bits, FlowID in the lower 8. 0 = the entry is free.
    var result: UInt32
    var packets: UInt64
    var bytes: UInt64

    @inline(__always) var isFree: Bool { result == 0 }
    @inline(__always) var transposition: Int { (result &>> 8).int &- 1 }
    @inline(__always) var flowID: UInt8 { result.u8 }
}

/// One remembered flow: a cache line with a ``FlowKey``, two with a ``WideFlowKey``.
struct FlowEntry<Key: FlowIdentity> {
    var key: Key
    var state: FlowState
}

/// A flow cache of one worker: bounded, exact match, touched by that worker alone.
///
/// A flow may stand in one of eight lines: four neighbours where one half of the hash points, four where the other does.
/// With two choices a cache that is half full almost never displaces a living flow; most flows stand in the very first
/// line. When all eight are taken, four of them are looked at. A stale entry goes first. Otherwise tenants (scopes) compete by their share of the
/// whole cache: an entry of the tenant that holds most makes room, unless the newcomer's own tenant holds more: then the newcomer
/// is not remembered. So a tenant that sends only new flows displaces its own, not those of the others.
struct FlowCache<Key: FlowIdentity> {
    let entries: Ref<FlowEntry<Key>>
    let mask: Int
    /// Entries that each tenant holds, by the low bits of its scope.
    private let shares: Ref<UInt32>
    private static var shareCount: Int { 4096 }

    private static var ways: Int { 8 }

    init?(_ memory: Ref<Memory>, capacity: Int) {
        guard let entries = memory.value.allocateZeroed(FlowEntry<Key>.self, count: capacity, alignment: 64) else {
            return nil
        }
        guard let shares = memory.value.allocateZeroed(UInt32.self, count: Self.shareCount) else {
            memory.value.release(entries, count: capacity)
            return nil
        }
        self.entries = entries
        self.shares = shares
        mask = capacity &- 1
    }

    func destroy(_ memory: Ref<Memory>) {
        memory.value.release(entries, count: mask &+ 1)
        memory.value.release(shares, count: Self.shareCount)
    }

    @inline(__always)
    func prefetch(_ hash: UInt64) {
        let entry = unsafe entries.advanced(by: hash.int & mask).raw
        unsafe apus_prefetch(entry)
        if MemoryLayout<FlowEntry<Key>>.stride > 64 { unsafe apus_prefetch(entry + 64) }
    }

    @inline(__always)
    func state(_ index: Int) -> Ref<FlowState> { Self.state(of: entries.advanced(by: index)) }

    /// It follows the key.
    @inline(__always)
    private static func state(of entry: Ref<FlowEntry<Key>>) -> Ref<FlowState> {
        unsafe Ref((entry.raw + MemoryLayout<Key>.size).assumingMemoryBound(to: FlowState.self))
    }

    /// The lines of a flow, best first: `number` in 0 ..< 8.
    @inline(__always)
    private func line(_ hash: UInt64, _ number: Int) -> Int {
        let home = number < 4 ? hash : hash &>> 32
        return (home.int & mask) ^ (number & 3)
    }

    /// What is known of the flow with this key, or nil.
    @inline(__always)
    func flow(_ hash: UInt64, _ key: Key) -> Ref<FlowState>? {
        let (flow, isThere) = home(hash, key)
        return isThere ? flow : flowFurther(hash, key)
    }

    /// The first line of the flow with this key, and does it stand there? `prefetch` has asked for that line.
    @inline(__always)
    func home(_ hash: UInt64, _ key: Key) -> (Ref<FlowState>, isThere: Bool) {
        let home = entries.advanced(by: hash.int & mask)
        return (Self.state(of: home), home.value.key == key)
    }

    /// The lines in which most of the others stand.
    @inline(__always)
    func prefetchFurther(_ hash: UInt64) {
        unsafe apus_prefetch(entries.advanced(by: line(hash, 1)).raw)
        unsafe apus_prefetch(entries.advanced(by: line(hash, 2)).raw)
    }

    /// The same as `flow`, if it does not stand in its first line.
    @inline(never)
    func flowFurther(_ hash: UInt64, _ key: Key) -> Ref<FlowState>? {
        flow(among: Self.group(hash.int & mask), key) ?? flow(among: Self.group((hash &>> 32).int & mask), key)
    }

    @inline(__always)
    private func flow(among first: Int, _ key: Key) -> Ref<FlowState>? {
        var entry = entries.advanced(by: first)
        let end = entry.advanced(by: 4)
        while entry.address != end.address {
            if entry.value.key == key { return Self.state(of: entry) }
            entry = entry.advanced(by: 1)
        }
        return nil
    }

    /// Four neighbours.
    @inline(__always)
    private static func group(_ index: Int) -> Int { index & ~3 }

    /// There is no flow any more. No packet has a key of port 0.
    @inline(__always)
    func clear(_ index: Int) {
        entries[index].key.link = SIMD4(repeating: 0)
        entries[index].state.result = 0
    }

    /// Where a flow stands.
    @inline(__always)
    func index(of flow: Ref<FlowState>) -> Int {
        Int(bitPattern: (flow.address &- entries.address) / UInt(bitPattern: MemoryLayout<FlowEntry<Key>>.stride))
    }

    /// What `place` decided.
    enum Placement {
        /// A free entry.
        case free(Int)
        /// Its present flow has to be forgotten first; it was stale.
        case stale(Int)
        /// The same; it was alive.
        case evict(Int)
        case suppressed
    }

    /// Where a new flow of tenant `scope` goes. `look` says of the flow in an entry which tenant's it is, nil if it is stale.
    @_optimize(speed)
    func place(_ hash: UInt64, scope: UInt32, look: (Ref<FlowState>) -> UInt32?) -> Placement {
        var number = 0
        while number < Self.ways {
            if state(line(hash, number)).value.isFree { return .free(line(hash, number)) }
            number &+= 1
        }
        // Half of them, from a line on that differs from flow to flow, so that equals are displaced evenly.
        var victim = 0
        var largest: UInt32?
        number = 0
        while number < Self.ways / 2 {
            let index = line(hash, (number &+ (hash &>> 60).int) & 7)
            guard let owner = look(state(index)) else { return .stale(index) }
            let size = share(owner)
            if size > largest ?? 0 || largest == nil { (victim, largest) = (index, size) }
            number &+= 1
        }
        // A newcomer whose tenant already holds more than any of these is not remembered.
        return largest ?? 0 >= share(scope) ? .evict(victim) : .suppressed
    }

    @_optimize(speed)
    private func share(_ scope: UInt32) -> UInt32 { shares[Self.bucket(scope)] }
    @_optimize(speed)
    private static func bucket(_ scope: UInt32) -> Int { scope.int & (shareCount &- 1) }

    @_optimize(speed)
    func gained(_ scope: UInt32) { shares[Self.bucket(scope)] &+= 1 }
    @_optimize(speed)
    func lost(_ scope: UInt32) { shares[Self.bucket(scope)] &-= 1 }
}
