// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md sections 2, 2.1, 2.2, 3, 3.1 and 6: a frame from a virtual machine.
#pragma once

#include <optional>

#include "verdict.hpp"

namespace model {

Verdict from_vm(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame);

/// Section 2.2 from step 3 on, for a packet that came in through an external port.
Verdict route_from_outside(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame, const IpPacket &ip);
/// 2.2.3
bool is_echo_request(const Bytes &frame, const IpPacket &ip);
/// Section 6.
Verdict answer_echo(Bytes frame, const IpPacket &ip);

/// docs/pipeline.md section 7: the message to the sender of `frame`, which was dropped for `reason`; nothing where none is due.
/// `contiguous`: bytes of the frame, as it came, that are in memory. `mtu`: of the tunnel, for customers' packets.
std::optional<Bytes> icmp_error(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame, std::size_t contiguous,
				Reason reason, std::size_t mtu);

/// The same about a packet that came in or leaves through an external port: from its address, without Ethernet header. `frame` has no tag, and `visible`
/// bytes that are looked at.
std::optional<Bytes> icmp_error_outside(const Policy &policy, const Settings &settings, std::uint32_t external, const Bytes &frame, std::size_t visible,
					std::size_t contiguous, Reason reason, std::size_t mtu);

/// Section 2.4: the Ethernet frames of the fragments of `frame`; none when it cannot be fragmented.
std::vector<Bytes> fragments_of(const Bytes &frame, std::size_t contiguous, std::size_t mtu);

}  // namespace model
