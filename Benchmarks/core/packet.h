/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the benchmarks: what goes in, and what docs/pipeline.md says must come out. */
#ifndef BENCH_PACKET_H
#define BENCH_PACKET_H

#include "world.h"

/* A flow's number says whose it is, to which lookup record, and with which ports. */
struct flow {
	uint32_t tenant;
	uint64_t record;
	uint32_t ports;
};

struct flow packet_flow(const struct world *world, uint32_t first_tenant, uint32_t tenants, uint64_t number);

/* Ethernet, IP, GRE. */
uint32_t packet_outer_length(const struct world *world);

/* The customer's frame: headers only, `length` bytes in all. UDP has no checksum, which nothing here looks at. */
void packet_inner(uint8_t *at, const struct world *world, const struct flow *flow, uint32_t length, bool sent);

/* Outer headers with this customer packet's length, between this host and host `host`. */
void packet_outer(uint8_t *at, const struct world *world, uint32_t host, bool to_host, uint32_t vsid, uint8_t flow_id, uint32_t ip_length);

/* Which host the flow's record is on, and what the flow's packets carry as FlowID. */
uint32_t packet_host(const struct world *world, const struct flow *flow);
uint8_t packet_flow_id(const uint8_t *inner);

/* The addresses of an IP packet in a frame, of IPv6 their last 32 bits. */
uint32_t packet_source(const uint8_t *frame);
uint32_t packet_destination(const uint8_t *frame);

/* The port a flow's frames come from, and the one they leave through. */
uint32_t packet_ingress(const struct world *world, const struct flow *flow);
uint32_t packet_egress(const struct world *world, const struct flow *flow);

#endif
