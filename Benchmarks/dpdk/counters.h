/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device counts lies in a file that it maps, so that the benchmark reads all contenders alike and without asking
 * them. harness/counters.py reads and writes this.
 */
#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdint.h>

#define QUEUES_MOST 8

struct counters {
	uint64_t tsc_hertz;
	uint64_t thread;   /* the system's number of the thread that receives, or that sends if nothing is received */
	uint64_t is_checking; /* written by the benchmark: look at every byte of what is sent */
	uint64_t reserved[5];
	/* One line for each queue: one thread writes it. */
	struct {
		uint64_t packets, no_buffer;
		uint64_t reserved[6];
	} received[QUEUES_MOST];
	struct {
		uint64_t packets, bytes;
		uint64_t wrong_length, checked, wrong;
		uint64_t reserved[3];
	} sent[QUEUES_MOST];
};

#endif
