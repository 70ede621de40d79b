/* command_line.c - see command_line.h. */
#include "app/server/command_line.h"

#include "app/server/print_config.h"
#include "app/server/service_manager.h"
#include "base/knob.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Options about the texts of conversations, beside their positions; s is a ds4_server_options *. */
#define TEXT_OPTIONS(s) \
    DS4_OPT_FLAG(0, "kv-keys-apart", &(s)->keys_apart,                                        \
                 "never resume a prompt of one API key for another: what\n"                 \
                 "is cached then tells a key nothing of others"),                           \
    DS4_OPT_SIZE(0, "turn-mem", "SIZE", &(s)->turn_bytes,                                     \
                 "memory for the exact text of earlier turns and, where\n"                  \
                 "there is no --kv-disk-dir, for stored responses [128M]"),                 \
    DS4_OPT_U32(0, "tool-memory-max-ids", "N", &(s)->max_turns, 1, 1 << 30,                   \
                "calls and turns that are remembered [100000]"),                            \
    DS4_OPT_FLAG(0, "disable-exact-dsml-tool-replay", &(s)->no_replay,                        \
                 "write earlier turns as clients send them back, not as\n"                  \
                 "they were sampled")

/* Longer than 60 lines: a table of options, one after the other, which is filled with addresses. */
static ds4_parsed parse(ds4_command_line *c, int argc, char **argv)
{
    ds4_server_options *s = &c->server;
    const ds4_option    options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &c->model.path,
                     "the model [ds4flash.gguf, else the bundled one]"),
        DS4_OPT_TEXT(0, "host", "ADDRESS", &s->host, "listen on this address [127.0.0.1]"),
        DS4_OPT_U32(0, "port", "N", &s->port, 0, 65535, "and this port, 0 for any free one [8000]"),
        DS4_OPT_U32('c', "ctx", "N", &s->n_ctx, 64, 1048576,
                    "tokens of context of each session [32768]"),
        DS4_OPT_U32(0, "parallel", "N", &s->n_parallel, 1, DS4_MAX_SLOTS,
                    "sessions that answer at the same time [4]"),
        DS4_OPT_U32('n', "tokens", "N", &s->max_tokens, 1, 1048576,
                    "most tokens of an answer that sets no limit [393216]"),
        DS4_OPT_U32(0, "max-queue", "N", &s->max_queue, 0, 65536,
                    "requests that may wait; more get status 429 [64]"),
        DS4_OPT_U32(0, "max-body-mb", "N", &s->max_body_mb, 1, 4095,
                    "MiB of a request; a larger one gets status 413 [32]"),
        DS4_OPT_SIZE(0, "request-mem", "SIZE", &s->request_bytes,
                     "memory of all requests together; one that is too\n"
                     "many gets status 503 [512M]"),
        DS4_OPT_U32(0, "max-connections", "N", &s->max_connections, 1, 65536,
                    "connections at the same time [512]"),
        DS4_OPT_U32(0, "prefill-chunk", "N", &s->max_chunk, 1, 4096,
                    "most tokens of prompts in one step [256]"),
        DS4_OPT_FLAG(0, "official-sampling", &s->official_sampling,
                     "while reasoning is on, pass over how requests want to\n"
                     "sample, as the official API does"),
        DS4_OPT_U32(0, "loop-tokens", "N", &s->loop_tokens, 0, 1048576,
                    "repeated tokens that count as an endless loop,\n0: never [512]"),
        DS4_APP_SPECULATE_OPTIONS(&s->speculate, &c->model),
        DS4_OPT_TEXT(0, "api-key", "KEY", &c->api_key, "ask clients for this key"),
        DS4_OPT_TEXT(0, "api-key-file", "FILE", &c->api_key_file,
                     "ask them for one of the keys in this file, which only\n"
                     "its owner may write (mode 600 is best)"),
        DS4_OPT_TEXTS(0, "allow-host", "NAME", &c->hosts,
                      "also serve requests for this Host without a key, e.g.\n"
                      "behind a proxy; may be given several times, * is any"),
        DS4_OPT_TEXTS(0, "cors-origin", "ORIGIN", &c->origins,
                      "let pages from here in, e.g. http://localhost:3000;\nmay be given several "
                         "times, * is any"),
        DS4_OPT_TEXT(0, "model-id", "NAME", &s->model_id,
                     "what /v1/models calls the model [deepseek-v4-flash]"),
        DS4_OPT_TEXT(0, "trace", "FILE", &s->trace_path,
                     "append requests, prompts and answers to this file"),
        DS4_OPT_NAME("log-level", "error|warn|info|debug", &c->log_level, ds4_say_levels,
                     "how much is said on standard error [info]"),
        DS4_OPT_NAME("log-format", "text|json", &c->log_format, ds4_say_formats, "and how [text]"),
        DS4_OPT_FLAG(0, "vllm-metrics", &s->vllm_metrics,
                     "in /metrics, give the numbers under vLLM's names too"),
