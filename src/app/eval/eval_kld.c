/* eval_kld.c - ds4-eval kld: how far a model's predictions are from those of a larger file. */
#include "app/eval/eval.h"
#include "app/eval/baseline.h"
#include "app/eval/interval.h"

#include <stdlib.h>

typedef struct job {
    ds4_app_model    want;
    const char      *save_path, *base_path;
    ds4_option_texts texts;
    ds4_eval_cut     cut;
    uint32_t         n_top;
    ds4_model        model;
} job;

static ds4_status save(const job *j, ds4_err *err)
{
    ds4_eval_texts texts = { 0 };
    const uint32_t n_vocab = ds4_engine_info(j->model.engine)->n_vocab;

    ds4_status st =
        ds4_eval_texts_read(&texts, ds4_engine_vocab(j->model.engine), &j->texts, &j->cut, err);
    if (st == DS4_OK) {
        st = ds4_baseline_save(j->model.engine, &texts, j->n_top < n_vocab ? j->n_top : n_vocab, j->save_path,
                               ds4_interrupt_catch(true), err);
    }
    ds4_eval_texts_clear(&texts);
    return st;
}

static ds4_status compare(const job *j, ds4_err *err)
{
    ds4_baseline    *b = NULL;
    ds4_chunk_score *scores = NULL;

    DS4_TRY(ds4_baseline_open(&b, j->base_path, err));
    const uint32_t n = ds4_baseline_chunks(b);
    ds4_status     st = DS4_OK;
    scores = malloc(n * sizeof *scores);
    if (!scores) st = ds4_fail(err, DS4_E_NOMEM, "no memory for %u scores", n);
    if (st == DS4_OK) {
        st = ds4_baseline_compare(b, j->model.engine, scores, ds4_interrupt_catch(true), err);
    }
    if (st == DS4_OK) {
        const ds4_score_summary s = ds4_summarize(scores, n);
        printf("scored=%u kld=%.6f kld_pm=%.6f ppl=%.4f ppl_pm=%.4f base_ppl=%.4f top1=%.4f top1_pm=%.4f\n",
               ds4_baseline_tokens(b), s.kld.value, s.kld.half, s.ppl.value, s.ppl.half, s.base_ppl,
               s.same.value, s.same.half);
    }
    free(scores);
    ds4_baseline_close(b);
    return st;
}

int ds4_eval_kld(const char *argv0, int argc, char **argv)
{
    job     j = { .want = { .program = DS4_EVAL_NAME, .argv0 = argv0 }, .cut = { .n_ctx = 512 },
                  .n_top = 256 };
    ds4_err err = { .code = DS4_OK };
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &j.want.path,
                     "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_TEXT(0, "save", "FILE", &j.save_path,
                     "write what this model predicts, to compare others with"),
        DS4_OPT_TEXT(0, "base", "FILE", &j.base_path, "compare the model with what --save has written"),
        DS4_OPT_TEXTS(0, "text", "FILE", &j.texts,
                      "with --save: text to read, or a folder; may be repeated"),
        DS4_OPT_FLAG(0, "special", &j.cut.specials,
                     "names of special tokens in the text are those tokens"),
        DS4_OPT_U32('c', "ctx", "N", &j.cut.n_ctx, 32, 1048576,
                    "longer texts are read in pieces of N tokens [512]"),
        DS4_OPT_U32(0, "chunks", "N", &j.cut.n_chunks, 1, 1 << 30, "read N texts or pieces at most"),
        DS4_OPT_U32(0, "top", "N", &j.n_top, 1, 65536,
                    "keep N tokens of each position, all others as one [256]"),
        DS4_APP_DEVICE_OPTIONS(&j.want),
        DS4_APP_MEMORY_OPTIONS(&j.want),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval kld --save FILE --text FILE|DIR [options]\n"
                 "       ds4-eval kld --base FILE [options]",
        .about =
            "Print how far a model's predictions are from those of a larger file, as Kullback-Leibler\n"
            "divergence (kld=, nats a token), the share of positions with the same likeliest token (top1=)\n"
            "and both perplexities, each with half of its 95 % confidence interval (_pm=).",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if ((j.save_path == NULL) == (j.base_path == NULL) || (j.save_path != NULL) != (j.texts.n > 0)) {
        ds4_app_say(DS4_EVAL_NAME, "kld needs --save with --text, or --base");
        return DS4_EXIT_WRONG;
    }
    int code = ds4_app_open(&j.want, &j.model);
    if (code == DS4_EXIT_OK && (j.save_path ? save : compare)(&j, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_EVAL_NAME, &err);
    }
    ds4_model_close(&j.model);
    return code;
}
