/* main.c - ds4: talk to the model, once or in a conversation. */
#include "app/cli/cli.h"

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
    "Exit codes: 0 done, 1 failed, 2 wrong command line or bad model file, 130 interrupted.";

static ds4_parsed parse(ds4_cli *c, int argc, char **argv)
{
    const ds4_option options[] = {
        { .kind = DS4_OPTION_TEXT, .letter = 'p', .name = "prompt", .arg = "TEXT", .to = &c->prompt,
          .help = "answer this and exit; - reads standard input" },
        { .kind = DS4_OPTION_TEXT, .name = "prompt-file", .arg = "FILE", .to = &c->prompt_file,
          .help = "the same with a file's text" },
        { .kind = DS4_OPTION_TEXT, .letter = 'm', .name = "model", .arg = "FILE", .to = &c->model.path,
          .help = "GGUF file [ds4flash.gguf, else the bundled model]" },
        { .kind = DS4_OPTION_U32, .letter = 'c', .name = "ctx", .arg = "N", .to = &c->n_ctx,
          .min = 16, .max = 1048576, .help = "context in tokens [32768]" },
        { .kind = DS4_OPTION_U32, .letter = 'n', .name = "tokens", .arg = "N", .to = &c->max_tokens,
          .min = 1, .max = 1048576, .help = "most tokens of an answer, reasoning included [50000]" },
        { .kind = DS4_OPTION_TEXT, .name = "system", .arg = "TEXT", .to = &c->system,
          .help = "system text, also -sys; empty for none\n[You are a helpful assistant]" },
        { .kind = DS4_OPTION_CHOICE, .name = "think", .to = &c->think, .choice = DS4_THINK,
          .help = "reason before answering (default)" },
        { .kind = DS4_OPTION_CHOICE, .name = "think-max", .to = &c->think, .choice = DS4_THINK_MAX,
          .help = "reason with the greatest effort" },
        { .kind = DS4_OPTION_CHOICE, .name = "nothink", .to = &c->think, .choice = DS4_THINK_OFF,
          .help = "answer at once" },
        { .kind = DS4_OPTION_F32, .name = "temp", .arg = "X", .to = &c->temperature, .min = 0, .max = 100,
          .help = "temperature, 0 for the likeliest token\n[as the model file advises, else 1]" },
        { .kind = DS4_OPTION_F32, .name = "top-p", .arg = "X", .to = &c->top_p, .min = 1e-6, .max = 1,
          .help = "nucleus sampling [as the file advises, else 1]" },
        { .kind = DS4_OPTION_U32, .name = "top-k", .arg = "N", .to = &c->top_k, .min = 0, .max = 1048576,
          .help = "sample among the N likeliest; 0: all [0]" },
        { .kind = DS4_OPTION_F32, .name = "min-p", .arg = "X", .to = &c->min_p, .min = 0, .max = 1,
          .help = "leave out tokens less likely than X times the\nlikeliest [as the file advises, else 0.05]" },
        { .kind = DS4_OPTION_U64, .name = "seed", .arg = "N", .to = &c->seed,
          .help = "seed of the random numbers [from the clock]" },
        { .kind = DS4_OPTION_TEXTS, .name = "stop", .arg = "TEXT", .to = &c->stops,
          .help = "end the answer before this text; may be repeated" },
        { .kind = DS4_OPTION_FLAG, .name = "raw", .to = &c->raw,
          .help = "continue the prompt's text as it is, without the chat\nform; special tokens are recognised only when it\n"
                  "begins with the beginning-of-sentence token" },
        { .kind = DS4_OPTION_FLAG, .name = "stats", .to = &c->stats,
          .help = "print speeds and token counts on standard error" },
        { .kind = DS4_OPTION_FLAG, .name = "json", .to = &c->json,
          .help = "print one JSON object instead of the answer" },
        { .kind = DS4_OPTION_FLAG, .name = "inspect", .to = &c->inspect,
          .help = "print what the model file holds and exit" },
        { .kind = DS4_OPTION_FLAG, .name = "dump-tokens", .to = &c->dump_tokens,
          .help = "print the tokens of the prompt's text as it is,\nspecial tokens recognised, and exit" },
        { .kind = DS4_OPTION_TEXT, .name = "dump-logprobs", .arg = "FILE", .to = &c->dump_logprobs,
          .help = "answer greedily and write the likeliest tokens of\neach step as JSON; - for standard output" },
        { .kind = DS4_OPTION_U32, .name = "logprobs-top-k", .arg = "N", .to = &c->logprobs_top_k, .min = 1,
          .max = 128, .help = "how many of them [20]" },
        { .kind = DS4_OPTION_U32, .letter = 't', .name = "threads", .arg = "N", .to = &c->model.n_threads, .min = 1,
          .max = 256, .help = "threads [one for each processor]" },
        { .kind = DS4_OPTION_FLAG, .name = "exact", .to = &c->model.exact,
          .help = "diagnostic: leave out the roundings of the KV cache\nthat the model was trained with" },
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
    if (c->json && !has_prompt) return "--json needs a prompt: add -p or --prompt-file";
    if (c->raw && !has_prompt) return "--raw needs a prompt: add -p or --prompt-file";
    if (c->dump_tokens && !has_prompt) return "--dump-tokens needs a prompt: add -p or --prompt-file";
    if (c->dump_logprobs && !has_prompt) return "--dump-logprobs needs a prompt: add -p or --prompt-file";
    return NULL;
}

/* A model without the tokens of the chat protocol can only continue raw text. */
static int check_chat(const ds4_cli *c, const ds4_model *model)
{
    ds4_err err = { .code = DS4_OK };

    if (c->raw || ds4_vocab_check_chat(ds4_engine_vocab(model->engine), &err) == DS4_OK) return DS4_EXIT_OK;
    ds4_app_say(DS4_CLI_NAME, "%s: %s (--raw continues plain text)", ds4_engine_info(model->engine)->path, err.text);
    return DS4_EXIT_WRONG;
}

static int run(const ds4_cli *c)
{
    ds4_model model = { 0 };

    if (c->inspect) return ds4_cli_inspect(c);
    if (c->dump_tokens) return ds4_cli_dump_tokens(c);

    int code = ds4_app_open(&c->model, &model);
    if (code == DS4_EXIT_OK) code = check_chat(c, &model);
    if (code == DS4_EXIT_OK) {
        if (c->dump_logprobs) {
            code = ds4_cli_dump_logprobs(c, &model);
        } else if (c->prompt || c->prompt_file) {
            code = ds4_cli_once(c, &model);
        } else {
            code = ds4_cli_repl(c, &model);
        }
    }
    ds4_model_close(&model);
    return code;
}

int main(int argc, char **argv)
{
    ds4_cli cli = {
        .model = { .program = DS4_CLI_NAME, .argv0 = argc > 0 ? argv[0] : NULL },
        .system = "You are a helpful assistant", .max_tokens = 50000, .logprobs_top_k = 20, .think = DS4_THINK,
    };

    const ds4_parsed parsed = parse(&cli, argc, argv);
    if (parsed == DS4_PARSED_DONE) return ds4_app_flush(DS4_CLI_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    if (parsed == DS4_PARSED_WRONG) return DS4_EXIT_WRONG;
    const char *wrong = contradiction(&cli);
    if (wrong) {
        ds4_app_say(DS4_CLI_NAME, "%s", wrong);
        return DS4_EXIT_WRONG;
    }
    if (!cli.seed.given) cli.seed.value = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    ds4_app_log(DS4_CLI_NAME);
    const int code = run(&cli);
    if (!ds4_app_flush(DS4_CLI_NAME)) return DS4_EXIT_FAILURE;
    return code;
}
