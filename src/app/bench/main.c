/* main.c - ds4-bench: how fast is the model on this machine. */
#include "app/bench/bench.h"

#include "base/file.h"
#include "base/output.h"
#include "service/speculation.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CONTEXT = 1 << 20, MAX_CHUNK = 4096, DEFAULT_CHUNK = 256 };

/* "1,2,4" into o->batch. */
static bool read_batches(bench_options *o)
{
    const char *at = o->batch_text;

    for (o->max_sessions = 0, o->n_batches = 0; *at; ) {
        const size_t n = strcspn(at, ",");
        char         word[16];
        uint64_t     value;
        if (n == 0 || n >= sizeof word || o->n_batches == BENCH_MAX_BATCHES) return false;
        memcpy(word, at, n);
        word[n] = '\0';
        if (!ds4_parse_u64(word, 1, BENCH_MAX_SESSIONS, &value)) return false;
        o->batch[o->n_batches++] = (uint32_t)value;
        if (value > o->max_sessions) o->max_sessions = (uint32_t)value;
        at += n;
        if (*at == ',' && *++at == '\0') return false;
    }
    return o->n_batches > 0;
}

/* Fill in what depends on other options. Returns false after saying what is wrong. */
static bool complete(bench_options *o)
{
    if (!read_batches(o)) {
        ds4_app_say(DS4_BENCH_NAME, "invalid value for --batch: %s", o->batch_text);
        return false;
    }
    if (o->prompt_path && o->chat_path) {
        ds4_app_say(DS4_BENCH_NAME, "--prompt-file and --chat-prompt-file exclude each other");
        return false;
    }
    if (o->ctx_start > o->ctx_max) {
        ds4_app_say(DS4_BENCH_NAME, "--ctx-start %u is more than --ctx-max %u", o->ctx_start,
                    o->ctx_max);
        return false;
    }
    const uint32_t least = o->ctx_max + o->gen_tokens + 1;
    if (o->ctx_alloc == 0) o->ctx_alloc = least;
    if (o->ctx_alloc < least - 1) {
        ds4_app_say(DS4_BENCH_NAME, "--ctx-alloc %u is less than --ctx-max and --gen-tokens together,"
                    " %u", o->ctx_alloc, least - 1);
        return false;
    }
    if (o->speculate_cost && o->gen_tokens == 0) {
        ds4_app_say(DS4_BENCH_NAME, "--speculate-cost needs steps: --gen-tokens 1 or more");
        return false;
    }
    if (o->speculate != DS4_SPECULATE_OFF && !o->prompt_path && !o->chat_path) {
        ds4_app_say(DS4_BENCH_NAME, "--speculate needs --prompt-file or --chat-prompt-file");
        return false;
    }
    if (o->speculate_cost) o->ctx_max = o->ctx_start;
    if (!o->step_mul.given) o->step_mul.value = 1.0f;
    if (!o->max_loss.given) o->max_loss.value = 2.0f;
    o->model.max_batch = o->chunk > o->max_sessions ? o->chunk : o->max_sessions;
    o->model.n_ctx = o->ctx_alloc;
    return true;
}

/* ---- output ------------------------------------------------------------------------------- */

