/* gpu_step.c - the tables that tell kernels about a step: tokens, positions, spans, where sessions'
 * rows are.
 *
 * They are put together on the host and written in one piece. Their places stay the same from step to
 * step as long as the room suffices, so that recorded launches find them. */
#include "backend/gpu/gpu_local.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 256, ROWS_STEP = 512 };

/* The blocks whose rows are complete after the step, so that every entry is a block that exists. */
static uint32_t blocks_of(const ds4_batch *batch, const ds4_span *span)
{
    const uint32_t n_rows = (span->pos + span->n) / 4;

    return batch->kv && batch->kv->cold_bytes + batch->kv->warm_bytes && span->blocks
               ? gpu_div_up(n_rows, DS4_BLOCK_TOKENS / 4)
               : 0;
}

typedef struct sizes {
    uint64_t token, span, block; /* bytes of a table by tokens, spans, blocks */
} sizes;

static uint64_t round_up(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static sizes sizes_of(uint32_t n_tokens, uint32_t n_spans, uint64_t n_blocks)
{
    return (sizes){ round_up(n_tokens * 4ull), round_up(n_spans * sizeof(kd_span)),
                    round_up((n_blocks + 1) * sizeof(kd_block)) };
}

static uint64_t total_of(sizes s)
{
    return 4 * s.token + s.span + s.block;
}

void gpu_step_free(ds4_dev *dev)
{
    dev->api->free(dev->gpu, dev->step.at);
    free(dev->step.host);
    dev->step = (gpu_step){ 0 };
}

/* Room for max_batch tokens and spans, and for more blocks than are needed now. */
static ds4_status reserve(ds4_dev *dev, uint64_t n_blocks, uint32_t n_tokens, ds4_err *err)
{
    gpu_step      *st = &dev->step;
    const uint32_t most = dev->limits.max_batch > n_tokens ? dev->limits.max_batch : n_tokens;
    sizes          s = sizes_of(most, most, n_blocks);

    if (st->at && total_of(s) <= st->n_bytes) return DS4_OK;
    gpu_step_free(dev);
    s = sizes_of(most, most, 2 * n_blocks + 64);
    const uint64_t n_bytes = total_of(s);
    st->host = calloc(1, n_bytes);
    if (!st->host) return ds4_fail(err, DS4_E_NOMEM, "no memory for the tables of a step");
    DS4_TRY(gpu_alloc_own(dev, n_bytes, &st->at, err));
    st->n_bytes = n_bytes;
    st->row = st->at;
    st->token = st->row + s.token;
    st->pos = st->token + s.token;
    st->span_of = st->pos + s.token;
    st->span = st->span_of + s.token;
    st->block = st->span + s.span; /* the last: it may grow into what is left */
    return DS4_OK;
}

static uint8_t *host_at(const gpu_step *st, gpu_at at)
{
    return (uint8_t *)st->host + (at - st->at);
}

static uint64_t fill_spans(const gpu_step *st, const ds4_batch *batch)
{
    kd_span  *span = (kd_span *)(void *)host_at(st, st->span);
    kd_block *block = (kd_block *)(void *)host_at(st, st->block);
    uint64_t  n_blocks = 0;

    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const ds4_span *s = &batch->span[i];
        span[i] = (kd_span){ .tail = gpu_address(s->tail),
                             .first = s->first,
                             .n = s->n,
                             .pos = s->pos,
                             .blocks = (uint32_t)n_blocks };
        const uint32_t n = blocks_of(batch, s);
        for (uint32_t b = 0; b < n; b++) {
            block[n_blocks++] =
                (kd_block){ gpu_address(s->blocks[b].cold), gpu_address(s->blocks[b].warm) };
        }
    }
    return n_blocks;
}

ds4_status gpu_step_begin(ds4_dev *dev, const ds4_batch *batch, ds4_err *err)
{
    gpu_step *st = &dev->step;
    uint64_t  n_blocks = 0;

    for (uint32_t i = 0; i < batch->n_spans; i++) n_blocks += blocks_of(batch, &batch->span[i]);
    DS4_TRY(reserve(dev, n_blocks, batch->n_tokens, err));
    st->max_span = st->max_rows = 0;
    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const ds4_span *s = &batch->span[i];
        if (s->n > st->max_span) st->max_span = s->n;
        if ((s->pos + s->n) / 4 > st->max_rows) st->max_rows = (s->pos + s->n) / 4;
    }
    /* Grids grow in steps, so that recorded launches serve for many tokens; what is too much ends at
     * once. */
    st->max_rows = gpu_div_up(st->max_rows, ROWS_STEP) * ROWS_STEP;
    st->n_tokens = batch->n_tokens;
    st->n_spans = batch->n_spans;
    st->n_rows = batch->n_logit_rows;
    if (st->n_rows > 0)
        memcpy(host_at(st, st->row), batch->logit_row, st->n_rows * sizeof *batch->logit_row);
    memcpy(host_at(st, st->token), batch->token, batch->n_tokens * sizeof *batch->token);
    memcpy(host_at(st, st->pos), batch->pos, batch->n_tokens * sizeof *batch->pos);
    memcpy(host_at(st, st->span_of), batch->span_of, batch->n_tokens * sizeof *batch->span_of);
    n_blocks = fill_spans(st, batch);
    const uint64_t n_bytes = st->block + n_blocks * sizeof(kd_block) - st->at;
    return dev->api->queue_write(dev->gpu, st->at, st->host, n_bytes, err);
}
