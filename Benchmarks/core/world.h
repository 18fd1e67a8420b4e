/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of the benchmarks. Every VM network has two virtual subnets, A = 10.0.0.0/9 and B = 10.128.0.0/9, with the
 * machines .2 and .3 of A and .2 of B on this host as far as the direction needs them, and its part of the lookup
 * records in A, on remote hosts. Everything about a record follows from its number, so nothing has to be looked up.
 * Of IPv6 addresses the last 32 bits are those of the IPv4 address in the same place.
 */
#ifndef BENCH_WORLD_H
#define BENCH_WORLD_H

#include "options.h"

#include <apus/apus.h>

#define LOCAL_A 0x0A000002u
#define LOCAL_A2 0x0A000003u
#define LOCAL_B 0x0A800002u
#define FIRST_REMOTE 0x0A000010u
/* The first 32 bits; those between are 0. A documentation prefix (RFC 9637) under which 1,024 flows all find a line in the cache, as with IPv4. */
#define IPV6_PREFIX 0x3FFF0000u
#define OUR_PA 0xAC100001u     /* 172.16.0.1 */
#define FIRST_HOST 0xAC110000u /* 172.17.0.0 */
#define OUR_PA_MAC 0x02FE00000001u
#define ROUTER_MAC 0x026170757301u
/* Both halves of the seed of every hash: runs repeat, and the reference has its flows where the library has them. */
#define HASH_SEED0 0x706050403020105Au
#define HASH_SEED1 0x0F0E0D0C0B0A0908u

struct tenant {
	uint32_t port_a, port_a2, port_b;
};

struct world {
	struct options options;
	struct apus_dataplane *dataplane;
	uint32_t uplink;
	uint64_t records_each; /* remote records of one tenant */
	struct tenant *tenants;
};

static inline uint32_t world_vsid_a(uint32_t tenant) { return 4096 + 2 * tenant; }
static inline uint32_t world_vsid_b(uint32_t tenant) { return 4097 + 2 * tenant; }
static inline uint32_t world_remote_ip(uint64_t record) { return FIRST_REMOTE + (uint32_t)record; }
static inline uint64_t world_remote_mac(uint64_t record) { return 0x028000000000u | record; }
static inline uint32_t world_local_ip(int which) { return which == 0 ? LOCAL_A : which == 1 ? LOCAL_A2 : LOCAL_B; }
static inline uint64_t world_local_mac(uint32_t tenant, int which) { return 0x021000000000u | (uint64_t)tenant << 8 | (uint64_t)which; }
static inline uint32_t world_host_of(const struct world *w, uint32_t tenant, uint64_t record)
{
	return (uint32_t)((tenant * 7 + record) % w->options.hosts);
}
static inline uint32_t world_host_pa(uint32_t host) { return FIRST_HOST + host; }
static inline uint64_t world_host_mac(uint32_t host) { return 0x02FF00000000u | host; }

/* Create the dataplane with ports and provider side, without lookup records. */
void world_open(struct world *world, const struct options *options);
/* Add every lookup record. */
void world_add_records(struct world *world);
/* Both, in one transaction where that is quicker. */
void world_build(struct world *world, const struct options *options);
void world_close(struct world *world);

/* The lookup record, with the provider address of `host`. */
struct apus_lookup_record world_record(const struct world *world, uint32_t tenant, uint64_t record, uint32_t host);

/* `family`: 4 or 6. */
struct apus_address world_address(uint32_t family, uint32_t ip);
struct apus_mac world_mac(uint64_t mac);

#endif
