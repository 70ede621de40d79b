/* main.c - ds4-server: from start to shutdown. */
#include "app/common/app.h"
#include "app/server/command_line.h"
#include "app/server/print_config.h"
#include "app/common/script.h"
#include "app/server/service_manager.h"
#include "base/clock.h"
#include "engine/snapshot.h"

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
    LAST_BYTES_MS = 5000, /* for answers that are on their way */
    WARM_BYTES = 4 << 20,
    LARGE_BYTES = 64 << 10,
};

/* ---- start ---------------------------------------------------------------------------------- */

static ds4_status start_http(ds4_server *s, ds4_err *err)
{
    const ds4_http_options http = {
        .host = s->opt.host,
        .port = s->opt.port,
        .max_body = (size_t)s->opt.max_body_mb << 20,
        .max_connections = s->opt.max_connections,
        .idle_seconds = IDLE_SECONDS,
        .head_seconds = HEAD_SECONDS,
        .body_seconds = BODY_SECONDS,
        .budget = &s->budget,
        .check = ds4_route_check,
        .handle = ds4_route_handle,
        .refuse = ds4_route_refuse,
        .done = ds4_route_done,
        .ctx = s,
    };

    ds4_metrics_init(&s->metrics);
    return ds4_http_start(&http, &s->http, err);
}

/* Paths that need the model. */
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
        .speculation = { .how = (ds4_speculate)s->opt.speculate },
        .between_tokens = &s->metrics.between_tokens,
        .note = ds4_server_note,
        .note_ctx = s,
    };

    if (s->opt.script_path) DS4_TRY(ds4_script_open(s->opt.script_path, &s->script, err));
    DS4_TRY(ds4_texts_open(&s->texts, &texts, err));
    return ds4_scheduler_create(&scheduler, &s->scheduler, err);
}

static void stop_parts(ds4_server *s)
{
    ds4_http_stop(s->http);
    ds4_scheduler_free(s->scheduler);
    ds4_resume_free(s->resume);
    ds4_texts_close(s->texts);
    ds4_script_free(s->script);
    ds4_trace_close(s->trace);
    ds4_budget_clear(&s->budget);
}

/* ---- signals -------------------------------------------------------------------------------- */

/* SIGHUP means two things: the terminal is gone, and a program in it ends like after SIGTERM; or,
 * to a service, that it should put its files in order. */
typedef struct signals {
    sigset_t set;
    bool     in_terminal;
} signals;

enum { SIGNAL_OPENED = SIGUSR2 };       /* to a thread of ours, from us alone: the model is open */

/* All threads inherit the mask, so signals come to those alone that wait for them. A SIGHUP that
 * is ignored, as under nohup, stays so. */
