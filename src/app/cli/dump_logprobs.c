/* dump_logprobs.c - ds4 --dump-logprobs: the likeliest tokens of each step of a greedy answer. */
#include "app/cli/cli.h"
#include "app/cli/show.h"
#include "base/output.h"
#include "text/pyjson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOP = 128 };

typedef struct dump {
    const ds4_cli   *cli;
    ds4_engine      *engine;
    ds4_session     *session;
    const ds4_vocab *vocab;
    uint32_t         n_vocab;
    float           *logits;        /* [n_vocab] */
    ds4_cancel      *cancel;
    ds4_str          out;
} dump;

/* The largest logits in falling order, the lower id first among equals. */
static uint32_t find_top(const float *logits, uint32_t n, uint32_t n_top, int32_t *top)
{
    uint32_t have = 0;

    for (uint32_t id = 0; id < n; id++) {
        if (have == n_top && !(logits[id] > logits[top[have - 1]])) continue;
        uint32_t at = have < n_top ? have++ : have - 1;
        for (; at > 0 && logits[id] > logits[top[at - 1]]; at--) top[at] = top[at - 1];
        top[at] = (int32_t)id;
    }
    return have;
}

/* The logarithm of the sum of all exponentials. */
static double log_sum(const float *logits, uint32_t n, float most)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)most);
    return (double)most + log(sum);
}

static void add_token(dump *d, int32_t id)
{
    const ds4_slice bytes = ds4_vocab_token_bytes(d->vocab, id);

    ds4_str_addf(&d->out, "{\"id\": %d, \"text\": ", id);
    ds4_pyjson_add_string(&d->out, bytes);
    ds4_str_add_text(&d->out, ", \"bytes\": [");
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        ds4_str_addf(&d->out, i ? ", %u" : "%u", (unsigned)(uint8_t)bytes.data[i]);
    }
    ds4_str_add_text(&d->out, "]}");
}

/* Writes one step and returns the token it selected. */
static int32_t add_step(dump *d, uint32_t i_step)
{
    int32_t        top[MAX_TOP] = { 0 };
    const uint32_t n = find_top(d->logits, d->n_vocab, d->cli->logprobs_top_k, top);
    const double   all = log_sum(d->logits, d->n_vocab, d->logits[top[0]]);

    ds4_str_addf(&d->out, "%s\n  {\"step\": %u, \"selected\": ", i_step ? "," : "", i_step);
    add_token(d, top[0]);
    ds4_str_add_text(&d->out, ", \"top_logprobs\": [");
    for (uint32_t i = 0; i < n; i++) {
        const double logit = (double)d->logits[top[i]];
        ds4_str_add_text(&d->out, i ? ", {\"token\": " : "{\"token\": ");
        add_token(d, top[i]);
        ds4_str_addf(&d->out, ", \"logit\": %.9g, \"logprob\": %.9g}", logit, logit - all);
    }
    ds4_str_add_text(&d->out, "]}");
    return top[0];
}

static ds4_status add_steps(dump *d, ds4_err *err)
{
    for (uint32_t i = 0; i < d->cli->max_tokens; i++) {
        if (d->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "interrupted");
        const int32_t  id = add_step(d, i);
        const ds4_work work = {
            .session = d->session, .tokens = &id, .n_tokens = 1, .logits = d->logits
        };
        if (ds4_vocab_is_end(d->vocab, id)) return DS4_OK;
        if (ds4_session_pos(d->session) == ds4_session_capacity(d->session)) return DS4_OK;
        DS4_TRY(ds4_engine_step(d->engine, &work, 1, err));
    }
    return DS4_OK;
}

