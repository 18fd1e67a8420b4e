// SPDX-License-Identifier: Apache-2.0
// Building frames for tests: right by default, every field open to be made wrong.
#pragma once

#include "discovery.hpp"

namespace build {

using model::Bytes;
using model::Ip;
using model::Mac;
using model::Vsid;

struct Ethernet {
	Mac destination = 0;
	Mac source = 0;
	std::uint16_t vlan = 0;
	std::uint16_t type = model::type_ipv4;
};

struct Ip4 {
	Ip source = 0;
	Ip destination = 0;
	std::uint8_t tos = 0;
	std::uint8_t ttl = 64;
	std::uint8_t protocol = 17;
	std::uint16_t identification = 0x1234;
	std::uint16_t fragment = 0x4000;  // DF
	unsigned options = 0;             // words
};

/// Ethernet + IPv4 + payload, header checksum right.
inline Bytes ipv4(const Ethernet &ethernet, const Ip4 &ip, const Bytes &payload)
{
	Bytes frame = model::ethernet_header(ethernet.destination, ethernet.source, ethernet.vlan, ethernet.type);
	const std::size_t at = frame.size();
	const std::size_t header = 20 + ip.options * 4;
	frame.reserve(at + header + payload.size());
	frame.resize(at + header, 1);  // options: no-operation
	model::put8(frame, at, static_cast<std::uint8_t>(0x40 | header / 4));
	model::put8(frame, at + 1, ip.tos);
	model::put16(frame, at + 2, static_cast<std::uint16_t>(header + payload.size()));
	model::put16(frame, at + 4, ip.identification);
	model::put16(frame, at + 6, ip.fragment);
	model::put8(frame, at + 8, ip.ttl);
	model::put8(frame, at + 9, ip.protocol);
	model::put16(frame, at + 10, 0);
	model::put_ip(frame, at + 12, ip.source);
	model::put_ip(frame, at + 16, ip.destination);
	model::put16(frame, at + 10, model::internet_checksum(frame, at, header));
	frame.insert(frame.end(), payload.begin(), payload.end());
	return frame;
}

struct Ip6 {
	Ip source = Ip::unspecified(6);
	Ip destination = Ip::unspecified(6);
	std::uint8_t tos = 0;  // traffic class
	std::uint32_t flow_label = 0;
	std::uint8_t hop_limit = 64;
	std::uint8_t next_header = 17;
};

/// Ethernet + IPv6 + payload.
inline Bytes ipv6(const Ethernet &ethernet, const Ip6 &ip, const Bytes &payload)
{
	Bytes frame = model::ethernet_header(ethernet.destination, ethernet.source, ethernet.vlan, ethernet.type);
	const std::size_t at = frame.size();
	model::append_ipv6(frame, ip.source, ip.destination, ip.hop_limit, ip.next_header, payload.size());
	model::put32(frame, at, 6u << 28 | static_cast<std::uint32_t>(ip.tos) << 20 | (ip.flow_label & 0xFFFFF));
	frame.insert(frame.end(), payload.begin(), payload.end());
	return frame;
}

/// An extension header of `words` eight-byte words (authentication: of four-byte words, at least three).
inline Bytes extension(std::uint8_t protocol, std::uint8_t next, std::size_t words)
{
	Bytes header(protocol == 51 ? words * 4 : words * 8);
	model::put8(header, 0, next);
	model::put8(header, 1, static_cast<std::uint8_t>(protocol == 51 ? words - 2 : protocol == 44 ? 0 : words - 1));
	if (protocol == 0 || protocol == 60) {  // one long padding option
		model::put8(header, 2, 1);
		model::put8(header, 3, static_cast<std::uint8_t>(header.size() - 4));
	}
	return header;
}
/// `field`: 13 bits offset, two reserved, M.
inline Bytes fragment_header(std::uint8_t next, std::uint16_t field)
{
	Bytes header = extension(44, next, 1);
	model::put16(header, 2, field);
	return header;
}

/// The ports of TCP or UDP, then `size` bytes that count up.
inline Bytes transport(std::uint16_t source_port, std::uint16_t destination_port, std::size_t size)
{
	Bytes payload(4 + size);
	model::put16(payload, 0, source_port);
	model::put16(payload, 2, destination_port);
	for (std::size_t i = 0; i < size; i++)
		payload[4 + i] = static_cast<std::uint8_t>(i + 1);
	return payload;
}

/// An ICMP message with a right checksum.
inline Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint16_t identification, std::uint16_t sequence, std::size_t size)
{
	Bytes payload(8 + size);
	payload[0] = type;
	payload[1] = code;
	model::put16(payload, 4, identification);
	model::put16(payload, 6, sequence);
	for (std::size_t i = 0; i < size; i++)
		payload[8 + i] = static_cast<std::uint8_t>(i * 7 + 1);
	model::put16(payload, 2, model::internet_checksum(payload, 0, payload.size()));
	return payload;
}

