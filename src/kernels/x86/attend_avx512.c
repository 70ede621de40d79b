/* attend_avx512.c - attention over rows and scoring of indexer rows for AVX-512.
 *
 * All heads share the rows, so both are matrix products: tiles of four heads by four rows,
 * and four heads by 64 components. Every output has its own chain, whatever tile it is in. */
#include "kernels/x86/tile_avx512.h"
#include "kernels/kernel_init.h"

enum {
    HEADS = 4,
    ROW_CHAIN = 128,            /* rows of one float chain of the weighted sum */
    INDEX_VALUES = 128,         /* the longest indexer row */
    INDEX_TILES = 16,           /* query tiles of 16 heads scored in one pass */
    INDEX_ROWS = 4,
};

/* ---- scores --------------------------------------------------------------------------- */

/* Lane i of the result is the sum of the lanes of v[i], added in the order of sum_lanes(). */
INLINE __m512 sum_lanes16(const __m512 v[16])
{
    __m256 a[8];
    __m128 b[4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        __m128 s[4];
        UNROLL
        for (int j = 0; j < 4; j++) {
            const __m512 x = v[4 * i + j];
            const __m256 s8 =
                _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
            s[j] = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
        }
        const __m128 lo01 = _mm_unpacklo_ps(s[0], s[1]), hi01 = _mm_unpackhi_ps(s[0], s[1]);
        const __m128 lo23 = _mm_unpacklo_ps(s[2], s[3]), hi23 = _mm_unpackhi_ps(s[2], s[3]);
        const __m128 s01 = _mm_add_ps(lo01, hi01), s23 = _mm_add_ps(lo23, hi23);
        b[i] = _mm_add_ps(_mm_movelh_ps(s01, s23), _mm_movehl_ps(s23, s01));
    }
    a[0] = _mm256_insertf128_ps(_mm256_castps128_ps256(b[0]), b[1], 1);
    a[1] = _mm256_insertf128_ps(_mm256_castps128_ps256(b[2]), b[3], 1);
    return _mm512_insertf32x8(_mm512_castps256_ps512(a[0]), a[1], 1);
}

/* scores of four heads and four rows: lane 4h + r. */
INLINE __m512 score_tile(const float *const q[HEADS], const float *const row[4], uint32_t n)
{
    __m512 sum[16];

    UNROLL
    for (int i = 0; i < 16; i++) sum[i] = _mm512_setzero_ps();
    for (uint32_t d = 0; d < n; d += 16) {
        __m512 rv[4];
        UNROLL
        for (int r = 0; r < 4; r++) rv[r] = _mm512_loadu_ps(row[r] + d);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const __m512 qv = _mm512_loadu_ps(q[h] + d);
            UNROLL
            for (int r = 0; r < 4; r++) sum[4 * h + r] = _mm512_fmadd_ps(qv, rv[r], sum[4 * h + r]);
        }
    }
    return sum_lanes16(sum);
}

static void score_rows(float *scores, const float *q, const float *const *rows, size_t n_rows,
                       uint32_t n_heads, uint32_t n, float scale)
{
    for (size_t r = 0; r < n_rows; r += 4) {
        const size_t left = n_rows - r < 4 ? n_rows - r : 4;
        const float *row[4];
        for (size_t i = 0; i < 4; i++) row[i] = rows[r + (i < left ? i : 0)];
        for (uint32_t h = 0; h < n_heads; h += HEADS) {
            const uint32_t heads = n_heads - h < HEADS ? n_heads - h : HEADS;
            const float *qh[HEADS];
            float out[16];
            for (uint32_t i = 0; i < HEADS; i++) qh[i] = q + (size_t)(h + (i < heads ? i : 0)) * n;
            _mm512_storeu_ps(out, _mm512_mul_ps(score_tile(qh, row, n), _mm512_set1_ps(scale)));
            for (uint32_t i = 0; i < heads; i++)
                memcpy(scores + (h + i) * n_rows + r, out + 4 * i, left * sizeof(float));
        }
    }
}

/* Turn scores into weights; returns the reciprocal of the denominator. */
static float softmax_with_sink(float *score, size_t n_rows, float sink)
{
    __m512 max = _mm512_set1_ps(sink), sum = _mm512_setzero_ps();

    for (size_t r = 0; r < n_rows; r += 16) {
        const __mmask16 mask = tail_mask(n_rows - r);
        max = _mm512_mask_max_ps(max, mask, max, _mm512_maskz_loadu_ps(mask, score + r));
    }
    max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    for (size_t r = 0; r < n_rows; r += 16) {
        const __mmask16 mask = tail_mask(n_rows - r);
        const __m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, score + r), max));
        _mm512_mask_storeu_ps(score + r, mask, e);
        sum = _mm512_mask_add_ps(sum, mask, sum, e);
    }
    const float of_sink = _mm512_cvtss_f32(exp16(_mm512_sub_ps(_mm512_set1_ps(sink), max)));
    return 1.0f / (of_sink + sum_lanes(sum));
}

