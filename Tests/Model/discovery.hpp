// SPDX-License-Identifier: Apache-2.0
// Neighbour discovery (RFC 4861), docs/pipeline.md 3.1, 5.2 and 6.1: its messages, read and made.
#pragma once

#include "packet.hpp"

namespace model {

enum : std::uint8_t {
	nd_router_solicitation = 133,
	nd_router_advertisement = 134,
	nd_neighbour_solicitation = 135,
	nd_neighbour_advertisement = 136,
	nd_redirect = 137
};
constexpr std::uint8_t nd_router = 0x80, nd_solicited = 0x40, nd_override = 0x20;  // flags of an advertisement
constexpr std::uint8_t nd_source_option = 1, nd_target_option = 2;                 // link-layer addresses

constexpr Ip all_nodes() { return Ip::v6(0xFF02000000000000, 1); }
constexpr Ip solicited_node(const Ip &ip) { return Ip::v6(0xFF02000000000000, 0x1FF000000 | (ip.low() & 0xFFFFFF)); }
inline bool is_solicited_node(const Ip &ip) { return ip.is_v6() && ip.network(104) == Ip::v6(0xFF02000000000000, 0x1FF000000); }
/// RFC 2464 section 7
constexpr Mac multicast_mac(const Ip &ip) { return 0x333300000000 | (ip.low() & 0xFFFFFFFF); }
/// RFC 1112 section 6.4, RFC 2464 section 7: of a multicast address of either family
constexpr Mac mac_of_group(const Ip &group) { return group.is_v6() ? multicast_mac(group) : 0x01005E000000 | (group.low() & 0x7FFFFF); }
/// fe80::/64 with the modified EUI-64 of the MAC
constexpr Ip link_local_of(Mac mac)
{
	return Ip::v6(0xFE80000000000000, ((mac >> 24) ^ 0x020000) << 40 | 0xFFFE000000 | (mac & 0xFFFFFF));
}

/// The packet's upper layer is ICMPv6 of a type of neighbour discovery, well-formed or not.
bool is_discovery(const Bytes &frame, const IpPacket &ip);

/// A message that is not malformed as in 3.1.1.
struct Discovery {
	std::uint8_t type = 0;
	std::uint8_t flags = 0;  // of an advertisement
	Ip target = Ip::unspecified(6);
	std::vector<Mac> source_macs, target_macs;  // link-layer options

	/// `visible`: bytes of the frame that are looked at; the IP packet must end there.
	static std::optional<Discovery> parse(const Bytes &frame, const IpPacket &ip, std::size_t visible = readable);
	/// Every link-layer option has this MAC.
	bool names_only(Mac mac) const;
};

/// Neighbour advertisement about `target`, which `mac` has, for the host `asker`, which may be ::. `ethernet`: the header.
Bytes neighbour_advertisement(Bytes ethernet, const Ip &target, Mac mac, const Ip &asker, bool router, bool overrides = true);
/// Neighbour solicitation from `source`, which has `mac`.
/// The solicitation by which others with `target` are looked for (RFC 4862 section 5.4.2).
Bytes address_probe(Bytes ethernet, const Ip &target);
Bytes neighbour_solicitation(Bytes ethernet, const Ip &source, Mac mac, const Ip &destination, const Ip &target);

struct AdvertisedPrefix {
	Ip address = Ip::unspecified(6);
	unsigned length = 0;
	bool autonomous = false;
};
/// Router advertisement from `router`, which has `mac`. `mtu`: of the link.
Bytes router_advertisement(Bytes ethernet, const Ip &router, Mac mac, const Ip &asker, std::size_t mtu,
			   const std::vector<AdvertisedPrefix> &prefixes);

}  // namespace model
