/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"
#include "must.h"
#include "run.h"

#define COMPARED_WINDOWS 16
/* A flow whose eight lines are all taken is not remembered; a hit scenario may have that many of those. */
#define MISSES_ALLOWED 0.005
#define FLOWS_NEEDED 0.99

uint64_t run_window(const struct engine *e, struct traffic *t, uint32_t *frames)
{
	const uint32_t n = traffic_window(t), burst = t->world->options.burst;
	const uint64_t now = clock_ns(), start = clock_start();
	uint64_t cycles;
	uint32_t made = 0;

	for (uint32_t first = 0; first < n; first += burst)
		made += (uint32_t)e->process(e->worker, t->in + first, burst, t->out + first, burst + OUTPUT_EXTRA, now);
	cycles = clock_stop() - start;
	if (made != n)
		fail("%s: %u frames went in, %u came out", e->name, n, made);
	*frames = n;
	return cycles;
}

void run_learn(const struct engine *e, struct traffic *t)
{
	struct apus_stats stats;
	uint32_t frames;

	traffic_seek_flows(t);
	for (uint64_t done = 0; done < t->flows; done += frames)
		run_window(e, t, &frames);
	e->stats(e->worker, &stats);
	if ((double)stats.flow_entries < FLOWS_NEEDED * (double)t->flows && t->world->options.flow_capacity == 0)
		fail("%s: %llu flows are in the cache, not %llu", e->name, (unsigned long long)stats.flow_entries,
		     (unsigned long long)t->flows);
	traffic_seek(t, 0);
	for (int i = 0; i < COMPARED_WINDOWS; i++) {
		run_window(e, t, &frames);
		traffic_verify(t, frames, e->name);
	}
}

void account_begin(struct account *a, const struct engine *e) { e->stats(e->worker, &a->before); }

static void equal(const char *engine, const char *what, uint64_t before, uint64_t after, uint64_t expected)
{
	if (after - before != expected)
		fail("%s: %s grew by %llu, not by %llu", engine, what, (unsigned long long)(after - before),
		     (unsigned long long)expected);
}

void account_check(struct account *a, const struct engine *e, const struct traffic *t, uint64_t frames)
{
	const enum direction direction = t->world->options.direction;
	uint64_t hits, misses;

	e->stats(e->worker, &a->after);
#define EQUAL(field, expected) equal(e->name, #field, a->before.field, a->after.field, expected)
	EQUAL(received, frames);
	EQUAL(transmitted, frames);
	EQUAL(dropped, 0);
	EQUAL(consumed, 0);
	EQUAL(generated, 0);
	EQUAL(encapsulated, direction == ENCAP || direction == ROUTE_ENCAP ? frames : 0);
	EQUAL(decapsulated, direction == DECAP ? frames : 0);
	EQUAL(switched, direction == SWITCH ? frames : 0);
	EQUAL(routed, direction == ROUTE || direction == ROUTE_ENCAP ? frames : 0);
#undef EQUAL
	hits = a->after.flow_hits - a->before.flow_hits;
	misses = a->after.flow_misses - a->before.flow_misses;
	if (hits + misses != frames)
		fail("%s: %llu hits and %llu misses are not %llu", e->name, (unsigned long long)hits, (unsigned long long)misses,
		     (unsigned long long)frames);
	if ((t->novelty == HIT && (double)misses > MISSES_ALLOWED * (double)frames) || (t->novelty == MISS && hits != 0) ||
	    (t->novelty == MIXED && (misses == 0 || hits == 0)))
		fail("%s: %llu hits and %llu misses are not what `%s` means", e->name, (unsigned long long)hits,
		     (unsigned long long)misses, novelty_name(t->novelty));
}
