// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md 5.3: what routers of the provider network say about packets that are too big. All workers of a
// dataplane share it.
#pragma once

#include "policy.hpp"

namespace model {

/// A message that section 5.3 is about, and is believed: what was too big, and how big it may be.
struct TooBig {
	Ip provider_address = 0;
	std::size_t mtu = 0;

	/// `ip`: the outer packet, to us; nothing for a message that is not believed.
	static std::optional<TooBig> parse(const Policy &policy, const Settings &settings, const Bytes &frame, const IpPacket &ip);
};

class PathMtus {
public:
	/// The largest outer packet that reaches the provider address through the port.
	std::size_t mtu(const Policy &policy, std::uint32_t port, Ip provider_address, std::uint64_t now) const;
	/// @return something was learned. `port`: the message came through it.
	bool learn(const Policy &policy, std::uint32_t port, const TooBig &message, std::uint64_t now);

	/// The policy in force is another one.
	void policy_changed(const Policy &policy);

private:
	struct Entry {
		std::size_t mtu = 0;
		std::uint64_t learned = 0;
	};
	std::map<Ip, Entry> entries_;
	std::set<Ip> static_;  // of the policy before
	std::map<Ip, std::uint64_t> neighbour_changes_;
};

}  // namespace model
