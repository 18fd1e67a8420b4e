/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "must.h"
#include "traffic.h"

#define HEADROOM 128u
#define LINES_TOUCHED 128u /* bytes of a packet that are looked at or written: one line before the data, one after */
#define PAYLOAD 0xA5
#define PLAIN_WINDOW 256u

static size_t cache_size(int level, size_t otherwise)
{
	char path[80], unit = 0;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cache/index%d/size", level);
	file = fopen(path, "r");
	if (file == NULL)
		return otherwise;
	if (fscanf(file, "%zu%c", &size, &unit) < 1)
		size = otherwise;
	fclose(file);
	return size * (unit == 'K' ? 1024 : unit == 'M' ? 1048576 : 1);
}

uint32_t traffic_ring(enum temperature temperature)
{
	switch (temperature) {
	case L3: return (uint32_t)(4 * cache_size(2, 1 << 20) / LINES_TOUCHED);
	case DRAM: return (uint32_t)(2 * cache_size(3, 32 << 20) / LINES_TOUCHED);
	default: return PLAIN_WINDOW;
	}
}

struct traffic *traffic_make(const struct world *w, uint32_t first, uint32_t tenants, uint64_t flows, enum novelty novelty)
{
	const struct options *o = &w->options;
	const uint32_t longest = o->frame == 0 ? 1500 : o->frame;
	struct traffic *t = aligned_alloc(64, (sizeof(*t) + 63) & ~(size_t)63);

	if (t == NULL)
		fail("no memory");
	memset(t, 0, sizeof(*t));
	t->world = w;
	t->first_tenant = first;
	t->tenants = tenants;
	t->flows = flows;
	t->novelty = novelty;
	t->window = PLAIN_WINDOW / o->burst * o->burst;
	t->ring = traffic_ring(o->temperature) / t->window * t->window;
	t->stride = (HEADROOM + packet_outer_length(w) + longest + 63) & ~(size_t)63;
	/* An odd number of lines spreads the headers over all sets of the caches. */
	t->stride |= 64;
	t->memory = memory_take(t->ring * t->stride, o->small_pages);
	memset(t->memory, PAYLOAD, t->ring * t->stride);
	t->numbers = memory_take(t->ring * sizeof(*t->numbers), o->small_pages);
	t->lengths = memory_take(t->ring * sizeof(*t->lengths), o->small_pages);
	t->zipf = zipf_make(flows, o->zipf);
	traffic_seek(t, 0);
	return t;
}

void traffic_seek(struct traffic *t, uint64_t round)
{
	t->position = 0;
	t->sequential = false;
	t->random = mix64(round + 1);
	/* New flows: behind all others, and behind those of every other round. */
	t->next = t->flows + (round << 26);
}

void traffic_seek_flows(struct traffic *t)
{
	t->position = 0;
	t->sequential = true;
	t->next = 0;
}

static uint64_t draw(struct traffic *t)
{
	if (t->sequential || t->novelty == MISS ||
	    (t->novelty == MIXED && random_unit(&t->random) < t->world->options.miss_share))
		return t->sequential ? t->next++ % t->flows : t->next++;
	return t->zipf.exponent != 0 ? zipf_draw(&t->zipf, &t->random) : random_below(&t->random, t->flows);
}

static uint32_t draw_length(struct traffic *t)
{
	const uint32_t frame = t->world->options.frame;
	uint64_t which;

	if (frame != 0)
		return frame;
	which = random_below(&t->random, 12);
	return which < 7 ? 64 : which < 11 ? 570 : 1500;
}

static uint8_t *data_of(const struct traffic *t, uint32_t buffer) { return t->memory + buffer * t->stride + HEADROOM; }

/* The frame as it comes in. */
static void write_frame(const struct traffic *t, uint8_t *data, const struct flow *f, uint32_t length)
{
	const bool tunnelled = t->world->options.direction == DECAP;
	uint8_t *inner = data + (tunnelled ? packet_outer_length(t->world) : 0);

	packet_inner(inner, t->world, f, length, false);
	if (tunnelled)
		packet_outer(data, t->world, packet_host(t->world, f), false, world_vsid_a(f->tenant), 0x42, length - 14);
}

static void write_ring(struct traffic *t)
{
	for (uint32_t i = 0; i < t->ring; i++) {
		struct flow f;

		t->numbers[i] = draw(t);
		t->lengths[i] = draw_length(t);
		f = packet_flow(t->world, t->first_tenant, t->tenants, t->numbers[i]);
		write_frame(t, data_of(t, i), &f, t->lengths[i]);
	}
}

uint32_t traffic_window(struct traffic *t)
{
	const uint32_t outer = t->world->options.direction == DECAP ? packet_outer_length(t->world) : 0;

	if (t->position == 0)
		write_ring(t);
	for (uint32_t i = 0; i < t->window; i++) {
		const uint32_t buffer = t->position + i;
		const struct flow f = packet_flow(t->world, t->first_tenant, t->tenants, t->numbers[buffer]);

		t->in[i] = (struct apus_frame){
			.data = data_of(t, buffer), .buffer = (void *)(uintptr_t)(buffer + 1), .length = t->lengths[buffer] + outer,
			.contiguous = (uint16_t)(t->stride - HEADROOM), .headroom = HEADROOM, .port = packet_ingress(t->world, &f)};
	}
	t->position = (t->position + t->window) % t->ring;
	return t->window;
}

void traffic_verify(const struct traffic *t, uint32_t count, const char *engine)
{
	static uint8_t expected[2048];
	const struct world *w = t->world;
	const enum direction direction = w->options.direction;
	const bool tunnelled = direction == ENCAP || direction == ROUTE_ENCAP;
	const uint32_t outer = tunnelled ? packet_outer_length(w) : 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct apus_frame *out = &t->out[i];
		const uint32_t buffer = (uint32_t)(uintptr_t)out->buffer - 1;
		const struct flow f = packet_flow(w, t->first_tenant, t->tenants, t->numbers[buffer]);
		const uint32_t length = t->lengths[buffer];

		memset(expected, PAYLOAD, sizeof(expected));
		packet_inner(expected + outer, w, &f, length, true);
		if (tunnelled)
			packet_outer(expected, w, packet_host(w, &f), true, world_vsid_a(f.tenant),
				     packet_flow_id(expected + outer), length - 14);
		if (out->length != length + outer || out->port != packet_egress(w, &f) ||
		    out->flags != (tunnelled ? APUS_FRAME_ENCAPSULATED : 0))
			fail("%s: output frame %u: length %u, port %u, flags %u are not %u, %u", engine, i, out->length, out->port,
			     out->flags, length + outer, packet_egress(w, &f));
		for (uint32_t byte = 0; byte < out->length; byte++)
			if (out->data[byte] != expected[byte])
				fail("%s: output frame %u: byte %u is 0x%02x, not 0x%02x", engine, i, byte, out->data[byte], expected[byte]);
	}
}
