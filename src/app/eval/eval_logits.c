/* eval_logits.c - ds4-eval logits: the logits of every position, and the residual streams. */
#include "app/eval/eval.h"
#include "base/file.h"
#include "base/output.h"
#include "engine/watch.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TOKENS_BYTES = 1 << 28,
    MAX_PROBES = 4096,
    MAX_BATCH = 4096,                       /* of the engine */
    LOGITS_BYTES = 1 << 29,                 /* of one step, when no chunk is asked for */
};

typedef struct job {
    ds4_app_model model;
    const char   *tokens_path, *out_path, *streams_path, *probe_text;
    uint32_t      chunk;                    /* 0: as many as fit */
    int32_t      *tokens;                   /* [n_tokens] */
    uint32_t      n_tokens;
    uint32_t      probe[MAX_PROBES];        /* [n_probes] positions, any order */
    uint32_t      n_probes;
    float        *streams;                  /* [n_layers][n_probes][n_values] */
    uint32_t      n_layers, n_values;       /* values: 0 until the first were seen */
    uint32_t      first;                    /* position of the step's first token */
    bool          bad_streams;              /* memory, or a layer or width that does not fit */
} job;

static ds4_status read_tokens(job *j, ds4_err *err)
{
    ds4_str bytes = { 0 };

    DS4_TRY(ds4_file_read(j->tokens_path, MAX_TOKENS_BYTES, &bytes, err));
    if (bytes.n_bytes == 0 || bytes.n_bytes % 4 != 0) {
        const size_t n = bytes.n_bytes;
        ds4_str_clear(&bytes);
        return ds4_fail(err, DS4_E_FORMAT, "%s: %zu bytes are no list of 32-bit token ids",
                        j->tokens_path, n);
    }
    j->n_tokens = (uint32_t)(bytes.n_bytes / 4);
    j->tokens = malloc(bytes.n_bytes);
    for (uint32_t i = 0; j->tokens && i < j->n_tokens; i++) {
        const uint8_t *p = (const uint8_t *)bytes.data + 4 * (size_t)i;
        j->tokens[i] = (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                                 (uint32_t)p[3] << 24);
    }
    ds4_str_clear(&bytes);
    return j->tokens ? DS4_OK : ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", j->n_tokens);
}

/* "0,1,3": positions inside the tokens. */
static bool read_probes(job *j)
{
    char        word[16];
    const char *p = j->probe_text;

    while (*p) {
        const size_t n = strcspn(p, ",");
        uint64_t     pos = 0;
        if (n == 0 || n >= sizeof word || j->n_probes == MAX_PROBES) return false;
        memcpy(word, p, n);
        word[n] = '\0';
        if (!ds4_parse_u64(word, 0, j->n_tokens - 1, &pos)) return false;
        j->probe[j->n_probes++] = (uint32_t)pos;
        p += n;
        if (*p == ',' && *++p == '\0') return false;
    }
    return j->n_probes > 0;
}

static void watch(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                  const float *values)
{
    job *j = ctx;

    if (strcmp(name, "ffn.leave") != 0 || layer < 0 || j->bad_streams) return;
    if (j->n_values == 0) {
        j->n_values = n_values;
        j->streams = calloc((size_t)j->n_layers * j->n_probes * n_values, sizeof *j->streams);
    }
    if (!j->streams || n_values != j->n_values || (uint32_t)layer >= j->n_layers) {
        j->bad_streams = true;
        return;
    }
    for (uint32_t i = 0; i < j->n_probes; i++) {
        if (j->probe[i] < j->first || j->probe[i] - j->first >= n_tokens) continue;
        const size_t row = (size_t)layer * j->n_probes + i;
        memcpy(j->streams + row * n_values, values + (size_t)(j->probe[i] - j->first) * n_values,
               n_values * sizeof *values);
    }
}

/* Floats are written as they lie in memory: every machine this runs on is little endian. */
static ds4_status run_steps(job *j, ds4_engine *e, ds4_session *s, ds4_output *out, ds4_err *err)
{
    const size_t      n_vocab = ds4_engine_info(e)->n_vocab;
    const uint32_t    chunk = ds4_engine_max_batch(e);
    const ds4_cancel *cancel = ds4_interrupt_catch(true);
    float            *logits = malloc(chunk * n_vocab * sizeof *logits);
    ds4_status        st =
        logits ? DS4_OK
                      : ds4_fail(err, DS4_E_NOMEM, "no memory for the logits of %u tokens", chunk);

    for (j->first = 0; st == DS4_OK && j->first < j->n_tokens;) {
        const uint32_t left = j->n_tokens - j->first;
        const ds4_work work = { .session = s,
                                .tokens = j->tokens + j->first,
                                .n_tokens = left < chunk ? left : chunk,
                                .logits = logits,
                                .all_logits = true };
        if (cancel->stop) {
            st = ds4_fail(err, DS4_E_CANCELLED, "interrupted");
            break;
        }
        st = ds4_engine_step(e, &work, 1, err);
        if (st == DS4_OK) st = ds4_output_write(out, logits, work.n_tokens * n_vocab * sizeof *logits, err);
        j->first += work.n_tokens;
        ds4_term_progress("%u of %u tokens", j->first, j->n_tokens);
    }
    ds4_term_progress_end();
    free(logits);
    return st;
}

