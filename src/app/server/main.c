/* main.c - ds4-server: from start to shutdown. */
#include "app/common/app.h"
#include "app/server/command_line.h"
#include "app/server/print_config.h"
#include "app/server/script.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum {
    IDLE_SECONDS = 75,
    HEAD_SECONDS = 120,
    BODY_SECONDS = 120,
    DRAIN_MS = 60000,
    WARM_BYTES = 4 << 20,
    LARGE_BYTES = 64 << 10,
};

/* ---- start ---------------------------------------------------------------------------------- */

static int open_trace(ds4_server *s)
{
    if (!s->opt.trace_path) return DS4_EXIT_OK;
    s->trace = fopen(s->opt.trace_path, "ae");
    if (s->trace) return DS4_EXIT_OK;
    ds4_app_say(DS4_SERVER_NAME, "--trace %s: %s", s->opt.trace_path, strerror(errno));
    return DS4_EXIT_WRONG;
}

static ds4_status start_parts(ds4_server *s, const ds4_app_kv *kv, ds4_err *err)
{
    const ds4_texts_options texts = {
        .dir = kv->dir,
        .dir_bytes = (uint64_t)kv->space_mb << 20,
        .mem_bytes = s->opt.turn_bytes,
        .max_keys = s->opt.max_turns,
    };
    const ds4_scheduler_options scheduler = {
        .engine = s->model.engine,
        .resume = s->resume,
        .n_ctx = s->opt.n_ctx,
        .n_slots = s->opt.n_parallel,
        .max_waiting = s->opt.max_queue,
        .max_chunk = s->opt.max_chunk,
        .loop_tokens = s->opt.loop_tokens,
        .note = ds4_server_note,
        .note_ctx = s,
    };
    const ds4_http_options http = {
        .host = s->opt.host,
        .port = s->opt.port,
        .max_body = (size_t)s->opt.max_body_mb << 20,
        .max_connections = s->opt.max_connections,
        .idle_seconds = IDLE_SECONDS,
        .head_seconds = HEAD_SECONDS,
        .body_seconds = BODY_SECONDS,
        .check = ds4_route_check,
        .handle = ds4_route_handle,
        .too_large = ds4_route_too_large,
        .ctx = s,
    };

    if (s->opt.script_path) DS4_TRY(ds4_script_open(s->opt.script_path, &s->script, err));
    DS4_TRY(ds4_texts_open(&s->texts, &texts, err));
    DS4_TRY(ds4_scheduler_create(&scheduler, &s->scheduler, err));
    return ds4_http_start(&http, &s->http, err);
}

static void stop_parts(ds4_server *s)
{
    ds4_http_stop(s->http);
    ds4_scheduler_free(s->scheduler);
    ds4_resume_free(s->resume);
    ds4_texts_close(s->texts);
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

/* Opening a large model takes a while and leaves nothing behind: a signal ends it at once. */
static void *quit_while_opening(void *arg)
{
    int number = 0;

    sigwait(arg, &number);
    ds4_app_say(DS4_SERVER_NAME, "interrupted");
    _exit(DS4_EXIT_INTERRUPTED);
}

static int open_model(const ds4_app_model *want, ds4_model *out, sigset_t *set)
{
    pthread_t  watcher;
    const bool watched = pthread_create(&watcher, NULL, quit_while_opening, set) == 0;
    const int  code = ds4_app_open(want, out);

    if (!watched) return code;
    pthread_cancel(watcher);            /* sigwait() lets go */
    pthread_join(watcher, NULL);
    return code;
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

/* Bring the file into the page cache, where the mapping finds it. */
static void warm_weights(const ds4_model *model)
{
    const char *path = ds4_engine_info(model->engine)->path;
    const int   fd = open(path, O_RDONLY | O_CLOEXEC);
    char       *part = malloc(WARM_BYTES);
    uint64_t    n_bytes = 0;

    const uint64_t begin = ds4_now_ns();
    for (ssize_t n; fd >= 0 && part && (n = read(fd, part, WARM_BYTES)) > 0;) n_bytes += (uint64_t)n;
    free(part);
    if (fd >= 0) close(fd);
    ds4_server_say("model", "read %.1f MiB in %.1f s", (double)n_bytes / 1048576,
                   (double)(ds4_now_ns() - begin) / 1e9);
}

static int run(const ds4_command_line *c)
{
    ds4_server s = { .opt = c->server,
                     .trace_lock = PTHREAD_MUTEX_INITIALIZER,
                     .start_ns = ds4_now_ns(),
                     .start_time = (long)time(NULL) };
    ds4_err    err = { .code = DS4_OK };
    sigset_t   set;

    s.opt.origins = c->origins.item;
    s.opt.n_origins = c->origins.n;
    block_signals(&set);
    ds4_app_model want = c->model;
    want.n_ctx = c->server.n_ctx;
    want.n_sessions = c->server.n_parallel;
    ds4_app_kv_model(&c->kv, &want);
    int code = open_trace(&s);
    if (code == DS4_EXIT_OK) code = open_model(&want, &s.model, &set);
    if (code != DS4_EXIT_OK) return code;
    if (c->warm) warm_weights(&s.model);
    s.vocab = ds4_engine_vocab(s.model.engine);
    if (ds4_vocab_check_chat(s.vocab, &err) != DS4_OK) {
        ds4_app_say(DS4_SERVER_NAME, "%s", err.text);
        code = DS4_EXIT_WRONG;
    } else if ((code = ds4_app_kv_open(DS4_SERVER_NAME, &c->kv, s.model.engine, &s.resume)) !=
               DS4_EXIT_OK) {
        ds4_model_close(&s.model);
        return code;
    } else if (start_parts(&s, &c->kv, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_SERVER_NAME, &err);
    } else {
        serve_until_signal(&s, &set);
    }
    stop_parts(&s);
    ds4_model_close(&s.model);
    return code;
}

static int print_config(const ds4_command_line *c)
{
    if (ds4_print_config(c->print_config, &c->server)) {
        return ds4_app_flush(DS4_SERVER_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    }
    ds4_app_say(DS4_SERVER_NAME, "--print-config %s: expected " DS4_PRINT_CONFIG_CLIENTS,
                c->print_config);
    return DS4_EXIT_WRONG;
}

/* Memory that comes and goes for weeks: positions of large and changing sizes go back to the
 * system when they are freed, and the connections' threads share a heap. */
static void keep_heap_small(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_ARENA_MAX, 2);
#endif
}

int main(int argc, char **argv)
{
    ds4_command_line c;
    int              code = DS4_EXIT_OK;

    keep_heap_small();
    ds4_app_begin(DS4_SERVER_NAME);
    if (!ds4_command_line_read(&c, argc, argv, &code)) return code;
    code = c.print_config ? print_config(&c) : run(&c);
    ds4_keys_clear(&c.keys);
    return code;
}
