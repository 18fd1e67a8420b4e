// SPDX-License-Identifier: Apache-2.0
#include "provider_side.hpp"

#include <algorithm>

#include "outside.hpp"
#include "packet.hpp"
#include "rewrite.hpp"

namespace model {

OuterEthernet OuterEthernet::parse(const Bytes &frame)
{
	OuterEthernet outer;
	outer.type = get16(frame, 12);
	outer.size = ethernet_size;
	if (is_tag(outer.type)) {
		if (frame.size() < ethernet_size + 4)
			return outer;
		outer.vlan = get16(frame, 14) & 0x0FFF;
		outer.type = get16(frame, 16);
		outer.size += 4;
	}
	outer.complete = true;
	return outer;
}

namespace {

constexpr unsigned not_ect = 0, ect1 = 1, ect0 = 2, ce = 3;

/// Step 15, RFC 6040 section 4.2: the outgoing codepoint; nothing = drop.
std::optional<unsigned> combine_ecn(unsigned inner, unsigned outer)
{
	if (inner == not_ect)
		return outer == ce ? std::nullopt : std::optional<unsigned>(not_ect);
	if (inner == ce || outer == ce)
		return ce;
	if (inner == ect0 && outer == ect1)
		return ect1;
	return inner;
}

/// Step 3, IPv4. Nothing when the header is good.
std::optional<Reason> check_outer_ipv4(const Settings &settings, const Bytes &frame, std::size_t at, std::uint32_t flags)
{
	if (at + 20 > frame.size())
		return APUS_DROP_OUTER_TRUNCATED;
	const std::size_t header_length = (get8(frame, at) & 15) * std::size_t{4};
	if (get8(frame, at) >> 4 != 4 || header_length < 20)
		return APUS_DROP_OUTER_IP_VERSION;
	if (at + header_length > frame.size())
		return APUS_DROP_OUTER_TRUNCATED;
	const std::size_t total_length = get16(frame, at + 2);
	if (total_length < header_length || at + total_length > frame.size())
		return APUS_DROP_OUTER_IP_LENGTH;
	if (header_length > 20 && !settings.accept_ip_options)
		return APUS_DROP_OUTER_IP_OPTIONS;
	if ((flags & APUS_FRAME_IP_CHECKSUM_BAD) != 0)
		return APUS_DROP_OUTER_IP_CHECKSUM;
	if ((flags & APUS_FRAME_IP_CHECKSUM_GOOD) == 0 && internet_checksum(frame, at, header_length) != 0)
		return APUS_DROP_OUTER_IP_CHECKSUM;
	return std::nullopt;
}

/// Step 3, IPv6.
std::optional<Reason> check_outer_ipv6(const Bytes &frame, std::size_t at)
{
	if (at + 40 > frame.size())
		return APUS_DROP_OUTER_TRUNCATED;
	if (get8(frame, at) >> 4 != 6)
		return APUS_DROP_OUTER_IP_VERSION;
	if (at + 40 + get16(frame, at + 4) > frame.size())
		return APUS_DROP_OUTER_IP_LENGTH;
	return std::nullopt;
}

/// What the outer IP header says that matters from step 4 on.
struct OuterIp {
	Ip source, destination;
	std::uint8_t tos = 0;       // or the traffic class
	std::uint8_t protocol = 0;  // or the IPv6 header's next header
	bool fragment = false, options = false;
	std::size_t payload = 0, end = 0;  // of what it carries, in the frame

