/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of the DPDK layer through its C contract: every form that an mbuf can have, back-pressure, misuse, and
 * that at the end each mbuf of each pool is back exactly once.
 *
 * Needs neither root nor huge pages: it brings its own EAL arguments.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <apus/apus.h>
#include <apus/apus_dpdk.h>

#define VSID 6000u
#define GATEWAY_VSID 6009u
#define GATEWAY_VLAN 7u
#define POOL_SIZE 1023u
#define FRAME_LENGTH 300u
#define OUTER_LENGTH 42u
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static unsigned int passed, failed;

#define CHECK(condition)                                                              \
	do {                                                                          \
		if (condition) {                                                      \
			passed++;                                                     \
		} else {                                                              \
			failed++;                                                     \
			printf("%s:%d: failed: %s\n", __func__, __LINE__, #condition); \
		}                                                                     \
	} while (0)

#define CHECK_EQUAL(value, expected)                                                             \
	do {                                                                                     \
		const long long value_ = (long long)(value), expected_ = (long long)(expected);  \
		if (value_ == expected_) {                                                       \
			passed++;                                                                \
		} else {                                                                         \
			failed++;                                                                \
			printf("%s:%d: failed: %s is %lld, not %lld\n", __func__, __LINE__,      \
			       #value, value_, expected_);                                       \
		}                                                                                \
	} while (0)

static struct apus_dataplane *dataplane;
static struct rte_mempool *pool;   /* where the tests take their mbufs from */
static struct rte_mempool *small;  /* the worker's: heads, answers, copies */
static struct apus_dpdk_worker *worker;
static uint32_t vm1, vm2, uplink, trunk; /* an external port is in a VLAN of the trunk */
static const uint8_t vm1_mac[6] = {0x60, 0, 0x60, 0, 1, 1};
static const uint8_t vm2_mac[6] = {0x60, 0, 0x60, 0, 1, 2};
static const uint8_t remote_mac[6] = {0x60, 0, 0x60, 0, 2, 3};
static const uint8_t gateway_mac[6] = {0x60, 0, 0x60, 0, 15, 1};
static const uint8_t router_mac[6] = {0x02, 0, 0, 0, 9, 1}; /* outside */

/* ---- a dataplane with two local machines, a remote one, and a gateway -------------------------------------------- */

static void
must(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s (%s)\n", what, apus_dpdk_strerror(result), apus_dataplane_error_text(dataplane));
	exit(2);
}

static struct apus_address
address(const char *text)
{
	struct apus_address a;

	must(apus_address_parse(text, &a), text);
	return a;
}

static uint32_t
add_port(uint32_t kind, const uint8_t *mac, const char *name)
{
	struct apus_port_params p;
	uint32_t id = 0;

	APUS_INIT(&p);
	p.kind = kind;
	snprintf(p.name, sizeof(p.name), "%s", name);
	if (mac) {
		p.virtual_subnet_id = VSID;
		memcpy(p.mac.bytes, mac, 6);
	}
	must(apus_port_add(dataplane, &p, &id), "apus_port_add");
	return id;
}

static void
add_record(const char *ca, const uint8_t *mac, const char *pa)
{
	struct apus_lookup_record r;

	APUS_INIT(&r);
	r.customer_address = address(ca);
	r.virtual_subnet_id = VSID;
	memcpy(r.mac.bytes, mac, 6);
	r.provider_address = address(pa);
	must(apus_lookup_record_add(dataplane, &r), "apus_lookup_record_add");
}

/* What is in no other prefix goes to a gateway on this host, and there to a router outside. */
static void
make_gateway(void)
{
	struct apus_customer_route route;
	struct apus_lookup_record record;
	struct apus_port_params p;
	uint32_t id = 0;

	trunk = add_port(APUS_PORT_PROVIDER, NULL, "trunk");
	APUS_INIT(&p);
	p.kind = APUS_PORT_EXTERNAL;
	must(apus_guid_parse("12345678-1000-2000-3000-123456780001", &p.routing_domain_id), "guid");
	p.virtual_subnet_id = GATEWAY_VSID;
	memcpy(p.mac.bytes, gateway_mac, 6);
	p.parent_port = trunk;
	p.vlan = GATEWAY_VLAN;
	p.ipv4.address = address("10.9.0.2");
	p.ipv4.prefix_length = 24;
	p.ipv4.next_hop = address("10.9.0.1");
	must(apus_port_add(dataplane, &p, &id), "apus_port_add");
	APUS_INIT(&route);
	route.routing_domain_id = p.routing_domain_id;
	route.virtual_subnet_id = GATEWAY_VSID;
	must(apus_prefix_parse("0.0.0.0/0", &route.destination_prefix), "prefix");
	route.next_hop = address("0.0.0.0");
	must(apus_customer_route_add(dataplane, &route), "apus_customer_route_add");
	APUS_INIT(&record);
	record.type = APUS_RECORD_GATEWAY_WILDCARD;
	record.customer_address = address("0.0.0.0");
	record.virtual_subnet_id = GATEWAY_VSID;
	record.mac = p.mac;
	record.provider_address = address("192.168.0.22");
	must(apus_lookup_record_add(dataplane, &record), "apus_lookup_record_add");
}

static void
make_dataplane(void)
{
	struct apus_provider_address pa;
	struct apus_provider_neighbor neighbor;
	struct apus_customer_route route;
	struct apus_dataplane_opts opts;

	APUS_INIT(&opts);
	opts.neighbor_reachable_ms = 3600000; /* nobody is asked again while this runs */
	must(apus_dataplane_create(&opts, &dataplane), "apus_dataplane_create");
	vm1 = add_port(APUS_PORT_VM, vm1_mac, "vm1");
	vm2 = add_port(APUS_PORT_VM, vm2_mac, "vm2");
	uplink = add_port(APUS_PORT_PROVIDER, NULL, "uplink");
	APUS_INIT(&pa);
	pa.provider_address = address("192.168.0.22");
	pa.port = uplink;
	pa.prefix_length = 24;
	must(apus_mac_parse("32:44:55:66:77:88", &pa.mac), "mac");
	must(apus_provider_address_add(dataplane, &pa), "apus_provider_address_add");
	APUS_INIT(&neighbor);
	neighbor.address = address("192.168.0.33");
	must(apus_mac_parse("44:55:66:77:88:98", &neighbor.mac), "mac");
	must(apus_provider_neighbor_add(dataplane, &neighbor), "apus_provider_neighbor_add");
	APUS_INIT(&route);
	must(apus_guid_parse("12345678-1000-2000-3000-123456780001", &route.routing_domain_id), "guid");
	route.virtual_subnet_id = VSID;
	must(apus_prefix_parse("10.0.1.0/24", &route.destination_prefix), "prefix");
	route.next_hop = address("0.0.0.0");
	must(apus_customer_route_add(dataplane, &route), "apus_customer_route_add");
	add_record("10.0.1.101", vm1_mac, "192.168.0.22");
	add_record("10.0.1.102", vm2_mac, "192.168.0.22");
	add_record("10.0.1.103", remote_mac, "192.168.0.33");
	make_gateway();
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static uint16_t
checksum(const uint8_t *p, unsigned int length)
{
	uint32_t sum = 0;
	unsigned int i;

	for (i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void
put_ip(uint8_t *ip, unsigned int total, uint8_t protocol, const uint8_t *from, const uint8_t *to)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)total);
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, from, 4);
	memcpy(ip + 16, to, 4);
	put16(ip + 10, checksum(ip, 20));
}

/* An Ethernet frame of `length` bytes whose last `padding` bytes are no part of the IP packet. */
static void
make_frame(uint8_t *f, unsigned int length, unsigned int padding, const uint8_t *from_mac, const uint8_t *to_mac,
	   uint8_t from, uint8_t to)
{
	const uint8_t source[4] = {10, 0, 1, from}, target[4] = {10, 0, 1, to};
	unsigned int i;

	for (i = 34; i < length; i++)
		f[i] = (uint8_t)(i * 7);
	memcpy(f, to_mac, 6);
	memcpy(f + 6, from_mac, 6);
	put16(f + 12, 0x0800);
	put_ip(f + 14, length - 14 - padding, 17, source, target);
	put16(f + 34, 1000);
	put16(f + 36, 2000);
}

/* What the remote machine's host sends to vm1. */
static unsigned int
make_tunnel_frame(uint8_t *f, unsigned int inner_length)
{
	static const uint8_t to_mac[6] = {0x32, 0x44, 0x55, 0x66, 0x77, 0x88}, from_mac[6] = {0x44, 0x55, 0x66, 0x77, 0x88, 0x98};
	static const uint8_t from[4] = {192, 168, 0, 33}, to[4] = {192, 168, 0, 22};
	static const uint8_t gre[8] = {0x20, 0, 0x65, 0x58, 0, VSID >> 8, VSID & 0xff, 0x17};

	memcpy(f, to_mac, 6);
	memcpy(f + 6, from_mac, 6);
	put16(f + 12, 0x0800);
	put_ip(f + 14, inner_length + 28, 47, from, to);
	memcpy(f + 34, gre, 8);
	make_frame(f + OUTER_LENGTH, inner_length, 0, remote_mac, vm1_mac, 103, 101);
	return inner_length + OUTER_LENGTH;
}

/* Give the IP packet at `ip` other addresses, and a TTL. */
static void
readdress(uint8_t *ip, uint32_t from, uint32_t to, uint8_t ttl)
{
	const uint8_t source[4] = {from >> 24, from >> 16 & 0xff, from >> 8 & 0xff, from & 0xff};
	const uint8_t target[4] = {to >> 24, to >> 16 & 0xff, to >> 8 & 0xff, to & 0xff};

	put_ip(ip, (unsigned int)(ip[2] << 8 | ip[3]), 17, source, target);
	ip[8] = ttl;
	put16(ip + 10, 0);
	put16(ip + 10, checksum(ip, 20));
}

/* An untagged frame with the gateway's tag. */
static unsigned int
tag_frame(uint8_t *f, unsigned int length)
{
	memmove(f + 16, f + 12, length - 12);
	put16(f + 12, 0x8100);
	put16(f + 14, GATEWAY_VLAN);
	return length + 4;
}

/* ---- mbufs ----------------------------------------------------------------------------------------------------- */

static struct rte_mbuf *
take(unsigned int headroom)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (!m) {
		fprintf(stderr, "the test's pool is empty\n");
		exit(2);
	}
	m->data_off = (uint16_t)headroom;
	return m;
}

