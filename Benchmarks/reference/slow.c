/* SPDX-License-Identifier: Apache-2.0 */
/* Packets one by one: first packets of flows, and whatever the stages did not want. */
#include "apply.h"
#include "worker.h"

#define COMPARED offsetof(struct reference_action, neighbor_epoch)

void reference_flush(struct reference_worker *w)
{
	if (w->release_count != 0)
		w->opts.buffers.release(w->opts.buffers.context, w->releases, w->release_count);
	w->release_count = 0;
}

static void drop(struct reference_worker *w, const struct apus_frame *f, uint32_t reason)
{
	count(&w->stats.drops[reason], 1);
	count(&w->stats.dropped, 1);
	count(&w->ports[slot_of(f->port)].dropped, 1);
	if (w->release_count == RELEASE_BATCH)
		reference_flush(w);
	w->releases[w->release_count++] = f->buffer;
}

static void apply_one(struct reference_worker *w, const struct reference_action *a, uint8_t id, const struct apus_frame *frame)
{
	struct apus_frame f = *frame;
	uint32_t reason = a->reason;

	switch (a->kind) {
	case REFERENCE_ENCAPSULATE: reason = encapsulate(a, &f, id); break;
	case REFERENCE_DECAPSULATE: reason = decapsulate(a, &f); break;
	case REFERENCE_DELIVER: reason = deliver(a, &f); break;
	}
	if (reason != 0) {
		drop(w, frame, reason);
		return;
	}
	w->output[w->output_count++] = f;
	count(&w->stats.transmitted, 1);
	count(&w->stats.transmitted_bytes, f.length);
	count(&w->ports[slot_of(f.port)].transmitted, 1);
	count(&w->ports[slot_of(f.port)].transmitted_bytes, f.length);
	count(&w->stats.encapsulated, a->kind == REFERENCE_ENCAPSULATE);
	count(&w->stats.decapsulated, a->kind == REFERENCE_DECAPSULATE);
	count(&w->stats.switched, a->kind == REFERENCE_DELIVER && !a->routed);
	count(&w->stats.routed, a->routed);
}

static uint32_t hash_action(const struct reference_action *a)
{
	const uint64_t *words = (const uint64_t *)(const void *)a;
	uint64_t h = 0;

	for (size_t i = 0; i < COMPARED / 8; i++)
		h = (h ^ words[i]) * 0x9E3779B97F4A7C15u, h ^= h >> 32;
	return (uint32_t)h;
}

/* The number + 1 of an equal action, with one more reference; 0 = no room. */
static uint32_t intern(struct reference_worker *w, const struct reference_action *a)
{
	const uint32_t hash = hash_action(a);
	uint32_t *bucket = &w->buckets[hash & w->bucket_mask], number;

	for (number = *bucket; number != 0; number = w->actions[number - 1].next) {
		struct reference_action *known = &w->actions[number - 1];

		if (known->hash == hash && memcmp(known, a, COMPARED) == 0) {
			known->references++;
			return number;
		}
	}
	if (w->first_free != 0) {
		number = w->first_free;
		w->first_free = w->actions[number - 1].next;
	} else if (w->action_count < w->action_capacity) {
		number = ++w->action_count;
	} else {
		return 0;
	}
	w->actions[number - 1] = *a;
	w->actions[number - 1].hash = hash;
	w->actions[number - 1].references = 1;
	w->actions[number - 1].next = *bucket;
	*bucket = number;
	return number;
}

static void forget(struct reference_worker *w, const struct cache *c, struct flow *e)
{
	const uint32_t number = e->result >> 8;
	struct reference_action *a = &w->actions[number - 1];
	uint32_t *link = &w->buckets[a->hash & w->bucket_mask];

	e->result = 0;
	c->shares[a->scope & (SHARES - 1)]--;
	count(&w->stats.flow_entries, (uint64_t)-1);
	if (--a->references != 0)
		return;
	while (*link != number)
		link = &w->actions[*link - 1].next;
	*link = a->next;
	a->next = w->first_free;
	w->first_free = number;
}

static uint32_t share_of(const struct reference_worker *w, const struct cache *c, const struct flow *e)
{
	return c->shares[w->actions[(e->result >> 8) - 1].scope & (SHARES - 1)];
}

