/* SPDX-License-Identifier: Apache-2.0 */
/* What one thread needs, and the words that a control thread would write. */
#ifndef REFERENCE_WORKER_H
#define REFERENCE_WORKER_H

#include "flow.h"
#include "reference.h"

#define CHUNK 64u
#define RELEASE_BATCH 256u
#define SCOPES 65536u
#define SHARES 4096u

/* Which key a packet has. */
enum form { NO_KEY, NARROW, WIDE };

struct reference_port {
	uint64_t received, received_bytes, transmitted, transmitted_bytes, dropped, padding[3];
};

/* Written by control, read once in each burst. */
struct shared {
	uint64_t version;
	uint32_t floor;
	uint32_t neighbor_epoch;
};

struct reference_worker {
	__m128i hash0, hash1;
	struct cache narrow, wide;
	struct line nothing; /* of a packet that is in no cache: no version has its stamp */
	uint8_t *actions;    /* the first one is nobody's */
	uint32_t *scopes;
	uint64_t *port_identity; /* id << 8 | kind */
	struct reference_port *ports;
	struct shared *shared;
	uint64_t *sequence; /* odd inside a burst */
	uint64_t now, next_refresh, version;
	uint32_t floor, seen_neighbor_epoch, neighbor_epoch, replacements;
	uint32_t busy;

	struct apus_frame *output;
	uint32_t output_count;
	uint32_t release_count;
	void *releases[RELEASE_BATCH];
	struct staged staged[CHUNK];
	struct wide_key wide_keys[CHUNK];
	uint64_t wide_packets, keyless_packets; /* of the chunk: a bit for each that has a wide key, or none */

	struct apus_stats stats;

	/* First packets. */
	struct reference_opts opts;
	uint32_t action_count, action_capacity, first_free, bucket_mask;
	uint32_t *buckets;
};

/*
 * One writer, any reader: an aligned word is written at once. Of relaxed atomics, which would say so, gcc makes three instructions,
 * and the library's compiler one.
 */
ALWAYS void count(uint64_t *counter, uint64_t value) { *counter += value; }

ALWAYS struct reference_action *action_of(const struct reference_worker *w, const struct flow *e)
{
	return (struct reference_action *)(void *)(w->actions + (e->result & ACTION_MASK));
}

ALWAYS uint8_t flow_id_in(const struct flow *e) { return (uint8_t)(e->result >> 24); }

/* Which key packet `i` of the chunk has. */
ALWAYS enum form form_of(const struct reference_worker *w, uint32_t i)
{
	return w->wide_packets >> i & 1 ? WIDE : w->keyless_packets >> i & 1 ? NO_KEY : NARROW;
}

ALWAYS bool is_current(const struct reference_worker *w, const struct flow *e, const struct reference_action *a)
{
	return e->stamp >= w->floor && e->stamp >= __atomic_load_n(&w->scopes[a->scope], __ATOMIC_RELAXED);
}

ALWAYS uint32_t slot_of(uint32_t port) { return port & (APUS_PORTS_MAX - 1); }

/* slow.c: what the stages leave alone. */

/* A packet of the chunk, step by step. */
void reference_carefully(struct reference_worker *w, const struct apus_frame *frame, uint32_t i);
/* Ask for the other entries of packets that are not in their first ones. */
void reference_fetch_neighbors(struct reference_worker *w, uint64_t packets);
void reference_fetch_wide_neighbors(struct reference_worker *w, uint64_t packets);
/* Where those are. */
void reference_look_further(struct reference_worker *w, uint64_t packets);
/* Is what was decided about this flow still true? Then it is as if it had been decided in this version. */
bool reference_renew(const struct reference_worker *w, struct flow *e);
/* What was done to packets: 16 bits for each kind, see apply.h. */
void reference_count(struct reference_worker *w, uint64_t counts);
void reference_flush(struct reference_worker *w);

#endif
