/* ops_run.c - arrays, running and comparing. See ops.h. */
#include "ops/ops.h"

#include "format/dtype.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATTERN = 0xa5 };

/* ---- failing ------------------------------------------------------------------------------------- */

void ops_fail(ops *o, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(o->why, sizeof o->why, fmt, args);
    va_end(args);
    longjmp(o->end, 1);
}

static void must(ops *o, ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) ops_fail(o, "%s", err->text);
}

/* ---- a device of its own for each case ------------------------------------------------------------ */

static void open_case(ops *o)
{
    const ops_shape *s = o->shape;
    ds4_shape        shape = { .n_layers = 3,
                               .n_heads = s->n_heads,
                               .n_head = s->n_head,
                               .n_rot = s->n_rot,
                               .n_window = s->n_window,
                               .index_heads = s->index_heads,
                               .n_index = s->n_index,
                               .top_k = s->top_k,
                               .ratio = { 0, 4, 128 } };
    ds4_err          err;

    ds4_kv_layout_make(&shape, o->form, o->form == DS4_KV_FLOATS ? DS4_KV_FLOATS : DS4_KV_RECORDS, o->layer,
                       &o->kv);
    o->limits = (ds4_limits){ .n_threads = 2,
                              .max_batch = o->n_tokens,
                              .max_ctx = 65536,
                              .kv = &o->kv,
                              .max_logit_rows = (o->n_tokens + 1) / 2 };
    if (o->spills) {
        const char *out = getenv("OUT");
        o->limits.spill_dir = out && access(out, W_OK) == 0 ? out : "build";
        o->limits.spill_bytes = 64 << 10;           /* of these few stay in memory */
        o->limits.spill_row = o->kv.row_bytes;
    }
    must(o, o->backend->open(0, &o->limits, &o->dev, &err), &err);
}

static void close_case(ops *o)
{
    for (uint32_t i = 0; i < o->n_arrays; i++) {
        o->backend->free(o->dev, o->array[i].buf);
        free(o->array[i].host);
        free(o->array[i].found);
    }
    o->backend->close(o->dev);
    for (uint32_t i = 0; i < o->n_weights; i++) munmap(o->weights[i].bytes, o->weights[i].n_bytes);
    o->dev = NULL;
    for (uint32_t i = 0; i < o->n_memory; i++) free(o->memory[i]);
    o->n_arrays = o->n_weights = o->n_memory = 0;
}

bool ops_run_case(ops *o, ops_case *fn)
{
    volatile bool passed = false; /* across the jump */

    o->is_refused = false;
    o->why[0] = '\0';
    ds4_kernels_init(&o->ref, 0);
    if (setjmp(o->end) == 0) {
        open_case(o);
        fn(o);
        ops_unchanged(o);
        passed = true;
    }
    close_case(o);
    return passed || o->is_refused;
}

/* ---- values -------------------------------------------------------------------------------------- */

uint32_t ops_below(ops *o, uint32_t n)
{
    return (uint32_t)((ds4_rng_next(&o->rng) >> 32) * n >> 32);
}

float ops_normal(ops *o)
{
    const uint64_t r = ds4_rng_next(&o->rng);
    const int32_t  sum = (int32_t)(r & 0xffff) + (int32_t)(r >> 16 & 0xffff) + (int32_t)(r >> 32 & 0xffff) +
                        (int32_t)(r >> 48) - 2 * 0xffff;
    return (float)sum * (1.7320508f / 65536.0f);
}

/* Extreme: large and small magnitudes side by side, of both signs. */
float ops_value(ops *o)
{
    static const float sizes[] = { 1.0f, 1e-6f, 30.0f, 300.0f, 1e-3f };

    if (o->fill == OPS_ZERO) return 0.0f;
    if (o->fill == OPS_ORDINARY) return ops_normal(o);
    const float x = sizes[ops_below(o, sizeof sizes / sizeof *sizes)];
    return ops_below(o, 2) ? x : -x;
}

/* ---- arrays -------------------------------------------------------------------------------------- */

static ops_array *array_of(ops *o, ds4_mem kind, uint64_t n_bytes)
{
    ds4_err err;

    if (o->n_arrays == OPS_MAX_ARRAYS) ops_fail(o, "too many arrays");
    ops_array *a = &o->array[o->n_arrays];
    *a = (ops_array){ .n_bytes = n_bytes };
    must(o, ds4_backend_take(o->backend, o->dev, kind, n_bytes, &a->buf, &err), &err);
    o->n_arrays++;
    a->host = malloc(n_bytes + 1);
    if (!a->host) ops_fail(o, "no memory for an array of %llu bytes", (unsigned long long)n_bytes);
    return a;
}

void *ops_memory(ops *o, uint64_t n_bytes)
{
    if (o->n_memory == OPS_MAX_MEMORY) ops_fail(o, "too many pieces of memory");
    void *at = calloc(1, n_bytes + 1);
    if (!at) ops_fail(o, "no memory for %llu bytes", (unsigned long long)n_bytes);
    o->memory[o->n_memory++] = at;
    return at;
}

