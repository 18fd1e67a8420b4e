/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "must.h"
#include "world.h"

#define PROVIDER_MTU 1600

/* Where the 32 bits of a number begin in an address. */
static uint32_t number_at(uint32_t family) { return family == 6 ? 12 : 0; }

static void put32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v), memcpy(p, &v, 4); }

struct apus_address world_address(uint32_t family, uint32_t ip)
{
	struct apus_address out = {.family = (uint8_t)family};

	if (family == 6)
		put32(out.bytes, IPV6_PREFIX);
	put32(out.bytes + number_at(family), ip);
	return out;
}

static struct apus_address customer(const struct world *w, uint32_t ip) { return world_address(w->options.family, ip); }
static struct apus_address provider(const struct world *w, uint32_t ip) { return world_address(w->options.outer, ip); }

/* The length of a prefix of the numbers, as one of addresses. */
static uint8_t prefix_length(uint32_t family, uint32_t length) { return (uint8_t)(8 * number_at(family) + length); }

struct apus_mac world_mac(uint64_t mac)
{
	struct apus_mac out;

	for (int i = 0; i < 6; i++)
		out.bytes[i] = (uint8_t)(mac >> (40 - 8 * i));
	return out;
}

struct apus_lookup_record world_record(const struct world *w, uint32_t tenant, uint64_t record, uint32_t host)
{
	struct apus_lookup_record out;

	APUS_INIT(&out);
	out.virtual_subnet_id = world_vsid_a(tenant);
	out.customer_address = customer(w, world_remote_ip(record));
	out.mac = world_mac(world_remote_mac(record));
	out.provider_address = provider(w, world_host_pa(host));
	return out;
}

static uint32_t add_port(struct world *w, uint32_t kind, uint32_t vsid, uint64_t mac, uint16_t mtu)
{
	struct apus_port_params params;
	uint32_t id;

	APUS_INIT(&params);
	params.kind = kind;
	params.virtual_subnet_id = vsid;
	params.mac = world_mac(mac);
	params.mtu = mtu;
	MUST(apus_port_add(w->dataplane, &params, &id));
	return id;
}

/* A machine on this host, if the direction needs it: its port and its lookup record. */
static uint32_t add_local(struct world *w, uint32_t tenant, int which)
{
	const uint32_t vsid = which == 2 ? world_vsid_b(tenant) : world_vsid_a(tenant);
	struct apus_lookup_record record = world_record(w, tenant, 0, 0);

	record.virtual_subnet_id = vsid;
	record.customer_address = customer(w, world_local_ip(which));
	record.mac = world_mac(world_local_mac(tenant, which));
	record.provider_address = provider(w, OUR_PA);
	MUST(apus_lookup_record_add(w->dataplane, &record));
	return add_port(w, APUS_PORT_VM, vsid, world_local_mac(tenant, which), 0);
}

static void add_route(struct world *w, uint32_t tenant, uint32_t vsid, uint32_t prefix)
{
	struct apus_customer_route route;

	APUS_INIT(&route);
	route.routing_domain_id.bytes[0] = 0x12;
	memcpy(route.routing_domain_id.bytes + 8, &tenant, sizeof(tenant));
	route.virtual_subnet_id = vsid;
	route.destination_prefix.address = customer(w, prefix);
	route.destination_prefix.length = prefix_length(w->options.family, 9);
	/* On-link: unspecified. */
	route.next_hop.family = (uint8_t)w->options.family;
	MUST(apus_customer_route_add(w->dataplane, &route));
}

static void add_tenant(struct world *w, uint32_t number)
{
	const enum direction direction = w->options.direction;
	struct tenant *tenant = &w->tenants[number];

	add_route(w, number, world_vsid_a(number), 0x0A000000);
	add_route(w, number, world_vsid_b(number), 0x0A800000);
	if (direction != ROUTE_ENCAP)
		tenant->port_a = add_local(w, number, 0);
	if (direction == SWITCH)
		tenant->port_a2 = add_local(w, number, 1);
	if (direction == ROUTE || direction == ROUTE_ENCAP)
		tenant->port_b = add_local(w, number, 2);
}

static void add_provider_side(struct world *w)
{
	struct apus_provider_address address;
	struct apus_provider_neighbor neighbor;

	w->uplink = add_port(w, APUS_PORT_PROVIDER, 0, 0, PROVIDER_MTU);
	APUS_INIT(&address);
	address.provider_address = provider(w, OUR_PA);
	address.port = w->uplink;
	address.prefix_length = prefix_length(w->options.outer, 12);
	address.mac = world_mac(OUR_PA_MAC);
	MUST(apus_provider_address_add(w->dataplane, &address));
	for (uint32_t host = 0; host < w->options.hosts; host++) {
		APUS_INIT(&neighbor);
		neighbor.address = provider(w, world_host_pa(host));
		neighbor.mac = world_mac(world_host_mac(host));
		MUST(apus_provider_neighbor_add(w->dataplane, &neighbor));
	}
}

void world_open(struct world *w, const struct options *options)
{
	struct apus_dataplane_opts opts;
	static const uint64_t seed[2] = {HASH_SEED0, HASH_SEED1};

	w->options = *options;
	w->records_each = options->records / options->networks;
	if (w->records_each > 0x7FFFE0)
		fail("%llu lookup records do not fit the prefix of a virtual subnet: use more networks",
		     (unsigned long long)w->records_each);
	if (options->networks > ((options->direction == SWITCH || options->direction == ROUTE) ? 2047u : 4095u))
		fail("%u networks need more ports than a dataplane has", options->networks);
	w->tenants = calloc(options->networks, sizeof(*w->tenants));
	if (w->tenants == NULL)
		fail("no memory");
	APUS_INIT(&opts);
	opts.allocator = memory_allocator(options->small_pages);
	memcpy(opts.hash_key, seed, sizeof(seed));
	MUST(apus_dataplane_create(&opts, &w->dataplane));
	MUST(apus_transaction_begin(w->dataplane));
	add_provider_side(w);
	for (uint32_t tenant = 0; tenant < options->networks; tenant++)
		add_tenant(w, tenant);
	MUST(apus_transaction_commit(w->dataplane));
}

void world_add_records(struct world *w)
{
	for (uint64_t record = 0; record < w->records_each; record++) {
		for (uint32_t tenant = 0; tenant < w->options.networks; tenant++) {
			struct apus_lookup_record r = world_record(w, tenant, record, world_host_of(w, tenant, record));

			MUST(apus_lookup_record_add(w->dataplane, &r));
		}
	}
}

void world_build(struct world *w, const struct options *options)
{
	world_open(w, options);
	world_add_records(w);
}

void world_close(struct world *w)
{
	MUST(apus_dataplane_destroy(w->dataplane));
	free(w->tenants);
}
