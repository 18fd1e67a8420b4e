/* SPDX-License-Identifier: Apache-2.0 */
/* Packet headers: loads, validity, checksums. */
#ifndef REFERENCE_PACKET_H
#define REFERENCE_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ETHERNET 14u
#define OUTER_IP_GRE 28u
#define OVERHEAD 42u /* IPv4, GRE, inner Ethernet */

ALWAYS uint16_t load16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
ALWAYS uint32_t load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
ALWAYS uint64_t load64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
ALWAYS void store16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
ALWAYS void store32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
ALWAYS uint16_t be16(const uint8_t *p) { return __builtin_bswap16(load16(p)); }
ALWAYS uint32_t be32(const uint8_t *p) { return __builtin_bswap32(load32(p)); }
ALWAYS void put16(uint8_t *p, uint16_t v) { store16(p, __builtin_bswap16(v)); }

ALWAYS uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xFFFF) + (sum >> 16);
	return (uint16_t)((sum & 0xFFFF) + (sum >> 16));
}

/* RFC 1624: the checksum at `ip + 10` after one big-endian word of the header changed. */
ALWAYS void update_checksum(uint8_t *ip, uint16_t old, uint16_t new)
{
	put16(ip + 10, (uint16_t)~fold((uint32_t)(uint16_t)~be16(ip + 10) + (uint16_t)~old + new));
}

/* The header checksum of 20 bytes, in any byte order. */
ALWAYS bool checksum_is_good(const uint8_t *ip)
{
	uint64_t a = load64(ip), b = load64(ip + 8);
	uint64_t sum = (a & 0xFFFFFFFF) + (a >> 32) + (b & 0xFFFFFFFF) + (b >> 32) + load32(ip + 16);

	sum = (sum & 0xFFFFFFFF) + (sum >> 32);
	return fold((uint32_t)((sum & 0xFFFF) + (sum >> 16))) == 0xFFFF;
}

/* `frame` holds an IPv4 packet without options, TCP or UDP, no fragment, with its ports. */
ALWAYS bool is_plain(const uint8_t *frame, int available)
{
	int total;

	if (available < 24)
		return false;
	total = be16(frame + 16);
	return (load32(frame + 12) & 0x00FFFFFF) == 0x00450008 && (load16(frame + 20) & 0xFF3F) == 0 &&
	       (frame[23] == 17 || frame[23] == 6) && total >= 24 && total <= available;
}

/* The same with IPv6 without extension headers. */
ALWAYS bool is_plain_ipv6(const uint8_t *frame, int available)
{
	int payload;

	if (available < 44)
		return false;
	payload = be16(frame + 18);
	return (load32(frame + 12) & 0x00F0FFFF) == 0x0060DD86 && (frame[20] == 17 || frame[20] == 6) && payload >= 4 &&
	       payload <= available - 40;
}

/* Of a packet whose header was looked at. */
ALWAYS uint32_t length_of(const uint8_t *ip, bool is_ipv6) { return is_ipv6 ? 40u + be16(ip + 4) : be16(ip + 2); }
ALWAYS uint8_t tos_of(const uint8_t *ip, bool is_ipv6) { return is_ipv6 ? (uint8_t)(be16(ip) >> 4) : ip[1]; }
ALWAYS uint8_t ttl_of(const uint8_t *ip, bool is_ipv6) { return ip[is_ipv6 ? 7 : 8]; }

ALWAYS bool is_well_formed(const uint8_t *ip, int available)
{
	int header, total;

	if (available < 20 || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15) * 4;
	total = be16(ip + 2);
	return header >= 20 && header <= total && total <= available;
}

/* Where the parts of a packet from the provider network are. */
struct outer {
	uint32_t link;   /* Ethernet with its tag */
	uint32_t inner;  /* offset of the inner frame */
	int inner_length;
	uint32_t vsid;
	uint64_t identity;
};

/* Every check of an outer header that the receiver of NVGRE makes; false: something is wrong or unusual. */
ALWAYS bool parse_outer(const uint8_t *data, uint32_t length, bool checksum_verified, bool checksum_bad, struct outer *o)
{
	uint32_t link = ETHERNET;
	uint16_t type = load16(data + 12);
	uint64_t vlan = 0, tagged = 0;
	const uint8_t *ip;
	int total;

	if (UNLIKELY(type == 0x0081 || type == 0xA888)) {
		link += 4;
		if (length < link)
			return false;
		vlan = be16(data + 14) & 0x0FFF;
		tagged = 1;
		type = load16(data + 16);
	}
	if (type != 0x0008 || length < link + 42)
		return false;
	ip = data + link;
	if (ip[0] != 0x45 || (load32(ip + 6) & 0xFF00FF3F) != 0x2F000000)
		return false;
	total = be16(ip + 2);
	if (total < 42 || total > (int)(length - link))
		return false;
	if (checksum_bad || (!checksum_verified && !checksum_is_good(ip)))
		return false;
	/* Flags but for those that are ignored, and the protocol type. */
	if ((load32(ip + 20) & 0xFFFF07FC) != 0x58650020)
		return false;
	o->link = link;
	o->inner = link + OUTER_IP_GRE;
	o->inner_length = total - (int)OUTER_IP_GRE;
	o->vsid = be32(ip + 24) >> 8;
	o->identity = (load64(data) & 0xFFFFFFFFFFFF) | vlan << 48 | tagged << 62 | 1ull << 63;
	return true;
}

#endif