static ops_array *new_array(ops *o, uint64_t n_bytes)
{
    return array_of(o, DS4_MEM_DEVICE, n_bytes);
}

static void put(ops *o, const ops_array *a)
{
    ds4_err err;
    must(o, ds4_backend_write(o->backend, o->dev, ops_view(a), a->host, a->n_bytes, &err), &err);
}

ops_array *ops_floats(ops *o, uint64_t n)
{
    ops_array *a = new_array(o, n * sizeof(float));
    float     *x = (float *)(void *)a->host;

    for (uint64_t i = 0; i < n; i++) x[i] = ops_value(o);
    put(o, a);
    return a;
}

ops_array *ops_bytes(ops *o, const void *bytes, uint64_t n_bytes)
{
    ops_array *a = new_array(o, n_bytes);

    memcpy(a->host, bytes, n_bytes);
    put(o, a);
    return a;
}

ops_array *ops_cold(ops *o, const void *bytes, uint64_t n_bytes)
{
    ops_array *a = array_of(o, DS4_MEM_COLD, n_bytes);

    memcpy(a->host, bytes, n_bytes);
    put(o, a);
    return a;
}

ops_array *ops_room(ops *o, uint64_t n_bytes)
{
    ops_array *a = new_array(o, n_bytes);

    memset(a->host, PATTERN, n_bytes);
    put(o, a);
    return a;
}

/* ---- weights ------------------------------------------------------------------------------------- */

static uint16_t random_half(ops *o)
{
    static const uint16_t edge[] = { 0x0001, 0x03ff, 0x0400, 0x5bff, 0x3c00, 0x8001, 0xdbff };

    if (o->fill == OPS_ZERO) return 0;
    if (o->fill == OPS_EXTREME) return edge[ops_below(o, sizeof edge / sizeof *edge)];
    return (uint16_t)((ops_below(o, 2) << 15) + 0x2400 + ops_below(o, 0x1400));
}

static void put_half(ops *o, uint8_t *at)
{
    const uint16_t h = random_half(o);
    memcpy(at, &h, sizeof h);
}

/* A block of any bits with scales that are finite. */
static void random_block(ops *o, uint8_t *at, uint32_t dtype, uint32_t n_bytes)
{
    memset(at, 0, n_bytes);
    for (uint32_t i = 0; o->fill != OPS_ZERO && i < n_bytes; i += 8) {
        const uint64_t bits = ds4_rng_next(&o->rng);
        memcpy(at + i, &bits, n_bytes - i < 8 ? n_bytes - i : 8);
    }
    switch (dtype) {
    case DS4_Q8_0:
    case DS4_IQ2_XXS:
    case DS4_T66: put_half(o, at); break;
    case DS4_Q4_K:
        put_half(o, at);
        put_half(o, at + 2);
        break;
    case DS4_Q2_K:
        put_half(o, at + 80);
        put_half(o, at + 82);
        break;
    case DS4_Q6_K: put_half(o, at + 208); break;
    case DS4_MXFP4:
        at[0] = (uint8_t)(o->fill == OPS_EXTREME ? 100 + ops_below(o, 40) : 122 + ops_below(o, 6));
        break;
    default: break;
    }
}

static void random_row(ops *o, uint8_t *at, uint32_t dtype, uint32_t n_in)
{
    const ds4_dtype_info *info = ds4_dtype_get(dtype);

    for (uint32_t i = 0; i < n_in / info->block_elems; i++, at += info->block_bytes) {
        const float x = dtype == DS4_F32 || dtype == DS4_BF16 ? ops_value(o) : 0.0f;
        if (dtype == DS4_F32)
            memcpy(at, &x, sizeof x);
        else if (dtype == DS4_F16)
            put_half(o, at);
        else if (dtype == DS4_BF16)
            memcpy(at, (const uint8_t *)&x + 2, 2);
        else
            random_block(o, at, dtype, info->block_bytes);
    }
}

/* As a model's file is: mapped, so that a backend may tell the system to forget pages. */
static uint8_t *map_room(ops *o, uint64_t n_bytes)
{
    FILE *file = tmpfile();

    if (!file || ftruncate(fileno(file), (off_t)n_bytes) != 0) ops_fail(o, "no temporary file");
    uint8_t *map = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
    fclose(file);
    if (map == MAP_FAILED) ops_fail(o, "no memory for weights of %llu bytes", (unsigned long long)n_bytes);
    return map;
}

uint32_t ops_whole_blocks(uint32_t dtype, uint32_t n)
{
    const uint32_t block = ds4_dtype_get(dtype)->block_elems;
    return n < block ? block : n / block * block;
}

