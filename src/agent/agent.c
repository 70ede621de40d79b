/* agent.c - see agent.h: its life, its requests, and the order in which they are worked on. */
#include "agent/agent_local.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- life ----------------------------------------------------------------------------------- */

/* A name for the vocabulary: tokens of a session mean something with this one only. */
static void name_vocabulary(ds4_agent *a)
{
    const ds4_vocab *v = ds4_engine_vocab(a->opt.engine);
    ds4_kv_key       key = ds4_kv_hash("vocabulary", 10);

    for (uint32_t i = 0; i < ds4_vocab_size(v); i++) {
        const ds4_slice bytes = ds4_vocab_token_bytes(v, (int32_t)i);
        key = ds4_kv_hash_on(&key, bytes.n_bytes > 0 ? bytes.data : "", bytes.n_bytes);
    }
    ds4_kv_key_text(&key, a->vocabulary);
}

ds4_status ds4_agent_make_dir(const char *path, ds4_err *err)
{
    ds4_str part = { 0 };

    ds4_str_add_text(&part, path);
    if (part.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for a path");
    for (char *at = part.data + 1;; at++) {
        const char c = *at;
        if (c != '/' && c != '\0') continue;
        *at = '\0';
        const bool failed = mkdir(part.data, 0700) != 0 && errno != EEXIST;
        *at = c;
        if (failed && c == '\0') {
            const int why = errno;
            ds4_str_clear(&part);
            return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(why));
        }
        if (c == '\0') break;
    }
    ds4_str_clear(&part);
    return DS4_OK;
}

static ds4_status open_speculation(ds4_agent *a, ds4_err *err)
{
    const ds4_speculation_options how = { .engine = a->opt.engine, .how = a->opt.speculate, .n_seats = 1 };
    ds4_drafter                  *drafter = NULL;

    DS4_TRY(ds4_speculation_create(&how, &a->speculation, err));
    DS4_TRY(ds4_speculation_drafter(a->speculation, 0, &drafter, err));
    ds4_seat_set_drafter(&a->seat, drafter);
    return DS4_OK;
}

static ds4_status first_session(ds4_agent *a, ds4_err *err)
{
    ds4_str id = { 0 };

    if (!a->opt.session) return ds4_agent_new_session(a, err);
    ds4_status st = DS4_OK;
    if (*a->opt.session) ds4_str_add_text(&id, a->opt.session);
    else st = ds4_agent_last_session(a, &id, err);
    if (st == DS4_OK) st = ds4_agent_open_session(a, ds4_str_text(&id), err);
    ds4_str_clear(&id);
    return st;
}

ds4_status ds4_agent_create(const ds4_agent_options *opt, ds4_agent **out, ds4_err *err)
{
    ds4_agent *a;

    if (opt->n_ctx < DS4_AGENT_MIN_CTX) {
        return ds4_fail(err, DS4_E_LIMIT, "an agent needs a context of %d tokens or more, not %u",
                        DS4_AGENT_MIN_CTX, opt->n_ctx);
    }
    a = calloc(1, sizeof *a);
    if (!a || !(a->inbox = ds4_inbox_create())) {
        free(a);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for an agent");
    }
    a->opt = *opt;
    a->do_command = ds4_agent_do_command;
    a->may_now = ds4_agent_may_now;
    ds4_rng_seed(&a->rng, opt->seed);
    name_vocabulary(a);
    ds4_status st = ds4_agent_make_dir(opt->dir, err);
    if (st == DS4_OK) st = ds4_seat_open(&a->seat, opt->engine, opt->resume, opt->n_ctx, err);
    if (st == DS4_OK) st = open_speculation(a, err);
    if (st == DS4_OK) st = ds4_agent_open_tools(a, opt->root, err);
    if (st == DS4_OK) st = first_session(a, err);
    if (st != DS4_OK) {
        ds4_agent_free(a);
        return st;
    }
    *out = a;
    return DS4_OK;
}

