// SPDX-License-Identifier: Apache-2.0
// Records of machines: those without an address (GatewayWildcard, L2Only), all records of a MAC, and forwarding records.
// docs/pipeline.md, "Words".
#include <algorithm>

#include "policy.hpp"

namespace model {

// ---- control calls -------------------------------------------------------------------------------------------------

/// What is wrong with a record without an address.
static int check_machine(const Record &record)
{
	if (is_mapped(record.provider_address))
		return APUS_ERR_ADDRESS;
	return record.is_nat() || (record.flags & APUS_RECORD_USE_VM_MAC) != 0 ? APUS_ERR_CONFLICT : 0;
}

int Policy::add_machine(const MachineKey &key, const Record &record)
{
	if (const int error = check_machine(record))
		return error;
	if (machines.count(key) != 0)
		return APUS_ERR_DUPLICATE;
	if (nat_record_at(record.provider_address) != nullptr)
		return APUS_ERR_CONFLICT;
	machines.emplace(key, record).first->second.order = ++record_changes_;
	return 0;
}

int Policy::set_machine(const MachineKey &key, const Record &record)
{
	if (const int error = check_machine(record))
		return error;
	const auto found = machines.find(key);
	if (found == machines.end())
		return APUS_ERR_NOT_FOUND;
	if (found->second.type != record.type)
		return APUS_ERR_IMMUTABLE;
	if (nat_record_at(record.provider_address) != nullptr)
		return APUS_ERR_CONFLICT;
	found->second = record;
	found->second.order = ++record_changes_;
	return 0;
}

int Policy::remove_machine(const MachineKey &key) { return machines.erase(key) != 0 ? 0 : APUS_ERR_NOT_FOUND; }

int Policy::add_subnet(Vsid vsid, const SubnetOptions &options) { return subnets.emplace(vsid, options).second ? 0 : APUS_ERR_DUPLICATE; }

int Policy::set_subnet(Vsid vsid, const SubnetOptions &options)
{
	const auto found = subnets.find(vsid);
	if (found == subnets.end())
		return APUS_ERR_NOT_FOUND;
	found->second = options;
	return 0;
}

int Policy::remove_subnet(Vsid vsid) { return subnets.erase(vsid) != 0 ? 0 : APUS_ERR_NOT_FOUND; }

// ---- questions -----------------------------------------------------------------------------------------------------

std::vector<const Record *> Policy::records_in(Vsid vsid) const
{
	std::vector<const Record *> out;
	for (auto at = machines.lower_bound({vsid, 0, 0}); at != machines.end() && at->first.vsid == vsid; ++at)
		out.push_back(&at->second);
	for (auto at = records.lower_bound({vsid, 0}); at != records.end() && at->first.first == vsid; ++at)
		out.push_back(&at->second);
	return out;
}

std::vector<const Record *> Policy::records_of_machine(Vsid vsid, Mac mac) const
{
	std::vector<const Record *> out;
	for (const Record *record : records_in(vsid))
		if (record->mac == mac)
			out.push_back(record);
	return out;
}

const Record *Policy::record_of_machine(Vsid vsid, Mac mac) const
{
	for (const unsigned family : {4u, 6u})
		if (const auto found = machines.find({vsid, mac, family}); found != machines.end())
			return &found->second;
	const Record *last = nullptr;
	for (const Record *record : records_of_machine(vsid, mac))
		if (last == nullptr || record->order > last->order)
			last = record;
	return last;
}

const Record *Policy::wildcard(Vsid vsid, Mac mac, unsigned family) const
{
	const auto found = machines.find({vsid, mac, family});
	return found != machines.end() && found->second.type == APUS_RECORD_GATEWAY_WILDCARD ? &found->second : nullptr;
}

const Record *Policy::any_wildcard(Vsid vsid, unsigned family) const
{
	for (auto at = machines.lower_bound({vsid, 0, 0}); at != machines.end() && at->first.vsid == vsid; ++at)
		if (at->first.family == family && at->second.type == APUS_RECORD_GATEWAY_WILDCARD)
			return &at->second;
	return nullptr;
}

const Record *Policy::on_link_target(Vsid vsid, const Ip &ip) const
{
	const Record *own = record(vsid, ip);
	return own != nullptr ? own : any_wildcard(vsid, ip.family);
}

bool Policy::l2_only_is_at(Vsid vsid, Mac mac, const Ip &provider_address) const
{
	for (const Record *record : records_of_machine(vsid, mac))
		if (record->type == APUS_RECORD_L2_ONLY && record->provider_address == provider_address)
			return true;
	return false;
}

bool Policy::l2_only_is_local(Vsid vsid, Mac mac) const
{
	for (const Record *record : records_of_machine(vsid, mac))
		if (record->type == APUS_RECORD_L2_ONLY && is_local(*record))
			return true;
	return false;
}

SubnetOptions Policy::subnet(Vsid vsid) const
{
	const auto found = subnets.find(vsid);
	return found == subnets.end() ? SubnetOptions() : found->second;
}

bool Policy::is_multicast_group(const Ip &ip) const
{
	for (const auto &[vsid, options] : subnets)
		if (options.group == ip)
			return true;
	return false;
}

std::vector<Ip> Policy::hosts_of(Vsid vsid, bool l2_only) const
{
	const auto number = [](const Ip &ip) { return ip.is_v6() ? ip.value : static_cast<Uint128>(0xFFFF) << 32 | ip.value; };
	std::vector<Ip> hosts;
	for (const Record *record : records_in(vsid)) {
		const bool known = std::find(hosts.begin(), hosts.end(), record->provider_address) != hosts.end();
		if (!known && !is_local(*record) && (!l2_only || record->type == APUS_RECORD_L2_ONLY))
			hosts.push_back(record->provider_address);
	}
	std::sort(hosts.begin(), hosts.end(), [&](const Ip &a, const Ip &b) { return number(a) < number(b); });
	return hosts;
}

const Record *Policy::forwarding_record(Vsid vsid, Mac mac, const Ip &ip) const
{
	if (const Record *any = wildcard(vsid, mac, ip.family))
		return any;
	const auto domain = domain_of(vsid);
	const CustomerRouteKey *route = domain ? best_route(*domain, ip, false) : nullptr;
	if (route != nullptr && route->vsid == vsid && !route->on_link())
		if (const Record *next_hop = record(vsid, route->next_hop); next_hop != nullptr && next_hop->mac == mac)
			return next_hop;
	if (!external_router || gateway_for(vsid, ip))
		return nullptr;
	for (const Ip &gateway : gateways_of(vsid))
		if (const Record *router = record(vsid, gateway); gateway.family == ip.family && router != nullptr && router->mac == mac)
			return router;
	return nullptr;
}

}  // namespace model
