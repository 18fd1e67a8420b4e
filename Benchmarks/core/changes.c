/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy that changes while a worker forwards.
 *
 * changes   lookup records get another provider address, at a given rate, of the tenant that sends or of another one.
 *           Phases with and without changes take turns; what is kept is the ratio of their means. Every frame that
 *           comes out is looked at: it must be on its way to one of the record's two addresses.
 *           With --every both happen in one thread, a change after so many packets: what a change costs the packets
 *           after it, whatever else the machine does. The time of the change itself is not counted.
 * handover  one record, many changes. The control thread counts up after each call that returned; a burst that began
 *           later must not contain a packet for an older address.
 */
#include <string.h>

#include "clock.h"
#include "forwarder.h"
#include "json.h"
#include "must.h"
#include "scenarios.h"

#define PHASES 6
#define SETTLED 8u /* packets for each flow, at random: all but one in 3,000 are met */
#define INTERLEAVED 1000u /* windows of a phase in one thread */
/* A window that takes so many times the median was interrupted by the system; one of new flows only takes a third. */
#define PREEMPTED 40
#define HANDOVERS 100000u

/* The host that an encapsulated frame goes to, and the record it is for. */
static uint32_t host_of(const struct apus_frame *f) { return packet_destination(f->data) - FIRST_HOST; }
static uint64_t record_of(const struct world *w, const struct apus_frame *f)
{
	return packet_destination(f->data + packet_outer_length(w)) - FIRST_REMOTE;
}

static void set_host(const struct world *w, uint32_t tenant, uint64_t record, uint32_t host)
{
	struct apus_lookup_record r = world_record(w, tenant, record, host % w->options.hosts);

	MUST(apus_lookup_record_set(w->dataplane, &r));
}

static void look_for_two_hosts(struct forwarder *f, uint32_t frames, uint64_t seen)
{
	const struct world *w = f->traffic->world;
	const struct apus_frame *out = f->traffic->out;

	(void)seen;
	for (uint32_t i = 0; i < frames; i++) {
		const uint32_t home = world_host_of(w, 0, record_of(w, &out[i])), host = host_of(&out[i]);

		if (out[i].port != w->uplink || (host != home && host != (home + 1) % w->options.hosts))
			fail("a frame went to host %u; its record is at host %u or the next", host, home);
	}
}

/* One change; of the tenant that sends, only records that its flows use. */
static void change_one(const struct world *w, uint64_t *state)
{
	const struct options *o = &w->options;
	const uint32_t tenant = o->own_tenant ? 0 : 1;
	const uint64_t record = random_below(state, o->flows < w->records_each ? o->flows : w->records_each);

	set_host(w, tenant, record, world_host_of(w, tenant, record) + (uint32_t)(random64(state) & 1));
}

/* Change records for some time; returns how many changes were made. */
static uint64_t change_for(const struct world *w, double seconds, uint64_t *state)
{
	const struct options *o = &w->options;
	const uint64_t start = clock_ns(), end = start + (uint64_t)(seconds * 1e9);
	const uint64_t interval = o->rate != 0 ? 1000000000u / o->rate : 0;
	uint64_t done = 0, next = start;

	for (uint64_t now = start; now < end; now = clock_ns()) {
		/* Evenly: what the system's scheduler made late is not made up for. */
		if (now < next)
			continue;
		next = now + interval;
		change_one(w, state);
		done++;
	}
	return done;
}

static struct forwarder forwarder_of(const struct world *w, struct account *account)
{
	const struct options *o = &w->options;
	struct forwarder f = {.engine = engine_apus(w, engine_capacity(o, o->flows)),
			      .traffic = traffic_make(w, 0, 1, o->flows, HIT), .cpu = 1};

	if (o->direction != ENCAP || o->hosts < 3)
		fail("%s needs encapsulation and 3 hosts", o->scenario);
	run_learn(&f.engine, f.traffic);
	account_begin(account, &f.engine);
	return f;
}

