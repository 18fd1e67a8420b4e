// SPDX-License-Identifier: Apache-2.0
#include "outside.hpp"

#include "provider_side.hpp"
#include "vm_side.hpp"

namespace model {

// ---- the policy ------------------------------------------------------------------------------------------------------

std::optional<std::uint32_t> Policy::external_port(Vsid vsid, Mac mac) const
{
	for (const auto &[id, port] : ports)
		if (port.external && port.vsid == vsid && port.mac == mac)
			return id;
	return std::nullopt;
}

std::uint32_t Policy::device_of(std::uint32_t external) const
{
	const std::uint32_t parent = ports.at(external).parent;
	return parent != 0 ? parent : external;
}

std::optional<std::uint32_t> Policy::external_on(std::uint32_t device, std::uint16_t vlan) const
{
	for (const auto &[id, port] : ports)
		if (port.external && device_of(id) == device && port.vlan == vlan)
			return id;
	return std::nullopt;
}

bool Policy::is_gateways_own(std::uint32_t external, const Ip &ip) const
{
	const Port &port = ports.at(external);
	if (const auto &side = port.side(ip.family); side && side->address == ip)
		return true;
	const Record *inside = record(port.vsid, ip);
	return inside != nullptr && inside->mac == port.mac;
}

std::optional<Ip> Policy::hop_outside(std::uint32_t external, const Ip &ip) const
{
	const auto &side = ports.at(external).side(ip.family);
	if (!side)
		return std::nullopt;
	const bool near = Prefix{side->address.network(side->length), side->length}.contains(ip);
	return near ? std::optional<Ip>(ip) : side->next_hop;
}

bool Policy::is_named(const NextHop &hop) const
{
	const auto port = ports.find(hop.behind);
	if (port == ports.end() || !port->second.external)
		return false;
	const auto &side = port->second.side(hop.ip.family);
	return side && side->next_hop == hop.ip;
}

bool Policy::enter(const NextHop &hop)
{
	const auto port = ports.find(hop.behind);
	if (port == ports.end() || !port->second.external || has_entry(hop) || hop_outside(hop.behind, hop.ip) != hop.ip)
		return false;
	return entered.insert(hop).second;
}

void Policy::forget(const NextHop &hop)
{
	entered.erase(hop);
	forgotten[hop]++;
}

/// Those that were entered.
void Policy::forget_all(std::uint32_t external)
{
	for (const NextHop &hop : std::set<NextHop>(entered))
		if (hop.behind == external)
			forget(hop);
}

// ---- out -------------------------------------------------------------------------------------------------------------

Verdict leave_through(const Policy &policy, std::uint32_t external, Bytes frame, const IpPacket &ip, const std::optional<Tunnel> &tunnel)
{
	const Port &port = policy.ports.at(external);
	const auto with = [&](Verdict verdict) {
		verdict.gateway = external;
		verdict.tunnel = tunnel;
		return verdict;
	};
	if (policy.is_gateways_own(external, ip.destination)) {
		if (tunnel && !take_over_tos(frame, ip, *tunnel))
			return with(Verdict::drop(APUS_DROP_ECN));
		if (!is_echo_request(frame, ip))
			return with(Verdict::drop(APUS_DROP_GATEWAY_UNSERVED));
		Verdict answer = with(answer_echo(std::move(frame), ip));
		if (tunnel)
			put_mac(answer.bytes, 6, port.mac);
		return answer;
	}
	if (is_link_local(ip.source) || is_link_local(ip.destination))
		return with(Verdict::drop(APUS_DROP_LINK_LOCAL));
	const auto hop = policy.hop_outside(external, ip.destination);
	if (!hop)
		return with(Verdict::drop(APUS_DROP_EXTERNAL_ROUTE_MISSING));
	Verdict verdict;
	verdict.kind = Verdict::Kind::leave;
	verdict.bytes = std::move(frame);
	verdict.remote = *hop;
	return with(std::move(verdict));
}

// ---- in --------------------------------------------------------------------------------------------------------------

/// No record needs to be there: routers are there, and what the policy does not lead out.
static bool is_inside(const Policy &policy, const Port &gateway, const Ip &ip)
{
	if (!policy.external_router && policy.is_gateway_in_domain(gateway.domain, ip))
		return true;
	const CustomerRouteKey *route = policy.best_route(gateway.domain, ip, false);
	if (route == nullptr || !route->on_link())
		return false;
	const bool leads_out = route->vsid == gateway.vsid && policy.wildcard(gateway.vsid, gateway.mac, ip.family) != nullptr;
	return !leads_out;
}

/// Steps 5 to 8, `frame` from the gateway into the VM network.
static Verdict enter(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame, const IpPacket &ip)
{
	const Port &port = policy.ports.at(external);
	if (is_special(ip.destination))
		return Verdict::drop(APUS_DROP_NOT_UNICAST);
	if (is_special(ip.source))
		return Verdict::drop(APUS_DROP_IP_MALFORMED);
	if (!port.side(ip.source.family))
		return Verdict::drop(APUS_DROP_EXTERNAL_ROUTE_MISSING);
	if (policy.is_gateways_own(external, ip.destination))
		return is_echo_request(frame, ip) ? answer_echo(std::move(frame), ip) : Verdict::drop(APUS_DROP_GATEWAY_UNSERVED);
	const CustomerRouteKey *route = policy.best_route(port.domain, ip.source, true);
	const Record *source = policy.record(route != nullptr ? route->vsid : port.vsid, ip.source);
	if (source != nullptr && source->mac != port.mac)
		return Verdict::drop(APUS_DROP_SOURCE_CA_MAC);
	if (is_inside(policy, port, ip.source) && !policy.is_gateways_own(external, ip.source))
		return Verdict::drop(APUS_DROP_SOURCE_RECORD_MISSING);
	return route_from_outside(policy, settings, external, std::move(frame), ip);
}

Verdict go_inside(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame)
{
	const IpPacket ip = *IpPacket::parse(get16(frame, 12), frame, ethernet_size, readable);
	Verdict verdict = enter(policy, settings, external, std::move(frame), ip);
	verdict.entered = external;
	return verdict;
}

Verdict from_outside(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame)
{
	const Port &port = policy.ports.at(external);
	const std::uint16_t type = get16(frame, 12);
	if (type != type_ipv4 && type != type_ipv6)
		return Verdict::drop(APUS_DROP_ETHERTYPE);
	if (!IpPacket::parse(type, frame, ethernet_size, readable))
		return Verdict::drop(APUS_DROP_IP_MALFORMED);
	const Mac to = get_mac(frame, 0), from = get_mac(frame, 6);
	if (to != port.mac)
		return Verdict::drop(is_group(to) ? APUS_DROP_NOT_UNICAST : APUS_DROP_OUTER_MAC);
	put_mac(frame, 6, port.mac);
	Verdict verdict = go_inside(policy, settings, external, std::move(frame));
	if (verdict.kind == Verdict::Kind::answer && (from == 0 || is_group(from))) {
		verdict = Verdict::drop(APUS_DROP_GATEWAY_UNSERVED);
		verdict.entered = external;
	}
	if (verdict.kind == Verdict::Kind::answer) {
		Bytes answer = ethernet_header(from, port.mac, port.vlan, type);
		answer.insert(answer.end(), verdict.bytes.begin() + ethernet_size, verdict.bytes.end());
		verdict.bytes = std::move(answer);
	}
	return verdict;
}

}  // namespace model
