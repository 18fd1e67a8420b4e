// SPDX-License-Identifier: Apache-2.0
// One call of apus_worker_process(); for the model's own files.
#pragma once

#include "model.hpp"

namespace model {

struct Model::Burst {
	Worker &worker;
	std::uint64_t now;
	Result result;
	Neighbours::Send send_request;
	Ip waited_for = 0;  // the next hop for which the packet that is decided again has waited until now
	bool explains = false;  // nothing that workers share is noticed
	struct apus_stats &stats() { return worker.stats_; }
};

}  // namespace model
