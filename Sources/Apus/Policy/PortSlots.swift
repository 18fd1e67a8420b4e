// SPDX-License-Identifier: Apache-2.0

import CApus
import Synchronization

/// Port numbers. A port id is `generation << 12 | slot`; the generation makes a removed port's id recognisable for 2^19
/// reuses of its slot, and leaves the top bit to ``FlowKey``. The slot holds what the data path needs of a port on every packet: that it exists, and its kind.
struct PortSlots: BitwiseCopyable {
    private struct Slot: ~Copyable {
        /// id << 8 | kind; 0 = free. What the data path needs of a port on every packet.
        let identity: Atomic<UInt64>
        /// Writer only.
        var generation: UInt32
        var isTaken: Bool
    }

    private let slots: Ref<Slot>

    static var count: Int { APUS_PORTS_MAX.int }

    init?(_ memory: Ref<Memory>) {
        guard let slots = memory.value.allocateZeroed(Slot.self, count: Self.count) else { return nil }
        self.slots = slots
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(slots, count: Self.count) }

    @inline(__always)
    static func slot(of id: UInt32) -> Int { (id & (APUS_PORTS_MAX &- 1)).int }

    /// The kind of the port with this id, or 0 when there is none. Any thread.
    @inline(__always)
    func kind(of id: UInt32) -> UInt8 {
        let identity = slots[Self.slot(of: id)].identity.load(ordering: .relaxed)
        return identity &>> 8 == id.u64 ? identity.u8 : 0
    }

    // MARK: - Writer

    /// Take a free slot and return the id of its new port; nil when all are taken.
    func take() -> UInt32? {
        var slot = 0
        while slot < Self.count {
            if !slots[slot].isTaken {
                slots[slot].isTaken = true
                slots[slot].generation = slots[slot].generation % 0x7FFFF &+ 1
                return slots[slot].generation &<< 12 | slot.u32
            }
            slot &+= 1
        }
        return nil
    }

    func giveBack(_ id: UInt32) { slots[Self.slot(of: id)].isTaken = false }

    /// Workers accept frames from this port from now on; which policy they apply is decided by their version.
    func open(_ id: UInt32, kind: UInt8) {
        slots[Self.slot(of: id)].identity.store(id.u64 &<< 8 | kind.u64, ordering: .relaxed)
    }

    func close(_ id: UInt32) { slots[Self.slot(of: id)].identity.store(0, ordering: .relaxed) }
}