void ds4_agent_free(ds4_agent *a)
{
    if (!a) return;
    ds4_inbox_on_stop(a->inbox, NULL, NULL);
    if (a->talk.dir) ds4_agent_close_session(a);
    ds4_tools_close(a->tools);
    ds4_seat_close(&a->seat);
    ds4_speculation_free(a->speculation);
    ds4_inbox_free(a->inbox);
    ds4_str_clear(&a->notes);
    ds4_str_clear(&a->call_id);
    free(a);
}

bool ds4_agent_is_open_turn(const ds4_agent *a)
{
    return a->talk.phase != DS4_TALK_IDLE;
}

const char *ds4_agent_session(const ds4_agent *a)
{
    return a->talk.id;
}

/* ---- requests ------------------------------------------------------------------------------- */

uint64_t ds4_agent_submit(ds4_agent *a, ds4_slice text)
{
    return ds4_inbox_add(a->inbox, DS4_REQUEST_TEXT, text);
}

uint64_t ds4_agent_command(ds4_agent *a, ds4_slice line)
{
    return ds4_inbox_add(a->inbox, DS4_REQUEST_COMMAND, line);
}

bool ds4_agent_unqueue(ds4_agent *a, ds4_str *text)
{
    return ds4_inbox_take_back(a->inbox, text);
}

void ds4_agent_interrupt(ds4_agent *a, bool send)
{
    ds4_inbox_interrupt(a->inbox, !send);
}

void ds4_agent_quit(ds4_agent *a)
{
    ds4_inbox_quit(a->inbox);
}

bool ds4_agent_busy(ds4_agent *a)
{
    return ds4_inbox_busy(a->inbox);
}

const char *ds4_stop_name(ds4_stop stop)
{
    static const char *const names[] = { "done",  "length",      "context", "loop",
                                         "calls", "interrupted", "queued",  "failed" };
    return (unsigned)stop < sizeof names / sizeof *names ? names[stop] : "";
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* A turn that a process left open is closed before another message: what it had is kept. */
static ds4_status close_open_turn(ds4_agent *a, ds4_err *err)
{
    if (a->talk.phase == DS4_TALK_IDLE) return DS4_OK;
    const uint64_t ticket = a->ticket;
    a->ticket = 0;
    ds4_inbox_interrupt(a->inbox, false);
    const ds4_status st = ds4_agent_turn(a, err);
    ds4_tools_resume(a->tools);
    a->ticket = ticket;
    return st;
}

static ds4_status answer_message(ds4_agent *a, const ds4_request *r, ds4_err *err)
{
    const ds4_slice text = { ds4_str_text(&r->text), r->text.n_bytes };
    uint64_t        mark = 0;
    ds4_err         marked;

    a->ticket = r->ticket;
    ds4_tools_resume(a->tools);
    DS4_TRY(close_open_turn(a, err));
    const ds4_status st = ds4_tools_mark(a->tools, &mark, &marked);
    if (st != DS4_OK) {
        mark = 0;
        if (st != DS4_E_UNSUPPORTED) ds4_agent_error(a, &marked);
    }
    DS4_TRY(ds4_talk_user(&a->talk, mark, r->kept, text, err));
    ds4_agent_tell_text(a, DS4_FRONT_USER, text);
    if (r->kept) ds4_agent_tell_queue(a);
    const ds4_status done = ds4_agent_turn(a, err);
    ds4_agent_settle(a, r->ticket, a->stop);
    a->ticket = 0;
    return done;
}

ds4_status ds4_agent_run(ds4_agent *a, ds4_err *err)
{
    ds4_request r;
    ds4_status  st = DS4_OK;

    ds4_agent_tell_session(a);
    if (a->opt.session) ds4_agent_tell_past(a, 3);
    ds4_agent_tell_state(a, DS4_AGENT_IDLE);
    ds4_agent_tell_status(a, true);
    ds4_agent_note_taken_back(a);
    while (st == DS4_OK && ds4_inbox_wait(a->inbox, &r)) {
        ds4_agent_note_taken_back(a);
        if (r.ticket == 0) continue;
        if (r.kind == DS4_REQUEST_COMMAND) {
            ds4_tools_resume(a->tools);
            ds4_agent_do_command(a, &r);
        } else {
            st = answer_message(a, &r, err);
        }
        ds4_str_clear(&r.text);
    }
    return st;
}
