// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md section 2.3: the bytes of the outer header.
#pragma once

#include "policy.hpp"

namespace model {

constexpr std::size_t tunnel_overhead = 42;  // 46 with an outer tag

/// The low byte of the GRE key, from the customer's packet `inner` (an Ethernet frame).
std::uint8_t flow_id(const Bytes &inner);

/// Outer header + `inner` without its Ethernet padding. `packet`: whose FlowID it gets, if `inner` is a fragment of that.
Bytes encapsulated(const Bytes &inner, const Settings &settings, const ProviderAddress &source, Ip source_address, Ip remote,
		   Mac next_hop, Vsid vsid, const Bytes *packet = nullptr);

}  // namespace model
