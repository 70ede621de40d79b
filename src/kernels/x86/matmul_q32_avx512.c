/* matmul_q32_avx512.c - products of Q8_0 and MXFP4 rows with activations in blocks of 32,
 * for AVX-512 with VNNI and VBMI.
 *
 * Sixteen rows side by side as tile_avx512.h describes. The chain of an output is
 *     acc = fma(float(isum), d * dx, acc)   over the blocks of 1024 values from acc = 0,
 *     y = y + acc                           over those parts,
 * which bounds the error for long rows: 32 + n_in / 1024 roundings. */
#include "kernels/x86/tile_avx512.h"
#include "kernels/kernel_init.h"

enum {
    MAX_TOKENS = 64,
    PART_BLOCKS = 32,           /* blocks of one float chain */
    TILE_BLOCKS = 8,            /* blocks decoded together for several tokens */
    MAX_SUMS = 4096,            /* sums of activations that are kept: 16 KiB of stack */
    FEW_TOKENS = 16,            /* so few have 256 blocks to a segment, more have 64 */
};

/* One block of 16 rows: bytes 4i..4i+3 with an offset added to make them unsigned. */
typedef struct block32 {
    __m512i w[8];
    __m512  d;
} block32;

typedef struct call32 {
    float         *y;
    size_t         y_stride;
    const uint8_t *w;
    size_t         w_stride, n_rows;
    const uint8_t *x;
    size_t         x_stride, n_tokens, n_blocks;
} call32;

/* offset * sum of the activations of each block, negated: where a sum starts. */
typedef struct act_sums {
    int32_t start[MAX_SUMS];
    size_t  step;               /* between tokens: the blocks of a segment */
} act_sums;

enum { Q8_0_OFFSET = 128, MXFP4_OFFSET = 16 };

INLINE block32 load_q8_0(const uint8_t *w, size_t stride)
{
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    block32 b;

    load_columns(b.w, w + 2, stride);
    load_columns(b.w + 4, w + 18, stride);
    UNROLL
    for (int i = 0; i < 8; i++) b.w[i] = _mm512_xor_si512(b.w[i], sign);
    b.d = low_halves(load_column4(w, stride));
    return b;
}

/* Codes become twice their value plus 16. The scale is halved to match. */
INLINE block32 load_mxfp4(const uint8_t *w, size_t stride)
{
    const __m512i nibbles = _mm512_set1_epi8(15), exp_mask = _mm512_set1_epi32(255);
    const __m512i twice = _mm512_broadcast_i32x4(
        _mm_setr_epi8(16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4));
    block32 b;
    __m512i v[4];

    load_columns(v, w + 1, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        b.w[i] = _mm512_shuffle_epi8(twice, _mm512_and_si512(v[i], nibbles));
        b.w[i + 4] =
            _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(v[i], 4), nibbles));
    }
    const __m512i e = _mm512_and_si512(load_column4(w, stride), exp_mask);
    __m512i bits = _mm512_slli_epi32(e, 23);
    bits =
        _mm512_mask_mov_epi32(bits, _mm512_testn_epi32_mask(e, e), _mm512_set1_epi32(0x00400000));
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(e, exp_mask),
                                 _mm512_set1_epi32(0x7fc00000));
    b.d = _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5f));
    return b;
}

INLINE block32 load_block(const uint8_t *w, size_t stride, size_t block_bytes)
{
    return block_bytes == Q8_0_BYTES ? load_q8_0(w, stride) : load_mxfp4(w, stride);
}

static void sum_activations(act_sums *s, const call32 *c, size_t first, size_t n_blocks, int offset)
{
    for (size_t t = 0; t < c->n_tokens; t++) {
        const ds4_q32 *x = (const ds4_q32 *)(const void *)(c->x + t * c->x_stride) + first;
        for (size_t b = 0; b < n_blocks; b++) {
            const __m256i q = _mm256_loadu_si256((const void *)x[b].q);
            const __m256i sums =
                _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), q);
            const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums),
                                               _mm256_extracti128_si256(sums, 1));
            const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            const int32_t sum = _mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1);
            s->start[t * s->step + b] = -offset * sum;
        }
    }
}

