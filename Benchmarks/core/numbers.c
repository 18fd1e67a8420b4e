/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "numbers.h"

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double numbers_rank(double *samples, size_t count, double rank)
{
	qsort(samples, count, sizeof(*samples), compare);
	return samples[(size_t)(rank * (double)(count - 1) + 0.5)];
}

double numbers_median(double *samples, size_t count) { return numbers_rank(samples, count, 0.5); }

double numbers_mean_below(const double *samples, size_t count, double limit)
{
	double sum = 0;
	size_t taken = 0;

	for (size_t i = 0; i < count; i++)
		if (samples[i] < limit)
			sum += samples[i], taken++;
	return sum / (double)taken;
}

/* The integral of x^-s and its inverse. */
static double integral(double x, double s) { return s == 1 ? log(x) : (pow(x, 1 - s) - 1) / (1 - s); }
static double inverse(double y, double s) { return s == 1 ? exp(y) : pow(1 + y * (1 - s), 1 / (1 - s)); }

struct zipf zipf_make(uint64_t n, double s)
{
	struct zipf z = {s, integral(1.5, s) - 1, integral((double)n + 0.5, s), 0, n};

	z.threshold = 2 - inverse(integral(2.5, s) - pow(2, -s), s);
	return z;
}

uint64_t zipf_draw(const struct zipf *z, uint64_t *state)
{
	for (;;) {
		const double u = z->last + random_unit(state) * (z->first - z->last), x = inverse(u, z->exponent);
		double k = floor(x + 0.5);

		if (k < 1)
			k = 1;
		if (k > (double)z->n)
			k = (double)z->n;
		if (k - x <= z->threshold || u >= integral(k + 0.5, z->exponent) - pow(k, -z->exponent))
			return (uint64_t)k - 1;
	}
}
