// SPDX-License-Identifier: Apache-2.0
#include "packet.hpp"

#include <algorithm>

namespace model {

/// An IPv4 header whose bytes are before `limit`, whatever its total length says.
static std::optional<IpPacket> parse_ipv4_header(const Bytes &frame, std::size_t at, std::size_t limit)
{
	if (at + 20 > limit)
		return std::nullopt;
	IpPacket ip;
	ip.at = at;
	if (get8(frame, at) >> 4 != 4 || (get8(frame, at) & 15) < 5)
		return std::nullopt;
	ip.header_length = (get8(frame, at) & 15) * std::size_t{4};
	ip.total_length = get16(frame, at + 2);
	if (at + ip.header_length > limit)
		return std::nullopt;
	ip.tos = get8(frame, at + 1);
	ip.fragment = (get16(frame, at + 6) & 0x3FFF) != 0;
	ip.later_fragment = (get16(frame, at + 6) & 0x1FFF) != 0;
	ip.ttl = get8(frame, at + 8);
	ip.protocol = get8(frame, at + 9);
	ip.upper = ip.payload();
	ip.source = get_ip(frame, at + 12, 4);
	ip.destination = get_ip(frame, at + 16, 4);
	return ip;
}

static std::optional<IpPacket> parse_ipv6_header(const Bytes &frame, std::size_t at, std::size_t limit)
{
	if (at + 40 > limit || get8(frame, at) >> 4 != 6)
		return std::nullopt;
	IpPacket ip;
	ip.version = 6;
	ip.at = at;
	ip.header_length = 40;
	ip.total_length = 40 + std::size_t{get16(frame, at + 4)};
	ip.tos = static_cast<std::uint8_t>(get16(frame, at) >> 4);
	ip.protocol = get8(frame, at + 6);
	ip.ttl = get8(frame, at + 7);
	ip.upper = ip.payload();
	ip.source = get_ip(frame, at + 8, 6);
	ip.destination = get_ip(frame, at + 24, 6);
	return ip;
}

/// The length of an extension header whose first bytes are at `at`; nothing for a protocol that is none.
static std::optional<std::size_t> extension_length(std::uint8_t protocol, const Bytes &frame, std::size_t at)
{
	switch (protocol) {
	case 0:   // hop-by-hop options
	case 43:  // routing
	case 60:  // destination options
		return (get8(frame, at + 1) + std::size_t{1}) * 8;
	case 51:  // authentication
		return (get8(frame, at + 1) + std::size_t{2}) * 4;
	case 44:  // fragment
		return 8;
	default:
		return std::nullopt;
	}
}

/// Find the upper layer of an IPv6 packet.
static void pass_extension_headers(const Bytes &frame, IpPacket &ip)
{
	for (int passed = 0; passed < 8 && ip.upper + 8 <= ip.limit; passed++) {
		const auto length = extension_length(ip.protocol, frame, ip.upper);
		if (!length || ip.upper + *length > ip.limit)
			return;
		const std::uint8_t next = get8(frame, ip.upper);
		if (ip.protocol == 44) {
			const std::uint16_t word = get16(frame, ip.upper + 2);  // 13 bits offset, 2 reserved, M
			ip.fragment = ip.fragment || (word & 0xFFF9) != 0;
			ip.later_fragment = (word & 0xFFF8) != 0;
		}
		ip.protocol = next;
		ip.upper += *length;
		if (ip.later_fragment)
			return;
	}
}

std::optional<IpPacket> IpPacket::parse(std::uint16_t type, const Bytes &frame, std::size_t at, std::size_t visible)
{
	auto ip = type == type_ipv6 ? parse_ipv6_header(frame, at, frame.size()) : parse_ipv4_header(frame, at, frame.size());
	if (!ip || ip->end() > frame.size() || ip->total_length < ip->header_length)
		return std::nullopt;
	ip->limit = std::min(ip->end(), visible);
	if (ip->is_v6())
		pass_extension_headers(frame, *ip);
	return ip;
}

std::optional<IpPacket> IpPacket::parse_quoted(unsigned version, const Bytes &frame, std::size_t at, std::size_t limit)
{
	auto ip = version == 6 ? parse_ipv6_header(frame, at, limit) : parse_ipv4_header(frame, at, limit);
	if (!ip)
		return std::nullopt;
	ip->limit = std::min(limit, ip->end());
	if (ip->is_v6())
		pass_extension_headers(frame, *ip);
	return ip;
}

std::optional<Arp> Arp::parse(const Bytes &frame, std::size_t at)
{
	if (at + arp_size > frame.size())
		return std::nullopt;
	if (get16(frame, at) != 1 || get16(frame, at + 2) != type_ipv4 || get8(frame, at + 4) != 6 || get8(frame, at + 5) != 4)
		return std::nullopt;
	Arp arp;
	arp.operation = get16(frame, at + 6);
	if (arp.operation != 1 && arp.operation != 2)
		return std::nullopt;
	arp.sender_mac = get_mac(frame, at + 8);
	arp.sender = get32(frame, at + 14);
	arp.target_mac = get_mac(frame, at + 18);
	arp.target = get32(frame, at + 24);
	return arp;
}

void Arp::append_to(Bytes &frame) const
{
	const std::size_t at = frame.size();
	frame.resize(at + arp_size);
	put16(frame, at, 1);
	put16(frame, at + 2, type_ipv4);
	put8(frame, at + 4, 6);
	put8(frame, at + 5, 4);
	put16(frame, at + 6, operation);
	put_mac(frame, at + 8, sender_mac);
	put_ip(frame, at + 14, sender);
	put_mac(frame, at + 18, target_mac);
	put_ip(frame, at + 24, target);
}

Bytes ethernet_header(Mac destination, Mac source, std::uint16_t vlan, std::uint16_t type)
{
	Bytes header(vlan != 0 ? 18 : 14);
	put_mac(header, 0, destination);
	put_mac(header, 6, source);
	if (vlan != 0) {
		put16(header, 12, 0x8100);
		put16(header, 14, vlan);
	}
	put16(header, header.size() - 2, type);
	return header;
}

void append_ipv6(Bytes &frame, const Ip &source, const Ip &destination, std::uint8_t hop_limit, std::uint8_t next_header,
		 std::size_t payload_length)
{
	const std::size_t at = frame.size();
	frame.resize(at + 40);
	put8(frame, at, 0x60);
	put16(frame, at + 4, static_cast<std::uint16_t>(payload_length));
	put8(frame, at + 6, next_header);
	put8(frame, at + 7, hop_limit);
	put_ip(frame, at + 8, source);
	put_ip(frame, at + 24, destination);
}

std::uint16_t icmpv6_checksum(const Bytes &frame, std::size_t at, std::size_t length, const Ip &source, const Ip &destination)
{
	Bytes all(40);
	put_ip(all, 0, source);
	put_ip(all, 16, destination);
	put32(all, 32, static_cast<std::uint32_t>(length));
	put32(all, 36, protocol_icmpv6);
	all.insert(all.end(), frame.begin() + static_cast<std::ptrdiff_t>(at), frame.begin() + static_cast<std::ptrdiff_t>(at + length));
	return internet_checksum(all, 0, all.size());
}

Bytes icmp_error_message(const Ip &source, const Ip &destination, std::uint8_t type, std::uint8_t code, std::uint32_t word, const Bytes &quoted)
{
	Bytes out;
	if (source.is_v6()) {
		append_ipv6(out, source, destination, 128, protocol_icmpv6, 8 + quoted.size());
	} else {
		out.resize(20);
		put8(out, 0, 0x45);
		put8(out, 1, 0xC0);
		put16(out, 2, static_cast<std::uint16_t>(28 + quoted.size()));
		put16(out, 6, 0x4000);
		put8(out, 8, 128);
		put8(out, 9, protocol_icmp);
		put_ip(out, 12, source);
		put_ip(out, 16, destination);
		put16(out, 10, internet_checksum(out, 0, 20));
	}
	const std::size_t at = out.size();
	out.resize(at + 8);
	put8(out, at, type);
	put8(out, at + 1, code);
	put32(out, at + 4, source.is_v6() ? word : word & 0xFFFF);
	out.insert(out.end(), quoted.begin(), quoted.end());
	const std::size_t length = out.size() - at;
	put16(out, at + 2, source.is_v6() ? icmpv6_checksum(out, at, length, source, destination) : internet_checksum(out, at, length));
	return out;
}

}  // namespace model
