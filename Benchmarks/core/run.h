/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic through an engine, and the proof that all of it was treated as the scenario says. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "engine.h"
#include "traffic.h"

/* The next window, prepared and processed. Returns the cycles inside the engine; *frames: how many frames it was. */
uint64_t run_window(const struct engine *engine, struct traffic *traffic, uint32_t *frames);

/* One packet of every flow, then some windows whose output is compared byte for byte. */
void run_learn(const struct engine *engine, struct traffic *traffic);

/* Counters before and after. */
struct account {
	struct apus_stats before, after;
};

void account_begin(struct account *account, const struct engine *engine);
/* Ends the process unless `frames` frames went where the scenario says, none was dropped, and the flow cache was used as intended. */
void account_check(struct account *account, const struct engine *engine, const struct traffic *traffic, uint64_t frames);

#endif
