/* matmul_q32_amx.c - products of Q8_0 and MXFP4 rows with several tokens, for AMX.
 *
 * The same sums as matmul_q32_avx512.c in the same order, so the same bits: the dot product
 * of a block is an exact integer either way. A part of 16 rows is laid out once and meets
 * all tokens in groups of 16. */
#include "kernels/x86/tile_amx.h"
#include "kernels/x86/tile_q32_avx512.h"
#include "kernels/kernel_init.h"

enum {
    MAX_TOKENS = 256,
    PART_BLOCKS = 32,               /* blocks of one float chain */
    AT_ONCE = 4,                    /* blocks whose sums are in registers */
};

/* 16 rows of a part. */
typedef struct part32 {
    block32 block[PART_BLOCKS];
} part32;

typedef int32_t sums32[AT_ONCE][AMX_MAX_TOKENS][TILE_ROWS];

/* The sums of n <= 4 blocks of 16 tokens. */
INLINE void block_sums(sums32 sums, const block32 *w, const uint8_t *x, size_t x_stride, size_t n)
{
#define ONE(i)                                                                                  \
    amx_zero(i);                                                                                \
    amx_load(4, x + (i) * sizeof(ds4_q32) + offsetof(ds4_q32, q), x_stride);                    \
    amx_load(5, w[i].w, 64);                                                                    \
    amx_dot(i, 4, 5);
#define PUT(i) amx_store(i, sums[i], 64);
    ONE(0)
    if (n > 1) { ONE(1) }
    if (n > 2) { ONE(2) }
    if (n > 3) { ONE(3) }
    PUT(0)
    if (n > 1) { PUT(1) }
    if (n > 2) { PUT(2) }
    if (n > 3) { PUT(3) }
#undef ONE
#undef PUT
}

INLINE __m512 add_block(__m512 acc, const int32_t *sums, __m512 d, const uint8_t *x)
{
    const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(((const ds4_q32 *)(const void *)x)->d));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale, acc);
}

/* total[i] += part * token i, sixteen of them: their chains stay in registers. */
INLINE void add_part(float (*total)[TILE_ROWS], const part32 *p, size_t n_blocks,
                     const uint8_t *x, size_t x_stride)
{
    _Alignas(64) sums32 sums;
    __m512 acc[AMX_MAX_TOKENS];

    UNROLL
    for (int i = 0; i < AMX_MAX_TOKENS; i++) acc[i] = _mm512_setzero_ps();
    for (size_t b = 0; b < n_blocks; b += AT_ONCE) {
        const size_t n = n_blocks - b < AT_ONCE ? n_blocks - b : AT_ONCE;
        block_sums(sums, p->block + b, x, x_stride, n);
        for (size_t j = 0; j < n; j++, x += sizeof(ds4_q32)) {
            const __m512 d = p->block[b + j].d;
            UNROLL
            for (int i = 0; i < AMX_MAX_TOKENS; i++)
                acc[i] = add_block(acc[i], sums[j][i], d, x + (size_t)i * x_stride);
        }
    }
    UNROLL
    for (int i = 0; i < AMX_MAX_TOKENS; i++)
        _mm512_store_ps(total[i], _mm512_add_ps(_mm512_load_ps(total[i]), acc[i]));
}

/* Tokens come in whole groups. */
INLINE void run(const block_call *c, size_t block_bytes)
{
    _Alignas(64) float total[MAX_TOKENS][TILE_ROWS];
    uint8_t copy[TILE_ROWS * PART_BLOCKS * Q8_0_BYTES];
    part32 part;

    amx_begin(AMX_MAX_TOKENS, 32);
    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const __mmask16 mask = tail_mask(c->n_rows - r);
        memset(total, 0, c->n_tokens * sizeof total[0]);
        for (size_t b = 0; b < c->n_blocks; b += PART_BLOCKS) {
            const size_t n = c->n_blocks - b < PART_BLOCKS ? c->n_blocks - b : PART_BLOCKS;
            const uint8_t *w = c->w + r * c->w_stride + b * block_bytes;
            size_t stride = c->w_stride;
            if (mask != 0xffff) {
                copy_part(copy, w, stride, c->n_rows - r, n * block_bytes);
                w = copy;
                stride = n * block_bytes;
            }
            for (size_t i = 0; i < n; i++) {
                if (r + TILE_ROWS < c->n_rows)
                    prefetch_span(c->w, (r + TILE_ROWS) * c->w_stride +
                                  TILE_ROWS * (b + i) * block_bytes, TILE_ROWS * block_bytes);
                part.block[i] = load_block(w + i * block_bytes, stride, block_bytes, 0);
            }
            for (size_t t = 0; t < c->n_tokens; t += AMX_MAX_TOKENS)
                add_part(total + t, &part, n, c->x + t * c->x_stride + b * sizeof(ds4_q32),
                         c->x_stride);
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            _mm512_mask_storeu_ps(c->y + t * c->y_stride + r, mask, _mm512_load_ps(total[t]));
    }
    amx_release();
}

/* Groups of 16 tokens; fewer are faster without tiles. */
#define MATMUL(type, bytes)                                                                     \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        const uint8_t *at = x;                                                                  \
        while (n_tokens >= AMX_MAX_TOKENS) {                                                    \
            const size_t whole = n_tokens / AMX_MAX_TOKENS * AMX_MAX_TOKENS;                    \
            const size_t n = whole < MAX_TOKENS ? whole : MAX_TOKENS;                           \
            const block_call c = { y, y_stride, w, w_stride, n_rows, at, x_stride, n, n_in / 32 };  \
            run(&c, bytes);                                                                     \
            y += n * y_stride;                                                                  \
            at += n * x_stride;                                                                 \
            n_tokens -= n;                                                                      \
        }                                                                                       \
        if (n_tokens)                                                                           \
            ds4_matmul_##type##_avx512(y, y_stride, w, w_stride, n_rows, at, x_stride,          \
                                       n_tokens, n_in);                                         \
    }

MATMUL(q8_0, Q8_0_BYTES)
MATMUL(mxfp4, MXFP4_BYTES)

void ds4_kernels_amx_q32(ds4_kernels *k)
{
    k->matmul[DS4_Q8_0] = matmul_q8_0;
    k->matmul[DS4_MXFP4] = matmul_mxfp4;
}
