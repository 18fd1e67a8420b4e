// SPDX-License-Identifier: Apache-2.0
// Wrong threads: a second one inside a worker or a control call, and callbacks that call the library.
#pragma once

#include <atomic>

#include "misuse_calls.hpp"

namespace misuse {

using fixture::subnet1;
using report::check;
using report::text;

inline struct apus_lookup_record a_record(unsigned number)
{
	return objects::record({subnet1, fixture::ip(10, 0, 1, 60) + number},
			       {model::Mac{0x600060000160} + number, APUS_RULE_ENCAP, APUS_RECORD_STATIC, fixture::remote_pa});
}

inline bool has(Bench &bench, struct apus_lookup_record record) { return apus_lookup_record_get(bench.dataplane, &record) == APUS_OK; }

/// error.h: APUS_ERR_STALLED means that the change is published. Every other error means that nothing changed.
inline void published_as_answered(Bench &bench, const struct apus_lookup_record &record, const std::string &what)
{
	const int result = apus_lookup_record_add(bench.dataplane, &record);
	check((result == APUS_OK || result == APUS_ERR_STALLED) == has(bench, record),
	      what + " answers " + apus_error_name(result) + " and is " + (has(bench, record) ? "" : "not ") + "made");
}

/// Another thread is inside the worker and does not leave.
inline void second_thread()
{
	{
		Bench bench;
		auto first = a_record(0);
		MUST(apus_lookup_record_add(bench.dataplane, &first));
		MUST(apus_lookup_record_remove(bench.dataplane, &first));
		Inside inside(bench);
		published_as_answered(bench, a_record(1), "a change that cannot wait for what was removed before");
	}
	Bench bench;
	auto first = a_record(0), second = a_record(1);
	MUST(apus_transaction_begin(bench.dataplane));
	MUST(apus_lookup_record_add(bench.dataplane, &first));
	Inside inside(bench);
	answers("a second thread calls apus_worker_process", process_one(bench.worker), {APUS_ERR_BUSY});
	answers("... with nothing", apus_worker_process(bench.worker, nullptr, 0, nullptr, 0, 0), {APUS_ERR_BUSY});
	answers("a second thread calls apus_worker_destroy", apus_worker_destroy(bench.worker), {APUS_ERR_BUSY});
	answers("a second thread calls apus_dataplane_destroy", apus_dataplane_destroy(bench.dataplane), {APUS_ERR_IN_USE, APUS_ERR_BUSY});
	answers("a second thread reads statistics", worker_stats(bench.worker), {APUS_OK});

	answers("commit: a worker stays inside", apus_transaction_commit(bench.dataplane), {APUS_ERR_STALLED});
	says("commit: a worker stays inside", apus_dataplane_error_text(bench.dataplane), {"published", "apus_dataplane_synchronize"});
	check(has(bench, first), "APUS_ERR_STALLED: the change is published");
	answers("commit: it is over", apus_transaction_commit(bench.dataplane), {APUS_ERR_TRANSACTION});
	answers("synchronize: still", apus_dataplane_synchronize(bench.dataplane), {APUS_ERR_STALLED});
	published_as_answered(bench, second, "a change while the last one is not settled");
	const int begun = apus_transaction_begin(bench.dataplane);
	answers("begin while the last change is not settled", begun, {APUS_OK, APUS_ERR_BUSY});
	if (begun == APUS_OK)
		apus_transaction_abort(bench.dataplane);
	inside.leave();
	answers("synchronize: the worker has left", apus_dataplane_synchronize(bench.dataplane), {APUS_OK});
	answers("synchronize: nothing to do", apus_dataplane_synchronize(bench.dataplane), {APUS_OK});
	report::equal(bench.last_result, 0, "the burst that was held up");
	bench.flows("after a second thread");
}

/// A worker uses a flow while a transaction is published that changes many records, that of the flow last: no burst that begins after the
/// commit knows the old one.
inline void publication()
{
	constexpr unsigned others = 3000, rounds = 40;
	Bench bench;
	const fixture::Ip second_pa = fixture::ip(192, 168, 0, 44);
	bench.add_neighbor(second_pa, fixture::remote_pa_mac);
	const auto other = [](unsigned i) { return fixture::ip(10, 77, i >> 8, i & 255); };
	const auto set = [&](const fixture::Ip &ca, model::Mac mac, const fixture::Ip &pa, bool is_new) {
		const auto object = objects::record({subnet1, ca}, {mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, pa});
		MUST(is_new ? apus_lookup_record_add(bench.dataplane, &object) : apus_lookup_record_set(bench.dataplane, &object));
	};
	// Both hosts are known before and after each change.
	MUST(apus_transaction_begin(bench.dataplane));
	for (unsigned i = 0; i < others; i++)
		set(other(i), model::Mac{0x600061000000} + i, i % 2 == 0 ? second_pa : fixture::remote_pa, true);
	MUST(apus_transaction_commit(bench.dataplane));
	// The last byte of the provider address that is right; 0 while it changes.
	std::atomic<unsigned> expected{33}, bursts{0}, wrong{0};
	std::atomic<bool> is_over{false};
	std::thread worker([&] {
		while (!is_over) {
			const unsigned host = expected;
			const auto sent = bench.send(bench.vm1, fixture::vm1_to_remote1());
			if (sent.size() != 1 || (host != 0 && host == expected && sent[0].bytes[33] != host))
				wrong++;
			bursts++;
		}
	});
	const auto wait = [&] {
		for (const unsigned begin = bursts; bursts - begin < 4;)
			std::this_thread::yield();
	};
	for (unsigned round = 0; round < rounds; round++) {
		wait();
		expected = 0;
		wait();
		const fixture::Ip &pa = round % 2 == 0 ? second_pa : fixture::remote_pa;
		MUST(apus_transaction_begin(bench.dataplane));
		for (unsigned i = 0; i < others; i++)
			set(other(i), model::Mac{0x600061000000} + i, i % 2 == 0 ? second_pa : fixture::remote_pa, false);
		set(fixture::remote1_ip, fixture::remote1_mac, pa, false);
		MUST(apus_transaction_commit(bench.dataplane));
		expected = round % 2 == 0 ? 44 : 33;
	}
	wait();
	is_over = true;
	worker.join();
	report::equal(wrong.load(), 0, "bursts that know an old record after a commit");
}

/// While a control call waits for a worker, every other one is refused; here from its own `wait` callback.
inline void inside_wait()
{
	Bench bench;
	const auto calls = control_calls(bench);
	Inside inside(bench);
	const std::uint64_t held = apus_dataplane_memory(bench.dataplane);
	bool was_inside = false;
	bench.in_wait = [&] {
		if (was_inside)
			return std::this_thread::yield();
		was_inside = true;
		for (const Control &control : calls)
			answers(control.function + " from inside `wait`", control.call(bench.dataplane), {APUS_ERR_BUSY});
		answers("apus_worker_destroy from inside `wait`", apus_worker_destroy(bench.worker), {APUS_ERR_BUSY});
		answers("apus_worker_stats_get from inside `wait`", worker_stats(bench.worker), {APUS_OK});
		check(apus_dataplane_memory(bench.dataplane) >= held, "apus_dataplane_memory from inside `wait`");
		std::thread([&] {
			for (const Control &control : calls)
				answers(control.function + " from a second thread", control.call(bench.dataplane), {APUS_ERR_BUSY});
		}).join();
		inside.leave();
	};
	const auto record = a_record(0);
	answers("a change that waits for a worker", apus_lookup_record_add(bench.dataplane, &record), {APUS_OK});
	check(was_inside && has(bench, record), "it was made, after waiting");
	MUST(apus_lookup_record_remove(bench.dataplane, &record));
	bench.in_wait = nullptr;
	bench.flows("after calls from inside `wait`");
}

/// The callbacks of the worker must not call the library. When they do, they are told so.
inline void inside_callbacks()
{
	Bench bench;
	const auto calls = control_calls(bench);
	const auto record = a_record(0);
	int entered = 0;
	const auto call_back = [&](const char *where) {
		return [&, where] {
			const std::string name = std::string(" from inside ") + where;
			entered++;
			answers("apus_worker_process" + name, process_one(bench.worker), {APUS_ERR_BUSY});
			answers("apus_worker_destroy" + name, apus_worker_destroy(bench.worker), {APUS_ERR_BUSY});
			answers("apus_dataplane_destroy" + name, apus_dataplane_destroy(bench.dataplane), {APUS_ERR_IN_USE, APUS_ERR_BUSY});
			// A change cannot know on which thread the worker is that it waits for.
			answers("apus_lookup_record_add" + name, apus_lookup_record_add(bench.dataplane, &record), {APUS_ERR_BUSY, APUS_ERR_STALLED});
		};
	};
	const auto settle = [&] {
		answers("synchronize after a callback", apus_dataplane_synchronize(bench.dataplane), {APUS_OK});
		if (has(bench, record))
			MUST(apus_lookup_record_remove(bench.dataplane, &record));
	};
	bench.remove_neighbor(fixture::remote_pa);
	bench.in_allocate = call_back("allocate");
	report::equal(static_cast<std::int64_t>(bench.send(bench.vm1, fixture::vm1_to_remote1()).size()), 1,
		      "the next hop is asked for nevertheless");
	bench.in_allocate = nullptr;
	settle();
	bench.add_neighbor(fixture::remote_pa, fixture::remote_pa_mac);
	report::equal(static_cast<std::int64_t>(bench.process({}).size()), 1, "the packet that waited is sent");
	bench.in_release = call_back("release");
	check(bench.send(bench.vm1, dropped()).empty(), "the frame is dropped nevertheless");
	bench.in_release = nullptr;
	settle();
	report::equal(entered, 2, "both callbacks were called");

	// apus_worker_destroy() gives back what waits.
	bench.remove_neighbor(fixture::remote_pa);
	bench.send(bench.vm1, fixture::vm1_to_remote1());
	report::equal(static_cast<std::int64_t>(bench.buffers.away()), 1, "a packet waits");
	bench.in_release = [&] {
		entered++;
		for (const Control &control : calls)
			answers(control.function + " from inside release of apus_worker_destroy", control.call(bench.dataplane), {APUS_ERR_BUSY});
		answers("apus_worker_process of a worker that is being destroyed", process_one(bench.worker), {APUS_ERR_BUSY, APUS_ERR_STALE});
		answers("apus_worker_destroy of a worker that is being destroyed", apus_worker_destroy(bench.worker),
			{APUS_ERR_BUSY, APUS_ERR_STALE});
	};
	answers("apus_worker_destroy", apus_worker_destroy(bench.worker), {APUS_OK});
	bench.in_release = nullptr;
	report::equal(entered, 3, "the waiting packet was released");
	answers("apus_worker_process of a destroyed worker", process_one(bench.worker), {APUS_ERR_STALE});
	MUST(apus_worker_create(bench.dataplane, &bench.worker_opts, &bench.worker));
	bench.add_neighbor(fixture::remote_pa, fixture::remote_pa_mac);
	bench.flows("after calls from inside callbacks");
}

}  // namespace misuse
