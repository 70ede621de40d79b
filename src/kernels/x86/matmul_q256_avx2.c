/* matmul_q256_avx2.c - products of Q2_K, Q4_K, Q6_K and IQ2_XXS rows with activations in
 * blocks of 256, for AVX2.
 *
 * One block of 8 rows becomes a tile of unsigned bytes, which then serves all tokens; see
 * product_q256_avx512.h, whose float chain this repeats. */
#include "kernels/x86/tile_avx2.h"
#include "kernels/x86/iq2_avx2.h"
#include "kernels/kernel_init.h"

enum { MAX_TOKENS = 64, MAX_PART = Q6_K_BYTES };

/* The bytes of a tile stand for these. */
typedef enum tile_kind {
    KIND_MIN16,         /* 16 groups of 16 with scales; pair = mins:  Q2_K */
    KIND_MIN32,         /* 8 groups of 32 with scales; pair = mins:   Q4_K */
    KIND_SHIFT16,       /* value + 32, 16 groups; pair = scales:      Q6_K */
    KIND_SHIFT32,       /* value + 64, 8 groups; pair = scales:       IQ2_XXS */
} tile_kind;

typedef struct tile256 {
    __m256i w[64];      /* bytes 4i..4i+3 of the block */
    __m256i scale[16];  /* of each group, in both int16 halves of a lane */
    __m256i pair[8];    /* int16 pairs that multiply sum[2i], sum[2i + 1] of the activations */
    __m256  d, dmin;
} tile256;

/* ---- tiles of each type ------------------------------------------------------------ */

static void fill_q2_k(tile256 *t, const uint8_t *w, size_t stride)
{
    const __m256i three = _mm256_set1_epi8(3);
    __m256i v[4];

    for (int c = 0; c < 4; c++) {           /* 16 bytes of qs: half c / 2, lanes 16 * (c % 2) */
        __m256i *out = t->w + 32 * (c >> 1) + 4 * (c & 1);
        load_columns(v, w + 16 + 16 * c, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            out[i] = _mm256_and_si256(v[i], three);
            out[i + 8] = _mm256_and_si256(_mm256_srli_epi16(v[i], 2), three);
            out[i + 16] = _mm256_and_si256(_mm256_srli_epi16(v[i], 4), three);
            out[i + 24] = _mm256_and_si256(_mm256_srli_epi16(v[i], 6), three);
        }
    }
    load_columns(v, w, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        /* Bytes 0..3 of a lane are scales and mins 4i..4i+3; pairs want neighbours. */
        const __m256i nibbles = _mm256_set1_epi8(15);
        const __m256i scales = _mm256_and_si256(v[i], nibbles);
        const __m256i mins = _mm256_and_si256(_mm256_srli_epi16(v[i], 4), nibbles);
        const __m256i even = _mm256_and_si256(mins, _mm256_set1_epi16(15)),
                      odd = _mm256_srli_epi16(mins, 8);
        t->pair[2 * i] = _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa);
        t->pair[2 * i + 1] = _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa);
        for (int b = 0; b < 4; b++) t->scale[4 * i + b] = lane_byte_twice(scales, b);
    }
    const __m256i d = load_column4(w + 80, stride);
    t->d = low_halves(d);
    t->dmin = high_halves(d);
}

static void fill_q4_k(tile256 *t, const uint8_t *w, size_t stride)
{
    const __m256i nibbles = _mm256_set1_epi8(15), six = _mm256_set1_epi8(63);
    const __m256i high2 = _mm256_set1_epi8(0x30);
    __m256i v[4], scale[2], min[2];

    for (int c = 0; c < 8; c++) {           /* 16 bytes of qs: groups 2 * (c / 2) and the next */
        __m256i *out = t->w + 16 * (c >> 1) + 4 * (c & 1);
        load_columns(v, w + 16 + 16 * c, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            out[i] = _mm256_and_si256(v[i], nibbles);
            out[i + 8] = _mm256_and_si256(_mm256_srli_epi16(v[i], 4), nibbles);
        }
    }
    load_columns(v, w, stride);             /* d and dmin, then the three words of p */
    t->d = low_halves(v[0]);
    t->dmin = high_halves(v[0]);
    scale[0] = _mm256_and_si256(v[1], six);
    min[0] = _mm256_and_si256(v[2], six);
    scale[1] = _mm256_or_si256(_mm256_and_si256(v[3], nibbles),
                               _mm256_and_si256(_mm256_srli_epi16(v[1], 2), high2));
    min[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(v[3], 4), nibbles),
                             _mm256_and_si256(_mm256_srli_epi16(v[2], 2), high2));
    for (int g = 0; g < 8; g++) {
        t->scale[g] = lane_byte_twice(scale[g >> 2], g & 3);
        t->pair[g] = lane_byte_twice(min[g >> 2], g & 3);
    }
}

