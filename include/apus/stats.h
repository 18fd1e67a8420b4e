/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file stats.h
 * @brief Where every packet went.
 *
 * Each frame is counted exactly once where it ends, so that at any moment between bursts
 *
 *     received + generated = transmitted + consumed + (sum of drops) + held
 *
 * holds for a worker, and for the dataplane.
 */
#ifndef APUS_STATS_H
#define APUS_STATS_H

#include "worker.h"

APUS_BEGIN_DECLS

/**
 * Why a frame was dropped: X(NAME, value, windows, text).
 *
 * `windows` is the number that Windows' HNV driver gives the same event: 1-9 its packet drop reasons,
 * 100 + n its lookup failure n, 0 where it has none. Values are part of the ABI. The comments say what
 * was found; docs/pipeline.md says in which order checks are made.
 */
#define APUS_DROP_REASONS(X) \
	/* any port */ \
	X(PORT_UNKNOWN, 1, 0, "the ingress port does not exist") \
	X(FRAME_INVALID, 2, 5, "the frame is too short or too long, or too little of it is contiguous") \
	X(NO_HEADROOM, 3, 0, "too little headroom for the outer header") \
	X(NO_BUFFER, 4, 0, "the host gave no buffer for an answer or a copy") \
	X(OUTPUT_FULL, 5, 0, "no room in the output array") \
	X(WORKER_DESTROYED, 6, 0, "the worker was destroyed while the packet waited") \
	/* from a virtual machine */ \
	X(SOURCE_MAC, 16, 107, "source MAC is not the port's") \
	X(SOURCE_RECORD_MISSING, 17, 100, "no lookup record for the source customer address") \
	X(SOURCE_CA_MAC, 18, 107, "lookup record of the source customer address has another MAC") \
	X(SOURCE_CA_REMOTE, 19, 105, "lookup record of the source customer address is on another host") \
	X(ETHERTYPE, 20, 4, "neither IP nor ARP") \
	X(IP_MALFORMED, 21, 5, "malformed customer IP header") \
	X(NOT_UNICAST, 23, 111, "broadcast or multicast destination") \
	X(DESTINATION_RECORD_MISSING, 24, 101, "no lookup record for the destination customer address") \
	X(DESTINATION_CA_MAC, 25, 108, "destination MAC is not that of the lookup record") \
	X(CUSTOMER_ROUTE_MISSING, 26, 102, "no customer route to the destination") \
	X(NEXT_HOP_RECORD_MISSING, 27, 101, "no lookup record for the customer route's next hop") \
	X(RULE_NONE, 29, 104, "the destination's rule is TranslationMethodNone and it is not on this host") \
	X(TTL_EXPIRED, 30, 8, "TTL expired while routing") \
	X(MTU_EXCEEDED, 31, 1, "the packet does not fit the tunnel") \
	X(NO_LOCAL_PORT, 32, 2, "the destination is on this host but no port has its virtual subnet and MAC") \
	X(GATEWAY_UNSERVED, 33, 0, "to the gateway address, and no echo request") \
	X(HAIRPIN, 34, 0, "the packet would leave through the port it came from") \
	X(ARP_MALFORMED, 35, 5, "malformed ARP packet") \
	X(ARP_SPOOFED, 36, 107, "ARP sender addresses are not the port's") \
	X(ARP_UNANSWERED, 37, 3, "ARP for an unknown customer address, and no other port to ask") \
	X(LINK_LOCAL, 38, 0, "an IPv6 link-local address, which is not routed") \
	X(ND_MALFORMED, 39, 5, "malformed neighbour discovery message") \
	X(ND_SPOOFED, 40, 107, "neighbour discovery with addresses that are not the port's, or a router's message") \
	X(ND_UNANSWERED, 41, 3, "neighbour discovery for an unknown customer address, and no other port to ask") \
	X(RECORD_UNUSABLE, 42, 2, "lookup record of the destination is marked unusable") \
	X(TRANSLATION_MISMATCH, 44, 104, "one of source and destination has the rule TranslationMethodNat, the other has not") \
	X(TRANSPORT_TRUNCATED, 45, 5, "the transport checksum, which contains addresses, is not in the packet") \
	X(DHCP_GUARD, 46, 0, "from a DHCP server's port, behind a port with DHCP guard") \
	X(EXTERNAL_ROUTE_MISSING, 47, 102, "no address of the packet's family outside, or no next hop to the destination") \
	X(NEW_FLOW_LIMIT, 63, 0, "more new flows from this port than its new_flow_rate allows in a second") \
	X(REPLICATION_LIMIT, 43, 0, "more copies of frames from this port than its virtual subnet allows in a second") \
	/* towards the provider network */ \
	X(PROVIDER_ROUTE_MISSING, 48, 103, "no route to the provider address") \
	X(PROVIDER_ADDRESS_MISSING, 49, 2, "no provider address of this host on the egress port") \
	X(NEIGHBOR_FAILED, 50, 3, "the next hop on the provider network does not answer") \
	X(NEIGHBOR_QUEUE_FULL, 51, 3, "too many packets wait for the next hop's address") \
	/* from the provider network */ \
	X(OUTER_MAC, 64, 0, "outer destination MAC is not one of ours") \
	X(OUTER_VLAN, 65, 0, "outer VLAN is nobody's here, or not that of the provider address") \
	X(OUTER_ETHERTYPE, 66, 4, "outer frame is neither IP nor ARP") \
	X(OUTER_TRUNCATED, 67, 5, "outer headers do not fit the frame") \
	X(OUTER_IP_VERSION, 68, 5, "outer IP version, or IPv4 header length below 5") \
	X(OUTER_IP_OPTIONS, 69, 5, "outer IPv4 header has options, or IPv6 extension headers") \
	X(OUTER_IP_LENGTH, 70, 5, "outer IP length does not fit") \
	X(OUTER_IP_CHECKSUM, 71, 6, "wrong checksum of the outer IPv4 header") \
	X(OUTER_NOT_OURS, 72, 0, "outer destination is not a provider address of this port") \
	X(OUTER_FRAGMENT, 73, 5, "outer packet is a fragment") \
	X(OUTER_PROTOCOL, 74, 0, "outer protocol is neither GRE nor VXLAN") \
	X(GRE_FLAGS, 75, 5, "GRE checksum, routing, sequence or recursion bits are set") \
	X(GRE_VERSION, 76, 5, "GRE version is not 0") \
	X(GRE_NO_KEY, 77, 5, "GRE key is missing") \
	X(GRE_PROTOCOL, 78, 4, "GRE protocol type is not 0x6558") \
	X(SOURCE_PA_UNKNOWN, 79, 105, "outer source is not a provider address of any lookup record") \
	X(VSID_RESERVED, 80, 2, "VSID is in a reserved range") \
	X(VSID_UNKNOWN, 81, 2, "VSID is not known here") \
	X(INNER_TRUNCATED, 82, 5, "no complete inner Ethernet header") \
	X(INNER_VLAN, 83, 4, "inner frame has an 802.1Q tag") \
	X(INNER_ETHERTYPE, 84, 4, "inner frame is neither IP nor ARP") \
	X(INNER_IP_MALFORMED, 85, 5, "malformed inner IP header") \
	X(INNER_NOT_UNICAST, 86, 111, "inner destination is broadcast or multicast") \
	X(VSID_PA_MISMATCH, 87, 105, "this provider address hosts nothing of the sender's virtual subnet") \
	X(INNER_SOURCE_MISSING, 88, 100, "no lookup record for the inner source") \
	X(INNER_SOURCE_CA_PA, 89, 105, "lookup record of the inner source has another provider address") \
	X(INNER_SOURCE_CA_MAC, 90, 107, "lookup record of the inner source has another MAC") \
	X(INNER_DESTINATION_MISSING, 91, 101, "no lookup record for the inner destination") \
	X(INNER_DESTINATION_CA_PA, 92, 106, "lookup record of the inner destination has another provider address") \
	X(INNER_DESTINATION_CA_MAC, 93, 108, "lookup record of the inner destination has another MAC") \
	X(ECN, 94, 9, "outer congestion mark on a packet whose sender does not know ECN (RFC 6040)") \
	X(PROVIDER_ARP_MALFORMED, 95, 5, "malformed ARP packet on the provider network") \
	X(PROVIDER_ND_MALFORMED, 96, 5, "malformed neighbour discovery message on the provider network") \
	X(VXLAN_FLAGS, 97, 5, "VXLAN header without a valid VNI (I flag)") \
	X(KEY_LAYOUT, 98, 2, "GRE key in the other layout: RFC 7637 and the first draft of it meet (KB2779768); see apus_provider_peer.key_layout") \
	X(INNER_ARP_MALFORMED, 99, 5, "malformed inner ARP packet") \
	X(PATH_MTU_UNMATCHED, 100, 0, "ICMP from the provider network about a packet that is not ours") \
	X(CONTROL_UNTRUSTED, 101, 105, "control message of a host that has nothing of the virtual subnet ([MS-NVGREE] REDIRECT, UNREACHABLE)")

