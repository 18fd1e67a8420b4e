/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file error.h
 * @brief What a call can answer. Every failing call returns one of these negative values.
 *
 * The codes that Windows reports for a rejected HNV configuration ("config validation failure" 1-12)
 * are all here; the Windows number stands in brackets.
 */
#ifndef APUS_ERROR_H
#define APUS_ERROR_H

#include "version.h"

APUS_BEGIN_DECLS

enum apus_error {
	APUS_OK = 0,
	/** A required pointer is NULL. */
	APUS_ERR_NULL = -1,
	/** A struct's `size` is smaller than the first version of it, or absurdly large. [5] */
	APUS_ERR_SIZE = -2,
	/** A struct from a newer header sets a field that this library does not know, or a reserved field or flag is not zero. */
	APUS_ERR_UNKNOWN_FIELD = -3,
	/** The handle was destroyed or never valid; or a port id that no longer exists. */
	APUS_ERR_STALE = -4,
	/** Another thread is inside a control call, or inside this worker; or a callback called back in. */
	APUS_ERR_BUSY = -5,
	/** The allocator returned NULL. Nothing changed. [11] */
	APUS_ERR_MEMORY = -6,
	/** A documented limit is reached (ports, workers, dataplanes, records). */
	APUS_ERR_LIMIT = -7,
	/** This CPU lacks an instruction set that the library was built for (see apus_build_info()). */
	APUS_ERR_CPU = -8,
	/** The address family is neither 4 nor 6, or not the one needed here. [1] */
	APUS_ERR_FAMILY = -9,
	/** The prefix is longer than its address, or has bits set after its length. [2] */
	APUS_ERR_PREFIX = -10,
	/** The object contradicts another one; the error text names it. [3] */
	APUS_ERR_CONFLICT = -11,
	/** The address is of a kind that cannot stand here (multicast, unspecified, broadcast). [4] */
	APUS_ERR_ADDRESS = -12,
	/** The port is of the wrong kind for this use. [6] */
	APUS_ERR_PORT_KIND = -13,
	/** `set` tried to change a field that only remove + add can change. [7] */
	APUS_ERR_IMMUTABLE = -14,
	/** The VSID is in a reserved range (0-4095, 16777215) or beyond 24 bits. [8] */
	APUS_ERR_VSID = -15,
	/** The rule (translation method) or record type is unknown or impossible in this combination. [9] */
	APUS_ERR_RULE = -16,
	/** An object with this key exists already. [10] */
	APUS_ERR_DUPLICATE = -17,
	/** No object with this key exists. [12] */
	APUS_ERR_NOT_FOUND = -18,
	/** A number is outside its accepted range. */
	APUS_ERR_RANGE = -19,
	/** The MAC address is zero, broadcast or a group address. */
	APUS_ERR_MAC = -20,
	/** commit or abort without begin, or begin inside a transaction. */
	APUS_ERR_TRANSACTION = -21,
	/**
	 * The change is made and published, but a worker stayed inside one burst for too long: it may still apply the
	 * policy of before. See apus_dataplane_synchronize(). Also what a change from inside a buffer callback gets.
	 */
	APUS_ERR_STALLED = -22,
	/** The object is still used by another object; the error text names it. */
	APUS_ERR_IN_USE = -23,
	/** A text could not be read as an address, a prefix, a MAC or a GUID. */
	APUS_ERR_SYNTAX = -24
};

/**
 * The meaning of an error code, as a short English sentence without a full stop.
 *
 * @param error  a value that a function returned
 * @return static text; never NULL, also for numbers that are no error code. Any thread.
 */
const char *apus_strerror(int error);

/** @return the name of an error code, "APUS_ERR_VSID"; "APUS_ERR_?" for other numbers. Any thread. */
const char *apus_error_name(int error);

APUS_END_DECLS

#endif /* APUS_ERROR_H */
