/* main.c - ds4-server: the command line, and from start to shutdown. */
#include "app/common/app.h"
#include "app/common/kv_options.h"
#include "app/common/options.h"
#include "app/server/print_config.h"
#include "app/server/recall.h"
#include "app/server/script.h"
#include "app/server/server.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_BODY_BYTES = 32 << 20,
    IDLE_SECONDS = 75,
    BODY_SECONDS = 120,
    DRAIN_MS = 60000,
    TURN_BYTES = 128 << 20,
};

typedef struct command_line {
    ds4_app_model      model;
    ds4_server_options server;
    ds4_option_texts   origins;
    ds4_app_kv         kv;
    ds4_keys           keys;
    const char        *api_key, *api_key_file;
    const char        *print_config;
} command_line;

static ds4_parsed parse(command_line *c, int argc, char **argv)
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
        DS4_OPT_U32(0, "max-connections", "N", &s->max_connections, 1, 65536,
                    "connections at the same time [512]"),
        DS4_OPT_U32(0, "loop-tokens", "N", &s->loop_tokens, 0, 1048576,
                    "repeated tokens that count as an endless loop,\n0: never [512]"),
        DS4_OPT_TEXT(0, "api-key", "KEY", &c->api_key, "ask clients for this key"),
        DS4_OPT_TEXT(0, "api-key-file", "FILE", &c->api_key_file,
                     "ask them for one of the keys in this file, which only\n"
                     "its owner may read (mode 600)"),
        DS4_OPT_TEXTS(0, "cors-origin", "ORIGIN", &c->origins,
                      "let pages from here in, e.g. http://localhost:3000;\nmay be given several "
                         "times, * is any"),
        DS4_OPT_TEXT(0, "model-id", "NAME", &s->model_id,
                     "what /v1/models calls the model [deepseek-v4-flash]"),
        DS4_OPT_TEXT(0, "trace", "FILE", &s->trace_path,
                     "append requests, prompts and answers to this file"),
#ifdef DS4_SCRIPTED_SAMPLING
        DS4_OPT_TEXT(0, "script", "FILE", &s->script_path, "prescribed answers, for tests"),
#endif
        DS4_APP_KV_OPTIONS(&c->kv),
        DS4_OPT_SIZE(0, "turn-mem", "SIZE", &s->turn_bytes,
                     "memory for the exact text of earlier turns and for\n"
                     "responses that later ones go on from [128M]"),
        DS4_OPT_TEXT(0, "print-config", "CLIENT", &c->print_config,
                     "print the configuration of claude, codex, opencode,\n"
                     "pi or continue for these options, and exit"),
        DS4_APP_MEMORY_OPTIONS(&c->model),
        DS4_OPT_U32('t', "threads", "N", &c->model.n_threads, 1, 256,
                 "threads [one for each processor]"),
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

/* The keys of the command line and of the file; false after saying what is wrong. */
static bool read_keys(command_line *c)
{
    ds4_err err = { .code = DS4_OK };

    if (c->api_key && ds4_keys_add(&c->keys, c->api_key, &err) != DS4_OK) {
        ds4_app_say(DS4_SERVER_NAME, "--api-key: %s", err.text);
        return false;
    }
    if (c->api_key_file && ds4_keys_read(&c->keys, c->api_key_file, &err) != DS4_OK) {
        ds4_app_say(DS4_SERVER_NAME, "--api-key-file: %s", err.text);
        return false;
    }
    return true;
}

static bool contradicts(const command_line *c)
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

/* ---- start ---------------------------------------------------------------------------------- */

static int open_trace(ds4_server *s)
{
    if (!s->opt.trace_path) return DS4_EXIT_OK;
    s->trace = fopen(s->opt.trace_path, "ae");
    if (s->trace) return DS4_EXIT_OK;
    ds4_app_say(DS4_SERVER_NAME, "--trace %s: %s", s->opt.trace_path, strerror(errno));
    return DS4_EXIT_WRONG;
}

static ds4_status start_parts(ds4_server *s, ds4_err *err)
{
    const ds4_scheduler_options scheduler = {
        .engine = s->model.engine,
        .resume = s->resume,
        .n_ctx = s->opt.n_ctx,
        .n_slots = s->opt.n_parallel,
        .max_waiting = s->opt.max_queue,
        .loop_tokens = s->opt.loop_tokens,
        .note = ds4_server_note,
        .note_ctx = s,
    };
    const ds4_http_options http = {
        .host = s->opt.host,
        .port = s->opt.port,
        .max_body = MAX_BODY_BYTES,
        .max_connections = s->opt.max_connections,
        .idle_seconds = IDLE_SECONDS,
        .body_seconds = BODY_SECONDS,
        .check = ds4_route_check,
        .handle = ds4_route_handle,
        .too_large = ds4_route_too_large,
        .ctx = s,
    };

    if (s->opt.script_path) DS4_TRY(ds4_script_open(s->opt.script_path, &s->script, err));
    DS4_TRY(ds4_replay_create((size_t)(s->opt.turn_bytes / 2), &s->replay, err));
    if (s->opt.turns_path) DS4_TRY(ds4_replay_open(s->replay, s->opt.turns_path, err));
    DS4_TRY(ds4_recall_create((size_t)(s->opt.turn_bytes / 2), &s->recall, err));
    if (s->opt.responses_path) DS4_TRY(ds4_recall_open(s->recall, s->opt.responses_path, err));
    DS4_TRY(ds4_scheduler_create(&scheduler, &s->scheduler, err));
    return ds4_http_start(&http, &s->http, err);
}