	OuterIp(const OuterEthernet &ethernet, const Bytes &frame)
	{
		const std::size_t at = ethernet.size;
		if (ethernet.type == type_ipv6) {
			source = get_ip(frame, at + 8, 6);
			destination = get_ip(frame, at + 24, 6);
			tos = static_cast<std::uint8_t>(get16(frame, at) >> 4);
			protocol = get8(frame, at + 6);
			fragment = protocol == 44;
			payload = at + 40;
			end = payload + get16(frame, at + 4);
		} else {
			source = get_ip(frame, at + 12, 4);
			destination = get_ip(frame, at + 16, 4);
			tos = get8(frame, at + 1);
			protocol = get8(frame, at + 9);
			fragment = (get16(frame, at + 6) & 0x3FFF) != 0;
			payload = at + (get8(frame, at) & 15) * std::size_t{4};
			end = at + get16(frame, at + 2);
			options = payload > at + 20;
		}
	}
};

/// Section 4, behind step 16: a frame to a multicast group.
std::optional<Reason> check_group(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const Ip &group, Mac mac)
{
	if (!policy.is_multicast_group(group))
		return APUS_DROP_OUTER_NOT_OURS;
	bool has_vlan = false;
	for (const auto &[ip, address] : policy.provider_addresses)
		has_vlan = has_vlan || (address.is_usable() && address.port == port && ip.family == group.family && address.vlan == ethernet.vlan);
	if (!has_vlan)
		return APUS_DROP_OUTER_VLAN;
	return mac == mac_of_group(group) ? std::nullopt : std::optional<Reason>(APUS_DROP_OUTER_MAC);
}

/// Step 4: the outer packet is for us.
std::optional<Reason> check_destination(const Policy &policy, std::uint32_t port, const OuterEthernet &ethernet, const OuterIp &ip, const Bytes &frame)
{
	const ProviderAddress *ours = policy.usable_address(ip.destination);
	const auto has_frames_vlan = [&](const auto &one) { return one.second.port == port && one.second.vlan == ethernet.vlan; };
	if ((ours == nullptr || ours->port != port) && !policy.is_multicast_group(ip.destination) && ethernet.vlan != 0 &&
	    std::none_of(policy.provider_addresses.begin(), policy.provider_addresses.end(), has_frames_vlan))
		return APUS_DROP_OUTER_VLAN;
	if (ours == nullptr || ours->port != port)
		return check_group(policy, port, ethernet, ip.destination, get_mac(frame, 0));
	if (ours->vlan != ethernet.vlan)
		return APUS_DROP_OUTER_VLAN;
	if (ours->mac != get_mac(frame, 0))
		return APUS_DROP_OUTER_MAC;
	return std::nullopt;
}

/// Step 5, before what the packet carries is looked at.
std::optional<Reason> check_whole(const OuterIp &ip)
{
	if (ip.fragment)
		return APUS_DROP_OUTER_FRAGMENT;
	const std::set<unsigned> extension_headers{0, 43, 51, 60};
	if (ip.destination.is_v6() && extension_headers.count(ip.protocol) != 0)
		return APUS_DROP_OUTER_IP_OPTIONS;
	return std::nullopt;
}

/// Step 5: ICMP that says that a packet was too big.
bool is_too_big(const OuterIp &ip, const Bytes &frame)
{
	if (ip.end - ip.payload < 8)
		return false;
	return ip.destination.is_v6() ? ip.protocol == protocol_icmpv6 && get8(frame, ip.payload) == 2
				      : ip.protocol == protocol_icmp && get16(frame, ip.payload) == 0x0304;
}

/// Step 5, the rest.
std::optional<Reason> check_protocol(const Settings &settings, const OuterIp &ip, const Bytes &frame)
{
	if (ip.protocol == protocol_gre)
		return std::nullopt;
	if (ip.protocol != protocol_udp)
		return APUS_DROP_OUTER_PROTOCOL;
	if (ip.end - ip.payload < 8)
		return APUS_DROP_OUTER_TRUNCATED;
	if (get16(frame, ip.payload + 2) != settings.vxlan_port)
		return APUS_DROP_OUTER_PROTOCOL;
	return std::nullopt;
}

/// Step 6b. `payload` is UDP and what it carries.
std::optional<Reason> check_vxlan(const Bytes &payload)
{
	if (payload.size() < 16 || get16(payload, 4) < 16 || get16(payload, 4) > payload.size())
		return APUS_DROP_OUTER_TRUNCATED;
	if ((get8(payload, 8) & 0x08) == 0)
		return APUS_DROP_VXLAN_FLAGS;
	return std::nullopt;
}

/// Step 15 for an inner packet whose DSCP or codepoint changes.
void set_tos(Bytes &inner, const IpPacket &ip, std::uint8_t tos)
{
	const std::uint16_t old_word = get16(inner, ip.at);
	if (ip.is_v6()) {
		put16(inner, ip.at, static_cast<std::uint16_t>((old_word & 0xF00F) | tos << 4));
		return;
	}
	put8(inner, ip.at + 1, tos);
	put16(inner, ip.at + 10, updated_checksum(get16(inner, ip.at + 10), old_word, get16(inner, ip.at)));
}

/// Step 6. `payload` is what the outer IP header carries.
std::optional<Reason> check_gre(const Bytes &payload)
{
	if (payload.size() < 4)
		return APUS_DROP_OUTER_TRUNCATED;
	const std::uint16_t flags = get16(payload, 0);
	if ((flags & 0x0007) != 0)
		return APUS_DROP_GRE_VERSION;
	if ((flags & 0xDC00) != 0)
		return APUS_DROP_GRE_FLAGS;
	if ((flags & 0x2000) == 0)
		return APUS_DROP_GRE_NO_KEY;
	if (get16(payload, 2) != type_bridging)
		return APUS_DROP_GRE_PROTOCOL;
	if (payload.size() < 8)
		return APUS_DROP_OUTER_TRUNCATED;
	return std::nullopt;
}

// ---- 4.1: ARP and neighbour discovery from another host ----------------------------------------------------------

struct Tunnelled;
bool is_router(const Tunnelled &from, const Ip &ip);

struct Tunnelled {
	const Policy &policy;
	const Settings &settings;
	Vsid vsid;
	Ip remote;
	std::size_t outer;  // bytes of outer headers
};

/// Step 4 for one address that the machine says is its own.
std::optional<Reason> check_sender(const Tunnelled &from, Mac mac, const Ip &ip)
{
	if (ip.is_unspecified())
		return std::nullopt;
	if (is_router(from, ip))
		return APUS_DROP_INNER_SOURCE_CA_MAC;
	const Record *record = from.policy.record(from.vsid, ip);
	if (record == nullptr || (record->type == APUS_RECORD_DYNAMIC && from.policy.l2_only_is_at(from.vsid, mac, from.remote)))
		return std::nullopt;
	if (record->mac != mac)
		return APUS_DROP_INNER_SOURCE_CA_MAC;
	if (record->provider_address != from.remote)
		return APUS_DROP_INNER_SOURCE_CA_PA;
	return std::nullopt;
}

/// Step 4, its first sentence.
std::optional<Reason> check_machine(const Tunnelled &from, Mac mac)
{
	if (from.settings.no_source_validation)
		return std::nullopt;
	const auto records = from.policy.records_of_machine(from.vsid, mac);
	if (records.empty())
		return APUS_DROP_INNER_SOURCE_MISSING;
	for (const Record *record : records)
		if (record->provider_address == from.remote)
			return std::nullopt;
	return APUS_DROP_INNER_SOURCE_CA_PA;
}

/// Section 8: what is learned when the machine says that it has `ip`.
void look(const Tunnelled &from, Mac mac, const Ip &ip, std::vector<Seen> &seen)
{
	if (!is_special(ip) && !is_router(from, ip) && from.policy.l2_only_is_at(from.vsid, mac, from.remote))
		seen.push_back({from.vsid, ip, mac, from.remote});
}

bool is_router(const Tunnelled &from, const Ip &ip)
{
	return !from.policy.external_router && from.policy.router_addresses(from.settings, from.vsid).count(ip) != 0;
}

/// Step 4: the machine, then its addresses.
std::optional<Reason> check_senders(const Tunnelled &from, Mac mac, const std::vector<Ip> &ips, std::vector<Seen> &seen)
{
	if (const auto reason = check_machine(from, mac))
		return reason;
	for (const Ip &ip : ips) {
		const auto reason = from.settings.no_source_validation ? std::nullopt : check_sender(from, mac, ip);
		look(from, mac, ip, seen);
		if (reason)
			return reason;
	}
	return std::nullopt;
}

Verdict with(Verdict verdict, const std::vector<Seen> &seen)
{
	verdict.seen = seen;
	return verdict;
}

/// Steps 6 to 9.
Verdict hand_on(const Tunnelled &from, Bytes inner, bool is_reply, const Ip &sender, const Ip &target, Reason when_alone)
{
	const auto deliver = [&](Mac mac) {
		const auto port = from.policy.vm_port(from.vsid, mac);
		return port ? Verdict::deliver(std::move(inner), *port, Verdict::Work::decapsulated) : Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
	};
	if (is_reply)
		return deliver(get_mac(inner, 0));
	if (target == sender)
		return Verdict::consume();
	if (const Record *record = from.policy.record(from.vsid, target))
		return from.policy.is_local(*record) ? deliver(record->mac) : Verdict::consume();
	Verdict verdict;
	verdict.kind = Verdict::Kind::flood;
	verdict.work = Verdict::Work::decapsulated;
	verdict.reason = when_alone;
	verdict.outer = from.outer;
	verdict.bytes = std::move(inner);
	verdict.vsid = from.vsid;
	return verdict;
}

Verdict inner_arp(const Tunnelled &from, Bytes inner)
{
	const auto arp = Arp::parse(inner, ethernet_size);
	if (!arp)
		return Verdict::drop(APUS_DROP_INNER_ARP_MALFORMED);
	if (!from.policy.vsid_is_at(from.vsid, from.remote))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);
	if (arp->sender_mac != get_mac(inner, 6))
		return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_MAC);
	std::vector<Seen> seen;
	if (const auto reason = check_senders(from, arp->sender_mac, {arp->sender}, seen))
		return with(Verdict::drop(*reason), seen);
	return with(hand_on(from, std::move(inner), arp->operation == 2, arp->sender, arp->target, APUS_DROP_ARP_UNANSWERED), seen);
}

