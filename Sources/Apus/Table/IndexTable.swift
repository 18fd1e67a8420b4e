// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Synchronization

/// An open-addressing hash index: hash → node number. It knows nothing of keys; the caller compares them.
///
/// One writer, any number of lock-free readers. A slot is one 64-bit word, `tag << 32 | node + 1`, where the tag is
/// the upper half of the hash; 0 is empty, all-ones a removed entry. An entry never moves inside an array, so a reader
/// cannot miss one that is there for the whole of its search. Growing builds a second array and publishes it with one
/// store; readers that are in the first one finish there, and it is released after a grace period.
///
/// **Complexity**: find and insert O(1) expected; at most three quarters of the slots are in use, so a search ends.
struct IndexTable: BitwiseCopyable {
    private struct State: ~Copyable {
        /// Slots that are not empty: entries and removed entries. First, because a change of any of the writer's
        /// fields is to the thread sanitizer a change at this address, which no reader may look at.
        var used = 0
        /// Address of the published array.
        let array = Atomic<UInt>(0)
        /// Entries.
        var count = 0
    }

    /// What precedes the slots of an array.
    private struct Header {
        /// Of ``Memory``, when the array is retired.
        let reserved: (UInt, UInt) = (0, 0)
        let mask: UInt64
    }

    private let state: Ref<State>

    private static var removed: UInt64 { .max }

    init?(_ memory: Ref<Memory>, capacity: Int) {
        guard let state = memory.value.allocate(State.self, count: 1) else { return nil }
        state.initialize(to: State())
        self.state = state
        guard rebuild(memory, slots: max(64, capacity &* 2).roundedUpToPowerOfTwo) else {
            memory.value.release(state, count: 1)
            return nil
        }
    }

    func destroy(_ memory: Ref<Memory>) {
        if let header = Ref<Header>(address: state.value.array.load(ordering: .relaxed)) {
            memory.value.release(Self.words(header), count: Self.words(header.value.mask.int &+ 1))
        }
        memory.value.release(state, count: 1)
    }

    var count: Int { state.value.count }

