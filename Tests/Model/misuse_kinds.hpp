// SPDX-License-Identifier: Apache-2.0
// The six kinds of policy objects: their five verbs, and everything that can be wrong with each of their fields. Here with
// IPv4 addresses; misuse_ipv6.hpp has them with IPv6 ones.
#pragma once

#include "misuse_bench.hpp"

namespace misuse {

enum { add, get, set, remove, iterate, verb_count };
constexpr unsigned value = 1u << add | 1u << set;                 // a field that `get` and `remove` do not read
constexpr unsigned key = value | 1u << get | 1u << remove;        // one that they do
constexpr unsigned only_add = 1u << add;

template <class Object> struct Verb {
	std::string function;
	std::function<int(Dataplane *, Object *, std::uint32_t id)> call;
};

/// One thing to be wrong about an object.
template <class Object> struct Wrong {
	std::string what;
	unsigned verbs;
	Codes codes;
	Words text;
	std::function<void(Object &)> spoil;
};

template <class Object> struct Kind {
	Verb<Object> verbs[verb_count];
	Object present, missing;  // an object that exists, and a good one that does not
	std::uint32_t present_id, missing_id;
	int absent;  // the answer about `missing`
	std::function<void(Object &)> clutter;  // garbage in every field that is not part of the key
	std::vector<Wrong<Object>> wrong;
};

#define VERB(function) {#function, [](Dataplane *dataplane, auto *object, std::uint32_t) { return CALL(function, dataplane, object); }}
#define VERBS(kind) \
	{VERB(kind##_add), VERB(kind##_get), VERB(kind##_set), VERB(kind##_remove), \
	 {#kind "_iterate", [](Dataplane *dataplane, auto *object, std::uint32_t) { \
		 std::uint64_t cursor = 0; \
		 return CALL(kind##_iterate, dataplane, &cursor, object); \
	 }}}

// ---- fields that several kinds have ----------------------------------------------------------------------------------

template <class Object> using Address = struct apus_address &(*)(Object &);

template <class Object> void wrong_family(Kind<Object> &kind, const std::string &field, unsigned verbs, Address<Object> of)
{
	for (std::uint8_t family : {0, 1, 5, 7, 255})
		kind.wrong.push_back({field + " of family " + std::to_string(family), verbs, {APUS_ERR_FAMILY}, {field, std::to_string(family), "4"},
				      [=](Object &object) { of(object).family = family; }});
	for (int i = 0; i < 3; i++)
		kind.wrong.push_back({field + " with something in `reserved`", verbs, {APUS_ERR_UNKNOWN_FIELD}, {field},
				      [=](Object &object) { of(object).reserved[i] = 0x80; }});
	for (int i : {4, 15})
		kind.wrong.push_back({field + " with bytes behind IPv4", verbs, {APUS_ERR_UNKNOWN_FIELD}, {field}, [=](Object &object) {
					      of(object).family = APUS_IPV4;
					      of(object).bytes[i] = 1;
				      }});
}

template <class Object> void not_unicast(Kind<Object> &kind, const std::string &field, unsigned verbs, Address<Object> of, bool may_be_zero = false)
{
	const std::pair<model::Ip, const char *> addresses[] = {{model::Ip(0), "0.0.0.0"},
								{fixture::ip(224, 0, 0, 1), "224.0.0.1"},
								{fixture::ip(239, 255, 255, 255), "239.255.255.255"},
								{fixture::ip(255, 255, 255, 255), "255.255.255.255"}};
	for (const auto &[ip, text] : addresses)
		if (ip != 0 || !may_be_zero)
			kind.wrong.push_back({field + " " + text, verbs, {APUS_ERR_ADDRESS}, {field, text},
					      [of, ip = ip](Object &object) { of(object) = objects::address(ip); }});
}

template <class Object> void wrong_prefix(Kind<Object> &kind, const std::string &field, struct apus_prefix &(*of)(Object &))
{
	for (std::uint8_t length : {33, 64, 128, 255})
		kind.wrong.push_back({field + " of " + std::to_string(length) + " bits",
				      key,
				      {APUS_ERR_PREFIX},
				      {field, std::to_string(length), "0-32"},
				      [=](Object &object) { of(object).length = length; }});
	kind.wrong.push_back({field + " with host bits", key, {APUS_ERR_PREFIX}, {field, "10.0.9.1/24"},
			      [=](Object &object) { of(object) = objects::prefix({fixture::ip(10, 0, 9, 1), 24}); }});
	kind.wrong.push_back({field + " 0.0.0.1/0", key, {APUS_ERR_PREFIX}, {field, "0.0.0.1/0"},
			      [=](Object &object) { of(object) = objects::prefix({1, 0}); }});
	for (int i = 0; i < 3; i++)
		kind.wrong.push_back({field + " with something in `reserved`", key, {APUS_ERR_UNKNOWN_FIELD}, {field},
				      [=](Object &object) { of(object).reserved[i] = 1; }});
}

template <class Object> void wrong_mac(Kind<Object> &kind)
{
	const std::pair<model::Mac, const char *> macs[] = {
		{0, "00:00:00:00:00:00"}, {fixture::broadcast, "ff:ff:ff:ff:ff:ff"}, {0x01005E000001, "01:00:5e:00:00:01"}};
	for (const auto &[mac, text] : macs)
		kind.wrong.push_back({std::string("mac ") + text, value, {APUS_ERR_MAC}, mac == 0 ? Words{"mac"} : Words{"mac", text},
				      [mac = mac](Object &object) { object.mac = objects::mac(mac); }});
}

template <class Object> void wrong_vsid(Kind<Object> &kind, unsigned verbs)
{
	for (std::uint32_t vsid : {0u, 1u, 17u, 4095u, 16777215u, 16777216u, 0x80001770u, UINT32_MAX})
		kind.wrong.push_back({"virtual_subnet_id " + std::to_string(vsid),
				      verbs,
				      {APUS_ERR_VSID},
				      {"virtual_subnet_id", std::to_string(vsid), "4096-16777214"},
				      [=](Object &object) { object.virtual_subnet_id = vsid; }});
}

template <class Object> void wrong_flags(Kind<Object> &kind, const Codes &codes = {APUS_ERR_UNKNOWN_FIELD}, std::uint32_t known = 0)
{
	for (std::uint32_t flag = 1; flag != 0; flag <<= 1)
		if ((flag & known) == 0)
			kind.wrong.push_back({"flags " + std::to_string(flag), value, codes, {"flags", std::to_string(flag)}, [=](Object &object) {
						      object.flags = flag;
					      }});
}

template <class Object> void wrong_port(Kind<Object> &kind, Bench &bench, unsigned verbs)
{
	for (std::uint32_t id : {0u, bench.gone, UINT32_MAX})
		kind.wrong.push_back({"port " + std::to_string(id), verbs, {APUS_ERR_STALE}, {"port", std::to_string(id)}, [=](Object &object) {
					      object.port = id;
				      }});
	kind.wrong.push_back({"port of a vm", verbs, {APUS_ERR_PORT_KIND}, {"port", std::to_string(bench.vm1)},
			      [id = bench.vm1](Object &object) { object.port = id; }});
}

template <class Object, class Number>
void wrong_number(Kind<Object> &kind, const std::string &field, Number Object::*member, const std::vector<std::uint32_t> &numbers, unsigned verbs,
		  int code, const std::string &range)
{
	for (std::uint32_t number : numbers)
		kind.wrong.push_back({field + " " + std::to_string(number), verbs, {code}, {field, std::to_string(number), range},
				      [=](Object &object) { object.*member = static_cast<Number>(number); }});
}

template <class Object, std::size_t size> void wrong_text(Kind<Object> &kind, const std::string &field, char (Object::*member)[size])
{
	kind.wrong.push_back({field + " without NUL", value, {APUS_ERR_RANGE}, {field, std::to_string(size)},
			      [=](Object &object) { std::memset(object.*member, 'x', size); }});
}

// ---- the kinds -------------------------------------------------------------------------------------------------------

inline Kind<struct apus_port_params> ports(Bench &bench)
{
	using Object = struct apus_port_params;
	const auto verb = [](auto function) { return function; };
	Kind<Object> kind = {
		{{"apus_port_add", verb([](Dataplane *dataplane, Object *object, std::uint32_t) {
			  std::uint32_t id = 4711;
			  const int result = CALL(apus_port_add, dataplane, object, &id);
			  report::check(result >= 0 || id == 4711, "apus_port_add wrote *id although it failed");
			  return result;
		  })},
		 {"apus_port_get", [](Dataplane *dataplane, Object *object, std::uint32_t id) { return CALL(apus_port_get, dataplane, id, object); }},
		 {"apus_port_set", [](Dataplane *dataplane, Object *object, std::uint32_t id) { return CALL(apus_port_set, dataplane, id, object); }},
		 {"apus_port_remove", [](Dataplane *dataplane, Object *, std::uint32_t id) { return CALL(apus_port_remove, dataplane, id); }},
		 {"apus_port_iterate", [](Dataplane *dataplane, Object *object, std::uint32_t) {
			  std::uint64_t cursor = 0;
			  std::uint32_t id = 0;
			  return CALL(apus_port_iterate, dataplane, &cursor, &id, object);
		  }}},
		objects::port({true, false, fixture::subnet1, fixture::vm1_mac, 1500}),
		objects::port({true, false, fixture::subnet1, 0x600060000177, 1500}),
		bench.vm1, bench.gone, APUS_ERR_STALE, nullptr, {}};
	wrong_vsid(kind, value);
	wrong_mac(kind);
	// port.h counts flags under APUS_ERR_RANGE, error.h under APUS_ERR_UNKNOWN_FIELD.
	wrong_flags(kind, {APUS_ERR_UNKNOWN_FIELD, APUS_ERR_RANGE}, APUS_PORT_TRUSTED | APUS_PORT_DHCP_GUARD);
	wrong_text(kind, "name", &Object::name);
	wrong_number(kind, "mtu", &Object::mtu, {1, 575}, value, APUS_ERR_RANGE, "576-65535");
	wrong_number(kind, "kind", &Object::kind, {0, 4, 255, 256, UINT32_MAX}, value, APUS_ERR_RANGE, "1-3");
	wrong_number(kind, "new_flow_rate", &Object::new_flow_rate, {1000000001, UINT32_MAX}, value, APUS_ERR_RANGE, "0-1000000000");
	kind.wrong.push_back({"routing_domain_id of a vm port", value, {APUS_ERR_CONFLICT}, {"routing_domain_id"},
			      [](Object &object) { object.routing_domain_id.bytes[15] = 1; }});
	const auto provider = [](Object &object) { object = objects::port({false, false, 0, 0, 1500}); };
	kind.wrong.push_back({"flags of a provider port", only_add, {APUS_ERR_CONFLICT}, {"flags", "1"},
			      [=](Object &object) { provider(object), object.flags = APUS_PORT_TRUSTED; }});
	kind.wrong.push_back({"virtual_subnet_id of a provider port", only_add, {APUS_ERR_CONFLICT}, {"virtual_subnet_id", "6000"},
			      [=](Object &object) { provider(object), object.virtual_subnet_id = 6000; }});
	kind.wrong.push_back({"mac of a provider port", only_add, {APUS_ERR_CONFLICT}, {"mac", "60:00:60:00:01:01"},
			      [=](Object &object) { provider(object), object.mac = objects::mac(fixture::vm1_mac); }});
	kind.wrong.push_back({"routing_domain_id of a provider port", only_add, {APUS_ERR_CONFLICT}, {"routing_domain_id"},
			      [=](Object &object) { provider(object), object.routing_domain_id.bytes[0] = 1; }});
	kind.wrong.push_back({"new_flow_rate of a provider port", only_add, {APUS_ERR_CONFLICT}, {"new_flow_rate", "7"},
			      [=](Object &object) { provider(object), object.new_flow_rate = 7; }});
	kind.wrong.push_back({"mtu 127 of a provider port", only_add, {APUS_ERR_RANGE}, {"mtu", "127", "128-65535"},
			      [=](Object &object) { provider(object), object.mtu = 127; }});
	kind.wrong.push_back({"another kind", 1u << set, {APUS_ERR_IMMUTABLE}, {"kind", "2"}, provider});
	kind.wrong.push_back({"the MAC of another port", value, {APUS_ERR_DUPLICATE}, {"mac", "60:00:60:00:01:02"},
			      [](Object &object) { object.mac = objects::mac(fixture::vm2_mac); }});
	return kind;
}

inline Kind<struct apus_lookup_record> records(Bench &bench)
{
	using Object = struct apus_lookup_record;
	Kind<Object> kind = {VERBS(apus_lookup_record),
			     objects::record({fixture::subnet1, fixture::remote1_ip},
					     {fixture::remote1_mac, APUS_RULE_ENCAP, APUS_RECORD_STATIC, fixture::remote_pa}),
			     objects::record({fixture::subnet1, fixture::ip(10, 0, 1, 77)},
					     {0x600060000177, APUS_RULE_ENCAP, APUS_RECORD_STATIC, fixture::remote_pa}),
			     0,
			     0,
			     APUS_ERR_NOT_FOUND,
			     [](Object &object) {
				     object.mac = objects::mac(fixture::broadcast);
				     object.rule = object.type = 255;
				     object.provider_address.family = 99;
				     object.flags = UINT32_MAX;
				     std::memset(object.vm_name, 'x', sizeof(object.vm_name));
			     },
			     {}};
	const Address<Object> customer = [](Object &object) -> auto & { return object.customer_address; };
	const Address<Object> provider = [](Object &object) -> auto & { return object.provider_address; };
	wrong_vsid(kind, key);
	wrong_family(kind, "customer_address", key, customer);
	not_unicast(kind, "customer_address", key, customer);
	wrong_family(kind, "provider_address", value, provider);
	not_unicast(kind, "provider_address", value, provider);
	wrong_mac(kind);
	wrong_flags(kind, {APUS_ERR_UNKNOWN_FIELD}, APUS_RECORD_UNUSABLE | APUS_RECORD_UNSYNCHRONIZED | APUS_RECORD_USE_VM_MAC);
	wrong_number(kind, "rule", &Object::rule, {4, 17, 255}, value, APUS_ERR_RULE, "1-3");
	wrong_number(kind, "type", &Object::type, {5, 17, 255}, value, APUS_ERR_RULE, "1-4");
	kind.wrong.push_back({"rewriting to an address that others have", value, {APUS_ERR_CONFLICT}, {"provider_address", "192.168.0.33"},
			      [](Object &object) { object.rule = APUS_RULE_NAT; }});
	kind.wrong.push_back({"the address of one that is rewritten", value, {APUS_ERR_CONFLICT}, {"provider_address", "192.168.0.66"},
			      [pa = bench.nat_pa](Object &object) { object.provider_address = objects::address(pa); }});
	kind.wrong.push_back({"rewriting to the other family", value, {APUS_ERR_FAMILY}, {"provider_address"}, [](Object &object) {
				      object.rule = APUS_RULE_NAT;
				      object.provider_address = objects::address(fixture::ip6(fixture::site, 0x66));
			      }});
	kind.wrong.push_back({"rewriting of a gateway", only_add, {APUS_ERR_CONFLICT}, {"rule"}, [](Object &object) {
				      object.type = APUS_RECORD_GATEWAY_WILDCARD;
				      object.rule = APUS_RULE_NAT;
				      object.customer_address = objects::address(model::Ip(0));
				      object.provider_address = objects::address(fixture::ip(192, 168, 0, 77));
			      }});
	kind.wrong.push_back({"APUS_RECORD_USE_VM_MAC without rewriting", value, {APUS_ERR_CONFLICT}, {"flags"},
			      [](Object &object) { object.flags = APUS_RECORD_USE_VM_MAC; }});
	for (const std::uint8_t type : {APUS_RECORD_GATEWAY_WILDCARD, APUS_RECORD_L2_ONLY})
		kind.wrong.push_back({"a customer address of type " + std::to_string(type), value, {APUS_ERR_ADDRESS}, {"customer_address"},
				      [=](Object &object) { object.type = type; }});
	wrong_text(kind, "customer_id", &Object::customer_id);
	wrong_text(kind, "context", &Object::context);
	wrong_text(kind, "vm_name", &Object::vm_name);
	kind.wrong.push_back({"another mac", 1u << set, {APUS_ERR_IMMUTABLE}, {"mac", "60:00:60:00:01:77"},
			      [](Object &object) { object.mac = objects::mac(0x600060000177); }});
	kind.wrong.push_back(
		{"another type", 1u << set, {APUS_ERR_IMMUTABLE}, {"type", "2"}, [](Object &object) { object.type = APUS_RECORD_DYNAMIC; }});
	return kind;
}

inline Kind<struct apus_customer_route> customer_routes(Bench &)
{
	using Object = struct apus_customer_route;
	Kind<Object> kind = {VERBS(apus_customer_route),
			     objects::customer_route({fixture::tenant(1), fixture::subnet1, {fixture::ip(10, 0, 1, 0), 24}, 0}, 0),
			     objects::customer_route({fixture::tenant(1), fixture::subnet1, {fixture::ip(10, 0, 9, 0), 24}, fixture::remote1_ip}, 0),
			     0, 0, APUS_ERR_NOT_FOUND, [](Object &object) { object.metric = object.flags = UINT32_MAX; }, {}};
	const Address<Object> address = [](Object &object) -> auto & { return object.destination_prefix.address; };
	const Address<Object> next_hop = [](Object &object) -> auto & { return object.next_hop; };
	wrong_vsid(kind, key);
	wrong_family(kind, "destination_prefix", key, address);
	wrong_prefix<Object>(kind, "destination_prefix", [](Object &object) -> auto & { return object.destination_prefix; });
	wrong_family(kind, "next_hop", key, next_hop);
	not_unicast(kind, "next_hop", key, next_hop, true);
	for (const model::Ip &ip : {model::Ip::v6(0, 0), model::Ip::v6(fixture::link_local, 1)})
		kind.wrong.push_back({"next_hop " + to_text(ip), key, {APUS_ERR_FAMILY}, {"next_hop"},
				      [ip = ip](Object &object) { object.next_hop = objects::address(ip); }});
	// Those that there are belong to on-link routes of IPv6.
	wrong_flags(kind, {APUS_ERR_UNKNOWN_FIELD}, 3);
	for (std::uint32_t flags : {1u, 2u, 3u})
		kind.wrong.push_back({"flags " + std::to_string(flags), value, {APUS_ERR_CONFLICT}, {"flags"},
				      [=](Object &object) { object.flags = flags; }});
	kind.wrong.push_back({"routing_domain_id zero", key, {APUS_ERR_CONFLICT}, {"routing_domain_id"},
			      [](Object &object) { object.routing_domain_id = {}; }});
	kind.wrong.push_back({"another routing domain", only_add, {APUS_ERR_CONFLICT}, {"6000"},
			      [](Object &object) { object.routing_domain_id = objects::guid(fixture::tenant(2)); }});
	return kind;
}

inline Kind<struct apus_provider_address> provider_addresses(Bench &bench)
{
	using Object = struct apus_provider_address;
	Kind<Object> kind = {VERBS(apus_provider_address),
			     objects::provider_address(fixture::our_pa, {bench.uplink, 24, 0, fixture::our_pa_mac}),
			     objects::provider_address(fixture::ip(192, 168, 0, 77), {bench.uplink, 24, 0, fixture::our_pa_mac}),
			     0, 0, APUS_ERR_NOT_FOUND,
			     [](Object &object) {
				     object.port = object.flags = UINT32_MAX;
				     object.prefix_length = object.state = 255;
				     object.vlan = object.reserved = 0xFFFF;
				     object.mac = objects::mac(fixture::broadcast);
			     },
			     {}};
	const Address<Object> address = [](Object &object) -> auto & { return object.provider_address; };
	wrong_family(kind, "provider_address", key, address);
	not_unicast(kind, "provider_address", key, address);
	wrong_mac(kind);
	wrong_flags(kind, {APUS_ERR_UNKNOWN_FIELD}, APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES);
	wrong_port(kind, bench, value);
	wrong_number(kind, "prefix_length", &Object::prefix_length, {0, 33, 128, 160, 255}, value, APUS_ERR_PREFIX, "1-32");
	wrong_number(kind, "vlan", &Object::vlan, {4095, 4096, 65535}, value, APUS_ERR_RANGE, "4094");
	wrong_number(kind, "state", &Object::state, {APUS_ADDRESS_TENTATIVE, APUS_ADDRESS_DUPLICATE, 6, 255}, value, APUS_ERR_RANGE, "DEPRECATED");
	wrong_number(kind, "reserved", &Object::reserved, {1, 65535}, value, APUS_ERR_UNKNOWN_FIELD, "0");
	return kind;
}

inline Kind<struct apus_provider_route> provider_routes(Bench &bench)
{
	using Object = struct apus_provider_route;
	Kind<Object> kind = {VERBS(apus_provider_route),
			     objects::provider_route({{fixture::ip(172, 16, 0, 0), 12}, bench.uplink2, fixture::ip(192, 168, 9, 1)}, 0),
			     objects::provider_route({{fixture::ip(10, 0, 9, 0), 24}, bench.uplink2, fixture::ip(192, 168, 9, 1)}, 0),
			     0, 0, APUS_ERR_NOT_FOUND, [](Object &object) { object.metric = object.flags = UINT32_MAX; }, {}};
	const Address<Object> address = [](Object &object) -> auto & { return object.destination_prefix.address; };
	const Address<Object> next_hop = [](Object &object) -> auto & { return object.next_hop; };
	wrong_family(kind, "destination_prefix", key, address);
	wrong_prefix<Object>(kind, "destination_prefix", [](Object &object) -> auto & { return object.destination_prefix; });
	wrong_family(kind, "next_hop", key, next_hop);
	not_unicast(kind, "next_hop", key, next_hop, true);
	wrong_flags(kind);
	wrong_port(kind, bench, key);
	return kind;
}

inline Kind<struct apus_provider_peer> peers(Bench &bench)
{
	using Object = struct apus_provider_peer;
	Kind<Object> kind = {VERBS(apus_provider_peer), objects::peer(bench.peer_pa, {}), objects::peer(fixture::ip(192, 168, 0, 77), {}), 0, 0,
			     APUS_ERR_NOT_FOUND,
			     [](Object &object) {
				     object.encapsulation = object.key_layout = object.flow_id = object.dscp_mode = object.dscp = object.ecn_mode = 255;
				     object.df_mode = object.ttl = 255;
				     object.mtu = object.reserved = 7;
				     object.flags = UINT32_MAX;
			     },
			     {}};
	const Address<Object> address = [](Object &object) -> auto & { return object.provider_address; };
	wrong_family(kind, "provider_address", key, address);
	not_unicast(kind, "provider_address", key, address);
	wrong_flags(kind);
	wrong_number(kind, "encapsulation", &Object::encapsulation, {3, 4, 255}, value, APUS_ERR_RANGE, "2");
	wrong_number(kind, "key_layout", &Object::key_layout, {3, 255}, value, APUS_ERR_RANGE, "2");
	wrong_number(kind, "flow_id", &Object::flow_id, {3, 255}, value, APUS_ERR_RANGE, "2");
	wrong_number(kind, "dscp_mode", &Object::dscp_mode, {4, 255}, value, APUS_ERR_RANGE, "3");
	wrong_number(kind, "ecn_mode", &Object::ecn_mode, {3, 255}, value, APUS_ERR_RANGE, "2");
	wrong_number(kind, "df_mode", &Object::df_mode, {3, 255}, value, APUS_ERR_RANGE, "2");
	wrong_number(kind, "mtu", &Object::mtu, {1, 68, 127}, value, APUS_ERR_RANGE, "128-65535");
	wrong_number(kind, "reserved", &Object::reserved, {1, 65535}, value, APUS_ERR_UNKNOWN_FIELD, "0");
	for (const std::uint8_t dscp : {64, 255})
		kind.wrong.push_back({"dscp " + std::to_string(dscp), value, {APUS_ERR_RANGE}, {"dscp", std::to_string(dscp), "63"}, [=](Object &object) {
					      object.dscp_mode = APUS_DSCP_PIPE;
					      object.dscp = dscp;
				      }});
	for (const std::uint8_t mode : {0, static_cast<int>(APUS_DSCP_COPY), static_cast<int>(APUS_DSCP_UNIFORM)})
		kind.wrong.push_back({"dscp without pipe", value, {APUS_ERR_CONFLICT}, {"dscp"}, [=](Object &object) {
					      object.dscp_mode = mode;
					      object.dscp = 46;
				      }});
	kind.wrong.push_back({"the draft's layout in VXLAN", value, {APUS_ERR_CONFLICT}, {"key_layout"}, [](Object &object) {
				      object.encapsulation = APUS_ENCAPSULATION_VXLAN;
				      object.key_layout = APUS_KEY_DRAFT00;
			      }});
	return kind;
}

inline Kind<struct apus_provider_neighbor> neighbors(Bench &)
{
	using Object = struct apus_provider_neighbor;
	Kind<Object> kind = {VERBS(apus_provider_neighbor), objects::neighbor(fixture::remote_pa, fixture::remote_pa_mac),
			     objects::neighbor(fixture::ip(192, 168, 0, 77), 0x445566778877), 0, 0, APUS_ERR_NOT_FOUND,
			     [](Object &object) {
				     object.mac = objects::mac(fixture::broadcast);
				     object.state = object.reserved = 255;
				     object.flags = UINT32_MAX;
			     },
			     {}};
	const Address<Object> address = [](Object &object) -> auto & { return object.address; };
	wrong_family(kind, "address", key, address);
	not_unicast(kind, "address", key, address);
	wrong_mac(kind);
	wrong_flags(kind);
	wrong_number(kind, "state", &Object::state, {APUS_NEIGHBOR_STATIC, APUS_NEIGHBOR_FAILED, 6, 255}, value, APUS_ERR_UNKNOWN_FIELD, "0");
	wrong_number(kind, "reserved", &Object::reserved, {1, 255}, value, APUS_ERR_UNKNOWN_FIELD, "0");
	wrong_number(kind, "port", &Object::port, {1, 4096, UINT32_MAX}, value, APUS_ERR_UNKNOWN_FIELD, "0");
	return kind;
}

}  // namespace misuse
