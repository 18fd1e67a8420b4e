// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics
import Synchronization

/// What a ``VersionedTable`` stores: a plain value that knows the hashes it is found by.
protocol Versionable: BitwiseCopyable {
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64
    /// 0 when the kind has one index only.
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64
    static var hasSecondaryIndex: Bool { get }

    // A kind may have a third index, in which many entries have the same key; see ``ChainIndex``.

    static var hasChain: Bool { get }
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64
    func isInChain(of other: Self) -> Bool
    /// Does this one stay before `newcomer`, which has the same key?
    func precedes(_ newcomer: Self) -> Bool
}

extension Versionable {
    static var hasChain: Bool { false }
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }
    func isInChain(of other: Self) -> Bool { false }
    func precedes(_ newcomer: Self) -> Bool { false }
}

/// A table whose entries carry the policy versions between which they exist.
///
/// A change never modifies an entry that workers can see: the old entry gets a *death* version and a new one a *birth*
/// version, both the next version to be published. Workers read the version once per burst and skip what does not
/// exist in it. So any number of changes, in any number of tables, becomes visible with one store of the version
/// number, or is forgotten without anybody having seen it.
///
/// One writer, lock-free readers. An entry's life: `insert` → (`kill` → `unlink`, after a grace period → `recycle`, after
/// another one).
struct VersionedTable<Value: Versionable>: BitwiseCopyable {
    struct Node: ~Copyable {
        /// First version in which the entry exists; in a free entry the next free one + 1.
        let birth: Atomic<UInt64>
        /// First version in which it does not exist any more.
        let death: Atomic<UInt64>
        var value: Value
    }

    private struct State {
        var firstFree: UInt32  // number + 1, 0 = none
    }

    private let state: Ref<State>
    private let nodes: Slab<Node>
    private let primary: IndexTable
    private let secondary: IndexTable
    private let chains: ChainIndex?
    private let key: Ref<apus_hash_key>

    init?(_ memory: Ref<Memory>, key: Ref<apus_hash_key>, capacity: Int = 0) {
        guard let state = memory.value.allocateZeroed(State.self, count: 1) else { return nil }
        guard let nodes = Slab<Node>(memory) else {
            memory.value.release(state, count: 1)
            return nil
        }
        guard let primary = IndexTable(memory, capacity: capacity) else {
            nodes.destroy(memory)
            memory.value.release(state, count: 1)
            return nil
        }
        // A kind with one index shares the handle: it is never used, and never destroyed twice.
        guard let secondary = Value.hasSecondaryIndex ? IndexTable(memory, capacity: capacity) : primary else {
            primary.destroy(memory)
            nodes.destroy(memory)
            memory.value.release(state, count: 1)
            return nil
        }
        var chains: ChainIndex?
        if Value.hasChain {
            chains = ChainIndex(memory, capacity: capacity)
            if chains == nil {
                if Value.hasSecondaryIndex { secondary.destroy(memory) }
                primary.destroy(memory)
                nodes.destroy(memory)
                memory.value.release(state, count: 1)
                return nil
            }
        }
        self.state = state
        self.nodes = nodes
        self.primary = primary
        self.secondary = secondary
        self.chains = chains
        self.key = key
    }

    func destroy(_ memory: Ref<Memory>) {
        chains?.destroy(memory)
        if Value.hasSecondaryIndex { secondary.destroy(memory) }
        primary.destroy(memory)
        nodes.destroy(memory)
        memory.value.release(state, count: 1)
    }

    /// Entries in the index, of all versions.
    var count: Int { primary.count }

    /// Numbers that may be in use: 0 ..< numbers. For iteration.
    var numbers: UInt32 { nodes.count.u32 }

    @inline(__always)
    subscript(number: UInt32) -> Value {
        unsafeAddress { unsafe UnsafePointer(place(of: number).pointer) }
        nonmutating unsafeMutableAddress { unsafe place(of: number).pointer }
    }

    /// The same, for what is too large to be passed by value.
    @inline(__always)
    func place(of number: UInt32) -> Ref<Value> {
        unsafe Ref((nodes[number].raw + 16).assumingMemoryBound(to: Value.self))
    }

    @inline(__always)
    func exists(_ number: UInt32, at version: UInt64) -> Bool {
        let node = nodes[number]
        return node.value.birth.load(ordering: .relaxed) <= version
            && version < node.value.death.load(ordering: .relaxed)
    }

    /// The entry of this version with this primary hash for which `matches` is true. That is asked of entries of other versions
    /// too, and does nothing but compare.
    @inline(__always)
    func find(_ hash: UInt64, at version: UInt64, _ matches: (UInt32) -> Bool) -> UInt32? {
        primary.find(hash) { matches($0) && exists($0, at: version) }
    }

