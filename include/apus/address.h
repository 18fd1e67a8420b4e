/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file address.h
 * @brief IP addresses, prefixes, MAC addresses, GUIDs, and their text forms.
 *
 * All functions here are pure: any thread, any time, no dataplane needed.
 */
#ifndef APUS_ADDRESS_H
#define APUS_ADDRESS_H

#include "version.h"

APUS_BEGIN_DECLS

#define APUS_IPV4 4u
#define APUS_IPV6 6u

/** An IP address. An all-zero struct (family 0) means "not given". */
struct apus_address {
	uint8_t family;      /**< APUS_IPV4 or APUS_IPV6 */
	uint8_t reserved[3]; /**< zero */
	uint8_t bytes[16];   /**< network order; IPv4 uses the first four, the rest is zero */
};

/** An address and a number of leading bits. Bits after the length must be zero. */
struct apus_prefix {
	struct apus_address address;
	uint8_t length; /**< 0-32 or 0-128 */
	uint8_t reserved[3];
};

/** An Ethernet address, in transmission order. */
struct apus_mac {
	uint8_t bytes[6];
};

/** A GUID in the order in which it is written: {00112233-4455-...} is 00 11 22 33 44 55 ... */
struct apus_guid {
	uint8_t bytes[16];
};

/** The VSIDs that NVGRE and HNV leave to users (RFC 7637 section 3.4). */
#define APUS_VSID_MIN 4096u
#define APUS_VSID_MAX 16777214u

/** Room for every text that the format functions below make, with the final NUL. */
#define APUS_TEXT_SIZE 64u

/**
 * Read "10.0.1.5" or "2001:db8::5" (RFC 4291 forms; no zone, no prefix length, no leading zeros in IPv4).
 *
 * @return 0; APUS_ERR_NULL; APUS_ERR_SYNTAX (then *out is unchanged)
 */
int apus_address_parse(const char *text, struct apus_address *out);

/** Read "10.0.1.0/24". @return as apus_address_parse(); APUS_ERR_PREFIX when the length does not fit the address. */
int apus_prefix_parse(const char *text, struct apus_prefix *out);

/** Read "60:00:60:00:01:01", "60-00-60-00-01-01" or "600060000101". @return as apus_address_parse() */
int apus_mac_parse(const char *text, struct apus_mac *out);

/** Read "{12345678-1000-2000-3000-123456780001}", with or without the braces. @return as apus_address_parse() */
int apus_guid_parse(const char *text, struct apus_guid *out);

/**
 * Write an address as text, always NUL-terminated within `size`; IPv6 in the form of RFC 5952.
 *
 * @param size  bytes at `text`; APUS_TEXT_SIZE is always enough
 * @return the length of the text without NUL; APUS_ERR_NULL; APUS_ERR_RANGE if it does not fit; APUS_ERR_FAMILY
 */
int apus_address_format(const struct apus_address *address, char *text, size_t size);

/** Write "10.0.1.0/24". @return as apus_address_format() */
int apus_prefix_format(const struct apus_prefix *prefix, char *text, size_t size);

/** Write "60:00:60:00:01:01". @return as apus_address_format() */
int apus_mac_format(const struct apus_mac *mac, char *text, size_t size);

/** Write "{12345678-1000-2000-3000-123456780001}". @return as apus_address_format() */
int apus_guid_format(const struct apus_guid *guid, char *text, size_t size);

APUS_END_DECLS

#endif /* APUS_ADDRESS_H */
