// SPDX-License-Identifier: Apache-2.0
#include "discovery.hpp"

#include <algorithm>

namespace model {

bool is_discovery(const Bytes &frame, const IpPacket &ip)
{
	if (!ip.is_v6() || ip.protocol != protocol_icmpv6 || !ip.shows(1))
		return false;
	const std::uint8_t type = get8(frame, ip.upper);
	return type >= nd_router_solicitation && type <= nd_redirect;
}

/// The length of a message without options.
static std::size_t fixed_length(std::uint8_t type)
{
	switch (type) {
	case nd_router_solicitation:
		return 8;
	case nd_router_advertisement:
		return 16;
	case nd_redirect:
		return 40;
	default:
		return 24;
	}
}

std::optional<Discovery> Discovery::parse(const Bytes &frame, const IpPacket &ip, std::size_t visible)
{
	Discovery message;
	message.type = get8(frame, ip.upper);
	const bool solicitation = message.type == nd_neighbour_solicitation;
	const bool advertisement = message.type == nd_neighbour_advertisement;
	if (ip.ttl != 255 || ip.upper != ip.payload() || ip.end() > visible)
		return std::nullopt;
	const std::size_t length = ip.end() - ip.upper;
	if (length < fixed_length(message.type) || get8(frame, ip.upper + 1) != 0 ||
	    icmpv6_checksum(frame, ip.upper, length, ip.source, ip.destination) != 0)
		return std::nullopt;

	for (std::size_t at = ip.upper + fixed_length(message.type); at < ip.end();) {
		if (at + 2 > ip.end())
			return std::nullopt;
		const std::size_t size = get8(frame, at + 1) * std::size_t{8};
		if (size == 0 || at + size > ip.end())
			return std::nullopt;
		if (size == 8 && get8(frame, at) == nd_source_option)
			message.source_macs.push_back(get_mac(frame, at + 2));
		if (size == 8 && get8(frame, at) == nd_target_option)
			message.target_macs.push_back(get_mac(frame, at + 2));
		at += size;
	}

	if (solicitation || advertisement) {
		message.target = get_ip(frame, ip.upper + 8, 6);
		if (is_special(message.target))
			return std::nullopt;
	}
	if (advertisement)
		message.flags = get8(frame, ip.upper + 4);
	if (!ip.source.is_unspecified())
		return is_special(ip.source) ? std::nullopt : std::optional<Discovery>(message);
	// From ::, as for duplicate address detection.
	if (advertisement || (solicitation && (!is_solicited_node(ip.destination) || !message.source_macs.empty())))
		return std::nullopt;
	return message;
}

bool Discovery::names_only(Mac mac) const
{
	const auto same = [mac](Mac one) { return one == mac; };
	return std::all_of(source_macs.begin(), source_macs.end(), same) && std::all_of(target_macs.begin(), target_macs.end(), same);
}

static void append_mac_option(Bytes &message, std::uint8_t type, Mac mac)
{
	const std::size_t at = message.size();
	message.resize(at + 8);
	put8(message, at, type);
	put8(message, at + 1, 1);
	put_mac(message, at + 2, mac);
}

/// Ethernet header + IPv6 header + message, whose checksum becomes right.
static Bytes finished(Bytes frame, const Ip &source, const Ip &destination, const Bytes &message)
{
	append_ipv6(frame, source, destination, 255, protocol_icmpv6, message.size());
	const std::size_t at = frame.size();
	frame.insert(frame.end(), message.begin(), message.end());
	put16(frame, at + 2, icmpv6_checksum(frame, at, message.size(), source, destination));
	return frame;
}

Bytes neighbour_advertisement(Bytes ethernet, const Ip &target, Mac mac, const Ip &asker, bool router, bool overrides)
{
	const bool to_all = asker.is_unspecified();
	Bytes message(24);
	put8(message, 0, nd_neighbour_advertisement);
	put8(message, 4, static_cast<std::uint8_t>((router ? nd_router : 0) | (to_all ? 0 : nd_solicited) | (overrides ? nd_override : 0)));
	put_ip(message, 8, target);
	append_mac_option(message, nd_target_option, mac);
	return finished(std::move(ethernet), target, to_all ? all_nodes() : asker, message);
}

Bytes address_probe(Bytes ethernet, const Ip &target)
{
	Bytes message(24);
	put8(message, 0, nd_neighbour_solicitation);
	put_ip(message, 8, target);
	return finished(std::move(ethernet), Ip::unspecified(6), solicited_node(target), message);
}

Bytes neighbour_solicitation(Bytes ethernet, const Ip &source, Mac mac, const Ip &destination, const Ip &target)
{
	Bytes message(24);
	put8(message, 0, nd_neighbour_solicitation);
	put_ip(message, 8, target);
	append_mac_option(message, nd_source_option, mac);
	return finished(std::move(ethernet), source, destination, message);
}

Bytes router_advertisement(Bytes ethernet, const Ip &router, Mac mac, const Ip &asker, std::size_t mtu,
			   const std::vector<AdvertisedPrefix> &prefixes)
{
	Bytes message(16);
	put8(message, 0, nd_router_advertisement);
	put8(message, 4, 64);     // hop limit
	put16(message, 6, 9000);  // seconds
	append_mac_option(message, nd_source_option, mac);
	if (mtu >= 1280) {
		const std::size_t at = message.size();
		message.resize(at + 8);
		put8(message, at, 5);
		put8(message, at + 1, 1);
		put32(message, at + 4, static_cast<std::uint32_t>(mtu));
	}
	for (const AdvertisedPrefix &prefix : prefixes) {
		const std::size_t at = message.size();
		message.resize(at + 32);
		put8(message, at, 3);
		put8(message, at + 1, 4);
		put8(message, at + 2, static_cast<std::uint8_t>(prefix.length));
		put8(message, at + 3, prefix.autonomous ? 0xC0 : 0x80);
		put32(message, at + 4, 0xFFFFFFFF);  // valid for ever
		put32(message, at + 8, 0xFFFFFFFF);  // preferred for ever
		put_ip(message, at + 16, prefix.address);
	}
	return finished(std::move(ethernet), router, asker.is_unspecified() ? all_nodes() : asker, message);
}

}  // namespace model
