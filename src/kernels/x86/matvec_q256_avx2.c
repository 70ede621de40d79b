/* matvec_q256_avx2.c - products of Q2_K, Q4_K and IQ2_XXS rows with one token, for AVX2: the sums
 * and chains of matmul_q256_avx2.c, so the same bits, for rows that are read one after another
 * (row_x86.h says why). */
#include "kernels/x86/iq2_avx2.h"
#include "kernels/x86/row_avx2.h"
#include "kernels/kernel_init.h"

enum {
    MAX_UNITS = 8,              /* prepared and kept at once, so that all stays in the first cache */
    Q2_K_SUM_SHIFT = 2, Q2_K_MIN_SHIFT = 4,     /* sums are kept so many bits too large */
};

/* Four blocks of activations as the sums want them. */
typedef struct unit256 {
    _Alignas(32) int8_t q[UNIT_BLOCKS][256];
    int16_t sum[2][2][16];      /* what multiplies mins 0-7, then 8-15 (Q2_K), of two blocks */
    float   d[UNIT_BLOCKS];
} unit256;

/* The sums that are kept of four blocks of eight rows. */
typedef struct kept256 {
    _Alignas(32) int32_t sum[TILE_ROWS][8];     /* see load_sums() */
    int32_t  min[TILE_ROWS][8];                 /* see load_fours() */
    uint32_t head[UNIT_BLOCKS][TILE_ROWS];      /* halves: the scale of the sum, above it of the mins */
} kept256;

/* ---- activations ---------------------------------------------------------------------------- */

/* Sums of 16 values for Q2_K; for Q4_K of 32, which reach 32 * 127. */
INLINE void prepare_sums(int16_t *first, int16_t *second, const ds4_q256 *x, size_t block_bytes)
{
    memcpy(first, x->sum, 16);
    memcpy(second, x->sum + 8, 16);
    for (int g = 0; g < 8 && block_bytes == Q4_K_BYTES; g++)
        first[g] = (int16_t)(x->sum[2 * g] + x->sum[2 * g + 1]);
}

INLINE void prepare(unit256 *units, const ds4_q256 *x, size_t n_blocks, size_t block_bytes)
{
    for (size_t b = 0; b < n_blocks; b++) {
        unit256     *u = units + b / UNIT_BLOCKS;
        const size_t i = b % UNIT_BLOCKS, half = 8 * (i & 1);
        if (i == 0) memset(u, 0, sizeof *u);
        memcpy(u->q[i], x[b].q, sizeof x->q);
        prepare_sums(u->sum[i >> 1][0] + half, u->sum[i >> 1][1] + half, x + b, block_bytes);
        u->d[i] = x[b].d;
    }
}

/* ---- Q2_K ------------------------------------------------------------------------------------- */

/* The groups of 16 of plane k of half h are 8h + 2k and the next: their scales as words. */
INLINE __m256i q2_k_scales(__m256i scales, int group)
{
    const __m256i pick = _mm256_setr_epi64x((long long)0x8000800080008000, (long long)0x8000800080008000,
                                            (long long)0x8001800180018001, (long long)0x8001800180018001);
    return _mm256_shuffle_epi8(scales, _mm256_add_epi8(pick, _mm256_set1_epi16((short)group)));
}

/* Four times the scaled sums of a block in eight parts. Every second plane stays where it lies
 * and is four times too large, so the scales of the others are made four times larger. Pairs
 * reach 2 * 12 * 127, the scaled sums of a block 4 * 16 * 15 * 16 * 3 * 127. */
INLINE __m256i q2_k_sums(const uint8_t *w, __m256i scales, const int8_t q[256])
{
    const __m256i low = _mm256_set1_epi8(3), high = _mm256_set1_epi8(12);
    const __m256i larger = _mm256_slli_epi16(scales, 2);
    __m256i sum = _mm256_setzero_si256();

    UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i v = _mm256_loadu_si256((const void *)(w + 16 + 32 * h));
        UNROLL
        for (int k = 0; k < 4; k += 2) {
            const int8_t *x = q + 128 * h + 32 * k;
            if (k) v = _mm256_srli_epi16(v, 4);
            const __m256i first = _mm256_maddubs_epi16(_mm256_and_si256(v, low),
                                                       _mm256_load_si256((const void *)x));
            const __m256i second = _mm256_maddubs_epi16(_mm256_and_si256(v, high),
                                                        _mm256_load_si256((const void *)(x + 32)));
            sum = _mm256_add_epi32(
                sum, _mm256_madd_epi16(first, q2_k_scales(larger, 8 * h + 2 * k)));
            sum = _mm256_add_epi32(
                sum, _mm256_madd_epi16(second, q2_k_scales(scales, 8 * h + 2 * k + 2)));
        }
    }
    return sum;
}

