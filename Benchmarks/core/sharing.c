/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shares a core or a machine.
 *
 * flood  one worker polls two ports in turn, a burst from each. Beside a victim whose flows are all known there is
 *        nobody, then a neighbour with as many known flows, then one that sends nothing but new flows: without a limit, and
 *        with 100,000 new flows a second (apus_port_params.new_flow_rate).
 * scale  two workers with tenants of their own, on two CPUs: each alone, then both.
 */
#include <unistd.h>

#include "clock.h"
#include "forwarder.h"
#include "json.h"
#include "must.h"
#include "scenarios.h"

#define SAMPLES 4096u
#define TURNS 5
#define NEW_FLOW_RATE 100000u

struct beside {
	double victim[SAMPLES], other[SAMPLES];
	uint32_t count;
};

static void limit_new_flows(struct world *w, uint32_t port, uint32_t rate)
{
	struct apus_port_params params;

	APUS_INIT(&params);
	MUST(apus_port_get(w->dataplane, port, &params));
	params.new_flow_rate = rate;
	MUST(apus_port_set(w->dataplane, port, &params));
}

/* `may_drop`: so may the other one's frames. */
static void flood_phase(struct beside *b, const struct engine *e, struct traffic *victim, struct traffic *other, bool may_drop,
			uint32_t windows, double overhead)
{
	uint32_t frames, n;

	for (uint32_t i = 0; i < windows && b->count < SAMPLES; i++, b->count++) {
		const uint32_t bursts = victim->window / victim->world->options.burst;
		double cycles = 0, others = 0;

		frames = traffic_window(victim);
		if (other != NULL)
			traffic_window(other);
		for (uint32_t burst = 0; burst < bursts; burst++) {
			const uint32_t size = frames / bursts;
			uint64_t start = clock_start();

			n = (uint32_t)e->process(e->worker, victim->in + burst * size, size, victim->out, size + OUTPUT_EXTRA, clock_ns());
			cycles += (double)(clock_stop() - start) - overhead;
			if (n != size)
				fail("the victim lost frames");
			if (other == NULL)
				continue;
			start = clock_start();
			n = (uint32_t)e->process(e->worker, other->in + burst * size, size, other->out, size + OUTPUT_EXTRA, clock_ns());
			others += (double)(clock_stop() - start) - overhead;
			if (n != size && !may_drop)
				fail("the victim's neighbour lost frames");
		}
		b->victim[b->count] = cycles / frames;
		b->other[b->count] = others / frames;
	}
}

void scenario_flood(const struct options *given)
{
	static struct beside alone, neighbour, flood, limited;
	struct options o = *given;
	struct world world;
	struct engine engine;
	struct traffic *victim, *known, *new;
	struct apus_stats before, after;
	double v, vn, vf, vl, n, f, l, overhead = clock_overhead();
	const uint32_t windows = SAMPLES / TURNS;

	o.networks = 3;
	world_build(&world, &o);
	engine = engine_apus(&world, o.flow_capacity != 0 ? o.flow_capacity : 65536);
	victim = traffic_make(&world, 0, 1, o.flows, HIT);
	known = traffic_make(&world, 1, 1, o.flows, HIT);
	new = traffic_make(&world, 2, 1, o.flows, MISS);
	run_learn(&engine, victim);
	run_learn(&engine, known);
	for (uint32_t turn = 0; turn < TURNS; turn++) {
		traffic_seek(victim, 1);
		traffic_seek(known, 1);
		traffic_seek(new, turn + 1);
		flood_phase(&alone, &engine, victim, NULL, false, windows, overhead);
		flood_phase(&neighbour, &engine, victim, known, false, windows, overhead);
		engine.stats(engine.worker, &before);
		flood_phase(&flood, &engine, victim, new, false, windows, overhead);
		engine.stats(engine.worker, &after);
		limit_new_flows(&world, world.tenants[2].port_a, NEW_FLOW_RATE);
		run_learn(&engine, victim);
		flood_phase(&limited, &engine, victim, new, true, windows, overhead);
		limit_new_flows(&world, world.tenants[2].port_a, 0);
		run_learn(&engine, victim);
		run_learn(&engine, known);
	}
	v = numbers_median(alone.victim, alone.count);
	vn = numbers_median(neighbour.victim, neighbour.count);
	n = numbers_median(neighbour.other, neighbour.count);
	vf = numbers_median(flood.victim, flood.count);
	f = numbers_median(flood.other, flood.count);
	vl = numbers_median(limited.victim, limited.count);
	l = numbers_median(limited.other, limited.count);
	json_open(NULL);
	scenario_conditions(&o);
	json_number("victim_alone", v);
	json_number("victim_beside_neighbour", vn);
	json_number("neighbour", n);
	json_number("victim_beside_flood", vf);
	json_number("flood", f);
	json_number("victim_beside_limited_flood", vl);
	json_number("limited_flood", l);
	json_number("victim_hit_share", (double)(after.flow_hits - before.flow_hits) / (double)(windows * victim->window));
	/* What a victim's packet costs: caches, evictions. */
	json_number("victim_speed_kept", v / vf);
	json_number("victim_speed_kept_against_neighbour", vn / vf);
	/* What a victim gets of a core that serves both in turn, packet for packet. */
	json_number("victim_throughput_kept_against_neighbour", (vn + n) / (vf + f));
	json_number("victim_throughput_kept_against_alone", v / (vf + f));
	json_number("victim_throughput_kept_with_limit", (vn + n) / (vl + l));
	json_close();
	json_finish();
	engine.close(engine.worker);
	world_close(&world);
}

void scenario_scale(const struct options *given)
{
	struct options o = *given;
	struct world world;
	struct forwarder workers[2];
	double alone[2], both[2];

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		fail("scale needs two CPUs");
	o.networks = 2;
	world_build(&world, &o);
	for (uint32_t i = 0; i < 2; i++) {
		workers[i] = (struct forwarder){.engine = engine_apus(&world, engine_capacity(&o, o.flows)),
						.traffic = traffic_make(&world, i, 1, o.flows, HIT), .cpu = (int)i};
		run_learn(&workers[i].engine, workers[i].traffic);
	}
	/* Place 0 of the samples: alone; place 1: both. */
	for (uint32_t i = 0; i < 2; i++) {
		forwarder_start(&workers[i]);
		forwarder_sample(&workers[i], 0);
		clock_sleep(o.seconds);
		forwarder_stop(&workers[i]);
		alone[i] = numbers_median(workers[i].samples[0], workers[i].counts[0]);
		workers[i].stop = workers[i].running = workers[i].phase = 0;
	}
	for (uint32_t i = 0; i < 2; i++)
		forwarder_start(&workers[i]);
	for (uint32_t i = 0; i < 2; i++)
		forwarder_sample(&workers[i], 1);
	clock_sleep(o.seconds);
	for (uint32_t i = 0; i < 2; i++) {
		forwarder_stop(&workers[i]);
		both[i] = numbers_median(workers[i].samples[1], workers[i].counts[1]);
	}
	json_open(NULL);
	scenario_conditions(&o);
	json_number("cycles_per_packet_alone_0", alone[0]);
	json_number("cycles_per_packet_alone_1", alone[1]);
	json_number("cycles_per_packet_both_0", both[0]);
	json_number("cycles_per_packet_both_1", both[1]);
	json_number("speedup", alone[0] / both[0] + alone[1] / both[1]);
	json_close();
	json_finish();
	for (uint32_t i = 0; i < 2; i++)
		workers[i].engine.close(workers[i].engine.worker);
	world_close(&world);
}
