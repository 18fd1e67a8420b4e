// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// Everything a cached decision depends on, exactly: 40 bytes, in memory order, never compared by fingerprint.
///
/// The layout is that of the packet, so that the common packet's key is two loads of 16 bytes:
///
///     link      destination MAC, source MAC (bytes 0-11 of the frame), ingress port; its top bit marks a fragment
///     network   VSID, protocol, VSID, addresses, ports (bytes 22-37: TTL and checksum make room for the VSID)
///     outer     outer source and destination
///
/// From a vm port VSID and outer addresses are 0.
struct FlowKey: BitwiseCopyable {
    var link: SIMD4<UInt32>
    var network: SIMD4<UInt32>
    var outer: UInt64

    /// Port numbers are smaller, see ``PortSlots``.
    private static var fragmentBit: UInt32 { 1 &<< 31 }

    /// The key of an IPv4 packet that `IPv4Header.isPlain` describes. `frame` is the (inner) Ethernet frame.
    @inline(__always)
    init(plain frame: Bytes, port: UInt32, vsid: UInt32, outer: UInt64) {
        link = frame.raw128(0)
        link[3] = port
        network = frame.raw128(22)
        network[0] = network[0] & 0xFF00 | Self.spread(vsid)
        self.outer = outer
    }

    /// The key of any IPv4 packet whose header has been checked; `readable` is what of it is contiguous.
    init(frame: Bytes, readable: Int, port: UInt32, vsid: UInt32, outer: UInt64) {
        let header = IPv4Header(frame.advanced(by: Ethernet.headerLength))
        link = frame.raw128(0)
        link[3] = port | (header.isFragment ? Self.fragmentBit : 0)
        network = SIMD4(
            header.proto.u32 &<< 8 | Self.spread(vsid), header.ip.raw32(12), header.ip.raw32(16),
            header.rawPorts(readable: readable))
        self.outer = outer
    }

    /// The 24 bits of a VSID around the byte of the protocol.
    @inline(__always)
    private static func spread(_ vsid: UInt32) -> UInt32 { vsid & 0xFF | (vsid &>> 8) &<< 16 }

    @inline(__always)
    static func == (a: FlowKey, b: FlowKey) -> Bool {
        apus_is_zero(unsafe unsafeBitCast((a.link ^ b.link) | (a.network ^ b.network), to: SIMD2<Int64>.self)) != 0
            && a.outer == b.outer
    }

    /// Where the flow stands in the cache.
    @inline(__always)
    func hash(_ key: Ref<apus_hash_key>) -> UInt64 {
        unsafe apus_hash_vectors(
            unsafeBitCast(link, to: SIMD2<Int64>.self), unsafeBitCast(network, to: SIMD2<Int64>.self), outer,
            key.pointer)
    }

    /// The FlowID of the wire (RFC 7637 section 3.2): documented in docs/pipeline.md 2.3 so that others can compute it.
    /// Not the keyed hash of the cache, whose bits are nobody's business.
    var flowID: UInt8 {
        let source = UInt32(bigEndian: network[1])
        let destination = UInt32(bigEndian: network[2])
        let ports = UInt32(bigEndian: network[3])
        let proto = (network[0] &>> 8).u8.u32
        let h = source &* 0x9E37_79B1 ^ destination &* 0x85EB_CA77 ^ (ports &+ proto) &* 0xC2B2_AE3D
        return (((h ^ h &>> 15) &* 0x2C1B_3C6D) &>> 24).u8
    }
}
