/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apus-forwarder-c: a network-virtualization forwarder in one file, to copy from.
 *
 * It shows how a DPDK program embeds Apus:
 *
 *   policy file -> dataplane      load_policy()     libapus_policy, libapus; needs no EAL
 *   ports -> devices              open_devices()    libapus_dpdk
 *   one worker per lcore          make_workers(), run_worker()
 *   where every frame went        print_accounting()
 *
 * All the rest is what any program has: arguments, signals, a control socket. Two rules matter: the host owns
 * the EAL (rte_eal_init and rte_eal_cleanup are called here, never by Apus), and workers are destroyed before devices,
 * devices before the dataplane.
 */
#define _GNU_SOURCE /* accept4 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <apus/apus.h>
#include <apus/apus_dpdk.h>
#include <apus/apus_policy_file.h>

#define PORTS_MAX 256
#define CLIENTS_MAX 8
#define LINE_MAX_LENGTH 256
#define SERVE_INTERVAL_MS 10
#define IDLE_SLEEP_MAX_US 10000
#define FLOWS_MAX (1u << 24)
#define EVENT_LINES_PER_SECOND 20 /* more tell nobody anything, and a tenant can cause them */

struct options {
	const char *policy;
	const char *control;
	unsigned int stats_seconds;
	unsigned int idle_sleep_us;
	unsigned int flows;
};

/* A port of the policy and the device that it is. */
struct port {
	uint32_t id;
	const char *name; /* the policy file's */
	const char *device_name;
	uint32_t kind;
	uint16_t mtu;
	struct apus_dpdk_device *device;
	struct apus_port_stats last; /* at the last line of --stats */
};

/* An external port whose frames another one's device brings, tagged. Only the dataplane knows it. */
struct carried_port {
	uint32_t id;
	const char *name, *parent;
	uint16_t vlan;
	struct apus_port_stats last; /* at the last line of --stats */
};

struct client {
	int fd;
	unsigned int length;
	char line[LINE_MAX_LENGTH];
};

static struct options options;
static struct apus_policy_file *policy;
static struct apus_dataplane *dataplane;
static struct port ports[PORTS_MAX];
static unsigned int n_ports;
static struct carried_port carried[PORTS_MAX];
static unsigned int n_carried;
static struct apus_dpdk_worker *workers[RTE_MAX_LCORE];
static unsigned int n_workers;
static uint64_t lost_without_device; /* tx_no_device of the workers, once they are destroyed */
static uint64_t event_counts[APUS_EVENT_KIND_COUNT];
static int listener = -1;
static struct client clients[CLIENTS_MAX];
static atomic_int stopping;

static int
fail(const char *format, ...)
{
	va_list args;

	fputs("apus-forwarder-c: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -1;
}

/* ---- arguments ------------------------------------------------------------------------------------------------- */

static void
print_usage(void)
{
	puts("Usage: apus-forwarder-c [EAL options] -- --policy FILE [--stats SECONDS] [--control SOCKET]\n"
	     "\n"
	     "Forward frames between devices as a Hyper-V Network Virtualization policy says.\n"
	     "\n"
	     "  --policy FILE      the policy, YAML; `device:` of a port is the name of an ethdev, or port:N\n"
	     "  --stats SECONDS    print rates and drops every so many seconds (1-86400)\n"
	     "  --control SOCKET   answer stats, ports, help and quit on a UNIX socket, one line each, in JSON\n"
	     "  --idle-sleep US    sleep so many microseconds (1-10000) when nothing arrives: gives the CPU back\n"
	     "                     where cores are shared, costs latency; without it a core is always busy\n"
	     "  --flows COUNT      flows that each worker remembers, 64 bytes each (64-16777216): 65536 without it\n"
	     "  --help             say this\n"
	     "\n"
	     "With one lcore it does everything; with more, the main one serves --stats and --control and each other\n"
	     "one forwards. Without huge pages, NIC or kernel module:\n"
	     "\n"
	     "  apus-forwarder-c -l 0 --no-huge -m 256 --no-pci --vdev=net_tap0 --vdev=net_tap1 -- --policy host.yaml\n"
	     "\n"
	     "SIGINT and SIGTERM stop it; it then prints where every frame went, and exits with 0 if that adds up.");
}

static int
parse_number(const char *text, const char *name, unsigned int low, unsigned int high, unsigned int *out)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < low || value > high)
		return fail("%s: \"%s\" is not a number from %u to %u", name, text, low, high);
	*out = (unsigned int)value;
	return 0;
}

