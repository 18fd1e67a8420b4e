/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to each packet of a flow. A function that returns a reason has changed nothing; 0 = done. */
#ifndef REFERENCE_APPLY_H
#define REFERENCE_APPLY_H

#include "packet.h"
#include "reference.h"

/* kind, routed, is_ipv6 */
#define OPERATION(kind, routed, is_ipv6) ((uint32_t)(kind) << 2 | (uint32_t)(routed) << 1 | (uint32_t)(is_ipv6))

/* Numbers of packets, 16 bits each. */
#define COUNT_ENCAPSULATED 0
#define COUNT_DECAPSULATED 16
#define COUNT_SWITCHED 32
#define COUNT_ROUTED 48

/* `contiguous`, and `headroom` above it, which move together. */
ALWAYS uint32_t space_of(const struct apus_frame *f) { return f->contiguous | (uint32_t)f->headroom << 16; }

/* The frame that leaves is put together where it is given to the host: no field is read that was just written. */
ALWAYS void finish(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, uint8_t *data,
		   uint32_t length, uint32_t space)
{
	uint8_t *const bytes = (uint8_t *)out;

	out->data = data;
	out->buffer = in->buffer;
	out->length = length;
	store32(bytes + offsetof(struct apus_frame, contiguous), space);
	/* `flags` too. */
	memcpy(bytes + offsetof(struct apus_frame, port), (const uint8_t *)a + offsetof(struct reference_action, egress), 8);
}

/* What does not fit the fields is forgotten. */
ALWAYS uint32_t pushed(uint32_t space, uint32_t change)
{
	const uint32_t result = space + change;

	return LIKELY((uint16_t)result >= (uint16_t)space) ? result : (result | 0xFFFF) - 0x10000;
}

ALWAYS uint32_t popped(uint32_t space, uint32_t change)
{
	uint32_t result;

	return LIKELY(!__builtin_add_overflow(space, change, &result)) ? result : result | 0xFFFF0000;
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
	const uint32_t room = sizeof(a->header), space = space_of(in);
	uint8_t *data = in->data, *ip = data + ETHERNET;
	const uint32_t word = load32(ip + (is_ipv6 ? 4 : 8)), length = length_of(ip, is_ipv6), tos = tos_of(ip, is_ipv6);

	if (routed && UNLIKELY((is_ipv6 ? word >> 24 : word & 0xFF) <= 1))
		return APUS_DROP_TTL_EXPIRED;
	if (UNLIKELY(length > a->maximum))
		return APUS_DROP_MTU_EXCEEDED;
	if (LIKELY(space >= room << 16)) {
		memcpy(data - room, a->header, sizeof(a->header));
	} else {
		if (space >> 16 < a->header_length)
			return APUS_DROP_NO_HEADROOM;
		memcpy(data - a->header_length, a->header + room - a->header_length, a->header_length);
	}
	if (routed)
		route(a, data, word, is_ipv6);
	/* The last 28 bytes are IPv4 and GRE. */
	data[-27] = (uint8_t)tos;
	put16(data - 26, (uint16_t)(length + OVERHEAD));
	put16(data - 18, (uint16_t)~fold(a->header_sum + length + tos));
	data[-1] = id;
	finish(a, in, out, data - a->header_length, ETHERNET + length + a->header_length, pushed(space, a->space));
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
	finish(a, in, out, in->data, in->length, space_of(in));
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
	finish(a, in, out, data, be16(outer + 2) - OUTER_IP_GRE, popped(space_of(in), a->space));
	return 0;
}

/* The common ones first: each by itself, so that nothing is asked about a packet whose operation is known. */
ALWAYS uint32_t operate(const struct reference_action *a, const struct apus_frame *in, struct apus_frame *out, uint8_t id)
{
	const uint32_t operation = a->operation;

	if (operation == OPERATION(REFERENCE_ENCAPSULATE, 0, 0))
		return encapsulate(a, in, out, id, false, false);
	if (operation == OPERATION(REFERENCE_DECAPSULATE, 0, 0))
		return decapsulate(a, in, out, false);
	if (operation < OPERATION(REFERENCE_ENCAPSULATE, 0, 0)) {
		if (operation == OPERATION(REFERENCE_DELIVER, 1, 0))
			return deliver(a, in, out, true, false);
		if (operation == OPERATION(REFERENCE_DELIVER, 1, 1))
			return deliver(a, in, out, true, true);
		return operation >= OPERATION(REFERENCE_DELIVER, 0, 0) ? deliver(a, in, out, false, false) : a->reason;
	}
	if (operation == OPERATION(REFERENCE_DECAPSULATE, 0, 1))
		return decapsulate(a, in, out, true);
	if (operation == OPERATION(REFERENCE_ENCAPSULATE, 1, 0))
		return encapsulate(a, in, out, id, true, false);
	return operation == OPERATION(REFERENCE_ENCAPSULATE, 0, 1) ? encapsulate(a, in, out, id, false, true)
								   : encapsulate(a, in, out, id, true, true);
}

#endif
