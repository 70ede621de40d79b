/* bench_report.c - results as CSV and JSON, and comparison with earlier ones; see bench.h. */
#include "app/bench/bench.h"

#include "base/file.h"

#include <jansson.h>
#include <string.h>

enum { MAX_JSON_BYTES = 1 << 26 };

void bench_csv(const bench_result *r, ds4_str *out)
{
    ds4_str_add_text(out, "ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes,"
                          "ttft_ms,gbps,bandwidth_share,batch,prefill_tps_min,gen_tps_min,"
                          "probe_gbps\n");
    for (uint32_t i = 0; i < r->n_rows; i++) {
        const bench_row *w = &r->rows[i];
        ds4_str_addf(out, "%u,%u,%.2f,%u,%.2f,%llu,%.1f,%.2f,%.3f,%u,%.2f,%.2f,%.2f\n", w->ctx_tokens,
                     w->prefill_tokens, w->prefill_tps, w->gen_tokens, w->gen_tps,
                     (unsigned long long)w->kvcache_bytes, w->ttft_ms, w->gbps, w->bandwidth_share,
                     w->batch, w->prefill_tps_min, w->gen_tps_min, w->probe_gbps);
    }
}

/* ---- JSON ------------------------------------------------------------------------------- */

static json_t *row_json(const bench_row *w)
{
    return json_pack("{s:I,s:I,s:f,s:f,s:I,s:f,s:f,s:I,s:f,s:f,s:f,s:f,s:I}",
                     "ctx_tokens", (json_int_t)w->ctx_tokens,
                     "prefill_tokens", (json_int_t)w->prefill_tokens,
                     "prefill_tps", w->prefill_tps, "prefill_tps_min", w->prefill_tps_min,
                     "gen_tokens", (json_int_t)w->gen_tokens, "gen_tps", w->gen_tps,
                     "gen_tps_min", w->gen_tps_min, "kvcache_bytes", (json_int_t)w->kvcache_bytes,
                     "ttft_ms", w->ttft_ms, "gbps", w->gbps, "probe_gbps", w->probe_gbps,
                     "bandwidth_share", w->bandwidth_share, "batch", (json_int_t)w->batch);
}

/* A model name from a file may be no UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *s = json_string(text);
    return s ? s : json_string("?");
}

/* Returns NULL when there is no memory. */
static json_t *ops_json(const bench_ops *ops)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < ops->n_ops; i++) {
        const bench_op *op = &ops->op[i];
        json_t         *one = json_pack("{s:s,s:I,s:f,s:f,s:I}", "name", op->name, "calls", (json_int_t)op->n,
                                        "ms", (double)op->ns * 1e-6, "share",
                                        (double)op->ns / (double)(ops->all_ns ? ops->all_ns : 1),
                                        "weight_bytes", (json_int_t)op->weight_bytes);
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:I,s:I,s:f,s:o}", "tokens", (json_int_t)ops->n_tokens, "steps",
                     (json_int_t)ops->n_steps, "ms", (double)ops->all_ns * 1e-6, "operations", list);
}

static bool add_ops_json(json_t *all, const bench_ops *ops)
{
    if (!ops) return true;
    return json_object_set_new(all, "ops", json_pack("{s:o,s:o}", "prefill", ops_json(&ops[BENCH_PREFILL]),
                                                     "decode", ops_json(&ops[BENCH_DECODE]))) == 0;
}

ds4_status bench_json(const bench_result *r, ds4_str *out, ds4_err *err)
{
    json_t *rows = json_array();
    json_t *all = json_pack("{s:s,s:s,s:o,s:I,s:I,s:I,s:f,s:o}", "program", DS4_BENCH_NAME,
                            "version", DS4_VERSION, "model", text_json(r->model),
                            "file_bytes", (json_int_t)r->file_bytes, "threads", (json_int_t)r->n_threads,
                            "repeats", (json_int_t)r->options->n_repeats, "probe_gbps", r->probe_gbps,
                            "rows", rows);
    bool    ok = all != NULL && add_ops_json(all, r->ops);

    for (uint32_t i = 0; ok && i < r->n_rows; i++) {
        ok = json_array_append_new(rows, row_json(&r->rows[i])) == 0;
    }
    char *text = ok ? json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(all);
    if (!text) return ds4_fail(err, DS4_E_NOMEM, "no memory for the results");
    ds4_str_add_text(out, text);
    ds4_str_add_char(out, '\n');
    free(text);
    return DS4_OK;
}

