/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "clock.h"
#include "forwarder.h"
#include "must.h"

static uint64_t forward_window(struct forwarder *f, uint32_t n)
{
	struct traffic *t = f->traffic;
	const uint32_t burst = t->world->options.burst;
	const uint64_t now = clock_ns();
	uint64_t cycles = 0;

	for (uint32_t first = 0; first < n; first += burst) {
		const uint64_t seen = __atomic_load_n(&f->generation, __ATOMIC_ACQUIRE), start = clock_start();
		const int made = f->engine.process(f->engine.worker, t->in + first, burst, t->out, burst + OUTPUT_EXTRA, now);

		cycles += clock_stop() - start;
		if (made != (int)burst)
			fail("%u frames went in, %d came out", burst, made);
		if (f->look != NULL)
			f->look(f, burst, seen);
	}
	return cycles;
}

static void *run(void *context)
{
	struct forwarder *f = context;
	uint64_t round = 1;

	clock_bind(f->cpu);
	traffic_seek(f->traffic, round);
	__atomic_store_n(&f->running, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
		const uint32_t n = traffic_window(f->traffic), phase = __atomic_load_n(&f->phase, __ATOMIC_ACQUIRE);
		const double bursts = (double)n / f->traffic->world->options.burst;
		const double cycles = (double)forward_window(f, n) - f->overhead * bursts;

		f->frames += n;
		if (phase != 0 && f->counts[phase & 1] < FORWARDER_SAMPLES)
			f->samples[phase & 1][f->counts[phase & 1]++] = cycles / n;
	}
	return NULL;
}

void forwarder_start(struct forwarder *f)
{
	for (int place = 0; place < 2; place++) {
		f->samples[place] = calloc(FORWARDER_SAMPLES, sizeof(double));
		if (f->samples[place] == NULL)
			fail("no memory");
	}
	f->overhead = clock_overhead();
	if (pthread_create(&f->thread, NULL, run, f) != 0)
		fail("no thread");
	while (!__atomic_load_n(&f->running, __ATOMIC_ACQUIRE))
		;
}

void forwarder_stop(struct forwarder *f)
{
	__atomic_store_n(&f->stop, 1, __ATOMIC_RELEASE);
	pthread_join(f->thread, NULL);
}

void forwarder_sample(struct forwarder *f, uint32_t place) { __atomic_store_n(&f->phase, 2 + place, __ATOMIC_RELEASE); }
void forwarder_idle(struct forwarder *f) { __atomic_store_n(&f->phase, 0, __ATOMIC_RELEASE); }
