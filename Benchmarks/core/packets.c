/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cycles per packet. The engines take turns, A B B A, with the same packets in each round, so that what the machine does
 * meanwhile befalls both; the ratio is the median over the rounds of the ratio in one round. What befalls a whole process
 * only other processes show: bench.py runs several.
 */
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "instructions.h"
#include "json.h"
#include "must.h"
#include "run.h"
#include "scenarios.h"

#define BATCH 4096u         /* packets of one sample, at least */
#define WARM_MAX 131072u
#define COUNTED_WINDOWS 64

struct series {
	struct engine engine;
	struct account account;
	double *samples;  /* cycles per packet of every batch */
	size_t count;
	double *rounds;   /* their medians */
	uint64_t frames;
};

/* As many samples as a round can have. */
static size_t samples_of(const struct options *o) { return (size_t)(o->packets / BATCH + 2); }

static void warm_up(struct series *s, struct traffic *t)
{
	const uint64_t wanted = t->flows < 4096 ? 4096 : t->flows < WARM_MAX ? t->flows : WARM_MAX;
	uint32_t frames;

	for (uint64_t done = 0; done < wanted; done += frames, s->frames += frames)
		run_window(&s->engine, t, &frames);
}

static void measure_round(struct series *s, struct traffic *t, uint32_t round, double overhead)
{
	const size_t first = s->count;
	uint64_t done = 0;

	traffic_seek(t, round + 1);
	warm_up(s, t);
	while (done < t->world->options.packets) {
		double cycles = 0;
		uint32_t batch = 0, frames;

		for (; batch < BATCH; batch += frames)
			cycles += (double)run_window(&s->engine, t, &frames) - overhead;
		s->samples[s->count++] = cycles / batch;
		done += batch;
	}
	s->frames += done;
	s->rounds[round] = numbers_median(s->samples + first, s->count - first);
}

static void print_series(struct series *s, const char *why_not, struct traffic *t)
{
	json_open(s->engine.name);
	json_open("cycles_per_packet");
	json_number("median", numbers_median(s->samples, s->count));
	json_number("least", s->samples[0]);
	json_number("greatest", s->samples[s->count - 1]);
	json_integer("samples", s->count);
	json_close();
	json_number("hit_share", (double)(s->account.after.flow_hits - s->account.before.flow_hits) / (double)s->frames);
	if (why_not == NULL) {
		uint64_t packets = 0, before;
		uint32_t frames;

		before = instructions_read();
		for (int i = 0; i < COUNTED_WINDOWS; i++, packets += frames) {
			uint32_t burst = t->world->options.burst;

			frames = traffic_window(t);
			instructions_resume();
			for (uint32_t at = 0; at < frames; at += burst)
				bench_measured(&s->engine, t->in + at, burst, t->out + at, clock_ns());
			instructions_pause();
		}
		json_number("instructions_per_packet", (double)(instructions_read() - before) / (double)packets);
	} else {
		json_null("instructions_per_packet");
		json_text("instructions_unavailable", why_not);
	}
	json_close();
}

/* No clock: the same bursts whenever the same command line runs. */
static void run_counted(const struct options *o, const struct series *s, struct traffic *t)
{
	const struct engine *e = &s->engine;
	uint32_t frames = 0, at = 0;

	traffic_seek(t, 1);
	for (uint64_t burst = 0; burst < o->callgrind; burst++, at += o->burst) {
		if (at == frames)
			frames = traffic_window(t), at = 0;
		if (bench_measured(e, t->in + at, o->burst, t->out + at, 1000000) != (int)o->burst)
			fail("%s: not every frame came out", e->name);
	}
}

void scenario_packets(const struct options *o)
{
	struct series series[2];
	struct account account;
	struct world world;
	struct traffic *traffic;
	double overhead, *ratios = calloc(o->rounds, sizeof(*ratios));
	const char *why_not;
	int count = 0;

	world_build(&world, o);
	traffic = traffic_make(&world, 0, o->networks, o->flows, o->novelty);
	if (o->engines & ENGINE_APUS)
		series[count++].engine = engine_apus(&world, engine_capacity(o, o->flows));
	if (o->engines & ENGINE_C)
		series[count++].engine = engine_reference(&world, engine_capacity(o, o->flows));
	for (int i = 0; i < count; i++) {
		series[i].samples = calloc(samples_of(o) * o->rounds, sizeof(double));
		series[i].rounds = calloc(o->rounds, sizeof(double));
		series[i].count = 0;
		series[i].frames = 0;
		if (series[i].samples == NULL || series[i].rounds == NULL || ratios == NULL)
			fail("no memory");
		run_learn(&series[i].engine, traffic);
	}
	for (int i = 0; o->callgrind != 0 && i < count; i++) {
		account_begin(&account, &series[i].engine);
		run_counted(o, &series[i], traffic);
		account_check(&account, &series[i].engine, traffic, o->callgrind * o->burst);
	}
	if (o->callgrind == 0) {
		overhead = clock_overhead();
		for (int i = 0; i < count; i++)
			account_begin(&series[i].account, &series[i].engine);
		for (uint32_t round = 0; round < o->rounds; round++) {
			for (int i = 0; i < count; i++)
				measure_round(&series[(i + (int)round) % count], traffic, round, overhead);
			ratios[round] = count == 2 ? series[0].rounds[round] / series[1].rounds[round] : 0;
		}
		for (int i = 0; i < count; i++)
			account_check(&series[i].account, &series[i].engine, traffic, series[i].frames);
	}
	why_not = o->callgrind != 0 ? "counted by callgrind" : instructions_open();
	json_open(NULL);
	scenario_conditions(o);
	if (o->alone != NULL)
		json_text("no_reference", o->alone);
	for (int i = 0; o->callgrind == 0 && i < count; i++)
		print_series(&series[i], why_not, traffic);
	if (o->callgrind == 0 && count == 2) {
		/* Speed, not cost: above 1 the library is faster. */
		json_open("apus_speed_over_c");
		json_number("median", 1 / numbers_median(ratios, o->rounds));
		json_number("least", 1 / ratios[o->rounds - 1]);
		json_number("greatest", 1 / ratios[0]);
		json_integer("rounds", o->rounds);
		json_close();
	}
	if (o->callgrind != 0)
		json_integer("packets_counted", o->callgrind * o->burst);
	json_close();
	json_finish();
	for (int i = 0; i < count; i++)
		series[i].engine.close(series[i].engine.worker);
	world_close(&world);
}
