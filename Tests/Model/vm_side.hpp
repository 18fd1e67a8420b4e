// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md sections 2, 2.1, 2.2, 3, 3.1 and 6: a frame from a virtual machine.
#pragma once

#include <optional>

#include "verdict.hpp"

namespace model {

Verdict from_vm(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame);

/// docs/pipeline.md section 7: the message to the sender of `frame`, which was dropped for `reason`; nothing where none is due.
/// `contiguous`: bytes of the frame, as it came, that are in memory. `mtu`: of the tunnel, for customers' packets.
std::optional<Bytes> icmp_error(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame, std::size_t contiguous,
				Reason reason, std::size_t mtu);

/// Section 2.4: the Ethernet frames of the fragments of `frame`; none when it cannot be fragmented.
std::vector<Bytes> fragments_of(const Bytes &frame, std::size_t contiguous, std::size_t mtu);

}  // namespace model
