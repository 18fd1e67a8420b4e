/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file port.h
 * @brief Ports: where frames come from and go to. A port is a number to the library; the host maps it to a device.
 */
#ifndef APUS_PORT_H
#define APUS_PORT_H

#include "dataplane.h"

APUS_BEGIN_DECLS

enum apus_port_kind {
	/** A virtual machine's adapter: has a virtual subnet and a MAC address. Frames are the tenant's. */
	APUS_PORT_VM = 1,
	/** The physical network that carries encapsulated frames: has provider addresses. */
	APUS_PORT_PROVIDER = 2,
	/**
	 * A gateway's other side: frames are those of a network outside, as Ethernet in a VLAN or untagged. In the VM network the port is the
	 * machine that lookup records give its MAC address in its virtual subnet: a wildcard record, or that of the next hop of customer routes.
	 * What those lead to it is routed out, and what comes in to its MAC is routed into the VM network, unless its source address is one of those inside.
	 */
	APUS_PORT_EXTERNAL = 3
};

/** apus_port_params.flags (vm): do not check source MAC and source CA of what this port sends. */
#define APUS_PORT_TRUSTED 0x1u
/** apus_port_params.flags (vm): this machine is no DHCP server: what it sends from UDP port 67 (IPv6: 547) is dropped, also if it is trusted. */
#define APUS_PORT_DHCP_GUARD 0x2u

/** Next hops in the prefixes of an external port that are known at a time. */
#define APUS_EXTERNAL_NEIGHBORS_MAX 1024u

/** How an external port speaks one address family. All zero: not at all. */
struct apus_external_side {
	struct apus_address address;  /**< of this port outside, not the network or broadcast address of an IPv4 prefix of length 1-30; it is answered for (ARP, neighbour discovery, echo), and ICMP errors come from it */
	struct apus_address next_hop; /**< the router outside for what is not in the prefix of `address`; family 0: none */
	uint8_t prefix_length;        /**< of `address`: 1-32 or 1-128. What is in it is reached without a router */
	uint8_t reserved[3];          /**< zero */
};

/** A port. */
struct apus_port_params {
	size_t size;
	uint32_t kind;              /**< enum apus_port_kind */
	uint32_t flags;             /**< APUS_PORT_* */
	uint32_t virtual_subnet_id; /**< vm, external (where the gateway is): 4096-16777214; provider: 0 */
	struct apus_mac mac;        /**< vm: the adapter's address; external: that of the gateway, on both sides; unique in the virtual subnet. provider: zero */
	uint16_t mtu;               /**< largest IP packet the port carries; 0 = 1500; 576-65535 (provider: 128-65535). For provider ports this bounds the outer packet. */
	struct apus_guid routing_domain_id; /**< external: the VM network it serves, to which it binds its virtual subnet as a customer route does; others: zero */
	char name[32];              /**< for people and statistics; NUL-terminated; need not be unique */
	uint32_t dynamic_address_limit; /**< vm: customer addresses that may be learned of this machine; 0 = 16; at most 65536 (Windows' DynamicIPAddressLimit); others: 0 */
	uint32_t parent_port;           /**< external: the provider or external port (without a parent itself) that its frames come from and go to, tagged with `vlan`; 0: the port itself; others: 0 */
	uint16_t vlan;                  /**< external: 802.1Q VLAN, 1-4094; 0 = untagged (only without `parent_port`); others: 0 */
	uint16_t reserved;              /**< zero */
	uint32_t new_flow_rate;         /**< packets per second that a worker decides about because it does not know their flow, after 1024 at once: what is beyond is dropped (APUS_DROP_NEW_FLOW_LIMIT), so that who sends only new flows leaves the core to others. 0 = no limit, up to 1000000000; provider: 0 */
	struct apus_external_side ipv4; /**< external: this, the next one, or both; others: zero */
	struct apus_external_side ipv6;
};

/**
 * Add a port.
 *
 * @param[out] id  the port's number in `struct apus_frame`; not small: its low 12 bits are unique
 *                 among the ports that exist, so `id % APUS_PORTS_MAX` may index an array. Numbers of
 *                 removed ports are not reused before their place has been given 2^19 times
 * @return 0; APUS_ERR_RANGE (kind, mtu, name, dynamic_address_limit, vlan, new_flow_rate), APUS_ERR_VSID, APUS_ERR_MAC, APUS_ERR_DUPLICATE
 *         (virtual subnet and MAC; parent_port and vlan), APUS_ERR_CONFLICT (a field of another kind is set; the virtual subnet is bound to
 *         another routing domain, or that is zero; a provider address has the VLAN), APUS_ERR_ADDRESS, APUS_ERR_FAMILY, APUS_ERR_PREFIX (ipv4, ipv6),
 *         APUS_ERR_PORT_KIND (parent_port), APUS_ERR_LIMIT,
 *         APUS_ERR_MEMORY, and the common ones: APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_UNKNOWN_FIELD,
 *         APUS_ERR_STALE (also parent_port), APUS_ERR_BUSY
 */
int apus_port_add(struct apus_dataplane *dataplane, const struct apus_port_params *params, uint32_t *id);

/** Read a port. @return 0; APUS_ERR_STALE (id), and the common errors */
int apus_port_get(struct apus_dataplane *dataplane, uint32_t id, struct apus_port_params *out);

/**
 * Change a port. The kind, and the routing domain of an external port, cannot change.
 * @return as apus_port_add(); APUS_ERR_STALE (id), APUS_ERR_IMMUTABLE (kind, routing_domain_id), APUS_ERR_IN_USE (parent_port of a port that is a parent)
 */
int apus_port_set(struct apus_dataplane *dataplane, uint32_t id, const struct apus_port_params *params);

/** Remove a port. @return 0; APUS_ERR_STALE (id), APUS_ERR_IN_USE (a provider address, a provider route or another port names it), and the common errors */
int apus_port_remove(struct apus_dataplane *dataplane, uint32_t id);

/**
 * Walk over the ports. Start with `*cursor = 0`; order is unspecified; objects added or removed during
 * the walk may or may not be seen, every other one is seen once.
 *
 * @return 1 with *id and *out filled, 0 at the end, or a negative error
 */
int apus_port_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, uint32_t *id, struct apus_port_params *out);

APUS_END_DECLS

#endif /* APUS_PORT_H */