static struct rte_mbuf *
single(const uint8_t *bytes, unsigned int length, unsigned int headroom)
{
	struct rte_mbuf *m = take(headroom);

	memcpy(rte_pktmbuf_append(m, (uint16_t)length), bytes, length);
	return m;
}

/* Segments that end at `first`, at `second` and at `length`; empty ones too. */
static struct rte_mbuf *
chain(const uint8_t *bytes, unsigned int length, unsigned int first, unsigned int second)
{
	struct rte_mbuf *m = single(bytes, first, RTE_PKTMBUF_HEADROOM);

	if (second > first)
		rte_pktmbuf_chain(m, single(bytes + first, second - first, 0));
	rte_pktmbuf_chain(m, single(bytes + second, length - second, 0));
	return m;
}

static unsigned int
flatten(struct rte_mbuf *m, uint8_t *bytes)
{
	unsigned int length = 0, segments = 0;
	struct rte_mbuf *s;

	for (s = m; s; s = s->next) {
		memcpy(bytes + length, rte_pktmbuf_mtod(s, uint8_t *), s->data_len);
		length += s->data_len;
		segments++;
	}
	CHECK_EQUAL(segments, m->nb_segs);
	CHECK_EQUAL(length, m->pkt_len);
	CHECK_EQUAL(m->ol_flags & ~(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL), 0);
	CHECK_EQUAL(m->packet_type, 0);
	return length;
}

/* One mbuf through the worker; the bytes that come out, 0 if nothing does. */
static unsigned int
pass(struct rte_mbuf *m, uint32_t from, uint32_t to, uint8_t *bytes)
{
	struct rte_mbuf *out[65];
	uint32_t ports[65];
	unsigned int length;
	const char *why;
	int n;

	n = apus_dpdk_worker_process(worker, &m, 1, from, out, ports, ARRAY_SIZE(out));
	CHECK(n >= 0 && n <= 1);
	if (n != 1)
		return 0;
	CHECK_EQUAL(ports[0], to);
	CHECK_EQUAL(rte_mbuf_check(out[0], 1, &why), 0);
	length = flatten(out[0], bytes);
	rte_pktmbuf_free(out[0]);
	return length;
}

static struct apus_dpdk_stats
worker_stats(void)
{
	struct apus_dpdk_stats s;

	APUS_INIT(&s);
	CHECK_EQUAL(apus_dpdk_worker_stats_get(worker, &s), 0);
	return s;
}