    /// The first entry with this hash that `matches`, or nil. Any thread.
    @inline(__always)
    func find(_ hash: UInt64, _ matches: (UInt32) -> Bool) -> UInt32? {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .acquiring)) else { return nil }
        let slots = Self.slots(header)
        let mask = header.value.mask
        let tag = hash &>> 32
        var position = hash & mask
        while true {
            let word = slots[position.int].load(ordering: .acquiring)
            if word == 0 { return nil }
            if word &>> 32 == tag, word != Self.removed {
                let node = word.u32 &- 1
                if matches(node) { return node }
            }
            position = (position &+ 1) & mask
        }
    }

    /// The caches have no room for it. Any thread.
    var isLarge: Bool {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .acquiring)) else { return false }
        return header.value.mask >= 1 &<< 17
    }

    /// Ask for where `find` will begin. Any thread.
    @inline(__always)
    func prefetch(_ hash: UInt64) {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .acquiring)) else { return }
        unsafe apus_prefetch(Self.slots(header).advanced(by: (hash & header.value.mask).int).raw)
    }

    /// Ask for where `find` will begin, and for what `insert` will write. Writer only.
    @inline(__always)
    func prefetchForInsertion(_ hash: UInt64) {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .relaxed)) else { return }
        let position = (hash & header.value.mask).int
        unsafe apus_prefetch(Self.slots(header).advanced(by: position).raw)
        unsafe apus_prefetch(Self.lows(header).advanced(by: position).raw)
    }

    /// Make room for one more entry. Writer only. Returns false when there is no memory.
    @inline(never)
    @_optimize(speed)
    func reserve(_ memory: Ref<Memory>) -> Bool {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .relaxed)) else { return false }
        let slots = header.value.mask.int &+ 1
        if (state.value.used &+ 1) &* 4 <= slots &* 3 { return true }
        // Many removed entries: clean up at the same size. Otherwise grow.
        return rebuild(memory, slots: state.value.count &* 2 >= slots ? slots &* 2 : slots)
    }

    /// Add an entry; `reserve` has been called. Writer only.
    @inline(never)
    @_optimize(speed)
    func insert(_ hash: UInt64, _ node: UInt32) {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .relaxed)) else { return }
        let taken = Self.place(header, hash, node, reuse: true)
        state.value.used &+= taken ? 1 : 0
        state.value.count &+= 1
    }

    /// Remove the entry (hash, node). Writer only.
    @inline(never)
    @_optimize(speed)
    func remove(_ hash: UInt64, _ node: UInt32) {
        if put(Self.removed, over: hash, node) { state.value.count &-= 1 }
    }

    /// Another node stands where (hash, node) stood. Writer only.
    func replace(_ hash: UInt64, _ node: UInt32, with other: UInt32) {
        _ = put((hash &>> 32) &<< 32 | (other &+ 1).u64, over: hash, node)
    }

    private func put(_ replacement: UInt64, over hash: UInt64, _ node: UInt32) -> Bool {
        guard let header = Ref<Header>(address: state.value.array.load(ordering: .relaxed)) else { return false }
        let slots = Self.slots(header)
        let wanted = (hash &>> 32) &<< 32 | (node &+ 1).u64
        var position = hash & header.value.mask
        while true {
            let word = slots[position.int].load(ordering: .relaxed)
            if word == 0 { return false }
            if word == wanted {
                slots[position.int].store(replacement, ordering: .releasing)
                return true
            }
            position = (position &+ 1) & header.value.mask
        }
    }

    // The full hash of an entry is not stored: its low half is needed to place it again, so the array keeps it beside
    // the slots, for the writer only.
    private func rebuild(_ memory: Ref<Memory>, slots count: Int) -> Bool {
        let words = Self.words(count)
        guard let block = memory.value.allocateZeroed(UInt.self, count: words, alignment: 64) else { return false }
        guard let header = Ref<Header>(address: block.address) else { return false }
        header.initialize(to: Header(mask: (count &- 1).u64))
        if let old = Ref<Header>(address: state.value.array.load(ordering: .relaxed)) {
            let slots = Self.slots(old)
            let lows = Self.lows(old)
            var position = 0
            while position <= old.value.mask.int {
                let word = slots[position].load(ordering: .relaxed)
                if word != 0 && word != Self.removed {
                    _ = Self.place(header, (word &>> 32) &<< 32 | lows[position].u64, word.u32 &- 1, reuse: false)
                }
                position &+= 1
            }
            memory.value.retire(Self.words(old), count: Self.words(old.value.mask.int &+ 1))
        }
        state.value.used = state.value.count
        state.value.array.store(block.address, ordering: .releasing)
        return true
    }

    /// Returns true when an empty slot was taken, false when a removed one was reused.
    private static func place(_ header: Ref<Header>, _ hash: UInt64, _ node: UInt32, reuse: Bool) -> Bool {
        let slots = slots(header)
        let word = (hash &>> 32) &<< 32 | (node &+ 1).u64
        var position = hash & header.value.mask
        while true {
            let present = slots[position.int].load(ordering: .relaxed)
            if present == 0 || (reuse && present == removed) {
                lows(header)[position.int] = hash.u32
                slots[position.int].store(word, ordering: .releasing)
                return present == 0
            }
            position = (position &+ 1) & header.value.mask
        }
    }

    // Layout of an array, in 64-bit words: 8 of header (one cache line), `count` slots, `count` halves of low hashes.
    private static func words(_ count: Int) -> Int { 8 &+ count &+ count / 2 }

    private static func words(_ header: Ref<Header>) -> Ref<UInt> {
        unsafe Ref(header.raw.assumingMemoryBound(to: UInt.self))
    }

    @inline(__always)
    private static func slots(_ header: Ref<Header>) -> Ref<Atomic<UInt64>> {
        unsafe Ref((header.raw + 64).assumingMemoryBound(to: Atomic<UInt64>.self))
    }

    private static func lows(_ header: Ref<Header>) -> Ref<UInt32> {
        unsafe Ref((header.raw + (64 &+ 8 &* (header.value.mask.int &+ 1))).assumingMemoryBound(to: UInt32.self))
    }
}
