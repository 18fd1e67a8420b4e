// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Handles. A `struct apus_dataplane *` or `struct apus_worker *` is not an address but a number:
///
///     63..56  0xA9, which makes it a non-canonical address: dereferencing it faults at once
///     55..24  generation
///     23..8   worker index + 1, or 0 for a dataplane
///      7..0   slot of the dataplane
///
/// So a handle that was destroyed, or never was one, is recognised without touching memory that may be gone.
struct Handle: BitwiseCopyable {
    let bits: UInt

    private static var tag: UInt { 0xA9 }

    init?(_ pointer: OpaquePointer?) {
        bits = UInt(bitPattern: pointer)
        if bits &>> 56 != Self.tag { return nil }
    }

    init(slot: Int, worker: Int?, generation: UInt32) {
        let index = UInt(truncatingIfNeeded: worker.map { $0 &+ 1 } ?? 0)
        bits = Self.tag &<< 56 | UInt(generation) &<< 24 | index &<< 8 | UInt(truncatingIfNeeded: slot)
    }

    var pointer: OpaquePointer? { unsafe OpaquePointer(bitPattern: bits) }
    var slot: Int { Int(truncatingIfNeeded: bits & 0xFF) }
    var worker: Int? { bits &>> 8 & 0xFFFF == 0 ? nil : Int(truncatingIfNeeded: bits &>> 8 & 0xFFFF) &- 1 }
    var generation: UInt32 { UInt32(truncatingIfNeeded: bits &>> 24) }
}

/// The dataplane of a handle, if it is alive.
@inline(__always)
func dataplane(of pointer: OpaquePointer?) -> Ref<Dataplane>? {
    guard let handle = unsafe Handle(pointer), handle.worker == nil, handle.slot < Registry.slots,
        let dataplane = livingDataplane(handle.slot), dataplane.value.generation == handle.generation
    else { return nil }
    return dataplane
}

@inline(__always)
func livingDataplane(_ slot: Int) -> Ref<Dataplane>? {
    let address = Registry.address(slot)
    return address <= 1 ? nil : Ref<Dataplane>(address: address)
}

/// The worker of a handle, if it is alive, with its slot and its dataplane.
@inline(__always)
func worker(of pointer: OpaquePointer?) -> (worker: Ref<Worker>, slot: Ref<WorkerSlot>, dataplane: Ref<Dataplane>)? {
    guard let handle = unsafe Handle(pointer), let index = handle.worker, handle.slot < Registry.slots,
        index < Grace.workers, let dataplane = livingDataplane(handle.slot)
    else { return nil }
    let slot = dataplane.value.workers.advanced(by: index)
    guard slot.value.generation.load(ordering: .relaxed) == handle.generation,
        let worker = Ref<Worker>(address: slot.value.worker.load(ordering: .acquiring))
    else { return nil }
    return (worker, slot, dataplane)
}
