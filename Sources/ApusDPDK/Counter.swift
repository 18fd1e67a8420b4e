// SPDX-License-Identifier: Apache-2.0

import CApusDPDK
import Synchronization

/// A counter that one thread adds to and any thread reads: plain loads and stores, no locked instruction.
typealias Counter = Atomic<UInt64>

extension Atomic<UInt64> {
    @inline(__always)
    func add(_ count: Int) {
        store(load(ordering: .relaxed) &+ count.u64, ordering: .relaxed)
    }

    @inline(__always)
    var now: UInt64 { load(ordering: .relaxed) }
}

/// What happened to the mbufs of one device: `struct apus_dpdk_stats` but for the fields of workers.
struct DeviceCounters: ~Copyable {
    let received = Counter(0)
    let transmitted = Counter(0)
    let full = Counter(0)
    let tooLong = Counter(0)
    let segmented = Counter(0)
    let noBuffer = Counter(0)
    let malformed = Counter(0)
    let refused = Counter(0)
    let copied = Counter(0)

    func add(to stats: inout apus_dpdk_stats) {
        stats.received &+= received.now
        stats.transmitted &+= transmitted.now
        stats.tx_full &+= full.now
        stats.tx_too_long &+= tooLong.now
        stats.tx_segmented &+= segmented.now
        stats.rx_no_buffer &+= noBuffer.now
        stats.rx_malformed &+= malformed.now
        stats.rx_refused &+= refused.now
        stats.rx_copied &+= copied.now
    }

    /// Take over what another thread counted, which counts no more.
    func absorb(_ other: borrowing DeviceCounters) {
        received.add(other.received.now.int)
        transmitted.add(other.transmitted.now.int)
        full.add(other.full.now.int)
        tooLong.add(other.tooLong.now.int)
        segmented.add(other.segmented.now.int)
        noBuffer.add(other.noBuffer.now.int)
        malformed.add(other.malformed.now.int)
        refused.add(other.refused.now.int)
        copied.add(other.copied.now.int)
    }
}
