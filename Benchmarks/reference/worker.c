/* SPDX-License-Identifier: Apache-2.0 */
/* Making a worker and reading its counters. */
#include "worker.h"

/* Of four entries, see `neighbor_of`. */
#define ALIGNMENT 512

static void *zeroed(const struct apus_allocator *from, size_t size)
{
	void *memory = from->allocate(from->context, size, ALIGNMENT);

	if (memory != NULL)
		memset(memory, 0, size);
	return memory;
}

static void make_cache(struct cache *c, const struct apus_allocator *from, uint64_t flows, bool is_wide)
{
	c->is_wide = is_wide;
	c->mask = flows - 1;
	c->lines = zeroed(from, flows * entry_size(is_wide));
	c->shares = zeroed(from, SHARES * sizeof(*c->shares));
}

struct reference_worker *reference_create(const struct reference_opts *opts)
{
	const struct apus_allocator *from = &opts->allocator;
	const uint32_t flows = opts->flow_capacity;
	const uint32_t actions = flows < 65536 ? flows : 65536;
	struct reference_worker *w = zeroed(from, sizeof(*w));

	if (w == NULL)
		return NULL;
	w->opts = *opts;
	w->action_capacity = actions;
	w->bucket_mask = 2 * actions - 1;
	make_cache(&w->narrow, from, flows, false);
	make_cache(&w->wide, from, flows, true);
	w->actions = zeroed(from, (actions + 1) * sizeof(struct reference_action));
	w->buckets = zeroed(from, 2 * actions * sizeof(*w->buckets));
	w->scopes = zeroed(from, SCOPES * sizeof(*w->scopes));
	w->port_identity = zeroed(from, APUS_PORTS_MAX * sizeof(*w->port_identity));
	w->ports = zeroed(from, APUS_PORTS_MAX * sizeof(*w->ports));
	w->shared = zeroed(from, sizeof(*w->shared));
	w->sequence = zeroed(from, 64);
	if (!w->narrow.lines || !w->narrow.shares || !w->wide.lines || !w->wide.shares || !w->actions || !w->buckets ||
	    !w->scopes || !w->port_identity || !w->ports || !w->shared || !w->sequence) {
		reference_destroy(w);
		return NULL;
	}
	w->hash0 = _mm_set_epi64x((long long)opts->hash_seed[1], (long long)opts->hash_seed[0]);
	w->hash1 = _mm_xor_si128(w->hash0, _mm_set_epi64x((long long)0xD1B54A32D192ED03, (long long)0x9E3779B97F4A7C15));
	w->shared->version = 1;
	return w;
}

void reference_destroy(struct reference_worker *w)
{
	const struct apus_allocator from = w->opts.allocator;
	const uint32_t actions = w->action_capacity;
	struct { void *memory; size_t size; } parts[] = {
		{w->narrow.lines, (w->narrow.mask + 1) * entry_size(false)},
		{w->narrow.shares, SHARES * sizeof(*w->narrow.shares)},
		{w->wide.lines, (w->wide.mask + 1) * entry_size(true)},
		{w->wide.shares, SHARES * sizeof(*w->wide.shares)},
		{w->actions, (actions + 1) * sizeof(struct reference_action)},
		{w->buckets, 2 * actions * sizeof(*w->buckets)},
		{w->scopes, SCOPES * sizeof(*w->scopes)},
		{w->port_identity, APUS_PORTS_MAX * sizeof(*w->port_identity)},
		{w->ports, APUS_PORTS_MAX * sizeof(*w->ports)},
		{w->shared, sizeof(*w->shared)},
		{w->sequence, 64},
		{w, sizeof(*w)},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (parts[i].memory != NULL)
			from.release(from.context, parts[i].memory, parts[i].size);
}

void reference_open_port(struct reference_worker *w, uint32_t port, uint32_t kind)
{
	w->port_identity[slot_of(port)] = (uint64_t)port << 8 | kind;
}

void reference_stats(const struct reference_worker *w, struct apus_stats *out)
{
	*out = w->stats;
	out->size = sizeof(*out);
}
