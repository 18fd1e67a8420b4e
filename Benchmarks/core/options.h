/* SPDX-License-Identifier: Apache-2.0 */
/* What a scenario is made of: the command line. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum direction { ENCAP, DECAP, SWITCH, ROUTE, ROUTE_ENCAP, DIRECTIONS };
enum temperature { HOT, L3, DRAM, TEMPERATURES };
enum novelty { HIT, MISS, MIXED, NOVELTIES };
enum engines { ENGINE_APUS = 1, ENGINE_C = 2, ENGINE_BOTH = 3 };

struct options {
	const char *scenario;
	enum direction direction;
	enum temperature temperature;
	enum novelty novelty;
	enum engines engines;
	const char *alone;       /* why the library runs without the reference; NULL = it does not */
	uint32_t family;         /* of the customers' addresses: 4 or 6 */
	uint32_t outer;          /* of the provider addresses */
	uint32_t frame;          /* bytes of the customer's frame; 0 = IMIX */
	uint32_t burst;
	uint64_t flows;
	uint64_t records;
	uint32_t networks;
	uint32_t hosts;          /* remote provider addresses */
	uint64_t flow_capacity;  /* 0 = twice the flows */
	double zipf;             /* exponent; 0 = uniform */
	double miss_share;       /* of `mixed` */
	uint32_t rounds;
	uint64_t packets;        /* timed, for each engine and round */
	uint64_t callgrind;      /* bursts; 0 = measure time */
	uint32_t rate;           /* policy changes per second; 0 = as many as possible */
	uint64_t every;          /* packets between two changes in one thread; 0 = a thread of their own, by `rate` */
	double seconds;          /* of each phase of a control scenario */
	bool own_tenant;         /* whose policy changes */
	bool small_pages;
	int cpu;                 /* -1 = wherever the system likes */
};

/* Ends the process with a message when something is wrong. */
struct options options_read(int count, char **words);

const char *direction_name(enum direction direction);
const char *temperature_name(enum temperature temperature);
const char *novelty_name(enum novelty novelty);

#endif
