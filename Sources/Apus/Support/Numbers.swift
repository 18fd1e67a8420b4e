// SPDX-License-Identifier: Apache-2.0

// Conversions that cannot trap. Swift's own `UInt16(x)` stops the process when x does not fit; in a dataplane that
// would be a remote crash. These keep the low bits, as a C cast does; the caller has checked the range where it matters.

extension FixedWidthInteger {
    @inline(__always) var u8: UInt8 { UInt8(truncatingIfNeeded: self) }
    @inline(__always) var u16: UInt16 { UInt16(truncatingIfNeeded: self) }
    @inline(__always) var u32: UInt32 { UInt32(truncatingIfNeeded: self) }
    @inline(__always) var u64: UInt64 { UInt64(truncatingIfNeeded: self) }
    @inline(__always) var int: Int { Int(truncatingIfNeeded: self) }

    /// The smallest power of two that is at least `self` (for positive values).
    @inline(__always) var roundedUpToPowerOfTwo: Self {
        self <= 1 ? 1 : 1 &<< Self(truncatingIfNeeded: Self.bitWidth &- (self &- 1).leadingZeroBitCount)
    }
}

/// Zero- or sign-free truth as a number, for branch-free counting.
@inline(__always)
func one(if condition: Bool) -> UInt64 { condition ? 1 : 0 }
