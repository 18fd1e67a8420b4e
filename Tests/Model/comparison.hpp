// SPDX-License-Identifier: Apache-2.0
// What the library did in one burst, against what the model says.
#pragma once

#include <map>
#include <string>

#include "buffers.hpp"

namespace comparison {

/// One dataplane with its workers and buffers, driven through the C contract.
struct Side {
	struct apus_dataplane *dataplane = nullptr;
	std::vector<struct apus_worker *> workers;
	host::Buffers buffers;
	/// How often what is in force has changed. A packet that waits for the next hop that an older policy gave it may be overtaken.
	std::uint64_t policy = 0;
	/// (worker, flow under one policy) -> highest id that was sent. What is promised is the order of a flow that keeps to one worker.
	std::map<std::pair<std::size_t, std::uint64_t>, std::uint64_t> last_of_flow;
	std::vector<struct apus_frame> in, out;  // kept for their memory
};

/// A number that is the same for frames of one flow that came under the same policy.
std::uint64_t flow_of(const model::Frame &frame, std::uint64_t policy);

/// Process `frames` on worker `worker` and compare outputs, released buffers, counters and identities.
/// @return "" when all is as expected, else what is not
std::string process_and_compare(Side &side, std::size_t worker, const std::vector<model::Frame> &frames, std::uint64_t now,
				const model::Result &expected, const struct apus_stats &expected_stats);

/// What the model counts, beside reasons for drops: not what depends on the flow cache.
struct Counter {
	const char *name;
	std::uint64_t apus_stats::*value;
};
extern const std::vector<Counter> counters;

std::string compare_stats(const struct apus_stats &got, const struct apus_stats &expected);

std::string hex(const std::uint8_t *bytes, std::size_t length);
inline std::string hex(const model::Bytes &bytes) { return hex(bytes.data(), bytes.size()); }

}  // namespace comparison
