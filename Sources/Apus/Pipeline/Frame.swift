// SPDX-License-Identifier: Apache-2.0

import CApus

/// `struct apus_frame` (worker.h) with the pointers as addresses: the same 32 bytes. The C boundary checks that the
/// layouts agree.
struct Frame {
    var address: UInt
    var buffer: UInt
    var length: UInt32
    var space: Space
    var way: Way

    /// `contiguous` and `headroom`: they move together.
    struct Space: BitwiseCopyable {
        var bits: UInt32

        @inline(__always)
        init(contiguous: UInt16, headroom: UInt16) { bits = contiguous.u32 | headroom.u32 &<< 16 }
        @inline(__always) var contiguous: UInt16 { bits.u16 }
        @inline(__always) var headroom: UInt16 { (bits &>> 16).u16 }
    }

    /// Where it came from or goes to, and what is known of it.
    struct Way: BitwiseCopyable {
        private var bits: UInt64

        @inline(__always)
        init(port: UInt32, flags: UInt32) { bits = port.u64 | flags.u64 &<< 32 }
        @inline(__always)
        var port: UInt32 {
            get { bits.u32 }
            set { bits = bits & ~0xFFFF_FFFF | newValue.u64 }
        }
        @inline(__always)
        var flags: UInt32 {
            get { (bits &>> 32).u32 }
            set { bits = bits & 0xFFFF_FFFF | newValue.u64 &<< 32 }
        }
    }

    init(
        address: UInt, buffer: UInt, length: UInt32, contiguous: UInt16, headroom: UInt16, port: UInt32, flags: UInt32
    ) {
        self.address = address
        self.buffer = buffer
        self.length = length
        space = Space(contiguous: contiguous, headroom: headroom)
        way = Way(port: port, flags: flags)
    }

    @inline(__always) var contiguous: UInt16 { space.contiguous }
    @inline(__always) var headroom: UInt16 { space.headroom }
    @inline(__always)
    var port: UInt32 {
        get { way.port }
        set { way.port = newValue }
    }
    @inline(__always)
    var flags: UInt32 {
        get { way.flags }
        set { way.flags = newValue }
    }

    static var maximumLength: UInt32 { APUS_FRAME_MAX }
    static var contiguousMinimum: UInt32 { APUS_CONTIGUOUS }

    @inline(__always)
    var bytes: Bytes { unsafe Bytes(UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped) }

    /// docs/pipeline.md section 1.
    @inline(__always) var isValid: Bool { isValid(ofAtLeast: Ethernet.headerLength.u32) }

    /// The same, and at least so long. Apart, and each expected, or the compiler computes all before it asks for any.
    @inline(__always)
    func isValid(ofAtLeast least: UInt32) -> Bool {
        guard _fastPath(length &- least <= Self.maximumLength &- least) else { return false }
        guard _fastPath(contiguous.u32 >= length) || contiguous.u32 >= Self.contiguousMinimum else { return false }
        return _fastPath(address != 0)
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
        let room = min(count.u32, 0xFFFF &- headroom.u32)
        space.bits = space.bits &+ room &<< 16 &- count.u32
    }

    /// Add bytes at the front; there is headroom for them.
    @inline(__always)
    mutating func push(_ count: Int) {
        address &-= UInt(bitPattern: count)
        length &+= count.u32
        let room = min(count.u32, 0xFFFF &- contiguous.u32)
        space.bits = space.bits &- count.u32 &<< 16 &+ room
    }

    /// Cut padding at the end.
    @inline(__always)
    mutating func trim(to newLength: Int) {
        if newLength.u32 < length { length = newLength.u32 }
    }
}
