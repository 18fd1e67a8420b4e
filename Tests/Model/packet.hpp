// SPDX-License-Identifier: Apache-2.0
// The two packets that the pipeline reads: IPv4 (customer's, both sides) and ARP (both sides).
#pragma once

#include <optional>

#include "wire.hpp"

namespace model {

/// A well-formed IPv4 header (docs/pipeline.md 2.4). Offsets are into the frame that was parsed.
struct Ipv4 {
	std::size_t at = 0;  // of the header
	std::size_t header_length = 0;
	std::size_t total_length = 0;
	std::uint8_t tos = 0;
	bool fragment = false;  // MF set or offset not 0
	std::uint8_t ttl = 0;
	std::uint8_t protocol = 0;
	Ip source = 0;
	Ip destination = 0;

	/// `end` is where the frame ends; nothing when the header is malformed.
	static std::optional<Ipv4> parse(const Bytes &frame, std::size_t at, std::size_t end);
	std::size_t payload() const { return at + header_length; }
	std::size_t end() const { return at + total_length; }
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

}  // namespace model
