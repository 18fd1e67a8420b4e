// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

/// What a flow does to its packets: the composed result of every layer that looked at the first one, ready to be
/// applied without looking again. Three cache lines, one or two of them hot; flows with the same result share one.
///
/// Layers that come later (address translation, filters, meters) add fields and flags here; the hit path stays
/// one compare and one application.
struct Transposition {
    enum Kind: UInt8 {
        case drop
        /// Leave through a vm port as it is.
        case deliver
        /// Put `header` before the frame and leave through a provider port.
        case encapsulate
        /// Remove the outer header and leave through a vm port.
        case decapsulate
        /// Replace both addresses and the Ethernet header.
        case rewrite
        /// For a gateway address: each packet is looked at (echo requests are answered).
        case gateway
        /// For all machines of the virtual subnet: each packet is copied.
        case copyOut
        /// The same, from another host; never remembered.
        case copyIn
        /// Leave through an external port, perhaps after an outer header is removed.
        case leave
    }

    /// What the hit path does, in one byte: each common case by itself, so that nothing is asked about a packet of it. Bits, not an
    /// enumeration, of which the compiler makes a table of jumps.
    struct Operation: BitwiseCopyable, Equatable {
        private let bits: UInt8

        static var other: Operation { Operation(bits: 0) }
        static var encapsulate: Operation { Operation(bits: 8) }
        static var decapsulate: Operation { Operation(bits: 16) }

        @inline(__always) var isIPv6: Bool { bits & 1 != 0 }
        @inline(__always) var isRouted: Bool { bits & 2 != 0 }
        @inline(__always) var delivers: Bool { bits & 4 != 0 }
        @inline(__always) var encapsulates: Bool { bits & 8 != 0 }
        @inline(__always) var decapsulates: Bool { bits & 16 != 0 }
        @inline(__always) static func == (a: Operation, b: Operation) -> Bool { a.bits == b.bits }

        private init(bits: UInt8) { self.bits = bits }

        @inline(__always)
        init(_ kind: Kind, _ variant: Variant, isRouted: Bool) {
            let isTunnel = kind == .encapsulate || kind == .decapsulate
            guard isTunnel ? variant.isCommonTunnel : kind == .deliver else {
                self = .other
                return
            }
            let bit: UInt8 = !isTunnel ? 4 : kind == .encapsulate ? 8 : 16
            bits = bit | (isRouted && bit != 16 ? 2 : 0) | (variant.has(Variant.ipv6) ? 1 : 0)
        }
    }

    /// Numbers of packets: encapsulated, decapsulated, routed, switched.
    struct PacketCounts: BitwiseCopyable {
        /// 16 bits each.
        private var words: UInt64 = 0

        init() {}

        /// Of one packet.
        @inline(__always)
        init(_ kind: Kind, isRouted: Bool) {
            let routed: UInt64 = isRouted ? 1 &<< 32 : 0
            if kind == .encapsulate { words = 1 | routed }
            if kind == .decapsulate { words = 1 &<< 16 }
            if kind == .deliver { words = isRouted ? routed : 1 &<< 48 }
        }

        @inline(__always) static func += (sum: inout PacketCounts, more: PacketCounts) { sum.words &+= more.words }

        @inline(__always) var encapsulated: UInt64 { words & 0xFFFF }
        @inline(__always) var decapsulated: UInt64 { words &>> 16 & 0xFFFF }
        @inline(__always) var routed: UInt64 { words &>> 32 & 0xFFFF }
        @inline(__always) var switched: UInt64 { words &>> 48 }
    }

    /// What differs from NVGRE over IPv4 around IPv4, as a set.
    struct Variant: BitwiseCopyable {
        private var bits: UInt8 = 0

        /// The customer's packet is IPv6.
        static var ipv6: UInt8 { 1 }
        /// The outer packet is IPv6.
        static var outerIPv6: UInt8 { 2 }
        /// VXLAN.
        static var vxlan: UInt8 { 4 }
        /// No FlowID in the key, whose last byte is the VSID's.
        static var draftKey: UInt8 { 8 }
        /// The outer DSCP is that of the template.
        static var pipe: UInt8 { 16 }
        /// The outer ECN is Not-ECT.
        static var hidesECN: UInt8 { 32 }
        /// The outer DF is the inner one.
        static var copiesDF: UInt8 { 64 }
        /// The inner DSCP becomes the outer one.
        static var uniform: UInt8 { 128 }

