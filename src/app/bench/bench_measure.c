/* bench_measure.c - prefill and decoding at growing contexts; see bench.h.
 *
 * One session is filled from one context length to the next. At each it is kept as a
 * snapshot, from which it and the other sessions of a batch start decoding; so decoding
 * leaves no trace in what is prefilled next. Sessions of a batch begin with different
 * tokens, otherwise all would choose the same experts.
 *
 * The speed of the memory is measured before, between and after the steps of decoding, in
 * time that does not count. */
#include "app/bench/bench.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/output.h"
#include "format/gguf_text.h"
#include "text/vocab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_TOKENS = 256, WARM_GEN = 8 };

static const double seconds_between_rounds = 0.5;      /* of decoding */

/* Rounds of the probe beside the decoding of one row, in GB/s. */
typedef struct rounds {
    double  *gbps;                  /* [n] */
    uint32_t n, n_alloc;
} rounds;

typedef struct bench {
    const bench_options *o;
    ds4_engine          *e;
    bench_weights        weights;
    int32_t             *prompt;        /* [ctx_max] */
    ds4_session        **session;       /* [max_sessions] */
    float               *logits;        /* [max_sessions][n_vocab] */
    float               *start;         /* [n_vocab] logits at the end of the prefill */
    ds4_work            *work;          /* [max_sessions] */
    int32_t             *token;         /* [max_sessions] */
    uint32_t             n_vocab;
    double              *samples;       /* [n_rows][3][n_repeats]: prefill, decode, first token */
    bench_probe         *probe;
    rounds              *rounds;        /* [n_rows], over all repeats */
    double               best_gbps;     /* of all rounds */
    const ds4_cancel    *cancel;
    bench_ops           *ops;           /* [BENCH_N_PHASES] or NULL */
} bench;

enum { PREFILL_TPS, GEN_TPS, TTFT_MS, N_KINDS };

static double seconds_since(uint64_t start_ns)
{
    const uint64_t ns = ds4_now_ns() - start_ns;
    return (double)(ns ? ns : 1) * 1e-9;
}

/* ---- the points ------------------------------------------------------------------------- */

/* Context lengths from ctx_start on; the last is ctx_max. */
static uint32_t list_points(const bench_options *o, uint32_t *points)
{
    uint32_t n = 0;

    for (uint64_t ctx = o->ctx_start; n < BENCH_MAX_POINTS; ) {
        points[n++] = (uint32_t)(ctx < o->ctx_max ? ctx : o->ctx_max);
        if (ctx >= o->ctx_max) break;
        const uint64_t by = (uint64_t)((double)ctx * (double)o->step_mul.value);
        ctx = o->step_mul.value > 1.0f ? (by > ctx ? by : ctx + 1) : ctx + o->step_incr;
    }
    return n;
}

static ds4_status kv_bytes(const bench *b, uint32_t ctx, uint64_t *out, ds4_err *err)
{
    const ds4_engine_options opt = { .model_path = ds4_engine_info(b->e)->path, .plan_ctx = ctx,
                                     .plan_sessions = 1 };
    ds4_plan                 plan;

    DS4_TRY(ds4_plan_make(&opt, &plan, err));
    *out = plan.kv - ctx * (uint64_t)sizeof(int32_t);
    return DS4_OK;
}

static ds4_status make_rows(bench *b, bench_result *r, ds4_err *err)
{
    const bench_options *o = b->o;
    static uint32_t      points[BENCH_MAX_POINTS];
    const uint32_t       n = list_points(o, points);

    r->n_rows = n * o->n_batches;
    r->rows = calloc(r->n_rows, sizeof *r->rows);
    b->samples = calloc((size_t)r->n_rows * N_KINDS * o->n_repeats, sizeof *b->samples);
    b->rounds = calloc(r->n_rows, sizeof *b->rounds);
    if (!r->rows || !b->samples || !b->rounds) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u points", n);
    }
    for (uint32_t i = 0; i < r->n_rows; i++) {
        const uint32_t at = i / o->n_batches, before = at ? points[at - 1] : 0;
        bench_row     *row = &r->rows[i];
        *row = (bench_row){ .ctx_tokens = points[at], .prefill_tokens = points[at] - before,
                            .gen_tokens = o->gen_tokens, .batch = o->batch[i % o->n_batches] };
        DS4_TRY(kv_bytes(b, row->ctx_tokens, &row->kvcache_bytes, err));
    }
    return DS4_OK;
}

