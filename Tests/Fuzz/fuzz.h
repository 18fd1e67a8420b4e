/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share: reading the input, the host's packet buffers, the invariants. A broken invariant aborts:
 * to the fuzzer that is a crash.
 */
#ifndef APUS_FUZZ_H
#define APUS_FUZZ_H

#include <apus/apus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                            \
	do {                                                                        \
		if (!(condition)) {                                                 \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                    \
		}                                                                   \
	} while (0)

/* ---- input ------------------------------------------------------------ */

struct input {
	const uint8_t *bytes;
	size_t left;
};

/* Bytes behind the end are zero. */
static inline uint8_t take8(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->bytes++;
}

static inline uint16_t take16(struct input *in)
{
	uint16_t high = take8(in);

	return (uint16_t)(high << 8 | take8(in));
}

static inline uint32_t take32(struct input *in)
{
	uint32_t high = take16(in);

	return high << 16 | take16(in);
}

static inline size_t take_bytes(struct input *in, uint8_t *to, size_t count)
{
	size_t taken = count < in->left ? count : in->left;

	memcpy(to, in->bytes, taken);
	in->bytes += taken;
	in->left -= taken;
	return taken;
}

/* ---- buffers ------------------------------------------------------------ */

/*
 * Each frame in a heap block of exactly its size, so that the address sanitizer sees one byte too many at either end.
 * The block's address is the frame's `buffer`; `outside` tells one that comes back twice, or was never given.
 */
#define BUFFERS_MAX 8192

struct buffers {
	uint8_t *outside[BUFFERS_MAX];
	unsigned int count;
	int is_short; /* allocate() has none */
};

static inline uint8_t *buffer_new(struct buffers *buffers, size_t size)
{
	uint8_t *block = (uint8_t *)malloc(size ? size : 1);

	CHECK(block != NULL && buffers->count < BUFFERS_MAX);
	memset(block, 0xAA, size);
	buffers->outside[buffers->count++] = block;
	return block;
}

static inline void buffer_free(struct buffers *buffers, void *block)
{
	for (unsigned int i = buffers->count; i-- > 0;) {
		if (buffers->outside[i] == block) {
			buffers->outside[i] = buffers->outside[--buffers->count];
			free(block);
			return;
		}
	}
	CHECK(!"a buffer came back that was not outside");
}

static inline int buffers_allocate(void *context, uint32_t capacity, struct apus_frame *frame)
{
	struct buffers *buffers = (struct buffers *)context;

	CHECK(capacity > 0 && capacity <= 65535);
	if (buffers->is_short)
		return 1;
	uint8_t *block = buffer_new(buffers, APUS_HEADROOM + capacity);

	frame->data = block + APUS_HEADROOM;
	frame->buffer = block;
	frame->contiguous = (uint16_t)capacity;
	frame->headroom = APUS_HEADROOM;
	return 0;
}

static inline void buffers_release(void *context, void *const *list, uint32_t count)
{
	CHECK(count > 0);
	for (uint32_t i = 0; i < count; i++)
		buffer_free((struct buffers *)context, list[i]);
}

/* A frame with `length` bytes from the input (zeros behind its end), of which `cut` or more are contiguous. */
static inline struct apus_frame frame_new(struct buffers *buffers, struct input *in, uint32_t port, uint32_t length,
					  uint16_t headroom)
{
	struct apus_frame frame;
	uint8_t *block = buffer_new(buffers, (size_t)headroom + length);

	memset(&frame, 0, sizeof(frame));
	frame.data = block + headroom;
	frame.buffer = block;
	memset(frame.data, 0, length);
	take_bytes(in, frame.data, length);
	frame.length = length;
	frame.contiguous = (uint16_t)length;
	frame.headroom = headroom;
	frame.port = port;
	return frame;
}

/* ---- invariants ------------------------------------------------------------ */

static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

/* stats.h: received + generated = transmitted + consumed + dropped + held; and what is held is outside. */
static inline void check_accounts(struct apus_dataplane *dataplane, const struct buffers *buffers)
{
	struct apus_stats stats;
	uint64_t drops = 0;

	APUS_INIT(&stats);
	CHECK(apus_stats_get(dataplane, &stats) == 0);
	for (unsigned int i = 0; i < APUS_DROP_REASON_COUNT; i++) {
		CHECK(stats.drops[i] == 0 || *apus_drop_reason_name(i) != 0);
		drops += stats.drops[i];
	}
	CHECK(stats.dropped == drops);
	CHECK(stats.received + stats.generated == stats.transmitted + stats.consumed + drops + stats.held);
	CHECK(stats.held == buffers->count);
}

/* An output frame is inside its block, and what the library wrote in it is right. */
static inline void check_output(const struct apus_frame *frame)
{
	const uint8_t *block = (const uint8_t *)frame->buffer, *data = frame->data;

	CHECK(data != NULL && block != NULL);
	CHECK(frame->length >= 14 && frame->length <= APUS_FRAME_MAX);
	CHECK(data - frame->headroom == block);
	CHECK((frame->flags & ~(uint32_t)(APUS_FRAME_ENCAPSULATED | APUS_FRAME_GENERATED)) == 0);
	if (frame->flags & APUS_FRAME_ENCAPSULATED) {
		const size_t link = get16(data + 12) == 0x8100 ? 18 : 14;
		const uint8_t *ip = data + link;
		const int is_ipv6 = get16(ip - 2) == 0x86dd;
		const size_t ip_length = is_ipv6 ? 40 : 20;
		const uint8_t *tunnel = ip + ip_length;
		const uint8_t proto = is_ipv6 ? ip[6] : ip[9];

		CHECK(frame->length >= link + ip_length + 8 + 14);
		if (is_ipv6) {
			CHECK(ip[0] >> 4 == 6 && get16(ip + 4) == frame->length - link - 40);
		} else {
			uint32_t sum = 0;

			CHECK(get16(ip - 2) == 0x0800 && ip[0] == 0x45 && get16(ip + 2) == frame->length - link);
			for (unsigned int i = 0; i < 20; i += 2)
				sum += get16(ip + i);
			CHECK((sum & 0xffff) + (sum >> 16) == 0xffff);
		}
		if (proto == 17) {
			CHECK(get16(tunnel + 2) == 4789 && get16(tunnel + 4) == frame->length - link - ip_length);
			CHECK(get16(tunnel + 6) == 0 && tunnel[8] == 0x08 && tunnel[15] == 0);
		} else {
			CHECK(proto == 47 && get16(tunnel) == 0x2000 && get16(tunnel + 2) == 0x6558);
		}
		CHECK((data[0] & 1) == 0 && (data[6] & 1) == 0);
		/* the inner frame: untagged, nothing behind an IP packet */
		const uint8_t *inner = tunnel + (proto == 17 ? 16 : 8);
		const size_t left = frame->length - (size_t)(inner - data) - 14;
		const uint16_t type = get16(inner + 12);

		CHECK(type != 0x8100 && type != 0x88a8);
		CHECK(type != 0x0800 || (inner[14] >> 4 == 4 && get16(inner + 16) == left));
		CHECK(type != 0x86dd || (inner[14] >> 4 == 6 && get16(inner + 18) + 40u == left));
	}
}

#endif /* APUS_FUZZ_H */
