/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apus-bench-tester: sends frames at a rate on one port and counts what comes back on another, for a search as in RFC 2544.
 *
 *   apus-bench-tester EAL... -- SENDING_DEVICE RECEIVING_DEVICE send=SIDE,receive=SIDE,...    (settings.h)
 *
 * It prints an empty object when its ports are open, and one with the speed of the link when there is one.
 * Each line that it reads, "RATE SECONDS" (frames per second), is a trial; each is answered by one line of JSON. One core sends
 * and receives. A trial in which it could not send as much as it should says so by `sent`.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "settings.h"

#define BURST 32u
#define DESCRIPTORS 1024u
#define MBUFS 16383u
#define LAST_FRAMES_MS 100  /* a trial ends when so long no frame came */
#define LAST_FRAMES_MOST_MS 2000

static struct frames sent_frames, received_frames;
static struct rte_mempool *sending_pool, *receiving_pool;
static uint16_t sending_port, receiving_port;

struct trial {
	uint64_t sent, received, wrong;
	uint64_t last; /* when a frame was received */
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "apus-bench-tester: %s: %s\n", what, why);
	exit(EXIT_FAILURE);
}

static void fill(struct rte_mempool *pool, void *unused, void *object, unsigned int index)
{
	struct rte_mbuf *m = object;

	RTE_SET_USED(pool);
	RTE_SET_USED(unused);
	RTE_SET_USED(index);
	memcpy((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, sent_frames.head, frames_length(&sent_frames));
}

static uint16_t open_port(const char *name)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	uint16_t port, receive = DESCRIPTORS, send = DESCRIPTORS;

	if (rte_eth_dev_get_port_by_name(name, &port) < 0)
		fail(name, "there is no such device");
	if (rte_eth_dev_info_get(port, &info) < 0 || rte_eth_dev_configure(port, 1, 1, &conf) < 0 ||
	    rte_eth_dev_adjust_nb_rx_tx_desc(port, &receive, &send) < 0 ||
	    rte_eth_rx_queue_setup(port, 0, receive, (unsigned int)rte_eth_dev_socket_id(port), NULL, receiving_pool) < 0 ||
	    rte_eth_tx_queue_setup(port, 0, send, (unsigned int)rte_eth_dev_socket_id(port), NULL) < 0 || rte_eth_dev_start(port) < 0)
		fail(name, "cannot be set up");
	/* Some virtual devices have no such mode and take everything. */
	(void)rte_eth_promiscuous_enable(port);
	return port;
}

static void wait_for_link(uint16_t port)
{
	struct rte_eth_link link = {0};

	for (int tries = 0; tries < 300; tries++) {
		if (rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP)
			return;
		rte_delay_us_sleep(100000);
	}
	fail("no link", "within thirty seconds");
}

static void send_some(struct trial *t, uint64_t *random, uint64_t wanted)
{
	struct rte_mbuf *mbufs[BURST];
	const uint32_t length = frames_length(&sent_frames), n = (uint32_t)RTE_MIN((uint64_t)BURST, wanted);
	uint16_t taken;

	if (rte_pktmbuf_alloc_bulk(sending_pool, mbufs, n) != 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		*random = *random * 6364136223846793005u + 1442695040888963407u;
		frames_write(&sent_frames, sent_frames.side, (uint32_t)(*random >> 40) & (sent_frames.flows - 1),
			     rte_pktmbuf_mtod(mbufs[i], uint8_t *));
		mbufs[i]->data_len = (uint16_t)length;
		mbufs[i]->pkt_len = length;
	}
	taken = rte_eth_tx_burst(sending_port, 0, mbufs, (uint16_t)n);
	/* What a virtual port does not take its other end has lost. */
	rte_pktmbuf_free_bulk(mbufs + taken, n - taken);
	t->sent += n;
}

