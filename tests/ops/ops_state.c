/* ops_state.c - rows of a step, windows and compressors: docs/MODEL.md 3.6, 3.7, 6 and 7.
 *
 * What an operation writes must be the reference's, and every other byte of tails and blocks must stay. */
#include "ops/ops_sessions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows of a step ---------------------------------------------------------------------------------- */

void ops_kv_row(ops *o)
{
    const uint32_t n = o->shape->n_head, n_rot = o->shape->n_rot;
    state         *s = malloc(sizeof *s);
    double         want[1024];
    uint8_t        record[4096];

    ops_make_state(o, s);
    ops_array       *x = ops_floats(o, (uint64_t)o->n_tokens * n);
    const ops_array *w = ops_floats(o, n), *angles = ops_make_angles(o);
    ops_array       *rows = ops_room(o, o->n_tokens * o->kv.row_bytes);
    ops_run(o, (ds4_op){ .kind = DS4_OP_KV_ROW,
                         .kv_row = { .eps = 1e-6f,
                                     .w = ops_view(w),
                                     .angles = ops_rows(angles, n_rot),
                                     .x = ops_rows(x, n),
                                     .rows = ops_view(rows) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const float *left = ops_found(o, x) + (uint64_t)t * n;
        for (uint32_t i = 0; i < n; i++) want[i] = (double)ops_host(x)[(uint64_t)t * n + i];
        ops_normed(want, n, ops_host(w));
        ops_rotate(want + n - n_rot, n_rot, ops_host(angles) + (uint64_t)t * n_rot, false);
        ops_near_row(o, left, want, n, 2e-5, "row", t);
        ops_pack(o, record, left, false);
        if (memcmp((const uint8_t *)ops_found(o, rows) + t * o->kv.row_bytes, record, o->kv.row_bytes) != 0)
            ops_fail(o, "row %u is not packed from what is left in x", t);
    }
    free(s);
}

void ops_window(ops *o)
{
    for (uint32_t layer = 0; layer < 3; layer++) {
        const ds4_kv_rows *ring = &o->layer[layer].raw;
        state             *s = malloc(sizeof *s);
        ops_make_state(o, s);
        const ops_array *rows = ops_step_rows(o);
        ops_run(o, (ds4_op){ .kind = DS4_OP_WINDOW, .window = { .layer = layer, .rows = ops_view(rows) } });
        for (uint32_t i = 0; i < s->n; i++) {
            const past *p = &s->session[i];
            uint8_t    *tail = malloc(o->kv.tail_bytes);
            memcpy(tail, p->tail->host, o->kv.tail_bytes);
            for (uint32_t j = 0; j < p->n; j++) {
                ops_copy_record(ring, tail, (p->pos + j) % ring->n_rows,
                                rows->host + (p->first + j) * o->kv.row_bytes, true);
            }
            ops_same_bytes(o, p->tail, tail, "window");
            free(tail);
        }
        free(s);
        if (o->n_arrays > OPS_MAX_ARRAYS / 2) return; /* many sessions: the ratios make no difference */
    }
}

/* ---- compressors ------------------------------------------------------------------------------------- */

typedef struct compressor {
    const ds4_kv_layer *layer;
    const ds4_kv_ring  *ring;
    const ds4_kv_rows  *table;
    bool                index;
    uint32_t            n, width;
    ops_array          *k, *s;
    const ops_array    *ape, *norm, *freq;
} compressor;

/* k (or s with its bias) of a session's position: of this step, or what the ring held. */
static const float *projection(const ops *o, const compressor *c, const past *p, uint32_t pos, bool score,
                               float *room)
{
    if (pos >= p->pos) {
        const uint64_t row = (uint64_t)(p->first + pos - p->pos) * c->width;
        if (!score) return ops_host(c->k) + row;
        for (uint32_t i = 0; i < c->width; i++) {
            room[i] = ops_host(c->s)[row + i] + ops_host(c->ape)[pos % c->layer->ratio * c->width + i];
        }
        return room;
    }
    const float *ring = (const float *)(const void *)(p->tail->host + c->ring->off);
    (void)o;
    return ring + (uint64_t)(score * c->ring->n_rows + pos % c->ring->n_rows) * c->width;
}

/* Row r of section 3.7, before it is packed. */
static void compressed_row(const ops *o, const compressor *c, const past *p, uint32_t r, double *z)
{
    const uint32_t ratio = c->layer->ratio, first = r * ratio, n_before = ratio == 4 && r > 0 ? 4 : 0;
    const uint32_t n_rot = o->shape->n_rot;
    double        *sum = calloc(3ull * c->n, sizeof *sum), *top = sum + c->n, *mix = top + c->n;
    float         *room = malloc(c->width * sizeof *room), angles[512];

    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < n_before + ratio; i++) {
            const uint32_t half = ratio == 4 && i >= n_before ? c->n : 0;
            const float   *s = projection(o, c, p, first - n_before + i, true, room) + half;
            const float   *k = projection(o, c, p, first - n_before + i, false, NULL) + half;
            for (uint32_t j = 0; j < c->n; j++) {
                if (pass == 0)
                    top[j] = i == 0 ? (double)s[j] : fmax(top[j], (double)s[j]);
                else {
                    const double e = exp((double)s[j] - top[j]);
                    sum[j] += e;
                    mix[j] += e * (double)k[j];
                }
            }
        }
    }
    for (uint32_t j = 0; j < c->n; j++) z[j] = mix[j] / sum[j];
    ops_normed(z, c->n, ops_host(c->norm));
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        const float angle = (float)first * ops_host(c->freq)[i];
        angles[i] = (float)cos((double)angle);
        angles[n_rot / 2 + i] = (float)sin((double)angle);
    }
    ops_rotate(z + c->n - n_rot, n_rot, angles, false);
    free(room);
    free(sum);
}

