/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file apus_policy_file.h
 * @brief Policy files: read a YAML file, check it, and put all of it into a dataplane at once.
 *
 * This is a library of its own (`apus_policy`, on top of `apus`), for hosts that want to be configured by a
 * file; apus.h does not include it.
 *
 * ## The file
 *
 * The keys are the field names of port.h, provider.h and policy.h (with British spelling: `neighbour_...`), the words
 * those of Hyper-V. Sections may come
 * in any order; all but `apus` may be left out, and so may the keys in brackets:
 *
 *     apus: 1                          # the version of this format
 *     settings:                        # struct apus_dataplane_opts
 *       [accept_reserved_vsids, flow_id_zero, accept_ip_options, send_unreachable: true or false]   # default: false
 *       [source_validation, icmp_errors: true or false]                           # default: true
 *       [use_external_router, one_customer_family: true or false]                 # default: false
 *       [gateway_mac, outer_ttl, neighbour_reachable_ms, neighbour_retry_ms, neighbour_retries, icmp_error_rate]
 *       [vxlan_port, learn_rate]
 *     ports:                           # struct apus_port_params
 *       - name                         # unique; letters, digits, '-', '_', '.'; 31 at most
 *         kind                         # vm, provider or external
 *         [device, mtu]                # device: what the host connects the port to; not with a parent
 *         virtual_subnet_id, mac, [new_flow_rate]                  # vm and external only; new_flow_rate: 1-1000000000 a second, 1024 at once
 *         [trusted, dhcp_guard]                                    # vm only; true or false
 *         [dynamic_address_limit]                                  # vm only; 1-65536
 *         routing_domain_id                                        # external only, as all that follows: see below
 *         [parent, vlan]               # the name of a provider or external port, and the tag of this one's frames there
 *         [ipv4, ipv6]                 # at least one of them: {address: 10.9.0.2/24, [next_hop: 10.9.0.1]}
 *     provider_addresses:              # struct apus_provider_address; port: the name of a provider port
 *       - provider_address, prefix_length, port, mac, [vlan]
 *         [state]                      # Preferred (default), Deprecated, Invalid
 *         [detect_duplicates]          # true or false (default)
 *     provider_routes:                 # struct apus_provider_route; without next_hop: on-link
 *       - destination_prefix, port, [next_hop, metric]
 *     provider_neighbours:             # struct apus_provider_neighbor: static ones; others are resolved
 *       - address, mac
 *     provider_peers:                  # struct apus_provider_peer: how to talk to another host's tunnel endpoint
 *       - provider_address
 *         [encapsulation]              # nvgre (default), vxlan: what is sent; both are received
 *         [key_layout]                 # rfc7637 (default), draft00
 *         [flow_id]                    # hash, zero; default: as the setting flow_id_zero says
 *         [dscp_mode, dscp]            # copy (default), uniform, pipe; dscp: 0-63, with pipe only
 *         [ecn_mode]                   # normal (default), compatibility
 *         [df_mode]                    # always (default), copy
 *         [ttl, mtu]                   # 1-255; 128-65535
 *     virtual_subnets:                 # struct apus_virtual_subnet: what is carried beside unicast IP
 *       - virtual_subnet_id
 *         [broadcast, allow_non_ip: true or false]                 # default: false
 *         [multicast_group]            # of the provider network, with broadcast only
 *         [replication_rate]           # 1-10000000
 *     customer_routes:                 # struct apus_customer_route; without next_hop: on-link
 *       - routing_domain_id, virtual_subnet_id, destination_prefix, [next_hop, metric]
 *         [advertise, autoconfigure: true or false]                # default: false; on-link IPv6 prefixes only
 *     lookup_records:                  # struct apus_lookup_record
 *       - customer_address, virtual_subnet_id, mac, provider_address  # customer_address: see below
 *         [rule]                       # TranslationMethodEncap (default), TranslationMethodNat, TranslationMethodNone
 *         [type]                       # Static (default), Dynamic, GatewayWildcard, L2Only
 *         [unusable: true or false]    # default: false; packets to it are dropped
 *         [use_vm_mac_address: true or false]                      # default: false; TranslationMethodNat only
 *         [vm_name, customer_id, context]
 *
 * Addresses and prefixes are IPv4 or IPv6: 10.0.1.5, 2001:db8::5, 10.0.1.0/24, 2001:db8::/64; no zone, and no
 * IPv4-mapped ::ffff:10.0.1.5. A next hop is of the family of its prefix; 0.0.0.0 and :: are the same as none (of an external
 * port it is left out instead). `advertise`
 * and `autoconfigure` are APUS_CUSTOMER_ROUTE_ADVERTISE and APUS_CUSTOMER_ROUTE_AUTOCONFIGURE: routers are announced to
 * the machines of the virtual subnet, and they may make their own addresses in a prefix of length 64.
 *
 * Records of type GatewayWildcard and L2Only have no customer address: it is left out, or 0.0.0.0, or `"::"`, which makes a
 * GatewayWildcard record one for IPv6. The machine is known by its MAC address.
 *
 * An external port is a gateway: the machine that lookup records give its MAC address in its virtual subnet, and a router's interface
 * outside. `parent` and `vlan` put the networks of several tenants on one device, where their addresses may be the same:
 *
 *     ports:
 *       - {name: outside, kind: provider, device: net_af_packet1}
 *       - name: contoso-outside
 *         kind: external
 *         routing_domain_id: "{12345678-1000-2000-3000-123456780001}"
 *         virtual_subnet_id: 6000
 *         mac: 60:00:60:00:0f:01
 *         parent: outside
 *         vlan: 101
 *         ipv4: {address: 10.9.0.2/24, next_hop: 10.9.0.1}
 *         ipv6: {address: 2001:db8:9::2/64}
 *     lookup_records:                  # where the gateway is, on every host: 192.168.0.44 is an address of its host
 *       - {virtual_subnet_id: 6000, mac: 60:00:60:00:0f:01, provider_address: 192.168.0.44, type: GatewayWildcard}
 *
 * It is YAML without anchors, aliases and tags. A GUID in braces needs quotes, and so does an address that begins or ends
 * with a colon (`"::"`); others and numbers do without:
 * `{name: contoso1, kind: vm, device: net_tap0, virtual_subnet_id: 6000, mac: 60:00:60:00:01:01}`.
 *
 * A wrong file is refused whole. The error text then has one line for each error, up to
 * APUS_POLICY_FILE_ERRORS_MAX of them:
 *
 *     host1.yaml:12: lookup_records[3].virtual_subnet_id: 17 is outside 4096-16777214
 *
 * ## The program
 *
 * @code
 *     char why[1024];
 *     struct apus_policy_file *file;
 *     if (apus_policy_file_load("host1.yaml", &file, why, sizeof(why)) < 0)
 *             die(why);                                  // "host1.yaml:12: ports[1].mac: ..."
 *     APUS_INIT(&opts);
 *     apus_policy_file_opts(file, &opts);                // the file's `settings`
 *     apus_dataplane_create(&opts, &dp);
 *     if (apus_policy_file_apply(file, dp, why, sizeof(why)) < 0)
 *             die(why);
 *     for (i = 0; i < apus_policy_file_port_count(file); i++) {
 *             APUS_INIT(&port);
 *             apus_policy_file_port(file, i, &port);     // port.id, port.device: open the device
 *     }
 * @endcode
 *
 * The rules of apus.h hold: misuse never traps, and a handle that was freed is recognised
 * (APUS_ERR_STALE). Every function may be called from any thread; all are control functions.
 */
