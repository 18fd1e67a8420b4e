// SPDX-License-Identifier: Apache-2.0
// Bytes on the wire: reading, writing, checksums, kinds of addresses. Everything else in the model is built on this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace model {

using Bytes = std::vector<std::uint8_t>;
using Mac = std::uint64_t;  // 60:00:60:00:01:01 is 0x600060000101
using Vsid = std::uint32_t;
using Uint128 = unsigned __int128;

/// An address of either family as a number: 10.0.1.5 is Ip(0x0a000105), 2001:db8::5 is Ip::v6(0x20010db800000000, 5).
/// No address of one family equals one of the other, not even in IPv4-mapped form.
struct Ip {
	unsigned family = 4;  // or 6
	Uint128 value = 0;

	constexpr Ip(std::uint32_t ipv4 = 0) : value(ipv4) {}
	static constexpr Ip v6(std::uint64_t high, std::uint64_t low)
	{
		Ip ip;
		ip.family = 6;
		ip.value = static_cast<Uint128>(high) << 64 | low;
		return ip;
	}
	/// 0.0.0.0 or ::
	static constexpr Ip unspecified(unsigned family) { return family == 6 ? v6(0, 0) : Ip(0); }

	constexpr bool is_v6() const { return family == 6; }
	constexpr bool is_unspecified() const { return value == 0; }
	constexpr unsigned bits() const { return is_v6() ? 128 : 32; }
	constexpr std::uint64_t high() const { return static_cast<std::uint64_t>(value >> 64); }
	constexpr std::uint64_t low() const { return static_cast<std::uint64_t>(value); }
	/// This address with only its first `length` bits.
	constexpr Ip network(unsigned length) const
	{
		Ip ip = *this;
		ip.value = length == 0 ? 0 : value >> (bits() - length) << (bits() - length);
		return ip;
	}
	constexpr Ip operator+(Uint128 number) const
	{
		Ip ip = *this;
		ip.value += number;
		return ip;
	}
	friend constexpr bool operator==(const Ip &a, const Ip &b) { return a.family == b.family && a.value == b.value; }
	friend constexpr bool operator!=(const Ip &a, const Ip &b) { return !(a == b); }
	friend constexpr bool operator<(const Ip &a, const Ip &b)
	{
		return a.family != b.family ? a.family < b.family : a.value < b.value;
	}
};

std::string to_text(const Ip &ip);

constexpr std::size_t ethernet_size = 14;
constexpr std::size_t arp_size = 28;

constexpr std::uint16_t type_ipv4 = 0x0800;
constexpr std::uint16_t type_arp = 0x0806;
constexpr std::uint16_t type_ipv6 = 0x86DD;
constexpr std::uint16_t type_bridging = 0x6558;

inline bool is_tag(std::uint16_t ethertype) { return ethertype == 0x8100 || ethertype == 0x88A8; }

std::uint8_t get8(const Bytes &bytes, std::size_t at);
std::uint16_t get16(const Bytes &bytes, std::size_t at);
std::uint32_t get32(const Bytes &bytes, std::size_t at);
Mac get_mac(const Bytes &bytes, std::size_t at);
Ip get_ip(const Bytes &bytes, std::size_t at, unsigned family);

void put8(Bytes &bytes, std::size_t at, std::uint8_t value);
void put16(Bytes &bytes, std::size_t at, std::uint16_t value);
void put32(Bytes &bytes, std::size_t at, std::uint32_t value);
void put_mac(Bytes &bytes, std::size_t at, Mac value);
void put_ip(Bytes &bytes, std::size_t at, const Ip &value);  // 4 or 16 bytes

/// The Internet checksum (RFC 1071) of `length` bytes from `at`. Over data that holds a right checksum it is 0.
std::uint16_t internet_checksum(const Bytes &bytes, std::size_t at, std::size_t length);

/// RFC 1624 equation 3: the checksum after one 16-bit word of the data changed.
std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t old_word, std::uint16_t new_word);

inline bool is_group(Mac mac) { return (mac >> 40 & 1) != 0; }

/// ::ffff:0:0/96
inline bool is_mapped(const Ip &ip) { return ip.is_v6() && ip.value >> 32 == 0xFFFF; }
/// fe80::/10
inline bool is_link_local(const Ip &ip) { return ip.is_v6() && ip.value >> 118 == 0xFE80 >> 6; }

/// An address that can be neither the source nor the destination of a customer's unicast packet (docs/pipeline.md section 2, step 5):
/// 0.0.0.0, 127.0.0.0/8, 224.0.0.0/4 and 240.0.0.0/4; ::, ::1, ff00::/8 and ::ffff:0:0/96.
inline bool is_special(const Ip &ip)
{
	if (ip.is_v6())
		return ip.value <= 1 || ip.value >> 120 == 0xFF || is_mapped(ip);
	return ip.value == 0 || ip.value >> 24 == 127 || ip.value >> 28 == 14 || ip.value >> 28 == 15;
}

}  // namespace model
