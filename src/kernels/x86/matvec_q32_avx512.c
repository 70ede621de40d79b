/* matvec_q32_avx512.c - products of Q8_0 and MXFP4 rows with one token, for AVX-512 with VNNI:
 * the chains of matmul_q32_avx512.c, so the same bits, for rows that are read one after another
 * (row_x86.h says why). */
#include "kernels/x86/row_avx512.h"
#include "kernels/x86/tile_q32_avx512.h"
#include "kernels/kernel_init.h"

enum { PART_BLOCKS = 32 };      /* of one float chain */

/* Eight blocks of activations as the sums want them. */
typedef struct unit32 {
    _Alignas(64) int8_t q[4][64];
    int32_t start[UNIT_BLOCKS];     /* offset * sum of the activations, negated */
    float   d[UNIT_BLOCKS];
} unit32;

/* Q8_0 wants blocks b and b + 4 side by side; MXFP4 the first halves of four blocks, then
 * their second halves. */
INLINE void prepare(unit32 *u, const ds4_q32 *x, size_t n_blocks, size_t block_bytes, int offset)
{
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t i = b % UNIT_BLOCKS;
        unit32      *to = u + b / UNIT_BLOCKS;
        if (block_bytes == Q8_0_BYTES) {
            memcpy(to->q[i & 3] + 32 * (i >> 2), x[b].q, 32);
        } else {
            memcpy(to->q[i >> 2] + 16 * (i & 3), x[b].q, 16);
            memcpy(to->q[2 + (i >> 2)] + 16 * (i & 3), x[b].q + 16, 16);
        }
        to->start[i] = -offset * sum32(x[b].q);
        to->d[i] = x[b].d;
    }
}

/* The scales of eight blocks: two lie in the first 64 bytes of every two blocks. */
INLINE __m256 q8_0_scales(const uint8_t *w)
{
    const __m512i at = _mm512_set1_epi32(17 << 16);         /* words 0 and 17, again and again */
    __m512i d = _mm512_permutexvar_epi16(at, _mm512_loadu_si512(w));

    UNROLL
    for (int i = 1; i < 4; i++)
        d = _mm512_mask_permutexvar_epi16(d, 3u << (2 * i), at,
                                          _mm512_loadu_si512(w + 2 * Q8_0_BYTES * i));
    return _mm256_cvtph_ps(_mm512_castsi512_si128(d));
}

INLINE __m256i q8_0_sums(const uint8_t *w, const unit32 *u)
{
    const __m512i offset = _mm512_set1_epi8((char)Q8_0_OFFSET);
    __m512i s[4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *q = w + i * Q8_0_BYTES + 2;
        const __m512i two = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm256_loadu_si256((const void *)q)),
            _mm256_loadu_si256((const void *)(q + HALF_BLOCKS * Q8_0_BYTES)), 1);
        s[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(two, offset),
                                   _mm512_load_si512(u->q[i]));
    }
    return sum_unit(s);
}

/* The scales of eight blocks. Of every four, that of block l is byte l of quarter l of 64 bytes.
 * Halved, because the sums are of twice the values. */
INLINE __m256 mxfp4_scales(const uint8_t *w)
{
    const __m512i first = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i at = _mm512_setr_epi32(0, 8, 16, 24, 0, 8, 16, 24, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i dwords = _mm512_permutex2var_epi32(
        _mm512_loadu_si512(w), first, _mm512_loadu_si512(w + HALF_BLOCKS * MXFP4_BYTES));
    return _mm512_castps512_ps256(half_e8m0(_mm512_and_si512(_mm512_srlv_epi32(dwords, at),
                                                             _mm512_set1_epi32(255))));
}

INLINE __m256i mxfp4_sums(const uint8_t *w, const unit32 *u)
{
    const __m512i nibbles = _mm512_set1_epi8(15), twice = twice_e2m1(MXFP4_OFFSET);
    __m512i s[2];

    UNROLL
    for (int i = 0; i < 2; i++) {
        const uint8_t *q = w + i * HALF_BLOCKS * MXFP4_BYTES + 1;
        __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)q));
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(q + MXFP4_BYTES)), 1);
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(q + 2 * MXFP4_BYTES)), 2);
        v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(q + 3 * MXFP4_BYTES)), 3);
        const __m512i low = _mm512_shuffle_epi8(twice, _mm512_and_si512(v, nibbles));
        const __m512i high =
            _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibbles));
        s[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, _mm512_load_si512(u->q[i]));
        s[i] = _mm512_dpbusd_epi32(s[i], high, _mm512_load_si512(u->q[i + 2]));
    }
    /* Four parts of blocks l and l + 4 in quarter l. */
    const __m512i two =
        _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
    const __m512i one = _mm512_add_epi32(two, _mm512_shuffle_epi32(two, _MM_PERM_BADC));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, one));
}

