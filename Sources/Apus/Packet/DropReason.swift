// SPDX-License-Identifier: Apache-2.0

import CApus

/// Why a frame was dropped: the values of `enum apus_drop_reason`, which documents them.
struct DropReason: BitwiseCopyable, Equatable {
    let value: UInt8

    @inline(__always)
    private init(_ reason: apus_drop_reason) { value = reason.rawValue.u8 }

    @inline(__always)
    init(value: UInt8) { self.value = value }

    static var portUnknown: Self { .init(APUS_DROP_PORT_UNKNOWN) }
    static var frameInvalid: Self { .init(APUS_DROP_FRAME_INVALID) }
    static var noHeadroom: Self { .init(APUS_DROP_NO_HEADROOM) }
    static var noBuffer: Self { .init(APUS_DROP_NO_BUFFER) }
    static var outputFull: Self { .init(APUS_DROP_OUTPUT_FULL) }
    static var workerDestroyed: Self { .init(APUS_DROP_WORKER_DESTROYED) }

    static var sourceMAC: Self { .init(APUS_DROP_SOURCE_MAC) }
    static var sourceRecordMissing: Self { .init(APUS_DROP_SOURCE_RECORD_MISSING) }
    static var sourceCAMAC: Self { .init(APUS_DROP_SOURCE_CA_MAC) }
    static var sourceCARemote: Self { .init(APUS_DROP_SOURCE_CA_REMOTE) }
    static var etherType: Self { .init(APUS_DROP_ETHERTYPE) }
    static var ipMalformed: Self { .init(APUS_DROP_IP_MALFORMED) }
    static var notUnicast: Self { .init(APUS_DROP_NOT_UNICAST) }
    static var destinationRecordMissing: Self { .init(APUS_DROP_DESTINATION_RECORD_MISSING) }
    static var destinationCAMAC: Self { .init(APUS_DROP_DESTINATION_CA_MAC) }
    static var customerRouteMissing: Self { .init(APUS_DROP_CUSTOMER_ROUTE_MISSING) }
    static var nextHopRecordMissing: Self { .init(APUS_DROP_NEXT_HOP_RECORD_MISSING) }
    static var ruleNone: Self { .init(APUS_DROP_RULE_NONE) }
    static var ttlExpired: Self { .init(APUS_DROP_TTL_EXPIRED) }
    static var mtuExceeded: Self { .init(APUS_DROP_MTU_EXCEEDED) }
    static var noLocalPort: Self { .init(APUS_DROP_NO_LOCAL_PORT) }
    static var gatewayUnserved: Self { .init(APUS_DROP_GATEWAY_UNSERVED) }
    static var hairpin: Self { .init(APUS_DROP_HAIRPIN) }
    static var arpMalformed: Self { .init(APUS_DROP_ARP_MALFORMED) }
    static var arpSpoofed: Self { .init(APUS_DROP_ARP_SPOOFED) }
    static var arpUnanswered: Self { .init(APUS_DROP_ARP_UNANSWERED) }
    static var linkLocal: Self { .init(APUS_DROP_LINK_LOCAL) }
    static var ndMalformed: Self { .init(APUS_DROP_ND_MALFORMED) }
    static var ndSpoofed: Self { .init(APUS_DROP_ND_SPOOFED) }
    static var ndUnanswered: Self { .init(APUS_DROP_ND_UNANSWERED) }
    static var recordUnusable: Self { .init(APUS_DROP_RECORD_UNUSABLE) }
    static var replicationLimit: Self { .init(APUS_DROP_REPLICATION_LIMIT) }

    static var providerRouteMissing: Self { .init(APUS_DROP_PROVIDER_ROUTE_MISSING) }
    static var providerAddressMissing: Self { .init(APUS_DROP_PROVIDER_ADDRESS_MISSING) }
    static var neighborFailed: Self { .init(APUS_DROP_NEIGHBOR_FAILED) }
    static var neighborQueueFull: Self { .init(APUS_DROP_NEIGHBOR_QUEUE_FULL) }

