/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <apus/apus.h>

#include "clock.h"
#include "json.h"
#include "memory.h"
#include "must.h"
#include "scenarios.h"
#include "traffic.h"

void scenario_conditions(const struct options *o)
{
	json_text("scenario", o->scenario);
	json_text("library", apus_build_info());
	json_number("tsc_hertz", clock_hertz());
	json_open("conditions");
	json_text("direction", direction_name(o->direction));
	json_integer("ip_version", o->family);
	if (o->outer != 4)
		json_integer("outer_ip_version", o->outer);
	if (o->frame != 0)
		json_integer("frame", o->frame);
	else
		json_text("frame", "imix");
	json_integer("burst", o->burst);
	json_integer("flows", o->flows);
	json_number("zipf", o->zipf);
	json_text("flow", novelty_name(o->novelty));
	if (o->novelty == MIXED)
		json_number("miss_share", o->miss_share);
	json_text("packets", temperature_name(o->temperature));
	json_integer("ring", traffic_ring(o->temperature));
	json_integer("records", o->records);
	json_integer("networks", o->networks);
	json_integer("hosts", o->hosts);
	json_text("pages", o->small_pages ? "small" : memory_has_huge_pages() ? "huge" : "small, huge ones were not given");
	json_close();
}

int main(int count, char **words)
{
	static const struct {
		const char *name;
		void (*run)(const struct options *);
	} scenarios[] = {
		{"packets", scenario_packets}, {"records", scenario_records}, {"start", scenario_start},
		{"changes", scenario_changes}, {"handover", scenario_handover}, {"flood", scenario_flood},
		{"scale", scenario_scale},
	};
	const struct options options = options_read(count, words);

	if (!clock_bind(options.cpu))
		fail("--cpu: there is no CPU %d", options.cpu);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (strcmp(scenarios[i].name, options.scenario) == 0) {
			scenarios[i].run(&options);
			return 0;
		}
	}
	fail("%s is no scenario; see --help", options.scenario);
}
