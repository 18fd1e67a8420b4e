/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_apusbench: a source and a sink of frames, as an ethdev that any DPDK program can load (-d), so that
 * all pay the same for them. What is received is made on the spot (frames.h), flows drawn at random; what is sent is
 * counted, looked at if that is wanted, and freed.
 *
 *   counters=FILE             where it counts (counters.h); required
 *   receive=SIDE, send=SIDE   what is received, and what is expected to be sent; without: nothing is received, and whatever
 *                             is sent is wrong
 *   ring=N                    frames lie so long in a ring before they are received, as those of a NIC do; 0: just written
 *
 * and what settings.h says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include "counters.h"
#include "frames.h"
#include "settings.h"

/* What a driver sets of an mbuf: data offset, references, segments, port, flags, type, lengths, tag, hash. */
#define DESCRIPTION offsetof(struct rte_mbuf, rearm_data)

#define BURST_MOST 512u
#define MTU_MOST 1900u

struct source {
	struct frames frames;
	uint64_t random;
	uint8_t description[32]; /* what each mbuf says of its frame, from DESCRIPTION on */
	uint16_t port;
	struct rte_mempool *pool;
	struct counters *counters;
	typeof(&((struct counters *)0)->received[0]) count;
	uint32_t ring_size, ring_position;
	struct rte_mbuf *ring[RING_MOST];
};

struct sink {
	struct frames frames;
	uint32_t length;
	uint16_t port;
	bool expects;
	struct counters *counters;
	typeof(&((struct counters *)0)->sent[0]) count;
};

struct device {
	struct settings settings;
	struct counters *counters;
	struct rte_ether_addr mac;
};

/* ---- source ---------------------------------------------------------------------------------------------------- */

