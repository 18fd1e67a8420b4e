/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file provider.h
 * @brief The physical side of the policy: provider addresses, provider routes, provider neighbours.
 *
 * The verbs and common errors are those of policy.h.
 */
#ifndef APUS_PROVIDER_H
#define APUS_PROVIDER_H

#include "dataplane.h"

APUS_BEGIN_DECLS

/** States of a provider address. The operator gives some; others are what duplicate address detection found. */
enum apus_address_state {
	APUS_ADDRESS_PREFERRED = 1,  /**< in use; 0 on input is the same */
	APUS_ADDRESS_TENTATIVE = 2,  /**< read-only: in use, and being looked for on the network */
	APUS_ADDRESS_DUPLICATE = 3,  /**< read-only: another machine has it; not used until it is set or added again */
	APUS_ADDRESS_INVALID = 4,    /**< not used: neither for sending nor for receiving, and not answered for. Records with it are local all the same. */
	APUS_ADDRESS_DEPRECATED = 5  /**< as PREFERRED, but packets come from another address of its family on the port if there is one */
};

/**
 * apus_provider_address.flags: look for other machines with this address (RFC 5227, RFC 4862), when it is added and when its port,
 * VLAN or MAC is changed; see event.h for what is found. It is used meanwhile (RFC 4429).
 */
#define APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES 0x1u

/**
 * A provider address of this host. Key: provider_address. It must not be an address of the host's own
 * IP stack: frames to it are the library's, and the library answers ARP for it.
 */
struct apus_provider_address {
	size_t size;
	struct apus_address provider_address; /**< key; unicast */
	uint32_t port;                        /**< id of a provider port */
	uint8_t prefix_length;                /**< 1-32, IPv6 1-128: neighbours within it are reached without a route */
	uint8_t state;                        /**< enum apus_address_state; input: 0, PREFERRED, DEPRECATED or INVALID */
	uint16_t vlan;                        /**< 802.1Q tag of outer frames, 1-4094; 0 = untagged */
	struct apus_mac mac;                  /**< unicast, not zero: source of outer frames and answer to ARP */
	uint16_t reserved;
	uint32_t flags;                       /**< APUS_PROVIDER_ADDRESS_* */
};

/** @return 0; APUS_ERR_FAMILY, APUS_ERR_ADDRESS, APUS_ERR_PREFIX (length), APUS_ERR_MAC (a group address is refused: its low bit of the first byte is set), APUS_ERR_RANGE (vlan, state), APUS_ERR_STALE (port), APUS_ERR_PORT_KIND, APUS_ERR_CONFLICT (an external port has the VLAN), APUS_ERR_DUPLICATE, APUS_ERR_LIMIT */
int apus_provider_address_add(struct apus_dataplane *dataplane, const struct apus_provider_address *address);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_address_get(struct apus_dataplane *dataplane, struct apus_provider_address *address);
/** @return as add; APUS_ERR_NOT_FOUND */
int apus_provider_address_set(struct apus_dataplane *dataplane, const struct apus_provider_address *address);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_address_remove(struct apus_dataplane *dataplane, const struct apus_provider_address *address);
/** Walk as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_provider_address_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_provider_address *out);

/**
 * A provider route: how to reach provider addresses that are not neighbours. Key: (destination_prefix,
 * port, next_hop). Longest prefix wins, then the lowest metric. The prefixes of provider addresses
 * count as routes with metric 0.
 */
struct apus_provider_route {
	size_t size;
	struct apus_prefix destination_prefix; /**< key */
	struct apus_address next_hop;          /**< key; same family; unspecified = the destinations are neighbours on the port */
	uint32_t port;                         /**< key; id of a provider port */
	uint32_t metric;                       /**< lower wins */
	uint32_t flags;                        /**< zero */
};

/** @return 0; APUS_ERR_FAMILY, APUS_ERR_PREFIX, APUS_ERR_ADDRESS, APUS_ERR_STALE (port), APUS_ERR_PORT_KIND, APUS_ERR_CONFLICT (an external port has the VLAN), APUS_ERR_DUPLICATE, APUS_ERR_LIMIT */
int apus_provider_route_add(struct apus_dataplane *dataplane, const struct apus_provider_route *route);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_route_get(struct apus_dataplane *dataplane, struct apus_provider_route *route);
/** Change the metric. @return as add; APUS_ERR_NOT_FOUND */
int apus_provider_route_set(struct apus_dataplane *dataplane, const struct apus_provider_route *route);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_route_remove(struct apus_dataplane *dataplane, const struct apus_provider_route *route);
/** Walk as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_provider_route_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_provider_route *out);

/** States of a provider neighbour. */
enum apus_neighbor_state {
	APUS_NEIGHBOR_STATIC = 1,     /**< given by apus_provider_neighbor_add(); never asked for */
	APUS_NEIGHBOR_INCOMPLETE = 2, /**< known to be needed; not (yet) asked for, or asked and not answered */
	APUS_NEIGHBOR_REACHABLE = 3,  /**< resolved by ARP */
	APUS_NEIGHBOR_PROBE = 4,      /**< still used, being asked again because it grew old */
	APUS_NEIGHBOR_FAILED = 5      /**< did not answer; asked again when there is traffic, at a lower rate */
};

/**
 * A neighbour on the provider network. Key: address. Entries that are not static come and go by
 * themselves: one exists for every provider address in a lookup record and for every next hop.
 * A walk also finds those behind external ports, which have no key here: they are told, not given.
 */
