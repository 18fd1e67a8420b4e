// SPDX-License-Identifier: Apache-2.0

/// The flows that began since a chunk was looked up, by hash: perhaps more, never fewer. A packet that had no flow then is looked for
/// again only if its flow may be here. When all of a chunk are new flows, one in sixteen seems to be here that is not.
struct Newcomers: BitwiseCopyable {
    /// A bit for each of 512 values of the hash.
    private let words: Ref<InlineArray<8, UInt64>>

    init(_ words: Ref<InlineArray<8, UInt64>>) { self.words = words }

    func clear() { words.value = .init(repeating: 0) }

    @inline(__always)
    func add(_ hash: UInt64) { unsafe words.value[unchecked: Self.word(hash)] |= Self.bit(hash) }

    @inline(__always)
    func mayContain(_ hash: UInt64) -> Bool { unsafe words.value[unchecked: Self.word(hash)] & Self.bit(hash) != 0 }

    // Bits that say little about the lines of a flow.
    @inline(__always)
    private static func word(_ hash: UInt64) -> Int { (hash &>> 61).int }
    @inline(__always)
    private static func bit(_ hash: UInt64) -> UInt64 { 1 &<< (hash &>> 55 & 63) }
}
