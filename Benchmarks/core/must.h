/* SPDX-License-Identifier: Apache-2.0 */
/* A benchmark that meets an error has nothing to say. */
#ifndef BENCH_MUST_H
#define BENCH_MUST_H

/* Say why on standard error and end the process with status 1: no figure is printed. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `result` of a library call is negative: fail. Else return it. */
int must_(int result, const char *call);
#define MUST(call) must_((call), #call)

#endif