/* Return 1 to go on, 0 when all is done, -1 on errors. */
static int
parse_arguments(int argc, char **argv, int *eal_argc)
{
	static const struct option known[] = {
		{"policy", required_argument, NULL, 'p'},     {"stats", required_argument, NULL, 's'},
		{"control", required_argument, NULL, 'c'},    {"idle-sleep", required_argument, NULL, 'i'},
		{"flows", required_argument, NULL, 'f'},      {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int i, split = argc, option;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_usage();
			return 0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("apus-forwarder-c: %s\n", apus_build_info());
			return 0;
		}
		if (strcmp(argv[i], "--") == 0 && split == argc)
			split = i;
	}
	*eal_argc = split;
	if (split < argc) {
		argv += split;
		argc -= split;
		argv[0] = "apus-forwarder-c";
		optind = 1;
		while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
			switch (option) {
			case 'p':
				options.policy = optarg;
				break;
			case 'c':
				options.control = optarg;
				break;
			case 's':
				if (parse_number(optarg, "--stats", 1, 86400, &options.stats_seconds) < 0)
					return -1;
				break;
			case 'i':
				if (parse_number(optarg, "--idle-sleep", 1, IDLE_SLEEP_MAX_US, &options.idle_sleep_us) < 0)
					return -1;
				break;
			case 'f':
				if (parse_number(optarg, "--flows", 64, FLOWS_MAX, &options.flows) < 0)
					return -1;
				break;
			default:
				return fail("see apus-forwarder-c --help");
			}
		}
		if (optind < argc)
			return fail("unexpected argument \"%s\"; see apus-forwarder-c --help", argv[optind]);
		argv[0] = NULL; /* the end of EAL's arguments */
	}
	if (!options.policy)
		return fail("--policy FILE is missing (after --); see apus-forwarder-c --help");
	return 1;
}

/* ---- policy ---------------------------------------------------------------------------------------------------- */

/* A device carries what its port and those in its VLANs want to send. 0: whatever it carries. */
static uint16_t
device_mtu(const struct apus_policy_file_port *port, int count)
{
	uint16_t largest = port->mtu ? port->mtu : 1500, mtu;
	struct apus_policy_file_port p;
	int i;

	for (i = 0; i < count; i++) {
		APUS_INIT(&p);
		if (apus_policy_file_port(policy, (uint32_t)i, &p) < 0 || !p.parent || strcmp(p.parent, port->name) != 0)
			continue;
		mtu = p.mtu ? p.mtu : 1500;
		if (mtu > largest)
			largest = mtu;
	}
	return port->mtu || largest > 1500 ? largest : 0;
}

/* Read the policy and put it into a dataplane. Done before the EAL starts: a wrong file is a quick answer. */
static int
load_policy(void)
{
	struct apus_dataplane_opts opts;
	char why[4096];
	unsigned int other;
	int result, count, i;

	if (apus_policy_file_load(options.policy, &policy, why, sizeof(why)) < 0)
		return fail("the policy is refused\n%s", why);
	APUS_INIT(&opts);
	opts.error_text = why;
	opts.error_text_size = sizeof(why);
	result = apus_policy_file_opts(policy, &opts);
	if (result < 0)
		return fail("apus_policy_file_opts: %s", apus_strerror(result));
	result = apus_dataplane_create(&opts, &dataplane);
	if (result < 0)
		return fail("apus_dataplane_create: %s: %s", apus_strerror(result), why);
	if (apus_policy_file_apply(policy, dataplane, why, sizeof(why)) < 0)
		return fail("the policy is refused\n%s", why);

	count = apus_policy_file_port_count(policy);
	if (count <= 0 || count > PORTS_MAX)
		return fail("%s: %d ports; 1 to %d can be served", options.policy, count, PORTS_MAX);
	for (i = 0; i < count; i++) {
		struct apus_policy_file_port p;

		APUS_INIT(&p);
		result = apus_policy_file_port(policy, (uint32_t)i, &p);
		if (result < 0)
			return fail("apus_policy_file_port: %s", apus_strerror(result));
		if (p.parent) {
			carried[n_carried++] = (struct carried_port){.id = p.id, .name = p.name, .parent = p.parent, .vlan = p.vlan};
			continue;
		}
		if (!p.device)
			return fail("%s:%u: ports[%d].device is missing: which ethdev is %s?", options.policy, p.line, i, p.name);
		for (other = 0; other < n_ports; other++)
			if (strcmp(ports[other].device_name, p.device) == 0)
				return fail("%s:%u: ports[%d].device: %s is already that of %s", options.policy, p.line, i, p.device,
					    ports[other].name);
		ports[n_ports++] = (struct port){.id = p.id, .name = p.name, .device_name = p.device, .kind = p.kind,
						 .mtu = device_mtu(&p, count)};
	}
	return 0;
}

/* ---- devices and workers --------------------------------------------------------------------------------------- */

