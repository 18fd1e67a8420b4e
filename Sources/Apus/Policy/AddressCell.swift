// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

/// What duplicate address detection found out about one provider address: docs/pipeline.md 5.4. Any worker may write it; as in a
/// ``NeighborCell`` a lost race costs one superfluous frame. What is found only ever goes one way, and each finding has a word of its own,
/// so that two workers that find different things at once lose neither.
struct AddressCell: ~Copyable {
    /// Probes sent.
    let probes = Atomic<UInt32>(0)
    /// When the last one was sent.
    let probed = Atomic<UInt64>(0)
    /// 1 = nobody answered.
    let passed = Atomic<UInt32>(0)
    /// 1 = somebody else has it.
    let duplicate = Atomic<UInt32>(0)
    /// When a conflict was last noted; 0 = never.
    let conflictNoted = Atomic<UInt64>(0)
    /// Of the control plane: its result was told.
    var isTold = false
    /// Of the writer: versions of ``ProviderAddress`` that have this cell.
    let users = Atomic<UInt32>(1)
    /// Free list of the writer: number + 1.
    var nextFree: UInt32 = 0

    static var probeCount: UInt32 { 3 }

    var isDuplicate: Bool { duplicate.load(ordering: .relaxed) != 0 }
    var isTentative: Bool { !isDuplicate && passed.load(ordering: .relaxed) == 0 }

    /// How many there are then.
    @discardableResult
    func addUser(_ difference: Int32) -> UInt32 {
        let count = users.load(ordering: .relaxed) &+ UInt32(bitPattern: difference)
        users.store(count, ordering: .relaxed)
        return count
    }
}