/// An ICMPv6 message; `body` follows the checksum, which is right for this source and destination.
inline Bytes icmpv6(std::uint8_t type, std::uint8_t code, const Bytes &body, const Ip &source, const Ip &destination)
{
	Bytes message(4);
	message[0] = type;
	message[1] = code;
	message.insert(message.end(), body.begin(), body.end());
	model::put16(message, 2, model::icmpv6_checksum(message, 0, message.size(), source, destination));
	return message;
}

/// What follows the checksum of an echo message.
inline Bytes echo(std::uint16_t identification, std::uint16_t sequence, std::size_t size)
{
	Bytes body(4 + size);
	model::put16(body, 0, identification);
	model::put16(body, 2, sequence);
	for (std::size_t i = 0; i < size; i++)
		body[4 + i] = static_cast<std::uint8_t>(i * 7 + 1);
	return body;
}

/// An option of neighbour discovery with a link-layer address.
inline Bytes mac_option(std::uint8_t type, Mac mac)
{
	Bytes option(8);
	option[0] = type;
	option[1] = 1;
	model::put_mac(option, 2, mac);
	return option;
}

/// What follows the checksum of a message of neighbour discovery: flags, the target where there is one, options.
inline Bytes discovery_body(std::uint8_t type, std::uint8_t flags, const Ip &target, const Bytes &options)
{
	using namespace model;
	Bytes body(type == nd_router_solicitation ? 4 : type == nd_router_advertisement ? 12 : type == nd_redirect ? 36 : 20);
	if (type == nd_neighbour_advertisement)
		body[0] = flags;
	if (body.size() >= 20)
		put_ip(body, 4, target);
	if (type == nd_redirect)
		put_ip(body, 20, target);
	body.insert(body.end(), options.begin(), options.end());
	return body;
}

inline Bytes arp(const Ethernet &ethernet, const model::Arp &packet)
{
	Bytes frame = model::ethernet_header(ethernet.destination, ethernet.source, ethernet.vlan, model::type_arp);
	packet.append_to(frame);
	return frame;
}

/// GRE header + inner frame: what the outer IP header carries.
inline Bytes gre(std::uint16_t flags, std::uint16_t type, std::uint32_t key, const Bytes &inner)
{
	Bytes payload(8);
	model::put16(payload, 0, flags);
	model::put16(payload, 2, type);
	model::put32(payload, 4, key);
	payload.insert(payload.end(), inner.begin(), inner.end());
	return payload;
}

/// A whole NVGRE frame. `outer.protocol` is set to 47.
inline Bytes nvgre(const Ethernet &ethernet, Ip4 outer, Vsid vsid, std::uint8_t flow_id, const Bytes &inner)
{
	outer.protocol = 47;
	return ipv4(ethernet, outer, gre(0x2000, model::type_bridging, vsid << 8 | flow_id, inner));
}

/// The same with outer IPv6.
inline Bytes nvgre(const Ethernet &ethernet, Ip6 outer, Vsid vsid, std::uint8_t flow_id, const Bytes &inner)
{
	outer.next_header = 47;
	return ipv6(ethernet, outer, gre(0x2000, model::type_bridging, vsid << 8 | flow_id, inner));
}

}  // namespace build
