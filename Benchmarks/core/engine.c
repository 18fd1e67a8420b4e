/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "traffic.h"

uint64_t engine_capacity(const struct options *o, uint64_t flows)
{
	uint64_t capacity = 64;

	if (o->flow_capacity != 0)
		return o->flow_capacity;
	while (capacity < 2 * flows && capacity < 16777216)
		capacity *= 2;
	return capacity;
}

__attribute__((noinline)) int bench_measured(const struct engine *e, struct apus_frame *in, uint32_t n, struct apus_frame *out, uint64_t now)
{
	int made = e->process(e->worker, in, n, out, n + OUTPUT_EXTRA, now);

	__asm__ volatile("" : "+r"(made)); /* no tail call: the watched function ends here */
	return made;
}
