// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// A position in a packet. Offsets may be negative (headroom). Nothing is checked here: the parsers compare lengths
/// once, before the first load. All multi-byte values are big-endian on the wire and host order here; the `raw`
/// forms keep the byte order of memory, for comparing and hashing.
@safe
struct Bytes: BitwiseCopyable {
    @unsafe let base: UnsafeMutablePointer<UInt8>

    @inline(__always)
    init(_ base: UnsafeMutablePointer<UInt8>) { unsafe self.base = base }

    @inline(__always) var address: UInt { unsafe UInt(bitPattern: base) }

    @inline(__always)
    func advanced(by count: Int) -> Bytes { unsafe Bytes(base + count) }

    @inline(__always)
    subscript(offset: Int) -> UInt8 {
        get { unsafe base[offset] }
        nonmutating set { unsafe base[offset] = newValue }
    }

    @inline(__always) func raw16(_ offset: Int) -> UInt16 { unsafe apus_load16(base + offset) }
    @inline(__always) func raw32(_ offset: Int) -> UInt32 { unsafe apus_load32(base + offset) }
    @inline(__always) func raw64(_ offset: Int) -> UInt64 { unsafe apus_load64(base + offset) }
    @inline(__always) func raw128(_ offset: Int) -> SIMD4<UInt32> {
        unsafe unsafeBitCast(apus_load128(base + offset), to: SIMD4<UInt32>.self)
    }
    /// What `load` makes of the bytes there.
    @inline(__always) func raw128(_ offset: Int, _ load: (UnsafeRawPointer) -> SIMD2<Int64>) -> SIMD4<UInt32> {
        unsafe unsafeBitCast(load(base + offset), to: SIMD4<UInt32>.self)
    }
    @inline(__always) func u16(_ offset: Int) -> UInt16 { UInt16(bigEndian: raw16(offset)) }
    @inline(__always) func u32(_ offset: Int) -> UInt32 { UInt32(bigEndian: raw32(offset)) }
    @inline(__always) func store(_ value: UInt16, at offset: Int) {
        unsafe apus_store16(base + offset, value.bigEndian)
    }
    @inline(__always) func store(_ value: UInt32, at offset: Int) {
        unsafe apus_store32(base + offset, value.bigEndian)
    }

    @inline(__always) func storeRaw(_ value: UInt16, at offset: Int) { unsafe apus_store16(base + offset, value) }
    @inline(__always) func storeRaw(_ value: UInt32, at offset: Int) { unsafe apus_store32(base + offset, value) }

    @inline(__always)
    func mac(_ offset: Int) -> MACAddress {
        MACAddress(u32(offset).u64 &<< 16 | u16(offset &+ 4).u64)
    }

    @inline(__always)
    func store(_ mac: MACAddress, at offset: Int) {
        store((mac.value &>> 16).u32, at: offset)
        store(mac.value.u16, at: offset &+ 4)
    }

    /// Move `count` bytes within the packet; the ranges may overlap.
    @inline(__always)
    func move(_ count: Int, from: Int, to: Int) { unsafe apus_move(base + to, base + from, count) }

    /// Copy `count` bytes from another place; the ranges do not overlap.
    @inline(__always)
    func copy(_ count: Int, from source: Bytes) { unsafe apus_copy(base, source.base, count) }

    @inline(__always)
    func zero(_ count: Int) { unsafe apus_zero(base, count) }

    @inline(__always)
    func prefetch() { unsafe apus_prefetch(base) }
}
