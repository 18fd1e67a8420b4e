// SPDX-License-Identifier: Apache-2.0
// A gateway on the host of fixture.hpp: the default route of the tenant leads to 10.0.2.254, which is an external port.
//
//     outside: 203.0.113.2/24 and 2001:db8:e::2/64, router .1 (::1)       far away: 198.51.100.7, 2001:db8:99::7
#include "external.hpp"

#include <sys/mman.h>

#include "hosts.hpp"

namespace external {

using namespace trial;
using hosts::poll;

namespace {

constexpr Mac gateway_mac = 0x6000600002FE, outer_router_mac = 0x020000000901, neighbour_mac = 0x020000000905;
constexpr Ip gateway_ip = ip(10, 0, 2, 254), outside_ip = ip(203, 0, 113, 2), router_ip = ip(203, 0, 113, 1);
constexpr Ip neighbour_ip = ip(203, 0, 113, 5), far_ip = ip(198, 51, 100, 7);
constexpr std::uint64_t outside_net = 0x20010DB8000E0000, far_net = 0x20010DB800990000;
constexpr Ip gateway_ip6 = ip6(net2, 0xFE), outside_ip6 = ip6(outside_net, 2), router_ip6 = ip6(outside_net, 1), far_ip6 = ip6(far_net, 7);

struct Options {
	std::uint16_t vlan = 0;
	std::uint32_t parent = 0;
	std::uint16_t mtu = 1500;
	bool has_next_hop = true;
	bool has_ipv6 = false;
};

struct apus_port_params params(const Options &options)
{
	struct apus_port_params out;
	APUS_INIT(&out);
	out.kind = APUS_PORT_EXTERNAL;
	out.virtual_subnet_id = subnet2;
	out.routing_domain_id = objects::guid(tenant(1));
	out.mac = objects::mac(gateway_mac);
	out.mtu = options.mtu;
	out.vlan = options.vlan;
	out.parent_port = options.parent;
	out.ipv4.address = objects::address(outside_ip);
	out.ipv4.prefix_length = 24;
	if (options.has_next_hop)
		out.ipv4.next_hop = objects::address(router_ip);
	if (options.has_ipv6) {
		out.ipv6.address = objects::address(outside_ip6);
		out.ipv6.prefix_length = 64;
		out.ipv6.next_hop = objects::address(router_ip6);
	}
	return out;
}

/// The external port, its record and the default route to it.
std::uint32_t add_gateway(Trial &t, const Options &options = {})
{
	t.add_record(subnet2, gateway_ip, gateway_mac, our_pa);
	t.add_route(subnet2, {0, 0}, gateway_ip);
	if (options.has_ipv6) {
		t.add_ipv6();
		t.add_record(subnet2, gateway_ip6, gateway_mac, our_pa6);
		t.add_route(subnet2, {Ip::unspecified(6), 0}, gateway_ip6);
	}
	const auto object = params(options);
	std::uint32_t id = 0;
	MUST(apus_port_add(t.dataplane, &object, &id));
	return id;
}

void remove_route(Trial &t, Vsid vsid, const model::Prefix &prefix, const Ip &next_hop)
{
	const auto object = objects::customer_route({tenant(1), vsid, prefix, next_hop}, {});
	MUST(apus_customer_route_remove(t.dataplane, &object));
}

// ---- frames

Bytes out_of_vm1(std::uint8_t ttl = 64, std::size_t size = 20) { return udp(router_mac, vm1_mac, vm1_ip, far_ip, ttl, 0, size); }
/// The same packet as remote2 sends it: its host has routed it already.
Bytes out_of_tunnel(std::uint8_t ttl = 63, std::uint8_t tos = 0, std::size_t size = 20, const Ip &to = far_ip)
{
	return tunnelled(udp(gateway_mac, remote2_mac, remote2_ip, to, ttl, tos, size), subnet2);
}
Bytes into_vm1(std::uint8_t ttl = 60, const Ip &from = far_ip, std::size_t size = 20) { return udp(gateway_mac, outer_router_mac, from, vm1_ip, ttl, 0, size); }
Bytes into_remote1(std::uint8_t ttl = 60, std::size_t size = 20) { return udp(gateway_mac, outer_router_mac, far_ip, remote1_ip, ttl, 0, size); }
Bytes with_tag(const Bytes &bytes, std::uint16_t vlan) { return vlan == 0 ? bytes : tagged(bytes, 1, 0x8100, vlan); }

Bytes router_arp(std::uint16_t operation, const Ip &sender = router_ip, Mac mac = outer_router_mac)
{
	return build::arp({operation == 1 ? broadcast : gateway_mac, mac, 0, model::type_arp},
			  {operation, mac, sender, operation == 1 ? 0 : gateway_mac, outside_ip});
}
Bytes asks_for(const Ip &target) { return build::arp({broadcast, gateway_mac, 0, model::type_arp}, {1, gateway_mac, outside_ip, 0, target}); }

Bytes ping(Mac to_mac, Mac from_mac, const Ip &from, const Ip &to, std::uint8_t type = 8, std::uint8_t ttl = 64)
{
	build::Ip4 header;
	header.source = from;
	header.destination = to;
	header.protocol = 1;
	header.ttl = ttl;
	return build::ipv4({to_mac, from_mac, 0, model::type_ipv4}, header, build::icmp(type, 0, 7, 1, 24));
}

/// What a router does to a packet.
Bytes routed(Bytes frame, Mac to, Mac from)
{
	model::put_mac(frame, 0, to);
	model::put_mac(frame, 6, from);
	const bool is_v6 = model::get16(frame, 12) == model::type_ipv6;
	const std::size_t ttl = is_v6 ? 21 : 22;
	model::put8(frame, ttl, static_cast<std::uint8_t>(frame[ttl] - 1));
	if (!is_v6) {
		model::put16(frame, 24, 0);
		model::put16(frame, 24, model::internet_checksum(frame, 14, 20));
	}
	return frame;
}

/// The router outside is asked for and answers; `first` is what waited for it.
void resolve(Trial &t, std::uint32_t device, std::uint32_t from, const Bytes &first, std::uint16_t vlan = 0)
{
	const auto asked = t.send(from, first);
	t.check(asked.size() == 1 && asked[0].port == device && asked[0].bytes == with_tag(asks_for(router_ip), vlan), "the router outside is asked for");
	const auto sent = t.send(device, with_tag(router_arp(2), vlan));
	t.check(sent.size() == 1 && sent[0].port == device && sent[0].id != model::new_buffer, "what waited leaves");
}

/// One frame leaves through `device` as `expected`.
void leaves(Trial &t, std::uint32_t from, const Bytes &frame, std::uint32_t device, const Bytes &expected, const char *what)
{
	const auto sent = t.send(from, frame);
	t.check(sent.size() == 1 && sent[0].port == device, std::string(what) + ": where it leaves");
	if (sent.size() == 1)
		t.check(sent[0].bytes == expected, std::string(what) + ": what leaves");
}

}  // namespace

const std::vector<DropCase> drop_cases = {
	{APUS_DROP_EXTERNAL_ROUTE_MISSING, "no next hop outside, or no address of the family", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1500, false});
		t.drops("from a vm port", t.vm1, out_of_vm1());
		t.drops("out of a tunnel", t.uplink, out_of_tunnel());
		t.drops("IPv6 from outside", e, udp6(gateway_mac, outer_router_mac, far_ip6, vm1_ip6));
	}},
	{APUS_DROP_OUTER_VLAN, "external ports have other VLANs", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		t.drops("untagged", e, into_vm1());
		t.drops("another one", e, with_tag(into_vm1(), 101));
		t.passes(e, with_tag(into_vm1(), 100), t.vm1);
	}},
	{APUS_DROP_OUTER_VLAN, "nobody on a trunk has the VLAN", [](Trial &t) {
		t.add_pa(other_pa, t.uplink, our_pa_mac, 300);
		t.drops("a provider port alone", t.uplink, with_tag(into_vm1(), 100));
		const auto e = add_gateway(t, {100, t.uplink});
		const Bytes tunnel = tunnelled(remote1_to_vm1());
		Bytes foreign = tunnelled6(remote1_to_vm1_ip6());
		model::put_ip(foreign, ip_at + 24, ip6(site, 0x99));
		for (const std::uint16_t vlan : {99, 101, 4094}) {
			t.drops("IPv4", t.uplink, with_tag(into_vm1(), vlan));
			t.drops("IPv6", t.uplink, with_tag(udp6(gateway_mac, outer_router_mac, far_ip6, vm1_ip6), vlan));
			t.drops("a tunnel for us", t.uplink, with_tag(tunnel, vlan));
			t.drops("another's tunnel", t.uplink, with_tag(foreign, vlan));
		}
		t.passes(t.uplink, tunnel, t.vm1);
		t.mark();
		t.check(t.send(t.uplink, with_tag(into_vm1(), 100)).size() == 1, "the external port's VLAN");
		MUST(apus_port_remove(t.dataplane, e));
		t.drops("it is nobody's now", t.uplink, with_tag(into_vm1(), 100));
	}},
	{APUS_DROP_OUTER_NOT_OURS, "on a trunk, in the VLANs of provider addresses", [](Trial &t) {
		t.add_pa(other_pa, t.uplink, our_pa_mac, 300);
		add_gateway(t, {100, t.uplink});
		t.drops("untagged", t.uplink, into_vm1());
		t.drops("tagged", t.uplink, with_tag(into_vm1(), 300));
		t.drops("of another family", t.uplink, with_tag(udp6(gateway_mac, outer_router_mac, far_ip6, vm1_ip6), 300));
		const auto invalid = [&] {
			auto object = objects::provider_address(other_pa, {t.uplink, 24, 300, our_pa_mac});
			object.state = APUS_ADDRESS_INVALID;
			return object;
		}();
		MUST(apus_provider_address_set(t.dataplane, &invalid));
		t.drops("its address is INVALID", t.uplink, with_tag(into_vm1(), 300));
		t.passes(t.uplink, tunnelled(remote1_to_vm1()), t.vm1);
	}},
	{APUS_DROP_OUTER_TRUNCATED, "the frame ends inside its tag", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops(e, cut(with_tag(into_vm1(), 0xF000), 17));
		t.passes(e, with_tag(into_vm1(), 0xF000), t.vm1);  // VLAN 0: a priority tag
	}},
	{APUS_DROP_OUTER_MAC, "to another machine outside", [](Trial &t) {
		const auto e = add_gateway(t);
		Bytes other = into_vm1();
		model::put_mac(other, 0, neighbour_mac);
		t.drops(e, other);
		t.passes(e, into_vm1(), t.vm1);
	}},
	{APUS_DROP_NOT_UNICAST, "multicast outside stays there", [](Trial &t) {
		const auto e = add_gateway(t);
		Bytes group = into_vm1();
		model::put_mac(group, 0, group_mac);
		t.drops("MAC", e, group);
		t.drops("address", e, udp(gateway_mac, outer_router_mac, far_ip, ip(224, 0, 0, 5)));
	}},
	{APUS_DROP_ETHERTYPE, "neither IP nor ARP outside", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops(e, with16(into_vm1(), 12, 0x88CC));
	}},
	{APUS_DROP_IP_MALFORMED, "malformed outside", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		for (const auto &[what, bytes] : malformed_ip(into_vm1()))
			t.drops(what, e, with_tag(bytes, 100));
		t.drops("source is a group", e, with_tag(udp(gateway_mac, outer_router_mac, ip(224, 0, 0, 1), vm1_ip), 100));
	}},
	{APUS_DROP_SOURCE_CA_MAC, "nobody outside has a customer's address", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops("of a machine here", e, into_vm1(60, vm2_ip));
		t.drops("of a machine elsewhere", e, into_vm1(60, remote2_ip));
		auto broken = objects::record({subnet2, remote2_ip}, {remote2_mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, remote_pa});
		broken.flags = APUS_RECORD_UNUSABLE;
		MUST(apus_lookup_record_set(t.dataplane, &broken));
		t.drops("of a machine whose record is unusable", e, into_vm1(60, remote2_ip));
		t.passes(e, into_vm1(), t.vm1);
	}},
	{APUS_DROP_SOURCE_RECORD_MISSING, "nor one that a machine or the router could have", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1500, true, true});
		const auto into_vm1_ip6 = [](const Ip &from) { return udp6(gateway_mac, outer_router_mac, from, vm1_ip6); };
		for (const Ip &inside : {stranger_ip, ip(10, 0, 1, 255), ip(10, 0, 2, 77), gateway1, gateway2})
			t.drops(inside == gateway1 || inside == gateway2 ? "a gateway" : "on-link", e, into_vm1(60, inside));
		t.drops("into a tunnel", e, udp(gateway_mac, outer_router_mac, stranger_ip, remote1_ip));
		for (const Ip &inside : {ip6(net1, 77), ip6(net2, 77), gateway1_ip6, gateway2_ip6})
			t.drops(inside == gateway1_ip6 || inside == gateway2_ip6 ? "an IPv6 gateway" : "on-link, IPv6", e, into_vm1_ip6(inside));
		t.passes(e, into_vm1(60, ip(10, 0, 0, 255)), t.vm1);
		t.passes(e, into_vm1(60, ip(10, 0, 3, 0)), t.vm1);
		t.passes(e, into_vm1_ip6(ip6(net2 + 0x10000, 77)), t.vm1);
	}},
	{APUS_DROP_SOURCE_RECORD_MISSING, "what is inside is what the policy of the moment says", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1500, true, true});
		const Bytes near = into_vm1(60, stranger_ip), far = into_vm1();
		const Bytes near6 = udp6(gateway_mac, outer_router_mac, ip6(net1, 77), vm1_ip6);
		// A part of the subnet is outside, but not its gateway.
		t.drops("on-link", e, near);
		t.add_route(subnet2, {ip(10, 0, 1, 64), 26}, gateway_ip);
		t.passes(e, near, t.vm1);
		t.add_route(subnet2, {ip(10, 0, 1, 0), 31}, gateway_ip);
		t.drops("a gateway, on a route that leads out", e, into_vm1(60, gateway1));
		remove_route(t, subnet2, {ip(10, 0, 1, 64), 26}, gateway_ip);
		t.drops("on-link again, a known flow", e, near);
		t.drops("on-link, IPv6", e, near6);
		t.add_route(subnet2, {ip6(net1, 64), 122}, gateway_ip6);
		t.passes(e, near6, t.vm1);
		remove_route(t, subnet2, {ip6(net1, 64), 122}, gateway_ip6);
		t.drops("on-link again, a known IPv6 flow", e, near6);
		// What was outside becomes a subnet.
		t.passes(e, far, t.vm1);
		t.add_route(subnet1, {ip(198, 51, 100, 0), 24});
		t.drops("on-link now", e, far);
		remove_route(t, subnet1, {ip(198, 51, 100, 0), 24}, Ip::unspecified(4));
		t.passes(e, far, t.vm1);
		t.add_route(subnet1, {far_ip, 32});
		t.drops("a gateway now", e, far);
		remove_route(t, subnet1, {far_ip, 32}, Ip::unspecified(4));
		t.passes(e, far, t.vm1);
	}},
	{APUS_DROP_SOURCE_RECORD_MISSING, "a wildcard record leads out what is on-link in its virtual subnet", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1500, true, true});
		const Bytes near = into_vm1(60, ip(10, 0, 2, 77));
		const auto wildcard = [](const Ip &any, Mac mac) { return objects::record({subnet2, any}, {mac, APUS_RULE_ENCAP, APUS_RECORD_GATEWAY_WILDCARD, our_pa}); };
		const auto others = wildcard(Ip::unspecified(4), vm3_mac), of_ip6 = wildcard(Ip::unspecified(6), gateway_mac), ours = wildcard(Ip::unspecified(4), gateway_mac);
		MUST(apus_lookup_record_add(t.dataplane, &others));
		MUST(apus_lookup_record_add(t.dataplane, &of_ip6));
		t.drops("another machine's, or of the other family", e, near);
		t.passes(e, udp6(gateway_mac, outer_router_mac, ip6(net2, 77), vm1_ip6), t.vm1);
		MUST(apus_lookup_record_add(t.dataplane, &ours));
		t.passes(e, near, t.vm1);
		t.drops("on-link elsewhere", e, into_vm1(60, stranger_ip));
		t.drops("a gateway", e, into_vm1(60, gateway2));
		MUST(apus_lookup_record_remove(t.dataplane, &ours));
		t.drops("it is gone, a known flow", e, near);
	}},
	{APUS_DROP_SOURCE_RECORD_MISSING, "with an external router a gateway's address is as any other", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops(e, into_vm1(60, gateway1));
		t.add_route(subnet2, {ip(10, 0, 1, 0), 31}, gateway_ip);
		t.passes(e, into_vm1(60, gateway1), t.vm1);
	}, [](Trial &t) { t.opts.flags = APUS_DATAPLANE_USE_EXTERNAL_ROUTER; }},
	{APUS_DROP_HAIRPIN, "what came from outside does not go back there", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops(e, udp(gateway_mac, outer_router_mac, neighbour_ip, far_ip));
	}},
	{APUS_DROP_GATEWAY_UNSERVED, "the gateway serves nothing", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops("its address outside", e, udp(gateway_mac, outer_router_mac, far_ip, outside_ip));
		t.drops("its address inside, from outside", e, udp(gateway_mac, outer_router_mac, far_ip, gateway_ip));
		t.drops("from a vm port", t.vm3, udp(gateway_mac, vm3_mac, vm3_ip, gateway_ip));
		t.drops("out of a tunnel", t.uplink, out_of_tunnel(63, 0, 20, gateway_ip));
	}},
	{APUS_DROP_LINK_LOCAL, "link-local addresses stay outside", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1500, true, true});
		t.drops(e, udp6(gateway_mac, outer_router_mac, model::link_local_of(outer_router_mac), vm1_ip6));
		t.passes(e, udp6(gateway_mac, outer_router_mac, far_ip6, vm1_ip6), t.vm1);
	}},
	{APUS_DROP_TTL_EXPIRED, "the last hop", [](Trial &t) {
		const auto e = add_gateway(t);
		t.drops("out, next hop unknown", t.vm1, out_of_vm1(1));
		resolve(t, e, t.vm1, out_of_vm1());
		t.drops("out", t.vm1, out_of_vm1(1));
		t.drops("out of a tunnel", t.uplink, out_of_tunnel(1));
		t.drops("in", e, into_vm1(1));
		t.passes(e, into_vm1(2), t.vm1);
	}, without_icmp_errors},
	{APUS_DROP_MTU_EXCEEDED, "too big for outside, and for the tunnel", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1000});
		resolve(t, e, t.vm1, out_of_vm1());
		t.drops("out", t.vm1, out_of_vm1(64, 1000));
		t.drops("out of a tunnel", t.uplink, out_of_tunnel(63, 0, 1000));
		t.drops("into a tunnel", e, into_remote1(60, 1490));
		t.passes(t.vm1, out_of_vm1(64, 1000 - 24), e);
	}, without_icmp_errors},
	{APUS_DROP_ECN, "congestion mark on what does not know it", [](Trial &t) {
		const auto e = add_gateway(t);
		resolve(t, e, t.uplink, out_of_tunnel());
		build::Ip4 outer = outer_ip();
		outer.tos = 3;
		const Bytes inner = udp(gateway_mac, remote2_mac, remote2_ip, far_ip, 63);
		t.drops(t.uplink, build::nvgre(outer_ethernet(), outer, subnet2, 0x42, inner));
	}},
	{APUS_DROP_NO_HEADROOM, "no room for the tag", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		resolve(t, e, t.vm1, out_of_vm1(), 100);
		Frame tight = t.frame(t.vm1, out_of_vm1());
		tight.headroom = 3;
		t.drops("three bytes", tight);
		tight.headroom = 4;
		t.passes(tight, e);
	}},
	{APUS_DROP_PROVIDER_ARP_MALFORMED, "malformed ARP outside", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		for (const auto &[what, bytes] : malformed_arp(router_arp(1)))
			t.drops(what, e, with_tag(bytes, 100));
		const Bytes answer = build::arp({outer_router_mac, gateway_mac, 0, model::type_arp}, {2, gateway_mac, outside_ip, outer_router_mac, router_ip});
		leaves(t, e, with_tag(router_arp(1), 100), e, with_tag(answer, 100), "a good one is answered");
	}},
	{APUS_DROP_PROVIDER_ARP_MALFORMED, "nothing is read behind an ARP frame that is cut off", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		const Bytes good = with_tag(router_arp(1), 100);
		// Behind the frame is a page that nobody may read.
		constexpr std::size_t page = 4096;
		void *const memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		t.check(memory != MAP_FAILED && mprotect(static_cast<char *>(memory) + page, page, PROT_NONE) == 0, "a guard page");
		struct apus_worker_opts options;
		APUS_INIT(&options);
		options.buffers.release = [](void *, void *const *, std::uint32_t) {};
		struct apus_worker *worker = nullptr;
		MUST(apus_worker_create(t.dataplane, &options, &worker));
		for (std::size_t length = 15; length < good.size(); length++) {
			struct apus_frame in = {}, out[2];
			in.data = static_cast<std::uint8_t *>(memory) + page - length;
			in.buffer = memory;
			std::copy_n(good.begin(), length, in.data);
			in.length = static_cast<std::uint32_t>(length);
			in.contiguous = static_cast<std::uint16_t>(length);
			in.headroom = 128;
			in.port = e;
			report::equal(apus_worker_process(worker, &in, 1, out, 2, t.now), 0, "a frame that is cut off");
		}
		MUST(apus_worker_destroy(worker));
		munmap(memory, 2 * page);
		t.drops("its first 27 bytes", e, cut(good, 18 + 27));
	}},
	{APUS_DROP_PROVIDER_ND_MALFORMED, "malformed neighbour discovery outside", [](Trial &t) {
		const auto e = add_gateway(t, {0, 0, 1500, true, true});
		const Bytes asks = hosts::discovery(outer_router_mac, model::nd_neighbour_solicitation, 0, router_ip6, model::solicited_node(outside_ip6), outside_ip6,
						    build::mac_option(model::nd_source_option, outer_router_mac));
		t.drops("hop limit", e, with8(asks, 14 + 7, 64));
		const Bytes answer = t.replies(e, asks);
		t.check(answer.size() == 86 && (answer[14 + 40 + 4] & 0x80) != 0, "the gateway is a router");
	}},
	{APUS_DROP_NEIGHBOR_FAILED, "nobody is there, or nobody asks the library to look", [](Trial &t) {
		const auto e = add_gateway(t);
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, neighbour_ip);
		// The notes are never fetched: three attempts of a second each.
		t.check(t.send(t.vm1, frame).empty(), "it waits");
		hosts::after(t, second);
		hosts::after(t, second);
		t.mark();
		hosts::after(t, second);
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::held, -1}}, 1);
		// Entered, asked, silent.
		t.check(t.send(t.vm1, frame).empty(), "it waits again");
		t.check(poll(t).empty(), "nothing is told");
		const auto asked = hosts::after(t, second);
		t.check(asked.size() == 1 && asked[0].port == e && asked[0].bytes == asks_for(neighbour_ip), "the neighbour is asked for");
		hosts::after(t, second);
		hosts::after(t, second);
		t.mark();
		hosts::after(t, second);
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::held, -1}}, 1);
	}},
	{APUS_DROP_NEIGHBOR_QUEUE_FULL, "eight packets wait for somebody who is not entered", [](Trial &t) {
		add_gateway(t);
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, neighbour_ip);
		for (unsigned i = 0; i < 8; i++)
			t.check(t.send(t.vm1, frame).empty(), "it waits");
		t.drops(t.vm1, frame);
	}},
	{APUS_DROP_NEW_FLOW_LIMIT, "of what comes from outside, not of answers", [](Trial &t) {
		const auto e = add_gateway(t);
		auto limited = params({});
		limited.new_flow_rate = 1;
		MUST(apus_port_set(t.dataplane, e, &limited));
		const auto flow = [](unsigned i) { return with16(into_vm1(), ip_at + 20, static_cast<std::uint16_t>(i)); };
		for (unsigned i = 0; i < 1024; i++)
			t.check(t.send(e, flow(i)).size() == 1, "one of 1024 at once");
		t.drops(e, flow(1024));
		const auto sent = t.send(t.uplink, tunnelled(ping(gateway_mac, remote2_mac, remote2_ip, outside_ip), subnet2));
		t.check(sent.size() == 1 && sent[0].port == t.uplink, "a tunnel's echo request is answered");
	}, [](Trial &t) { t.worker_opts.flow_capacity = 4096; }},
	{APUS_DROP_NEIGHBOR_FAILED, "next hops outside that nobody waited for any more make room", [](Trial &t) {
		const auto e = add_gateway(t);
		auto wide = params({});
		wide.ipv4.prefix_length = 16;
		MUST(apus_port_set(t.dataplane, e, &wide));
		const auto to = [](const Ip &address) { return udp(router_mac, vm1_mac, vm1_ip, address); };
		// Entered when their packets have been dropped: nobody ever asks for them.
		for (unsigned i = 0; i < APUS_EXTERNAL_NEIGHBORS_MAX; i++) {
			t.send(t.vm1, to(ip(203, 0, 1 + i / 128, 1 + i % 128)));
			for (unsigned wait = 0; wait < 3; wait++)
				hosts::after(t, second);
			poll(t);
		}
		t.check(t.totals().held == 0, "nothing waits");
		t.check(t.send(t.vm1, to(neighbour_ip)).empty(), "it waits");
		poll(t);
		const auto asked = hosts::after(t, 0);
		t.check(asked.size() == 1 && asked[0].bytes == asks_for(neighbour_ip), "a new one is entered and asked for");
		// It is not the one that makes room for the next.
		t.send(t.vm1, to(ip(203, 0, 113, 6)));
		poll(t);
		hosts::after(t, 0);
		t.check(t.send(e, router_arp(2, neighbour_ip, neighbour_mac)).size() == 1, "what waited leaves");
		t.mark();
		for (unsigned wait = 0; wait < 3; wait++)
			hosts::after(t, second);
		t.moved(Moves{{&Stats::held, -1}, {&Stats::bursts, 3}}, 1, {"generated", "transmitted", "transmitted_bytes", "arp_requests"});
	}},
	{APUS_DROP_NO_LOCAL_PORT, "the port is gone", [](Trial &t) {
		const auto e = add_gateway(t);
		resolve(t, e, t.vm1, out_of_vm1());
		MUST(apus_port_remove(t.dataplane, e));
		t.drops("from a vm port", t.vm1, out_of_vm1());
		t.drops("out of a tunnel", t.uplink, out_of_tunnel());
	}},
};

