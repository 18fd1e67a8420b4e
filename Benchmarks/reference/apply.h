/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to each packet of a flow. A function that returns a reason has changed nothing; 0 = done. */
#ifndef REFERENCE_APPLY_H
#define REFERENCE_APPLY_H

#include <immintrin.h>

#include "packet.h"
#include "reference.h"

/* kind, routed, is_ipv6; a drop has no kind here */
#define OP_IPV6 1u
#define OP_ROUTED 2u
#define OP_DELIVER 4u
#define OP_ENCAPSULATE 8u
#define OP_DECAPSULATE 16u

/* Numbers of packets, 16 bits each. */
#define COUNT_ENCAPSULATED 0
#define COUNT_DECAPSULATED 16
#define COUNT_SWITCHED 32
#define COUNT_ROUTED 48

/* All of a frame that leaves but its length. It is put together where it is given to the host: nothing is read that was just written. */
ALWAYS void finish(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, uint8_t *data)
{
	const __m128i gained = _mm_load_si128((const void *)a->gained), lost = _mm_load_si128((const void *)a->lost);
	const __m128i space = _mm_cvtsi32_si128((int)load32((const uint8_t *)&in->contiguous));

	out->data = data;
	out->buffer = in->buffer;
	/* Headroom too. What does not fit a field is forgotten. */
	store32((uint8_t *)&out->contiguous, (uint32_t)_mm_cvtsi128_si32(_mm_sub_epi16(_mm_adds_epu16(space, gained), lost)));
	/* Flags too. */
	memcpy((uint8_t *)out + offsetof(struct apus_frame, port), (const uint8_t *)a + offsetof(struct reference_action, egress), 8);
}

/* TTL, with its checksum (RFC 1624), and destination MAC. `word`: TTL, protocol, checksum of IPv4. */
ALWAYS void route(const struct reference_action *a, uint8_t *data, uint32_t word, bool is_ipv6)
{
	uint8_t *ip = data + ETHERNET;

	/* What the TTL loses the checksum gains, in one's complement, which never comes to 0xFFFF. */
	if (is_ipv6)
		ip[7]--;
	else
		store32(ip + 8, word + 0xFFFF + (word >= 0xFFFE0000 ? 0x10000 : 0));
	store32(data, (uint32_t)a->destination_mac);
	store16(data + 4, load16((const uint8_t *)&a->destination_mac + 4));
}

ALWAYS uint32_t encapsulate(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, uint8_t id,
			    bool routed, bool is_ipv6)
{
	const uint32_t room = sizeof(a->header);
	uint8_t *data = in->data, *ip = data + ETHERNET;
	const uint32_t word = load32(ip + (is_ipv6 ? 4 : 8)), length = length_of(ip, is_ipv6), tos = tos_of(ip, is_ipv6);

	if (routed && UNLIKELY((is_ipv6 ? word >> 24 : word & 0xFF) <= 1))
		return APUS_DROP_TTL_EXPIRED;
	if (UNLIKELY(length > a->maximum))
		return APUS_DROP_MTU_EXCEEDED;
	if (LIKELY(in->headroom >= room)) {
		memcpy(data - room, a->header, sizeof(a->header));
	} else {
		if (in->headroom < a->header_length)
			return APUS_DROP_NO_HEADROOM;
		/* Exactly the header, of 42 bytes or 46. */
		memcpy(data - 32, a->header + room - 32, 32);
		memcpy(data - 40, a->header + room - 40, 8);
		memcpy(data - a->header_length, a->header + room - a->header_length, 8);
	}
	if (routed)
		route(a, data, word, is_ipv6);
	/* The last 28 bytes are IPv4 and GRE. */
	data[-27] = (uint8_t)tos;
	put16(data - 26, (uint16_t)(length + OVERHEAD));
	put16(data - 18, (uint16_t)~fold(a->header_sum + length + tos));
	data[-1] = id;
	out->length = ETHERNET + length + a->header_length;
	finish(a, in, out, data - a->header_length);
	return 0;
}

ALWAYS uint32_t deliver(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, bool routed, bool is_ipv6)
{
	if (routed) {
		const uint32_t word = load32(in->data + ETHERNET + (is_ipv6 ? 4 : 8));

		if (UNLIKELY((is_ipv6 ? word >> 24 : word & 0xFF) <= 1))
			return APUS_DROP_TTL_EXPIRED;
		route(a, in->data, word, is_ipv6);
	}
	out->length = in->length;
	finish(a, in, out, in->data);
	return 0;
}

ALWAYS void set_ecn(uint8_t *ip, uint8_t ecn, bool is_ipv6)
{
	const uint16_t old = be16(ip);

	if (is_ipv6) {
		put16(ip, (uint16_t)((old & 0xFFCF) | ecn << 4));
		return;
	}
	ip[1] = (ip[1] & 0xFC) | ecn;
	update_checksum(ip, old, be16(ip));
}

/* RFC 6040 figure 4 */
ALWAYS uint32_t decapsulate(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, bool is_ipv6)
{
	uint8_t *data = in->data + a->header_length, *inner = data + ETHERNET;
	const uint8_t *outer = data - OUTER_IP_GRE;
	const uint32_t outer_ecn = outer[1] & 3, inner_ecn = (is_ipv6 ? inner[1] >> 4 : inner[1]) & 3;

	if (UNLIKELY(outer_ecn != inner_ecn) && outer_ecn != 0) {
		if (outer_ecn == 3 && inner_ecn == 0)
			return APUS_DROP_ECN;
		if (outer_ecn == 3 || (outer_ecn == 1 && inner_ecn == 2))
			set_ecn(inner, (uint8_t)outer_ecn, is_ipv6);
	}
	out->length = be16(outer + 2) - OUTER_IP_GRE;
	finish(a, in, out, data);
	return 0;
}

/* The common ones first: each by itself, so that nothing is asked about a packet whose operation is known. */
ALWAYS uint32_t operate(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, uint8_t id)
{
	const uint32_t operation = a->operation;

	if (operation == OP_ENCAPSULATE)
		return encapsulate(a, in, out, id, false, false);
	if (operation == OP_DECAPSULATE)
		return decapsulate(a, in, out, false);
	if (operation & OP_ENCAPSULATE) {
		if (!(operation & OP_IPV6))
			return encapsulate(a, in, out, id, true, false);
		return operation & OP_ROUTED ? encapsulate(a, in, out, id, true, true) : encapsulate(a, in, out, id, false, true);
	}
	if (operation & OP_DECAPSULATE)
		return decapsulate(a, in, out, true);
	if (!(operation & OP_DELIVER))
		return a->reason;
	if (!(operation & OP_ROUTED))
		return deliver(a, in, out, false, false);
	return operation & OP_IPV6 ? deliver(a, in, out, true, true) : deliver(a, in, out, true, false);
}

#endif
