/* SPDX-License-Identifier: Apache-2.0 */
/* Packets one by one: first packets of flows, and whatever the stages did not want. */
#include "apply.h"
#include "worker.h"

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

void reference_count(struct reference_worker *w, uint64_t counts)
{
	count(&w->stats.encapsulated, counts >> COUNT_ENCAPSULATED & 0xFFFF);
	count(&w->stats.decapsulated, counts >> COUNT_DECAPSULATED & 0xFFFF);
	count(&w->stats.switched, counts >> COUNT_SWITCHED & 0xFFFF);
	count(&w->stats.routed, counts >> COUNT_ROUTED & 0xFFFF);
}

static void apply_one(struct reference_worker *w, const struct reference_action *a, uint8_t id, const struct apus_frame *frame)
{
	struct apus_frame *sent = &w->output[w->output_count];
	const uint32_t reason = operate(a, frame, sent, id);

	if (reason != 0) {
		drop(w, frame, reason);
		return;
	}
	w->output_count++;
	count(&w->stats.transmitted, 1);
	count(&w->stats.transmitted_bytes, sent->length);
	count(&a->port->transmitted, 1);
	count(&a->port->transmitted_bytes, sent->length);
	reference_count(w, a->counts);
}

/* What follows from the rest of an action. */
static void complete(struct reference_worker *w, struct reference_action *a)
{
	static const uint8_t kinds[] = {0, OP_DELIVER, OP_ENCAPSULATE, OP_DECAPSULATE};

	a->operation = (uint8_t)(kinds[a->kind] | (a->routed ? OP_ROUTED : 0) | (a->is_ipv6 ? OP_IPV6 : 0));
	a->port = &w->ports[slot_of(a->egress)];
	a->counts = (uint64_t)a->routed << COUNT_ROUTED;
	if (a->kind == REFERENCE_ENCAPSULATE) {
		a->flags = APUS_FRAME_ENCAPSULATED;
		a->gained[0] = a->lost[1] = a->header_length;
		a->counts |= 1ull << COUNT_ENCAPSULATED;
	} else if (a->kind == REFERENCE_DECAPSULATE) {
		a->gained[1] = a->lost[0] = a->header_length;
		a->counts |= 1ull << COUNT_DECAPSULATED;
	} else if (a->kind == REFERENCE_DELIVER && !a->routed) {
		a->counts |= 1ull << COUNT_SWITCHED;
	}
}

/* What is compared. */
static const struct { size_t from, to; } parts[] = {
	{0, offsetof(struct reference_action, neighbor_epoch)},
	{offsetof(struct reference_action, header), offsetof(struct reference_action, references)},
};

static uint32_t hash_action(const struct reference_action *a)
{
	uint64_t h = 0;

	for (size_t i = 0; i < 2; i++)
		for (size_t at = parts[i].from; at < parts[i].to; at += 4)
			h = (h ^ load32((const uint8_t *)a + at)) * 0x9E3779B97F4A7C15u, h ^= h >> 32;
	return (uint32_t)h;
}

static bool is_equal(const struct reference_action *a, const struct reference_action *b)
{
	bool equal = true;

	for (size_t i = 0; i < 2; i++)
		equal &= memcmp((const uint8_t *)a + parts[i].from, (const uint8_t *)b + parts[i].from, parts[i].to - parts[i].from) == 0;
	return equal;
}

static struct reference_action *action_at(const struct reference_worker *w, uint32_t number)
{
	return (struct reference_action *)(void *)w->actions + number;
}

/* The number of an equal action, with one more reference; 0 = no room. */
static uint32_t intern(struct reference_worker *w, const struct reference_action *a)
{
	const uint32_t hash = hash_action(a);
	uint32_t *bucket = &w->buckets[hash & w->bucket_mask], number;

	for (number = *bucket; number != 0; number = action_at(w, number)->next) {
		struct reference_action *known = action_at(w, number);

		if (known->hash == hash && is_equal(known, a)) {
			known->references++;
			return number;
		}
	}
	if (w->first_free != 0) {
		number = w->first_free;
		w->first_free = action_at(w, number)->next;
	} else if (w->action_count < w->action_capacity) {
		number = ++w->action_count;
	} else {
		return 0;
	}
	*action_at(w, number) = *a;
	action_at(w, number)->hash = hash;
	action_at(w, number)->references = 1;
	action_at(w, number)->next = *bucket;
	*bucket = number;
	return number;
}

