/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file apus_dpdk.h
 * @brief Apus on DPDK: ethdev ports and mbufs in front of apus_worker_process().
 *
 * This is a library of its own (`apus_dpdk`, on top of `apus`), for hosts that use DPDK; apus.h does not
 * include it. It includes no DPDK header, so that a program which only opens devices and polls needs none.
 *
 * The host has initialised the EAL (rte_eal_init) before the first call and cleans it up after the last;
 * this library never does either. It starts no thread, installs no signal handler and prints nothing.
 *
 * @code
 *     apus_dpdk_device_open("net_tap0", NULL, &tap);            // 1. any ethdev: configured and started
 *     apus_dpdk_device_bind(tap, port_id);                      // 2. it is this port of the dataplane
 *     apus_dpdk_worker_create(dp, NULL, &worker);               // 3. one worker a thread, with a queue
 *     apus_dpdk_worker_attach(worker, tap, 0, 0);               //    pair of each device
 *     while (!stop)
 *             apus_dpdk_worker_poll(worker);                    // 4. receive, process, transmit
 *     apus_dpdk_worker_destroy(worker);                         // 5. workers first,
 *     apus_dpdk_device_close(tap);                              //    then devices
 * @endcode
 *
 * ## Where every mbuf went
 *
 * Received mbufs either reach the dataplane or are counted here, and so are those that it wants to send:
 *
 *     received (here) - rx_no_buffer - rx_malformed - rx_refused = received (struct apus_stats)
 *     transmitted (struct apus_stats) = transmitted (here) + tx_full + tx_too_long + tx_no_device + tx_segmented
 *
 * The statistics of an ethdev itself are no replacement: several drivers do not count what they drop.
 *
 * ## mbufs
 *
 * Frames are not copied. The dataplane writes only into the head of a frame (its first APUS_CONTIGUOUS bytes
 * and the headroom), so these must be contiguous and belong to this frame alone. An mbuf that is not so - a short
 * first segment, little headroom, a reference count above 1, an indirect mbuf, an external buffer - gets a new
 * head with a copy of the first bytes (`rx_copied`); the rest stays where it is and is only read.
 * A chain that contradicts itself is dropped (`rx_malformed`).
 *
 * The rules of apus.h hold: a call that fails changes nothing, misuse never traps, a handle that was closed
 * is recognised (APUS_ERR_STALE), and `size`-led structs may be NULL where noted. Control functions - all but
 * poll and process - may be called from any thread, one at a time: a second caller gets APUS_ERR_BUSY.
 */
#ifndef APUS_DPDK_H
#define APUS_DPDK_H

#include "dataplane.h"
#include "error.h"
#include "version.h"
#include "worker.h"

APUS_BEGIN_DECLS

struct rte_mbuf;
struct rte_mempool;

/** An ethdev port that was opened. A handle, as apus_dataplane. */
struct apus_dpdk_device;

/** A worker with queues of devices. A handle, as apus_dataplane. */
struct apus_dpdk_worker;

#define APUS_DPDK_DEVICES_MAX 256u      /**< per process; DPDK's own limit (RTE_MAX_ETHPORTS) may be lower */
#define APUS_DPDK_WORKERS_MAX 256u      /**< per process */
#define APUS_DPDK_WORKER_QUEUES_MAX 512u /**< receive queues of one worker */
#define APUS_DPDK_BURST_MAX 256u        /**< mbufs in one call of apus_dpdk_worker_process() */
#define APUS_DPDK_NO_QUEUE 0xffffu      /**< apus_dpdk_worker_attach(): only send on this device */
#define APUS_DPDK_NO_PORT 0xffffffffu   /**< apus_dpdk_device_bind(): no port; what is received is dropped (PORT_UNKNOWN) */

/** The device or its driver refused; the error text says what and with which errno. Beside enum apus_error. */
#define APUS_DPDK_ERR_DEVICE (-64)

/** As apus_strerror(), and for APUS_DPDK_ERR_DEVICE too. Static text. Any thread. */
const char *apus_dpdk_strerror(int error);

