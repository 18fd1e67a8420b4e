// SPDX-License-Identifier: Apache-2.0

import CApus

/// `struct apus_frame` (worker.h) with the pointers as addresses: the same 32 bytes. The C boundary checks that the
/// layouts agree.
struct Frame {
    var address: UInt
    var buffer: UInt
    var length: UInt32
    /// `contiguous` and `headroom`, which move together.
    private var space: UInt32
    var port: UInt32
    var flags: UInt32

    init(
        address: UInt, buffer: UInt, length: UInt32, contiguous: UInt16, headroom: UInt16, port: UInt32, flags: UInt32
    ) {
        self.address = address
        self.buffer = buffer
        self.length = length
        space = contiguous.u32 | headroom.u32 &<< 16
        self.port = port
        self.flags = flags
    }

    @inline(__always) var contiguous: UInt16 { space.u16 }
    @inline(__always) var headroom: UInt16 { (space &>> 16).u16 }

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

    /// Bytes at `bytes` that are read when something is decided. They are contiguous in every frame, also when tags were
    /// removed, so that no decision depends on how much more of a frame happens to be.
    @inline(__always)
    var readable: Int { min(length.int, Self.readableMaximum) }
    static var readableMaximum: Int { contiguousMinimum.int &- Ethernet.maximumTags &* Ethernet.tagLength }

    /// Remove bytes at the front; they are contiguous.
    @inline(__always)
    mutating func pop(_ count: Int) {
        address &+= UInt(bitPattern: count)
        length &-= count.u32
        // What does not fit the field is forgotten.
        let room = min(count.u32, 0xFFFF &- space &>> 16)
        space = space &+ room &<< 16 &- count.u32
    }

    /// Add bytes at the front; there is headroom for them.
    @inline(__always)
    mutating func push(_ count: Int) {
        address &-= UInt(bitPattern: count)
        length &+= count.u32
        let room = min(count.u32, 0xFFFF &- space & 0xFFFF)
        space = space &- count.u32 &<< 16 &+ room
    }

    /// Cut padding at the end.
    @inline(__always)
    mutating func trim(to newLength: Int) {
        if newLength.u32 < length { length = newLength.u32 }
    }
}
