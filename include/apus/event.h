/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file event.h
 * @brief What the data path learned, and what the control plane should know.
 *
 * Customer addresses of machines with an APUS_RECORD_L2_ONLY record are learned from their ARP packets. Workers never
 * change the policy: they note what they saw in a small ring of their own, and apus_event_poll() makes
 * records of it. So somebody has to call it, also where nobody wants to read the events. It also enters the next hops that packets want
 * behind external ports, of which it tells nothing: those packets wait for it, so a gateway's host calls it every few milliseconds.
 */
#ifndef APUS_EVENT_H
#define APUS_EVENT_H

#include "policy.h"

APUS_BEGIN_DECLS

/** What happened. In brackets: the fields that are filled beside kind, size and virtual_subnet_id. */
enum apus_event_kind {
	/** An APUS_RECORD_DYNAMIC record with the flag APUS_RECORD_UNSYNCHRONIZED was made. [port, customer_address, mac, provider_address, count, limit] */
	APUS_EVENT_RECORD_LEARNED = 1,
	/** Another machine has, or the same machine on another host, what a Dynamic record says; it was changed. [as before, previous_mac, previous_provider_address] */
	APUS_EVENT_RECORD_MOVED = 2,
	/** The same, but the record is not Dynamic: nothing changed, the packet was dropped. [port, customer_address, mac, provider_address, previous_mac, previous_provider_address] */
	APUS_EVENT_RECORD_CONFLICT = 3,
	/** Not learned: the machine has as many Dynamic records as it may. [port, customer_address, mac, provider_address, count, limit] */
	APUS_EVENT_LEARN_LIMIT = 4,
	/** The machine has now 80 % of the Dynamic records that it may have. [port, mac, provider_address, count, limit] */
	APUS_EVENT_LEARN_THRESHOLD = 5,
	/**
	 * More than `learn_rate` addresses: some were not learned. Told once, until one is learned again. [port, mac, provider_address]
	 * Of an external port: more next hops than that are new, and packets wait longer for some. [port]
	 */
	APUS_EVENT_LEARN_THROTTLED = 6,
	/** Events were lost, because a worker's ring was full or the worker was destroyed. [count] */
	APUS_EVENT_LOST = 7,
	/** A provider address passed duplicate address detection and has the state that it was given. [port, provider_address, mac: its own] */
	APUS_EVENT_ADDRESS_PREFERRED = 8,
	/** Another machine has a provider address of ours: it is APUS_ADDRESS_DUPLICATE now, and not used. [port, provider_address, mac: of that machine] */
	APUS_EVENT_ADDRESS_DUPLICATE = 9,
	/** The same, but after duplicate address detection: nothing changed. At most once a second for one address. [as before] */
	APUS_EVENT_ADDRESS_CONFLICT = 10,
	/**
	 * The host `previous_provider_address` says that a machine that packets were sent to is now at `provider_address` (REDIRECT of
	 * [MS-NVGREE]). Nothing changed: the message is not authenticated. Whoever trusts it, or has asked who knows, changes the lookup record of
	 * `customer_address`, which is that of the packet that caused it, or zero with `mac` if the message does not tell.
	 * [port, provider_address, previous_provider_address, customer_address, mac]
	 */
	APUS_EVENT_NVE_REDIRECT = 11,
	/** The host `previous_provider_address` has no policy for a packet that was sent to it (UNREACHABLE): policies differ. [port, previous_provider_address, customer_address and mac as before] */
	APUS_EVENT_NVE_UNREACHABLE = 12,
	APUS_EVENT_KIND_COUNT = 32 /**< size of arrays that are indexed by kind; unused values have no name */
};

/** What a worker's ring holds; further events are lost, and counted. */
#define APUS_EVENTS_MAX 256u
/** Dynamic records of one machine on another host. Of a local one: apus_port_params.dynamic_address_limit. */
#define APUS_REMOTE_ADDRESS_LIMIT 256u

struct apus_event {
	size_t size;
	uint32_t kind;              /**< enum apus_event_kind */
	uint32_t port;              /**< where it was seen: the machine's vm port, a provider port, or an external port */
	uint32_t virtual_subnet_id; /**< 0 for APUS_EVENT_LOST and APUS_EVENT_ADDRESS_* */
	uint32_t count;             /**< Dynamic records of the machine; for APUS_EVENT_LOST the number of lost events */
	uint32_t limit;             /**< Dynamic records that the machine may have */
	struct apus_address customer_address;
	struct apus_address provider_address;          /**< of the machine that was seen */
	struct apus_address previous_provider_address; /**< of the record */
	struct apus_mac mac;                           /**< of the machine that was seen */
	struct apus_mac previous_mac;                  /**< of the record */
};

/**
 * Take what workers saw since the last call: make or change Dynamic records, and say what happened. All changes of one
 * call become visible at once, as those of a transaction.
 *
 * @param out    an array; `size` of its first element is set, and is that of every element
 * @param count  elements of `out`, at least 1; what does not fit is taken by the next call
 * @return the number of events written, 0 when there is nothing; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE, APUS_ERR_BUSY,
 *         APUS_ERR_RANGE (count is 0 or beyond 2^31 - 1), APUS_ERR_TRANSACTION (one is open), APUS_ERR_MEMORY (nothing more was taken)
 * @note Context: control. Events come in order for each worker. A worker that does not leave its burst (APUS_ERR_STALLED) is
 *       not reported here but by the next change.
 */
int apus_event_poll(struct apus_dataplane *dataplane, struct apus_event *out, uint32_t count);

/** @return the name of a kind, "RECORD_LEARNED"; "" for other numbers. Static text. Any thread. */
const char *apus_event_name(uint32_t kind);

APUS_END_DECLS

#endif /* APUS_EVENT_H */