/* ---- devices --------------------------------------------------------------------------------------------------- */

/** apus_dpdk_device_opts.flags: take only frames for the device's own MAC address. Default: promiscuous, as a switch needs. */
#define APUS_DPDK_DEVICE_NO_PROMISCUOUS 0x1u
/** apus_dpdk_device_opts.flags: never believe the device's verdict on IP checksums. */
#define APUS_DPDK_DEVICE_NO_CHECKSUM_OFFLOAD 0x2u
/** apus_dpdk_device_opts.flags: apus_dpdk_device_close() stops the ethdev but leaves it open (rte_eth_dev_close is the host's). */
#define APUS_DPDK_DEVICE_STOP_ONLY 0x4u

/** Options of a device; all-zero (or NULL) is a good default. */
struct apus_dpdk_device_opts {
	size_t size;
	uint16_t rx_queues;      /**< wanted; the device may have fewer, see apus_dpdk_device_info; 0 = 1 */
	uint16_t tx_queues;      /**< wanted, as rx_queues: one for each worker that sends here; 0 = 1 */
	uint16_t rx_descriptors; /**< of each queue, adjusted to what the device can; 0 = what the driver recommends, else 1024 */
	uint16_t tx_descriptors; /**< as rx_descriptors */
	uint16_t mtu;            /**< largest IP packet; 0 = leave it as it is; 68-65535 */
	uint16_t buffer_size;    /**< bytes of an mbuf beyond the headroom, when the pool is made here; 0 = 2048; 512-32768 */
	uint32_t pool_size;      /**< mbufs of the pool that is made here; 0 = all descriptors and 2048 more; at most 16777216 */
	struct rte_mempool *pool; /**< where received frames go; NULL = a pool is made, and freed when all of it is back */
	uint32_t flags;          /**< APUS_DPDK_DEVICE_* */
	uint32_t reserved;       /**< zero */
	char *error_text;        /**< where to write why the call failed (NUL-terminated); may be NULL */
	size_t error_text_size;
};

/**
 * Configure and start an ethdev port: a PCI NIC, or a vdev such as net_tap, net_af_packet, net_vhost, net_memif,
 * net_ring, net_pcap or net_null. Receive-side scaling over the inner headers, or else the outer ones, is turned on
 * where the device can and has more than one receive queue; VLAN stripping is turned off.
 *
 * @param      name  name of the ethdev ("net_tap0", "0000:03:00.0"), or "port:N" for ethdev port id N
 * @param      opts  options, or NULL
 * @param[out] out   the handle
 * @return 0; APUS_ERR_NULL (name, out), APUS_ERR_SIZE, APUS_ERR_UNKNOWN_FIELD, APUS_ERR_RANGE, APUS_ERR_NOT_FOUND (no such
 *         ethdev; the text lists those that exist), APUS_ERR_IN_USE (opened already, or started by somebody else),
 *         APUS_ERR_MEMORY, APUS_ERR_LIMIT, APUS_ERR_BUSY, APUS_DPDK_ERR_DEVICE
 * @note Context: control. After an error the ethdev is stopped, but may have been configured.
 */
int apus_dpdk_device_open(const char *name, const struct apus_dpdk_device_opts *opts, struct apus_dpdk_device **out);

/**
 * Stop and close a device. No worker may be attached to it any more. A pool that was made here is freed now or,
 * if some of its mbufs are still in other devices, when a later close or worker destroy finds it complete.
 *
 * @param device  NULL is ignored
 * @return 0; APUS_ERR_STALE, APUS_ERR_BUSY, APUS_ERR_IN_USE (attached to a worker)
 */
int apus_dpdk_device_close(struct apus_dpdk_device *device);

/**
 * Say which port of the dataplane a device is. May be changed while workers poll: the next round of each
 * uses the new number. Two devices of one worker must not have the same port. Ports of all kinds have devices but external ones with a
 * `parent_port`: their frames come and go through the device of that.
 *
 * @param port  port id, or APUS_DPDK_NO_PORT
 * @return 0; APUS_ERR_NULL, APUS_ERR_STALE
 * @note Any thread, any time.
 */
