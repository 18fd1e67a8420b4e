// SPDX-License-Identifier: Apache-2.0

/// The Internet checksum (RFC 1071): one's-complement sum of 16-bit words.
enum Checksum {
    /// Fold a sum of many words to 16 bits.
    @inline(__always)
    static func fold(_ sum: UInt32) -> UInt16 {
        // In 16-bit words: low, high + low, low + high with the carry of that - which is the result -, high. A rotation and an
        // addition do the same, but compilers write it as an instruction that some CPUs are slow at.
        ((sum.u64 &* 0x1_0001_0001) &>> 32).u16
    }

    /// The sum of `count` bytes, as big-endian words; an odd last byte counts as the high half. `count` ≤ 65535.
    @inline(__always)
    static func sum(_ bytes: Bytes, _ count: Int) -> UInt32 {
        var sum: UInt32 = 0
        var offset = 0
        while offset &+ 1 < count {
            sum = sum &+ bytes.u16(offset).u32
            offset = offset &+ 2
        }
        if offset < count { sum = sum &+ bytes[offset].u32 &<< 8 }
        return sum
    }

    /// The checksum after one word of the data changed (RFC 1624, equation 3).
    @inline(__always)
    static func updated(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        ~fold((~checksum).u32 &+ (~old).u32 &+ new.u32)
    }
}
