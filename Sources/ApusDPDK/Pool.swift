// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusDPDK

/// Pools of mbufs that the layer made. They are freed when every mbuf is back: an mbuf that one device received may
/// still wait in the ring of another one when the first is closed.
enum Pool {
    /// Bytes that an mbuf must have beyond its headroom, to be the head of a frame.
    static var roomMinimum: Int { 256 }
    static var headroom: Int { Int(RTE_PKTMBUF_HEADROOM) }

    /// `tag` and `number` make a name that is unique in the process. nil: see rte_errno.
    static func create(_ tag: UInt8, _ number: UInt64, count: UInt32, room: Int, socket: Int32) -> OpaquePointer? {
        var name = InlineArray<24, UInt8>(repeating: 0)
        var text = unsafe ErrorText(nil, size: 0)
        return unsafe withUnsafeMutablePointer(to: &name) { pointer in
            let start = unsafe UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: CChar.self)
            unsafe text = ErrorText(start, size: 24)
            text.put("apus_")
            text.put(tag)
            text.put(number: number)
            // Larger than a burst; the pool must be at least 1.5 times as large.
            let cache: UInt32 = count >= 1024 ? 256 : 0
            return unsafe rte_pktmbuf_pool_create(start, count, cache, 0, (room &+ headroom).u16, socket)
        }
    }

    /// Free a pool as soon as it is complete. Called with the lock taken, as everything here.
    static func abandon(_ pool: OpaquePointer) {
        if unsafe free(pool) { return }
        var i = 0
        while i < Registry.orphans {
            if unsafe Registry.orphan(i) == nil { return unsafe Registry.setOrphan(i, pool) }
            i &+= 1
        }
    }

    /// Free the pools that have become complete.
    static func freeOrphans() {
        var i = 0
        while i < Registry.orphans {
            if let pool = unsafe Registry.orphan(i), unsafe free(pool) { unsafe Registry.setOrphan(i, nil) }
            i &+= 1
        }
    }

    private static func free(_ pool: OpaquePointer) -> Bool {
        guard unsafe rte_mempool_full(pool) != 0 else { return false }
        unsafe rte_mempool_free(pool)
        return true
    }

    /// Whether mbufs of this pool can be heads of frames.
    static func isUsable(_ pool: OpaquePointer) -> Bool {
        unsafe rte_pktmbuf_data_room_size(pool).int >= headroom &+ roomMinimum
    }
}
