/* SPDX-License-Identifier: Apache-2.0 */
/* The frames of the end-to-end benchmark: whoever checks them takes each that is right, and none with a wrong byte. */
#include <stdio.h>
#include <stdlib.h>

#include "frames.h"

static unsigned int passed, failed;

static void expect(bool is_true, const char *what, enum side side, uint32_t flow, uint32_t byte)
{
	if (is_true) {
		passed++;
		return;
	}
	failed++;
	fprintf(stderr, "side %d, flow %u, byte %u: %s\n", side, flow, byte, what);
}

/* The frame of a flow, all of it, `length` bytes on the heap, so that nobody reads beyond it. */
static uint8_t *make(const struct frames *f, uint32_t flow)
{
	uint8_t *frame = malloc(sizeof(f->head));

	if (frame == NULL)
		abort();
	memcpy(frame, f->head, frames_length(f));
	frames_write(f, f->side, flow, frame);
	return realloc(frame, frames_length(f) < HEAD_SIZE ? HEAD_SIZE : frames_length(f));
}

static uint32_t sum_of_header(const uint8_t *p)
{
	uint32_t sum = 0;

	for (int i = 0; i < 20; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return frames_fold(sum);
}

static void check_every_byte(const struct frames *f, uint32_t flow)
{
	const uint32_t outer = frames_are_outer(f) ? OUTER_SIZE : 0;
	uint8_t *frame = make(f, flow);

	for (uint32_t byte = 0; byte < frames_length(f); byte++) {
		/* The lower byte of the GRE key is the sender's FlowID. */
		const bool is_free = frames_are_outer(f) && byte == 41;

		/* Other UDP ports may be another flow's. */
		if (byte - outer >= 34 && byte - outer < 38)
			continue;
		frame[byte] ^= 0x10;
		expect(frames_has(f, frame, frames_length(f)) == is_free, "a wrong byte", f->side, flow, byte);
		frame[byte] ^= 0x10;
	}
	expect(!frames_has(f, frame, frames_length(f) - 1), "too short", f->side, flow, 0);
	free(frame);
}

/* What a sender may choose in the outer header, with a checksum that is right. */
static void check_choices(const struct frames *f, uint32_t flow)
{
	static const struct {
		uint32_t byte;
		uint8_t bits;
		bool is_free;
	} cases[] = {{15, 0xB8, true}, {18, 0x55, true}, {19, 0x55, true}, {20, 0x40, true}, {22, 0x20, true},
		     {20, 0x20, false}, {21, 0x01, false}, {17, 0x01, false}, {23, 0x01, false}, {29, 0x01, false}, {33, 0x01, false}};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *frame = make(f, flow);

		frame[cases[i].byte] ^= cases[i].bits;
		frames_put16(frame + 24, 0);
		frames_put16(frame + 24, ~sum_of_header(frame + 14));
		expect(frames_has(f, frame, frames_length(f)) == cases[i].is_free, "a sender's choice", f->side, flow, cases[i].byte);
		free(frame);
	}
}

int main(void)
{
	static const struct {
		uint32_t flows, records, hosts, length;
	} sets[] = {{1, 1, 1, 64}, {1024, 1, 1, 64}, {65536, 65536, 64, 64}, {1 << 20, 1, 1, 64}, {1 << 20, 1 << 17, 256, 1514}};
	static struct frames f, smaller;

	for (unsigned int i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		for (enum side side = INNER; side <= OUTER_BACK; side++) {
			frames_make(&f, side, sets[i].flows, sets[i].records, sets[i].hosts, sets[i].length);
			for (uint32_t n = 0; n < 1000; n++) {
				const uint32_t flow = n * 2654435761u & (sets[i].flows - 1);
				uint8_t *frame = make(&f, flow), *inner = frame + (frames_are_outer(&f) ? OUTER_SIZE : 0);

				expect(frames_has(&f, frame, frames_length(&f)), "its own frame", side, flow, 0);
				expect(sum_of_header(inner + 14) == 0xFFFF, "inner checksum", side, flow, 0);
				free(frame);
			}
			check_every_byte(&f, sets[i].flows - 1);
			if (frames_are_outer(&f))
				check_choices(&f, sets[i].flows - 1);
		}
	}
	/* Another set's flow. */
	frames_make(&f, INNER, 1024, 1, 1, 64);
	frames_make(&smaller, INNER, 512, 1, 1, 64);
	for (uint32_t flow = 0; flow < 1024; flow++) {
		uint8_t *frame = make(&f, flow);

		expect(frames_has(&smaller, frame, 64) == (flow < 512), "a flow of another set", INNER, flow, 0);
		free(frame);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
