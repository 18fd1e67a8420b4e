/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow caches: exact keys, eight lines in two homes. IPv4 has keys of 40 bytes and one line of 64 bytes for each flow,
 * IPv6 keys of 96 bytes and two of them.
 */
#ifndef REFERENCE_FLOW_H
#define REFERENCE_FLOW_H

#include <immintrin.h>
#include "packet.h"

struct key {
	__m128i link;    /* both MAC addresses, ingress port; top bit = fragment */
	__m128i network; /* VSID around the protocol, addresses, ports */
	uint64_t outer;  /* outer addresses */
};

struct wide_key {
	__m128i link;
	__m128i source, destination;
	__m128i transport; /* ports; VSID around the protocol; families; 0 */
	__m128i outer_source, outer_destination; /* IPv4 in the last four bytes */
};

union any_key {
	struct key narrow;
	struct wide_key wide;
};

/* What is known of a flow besides its key: the last bytes of its line. */
struct flow {
	uint32_t stamp;  /* policy version */
	uint32_t result; /* number of the action + 1 << 8 | FlowID; 0 = free */
	uint64_t packets, bytes;
};

struct entry {
	__m128i link, network;
	uint64_t outer;
	struct flow flow;
};
_Static_assert(sizeof(struct entry) == 64, "one cache line");

struct wide_entry {
	struct wide_key key;
	uint64_t padding;
	struct flow flow;
};
_Static_assert(sizeof(struct wide_entry) == 128, "two cache lines");

struct cache {
	uint8_t *lines;
	uint64_t mask;
	uint32_t *shares; /* lines that each tenant holds */
	bool is_wide;
};

#define WAYS 8u
#define FRAGMENT (1u << 31)
#define INNER_IPV6 1u
#define OUTER_IPV4 4u

ALWAYS uint32_t spread(uint32_t vsid) { return (vsid & 0xFF) | (vsid >> 8) << 16; }

ALWAYS struct key plain_key(const uint8_t *frame, uint32_t port, uint32_t vsid, uint64_t outer)
{
	const __m128i protocol = _mm_setr_epi32(0xFF00, -1, -1, -1);
	struct key k;

	k.link = _mm_insert_epi32(_mm_loadu_si128((const __m128i *)(const void *)frame), (int)port, 3);
	k.network = _mm_or_si128(_mm_and_si128(_mm_loadu_si128((const __m128i *)(const void *)(frame + 22)), protocol),
				 _mm_cvtsi32_si128((int)spread(vsid)));
	k.outer = outer;
	return k;
}

ALWAYS struct wide_key plain_ipv6_key(const uint8_t *frame, uint32_t port, uint32_t vsid, uint64_t outer, uint32_t families)
{
	struct wide_key k;

	k.link = _mm_insert_epi32(_mm_loadu_si128((const __m128i *)(const void *)frame), (int)port, 3);
	k.source = _mm_loadu_si128((const __m128i *)(const void *)(frame + 22));
	k.destination = _mm_loadu_si128((const __m128i *)(const void *)(frame + 38));
	k.transport = _mm_setr_epi32((int)load32(frame + 54), (int)((uint32_t)frame[20] << 8 | spread(vsid)), (int)families, 0);
	k.outer_source = _mm_slli_si128(_mm_cvtsi32_si128((int)outer), 12);
	k.outer_destination = _mm_slli_si128(_mm_cvtsi32_si128((int)(outer >> 32)), 12);
	return k;
}

/* The key of any IPv4 packet whose header is well-formed; `readable` bytes of the packet may be read. */
static inline struct key any_key(const uint8_t *frame, int readable, uint32_t port, uint32_t vsid, uint64_t outer)
{
	const uint8_t *ip = frame + ETHERNET;
	const bool fragment = (be16(ip + 6) & 0x3FFF) != 0;
	const int header = (ip[0] & 15) * 4;
	uint32_t ports = 0;
	struct key k;

	if ((ip[9] == 6 || ip[9] == 17) && !fragment && header + 4 <= be16(ip + 2) && header + 4 <= readable)
		ports = load32(ip + header);
	k.link = _mm_insert_epi32(_mm_loadu_si128((const __m128i *)(const void *)frame),
				  (int)(port | (fragment ? FRAGMENT : 0)), 3);
	k.network = _mm_setr_epi32((int)((uint32_t)ip[9] << 8 | spread(vsid)), (int)load32(ip + 12),
				   (int)load32(ip + 16), (int)ports);
	k.outer = outer;
	return k;
}

ALWAYS bool is_zero(__m128i v) { return _mm_testz_si128(v, v); }

ALWAYS bool same_narrow(const struct entry *e, const struct key *k)
{
	return is_zero(_mm_or_si128(_mm_xor_si128(e->link, k->link), _mm_xor_si128(e->network, k->network))) && e->outer == k->outer;
}