static void fill_q6_k(tile256 *t, const uint8_t *w, size_t stride)
{
    const __m256i nibbles = _mm256_set1_epi8(15), high2 = _mm256_set1_epi8(0x30);
    __m256i h[4], a[4], b[4], sc[4];

    for (int c = 0; c < 4; c++) {           /* 16 lanes of each plane of half c / 2 */
        const int half = c >> 1, lane = 16 * (c & 1);
        __m256i  *out = t->w + 32 * half + 4 * (c & 1);
        load_columns(a, w + 64 * half + lane, stride);
        load_columns(b, w + 64 * half + 32 + lane, stride);
        load_columns(h, w + 128 + 32 * half + lane, stride);
        for (int i = 0; i < 4; i++) {
            const __m256i h0 = _mm256_slli_epi16(h[i], 4), h1 = _mm256_slli_epi16(h[i], 2);
            const __m256i h2 = h[i], h3 = _mm256_srli_epi16(h[i], 2);
            out[i] = _mm256_or_si256(_mm256_and_si256(a[i], nibbles), _mm256_and_si256(h0, high2));
            out[i + 8] =
                _mm256_or_si256(_mm256_and_si256(b[i], nibbles), _mm256_and_si256(h1, high2));
            out[i + 16] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a[i], 4), nibbles),
                                          _mm256_and_si256(h2, high2));
            out[i + 24] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(b[i], 4), nibbles),
                                          _mm256_and_si256(h3, high2));
        }
    }
    load_columns(sc, w + 192, stride);
    for (int j = 0; j < 16; j++) {          /* sign-extended byte j & 3 in both halves */
        const __m256i top = _mm256_sll_epi32(sc[j >> 2], _mm_cvtsi32_si128(24 - 8 * (j & 3)));
        const __m256i s = _mm256_srai_epi32(top, 24);
        t->scale[j] = _mm256_blend_epi16(s, _mm256_slli_epi32(s, 16), 0xaa);
    }
    for (int i = 0; i < 8; i++)
        t->pair[i] = _mm256_blend_epi16(t->scale[2 * i], t->scale[2 * i + 1], 0xaa);
    t->d = high_halves(load_column4(w + 206, stride));
}

static void fill_iq2_xxs(tile256 *t, const uint8_t *w, size_t stride, const iq2_tables *tab)
{
    _Alignas(32) uint8_t value[TILE_ROWS][256];
    _Alignas(32) uint32_t scale[TILE_ROWS][8];
    __m256i v[4];

    for (size_t r = 0; r < TILE_ROWS; r++) {
        const uint8_t *block = w + r * stride;
        _Alignas(32) uint32_t signs[8];
        __m256i scales;
        _mm256_store_si256((void *)signs, iq2_signs(&scales, block));
        _mm256_store_si256((void *)scale[r], scales);
        for (int g = 0; g < 8; g++) {
            const __m256i turned = _mm256_sign_epi8(iq2_values(block + 2 + 8 * g, tab),
                                                    iq2_turns(broadcast4(signs + g), 0));
            _mm256_store_si256((void *)(value[r] + 32 * g),
                               _mm256_add_epi8(turned, _mm256_set1_epi8(64)));
        }
    }
    for (int i = 0; i < 16; i++) load_columns(t->w + 4 * i, value[0] + 16 * i, 256);
    for (int i = 0; i < 2; i++) {
        load_columns(v, (const uint8_t *)scale[0] + 16 * i, 32);
        for (int j = 0; j < 4; j++) {
            const __m256i both = _mm256_or_si256(v[j], _mm256_slli_epi32(v[j], 16));
            t->scale[4 * i + j] = t->pair[4 * i + j] = both;
        }
    }
    t->d = _mm256_mul_ps(low_halves(load_column4(w, stride)), _mm256_set1_ps(0.125f));
}

/* ---- tile times tokens ---------------------------------------------------------------- */

/* acc[i] += tile * one block of token i. Pairs of products reach 254 times the largest byte,
 * and n_short of them are added as int16: Q2_K 4 * 3 * 254, Q4_K 8 * 15 * 254 = 30480,
 * Q6_K 2 * 63 * 254 = 32004, IQ2_XXS 107 * 254 = 27178. */
