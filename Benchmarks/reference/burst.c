/* SPDX-License-Identifier: Apache-2.0 */
/* A burst in three stages: parse, hash and prefetch; look up; apply in order. */
#include "apply.h"
#include "worker.h"

#define AHEAD 4u
#define REFRESH_NS 1000000000u

ALWAYS void fetch(const struct apus_frame *f)
{
	__builtin_prefetch(f->data);
	__builtin_prefetch(f->data - 64);
}

ALWAYS bool is_valid(const struct apus_frame *f)
{
	uint32_t needed = f->length < APUS_CONTIGUOUS ? f->length : APUS_CONTIGUOUS;

	return f->data != NULL && f->length >= ETHERNET && f->length <= APUS_FRAME_MAX && f->contiguous >= needed;
}

ALWAYS bool outer_of(const struct apus_frame *f, struct outer *o)
{
	return parse_outer(f->data, f->length, f->flags & APUS_FRAME_IP_CHECKSUM_GOOD, f->flags & APUS_FRAME_IP_CHECKSUM_BAD, o);
}

/* The keys of IPv4 that is valid but not plain. */
static __attribute__((noinline)) bool uncommon_key(const struct apus_frame *f, uint32_t kind, struct key *key)
{
	const uint32_t readable = f->length < APUS_CONTIGUOUS ? f->length : APUS_CONTIGUOUS;
	struct outer o = {.inner_length = (int)f->length};
	const uint8_t *frame;

	if (kind != APUS_PORT_VM && !outer_of(f, &o))
		return false;
	frame = f->data + o.inner;
	if (load16(frame + 12) != 0x0008 || !is_well_formed(frame + ETHERNET, o.inner_length - (int)ETHERNET))
		return false;
	*key = any_key(frame, (int)(readable - o.inner - ETHERNET), f->port, o.vsid, o.link != 0 ? load64(f->data + o.link + 12) : 0);
	return true;
}

/* The key and hash of a packet that the caches are for, its line on the way. */
ALWAYS enum form make_key(const struct apus_frame *f, uint32_t kind, struct staged *p, struct cache narrow, struct cache wide,
			  __m128i hash0, __m128i hash1)
{
	const uint8_t *frame = f->data;
	int available = (int)f->length;
	uint32_t vsid = 0;
	uint64_t addresses = 0;

	p->identity = 0;
	if (kind != APUS_PORT_VM) {
		struct outer o;

		if (!outer_of(f, &o))
			return NO_KEY;
		p->identity = o.identity;
		frame += o.inner;
		available = o.inner_length;
		vsid = o.vsid;
		addresses = load64(f->data + o.link + 12);
	}
	if (LIKELY(is_plain(frame, available - (int)ETHERNET))) {
		const struct key key = plain_key(frame, f->port, vsid, addresses);

		p->key.narrow = key;
		p->hash = hash_key(&key, hash0, hash1);
		fetch_line(narrow.lines, narrow.mask, p->hash, false);
		return NARROW;
	}
	if (is_plain_ipv6(frame, available - (int)ETHERNET)) {
		const uint32_t families = kind != APUS_PORT_VM ? INNER_IPV6 | OUTER_IPV4 : INNER_IPV6;
		const struct wide_key key = plain_ipv6_key(frame, f->port, vsid, addresses, families);

		p->key.wide = key;
		p->hash = hash_wide_key(&key, hash0, hash1);
		fetch_line(wide.lines, wide.mask, p->hash, true);
		return WIDE;
	}
	if (!uncommon_key(f, kind, &p->key.narrow))
		return NO_KEY;
	p->hash = hash_key(&p->key.narrow, hash0, hash1);
	fetch_line(narrow.lines, narrow.mask, p->hash, false);
	return NARROW;
}

/* Consecutive frames from one port. */
struct source {
	uint32_t port, kind, first;
	uint64_t bytes;
};

static __attribute__((noinline)) void settle_source(struct reference_worker *w, struct source *s, uint32_t next, uint32_t at)
{
	struct port_counters *c = &w->ports[slot_of(s->port)];
	uint64_t identity;

	count(&w->stats.received_bytes, s->bytes);
	if (s->kind != 0) {
		count(&c->received, at - s->first);
		count(&c->received_bytes, s->bytes);
	}
	identity = __atomic_load_n(&w->port_identity[slot_of(next)], __ATOMIC_RELAXED);
	*s = (struct source){next, identity >> 8 == next ? (uint32_t)(identity & 0xFF) : 0, at, 0};
}

ALWAYS void parse(struct reference_worker *w, const struct apus_frame *frames, uint32_t n)
{
	const __m128i hash0 = w->hash0, hash1 = w->hash1;
	const struct cache narrow = w->narrow, wide = w->wide;
	struct source source = {0, 0, 0, 0};

	settle_source(w, &source, frames[0].port, 0);
	for (uint32_t i = 0; i < AHEAD && i < n; i++)
		fetch(&frames[i]);
	for (uint32_t i = 0; i < n; i++) {
		const struct apus_frame *f = &frames[i];
		struct staged *p = &w->staged[i];

		if (i + AHEAD < n)
			fetch(f + AHEAD);
		if (UNLIKELY(f->port != source.port))
			settle_source(w, &source, f->port, i);
		source.bytes += f->length;
		p->form = source.kind != 0 && is_valid(f) ? make_key(f, source.kind, p, narrow, wide, hash0, hash1) : NO_KEY;
	}
	settle_source(w, &source, 0, n);
}

