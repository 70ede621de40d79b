/* row_q256_avx512.h - one token: rows of blocks of 256 values, read one after another. The sums and
 * chains of product_q256_avx512.h, so the same bits; row_x86.h says why rows go in order. */
#ifndef DS4_KERNELS_ROW_Q256_AVX512_H
#define DS4_KERNELS_ROW_Q256_AVX512_H

#include "kernels/x86/tile_q256_avx512.h"
#include "kernels/x86/row_avx512.h"
#include "kernels/kernel_init.h"

enum {
    MAX_BLOCKS = 32,            /* activations prepared at once: 10 KiB of stack */
    IQ2_OFFSET = 64,            /* what is added to weights of IQ2_XXS to make them unsigned */
};

/* Eight blocks of activations as the sums want them. Q2_K: q[b][k] are the values that bits
 * 2k, 2k + 1 of its 64 bytes multiply. Q4_K: those that the low (k even) or high nibbles of its
 * bytes 64 (k / 2).. multiply. IQ2_XXS: q[p][j] are those of block p, then of block p + 4, that
 * the vector j of its weights multiplies. */
typedef struct unit256 {
    union {
        _Alignas(64) int8_t of_block[UNIT_BLOCKS][4][64];
        int8_t              of_pair[4][8][64];
    } q;
    _Alignas(64) int32_t start[4][16];      /* IQ2_XXS: offset * sum of a group, negated; pairs */
    int16_t sum[4][32];                     /* Q2_K, Q4_K: sums of 16 values; pairs */
    float   d[UNIT_BLOCKS];
} unit256;

/* Has a block mins beside its scales? */
INLINE bool has_mins(size_t block_bytes)
{
    return block_bytes == Q2_K_BYTES || block_bytes == Q4_K_BYTES;
}

/* The sums that are kept of the blocks of 16 rows; min and min_scale for types with mins. */
typedef struct kept256 {
    kept sum, scale, min, min_scale;
} kept256;

/* A type gives two functions: its activations, block b of a unit; its weights, the eight blocks of row `row`
 * that begin at w, the last four at w + second, kept as blocks b.. of that row. unit is a unit256, or of
 * another type that the caller of run_blocks() has prepared. */
typedef void prepare_fn(unit256 *u, size_t b, const ds4_q256 *x);
typedef void keep_fn(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                     const void *unit, const void *tables);

/* A number of 32 bits at w of each of eight blocks. Not gathered: that takes 27 cycles on one
 * processor (family 6, model 85), loads take 8; to a newer one it is the same. */
INLINE __m256i load_heads(const uint8_t *w, size_t second, size_t block_bytes)
{
    __m128i half[2];

    UNROLL
    for (int h = 0; h < 2; h++) {
        const uint8_t *q = w + (h ? second : 0);
        __m128i t = _mm_cvtsi32_si128((int)load_u32(q));
        t = _mm_insert_epi32(t, (int)load_u32(q + block_bytes), 1);
        t = _mm_insert_epi32(t, (int)load_u32(q + 2 * block_bytes), 2);
        half[h] = _mm_insert_epi32(t, (int)load_u32(q + 3 * block_bytes), 3);
    }
    return _mm256_inserti128_si256(_mm256_castsi128_si256(half[0]), half[1], 1);
}

INLINE __m256 low_halves8(__m256i v)
{
    return _mm256_cvtph_ps(_mm256_cvtepi32_epi16(v));
}

/* Bytes from the first half of a unit to what serves as the second: at the end of a row of 4
 * blocks more than units have, the same blocks again, whose sums are not used. */
INLINE size_t to_second_half(size_t n_blocks, size_t block_bytes)
{
    return n_blocks >= UNIT_BLOCKS ? HALF_BLOCKS * block_bytes : 0;
}

/* s: sixteen parts of each of eight sums. */
INLINE __m256i sum_eight(const __m512i s[8])
{
    __m512i two[4];

    UNROLL
    for (int i = 0; i < 4; i++)
        two[i] = _mm512_add_epi32(_mm512_shuffle_i32x4(s[i], s[i + 4], 0x44),
                                  _mm512_shuffle_i32x4(s[i], s[i + 4], 0xee));
    return sum_unit(two);
}

