// SPDX-License-Identifier: Apache-2.0
// The policy: its objects, the changes that a control call makes to them, and the questions the pipeline asks.
// A transaction is a copy of this whole object that replaces it on commit.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "apus/apus.h"
#include "discovery.hpp"

namespace model {

using Guid = std::array<std::uint8_t, 16>;

struct Settings {
	bool accept_reserved_vsids = false;
	bool flow_id_zero = false;
	bool no_source_validation = false;
	bool accept_ip_options = false;
	Mac gateway_mac = 0x026170757301;
	std::uint8_t outer_ttl = 128;
	std::uint64_t reachable_ns = 30'000'000'000;
	std::uint64_t retry_ns = 1'000'000'000;
	unsigned retries = 3;
	bool no_icmp_errors = false;
	std::uint64_t icmp_error_rate = 100;
	bool external_router = false;
	bool send_unreachable = false;
	std::uint64_t learn_rate = 100;
	std::uint16_t vxlan_port = 4789;
};

/// How an external port speaks one address family.
struct Side {
	Ip address = 0;
	unsigned length = 0;
	std::optional<Ip> next_hop;
};

struct Port {
	bool vm = false;
	bool trusted = false;
	Vsid vsid = 0;
	Mac mac = 0;
	std::uint16_t mtu = 1500;
	bool dhcp_guard = false;
	std::uint32_t address_limit = 0;  // 0: as nothing was said
	bool external = false;
	bool provider() const { return !vm && !external; }
	// Of an external port:
	Guid domain{};
	std::uint32_t parent = 0;
	std::uint16_t vlan = 0;
	std::optional<Side> v4 = std::nullopt, v6 = std::nullopt;
	const std::optional<Side> &side(unsigned family) const { return family == 6 ? v6 : v4; }
};

/// Of the provider network, or behind an external port.
struct NextHop {
	std::uint32_t behind = 0;
	Ip ip = 0;
	friend bool operator==(const NextHop &a, const NextHop &b) { return a.behind == b.behind && a.ip == b.ip; }
	friend bool operator<(const NextHop &a, const NextHop &b) { return std::tie(a.behind, a.ip) < std::tie(b.behind, b.ip); }
};

struct Record {
	Mac mac = 0;
	std::uint8_t rule = APUS_RULE_ENCAP;
	std::uint8_t type = APUS_RECORD_STATIC;
	Ip provider_address = 0;
	std::uint32_t flags = 0;  // APUS_RECORD_*
	bool is_nat() const { return rule == APUS_RULE_NAT; }
	bool is_unusable() const { return (flags & APUS_RECORD_UNUSABLE) != 0; }
	std::uint64_t order = 0;  // in which records were added or set; the policy's own
};
using RecordKey = std::pair<Vsid, Ip>;

/// Of a record without an address: GatewayWildcard or L2Only.
struct MachineKey {
	Vsid vsid = 0;
	Mac mac = 0;
	unsigned family = 4;  // of its unspecified address
	bool operator<(const MachineKey &other) const { return std::tie(vsid, mac, family) < std::tie(other.vsid, other.mac, other.family); }
};

struct Prefix {
	Ip address = 0;
	unsigned length = 0;
	bool contains(const Ip &ip) const { return ip.family == address.family && ip.network(length) == address; }
	bool operator<(const Prefix &other) const { return std::tie(address, length) < std::tie(other.address, other.length); }
};

/// struct apus_virtual_subnet
struct SubnetOptions {
	std::uint32_t flags = 0;
	std::optional<Ip> group;
	std::uint32_t rate = 10'000;
};

struct CustomerRouteKey {
	Guid domain{};
	Vsid vsid = 0;
	Prefix prefix;
	Ip next_hop = 0;
	bool on_link() const { return next_hop.is_unspecified(); }
	bool operator<(const CustomerRouteKey &other) const
	{
		return std::tie(domain, vsid, prefix, next_hop) <
		       std::tie(other.domain, other.vsid, other.prefix, other.next_hop);
	}
};

struct CustomerRoute {
	std::uint32_t metric = 0;
	std::uint32_t flags = 0;  // APUS_CUSTOMER_ROUTE_*
	CustomerRoute(std::uint32_t its_metric = 0, std::uint32_t its_flags = 0) : metric(its_metric), flags(its_flags) {}
};

struct ProviderAddress {
	std::uint32_t port = 0;
	unsigned prefix_length = 24;
	std::uint16_t vlan = 0;
	Mac mac = 0;
	std::uint8_t state = APUS_ADDRESS_PREFERRED;  // as given
	bool detects = false;
	std::uint64_t given = 0;  // by which add or set; the policy's own
	/// What duplicate address detection found out (5.4).
	struct {
		unsigned probes = 0;
		std::uint64_t probed = 0;  // when the last one was sent
		bool passed = false, duplicate = false;
		std::uint64_t conflict_noted = 0;
	} found = {};
	bool is_usable() const { return state != APUS_ADDRESS_INVALID && !found.duplicate; }
	bool is_watched() const { return detects && state != APUS_ADDRESS_INVALID; }
	bool is_tentative() const { return is_watched() && !found.passed && !found.duplicate; }
	std::uint8_t shown_state() const { return static_cast<std::uint8_t>(found.duplicate ? 3 : is_tentative() ? 2 : int{state}); }  // enum apus_address_state
	/// What was found out about `old`, which is in force, is true of this one, which takes its place.
	void continue_from(const ProviderAddress *old)
	{
		const bool same = old != nullptr && is_watched() && old->is_watched() && !old->found.duplicate && port == old->port && vlan == old->vlan && mac == old->mac;
		found = same ? old->found : decltype(found){};
	}
	/// The prefix of `own`, which has these properties: neighbours are in it.
	Prefix prefix(const Ip &own) const { return {own.network(prefix_length), prefix_length}; }
};

struct ProviderRouteKey {
	Prefix prefix;
	std::uint32_t port = 0;
	Ip next_hop = 0;
	bool operator<(const ProviderRouteKey &other) const
	{
		return std::tie(prefix, port, next_hop) < std::tie(other.prefix, other.port, other.next_hop);
	}
};

/// How a tunnel endpoint wants to be talked to; as it is here if nothing is known of it.
struct Peer {
	std::uint8_t encapsulation = 0;  // each as in struct apus_provider_peer
	std::uint8_t key_layout = 0;
	std::uint8_t flow_id = 0;
	std::uint8_t dscp_mode = 0;
	std::uint8_t dscp = 0;
	std::uint8_t ecn_mode = 0;
	std::uint8_t df_mode = 0;
	std::uint8_t ttl = 0;
	std::uint16_t mtu = 0;
	bool is_vxlan() const { return encapsulation == APUS_ENCAPSULATION_VXLAN; }
	bool is_draft00() const { return key_layout == APUS_KEY_DRAFT00; }
};

/// Where a frame to a provider address goes (docs/pipeline.md section 5).
struct Path {
	std::uint32_t port = 0;
	Ip next_hop = 0;
	bool has_source = false;
	Ip source = 0;
	std::uint32_t behind = 0;  // an external port: `port` is its device
	NextHop hop() const { return {behind, next_hop}; }
};

class Policy {
public:
	std::map<std::uint32_t, Port> ports;
	std::set<NextHop> entered;                    // behind external ports
	std::map<NextHop, std::uint64_t> forgotten;   // how often, behind external ports
	std::map<RecordKey, Record> records;
	std::map<MachineKey, Record> machines;  // whose addresses nobody told us
	bool external_router = false;           // APUS_DATAPLANE_USE_EXTERNAL_ROUTER
	std::map<CustomerRouteKey, CustomerRoute> customer_routes;
	std::map<Vsid, SubnetOptions> subnets;
	std::map<Ip, ProviderAddress> provider_addresses;
	std::map<ProviderRouteKey, std::uint32_t> provider_routes;  // -> metric
	std::map<Ip, Mac> static_neighbours;
	std::map<Ip, std::uint64_t> neighbour_changes;  // how many control calls changed the static neighbour
	std::map<Ip, Peer> peers;
	/// Changes that were made to ports and to the provider side.
	std::uint64_t provider_version = 0;

