// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md section 9: what leaves the VM network through an external port, and what comes in.
#pragma once

#include "verdict.hpp"

namespace model {

/// Section 9.1, steps 1 and 2. `frame` is the customer's; `tunnel`: where it came from, if it came through one.
Verdict leave_through(const Policy &policy, std::uint32_t external, Bytes frame, const IpPacket &ip, const std::optional<Tunnel> &tunnel = std::nullopt);

/// Section 9.2 for a frame without its tag that is neither ARP nor neighbour discovery.
Verdict from_outside(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame);
/// From step 5 on.
Verdict go_inside(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame);

}  // namespace model
