/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from every port of a dataplane with something of everything in its policy. One dataplane and one worker live
 * through the whole run, so flows, neighbours and waiting packets of earlier inputs meet those of later ones.
 *
 * Input: a sequence of frames, each `kind, headroom, length (2 bytes), bytes`. The kind's low bits choose the port; the
 * others lay a well-formed header over the beginning, so that what is behind it is reached - which one the two low bits of
 * the headroom say; one asks for short memory.
 */
#include "fuzz.h"

#define KIND_PORT 0x07
#define KIND_TEMPLATE 0x08
#define KIND_CHECKSUM 0x10
#define KIND_SHORT 0x20
#define KIND_BURST 0x40
#define KIND_TIME 0x80

static struct apus_dataplane *dataplane;
static struct apus_worker *worker;
static struct buffers buffers;
static uint64_t now = 1;
static uint32_t ports[8];

/* APUS_CANARY=1: frames claim to be longer than their memory, which the core's loads then leave. Has to be reported. */
static int is_canary;

static struct apus_address v4(uint32_t value)
{
	struct apus_address address;

	memset(&address, 0, sizeof(address));
	address.family = APUS_IPV4;
	address.bytes[0] = (uint8_t)(value >> 24);
	address.bytes[1] = (uint8_t)(value >> 16);
	address.bytes[2] = (uint8_t)(value >> 8);
	address.bytes[3] = (uint8_t)value;
	return address;
}

/* 2001:db8:0:net::host */
static struct apus_address v6(uint8_t net, uint8_t host)
{
	struct apus_address address;

	memset(&address, 0, sizeof(address));
	address.family = APUS_IPV6;
	address.bytes[0] = 0x20;
	address.bytes[1] = 0x01;
	address.bytes[2] = 0x0d;
	address.bytes[3] = 0xb8;
	address.bytes[7] = net;
	address.bytes[15] = host;
	return address;
}

static struct apus_mac mac_of(uint8_t last)
{
	struct apus_mac mac = {{0x00, 0x60, 0x00, 0x00, 0x00, last}};

	return mac;
}

static void add_vm(unsigned int index, uint32_t vsid, uint8_t mac, uint32_t flags)
{
	struct apus_port_params port;

	APUS_INIT(&port);
	port.kind = APUS_PORT_VM;
	port.virtual_subnet_id = vsid;
	port.mac = mac_of(mac);
	port.flags = flags;
	CHECK(apus_port_add(dataplane, &port, &ports[index]) == 0);
}

static void put_record(uint32_t vsid, struct apus_address ca, uint8_t mac, struct apus_address pa, uint8_t rule, uint8_t type)
{
	struct apus_lookup_record record;

	APUS_INIT(&record);
	record.virtual_subnet_id = vsid;
	record.customer_address = ca;
	record.mac = mac_of(mac);
	record.provider_address = pa;
	record.rule = rule;
	record.type = type;
	CHECK(apus_lookup_record_add(dataplane, &record) == 0);
}

static void add_record(uint32_t vsid, uint32_t ca, uint8_t mac, uint32_t pa, uint8_t rule)
{
	put_record(vsid, v4(ca), mac, v4(pa), rule, 0);
}

static void add_route(uint8_t domain, uint32_t vsid, uint32_t prefix, uint8_t length, uint32_t next_hop)
{
	struct apus_customer_route route;

	APUS_INIT(&route);
	route.routing_domain_id.bytes[15] = domain;
	route.virtual_subnet_id = vsid;
	route.destination_prefix.address = v4(prefix);
	route.destination_prefix.length = length;
	route.next_hop = v4(next_hop);
	CHECK(apus_customer_route_add(dataplane, &route) == 0);
}

static void add_route6(uint8_t domain, uint32_t vsid, uint8_t net, uint32_t flags)
{
	struct apus_customer_route route;

	APUS_INIT(&route);
	route.routing_domain_id.bytes[15] = domain;
	route.virtual_subnet_id = vsid;
	route.destination_prefix.address = v6(net, 0);
	route.destination_prefix.length = 64;
	route.next_hop.family = APUS_IPV6;
	route.flags = flags;
	CHECK(apus_customer_route_add(dataplane, &route) == 0);
}

static void add_address(unsigned int index, struct apus_address pa, uint8_t length, uint8_t mac, uint16_t vlan)
{
	struct apus_provider_address address;

	APUS_INIT(&address);
	address.provider_address = pa;
	address.port = ports[index];
	address.prefix_length = length;
	address.vlan = vlan;
	address.mac = mac_of(mac);
	CHECK(apus_provider_address_add(dataplane, &address) == 0);
}