ops_weights *ops_matrix(ops *o, uint32_t dtype, uint32_t n_in, uint32_t n_out, uint32_t n_mats, ds4_use use)
{
    ops_weights *w = &o->weights[o->n_weights];
    ds4_err      err;

    *w = (ops_weights){ .row_bytes = ds4_row_bytes(dtype, n_in) };
    w->n_bytes = w->row_bytes * n_out * n_mats;
    w->bytes = map_room(o, w->n_bytes);
    o->n_weights++;
    for (uint64_t r = 0; r < (uint64_t)n_out * n_mats; r++)
        random_row(o, w->bytes + r * w->row_bytes, dtype, n_in);
    const ds4_tensor t = { .name = "random",
                           .path = "memory",
                           .data = w->bytes,
                           .n_bytes = w->n_bytes,
                           .dtype = dtype,
                           .n_in = n_in,
                           .n_out = n_out,
                           .n_mats = n_mats,
                           .use = use };
    const ds4_status st = o->backend->bind(o->dev, &t, &w->w, &err);
    o->is_refused = st == DS4_E_UNSUPPORTED;
    must(o, st, &err);
    must(o, o->backend->load(o->dev, &(ds4_loading){ 0 }, &err), &err);
    return w;
}

void ops_decode(const ops *o, const ops_weights *w, uint64_t r, float *out)
{
    o->ref.decode[w->w.dtype](out, w->bytes + r * w->row_bytes, w->w.n_in);
}

/* ---- running ------------------------------------------------------------------------------------- */

void ops_plain_batch(ops *o, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < o->n_tokens; i++) {
        o->token[i] = (int32_t)ops_below(o, n_vocab);
        o->pos[i] = ops_below(o, 4) ? ops_below(o, 1 << 20) : ops_below(o, 300);
        o->logit_row[i] = ops_below(o, o->n_tokens);
        o->span_of[i] = 0;
    }
    o->batch = (ds4_batch){ .n_tokens = o->n_tokens,
                            .token = o->token,
                            .pos = o->pos,
                            .span_of = o->span_of,
                            .logit_row = o->logit_row,
                            .n_logit_rows = o->limits.max_logit_rows,
                            .kv = &o->kv };
}

void ops_run(ops *o, ds4_op op)
{
    ds4_program *program;
    ds4_ticket   ticket;
    ds4_err      err;

    op.name = "tested";
    must(o, ds4_ops_check(o->backend, &o->limits, &op, 1, &err), &err);
    const ds4_status st = o->backend->compile(o->dev, &op, 1, &program, &err);
    o->is_refused = st == DS4_E_UNSUPPORTED;
    must(o, st, &err);
    must(o, o->backend->run(o->dev, program, &o->batch, &ticket, &err), &err);
    must(o, o->backend->wait(o->dev, ticket, &err), &err);
    o->backend->drop_program(o->dev, program);
    for (uint32_t i = 0; i < o->n_arrays; i++) {
        free(o->array[i].found);
        o->array[i].found = NULL;
    }
}

const float *ops_found(ops *o, ops_array *a)
{
    ds4_err err;

    a->is_written = true;
    if (!a->found) {
        a->found = malloc(a->n_bytes + 1);
        if (!a->found) ops_fail(o, "no memory for %llu bytes", (unsigned long long)a->n_bytes);
        must(o, ds4_backend_read(o->backend, o->dev, ops_view(a), a->found, a->n_bytes, &err), &err);
    }
    return (const float *)(const void *)a->found;
}

/* ---- comparing ------------------------------------------------------------------------------------ */

void ops_near(ops *o, double got, double want, double bound, const char *what, uint64_t row, uint64_t i)
{
    if (fabs(got - want) <= bound) return;
    ops_fail(o, "%s: row %llu value %llu is %.9g, expected %.9g within %.3g", what, (unsigned long long)row,
             (unsigned long long)i, got, want, bound);
}

void ops_near_row(ops *o, const float *got, const double *want, uint32_t n, double bound, const char *what,
                  uint64_t row)
{
    double squares = 0.0;

    for (uint32_t i = 0; i < n; i++) squares += want[i] * want[i];
    const double most = bound * sqrt(squares / n) + 1e-30;
    for (uint32_t i = 0; i < n; i++) ops_near(o, (double)got[i], want[i], most, what, row, i);
}

void ops_same_bytes(ops *o, ops_array *a, const void *want, const char *what)
{
    const uint8_t *bytes = want;

    ops_found(o, a);
    for (uint64_t i = 0; i < a->n_bytes; i++) {
        if (a->found[i] != bytes[i])
            ops_fail(o, "%s: byte %llu is %u, expected %u", what, (unsigned long long)i, a->found[i],
                     bytes[i]);
    }
}

void ops_unchanged(ops *o)
{
    for (uint32_t i = 0; i < o->n_arrays; i++) {
        ops_array *a = &o->array[i];
        if (!a->is_written) ops_same_bytes(o, a, a->host, "an array that is not written");
    }
}