/* Let the first entry of a flow know where it stands. */
static void note(const struct cache *c, uint64_t hash, uint64_t number, bool is_there)
{
	const uint64_t home = hash & c->mask, neighbor = number ^ home;
	struct line *first = line_at(c->lines, home, c->is_wide);
	const uint32_t displaced = displaced_of(first), bit = 1u << ((neighbor - 1) & 7);

	if (neighbor == 0)
		return;
	if (neighbor < 4)
		set_displaced(first, (uint8_t)(is_there ? displaced | bit : displaced & ~bit));
	else if (displaced < 31 << 3)
		set_displaced(first, (uint8_t)(is_there ? displaced + 8 : displaced - 8));
}

static uint64_t number_in(const struct cache *c, const struct line *line)
{
	return (uint64_t)((const uint8_t *)line - c->lines) / entry_size(c->is_wide);
}

static uint64_t hash_of_line(const struct reference_worker *w, const struct cache *c, const struct line *line)
{
	const struct key narrow = {line->link, line->network, line->outer};
	struct wide_key wide = {0};

	if (!c->is_wide)
		return hash_key(&narrow, w->hash0, w->hash1);
	memcpy(&wide, line - 1, sizeof(*line));
	return hash_wide_key(&wide, w->hash0, w->hash1);
}

static void forget(struct reference_worker *w, const struct cache *c, struct line *line)
{
	struct reference_action *a = action_of(w, &line->flow);
	uint32_t *link = &w->buckets[a->hash & w->bucket_mask], number = (uint32_t)(a - action_at(w, 0));

	note(c, hash_of_line(w, c, line), number_in(c, line), false);
	line->flow.result = 0;
	if (c->is_wide)
		(line - 1)->link = _mm_setzero_si128();
	else
		line->link = _mm_setzero_si128();
	c->shares[a->scope & (SHARES - 1)]--;
	count(&w->stats.flow_entries, (uint64_t)-1);
	if (--a->references != 0)
		return;
	while (*link != number)
		link = &action_at(w, *link)->next;
	*link = a->next;
	a->next = w->first_free;
	w->first_free = number;
}

static uint32_t share_of(const struct reference_worker *w, const struct cache *c, const struct line *line)
{
	return c->shares[action_of(w, &line->flow)->scope & (SHARES - 1)];
}

static struct line *line_of(const struct cache *c, uint64_t hash, unsigned int number)
{
	return line_at(c->lines, number_of(hash, c->mask, number), c->is_wide);
}

static const struct cache *cache_of(const struct reference_worker *w, uint32_t i)
{
	return form_of(w, i) == WIDE ? &w->wide : &w->narrow;
}

ALWAYS bool is_at(const struct reference_worker *w, uint32_t i, bool is_wide, const struct line *line)
{
	return is_wide ? is_wide_flow(line, &w->wide_keys[i]) : is_flow(line, &w->staged[i]);
}

static __attribute__((noinline)) struct line *find_elsewhere(struct reference_worker *w, const struct cache *c, uint32_t i)
{
	const uint64_t hash = w->staged[i].hash;
	const uint32_t displaced = displaced_of(line_of(c, hash, 0));

	/* A bit for each entry but the first. */
	for (uint32_t left = (displaced & 7) | (displaced >= 8 ? 0x78 : 0); left != 0; left &= left - 1) {
		struct line *line = line_of(c, hash, (unsigned int)__builtin_ctz(left) + 1);

		if (is_at(w, i, c->is_wide, line))
			return line;
	}
	return &w->nothing;
}

static struct line *find(struct reference_worker *w, uint32_t i)
{
	const struct cache *c = cache_of(w, i);
	struct line *home = line_of(c, w->staged[i].hash, 0);

	return is_at(w, i, c->is_wide, home) ? home : find_elsewhere(w, c, i);
}

ALWAYS void fetch_neighbors(struct reference_worker *w, uint64_t packets, bool is_wide)
{
	for (uint64_t left = packets; left != 0; left &= left - 1) {
		struct staged *p = &w->staged[__builtin_ctzll(left)];

		p->line = fetch_neighbor(p->line, is_wide);
	}
}

ALWAYS void look_further(struct reference_worker *w, uint64_t packets, bool is_wide)
{
	for (uint64_t left = packets; left != 0; left &= left - 1) {
		const uint32_t i = (uint32_t)__builtin_ctzll(left);
		struct staged *p = &w->staged[i];

		if (UNLIKELY(!is_at(w, i, is_wide, p->line)))
			p->line = find_elsewhere(w, is_wide ? &w->wide : &w->narrow, i);
		__builtin_prefetch(action_of(w, &p->line->flow));
	}
}

