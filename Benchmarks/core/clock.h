/* SPDX-License-Identifier: Apache-2.0 */
/* Cycles of the time stamp counter, and nanoseconds. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

/* What came before has been executed. */
static inline uint64_t clock_start(void)
{
	uint64_t t;

	_mm_lfence();
	t = __rdtsc();
	_mm_lfence();
	return t;
}

static inline uint64_t clock_stop(void)
{
	unsigned int cpu;
	uint64_t t = __rdtscp(&cpu);

	_mm_lfence();
	return t;
}

static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Cycles between a start and a stop with nothing between them. */
double clock_overhead(void);
/* Cycles of the time stamp counter per second. */
double clock_hertz(void);

void clock_sleep(double seconds);

/* Bind the calling thread; -1 = do not. False: there is no such CPU. */
int clock_bind(int cpu);

#endif
