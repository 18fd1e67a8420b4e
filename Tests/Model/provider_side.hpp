// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md section 4: a frame from the provider network, except ARP and neighbour discovery (neighbours.hpp).
#pragma once

#include "verdict.hpp"

namespace model {

/// An outer Ethernet header with at most one tag.
struct OuterEthernet {
	bool complete = false;
	std::size_t size = 0;
	std::uint16_t vlan = 0;
	std::uint16_t type = 0;
	static OuterEthernet parse(const Bytes &frame);
};

/// Step 3: whether a frame whose outer EtherType is IPv6 is neighbour discovery of the provider network.
bool is_provider_discovery(const OuterEthernet &ethernet, const Bytes &frame);

/// Section 4, step 15: what the outer header says goes into the inner one. False: the packet is dropped for `ECN`.
bool take_over_tos(Bytes &inner, const IpPacket &ip, const Tunnel &tunnel);

/// A frame whose outer EtherType is IPv4 or IPv6. `flags` are those of apus_frame.
Verdict from_provider(const Policy &policy, const Settings &settings, std::uint32_t port, const OuterEthernet &ethernet,
		      const Bytes &frame, std::uint32_t flags);

}  // namespace model
