/* ops_sessions.c - see ops_sessions.h. */
#include "ops/ops_sessions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ------------------------------------------------------------------------------------------ */

uint32_t ops_n_values(const ops *o, bool index)
{
    return index ? o->shape->n_index : o->shape->n_head;
}

static uint64_t ops_record_bytes(const ops *o, bool index)
{
    return index ? o->kv.irow_bytes : o->kv.row_bytes;
}

void ops_pack(const ops *o, uint8_t *record, const float *x, bool index)
{
    if (o->form == DS4_KV_FLOATS)
        memcpy(record, x, ops_record_bytes(o, index));
    else if (index)
        o->ref.index_pack(record, x, o->shape->n_index);
    else
        o->ref.kv_pack(record, x, o->kv.n_nope, o->kv.n_rot);
}

void ops_unpack(const ops *o, float *x, const uint8_t *record, bool index)
{
    if (o->form == DS4_KV_FLOATS)
        memcpy(x, record, ops_record_bytes(o, index));
    else if (index)
        o->ref.index_unpack(x, record, o->shape->n_index);
    else
        o->ref.kv_unpack(x, record, o->kv.n_nope, o->kv.n_rot);
}

/* Copy record `row` of a table at base, into the table or out of it. */
void ops_copy_record(const ds4_kv_rows *t, uint8_t *base, uint32_t row, uint8_t *record, bool into)
{
    ds4_kv_range   at[DS4_KV_MAX_PLANES];
    const uint32_t n = ds4_kv_rows_at(t, row, 1, at);

    for (uint32_t i = 0; i < n; record += at[i++].n_bytes) {
        if (into)
            memcpy(base + at[i].off, record, at[i].n_bytes);
        else
            memcpy(record, base + at[i].off, at[i].n_bytes);
    }
}

/* The part of the blocks that holds row c of a layer, on the host. */
uint8_t *ops_block_of(const ops *o, const ds4_kv_layer *l, uint8_t *cold, uint8_t *warm, uint32_t c,
                      bool index)
{
    const uint32_t b = c / l->row.n_rows;
    return index || l->ratio == 128 ? warm + b * o->kv.warm_bytes : cold + b * o->kv.cold_bytes;
}

void ops_random_record(ops *o, uint8_t *record, bool index)
{
    float x[1024];

    for (uint32_t i = 0; i < ops_n_values(o, index); i++) x[i] = o->fill == OPS_ZERO ? 0.0f : ops_normal(o);
    if (o->fill == OPS_EXTREME) x[ops_below(o, ops_n_values(o, index))] *= 300.0f;
    ops_pack(o, record, x, index);
}

/* ---- sessions -------------------------------------------------------------------------------------- */

static void write_past(ops *o, const past *p, uint8_t *tail, uint8_t *cold, uint8_t *warm)
{
    uint8_t record[4096];

    for (uint32_t i = 0; i < 3; i++) {
        const ds4_kv_layer *l = &o->layer[i];
        for (uint32_t pos = p->pos > l->raw.n_rows ? p->pos - l->raw.n_rows : 0; pos < p->pos; pos++) {
            ops_random_record(o, record, false);
            ops_copy_record(&l->raw, tail, pos % l->raw.n_rows, record, true);
        }
        for (uint32_t c = 0; l->ratio && c < p->pos / l->ratio; c++) {
            ops_random_record(o, record, false);
            ops_copy_record(&l->row, ops_block_of(o, l, cold, warm, c, false), c % l->row.n_rows, record,
                            true);
            if (l->ratio != 4) continue;
            ops_random_record(o, record, true);
            ops_copy_record(&l->irow, ops_block_of(o, l, cold, warm, c, true), c % l->irow.n_rows, record,
                            true);
        }
        for (int index = 0; l->ratio && index < (l->ratio == 4 ? 2 : 1); index++) {
            const ds4_kv_ring *ring = index ? &l->icomp : &l->comp;
            float             *x = (float *)(void *)(tail + ring->off);
            for (uint32_t k = 0; k < 2 * ring->n_rows * ring->width; k++) x[k] = ops_value(o);
        }
    }
}

