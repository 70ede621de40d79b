/* ops_attend.c - the indexer's choice and attention: docs/MODEL.md 3.6 and 3.9. */
#include "ops/ops_sessions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the indexer ------------------------------------------------------------------------------------- */

void ops_index_query(ops *o)
{
    const uint32_t n = o->shape->n_index, n_heads = o->shape->index_heads, n_rot = o->shape->n_rot;
    state         *s = ops_memory(o, sizeof *s);
    double         want[1024];
    uint8_t        record[4096];

    ops_make_state(o, s);
    ops_array       *q = ops_floats(o, (uint64_t)o->n_tokens * n_heads * n);
    const ops_array *angles = ops_make_angles(o);
    ops_array       *packed = ops_room(o, o->n_tokens * n_heads * o->kv.irow_bytes);
    ops_run(o, (ds4_op){ .kind = DS4_OP_INDEX_QUERY,
                         .index_query = { .n_heads = n_heads,
                                          .n = n,
                                          .n_rot = n_rot,
                                          .angles = ops_rows(angles, n_rot),
                                          .q = ops_rows(q, n_heads * n),
                                          .packed = ops_view(packed) } });
    for (uint64_t i = 0; i < (uint64_t)o->n_tokens * n_heads; i++) {
        const float *left = ops_found(o, q) + i * n;
        for (uint32_t j = 0; j < n; j++) want[j] = (double)ops_host(q)[i * n + j];
        ops_rotate(want + n - n_rot, n_rot, ops_host(angles) + i / n_heads * n_rot, false);
        if (o->form != DS4_KV_FLOATS) ops_hadamard(want, n);
        ops_near_row(o, left, want, n, 2e-5, "query", i);
        ops_pack(o, record, left, true);
        if (memcmp((const uint8_t *)ops_found(o, packed) + i * o->kv.irow_bytes, record, o->kv.irow_bytes) !=
            0)
            ops_fail(o, "query %llu is not packed from what is left in q", (unsigned long long)i);
    }
}

