/* fake_agent.c - see fake_agent.h. */
#include "ui/fake_agent.h"

#include "base/str.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WAITING = 16 };

typedef struct request {
    char    *text;
    uint64_t ticket;
    bool     command;
} request;

struct ds4_agent {
    const char      *script;
    const ds4_front *front;
    pthread_mutex_t  lock;
    pthread_cond_t   came;
    request          waiting[MAX_WAITING];
    uint32_t         n;
    uint64_t         taken[MAX_WAITING];        /* tickets of messages that were taken back, to be settled */
    uint32_t         n_taken;
    uint64_t         last;
    bool             busy, stop, quit, hold, replays, changed;
    uint64_t         ticket;
    uint32_t         piece, pause;
    char             name[64], arguments[4096];
    ds4_agent_status status;
};

/* ---- telling ------------------------------------------------------------------------------------- */

static void tell(ds4_agent *a, ds4_front_event e)
{
    e.ticket = a->ticket;
    e.replayed = a->replays && e.kind != DS4_FRONT_SETTLED;
    a->front->event(a->front->ctx, &e);
}

static void tell_text(ds4_agent *a, ds4_front_kind kind, const char *text)
{
    tell(a, (ds4_front_event){ .kind = kind, .text = { text, strlen(text) } });
}

static void tell_state(ds4_agent *a, ds4_agent_state state)
{
    a->status.state = state;
    tell(a, (ds4_front_event){ .kind = DS4_FRONT_STATUS, .status = &a->status });
}

static void tell_queue(ds4_agent *a)
{
    pthread_mutex_lock(&a->lock);
    const uint32_t n = a->n;
    char          *last = strdup(n ? a->waiting[n - 1].text : "");
    pthread_mutex_unlock(&a->lock);
    tell(a, (ds4_front_event){ .kind = DS4_FRONT_QUEUE, .n = n, .text = { last, strlen(last) } });
    free(last);
}

/* Should the steps end? Also tells of the queue when it changed: on this thread, as the loop does. */
static bool stopped(ds4_agent *a)
{
    pthread_mutex_lock(&a->lock);
    const bool stop = a->stop || a->quit, changed = a->changed;
    a->changed = false;
    pthread_mutex_unlock(&a->lock);
    if (changed) tell_queue(a);
    return stop;
}

static ds4_tool_call call_of(ds4_agent *a)
{
    return (ds4_tool_call){ .id = { a->name, strlen(a->name) }, .name = { a->name, strlen(a->name) },
                            .arguments = { a->arguments, strlen(a->arguments) } };
}

static void tell_call(ds4_agent *a, ds4_front_kind kind, const char *text)
{
    const ds4_tool_call call = call_of(a);
    tell(a, (ds4_front_event){ .kind = kind, .call = &call, .text = { text, strlen(text) } });
}

/* ---- steps ----------------------------------------------------------------------------------------- */

