/* eval_imatrix.c - ds4-eval imatrix: how much each input channel of a model's matrices matters. */
#include "app/eval/eval.h"
#include "app/eval/collect.h"
#include "app/eval/texts.h"
#include "base/file.h"
#include "engine/watch.h"

#include <stdlib.h>
#include <string.h>

typedef struct job {
    ds4_app_model     want;
    const char       *out_path;
    ds4_option_texts  texts, add;
    ds4_eval_cut      cut;
    uint32_t          save_every;       /* chunks */
    bool              resume;
    ds4_model         model;
    ds4_eval_texts    chunks;
    ds4_imatrix       sums;
    ds4_collector    *collector;
    const ds4_cancel *cancel;
} job;

/* The sums of other runs. Texts that were seen twice count twice. */
static ds4_status add_files(job *j, ds4_err *err)
{
    for (uint32_t i = 0; i < j->add.n; i++) {
        ds4_imatrix other;
        ds4_status  st = ds4_imatrix_read(&other, j->add.item[i], err);
        if (st == DS4_OK) st = ds4_imatrix_merge(&j->sums, &other, err);
        if (st == DS4_OK && j->sums.dataset.n_bytes) ds4_str_add_text(&j->sums.dataset, ", ");
        if (st == DS4_OK) ds4_str_add(&j->sums.dataset, ds4_str_text(&other.dataset), other.dataset.n_bytes);
        ds4_imatrix_clear(&other);
        if (st != DS4_OK) return st;
    }
    return DS4_OK;
}

/* Texts that an earlier run of the same command has saved are not read again. */
static ds4_status read_saved(job *j, const char *digest, ds4_err *err)
{
    ds4_imatrix_clear(&j->sums);
    DS4_TRY(ds4_imatrix_read(&j->sums, j->out_path, err));
    const ds4_str *of = &j->sums.source;
    if (j->sums.has_counts && of->n_bytes == strlen(digest) && memcmp(of->data, digest, of->n_bytes) == 0 &&
        j->sums.n_chunks <= j->chunks.n) {
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_ARG, "%s: is of other texts; it cannot be gone on with", j->out_path);
}

static ds4_status name_texts(job *j, const char *digest, ds4_err *err)
{
    ds4_str *name = &j->sums.dataset;

    for (uint32_t i = 0; i < j->texts.n; i++) {
        const char *slash = strrchr(j->texts.item[i], '/');
        ds4_str_addf(name, "%s%s", i ? ", " : "", slash && slash[1] ? slash + 1 : j->texts.item[i]);
    }
    ds4_str_add_text(&j->sums.source, digest);
    j->sums.has_counts = true;
    return name->failed || j->sums.source.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for names") : DS4_OK;
}

/* Texts read from the beginning, or what was saved of them. */
static ds4_status begin(job *j, ds4_err *err)
{
    char      digest[65];
    ds4_gguf *file = NULL;

    ds4_eval_texts_digest(&j->chunks, digest);
    DS4_TRY(name_texts(j, digest, err));
    if (j->resume && ds4_file_exists(j->out_path)) DS4_TRY(read_saved(j, digest, err));
    const ds4_model_info *info = ds4_engine_info(j->model.engine);
    DS4_TRY(ds4_gguf_open(info->path, &file, err));
    const ds4_status st = ds4_collector_create(&j->collector, &j->sums, file, info->n_layers, err);
    ds4_gguf_close(file);
    return st;
}

static ds4_status read_chunk(job *j, ds4_session *s, uint32_t i, ds4_err *err)
{
    const uint32_t n_batch = ds4_engine_max_batch(j->model.engine);
    uint32_t       n = 0;
    const int32_t *tokens = ds4_eval_chunk(&j->chunks, i, &n);

    ds4_session_clear(s);
    for (uint32_t at = 0; at < n;) {
        const ds4_work work = { .session = s, .tokens = tokens + at,
                                .n_tokens = n - at < n_batch ? n - at : n_batch };
        DS4_TRY(ds4_engine_step(j->model.engine, &work, 1, err));
        at += work.n_tokens;
    }
    return ds4_collector_check(j->collector, err);
}

/* An interruption waits for the end of a text, so that whole texts are saved. */
static ds4_status read_chunks(job *j, ds4_session *s, ds4_err *err)
{
    uint32_t n_unsaved = 0;

    for (uint32_t i = j->sums.n_chunks; i < j->chunks.n && !j->cancel->stop; i++) {
        DS4_TRY(read_chunk(j, s, i, err));
        j->sums.n_chunks++;
        ds4_term_progress("%u of %u texts", i + 1, j->chunks.n);
        if (++n_unsaved < j->save_every) continue;
        DS4_TRY(ds4_imatrix_write(&j->sums, j->out_path, err));
        n_unsaved = 0;
    }
    ds4_term_progress_end();
    DS4_TRY(ds4_imatrix_write(&j->sums, j->out_path, err));
    if (!j->cancel->stop || j->sums.n_chunks >= j->chunks.n) return DS4_OK;
    return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped after %u of %u texts, which --resume goes on behind",
                    j->out_path, j->sums.n_chunks, j->chunks.n);
}

