/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of the end-to-end benchmark: one virtual machine of this host talks to machines of other hosts, over UDP
 * in IPv4. What a frame is follows from the number of its flow alone, so that whoever gets one at the other end
 * can say which it must be, byte for byte. harness/policy.py makes the policies for this world; a difference between the two
 * shows as frames that are not as they must be.
 *
 *   this host 192.168.0.1, MAC 02:02:c0:a8:00:01        other hosts 192.168.1.0 + h, h = r mod hosts
 *   its machine 10.0.0.2, MAC 02:01:0a:00:00:02         their machines 10.64.0.0 + r, r = f mod records
 *   virtual subnet 5001                                 UDP ports tell the flows f of one machine apart
 */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define OUTER_SIZE 42u
#define FRAME_LEAST 64u
#define FRAME_MOST 1514u
#define HEAD_SIZE 128u /* what is written anew for each frame: all headers */

enum side {
	INNER,       /* from the machine to others, as it sends */
	INNER_BACK,  /* from others to the machine, as it receives */
	OUTER,       /* INNER with this host's outer header */
	OUTER_BACK,  /* INNER_BACK with another host's outer header */
};

/* A set of flows on one side. */
struct frames {
	enum side side;
	uint32_t flows, records, hosts; /* powers of two; flows >= records >= hosts */
	uint32_t length;                /* of the customer's frame, without FCS */
	uint32_t inner_sum, outer_sum;  /* of the headers' words that are alike in all frames */
	_Alignas(64) uint8_t head[OUTER_SIZE + FRAME_MOST]; /* a frame, its own fields zero */
};

static inline bool frames_are_outer(const struct frames *f) { return f->side >= OUTER; }
static inline bool frames_are_back(const struct frames *f) { return f->side & 1; }
static inline uint32_t frames_length(const struct frames *f)
{
	return f->length + (frames_are_outer(f) ? OUTER_SIZE : 0);
}

/* flows, records and hosts are powers of two. */
void frames_make(struct frames *f, enum side side, uint32_t flows, uint32_t records, uint32_t hosts, uint32_t length);

/*
 * Whether it is a frame that this set has, in every byte that is not the sender's choice: of the outer header these are type
 * of service, identification, DF, TTL and FlowID.
 */
bool frames_has(const struct frames *f, const uint8_t *frame, uint32_t length);

static inline void frames_put16(uint8_t *p, uint32_t value)
{
	const uint16_t v = __builtin_bswap16((uint16_t)value);

	memcpy(p, &v, sizeof(v));
}

static inline void frames_put32(uint8_t *p, uint32_t value)
{
	const uint32_t v = __builtin_bswap32(value);

	memcpy(p, &v, sizeof(v));
}

static inline uint32_t frames_fold(uint32_t sum)
{
	sum = (sum & 0xFFFF) + (sum >> 16);
	return (sum & 0xFFFF) + (sum >> 16);
}

/*
 * Write the first bytes of the frame of a flow, HEAD_SIZE at most; what follows them is alike in all frames. `side` is that
 * of the set; a constant saves the branches.
 */
static inline __attribute__((always_inline)) void frames_write(const struct frames *f, enum side side, uint32_t flow, uint8_t *to)
{
	const uint32_t record = flow & (f->records - 1);
	const uint32_t machine = 0x0A400000u + record;
	const bool back = side & 1, outer = side >= OUTER;
	uint8_t *inner = outer ? to + OUTER_SIZE : to;

	memcpy(to, f->head, outer ? HEAD_SIZE : FRAME_LEAST);
	frames_put32(inner + (back ? 8 : 2), machine);
	frames_put32(inner + (back ? 26 : 30), machine);
	frames_put16(inner + 24, ~frames_fold(f->inner_sum + (machine >> 16) + (machine & 0xFFFF)));
	frames_put32(inner + 34, (0x8000u | (flow & 0x7FFF)) << 16 | (0x2000u + (flow >> 15)));
	if (outer) {
		const uint32_t host = 0xC0A80100u + (record & (f->hosts - 1));

		frames_put32(to + (back ? 8 : 2), host);
		frames_put32(to + (back ? 26 : 30), host);
		frames_put16(to + 24, ~frames_fold(f->outer_sum + (host >> 16) + (host & 0xFFFF)));
		to[41] = (uint8_t)(flow * 0x9E3779B1u >> 24);
	}
}

#endif
