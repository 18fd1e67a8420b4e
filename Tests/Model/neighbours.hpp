// SPDX-License-Identifier: Apache-2.0
// docs/pipeline.md sections 5, 5.1 and 5.2: what is known about the next hops of the provider network, and ARP and
// neighbour discovery there.
// All workers of a dataplane share this; the packets that wait are the worker's (model.hpp).
#pragma once

#include <functional>

#include "packet.hpp"
#include "provider_side.hpp"

namespace model {

struct Neighbour {
	enum class State { incomplete, reachable, probe, failed };
	State state = State::incomplete;
	Mac mac = 0;
	std::uint32_t asked_through = 0;  // port of the last request, and the VLAN
	std::uint16_t asked_vlan = 0;
	unsigned unanswered = 0;          // requests since the last answer
	std::uint64_t last_request = 0;
	std::uint64_t confirmed = 0;      // when it last answered
	std::uint64_t mac_changed = 0;    // when the MAC was last set
	std::uint64_t failed = 0;
	std::uint64_t forgotten = 0;      // how often before
	bool known() const { return state == State::reachable || state == State::probe; }
};

/// What a well-formed frame of the provider network says of an address: that `mac` has it, or (`is_probe`) wants to know who has it.
struct Claim {
	Ip address;
	Mac mac = 0;
	bool is_probe = false;
	static std::optional<Claim> parse(const OuterEthernet &ethernet, const Bytes &frame);
};

class Neighbours {
public:
	/// Sends a request: the bytes of the frame and its egress port.
	using Send = std::function<void(const Bytes &frame, std::uint32_t port)>;

	struct Resolution {
		enum class Kind { known, wait, failed } kind;
		Mac mac;
	};
	/// `again`: the packet is decided again and waits for this next hop already, and none is before it.
	/// `shut`: others fill it, and none is before this packet.
	enum class Queue { empty, again, waiting, full, shut };
	/// The MAC of the next hop of `path`, for a packet that would be sent now. Starts an attempt where that is due.
	/// `queue`: of the packets of the calling worker that wait for this next hop.
	Resolution resolve(const Policy &policy, const Settings &settings, const Path &path, Queue queue, std::uint64_t now,
			   const Send &send);

	/// Retries that are due. `waits`: how the first packet of the calling worker that waits for a next hop would go there.
	void tick(const Policy &policy, const Settings &settings, const std::function<const Path *(const NextHop &)> &waits, std::uint64_t now,
		  const Send &send);

	/// An ARP frame of the provider network. Answers, consumes or drops it; learns from it.
	Verdict arp(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const Bytes &frame,
		    std::uint64_t now);

	/// The same for a neighbour solicitation or advertisement.
	Verdict discovery(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const Bytes &frame,
			  std::uint64_t now);

	/// The same behind an external port (9.3). `ethernet` and `frame` are as they came.
	Verdict arp_outside(const Policy &policy, std::uint32_t external, const OuterEthernet &ethernet, const Bytes &frame, std::uint64_t now);
	/// `ip`: the packet without the frame's tag, `plain`.
	Verdict discovery_outside(const Policy &policy, std::uint32_t external, const OuterEthernet &ethernet, const Bytes &frame, const Bytes &plain,
				  const IpPacket &ip, std::uint64_t now);

	bool is_known(const Policy &policy, const NextHop &hop) const;
	/// Packets for it need not wait any more, one way or the other.
	bool is_settled(const Policy &policy, const NextHop &hop) const;

	/// What apus_provider_neighbor_get() tells; nothing when there is no such neighbour.
	std::optional<enum apus_neighbor_state> state(const Policy &policy, Ip ip) const;
	Mac known_mac(const Policy &policy, Ip ip) const;  // 0 while unknown

	/// The policy changed: entries that nothing needs any more go.
	void policy_changed(const Policy &policy);

private:
	std::map<NextHop, Neighbour> entries_;
	/// A frame from `mac` that came through `port` speaks for `ip`. `answers`: it answers a question of ours; `renews`: it
	/// counts for a neighbour that is known already.
	void learn(const Policy &policy, const NextHop &hop, Mac mac, std::uint32_t port, std::uint16_t vlan, bool answers, bool renews,
		   std::uint64_t now);
	void ask(const Policy &policy, Neighbour &neighbour, const Path &path, std::uint64_t now, const Send &send);
};

}  // namespace model
