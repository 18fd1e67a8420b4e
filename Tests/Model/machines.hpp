// SPDX-License-Identifier: Apache-2.0
// A host whose frames are offered one by one: what is sent, and that everything is counted once. See machines.cpp.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>

#include "fixture.hpp"
#include "report.hpp"

namespace machines {

using namespace fixture;
using model::Frame;

constexpr Mac dynamic_mac = 0x600060000155, away_mac = 0x600060000166, stranger_mac = 0x600060000177;
constexpr Ip dynamic_ip = ip(10, 0, 1, 55), away_ip = ip(10, 0, 1, 66), nobody_ip = ip(10, 0, 1, 77);
constexpr Ip outside_ip = ip(8, 8, 8, 8), any = ip(0, 0, 0, 0);
constexpr Ip other_pa = ip(192, 168, 0, 44), third_pa = ip(192, 168, 0, 11);
constexpr Mac other_pa_mac = 0x44556677889A, third_pa_mac = 0x44556677889B;

inline std::string here;

inline void expect(bool condition, const std::string &what) { report::check(condition, here + ": " + what); }
inline void expect_equal(std::uint64_t got, std::uint64_t want, const std::string &what)
{
	expect(got == want, what + ": expected " + std::to_string(want) + ", got " + std::to_string(got));
}

class Machines : public Host {
public:
	std::uint32_t dynamic_port = 0;

	explicit Machines(std::uint32_t learn_rate = 0, std::uint32_t limit = 0, std::uint32_t flags = 0)
	{
		opts.learn_rate = learn_rate;
		opts.flags = flags;
		open_with_policy();
		struct apus_port_params port = objects::port({true, false, subnet1, dynamic_mac, 1500});
		port.dynamic_address_limit = limit;
		MUST(apus_port_add(dataplane, &port, &dynamic_port));
	}

	int put(int (*verb)(struct apus_dataplane *, const struct apus_lookup_record *), Vsid vsid, Ip ca, Mac mac, Ip pa, unsigned type,
		unsigned flags = 0, unsigned rule = APUS_RULE_ENCAP)
	{
		struct apus_lookup_record record = objects::record({vsid, ca}, {mac, static_cast<std::uint8_t>(rule), static_cast<std::uint8_t>(type), pa});
		record.flags = flags;
		return verb(dataplane, &record);
	}
	void add(Vsid vsid, Ip ca, Mac mac, Ip pa, unsigned type, unsigned flags = 0, unsigned rule = APUS_RULE_ENCAP)
	{
		must(put(apus_lookup_record_add, vsid, ca, mac, pa, type, flags, rule), "add");
	}
	void set(Vsid vsid, Ip ca, Mac mac, Ip pa, unsigned type, unsigned flags = 0)
	{
		must(put(apus_lookup_record_set, vsid, ca, mac, pa, type, flags), "set");
	}
	void l2_only(Mac mac, Ip pa, Vsid vsid = subnet1) { add(vsid, any, mac, pa, APUS_RECORD_L2_ONLY); }
	void wildcard(Mac mac, Ip pa, Vsid vsid = subnet1) { add(vsid, any, mac, pa, APUS_RECORD_GATEWAY_WILDCARD); }
	int get(Vsid vsid, Ip ca, Mac mac, struct apus_lookup_record *out)
	{
		*out = objects::record({vsid, ca}, {mac, 0, 0, any});
		return apus_lookup_record_get(dataplane, out);
	}

