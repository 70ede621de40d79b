/* matmul_q32_avx512.c - products of Q8_0 and MXFP4 rows with activations in blocks of 32,
 * for AVX-512 with VNNI.
 *
 * Sixteen rows side by side as tile_avx512.h describes. The chain of an output is
 *     acc = fma(float(isum), d * dx, acc)   over the blocks of 1024 values from acc = 0,
 *     y = y + acc                           over those parts,
 * which bounds the error for long rows: 32 + n_in / 1024 roundings. */
#include "kernels/x86/tile_q32_avx512.h"
#include "kernels/x86/row_avx512.h"
#include "kernels/kernel_init.h"

enum {
    MAX_TOKENS = 64,
    PART_BLOCKS = 32,           /* blocks of one float chain */
    TILE_BLOCKS = 8,            /* blocks decoded together for several tokens */
    MAX_SUMS = 4096,            /* sums of activations that are kept: 16 KiB of stack */
    FEW_TOKENS = 16,            /* so few have 256 blocks to a segment, more have 64 */
    LONG_ROW = 1024,            /* values; matrices of shorter rows may lie in a cache */
};

/* offset * sum of the activations of each block, negated: where a sum starts. */
typedef struct act_sums {
    int32_t start[MAX_SUMS];
    size_t  step;               /* between tokens: the blocks of a segment */
} act_sums;

INLINE block32 load_unsigned(const uint8_t *w, size_t stride, size_t block_bytes)
{
    return load_block(w, stride, block_bytes,
                      block_bytes == Q8_0_BYTES ? Q8_0_OFFSET : MXFP4_OFFSET);
}

static void sum_activations(act_sums *s, const block_call *c, size_t first, size_t n_blocks, int offset)
{
    for (size_t t = 0; t < c->n_tokens; t++) {
        const ds4_q32 *x = (const ds4_q32 *)(const void *)(c->x + t * c->x_stride) + first;
        for (size_t b = 0; b < n_blocks; b++) s->start[t * s->step + b] = -offset * sum32(x[b].q);
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

/* One token and short rows: every block is used straight from registers. ahead is the distance to what the
 * next 16 rows will read meanwhile, 0 if there are none. */
INLINE __m512 part_one_token(const uint8_t *w, size_t stride, size_t block_bytes, const ds4_q32 *x,
                             const int32_t *start, size_t n_blocks, const uint8_t *base,
                             size_t ahead)
{
    __m512 acc = _mm512_setzero_ps();

    for (size_t b = 0; b < n_blocks; b++, w += block_bytes) {
        if (ahead) prefetch_span(base, ahead + TILE_ROWS * block_bytes * b, TILE_ROWS * block_bytes);
        const block32 block = load_unsigned(w, stride, block_bytes);
        const __m512  scale = _mm512_mul_ps(block.d, _mm512_set1_ps(x[b].d));
        acc = _mm512_fmadd_ps(block_sum(&block, x + b, start + b), scale, acc);
    }
    return acc;
}

INLINE void part_tokens(float (*acc)[TILE_ROWS], const uint8_t *w, size_t stride,
                        size_t block_bytes, const block_call *c, size_t first, size_t n_blocks,
                        const int32_t *start, size_t step)
{
    block32 tile[TILE_BLOCKS];

    memset(acc, 0, c->n_tokens * sizeof acc[0]);
    for (size_t b = 0; b < n_blocks; b += TILE_BLOCKS) {
        const size_t n = n_blocks - b < TILE_BLOCKS ? n_blocks - b : TILE_BLOCKS;
        size_t t = 0;
        for (size_t i = 0; i < n; i++)
            tile[i] = load_unsigned(w + (b + i) * block_bytes, stride, block_bytes);
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
INLINE void run_segment(const block_call *c, size_t block_bytes, size_t first, size_t n_blocks,
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
            const size_t ahead = r + TILE_ROWS >= c->n_rows ? 0 :
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

INLINE void run(const block_call *c, size_t block_bytes, int offset)
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
    void ds4_matmul_##type##_avx512(float *y, size_t y_stride, const void *w, size_t w_stride,  \
                                    size_t n_rows, const void *x, size_t x_stride,              \
                                    size_t n_tokens, size_t n_in)                               \
    {                                                                                           \
        if (n_tokens == 1 && n_in >= LONG_ROW && n_in % (32 * UNIT_BLOCKS) == 0) {              \
            ds4_matvec_##type##_avx512(y, w, w_stride, n_rows, x, n_in / 32);                   \
            return;                                                                             \
        }                                                                                       \
        for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {                                     \
            const size_t n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;             \
            const block_call c = { y + t * y_stride, y_stride, w, w_stride, n_rows,                 \
                               (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 32 };     \
            run(&c, bytes, offset);                                                             \
        }                                                                                       \
    }

MATMUL(q8_0, Q8_0_BYTES, Q8_0_OFFSET)
MATMUL(mxfp4, MXFP4_BYTES, MXFP4_OFFSET)

void ds4_kernels_avx512_q32(ds4_kernels *k)
{
    k->matmul[DS4_Q8_0] = ds4_matmul_q8_0_avx512;
    k->matmul[DS4_MXFP4] = ds4_matmul_mxfp4_avx512;
}