typedef struct scored {
    double   score;
    uint32_t row;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

static int by_row(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Scores of section 3.9 of a token's rows; *size receives the largest sum of magnitudes. */
static void score_rows(ops *o, const past *p, const float *query, const float *weight, uint32_t n_rows,
                       scored *out, double *size)
{
    const ds4_kv_layer *l = &o->layer[RATIO_4];
    const uint32_t      n = o->shape->n_index, n_heads = o->shape->index_heads;
    uint8_t             record[4096];
    float               row[1024];

    *size = 0.0;
    for (uint32_t r = 0; r < n_rows; r++) {
        double sum = 0.0, parts = 0.0;
        ops_copy_record(&l->irow, ops_block_of(o, l, NULL, p->warm->host, r, true), r % l->irow.n_rows,
                        record, false);
        ops_unpack(o, row, record, true);
        for (uint32_t h = 0; h < n_heads; h++) {
            double dot = 0.0, dots = 0.0;
            for (uint32_t i = 0; i < n; i++) {
                dot += (double)query[h * n + i] * (double)row[i];
                dots += fabs((double)query[h * n + i] * (double)row[i]);
            }
            sum += (double)weight[h] * fmax(dot, 0.0);
            parts += fabs((double)weight[h]) * dots;
        }
        out[r] = (scored){ sum, r };
        *size = fmax(*size, parts);
    }
}

/* The choice is the reference's; where scores are nearly equal, another that is no worse. */
static void expect_choice(ops *o, const int32_t *got, scored *all, uint32_t n_rows, double near, uint32_t t)
{
    const uint32_t k = o->shape->top_k;
    double        *score = malloc(n_rows * sizeof *score);

    for (uint32_t r = 0; r < n_rows; r++) score[r] = all[r].score;
    qsort(all, n_rows, sizeof *all, by_score);
    const double least = all[k - 1].score;
    qsort(all, k, sizeof *all, by_row);
    for (uint32_t i = 0; i < k; i++) {
        if (got[i] < 0 || (uint32_t)got[i] >= n_rows || (i > 0 && got[i] <= got[i - 1]))
            ops_fail(o, "token %u: row %d at %u is not in ascending order, or no row", t, got[i], i);
        if (score[got[i]] < least - near) ops_fail(o, "token %u: row %d is not among the best", t, got[i]);
        if (near == 0.0 && got[i] != (int32_t)all[i].row)
            ops_fail(o, "token %u: row %d at %u, expected %u", t, got[i], i, all[i].row);
    }
    free(score);
}

/* Rows for this step's tokens too: those that become complete in it are there before a choice. */
static void fill_index_rows(ops *o, const past *p)
{
    const ds4_kv_layer *l = &o->layer[RATIO_4];
    uint8_t             record[4096];
    ds4_err             err;

    for (uint32_t c = 0; c < (p->pos + p->n) / 4; c++) {
        if (c < p->pos / 4 && c % 5 != 0) continue;
        if (c % 5 == 0 && c > 0)
            ops_copy_record(&l->irow, ops_block_of(o, l, NULL, p->warm->host, c - 1, true),
                            (c - 1) % l->irow.n_rows, record, false);
        else
            ops_random_record(o, record, true); /* every fifth row is its neighbour's equal */
        ops_copy_record(&l->irow, ops_block_of(o, l, NULL, p->warm->host, c, true), c % l->irow.n_rows,
                        record, true);
    }
    if (ds4_backend_write(o->backend, o->dev, ops_view(p->warm), p->warm->host, p->warm->n_bytes, &err) !=
        DS4_OK)
        ops_fail(o, "%s", err.text);
}

void ops_select(ops *o)
{
    const ops_shape *sh = o->shape;
    const uint32_t   n_heads = sh->index_heads, n = sh->n_index;
    const uint64_t   query_bytes = n_heads * o->kv.irow_bytes;
    state           *s = ops_memory(o, sizeof *s);
    uint8_t         *packed = ops_memory(o, o->n_tokens * query_bytes);

    ops_make_state(o, s);
    for (uint32_t i = 0; i < s->n; i++) fill_index_rows(o, &s->session[i]);
    for (uint64_t i = 0; i < (uint64_t)o->n_tokens * n_heads; i++)
        ops_random_record(o, packed + i * o->kv.irow_bytes, true);
    const ops_array *query = ops_bytes(o, packed, o->n_tokens * query_bytes);
    ops_array       *weight = ops_floats(o, (uint64_t)o->n_tokens * n_heads);
    ops_array       *chosen = ops_room(o, (uint64_t)o->n_tokens * sh->top_k * sizeof(int32_t));
    ops_run(o, (ds4_op){ .kind = DS4_OP_SELECT,
                         .select = { .layer = RATIO_4,
                                     .n_heads = n_heads,
                                     .n = n,
                                     .top_k = sh->top_k,
                                     .scale = 0.25f,
                                     .weight = ops_rows(weight, n_heads),
                                     .query = ops_view(query),
                                     .chosen = ops_view(chosen) } });
    ops_found(o, weight); /* may have been scaled in place */
    float         *q = malloc((uint64_t)n_heads * n * sizeof *q);
    scored        *all = malloc(65536 / 4 * sizeof *all);
    const int32_t *got = (const int32_t *)(const void *)ops_found(o, chosen);
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const past    *p = &s->session[o->span_of[t]];
        const uint32_t n_rows = (o->pos[t] + 1) / 4;
        double         size;
        if (n_rows <= sh->top_k || (t % (o->n_tokens / 16 + 1) != 0 && t + 1 != o->n_tokens)) continue;
        for (uint32_t h = 0; h < n_heads; h++)
            ops_unpack(o, q + (uint64_t)h * n, query->host + t * query_bytes + h * o->kv.irow_bytes, true);
        score_rows(o, p, q, ops_host(weight) + (uint64_t)t * n_heads, n_rows, all, &size);
        expect_choice(o, got + (uint64_t)t * sh->top_k, all, n_rows, 8e-6 * size, t);
    }
    free(all);
    free(q);
}

/* ---- attention --------------------------------------------------------------------------------------- */

/* The rows that token t sees, in order, unpacked. */
static uint32_t seen_rows(ops *o, const past *p, uint32_t layer, uint32_t t, const ops_array *rows,
                          const int32_t *chosen, float *out)
{
    const ds4_kv_layer *l = &o->layer[layer];
    const uint32_t      n = o->shape->n_head, pos = o->pos[t], n_window = o->kv.n_window;
    uint32_t            n_rows = 0, n_compressed = l->ratio ? (pos + 1) / l->ratio : 0;
    uint8_t             record[4096];

    for (uint32_t i = pos + 1 < n_window ? 0 : pos + 1 - n_window; i <= pos; i++, n_rows++) {
        if (i >= p->pos)
            memcpy(record, rows->host + (p->first + i - p->pos) * o->kv.row_bytes, o->kv.row_bytes);
        else
            ops_copy_record(&l->raw, p->tail->host, i % l->raw.n_rows, record, false);
        ops_unpack(o, out + (uint64_t)n_rows * n, record, false);
    }
    const bool chooses = l->ratio == 4 && n_compressed > o->shape->top_k;
    for (uint32_t i = 0; i < (chooses ? o->shape->top_k : n_compressed); i++, n_rows++) {
        const uint32_t c = chooses ? (uint32_t)chosen[(uint64_t)t * o->shape->top_k + i] : i;
        ops_copy_record(&l->row, ops_block_of(o, l, p->cold->host, p->warm->host, c, false),
                        c % l->row.n_rows, record, false);
        ops_unpack(o, out + (uint64_t)n_rows * n, record, false);
    }
    return n_rows;
}

static void attended_head(ops *o, const float *got, const float *q, const float *rows, uint32_t n_rows,
                          double sink, const float *angles, uint32_t t, uint32_t h)
{
    const uint32_t n = o->shape->n_head, n_rot = o->shape->n_rot;
    const double   scale = (double)(1.0f / sqrtf((float)n));
    double *s = malloc((n_rows + n) * sizeof *s), *out = s + n_rows, top = sink, sum, most = 0.0, sharp = 1.0;

    for (uint32_t r = 0; r < n_rows; r++) {
        double dots = 0.0;
        s[r] = 0.0;
        for (uint32_t i = 0; i < n; i++) {
            s[r] += scale * (double)q[i] * (double)rows[(uint64_t)r * n + i];
            dots += fabs(scale * (double)q[i] * (double)rows[(uint64_t)r * n + i]);
            most = fmax(most, fabs((double)rows[(uint64_t)r * n + i]));
        }
        top = fmax(top, s[r]);
        sharp = fmax(sharp, dots);
    }
    sum = exp(sink - top);
    for (uint32_t i = 0; i < n; i++) out[i] = 0.0;
    for (uint32_t r = 0; r < n_rows; r++) {
        const double e = exp(s[r] - top);
        sum += e;
        for (uint32_t i = 0; i < n; i++) out[i] += e * (double)rows[(uint64_t)r * n + i];
    }
    for (uint32_t i = 0; i < n; i++) out[i] /= sum;
    ops_rotate(out + n - n_rot, n_rot, angles, true);
    for (uint32_t i = 0; i < n; i++) {
        ops_near(o, (double)got[i], out[i], (2e-5 + 4e-6 * sharp) * most + 1e-30, "attention", t, h * n + i);
    }
    free(s);
}

/* Rows that become complete in the step are there before a layer attends. */
static void fill_rows(ops *o, const past *p, uint32_t layer)
{
    const ds4_kv_layer *l = &o->layer[layer];
    uint8_t             record[4096];
    ds4_err             err;

    for (uint32_t c = l->ratio ? p->pos / l->ratio : 0; l->ratio && c < (p->pos + p->n) / l->ratio; c++) {
        ops_random_record(o, record, false);
        ops_copy_record(&l->row, ops_block_of(o, l, p->cold->host, p->warm->host, c, false),
                        c % l->row.n_rows, record, true);
    }
    const ds4_copy copies[] = { { ops_view(p->cold), p->cold->n_bytes, p->cold->host },
                                { ops_view(p->warm), p->warm->n_bytes, p->warm->host } };
    if (o->backend->write(o->dev, copies, 2, &err) != DS4_OK) ops_fail(o, "%s", err.text);
}

/* Ascending different rows for each token that has more than it may see. */
static ops_array *make_choice(ops *o)
{
    const uint32_t k = o->shape->top_k;
    int32_t       *x = calloc((uint64_t)o->n_tokens * k, sizeof *x);

    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const uint32_t n_rows = (o->pos[t] + 1) / 4;
        uint32_t       left = k;
        for (uint32_t r = 0; n_rows > k && left > 0; r++) {
            if (ops_below(o, n_rows - r) < left) x[(uint64_t)t * k + k - left--] = (int32_t)r;
        }
    }
    ops_array *a = ops_bytes(o, x, (uint64_t)o->n_tokens * k * sizeof *x);
    free(x);
    return a;
}

