/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Swift cannot say: CPU instructions without a Swift spelling, the five libc calls of the core, and the
 * tables that are expanded from the X-macros of the public headers. Everything is `static inline`: the Clang
 * importer compiles the bodies into the Swift module, so there is no call and no C object file.
 */
#ifndef APUS_INTRINSICS_H
#define APUS_INTRINSICS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../include/apus/error.h"
#include "../../include/apus/stats.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#define APUS_INLINE static inline __attribute__((always_inline))

/* ---- libc ------------------------------------------------------------------------------------------------ */

/* Declared here and not by including <stdlib.h>, <sched.h>, <sys/mman.h>, <sys/random.h>: Embedded Swift has no Glibc module
 * to share the types with, and these are all that the core uses. */
extern int posix_memalign(void **memory, size_t alignment, size_t size);
extern void free(void *memory);
extern int sched_yield(void);
extern int usleep(unsigned int microseconds);
extern int madvise(void *address, size_t length, int advice);
extern ssize_t getrandom(void *buffer, size_t length, unsigned int flags);

#define APUS_MADV_HUGEPAGE 14
#define APUS_HUGE_PAGE ((size_t)2 << 20)

APUS_INLINE void *apus_libc_allocate(size_t size, size_t alignment)
{
	void *memory = NULL;

	if (alignment < sizeof(void *))
		alignment = sizeof(void *);
	if (size >= APUS_HUGE_PAGE && alignment < APUS_HUGE_PAGE)
		alignment = APUS_HUGE_PAGE;
	if (posix_memalign(&memory, alignment, size) != 0)
		return NULL;
	/* Large tables are read here and there: with small pages each look also misses the TLB. Advice, which may be ignored. */
	if (size >= APUS_HUGE_PAGE)
		(void)madvise(memory, size, APUS_MADV_HUGEPAGE);
	return memory;
}

APUS_INLINE void apus_libc_release(void *memory) { free(memory); }
/* Let others run, the longer it takes the longer; `tries`: how often before. */
APUS_INLINE void apus_libc_wait(long tries) { (void)(tries < 4096 ? sched_yield() : usleep(1000)); }

/* 1 when `length` random bytes were written */
APUS_INLINE int apus_libc_random(void *bytes, size_t length)
{
	return getrandom(bytes, length, 0) == (ssize_t)length;
}

APUS_INLINE void apus_copy(void *to, const void *from, size_t length) { memcpy(to, from, length); }
APUS_INLINE void apus_move(void *to, const void *from, size_t length) { memmove(to, from, length); }
APUS_INLINE void apus_zero(void *at, size_t length) { memset(at, 0, length); }

/* ---- order and cache --------------------------------------------------------------------------------------- */

