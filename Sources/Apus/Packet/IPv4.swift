// SPDX-License-Identifier: Apache-2.0

/// The IPv4 header (RFC 791 section 3.1). `ip` points at its first byte.
struct IPv4Header: BitwiseCopyable {
    let ip: Bytes

    static var minimumLength: Int { 20 }
    static var addressesOffset: Int { 12 }
    /// The header and the ports.
    static var plainMinimum: UInt32 { 24 }

    @inline(__always) init(_ ip: Bytes) { self.ip = ip }

    @inline(__always) var version: UInt8 { ip[0] &>> 4 }
    @inline(__always) var headerLength: Int { (ip[0] & 15).int &* 4 }
    @inline(__always) var typeOfService: UInt8 { ip[1] }
    @inline(__always) var totalLength: Int { ip.u16(2).int }
    @inline(__always) var mayBeFragmented: Bool { ip.u16(6) & 0x4000 == 0 }
    /// In units of eight bytes.
    @inline(__always) var fragmentOffset: Int { (ip.u16(6) & 0x1FFF).int }
    @inline(__always) var hasMoreFragments: Bool { ip.u16(6) & 0x2000 != 0 }
    /// More-fragments bit or offset: part of a fragmented packet.
    @inline(__always) var isFragment: Bool { ip.u16(6) & 0x3FFF != 0 }
    @inline(__always) var ttl: UInt8 { ip[8] }
    @inline(__always) var proto: UInt8 { ip[9] }
    @inline(__always) var checksum: UInt16 { ip.u16(10) }
    @inline(__always) var source: UInt32 { ip.u32(12) }
    @inline(__always) var destination: UInt32 { ip.u32(16) }

    /// Version, header length and total length are possible within `available` bytes; more bytes are padding.
    @inline(__always)
    func isWellFormed(available: Int) -> Bool {
        guard available >= Self.minimumLength, version == 4 else { return false }
        let header = headerLength
        let total = totalLength
        return header >= Self.minimumLength && header <= total && total <= available
    }

    /// The common case of what `isWellFormed` accepts: no options, TCP or UDP, not a fragment, and the ports are there.
    /// `frame` is an Ethernet frame; this looks at its EtherType too. `available` is the length of what follows that, at least `plainMinimum`.
    @inline(__always)
    static func isPlain(_ frame: Bytes, available: Int) -> Bool {
        let header = IPv4Header(frame.advanced(by: Ethernet.headerLength))
        return isWithoutOptions(frame) && (header.isWhole(17) || header.isWhole(6))
            && header.ip.u16(2).u32 &- plainMinimum <= available.u32 &- plainMinimum
    }

    /// EtherType, version and header length of an Ethernet frame without a tag.
    @inline(__always)
    static func isWithoutOptions(_ frame: Bytes) -> Bool {
        frame.raw32(12) & UInt32(0xFFFF_FF00).bigEndian == UInt32(0x0800_4500).bigEndian
    }

    /// This protocol, and not part of a fragmented packet: flags but for DF, and offset, are in the word that holds the protocol.
    @inline(__always)
    func isWhole(_ proto: UInt8) -> Bool { ip.raw32(6) & UInt32(0x3FFF_00FF).bigEndian == proto.u32.bigEndian }

    @inline(__always)
    var hasCorrectChecksum: Bool { Checksum.fold(Checksum.sum(ip, headerLength)) == 0xFFFF }

    /// The same for a header without options: one's complement sums do not care how wide the words are, or which way round.
    @inline(__always)
    var hasCorrectChecksumWithoutOptions: Bool {
        var (sum, carry) = ip.raw64(0).addingReportingOverflow(ip.raw64(8))
        sum &+= carry ? 1 : 0
        (sum, carry) = sum.addingReportingOverflow(ip.raw32(16).u64)
        sum &+= carry ? 1 : 0
        // It is good if that is a multiple of 0xFFFF; 0, which is one, it cannot be. Such a multiple times (2^64 - 1) / 0xFFFF is at
        // least the negative of that, and nothing else is.
        let part: UInt64 = 0x0001_0001_0001_0001
        return (sum &* part).addingReportingOverflow(part).overflow
    }

    /// RFC 1624: what the TTL loses the checksum gains, in one's complement, which never comes to 0xFFFF.
    @inline(__always)
    func decrementTTL() {
        // TTL, protocol, checksum.
        let word = UInt32(littleEndian: ip.raw32(8))
        ip.storeRaw((word &+ 0xFFFF &+ (word >= 0xFFFE_0000 ? 0x1_0000 : 0)).littleEndian, at: 8)
    }

    /// Replace DSCP and ECN (RFC 2474, RFC 3168).
    func setTypeOfService(_ tos: UInt8) {
        let old = ip.u16(0)
        ip[1] = tos
        ip.store(Checksum.updated(checksum, from: old, to: ip.u16(0)), at: 10)
    }

    /// Source and destination port of an unfragmented TCP or UDP packet, in memory order; 0 for everything else,
    /// and where the four bytes are not all inside `readable` bytes.
    @inline(__always)
    func rawPorts(readable: Int) -> UInt32 {
        let proto = proto
        guard proto == 6 || proto == 17, !isFragment else { return 0 }
        let offset = headerLength
        guard offset &+ 4 <= totalLength, offset &+ 4 <= readable else { return 0 }
        return ip.raw32(offset)
    }
}