static char *unescape(const char *text, size_t n)
{
    char *out = malloc(n + 1), *to = out;

    for (size_t i = 0; i < n; i++) {
        if (text[i] != '\\' || i + 1 == n) {
            *to++ = text[i];
            continue;
        }
        const char c = text[++i];
        *to++ = c == 'n' ? '\n' : c == 'e' ? '\033' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    *to = '\0';
    return out;
}

static void in_pieces(ds4_agent *a, ds4_front_kind kind, const char *text)
{
    const ds4_tool_call call = call_of(a);

    for (size_t at = 0; text[at] && !stopped(a);) {
        size_t n = strnlen(text + at, a->piece);
        while (text[at + n] && ((unsigned char)text[at + n] & 0xc0) == 0x80) n++;
        a->status.n_written++;
        tell(a, (ds4_front_event){ .kind = kind, .call = kind == DS4_FRONT_CALL_ARGUMENTS ? &call : NULL,
                                   .text = { text + at, n } });
        tell_state(a, DS4_AGENT_WRITING);
        if (a->pause) usleep(a->pause * 1000);
        at += n;
    }
}

static void change(ds4_agent *a, char *text)
{
    const ds4_tool_call call = call_of(a);
    char               *diff = strchr(text, ' ');

    if (diff) *diff++ = '\0';
    ds4_tool_change c = { .path = text };
    ds4_str_add_text(&c.diff, diff ? diff : "");
    tell(a, (ds4_front_event){ .kind = DS4_FRONT_CHANGE, .call = &call, .change = &c });
    ds4_str_clear(&c.diff);
}

static void end(ds4_agent *a, const char *text, bool failed)
{
    const ds4_tool_call call = call_of(a);
    ds4_tool_result     r = { .failed = failed };

    ds4_str_add_text(&r.text, text);
    tell(a, (ds4_front_event){ .kind = DS4_FRONT_CALL_END, .call = &call, .result = &r });
    ds4_str_clear(&r.text);
}

static void ask(ds4_agent *a, const char *what)
{
    static const char *const said[] = { "[denied]", "[once]", "[always]" };
    const ds4_question q = { .call_id = { a->name, strlen(a->name) }, .tool = { a->name, strlen(a->name) },
                             .what = { what, strlen(what) }, .may_always = true };

    tell_text(a, DS4_FRONT_NOTE, said[a->front->ask(a->front->ctx, &q)]);
}

static void write_call(ds4_agent *a, const char *text)
{
    snprintf(a->name, sizeof a->name, "%.*s", (int)strcspn(text, " "), text);
    a->arguments[0] = '\0';
    text += strcspn(text, " ");
    tell_call(a, DS4_FRONT_CALL_BEGIN, "");
    in_pieces(a, DS4_FRONT_CALL_ARGUMENTS, text);
    snprintf(a->arguments, sizeof a->arguments, "%s", text);
}

static void sleep_unless_stopped(ds4_agent *a, int ms)
{
    for (; ms > 0 && !stopped(a); ms -= 10) usleep(10000);
}

static void step(ds4_agent *a, const char *verb, char *text)
{
    unsigned done = 0, total = 0;

    if (!strcmp(verb, "think")) in_pieces(a, DS4_FRONT_REASONING, text);
    else if (!strcmp(verb, "say")) in_pieces(a, DS4_FRONT_ANSWER, text);
    else if (!strcmp(verb, "note")) tell_text(a, DS4_FRONT_NOTE, text);
    else if (!strcmp(verb, "error")) tell_text(a, DS4_FRONT_ERROR, text);
    else if (!strcmp(verb, "user")) tell_text(a, DS4_FRONT_USER, text);
    else if (!strcmp(verb, "piece")) a->piece = (uint32_t)atoi(text);
    else if (!strcmp(verb, "pause")) a->pause = (uint32_t)atoi(text);
    else if (!strcmp(verb, "sleep")) sleep_unless_stopped(a, atoi(text));
    else if (!strcmp(verb, "call")) write_call(a, text);
    else if (!strcmp(verb, "run")) tell_state(a, DS4_AGENT_CALLING), tell_call(a, DS4_FRONT_CALL_RUN, "");
    else if (!strcmp(verb, "output")) tell_call(a, DS4_FRONT_TOOL_OUTPUT, text);
    else if (!strcmp(verb, "change")) change(a, text);
    else if (!strcmp(verb, "ended")) end(a, text, false);
    else if (!strcmp(verb, "failed")) end(a, text, true);
    else if (!strcmp(verb, "ask")) ask(a, text);
    else if (!strcmp(verb, "quit")) ds4_agent_quit(a);
    else if (!strcmp(verb, "past")) a->replays = true;
    else if (!strcmp(verb, "read") && sscanf(text, "%u %u", &done, &total) == 2) {
        tell(a, (ds4_front_event){ .kind = DS4_FRONT_PREFILL, .progress = { done, total, 0 } });
        tell_state(a, DS4_AGENT_READING);
    }
}

/* Where the steps for a request begin. */
static const char *block_of(ds4_agent *a, const char *text)
{
    for (const char *at = a->script; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        char on[512];
        if (strncmp(at, "on", 2) != 0) continue;
        const size_t n = strcspn(at, "\n");
        snprintf(on, sizeof on, "%.*s", n > 3 ? (int)(n - 3) : 0, at + 3);
        if (strstr(text, on)) return at + n + 1;
    }
    return "";
}

static void play(ds4_agent *a, const char *text)
{
    for (const char *at = block_of(a, text); *at && strncmp(at, "on", 2) != 0 && !stopped(a);) {
        const size_t n = strcspn(at, "\n"), n_verb = strcspn(at, " \n");
        char         verb[32];
        snprintf(verb, sizeof verb, "%.*s", (int)n_verb, at);
        char *rest = unescape(at + n_verb + (n > n_verb), n > n_verb ? n - n_verb - 1 : 0);
        step(a, verb, rest);
        free(rest);
        at += n + (at[n] == '\n');
    }
}

/* ---- the loop ------------------------------------------------------------------------------------- */

ds4_agent *fake_agent_new(const char *script)
{
    ds4_agent *a = calloc(1, sizeof *a);

    a->script = script;
    a->piece = 4;
    a->status = (ds4_agent_status){ .n_used = 1234, .n_ctx = 100000, .n_prompt = 1000, .n_cached = 980,
                                    .write_tps = 21.5 };
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->came, NULL);
    return a;
}

