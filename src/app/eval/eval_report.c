/* eval_report.c - ds4-eval report: several model files beside each other, as Markdown and pictures. */
#include "app/eval/eval.h"
#include "app/eval/chart.h"
#include "base/output.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_MODELS = 64 };

typedef struct entry {
    char              name[64];
    const char       *path;
    uint64_t          n_bytes;      /* of the file */
    ds4_chunk_score  *scores;       /* [n_chunks] */
    ds4_score_summary sum;
    ds4_interval      ratio;        /* of its divergence to that of the first model */
} entry;

typedef struct report {
    ds4_app_model     want;
    const char       *base_path, *out_path;
    ds4_option_texts  models, notes;
    ds4_baseline     *base;
    uint32_t          n_chunks, n;
    entry             entries[MAX_MODELS];
    const ds4_cancel *cancel;
} report;

/* "NAME=FILE", or a file that is named as its path ends. */
static ds4_status name_model(entry *e, const char *text, ds4_err *err)
{
    const char  *equals = strchr(text, '='), *slash = strrchr(text, '/');
    const char  *name = equals ? text : slash ? slash + 1 : text;
    const size_t n = equals ? (size_t)(equals - text) : strlen(name);

    e->path = equals ? equals + 1 : text;
    if (n == 0 || n >= sizeof e->name || !*e->path || memchr(name, '|', n)) {
        return ds4_fail(err, DS4_E_ARG, "--compare %s: expected NAME=FILE, NAME of at most %zu bytes", text,
                        sizeof e->name - 1);
    }
    memcpy(e->name, name, n);
    return DS4_OK;
}

/* One file after the other, so that memory has to hold one only. */
static int measure(report *r, entry *e, ds4_err *err)
{
    ds4_model model = { 0 };

    r->want.path = e->path;
    const int code = ds4_app_open(&r->want, &model);
    if (code != DS4_EXIT_OK) return code;
    e->scores = malloc(r->n_chunks * sizeof *e->scores);
    ds4_status st = DS4_OK;
    if (!e->scores) st = ds4_fail(err, DS4_E_NOMEM, "no memory for %u scores", r->n_chunks);
    if (st == DS4_OK) st = ds4_baseline_compare(r->base, model.engine, e->scores, r->cancel, err);
    e->n_bytes = ds4_engine_info(model.engine)->file_bytes;
    ds4_model_close(&model);
    if (st != DS4_OK) return ds4_app_failed(DS4_EVAL_NAME, err);
    e->sum = ds4_summarize(e->scores, r->n_chunks);
    e->ratio = ds4_kld_ratio(e->scores, r->entries[0].scores, r->n_chunks);
    ds4_app_say(DS4_EVAL_NAME, "%s: KLD %.5f +- %.5f", e->name, e->sum.kld.value, e->sum.kld.half);
    return DS4_EXIT_OK;
}

static void add_table(const report *r, ds4_str *out)
{
    ds4_str_addf(out, "| file | MB | KLD to the base | of the KLD of %s | same first choice | perplexity |\n"
                 "|---|---|---|---|---|---|\n", r->entries[0].name);
    for (uint32_t i = 0; i < r->n; i++) {
        const entry             *e = &r->entries[i];
        const ds4_score_summary *s = &e->sum;
        ds4_str_addf(out, "| %s | %.2f | %.5f ± %.5f | ", e->name, (double)e->n_bytes / 1e6, s->kld.value,
                     s->kld.half);
        if (i) ds4_str_addf(out, "%.3f ± %.3f | ", e->ratio.value, e->ratio.half);
        else ds4_str_add_text(out, "1 | ");
        ds4_str_addf(out, "%.2f ± %.2f %% | %.3f ± %.3f |\n", 100 * s->same.value, 100 * s->same.half,
                     s->ppl.value, s->ppl.half);
    }
}

static ds4_status put_chart(const report *r, const char *title, bool is_kld, const char *path, ds4_err *err)
{
    ds4_chart_row rows[MAX_MODELS];
    ds4_str       out = { 0 };

    for (uint32_t i = 0; i < r->n; i++) {
        const ds4_score_summary *s = &r->entries[i].sum;
        rows[i].name = r->entries[i].name;
        rows[i].value = is_kld ? s->kld : (ds4_interval){ 100 * (1 - s->same.value), 100 * s->same.half };
    }
    ds4_chart_add(&out, title, rows, r->n);
    const ds4_status st = out.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a picture")
                                     : ds4_output_put(path, out.data, out.n_bytes, err);
    ds4_str_clear(&out);
    return st;
}

