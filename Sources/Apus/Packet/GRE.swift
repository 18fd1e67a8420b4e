// SPDX-License-Identifier: Apache-2.0

import CApus

/// NVGRE over IPv4: bytes between a customer's IP packet and the total length of the outer one, whose Ethernet header does
/// not count: outer IP, GRE, inner Ethernet.
enum NVGRE {
    static var overheadIPv4: UInt32 { 42 }
}

/// The GRE header as NVGRE uses it (RFC 7637 section 3.2): flags and version, protocol type, key.
///
///     20 00 65 58  VV VV VV FF        VV = VSID, FF = FlowID
struct GREHeader: BitwiseCopyable {
    let gre: Bytes

    static var length: Int { 8 }
    static var ipProtocol: UInt8 { 47 }
    static var transparentEthernet: UInt16 { 0x6558 }
    static var keyPresent: UInt16 { 0x2000 }

    @inline(__always) init(_ gre: Bytes) { self.gre = gre }

    @inline(__always) var flags: UInt16 { gre.u16(0) }
    @inline(__always) var proto: UInt16 { gre.u16(2) }
    /// The upper 24 bits of the key; the lower 8, the FlowID, never take part in a decision (RFC 7637 section 3.2).
    @inline(__always) var vsid: UInt32 { key &>> 8 }
    @inline(__always) var key: UInt32 { gre.u32(4) }

    /// A key and nothing else but bits that are ignored; an Ethernet frame inside.
    @inline(__always)
    var isPlain: Bool { gre.raw32(0) & UInt32(0xFC07_FFFF).bigEndian == UInt32(0x2000_6558).bigEndian }

    /// Why a receiver has to refuse these flags, or 0. Bits 6-12 are ignored (RFC 2784 section 2.3): 128 of the
    /// 65,536 words are accepted.
    @inline(__always)
    static func refusal(flags: UInt16) -> DropReason? {
        if flags & 0x0007 != 0 { return .greVersion }
        if flags & 0xDC00 != 0 { return .greFlags }
        if flags & keyPresent == 0 { return .greNoKey }
        return nil
    }
}
