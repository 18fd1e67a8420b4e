// SPDX-License-Identifier: Apache-2.0
#include "vm_side.hpp"

#include <algorithm>

#include "outside.hpp"
#include "packet.hpp"
#include "tunnel.hpp"

namespace model {

namespace {

struct Sender {
	const Policy &policy;
	const Settings &settings;
	std::uint32_t port_id;
	const Port &port;
	bool is_forwarder = false;  // of the packet: it may have sources that are not its own
	bool needs_record() const { return !port.trusted && !is_forwarder; }
	/// With an external router nobody answers for the gateways here.
	std::map<Ip, Mac> router_addresses() const
	{
		return policy.external_router ? std::map<Ip, Mac>() : policy.router_addresses(settings, port.vsid);
	}
	bool is_gateway(const Ip &ip) const { return !policy.external_router && policy.gateways_of(port.vsid).count(ip) != 0; }
	bool is_gateway_mac(Mac mac) const { return !policy.external_router && policy.is_gateway_mac(settings, port.vsid, mac); }
};

/// Section 2, step 2: RFC 7637 section 3.3. False when the frame ends inside a tag, or has too many.
bool remove_tags(Bytes &frame)
{
	for (int tags = 1; is_tag(get16(frame, 12)); tags++) {
		if (tags > 8 || frame.size() < ethernet_size + 4)
			return false;
		frame.erase(frame.begin() + 12, frame.begin() + 16);
	}
	return true;
}

}  // namespace

/// Section 6.
Verdict answer_echo(Bytes frame, const IpPacket &ip)
{
	const Mac asker = get_mac(frame, 6);
	const Mac gateway = get_mac(frame, 0);
	put_mac(frame, 0, asker);
	put_mac(frame, 6, gateway);
	if (ip.is_v6()) {
		put_ip(frame, ip.at + 8, ip.destination);
		put_ip(frame, ip.at + 24, ip.source);
		put8(frame, ip.at + 7, 128);
	} else {
		put_ip(frame, ip.at + 12, ip.destination);
		put_ip(frame, ip.at + 16, ip.source);
		put8(frame, ip.at + 8, 128);
		put16(frame, ip.at + 10, 0);
		put16(frame, ip.at + 10, internet_checksum(frame, ip.at, ip.header_length));
	}
	// The ICMP checksum was made by the asker over its own bytes: right stays right, wrong stays wrong.
	const std::size_t icmp = ip.payload();
	const std::uint8_t type = ip.is_v6() ? 129 : 0;
	const std::uint16_t updated = updated_checksum(get16(frame, icmp + 2), static_cast<std::uint16_t>(get8(frame, icmp) << 8),
						       static_cast<std::uint16_t>(type << 8));
	put8(frame, icmp, type);
	put16(frame, icmp + 2, updated != 0 ? updated : 0xFFFF);  // the other zero of one's complement
	return Verdict::answer(std::move(frame), Verdict::Work::echo_reply);
}

bool is_echo_request(const Bytes &frame, const IpPacket &ip)
{
	if (ip.is_v6())
		return ip.protocol == protocol_icmpv6 && ip.upper == ip.payload() && ip.total_length >= 40 + 8 &&
		       get8(frame, ip.upper) == 128 && get8(frame, ip.upper + 1) == 0;
	return !ip.fragment && ip.protocol == protocol_icmp && ip.total_length >= ip.header_length + 8 &&
	       get8(frame, ip.payload()) == 8 && get8(frame, ip.payload() + 1) == 0 &&
	       internet_checksum(frame, ip.at, ip.header_length) == 0;
}

namespace {

/// Section 5: the sender's address of an IP packet.
std::optional<Ip> sender_address(const Sender &from, const IpPacket &ip)
{
	const Record *own = from.policy.record(from.port.vsid, ip.source);
	if (own != nullptr && from.policy.is_local(*own) && (from.port.trusted || own->mac == from.port.mac))
		return own->provider_address;
	const Record *gateway = from.policy.forwarding_record(from.port.vsid, from.port.mac, ip.source);
	return gateway == nullptr ? std::nullopt : std::optional<Ip>(gateway->provider_address);
}

Verdict encapsulate(const Sender &from, Bytes frame, const IpPacket &ip, Ip remote, Vsid vsid, bool routed)
{
	Verdict verdict;
	verdict.sender = sender_address(from, ip);
	verdict.flow_id = flow_id(frame, ip);
	verdict.kind = Verdict::Kind::encapsulate;
	verdict.bytes = std::move(frame);
	verdict.remote = remote;
	verdict.vsid = vsid;
	verdict.routed = routed;
	return verdict;
}

/// Sections 2.3 and 2.7: over the provider network to the machine that `target` is about.
Verdict send_to_host(const Sender &from, Bytes frame, const IpPacket &ip, const Record *source, const Record &target, Vsid vsid, bool routed)
{
	if (!target.is_nat())
		return encapsulate(from, std::move(frame), ip, target.provider_address, vsid, routed);
	Verdict verdict;
	verdict.kind = Verdict::Kind::rewrite;
	verdict.bytes = std::move(frame);
	verdict.remote = target.provider_address;
	verdict.source_pa = source->provider_address;
	if ((source->flags & APUS_RECORD_USE_VM_MAC) != 0)
		verdict.source_mac = source->mac;
	verdict.routed = routed;
	return verdict;
}

/// One of the two has the rule TranslationMethodNat, the other has not, or the packet is not for the target itself.
bool is_translation_mismatch(const Record *source, const Record &target, bool is_own)
{
	return target.is_nat() != (source != nullptr && source->is_nat()) || (target.is_nat() && !is_own);
}

/// Section 2.1.
Verdict switched(const Sender &from, Bytes frame, const IpPacket &ip, const Record *source)
{
	const Vsid vsid = from.port.vsid;
	const Mac destination_mac = get_mac(frame, 0);
	if (const auto local = from.policy.vm_port(vsid, destination_mac)) {
		if (*local == from.port_id)
			return Verdict::drop(APUS_DROP_HAIRPIN);
		return Verdict::deliver(std::move(frame), *local, Verdict::Work::switched);
	}
	if (source == nullptr && from.needs_record())
		return Verdict::drop(APUS_DROP_SOURCE_RECORD_MISSING);
	if (const auto gateway = from.policy.external_port(vsid, destination_mac))
		return leave_through(from.policy, *gateway, std::move(frame), ip);
	const Record *target = from.policy.record(vsid, ip.destination);
	if (target == nullptr)
		target = from.policy.forwarding_record(vsid, destination_mac, ip.destination);
	if (target == nullptr)
		return Verdict::drop(APUS_DROP_DESTINATION_RECORD_MISSING);
	if (target->mac != destination_mac)
		return Verdict::drop(APUS_DROP_DESTINATION_CA_MAC);
	if (target->is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	if (from.policy.is_local(*target))
		return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
	if (target->rule == APUS_RULE_NONE)
		return Verdict::drop(APUS_DROP_RULE_NONE);
	if (is_translation_mismatch(source, *target, target == from.policy.record(vsid, ip.destination)))
		return Verdict::drop(APUS_DROP_TRANSLATION_MISMATCH);
	return send_to_host(from, std::move(frame), ip, source, *target, vsid, false);
}

Verdict routed_to(const Sender &from, Bytes frame, const IpPacket &ip, const Record *source);

/// Section 2.2.
Verdict routed(const Sender &from, Bytes frame, const IpPacket &ip, const Record *source)
{
	if (source == nullptr && from.needs_record())
		return Verdict::drop(APUS_DROP_SOURCE_RECORD_MISSING);
	return routed_to(from, std::move(frame), ip, source);
}

/// From step 3 on.
Verdict routed_to(const Sender &from, Bytes frame, const IpPacket &ip, const Record *source)
{
	const Policy &policy = from.policy;
	const Guid domain = *policy.domain_of(from.port.vsid);
	const bool to_router = (!policy.external_router && policy.is_gateway_in_domain(domain, ip.destination)) ||
			       from.router_addresses().count(ip.destination) != 0;
	if (to_router) {
		if (is_echo_request(frame, ip))
			return answer_echo(std::move(frame), ip);
		return Verdict::drop(APUS_DROP_GATEWAY_UNSERVED);
	}
	if (is_link_local(ip.source) || is_link_local(ip.destination))
		return Verdict::drop(APUS_DROP_LINK_LOCAL);

	const CustomerRouteKey *route = policy.best_route(domain, ip.destination, false);
	if (route == nullptr)
		return Verdict::drop(APUS_DROP_CUSTOMER_ROUTE_MISSING);
	const Record *target = route->on_link() ? policy.on_link_target(route->vsid, ip.destination) : policy.record(route->vsid, route->next_hop);
	if (target == nullptr)
		return Verdict::drop(route->on_link() ? APUS_DROP_DESTINATION_RECORD_MISSING : APUS_DROP_NEXT_HOP_RECORD_MISSING);

	const bool local = policy.is_local(*target);
	if (target->is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	if (target->rule == APUS_RULE_NONE && !local)
		return Verdict::drop(APUS_DROP_RULE_NONE);
	const auto port = policy.vm_port(route->vsid, target->mac);
	if (local && !port) {
		const auto gateway = policy.external_port(route->vsid, target->mac);
		if (!gateway)
			return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
		return *gateway == from.port_id ? Verdict::drop(APUS_DROP_HAIRPIN) : leave_through(policy, *gateway, std::move(frame), ip);
	}
	if (local && *port == from.port_id)
		return Verdict::drop(APUS_DROP_HAIRPIN);
	if (ip.ttl <= 1)
		return Verdict::drop(APUS_DROP_TTL_EXPIRED);
	if (!local && is_translation_mismatch(source, *target, target == policy.record(route->vsid, ip.destination)))
		return Verdict::drop(APUS_DROP_TRANSLATION_MISMATCH);

	put_mac(frame, 0, target->mac);
	if (ip.is_v6()) {
		put8(frame, ip.at + 7, static_cast<std::uint8_t>(ip.ttl - 1));
	} else {
		const std::uint16_t old_word = get16(frame, ip.at + 8);
		put8(frame, ip.at + 8, static_cast<std::uint8_t>(ip.ttl - 1));
		put16(frame, ip.at + 10, updated_checksum(get16(frame, ip.at + 10), old_word, get16(frame, ip.at + 8)));
	}

	if (!local)
		return send_to_host(from, std::move(frame), ip, source, *target, route->vsid, true);
	Verdict verdict = Verdict::deliver(std::move(frame), *port, Verdict::Work::none);
	verdict.routed = true;
	return verdict;
}

/// A frame that asks what nothing here can answer: every other machine of the virtual subnet gets it.
/// `remote`: how much of it goes to hosts whose machines say themselves which addresses they have.
Verdict flood(const Sender &from, Bytes frame, Reason when_alone, std::size_t remote)
{
	Verdict verdict;
	verdict.hosts = from.policy.hosts_of(from.port.vsid, true);
	verdict.copy.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(remote));
	verdict.kind = Verdict::Kind::flood;
	verdict.work = Verdict::Work::switched;
	verdict.reason = when_alone;
	verdict.bytes = std::move(frame);
	verdict.vsid = from.port.vsid;
	return verdict;
}

/// A reply to some other machine, by its destination MAC. `remote`: how much of it goes to another host; 0 = nothing does.
Verdict pass_on(const Sender &from, Bytes frame, std::size_t remote)
{
	const Vsid vsid = from.port.vsid;
	const auto port = from.policy.vm_port(vsid, get_mac(frame, 0));
	if (port && *port != from.port_id)
		return Verdict::deliver(std::move(frame), *port, Verdict::Work::switched);
	const Record *record = from.policy.record_of_machine(vsid, get_mac(frame, 0));
	if (remote == 0 || record == nullptr || from.policy.is_local(*record))
		return Verdict::consume();
	if (record->is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	if (record->rule == APUS_RULE_NONE)
		return Verdict::drop(APUS_DROP_RULE_NONE);
	Verdict verdict;
	verdict.kind = Verdict::Kind::encapsulate;
	frame.resize(remote);
	verdict.bytes = std::move(frame);
	verdict.remote = record->provider_address;
	verdict.sender = from.policy.sender_of(vsid, get_mac(verdict.bytes, 6));
	verdict.vsid = vsid;
	verdict.is_ip = false;
	return verdict;
}

/// Section 8: what is learned when the machine behind the port says that it has `ip`.
void look(const Sender &from, Mac mac, const Ip &ip, std::vector<Seen> &seen)
{
	if (is_special(ip) || mac != from.port.mac || from.router_addresses().count(ip) != 0)
		return;
	for (const Record *record : from.policy.records_of_machine(from.port.vsid, mac))
		if (record->type == APUS_RECORD_L2_ONLY && from.policy.is_local(*record)) {
			seen.push_back({from.port.vsid, ip, mac, record->provider_address});
			return;
		}
}

Verdict with(Verdict verdict, const std::vector<Seen> &seen)
{
	verdict.seen = seen;
	return verdict;
}

/// The machine behind the port may not speak for `ip`.
bool is_spoofed(const Sender &from, const Ip &ip)
{
	if (from.router_addresses().count(ip) != 0)
		return true;
	const Record *record = from.policy.record(from.port.vsid, ip);
	const bool contradicts = record != nullptr && (record->mac != from.port.mac || !from.policy.is_local(*record));
	return contradicts && !(record->type == APUS_RECORD_DYNAMIC && from.policy.l2_only_is_local(from.port.vsid, from.port.mac));
}

/// An answer to `request`: who has `request.target`? `mac` has.
Verdict answer_arp(const Arp &request, Mac mac)
{
	Bytes frame = ethernet_header(request.sender_mac, mac, 0, type_arp);
	Arp{2, mac, request.target, request.sender_mac, request.sender}.append_to(frame);
	return Verdict::answer(std::move(frame), Verdict::Work::arp_reply);
}

Verdict arp_from_machine(const Sender &from, Bytes frame, const Arp &request);

/// Section 3.
Verdict arp(const Sender &from, Bytes frame)
{
	const auto arp = Arp::parse(frame, ethernet_size);
	if (!arp)
		return Verdict::drop(APUS_DROP_ARP_MALFORMED);

	if (!from.port.trusted) {
		if (arp->sender_mac != from.port.mac)
			return Verdict::drop(APUS_DROP_ARP_SPOOFED);
		if (!arp->sender.is_unspecified() && is_spoofed(from, arp->sender)) {
			// A contradiction with a record is told.
			std::vector<Seen> seen;
			look(from, arp->sender_mac, arp->sender, seen);
			return with(Verdict::drop(APUS_DROP_ARP_SPOOFED), seen);
		}
	}
	std::vector<Seen> seen;
	look(from, arp->sender_mac, arp->sender, seen);
	return with(arp_from_machine(from, std::move(frame), *arp), seen);
}

/// Steps 3 to 7.
Verdict arp_from_machine(const Sender &from, Bytes frame, const Arp &request)
{
	const Policy &policy = from.policy;
	const Vsid vsid = from.port.vsid;
	const Arp *arp = &request;
	if (arp->operation == 2)
		return pass_on(from, std::move(frame), ethernet_size + arp_size);
	if (arp->target == arp->sender)
		return Verdict::consume();
	if (from.is_gateway(arp->target))
		return answer_arp(*arp, policy.gateway_mac(from.settings, vsid, arp->target));
	if (const Record *record = policy.record(vsid, arp->target)) {
		if (record->mac == from.port.mac)
			return Verdict::consume();
		return answer_arp(*arp, record->mac);
	}

	return flood(from, std::move(frame), APUS_DROP_ARP_UNANSWERED, ethernet_size + arp_size);
}

/// Section 6.1.
Verdict advertise_router(const Sender &from, const Bytes &frame, const Ip &asker)
{
	const Mac asker_mac = get_mac(frame, 6);
	auto prefixes = from.policy.advertised_prefixes(from.port.vsid);
	if (from.policy.external_router || prefixes.empty() || is_group(asker_mac))
		return Verdict::consume();
	const Ip gateway = Policy::gateway_of({prefixes.front().address, prefixes.front().length});
	const Mac mac = from.policy.gateway_mac(from.settings, from.port.vsid, gateway);
	if (prefixes.size() > 4)
		prefixes.resize(4);
	return Verdict::reply(router_advertisement(ethernet_header(asker_mac, mac, 0, type_ipv6), link_local_of(mac), mac, asker,
						   from.port.mtu, prefixes),
			      Verdict::Work::router_advertisement);
}

Verdict discovery_from_machine(const Sender &from, Bytes frame, const IpPacket &ip, const Discovery &its_message);

/// Section 3.1.
Verdict discovery(const Sender &from, Bytes frame, const IpPacket &ip)
{
	const auto message = Discovery::parse(frame, ip);
	if (!message)
		return Verdict::drop(APUS_DROP_ND_MALFORMED);

	if (!from.port.trusted) {
		if (message->type == nd_router_advertisement || message->type == nd_redirect || !message->names_only(from.port.mac))
			return Verdict::drop(APUS_DROP_ND_SPOOFED);
	}
	std::vector<Seen> seen;
	std::vector<Ip> senders{ip.source};
	if (message->type == nd_neighbour_advertisement && message->target != ip.source)
		senders.push_back(message->target);
	for (const Ip &sender : senders) {
		if (sender.is_unspecified())
			continue;
		const bool spoofed = !from.port.trusted && is_spoofed(from, sender);
		look(from, get_mac(frame, 6), sender, seen);
		if (spoofed)
			return with(Verdict::drop(APUS_DROP_ND_SPOOFED), seen);
	}
	return with(discovery_from_machine(from, std::move(frame), ip, *message), seen);
}

/// Steps 3 to 6.
Verdict discovery_from_machine(const Sender &from, Bytes frame, const IpPacket &ip, const Discovery &its_message)
{
	const Policy &policy = from.policy;
	const Vsid vsid = from.port.vsid;
	const Discovery *message = &its_message;
	if (message->type == nd_router_solicitation)
		return advertise_router(from, frame, ip.source);
	if (message->type != nd_neighbour_solicitation)
		return pass_on(from, std::move(frame), message->type == nd_neighbour_advertisement ? ip.end() : 0);

	const auto answer = [&](Mac mac, bool router) {
		return Verdict::reply(neighbour_advertisement(ethernet_header(get_mac(frame, 6), mac, 0, type_ipv6), message->target, mac,
							      ip.source, router),
				      Verdict::Work::arp_reply);
	};
	const auto routers = from.router_addresses();
	const auto router = routers.find(message->target);
	if (router != routers.end())
		return answer(router->second, true);
	if (const Record *record = policy.record(vsid, message->target))
		return record->mac == from.port.mac ? Verdict::consume() : answer(record->mac, false);
	return flood(from, std::move(frame), APUS_DROP_ND_UNANSWERED, ip.end());
}

/// Section 2.6, from step 2. `end`: where the Ethernet padding begins.
Verdict replicate(const Sender &from, Bytes frame, std::size_t end)
{
	const Policy &policy = from.policy;
	const Vsid vsid = from.port.vsid;
	Verdict verdict;
	verdict.kind = Verdict::Kind::flood;
	verdict.work = Verdict::Work::switched;
	verdict.vsid = vsid;
	verdict.whole = true;
	bool sends = from.port.trusted;
	for (const Record *record : policy.records_of_machine(vsid, get_mac(frame, 6)))
		sends = sends || policy.is_local(*record);
	if (sends)
		verdict.hosts = policy.hosts_of(vsid, false);
	verdict.group = policy.subnet(vsid).group;
	verdict.copy_rate = policy.subnet(vsid).rate;
	verdict.copy.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(end));
	verdict.bytes = std::move(frame);
	return verdict;
}

/// Section 2.5 on frames that are neither IP nor ARP.
Verdict other_protocol(const Sender &from, Bytes frame)
{
	const Policy &policy = from.policy;
	const Vsid vsid = from.port.vsid;
	const Mac to = get_mac(frame, 0);
	if (!policy.carries_others(vsid))
		return Verdict::drop(APUS_DROP_ETHERTYPE);
	if (is_group(to)) {
		const std::size_t end = frame.size();
		return policy.carries_broadcast(vsid) ? replicate(from, std::move(frame), end) : Verdict::drop(APUS_DROP_NOT_UNICAST);
	}
	if (const auto port = policy.vm_port(vsid, to))
		return *port == from.port_id ? Verdict::drop(APUS_DROP_HAIRPIN)
					     : Verdict::deliver(std::move(frame), *port, Verdict::Work::switched);
	bool known = from.port.trusted;
	for (const Record *record : policy.records_of_machine(vsid, get_mac(frame, 6)))
		known = known || policy.is_local(*record);
	if (!known)
		return Verdict::drop(APUS_DROP_SOURCE_RECORD_MISSING);
	const Record *target = policy.record_of_machine(vsid, to);
	if (target == nullptr)
		return Verdict::drop(APUS_DROP_DESTINATION_RECORD_MISSING);
	if (target->is_unusable())
		return Verdict::drop(APUS_DROP_RECORD_UNUSABLE);
	if (policy.is_local(*target))
		return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
	if (target->rule == APUS_RULE_NONE)
		return Verdict::drop(APUS_DROP_RULE_NONE);
	Verdict verdict;
	verdict.kind = Verdict::Kind::encapsulate;
	verdict.bytes = std::move(frame);
	verdict.remote = target->provider_address;
	verdict.sender = policy.sender_of(vsid, get_mac(verdict.bytes, 6));
	verdict.vsid = vsid;
	verdict.is_ip = false;
	return verdict;
}

/// Section 2, step 4.
bool is_from_dhcp_server(const Bytes &frame, const IpPacket &ip)
{
	return ip.protocol == protocol_udp && !ip.fragment && ip.shows(4) && get16(frame, ip.upper) == (ip.is_v6() ? 547 : 67);
}

}  // namespace

Verdict from_vm(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame)
{
	Sender from{policy, settings, port_id, policy.ports.at(port_id)};
	const Vsid vsid = from.port.vsid;

	if (!from.port.trusted && get_mac(frame, 6) != from.port.mac)
		return Verdict::drop(APUS_DROP_SOURCE_MAC);
	if (!remove_tags(frame))
		return Verdict::drop(APUS_DROP_FRAME_INVALID);
	const std::uint16_t type = get16(frame, 12);
	if (type == type_arp)
		return arp(from, std::move(frame));
	if (type != type_ipv4 && type != type_ipv6)
		return other_protocol(from, std::move(frame));
	const auto ip = IpPacket::parse(type, frame, ethernet_size, readable);
	if (!ip)
		return Verdict::drop(APUS_DROP_IP_MALFORMED);
	if (is_discovery(frame, *ip))
		return discovery(from, std::move(frame), *ip);
	if (from.port.dhcp_guard && is_from_dhcp_server(frame, *ip))
		return Verdict::drop(APUS_DROP_DHCP_GUARD);
	const bool to_all = is_group(get_mac(frame, 0)) && policy.carries_broadcast(vsid);
	if (!to_all && (is_group(get_mac(frame, 0)) || is_special(ip->destination)))
		return Verdict::drop(APUS_DROP_NOT_UNICAST);
	if (is_special(ip->source) && !(to_all && ip->source.is_unspecified()))
		return Verdict::drop(APUS_DROP_IP_MALFORMED);

	const Record *forwarder = policy.forwarding_record(vsid, get_mac(frame, 6), ip->source);
	from.is_forwarder = forwarder != nullptr && policy.is_local(*forwarder);
	const Record *source = policy.record(vsid, ip->source);
	if (from.needs_record() && source != nullptr) {
		if (source->mac != get_mac(frame, 6))
			return Verdict::drop(APUS_DROP_SOURCE_CA_MAC);
		if (!policy.is_local(*source))
			return Verdict::drop(APUS_DROP_SOURCE_CA_REMOTE);
	}
	if (to_all)
		return replicate(from, std::move(frame), ip->end());
	if (from.is_gateway_mac(get_mac(frame, 0)))
		return routed(from, std::move(frame), *ip, source);
	return switched(from, std::move(frame), *ip, source);
}

Verdict route_from_outside(const Policy &policy, const Settings &settings, std::uint32_t external, Bytes frame, const IpPacket &ip)
{
	const Sender from{policy, settings, external, policy.ports.at(external)};
	return routed_to(from, std::move(frame), ip, policy.record(from.port.vsid, ip.source));
}

/// Section 7: an error about this kind of packet would do harm, or nobody would understand it.
static bool is_beneath_errors(const Bytes &frame, const IpPacket &ip)
{
	if (ip.later_fragment || (!ip.is_v6() && internet_checksum(frame, ip.at, ip.header_length) != 0))
		return true;
	if (ip.is_v6())
		return ip.protocol == protocol_icmpv6 && (!ip.shows(1) || get8(frame, ip.upper) < 128);
	const std::set<unsigned> queries{0, 8, 13, 14, 15, 16, 17, 18};
	return ip.protocol == protocol_icmp && (!ip.shows(1) || queries.count(get8(frame, ip.upper)) == 0);
}

/// The gateway from which errors about the packet come, and the address that they have.
static std::optional<std::pair<Ip, Ip>> error_source(const Policy &policy, const Settings &settings, Vsid vsid, const Ip &sender)
{
	const auto gateway = is_link_local(sender) ? policy.first_v6_gateway(vsid) : policy.gateway_for(vsid, sender);
	if (!gateway)
		return std::nullopt;
	return std::pair(*gateway, is_link_local(sender) ? link_local_of(policy.gateway_mac(settings, vsid, *gateway)) : *gateway);
}

static Bytes error_message(const Bytes &frame, std::size_t contiguous, const IpPacket &ip, const Ip &from, bool expired, std::size_t mtu)
{
	const std::size_t most = ip.is_v6() ? 1232 : 548;
	const std::size_t size = std::min({ip.total_length, most, contiguous - ethernet_size});
	const auto begin = frame.begin() + static_cast<std::ptrdiff_t>(ethernet_size);
	const Bytes quoted(begin, begin + static_cast<std::ptrdiff_t>(size));
	const std::uint8_t its_type = ip.is_v6() ? (expired ? 3 : 2) : expired ? 11 : 3;
	return icmp_error_message(from, ip.source, its_type, expired || ip.is_v6() ? 0 : 4, static_cast<std::uint32_t>(expired ? 0 : mtu), quoted);
}

std::optional<Bytes> icmp_error(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame, std::size_t contiguous,
				Reason reason, std::size_t mtu)
{
	const bool expired = reason == APUS_DROP_TTL_EXPIRED;
	if (settings.no_icmp_errors || (!expired && reason != APUS_DROP_MTU_EXCEEDED))
		return std::nullopt;
	const std::size_t length = frame.size();
	remove_tags(frame);
	contiguous -= length - frame.size();
	const std::uint16_t type = get16(frame, 12);
	const IpPacket ip = *IpPacket::parse(type, frame, ethernet_size, readable);
	const Vsid vsid = policy.ports.at(port_id).vsid;
	const Mac sender = get_mac(frame, 6);
	const auto source = error_source(policy, settings, vsid, ip.source);
	if (!source || is_beneath_errors(frame, ip) || sender == 0 || is_group(sender))
		return std::nullopt;

	const auto &[gateway, address] = *source;
	Bytes error = ethernet_header(sender, policy.gateway_mac(settings, vsid, gateway), 0, type);
	const Bytes message = error_message(frame, contiguous, ip, address, expired, mtu);
	error.insert(error.end(), message.begin(), message.end());
	return error;
}

std::optional<Bytes> icmp_error_outside(const Policy &policy, const Settings &settings, std::uint32_t external, const Bytes &frame, std::size_t visible,
					std::size_t contiguous, Reason reason, std::size_t mtu)
{
	const bool expired = reason == APUS_DROP_TTL_EXPIRED;
	if (settings.no_icmp_errors || (!expired && reason != APUS_DROP_MTU_EXCEEDED))
		return std::nullopt;
	const IpPacket ip = *IpPacket::parse(get16(frame, 12), frame, ethernet_size, visible);
	const auto &side = policy.ports.at(external).side(ip.source.family);
	if (!side || is_beneath_errors(frame, ip))
		return std::nullopt;
	return error_message(frame, contiguous, ip, side->address, expired, mtu);
}

/// The options that go into fragments other than the first.
static Bytes copied_options(const Bytes &options)
{
	Bytes copied;
	for (std::size_t at = 0; at < options.size() && options[at] != 0;) {
		const bool single = options[at] == 1;
		const std::size_t length = single ? 1 : at + 1 < options.size() ? options[at + 1] : 0;
		if (length < (single ? 1 : 2) || at + length > options.size())
			break;
		if ((options[at] & 0x80) != 0)
			copied.insert(copied.end(), options.begin() + static_cast<std::ptrdiff_t>(at),
				      options.begin() + static_cast<std::ptrdiff_t>(at + length));
		at += length;
	}
	copied.resize((copied.size() + 3) / 4 * 4);
	return copied;
}

std::vector<Bytes> fragments_of(const Bytes &frame, std::size_t contiguous, std::size_t mtu)
{
	const IpPacket ip = *IpPacket::parse(get16(frame, 12), frame, ethernet_size);
	if (ip.is_v6())
		return {};
	const std::uint16_t word = get16(frame, ip.at + 6);
	const std::size_t payload = ip.total_length - ip.header_length;
	if ((word & 0x4000) != 0 || internet_checksum(frame, ip.at, ip.header_length) != 0 || mtu < ip.header_length + 8 ||
	    contiguous < ip.end())
		return {};
	const std::size_t step = (mtu - ip.header_length) / 8 * 8;
	if (payload > 64 * step || (word & 0x1FFF) + payload / 8 > 0x1FFF)
		return {};

	const auto slice = [&](std::size_t from, std::size_t to) {
		return Bytes(frame.begin() + static_cast<std::ptrdiff_t>(from), frame.begin() + static_cast<std::ptrdiff_t>(to));
	};
	const Bytes options = slice(ip.at + 20, ip.payload());
	std::vector<Bytes> fragments;
	for (std::size_t offset = 0; offset < payload; offset += step) {
		const std::size_t size = std::min(step, payload - offset);
		const Bytes own = offset == 0 ? options : copied_options(options);
		Bytes fragment = slice(0, ip.at + 20);
		fragment.insert(fragment.end(), own.begin(), own.end());
		const Bytes data = slice(ip.payload() + offset, ip.payload() + offset + size);
		fragment.insert(fragment.end(), data.begin(), data.end());

		const std::size_t header = 20 + own.size();
		const bool more = offset + size < payload || (word & 0x2000) != 0;
		put8(fragment, ip.at, static_cast<std::uint8_t>(0x40 + header / 4));
		put16(fragment, ip.at + 2, static_cast<std::uint16_t>(header + size));
		put16(fragment, ip.at + 6, static_cast<std::uint16_t>((word & 0x1FFF) + offset / 8 + (more ? 0x2000 : 0)));
		put16(fragment, ip.at + 10, 0);
		put16(fragment, ip.at + 10, internet_checksum(fragment, ip.at, header));
		fragments.push_back(std::move(fragment));
	}
	return fragments;
}

}  // namespace model
