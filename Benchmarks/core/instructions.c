/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "instructions.h"

static int counter = -1;

const char *instructions_open(void)
{
	struct perf_event_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = PERF_TYPE_HARDWARE;
	attr.config = PERF_COUNT_HW_INSTRUCTIONS;
	attr.disabled = 1;
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	counter = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	return counter >= 0 ? NULL : strerror(errno);
}

void instructions_resume(void) { ioctl(counter, PERF_EVENT_IOC_ENABLE, 0); }
void instructions_pause(void) { ioctl(counter, PERF_EVENT_IOC_DISABLE, 0); }

uint64_t instructions_read(void)
{
	uint64_t value = 0;

	return read(counter, &value, sizeof(value)) == sizeof(value) ? value : 0;
}