/* The sum of one block: exact, |isum| <= 32 * 128 * 127 after the offset is taken out. */
INLINE __m512 block_sum(const block32 *b, const ds4_q32 *x, const int32_t *start)
{
    __m512i sum = _mm512_set1_epi32(*start);
    UNROLL
    for (int i = 0; i < 8; i++) sum = _mm512_dpbusd_epi32(sum, b->w[i], broadcast4(x->q + 4 * i));
    return _mm512_cvtepi32_ps(sum);
}

/* acc[i] continued over the blocks of a tile, for n tokens. */
INLINE void add_tokens(float (*acc)[TILE_ROWS], const block32 *tile, size_t n_blocks,
                       const uint8_t *x, size_t x_stride, const int32_t *start, size_t step,
                       const int n)
{
    __m512 sum[4];

    UNROLL
    for (int i = 0; i < n; i++) sum[i] = _mm512_load_ps(acc[i]);
    for (size_t b = 0; b < n_blocks; b++) {
        __m512i part[4];
        UNROLL
        for (int i = 0; i < n; i++) part[i] = _mm512_set1_epi32(start[(size_t)i * step + b]);
        UNROLL
        for (int j = 0; j < 8; j++) {
            const __m512i w = tile[b].w[j];
            UNROLL
            for (int i = 0; i < n; i++) {
                const ds4_q32 *xb = (const ds4_q32 *)(const void *)(x + (size_t)i * x_stride) + b;
                part[i] = _mm512_dpbusd_epi32(part[i], w, broadcast4(xb->q + 4 * j));
            }
        }
        UNROLL
        for (int i = 0; i < n; i++) {
            const ds4_q32 *xb = (const ds4_q32 *)(const void *)(x + (size_t)i * x_stride) + b;
            const __m512 scale = _mm512_mul_ps(tile[b].d, _mm512_set1_ps(xb->d));
            sum[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[i]), scale, sum[i]);
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) _mm512_store_ps(acc[i], sum[i]);
}

/* One token: every block is used straight from registers. ahead is the distance to what the
 * next 16 rows will read meanwhile. */
INLINE __m512 part_one_token(const uint8_t *w, size_t stride, size_t block_bytes, const ds4_q32 *x,
                             const int32_t *start, size_t n_blocks, const uint8_t *base,
                             size_t ahead)
{
    __m512 acc = _mm512_setzero_ps();

    for (size_t b = 0; b < n_blocks; b++, w += block_bytes) {
        prefetch_span(base, ahead + TILE_ROWS * block_bytes * b, TILE_ROWS * block_bytes);
        const block32 block = load_block(w, stride, block_bytes);
        const __m512  scale = _mm512_mul_ps(block.d, _mm512_set1_ps(x[b].d));
        acc = _mm512_fmadd_ps(block_sum(&block, x + b, start + b), scale, acc);
    }
    return acc;
}

INLINE void part_tokens(float (*acc)[TILE_ROWS], const uint8_t *w, size_t stride,
                        size_t block_bytes, const call32 *c, size_t first, size_t n_blocks,
                        const int32_t *start, size_t step)
{
    block32 tile[TILE_BLOCKS];

    memset(acc, 0, c->n_tokens * sizeof acc[0]);
    for (size_t b = 0; b < n_blocks; b += TILE_BLOCKS) {
        const size_t n = n_blocks - b < TILE_BLOCKS ? n_blocks - b : TILE_BLOCKS;
        size_t t = 0;
        for (size_t i = 0; i < n; i++)
            tile[i] = load_block(w + (b + i) * block_bytes, stride, block_bytes);
        for (; t < c->n_tokens; t += 4) {
            const uint8_t *x = c->x + t * c->x_stride + (first + b) * sizeof(ds4_q32);
            const int32_t *s = start + t * step + b;
            switch (c->n_tokens - t) {
            case 1:  add_tokens(acc + t, tile, n, x, c->x_stride, s, step, 1); break;
            case 2:  add_tokens(acc + t, tile, n, x, c->x_stride, s, step, 2); break;
            case 3:  add_tokens(acc + t, tile, n, x, c->x_stride, s, step, 3); break;
            default: add_tokens(acc + t, tile, n, x, c->x_stride, s, step, 4); break;
            }
        }
    }
}

