// SPDX-License-Identifier: Apache-2.0
// External ports: everything that can be wrong with each of their fields, alone and beside others.
#pragma once

#include "misuse_kinds.hpp"

namespace misuse {

constexpr fixture::Ip outside_ip = fixture::ip(203, 0, 113, 2), outside_router = fixture::ip(203, 0, 113, 1);

inline struct apus_port_params external_port(std::uint32_t vsid = 6100, std::uint16_t vlan = 0, std::uint32_t parent = 0)
{
	struct apus_port_params out;
	APUS_INIT(&out);
	out.kind = APUS_PORT_EXTERNAL;
	out.virtual_subnet_id = vsid;
	out.routing_domain_id = objects::guid(fixture::tenant(1));
	out.mac = objects::mac(0x600060006100);
	out.vlan = vlan;
	out.parent_port = parent;
	out.ipv4 = {objects::address(outside_ip), objects::address(outside_router), 24, {}};
	return out;
}

inline Kind<struct apus_port_params> external_ports(Bench &bench)
{
	using Object = struct apus_port_params;
	Kind<Object> kind = ports(bench);
	kind.wrong.clear();
	const auto wrong = [&kind](const std::string &what, int code, const Words &text, const std::function<void(Object &)> &spoil) {
		kind.wrong.push_back({what + " of an external port", only_add, {code}, text, [=](Object &object) {
					      object = external_port();
					      spoil(object);
				      }});
	};
	wrong("virtual_subnet_id", APUS_ERR_VSID, {"virtual_subnet_id", "4095"}, [](Object &o) { o.virtual_subnet_id = 4095; });
	wrong("virtual_subnet_id of another routing domain", APUS_ERR_CONFLICT, {"virtual_subnet_id", "6000", "routing domain"}, [](Object &o) {
		o.virtual_subnet_id = fixture::subnet1;
		o.routing_domain_id = objects::guid(fixture::tenant(9));
	});
	wrong("routing_domain_id", APUS_ERR_CONFLICT, {"routing_domain_id", "zero"}, [](Object &o) { o.routing_domain_id = {}; });
	wrong("mac", APUS_ERR_MAC, {"mac"}, [](Object &o) { o.mac = {}; });
	wrong("mac of a machine", APUS_ERR_DUPLICATE, {"mac", "60:00:60:00:01:01"}, [](Object &o) {
		o.virtual_subnet_id = fixture::subnet1;
		o.mac = objects::mac(fixture::vm1_mac);
	});
	wrong("mtu", APUS_ERR_RANGE, {"mtu", "575", "576-65535"}, [](Object &o) { o.mtu = 575; });
	wrong("flags", APUS_ERR_CONFLICT, {"flags", "vm ports"}, [](Object &o) { o.flags = APUS_PORT_TRUSTED; });
	wrong("dynamic_address_limit", APUS_ERR_CONFLICT, {"dynamic_address_limit", "vm ports"}, [](Object &o) { o.dynamic_address_limit = 1; });
	wrong("vlan", APUS_ERR_RANGE, {"vlan", "4095", "0-4094"}, [](Object &o) { o.vlan = 4095; });
	wrong("vlan with a parent", APUS_ERR_RANGE, {"vlan", "0", "1-4094"}, [id = bench.uplink](Object &o) { o.parent_port = id; });
	wrong("parent_port that is a vm's", APUS_ERR_PORT_KIND, {"parent_port", std::to_string(bench.vm1)}, [id = bench.vm1](Object &o) {
		o.parent_port = id;
		o.vlan = 5;
	});
	wrong("parent_port that is gone", APUS_ERR_STALE, {"parent_port", std::to_string(bench.gone)}, [id = bench.gone](Object &o) {
		o.parent_port = id;
		o.vlan = 5;
	});
	wrong("reserved", APUS_ERR_UNKNOWN_FIELD, {"reserved"}, [](Object &o) { o.reserved = 1; });
	wrong("no address", APUS_ERR_CONFLICT, {"ipv4", "ipv6"}, [](Object &o) { o.ipv4 = {}; });
	// The network and the broadcast address.
	const std::pair<const char *, const char *> nobodys[] = {
		{"203.0.113.0", "203.0.113.0/24"}, {"203.0.113.255", "203.0.113.0/24"}, {"203.0.113.128", "203.0.113.128/25"}, {"203.0.113.127", "203.0.113.0/25"},
		{"203.0.113.4", "203.0.113.4/30"}, {"203.0.113.7", "203.0.113.4/30"},	{"10.255.255.255", "10.0.0.0/8"},      {"128.0.0.0", "128.0.0.0/1"},
	};
	for (const auto &[address, prefix] : nobodys)
		wrong(std::string("ipv4 ") + address, APUS_ERR_ADDRESS, {"ipv4", address, "network or the broadcast address", prefix},
		      [address = address, prefix = prefix](Object &o) {
			      struct apus_prefix network;
			      o.ipv4.next_hop = {};
			      MUST(apus_address_parse(address, &o.ipv4.address));
			      MUST(apus_prefix_parse(prefix, &network));
			      o.ipv4.prefix_length = network.length;
		      });
	struct Side {
		const char *name;
		struct apus_external_side Object::*side;
		fixture::Ip address, hop, other_hop;
		unsigned length, too_long;
	};
	const Side sides[] = {{"ipv4", &Object::ipv4, outside_ip, outside_router, fixture::ip(203, 0, 114, 1), 24, 33},
			      {"ipv6", &Object::ipv6, fixture::ip6(fixture::site, 2), fixture::ip6(fixture::site, 1), fixture::ip6(fixture::net1, 1), 64, 129}};
	for (const Side &one : sides) {
		const struct apus_external_side good = {objects::address(one.address), objects::address(one.hop), static_cast<std::uint8_t>(one.length), {}};
		const auto spoilt = [&](const char *what, int code, const std::function<void(struct apus_external_side &)> &spoil) {
			wrong(std::string(one.name) + ", " + what, code, {one.name}, [=, member = one.side](Object &o) {
				o.*member = good;
				spoil(o.*member);
			});
		};
		using S = struct apus_external_side;
		const fixture::Ip foreign = one.address.is_v6() ? outside_ip : fixture::ip6(fixture::site, 2);
		const fixture::Ip group = one.address.is_v6() ? fixture::ip6(0xFF02000000000000, 1) : fixture::ip(224, 0, 0, 1);
		spoilt("a multicast address", APUS_ERR_ADDRESS, [=](S &s) { s.address = objects::address(group); });
		spoilt("an address of the other family", APUS_ERR_FAMILY, [=](S &s) { s.address = objects::address(foreign); });
		spoilt("an address of family 9", APUS_ERR_FAMILY, [](S &s) { s.address.family = 9; });
		spoilt("no prefix length", APUS_ERR_PREFIX, [](S &s) { s.prefix_length = 0; });
		spoilt("a long prefix length", APUS_ERR_PREFIX, [n = one.too_long](S &s) { s.prefix_length = static_cast<std::uint8_t>(n); });
		spoilt("a next hop outside the prefix", APUS_ERR_ADDRESS, [hop = one.other_hop](S &s) { s.next_hop = objects::address(hop); });
		spoilt("a next hop that is the port", APUS_ERR_ADDRESS, [](S &s) { s.next_hop = s.address; });
		spoilt("a next hop of the other family", APUS_ERR_FAMILY, [=](S &s) { s.next_hop = objects::address(foreign); });
		spoilt("a multicast next hop", APUS_ERR_ADDRESS, [=](S &s) { s.next_hop = objects::address(group); });
		spoilt("a next hop and no address", APUS_ERR_CONFLICT, [](S &s) { s.address = {}; });
		spoilt("something in `reserved`", APUS_ERR_UNKNOWN_FIELD, [](S &s) { s.reserved[2] = 1; });
		kind.wrong.push_back({std::string(one.name) + " of a vm port", value, {APUS_ERR_CONFLICT}, {one.name, "external ports"},
				      [=, member = one.side](Object &o) { o.*member = good; }});
	}
	wrong_number(kind, "vlan", &Object::vlan, {1, 4095}, value, APUS_ERR_CONFLICT, "external ports");
	wrong_number(kind, "parent_port", &Object::parent_port, {1, UINT32_MAX}, value, APUS_ERR_CONFLICT, "external ports");
	return kind;
}

/// What is wrong beside other objects, and what goes with an external port.
inline void check_external_ports(Bench &bench)
{
	Dataplane *dataplane = bench.dataplane;
	/// A change that is meant.
	const auto changes = [&](int result, const char *what) {
		fixture::must(result, what);
		bench.remember();
	};
	const auto add = [&](struct apus_port_params object, std::uint32_t &id) { return apus_port_add(dataplane, &object, &id); };
	const auto set = [&](std::uint32_t id, struct apus_port_params object) { return apus_port_set(dataplane, id, &object); };
	std::uint32_t first = 0, child = 0, other = 0;
	changes(add(external_port(6100, 100, bench.uplink), first), "apus_port_add");
	bench.refused("a VLAN twice", add(external_port(6101, 100, bench.uplink), other), {APUS_ERR_DUPLICATE}, {"vlan", "100", std::to_string(first)});
	bench.refused("a child as parent", add(external_port(6101, 101, first), other), {APUS_ERR_PORT_KIND}, {"parent_port", std::to_string(first)});
	auto pa = objects::provider_address(fixture::ip(192, 168, 9, 9), {bench.uplink, 24, 100, fixture::our_pa_mac});
	bench.refused("a provider address in that VLAN", apus_provider_address_add(dataplane, &pa), {APUS_ERR_CONFLICT}, {"vlan", "100", std::to_string(first)});
	pa.vlan = 102;
	changes(apus_provider_address_add(dataplane, &pa), "apus_provider_address_add");
	bench.refused("the VLAN of a provider address", add(external_port(6101, 102, bench.uplink), other), {APUS_ERR_CONFLICT}, {"vlan", "102", "192.168.9.9"});
	bench.refused("set to that VLAN", set(first, external_port(6100, 102, bench.uplink)), {APUS_ERR_CONFLICT}, {"vlan", "102"});
	changes(apus_provider_address_remove(dataplane, &pa), "apus_provider_address_remove");
	// It binds its virtual subnet.
	auto route = objects::customer_route({fixture::tenant(9), 6100, {fixture::ip(10, 61, 0, 0), 24}, {}}, {});
	bench.refused("a route of another routing domain", apus_customer_route_add(dataplane, &route), {APUS_ERR_CONFLICT}, {"virtual_subnet_id", "6100"});
	auto elsewhere = external_port(6100, 100, bench.uplink);
	elsewhere.routing_domain_id = objects::guid(fixture::tenant(9));
	bench.refused("another routing domain", set(first, elsewhere), {APUS_ERR_IMMUTABLE}, {"routing_domain_id"});

	// Prefixes of one and two addresses have no network and no broadcast address; what is between those of others may be given.
	const std::pair<unsigned, unsigned> everybodys[] = {{0, 31}, {1, 31}, {254, 31}, {255, 31}, {0, 32}, {255, 32}, {1, 30}, {2, 30}, {1, 24}, {254, 24}, {128, 24}, {127, 24}};
	for (const auto &[last, length] : everybodys) {
		auto one = external_port(6100, 100, bench.uplink);
		one.ipv4 = {objects::address(fixture::ip(203, 0, 113, last)), {}, static_cast<std::uint8_t>(length), {}};
		changes(set(first, one), "apus_port_set");
	}
	for (const std::uint8_t length : {1, 64, 96, 126, 127, 128}) {
		auto one = external_port(6100, 100, bench.uplink);
		one.ipv6 = {objects::address(fixture::ip6(fixture::site, 0)), {}, length, {}};
		changes(set(first, one), "apus_port_set");
	}

	// A device of its own, and a child of that.
	changes(set(first, external_port(6100)), "apus_port_set");
	changes(add(external_port(6101, 7, first), child), "apus_port_add");
	bench.refused("a parent goes", apus_port_remove(dataplane, first), {APUS_ERR_IN_USE}, {std::to_string(first), std::to_string(child)});
	bench.refused("a parent becomes a child", set(first, external_port(6100, 100, bench.uplink)), {APUS_ERR_IN_USE}, {"parent_port", std::to_string(child)});
	bench.refused("the child's VLAN", set(first, external_port(6100, 7)), {APUS_ERR_DUPLICATE}, {"vlan", "7"});
	struct apus_port_params seen;
	APUS_INIT(&seen);
	MUST(apus_port_get(dataplane, child, &seen));
	const auto given = external_port(6101, 7, first);
	report::check(seen.parent_port == first && seen.vlan == 7 && seen.mtu == 1500 && seen.virtual_subnet_id == 6101 &&
			      std::memcmp(&seen.routing_domain_id, &given.routing_domain_id, sizeof(seen.routing_domain_id)) == 0 &&
			      std::memcmp(&seen.ipv4, &given.ipv4, sizeof(seen.ipv4)) == 0,
		      "an external port is read back");
	changes(apus_port_remove(dataplane, child), "apus_port_remove");
	changes(apus_port_remove(dataplane, first), "apus_port_remove");
	// Nothing binds it any more.
	changes(apus_customer_route_add(dataplane, &route), "apus_customer_route_add");
	changes(apus_customer_route_remove(dataplane, &route), "apus_customer_route_remove");
	bench.flows("after external ports");
}

}  // namespace misuse