/* s: sixteen parts of each of eight sums; m: eight parts of each times its mins; heads: the scale
 * of each block's sum and, above it, of its mins. */
INLINE void keep_unit(kept256 *k, size_t row, size_t b, const __m512i s[8], const __m512i m[4],
                      __m256i heads, const unit256 *u)
{
    const __m256 dx = _mm256_load_ps(u->d);

    _mm256_store_si256((__m256i *)(void *)&k->sum.i[row][b], sum_eight(s));
    _mm256_store_si256((__m256i *)(void *)&k->min.i[row][b], sum_unit(m));
    _mm256_store_ps(&k->scale.f[row][b], _mm256_mul_ps(low_halves8(heads), dx));
    _mm256_store_ps(&k->min_scale.f[row][b],
                    _mm256_mul_ps(low_halves8(_mm256_srli_epi32(heads, 16)), dx));
}

/* ---- IQ2_XXS, whose codewords become weights in two ways ------------------------------------- */

/* in_order: of the 64 activations of eight codewords, eight for each vector j of weights. */
INLINE void prepare_iq2(unit256 *u, size_t b, const ds4_q256 *x, __m512i (*in_order)(__m512i))
{
    const size_t at = 32 * (b >> 2);

    for (size_t c = 0; c < 4; c++) {
        uint8_t eight[8][8];
        _mm512_storeu_si512(eight, in_order(_mm512_loadu_si512(x->q + 64 * c)));
        for (size_t j = 0; j < 8; j++) memcpy(u->q.of_pair[b & 3][j] + at + 8 * c, eight[j], 8);
    }
    _mm256_storeu_si256((void *)(u->start[b & 3] + 8 * (b >> 2)),
                        _mm256_madd_epi16(_mm256_loadu_si256((const void *)x->sum),
                                          _mm256_set1_epi16(-IQ2_OFFSET)));
}

/* The index words of two blocks, and the words with their signs and scales. */
INLINE void load_iq2(__m512i *index, __m512i *word, const uint8_t *w, size_t second)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i a = _mm512_loadu_si512(w + 2), b = _mm512_loadu_si512(w + second + 2);

    *index = _mm512_permutex2var_epi32(a, even, b);
    *word = _mm512_permutex2var_epi32(a, odd, b);
}

/* The scaled sums of the groups of the block at w and of the one at w + second. */
typedef __m512i iq2_sums_fn(const uint8_t *w, size_t second, const int8_t q[8][64],
                            const int32_t start[16], const void *tables);

INLINE void keep_iq2(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                     const unit256 *u, const void *tables, iq2_sums_fn *sums)
{
    const __m256 d = _mm256_mul_ps(low_halves8(load_heads(w, second, IQ2_XXS_BYTES)),
                                   _mm256_set1_ps(0.125f));
    __m512i s[HALF_BLOCKS];

    UNROLL
    for (int i = 0; i < HALF_BLOCKS; i++)
        s[i] = sums(w + i * IQ2_XXS_BYTES, second, u->q.of_pair[i], u->start[i], tables);
    _mm256_store_si256((__m256i *)(void *)&k->sum.i[row][b], sum_unit(s));
    _mm256_store_ps(&k->scale.f[row][b], _mm256_mul_ps(d, _mm256_load_ps(u->d)));
}

/* ---- rows --------------------------------------------------------------------------------- */

/* y continued over half a unit. */
INLINE __m512 add_half(__m512 y, const __m512i s[HALF_BLOCKS], const __m512i d[HALF_BLOCKS],
                       const __m512i m[HALF_BLOCKS], const __m512i dm[HALF_BLOCKS],
                       size_t block_bytes)
{
    UNROLL
    for (int i = 0; i < HALF_BLOCKS; i++) {
        y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[i]), _mm512_castsi512_ps(d[i]), y);
        if (has_mins(block_bytes))
            y = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(m[i]), _mm512_castsi512_ps(dm[i]), y);
    }
    return y;
}

