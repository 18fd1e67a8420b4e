// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// What is known of a flow besides its key.
struct FlowState {
    /// Low 32 bits of the policy version under which it was decided; see ``Scopes``.
    var stamp: UInt32
    /// FlowID in the upper 8 bits, in the lower 24 where the ``Transposition`` is: see ``TranspositionTable/offset(of:)``, which is never
    /// 0. 0 = the entry is free.
    var result: UInt32
    /// Packets in the lower 56 bits.
    private var packetsAndDisplaced: UInt64
    private(set) var bytes: UInt64

    /// The first packet has been seen.
    init(stamp: UInt32, result: UInt32, bytes: UInt32) {
        (self.stamp, self.result, packetsAndDisplaced, self.bytes) = (stamp, result, 1, bytes.u64)
    }

    @inline(__always) var isFree: Bool { result == 0 }
    @inline(__always) var transposition: UInt32 { result & 0xFF_FFFF }
    @inline(__always) var flowID: UInt8 { (result &>> 24).u8 }
    var packets: UInt64 { packetsAndDisplaced & 0xFF_FFFF_FFFF_FFFF }

    @inline(__always) mutating func countPacket() { packetsAndDisplaced &+= 1 }
    @inline(__always) mutating func countBytes(_ length: UInt32) { bytes &+= length.u64 }

    /// Not of the flow but of the line, whichever flow stands there or none: where flows stand that have it as their first.
    /// Bits 0-2: in the first, second, third neighbour; above them how many in their other lines, 31 = perhaps more.
    @inline(__always)
    var displaced: UInt8 {
        get { (packetsAndDisplaced &>> 56).u8 }
        set { packetsAndDisplaced = packets | newValue.u64 &<< 56 }
    }
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
/// line, and that knows which of the others to look at: usually none, or one.
///
/// When all eight are taken, four of them are looked at. A stale entry goes first. Otherwise tenants (scopes) compete by
/// their share of the whole cache: an entry of the tenant that holds most makes room, unless the newcomer's own tenant
/// holds more: then the newcomer is not remembered. So a tenant that sends only new flows displaces its own, not those of
/// the others.
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

    /// The first line of a flow, which is on its way then.
    @inline(__always)
    func fetch(_ hash: UInt64) -> Ref<FlowState> {
        let entry = entries.advanced(by: hash.int & mask)
        Self.fetch(entry)
        return Self.state(of: entry)
    }

    @inline(__always)
    private static func fetch(_ entry: Ref<FlowEntry<Key>>) {
        unsafe apus_prefetch(entry.raw)
        if MemoryLayout<FlowEntry<Key>>.stride > 64 { unsafe apus_prefetch(entry.raw + 64) }
    }

    @inline(__always)
    func state(_ index: Int) -> Ref<FlowState> { Self.state(of: entries.advanced(by: index)) }

    /// It follows the key.
    @inline(__always)
    static func state(of entry: Ref<FlowEntry<Key>>) -> Ref<FlowState> {
        unsafe Ref((entry.raw + MemoryLayout<Key>.size).assumingMemoryBound(to: FlowState.self))
    }

    /// The lines of a flow, best first: `number` in 0 ..< 8.
    @inline(__always)
    private func line(_ hash: UInt64, _ number: Int) -> Int {
        let home = number < 4 ? hash : hash &>> 32
        return (home.int & mask) ^ (number & 3)
    }

    /// It precedes the state.
    @inline(__always)
    static func key(of flow: Ref<FlowState>) -> Key {
        unsafe (flow.raw - MemoryLayout<Key>.size).assumingMemoryBound(to: Key.self).pointee
    }

    /// What is known of the flow with this key, or nil.
    @inline(__always)
    func flow(_ hash: UInt64, _ key: Key) -> Ref<FlowState>? {
        let home = state(hash.int & mask)
        return Self.key(of: home) == key ? home : flowElsewhere(hash, key)
    }

    /// The neighbour of its first line in which a flow is most likely to stand if not there; it is on its way then, and so is
    /// the one in which it stands if there are two. Without a branch.
    @inline(__always)
    func fetchNeighbor(_ hash: UInt64) -> Ref<FlowState> {
        let home = hash.int & mask
        let displaced = (state(home).value.displaced & 7).u32
        let neighbor = entries.advanced(by: home ^ ((displaced | 8).trailingZeroBitCount &+ 1) & 3)
        Self.fetch(neighbor)
        Self.fetch(entries.advanced(by: home ^ (32 &- displaced.leadingZeroBitCount)))
        return Self.state(of: neighbor)
    }

    /// If a flow that stands in neither may stand elsewhere, those lines are on their way, too.
    @inline(__always)
    func fetchFarLines(_ hash: UInt64) {
        if state(hash.int & mask).value.displaced < 8 { return }
        // The other half of the hash points to one of four that are side by side.
        let first = entries.advanced(by: (hash &>> 32).int & mask & ~3)
        Self.fetch(first)
        Self.fetch(first.advanced(by: 1))
        Self.fetch(first.advanced(by: 2))
        Self.fetch(first.advanced(by: 3))
    }

    /// The same as `flow`, in any line but the first.
    @inline(never)
    func flowElsewhere(_ hash: UInt64, _ key: Key) -> Ref<FlowState>? {
        let displaced = state(hash.int & mask).value.displaced
        // A bit for each line but the first.
        var lines = displaced.u32 & 7 | (displaced >= 8 ? 0x78 : 0)
        while lines != 0 {
            let entry = entries.advanced(by: line(hash, lines.trailingZeroBitCount &+ 1))
            if entry.value.key == key { return Self.state(of: entry) }
            lines &= lines &- 1
        }
        return nil
    }

    /// A new flow stands in this line.
    func put(_ key: Key, _ hash: UInt64, at index: Int, _ state: FlowState) {
        let displaced = self.state(index).value.displaced
        entries[index] = FlowEntry(key: key, state: state)
        self.state(index).value.displaced = displaced
        note(hash, at: index, isThere: true)
    }

    /// There is no flow any more. No packet has a key of port 0.
    func clear(_ index: Int, _ hash: UInt64) {
        note(hash, at: index, isThere: false)
        entries[index].key.link = SIMD4(repeating: 0)
        entries[index].state.result = 0
    }

    /// Let the first line of a flow know where it stands.
    private func note(_ hash: UInt64, at index: Int, isThere: Bool) {
        let home = hash.int & mask
        if index == home { return }
        let displaced = state(home).value.displaced
        let neighbor = index ^ home
        if neighbor < 4 {
            let bit = UInt8(1) &<< (neighbor &- 1).u8
            state(home).value.displaced = isThere ? displaced | bit : displaced & ~bit
        } else if displaced < 31 &<< 3 {
            state(home).value.displaced = isThere ? displaced &+ 8 : displaced &- 8
        }
    }

    /// Where a flow stands.
    @inline(__always)
    func index(of flow: Ref<FlowState>) -> Int {
        unsafe Ref<FlowEntry<Key>>((flow.raw - MemoryLayout<Key>.size).assumingMemoryBound(to: FlowEntry<Key>.self)).index(in: entries)
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
