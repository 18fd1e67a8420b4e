// SPDX-License-Identifier: Apache-2.0

/// A pointer to memory that outlives every use of it, as in the core. Index `i` is not checked.
@safe
struct Ref<Value: ~Copyable>: BitwiseCopyable {
    @unsafe let pointer: UnsafeMutablePointer<Value>

    @inline(__always)
    init(_ pointer: UnsafeMutablePointer<Value>) {
        unsafe self.pointer = pointer
    }

    @inline(__always)
    init?(address: UInt) {
        guard let pointer = unsafe UnsafeMutablePointer<Value>(bitPattern: address) else { return nil }
        unsafe self.pointer = pointer
    }

    @inline(__always)
    var address: UInt { unsafe UInt(bitPattern: pointer) }

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
}
