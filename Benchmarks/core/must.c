/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <apus/apus.h>

#include "must.h"

_Noreturn void fail(const char *format, ...)
{
	va_list arguments;

	fputs("apus-bench: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

int must_(int result, const char *call)
{
	if (result < 0)
		fail("%s: %s", call, apus_strerror(result));
	return result;
}