#ifdef DS4_SCRIPTED_SAMPLING
        DS4_OPT_TEXT(0, "script", "FILE", &s->script_path, "prescribed answers, for tests"),
#endif
        DS4_APP_KV_OPTIONS(&c->kv),
        TEXT_OPTIONS(s),
        DS4_OPT_TEXT(0, "print-config", DS4_PRINT_CONFIG_NAMES, &c->print_config,
                     "print the client's configuration for these options,\n"
                     "and exit"),
        DS4_APP_DEVICE_OPTIONS(&c->model),
        DS4_APP_MEMORY_OPTIONS(&c->model),
        DS4_APP_STEERING_OPTIONS(&c->model),
        DS4_OPT_FLAG(0, "warm-weights", &c->warm, "read the whole model before serving"),
        DS4_OPT_TEXT(0, "chdir", "DIR", &c->dir, "go to this folder first"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_SERVER_NAME,
        .usage = "ds4-server [options]",
        .about = "Serves a model over HTTP, as the OpenAI and Anthropic APIs do.",
        .options = options,
        .after = "Endpoints: /v1/chat/completions /v1/completions /v1/responses /v1/messages\n"
                 "/v1/messages/count_tokens /v1/models /tokenize /health /metrics, a page at /",
    };
    return ds4_command_parse(&command, argc, argv, NULL, NULL);
}

static bool read_key(ds4_command_line *c, const char *source, const char *key)
{
    ds4_err err = { .code = DS4_OK };

    if (ds4_keys_add(&c->keys, key, &err) == DS4_OK) return true;
    ds4_app_say(DS4_SERVER_NAME, "%s: %s", source, err.text);
    return false;
}

/* The keys of the command line, of the environment and of a file, which is that of the service
 * manager if none is named; false after saying what is wrong. */
static bool read_keys(ds4_command_line *c)
{
    static char credential[4096];
    ds4_err     err = { .code = DS4_OK };
    const char *own = ds4_knob_text(DS4_KNOB_API_KEY);
    const char *file = c->api_key_file;

    if (c->api_key && !read_key(c, "--api-key", c->api_key)) return false;
    if (own && *own && !read_key(c, "DS4_API_KEY", own)) return false;
    if (!file) file = ds4_manager_credential("api-key", credential, sizeof credential);
    if (file && ds4_keys_read(&c->keys, file, &err) != DS4_OK) {
        ds4_app_say(DS4_SERVER_NAME, "%s: %s",
                    c->api_key_file ? "--api-key-file" : "credential api-key", err.text);
        return false;
    }
    return true;
}

static bool contradicts(const ds4_command_line *c)
{
    if (!ds4_key_is_plain(c->server.model_id)) {
        ds4_app_say(DS4_SERVER_NAME, "--model-id takes letters, digits and ._~+/=:-");
        return true;
    }
    if (c->keys.n == 0 && !ds4_http_is_loopback(c->server.host)) {
        ds4_app_say(DS4_SERVER_NAME,
                    "--host %s can be reached from other machines: add --api-key or --api-key-file",
                    c->server.host);
        return true;
    }
    return false;
}

static bool go_to_folder(const char *dir)
{
    if (!dir || chdir(dir) == 0) return true;
    ds4_app_say(DS4_SERVER_NAME, "--chdir %s: %s", dir, strerror(errno));
    return false;
}

bool ds4_command_line_read(ds4_command_line *c, int argc, char **argv, int *code)
{
    *c = (ds4_command_line){
        .model = { .program = DS4_SERVER_NAME, .argv0 = argc > 0 ? argv[0] : NULL },
        .log_level = DS4_LOG_INFO,
        .server = { .host = "127.0.0.1",
                    .port = 8000,
                    .n_ctx = 32768,
                    .n_parallel = 4,
                    .max_queue = 64,
                    .max_tokens = 393216,
                    .max_body_mb = 32,
                    .max_connections = 512,
                    .loop_tokens = 512,
                    .request_bytes = 512 << 20,
                    .turn_bytes = 128 << 20,
                    .max_turns = 100000,
                    .model_id = "deepseek-v4-flash" },
    };
    const ds4_parsed parsed = parse(c, argc, argv);
    *code = DS4_EXIT_WRONG;
    if (parsed == DS4_PARSED_DONE) {
        *code = ds4_app_flush(DS4_SERVER_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
        return false;
    }
    if (parsed == DS4_PARSED_WRONG || !go_to_folder(c->dir) || !read_keys(c) || contradicts(c)) {
        ds4_keys_clear(&c->keys);
        return false;
    }
    ds4_say_as((ds4_say_format)c->log_format, (ds4_log_level)c->log_level);
    c->server.keys = &c->keys;
    c->server.api_key = c->keys.n > 0 ? c->keys.item[0] : NULL;
    return true;
}
