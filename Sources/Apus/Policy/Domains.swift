// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

/// A routing domain: one VM network. It exists as long as a customer route or an external port names it.
struct Domain: ~Copyable {
    var id: GUID
    /// Customer routes and external ports of any version. Writer only.
    var users: UInt32
    var nextFree: UInt32
    /// Prefix lengths of its routes.
    var lengths: PrefixLengths
}

/// The routing domains, numbered. Workers know a domain by its number, from a ``VirtualSubnet``; only the writer looks
/// for a GUID.
struct Domains: BitwiseCopyable {
    private struct State { var firstFree: UInt32 }

    private let state: Ref<State>
    private let slab: Slab<Domain>
    private let index: IndexTable
    private let key: Ref<apus_hash_key>

    init?(_ memory: Ref<Memory>, key: Ref<apus_hash_key>) {
        guard let state = memory.value.allocateZeroed(State.self, count: 1) else { return nil }
        guard let slab = Slab<Domain>(memory) else {
            memory.value.release(state, count: 1)
            return nil
        }
        guard let index = IndexTable(memory, capacity: 64) else {
            slab.destroy(memory)
            memory.value.release(state, count: 1)
            return nil
        }
        (self.state, self.slab, self.index, self.key) = (state, slab, index, key)
    }

    func destroy(_ memory: Ref<Memory>) {
        index.destroy(memory)
        slab.destroy(memory)
        memory.value.release(state, count: 1)
    }

    @inline(__always)
    subscript(number: UInt32) -> Ref<Domain> { slab[number] }

    func find(_ id: GUID) -> UInt32? {
        index.find(hash(id)) { slab[$0].value.id == id }
    }

    func findOrAdd(_ memory: Ref<Memory>, _ id: GUID) -> UInt32? {
        if let number = find(id) { return number }
        guard index.reserve(memory) else { return nil }
        let number: UInt32
        if state.value.firstFree != 0 {
            number = state.value.firstFree &- 1
            state.value.firstFree = slab[number].value.nextFree
        } else {
            guard let next = slab.append(memory) else { return nil }
            number = next
        }
        slab[number].initialize(to: Domain(id: id, users: 0, nextFree: 0, lengths: PrefixLengths()))
        index.insert(hash(id), number)
        return number
    }

    /// Forget the domain if nothing of any version is left in it. No worker can know its number any more.
    func releaseIfUnused(_ number: UInt32) {
        let domain = slab[number]
        guard domain.value.users == 0 else { return }
        index.remove(hash(domain.value.id), number)
        domain.value.nextFree = state.value.firstFree
        state.value.firstFree = number &+ 1
    }

    private func hash(_ id: GUID) -> UInt64 { unsafe apus_hash_words(id.high, id.low, 15, 0, key.pointer) }
}
