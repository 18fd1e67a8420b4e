/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as a host with huge pages would give it: large pieces are mapped, aligned to 2 MiB, and marked for huge pages. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stdbool.h>

#include <apus/apus.h>

/* For the library, for the reference and for packets alike. */
struct apus_allocator memory_allocator(bool small_pages);

/* Bytes that are allocated now, as asked for. */
uint64_t memory_held(void);

/* Whether the system gave any of the huge pages that it was asked for. */
bool memory_has_huge_pages(void);

/* Zeroed; ends the process when there is none. Never released. */
void *memory_take(size_t size, bool small_pages);

#endif
