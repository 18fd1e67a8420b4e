/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file dataplane.h
 * @brief The dataplane object: one policy, its workers, its transactions.
 */
#ifndef APUS_DATAPLANE_H
#define APUS_DATAPLANE_H

#include "address.h"
#include "error.h"

APUS_BEGIN_DECLS

/**
 * One policy and the workers that apply it. A process may have several (APUS_DATAPLANES_MAX); they
 * share nothing. The pointer is a handle, not an address: a destroyed one is recognised (APUS_ERR_STALE).
 */
struct apus_dataplane;

#define APUS_DATAPLANES_MAX 64u /**< per process */
#define APUS_WORKERS_MAX 256u   /**< per dataplane */
#define APUS_PORTS_MAX 4096u    /**< per dataplane */

/**
 * Where memory comes from. Called by control functions only, never by apus_worker_process().
 * Both or neither must be set; the default is posix_memalign() and free().
 */
struct apus_allocator {
	/** @return `size` bytes aligned to `alignment` (a power of two, at most 4096), or NULL */
	void *(*allocate)(void *context, size_t size, size_t alignment);
	/** Take back what `allocate` gave; `size` is the size asked for. */
	void (*release)(void *context, void *memory, size_t size);
	void *context;
};

/** apus_dataplane_opts.flags: accept and send VSIDs 1-4095 and 16777215 (RFC 7637 section 3.4). */
#define APUS_DATAPLANE_ACCEPT_RESERVED_VSIDS 0x1u
/** apus_dataplane_opts.flags: send FlowID 0 instead of a hash of the inner flow (Linux, OVS and VPP peers need it). */
#define APUS_DATAPLANE_FLOW_ID_ZERO 0x2u
/** apus_dataplane_opts.flags: do not check (CA, MAC, PA) of the inner source on decapsulation. The pair (VSID, PA) is always checked. */
#define APUS_DATAPLANE_NO_SOURCE_VALIDATION 0x4u
/** apus_dataplane_opts.flags: accept an outer IPv4 header with options. */
#define APUS_DATAPLANE_ACCEPT_IP_OPTIONS 0x8u
/** A customer's packet that expires or does not fit the tunnel is dropped without telling its sender. */
#define APUS_DATAPLANE_NO_ICMP_ERRORS 0x10u
/**
 * Tell another host with an UNREACHABLE message of [MS-NVGREE] that its packet was dropped because there is no policy here for its
 * virtual subnet or destination, at most `icmp_error_rate` for one provider port. What such messages say is never acted upon;
 * see APUS_EVENT_NVE_REDIRECT and APUS_EVENT_NVE_UNREACHABLE.
 */
#define APUS_DATAPLANE_SEND_UNREACHABLE 0x20u

/**
 * There is no distributed router: nobody answers for the gateway addresses, packets between virtual subnets go to the machine
 * that has the gateway's lookup record, and may come from it. HNV's UseExternalRouter.
 */
#define APUS_DATAPLANE_USE_EXTERNAL_ROUTER 0x100u
/** All customer routes of a routing domain are of one address family, as HNV demands. Without it both may be mixed (RFC 7637 section 4.5). */
#define APUS_DATAPLANE_ONE_CUSTOMER_FAMILY 0x200u