/* Sixteen times the sums of two blocks times their mins, which lie in the high nibbles: four
 * parts of a, then four of b. */
INLINE __m256i q2_k_mins(__m256i a, __m256i b, const int16_t sum[2][16])
{
    const __m256i zero = _mm256_setzero_si256();
    const __m256i mins = _mm256_andnot_si256(_mm256_set1_epi8(15), _mm256_blend_epi32(a, b, 0xf0));
    const __m256i low = _mm256_madd_epi16(_mm256_unpacklo_epi8(mins, zero),
                                          _mm256_load_si256((const void *)sum[0]));
    const __m256i high = _mm256_madd_epi16(_mm256_unpackhi_epi8(mins, zero),
                                           _mm256_load_si256((const void *)sum[1]));
    return _mm256_add_epi32(low, high);
}

INLINE void keep_q2_k(kept256 *k, size_t row, const uint8_t *w, const unit256 *u)
{
    const __m256i nibbles = _mm256_set1_epi8(15);
    __m256i s[UNIT_BLOCKS], m[2];

    UNROLL
    for (int i = 0; i < UNIT_BLOCKS; i += 2) {
        const uint8_t *first = w + i * Q2_K_BYTES, *second = first + Q2_K_BYTES;
        const __m256i a = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)first));
        const __m256i b = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)second));
        m[i >> 1] = q2_k_mins(a, b, u->sum[i >> 1]);
        s[i] = q2_k_sums(first, _mm256_and_si256(a, nibbles), u->q[i]);
        s[i + 1] = q2_k_sums(second, _mm256_and_si256(b, nibbles), u->q[i + 1]);
        k->head[i][row] = load_u32(first + 80);
        k->head[i + 1][row] = load_u32(second + 80);
    }
    _mm256_store_si256((void *)k->sum[row], sum_eights(s));
    _mm256_store_si256((void *)k->min[row], add_parts(m[0], m[1]));
}

/* ---- Q4_K ------------------------------------------------------------------------------------- */

/* The six-bit numbers of two blocks whose first 16 bytes are v: bytes 8-15 of each half are the
 * scales, bytes 0-7 of *mins the mins. */
INLINE __m256i unpack_q4_k(__m256i *mins, __m256i v)
{
    const __m256i down = _mm256_setr_epi32(0, 0, 4, 0, 0, 0, 4, 0);
    const __m256i last = _mm256_srlv_epi32(_mm256_shuffle_epi32(v, 0xff), down);
    /* Words 1 and 2 of each half: scales and mins of groups 0-3, then of 4-7. */
    const __m256i low = _mm256_and_si256(v, _mm256_set1_epi8(63));
    const __m256i high =
        _mm256_or_si256(_mm256_and_si256(last, _mm256_set1_epi8(15)),
                        _mm256_and_si256(_mm256_srli_epi16(v, 2), _mm256_set1_epi8(0x30)));

    *mins = _mm256_unpackhi_epi32(low, high);
    return _mm256_unpacklo_epi32(low, high);
}

/* The scaled sums of a block in eight parts; the scales of its groups as two words each are
 * scale[0..3] and scale[8..11]. Pairs reach 2 * 15 * 127. */
INLINE __m256i q4_k_sums(const uint8_t *w, const uint32_t *scale, const int8_t q[256])
{
    const __m256i nibbles = _mm256_set1_epi8(15);
    __m256i sum = _mm256_setzero_si256();

    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint32_t *two = scale + 8 * (i >> 1) + 2 * (i & 1);
        const int8_t *x = q + 64 * i;
        const __m256i v = _mm256_loadu_si256((const void *)(w + 16 + 32 * i));
        const __m256i low = _mm256_maddubs_epi16(_mm256_and_si256(v, nibbles),
                                                 _mm256_load_si256((const void *)x));
        const __m256i high =
            _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(v, 4), nibbles),
                                 _mm256_load_si256((const void *)(x + 32)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(low, broadcast4(two)));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(high, broadcast4(two + 1)));
    }
    return sum;
}

/* Scales of two blocks: of groups 0-3 of both, then 4-7. The loops are not unrolled: with all
 * in sight a compiler makes shuffles of the broadcasts, which as loads cost least. */