static uint64_t
drops(uint32_t reason)
{
	struct apus_stats s;

	APUS_INIT(&s);
	CHECK_EQUAL(apus_stats_get(dataplane, &s), 0);
	return s.drops[reason];
}

/* ---- the forms of an mbuf -------------------------------------------------------------------------------------- */

struct way {
	const char *name;
	uint32_t *from, *to;
	uint8_t in[1024], out[1024];
	unsigned int in_length, out_length;
};

static struct way ways[5]; /* switched, encapsulated, decapsulated; through the gateway: left, entered */

#define OUTSIDE 0xcb007109u /* 203.0.113.9 */
#define MACHINE(n) (0x0a000100u + (n))

/* The remote machine's packet to somebody outside, and the answer of one outside to vm1. */
static void
make_gateway_ways(void)
{
	static const uint8_t arp[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 9, 1, 10, 9, 0, 1, 0x60, 0, 0x60, 0, 15, 1, 10, 9, 0, 2};
	uint8_t answer[64], bytes[2048];

	ways[3] = (struct way){.name = "left", .from = &uplink, .to = &trunk};
	ways[3].in_length = make_tunnel_frame(ways[3].in, FRAME_LENGTH);
	put16(ways[3].in + 39, GATEWAY_VSID);
	memcpy(ways[3].in + OUTER_LENGTH, gateway_mac, 6);
	readdress(ways[3].in + OUTER_LENGTH + 14, MACHINE(103), OUTSIDE, 64);
	ways[4] = (struct way){.name = "entered", .from = &trunk, .to = &vm1};
	make_frame(ways[4].in, FRAME_LENGTH, 0, router_mac, gateway_mac, 0, 101);
	readdress(ways[4].in + 14, OUTSIDE, MACHINE(101), 64);
	ways[4].in_length = tag_frame(ways[4].in, FRAME_LENGTH);

	/* The first packet waits for the router, and leaves when that has answered. */
	memcpy(answer, gateway_mac, 6);
	memcpy(answer + 6, router_mac, 6);
	memcpy(answer + 12, arp, sizeof(arp));
	CHECK_EQUAL(pass(single(ways[3].in, ways[3].in_length, RTE_PKTMBUF_HEADROOM), uplink, trunk, bytes), 46);
	CHECK_EQUAL(pass(single(answer, tag_frame(answer, 12 + sizeof(arp)), RTE_PKTMBUF_HEADROOM), trunk, trunk, bytes), FRAME_LENGTH + 4);
}

static int
same(const struct way *w, struct rte_mbuf *m)
{
	uint8_t bytes[2048];
	unsigned int length = pass(m, *w->from, *w->to, bytes);

	return length == w->out_length && memcmp(bytes, w->out, length) == 0;
}

static void
test_single(void)
{
	unsigned int i;

	ways[0] = (struct way){.name = "switched", .from = &vm1, .to = &vm2};
	make_frame(ways[0].in, FRAME_LENGTH, 0, vm1_mac, vm2_mac, 101, 102);
	ways[1] = (struct way){.name = "encapsulated", .from = &vm1, .to = &uplink};
	make_frame(ways[1].in, FRAME_LENGTH, 0, vm1_mac, remote_mac, 101, 103);
	ways[0].in_length = ways[1].in_length = FRAME_LENGTH;
	ways[2] = (struct way){.name = "decapsulated", .from = &uplink, .to = &vm1};
	ways[2].in_length = make_tunnel_frame(ways[2].in, FRAME_LENGTH);
	make_gateway_ways();

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		struct way *w = &ways[i];
		const struct apus_dpdk_stats before = worker_stats();

		w->out_length = pass(single(w->in, w->in_length, RTE_PKTMBUF_HEADROOM), *w->from, *w->to, w->out);
		CHECK_EQUAL(worker_stats().rx_copied, before.rx_copied);
	}
	CHECK_EQUAL(ways[0].out_length, FRAME_LENGTH);
	CHECK(memcmp(ways[0].out, ways[0].in, FRAME_LENGTH) == 0);
	CHECK_EQUAL(ways[1].out_length, FRAME_LENGTH + OUTER_LENGTH);
	CHECK(memcmp(ways[1].out + OUTER_LENGTH, ways[1].in, FRAME_LENGTH) == 0);
	CHECK_EQUAL(ways[2].out_length, FRAME_LENGTH);
	CHECK(memcmp(ways[2].out, ways[2].in + OUTER_LENGTH, FRAME_LENGTH) == 0);
	{
		uint8_t expected[1024];

		/* A plain frame, tagged, one hop further. */
		make_frame(expected, FRAME_LENGTH, 0, gateway_mac, router_mac, 103, 0);
		readdress(expected + 14, MACHINE(103), OUTSIDE, 63);
		CHECK_EQUAL(ways[3].out_length, tag_frame(expected, FRAME_LENGTH));
		CHECK(memcmp(ways[3].out, expected, ways[3].out_length) == 0);
		make_frame(expected, FRAME_LENGTH, 0, ways[4].out + 6, vm1_mac, 0, 101);
		readdress(expected + 14, OUTSIDE, MACHINE(101), 63);
		CHECK_EQUAL(ways[4].out_length, FRAME_LENGTH);
		CHECK(memcmp(ways[4].out, expected, FRAME_LENGTH) == 0);
	}
}

/* Every place where a frame can be cut, and every headroom. */
static void
test_cuts(void)
{
	unsigned int i, cut;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct way *w = &ways[i];

		for (cut = 0; cut <= w->in_length; cut++) {
			CHECK(same(w, chain(w->in, w->in_length, cut, cut)));
			CHECK(same(w, chain(w->in, w->in_length, cut, RTE_MIN(cut + 3, w->in_length))));
		}
		for (cut = 0; cut <= RTE_PKTMBUF_HEADROOM; cut++)
			CHECK(same(w, single(w->in, w->in_length, cut)));
	}
}

/* As above with frames that are too long to be copied whole. */
static void
test_long_chains(void)
{
	static uint8_t in[1400], expected[1500], bytes[2048];
	unsigned int cut, length;

	make_frame(in, sizeof(in), 0, vm1_mac, remote_mac, 101, 103);
	length = pass(single(in, sizeof(in), RTE_PKTMBUF_HEADROOM), vm1, uplink, expected);
	CHECK_EQUAL(length, sizeof(in) + OUTER_LENGTH);
	for (cut = 0; cut < sizeof(in); cut += cut < 260 ? 1 : 97) {
		length = pass(chain(in, sizeof(in), cut, RTE_MIN(cut + 70, sizeof(in))), vm1, uplink, bytes);
		CHECK(length == sizeof(in) + OUTER_LENGTH && memcmp(bytes, expected, length) == 0);
	}
}

