/* cpu_multiply.c - rows of one matrix times activation rows, in pieces that fit the caches. */
#include "backend/cpu/cpu_local.h"

#include <string.h>

/* With many tokens a slab of weights and the activations it meets stay in the cache. */
enum {
    SLAB_BYTES = 512 << 10,
    ACT_BYTES = 1 << 20,        /* of the tokens that a slab meets together: a part of the cache, */
    LEAST_TOKENS = 64,          /* unless so few take more */
    MOST_TOKENS = 256,
    TILE_ROWS = 16,             /* of encoded rows, at most on any machine */
    TILE_FLOAT_ROWS = 8,        /* of float rows */
    LONG_ROW_BYTES = 8192,      /* a float row worth a core of its own */
};

void cpu_encode(const ds4_kernels *k, ds4_act act, uint8_t *out, const float *x, uint32_t n)
{
    switch (act) {
    case DS4_ACT_F32:  memcpy(out, x, (size_t)n * sizeof *x); return;
    case DS4_ACT_Q32:  k->quantize_q32((ds4_q32 *)(void *)out, x, n); return;
    case DS4_ACT_Q256: k->quantize_q256((ds4_q256 *)(void *)out, x, n); return;
    }
}

/* Integer weight types against float activations: decode a row, multiply as F32. */
static void multiply_precise(const ds4_dev *dev, const cpu_slab *s, uint64_t from, uint64_t to,
                             float *row)
{
    for (uint64_t r = from; r < to; r++) {
        dev->k.decode[s->dtype](row, s->w + r * s->row_bytes, s->n_in);
        dev->k.matmul[DS4_F32](s->y + r, s->y_stride, row, 0, 1, s->x, s->x_stride, s->n_tokens,
                               s->n_in);
    }
}

static uint64_t rows_of_slab(uint64_t row_bytes)
{
    const uint64_t n_rows = SLAB_BYTES / row_bytes / TILE_ROWS * TILE_ROWS;
    return n_rows ? n_rows : TILE_ROWS;
}

static uint32_t tokens_at_once(uint64_t x_stride)
{
    const uint64_t n = ACT_BYTES / x_stride / LEAST_TOKENS * LEAST_TOKENS;
    return n < LEAST_TOKENS ? LEAST_TOKENS : n > MOST_TOKENS ? MOST_TOKENS : (uint32_t)n;
}

void cpu_multiply(const ds4_dev *dev, const cpu_slab *s, uint64_t from, uint64_t to, float *row)
{
    if (s->precise && ds4_act_of(s->dtype) != DS4_ACT_F32) {
        multiply_precise(dev, s, from, to, row);
        return;
    }
    ds4_matmul_fn *matmul = dev->k.matmul[s->dtype];
    const uint64_t slab_rows = s->n_tokens > LEAST_TOKENS ? rows_of_slab(s->row_bytes) : to - from;
    const uint32_t at_once = tokens_at_once(s->x_stride);
    for (uint64_t r = from; r < to; r += slab_rows) {
        const uint64_t n_rows = to - r < slab_rows ? to - r : slab_rows;
        for (uint32_t t = 0; t < s->n_tokens; t += at_once) {
            const uint32_t left = s->n_tokens - t;
            matmul(s->y + t * s->y_stride + r, s->y_stride, s->w + r * s->row_bytes, s->row_bytes,
                   n_rows, s->x + t * s->x_stride, s->x_stride,
                   left < at_once ? left : at_once, s->n_in);
        }
    }
}

uint32_t cpu_tile(uint32_t dtype, uint64_t row_bytes, uint32_t n_tokens)
{
    if (ds4_act_of(dtype) != DS4_ACT_F32) return TILE_ROWS;
    return row_bytes >= LONG_ROW_BYTES && n_tokens == 1 ? 1 : TILE_FLOAT_ROWS;
}

void cpu_step_parts(const cpu_step *step, uint32_t n_tokens, cpu_part *out)
{
    for (uint32_t i = 0; i < step->n_parts; i++) {
        out[i] = step->parts[i];
        out[i].n_tokens = n_tokens;
        out[i].tile = cpu_tile(out[i].dtype, out[i].row_bytes, n_tokens);
    }
}