/* The report and, beside it, its pictures: NAME-kld.svg and NAME-other.svg. */
static ds4_status write_report(const report *r, ds4_err *err)
{
    ds4_str     out = { 0 }, kld = { 0 }, other = { 0 };
    const char *dot = strrchr(r->out_path, '.'), *slash = strrchr(r->out_path, '/');
    const int   stem = dot && (!slash || dot > slash) ? (int)(dot - r->out_path) : (int)strlen(r->out_path);
    const int   from = slash ? (int)(slash - r->out_path) + 1 : 0;

    ds4_str_addf(&kld, "%.*s-kld.svg", stem, r->out_path);
    ds4_str_addf(&other, "%.*s-other.svg", stem, r->out_path);
    ds4_str_add_text(&out, "# Quality of model files\n\n");
    for (uint32_t i = 0; i < r->notes.n; i++) ds4_str_addf(&out, "%s\n\n", r->notes.item[i]);
    ds4_str_addf(&out,
                 "%u positions in %u texts. KLD is the Kullback-Leibler divergence from what the base file "
                 "predicts, in nats a\ntoken; ± is half of the 95 %% interval, from the differences "
                 "between texts. Perplexity of the base: %.3f.\n\n",
                 ds4_baseline_tokens(r->base), r->n_chunks, r->entries[0].sum.base_ppl);
    add_table(r, &out);
    ds4_str_addf(&out, "\n![divergence](%s)\n\n![other first choices](%s)\n", ds4_str_text(&kld) + from,
                 ds4_str_text(&other) + from);
    ds4_status st = DS4_OK;
    if (out.failed || kld.failed || other.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a report");
    if (st == DS4_OK) st = put_chart(r, "KLD to the base, nats a token", true, ds4_str_text(&kld), err);
    if (st == DS4_OK) {
        st = put_chart(r, "Another first choice than the base, %", false, ds4_str_text(&other), err);
    }
    if (st == DS4_OK) st = ds4_output_put(r->out_path, out.data, out.n_bytes, err);
    ds4_str_clear(&out);
    ds4_str_clear(&kld);
    ds4_str_clear(&other);
    return st;
}

static int run(report *r)
{
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = ds4_baseline_open(&r->base, r->base_path, &err);
    int        code = DS4_EXIT_OK;

    for (uint32_t i = 0; st == DS4_OK && i < r->models.n; i++) {
        st = name_model(&r->entries[i], r->models.item[i], &err);
    }
    if (st != DS4_OK) {
        code = ds4_app_failed(DS4_EVAL_NAME, &err);
        return st == DS4_E_ARG || st == DS4_E_FORMAT ? DS4_EXIT_WRONG : code;
    }
    r->n_chunks = ds4_baseline_chunks(r->base);
    r->cancel = ds4_interrupt_catch(true);
    for (; code == DS4_EXIT_OK && r->n < r->models.n; r->n++) code = measure(r, &r->entries[r->n], &err);
    if (code == DS4_EXIT_OK && write_report(r, &err) != DS4_OK) code = ds4_app_failed(DS4_EVAL_NAME, &err);
    return code;
}

int ds4_eval_report(const char *argv0, int argc, char **argv)
{
    report r = { .want = { .program = DS4_EVAL_NAME, .argv0 = argv0 } };
    const ds4_option options[] = {
        DS4_OPT_TEXT(0, "base", "FILE", &r.base_path,
                     "what ds4-eval kld --save has written of the best file"),
        DS4_OPT_TEXTS(0, "compare", "NAME=FILE", &r.models,
                      "a model file, and what it is called in the report; may\nbe repeated"),
        DS4_OPT_TEXTS(0, "note", "TEXT", &r.notes, "a paragraph to begin with; may be repeated"),
        DS4_OPT_TEXT('o', "out", "FILE", &r.out_path, "report to write, NAME.md; pictures are NAME-*.svg"),
        DS4_APP_DEVICE_OPTIONS(&r.want),
        DS4_APP_MEMORY_OPTIONS(&r.want),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval report --base FILE --compare NAME=FILE... --out FILE.md [options]",
        .about = "Measure model files one after the other and write a table with confidence intervals and\n"
                 "pictures. The first file is the one that the others' divergence is related to.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (!r.base_path || !r.out_path || r.models.n == 0 || r.models.n > MAX_MODELS) {
        ds4_app_say(DS4_EVAL_NAME, "report needs --base, --out and 1 to %d of --compare", MAX_MODELS);
        return DS4_EXIT_WRONG;
    }
    const int code = run(&r);
    for (uint32_t i = 0; i < r.models.n; i++) free(r.entries[i].scores);
    ds4_baseline_close(r.base);
    return code;
}