static void add_peer(struct apus_address pa, uint8_t encapsulation, uint8_t key_layout, uint8_t modes)
{
	struct apus_provider_peer peer;

	APUS_INIT(&peer);
	peer.provider_address = pa;
	peer.encapsulation = encapsulation;
	peer.key_layout = key_layout;
	peer.dscp_mode = modes;
	peer.ecn_mode = modes ? APUS_ECN_COMPATIBILITY : 0;
	peer.df_mode = modes ? APUS_DF_COPY : 0;
	CHECK(apus_provider_peer_add(dataplane, &peer) == 0);
}

static void add_provider(unsigned int index, uint32_t pa, uint8_t mac, uint16_t vlan)
{
	struct apus_port_params port;

	APUS_INIT(&port);
	port.kind = APUS_PORT_PROVIDER;
	CHECK(apus_port_add(dataplane, &port, &ports[index]) == 0);
	add_address(index, v4(pa), 24, mac, vlan);
}

/* IPv6 inside and outside, VXLAN, the first draft's keys, rewriting, unknown machines, a gateway, broadcast. */
static void add_the_rest(void)
{
	static const struct apus_address unspecified = {.family = APUS_IPV6};
	struct apus_virtual_subnet subnet;

	add_address(4, v6(0xf0, 1), 64, 0xa1, 0);
	add_address(5, v6(0xf1, 1), 64, 0xa2, 7);
	add_address(4, v4(0xc0a80021), 24, 0xa1, 0);
	add_address(4, v6(0xf0, 0x21), 64, 0xa1, 0);
	add_route6(1, 5001, 1, APUS_CUSTOMER_ROUTE_ADVERTISE | APUS_CUSTOMER_ROUTE_AUTOCONFIGURE);
	add_route6(1, 5002, 2, 0);
	put_record(5001, v6(1, 0x11), 0x01, v4(0xc0a80001), 0, 0);
	put_record(5001, v6(1, 0x12), 0x02, v6(0xf0, 1), 0, 0);
	put_record(5002, v6(2, 0x13), 0x03, v6(0xf1, 1), 0, 0);
	put_record(5001, v6(1, 0x20), 0x10, v6(0xf0, 2), 0, 0);
	put_record(5001, v6(1, 0x21), 0x11, v4(0xc0a80002), 0, 0);
	put_record(5002, v6(2, 0x20), 0x10, v6(0xf1, 3), 0, 0);
	put_record(5001, v4(0x0a000120), 0x20, v6(0xf0, 3), 0, 0);
	put_record(5001, v4(0x0a000121), 0x02, v4(0xc0a80021), APUS_RULE_NAT, 0);
	put_record(5001, v6(1, 0x31), 0x02, v6(0xf0, 0x21), APUS_RULE_NAT, 0);
	put_record(5001, v4(0x0a000122), 0x22, v4(0xc0a80022), APUS_RULE_NAT, 0);
	put_record(5001, v6(1, 0x32), 0x22, v6(0xf0, 0x22), APUS_RULE_NAT, 0);
	put_record(5003, v4(0), 0x04, v4(0xc0a80001), 0, APUS_RECORD_L2_ONLY);
	put_record(5003, v4(0), 0x30, v4(0xc0a80002), 0, APUS_RECORD_L2_ONLY);
	put_record(5003, unspecified, 0x31, v6(0xf0, 2), 0, APUS_RECORD_GATEWAY_WILDCARD);
	add_peer(v4(0xc0a80003), APUS_ENCAPSULATION_VXLAN, 0, APUS_DSCP_UNIFORM);
	add_peer(v6(0xf0, 3), APUS_ENCAPSULATION_VXLAN, 0, 0);
	add_peer(v4(0xac100001), 0, APUS_KEY_DRAFT00, APUS_DSCP_PIPE);
	APUS_INIT(&subnet);
	subnet.virtual_subnet_id = 5001;
	subnet.flags = APUS_SUBNET_BROADCAST | APUS_SUBNET_ALLOW_NON_IP;
	CHECK(apus_virtual_subnet_add(dataplane, &subnet) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct apus_dataplane_opts opts;
	struct apus_worker_opts worker_opts;
	struct apus_provider_neighbor neighbor;

	(void)argc;
	(void)argv;
	is_canary = getenv("APUS_CANARY") != NULL;
	APUS_INIT(&opts);
	opts.hash_key[0] = 1;
	CHECK(apus_dataplane_create(&opts, &dataplane) == 0);
	APUS_INIT(&worker_opts);
	worker_opts.buffers.allocate = buffers_allocate;
	worker_opts.buffers.release = buffers_release;
	worker_opts.buffers.context = &buffers;
	worker_opts.flow_capacity = 64;
	worker_opts.held_capacity = 8;
	CHECK(apus_worker_create(dataplane, &worker_opts, &worker) == 0);

	add_vm(0, 5001, 0x01, 0);
	add_vm(1, 5001, 0x02, 0);
	add_vm(2, 5002, 0x03, APUS_PORT_TRUSTED);
	add_vm(3, 5003, 0x04, 0);
	add_provider(4, 0xc0a80001, 0xa1, 0);
	add_provider(5, 0xc0a80101, 0xa2, 7);
	/* 6 is a port that was removed, 7 one that never was */
	add_vm(6, 5001, 0x05, 0);
	CHECK(apus_port_remove(dataplane, ports[6]) == 0);
	ports[7] = 0xfffff;

	add_record(5001, 0x0a000101, 0x01, 0xc0a80001, 0);
	add_record(5001, 0x0a000102, 0x02, 0xc0a80001, 0);
	add_record(5002, 0x0a000203, 0x03, 0xc0a80101, 0);
	add_record(5003, 0x0a000101, 0x04, 0xc0a80001, 0);
	add_record(5001, 0x0a000110, 0x10, 0xc0a80002, 0);
	add_record(5001, 0x0a000111, 0x11, 0xc0a80102, 0);
	add_record(5001, 0x0a000112, 0x12, 0xac100001, APUS_RULE_NONE);
	add_record(5002, 0x0a000210, 0x10, 0xc0a80003, 0);
	add_record(5003, 0x0a000110, 0x10, 0xac100001, 0);
	add_route(1, 5001, 0x0a000100, 24, 0);
	add_route(1, 5002, 0x0a000200, 24, 0);
	add_route(1, 5002, 0, 0, 0x0a000210);
	APUS_INIT(&neighbor);
	neighbor.address = v4(0xc0a80002);
	neighbor.mac = mac_of(0xb2);
	CHECK(apus_provider_neighbor_add(dataplane, &neighbor) == 0);
	neighbor.address = v6(0xf0, 2);
	CHECK(apus_provider_neighbor_add(dataplane, &neighbor) == 0);
	add_the_rest();
	return 0;
}

static void store_checksum(uint8_t *ip)
{
	uint32_t sum = 0;

	ip[10] = ip[11] = 0;
	for (unsigned int i = 0; i < 20; i += 2)
		sum += get16(ip + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	ip[10] = (uint8_t)(~sum >> 8);
	ip[11] = (uint8_t)~sum;
}

/* A customer's packet over the first 34 bytes; the last byte of the addresses and MACs stay the fuzzer's. */
static void lay_customer(uint8_t *data, uint32_t length, int has_checksum)
{
	static const uint8_t head[5] = {0x00, 0x60, 0x00, 0x00, 0x00};

	memcpy(data, head, 5);
	memcpy(data + 6, head, 5);
	data[12] = 0x08;
	data[13] = 0x00;
	data[14] = 0x45;
	data[16] = (uint8_t)((length - 14) >> 8);
	data[17] = (uint8_t)(length - 14);
	data[26] = data[30] = 0x0a;
	data[27] = data[31] = 0;
	data[28] &= 3;
	data[32] &= 3;
	if (has_checksum)
		store_checksum(data + 14);
}

/* The same of IPv6, 54 bytes: network 1 or 2, hosts as in the policy. */
static void lay_customer6(uint8_t *data, uint32_t length)
{
	static const uint8_t head[5] = {0x00, 0x60, 0x00, 0x00, 0x00};
	static const uint8_t net[7] = {0x20, 0x01, 0x0d, 0xb8};

	memcpy(data, head, 5);
	memcpy(data + 6, head, 5);
	data[12] = 0x86;
	data[13] = 0xdd;
	data[14] = 0x60;
	data[18] = (uint8_t)((length - 54) >> 8);
	data[19] = (uint8_t)(length - 54);
	for (unsigned int at = 22; at <= 38; at += 16) {
		memcpy(data + at, net, 7);
		data[at + 7] = (uint8_t)(1 + (data[at + 7] & 1));
		memset(data + at + 8, 0, 7);
	}
}

/* Outer Ethernet and IP up to the protocol's own header. Returns their length. */
static uint32_t lay_outer(uint8_t *data, uint32_t length, int is_ipv6, uint8_t proto, int has_checksum)
{
	static const uint8_t head[5] = {0x00, 0x60, 0x00, 0x00, 0x00};
	static const uint8_t net[15] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0xf0};
	static const uint8_t source[3] = {0xc0, 0xa8, 0x00};

	memcpy(data, head, 5);
	data[5] = 0xa1;
	if (is_ipv6) {
		data[12] = 0x86;
		data[13] = 0xdd;
		data[14] = 0x60;
		data[18] = (uint8_t)((length - 54) >> 8);
		data[19] = (uint8_t)(length - 54);
		data[20] = proto;
		memcpy(data + 22, net, 15);
		memcpy(data + 38, net, 15);
		data[53] = (uint8_t)(data[53] & 1 ? 1 : 0x21);
		return 54;
	}
	data[12] = 0x08;
	data[13] = 0x00;
	data[14] = 0x45;
	data[16] = (uint8_t)((length - 14) >> 8);
	data[17] = (uint8_t)(length - 14);
	data[20] = 0x40;
	data[21] = 0;
	data[23] = proto;
	memcpy(data + 26, source, 3);
	memcpy(data + 30, source, 3);
	data[33] = (uint8_t)(data[33] & 1 ? 1 : 0x21);
	if (has_checksum)
		store_checksum(data + 14);
	return 34;
}

static void lay_tunnel(uint8_t *data, uint32_t length, unsigned int form, int has_checksum)
{
	const int is_vxlan = form == 3;
	const uint32_t at = lay_outer(data, length, form & 1, is_vxlan ? 17 : 47, has_checksum);
	uint8_t *tunnel = data + at;
	uint32_t inner;

	if (is_vxlan) {
		tunnel[2] = 4789 >> 8;
		tunnel[3] = 4789 & 0xff;
		tunnel[4] = (uint8_t)((length - at) >> 8);
		tunnel[5] = (uint8_t)(length - at);
		tunnel[8] = 0x08;
		inner = at + 16;
	} else {
		tunnel[0] = 0x20;
		tunnel[1] = 0;
		tunnel[2] = 0x65;
		tunnel[3] = 0x58;
		inner = at + 8;
	}
	uint8_t *vsid = data + inner - 4;

	vsid[0] = 0;
	vsid[1] = 0x13;
	vsid[2] = (uint8_t)(0x88 + (vsid[2] & 3));
	if (length >= inner + 54 && (form & 2 || data[inner] & 1))
		lay_customer6(data + inner, length - inner);
	else if (length >= inner + 34)
		lay_customer(data + inner, length - inner, has_checksum);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct input in = {bytes, size};
	struct apus_frame frames[64], sent[64 + 96];

	while (in.left > 0) {
		uint32_t count = 0;
		uint8_t kind;

		do {
			struct apus_frame *frame = &frames[count++];

			kind = take8(&in);
			uint16_t headroom = take8(&in);
			uint32_t length = take16(&in) & 0x7ff;

			if (is_canary)
				length = 20;
			*frame = frame_new(&buffers, &in, ports[kind & KIND_PORT], length, headroom);
			if ((kind & KIND_TEMPLATE) && length >= 78) {
				if ((kind & KIND_PORT) == 4)
					lay_tunnel(frame->data, length, headroom & 3, kind & KIND_CHECKSUM);
				else if (headroom & 1)
					lay_customer6(frame->data, length);
				else
					lay_customer(frame->data, length, kind & KIND_CHECKSUM);
			} else if (kind & KIND_CHECKSUM) {
				frame->flags = length & 1 ? APUS_FRAME_IP_CHECKSUM_GOOD : APUS_FRAME_IP_CHECKSUM_BAD;
			}
			if (length > 300 && (length & 3) == 0)
				frame->contiguous = 192;
			if (is_canary) {
				frame->port = ports[0];
				frame->length = 60;
				frame->contiguous = 60;
			}
		} while ((kind & KIND_BURST) && in.left > 0 && count < 64);

		buffers.is_short = (kind & KIND_SHORT) != 0;
		now += kind & KIND_TIME ? 700000000u : 1000u;
		uint32_t capacity = kind & KIND_SHORT ? count : count + 96;
		int n = apus_worker_process(worker, frames, count, sent, capacity, now);

		CHECK(n >= 0 && (uint32_t)n <= capacity);
		for (int i = 0; i < n; i++) {
			check_output(&sent[i]);
			CHECK(sent[i].port == ports[0] || sent[i].port == ports[1] || sent[i].port == ports[2] ||
			      sent[i].port == ports[3] || sent[i].port == ports[4] || sent[i].port == ports[5]);
			buffer_free(&buffers, sent[i].buffer);
		}
		check_accounts(dataplane, &buffers);
		if (kind & KIND_TIME) {
			struct apus_event events[16];

			events[0].size = sizeof(events[0]);
			CHECK(apus_event_poll(dataplane, events, 16) >= 0);
		}
	}
	return 0;
}