/* y continued over n_blocks. */
INLINE __m512 add_blocks(__m512 y, const kept256 *k, size_t n_blocks, reader *next,
                         size_t block_bytes)
{
    __m512i s[UNIT_BLOCKS], d[UNIT_BLOCKS], m[UNIT_BLOCKS], dm[UNIT_BLOCKS];

    for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
        ask(next, due_in_chain(UNIT_BLOCKS * block_bytes, TILE_ROWS));
        load_kept(s, &k->sum, b);
        load_kept(d, &k->scale, b);
        if (has_mins(block_bytes)) {
            load_kept(m, &k->min, b);
            load_kept(dm, &k->min_scale, b);
        }
        y = add_half(y, s, d, m, dm, block_bytes);
        if (n_blocks - b >= UNIT_BLOCKS)
            y = add_half(y, s + HALF_BLOCKS, d + HALF_BLOCKS, m + HALF_BLOCKS, dm + HALF_BLOCKS,
                         block_bytes);
    }
    return y;
}

/* n_blocks of all rows from column w; y is continued unless they are the first. */
INLINE void run_blocks(const row_call *c, size_t block_bytes, const uint8_t *w, size_t n_blocks,
                       const void *units, size_t unit_bytes, keep_fn *keep, const void *tables)
{
    kept256 k;
    reader  next = read_ahead(w, c->n_rows * c->w_stride);

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t    n_rows = c->n_rows - r < TILE_ROWS ? c->n_rows - r : TILE_ROWS;
        const __mmask16 mask = tail_mask(n_rows);
        const __m512 y = w == c->w ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, c->y + r);
        if (n_rows < TILE_ROWS) memset(&k, 0, sizeof k);
        for (size_t i = 0; i < n_rows; i++) {
            const uint8_t *row = w + (r + i) * c->w_stride;
            for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
                const size_t   second = to_second_half(n_blocks - b, block_bytes);
                ask(&next, due_in_row(UNIT_BLOCKS * block_bytes, TILE_ROWS));
                keep(&k, i, b, row + b * block_bytes, second,
                     (const uint8_t *)units + b / UNIT_BLOCKS * unit_bytes, tables);
            }
        }
        _mm512_mask_storeu_ps(c->y + r, mask, add_blocks(y, &k, n_blocks, &next, block_bytes));
    }
}

INLINE void prepare(unit256 *u, const ds4_q256 *x, size_t n_blocks, prepare_fn *prepare_block)
{
    if (n_blocks % UNIT_BLOCKS) memset(u + n_blocks / UNIT_BLOCKS, 0, sizeof *u);
    for (size_t b = 0; b < n_blocks; b++) {
        unit256 *to = u + b / UNIT_BLOCKS;
        prepare_block(to, b % UNIT_BLOCKS, x + b);
        to->d[b % UNIT_BLOCKS] = x[b].d;
    }
}

INLINE void run_rows(const row_call *c, size_t block_bytes, prepare_fn *prepare_block, keep_fn *keep,
                     const void *tables)
{
    unit256 units[MAX_BLOCKS / UNIT_BLOCKS];

    for (size_t b = 0; b < c->n_blocks; b += MAX_BLOCKS) {
        const size_t n = c->n_blocks - b < MAX_BLOCKS ? c->n_blocks - b : MAX_BLOCKS;
        prepare(units, (const ds4_q256 *)c->x + b, n, prepare_block);
        run_blocks(c, block_bytes, c->w + b * block_bytes, n, units, sizeof *units, keep, tables);
    }
}

/* The ds4_matvec_fn of a type. */
#define MATVEC(name, bytes, prepare_block, keep, tables)                                        \
    void name(float *y, const void *w, size_t w_stride, size_t n_rows, const void *x,           \
              size_t n_blocks)                                                                  \
    {                                                                                           \
        const row_call c = { y, w, w_stride, n_rows, x, n_blocks };                             \
        tables                                                                                  \
        run_rows(&c, bytes, prepare_block, keep, t);                                            \
    }

#endif