struct apus_provider_neighbor {
	size_t size;
	struct apus_address address; /**< key; unicast */
	struct apus_mac mac;         /**< add, set: unicast, not zero; get: zero while unknown */
	uint8_t state;               /**< enum apus_neighbor_state; read-only, 0 on input */
	uint8_t reserved;
	uint32_t flags;              /**< zero */
	uint32_t port;               /**< the external port behind which it is, 0 on the provider network; read-only, 0 on input */
	uint32_t reserved2;          /**< zero */
};

/** Add a static neighbour (a dynamic entry of the same address becomes static). @return 0; APUS_ERR_FAMILY, APUS_ERR_ADDRESS, APUS_ERR_MAC, APUS_ERR_DUPLICATE (a static one exists) */
int apus_provider_neighbor_add(struct apus_dataplane *dataplane, const struct apus_provider_neighbor *neighbor);
/** Read a static or dynamic neighbour. @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_neighbor_get(struct apus_dataplane *dataplane, struct apus_provider_neighbor *neighbor);
/** Change a static neighbour's MAC. @return as add; APUS_ERR_NOT_FOUND */
int apus_provider_neighbor_set(struct apus_dataplane *dataplane, const struct apus_provider_neighbor *neighbor);
/** Remove a static neighbour; if it is still needed it becomes a dynamic one. @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_neighbor_remove(struct apus_dataplane *dataplane, const struct apus_provider_neighbor *neighbor);
/** Walk over static and dynamic neighbours as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_provider_neighbor_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_provider_neighbor *out);

/** apus_provider_peer.encapsulation: what is sent to the peer. Both are received from every peer. */
enum apus_encapsulation {
	APUS_ENCAPSULATION_NVGRE = 1, /**< RFC 7637 */
	APUS_ENCAPSULATION_VXLAN = 2  /**< RFC 7348 */
};

/** apus_provider_peer.key_layout: where the GRE key has the VSID, in both directions. */
enum apus_key_layout {
	APUS_KEY_RFC7637 = 1, /**< upper 24 bits; the lower 8 are the FlowID */
	APUS_KEY_DRAFT00 = 2  /**< lower 24 bits: draft-sridharan-virtualization-nvgre-00, Windows Server 2012 without KB2779768 */
};

/** apus_provider_peer.flow_id */
enum apus_flow_id {
	APUS_FLOW_ID_HASH = 1, /**< of the customer's flow */
	APUS_FLOW_ID_ZERO = 2  /**< for peers that match the whole 32-bit key: Linux, Open vSwitch, VPP */
};

/** apus_provider_peer.dscp_mode (RFC 2983) */
enum apus_dscp_mode {
	APUS_DSCP_COPY = 1,    /**< outer = inner; decapsulation leaves the inner one alone */
	APUS_DSCP_UNIFORM = 2, /**< outer = inner; decapsulation copies it back */
	APUS_DSCP_PIPE = 3     /**< outer = `dscp`; decapsulation leaves the inner one alone */
};

/** apus_provider_peer.ecn_mode (RFC 6040 section 4.1, 4.3); decapsulation is the same for both */
enum apus_ecn_mode {
	APUS_ECN_NORMAL = 1,       /**< outer = inner */
	APUS_ECN_COMPATIBILITY = 2 /**< outer = Not-ECT, for a peer that does not know RFC 6040 */
};

/** apus_provider_peer.df_mode (RFC 2003 section 3.1, RFC 4459 section 3.2) */
enum apus_df_mode {
	APUS_DF_ALWAYS = 1, /**< outer DF is set */
	APUS_DF_COPY = 2    /**< outer DF = inner DF; IPv6 counts as DF. The network may fragment what has none; see OUTER_FRAGMENT. */
};

/**
 * How to talk to the tunnel endpoint at a provider address. Key: provider_address. Without one everything is as if all
 * fields were 0; it is no condition for sending or receiving anything.
 */
struct apus_provider_peer {
	size_t size;
	struct apus_address provider_address; /**< key; unicast */
	uint8_t encapsulation; /**< enum apus_encapsulation; 0 = NVGRE */
	uint8_t key_layout;    /**< enum apus_key_layout; 0 = RFC 7637 */
	uint8_t flow_id;       /**< enum apus_flow_id; 0 = as APUS_DATAPLANE_FLOW_ID_ZERO says */
	uint8_t dscp_mode;     /**< enum apus_dscp_mode; 0 = copy */
	uint8_t dscp;          /**< 0-63, with APUS_DSCP_PIPE; else 0 */
	uint8_t ecn_mode;      /**< enum apus_ecn_mode; 0 = normal */
	uint8_t df_mode;       /**< enum apus_df_mode; 0 = always */
	uint8_t ttl;           /**< of outer headers; 0 = outer_ttl of the dataplane */
	uint16_t mtu;          /**< largest outer IP packet that reaches it, where that is less than the port's MTU; 0 = the port's; 128-65535 */
	uint16_t reserved;
	uint32_t flags;        /**< zero */
};

/** @return 0; APUS_ERR_FAMILY, APUS_ERR_ADDRESS, APUS_ERR_RANGE (a mode, dscp, mtu), APUS_ERR_CONFLICT (draft-00 layout with VXLAN; dscp without pipe), APUS_ERR_DUPLICATE, APUS_ERR_LIMIT */
int apus_provider_peer_add(struct apus_dataplane *dataplane, const struct apus_provider_peer *peer);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_peer_get(struct apus_dataplane *dataplane, struct apus_provider_peer *peer);
/** @return as add; APUS_ERR_NOT_FOUND */
int apus_provider_peer_set(struct apus_dataplane *dataplane, const struct apus_provider_peer *peer);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_provider_peer_remove(struct apus_dataplane *dataplane, const struct apus_provider_peer *peer);
/** Walk as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_provider_peer_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_provider_peer *out);

APUS_END_DECLS

#endif /* APUS_PROVIDER_H */