/* Another holder has a reference: it must not see a change. */
static void
test_shared(void)
{
	unsigned int i, cut, length;
	uint8_t bytes[2048];

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct way *w = &ways[i];

		for (cut = 0; cut <= w->in_length; cut += 7) {
			struct rte_mbuf *m = cut ? chain(w->in, w->in_length, cut, cut) : single(w->in, w->in_length, 128);
			const struct apus_dpdk_stats before = worker_stats();

			rte_pktmbuf_refcnt_update(m, 1);
			CHECK(same(w, m));
			length = flatten(m, bytes);
			CHECK(length == w->in_length && memcmp(bytes, w->in, length) == 0);
			CHECK_EQUAL(rte_mbuf_refcnt_read(m), 1);
			CHECK_EQUAL(worker_stats().rx_copied, before.rx_copied + 1);
			rte_pktmbuf_free(m);
		}
	}
}

/* Only a later segment is shared, as a replicator does it: a private head before a common payload. */
static void
test_shared_tail(void)
{
	static uint8_t in[1400], bytes[2048];
	struct rte_mbuf *head, *tail;
	unsigned int length;

	make_frame(in, sizeof(in), 0, vm1_mac, remote_mac, 101, 103);
	head = single(in, 200, 128);
	tail = single(in + 200, sizeof(in) - 200, 0);
	rte_pktmbuf_chain(head, tail);
	rte_mbuf_refcnt_update(tail, 1);
	length = pass(head, vm1, uplink, bytes);
	CHECK_EQUAL(length, sizeof(in) + OUTER_LENGTH);
	CHECK(memcmp(bytes + OUTER_LENGTH, in, sizeof(in)) == 0);
	CHECK_EQUAL(rte_mbuf_refcnt_read(tail), 1);
	CHECK_EQUAL(tail->data_len, sizeof(in) - 200);
	rte_pktmbuf_free(tail);
}

static void
test_indirect(void)
{
	unsigned int i, cut, length;
	uint8_t bytes[2048];

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct way *w = &ways[i];

		for (cut = 0; cut <= w->in_length; cut += 11) {
			struct rte_mbuf *m = cut ? chain(w->in, w->in_length, cut, cut) : single(w->in, w->in_length, 128);
			struct rte_mbuf *clone = rte_pktmbuf_clone(m, pool);

			CHECK(clone != NULL);
			/* The clone goes first, then the original, whose buffer is shared no more. */
			CHECK(same(w, clone));
			length = flatten(m, bytes);
			CHECK(length == w->in_length && memcmp(bytes, w->in, length) == 0);
			clone = rte_pktmbuf_clone(m, pool);
			CHECK(same(w, m));
			length = flatten(clone, bytes);
			CHECK(length == w->in_length && memcmp(bytes, w->in, length) == 0);
			rte_pktmbuf_free(clone);
		}
	}
}

static unsigned int external_frees;

static void
free_external(void *buffer, void *opaque)
{
	(void)opaque;
	external_frees++;
	free(buffer);
}

/* Memory that is not DPDK's, exactly as long as the frame: no headroom. */
static void
test_external(void)
{
	static uint8_t in[1400], bytes[2048];
	struct rte_mbuf_ext_shared_info info;
	struct rte_mbuf *m;
	unsigned int length;
	uint8_t *buffer;

	make_frame(in, sizeof(in), 0, vm1_mac, remote_mac, 101, 103);
	for (length = 60; length <= sizeof(in); length += 67) {
		make_frame(in, length, 0, vm1_mac, remote_mac, 101, 103);
		buffer = malloc(length);
		memcpy(buffer, in, length);
		memset(&info, 0, sizeof(info));
		info.free_cb = free_external;
		rte_mbuf_ext_refcnt_set(&info, 1);
		m = take(0);
		rte_pktmbuf_attach_extbuf(m, buffer, RTE_BAD_IOVA, (uint16_t)length, &info);
		m->data_off = 0;
		rte_pktmbuf_append(m, (uint16_t)length);
		external_frees = 0;
		CHECK_EQUAL(pass(m, vm1, uplink, bytes), length + OUTER_LENGTH);
		CHECK(memcmp(bytes + OUTER_LENGTH, in, length) == 0);
		CHECK_EQUAL(external_frees, 1);
	}
}

/* Padding is cut off, also where it fills whole segments. */
static void
test_padding(void)
{
	uint8_t in[FRAME_LENGTH], bytes[2048];
	unsigned int padding, length;

	for (padding = 0; padding <= FRAME_LENGTH - 42; padding += 3) {
		make_frame(in, sizeof(in), padding, vm1_mac, remote_mac, 101, 103);
		length = pass(chain(in, sizeof(in), 200, 250), vm1, uplink, bytes);
		CHECK_EQUAL(length, sizeof(in) - padding + OUTER_LENGTH);
		CHECK(memcmp(bytes + OUTER_LENGTH, in, sizeof(in) - padding) == 0);
	}
}

/* What a device says about a packet does not hold after headers came or went. */
static void
test_metadata(void)
{
	const struct way *w = &ways[1];
	struct rte_mbuf *m = single(w->in, w->in_length, 128);

	m->ol_flags = RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD |
		      RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_TX_IP_CKSUM;
	m->packet_type = RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4;
	m->hash.rss = 0x12345678;
	CHECK(same(w, m)); /* flatten() looks at the metadata */
}

/* A tag that the device has taken out is a tag. */
static void
test_stripped_vlan(void)
{
	const struct way *w = &ways[2];
	const uint64_t before = drops(APUS_DROP_OUTER_VLAN);
	struct rte_mbuf *m = single(w->in, w->in_length, 128);
	uint8_t bytes[2048];

	/* Customers' tags are removed. */
	m->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = 5;
	CHECK_EQUAL(pass(m, uplink, vm1, bytes), 0);
	CHECK_EQUAL(drops(APUS_DROP_OUTER_VLAN), before + 1);

	m = single(ways[1].in, ways[1].in_length, 100);
	m->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = 5;
	CHECK(same(&ways[1], m));
	m = single(ways[1].in, ways[1].in_length, 128);
	m->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;
	m->vlan_tci = 5;
	m->vlan_tci_outer = 6;
	CHECK(same(&ways[1], m));

	/* That of an external port is where its frames come from. */
	m = single(ways[4].in, ways[4].in_length, 128);
	memmove(rte_pktmbuf_mtod_offset(m, uint8_t *, 4), ways[4].in, 12);
	rte_pktmbuf_adj(m, 4);
	m->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = GATEWAY_VLAN;
	CHECK(same(&ways[4], m));
}

