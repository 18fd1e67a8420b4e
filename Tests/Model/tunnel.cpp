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

namespace {

/// What the outer header has of the inner packet, as the peer wants it.
std::uint8_t outer_tos(const IpPacket &inner, const Peer &peer)
{
	const unsigned dscp = peer.dscp_mode == APUS_DSCP_PIPE ? peer.dscp : inner.tos >> 2;
	const unsigned ecn = peer.ecn_mode == APUS_ECN_COMPATIBILITY ? 0 : inner.tos & 3u;
	return static_cast<std::uint8_t>(dscp << 2 | ecn);
}

/// `may_fragment`: routers may.
void append_outer_ipv4(Bytes &outer, const Bytes &inner, const IpPacket &ip, bool may_fragment, const Settings &settings, const Peer &peer, const Ip &source,
		       const Ip &remote, std::size_t payload)
{
	const std::size_t at = outer.size();
	outer.resize(at + 20);
	put8(outer, at, 0x45);
	put8(outer, at + 1, outer_tos(ip, peer));
	put16(outer, at + 2, static_cast<std::uint16_t>(payload + 20));
	put16(outer, at + 4, may_fragment ? get16(inner, ip.at + 4) : 0);
	put16(outer, at + 6, may_fragment ? 0 : 0x4000);
	put8(outer, at + 8, peer.ttl != 0 ? peer.ttl : settings.outer_ttl);
	put8(outer, at + 9, peer.is_vxlan() ? protocol_udp : protocol_gre);
	put_ip(outer, at + 12, source);
	put_ip(outer, at + 16, remote);
	put16(outer, at + 10, internet_checksum(outer, at, 20));
}

void append_outer_ipv6(Bytes &outer, const IpPacket &ip, const Settings &settings, const Peer &peer, const Ip &source, const Ip &remote,
		       std::size_t payload, std::uint8_t flow)
{
	const std::size_t at = outer.size();
	append_ipv6(outer, source, remote, peer.ttl != 0 ? peer.ttl : settings.outer_ttl, peer.is_vxlan() ? protocol_udp : protocol_gre, payload);
	put32(outer, at, 6u << 28 | static_cast<std::uint32_t>(outer_tos(ip, peer)) << 20 | flow);
}

void append_gre(Bytes &outer, const Settings &settings, const Peer &peer, Vsid vsid, std::uint8_t flow)
{
	const bool is_zero = peer.flow_id == 0 ? settings.flow_id_zero : peer.flow_id == APUS_FLOW_ID_ZERO;
	const std::size_t at = outer.size();
	outer.resize(at + 8);
	put16(outer, at, 0x2000);
	put16(outer, at + 2, type_bridging);
	put32(outer, at + 4, peer.is_draft00() ? vsid : vsid << 8 | (is_zero ? 0 : flow));
}

void append_vxlan(Bytes &outer, const Settings &settings, Vsid vsid, std::uint8_t flow, std::size_t inner_size)
{
	const std::size_t at = outer.size();
	outer.resize(at + 16);
	put16(outer, at, static_cast<std::uint16_t>(0xC000 | flow << 6 | flow >> 2));
	put16(outer, at + 2, settings.vxlan_port);
	put16(outer, at + 4, static_cast<std::uint16_t>(16 + inner_size));
	put8(outer, at + 8, 0x08);
	put32(outer, at + 12, vsid << 8);
}

}  // namespace

Bytes encapsulated(const Bytes &inner, const Settings &settings, const ProviderAddress &source, Ip source_address, Ip remote,
		   Mac next_hop, Vsid vsid, std::optional<std::uint8_t> its_flow_id, bool is_ip, const Peer &peer)
{
	IpPacket ip;  // of what is not IP, nothing is known outside
	ip.at = ethernet_size;
	ip.total_length = inner.size() - ethernet_size;
	if (is_ip)
		ip = *IpPacket::parse(get16(inner, 12), inner, ethernet_size);
	const std::size_t inner_size = ip.end();
	const std::size_t payload = inner_size + (peer.is_vxlan() ? 16 : 8);
	const std::uint8_t flow = its_flow_id ? *its_flow_id : flow_id(inner, ip);

	Bytes frame = ethernet_header(next_hop, source.mac, source.vlan, remote.is_v6() ? type_ipv6 : type_ipv4);
	const bool may_fragment = peer.df_mode == APUS_DF_COPY && is_ip && !ip.is_v6() && (get16(inner, ip.at + 6) & 0x4000) == 0;
	if (remote.is_v6())
		append_outer_ipv6(frame, ip, settings, peer, source_address, remote, payload, flow);
	else
		append_outer_ipv4(frame, inner, ip, may_fragment, settings, peer, source_address, remote, payload);
	if (peer.is_vxlan())
		append_vxlan(frame, settings, vsid, flow, inner_size);
	else
		append_gre(frame, settings, peer, vsid, flow);
	frame.insert(frame.end(), inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(inner_size));
	return frame;
}

}  // namespace model
