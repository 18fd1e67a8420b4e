// SPDX-License-Identifier: Apache-2.0
// What cases about our own provider addresses and about messages between hosts are made of. docs/pipeline.md 4.4 and 5.4.
#pragma once

#include "trial.hpp"

namespace hosts {

using namespace trial;
using Event = struct apus_event;

constexpr Mac stranger_pa_mac = 0x4455667788EE, second_pa_mac = 0x324455667799;
constexpr Ip second_pa = ip(192, 168, 0, 23), moved_pa = ip(192, 168, 0, 99);
constexpr Ip moved_pa6 = ip6(site, 0x99);
constexpr std::uint32_t detect = APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES;
constexpr std::uint64_t retry = second;  // the default

inline struct apus_provider_address address(const Trial &t, const Ip &pa, Mac mac = our_pa_mac, std::uint32_t state = 0, std::uint32_t flags = 0,
					     std::uint16_t vlan = 0)
{
	auto object = objects::provider_address(pa, {t.uplink, pa.is_v6() ? 64u : 24u, vlan, mac});
	object.state = static_cast<std::uint8_t>(state);
	object.flags = flags;
	return object;
}
inline void set(Trial &t, const Ip &pa, std::uint32_t state, std::uint32_t flags = 0, Mac mac = our_pa_mac, std::uint16_t vlan = 0)
{
	const auto object = address(t, pa, mac, state, flags, vlan);
	MUST(apus_provider_address_set(t.dataplane, &object));
}
inline void add(Trial &t, const Ip &pa, Mac mac, std::uint32_t state, std::uint32_t flags = 0, std::uint16_t vlan = 0)
{
	const auto object = address(t, pa, mac, state, flags, vlan);
	MUST(apus_provider_address_add(t.dataplane, &object));
}
inline std::uint32_t state(const Trial &t, const Ip &pa)
{
	struct apus_provider_address object;
	APUS_INIT(&object);
	object.provider_address = objects::address(pa);
	MUST(apus_provider_address_get(t.dataplane, &object));
	return object.state;
}
inline std::vector<Event> poll(const Trial &t)
{
	std::vector<Event> events(64);
	APUS_INIT(&events[0]);
	const int count = apus_event_poll(t.dataplane, events.data(), static_cast<std::uint32_t>(events.size()));
	must(count, "apus_event_poll");
	events.resize(static_cast<std::size_t>(std::max(count, 0)));
	return events;
}
/// What would happen to a frame from a port.
inline struct apus_explanation explain(const Trial &t, std::uint32_t port, Bytes bytes)
{
	struct apus_frame frame = {};
	frame.data = bytes.data();
	frame.length = static_cast<std::uint32_t>(bytes.size());
	frame.contiguous = static_cast<std::uint16_t>(bytes.size());
	frame.port = port;
	struct apus_explanation explanation;
	APUS_INIT(&explanation);
	MUST(apus_explain(t.dataplane, &frame, t.now, &explanation, nullptr, 0));
	return explanation;
}
/// Time passes, then there is an empty burst.
inline std::vector<Sent> after(Trial &t, std::uint64_t nanoseconds)
{
	t.now += nanoseconds;
	return t.process({});
}
inline bool is(const struct apus_address &got, const Ip &want)
{
	const auto expected = objects::address(want);
	return std::memcmp(&got, &expected, sizeof(got)) == 0;
}
inline bool is_none(const struct apus_address &got)
{
	const struct apus_address none = {};
	return std::memcmp(&got, &none, sizeof(got)) == 0;
}
inline bool is(const struct apus_mac &got, Mac want)
{
	const auto expected = objects::mac(want);
	return std::memcmp(&got, &expected, sizeof(got)) == 0;
}

/// One event about a provider address.
inline void tells(Trial &t, std::uint32_t kind, const Ip &pa, Mac mac)
{
	const auto events = poll(t);
	t.check(events.size() == 1 && events[0].kind == kind, std::string("the event ") + apus_event_name(kind));
	if (events.size() == 1)
		t.check(events[0].port == t.uplink && events[0].virtual_subnet_id == 0 && is(events[0].provider_address, pa) && is(events[0].mac, mac) &&
				is_none(events[0].customer_address) && is_none(events[0].previous_provider_address),
			"what the event says");
}

// ---- frames

inline Bytes vlan_tagged(const Bytes &bytes, std::uint16_t vlan) { return vlan == 0 ? bytes : tagged(bytes, 1, 0x8100, vlan); }

/// An ARP frame of another machine, or of ours.
inline Bytes arp(Mac mac, const Ip &sender, const Ip &target, std::uint16_t operation = 1)
{
	return build::arp({broadcast, mac, 0, model::type_arp}, {operation, mac, sender, 0, target});
}
inline Bytes discovery(Mac mac, std::uint8_t type, std::uint8_t flags, const Ip &source, const Ip &destination, const Ip &target, const Bytes &options = {})
{
	build::Ip6 header;
	header.source = source;
	header.destination = destination;
	header.hop_limit = 255;
	header.next_header = 58;
	const Bytes message = build::icmpv6(type, 0, build::discovery_body(type, flags, target, options), source, destination);
	return build::ipv6({model::multicast_mac(destination), mac, 0, model::type_ipv6}, header, message);
}
/// What is sent for duplicate address detection.
inline Bytes probe(const Ip &pa, Mac mac)
{
	if (!pa.is_v6())
		return arp(mac, Ip(0), pa);
	return discovery(mac, model::nd_neighbour_solicitation, 0, Ip::unspecified(6), model::solicited_node(pa), pa);
}
inline Bytes announcement(const Ip &pa, Mac mac)
{
	if (!pa.is_v6())
		return arp(mac, pa, pa);
	return discovery(mac, model::nd_neighbour_advertisement, model::nd_override, pa, model::all_nodes(), pa,
			 build::mac_option(model::nd_target_option, mac));
}

/// A control message in the family of `teller`: `quoted` follows the 8 bytes of ICMP.
inline Bytes control(bool redirect, const Ip &teller, const Ip &to, const Bytes &quoted, Mac inner_mac = remote_pa_mac)
{
	Bytes body(4 + quoted.size());
	std::copy(quoted.begin(), quoted.end(), body.begin() + 4);
	if (teller.is_v6()) {
		build::Ip6 header;
		header.source = teller;
		header.destination = to;
		header.next_header = 58;
		header.hop_limit = 128;
		return build::ipv6({our_pa_mac, inner_mac, 0, model::type_ipv6}, header,
				   build::icmpv6(redirect ? 137 : 1, 1, body, teller, to));
	}
	Bytes message(8 + quoted.size());
	std::copy(quoted.begin(), quoted.end(), message.begin() + 8);
	model::put8(message, 0, redirect ? 5 : 3);
	model::put8(message, 1, 10);
	model::put16(message, 2, model::internet_checksum(message, 0, message.size()));
	build::Ip4 header;
	header.source = teller;
	header.destination = to;
	header.protocol = 1;
	header.ttl = 128;
	header.tos = 0xC0;
	header.identification = 0;
	return build::ipv4({our_pa_mac, inner_mac, 0, model::type_ipv4}, header, message);
}
inline Bytes quoted(const Bytes &inner, Vsid vsid = subnet1) { return build::gre(0x2000, model::type_bridging, vsid << 8 | 0x42, inner); }
inline Bytes redirect() { return control(true, remote_pa, moved_pa, quoted(vm1_to_remote1())); }
inline Bytes unreachable() { return control(false, remote_pa, our_pa, quoted(vm1_to_remote1())); }

extern const std::vector<DropCase> drop_cases;
extern const std::vector<CounterCase> counter_cases;

}  // namespace hosts