/* A worker sends on a transmit queue of its own on each device: no more workers than the poorest device has queues. */
static int
count_workers(void)
{
	struct apus_dpdk_device_info info;
	unsigned int i;

	n_workers = rte_lcore_count() > 1 ? rte_lcore_count() - 1 : 1;
	for (i = 0; i < n_ports; i++) {
		APUS_INIT(&info);
		if (apus_dpdk_device_probe(ports[i].device_name, &info) < 0)
			continue; /* open_devices() says why */
		if (info.tx_queues > 0 && info.tx_queues < n_workers) {
			fprintf(stderr, "apus-forwarder-c: %s has %u transmit queues: %u of %u lcores forward\n",
				ports[i].device_name, info.tx_queues, info.tx_queues, n_workers);
			n_workers = info.tx_queues;
		}
	}
	return 0;
}

static int
open_devices(void)
{
	struct apus_dpdk_device_opts opts;
	char why[1024];
	unsigned int i;
	int result;

	for (i = 0; i < n_ports; i++) {
		APUS_INIT(&opts);
		opts.rx_queues = (uint16_t)n_workers;
		opts.tx_queues = (uint16_t)n_workers;
		opts.mtu = ports[i].mtu;
		opts.error_text = why;
		opts.error_text_size = sizeof(why);
		why[0] = '\0';
		result = apus_dpdk_device_open(ports[i].device_name, &opts, &ports[i].device);
		if (result < 0)
			return fail("port %s: %s\n"
				    "Devices come from the EAL: a PCI NIC, or --vdev=NAME,... before the --",
				    ports[i].name, why[0] ? why : apus_dpdk_strerror(result));
		result = apus_dpdk_device_bind(ports[i].device, ports[i].id);
		if (result < 0)
			return fail("port %s: %s", ports[i].name, apus_dpdk_strerror(result));
	}
	return 0;
}

/* Every worker can send to every device; receive queues are dealt out. */
static int
make_workers(void)
{
	struct apus_dpdk_device_info info;
	struct apus_dpdk_worker_opts opts;
	unsigned int w, p, queue;
	char why[1024] = "";
	int result;

	APUS_INIT(&opts);
	opts.flow_capacity = options.flows;
	opts.error_text = why;
	opts.error_text_size = sizeof(why);
	for (w = 0; w < n_workers; w++) {
		result = apus_dpdk_worker_create(dataplane, &opts, &workers[w]);
		if (result < 0)
			return fail("apus_dpdk_worker_create: %s", why[0] ? why : apus_dpdk_strerror(result));
		for (p = 0; p < n_ports; p++) {
			result = apus_dpdk_worker_attach(workers[w], ports[p].device, APUS_DPDK_NO_QUEUE, (uint16_t)w);
			if (result < 0)
				return fail("port %s: %s", ports[p].name, apus_dpdk_strerror(result));
		}
	}
	for (p = 0; p < n_ports; p++) {
		APUS_INIT(&info);
		result = apus_dpdk_device_info_get(ports[p].device, &info);
		if (result < 0)
			return fail("port %s: %s", ports[p].name, apus_dpdk_strerror(result));
		for (queue = 0; queue < info.rx_queues; queue++) {
			w = (p + queue) % n_workers;
			result = apus_dpdk_worker_attach(workers[w], ports[p].device, (uint16_t)queue, (uint16_t)w);
			if (result < 0)
				return fail("port %s: %s", ports[p].name, apus_dpdk_strerror(result));
		}
	}
	return 0;
}

/* Counters of devices outlive the workers. */
static void
destroy_workers(void)
{
	struct apus_dpdk_stats stats;
	unsigned int w;
	int result;

	for (w = 0; w < n_workers; w++) {
		APUS_INIT(&stats);
		if (workers[w] && apus_dpdk_worker_stats_get(workers[w], &stats) == 0)
			lost_without_device += stats.tx_no_device;
		result = apus_dpdk_worker_destroy(workers[w]);
		if (result < 0)
			fail("apus_dpdk_worker_destroy: %s", apus_dpdk_strerror(result));
		workers[w] = NULL;
	}
}

static void
close_devices(void)
{
	unsigned int i;
	int result;

	for (i = 0; i < n_ports; i++) {
		result = apus_dpdk_device_close(ports[i].device);
		if (result < 0)
			fail("port %s: %s", ports[i].name, apus_dpdk_strerror(result));
		ports[i].device = NULL;
	}
}

/* ---- statistics ------------------------------------------------------------------------------------------------ */

/* The counters of a port, in the dataplane and at its device. */
struct port_account {
	struct apus_port_stats core;
	struct apus_dpdk_stats device;
	uint64_t rx_lost; /* received, but not given to the dataplane */
	uint64_t tx_lost; /* sent by the dataplane, but not taken by the device */
};

static int
read_port(const struct port *port, struct port_account *account)
{
	APUS_INIT(&account->core);
	APUS_INIT(&account->device);
	if (apus_port_stats_get(dataplane, port->id, &account->core) < 0 ||
	    apus_dpdk_device_stats_get(port->device, &account->device) < 0)
		return -1;
	account->rx_lost = account->device.rx_no_buffer + account->device.rx_malformed + account->device.rx_refused;
	account->tx_lost = account->device.tx_full + account->device.tx_too_long + account->device.tx_segmented;
	return 0;
}