INLINE void keep_unit(int32_t *sum, float *scale, const uint8_t *w, const unit32 *u,
                      size_t block_bytes)
{
    const bool q8_0 = block_bytes == Q8_0_BYTES;
    const __m256i s = q8_0 ? q8_0_sums(w, u) : mxfp4_sums(w, u);
    const __m256  d = q8_0 ? q8_0_scales(w) : mxfp4_scales(w);

    _mm256_store_si256((__m256i *)(void *)sum,
                       _mm256_add_epi32(s, _mm256_load_si256((const void *)u->start)));
    _mm256_store_ps(scale, _mm256_mul_ps(d, _mm256_load_ps(u->d)));
}

/* total + the chains of n_blocks. */
INLINE __m512 add_parts(__m512 total, const kept *sum, const kept *scale, size_t n_blocks,
                        reader *next, size_t due)
{
    __m512i s[UNIT_BLOCKS], d[UNIT_BLOCKS];
    __m512  acc = _mm512_setzero_ps();

    for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
        ask(next, due);
        load_kept(s, sum, b);
        load_kept(d, scale, b);
        UNROLL
        for (int i = 0; i < UNIT_BLOCKS; i++)
            acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[i]), _mm512_castsi512_ps(d[i]), acc);
        if ((b + UNIT_BLOCKS) % PART_BLOCKS && b + UNIT_BLOCKS < n_blocks) continue;
        total = _mm512_add_ps(total, acc);
        acc = _mm512_setzero_ps();
    }
    return total;
}

/* n_blocks of all rows from column w; y is continued unless they are the first. */
INLINE void run_blocks(const row_call *c, size_t block_bytes, const uint8_t *w, size_t n_blocks,
                       const unit32 *units)
{
    kept   sum, scale;
    reader next = read_ahead(w, c->n_rows * c->w_stride);

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t    n_rows = c->n_rows - r < TILE_ROWS ? c->n_rows - r : TILE_ROWS;
        const __mmask16 mask = tail_mask(n_rows);
        const __m512 y = w == c->w ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, c->y + r);
        if (n_rows < TILE_ROWS) {
            memset(&sum, 0, sizeof sum);
            memset(&scale, 0, sizeof scale);
        }
        for (size_t i = 0; i < n_rows; i++) {
            const uint8_t *row = w + (r + i) * c->w_stride;
            for (size_t b = 0; b < n_blocks; b += UNIT_BLOCKS) {
                ask(&next, due_in_row(UNIT_BLOCKS * block_bytes, TILE_ROWS));
                keep_unit(&sum.i[i][b], &scale.f[i][b], row + b * block_bytes,
                          units + b / UNIT_BLOCKS, block_bytes);
            }
        }
        const size_t due = due_in_chain(UNIT_BLOCKS * block_bytes, TILE_ROWS);
        _mm512_mask_storeu_ps(c->y + r, mask, add_parts(y, &sum, &scale, n_blocks, &next, due));
    }
}

INLINE void run(const row_call *c, size_t block_bytes, int offset)
{
    unit32 units[KEPT_BLOCKS / UNIT_BLOCKS];

    for (size_t b = 0; b < c->n_blocks; b += KEPT_BLOCKS) {
        const size_t n = c->n_blocks - b < KEPT_BLOCKS ? c->n_blocks - b : KEPT_BLOCKS;
        prepare(units, (const ds4_q32 *)c->x + b, n, block_bytes, offset);
        run_blocks(c, block_bytes, c->w + b * block_bytes, n, units);
    }
}

#define MATVEC(type, bytes, offset)                                                             \
    void ds4_matvec_##type##_avx512(float *y, const void *w, size_t w_stride, size_t n_rows,    \
                                    const void *x, size_t n_blocks)                             \
    {                                                                                           \
        const row_call c = { y, w, w_stride, n_rows, x, n_blocks };                               \
        run(&c, bytes, offset);                                                                 \
    }

MATVEC(q8_0, Q8_0_BYTES, Q8_0_OFFSET)
MATVEC(mxfp4, MXFP4_BYTES, MXFP4_OFFSET)