/* Nothing was lost. */
static void check_nothing_lost(const struct forwarder *f, struct account *a)
{
	f->engine.stats(f->engine.worker, &a->after);
	if (a->after.transmitted - a->before.transmitted != f->frames || a->after.dropped != a->before.dropped)
		fail("%llu frames were sent, %llu came out, %llu were dropped", (unsigned long long)f->frames,
		     (unsigned long long)(a->after.transmitted - a->before.transmitted),
		     (unsigned long long)(a->after.dropped - a->before.dropped));
}

/* Windows in one thread, with a change after every so many packets if `every` is not 0. */
static double interleave(struct forwarder *f, uint64_t every, uint64_t *state, uint64_t *changes)
{
	static double samples[INTERLEAVED];
	struct traffic *t = f->traffic;
	const uint32_t burst = t->world->options.burst;
	uint64_t since = 0;

	for (uint32_t window = 0; window < INTERLEAVED; window++) {
		const uint32_t n = traffic_window(t);
		double cycles = 0;

		for (uint32_t first = 0; first < n; first += burst) {
			const uint64_t now = clock_ns();
			uint64_t start;

			for (; every != 0 && since >= every; since -= every, ++*changes)
				change_one(t->world, state);
			start = clock_start();
			if (f->engine.process(f->engine.worker, t->in + first, burst, t->out, burst + OUTPUT_EXTRA, now) != (int)burst)
				fail("not every frame came out");
			cycles += (double)(clock_stop() - start) - f->overhead;
			look_for_two_hosts(f, burst, 0);
			since += burst;
		}
		samples[window] = cycles / n;
		f->frames += n;
	}
	return numbers_mean_below(samples, INTERLEAVED, PREEMPTED * numbers_median(samples, INTERLEAVED));
}

/* Every flow is known again. */
static void settle(struct forwarder *f)
{
	uint32_t n;

	for (uint64_t done = 0; done < SETTLED * f->traffic->flows; done += n, f->frames += n)
		run_window(&f->engine, f->traffic, &n);
}

static void changes_in_one_thread(const struct options *o, struct world *world)
{
	struct account account;
	struct forwarder f = forwarder_of(world, &account);
	uint64_t state = 1, changes = 0;
	double quiet[PHASES], busy[PHASES];

	f.overhead = clock_overhead();
	for (int phase = 0; phase < PHASES; phase++) {
		settle(&f);
		quiet[phase] = interleave(&f, 0, &state, &changes);
		busy[phase] = interleave(&f, o->every, &state, &changes);
	}
	check_nothing_lost(&f, &account);
	json_open(NULL);
	scenario_conditions(o);
	json_text("tenant", o->own_tenant ? "own" : "other");
	json_integer("packets_between_changes", o->every);
	json_integer("changes", changes);
	json_number("cycles_per_packet_quiet", numbers_median(quiet, PHASES));
	json_number("cycles_per_packet_changing", numbers_median(busy, PHASES));
	json_number("throughput_kept", numbers_median(quiet, PHASES) / numbers_median(busy, PHASES));
	json_integer("lost", 0);
	json_integer("misdelivered", 0);
	json_close();
	json_finish();
	f.engine.close(f.engine.worker);
}

