/* matmul_q256_amx.c - products of Q2_K, Q4_K, IQ2_XXS and T66 rows with several tokens, for AMX.
 *
 * The same sums as product_q256_avx512.h in the same order, so the same bits: the scaled sum of
 * a block is an exact integer, whether its groups are summed apart (Q4_K, IQ2_XXS) or the
 * scales go into the weights first (Q2_K: at most 3 * 15 fits a byte). */
#include "kernels/x86/tile_amx.h"
#include "kernels/x86/iq2_vbmi.h"
#include "kernels/x86/tile_t66_avx512.h"
#include "kernels/kernel_init.h"

enum { MAX_TOKENS = 256, MAX_PART = Q4_K_BYTES, GROUPS = 8, GROUP_VALUES = 32 };

/* Groups of equal size for n_tokens. The last one begins earlier if it would be too long:
 * what it computes twice is the same twice. */
typedef struct token_groups {
    size_t n, n_tokens;             /* groups, tokens in one */
} token_groups;

INLINE token_groups group_tokens(size_t n_tokens)
{
    const size_t n = (n_tokens + AMX_MAX_TOKENS - 1) / AMX_MAX_TOKENS;
    return (token_groups){ n, (n_tokens + n - 1) / n };
}

typedef struct call256 {
    float         *y;
    size_t         y_stride;
    const uint8_t *w;
    size_t         w_stride, n_rows;
    const uint8_t *x;
    size_t         x_stride, n_tokens, n_blocks;
    token_groups   groups;
} call256;

typedef int32_t sums256[GROUPS][AMX_MAX_TOKENS][TILE_ROWS];

/* The eight groups of 32 values, each on its own. */
INLINE void group_sums(sums256 sums, const tile256 *t, const int8_t *q, size_t x_stride)
{
#define ONE(reg, g)                                                                             \
    amx_zero(reg);                                                                              \
    amx_load(4, q + (g) * GROUP_VALUES, x_stride);                                              \
    amx_load(5, t->w + 8 * (g), 64);                                                            \
    amx_dot(reg, 4, 5);
    ONE(0, 0) ONE(1, 1) ONE(2, 2) ONE(3, 3)
    amx_store(0, sums[0], 64);
    amx_store(1, sums[1], 64);
    amx_store(2, sums[2], 64);
    amx_store(3, sums[3], 64);
    ONE(0, 4) ONE(1, 5) ONE(2, 6) ONE(3, 7)
    amx_store(0, sums[4], 64);
    amx_store(1, sums[5], 64);
    amx_store(2, sums[6], 64);
    amx_store(3, sums[7], 64);
#undef ONE
}

/* All 256 values; sums[0] + sums[1]: two chains are done sooner than one. */
INLINE void block_sums(sums256 sums, const tile256 *t, const int8_t *q, size_t x_stride)
{
#define ONE(reg, i)                                                                             \
    amx_load(4, q + 64 * (i), x_stride);                                                        \
    amx_load(5, t->w + 16 * (i), 64);                                                           \
    amx_dot(reg, 4, 5);
    amx_zero(0);
    amx_zero(1);
    ONE(0, 0) ONE(1, 1) ONE(0, 2) ONE(1, 3)
    amx_store(0, sums[0], 64);
    amx_store(1, sums[1], 64);
#undef ONE
}

/* Are all values of a block summed at once? Those of T66 have no scales. */
INLINE bool sums_whole_blocks(const tile_kind kind)
{
    return kind == KIND_MIN16 || kind == KIND_SHIFT256;
}

/* Codes as they are, without the bias that unsigned bytes need. */
INLINE void fill_t66_signed(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    (void)tables;
    fill_t66_minus(t, w, stride, T66_BIAS);
}

INLINE void add_token(float *acc, const tile256 *t, sums256 sums, size_t i, const ds4_q256 *x,
                      const tile_kind kind)
{
    __m512i isum, msum = _mm512_setzero_si512();
    const __m512 dx = _mm512_set1_ps(x->d);
    __m512 y = _mm512_load_ps(acc);

    if (sums_whole_blocks(kind)) {
        isum = _mm512_add_epi32(_mm512_load_si512(sums[0][i]), _mm512_load_si512(sums[1][i]));
    } else {
        isum = _mm512_mullo_epi32(_mm512_load_si512(sums[0][i]), t->scale[0]);
        UNROLL
        for (int g = 1; g < GROUPS; g++)
            isum = _mm512_add_epi32(
                isum, _mm512_mullo_epi32(_mm512_load_si512(sums[g][i]), t->scale[g]));
    }
    y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum), _mm512_mul_ps(t->d, dx), y);
    if (kind == KIND_MIN16 || kind == KIND_MIN32) {
        UNROLL
        for (int j = 0; j < 8; j++)
            msum = _mm512_dpwssd_epi32(msum, t->pair[j], broadcast4(x->sum + 2 * j));
        y = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(msum), _mm512_mul_ps(t->dmin, dx), y);
    }
    _mm512_store_ps(acc, y);
}

