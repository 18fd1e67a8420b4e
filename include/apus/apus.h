/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file apus.h
 * @brief Apus: an embeddable Hyper-V Network Virtualization dataplane. Include this one file.
 *
 * Apus does what Hyper-V Network Virtualization (HNV) does on a host. It is told a *policy* - which
 * customer address of which virtual subnet lives behind which provider address - and it is handed
 * *frames*; it switches, routes, encapsulates (NVGRE, RFC 7637) and decapsulates them. It opens no
 * device, starts no thread, reads no clock, prints nothing: the host owns all of that.
 *
 * ## The words
 *
 *  - *customer address* (CA): what a virtual machine believes its IP address to be.
 *  - *provider address* (PA): an IP address of the physical network; the outer header carries a pair.
 *  - *virtual subnet* (VSID, 24 bits): one broadcast domain of one tenant.
 *  - *routing domain* (RDID, a GUID): one VM network, made of virtual subnets that may route to each other.
 *  - *lookup record*: (VSID, CA, MAC) -> PA. *Customer route*: (RDID, VSID, prefix) -> next hop.
 *
 * ## The shape of a program
 *
 * @code
 *     struct apus_dataplane *dp;
 *     apus_dataplane_create(NULL, &dp);                     // 1. a dataplane          dataplane.h
 *     apus_port_add(dp, &port, &port_id);                   // 2. its ports            port.h
 *     apus_customer_route_add(dp, &route);                  // 3. its policy           policy.h
 *     apus_lookup_record_add(dp, &record);                  //                         provider.h
 *     apus_worker_create(dp, &worker_opts, &worker);        // 4. one worker a thread  worker.h
 *     for (;;)                                              // 5. bursts of frames
 *             n_out = apus_worker_process(worker, in, n_in, out, capacity, now);
 *     apus_stats_get(dp, &stats);                           // 6. where each went      stats.h
 *     apus_event_poll(dp, events, 64);                      // 7. what was learned     event.h
 * @endcode
 *
 * ## Rules that hold for every function
 *
 *  - **Return value**: 0 (or a count) on success, otherwise a negative `enum apus_error`. A call that
 *    fails changes nothing, but for APUS_ERR_STALLED. For control calls apus_dataplane_error_text() then names the field, the
 *    value and the accepted range.
 *  - **Thread-safety**: *control* functions (everything that takes a `struct apus_dataplane *`) may be
 *    called from any thread, one at a time; a second caller gets APUS_ERR_BUSY instead of corruption.
 *    They may run while workers process. A *worker* belongs to one thread at a time.
 *  - **Misuse** never traps: NULL, a wrong `size`, a handle that was destroyed, a call on the wrong
 *    thread each have their error.
 *  - **Structs that begin with `size`** may grow in later versions. Zero them, set `size` to
 *    `sizeof` - APUS_INIT() does both - and set what you need; zero always means the default. A caller
 *    built against an older header passes a smaller struct, which is accepted; bytes beyond those the
 *    library knows must be zero.
 *  - **Byte order**: integers are in host order; addresses, MACs and GUIDs are byte arrays in the
 *    order in which they are written.
 */
#ifndef APUS_H
#define APUS_H

#include "version.h"
#include "error.h"
#include "address.h"
#include "dataplane.h"
#include "port.h"
#include "policy.h"
#include "subnet.h"
#include "provider.h"
#include "worker.h"
#include "stats.h"
#include "event.h"
#include "explain.h"

#endif /* APUS_H */
