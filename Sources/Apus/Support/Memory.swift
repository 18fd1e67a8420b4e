// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

/// Memory from the host's allocator, and how much of it is held.
///
/// Swift's own allocation ends the process when it fails; a library may not. Everything here can fail and says so.
@safe
struct Memory {
    private let allocator: apus_allocator
    /// Bytes held now. One control thread at a time changes it.
    private(set) var held: UInt64 = 0
    /// Address of the last block that was retired, 0 = none.
    private var retired: UInt = 0

    init(_ allocator: apus_allocator) {
        unsafe self.allocator = allocator
    }

    /// Uninitialized room for `count` values, or nil. `alignment` 0 = the type's own, at least a cache line for arrays.
    mutating func allocate<Value: ~Copyable>(_ type: Value.Type, count: Int, alignment: Int = 0) -> Ref<Value>? {
        let size = MemoryLayout<Value>.stride.multipliedReportingOverflow(by: count)
        guard !size.overflow, size.partialValue > 0 else { return nil }
        let align = max(alignment, count > 1 ? 64 : max(MemoryLayout<Value>.alignment, 16))
        guard let raw = unsafe rawAllocate(size.partialValue, align) else { return nil }
        held &+= size.partialValue.u64
        return unsafe Ref(raw.assumingMemoryBound(to: Value.self))
    }

    /// As `allocate`, filled with zero bytes.
    mutating func allocateZeroed<Value: ~Copyable>(_ type: Value.Type, count: Int, alignment: Int = 0) -> Ref<Value>? {
        guard let ref = allocate(type, count: count, alignment: alignment) else { return nil }
        unsafe apus_zero(ref.raw, MemoryLayout<Value>.stride &* count)
        return ref
    }

    mutating func release<Value: ~Copyable>(_ ref: Ref<Value>, count: Int) {
        unsafe rawRelease(ref.raw, MemoryLayout<Value>.stride &* count)
    }

    /// Release words later that readers may still be in; the first two of them are kept free for this: the block that was retired
    /// before, and the size.
    mutating func retire(_ words: Ref<UInt>, count: Int) {
        words[0] = retired
        words[1] = UInt(bitPattern: count)
        retired = words.address
    }

    /// After a grace period: nobody is in what was retired before it.
    @inline(never)
    mutating func releaseRetired() {
        while let words = Ref<UInt>(address: retired) {
            retired = words[0]
            release(words, count: words[1].int)
        }
    }

    @inline(never)
    private mutating func rawRelease(_ raw: UnsafeMutableRawPointer, _ size: Int) {
        held &-= size.u64
        if let release = unsafe allocator.release {
            unsafe release(allocator.context, raw, size)
        } else {
            unsafe apus_libc_release(raw)
        }
    }

    @inline(never)
    private func rawAllocate(_ size: Int, _ alignment: Int) -> UnsafeMutableRawPointer? {
        if let allocate = unsafe allocator.allocate {
            return unsafe allocate(allocator.context, size, alignment)
        }
        return unsafe apus_libc_allocate(size, alignment)
    }
}
