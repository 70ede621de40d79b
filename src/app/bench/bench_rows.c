/* bench_rows.c - what steps of several tokens of one answer cost: the table that speculation lives by. */
#include "app/bench/bench.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_ROWS = DS4_MAX_DRAFT,
    WARM_ROUNDS = 2,
};

typedef struct rows_bench {
    const bench_options *o;
    ds4_engine          *e;
    ds4_session         *session;
    int32_t             *prompt;        /* [ctx_start] */
    float               *logits;        /* [MAX_ROWS][n_vocab] */
    uint32_t             n_vocab;
    int32_t              token[MAX_ROWS];       /* the model's own: experts are chosen as in an answer */
    double              *ms;            /* [MAX_ROWS][gen_tokens] */
    const ds4_cancel    *cancel;
} rows_bench;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static ds4_status step(rows_bench *b, uint32_t n_rows, double *ms, ds4_err *err)
{
    const ds4_work work = { .session = b->session, .tokens = b->token, .n_tokens = n_rows,
                            .logits = b->logits, .all_logits = true, .decode = true };
    const uint64_t begin_ns = ds4_now_ns();

    if (b->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "interrupted");
    DS4_TRY(ds4_engine_step(b->e, &work, 1, err));
    *ms = (double)(ds4_now_ns() - begin_ns) / 1e6;
    return ds4_session_rewind(b->session, n_rows, err);
}

static int32_t likeliest(const float *logits, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < n; i++) best = logits[i] > logits[best] ? i : best;
    return (int32_t)best;
}

/* The tokens that are evaluated again and again: each the likeliest behind the one before. */
static ds4_status choose_tokens(rows_bench *b, ds4_err *err)
{
    double ms;

    b->token[0] = likeliest(b->logits, b->n_vocab);
    for (uint32_t i = 1; i < MAX_ROWS; i++) {
        DS4_TRY(step(b, i, &ms, err));
        b->token[i] = likeliest(b->logits + (size_t)(i - 1) * b->n_vocab, b->n_vocab);
    }
    return DS4_OK;
}

/* All widths in turn, so that what changes on the machine meets all of them. */
static ds4_status measure(rows_bench *b, ds4_err *err)
{
    const ds4_prefill p = { .tokens = b->prompt, .n_tokens = b->o->ctx_start, .chunk = b->o->chunk,
                            .logits = b->logits, .cancel = b->cancel };

    DS4_TRY(ds4_session_prefill(b->session, &p, err));
    DS4_TRY(choose_tokens(b, err));
    for (uint32_t i = 0; i < WARM_ROUNDS + b->o->gen_tokens; i++) {
        for (uint32_t n = 1; n <= MAX_ROWS; n++) {
            double ms;
            DS4_TRY(step(b, n, &ms, err));
            if (i >= WARM_ROUNDS) b->ms[(size_t)(n - 1) * b->o->gen_tokens + i - WARM_ROUNDS] = ms;
        }
    }
    return DS4_OK;
}

static void report(const rows_bench *b, ds4_str *out)
{
    const uint32_t n = b->o->gen_tokens;
    double         one = 0, least_of_one = 0;

    ds4_str_add_text(out, "ctx_tokens,rows,ms,ms_min,cost,cost_of_min\n");
    for (uint32_t i = 0; i < MAX_ROWS; i++) {
        double *ms = b->ms + (size_t)i * n;
        qsort(ms, n, sizeof *ms, by_value);
        const double median = n % 2 ? ms[n / 2] : 0.5 * (ms[n / 2 - 1] + ms[n / 2]);
        if (i == 0) one = median;
        if (i == 0) least_of_one = ms[0];
        ds4_str_addf(out, "%u,%u,%.3f,%.3f,%.3f,%.3f\n", b->o->ctx_start, i + 1, median, ms[0], median / one,
                     ms[0] / least_of_one);
    }
}

static ds4_status open_parts(rows_bench *b, ds4_err *err)
{
    b->n_vocab = ds4_engine_info(b->e)->n_vocab;
    b->logits = malloc((size_t)MAX_ROWS * b->n_vocab * sizeof *b->logits);
    b->ms = calloc((size_t)MAX_ROWS * b->o->gen_tokens, sizeof *b->ms);
    if (!b->logits || !b->ms) return ds4_fail(err, DS4_E_NOMEM, "no memory for %d rows of logits", MAX_ROWS);
    DS4_TRY(bench_prompt(b->e, b->o, &b->prompt, err));
    return ds4_session_create(b->e, b->o->ctx_start + MAX_ROWS + 1, &b->session, err);
}

ds4_status bench_rows(const bench_options *o, ds4_engine *e, ds4_str *out, ds4_err *err)
{
    rows_bench b = { .o = o, .e = e, .cancel = ds4_interrupt_catch(true) };
    ds4_status st = open_parts(&b, err);

    if (st == DS4_OK) st = measure(&b, err);
    if (st == DS4_OK) report(&b, out);
    ds4_session_free(b.session);
    free(b.prompt);
    free(b.logits);
    free(b.ms);
    return st;
}
