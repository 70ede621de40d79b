/* cpu_compress.c - compressors: windows of tokens become one row.
 *
 * Row c of ratio 128 mixes the tokens of its window. Row c of ratio 4 mixes its own window
 * (second half of each projection) and the one before (first half). Tokens of earlier
 * steps are in the session's ring, those of this batch in scratch: where a prompt was cut
 * does not show. Source: docs/MODEL.md section 3.7. */
#include "backend/cpu/cpu_ops.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_CANDIDATES = 128 };

typedef struct compress_job {
    ds4_dev               *dev;
    const ds4_op_compress *op;
    const ds4_span        *span;
    const ds4_kv_layer    *layer;
    uint32_t               ratio, n_places, width;
    const float           *ring_k, *ring_s;
    uint32_t               first_row, n_rows;       /* rows that become complete in this span */
    atomic_int             reason;                  /* why a row could not be written; 0 */
} compress_job;

static compress_job job_of(ds4_dev *dev, const ds4_op_compress *op, const ds4_span *span)
{
    const ds4_kv_layer *layer = &dev->batch->kv->layer[op->layer];
    const ds4_kv_ring  *ring = op->index ? &layer->icomp : &layer->comp;
    compress_job        job = { .dev = dev, .op = op, .span = span, .layer = layer, .ratio = layer->ratio };

    job.n_places = ring->n_rows;
    job.width = ring->width;
    job.ring_k = (float *)(void *)(cpu_at(span->tail) + ring->off);
    job.ring_s = job.ring_k + (size_t)job.n_places * job.width;
    job.first_row = span->pos / job.ratio;
    job.n_rows = (span->pos + span->n) / job.ratio - job.first_row;
    return job;
}

/* The projections of the token at pos. */
static void token_at(const compress_job *job, uint32_t pos, const float **k, const float **s)
{
    if (pos >= job->span->pos) {
        const uint32_t t = job->span->first + (pos - job->span->pos);
        *k = cpu_row(job->op->k, t);
        *s = cpu_row(job->op->s, t);
    } else {
        const size_t place = pos % job->n_places;
        *k = job->ring_k + place * job->width;
        *s = job->ring_s + place * job->width;
    }
}

/* z[j] = softmax over the candidates of s[.][j], times k[.][j], for every j on its own. */
static void pool(float *z, const float *const *k, const float *const *s, uint32_t n_candidates, uint32_t n)
{
    for (uint32_t j = 0; j < n; j++) {
        float top = s[0][j], sum = 0.0f, mix = 0.0f;
        for (uint32_t i = 1; i < n_candidates; i++) top = fmaxf(top, s[i][j]);
        for (uint32_t i = 0; i < n_candidates; i++) {
            const float e = expf(s[i][j] - top);
            sum += e;
            mix += e * k[i][j];
        }
        z[j] = mix / sum;
    }
}

static uint32_t candidates(const compress_job *job, uint32_t c, const float **k, const float **s)
{
    const uint32_t first = c * job->ratio;
    uint32_t       n = 0;

    if (job->ratio == 4 && c > 0) {
        for (uint32_t i = 0; i < 4; i++, n++) token_at(job, first - 4 + i, &k[n], &s[n]);
    }
    for (uint32_t i = 0; i < job->ratio; i++, n++) {
        token_at(job, first + i, &k[n], &s[n]);
        if (job->ratio == 4) {
            k[n] += job->op->n;
            s[n] += job->op->n;
        }
    }
    return n;
}

/* The record of a row, made in `room` where it is packed; z is changed. */
static const uint8_t *record_of(const compress_job *job, float *z, uint8_t room[CPU_MAX_RECORD])
{
    const ds4_dev       *dev = job->dev;
    const ds4_kv_layout *kv = dev->batch->kv;

    if (kv->form == DS4_KV_FLOATS) return (const uint8_t *)z;
    if (job->op->index) {
        dev->k.hadamard(z, job->op->n);
        dev->k.index_pack(room, z, job->op->n);
    } else {
        dev->k.kv_pack(room, z, kv->n_nope, kv->n_rot);
    }
    return room;
}