/* ---- weighted sum --------------------------------------------------------------------- */

/* out[h][0..16 * n_vec) += sum over n_rows rows of weight[h][r] * row[r][d..]; first starts
 * at 0. */
INLINE void weigh_tile(float *const out[HEADS], const float *const weight[HEADS],
                       const float *const *rows, uint32_t d, size_t n_rows, bool first,
                       const int n_vec)
{
    __m512 sum[HEADS][4];

    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int i = 0; i < n_vec; i++) sum[h][i] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < n_rows; r++) {
        __m512 rv[4];
        UNROLL
        for (int i = 0; i < n_vec; i++) rv[i] = _mm512_loadu_ps(rows[r] + d + 16 * i);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const __m512 w = _mm512_set1_ps(weight[h][r]);
            UNROLL
            for (int i = 0; i < n_vec; i++) sum[h][i] = _mm512_fmadd_ps(w, rv[i], sum[h][i]);
        }
    }
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int i = 0; i < n_vec; i++) {
            float *o = out[h] + 16 * i;
            _mm512_storeu_ps(o, first ? sum[h][i] : _mm512_add_ps(_mm512_loadu_ps(o), sum[h][i]));
        }
    }
}

/* Unused heads of the last tile write to spare. */
static void weigh_rows(float *out, const float *scores, const float *const *rows, size_t n_rows,
                       uint32_t n_heads, uint32_t n)
{
    float spare[64];

    for (uint32_t d = 0; d < n; d += 64) {
        for (uint32_t h = 0; h < n_heads; h += HEADS) {
            float *o[HEADS];
            const float *weight[HEADS];
            for (uint32_t i = 0; i < HEADS; i++) {
                const bool real = h + i < n_heads;
                o[i] = real ? out + (size_t)(h + i) * n + d : spare;
                weight[i] = scores + (h + (real ? i : 0)) * n_rows;
            }
            for (size_t r = 0; r < n_rows; r += ROW_CHAIN) {
                const size_t left = n_rows - r < ROW_CHAIN ? n_rows - r : ROW_CHAIN;
                const float *w[HEADS];
                for (int i = 0; i < HEADS; i++) w[i] = weight[i] + r;
                if (n - d >= 64) weigh_tile(o, w, rows + r, d, left, r == 0, 4);
                else weigh_tile(o, w, rows + r, d, left, r == 0, 2);
            }
        }
    }
}

static void attend(float *out, const float *q, const float *const *rows, size_t n_rows,
                   uint32_t n_heads, uint32_t n, const float *sink, float scale, float *scores)
{
    score_rows(scores, q, rows, n_rows, n_heads, n, scale);
    for (uint32_t h = 0; h < n_heads; h++) {
        const float inv = softmax_with_sink(scores + h * n_rows, n_rows, sink[h]);
        for (size_t r = 0; r < n_rows; r += 16) {
            const __mmask16 mask = tail_mask(n_rows - r);
            float *s = scores + h * n_rows + r;
            _mm512_mask_storeu_ps(
                s, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, s), _mm512_set1_ps(inv)));
        }
    }
    weigh_rows(out, scores, rows, n_rows, n_heads, n);
}

/* ---- indexer -------------------------------------------------------------------------- */

/* Sixteen query heads side by side: twice the values plus 12, and a quarter of the scales. */
typedef struct query_tile {
    __m512i w[INDEX_VALUES / 4];
    __m512  scale[INDEX_VALUES / 32];
    __m512  weight;
} query_tile;

/* A row: twice its values, the scales, and -12 * the sum of each 32 of those. */
typedef struct index_row {
    int8_t  value[INDEX_VALUES];
    float   scale[INDEX_VALUES / 32];
    int32_t start[INDEX_VALUES / 32];
} index_row;

INLINE __m512i expand_codes(const uint8_t *code, __m128i table)
{
    const __m256i pairs = _mm256_loadu_si256((const void *)code), nibbles = _mm256_set1_epi8(15);
    const __m256i low = _mm256_and_si256(pairs, nibbles);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), nibbles);
    const __m256i even = _mm256_unpacklo_epi8(low, high), odd = _mm256_unpackhi_epi8(low, high);
    const __m512i all =
        _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_permute2x128_si256(even, odd, 0x20)),
                           _mm256_permute2x128_si256(even, odd, 0x31), 1);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), all);
}