#ifndef APUS_POLICY_FILE_H
#define APUS_POLICY_FILE_H

#include "address.h"
#include "dataplane.h"
#include "error.h"
#include "port.h"

APUS_BEGIN_DECLS

/** A policy file that was read and found well-formed. A handle, as apus_dataplane. */
struct apus_policy_file;

#define APUS_POLICY_FILE_ERRORS_MAX 20u      /**< errors that one call reports */
#define APUS_POLICY_FILE_SIZE_MAX 268435456u /**< bytes of a file that is accepted */
#define APUS_POLICY_FILE_NO_PORT 0xffffffffu /**< apus_policy_file_port.id before the file was applied */

/**
 * Read and check a policy file. Nothing is applied.
 *
 * @param[in]  path             the file
 * @param[out] out              the handle; unchanged on error. Free it with apus_policy_file_free()
 * @param[out] error_text       where to write the errors, NUL-terminated, cut off where it ends; "" on success;
 *                              may be NULL
 * @param      error_text_size  bytes at `error_text`
 * @return 0; APUS_ERR_NULL (path, out), APUS_ERR_NOT_FOUND (the file cannot be read),
 *         APUS_ERR_SYNTAX (something in it is wrong)
 */
int apus_policy_file_load(const char *path, struct apus_policy_file **out, char *error_text, size_t error_text_size);