/* The mbufs are as they came from the pool: of what freeing leaves in them this sets what a NIC's driver would set. */
static __rte_always_inline void make(struct source *s, enum side side, struct rte_mbuf **mbufs, uint32_t n)
{
	uint64_t random = s->random;

	for (uint32_t i = 0; i < n; i++) {
		struct rte_mbuf *m = mbufs[i];

		memcpy((uint8_t *)m + DESCRIPTION, s->description, sizeof(s->description));
		random = random * 6364136223846793005u + 1442695040888963407u;
		frames_write(&s->frames, side, (uint32_t)(random >> 40) & (s->frames.flows - 1),
			     (uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM);
	}
	s->random = random;
}

static __rte_always_inline uint16_t receive(struct source *s, enum side side, struct rte_mbuf **mbufs, uint16_t n)
{
	struct rte_mbuf **out = mbufs, *made[BURST_MOST];

	if (s->ring_size != 0) {
		n = (uint16_t)RTE_MIN(RTE_MIN((uint32_t)n, BURST_MOST), s->ring_size - s->ring_position);
		mbufs = made;
	}
	if (rte_mempool_get_bulk(s->pool, (void **)mbufs, n) != 0) {
		s->count->no_buffer += n;
		return 0;
	}
	make(s, side, mbufs, n);
	if (s->ring_size != 0) {
		/* Hand out the oldest, put the new ones in their places. */
		memcpy(out, s->ring + s->ring_position, n * sizeof(*out));
		memcpy(s->ring + s->ring_position, made, n * sizeof(*out));
		s->ring_position = (s->ring_position + n) & (s->ring_size - 1);
	}
	s->count->packets += n;
	return n;
}

static uint16_t receive_inner(void *s, struct rte_mbuf **mbufs, uint16_t n) { return receive(s, INNER, mbufs, n); }
static uint16_t receive_inner_back(void *s, struct rte_mbuf **mbufs, uint16_t n) { return receive(s, INNER_BACK, mbufs, n); }
static uint16_t receive_outer(void *s, struct rte_mbuf **mbufs, uint16_t n) { return receive(s, OUTER, mbufs, n); }
static uint16_t receive_outer_back(void *s, struct rte_mbuf **mbufs, uint16_t n) { return receive(s, OUTER_BACK, mbufs, n); }

static const eth_rx_burst_t receive_of[] = {
	[INNER] = receive_inner, [INNER_BACK] = receive_inner_back, [OUTER] = receive_outer, [OUTER_BACK] = receive_outer_back};

/* Say which thread that is, once: the benchmark wants to know how long it ran. */
static uint16_t receive_first(void *queue, struct rte_mbuf **mbufs, uint16_t n)
{
	struct source *s = queue;
	const eth_rx_burst_t next = receive_of[s->frames.side];

	s->counters->thread = (uint64_t)rte_gettid();
	rte_eth_devices[s->port].rx_pkt_burst = next;
	rte_eth_fp_ops[s->port].rx_pkt_burst = next;
	return next(queue, mbufs, n);
}

static uint16_t receive_nothing(void *queue, struct rte_mbuf **mbufs, uint16_t n)
{
	RTE_SET_USED(queue);
	RTE_SET_USED(mbufs);
	RTE_SET_USED(n);
	return 0;
}

/* What is alike in all frames is written into every buffer once: a NIC would write it by DMA, at no cost to the core. */
static void fill(struct rte_mempool *pool, void *frames, void *object, unsigned int index)
{
	const struct frames *f = frames;
	struct rte_mbuf *m = object;

	RTE_SET_USED(pool);
	RTE_SET_USED(index);
	memcpy((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, f->head, frames_length(f));
}

static int set_up_receiving(struct rte_eth_dev *dev, uint16_t queue, uint16_t descriptors, unsigned int socket,
			    const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	const struct device *d = dev->data->dev_private;
	struct source *s = rte_zmalloc_socket(NULL, sizeof(*s), RTE_CACHE_LINE_SIZE, (int)socket);
	struct rte_mbuf pattern;
	uint32_t length;

	RTE_SET_USED(descriptors);
	RTE_SET_USED(conf);
	if (s == NULL)
		return -ENOMEM;
	dev->data->rx_queues[queue] = s;
	s->random = 0x9E3779B97F4A7C15u * (queue + 1u);
	s->port = dev->data->port_id;
	s->pool = pool;
	s->counters = d->counters;
	s->count = &d->counters->received[queue];
	if (d->settings.receive < 0)
		return 0;
	settings_frames(&d->settings, d->settings.receive, &s->frames);
	length = frames_length(&s->frames);
	if (length + RTE_PKTMBUF_HEADROOM > rte_pktmbuf_data_room_size(pool))
		return -ENOSPC;
	memset(&pattern, 0, sizeof(pattern));
	pattern.data_off = RTE_PKTMBUF_HEADROOM;
	pattern.nb_segs = 1;
	pattern.port = s->port;
	rte_mbuf_refcnt_set(&pattern, 1);
	pattern.pkt_len = length;
	pattern.data_len = (uint16_t)length;
	memcpy(s->description, (const uint8_t *)&pattern + DESCRIPTION, sizeof(s->description));
	rte_mempool_obj_iter(pool, fill, &s->frames);
	return 0;
}

static int start_source(struct source *s, uint32_t ring)
{
	if (s->ring_size == ring)
		return 0;
	if (rte_mempool_get_bulk(s->pool, (void **)s->ring, ring) != 0)
		return -ENOMEM;
	make(s, s->frames.side, s->ring, ring);
	s->ring_size = ring;
	return 0;
}

static void free_source(struct rte_eth_dev *dev, uint16_t queue)
{
	struct source *s = dev->data->rx_queues[queue];

	if (s != NULL)
		rte_pktmbuf_free_bulk(s->ring, s->ring_size);
	rte_free(s);
	dev->data->rx_queues[queue] = NULL;
}

/* ---- sink ------------------------------------------------------------------------------------------------------ */

static __rte_noinline void check(struct sink *s, struct rte_mbuf **mbufs, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		s->count->wrong += !s->expects || mbufs[i]->nb_segs != 1 || mbufs[i]->data_len != mbufs[i]->pkt_len ||
				   !frames_has(&s->frames, rte_pktmbuf_mtod(mbufs[i], const uint8_t *), mbufs[i]->pkt_len);
	s->count->checked += n;
}

static uint16_t transmit(void *queue, struct rte_mbuf **mbufs, uint16_t n)
{
	struct sink *s = queue;
	uint64_t bytes = 0, wrong = 0;

	for (uint16_t i = 0; i < n; i++) {
		bytes += mbufs[i]->pkt_len;
		wrong += mbufs[i]->pkt_len != s->length;
	}
	if (unlikely(__atomic_load_n(&s->counters->is_checking, __ATOMIC_RELAXED)))
		check(s, mbufs, n);
	rte_pktmbuf_free_bulk(mbufs, n);
	s->count->packets += n;
	s->count->bytes += bytes;
	s->count->wrong_length += wrong;
	return n;
}

/* As receive_first(). */
static uint16_t transmit_first(void *queue, struct rte_mbuf **mbufs, uint16_t n)
{
	struct sink *s = queue;

	if (s->counters->thread == 0)
		s->counters->thread = (uint64_t)rte_gettid();
	rte_eth_devices[s->port].tx_pkt_burst = transmit;
	rte_eth_fp_ops[s->port].tx_pkt_burst = transmit;
	return transmit(queue, mbufs, n);
}

static int set_up_sending(struct rte_eth_dev *dev, uint16_t queue, uint16_t descriptors, unsigned int socket,
			  const struct rte_eth_txconf *conf)
{
	const struct device *d = dev->data->dev_private;
	struct sink *s = rte_zmalloc_socket(NULL, sizeof(*s), RTE_CACHE_LINE_SIZE, (int)socket);

	RTE_SET_USED(descriptors);
	RTE_SET_USED(conf);
	if (s == NULL)
		return -ENOMEM;
	dev->data->tx_queues[queue] = s;
	s->port = dev->data->port_id;
	s->counters = d->counters;
	s->count = &d->counters->sent[queue];
	s->expects = d->settings.send >= 0;
	if (s->expects) {
		settings_frames(&d->settings, d->settings.send, &s->frames);
		s->length = frames_length(&s->frames);
	}
	return 0;
}

static void free_sink(struct rte_eth_dev *dev, uint16_t queue)
{
	rte_free(dev->data->tx_queues[queue]);
	dev->data->tx_queues[queue] = NULL;
}

/* ---- the device ------------------------------------------------------------------------------------------------ */

static int configure(struct rte_eth_dev *dev)
{
	RTE_SET_USED(dev);
	return 0;
}

static int start(struct rte_eth_dev *dev)
{
	const struct device *d = dev->data->dev_private;

	for (uint16_t queue = 0; d->settings.receive >= 0 && queue < dev->data->nb_rx_queues; queue++) {
		const int result = start_source(dev->data->rx_queues[queue], d->settings.ring);

		if (result < 0)
			return result;
	}
	dev->rx_pkt_burst = d->settings.receive >= 0 ? receive_first : receive_nothing;
	dev->tx_pkt_burst = transmit_first;
	dev->data->dev_link.link_status = RTE_ETH_LINK_UP;
	return 0;
}

static int stop(struct rte_eth_dev *dev)
{
	dev->data->dev_link.link_status = RTE_ETH_LINK_DOWN;
	return 0;
}

static int describe(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	const struct device *d = dev->data->dev_private;

	info->max_mac_addrs = 1;
	info->max_rx_pktlen = MTU_MOST + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;
	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_mtu = MTU_MOST;
	info->max_rx_queues = QUEUES_MOST;
	info->max_tx_queues = QUEUES_MOST;
	info->default_rxportconf.ring_size = (uint16_t)RTE_MAX(d->settings.ring, 1024u);
	info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	return 0;
}

static int get_stats(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	const struct device *d = dev->data->dev_private;

	for (int queue = 0; queue < QUEUES_MOST; queue++) {
		stats->ipackets += d->counters->received[queue].packets;
		stats->rx_nombuf += d->counters->received[queue].no_buffer;
		stats->opackets += d->counters->sent[queue].packets;
		stats->obytes += d->counters->sent[queue].bytes;
	}
	return 0;
}

/* Nothing is to be done for what a program may ask. */
static int yes(struct rte_eth_dev *dev)
{
	RTE_SET_USED(dev);
	return 0;
}

static int update_link(struct rte_eth_dev *dev, int wait)
{
	RTE_SET_USED(wait);
	return yes(dev);
}

static int set_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
	RTE_SET_USED(mtu);
	return yes(dev);
}

static int set_mac(struct rte_eth_dev *dev, struct rte_ether_addr *mac)
{
	RTE_SET_USED(mac);
	return yes(dev);
}

static int close_device(struct rte_eth_dev *dev)
{
	struct device *d = dev->data->dev_private;

	munmap(d->counters, sizeof(*d->counters));
	dev->data->mac_addrs = NULL; /* part of dev_private */
	return 0;
}

static const struct eth_dev_ops operations = {
	.dev_configure = configure,
	.dev_start = start,
	.dev_stop = stop,
	.dev_close = close_device,
	.dev_infos_get = describe,
	.rx_queue_setup = set_up_receiving,
	.rx_queue_release = free_source,
	.tx_queue_setup = set_up_sending,
	.tx_queue_release = free_sink,
	.link_update = update_link,
	.stats_get = get_stats,
	.stats_reset = yes,
	.promiscuous_enable = yes,
	.promiscuous_disable = yes,
	.allmulticast_enable = yes,
	.allmulticast_disable = yes,
	.mtu_set = set_mtu,
	.mac_addr_set = set_mac,
};

/* ---- coming and going ------------------------------------------------------------------------------------------ */

static struct counters *map_counters(const char *path)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);
	struct counters *c;

	if (fd < 0)
		return NULL;
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (c == MAP_FAILED)
		return NULL;
	c->tsc_hertz = rte_get_tsc_hz();
	return c;
}

