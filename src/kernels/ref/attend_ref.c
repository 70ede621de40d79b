/* attend_ref.c - attention over rows and scoring of indexer rows in plain C. */
#include "kernels/kernel_init.h"
#include "kernels/blocks.h"

enum { ATTEND_PART = 32 };      /* components summed together; n is a multiple of it */

/* Turn scores into weights; returns the reciprocal of the denominator. */
static double softmax_with_sink(float *score, size_t n_rows, float sink)
{
    double max = sink, sum;

    for (size_t r = 0; r < n_rows; r++)
        if (!(score[r] <= max)) max = score[r];         /* a NaN score spreads */
    sum = exp(sink - max);
    for (size_t r = 0; r < n_rows; r++) {
        score[r] = (float)exp(score[r] - max);
        sum += score[r];
    }
    return 1.0 / sum;
}

static void attend(float *out, const float *q, const float *const *rows, size_t n_rows,
                   uint32_t n_heads, uint32_t n, const float *sink, float scale, float *scores)
{
    for (uint32_t h = 0; h < n_heads; h++) {
        const float *qh = q + (size_t)h * n;
        float *score = scores + h * n_rows;

        for (size_t r = 0; r < n_rows; r++) {
            double sum = 0.0;
            for (uint32_t d = 0; d < n; d++) sum += (double)qh[d] * rows[r][d];
            score[r] = (float)(sum * scale);
        }
        const double inv = softmax_with_sink(score, n_rows, sink[h]);
        for (uint32_t d = 0; d < n; d += ATTEND_PART) {
            double sum[ATTEND_PART] = { 0 };
            for (size_t r = 0; r < n_rows; r++)
                for (int i = 0; i < ATTEND_PART; i++) sum[i] += (double)score[r] * rows[r][d + i];
            for (int i = 0; i < ATTEND_PART; i++)
                out[(size_t)h * n + d + i] = (float)(sum[i] * inv);
        }
    }
}

static double dot_packed(const uint8_t *a, const uint8_t *b, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t g = 0; g < n / 32; g++) {
        int part = 0;           /* four times the sum of products, |part| <= 32 * 144 */
        for (uint32_t i = 16 * g; i < 16 * g + 16; i++) {
            part += e2m1_twice(a[i] & 15) * e2m1_twice(b[i] & 15);
            part += e2m1_twice(a[i] >> 4) * e2m1_twice(b[i] >> 4);
        }
        sum += 0.25 * part * e8m0_to_float(a[n / 2 + g]) * e8m0_to_float(b[n / 2 + g]);
    }
    return sum;
}

/* One query, rows one behind the other. */
static void score_part(float *score, const void *query, const float *weight, uint32_t n_heads,
                       const void *rows, size_t n_rows, uint32_t n)
{
    const size_t bytes = ds4_index_row_bytes(n);

    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *row = (const uint8_t *)rows + r * bytes;
        double sum = 0.0;
        for (uint32_t h = 0; h < n_heads; h++) {
            const double dot = dot_packed((const uint8_t *)query + h * bytes, row, n);
            sum += weight[h] * (dot < 0.0 ? 0.0 : dot);     /* NaN stays */
        }
        score[r] = (float)sum;
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

static size_t above(uint32_t *index, const float *x, size_t n, float limit)
{
    size_t n_out = 0;

    for (size_t i = 0; i < n; i++)
        if (!(x[i] <= limit)) index[n_out++] = (uint32_t)i;
    return n_out;
}

void ds4_kernels_ref_attend(ds4_kernels *k)
{
    k->attend = attend;
    k->index_score = index_score;
    k->above = above;
}
