/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>

#include "json.h"
#include "must.h"

static char text[65536];
static size_t length;

__attribute__((format(printf, 1, 2))) static void append(const char *format, ...)
{
	va_list arguments;
	int written;

	va_start(arguments, format);
	written = vsnprintf(text + length, sizeof(text) - length, format, arguments);
	va_end(arguments);
	if (written < 0 || (size_t)written >= sizeof(text) - length)
		fail("the result is too long");
	length += (size_t)written;
}

static void begin(const char *name)
{
	if (length > 0 && text[length - 1] != '{')
		append(", ");
	if (name != NULL)
		append("\"%s\": ", name);
}

void json_open(const char *name) { begin(name), append("{"); }
void json_close(void) { append("}"); }
void json_text(const char *name, const char *value) { begin(name), append("\"%s\"", value); }
void json_integer(const char *name, uint64_t value) { begin(name), append("%llu", (unsigned long long)value); }
void json_number(const char *name, double value) { begin(name), append("%.6g", value); }
void json_null(const char *name) { begin(name), append("null"); }

void json_finish(void)
{
	puts(text);
	if (fflush(stdout) != 0)
		fail("cannot write the result");
}