Verdict inner_discovery(const Tunnelled &from, Bytes inner, const IpPacket &ip)
{
	const auto message = Discovery::parse(inner, ip, 192 - from.outer);
	const bool is_reply = message && message->type == nd_neighbour_advertisement;
	if (!message || (!is_reply && message->type != nd_neighbour_solicitation))
		return Verdict::drop(APUS_DROP_INNER_IP_MALFORMED);
	const Mac mac = get_mac(inner, 6);
	if (!from.policy.vsid_is_at(from.vsid, from.remote))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);
	if (!message->names_only(mac))
		return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_MAC);
	std::vector<Ip> senders{ip.source};
	if (is_reply && message->target != ip.source)
		senders.push_back(message->target);
	std::vector<Seen> seen;
	if (const auto reason = check_senders(from, mac, senders, seen))
		return with(Verdict::drop(*reason), seen);
	return with(hand_on(from, std::move(inner), is_reply, ip.source, message->target, APUS_DROP_ND_UNANSWERED), seen);
}

// ---- 4.3: broadcast, multicast and other protocols -------------------------------------------------------------------

Verdict inner_broadcast(const Tunnelled &from, Bytes inner, const std::optional<Ip> &source)
{
	const Mac mac = get_mac(inner, 6);
	if (!from.policy.vsid_is_at(from.vsid, from.remote))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);
	if (const auto reason = check_machine(from, mac))
		return Verdict::drop(*reason);
	const Record *record = source ? from.policy.record(from.vsid, *source) : nullptr;
	if (record != nullptr && !from.settings.no_source_validation) {
		if (record->provider_address != from.remote)
			return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_PA);
		if (record->mac != mac)
			return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_MAC);
	}
	if (from.policy.provider_addresses.count(from.remote) != 0)
		return Verdict::consume();
	Verdict verdict;
	verdict.kind = Verdict::Kind::flood;
	verdict.work = Verdict::Work::decapsulated;
	verdict.whole = true;
	verdict.reason = APUS_DROP_NO_LOCAL_PORT;
	verdict.outer = from.outer;
	verdict.bytes = std::move(inner);
	verdict.vsid = from.vsid;
	return verdict;
}