static ds4_status collect(job *j, ds4_err *err)
{
    ds4_session *s = NULL;

    DS4_TRY(ds4_eval_texts_read(&j->chunks, ds4_engine_vocab(j->model.engine), &j->texts, &j->cut, err));
    DS4_TRY(begin(j, err));
    DS4_TRY(ds4_session_create(j->model.engine, j->cut.n_ctx, &s, err));
    ds4_engine_watch(j->model.engine, ds4_collector_watch, j->collector);
    const ds4_status st = read_chunks(j, s, err);
    ds4_engine_watch(j->model.engine, NULL, NULL);
    ds4_session_free(s);
    return st;
}

/* Experts that no text has chosen are counted: they will be encoded as without importance. */
static void say_result(const job *j)
{
    uint64_t n_experts = 0, n_unseen = 0;

    for (uint32_t i = 0; i < j->sums.n; i++) {
        const ds4_imatrix_entry *e = &j->sums.entries[i];
        if (!strstr(e->name, "ffn_down_exps")) continue;
        n_experts += e->n_mats;
        for (uint64_t k = 0; k < e->n_mats; k++) n_unseen += e->count[k] == 0;
    }
    ds4_app_say(DS4_EVAL_NAME, "%s: %u texts, %u tensors, %llu of %llu experts unseen", j->out_path,
                j->sums.n_chunks, j->sums.n, (unsigned long long)n_unseen, (unsigned long long)n_experts);
}

static int run(job *j)
{
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = DS4_OK;

    if (j->texts.n) {
        const int code = ds4_app_open(&j->want, &j->model);
        if (code != DS4_EXIT_OK) return code;
        j->cancel = ds4_interrupt_catch_all();
        st = collect(j, &err);
    } else {
        j->sums.has_counts = true;
        st = add_files(j, &err);
        if (st == DS4_OK) st = ds4_imatrix_write(&j->sums, j->out_path, &err);
    }
    if (st == DS4_OK) say_result(j);
    ds4_collector_free(j->collector);
    ds4_eval_texts_clear(&j->chunks);
    ds4_imatrix_clear(&j->sums);
    ds4_model_close(&j->model);
    if (st == DS4_OK) return DS4_EXIT_OK;
    const int code = ds4_app_failed(DS4_EVAL_NAME, &err);
    return st == DS4_E_FORMAT || st == DS4_E_ARG ? DS4_EXIT_WRONG : code;
}

int ds4_eval_imatrix(const char *argv0, int argc, char **argv)
{
    job j = { .want = { .program = DS4_EVAL_NAME, .argv0 = argv0 }, .cut = { .n_ctx = 2048 },
              .save_every = 64 };
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &j.want.path,
                     "GGUF file, the larger the better\n[ds4flash.gguf, else the bundled model]"),
        DS4_OPT_TEXT('o', "out", "FILE", &j.out_path, "file to write, a GGUF file of sums and counts"),
        DS4_OPT_TEXTS(0, "text", "FILE", &j.texts, "text to read, or a folder; may be repeated"),
        DS4_OPT_FLAG(0, "special", &j.cut.specials,
                     "names of special tokens in the text are those tokens, as\nds4-eval corpus writes them"),
        DS4_OPT_TEXTS(0, "add", "FILE", &j.add, "without --text: add up files of earlier runs"),
        DS4_OPT_U32('c', "ctx", "N", &j.cut.n_ctx, 2, 1048576,
                    "longer texts are read in pieces of N tokens [2048]"),
        DS4_OPT_U32(0, "chunks", "N", &j.cut.n_chunks, 1, 1 << 30, "read N texts or pieces at most"),
        DS4_OPT_U32(0, "save-every", "N", &j.save_every, 1, 1 << 30, "write the file every N pieces [64]"),
        DS4_OPT_FLAG(0, "resume", &j.resume, "go on behind the texts that the file already has"),
        DS4_APP_DEVICE_OPTIONS(&j.want),
        DS4_APP_MEMORY_OPTIONS(&j.want),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval imatrix --text FILE|DIR --out FILE [options]",
        .about = "Read texts and write how much each input channel of each matrix matters, of experts for\n"
                 "each alone: the file that ds4-quantize takes by --imatrix.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (!j.out_path || (j.texts.n == 0) == (j.add.n == 0)) {
        ds4_app_say(DS4_EVAL_NAME, "imatrix needs --out, and either --text or --add");
        return DS4_EXIT_WRONG;
    }
    j.want.n_ctx = j.cut.n_ctx;
    return run(&j);
}
