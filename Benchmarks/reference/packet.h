/* SPDX-License-Identifier: Apache-2.0 */
/* Packet headers: loads, validity, checksums. */
#ifndef REFERENCE_PACKET_H
#define REFERENCE_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <apus/apus.h>

#define ALWAYS static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ETHERNET 14u
#define OUTER_IP_GRE 28u
#define OVERHEAD 42u /* IPv4, GRE, inner Ethernet */
#define PLAIN 24u    /* IPv4 and ports */

ALWAYS uint16_t load16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
ALWAYS uint32_t load32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
ALWAYS uint64_t load64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
ALWAYS void store16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }
ALWAYS void store32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
ALWAYS uint16_t be16(const uint8_t *p) { return __builtin_bswap16(load16(p)); }
ALWAYS uint32_t be32(const uint8_t *p) { return __builtin_bswap32(load32(p)); }
ALWAYS void put16(uint8_t *p, uint16_t v) { store16(p, __builtin_bswap16(v)); }

/* One's complement sum of many 16-bit words: high + low, with the carry of low + high. */
ALWAYS uint16_t fold(uint32_t sum) { return (uint16_t)((sum + (sum << 16 | sum >> 16)) >> 16); }

/* RFC 1624: the checksum at `ip + 10` after one big-endian word of the header changed. */
ALWAYS void update_checksum(uint8_t *ip, uint16_t old, uint16_t new)
{
	put16(ip + 10, (uint16_t)~fold((uint32_t)(uint16_t)~be16(ip + 10) + (uint16_t)~old + new));
}

/*
 * The header checksum of 20 bytes, in any byte order and words of any size: a header whose sum is a multiple of 0xFFFF, and not 0,
 * which it cannot be. Times (2^64 - 1) / 0xFFFF such a multiple is at least -(that), and nothing else is.
 */
ALWAYS bool checksum_is_good(const uint8_t *ip)
{
	uint64_t part = 0x1000100010001, sum, unused;
	bool carry = __builtin_add_overflow(load64(ip), load64(ip + 8), &sum);

	/* One multiplication, of which gcc makes six instructions if it knows by what. */
	__asm__("" : "+r"(part));
	sum += carry;
	carry = __builtin_add_overflow(sum, load32(ip + 16), &sum);
	sum += carry;
	return __builtin_add_overflow(sum * part, part, &unused);
}

/* EtherType, version, header length; flags but for DF, offset, protocol; the same of IPv6 */
#define TYPE_MASK 0x00FFFFFFu
#define TYPE_IPV4 0x00450008u
#define KIND_MASK 0xFF00FF3Fu
#define KIND_UDP 0x11000000u
#define KIND_TCP 0x06000000u
#define KIND_GRE 0x2F000000u
#define TYPE_MASK_IPV6 0x00F0FFFFu
#define TYPE_IPV6 0x0060DD86u

ALWAYS bool is_udp_or_tcp(uint32_t kind) { return kind == KIND_UDP || kind == KIND_TCP; }

/*
 * `frame` holds an IPv4 packet without options, TCP or UDP, no fragment, with its ports. `available`: what follows
 * EtherType, at least `PLAIN` bytes.
 */
ALWAYS bool is_plain(const uint8_t *frame, uint32_t available)
{
	return (load32(frame + 12) & TYPE_MASK) == TYPE_IPV4 && is_udp_or_tcp(load32(frame + 20) & KIND_MASK) &&
	       be16(frame + 16) - PLAIN <= available - PLAIN;
}

/* The same with IPv6 without extension headers. Its 44 bytes are there if so many are said to be its payload. */
ALWAYS bool is_plain_ipv6(const uint8_t *frame, uint32_t available)
{
	const int payload = be16(frame + 18);

	return (load32(frame + 12) & TYPE_MASK_IPV6) == TYPE_IPV6 && (LIKELY(frame[20] == 17) || frame[20] == 6) &&
	       payload >= 4 && payload <= (int)available - 40;
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
	uint32_t inner_length;
	uint64_t identity;
};

/* The destination MAC, and what says that there is one. */
#define PROVIDER 0x8000u
#define TAGGED 0x4000u
ALWAYS uint64_t identity_of(const uint8_t *data, uint32_t marks) { return load64(data) << 16 | marks; }

/* Of an IPv4 header that is there: NVGRE without anything unusual. */
ALWAYS bool is_gre(const uint8_t *ip) { return (load32(ip + 6) & KIND_MASK) == KIND_GRE; }
/* Flags but for those that are ignored, and the protocol type. */
ALWAYS bool is_nvgre(const uint8_t *gre) { return (load32(gre) & 0xFFFF07FC) == 0x58650020; }

ALWAYS bool is_checked(const uint8_t *ip, uint32_t flags)
{
	flags &= APUS_FRAME_IP_CHECKSUM_GOOD | APUS_FRAME_IP_CHECKSUM_BAD;
	return flags == 0 ? checksum_is_good(ip) : flags == APUS_FRAME_IP_CHECKSUM_GOOD;
}

/* Every check of an outer header that the receiver of NVGRE makes; false: something is wrong or unusual. */
static inline bool parse_outer(const uint8_t *data, uint32_t length, uint32_t flags, struct outer *o)
{
	uint32_t link = ETHERNET, marks = PROVIDER, total;
	uint16_t type = load16(data + 12);
	const uint8_t *ip;

	if (type == 0x0081 || type == 0xA888) {
		link += 4;
		if (length < link)
			return false;
		marks |= TAGGED | (be16(data + 14) & 0x0FFF);
		type = load16(data + 16);
	}
	if (type != 0x0008 || length < link + OVERHEAD)
		return false;
	ip = data + link;
	total = be16(ip + 2);
	if (ip[0] != 0x45 || !is_gre(ip) || total < OVERHEAD || total > length - link || !is_checked(ip, flags) || !is_nvgre(ip + 20))
		return false;
	o->link = link;
	o->inner = link + OUTER_IP_GRE;
	o->inner_length = total - OUTER_IP_GRE;
	o->identity = identity_of(data, marks);
	return true;
}

#endif
