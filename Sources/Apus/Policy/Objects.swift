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

/// One address family of an external port.
struct ExternalSide: BitwiseCopyable {
    /// Unspecified: there is none.
    var address = IPAddress(high: 0, low: 0)
    var nextHop = IPAddress(high: 0, low: 0)
    /// In bits of the 128-bit form.
    var length: UInt8 = 0

    var isPresent: Bool { !address.isUnspecified }

    /// Who is asked for the MAC of `destination`; unspecified: nobody.
    func nextHop(to destination: IPAddress) -> IPAddress {
        destination.isIn(address.masked(length), length) ? destination : nextHop
    }
}

/// A port (port.h). Primary index: its id. Secondary: (VSID, MAC). Chain: of external ones where their frames come from.
struct Port: Versionable {
    var id: UInt32
    var vsid: UInt32
    var mac: MACAddress
    var flags: UInt32
    var mtu: UInt16
    var kind: UInt8
    var name: InlineArray<32, UInt8>
    /// Dynamic records that the machine may have.
    var dynamicLimit: UInt32
    /// New flows per second; 0 = no limit.
    var newFlowRate: UInt32 = 0
    /// Of an external port: the port that carries its frames, which may be itself, and the number of the ``Domain``.
    var device: UInt32 = none
    var domain: UInt32 = none
    var vlan: UInt16 = 0
    var ipv4 = ExternalSide()
    var ipv6 = ExternalSide()

    static let vm = APUS_PORT_VM.rawValue.u8
    static let provider = APUS_PORT_PROVIDER.rawValue.u8
    static let external = APUS_PORT_EXTERNAL.rawValue.u8

    /// A machine of its virtual subnet, whoever plays it.
    var hasMachine: Bool { kind != Self.provider }
    func side(isIPv6: Bool) -> ExternalSide { isIPv6 ? ipv6 : ipv4 }

    var isTrusted: Bool { flags & APUS_PORT_TRUSTED != 0 }
    var hasDHCPGuard: Bool { flags & APUS_PORT_DHCP_GUARD != 0 }

    static var hasSecondaryIndex: Bool { true }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, id: id) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid, mac) }

    static var hasChain: Bool { true }
    /// The others need no order: each is a chain by itself.
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 {
        kind == Self.external ? Self.hash(key, device: device, vlan) : primaryHash(key)
    }
    func isInChain(of other: Port) -> Bool {
        kind == other.kind && (kind == Self.external ? isAt(other.device, other.vlan) : id == other.id)
    }
    /// Is it the external port to which frames from there belong?
    func isAt(_ device: UInt32, _ vlan: UInt16) -> Bool {
        kind == Self.external && self.device == device && self.vlan == vlan
    }

    static func hash(_ key: Ref<apus_hash_key>, device: UInt32, _ vlan: UInt16) -> UInt64 {
        unsafe apus_hash_words(device.u64, vlan.u64, 23, 0, key.pointer)
    }
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

/// A lookup record (policy.h): 48 bytes. Index: (VSID, CA); of a *special* one, which has no CA, (VSID, CA, MAC). Chain: (VSID,
/// MAC), special ones apart from the others, so that a machine with thousands of addresses does not hide them.
struct LookupRecord: Versionable {
    var ca: IPAddress
    var pa: IPAddress
    /// MAC in the upper 48 bits; flags, rule and type in four bits each.
    private var macRuleType: UInt64
    var vsid: UInt32
    /// Number + 1 of the operator's texts, 0 when there are none.
    var texts: UInt32

    static var unusable: UInt32 { APUS_RECORD_UNUSABLE }
    static var unsynchronized: UInt32 { APUS_RECORD_UNSYNCHRONIZED }
    static var dynamic: UInt8 { APUS_RECORD_DYNAMIC.rawValue.u8 }
    static var wildcard: UInt8 { APUS_RECORD_GATEWAY_WILDCARD.rawValue.u8 }
    static var l2Only: UInt8 { APUS_RECORD_L2_ONLY.rawValue.u8 }

    init(
        vsid: UInt32, ca: IPAddress, mac: MACAddress, pa: IPAddress, rule: UInt8, type: UInt8, texts: UInt32,
        flags: UInt32 = 0
    ) {
        self.ca = ca
        self.pa = pa
        self.vsid = vsid
        self.texts = texts
        macRuleType = mac.value &<< 16 | (flags & 15).u64 &<< 8 | (rule & 15).u64 &<< 4 | (type & 15).u64
    }

