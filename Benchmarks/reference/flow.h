/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow caches: exact keys, eight entries in two homes. IPv4 has keys of 40 bytes and one line of 64 bytes for each flow,
 * IPv6 keys of 96 bytes and two of them. A free entry has a key that no packet has: there is no port 0.
 */
#ifndef REFERENCE_FLOW_H
#define REFERENCE_FLOW_H

#include <immintrin.h>
#include "packet.h"

/* As it is made; in memory it is 40 bytes. */
struct key {
	__m128i link;    /* both MAC addresses, ingress port; top bit = fragment */
	__m128i network; /* VSID around the protocol, addresses, ports */
	uint64_t outer;  /* outer addresses */
};

/* As large as two staged packets, so that one number finds both. */
struct wide_key {
	_Alignas(128) __m128i link;
	__m128i source, destination;
	__m128i transport; /* ports; VSID around the protocol; families; 0 */
	__m128i outer_source, outer_destination; /* IPv4 in the last four bytes */
};

/* What is known of a flow besides its key: the last bytes of its line. */
struct flow {
	uint32_t stamp;   /* policy version */
	uint32_t result;  /* where its action is, in bytes; FlowID << 24. 0 = free */
	uint64_t packets; /* in the lower 56 bits; above them `displaced` */
	uint64_t bytes;
};

/* The cache line that ends in what is known: the only one of an IPv4 flow, the second of an IPv6 flow. */
struct line {
	__m128i link, network; /* or the outer addresses of a wide key, whose other parts are in the line before */
	uint64_t outer;
	struct flow flow;
};
_Static_assert(sizeof(struct line) == 64, "one cache line");

/* What the stages of a burst hand on for each packet. */
struct staged {
	__m128i link, network; /* its key, if that is a narrow one; wide ones are elsewhere */
	uint64_t outer;
	uint64_t hash;
	uint64_t identity;
	struct line *line; /* where it stands, after stage 1 where it should; `nothing` if it is in no cache */
};
_Static_assert(sizeof(struct staged) == 64, "one cache line");

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
#define ACTION_MASK 0xFFFFFFu
#define PACKETS 0xFFFFFFFFFFFFFFull

ALWAYS __m128i load128(const void *p) { return _mm_loadu_si128(p); }

/* The word of a VSID around the protocol, from the key of a GRE header. */
ALWAYS __m128i spread(const uint8_t *key, int word)
{
	const char none = (char)0x80;
	const __m128i word_0 = _mm_setr_epi8(2, none, 1, 0, none, none, none, none, none, none, none, none, none, none, none, none);
	const __m128i word_1 = _mm_setr_epi8(none, none, none, none, 2, none, 1, 0, none, none, none, none, none, none, none, none);

	return _mm_shuffle_epi8(_mm_cvtsi32_si128((int)load32(key)), word == 0 ? word_0 : word_1);
}

ALWAYS __m128i link_of(const uint8_t *frame, uint32_t port) { return _mm_insert_epi32(load128(frame), (int)port, 3); }

/* `tunnel`: the outer IPv4 header, or NULL. */
ALWAYS struct key plain_key(const uint8_t *frame, uint32_t port, const uint8_t *tunnel)
{
	struct key k;

	k.link = link_of(frame, port);
	k.network = _mm_and_si128(load128(frame + 22), _mm_setr_epi32(0xFF00, -1, -1, -1));
	if (tunnel != NULL)
		k.network = _mm_or_si128(k.network, spread(tunnel + 24, 0));
	k.outer = tunnel != NULL ? load64(tunnel + 12) : 0;
	return k;
}

ALWAYS struct wide_key plain_ipv6_key(const uint8_t *frame, uint32_t port, const uint8_t *tunnel)
{
	struct wide_key k = {0};

	k.link = link_of(frame, port);
	k.source = load128(frame + 22);
	k.destination = load128(frame + 38);
	k.transport = _mm_insert_epi8(_mm_cvtsi32_si128((int)load32(frame + 54)), frame[20], 5);
	k.transport = _mm_or_si128(k.transport, _mm_setr_epi32(0, 0, tunnel != NULL ? INNER_IPV6 | OUTER_IPV4 : INNER_IPV6, 0));
	if (tunnel != NULL) {
		k.transport = _mm_or_si128(k.transport, spread(tunnel + 24, 1));
		k.outer_source = _mm_slli_si128(_mm_cvtsi32_si128((int)load32(tunnel + 12)), 12);
		k.outer_destination = _mm_slli_si128(_mm_cvtsi32_si128((int)load32(tunnel + 16)), 12);
	}
	return k;
}

