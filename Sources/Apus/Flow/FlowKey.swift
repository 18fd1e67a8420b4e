// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// Everything a cached decision depends on, exactly: 40 bytes, in memory order, never compared by fingerprint.
///
///     word 0   customer source address, destination address
///     word 1   source port, destination port, protocol, fragment flag, slot of the ingress port
///     word 2   destination MAC, first two bytes of the source MAC
///     word 3   last four bytes of the source MAC; port id (from a vm port) or VSID (from the provider side)
///     word 4   outer source, outer destination; 0 from a vm port
struct FlowKey: BitwiseCopyable {
    var addresses: UInt64
    var transport: UInt64
    var macs: UInt64
    var macTail: UInt64
    var outer: UInt64

    /// Set in word 1 for a fragment, so that layers which look at ports can tell.
    private static var fragmentBit: UInt64 { 1 &<< 40 }

    /// The key of an IPv4 packet whose header has been checked. `frame` is the (inner) Ethernet frame, `readable` what
    /// of its IP packet is contiguous.
    @inline(__always)
    init(frame: Bytes, readable: Int, port: UInt32, identity: UInt32, outer: UInt64) {
        let header = IPv4Header(frame.advanced(by: Ethernet.headerLength))
        addresses = header.ip.raw64(IPv4Header.addressesOffset)
        transport =
            header.rawPorts(readable: readable).u64 | header.proto.u64 &<< 32
            | (header.isFragment ? Self.fragmentBit : 0) | PortSlots.slot(of: port).u64 &<< 48
        macs = frame.raw64(0)
        macTail = frame.raw32(8).u64 | identity.u64 &<< 32
        self.outer = outer
    }

    @inline(__always)
    static func == (a: FlowKey, b: FlowKey) -> Bool {
        (a.addresses ^ b.addresses) | (a.transport ^ b.transport) | (a.macs ^ b.macs) | (a.macTail ^ b.macTail)
            | (a.outer ^ b.outer) == 0
    }

    /// The FlowID of the wire (RFC 7637 section 3.2): documented in docs/pipeline.md 2.3 so that others can compute it.
    /// Not the keyed hash of the cache, whose bits are nobody's business.
    var flowID: UInt8 {
        let source = UInt32(bigEndian: addresses.u32)
        let destination = UInt32(bigEndian: (addresses &>> 32).u32)
        let ports = UInt32(bigEndian: transport.u32)
        let proto = (transport &>> 32).u8.u32
        let h = source &* 0x9E37_79B1 ^ destination &* 0x85EB_CA77 ^ (ports &+ proto) &* 0xC2B2_AE3D
        return (((h ^ h &>> 15) &* 0x2C1B_3C6D) &>> 24).u8
    }
}
