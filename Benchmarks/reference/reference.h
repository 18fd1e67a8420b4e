/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same hit path by hand in C: the yardstick for the library's figures.
 *
 * What a packet of a known flow costs is the same work as in the library - checks, key, table, counters, per-flow
 * statistics, policy version, neighbour epoch - with the same results byte for byte; the driver compares them. What
 * is done for the first packet of a flow is not: a callback of the host decides it (`classify`), because the library's
 * policy has no second implementation here. Figures of misses are therefore not comparable, and not printed.
 *
 * Tunnels are NVGRE over IPv4. A customer's IPv6 packet is TCP or UDP without extension headers, or dropped.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <stddef.h>

#include <apus/apus.h>

enum reference_kind { REFERENCE_DROP, REFERENCE_DELIVER, REFERENCE_ENCAPSULATE, REFERENCE_DECAPSULATE };

/*
 * What a flow does to its packets: two cache lines, shared by all flows that do the same. All that a decapsulation or a delivery
 * needs is in the first one. The reference sets `gained`, `lost`, and what says so.
 */
struct reference_action {
	uint16_t gained[2];          /* by contiguous bytes and headroom; read with what follows, as 16 bytes */
	uint32_t header_sum;         /* sum of the outer IPv4 header, plus 42 */
	uint64_t identity;           /* outer destination MAC, VLAN, marks; 0 from a vm port. Set by the reference. */
	uint16_t lost[2];            /* as `gained` */
	uint16_t maximum;            /* largest customer IP packet */
	uint8_t header_length;       /* also what a decapsulation takes away */
	uint8_t operation;           /* kind, routed, is_ipv6 in one byte; set by the reference */
	uint32_t egress;             /* port */
	uint32_t flags;              /* of the frames that leave; set by the reference */
	struct reference_port *port; /* counters of the egress; set by the reference */
	uint64_t counts;             /* what one packet adds to which counters; set by the reference */
	uint64_t destination_mac;    /* of a routed packet, in memory order */
	uint8_t kind;                /* enum reference_kind */
	uint8_t reason;              /* of a drop: enum apus_drop_reason */
	uint8_t routed;
	uint8_t is_ipv6;             /* the customer's packet */
	uint32_t neighbor_epoch;     /* not compared; set by the reference */
	uint8_t header[48];          /* outer header, right-aligned; TOS, length, checksum and FlowID 0 */
	uint32_t scope;              /* tenant */
	/* What follows is not compared; set by the reference. */
	uint32_t references;
	uint32_t hash;
	uint32_t next;
};
_Static_assert(sizeof(struct reference_action) == 128, "two cache lines");
_Static_assert(offsetof(struct reference_action, header) == 64, "the outer header is the second one");

struct reference_opts {
	struct apus_allocator allocator;
	struct apus_buffers buffers;
	uint32_t flow_capacity; /* of each family; a power of two */
	uint64_t hash_seed[2];  /* the hash is the library's: the same seed puts a flow into the same line */
	/* Decide for the first packet of a flow. `flow_id` is what encapsulated packets carry. */
	void (*classify)(void *context, const struct apus_frame *frame, struct reference_action *action);
	void *context;
};

struct reference_worker;

struct reference_worker *reference_create(const struct reference_opts *opts);
void reference_destroy(struct reference_worker *worker);

/* There is a port with this number; `kind` is enum apus_port_kind. */
void reference_open_port(struct reference_worker *worker, uint32_t port, uint32_t kind);

/* As apus_worker_process(). */
int reference_process(struct reference_worker *worker, struct apus_frame *in, uint32_t n_in, struct apus_frame *out,
		      uint32_t out_capacity, uint64_t now_ns);

/* As apus_worker_stats_get(). */
void reference_stats(const struct reference_worker *worker, struct apus_stats *out);

#endif
