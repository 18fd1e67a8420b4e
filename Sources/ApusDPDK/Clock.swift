// SPDX-License-Identifier: Apache-2.0

import CApusDPDK

/// Nanoseconds from the cycle counter. `cycles * 1e9` would overflow 64 bits within seconds; this keeps 128 bits.
struct Clock {
    /// Nanoseconds for 2^32 cycles.
    private let scale: UInt64

    init() {
        let hertz = max(rte_get_timer_hz(), 1)
        scale = (1_000_000_000 &<< 32) / hertz
    }

    @inline(__always)
    var now: UInt64 {
        let product = rte_get_timer_cycles().multipliedFullWidth(by: scale)
        return product.high &<< 32 | product.low &>> 32
    }
}