ALWAYS void look_up(struct reference_worker *w, uint32_t n)
{
	const struct cache narrow = w->narrow, wide = w->wide;
	struct reference_action *const actions = w->actions;

	for (uint32_t i = 0; i < n; i++) {
		struct staged *p = &w->staged[i];

		p->flow = NULL;
		if (LIKELY(p->form == NARROW))
			p->flow = find_flow(narrow.lines, narrow.mask, p->hash, &p->key, false);
		else if (p->form == WIDE)
			p->flow = find_flow(wide.lines, wide.mask, p->hash, &p->key, true);
		if (LIKELY(p->flow != NULL)) {
			p->action = &actions[(p->flow->result >> 8) - 1];
			__builtin_prefetch(p->action);
		}
	}
}

/* Frames that were sent and not counted yet. */
struct sent {
	uint32_t begin, end;
	uint64_t bytes, encapsulated, decapsulated, routed, delivered, delivered_routed;
};

static __attribute__((noinline)) void settle_sent(struct reference_worker *w, struct sent *s)
{
	const uint64_t frames = s->end - s->begin;

	w->output_count = s->end;
	count(&w->stats.flow_hits, frames);
	count(&w->stats.transmitted, frames);
	count(&w->stats.transmitted_bytes, s->bytes);
	count(&w->stats.encapsulated, s->encapsulated);
	count(&w->stats.decapsulated, s->decapsulated);
	count(&w->stats.switched, s->delivered - s->delivered_routed);
	count(&w->stats.routed, s->routed + s->delivered_routed);
}

ALWAYS bool change(const struct reference_action *a, struct apus_frame *f, uint8_t id, struct sent *s)
{
	if (a->kind == REFERENCE_ENCAPSULATE) {
		if (UNLIKELY(encapsulate(a, f, id) != 0))
			return false;
		s->encapsulated++;
		s->routed += a->routed;
	} else if (a->kind == REFERENCE_DECAPSULATE) {
		if (UNLIKELY(decapsulate(a, f) != 0))
			return false;
		s->decapsulated++;
	} else {
		if (a->kind != REFERENCE_DELIVER || deliver(a, f) != 0)
			return false;
		s->delivered++;
		s->delivered_routed += a->routed;
	}
	return true;
}

ALWAYS void apply(struct reference_worker *w, const struct apus_frame *frames, uint32_t n)
{
	const uint32_t floor = w->floor, epoch = w->neighbor_epoch, replacements = w->replacements;
	const uint32_t *const scopes = w->scopes;
	struct port_counters *const ports = w->ports;
	struct apus_frame *const output = w->output;
	struct sent sent = {.begin = w->output_count, .end = w->output_count};
	bool disturbed = false;

	for (uint32_t i = 0; i < n; i++) {
		struct staged *p = &w->staged[i];
		struct flow *e = p->flow;

		if (LIKELY(e != NULL && !disturbed)) {
			const struct reference_action *a = p->action;
			const uint32_t stamp = e->stamp;

			if (LIKELY(stamp >= floor && stamp >= __atomic_load_n(&scopes[a->scope], __ATOMIC_RELAXED) &&
				   a->identity == p->identity && a->neighbor_epoch == epoch)) {
				struct apus_frame f = frames[i];

				if (LIKELY(change(a, &f, (uint8_t)e->result, &sent))) {
					struct port_counters *c = &ports[slot_of(f.port)];

					e->packets++;
					e->bytes += frames[i].length;
					count(&c->transmitted, 1);
					count(&c->transmitted_bytes, f.length);
					sent.bytes += f.length;
					output[sent.end++] = f;
					continue;
				}
			}
		}
		settle_sent(w, &sent);
		reference_carefully(w, frames[i], p);
		disturbed = w->replacements != replacements;
		sent = (struct sent){.begin = w->output_count, .end = w->output_count};
	}
	settle_sent(w, &sent);
}

static void begin(struct reference_worker *w, struct apus_frame *out, uint32_t n, uint64_t now)
{
	uint32_t epoch;

	w->output = out;
	w->output_count = 0;
	w->now = now > w->now ? now : w->now;
	count(&w->stats.received, n);
	w->version = __atomic_load_n(&w->shared->version, __ATOMIC_ACQUIRE);
	w->floor = __atomic_load_n(&w->shared->floor, __ATOMIC_RELAXED);
	epoch = __atomic_load_n(&w->shared->neighbor_epoch, __ATOMIC_ACQUIRE);
	if (epoch != w->seen_neighbor_epoch || w->now >= w->next_refresh) {
		w->seen_neighbor_epoch = epoch;
		w->next_refresh = w->now + REFRESH_NS;
		w->neighbor_epoch++;
	}
}

int reference_process(struct reference_worker *w, struct apus_frame *in, uint32_t n_in, struct apus_frame *out,
		      uint32_t out_capacity, uint64_t now_ns)
{
	if (w == NULL || (n_in > 0 && in == NULL) || (out_capacity > 0 && out == NULL))
		return APUS_ERR_NULL;
	if (out_capacity < n_in || out_capacity > 0x7FFFFFFF)
		return APUS_ERR_RANGE;
	if (__atomic_load_n(&w->busy, __ATOMIC_RELAXED) != 0)
		return APUS_ERR_BUSY;
	__atomic_store_n(&w->busy, 1, __ATOMIC_RELAXED);
	__atomic_store_n(w->sequence, *w->sequence + 1, __ATOMIC_RELAXED);
	_mm_mfence();
	begin(w, out, n_in, now_ns);
	for (uint32_t first = 0; first < n_in; first += CHUNK) {
		const uint32_t n = n_in - first < CHUNK ? n_in - first : CHUNK;

		parse(w, in + first, n);
		look_up(w, n);
		apply(w, in + first, n);
	}
	reference_flush(w);
	count(&w->stats.bursts, 1);
	__atomic_store_n(w->sequence, *w->sequence + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&w->busy, 0, __ATOMIC_RELAXED);
	return (int)w->output_count;
}
