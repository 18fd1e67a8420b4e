// SPDX-License-Identifier: Apache-2.0
// The packets that the pipeline reads: IP of both versions (customer's and outer) and ARP. Neighbour discovery, IPv6's
// ARP, is in discovery.hpp.
#pragma once

#include <optional>

#include "wire.hpp"

namespace model {

/// The upper layer is looked for in so many bytes of a frame, after tag removal (docs/pipeline.md section 2, step 4). They are in memory
/// whatever the number of tags.
constexpr std::size_t readable = 160;

constexpr std::uint8_t protocol_icmp = 1, protocol_tcp = 6, protocol_udp = 17, protocol_gre = 47, protocol_icmpv6 = 58;
constexpr std::uint8_t protocol_dccp = 33, protocol_udp_lite = 136;

/// A well-formed IP header (the same). Offsets are into the frame that was parsed.
struct IpPacket {
	unsigned version = 4;
	std::size_t at = 0;             // of the header
	std::size_t header_length = 0;  // IPv4: with options; IPv6: 40
	std::size_t total_length = 0;
	std::uint8_t tos = 0;         // IPv6: the traffic class
	std::uint8_t ttl = 0;         // IPv6: the hop limit
	bool fragment = false;        // more fragments, or offset not 0
	bool later_fragment = false;  // offset not 0
	std::uint8_t protocol = 0;    // of the upper layer: behind IPv6 extension headers
	std::size_t upper = 0;        // where the upper layer begins, unless this is a later fragment
	std::size_t limit = 0;        // so far the upper layer is looked at
	Ip source = 0;
	Ip destination = 0;

	/// The IP packet of a frame of this EtherType; nothing when the header is malformed. Of the frame, `visible` bytes are
	/// looked at for the upper layer.
	static std::optional<IpPacket> parse(std::uint16_t type, const Bytes &frame, std::size_t at, std::size_t visible = SIZE_MAX);
	/// The packet that an ICMP error quotes at `at`, of which what is before `limit` can be seen; nothing when its header is
	/// not all there. Its end may be behind the limit.
	static std::optional<IpPacket> parse_quoted(unsigned version, const Bytes &frame, std::size_t at, std::size_t limit);
	bool is_v6() const { return version == 6; }
	std::size_t payload() const { return at + header_length; }
	std::size_t end() const { return at + total_length; }
	/// The first `bytes` of the upper layer are there to be looked at.
	bool shows(std::size_t bytes) const { return !later_fragment && upper + bytes <= limit; }
};

struct Arp {
	std::uint16_t operation = 0;
	Mac sender_mac = 0;
	Ip sender = 0;
	Mac target_mac = 0;
	Ip target = 0;

	static std::optional<Arp> parse(const Bytes &frame, std::size_t at);
	/// Write it at the end of `frame`, which holds the Ethernet header.
	void append_to(Bytes &frame) const;
};

/// 14 bytes, or 18 with a tag when `vlan` is not 0.
Bytes ethernet_header(Mac destination, Mac source, std::uint16_t vlan, std::uint16_t type);

/// An IPv6 header at the end of `frame`; the flow label is 0.
void append_ipv6(Bytes &frame, const Ip &source, const Ip &destination, std::uint8_t hop_limit, std::uint8_t next_header,
		 std::size_t payload_length);

/// An ICMP or ICMPv6 error of ours with its IP header (docs/pipeline.md 7). `word`: its second four bytes, of which IPv4 has the
/// lower half.
Bytes icmp_error_message(const Ip &source, const Ip &destination, std::uint8_t type, std::uint8_t code, std::uint32_t word, const Bytes &quoted);

/// The checksum of the ICMPv6 message of `length` bytes from `at`, with the pseudo-header (RFC 8200 section 8.1). 0 when the
/// message holds the right one.
std::uint16_t icmpv6_checksum(const Bytes &frame, std::size_t at, std::size_t length, const Ip &source, const Ip &destination);

}  // namespace model
