// SPDX-License-Identifier: Apache-2.0
// The policy objects with IPv6 addresses: what can be wrong with them that cannot be wrong in IPv4, or is wrong otherwise.
#pragma once

#include "misuse_kinds.hpp"

namespace misuse {

/// Kinds that cannot stand where a machine's or host's address must, IPv4-mapped ones among them.
template <class Object> void not_unicast6(Kind<Object> &kind, const std::string &field, unsigned verbs, Address<Object> of, bool may_be_zero = false)
{
	using model::Ip;
	const std::pair<Ip, const char *> addresses[] = {{Ip::v6(0, 0), "::"},
							 {Ip::v6(0, 1), "::1"},
							 {Ip::v6(0xFF02000000000000, 1), "ff02::1"},
							 {Ip::v6(0xFF00000000000000, 0), "ff00::"},
							 {Ip::v6(~0ull, ~0ull), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
							 {Ip::v6(0, 0xFFFF0A000104), ""},
							 {Ip::v6(0, 0xFFFF00000000), ""},
							 {Ip::v6(0, 0xFFFFFFFFFFFF), ""}};
	for (const auto &[ip, text] : addresses)
		if (!ip.is_unspecified() || !may_be_zero)
			kind.wrong.push_back({field + " " + to_text(ip), verbs, {APUS_ERR_ADDRESS}, {field, text},
					      [of, ip = ip](Object &object) { of(object) = objects::address(ip); }});
}

template <class Object> void wrong_prefix6(Kind<Object> &kind, const std::string &field, struct apus_prefix &(*of)(Object &), unsigned verbs)
{
	for (std::uint8_t length : {129, 160, 255})
		kind.wrong.push_back({field + " of " + std::to_string(length) + " bits", verbs, {APUS_ERR_PREFIX}, {field, std::to_string(length), "0-128"},
				      [=](Object &object) { of(object).length = length; }});
	const auto refused = [&](const model::Prefix &prefix, int code, const std::string &text) {
		kind.wrong.push_back({field + " " + text, verbs, {code}, {field},
				      [=](Object &object) { of(object) = objects::prefix(prefix); }});
	};
	refused({model::Ip::v6(fixture::net1, 1), 64}, APUS_ERR_PREFIX, "2001:db8:1::1/64");
	refused({model::Ip::v6(fixture::net1, 1), 127}, APUS_ERR_PREFIX, "2001:db8:1::1/127");
	refused({model::Ip::v6(0, 1), 0}, APUS_ERR_PREFIX, "::1/0");
	refused({model::Ip::v6(0x8000000000000000, 0), 0}, APUS_ERR_PREFIX, "8000::/0");
	refused({model::Ip::v6(0, 0xFFFF00000000), 96}, APUS_ERR_ADDRESS, "::ffff:0:0/96");
	refused({model::Ip::v6(0, 0xFFFF0A000000), 104}, APUS_ERR_ADDRESS, "::ffff:10.0.0.0/104");
	refused({model::Ip::v6(0, 0xFFFF0A000104), 128}, APUS_ERR_ADDRESS, "::ffff:10.0.1.4/128");
}

/// The next hop is of the prefix's family.
template <class Object> void wrong_next_hop6(Kind<Object> &kind, unsigned verbs)
{
	kind.wrong.push_back({"next_hop 10.0.1.4", verbs, {APUS_ERR_FAMILY}, {"next_hop"},
			      [](Object &object) { object.next_hop = objects::address(fixture::remote1_ip); }});
	kind.wrong.push_back({"next_hop 0.0.0.0", verbs, {APUS_ERR_FAMILY}, {"next_hop"},
			      [](Object &object) { object.next_hop = objects::address(model::Ip(0)); }});
	kind.wrong.push_back({"destination_prefix 10.0.9.0/24", verbs, {APUS_ERR_FAMILY}, {"next_hop"},
			      [](Object &object) { object.destination_prefix = objects::prefix({fixture::ip(10, 0, 9, 0), 24}); }});
}

/// The same kind with other objects; what is wrong is still to be said.
template <class Object> Kind<Object> in_ipv6(Kind<Object> kind, const Object &present, const Object &missing)
{
	kind.present = present;
	kind.missing = missing;
	kind.wrong.clear();
	return kind;
}

inline Kind<struct apus_lookup_record> records6(Bench &bench)
{
	using Object = struct apus_lookup_record;
	auto kind = in_ipv6(records(bench),
			    objects::record({fixture::subnet1, fixture::remote1_ip6},
					    {fixture::remote1_mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, fixture::remote_pa6}),
			    objects::record({fixture::subnet1, model::Ip::v6(fixture::net1, 77)},
					    {0x600060000177, APUS_RULE_ENCAP, APUS_RECORD_STATIC, fixture::remote_pa6}));
	const Address<Object> customer = [](Object &object) -> auto & { return object.customer_address; };
	const Address<Object> provider = [](Object &object) -> auto & { return object.provider_address; };
	wrong_family(kind, "customer_address", key, customer);
	not_unicast6(kind, "customer_address", key, customer);
	wrong_family(kind, "provider_address", value, provider);
	not_unicast6(kind, "provider_address", value, provider);
	return kind;
}

inline Kind<struct apus_customer_route> customer_routes6(Bench &bench)
{
	using Object = struct apus_customer_route;
	constexpr std::uint32_t both = APUS_CUSTOMER_ROUTE_ADVERTISE | APUS_CUSTOMER_ROUTE_AUTOCONFIGURE;
	auto kind = in_ipv6(customer_routes(bench),
			    objects::customer_route({fixture::tenant(1), fixture::subnet1, {model::Ip::v6(fixture::net1, 0), 64}, model::Ip::v6(0, 0)}, {0, both}),
			    objects::customer_route({fixture::tenant(1), fixture::subnet1, {model::Ip::v6(fixture::net1 + 0x90000, 0), 64}, fixture::remote1_ip6}, 0));
	const Address<Object> address = [](Object &object) -> auto & { return object.destination_prefix.address; };
	const Address<Object> next_hop = [](Object &object) -> auto & { return object.next_hop; };
	wrong_family(kind, "destination_prefix", key, address);
	wrong_prefix6<Object>(kind, "destination_prefix", [](Object &object) -> auto & { return object.destination_prefix; }, key);
	wrong_family(kind, "next_hop", key, next_hop);
	not_unicast6(kind, "next_hop", key, next_hop, true);
	wrong_next_hop6(kind, key);
	wrong_flags(kind, {APUS_ERR_UNKNOWN_FIELD}, both);
	for (std::uint32_t flags : {1u, 2u, 3u})
		kind.wrong.push_back({"flags of a route with a next hop", only_add, {APUS_ERR_CONFLICT}, {"flags"},
				      [=](Object &object) { object.flags = flags; }});
	kind.wrong.push_back({"APUS_CUSTOMER_ROUTE_AUTOCONFIGURE alone", value, {APUS_ERR_CONFLICT}, {"flags"}, [](Object &object) {
				      object.next_hop = objects::address(model::Ip::v6(0, 0));
				      object.flags = APUS_CUSTOMER_ROUTE_AUTOCONFIGURE;
			      }});
	kind.wrong.push_back({"APUS_CUSTOMER_ROUTE_AUTOCONFIGURE in a /48", value, {APUS_ERR_CONFLICT}, {"flags", "64"}, [](Object &object) {
				      object.destination_prefix = objects::prefix({model::Ip::v6(fixture::net1 + 0x90000, 0).network(48), 48});
				      object.next_hop = objects::address(model::Ip::v6(0, 0));
				      object.flags = both;
			      }});
	return kind;
}

inline Kind<struct apus_provider_address> provider_addresses6(Bench &bench)
{
	using Object = struct apus_provider_address;
	auto kind = in_ipv6(provider_addresses(bench), objects::provider_address(fixture::our_pa6, {bench.uplink, 64, 0, fixture::our_pa_mac}),
			    objects::provider_address(model::Ip::v6(fixture::site, 0x77), {bench.uplink, 64, 0, fixture::our_pa_mac}));
	const Address<Object> address = [](Object &object) -> auto & { return object.provider_address; };
	wrong_family(kind, "provider_address", key, address);
	not_unicast6(kind, "provider_address", key, address);
	wrong_number(kind, "prefix_length", &Object::prefix_length, {0, 129, 255}, value, APUS_ERR_PREFIX, "1-128");
	return kind;
}

inline Kind<struct apus_provider_route> provider_routes6(Bench &bench)
{
	using Object = struct apus_provider_route;
	auto kind = in_ipv6(provider_routes(bench),
			    objects::provider_route({bench.far_prefix6, bench.uplink2, model::Ip::v6(fixture::link_local, 9)}, 0),
			    objects::provider_route({{model::Ip::v6(fixture::net1 + 0x90000, 0), 64}, bench.uplink2, model::Ip::v6(fixture::link_local, 9)}, 0));
	const Address<Object> address = [](Object &object) -> auto & { return object.destination_prefix.address; };
	const Address<Object> next_hop = [](Object &object) -> auto & { return object.next_hop; };
	wrong_family(kind, "destination_prefix", key, address);
	wrong_prefix6<Object>(kind, "destination_prefix", [](Object &object) -> auto & { return object.destination_prefix; }, key);
	wrong_family(kind, "next_hop", key, next_hop);
	not_unicast6(kind, "next_hop", key, next_hop, true);
	wrong_next_hop6(kind, key);
	return kind;
}

inline Kind<struct apus_provider_peer> peers6(Bench &bench)
{
	using Object = struct apus_provider_peer;
	auto kind = in_ipv6(peers(bench), objects::peer(bench.peer_pa6, {}), objects::peer(fixture::ip6(fixture::site, 0x77), {}));
	const Address<Object> address = [](Object &object) -> auto & { return object.provider_address; };
	wrong_family(kind, "provider_address", key, address);
	not_unicast6(kind, "provider_address", key, address);
	return kind;
}

inline Kind<struct apus_provider_neighbor> neighbors6(Bench &bench)
{
	using Object = struct apus_provider_neighbor;
	auto kind = in_ipv6(neighbors(bench), objects::neighbor(fixture::remote_pa6, fixture::remote_pa_mac),
			    objects::neighbor(model::Ip::v6(fixture::site, 0x77), 0x445566778877));
	const Address<Object> address = [](Object &object) -> auto & { return object.address; };
	wrong_family(kind, "address", key, address);
	not_unicast6(kind, "address", key, address);
	return kind;
}

}  // namespace misuse
