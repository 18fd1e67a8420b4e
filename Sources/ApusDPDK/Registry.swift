// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK

/// Devices and workers of the process, by handle. The words are `static` in a C header, so they exist once for each
/// object file that uses them: nothing here may be inlined into another file.
enum Registry {
    enum Kind: Int32 {
        case device = 0
        case worker = 1
    }

    static var slots: Int { Int(APUS_DPDK_SLOTS) }

    /// The object of a handle; 0 if it was closed, or never was one.
    @inline(never)
    static func find(_ kind: Kind, _ pointer: OpaquePointer?) -> UInt {
        let bits = UInt(bitPattern: pointer).u64
        let slot = (bits & 0xFF).i32
        guard bits &>> 56 == tag(kind), apus_dpdk_slot_generation(kind.rawValue, slot) == bits &>> 24 & 0xFFFF_FFFF
        else { return 0 }
        return UInt(truncatingIfNeeded: apus_dpdk_slot_address(kind.rawValue, slot))
    }

    /// The object in a slot, or 0.
    @inline(never)
    static func object(_ kind: Kind, _ slot: Int) -> UInt {
        UInt(truncatingIfNeeded: apus_dpdk_slot_address(kind.rawValue, slot.i32))
    }

    /// A slot without an object.
    @inline(never)
    static func freeSlot(_ kind: Kind) -> Int? {
        var slot = 0
        while slot < slots {
            if apus_dpdk_slot_address(kind.rawValue, slot.i32) == 0 { return slot }
            slot &+= 1
        }
        return nil
    }

    /// Give an object a handle: not an address but a number, non-canonical, with a generation.
    @inline(never)
    static func publish(_ kind: Kind, _ slot: Int, _ address: UInt) -> OpaquePointer? {
        let generation = apus_dpdk_next_number()
        apus_dpdk_slot_set(kind.rawValue, slot.i32, address.u64, generation)
        return unsafe OpaquePointer(
            bitPattern: UInt(truncatingIfNeeded: tag(kind) &<< 56 | generation &<< 24) | UInt(slot.u64))
    }

    @inline(never)
    static func forget(_ kind: Kind, _ slot: Int) { apus_dpdk_slot_set(kind.rawValue, slot.i32, 0, 0) }

    /// A number that was not given before.
    @inline(never)
    static func nextNumber() -> UInt64 { apus_dpdk_next_number() }

    /// Keep a second control call out.
    @inline(never)
    static func tryLock() -> Bool { apus_dpdk_try_lock() != 0 }

    @inline(never)
    static func unlock() { apus_dpdk_unlock() }

    // MARK: - Pools that wait for their last mbufs

    static var orphans: Int { Int(APUS_DPDK_SLOTS) &* 2 }

    @inline(never)
    static func orphan(_ index: Int) -> OpaquePointer? {
        unsafe OpaquePointer(bitPattern: UInt(truncatingIfNeeded: apus_dpdk_orphan(index.i32)))
    }

    @inline(never)
    static func setOrphan(_ index: Int, _ pool: OpaquePointer?) {
        apus_dpdk_set_orphan(index.i32, UInt(bitPattern: pool).u64)
    }

    private static func tag(_ kind: Kind) -> UInt64 { kind == .device ? 0xAB : 0xAC }
}

/// Make one control call, unless another thread is inside one.
func control(_ body: () -> Int32) -> Int32 {
    guard Registry.tryLock() else { return APUS_ERR_BUSY.rawValue }
    let result = body()
    Registry.unlock()
    return result
}
