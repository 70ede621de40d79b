/* eval_steer.c - ds4-eval steer: the direction of each layer that tells two lists of prompts apart. */
#include "app/eval/eval.h"
#include "base/file.h"
#include "base/output.h"
#include "engine/watch.h"
#include "text/pyjson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST_BYTES = 64 << 20 };

typedef enum side { GOOD, BAD, N_SIDES } side;

static const char *const component_names[] = { "ffn_out", "attn_out", NULL };
/* The operations that write these outputs. */
static const char *const component_ops[] = { "ffn.experts", "attn.o_b" };

typedef struct builder {
    ds4_app_model want;
    ds4_model     model;
    const char   *list[N_SIDES], *out, *system;
    int           component;
    uint32_t      n_layers, n_embd, n_prompts[N_SIDES];
    double       *sum[N_SIDES];         /* [n_layers][n_embd] */
    side          side;                 /* of the prompt being read */
    ds4_cancel   *cancel;
} builder;

/* ---- activations --------------------------------------------------------------------------------- */

static void add_output(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                       const float *values)
{
    builder *b = ctx;

    if (layer < 0 || strcmp(name, component_ops[b->component]) != 0) return;
    double      *sum = b->sum[b->side] + (size_t)layer * b->n_embd;
    const float *last = values + (size_t)(n_tokens - 1) * n_values;
    for (uint32_t i = 0; i < n_values; i++) sum[i] += (double)last[i];
}

static ds4_status read_prompt(builder *b, const int32_t *ids, uint32_t n, ds4_err *err)
{
    ds4_engine       *e = b->model.engine;
    ds4_session      *s = NULL;
    const ds4_prefill first = { .tokens = ids, .n_tokens = n - 1, .cancel = b->cancel };
    const ds4_work    last = { .tokens = ids + n - 1, .n_tokens = 1 };

    DS4_TRY(ds4_session_create(e, n, &s, err));
    ds4_status st = n > 1 ? ds4_session_prefill(s, &first, err) : DS4_OK;
    if (st == DS4_OK) {
        ds4_work work = last;
        work.session = s;
        ds4_engine_watch(e, add_output, b);
        st = ds4_engine_step(e, &work, 1, err);
        ds4_engine_watch(e, NULL, NULL);
    }
    ds4_session_free(s);
    return st;
}

/* One prompt as ds4 sends it with --nothink. */
static ds4_status add_prompt(builder *b, const char *text, ds4_err *err)
{
    const ds4_chat_turn turns[] = { { DS4_SYSTEM, b->system }, { DS4_USER, text } };
    const bool          alone = *b->system == '\0';
    const ds4_chat      chat = { .turns = turns + alone, .n_turns = alone ? 1 : 2 };
    uint32_t            n = 0;
    int32_t            *ids = NULL;
    ds4_status          st = ds4_chat_prompt(b->model.engine, &chat, NULL, 0, &n, err);

    if (st == DS4_E_LIMIT) {
        ids = malloc(n * sizeof *ids);
        st = ids ? ds4_chat_prompt(b->model.engine, &chat, ids, n, &n, err)
                 : ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", n);
    }
    if (st == DS4_OK) st = read_prompt(b, ids, n, err);
    free(ids);
    return st;
}

/* Every line that is not empty is a prompt. */
static ds4_status add_list(builder *b, side which, ds4_err *err)
{
    ds4_str    text = { 0 };
    ds4_status st = ds4_file_read(b->list[which], MAX_LIST_BYTES, &text, err);
    char      *at = text.data;

    b->side = which;
    while (st == DS4_OK && at && *at) {
        const size_t n = strcspn(at, "\r\n");
        const bool   is_last = at[n] == '\0';
        at[n] = '\0';
        if (n > 0) {
            st = b->cancel->stop ? ds4_fail(err, DS4_E_CANCELLED, "interrupted") : add_prompt(b, at, err);
            b->n_prompts[which]++;
            ds4_term_progress("%u good and %u bad prompts", b->n_prompts[GOOD], b->n_prompts[BAD]);
        }
        at = is_last ? NULL : at + n + 1;
    }
    ds4_str_clear(&text);
    if (st != DS4_OK || b->n_prompts[which] > 0) return st;
    return ds4_fail(err, DS4_E_ARG, "%s: no prompts, expected one in each line", b->list[which]);
}

/* ---- directions ----------------------------------------------------------------------------------- */

/* The difference of the means, at length 1; zero where there is none. */
static void make_direction(const builder *b, uint32_t layer, float *out)
{
    const size_t at = (size_t)layer * b->n_embd;
    double       square = 0.0;

    for (int pass = 0; pass < 2; pass++) {
        const double by = square > 0.0 ? 1.0 / sqrt(square) : 0.0;
        for (uint32_t i = 0; i < b->n_embd; i++) {
            const double good = b->sum[GOOD][at + i] / b->n_prompts[GOOD];
            const double d = good - b->sum[BAD][at + i] / b->n_prompts[BAD];
            if (pass == 0) square += d * d;
            else out[i] = (float)(d * by);
        }
    }
}

