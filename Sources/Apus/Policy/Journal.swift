// SPDX-License-Identifier: Apache-2.0

/// One step that a change made, so that it can be finished or undone.
struct JournalEntry {
    enum Kind: UInt8 {
        /// The entry was added. Undo: unlink it.
        case inserted
        /// The entry got its death version. Finish: unlink it. Undo: revive it.
        case killed
        /// `references` of the entry grew, or shrank. Undo: the opposite. Nothing to finish.
        case referenced
        case dereferenced
        /// The same for `bindings`.
        case bound
        case unbound
        /// A scope changed. Finish: stamp it.
        case touched
    }

    enum Table: UInt8 {
        case ports, members, records, routes, gateways, subnets, remotes, addresses, providerRoutes, neighbors, peers, rewrites
        case subnetOptions
        /// For `touched`: `number` is a scope, or `none` for everything.
        case scopes
        /// For `touched`: `number` is that of a customer address (``Scopes``), or a scope in which records changed.
        case recordAddresses, recordScopes
    }

    var kind: Kind
    var table: Table
    var number: UInt32

    /// An entry was added or killed.
    var isOfEntry: Bool { kind.rawValue <= Kind.killed.rawValue }
}

/// A growable list of journal entries: what a transaction did, and what waits to be recycled.
///
/// Room is reserved before a change begins, so that writing down a step cannot fail half way.
struct Journal {
    private var entries: Ref<JournalEntry>?
    private var capacity = 0
    private(set) var count = 0

    /// More than a single change writes down, unless it says so.
    static var stepsPerChange: Int { 64 }

    /// Make room for `additional` entries. Returns false when there is no memory; nothing changed then.
    @inline(__always)
    mutating func reserve(_ memory: Ref<Memory>, _ additional: Int) -> Bool {
        count &+ additional <= capacity || grow(memory, additional)
    }

    @inline(never)
    private mutating func grow(_ memory: Ref<Memory>, _ additional: Int) -> Bool {
        let larger = max(256, (count &+ additional).roundedUpToPowerOfTwo)
        guard let grown = memory.value.allocate(JournalEntry.self, count: larger) else { return false }
        if let old = entries {
            var i = 0
            while i < count {
                grown[i] = old[i]
                i &+= 1
            }
            memory.value.release(old, count: capacity)
        }
        entries = grown
        capacity = larger
        return true
    }

    @inline(never)
    mutating func append(_ entry: JournalEntry) {
        guard let entries, count < capacity else { return }
        entries[count] = entry
        count &+= 1
    }

    subscript(index: Int) -> JournalEntry {
        guard let entries else { return JournalEntry(kind: .touched, table: .scopes, number: none) }
        return entries[index]
    }

    mutating func truncate(to count: Int) { self.count = count }

    /// Give back what only a very large transaction needed.
    mutating func shrink(_ memory: Ref<Memory>) {
        if count == 0, capacity > 4096 { destroy(memory) }
    }

    /// Forget the first `done` entries, keep the others.
    mutating func removeFirst(_ done: Int) {
        guard let entries, done > 0 else { return }
        var i = done
        while i < count {
            entries[i &- done] = entries[i]
            i &+= 1
        }
        count &-= done
    }

    mutating func destroy(_ memory: Ref<Memory>) {
        if let entries { memory.value.release(entries, count: capacity) }
        entries = nil
        capacity = 0
        count = 0
    }
}
