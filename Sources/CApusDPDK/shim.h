/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK as Swift sees it. DPDK's own `static inline` functions are called straight from Swift; what is here is what
 * the Clang importer cannot give it, each group with the reason. Everything is `static inline`, so that it is
 * compiled into the Swift module: there is no C object file.
 */
#ifndef APUS_DPDK_SHIM_H
#define APUS_DPDK_SHIM_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "../../include/apus/apus_dpdk.h"

#define APUS_DPDK_INLINE static inline __attribute__((always_inline))

/* ---- struct rte_mbuf: aligned to 64 bytes, more than Swift has for a type; it is an OpaquePointer there -------- */

/* What is looked at, and what is set, for every mbuf lies in the first cache line. */

/* `_Nonnull`: what may be NULL costs a check, and a trap, on each use. */
APUS_DPDK_INLINE uint8_t *_Nonnull apus_mbuf_data(const struct rte_mbuf *m) { return rte_pktmbuf_mtod(m, uint8_t *); }
APUS_DPDK_INLINE uint16_t apus_mbuf_buffer_length(const struct rte_mbuf *m) { return m->buf_len; }
APUS_DPDK_INLINE uint16_t apus_mbuf_offset(const struct rte_mbuf *m) { return m->data_off; }
/* Where data lies that is in the mbuf's buffer. */
APUS_DPDK_INLINE uint16_t apus_mbuf_offset_of(const struct rte_mbuf *m, const uint8_t *data)
{
	return (uint16_t)((uintptr_t)data - (uintptr_t)m->buf_addr);
}
APUS_DPDK_INLINE uint16_t apus_mbuf_length(const struct rte_mbuf *m) { return m->data_len; }
APUS_DPDK_INLINE uint32_t apus_mbuf_packet_length(const struct rte_mbuf *m) { return m->pkt_len; }
APUS_DPDK_INLINE uint16_t apus_mbuf_segments(const struct rte_mbuf *m) { return m->nb_segs; }
APUS_DPDK_INLINE uint16_t apus_mbuf_references(const struct rte_mbuf *m) { return rte_mbuf_refcnt_read(m); }
APUS_DPDK_INLINE uint64_t apus_mbuf_flags(const struct rte_mbuf *m) { return m->ol_flags; }
APUS_DPDK_INLINE struct rte_mbuf *apus_mbuf_next(const struct rte_mbuf *m) { return m->next; }

APUS_DPDK_INLINE void apus_mbuf_set_next(struct rte_mbuf *m, struct rte_mbuf *next) { m->next = next; }
APUS_DPDK_INLINE void apus_mbuf_set_offset(struct rte_mbuf *m, uint16_t offset) { m->data_off = offset; }
APUS_DPDK_INLINE void apus_mbuf_set_length(struct rte_mbuf *m, uint16_t length) { m->data_len = length; }
APUS_DPDK_INLINE void apus_mbuf_set_packet_length(struct rte_mbuf *m, uint32_t length) { m->pkt_len = length; }
APUS_DPDK_INLINE void apus_mbuf_set_segments(struct rte_mbuf *m, uint16_t count) { m->nb_segs = count; }
APUS_DPDK_INLINE void apus_mbuf_set_flags(struct rte_mbuf *m, uint64_t flags) { m->ol_flags = flags; }

/*
 * After headers came or went, nothing that the receiving device said about the packet holds. The flags say which
 * of the other fields mean anything; tx_offload, alone in the second cache line, means nothing without them.
 * Only for heads, which are direct mbufs: the flags INDIRECT and EXTERNAL are not set.
 */
APUS_DPDK_INLINE void apus_mbuf_forget(struct rte_mbuf *m)
{
	m->ol_flags = 0;
	m->packet_type = 0;
	m->vlan_tci = 0;
	m->vlan_tci_outer = 0;
	m->hash.rss = 0;
	m->port = RTE_MBUF_PORT_INVALID;
}

/* The same for a head that is the whole frame, with its new place and length: two stores in place of nine. */
APUS_DPDK_INLINE void apus_mbuf_describe(struct rte_mbuf *m, uint16_t offset, uint16_t length)
{
	const uint64_t words[4] = {offset | 1ull << 16 | 1ull << 32 | (uint64_t)RTE_MBUF_PORT_INVALID << 48, 0, (uint64_t)length << 32, length};

	memcpy((uint8_t *)m + offsetof(struct rte_mbuf, rearm_data), words, sizeof(words));
	m->vlan_tci_outer = 0;
}

/* One segment that nobody else holds. The counts lie side by side, and are read at once. */
APUS_DPDK_INLINE int apus_mbuf_is_alone(const struct rte_mbuf *m)
{
	uint32_t counts;

	memcpy(&counts, (const uint8_t *)m + offsetof(struct rte_mbuf, refcnt), sizeof(counts));
	return counts == 0x00010001;
}

APUS_DPDK_INLINE uint16_t apus_mbuf_vlan(const struct rte_mbuf *m) { return m->vlan_tci; }
APUS_DPDK_INLINE uint16_t apus_mbuf_outer_vlan(const struct rte_mbuf *m) { return m->vlan_tci_outer; }
APUS_DPDK_INLINE int apus_mbuf_is_direct(const struct rte_mbuf *m) { return RTE_MBUF_DIRECT(m); }