/* The prompt as the one-shot mode sends it. */
static ds4_status encode_prompt(dump *d, const ds4_model *model, ds4_slice prompt,
                                ds4_tokens *tokens, ds4_err *err)
{
    const ds4_cli    *cli = d->cli;
    const ds4_message messages[2] = {
        { .role = DS4_ROLE_SYSTEM, .content = { cli->system, strlen(cli->system) } },
        { .role = DS4_ROLE_USER, .content = prompt },
    };
    const uint32_t first = *cli->system ? 0 : 1;
    ds4_turn       turn = { .max_tokens = 1 };
    ds4_segments   text = { 0 };
    ds4_status     st = DS4_OK;

    ds4_cli_set_think(&turn, (ds4_think_mode)cli->think);
    turn.chat.protocol = model->protocol;
    if (cli->raw) {
        ds4_cli_render_raw(model, prompt, &text);
    } else {
        st = ds4_chat_render(messages + first, 2 - first, &turn.chat, &text, err);
    }
    if (st == DS4_OK) st = ds4_segments_encode(d->vocab, &text, tokens, err);
    if (st == DS4_OK && tokens->n == 0) st = ds4_fail(err, DS4_E_ARG, "the prompt is empty");
    ds4_segments_clear(&text);
    return st;
}

static ds4_status make(dump *d, const ds4_model *model, ds4_slice prompt, ds4_err *err)
{
    ds4_tokens     tokens = { 0 };
    const uint32_t n_ctx = ds4_cli_ctx(d->cli, model);
    ds4_status     st = encode_prompt(d, model, prompt, &tokens, err);

    if (st == DS4_OK) st = ds4_session_create(d->engine, n_ctx, &d->session, err);
    if (st == DS4_OK) {
        const ds4_prefill prefill = { .tokens = tokens.ids,
                                      .n_tokens = tokens.n,
                                      .logits = d->logits,
                                      .cancel = d->cancel,
                                      .progress = ds4_show_progress };
        st = ds4_session_prefill(d->session, &prefill, err);
        ds4_term_progress_end();
    }
    if (st == DS4_OK) {
        const char *path = ds4_engine_info(d->engine)->path;
        ds4_str_add_text(&d->out, "{\"source\": \"ds4\", \"model\": ");
        ds4_pyjson_add_string(&d->out, (ds4_slice){ path, strlen(path) });
        ds4_str_addf(&d->out, ", \"prompt_tokens\": %u, \"ctx\": %u, \"top_k\": %u, \"steps\": [",
                     tokens.n, n_ctx, d->cli->logprobs_top_k);
        st = add_steps(d, err);
        ds4_str_add_text(&d->out, "\n]}\n");
    }
    if (st == DS4_OK && d->out.failed) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for the list of log-probabilities");
    }
    ds4_tokens_clear(&tokens);
    return st;
}

static ds4_status write_out(const dump *d, ds4_err *err)
{
    if (strcmp(d->cli->dump_logprobs, "-") != 0) {
        return ds4_output_put(d->cli->dump_logprobs, d->out.data, d->out.n_bytes, err);
    }
    fwrite(d->out.data, 1, d->out.n_bytes, stdout);
    return DS4_OK;
}

int ds4_cli_dump_logprobs(const ds4_cli *cli, ds4_model *model)
{
    dump    d = { .cli = cli,
                  .engine = model->engine,
                  .vocab = ds4_engine_vocab(model->engine),
                  .n_vocab = ds4_engine_info(model->engine)->n_vocab,
                  .cancel = ds4_interrupt_catch(true) };
    ds4_str prompt = { 0 };
    ds4_err err = { .code = DS4_OK };
    int     code = ds4_cli_prompt(cli, cli->raw, &prompt);

    if (code == DS4_EXIT_OK) {
        ds4_status st = DS4_OK;
        d.logits = malloc((size_t)d.n_vocab * sizeof *d.logits);
        if (!d.logits) st = ds4_fail(&err, DS4_E_NOMEM, "no memory for %u logits", d.n_vocab);
        if (st == DS4_OK) {
            st = make(&d, model, (ds4_slice){ ds4_str_text(&prompt), prompt.n_bytes }, &err);
        }
        if (st == DS4_OK) st = write_out(&d, &err);
        if (st != DS4_OK) code = ds4_app_failed(DS4_CLI_NAME, &err);
    }
    ds4_session_free(d.session);
    ds4_str_clear(&d.out);
    ds4_str_clear(&prompt);
    free(d.logits);
    return code;
}
