// SPDX-License-Identifier: Apache-2.0
// What a side of the pipeline decides about one frame, before anything is counted or sent.
#pragma once

#include "path_mtu.hpp"

namespace model {

using Reason = enum apus_drop_reason;

/// A machine says that it has an address.
struct Seen {
	Vsid vsid = 0;
	Ip ip = 0;
	Mac mac = 0;
	Ip provider_address = 0;
};

/// What an UNREACHABLE (4.4) about a packet is made of.
struct Complaint {
	Ip to = 0;
	Vsid vsid = 0;
	Mac to_mac = 0, from_mac = 0;
	Ip ours = 0;         // to which the packet went
	Bytes packet;        // from its GRE header on
	std::size_t at = 0;  // where that is in the frame
};

/// To whom a packet went that somebody complains about.
struct About {
	Ip ip = 0;
	Mac mac = 0;
};

/// The outer headers of a packet that came out of a tunnel and has not lost its marks to the inner one yet (4.15).
struct Tunnel {
	std::uint8_t tos = 0;
	bool is_uniform = false;  // the peer's `dscp_mode`
	std::size_t outer = 0;    // bytes
};

struct Verdict {
	enum class Kind {
		drop,         ///< with `reason`
		deliver,      ///< `bytes` to the vm port `port`
		rewrite,      ///< `bytes` to the provider address `remote`, which and `source_pa` replace the addresses
		encapsulate,  ///< `bytes` to the provider address `remote` with VSID `vsid`
		answer,       ///< `bytes` back to where the frame came from, in its buffer
		reply,        ///< the same in a buffer of its own
		consume,      ///< did its work here
		leave,        ///< `bytes` through the external port `gateway`, to the next hop `remote`
		flood         ///< `bytes` to every other vm port of the virtual subnet; `work` is counted for each
	};
	enum class Work { none, switched, routed, decapsulated, rewritten, arp_reply, echo_reply, router_advertisement };

	Kind kind = Kind::drop;
	Reason reason = APUS_DROP_FRAME_INVALID;
	Bytes bytes;
	std::uint32_t port = 0;
	Ip remote = 0;
	Vsid vsid = 0;
	Ip source_pa = 0;
	std::optional<Ip> sender;       ///< section 5: where other hosts expect it from
	std::optional<Mac> source_mac;  ///< of a rewritten frame, if it is not that of the provider address
	std::uint8_t flow_id = 0;
	Work work = Work::none;
	std::optional<TooBig> too_big;  ///< what is learned from it
	std::size_t outer = 0;  ///< bytes of outer headers that were before `bytes`
	std::vector<Ip> hosts;             ///< to flood: provider addresses that get `copy`, in order
	Bytes copy;                        ///< what goes there
	std::optional<Ip> group;           ///< or to this address, once
	std::uint64_t copy_rate = 10'000;  ///< copies to other hosts in a second
	bool whole = false;                ///< to flood: only if the frame is contiguous; consumed where nobody is there
	std::vector<Seen> seen;            ///< what is learned from the frame
	std::uint32_t control = 0;  ///< the event of a control message of another host
	Ip told = 0;                ///< where its machine is now
	std::optional<About> about;  ///< and which machine that is
	std::optional<Complaint> complaint;  ///< to a drop
	std::uint32_t gateway = 0;     ///< the external port through which it leaves, or would
	std::uint32_t entered = 0;     ///< the external port through which it came in; its drops count there
	std::optional<Tunnel> tunnel;  ///< to `gateway`, through a tunnel
	bool routed = false;  ///< the distributed router forwarded it
	bool is_ip = true;    ///< to encapsulate: else ARP or neighbour discovery, of which nothing is known outside

	static Verdict drop(Reason reason)
	{
		Verdict verdict;
		verdict.reason = reason;
		return verdict;
	}
	static Verdict consume()
	{
		Verdict verdict;
		verdict.kind = Kind::consume;
		return verdict;
	}
	static Verdict answer(Bytes bytes, Work work)
	{
		Verdict verdict;
		verdict.kind = Kind::answer;
		verdict.bytes = std::move(bytes);
		verdict.work = work;
		return verdict;
	}
	static Verdict reply(Bytes bytes, Work work)
	{
		Verdict verdict = answer(std::move(bytes), work);
		verdict.kind = Kind::reply;
		return verdict;
	}
	static Verdict deliver(Bytes bytes, std::uint32_t port, Work work)
	{
		Verdict verdict;
		verdict.kind = Kind::deliver;
		verdict.bytes = std::move(bytes);
		verdict.port = port;
		verdict.work = work;
		return verdict;
	}
};

}  // namespace model