Verdict inner_other(const Tunnelled &from, const Ip &ours, Bytes inner)
{
	const Mac to = get_mac(inner, 0);
	if (!from.policy.carries_others(from.vsid))
		return Verdict::drop(APUS_DROP_INNER_ETHERTYPE);
	if (is_group(to))
		return from.policy.carries_broadcast(from.vsid) ? inner_broadcast(from, std::move(inner), std::nullopt)
								 : Verdict::drop(APUS_DROP_INNER_NOT_UNICAST);
	if (!from.policy.vsid_is_at(from.vsid, from.remote))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);
	if (const auto reason = check_machine(from, get_mac(inner, 6)))
		return Verdict::drop(*reason);
	const Record *target = nullptr, *chosen = from.policy.record_of_machine(from.vsid, to);
	if (chosen == nullptr)
		return Verdict::drop(APUS_DROP_INNER_DESTINATION_MISSING);
	for (const Record *record : from.policy.records_of_machine(from.vsid, to))
		if (record->provider_address == ours)
			target = record;
	if (target == nullptr)
		return Verdict::drop(APUS_DROP_INNER_DESTINATION_CA_PA);
	if (chosen->is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	const auto port = from.policy.vm_port(from.vsid, to);
	return port ? Verdict::deliver(std::move(inner), *port, Verdict::Work::decapsulated) : Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
}

