// SPDX-License-Identifier: Apache-2.0
// Out of memory: a whole life of a dataplane, again and again, each time with another allocation that fails.
#pragma once

#include "misuse_external.hpp"

namespace misuse {

/// One call of the life. When it answers APUS_ERR_MEMORY nothing has changed, and it works the second time.
struct Step {
	std::string what;
	std::function<int(Bench &)> call;
	int objects = 0;  // how many more there are afterwards
};

constexpr unsigned crowd = 150;  // objects of a kind: enough for every table to grow several times

inline std::vector<Step> life()
{
	std::vector<Step> steps;
	const auto step = [&steps](const char *what, auto call, int objects = 0) { steps.push_back({what, call, objects}); };
	const auto with_record = [](unsigned i, model::Ip pa) {
		auto object = objects::record({fixture::subnet1, fixture::ip(10, 0, 1, 5) + i},
					      {model::Mac{0x600060001000} + i, APUS_RULE_ENCAP, APUS_RECORD_STATIC, pa});
		std::strcpy(object.vm_name, i % 2 == 0 ? "a name" : "");
		return object;
	};
	const auto remote = [](unsigned i) { return fixture::ip(192, 168, 0, 100) + i; };

	step("apus_dataplane_create", [](Bench &bench) {
		const int result = apus_dataplane_create(&bench.opts, &bench.dataplane);
		report::check(result >= 0 || bench.dataplane == nullptr, "apus_dataplane_create wrote *out although it failed");
		return result;
	});
	step("apus_worker_create", [](Bench &bench) {
		const int result = apus_worker_create(bench.dataplane, &bench.worker_opts, &bench.worker);
		report::check(result >= 0 || bench.worker == nullptr, "apus_worker_create wrote *out although it failed");
		return result;
	});
	const auto port = [&step](std::uint32_t Bench::*id, const model::Port &params) {
		step(
			"apus_port_add",
			[id, object = objects::port(params)](Bench &bench) { return apus_port_add(bench.dataplane, &object, &(bench.*id)); }, 1);
	};
	port(&Bench::uplink, {false, false, 0, 0, 1542});
	port(&Bench::vm1, {true, false, fixture::subnet1, fixture::vm1_mac, 1500});
	step("apus_provider_address_add", [](Bench &bench) {
		const auto object = objects::provider_address(fixture::our_pa, {bench.uplink, 24, 0, fixture::our_pa_mac});
		return apus_provider_address_add(bench.dataplane, &object);
	}, 1);
	step(
		"apus_customer_route_add",
		[object = objects::customer_route({fixture::tenant(1), fixture::subnet1, {fixture::ip(10, 0, 1, 0), 24}, 0}, 0)](Bench &bench) {
			return apus_customer_route_add(bench.dataplane, &object);
		},
		1);
	for (const auto &[ip, mac, pa] :
	     {std::tuple{fixture::vm1_ip, fixture::vm1_mac, fixture::our_pa}, {fixture::remote1_ip, fixture::remote1_mac, fixture::remote_pa}})
		step(
			"apus_lookup_record_add",
			[object = objects::record({fixture::subnet1, ip}, {mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, pa})](Bench &bench) {
				return apus_lookup_record_add(bench.dataplane, &object);
			},
			2);  // and a neighbour for its provider address
	step("apus_provider_peer_add", [object = objects::peer(fixture::remote_pa, {})](Bench &bench) {
		return apus_provider_peer_add(bench.dataplane, &object);
	});
	step("apus_provider_neighbor_add", [object = objects::neighbor(fixture::remote_pa, fixture::remote_pa_mac)](Bench &bench) {
		return apus_provider_neighbor_add(bench.dataplane, &object);
	});  // it was there, as a dynamic one

	// A crowd in one transaction, which a packet does not see; half of it changed, all of it removed again.
	step("apus_transaction_begin", [](Bench &bench) { return apus_transaction_begin(bench.dataplane); });
	for (unsigned i = 0; i < crowd; i++) {
		step("apus_lookup_record_add", [=](Bench &bench) {
			const auto object = with_record(i, remote(i));
			return apus_lookup_record_add(bench.dataplane, &object);
		}, 2);
		step(
			"apus_customer_route_add",
			[=](Bench &bench) {
				const auto object = objects::customer_route(
					{fixture::tenant(2), fixture::subnet2 + i, {fixture::ip(10, 0, 0, 0), 9 + i % 24}, 0}, i);
				return apus_customer_route_add(bench.dataplane, &object);
			},
			1);
		step(
			"apus_provider_route_add",
			[=](Bench &bench) {
				const auto object = objects::provider_route(
					{{fixture::ip(172, 16, 0, 0) + (i << 8), 24}, bench.uplink, fixture::our_pa + 1}, i);
				return apus_provider_route_add(bench.dataplane, &object);
			},
			i == 0 ? 2 : 1);  // all have one next hop
		step("apus_provider_address_add", [=](Bench &bench) {
			const auto object = objects::provider_address(fixture::ip(192, 168, 1, 1) + i, {bench.uplink, 24, 0, fixture::our_pa_mac});
			return apus_provider_address_add(bench.dataplane, &object);
		}, 1);
		step("apus_provider_neighbor_add", [=](Bench &bench) {
			const auto object = objects::neighbor(fixture::ip(192, 168, 2, 1) + i, model::Mac{0x445566000000} + i);
			return apus_provider_neighbor_add(bench.dataplane, &object);
		}, 1);
		step("apus_port_add", [=](Bench &bench) {
			const auto object = objects::port({true, false, fixture::subnet2 + i % 7, model::Mac{0x600060002000} + i, 1500});
			return apus_port_add(bench.dataplane, &object, &bench.vm2);
		}, 1);
	}
	step("apus_transaction_commit", [](Bench &bench) { return apus_transaction_commit(bench.dataplane); });
	for (unsigned i = 0; i < crowd; i += 10)
		step("apus_lookup_record_set", [=](Bench &bench) {
			auto object = with_record(i, remote(i + 1));
			std::strcpy(object.context, "set");
			return apus_lookup_record_set(bench.dataplane, &object);
		}, -1);  // nobody needs the old neighbour any more
	step("apus_port_set", [](Bench &bench) {
		const auto object = objects::port({true, true, fixture::subnet2 + 90, 0x600060003000, 1400});
		return apus_port_set(bench.dataplane, bench.vm2, &object);
	});
	step("apus_port_remove", [](Bench &bench) { return apus_port_remove(bench.dataplane, bench.vm2); }, -1);
	step("apus_port_add", [](Bench &bench) {
		const auto object = external_port(8100);
		return apus_port_add(bench.dataplane, &object, &bench.vm2);
	}, 2);  // and its next hop outside
	step("apus_port_set", [](Bench &bench) {
		const auto object = external_port(8101, 7);
		return apus_port_set(bench.dataplane, bench.vm2, &object);
	});
	step("apus_port_remove", [](Bench &bench) { return apus_port_remove(bench.dataplane, bench.vm2); }, -2);
	step("apus_transaction_begin", [](Bench &bench) { return apus_transaction_begin(bench.dataplane); });
	for (unsigned i = 0; i < crowd; i++) {
		step("apus_provider_neighbor_remove", [=](Bench &bench) {
			const auto object = objects::neighbor(fixture::ip(192, 168, 2, 1) + i, 0);
			return apus_provider_neighbor_remove(bench.dataplane, &object);
		}, -1);
		step("apus_provider_address_remove", [=](Bench &bench) {
			const auto object = objects::provider_address(fixture::ip(192, 168, 1, 1) + i, {});
			return apus_provider_address_remove(bench.dataplane, &object);
		}, -1);
	}
	step("apus_transaction_abort", [](Bench &bench) { return apus_transaction_abort(bench.dataplane); }, 2 * static_cast<int>(crowd));
	for (unsigned i = 1; i < crowd; i += 2)
		step("apus_provider_address_remove", [=](Bench &bench) {
			const auto object = objects::provider_address(fixture::ip(192, 168, 1, 1) + i, {});
			return apus_provider_address_remove(bench.dataplane, &object);
		}, -1);
	step("apus_worker_destroy", [](Bench &bench) {
		const int result = apus_worker_destroy(bench.worker);
		bench.worker = nullptr;
		return result;
	});
	step("apus_worker_create", [](Bench &bench) { return apus_worker_create(bench.dataplane, &bench.worker_opts, &bench.worker); });
	return steps;
}

inline int count_objects(Bench &bench)
{
	int objects = 0;
	const auto walk = [&objects](auto object, auto next) {
		std::uint64_t cursor = 0;
		APUS_INIT(&object);
		while (next(&cursor, &object) > 0)
			objects++;
	};
	std::uint32_t id;
	Dataplane *const dataplane = bench.dataplane;
	walk(apus_port_params{}, [&](auto *cursor, auto *out) { return apus_port_iterate(dataplane, cursor, &id, out); });
	walk(apus_lookup_record{}, [&](auto *cursor, auto *out) { return apus_lookup_record_iterate(dataplane, cursor, out); });
	walk(apus_customer_route{}, [&](auto *cursor, auto *out) { return apus_customer_route_iterate(dataplane, cursor, out); });
	walk(apus_provider_address{}, [&](auto *cursor, auto *out) { return apus_provider_address_iterate(dataplane, cursor, out); });
	walk(apus_provider_route{}, [&](auto *cursor, auto *out) { return apus_provider_route_iterate(dataplane, cursor, out); });
	walk(apus_provider_neighbor{}, [&](auto *cursor, auto *out) { return apus_provider_neighbor_iterate(dataplane, cursor, out); });
	return objects;
}

/// The whole life, in which allocation number `fail_at` fails (with `fail_on`: and those after it, until the call is
/// over). Answers whether there was such an allocation.
inline bool live(const std::vector<Step> &steps, std::uint64_t fail_at, bool fail_on)
{
	const std::string name = "allocation " + std::to_string(fail_at) + (fail_on ? " and the next ones fail" : " fails") + ": ";
	Memory memory;
	memory.fail_at = fail_at;
	memory.fail_on = fail_on;
	{
		Bench bench(false);
		bench.opts.allocator = memory.callbacks();
		bench.opts.expected_records = 1;
		bench.worker_opts.flow_capacity = 64;
		int objects = 0;
		for (const Step &step : steps) {
			const auto failures = memory.failures;
			int result = step.call(bench);
			if (memory.failures != failures) {
				memory.heal();
				// Room that was asked for in advance may be missing without harm.
				answers(name + step.what, result, {APUS_ERR_MEMORY, APUS_OK});
				if (result == APUS_ERR_MEMORY) {
					if (bench.dataplane != nullptr)
						says(name + step.what, apus_dataplane_error_text(bench.dataplane), {"memory"});
					report::equal(bench.dataplane == nullptr ? 0 : count_objects(bench), objects,
						      name + step.what + ": objects after the failure");
					result = step.call(bench);
				}
			}
			objects += step.objects;
			if (!answers(name + step.what + (memory.failures != 0 ? " (later or once more)" : ""), result, {APUS_OK}))
				break;
			if (memory.failures != failures || fail_at == 0)
				report::equal(count_objects(bench), objects, name + step.what + ": objects");
			report::check(apus_dataplane_memory(bench.dataplane) == memory.held,
				      name + step.what + ": apus_dataplane_memory() is what the allocator knows");
		}
		const auto calls = memory.calls;
		bench.flows(name + "at the end");
		report::check(memory.calls == calls, name + "apus_worker_process() never allocates");
		answers(name + "apus_worker_destroy", apus_worker_destroy(bench.worker), {APUS_OK});
		answers(name + "apus_dataplane_destroy", apus_dataplane_destroy(bench.dataplane), {APUS_OK});
		bench.worker = nullptr;
		bench.dataplane = nullptr;
	}
	report::equal(static_cast<std::int64_t>(memory.blocks()), 0, name + "blocks that did not come back");
	report::check(memory.error.empty(), name + memory.error);
	return memory.failures != 0;
}

inline void out_of_memory()
{
	const auto steps = life();
	live(steps, 0, false);
	for (bool fail_on : {false, true}) {
		std::uint64_t fail_at = 1;
		while (live(steps, fail_at, fail_on))
			fail_at++;
		std::printf("out of memory: %u calls, %llu allocations%s\n", static_cast<unsigned>(steps.size()),
			    static_cast<unsigned long long>(fail_at - 1), fail_on ? ", several at once" : "");
	}
}

/// Sizes that are allowed, and more than there is.
inline void too_much()
{
	Memory memory;
	memory.limit = 32u << 20;
	Bench bench(false);
	bench.opts.allocator = memory.callbacks();
	bench.opts.expected_records = 33554432;
	answers("expected_records 33554432", apus_dataplane_create(&bench.opts, &bench.dataplane), {APUS_ERR_MEMORY});
	report::check(bench.dataplane == nullptr && memory.held == 0, "a dataplane that is too large leaves nothing behind");
	bench.opts.expected_records = 0;
	MUST(apus_dataplane_create(&bench.opts, &bench.dataplane));
	const auto held = memory.held;
	struct apus_worker_opts opts = bench.worker_opts;
	opts.flow_capacity = 16777216;
	answers("flow_capacity 16777216", apus_worker_create(bench.dataplane, &opts, &bench.worker), {APUS_ERR_MEMORY});
	says("flow_capacity 16777216", apus_dataplane_error_text(bench.dataplane), any_text);
	report::check(bench.worker == nullptr && memory.held == held, "a worker that is too large leaves nothing behind");
	opts.flow_capacity = 64;
	opts.held_capacity = 1024;
	answers("held_capacity 1024", apus_worker_create(bench.dataplane, &opts, &bench.worker), {APUS_OK, APUS_ERR_MEMORY});
	apus_worker_destroy(bench.worker);
	apus_dataplane_destroy(bench.dataplane);
	bench.worker = nullptr;
	bench.dataplane = nullptr;
	report::check(memory.held == 0 && memory.error.empty(), "all memory came back: " + memory.error);
}

}  // namespace misuse