/* ---- constants that are made by macros with casts or arguments, which are not imported ------------------------- */

APUS_DPDK_INLINE uint64_t apus_rx_ip_checksum_mask(void) { return RTE_MBUF_F_RX_IP_CKSUM_MASK; }
APUS_DPDK_INLINE uint64_t apus_rx_ip_checksum_good(void) { return RTE_MBUF_F_RX_IP_CKSUM_GOOD; }
APUS_DPDK_INLINE uint64_t apus_rx_ip_checksum_bad(void) { return RTE_MBUF_F_RX_IP_CKSUM_BAD; }
APUS_DPDK_INLINE uint64_t apus_rx_vlan_stripped(void) { return RTE_MBUF_F_RX_VLAN_STRIPPED; }
APUS_DPDK_INLINE uint64_t apus_rx_qinq_stripped(void) { return RTE_MBUF_F_RX_QINQ_STRIPPED; }
APUS_DPDK_INLINE uint64_t apus_rx_offload_ip_checksum(void) { return RTE_ETH_RX_OFFLOAD_IPV4_CKSUM; }
APUS_DPDK_INLINE uint64_t apus_rx_offload_scatter(void) { return RTE_ETH_RX_OFFLOAD_SCATTER; }
APUS_DPDK_INLINE uint64_t apus_tx_offload_multi_segment(void) { return RTE_ETH_TX_OFFLOAD_MULTI_SEGS; }
APUS_DPDK_INLINE uint64_t apus_rss_fields(void)
{
	return RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TUNNEL;
}
APUS_DPDK_INLINE uint64_t apus_rss_level_mask(void) { return RTE_ETH_RSS_LEVEL_MASK; }
APUS_DPDK_INLINE uint64_t apus_rss_level_innermost(void) { return RTE_ETH_RSS_LEVEL_INNERMOST; }

/* ---- thread-local variables behind macros ---------------------------------------------------------------------- */

APUS_DPDK_INLINE int apus_rte_errno(void) { return rte_errno; }

/* ---- unions and arrays that Swift has as tuples ---------------------------------------------------------------- */

APUS_DPDK_INLINE void apus_rss_set(struct rte_eth_conf *conf, uint64_t fields)
{
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf.rss_hf = fields;
}

/* ---- the registry of handles ----------------------------------------------------------------------------------- */

#define APUS_DPDK_SLOTS 256

struct apus_dpdk_slot {
	uint64_t address;
	uint64_t generation;
};

struct apus_dpdk_registry {
	struct apus_dpdk_slot slots[2][APUS_DPDK_SLOTS]; /* devices, workers */
	uint64_t orphans[2 * APUS_DPDK_SLOTS];           /* pools that wait for their last mbufs */
	uint64_t generation;
	uint32_t locked;
};

/*
 * The only global state of the layer. `static` in a function: an object file that uses it has its own copy, so one Swift
 * file alone may, in functions that are never inlined elsewhere (Registry.swift).
 */
APUS_DPDK_INLINE struct apus_dpdk_registry *apus_dpdk_registry(void)
{
	static struct apus_dpdk_registry registry;

	return &registry;
}

APUS_DPDK_INLINE struct apus_dpdk_slot *apus_dpdk_slot(int kind, int slot)
{
	return &apus_dpdk_registry()->slots[kind & 1][slot & (APUS_DPDK_SLOTS - 1)];
}

APUS_DPDK_INLINE uint64_t apus_dpdk_slot_address(int kind, int slot)
{
	return __atomic_load_n(&apus_dpdk_slot(kind, slot)->address, __ATOMIC_ACQUIRE);
}

APUS_DPDK_INLINE uint64_t apus_dpdk_slot_generation(int kind, int slot)
{
	return __atomic_load_n(&apus_dpdk_slot(kind, slot)->generation, __ATOMIC_RELAXED);
}

APUS_DPDK_INLINE void apus_dpdk_slot_set(int kind, int slot, uint64_t address, uint64_t generation)
{
	__atomic_store_n(&apus_dpdk_slot(kind, slot)->generation, generation, __ATOMIC_RELAXED);
	__atomic_store_n(&apus_dpdk_slot(kind, slot)->address, address, __ATOMIC_RELEASE);
}

APUS_DPDK_INLINE int apus_dpdk_try_lock(void)
{
	return __atomic_exchange_n(&apus_dpdk_registry()->locked, 1, __ATOMIC_ACQUIRE) == 0;
}

APUS_DPDK_INLINE void apus_dpdk_unlock(void) { __atomic_store_n(&apus_dpdk_registry()->locked, 0, __ATOMIC_RELEASE); }

/* Called with the lock taken: */

APUS_DPDK_INLINE uint64_t apus_dpdk_next_number(void) { return ++apus_dpdk_registry()->generation & 0xffffffffu; }

APUS_DPDK_INLINE uint64_t apus_dpdk_orphan(int i)
{
	return apus_dpdk_registry()->orphans[i & (2 * APUS_DPDK_SLOTS - 1)];
}

APUS_DPDK_INLINE void apus_dpdk_set_orphan(int i, uint64_t pool)
{
	apus_dpdk_registry()->orphans[i & (2 * APUS_DPDK_SLOTS - 1)] = pool;
}

#endif /* APUS_DPDK_SHIM_H */