INLINE void keep_q4_k(kept256 *k, size_t row, const uint8_t *w, const unit256 *u)
{
    const __m256i first = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        8, -1, 8, -1, 9, -1, 9, -1, 10, -1, 10, -1, 11, -1, 11, -1));
    const __m256i second = _mm256_add_epi8(first, _mm256_set1_epi16(4));
    _Alignas(32) uint32_t scale[UNIT_BLOCKS / 2][16];
    __m256i s[UNIT_BLOCKS], m[2];

    for (int i = 0; i < UNIT_BLOCKS / 2; i++) {
        const uint8_t *block = w + 2 * i * Q4_K_BYTES;
        __m256i mins;
        const __m256i scales = unpack_q4_k(&mins, load_two(block, block + Q4_K_BYTES));
        const __m256i words = _mm256_unpacklo_epi8(mins, _mm256_setzero_si256());
        m[i] = _mm256_madd_epi16(words, _mm256_load_si256((const void *)u->sum[i][0]));
        _mm256_store_si256((void *)scale[i], _mm256_shuffle_epi8(scales, first));
        _mm256_store_si256((void *)(scale[i] + 8), _mm256_shuffle_epi8(scales, second));
    }
    for (int i = 0; i < UNIT_BLOCKS / 2; i++) {
        const uint8_t *block = w + 2 * i * Q4_K_BYTES;
        s[2 * i] = q4_k_sums(block, scale[i], u->q[2 * i]);
        s[2 * i + 1] = q4_k_sums(block + Q4_K_BYTES, scale[i] + 4, u->q[2 * i + 1]);
        k->head[2 * i][row] = load_u32(block);
        k->head[2 * i + 1][row] = load_u32(block + Q4_K_BYTES);
    }
    _mm256_store_si256((void *)k->sum[row], sum_eights(s));
    _mm256_store_si256((void *)k->min[row], add_parts(m[0], m[1]));
}

/* ---- IQ2_XXS ---------------------------------------------------------------------------------- */

/* The scaled sums of a block in eight parts; scales are those of its groups as two words each,
 * signs their sign bytes. The signs go to the activations; pairs reach 2 * 43 * 127. */
INLINE __m256i iq2_xxs_sums(const uint8_t *w, const uint32_t scale[8], const uint32_t signs[8],
                            const int8_t q[256], const iq2_tables *tab)
{
    const __m256i both[2] = {
        _mm256_broadcastsi128_si256(_mm_load_si128((const void *)signs)),
        _mm256_broadcastsi128_si256(_mm_load_si128((const void *)(signs + 4))),
    };
    __m256i sum = _mm256_setzero_si256();

    UNROLL
    for (int g = 0; g < 8; g++) {
        const __m256i x = _mm256_sign_epi8(_mm256_load_si256((const void *)(q + 32 * g)),
                                           iq2_turns(both[g >> 2], g & 3));
        const __m256i pairs = _mm256_maddubs_epi16(iq2_values(w + 2 + 8 * g, tab), x);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, broadcast4(scale + g)));
    }
    return sum;
}

/* The first n of four blocks; nothing behind them is read. */
INLINE void keep_iq2_xxs(kept256 *k, size_t row, const uint8_t *w, size_t n, const unit256 *u,
                         const iq2_tables *tab)
{
    const __m256i twice = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13));
    _Alignas(32) uint32_t scale[UNIT_BLOCKS][8], signs[UNIT_BLOCKS][8];
    __m256i s[UNIT_BLOCKS];

    for (size_t i = 0; i < n; i++) {
        __m256i scales;
        _mm256_store_si256((void *)signs[i], iq2_signs(&scales, w + i * IQ2_XXS_BYTES));
        _mm256_store_si256((void *)scale[i], _mm256_shuffle_epi8(scales, twice));
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *block = w + i * IQ2_XXS_BYTES;
        s[i] = iq2_xxs_sums(block, scale[i], signs[i], u->q[i], tab);
        k->head[i][row] = load_u32(block);
    }
    for (size_t i = n; i < UNIT_BLOCKS; i++) s[i] = _mm256_setzero_si256();
    _mm256_store_si256((void *)k->sum[row], sum_eights(s));
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* y continued over n <= 4 blocks. */
INLINE __m256 add_unit(__m256 y, const kept256 *k, const unit256 *u, size_t n, size_t block_bytes)
{
    const bool q2_k = block_bytes == Q2_K_BYTES, has_mins = block_bytes != IQ2_XXS_BYTES;
    __m256i s[UNIT_BLOCKS], m[UNIT_BLOCKS];

    load_sums(s, k->sum);
    if (has_mins) load_fours(m, k->min);
    UNROLL
    for (size_t i = 0; i < UNIT_BLOCKS; i++) {
        if (i >= n) break;
        const __m256  dx = _mm256_set1_ps(u->d[i]);
        __m256 dmin;
        const __m256  heads = both_halves(_mm256_load_si256((const void *)k->head[i]), &dmin);
        const __m256  d = has_mins ? heads : _mm256_mul_ps(heads, _mm256_set1_ps(0.125f));
        const __m256i sum = q2_k ? _mm256_srai_epi32(s[i], Q2_K_SUM_SHIFT) : s[i];
        y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(d, dx), y);
        if (!has_mins) continue;
        const __m256i min = q2_k ? _mm256_srai_epi32(m[i], Q2_K_MIN_SHIFT) : m[i];
        y = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(min), _mm256_mul_ps(dmin, dx), y);
    }
    return y;
}

