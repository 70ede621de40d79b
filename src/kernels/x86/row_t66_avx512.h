/* row_t66_avx512.h - one token times T66 rows, read one after another; what the versions with VBMI
 * and without it share. The sums and chains of product_q256_avx512.h, so the same bits.
 *
 * A lane of 32 bits holds the product of one state, and each of its four six-bit numbers meets
 * the same activation: four times 63 * 127 and 64 of them stay far inside 32 bits. */
#ifndef DS4_KERNELS_ROW_T66_AVX512_H
#define DS4_KERNELS_ROW_T66_AVX512_H

#include "kernels/x86/product_q256_avx512.h"
#include "kernels/x86/row_q256_avx512.h"
#include "kernels/x86/tile_t66_avx512.h"

enum { T66_UNITS = 2, T66_VECTORS = 16 };

/* Eight blocks of activations: vector v of a block has each four times, in the order of its states. */
typedef struct unit_t66 {
    _Alignas(64) int8_t  q[UNIT_BLOCKS][T66_VECTORS][64];
    _Alignas(32) int32_t start[UNIT_BLOCKS];            /* what the bias of the codes adds, negated */
    _Alignas(32) float   d[UNIT_BLOCKS];
} unit_t66;

/* The states of a block; and the activations that those of vector v meet, each in all four bytes. */
typedef void    t66_states_fn(__m512i state[T66_VECTORS], const uint8_t *w);
typedef __m512i t66_spread_fn(const int8_t q[256], int v);

INLINE void prepare_t66(unit_t66 *units, const ds4_q256 *x, size_t n_blocks, t66_spread_fn *spread)
{
    for (size_t b = 0; b < n_blocks; b++) {
        unit_t66    *u = units + b / UNIT_BLOCKS;
        const size_t i = b % UNIT_BLOCKS;
        int32_t      sum = 0;
        for (int v = 0; v < T66_VECTORS; v++) _mm512_store_si512(u->q[i][v], spread(x[b].q, v));
        for (int j = 0; j < 16; j++) sum += x[b].sum[j];
        u->start[i] = -T66_BIAS * sum;
        u->d[i] = x[b].d;
    }
}

/* Sixteen parts of the sum of a block. */
INLINE __m512i t66_sums(const uint8_t *w, const int8_t q[T66_VECTORS][64], t66_states_fn *states)
{
    const __m512i factor = _mm512_set1_epi32((int)T66_FACTOR), fields = _mm512_set1_epi32(T66_FIELDS);
    __m512i state[T66_VECTORS], sum[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };

    states(state, w);
    UNROLL
    for (int v = 0; v < T66_VECTORS; v++) {
        const __m512i numbers = _mm512_and_si512(_mm512_mullo_epi32(state[v], factor), fields);
        sum[v & 1] = _mm512_dpbusd_epi32(sum[v & 1], numbers, _mm512_load_si512(q[v]));
    }
    return _mm512_add_epi32(sum[0], sum[1]);
}

/* Eight blocks of a row, or four twice. */
INLINE void keep_t66(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second, const unit_t66 *u,
                     t66_states_fn *states)
{
    const __m256 d = low_halves8(load_heads(w, second, T66_BYTES));
    __m512i      s[UNIT_BLOCKS];

    UNROLL
    for (int i = 0; i < UNIT_BLOCKS; i++)
        s[i] = t66_sums(w + (i & 3) * T66_BYTES + (i & 4 ? second : 0), u->q[i], states);
    _mm256_store_si256((__m256i *)(void *)&k->sum.i[row][b],
                       _mm256_add_epi32(sum_eight(s), _mm256_load_si256((const void *)u->start)));
    _mm256_store_ps(&k->scale.f[row][b], _mm256_mul_ps(d, _mm256_load_ps(u->d)));
}

/* keep: keep_t66() with the states of its set of instructions. */
INLINE void run_rows_t66(const row_call *c, keep_fn *keep, t66_spread_fn *spread)
{
    enum { MOST = T66_UNITS * UNIT_BLOCKS };
    unit_t66 units[T66_UNITS];

    if (c->n_blocks % UNIT_BLOCKS) memset(units, 0, sizeof units);
    for (size_t b = 0; b < c->n_blocks; b += MOST) {
        const size_t n = c->n_blocks - b < MOST ? c->n_blocks - b : MOST;
        prepare_t66(units, (const ds4_q256 *)c->x + b, n, spread);
        run_blocks(c, T66_BYTES, c->w + b * T66_BYTES, n, units, sizeof *units, keep, NULL);
    }
}

#endif