ALWAYS bool same_wide(const struct wide_entry *e, const struct wide_key *b)
{
	const struct wide_key *a = &e->key;
	__m128i d = _mm_or_si128(_mm_xor_si128(a->link, b->link), _mm_xor_si128(a->source, b->source));

	d = _mm_or_si128(d, _mm_or_si128(_mm_xor_si128(a->destination, b->destination), _mm_xor_si128(a->transport, b->transport)));
	d = _mm_or_si128(d, _mm_or_si128(_mm_xor_si128(a->outer_source, b->outer_source),
					 _mm_xor_si128(a->outer_destination, b->outer_destination)));
	return is_zero(d);
}

ALWAYS uint64_t hash_finish(__m128i h, __m128i k0, __m128i k1)
{
	h = _mm_aesenc_si128(h, k0);
	h = _mm_aesenc_si128(h, k1);
	return (uint64_t)_mm_cvtsi128_si64(h) ^ (uint64_t)_mm_extract_epi64(h, 1);
}

ALWAYS uint64_t hash_key(const struct key *k, __m128i k0, __m128i k1)
{
	__m128i h = _mm_aesenc_si128(_mm_xor_si128(k0, k->link), k1);

	h = _mm_aesenc_si128(_mm_xor_si128(h, k->network), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, _mm_cvtsi64_si128((long long)k->outer)), k1);
	return hash_finish(h, k0, k1);
}

/* Without the outer addresses: they only make neighbours of flows that agree in everything else. */
ALWAYS uint64_t hash_wide_key(const struct wide_key *k, __m128i k0, __m128i k1)
{
	__m128i h = _mm_aesenc_si128(_mm_xor_si128(k0, k->link), k1);

	h = _mm_aesenc_si128(_mm_xor_si128(h, k->source), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, k->destination), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, k->transport), k1);
	return hash_finish(h, k0, k1);
}

ALWAYS size_t line_size(bool is_wide) { return is_wide ? sizeof(struct wide_entry) : sizeof(struct entry); }

ALWAYS struct flow *flow_at(uint8_t *lines, uint64_t number, bool is_wide)
{
	return (struct flow *)(void *)(lines + (number + 1) * line_size(is_wide)) - 1;
}

/* The lines of a flow, best first. */
ALWAYS uint64_t line_of(uint64_t hash, uint64_t mask, unsigned int number)
{
	return ((number < 4 ? hash : hash >> 32) & mask) ^ (number & 3);
}

ALWAYS bool is_in(const uint8_t *lines, uint64_t number, const union any_key *k, bool is_wide)
{
	const void *line = lines + number * line_size(is_wide);

	return is_wide ? same_wide(line, &k->wide) && ((const struct wide_entry *)line)->flow.result != 0
		       : same_narrow(line, &k->narrow) && ((const struct entry *)line)->flow.result != 0;
}

static __attribute__((noinline)) struct flow *find_further(uint8_t *lines, uint64_t mask, uint64_t hash,
							    const union any_key *k, bool is_wide)
{
	for (unsigned int way = 1; way < WAYS; way++) {
		const uint64_t number = line_of(hash, mask, way);

		if (is_in(lines, number, k, is_wide))
			return flow_at(lines, number, is_wide);
	}
	return NULL;
}

/* Of each kind of cache its own code: `is_wide` is a constant. */
ALWAYS struct flow *find_flow(uint8_t *lines, uint64_t mask, uint64_t hash, const union any_key *k, bool is_wide)
{
	if (LIKELY(is_in(lines, hash & mask, k, is_wide)))
		return flow_at(lines, hash & mask, is_wide);
	return find_further(lines, mask, hash, k, is_wide);
}

ALWAYS void fetch_line(const uint8_t *lines, uint64_t mask, uint64_t hash, bool is_wide)
{
	const uint8_t *line = lines + (hash & mask) * line_size(is_wide);

	__builtin_prefetch(line);
	if (is_wide)
		__builtin_prefetch(line + 64);
}

/* docs/pipeline.md 2.3 */
static inline uint8_t flow_id_of(uint32_t source, uint32_t destination, uint32_t ports, uint32_t protocol)
{
	uint32_t h = __builtin_bswap32(source) * 0x9E3779B1u ^ __builtin_bswap32(destination) * 0x85EBCA77u ^
		     (__builtin_bswap32(ports) + (protocol & 0xFF)) * 0xC2B2AE3Du;

	return (uint8_t)(((h ^ h >> 15) * 0x2C1B3C6Du) >> 24);
}

static inline uint32_t xor_words(__m128i v)
{
	v = _mm_xor_si128(v, _mm_srli_si128(v, 8));
	return (uint32_t)_mm_cvtsi128_si32(v) ^ (uint32_t)_mm_extract_epi32(v, 1);
}

static inline uint8_t flow_id(const union any_key *k, bool is_wide)
{
	const __m128i transport = k->wide.transport, network = k->narrow.network;

	if (is_wide)
		return flow_id_of(xor_words(k->wide.source), xor_words(k->wide.destination), (uint32_t)_mm_cvtsi128_si32(transport),
				  (uint32_t)_mm_extract_epi32(transport, 1) >> 8);
	return flow_id_of((uint32_t)_mm_extract_epi32(network, 1), (uint32_t)_mm_extract_epi32(network, 2),
			  (uint32_t)_mm_extract_epi32(network, 3), (uint32_t)_mm_cvtsi128_si32(network) >> 8);
}

#endif
