/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file policy.h
 * @brief The tenants' side of the policy: lookup records and customer routes.
 *
 * Every kind of object has the same five verbs. `add` of an existing key is APUS_ERR_DUPLICATE, as
 * with the New-NetVirtualization... cmdlets. `get` reads the key fields of the struct it is given and
 * fills the others; `remove` reads only the key fields; a key that no object can have is the error that
 * `add` has for it. The common errors - APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_UNKNOWN_FIELD (of structs
 * that are read), APUS_ERR_STALE, APUS_ERR_BUSY, APUS_ERR_MEMORY, and APUS_ERR_STALLED from those that
 * change something - can come from each. IPv6 addresses in IPv4-mapped form (::ffff:0:0/96) are APUS_ERR_ADDRESS.
 */
#ifndef APUS_POLICY_H
#define APUS_POLICY_H

#include "dataplane.h"

APUS_BEGIN_DECLS

/** Translation methods of a lookup record. */
enum apus_rule {
	APUS_RULE_ENCAP = 1, /**< TranslationMethodEncap: NVGRE */
	APUS_RULE_NAT = 2,   /**< TranslationMethodNat: IP rewrite, for addresses of one family; no other record has the provider address */
	APUS_RULE_NONE = 3   /**< TranslationMethodNone: known, but never translated: traffic to it stays on this host */
};

/** Types of a lookup record. */
enum apus_record_type {
	APUS_RECORD_STATIC = 1,
	/** Learned from what a machine says of itself: may be replaced when it says something else. Nothing ages. See event.h. */
	APUS_RECORD_DYNAMIC = 2,
	/**
	 * The machine with this MAC is a gateway: packets of the record's family for addresses without a record may go to it,
	 * and it may send packets of others. The customer address is unspecified.
	 */
	APUS_RECORD_GATEWAY_WILDCARD = 3,
	/**
	 * A machine with this MAC exists whose customer addresses nobody has told us: it is asked for them (ARP is
	 * copied to its host), and they become APUS_RECORD_DYNAMIC records. The customer address is unspecified, of either family.
	 */
	APUS_RECORD_L2_ONLY = 4
};

/** apus_lookup_record.flags: packets to this record are dropped (RECORD_UNUSABLE); Windows' PreMovement. */
#define APUS_RECORD_UNUSABLE 0x1u
/** apus_lookup_record.flags: learned here, and not known to the control plane; it clears the flag with `set`. Changes nothing else. */
#define APUS_RECORD_UNSYNCHRONIZED 0x2u

/** apus_lookup_record.flags (APUS_RULE_NAT): frames leave with the machine's MAC in place of the provider address's; UseVmMACAddress. */
#define APUS_RECORD_USE_VM_MAC 0x4u

#define APUS_RECORD_TEXT_SIZE 64u

/**
 * A lookup record: where a customer address lives. Key: (virtual_subnet_id, customer_address), and mac where the address is
 * unspecified (0.0.0.0 or ::), which it is for the types GATEWAY_WILDCARD and L2_ONLY and for no others.
 * A record whose provider address is one of this dataplane's own describes a local machine.
 */
struct apus_lookup_record {
	size_t size;
	struct apus_address customer_address; /**< key; unicast; GATEWAY_WILDCARD and L2_ONLY: unspecified, which must be given: 0.0.0.0 has family APUS_IPV4 */
	uint32_t virtual_subnet_id;           /**< key; 4096-16777214 (1-16777215 with APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS) */
	struct apus_mac mac;                  /**< unicast, not zero; changed only by remove + add; key where customer_address is unspecified */
	uint8_t rule;                         /**< enum apus_rule; 0 = APUS_RULE_ENCAP */
	uint8_t type;                         /**< enum apus_record_type; 0 = APUS_RECORD_STATIC; changed only by remove + add */
	struct apus_address provider_address; /**< unicast */
	uint32_t flags;                       /**< APUS_RECORD_* flags */
	char customer_id[APUS_RECORD_TEXT_SIZE]; /**< NUL-terminated; for the operator */
	char context[APUS_RECORD_TEXT_SIZE];     /**< NUL-terminated; for the operator */
	char vm_name[APUS_RECORD_TEXT_SIZE];     /**< NUL-terminated; for the operator */
};