    @inline(__always) var mac: MACAddress { MACAddress(macRuleType &>> 16) }
    @inline(__always) var flags: UInt32 { (macRuleType &>> 8).u32 & 15 }
    @inline(__always) var rule: UInt8 { (macRuleType &>> 4).u8 & 15 }
    @inline(__always) var type: UInt8 { macRuleType.u8 & 15 }
    @inline(__always) var isRuleNone: Bool { rule.u32 == APUS_RULE_NONE.rawValue }
    @inline(__always) var isRewritten: Bool { rule.u32 == APUS_RULE_NAT.rawValue }
    @inline(__always) var usesVMMAC: Bool { flags & APUS_RECORD_USE_VM_MAC != 0 }
    @inline(__always) var isUnusable: Bool { flags & Self.unusable != 0 }
    @inline(__always) var isDynamic: Bool { type == Self.dynamic }
    /// GatewayWildcard or L2Only.
    @inline(__always) var isSpecial: Bool { ca.isUnspecified }

    static var hasSecondaryIndex: Bool { false }
    /// Wildcard records of a virtual subnet are few and are looked for all at once; L2Only records may be many.
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 {
        type == Self.l2Only ? Self.hash(key, vsid, ca, mac) : Self.hash(key, vsid, ca)
    }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    static var hasChain: Bool { true }
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid, mac, special: isSpecial) }
    func isInChain(of other: LookupRecord) -> Bool { isIn(other.vsid, other.mac, special: other.isSpecial) }
    @inline(__always)
    func isIn(_ vsid: UInt32, _ mac: MACAddress, special: Bool) -> Bool {
        self.vsid == vsid && self.mac == mac && isSpecial == special
    }
    /// The newest comes first.
    func precedes(_ newcomer: LookupRecord) -> Bool { false }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ ca: IPAddress) -> UInt64 {
        unsafe apus_hash_words(ca.high, ca.low, vsid.u64, 4, key.pointer)
    }
    private static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ ca: IPAddress, _ mac: MACAddress) -> UInt64 {
        unsafe apus_hash_words(ca.high | mac.value, ca.low, vsid.u64, 17, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ mac: MACAddress, special: Bool) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, mac.value, special ? 19 : 18, 0, key.pointer)
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

/// What a virtual subnet carries beside unicast IP (subnet.h). Index: VSID. Chain: the multicast group.
struct SubnetOptions: Versionable {
    var vsid: UInt32
    var flags: UInt32
    /// The unspecified address: none.
    var group: IPAddress
    /// Copies per second.
    var rate: UInt32

    static var broadcast: UInt32 { APUS_SUBNET_BROADCAST }
    static var allowNonIP: UInt32 { APUS_SUBNET_ALLOW_NON_IP }
    static var defaultRate: UInt32 { 10_000 }

    var carriesBroadcast: Bool { flags & Self.broadcast != 0 }
    var carriesNonIP: Bool { flags & Self.allowNonIP != 0 }
    var hasGroup: Bool { !group.isUnspecified }

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    static var hasChain: Bool { true }
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, group: group) }
    func isInChain(of other: SubnetOptions) -> Bool { group == other.group }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, 0, 21, 0, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, group: IPAddress) -> UInt64 {
        unsafe apus_hash_words(group.high, group.low, 22, 0, key.pointer)
    }
}

/// That a provider address hosts something of a virtual subnet; with VSID 0, of any. Index: (VSID, PA). Chain: VSID, in the
/// order of addresses.
struct RemoteAddress: Versionable {
    /// Lookup records (VSID 0: virtual subnets) behind it. Writer only, in place.
    var references: UInt32
    var vsid: UInt32
    var pa: IPAddress
    var kind: Kind

    enum Kind: UInt32 {
        /// Any lookup record.
        case any
        /// L2Only records. Such an address is there as `any` too.
        case l2Only
    }

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, vsid, pa, kind) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    static var hasChain: Bool { true }
    /// The addresses of all virtual subnets need no order, which would be long: each is a chain by itself.
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 {
        vsid == 0 ? primaryHash(key) : Self.hash(key, in: vsid, kind)
    }
    func isInChain(of other: RemoteAddress) -> Bool {
        vsid == other.vsid && kind == other.kind && (vsid != 0 || pa == other.pa)
    }
    func precedes(_ newcomer: RemoteAddress) -> Bool { pa < newcomer.pa }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ vsid: UInt32, _ pa: IPAddress, _ kind: Kind) -> UInt64 {
        unsafe apus_hash_words(pa.high, pa.low, kind.rawValue.u64 &<< 32 | vsid.u64, 10, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, in vsid: UInt32, _ kind: Kind) -> UInt64 {
        unsafe apus_hash_words(vsid.u64, kind.rawValue.u64, 20, 0, key.pointer)
    }
}

