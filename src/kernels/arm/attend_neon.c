/* attend_neon.c - attention over rows and scoring of indexer rows for NEON.
 *
 * As x86/attend_avx512.c with smaller tiles: two heads by four rows, four heads by 16
 * components. Every output has its own chain, whatever tile it is in. */
#include "kernels/arm/tile_neon.h"
#include "kernels/kernel_init.h"

enum {
    SCORE_HEADS = 2,
    HEADS = 4,
    ROW_CHAIN = 128,            /* rows of one float chain of the weighted sum */
    INDEX_VALUES = 128,         /* the longest indexer row */
    INDEX_TILES = 16,           /* query tiles of 4 heads scored in one pass */
};

/* ---- scores --------------------------------------------------------------------------- */

/* out[4h + r]: scores of two heads and four rows; two vectors of partial sums each. */
INLINE void score_tile(float out[8], const float *const q[SCORE_HEADS], const float *const row[4],
                       uint32_t n)
{
    float32x4_t sum[8][2];

    UNROLL
    for (int i = 0; i < 8; i++) sum[i][0] = sum[i][1] = vdupq_n_f32(0.0f);
    for (uint32_t d = 0; d < n; d += 8) {
        UNROLL
        for (int p = 0; p < 2; p++) {
            float32x4_t qv[SCORE_HEADS];
            UNROLL
            for (int h = 0; h < SCORE_HEADS; h++) qv[h] = vld1q_f32(q[h] + d + 4 * p);
            UNROLL
            for (int r = 0; r < 4; r++) {
                const float32x4_t rv = vld1q_f32(row[r] + d + 4 * p);
                UNROLL
                for (int h = 0; h < SCORE_HEADS; h++)
                    sum[4 * h + r][p] = vfmaq_f32(sum[4 * h + r][p], qv[h], rv);
            }
        }
    }
    UNROLL
    for (int i = 0; i < 8; i++) out[i] = vaddvq_f32(vaddq_f32(sum[i][0], sum[i][1]));
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

/* Turn scores into weights that with the sink's weight add up to one. */
static void softmax_with_sink(float *score, size_t n_rows, float sink)
{
    float32x4_t sum = vdupq_n_f32(0.0f);
    float max = sink;

    for (size_t r = 0; r < n_rows; r++)
        if (!(score[r] <= max)) max = score[r];
    const float32x4_t mv = vdupq_n_f32(max);
    for (size_t r = 0; r < n_rows; r += 4) {
        const size_t n = n_rows - r;
        float        copy[4] = { 0 };
        float32x4_t  e = exp4(vsubq_f32(load4(score + r, n), mv));
        store4(score + r, n, e);
        if (n < 4) {                    /* lanes behind the end must not count */
            memcpy(copy, score + r, n * sizeof(float));
            e = vld1q_f32(copy);
        }
        sum = vaddq_f32(sum, e);
    }
    const float of_sink = vgetq_lane_f32(exp4(vdupq_n_f32(sink - max)), 0);
    const float32x4_t inv = vdupq_n_f32(1.0f / (of_sink + vaddvq_f32(sum)));
    for (size_t r = 0; r < n_rows; r += 4)
        store4(score + r, n_rows - r, vmulq_f32(load4(score + r, n_rows - r), inv));
}

/* ---- weighted sum --------------------------------------------------------------------- */

/* out[h][0..16) += sum over n_rows rows of weight[h][r] * row[r][d..]; first starts at 0. */
INLINE void weigh_tile(float *const out[HEADS], const float *const weight[HEADS],
                       const float *const *rows, uint32_t d, size_t n_rows, bool first)
{
    float32x4_t sum[HEADS][4];

    UNROLL
    for (int i = 0; i < 4 * HEADS; i++) sum[i >> 2][i & 3] = vdupq_n_f32(0.0f);
    for (size_t r = 0; r < n_rows; r++) {
        float32x4_t rv[4];
        UNROLL
        for (int i = 0; i < 4; i++) rv[i] = vld1q_f32(rows[r] + d + 4 * i);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const float32x4_t w = vdupq_n_f32(weight[h][r]);
            UNROLL
            for (int i = 0; i < 4; i++) sum[h][i] = vfmaq_f32(sum[h][i], w, rv[i]);
        }
    }
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int i = 0; i < 4; i++) {
            float *o = out[h] + 4 * i;
            vst1q_f32(o, first ? sum[h][i] : vaddq_f32(vld1q_f32(o), sum[h][i]));
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

/* Four query heads side by side: twice the values, and a quarter of the scales. */
typedef struct query_tile {
    int8x16_t   w[INDEX_VALUES / 4];
    float32x4_t scale[INDEX_VALUES / 32];
    float32x4_t weight;
} query_tile;

/* Twice the 32 values of 16 bytes of codes. */
INLINE void expand_codes(int8x16_t out[2], const uint8_t *code)
{
    static const int8_t twice[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    const int8x16_t  table = vld1q_s8(twice);
    const uint8x16_t pairs = vld1q_u8(code);
    const int8x16_t  low = vqtbl1q_s8(table, vandq_u8(pairs, vdupq_n_u8(15)));
    const int8x16_t  high = vqtbl1q_s8(table, vshrq_n_u8(pairs, 4));
    out[0] = vzip1q_s8(low, high);
    out[1] = vzip2q_s8(low, high);
}

static void load_query(query_tile *t, const uint8_t *query, const float *weight, uint32_t n_heads,
                       uint32_t n)
{
    const size_t bytes = n / 2 + n / 32;
    uint8_t value[TILE_ROWS][INDEX_VALUES] = { { 0 } };
    float   scale[INDEX_VALUES / 32][TILE_ROWS] = { { 0 } };

    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t g = 0; g < n / 32; g++) {
            int8x16_t v[2];
            expand_codes(v, query + h * bytes + 16 * g);
            vst1q_u8(value[h] + 32 * g, vreinterpretq_u8_s8(v[0]));
            vst1q_u8(value[h] + 32 * g + 16, vreinterpretq_u8_s8(v[1]));
            scale[g][h] = 0.25f * e8m0_to_float(query[h * bytes + n / 2 + g]);
        }
    }
    for (uint32_t i = 0; i < n / 16; i++) {
        uint8x16_t v[4];
        load_columns(v, value[0] + 16 * i, INDEX_VALUES);
        for (int j = 0; j < 4; j++) t->w[4 * i + (uint32_t)j] = vreinterpretq_s8_u8(v[j]);
    }
    for (uint32_t g = 0; g < n / 32; g++) t->scale[g] = vld1q_f32(scale[g]);
    t->weight = load4(weight, n_heads);
}

