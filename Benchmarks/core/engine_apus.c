/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"
#include "must.h"

static int process(void *worker, struct apus_frame *in, uint32_t n_in, struct apus_frame *out, uint32_t capacity, uint64_t now)
{
	return apus_worker_process(worker, in, n_in, out, capacity, now);
}

static void stats(void *worker, struct apus_stats *out)
{
	APUS_INIT(out);
	MUST(apus_worker_stats_get(worker, out));
}

static void close_worker(void *worker) { MUST(apus_worker_destroy(worker)); }

/* The buffers stay in their ring. */
static void release(void *context, void *const *buffers, uint32_t count) { (void)context, (void)buffers, (void)count; }

struct engine engine_apus(const struct world *w, uint64_t flow_capacity)
{
	struct apus_worker_opts opts;
	struct apus_worker *worker;

	APUS_INIT(&opts);
	opts.buffers.release = release;
	opts.flow_capacity = (uint32_t)flow_capacity;
	MUST(apus_worker_create(w->dataplane, &opts, &worker));
	return (struct engine){"apus", worker, process, stats, close_worker};
}