/* ---- running ---------------------------------------------------------------------------- */

static ds4_status prefill(bench *b, uint32_t ctx, double *seconds, ds4_err *err)
{
    const uint32_t    pos = ds4_session_pos(b->session[0]);
    const ds4_prefill p = { .tokens = b->prompt + pos, .n_tokens = ctx - pos, .chunk = b->o->chunk,
                            .logits = b->start, .cancel = b->cancel };
    const uint32_t    n_steps = (p.n_tokens + p.chunk - 1) / p.chunk;

    bench_ops_begin(b->ops, BENCH_PREFILL, b->e, b->o->trace);
    const uint64_t   start_ns = ds4_now_ns();
    const ds4_status st = ds4_session_prefill(b->session[0], &p, err);
    *seconds = seconds_since(start_ns);
    bench_ops_end(b->ops, BENCH_PREFILL, b->e, p.n_tokens, n_steps, *seconds);
    return st;
}

/* The likeliest token that does not end an answer; lowest id on a tie. */
static int32_t best_token(const bench *b, const float *logits)
{
    const ds4_specials *s = ds4_vocab_specials(ds4_engine_vocab(b->e));
    int32_t             best = -1;

    for (int32_t i = 0; (uint32_t)i < b->n_vocab; i++) {
        if (i == s->eos || i == s->eot) continue;
        if (best < 0 || logits[i] > logits[best]) best = i;
    }
    return best;
}

/* The first token of session i is the i-th likeliest. Changes b->logits only. */
static void choose_first(bench *b, uint32_t n_sessions)
{
    memcpy(b->logits, b->start, b->n_vocab * sizeof *b->logits);
    for (uint32_t i = 0; i < n_sessions; i++) {
        b->token[i] = best_token(b, b->logits);
        b->logits[b->token[i]] = -INFINITY;
    }
}

/* One round of the probe; out NULL: none. */
static ds4_status read_memory(bench *b, rounds *out, ds4_err *err)
{
    if (!out) return DS4_OK;
    if (out->n == out->n_alloc) {
        const uint32_t n = out->n_alloc ? 2 * out->n_alloc : 8;
        double        *more = realloc(out->gbps, n * sizeof *more);
        if (!more) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u rounds of the bandwidth probe", n);
        out->gbps = more;
        out->n_alloc = n;
    }
    const double gbps = bench_probe_round(b->probe);
    if (gbps > b->best_gbps) b->best_gbps = gbps;
    out->gbps[out->n++] = gbps;
    return DS4_OK;
}

typedef struct decoding {
    uint32_t n_sessions, n_tokens;
    rounds  *beside;                /* NULL: the probe rests */
    double   seconds;               /* result: of decoding alone */
} decoding;

static ds4_status decode_steps(bench *b, decoding *d, ds4_err *err)
{
    DS4_TRY(read_memory(b, d->beside, err));
    uint64_t start_ns = ds4_now_ns();
    for (uint32_t t = 0; t < d->n_tokens; t++) {
        if (b->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "interrupted");
        DS4_TRY(ds4_engine_step(b->e, b->work, d->n_sessions, err));
        for (uint32_t i = 0; i < d->n_sessions; i++) b->token[i] = best_token(b, b->work[i].logits);
        const double seconds = seconds_since(start_ns);
        if (seconds < seconds_between_rounds && t + 1 < d->n_tokens) continue;
        d->seconds += seconds;
        DS4_TRY(read_memory(b, d->beside, err));
        start_ns = ds4_now_ns();
    }
    return DS4_OK;
}

static ds4_status decode(bench *b, decoding *d, ds4_err *err)
{
    choose_first(b, d->n_sessions);
    for (uint32_t i = 0; i < d->n_sessions; i++) {
        b->work[i] = (ds4_work){ .session = b->session[i], .tokens = &b->token[i], .n_tokens = 1,
                                 .logits = b->logits + (size_t)i * b->n_vocab };
    }
    bench_ops_begin(b->ops, BENCH_DECODE, b->e, b->o->trace);
    const ds4_status st = decode_steps(b, d, err);
    bench_ops_end(b->ops, BENCH_DECODE, b->e, (uint64_t)d->n_sessions * d->n_tokens, d->n_tokens, d->seconds);
    return st;
}

