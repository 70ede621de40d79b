/* main.c - ds4: talk to the model, once or in a conversation. */
#include "app/cli/cli.h"
#include "app/common/op_dump.h"
#include "app/common/op_trace.h"
#include "engine/timing.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char about[] =
    "Talk to a DeepSeek V4 model on this machine. With -p or --prompt-file one question is\n"
    "answered; without them a conversation begins (lines of standard input, when that is no\n"
    "terminal).";

static const char after[] =
    "Output: on a terminal the reasoning is shown in grey before the answer. When standard\n"
    "output is a file or a pipe it gets the answer alone, without the reasoning; --json has\n"
    "both. Everything else goes to standard error.\n"
    "\n"
    "'ds4 kv --help' says how to look after conversations kept on disk.\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong command line or bad model file, 130 interrupted.";

static ds4_parsed parse(ds4_cli *c, int argc, char **argv)
{
    const ds4_option options[] = {
        DS4_OPT_TEXT('p', "prompt", "TEXT", &c->prompt,
                     "answer this and exit; - reads standard input"),
        DS4_OPT_TEXT(0, "prompt-file", "FILE", &c->prompt_file, "the same with a file's text"),
        DS4_OPT_TEXT('m', "model", "FILE", &c->model.path,
                     "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_U32('c', "ctx", "N", &c->n_ctx, 16, 1048576, "context in tokens [32768]"),
        DS4_OPT_U32('n', "tokens", "N", &c->max_tokens, 1, 1048576,
                    "most tokens of an answer, reasoning included [50000]"),
        DS4_OPT_TEXT(0, "system", "TEXT", &c->system,
                     "system text, also -sys; empty for none\n"
                     "[You are a helpful assistant]"),
        DS4_OPT_CHOICE("think", &c->think, DS4_THINK, "reason before answering (default)"),
        DS4_OPT_CHOICE("think-max", &c->think, DS4_THINK_MAX, "reason with the greatest effort"),
        DS4_OPT_CHOICE("nothink", &c->think, DS4_THINK_OFF, "answer at once"),
        DS4_CLI_FORM_OPTIONS(c),
        DS4_OPT_F32(0, "temp", "X", &c->temperature, 0, 100,
                    "temperature, 0 for the likeliest token\n"
                    "[as the model file advises, else 1]"),
        DS4_OPT_F32(0, "top-p", "X", &c->top_p, 1e-6, 1,
                    "nucleus sampling [as the file advises, else 1]"),
        DS4_OPT_U32(0, "top-k", "N", &c->top_k, 0, 1048576,
                    "sample among the N likeliest; 0: all [0]"),
        DS4_OPT_F32(0, "min-p", "X", &c->min_p, 0, 1,
                    "leave out tokens less likely than X times the\n"
                    "likeliest [as the file advises, else 0.05]"),
        DS4_OPT_U64(0, "seed", "N", &c->seed, "seed of the random numbers [from the clock]"),
        DS4_OPT_TEXTS(0, "stop", "TEXT", &c->stops,
                      "end the answer before this text; may be repeated"),
        DS4_OPT_FLAG(0, "raw", &c->raw,
                     "continue the prompt's text as it is, without the chat\n"
                     "form; special tokens are recognised only when it\n"
                     "begins with the beginning-of-sentence token"),
        DS4_OPT_FLAG(0, "stats", &c->stats, "print speeds and token counts on standard error"),
        DS4_OPT_FLAG(0, "json", &c->json, "print one JSON object instead of the answer"),
        DS4_OPT_FLAG(0, "inspect", &c->inspect, "print what the model file holds and exit"),
        DS4_OPT_FLAG(0, "dump-tokens", &c->dump_tokens,
                     "print the tokens of the prompt's text as it is,\n"
                     "special tokens recognised, and exit"),
        DS4_OPT_TEXT(0, "dump-logprobs", "FILE", &c->dump_logprobs,
                     "answer greedily and write the likeliest tokens of\n"
                     "each step as JSON; - for standard output"),
        DS4_OPT_U32(0, "logprobs-top-k", "N", &c->logprobs_top_k, 1, 128, "how many of them [20]"),
        DS4_APP_SPECULATE_OPTIONS(&c->speculate, &c->model),
        DS4_APP_DEVICE_OPTIONS(&c->model),
        DS4_APP_MEMORY_OPTIONS(&c->model), DS4_APP_STEERING_OPTIONS(&c->model),
        DS4_APP_KV_OPTIONS(&c->kv),
        DS4_OPT_FLAG(0, "plan", &c->plan, "print what would be in memory and exit; 1 if it does not fit"),
        DS4_OPT_FLAG(0, "exact", &c->model.exact,
                     "diagnostic: leave out the roundings of the KV cache\n"
                     "that the model was trained with"),
        DS4_APP_TRACE_OPTION(&c->trace_path),
        DS4_APP_DUMP_OP_OPTION(&c->dump_op),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = { .name = DS4_CLI_NAME, .usage = "ds4 [options]", .about = about,
                                  .options = options, .after = after };
    return ds4_command_parse(&command, argc, argv, NULL, NULL);
}

/* Options that exclude or need each other. */
static const char *contradiction(const ds4_cli *c)
{
    const bool has_prompt = c->prompt || c->prompt_file;

    if (c->prompt && c->prompt_file) return "give either -p or --prompt-file, not both";
    if (c->json_schema && c->regex) return "give either --json-schema or --regex, not both";
    if (c->dump_logprobs && (c->json_schema || c->regex || c->think_budget)) {
        return "--dump-logprobs shows the model's own choice: leave out --json-schema, --regex and"
               " --think-budget";
    }
    if (c->json && !has_prompt) return "--json needs a prompt: add -p or --prompt-file";
    if (c->raw && !has_prompt) return "--raw needs a prompt: add -p or --prompt-file";
    if (c->dump_tokens && !has_prompt) {
        return "--dump-tokens needs a prompt: add -p or --prompt-file";
    }
    if (c->dump_logprobs && !has_prompt) {
        return "--dump-logprobs needs a prompt: add -p or --prompt-file";
    }
    return NULL;
}

/* A model without the tokens of the chat protocol can only continue raw text. */
static int check_chat(const ds4_cli *c, const ds4_model *model)
{
    ds4_err err = { .code = DS4_OK };

    if (c->raw || ds4_vocab_check_chat(ds4_engine_vocab(model->engine), &err) == DS4_OK) {
        return DS4_EXIT_OK;
    }
    ds4_app_say(DS4_CLI_NAME, "%s: %s (--raw continues plain text)",
                ds4_engine_info(model->engine)->path, err.text);
    return DS4_EXIT_WRONG;
}

static int answer(const ds4_cli *c, ds4_model *model)
{
    if (c->dump_logprobs) return ds4_cli_dump_logprobs(c, model);
    return c->prompt || c->prompt_file ? ds4_cli_once(c, model) : ds4_cli_repl(c, model);
}

/* Say what went wrong with a trace or a dump. Returns the exit code. */
static int look_failed(const ds4_err *err)
{
    const int code = ds4_app_failed(DS4_CLI_NAME, err);
    return err->code == DS4_E_ARG ? DS4_EXIT_WRONG : code;
}

/* Answer while operations are timed and shown, as far as options ask for it. */
static int answer_watched(const ds4_cli *c, ds4_model *model)
{
    ds4_op_trace *trace = NULL;
    ds4_op_dump  *dump = NULL;
    ds4_err       err = { .code = DS4_OK };
    int           code = DS4_EXIT_OK;

    ds4_status st = c->trace_path ? ds4_op_trace_open(&trace, c->trace_path, &err) : DS4_OK;
    if (st == DS4_OK && c->dump_op) st = ds4_op_dump_open(&dump, c->dump_op, model->engine, &err);
    if (st == DS4_OK) {
        if (trace) ds4_engine_time(model->engine, ds4_op_trace_add, trace);
        code = answer(c, model);
        ds4_engine_time(model->engine, NULL, NULL);
    }
    if (st != DS4_OK) code = look_failed(&err);
    if (ds4_op_dump_close(dump, &err) != DS4_OK) code = look_failed(&err);
    if (ds4_op_trace_close(trace, &err) != DS4_OK) code = look_failed(&err);
    return code;
}

static int run(ds4_cli *c)
{
    ds4_model model = { 0 };

    if (c->inspect) return ds4_cli_inspect(c);
    if (c->plan) return ds4_cli_plan(c);
    if (c->dump_tokens) return ds4_cli_dump_tokens(c);

    int code = ds4_cli_form_open(c);
    if (code != DS4_EXIT_OK) return code;
    ds4_app_model want = c->model;
    want.n_ctx = c->n_ctx;
    ds4_app_kv_model(&c->kv, &want);
    code = ds4_app_open(&want, &model);
    if (code == DS4_EXIT_OK) code = check_chat(c, &model);
    if (code == DS4_EXIT_OK) code = answer_watched(c, &model);
    ds4_model_close(&model);
    ds4_cli_form_close(c);
    return code;
}

int main(int argc, char **argv)
{
    ds4_cli cli = {
        .model = { .program = DS4_CLI_NAME, .argv0 = argc > 0 ? argv[0] : NULL },
        .system = "You are a helpful assistant",
        .max_tokens = 50000,
        .loop_tokens = 512,
        .logprobs_top_k = 20,
        .think = DS4_THINK,
    };

    if (argc > 1 && strcmp(argv[1], "kv") == 0) {
        ds4_app_begin(DS4_CLI_NAME);
        const int code = ds4_cli_kv(argc - 1, argv + 1);
        return ds4_app_flush(DS4_CLI_NAME) ? code : DS4_EXIT_FAILURE;
    }
    const ds4_parsed parsed = parse(&cli, argc, argv);
    if (parsed == DS4_PARSED_DONE) {
        return ds4_app_flush(DS4_CLI_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    }
    if (parsed == DS4_PARSED_WRONG) return DS4_EXIT_WRONG;
    const char *wrong = contradiction(&cli);
    if (wrong) {
        ds4_app_say(DS4_CLI_NAME, "%s", wrong);
        return DS4_EXIT_WRONG;
    }
    if (!cli.seed.given) cli.seed.value = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    ds4_app_begin(DS4_CLI_NAME);
    const int code = run(&cli);
    if (!ds4_app_flush(DS4_CLI_NAME)) return DS4_EXIT_FAILURE;
    return code;
}