	// What control calls do. Each answers what the library must answer; a failing one changes nothing.
	int can_add_port(const Port &port) const { return check_port(port, 0); }
	void add_port(std::uint32_t id, const Port &port);
	int set_port(std::uint32_t id, const Port &port);
	int remove_port(std::uint32_t id);
	int add_record(const RecordKey &key, const Record &record);
	int set_record(const RecordKey &key, const Record &record);
	int remove_record(const RecordKey &key);
	int add_machine(const MachineKey &key, const Record &record);
	int set_machine(const MachineKey &key, const Record &record);
	int remove_machine(const MachineKey &key);
	int add_subnet(Vsid vsid, const SubnetOptions &options);
	int set_subnet(Vsid vsid, const SubnetOptions &options);
	int remove_subnet(Vsid vsid);
	int add_customer_route(const CustomerRouteKey &key, const CustomerRoute &route);
	int set_customer_route(const CustomerRouteKey &key, const CustomerRoute &route);
	int remove_customer_route(const CustomerRouteKey &key);
	int add_provider_address(Ip ip, const ProviderAddress &address);
	int set_provider_address(Ip ip, const ProviderAddress &address);
	int remove_provider_address(Ip ip);
	int add_provider_route(const ProviderRouteKey &key, std::uint32_t metric);
	int set_provider_route(const ProviderRouteKey &key, std::uint32_t metric);
	int remove_provider_route(const ProviderRouteKey &key);
	int add_neighbour(Ip ip, Mac mac);
	int set_neighbour(Ip ip, Mac mac);
	int remove_neighbour(Ip ip);
	int add_peer(Ip ip, const Peer &peer);
	int set_peer(Ip ip, const Peer &peer);
	int remove_peer(Ip ip);