static void load_query(query_tile *t, const uint8_t *query, const float *weight, uint32_t n_heads,
                       uint32_t n)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    const size_t  bytes = n / 2 + n / 32;
    _Alignas(64) uint8_t value[TILE_ROWS][INDEX_VALUES];
    float scale[INDEX_VALUES / 32][TILE_ROWS] = { { 0 } };

    memset(value, 12, sizeof value);
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t i = 0; i < n; i += 64)
            _mm512_store_si512(value[h] + i, expand_codes(query + h * bytes + i / 2, table));
        for (uint32_t g = 0; g < n / 32; g++)
            scale[g][h] = 0.25f * e8m0_to_float(query[h * bytes + n / 2 + g]);
    }
    for (uint32_t i = 0; i < n / 16; i++)
        load_columns(t->w + 4 * i, value[0] + 16 * i, INDEX_VALUES);
    for (uint32_t g = 0; g < n / 32; g++) t->scale[g] = _mm512_loadu_ps(scale[g]);
    t->weight = _mm512_maskz_loadu_ps(tail_mask(n_heads), weight);
}

INLINE void load_row(index_row *row, const uint8_t *p, uint32_t n)
{
    const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    for (uint32_t i = 0; i < n; i += 64) {
        const __m512i v = expand_codes(p + i / 2, table);
        const __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(12), v);
        _mm512_storeu_si512(row->value + i, v);
        row->start[i / 32] = -_mm512_mask_reduce_add_epi32(0x00ff, s);
        row->start[i / 32 + 1] = -_mm512_mask_reduce_add_epi32(0xff00, s);
    }
    for (uint32_t g = 0; g < n / 32; g++) row->scale[g] = e8m0_to_float(p[n / 2 + g]);
}

/* score[r] of n_r rows += the weighted sums over the heads of one tile, lane by lane. */
INLINE void score_index_tile(__m512 score[INDEX_ROWS], const query_tile *t, const index_row *row,
                             uint32_t n_groups, const int n_r)
{
    __m512 dot[INDEX_ROWS];

    UNROLL
    for (int r = 0; r < n_r; r++) dot[r] = _mm512_setzero_ps();
    for (uint32_t g = 0; g < n_groups; g++) {
        __m512i part[INDEX_ROWS];
        UNROLL
        for (int r = 0; r < n_r; r++) part[r] = _mm512_set1_epi32(row[r].start[g]);
        UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const __m512i w = t->w[8 * g + j];
            UNROLL
            for (int r = 0; r < n_r; r++)
                part[r] =
                    _mm512_dpbusd_epi32(part[r], w, broadcast4(row[r].value + 32 * g + 4 * j));
        }
        UNROLL
        for (int r = 0; r < n_r; r++) {
            const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(part[r]), t->scale[g]);
            dot[r] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(row[r].scale[g]), dot[r]);
        }
    }
    UNROLL
    for (int r = 0; r < n_r; r++)       /* max returns its second operand when that is NaN */
        score[r] = _mm512_fmadd_ps(t->weight, _mm512_max_ps(_mm512_setzero_ps(), dot[r]), score[r]);
}

static void index_score(float *score, const void *query, const float *weight, uint32_t n_heads,
                        const void *rows, size_t n_rows, uint32_t n)
{
    const size_t bytes = ds4_index_row_bytes(n);

    for (uint32_t first = 0; first < n_heads; first += INDEX_TILES * TILE_ROWS) {
        query_tile tile[INDEX_TILES];
        uint32_t   n_tiles = 0;

        for (uint32_t h = first; h < n_heads && n_tiles < INDEX_TILES; h += TILE_ROWS) {
            const uint32_t heads = n_heads - h < TILE_ROWS ? n_heads - h : TILE_ROWS;
            load_query(&tile[n_tiles++], (const uint8_t *)query + h * bytes, weight + h, heads, n);
        }
        for (size_t r = 0; r < n_rows; r += INDEX_ROWS) {
            const size_t left = n_rows - r < INDEX_ROWS ? n_rows - r : INDEX_ROWS;
            index_row row[INDEX_ROWS];
            __m512    sum[INDEX_ROWS];
            for (size_t i = 0; i < INDEX_ROWS; i++) {
                sum[i] = _mm512_setzero_ps();
                load_row(&row[i], (const uint8_t *)rows + (r + (i < left ? i : 0)) * bytes, n);
            }
            for (uint32_t i = 0; i < n_tiles; i++)
                score_index_tile(sum, &tile[i], row, n / 32, INDEX_ROWS);
            for (size_t i = 0; i < left; i++)
                score[r + i] = first ? score[r + i] + sum_lanes(sum[i]) : sum_lanes(sum[i]);
        }
    }
}

void ds4_kernels_avx512_attend(ds4_kernels *k)
{
    k->attend = attend;
    k->index_score = index_score;
}
