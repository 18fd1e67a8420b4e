// SPDX-License-Identifier: Apache-2.0

/// The outer halves of encapsulations that a worker put together lately: many new flows go where others go already. Each may stand in
/// one of two neighbouring entries; touched by that worker alone.
struct TunnelCache {
    /// All that the outer half of an encapsulation depends on.
    struct Key: BitwiseCopyable {
        var pa: IPAddress
        /// Who sends.
        var source: IPAddress
        /// When the provider side changed last: the policy, and what is known of neighbours and paths.
        var floor: UInt32
        var neighborEpoch: UInt32
        var vsid: UInt32
        /// Of the policy, in the upper bits, and is the customer's packet IPv6?
        private var eraAndFamily: UInt32

        init(pa: IPAddress, source: IPAddress, vsid: UInt32, isIPv6: Bool, era: UInt32, floor: UInt32, neighborEpoch: UInt32) {
            (self.pa, self.source, self.vsid, self.floor, self.neighborEpoch) = (pa, source, vsid, floor, neighborEpoch)
            eraAndFamily = era &<< 1 | (isIPv6 ? 1 : 0)
        }

        @inline(__always)
        static func == (a: Key, b: Key) -> Bool {
            a.pa == b.pa && a.source == b.source && a.vsid == b.vsid && a.eraAndFamily == b.eraAndFamily && a.floor == b.floor
                && a.neighborEpoch == b.neighborEpoch
        }

        /// Of the first of its two entries.
        @inline(__always)
        var place: Int {
            let mixed = (pa.low ^ pa.high ^ source.low &<< 8 ^ vsid.u64 &<< 20) &* 0x9E37_79B9_7F4A_7C15
            return (mixed &>> 54).int & ~1
        }
    }

    private struct Entry {
        var key: Key
        var transposition: Transposition
    }

    private let entries: Ref<Entry>
    private static var count: Int { 1024 }

    init?(_ memory: Ref<Memory>) {
        // Zeros are no key: there is no VSID 0.
        guard let entries = memory.value.allocateZeroed(Entry.self, count: Self.count, alignment: 64) else { return nil }
        self.entries = entries
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(entries, count: Self.count) }

    /// Complete an encapsulation whose inner half is decided. False: its outer half is not known.
    @_optimize(speed)
    func fill(_ transposition: Ref<Transposition>, _ key: Key) -> Bool {
        var entry = entries.advanced(by: key.place)
        if !(entry.value.key == key) { entry = entry.advanced(by: 1) }
        guard entry.value.key == key else { return false }
        let (scope, isRouted, mac) = (
            transposition.value.scope, transposition.value.isRouted, transposition.value.destinationMAC
        )
        transposition.value = entry.value.transposition
        transposition.value.scope = scope
        transposition.value.isRouted = isRouted
        transposition.value.destinationMAC = mac
        return true
    }

    /// In place of the older one of the two.
    @_optimize(speed)
    func remember(_ transposition: Ref<Transposition>, _ key: Key) {
        let entry = entries.advanced(by: key.place)
        entry[1] = entry.value
        entry.value = Entry(key: key, transposition: transposition.value)
    }
}