/* One segment of all rows; y is continued unless the segment is the first. */
INLINE void run_segment(const call32 *c, size_t block_bytes, size_t first, size_t n_blocks,
                        const act_sums *sums)
{
    _Alignas(64) float acc[MAX_TOKENS][TILE_ROWS], total[MAX_TOKENS][TILE_ROWS];
    uint8_t copy[TILE_ROWS * PART_BLOCKS * Q8_0_BYTES];

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const __mmask16 mask = tail_mask(c->n_rows - r);
        float *y = c->y + r;
        for (size_t t = 0; t < c->n_tokens; t++)
            _mm512_store_ps(total[t], first ? _mm512_maskz_loadu_ps(mask, y + t * c->y_stride)
                                            : _mm512_setzero_ps());
        for (size_t b = 0; b < n_blocks; b += PART_BLOCKS) {
            const size_t   n = n_blocks - b < PART_BLOCKS ? n_blocks - b : PART_BLOCKS;
            const uint8_t *w = c->w + r * c->w_stride + (first + b) * block_bytes;
            const size_t ahead =
                (r + TILE_ROWS) * c->w_stride + TILE_ROWS * (first + b) * block_bytes;
            size_t stride = c->w_stride;
            if (mask != 0xffff) {
                copy_part(copy, w, stride, c->n_rows - r, n * block_bytes);
                w = copy;
                stride = n * block_bytes;
            }
            if (c->n_tokens == 1) {
                const ds4_q32 *x = (const ds4_q32 *)(const void *)c->x + first + b;
                _mm512_store_ps(acc[0], part_one_token(w, stride, block_bytes, x,
                                                       sums->start + b, n, c->w, ahead));
            } else {
                part_tokens(acc, w, stride, block_bytes, c, first + b, n, sums->start + b,
                            sums->step);
            }
            for (size_t t = 0; t < c->n_tokens; t++)
                _mm512_store_ps(total[t],
                                _mm512_add_ps(_mm512_load_ps(total[t]), _mm512_load_ps(acc[t])));
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            _mm512_mask_storeu_ps(y + t * c->y_stride, mask, _mm512_load_ps(total[t]));
    }
}

INLINE void run(const call32 *c, size_t block_bytes, int offset)
{
    act_sums sums;

    sums.step = c->n_tokens <= FEW_TOKENS ? MAX_SUMS / FEW_TOKENS : MAX_SUMS / MAX_TOKENS;
    for (size_t b = 0; b < c->n_blocks; b += sums.step) {
        const size_t n = c->n_blocks - b < sums.step ? c->n_blocks - b : sums.step;
        sum_activations(&sums, c, b, n, offset);
        run_segment(c, block_bytes, b, n, &sums);
    }
}

#define MATMUL(type, bytes, offset)                                                             \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {                                     \
            const size_t n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;             \
            const call32 c = { y + t * y_stride, y_stride, w, w_stride, n_rows,                 \
                               (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 32 };     \
            run(&c, bytes, offset);                                                             \
        }                                                                                       \
    }

MATMUL(q8_0, Q8_0_BYTES, Q8_0_OFFSET)
MATMUL(mxfp4, MXFP4_BYTES, MXFP4_OFFSET)

void ds4_kernels_avx512_q32(ds4_kernels *k)
{
    k->matmul[DS4_Q8_0] = matmul_q8_0;
    k->matmul[DS4_MXFP4] = matmul_mxfp4;
}
