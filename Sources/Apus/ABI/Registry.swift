// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// The dataplanes of the process: the only global state of the library.
///
/// The words are `static` in a C header, so they exist once for each object file that uses them. That is this one only:
/// nothing here may be inlined into another file.
enum Registry {
    static var slots: Int { 64 }

    @inline(never)
    static func address(_ slot: Int) -> UInt { apus_registry_load(Int32(truncatingIfNeeded: slot)) }

    /// Take a free slot, marked with 1 until `publish`. nil: all are taken.
    @inline(never)
    static func take() -> Int? {
        var slot = 0
        while slot < slots {
            if apus_registry_take(Int32(truncatingIfNeeded: slot)) != 0 { return slot }
            slot &+= 1
        }
        return nil
    }

    @inline(never)
    static func publish(_ slot: Int, _ address: UInt) {
        apus_registry_store(Int32(truncatingIfNeeded: slot), address)
    }

    @inline(never)
    static func nextGeneration() -> UInt32 { apus_registry_generation() }
}
