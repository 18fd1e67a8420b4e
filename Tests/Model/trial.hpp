// SPDX-License-Identifier: Apache-2.0
// What hand-written cases about drop reasons and counters stand on: a host whose every counter is looked at before and
// after, frames that are wrong in one way, and what a case is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <set>

#include "fixture.hpp"
#include "report.hpp"

namespace trial {

using namespace fixture;
using model::Frame;
using Reason = enum apus_drop_reason;
using Stats = struct apus_stats;
using PortStats = struct apus_port_stats;

// ---- the counters ----------------------------------------------------------------------------------------------------

template <class Struct> struct Field {
	const char *name;
	std::uint64_t Struct::*value;
};
template <class Struct> struct Move {
	std::uint64_t Struct::*counter;
	std::int64_t by;
};
using Moves = std::vector<Move<Stats>>;
using PortMoves = std::map<std::uint32_t, std::vector<Move<PortStats>>>;

#define FIELD(name) {#name, &Stats::name}
constexpr Field<Stats> counters[] = {
	FIELD(received), FIELD(transmitted), FIELD(generated), FIELD(consumed), FIELD(dropped), FIELD(held),
	FIELD(received_bytes), FIELD(transmitted_bytes), FIELD(encapsulated), FIELD(decapsulated), FIELD(switched), FIELD(rewritten), FIELD(routed),
	FIELD(flow_hits), FIELD(flow_misses), FIELD(flow_inserts), FIELD(flow_evictions), FIELD(flow_suppressed), FIELD(flow_entries),
	FIELD(arp_replies), FIELD(arp_requests), FIELD(echo_replies), FIELD(router_advertisements), FIELD(icmp_errors), FIELD(path_mtu_updates),
	FIELD(icmp_suppressed), FIELD(fragmented), FIELD(replicated), FIELD(learned), FIELD(learn_throttled), FIELD(events_lost),
	FIELD(address_probes), FIELD(address_conflicts), FIELD(control_messages), FIELD(unreachable_sent), FIELD(bursts),
};
#undef FIELD
#define FIELD(name) {#name, &PortStats::name}
constexpr Field<PortStats> port_counters[] = {
	FIELD(received), FIELD(received_bytes), FIELD(transmitted), FIELD(transmitted_bytes), FIELD(dropped),
};
#undef FIELD

// A counter that was added to a struct and not to its list does not compile.
static_assert(std::size(counters) == (offsetof(Stats, drops) - offsetof(Stats, received)) / sizeof(std::uint64_t));
static_assert(std::size(port_counters) == (sizeof(PortStats) - offsetof(PortStats, received)) / sizeof(std::uint64_t));

template <class Struct> std::int64_t moved_by(const std::vector<Move<Struct>> &moves, std::uint64_t Struct::*counter)
{
	std::int64_t sum = 0;
	for (const auto &move : moves)
		if (move.counter == counter)
			sum += move.by;
	return sum;
}
inline std::int64_t change(std::uint64_t before, std::uint64_t after) { return static_cast<std::int64_t>(after - before); }

inline Moves operator+(Moves a, const Moves &b)
{
	a.insert(a.end(), b.begin(), b.end());
	return a;
}
/// What each burst moves.
inline Moves burst(std::size_t in, std::size_t in_bytes, std::size_t out, std::size_t out_bytes)
{
	const auto number = [](std::size_t n) { return static_cast<std::int64_t>(n); };
	return {{&Stats::received, number(in)}, {&Stats::received_bytes, number(in_bytes)}, {&Stats::transmitted, number(out)},
		{&Stats::transmitted_bytes, number(out_bytes)}, {&Stats::bursts, 1}};
}
inline const std::set<std::string> flow_counters = {"flow_hits",      "flow_misses",     "flow_inserts",
					     "flow_evictions", "flow_suppressed", "flow_entries"};
inline const Moves new_flow = {{&Stats::flow_misses, 1}, {&Stats::flow_inserts, 1}, {&Stats::flow_entries, 1}};

// ---- a host under observation ----------------------------------------------------------------------------------------

class Trial : public Host {
public:
	const std::string name;
	const Reason reason;  // of every drop that this trial expects

	Trial(std::string its_name, Reason its_reason) : name(std::move(its_name)), reason(its_reason) {}

	/// Everything the dataplane counts, over all workers.
	Stats totals() const
	{
		Stats out;
		APUS_INIT(&out);
		must(apus_stats_get(dataplane, &out), "apus_stats_get");
		return out;
	}
	std::map<std::uint32_t, PortStats> port_totals() const
	{
		std::map<std::uint32_t, PortStats> out;
		std::uint64_t cursor = 0;
		std::uint32_t id = 0;
		struct apus_port_params port;
		APUS_INIT(&port);
		while (apus_port_iterate(dataplane, &cursor, &id, &port) == 1) {
			APUS_INIT(&out[id]);
			must(apus_port_stats_get(dataplane, id, &out[id]), "apus_port_stats_get");
		}
		return out;
	}

