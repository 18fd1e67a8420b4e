/* SPDX-License-Identifier: Apache-2.0 */
/* Each measures, verifies and prints one JSON object. */
#ifndef BENCH_SCENARIOS_H
#define BENCH_SCENARIOS_H

#include "options.h"

void scenario_packets(const struct options *options);
void scenario_records(const struct options *options);
void scenario_start(const struct options *options);
void scenario_changes(const struct options *options);
void scenario_handover(const struct options *options);
void scenario_flood(const struct options *options);
void scenario_scale(const struct options *options);

/* The conditions that every figure is printed with. */
void scenario_conditions(const struct options *options);

#endif