/// Step 11: where the inner source lives.
Vsid source_subnet(const Policy &policy, Vsid vsid, const Ip &source)
{
	const auto domain = policy.domain_of(vsid);
	const CustomerRouteKey *route = domain ? policy.best_route(*domain, source, true) : nullptr;
	return route != nullptr ? route->vsid : vsid;
}

/// Step 11: the sender forwards packets of others.
bool forwards(const Policy &policy, Vsid vsid, Vsid source_vsid, Mac mac, const Ip &source, const Ip &remote)
{
	const auto gateway = [&](Vsid subnet) {
		const Record *record = policy.forwarding_record(subnet, mac, source);
		return record != nullptr && record->provider_address == remote;
	};
	if (policy.record(source_vsid, source) != nullptr)
		return policy.external_router && gateway(vsid);
	std::set<Vsid> subnets{vsid, source_vsid};
	const auto domain = policy.domain_of(vsid);
	const CustomerRouteKey *route = domain ? policy.best_route(*domain, source, false) : nullptr;
	if (route != nullptr && policy.best_route(*domain, source, true) == nullptr)
		subnets.insert(route->vsid);
	for (const Vsid subnet : subnets)
		if (gateway(subnet))
			return true;
	return false;
}

/// Section 5.3, but for what is learned.
Verdict too_big(const Policy &policy, const Settings &settings, const OuterEthernet &ethernet, const Bytes &frame)
{
	const auto message = TooBig::parse(policy, settings, frame, *IpPacket::parse(ethernet.type, frame, ethernet.size, readable));
	if (!message)
		return Verdict::drop(APUS_DROP_PATH_MTU_UNMATCHED);
	Verdict verdict = Verdict::consume();
	verdict.too_big = message;
	return verdict;
}

Bytes without_tag(const OuterEthernet &ethernet, Bytes frame)
{
	frame.erase(frame.begin() + 12, frame.begin() + static_cast<std::ptrdiff_t>(ethernet.size - 2));
	return frame;
}

/// Section 4.2. `frame` has no tag any more; `receiver`: the record of the destination.
Verdict rewritten(const Policy &policy, const Bytes &frame, const std::pair<const RecordKey, Record> &receiver)
{
	const std::uint16_t type = get16(frame, 12);
	const IpPacket ip = *IpPacket::parse(type, frame, ethernet_size, readable);
	if (is_discovery(frame, ip))
		return Verdict::drop(APUS_DROP_OUTER_PROTOCOL);
	const auto *sender = policy.nat_record_at(ip.source);
	if (sender == nullptr)
		return Verdict::drop(APUS_DROP_SOURCE_PA_UNKNOWN);
	const auto &[to_key, to] = receiver;
	const auto &[from_key, from] = *sender;
	const auto domain = policy.domain_of(to_key.first);
	if (from_key.first != to_key.first && !(domain && policy.domain_of(from_key.first) == domain))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);
	if (to.is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	const auto port = policy.vm_port(to_key.first, to.mac);
	if (!port)
		return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);

	Bytes whole = frame;
	if (!translate(whole, ip, {from_key.second, to_key.second}))
		return Verdict::drop(APUS_DROP_TRANSPORT_TRUNCATED);
	put_mac(whole, 0, to.mac);
	put_mac(whole, 6, from.mac);
	whole.resize(ip.end());
	return Verdict::deliver(std::move(whole), *port, Verdict::Work::rewritten);
}

