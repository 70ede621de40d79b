/* eval_ppl.c - ds4-eval ppl: how well the model predicts a text. */
#include "app/eval/eval.h"
#include "base/file.h"
#include "text/bpe.h"

#include <math.h>
#include <stdlib.h>

enum { N_PREFIX = 32, MAX_TEXT_BYTES = 1 << 30 };

typedef struct score {
    ds4_engine       *engine;
    ds4_session      *session;
    const int32_t    *tokens;       /* [n_tokens] */
    uint32_t          n_tokens, n_scored;
    double            nll;          /* sum of minus the logarithms of the probabilities */
    const ds4_cancel *cancel;
} score;

/* Minus the logarithm of the target's probability. */
static double token_nll(const float *logits, uint32_t n, int32_t target)
{
    double sum = 0;
    float  most = logits[0];

    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > most) most = logits[i];
    }
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)most);
    return log(sum) + (double)most - (double)logits[target];
}

/* Evaluate tokens first .. first + n - 1. With logits, each predicts the token behind it. */
static ds4_status run_chunk(score *s, uint32_t first, uint32_t n, float *logits, ds4_err *err)
{
    const uint32_t n_vocab = ds4_engine_info(s->engine)->n_vocab;
    const ds4_work work = { .session = s->session,
                            .tokens = s->tokens + first,
                            .n_tokens = n,
                            .logits = logits,
                            .all_logits = logits != NULL };

    if (s->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "interrupted");
    DS4_TRY(ds4_engine_step(s->engine, &work, 1, err));
    for (uint32_t i = 0; logits && i < n; i++) {
        s->nll += token_nll(logits + (size_t)i * n_vocab, n_vocab, s->tokens[first + i + 1]);
        s->n_scored++;
    }
    ds4_term_progress("%u of %u tokens, perplexity %.4f", first + n, s->n_tokens,
                      s->n_scored ? exp(s->nll / s->n_scored) : 0.0);
    return DS4_OK;
}

static ds4_status run_text(score *s, ds4_err *err)
{
    const uint32_t n_batch = ds4_engine_max_batch(s->engine);
    const uint32_t n_vocab = ds4_engine_info(s->engine)->n_vocab;
    float         *logits = malloc((size_t)n_batch * n_vocab * sizeof *logits);
    ds4_status     st = DS4_OK;

    if (!logits) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the logits of %u tokens", n_batch);
    }
    for (uint32_t first = 0; st == DS4_OK && first < s->n_tokens - 1;) {
        const bool     is_prefix = first < N_PREFIX - 1;
        const uint32_t left = (is_prefix ? N_PREFIX - 1 : s->n_tokens - 1) - first;
        const uint32_t n = left < n_batch ? left : n_batch;
        st = run_chunk(s, first, n, is_prefix ? NULL : logits, err);
        first += n;
    }
    ds4_term_progress_end();
    free(logits);
    return st;
}

static ds4_status score_file(const ds4_model *model, const char *path, uint32_t n_ctx, ds4_err *err)
{
    score      s = { .engine = model->engine, .cancel = ds4_interrupt_catch(true) };
    ds4_str    text = { 0 };
    ds4_tokens tokens = { 0 };
    ds4_status st = ds4_file_read(path, MAX_TEXT_BYTES, &text, err);

    if (st == DS4_OK) {
        st = ds4_vocab_encode(ds4_engine_vocab(s.engine), ds4_str_text(&text), text.n_bytes, 0,
                              &tokens, err);
    }
    if (st == DS4_OK && tokens.n <= N_PREFIX) {
        st = ds4_fail(err, DS4_E_ARG, "%s: %u tokens, expected more than the %d that are only read",
                      path, tokens.n, N_PREFIX);
    }
    if (st == DS4_OK) {
        s.tokens = tokens.ids;
        s.n_tokens = tokens.n < n_ctx ? tokens.n : n_ctx;
        st = ds4_session_create(s.engine, s.n_tokens, &s.session, err);
    }
    if (st == DS4_OK) st = run_text(&s, err);
    if (st == DS4_OK) {
        const double average = s.nll / s.n_scored;
        printf("tokens=%u scored=%u nll=%.6f avg_nll=%.6f ppl=%.6f\n", s.n_tokens, s.n_scored,
               s.nll, average, exp(average));
    }
    ds4_session_free(s.session);
    ds4_tokens_clear(&tokens);
    ds4_str_clear(&text);
    return st;
}

int ds4_eval_ppl(const char *argv0, int argc, char **argv)
{
    ds4_app_model want = { .program = DS4_EVAL_NAME, .argv0 = argv0 };
    ds4_model     model = { 0 };
    ds4_err       err = { .code = DS4_OK };
    const char   *path = NULL;
    uint32_t      n_ctx = 32768;
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &want.path,
                     "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_TEXT(0, "file", "FILE", &path, "the text; - for standard input"),
        DS4_OPT_U32('c', "ctx", "N", &n_ctx, N_PREFIX + 1, 1048576,
                    "use the first N tokens of a longer text [32768]"),
        DS4_APP_DEVICE_OPTIONS(&want),
        DS4_OPT_FLAG(0, "exact", &want.exact, "leave out the trained-in roundings of the KV cache"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval ppl --file FILE [options]",
        .about =
            "Print the perplexity of a text, which is tokenized as it is. The first 32 tokens are\n"
            "read but not scored.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (!path) {
        ds4_app_say(DS4_EVAL_NAME, "ppl needs --file");
        return DS4_EXIT_WRONG;
    }
    int code = ds4_app_open(&want, &model);
    if (code == DS4_EXIT_OK && score_file(&model, path, n_ctx, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_EVAL_NAME, &err);
    }
    ds4_model_close(&model);
    return code;
}
