/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "../reference/reference.h"
#include "engine.h"
#include "memory.h"
#include "must.h"
#include "packet.h"

#define PROVIDER_MTU 1600u

static int process(void *worker, struct apus_frame *in, uint32_t n_in, struct apus_frame *out, uint32_t capacity, uint64_t now)
{
	return reference_process(worker, in, n_in, out, capacity, now);
}

static void stats(void *worker, struct apus_stats *out) { reference_stats(worker, out); }
static void close_worker(void *worker) { reference_destroy(worker); }
static void release(void *context, void *const *buffers, uint32_t count) { (void)context, (void)buffers, (void)count; }

static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }

static uint32_t tenant_of(const struct world *w, const struct apus_frame *f)
{
	if (f->port == w->uplink)
		return ((get32(f->data + 38) >> 8) - 4096) / 2;
	for (uint32_t tenant = 0; tenant < w->options.networks; tenant++)
		if (w->tenants[tenant].port_a == f->port || w->tenants[tenant].port_b == f->port)
			return tenant;
	fail("reference: a frame from a port that nobody has");
}

/* The decision of docs/pipeline.md, taken from how the world is made. */
static void classify(void *context, const struct apus_frame *f, struct reference_action *a)
{
	const struct world *w = context;
	const enum direction direction = w->options.direction;
	const uint32_t outer = packet_outer_length(w);
	const uint32_t remote = direction == DECAP ? packet_source(f->data + outer) : packet_destination(f->data);
	const struct flow flow = {tenant_of(w, f), remote - FIRST_REMOTE, 0};
	uint64_t mac;

	a->scope = flow.tenant;
	a->egress = packet_egress(w, &flow);
	a->maximum = PROVIDER_MTU - 42;
	a->header_length = (uint8_t)outer;
	a->is_ipv6 = w->options.family == 6;
	a->routed = direction == ROUTE || direction == ROUTE_ENCAP;
	a->kind = direction == DECAP ? REFERENCE_DECAPSULATE : REFERENCE_DELIVER;
	if (a->routed) {
		mac = direction == ROUTE ? world_local_mac(flow.tenant, 2) : world_remote_mac(flow.record);
		a->destination_mac = __builtin_bswap64(mac << 16);
	}
	if (direction == ENCAP || direction == ROUTE_ENCAP) {
		uint8_t *header = a->header + sizeof(a->header) - outer;

		a->kind = REFERENCE_ENCAPSULATE;
		packet_outer(header, w, packet_host(w, &flow), true, world_vsid_a(flow.tenant), 0, 0);
		memset(header + 16, 0, 2);
		memset(header + 24, 0, 2);
		for (int i = 14; i < 34; i += 2)
			a->header_sum += (uint32_t)header[i] << 8 | header[i + 1];
		a->header_sum += 42;
	}
}

struct engine engine_reference(const struct world *w, uint64_t flow_capacity)
{
	struct reference_opts opts = {
		.allocator = memory_allocator(w->options.small_pages), .buffers = {.release = release},
		.flow_capacity = (uint32_t)flow_capacity, .hash_seed = {HASH_SEED0, HASH_SEED1},
		.classify = classify, .context = (void *)(uintptr_t)w};
	struct reference_worker *worker = reference_create(&opts);

	if (worker == NULL)
		fail("no memory for the reference");
	reference_open_port(worker, w->uplink, APUS_PORT_PROVIDER);
	for (uint32_t tenant = 0; tenant < w->options.networks; tenant++) {
		const struct tenant *t = &w->tenants[tenant];
		const uint32_t ports[] = {t->port_a, t->port_a2, t->port_b};

		for (int i = 0; i < 3; i++)
			if (ports[i] != 0)
				reference_open_port(worker, ports[i], APUS_PORT_VM);
	}
	return (struct engine){"c", worker, process, stats, close_worker};
}
