// SPDX-License-Identifier: Apache-2.0

import CApus

/// `struct apus_frame` (worker.h) with the pointers as addresses: the same 32 bytes. The C boundary checks that the
/// layouts agree.
struct Frame {
    var address: UInt
    var buffer: UInt
    var length: UInt32
    var contiguous: UInt16
    var headroom: UInt16
    var port: UInt32
    var flags: UInt32

    static var maximumLength: UInt32 { APUS_FRAME_MAX }
    static var contiguousMinimum: UInt32 { APUS_CONTIGUOUS }

    @inline(__always)
    var bytes: Bytes { unsafe Bytes(UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped) }

    /// docs/pipeline.md section 1.
    @inline(__always)
    var isValid: Bool {
        address != 0 && length >= Ethernet.headerLength.u32 && length <= Self.maximumLength
            && contiguous.u32 >= min(length, Self.contiguousMinimum)
    }

    /// Bytes at `bytes` that may be read: no more than 192, so that what is decided does not depend on how much of a
    /// frame happens to be contiguous.
    @inline(__always)
    var readable: Int { min(length, Self.contiguousMinimum).int }

    /// Remove bytes at the front.
    @inline(__always)
    mutating func pop(_ count: Int) {
        address &+= UInt(bitPattern: count)
        length &-= count.u32
        contiguous = contiguous &- count.u16
        headroom = (headroom.u32 &+ count.u32 > 0xFFFF) ? 0xFFFF : headroom &+ count.u16
    }

    /// Add bytes at the front; there is headroom for them.
    @inline(__always)
    mutating func push(_ count: Int) {
        address &-= UInt(bitPattern: count)
        length &+= count.u32
        contiguous = contiguous.u32 &+ count.u32 > 0xFFFF ? 0xFFFF : contiguous &+ count.u16
        headroom = headroom &- count.u16
    }

    /// Cut padding at the end.
    @inline(__always)
    mutating func trim(to newLength: Int) {
        if newLength.u32 < length { length = newLength.u32 }
    }
}