static void attend_layer(ops *o, uint32_t layer)
{
    const ops_shape *sh = o->shape;
    const uint32_t   n = sh->n_head, n_q = sh->n_heads * n;
    state           *s = ops_memory(o, sizeof *s);

    ops_make_state(o, s);
    for (uint32_t i = 0; i < s->n; i++) fill_rows(o, &s->session[i], layer);
    const ops_array *rows = ops_step_rows(o), *chosen = make_choice(o), *sink = ops_floats(o, sh->n_heads);
    const ops_array *angles = ops_make_angles(o), *q = ops_floats(o, (uint64_t)o->n_tokens * n_q);
    ops_array       *out = ops_room(o, (uint64_t)o->n_tokens * n_q * sizeof(float));
    ops_run(o, (ds4_op){ .kind = DS4_OP_ATTEND,
                         .attend = { .layer = layer,
                                     .n_heads = sh->n_heads,
                                     .n_head = n,
                                     .n_rot = sh->n_rot,
                                     .top_k = sh->top_k,
                                     .scale = 1.0f / sqrtf((float)n),
                                     .sink = ops_view(sink),
                                     .rows = ops_view(rows),
                                     .chosen = ops_view(chosen),
                                     .angles = ops_rows(angles, sh->n_rot),
                                     .q = ops_rows(q, n_q),
                                     .out = ops_rows(out, n_q) } });
    float *seen = malloc((uint64_t)(sh->n_window + (sh->top_k > 600 ? sh->top_k : 600)) * n * sizeof *seen);
    for (uint32_t i = 0; i < (o->n_tokens < 12 ? o->n_tokens : 12); i++) {
        const uint32_t t = o->n_tokens <= 12 ? i : i == 0 ? o->n_tokens - 1 : ops_below(o, o->n_tokens);
        const past    *p = &s->session[o->span_of[t]];
        const uint32_t n_rows =
            seen_rows(o, p, layer, t, rows, (const int32_t *)(const void *)chosen->host, seen);
        for (uint32_t h = 0; h<sh->n_heads; h += sh->n_heads> 8 ? 1 + ops_below(o, 15) : 1) {
            const uint64_t at = (uint64_t)t * n_q + (uint64_t)h * n;
            attended_head(o, ops_found(o, out) + at, ops_host(q) + at, seen, n_rows,
                          (double)ops_host(sink)[h], ops_host(angles) + (uint64_t)t * sh->n_rot, t, h);
        }
    }
    ops_found(o, out);
    free(seen);
}

void ops_attend(ops *o)
{
    attend_layer(o, NONE);
}

void ops_attend_4(ops *o)
{
    attend_layer(o, RATIO_4);
}

void ops_attend_128(ops *o)
{
    attend_layer(o, RATIO_128);
}
