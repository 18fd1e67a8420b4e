// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
internal import Glibc
#else
internal import CLibYAML
#endif
internal import Synchronization

/// A value that one thread at a time may use, each for a moment only: the others wait on the processor.
///
/// `Mutex` does not exist in Embedded Swift on Linux, of which the C library is made.
@safe
struct Guarded<Value>: ~Copyable, @unchecked Sendable {
    private let value: UnsafeMutablePointer<Value>
    private let isTaken = Atomic(false)

    init(_ initial: Value) {
        unsafe value = .allocate(capacity: 1)
        unsafe value.initialize(to: initial)
    }

    deinit {
        unsafe value.deinitialize(count: 1)
        unsafe value.deallocate()
    }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        while !isTaken.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged { sched_yield() }
        defer { isTaken.store(false, ordering: .releasing) }
        return unsafe body(&value.pointee)
    }
}