	std::vector<Sent> process(const std::vector<Frame> &frames, std::uint32_t room = 64)
	{
		auto sent = Host::process(frames, room);
		audit();
		return sent;
	}
	std::vector<Sent> send(std::uint32_t port, const Bytes &bytes) { return process({frame(port, bytes)}); }
	void idle() { process({}); }
	void destroy_worker()
	{
		MUST(apus_worker_destroy(worker));
		worker = nullptr;
		audit();
	}

	/// What still waits comes back with the worker.
	void finish()
	{
		if (worker != nullptr)
			destroy_worker();
		check(totals().held == 0 && totals().flow_entries == 0, "something is left of destroyed workers");
	}

	/// Remember the counters; the next moved() tells what changed since.
	void mark()
	{
		before_ = totals();
		ports_before_ = port_totals();
		buffers.released.clear();
	}
	/// The counters moved by exactly this since mark(), and no others but `open` ones; `drops` frames were dropped.
	void moved(const Moves &moves, std::int64_t drops = 0, const std::set<std::string> &open = {})
	{
		const Stats now_ = totals();
		for (const auto &[counter, value] : counters) {
			if (open.count(counter) != 0)
				continue;
			const std::int64_t expected = moved_by(moves, value) + (value == &Stats::dropped ? drops : 0);
			report::equal(change(before_.*value, now_.*value), expected, at(counter));
			if (expected != 0)
				seen_.insert(counter);
		}
		for (std::uint32_t i = 0; i < APUS_DROP_REASON_COUNT; i++) {
			const auto by = change(before_.drops[i], now_.drops[i]);
			if (i == reason || by != 0)
				report::equal(by, i == reason ? drops : 0, at("drops[") + apus_drop_reason_name(i) + "]");
		}
	}
	void ports_moved(const PortMoves &moves)
	{
		for (const auto &[port, now_] : port_totals())
			for (const auto &[counter, value] : port_counters) {
				const auto found = moves.find(port);
				const std::int64_t expected = found == moves.end() ? 0 : moved_by(found->second, value);
				report::equal(change(ports_before_[port].*value, now_.*value), expected,
					      at("port ") + std::to_string(port) + " " + counter);
				if (expected != 0)
					seen_.insert(std::string("port ") + counter);
			}
	}
	/// moved() said so of this counter.
	bool has_moved(const std::string &counter) const { return seen_.count(counter) != 0; }

	/// `wrong` is dropped for the reason: alone, and then twice in a burst, when the flow cache may know it.
	void drops(const char *what, const Frame &wrong)
	{
		step_ = what;
		for (const std::size_t count : {1u, 2u}) {
			mark();
			check(process(std::vector<Frame>(count, wrong)).empty(), "something was transmitted");
			const auto n = static_cast<std::int64_t>(count);
			moved(burst(count, count * wrong.length(), 0, 0), n, flow_counters);
			ports_moved({{wrong.port, {{&PortStats::received, n},
						   {&PortStats::received_bytes, n * wrong.length()},
						   {&PortStats::dropped, n}}}});
			check(buffers.released == std::vector<std::uint64_t>(count, wrong.id), "other buffers were released than the frame's");
		}
		step_.clear();
	}
	void drops(const char *what, std::uint32_t port, const Bytes &bytes) { drops(what, frame(port, bytes)); }
	void drops(std::uint32_t port, const Bytes &bytes) { drops("wrong", port, bytes); }

	/// `right` leaves through `egress`, and nothing else happens.
	void passes(const Frame &right, std::uint32_t egress)
	{
		step_ = "corrected twin";
		mark();
		const auto sent = process({right});
		check(sent.size() == 1 && sent[0].port == egress && sent[0].id == right.id, "it did not pass");
		const Stats after = totals();
		for (std::uint32_t i = 0; i < APUS_DROP_REASON_COUNT; i++)
			if (after.drops[i] != before_.drops[i])
				check(false, std::string("dropped: ") + apus_drop_reason_name(i));
		step_.clear();
	}
	void passes(std::uint32_t port, const Bytes &bytes, std::uint32_t egress) { passes(frame(port, bytes), egress); }

