// SPDX-License-Identifier: Apache-2.0

/// A pointer to memory that outlives every use of it.
///
/// The core has no classes and no arrays: whatever lives longer than a call is placed in memory from the host's
/// allocator and reached through a `Ref`. It is a plain word, copied freely, never counted. Index `i` is *not*
/// checked: everything that comes from outside has been checked before it becomes an index.
///
/// This type, ``Bytes`` and ``Memory`` are where the core's pointers live; the rest of it contains no `unsafe`
/// but at the C boundary.
@safe
struct Ref<Value: ~Copyable>: BitwiseCopyable {
    @unsafe let pointer: UnsafeMutablePointer<Value>

    @inline(__always)
    init(_ pointer: UnsafeMutablePointer<Value>) {
        unsafe self.pointer = pointer
    }

    /// What the pointer points at, in place.
    @inline(__always)
    var value: Value {
        unsafeAddress { unsafe UnsafePointer(pointer) }
        nonmutating unsafeMutableAddress { unsafe pointer }
    }

    /// Element `index` of the array that the pointer points at, in place.
    @inline(__always)
    subscript(index: Int) -> Value {
        unsafeAddress { unsafe UnsafePointer(pointer + index) }
        nonmutating unsafeMutableAddress { unsafe pointer + index }
    }

    @inline(__always)
    func advanced(by count: Int) -> Ref { unsafe Ref(pointer + count) }

    /// The number of an element of an array, which begins at `first`.
    @inline(__always)
    func index(in first: Ref) -> Int { Int(bitPattern: (address &- first.address) / UInt(bitPattern: MemoryLayout<Value>.stride)) }

    @inline(__always)
    func initialize(to value: consuming Value) { unsafe pointer.initialize(to: value) }

    @inline(__always)
    var raw: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(pointer) }

    /// The address as a number: what an atomic word can hold.
    @inline(__always)
    var address: UInt { unsafe UInt(bitPattern: pointer) }

    @inline(__always)
    init?(address: UInt) {
        guard let pointer = unsafe UnsafeMutablePointer<Value>(bitPattern: address) else { return nil }
        unsafe self.init(pointer)
    }
}