static int probe(struct rte_vdev_device *vdev)
{
	static uint8_t made;
	struct settings settings;
	struct rte_eth_dev *dev;
	struct counters *counters;
	struct device *d;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return -ENOTSUP;
	if (settings_read(rte_vdev_device_args(vdev), &settings) < 0 || settings.counters[0] == '\0')
		return -EINVAL;
	counters = map_counters(settings.counters);
	if (counters == NULL)
		return -errno;
	if (vdev->device.numa_node == SOCKET_ID_ANY)
		vdev->device.numa_node = (int)rte_socket_id();
	dev = rte_eth_vdev_allocate(vdev, sizeof(*d));
	if (dev == NULL) {
		munmap(counters, sizeof(*counters));
		return -ENOMEM;
	}
	d = dev->data->dev_private;
	d->settings = settings;
	d->counters = counters;
	d->mac = (struct rte_ether_addr){{0x02, 0x03, 0, 0, 0, ++made}};
	dev->data->mac_addrs = &d->mac;
	dev->data->dev_link = (struct rte_eth_link){
		.link_speed = RTE_ETH_SPEED_NUM_100G, .link_duplex = RTE_ETH_LINK_FULL_DUPLEX, .link_autoneg = RTE_ETH_LINK_FIXED};
	dev->data->dev_flags |= RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS;
	dev->dev_ops = &operations;
	dev->rx_pkt_burst = receive_nothing;
	dev->tx_pkt_burst = transmit_first;
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int remove_device(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (dev != NULL) {
		close_device(dev);
		rte_eth_dev_release_port(dev);
	}
	return 0;
}

static struct rte_vdev_driver driver = {.probe = probe, .remove = remove_device};

RTE_PMD_REGISTER_VDEV(net_apusbench, driver);
RTE_PMD_REGISTER_PARAM_STRING(net_apusbench, "counters=<file> receive=<side> send=<side> flows=<int> records=<int> hosts=<int> "
					     "frame=<int> ring=<int>");