	/// `right` is answered in a buffer of its own, which goes back to where it came from. @return the answer
	Bytes replies(std::uint32_t port, const Bytes &right, std::uint64_t Stats::*counter = &Stats::arp_replies)
	{
		step_ = "corrected twin";
		mark();
		const Frame question = frame(port, right);
		const auto sent = process({question});
		const bool is_answered = sent.size() == 1 && sent[0].port == port && sent[0].id == model::new_buffer && sent[0].flags == APUS_FRAME_GENERATED;
		check(is_answered, "it was not answered");
		moved(burst(1, right.size(), sent.size(), is_answered ? sent[0].bytes.size() : 0) +
		      Moves{{&Stats::consumed, 1}, {&Stats::generated, 1}, {counter, 1}});
		check(buffers.released == std::vector<std::uint64_t>{question.id}, "other buffers were released than the question's");
		step_.clear();
		return is_answered ? sent[0].bytes : Bytes();
	}

	/// `frame` is consumed: an ARP frame that did its work.
	void consumes(std::uint32_t port, const Bytes &bytes)
	{
		step_ = "corrected twin";
		mark();
		process({frame(port, bytes)});
		moved(burst(1, bytes.size(), 0, 0) + Moves{{&Stats::consumed, 1}});
		step_.clear();
	}

	/// `frame` is a control message of another host, and reported.
	void consumes_control(std::uint32_t port, const Bytes &bytes)
	{
		step_ = "corrected twin";
		mark();
		process({frame(port, bytes)});
		moved(burst(1, bytes.size(), 0, 0) + Moves{{&Stats::consumed, 1}, {&Stats::control_messages, 1}}, 0, flow_counters);
		step_.clear();
	}

	void check(bool ok, const char *what) { report::check(ok, at(what)); }
	void check(bool ok, const std::string &what) { report::check(ok, at(what.c_str())); }

private:
	Stats before_ = {};
	std::map<std::uint32_t, PortStats> ports_before_;
	std::set<std::string> seen_;
	std::string step_;

	std::string at(const char *what) const { return name + (step_.empty() ? "" : ", " + step_) + ": " + what; }

