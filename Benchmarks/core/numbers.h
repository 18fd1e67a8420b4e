/* SPDX-License-Identifier: Apache-2.0 */
/* Medians of samples, and pseudo-random numbers. */
#ifndef BENCH_NUMBERS_H
#define BENCH_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* The samples are sorted in place. */
double numbers_median(double *samples, size_t count);
/* The same for any rank: 0 = least, 1 = greatest. */
double numbers_rank(double *samples, size_t count, double rank);

/* The mean of the samples below a limit. */
double numbers_mean_below(const double *samples, size_t count, double limit);

static inline uint64_t mix64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

/* splitmix64 */
static inline uint64_t random64(uint64_t *state) { return mix64(*state += 0x9E3779B97F4A7C15u); }

/* 0 ..< n, n at most 2^32 */
static inline uint64_t random_below(uint64_t *state, uint64_t n) { return (random64(state) >> 32) * n >> 32; }

static inline double random_unit(uint64_t *state) { return (double)(random64(state) >> 11) * 0x1p-53; }

/* Zipf's distribution over 0 ..< n by rejection (Hormann and Derflinger 1996): no tables, so nothing in the caches. */
struct zipf {
	double exponent, first, last, threshold;
	uint64_t n;
};

struct zipf zipf_make(uint64_t n, double exponent);
uint64_t zipf_draw(const struct zipf *zipf, uint64_t *state);

#endif
