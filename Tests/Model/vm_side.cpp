// SPDX-License-Identifier: Apache-2.0
#include "vm_side.hpp"

#include <algorithm>

#include "packet.hpp"

namespace model {

namespace {

struct Sender {
	const Policy &policy;
	const Settings &settings;
	std::uint32_t port_id;
	const Port &port;
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

/// Section 6.
Verdict answer_echo(Bytes frame, const Ipv4 &ip)
{
	const Mac asker = get_mac(frame, 6);
	const Mac gateway = get_mac(frame, 0);
	put_mac(frame, 0, asker);
	put_mac(frame, 6, gateway);
	put_ip(frame, ip.at + 12, ip.destination);
	put_ip(frame, ip.at + 16, ip.source);
	put8(frame, ip.at + 8, 128);
	put16(frame, ip.at + 10, 0);
	put16(frame, ip.at + 10, internet_checksum(frame, ip.at, ip.header_length));
	// The ICMP checksum was made by the asker over its own bytes: right stays right, wrong stays wrong.
	const std::size_t icmp = ip.payload();
	const std::uint16_t updated = updated_checksum(get16(frame, icmp + 2), 0x0800, 0);
	put8(frame, icmp, 0);
	put16(frame, icmp + 2, updated != 0 ? updated : 0xFFFF);  // the other zero of one's complement
	return Verdict::answer(std::move(frame), Verdict::Work::echo_reply);
}

bool is_echo_request(const Bytes &frame, const Ipv4 &ip)
{
	return !ip.fragment && ip.protocol == 1 && ip.total_length >= ip.header_length + 8 &&
	       get8(frame, ip.payload()) == 8 && get8(frame, ip.payload() + 1) == 0 &&
	       internet_checksum(frame, ip.at, ip.header_length) == 0;
}

Verdict encapsulate(Bytes frame, Ip remote, Vsid vsid, bool routed)
{
	Verdict verdict;
	verdict.kind = Verdict::Kind::encapsulate;
	verdict.bytes = std::move(frame);
	verdict.remote = remote;
	verdict.vsid = vsid;
	verdict.routed = routed;
	return verdict;
}

/// Section 2.1.
Verdict switched(const Sender &from, Bytes frame, const Ipv4 &ip, const Record *source)
{
	const Vsid vsid = from.port.vsid;
	const Mac destination_mac = get_mac(frame, 0);
	if (const auto local = from.policy.vm_port(vsid, destination_mac)) {
		if (*local == from.port_id)
			return Verdict::drop(APUS_DROP_HAIRPIN);
		return Verdict::deliver(std::move(frame), *local, Verdict::Work::switched);
	}
	if (source == nullptr && !from.port.trusted)
		return Verdict::drop(APUS_DROP_SOURCE_RECORD_MISSING);
	const Record *target = from.policy.record(vsid, ip.destination);
	if (target == nullptr)
		return Verdict::drop(APUS_DROP_DESTINATION_RECORD_MISSING);
	if (target->mac != destination_mac)
		return Verdict::drop(APUS_DROP_DESTINATION_CA_MAC);
	if (from.policy.is_local(*target))
		return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
	if (target->rule == APUS_RULE_NONE)
		return Verdict::drop(APUS_DROP_RULE_NONE);
	return encapsulate(std::move(frame), target->provider_address, vsid, false);
}

/// Section 2.2.
Verdict routed(const Sender &from, Bytes frame, const Ipv4 &ip, const Record *source)
{
	const Policy &policy = from.policy;
	const Guid domain = *policy.domain_of(from.port.vsid);
	if (source == nullptr && !from.port.trusted)
		return Verdict::drop(APUS_DROP_SOURCE_RECORD_MISSING);
	if (policy.is_gateway_in_domain(domain, ip.destination)) {
		if (is_echo_request(frame, ip))
			return answer_echo(std::move(frame), ip);
		return Verdict::drop(APUS_DROP_GATEWAY_UNSERVED);
	}

	const CustomerRouteKey *route = policy.best_route(domain, ip.destination, false);
	if (route == nullptr)
		return Verdict::drop(APUS_DROP_CUSTOMER_ROUTE_MISSING);
	const Record *target = policy.record(route->vsid, route->on_link() ? ip.destination : route->next_hop);
	if (target == nullptr)
		return Verdict::drop(route->on_link() ? APUS_DROP_DESTINATION_RECORD_MISSING : APUS_DROP_NEXT_HOP_RECORD_MISSING);

	const bool local = policy.is_local(*target);
	if (target->rule == APUS_RULE_NONE && !local)
		return Verdict::drop(APUS_DROP_RULE_NONE);
	const auto port = policy.vm_port(route->vsid, target->mac);
	if (local && !port)
		return Verdict::drop(APUS_DROP_NO_LOCAL_PORT);
	if (local && *port == from.port_id)
		return Verdict::drop(APUS_DROP_HAIRPIN);
	if (ip.ttl <= 1)
		return Verdict::drop(APUS_DROP_TTL_EXPIRED);

	const std::uint16_t old_word = get16(frame, ip.at + 8);
	put_mac(frame, 0, target->mac);
	put8(frame, ip.at + 8, static_cast<std::uint8_t>(ip.ttl - 1));
	put16(frame, ip.at + 10, updated_checksum(get16(frame, ip.at + 10), old_word, get16(frame, ip.at + 8)));

	if (!local)
		return encapsulate(std::move(frame), target->provider_address, route->vsid, true);
	Verdict verdict = Verdict::deliver(std::move(frame), *port, Verdict::Work::none);
	verdict.routed = true;
	return verdict;
}

/// An answer to `request`: who has `request.target`? `mac` has.
Verdict answer_arp(const Arp &request, Mac mac)
{
	Bytes frame = ethernet_header(request.sender_mac, mac, 0, type_arp);
	Arp{2, mac, request.target, request.sender_mac, request.sender}.append_to(frame);
	return Verdict::answer(std::move(frame), Verdict::Work::arp_reply);
}

/// Section 3.
Verdict arp(const Sender &from, Bytes frame)
{
	const Policy &policy = from.policy;
	const Vsid vsid = from.port.vsid;
	const auto arp = Arp::parse(frame, ethernet_size);
	if (!arp)
		return Verdict::drop(APUS_DROP_ARP_MALFORMED);

	if (!from.port.trusted) {
		if (arp->sender_mac != from.port.mac)
			return Verdict::drop(APUS_DROP_ARP_SPOOFED);
		if (arp->sender != 0) {
			if (policy.gateways_of(vsid).count(arp->sender) != 0)
				return Verdict::drop(APUS_DROP_ARP_SPOOFED);
			const Record *record = policy.record(vsid, arp->sender);
			if (record != nullptr && (record->mac != from.port.mac || !policy.is_local(*record)))
				return Verdict::drop(APUS_DROP_ARP_SPOOFED);
		}
	}

	if (arp->operation == 2) {
		const auto port = policy.vm_port(vsid, get_mac(frame, 0));
		if (port && *port != from.port_id)
			return Verdict::deliver(std::move(frame), *port, Verdict::Work::switched);
		return Verdict::consume();
	}
	if (arp->target == arp->sender)
		return Verdict::consume();
	if (policy.gateways_of(vsid).count(arp->target) != 0)
		return answer_arp(*arp, policy.gateway_mac(from.settings, vsid, arp->target));
	if (const Record *record = policy.record(vsid, arp->target)) {
		if (record->mac == from.port.mac)
			return Verdict::consume();
		return answer_arp(*arp, record->mac);
	}

	Verdict verdict;
	verdict.kind = Verdict::Kind::flood;
	verdict.reason = APUS_DROP_ARP_UNANSWERED;  // when there is no other port
	verdict.bytes = std::move(frame);
	verdict.vsid = vsid;
	return verdict;
}

}  // namespace

Verdict from_vm(const Policy &policy, const Settings &settings, std::uint32_t port_id, Bytes frame)
{
	const Sender from{policy, settings, port_id, policy.ports.at(port_id)};
	const Vsid vsid = from.port.vsid;

	if (!from.port.trusted && get_mac(frame, 6) != from.port.mac)
		return Verdict::drop(APUS_DROP_SOURCE_MAC);
	if (!remove_tags(frame))
		return Verdict::drop(APUS_DROP_FRAME_INVALID);
	const std::uint16_t type = get16(frame, 12);
	if (type == type_arp)
		return arp(from, std::move(frame));
	if (type != type_ipv4)
		return Verdict::drop(APUS_DROP_ETHERTYPE);
	const auto ip = Ipv4::parse(frame, ethernet_size, frame.size());
	if (!ip)
		return Verdict::drop(APUS_DROP_IP_MALFORMED);
	if (is_group(get_mac(frame, 0)) || is_special(ip->destination))
		return Verdict::drop(APUS_DROP_NOT_UNICAST);
	if (is_special(ip->source))
		return Verdict::drop(APUS_DROP_IP_MALFORMED);

	const Record *source = policy.record(vsid, ip->source);
	if (!from.port.trusted && source != nullptr) {
		if (source->mac != get_mac(frame, 6))
			return Verdict::drop(APUS_DROP_SOURCE_CA_MAC);
		if (!policy.is_local(*source))
			return Verdict::drop(APUS_DROP_SOURCE_CA_REMOTE);
	}
	if (policy.is_gateway_mac(settings, vsid, get_mac(frame, 0)))
		return routed(from, std::move(frame), *ip, source);
	return switched(from, std::move(frame), *ip, source);
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
	const Ipv4 ip = *Ipv4::parse(frame, ethernet_size, frame.size());
	const Vsid vsid = policy.ports.at(port_id).vsid;
	const Mac sender = get_mac(frame, 6);
	const auto gateway = policy.gateway_for(vsid, ip.source);
	if (!gateway || (get16(frame, ip.at + 6) & 0x1FFF) != 0 || internet_checksum(frame, ip.at, ip.header_length) != 0 ||
	    sender == 0 || is_group(sender))
		return std::nullopt;
	if (ip.protocol == 1) {
		const std::set<unsigned> queries{0, 8, 13, 14, 15, 16, 17, 18};
		if (ip.header_length == ip.total_length || queries.count(get8(frame, ip.payload())) == 0)
			return std::nullopt;
	}

	const std::size_t quoted = std::min({ip.total_length, std::size_t{548}, std::size_t{contiguous - ethernet_size}});
	Bytes error = ethernet_header(sender, policy.gateway_mac(settings, vsid, *gateway), 0, type_ipv4);
	error.resize(ethernet_size + 28);
	put8(error, 14, 0x45);
	put8(error, 15, 0xC0);
	put16(error, 16, static_cast<std::uint16_t>(28 + quoted));
	put16(error, 20, 0x4000);
	put8(error, 22, 128);
	put8(error, 23, 1);
	put_ip(error, 26, *gateway);
	put_ip(error, 30, ip.source);
	put16(error, 24, internet_checksum(error, 14, 20));
	put8(error, 34, expired ? 11 : 3);
	put8(error, 35, expired ? 0 : 4);
	put16(error, 40, static_cast<std::uint16_t>(expired ? 0 : mtu));
	error.insert(error.end(), frame.begin() + ethernet_size, frame.begin() + static_cast<std::ptrdiff_t>(ethernet_size + quoted));
	put16(error, 36, internet_checksum(error, 34, 8 + quoted));
	return error;
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
	const Ipv4 ip = *Ipv4::parse(frame, ethernet_size, frame.size());
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
