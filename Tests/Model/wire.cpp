// SPDX-License-Identifier: Apache-2.0
#include "wire.hpp"

#include <cstdio>

namespace model {

std::uint8_t get8(const Bytes &bytes, std::size_t at) { return bytes.at(at); }

std::uint16_t get16(const Bytes &bytes, std::size_t at)
{
	return static_cast<std::uint16_t>(bytes.at(at) << 8 | bytes.at(at + 1));
}

std::uint32_t get32(const Bytes &bytes, std::size_t at)
{
	return static_cast<std::uint32_t>(get16(bytes, at)) << 16 | get16(bytes, at + 2);
}

Mac get_mac(const Bytes &bytes, std::size_t at)
{
	return static_cast<Mac>(get16(bytes, at)) << 32 | get32(bytes, at + 2);
}

Ip get_ip(const Bytes &bytes, std::size_t at, unsigned family)
{
	if (family == 4)
		return get32(bytes, at);
	Ip ip = Ip::unspecified(6);
	for (std::size_t i = 0; i < 16; i += 4)
		ip.value = ip.value << 32 | get32(bytes, at + i);
	return ip;
}

void put8(Bytes &bytes, std::size_t at, std::uint8_t value) { bytes.at(at) = value; }

void put16(Bytes &bytes, std::size_t at, std::uint16_t value)
{
	put8(bytes, at, static_cast<std::uint8_t>(value >> 8));
	put8(bytes, at + 1, static_cast<std::uint8_t>(value));
}

void put32(Bytes &bytes, std::size_t at, std::uint32_t value)
{
	put16(bytes, at, static_cast<std::uint16_t>(value >> 16));
	put16(bytes, at + 2, static_cast<std::uint16_t>(value));
}

void put_mac(Bytes &bytes, std::size_t at, Mac value)
{
	put16(bytes, at, static_cast<std::uint16_t>(value >> 32));
	put32(bytes, at + 2, static_cast<std::uint32_t>(value));
}

void put_ip(Bytes &bytes, std::size_t at, const Ip &value)
{
	const std::size_t size = value.bits() / 8;
	for (std::size_t i = 0; i < size; i++)
		put8(bytes, at + i, static_cast<std::uint8_t>(value.value >> 8 * (size - 1 - i)));
}

std::string to_text(const Ip &ip)
{
	char text[48];
	if (!ip.is_v6()) {
		const auto number = static_cast<std::uint32_t>(ip.value);
		std::snprintf(text, sizeof(text), "%u.%u.%u.%u", number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255);
		return text;
	}
	std::string out;
	for (int shift = 112; shift >= 0; shift -= 16) {
		std::snprintf(text, sizeof(text), "%x", static_cast<unsigned>(ip.value >> shift & 0xFFFF));
		out += (out.empty() ? "" : ":") + std::string(text);
	}
	return out;
}

static std::uint16_t fold(std::uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xFFFF) + (sum >> 16);
	return static_cast<std::uint16_t>(sum);
}

std::uint16_t internet_checksum(const Bytes &bytes, std::size_t at, std::size_t length)
{
	std::uint64_t sum = 0;
	std::size_t i = 0;
	for (; i + 1 < length; i += 2)
		sum += get16(bytes, at + i);
	if (i < length)
		sum += static_cast<std::uint64_t>(get8(bytes, at + i)) << 8;
	return static_cast<std::uint16_t>(~fold(sum));
}

std::uint16_t updated_checksum(std::uint16_t checksum, std::uint16_t old_word, std::uint16_t new_word)
{
	const std::uint64_t sum = static_cast<std::uint64_t>(static_cast<std::uint16_t>(~checksum)) +
				  static_cast<std::uint16_t>(~old_word) + new_word;
	return static_cast<std::uint16_t>(~fold(sum));
}

}  // namespace model