static void store_row(compress_job *job, uint32_t c, float *z)
{
    const ds4_kv_layer *layer = job->layer;
    uint8_t             room[CPU_MAX_RECORD];
    const uint8_t      *record = record_of(job, z, room);
    uint32_t            row;
    const ds4_view      at = cpu_kv_block(job->span, layer, c, &row);

    if (job->op->index) {
        cpu_kv_write(&layer->irow, cpu_at(job->span->blocks[c / layer->irow.n_rows].warm), row, 1, record);
    } else if (cpu_spill_of(at.buf)) {
        const int reason = cpu_spill_put(cpu_spill_row_at(&layer->row, at, row), record);
        if (reason != 0) atomic_store(&job->reason, reason);
    } else {
        cpu_kv_write(&layer->row, cpu_at(at), row, 1, record);
    }
}

static void emit_row(compress_job *job, uint32_t c, const cpu_own *own)
{
    const ds4_op_compress *op = job->op;
    const float           *k[MAX_CANDIDATES], *s[MAX_CANDIDATES];
    const uint32_t         half = op->n_rot / 2;
    float                  cosines[256], sines[256];
    float                 *z = own->row;

    pool(z, k, s, candidates(job, c, k, s), op->n);
    job->dev->k.rms_norm(z, z, cpu_floats(op->norm), op->n, op->eps);
    for (uint32_t i = 0; i < half; i++) {
        cpu_angle(&cosines[i], &sines[i], c * job->ratio, cpu_floats(op->freq)[i]);
    }
    job->dev->k.rope(z + op->n - op->n_rot, cosines, sines, op->n_rot);
    store_row(job, c, z);
}

static void add_bias_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const compress_job *job = ctx;
    const float        *ape = cpu_floats(job->op->ape);
    uint64_t            from, to;

    ds4_team_share(job->span->n, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const uint64_t pos = job->span->pos + i;
        job->dev->k.axpy(cpu_row(job->op->s, (uint32_t)(job->span->first + i)), 1.0f,
                         ape + pos % job->ratio * job->width, job->width);
    }
}

static void emit_share(void *ctx, uint32_t member, uint32_t n_members)
{
    compress_job *job = ctx;
    uint64_t      from, to;

    ds4_team_share(job->n_rows, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        emit_row(job, job->first_row + (uint32_t)i, &job->dev->own[member]);
    }
}

static void keep_tokens(const compress_job *job)
{
    const ds4_span *span = job->span;
    float          *ring_k = (float *)(uintptr_t)job->ring_k, *ring_s = (float *)(uintptr_t)job->ring_s;
    const uint32_t  skip = span->n > job->n_places ? span->n - job->n_places : 0;
    const size_t    bytes = job->width * sizeof(float);

    for (uint32_t i = skip; i < span->n; i++) {
        const size_t place = (span->pos + i) % job->n_places;
        memcpy(ring_k + place * job->width, cpu_row(job->op->k, span->first + i), bytes);
        memcpy(ring_s + place * job->width, cpu_row(job->op->s, span->first + i), bytes);
    }
}

ds4_status cpu_compress(ds4_dev *dev, const ds4_op_compress *op, ds4_err *err)
{
    for (uint32_t i = 0; i < dev->batch->n_spans; i++) {
        compress_job job = job_of(dev, op, &dev->batch->span[i]);

        cpu_run(dev, add_bias_share, &job, job.span->n);
        if (job.n_rows) cpu_run(dev, emit_share, &job, job.n_rows);
        const int reason = atomic_load(&job.reason);
        if (reason != 0) return cpu_spill_failed(dev->spill, reason, err);
        keep_tokens(&job);
    }
    return DS4_OK;
}
