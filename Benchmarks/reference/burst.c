/* SPDX-License-Identifier: Apache-2.0 */
/* A burst in three stages: parse, hash and prefetch; look up; apply in order. */
#include "apply.h"
#include "worker.h"

#define AHEAD 4u
#define LOOK_UPS 32u /* packets that are looked up before their other entries are asked for */
#define REFRESH_NS 1000000000u

ALWAYS void fetch(const struct apus_frame *f)
{
	__builtin_prefetch(f->data);
	__builtin_prefetch(f->data - 64);
}

/* All that is contiguous has to be, in most frames all there is. */
ALWAYS bool is_contiguous(const struct apus_frame *f) { return f->contiguous >= f->length || f->contiguous >= APUS_CONTIGUOUS; }

/* What all packets of a chunk have in common. */
struct stage {
	struct reference_worker *w;
	const struct apus_frame *end, *fetched;
	__m128i hash0, hash1;
	struct cache narrow, wide;
};

ALWAYS enum form set_narrow(const struct stage *s, struct staged *p, struct key key)
{
	p->link = key.link;
	p->network = key.network;
	p->outer = key.outer;
	p->hash = hash_key(&key, s->hash0, s->hash1);
	p->line = home_of(s->narrow.lines, s->narrow.mask, p->hash, false);
	return NARROW;
}

ALWAYS enum form set_wide(const struct stage *s, struct staged *p, const struct wide_key *key)
{
	s->w->wide_keys[p - s->w->staged] = *key;
	p->hash = hash_wide_key(key, s->hash0, s->hash1);
	p->line = home_of(s->wide.lines, s->wide.mask, p->hash, true);
	return WIDE;
}

ALWAYS struct stage stage_of(struct reference_worker *w, const struct apus_frame *frames, uint32_t n)
{
	return (struct stage){w, frames + n, n < AHEAD ? frames : frames + n - AHEAD, w->hash0, w->hash1, w->narrow, w->wide};
}

/* The same for a packet that is valid but not plain: a tag, options, a fragment; or that is not valid. */
static __attribute__((noinline)) enum form stage_uncommon(struct reference_worker *w, const struct apus_frame *f, uint32_t kind,
							   struct staged *p)
{
	const struct stage s = stage_of(w, f, 1);
	const uint32_t length = f->length, readable = length < APUS_CONTIGUOUS ? length : APUS_CONTIGUOUS;
	struct outer o = {.inner_length = length};
	const uint8_t *frame, *tunnel = NULL;
	uint32_t available;

	p->line = &w->nothing;
	if (kind == 0 || f->data == NULL || length < ETHERNET || length > APUS_FRAME_MAX || !is_contiguous(f))
		return NO_KEY;
	if (kind != APUS_PORT_VM) {
		if (!parse_outer(f->data, length, f->flags, &o))
			return NO_KEY;
		tunnel = f->data + o.link;
	}
	frame = f->data + o.inner;
	available = o.inner_length - ETHERNET;
	p->identity = o.identity;
	if (available >= 44 && is_plain_ipv6(frame, available)) {
		const struct wide_key key = plain_ipv6_key(frame, f->port, tunnel);

		return set_wide(&s, p, &key);
	}
	if (load16(frame + 12) != 0x0008 || !is_well_formed(frame + ETHERNET, (int)available))
		return NO_KEY;
	return set_narrow(&s, p, any_key(frame, (int)(readable - o.inner - ETHERNET), f->port, tunnel));
}

/*
 * The key and hash of a packet that the caches are for, its entry on the way. There are as few comparisons as there can be: a frame
 * that has room for a plain packet has room for all that is looked at before that is known.
 */
