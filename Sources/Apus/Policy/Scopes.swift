// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// When the policy of each tenant last changed: what makes a cached decision stale.
///
/// A flow entry remembers the version under which it was decided. It is valid while neither its scope nor the provider
/// side changed after that. A change in one VM network therefore costs the flows of another nothing.
///
/// A scope is a word of an array: the first half belongs to routing domains, the second to virtual subnets that are
/// bound to none. Two tenants that share a word (more than 32,768 of a kind) only cost each other some extra work.
/// The words hold the low 32 bits of the version; workers empty their caches when the upper half changes.
///
/// Most changes are of one machine's record, and most decisions depend on no other records than those of the packet's two addresses. So a
/// second word says when anything else of a scope changed, and another array when a record of an address did: a decision of that
/// kind which is stale by the first word may be true by the other two. While such changes come so often that no flow is of the newest
/// version, a short form of these arrays answers first: a few words that all scopes share.
struct Scopes: BitwiseCopyable {
    /// Of a scope: anything, and anything but a record of an address; side by side, because both are looked at.
    private let words: Ref<Atomic<UInt32>>
    private let addresses: Ref<Atomic<UInt32>>
    /// The short form: of the addresses whose numbers agree in their upper bits; behind them, of everything else in any scope.
    private let groups: Ref<Atomic<UInt32>>
    private static var half: UInt32 { 32768 }
    /// A scope has 16 bits.
    private static var count: Int { 65536 }
    /// Two addresses that share a word only cost each other some work.
    private static var addressBits: UInt32 { 16 }
    /// Few, so that they stay in the nearest cache.
    private static var groupBits: UInt32 { 10 }
    private static var groupCount: Int { 1 &<< groupBits.int }

    private static var wordCount: Int { 2 &* count &+ 1 &<< addressBits.int &+ groupCount &+ 1 }

    init?(_ memory: Ref<Memory>) {
        guard let words = memory.value.allocateZeroed(Atomic<UInt32>.self, count: Self.wordCount) else { return nil }
        self.words = words
        addresses = words.advanced(by: 2 &* Self.count)
        groups = addresses.advanced(by: 1 &<< Self.addressBits.int)
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(words, count: Self.wordCount) }

    @inline(__always) static func of(domain: UInt32) -> UInt32 { domain & (half &- 1) }
    @inline(__always) static func of(vsid: UInt32, domain: UInt32) -> UInt32 {
        domain == none ? unbound(vsid) : of(domain: domain)
    }
    @inline(__always) static func unbound(_ vsid: UInt32) -> UInt32 { half | vsid & (half &- 1) }

    /// The scope changed with `version`. Stored before the version is published, so that a worker that sees the
    /// version sees this too.
    func touch(_ scope: UInt32, _ version: UInt64) {
        words[2 &* scope.int &+ 1].store(version.u32, ordering: .relaxed)
        groups[Self.groupCount].store(version.u32, ordering: .relaxed)
        touchRecord(in: scope, version)
    }

    /// A record of an address changed, and one in a scope: in any order, before the version is published.
    func touch(address: UInt32, _ version: UInt64) {
        addresses[address.int].store(version.u32, ordering: .relaxed)
        groups[Self.group(of: address)].store(version.u32, ordering: .relaxed)
    }
    func touchRecord(in scope: UInt32, _ version: UInt64) { words[2 &* scope.int].store(version.u32, ordering: .relaxed) }

    @inline(__always)
    func lastChange(_ scope: UInt32) -> UInt32 { words[2 &* scope.int].load(ordering: .relaxed) }

    /// Is what was decided with version `stamp`, and depends on records of two addresses only, still true? In this version: the
    /// writer may be storing the words of its next one, and then some are missing.
    @inline(__always)
    func confirms(_ stamp: UInt32, _ scope: UInt32, _ source: UInt32, _ destination: UInt32) -> Bool {
        let changed = max(
            words[2 &* scope.int &+ 1].load(ordering: .relaxed),
            addresses[source.int].load(ordering: .relaxed), addresses[destination.int].load(ordering: .relaxed))
        return stamp >= changed
    }

    /// The last change that was no record of an address, in any scope.
    var lastOtherChange: UInt32 { groups[Self.groupCount].load(ordering: .relaxed) }

    /// The last change of a record of one of two addresses, or a later one of another address.
    @inline(__always)
    func lastChangeNear(_ source: UInt32, _ destination: UInt32) -> UInt32 {
        max(groups[Self.group(of: source)].load(ordering: .relaxed), groups[Self.group(of: destination)].load(ordering: .relaxed))
    }

    @inline(__always)
    private static func group(of address: UInt32) -> Int { (address &>> (addressBits &- groupBits)).int }

    /// The number of a customer address, of which `word` is the XOR of its four words as they are in packets.
    @inline(__always)
    static func of(address word: UInt32) -> UInt32 { (word &* 0x9E37_79B1) &>> (32 &- addressBits) }
}