/// Section 4.4: type and code, and the source, are those of a control message of the host `remote`.
bool looks_like_control(const Ip &remote, const Bytes &inner, const IpPacket &ip)
{
	const bool v6 = ip.is_v6();
	if (ip.source != remote || ip.upper != ip.payload() || ip.protocol != (v6 ? protocol_icmpv6 : 1) || ip.fragment || !ip.shows(8))
		return false;
	const unsigned kind = get16(inner, ip.upper);
	return v6 ? kind == 0x8901 || kind == 0x0101 : kind == 0x050A || kind == 0x030A;
}

/// It is one, and no customer's packet.
bool is_control(const Policy &policy, Vsid vsid, const Ip &remote, const Bytes &inner, const IpPacket &ip)
{
	if (!looks_like_control(remote, inner, ip))
		return false;
	const Record *machine = policy.record(source_subnet(policy, vsid, ip.source), ip.source);
	return machine == nullptr || machine->mac != get_mac(inner, 6);
}

/// Which packet a control message is about, if it says so before `limit`.
std::optional<About> about(const Bytes &inner, const IpPacket &message, std::size_t limit)
{
	const std::size_t end = std::min(message.end(), limit);
	std::size_t at = message.upper + 8;
	if (at + 20 <= end && get8(inner, at) >> 4 == 4 && get8(inner, at + 9) == protocol_gre)
		at += (get8(inner, at) & 15u) * 4;
	else if (at + 40 <= end && get8(inner, at) >> 4 == 6 && get8(inner, at + 6) == protocol_gre)
		at += 40;
	const std::size_t ethernet = at + 8, ip = ethernet + ethernet_size;
	if (ip + 20 > end || (get16(inner, at) & 0xFC07) != 0x2000 || get16(inner, at + 2) != type_bridging)
		return std::nullopt;
	const Mac mac = get_mac(inner, ethernet);
	const unsigned type = get16(inner, ip - 2), version = get8(inner, ip) >> 4;
	if (type == type_ipv4 && version == 4)
		return About{get_ip(inner, ip + 16, 4), mac};
	if (type != type_ipv6 || version != 6 || ip + 40 > end || is_mapped(get_ip(inner, ip + 24, 6)))
		return std::nullopt;
	return About{get_ip(inner, ip + 24, 6), mac};
}

}  // namespace

bool take_over_tos(Bytes &inner, const IpPacket &ip, const Tunnel &tunnel)
{
	const auto ecn = combine_ecn(ip.tos & 3u, tunnel.tos & 3u);
	if (!ecn)
		return false;
	const unsigned dscp = tunnel.is_uniform ? tunnel.tos & 0xFCu : ip.tos & 0xFCu;
	const auto tos = static_cast<std::uint8_t>(dscp | *ecn);
	if (tos != ip.tos)
		set_tos(inner, ip, tos);
	return true;
}

bool is_provider_discovery(const OuterEthernet &ethernet, const Bytes &frame)
{
	if (check_outer_ipv6(frame, ethernet.size))
		return false;
	const OuterIp ip(ethernet, frame);
	if (ip.protocol != protocol_icmpv6 || ip.payload == ip.end)
		return false;
	const std::uint8_t type = get8(frame, ip.payload);
	return type == nd_neighbour_solicitation || type == nd_neighbour_advertisement;
}

