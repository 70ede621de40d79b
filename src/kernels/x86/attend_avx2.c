/* attend_avx2.c - attention over rows and scoring of indexer rows for AVX2.
 *
 * As attend_avx512.c with smaller tiles: two heads by four rows, four heads by 16
 * components. Every output has its own chain, whatever tile it is in. */
#include "kernels/x86/tile_avx2.h"
#include "kernels/kernel_init.h"

enum {
    SCORE_HEADS = 2,
    HEADS = 4,
    ROW_CHAIN = 128,            /* rows of one float chain of the weighted sum */
    INDEX_VALUES = 128,         /* the longest indexer row */
    INDEX_TILES = 16,           /* query tiles of 8 heads scored in one pass */
    INDEX_ROWS = 2,
};

/* ---- scores --------------------------------------------------------------------------- */

INLINE float sum_vector(__m256 v)
{
    return sum_lanes(v, _mm256_setzero_ps());
}

/* out[4h + r]: scores of two heads and four rows. */
INLINE void score_tile(float out[8], const float *const q[SCORE_HEADS], const float *const row[4],
                       uint32_t n)
{
    __m256 sum[8];

    UNROLL
    for (int i = 0; i < 8; i++) sum[i] = _mm256_setzero_ps();
    for (uint32_t d = 0; d < n; d += 8) {
        __m256 qv[SCORE_HEADS];
        UNROLL
        for (int h = 0; h < SCORE_HEADS; h++) qv[h] = _mm256_loadu_ps(q[h] + d);
        UNROLL
        for (int r = 0; r < 4; r++) {
            const __m256 rv = _mm256_loadu_ps(row[r] + d);
            UNROLL
            for (int h = 0; h < SCORE_HEADS; h++)
                sum[4 * h + r] = _mm256_fmadd_ps(qv[h], rv, sum[4 * h + r]);
        }
    }
    UNROLL
    for (int i = 0; i < 8; i++) out[i] = sum_vector(sum[i]);
}

static void score_rows(float *scores, const float *q, const float *const *rows, size_t n_rows,
                       uint32_t n_heads, uint32_t n, float scale)
{
    for (size_t r = 0; r < n_rows; r += 4) {
        const size_t left = n_rows - r < 4 ? n_rows - r : 4;
        const float *row[4];
        for (size_t i = 0; i < 4; i++) row[i] = rows[r + (i < left ? i : 0)];
        for (uint32_t h = 0; h < n_heads; h += SCORE_HEADS) {
            const uint32_t heads = n_heads - h < SCORE_HEADS ? n_heads - h : SCORE_HEADS;
            const float *qh[SCORE_HEADS] = { q + (size_t)h * n, q + (size_t)(h + heads - 1) * n };
            float out[8];
            score_tile(out, qh, row, n);
            for (uint32_t i = 0; i < heads; i++)
                for (size_t j = 0; j < left; j++)
                    scores[(h + i) * n_rows + r + j] = out[4 * i + j] * scale;
        }
    }
}

INLINE float max_vector(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* Turn scores into weights that with the sink's weight add up to one. */
static void softmax_with_sink(float *score, size_t n_rows, float sink)
{
    __m256 max = _mm256_set1_ps(sink), sum = _mm256_setzero_ps();

    for (size_t r = 0; r < n_rows; r += 8) {
        const size_t n = n_rows - r;
        const __m256 v = load8(score + r, n);
        const __m256 in = _mm256_castsi256_ps(tail_mask(n));
        max = _mm256_max_ps(max, _mm256_blendv_ps(max, v, in));
    }
    max = _mm256_set1_ps(max_vector(max));
    for (size_t r = 0; r < n_rows; r += 8) {
        const size_t n = n_rows - r;
        const __m256 e = exp8(_mm256_sub_ps(load8(score + r, n), max));
        store8(score + r, n, e);
        sum = _mm256_add_ps(sum, _mm256_and_ps(e, _mm256_castsi256_ps(tail_mask(n))));
    }
    const float of_sink = _mm256_cvtss_f32(exp8(_mm256_sub_ps(_mm256_set1_ps(sink), max)));
    const __m256 inv = _mm256_set1_ps(1.0f / (of_sink + sum_vector(sum)));
    for (size_t r = 0; r < n_rows; r += 8)
        store8(score + r, n_rows - r, _mm256_mul_ps(load8(score + r, n_rows - r), inv));
}

/* ---- weighted sum --------------------------------------------------------------------- */

/* out[h][0..16) += sum over n_rows rows of weight[h][r] * row[r][d..]; first starts at 0. */
INLINE void weigh_tile(float *const out[HEADS], const float *const weight[HEADS],
                       const float *const *rows, uint32_t d, size_t n_rows, bool first)
{
    __m256 sum[HEADS][2];

    UNROLL
    for (int h = 0; h < HEADS; h++) sum[h][0] = sum[h][1] = _mm256_setzero_ps();
    for (size_t r = 0; r < n_rows; r++) {
        const __m256 r0 = _mm256_loadu_ps(rows[r] + d), r1 = _mm256_loadu_ps(rows[r] + d + 8);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const __m256 w = _mm256_set1_ps(weight[h][r]);
            sum[h][0] = _mm256_fmadd_ps(w, r0, sum[h][0]);
            sum[h][1] = _mm256_fmadd_ps(w, r1, sum[h][1]);
        }
    }
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            float *o = out[h] + 8 * i;
            _mm256_storeu_ps(o, first ? sum[h][i] : _mm256_add_ps(_mm256_loadu_ps(o), sum[h][i]));
        }
    }
}

