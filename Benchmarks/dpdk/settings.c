/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_kvargs.h>

#include "settings.h"

static int read_side(const char *text, int *out)
{
	static const char *const names[] = {[INNER] = "inner", [INNER_BACK] = "inner-back", [OUTER] = "outer",
					    [OUTER_BACK] = "outer-back"};

	for (unsigned int i = 0; i < RTE_DIM(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = (int)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int read_argument(const char *key, const char *value, void *into)
{
	struct settings *s = into;
	const struct {
		const char *key;
		uint32_t *out, least, most;
		bool is_power;
	} numbers[] = {
		{"flows", &s->flows, 1, 1u << 24, true}, {"records", &s->records, 1, 1u << 22, true},
		{"hosts", &s->hosts, 1, 256, true},      {"frame", &s->frame, FRAME_LEAST, FRAME_MOST, false},
		{"ring", &s->ring, 1, RING_MOST, true},
	};

	if (strcmp(key, "counters") == 0)
		return (size_t)snprintf(s->counters, sizeof(s->counters), "%s", value) < sizeof(s->counters) ? 0 : -ENAMETOOLONG;
	if (strcmp(key, "receive") == 0)
		return read_side(value, &s->receive);
	if (strcmp(key, "send") == 0)
		return read_side(value, &s->send);
	for (unsigned int i = 0; i < RTE_DIM(numbers); i++) {
		const unsigned long n = strtoul(value, NULL, 10);

		if (strcmp(key, numbers[i].key) != 0)
			continue;
		if (n < numbers[i].least || n > numbers[i].most || (numbers[i].is_power && !rte_is_power_of_2((uint32_t)n)))
			return -ERANGE;
		*numbers[i].out = (uint32_t)n;
		return 0;
	}
	return -EINVAL;
}

int settings_read(const char *text, struct settings *s)
{
	struct rte_kvargs *list = rte_kvargs_parse(text, NULL);
	int result;

	*s = (struct settings){.flows = 1, .records = 1, .hosts = 1, .frame = FRAME_LEAST, .receive = -1, .send = -1};
	if (list == NULL)
		return -EINVAL;
	result = rte_kvargs_process(list, NULL, read_argument, s);
	rte_kvargs_free(list);
	return result < 0 || s->records > s->flows || s->hosts > s->records ? -EINVAL : 0;
}
