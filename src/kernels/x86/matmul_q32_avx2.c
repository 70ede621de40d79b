/* matmul_q32_avx2.c - products of Q8_0 and MXFP4 rows with activations in blocks of 32, for
 * AVX2.
 *
 * Eight rows side by side as tile_avx2.h describes; the float chain of an output is that of
 * matmul_q32_avx512.c. Q8_0 weights use all of int8, so their signs move to the activations
 * (which are never -128); MXFP4 codes become twice their value plus 12 instead. */
#include "kernels/x86/tile_avx2.h"
#include "kernels/kernel_init.h"

enum {
    MAX_TOKENS = 16,
    PART_BLOCKS = 32,           /* blocks of one float chain */
    TILE_BLOCKS = 8,            /* blocks decoded together for several tokens */
    SEGMENT_BLOCKS = 256,       /* blocks whose sums of activations are kept */
    MXFP4_OFFSET = 12,
};

/* One block of 8 rows: bytes 4i..4i+3. */
typedef struct block32 {
    __m256i w[8];
    __m256  d;
} block32;

/* MXFP4_OFFSET * the sum of the activations of each block, negated: where a sum starts. */
typedef struct act_sums {
    int32_t start[MAX_TOKENS][SEGMENT_BLOCKS];
} act_sums;

INLINE block32 load_q8_0(const uint8_t *w, size_t stride)
{
    block32 b;
    load_columns(b.w, w + 2, stride);
    load_columns(b.w + 4, w + 18, stride);
    b.d = low_halves(load_column4(w, stride));
    return b;
}

/* The scale is halved because the values are doubled. */
INLINE block32 load_mxfp4(const uint8_t *w, size_t stride)
{
    const __m256i nibbles = _mm256_set1_epi8(15), exp_mask = _mm256_set1_epi32(255);
    const __m256i twice = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    block32 b;
    __m256i v[4];

    load_columns(v, w + 1, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        b.w[i] = _mm256_shuffle_epi8(twice, _mm256_and_si256(v[i], nibbles));
        b.w[i + 4] =
            _mm256_shuffle_epi8(twice, _mm256_and_si256(_mm256_srli_epi16(v[i], 4), nibbles));
    }
    const __m256i e = _mm256_and_si256(load_column4(w, stride), exp_mask);
    const __m256i zero = _mm256_cmpeq_epi32(e, _mm256_setzero_si256()),
                  nan = _mm256_cmpeq_epi32(e, exp_mask);
    __m256i bits = _mm256_slli_epi32(e, 23);
    bits = _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x00400000), zero);
    bits = _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000), nan);
    b.d = _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0.5f));
    return b;
}

INLINE block32 load_block(const uint8_t *w, size_t stride, size_t block_bytes)
{
    return block_bytes == Q8_0_BYTES ? load_q8_0(w, stride) : load_mxfp4(w, stride);
}

static void sum_activations(act_sums *s, const block_call *c, size_t first, size_t n_blocks)
{
    for (size_t t = 0; t < c->n_tokens; t++) {
        const ds4_q32 *x = (const ds4_q32 *)(const void *)(c->x + t * c->x_stride) + first;
        for (size_t b = 0; b < n_blocks; b++) {
            const __m256i q = _mm256_loadu_si256((const void *)x[b].q);
            const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
            const __m256i sums = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sums),
                                               _mm256_extracti128_si256(sums, 1));
            const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
            s->start[t][b] = -MXFP4_OFFSET * (_mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1));
        }
    }
}

/* Sums of one block for n tokens. Q8_0: pairs reach 2 * 128 * 127 = 32512 and are widened at
 * once. MXFP4: pairs reach 2 * 24 * 127 = 6096 and four of them stay inside int16. */
INLINE void block_sums(__m256 sum[2], const block32 *b, const ds4_q32 *const x[2],
                       const int32_t *const start[2], const int n, bool is_q8)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i part[2];

    UNROLL
    for (int i = 0; i < n; i++)
        part[i] = is_q8 ? _mm256_setzero_si256() : _mm256_set1_epi32(*start[i]);
    UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i four[2];
        UNROLL
        for (int j = 4 * h; j < 4 * h + 4; j++) {
            const __m256i w = b->w[j], magnitude = is_q8 ? _mm256_abs_epi8(w) : w;
            UNROLL
            for (int i = 0; i < n; i++) {
                __m256i q = broadcast4(x[i]->q + 4 * j);
                if (is_q8) q = _mm256_sign_epi8(q, w);
                const __m256i pairs = _mm256_maddubs_epi16(magnitude, q);
                if (is_q8) part[i] = _mm256_add_epi32(part[i], _mm256_madd_epi16(pairs, ones));
                else four[i] = j == 4 * h ? pairs : _mm256_add_epi16(four[i], pairs);
            }
        }
        if (is_q8) continue;
        UNROLL
        for (int i = 0; i < n; i++)
            part[i] = _mm256_add_epi32(part[i], _mm256_madd_epi16(four[i], ones));
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        const __m256 scale = _mm256_mul_ps(b->d, _mm256_set1_ps(x[i]->d));
        sum[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(part[i]), scale, sum[i]);
    }
}