void reference_fetch_neighbors(struct reference_worker *w, uint64_t packets) { fetch_neighbors(w, packets, false); }
void reference_fetch_wide_neighbors(struct reference_worker *w, uint64_t packets) { fetch_neighbors(w, packets, true); }

void reference_look_further(struct reference_worker *w, uint64_t packets)
{
	if ((packets & ~w->wide_packets) != 0)
		look_further(w, packets & ~w->wide_packets, false);
	if ((packets & w->wide_packets) != 0)
		look_further(w, packets & w->wide_packets, true);
}

bool reference_renew(const struct reference_worker *w, struct flow *e)
{
	if (e->result == 0 || !is_current(w, e, action_of(w, e)))
		return false;
	e->stamp = (uint32_t)w->version;
	return true;
}

/* A new flow stands in this entry. */
static void put(struct reference_worker *w, const struct cache *c, struct line *line, uint32_t i, struct flow flow)
{
	const struct staged *p = &w->staged[i];
	const struct wide_key *k = &w->wide_keys[i];
	const uint8_t displaced = displaced_of(line);

	if (c->is_wide) {
		memcpy(line - 1, k, sizeof(*line));
		line->link = k->outer_source, line->network = k->outer_destination, line->outer = 0;
	} else {
		line->link = p->link, line->network = p->network, line->outer = p->outer;
	}
	line->flow = flow;
	set_displaced(line, displaced);
	note(c, p->hash, number_in(c, line), true);
}

/* An entry for a new flow; NULL = its tenant has its share of four that are taken. */
static struct line *place(struct reference_worker *w, const struct cache *c, uint64_t hash, uint32_t scope)
{
	struct line *victim = NULL;

	for (unsigned int number = 0; number < WAYS; number++) {
		struct line *line = line_of(c, hash, number);

		if (line->flow.result == 0)
			return line;
	}
	for (unsigned int number = 0; number < WAYS / 2; number++) {
		struct line *line = line_of(c, hash, (number + (unsigned int)(hash >> 60)) & 7);

		if (!is_current(w, &line->flow, action_of(w, &line->flow))) {
			forget(w, c, line);
			return line;
		}
		if (victim == NULL || share_of(w, c, line) > share_of(w, c, victim))
			victim = line;
	}
	if (share_of(w, c, victim) < c->shares[scope & (SHARES - 1)])
		return NULL;
	count(&w->stats.flow_evictions, 1);
	forget(w, c, victim);
	return victim;
}

static void remember(struct reference_worker *w, uint32_t i, const struct reference_action *a, uint8_t id, uint32_t length)
{
	const struct cache *c = cache_of(w, i);
	struct line *line = w->staged[i].line;
	uint32_t number;

	w->replacements++;
	if (line != &w->nothing)
		forget(w, c, line);
	else
		line = place(w, c, w->staged[i].hash, a->scope);
	number = line == NULL ? 0 : intern(w, a);
	if (number == 0) {
		count(&w->stats.flow_suppressed, 1);
		return;
	}
	action_at(w, number)->neighbor_epoch = w->neighbor_epoch;
	put(w, c, line, i, (struct flow){(uint32_t)w->version, (uint32_t)id << 24 | number * sizeof(*a), 1, length});
	c->shares[a->scope & (SHARES - 1)]++;
	count(&w->stats.flow_inserts, 1);
	count(&w->stats.flow_entries, 1);
}

void reference_carefully(struct reference_worker *w, const struct apus_frame *frame, uint32_t i)
{
	const enum form form = form_of(w, i);
	struct staged *p = &w->staged[i];
	struct reference_action decided;
	struct flow *e;
	uint8_t id;

	if (form == NO_KEY) {
		drop(w, frame, APUS_DROP_FRAME_INVALID);
		return;
	}
	p->line = find(w, i);
	e = &p->line->flow;
	if (reference_renew(w, e) && action_of(w, e)->identity == p->identity) {
		action_of(w, e)->neighbor_epoch = w->neighbor_epoch; /* static neighbours need nothing else */
		count(&w->stats.flow_hits, 1);
		e->packets++;
		e->bytes += frame->length;
		apply_one(w, action_of(w, e), flow_id_in(e), frame);
		return;
	}
	count(&w->stats.flow_misses, 1);
	memset(&decided, 0, sizeof(decided));
	w->opts.classify(w->opts.context, frame, &decided);
	decided.identity = p->identity;
	complete(w, &decided);
	id = form == WIDE ? wide_flow_id(&w->wide_keys[i]) : flow_id(p->network);
	remember(w, i, &decided, id, frame->length);
	apply_one(w, &decided, id, frame);
}
