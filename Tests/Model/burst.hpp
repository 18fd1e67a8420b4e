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
	std::optional<NextHop> waited_for = std::nullopt;  // the next hop for which the packet that is decided again has waited until now
	bool leaves = false;    // a packet left through an external port
	std::optional<Reason> dropped = std::nullopt;  // the frame that is explained, whatever is sent about it
	bool explains = false;  // nothing that workers share is noticed
	struct apus_stats &stats() { return worker.stats_; }
};

}  // namespace model
