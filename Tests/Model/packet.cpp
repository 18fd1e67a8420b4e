// SPDX-License-Identifier: Apache-2.0
#include "packet.hpp"

namespace model {

std::optional<Ipv4> Ipv4::parse(const Bytes &frame, std::size_t at, std::size_t end)
{
	if (at + 20 > end)
		return std::nullopt;
	Ipv4 ip;
	ip.at = at;
	if (get8(frame, at) >> 4 != 4 || (get8(frame, at) & 15) < 5)
		return std::nullopt;
	ip.header_length = (get8(frame, at) & 15) * std::size_t{4};
	ip.total_length = get16(frame, at + 2);
	if (at + ip.header_length > end || at + ip.total_length > end || ip.total_length < ip.header_length)
		return std::nullopt;
	ip.tos = get8(frame, at + 1);
	ip.fragment = (get16(frame, at + 6) & 0x3FFF) != 0;
	ip.ttl = get8(frame, at + 8);
	ip.protocol = get8(frame, at + 9);
	ip.source = get32(frame, at + 12);
	ip.destination = get32(frame, at + 16);
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

}  // namespace model
