// SPDX-License-Identifier: Apache-2.0

// Conversions that cannot trap: they keep the low bits, as a C cast does. The caller has checked the range where it
// matters.

extension FixedWidthInteger {
    @inline(__always) var u8: UInt8 { UInt8(truncatingIfNeeded: self) }
    @inline(__always) var u16: UInt16 { UInt16(truncatingIfNeeded: self) }
    @inline(__always) var u32: UInt32 { UInt32(truncatingIfNeeded: self) }
    @inline(__always) var u64: UInt64 { UInt64(truncatingIfNeeded: self) }
    @inline(__always) var int: Int { Int(truncatingIfNeeded: self) }
    @inline(__always) var i32: Int32 { Int32(truncatingIfNeeded: self) }
}