static void block_signals(signals *sig)
{
    struct sigaction hup;
    sigset_t         blocked;
    const int        terminal = open("/dev/tty", O_RDONLY | O_CLOEXEC);

    sig->in_terminal = terminal >= 0;
    if (terminal >= 0) close(terminal);
    sigemptyset(&sig->set);
    sigaddset(&sig->set, SIGINT);
    sigaddset(&sig->set, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN)
        sigaddset(&sig->set, SIGHUP);
    blocked = sig->set;
    sigaddset(&blocked, SIGNAL_OPENED);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Wait for a signal to end; `hup` is called for each SIGHUP that is none. */
static void wait_for_end(const signals *sig, void (*hup)(void *ctx), void *ctx)
{
    int number = 0;

    do {
        sigwait(&sig->set, &number);
        if (number == SIGHUP && !sig->in_terminal && hup) hup(ctx);
    } while (number == SIGHUP && !sig->in_terminal);
}

/* The first signal drains, a second one ends at once. */
static void *second_signal(void *arg)
{
    wait_for_end(arg, NULL, NULL);
    _exit(DS4_EXIT_INTERRUPTED);
}

/* Opening a large model takes a while and leaves nothing behind: a signal ends it at once. */
static void *quit_while_opening(void *arg)
{
    const signals *sig = arg;
    sigset_t       set = sig->set;
    int            number = 0;

    sigaddset(&set, SIGNAL_OPENED);
    do {
        sigwait(&set, &number);
    } while (number == SIGHUP && !sig->in_terminal);
    if (number == SIGNAL_OPENED) return NULL;
    ds4_app_say(DS4_SERVER_NAME, "interrupted");
    _exit(DS4_EXIT_INTERRUPTED);
}

static int open_model(const ds4_app_model *want, ds4_model *out, signals *sig)
{
    pthread_t  watcher;
    const bool watched = pthread_create(&watcher, NULL, quit_while_opening, sig) == 0;
    const int  code = ds4_app_open(want, out);

    if (!watched) return code;
    pthread_kill(watcher, SIGNAL_OPENED);
    pthread_join(watcher, NULL);
    return code;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* A log rotation moves the trace away; a backup wants what is kept to be on the disk. */
static void put_in_order(void *ctx)
{
    ds4_server *s = ctx;

    ds4_trace_reopen(s->trace);
    ds4_resume_flush(s->resume);
    ds4_scheduler_settle(s->scheduler);
    ds4_server_say("hangup", "what waited is written");
}

static void say_ready(const ds4_server *s)
{
    const bool v6 = strchr(s->opt.host, ':') != NULL;
    char       state[200];

    ds4_server_say("ready", "listening on http://%s%s%s:%u model=%s context=%u parallel=%u",
                   v6 ? "[" : "", s->opt.host, v6 ? "]" : "", ds4_http_port(s->http),
                   ds4_engine_info(s->model.engine)->path, s->opt.n_ctx, s->opt.n_parallel);
    snprintf(state, sizeof state, "READY=1\nSTATUS=Listening on %.100s port %u\nMAINPID=%ld",
             s->opt.host, ds4_http_port(s->http), (long)getpid());
    ds4_manager_tell(state);
}

static void serve_until_signal(ds4_server *s, signals *sig)
{
    pthread_t watcher;

    atomic_store(&s->ready, true);
    say_ready(s);
    wait_for_end(sig, put_in_order, s);
    ds4_server_say("stop", "shutdown requested, draining requests");
    ds4_manager_tell("STOPPING=1\nSTATUS=Running answers may end");
    if (pthread_create(&watcher, NULL, second_signal, sig) == 0) pthread_detach(watcher);
    atomic_store(&s->draining, true);
    ds4_http_drain(s->http);
    ds4_scheduler_drain(s->scheduler);
    if (!ds4_scheduler_idle(s->scheduler, DRAIN_MS)) {
        ds4_server_say("stop", "requests still running after %d seconds are cut off",
                       DRAIN_MS / 1000);
    }
    ds4_http_idle(s->http, LAST_BYTES_MS);
}

static uint64_t warm_file(const char *path, char *part)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t  n_bytes = 0;

    for (ssize_t n; fd >= 0 && (n = read(fd, part, WARM_BYTES)) > 0;) n_bytes += (uint64_t)n;
    if (fd >= 0) close(fd);
    return n_bytes;
}

/* Bring the model's files into the page cache, where the mappings find them. */
static void warm_weights(const ds4_model *model)
{
    char          *part = malloc(WARM_BYTES);
    ds4_file_facts facts;
    uint64_t       n_bytes = 0;

    const uint64_t begin = ds4_now_ns();
    for (uint32_t i = 0; part && i < ds4_engine_n_files(model->engine); i++) {
        n_bytes += warm_file(ds4_engine_file(model->engine, i, &facts), part);
    }
    free(part);
    ds4_server_say("model", "read %.1f MiB in %.1f s", (double)n_bytes / 1048576,
                   (double)(ds4_now_ns() - begin) / 1e9);
}

static int wrong(const char *option, const ds4_err *err)
{
    ds4_app_say(DS4_SERVER_NAME, "%s%s", option, err->text);
    return DS4_EXIT_WRONG;
}

/* From the model to the end; what was started is stopped by the caller. */
static int open_and_serve(ds4_server *s, const ds4_command_line *c, signals *sig)
{
    ds4_err       err = { .code = DS4_OK };
    ds4_app_model want = c->model;

    want.n_ctx = c->server.n_ctx;
    want.n_sessions = c->server.n_parallel;
    ds4_app_kv_model(&c->kv, &want);
    int code = open_model(&want, &s->model, sig);
    if (code != DS4_EXIT_OK) return code;
    s->vocab = ds4_engine_vocab(s->model.engine);
    if (ds4_vocab_check_chat(s->vocab, &err) != DS4_OK) return wrong("", &err);
    if (c->warm) warm_weights(&s->model);
    code = ds4_app_kv_open(DS4_SERVER_NAME, &c->kv, s->model.engine, &s->resume);
    if (code != DS4_EXIT_OK) return code;
    if (start_parts(s, &c->kv, &err) != DS4_OK) return ds4_app_failed(DS4_SERVER_NAME, &err);
    serve_until_signal(s, sig);
    return DS4_EXIT_OK;
}

static int run(const ds4_command_line *c)
{
    ds4_server s = { .opt = c->server, .start_ns = ds4_now_ns(), .start_time = (long)time(NULL) };
    ds4_err    err = { .code = DS4_OK };
    signals    sig;

    s.opt.origins = c->origins.item;
    s.opt.n_origins = c->origins.n;
    s.opt.hosts = c->hosts.item;
    s.opt.n_hosts = c->hosts.n;
    ds4_budget_init(&s.budget, (size_t)s.opt.request_bytes);
    block_signals(&sig);
    int code = DS4_EXIT_OK;
    if (s.opt.trace_path && ds4_trace_open(s.opt.trace_path, &s.trace, &err) != DS4_OK) {
        code = wrong("--trace: ", &err);
    } else if (start_http(&s, &err) != DS4_OK) {
        code = err.code == DS4_E_ARG ? wrong("", &err) : ds4_app_failed(DS4_SERVER_NAME, &err);
    } else {
        code = open_and_serve(&s, c, &sig);
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
