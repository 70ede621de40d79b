/* twin_kv.c - see twin_kv.h. */
#include "testing.h"

#include "emulator/twin_kv.h"

#include "kernels/kernels.h"

#include <math.h>

void walk_open(walk *w, twin *t, const ds4_shape *shape, ds4_kv_form form, uint32_t most)
{
    const ds4_limits limits = { .n_threads = 1, .max_batch = WALK_MAX_TOKENS, .max_ctx = 8192, .kv = &w->kv };
    float            freq[32];

    *w = (walk){ .t = t, .shape = *shape, .most = most };
    ds4_kv_layout_make(&w->shape, form, form, w->layers, &w->kv);
    twin_open(t, &limits);
    for (uint32_t i = 0; i < shape->n_rot / 2; i++) freq[i] = (float)pow(160000.0, -2.0 * i / shape->n_rot);
    w->freq = twin_bytes(t, freq, shape->n_rot / 2 * sizeof *freq);
    w->ape = twin_floats(t, 128ull * 2 * shape->n_head);
    w->row_norm = twin_floats(t, shape->n_head);
    w->sink = twin_floats(t, shape->n_heads);
    for (int i = 0; i < WALK_SESSIONS; i++) {
        walk_session *s = &w->session[i];
        s->tail = twin_zeros(t, w->kv.tail_bytes);
        s->cold = twin_zeros(t, WALK_MAX_BLOCKS * w->kv.cold_bytes);
        s->warm = twin_zeros(t, WALK_MAX_BLOCKS * w->kv.warm_bytes);
        for (int side = 0; side < TWIN_SIDES; side++) {
            for (uint32_t b = 0; b < WALK_MAX_BLOCKS; b++) {
                s->block[side][b] = (ds4_block){ { s->cold.buf[side], b * w->kv.cold_bytes },
                                                 { s->warm.buf[side], b * w->kv.warm_bytes } };
            }
        }
    }
}

void walk_close(walk *w)
{
    const twin_buf all[] = { w->freq, w->ape, w->row_norm, w->sink };

    for (int i = 0; i < 4; i++) twin_free(w->t, all[i]);
    for (int i = 0; i < WALK_SESSIONS; i++) {
        twin_free(w->t, w->session[i].tail);
        twin_free(w->t, w->session[i].cold);
        twin_free(w->t, w->session[i].warm);
    }
    twin_close(w->t);
}

/* ---- the step -------------------------------------------------------------------------------------- */

void walk_advance(walk *w)
{
    w->n_tokens = w->n_spans = 0;
    for (int i = 0; i < WALK_SESSIONS; i++) {
        walk_session  *s = &w->session[i];
        const uint32_t n = twin_below(w->t, 3) ? 1 + twin_below(w->t, w->most) : 1;
        if (twin_below(w->t, 5) == 0 && w->n_spans > 0) continue;
        for (int side = 0; side < TWIN_SIDES; side++) {
            w->span[side][w->n_spans] = (ds4_span){ .first = w->n_tokens,
                                                    .n = n,
                                                    .pos = s->pos,
                                                    .tail = twin_view(s->tail, side),
                                                    .blocks = s->block[side] };
        }
        for (uint32_t j = 0; j < n; j++, w->n_tokens++) {
            w->token[w->n_tokens] = 0;
            w->pos[w->n_tokens] = s->pos + j;
            w->span_of[w->n_tokens] = w->n_spans;
        }
        w->n_spans++;
        s->pos += n;
        assert_true(s->pos <= WALK_MAX_BLOCKS * DS4_BLOCK_TOKENS);
    }
    for (int side = 0; side < TWIN_SIDES; side++) {
        w->batch[side] = (ds4_batch){ .n_tokens = w->n_tokens,
                                      .n_spans = w->n_spans,
                                      .token = w->token,
                                      .pos = w->pos,
                                      .span = w->span[side],
                                      .span_of = w->span_of,
                                      .kv = &w->kv };
    }
}

const ds4_batch *walk_batch(const walk *w, int side)
{
    return &w->batch[side];
}

