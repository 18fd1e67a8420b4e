// SPDX-License-Identifier: Apache-2.0
#include "policy.hpp"

#include <algorithm>

namespace model {

// ---- control calls -------------------------------------------------------------------------------------------------

/// The network or the broadcast address of a prefix that has these.
static bool is_nobodys(const Side &side)
{
	if (side.address.is_v6() || side.length > 30)
		return false;
	const Ip first = side.address.network(side.length), last = first + ((Uint128{1} << (32 - side.length)) - 1);
	return side.address == first || side.address == last;
}

/// A new port (`id` is 0), or one in the place of `id`.
int Policy::check_port(const Port &port, std::uint32_t id) const
{
	if (port.provider())
		return 0;
	if (port.external && port.v4 && is_nobodys(*port.v4))
		return APUS_ERR_ADDRESS;
	for (const auto &[other, its] : ports)
		if (other != id && !its.provider() && its.vsid == port.vsid && its.mac == port.mac)
			return APUS_ERR_DUPLICATE;
	return port.external ? check_external(port, id) : 0;
}

int Policy::check_external(const Port &port, std::uint32_t id) const
{
	if (id != 0 && ports.at(id).domain != port.domain)
		return APUS_ERR_IMMUTABLE;
	if (const auto bound = domain_of(port.vsid); bound && *bound != port.domain)
		return APUS_ERR_CONFLICT;
	if (id != 0 && port.parent != 0)
		for (const auto &[other, its] : ports)
			if (its.external && its.parent == id)
				return APUS_ERR_IN_USE;
	if (port.parent != 0) {
		const auto parent = ports.find(port.parent);
		if (parent == ports.end())
			return APUS_ERR_STALE;
		if (parent->second.vm || parent->second.parent != 0 || port.parent == id)
			return APUS_ERR_PORT_KIND;
	}
	const std::uint32_t device = port.parent != 0 ? port.parent : id;
	if (const auto other = external_on(device, port.vlan); device != 0 && other && *other != id)
		return APUS_ERR_DUPLICATE;
	return has_address_in(device, port.vlan) ? APUS_ERR_CONFLICT : 0;
}

bool Policy::has_address_in(std::uint32_t port, std::uint16_t vlan) const
{
	for (const auto &[ip, address] : provider_addresses)
		if (address.port == port && address.vlan == vlan)
			return true;
	return false;
}

void Policy::add_port(std::uint32_t id, const Port &port)
{
	ports.emplace(id, port);
	provider_side_changed(0);
}

int Policy::provider_side_changed(int result)
{
	if (result == 0)
		provider_version++;
	return result;
}

int Policy::set_port(std::uint32_t id, const Port &port)
{
	const auto found = ports.find(id);
	if (found == ports.end())
		return APUS_ERR_STALE;
	if (found->second.vm != port.vm || found->second.external != port.external)
		return APUS_ERR_IMMUTABLE;
	if (const int error = check_port(port, id))
		return error;
	const Port old = found->second;
	found->second = port;
	const bool is_elsewhere = old.external && (old.parent != port.parent || old.vlan != port.vlan);
	if (is_elsewhere)
		forget_all(id);
	for (const unsigned family : {4u, 6u})  // what the policy named and no longer names
		if (old.side(family) && old.side(family)->next_hop && (is_elsewhere || !is_named({id, *old.side(family)->next_hop})))
			forget({id, *old.side(family)->next_hop});
	return provider_side_changed(0);
}

int Policy::remove_port(std::uint32_t id)
{
	if (ports.count(id) == 0)
		return APUS_ERR_STALE;
	for (const auto &[ip, address] : provider_addresses)
		if (address.port == id)
			return APUS_ERR_IN_USE;
	for (const auto &[key, metric] : provider_routes)
		if (key.port == id)
			return APUS_ERR_IN_USE;
	for (const auto &[other, its] : ports)
		if (its.external && its.parent == id)
			return APUS_ERR_IN_USE;
	forget_all(id);
	ports.erase(id);
	return provider_side_changed(0);
}

/// What is wrong with a record that is well-formed but for its addresses.
int Policy::check_record(const RecordKey &key, const Record &record) const
{
	if (is_mapped(key.second) || is_mapped(record.provider_address))
		return APUS_ERR_ADDRESS;
	if (record.is_nat() && key.second.family != record.provider_address.family)
		return APUS_ERR_FAMILY;
	if ((record.flags & APUS_RECORD_USE_VM_MAC) != 0 && !record.is_nat())
		return APUS_ERR_CONFLICT;
	return 0;
}

/// Another record has the provider address, and one of the two translates.
static bool is_taken(const Policy &policy, const RecordKey &key, const Record &record)
{
	for (const auto &[other_key, other] : policy.records)
		if (other_key != key && other.provider_address == record.provider_address && (other.is_nat() || record.is_nat()))
			return true;
	for (const auto &[other_key, other] : policy.machines)
		if (other.provider_address == record.provider_address && record.is_nat())
			return true;
	return false;
}

int Policy::add_record(const RecordKey &key, const Record &record)
{
	if (const int error = check_record(key, record))
		return error;
	if (records.count(key) != 0)
		return APUS_ERR_DUPLICATE;
	if (is_taken(*this, key, record))
		return APUS_ERR_CONFLICT;
	records.emplace(key, record).first->second.order = ++record_changes_;
	return 0;
}

int Policy::set_record(const RecordKey &key, const Record &record)
{
	if (const int error = check_record(key, record))
		return error;
	const auto found = records.find(key);
	if (found == records.end())
		return APUS_ERR_NOT_FOUND;
	if (found->second.mac != record.mac || found->second.type != record.type)
		return APUS_ERR_IMMUTABLE;
	if (is_taken(*this, key, record))
		return APUS_ERR_CONFLICT;
	found->second = record;
	found->second.order = ++record_changes_;
	return 0;
}

int Policy::remove_record(const RecordKey &key)
{
	if (is_mapped(key.second))
		return APUS_ERR_ADDRESS;
	return records.erase(key) != 0 ? 0 : APUS_ERR_NOT_FOUND;
}

/// Flags are for on-link routes of IPv6.
static bool has_wrong_flags(const CustomerRouteKey &key, const CustomerRoute &route)
{
	const bool autoconfigure = (route.flags & APUS_CUSTOMER_ROUTE_AUTOCONFIGURE) != 0;
	return (route.flags != 0 && !(key.on_link() && key.prefix.address.is_v6())) || (autoconfigure && key.prefix.length != 64);
}

int Policy::add_customer_route(const CustomerRouteKey &key, const CustomerRoute &route)
{
	const auto bound = domain_of(key.vsid);
	if (has_wrong_flags(key, route))
		return APUS_ERR_CONFLICT;
	if (bound && *bound != key.domain)
		return APUS_ERR_CONFLICT;
	return customer_routes.emplace(key, route).second ? 0 : APUS_ERR_DUPLICATE;
}

int Policy::set_customer_route(const CustomerRouteKey &key, const CustomerRoute &route)
{
	if (has_wrong_flags(key, route))
		return APUS_ERR_CONFLICT;
	const auto found = customer_routes.find(key);
	if (found == customer_routes.end())
		return APUS_ERR_NOT_FOUND;
	found->second = route;
	return 0;
}

int Policy::remove_customer_route(const CustomerRouteKey &key)
{
	return customer_routes.erase(key) != 0 ? 0 : APUS_ERR_NOT_FOUND;
}

int Policy::check_provider_port(std::uint32_t id) const
{
	const auto found = ports.find(id);
	if (found == ports.end())
		return APUS_ERR_STALE;
	return found->second.provider() ? 0 : APUS_ERR_PORT_KIND;
}

/// An external port has the VLAN.
static bool is_taken(const Policy &policy, const ProviderAddress &address) { return policy.external_on(address.port, address.vlan).has_value(); }

int Policy::add_provider_address(Ip ip, const ProviderAddress &address)
{
	if (const int error = check_provider_port(address.port))
		return error;
	if (provider_addresses.count(ip) == 0 && is_taken(*this, address))
		return APUS_ERR_CONFLICT;
	const auto [added, is_new] = provider_addresses.emplace(ip, address);
	if (is_new)
		added->second.given = ++addresses_given_;
	return provider_side_changed(is_new ? 0 : APUS_ERR_DUPLICATE);
}

int Policy::set_provider_address(Ip ip, const ProviderAddress &address)
{
	if (const int error = check_provider_port(address.port))
		return error;
	const auto found = provider_addresses.find(ip);
	if (found == provider_addresses.end())
		return APUS_ERR_NOT_FOUND;
	if (is_taken(*this, address))
		return APUS_ERR_CONFLICT;
	const ProviderAddress old = found->second;
	found->second = address;
	found->second.continue_from(&old);
	found->second.given = ++addresses_given_;
	return provider_side_changed(0);
}

const ProviderAddress *Policy::usable_address(const Ip &ip) const
{
	const auto found = provider_addresses.find(ip);
	return found != provider_addresses.end() && found->second.is_usable() ? &found->second : nullptr;
}

int Policy::remove_provider_address(Ip ip) { return provider_side_changed(provider_addresses.erase(ip) != 0 ? 0 : APUS_ERR_NOT_FOUND); }

int Policy::add_provider_route(const ProviderRouteKey &key, std::uint32_t metric)
{
	if (const int error = check_provider_port(key.port))
		return error;
	return provider_side_changed(provider_routes.emplace(key, metric).second ? 0 : APUS_ERR_DUPLICATE);
}

int Policy::set_provider_route(const ProviderRouteKey &key, std::uint32_t metric)
{
	if (const int error = check_provider_port(key.port))
		return error;
	const auto found = provider_routes.find(key);
	if (found == provider_routes.end())
		return APUS_ERR_NOT_FOUND;
	found->second = metric;
	return provider_side_changed(0);
}

int Policy::remove_provider_route(const ProviderRouteKey &key)
{
	return provider_side_changed(provider_routes.erase(key) != 0 ? 0 : APUS_ERR_NOT_FOUND);
}

int Policy::neighbour_changed(Ip ip, int result)
{
	if (result == 0)
		neighbour_changes[ip]++;
	return provider_side_changed(result);
}

int Policy::add_neighbour(Ip ip, Mac mac) { return neighbour_changed(ip, static_neighbours.emplace(ip, mac).second ? 0 : APUS_ERR_DUPLICATE); }

int Policy::set_neighbour(Ip ip, Mac mac)
{
	const auto found = static_neighbours.find(ip);
	if (found == static_neighbours.end())
		return APUS_ERR_NOT_FOUND;
	found->second = mac;
	return neighbour_changed(ip, 0);
}

int Policy::remove_neighbour(Ip ip) { return neighbour_changed(ip, static_neighbours.erase(ip) != 0 ? 0 : APUS_ERR_NOT_FOUND); }

static int check_peer(Ip ip, const Peer &peer)
{
	if (is_mapped(ip))
		return APUS_ERR_ADDRESS;
	if (peer.is_draft00() && peer.is_vxlan())
		return APUS_ERR_CONFLICT;
	return peer.dscp != 0 && peer.dscp_mode != APUS_DSCP_PIPE ? APUS_ERR_CONFLICT : 0;
}

int Policy::add_peer(Ip ip, const Peer &peer)
{
	if (const int error = check_peer(ip, peer))
		return error;
	return provider_side_changed(peers.emplace(ip, peer).second ? 0 : APUS_ERR_DUPLICATE);
}

int Policy::set_peer(Ip ip, const Peer &peer)
{
	if (const int error = check_peer(ip, peer))
		return error;
	const auto found = peers.find(ip);
	if (found == peers.end())
		return APUS_ERR_NOT_FOUND;
	found->second = peer;
	return provider_side_changed(0);
}

int Policy::remove_peer(Ip ip)
{
	if (is_mapped(ip))
		return APUS_ERR_ADDRESS;
	return provider_side_changed(peers.erase(ip) != 0 ? 0 : APUS_ERR_NOT_FOUND);
}

// ---- questions -----------------------------------------------------------------------------------------------------

const Record *Policy::record(Vsid vsid, Ip ip) const
{
	const auto found = records.find({vsid, ip});
	return found == records.end() ? nullptr : &found->second;
}

const std::pair<const RecordKey, Record> *Policy::nat_record_at(Ip provider_address) const
{
	for (const auto &entry : records)
		if (entry.second.is_nat() && entry.second.provider_address == provider_address)
			return &entry;
	return nullptr;
}

Peer Policy::peer(Ip provider_address) const
{
	const auto found = peers.find(provider_address);
	return found == peers.end() ? Peer() : found->second;
}

std::size_t Policy::mtu(std::uint32_t port, Ip provider_address) const
{
	const std::size_t of_port = ports.at(port).mtu, of_peer = peer(provider_address).mtu;
	return of_peer != 0 ? std::min(of_port, of_peer) : of_port;
}

std::optional<std::uint32_t> Policy::vm_port(Vsid vsid, Mac mac) const
{
	for (const auto &[id, port] : ports)
		if (port.vm && port.vsid == vsid && port.mac == mac)
			return id;
	return std::nullopt;
}

std::optional<Guid> Policy::domain_of(Vsid vsid) const
{
	for (const auto &[id, port] : ports)
		if (port.external && port.vsid == vsid)
			return port.domain;
	for (const auto &[key, route] : customer_routes)
		if (key.vsid == vsid)
			return key.domain;
	return std::nullopt;
}

/// Network + 1; for /31 and /32 (of IPv6: /127 and /128) the network address itself.
Ip Policy::gateway_of(const Prefix &prefix)
{
	return prefix.length + 1 >= prefix.address.bits() ? prefix.address : prefix.address + 1;
}

std::set<Ip> Policy::gateways_of(Vsid vsid) const
{
	std::set<Ip> gateways;
	for (const auto &[key, route] : customer_routes)
		if (key.vsid == vsid && key.on_link())
			gateways.insert(gateway_of(key.prefix));
	return gateways;
}

std::optional<Ip> Policy::gateway_for(Vsid vsid, Ip ip) const
{
	std::optional<Prefix> longest;
	for (const auto &[key, route] : customer_routes)
		if (key.vsid == vsid && key.on_link() && key.prefix.contains(ip) && (!longest || key.prefix.length > longest->length))
			longest = key.prefix;
	return longest ? std::optional<Ip>(gateway_of(*longest)) : std::nullopt;
}

std::vector<std::pair<Prefix, CustomerRoute>> Policy::v6_on_link(Vsid vsid) const
{
	std::map<Prefix, CustomerRoute> sorted;
	for (const auto &[key, route] : customer_routes)
		if (key.vsid == vsid && key.on_link() && key.prefix.address.is_v6())
			sorted.emplace(key.prefix, route);
	return {sorted.begin(), sorted.end()};
}

std::optional<Ip> Policy::first_v6_gateway(Vsid vsid) const
{
	const auto prefixes = v6_on_link(vsid);
	return prefixes.empty() ? std::nullopt : std::optional<Ip>(gateway_of(prefixes.front().first));
}

std::map<Ip, Mac> Policy::router_addresses(const Settings &settings, Vsid vsid) const
{
	std::map<Ip, Mac> addresses;
	for (const Ip &gateway : gateways_of(vsid))
		addresses.emplace(gateway, gateway_mac(settings, vsid, gateway));
	for (const auto &[prefix, route] : v6_on_link(vsid)) {
		const Mac mac = gateway_mac(settings, vsid, gateway_of(prefix));
		addresses.emplace(link_local_of(mac), mac);
	}
	return addresses;
}

std::vector<AdvertisedPrefix> Policy::advertised_prefixes(Vsid vsid) const
{
	std::vector<AdvertisedPrefix> out;
	for (const auto &[prefix, route] : v6_on_link(vsid))
		if ((route.flags & APUS_CUSTOMER_ROUTE_ADVERTISE) != 0)
			out.push_back({prefix.address, prefix.length,
				       (route.flags & APUS_CUSTOMER_ROUTE_AUTOCONFIGURE) != 0 && prefix.length == 64});
	return out;
}

bool Policy::is_gateway_in_domain(const Guid &domain, Ip ip) const
{
	for (const auto &[key, route] : customer_routes)
		if (key.domain == domain && key.on_link() && gateway_of(key.prefix) == ip)
			return true;
	return false;
}

Mac Policy::gateway_mac(const Settings &settings, Vsid vsid, Ip gateway) const
{
	const Record *own = record(vsid, gateway);
	return own ? own->mac : settings.gateway_mac;
}

bool Policy::is_gateway_mac(const Settings &settings, Vsid vsid, Mac mac) const
{
	for (const auto &[key, route] : customer_routes)
		if (key.vsid == vsid && key.on_link() && gateway_mac(settings, vsid, gateway_of(key.prefix)) == mac)
			return true;
	return false;
}

const CustomerRouteKey *Policy::best_route(const Guid &domain, Ip ip, bool on_link_only) const
{
	const CustomerRouteKey *best = nullptr;
	std::uint32_t best_metric = 0;
	for (const auto &[key, route] : customer_routes) {
		if (key.domain != domain || !key.prefix.contains(ip) || (on_link_only && !key.on_link()))
			continue;
		const bool better =
			best == nullptr ||
			// longest prefix, lowest metric, lowest VSID, lowest next hop
			std::make_tuple(-static_cast<int>(key.prefix.length), route.metric, key.vsid, key.next_hop) <
				std::make_tuple(-static_cast<int>(best->prefix.length), best_metric, best->vsid, best->next_hop);
		if (better) {
			best = &key;
			best_metric = route.metric;
		}
	}
	return best;
}

bool Policy::is_known_vsid(Vsid vsid) const
{
	if (!records_in(vsid).empty())
		return true;
	for (const auto &[key, route] : customer_routes)
		if (key.vsid == vsid)
			return true;
	for (const auto &[id, port] : ports)
		if (port.vm && port.vsid == vsid)
			return true;
	return false;
}

bool Policy::any_record_at(Ip provider_address) const
{
	for (const auto &[key, record] : records)
		if (record.provider_address == provider_address)
			return true;
	for (const auto &[key, record] : machines)
		if (record.provider_address == provider_address)
			return true;
	return false;
}

bool Policy::vsid_is_at(Vsid vsid, Ip provider_address) const
{
	for (const Record *record : records_in(vsid))
		if (record->provider_address == provider_address)
			return true;
	return false;
}

std::optional<Ip> Policy::sender_of(Vsid vsid, Mac mac) const
{
	const Record *record = record_of_machine(vsid, mac);
	return record == nullptr ? std::nullopt : std::optional<Ip>(record->provider_address);
}

std::optional<Path> Policy::path_to(Ip provider_address, const std::optional<Ip> &sender) const
{
	// Longest prefix, lowest metric, our own prefixes before routes, lowest port, lowest next hop.
	using Rank = std::tuple<int, std::uint32_t, bool, std::uint32_t, Ip>;
	std::optional<Rank> best;
	for (const auto &[ip, address] : provider_addresses) {
		if (!address.prefix(ip).contains(provider_address))
			continue;
		const Rank rank{-static_cast<int>(address.prefix_length), 0, false, address.port, Ip::unspecified(ip.family)};
		if (!best || rank < *best)
			best = rank;
	}
	for (const auto &[key, metric] : provider_routes) {
		if (!key.prefix.contains(provider_address))
			continue;
		const Rank rank{-static_cast<int>(key.prefix.length), metric, true, key.port, key.next_hop};
		if (!best || rank < *best)
			best = rank;
	}
	if (!best)
		return std::nullopt;

	Path path;
	path.port = std::get<3>(*best);
	path.next_hop = std::get<4>(*best).is_unspecified() ? provider_address : std::get<4>(*best);

	// The source: of the same family and on the egress port; the sender's, or one that is nobody's own, rather not deprecated, one whose prefix contains the next hop, else the lowest.
	using SourceRank = std::tuple<bool, bool, bool, Ip>;
	std::optional<SourceRank> source;
	for (const auto &[ip, address] : provider_addresses) {
		if (address.port != path.port || ip.family != provider_address.family || !address.is_usable())
			continue;
		const bool is_senders = sender == ip;
		if (!is_senders && nat_record_at(ip) != nullptr)
			continue;
		const SourceRank rank{!is_senders, address.state == APUS_ADDRESS_DEPRECATED, !address.prefix(ip).contains(path.next_hop), ip};
		if (!source || rank < *source)
			source = rank;
	}
	path.has_source = source.has_value();
	if (source)
		path.source = std::get<3>(*source);
	return path;
}

std::set<Ip> Policy::needed_neighbours() const
{
	std::set<Ip> needed;
	for (const auto &[key, record] : records)
		needed.insert(record.provider_address);
	for (const auto &[key, record] : machines)
		needed.insert(record.provider_address);
	for (const auto &[key, metric] : provider_routes)
		if (!key.next_hop.is_unspecified())
			needed.insert(key.next_hop);
	return needed;
}

}  // namespace model