INLINE void add_tokens(float (*acc)[TILE_ROWS], const tile256 *t, const uint8_t *x, size_t x_stride,
                       const int n, const tile_kind kind)
{
    const bool wide = kind == KIND_MIN32 || kind == KIND_SHIFT32;
    const int  n_dwords = wide ? 8 : 4;
    const int  n_short = kind == KIND_SHIFT32 ? 1 : kind == KIND_SHIFT16 ? 2 : n_dwords;
    const ds4_q256 *xb[2];
    __m256i isum[2], msum[2];

    UNROLL
    for (int i = 0; i < n; i++) {
        xb[i] = (const ds4_q256 *)(const void *)(x + (size_t)i * x_stride);
        isum[i] = msum[i] = _mm256_setzero_si256();
    }
    for (int g = 0; g < 64 / n_dwords; g++) {
        UNROLL
        for (int k = 0; k < n_dwords; k += n_short) {
            const int j = n_dwords * g + k;
            __m256i pairs[2];
            UNROLL
            for (int i = 0; i < n; i++)
                pairs[i] = _mm256_maddubs_epi16(t->w[j], broadcast4(xb[i]->q + 4 * j));
            UNROLL
            for (int s = j + 1; s < j + n_short; s++) {
                const __m256i w = t->w[s];
                UNROLL
                for (int i = 0; i < n; i++)
                    pairs[i] = _mm256_add_epi16(
                        pairs[i], _mm256_maddubs_epi16(w, broadcast4(xb[i]->q + 4 * s)));
            }
            UNROLL
            for (int i = 0; i < n; i++)
                isum[i] = _mm256_add_epi32(isum[i], _mm256_madd_epi16(pairs[i], t->scale[g]));
        }
    }
    for (int j = 0; j < 8; j++) {
        UNROLL
        for (int i = 0; i < n; i++)
            msum[i] = _mm256_add_epi32(
                msum[i], _mm256_madd_epi16(t->pair[j], broadcast4(xb[i]->sum + 2 * j)));
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        const __m256 dx = _mm256_set1_ps(xb[i]->d);
        __m256 y = _mm256_loadu_ps(acc[i]);
        if (kind == KIND_SHIFT16)
            isum[i] = _mm256_sub_epi32(isum[i], _mm256_slli_epi32(msum[i], 5));
        if (kind == KIND_SHIFT32)
            isum[i] = _mm256_sub_epi32(isum[i], _mm256_slli_epi32(msum[i], 6));
        y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum[i]), _mm256_mul_ps(t->d, dx), y);
        if (kind == KIND_MIN16 || kind == KIND_MIN32)
            y = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(msum[i]), _mm256_mul_ps(t->dmin, dx), y);
        _mm256_storeu_ps(acc[i], y);
    }
}

/* Up to 64 tokens and any number of rows. */
INLINE void run(const block_call *c, size_t block_bytes, const tile_kind kind, const iq2_tables *tab)
{
    _Alignas(32) float acc[MAX_TOKENS][TILE_ROWS];
    uint8_t part[TILE_ROWS * MAX_PART];
    tile256 tile;

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t n_rows = c->n_rows - r;
        memset(acc, 0, c->n_tokens * sizeof acc[0]);
        for (size_t b = 0; b < c->n_blocks; b++) {
            const uint8_t *w = c->w + r * c->w_stride + b * block_bytes;
            const uint8_t *x = c->x + b * sizeof(ds4_q256);
            size_t stride = c->w_stride, t = 0;
            prefetch_span(c->w + r * stride, TILE_ROWS * (stride + b * block_bytes),
                          TILE_ROWS * block_bytes);
            if (n_rows < TILE_ROWS) {
                copy_part(part, w, stride, n_rows, block_bytes);
                w = part;
                stride = block_bytes;
            }
            if (block_bytes == Q2_K_BYTES) fill_q2_k(&tile, w, stride);
            else if (block_bytes == Q4_K_BYTES) fill_q4_k(&tile, w, stride);
            else if (block_bytes == Q6_K_BYTES) fill_q6_k(&tile, w, stride);
            else fill_iq2_xxs(&tile, w, stride, tab);
            for (; t + 2 <= c->n_tokens; t += 2)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 2, kind);
            if (t < c->n_tokens)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 1, kind);
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            store8(c->y + t * c->y_stride + r, n_rows, _mm256_load_ps(acc[t]));
    }
}

#define MATMUL(type, bytes, kind, tables, one_token)                                            \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        one_token                                                                               \
        tables                                                                                  \
        for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {                                     \
            const size_t  n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;            \
            const block_call c = { y + t * y_stride, y_stride, w, w_stride, n_rows,                \
                                (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 256 };   \
            run(&c, bytes, kind, tab);                                                          \
        }                                                                                       \
    }

#define ONE_TOKEN(type, blocks)                                                                 \
    if (n_tokens == 1 && n_in % (256 * (blocks)) == 0) {                                        \
        ds4_matvec_##type##_avx2(y, w, w_stride, n_rows, x, n_in / 256);                        \
        return;                                                                                 \
    }

MATMUL(q2_k, Q2_K_BYTES, KIND_MIN16, const iq2_tables *tab = NULL;, ONE_TOKEN(q2_k, 4))
MATMUL(q4_k, Q4_K_BYTES, KIND_MIN32, const iq2_tables *tab = NULL;, ONE_TOKEN(q4_k, 4))
MATMUL(q6_k, Q6_K_BYTES, KIND_SHIFT16, const iq2_tables *tab = NULL;, )
MATMUL(iq2_xxs, IQ2_XXS_BYTES, KIND_SHIFT32, iq2_tables tables; const iq2_tables *tab = &tables;
       make_iq2_tables(&tables);, ONE_TOKEN(iq2_xxs, 1))

void ds4_kernels_avx2_q256(ds4_kernels *k)
{
    k->matmul[DS4_Q2_K] = matmul_q2_k;
    k->matmul[DS4_Q4_K] = matmul_q4_k;
    k->matmul[DS4_Q6_K] = matmul_q6_k;
    k->matmul[DS4_IQ2_XXS] = matmul_iq2_xxs;
}
