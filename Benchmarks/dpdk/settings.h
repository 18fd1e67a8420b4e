/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both programs here are told about frames, as KEY=VALUE,...
 *
 *   receive=SIDE, send=SIDE   inner, inner-back, outer, outer-back (frames.h)
 *   flows=N records=N hosts=N powers of two
 *   frame=N                   bytes of the customer's frame, without FCS
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "frames.h"

#define RING_MOST 16384u

struct settings {
	uint32_t flows, records, hosts, frame;
	int receive, send; /* enum side, or -1 */
	uint32_t ring;
	char counters[512];
};

/* 0, or a negative errno. */
int settings_read(const char *text, struct settings *s);

static inline void settings_frames(const struct settings *s, int side, struct frames *out)
{
	frames_make(out, (enum side)side, s->flows, s->records, s->hosts, s->frame);
}

#endif
