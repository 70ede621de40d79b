/* matmul_q32_neon.c - products of Q8_0 and MXFP4 rows with activations in blocks of 32, for
 * NEON with dot products.
 *
 * Four rows side by side as tile_neon.h describes; the float chain of an output is that of
 * x86/matmul_q32_avx512.c. */
#include "kernels/arm/tile_neon.h"
#include "kernels/kernel_init.h"

enum {
    MAX_TOKENS = 16,
    PART_BLOCKS = 32,           /* blocks of one float chain */
    TILE_BLOCKS = 8,            /* blocks decoded together for several tokens */
};

/* One block of 4 rows: bytes 4i..4i+3. */
typedef struct block32 {
    int8x16_t   w[8];
    float32x4_t d;
} block32;

INLINE block32 load_q8_0(const uint8_t *w, size_t stride)
{
    uint8x16_t v[8];
    block32 b;

    load_columns(v, w + 2, stride);
    load_columns(v + 4, w + 18, stride);
    UNROLL
    for (int i = 0; i < 8; i++) b.w[i] = vreinterpretq_s8_u8(v[i]);
    b.d = load_halves(w, stride);
    return b;
}

/* Codes become twice their value; the scale is halved to match. */
INLINE block32 load_mxfp4(const uint8_t *w, size_t stride)
{
    static const int8_t twice[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    const int8x16_t table = vld1q_s8(twice);
    uint8x16_t v[4];
    block32 b;

    load_columns(v, w + 1, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        b.w[i] = vqtbl1q_s8(table, vandq_u8(v[i], vdupq_n_u8(15)));
        b.w[i + 4] = vqtbl1q_s8(table, vshrq_n_u8(v[i], 4));
    }
    const float d[4] = { e8m0_to_float(w[0]), e8m0_to_float(w[stride]),
                         e8m0_to_float(w[2 * stride]), e8m0_to_float(w[3 * stride]) };
    b.d = vmulq_f32(vld1q_f32(d), vdupq_n_f32(0.5f));
    return b;
}

INLINE block32 load_block(const uint8_t *w, size_t stride, size_t block_bytes)
{
    return block_bytes == Q8_0_BYTES ? load_q8_0(w, stride) : load_mxfp4(w, stride);
}

INLINE float32x4_t add_block(float32x4_t acc, const block32 *b, const ds4_q32 *x)
{
    const int8x16_t q0 = vld1q_s8(x->q), q1 = vld1q_s8(x->q + 16);
    int32x4_t s = vdupq_n_s32(0), t = vdupq_n_s32(0);

    s = vdotq_laneq_s32(s, b->w[0], q0, 0);
    t = vdotq_laneq_s32(t, b->w[4], q1, 0);
    s = vdotq_laneq_s32(s, b->w[1], q0, 1);
    t = vdotq_laneq_s32(t, b->w[5], q1, 1);
    s = vdotq_laneq_s32(s, b->w[2], q0, 2);
    t = vdotq_laneq_s32(t, b->w[6], q1, 2);
    s = vdotq_laneq_s32(s, b->w[3], q0, 3);
    t = vdotq_laneq_s32(t, b->w[7], q1, 3);
    return vfmaq_f32(acc, vcvtq_f32_s32(vaddq_s32(s, t)), vmulq_f32(b->d, vdupq_n_f32(x->d)));
}

/* The chains of one part of 4 rows for all tokens. */
INLINE void run_part(float (*acc)[TILE_ROWS], const uint8_t *w, size_t stride, const block_call *c,
                     size_t first, size_t n_blocks, size_t block_bytes)
{
    block32 tile[TILE_BLOCKS];

    memset(acc, 0, c->n_tokens * sizeof acc[0]);
    for (size_t b = 0; b < n_blocks; b += TILE_BLOCKS) {
        const size_t n = n_blocks - b < TILE_BLOCKS ? n_blocks - b : TILE_BLOCKS;
        for (size_t i = 0; i < n; i++)
            tile[i] = load_block(w + (b + i) * block_bytes, stride, block_bytes);
        for (size_t t = 0; t < c->n_tokens; t++) {
            const ds4_q32 *x = (const ds4_q32 *)(const void *)(c->x + t * c->x_stride) + first + b;
            float32x4_t sum = vld1q_f32(acc[t]);
            for (size_t i = 0; i < n; i++) sum = add_block(sum, &tile[i], x + i);
            vst1q_f32(acc[t], sum);
        }
    }
}

INLINE void run(const block_call *c, size_t block_bytes)
{
    float   acc[MAX_TOKENS][TILE_ROWS], total[MAX_TOKENS][TILE_ROWS];
    uint8_t copy[TILE_ROWS * PART_BLOCKS * Q8_0_BYTES];

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t left = c->n_rows - r;
        memset(total, 0, c->n_tokens * sizeof total[0]);
        for (size_t b = 0; b < c->n_blocks; b += PART_BLOCKS) {
            const size_t   n = c->n_blocks - b < PART_BLOCKS ? c->n_blocks - b : PART_BLOCKS;
            const uint8_t *w = c->w + r * c->w_stride + b * block_bytes;
            size_t stride = c->w_stride;
            if (left < TILE_ROWS) {
                copy_part(copy, w, stride, left, n * block_bytes);
                w = copy;
                stride = n * block_bytes;
            }
            run_part(acc, w, stride, c, b, n, block_bytes);
            for (size_t t = 0; t < c->n_tokens; t++)
                vst1q_f32(total[t], vaddq_f32(vld1q_f32(total[t]), vld1q_f32(acc[t])));
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            store4(c->y + t * c->y_stride + r, left, vld1q_f32(total[t]));
    }
}

#define MATMUL(type, bytes)                                                                     \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {                                     \
            const size_t n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;             \
            const block_call c = { y + t * y_stride, y_stride, w, w_stride, n_rows,                 \
                               (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 32 };     \
            run(&c, bytes);                                                                     \
        }                                                                                       \
    }

MATMUL(q8_0, Q8_0_BYTES)
MATMUL(mxfp4, MXFP4_BYTES)

void ds4_kernels_neon_q32(ds4_kernels *k)
{
    k->matmul[DS4_Q8_0] = matmul_q8_0;
    k->matmul[DS4_MXFP4] = matmul_mxfp4;
}