	/// What holds between any two bursts.
	void audit()
	{
		const Stats now_ = totals();
		std::uint64_t sum = 0;
		for (const std::uint64_t drops : now_.drops)
			sum += drops;
		check(last_result >= 0, "apus_worker_process() failed");
		check(sum == now_.dropped, "dropped is not the sum of drops");
		check(now_.received + now_.generated == now_.transmitted + now_.consumed + sum + now_.held, "frames were lost or doubled");
		check(buffers.away() == now_.held, "buffers leaked");
		const std::string error = buffers.take_error();
		check(error.empty(), error);
	}
};

// ---- frames that are wrong -------------------------------------------------------------------------------------------

inline Bytes with8(Bytes bytes, std::size_t at, std::uint8_t value)
{
	model::put8(bytes, at, value);
	return bytes;
}
inline Bytes with16(Bytes bytes, std::size_t at, std::uint16_t value)
{
	model::put16(bytes, at, value);
	return bytes;
}
inline Bytes cut(Bytes bytes, std::size_t length)
{
	bytes.resize(length);
	return bytes;
}
inline Bytes padded(const Bytes &bytes, std::size_t by = 10) { return cut(bytes, bytes.size() + by); }
/// `count` 802.1Q tags behind the MAC addresses.
inline Bytes tagged(Bytes bytes, std::size_t count = 1, std::uint16_t type = 0x8100, std::uint16_t vlan = 7)
{
	for (std::size_t i = 0; i < count; i++) {
		bytes.insert(bytes.begin() + 12, 4, 0);
		model::put16(bytes, 12, type);
		model::put16(bytes, 14, vlan);
	}
	return bytes;
}

struct Variant {
	const char *what;
	Bytes bytes;
};

constexpr std::size_t ip_at = model::ethernet_size;
constexpr std::size_t gre_at = ip_at + 20;
constexpr Mac stranger_mac = 0x6000600001EE, group_mac = 0x01005E000001;
constexpr Ip stranger_ip = ip(10, 0, 1, 77);
constexpr Ip other_pa = ip(192, 168, 0, 44), far_pa = ip(10, 99, 0, 1);
constexpr Ip special_ips[] = {0, ip(127, 0, 0, 1), ip(224, 0, 0, 1), ip(239, 255, 255, 255), ip(240, 0, 0, 1), ip(255, 255, 255, 255)};

/// What makes an IPv4 header malformed. `good` is Ethernet + IPv4 without options.
inline std::vector<Variant> malformed_ip(const Bytes &good)
{
	const auto total = static_cast<std::uint16_t>(good.size() - ip_at);
	return {{"no IP header", cut(good, ip_at)},
		{"19 bytes", cut(good, ip_at + 19)},
		{"version 6", with8(good, ip_at, 0x65)},
		{"IHL 4", with8(good, ip_at, 0x44)},
		{"header beyond the frame", with8(cut(with16(good, ip_at + 2, 20), ip_at + 20), ip_at, 0x46)},
		{"total length beyond the frame", with16(good, ip_at + 2, static_cast<std::uint16_t>(total + 1))},
		{"total length below the header's", with16(good, ip_at + 2, 19)},
		{"total length 0", with16(good, ip_at + 2, 0)}};
}

/// What makes an ARP packet malformed.
inline std::vector<Variant> malformed_arp(const Bytes &good)
{
	return {{"no ARP packet", cut(good, ip_at)},
		{"27 bytes", cut(good, ip_at + 27)},
		{"hardware type", with16(good, ip_at, 6)},
		{"protocol", with16(good, ip_at + 2, 0x86DD)},
		{"hardware size", with8(good, ip_at + 4, 8)},
		{"protocol size", with8(good, ip_at + 5, 16)},
		{"operation 0", with16(good, ip_at + 6, 0)},
		{"operation 3", with16(good, ip_at + 6, 3)}};
}

inline Bytes vm_arp(Mac sender_mac, Ip sender, Ip target, std::uint16_t operation = 1)
{
	return build::arp({broadcast, vm1_mac, 0, model::type_arp}, {operation, sender_mac, sender, 0, target});
}
inline Bytes remote_arp(std::uint16_t operation, Ip target = our_pa)
{
	return build::arp({our_pa_mac, remote_pa_mac, 0, model::type_arp}, {operation, remote_pa_mac, remote_pa, our_pa_mac, target});
}
inline Bytes remote_answer() { return remote_arp(2); }

/// remote1_to_vm1() in a tunnel whose outer headers are edited before checksums are made.
template <class Edit> Bytes outer_edited(Edit edit)
{
	build::Ethernet ethernet = outer_ethernet();
	build::Ip4 outer = outer_ip();
	edit(ethernet, outer);
	return build::ipv4(ethernet, outer, build::gre(0x2000, model::type_bridging, subnet1 << 8 | 0x42, remote1_to_vm1()));
}
inline Bytes tunnel() { return tunnelled(remote1_to_vm1()); }
inline Bytes tunnel_from(Ip pa, const Bytes &inner, Vsid vsid = subnet1)
{
	build::Ip4 outer = outer_ip();
	outer.source = pa;
	return build::nvgre(outer_ethernet(), outer, vsid, 0x42, inner);
}
inline Bytes tunnel_to(Ip pa) { return outer_edited([pa](auto &, auto &outer) { outer.destination = pa; }); }
/// An outer packet that carries just `payload`.
inline Bytes outer_with(const Bytes &payload) { return build::ipv4(outer_ethernet(), outer_ip(), payload); }
inline Bytes gre_with(std::uint16_t flags, std::uint16_t type = model::type_bridging)
{
	return outer_with(build::gre(flags, type, subnet1 << 8 | 0x42, remote1_to_vm1()));
}

inline Bytes ping_edited(void (*edit)(build::Ip4 &, Bytes &))
{
	build::Ip4 header;
	header.source = vm1_ip;
	header.destination = gateway1;
	header.protocol = 1;
	Bytes message = build::icmp(8, 0, 7, 1, 24);
	edit(header, message);
	return build::ipv4({router_mac, vm1_mac, 0, model::type_ipv4}, header, message);
}

/// The ping passes the gateway: its answer comes back.
inline void gateway_answers(Trial &t) { t.passes(t.vm1, vm1_ping(gateway1), t.vm1); }

/// A second dataplane with other flags, for a twin that only they let pass.
inline void passes_with(const Trial &t, std::uint32_t flags, const Bytes &bytes)
{
	Trial other(t.name + " (flags)", t.reason);
	other.opts.flags = flags;
	other.open_with_policy();
	other.passes(other.uplink, bytes, other.vm1);
}

// ---- what a case is -------------------------------------------------------------------------------------------------

inline void without_icmp_errors(Trial &t) { t.opts.flags |= APUS_DATAPLANE_NO_ICMP_ERRORS; }

struct DropCase {
	Reason reason;
	const char *name;
	void (*run)(Trial &);
	void (*prepare)(Trial &) = nullptr;  // before the dataplane is made
};

struct CounterCase {
	const char *counter;  // "port received": of struct apus_port_stats
	const char *name;
	void (*run)(Trial &);
	void (*prepare)(Trial &) = nullptr;
	Reason reason = APUS_DROP_SOURCE_MAC;  // of the drops, if any
};

/// An ICMP error to the sender of a dropped packet.
inline const Moves told = {{&Stats::generated, 1}, {&Stats::icmp_errors, 1}};

}  // namespace trial