    static var outerMAC: Self { .init(APUS_DROP_OUTER_MAC) }
    static var outerVLAN: Self { .init(APUS_DROP_OUTER_VLAN) }
    static var outerEtherType: Self { .init(APUS_DROP_OUTER_ETHERTYPE) }
    static var outerTruncated: Self { .init(APUS_DROP_OUTER_TRUNCATED) }
    static var outerIPVersion: Self { .init(APUS_DROP_OUTER_IP_VERSION) }
    static var outerIPOptions: Self { .init(APUS_DROP_OUTER_IP_OPTIONS) }
    static var outerIPLength: Self { .init(APUS_DROP_OUTER_IP_LENGTH) }
    static var outerIPChecksum: Self { .init(APUS_DROP_OUTER_IP_CHECKSUM) }
    static var outerNotOurs: Self { .init(APUS_DROP_OUTER_NOT_OURS) }
    static var outerFragment: Self { .init(APUS_DROP_OUTER_FRAGMENT) }
    static var outerProtocol: Self { .init(APUS_DROP_OUTER_PROTOCOL) }
    static var greFlags: Self { .init(APUS_DROP_GRE_FLAGS) }
    static var greVersion: Self { .init(APUS_DROP_GRE_VERSION) }
    static var greNoKey: Self { .init(APUS_DROP_GRE_NO_KEY) }
    static var greProtocol: Self { .init(APUS_DROP_GRE_PROTOCOL) }
    static var sourcePAUnknown: Self { .init(APUS_DROP_SOURCE_PA_UNKNOWN) }
    static var vsidReserved: Self { .init(APUS_DROP_VSID_RESERVED) }
    static var vsidUnknown: Self { .init(APUS_DROP_VSID_UNKNOWN) }
    static var innerTruncated: Self { .init(APUS_DROP_INNER_TRUNCATED) }
    static var innerVLAN: Self { .init(APUS_DROP_INNER_VLAN) }
    static var innerEtherType: Self { .init(APUS_DROP_INNER_ETHERTYPE) }
    static var innerIPMalformed: Self { .init(APUS_DROP_INNER_IP_MALFORMED) }
    static var innerNotUnicast: Self { .init(APUS_DROP_INNER_NOT_UNICAST) }
    static var vsidPAMismatch: Self { .init(APUS_DROP_VSID_PA_MISMATCH) }
    static var innerSourceMissing: Self { .init(APUS_DROP_INNER_SOURCE_MISSING) }
    static var innerSourceCAPA: Self { .init(APUS_DROP_INNER_SOURCE_CA_PA) }
    static var innerSourceCAMAC: Self { .init(APUS_DROP_INNER_SOURCE_CA_MAC) }
    static var innerDestinationMissing: Self { .init(APUS_DROP_INNER_DESTINATION_MISSING) }
    static var innerDestinationCAPA: Self { .init(APUS_DROP_INNER_DESTINATION_CA_PA) }
    static var innerDestinationCAMAC: Self { .init(APUS_DROP_INNER_DESTINATION_CA_MAC) }
    static var ecn: Self { .init(APUS_DROP_ECN) }
    static var providerARPMalformed: Self { .init(APUS_DROP_PROVIDER_ARP_MALFORMED) }
    static var vxlanFlags: Self { .init(APUS_DROP_VXLAN_FLAGS) }
    static var keyLayout: Self { .init(APUS_DROP_KEY_LAYOUT) }
    static var pathMTUUnmatched: Self { .init(APUS_DROP_PATH_MTU_UNMATCHED) }
    static var controlUntrusted: Self { .init(APUS_DROP_CONTROL_UNTRUSTED) }
    static var translationMismatch: Self { .init(APUS_DROP_TRANSLATION_MISMATCH) }
    static var transportTruncated: Self { .init(APUS_DROP_TRANSPORT_TRUNCATED) }
    static var dhcpGuard: Self { .init(APUS_DROP_DHCP_GUARD) }
    static var newFlowLimit: Self { .init(APUS_DROP_NEW_FLOW_LIMIT) }
    static var externalRouteMissing: Self { .init(APUS_DROP_EXTERNAL_ROUTE_MISSING) }
    static var providerNDMalformed: Self { .init(APUS_DROP_PROVIDER_ND_MALFORMED) }
    static var innerARPMalformed: Self { .init(APUS_DROP_INNER_ARP_MALFORMED) }
}