enum apus_drop_reason {
#define APUS_DROP_ENUM_(name, value, windows, text) APUS_DROP_##name = (value),
	APUS_DROP_REASONS(APUS_DROP_ENUM_)
#undef APUS_DROP_ENUM_
	APUS_DROP_REASON_COUNT = 128 /**< size of arrays that are indexed by reason; unused values are 0 */
};

/** @return the reason's name, "VSID_RESERVED"; "" for numbers that are no reason. Static text. Any thread. */
const char *apus_drop_reason_name(uint32_t reason);
/** @return what was found, as in APUS_DROP_REASONS; "" for numbers that are no reason. Static text. Any thread. */
const char *apus_drop_reason_text(uint32_t reason);
/** @return Windows' number of the same event, see APUS_DROP_REASONS; 0 where there is none. Any thread. */
uint32_t apus_drop_reason_windows(uint32_t reason);

/**
 * Counters of a worker or of a whole dataplane. They only grow, but for `held` and `flow_entries`. What says what was
 * done - `encapsulated` to `routed`, replies, requests - counts frames that were transmitted.
 */
struct apus_stats {
	size_t size;
	uint64_t received;    /**< frames taken from `in` */
	uint64_t transmitted; /**< frames given to `out` */
	uint64_t generated;   /**< frames that the library made */
	uint64_t consumed;    /**< frames that did their work here: ARP and ICMP that was answered or learned from */
	uint64_t dropped;     /**< sum of `drops` */
	uint64_t held;        /**< frames that wait for a next hop's address now */
	uint64_t received_bytes;
	uint64_t transmitted_bytes;
	uint64_t encapsulated;  /**< frames that got an outer header */
	uint64_t decapsulated;  /**< frames that lost one */
	uint64_t switched;      /**< frames from one local port to another in a virtual subnet */
	uint64_t rewritten;     /**< frames whose customer addresses became provider addresses, or the other way round */
	uint64_t routed;        /**< frames that the distributed router forwarded, on this host or encapsulated */
	uint64_t flow_hits;     /**< flow cache: found and still valid */
	uint64_t flow_misses;   /**< flow cache: not found, or no longer valid */
	uint64_t flow_inserts;  /**< may exceed the misses: a packet that waited is looked at again */
	uint64_t flow_evictions;   /**< a live entry made room for another */
	uint64_t flow_suppressed;  /**< not inserted, because the tenant already has its share of a full set */
	uint64_t flow_entries;     /**< entries now */
	uint64_t arp_replies;      /**< ARP requests and neighbour solicitations answered, both sides */
	uint64_t arp_requests;     /**< ARP requests and neighbour solicitations sent for provider neighbours and for next hops behind external ports */
	uint64_t echo_replies;     /**< ICMP and ICMPv6 echo requests answered for router addresses */
	uint64_t router_advertisements; /**< router solicitations answered */
	uint64_t icmp_errors;      /**< ICMP errors sent to customers: time exceeded, fragmentation needed */
	uint64_t path_mtu_updates; /**< times that a smaller path MTU to a provider address was learned */
	uint64_t icmp_suppressed;  /**< ICMP errors and UNREACHABLE messages not sent because of `icmp_error_rate` */
	uint64_t fragmented;       /**< customers' packets that were too big for the tunnel and left as fragments */
	uint64_t replicated;       /**< copies of one customer's frame that were encapsulated to several hosts */
	uint64_t learned;          /**< customer addresses that apus_event_poll() made records of, or moved; 0 in apus_worker_stats_get() */
	uint64_t learn_throttled;  /**< customer addresses not learned because of `learn_rate` */
	uint64_t events_lost;      /**< events that found no room: apus_event_poll() is called too rarely */
	uint64_t address_probes;    /**< sent for duplicate address detection: probes, and announcements of what it let pass */
	uint64_t address_conflicts; /**< frames by which another machine claims a provider address that is being watched */
	uint64_t control_messages;  /**< REDIRECT and UNREACHABLE messages of other hosts ([MS-NVGREE]) that were reported */
	uint64_t unreachable_sent;  /**< UNREACHABLE messages sent, with APUS_DATAPLANE_SEND_UNREACHABLE */
	uint64_t bursts;           /**< calls of apus_worker_process() */
	uint64_t drops[APUS_DROP_REASON_COUNT];
};

/** Read the sum over all workers, living and destroyed. @return 0 and the common errors of policy.h */
int apus_stats_get(struct apus_dataplane *dataplane, struct apus_stats *out);

/** Read one worker's counters. @note Any thread, also while the worker runs. @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE */
int apus_worker_stats_get(struct apus_worker *worker, struct apus_stats *out);

/**
 * Counters of one port, summed over all workers. What an external port with a parent receives and transmits counts there and at
 * its parent, so the sum over all ports is that of the dataplane only without such ports; a drop counts at one of the two.
 */
struct apus_port_stats {
	size_t size;
	uint64_t received;
	uint64_t received_bytes;
	uint64_t transmitted;
	uint64_t transmitted_bytes;
	uint64_t dropped; /**< frames received here that were dropped */
};

/** Read a port's counters. @return 0; APUS_ERR_STALE (id) and the common errors */
int apus_port_stats_get(struct apus_dataplane *dataplane, uint32_t id, struct apus_port_stats *out);

APUS_END_DECLS

#endif /* APUS_STATS_H */