static ds4_status write_directions(const builder *b, ds4_err *err)
{
    const size_t n = (size_t)b->n_layers * b->n_embd;
    float       *v = malloc(n * sizeof *v);

    if (!v) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u directions", b->n_layers);
    for (uint32_t l = 0; l < b->n_layers; l++) make_direction(b, l, v + (size_t)l * b->n_embd);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        const uint8_t bytes[4] = { (uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                                   (uint8_t)(bits >> 24) };
        memcpy(&v[i], bytes, sizeof bytes);
    }
    const ds4_status st = ds4_output_put(b->out, v, n * sizeof *v, err);
    free(v);
    return st;
}

/* A text beside them says how they were made: for people, no program reads it. */
static ds4_status write_facts(const builder *b, ds4_err *err)
{
    const char *name = ds4_engine_info(b->model.engine)->name;
    ds4_str     path = { 0 }, text = { 0 };
    ds4_status  st;

    ds4_str_addf(&path, "%s.json", b->out);
    ds4_str_add_text(&text, "{\"model\": ");
    ds4_pyjson_add_string(&text, (ds4_slice){ name, strlen(name) });
    ds4_str_addf(&text, ", \"component\": \"%s\", \"position\": \"last prompt token\", \"layers\": %u,"
                 " \"width\": %u, \"good_prompts\": %u, \"bad_prompts\": %u}\n",
                 component_names[b->component], b->n_layers, b->n_embd, b->n_prompts[GOOD],
                 b->n_prompts[BAD]);
    st = path.failed || text.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for the facts about %s", b->out)
                                    : ds4_output_put(ds4_str_text(&path), text.data, text.n_bytes, err);
    ds4_str_clear(&path);
    ds4_str_clear(&text);
    return st;
}

static ds4_status build(builder *b, ds4_err *err)
{
    const ds4_model_info *info = ds4_engine_info(b->model.engine);

    b->cancel = ds4_interrupt_catch(true);
    b->n_layers = info->n_layers;
    b->n_embd = info->n_embd;
    for (int i = 0; i < N_SIDES; i++) {
        b->sum[i] = calloc((size_t)b->n_layers * b->n_embd, sizeof *b->sum[i]);
        if (!b->sum[i]) return ds4_fail(err, DS4_E_NOMEM, "no memory for means of %u layers", b->n_layers);
    }
    DS4_TRY(add_list(b, GOOD, err));
    DS4_TRY(add_list(b, BAD, err));
    DS4_TRY(write_directions(b, err));
    return strcmp(b->out, "-") == 0 ? DS4_OK : write_facts(b, err);
}

int ds4_eval_steer(const char *argv0, int argc, char **argv)
{
    builder          b = { .want = { .program = DS4_EVAL_NAME, .argv0 = argv0 }, .system = "" };
    ds4_err          err = { .code = DS4_OK };
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &b.want.path, "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_TEXT(0, "good", "FILE", &b.list[GOOD],
                     "prompts, one in each line, that the direction leads to"),
        DS4_OPT_TEXT(0, "bad", "FILE", &b.list[BAD], "prompts that it leads away from"),
        DS4_OPT_TEXT(0, "out", "FILE", &b.out,
                     "where the directions go; FILE.json says how they\nwere made"),
        DS4_OPT_NAME("component", "ffn_out|attn_out", &b.component, component_names,
                     "outputs of experts or of attention [ffn_out]"),
        DS4_OPT_TEXT(0, "system", "TEXT", &b.system, "system text of every prompt [none]"),
        DS4_APP_DEVICE_OPTIONS(&b.want),
        DS4_APP_MEMORY_OPTIONS(&b.want),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval steer --good FILE --bad FILE --out FILE [options]",
        .about = "Write the direction of each layer that tells two lists of prompts apart: the difference\n"
                 "of the mean outputs at the last token. --dir-steering-file of the programs takes it.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (!b.list[GOOD] || !b.list[BAD] || !b.out) {
        ds4_app_say(DS4_EVAL_NAME, "steer needs --good, --bad and --out");
        return DS4_EXIT_WRONG;
    }
    int code = ds4_app_open(&b.want, &b.model);
    if (code == DS4_EXIT_OK && build(&b, &err) != DS4_OK) code = ds4_app_failed(DS4_EVAL_NAME, &err);
    ds4_term_progress_end();
    for (int i = 0; i < N_SIDES; i++) free(b.sum[i]);
    ds4_model_close(&b.model);
    return code;
}
