/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object on standard output, field by field. It is written when it is complete. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdint.h>

void json_open(const char *name); /* name: NULL for the outermost object */
void json_close(void);
void json_text(const char *name, const char *value);
void json_integer(const char *name, uint64_t value);
void json_number(const char *name, double value);
void json_null(const char *name);
/* Write everything out. */
void json_finish(void);

#endif
