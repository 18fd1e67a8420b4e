/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "packet.h"

static void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }
static void put32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v), memcpy(p, &v, 4); }
static void put_mac(uint8_t *p, uint64_t mac) { put32(p, (uint32_t)(mac >> 16)), put16(p + 4, (uint32_t)mac); }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }

/* Packets between machines of this host have no remote record. */
static bool has_records(const struct world *w) { return w->options.direction != SWITCH && w->options.direction != ROUTE; }

struct flow packet_flow(const struct world *w, uint32_t first_tenant, uint32_t tenants, uint64_t number)
{
	const uint64_t rest = number / tenants, records = has_records(w) ? w->records_each : 1;

	/* Ports that differ from flow to flow in every bit. */
	return (struct flow){first_tenant + (uint32_t)(number % tenants), rest % records,
			     (uint32_t)(rest / records) * 2654435761u + 0x04D20035u};
}

uint32_t packet_host(const struct world *w, const struct flow *f) { return world_host_of(w, f->tenant, f->record); }

uint32_t packet_ingress(const struct world *w, const struct flow *f)
{
	const struct tenant *t = &w->tenants[f->tenant];

	return w->options.direction == DECAP ? w->uplink : w->options.direction == ROUTE_ENCAP ? t->port_b : t->port_a;
}

uint32_t packet_egress(const struct world *w, const struct flow *f)
{
	const struct tenant *t = &w->tenants[f->tenant];

	switch (w->options.direction) {
	case DECAP: return t->port_a;
	case SWITCH: return t->port_a2;
	case ROUTE: return t->port_b;
	default: return w->uplink;
	}
}

uint16_t packet_checksum(const uint8_t *p, uint32_t length)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < length; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xFFFF) + (sum >> 16);
	return (uint16_t)~sum;
}

/* IPv4 without options: `flags` is the word of flags and fragment offset. */
static void put_ip(uint8_t *ip, uint32_t length, uint32_t flags, uint32_t ttl, uint32_t protocol, uint32_t from, uint32_t to)
{
	uint32_t sum = 0x4500 + length + flags + (ttl << 8 | protocol) + (from >> 16) + (from & 0xFFFF) + (to >> 16) + (to & 0xFFFF);

	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	put32(ip, 0x45000000 | length);
	put32(ip + 4, flags);
	put32(ip + 8, ttl << 24 | protocol << 16 | (~sum & 0xFFFF));
	put32(ip + 12, from);
	put32(ip + 16, to);
}

void packet_inner(uint8_t *p, const struct world *w, const struct flow *f, uint32_t length, bool sent)
{
	const enum direction direction = w->options.direction;
	const uint32_t remote_ip = world_remote_ip(f->record);
	const uint64_t remote_mac = world_remote_mac(f->record), local_mac = world_local_mac(f->tenant, 0);
	uint64_t to_mac = remote_mac, from_mac = local_mac;
	uint32_t to = remote_ip, from = LOCAL_A, ttl = 64;

	switch (direction) {
	case DECAP:
		to_mac = local_mac, from_mac = remote_mac, to = LOCAL_A, from = remote_ip;
		break;
	case SWITCH:
		to_mac = world_local_mac(f->tenant, 1), to = LOCAL_A2;
		break;
	case ROUTE:
		to_mac = sent ? world_local_mac(f->tenant, 2) : ROUTER_MAC, to = LOCAL_B, ttl = sent ? 63 : 64;
		break;
	case ROUTE_ENCAP:
		to_mac = sent ? remote_mac : ROUTER_MAC, from_mac = world_local_mac(f->tenant, 2), from = LOCAL_B;
		ttl = sent ? 63 : 64;
		break;
	default:
		break;
	}
	put_mac(p, to_mac);
	put_mac(p + 6, from_mac);
	put16(p + 12, 0x0800);
	put_ip(p + 14, length - 14, 0x4000, ttl, 17, from, to);
	put32(p + 34, f->ports);
	put32(p + 38, (length - 34) << 16);
}

void packet_outer(uint8_t *p, uint32_t host, bool to_host, uint32_t vsid, uint8_t flow_id, uint32_t ip_length)
{
	put_mac(p, to_host ? world_host_mac(host) : OUR_PA_MAC);
	put_mac(p + 6, to_host ? OUR_PA_MAC : world_host_mac(host));
	put16(p + 12, 0x0800);
	put_ip(p + 14, ip_length + 42, 0x4000, 128, 47, to_host ? OUR_PA : world_host_pa(host), to_host ? world_host_pa(host) : OUR_PA);
	put32(p + 34, 0x20006558);
	put32(p + 38, vsid << 8 | flow_id);
}

uint8_t packet_flow_id(const uint8_t *inner)
{
	const uint32_t h = get32(inner + 26) * 0x9E3779B1u ^ get32(inner + 30) * 0x85EBCA77u ^ (get32(inner + 34) + inner[23]) * 0xC2B2AE3Du;

	return (uint8_t)(((h ^ h >> 15) * 0x2C1B3C6Du) >> 24);
}