/** @return 0; APUS_ERR_VSID, APUS_ERR_FAMILY (also: APUS_RULE_NAT with both families), APUS_ERR_ADDRESS (also: unspecified and of another type, or the other way round), APUS_ERR_MAC, APUS_ERR_RULE, APUS_ERR_CONFLICT (APUS_RULE_NAT: the provider address is another record's, or the record has no address; APUS_RECORD_USE_VM_MAC without it), APUS_ERR_RANGE (text not terminated), APUS_ERR_DUPLICATE, APUS_ERR_LIMIT */
int apus_lookup_record_add(struct apus_dataplane *dataplane, const struct apus_lookup_record *record);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_lookup_record_get(struct apus_dataplane *dataplane, struct apus_lookup_record *record);
/** @return as add; APUS_ERR_NOT_FOUND, APUS_ERR_IMMUTABLE (mac, type) */
int apus_lookup_record_set(struct apus_dataplane *dataplane, const struct apus_lookup_record *record);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_lookup_record_remove(struct apus_dataplane *dataplane, const struct apus_lookup_record *record);
/** Walk as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_lookup_record_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_lookup_record *out);

/** apus_customer_route.flags (on-link, IPv6): answer router solicitations in the virtual subnet, naming this prefix. */
#define APUS_CUSTOMER_ROUTE_ADVERTISE 0x1u
/** The same: machines may make their own addresses in this prefix, whose length is 64 (RFC 4862). Needs APUS_CUSTOMER_ROUTE_ADVERTISE. */
#define APUS_CUSTOMER_ROUTE_AUTOCONFIGURE 0x2u

/**
 * A customer route: how a VM network reaches a prefix. Key: (routing_domain_id, virtual_subnet_id,
 * destination_prefix, next_hop). Longest prefix wins, then the lowest metric.
 *
 * A route binds its virtual subnet to its routing domain: all routes of a virtual subnet are in one. A
 * route whose next hop is 0.0.0.0 or :: is *on-link*. It gives the virtual subnet its prefix, whose
 * lowest address becomes the default gateway: the distributed router answers for it on every host.
 */
struct apus_customer_route {
	size_t size;
	struct apus_guid routing_domain_id;    /**< key; not all-zero */
	uint32_t virtual_subnet_id;            /**< key; 4096-16777214 */
	struct apus_prefix destination_prefix; /**< key */
	struct apus_address next_hop;          /**< key; same family; unspecified = on-link; else a CA of this virtual subnet, whose lookup record may come later; must be given: 0.0.0.0 has family APUS_IPV4 */
	uint32_t metric;                       /**< lower wins */
	uint32_t flags;                        /**< APUS_CUSTOMER_ROUTE_* */
};

/** @return 0; APUS_ERR_VSID, APUS_ERR_FAMILY (also: of the other family than the routes of the domain, with APUS_DATAPLANE_ONE_CUSTOMER_FAMILY), APUS_ERR_PREFIX, APUS_ERR_ADDRESS, APUS_ERR_CONFLICT (virtual subnet bound to another routing domain; routing_domain_id zero; flags of another kind of route), APUS_ERR_DUPLICATE, APUS_ERR_LIMIT */
int apus_customer_route_add(struct apus_dataplane *dataplane, const struct apus_customer_route *route);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_customer_route_get(struct apus_dataplane *dataplane, struct apus_customer_route *route);
/** Change metric and flags. @return as add; APUS_ERR_NOT_FOUND */
int apus_customer_route_set(struct apus_dataplane *dataplane, const struct apus_customer_route *route);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_customer_route_remove(struct apus_dataplane *dataplane, const struct apus_customer_route *route);
/** Walk as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_customer_route_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_customer_route *out);

APUS_END_DECLS

#endif /* APUS_POLICY_H */