/**
 * As apus_policy_file_load(), from memory.
 *
 * @param text    UTF-8; need not be NUL-terminated
 * @param length  bytes at `text`
 * @param name    stands for the file's name in errors; NULL = "policy"
 * @return 0; APUS_ERR_NULL (text, out), APUS_ERR_RANGE (length), APUS_ERR_SYNTAX
 */
int apus_policy_file_parse(const char *text, size_t length, const char *name, struct apus_policy_file **out,
			   char *error_text, size_t error_text_size);

/**
 * Put the file's `settings`, and the number of its lookup records, into the options of a dataplane that is to be
 * created. Only fields that the file sets are changed: `flags` are added to, everything else stays as it was.
 *
 * @param[in,out] opts  `size` must be set (APUS_INIT)
 * @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE
 */
int apus_policy_file_opts(struct apus_policy_file *file, struct apus_dataplane_opts *opts);

/**
 * Add everything in the file to a dataplane, in one transaction: all of it becomes visible at once, or, if
 * the dataplane refuses anything, nothing changes.
 *
 * @param error_text  as in apus_policy_file_load(); the file's line and object, and the dataplane's own error text
 * @return 0; APUS_ERR_NULL, APUS_ERR_STALE (either handle), or the first error that the dataplane gave. After
 *         APUS_ERR_STALLED, and only then, the policy *is* in place; see apus_dataplane_synchronize().
 */
int apus_policy_file_apply(struct apus_policy_file *file, struct apus_dataplane *dataplane,
			   char *error_text, size_t error_text_size);

/** @return the number of ports in the file; APUS_ERR_NULL, APUS_ERR_STALE */
int apus_policy_file_port_count(struct apus_policy_file *file);

/** A port of a policy file, for the host to find its device and to name its frames' `port`. */
struct apus_policy_file_port {
	size_t size;
	const char *name;   /**< unique in the file; valid until apus_policy_file_free() */
	const char *device; /**< as written, the host knows what it means; NULL if there is none; valid as `name` */
	const char *parent; /**< external: the name of the port whose device brings its frames; NULL: a device of its own; valid as `name` */
	uint32_t id;        /**< port id in the dataplane it was last applied to; before: APUS_POLICY_FILE_NO_PORT */
	uint32_t kind;      /**< enum apus_port_kind */
	uint32_t virtual_subnet_id; /**< vm, external: as written; provider: 0 */
	struct apus_mac mac;        /**< vm, external: as written; provider: zero */
	uint16_t mtu;               /**< as written; 0 if there is none */
	uint32_t line;              /**< where in the file it begins, for messages */
	uint16_t vlan;              /**< external: as written; 0 if there is none */
	uint16_t reserved;          /**< zero */
};

/**
 * Read a port.
 *
 * @param index  0 to apus_policy_file_port_count() - 1, in the order of the file
 * @param out    `size` must be set (APUS_INIT)
 * @return 0; APUS_ERR_NULL, APUS_ERR_SIZE, APUS_ERR_STALE, APUS_ERR_RANGE (index)
 */
int apus_policy_file_port(struct apus_policy_file *file, uint32_t index, struct apus_policy_file_port *out);

/**
 * Free a policy file. What it put into a dataplane stays there.
 *
 * @param file  NULL is ignored
 * @return 0; APUS_ERR_STALE
 */
int apus_policy_file_free(struct apus_policy_file *file);

APUS_END_DECLS

#endif /* APUS_POLICY_FILE_H */