/* Only GOOD and BAD are verdicts. */
static void
test_checksum_flags(void)
{
	const struct way *w = &ways[2];
	const uint64_t before = drops(APUS_DROP_OUTER_IP_CHECKSUM);
	uint8_t wrong[1024], bytes[2048];
	struct rte_mbuf *m;

	memcpy(wrong, w->in, w->in_length);
	wrong[24] ^= 1;
	m = single(wrong, w->in_length, 128);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	CHECK(same(w, m));
	m = single(w->in, w->in_length, 128);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_BAD;
	CHECK_EQUAL(pass(m, uplink, vm1, bytes), 0);
	m = single(wrong, w->in_length, 128);
	CHECK_EQUAL(pass(m, uplink, vm1, bytes), 0);
	m = single(wrong, w->in_length, 128);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_NONE;
	CHECK_EQUAL(pass(m, uplink, vm1, bytes), 0);
	CHECK_EQUAL(drops(APUS_DROP_OUTER_IP_CHECKSUM), before + 3);
	m = single(w->in, w->in_length, 128);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_NONE;
	CHECK(same(w, m));
	/* The verdict survives a new head. */
	m = single(wrong, w->in_length, 0);
	m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
	CHECK(same(w, m));
}

static void
test_malformed(void)
{
	const struct way *w = &ways[1];
	const struct apus_dpdk_stats before = worker_stats();
	uint8_t bytes[2048];
	struct rte_mbuf *m;

	m = chain(w->in, w->in_length, 100, 100);
	m->nb_segs = 3;
	CHECK_EQUAL(pass(m, vm1, uplink, bytes), 0);
	m = chain(w->in, w->in_length, 100, 200);
	m->nb_segs = 2;
	CHECK_EQUAL(pass(m, vm1, uplink, bytes), 0);
	m = chain(w->in, w->in_length, 100, 100);
	m->pkt_len++;
	CHECK_EQUAL(pass(m, vm1, uplink, bytes), 0);
	m = single(w->in, w->in_length, 128);
	m->pkt_len--;
	CHECK_EQUAL(pass(m, vm1, uplink, bytes), 0);
	m = single(w->in, w->in_length, 128);
	m->data_off = m->buf_len;
	CHECK_EQUAL(pass(m, vm1, uplink, bytes), 0);
	CHECK_EQUAL(worker_stats().rx_malformed, before.rx_malformed + 5);
}

/* No mbuf for a new head, an answer or a copy: counted, nothing else happens. */
static void
test_no_buffer(void)
{
	const struct way *w = &ways[1];
	struct apus_dpdk_stats before = worker_stats();
	static struct rte_mbuf *all[POOL_SIZE];
	uint8_t bytes[2048];
	unsigned int n;

	for (n = 0; n < POOL_SIZE; n++) {
		all[n] = rte_pktmbuf_alloc(small);
		if (!all[n])
			break;
	}
	CHECK(n > 0);
	CHECK_EQUAL(pass(single(w->in, w->in_length, 0), vm1, uplink, bytes), 0);
	CHECK_EQUAL(pass(chain(w->in, w->in_length, 20, 20), vm1, uplink, bytes), 0);
	CHECK(same(w, single(w->in, w->in_length, 128)));
	CHECK_EQUAL(worker_stats().rx_no_buffer, before.rx_no_buffer + 2);
	/* A head but no mbuf for the rest of a shared packet. */
	{
		static uint8_t in[1400];
		struct rte_mbuf *m;

		make_frame(in, sizeof(in), 0, vm1_mac, remote_mac, 101, 103);
		rte_pktmbuf_free(all[--n]);
		m = single(in, sizeof(in), 128);
		rte_mbuf_refcnt_update(m, 1);
		CHECK_EQUAL(pass(m, vm1, uplink, bytes), 0);
		CHECK_EQUAL(rte_mbuf_refcnt_read(m), 1);
		rte_pktmbuf_free(m);
		CHECK_EQUAL(worker_stats().rx_no_buffer, before.rx_no_buffer + 3);
	}
	while (n > 0)
		rte_pktmbuf_free(all[--n]);
}

/* A request for an unknown address is copied to the other machines; three of them here. */
static void
test_copies(void)
{
	static const uint8_t arp_head[8] = {0, 1, 8, 0, 6, 4, 0, 1}, broadcast[6] = {255, 255, 255, 255, 255, 255};
	const uint8_t mac3[6] = {0x60, 0, 0x60, 0, 1, 9}, ip[8] = {10, 0, 1, 101, 10, 0, 1, 200};
	uint32_t vm3 = add_port(APUS_PORT_VM, mac3, "vm3"), ports[65];
	struct rte_mbuf *m, *out[65];
	uint8_t f[60] = {0}, bytes[2048];
	int n, i;

	memcpy(f, broadcast, 6);
	memcpy(f + 6, vm1_mac, 6);
	put16(f + 12, 0x0806);
	memcpy(f + 14, arp_head, 8);
	memcpy(f + 22, vm1_mac, 6);
	memcpy(f + 28, ip, 4);
	memcpy(f + 38, ip + 4, 4);
	m = single(f, sizeof(f), 128);
	n = apus_dpdk_worker_process(worker, &m, 1, vm1, out, ports, ARRAY_SIZE(out));
	CHECK_EQUAL(n, 2);
	for (i = 0; i < n; i++) {
		CHECK(ports[i] == vm2 || ports[i] == vm3);
		CHECK(flatten(out[i], bytes) >= 42);
		CHECK(memcmp(bytes, f, 42) == 0);
		rte_pktmbuf_free(out[i]);
	}
	/* The gateway answers for itself. */
	f[41] = 1;
	m = single(f, sizeof(f), 128);
	CHECK_EQUAL(pass(m, vm1, vm1, bytes), 42);
	must(apus_port_remove(dataplane, vm3), "apus_port_remove");
}

/* ---- devices --------------------------------------------------------------------------------------------------- */

