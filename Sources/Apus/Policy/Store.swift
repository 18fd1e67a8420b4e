// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Synchronization

/// The writer's side of the policy: changes the tables, one transaction at a time.
///
/// Every public change has the form `change { … }`: room is reserved, the steps are made and written to the journal,
/// a failure undoes them. Outside a transaction the change is then published by itself.
@safe
struct Store: ~Copyable {
    /// As in a ``Worker``: what contains an atomic is passed on by its address. Without it each call of a function that does not
    /// change the store copies all of it, some 950 bytes.
    private let anchor = Atomic<UInt8>(0)

    let memory: Ref<Memory>
    let tables: Tables
    let grace: Grace
    private var journal = Journal()
    /// Steps in the journal after which an entry has to wait for workers, whether they are published or undone: it was added or killed.
    private var waitingSteps = 0
    /// Dead entries that are still in the indexes: a worker may stand in a burst of a version in which they live.
    private var retired = Journal()
    /// Entries that are out of the indexes: a worker may still hold their numbers.
    private var limbo = Journal()
    private var isOpen = false
    /// Free ``RecordTexts``, ``NeighborCell``s and ``AddressCell``s: number + 1.
    var firstFreeTexts: UInt32 = 0
    var firstFreeCell: UInt32 = 0
    var firstFreeAddressCell: UInt32 = 0
    /// Published, but a worker was still in an old burst when we stopped waiting.
    private var isUnsettled = false
    /// The low half of the version has started over, and workers may be in the old era.
    private var isNewEra = false
    private var wait: (call: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?, context: UnsafeMutableRawPointer?)

    init(
        memory: Ref<Memory>, tables: Tables, grace: Grace,
        wait: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?, waitContext: UnsafeMutableRawPointer?
    ) {
        self.memory = memory
        self.tables = tables
        self.grace = grace
        unsafe self.wait = (wait, waitContext)
    }

    mutating func destroy() {
        journal.destroy(memory)
        retired.destroy(memory)
        limbo.destroy(memory)
        grace.destroy(memory)
        tables.destroy(memory)
        memory.value.releaseRetired()
    }

    /// The version that changes of now will get: what the writer itself sees.
    var next: UInt64 { tables.shared.value.version.load(ordering: .relaxed) &+ 1 }

    // MARK: - Transactions

    mutating func begin() -> Failure? {
        if isOpen { return Failure(APUS_ERR_TRANSACTION, "transaction", "", .none, "one is open already") }
        isOpen = true
        return nil
    }

    mutating func commit() -> Failure? {
        if !isOpen { return Failure(APUS_ERR_TRANSACTION, "transaction", "", .none, "none is open") }
        isOpen = false
        return publish()
    }

    mutating func abort() -> Failure? {
        if !isOpen { return Failure(APUS_ERR_TRANSACTION, "transaction", "", .none, "none is open") }
        isOpen = false
        undo(to: 0)
        return nil
    }

    mutating func synchronize() -> Failure? { settle() }

    /// Make one change: all of it or, when `body` returns a failure, nothing. What is before and after is not copied into
    /// every caller. `steps`: beyond those that any change may need.
    @inline(__always)
    mutating func change(_ object: Words, steps: Int = 0, _ body: (inout Store) -> Failure?) -> Failure? {
        if !makeRoom(steps &+ Journal.stepsPerChange) { return .memory(object) }
        let mark = journal.count
        return conclude(body(&self), mark)
    }

    @inline(never)
    private mutating func makeRoom(_ own: Int) -> Bool {
        // Numbers of earlier changes become free here, if workers have let go of them; if not, later.
        _ = settle()
        // Whatever this writes down may be retired, and end in limbo together with what waits there already.
        let steps = waitingSteps &+ 2 &* own
        return journal.reserve(memory, own) && retired.reserve(memory, steps)
            && limbo.reserve(memory, retired.count &+ steps)
    }

    @inline(never)
    private mutating func conclude(_ failure: Failure?, _ mark: Int) -> Failure? {
        if let failure {
            undo(to: mark)
            return failure
        }
        return isOpen ? nil : publish()
    }

