/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <sched.h>

#include "clock.h"
#include "numbers.h"

#define TRIES 1001

double clock_overhead(void)
{
	static double tries[TRIES];

	for (int i = 0; i < TRIES; i++) {
		uint64_t start = clock_start();

		tries[i] = (double)(clock_stop() - start);
	}
	return numbers_median(tries, TRIES);
}

double clock_hertz(void)
{
	static double known;

	if (known == 0) {
		uint64_t ns = clock_ns(), start = __rdtsc();

		while (clock_ns() - ns < 20000000)
			;
		known = (double)(__rdtsc() - start) / (double)(clock_ns() - ns) * 1e9;
	}
	return known;
}

void clock_sleep(double seconds)
{
	struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

int clock_bind(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 1;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0;
}