twin_buf walk_weights(const walk *w, uint32_t n)
{
    const uint32_t n_values = n * w->shape.index_heads;
    float         *x = malloc(n_values * sizeof *x);

    for (uint32_t i = 0; i < n_values; i++) x[i] = (float)twin_below(w->t, 4) - 1.0f;
    const twin_buf b = twin_bytes(w->t, x, n_values * sizeof *x);
    free(x);
    return b;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

/* The records of n rows of a table, unpacked to floats [n][n_values]. */
static float *unpacked(const walk *w, const uint8_t *base, const ds4_kv_rows *table, uint32_t n, bool index)
{
    const uint32_t n_values = index ? w->shape.n_index : w->shape.n_head;
    const uint64_t row_bytes = index ? w->kv.irow_bytes : w->kv.row_bytes;
    float         *x = malloc((uint64_t)n * n_values * sizeof *x);
    uint8_t        record[4096];
    ds4_kernels    k;

    ds4_kernels_init(&k, 0);
    for (uint32_t r = 0; r < n; r++) {
        ds4_kv_range   at[DS4_KV_MAX_PLANES];
        const uint32_t n_planes = ds4_kv_rows_at(table, r, 1, at);
        uint64_t       done = 0;
        for (uint32_t i = 0; i < n_planes; i++) {
            memcpy(record + done, base + at[i].off, at[i].n_bytes);
            done += at[i].n_bytes;
        }
        assert_int_equal(done, row_bytes);
        float *to = x + (uint64_t)r * n_values;
        if (w->kv.form == DS4_KV_FLOATS)
            memcpy(to, record, row_bytes);
        else if (index)
            k.index_unpack(to, record, n_values);
        else
            k.kv_unpack(to, record, w->kv.n_nope, w->kv.n_rot);
    }
    return x;
}

/* A code's neighbour is an eighth of it away at most (E4M3), or 2 of 6 units (E2M1); few may differ. */
static void expect_close(const float *a, const float *b, uint64_t n, uint32_t row, bool index,
                         const char *what)
{
    uint64_t n_off = 0;
    double   most = 0.0; /* of the row */

    for (uint64_t i = 0; i < n; i++) {
        if (i % row == 0) most = 0.0;
        for (uint32_t j = 0; i % row == 0 && j < row; j++) most = fmax(most, fabs((double)a[i + j]));
        const double step = index ? most / 2.9 : fabs((double)a[i]) / 7.9 + most / 1e5;
        const double off = fabs((double)a[i] - b[i]);
        n_off += off > 1e-5 * most;
        if (off <= step) continue;
        fail_msg("%s: row %llu value %llu is %.9g, on the CPU %.9g", what, (unsigned long long)(i / row),
                 (unsigned long long)(i % row), (double)b[i], (double)a[i]);
    }
    if (n_off * 200 > n + 400)
        fail_msg("%s: %llu of %llu values differ", what, (unsigned long long)n_off, (unsigned long long)n);
}

static void expect_table(const walk *w, twin_buf b, uint64_t base, const ds4_kv_rows *table, bool index,
                         const char *what)
{
    const uint32_t row = index ? w->shape.n_index : w->shape.n_head;
    float         *x[TWIN_SIDES];

    for (int s = 0; s < TWIN_SIDES; s++) {
        uint8_t *bytes = twin_read(w->t, s, b);
        x[s] = unpacked(w, bytes + base, table, table->n_rows, index);
        if (s == 1) twin_hash(w->t, bytes + base + table->off, table->width[0] * table->n_rows);
        free(bytes);
    }
    expect_close(x[0], x[1], (uint64_t)table->n_rows * row, row, index, what);
    free(x[0]);
    free(x[1]);
}

void walk_expect_rows(walk *w, twin_buf rows, uint32_t n, const char *what)
{
    const ds4_kv_rows records = { .n_rows = n, .n_planes = 1, .width = { (uint32_t)w->kv.row_bytes } };
    expect_table(w, rows, 0, &records, false, what);
}

static void expect_ring(const walk *w, twin_buf tail, const ds4_kv_ring *ring)
{
    const uint32_t n = ring->n_rows * 2 * ring->width;
    uint8_t       *x[TWIN_SIDES] = { twin_read(w->t, 0, tail), twin_read(w->t, 1, tail) };

    for (uint32_t i = 0; i < n; i++) {
        const float a = ((float *)(void *)(x[0] + ring->off))[i],
                    b = ((float *)(void *)(x[1] + ring->off))[i];
        if (!(fabsf(a - b) <= 1e-6f * fabsf(a)))
            fail_msg("ring: value %u is %.9g, on the CPU %.9g", i, (double)b, (double)a);
    }
    free(x[0]);
    free(x[1]);
}

void walk_expect_state(walk *w, uint32_t layer)
{
    const ds4_kv_layer *l = &w->kv.layer[layer];

    for (int i = 0; i < WALK_SESSIONS; i++) {
        walk_session *s = &w->session[i];
        expect_table(w, s->tail, 0, &l->raw, false, "window");
        if (l->ratio != 0) expect_ring(w, s->tail, &l->comp);
        if (l->ratio == 4) expect_ring(w, s->tail, &l->icomp);
        for (uint32_t b = 0; l->ratio != 0 && b * DS4_BLOCK_TOKENS < s->pos; b++) {
            if (l->ratio == 4) {
                expect_table(w, s->cold, b * w->kv.cold_bytes, &l->row, false, "compressed rows");
                expect_table(w, s->warm, b * w->kv.warm_bytes, &l->irow, true, "indexer rows");
            } else {
                expect_table(w, s->warm, b * w->kv.warm_bytes, &l->row, false, "compressed rows");
            }
        }
        twin_align(w->t, s->tail);
        twin_align(w->t, s->cold);
        twin_align(w->t, s->warm);
    }
}

void walk_expect_chosen(walk *w, twin_buf chosen)
{
    int32_t *x[TWIN_SIDES] = { twin_read(w->t, 0, chosen), twin_read(w->t, 1, chosen) };

    for (uint32_t t = 0; t < w->n_tokens; t++) {
        if ((w->pos[t] + 1) / 4 <= w->shape.top_k) continue;
        for (uint32_t i = 0; i < w->shape.top_k; i++) {
            const uint64_t at = (uint64_t)t * w->shape.top_k + i;
            if (x[0][at] == x[1][at]) continue;
            fail_msg("token %u at %u: chosen row %u is %d, on the CPU %d", t, w->pos[t], i, x[1][at],
                     x[0][at]);
        }
    }
    free(x[0]);
    free(x[1]);
}
