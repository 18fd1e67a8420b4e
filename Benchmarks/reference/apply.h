/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to each packet of a flow. A function that returns a reason has changed nothing; 0 = done. */
#ifndef REFERENCE_APPLY_H
#define REFERENCE_APPLY_H

#include "packet.h"
#include "reference.h"

ALWAYS void push(struct apus_frame *f, uint32_t count)
{
	uint32_t room = 0xFFFFu - f->contiguous;

	f->data -= count;
	f->length += count;
	f->headroom = (uint16_t)(f->headroom - count);
	f->contiguous = (uint16_t)(f->contiguous + (count < room ? count : room));
}

ALWAYS void pop(struct apus_frame *f, uint32_t count)
{
	uint32_t room = 0xFFFFu - f->headroom;

	f->data += count;
	f->length -= count;
	f->contiguous = (uint16_t)(f->contiguous - count);
	f->headroom = (uint16_t)(f->headroom + (count < room ? count : room));
}

ALWAYS void route(const struct reference_action *a, uint8_t *data)
{
	uint8_t *ip = data + ETHERNET;

	if (a->is_ipv6) {
		ip[7]--;
	} else {
		uint16_t old = be16(ip + 8);

		ip[8]--;
		update_checksum(ip, old, (uint16_t)(old - 0x0100));
	}
	store32(data, (uint32_t)a->destination_mac);
	store16(data + 4, (uint16_t)(a->destination_mac >> 32));
}

ALWAYS uint32_t encapsulate(const struct reference_action *a, struct apus_frame *f, uint8_t id)
{
	const bool is_ipv6 = a->is_ipv6;
	uint8_t *data = f->data;
	const uint8_t *ip = data + ETHERNET;
	const uint32_t length = length_of(ip, is_ipv6), room = sizeof(a->header);
	const uint8_t tos = tos_of(ip, is_ipv6);

	if (a->routed && ttl_of(ip, is_ipv6) <= 1)
		return APUS_DROP_TTL_EXPIRED;
	if (length > a->maximum)
		return APUS_DROP_MTU_EXCEEDED;
	if (UNLIKELY(f->headroom < room && f->headroom < a->header_length))
		return APUS_DROP_NO_HEADROOM;
	if (a->routed)
		route(a, data);
	if (LIKELY(f->headroom >= room))
		memcpy(data - room, a->header, sizeof(a->header));
	else
		memcpy(data - a->header_length, a->header + room - a->header_length, a->header_length);
	/* The last 28 bytes are IPv4 and GRE. */
	data[-27] = tos;
	put16(data - 26, (uint16_t)(length + OVERHEAD));
	put16(data - 18, (uint16_t)~fold(a->header_sum + length + tos));
	data[-1] = id;
	f->length = ETHERNET + length;
	push(f, a->header_length);
	f->flags = APUS_FRAME_ENCAPSULATED;
	f->port = a->egress;
	return 0;
}

ALWAYS uint32_t deliver(const struct reference_action *a, struct apus_frame *f)
{
	if (a->routed) {
		if (ttl_of(f->data + ETHERNET, a->is_ipv6) <= 1)
			return APUS_DROP_TTL_EXPIRED;
		route(a, f->data);
	}
	f->flags = 0;
	f->port = a->egress;
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
ALWAYS uint32_t decapsulate(const struct reference_action *a, struct apus_frame *f)
{
	const bool is_ipv6 = a->is_ipv6;
	const uint32_t offset = a->header_length;
	const uint8_t *outer = f->data + offset - OUTER_IP_GRE;
	uint8_t *inner = f->data + offset + ETHERNET;
	const uint32_t length = be16(outer + 2) - OUTER_IP_GRE;
	const uint8_t outer_ecn = outer[1] & 3, inner_ecn = tos_of(inner, is_ipv6) & 3;

	if (UNLIKELY(outer_ecn != inner_ecn && outer_ecn != 0)) {
		uint8_t ecn = inner_ecn;

		if (outer_ecn == 3) {
			if (inner_ecn == 0)
				return APUS_DROP_ECN;
			ecn = 3;
		} else if (outer_ecn == 1 && inner_ecn == 2) {
			ecn = 1;
		}
		set_ecn(inner, ecn, is_ipv6);
	}
	pop(f, offset);
	f->length = length;
	f->flags = 0;
	f->port = a->egress;
	return 0;
}

#endif