/* The weighted scores of one row against the four heads of a tile. vmaxq keeps NaN. */
INLINE float32x4_t score_index_tile(float32x4_t score, const query_tile *t, const int8x16_t *row,
                                    const float *scale, uint32_t n_groups)
{
    float32x4_t dot = vdupq_n_f32(0.0f);

    for (uint32_t g = 0; g < n_groups; g++) {
        const int8x16_t *w = t->w + 8 * g, a = row[2 * g], b = row[2 * g + 1];
        int32x4_t s0 = vdupq_n_s32(0), s1 = vdupq_n_s32(0);
        s0 = vdotq_laneq_s32(s0, w[0], a, 0);
        s1 = vdotq_laneq_s32(s1, w[4], b, 0);
        s0 = vdotq_laneq_s32(s0, w[1], a, 1);
        s1 = vdotq_laneq_s32(s1, w[5], b, 1);
        s0 = vdotq_laneq_s32(s0, w[2], a, 2);
        s1 = vdotq_laneq_s32(s1, w[6], b, 2);
        s0 = vdotq_laneq_s32(s0, w[3], a, 3);
        s1 = vdotq_laneq_s32(s1, w[7], b, 3);
        const float32x4_t scaled = vmulq_f32(vcvtq_f32_s32(vaddq_s32(s0, s1)), t->scale[g]);
        dot = vfmaq_f32(dot, scaled, vdupq_n_f32(scale[g]));
    }
    return vfmaq_f32(score, t->weight, vmaxq_f32(vdupq_n_f32(0.0f), dot));
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
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *p = (const uint8_t *)rows + r * bytes;
            int8x16_t   row[INDEX_VALUES / 16];
            float       scale[INDEX_VALUES / 32];
            float32x4_t sum = vdupq_n_f32(0.0f);
            for (uint32_t g = 0; g < n / 32; g++) {
                expand_codes(row + 2 * g, p + 16 * g);
                scale[g] = e8m0_to_float(p[n / 2 + g]);
            }
            for (uint32_t i = 0; i < n_tiles; i++)
                sum = score_index_tile(sum, &tile[i], row, scale, n / 32);
            score[r] = first ? score[r] + vaddvq_f32(sum) : vaddvq_f32(sum);
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

void ds4_kernels_neon_attend(ds4_kernels *k)
{
    k->attend = attend;
    k->index_score = index_score;
}
