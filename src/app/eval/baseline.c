/* baseline.c - see baseline.h. */
#include "app/eval/baseline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "app/common/app.h"
#include "format/gguf.h"
#include "format/gguf_write.h"

struct ds4_baseline {
    ds4_gguf    *file;
    const char  *name;              /* lent by the one who opened it */
    uint32_t     n_vocab, n_top, n_rows;
    int32_t     *tokens;            /* [n_tokens] */
    uint32_t    *end;               /* [n_chunks] */
    uint32_t     n_tokens, n_chunks;
    const float *rows;              /* [n_rows][1 + 2 * n_top], in the mapping */
};

/* ---- running ------------------------------------------------------------------------------------- */

/* Gets the logits behind tokens[pos], and the token that comes next. */
typedef ds4_status row_fn(void *ctx, const float *logits, int32_t next, ds4_err *err);

typedef struct runner {
    ds4_engine       *engine;
    ds4_session      *session;
    float            *logits;       /* [max_batch][n_vocab] */
    const ds4_cancel *cancel;
    row_fn           *fn;
    void             *ctx;
} runner;

static uint32_t rows_of(uint32_t n_tokens)
{
    return n_tokens > DS4_BASELINE_SKIP + 1 ? n_tokens - 1 - DS4_BASELINE_SKIP : 0;
}

static ds4_status run_chunk(const runner *r, const int32_t *tokens, uint32_t n, ds4_err *err)
{
    const uint32_t n_vocab = ds4_engine_info(r->engine)->n_vocab, n_batch = ds4_engine_max_batch(r->engine);

    ds4_session_clear(r->session);
    for (uint32_t at = 0; at + 1 < n;) {
        const bool     is_skipped = at < DS4_BASELINE_SKIP;
        const uint32_t left = (is_skipped && n > DS4_BASELINE_SKIP ? DS4_BASELINE_SKIP : n - 1) - at;
        const ds4_work work = { .session = r->session, .tokens = tokens + at,
                                .n_tokens = left < n_batch ? left : n_batch,
                                .logits = is_skipped ? NULL : r->logits, .all_logits = !is_skipped };
        if (r->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "interrupted");
        DS4_TRY(ds4_engine_step(r->engine, &work, 1, err));
        for (uint32_t i = 0; !is_skipped && i < work.n_tokens; i++) {
            DS4_TRY(r->fn(r->ctx, r->logits + (size_t)i * n_vocab, tokens[at + i + 1], err));
        }
        at += work.n_tokens;
    }
    return DS4_OK;
}

static ds4_status open_runner(runner *r, uint32_t n_ctx, ds4_err *err)
{
    const size_t n_vocab = ds4_engine_info(r->engine)->n_vocab, n_batch = ds4_engine_max_batch(r->engine);

    r->logits = malloc(n_batch * n_vocab * sizeof *r->logits);
    if (!r->logits) return ds4_fail(err, DS4_E_NOMEM, "no memory for the logits of %zu tokens", n_batch);
    return ds4_session_create(r->engine, n_ctx, &r->session, err);
}

static void close_runner(runner *r)
{
    ds4_session_free(r->session);
    free(r->logits);
}

/* The logarithm of the sum of exponentials. */
static double log_sum(const float *logits, uint32_t n)
{
    float  most = logits[0];
    double sum = 0;

    for (uint32_t i = 1; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)most);
    return log(sum) + (double)most;
}

/* ---- saving -------------------------------------------------------------------------------------- */

typedef struct saver {
    ds4_gguf_writer *writer;
    uint32_t         n_vocab, n_top;
    ds4_candidate   *best;          /* [n_vocab] */
    float           *row;           /* [1 + 2 * n_top] */
} saver;

