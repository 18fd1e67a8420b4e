// SPDX-License-Identifier: Apache-2.0
#include "tunnel.hpp"

#include "packet.hpp"

namespace model {

/// The XOR of an address's 32-bit words.
static std::uint32_t folded(const Ip &ip)
{
	return static_cast<std::uint32_t>(ip.value ^ ip.value >> 32 ^ ip.value >> 64 ^ ip.value >> 96);
}

std::uint8_t flow_id(const Bytes &inner)
{
	const Ipv4 ip = *Ipv4::parse(inner, ethernet_size, inner.size());
	std::uint32_t ports = 0;
	const bool has_ports = (ip.protocol == 6 || ip.protocol == 17) && !ip.fragment && ip.total_length >= ip.header_length + 4;
	if (has_ports)
		ports = get32(inner, ip.payload());
	const std::uint32_t hash = (folded(ip.source) * 0x9E3779B1u) ^ (folded(ip.destination) * 0x85EBCA77u) ^ ((ports + ip.protocol) * 0xC2B2AE3Du);
	return static_cast<std::uint8_t>(((hash ^ (hash >> 15)) * 0x2C1B3C6Du) >> 24);
}

Bytes encapsulated(const Bytes &inner, const Settings &settings, const ProviderAddress &source, Ip source_address, Ip remote,
		   Mac next_hop, Vsid vsid, const Bytes *packet)
{
	const Ipv4 ip = *Ipv4::parse(inner, ethernet_size, inner.size());
	const std::size_t inner_size = ip.end();

	Bytes frame = ethernet_header(next_hop, source.mac, source.vlan, type_ipv4);
	const std::size_t at = frame.size();
	frame.resize(at + 28);
	put8(frame, at, 0x45);
	put8(frame, at + 1, ip.tos);
	put16(frame, at + 2, static_cast<std::uint16_t>(inner_size + 28));
	put16(frame, at + 4, 0);
	put16(frame, at + 6, 0x4000);
	put8(frame, at + 8, settings.outer_ttl);
	put8(frame, at + 9, 47);
	put_ip(frame, at + 12, source_address);
	put_ip(frame, at + 16, remote);
	put16(frame, at + 10, internet_checksum(frame, at, 20));

	put16(frame, at + 20, 0x2000);
	put16(frame, at + 22, type_bridging);
	put32(frame, at + 24, vsid << 8 | (settings.flow_id_zero ? 0 : flow_id(packet != nullptr ? *packet : inner)));

	frame.insert(frame.end(), inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(inner_size));
	return frame;
}

}  // namespace model