	std::vector<struct apus_event> poll(std::uint32_t count = 64)
	{
		std::vector<struct apus_event> events(count);
		APUS_INIT(&events[0]);
		const int n = apus_event_poll(dataplane, events.data(), count);
		must(n, "apus_event_poll");
		events.resize(static_cast<std::size_t>(n));
		return events;
	}
	struct apus_stats totals()
	{
		struct apus_stats out;
		APUS_INIT(&out);
		must(apus_stats_get(dataplane, &out), "apus_stats_get");
		return out;
	}
	/// The accounts balance after everything.
	void balance()
	{
		const auto s = totals();
		expect_equal(s.received + s.generated, s.transmitted + s.consumed + s.dropped + s.held, "the accounts");
	}
	/// What is sent for a frame; `reason`: it is dropped for this.
	std::vector<Sent> offer(std::uint32_t port, const Bytes &bytes, unsigned reason = 0)
	{
		const auto before = totals();
		auto sent = send(port, bytes);
		const auto after = totals();
		for (unsigned i = 1; i < APUS_DROP_REASON_COUNT; i++)
			expect_equal(after.drops[i] - before.drops[i], i == reason ? 1 : 0, std::string("drops ") + apus_drop_reason_name(i));
		balance();
		return sent;
	}
	void refuse(std::uint32_t port, const Bytes &bytes, unsigned reason)
	{
		expect_equal(offer(port, bytes, reason).size(), 0, std::string("frames sent although ") + apus_drop_reason_name(reason));
	}
	/// A copy to another host is dropped, `others` frames are sent.
	void refuse_copy(std::uint32_t port, const Bytes &bytes, unsigned reason, std::size_t others)
	{
		expect_equal(offer(port, bytes, reason).size(), others, std::string("frames sent beside ") + apus_drop_reason_name(reason));
	}
	/// One frame, through this port.
	Bytes pass(std::uint32_t port, const Bytes &bytes, std::uint32_t egress)
	{
		const auto sent = offer(port, bytes);
		expect_equal(sent.size(), 1, "frames sent");
		if (sent.empty())
			return {};
		expect_equal(sent[0].port, egress, "egress port");
		return sent[0].bytes;
	}
	/// One frame, encapsulated to this address in this virtual subnet; the inner frame.
	Bytes tunnel(std::uint32_t port, const Bytes &bytes, Ip pa, Vsid vsid = subnet1)
	{
		return inside(pass(port, bytes, uplink), pa, vsid);
	}
	Bytes inside(const Bytes &frame, Ip pa, Vsid vsid = subnet1)
	{
		if (frame.size() < 56) {
			expect(false, "an NVGRE frame was expected");
			return Bytes(14);
		}
		expect(model::get32(frame, 30) == model::get32(build::ipv4({}, to(pa), {}), 30), "outer destination");
		expect(model::get32(frame, 38) >> 8 == vsid, "VSID");
		return Bytes(frame.begin() + 42, frame.end());
	}
	static build::Ip4 to(Ip pa)
	{
		build::Ip4 out;
		out.destination = pa;
		return out;
	}
};

inline Bytes arp_request(Mac sender, Ip from, Ip target) { return build::arp({broadcast, sender, 0, model::type_arp}, {1, sender, from, 0, target}); }
inline Bytes arp_reply(Mac sender, Ip from, Mac asker, Ip asker_ip)
{
	return build::arp({asker, sender, 0, model::type_arp}, {2, sender, from, asker, asker_ip});
}
inline Bytes tunnelled_from(Ip pa, const Bytes &inner, Vsid vsid = subnet1)
{
	auto outer = outer_ip();
	outer.source = pa;
	return build::nvgre(outer_ethernet(), outer, vsid, 0x42, inner);
}

struct Case {
	const char *name;
	void (*run)(Machines &);
	std::uint32_t learn_rate;
	std::uint32_t limit;
	std::uint32_t flags = 0;  // of the dataplane
};

extern const std::vector<Case> machine_cases, broadcast_cases;

/// Run every case on a host of its own. @return everything that was counted
inline struct apus_stats run(const std::vector<Case> &cases)
{
	struct apus_stats sum = {};
	for (const Case &one : cases) {
		here = one.name;
		Machines host(one.learn_rate, one.limit, one.flags);
		one.run(host);
		host.balance();
		expect(host.buffers.take_error().empty(), "buffers");
		const struct apus_stats counted = host.totals();
		for (std::size_t i = 0; i < (sizeof(sum) - offsetof(struct apus_stats, received)) / sizeof(std::uint64_t); i++)
			(&sum.received)[i] += (&counted.received)[i];
	}
	return sum;
}

}  // namespace machines
