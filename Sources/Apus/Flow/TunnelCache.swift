// SPDX-License-Identifier: Apache-2.0

/// The outer halves of encapsulations that a worker put together lately: many new flows go where others go already. Direct
/// mapped; touched by that worker alone.
struct TunnelCache {
    /// All that the outer half of an encapsulation depends on.
    struct Key: BitwiseCopyable {
        var pa: IPAddress
        /// Who sends.
        var source: IPAddress
        var vsid: UInt32
        var isIPv6: Bool
        /// When the provider side changed last: the policy, and what is known of neighbours and paths.
        var era: UInt32
        var floor: UInt32
        var neighborEpoch: UInt32

        static func == (a: Key, b: Key) -> Bool {
            a.pa == b.pa && a.source == b.source && a.vsid == b.vsid && a.isIPv6 == b.isIPv6 && a.era == b.era && a.floor == b.floor
                && a.neighborEpoch == b.neighborEpoch
        }
    }

    private struct Entry {
        var key: Key
        var transposition: Transposition
    }

    private let entries: Ref<Entry>
    private static var count: Int { 256 }

    init?(_ memory: Ref<Memory>) {
        // Zeros are no key: there is no VSID 0.
        guard let entries = memory.value.allocateZeroed(Entry.self, count: Self.count, alignment: 64) else { return nil }
        self.entries = entries
    }

    func destroy(_ memory: Ref<Memory>) { memory.value.release(entries, count: Self.count) }

    @_optimize(speed)
    private func place(_ key: Key) -> Ref<Entry> {
        let mixed = (key.pa.low ^ key.pa.high ^ key.source.low &<< 8 ^ key.vsid.u64 &<< 20) &* 0x9E37_79B9_7F4A_7C15
        return entries.advanced(by: (mixed &>> 56).int)
    }

    /// Complete an encapsulation whose inner half is decided. False: its outer half is not known.
    @_optimize(speed)
    func fill(_ transposition: Ref<Transposition>, _ key: Key) -> Bool {
        let entry = place(key)
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

    @_optimize(speed)
    func remember(_ transposition: Ref<Transposition>, _ key: Key) {
        let entry = place(key)
        entry.value.key = key
        entry.value.transposition = transposition.value
    }
}
