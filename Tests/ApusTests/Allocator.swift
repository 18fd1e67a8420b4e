// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics
import Glibc

@testable import Apus

/// A host's allocator for tests: counts, checks what comes back, fails when told to, and overwrites what is released,
/// so that a reader of released memory sees nonsense.
final class TestAllocator: @unchecked Sendable {
    /// What is held now: address → size.
    private var blocks: [UInt: Int] = [:]
    /// Allocations that were asked for.
    private(set) var requests = 0
    /// Blocks that came back with another address or size than they were given.
    private(set) var mistakes = 0
    /// Allocations that still succeed before every further one fails.
    var credit = Int.max

    var liveBlocks: Int { blocks.count }
    var liveBytes: Int { blocks.values.reduce(0, +) }

    /// The callbacks; valid as long as this object is.
    var c: apus_allocator {
        apus_allocator(
            allocate: { context, size, alignment in
                guard let context else { return nil }
                return Unmanaged<TestAllocator>.fromOpaque(context).takeUnretainedValue().allocate(size, alignment)
            },
            release: { context, memory, size in
                guard let context, let memory else { return }
                Unmanaged<TestAllocator>.fromOpaque(context).takeUnretainedValue().release(memory, size)
            },
            context: Unmanaged.passUnretained(self).toOpaque())
    }

    private func allocate(_ size: Int, _ alignment: Int) -> UnsafeMutableRawPointer? {
        requests += 1
        if credit == 0 { return nil }
        if credit != .max { credit -= 1 }
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, max(alignment, 8), size) == 0, let memory else { return nil }
        memset(memory, 0xA5, size)
        blocks[UInt(bitPattern: memory)] = size
        return memory
    }

    private func release(_ memory: UnsafeMutableRawPointer, _ size: Int) {
        if blocks.removeValue(forKey: UInt(bitPattern: memory)) != size {
            mistakes += 1
            return
        }
        memset(memory, 0xDE, size)
        free(memory)
    }
}

/// The core's `Memory` on a test allocator, for tests of single parts.
final class TestMemory {
    let allocator = TestAllocator()
    let ref: Ref<Memory>
    let key: Ref<apus_hash_key>

    init() {
        ref = Ref(.allocate(capacity: 1))
        ref.initialize(to: Memory(allocator.c))
        key = Ref(.allocate(capacity: 1))
        key.initialize(to: apus_hash_key(k: (0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, 0x5A5A_0F0F, 0xC3C3_3C3C)))
    }

    deinit {
        ref.pointer.deallocate()
        key.pointer.deallocate()
    }

    /// Nothing is held but what is retired, and everything came back as it was given.
    var isClean: Bool {
        ref.value.releaseRetired()
        return allocator.liveBlocks == 0 && allocator.mistakes == 0 && ref.value.held == 0
    }
}

/// Random numbers that are the same in every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z &>> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z &>> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z &>> 31
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