int apus_dpdk_device_bind(struct apus_dpdk_device *device, uint32_t port);

/** What a device is. */
struct apus_dpdk_device_info {
	size_t size;
	uint32_t port;      /**< port id of the dataplane, or APUS_DPDK_NO_PORT */
	uint16_t ethdev;    /**< ethdev port id */
	uint16_t rx_queues; /**< that were set up */
	uint16_t tx_queues; /**< that were set up */
	uint16_t rx_descriptors; /**< of each queue */
	uint16_t tx_descriptors; /**< of each queue */
	uint16_t mtu;
	struct apus_mac mac;     /**< the device's own */
	uint8_t rss;             /**< 1 when frames are spread over the receive queues by their headers */
	uint8_t checksum;        /**< 1 when the device verifies IPv4 header checksums */
	uint8_t multi_segment;   /**< 1 when it sends chained mbufs; else they are made contiguous, if they fit */
	uint8_t link_up;         /**< 1 when it has a link now */
	uint8_t reserved[4];
	int32_t socket;          /**< NUMA node; -1 = any */
	struct rte_mempool *pool;
	char name[64];
};

/** Read what a device is. @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE, APUS_ERR_BUSY */
int apus_dpdk_device_info_get(struct apus_dpdk_device *device, struct apus_dpdk_device_info *out);

/**
 * What an ethdev that is not open yet could be: fills name, ethdev, mac, socket, mtu, and in rx_queues and tx_queues the
 * most that it can have; everything else is zero. @param name as in apus_dpdk_device_open() @return 0; APUS_ERR_NULL,
 * APUS_ERR_SIZE, APUS_ERR_NOT_FOUND, APUS_DPDK_ERR_DEVICE
 */
int apus_dpdk_device_probe(const char *name, struct apus_dpdk_device_info *out);

/** Counters of a device, or of a worker: see the identities above. They only grow. */
struct apus_dpdk_stats {
	size_t size;
	uint64_t received;     /**< mbufs that the devices gave (apus_dpdk_worker_process(): that the host gave) */
	uint64_t transmitted;  /**< mbufs that the devices took (apus_dpdk_worker_process(): that the host got) */
	uint64_t tx_full;      /**< dropped: the device took no more (back-pressure); freed, never retried later */
	uint64_t tx_too_long;  /**< dropped: longer than the device's MTU */
	uint64_t tx_segmented; /**< dropped: chained, which the device cannot send, and too long to be made contiguous */
	uint64_t tx_no_device; /**< dropped: no device of this worker has the port; workers only */
	uint64_t rx_no_buffer; /**< dropped: needed a new head and there was no mbuf for it */
	uint64_t rx_malformed; /**< dropped: segments, lengths and counts contradict each other */
	uint64_t rx_refused;   /**< dropped: apus_worker_process() took nothing (the dataplane's worker was misused) */
	uint64_t rx_copied;    /**< not dropped: got a new head */
	uint64_t no_answer;    /**< no mbuf for an answer or a copy that the dataplane wanted to make; workers only */
	uint64_t rounds;       /**< calls of poll and process; workers only */
	uint64_t idle_rounds;  /**< those that received nothing; workers only */
};

/** Read a device's counters, summed over all workers, living and destroyed. @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE, APUS_ERR_BUSY */
int apus_dpdk_device_stats_get(struct apus_dpdk_device *device, struct apus_dpdk_stats *out);

/* ---- workers --------------------------------------------------------------------------------------------------- */

/** Options of a worker; all-zero (or NULL) is a good default. */
struct apus_dpdk_worker_opts {
	size_t size;
	uint32_t flow_capacity; /**< as in struct apus_worker_opts */
	uint32_t held_capacity; /**< as in struct apus_worker_opts */
	uint32_t burst;         /**< mbufs taken from a queue in one round; 0 = 64; 1-APUS_DPDK_BURST_MAX */
	uint32_t pool_size;     /**< mbufs of the pool that is made here; 0 = 2047 */
	struct rte_mempool *pool; /**< for answers, copies and new heads; NULL = a pool is made, and freed as in apus_dpdk_device_close() */
	int32_t socket;         /**< NUMA node + 1 of the worker's memory; 0 = that of the calling thread */
	uint32_t flags;         /**< zero */
	char *error_text;       /**< where to write why the call failed (NUL-terminated); may be NULL */
	size_t error_text_size;
};