static ds4_status write_streams(const job *j, ds4_err *err)
{
    if (!j->streams_path) return DS4_OK;
    if (!j->streams || j->bad_streams) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the residual streams of %u positions",
                        j->n_probes);
    }
    return ds4_output_put(j->streams_path, j->streams,
                            (size_t)j->n_layers * j->n_probes * j->n_values * sizeof *j->streams,
                            err);
}

static ds4_status write_logits(job *j, ds4_engine *e, ds4_err *err)
{
    ds4_session *s = NULL;
    ds4_output  *out = NULL;

    DS4_TRY(ds4_output_open(&out, j->out_path, err));
    j->n_layers = ds4_engine_info(e)->n_layers;
    if (j->streams_path) ds4_engine_watch(e, watch, j);
    ds4_status st = ds4_session_create(e, j->n_tokens, &s, err);
    if (st == DS4_OK) st = run_steps(j, e, s, out, err);
    if (st == DS4_OK) {
        st = ds4_output_commit(out, err);
    } else {
        ds4_output_drop(out);
    }
    if (st == DS4_OK) st = write_streams(j, err);
    ds4_session_free(s);
    return st;
}

/* The model has to be open to know how large a row of logits is, and a step's size is
 * fixed when it is opened: the vocabulary is taken to be the largest known, 129,280. */
static uint32_t step_size(const job *j)
{
    const uint32_t fitting = LOGITS_BYTES / (129280 * 4);
    const uint32_t small = j->n_tokens < MAX_BATCH ? j->n_tokens : MAX_BATCH;

    if (j->chunk > 0) return j->chunk;
    return j->n_tokens <= fitting ? j->n_tokens : small < 1024 ? small : 1024;
}

static int run(job *j)
{
    ds4_model  model = { 0 };
    ds4_err    err = { .code = DS4_OK };
    ds4_status st = read_tokens(j, &err);

    if (st == DS4_OK && j->streams_path && !read_probes(j)) {
        ds4_app_say(DS4_EVAL_NAME, "invalid value for --probe: %s", j->probe_text);
        return DS4_EXIT_WRONG;
    }
    if (st == DS4_OK) {
        j->model.max_batch = step_size(j);
        const int code = ds4_app_open(&j->model, &model);
        if (code != DS4_EXIT_OK) return code;
        st = write_logits(j, model.engine, &err);
        ds4_app_say_experts(DS4_EVAL_NAME, model.engine);
    }
    ds4_model_close(&model);
    return st == DS4_OK ? DS4_EXIT_OK : ds4_app_failed(DS4_EVAL_NAME, &err);
}

int ds4_eval_logits(const char *argv0, int argc, char **argv)
{
    job j = { .model = { .program = DS4_EVAL_NAME, .argv0 = argv0 } };
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &j.model.path,
                     "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_TEXT(0, "tokens", "FILE", &j.tokens_path, "token ids, 32 bits each, little endian"),
        DS4_OPT_TEXT(0, "out", "FILE", &j.out_path, "receives float32 [tokens][vocabulary]"),
        DS4_OPT_U32(0, "chunk", "N", &j.chunk, 1, MAX_BATCH, "tokens in one step [as many as fit]"),
        DS4_OPT_TEXT(0, "streams", "FILE", &j.streams_path,
                     "receives the residual streams after each layer,\n"
                     "float32 [layers][probes][4 * width]"),
        DS4_OPT_TEXT(0, "probe", "LIST", &j.probe_text, "the positions for --streams, as 0,1,3"),
        DS4_APP_DEVICE_OPTIONS(&j.model),
        DS4_APP_MEMORY_OPTIONS(&j.model),
        DS4_OPT_FLAG(0, "exact", &j.model.exact,
                     "leave out the trained-in roundings of the KV cache"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME, .usage = "ds4-eval logits --tokens FILE --out FILE [options]",
        .about = "Write the logits of every position of a list of tokens.", .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (!j.tokens_path || !j.out_path || !j.streams_path != !j.probe_text) {
        ds4_app_say(DS4_EVAL_NAME, !j.tokens_path ? "logits needs --tokens"
                                   : !j.out_path  ? "logits needs --out"
                                                  : "--streams and --probe need each other");
        return DS4_EXIT_WRONG;
    }
    const int code = run(&j);
    free(j.tokens);
    free(j.streams);
    return code;
}