static void
test_device_errors(void)
{
	struct apus_dpdk_device *device = NULL, *second = NULL;
	struct apus_dpdk_device_info info;
	struct apus_dpdk_device_opts opts;
	struct apus_dpdk_stats stats;
	char text[512];

	APUS_INIT(&opts);
	opts.error_text = text;
	opts.error_text_size = sizeof(text);
	CHECK_EQUAL(apus_dpdk_device_open(NULL, &opts, &device), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, NULL), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_device_open("net_nothing", &opts, &device), APUS_ERR_NOT_FOUND);
	CHECK(strstr(text, "net_nothing") && strstr(text, "net_null0"));
	CHECK_EQUAL(apus_dpdk_device_open("port:99", &opts, &device), APUS_ERR_NOT_FOUND);
	CHECK_EQUAL(apus_dpdk_device_open("port:", &opts, &device), APUS_ERR_NOT_FOUND);
	CHECK_EQUAL(apus_dpdk_device_open("port:0x", &opts, &device), APUS_ERR_NOT_FOUND);
	CHECK_EQUAL(apus_dpdk_device_open("port:18446744073709551616", &opts, &device), APUS_ERR_NOT_FOUND);
	opts.size = 8;
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_SIZE);
	opts.size = sizeof(opts);
	opts.flags = 0x80000000u;
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_UNKNOWN_FIELD);
	opts.flags = 0;
	opts.reserved = 1;
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_UNKNOWN_FIELD);
	opts.reserved = 0;
	opts.mtu = 67;
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_RANGE);
	CHECK(strstr(text, "mtu") && strstr(text, "67"));
	opts.mtu = 0;
	opts.buffer_size = 100;
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_RANGE);
	opts.buffer_size = 0;
	opts.pool_size = 16777217;
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_RANGE);
	opts.pool_size = 16777216; /* far more than there is */
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), APUS_ERR_MEMORY);
	CHECK(strstr(text, "net_null0"));
	opts.pool_size = 0;
	CHECK(device == NULL);

	APUS_INIT(&info);
	CHECK_EQUAL(apus_dpdk_device_probe("net_null0", &info), 0);
	CHECK(info.rx_queues >= 1 && info.tx_queues >= 1 && strcmp(info.name, "net_null0") == 0);
	CHECK_EQUAL(apus_dpdk_device_probe("net_nothing", &info), APUS_ERR_NOT_FOUND);

	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &device), 0);
	CHECK(text[0] == '\0');
	CHECK_EQUAL(apus_dpdk_device_open("net_null0", &opts, &second), APUS_ERR_IN_USE);
	CHECK(strstr(text, "open already"));
	CHECK_EQUAL(apus_dpdk_worker_attach(worker, device, 9, 0), APUS_ERR_RANGE);
	CHECK_EQUAL(apus_dpdk_worker_attach(worker, device, 0, 9), APUS_ERR_RANGE);
	CHECK_EQUAL(apus_dpdk_worker_attach(NULL, device, 0, 0), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_attach(worker, NULL, 0, 0), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_attach(worker, (struct apus_dpdk_device *)worker, 0, 0), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_device_info_get(device, &info), 0);
	CHECK_EQUAL(info.rx_queues, 1);
	CHECK_EQUAL(info.port, APUS_DPDK_NO_PORT);
	CHECK_EQUAL(apus_dpdk_device_info_get(device, NULL), APUS_ERR_NULL);
	info.size = 9;
	CHECK_EQUAL(apus_dpdk_device_info_get(device, &info), APUS_ERR_SIZE);
	CHECK_EQUAL(apus_dpdk_device_close(device), 0);

	CHECK_EQUAL(apus_dpdk_device_close(device), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_device_bind(device, 1), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_device_bind(NULL, 1), APUS_ERR_NULL);
	APUS_INIT(&stats);
	CHECK_EQUAL(apus_dpdk_device_stats_get(device, &stats), APUS_ERR_STALE);
	APUS_INIT(&info);
	CHECK_EQUAL(apus_dpdk_device_info_get(device, &info), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_worker_attach(worker, device, 0, 0), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_device_close(NULL), 0);
}

static void
test_worker_errors(void)
{
	struct apus_dpdk_worker *other = NULL;
	struct apus_dpdk_worker_opts opts;
	struct rte_mbuf *m = NULL, *out[4];
	uint32_t ports[4];
	char text[128];

	APUS_INIT(&opts);
	opts.error_text = text;
	opts.error_text_size = sizeof(text);
	CHECK_EQUAL(apus_dpdk_worker_create(NULL, &opts, &other), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_create(dataplane, &opts, NULL), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_create((struct apus_dataplane *)&opts, &opts, &other), APUS_ERR_STALE);
	opts.burst = APUS_DPDK_BURST_MAX + 1;
	CHECK_EQUAL(apus_dpdk_worker_create(dataplane, &opts, &other), APUS_ERR_RANGE);
	CHECK(strstr(text, "burst"));
	opts.burst = 0;
	opts.flow_capacity = 1;
	CHECK_EQUAL(apus_dpdk_worker_create(dataplane, &opts, &other), APUS_ERR_RANGE);
	opts.flow_capacity = 0;
	opts.flags = 1;
	CHECK_EQUAL(apus_dpdk_worker_create(dataplane, &opts, &other), APUS_ERR_UNKNOWN_FIELD);
	CHECK(other == NULL);

	CHECK_EQUAL(apus_dpdk_worker_poll(NULL), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_poll((struct apus_dpdk_worker *)&opts), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_worker_process(worker, NULL, 1, vm1, out, ports, 4), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_process(worker, &m, 1, vm1, NULL, ports, 4), APUS_ERR_NULL);
	CHECK_EQUAL(apus_dpdk_worker_process(worker, &m, 1, vm1, out, ports, 0), APUS_ERR_RANGE);
	CHECK_EQUAL(apus_dpdk_worker_process(worker, &m, APUS_DPDK_BURST_MAX + 1, vm1, out, ports, 1000), APUS_ERR_RANGE);
	CHECK_EQUAL(apus_dpdk_worker_process(worker, NULL, 0, vm1, NULL, NULL, 0), 0);
	CHECK(apus_dpdk_worker_core(worker) != NULL);
	CHECK(apus_dpdk_worker_core(NULL) == NULL);

	APUS_INIT(&opts);
	CHECK_EQUAL(apus_dpdk_worker_create(dataplane, &opts, &other), 0);
	CHECK_EQUAL(apus_dpdk_worker_poll(other), 0);
	CHECK_EQUAL(apus_dpdk_worker_destroy(other), 0);
	CHECK_EQUAL(apus_dpdk_worker_destroy(other), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_worker_poll(other), APUS_ERR_STALE);
	CHECK_EQUAL(apus_dpdk_worker_destroy(NULL), 0);
	CHECK(strcmp(apus_dpdk_strerror(APUS_DPDK_ERR_DEVICE), apus_dpdk_strerror(APUS_ERR_NULL)) != 0);
}

