/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured: the library, or the reference in C, behind one face. */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include "world.h"

struct engine {
	const char *name;
	void *worker;
	int (*process)(void *worker, struct apus_frame *in, uint32_t n_in, struct apus_frame *out, uint32_t capacity, uint64_t now);
	void (*stats)(void *worker, struct apus_stats *out);
	void (*close)(void *worker);
};

/* A worker of the library, through its C interface. */
struct engine engine_apus(const struct world *world, uint64_t flow_capacity);
/* A worker of the reference, which asks the world about first packets. */
struct engine engine_reference(const struct world *world, uint64_t flow_capacity);

/* Entries of a flow cache for this many flows. */
uint64_t engine_capacity(const struct options *options, uint64_t flows);

/* One call, alone in a function that profilers can be told to watch. */
int bench_measured(const struct engine *engine, struct apus_frame *in, uint32_t n_in, struct apus_frame *out, uint64_t now);

#endif