static void make_session(ops *o, past *p)
{
    const uint32_t n_blocks = ds4_kv_blocks(p->pos + p->n);
    uint8_t       *tail = malloc(o->kv.tail_bytes), *cold = malloc(n_blocks * o->kv.cold_bytes);
    uint8_t       *warm = malloc(n_blocks * o->kv.warm_bytes);

    memset(tail, 0xa5, o->kv.tail_bytes);
    memset(cold, 0xa5, n_blocks * o->kv.cold_bytes);
    memset(warm, 0xa5, n_blocks * o->kv.warm_bytes);
    write_past(o, p, tail, cold, warm);
    p->tail = ops_bytes(o, tail, o->kv.tail_bytes);
    p->cold = ops_cold(o, cold, n_blocks * o->kv.cold_bytes);
    p->warm = ops_bytes(o, warm, n_blocks * o->kv.warm_bytes);
    for (uint32_t b = 0; b < n_blocks; b++) {
        p->block[b] =
            (ds4_block){ { p->cold->buf, b * o->kv.cold_bytes }, { p->warm->buf, b * o->kv.warm_bytes } };
    }
    free(tail);
    free(cold);
    free(warm);
}

/* Share the step's tokens among sessions at positions where something begins, ends or is full. */
void ops_make_state(ops *o, state *s)
{
    static const uint32_t places[] = { 0, 5, 127, 131, 254, 383, 640, 1023 };
    const uint32_t        top = 4 * o->shape->top_k + 3;

    *s = (state){ .n = o->n_tokens < OPS_MAX_SPANS ? 1 : OPS_MAX_SPANS };
    ops_plain_batch(o, 10);
    for (uint32_t i = 0, first = 0; i < s->n; i++) {
        past          *p = &s->session[i];
        const uint32_t left = o->n_tokens - first, share = left / (s->n - i);
        p->first = first;
        p->n = i + 1 == s->n ? left : i == 0 ? 1 : share / 2 + ops_below(o, share) + 1;
        if (p->n > left - (s->n - i - 1)) p->n = left - (s->n - i - 1);
        p->pos = i == 1 ? top : places[ops_below(o, sizeof places / sizeof *places)];
        /* Where rows are cheap, more than the indexer looks at in one go. */
        if (o->shape->n_heads == 1 && (i == 2 || o->n_tokens == 2)) p->pos = 2305;
        make_session(o, p);
        o->span[i] = (ds4_span){ .first = first,
                                 .n = p->n,
                                 .pos = p->pos,
                                 .decode = p->n == 1,
                                 .tail = ops_view(p->tail),
                                 .blocks = p->block };
        for (uint32_t j = 0; j < p->n; j++, first++) {
            o->pos[first] = p->pos + j;
            o->span_of[first] = i;
        }
    }
    o->batch.span = o->span;
    o->batch.n_spans = s->n;
}

/* Packed rows of this step's tokens, as ds4_op_kv_row leaves them. */
ops_array *ops_step_rows(ops *o)
{
    uint8_t *rows = malloc(o->n_tokens * o->kv.row_bytes);

    for (uint32_t t = 0; t < o->n_tokens; t++) ops_random_record(o, rows + t * o->kv.row_bytes, false);
    ops_array *a = ops_bytes(o, rows, o->n_tokens * o->kv.row_bytes);
    free(rows);
    return a;
}

/* ---- rotating --------------------------------------------------------------------------------------- */

void ops_rotate(double *x, uint32_t n, const float *angles, bool back)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        const double c = (double)angles[i], s = (double)angles[n / 2 + i] * (back ? -1.0 : 1.0);
        const double a = x[2 * i] * c - x[2 * i + 1] * s, b = x[2 * i] * s + x[2 * i + 1] * c;
        x[2 * i] = a;
        x[2 * i + 1] = b;
    }
}

/* Cosines and sines of angles of all sizes for every token. */
ops_array *ops_make_angles(ops *o)
{
    const uint32_t n = o->shape->n_rot;
    float         *x = malloc((uint64_t)o->n_tokens * n * sizeof *x);

    for (uint64_t t = 0; t < o->n_tokens; t++) {
        for (uint32_t i = 0; i < n / 2; i++) {
            const double angle = (double)ops_normal(o) * 10.0;
            x[t * n + i] = (float)cos(angle);
            x[t * n + n / 2 + i] = (float)sin(angle);
        }
    }
    ops_array *a = ops_bytes(o, x, (uint64_t)o->n_tokens * n * sizeof *x);
    free(x);
    return a;
}

void ops_normed(double *x, uint32_t n, const float *w)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < n; i++) sum += x[i] * x[i];
    const double by = 1.0 / sqrt(sum / n + (double)1e-6f);
    for (uint32_t i = 0; i < n; i++) x[i] *= by * (double)w[i];
}

void ops_hadamard(double *x, uint32_t n)
{
    for (uint32_t step = 1; step < n; step *= 2) {
        for (uint32_t i = 0; i < n; i++) {
            if (i & step) continue;
            const double a = x[i], b = x[i + step];
            x[i] = a + b;
            x[i + step] = a - b;
        }
    }
    for (uint32_t i = 0; i < n; i++) x[i] /= sqrt((double)n);
}
