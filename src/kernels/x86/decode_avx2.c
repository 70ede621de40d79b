/* decode_avx2.c - decode the formats of whole matrices and embedding rows for AVX2 + F16C.
 *
 * These multiply with float activations row by row (compressors and indexer of small
 * files), so decoding is on the way of every token. The formats of experts never do and
 * are left to the reference. */
#include "kernels/kernel_init.h"

#include <immintrin.h>
#include <string.h>

enum { Q8_0_BLOCK = 32, Q8_0_BYTES = 34 };

static uint16_t load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static void decode_f16(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    size_t         i = 0;

    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 2 * i))));
    }
    for (; i < n; i++) y[i] = _cvtsh_ss(load_u16(p + 2 * i));
}

static void decode_bf16(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    size_t         i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 2 * i)));
        _mm256_storeu_si256((void *)(y + i), _mm256_slli_epi32(wide, 16));
    }
    for (; i < n; i++) {
        const uint32_t bits = (uint32_t)load_u16(p + 2 * i) << 16;
        memcpy(y + i, &bits, sizeof bits);
    }
}

static void decode_q8_0(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;

    for (size_t i = 0; i < n; i += Q8_0_BLOCK, p += Q8_0_BYTES) {
        const __m256 d = _mm256_set1_ps(_cvtsh_ss(load_u16(p)));
        for (int j = 0; j < Q8_0_BLOCK; j += 8) {
            const __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)(p + 2 + j)));
            _mm256_storeu_ps(y + i + j, _mm256_mul_ps(d, _mm256_cvtepi32_ps(q)));
        }
    }
}

void ds4_kernels_avx2_decode(ds4_kernels *k)
{
    k->decode[DS4_F16] = decode_f16;
    k->decode[DS4_BF16] = decode_bf16;
    k->decode[DS4_Q8_0] = decode_q8_0;
}