/**
 * Create a worker of a dataplane; it owns one `struct apus_worker`.
 *
 * @return 0; what apus_worker_create() returns, APUS_ERR_RANGE (burst, pool_size, a pool whose mbufs have less than 256
 *         bytes beyond a headroom of 128)
 * @note Context: control. Use it from one thread at a time, as an apus_worker.
 */
int apus_dpdk_worker_create(struct apus_dataplane *dataplane, const struct apus_dpdk_worker_opts *opts,
			    struct apus_dpdk_worker **out);

/**
 * Destroy a worker: waiting packets are dropped, its devices are free for another one, its counters stay in theirs.
 *
 * @param worker  NULL is ignored
 * @return 0; APUS_ERR_STALE, APUS_ERR_BUSY
 */
int apus_dpdk_worker_destroy(struct apus_dpdk_worker *worker);

/**
 * Give a worker queues of a device. Each queue belongs to one worker at most. For several receive queues of one
 * device call it once for each, with the same transmit queue. A worker can send only to devices that it is attached
 * to: attach every device to every worker, to some perhaps with APUS_DPDK_NO_QUEUE as receive queue.
 *
 * @return 0; APUS_ERR_NULL, APUS_ERR_STALE (either), APUS_ERR_RANGE (a queue that the device does not have),
 *         APUS_ERR_IN_USE (a queue is another worker's, or given already), APUS_ERR_CONFLICT (another transmit queue than
 *         before), APUS_ERR_LIMIT, APUS_ERR_BUSY (the worker is in a round, or a control call runs)
 */
int apus_dpdk_worker_attach(struct apus_dpdk_worker *worker, struct apus_dpdk_device *device,
			    uint16_t rx_queue, uint16_t tx_queue);

/**
 * One round: receive from each queue, process, transmit. Call it in a loop, also when nothing arrives: at least every
 * 100 ms. What a device does not take at once is dropped and counted.
 *
 * @return the number of mbufs received; APUS_ERR_NULL, APUS_ERR_STALE, APUS_ERR_BUSY
 * @note Context: data path: no allocation but of mbufs, no lock, no system call but the drivers' own.
 */
int apus_dpdk_worker_poll(struct apus_dpdk_worker *worker);

/**
 * Process mbufs that the host has received itself, and let it send them itself.
 *
 * @param in      Ethernet frames; each belongs to the library afterwards
 * @param n_in    0 to APUS_DPDK_BURST_MAX
 * @param port    the port of the dataplane that they came from
 * @param out     mbufs ready to send; must not overlap `in`
 * @param ports   the port of the dataplane that each goes to
 * @param capacity  of `out` and `ports`: at least n_in, n_in + 64 is ample
 * @return the number of mbufs in `out`; APUS_ERR_NULL, APUS_ERR_STALE, APUS_ERR_RANGE, APUS_ERR_BUSY: then nothing was taken
 * @note Context: data path, as poll. May be mixed with poll.
 */
int apus_dpdk_worker_process(struct apus_dpdk_worker *worker, struct rte_mbuf **in, uint32_t n_in, uint32_t port,
			     struct rte_mbuf **out, uint32_t *ports, uint32_t capacity);

/** Read a worker's counters. @note Any thread, also while it polls. @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE, APUS_ERR_BUSY */
int apus_dpdk_worker_stats_get(struct apus_dpdk_worker *worker, struct apus_dpdk_stats *out);

/** @return the worker of the dataplane inside, for apus_worker_stats_get(); NULL if stale. Do not process with it. */
struct apus_worker *apus_dpdk_worker_core(struct apus_dpdk_worker *worker);

APUS_END_DECLS

#endif /* APUS_DPDK_H */