/* Every counter of the dataplane but `drops`. Those of the equation that must hold come first. */
#define COUNTER(name) {#name, offsetof(struct apus_stats, name)}
static const struct counter {
	const char *name;
	size_t offset;
} counters[] = {
	COUNTER(received),	 COUNTER(transmitted),	    COUNTER(generated),	     COUNTER(consumed),
	COUNTER(dropped),	 COUNTER(held),		    COUNTER(received_bytes), COUNTER(transmitted_bytes),
	COUNTER(encapsulated),	 COUNTER(decapsulated),	    COUNTER(switched),	     COUNTER(rewritten),
	COUNTER(routed),	 COUNTER(flow_hits),	    COUNTER(flow_misses),    COUNTER(flow_inserts),
	COUNTER(flow_evictions), COUNTER(flow_suppressed),  COUNTER(flow_entries),   COUNTER(arp_replies),
	COUNTER(arp_requests),	 COUNTER(echo_replies),	    COUNTER(router_advertisements), COUNTER(icmp_errors),
	COUNTER(path_mtu_updates), COUNTER(icmp_suppressed), COUNTER(fragmented),    COUNTER(replicated),
	COUNTER(learned),	 COUNTER(learn_throttled),  COUNTER(events_lost),    COUNTER(address_probes),
	COUNTER(address_conflicts), COUNTER(control_messages), COUNTER(unreachable_sent), COUNTER(bursts),
};
#undef COUNTER
#define N_COUNTERS (sizeof(counters) / sizeof(counters[0]))
#define N_COUNTERS_OF_EQUATION 6

static uint64_t
counter_value(const struct apus_stats *stats, size_t i)
{
	uint64_t value;

	memcpy(&value, (const char *)stats + counters[i].offset, sizeof(value));
	return value;
}

/* The final table. Every row and the totals must add up: return -1 if they do not. */
static int
print_accounting(void)
{
	struct port_account a, sum;
	struct apus_stats s;
	uint64_t reasons = 0;
	const char *c;
	unsigned int i;
	int wrong = 0;

	APUS_INIT(&s);
	if (apus_stats_get(dataplane, &s) < 0)
		return fail("apus_stats_get: %s", apus_dataplane_error_text(dataplane));
	memset(&sum, 0, sizeof(sum));
	printf("\n%-12s %-16s %12s %10s %12s %12s %12s %10s %12s\n", "port", "device", "device in", "rx lost",
	       "received", "dropped", "transmitted", "tx lost", "device out");
	for (i = 0; i < n_ports; i++) {
		if (read_port(&ports[i], &a) < 0)
			return fail("port %s: its counters cannot be read", ports[i].name);
		printf("%-12s %-16s %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10" PRIu64
		       " %12" PRIu64 "\n",
		       ports[i].name, ports[i].device_name, a.device.received, a.rx_lost, a.core.received,
		       a.core.dropped, a.core.transmitted, a.tx_lost, a.device.transmitted);
		wrong |= a.device.received != a.rx_lost + a.core.received;
		wrong |= a.core.transmitted != a.tx_lost + a.device.transmitted;
		sum.device.received += a.device.received;
		sum.rx_lost += a.rx_lost;
		sum.core.received += a.core.received;
		sum.core.dropped += a.core.dropped;
		sum.core.transmitted += a.core.transmitted;
		sum.tx_lost += a.tx_lost;
		sum.device.transmitted += a.device.transmitted;
	}
	printf("%-12s %-16s %12" PRIu64 " %10" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %10" PRIu64 " %12" PRIu64
	       "\n\n", "total", "", sum.device.received, sum.rx_lost, sum.core.received, sum.core.dropped,
	       sum.core.transmitted, sum.tx_lost, sum.device.transmitted);
	for (i = 0; i < n_carried; i++) {
		APUS_INIT(&a.core);
		if (apus_port_stats_get(dataplane, carried[i].id, &a.core) < 0)
			return fail("port %s: its counters cannot be read", carried[i].name);
		printf("in it: %s, VLAN %u of %s: received %" PRIu64 ", dropped %" PRIu64 ", transmitted %" PRIu64 "\n",
		       carried[i].name, carried[i].vlan, carried[i].parent, a.core.received, a.core.dropped,
		       a.core.transmitted);
	}
	printf("received %" PRIu64 " + generated %" PRIu64 " = transmitted %" PRIu64 " + consumed %" PRIu64
	       " + dropped %" PRIu64 " + held %" PRIu64 "\n",
	       s.received, s.generated, s.transmitted, s.consumed, s.dropped, s.held);
	for (i = N_COUNTERS_OF_EQUATION; i < N_COUNTERS; i++) {
		for (c = counters[i].name; *c; c++)
			putchar(*c == '_' ? ' ' : *c);
		printf(" %" PRIu64 "%s", counter_value(&s, i), i + 1 == N_COUNTERS ? "\n" : i % 5 == 0 ? ",\n" : ", ");
	}
	for (i = 1; i < APUS_EVENT_KIND_COUNT; i++)
		if (event_counts[i])
			printf("  event   %10" PRIu64 "  %s\n", event_counts[i], apus_event_name(i));
	for (i = 0; i < APUS_DROP_REASON_COUNT; i++) {
		reasons += s.drops[i];
		if (s.drops[i])
			printf("  dropped %10" PRIu64 "  %s: %s\n", s.drops[i], apus_drop_reason_name(i),
			       apus_drop_reason_text(i));
	}
	if (lost_without_device)
		printf("  lost    %10" PRIu64 "  to ports without a device\n", lost_without_device);
	wrong |= s.received + s.generated != s.transmitted + s.consumed + s.dropped + s.held;
	wrong |= s.dropped != reasons;
	wrong |= s.received != sum.core.received || s.transmitted != sum.core.transmitted + lost_without_device;
	puts(wrong ? "THIS DOES NOT ADD UP" : "Every frame is accounted for.");
	return wrong ? -1 : 0;
}