INLINE __m256 part_one_token(const uint8_t *w, size_t stride, size_t block_bytes, const ds4_q32 *x,
                             const int32_t *start, size_t n_blocks, const uint8_t *base,
                             size_t ahead)
{
    __m256 acc[2] = { _mm256_setzero_ps(), _mm256_setzero_ps() };

    for (size_t b = 0; b < n_blocks; b++, w += block_bytes) {
        const block32 block = load_block(w, stride, block_bytes);
        const ds4_q32 *const xb[2] = { x + b, NULL };
        const int32_t *const sb[2] = { start + b, NULL };
        prefetch_span(base, ahead + TILE_ROWS * block_bytes * b, TILE_ROWS * block_bytes);
        block_sums(acc, &block, xb, sb, 1, block_bytes == Q8_0_BYTES);
    }
    return acc[0];
}

INLINE void part_tokens(float (*acc)[TILE_ROWS], const uint8_t *w, size_t stride, const block_call *c,
                        size_t first, size_t n_blocks, const act_sums *sums, size_t from,
                        size_t block_bytes)
{
    block32 tile[TILE_BLOCKS];

    memset(acc, 0, c->n_tokens * sizeof acc[0]);
    for (size_t b = 0; b < n_blocks; b += TILE_BLOCKS) {
        const size_t n = n_blocks - b < TILE_BLOCKS ? n_blocks - b : TILE_BLOCKS;
        for (size_t i = 0; i < n; i++)
            tile[i] = load_block(w + (b + i) * block_bytes, stride, block_bytes);
        for (size_t t = 0; t < c->n_tokens; t += 2) {
            const bool pair = t + 1 < c->n_tokens;
            const uint8_t *x = c->x + t * c->x_stride + (first + b) * sizeof(ds4_q32);
            __m256 sum[2] = { _mm256_load_ps(acc[t]), _mm256_load_ps(acc[t + pair]) };
            for (size_t i = 0; i < n; i++) {
                const ds4_q32 *x0 = (const ds4_q32 *)(const void *)x + i;
                const ds4_q32 *x1 = (const ds4_q32 *)(const void *)(x + pair * c->x_stride) + i;
                const ds4_q32 *const xb[2] = { x0, x1 };
                const int32_t *const sb[2] = { &sums->start[t][from + b + i],
                                               &sums->start[t + pair][from + b + i] };
                if (pair) block_sums(sum, &tile[i], xb, sb, 2, block_bytes == Q8_0_BYTES);
                else block_sums(sum, &tile[i], xb, sb, 1, block_bytes == Q8_0_BYTES);
            }
            _mm256_store_ps(acc[t], sum[0]);
            if (pair) _mm256_store_ps(acc[t + 1], sum[1]);
        }
    }
}

/* One segment of all rows; y is continued unless the segment is the first. */
INLINE void run_segment(const block_call *c, size_t first, size_t n_blocks, const act_sums *sums,
                        size_t block_bytes)
{
    _Alignas(32) float acc[MAX_TOKENS][TILE_ROWS], total[MAX_TOKENS][TILE_ROWS];
    uint8_t copy[TILE_ROWS * PART_BLOCKS * Q8_0_BYTES];

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t left = c->n_rows - r;
        float *y = c->y + r;
        for (size_t t = 0; t < c->n_tokens; t++)
            _mm256_store_ps(total[t],
                            first ? load8(y + t * c->y_stride, left) : _mm256_setzero_ps());
        for (size_t b = 0; b < n_blocks; b += PART_BLOCKS) {
            const size_t   n = n_blocks - b < PART_BLOCKS ? n_blocks - b : PART_BLOCKS;
            const uint8_t *w = c->w + r * c->w_stride + (first + b) * block_bytes;
            const size_t ahead =
                (r + TILE_ROWS) * c->w_stride + TILE_ROWS * (first + b) * block_bytes;
            size_t stride = c->w_stride;
            if (left < TILE_ROWS) {
                copy_part(copy, w, stride, left, n * block_bytes);
                w = copy;
                stride = n * block_bytes;
            }
            if (c->n_tokens == 1) {
                const ds4_q32 *x = (const ds4_q32 *)(const void *)c->x + first + b;
                _mm256_store_ps(acc[0], part_one_token(w, stride, block_bytes, x,
                                                       sums->start[0] + b, n, c->w, ahead));
            } else {
                part_tokens(acc, w, stride, c, first + b, n, sums, b, block_bytes);
            }
            for (size_t t = 0; t < c->n_tokens; t++)
                _mm256_store_ps(total[t],
                                _mm256_add_ps(_mm256_load_ps(total[t]), _mm256_load_ps(acc[t])));
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            store8(y + t * c->y_stride, left, _mm256_load_ps(total[t]));
    }
}

INLINE void run(const block_call *c, size_t block_bytes)
{
    act_sums sums;

    for (size_t b = 0; b < c->n_blocks; b += SEGMENT_BLOCKS) {
        const size_t n = c->n_blocks - b < SEGMENT_BLOCKS ? c->n_blocks - b : SEGMENT_BLOCKS;
        if (block_bytes == MXFP4_BYTES) sum_activations(&sums, c, b, n);
        run_segment(c, b, n, &sums, block_bytes);
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

void ds4_kernels_avx2_q32(ds4_kernels *k)
{
    k->matmul[DS4_Q8_0] = matmul_q8_0;
    k->matmul[DS4_MXFP4] = matmul_mxfp4;
}