        @inline(__always) var isCommon: Bool { bits == 0 }
        /// What is around the customer's packet is common.
        @inline(__always) var isCommonTunnel: Bool { bits & ~Self.ipv6 == 0 }
        @inline(__always) func has(_ bit: UInt8) -> Bool { bits & bit != 0 }
        @inline(__always)
        mutating func set(_ bit: UInt8, _ isSet: Bool = true) { bits = isSet ? bits | bit : bits & ~bit }
    }

    /// Room for the outer header, right-aligned: the byte before the inner frame is the last one, so that whatever its
    /// length it is written with the same 16-byte stores: three inside IPv4, five inside IPv6.
    static var headerRoom: Int { 80 }
    static var headerRoomIPv4: Int { 48 }

    // The first cache line is all that a packet needs that gets no header; IPv4 has the one that it gets in the last line.

    /// The worker's neighbour epoch at which `header` was known to have the right destination MAC. Not part of the result, as what is
    /// behind the header: two transpositions that differ only there are the same.
    var neighborEpoch: UInt32
    /// Flows that use this one.
    var references: UInt32

    // The result. What `prepare` sets follows from the rest.

    private var macFirst: UInt32
    private var macLast: UInt16
    private var scopeNumber: UInt16
    /// Where the egress port's transmitted frames are counted, behind them their bytes.
    private(set) var transmitted: UInt
    /// What is counted of each packet.
    private(set) var counts: PacketCounts
    /// By how much the contiguous bytes and the headroom of a frame grow.
    private(set) var gained: Frame.Space
    /// Sum of the outer IPv4 header with TOS and checksum 0, for a customer packet of length 0.
    var headerSum: UInt32
    /// Where frames leave, and how.
    private(set) var way: Frame.Way
    /// By how much they shrink.
    private(set) var lost: Frame.Space
    /// Largest customer IP packet; 0xFFFF = no limit.
    var maximum: UInt16
    var headerLength: UInt8
    private(set) var operation: Operation
    /// On the provider side: outer destination MAC and VLAN of the frames that this is for, see ``OuterPacket/identity``. The key
    /// does not contain them, so each packet is compared. 0 from a vm port.
    var outerIdentity: UInt64

    /// The next hop as number of its ``Neighbor``, or `none` when its MAC needs no attention (static).
    var neighbor: UInt32
    var kind: Kind
    /// For `drop`; of others see `dependsOnTwoRecords`.
    var reason: UInt8
    /// 1 = the packet changes its virtual subnet: TTL, destination MAC.
    var isRouted: UInt8
    var variant: Variant
    /// Number of the ``NeighborCell`` of the remote provider address, which knows its path MTU, or `none`.
    var pathCell: UInt32
    /// 1 = flows send their FlowID.
    var sendsFlowID: UInt8
    // No holes: what is all words is filled word by word.
    private var padding1: UInt8
    private var padding2: UInt16
    private var padding3: InlineArray<4, UInt32>
    var header: InlineArray<80, UInt8>

    /// Its hash in the table of transpositions; of one that nobody uses the next such.
    var hash: UInt32
    /// The path MTU when none was learned, and what of it the customer's packet does not get.
    var mtu: UInt16
    var overhead: UInt16
    private var padding4: UInt64

    /// The destination MAC of a routed packet, in memory order, in the lower 48 bits.
    @inline(__always)
    var destinationMAC: UInt64 {
        get { macFirst.u64 | macLast.u64 &<< 32 }
        set { (macFirst, macLast) = (newValue.u32, (newValue &>> 32).u16) }
    }
    /// The tenant; see ``Scopes``.
    @inline(__always)
    var scope: UInt32 {
        get { scopeNumber.u32 }
        set { scopeNumber = newValue.u16 }
    }
    var egress: UInt32 {
        get { way.port }
        set { way.port = newValue }
    }

    static var gainedOffset: Int { 32 }
    static var lostOffset: Int { 48 }
    static var headerOffset: Int { 96 }
    /// What is compared: up to the end of the header.
    static var resultOffset: Int { 8 }
    static var resultSize: Int { headerOffset &+ headerRoom &- resultOffset }