/* A few lines for --stats: rates since the last time. */
static void
print_rates(double seconds)
{
	static struct apus_stats last;
	struct apus_port_stats now;
	struct apus_stats s;
	unsigned int i;

	printf("%-12s %12s %12s %12s\n", "port", "rx/s", "tx/s", "dropped/s");
	for (i = 0; i < n_ports; i++) {
		APUS_INIT(&now);
		if (apus_port_stats_get(dataplane, ports[i].id, &now) < 0)
			continue;
		printf("%-12s %12.0f %12.0f %12.0f\n", ports[i].name, (now.received - ports[i].last.received) / seconds,
		       (now.transmitted - ports[i].last.transmitted) / seconds,
		       (now.dropped - ports[i].last.dropped) / seconds);
		ports[i].last = now;
	}
	for (i = 0; i < n_carried; i++) {
		APUS_INIT(&now);
		if (apus_port_stats_get(dataplane, carried[i].id, &now) < 0)
			continue;
		printf("%-12s %12.0f %12.0f %12.0f\n", carried[i].name, (now.received - carried[i].last.received) / seconds,
		       (now.transmitted - carried[i].last.transmitted) / seconds,
		       (now.dropped - carried[i].last.dropped) / seconds);
		carried[i].last = now;
	}
	APUS_INIT(&s);
	if (apus_stats_get(dataplane, &s) == 0) {
		for (i = 0; i < APUS_DROP_REASON_COUNT; i++)
			if (s.drops[i] > last.drops[i])
				printf("  %" PRIu64 " %s\n", s.drops[i] - last.drops[i], apus_drop_reason_name(i));
		last = s;
	}
	fflush(stdout);
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static void
print_event(const struct apus_event *e)
{
	char address[APUS_TEXT_SIZE], pa[APUS_TEXT_SIZE], previous_pa[APUS_TEXT_SIZE], mac[APUS_TEXT_SIZE],
		previous_mac[APUS_TEXT_SIZE], machine[4 * APUS_TEXT_SIZE];

	address[0] = pa[0] = previous_pa[0] = '\0';
	apus_address_format(&e->customer_address, address, sizeof(address));
	apus_address_format(&e->provider_address, pa, sizeof(pa));
	apus_address_format(&e->previous_provider_address, previous_pa, sizeof(previous_pa));
	apus_mac_format(&e->mac, mac, sizeof(mac));
	apus_mac_format(&e->previous_mac, previous_mac, sizeof(previous_mac));
	snprintf(machine, sizeof(machine), "%s in virtual subnet %u, on the host %s", mac, e->virtual_subnet_id, pa);
	fputs("apus-forwarder-c: ", stderr);
	switch (e->kind) {
	case APUS_EVENT_RECORD_LEARNED:
		fprintf(stderr, "learned %s: %s (%u of %u)\n", address, machine, e->count, e->limit);
		break;
	case APUS_EVENT_RECORD_MOVED:
		fprintf(stderr, "moved %s: now %s, before %s on the host %s (%u of %u)\n", address, machine, previous_mac,
			previous_pa, e->count, e->limit);
		break;
	case APUS_EVENT_RECORD_CONFLICT:
		fprintf(stderr, "conflict %s: claimed by %s, but its record says %s on the host %s\n", address, machine,
			previous_mac, previous_pa);
		break;
	case APUS_EVENT_LEARN_LIMIT:
		fprintf(stderr, "limit %s was not learned: %s has as many addresses as it may (%u of %u)\n", address,
			machine, e->count, e->limit);
		break;
	case APUS_EVENT_LEARN_THRESHOLD:
		fprintf(stderr, "limit near: %s has 80 %% of the addresses that it may have (%u of %u)\n", machine,
			e->count, e->limit);
		break;
	case APUS_EVENT_LEARN_THROTTLED:
		fprintf(stderr, "throttled: addresses were not learned, because there were too many in a second: %s\n",
			machine);
		break;
	case APUS_EVENT_LOST:
		fprintf(stderr, "lost %u events\n", e->count);
		break;
	case APUS_EVENT_ADDRESS_PREFERRED:
		fprintf(stderr, "provider address %s is nobody else's\n", pa);
		break;
	case APUS_EVENT_ADDRESS_DUPLICATE:
		fprintf(stderr, "provider address %s is not used: %s has it too\n", pa, mac);
		break;
	case APUS_EVENT_ADDRESS_CONFLICT:
		fprintf(stderr, "provider address %s is claimed by %s\n", pa, mac);
		break;
	case APUS_EVENT_NVE_REDIRECT:
		fprintf(stderr, "host %s says that %s in virtual subnet %u is now on the host %s\n", previous_pa, address,
			e->virtual_subnet_id, pa);
		break;
	case APUS_EVENT_NVE_UNREACHABLE:
		fprintf(stderr, "host %s has no policy for %s in virtual subnet %u\n", previous_pa, address,
			e->virtual_subnet_id);
		break;
	default:
		fprintf(stderr, "event %u\n", e->kind);
	}
}

/*
 * Let the dataplane learn from what its workers saw, and say what it learned. Nothing is learned without this, and packets to a new
 * next hop outside wait for it.
 */
static void
poll_events(void)
{
	static struct apus_event events[APUS_EVENTS_MAX];
	static uint64_t second, unprinted;
	static unsigned int lines;
	const uint64_t now = rte_get_timer_cycles() / rte_get_timer_hz();
	int n, i;

	if (now != second) {
		if (unprinted)
			fprintf(stderr, "apus-forwarder-c: %" PRIu64 " more events in this second\n", unprinted);
		second = now;
		lines = 0;
		unprinted = 0;
	}
	APUS_INIT(&events[0]);
	n = apus_event_poll(dataplane, events, APUS_EVENTS_MAX);
	if (n < 0) {
		fail("apus_event_poll: %s", apus_strerror(n));
		return;
	}
	for (i = 0; i < n; i++) {
		if (events[i].kind < APUS_EVENT_KIND_COUNT)
			event_counts[events[i].kind]++;
		if (lines++ < EVENT_LINES_PER_SECOND)
			print_event(&events[i]);
		else
			unprinted++;
	}
}

/* ---- control socket -------------------------------------------------------------------------------------------- */

/* Names of ports and devices are harmless in JSON: policy files accept no others for ports; devices are escaped. */
static void
put_json_text(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		if ((unsigned char)*text >= 0x20)
			fputc(*text, out);
	}
	fputc('"', out);
}