/** Options of a dataplane; all-zero (or NULL) is a good default. */
struct apus_dataplane_opts {
	size_t size;
	struct apus_allocator allocator;
	uint32_t flags;            /**< APUS_DATAPLANE_* */
	uint32_t expected_records; /**< lookup records to reserve memory for; 0 = 1024; the tables grow beyond it; at most 33554432 */
	struct apus_mac gateway_mac; /**< MAC of the distributed router; zero = 02:61:70:75:73:01 */
	uint8_t outer_ttl;         /**< TTL of outer headers; 0 = 128 (as Windows) */
	uint8_t reserved0;
	uint16_t vxlan_port;       /**< UDP port on which VXLAN is received and to which it is sent; 0 = 4789 */
	uint16_t reserved1;
	uint32_t neighbor_reachable_ms; /**< a resolved provider neighbour is probed again after this; 0 = 30000; 1000-3600000 */
	uint32_t neighbor_retry_ms;     /**< between two requests for one neighbour; 0 = 1000; 10-60000 */
	uint32_t neighbor_retries;      /**< unanswered requests until a neighbour is declared failed; 0 = 3; 1-16 */
	/**
	 * ICMP errors (time exceeded, fragmentation needed) per second to the machine behind one vm port, and UNREACHABLE messages
	 * through one provider port, on each worker,
	 * after a burst of ten; 0 = 100; 1-1000000. See APUS_DATAPLANE_NO_ICMP_ERRORS.
	 */
	uint32_t icmp_error_rate;
	/**
	 * Customer addresses per second that are learned of the machine behind one vm port, and of one virtual subnet's machines on
	 * other hosts, on each worker, after a burst of ten; 0 = 100; 1-1000000. See event.h.
	 */
	uint32_t learn_rate;
	/** Seed of every hash; all-zero = take randomness from the operating system. Set it for reproducible runs only. */
	uint8_t hash_key[16];
	/** Where apus_dataplane_create() writes why it failed (NUL-terminated); may be NULL. Not used if `size` is wrong. */
	char *error_text;
	size_t error_text_size;
	/** Called while a control call waits for a worker to leave its burst, two million times at most; NULL = sched_yield(), later
	 * short sleeps, for two seconds in all. */
	void (*wait)(void *context);
	void *wait_context;
};

/**
 * Create a dataplane.
 *
 * @param[in]  opts  options, or NULL
 * @param[out] out   the handle
 * @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_UNKNOWN_FIELD, APUS_ERR_RANGE, APUS_ERR_MAC (gateway_mac),
 *         APUS_ERR_CPU, APUS_ERR_MEMORY, APUS_ERR_LIMIT (APUS_DATAPLANES_MAX)
 * @note Thread-safety: any thread. Context: control. Ownership: destroy with apus_dataplane_destroy().
 */
int apus_dataplane_create(const struct apus_dataplane_opts *opts, struct apus_dataplane **out);

/**
 * Destroy a dataplane and its whole policy. All its workers must have been destroyed before.
 *
 * @param dataplane  NULL is accepted and ignored
 * @return 0; APUS_ERR_STALE, APUS_ERR_BUSY, APUS_ERR_IN_USE (a worker is alive)
 */
int apus_dataplane_destroy(struct apus_dataplane *dataplane);

/**
 * Why the last control call on this dataplane failed: "lookup record: virtual_subnet_id: 17 is outside 4096-16777214".
 *
 * @return text that stays valid until the next control call; "" when it succeeded or the handle is stale
 */
const char *apus_dataplane_error_text(struct apus_dataplane *dataplane);

/**
 * Open a transaction: the changes that follow are collected and no worker sees any of them until
 * apus_transaction_commit(). Without a transaction every change is committed by itself. The control
 * functions see the collected changes at once: get, iterate, and the checks of later changes.
 *
 * @return 0; APUS_ERR_STALE, APUS_ERR_BUSY, APUS_ERR_TRANSACTION (one is open already)
 */
int apus_transaction_begin(struct apus_dataplane *dataplane);

/**
 * Make all changes of the transaction visible at once. A burst sees all of them or none. When it
 * returns 0, no packet is handled by the old policy any more, on any worker.
 *
 * @return 0; APUS_ERR_STALE, APUS_ERR_BUSY, APUS_ERR_TRANSACTION (none is open), APUS_ERR_STALLED
 */
int apus_transaction_commit(struct apus_dataplane *dataplane);

/** Forget all changes of the transaction. @return as apus_transaction_commit(), without APUS_ERR_STALLED */
int apus_transaction_abort(struct apus_dataplane *dataplane);

/**
 * Wait until no worker uses a policy older than the last change. Needed only after APUS_ERR_STALLED.
 *
 * @return 0; APUS_ERR_STALE, APUS_ERR_BUSY, APUS_ERR_STALLED (still)
 */
int apus_dataplane_synchronize(struct apus_dataplane *dataplane);

/** @return the bytes that this dataplane and its workers hold from the allocator; 0 for a stale handle */
uint64_t apus_dataplane_memory(struct apus_dataplane *dataplane);

APUS_END_DECLS

#endif /* APUS_DATAPLANE_H */
