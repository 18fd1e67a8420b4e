/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A customer's program, C11 and C++17: one echo request from a machine here to a machine on another host. Checks the
 * outer header byte by byte and prints "ok".
 */
#include <apus/apus.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct apus_dataplane *dp;

static void check(int result, const char *what)
{
	if (result < 0) {
		printf("%s: %s: %s\n", what, apus_error_name(result), apus_dataplane_error_text(dp));
		exit(1);
	}
}

static void release(void *context, void *const *buffers, uint32_t count)
{
	(void)context;
	(void)buffers;
	(void)count;
}

static void add_record(const char *ca, const char *mac, const char *pa)
{
	struct apus_lookup_record record;

	APUS_INIT(&record);
	record.virtual_subnet_id = 6000;
	check(apus_address_parse(ca, &record.customer_address), ca);
	check(apus_mac_parse(mac, &record.mac), mac);
	check(apus_address_parse(pa, &record.provider_address), pa);
	check(apus_lookup_record_add(dp, &record), "lookup record");
}

int main(void)
{
	static const uint8_t expected[42] = {
		0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0x32, 0x44, 0x55, 0x66, 0x77, 0x88, 0x08, 0x00, /* Ethernet */
		0x45, 0x00, 0x00, 0x3e, 0x00, 0x00, 0x40, 0x00, 0x80, 0x2f, 0x79, 0x09,             /* IPv4 */
		192,  168,  0,    22,   192,  168,  0,    33,
		0x20, 0x00, 0x65, 0x58, 0x00, 0x17, 0x70, 0x00                                      /* GRE, VSID 6000 */
	};
	static const uint8_t inner[34] = {
		0x60, 0x00, 0x60, 0x00, 0x02, 0x03, 0x60, 0x00, 0x60, 0x00, 0x01, 0x01, 0x08, 0x00,
		0x45, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x40, 0xfd, 0x00, 0x00, 10, 0, 1, 101, 10, 0, 1, 103
	};
	static uint8_t memory[256];
	struct apus_dataplane_opts options;
	struct apus_port_params port;
	struct apus_provider_address address;
	struct apus_provider_neighbor neighbor;
	struct apus_worker_opts worker_options;
	struct apus_worker *worker;
	struct apus_frame in, out[4];
	struct apus_stats stats;
	uint32_t uplink, vm;
	int n;

	APUS_INIT(&options);
	options.flags = APUS_DATAPLANE_FLOW_ID_ZERO;
	check(apus_dataplane_create(&options, &dp), "dataplane");

	APUS_INIT(&port);
	port.kind = APUS_PORT_PROVIDER;
	check(apus_port_add(dp, &port, &uplink), "uplink");
	APUS_INIT(&port);
	port.kind = APUS_PORT_VM;
	port.virtual_subnet_id = 6000;
	check(apus_mac_parse("60:00:60:00:01:01", &port.mac), "mac");
	check(apus_port_add(dp, &port, &vm), "vm");

	APUS_INIT(&address);
	address.port = uplink;
	address.prefix_length = 24;
	check(apus_address_parse("192.168.0.22", &address.provider_address), "provider address");
	check(apus_mac_parse("32:44:55:66:77:88", &address.mac), "mac");
	check(apus_provider_address_add(dp, &address), "provider address");
	APUS_INIT(&neighbor);
	check(apus_address_parse("192.168.0.33", &neighbor.address), "neighbour");
	check(apus_mac_parse("44:55:66:77:88:99", &neighbor.mac), "mac");
	check(apus_provider_neighbor_add(dp, &neighbor), "neighbour");
	add_record("10.0.1.101", "60:00:60:00:01:01", "192.168.0.22");
	add_record("10.0.1.103", "60:00:60:00:02:03", "192.168.0.33");

	APUS_INIT(&worker_options);
	worker_options.buffers.release = release;
	check(apus_worker_create(dp, &worker_options, &worker), "worker");

	memset(&in, 0, sizeof(in));
	in.data = memory + APUS_HEADROOM;
	in.buffer = memory;
	in.length = sizeof(inner);
	in.contiguous = sizeof(inner);
	in.headroom = APUS_HEADROOM;
	in.port = vm;
	memcpy(in.data, inner, sizeof(inner));
	n = apus_worker_process(worker, &in, 1, out, 4, 0);

	APUS_INIT(&stats);
	check(apus_stats_get(dp, &stats), "statistics");
	if (n != 1 || out[0].port != uplink || out[0].length != sizeof(expected) + sizeof(inner) ||
	    out[0].buffer != memory || stats.encapsulated != 1 || stats.received != stats.transmitted) {
		printf("%d frames\n", n);
		return 1;
	}
	if (memcmp(out[0].data, expected, sizeof(expected)) != 0 ||
	    memcmp(out[0].data + sizeof(expected), inner, sizeof(inner)) != 0) {
		for (uint32_t i = 0; i < out[0].length; i++)
			printf("%02x ", out[0].data[i]);
		printf("\n");
		return 1;
	}
	check(apus_worker_destroy(worker), "worker");
	check(apus_dataplane_destroy(dp), "dataplane");
	puts("ok");
	return 0;
}
