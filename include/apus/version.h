/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file version.h
 * @brief The version, and the macros that every other header uses.
 */
#ifndef APUS_VERSION_H
#define APUS_VERSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define APUS_BEGIN_DECLS extern "C" {
#define APUS_END_DECLS }
#else
#define APUS_BEGIN_DECLS
#define APUS_END_DECLS
#endif

/**
 * The version of this header. This is the one place where it is written: soname, symbol versions,
 * pkg-config and CMake files are made from these three lines. While MAJOR is 0, a new MINOR may
 * change the ABI (and changes the soname: libapus.so.0.MINOR); a new PATCH never does.
 */
#define APUS_VERSION_MAJOR 0
#define APUS_VERSION_MINOR 1
#define APUS_VERSION_PATCH 0

/** The version as one number that compares: 0xMMmmpp. */
#define APUS_VERSION_NUMBER ((APUS_VERSION_MAJOR << 16) | (APUS_VERSION_MINOR << 8) | APUS_VERSION_PATCH)

/** Zero a `size`-led struct variable and set its size: `struct apus_port_params p; APUS_INIT(&p);` */
#define APUS_INIT(pointer)                                          \
	do {                                                        \
		unsigned char *apus_init_ = (unsigned char *)(pointer); \
		size_t apus_init_i_;                                \
		for (apus_init_i_ = 0; apus_init_i_ < sizeof(*(pointer)); apus_init_i_++) \
			apus_init_[apus_init_i_] = 0;               \
		(pointer)->size = sizeof(*(pointer));               \
	} while (0)

APUS_BEGIN_DECLS

/** @return the version of the library that is running, as APUS_VERSION_NUMBER. Any thread. */
uint32_t apus_version_number(void);

/** @return the version of the library that is running, "0.1.0". Static text. Any thread. */
const char *apus_version_string(void);

/** @return how the library was built, for bug reports: "apus 0.1.0, x86-64, AES-NI". Static text. */
const char *apus_build_info(void);

APUS_END_DECLS

#endif /* APUS_VERSION_H */
