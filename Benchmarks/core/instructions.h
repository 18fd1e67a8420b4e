/* SPDX-License-Identifier: Apache-2.0 */
/* The processor's counter of instructions in user mode, where the system lets a program have it. */
#ifndef BENCH_INSTRUCTIONS_H
#define BENCH_INSTRUCTIONS_H

#include <stdint.h>

/* NULL, or why there is no such counter. */
const char *instructions_open(void);
void instructions_resume(void);
void instructions_pause(void);
uint64_t instructions_read(void);

#endif