/* All batch sizes at one context: n_batches rows of r from i_row on. */
static ds4_status decode_batches(bench *b, const bench_result *r, uint32_t i_row, uint32_t i_repeat,
                                 ds4_err *err)
{
    const uint32_t n_repeats = b->o->n_repeats;
    ds4_snapshot  *point = NULL;
    ds4_status     st = ds4_session_snapshot(b->session[0], &point, err);

    for (uint32_t i = i_row; st == DS4_OK && i < i_row + b->o->n_batches; i++) {
        const bench_row *row = &r->rows[i];
        decoding         d = { .n_sessions = row->batch, .n_tokens = row->gen_tokens,
                               .beside = &b->rounds[i] };
        ds4_term_progress("context %u, batch %u: decoding", row->ctx_tokens, row->batch);
        for (uint32_t s = 0; st == DS4_OK && s < row->batch; s++) {
            st = ds4_session_restore(b->session[s], point, err);
        }
        if (st == DS4_OK) st = decode(b, &d, err);
        if (st != DS4_OK) break;
        b->samples[((size_t)i * N_KINDS + GEN_TPS) * n_repeats + i_repeat] =
            row->batch * row->gen_tokens / d.seconds;
    }
    if (st == DS4_OK) st = ds4_session_restore(b->session[0], point, err);
    ds4_snapshot_free(point);
    return st;
}

/* Write the logits at a context, as they are in memory. */
static ds4_status write_logits(const bench *b, uint32_t ctx, ds4_err *err)
{
    ds4_str path = { 0 };

    ds4_str_addf(&path, "%s/ctx-%u.f32", b->o->logits_dir, ctx);
    const ds4_status st = ds4_output_put(ds4_str_text(&path), b->start, b->n_vocab * sizeof *b->start, err);
    ds4_str_clear(&path);
    return st;
}

static ds4_status run_once(bench *b, const bench_result *r, uint32_t i_repeat, ds4_err *err)
{
    const uint32_t n_repeats = b->o->n_repeats, n_batches = b->o->n_batches;
    double         seconds, total = 0.0;

    ds4_session_clear(b->session[0]);
    for (uint32_t i = 0; i < r->n_rows; i += n_batches) {
        const bench_row *rows = &r->rows[i];
        double          *samples = b->samples + (size_t)i * N_KINDS * n_repeats;

        ds4_term_progress("context %u: prefill", rows->ctx_tokens);
        DS4_TRY(prefill(b, rows->ctx_tokens, &seconds, err));
        total += seconds;
        for (uint32_t j = 0; j < n_batches; j++) {
            double *of_row = samples + (size_t)j * N_KINDS * n_repeats;
            of_row[PREFILL_TPS * n_repeats + i_repeat] = rows->prefill_tokens / seconds;
            of_row[TTFT_MS * n_repeats + i_repeat] = total * 1e3;
        }
        if (b->o->logits_dir && i_repeat == 0) DS4_TRY(write_logits(b, rows->ctx_tokens, err));
        if (b->o->gen_tokens > 0) DS4_TRY(decode_batches(b, r, i, i_repeat, err));
    }
    return DS4_OK;
}

static ds4_status warm_up(bench *b, ds4_err *err)
{
    const uint32_t ctx = b->o->ctx_start < WARM_TOKENS ? b->o->ctx_start : WARM_TOKENS;
    decoding       d = { .n_sessions = 1,
                         .n_tokens = b->o->gen_tokens < WARM_GEN ? b->o->gen_tokens : WARM_GEN };
    double         seconds;

    ds4_term_progress("warming up");
    ds4_session_clear(b->session[0]);
    DS4_TRY(prefill(b, ctx, &seconds, err));
    return decode(b, &d, err);
}

