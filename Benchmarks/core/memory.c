/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory.h"
#include "must.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define LARGE ((size_t)1 << 20)

static uint64_t held;

static size_t rounded(size_t size) { return (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1); }

/* Map more than is needed and give back the ends. */
static void *map(size_t size, bool huge)
{
	const size_t length = rounded(size);
	char *all = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *start;

	if (all == MAP_FAILED)
		return NULL;
	start = (char *)(((uintptr_t)all + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
	if (start != all)
		munmap(all, (size_t)(start - all));
	if (all + HUGE_PAGE != start)
		munmap(start + length, (size_t)(all + HUGE_PAGE - start));
	if (huge)
		madvise(start, length, MADV_HUGEPAGE);
	return start;
}

static void *allocate(void *context, size_t size, size_t alignment)
{
	void *memory = NULL;

	if (size >= LARGE)
		memory = map(size, context == NULL);
	else if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size) != 0)
		memory = NULL;
	if (memory != NULL)
		__atomic_add_fetch(&held, size, __ATOMIC_RELAXED);
	return memory;
}

static void release(void *context, void *memory, size_t size)
{
	(void)context;
	__atomic_sub_fetch(&held, size, __ATOMIC_RELAXED);
	if (size >= LARGE)
		munmap(memory, rounded(size));
	else
		free(memory);
}

struct apus_allocator memory_allocator(bool small_pages)
{
	static char mark;

	return (struct apus_allocator){allocate, release, small_pages ? &mark : NULL};
}

uint64_t memory_held(void) { return __atomic_load_n(&held, __ATOMIC_RELAXED); }

bool memory_has_huge_pages(void)
{
	FILE *map = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kilobytes = 0;
	char line[128];

	/* Who does not say is believed. */
	if (map == NULL)
		return true;
	while (fgets(line, sizeof(line), map) != NULL)
		if (sscanf(line, "AnonHugePages: %lu", &kilobytes) == 1)
			break;
	fclose(map);
	return kilobytes != 0;
}

void *memory_take(size_t size, bool small_pages)
{
	void *memory = map(size, !small_pages);

	if (memory == NULL)
		fail("no memory for %zu bytes", size);
	memset(memory, 0, size);
	return memory;
}