/* A full fence without a locked instruction: `mfence`, where the compiler's own seq_cst fence is `lock or`. */
APUS_INLINE void apus_fence(void)
{
#if defined(__x86_64__)
	_mm_mfence();
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

APUS_INLINE void apus_spin_pause(void)
{
#if defined(__x86_64__)
	_mm_pause();
#endif
}

APUS_INLINE void apus_prefetch(const void *at) { __builtin_prefetch(at, 0, 3); }
/* of any address: a wrong one does no harm */
APUS_INLINE void apus_prefetch_address(uintptr_t at) { __builtin_prefetch((const void *)at, 0, 3); }

/* ---- unaligned loads and stores ------------------------------------------------------------------------------ */

APUS_INLINE uint16_t apus_load16(const void *at) { uint16_t v; memcpy(&v, at, sizeof(v)); return v; }
APUS_INLINE uint32_t apus_load32(const void *at) { uint32_t v; memcpy(&v, at, sizeof(v)); return v; }
APUS_INLINE uint64_t apus_load64(const void *at) { uint64_t v; memcpy(&v, at, sizeof(v)); return v; }
APUS_INLINE void apus_store16(void *at, uint16_t v) { memcpy(at, &v, sizeof(v)); }
APUS_INLINE void apus_store32(void *at, uint32_t v) { memcpy(at, &v, sizeof(v)); }
APUS_INLINE void apus_store64(void *at, uint64_t v) { memcpy(at, &v, sizeof(v)); }

/* of constant size: three vector stores, or five */
APUS_INLINE void apus_copy48(void *to, const void *from) { memcpy(to, from, 48); }
APUS_INLINE void apus_copy80(void *to, const void *from) { memcpy(to, from, 80); }

/* ---- 16 bytes at once ---------------------------------------------------------------------------------------- */

/* Swift sees it as SIMD2<Int64>. */
typedef long long apus_vector __attribute__((vector_size(16)));

APUS_INLINE apus_vector apus_load128(const void *at) { apus_vector v; memcpy(&v, at, sizeof(v)); return v; }

/*
 * 1 when `size` bytes are equal: the first `words` of them, a multiple of 8, word by word, because they may just have been written so,
 * and a wider load would wait for that; the others, a multiple of 16, as vectors
 */
APUS_INLINE int apus_is_equal(const void *a, const void *b, size_t words, size_t size)
{
	const char *p = (const char *)a, *q = (const char *)b;
	uint64_t first = 0;
	apus_vector rest = {0, 0};

	for (size_t i = 0; i < words; i += 8)
		first |= apus_load64(p + i) ^ apus_load64(q + i);
	if (first != 0)
		return 0;
	for (size_t i = words; i < size; i += 16)
		rest |= apus_load128(p + i) ^ apus_load128(q + i);
	return (rest[0] | rest[1]) == 0;
}

/* The word of a flow's key that is not in the packet as it is: the protocol is its second byte, around it there is the VSID. */

/* 16 bytes, of the first four only the second */
APUS_INLINE apus_vector apus_second_of_four(const void *at)
{
	typedef unsigned char bytes __attribute__((vector_size(16)));
	const bytes kept = {0, 255, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

	return (apus_vector)((bytes)apus_load128(at) & kept);
}

/* around the second byte, which is 0, the first three bytes at `key`: the third, the second, the first */
APUS_INLINE apus_vector apus_spread_vsid(const void *key)
{
#if defined(__SSSE3__)
	const __m128i order = _mm_setr_epi8(2, -1, 1, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);

	__m128i spread = _mm_shuffle_epi8(_mm_cvtsi32_si128((int)apus_load32(key)), order);

	/* Apart from what it is combined with: together the compiler makes three shuffles of one. */
	__asm__("" : "+x"(spread));
	return (apus_vector)spread;
#else
	const unsigned char *p = (const unsigned char *)key;

	return (apus_vector){p[2] | p[1] << 16 | (long long)p[0] << 24, 0};
#endif
}

/* 1 when all bits are 0 */
APUS_INLINE int apus_is_zero(apus_vector v, uint64_t word)
{
#if defined(__SSE4_1__)
	const __m128i all = _mm_or_si128((__m128i)v, _mm_cvtsi64_si128((long long)word));

	return _mm_testz_si128(all, all);
#else
	return (v[0] | v[1] | (long long)word) == 0;
#endif
}

/* Two 16-bit numbers: what they gain, up to 65535, then what they lose; both at addresses of 16 readable bytes, aligned so. */
APUS_INLINE uint32_t apus_moved_pair(uint32_t pair, const void *gained, const void *lost)
{
#if defined(__x86_64__)
	const __m128i more = _mm_adds_epu16(_mm_cvtsi32_si128((int)pair), *(const __m128i *)gained);

	return (uint32_t)_mm_cvtsi128_si32(_mm_sub_epi16(more, *(const __m128i *)lost));
#else
	const uint32_t gain = apus_load32(gained), loss = apus_load32(lost);
	const uint32_t low = (pair & 0xFFFF) + (gain & 0xFFFF), high = (pair >> 16) + (gain >> 16);

	return ((low < 0xFFFF ? low : 0xFFFF) - (loss & 0xFFFF)) & 0xFFFF | ((high < 0xFFFF ? high : 0xFFFF) - (loss >> 16)) << 16;
#endif
}

/* ---- hash ------------------------------------------------------------------------------------------------------ */

/*
 * A keyed, non-linear mix: AES rounds where the CPU has them. CRC and Toeplitz are linear: one set of colliding
 * keys collides under every seed. Not a MAC; it has to keep an attacker who does not know the key from choosing
 * the bucket.
 */
struct apus_hash_key {
	uint64_t k[4];
};

#if defined(__x86_64__) && defined(__AES__)

APUS_INLINE uint64_t apus_hash_finish(__m128i h, __m128i k0, __m128i k1)
{
	h = _mm_aesenc_si128(h, k0);
	h = _mm_aesenc_si128(h, k1);
	return (uint64_t)_mm_cvtsi128_si64(h) ^ (uint64_t)_mm_extract_epi64(h, 1);
}

APUS_INLINE uint64_t apus_hash_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d, const struct apus_hash_key *key)
{
	const __m128i k0 = _mm_loadu_si128((const __m128i *)(const void *)&key->k[0]);
	const __m128i k1 = _mm_loadu_si128((const __m128i *)(const void *)&key->k[2]);
	__m128i h = _mm_aesenc_si128(_mm_xor_si128(k0, _mm_set_epi64x((long long)b, (long long)a)), k1);

	h = _mm_aesenc_si128(_mm_xor_si128(h, _mm_set_epi64x((long long)d, (long long)c)), k1);
	return apus_hash_finish(h, k0, k1);
}

/* `blocks` x 16 bytes plus 8 */
APUS_INLINE uint64_t apus_hash_bytes(const void *bytes, size_t blocks, const struct apus_hash_key *key)
{
	const __m128i k0 = _mm_loadu_si128((const __m128i *)(const void *)&key->k[0]);
	const __m128i k1 = _mm_loadu_si128((const __m128i *)(const void *)&key->k[2]);
	const uint8_t *p = (const uint8_t *)bytes;
	__m128i h = k0;

	for (size_t i = 0; i < blocks; i++)
		h = _mm_aesenc_si128(_mm_xor_si128(h, _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i))), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, _mm_loadl_epi64((const __m128i *)(const void *)(p + 16 * blocks))), k1);
	return apus_hash_finish(h, k0, k1);
}

