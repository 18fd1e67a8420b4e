// SPDX-License-Identifier: Apache-2.0
// Drop reasons and counters of IPv6: those that only it has, and those whose cause is another one than in IPv4.
#include "drop_reasons.hpp"

namespace trial {

namespace {

using namespace model;  // the names of neighbour discovery

constexpr std::size_t overhead6 = 62;
constexpr Ip vm1_ll = link_local_of(vm1_mac), vm2_ll = link_local_of(vm2_mac), remote1_ll = link_local_of(remote1_mac);
constexpr Ip router_ll = link_local_of(router_mac);
constexpr Ip stranger_ip6 = ip6(net1, 77), other_pa6 = ip6(site, 0x44), far_pa6 = ip6(0x20010DB800990000, 1);
constexpr Ip all_routers = ip6(0xFF02000000000000, 2);
constexpr Ip special_ip6s[] = {ip6(0, 0), ip6(0, 1), ip6(0xFF02000000000000, 1), ip6(0xFF0E000000000000, 1), ip6(~0ull, ~0ull),
			       ip6(0, 0xFFFF0A000102)};

// ---- frames ----------------------------------------------------------------------------------------------------------

/// What makes an IPv6 header malformed. `good` is Ethernet + IPv6.
std::vector<Variant> malformed_ip6(const Bytes &good)
{
	const auto payload = static_cast<std::uint16_t>(good.size() - ip_at - 40);
	return {{"no IP header", cut(good, ip_at)},
		{"39 bytes", cut(good, ip_at + 39)},
		{"version 4", with8(good, ip_at, 0x45)},
		{"version 7", with8(good, ip_at, 0x70)},
		{"payload length beyond the frame", with16(good, ip_at + 4, static_cast<std::uint16_t>(payload + 1))},
		{"payload length 65535", with16(good, ip_at + 4, 65535)}};
}

/// vm1's packet to vm2 with extension headers before `payload`.
Bytes with_extensions(std::uint8_t first, const Bytes &headers, const Bytes &payload)
{
	build::Ip6 ip{vm1_ip6, vm2_ip6, 0, 0, 64, first};
	Bytes all = headers;
	all.insert(all.end(), payload.begin(), payload.end());
	return build::ipv6({vm2_mac, vm1_mac, 0, type_ipv6}, ip, all);
}
Bytes joined(const std::vector<Bytes> &parts)
{
	Bytes all;
	for (const Bytes &part : parts)
		all.insert(all.end(), part.begin(), part.end());
	return all;
}

Bytes ping6(const Ip &target, const Ip &source = vm1_ip6)
{
	build::Ip6 ip{source, target, 0, 0, 64, 58};
	return build::ipv6({router_mac, vm1_mac, 0, type_ipv6}, ip, build::icmpv6(128, 0, build::echo(7, 1, 24), source, target));
}

/// A message of neighbour discovery; everything about it is open to be made wrong.
struct Message {
	Mac from_mac = vm1_mac, to_mac = 0;
	Ip source = vm1_ip6, destination = Ip::unspecified(6);
	std::uint8_t type = nd_neighbour_solicitation, code = 0, flags = 0, hop_limit = 255;
	Ip target = gateway1_ip6;
	Bytes options = build::mac_option(nd_source_option, vm1_mac);
	std::size_t body_size = SIZE_MAX;   // of the message without type, code and checksum
	std::uint16_t checksum_error = 0;
	std::uint8_t first = 58;            // and extension headers
	Bytes extensions;

	Bytes frame() const
	{
		Ip to = destination;
		if (to.is_unspecified())
			to = type == nd_neighbour_solicitation ? solicited_node(target) : type == nd_router_solicitation ? all_routers : all_nodes();
		Bytes body = build::discovery_body(type, flags, target, options);
		body.resize(std::min(body.size(), body_size));
		Bytes message = build::icmpv6(type, code, body, source, to);
		put16(message, 2, static_cast<std::uint16_t>(get16(message, 2) ^ checksum_error));
		message.insert(message.begin(), extensions.begin(), extensions.end());
		return build::ipv6({to_mac != 0 ? to_mac : multicast_mac(to), from_mac, 0, type_ipv6}, {source, to, 0, 0, hop_limit, first}, message);
	}
};
template <class Edit> Bytes message(Edit edit)
{
	Message one;
	edit(one);
	return one.frame();
}
Bytes solicitation(const Ip &target) { return message([&](Message &one) { one.target = target; }); }
/// From the remote host, for our provider address.
Message remote_message()
{
	Message one;
	one.from_mac = remote_pa_mac;
	one.source = remote_pa6;
	one.target = our_pa6;
	one.options = build::mac_option(nd_source_option, remote_pa_mac);
	return one;
}
Message remote_advertisement(std::uint8_t flags = nd_solicited | nd_override)
{
	Message one = remote_message();
	one.type = nd_neighbour_advertisement;
	one.flags = flags;
	one.to_mac = our_pa_mac;
	one.destination = our_pa6;
	one.target = remote_pa6;
	one.options = build::mac_option(nd_target_option, remote_pa_mac);
	return one;
}

/// What is malformed on both sides: 3.1.1.
std::vector<Variant> malformed_messages(const Message &good)
{
	const auto edited = [&](auto edit) {
		Message one = good;
		edit(one);
		return one.frame();
	};
	const Bytes option = good.options;
	std::vector<Variant> variants = {
		{"hop limit 254", edited([](auto &one) { one.hop_limit = 254; })},
		{"hop limit 0", edited([](auto &one) { one.hop_limit = 0; })},
		{"code 1", edited([](auto &one) { one.code = 1; })},
		{"checksum", edited([](auto &one) { one.checksum_error = 1; })},
		{"checksum's first bit", edited([](auto &one) { one.checksum_error = 0x8000; })},
		{"23 bytes", edited([](auto &one) { one.body_size = 19; })},
		{"4 bytes", edited([](auto &one) { one.body_size = 0; })},
		{"one byte of an option", edited([](auto &one) { one.body_size = 21; })},
		{"seven bytes of an option", edited([](auto &one) { one.body_size = 27; })},
		{"option of length 0", edited([](auto &one) { one.options[1] = 0; })},
		{"option beyond the packet", edited([](auto &one) { one.options[1] = 2; })},
		{"second option of length 0", edited([&](auto &one) { one.options = joined({option, Bytes(8)}); })},
		{"147 bytes, ends in an option", edited([&](auto &one) {
			 one.options = joined({option, Bytes(72, 14)});
			 one.options[9] = 9;
			 one.options.push_back(0);
			 one.options.push_back(0);
			 one.options.push_back(0);
		 })},
		{"152 bytes", edited([&](auto &one) {
			 one.options = joined({option, Bytes(80, 14)});
			 one.options[9] = 10;
		 })},
	};
	for (const Ip &ip : special_ip6s) {
		variants.push_back({"target", edited([&](auto &one) { one.target = ip; })});
		if (!ip.is_unspecified())
			variants.push_back({"source", edited([&](auto &one) { one.source = ip; })});
	}
	return variants;
}

/// remote1_to_vm1_ip6() in a tunnel whose outer headers are edited.
template <class Edit> Bytes outer6_edited(Edit edit)
{
	build::Ethernet ethernet = outer_ethernet6();
	build::Ip6 outer = outer_ip6();
	edit(ethernet, outer);
	return build::ipv6(ethernet, outer, build::gre(0x2000, type_bridging, subnet1 << 8 | 0x42, remote1_to_vm1_ip6()));
}
Bytes tunnel6() { return tunnelled6(remote1_to_vm1_ip6()); }
Bytes outer6_with(std::uint8_t next_header, const Bytes &payload)
{
	build::Ip6 outer = outer_ip6();
	outer.next_header = next_header;
	return build::ipv6(outer_ethernet6(), outer, payload);
}

// ---- what answers look like ------------------------------------------------------------------------------------------

/// RFC 4861: it says that `mac` has `target`, to `asker` and its MAC.
void check_advertisement(Trial &t, const Bytes &frame, Mac mac, const Ip &target, Mac asker_mac, const Ip &asker, std::uint8_t flags)
{
	const auto ip = frame.size() == 86 ? IpPacket::parse(type_ipv6, frame, 14) : std::nullopt;
	const auto message = ip && is_discovery(frame, *ip) ? Discovery::parse(frame, *ip) : std::nullopt;
	t.check(message.has_value(), "no good neighbour advertisement of 86 bytes");
	if (!message)
		return;
	t.check(get_mac(frame, 0) == asker_mac && get_mac(frame, 6) == mac && get16(frame, 12) == type_ipv6, "its Ethernet header is wrong");
	t.check(ip->source == target && ip->destination == asker && ip->tos == 0 && get32(frame, 14) == 0x60000000, "its IP header is wrong");
	t.check(message->type == nd_neighbour_advertisement && message->flags == flags && message->target == target &&
			message->source_macs.empty() && message->target_macs == std::vector<Mac>{mac}, "its message is wrong");
}

/// RFC 4443: an error from `source` that quotes the packet as it was sent.
void check_error6(Trial &t, const std::vector<Sent> &sent, const Ip &source, const Ip &to, std::uint8_t type, std::uint32_t mtu, const Bytes &packet)
{
	const bool is_sent = sent.size() == 1 && sent[0].port == t.vm1 && sent[0].flags == APUS_FRAME_GENERATED;
	t.check(is_sent, "no error went to the sender");
	if (!is_sent)
		return;
	const Bytes &error = sent[0].bytes;
	const auto ip = IpPacket::parse(type_ipv6, error, 14);
	t.check(get_mac(error, 0) == vm1_mac && get_mac(error, 6) == router_mac && get16(error, 12) == type_ipv6, "its Ethernet header is wrong");
	t.check(ip && ip->source == source && ip->destination == to && ip->protocol == 58 && ip->ttl == 128 && ip->end() == error.size() &&
			get32(error, 14) == 0x60000000, "its IP header is wrong");
	t.check(error[54] == type && error[55] == 0 && get32(error, 58) == mtu && icmpv6_checksum(error, 54, error.size() - 54, source, to) == 0,
		"its ICMPv6 header is wrong");
	t.check(error.size() == std::min(packet.size(), std::size_t{14 + 1232}) + 48 &&
			std::equal(error.begin() + 62, error.end(), packet.begin() + 14), "what it quotes is not the packet");
}

/// A neighbour solicitation from our provider address.
void check_request(Trial &t, const Bytes &frame, Mac to_mac, const Ip &to)
{
	const auto ip = frame.size() == 86 ? IpPacket::parse(type_ipv6, frame, 14) : std::nullopt;
	const auto message = ip && is_discovery(frame, *ip) ? Discovery::parse(frame, *ip) : std::nullopt;
	t.check(message.has_value(), "no good neighbour solicitation of 86 bytes");
	if (!message)
		return;
	t.check(get_mac(frame, 0) == to_mac && get_mac(frame, 6) == our_pa_mac && ip->source == our_pa6 && ip->destination == to, "its addresses are wrong");
	t.check(message->type == nd_neighbour_solicitation && message->target == remote_pa6 && message->target_macs.empty() &&
			message->source_macs == std::vector<Mac>{our_pa_mac}, "its message is wrong");
}

void record_of(Trial &t, const Ip &ca, const Ip &pa) { t.add_record(subnet1, ca, stranger_mac, pa); }
Bytes to_stranger(const Ip &ca = stranger_ip6) { return udp6(stranger_mac, vm1_mac, vm1_ip6, ca); }
/// A packet of this size, DF set if it is IPv4.
Bytes sized(bool v6, std::size_t total)
{
	return v6 ? udp6(remote1_mac, vm1_mac, vm1_ip6, remote1_ip6, 64, 0, total - 44) : udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip, 64, 0, total - 24);
}

}  // namespace

