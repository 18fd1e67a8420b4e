// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// Everything that a cached decision depends on, exactly, in memory order, never compared by fingerprint.
protocol FlowIdentity: BitwiseCopyable {
    static func == (a: Self, b: Self) -> Bool
    /// Where it came from: never 0.
    var link: SIMD4<UInt32> { get set }
    /// Where the flow stands in the cache.
    func hash(_ key: HashKey) -> UInt64
    /// The FlowID of the wire (RFC 7637 section 3.2): documented in docs/pipeline.md 2.3 so that others can compute it.
    /// Not the keyed hash of the cache, whose bits are nobody's business.
    var flowID: UInt8 { get }
    /// By what the records of the packet's addresses are found.
    var recordKey: (port: UInt32, vsid: UInt32, source: IPAddress, destination: IPAddress) { get }
    /// The numbers of the customer's addresses; see ``Scopes``.
    var addresses: (source: UInt32, destination: UInt32) { get }
}

/// The key of the hash, for a loop that keeps it in registers.
struct HashKey: BitwiseCopyable {
    fileprivate let first: SIMD2<Int64>
    fileprivate let second: SIMD2<Int64>

    @inline(__always)
    init(_ key: Ref<apus_hash_key>) {
        unsafe (first, second) = (apus_load128(key.raw), apus_load128(key.raw + 16))
    }
}

/// What is not in the packet where the key is taken from: the ingress port, whether it is a fragment, the protocol and VSID.
private enum Field {
    /// In the port's word. Port numbers are smaller, see ``PortSlots``.
    static var fragment: UInt32 { 1 &<< 31 }

    /// The 24 bits of a VSID around the byte of the protocol.
    @inline(__always)
    static func spread(_ vsid: UInt32) -> UInt32 { vsid & 0xFF | (vsid &>> 8) &<< 16 }

    /// The reverse.
    static func vsid(_ word: UInt32) -> UInt32 { word & 0xFF | (word &>> 16) &<< 8 }

    static func flowID(_ source: UInt32, _ destination: UInt32, _ ports: UInt32, _ proto: UInt8) -> UInt8 {
        let h = source &* 0x9E37_79B1 ^ destination &* 0x85EB_CA77 ^ (ports &+ proto.u32) &* 0xC2B2_AE3D
        return (((h ^ h &>> 15) &* 0x2C1B_3C6D) &>> 24).u8
    }
}

/// The key of an IPv4 packet, inside IPv4 or not encapsulated: 40 bytes. The layout is that of the packet, so that the
/// common packet's key is two loads of 16 bytes:
///
///     link      destination MAC, source MAC (bytes 0-11 of the frame), ingress port; its top bit marks a fragment
///     network   VSID, protocol, VSID, addresses, ports (bytes 22-37: TTL and checksum make room for the VSID)
///     outer     outer source and destination
///
/// From a vm port VSID and outer addresses are 0.
struct FlowKey: FlowIdentity {
    var link: SIMD4<UInt32>
    var network: SIMD4<UInt32>
    var outer: UInt64

    /// The key of an IPv4 packet that `IPv4Header.isPlain` describes. `frame` is the (inner) Ethernet frame; `tunnel` the IPv4 header
    /// of the NVGRE around it.
    @inline(__always)
    init(plain frame: Bytes, port: UInt32, tunnel: Bytes?) {
        link = frame.raw128(0)
        link[3] = port
        network = unsafe frame.raw128(22, apus_second_of_four)
        outer = 0
        if let tunnel {
            unsafe network |= tunnel.raw128(24, apus_spread_vsid)
            outer = tunnel.raw64(IPv4Header.addressesOffset)
        }
    }

    /// The key of any IPv4 packet whose header has been checked; `readable` is what of it may be read.
    init(_ frame: Bytes, readable: Int, port: UInt32, vsid: UInt32, outer: UInt64) {
        let header = IPv4Header(frame.advanced(by: Ethernet.headerLength))
        link = frame.raw128(0)
        link[3] = port | (header.isFragment ? Field.fragment : 0)
        network = SIMD4(
            header.proto.u32 &<< 8 | Field.spread(vsid), header.ip.raw32(12), header.ip.raw32(16),
            header.rawPorts(readable: readable))
        self.outer = outer
    }

    @inline(__always)
    static func == (a: FlowKey, b: FlowKey) -> Bool {
        isZero((a.link ^ b.link) | (a.network ^ b.network), a.outer ^ b.outer)
    }

    @inline(__always)
    func hash(_ key: HashKey) -> UInt64 {
        unsafe apus_hash_vectors(
            unsafeBitCast(link, to: SIMD2<Int64>.self), unsafeBitCast(network, to: SIMD2<Int64>.self), outer,
            key.first, key.second)
    }

    var flowID: UInt8 {
        Field.flowID(
            UInt32(bigEndian: network[1]), UInt32(bigEndian: network[2]), UInt32(bigEndian: network[3]),
            (network[0] &>> 8).u8)
    }

    var recordKey: (port: UInt32, vsid: UInt32, source: IPAddress, destination: IPAddress) {
        (
            link[3] & ~Field.fragment, Field.vsid(network[0]), IPAddress(v4: UInt32(bigEndian: network[1])),
            IPAddress(v4: UInt32(bigEndian: network[2]))
        )
    }

    @inline(__always)
    var addresses: (source: UInt32, destination: UInt32) {
        (Scopes.of(address: network[1]), Scopes.of(address: network[2]))
    }
}

