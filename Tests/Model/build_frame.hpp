// SPDX-License-Identifier: Apache-2.0
// Building frames for tests: right by default, every field open to be made wrong.
#pragma once

#include "packet.hpp"

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

inline Bytes arp(const Ethernet &ethernet, const model::Arp &packet)
{
	Bytes frame = model::ethernet_header(ethernet.destination, ethernet.source, ethernet.vlan, model::type_arp);
	packet.append_to(frame);
	return frame;
}

/// GRE header + inner frame: what the outer IPv4 header carries.
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

}  // namespace build