/*
 * ring1 is vm1, ring0 is vm2: what is put into ring1 is received from it, switched, and sent into ring0, which is full
 * after 1023 mbufs.
 */
static void
test_back_pressure(void)
{
	struct apus_dpdk_device *target, *source;
	struct apus_dpdk_device_opts opts;
	struct apus_dpdk_worker *mine, *other;
	struct apus_dpdk_worker_opts worker_opts;
	struct apus_dpdk_stats s, t;
	struct apus_stats before, after;
	struct apus_dpdk_device_info info;
	struct rte_mbuf *m;
	uint16_t source_id;
	unsigned int sent = 0, got = 0, round, i;

	APUS_INIT(&opts);
	opts.pool = pool;
	must(apus_dpdk_device_open("net_ring0", &opts, &target), "open net_ring0");
	must(rte_eth_dev_get_port_by_name("net_ring1", &source_id), "net_ring1");
	must(apus_dpdk_device_open("net_ring1", &opts, &source), "open net_ring1");
	CHECK_EQUAL(apus_dpdk_device_bind(target, vm2), 0);
	CHECK_EQUAL(apus_dpdk_device_bind(source, vm1), 0);
	APUS_INIT(&worker_opts);
	worker_opts.pool = small;
	must(apus_dpdk_worker_create(dataplane, &worker_opts, &mine), "apus_dpdk_worker_create");
	must(apus_dpdk_worker_create(dataplane, &worker_opts, &other), "apus_dpdk_worker_create");
	CHECK_EQUAL(apus_dpdk_worker_attach(mine, target, APUS_DPDK_NO_QUEUE, 0), 0);
	CHECK_EQUAL(apus_dpdk_worker_attach(mine, source, 0, 0), 0);
	CHECK_EQUAL(apus_dpdk_worker_attach(mine, source, 0, 0), APUS_ERR_IN_USE);
	CHECK_EQUAL(apus_dpdk_worker_attach(other, source, APUS_DPDK_NO_QUEUE, 0), APUS_ERR_IN_USE);
	CHECK_EQUAL(apus_dpdk_device_close(source), APUS_ERR_IN_USE);

	APUS_INIT(&before);
	must(apus_stats_get(dataplane, &before), "apus_stats_get");
	for (round = 0; round < 40; round++) {
		for (i = 0; i < 32; i++) {
			m = rte_pktmbuf_alloc(pool);
			if (!m)
				break;
			memcpy(rte_pktmbuf_append(m, 60), ways[0].in, 60);
			put_ip(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), 46, 17, ways[0].in + 26, ways[0].in + 30);
			if (rte_eth_tx_burst(source_id, 0, &m, 1) != 1) {
				rte_pktmbuf_free(m);
				break;
			}
			sent++;
		}
		got += (unsigned int)apus_dpdk_worker_poll(mine);
	}
	while ((i = (unsigned int)apus_dpdk_worker_poll(mine)) > 0)
		got += i;
	CHECK(sent > 500);
	CHECK_EQUAL(got, sent);

	/* The identities. */
	APUS_INIT(&after);
	must(apus_stats_get(dataplane, &after), "apus_stats_get");
	APUS_INIT(&s);
	CHECK_EQUAL(apus_dpdk_device_stats_get(source, &s), 0);
	APUS_INIT(&t);
	CHECK_EQUAL(apus_dpdk_device_stats_get(target, &t), 0);
	CHECK_EQUAL(s.received, sent);
	CHECK_EQUAL(after.received - before.received, sent);
	CHECK_EQUAL(after.transmitted - before.transmitted, sent);
	CHECK_EQUAL(t.transmitted + t.tx_full, sent);
	APUS_INIT(&info);
	CHECK_EQUAL(apus_dpdk_device_info_get(target, &info), 0);
	CHECK_EQUAL(info.port, vm2);
	got = 0;
	while (rte_eth_rx_burst(info.ethdev, 0, &m, 1) == 1) {
		rte_pktmbuf_free(m);
		got++;
	}
	CHECK_EQUAL(got, t.transmitted);

	/* A full ring: nobody takes anything out of it any more. */
	for (i = 0; i < 2000; i++) {
		m = rte_pktmbuf_alloc(pool);
		if (!m)
			break;
		if (rte_eth_tx_burst(info.ethdev, 0, &m, 1) != 1) {
			rte_pktmbuf_free(m);
			break;
		}
	}
	for (sent = 0; sent < 100; sent++) {
		m = rte_pktmbuf_alloc(small);
		CHECK(m != NULL);
		memcpy(rte_pktmbuf_append(m, 60), ways[0].in, 60);
		put_ip(rte_pktmbuf_mtod_offset(m, uint8_t *, 14), 46, 17, ways[0].in + 26, ways[0].in + 30);
		if (rte_eth_tx_burst(source_id, 0, &m, 1) != 1) {
			rte_pktmbuf_free(m);
			break;
		}
	}
	CHECK_EQUAL(sent, 100);
	while (apus_dpdk_worker_poll(mine) > 0)
		;
	APUS_INIT(&s);
	CHECK_EQUAL(apus_dpdk_device_stats_get(target, &s), 0);
	CHECK_EQUAL(s.transmitted + s.tx_full, t.transmitted + t.tx_full + 100);
	printf("  back-pressure: %" PRIu64 " taken by the ring, %" PRIu64 " dropped\n", s.transmitted, s.tx_full);
	CHECK(s.tx_full > 0);
	while (rte_eth_rx_burst(info.ethdev, 0, &m, 1) == 1)
		rte_pktmbuf_free(m);

	/* A port that no device of the worker has. */
	CHECK_EQUAL(apus_dpdk_device_bind(target, APUS_DPDK_NO_PORT), 0);
	m = single(ways[0].in, ways[0].in_length, 128);
	CHECK_EQUAL(rte_eth_tx_burst(source_id, 0, &m, 1), 1);
	CHECK_EQUAL(apus_dpdk_worker_poll(mine), 1);
	APUS_INIT(&s);
	CHECK_EQUAL(apus_dpdk_worker_stats_get(mine, &s), 0);
	CHECK_EQUAL(s.tx_no_device, 1);
	CHECK_EQUAL(apus_dpdk_device_bind(target, vm2), 0);

	/* Longer than the device's MTU. */
	{
		static uint8_t in[1600];

		make_frame(in, sizeof(in), 0, vm1_mac, vm2_mac, 101, 102);
		m = single(in, sizeof(in), 128);
		CHECK_EQUAL(rte_eth_tx_burst(source_id, 0, &m, 1), 1);
		CHECK_EQUAL(apus_dpdk_worker_poll(mine), 1);
		APUS_INIT(&t);
		CHECK_EQUAL(apus_dpdk_device_stats_get(target, &t), 0);
		CHECK_EQUAL(t.tx_too_long, 1);
	}

	/* Counters outlive the worker that counted. */
	CHECK_EQUAL(apus_dpdk_worker_destroy(mine), 0);
	CHECK_EQUAL(apus_dpdk_worker_destroy(other), 0);
	APUS_INIT(&s);
	CHECK_EQUAL(apus_dpdk_device_stats_get(target, &s), 0);
	CHECK_EQUAL(s.transmitted, t.transmitted);
	CHECK_EQUAL(s.tx_full, t.tx_full);
	CHECK_EQUAL(apus_dpdk_device_close(source), 0);
	CHECK_EQUAL(apus_dpdk_device_close(target), 0);
}