/// A provider address of this host (provider.h). Primary index: the address. Secondary: its port. Chain: those that are being watched for
/// duplicates, in the order of addresses.
struct ProviderAddress: Versionable {
    var address: IPAddress
    var mac: MACAddress
    var port: UInt32
    var vlan: UInt16
    /// In bits of the 128-bit form.
    var length: UInt8
    /// As given: `enum apus_address_state`.
    var state = APUS_ADDRESS_PREFERRED.rawValue.u8
    var flags: UInt32 = 0
    /// Number of the ``AddressCell`` that says what was found, which versions of the entry may share, or `none`.
    var cell = none

    var isInvalid: Bool { state.u32 == APUS_ADDRESS_INVALID.rawValue }
    var isDeprecated: Bool { state.u32 == APUS_ADDRESS_DEPRECATED.rawValue }
    var isWatched: Bool { flags & APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES != 0 && !isInvalid }
    /// Is it on the same network in the same way? What was found out about it stays true then.
    func hasPlace(of other: ProviderAddress) -> Bool { port == other.port && vlan == other.vlan && mac == other.mac }

    static var hasChain: Bool { true }
    /// The others need no order: each is a chain by itself.
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 { isWatched ? Self.watchedHash(key) : primaryHash(key) }
    func isInChain(of other: ProviderAddress) -> Bool {
        isWatched == other.isWatched && (isWatched || address == other.address)
    }
    func precedes(_ newcomer: ProviderAddress) -> Bool { address < newcomer.address }

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
    static func watchedHash(_ key: Ref<apus_hash_key>) -> UInt64 {
        unsafe apus_hash_words(0, 0, 22, 0, key.pointer)
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

/// The record whose machine has this provider address for itself (rule TranslationMethodNat). Index: the address.
struct Rewrite: Versionable {
    var pa: IPAddress
    var ca: IPAddress
    var vsid: UInt32

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, pa) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ pa: IPAddress) -> UInt64 {
        unsafe apus_hash_words(pa.high, pa.low, 21, 0, key.pointer)
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

    /// Larger outer packets do not reach it.
    var limit: UInt16 { mtu == 0 ? .max : mtu }
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

/// A neighbour on the provider network, or behind an external port. Index: (address, port). Chain: external ports. What ARP learns is in its
/// ``NeighborCell``, which all versions of the entry share.
struct Neighbor: Versionable {
    /// Remote addresses and routes that need it. Writer only, in place: workers never copy the whole.
    var references: UInt32
    /// Number of the ``NeighborCell``.
    var cell: UInt32
    var address: IPAddress
    /// The external port behind which it is, or 0: on the provider network.
    var port: UInt32 = 0
    /// The MAC when `isStatic`.
    var mac: MACAddress
    var isStatic: UInt8

    @inline(__always)
    func isAt(_ address: IPAddress, _ port: UInt32) -> Bool { self.address == address && self.port == port }

    static var hasSecondaryIndex: Bool { false }
    func primaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { Self.hash(key, address, port) }
    func secondaryHash(_ key: Ref<apus_hash_key>) -> UInt64 { 0 }

    static var hasChain: Bool { true }
    /// Those on the provider network need no order: each is a chain by itself.
    func chainHash(_ key: Ref<apus_hash_key>) -> UInt64 { port != 0 ? Self.hash(key, behind: port) : primaryHash(key) }
    func isInChain(of other: Neighbor) -> Bool { port == other.port && (port != 0 || address == other.address) }

    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, behind port: UInt32) -> UInt64 {
        unsafe apus_hash_words(port.u64, 0, 24, 0, key.pointer)
    }
    @inline(__always)
    static func hash(_ key: Ref<apus_hash_key>, _ address: IPAddress, _ port: UInt32) -> UInt64 {
        unsafe apus_hash_words(address.high, address.low, 14, port.u64, key.pointer)
    }
}