void scenario_changes(const struct options *given)
{
	struct options o = *given;
	struct world world;
	struct account account;
	struct forwarder f;
	struct apus_stats before, after;
	uint64_t state = 1, changes = 0, packets = 0, misses = 0;
	double quiet, busy, limit;

	o.networks = o.networks < 2 ? 2 : o.networks;
	if (o.every == 0)
		clock_bind(0);
	world_build(&world, &o);
	if (o.every != 0) {
		changes_in_one_thread(&o, &world);
		world_close(&world);
		return;
	}
	f = forwarder_of(&world, &account);
	f.look = look_for_two_hosts;
	forwarder_start(&f);
	for (int phase = 0; phase < PHASES; phase++) {
		f.engine.stats(f.engine.worker, &before);
		forwarder_sample(&f, phase & 1);
		if (phase & 1)
			changes += change_for(&world, o.seconds, &state);
		else
			clock_sleep(o.seconds);
		forwarder_idle(&f);
		f.engine.stats(f.engine.worker, &after);
		if (phase & 1) {
			packets += after.received - before.received;
			misses += after.flow_misses - before.flow_misses;
		}
	}
	forwarder_stop(&f);
	check_nothing_lost(&f, &account);
	limit = PREEMPTED * numbers_median(f.samples[0], f.counts[0]);
	quiet = numbers_mean_below(f.samples[0], f.counts[0], limit);
	busy = numbers_mean_below(f.samples[1], f.counts[1], limit);
	json_open(NULL);
	scenario_conditions(&o);
	json_text("tenant", o.own_tenant ? "own" : "other");
	json_integer("rate_wanted", o.rate);
	json_number("changes_per_second", (double)changes / (o.seconds * (PHASES / 2)));
	json_number("cycles_per_packet_quiet", quiet);
	json_number("cycles_per_packet_changing", busy);
	json_number("throughput_kept", quiet / busy);
	json_integer("frames", f.frames);
	json_number("misses_while_changing", (double)misses / (double)packets);
	json_integer("lost", 0);
	json_integer("misdelivered", 0);
	json_close();
	json_finish();
	f.engine.close(f.engine.worker);
	world_close(&world);
}

struct old_packets {
	uint64_t old, unclear;
};

static void look_for_old(struct forwarder *f, uint32_t frames, uint64_t seen)
{
	const uint32_t hosts = f->traffic->world->options.hosts;
	/* The burst may apply any change from the one before it to the one that may be under way after it. */
	const uint64_t possible = __atomic_load_n(&f->generation, __ATOMIC_ACQUIRE) + 1 - seen;
	struct old_packets *found = f->context;

	/* So many that an old address is a new one again: the system took the CPU away meanwhile. */
	if (possible >= hosts - 1) {
		found->unclear += frames;
		return;
	}
	for (uint32_t i = 0; i < frames; i++)
		found->old += (host_of(&f->traffic->out[i]) + hosts - seen % hosts) % hosts > possible;
}

void scenario_handover(const struct options *given)
{
	static double times[HANDOVERS];
	struct options o = *given;
	struct world world;
	struct account account;
	struct forwarder f;
	struct old_packets found = {0};
	uint64_t count = 0, end;

	o.records = o.networks = 1;
	clock_bind(0);
	world_build(&world, &o);
	f = forwarder_of(&world, &account);
	f.look = look_for_old;
	f.context = &found;
	forwarder_start(&f);
	for (end = clock_ns() + (uint64_t)(o.seconds * 1e9); clock_ns() < end && count < HANDOVERS; count++) {
		const uint64_t start = clock_ns();

		set_host(&world, 0, 0, (uint32_t)((count + 1) % o.hosts));
		times[count] = (double)(clock_ns() - start);
		__atomic_store_n(&f.generation, count + 1, __ATOMIC_RELEASE);
	}
	forwarder_stop(&f);
	check_nothing_lost(&f, &account);
	json_open(NULL);
	scenario_conditions(&o);
	json_integer("changes", count);
	json_integer("frames", f.frames);
	json_integer("frames_unclear", found.unclear);
	json_integer("frames_under_old_policy", found.old);
	json_open("nanoseconds_until_commit_returns");
	json_number("p50", numbers_median(times, count));
	json_number("p99", numbers_rank(times, count, 0.99));
	json_number("p100", times[count - 1]);
	json_close();
	json_close();
	json_finish();
	f.engine.close(f.engine.worker);
	world_close(&world);
	if (found.old != 0)
		fail("%llu frames were forwarded under an old policy", (unsigned long long)found.old);
}
