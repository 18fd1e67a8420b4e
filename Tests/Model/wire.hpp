// SPDX-License-Identifier: Apache-2.0
// Bytes on the wire: reading, writing, checksums, kinds of addresses. Everything else in the model is built on this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace model {

using Bytes = std::vector<std::uint8_t>;
using Ip = std::uint32_t;   // 10.0.1.5 is 0x0a000105
using Mac = std::uint64_t;  // 60:00:60:00:01:01 is 0x600060000101
using Vsid = std::uint32_t;

constexpr std::size_t ethernet_size = 14;
constexpr std::size_t arp_size = 28;

constexpr std::uint16_t type_ipv4 = 0x0800;
constexpr std::uint16_t type_arp = 0x0806;
constexpr std::uint16_t type_bridging = 0x6558;

inline bool is_tag(std::uint16_t ethertype) { return ethertype == 0x8100 || ethertype == 0x88A8; }

std::uint8_t get8(const Bytes &bytes, std::size_t at);
std::uint16_t get16(const Bytes &bytes, std::size_t at);
std::uint32_t get32(const Bytes &bytes, std::size_t at);
Mac get_mac(const Bytes &bytes, std::size_t at);

void put8(Bytes &bytes, std::size_t at, std::uint8_t value);
void put16(Bytes &bytes, std::size_t at, std::uint16_t value);
void put32(Bytes &bytes, std::size_t at, std::uint32_t value);
void put_mac(Bytes &bytes, std::size_t at, Mac value);

/// The Internet checksum (RFC 1071) of `length` bytes from `at`. Over data that holds a right checksum it is 0.
std::uint16_t internet_checksum(const Bytes &bytes, std::size_t at, std::size_t length);

/// RFC 1624 equation 3: the checksum after one 16-bit word of the data changed.
std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t old_word, std::uint16_t new_word);

inline bool is_group(Mac mac) { return (mac >> 40 & 1) != 0; }

/// An address that can be neither the source nor the destination of a customer's unicast packet:
/// 0.0.0.0, 127.0.0.0/8, 224.0.0.0/4 and 240.0.0.0/4.
inline bool is_special(Ip ip) { return ip == 0 || ip >> 24 == 127 || ip >> 28 == 14 || ip >> 28 == 15; }

inline Ip prefix_mask(unsigned length) { return length == 0 ? 0 : ~Ip{0} << (32 - length); }

}  // namespace model
