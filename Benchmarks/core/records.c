/* SPDX-License-Identifier: Apache-2.0 */
/* How quickly lookup records are added, and what they hold; how soon a host with many of them forwards. */
#include "clock.h"
#include "json.h"
#include "memory.h"
#include "must.h"
#include "run.h"
#include "scenarios.h"

void scenario_records(const struct options *o)
{
	struct world world;
	uint64_t before, held_before, start, added, committed, number, rate_removed;
	struct apus_lookup_record record;

	world_open(&world, o);
	number = world.records_each * o->networks;
	before = apus_dataplane_memory(world.dataplane);
	held_before = memory_held();
	start = clock_ns();
	world_add_records(&world);
	added = clock_ns() - start;
	/* They are there. */
	for (uint64_t i = 0; i < number; i += 1 + number / 1000) {
		record = world_record(&world, (uint32_t)(i % o->networks), i / o->networks, 0);
		MUST(apus_lookup_record_get(world.dataplane, &record));
	}
	json_open(NULL);
	scenario_conditions(o);
	json_integer("records_added", number);
	json_number("inserts_per_second", (double)number / (double)added * 1e9);
	json_number("bytes_per_record", (double)(apus_dataplane_memory(world.dataplane) - before) / (double)number);
	json_number("bytes_per_record_by_allocator", (double)(memory_held() - held_before) / (double)number);
	start = clock_ns();
	for (uint64_t i = 0; i < number; i++) {
		record = world_record(&world, (uint32_t)(i % o->networks), i / o->networks, 0);
		MUST(apus_lookup_record_remove(world.dataplane, &record));
	}
	rate_removed = clock_ns() - start;
	start = clock_ns();
	MUST(apus_transaction_begin(world.dataplane));
	world_add_records(&world);
	MUST(apus_transaction_commit(world.dataplane));
	committed = clock_ns() - start;
	json_number("removals_per_second", (double)number / (double)rate_removed * 1e9);
	json_number("inserts_per_second_in_one_transaction", (double)number / (double)committed * 1e9);
	json_close();
	json_finish();
	world_close(&world);
}

void scenario_start(const struct options *o)
{
	struct world world;
	struct engine engine;
	struct traffic *traffic;
	uint64_t start = clock_ns(), policy, worker, first;
	uint32_t frames;

	world_build(&world, o);
	policy = clock_ns() - start;
	traffic = traffic_make(&world, 0, o->networks, o->flows, HIT);
	start = clock_ns();
	engine = engine_apus(&world, engine_capacity(o, o->flows));
	worker = clock_ns() - start;
	start = clock_ns();
	run_window(&engine, traffic, &frames);
	first = clock_ns() - start;
	traffic_verify(traffic, frames, engine.name);
	json_open(NULL);
	scenario_conditions(o);
	json_number("policy_milliseconds", (double)policy / 1e6);
	json_number("worker_milliseconds", (double)worker / 1e6);
	json_number("first_packets_milliseconds", (double)first / 1e6);
	json_number("all_milliseconds", (double)(policy + worker + first) / 1e6);
	json_close();
	json_finish();
	engine.close(engine.worker);
	world_close(&world);
}
