// SPDX-License-Identifier: Apache-2.0

import CApus
import CApusIntrinsics

// The objects of the policy as the tables store them. Field meanings and ranges are those of the public headers.

/// No object: a node number that is never given.
let none: UInt32 = .max

struct GUID: BitwiseCopyable, Equatable {
    var high: UInt64
    var low: UInt64
    var isZero: Bool { high == 0 && low == 0 }
}

/// A port (port.h). Primary index: its id. Secondary: (VSID, MAC).
struct Port: Versionable {
    var id: UInt32
    var vsid: UInt32
    var mac: MACAddress
    var flags: UInt32
    var mtu: UInt16
    var kind: UInt8
    var name: InlineArray<32, UInt8>

    static let vm = APUS_PORT_VM.rawValue.u8
    static let provider = APUS_PORT_PROVIDER.rawValue.u8

    var isTrusted: Bool { flags & APUS_PORT_TRUSTED != 0 }

    static var hasSecondaryIndex: Bool { true }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, id: id) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid, mac) }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, id: UInt32) -> UInt64 {
        unsafe apus_hash_words(id.u64, 0, 1, 0, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ mac: MACAddress) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, mac.value, 2, 0, key.pointer)
    }
}

/// That a vm port belongs to a virtual subnet: what is walked for copies to all of them. Index: VSID.
struct Member: Versionable {
    var vsid: UInt32
    var port: UInt32

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, 0, 16, 0, key.pointer)
    }
}

/// A lookup record (policy.h): 48 bytes. Index: (VSID, CA).
struct LookupRecord: Versionable {
    var ca: IPAddress
    var pa: IPAddress
    /// MAC in the upper 48 bits, rule and type in the two lower bytes.
    private var macRuleType: UInt64
    var vsid: UInt32
    /// Number + 1 of the operator's texts, 0 when there are none.
    var texts: UInt32

    init(vsid: UInt32, ca: IPAddress, mac: MACAddress, pa: IPAddress, rule: UInt8, type: UInt8, texts: UInt32) {
        self.ca = ca
        self.pa = pa
        self.vsid = vsid
        self.texts = texts
        macRuleType = mac.value &<< 16 | rule.u64 &<< 8 | type.u64
    }

    @inline(__always) var mac: MACAddress { MACAddress(macRuleType &>> 16) }
    @inline(__always) var rule: UInt8 { (macRuleType &>> 8).u8 }
    @inline(__always) var type: UInt8 { macRuleType.u8 }
    @inline(__always) var isRuleNone: Bool { rule.u32 == APUS_RULE_NONE.rawValue }

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid, ca) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ ca: IPAddress) -> UInt64 {
        unsafe apus_hash_words(ca.high, ca.low, vsid.u64, 4, key.pointer)
    }
}

/// The operator's texts of a lookup record, kept apart because most records have none.
struct RecordTexts {
    var customerID: InlineArray<64, UInt8>
    var context: InlineArray<64, UInt8>
    var vmName: InlineArray<64, UInt8>
    var nextFree: UInt32
}

/// A customer route (policy.h). Primary index: (domain, prefix). Secondary: for on-link routes the VSID; the others, of
/// which there may be many in one virtual subnet, are spread.
struct CustomerRoute: Versionable {
    var prefix: IPAddress
    var nextHop: IPAddress
    /// Number of the ``Domain``.
    var domain: UInt32
    var vsid: UInt32
    var metric: UInt32
    /// In bits of the 128-bit form.
    var length: UInt8
    /// What is said about the prefix in router advertisements.
    var flags: UInt8

    /// Of an on-link route.
    var gateway: IPAddress { prefix.gateway(prefixLength: length) }

    /// Order of prefixes, then lengths.
    func comesBefore(_ other: CustomerRoute) -> Bool {
        prefix == other.prefix ? length < other.length : prefix < other.prefix
    }

    static var advertise: UInt32 { APUS_CUSTOMER_ROUTE_ADVERTISE }
    static var autoconfigure: UInt32 { APUS_CUSTOMER_ROUTE_AUTOCONFIGURE }

    @inline(__always) var isOnLink: Bool { nextHop.isUnspecified }

    static var hasSecondaryIndex: Bool { true }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, domain, prefix, length) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 {
        isOnLink ? Self.hash(key, onLinkIn: vsid) : primaryHash(key)
    }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ domain: UInt32, _ prefix: IPAddress, _ length: UInt8) -> UInt64 {
        unsafe apus_hash_words(prefix.high, prefix.low, domain.u64 &<< 8 | length.u64, 5, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, onLinkIn vsid: UInt32) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, 0, 6, 0, key.pointer)
    }

    /// Is this a better choice than `other` for the same prefix? Metric, then the ties of docs/pipeline.md 2.2.4.
    func isBetter(than other: CustomerRoute) -> Bool {
        if metric != other.metric { return metric < other.metric }
        if vsid != other.vsid { return vsid < other.vsid }
        return nextHop < other.nextHop
    }
}

