// SPDX-License-Identifier: Apache-2.0

/// UDP and VXLAN headers (RFC 7348 section 5). `udp` points at the first of 16 bytes.
///
///     SS SS DD DD LL LL 00 00  08 00 00 00 VV VV VV 00
struct VXLANHeader: BitwiseCopyable {
    let udp: Bytes

    /// With UDP.
    static var length: Int { 16 }
    static var udpLength: Int { 8 }
    static var ipProtocol: UInt8 { 17 }
    static var port: UInt16 { 4789 }

    @inline(__always) init(_ udp: Bytes) { self.udp = udp }

    @inline(__always) var destinationPort: UInt16 { udp.u16(2) }
    @inline(__always) var datagramLength: Int { udp.u16(4).int }
    /// The I flag: there is a VNI. All other flags are ignored.
    @inline(__always) var hasVNI: Bool { udp[8] & 0x08 != 0 }
    @inline(__always) var vni: UInt32 { udp.u32(12) &>> 8 }

    /// From the dynamic range (RFC 6335), so that routers spread flows (RFC 7348 section 5).
    @inline(__always)
    static func sourcePort(_ flowID: UInt8) -> UInt16 { 0xC000 | flowID.u16 &<< 6 | flowID.u16 &>> 2 }

    /// All but source port and length. The checksum is 0: RFC 7348 section 5, for IPv6 RFC 6935.
    func write(port: UInt16, vni: UInt32) {
        udp.zero(Self.length)
        udp.store(port, at: 2)
        udp[8] = 0x08
        udp.store(vni &<< 8, at: 12)
    }
}
