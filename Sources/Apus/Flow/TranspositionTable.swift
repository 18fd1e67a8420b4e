// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// The transpositions of one worker's flows, each stored once.
///
/// A flow that is classified builds its transposition and looks for an equal one here. A tenant with a million flows
/// between a thousand machines needs a thousand transpositions, which stay in the nearest caches.
struct TranspositionTable {
    private let entries: Ref<Transposition>
    /// The one before the first: of packets that belong to no known flow. No frame has its identity.
    private let nobodys: Ref<Transposition>
    /// Open addressing by hash: number + 1, 0 = empty, `removed`.
    private let index: Ref<UInt32>
    /// Numbers that were found lately, by what of their results differs most: new flows often need what others needed just before.
    private let recent: Ref<UInt32>
    private static var recentCount: Int { 1024 }
    private let capacity: Int
    private let indexMask: Int
    private var firstFree: UInt32 = 0
    private var used = 0
    private var removedCount = 0
    private let key: Ref<apus_hash_key>

    private static var removed: UInt32 { .max }

    init?(_ memory: Ref<Memory>, capacity: Int, key: Ref<apus_hash_key>) {
        guard let nobodys = memory.value.allocateZeroed(Transposition.self, count: capacity &+ 1, alignment: 64) else {
            return nil
        }
        guard let index = memory.value.allocateZeroed(UInt32.self, count: capacity &* 2) else {
            memory.value.release(nobodys, count: capacity &+ 1)
            return nil
        }
        guard let recent = memory.value.allocateZeroed(UInt32.self, count: Self.recentCount) else {
            memory.value.release(nobodys, count: capacity &+ 1)
            memory.value.release(index, count: capacity &* 2)
            return nil
        }
        nobodys.value = Transposition(drop: .frameInvalid, scope: 0)
        nobodys.value.outerIdentity = .max
        self.nobodys = nobodys
        entries = nobodys.advanced(by: 1)
        self.index = index
        self.recent = recent
        self.capacity = capacity
        self.key = key
        indexMask = capacity &* 2 &- 1
    }

    func destroy(_ memory: Ref<Memory>) {
        memory.value.release(nobodys, count: capacity &+ 1)
        memory.value.release(index, count: indexMask &+ 1)
        memory.value.release(recent, count: Self.recentCount)
    }

    @inline(__always)
    subscript(number: Int) -> Transposition {
        unsafeAddress { unsafe UnsafePointer(entries.pointer + number) }
        nonmutating unsafeMutableAddress { unsafe entries.pointer + number }
    }

    /// What flows remember of a number, in 24 bits: where it is, in bytes, from the one before the first on. There are not more than 65,536.
    static func offset(of number: Int) -> UInt32 { ((number &+ 1) &* MemoryLayout<Transposition>.stride).u32 }
    static func number(of offset: UInt32) -> Int { offset.int / MemoryLayout<Transposition>.stride &- 1 }

    /// The same as a pointer.
    func place(of number: Int) -> Ref<Transposition> { entries.advanced(by: number) }

    /// The same by offset: what the hit path passes on instead of 192 bytes.
    @inline(__always)
    func place(at offset: UInt32) -> Ref<Transposition> {
        unsafe Ref((nobodys.raw + offset.int).assumingMemoryBound(to: Transposition.self))
    }

    /// The number of a transposition equal to `candidate`, with one more reference; nil when the table is full.
    @_optimize(speed)
    mutating func intern(_ candidate: Ref<Transposition>) -> Int? {
        let place = (candidate.mixed &>> 54).int
        let known = recent[place].int
        if entries[known].references != 0, isEqual(entries.advanced(by: known), candidate) {
            entries[known].references &+= 1
            return known
        }
        guard let number = find(candidate) else { return nil }
        recent[place] = number.u32
        return number
    }

    @inline(never)
    @_optimize(speed)
    private mutating func find(_ candidate: Ref<Transposition>) -> Int? {
        let hash = unsafe apus_hash_bytes(
            candidate.raw + Transposition.resultOffset, Transposition.resultSize / 16, key.pointer
        ).u32
        var position = hash.int & indexMask
        while true {
            let link = index[position]
            if link == 0 { break }
            if link != Self.removed {
                let number = link.int &- 1
                if entries[number].hash == hash, isEqual(entries.advanced(by: number), candidate) {
                    entries[number].references &+= 1
                    return number
                }
            }
            position = (position &+ 1) & indexMask
        }
        guard let number = take() else { return nil }
        entries[number] = candidate.value
        entries[number].hash = hash
        entries[number].references = 1
        place(number)
        return number
    }

    /// One flow less uses it.
    @_optimize(speed)
    mutating func release(_ number: Int) {
        entries[number].references &-= 1
        if entries[number].references != 0 { return }
        var position = entries[number].hash.int & indexMask
        while index[position] != number.u32 &+ 1 { position = (position &+ 1) & indexMask }
        index[position] = Self.removed
        removedCount &+= 1
        entries[number].hash = firstFree
        firstFree = number.u32 &+ 1
        // Removed marks lengthen searches: when there are many, place everything anew.
        if removedCount > indexMask / 4 { rebuildIndex() }
    }

    @_optimize(speed)
    private mutating func take() -> Int? {
        if firstFree != 0 {
            let number = firstFree.int &- 1
            firstFree = entries[number].hash
            return number
        }
        if used == capacity { return nil }
        used &+= 1
        return used &- 1
    }

    @_optimize(speed)
    private mutating func place(_ number: Int) {
        var position = entries[number].hash.int & indexMask
        while index[position] != 0, index[position] != Self.removed { position = (position &+ 1) & indexMask }
        if index[position] == Self.removed { removedCount &-= 1 }
        index[position] = number.u32 &+ 1
    }

    private mutating func rebuildIndex() {
        unsafe apus_zero(index.raw, 4 &* (indexMask &+ 1))
        removedCount = 0
        var number = 0
        while number < used {
            if entries[number].references != 0 { place(number) }
            number &+= 1
        }
    }

    @_optimize(speed)
    private func isEqual(_ a: Ref<Transposition>, _ b: Ref<Transposition>) -> Bool {
        let (first, size) = (Transposition.resultOffset, Transposition.resultSize)
        return unsafe apus_is_equal(a.raw + first, b.raw + first, 64 &- first, size) != 0
    }
}