static ds4_status put(const char *path, ds4_str *content, ds4_err *err)
{
    if (content->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the results");
    return ds4_output_put(path ? path : "-", content->data, content->n_bytes, err);
}

static ds4_status report(const bench_options *o, const bench_result *r, ds4_err *err)
{
    ds4_str    out = { 0 };
    ds4_status st;

    bench_csv(r, &out);
    st = put(o->csv_path, &out, err);
    ds4_str_clear(&out);
    if (st == DS4_OK && o->json_path) {
        st = bench_json(r, &out, err);
        if (st == DS4_OK) st = put(o->json_path, &out, err);
        ds4_str_clear(&out);
    }
    if (st == DS4_OK && o->plot_path) {
        bench_svg(r, &out);
        st = put(o->plot_path, &out, err);
        ds4_str_clear(&out);
    }
    return st;
}

static void say_ops(const bench_ops *ops)
{
    ds4_str out = { 0 };

    bench_ops_table(ops, &out);
    fputs(ds4_str_text(&out), stderr);
    ds4_str_clear(&out);
}

/* Measure the cost of speculation, or its gain. */
static int run_speculation(const bench_options *o)
{
    ds4_model model = { 0 };
    ds4_err   err = { .code = DS4_OK };
    ds4_str   out = { 0 };
    const int code = ds4_app_open(&o->model, &model);

    if (code != DS4_EXIT_OK) return code;
    ds4_status st = o->speculate_cost ? bench_rows(o, model.engine, &out, &err)
                                      : bench_speculate(o, &model, &out, &err);
    if (st == DS4_OK) st = put(o->csv_path, &out, &err);
    ds4_str_clear(&out);
    ds4_model_close(&model);
    if (st != DS4_OK) return ds4_app_failed(DS4_BENCH_NAME, &err);
    return ds4_app_flush(DS4_BENCH_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
}

static int run(bench_options *o)
{
    ds4_model    model = { 0 };
    bench_result result = { 0 };
    ds4_err      err = { .code = DS4_OK };
    bool         worse = false;
    const int    code = ds4_app_open(&o->model, &model);

    if (code != DS4_EXIT_OK) return code;
    ds4_status st = o->trace_path ? ds4_op_trace_open(&o->trace, o->trace_path, &err) : DS4_OK;
    if (st == DS4_OK) st = bench_measure(o, model.engine, &result, &err);
    const ds4_status traced = ds4_op_trace_close(o->trace, st == DS4_OK ? &err : NULL);
    if (st == DS4_OK) st = traced;
    if (st == DS4_OK) {
        ds4_app_say_experts(DS4_BENCH_NAME, model.engine);
        ds4_app_say_memory(DS4_BENCH_NAME, model.engine, result.peak_bytes);
        ds4_app_say(DS4_BENCH_NAME, "%u threads read memory at %.1f GB/s", result.n_threads,
                    result.probe_gbps);
        if (result.ops) say_ops(result.ops);
        st = report(o, &result, &err);
    }
    if (st == DS4_OK && o->compare_path) {
        st = bench_compare(&result, o->compare_path, (double)o->max_loss.value, &worse, &err);
    }
    free(result.rows);
    free(result.ops);
    ds4_model_close(&model);
    if (st != DS4_OK) return ds4_app_failed(DS4_BENCH_NAME, &err);
    if (!ds4_app_flush(DS4_BENCH_NAME)) return DS4_EXIT_FAILURE;
    return worse ? DS4_EXIT_FAILURE : DS4_EXIT_OK;
}

static const char about[] =
    "Measure prefill and decoding speed at growing contexts. At each context length the\n"
    "session is filled from the length before (timed), then some tokens are decoded\n"
    "(timed), the likeliest each time but never the end of the answer; then it goes back\n"
    "to where the prefill ended.";

static const char after[] =
    "Columns: ctx_tokens, prefill_tokens (from the context before), prefill_tps, gen_tokens\n"
    "(of each session), gen_tps (of all sessions together), kvcache_bytes (of one session),\n"
    "ttft_ms (time to the first token of a prompt of ctx_tokens: all prefill so far), gbps\n"
    "(weights read while decoding; for a batch, experts are counted as if each session chose\n"
    "at random), bandwidth_share (gbps over probe_gbps), batch, the slowest of the repeats\n"
    "(prefill_tps_min, gen_tps_min), and probe_gbps (what all threads together read from\n"
    "memory, asked before, after and every half second of decoding, in time that does not\n"
    "count); other speeds are medians. With --experts stream, gbps still counts every expert\n"
    "that a step uses.\n\n"
    "--ops: for prefill and decoding, each kind of operation (a name with a dot after\n"
    "\"experts\" or \"project\" is a part of one) with calls in a step, milliseconds for each\n"
    "token, microseconds of a call, share of the time and weights read in GB/s; \"outside\" is\n"
    "what no operation took. --json receives them too.\n\n"
    "--speculate: tokens, plain_tps, tps, ratio, work_ratio (of the processors' time), drafted\n"
    "and accepted tokens.\n\n"
    "--speculate-cost: ctx_tokens, rows, ms (median), ms_min, cost (ms in steps of one row) and\n"
    "cost_of_min; each row's logits are computed, as when guessed tokens are verified.\n\n"
    "Exit codes: 0 done, 1 failed or slower than --compare allows, 2 wrong command line or bad\n"
    "model file, 130 interrupted.";

/* Longer than 60 lines: a table of options, one after the other, which is filled with addresses. */
int main(int argc, char **argv)
{
    bench_options    o = { .model = { .program = DS4_BENCH_NAME, .argv0 = argv[0] },
                           .system = "You are a helpful assistant",
                           .batch_text = "1", .ctx_start = 2048, .ctx_max = 32768,
                           .step_incr = 2048, .gen_tokens = 128, .n_repeats = 1,
                           .chunk = DEFAULT_CHUNK, .speculate = DS4_SPECULATE_OFF };
    const ds4_option options[] = {
        { .kind = DS4_OPTION_TEXT, .letter = 'm', .name = "model", .arg = "FILE",
          .to = &o.model.path,
          .help = "GGUF file [ds4flash.gguf, else the bundled model]" },
        { .kind = DS4_OPTION_TEXT, .name = "prompt-file", .arg = "FILE", .to = &o.prompt_path,
          .help = "text to prefill, long enough for --ctx-max\n[random tokens, the same each time]" },
        { .kind = DS4_OPTION_TEXT, .name = "chat-prompt-file", .arg = "FILE", .to = &o.chat_path,
          .help = "the same as one message of a user, to be answered\nwithout thinking" },
        { .kind = DS4_OPTION_TEXT, .name = "system", .arg = "TEXT", .to = &o.system,
          .help = "system text before that message, also as -sys; \"\"\n"
                  "for none [\"You are a helpful assistant\"]" },
        { .kind = DS4_OPTION_U32, .name = "ctx-start", .arg = "N", .to = &o.ctx_start, .min = 1,
          .max = MAX_CONTEXT, .help = "first context length [2048]" },
        { .kind = DS4_OPTION_U32, .name = "ctx-max", .arg = "N", .to = &o.ctx_max, .min = 1,
          .max = MAX_CONTEXT, .help = "last context length [32768]" },
        { .kind = DS4_OPTION_U32, .name = "ctx-alloc", .arg = "N", .to = &o.ctx_alloc, .min = 1,
          .max = MAX_CONTEXT, .help = "context to reserve [--ctx-max + --gen-tokens + 1]" },
        { .kind = DS4_OPTION_F32, .name = "step-mul", .arg = "F",
          .to = &o.step_mul, .min = 1, .max = 1000,
          .help = "next context length is F times the last [1]" },
        { .kind = DS4_OPTION_U32, .name = "step-incr", .arg = "N", .to = &o.step_incr, .min = 1,
          .max = MAX_CONTEXT, .help = "or N more, when --step-mul is 1 [2048]" },
        { .kind = DS4_OPTION_U32, .letter = 'n', .name = "gen-tokens", .arg = "N",
          .to = &o.gen_tokens,
          .max = MAX_CONTEXT, .help = "tokens to decode at each context, 0: prefill only [128]" },
        { .kind = DS4_OPTION_TEXT, .name = "batch", .arg = "LIST", .to = &o.batch_text,
          .help = "sessions that decode together, as 1,2,4,8 [1]" },
        { .kind = DS4_OPTION_U32, .name = "chunk", .arg = "N",
          .to = &o.chunk, .min = 1, .max = MAX_CHUNK,
          .help = "tokens in one step of a prefill [256]" },
        { .kind = DS4_OPTION_U32, .name = "repeat", .arg = "N",
          .to = &o.n_repeats, .min = 1, .max = 1000,
          .help = "run everything N times [1]" },
        { .kind = DS4_OPTION_FLAG, .name = "warmup", .to = &o.warmup,
          .help = "a short run first that does not count" },
        { .kind = DS4_OPTION_FLAG, .name = "ops", .to = &o.ops,
          .help = "say on standard error what each operation took" },
        { .kind = DS4_OPTION_NAME, .name = "speculate", .arg = "auto|off|suffix|dspark", .to = &o.speculate,
          .names = ds4_speculate_names,
          .help = "instead: an answer of --gen-tokens to the prompt file\n"
                  "without guessed tokens and with them, in turn, --repeat\n"
                  "times; fails when it is another [off]" },
        DS4_APP_DSPARK_OPTION(&o.model),
        { .kind = DS4_OPTION_FLAG, .name = "speculate-cost", .to = &o.speculate_cost,
          .help = "instead: what steps of 1 to 16 rows of one answer cost\n"
                  "at --ctx-start, --gen-tokens steps of each" },
        DS4_APP_TRACE_OPTION(&o.trace_path),
        { .kind = DS4_OPTION_TEXT, .name = "csv", .arg = "FILE", .to = &o.csv_path,
          .help = "receives the results [standard output]" },
        { .kind = DS4_OPTION_TEXT, .name = "json", .arg = "FILE", .to = &o.json_path,
          .help = "receives the results as JSON" },
        { .kind = DS4_OPTION_TEXT, .name = "plot", .arg = "FILE", .to = &o.plot_path,
          .help = "receives a picture of the results, SVG" },
        { .kind = DS4_OPTION_TEXT, .name = "dump-frontier-logits-dir", .arg = "DIR",
          .to = &o.logits_dir,
          .help = "receives the logits at the end of each prefill as\n"
                  "ctx-N.f32: 32-bit floats, one for each token" },
        { .kind = DS4_OPTION_TEXT, .name = "compare", .arg = "FILE", .to = &o.compare_path,
          .help = "compare with the --json file of an earlier run" },
        { .kind = DS4_OPTION_F32, .name = "max-loss", .arg = "P",
          .to = &o.max_loss, .min = 0, .max = 100,
          .help = "percent of speed that --compare lets be lost [2]" },
        DS4_APP_DEVICE_OPTIONS(&o.model),
        DS4_APP_MEMORY_OPTIONS(&o.model),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = { .name = DS4_BENCH_NAME, .usage = "ds4-bench [options]", .about = about,
                                  .options = options, .after = after };

    ds4_app_begin(DS4_BENCH_NAME);
    switch (ds4_command_parse(&command, argc, argv, NULL, NULL)) {
    case DS4_PARSED_DONE:  return DS4_EXIT_OK;
    case DS4_PARSED_WRONG: return DS4_EXIT_WRONG;
    case DS4_PARSED_RUN:   break;
    }
    if (!complete(&o)) return DS4_EXIT_WRONG;
    const bool speculation = o.speculate_cost || o.speculate != DS4_SPECULATE_OFF;
    return speculation ? run_speculation(&o) : run(&o);
}