/* `first` and `second`: the two halves of the key, which a loop keeps in registers */
APUS_INLINE uint64_t apus_hash_vectors(apus_vector a, apus_vector b, uint64_t c, apus_vector first, apus_vector second)
{
	const __m128i k0 = (__m128i)first, k1 = (__m128i)second;
	__m128i h = _mm_aesenc_si128(_mm_xor_si128(k0, (__m128i)a), k1);

	h = _mm_aesenc_si128(_mm_xor_si128(h, (__m128i)b), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, _mm_cvtsi64_si128((long long)c)), k1);
	return apus_hash_finish(h, k0, k1);
}

APUS_INLINE uint64_t apus_hash_four_vectors(apus_vector a, apus_vector b, apus_vector c, apus_vector d, apus_vector first,
					    apus_vector second)
{
	const __m128i k0 = (__m128i)first, k1 = (__m128i)second;
	__m128i h = _mm_aesenc_si128(_mm_xor_si128(k0, (__m128i)a), k1);

	h = _mm_aesenc_si128(_mm_xor_si128(h, (__m128i)b), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, (__m128i)c), k1);
	h = _mm_aesenc_si128(_mm_xor_si128(h, (__m128i)d), k1);
	return apus_hash_finish(h, k0, k1);
}

#else /* portable: multiply and fold, keyed at every step */

APUS_INLINE uint64_t apus_hash_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

APUS_INLINE uint64_t apus_hash_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d, const struct apus_hash_key *key)
{
	uint64_t h = apus_hash_fold(a ^ key->k[0], b ^ key->k[1] ^ 0x9e3779b97f4a7c15ull);

	h ^= apus_hash_fold(c ^ key->k[2] ^ h, d ^ key->k[3] ^ 0xd1b54a32d192ed03ull);
	return apus_hash_fold(h ^ key->k[1], key->k[0] | 1);
}

APUS_INLINE uint64_t apus_hash_bytes(const void *bytes, size_t blocks, const struct apus_hash_key *key)
{
	const uint8_t *p = (const uint8_t *)bytes;
	uint64_t h = key->k[0];

	for (size_t i = 0; i < blocks; i++)
		h = apus_hash_words(apus_load64(p + 16 * i), apus_load64(p + 16 * i + 8), h, i, key);
	return apus_hash_words(apus_load64(p + 16 * blocks), h, 0, blocks, key);
}

APUS_INLINE uint64_t apus_hash_vectors(apus_vector a, apus_vector b, uint64_t c, apus_vector first, apus_vector second)
{
	const struct apus_hash_key key = {{(uint64_t)first[0], (uint64_t)first[1], (uint64_t)second[0], (uint64_t)second[1]}};
	uint64_t h = apus_hash_words((uint64_t)a[0], (uint64_t)a[1], (uint64_t)b[0], (uint64_t)b[1], &key);

	return apus_hash_words(c, h, 0, 2, &key);
}

APUS_INLINE uint64_t apus_hash_four_vectors(apus_vector a, apus_vector b, apus_vector c, apus_vector d, apus_vector first,
					    apus_vector second)
{
	uint64_t h = apus_hash_vectors(a, b, (uint64_t)c[0], first, second);

	return apus_hash_vectors(c, d, h, first, second);
}

#endif

/* ---- CPU ------------------------------------------------------------------------------------------------------ */

