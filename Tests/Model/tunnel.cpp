// SPDX-License-Identifier: Apache-2.0
#include "tunnel.hpp"

#include "packet.hpp"

namespace model {

/// The XOR of an address's 32-bit words.
static std::uint32_t folded(const Ip &ip)
{
	return static_cast<std::uint32_t>(ip.value ^ ip.value >> 32 ^ ip.value >> 64 ^ ip.value >> 96);
}

std::uint8_t flow_id(const Bytes &inner, const IpPacket &ip)
{
	const bool has_ports = (ip.protocol == protocol_tcp || ip.protocol == protocol_udp) && !ip.fragment && ip.shows(4);
	const std::uint32_t ports = has_ports ? get32(inner, ip.upper) : 0;
	const std::uint32_t hash = (folded(ip.source) * 0x9E3779B1u) ^ (folded(ip.destination) * 0x85EBCA77u) ^
				   ((ports + ip.protocol) * 0xC2B2AE3Du);
	return static_cast<std::uint8_t>(((hash ^ (hash >> 15)) * 0x2C1B3C6Du) >> 24);
}

static void append_outer_ipv4(Bytes &frame, std::uint8_t tos, const Settings &settings, const Ip &source, const Ip &remote, std::size_t payload)
{
	const std::size_t at = frame.size();
	frame.resize(at + 20);
	put8(frame, at, 0x45);
	put8(frame, at + 1, tos);
	put16(frame, at + 2, static_cast<std::uint16_t>(payload + 20));
	put16(frame, at + 6, 0x4000);
	put8(frame, at + 8, settings.outer_ttl);
	put8(frame, at + 9, protocol_gre);
	put_ip(frame, at + 12, source);
	put_ip(frame, at + 16, remote);
	put16(frame, at + 10, internet_checksum(frame, at, 20));
}

Bytes encapsulated(const Bytes &inner, const Settings &settings, const ProviderAddress &source, Ip source_address, Ip remote,
		   Mac next_hop, Vsid vsid, std::optional<std::uint8_t> its_flow_id)
{
	const IpPacket ip = *IpPacket::parse(get16(inner, 12), inner, ethernet_size);
	const std::size_t inner_size = ip.end();
	const std::uint8_t flow = settings.flow_id_zero ? 0 : its_flow_id ? *its_flow_id : flow_id(inner, ip);

	Bytes frame = ethernet_header(next_hop, source.mac, source.vlan, remote.is_v6() ? type_ipv6 : type_ipv4);
	if (remote.is_v6()) {
		const std::size_t at = frame.size();
		append_ipv6(frame, source_address, remote, settings.outer_ttl, protocol_gre, inner_size + 8);
		put32(frame, at, 6u << 28 | static_cast<std::uint32_t>(ip.tos) << 20 | flow);
	} else {
		append_outer_ipv4(frame, ip.tos, settings, source_address, remote, inner_size + 8);
	}

	const std::size_t gre = frame.size();
	frame.resize(gre + 8);
	put16(frame, gre, 0x2000);
	put16(frame, gre + 2, type_bridging);
	put32(frame, gre + 4, vsid << 8 | flow);
	frame.insert(frame.end(), inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(inner_size));
	return frame;
}

}  // namespace model
