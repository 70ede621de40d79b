/* product_q256_avx512.h - tiles of blocks of 256 values times tokens, for AVX-512 with VNNI.
 *
 * One block of 16 rows becomes a tile of unsigned bytes (see tile_avx512.h), which then
 * serves all tokens. Integer sums are exact, so an output is defined by its blocks alone:
 *     y = fma(float(isum), d * dx, y);  y = fma(-float(msum), dmin * dx, y)   block by block. */
#ifndef DS4_KERNELS_PRODUCT_Q256_AVX512_H
#define DS4_KERNELS_PRODUCT_Q256_AVX512_H

#include "kernels/x86/tile_q256_avx512.h"
#include "kernels/x86/row_avx512.h"
#include "kernels/kernel_init.h"

enum { MAX_TOKENS = 64, MAX_PART = Q6_K_BYTES };

/* ---- tile times tokens ---------------------------------------------------------------- */

/* acc[i] += tile * block b of token i. Sums of a group stay below 2^18, scaled sums of a
 * block below 2^28 (IQ2_XXS: 8 * 31 * 32 * 107 * 127; Q6_K: 16 * 128 * 16 * 63 * 127). */
INLINE void add_tokens(float (*acc)[TILE_ROWS], const tile256 *t, const uint8_t *x, size_t x_stride,
                       const int n, const tile_kind kind)
{
    const bool wide = kind == KIND_MIN32 || kind == KIND_SHIFT32, plain = kind == KIND_SHIFT256;
    const int  n_groups = plain ? 1 : wide ? 8 : 16, n_dwords = 64 / n_groups;
    const ds4_q256 *xb[4];
    __m512i isum[4], msum[4], part[4];

    UNROLL
    for (int i = 0; i < n; i++) {
        xb[i] = (const ds4_q256 *)(const void *)(x + (size_t)i * x_stride);
        isum[i] = msum[i] = _mm512_setzero_si512();
    }
    for (int g = 0; g < n_groups; g++) {
        UNROLL
        for (int i = 0; i < n; i++) part[i] = _mm512_setzero_si512();
        UNROLL
        for (int j = 0; j < n_dwords; j++) {
            const __m512i w = t->w[n_dwords * g + j];
            UNROLL
            for (int i = 0; i < n; i++)
                part[i] =
                    _mm512_dpbusd_epi32(part[i], w, broadcast4(xb[i]->q + 4 * (n_dwords * g + j)));
        }
        UNROLL
        for (int i = 0; i < n; i++)
            isum[i] = plain ? part[i]
                            : _mm512_add_epi32(isum[i], _mm512_mullo_epi32(part[i], t->scale[g]));
    }
    for (int j = 0; j < 8; j++) {
        UNROLL
        for (int i = 0; i < n; i++)
            msum[i] = _mm512_dpwssd_epi32(msum[i], t->pair[j], broadcast4(xb[i]->sum + 2 * j));
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        const __m512 dx = _mm512_set1_ps(xb[i]->d);
        __m512 y = _mm512_loadu_ps(acc[i]);
        if (kind == KIND_SHIFT16)
            isum[i] = _mm512_sub_epi32(isum[i], _mm512_slli_epi32(msum[i], 5));
        if (kind == KIND_SHIFT32)
            isum[i] = _mm512_sub_epi32(isum[i], _mm512_slli_epi32(msum[i], 6));
        if (plain) isum[i] = _mm512_add_epi32(isum[i], msum[i]);        /* pair = -126 */
        y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum[i]), _mm512_mul_ps(t->d, dx), y);
        if (kind == KIND_MIN16 || kind == KIND_MIN32)
            y = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(msum[i]), _mm512_mul_ps(t->dmin, dx), y);
        _mm512_storeu_ps(acc[i], y);
    }
}

/* Ask for block b of the next 16 rows, if they are of this call. */
INLINE void prefetch_next(const block_call *c, size_t r, size_t b, size_t block_bytes)
{
    if (r + TILE_ROWS < c->n_rows)
        prefetch_span(c->w + r * c->w_stride, TILE_ROWS * (c->w_stride + b * block_bytes),
                      TILE_ROWS * block_bytes);
}

/* Up to 64 tokens and any number of rows. */
INLINE void run_tiles(const block_call *c, size_t block_bytes, const tile_kind kind, fill_fn *fill,
                      const void *tables)
{
    _Alignas(64) float acc[MAX_TOKENS][TILE_ROWS];
    uint8_t part[TILE_ROWS * MAX_PART];
    tile256 tile;

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t n_rows = c->n_rows - r;
        memset(acc, 0, c->n_tokens * sizeof acc[0]);
        for (size_t b = 0; b < c->n_blocks; b++) {
            const uint8_t *w = c->w + r * c->w_stride + b * block_bytes;
            const uint8_t *x = c->x + b * sizeof(ds4_q256);
            size_t stride = c->w_stride, t = 0;
            prefetch_next(c, r, b, block_bytes);
            if (n_rows < TILE_ROWS) {
                copy_part(part, w, stride, n_rows, block_bytes);
                w = part;
                stride = block_bytes;
            }
            fill(&tile, w, stride, tables);
            for (; t + 4 <= c->n_tokens; t += 4)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 4, kind);
            for (; t < c->n_tokens; t++)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 1, kind);
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            _mm512_mask_storeu_ps(c->y + t * c->y_stride + r, tail_mask(n_rows),
                                  _mm512_load_ps(acc[t]));
    }
}

/* Any number of tokens. */
INLINE void run_product(block_call c, size_t block_bytes, const tile_kind kind, fill_fn *fill,
                        const void *tables)
{
    for (size_t left = c.n_tokens; left > 0; left -= c.n_tokens) {
        c.n_tokens = left < MAX_TOKENS ? left : MAX_TOKENS;
        run_tiles(&c, block_bytes, kind, fill, tables);
        c.y += c.n_tokens * c.y_stride;
        c.x += c.n_tokens * c.x_stride;
    }
}

/* The product of a type, ds4_matmul_fn; with one token by `one_token` where n_in allows. */
#define MATMUL(name, bytes, kind, fill, tables, one_token)                                      \
    void name(float *y, size_t y_stride, const void *w, size_t w_stride, size_t n_rows,         \
              const void *x, size_t x_stride, size_t n_tokens, size_t n_in)                     \
    {                                                                                           \
        const block_call c = { y, y_stride, w, w_stride, n_rows, x, x_stride, n_tokens, n_in / 256 }; \
        ds4_matvec_fn *const one = one_token;                                                   \
        if (one && n_tokens == 1 && n_in % (256 * HALF_BLOCKS) == 0) {                          \
            one(y, w, w_stride, n_rows, x, n_in / 256);                                         \
            return;                                                                             \
        }                                                                                       \
        tables                                                                                  \
        run_product(c, bytes, kind, fill, t);                                                   \
    }

#endif
