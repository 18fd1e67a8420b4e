/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of packet buffers and the frames in it. All headers of the ring are written anew, outside the measured time,
 * before any of it is processed: that is the reset between passes, and how large the ring is decides where its
 * packets are when they are processed. Frame descriptors are written for one window at a time, so that they are in the
 * nearest cache, as those of a host are.
 */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include "numbers.h"
#include "packet.h"

#define WINDOW_MAX 512u
#define OUTPUT_EXTRA 64u

struct traffic {
	const struct world *world;
	uint32_t first_tenant, tenants;
	uint64_t flows;
	enum novelty novelty;
	uint8_t *memory;
	size_t stride;
	uint64_t *numbers;    /* of each buffer's flow */
	uint32_t *lengths;    /* of each buffer's customer frame */
	uint32_t ring, window, position;
	bool sequential;      /* next packets: one of each flow */
	uint64_t next, random;
	struct zipf zipf;
	struct apus_frame in[WINDOW_MAX], out[WINDOW_MAX + OUTPUT_EXTRA];
};

/* Traffic of `tenants` tenants from `first`; `flows` flows in all. */
struct traffic *traffic_make(const struct world *world, uint32_t first, uint32_t tenants, uint64_t flows, enum novelty novelty);

/* Start over with the sequence number `round`: the same number gives the same packets. New flows never repeat. */
void traffic_seek(struct traffic *traffic, uint64_t round);
/* Start over with one packet of each flow, in order. */
void traffic_seek_flows(struct traffic *traffic);

/* Fill traffic->in with the next window. Returns the number of frames. */
uint32_t traffic_window(struct traffic *traffic);

/* Ends the process unless these are the right frames for what was in the window: every byte. */
void traffic_verify(const struct traffic *traffic, uint32_t count, const char *engine);

uint32_t traffic_ring(enum temperature temperature);

#endif