ALWAYS enum form stage_from_vm(const struct stage *s, const struct apus_frame *f, struct staged *p)
{
	const uint32_t least = ETHERNET + PLAIN, length = f->length;
	const uint8_t *frame = f->data;

	if (LIKELY(length - least <= APUS_FRAME_MAX - least && is_contiguous(f) && frame != NULL)) {
		p->identity = 0;
		if (is_plain(frame, length - ETHERNET))
			return set_narrow(s, p, plain_key(frame, f->port, NULL));
		if (is_plain_ipv6(frame, length - ETHERNET)) {
			const struct wide_key key = plain_ipv6_key(frame, f->port, NULL);

			return set_wide(s, p, &key);
		}
	}
	return stage_uncommon(s->w, f, APUS_PORT_VM, p);
}

/* The same of a packet in NVGRE, whose frame has no tag. */
ALWAYS enum form stage_from_tunnel(const struct stage *s, const struct apus_frame *f, struct staged *p)
{
	const uint32_t least = ETHERNET + OVERHEAD + PLAIN, length = f->length;
	const uint8_t *ip = f->data + ETHERNET, *frame = ip + OUTER_IP_GRE;

	if (LIKELY(length - least <= APUS_FRAME_MAX - least && is_contiguous(f) && f->data != NULL &&
		   (load32(f->data + 12) & TYPE_MASK) == TYPE_IPV4 && is_gre(ip))) {
		const uint32_t total = be16(ip + 2);

		if (LIKELY(total - (OVERHEAD + PLAIN) <= length - least && is_nvgre(ip + 20) && is_checked(ip, f->flags))) {
			p->identity = identity_of(f->data, PROVIDER);
			if (is_plain(frame, total - OVERHEAD))
				return set_narrow(s, p, plain_key(frame, f->port, ip));
			if (is_plain_ipv6(frame, total - OVERHEAD)) {
				const struct wide_key key = plain_ipv6_key(frame, f->port, ip);

				return set_wide(s, p, &key);
			}
		}
	}
	return stage_uncommon(s->w, f, APUS_PORT_PROVIDER, p);
}

/* The frames from `f` on that are from one port, which is of this kind - a constant. Returns where they end. */
ALWAYS const struct apus_frame *stage_run(const struct stage *s, const struct apus_frame *f, struct staged *p, uint32_t kind,
					  uint64_t *bytes)
{
	const uint32_t port = f->port;
	struct reference_worker *w = s->w;
	uint64_t sum = 0;

	do {
		enum form form;

		if (f < s->fetched)
			fetch(f + AHEAD);
		sum += f->length;
		if (kind == APUS_PORT_VM)
			form = stage_from_vm(s, f, p);
		else if (kind == APUS_PORT_PROVIDER)
			form = stage_from_tunnel(s, f, p);
		else
			form = stage_uncommon(w, f, kind, p);
		if (form == WIDE)
			w->wide_packets |= 1ull << (p - w->staged);
		else if (form == NO_KEY)
			w->keyless_packets |= 1ull << (p - w->staged);
		f++, p++;
	} while (f < s->end && f->port == port);
	*bytes = sum;
	return f;
}

/* 0 = there is no such port. */
ALWAYS uint32_t kind_of(const struct reference_worker *w, uint32_t port)
{
	const uint64_t identity = __atomic_load_n(&w->port_identity[slot_of(port)], __ATOMIC_RELAXED);

	return identity >> 8 == port ? (uint32_t)(identity & 0xFF) : 0;
}

ALWAYS void parse(struct reference_worker *w, const struct apus_frame *frames, uint32_t n)
{
	const struct stage s = stage_of(w, frames, n);

	w->wide_packets = w->keyless_packets = 0;
	for (uint32_t i = 0; i < AHEAD && i < n; i++)
		fetch(&frames[i]);
	for (const struct apus_frame *f = frames, *next; f < s.end; f = next) {
		const uint32_t port = f->port, kind = kind_of(w, port);
		struct reference_port *c = &w->ports[slot_of(port)];
		struct staged *p = &w->staged[f - frames];
		uint64_t bytes;

		if (kind == APUS_PORT_VM)
			next = stage_run(&s, f, p, APUS_PORT_VM, &bytes);
		else if (kind == APUS_PORT_PROVIDER)
			next = stage_run(&s, f, p, APUS_PORT_PROVIDER, &bytes);
		else
			next = stage_run(&s, f, p, 0, &bytes);
		count(&w->stats.received_bytes, bytes);
		if (kind != 0) {
			count(&c->received, (uint64_t)(next - f));
			count(&c->received_bytes, bytes);
		}
	}
}