Verdict from_provider(const Policy &policy, const Settings &settings, std::uint32_t port, const OuterEthernet &ethernet,
		      const Bytes &frame, std::uint32_t flags)
{
	const auto malformed = ethernet.type == type_ipv6 ? check_outer_ipv6(frame, ethernet.size)
							  : check_outer_ipv4(settings, frame, ethernet.size, flags);
	if (malformed)
		return Verdict::drop(*malformed);
	const OuterIp outer(ethernet, frame);
	if (const auto reason = check_destination(policy, port, ethernet, outer, frame))
		return Verdict::drop(*reason);
	if (const auto *receiver = policy.nat_record_at(outer.destination))
		return rewritten(policy, without_tag(ethernet, frame), *receiver);
	if (const auto reason = check_whole(outer))
		return Verdict::drop(*reason);
	if (is_too_big(outer, frame))
		return too_big(policy, settings, ethernet, frame);
	if (const auto reason = check_protocol(settings, outer, frame))
		return Verdict::drop(*reason);
	const Ip remote = outer.source;
	const Ip ours = outer.destination;

	const auto begin = frame.begin();
	const Bytes tunnel(begin + static_cast<std::ptrdiff_t>(outer.payload), begin + static_cast<std::ptrdiff_t>(outer.end));
	const bool vxlan = outer.protocol == protocol_udp;
	if (const auto reason = vxlan ? check_vxlan(tunnel) : check_gre(tunnel))
		return Verdict::drop(*reason);

	const std::size_t header = vxlan ? 16 : 8;
	Bytes inner(tunnel.begin() + static_cast<std::ptrdiff_t>(header), vxlan ? tunnel.begin() + get16(tunnel, 4) : tunnel.end());
	if (inner.size() < ethernet_size)
		return Verdict::drop(APUS_DROP_INNER_TRUNCATED);
	if (is_tag(get16(inner, 12)))
		return Verdict::drop(APUS_DROP_INNER_VLAN);
	if (!policy.any_record_at(remote))
		return Verdict::drop(APUS_DROP_SOURCE_PA_UNKNOWN);
	const Peer peer = policy.peer(remote);
	const std::uint32_t key = get32(tunnel, vxlan ? 12 : 4);
	const bool draft00 = !vxlan && peer.is_draft00();
	const Vsid vsid = draft00 ? key & 0xFFFFFF : key >> 8;
	const Vsid other_vsid = draft00 ? key >> 8 : key & 0xFFFFFF;
	if (draft00 && key >> 24 != 0)
		return Verdict::drop(APUS_DROP_KEY_LAYOUT);
	const std::uint16_t type = get16(inner, 12);
	const auto ip = type == type_ipv4 || type == type_ipv6
				? IpPacket::parse(type, inner, ethernet_size, readable - outer.payload - header)
				: std::nullopt;
	// There is no policy for it here: whoever sent it is told.
	const auto refuse = [&](Reason reason) {
		Verdict verdict = Verdict::drop(reason);
		if (settings.send_unreachable && !vxlan && !outer.options && vsid != 0 && ip && !is_discovery(inner, *ip) &&
		    !looks_like_control(remote, inner, *ip) && policy.provider_addresses.count(ours) != 0 &&
		    policy.provider_addresses.count(remote) == 0)
			verdict.complaint = {remote, vsid, get_mac(frame, 6), get_mac(frame, 0), outer.destination, tunnel, outer.payload};
		return verdict;
	};
	const bool is_reserved = (vsid < APUS_VSID_MIN || vsid > APUS_VSID_MAX) && !settings.accept_reserved_vsids;
	if (is_reserved || !policy.is_known_vsid(vsid)) {
		if (!vxlan && policy.vsid_is_at(other_vsid, remote))
			return Verdict::drop(APUS_DROP_KEY_LAYOUT);
		return is_reserved ? Verdict::drop(APUS_DROP_VSID_RESERVED) : refuse(APUS_DROP_VSID_UNKNOWN);
	}

	if (policy.is_multicast_group(ours) && policy.provider_addresses.count(ours) == 0 && policy.subnet(vsid).group != ours)
		return Verdict::drop(APUS_DROP_OUTER_NOT_OURS);

	const Tunnelled from{policy, settings, vsid, remote, outer.payload + header};
	if (type == type_arp)
		return inner_arp(from, std::move(inner));
	if (type != type_ipv4 && type != type_ipv6)
		return inner_other(from, ours, std::move(inner));
	if (!vxlan && ip && is_control(policy, vsid, remote, inner, *ip)) {
		if (!policy.vsid_is_at(vsid, remote))
			return Verdict::drop(APUS_DROP_CONTROL_UNTRUSTED);
		if (is_special(ip->destination))
			return Verdict::drop(APUS_DROP_INNER_NOT_UNICAST);
		Verdict verdict = Verdict::consume();
		const bool redirects = get16(inner, ip->upper) == (ip->is_v6() ? 0x8901 : 0x050A);
		verdict.control = redirects ? APUS_EVENT_NVE_REDIRECT : APUS_EVENT_NVE_UNREACHABLE;
		verdict.vsid = vsid;
		verdict.remote = remote;
		verdict.told = redirects ? ip->destination : Ip(0);
		verdict.about = about(inner, *ip, 192 - from.outer);
		return verdict;
	}
	if (ip && is_discovery(inner, *ip))
		return inner_discovery(from, std::move(inner), *ip);
	if (!ip)
		return Verdict::drop(APUS_DROP_INNER_IP_MALFORMED);
	if (is_group(get_mac(inner, 0)) && policy.carries_broadcast(vsid)) {
		if (!ip->source.is_unspecified() && is_special(ip->source))
			return Verdict::drop(APUS_DROP_INNER_IP_MALFORMED);
		return inner_broadcast(from, std::move(inner), ip->source);
	}
	if (is_group(get_mac(inner, 0)) || is_special(ip->destination))
		return Verdict::drop(APUS_DROP_INNER_NOT_UNICAST);
	if (is_special(ip->source))
		return Verdict::drop(APUS_DROP_INNER_IP_MALFORMED);

	const Vsid source_vsid = source_subnet(policy, vsid, ip->source);
	const bool is_forwarder = forwards(policy, vsid, source_vsid, get_mac(inner, 6), ip->source, remote);
	if (!is_forwarder && !policy.vsid_is_at(source_vsid, remote))
		return Verdict::drop(APUS_DROP_VSID_PA_MISMATCH);

	if (!is_forwarder && !settings.no_source_validation) {
		const Record *source = policy.record(source_vsid, ip->source);
		if (source == nullptr)
			return Verdict::drop(APUS_DROP_INNER_SOURCE_MISSING);
		if (source->provider_address != remote)
			return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_PA);
		if (source->mac != get_mac(inner, 6))
			return Verdict::drop(APUS_DROP_INNER_SOURCE_CA_MAC);
	}

	const Record *target = policy.record(vsid, ip->destination);
	if (target == nullptr) {
		const Record *gateway = policy.forwarding_record(vsid, get_mac(inner, 0), ip->destination);
		target = gateway != nullptr && gateway->provider_address == ours ? gateway : nullptr;
	}
	if (target == nullptr)
		return refuse(APUS_DROP_INNER_DESTINATION_MISSING);
	if (target->provider_address != ours)
		return refuse(APUS_DROP_INNER_DESTINATION_CA_PA);
	if (target->mac != get_mac(inner, 0))
		return Verdict::drop(APUS_DROP_INNER_DESTINATION_CA_MAC);
	if (target->is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	const auto to = policy.vm_port(vsid, get_mac(inner, 0));
	const Tunnel marks{outer.tos, peer.dscp_mode == APUS_DSCP_UNIFORM, from.outer};
	if (!to) {
		const auto gateway = policy.external_port(vsid, get_mac(inner, 0));
		return gateway ? leave_through(policy, *gateway, std::move(inner), *ip, marks) : Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
	}
	if (!take_over_tos(inner, *ip, marks))
		return Verdict::drop(APUS_DROP_ECN);
	return Verdict::deliver(std::move(inner), *to, Verdict::Work::decapsulated);
}

}  // namespace model