static void
put_stats(FILE *out)
{
	struct port_account a;
	struct apus_stats s;
	const char *comma = "";
	unsigned int i;

	APUS_INIT(&s);
	if (apus_stats_get(dataplane, &s) < 0) {
		fputs("{\"error\": \"busy\"}", out);
		return;
	}
	fputs("{\"ports\": {", out);
	for (i = 0; i < n_ports; i++) {
		if (read_port(&ports[i], &a) < 0)
			continue;
		fputs(comma, out);
		comma = ", ";
		put_json_text(out, ports[i].name);
		fprintf(out,
			": {\"received\": %" PRIu64 ", \"received_bytes\": %" PRIu64 ", \"transmitted\": %" PRIu64
			", \"transmitted_bytes\": %" PRIu64 ", \"dropped\": %" PRIu64 ", \"device_received\": %" PRIu64
			", \"device_transmitted\": %" PRIu64 ", \"rx_dropped\": %" PRIu64 ", \"tx_dropped\": %" PRIu64 "}",
			a.core.received, a.core.received_bytes, a.core.transmitted, a.core.transmitted_bytes,
			a.core.dropped, a.device.received, a.device.transmitted, a.rx_lost, a.tx_lost);
	}
	fputs("}, \"carried\": {", out);
	comma = "";
	for (i = 0; i < n_carried; i++) {
		APUS_INIT(&a.core);
		if (apus_port_stats_get(dataplane, carried[i].id, &a.core) < 0)
			continue;
		fputs(comma, out);
		comma = ", ";
		put_json_text(out, carried[i].name);
		fprintf(out,
			": {\"received\": %" PRIu64 ", \"received_bytes\": %" PRIu64 ", \"transmitted\": %" PRIu64
			", \"transmitted_bytes\": %" PRIu64 ", \"dropped\": %" PRIu64 "}",
			a.core.received, a.core.received_bytes, a.core.transmitted, a.core.transmitted_bytes, a.core.dropped);
	}
	fputs("}, \"drops\": {", out);
	comma = "";
	for (i = 0; i < APUS_DROP_REASON_COUNT; i++) {
		if (!s.drops[i])
			continue;
		fprintf(out, "%s\"%s\": %" PRIu64, comma, apus_drop_reason_name(i), s.drops[i]);
		comma = ", ";
	}
	fputs("}, \"events\": {", out);
	for (i = 1; i < APUS_EVENT_KIND_COUNT && *apus_event_name(i); i++)
		fprintf(out, "%s\"%s\": %" PRIu64, i > 1 ? ", " : "", apus_event_name(i), event_counts[i]);
	fputs("}, \"totals\": {", out);
	for (i = 0; i < N_COUNTERS; i++)
		fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", counters[i].name, counter_value(&s, i));
	fputs("}}", out);
}