/* Unused heads of the last tile write to spare. */
static void weigh_rows(float *out, const float *scores, const float *const *rows, size_t n_rows,
                       uint32_t n_heads, uint32_t n)
{
    float spare[16];

    for (uint32_t d = 0; d < n; d += 16) {
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
                weigh_tile(o, w, rows + r, d, left, r == 0);
            }
        }
    }
}

static void attend(float *out, const float *q, const float *const *rows, size_t n_rows,
                   uint32_t n_heads, uint32_t n, const float *sink, float scale, float *scores)
{
    score_rows(scores, q, rows, n_rows, n_heads, n, scale);
    for (uint32_t h = 0; h < n_heads; h++) softmax_with_sink(scores + h * n_rows, n_rows, sink[h]);
    weigh_rows(out, scores, rows, n_rows, n_heads, n);
}

/* ---- indexer -------------------------------------------------------------------------- */

/* Eight query heads side by side: twice the values plus 12, and a quarter of the scales. */
typedef struct query_tile {
    __m256i w[INDEX_VALUES / 4];
    __m256  scale[INDEX_VALUES / 32];
    __m256  weight;
} query_tile;

/* A row: twice its values, the scales, and -12 * the sum of each 32 of those. */
typedef struct index_row {
    int8_t  value[INDEX_VALUES];
    float   scale[INDEX_VALUES / 32];
    int32_t start[INDEX_VALUES / 32];
} index_row;

/* The 32 values of 16 bytes of codes. */
INLINE __m256i expand_codes(const uint8_t *code, __m128i table)
{
    const __m128i pairs = _mm_loadu_si128((const void *)code), nibbles = _mm_set1_epi8(15);
    const __m128i low = _mm_and_si128(pairs, nibbles),
                  high = _mm_and_si128(_mm_srli_epi16(pairs, 4), nibbles);
    const __m256i all = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_unpacklo_epi8(low, high)), _mm_unpackhi_epi8(low, high), 1);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), all);
}

static void load_query(query_tile *t, const uint8_t *query, const float *weight, uint32_t n_heads,
                       uint32_t n)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    const size_t  bytes = n / 2 + n / 32;
    _Alignas(32) uint8_t value[TILE_ROWS][INDEX_VALUES];
    float scale[INDEX_VALUES / 32][TILE_ROWS] = { { 0 } };

    memset(value, 12, sizeof value);
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t g = 0; g < n / 32; g++) {
            _mm256_store_si256((void *)(value[h] + 32 * g),
                               expand_codes(query + h * bytes + 16 * g, table));
            scale[g][h] = 0.25f * e8m0_to_float(query[h * bytes + n / 2 + g]);
        }
    }
    for (uint32_t i = 0; i < n / 16; i++)
        load_columns(t->w + 4 * i, value[0] + 16 * i, INDEX_VALUES);
    for (uint32_t g = 0; g < n / 32; g++) t->scale[g] = _mm256_loadu_ps(scale[g]);
    t->weight = load8(weight, n_heads);
}

