// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// An index in which many entries may have the same key: hash → a list of node numbers.
///
/// An ``IndexTable`` keeps equal hashes one behind the other, so n of them cost n² to add, and whoever searches past them
/// pays too. Here the first entry of a key stands in the index and the others behind it in a doubly linked list: adding
/// and removing one costs the same however many there are, and the order within a key is the writer's choice.
///
/// One writer, lock-free readers. A removed entry keeps its link until its number is given again, so a reader that
/// stands on it finds its way out; numbers are given again only after a grace period.
struct ChainIndex: BitwiseCopyable {
    private struct Link: ~Copyable {
        /// Node number + 1, 0 = the last.
        let next: Atomic<UInt32>
        /// Writer only; 0 = the first.
        var previous: UInt32
    }

    private let heads: IndexTable
    /// By node number.
    private let links: Slab<Link>

    init?(_ memory: Ref<Memory>, capacity: Int) {
        guard let heads = IndexTable(memory, capacity: capacity) else { return nil }
        guard let links = Slab<Link>(memory) else {
            heads.destroy(memory)
            return nil
        }
        self.heads = heads
        self.links = links
    }

    func destroy(_ memory: Ref<Memory>) {
        links.destroy(memory)
        heads.destroy(memory)
    }

    /// The first entry of the key, in order, that `matches`; `hasKey` compares the key of one entry. Any thread.
    @inline(__always)
    func find(_ hash: UInt64, _ hasKey: (UInt32) -> Bool, _ matches: (UInt32) -> Bool) -> UInt32? {
        guard let head = heads.find(hash, hasKey) else { return nil }
        var number = head
        while true {
            if matches(number) { return number }
            let link = links[number].value.next.load(ordering: .acquiring)
            if link == 0 { return nil }
            number = link &- 1
        }
    }

    /// Ask for what `insert` will look at and write first. Writer only.
    @inline(__always)
    func prefetchForInsertion(_ hash: UInt64) { heads.prefetchForInsertion(hash) }

    /// Make room for one more entry, which will be `number`. Writer only. Returns false when there is no memory.
    func reserve(_ memory: Ref<Memory>, _ number: UInt32) -> Bool {
        while links.count <= number.int {
            if links.append(memory) == nil { return false }
        }
        return heads.reserve(memory)
    }

    /// Add an entry; `reserve` has been called. It goes before the first entry of its key that does not `precede` it. Writer
    /// only.
    @_optimize(speed)
    func insert(_ hash: UInt64, _ number: UInt32, _ hasKey: (UInt32) -> Bool, _ precedes: (UInt32) -> Bool) {
        guard let head = heads.find(hash, hasKey) else {
            links[number].initialize(to: Link(next: Atomic(0), previous: 0))
            return heads.insert(hash, number)
        }
        var previous: UInt32 = 0
        var link = head &+ 1
        while link != 0, precedes(link &- 1) {
            previous = link
            link = links[link &- 1].value.next.load(ordering: .relaxed)
        }
        links[number].initialize(to: Link(next: Atomic(link), previous: previous))
        if link != 0 { links[link &- 1].value.previous = number &+ 1 }
        if previous == 0 {
            heads.replace(hash, head, with: number)
        } else {
            links[previous &- 1].value.next.store(number &+ 1, ordering: .releasing)
        }
    }

    /// Writer only.
    @_optimize(speed)
    func remove(_ hash: UInt64, _ number: UInt32) {
        let next = links[number].value.next.load(ordering: .relaxed)
        let previous = links[number].value.previous
        if next != 0 { links[next &- 1].value.previous = previous }
        if previous != 0 {
            links[previous &- 1].value.next.store(next, ordering: .releasing)
        } else if next != 0 {
            heads.replace(hash, number, with: next &- 1)
        } else {
            heads.remove(hash, number)
        }
    }
}