	// What the pipeline asks.
	const Record *record(Vsid vsid, Ip ip) const;
	/// The forwarding record of the machine (`vsid`, `mac`) for `ip`.
	const Record *forwarding_record(Vsid vsid, Mac mac, const Ip &ip) const;
	/// The record with the rule TranslationMethodNat that has the provider address; no other record has it.
	const std::pair<const RecordKey, Record> *nat_record_at(Ip provider_address) const;
	Peer peer(Ip provider_address) const;
	/// The smaller of the MTU of the port and that of the peer.
	std::size_t mtu(std::uint32_t port, Ip provider_address) const;
	/// A usable address of ours; nullptr if it is none.
	const ProviderAddress *usable_address(const Ip &ip) const;
	bool is_local(const Record &record) const { return provider_addresses.count(record.provider_address) != 0; }
	/// Every record of the virtual subnet, of any type.
	std::vector<const Record *> records_in(Vsid vsid) const;
	/// Every record of any type with this MAC.
	std::vector<const Record *> records_of_machine(Vsid vsid, Mac mac) const;
	/// One of them: L2Only or wildcard before others, IPv4's before IPv6's; of the others the one that was added or set last.
	const Record *record_of_machine(Vsid vsid, Mac mac) const;
	const Record *wildcard(Vsid vsid, Mac mac, unsigned family) const;
	/// The one with the lowest MAC.
	const Record *any_wildcard(Vsid vsid, unsigned family) const;
	/// What the packet is for, on-link: its record, or else a wildcard record.
	const Record *on_link_target(Vsid vsid, const Ip &ip) const;
	bool l2_only_is_at(Vsid vsid, Mac mac, const Ip &provider_address) const;
	bool l2_only_is_local(Vsid vsid, Mac mac) const;
	SubnetOptions subnet(Vsid vsid) const;
	bool carries_broadcast(Vsid vsid) const { return (subnet(vsid).flags & APUS_SUBNET_BROADCAST) != 0; }
	bool carries_others(Vsid vsid) const { return (subnet(vsid).flags & APUS_SUBNET_ALLOW_NON_IP) != 0; }
	bool is_multicast_group(const Ip &ip) const;
	/// Provider addresses that are not ours and that records of the virtual subnet have, in the order of copies.
	std::vector<Ip> hosts_of(Vsid vsid, bool l2_only) const;
	std::optional<std::uint32_t> vm_port(Vsid vsid, Mac mac) const;
	// Section 9.
	std::optional<std::uint32_t> external_port(Vsid vsid, Mac mac) const;
	/// Whose frames come from and go to the device with this VLAN.
	std::optional<std::uint32_t> external_on(std::uint32_t device, std::uint16_t vlan) const;
	std::uint32_t device_of(std::uint32_t external) const;
	/// Outside, or of a record with the port's MAC.
	bool is_gateways_own(std::uint32_t external, const Ip &ip) const;
	std::optional<Ip> hop_outside(std::uint32_t external, const Ip &ip) const;
	bool is_named(const NextHop &hop) const;
	/// It may be asked for.
	bool has_entry(const NextHop &hop) const { return hop.behind == 0 || is_named(hop) || entered.count(hop) != 0; }
	/// A worker wants the next hop. @return it is new
	bool enter(const NextHop &hop);
	std::optional<Guid> domain_of(Vsid vsid) const;  // the routing domain that the virtual subnet is bound to
	std::set<Ip> gateways_of(Vsid vsid) const;
	/// Of the longest on-link prefix of the virtual subnet that contains `ip`.
	std::optional<Ip> gateway_for(Vsid vsid, Ip ip) const;
	/// Of the first IPv6 on-link prefix of the virtual subnet, in order of prefixes as numbers, then lengths.
	std::optional<Ip> first_v6_gateway(Vsid vsid) const;
	/// The router addresses of the virtual subnet: its gateways, and the link-local addresses of their MACs. With the MACs.
	std::map<Ip, Mac> router_addresses(const Settings &settings, Vsid vsid) const;
	/// Prefixes that router advertisements name, in that order too; all of them.
	std::vector<AdvertisedPrefix> advertised_prefixes(Vsid vsid) const;
	bool is_gateway_in_domain(const Guid &domain, Ip ip) const;
	Mac gateway_mac(const Settings &settings, Vsid vsid, Ip gateway) const;
	static Ip gateway_of(const Prefix &prefix);
	bool is_gateway_mac(const Settings &settings, Vsid vsid, Mac mac) const;
	const CustomerRouteKey *best_route(const Guid &domain, Ip ip, bool on_link_only) const;
	bool is_known_vsid(Vsid vsid) const;
	bool any_record_at(Ip provider_address) const;
	bool vsid_is_at(Vsid vsid, Ip provider_address) const;
	/// `sender`: the sender's address.
	std::optional<Path> path_to(Ip provider_address, const std::optional<Ip> &sender) const;
	/// Of what is encapsulated whole, from a machine.
	std::optional<Ip> sender_of(Vsid vsid, Mac mac) const;
	/// Addresses for which a neighbour exists: every provider address of a record, every next hop of a provider route.
	std::set<Ip> needed_neighbours() const;

private:
	std::uint64_t record_changes_ = 0;
	std::uint64_t addresses_given_ = 0;
	int provider_side_changed(int result);
	int neighbour_changed(Ip ip, int result);
	int check_record(const RecordKey &key, const Record &record) const;
	std::vector<std::pair<Prefix, CustomerRoute>> v6_on_link(Vsid vsid) const;  // in that order
	int check_provider_port(std::uint32_t id) const;
	int check_port(const Port &port, std::uint32_t id) const;
	bool has_address_in(std::uint32_t port, std::uint16_t vlan) const;
	int check_external(const Port &port, std::uint32_t id) const;
	void forget(const NextHop &hop);
	void forget_all(std::uint32_t external);
};

}  // namespace model