/// The key of a packet that is IPv6, or inside IPv6: 104 bytes.
///
///     link          as in ``FlowKey``
///     source, destination, outerSource, outerDestination    16 bytes each; IPv4 in the last four
///     transport     ports; VSID, protocol, VSID; the families of both headers; 0
struct WideFlowKey: FlowIdentity {
    var link: SIMD4<UInt32>
    var source: SIMD4<UInt32>
    var destination: SIMD4<UInt32>
    var transport: SIMD4<UInt32>
    var outerSource = SIMD4<UInt32>(repeating: 0)
    var outerDestination = SIMD4<UInt32>(repeating: 0)
    /// What is known of the flow follows, and ends a cache line as it does behind a narrow key: so either may be read there.
    private var padding: UInt64 = 0

    /// Bits of the third word of `transport`: the two families share no key, whatever the addresses.
    private static var innerIPv6: UInt32 { 1 }
    private static var outerIPv6: UInt32 { 2 }
    private static var outerIPv4: UInt32 { 4 }

    /// The key of an IPv6 packet that `IPv6Header.isPlain` describes.
    @inline(__always)
    init(plainIPv6 frame: Bytes, port: UInt32, vsid: UInt32) {
        link = frame.raw128(0)
        link[3] = port
        source = frame.raw128(22)
        destination = frame.raw128(38)
        transport = SIMD4(frame.raw32(54), frame[20].u32 &<< 8 | Field.spread(vsid), Self.innerIPv6, 0)
    }

    /// The key of an IPv4 packet that `IPv4Header.isPlain` describes.
    @inline(__always)
    init(plainIPv4 frame: Bytes, port: UInt32, vsid: UInt32) {
        link = frame.raw128(0)
        link[3] = port
        source = SIMD4(0, 0, 0, frame.raw32(26))
        destination = SIMD4(0, 0, 0, frame.raw32(30))
        transport = SIMD4(frame.raw32(34), frame[23].u32 &<< 8 | Field.spread(vsid), 0, 0)
    }

    /// The key of any packet whose header has been checked; `readable` is what of it may be read.
    init(_ frame: Bytes, readable: Int, port: UInt32, vsid: UInt32) {
        let packet = IPPacket(in: frame)
        if packet.isIPv6 {
            self.init(plainIPv6: frame, port: port, vsid: vsid)
            let upper = packet.v6.upperLayer(readable: readable)
            if upper.isFragment { link[3] |= Field.fragment }
            let hasPorts =
                (upper.proto == 6 || upper.proto == 17) && upper.isReadable && !upper.isFragment
                && upper.offset &+ 4 <= min(packet.totalLength, readable)
            transport[0] = hasPorts ? packet.ip.raw32(upper.offset) : 0
            transport[1] = upper.proto.u32 &<< 8 | Field.spread(vsid)
        } else {
            self.init(plainIPv4: frame, port: port, vsid: vsid)
            if packet.v4.isFragment { link[3] |= Field.fragment }
            transport[0] = packet.v4.rawPorts(readable: readable)
        }
    }

    /// `ip` is the outer header.
    @inline(__always)
    mutating func setOuter(_ ip: Bytes, isIPv6: Bool) {
        if isIPv6 {
            outerSource = ip.raw128(8)
            outerDestination = ip.raw128(24)
            transport[2] |= Self.outerIPv6
        } else {
            outerSource[3] = ip.raw32(12)
            outerDestination[3] = ip.raw32(16)
            transport[2] |= Self.outerIPv4
        }
    }

    @inline(__always)
    static func == (a: WideFlowKey, b: WideFlowKey) -> Bool {
        let inner = (a.link ^ b.link) | (a.source ^ b.source) | (a.destination ^ b.destination)
        let outer = (a.outerSource ^ b.outerSource) | (a.outerDestination ^ b.outerDestination)
        return isZero(inner | outer | (a.transport ^ b.transport))
    }

    /// Of all but the outer addresses, which add nothing where they are honest: they only make two flows of different
    /// tunnels, that agree in everything else, neighbours.
    @inline(__always)
    func hash(_ key: HashKey) -> UInt64 {
        unsafe apus_hash_four_vectors(
            unsafeBitCast(link, to: SIMD2<Int64>.self), unsafeBitCast(source, to: SIMD2<Int64>.self),
            unsafeBitCast(destination, to: SIMD2<Int64>.self), unsafeBitCast(transport, to: SIMD2<Int64>.self),
            key.first, key.second)
    }

    var flowID: UInt8 {
        Field.flowID(
            Self.fold(source), Self.fold(destination), UInt32(bigEndian: transport[0]), (transport[1] &>> 8).u8)
    }

    @inline(__always)
    var addresses: (source: UInt32, destination: UInt32) {
        (Scopes.of(address: Self.xor(source)), Scopes.of(address: Self.xor(destination)))
    }

    var recordKey: (port: UInt32, vsid: UInt32, source: IPAddress, destination: IPAddress) {
        (link[3] & ~Field.fragment, Field.vsid(transport[1]), address(source), address(destination))
    }

    private func address(_ words: SIMD4<UInt32>) -> IPAddress {
        if transport[2] & Self.innerIPv6 == 0 { return IPAddress(v4: UInt32(bigEndian: words[3])) }
        return IPAddress(
            high: (words[0].u64 | words[1].u64 &<< 32).byteSwapped, low: (words[2].u64 | words[3].u64 &<< 32).byteSwapped)
    }

    @inline(__always)
    private static func xor(_ address: SIMD4<UInt32>) -> UInt32 { address[0] ^ address[1] ^ address[2] ^ address[3] }

    private static func fold(_ address: SIMD4<UInt32>) -> UInt32 {
        UInt32(bigEndian: xor(address))
    }
}

@inline(__always)
private func isZero(_ vector: SIMD4<UInt32>, _ word: UInt64 = 0) -> Bool {
    unsafe apus_is_zero(unsafeBitCast(vector, to: SIMD2<Int64>.self), word) != 0
}
