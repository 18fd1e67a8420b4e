// SPDX-License-Identifier: Apache-2.0
#include "rewrite.hpp"

#include <set>

namespace model {

namespace {

/// Where in the upper layer a checksum is that contains the addresses; nothing for other protocols.
std::optional<std::size_t> checksum_offset(const IpPacket &ip)
{
	switch (ip.protocol) {
	case protocol_tcp:
		return 16;
	case protocol_udp:
	case protocol_dccp:
	case protocol_udp_lite:
		return 6;
	case protocol_icmpv6:
		return ip.is_v6() ? std::optional<std::size_t>(2) : std::nullopt;
	default:
		return std::nullopt;
	}
}

/// The checksums that follow when an address in this IP header changes.
std::vector<std::size_t> checksums_over_addresses(const Bytes &frame, const IpPacket &ip)
{
	std::vector<std::size_t> at;
	if (!ip.is_v6())
		at.push_back(ip.at + 10);
	const auto offset = checksum_offset(ip);
	if (!offset || !ip.shows(*offset + 2))
		return at;
	const bool unused = ip.protocol == protocol_udp && get16(frame, ip.upper + *offset) == 0;
	if (!unused)
		at.push_back(ip.upper + *offset);
	return at;
}

void replace_address(Bytes &frame, std::size_t at, const Ip &ip, const std::vector<std::size_t> &checksums)
{
	Bytes value(ip.bits() / 8);
	put_ip(value, 0, ip);
	for (std::size_t i = 0; i < value.size(); i += 2) {
		for (const std::size_t checksum : checksums)
			put16(frame, checksum, updated_checksum(get16(frame, checksum), get16(frame, at + i), get16(value, i)));
		put16(frame, at + i, get16(value, i));
	}
}

std::size_t source_at(const IpPacket &ip) { return ip.at + (ip.is_v6() ? 8 : 12); }
std::size_t destination_at(const IpPacket &ip) { return ip.at + (ip.is_v6() ? 24 : 16); }

/// Give the header `ip` these addresses; nothing: it keeps its own.
void replace_addresses(Bytes &frame, const IpPacket &ip, const std::optional<Ip> &source, const std::optional<Ip> &destination)
{
	if (!source && !destination)
		return;
	const auto checksums = checksums_over_addresses(frame, ip);
	if (source)
		replace_address(frame, source_at(ip), *source, checksums);
	if (destination)
		replace_address(frame, destination_at(ip), *destination, checksums);
	// A checksum of 0 would say that there is none.
	const bool is_never_zero = ip.protocol == protocol_udp || ip.protocol == protocol_udp_lite;
	if (is_never_zero && !checksums.empty() && checksums.back() == ip.upper + 6 && get16(frame, ip.upper + 6) == 0)
		put16(frame, ip.upper + 6, 0xFFFF);
}

/// The search for the upper layer ended before it.
bool is_hidden(const IpPacket &ip)
{
	const std::set<unsigned> extension_headers{0, 43, 44, 51, 60};
	return ip.is_v6() && !ip.later_fragment && extension_headers.count(ip.protocol) != 0;
}

bool is_icmp_error(const Bytes &frame, const IpPacket &ip)
{
	if (ip.protocol != (ip.is_v6() ? protocol_icmpv6 : protocol_icmp) || !ip.shows(1))
		return false;
	const std::uint8_t type = get8(frame, ip.upper);
	return ip.is_v6() ? type >= 1 && type <= 4 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/// The packet that an ICMP error is about went the other way.
void translate_quoted(Bytes &frame, const IpPacket &ip, const Translation &to)
{
	const auto quoted = IpPacket::parse_quoted(ip.version, frame, ip.upper + 8, ip.limit);
	if (!quoted)
		return;
	const Bytes before = frame;
	const bool from_receiver = quoted->source == ip.destination, to_sender = quoted->destination == ip.source;
	replace_addresses(frame, *quoted, from_receiver ? std::optional<Ip>(to.destination) : std::nullopt,
			  to_sender ? std::optional<Ip>(to.source) : std::nullopt);
	for (std::size_t at = quoted->at; at + 2 <= ip.limit; at += 2)
		if (get16(before, at) != get16(frame, at))
			put16(frame, ip.upper + 2, updated_checksum(get16(frame, ip.upper + 2), get16(before, at), get16(frame, at)));
}

}  // namespace

bool translate(Bytes &frame, const IpPacket &ip, const Translation &to)
{
	const auto offset = checksum_offset(ip);
	if (offset && !ip.later_fragment && !ip.shows(*offset + 2))
		return false;
	if (is_hidden(ip))
		return false;
	if (is_icmp_error(frame, ip))
		translate_quoted(frame, ip, to);
	replace_addresses(frame, ip, to.source, to.destination);
	return true;
}

}  // namespace model
