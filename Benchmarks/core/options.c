/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "options.h"

static const char *const directions[] = {"encap", "decap", "switch", "route", "route-encap"};
static const char *const temperatures[] = {"hot", "l3", "dram"};
static const char *const novelties[] = {"hit", "miss", "mixed"};
static const char *const engines[] = {"none", "apus", "c", "both"};
static const char *const tenants[] = {"other", "own"};
static const char *const families[] = {"4", "6"};

const char *direction_name(enum direction direction) { return directions[direction]; }
const char *temperature_name(enum temperature temperature) { return temperatures[temperature]; }
const char *novelty_name(enum novelty novelty) { return novelties[novelty]; }

static const char usage[] =
	"apus-bench SCENARIO [options]: measures libapus and prints one JSON object\n"
	"\n"
	"  packets     cycles per packet\n"
	"    --direction encap|decap|switch|route|route-encap    --engine both|apus|c\n"
	"    --frame 64..1500|imix    --burst 1..256    --flows N    --zipf EXPONENT (0 = uniform)\n"
	"    --packets hot|l3|dram    --flow hit|miss|mixed    --miss-share 0..1 (of mixed)\n"
	"    --rounds N    --count PACKETS (timed, each engine and round)\n"
	"    --callgrind BURSTS   no clock: as many bursts inside bench_measured(), for\n"
	"                         valgrind --tool=callgrind --toggle-collect=bench_measured\n"
	"  records     inserts per second, bytes per record\n"
	"  start       from nothing to the first packet, with --records\n"
	"  changes     throughput while the policy changes: --rate PER_SECOND (0 = all that is possible) --tenant own|other,\n"
	"              or in the thread that forwards: --every PACKETS\n"
	"  handover    packets under the old policy after a change returned; how long a change takes\n"
	"  flood       a port that sends only new flows, and its neighbour on the same core\n"
	"  scale       two workers on two cores against each alone\n"
	"\n"
	"  all: --family 4|6 (customers' packets)  --outer 4|6 (tunnel)  --records N  --networks N  --hosts N\n"
	"       --flow-capacity N  --seconds S (each phase)  --pages huge|small  --cpu N\n";

static uint64_t number(const char *name, const char *text, uint64_t least, uint64_t most)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end == 'k')
		value *= 1024, end++;
	else if (*end == 'M')
		value *= 1024 * 1024, end++;
	if (end == text || *end != '\0' || value < least || value > most)
		fail("--%s: %s is not a number from %llu to %llu", name, text, (unsigned long long)least,
		     (unsigned long long)most);
	return value;
}

static double fraction(const char *name, const char *text, double most)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || value < 0 || value > most)
		fail("--%s: %s is not a number from 0 to %g", name, text, most);
	return value;
}

static int choice(const char *name, const char *text, const char *const *words, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	fprintf(stderr, "apus-bench: --%s: %s is none of", name, text);
	for (int i = 0; i < count; i++)
		fprintf(stderr, " %s", words[i]);
	fputc('\n', stderr);
	exit(1);
}

