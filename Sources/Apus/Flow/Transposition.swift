// SPDX-License-Identifier: Apache-2.0

import CApusIntrinsics

/// What a flow does to its packets: the composed result of every layer that looked at the first one, ready to be
/// applied without looking again. Three cache lines, two of them hot; flows with the same result share one.
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

    /// What the hit path does, in one byte: each common case by itself, so that nothing is asked about a packet of it.
    enum Operation: UInt8 {
        case other
        case encapsulate, encapsulateRouted, encapsulateIPv6
        case decapsulate, decapsulateIPv6
        case deliver

        init(_ transposition: Transposition) {
            let variant = transposition.variant
            let isRouted = transposition.isRouted != 0
            switch transposition.kind {
            case .encapsulate where variant.isCommon: self = isRouted ? .encapsulateRouted : .encapsulate
            case .encapsulate where variant.isCommonTunnel && !isRouted: self = .encapsulateIPv6
            case .decapsulate where variant.isCommonTunnel: self = variant.isCommon ? .decapsulate : .decapsulateIPv6
            case .deliver where !isRouted: self = .deliver
            default: self = .other
            }
        }
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

    var header: InlineArray<80, UInt8>
    /// Sum of the outer IPv4 header with TOS and checksum 0, for a customer packet of length 0.
    var headerSum: UInt32
    var headerLength: UInt8
    var kind: Kind
    /// For `drop`; of others see `dependsOnTwoRecords`.
    var reason: UInt8
    /// 1 = the packet changes its virtual subnet: TTL, destination MAC.
    var isRouted: UInt8

    var egress: UInt32
    /// Largest customer IP packet; 0xFFFF = no limit.
    var maximum: UInt16
    var variant: Variant
    /// 1 = flows send their FlowID.
    var sendsFlowID: UInt8
    /// The destination MAC of a routed packet, in memory order, in the lower 48 bits.
    var destinationMAC: UInt64
    /// The next hop as number of its ``Neighbor``, or `none` when its MAC needs no attention (static).
    var neighbor: UInt32
    /// The tenant; see ``Scopes``.
    var scope: UInt32
    /// On the provider side: outer destination MAC (memory order) and VLAN << 48 of the frames that this is for. The key
    /// does not contain them, so each packet is compared. 0 from a vm port.
    var outerIdentity: UInt64

    // The rest is not part of the result: two transpositions that differ only here are the same.

    /// The worker's neighbour epoch at which `header` was known to have the right destination MAC.
    var neighborEpoch: UInt32
    var operation: Operation
    // No holes: what is all words is filled word by word.
    private var padding1: UInt8
    private var padding2: UInt16
    /// Flows that use this one.
    var references: UInt32
    /// Its hash in the table of transpositions.
    var hash: UInt32
    var nextFree: UInt32
    /// Number of the ``NeighborCell`` of the remote provider address, which knows its path MTU, or `none`.
    var pathCell: UInt32
    /// The path MTU when none was learned, and what of it the customer's packet does not get.
    var mtu: UInt16
    var overhead: UInt16
    private var padding: InlineArray<11, UInt32>

    static var comparedBytes: Int { 120 }

    init(_ kind: Kind, scope: UInt32) {
        header = .init(repeating: 0)
        headerSum = 0
        headerLength = 0
        self.kind = kind
        reason = 0
        isRouted = 0
        egress = 0
        maximum = .max
        variant = Variant()
        sendsFlowID = 0
        destinationMAC = 0
        neighbor = none
        self.scope = scope
        outerIdentity = 0
        neighborEpoch = 0
        operation = .other
        padding1 = 0
        padding2 = 0
        references = 0
        hash = 0
        nextFree = 0
        pathCell = none
        mtu = 0
        overhead = 0
        padding = .init(repeating: 0)
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
