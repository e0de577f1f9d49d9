/* The sum that an Internet checksum is folded from, by the widest vectors of the processor. */

#include "shim.h"

#include <string.h>

static uint64_t sum_plain(const uint8_t *octets, size_t count)
{
	uint64_t sum = 0;
	uint32_t word;

	for (; count >= 4; octets += 4, count -= 4) {
		memcpy(&word, octets, 4);
		sum += word;
	}
	word = 0;
	memcpy(&word, octets, count);
	return sum + word;
}

#if defined(__x86_64__) && !defined(__clang__)

#include <immintrin.h>

__attribute__((target("avx2")))
static uint64_t sum_avx2(const uint8_t *octets, size_t count)
{
	const __m256i low = _mm256_set1_epi64x(0xffffffff);
	__m256i sums = _mm256_setzero_si256();
	__m128i half;

	for (; count >= 32; octets += 32, count -= 32) {
		const __m256i words = _mm256_loadu_si256((const __m256i *)octets);

		sums = _mm256_add_epi64(sums, _mm256_and_si256(words, low));
		sums = _mm256_add_epi64(sums, _mm256_srli_epi64(words, 32));
	}
	half = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
	return (uint64_t)_mm_cvtsi128_si64(half) + (uint64_t)_mm_extract_epi64(half, 1) +
	       sum_plain(octets, count);
}

#define AVX512 __attribute__((target("avx512f,avx512bw,bmi2")))

/* Adds both halves of each quad word; in a register, or each half would load them anew. */
AVX512 static inline __m512i plus(__m512i sums, __m512i words)
{
	__asm__("" : "+v"(words));
	sums = _mm512_add_epi64(sums, _mm512_and_si512(words, _mm512_set1_epi64(0xffffffff)));
	return _mm512_add_epi64(sums, _mm512_srli_epi64(words, 32));
}

/* What is behind the end is not read and counts as zeros. */
AVX512 static inline __m512i first(const uint8_t *octets, size_t count)
{
	return _mm512_maskz_loadu_epi8(_bzhi_u64(~0ULL, (unsigned int)count), octets);
}

AVX512 static uint64_t sum_avx512(const uint8_t *octets, size_t count)
{
	__m512i sums = _mm512_setzero_si512(), others = sums;

	/* A long packet from its next cache line on, two lines at a time. A part of an even length
	 * leaves the sum as it is (RFC 1071 s.2 (B)): folded, both halves of a word count the same. */
	if (count >= 256 && ((uintptr_t)octets & 1) == 0) {
		const size_t part = -(uintptr_t)octets & 63;

		sums = plus(sums, first(octets, part));
		for (octets += part, count -= part; count >= 128; octets += 128, count -= 128) {
			sums = plus(sums, _mm512_load_si512(octets));
			others = plus(others, _mm512_load_si512(octets + 64));
		}
	}
	for (; count >= 64; octets += 64, count -= 64)
		sums = plus(sums, _mm512_loadu_si512(octets));
	others = plus(others, first(octets, count));
	return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(sums, others));
}

/* Runs once, when the program is loaded. */
static uint64_t (*choose(void))(const uint8_t *, size_t)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2"))
		return sum_avx512;
	return __builtin_cpu_supports("avx2") ? sum_avx2 : sum_plain;
}

uint64_t hearth_sum_words(const uint8_t *octets, size_t count) __attribute__((ifunc("choose")));

#else

uint64_t hearth_sum_words(const uint8_t *octets, size_t count)
{
	return sum_plain(octets, count);
}

#endif