/* The key of any IPv4 packet whose header is well-formed; `readable` bytes of the packet may be read. */
static inline struct key any_key(const uint8_t *frame, int readable, uint32_t port, const uint8_t *tunnel)
{
	const uint8_t *ip = frame + ETHERNET;
	const bool fragment = (be16(ip + 6) & 0x3FFF) != 0;
	const int header = (ip[0] & 15) * 4;
	const uint32_t vsid = tunnel != NULL ? (uint32_t)_mm_cvtsi128_si32(spread(tunnel + 24, 0)) : 0;
	uint32_t ports = 0;
	struct key k;

	if ((ip[9] == 6 || ip[9] == 17) && !fragment && header + 4 <= be16(ip + 2) && header + 4 <= readable)
		ports = load32(ip + header);
	k.link = link_of(frame, port | (fragment ? FRAGMENT : 0));
	k.network = _mm_setr_epi32((int)((uint32_t)ip[9] << 8 | vsid), (int)load32(ip + 12), (int)load32(ip + 16), (int)ports);
	k.outer = tunnel != NULL ? load64(tunnel + 12) : 0;
	return k;
}

ALWAYS bool is_zero(__m128i v) { return _mm_testz_si128(v, v); }

ALWAYS bool is_flow(const struct line *line, const struct staged *p)
{
	const __m128i outer = _mm_xor_si128(_mm_loadl_epi64((const void *)&line->outer), _mm_loadl_epi64((const void *)&p->outer));
	const __m128i inner = _mm_or_si128(_mm_xor_si128(line->link, p->link), _mm_xor_si128(line->network, p->network));

	return is_zero(_mm_or_si128(inner, outer));
}

/* `line` is the second one of an entry. */
ALWAYS bool is_wide_flow(const struct line *line, const struct wide_key *k)
{
	const __m128i *front = (const __m128i *)(const void *)line - 4;
	__m128i d = _mm_or_si128(_mm_xor_si128(front[0], k->link), _mm_xor_si128(front[1], k->source));

	d = _mm_or_si128(d, _mm_or_si128(_mm_xor_si128(front[2], k->destination), _mm_xor_si128(front[3], k->transport)));
	d = _mm_or_si128(d, _mm_or_si128(_mm_xor_si128(line->link, k->outer_source),
					 _mm_xor_si128(line->network, k->outer_destination)));
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

ALWAYS size_t entry_size(bool is_wide) { return (is_wide ? 2 : 1) * sizeof(struct line); }

/* The last line of an entry. */
ALWAYS struct line *line_at(uint8_t *lines, uint64_t number, bool is_wide)
{
	return (struct line *)(void *)(lines + number * entry_size(is_wide)) + (is_wide ? 1 : 0);
}

/* The first entry of a flow, and have it fetched. */
ALWAYS struct line *home_of(uint8_t *lines, uint64_t mask, uint64_t hash, bool is_wide)
{
	struct line *line = line_at(lines, hash & mask, is_wide);

	__builtin_prefetch(line);
	if (is_wide)
		__builtin_prefetch(line - 1);
	return line;
}

/* The entries of a flow, best first. */
ALWAYS uint64_t number_of(uint64_t hash, uint64_t mask, unsigned int number)
{
	return ((number < 4 ? hash : hash >> 32) & mask) ^ (number & 3);
}

/*
 * Not of the flow but of the entry, whichever flow stands there or none: where flows stand that have it as their first. Bits 0-2: in
 * the first, second, third neighbour; above them how many in their other entries, 31 = perhaps more.
 */
ALWAYS uint8_t displaced_of(const struct line *line) { return (uint8_t)(line->flow.packets >> 56); }
ALWAYS void set_displaced(struct line *line, uint8_t displaced)
{
	line->flow.packets = (line->flow.packets & PACKETS) | (uint64_t)displaced << 56;
}

/* Four entries begin at a multiple of their size. */
ALWAYS struct line *neighbor_at(struct line *home, uintptr_t number, bool is_wide)
{
	return (struct line *)((uintptr_t)home ^ number * entry_size(is_wide));
}

/*
 * The neighbour of its first entry in which a flow is most likely to stand if not there, and have it fetched, and the one in which it
 * stands if there are two; without a branch.
 */
ALWAYS struct line *fetch_neighbor(struct line *home, bool is_wide)
{
	const unsigned int displaced = displaced_of(home) & 7u;
	struct line *first = neighbor_at(home, ((unsigned int)__builtin_ctz(displaced | 8u) + 1) & 3, is_wide);
	struct line *last = neighbor_at(home, 31u - (unsigned int)__builtin_clz(displaced << 1 | 1u), is_wide);

	__builtin_prefetch(is_wide ? first - 1 : first);
	__builtin_prefetch(is_wide ? last - 1 : last);
	return first;
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

static inline uint8_t flow_id(__m128i network)
{
	return flow_id_of((uint32_t)_mm_extract_epi32(network, 1), (uint32_t)_mm_extract_epi32(network, 2),
			  (uint32_t)_mm_extract_epi32(network, 3), (uint32_t)_mm_cvtsi128_si32(network) >> 8);
}

static inline uint8_t wide_flow_id(const struct wide_key *k)
{
	return flow_id_of(xor_words(k->source), xor_words(k->destination), (uint32_t)_mm_cvtsi128_si32(k->transport),
			  (uint32_t)_mm_extract_epi32(k->transport, 1) >> 8);
}

#endif