static void
put_ports(FILE *out)
{
	struct apus_dpdk_device_info info;
	unsigned int i;

	fputs("{\"ports\": [", out);
	for (i = 0; i < n_ports; i++) {
		APUS_INIT(&info);
		fputs(i ? ", {\"name\": " : "{\"name\": ", out);
		put_json_text(out, ports[i].name);
		fprintf(out, ", \"id\": %u, \"kind\": \"%s\", \"device\": ", ports[i].id,
			ports[i].kind == APUS_PORT_VM ? "vm" : ports[i].kind == APUS_PORT_PROVIDER ? "provider" : "external");
		put_json_text(out, ports[i].device_name);
		if (apus_dpdk_device_info_get(ports[i].device, &info) == 0)
			fprintf(out, ", \"rx_queues\": %u, \"tx_queues\": %u, \"mtu\": %u, \"rss\": %s, \"link_up\": %s",
				info.rx_queues, info.tx_queues, info.mtu, info.rss ? "true" : "false",
				info.link_up ? "true" : "false");
		fputc('}', out);
	}
	for (i = 0; i < n_carried; i++) {
		fputs(", {\"name\": ", out);
		put_json_text(out, carried[i].name);
		fprintf(out, ", \"id\": %u, \"kind\": \"external\", \"parent\": ", carried[i].id);
		put_json_text(out, carried[i].parent);
		fprintf(out, ", \"vlan\": %u}", carried[i].vlan);
	}
	fputs("]}", out);
}

/* Answer one line. A client that does not read its answer is cut off: the forwarder waits for nobody. */
static int
answer(struct client *client)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	ssize_t sent;

	if (!out)
		return -1;
	if (strcmp(client->line, "stats") == 0) {
		put_stats(out);
	} else if (strcmp(client->line, "ports") == 0) {
		put_ports(out);
	} else if (strcmp(client->line, "quit") == 0) {
		atomic_store(&stopping, 1);
		fputs("{\"ok\": true}", out);
	} else if (strcmp(client->line, "help") == 0) {
		fputs("{\"commands\": [\"stats\", \"ports\", \"help\", \"quit\"]}", out);
	} else {
		fputs("{\"error\": \"unknown command; try help\"}", out);
	}
	fputc('\n', out);
	if (fclose(out) != 0) {
		free(text);
		return -1;
	}
	sent = send(client->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	free(text);
	return sent == (ssize_t)length ? 0 : -1;
}

static int
open_control(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	unsigned int i;
	int probe;

	for (i = 0; i < CLIENTS_MAX; i++)
		clients[i].fd = -1;
	if (!options.control)
		return 0;
	if (strlen(options.control) >= sizeof(address.sun_path))
		return fail("--control: the path is longer than %zu bytes", sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, options.control);

	/* A socket on which nobody listens was left behind by a process that was killed. */
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return fail("socket: %s", strerror(errno));
	if (connect(probe, (struct sockaddr *)&address, sizeof(address)) == 0) {
		close(probe);
		return fail("--control: another process listens on %s", options.control);
	}
	if (errno == ECONNREFUSED)
		unlink(options.control);
	close(probe);

	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0)
		return fail("socket: %s", strerror(errno));
	mask = umask(0177);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fail("--control: %s: %s", options.control, strerror(errno));
		umask(mask);
		close(listener);
		listener = -1;
		return -1;
	}
	umask(mask);
	if (listen(listener, CLIENTS_MAX) < 0)
		return fail("listen: %s", strerror(errno));
	return 0;
}

static void
close_control(void)
{
	unsigned int i;

	if (listener < 0)
		return;
	for (i = 0; i < CLIENTS_MAX; i++)
		if (clients[i].fd >= 0)
			close(clients[i].fd);
	close(listener);
	unlink(options.control);
}

static void
accept_client(void)
{
	unsigned int i;
	int fd;

	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	for (i = 0; i < CLIENTS_MAX; i++) {
		if (clients[i].fd < 0) {
			clients[i].fd = fd;
			clients[i].length = 0;
			return;
		}
	}
	close(fd);
}

