/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file explain.h
 * @brief What would happen to this frame, and why: the pipeline's own code, run without touching anything.
 *
 * It answers the questions of Select-NetVirtualizationNextHop and of "why was my packet dropped".
 */
#ifndef APUS_EXPLAIN_H
#define APUS_EXPLAIN_H

#include "worker.h"

APUS_BEGIN_DECLS

/** What becomes of a frame. */
enum apus_verdict {
	APUS_VERDICT_DROP = 1,        /**< see `drop_reason`; an ICMP error to the sender may leave */
	APUS_VERDICT_DELIVER = 2,     /**< to a machine on this host */
	APUS_VERDICT_ENCAPSULATE = 3, /**< into a tunnel */
	APUS_VERDICT_DECAPSULATE = 4, /**< out of a tunnel, to a machine on this host */
	APUS_VERDICT_FRAGMENT = 5,    /**< into a tunnel, or out of the VM network, as several frames */
	APUS_VERDICT_ANSWER = 6,      /**< answered: ARP, echo */
	APUS_VERDICT_CONSUME = 7,     /**< has done its work here */
	APUS_VERDICT_COPY = 8,        /**< to every other machine of the virtual subnet on this host, or to several hosts */
	APUS_VERDICT_REWRITE = 10,    /**< customer addresses become provider addresses, or the other way round */
	APUS_VERDICT_LEAVE = 11,      /**< out of the VM network, through an external port */
	APUS_VERDICT_WAIT = 9         /**< would wait until ARP finds the next hop on the provider network */
};

struct apus_explanation {
	size_t size;
	uint32_t verdict;     /**< enum apus_verdict */
	uint32_t drop_reason; /**< enum apus_drop_reason; 0 unless the verdict is APUS_VERDICT_DROP */
	uint32_t port;        /**< through which the first frame would leave; 0 when none would */
	uint32_t frames;      /**< frames that would leave */
	uint32_t mtu;         /**< the largest IP packet of this flow that gets through the provider network, known as soon as there is a way (also of packets that wait or are too big); of copies the smallest; 0 when it does not go there */
};

/**
 * Explain what the dataplane would do with a frame.
 *
 * Nothing is sent, counted, learned or asked for, and the frame is not changed. The steps are those of a first
 * packet of a flow; what a flow cache holds never differs from them. Inside a transaction the published policy counts,
 * as for every frame.
 *
 * @param frame   as for apus_worker_process(); nothing is written to it, `buffer` is ignored
 * @param now_ns  the time for the ages of neighbours
 * @param out     may be NULL
 * @param text    receives one line for each step, ending with the verdict; NUL-terminated, cut at `text_size`; may be NULL
 * @return 0; APUS_ERR_NULL (frame), APUS_ERR_MEMORY, and the common errors of policy.h
 * @note Context: control.
 */
int apus_explain(struct apus_dataplane *dataplane, const struct apus_frame *frame, uint64_t now_ns,
		 struct apus_explanation *out, char *text, size_t text_size);

/** @return the name of a verdict, "ENCAPSULATE"; "" for other numbers. Static text. Any thread. */
const char *apus_verdict_name(uint32_t verdict);

APUS_END_DECLS

#endif /* APUS_EXPLAIN_H */
