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
struct Scopes: BitwiseCopyable {
    private let words: Ref<Atomic<UInt32>>
    private static var half: UInt32 { 32768 }
    private static var count: Int { 65536 }

    init?(_ memory: Ref<Memory>) {
        guard let words = memory.value.allocateZeroed(Atomic<UInt32>.self, count: Self.count) else { return nil }
        self.words = words
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(words, count: Self.count) }

    @inline(__always) static func of(domain: UInt32) -> UInt32 { domain & (half &- 1) }
    @inline(__always) static func of(vsid: UInt32, domain: UInt32) -> UInt32 {
        domain == none ? unbound(vsid) : of(domain: domain)
    }
    @inline(__always) static func unbound(_ vsid: UInt32) -> UInt32 { half | vsid & (half &- 1) }

    /// The scope changed with `version`. Stored before the version is published, so that a worker that sees the
    /// version sees this too.
    @inline(__always)
    func touch(_ scope: UInt32, _ version: UInt64) { words[scope.int].store(version.u32, ordering: .relaxed) }

    @inline(__always)
    func lastChange(_ scope: UInt32) -> UInt32 { words[scope.int].load(ordering: .relaxed) }
}
