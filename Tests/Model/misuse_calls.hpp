// SPDX-License-Identifier: Apache-2.0
// All kinds of policy objects, in both families, and a right call of every function.
#pragma once

#include "misuse_external.hpp"
#include "misuse_ipv6.hpp"
#include "misuse_subnets.hpp"

namespace misuse {

template <class Visit> void each_kind(Bench &bench, Visit visit)
{
	visit(ports(bench));
	visit(external_ports(bench));
	visit(virtual_subnets(bench));
	visit(records(bench));
	visit(customer_routes(bench));
	visit(provider_addresses(bench));
	visit(provider_routes(bench));
	visit(neighbors(bench));
	visit(peers(bench));
	visit(records6(bench));
	visit(customer_routes6(bench));
	visit(provider_addresses6(bench));
	visit(provider_routes6(bench));
	visit(neighbors6(bench));
	visit(peers6(bench));
}

// ---- right calls -----------------------------------------------------------------------------------------------------

/// A call that is right but for its dataplane.
struct Control {
	std::string function;
	std::function<int(Dataplane *)> call;
};

inline std::vector<Control> control_calls(Bench &bench)
{
	std::vector<Control> calls;
	each_kind(bench, [&calls](const auto &kind) {
		for (int verb = add; verb < verb_count; verb++)
			calls.push_back({kind.verbs[verb].function, [call = kind.verbs[verb].call, verb, kind](Dataplane *dataplane) {
						 auto object = verb == remove ? kind.missing : kind.present;
						 return call(dataplane, &object, verb == remove ? kind.missing_id : kind.present_id);
					 }});
	});
	calls.push_back({"apus_worker_create", [&bench](Dataplane *dataplane) {
				 Worker *worker = nullptr;
				 const int result = CALL(apus_worker_create, dataplane, &bench.worker_opts, &worker);
				 report::check(result >= 0 || worker == nullptr, "apus_worker_create wrote *out although it failed");
				 apus_worker_destroy(worker);
				 return result;
			 }});
	calls.push_back({"apus_explain", [](Dataplane *dataplane) {
				 struct apus_frame frame = {};  // of no port: explained too
				 struct apus_explanation explanation;
				 APUS_INIT(&explanation);
				 return CALL(apus_explain, dataplane, &frame, 0, &explanation, nullptr, 0);
			 }});
	calls.push_back({"apus_event_poll", [](Dataplane *dataplane) {
				 struct apus_event event;
				 APUS_INIT(&event);
				 return CALL(apus_event_poll, dataplane, &event, 1);
			 }});
	calls.push_back({"apus_stats_get", [](Dataplane *dataplane) {
				 struct apus_stats stats;
				 APUS_INIT(&stats);
				 return CALL(apus_stats_get, dataplane, &stats);
			 }});
	calls.push_back({"apus_port_stats_get", [&bench](Dataplane *dataplane) {
				 struct apus_port_stats stats;
				 APUS_INIT(&stats);
				 return CALL(apus_port_stats_get, dataplane, bench.vm1, &stats);
			 }});
	calls.push_back({"apus_transaction_begin", [](Dataplane *dataplane) { return CALL(apus_transaction_begin, dataplane); }});
	calls.push_back({"apus_transaction_commit", [](Dataplane *dataplane) { return CALL(apus_transaction_commit, dataplane); }});
	calls.push_back({"apus_transaction_abort", [](Dataplane *dataplane) { return CALL(apus_transaction_abort, dataplane); }});
	calls.push_back({"apus_dataplane_synchronize", [](Dataplane *dataplane) { return CALL(apus_dataplane_synchronize, dataplane); }});
	calls.push_back({"apus_dataplane_destroy", [](Dataplane *dataplane) { return CALL(apus_dataplane_destroy, dataplane); }});
	return calls;
}

/// A burst of one frame whose bytes nobody may touch.
inline int process_one(Worker *worker)
{
	struct apus_frame in = {}, out[2] = {};
	in.length = in.contiguous = 60;
	return CALL(apus_worker_process, worker, &in, 1, out, 2, fixture::second);
}

inline int worker_stats(Worker *worker)
{
	struct apus_stats stats;
	APUS_INIT(&stats);
	return CALL(apus_worker_stats_get, worker, &stats);
}

}  // namespace misuse