/* ---- comparison --------------------------------------------------------------------------- */

typedef struct old_row {
    uint32_t ctx_tokens, batch;
    double   prefill_tps, gen_tps;
} old_row;

static bool read_row(const json_t *row, old_row *out)
{
    json_int_t ctx, batch;

    if (json_unpack((json_t *)(uintptr_t)row, "{s:I,s:I,s:F,s:F}", "ctx_tokens", &ctx,
                    "batch", &batch, "prefill_tps", &out->prefill_tps, "gen_tps", &out->gen_tps) != 0) {
        return false;
    }
    if (ctx < 1 || ctx > UINT32_MAX || batch < 1 || batch > UINT32_MAX) return false;
    out->ctx_tokens = (uint32_t)ctx;
    out->batch = (uint32_t)batch;
    return out->prefill_tps > 0.0 && out->gen_tps >= 0.0;      /* 0: nothing was decoded */
}

static const bench_row *find_row(const bench_result *r, const old_row *old)
{
    for (uint32_t i = 0; i < r->n_rows; i++) {
        const bench_row *w = &r->rows[i];
        if (w->ctx_tokens == old->ctx_tokens && w->batch == old->batch) return w;
    }
    return NULL;
}

/* Returns true for a loss of more than max_loss percent. */
static bool say_change(const old_row *old, const char *what, double was, double is, double max_loss)
{
    const double change = (is / was - 1.0) * 100.0;
    const bool   worse = !(change >= -max_loss);

    ds4_app_say(DS4_BENCH_NAME, "context %u, batch %u: %s %.2f, was %.2f: %+.1f %%%s",
                old->ctx_tokens, old->batch, what, is, was, change, worse ? ", too slow" : "");
    return worse;
}

static ds4_status compare_rows(const bench_result *r, const char *path, const json_t *rows,
                               double max_loss, bool *worse, ds4_err *err)
{
    uint32_t last_ctx = 0, n_common = 0;

    for (size_t i = 0; i < json_array_size(rows); i++) {
        old_row old;
        if (!read_row(json_array_get(rows, i), &old)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: row %zu has no usable ctx_tokens, batch,"
                            " prefill_tps and gen_tps", path, i + 1);
        }
        const bench_row *now = find_row(r, &old);
        if (!now) continue;
        n_common++;
        /* All batch sizes of a context share one prefill. */
        if (old.ctx_tokens != last_ctx) {
            *worse |= say_change(&old, "prefill", old.prefill_tps, now->prefill_tps, max_loss);
        }
        if (old.gen_tps > 0.0 && now->gen_tokens > 0) {
            *worse |= say_change(&old, "decode", old.gen_tps, now->gen_tps, max_loss);
        }
        last_ctx = old.ctx_tokens;
    }
    if (n_common) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: no context and batch size in common with this run", path);
}

ds4_status bench_compare(const bench_result *r, const char *path, double max_loss, bool *worse,
                         ds4_err *err)
{
    ds4_str      text = { 0 };
    json_error_t at;
    ds4_status   st;

    *worse = false;
    DS4_TRY(ds4_file_read(path, MAX_JSON_BYTES, &text, err));
    json_t       *all = json_loadb(ds4_str_text(&text), text.n_bytes, JSON_REJECT_DUPLICATES, &at);
    const json_t *rows = json_object_get(all, "rows");

    if (!all) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: line %d: %s", path, at.line, at.text);
    } else if (!json_is_array(rows)) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: no results of %s", path, DS4_BENCH_NAME);
    } else {
        st = compare_rows(r, path, rows, max_loss, worse, err);
    }
    json_decref(all);
    ds4_str_clear(&text);
    return st;
}
