// SPDX-License-Identifier: Apache-2.0

/// An ICMPv6 message (RFC 4443) right behind an IPv6 header.
struct ICMPv6Message: BitwiseCopyable {
    let ip: IPv6Header

    static var proto: UInt8 { 58 }
    static var packetTooBig: UInt8 { 2 }
    static var timeExceeded: UInt8 { 3 }
    static var echoRequest: UInt8 { 128 }
    static var echoReply: UInt8 { 129 }
    /// Below this type messages are errors.
    static var firstQuery: UInt8 { 128 }

    @inline(__always) init(_ ip: IPv6Header) { self.ip = ip }

    var bytes: Bytes { ip.ip.advanced(by: IPv6Header.length) }
    var type: UInt8 { bytes[0] }
    var code: UInt8 { bytes[1] }

    /// Over the message and the pseudo-header (RFC 8200 section 8.1).
    private var sum: UInt32 {
        Checksum.sum(ip.ip.advanced(by: IPv6Header.addressesOffset), 32) &+ ip.payloadLength.u32 &+ Self.proto.u32
            &+ Checksum.sum(bytes, ip.payloadLength)
    }

    var hasCorrectChecksum: Bool { Checksum.fold(sum) == 0xFFFF }

    func writeChecksum() {
        bytes.store(UInt16(0), at: 2)
        bytes.store(~Checksum.fold(sum), at: 2)
    }
}