static void stop_parts(ds4_server *s)
{
    ds4_http_stop(s->http);
    ds4_scheduler_free(s->scheduler);
    ds4_resume_free(s->resume);
    ds4_replay_free(s->replay);
    ds4_recall_free(s->recall);
    ds4_script_free(s->script);
    if (s->trace) fclose(s->trace);
}

/* ---- life ----------------------------------------------------------------------------------- */

/* All threads inherit the mask, so signals come to wait_for_signal() alone. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* The first signal drains, a second one ends at once. */
static void *second_signal(void *arg)
{
    int number = 0;

    sigwait(arg, &number);
    _exit(DS4_EXIT_INTERRUPTED);
}

static void serve_until_signal(ds4_server *s, sigset_t *set)
{
    pthread_t watcher;
    int       number = 0;

    ds4_server_say("ready", "listening on http://%s%s%s:%u model=%s context=%u parallel=%u",
                   strchr(s->opt.host, ':') ? "[" : "", s->opt.host,
                   strchr(s->opt.host, ':') ? "]" : "", ds4_http_port(s->http),
                   ds4_engine_info(s->model.engine)->path, s->opt.n_ctx, s->opt.n_parallel);
    sigwait(set, &number);
    ds4_server_say("stop", "shutdown requested, draining requests");
    if (pthread_create(&watcher, NULL, second_signal, set) == 0) pthread_detach(watcher);
    atomic_store(&s->draining, true);
    ds4_http_quiesce(s->http);
    ds4_scheduler_drain(s->scheduler);
    if (!ds4_scheduler_idle(s->scheduler, DRAIN_MS)) {
        ds4_server_say("stop", "requests still running after %d seconds are cut off",
                       DRAIN_MS / 1000);
    }
    usleep(100 * 1000); /* last bytes of answers are on their way */
}

static int run(const command_line *c)
{
    ds4_server s = { .opt = c->server,
                     .trace_lock = PTHREAD_MUTEX_INITIALIZER,
                     .start_ns = ds4_now_ns(),
                     .start_time = (long)time(NULL) };
    ds4_err    err = { .code = DS4_OK };
    sigset_t   set;
    char       turns[4096], responses[4096];

    s.opt.origins = c->origins.item;
    s.opt.n_origins = c->origins.n;
    if (c->kv.dir) {
        snprintf(turns, sizeof turns, "%s/server-turns.bin", c->kv.dir);
        s.opt.turns_path = turns;
        snprintf(responses, sizeof responses, "%s/server-responses.bin", c->kv.dir);
        s.opt.responses_path = responses;
    }
    block_signals(&set);
    ds4_app_model want = c->model;
    want.n_ctx = c->server.n_ctx;
    want.n_sessions = c->server.n_parallel;
    ds4_app_kv_model(&c->kv, &want);
    int code = open_trace(&s);
    if (code == DS4_EXIT_OK) code = ds4_app_open(&want, &s.model);
    if (code != DS4_EXIT_OK) return code;
    s.vocab = ds4_engine_vocab(s.model.engine);
    if (ds4_vocab_check_chat(s.vocab, &err) != DS4_OK) {
        ds4_app_say(DS4_SERVER_NAME, "%s", err.text);
        code = DS4_EXIT_WRONG;
    } else if ((code = ds4_app_kv_open(DS4_SERVER_NAME, &c->kv, s.model.engine, &s.resume)) !=
               DS4_EXIT_OK) {
        ds4_model_close(&s.model);
        return code;
    } else if (start_parts(&s, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_SERVER_NAME, &err);
    } else {
        serve_until_signal(&s, &set);
    }
    stop_parts(&s);
    ds4_model_close(&s.model);
    return code;
}

static int print_config(const command_line *c)
{
    if (ds4_print_config(c->print_config, &c->server)) {
        return ds4_app_flush(DS4_SERVER_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    }
    ds4_app_say(DS4_SERVER_NAME, "--print-config %s: expected " DS4_PRINT_CONFIG_CLIENTS,
                c->print_config);
    return DS4_EXIT_WRONG;
}

int main(int argc, char **argv)
{
    command_line c = {
        .model = { .program = DS4_SERVER_NAME, .argv0 = argc > 0 ? argv[0] : NULL },
        .server = { .host = "127.0.0.1",
                    .port = 8000,
                    .n_ctx = 32768,
                    .n_parallel = 4,
                    .max_queue = 64,
                    .max_tokens = 393216,
                    .max_connections = 512,
                    .loop_tokens = 512,
                    .turn_bytes = TURN_BYTES,
                    .model_id = "deepseek-v4-flash" },
    };

    const ds4_parsed parsed = parse(&c, argc, argv);
    if (parsed == DS4_PARSED_DONE) {
        return ds4_app_flush(DS4_SERVER_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    }
    if (parsed == DS4_PARSED_WRONG || !read_keys(&c) || contradicts(&c)) return DS4_EXIT_WRONG;
    c.server.keys = &c.keys;
    c.server.api_key = c.keys.n > 0 ? c.keys.item[0] : NULL;
    if (c.print_config) return print_config(&c);
    ds4_app_log(DS4_SERVER_NAME);
    const int code = run(&c);
    ds4_keys_clear(&c.keys);
    return code;
}
