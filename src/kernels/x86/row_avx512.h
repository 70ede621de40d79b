/* row_avx512.h - one token: what the AVX-512 products that read rows one after another share.
 *
 * As row_x86.h says; sixteen rows continue sixteen chains of floats side by side, as the products
 * of tile_avx512.h do. */
#ifndef DS4_KERNELS_ROW_AVX512_H
#define DS4_KERNELS_ROW_AVX512_H

#include "kernels/x86/row_x86.h"
#include "kernels/x86/tile_avx512.h"

enum {
    UNIT_BLOCKS = 8,            /* blocks whose sums are made together */
    HALF_BLOCKS = 4,
    KEPT_BLOCKS = 256,          /* of each row, at most */
    KEPT_STRIDE = KEPT_BLOCKS + 16,     /* rows in different sets of the first cache */
};

/* ---- sums of eight blocks ------------------------------------------------------------------- */

/* s[p]: eight parts of the sum of block p, then eight of block p + 4. Out: eight sums. */
INLINE __m256i sum_unit(const __m512i s[4])
{
    const __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
    const __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]), _mm512_unpackhi_epi32(s[2], s[3]));
    const __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    const __m512i even = _mm512_shuffle_i32x4(c, c, 0x88), odd = _mm512_shuffle_i32x4(c, c, 0xdd);
    return _mm512_castsi512_si256(_mm512_add_epi32(even, odd));
}

/* ---- what is kept of 16 rows ----------------------------------------------------------------- */

/* One kind of number for each block of 16 rows. */
typedef union kept {
    _Alignas(64) int32_t i[TILE_ROWS][KEPT_STRIDE];
    float                f[TILE_ROWS][KEPT_STRIDE];
} kept;

/* The numbers of a unit that begins with block b: lane r of v[j] is that of block b + j of row r. */
INLINE void load_kept(__m512i v[UNIT_BLOCKS], const kept *k, size_t b)
{
    const int32_t *p = &k->i[0][b];
    __m512i a[8], q4[8];

    UNROLL
    for (int i = 0; i < 8; i++) {           /* rows 0-3 beside 4-7, rows 8-11 beside 12-15 */
        const int32_t *q = p + (i + (i & 4)) * KEPT_STRIDE;
        a[i] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_load_si256((const void *)q)),
                                  _mm256_load_si256((const void *)(q + 4 * KEPT_STRIDE)), 1);
    }
    UNROLL
    for (int i = 0; i < 8; i += 4) {
        const __m512i lo01 = _mm512_unpacklo_epi32(a[i], a[i + 1]),
                      hi01 = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        const __m512i lo23 = _mm512_unpacklo_epi32(a[i + 2], a[i + 3]),
                      hi23 = _mm512_unpackhi_epi32(a[i + 2], a[i + 3]);
        q4[i] = _mm512_unpacklo_epi64(lo01, lo23);
        q4[i + 1] = _mm512_unpackhi_epi64(lo01, lo23);
        q4[i + 2] = _mm512_unpacklo_epi64(hi01, hi23);
        q4[i + 3] = _mm512_unpackhi_epi64(hi01, hi23);
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
        v[j] = _mm512_shuffle_i32x4(q4[j], q4[j + 4], 0x88);
        v[j + 4] = _mm512_shuffle_i32x4(q4[j], q4[j + 4], 0xdd);
    }
}

#endif