static struct flow *line(const struct cache *c, uint64_t hash, unsigned int number)
{
	return flow_at(c->lines, line_of(hash, c->mask, number), c->is_wide);
}

static const struct cache *cache_of(const struct reference_worker *w, const struct staged *p)
{
	return p->form == WIDE ? &w->wide : &w->narrow;
}

static struct flow *find(const struct cache *c, const struct staged *p)
{
	return c->is_wide ? find_flow(c->lines, c->mask, p->hash, &p->key, true) : find_flow(c->lines, c->mask, p->hash, &p->key, false);
}

/* The key of a new flow goes before what is known of it. */
static void set_key(const struct cache *c, struct flow *f, const union any_key *k)
{
	if (c->is_wide) {
		struct wide_entry *e = (void *)((char *)f - offsetof(struct wide_entry, flow));

		e->key = k->wide;
	} else {
		struct entry *e = (void *)((char *)f - offsetof(struct entry, flow));

		e->link = k->narrow.link, e->network = k->narrow.network, e->outer = k->narrow.outer;
	}
}

/* A line for a new flow; NULL = its tenant has its share of a full set. */
static struct flow *place(struct reference_worker *w, const struct cache *c, uint64_t hash, uint32_t scope)
{
	const unsigned int first = (unsigned int)(hash >> 60);
	struct flow *victim;

	for (unsigned int number = 0; number < WAYS; number++) {
		struct flow *e = line(c, hash, number);

		if (e->result == 0)
			return e;
	}
	for (unsigned int number = 0; number < WAYS; number++) {
		struct flow *e = line(c, hash, number);

		if (!is_current(w, e, &w->actions[(e->result >> 8) - 1])) {
			forget(w, c, e);
			return e;
		}
	}
	victim = line(c, hash, first & 7);
	for (unsigned int number = 1; number < WAYS; number++) {
		struct flow *e = line(c, hash, (first + number) & 7);

		if (share_of(w, c, e) > share_of(w, c, victim))
			victim = e;
	}
	if (share_of(w, c, victim) < c->shares[scope & (SHARES - 1)])
		return NULL;
	count(&w->stats.flow_evictions, 1);
	forget(w, c, victim);
	return victim;
}

static void remember(struct reference_worker *w, const struct staged *p, const struct reference_action *a, uint32_t length)
{
	const struct cache *c = cache_of(w, p);
	struct flow *e = find(c, p);
	uint32_t number;

	w->replacements++;
	if (e != NULL)
		forget(w, c, e);
	else
		e = place(w, c, p->hash, a->scope);
	number = e == NULL ? 0 : intern(w, a);
	if (number == 0) {
		count(&w->stats.flow_suppressed, 1);
		return;
	}
	w->actions[number - 1].neighbor_epoch = w->neighbor_epoch;
	set_key(c, e, &p->key);
	*e = (struct flow){(uint32_t)w->version, number << 8 | flow_id(&p->key, c->is_wide), 1, length};
	c->shares[a->scope & (SHARES - 1)]++;
	count(&w->stats.flow_inserts, 1);
	count(&w->stats.flow_entries, 1);
}

void reference_carefully(struct reference_worker *w, struct apus_frame frame, struct staged *p)
{
	struct reference_action decided;
	struct flow *e;

	if (p->form == NO_KEY) {
		drop(w, &frame, APUS_DROP_FRAME_INVALID);
		return;
	}
	e = find(cache_of(w, p), p);
	if (e != NULL) {
		struct reference_action *a = &w->actions[(e->result >> 8) - 1];

		if (is_current(w, e, a) && a->identity == p->identity) {
			a->neighbor_epoch = w->neighbor_epoch; /* static neighbours need nothing else */
			count(&w->stats.flow_hits, 1);
			e->packets++;
			e->bytes += frame.length;
			apply_one(w, a, (uint8_t)e->result, &frame);
			return;
		}
	}
	count(&w->stats.flow_misses, 1);
	memset(&decided, 0, sizeof(decided));
	w->opts.classify(w->opts.context, &frame, &decided);
	decided.identity = p->identity;
	remember(w, p, &decided, frame.length);
	apply_one(w, &decided, flow_id(&p->key, p->form == WIDE), &frame);
}