/// The lowest address of an on-link prefix, which the distributed router answers for. One for each on-link route.
/// Primary index: (VSID, address). Secondary: (domain, address).
struct Gateway: Versionable {
    var address: IPAddress
    var vsid: UInt32
    var domain: UInt32

    static var hasSecondaryIndex: Bool { true }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid: vsid, address) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, domain: domain, address) }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, vsid: UInt32, _ address: IPAddress) -> UInt64 {
        unsafe apus_hash_words(address.high, address.low, vsid.u64, 7, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, domain: UInt32, _ address: IPAddress) -> UInt64 {
        unsafe apus_hash_words(address.high, address.low, domain.u64, 8, key.pointer)
    }
}

/// A virtual subnet exists as long as a port, a record or a route names it. Index: VSID.
struct VirtualSubnet: Versionable {
    /// Objects that name it. Writer only, in place: workers read the fields they need and never copy the whole.
    var references: UInt32
    /// Customer routes among them. Writer only.
    var bindings: UInt32
    var vsid: UInt32
    /// Number of the ``Domain`` that a customer route binds it to, or `none`.
    var domain: UInt32

    /// What a change in this subnet invalidates; see ``Scopes``.
    @inline(__always) var scope: UInt32 { Scopes.of(vsid: vsid, domain: domain) }

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, 0, 9, 0, key.pointer)
    }
}

/// That a provider address hosts something of a virtual subnet; with VSID 0, of any. Index: (VSID, PA).
struct RemoteAddress: Versionable {
    /// Lookup records (VSID 0: virtual subnets) behind it. Writer only, in place.
    var references: UInt32
    var vsid: UInt32
    var pa: IPAddress

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid, pa) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ pa: IPAddress) -> UInt64 {
        unsafe apus_hash_words(pa.high, pa.low, vsid.u64, 10, key.pointer)
    }
}

/// A provider address of this host (provider.h). Primary index: the address. Secondary: its port.
struct ProviderAddress: Versionable {
    var address: IPAddress
    var mac: MACAddress
    var port: UInt32
    var vlan: UInt16
    /// In bits of the 128-bit form.
    var length: UInt8

    static var hasSecondaryIndex: Bool { true }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, address) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, port: port) }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ address: IPAddress) -> UInt64 {
        unsafe apus_hash_words(address.high, address.low, 11, 0, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, port: UInt32) -> UInt64 {
        unsafe apus_hash_words(port.u64, 0, 12, 0, key.pointer)
    }
}

/// A provider route (provider.h), or the prefix of a provider address. Index: the prefix.
struct ProviderRoute: Versionable {
    var prefix: IPAddress
    var nextHop: IPAddress
    var port: UInt32
    var metric: UInt32
    var length: UInt8
    /// 1 for the prefix of a provider address: comes before an equal route.
    var isConnected: UInt8

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, prefix, length) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ prefix: IPAddress, _ length: UInt8) -> UInt64 {
        unsafe apus_hash_words(prefix.high, prefix.low, length.u64, 13, key.pointer)
    }

    func isBetter(than other: ProviderRoute) -> Bool {
        if metric != other.metric { return metric < other.metric }
        if isConnected != other.isConnected { return isConnected > other.isConnected }
        if port != other.port { return port < other.port }
        return nextHop < other.nextHop
    }
}

/// How to talk to a tunnel endpoint (provider.h). Index: its address.
struct ProviderPeer: Versionable {
    var address: IPAddress
    var mtu: UInt16
    var encapsulation: UInt8
    var keyLayout: UInt8
    var flowID: UInt8
    var dscpMode: UInt8
    var dscp: UInt8
    var ecnMode: UInt8
    var dfMode: UInt8
    var ttl: UInt8

    var isVXLAN: Bool { encapsulation.u32 == APUS_ENCAPSULATION_VXLAN.rawValue }
    var hasDraftKeys: Bool { keyLayout.u32 == APUS_KEY_DRAFT00.rawValue }

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, address) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ address: IPAddress) -> UInt64 {
        unsafe apus_hash_words(address.high, address.low, 17, 0, key.pointer)
    }
}

/// A neighbour on the provider network. Index: the address. What ARP learns is in its ``NeighborCell``, which all
/// versions of the entry share.
struct Neighbor: Versionable {
    /// Remote addresses and routes that need it. Writer only, in place: workers never copy the whole.
    var references: UInt32
    /// Number of the ``NeighborCell``.
    var cell: UInt32
    var address: IPAddress
    /// The MAC when `isStatic`.
    var mac: MACAddress
    var isStatic: UInt8

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, address) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ address: IPAddress) -> UInt64 {
        unsafe apus_hash_words(address.high, address.low, 14, 0, key.pointer)
    }
}
