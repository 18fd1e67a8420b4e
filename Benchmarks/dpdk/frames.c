/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#define VSID 5001u

static const uint8_t machine_mac[6] = {0x02, 0x01, 10, 0, 0, 2};
static const uint8_t machine_address[4] = {10, 0, 0, 2};
static const uint8_t other_machine_mac[2] = {0x02, 0x01};
static const uint8_t host_mac[6] = {0x02, 0x02, 192, 168, 0, 1};
static const uint8_t host_address[4] = {192, 168, 0, 1};
static const uint8_t other_host_mac[2] = {0x02, 0x02};

static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

static uint32_t sum_of_header(const uint8_t *p)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += get16(p + i);
	return sum;
}

/* Ethernet and IPv4 around `length` bytes of the frame; what belongs to the other end stays zero. */
static void write_header(uint8_t *frame, bool back, const uint8_t mac[6], const uint8_t other_mac[2], const uint8_t address[4],
			 uint8_t protocol, uint32_t length)
{
	memcpy(frame + (back ? 0 : 6), mac, 6);
	memcpy(frame + (back ? 6 : 0), other_mac, 2);
	frames_put16(frame + 12, 0x0800);
	frame[14] = 0x45;
	frames_put16(frame + 16, length - 14);
	frames_put16(frame + 20, 0x4000);
	frame[22] = 64;
	frame[23] = protocol;
	memcpy(frame + (back ? 30 : 26), address, 4);
}

void frames_make(struct frames *f, enum side side, uint32_t flows, uint32_t records, uint32_t hosts, uint32_t length)
{
	uint8_t *inner;

	memset(f, 0, sizeof(*f));
	f->side = side;
	f->flows = flows;
	f->records = records;
	f->hosts = hosts;
	f->length = length;
	inner = f->head + (frames_are_outer(f) ? OUTER_SIZE : 0);
	write_header(inner, frames_are_back(f), machine_mac, other_machine_mac, machine_address, 17, length);
	frames_put16(inner + 38, length - 34);
	for (uint32_t i = 42; i < length; i++)
		inner[i] = (uint8_t)(i * 7);
	f->inner_sum = sum_of_header(inner + 14);
	if (frames_are_outer(f)) {
		write_header(f->head, frames_are_back(f), host_mac, other_host_mac, host_address, 47, length + OUTER_SIZE);
		frames_put32(f->head + 34, 0x20006558);
		frames_put32(f->head + 38, VSID << 8);
		f->outer_sum = sum_of_header(f->head + 14);
	}
}

/* The outer header of a frame without what its sender chooses; false if that is not what it may be. */
static bool take_choices(uint8_t *outer)
{
	const bool is_valid = frames_fold(sum_of_header(outer + 14)) == 0xFFFF && outer[22] != 0;

	outer[15] = 0;            /* type of service */
	frames_put16(outer + 18, 0); /* identification */
	frames_put16(outer + 20, get16(outer + 20) & 0xBFFF);
	outer[22] = 0;            /* TTL */
	frames_put16(outer + 24, 0); /* checksum */
	outer[41] = 0;            /* FlowID */
	return is_valid;
}

bool frames_has(const struct frames *f, const uint8_t *frame, uint32_t length)
{
	const uint32_t outer = frames_are_outer(f) ? OUTER_SIZE : 0;
	const uint8_t *inner = frame + outer;
	uint8_t expected[HEAD_SIZE], found[OUTER_SIZE];
	uint32_t flow;

	if (length != frames_length(f))
		return false;
	flow = (get16(inner + 36) - 0x2000u) << 15 | (get16(inner + 34) & 0x7FFF);
	if (flow >= f->flows)
		return false;
	frames_write(f, f->side, flow, expected);
	if (outer) {
		memcpy(found, frame, OUTER_SIZE);
		if (!take_choices(found) || !take_choices(expected) || memcmp(found, expected, OUTER_SIZE) != 0)
			return false;
	}
	/* The first 64 bytes of the customer's frame have been written anew, the rest is alike in all. */
	return memcmp(inner, expected + outer, FRAME_LEAST) == 0 &&
	       memcmp(inner + FRAME_LEAST, f->head + outer + FRAME_LEAST, f->length - FRAME_LEAST) == 0;
}