INLINE void load_row(index_row *row, const uint8_t *p, uint32_t n)
{
    const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    for (uint32_t g = 0; g < n / 32; g++) {
        const __m256i v = expand_codes(p + 16 * g, table);
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(12), v);
        const __m256i s = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
        const __m128i four =
            _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
        const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
        _mm256_storeu_si256((void *)(row->value + 32 * g), v);
        row->start[g] = -(_mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1));
        row->scale[g] = e8m0_to_float(p[n / 2 + g]);
    }
}

/* score[r] of two rows += the weighted sums over the heads of one tile, lane by lane. Eight
 * pairs of products reach 8 * 2 * 24 * 12 = 4608, inside int16. */
INLINE void score_index_tile(__m256 score[INDEX_ROWS], const query_tile *t, const index_row *row,
                             uint32_t n_groups)
{
    __m256 dot[INDEX_ROWS];

    UNROLL
    for (int r = 0; r < INDEX_ROWS; r++) dot[r] = _mm256_setzero_ps();
    for (uint32_t g = 0; g < n_groups; g++) {
        __m256i pairs[INDEX_ROWS];
        UNROLL
        for (int r = 0; r < INDEX_ROWS; r++) pairs[r] = _mm256_setzero_si256();
        UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const __m256i w = t->w[8 * g + j];
            UNROLL
            for (int r = 0; r < INDEX_ROWS; r++)
                pairs[r] = _mm256_add_epi16(
                    pairs[r], _mm256_maddubs_epi16(w, broadcast4(row[r].value + 32 * g + 4 * j)));
        }
        UNROLL
        for (int r = 0; r < INDEX_ROWS; r++) {
            const __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(pairs[r], _mm256_set1_epi16(1)),
                                                 _mm256_set1_epi32(row[r].start[g]));
            const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), t->scale[g]);
            dot[r] = _mm256_fmadd_ps(scaled, _mm256_set1_ps(row[r].scale[g]), dot[r]);
        }
    }
    UNROLL
    for (int r = 0; r < INDEX_ROWS; r++)       /* max returns its second operand when that is NaN */
        score[r] = _mm256_fmadd_ps(t->weight, _mm256_max_ps(_mm256_setzero_ps(), dot[r]), score[r]);
}

/* One query, rows one behind the other. */
static void score_part(float *score, const void *query, const float *weight, uint32_t n_heads,
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
            __m256    sum[INDEX_ROWS];
            for (size_t i = 0; i < INDEX_ROWS; i++) {
                sum[i] = _mm256_setzero_ps();
                load_row(&row[i], (const uint8_t *)rows + (r + (i < left ? i : 0)) * bytes, n);
            }
            for (uint32_t i = 0; i < n_tiles; i++) score_index_tile(sum, &tile[i], row, n / 32);
            for (size_t i = 0; i < left; i++)
                score[r + i] = first ? score[r + i] + sum_vector(sum[i]) : sum_vector(sum[i]);
        }
    }
}

static void index_score(float *score, size_t stride, const ds4_index_batch *b)
{
    for (uint32_t i = 0; i < b->n_queries; i++) {
        for (size_t r = 0; r < b->n_rows; r += DS4_INDEX_PART) {
            const size_t n = b->n_rows - r < DS4_INDEX_PART ? b->n_rows - r : DS4_INDEX_PART;
            score_part(score + i * stride + r, (const uint8_t *)b->query + i * b->query_stride,
                       b->weight + i * b->weight_stride, b->n_heads, b->rows[r / DS4_INDEX_PART], n,
                       b->n);
        }
    }
}

/* Few are above: eight at a time are looked at, and those of a hit one by one. */
static size_t above(uint32_t *index, const float *x, size_t n, float limit)
{
    const __m256 bound = _mm256_set1_ps(limit);
    size_t       n_out = 0, i = 0;

    for (; i + 8 <= n; i += 8) {
        unsigned found = (unsigned)_mm256_movemask_ps(
            _mm256_cmp_ps(_mm256_loadu_ps(x + i), bound, _CMP_NLE_UQ));
        for (; found; found &= found - 1) index[n_out++] = (uint32_t)i + (uint32_t)__builtin_ctz(found);
    }
    for (; i < n; i++)
        if (!(x[i] <= limit)) index[n_out++] = (uint32_t)i;
    return n_out;
}

void ds4_kernels_avx2_attend(ds4_kernels *k)
{
    k->attend = attend;
    k->index_score = index_score;
    k->above = above;
}