    /// The same by secondary hash.
    @inline(__always)
    func findSecondary(_ hash: UInt64, at version: UInt64, _ matches: (UInt32) -> Bool) -> UInt32? {
        secondary.find(hash) { matches($0) && exists($0, at: version) }
    }

    /// What `find` looks at is far away.
    var isLarge: Bool { primary.isLarge }

    /// Ask for what `find` will look at first: its place in the index, and when that is there the entry. That one's number is what
    /// `find` will return if it has the key, and exists; `none` if there is none.
    @inline(__always)
    func prefetchIndex(_ hash: UInt64) { primary.prefetch(hash) }
    @inline(__always)
    func prefetchEntry(_ hash: UInt64) -> UInt32 {
        guard let number = primary.find(hash, { _ in true }) else { return none }
        unsafe apus_prefetch(nodes[number].raw)
        return number
    }

    /// All entries of this version with this primary hash; `body` looks whether they have the key.
    @inline(__always)
    func visit(_ hash: UInt64, at version: UInt64, _ body: (UInt32) -> Void) { visit(hash, in: primary, at: version, body) }

    /// The same by secondary hash.
    @inline(__always)
    func visitSecondary(_ hash: UInt64, at version: UInt64, _ body: (UInt32) -> Void) {
        visit(hash, in: secondary, at: version, body)
    }

    @inline(__always)
    private func visit(_ hash: UInt64, in index: IndexTable, at version: UInt64, _ body: (UInt32) -> Void) {
        _ = index.find(hash) {
            if exists($0, at: version) { body($0) }
            return false
        }
    }

    /// The first entry of this version in a chain for which `matches` is true; `hasKey` says whether an entry is in the chain
    /// that is meant.
    @inline(__always)
    func findInChain(
        _ hash: UInt64, at version: UInt64, _ hasKey: (UInt32) -> Bool, _ matches: (UInt32) -> Bool
    ) -> UInt32? {
        guard let chains else { return nil }
        return chains.find(hash, hasKey) { exists($0, at: version) && matches($0) }
    }

    // MARK: - Writer

    /// Ask for the places in the indexes of an entry that may be added.
    @inline(__always)
    func prefetchForInsertion(_ primaryHash: UInt64, chain chainHash: UInt64) {
        primary.prefetchForInsertion(primaryHash)
        chains?.prefetchForInsertion(chainHash)
    }

    /// Add an entry that exists from `version` on. nil: no memory; nothing changed.
    func insert(_ memory: Ref<Memory>, _ value: Value, from version: UInt64) -> UInt32? {
        guard primary.reserve(memory), !Value.hasSecondaryIndex || secondary.reserve(memory) else { return nil }
        let isReused = state.value.firstFree != 0
        let number = isReused ? state.value.firstFree &- 1 : numbers
        if let chains, !chains.reserve(memory, number) { return nil }
        if isReused {
            state.value.firstFree = nodes[number].value.birth.load(ordering: .relaxed).u32
        } else if nodes.append(memory) == nil {
            return nil
        }
        nodes[number].initialize(to: Node(birth: Atomic(version), death: Atomic(.max), value: value))
        primary.insert(value.primaryHash(key), number)
        if Value.hasSecondaryIndex { secondary.insert(value.secondaryHash(key), number) }
        chains?.insert(value.chainHash(key), number, { self[$0].isInChain(of: value) }, { self[$0].precedes(value) })
        return number
    }

    /// The entry does not exist any more from `version` on.
    @inline(never)
    @_optimize(speed)
    func kill(_ number: UInt32, at version: UInt64) {
        nodes[number].value.death.store(version, ordering: .relaxed)
    }

    /// Undo `kill`.
    @inline(never)
    func revive(_ number: UInt32) {
        nodes[number].value.death.store(.max, ordering: .relaxed)
    }

    /// Take an entry that no worker can need any more out of the indexes.
    @inline(never)
    @_optimize(speed)
    func unlink(_ number: UInt32) {
        let value = self[number]
        nodes[number].value.death.store(0, ordering: .relaxed)
        primary.remove(value.primaryHash(key), number)
        if Value.hasSecondaryIndex { secondary.remove(value.secondaryHash(key), number) }
        chains?.remove(value.chainHash(key), number)
    }

    /// Make the number of an unlinked entry, which no worker can be looking at any more, available again.
    @inline(never)
    @_optimize(speed)
    func recycle(_ number: UInt32) {
        nodes[number].value.birth.store(state.value.firstFree.u64, ordering: .relaxed)
        state.value.firstFree = number &+ 1
    }
}
