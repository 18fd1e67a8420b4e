// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md section 2.3: the bytes of the outer header.
#pragma once

#include "policy.hpp"

namespace model {

/// Bytes of the outer headers, 4 more with an outer tag.
inline std::size_t tunnel_overhead(const Ip &remote, const Peer &peer)
{
	return (remote.is_v6() ? 62u : 42u) + (peer.is_vxlan() ? 8u : 0u);
}

/// The FlowID: entropy of the customer's packet `ip` in `inner` (an Ethernet frame).
std::uint8_t flow_id(const Bytes &inner, const IpPacket &ip);

/// Outer header + `inner` without its Ethernet padding. `its_flow_id`: if it is not that of `inner` itself. `is_ip`: else `inner`
/// is ARP or neighbour discovery, all of it.
Bytes encapsulated(const Bytes &inner, const Settings &settings, const ProviderAddress &source, Ip source_address, Ip remote,
		   Mac next_hop, Vsid vsid, std::optional<std::uint8_t> its_flow_id = std::nullopt, bool is_ip = true, const Peer &peer = {});

}  // namespace model