/* A stored row is the reference's to the nearest codes; a value between two of them may have become
 * either. */
static void expect_row(ops *o, const compressor *c, const uint8_t *record, const double *z, uint32_t row)
{
    const uint32_t block = o->form == DS4_KV_FLOATS ? c->n : c->index ? 32 : 64;
    uint8_t        nearest[4096];
    float          x[1024], want[1024];

    for (uint32_t i = 0; i < c->n; i++) want[i] = (float)z[i];
    ops_pack(o, nearest, want, c->index);
    ops_unpack(o, want, nearest, c->index);
    ops_unpack(o, x, record, c->index);
    for (uint32_t i = 0; i < c->n; i++) {
        double most = 0.0;
        for (uint32_t j = i / block * block; j < i / block * block + block && j < c->n; j++) {
            most = fmax(most, fabs(z[j]));
        }
        ops_near(o, (double)x[i], z[i], fabs((double)want[i] - z[i]) + 5e-5 * most + 1e-30, "compressed row",
                 row, i);
    }
}

static void expect_blocks(ops *o, const compressor *c, const past *p)
{
    const uint32_t ratio = c->layer->ratio, first = p->pos / ratio, end = (p->pos + p->n) / ratio;
    uint8_t       *cold = malloc(p->cold->n_bytes + 1), *warm = malloc(p->warm->n_bytes + 1), record[4096];
    double         z[1024];

    ops_found(o, p->cold);
    ops_found(o, p->warm);
    memcpy(cold, p->cold->host, p->cold->n_bytes);
    memcpy(warm, p->warm->host, p->warm->n_bytes);
    for (uint32_t r = first; r < end; r++) {
        ops_copy_record(c->table, ops_block_of(o, c->layer, p->cold->found, p->warm->found, r, c->index),
                        r % c->table->n_rows, record, false);
        if (end - first < 40 || r % 17 == 0 || r + 1 == end) {
            compressed_row(o, c, p, r, z);
            if (c->index && o->form != DS4_KV_FLOATS) ops_hadamard(z, c->n);
            expect_row(o, c, record, z, r);
        }
        ops_copy_record(c->table, ops_block_of(o, c->layer, cold, warm, r, c->index), r % c->table->n_rows,
                        record, true);
    }
    ops_same_bytes(o, p->cold, cold, "rows of ratio 4 besides the new ones");
    ops_same_bytes(o, p->warm, warm, "other rows besides the new ones");
    free(cold);
    free(warm);
}

static void expect_ring(ops *o, const compressor *c, const past *p)
{
    uint8_t *tail = malloc(o->kv.tail_bytes);
    float   *ring = (float *)(void *)(tail + c->ring->off), *room = malloc(c->width * sizeof *room);

    memcpy(tail, p->tail->host, o->kv.tail_bytes);
    for (uint32_t i = 0; i < p->n; i++) {
        const uint32_t slot = (p->pos + i) % c->ring->n_rows;
        for (uint32_t score = 0; score < 2; score++) {
            memcpy(ring + (uint64_t)(score * c->ring->n_rows + slot) * c->width,
                   projection(o, c, p, p->pos + i, score, room), c->width * sizeof *room);
        }
    }
    ops_same_bytes(o, p->tail, tail, "ring of a compressor");
    free(room);
    free(tail);
}

static void compress_one(ops *o, uint32_t layer, bool index)
{
    const ops_shape *sh = o->shape;
    state           *s = malloc(sizeof *s);
    compressor       c = { .layer = &o->layer[layer], .index = index, .n = ops_n_values(o, index) };
    float            freq[256];

    ops_make_state(o, s);
    c.ring = index ? &c.layer->icomp : &c.layer->comp;
    c.table = index ? &c.layer->irow : &c.layer->row;
    c.width = c.ring->width;
    for (uint32_t i = 0; i < sh->n_rot / 2; i++) freq[i] = (float)pow(160000.0, -2.0 * i / sh->n_rot);
    c.k = ops_floats(o, (uint64_t)o->n_tokens * c.width);
    c.s = ops_floats(o, (uint64_t)o->n_tokens * c.width);
    c.ape = ops_floats(o, (uint64_t)c.layer->ratio * c.width);
    c.norm = ops_floats(o, c.n);
    c.freq = ops_bytes(o, freq, sh->n_rot / 2 * sizeof *freq);
    ops_run(o, (ds4_op){ .kind = DS4_OP_COMPRESS,
                         .compress = { .layer = layer,
                                       .index = index,
                                       .n = c.n,
                                       .n_rot = sh->n_rot,
                                       .eps = 1e-6f,
                                       .ape = ops_view(c.ape),
                                       .norm = ops_view(c.norm),
                                       .freq = ops_view(c.freq),
                                       .k = ops_rows(c.k, c.width),
                                       .s = ops_rows(c.s, c.width) } });
    ops_found(o, c.s); /* its values with the bias: the ring holds them */
    for (uint32_t i = 0; i < s->n; i++) {
        expect_blocks(o, &c, &s->session[i]);
        expect_ring(o, &c, &s->session[i]);
    }
    free(s);
}

void ops_compress_4(ops *o)
{
    compress_one(o, RATIO_4, false);
}

void ops_compress_128(ops *o)
{
    compress_one(o, RATIO_128, false);
}

void ops_compress_index(ops *o)
{
    compress_one(o, RATIO_4, true);
}
