/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file worker.h
 * @brief The data path: a worker, a burst of frames in, a burst of frames out.
 */
#ifndef APUS_WORKER_H
#define APUS_WORKER_H

#include "dataplane.h"

APUS_BEGIN_DECLS

/** What one thread needs to process packets: a flow cache, counters, waiting packets. A handle, as apus_dataplane. */
struct apus_worker;

/** Bytes before `data` that a frame should have: room for outer Ethernet + 802.1Q + IPv6 + UDP + VXLAN and some. */
#define APUS_HEADROOM 96u
/** A frame's first bytes that must be contiguous in memory: min(length, this). Enough for every header that is read. */
#define APUS_CONTIGUOUS 192u
/** The largest frame that is accepted, in bytes. */
#define APUS_FRAME_MAX 65535u

/** apus_frame.flags, in: the device has verified the (outer) IPv4 header checksum and found it good. */
#define APUS_FRAME_IP_CHECKSUM_GOOD 0x1u
/** apus_frame.flags, in: the device has found the (outer) IPv4 header checksum wrong. */
#define APUS_FRAME_IP_CHECKSUM_BAD 0x2u
/** apus_frame.flags, out: the library put an outer header before the frame that came in. */
#define APUS_FRAME_ENCAPSULATED 0x100u
/** apus_frame.flags, out: the library made this frame (an ARP, ND or ICMP answer, a request, a copy for this host). A copy for another host has APUS_FRAME_ENCAPSULATED alone. */
#define APUS_FRAME_GENERATED 0x200u

/**
 * A frame: Ethernet without FCS. In: as received, `port` is where it came from. Out: ready to send,
 * `port` is where it goes. The bytes from `data - headroom` to `data + min(length, contiguous)` must be
 * writable and belong to this frame alone. The part of a frame beyond `contiguous` is never touched.
 */
struct apus_frame {
	uint8_t *data;       /**< first byte of the Ethernet header */
	void *buffer;        /**< the host's handle of the memory (an mbuf, ...); returned unchanged */
	uint32_t length;     /**< bytes of the whole frame, at most APUS_FRAME_MAX */
	uint16_t contiguous; /**< bytes of it at `data`; at least min(length, APUS_CONTIGUOUS) */
	uint16_t headroom;   /**< writable bytes before `data` */
	uint32_t port;       /**< port id */
	uint32_t flags;      /**< APUS_FRAME_* */
};

/**
 * The host's packet buffers. Called from apus_worker_process() on its thread, and from
 * apus_worker_destroy(). They must not call the library.
 */
struct apus_buffers {
	/**
	 * Give an empty buffer for a frame that the library makes.
	 * Fill frame->data, buffer, contiguous (= writable bytes at data, at least `capacity`) and headroom
	 * (at least APUS_HEADROOM). @return 0, or nonzero when there is none (counted, never fatal)
	 */
	int (*allocate)(void *context, uint32_t capacity, struct apus_frame *frame);
	/** Take back the buffers of frames that were dropped or consumed. `count` is at least 1. */
	void (*release)(void *context, void *const *buffers, uint32_t count);
	void *context;
};

/**
 * Options of a worker.
 *
 * Without `buffers.allocate` the worker cannot ask for next hops (only static provider neighbours are reached, and nobody behind external ports), copy ARP
 * requests to several ports, fragment, or send ICMP errors; each attempt is counted as NO_BUFFER. Answers to ARP and echo
 * requests are made in place and need no buffer; those to neighbour discovery do.
 */
struct apus_worker_opts {
	size_t size;
	struct apus_buffers buffers;  /**< release is required, allocate is not: see above */
	uint32_t flow_capacity;       /**< IPv4 flows that are remembered, 64 bytes each; rounded up to a power of two; 0 = 65536; 64-16777216 */
	uint32_t held_capacity;       /**< packets that may wait for a next hop's address, in all; 0 = 256; 1-1024 */
	uint32_t flags;               /**< zero */
	uint32_t ipv6_flow_capacity;  /**< flows that are IPv6, outside or inside, 128 bytes each; 0 = flow_capacity */
};

/**
 * Create a worker.
 *
 * @return 0; APUS_ERR_NULL (opts, buffers.release, out), APUS_ERR_SIZE, APUS_ERR_UNKNOWN_FIELD, APUS_ERR_RANGE,
 *         APUS_ERR_MEMORY, APUS_ERR_LIMIT, APUS_ERR_STALE, APUS_ERR_BUSY
 * @note Context: control. Use it from one thread at a time; which one may change between calls if the
 *       host orders them (a mutex, a thread join).
 */
int apus_worker_create(struct apus_dataplane *dataplane, const struct apus_worker_opts *opts, struct apus_worker **out);

/** Destroy a worker: waiting packets are released and counted as dropped, its counters stay in the totals. @param worker NULL is ignored @return 0; APUS_ERR_STALE, APUS_ERR_BUSY */
int apus_worker_destroy(struct apus_worker *worker);

/**
 * Process one burst: the whole data path.
 *
 * Every frame of `in` now belongs to the library. It comes back in `out`, or through
 * `buffers.release`, or waits inside for a next hop's address (bounded; see apus_stats.held).
 * Frames of one flow keep their order. `in` itself may be changed.
 *
 * @param in        frames with their ingress port; may be NULL when n_in is 0
 * @param n_in      any number; call with 0 when idle, at least every 100 ms: ageing and retries happen here
 * @param out       frames with their egress port; must not overlap `in`
 * @param out_capacity  at least n_in; more (n_in + 64 is ample) lets answers, copies and waiting packets out;
 *                  what finds no room is counted as dropped (APUS_DROP_OUTPUT_FULL)
 * @param now_ns    monotonic time in nanoseconds, of one clock for all workers of a dataplane; a value before the previous one
 *                  counts as the previous one
 * @return the number of frames in `out`; APUS_ERR_NULL, APUS_ERR_STALE, APUS_ERR_RANGE (out_capacity),
 *         APUS_ERR_BUSY (another thread is inside this worker, or a callback called back): then nothing
 *         was taken, the frames are still the caller's
 * @note Context: data path: no allocation, no lock, no system call.
 */
int apus_worker_process(struct apus_worker *worker, struct apus_frame *in, uint32_t n_in,
			struct apus_frame *out, uint32_t out_capacity, uint64_t now_ns);

APUS_END_DECLS

#endif /* APUS_WORKER_H */
