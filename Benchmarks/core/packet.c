/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "packet.h"

#define ETHERNET 14u
#define GRE 8u
#define IPV6 0x86DDu /* EtherType */
#define OUTER_TTL 128u

static void put16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v; }
static void put32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v), memcpy(p, &v, 4); }
static void put_mac(uint8_t *p, uint64_t mac) { put32(p, (uint32_t)(mac >> 16)), put16(p + 4, (uint32_t)mac); }
static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
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

/* IPv4 without options, DF. */
static void put_ipv4(uint8_t *ip, uint32_t length, uint32_t ttl, uint32_t protocol, uint32_t from, uint32_t to)
{
	const uint32_t flags = 0x4000;
	uint32_t sum = 0x4500 + length + flags + (ttl << 8 | protocol) + (from >> 16) + (from & 0xFFFF) + (to >> 16) + (to & 0xFFFF);

	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	put32(ip, 0x45000000 | length);
	put32(ip + 4, flags);
	put32(ip + 8, ttl << 24 | protocol << 16 | (~sum & 0xFFFF));
	put32(ip + 12, from);
	put32(ip + 16, to);
}

static void put_ipv6_address(uint8_t *p, uint32_t number)
{
	put32(p, IPV6_PREFIX);
	memset(p + 4, 0, 8);
	put32(p + 12, number);
}

static uint32_t ip_header(uint32_t family) { return family == 6 ? 40 : 20; }

/* EtherType and an IP header before `payload` bytes. Returns where these begin. */
static uint8_t *put_ip(uint8_t *p, uint32_t family, uint32_t payload, uint32_t ttl, uint32_t protocol, uint32_t from, uint32_t to)
{
	uint8_t *ip = p + 2;

	if (family == 6) {
		put16(p, IPV6);
		put32(ip, 0x60000000);
		put32(ip + 4, payload << 16 | protocol << 8 | ttl);
		put_ipv6_address(ip + 8, from);
		put_ipv6_address(ip + 24, to);
	} else {
		put16(p, 0x0800);
		put_ipv4(ip, ip_header(4) + payload, ttl, protocol, from, to);
	}
	return ip + ip_header(family);
}

static bool is_ipv6(const uint8_t *frame) { return get16(frame + 12) == IPV6; }

uint32_t packet_source(const uint8_t *frame) { return get32(frame + (is_ipv6(frame) ? 34 : 26)); }
uint32_t packet_destination(const uint8_t *frame) { return get32(frame + (is_ipv6(frame) ? 50 : 30)); }

uint32_t packet_outer_length(const struct world *w) { return ETHERNET + ip_header(w->options.outer) + GRE; }

void packet_inner(uint8_t *p, const struct world *w, const struct flow *f, uint32_t length, bool sent)
{
	const enum direction direction = w->options.direction;
	const uint32_t family = w->options.family, remote_ip = world_remote_ip(f->record);
	const uint64_t remote_mac = world_remote_mac(f->record), local_mac = world_local_mac(f->tenant, 0);
	uint64_t to_mac = remote_mac, from_mac = local_mac;
	uint32_t to = remote_ip, from = LOCAL_A, ttl = 64, payload;
	uint8_t *udp;

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
	payload = length - ETHERNET - ip_header(family);
	udp = put_ip(p + 12, family, payload, ttl, 17, from, to);
	put32(udp, f->ports);
	put32(udp + 4, payload << 16);
}

void packet_outer(uint8_t *p, const struct world *w, uint32_t host, bool to_host, uint32_t vsid, uint8_t flow_id, uint32_t ip_length)
{
	const uint32_t host_pa = world_host_pa(host), from = to_host ? OUR_PA : host_pa, to = to_host ? host_pa : OUR_PA;
	uint8_t *gre;

	put_mac(p, to_host ? world_host_mac(host) : OUR_PA_MAC);
	put_mac(p + 6, to_host ? OUR_PA_MAC : world_host_mac(host));
	gre = put_ip(p + 12, w->options.outer, GRE + ETHERNET + ip_length, OUTER_TTL, 47, from, to);
	if (w->options.outer == 6)
		p[17] = flow_id; /* the flow label's last byte */
	put32(gre, 0x20006558);
	put32(gre + 4, vsid << 8 | flow_id);
}

/* What docs/pipeline.md 2.3 calls src and dst: all words of an address. */
static uint32_t folded(const uint8_t *address, uint32_t family)
{
	return family == 4 ? get32(address) : get32(address) ^ get32(address + 4) ^ get32(address + 8) ^ get32(address + 12);
}

uint8_t packet_flow_id(const uint8_t *inner)
{
	const uint32_t family = is_ipv6(inner) ? 6 : 4, size = family == 6 ? 16 : 4;
	const uint8_t *ip = inner + ETHERNET, *addresses = ip + ip_header(family) - 2 * size;
	const uint32_t ports = get32(ip + ip_header(family)), protocol = ip[family == 6 ? 6 : 9];
	const uint32_t h = folded(addresses, family) * 0x9E3779B1u ^ folded(addresses + size, family) * 0x85EBCA77u ^
			   (ports + protocol) * 0xC2B2AE3Du;

	return (uint8_t)(((h ^ h >> 15) * 0x2C1B3C6Du) >> 24);
}