void fake_agent_free(ds4_agent *a)
{
    for (uint32_t i = 0; i < a->n; i++) free(a->waiting[i].text);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->came);
    free(a);
}

static bool next(ds4_agent *a, request *r)
{
    pthread_mutex_lock(&a->lock);
    a->busy = false;
    a->stop = false;
    while (a->n_taken > 0 || ((a->n == 0 || a->hold) && !a->quit)) {
        if (a->n_taken == 0) {
            pthread_cond_wait(&a->came, &a->lock);
            continue;
        }
        a->ticket = a->taken[--a->n_taken];
        pthread_mutex_unlock(&a->lock);
        tell(a, (ds4_front_event){ .kind = DS4_FRONT_SETTLED, .stop = DS4_STOP_INTERRUPTED });
        tell_queue(a);
        pthread_mutex_lock(&a->lock);
    }
    const bool there = !a->quit;
    if (there) {
        *r = a->waiting[0];
        memmove(a->waiting, a->waiting + 1, --a->n * sizeof *r);
        a->busy = true;
    }
    pthread_mutex_unlock(&a->lock);
    return there;
}

void fake_agent_run(ds4_agent *a, const ds4_front *front)
{
    const ds4_session_facts s = { .id = "0123abcd", .title = "", .root = ".", .model = "fake",
                                  .sandbox = "commands run nowhere" };
    request r;

    a->front = front;
    tell(a, (ds4_front_event){ .kind = DS4_FRONT_SESSION, .session = &s });
    tell_state(a, DS4_AGENT_IDLE);
    while (next(a, &r)) {
        a->ticket = r.ticket;
        a->status.n_written = 0;
        tell_queue(a);
        if (!r.command) tell_text(a, DS4_FRONT_USER, r.text);
        play(a, r.text);
        const bool cut = stopped(a);
        a->replays = false;
        tell(a, (ds4_front_event){ .kind = DS4_FRONT_SETTLED, .stop = cut ? DS4_STOP_INTERRUPTED
                                                                          : DS4_STOP_DONE });
        tell_state(a, DS4_AGENT_IDLE);
        free(r.text);
    }
}

/* ---- front.h -------------------------------------------------------------------------------------- */

static uint64_t put(ds4_agent *a, ds4_slice text, bool command)
{
    pthread_mutex_lock(&a->lock);
    const uint64_t ticket = a->n < MAX_WAITING ? ++a->last : 0;
    if (ticket) a->waiting[a->n++] = (request){ strndup(text.data, text.n_bytes), ticket, command };
    a->changed = true;
    a->hold = false;
    pthread_cond_signal(&a->came);
    pthread_mutex_unlock(&a->lock);
    return ticket;
}

uint64_t ds4_agent_submit(ds4_agent *a, ds4_slice text)
{
    return put(a, text, false);
}

uint64_t ds4_agent_command(ds4_agent *a, ds4_slice line)
{
    return put(a, line, true);
}

bool ds4_agent_unqueue(ds4_agent *a, ds4_str *text)
{
    pthread_mutex_lock(&a->lock);
    const bool there = a->n > 0;
    if (there) {
        ds4_str_add_text(text, a->waiting[--a->n].text);
        free(a->waiting[a->n].text);
        a->taken[a->n_taken++] = a->waiting[a->n].ticket;
        pthread_cond_signal(&a->came);
    }
    a->changed = true;
    pthread_mutex_unlock(&a->lock);
    return there;
}

void ds4_agent_interrupt(ds4_agent *a, bool send)
{
    pthread_mutex_lock(&a->lock);
    a->stop = a->busy;
    a->hold = !send && a->n > 0;
    pthread_mutex_unlock(&a->lock);
}

void ds4_agent_quit(ds4_agent *a)
{
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_signal(&a->came);
    pthread_mutex_unlock(&a->lock);
}

bool ds4_agent_busy(ds4_agent *a)
{
    pthread_mutex_lock(&a->lock);
    const bool busy = a->busy || (a->n > 0 && !a->hold);
    pthread_mutex_unlock(&a->lock);
    return busy;
}

const ds4_agent_word *ds4_agent_words(uint32_t *n)
{
    static const ds4_agent_word words[] = { { "/history", "", "", true }, { "/help", "", "", true },
                                            { "/undo", "", "", false }, { "/mode", "", "", false } };
    *n = sizeof words / sizeof *words;
    return words;
}

const char *ds4_stop_name(ds4_stop stop)
{
    return stop == DS4_STOP_INTERRUPTED ? "interrupted" : "done";
}