/* Read what a client has sent and answer every complete line. Return -1 when it is to be closed. */
static int
serve_client(struct client *client)
{
	char *end;
	ssize_t n;

	n = recv(client->fd, client->line + client->length, sizeof(client->line) - 1 - client->length, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0)
		return -1;
	client->length += (unsigned int)n;
	client->line[client->length] = '\0';
	while ((end = strchr(client->line, '\n')) != NULL) {
		*end = '\0';
		if (end > client->line && end[-1] == '\r')
			end[-1] = '\0';
		if (answer(client) < 0)
			return -1;
		client->length -= (unsigned int)(end + 1 - client->line);
		memmove(client->line, end + 1, client->length + 1);
	}
	return client->length < sizeof(client->line) - 1 ? 0 : -1;
}

static void
serve_control(void)
{
	struct pollfd fds[CLIENTS_MAX + 1];
	unsigned int i;

	if (listener < 0)
		return;
	fds[CLIENTS_MAX] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (i = 0; i < CLIENTS_MAX; i++)
		fds[i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
	if (poll(fds, CLIENTS_MAX + 1, 0) <= 0)
		return;
	for (i = 0; i < CLIENTS_MAX; i++) {
		if (fds[i].revents && serve_client(&clients[i]) < 0) {
			close(clients[i].fd);
			clients[i].fd = -1;
		}
	}
	if (fds[CLIENTS_MAX].revents & POLLIN)
		accept_client();
}

/* ---- running --------------------------------------------------------------------------------------------------- */

static void
on_signal(int number)
{
	(void)number;
	atomic_store(&stopping, 1);
}

/* What is to be done besides forwarding, at most every SERVE_INTERVAL_MS. */
static void
serve(void)
{
	static uint64_t next_serve, last_rates;
	const uint64_t now = rte_get_timer_cycles(), hz = rte_get_timer_hz();

	if (now < next_serve)
		return;
	next_serve = now + hz / 1000 * SERVE_INTERVAL_MS;
	poll_events();
	serve_control();
	if (!last_rates)
		last_rates = now;
	if (options.stats_seconds && now - last_rates >= hz * options.stats_seconds) {
		print_rates((double)(now - last_rates) / (double)hz);
		last_rates = now;
	}
}

/* One round. A worker that is refused is a mistake in this program: stop. */
static void
run_round(struct apus_dpdk_worker *worker)
{
	const int n = apus_dpdk_worker_poll(worker);

	if (n < 0) {
		fail("apus_dpdk_worker_poll: %s", apus_dpdk_strerror(n));
		atomic_store(&stopping, 1);
	} else if (n == 0 && options.idle_sleep_us) {
		usleep(options.idle_sleep_us);
	}
}

static int
run_worker(void *worker)
{
	while (!atomic_load_explicit(&stopping, memory_order_relaxed))
		run_round(worker);
	return 0;
}

static int
run(void)
{
	unsigned int lcore, w = 0;
	int result;

	printf("apus-forwarder-c: ports: %u, workers: %u, %s\n", n_ports, n_workers, apus_build_info());
	fflush(stdout);
	if (rte_lcore_count() == 1) {
		while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
			run_round(workers[0]);
			serve();
		}
		return 0;
	}
	RTE_LCORE_FOREACH_WORKER(lcore) {
		if (w == n_workers)
			break;
		result = rte_eal_remote_launch(run_worker, workers[w++], lcore);
		if (result < 0) {
			atomic_store(&stopping, 1);
			rte_eal_mp_wait_lcore();
			return fail("lcore %u cannot be started: %s", lcore, strerror(-result));
		}
	}
	while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
		serve();
		usleep(SERVE_INTERVAL_MS * 1000);
	}
	rte_eal_mp_wait_lcore();
	return 0;
}

static int
forward(void)
{
	int result = -1;

	if (count_workers() == 0 && open_devices() == 0 && make_workers() == 0 && open_control() == 0)
		result = run();
	close_control();
	poll_events(); /* what a worker leaves behind is lost, and told as lost */
	destroy_workers();
	poll_events();
	if (result == 0)
		result = print_accounting();
	close_devices();
	return result;
}

int
main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	int result, eal_argc;

	result = parse_arguments(argc, argv, &eal_argc);
	if (result <= 0)
		return result == 0 ? EXIT_SUCCESS : EX_USAGE;
	result = load_policy();
	if (result == 0) {
		if (rte_eal_init(eal_argc, argv) < 0) {
			result = fail("rte_eal_init: %s", rte_strerror(rte_errno));
		} else {
			if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0)
				result = fail("sigaction: %s", strerror(errno));
			else
				result = forward();
			if (rte_eal_cleanup() < 0)
				result = fail("rte_eal_cleanup failed");
		}
	}
	if (apus_dataplane_destroy(dataplane) < 0 || apus_policy_file_free(policy) < 0)
		result = fail("the dataplane is still in use");
	return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
