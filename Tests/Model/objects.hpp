// SPDX-License-Identifier: Apache-2.0
// The model's objects as the structs of the C contract.
#pragma once

#include <cstring>

#include "policy.hpp"

namespace objects {

inline struct apus_address address(const model::Ip &ip)
{
	struct apus_address out = {};
	model::Bytes bytes(ip.bits() / 8);
	model::put_ip(bytes, 0, ip);
	out.family = ip.is_v6() ? APUS_IPV6 : APUS_IPV4;
	std::memcpy(out.bytes, bytes.data(), bytes.size());
	return out;
}

inline struct apus_mac mac(model::Mac value)
{
	struct apus_mac out = {};
	for (int i = 0; i < 6; i++)
		out.bytes[i] = static_cast<std::uint8_t>(value >> (40 - 8 * i));
	return out;
}

inline struct apus_guid guid(const model::Guid &value)
{
	struct apus_guid out = {};
	std::memcpy(out.bytes, value.data(), sizeof(out.bytes));
	return out;
}

inline struct apus_prefix prefix(const model::Prefix &value)
{
	struct apus_prefix out = {};
	out.address = address(value.address);
	out.length = static_cast<std::uint8_t>(value.length);
	return out;
}

inline struct apus_port_params port(const model::Port &port)
{
	struct apus_port_params out;
	APUS_INIT(&out);
	out.kind = port.vm ? APUS_PORT_VM : port.external ? APUS_PORT_EXTERNAL : APUS_PORT_PROVIDER;
	out.routing_domain_id = guid(port.domain);
	out.parent_port = port.parent;
	out.vlan = port.vlan;
	const auto side = [](const std::optional<model::Side> &its) {
		struct apus_external_side one = {};
		if (its) {
			one.address = address(its->address);
			one.prefix_length = static_cast<std::uint8_t>(its->length);
		}
		if (its && its->next_hop)
			one.next_hop = address(*its->next_hop);
		return one;
	};
	out.ipv4 = side(port.v4);
	out.ipv6 = side(port.v6);
	out.flags = (port.trusted ? APUS_PORT_TRUSTED : 0u) | (port.dhcp_guard ? APUS_PORT_DHCP_GUARD : 0u);
	out.dynamic_address_limit = port.address_limit;
	out.virtual_subnet_id = port.vsid;
	out.mac = mac(port.mac);
	out.mtu = port.mtu;
	std::strcpy(out.name, port.vm ? "vm" : port.external ? "outside" : "uplink");
	return out;
}

inline struct apus_lookup_record record(const model::RecordKey &key, const model::Record &record)
{
	struct apus_lookup_record out;
	APUS_INIT(&out);
	out.virtual_subnet_id = key.first;
	out.customer_address = address(key.second);
	out.mac = mac(record.mac);
	out.rule = record.rule;
	out.type = record.type;
	out.provider_address = address(record.provider_address);
	out.flags = record.flags;
	return out;
}

inline struct apus_lookup_record machine(const model::MachineKey &key, const model::Record &value)
{
	return record({key.vsid, model::Ip::unspecified(key.family)}, value);
}

inline struct apus_virtual_subnet subnet(model::Vsid vsid, const model::SubnetOptions &options)
{
	struct apus_virtual_subnet out;
	APUS_INIT(&out);
	out.virtual_subnet_id = vsid;
	out.flags = options.flags;
	if (options.group)
		out.multicast_group = address(*options.group);
	out.replication_rate = options.rate == 10'000 ? 0 : options.rate;
	return out;
}

inline struct apus_customer_route customer_route(const model::CustomerRouteKey &key, const model::CustomerRoute &route)
{
	struct apus_customer_route out;
	APUS_INIT(&out);
	out.routing_domain_id = guid(key.domain);
	out.virtual_subnet_id = key.vsid;
	out.destination_prefix = prefix(key.prefix);
	out.next_hop = address(key.next_hop);
	out.metric = route.metric;
	out.flags = route.flags;
	return out;
}

inline struct apus_provider_address provider_address(model::Ip ip, const model::ProviderAddress &value)
{
	struct apus_provider_address out;
	APUS_INIT(&out);
	out.provider_address = address(ip);
	out.port = value.port;
	out.prefix_length = static_cast<std::uint8_t>(value.prefix_length);
	out.vlan = value.vlan;
	out.mac = mac(value.mac);
	out.state = value.state;
	out.flags = value.detects ? APUS_PROVIDER_ADDRESS_DETECT_DUPLICATES : 0;
	return out;
}

inline struct apus_provider_route provider_route(const model::ProviderRouteKey &key, std::uint32_t metric)
{
	struct apus_provider_route out;
	APUS_INIT(&out);
	out.destination_prefix = prefix(key.prefix);
	out.next_hop = address(key.next_hop);
	out.port = key.port;
	out.metric = metric;
	return out;
}

inline struct apus_provider_neighbor neighbor(model::Ip ip, model::Mac value)
{
	struct apus_provider_neighbor out;
	APUS_INIT(&out);
	out.address = address(ip);
	out.mac = mac(value);
	return out;
}

inline struct apus_provider_peer peer(model::Ip ip, const model::Peer &value)
{
	struct apus_provider_peer out;
	APUS_INIT(&out);
	out.provider_address = address(ip);
	out.encapsulation = value.encapsulation;
	out.key_layout = value.key_layout;
	out.flow_id = value.flow_id;
	out.dscp_mode = value.dscp_mode;
	out.dscp = value.dscp;
	out.ecn_mode = value.ecn_mode;
	out.df_mode = value.df_mode;
	out.ttl = value.ttl;
	out.mtu = value.mtu;
	return out;
}

}  // namespace objects