    @inline(never)
    @_optimize(speed)
    private mutating func publish() -> Failure? {
        if journal.count == 0 { return nil }
        let version = next
        // The low half starts over: workers empty their caches. Until all have, the words say the end of the old era, with which
        // every stamp of the new one is stale. Those of long ago would not: they are as low as new ones.
        if version.u32 == 0 {
            isNewEra = true
            touchAll(version &- 1)
        }
        var hasNewAddresses = false
        var i = 0
        while i < journal.count {
            let entry = journal[i]
            if entry.kind == .touched, !isNewEra { touch(entry, version) }
            if entry.kind == .killed { retired.append(entry) }
            if entry.kind == .inserted, entry.table == .addresses { hasNewAddresses = true }
            i &+= 1
        }
        journal.truncate(to: 0)
        waitingSteps = 0
        tables.shared.value.version.store(version, ordering: .releasing)
        if hasNewAddresses { announceAddresses() }
        isUnsettled = true
        return settle()
    }

    /// Workers look at our addresses with their next burst.
    private func announceAddresses() {
        if tables.shared.value.watchedAddresses.load(ordering: .relaxed) == 0 { return }
        let epoch = tables.shared.value.neighborEpoch.load(ordering: .relaxed)
        tables.shared.value.neighborEpoch.store(epoch &+ 1, ordering: .releasing)
    }

    /// Wait for the workers, then finish what was published: old entries leave the indexes, and those that left before
    /// this grace period are free. Entries of a transaction that was undone wait for nothing but that. A failure when
    /// some worker still applies a policy older than the last one.
    @inline(never)
    private mutating func settle() -> Failure? {
        guard isUnsettled || limbo.count > 0 else { return nil }
        let (call, context) = unsafe wait
        var tries = 0
        // A worker's thread may be out of a CPU for long where there are more threads than CPUs: that is two seconds.
        let settled = grace.wait(patience: unsafe call == nil ? 6000 : 2_000_000) {
            if let call = unsafe call { unsafe call(context) } else { apus_libc_wait(tries) }
            tries &+= 1
        }
        if !settled {
            if !isUnsettled { return nil }
            return Failure(
                APUS_ERR_STALLED, "dataplane", "", .none,
                "the change is published, but a worker did not leave its burst; call apus_dataplane_synchronize()")
        }
        isUnsettled = false
        if isNewEra {
            isNewEra = false
            touchAll(tables.shared.value.version.load(ordering: .relaxed))
        }
        let recyclable = limbo.count
        var i = 0
        while i < retired.count {
            unlink(retired[i])
            i &+= 1
        }
        retired.truncate(to: 0)
        i = 0
        while i < recyclable {
            recycle(limbo[i])
            i &+= 1
        }
        limbo.removeFirst(recyclable)
        if journal.count == 0 {
            journal.shrink(memory)
            retired.shrink(memory)
            limbo.shrink(memory)
        }
        memory.value.releaseRetired()
        return nil
    }

    private mutating func undo(to mark: Int) {
        var i = journal.count
        while i > mark {
            i &-= 1
            let entry = journal[i]
            if entry.isOfEntry { waitingSteps &-= 1 }
            switch entry.kind {
            case .inserted: unlink(entry)
            case .killed: revive(entry)
            case .referenced: adjustReferences(entry, -1)
            case .dereferenced: adjustReferences(entry, 1)
            case .bound: tables.subnets[entry.number].bindings &-= 1
            case .unbound: tables.subnets[entry.number].bindings &+= 1
            case .touched: break
            }
        }
        journal.truncate(to: mark)
    }

    // MARK: - Steps

    @inline(never)
    mutating func log(_ kind: JournalEntry.Kind, _ table: JournalEntry.Table, _ number: UInt32) {
        let entry = JournalEntry(kind: kind, table: table, number: number)
        if entry.isOfEntry { waitingSteps &+= 1 }
        journal.append(entry)
    }

    /// What was decided within this scope has to be decided again.
    mutating func invalidate(scope: UInt32) { log(.touched, .scopes, scope) }

    /// What was decided anywhere has to be decided again.
    mutating func invalidateEverything() { log(.touched, .scopes, none) }

    @_optimize(speed)
    mutating func insert<Value>(
        _ value: Value, _ table: JournalEntry.Table, _ entries: VersionedTable<Value>
    ) -> UInt32? {
        guard let number = entries.insert(memory, value, from: next) else { return nil }
        log(.inserted, table, number)
        return number
    }

