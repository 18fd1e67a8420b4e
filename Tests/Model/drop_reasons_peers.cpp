// SPDX-License-Identifier: Apache-2.0
// Drop reasons and counters of provider peers (docs/pipeline.md 2.3, 4), path MTU (5.3) and IP rewrite (2.7, 4.2). What
// leaves rewritten is compared with packets whose checksums are made from nothing.
#include "drop_reasons_peers.hpp"

namespace trial {

namespace {

// ---- peers -----------------------------------------------------------------------------------------------------------

void set_peer(Trial &t, Ip pa, const model::Peer &peer)
{
	const auto object = objects::peer(pa, peer);
	if (apus_provider_peer_set(t.dataplane, &object) != APUS_OK)
		MUST(apus_provider_peer_add(t.dataplane, &object));
}
model::Peer draft00()
{
	model::Peer peer;
	peer.key_layout = APUS_KEY_DRAFT00;
	return peer;
}
model::Peer vxlan()
{
	model::Peer peer;
	peer.encapsulation = APUS_ENCAPSULATION_VXLAN;
	return peer;
}
model::Peer with_mtu(std::uint16_t mtu)
{
	model::Peer peer;
	peer.mtu = mtu;
	return peer;
}

/// `inner` in UDP and VXLAN.
Bytes datagram(const Bytes &inner, std::uint8_t flags = 0x08, std::uint16_t port = 4789, Vsid vni = subnet1)
{
	Bytes out(16);
	model::put16(out, 0, 0xC123);
	model::put16(out, 2, port);
	model::put16(out, 4, static_cast<std::uint16_t>(16 + inner.size()));
	out[8] = flags;
	model::put32(out, 12, vni << 8);
	out.insert(out.end(), inner.begin(), inner.end());
	return out;
}
Bytes outer_udp(const Bytes &payload)
{
	build::Ip4 outer = outer_ip();
	outer.protocol = 17;
	return build::ipv4(outer_ethernet(), outer, payload);
}
Bytes outer_udp6(const Bytes &payload)
{
	build::Ip6 outer = outer_ip6();
	outer.next_header = 17;
	return build::ipv6(outer_ethernet6(), outer, payload);
}
Bytes with_key(std::uint32_t key) { return outer_with(build::gre(0x2000, model::type_bridging, key, remote1_to_vm1())); }
Bytes with_key6(std::uint32_t key)
{
	return build::ipv6(outer_ethernet6(), outer_ip6(), build::gre(0x2000, model::type_bridging, key, remote1_to_vm1_ip6()));
}

// ---- path MTU --------------------------------------------------------------------------------------------------------

/// What `sent` quotes is said to be too big.
Bytes too_big(const Bytes &sent, std::uint16_t mtu, std::uint8_t code = 4)
{
	Bytes message(8);
	message[0] = 3;
	message[1] = code;
	model::put16(message, 6, mtu);
	message.insert(message.end(), sent.begin() + static_cast<std::ptrdiff_t>(ip_at), sent.end());
	model::put16(message, 2, model::internet_checksum(message, 0, message.size()));
	build::Ip4 outer = outer_ip();
	outer.source = ip(192, 168, 0, 254);
	outer.protocol = 1;
	return build::ipv4(outer_ethernet(), outer, message);
}
Bytes too_big6(const Bytes &sent, std::uint32_t mtu)
{
	Bytes body(4);
	model::put32(body, 0, mtu);
	body.insert(body.end(), sent.begin() + static_cast<std::ptrdiff_t>(ip_at), sent.end());
	build::Ip6 outer = outer_ip6();
	outer.source = ip6(site, 0x254);
	outer.next_header = 58;
	return build::ipv6(outer_ethernet6(), outer, build::icmpv6(2, 0, body, outer.source, our_pa6));
}
/// The first bytes of what vm1 sends to remote1: Ethernet, IP, 8 bytes.
Bytes sent_to_remote1(std::uint32_t key = subnet1 << 8)
{
	build::Ip4 outer = outer_ip();
	std::swap(outer.source, outer.destination);
	return build::ipv4(outer_ethernet(), outer, build::gre(0x2000, model::type_bridging, key, {}));
}
Bytes sent_to_remote1_ip6()
{
	build::Ip6 outer = outer_ip6();
	std::swap(outer.source, outer.destination);
	return build::ipv6(outer_ethernet6(), outer, build::gre(0x2000, model::type_bridging, subnet1 << 8, {}));
}
Bytes sent_vxlan(std::uint16_t port = 4789)
{
	build::Ip4 outer = outer_ip();
	std::swap(outer.source, outer.destination);
	outer.protocol = 17;
	return build::ipv4(outer_ethernet(), outer, cut(datagram({}, 8, port), 8));
}
template <class Edit> Bytes sent_edited(Edit edit)
{
	build::Ip4 outer = outer_ip();
	std::swap(outer.source, outer.destination);
	edit(outer);
	return build::ipv4(outer_ethernet(), outer, build::gre(0x2000, model::type_bridging, subnet1 << 8, {}));
}

/// vm1's largest packet to remote1, of `size` bytes with its IP header; DF is set.
Bytes packet_of(std::size_t size) { return udp(remote1_mac, vm1_mac, vm1_ip, remote1_ip, 64, 0, size - 24); }

void learns(Trial &t, const Bytes &message, std::int64_t updates)
{
	t.mark();
	t.send(t.uplink, message);
	t.moved(burst(1, message.size(), 0, 0) + Moves{{&Stats::consumed, 1}, {&Stats::path_mtu_updates, updates}});
}

// ---- rewriting -------------------------------------------------------------------------------------------------------

constexpr Ip vm1_nat = ip(192, 168, 0, 24), remote1_nat = ip(192, 168, 0, 35), remote2_nat = ip(192, 168, 0, 36);
constexpr Ip vm1_nat6 = ip6(site, 0x24), remote1_nat6 = ip6(site, 0x35);
constexpr Mac nat_mac = 0x324455667799;

void set_record(Trial &t, Vsid vsid, Ip ca, Mac mac, Ip pa, std::uint32_t flags = 0, std::uint8_t rule = APUS_RULE_NAT)
{
	const auto object = objects::record({vsid, ca}, {mac, rule, APUS_RECORD_STATIC, pa, flags});
	MUST(apus_lookup_record_set(t.dataplane, &object));
}
/// vm1, remote1 and remote2 are rewritten now.
void translate_machines(Trial &t, std::uint16_t vlan = 0, std::uint32_t flags = 0)
{
	t.add_pa(vm1_nat, t.uplink, nat_mac, vlan);
	t.add_pa(vm1_nat6, t.uplink, nat_mac, vlan, 64);
	for (const Ip &pa : {remote1_nat, remote2_nat, remote1_nat6})
		t.add_neighbor(pa, remote_pa_mac);
	set_record(t, subnet1, vm1_ip, vm1_mac, vm1_nat, flags);
	set_record(t, subnet1, remote1_ip, remote1_mac, remote1_nat);
	set_record(t, subnet2, remote2_ip, remote2_mac, remote2_nat);
	set_record(t, subnet1, vm1_ip6, vm1_mac, vm1_nat6, flags);
	set_record(t, subnet1, remote1_ip6, remote1_mac, remote1_nat6);
}

std::size_t checksum_at(std::uint8_t protocol) { return protocol == 6 ? 16 : protocol == 58 ? 2 : 6; }

/// The checksum of a segment with its pseudo-header, made from nothing.
std::uint16_t right_checksum(std::uint8_t protocol, const Ip &from, const Ip &to, const Bytes &segment)
{
	Bytes all(from.is_v6() ? 40 : 12);
	const std::size_t half = from.bits() / 8;
	const auto size = static_cast<std::uint16_t>(segment.size());
	model::put_ip(all, 0, from);
	model::put_ip(all, half, to);
	model::put16(all, 2 * half + (from.is_v6() ? 2 : 0), from.is_v6() ? size : protocol);
	model::put16(all, all.size() - 2, from.is_v6() ? protocol : size);
	const std::size_t payload = all.size();
	all.insert(all.end(), segment.begin(), segment.end());
	model::put16(all, payload + checksum_at(protocol), 0);
	return model::internet_checksum(all, 0, all.size());
}

/// `size` bytes of a transport protocol with that checksum.
Bytes segment(std::uint8_t protocol, const Ip &from, const Ip &to, std::size_t size = 32)
{
	Bytes out(size);
	for (std::size_t i = 0; i < size; i++)
		out[i] = static_cast<std::uint8_t>(i * 7 + 3);
	if (protocol == 58)
		out[0] = 128;
	if (protocol != 132)  // which has another one
		model::put16(out, checksum_at(protocol), right_checksum(protocol, from, to, out));
	return out;
}
Bytes packet(const build::Ethernet &ethernet, const Ip &from, const Ip &to, std::uint8_t protocol, const Bytes &payload, std::uint8_t ttl = 64,
	     std::uint16_t fragment = 0x4000)
{
	build::Ethernet link = ethernet;
	if (from.is_v6()) {
		link.type = model::type_ipv6;
		return build::ipv6(link, {from, to, 0x20, 0x12345, ttl, protocol}, payload);
	}
	build::Ip4 header;
	header.source = from;
	header.destination = to;
	header.protocol = protocol;
	header.ttl = ttl;
	header.fragment = fragment;
	return build::ipv4(link, header, payload);
}

struct Way {
	Ip ca_from, ca_to, pa_from, pa_to;
};
constexpr Way out4{vm1_ip, remote1_ip, vm1_nat, remote1_nat}, out6{vm1_ip6, remote1_ip6, vm1_nat6, remote1_nat6};
const build::Ethernet inside{remote1_mac, vm1_mac, 0, model::type_ipv4}, outside{remote_pa_mac, nat_mac, 0, model::type_ipv4};
const build::Ethernet coming{nat_mac, remote_pa_mac, 0, model::type_ipv4}, arriving{vm1_mac, remote1_mac, 0, model::type_ipv4};

/// The frame leaves through `egress` as `expected`.
void becomes(Trial &t, std::uint32_t port, const Bytes &frame, std::uint32_t egress, const Bytes &expected, const std::string &what, std::int64_t routed = 0)
{
	t.mark();
	const auto sent = t.send(port, frame);
	t.check(sent.size() == 1 && sent[0].port == egress && sent[0].flags == 0 && sent[0].bytes == expected, what);
	t.moved(burst(1, frame.size(), 1, expected.size()) + Moves{{&Stats::rewritten, 1}, {&Stats::routed, routed}}, 0, flow_counters);
}

/// There and back, for one payload that is made for whatever addresses it has.
template <class Payload> void both_ways(Trial &t, std::uint8_t protocol, Payload payload, const std::string &what)
{
	for (const Way &way : {out4, out6}) {
		if (way.ca_from.is_v6() ? protocol == 1 : protocol == 58)
			continue;
		const std::string name = what + ", protocol " + std::to_string(protocol) + (way.ca_from.is_v6() ? " in IPv6" : " in IPv4");
		for (int again = 0; again < 2; again++) {
			becomes(t, t.vm1, packet(inside, way.ca_from, way.ca_to, protocol, payload(way.ca_from, way.ca_to)), t.uplink,
				packet(outside, way.pa_from, way.pa_to, protocol, payload(way.pa_from, way.pa_to)), name + ", out");
			becomes(t, t.uplink, packet(coming, way.pa_to, way.pa_from, protocol, payload(way.pa_to, way.pa_from)), t.vm1,
				packet(arriving, way.ca_to, way.ca_from, protocol, payload(way.ca_to, way.ca_from)), name + ", in");
		}
	}
}

/// An ICMP error from `from` to `to` about a packet that went the other way; every checksum is right.
Bytes error_about(const Ip &from, const Ip &to, std::uint8_t protocol, std::uint8_t type)
{
	const Bytes quoted = cut(packet({}, to, from, protocol, segment(protocol, to, from)), from.is_v6() ? 14 + 40 + 24 : 14 + 20 + 24);
	Bytes body(4);
	body.insert(body.end(), quoted.begin() + static_cast<std::ptrdiff_t>(ip_at), quoted.end());
	if (from.is_v6())
		return build::icmpv6(type, 0, body, from, to);
	Bytes message(4);
	message[0] = type;
	message.insert(message.end(), body.begin(), body.end());
	model::put16(message, 2, model::internet_checksum(message, 0, message.size()));
	return message;
}

}  // namespace

const std::vector<DropCase> peer_drop_cases = {
	{APUS_DROP_VXLAN_FLAGS, "no I flag", [](Trial &t) {
		for (const std::uint8_t flags : {0x00, 0x01, 0x80, 0xF7}) {
			t.drops("IPv4", t.uplink, outer_udp(datagram(remote1_to_vm1(), flags)));
			t.drops("IPv6", t.uplink, outer_udp6(datagram(remote1_to_vm1_ip6(), flags)));
		}
		for (const std::uint8_t flags : {0x08, 0xFF}) {
			t.passes(t.uplink, outer_udp(datagram(remote1_to_vm1(), flags)), t.vm1);
			t.passes(t.uplink, outer_udp6(datagram(remote1_to_vm1_ip6(), flags)), t.vm1);
		}
	}},
	{APUS_DROP_OUTER_PROTOCOL, "UDP to another port than VXLAN's", [](Trial &t) {
		for (const std::uint16_t port : {0, 4788, 4790, 8472})
			t.drops(t.uplink, outer_udp(datagram(remote1_to_vm1(), 8, port)));
		t.passes(t.uplink, outer_udp(datagram(remote1_to_vm1())), t.vm1);
	}},
	{APUS_DROP_OUTER_PROTOCOL, "VXLAN's port is another one", [](Trial &t) {
		t.drops(t.uplink, outer_udp(datagram(remote1_to_vm1())));
		t.passes(t.uplink, outer_udp(datagram(remote1_to_vm1(), 8, 8472)), t.vm1);
	}, [](Trial &t) { t.opts.vxlan_port = 8472; }},
	{APUS_DROP_OUTER_TRUNCATED, "UDP and VXLAN headers", [](Trial &t) {
		const Bytes whole = datagram(remote1_to_vm1());
		for (std::size_t length = 0; length < 16; length++) {
			t.drops("IPv4", t.uplink, outer_udp(cut(whole, length)));
			t.drops("IPv6", t.uplink, outer_udp6(cut(whole, length)));
		}
		for (const std::size_t length : {std::size_t{0}, std::size_t{8}, std::size_t{15}, whole.size() + 1, std::size_t{0xFFFF}})
			t.drops("UDP length", t.uplink, outer_udp(with16(whole, 4, static_cast<std::uint16_t>(length))));
		// What is behind the UDP length is padding.
		t.passes(t.uplink, outer_udp(padded(whole)), t.vm1);
	}},
	{APUS_DROP_KEY_LAYOUT, "a draft-00 key from a peer of the RFC", [](Trial &t) {
		t.drops("IPv4", t.uplink, with_key(subnet1));
		t.drops("IPv6", t.uplink, with_key6(subnet1));
		set_peer(t, remote_pa, draft00());
		set_peer(t, remote_pa6, draft00());
		t.passes(t.uplink, with_key(subnet1), t.vm1);
		t.passes(t.uplink, with_key6(subnet1), t.vm1);
	}},
	{APUS_DROP_KEY_LAYOUT, "a key of the RFC from a draft-00 peer", [](Trial &t) {
		set_peer(t, remote_pa, draft00());
		set_peer(t, remote_pa6, draft00());
		t.drops("IPv4", t.uplink, with_key(subnet1 << 8 | 0x42));
		t.drops("IPv6", t.uplink, with_key6(subnet1 << 8 | 0x42));
		set_peer(t, remote_pa, {});
		t.passes(t.uplink, with_key(subnet1 << 8 | 0x42), t.vm1);
	}},
	{APUS_DROP_KEY_LAYOUT, "the upper byte of a draft-00 key, in known flows too", [](Trial &t) {
		set_peer(t, remote_pa, draft00());
		set_peer(t, remote_pa6, draft00());
		t.passes(t.uplink, with_key(subnet1), t.vm1);
		t.passes(t.uplink, with_key6(subnet1), t.vm1);
		for (const std::uint32_t byte : {1u, 128u, 255u}) {
			t.drops("IPv4", t.uplink, with_key(byte << 24 | subnet1));
			t.drops("IPv6", t.uplink, with_key6(byte << 24 | subnet1));
		}
	}},
	{APUS_DROP_VSID_UNKNOWN, "a VNI in the place of a draft-00 key is just unknown", [](Trial &t) {
		t.drops(t.uplink, outer_udp(datagram(remote1_to_vm1(), 8, 4789, subnet1 << 8)));
		t.passes(t.uplink, outer_udp(datagram(remote1_to_vm1())), t.vm1);
	}},
	{APUS_DROP_NO_HEADROOM, "VXLAN needs 8 bytes more", [](Trial &t) {
		set_peer(t, remote_pa, vxlan());
		set_peer(t, remote_pa6, vxlan());
		Frame frame = t.frame(t.vm1, vm1_to_remote1()), frame6 = t.frame(t.vm1, vm1_to_remote1_ip6());
		frame.headroom = 49;
		frame6.headroom = 69;
		t.drops("IPv4", frame);
		t.drops("IPv6", frame6);
		frame.headroom = 50;
		frame6.headroom = 70;
		t.passes(frame, t.uplink);
		t.passes(frame6, t.uplink);
	}},
	{APUS_DROP_MTU_EXCEEDED, "the peer's MTU", [](Trial &t) {
		set_peer(t, remote_pa, with_mtu(600));
		t.drops("NVGRE", t.vm1, packet_of(559));
		t.passes(t.vm1, packet_of(558), t.uplink);
		model::Peer peer = vxlan();
		peer.mtu = 600;
		set_peer(t, remote_pa, peer);
		t.drops("VXLAN", t.vm1, packet_of(551));
		t.passes(t.vm1, packet_of(550), t.uplink);
		set_peer(t, remote_pa, with_mtu(65535));  // the port's is smaller
		t.drops("the port's", t.vm1, packet_of(1501));
		t.passes(t.vm1, packet_of(1500), t.uplink);
	}, without_icmp_errors},
	{APUS_DROP_MTU_EXCEEDED, "a path MTU that was learned", [](Trial &t) {
		t.passes(t.vm1, packet_of(1500), t.uplink);
		learns(t, too_big(sent_to_remote1(), 1000), 1);
		t.drops("IPv4", t.vm1, packet_of(959));
		t.passes(t.vm1, packet_of(958), t.uplink);
		learns(t, too_big(sent_to_remote1(), 10), 1);  // raised to 576
		t.drops("raised", t.vm1, packet_of(535));
		t.passes(t.vm1, packet_of(534), t.uplink);
		t.now += 600 * second;
		t.passes(t.vm1, packet_of(1500), t.uplink);
		learns(t, too_big6(sent_to_remote1_ip6(), 1300), 1);
		t.drops("IPv6", t.vm1, udp6(remote1_mac, vm1_mac, vm1_ip6, remote1_ip6, 64, 0, 1239 - 44));
		t.passes(t.vm1, udp6(remote1_mac, vm1_mac, vm1_ip6, remote1_ip6, 64, 0, 1238 - 44), t.uplink);
	}, without_icmp_errors},
	{APUS_DROP_PATH_MTU_UNMATCHED, "about packets that are not ours", [](Trial &t) {
		const Bytes good = sent_to_remote1();
		t.drops("quotes nothing", t.uplink, too_big(cut(good, ip_at), 1000));
		t.drops("quotes less than 8 bytes of GRE", t.uplink, too_big(cut(good, ip_at + 27), 1000));
		t.drops("version", t.uplink, too_big(with8(good, ip_at, 0x65), 1000));
		t.drops("IHL", t.uplink, too_big(with8(good, ip_at, 0x44), 1000));
		t.drops("source", t.uplink, too_big(sent_edited([](auto &outer) { outer.source = other_pa; }), 1000));
		t.drops("destination", t.uplink, too_big(sent_edited([](auto &outer) { outer.destination = other_pa; }), 1000));
		t.drops("protocol", t.uplink, too_big(sent_edited([](auto &outer) { outer.protocol = 6; }), 1000));
		t.drops("GRE flags", t.uplink, too_big(with16(good, gre_at, 0x2800), 1000));
		t.drops("GRE version", t.uplink, too_big(with16(good, gre_at, 0x2001), 1000));
		t.drops("no key", t.uplink, too_big(with16(good, gre_at, 0), 1000));
		t.drops("GRE protocol", t.uplink, too_big(with16(good, gre_at + 2, 0x0800), 1000));
		t.drops("VSID", t.uplink, too_big(sent_to_remote1(7000 << 8), 1000));
		t.drops("VSID in the other layout", t.uplink, too_big(sent_to_remote1(subnet1), 1000));
		t.drops("UDP port", t.uplink, too_big(sent_vxlan(4790), 1000));
		t.drops("IPv6 source", t.uplink, too_big6(with8(sent_to_remote1_ip6(), ip_at + 23, 0x99), 1300));
		t.drops("IPv4 in IPv6", t.uplink, too_big6(good, 1300));
		t.drops("IPv6, cut off", t.uplink, too_big6(cut(sent_to_remote1_ip6(), ip_at + 47), 1300));
		learns(t, too_big(good, 1000), 1);
		t.consumes(t.uplink, too_big(sent_vxlan(), 1000));
		learns(t, too_big6(sent_to_remote1_ip6(), 1300), 1);
		set_peer(t, remote_pa, draft00());
		t.drops("VSID in the RFC's layout", t.uplink, too_big(good, 900));
		learns(t, too_big(sent_to_remote1(subnet1), 900), 1);
	}},
	{APUS_DROP_OUTER_PROTOCOL, "other ICMP from the provider network", [](Trial &t) {
		t.drops("host unreachable", t.uplink, too_big(sent_to_remote1(), 1000, 1));
		t.drops("echo request", t.uplink, outer_edited([](auto &, auto &outer) { outer.protocol = 1; }));
		t.consumes(t.uplink, too_big(sent_to_remote1(), 2000));
	}},
	{APUS_DROP_TRANSLATION_MISMATCH, "one of the two is rewritten", [](Trial &t) {
		translate_machines(t);
		set_record(t, subnet1, remote1_ip, remote1_mac, remote_pa, 0, APUS_RULE_ENCAP);
		set_record(t, subnet1, remote1_ip6, remote1_mac, remote_pa, 0, APUS_RULE_ENCAP);
		t.drops("the source, switched", t.vm1, vm1_to_remote1());
		t.drops("the source, IPv6", t.vm1, vm1_to_remote1_ip6());
		t.drops("the target, routed", t.vm2, udp(router_mac, vm2_mac, vm2_ip, remote2_ip));
		t.passes(t.vm2, udp(remote1_mac, vm2_mac, vm2_ip, remote1_ip), t.uplink);
		t.passes(t.vm1, vm1_to_remote2(), t.uplink);
		t.passes(t.vm1, vm1_to_vm2(), t.vm2);  // nothing is rewritten on this host
	}},
	{APUS_DROP_TRANSLATION_MISMATCH, "no source record", [](Trial &t) {
		translate_machines(t);
		MUST(apus_port_remove(t.dataplane, t.vm1));
		t.vm1 = t.add_vm(subnet1, vm1_mac, true);
		t.drops(t.vm1, udp(remote1_mac, vm1_mac, stranger_ip, remote1_ip));
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_TRANSLATION_MISMATCH, "a gateway stands for others, whose addresses would be lost", [](Trial &t) {
		translate_machines(t);
		t.add_route(subnet1, {ip(172, 16, 0, 0), 12}, remote1_ip);
		t.drops("routed", t.vm1, udp(router_mac, vm1_mac, vm1_ip, ip(172, 16, 1, 1)));
		t.drops("switched", t.vm1, udp(remote1_mac, vm1_mac, vm1_ip, ip(172, 16, 1, 1)));
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
	}},
	{APUS_DROP_TRANSPORT_TRUNCATED, "the checksum is cut off", [](Trial &t) {
		translate_machines(t);
		const std::pair<std::uint8_t, std::size_t> protocols[] = {{6, 18}, {17, 8}, {33, 8}, {136, 8}};
		for (const auto &[protocol, size] : protocols)
			for (const Way &way : {out4, out6}) {
				const auto there = [&](std::size_t bytes) {
					return packet(inside, way.ca_from, way.ca_to, protocol, cut(segment(protocol, way.ca_from, way.ca_to), bytes));
				};
				const auto back = [&](std::size_t bytes) {
					return packet(coming, way.pa_to, way.pa_from, protocol, cut(segment(protocol, way.pa_to, way.pa_from), bytes));
				};
				t.passes(t.vm1, there(size), t.uplink);
				t.passes(t.uplink, back(size), t.vm1);
				for (const std::size_t less : {std::size_t{0}, size - 1}) {
					t.drops("out", t.vm1, padded(there(less), 40));
					t.drops("in", t.uplink, padded(back(less), 40));
				}
			}
		t.drops("ICMPv6", t.vm1, packet(inside, vm1_ip6, remote1_ip6, 58, {128, 0, 0}));
		t.passes(t.vm1, packet(inside, vm1_ip6, remote1_ip6, 58, {128, 0, 0, 0}), t.uplink);
		t.passes(t.vm1, packet(inside, vm1_ip, remote1_ip, 58, {128, 0, 0}), t.uplink);  // no ICMPv6 in IPv4
	}},
	{APUS_DROP_TRANSPORT_TRUNCATED, "behind extension headers that nobody reads to the end", [](Trial &t) {
		translate_machines(t);
		const auto behind = [](std::size_t words, const Bytes &payload) {
			Bytes headers = build::extension(60, 17, words);
			headers.insert(headers.end(), payload.begin(), payload.end());
			return packet(inside, vm1_ip6, remote1_ip6, 60, headers);
		};
		const Bytes udp = segment(17, vm1_ip6, remote1_ip6);
		t.drops("the header is too long", t.vm1, behind(14, udp));
		t.drops("the checksum is too far", t.vm1, behind(13, udp));
		t.passes(t.vm1, behind(12, udp), t.uplink);
		// A later fragment has no checksum, whatever it begins with.
		Bytes fragment = build::fragment_header(60, 8);
		fragment.insert(fragment.end(), udp.begin(), udp.end());
		t.passes(t.vm1, packet(inside, vm1_ip6, remote1_ip6, 44, fragment), t.uplink);
		t.passes(t.vm1, packet(inside, vm1_ip, remote1_ip, 17, cut(udp, 4), 64, 5), t.uplink);
	}},
	{APUS_DROP_PROVIDER_ADDRESS_MISSING, "the machine's own is on another port", [](Trial &t) {
		translate_machines(t);
		t.passes(t.vm1, vm1_to_remote1(), t.uplink);
		auto moved = objects::provider_address(vm1_nat, {t.add_uplink(), 32, 0, nat_mac});
		MUST(apus_provider_address_set(t.dataplane, &moved));
		t.drops(t.vm1, vm1_to_remote1());
	}},
	{APUS_DROP_NO_HEADROOM, "a tag needs 4 bytes", [](Trial &t) {
		translate_machines(t, 100);
		Frame frame = t.frame(t.vm1, vm1_to_remote1());
		frame.headroom = 3;
		t.drops("rewritten", frame);
		frame.headroom = 4;
		t.passes(frame, t.uplink);
		frame = t.frame(t.vm1, tagged(vm1_to_remote1()));  // its own makes room
		frame.headroom = 0;
		t.passes(frame, t.uplink);
	}},
	{APUS_DROP_MTU_EXCEEDED, "of a rewritten packet", [](Trial &t) {
		translate_machines(t);
		t.drops("IPv4", t.vm1, packet_of(1543));
		t.passes(t.vm1, packet_of(1542), t.uplink);
		set_peer(t, remote1_nat, with_mtu(700));
		t.drops("the peer's", t.vm1, packet_of(701));
		t.passes(t.vm1, packet_of(700), t.uplink);
	}, without_icmp_errors},
	{APUS_DROP_SOURCE_PA_UNKNOWN, "to a rewritten machine from one that is not", [](Trial &t) {
		translate_machines(t);
		t.drops("no record", t.uplink, packet(coming, other_pa, vm1_nat, 17, segment(17, other_pa, vm1_nat)));
		t.drops("a tunnel's", t.uplink, packet(coming, remote_pa, vm1_nat, 17, segment(17, remote_pa, vm1_nat)));
		t.drops("ICMP of a router", t.uplink, packet(coming, ip(192, 168, 0, 254), vm1_nat, 1, error_about(ip(192, 168, 0, 254), vm1_nat, 17, 3)));
		t.passes(t.uplink, packet(coming, remote1_nat, vm1_nat, 17, segment(17, remote1_nat, vm1_nat)), t.vm1);
	}},
	{APUS_DROP_VSID_PA_MISMATCH, "two rewritten machines of two tenants", [](Trial &t) {
		translate_machines(t);
		const Ip foreign = ip(192, 168, 0, 37);
		t.add_record(7000, remote1_ip, remote1_mac, foreign, APUS_RULE_NAT);
		t.drops("of no tenant", t.uplink, packet(coming, foreign, vm1_nat, 17, segment(17, foreign, vm1_nat)));
		t.add_route(7000, {ip(10, 0, 1, 0), 24}, {}, 2);
		t.drops("of another tenant", t.uplink, packet(coming, foreign, vm1_nat, 17, segment(17, foreign, vm1_nat)));
		// Another virtual subnet of the same tenant.
		t.passes(t.uplink, packet(coming, remote2_nat, vm1_nat, 17, segment(17, remote2_nat, vm1_nat)), t.vm1);
	}},
	{APUS_DROP_RECORD_UNUSABLE, "of a rewritten machine", [](Trial &t) {
		translate_machines(t);
		const Bytes out = vm1_to_remote1(), in = packet(coming, remote1_nat, vm1_nat, 17, segment(17, remote1_nat, vm1_nat));
		set_record(t, subnet1, remote1_ip, remote1_mac, remote1_nat, APUS_RECORD_UNUSABLE);
		t.drops("out", t.vm1, out);
		t.passes(t.uplink, in, t.vm1);
		set_record(t, subnet1, remote1_ip, remote1_mac, remote1_nat);
		set_record(t, subnet1, vm1_ip, vm1_mac, vm1_nat, APUS_RECORD_UNUSABLE);
		t.drops("in", t.uplink, in);
		t.passes(t.vm1, out, t.uplink);
	}},
	{APUS_DROP_NO_LOCAL_PORT, "of a rewritten machine", [](Trial &t) {
		translate_machines(t);
		const Bytes in = packet(coming, remote1_nat, vm1_nat, 17, segment(17, remote1_nat, vm1_nat));
		t.passes(t.uplink, in, t.vm1);
		MUST(apus_port_remove(t.dataplane, t.vm1));
		t.drops(t.uplink, in);
	}},
	{APUS_DROP_OUTER_PROTOCOL, "neighbour discovery to a rewritten machine", [](Trial &t) {
		translate_machines(t);
		for (const std::uint8_t type : {133, 134, 137})
			t.drops(t.uplink, packet(coming, remote1_nat6, vm1_nat6, 58, build::icmpv6(type, 0, Bytes(40), remote1_nat6, vm1_nat6), 255));
		t.passes(t.uplink, packet(coming, remote1_nat6, vm1_nat6, 58, build::icmpv6(128, 0, Bytes(40), remote1_nat6, vm1_nat6), 255), t.vm1);
	}},
};

const std::vector<CounterCase> peer_counter_cases = {
	{"rewritten", "every checksum follows, there and back", [](Trial &t) {
		translate_machines(t);
		for (const std::uint8_t protocol : {6, 17, 33, 58, 136})
			both_ways(t, protocol, [&](const Ip &from, const Ip &to) { return segment(protocol, from, to); }, "plain");
		both_ways(t, 1, [](const Ip &, const Ip &) { return build::icmp(8, 0, 1, 2, 20); }, "echo");
		both_ways(t, 132, [](const Ip &, const Ip &) { return Bytes(30, 0x42); }, "without addresses in the checksum");
	}},
	{"rewritten", "ICMP errors quote what their receiver sent", [](Trial &t) {
		translate_machines(t);
		for (const std::uint8_t protocol : {6, 17, 33, 136, 132}) {
			for (const std::uint8_t type : {3, 4, 5, 11, 12})
				both_ways(t, 1, [&](const Ip &from, const Ip &to) { return error_about(from, to, protocol, type); }, "an error");
			for (const std::uint8_t type : {1, 2, 3, 4})
				both_ways(t, 58, [&](const Ip &from, const Ip &to) { return error_about(from, to, protocol, type); }, "an error");
		}
	}},
	{"rewritten", "ICMP errors about others keep every byte", [](Trial &t) {
		translate_machines(t);
		// Of TCP, whose checksum is the zero that an update of nothing would turn over; so is the ICMP checksum.
		Bytes quoted = cut(packet({}, stranger_ip, far_pa, 6, with16(segment(6, stranger_ip, far_pa), 16, 0xFFFF)), 14 + 20 + 20);
		Bytes message(8);
		message[0] = 3;
		message.insert(message.end(), quoted.begin() + static_cast<std::ptrdiff_t>(ip_at), quoted.end());
		model::put16(message, 2, 0xFFFF);
		becomes(t, t.vm1, packet(inside, vm1_ip, remote1_ip, 1, message), t.uplink, packet(outside, vm1_nat, remote1_nat, 1, message), "about others");
	}},
	{"rewritten", "UDP without a checksum, and checksums that come out as 0", [](Trial &t) {
		translate_machines(t);
		both_ways(t, 17, [](const Ip &from, const Ip &to) { return with16(segment(17, from, to), 6, 0); }, "no checksum");
		for (const std::uint8_t protocol : {6, 17, 136})
			for (const Way &way : {out4, out6}) {
				// A word of the payload that makes the checksum of the rewritten packet 0.
				const std::size_t at = checksum_at(protocol);
				Bytes probe = with16(segment(protocol, way.pa_from, way.pa_to), 22, 0);
				model::put16(probe, 22, right_checksum(protocol, way.pa_from, way.pa_to, probe));
				const Bytes left = with16(probe, at, protocol == 6 ? 0 : 0xFFFF);
				const Bytes came = with16(probe, at, right_checksum(protocol, way.ca_from, way.ca_to, probe));
				becomes(t, t.vm1, packet(inside, way.ca_from, way.ca_to, protocol, came), t.uplink,
					packet(outside, way.pa_from, way.pa_to, protocol, left), "0, protocol " + std::to_string(protocol));
			}
	}},
	{"rewritten", "routed: TTL, another virtual subnet", [](Trial &t) {
		translate_machines(t);
		const Bytes out = packet({router_mac, vm1_mac, 0, model::type_ipv4}, vm1_ip, remote2_ip, 17, segment(17, vm1_ip, remote2_ip), 9);
		becomes(t, t.vm1, out, t.uplink, packet(outside, vm1_nat, remote2_nat, 17, segment(17, vm1_nat, remote2_nat), 8), "routed", 1);
	}},
	{"rewritten", "a tag and padding; the machine's MAC", [](Trial &t) {
		translate_machines(t, 100, APUS_RECORD_USE_VM_MAC);
		const Bytes out = tagged(padded(packet(inside, vm1_ip, remote1_ip, 17, segment(17, vm1_ip, remote1_ip))));
		const build::Ethernet link{remote_pa_mac, vm1_mac, 100, model::type_ipv4};
		becomes(t, t.vm1, out, t.uplink, packet(link, vm1_nat, remote1_nat, 17, segment(17, vm1_nat, remote1_nat)), "out");
		Bytes in = padded(tagged(packet(coming, remote1_nat, vm1_nat, 17, segment(17, remote1_nat, vm1_nat)), 1, 0x88A8, 100));
		becomes(t, t.uplink, in, t.vm1, packet(arriving, remote1_ip, vm1_ip, 17, segment(17, remote1_ip, vm1_ip)), "in");
		// Who answers needs the MAC that frames to this host have.
		t.remove_neighbor(remote1_nat);
		const auto asked = t.send(t.vm1, vm1_to_remote1());
		const auto arp = asked.size() == 1 ? model::Arp::parse(asked[0].bytes, 18) : std::nullopt;
		t.check(arp && arp->sender_mac == nat_mac && arp->sender == vm1_nat && model::get_mac(asked[0].bytes, 6) == nat_mac, "who asks");
		const auto answered = t.send(t.uplink, build::arp({nat_mac, remote_pa_mac, 100, model::type_arp}, {2, remote_pa_mac, remote1_nat, nat_mac, vm1_nat}));
		t.check(answered.size() == 1, "the packet that waited");
	}},
	{"rewritten", "fragments, each by itself", [](Trial &t) {
		translate_machines(t);
		set_peer(t, remote1_nat, with_mtu(128));
		const Bytes whole = segment(17, vm1_ip, remote1_ip, 300), translated = segment(17, vm1_nat, remote1_nat, 300);
		const Bytes out = packet(inside, vm1_ip, remote1_ip, 17, whole, 64, 0);
		t.mark();
		const auto sent = t.send(t.vm1, out);
		std::size_t bytes = 0;
		for (std::size_t i = 0; i < sent.size(); i++) {
			const std::size_t from = i * 104, to = std::min<std::size_t>(from + 104, 300);
			const Bytes part(translated.begin() + static_cast<std::ptrdiff_t>(from), translated.begin() + static_cast<std::ptrdiff_t>(to));
			const auto field = static_cast<std::uint16_t>(from / 8 | (to < 300 ? 0x2000 : 0));
			t.check(sent[i].bytes == packet(outside, vm1_nat, remote1_nat, 17, part, 64, field), "fragment " + std::to_string(i));
			bytes += sent[i].bytes.size();
		}
		t.check(sent.size() == 3, "three fragments");
		t.moved(burst(1, out.size(), 3, bytes) + new_flow +
			Moves{{&Stats::consumed, 1}, {&Stats::generated, 3}, {&Stats::rewritten, 3}, {&Stats::fragmented, 1}});
	}},
	{"path_mtu_updates", "smaller ones only, and for ten minutes", [](Trial &t) {
		learns(t, too_big(sent_to_remote1(), 1542), 0);
		learns(t, too_big(sent_to_remote1(), 1400), 1);
		learns(t, too_big(sent_to_remote1(), 1400), 0);
		learns(t, too_big(sent_to_remote1(), 1500), 0);
		learns(t, too_big(sent_vxlan(), 1399), 1);
		t.now += 600 * second - 1;
		learns(t, too_big(sent_to_remote1(), 1400), 0);
		t.now += 1;
		learns(t, too_big(sent_to_remote1(), 1400), 1);
		learns(t, too_big6(sent_to_remote1_ip6(), 0), 1);  // raised to 1280
		learns(t, too_big6(sent_to_remote1_ip6(), 1280), 0);
	}},
	{"path_mtu_updates", "forgotten with a static neighbour, also where the next decision equals the one of before", [](Trial &t) {
		const Bytes big = udp(remote1_mac, vm1_mac, vm1_ip, remote1_ip, 64, 0, 1200);
		t.passes(t.vm1, with16(big, ip_at + 20, 77), t.uplink);  // another flow keeps the decision
		t.passes(t.vm1, big, t.uplink);
		learns(t, too_big(sent_to_remote1(), 1000), 1);
		t.remove_neighbor(remote_pa);
		t.add_neighbor(remote_pa, remote_pa_mac);
		t.passes(t.vm1, big, t.uplink);
		t.now += 2 * second;
		t.passes(t.vm1, big, t.uplink);
	}},
	{"path_mtu_updates", "the sender of what is too big is told, with the tunnel's share taken off", [](Trial &t) {
		learns(t, too_big(sent_to_remote1(), 1000), 1);
		const auto told_mtu = [&] {
			const auto sent = t.send(t.vm1, packet_of(1500));
			return sent.size() == 1 && sent[0].port == t.vm1 ? model::get16(sent[0].bytes, 14 + 20 + 6) : 0;
		};
		report::equal(told_mtu(), 958, "NVGRE");
		set_peer(t, remote_pa, vxlan());
		report::equal(told_mtu(), 950, "VXLAN");
	}, nullptr, APUS_DROP_MTU_EXCEEDED},
	{"encapsulated", "what peers want", [](Trial &t) {
		const auto first = [&](const model::Peer &peer, const Bytes &frame) {
			set_peer(t, remote_pa, peer);
			const auto sent = t.send(t.vm1, frame);
			t.check(sent.size() == 1 && sent[0].port == t.uplink, "one frame leaves");
			return sent.size() == 1 ? sent[0].bytes : Bytes(100);
		};
		t.mark();
		std::size_t bytes = 0;
		build::Ip4 header;
		header.source = vm1_ip;
		header.destination = remote1_ip;
		header.tos = 0xB9;
		header.fragment = 0;
		header.identification = 0x4321;
		const Bytes frame = build::ipv4(inside, header, build::transport(1000, 2000, 20));
		const auto outer = [&](const model::Peer &peer) {
			const Bytes sent = first(peer, frame);
			bytes += sent.size();
			t.check(model::internet_checksum(sent, ip_at, 20) == 0, "outer checksum");
			return sent;
		};
		const Bytes plain = outer({});
		report::equal(plain[ip_at + 1], 0xB9, "TOS is copied");
		report::equal(model::get16(plain, ip_at + 6), 0x4000, "DF");
		report::equal(model::get32(plain, gre_at + 4) >> 8, subnet1, "key");
		const std::uint8_t flow = plain[gre_at + 7];
		model::Peer peer;
		peer.dscp_mode = APUS_DSCP_PIPE;
		peer.dscp = 46;
		report::equal(outer(peer)[ip_at + 1], 46 << 2 | 1, "pipe");
		peer.ecn_mode = APUS_ECN_COMPATIBILITY;
		report::equal(outer(peer)[ip_at + 1], 46 << 2, "pipe without ECN");
		peer = {};
		peer.ecn_mode = APUS_ECN_COMPATIBILITY;
		report::equal(outer(peer)[ip_at + 1], 0xB8, "without ECN");
		peer = {};
		peer.df_mode = APUS_DF_COPY;
		const Bytes copied = outer(peer);
		report::equal(model::get32(copied, ip_at + 4), 0x43210000, "identification, no DF");
		peer = {};
		peer.ttl = 7;
		report::equal(outer(peer)[ip_at + 8], 7, "TTL");
		peer = {};
		peer.flow_id = APUS_FLOW_ID_ZERO;
		report::equal(outer(peer)[gre_at + 7], 0, "FlowID");
		report::equal(model::get32(outer(draft00()), gre_at + 4), subnet1, "draft-00");
		const Bytes in_vxlan = outer(vxlan());
		report::equal(in_vxlan[ip_at + 9], 17, "UDP");
		report::equal(model::get32(in_vxlan, gre_at), (0xC000u | flow << 6 | flow >> 2) << 16 | 4789, "ports");
		report::equal(model::get32(in_vxlan, gre_at + 4), (16 + frame.size()) << 16, "length and checksum of UDP");
		report::equal(model::get32(in_vxlan, gre_at + 8), 0x08000000, "VXLAN flags");
		report::equal(model::get32(in_vxlan, gre_at + 12), subnet1 << 8, "VNI");
		t.check(Bytes(in_vxlan.begin() + gre_at + 16, in_vxlan.end()) == frame, "the customer's frame");
		t.moved(Moves{{&Stats::received, 9}, {&Stats::received_bytes, static_cast<std::int64_t>(9 * frame.size())}, {&Stats::transmitted, 9},
			      {&Stats::transmitted_bytes, static_cast<std::int64_t>(bytes)}, {&Stats::bursts, 9}, {&Stats::encapsulated, 9}},
			0, flow_counters);
	}},
	{"decapsulated", "the outer DSCP comes inside from uniform peers only", [](Trial &t) {
		const auto inner_tos = [&](std::uint8_t mode, std::uint8_t inner, std::uint8_t outer_tos) {
			model::Peer peer;
			peer.dscp_mode = mode;
			set_peer(t, remote_pa, peer);
			const auto sent = t.send(t.uplink, build::nvgre(outer_ethernet(), [&] {
				build::Ip4 outer = outer_ip();
				outer.tos = outer_tos;
				return outer;
			}(), subnet1, 1, remote1_to_vm1(inner)));
			t.check(sent.size() == 1 && model::internet_checksum(sent[0].bytes, ip_at, 20) == 0, "inner checksum");
			return sent.size() == 1 ? sent[0].bytes[ip_at + 1] : 0xEE;
		};
		report::equal(inner_tos(APUS_DSCP_COPY, 0x29, 0xB8), 0x29, "copy");
		report::equal(inner_tos(APUS_DSCP_PIPE, 0x29, 0xB8), 0x29, "pipe");
		report::equal(inner_tos(APUS_DSCP_UNIFORM, 0x29, 0xB8), 0xB9, "uniform");
		report::equal(inner_tos(APUS_DSCP_UNIFORM, 0x2A, 0xBB), 0xBB, "uniform, and congestion");
		const Bytes frame = tunnel();
		t.mark();
		t.send(t.uplink, frame);
		t.moved(burst(1, frame.size(), 1, frame.size() - 42) + Moves{{&Stats::decapsulated, 1}}, 0, flow_counters);
	}},
};

}  // namespace trial