/* A source that never ends, pools made by the layer, and a worker destroyed in the middle: nothing may be lost. */
static void
test_null_device(void)
{
	struct apus_dpdk_device *device;
	struct apus_dpdk_device_opts opts;
	struct apus_dpdk_device_info info;
	struct apus_dpdk_worker *mine;
	struct apus_dpdk_stats s;
	int i;

	APUS_INIT(&opts);
	opts.flags = APUS_DPDK_DEVICE_STOP_ONLY;
	for (i = 0; i < 3; i++) {
		int round;

		must(apus_dpdk_device_open("net_null1", &opts, &device), "open net_null1");
		CHECK_EQUAL(apus_dpdk_device_bind(device, vm1), 0);
		must(apus_dpdk_worker_create(dataplane, NULL, &mine), "apus_dpdk_worker_create");
		CHECK_EQUAL(apus_dpdk_worker_attach(mine, device, 0, 0), 0);
		for (round = 0; round < 100; round++)
			CHECK_EQUAL(apus_dpdk_worker_poll(mine), 64);
		APUS_INIT(&s);
		CHECK_EQUAL(apus_dpdk_worker_stats_get(mine, &s), 0);
		CHECK_EQUAL(s.received, 6400);
		CHECK_EQUAL(s.rounds, 100);
		CHECK_EQUAL(s.idle_rounds, 0);
		APUS_INIT(&info);
		CHECK_EQUAL(apus_dpdk_device_info_get(device, &info), 0);
		CHECK(rte_mempool_full(info.pool));
		CHECK_EQUAL(apus_dpdk_worker_destroy(mine), 0);
		CHECK_EQUAL(apus_dpdk_device_close(device), 0);
	}
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
	const uintptr_t x = (uintptr_t)*(void *const *)a, y = (uintptr_t)*(void *const *)b;

	return (x > y) - (x < y);
}

/* A count of free mbufs does not see one that was freed twice: take all, and look at each. */
static void
drain(struct rte_mempool *mp, unsigned int size)
{
	struct rte_mbuf **all = calloc(size + 1, sizeof(*all));
	unsigned int n = 0, i, twice = 0;

	CHECK_EQUAL(rte_mempool_avail_count(mp), size);
	while (n <= size && (all[n] = rte_pktmbuf_alloc(mp)) != NULL)
		n++;
	CHECK_EQUAL(n, size);
	qsort(all, n, sizeof(*all), compare);
	for (i = 1; i < n; i++)
		twice += all[i] == all[i - 1];
	CHECK_EQUAL(twice, 0);
	for (i = 0; i < n; i++) {
		CHECK(RTE_MBUF_DIRECT(all[i]) && all[i]->nb_segs == 1 && !all[i]->next);
		rte_pktmbuf_free(all[i]);
	}
	free(all);
}

static void
check_accounting(void)
{
	const struct apus_dpdk_stats s = worker_stats();
	struct apus_stats c;

	APUS_INIT(&c);
	CHECK_EQUAL(apus_worker_stats_get(apus_dpdk_worker_core(worker), &c), 0);
	CHECK_EQUAL(s.received - s.rx_no_buffer - s.rx_malformed - s.rx_refused, c.received);
	CHECK_EQUAL(s.transmitted + s.tx_full + s.tx_too_long + s.tx_no_device + s.tx_segmented, c.transmitted);
	CHECK_EQUAL(c.received + c.generated, c.transmitted + c.consumed + c.dropped + c.held);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"single segments", test_single},
	{"every cut and headroom", test_cuts},
	{"long chains", test_long_chains},
	{"shared", test_shared},
	{"shared tail", test_shared_tail},
	{"indirect", test_indirect},
	{"external buffers", test_external},
	{"padding", test_padding},
	{"metadata", test_metadata},
	{"stripped tags", test_stripped_vlan},
	{"checksum flags", test_checksum_flags},
	{"malformed chains", test_malformed},
	{"no buffers", test_no_buffer},
	{"copies and answers", test_copies},
	{"device errors", test_device_errors},
	{"worker errors", test_worker_errors},
	{"back-pressure", test_back_pressure},
	{"net_null", test_null_device},
};

int
main(void)
{
	char *eal[] = {"dpdk_test", "-l", "0", "--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry",
		       "--log-level=lib.eal:warning", "--log-level=lib.ring:alert",
		       "--vdev=net_null0", "--vdev=net_null1", "--vdev=net_ring0",
		       "--vdev=net_ring1", NULL};
	struct apus_dpdk_worker_opts opts;
	unsigned int i;

	if (rte_eal_init((int)ARRAY_SIZE(eal) - 1, eal) < 0) {
		fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
		return 2;
	}
	pool = rte_pktmbuf_pool_create("test", POOL_SIZE * 2 + 1, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	small = rte_pktmbuf_pool_create("small", POOL_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!pool || !small) {
		fprintf(stderr, "no memory for pools\n");
		return 2;
	}
	make_dataplane();
	APUS_INIT(&opts);
	opts.pool = small;
	must(apus_dpdk_worker_create(dataplane, &opts, &worker), "apus_dpdk_worker_create");
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		const unsigned int before = failed;

		tests[i].run();
		printf("%s %s\n", failed == before ? "ok  " : "FAIL", tests[i].name);
	}
	check_accounting();
	CHECK_EQUAL(apus_dpdk_worker_destroy(worker), 0);
	CHECK_EQUAL(apus_dataplane_destroy(dataplane), 0);
	drain(pool, POOL_SIZE * 2 + 1);
	drain(small, POOL_SIZE);
	rte_eal_cleanup();
	printf("%u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
}
