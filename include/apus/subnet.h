/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file subnet.h
 * @brief What a virtual subnet carries beside unicast IP: broadcast, multicast, other protocols.
 *
 * A virtual subnet exists as soon as a port, a lookup record or a customer route names it; it needs an object here only
 * for what Hyper-V Network Virtualization does not do by itself. The verbs and common errors are those of policy.h.
 */
#ifndef APUS_SUBNET_H
#define APUS_SUBNET_H

#include "policy.h"

APUS_BEGIN_DECLS

/** Copy broadcast and multicast frames to every machine of the virtual subnet, on this host and others (RFC 7637 section 4.2). */
#define APUS_SUBNET_BROADCAST 0x1u
/** Carry frames that are neither IP nor ARP, by MAC address (RFC 7637 section 3.3: any Ethernet frame). */
#define APUS_SUBNET_ALLOW_NON_IP 0x2u

/** A virtual subnet. Key: virtual_subnet_id. */
struct apus_virtual_subnet {
	size_t size;
	uint32_t virtual_subnet_id; /**< key; 4096-16777214 */
	uint32_t flags;             /**< APUS_SUBNET_* */
	/**
	 * A multicast address of the provider network, which may be shared: copies to other hosts are one packet to it instead of one to
	 * each host (RFC 7637 section 4.2). The host joins the group on its provider ports. Not given = one to each. Needs APUS_SUBNET_BROADCAST.
	 */
	struct apus_address multicast_group;
	uint32_t replication_rate; /**< copies to other hosts per second that the frames of one port make, on each worker; 0 = 10000; 1-10000000 */
};

/** @return 0; APUS_ERR_VSID, APUS_ERR_FAMILY, APUS_ERR_ADDRESS (no multicast address), APUS_ERR_CONFLICT (a group without APUS_SUBNET_BROADCAST), APUS_ERR_RANGE (rate), APUS_ERR_DUPLICATE, APUS_ERR_LIMIT */
int apus_virtual_subnet_add(struct apus_dataplane *dataplane, const struct apus_virtual_subnet *subnet);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_virtual_subnet_get(struct apus_dataplane *dataplane, struct apus_virtual_subnet *subnet);
/** @return as add; APUS_ERR_NOT_FOUND */
int apus_virtual_subnet_set(struct apus_dataplane *dataplane, const struct apus_virtual_subnet *subnet);
/** @return 0; APUS_ERR_NOT_FOUND */
int apus_virtual_subnet_remove(struct apus_dataplane *dataplane, const struct apus_virtual_subnet *subnet);
/** Walk as apus_port_iterate(). @return 1, 0 at the end, or an error */
int apus_virtual_subnet_iterate(struct apus_dataplane *dataplane, uint64_t *cursor, struct apus_virtual_subnet *out);

APUS_END_DECLS

#endif /* APUS_SUBNET_H */
