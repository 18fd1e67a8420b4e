/* SPDX-License-Identifier: Apache-2.0 */
/* The flow cache: exact keys of 40 bytes, one line of 64 bytes for each flow, eight lines in two homes. */
#ifndef REFERENCE_FLOW_H
#define REFERENCE_FLOW_H

#include <immintrin.h>
#include "packet.h"

struct key {
	__m128i link;    /* both MAC addresses, ingress port; top bit = fragment */
	__m128i network; /* VSID around the protocol, addresses, ports */
	uint64_t outer;  /* outer addresses */
};

struct entry {
	__m128i link, network;
	uint64_t outer;
	uint32_t stamp;  /* policy version */
	uint32_t result; /* number of the action + 1 << 8 | FlowID; 0 = free */
	uint64_t packets, bytes;
};
_Static_assert(sizeof(struct entry) == 64, "one cache line");

#define WAYS 8u
#define FRAGMENT (1u << 31)

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

ALWAYS bool same_key(const struct entry *e, const struct key *k)
{
	__m128i d = _mm_or_si128(_mm_xor_si128(e->link, k->link), _mm_xor_si128(e->network, k->network));

	return _mm_testz_si128(d, d) && e->outer == k->outer;
}

ALWAYS uint64_t hash_key(const struct key *k, __m128i k0, __m128i k1)
{
	__m128i h = _mm_aesenc_si128(_mm_xor_si128(k0, k->link), k1);

	h = _mm_aesenc_si128(_mm_xor_si128(h, k->network), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, _mm_cvtsi64_si128((long long)k->outer)), k1);
	h = _mm_aesenc_si128(h, k0);
	h = _mm_aesenc_si128(h, k1);
	return (uint64_t)_mm_cvtsi128_si64(h) ^ (uint64_t)_mm_extract_epi64(h, 1);
}

/* The lines of a flow, best first. */
ALWAYS uint64_t line_of(uint64_t hash, uint64_t mask, unsigned int number)
{
	return ((number < 4 ? hash : hash >> 32) & mask) ^ (number & 3);
}

static __attribute__((noinline)) struct entry *find_further(struct entry *entries, uint64_t mask, uint64_t hash,
							     const struct key *k)
{
	for (unsigned int number = 1; number < WAYS; number++) {
		struct entry *e = &entries[line_of(hash, mask, number)];

		if (same_key(e, k) && e->result != 0)
			return e;
	}
	return NULL;
}

ALWAYS struct entry *find_flow(struct entry *entries, uint64_t mask, uint64_t hash, const struct key *k)
{
	struct entry *e = &entries[hash & mask];

	if (LIKELY(same_key(e, k) && e->result != 0))
		return e;
	return find_further(entries, mask, hash, k);
}

/* docs/pipeline.md 2.3 */
static inline uint8_t flow_id(const struct key *k)
{
	uint32_t source = __builtin_bswap32((uint32_t)_mm_extract_epi32(k->network, 1));
	uint32_t destination = __builtin_bswap32((uint32_t)_mm_extract_epi32(k->network, 2));
	uint32_t ports = __builtin_bswap32((uint32_t)_mm_extract_epi32(k->network, 3));
	uint32_t protocol = (uint32_t)_mm_cvtsi128_si32(k->network) >> 8 & 0xFF;
	uint32_t h = source * 0x9E3779B1u ^ destination * 0x85EBCA77u ^ (ports + protocol) * 0xC2B2AE3Du;

	return (uint8_t)(((h ^ h >> 15) * 0x2C1B3C6Du) >> 24);
}

#endif