/* Block b of all tokens. */
INLINE void add_tokens(float (*acc)[TILE_ROWS], const call256 *c, const tile256 *t, size_t b,
                       const tile_kind kind)
{
    _Alignas(64) sums256 sums;
    const size_t n = c->groups.n_tokens;

    for (size_t g = 0; g < c->groups.n; g++) {
        const size_t first = g + 1 < c->groups.n ? g * n : c->n_tokens - n;
        const uint8_t *x = c->x + first * c->x_stride + b * sizeof(ds4_q256);
        const int8_t *q = (const int8_t *)x + offsetof(ds4_q256, q);
        if (sums_whole_blocks(kind)) block_sums(sums, t, q, c->x_stride);
        else group_sums(sums, t, q, c->x_stride);
        for (size_t i = g * n - first; i < n; i++)
            add_token(acc[first + i], t, sums, i,
                      (const ds4_q256 *)(const void *)(x + i * c->x_stride), kind);
    }
}

/* Scales go into the weights: no byte of a pair carries into the other. */
INLINE void scale_weights(tile256 *t)
{
    for (int g = 0; g < 16; g++) {
        const __m512i scale = _mm512_or_si512(t->scale[g], _mm512_slli_epi32(t->scale[g], 16));
        UNROLL
        for (int i = 0; i < 4; i++) t->w[4 * g + i] = _mm512_mullo_epi16(t->w[4 * g + i], scale);
    }
}

INLINE void run(const call256 *c, size_t block_bytes, const tile_kind kind, fill_fn *fill,
                const void *tables)
{
    _Alignas(64) float acc[MAX_TOKENS][TILE_ROWS];
    uint8_t part[TILE_ROWS * MAX_PART];
    tile256 tile;

    amx_begin(c->groups.n_tokens, sums_whole_blocks(kind) ? 64 : GROUP_VALUES);
    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t n_rows = c->n_rows - r;
        memset(acc, 0, c->n_tokens * sizeof acc[0]);
        for (size_t b = 0; b < c->n_blocks; b++) {
            const uint8_t *w = c->w + r * c->w_stride + b * block_bytes;
            size_t stride = c->w_stride;
            if (n_rows > TILE_ROWS)
                prefetch_span(c->w + r * stride, TILE_ROWS * (stride + b * block_bytes),
                              TILE_ROWS * block_bytes);
            if (n_rows < TILE_ROWS) {
                copy_part(part, w, stride, n_rows, block_bytes);
                w = part;
                stride = block_bytes;
            }
            fill(&tile, w, stride, tables);
            if (kind == KIND_MIN16) scale_weights(&tile);
            add_tokens(acc, c, &tile, b, kind);
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            _mm512_mask_storeu_ps(c->y + t * c->y_stride + r, tail_mask(n_rows),
                                  _mm512_load_ps(acc[t]));
    }
    amx_release();
}

#define MATMUL(type, bytes, kind, fill, least, few, tables)                                         \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        if (n_tokens < (least)) {                                                               \
            few(y, y_stride, w, w_stride, n_rows, x, x_stride, n_tokens, n_in);                 \
            return;                                                                             \
        }                                                                                       \
        tables                                                                                  \
        for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {                                     \
            const size_t  n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;            \
            const call256 c = { y + t * y_stride, y_stride, w, w_stride, n_rows,                \
                                (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 256,     \
                                group_tokens(n) };                                              \
            run(&c, bytes, kind, fill, tab);                                                    \
        }                                                                                       \
    }

/* Fewer tokens than so many are faster without tiles. */
MATMUL(q2_k, Q2_K_BYTES, KIND_MIN16, fill_q2_k, 4, ds4_matmul_q2_k_avx512, const void *tab = NULL;)
MATMUL(q4_k, Q4_K_BYTES, KIND_MIN32, fill_q4_k, 6, ds4_matmul_q4_k_avx512, const void *tab = NULL;)
MATMUL(iq2_xxs, IQ2_XXS_BYTES, KIND_SHIFT32, fill_iq2_xxs, 6, ds4_matmul_iq2_xxs_vbmi,
       iq2_tables tab[1]; make_iq2_tables(tab, 0);)
MATMUL(t66, T66_BYTES, KIND_SHIFT256, fill_t66_signed, 6, ds4_matmul_t66_vbmi, const void *tab = NULL;)

void ds4_kernels_amx_q256(ds4_kernels *k)
{
    k->matmul[DS4_Q2_K] = matmul_q2_k;
    k->matmul[DS4_Q4_K] = matmul_q4_k;
    k->matmul[DS4_IQ2_XXS] = matmul_iq2_xxs;
    k->matmul[DS4_T66] = matmul_t66;
}