    init(_ kind: Kind, scope: UInt32) {
        neighborEpoch = 0
        references = 0
        (macFirst, macLast) = (0, 0)
        scopeNumber = scope.u16
        transmitted = 0
        counts = PacketCounts()
        gained = Frame.Space(contiguous: 0, headroom: 0)
        headerSum = 0
        way = Frame.Way(port: 0, flags: 0)
        lost = Frame.Space(contiguous: 0, headroom: 0)
        maximum = .max
        headerLength = 0
        operation = .other
        outerIdentity = 0
        neighbor = none
        self.kind = kind
        reason = 0
        isRouted = 0
        variant = Variant()
        pathCell = none
        sendsFlowID = 0
        padding1 = 0
        padding2 = 0
        padding3 = .init(repeating: 0)
        header = .init(repeating: 0)
        hash = 0
        mtu = 0
        overhead = 0
        padding4 = 0
    }

    /// Nothing that `prepare` looks at has changed since. In one from the ``TunnelCache`` only `isRouted` may have.
    @inline(__always)
    var isPrepared: Bool { transmitted != 0 && (counts.routed != 0) == (isRouted != 0) }

    /// Everything but the header is decided: put together what the hit path would have to for each packet.
    @_optimize(speed)
    mutating func prepare(_ portCounters: PortCounters) {
        operation = Operation(kind, variant, isRouted: isRouted != 0)
        counts = PacketCounts(kind, isRouted: isRouted != 0)
        transmitted = portCounters.address(of: egress, .transmitted)
        let nothing = Frame.Space(contiguous: 0, headroom: 0)
        (gained, lost) = (nothing, nothing)
        let length = headerLength.u16
        let (contiguous, headroom) = (Frame.Space(contiguous: length, headroom: 0), Frame.Space(contiguous: 0, headroom: length))
        if kind == .encapsulate { (gained, lost) = (contiguous, headroom) }
        if kind == .decapsulate { (gained, lost) = (headroom, contiguous) }
        way.flags = kind == .encapsulate ? APUS_FRAME_ENCAPSULATED : 0
    }

    /// No records decided this but those that (some virtual subnet, the packet's source) and (some virtual subnet, its destination)
    /// find, and those of gateway addresses: see ``Scopes``.
    var dependsOnTwoRecords: Bool {
        get { kind != .drop && reason != 0 }
        set { if kind != .drop { reason = newValue ? 1 : 0 } }
    }

    // What `leave` keeps in fields that only other kinds need.

    /// Bytes of the outer headers before the customer's frame; also of `gateway`.
    var innerOffset: Int {
        get { kind == .leave || kind == .gateway ? headerSum.int : 0 }
        set { if kind == .leave || kind == .gateway { headerSum = newValue.u32 } }
    }
    /// The id of the port, or `none`; also of `gateway`.
    var externalPort: UInt32 {
        get { kind == .leave || kind == .gateway ? destinationMAC.u32 : none }
        set { destinationMAC = newValue.u64 }
    }
    /// Does it remove outer headers?
    var removesHeader: Bool { kind == .decapsulate || innerOffset != 0 }

    init(drop reason: DropReason, scope: UInt32, isRouted: Bool = false) {
        self.init(.drop, scope: scope)
        self.reason = reason.value
        self.isRouted = isRouted ? 1 : 0
    }
}

extension Ref where Value == Transposition {
    /// Differs, in its upper bits, where results usually do. No hash: others can choose what is equal here.
    @inline(__always)
    var mixed: UInt64 {
        // Of NVGRE the outer addresses, or the end of the second, and the VSID.
        let end = header.advanced(by: Value.headerRoom)
        let outer = end.raw64(-16) ^ end.raw64(-8) &<< 24 ^ value.headerSum.u64 &<< 32
        let inner = value.destinationMAC ^ value.outerIdentity ^ value.egress.u64 &<< 20 ^ value.scope.u64 &<< 40
        return (outer ^ inner) &* 0x9E37_79B9_7F4A_7C15
    }

    /// The room for the outer header.
    @inline(__always)
    var header: Bytes { unsafe Bytes((raw + Value.headerOffset).assumingMemoryBound(to: UInt8.self)) }

    /// The space around the first byte of a frame after this was done to it; see `prepare`.
    @inline(__always)
    func moved(_ space: Frame.Space) -> Frame.Space {
        var space = space
        unsafe space.bits = apus_moved_pair(space.bits, raw + Value.gainedOffset, raw + Value.lostOffset)
        return space
    }
}