const std::vector<CounterCase> counter_cases = {
	{"routed", "out of a vm port and in, untagged and tagged, known flows too", [](Trial &t) {
		for (const std::uint16_t vlan : {0, 100}) {
			Trial other(t.name + (vlan != 0 ? " (VLAN)" : ""), t.reason);
			other.open_with_policy();
			const auto e = add_gateway(other, {vlan});
			resolve(other, e, other.vm1, out_of_vm1(), vlan);
			const Bytes out = with_tag(routed(out_of_vm1(), outer_router_mac, gateway_mac), vlan);
			for (const char *what : {"out", "out again"}) {
				other.mark();
				leaves(other, other.vm1, out_of_vm1(), e, out, what);
				other.moved(burst(1, out_of_vm1().size(), 1, out.size()) + Moves{{&Stats::routed, 1}}, 0, flow_counters);
			}
			const Bytes in = with_tag(into_vm1(), vlan);
			for (const char *what : {"in", "in again"}) {
				other.mark();
				leaves(other, e, padded(in), other.vm1, padded(routed(into_vm1(), vm1_mac, gateway_mac)), what);
				other.moved(burst(1, in.size() + 10, 1, into_vm1().size() + 10) + Moves{{&Stats::routed, 1}}, 0, flow_counters);
			}
			other.finish();
		}
		const auto e = add_gateway(t);
		t.mark();
		t.send(e, into_vm1());
		t.moved(burst(1, into_vm1().size(), 1, into_vm1().size()) + Moves{{&Stats::routed, 1}} + new_flow);
	}},
	{"decapsulated", "out of a tunnel and into one", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		resolve(t, e, t.uplink, out_of_tunnel(), 100);
		const Bytes inner = udp(gateway_mac, remote2_mac, remote2_ip, far_ip, 63);
		const Bytes out = with_tag(routed(inner, outer_router_mac, gateway_mac), 100);
		for (const char *what : {"out", "out again"}) {
			t.mark();
			leaves(t, t.uplink, out_of_tunnel(), e, out, what);
			t.moved(burst(1, out_of_tunnel().size(), 1, out.size()) + Moves{{&Stats::routed, 1}, {&Stats::decapsulated, 1}}, 0, flow_counters);
		}
		const Bytes in = with_tag(into_remote1(), 100);
		const auto sent = t.send(e, in);
		const Bytes expected = routed(into_remote1(), remote1_mac, gateway_mac);
		t.check(sent.size() == 1 && sent[0].port == t.uplink && Bytes(sent[0].bytes.begin() + 42, sent[0].bytes.end()) == expected, "into a tunnel");
		// The outer header has an option, which is accepted: as any other.
		Trial other(t.name + " (options)", t.reason);
		other.opts.flags = APUS_DATAPLANE_ACCEPT_IP_OPTIONS;
		other.open_with_policy();
		const auto e2 = add_gateway(other);
		resolve(other, e2, other.uplink, out_of_tunnel());
		build::Ip4 outer = outer_ip();
		outer.options = 1;
		const Bytes frame = build::ipv4(outer_ethernet(), outer, build::gre(0x2000, model::type_bridging, subnet2 << 8 | 0x42, inner));
		leaves(other, other.uplink, frame, e2, routed(inner, outer_router_mac, gateway_mac), "with an option");
	}},
	{"routed", "IPv6", [](Trial &t) {
		const auto e = add_gateway(t, {100, 0, 1500, true, true});
		const Bytes packet = udp6(router_mac, vm1_mac, vm1_ip6, far_ip6);
		const auto asked = t.send(t.vm1, packet);
		t.check(asked.size() == 1 && asked[0].port == e && asked[0].bytes.size() == 90, "the router outside is solicited");
		const Bytes answer = with_tag(build::ipv6({gateway_mac, outer_router_mac, 0, model::type_ipv6},
			[] { build::Ip6 h; h.source = router_ip6; h.destination = outside_ip6; h.hop_limit = 255; h.next_header = 58; return h; }(),
			build::icmpv6(model::nd_neighbour_advertisement, 0, build::discovery_body(model::nd_neighbour_advertisement, 0x60, router_ip6,
				build::mac_option(model::nd_target_option, outer_router_mac)), router_ip6, outside_ip6)), 100);
		const auto sent = t.send(e, answer);
		const Bytes out = with_tag(routed(packet, outer_router_mac, gateway_mac), 100);
		t.check(sent.size() == 1 && sent[0].bytes == out, "what waited leaves");
		t.mark();
		leaves(t, t.vm1, packet, e, out, "out");
		t.moved(burst(1, packet.size(), 1, out.size()) + Moves{{&Stats::routed, 1}}, 0, flow_counters);
		const Bytes in = udp6(gateway_mac, outer_router_mac, far_ip6, vm1_ip6);
		leaves(t, e, with_tag(in, 100), t.vm1, routed(in, vm1_mac, gateway_mac), "in");
		const Bytes tunnel = tunnelled6(udp6(gateway_mac, remote2_mac, remote2_ip6, far_ip6, 63), subnet2);
		leaves(t, t.uplink, tunnel, e, with_tag(routed(udp6(gateway_mac, remote2_mac, remote2_ip6, far_ip6, 63), outer_router_mac, gateway_mac), 100), "out of a tunnel");
	}},
	{"port received", "one device carries provider addresses and two tenants with the same addresses", [](Trial &t) {
		const auto e = add_gateway(t, {100, t.uplink});
		// The other tenant: subnets 7000 and 7001 of tenant 2, machine vm1 with the same MAC and address.
		const Vsid other1 = 7000, other2 = 7001;
		const auto vm = t.add_vm(other1, vm1_mac);
		t.add_record(other1, vm1_ip, vm1_mac, our_pa);
		t.add_record(other2, gateway_ip, gateway_mac, our_pa);
		t.add_route(other1, {ip(10, 0, 1, 0), 24}, {}, 2);
		t.add_route(other2, {ip(10, 0, 2, 0), 24}, {}, 2);
		t.add_route(other2, {0, 0}, gateway_ip, 2);
		auto second_port = params({200, t.uplink});
		second_port.virtual_subnet_id = other2;
		second_port.routing_domain_id = objects::guid(tenant(2));
		std::uint32_t e2 = 0;
		MUST(apus_port_add(t.dataplane, &second_port, &e2));
		resolve(t, t.uplink, t.vm1, out_of_vm1(), 100);
		resolve(t, t.uplink, vm, out_of_vm1(), 200);
		const Bytes out = routed(out_of_vm1(), outer_router_mac, gateway_mac);
		t.mark();
		leaves(t, t.vm1, out_of_vm1(), t.uplink, with_tag(out, 100), "the first tenant, out");
		leaves(t, vm, out_of_vm1(), t.uplink, with_tag(out, 200), "the second tenant, out");
		leaves(t, t.uplink, with_tag(into_vm1(), 100), t.vm1, routed(into_vm1(), vm1_mac, gateway_mac), "the first tenant, in");
		leaves(t, t.uplink, with_tag(into_vm1(), 200), vm, routed(into_vm1(), vm1_mac, gateway_mac), "the second tenant, in");
		const auto size = static_cast<std::int64_t>(out.size());
		const std::vector<Move<PortStats>> once = {{&PortStats::received, 1}, {&PortStats::received_bytes, size + 4},
							   {&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, size + 4}};
		std::vector<Move<PortStats>> twice = once;
		twice.insert(twice.end(), once.begin(), once.end());
		const std::vector<Move<PortStats>> machine = {{&PortStats::received, 1}, {&PortStats::received_bytes, size},
							      {&PortStats::transmitted, 1}, {&PortStats::transmitted_bytes, size}};
		t.ports_moved({{t.uplink, twice}, {e, once}, {e2, once}, {t.vm1, machine}, {vm, machine}});
		// Tunnels still come in, untagged.
		t.passes(t.uplink, tunnelled(remote1_to_vm1()), t.vm1);
	}},
	{"held", "a neighbour outside that nobody named", [](Trial &t) {
		const auto e = add_gateway(t);
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, neighbour_ip);
		t.mark();
		t.check(t.send(t.vm1, frame).empty(), "it waits");
		t.moved(burst(1, frame.size(), 0, 0) + Moves{{&Stats::held, 1}}, 0, flow_counters);
		t.check(poll(t).empty(), "nothing is told");
		const auto asked = hosts::after(t, 0);
		t.check(asked.size() == 1 && asked[0].port == e && asked[0].bytes == asks_for(neighbour_ip), "it is asked for");
		const auto sent = t.send(e, router_arp(2, neighbour_ip, neighbour_mac));
		const Bytes expected = routed(frame, neighbour_mac, gateway_mac);
		t.check(sent.size() == 1 && sent[0].bytes == expected, "what waited leaves");
		leaves(t, t.vm1, frame, e, expected, "the next one");
	}},
	{"held", "the neighbour goes with the port", [](Trial &t) {
		const auto e = add_gateway(t);
		const Bytes frame = udp(router_mac, vm1_mac, vm1_ip, neighbour_ip);
		t.send(t.vm1, frame);
		poll(t);
		hosts::after(t, 0);  // asked for
		auto object = params({100});
		MUST(apus_port_set(t.dataplane, e, &object));
		const auto sent = hosts::after(t, 0);
		t.check(sent.empty() && t.totals().held == 1, "it waits for an entry again");
		poll(t);
		const auto asked = hosts::after(t, 0);
		t.check(asked.size() == 1 && asked[0].bytes == with_tag(asks_for(neighbour_ip), 100), "in the new VLAN");
		MUST(apus_port_remove(t.dataplane, e));
		t.mark();
		hosts::after(t, 0);
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::held, -1}}, 1, flow_counters);
	}, nullptr, APUS_DROP_NO_LOCAL_PORT},
	{"held", "the router outside is another one in another VLAN, also within a transaction", [](Trial &t) {
		const auto e = add_gateway(t);
		resolve(t, e, t.vm1, out_of_vm1());
		const auto elsewhere = params({100});
		MUST(apus_port_set(t.dataplane, e, &elsewhere));
		resolve(t, e, t.vm1, out_of_vm1(), 100);
		MUST(apus_transaction_begin(t.dataplane));
		const auto here = params({});
		MUST(apus_port_set(t.dataplane, e, &here));
		MUST(apus_port_set(t.dataplane, e, &elsewhere));
		MUST(apus_transaction_commit(t.dataplane));
		t.mark();
		t.send(t.vm1, out_of_vm1());
		t.moved({{&Stats::held, 1}, {&Stats::generated, 1}, {&Stats::arp_requests, 1}}, 0,
			{"received", "received_bytes", "transmitted", "transmitted_bytes", "bursts", "flow_misses", "flow_inserts", "flow_hits", "flow_entries"});
	}},
	{"held", "of a tunnel, until its VLAN is another external port's", [](Trial &t) {
		hosts::set(t, our_pa, APUS_ADDRESS_PREFERRED, 0, our_pa_mac, 300);
		add_gateway(t);
		t.send(t.uplink, with_tag(out_of_tunnel(), 300));
		t.check(t.totals().held == 1, "it waits for the router outside");
		auto other = params({300, t.uplink});
		other.mac = objects::mac(neighbour_mac);
		const auto address = hosts::address(t, our_pa);
		std::uint32_t e2 = 0;
		MUST(apus_transaction_begin(t.dataplane));
		MUST(apus_provider_address_remove(t.dataplane, &address));
		MUST(apus_port_add(t.dataplane, &other, &e2));
		MUST(apus_transaction_commit(t.dataplane));
		t.mark();
		hosts::after(t, 0);
		t.moved(burst(0, 0, 0, 0) + Moves{{&Stats::held, -1}}, 1, flow_counters);
		t.ports_moved({{t.uplink, {{&PortStats::dropped, 1}}}});
	}, nullptr, APUS_DROP_OUTER_MAC},
	{"echo_replies", "the gateway's addresses, from three sides", [](Trial &t) {
		const auto e = add_gateway(t, {100});
		resolve(t, e, t.vm1, out_of_vm1(), 100);
		for (const Ip &own : {outside_ip, gateway_ip}) {
			t.mark();
			leaves(t, e, with_tag(ping(gateway_mac, outer_router_mac, far_ip, own), 100), e,
			       with_tag(ping(outer_router_mac, gateway_mac, own, far_ip, 0, 128), 100), "from outside");
			const auto size = ping(0, 0, 0, 0).size();
			t.moved(burst(1, size + 4, 1, size + 4) + Moves{{&Stats::consumed, 1}, {&Stats::generated, 1}, {&Stats::echo_replies, 1}}, 0, flow_counters);
			leaves(t, t.vm1, ping(router_mac, vm1_mac, vm1_ip, own), t.vm1, ping(vm1_mac, router_mac, own, vm1_ip, 0, 128), "from a vm port");
			t.mark();
			const Bytes asks = tunnelled(ping(gateway_mac, remote2_mac, remote2_ip, own), subnet2);
			const auto sent = t.send(t.uplink, asks);
			t.check(sent.size() == 1 && sent[0].port == t.uplink, "a tunnel's is answered into the tunnel");
			if (sent.size() == 1)
				t.check(Bytes(sent[0].bytes.begin() + 42, sent[0].bytes.end()) == ping(remote2_mac, gateway_mac, own, remote2_ip, 0, 127), "the answer");
			t.moved(burst(1, asks.size(), 1, asks.size()) + Moves{{&Stats::consumed, 1}, {&Stats::generated, 1}, {&Stats::echo_replies, 1},
									      {&Stats::encapsulated, 1}, {&Stats::routed, 1}}, 0, flow_counters);
		}
		leaves(t, e, with_tag(ping(gateway_mac, outer_router_mac, far_ip, gateway1), 100), e,
		       with_tag(ping(outer_router_mac, gateway_mac, gateway1, far_ip, 0, 128), 100), "a virtual subnet's gateway, from outside");
	}},
	{"icmp_errors", "outwards, and inwards through a tunnel", [](Trial &t) {
		const auto e = add_gateway(t, {100, 0, 1000});
		resolve(t, e, t.uplink, out_of_tunnel(), 100);
		const auto error = [](const Bytes &bytes, std::size_t at) { return std::pair<unsigned, unsigned>(bytes[at + 34], bytes[at + 35]); };
		// From outside, too big for the tunnel: fragmentation needed, with what the tunnel takes.
		auto sent = t.send(e, with_tag(into_remote1(60, 1490), 100));
		t.check(sent.size() == 1 && sent[0].port == e, "an error goes back outside");
		if (sent.size() == 1) {
			const Bytes &bytes = sent[0].bytes;
			t.check(model::get16(bytes, 14) == 100 && error(bytes, 4) == std::pair<unsigned, unsigned>(3, 4) && model::get16(bytes, 4 + 40) == 1500, "fragmentation needed");
			t.check(model::get_mac(bytes, 0) == outer_router_mac && model::get_mac(bytes, 6) == gateway_mac && model::get_ip(bytes, 4 + 26, 4) == outside_ip, "from whom to whom");
		}
		// Out of a tunnel, expired and too big: into the tunnel.
		for (const bool expired : {true, false}) {
			sent = t.send(t.uplink, expired ? out_of_tunnel(1) : out_of_tunnel(63, 0, 1000));
			t.check(sent.size() == 1 && sent[0].port == t.uplink, "an error goes back into the tunnel");
			if (sent.size() != 1)
				continue;
			const Bytes inner(sent[0].bytes.begin() + 42, sent[0].bytes.end());
			t.check(error(inner, 0) == (expired ? std::pair<unsigned, unsigned>(11, 0) : std::pair<unsigned, unsigned>(3, 4)), "which error");
			t.check(model::get_mac(inner, 0) == remote2_mac && model::get_mac(inner, 6) == gateway_mac && model::get_ip(inner, 26, 4) == outside_ip &&
					model::get_ip(inner, 30, 4) == remote2_ip && inner[22] == 127,
				"from whom to whom");
		}
		t.mark();
		sent = t.send(e, with_tag(into_vm1(1), 100));
		t.moved(burst(1, into_vm1().size() + 4, 1, sent[0].bytes.size()) + told, 1, flow_counters);
	}, nullptr, APUS_DROP_TTL_EXPIRED},
	{"fragmented", "an answer that is too big for the tunnel, which is explained as an answer", [](Trial &t) {
		add_gateway(t);
		model::Peer narrow;
		narrow.mtu = 600;
		const auto peer = objects::peer(remote_pa, narrow);
		MUST(apus_provider_peer_add(t.dataplane, &peer));
		build::Ip4 header;
		header.source = remote2_ip;
		header.destination = outside_ip;
		header.protocol = 1;
		header.fragment = 0;
		const Bytes asks = tunnelled(build::ipv4({gateway_mac, remote2_mac, 0, model::type_ipv4}, header, build::icmp(8, 0, 7, 1, 700)), subnet2);
		const auto explanation = hosts::explain(t, t.uplink, asks);
		t.check(explanation.verdict == APUS_VERDICT_ANSWER && explanation.frames == 2 && explanation.port == t.uplink, "explained");
		t.mark();
		const auto sent = t.send(t.uplink, asks);
		t.check(sent.size() == 2 && sent[0].port == t.uplink && sent[1].port == t.uplink, "two fragments");
		std::size_t bytes = 0;
		for (const Sent &one : sent)
			bytes += one.bytes.size();
		t.moved(burst(1, asks.size(), 2, bytes) + Moves{{&Stats::consumed, 2}, {&Stats::generated, 3}, {&Stats::echo_replies, 1},
								 {&Stats::fragmented, 1}, {&Stats::encapsulated, 2}, {&Stats::routed, 2}}, 0, flow_counters);
	}},
	{"fragmented", "too big for outside, and may be fragmented", [](Trial &t) {
		const auto e = add_gateway(t, {100, 0, 1000});
		resolve(t, e, t.vm1, out_of_vm1(), 100);
		build::Ip4 header;
		header.source = remote2_ip;
		header.destination = far_ip;
		header.fragment = 0;
		header.ttl = 63;
		const Bytes inner = build::ipv4({gateway_mac, remote2_mac, 0, model::type_ipv4}, header, build::transport(1, 2, 1000));
		t.mark();
		const auto sent = t.send(t.uplink, tunnelled(inner, subnet2));
		t.check(sent.size() == 2 && sent[0].port == e && sent[0].bytes.size() == 18 + 20 + 976 && sent[1].bytes.size() == 18 + 20 + 28, "two fragments");
		t.moved(burst(1, tunnelled(inner, subnet2).size(), 2, 18 + 20 + 976 + 18 + 20 + 28) +
				Moves{{&Stats::consumed, 1}, {&Stats::generated, 2}, {&Stats::fragmented, 1}, {&Stats::routed, 2}, {&Stats::decapsulated, 2}}, 0, flow_counters);
	}},
};

}  // namespace external
