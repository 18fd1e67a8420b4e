/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that forwards until it is told to stop, and looks at every frame that comes out. */
#ifndef BENCH_FORWARDER_H
#define BENCH_FORWARDER_H

#include <pthread.h>

#include "run.h"

#define FORWARDER_SAMPLES 65536u

struct forwarder {
	struct engine engine;
	struct traffic *traffic;
	int cpu;
	/* Looks at the frames of a burst; may be NULL. `seen`: `generation` as it was before the burst. */
	void (*look)(struct forwarder *forwarder, uint32_t frames, uint64_t seen);
	void *context;
	/* Written by the control thread. */
	uint64_t generation;
	uint32_t stop;
	uint32_t phase;      /* samples are taken for phase 1 and later, by its number's lowest bit */
	/* Written by the thread. */
	uint64_t frames;
	uint32_t running;
	double *samples[2];  /* cycles per packet of a window */
	uint32_t counts[2];
	double overhead;
	pthread_t thread;
};

void forwarder_start(struct forwarder *forwarder);
void forwarder_stop(struct forwarder *forwarder);
/* Take samples into place 0 or 1 from now on; forwarder_idle(): none. */
void forwarder_sample(struct forwarder *forwarder, uint32_t place);
void forwarder_idle(struct forwarder *forwarder);

#endif