// ---- drop reasons ----------------------------------------------------------------------------------------------------

const std::vector<DropCase> ipv6_drop_cases = {
	{APUS_DROP_NEW_FLOW_LIMIT, "not what was known when it was looked at, though it finds no place when it is decided anew", [](Trial &t) {
		constexpr unsigned others = 32;
		constexpr Ip next_pa = ip(192, 168, 0, 44);
		t.add_neighbor(next_pa, 0x445566778811);
		for (unsigned i = 0; i < others; i++) {
			t.add_record(subnet2, ip(10, 0, 2, 100 + i), 0x600060010000 + i, remote_pa);
			t.add_record(subnet2, ip6(net2, 100 + i), 0x600060020000 + i, remote_pa6);
		}
		// Two flows that have one transposition, and others that take all that are left of 64.
		const Bytes first = vm1_to_remote1(), second = with16(first, ip_at + 20, 1001);
		const auto send_all = [&] {
			t.check(t.send(t.vm1, first).size() == 1 && t.send(t.vm1, second).size() == 1, "two flows");
			for (unsigned i = 0; i < others; i++) {
				t.send(t.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(10, 0, 2, 100 + i)));
				t.send(t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, ip6(net2, 100 + i)));
			}
		};
		send_all();
		auto limited = objects::port({true, false, subnet1, vm1_mac, 1500});
		limited.new_flow_rate = 1;
		MUST(apus_port_set(t.dataplane, t.vm1, &limited));
		send_all();
		const Bytes placeless = udp6(router_mac, vm1_mac, vm1_ip6, ip6(net2, 100 + others - 1));
		for (unsigned i = 0; i < 1100; i++)
			t.send(t.vm1, placeless);
		t.drops("nothing is left to begin flows with", t.vm1, placeless);
		t.check(t.send(t.vm1, first).size() == 1 && t.send(t.vm1, second).size() == 1, "both are known");
		const auto moved = objects::record({subnet1, remote1_ip}, {remote1_mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, next_pa});
		MUST(apus_lookup_record_set(t.dataplane, &moved));
		t.check(t.process({t.frame(t.vm1, first), t.frame(t.vm1, first), t.frame(t.vm1, first)}).size() == 3, "three of a burst");
		t.drops("it has no place now", t.vm1, first);
	}, [](Trial &t) {
		t.worker_opts.flow_capacity = t.worker_opts.ipv6_flow_capacity = 64;
		t.opts.flags = APUS_DATAPLANE_NO_ICMP_ERRORS;
	}},
	{APUS_DROP_NO_HEADROOM, "outer IPv6", [](Trial &t) {
		Frame frame = t.frame(t.vm1, vm1_to_remote1_ip6());
		for (const std::uint32_t headroom : {0u, 42u, 61u}) {
			frame.headroom = headroom;
			t.drops("headroom", frame);
		}
		frame.headroom = 62;
		t.passes(frame, t.uplink);
		const auto vlan = objects::provider_address(our_pa6, {t.uplink, 64, 7, our_pa_mac});
		MUST(apus_provider_address_set(t.dataplane, &vlan));
		frame.headroom = 65;
		t.drops("65, tagged", frame);
		frame.headroom = 66;
		t.passes(frame, t.uplink);
	}},
	{APUS_DROP_NO_BUFFER, "for an answer to a solicitation", [](Trial &t) {
		t.buffers.refuse = true;
		for (const Bytes &frame : {solicitation(gateway1_ip6), message([](Message &one) { one.type = nd_router_solicitation; })}) {
			t.mark();
			t.check(t.send(t.vm1, frame).empty(), "something was sent");
			t.moved(burst(1, frame.size(), 0, 0) + Moves{{&Stats::consumed, 1}, {&Stats::generated, 1}}, 1);
			t.ports_moved({{t.vm1, {{&PortStats::received, 1}, {&PortStats::received_bytes, static_cast<std::int64_t>(frame.size())}}}});
		}
		t.buffers.refuse = false;
		t.replies(t.vm1, solicitation(gateway1_ip6));
	}},
	{APUS_DROP_NO_BUFFER, "on the provider side", [](Trial &t) {
		const Bytes question = remote_message().frame();
		t.buffers.refuse = true;
		t.mark();
		t.check(t.send(t.uplink, question).empty(), "something was sent");
		t.moved(burst(1, question.size(), 0, 0) + Moves{{&Stats::consumed, 1}, {&Stats::generated, 1}}, 1);
		t.buffers.refuse = false;
		t.replies(t.uplink, question);
	}},

	// from a virtual machine
	{APUS_DROP_IP_MALFORMED, "IPv6 header", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_ip6(vm1_to_vm2_ip6())) {
			t.drops(what, t.vm1, bytes);
			t.drops(what, t.vm1, tagged(bytes));
		}
		t.passes(t.vm1, padded(vm1_to_vm2_ip6()), t.vm2);
		t.passes(t.vm1, with16(vm1_to_vm2_ip6(), ip_at + 4, 0), t.vm2);  // no payload, padding
	}},
	{APUS_DROP_IP_MALFORMED, "IPv6 source address", [](Trial &t) {
		for (const Ip &from : special_ip6s)
			t.drops("address", t.vm1, udp6(vm2_mac, vm1_mac, from, vm2_ip6));
		t.passes(t.vm1, vm1_to_vm2_ip6(), t.vm2);
		t.passes(t.vm1, udp6(vm2_mac, vm1_mac, vm1_ll, vm2_ll), t.vm2);
	}},
	{APUS_DROP_NOT_UNICAST, "IPv6", [](Trial &t) {
		for (const Ip &to : special_ip6s) {
			t.drops("address", t.vm1, udp6(vm2_mac, vm1_mac, vm1_ip6, to));
			t.drops("before the source's", t.vm1, udp6(vm2_mac, vm1_mac, ip6(0, 0), to));
		}
		t.drops("MAC", t.vm1, udp6(multicast_mac(vm2_ip6), vm1_mac, vm1_ip6, vm2_ip6));
		build::Ip6 report{vm1_ll, ip6(0xFF02000000000000, 0x16), 0, 0, 1, 0};  // as every machine sends it: listener discovery
		const Bytes body = joined({build::extension(0, 58, 1), build::icmpv6(143, 0, Bytes(4), report.source, report.destination)});
		t.drops("multicast listener report", t.vm1, build::ipv6({multicast_mac(report.destination), vm1_mac, 0, type_ipv6}, report, body));
		t.passes(t.vm1, vm1_to_vm2_ip6(), t.vm2);
	}},
	{APUS_DROP_SOURCE_CA_MAC, "IPv6, another machine's addresses", [](Trial &t) {
		t.drops("local", t.vm1, udp6(vm2_mac, vm1_mac, vm2_ip6, vm2_ip6));
		t.drops("link-local", t.vm1, udp6(vm2_mac, vm1_mac, vm2_ll, vm2_ip6));
		t.drops("remote", t.vm1, udp6(vm2_mac, vm1_mac, remote1_ip6, vm2_ip6));
		t.passes(t.vm1, vm1_to_vm2_ip6(), t.vm2);
	}},
	{APUS_DROP_CUSTOMER_ROUTE_MISSING, "the default route is another family's", [](Trial &t) {
		const Bytes in6 = udp6(router_mac, vm1_mac, vm1_ip6, ip6(0x2620000000000000, 9)), in4 = udp(router_mac, vm1_mac, vm1_ip, ip(8, 8, 8, 8));
		t.add_route(subnet2, {Ip(0), 0}, remote2_ip);
		t.drops("IPv6", t.vm1, in6);
		t.passes(t.vm1, in4, t.uplink);
		t.add_route(subnet2, {ip6(0, 0), 0}, remote2_ip6);
		t.passes(t.vm1, in6, t.uplink);
		t.passes(t.vm1, in4, t.uplink);
	}},
	{APUS_DROP_TTL_EXPIRED, "hop limit", [](Trial &t) {
		for (const std::uint8_t hop_limit : {0, 1})
			t.drops("first packet", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, vm3_ip6, hop_limit));
		t.passes(t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, vm3_ip6, 2), t.vm3);
		t.passes(t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, remote2_ip6, 2), t.uplink);
		t.drops("flow is known", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, vm3_ip6, 1));
		t.passes(t.vm1, udp6(vm2_mac, vm1_mac, vm1_ip6, vm2_ip6, 0), t.vm2);  // switched
	}, without_icmp_errors},
	// The uplink carries 1542 bytes: 1500 in IPv4, 1480 in IPv6.
	{APUS_DROP_MTU_EXCEEDED, "IPv6 in IPv6", [](Trial &t) {
		t.drops("first packet", t.vm1, sized(true, 1481));
		t.passes(t.vm1, padded(sized(true, 1480)), t.uplink);
		t.drops("flow is known", t.vm1, sized(true, 1481));
		t.drops("routed", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, remote2_ip6, 64, 0, 1481 - 44));
		t.drops("as a fragment", t.vm1, [] {
			build::Ip6 ip{vm1_ip6, remote1_ip6, 0, 0, 64, 44};
			return build::ipv6({remote1_mac, vm1_mac, 0, type_ipv6}, ip, joined({build::fragment_header(17, 1), Bytes(1481 - 48)}));
		}());
		t.passes(t.vm1, udp6(vm2_mac, vm1_mac, vm1_ip6, vm2_ip6, 64, 0, 9000), t.vm2);  // no tunnel
	}, without_icmp_errors},
	{APUS_DROP_MTU_EXCEEDED, "IPv6 in IPv4", [](Trial &t) {
		record_of(t, stranger_ip6, remote_pa);
		const auto frame = [](std::size_t total) { return udp6(stranger_mac, vm1_mac, vm1_ip6, stranger_ip6, 64, 0, total - 44); };
		t.drops(t.vm1, frame(1501));
		t.passes(t.vm1, frame(1500), t.uplink);
	}, without_icmp_errors},
	{APUS_DROP_MTU_EXCEEDED, "IPv4 in IPv6", [](Trial &t) {
		record_of(t, stranger_ip, remote_pa6);
		t.drops(t.vm1, sized(false, 1481));
		t.passes(t.vm1, sized(false, 1480), t.uplink);
	}, without_icmp_errors},
	{APUS_DROP_GATEWAY_UNSERVED, "IPv6", [](Trial &t) {
		const auto edited = [](auto edit) {
			build::Ip6 ip{vm1_ip6, gateway1_ip6, 0, 0, 64, 58};
			Bytes echo = build::icmpv6(128, 0, build::echo(7, 1, 24), ip.source, ip.destination);
			edit(ip, echo);
			return build::ipv6({router_mac, vm1_mac, 0, type_ipv6}, ip, echo);
		};
		const auto behind = [&](std::uint8_t protocol, const Bytes &header) {
			return edited([&](auto &ip, auto &echo) {
				ip.next_header = protocol;
				echo.insert(echo.begin(), header.begin(), header.end());
			});
		};
		for (const Ip &router : {gateway1_ip6, gateway2_ip6, router_ll})
			t.drops("UDP", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, router));
		t.drops("echo reply", t.vm1, edited([](auto &, auto &echo) { echo[0] = 129; }));
		t.drops("ICMP's echo request", t.vm1, edited([](auto &, auto &echo) { echo[0] = 8; }));
		t.drops("code 1", t.vm1, edited([](auto &, auto &echo) { echo[1] = 1; }));
		t.drops("7 bytes", t.vm1, edited([](auto &, auto &echo) { echo.resize(7); }));
		t.drops("protocol 1", t.vm1, edited([](auto &ip, auto &) { ip.next_header = 1; }));
		t.drops("behind destination options", t.vm1, behind(60, build::extension(60, 58, 1)));
		t.drops("first fragment", t.vm1, behind(44, build::fragment_header(58, 1)));
		t.drops("whole, with a fragment header", t.vm1, behind(44, build::fragment_header(58, 0)));
		for (const Ip &router : {gateway1_ip6, gateway2_ip6, router_ll})
			t.passes(t.vm1, ping6(router), t.vm1);
		t.passes(t.vm1, ping6(router_ll, vm1_ll), t.vm1);
		t.passes(t.vm1, ping6(gateway2_ip6, vm1_ll), t.vm1);
		t.passes(t.vm1, edited([](auto &ip, auto &) { ip.hop_limit = 0; }), t.vm1);
	}},
	{APUS_DROP_LINK_LOCAL, "is not routed", [](Trial &t) {
		t.drops("source", t.vm1, udp6(router_mac, vm1_mac, vm1_ll, vm3_ip6));
		t.drops("destination", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, vm2_ll));
		t.drops("both", t.vm1, udp6(router_mac, vm1_mac, vm1_ll, vm2_ll));
		t.drops("the end of fe80::/10", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, ip6(0xFEBFFFFFFFFFFFFF, 1)));
		t.add_route(subnet2, {ip6(link_local, 0), 10}, remote2_ip6);
		t.drops("whatever routes say", t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, ip6(link_local, 77)));
		t.drops("hop limit 1", t.vm1, udp6(router_mac, vm1_mac, vm1_ll, vm3_ip6, 1));
		t.passes(t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, vm3_ip6), t.vm3);
		t.passes(t.vm1, udp6(vm2_mac, vm1_mac, vm1_ll, vm2_ll), t.vm2);         // switched
		t.passes(t.vm1, udp6(remote1_mac, vm1_mac, vm1_ll, remote1_ll), t.uplink);
		t.add_route(subnet2, {ip6(0xFEC0000000000000, 0), 10}, remote2_ip6);
		t.passes(t.vm1, udp6(router_mac, vm1_mac, vm1_ip6, ip6(0xFEC0000000000000, 1)), t.uplink);
	}},

	{APUS_DROP_ND_MALFORMED, "each field", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_messages({})) {
			t.drops(what, t.vm1, bytes);
			t.drops(what, t.vm1, tagged(bytes, 8));
		}
		t.replies(t.vm1, solicitation(gateway1_ip6));
		t.replies(t.vm1, padded(tagged(solicitation(gateway1_ip6), 8), 200));
		t.replies(t.vm1, message([](Message &one) { one.options.clear(); }));
		t.replies(t.vm1, message([](Message &one) {  // 144 bytes
			one.options = joined({one.options, Bytes(72, 14)});
			one.options[9] = 9;
		}));
	}},
	{APUS_DROP_ND_MALFORMED, "length of each type", [](Trial &t) {
		const std::pair<std::uint8_t, std::size_t> types[] = {{nd_router_solicitation, 8}, {nd_router_advertisement, 16}, {nd_neighbour_solicitation, 24},
								      {nd_neighbour_advertisement, 24}, {nd_redirect, 40}};
		const std::uint32_t trusted = t.add_vm(subnet1, stranger_mac, true);
		for (const auto &[number, size] : types) {
			const auto of_size = [type = number](std::size_t bytes) {
				return message([&](Message &one) {
					one.type = type;
					one.source = stranger_ip6;
					one.target = stranger_ip6;
					one.from_mac = stranger_mac;
					one.body_size = bytes - 4;
				});
			};
			t.drops("a byte too short", trusted, of_size(size - 1));
			if (number != nd_router_solicitation && number != nd_neighbour_solicitation)
				t.consumes(trusted, of_size(size));
		}
	}},
	{APUS_DROP_ND_MALFORMED, "not directly behind the header", [](Trial &t) {
		const auto behind = [](std::uint8_t first, const Bytes &headers) {
			return message([&](Message &one) {
				one.first = first;
				one.extensions = headers;
			});
		};
		t.drops("hop-by-hop options", t.vm1, behind(0, build::extension(0, 58, 1)));
		t.drops("routing", t.vm1, behind(43, build::extension(43, 58, 1)));
		t.drops("destination options", t.vm1, behind(60, build::extension(60, 58, 3)));
		t.drops("authentication", t.vm1, behind(51, build::extension(51, 58, 6)));
		t.drops("whole, with a fragment header", t.vm1, behind(44, build::fragment_header(58, 0)));
		t.drops("first fragment", t.vm1, behind(44, build::fragment_header(58, 1)));
		Bytes eight;
		for (int i = 0; i < 8; i++)
			eight = joined({build::extension(60, i == 0 ? 58 : 60, 1), eight});
		t.drops("eight headers", t.vm1, behind(60, eight));
		// Behind nine, or as a later fragment, it is not found; the multicast address ends it.
		t.mark();
		t.process({t.frame(t.vm1, behind(60, joined({build::extension(60, 60, 1), eight}))),
			   t.frame(t.vm1, behind(44, build::fragment_header(58, 8)))});
		t.check(t.totals().drops[APUS_DROP_NOT_UNICAST] == 2, "what is not found was not taken for a multicast packet");
	}},
	{APUS_DROP_ND_MALFORMED, "from ::", [](Trial &t) {
		const auto nobody = [](auto edit) {
			return message([&](Message &one) {
				one.source = Ip::unspecified(6);
				one.options.clear();
				one.target = stranger_ip6;
				edit(one);
			});
		};
		t.drops("to one machine", t.vm1, nobody([](auto &one) { one.destination = vm2_ip6; }));
		t.drops("to all nodes", t.vm1, nobody([](auto &one) { one.destination = all_nodes(); }));
		t.drops("nearly solicited-node", t.vm1, nobody([](auto &one) { one.destination = ip6(0xFF02000000000000, 0x1FE00004D); }));
		t.drops("with its MAC", t.vm1, nobody([](auto &one) { one.options = build::mac_option(nd_source_option, vm1_mac); }));
		t.drops("advertisement", t.vm1, nobody([](auto &one) { one.type = nd_neighbour_advertisement; }));
		t.passes(t.vm1, nobody([](auto &) {}), t.vm2);
	}},
	{APUS_DROP_ND_SPOOFED, "a router's messages", [](Trial &t) {
		const auto of_type = [](std::uint8_t type) {
			return message([&](Message &one) {
				one.type = type;
				one.target = stranger_ip6;
				one.to_mac = vm2_mac;
			});
		};
		t.drops("advertisement", t.vm1, of_type(nd_router_advertisement));
		t.drops("redirect", t.vm1, of_type(nd_redirect));
		t.consumes(t.vm1, message([](Message &one) {
			one.type = nd_neighbour_advertisement;
			one.target = vm1_ip6;
			one.options = build::mac_option(nd_target_option, vm1_mac);
		}));
		const std::uint32_t trusted = t.add_vm(subnet1, stranger_mac, true);
		t.passes(trusted, of_type(nd_router_advertisement), t.vm2);
		t.passes(trusted, of_type(nd_redirect), t.vm2);
	}},
	{APUS_DROP_ND_SPOOFED, "link-layer options", [](Trial &t) {
		for (const std::uint8_t type : {nd_source_option, nd_target_option}) {
			t.drops("another MAC", t.vm1, message([&](Message &one) { one.options = build::mac_option(type, vm2_mac); }));
			t.drops("as the second", t.vm1, message([&](Message &one) { one.options = joined({one.options, build::mac_option(type, vm2_mac)}); }));
			t.drops("router solicitation", t.vm1, message([&](Message &one) {
				one.type = nd_router_solicitation;
				one.options = build::mac_option(type, vm2_mac);
			}));
			t.replies(t.vm1, message([&](Message &one) { one.options = build::mac_option(type, vm1_mac); }));
		}
		t.replies(t.vm1, message([&](Message &one) { one.options = build::mac_option(14, vm2_mac); }));  // a nonce
		const std::uint32_t trusted = t.add_vm(subnet1, stranger_mac, true);
		t.replies(trusted, message([&](Message &one) { one.options = build::mac_option(nd_source_option, vm2_mac); }));
	}},
	{APUS_DROP_ND_SPOOFED, "source address", [](Trial &t) {
		const auto from = [](const Ip &ip) { return message([&](Message &one) { one.source = ip; }); };
		for (const Ip &ip : {gateway1_ip6, router_ll, vm2_ip6, vm2_ll, remote1_ip6, remote1_ll})
			t.drops("address", t.vm1, from(ip));
		for (const Ip &ip : {vm1_ip6, vm1_ll, stranger_ip6, gateway2_ip6})  // another subnet's gateway is nobody here
			t.replies(t.vm1, from(ip));
		t.remove_record(subnet1, vm1_ip6);
		t.add_record(subnet1, vm1_ip6, vm1_mac, remote_pa6);
		t.drops("its own, but on another host", t.vm1, from(vm1_ip6));
		const std::uint32_t trusted = t.add_vm(subnet1, stranger_mac, true);
		t.replies(trusted, from(gateway1_ip6));
	}},
	{APUS_DROP_ND_SPOOFED, "advertised address", [](Trial &t) {
		const auto about = [](const Ip &ip) {
			return message([&](Message &one) {
				one.type = nd_neighbour_advertisement;
				one.target = ip;
				one.to_mac = vm2_mac;
				one.options = build::mac_option(nd_target_option, vm1_mac);
			});
		};
		for (const Ip &ip : {gateway1_ip6, router_ll, vm2_ip6, vm2_ll, remote1_ip6})
			t.drops("target", t.vm1, about(ip));
		for (const Ip &ip : {vm1_ip6, vm1_ll, stranger_ip6})
			t.passes(t.vm1, about(ip), t.vm2);
		t.replies(t.vm1, solicitation(vm2_ip6));  // a question about it is none
	}},
	{APUS_DROP_ND_SPOOFED, "the gateway's link-local address follows its MAC", [](Trial &t) {
		t.add_record(subnet1, gateway1_ip6, stranger_mac, our_pa6);
		const auto from = [](const Ip &ip) {
			return message([&](Message &one) {
				one.source = ip;
				one.target = vm2_ip6;
			});
		};
		t.drops(t.vm1, from(link_local_of(stranger_mac)));
		t.replies(t.vm1, from(router_ll));  // the MAC of IPv4's gateway makes no link-local address
	}},
	{APUS_DROP_ND_UNANSWERED, "alone in its subnet", [](Trial &t) {
		const Bytes question = message([](Message &one) {
			one.from_mac = vm3_mac;
			one.source = vm3_ip6;
			one.options = build::mac_option(nd_source_option, vm3_mac);
			one.target = ip6(net2, 77);
		});
		t.drops(t.vm3, question);
		const std::uint32_t vm4 = t.add_vm(subnet2, stranger_mac);
		t.passes(t.vm3, question, vm4);
	}},

	// towards the provider network
	{APUS_DROP_PROVIDER_ROUTE_MISSING, "of this family", [](Trial &t) {
		record_of(t, stranger_ip6, far_pa6);
		t.add_provider_route({Ip(0), 0}, t.uplink, remote_pa);
		t.drops(t.vm1, to_stranger());
		t.add_provider_route({ip6(0, 0), 0}, t.uplink, remote_pa6);
		t.passes(t.vm1, to_stranger(), t.uplink);
	}},
	{APUS_DROP_PROVIDER_ADDRESS_MISSING, "of this family", [](Trial &t) {
		const std::uint32_t uplink2 = t.add_uplink();
		t.add_pa(ip(192, 168, 7, 22), uplink2, our_pa_mac);
		record_of(t, stranger_ip6, far_pa6);
		t.add_provider_route({ip6(0x20010DB800990000, 0), 48}, uplink2, ip6(0, 0));
		t.add_neighbor(far_pa6, remote_pa_mac);
		t.drops(t.vm1, to_stranger());
		t.add_pa(ip6(link_local, 0x22), uplink2, our_pa_mac, 0, 64);
		t.passes(t.vm1, to_stranger(), uplink2);
	}},
	{APUS_DROP_NEIGHBOR_FAILED, "solicitations without an answer", [](Trial &t) {
		t.remove_neighbor(remote_pa6);
		check_request(t, t.send(t.vm1, vm1_to_remote1_ip6()).at(0).bytes, multicast_mac(solicited_node(remote_pa6)), solicited_node(remote_pa6));
		for (int retry = 1; retry < 3; retry++) {
			t.now += second;
			t.check(t.process({}).size() == 1, "no retry");
		}
		t.now += second;
		t.mark();
		t.idle();
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::held, -1}}, 1, flow_counters);
		t.drops("while failed", t.vm1, vm1_to_remote1_ip6());
		t.now += 4 * second;
		t.check(t.send(t.vm1, vm1_to_remote1_ip6()).size() == 1, "it was not asked for again");
		t.check(t.send(t.uplink, remote_advertisement().frame()).size() == 1, "an answer did not let it go");
		t.passes(t.vm1, vm1_to_remote1_ip6(), t.uplink);
	}},
	{APUS_DROP_NEIGHBOR_QUEUE_FULL, "what is no answer", [](Trial &t) {
		t.remove_neighbor(remote_pa6);
		t.process(std::vector<Frame>(8, t.frame(t.vm1, vm1_to_remote1_ip6())));
		t.drops("the ninth", t.vm1, vm1_to_remote1_ip6());
		const auto no_answer = [&](Message one) {
			t.consumes(t.uplink, one.frame());
			t.drops("still unknown", t.vm1, vm1_to_remote1_ip6());
		};
		no_answer(remote_advertisement(nd_override));  // nobody asked for
		Message one = remote_advertisement();
		one.to_mac = stranger_mac;
		no_answer(one);
		one = remote_advertisement();
		one.target = other_pa6;
		no_answer(one);
		one = remote_message();  // a question, whoever asks
		one.target = other_pa6;
		no_answer(one);
		t.check(t.send(t.uplink, tagged(remote_advertisement().frame(), 1, 0x8100, 7)).empty(), "the answer came in another VLAN");
		t.check(t.send(t.uplink, remote_advertisement().frame()).size() == 8, "eight did not go on");
		t.passes(t.vm1, vm1_to_remote1_ip6(), t.uplink);
	}},

	// from the provider network
	{APUS_DROP_OUTER_MAC, "outer IPv6", [](Trial &t) {
		t.drops(t.uplink, outer6_edited([](auto &ethernet, auto &) { ethernet.destination = stranger_mac; }));
		t.passes(t.uplink, tunnel6(), t.vm1);
		t.drops("flow is known", t.uplink, outer6_edited([](auto &ethernet, auto &) { ethernet.destination = stranger_mac; }));
	}},
	{APUS_DROP_OUTER_VLAN, "outer IPv6", [](Trial &t) {
		t.drops("tagged", t.uplink, tagged(tunnel6()));
		t.passes(t.uplink, tagged(tunnel6(), 1, 0x8100, 0), t.vm1);
	}},
	{APUS_DROP_OUTER_TRUNCATED, "IPv6 header", [](Trial &t) {
		t.drops("no byte", t.uplink, cut(tunnel6(), ip_at));
		t.drops("39 bytes", t.uplink, cut(tunnel6(), ip_at + 39));
		t.drops("tagged, 39 bytes", t.uplink, cut(tagged(tunnel6()), ip_at + 4 + 39));
		const Bytes header = build::gre(0x2000, type_bridging, subnet1 << 8, {});
		for (const std::size_t length : {0, 3, 4, 7})
			t.drops("GRE header", t.uplink, padded(outer6_with(47, cut(header, length)), 60));
		t.passes(t.uplink, tunnel6(), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_VERSION, "outer IPv6", [](Trial &t) {
		for (const std::uint8_t byte : {0x45, 0x50, 0x70, 0x00})
			t.drops("first byte", t.uplink, with8(tunnel6(), ip_at, byte));
		t.passes(t.uplink, tunnel6(), t.vm1);
		t.passes(t.uplink, with16(tunnel6(), ip_at + 2, 0xFFFF), t.vm1);  // the flow label does not matter
	}},
	{APUS_DROP_OUTER_IP_LENGTH, "payload length", [](Trial &t) {
		t.drops("beyond the frame", t.uplink, with16(tunnel6(), ip_at + 4, static_cast<std::uint16_t>(tunnel6().size() - ip_at - 39)));
		t.drops("frame was cut", t.uplink, cut(tunnel6(), tunnel6().size() - 1));
		t.drops("before OUTER_NOT_OURS", t.uplink, cut(outer6_edited([](auto &, auto &outer) { outer.destination = other_pa6; }), 100));
		t.passes(t.uplink, padded(tunnel6()), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_CHECKSUM, "the device's word is about IPv4", [](Trial &t) {
		Frame frame = t.frame(t.uplink, tunnel());
		frame.flags = APUS_FRAME_IP_CHECKSUM_BAD;
		t.drops("IPv4", frame);
		frame = t.frame(t.uplink, tunnel6());
		frame.flags = APUS_FRAME_IP_CHECKSUM_BAD;
		t.passes(frame, t.vm1);
		frame = t.frame(t.uplink, remote_message().frame());
		frame.flags = APUS_FRAME_IP_CHECKSUM_BAD;
		t.check(t.process({frame}).size() == 1, "a solicitation was not answered");
	}},
	{APUS_DROP_OUTER_NOT_OURS, "outer IPv6", [](Trial &t) {
		const auto to = [](const Ip &pa) { return outer6_edited([&](auto &, auto &outer) { outer.destination = pa; }); };
		for (const Ip &pa : {other_pa6, remote_pa6, vm1_ip6, all_nodes(), ip6(0, 0), ip6(0, 0xFFFFC0A80016), ip6(0, 0xC0A80016)})
			t.drops("address", t.uplink, to(pa));
		t.drops("router advertisement", t.uplink, [] {
			Message one = remote_message();
			one.type = nd_router_advertisement;
			return one.frame();
		}());
		t.passes(t.uplink, tunnel6(), t.vm1);
	}},
	{APUS_DROP_OUTER_NOT_OURS, "the form of IPv4 in an IPv6 header, while the tunnel is known in IPv4", [](Trial &t) {
		const build::Ip6 outer{ip6(0, 0xFFFFC0A80021), ip6(0, 0xFFFFC0A80016), 0, 0, 64, 47};
		t.passes(t.uplink, tunnel(), t.vm1);
		t.drops(t.uplink, build::ipv6(outer_ethernet6(), outer, build::gre(0x2000, type_bridging, subnet1 << 8 | 0x42, remote1_to_vm1())));
	}},
	{APUS_DROP_OUTER_FRAGMENT, "fragment header", [](Trial &t) {
		const Bytes gre = build::gre(0x2000, type_bridging, subnet1 << 8 | 0x42, remote1_to_vm1_ip6());
		for (const std::uint16_t field : {0, 1, 8})
			t.drops("field", t.uplink, outer6_with(44, joined({build::fragment_header(47, field), gre})));
		t.passes(t.uplink, outer6_with(47, gre), t.vm1);
	}},
	{APUS_DROP_OUTER_IP_OPTIONS, "extension headers", [](Trial &t) {
		const Bytes gre = build::gre(0x2000, type_bridging, subnet1 << 8 | 0x42, remote1_to_vm1_ip6());
		for (const std::uint8_t protocol : {0, 43, 60})
			t.drops("header", t.uplink, outer6_with(protocol, joined({build::extension(protocol, 47, 1), gre})));
		t.drops("authentication", t.uplink, outer6_with(51, joined({build::extension(51, 47, 6), gre})));
		t.passes(t.uplink, outer6_with(47, gre), t.vm1);
	}, [](Trial &t) { t.opts.flags = APUS_DATAPLANE_ACCEPT_IP_OPTIONS; }},
	{APUS_DROP_OUTER_PROTOCOL, "outer IPv6", [](Trial &t) {
		for (const std::uint8_t protocol : {1, 4, 6, 41, 50, 59, 58})
			t.drops("next header", t.uplink, outer6_edited([protocol](auto &, auto &outer) { outer.next_header = protocol; }));
		t.drops("redirect", t.uplink, outer6_with(58, build::icmpv6(nd_redirect, 0, Bytes(36), remote_pa6, our_pa6)));
		t.drops("no byte of ICMPv6", t.uplink, padded(outer6_with(58, {}), 40));
		// These are IPv6's numbers only.
		for (const std::uint8_t protocol : {0, 43, 44, 51, 60, 58})
			t.drops("IPv4", t.uplink, outer_edited([protocol](auto &, auto &outer) { outer.protocol = protocol; }));
		t.passes(t.uplink, tunnel6(), t.vm1);
	}},
	{APUS_DROP_SOURCE_PA_UNKNOWN, "outer IPv6", [](Trial &t) {
		const auto from = [](const Ip &pa) { return outer6_edited([&](auto &, auto &outer) { outer.source = pa; }); };
		for (const Ip &pa : {other_pa6, ip6(0, 0), ip6(0, 0xFFFFC0A80021), ip6(0, 0xC0A80021)})  // 192.168.0.33 in other forms
			t.drops("address", t.uplink, from(pa));
		t.passes(t.uplink, tunnel6(), t.vm1);
	}},
	{APUS_DROP_INNER_IP_MALFORMED, "IPv6 header", [](Trial &t) {
		for (const auto &[what, bytes] : malformed_ip6(remote1_to_vm1_ip6())) {
			t.drops(what, t.uplink, tunnelled6(bytes));
			t.drops(what, t.uplink, padded(tunnelled(bytes), 60));  // padding of the outer frame is no help
		}
		for (const Ip &from : special_ip6s)
			t.drops("source address", t.uplink, tunnelled6(udp6(vm1_mac, remote1_mac, from, vm1_ip6)));
		t.passes(t.uplink, tunnelled6(padded(remote1_to_vm1_ip6())), t.vm1);
	}},
	{APUS_DROP_INNER_IP_MALFORMED, "what only routers send", [](Trial &t) {
		const auto inner = [](std::uint8_t type, std::uint8_t first, const Bytes &headers) {
			return message([&](Message &one) {
				one.from_mac = remote1_mac;
				one.to_mac = vm1_mac;
				one.source = remote1_ip6;
				one.destination = vm1_ip6;
				one.type = type;
				one.first = first;
				one.extensions = headers;
			});
		};
		for (const std::uint8_t type : {133, 134, 137}) {
			t.drops("type", t.uplink, tunnelled6(inner(type, 58, {})));
			t.drops("behind options", t.uplink, tunnelled6(inner(type, 60, build::extension(60, 58, 2))));
		}
		t.drops("solicitation behind options", t.uplink, tunnelled6(inner(135, 60, build::extension(60, 58, 2))));
		t.drops("first fragment", t.uplink, tunnelled6(inner(135, 44, build::fragment_header(58, 1))));
		for (const std::uint8_t type : {128, 129, 132, 138})
			t.passes(t.uplink, tunnelled6(inner(type, 58, {})), t.vm1);
		t.passes(t.uplink, tunnelled6(inner(135, 44, build::fragment_header(58, 8))), t.vm1);
	}},
	{APUS_DROP_INNER_NOT_UNICAST, "IPv6", [](Trial &t) {
		for (const Ip &to : special_ip6s)
			t.drops("address", t.uplink, tunnelled6(udp6(vm1_mac, remote1_mac, remote1_ip6, to)));
		t.passes(t.uplink, tunnel6(), t.vm1);
	}},
	{APUS_DROP_INNER_DESTINATION_CA_PA, "another of our addresses, of the other family", [](Trial &t) {
		// The source is at both of the remote host's addresses only in the eyes of the network, not of the policy.
		t.add_record(subnet1, stranger_ip6, stranger_mac, remote_pa);
		t.drops("IPv6 machine through IPv4", t.uplink, tunnelled(udp6(vm1_mac, stranger_mac, stranger_ip6, vm1_ip6)));
		t.add_record(subnet1, stranger_ip, stranger_mac, remote_pa6);
		t.drops("IPv4 machine through IPv6", t.uplink, tunnelled6(udp(vm1_mac, stranger_mac, stranger_ip, vm1_ip)));
		t.passes(t.uplink, tunnel6(), t.vm1);
	}},
	{APUS_DROP_ECN, "traffic classes", [](Trial &t) {
		const auto marked = [](std::uint8_t outer_tos, const Bytes &inner) {
			build::Ip6 outer = outer_ip6();
			outer.tos = outer_tos;
			return build::nvgre(outer_ethernet6(), outer, subnet1, 0x42, inner);
		};
		t.drops("first packet", t.uplink, marked(3, remote1_to_vm1_ip6()));
		t.drops("with DSCP", t.uplink, marked(0xB8 | 3, remote1_to_vm1_ip6(0xB8)));
		// What comes out: RFC 6040, figure 4.
		const auto comes_out = [&](std::uint8_t outer, std::uint8_t inner, std::uint8_t expected) {
			const auto sent = t.send(t.uplink, marked(0x48 | outer, remote1_to_vm1_ip6(static_cast<std::uint8_t>(0xB8 | inner))));
			Bytes want = remote1_to_vm1_ip6(static_cast<std::uint8_t>(0xB8 | expected));
			t.check(sent.size() == 1 && sent[0].bytes == want, "the inner traffic class is wrong");
		};
		for (const std::uint8_t inner : {0, 1, 2, 3})
			for (const std::uint8_t outer : {0, 1, 2, 3})
				if (inner != 0 || outer != 3)
					comes_out(outer, inner, outer == 3 ? 3 : inner == 2 && outer == 1 ? 1 : inner);
		t.drops("flow is known", t.uplink, marked(3, remote1_to_vm1_ip6()));
	}},
	{APUS_DROP_PROVIDER_ND_MALFORMED, "each field", [](Trial &t) {
		for (const Message &good : {remote_message(), remote_advertisement()})
			for (const auto &[what, bytes] : malformed_messages(good)) {
				t.drops(what, t.uplink, bytes);
				t.drops(what, t.uplink, tagged(bytes, 1, 0x8100, 0));
			}
		Message nobody = remote_message();
		nobody.source = Ip::unspecified(6);
		t.drops("from ::, with its MAC", t.uplink, nobody.frame());
		nobody.options.clear();
		t.replies(t.uplink, nobody.frame());
		nobody.destination = our_pa6;
		t.drops("from ::, to one host", t.uplink, nobody.frame());
		t.replies(t.uplink, remote_message().frame());
		t.replies(t.uplink, padded(tagged(remote_message().frame(), 1, 0x8100, 0), 100));
		t.consumes(t.uplink, remote_advertisement().frame());
	}},
	{APUS_DROP_PROVIDER_ND_MALFORMED, "link-layer addresses", [](Trial &t) {
		const auto from = [](Mac ethernet, std::uint8_t option, Mac named) {
			Message one = remote_message();
			one.from_mac = ethernet;
			one.options = build::mac_option(option, named);
			return one.frame();
		};
		for (const Mac mac : {Mac{0}, broadcast, group_mac})
			t.drops("Ethernet source", t.uplink, from(mac, nd_source_option, mac));
		for (const std::uint8_t option : {nd_source_option, nd_target_option})
			t.drops("not the Ethernet source", t.uplink, from(remote_pa_mac, option, stranger_mac));
		t.replies(t.uplink, from(remote_pa_mac, 14, stranger_mac));  // a nonce
		t.replies(t.uplink, from(stranger_mac, nd_source_option, stranger_mac));
	}},
};

// ---- counters --------------------------------------------------------------------------------------------------------

const std::vector<CounterCase> ipv6_counter_cases = {
	{"encapsulated", "all four pairings", [](Trial &t) {
		record_of(t, stranger_ip6, remote_pa);
		record_of(t, stranger_ip, remote_pa6);
		const Bytes in4_out6 = udp(stranger_mac, vm1_mac, vm1_ip, stranger_ip, 64, 0xB9), in6_out6 = udp6(remote1_mac, vm1_mac, vm1_ip6, remote1_ip6, 64, 0xB9);
		t.mark();
		const auto sent = t.process({t.frame(t.vm1, vm1_to_remote1()), t.frame(t.vm1, padded(in4_out6)), t.frame(t.vm1, to_stranger()),
					     t.frame(t.vm1, padded(in6_out6))});
		t.moved(burst(4, 58 + 68 + 78 + 88, 4, 100 + 120 + 120 + 140) + Moves{{&Stats::encapsulated, 4}}, 0, flow_counters);
		t.check(sent.size() == 4, "not all passed");
		for (const auto &[i, inner] : {std::pair{std::size_t{1}, in4_out6}, std::pair{std::size_t{3}, in6_out6}}) {
			if (i >= sent.size())
				break;
			const Bytes &frame = sent[i].bytes;
			const std::uint32_t key = get32(frame, 58);
			Bytes outer = ethernet_header(remote_pa_mac, our_pa_mac, 0, type_ipv6);
			append_ipv6(outer, our_pa6, remote_pa6, 128, 47, inner.size() + 8);
			put32(outer, 14, 0x6B900000 | (key & 0xFF));  // traffic class of the inner packet; flow label = FlowID
			const Bytes want = joined({outer, build::gre(0x2000, type_bridging, subnet1 << 8 | (key & 0xFF), inner)});
			t.check(frame == want, "the outer header is wrong");
		}
	}},
	{"decapsulated", "all four pairings", [](Trial &t) {
		t.add_record(subnet1, stranger_ip6, stranger_mac, remote_pa);
		t.add_record(subnet1, stranger_ip, stranger_mac, remote_pa6);
		const Ip vm2_in4 = ip(10, 0, 1, 66), vm2_in6 = ip6(net1, 66);
		t.add_record(subnet1, vm2_in4, vm2_mac, our_pa6);
		t.add_record(subnet1, vm2_in6, vm2_mac, our_pa);
		const Bytes in4 = udp(vm2_mac, stranger_mac, stranger_ip, vm2_in4), in6 = udp6(vm2_mac, stranger_mac, stranger_ip6, vm2_in6);
		t.mark();
		const auto sent = t.process({t.frame(t.uplink, tunnel()), t.frame(t.uplink, tunnelled6(in4)), t.frame(t.uplink, tunnelled(in6)),
					     t.frame(t.uplink, tunnel6())});
		t.moved(burst(4, 100 + 120 + 120 + 140, 4, 58 + 58 + 78 + 78) + Moves{{&Stats::decapsulated, 4}}, 0, flow_counters);
		t.check(sent.size() == 4 && sent[1].bytes == in4 && sent[2].bytes == in6 && sent[3].bytes == remote1_to_vm1_ip6(), "the inner frames are wrong");
	}},
	{"routed", "hop limit and MAC change, nothing else", [](Trial &t) {
		t.mark();
		const auto sent = t.process({t.frame(t.vm1, vm1_to_vm3_ip6()), t.frame(t.vm1, vm1_to_vm3_ip6())});
		t.moved(burst(2, 156, 2, 156) + new_flow + Moves{{&Stats::routed, 2}, {&Stats::flow_hits, 1}});
		for (const Sent &one : sent)
			t.check(one.port == t.vm3 && one.bytes == udp6(vm3_mac, vm1_mac, vm1_ip6, vm3_ip6, 63), "the routed frame is wrong");
	}},
	{"flow_misses", "behind extension headers, ports are seen", [](Trial &t) {
		const auto of_port = [](std::uint16_t port) {
			return with_extensions(0, joined({build::extension(0, 60, 1), build::extension(60, 17, 2)}), build::transport(port, 2, 20));
		};
		t.mark();
		t.process({t.frame(t.vm1, of_port(1)), t.frame(t.vm1, of_port(2)), t.frame(t.vm1, of_port(1))});
		const auto size = static_cast<std::size_t>(of_port(1).size());
		t.moved(burst(3, 3 * size, 3, 3 * size) + new_flow + new_flow + Moves{{&Stats::flow_hits, 1}, {&Stats::switched, 3}});
	}},
	{"arp_replies", "solicitations of virtual machines", [](Trial &t) {
		const std::uint8_t asked = nd_solicited | nd_override;
		check_advertisement(t, t.replies(t.vm1, solicitation(gateway1_ip6)), router_mac, gateway1_ip6, vm1_mac, vm1_ip6, nd_router | asked);
		check_advertisement(t, t.replies(t.vm1, solicitation(router_ll)), router_mac, router_ll, vm1_mac, vm1_ip6, nd_router | asked);
		check_advertisement(t, t.replies(t.vm1, solicitation(vm2_ip6)), vm2_mac, vm2_ip6, vm1_mac, vm1_ip6, asked);
		check_advertisement(t, t.replies(t.vm1, tagged(solicitation(remote1_ll))), remote1_mac, remote1_ll, vm1_mac, vm1_ip6, asked);
		// Somebody who is about to take another machine's address.
		const auto detection = message([](Message &one) {
			one.source = Ip::unspecified(6);
			one.target = remote1_ip6;
			one.options.clear();
		});
		check_advertisement(t, t.replies(t.vm1, detection), remote1_mac, remote1_ip6, vm1_mac, all_nodes(), nd_override);
		t.add_record(subnet1, gateway1_ip6, stranger_mac, our_pa6);
		check_advertisement(t, t.replies(t.vm1, solicitation(gateway1_ip6)), stranger_mac, gateway1_ip6, vm1_mac, vm1_ip6, nd_router | asked);
	}},
	{"arp_replies", "solicitations on the provider network", [](Trial &t) {
		check_advertisement(t, t.replies(t.uplink, remote_message().frame()), our_pa_mac, our_pa6, remote_pa_mac, remote_pa6,
				    nd_solicited | nd_override);
		const auto vlan = objects::provider_address(our_pa6, {t.uplink, 64, 7, our_pa_mac});
		MUST(apus_provider_address_set(t.dataplane, &vlan));
		t.consumes(t.uplink, remote_message().frame());
		Bytes answer = t.replies(t.uplink, tagged(remote_message().frame(), 1, 0x88A8, 0xA007));
		t.check(answer.size() == 90 && get32(answer, 12) == 0x88A8A007, "the tag was not kept");
		if (answer.size() == 90) {
			answer.erase(answer.begin() + 12, answer.begin() + 16);
			check_advertisement(t, answer, our_pa_mac, our_pa6, remote_pa_mac, remote_pa6, nd_solicited | nd_override);
		}
	}},
	{"arp_requests", "at once, again, and to the address once it is known", [](Trial &t) {
		const Moves asked = {{&Stats::generated, 1}, {&Stats::arp_requests, 1}};
		t.remove_neighbor(remote_pa6);
		t.mark();
		auto sent = t.send(t.vm1, vm1_to_remote1_ip6());
		t.moved(burst(1, 78, 1, 86) + asked + Moves{{&Stats::held, 1}, {&Stats::flow_misses, 1}});
		const Ip group = solicited_node(remote_pa6);
		check_request(t, sent.at(0).bytes, multicast_mac(group), group);
		t.now += second;
		t.mark();
		sent = t.process({});
		t.moved(burst(0, 0, 1, 86) + asked);
		check_request(t, sent.at(0).bytes, multicast_mac(group), group);
		t.mark();
		t.check(t.send(t.uplink, remote_advertisement().frame()).size() == 1, "the packet did not go on");
		t.moved(burst(1, 86, 1, 140) + Moves{{&Stats::held, -1}, {&Stats::consumed, 1}, {&Stats::encapsulated, 1}}, 0, flow_counters);
		t.now += 30 * second;  // it has grown old
		t.mark();
		sent = t.send(t.vm1, vm1_to_remote1_ip6());
		t.moved(burst(1, 78, 2, 86 + 140) + asked + Moves{{&Stats::encapsulated, 1}}, 0, flow_counters);
		for (const Sent &one : sent)
			if (one.id == new_buffer)
				check_request(t, one.bytes, remote_pa_mac, remote_pa6);
	}},
	{"arp_requests", "what a known neighbour learns from", [](Trial &t) {
		t.remove_neighbor(remote_pa6);
		t.send(t.vm1, vm1_to_remote1_ip6());
		t.send(t.uplink, remote_advertisement().frame());
		const auto next_hop_is = [&](Mac mac) {
			const auto sent = t.send(t.vm1, vm1_to_remote1_ip6());
			t.check(sent.size() == 1 && get_mac(sent[0].bytes, 0) == mac, "the next hop has another MAC");
		};
		const auto moved_to = [](Message one, Mac mac) {
			one.from_mac = mac;
			one.options = build::mac_option(one.type == nd_neighbour_solicitation ? nd_source_option : nd_target_option, mac);
			return one.frame();
		};
		next_hop_is(remote_pa_mac);
		t.send(t.uplink, moved_to(remote_advertisement(nd_override), stranger_mac));
		next_hop_is(remote_pa_mac);  // not twice in a second
		t.now += 2 * second;
		t.send(t.uplink, moved_to(remote_advertisement(0), stranger_mac));
		next_hop_is(remote_pa_mac);  // without O
		t.send(t.uplink, moved_to(remote_advertisement(nd_override), stranger_mac));
		next_hop_is(stranger_mac);
		t.now += 2 * second;
		t.send(t.uplink, moved_to(remote_message(), remote_pa_mac));
		next_hop_is(remote_pa_mac);
		t.now += 2 * second;
		Message silent = remote_message();
		silent.from_mac = stranger_mac;
		silent.options.clear();
		t.send(t.uplink, silent.frame());
		next_hop_is(remote_pa_mac);  // without a link-layer option
		t.mark();
		t.now += 30 * second;
		t.send(t.vm1, vm1_to_remote1_ip6());
		t.moved(burst(1, 78, 2, 86 + 140) + Moves{{&Stats::generated, 1}, {&Stats::arp_requests, 1}, {&Stats::encapsulated, 1}}, 0, flow_counters);
	}},
	{"echo_replies", "each router address", [](Trial &t) {
		const Moves answered = {{&Stats::consumed, 1}, {&Stats::generated, 1}, {&Stats::echo_replies, 1}};
		const std::size_t size = ping6(gateway1_ip6).size();
		t.mark();
		const auto sent = t.process({t.frame(t.vm1, ping6(gateway1_ip6)), t.frame(t.vm1, ping6(gateway2_ip6)), t.frame(t.vm1, ping6(router_ll, vm1_ll))});
		t.moved(burst(3, 3 * size, 3, 3 * size) + new_flow + new_flow + new_flow + answered + answered + answered);
		build::Ip6 ip{gateway1_ip6, vm1_ip6, 0, 0, 128, 58};
		const Bytes want = build::ipv6({vm1_mac, router_mac, 0, type_ipv6}, ip, build::icmpv6(129, 0, build::echo(7, 1, 24), ip.source, ip.destination));
		t.check(!sent.empty() && sent[0].bytes == want, "the answer is wrong");
	}},
	{"router_advertisements", "of the advertised prefixes", [](Trial &t) {
		const auto asks = [](const Ip &source) {
			return message([&](Message &one) {
				one.type = nd_router_solicitation;
				one.source = source;
				if (source.is_unspecified())
					one.options.clear();
			});
		};
		const auto expect = [&](const Bytes &got, Mac mac, const Ip &to, std::size_t mtu, const std::vector<AdvertisedPrefix> &prefixes) {
			const Bytes want = router_advertisement(ethernet_header(vm1_mac, mac, 0, type_ipv6), link_local_of(mac), mac, to, mtu, prefixes);
			t.check(got == want, "the router advertisement is wrong");
		};
		const auto counter = &Stats::router_advertisements;
		const AdvertisedPrefix first{ip6(net1, 0), 64, true};
		const Bytes got = t.replies(t.vm1, asks(vm1_ll), counter);
		expect(got, router_mac, vm1_ll, 1500, {first});
		// Once in full: Ethernet, IPv6, the message, link-layer address, MTU, prefix.
		const Bytes fixed = {0x60, 0, 0x60, 0, 1, 1, 2, 0x61, 0x70, 0x75, 0x73, 1, 0x86, 0xDD, 0x60, 0, 0, 0, 0, 64, 58, 255,
				     0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x61, 0x70, 0xFF, 0xFE, 0x75, 0x73, 1,
				     0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0x62, 0, 0x60, 0xFF, 0xFE, 0, 1, 1,
				     134, 0, 0, 0, 64, 0, 0x23, 0x28, 0, 0, 0, 0, 0, 0, 0, 0,
				     1, 1, 2, 0x61, 0x70, 0x75, 0x73, 1, 5, 1, 0, 0, 0, 0, 0x05, 0xDC,
				     3, 4, 64, 0xC0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0,
				     0x20, 1, 0x0D, 0xB8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
		t.check(got.size() == fixed.size() && with16(got, 56, 0) == fixed, "the bytes of the router advertisement are wrong");
		expect(t.replies(t.vm1, asks(Ip::unspecified(6)), counter), router_mac, Ip::unspecified(6), 1500, {first});
		expect(t.replies(t.vm1, asks(stranger_ip6), counter), router_mac, stranger_ip6, 1500, {first});

		// More prefixes: in order, at most four, each with its own flags. The first one's gateway speaks.
		constexpr Ip lowest = ip6(0x2001000000000000, 0);
		constexpr std::uint32_t advertise = APUS_CUSTOMER_ROUTE_ADVERTISE, both = advertise | APUS_CUSTOMER_ROUTE_AUTOCONFIGURE;
		t.add_route(subnet1, {ip6(0xFD00000000000000, 0), 64}, {}, 1, both);
		t.add_route(subnet1, {ip6(net1, 0), 48}, {}, 1, advertise);
		t.add_route(subnet1, {ip6(net1, 0), 126});
		t.add_route(subnet1, {lowest, 64}, {}, 1, advertise);
		t.add_record(subnet1, lowest + 1, stranger_mac, our_pa6);
		const AdvertisedPrefix second_{ip6(net1, 0), 48, false}, zeroth{lowest, 64, false}, last{ip6(0xFD00000000000000, 0), 64, true};
		expect(t.replies(t.vm1, asks(vm1_ll), counter), stranger_mac, vm1_ll, 1500, {zeroth, second_, first, last});
		t.add_route(subnet1, {ip6(0xFD00000000000000, 0), 65}, {}, 1, advertise);
		expect(t.replies(t.vm1, asks(vm1_ll), counter), stranger_mac, vm1_ll, 1500, {zeroth, second_, first, last});

		for (const std::uint16_t mtu : {1279, 1280, 9000}) {
			const auto port = objects::port({true, false, subnet1, vm1_mac, mtu});
			MUST(apus_port_set(t.dataplane, t.vm1, &port));
			expect(t.replies(t.vm1, asks(vm1_ll), counter), stranger_mac, vm1_ll, mtu, {zeroth, second_, first, last});
		}
	}},
	{"consumed", "solicitations that need no answer", [](Trial &t) {
		const auto detection = message([](Message &one) {  // of its own address
			one.source = Ip::unspecified(6);
			one.target = vm1_ip6;
			one.options.clear();
		});
		const auto router = message([](Message &one) {  // nothing is advertised there
			one.from_mac = vm3_mac;
			one.source = vm3_ip6;
			one.type = nd_router_solicitation;
			one.options = build::mac_option(nd_source_option, vm3_mac);
		});
		t.mark();
		t.process({t.frame(t.vm1, detection), t.frame(t.vm1, solicitation(vm1_ip6)), t.frame(t.vm3, router), t.frame(t.uplink, remote_advertisement().frame())});
		t.moved(burst(4, detection.size() + solicitation(vm1_ip6).size() + router.size() + 86, 0, 0) + Moves{{&Stats::consumed, 4}});
	}},
	{"generated", "copies of a solicitation", [](Trial &t) {
		t.add_vm(subnet1, stranger_mac);
		const Bytes question = solicitation(stranger_ip6);
		t.mark();
		const auto sent = t.send(t.vm1, question);
		t.moved(burst(1, 86, 2, 172) + Moves{{&Stats::generated, 1}, {&Stats::switched, 2}});
		for (const Sent &one : sent)
			t.check(one.bytes == question, "the copy is wrong");
	}},
	{"switched", "advertisement to the asker", [](Trial &t) {
		const auto answer = message([](Message &one) {
			one.type = nd_neighbour_advertisement;
			one.target = vm1_ip6;
			one.destination = vm2_ip6;
			one.to_mac = vm2_mac;
			one.options = build::mac_option(nd_target_option, vm1_mac);
		});
		t.mark();
		const auto sent = t.send(t.vm1, padded(answer));
		t.moved(burst(1, 96, 1, 96) + Moves{{&Stats::switched, 1}});
		t.check(sent.size() == 1 && sent[0].port == t.vm2 && sent[0].bytes == padded(answer), "it is not what was sent");
	}},
	{"icmp_errors", "time exceeded from the gateway, in IPv6", [](Trial &t) {
		for (const std::size_t size : {20, 2000}) {
			const Bytes wrong = udp6(router_mac, vm1_mac, vm1_ip6, remote2_ip6, 1, 0, size);
			t.mark();
			const auto sent = t.send(t.vm1, wrong);
			t.moved(burst(1, wrong.size(), 1, std::min(wrong.size() + 48, std::size_t{14 + 1280})) + told, 1, flow_counters);
			check_error6(t, sent, gateway1_ip6, vm1_ip6, 3, 0, wrong);
		}
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"icmp_errors", "packet too big, also within a virtual subnet", [](Trial &t) {
		record_of(t, stranger_ip6, remote_pa);
		const std::tuple<Mac, Ip, std::uint32_t> ways[] = {{remote1_mac, remote1_ip6, 1480}, {router_mac, remote2_ip6, 1480}, {stranger_mac, stranger_ip6, 1500}};
		for (const auto &[mac, ca, mtu] : ways) {
			const Bytes wrong = udp6(mac, vm1_mac, vm1_ip6, ca, 64, 0, mtu + 1 - 44);
			t.mark();
			const auto sent = t.send(t.vm1, tagged(wrong));
			t.moved(burst(1, wrong.size() + 4, 1, 14 + 1280) + told, 1, flow_counters);
			check_error6(t, sent, gateway1_ip6, vm1_ip6, 2, mtu, wrong);
		}
		const Bytes from_ll = udp6(remote1_mac, vm1_mac, vm1_ll, remote1_ll, 64, 0, 1481 - 44);
		t.mark();
		const auto sent = t.send(t.vm1, from_ll);
		t.moved(burst(1, from_ll.size(), 1, 14 + 1280) + told, 1, flow_counters);
		check_error6(t, sent, router_ll, vm1_ll, 2, 1480, from_ll);
	}, nullptr, APUS_DROP_MTU_EXCEEDED},
	{"icmp_errors", "fragmentation needed with the room of an outer IPv6 header", [](Trial &t) {
		record_of(t, stranger_ip, remote_pa6);
		t.mark();
		const auto sent = t.send(t.vm1, sized(false, 1481));
		t.moved(burst(1, 1495, 1, 14 + 576) + told, 1, flow_counters);
		t.check(sent.size() == 1 && get16(sent[0].bytes, 40) == 1480 && sent[0].bytes[34] == 3 && sent[0].bytes[35] == 4, "the MTU is wrong");
	}, nullptr, APUS_DROP_MTU_EXCEEDED},
	{"icmp_errors", "not about ICMPv6 errors and later fragments", [](Trial &t) {
		const auto expired = [](std::uint8_t first, const Bytes &payload) {
			build::Ip6 ip{vm1_ip6, remote2_ip6, 0, 0, 1, first};
			return build::ipv6({router_mac, vm1_mac, 0, type_ipv6}, ip, payload);
		};
		const auto silent = [&](const Bytes &frame) {
			t.mark();
			t.check(t.send(t.vm1, frame).empty(), "an error was sent");
			t.moved(burst(1, frame.size(), 0, 0), 1, flow_counters);
		};
		const auto spoken = [&](const Bytes &frame) {
			t.mark();
			check_error6(t, t.send(t.vm1, frame), gateway1_ip6, vm1_ip6, 3, 0, frame);
			t.moved(burst(1, frame.size(), 1, frame.size() + 48) + told, 1, flow_counters);
		};
		const auto icmpv6 = [](std::uint8_t type) { return build::icmpv6(type, 0, build::echo(1, 1, 24), vm1_ip6, remote2_ip6); };
		for (const std::uint8_t type : {1, 2, 3, 4, 100, 127})
			silent(expired(58, icmpv6(type)));
		silent(expired(58, {}));
		silent(expired(60, joined({build::extension(60, 58, 1), icmpv6(1)})));
		silent(expired(60, build::extension(60, 58, 1)));  // the type would be beyond the packet
		silent(expired(44, joined({build::fragment_header(17, 8), Bytes(20)})));
		silent(expired(44, joined({build::fragment_header(58, 1), icmpv6(1)})));
		// An error that is seen in the last of the 160 readable bytes, and one that is not.
		silent(expired(60, joined({build::extension(60, 58, 13), icmpv6(1)})));
		spoken(expired(60, joined({build::extension(60, 58, 14), icmpv6(1)})));
		spoken(expired(44, joined({build::fragment_header(17, 1), build::transport(1, 2, 20)})));
		spoken(expired(58, icmpv6(128)));
		spoken(expired(60, joined({build::extension(60, 58, 1), icmpv6(129)})));
		spoken(expired(1, icmpv6(1)));
		spoken(expired(59, {}));
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"icmp_suppressed", "both families share the rate", [](Trial &t) {
		const Bytes in4 = udp(router_mac, vm1_mac, vm1_ip, remote2_ip, 1), in6 = udp6(router_mac, vm1_mac, vm1_ip6, remote2_ip6, 1);
		t.mark();
		for (int i = 0; i < 8; i++) {
			t.send(t.vm1, in4);
			t.send(t.vm1, in6);
		}
		t.now += second / 100;
		t.send(t.vm1, in6);
		t.send(t.vm1, in4);
		Moves moves = burst(18, 9 * (in4.size() + in6.size()), 11, 5 * (in4.size() + 28) + 6 * (in6.size() + 48)) +
			      Moves{{&Stats::bursts, 17}, {&Stats::icmp_suppressed, 7}};
		for (int i = 0; i < 11; i++)
			moves = moves + told;
		t.moved(moves, 18, flow_counters);
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"fragmented", "IPv4 into outer IPv6", [](Trial &t) {
		record_of(t, stranger_ip, remote_pa6);
		build::Ip4 header;
		header.source = vm1_ip;
		header.destination = stranger_ip;
		header.fragment = 0;
		const Bytes packet = build::ipv4({stranger_mac, vm1_mac, 0, type_ipv4}, header, build::transport(1, 2, 2000));
		t.mark();
		const auto sent = t.send(t.vm1, packet);
		t.moved(burst(1, packet.size(), 2, packet.size() + 34 + 2 * overhead6) + new_flow +
			Moves{{&Stats::consumed, 1}, {&Stats::generated, 2}, {&Stats::encapsulated, 2}, {&Stats::fragmented, 1}});
		std::set<std::uint32_t> labels;
		for (const Sent &one : sent) {
			const auto ip = IpPacket::parse(type_ipv4, one.bytes, overhead6 + 14);
			t.check(ip && ip->total_length <= 1480 && get16(one.bytes, 18) == one.bytes.size() - 54, "not a fragment in a tunnel");
			labels.insert(get32(one.bytes, 14) & 0xFFFFF);
		}
		t.check(labels.size() == 1, "fragments of one packet have several FlowIDs");
	}},
};

}  // namespace trial