/* All lengths are looked at, and every byte of the first frame of each burst. */
static void receive_some(struct trial *t)
{
	struct rte_mbuf *mbufs[BURST];
	const uint16_t n = rte_eth_rx_burst(receiving_port, 0, mbufs, BURST);

	if (n == 0)
		return;
	for (uint16_t i = 0; i < n; i++)
		t->wrong += mbufs[i]->pkt_len != frames_length(&received_frames);
	if (mbufs[0]->pkt_len == frames_length(&received_frames) && mbufs[0]->nb_segs == 1)
		t->wrong += !frames_has(&received_frames, rte_pktmbuf_mtod(mbufs[0], const uint8_t *), mbufs[0]->pkt_len);
	rte_pktmbuf_free_bulk(mbufs, n);
	t->received += n;
	t->last = rte_rdtsc();
}

/* What came back late belongs to no trial. */
static void drain(void)
{
	struct trial late = {0};
	const uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 100;

	while (rte_rdtsc() < end)
		receive_some(&late);
}

static struct trial run_trial(double rate, double seconds)
{
	const uint64_t hertz = rte_get_tsc_hz(), begin = rte_rdtsc(), end = begin + (uint64_t)(seconds * (double)hertz);
	const double frames_per_tick = rate / (double)hertz;
	struct trial t = {.last = end};
	uint64_t random = begin, now;

	while ((now = rte_rdtsc()) < end) {
		const uint64_t due = (uint64_t)((double)(now - begin) * frames_per_tick) + 1;

		if (due > t.sent)
			send_some(&t, &random, due - t.sent);
		receive_some(&t);
	}
	while (now < t.last + hertz * LAST_FRAMES_MS / 1000 && now < end + hertz * LAST_FRAMES_MOST_MS / 1000) {
		(void)rte_eth_tx_done_cleanup(sending_port, 0, 0);
		receive_some(&t);
		now = rte_rdtsc();
	}
	return t;
}

int main(int argc, char **argv)
{
	struct settings settings;
	struct rte_eth_link link = {0};
	double rate, seconds;
	char line[128];
	int used;

	used = rte_eal_init(argc, argv);
	if (used < 0)
		fail("rte_eal_init", rte_strerror(rte_errno));
	argc -= used;
	argv += used;
	if (argc != 4 || settings_read(argv[3], &settings) < 0 || settings.send < 0 || settings.receive < 0)
		fail("usage", "apus-bench-tester EAL... -- SENDING_DEVICE RECEIVING_DEVICE send=SIDE,receive=SIDE,...");
	settings_frames(&settings, settings.send, &sent_frames);
	settings_frames(&settings, settings.receive, &received_frames);
	sending_pool = rte_pktmbuf_pool_create("sending", MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	receiving_pool = rte_pktmbuf_pool_create("receiving", MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, (int)rte_socket_id());
	if (sending_pool == NULL || receiving_pool == NULL)
		fail("no memory", rte_strerror(rte_errno));
	rte_mempool_obj_iter(sending_pool, fill, NULL);
	sending_port = open_port(argv[1]);
	receiving_port = strcmp(argv[1], argv[2]) == 0 ? sending_port : open_port(argv[2]);
	puts("{}"); /* the other end may come */
	fflush(stdout);
	wait_for_link(sending_port);
	wait_for_link(receiving_port);
	(void)rte_eth_link_get_nowait(sending_port, &link);
	printf("{\"link_mbps\": %" PRIu32 ", \"bytes\": %" PRIu32 "}\n", link.link_speed, frames_length(&sent_frames));
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL && sscanf(line, "%lf %lf", &rate, &seconds) == 2) {
		struct trial t;

		drain();
		t = run_trial(rate, seconds);
		printf("{\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"wrong\": %" PRIu64 "}\n", t.sent, t.received, t.wrong);
		fflush(stdout);
	}
	rte_eth_dev_stop(sending_port);
	rte_eth_dev_stop(receiving_port);
	return rte_eal_cleanup() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