/* The likeliest first; of equal ones the lower id. */
static int compare_candidates(const void *a, const void *b)
{
    const ds4_candidate *x = a, *y = b;

    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Let entry i of a heap sink; the least likely of it is on top. */
static void sink(ds4_candidate *heap, uint32_t n, uint32_t i)
{
    for (;;) {
        uint32_t last = i;
        for (uint32_t k = 2 * i + 1; k <= 2 * i + 2 && k < n; k++) {
            if (compare_candidates(&heap[k], &heap[last]) > 0) last = k;
        }
        if (last == i) return;
        const ds4_candidate moved = heap[i];
        heap[i] = heap[last];
        heap[last] = moved;
        i = last;
    }
}

static ds4_status save_row(void *ctx, const float *logits, int32_t next, ds4_err *err)
{
    saver       *s = ctx;
    const double sum = log_sum(logits, s->n_vocab);

    for (uint32_t i = 0; i < s->n_vocab; i++) {
        const ds4_candidate c = { logits[i], (int32_t)i };
        if (i < s->n_top) s->best[i] = c;
        if (i + 1 == s->n_top) {
            for (uint32_t k = s->n_top; k-- > 0;) sink(s->best, s->n_top, k);
        }
        if (i < s->n_top || compare_candidates(&c, &s->best[0]) >= 0) continue;
        s->best[0] = c;
        sink(s->best, s->n_top, 0);
    }
    qsort(s->best, s->n_top, sizeof *s->best, compare_candidates);
    s->row[0] = (float)((double)logits[next] - sum);
    for (uint32_t i = 0; i < s->n_top; i++) {
        s->row[1 + 2 * i] = (float)s->best[i].id;
        s->row[2 + 2 * i] = (float)((double)s->best[i].value - sum);
    }
    return ds4_gguf_writer_append(s->writer, s->row, (1 + 2 * (size_t)s->n_top) * sizeof *s->row, err);
}

static ds4_status declare(const saver *s, const ds4_eval_texts *texts, ds4_err *err)
{
    uint64_t rows[2] = { 1 + 2ull * s->n_top, 0 };
    const uint64_t n_tokens = texts->tokens.n, n_chunks = texts->n;
    uint32_t       n = 0;

    for (uint32_t i = 0; i < texts->n; i++) {
        ds4_eval_chunk(texts, i, &n);
        rows[1] += rows_of(n);
    }
    if (rows[1] == 0) {
        return ds4_fail(err, DS4_E_ARG, "all texts are shorter than %d tokens", DS4_BASELINE_SKIP + 2);
    }
    ds4_gguf_put_string(s->writer, "general.type", DS4_SLICE("ds4.baseline"));
    ds4_gguf_put_u32(s->writer, "ds4.baseline.n_vocab", s->n_vocab);
    ds4_gguf_declare(s->writer, "tokens", DS4_I32, 1, &n_tokens);
    ds4_gguf_declare(s->writer, "ends", DS4_I32, 1, &n_chunks);
    ds4_gguf_declare(s->writer, "rows", DS4_F32, 2, rows);
    return DS4_OK;
}

static ds4_status save_all(runner *r, saver *s, const ds4_eval_texts *texts, const char *path, ds4_err *err)
{
    uint32_t n = 0, n_most = 0;

    for (uint32_t i = 0; i < texts->n; i++) {
        ds4_eval_chunk(texts, i, &n);
        n_most = n > n_most ? n : n_most;
    }
    DS4_TRY(declare(s, texts, err));
    DS4_TRY(open_runner(r, n_most, err));
    DS4_TRY(ds4_gguf_writer_begin(s->writer, path, err));
    DS4_TRY(ds4_gguf_writer_append(s->writer, texts->tokens.ids, 4ull * texts->tokens.n, err));
    DS4_TRY(ds4_gguf_writer_append(s->writer, texts->end, 4ull * texts->n, err));
    for (uint32_t i = 0; i < texts->n; i++) {
        const int32_t *tokens = ds4_eval_chunk(texts, i, &n);
        if (rows_of(n)) DS4_TRY(run_chunk(r, tokens, n, err));
        ds4_term_progress("%u of %u texts", i + 1, texts->n);
    }
    return ds4_gguf_writer_finish(s->writer, err);
}

ds4_status ds4_baseline_save(ds4_engine *e, const ds4_eval_texts *texts, uint32_t n_top, const char *path,
                             const ds4_cancel *cancel, ds4_err *err)
{
    saver  s = { .n_vocab = ds4_engine_info(e)->n_vocab, .n_top = n_top };
    runner r = { .engine = e, .cancel = cancel, .fn = save_row, .ctx = &s };

    s.best = malloc(n_top * sizeof *s.best);
    s.row = malloc((1 + 2 * (size_t)n_top) * sizeof *s.row);
    ds4_status st = s.best && s.row ? ds4_gguf_writer_create(&s.writer, 0, err)
                                    : ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", n_top);
    if (st == DS4_OK) st = save_all(&r, &s, texts, path, err);
    ds4_term_progress_end();
    close_runner(&r);
    ds4_gguf_writer_free(s.writer);
    free(s.best);
    free(s.row);
    return st;
}

/* ---- reading -------------------------------------------------------------------------------------- */

static uint32_t load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static ds4_status wrong(const ds4_baseline *b, const char *what, ds4_err *err)
{
    return ds4_fail(err, DS4_E_FORMAT, "%s: %s: no file of ds4-eval kld --save", b->name, what);
}

/* Ends grow, tokens are tokens, and there are as many rows as both say. */
static ds4_status read_lists(ds4_baseline *b, const ds4_gguf_tensor *tokens, const ds4_gguf_tensor *ends,
                             ds4_err *err)
{
    uint64_t n_rows = 0;
    uint32_t from = 0;

    b->n_tokens = (uint32_t)tokens->dim[0];
    b->n_chunks = (uint32_t)ends->dim[0];
    b->tokens = malloc(b->n_tokens * sizeof *b->tokens);
    b->end = malloc(b->n_chunks * sizeof *b->end);
    if (!b->tokens || !b->end) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its tokens", b->name);
    for (uint32_t i = 0; i < b->n_tokens; i++) {
        const uint32_t id = load_u32(tokens->data + 4ull * i);
        if (id >= b->n_vocab) return wrong(b, "a token is not in the vocabulary", err);
        b->tokens[i] = (int32_t)id;
    }
    for (uint32_t i = 0; i < b->n_chunks; i++) {
        b->end[i] = load_u32(ends->data + 4ull * i);
        const bool grows = b->end[i] > from && b->end[i] <= b->n_tokens;
        if (!grows) return wrong(b, "the ends of texts do not grow", err);
        n_rows += rows_of(b->end[i] - from);
        from = b->end[i];
    }
    return n_rows == b->n_rows && n_rows > 0 ? DS4_OK : wrong(b, "texts and rows do not fit together", err);
}

static ds4_status check_rows(const ds4_baseline *b, ds4_err *err)
{
    const uint64_t width = 1 + 2ull * b->n_top;

    for (uint64_t i = 0; i < b->n_rows; i++) {
        const float *row = b->rows + i * width;
        if (!(row[0] <= 1e-3f && row[0] > -1e6f)) return wrong(b, "a log-probability is none", err);
        for (uint32_t k = 0; k < b->n_top; k++) {
            const float id = row[1 + 2 * k], logprob = row[2 + 2 * k];
            const bool  is_id = id >= 0 && id < (float)b->n_vocab && id == floorf(id);
            if (!is_id) return wrong(b, "an id is none", err);
            if (!(logprob <= 1e-3f && logprob > -1e6f)) return wrong(b, "a log-probability is none", err);
        }
    }
    return DS4_OK;
}

static ds4_status read_all(ds4_baseline *b, ds4_err *err)
{
    const ds4_gguf_tensor *tokens = ds4_gguf_tensor_find(b->file, "tokens");
    const ds4_gguf_tensor *ends = ds4_gguf_tensor_find(b->file, "ends");
    const ds4_gguf_tensor *rows = ds4_gguf_tensor_find(b->file, "rows");
    uint64_t               n_vocab = 0;

    if (!tokens || !ends || !rows) return wrong(b, "tokens, ends or rows are missing", err);
    DS4_TRY(ds4_gguf_get_u64(b->file, "ds4.baseline.n_vocab", 1, 1 << 24, &n_vocab, err));
    b->n_vocab = (uint32_t)n_vocab;
    const bool fits = tokens->dtype == DS4_I32 && tokens->n_dims == 1 && tokens->dim[0] <= INT32_MAX &&
                      ends->dtype == DS4_I32 && ends->n_dims == 1 && ends->dim[0] <= tokens->dim[0] &&
                      rows->dtype == DS4_F32 && rows->n_dims == 2 && rows->dim[1] <= tokens->dim[0] &&
                      rows->dim[0] % 2 == 1 && rows->dim[0] >= 3 && rows->dim[0] / 2 <= n_vocab;
    if (!fits) return wrong(b, "tokens, ends or rows have another form", err);
    b->n_top = (uint32_t)(rows->dim[0] / 2);
    b->n_rows = (uint32_t)rows->dim[1];
    b->rows = (const float *)(const void *)rows->data;  /* aligned as the file is, to 32 bytes or 8 */
    DS4_TRY(read_lists(b, tokens, ends, err));
    return check_rows(b, err);
}

ds4_status ds4_baseline_open(ds4_baseline **out, const char *path, ds4_err *err)
{
    ds4_baseline *b = calloc(1, sizeof *b);

    if (!b) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to read it", path);
    ds4_status st = ds4_gguf_open(path, &b->file, err);
    b->name = path;
    if (st == DS4_OK) st = read_all(b, err);
    if (st == DS4_OK) *out = b;
    else ds4_baseline_close(b);
    return st;
}

void ds4_baseline_close(ds4_baseline *b)
{
    if (!b) return;
    ds4_gguf_close(b->file);
    free(b->tokens);
    free(b->end);
    free(b);
}

uint32_t ds4_baseline_chunks(const ds4_baseline *b)
{
    return b->n_chunks;
}

uint32_t ds4_baseline_tokens(const ds4_baseline *b)
{
    return b->n_rows;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

typedef struct comparer {
    const ds4_baseline *b;
    const float        *row;            /* of the position that comes next */
    ds4_chunk_score    *out;
} comparer;

/* Sum over the kept tokens of p log(p / q), and over the remainder. */
static double divergence(const ds4_baseline *b, const float *row, const float *logits, double sum)
{
    double kld = 0, all_p = 0, all_q = 0;

    for (uint32_t k = 0; k < b->n_top; k++) {
        const double log_p = (double)row[2 + 2 * k], log_q = (double)logits[(uint32_t)row[1 + 2 * k]] - sum;
        const double p = exp(log_p);
        kld += p * (log_p - log_q);
        all_p += p;
        all_q += exp(log_q);
    }
    const double rest_p = 1 - all_p, rest_q = fmax(1 - all_q, 1e-9);
    if (rest_p > 1e-6) kld += rest_p * log(rest_p / rest_q);
    return fmax(kld, 0);
}

static ds4_status compare_row(void *ctx, const float *logits, int32_t next, ds4_err *err)
{
    comparer      *c = ctx;
    const uint32_t n = c->b->n_vocab;
    const double   sum = log_sum(logits, n);
    uint32_t       most = 0;

    if (!isfinite(sum)) return ds4_fail(err, DS4_E_FORMAT, "the model computes values that are no numbers");
    for (uint32_t i = 1; i < n; i++) most = logits[i] > logits[most] ? i : most;
    c->out->n += 1;
    c->out->kld += divergence(c->b, c->row, logits, sum);
    c->out->nll += sum - (double)logits[next];
    c->out->base_nll -= (double)c->row[0];
    c->out->same += (float)most == c->row[1];
    c->row += 1 + 2 * (size_t)c->b->n_top;
    return DS4_OK;
}

ds4_status ds4_baseline_compare(const ds4_baseline *b, ds4_engine *e, ds4_chunk_score *out,
                                const ds4_cancel *cancel, ds4_err *err)
{
    comparer   c = { .b = b, .row = b->rows };
    runner     r = { .engine = e, .cancel = cancel, .fn = compare_row, .ctx = &c };
    uint32_t   from = 0, n_most = 0;
    ds4_status st;

    if (ds4_engine_info(e)->n_vocab != b->n_vocab) {
        return ds4_fail(err, DS4_E_ARG, "%s: a vocabulary of %u, the model's has %u", b->name, b->n_vocab,
                        ds4_engine_info(e)->n_vocab);
    }
    for (uint32_t i = 0; i < b->n_chunks; i++) {
        const uint32_t n = b->end[i] - (i ? b->end[i - 1] : 0);
        n_most = n > n_most ? n : n_most;
    }
    st = open_runner(&r, n_most, err);
    for (uint32_t i = 0; st == DS4_OK && i < b->n_chunks; i++) {
        out[i] = (ds4_chunk_score){ 0 };
        c.out = &out[i];
        if (rows_of(b->end[i] - from)) st = run_chunk(&r, b->tokens + from, b->end[i] - from, err);
        from = b->end[i];
        ds4_term_progress("%u of %u texts", i + 1, b->n_chunks);
    }
    ds4_term_progress_end();
    if (st == DS4_OK) st = ds4_gguf_check(b->file, err);
    close_runner(&r);
    return st;
}