    @inline(never)
    mutating func kill<Value>(_ number: UInt32, _ table: JournalEntry.Table, _ entries: VersionedTable<Value>) {
        entries.kill(number, at: next)
        log(.killed, table, number)
    }

    /// A new version of an entry: the old one dies where the new one is born.
    mutating func replace<Value>(
        _ number: UInt32, with value: Value, _ table: JournalEntry.Table, _ entries: VersionedTable<Value>
    ) -> UInt32? {
        guard let new = insert(value, table, entries) else { return nil }
        kill(number, table, entries)
        return new
    }

    private func touch(_ entry: JournalEntry, _ version: UInt64) {
        switch entry.table {
        case .recordAddresses: tables.scopes.touch(address: entry.number, version)
        case .recordScopes: tables.scopes.touchRecord(in: entry.number, version)
        default:
            if entry.number == none {
                tables.shared.value.floor.store(version.u32, ordering: .relaxed)
            } else {
                tables.scopes.touch(entry.number, version)
            }
        }
    }

    private func touchAll(_ version: UInt64) {
        tables.shared.value.floor.store(version.u32, ordering: .relaxed)
        var scope: UInt32 = 0
        while scope < 65536 {
            tables.scopes.touch(scope, version)
            scope &+= 1
        }
    }

    private func adjustReferences(_ entry: JournalEntry, _ by: Int) {
        let delta = UInt32(truncatingIfNeeded: by)
        switch entry.table {
        case .subnets: tables.subnets[entry.number].references &+= delta
        case .remotes: tables.remotes[entry.number].references &+= delta
        case .neighbors: tables.neighbors[entry.number].references &+= delta
        default: break
        }
    }

    private mutating func unlink(_ entry: JournalEntry) {
        switch entry.table {
        case .ports: tables.ports.unlink(entry.number)
        case .members: tables.members.unlink(entry.number)
        case .records: tables.records.unlink(entry.number)
        case .routes: tables.routes.unlink(entry.number)
        case .gateways: tables.gateways.unlink(entry.number)
        case .subnets: tables.subnets.unlink(entry.number)
        case .remotes: tables.remotes.unlink(entry.number)
        case .addresses: tables.addresses.unlink(entry.number)
        case .providerRoutes: tables.providerRoutes.unlink(entry.number)
        case .neighbors: tables.neighbors.unlink(entry.number)
        case .peers: tables.peers.unlink(entry.number)
        case .rewrites: tables.rewrites.unlink(entry.number)
        case .subnetOptions: tables.subnetOptions.unlink(entry.number)
        case .scopes, .recordAddresses, .recordScopes: break
        }
        limbo.append(entry)
    }

    private func revive(_ entry: JournalEntry) {
        switch entry.table {
        case .ports: tables.ports.revive(entry.number)
        case .members: tables.members.revive(entry.number)
        case .records: tables.records.revive(entry.number)
        case .routes: tables.routes.revive(entry.number)
        case .gateways: tables.gateways.revive(entry.number)
        case .subnets: tables.subnets.revive(entry.number)
        case .remotes: tables.remotes.revive(entry.number)
        case .addresses: tables.addresses.revive(entry.number)
        case .providerRoutes: tables.providerRoutes.revive(entry.number)
        case .neighbors: tables.neighbors.revive(entry.number)
        case .peers: tables.peers.revive(entry.number)
        case .rewrites: tables.rewrites.revive(entry.number)
        case .subnetOptions: tables.subnetOptions.revive(entry.number)
        case .scopes, .recordAddresses, .recordScopes: break
        }
    }

    /// No worker can be looking at the entry any more: its number is free, and so is what only it used.
    private mutating func recycle(_ entry: JournalEntry) {
        let number = entry.number
        switch entry.table {
        case .ports: recyclePort(number)
        case .members: tables.members.recycle(number)
        case .records: recycleRecord(number)
        case .routes: recycleRoute(number)
        case .gateways: tables.gateways.recycle(number)
        case .subnets: tables.subnets.recycle(number)
        case .remotes: tables.remotes.recycle(number)
        case .addresses: recycleAddress(number)
        case .providerRoutes: recycleProviderRoute(number)
        case .neighbors: recycleNeighbor(number)
        case .peers: recyclePeer(number)
        case .rewrites: recycleRewrite(number)
        case .subnetOptions: tables.subnetOptions.recycle(number)
        case .scopes, .recordAddresses, .recordScopes: break
        }
    }
}