/* n_blocks of one row, a multiple of 4 but for IQ2_XXS. */
INLINE void keep_row(kept256 *k, size_t row, const uint8_t *w, size_t block_bytes, size_t n_blocks,
                     const unit256 *u, reader *next, const iq2_tables *tab)
{
    for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS, w += UNIT_BLOCKS * block_bytes) {
        ask(next, due_in_row(UNIT_BLOCKS * block_bytes, TILE_ROWS));
        if (block_bytes == Q2_K_BYTES) keep_q2_k(k++, row, w, u++);
        else if (block_bytes == Q4_K_BYTES) keep_q4_k(k++, row, w, u++);
        else if (n_blocks - b >= UNIT_BLOCKS) keep_iq2_xxs(k++, row, w, UNIT_BLOCKS, u++, tab);
        else keep_iq2_xxs(k++, row, w, n_blocks - b, u++, tab);
    }
}

/* n_blocks of all rows from column w; y is continued unless they are the first. */
INLINE void run_blocks(const row_call *c, size_t block_bytes, const uint8_t *w, size_t n_blocks,
                       const unit256 *u, const iq2_tables *tab)
{
    kept256 k[MAX_UNITS];
    reader  next = read_ahead(w, c->n_rows * c->w_stride);

    if (c->n_rows % TILE_ROWS) memset(k, 0, sizeof k);
    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t left = c->n_rows - r, n_rows = left < TILE_ROWS ? left : TILE_ROWS;
        __m256 y = w == c->w ? _mm256_setzero_ps() : load8(c->y + r, left);
        for (size_t i = 0; i < n_rows; i++)
            keep_row(k, i, w + (r + i) * c->w_stride, block_bytes, n_blocks, u, &next, tab);
        for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
            ask(&next, due_in_chain(UNIT_BLOCKS * block_bytes, TILE_ROWS));
            y = add_unit(y, k + b / UNIT_BLOCKS, u + b / UNIT_BLOCKS, n_blocks - b,
                         block_bytes);
        }
        store8(c->y + r, left, y);
    }
}

INLINE void run(const row_call *c, size_t block_bytes, const iq2_tables *tab)
{
    enum { MAX_BLOCKS = MAX_UNITS * UNIT_BLOCKS };
    unit256 u[MAX_UNITS];

    for (size_t b = 0; b < c->n_blocks; b += MAX_BLOCKS) {
        const size_t n = c->n_blocks - b < MAX_BLOCKS ? c->n_blocks - b : MAX_BLOCKS;
        prepare(u, (const ds4_q256 *)c->x + b, n, block_bytes);
        run_blocks(c, block_bytes, c->w + b * block_bytes, n, u, tab);
    }
}

#define MATVEC(type, bytes, tables)                                                             \
    void ds4_matvec_##type##_avx2(float *y, const void *w, size_t w_stride, size_t n_rows,      \
                                  const void *x, size_t n_blocks)                               \
    {                                                                                           \
        const row_call c = { y, w, w_stride, n_rows, x, n_blocks };                             \
        tables                                                                                  \
        run(&c, bytes, tab);                                                                    \
    }

MATVEC(q2_k, Q2_K_BYTES, const iq2_tables *tab = NULL;)
MATVEC(q4_k, Q4_K_BYTES, const iq2_tables *tab = NULL;)
MATVEC(iq2_xxs, IQ2_XXS_BYTES, iq2_tables tables; const iq2_tables *tab = &tables;
       make_iq2_tables(&tables);)
