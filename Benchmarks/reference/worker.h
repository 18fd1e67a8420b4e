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

struct staged {
	union any_key key;
	uint64_t hash;
	uint64_t identity;
	struct flow *flow;
	struct reference_action *action;
	enum form form;
};

struct port_counters {
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
	struct reference_action *actions;
	uint32_t *scopes;
	uint64_t *port_identity; /* id << 8 | kind */
	struct port_counters *ports;
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

	struct apus_stats stats;

	/* First packets. */
	struct reference_opts opts;
	uint32_t action_count, action_capacity, first_free, bucket_mask;
	uint32_t *buckets;
};

/* One writer, any reader: a load and a store. */
ALWAYS void count(uint64_t *counter, uint64_t value)
{
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + value, __ATOMIC_RELAXED);
}

ALWAYS bool is_current(const struct reference_worker *w, const struct flow *e, const struct reference_action *a)
{
	return e->stamp >= w->floor && e->stamp >= __atomic_load_n(&w->scopes[a->scope], __ATOMIC_RELAXED);
}

ALWAYS uint32_t slot_of(uint32_t port) { return port & (APUS_PORTS_MAX - 1); }

/* slow.c: a packet that the stages leave alone, step by step. */
void reference_carefully(struct reference_worker *w, struct apus_frame frame, struct staged *packet);
void reference_flush(struct reference_worker *w);

#endif
