// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Which prefix lengths a routing table contains, so that a longest-prefix search probes only those.
///
/// Counted by the writer, read by workers as a 129-bit set. The set may be larger than what a version contains (a route
/// that was added but not published, or removed but not unlinked): a superfluous probe finds nothing.
struct PrefixLengths: ~Copyable {
    private var counts: InlineArray<129, UInt32>
    /// Bit 63 of word 0 = length 127 … bit 0 of word 1 = length 0: leading zeros lead to the longest. Length 128 apart.
    private let upper: Atomic<UInt64>
    private let lower: Atomic<UInt64>
    private let full: Atomic<UInt64>

    init() {
        counts = .init(repeating: 0)
        upper = Atomic(0)
        lower = Atomic(0)
        full = Atomic(0)
    }

    mutating func add(_ length: UInt8) {
        unsafe counts[unchecked: length.int] &+= 1
        update(length)
    }

    mutating func remove(_ length: UInt8) {
        unsafe counts[unchecked: length.int] &-= 1
        update(length)
    }

    private func update(_ length: UInt8) {
        let present = unsafe counts[unchecked: length.int] != 0
        if length >= 128 {
            full.store(present ? 1 : 0, ordering: .relaxed)
        } else if length >= 64 {
            let bit: UInt64 = 1 &<< (length &- 64).u64
            let word = upper.load(ordering: .relaxed)
            upper.store(present ? word | bit : word & ~bit, ordering: .relaxed)
        } else {
            let bit: UInt64 = 1 &<< length.u64
            let word = lower.load(ordering: .relaxed)
            lower.store(present ? word | bit : word & ~bit, ordering: .relaxed)
        }
    }

    /// So many bits of this address decide which prefixes it has, its family among them.
    @inline(__always)
    func deciding(for address: IPAddress) -> UInt8 {
        if full.load(ordering: .relaxed) != 0 { return 128 }
        let word = upper.load(ordering: .relaxed)
        let length = word != 0 ? 127 &- word.leadingZeroBitCount : 64
        return max(length.u8, address.isV4 ? IPAddress.v4PrefixOffset : 0)
    }

    /// Call `body` with every length that a prefix of this address can have, longest first, until it returns true.
    @inline(__always)
    func searchLongestFirst(for address: IPAddress, _ body: (UInt8) -> Bool) {
        if full.load(ordering: .relaxed) != 0, body(128) { return }
        // Shorter ones than these are IPv6: they would contain the form that IPv4 has here.
        let possible: UInt64 = address.isV4 ? ~0 &<< (IPAddress.v4PrefixOffset &- 64).u64 : ~0
        var word = upper.load(ordering: .relaxed) & possible
        while word != 0 {
            let bit = 63 &- word.leadingZeroBitCount
            if body((bit &+ 64).u8) { return }
            word &= ~(1 &<< bit.u64)
        }
        if address.isV4 { return }
        word = lower.load(ordering: .relaxed)
        while word != 0 {
            let bit = 63 &- word.leadingZeroBitCount
            if body(bit.u8) { return }
            word &= ~(1 &<< bit.u64)
        }
    }
}