struct options options_read(int count, char **words)
{
	enum { DIRECTION, ENGINE, FAMILY, OUTER, FRAME, BURST, FLOWS, ZIPF, PACKETS, FLOW, MISS_SHARE, ROUNDS, COUNT, CALLGRIND,
	       RECORDS, NETWORKS, HOSTS, CAPACITY, RATE, EVERY, TENANT, SECONDS, PAGES, CPU, HELP };
	static const char *const pages[] = {"huge", "small"};
	static const struct option known[] = {
		{"direction", 1, 0, DIRECTION}, {"engine", 1, 0, ENGINE}, {"family", 1, 0, FAMILY}, {"outer", 1, 0, OUTER},
		{"frame", 1, 0, FRAME}, {"burst", 1, 0, BURST},
		{"flows", 1, 0, FLOWS}, {"zipf", 1, 0, ZIPF}, {"packets", 1, 0, PACKETS}, {"flow", 1, 0, FLOW},
		{"miss-share", 1, 0, MISS_SHARE}, {"rounds", 1, 0, ROUNDS}, {"count", 1, 0, COUNT},
		{"callgrind", 1, 0, CALLGRIND}, {"records", 1, 0, RECORDS}, {"networks", 1, 0, NETWORKS},
		{"hosts", 1, 0, HOSTS}, {"flow-capacity", 1, 0, CAPACITY}, {"rate", 1, 0, RATE}, {"every", 1, 0, EVERY}, {"tenant", 1, 0, TENANT},
		{"seconds", 1, 0, SECONDS}, {"pages", 1, 0, PAGES}, {"cpu", 1, 0, CPU}, {"help", 0, 0, HELP}, {0, 0, 0, 0}};
	struct options o = {
		.engines = ENGINE_BOTH, .family = 4, .outer = 4, .frame = 64, .burst = 64, .flows = 1024, .records = 1024, .networks = 1,
		.hosts = 256,
		.miss_share = 0.1, .rounds = 11, .packets = 131072, .rate = 100000, .seconds = 0.5, .own_tenant = true, .cpu = -1};
	int which, at;

	while ((which = getopt_long(count, words, "", known, &at)) != -1) {
		const char *name = which == '?' ? "" : known[at].name;

		switch (which) {
		case DIRECTION: o.direction = (enum direction)choice(name, optarg, directions, DIRECTIONS); break;
		case ENGINE: o.engines = (enum engines)choice(name, optarg, engines, 4); break;
		case FAMILY: o.family = choice(name, optarg, families, 2) == 1 ? 6 : 4; break;
		case OUTER: o.outer = choice(name, optarg, families, 2) == 1 ? 6 : 4; break;
		case FRAME: o.frame = strcmp(optarg, "imix") == 0 ? 0 : (uint32_t)number(name, optarg, 64, 1500); break;
		case BURST: o.burst = (uint32_t)number(name, optarg, 1, 256); break;
		case FLOWS: o.flows = number(name, optarg, 1, 16777216); break;
		case ZIPF: o.zipf = fraction(name, optarg, 4); break;
		case PACKETS: o.temperature = (enum temperature)choice(name, optarg, temperatures, TEMPERATURES); break;
		case FLOW: o.novelty = (enum novelty)choice(name, optarg, novelties, NOVELTIES); break;
		case MISS_SHARE: o.miss_share = fraction(name, optarg, 1); break;
		case ROUNDS: o.rounds = (uint32_t)number(name, optarg, 1, 1000); break;
		case COUNT: o.packets = number(name, optarg, 1024, 1ull << 32); break;
		case CALLGRIND: o.callgrind = number(name, optarg, 1, 1000000); break;
		case RECORDS: o.records = number(name, optarg, 1, 33554432); break;
		case NETWORKS: o.networks = (uint32_t)number(name, optarg, 1, 4095); break;
		case HOSTS: o.hosts = (uint32_t)number(name, optarg, 1, 65536); break;
		case CAPACITY: o.flow_capacity = number(name, optarg, 64, 16777216); break;
		case RATE: o.rate = (uint32_t)number(name, optarg, 0, 100000000); break;
		case EVERY: o.every = number(name, optarg, 1, 1ull << 32); break;
		case TENANT: o.own_tenant = choice(name, optarg, tenants, 2) == 1; break;
		case SECONDS: o.seconds = fraction(name, optarg, 3600); break;
		case PAGES: o.small_pages = choice(name, optarg, pages, 2) == 1; break;
		case CPU: o.cpu = (int)number(name, optarg, 0, 1023); break;
		case HELP: fputs(usage, stdout); exit(0);
		default: exit(2);
		}
	}
	if (optind + 1 != count)
		fail("one scenario is needed; see --help");
	o.scenario = words[optind];
	if (o.records < o.networks)
		o.records = o.networks;
	/* What the reference does not do. */
	if (o.novelty != HIT)
		o.alone = "first packets of flows";
	else if (o.outer == 6)
		o.alone = "IPv6 tunnels";
	if (o.alone != NULL)
		o.engines = ENGINE_APUS;
	return o;
}