/* ---- summing up -------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts x. */
static double median(double *x, uint32_t n)
{
    qsort(x, n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static void sum_up(const bench *b, bench_result *r)
{
    const uint32_t n = b->o->n_repeats;

    for (uint32_t i = 0; i < r->n_rows; i++) {
        double      *samples = b->samples + (size_t)i * N_KINDS * n;
        bench_row   *row = &r->rows[i];
        const double bytes = bench_step_bytes(&b->weights, row->batch, row->ctx_tokens);

        row->prefill_tps = median(samples + PREFILL_TPS * n, n);
        row->prefill_tps_min = samples[PREFILL_TPS * n];
        row->gen_tps = median(samples + GEN_TPS * n, n);
        row->gen_tps_min = samples[GEN_TPS * n];
        row->ttft_ms = median(samples + TTFT_MS * n, n);
        row->gbps = row->gen_tps / row->batch * bytes * 1e-9;
        if (b->rounds[i].n > 0) {
            row->probe_gbps = median(b->rounds[i].gbps, b->rounds[i].n);
            row->bandwidth_share = row->gbps / row->probe_gbps;
        }
    }
    r->probe_gbps = b->best_gbps;
    r->peak_bytes = bench_probe_peak(b->probe);
}

/* ---- everything ---------------------------------------------------------------------------- */

static ds4_status open_sessions(bench *b, ds4_err *err)
{
    const uint32_t n = b->o->max_sessions;

    b->n_vocab = ds4_engine_info(b->e)->n_vocab;
    b->session = calloc(n, sizeof(ds4_session *));
    b->work = calloc(n, sizeof *b->work);
    b->token = calloc(n, sizeof *b->token);
    b->logits = malloc((size_t)n * b->n_vocab * sizeof *b->logits);
    b->start = malloc(b->n_vocab * sizeof *b->start);
    if (!b->session || !b->work || !b->token || !b->logits || !b->start) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u sessions", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        DS4_TRY(ds4_session_create(b->e, b->o->ctx_alloc, &b->session[i], err));
    }
    return DS4_OK;
}

static void clear(bench *b, uint32_t n_rows)
{
    for (uint32_t i = 0; b->rounds && i < n_rows; i++) free(b->rounds[i].gbps);
    free(b->rounds);
    bench_probe_close(b->probe);
    for (uint32_t i = 0; b->session && i < b->o->max_sessions; i++) ds4_session_free(b->session[i]);
    free(b->session);
    free(b->work);
    free(b->token);
    free(b->logits);
    free(b->start);
    free(b->prompt);
    free(b->samples);
}

/* Without decoding there is one round, so that the memory's speed can be told at all. */
static ds4_status open_probe(bench *b, ds4_err *err)
{
    ds4_term_progress("reading memory");
    DS4_TRY(bench_probe_open(&b->probe, b->e, err));
    if (b->o->gen_tokens == 0) b->best_gbps = bench_probe_round(b->probe);
    return DS4_OK;
}

ds4_status bench_measure(const bench_options *o, ds4_engine *e, bench_result *out, ds4_err *err)
{
    const ds4_model_info *info = ds4_engine_info(e);
    bench                 b = { .o = o, .e = e, .cancel = ds4_interrupt_catch(true) };

    *out = (bench_result){ .options = o, .file_bytes = info->file_bytes,
                           .n_threads = ds4_engine_threads(e) };
    const char *name = *info->name ? info->name : info->path;
    ds4_str     clean = { 0 };
    ds4_text_clean((ds4_slice){ name, strlen(name) }, sizeof out->model - 4, &clean);
    snprintf(out->model, sizeof out->model, "%s", ds4_str_text(&clean));
    ds4_str_clear(&clean);
    ds4_status st = bench_prompt(e, o, &b.prompt, err);
    if (st == DS4_OK) st = bench_weights_read(info->path, &b.weights, err);
    if (st == DS4_OK) st = open_sessions(&b, err);
    if (st == DS4_OK) st = make_rows(&b, out, err);
    if (st == DS4_OK) st = open_probe(&b, err);
    if (st == DS4_OK && o->warmup) st = warm_up(&b, err);
    if (st == DS4_OK && o->ops) {
        b.ops = out->ops = calloc(BENCH_N_PHASES, sizeof *out->ops);
        if (!b.ops) st = ds4_fail(err, DS4_E_NOMEM, "no memory for the times of operations");
    }
    for (uint32_t i = 0; st == DS4_OK && i < o->n_repeats; i++) st = run_once(&b, out, i, err);
    if (st == DS4_OK) sum_up(&b, out);
    ds4_term_progress_end();
    clear(&b, out->n_rows);
    return st;
}