static __attribute__((noinline)) uint64_t look_up_wide(struct reference_worker *w)
{
	uint64_t further = 0;

	for (uint64_t left = w->wide_packets; left != 0; left &= left - 1) {
		const uint32_t i = (uint32_t)__builtin_ctzll(left);
		const struct line *line = w->staged[i].line;

		further |= (uint64_t)!is_wide_flow(line, &w->wide_keys[i]) << i;
		__builtin_prefetch(action_of(w, &line->flow));
	}
	if (further != 0)
		reference_fetch_wide_neighbors(w, further);
	return further;
}

/*
 * Most flows stand in their first entry; which do not nobody can predict, so there is no branch for it, but a bit. Nor is there one for
 * what kind of packet it is: what has no narrow key - a bit of `others` - has one of before, which is looked for in vain.
 */
ALWAYS void look_up(struct reference_worker *w, uint32_t n)
{
	const uint64_t others = w->wide_packets | w->keyless_packets, all = ~0ull >> (CHUNK - n);
	uint64_t further = 0;

	for (uint32_t first = 0, end; first < n && others != all; first = end) {
		uint64_t these = 0;

		end = n - first < LOOK_UPS ? n : first + LOOK_UPS;
		for (uint32_t i = first; i < end; i++) {
			const struct staged *p = &w->staged[i];

			these |= (uint64_t)!is_flow(p->line, p) << i;
			__builtin_prefetch(action_of(w, &p->line->flow));
		}
		these &= ~others;
		if (these != 0)
			reference_fetch_neighbors(w, these);
		further |= these;
	}
	if (w->wide_packets != 0)
		further |= look_up_wide(w);
	if (further != 0)
		reference_look_further(w, further);
}

/* Frames that were sent and not counted yet: those before `end`. */
static __attribute__((noinline)) void settle_sent(struct reference_worker *w, const struct apus_frame *end, uint64_t bytes, uint64_t counts)
{
	const uint32_t frames = (uint32_t)(end - w->output) - w->output_count;

	w->output_count += frames;
	count(&w->stats.flow_hits, frames);
	count(&w->stats.transmitted, frames);
	count(&w->stats.transmitted_bytes, bytes);
	reference_count(w, counts);
}

ALWAYS void apply(struct reference_worker *w, const struct apus_frame *frames, uint32_t n)
{
	const uint32_t version = (uint32_t)w->version, epoch = w->neighbor_epoch, replacements = w->replacements;
	const struct apus_frame *const end = frames + n;
	struct apus_frame *out = w->output + w->output_count;
	const struct staged *p = w->staged;
	uint64_t bytes = 0, counts = 0;

	for (const struct apus_frame *f = frames; f < end; f++, p++) {
		struct flow *e = &p->line->flow;
		const struct reference_action *a = action_of(w, e);

		if (LIKELY((e->stamp == version || reference_renew(w, e)) && a->identity == p->identity && a->neighbor_epoch == epoch &&
			   operate(a, f, out, flow_id_in(e)) == 0)) {
			e->packets++;
			e->bytes += f->length;
			count(&a->port->transmitted, 1);
			count(&a->port->transmitted_bytes, out->length);
			bytes += out->length;
			counts += a->counts;
			out++;
			continue;
		}
		settle_sent(w, out, bytes, counts);
		reference_carefully(w, f, (uint32_t)(f - frames));
		if (w->replacements != replacements) {
			/* An entry or an action that was found in stage 2 may belong to another flow now. */
			while (++f < end)
				reference_carefully(w, f, (uint32_t)(f - frames));
			return;
		}
		out = w->output + w->output_count;
		bytes = counts = 0;
	}
	settle_sent(w, out, bytes, counts);
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