/*
 * 1 when this CPU has what the compiler was allowed to use. Only plain integer instructions here: this runs
 * before anything else may.
 */
APUS_INLINE int apus_cpu_suffices(void)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d))
		return 0;
#if defined(__SSE4_2__)
	if (!(c & bit_SSE4_2) || !(c & bit_POPCNT))
		return 0;
#endif
#if defined(__AES__)
	if (!(c & bit_AES))
		return 0;
#endif
#if defined(__AVX__)
	if (!(c & bit_AVX) || !(c & bit_OSXSAVE))
		return 0;
#endif
#if defined(__AVX2__) || defined(__BMI2__) || defined(__AVX512F__)
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return 0;
#endif
#if defined(__AVX2__)
	if (!(b & bit_AVX2))
		return 0;
#endif
#if defined(__BMI2__)
	if (!(b & bit_BMI2))
		return 0;
#endif
#if defined(__AVX512F__)
	if (!(b & bit_AVX512F))
		return 0;
#endif
#endif
	return 1;
}

/* What was built, in words: the same conditions as above. */
APUS_INLINE const char *apus_build_text(void)
{
#define APUS_TEXT_(x) #x
#define APUS_TEXT(x) APUS_TEXT_(x)
	return "apus " APUS_TEXT(APUS_VERSION_MAJOR) "." APUS_TEXT(APUS_VERSION_MINOR) "." APUS_TEXT(APUS_VERSION_PATCH)
#if defined(__x86_64__)
	       ", x86-64"
#elif defined(__aarch64__)
	       ", arm64"
#endif
#if defined(__SSE4_2__)
	       ", SSE4.2"
#endif
#if defined(__AES__)
	       ", AES-NI"
#endif
#if defined(__AVX2__)
	       ", AVX2"
#endif
#if defined(__AVX512F__)
	       ", AVX-512"
#endif
#if defined(__OPTIMIZE__)
	       ", optimized"
#endif
	    ;
}

APUS_INLINE const char *apus_version_text(void)
{
	return APUS_TEXT(APUS_VERSION_MAJOR) "." APUS_TEXT(APUS_VERSION_MINOR) "." APUS_TEXT(APUS_VERSION_PATCH);
}

APUS_INLINE uint32_t apus_header_version(void) { return APUS_VERSION_NUMBER; }

/* ---- the registry of dataplanes -------------------------------------------------------------------------------- */

/*
 * The only global state: which dataplane has which slot (its address; 0 = free; 1 = being created), and a number
 * for the next handle. `static` in a function: an object file that uses them has its own copy, so one Swift file alone may, in
 * functions that are never inlined elsewhere (Sources/Apus/ABI/Registry.swift).
 */
APUS_INLINE uintptr_t *apus_registry_slots(void)
{
	static uintptr_t slots[64];

	return slots;
}

APUS_INLINE uintptr_t apus_registry_load(int slot)
{
	return __atomic_load_n(&apus_registry_slots()[slot], __ATOMIC_ACQUIRE);
}

APUS_INLINE void apus_registry_store(int slot, uintptr_t address)
{
	__atomic_store_n(&apus_registry_slots()[slot], address, __ATOMIC_RELEASE);
}

/* 1 when the slot was free and is taken now */
APUS_INLINE int apus_registry_take(int slot)
{
	uintptr_t expected = 0;

	return __atomic_compare_exchange_n(&apus_registry_slots()[slot], &expected, 1, 0, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

APUS_INLINE uint32_t apus_registry_generation(void)
{
	static uint32_t next;

	return __atomic_add_fetch(&next, 1, __ATOMIC_RELAXED);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

#define APUS_CASE_NAME(name, value, windows, text) \
	case value:                                \
		return #name;
#define APUS_CASE_TEXT(name, value, windows, text) \
	case value:                                \
		return text;
#define APUS_CASE_WINDOWS(name, value, windows, text) \
	case value:                                   \
		return windows;

APUS_INLINE const char *apus_drop_name(uint32_t reason)
{
	switch (reason) { APUS_DROP_REASONS(APUS_CASE_NAME) }
	return "";
}

APUS_INLINE const char *apus_drop_text(uint32_t reason)
{
	switch (reason) { APUS_DROP_REASONS(APUS_CASE_TEXT) }
	return "";
}

APUS_INLINE uint32_t apus_drop_windows(uint32_t reason)
{
	switch (reason) { APUS_DROP_REASONS(APUS_CASE_WINDOWS) }
	return 0;
}

#endif /* APUS_INTRINSICS_H */
