/* talk.c - see talk.h: how the talk is opened, changed and closed. What a record does is in talk_apply.c. */
#include "agent/talk.h"

#include "agent/talk_apply.h"
#include "text/pyjson.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- opening -------------------------------------------------------------------------------- */

static ds4_status no_memory(ds4_err *err)
{
    return ds4_fail(err, DS4_E_NOMEM, "no memory for a session");
}

/* A CUT takes away what came behind a place: the records that are left make the state of that place. */
static ds4_status live_records(ds4_slice content, ds4_record **out, uint32_t *n_out, ds4_err *err)
{
    ds4_record *live = NULL, record;
    uint32_t    n = 0, capacity = 0;
    uint64_t    at = DS4_JOURNAL_HEAD;

    while (ds4_journal_read(content, at, &record)) {
        at = record.next;
        if (record.kind == DS4_TALK_CUT) {
            const uint64_t place = ds4_talk_u64(record.payload);
            while (n > 0 && live[n - 1].at >= place) n--;
            continue;
        }
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 256;
            ds4_record *more = realloc(live, capacity * sizeof *live);
            if (!more) {
                free(live);
                return no_memory(err);
            }
            live = more;
        }
        live[n++] = record;
    }
    *out = live;
    *n_out = n;
    return DS4_OK;
}

ds4_status ds4_talk_load(ds4_talk *t, ds4_slice content, uint32_t n_vocab, ds4_err *err)
{
    ds4_record *live = NULL;
    uint32_t    n = 0;

    t->n_vocab = n_vocab;
    DS4_TRY(live_records(content, &live, &n, err));
    ds4_status st = DS4_OK;
    for (uint32_t i = 0; i < n && st == DS4_OK; i++) st = ds4_talk_apply(t, &live[i], err);
    free(live);
    return st;
}

static ds4_status open_journal(ds4_talk *t, const char *dir, ds4_str *content, ds4_err *err)
{
    ds4_str path = { 0 };

    const char *name = strrchr(dir, '/');
    t->dir = strdup(dir);
    t->id = strdup(name ? name + 1 : dir);
    ds4_str_addf(&path, "%s/journal", dir);
    if (!t->dir || !t->id || path.failed) return no_memory(err);
    const ds4_status st = ds4_journal_open(path.data, &t->journal, content, err);
    ds4_str_clear(&path);
    return st;
}

ds4_status ds4_talk_open(ds4_talk *t, const char *dir, uint32_t n_vocab, ds4_err *err)
{
    ds4_str content = { 0 };

    *t = (ds4_talk){ 0 };
    ds4_status st = open_journal(t, dir, &content, err);
    if (st == DS4_OK) st = ds4_talk_load(t, (ds4_slice){ content.data, content.n_bytes }, n_vocab, err);
    ds4_str_clear(&content);
    if (st == DS4_OK && t->n_base == 0) st = ds4_fail(err, DS4_E_FORMAT, "%s: an empty session", dir);
    return st;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Write a record, and do what it says. */
static ds4_status add(ds4_talk *t, ds4_talk_record kind, const void *data, size_t n_bytes, ds4_err *err)
{
    ds4_record record = { .kind = kind, .payload = { data, n_bytes } };

    if (!t->journal) return ds4_fail(err, DS4_E_ARG, "this session can only be read");
    record.at = ds4_journal_end(t->journal);
    DS4_TRY(ds4_journal_add(t->journal, kind, data, n_bytes, err));
    record.next = ds4_journal_end(t->journal);
    const ds4_status st = ds4_talk_apply(t, &record, err);
    /* A record that cannot be done must not be read again. */
    if (st != DS4_OK) ds4_journal_take_back(t->journal, record.at);
    return st;
}

static ds4_status add_str(ds4_talk *t, ds4_talk_record kind, ds4_str *payload, ds4_err *err)
{
    const ds4_status st =
        payload->failed ? no_memory(err) : add(t, kind, payload->data, payload->n_bytes, err);
    ds4_str_clear(payload);
    return st;
}

static void put_u32(ds4_str *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) ds4_str_add_char(out, (char)(value >> (8 * i) & 0xff));
}

static void put_u64(ds4_str *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out, (uint32_t)(value >> 32));
}

static void put_tokens(ds4_str *out, const int32_t *ids, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) put_u32(out, (uint32_t)ids[i]);
}

static ds4_status add_u32(ds4_talk *t, ds4_talk_record kind, uint32_t value, ds4_err *err)
{
    ds4_str payload = { 0 };

    put_u32(&payload, value);
    return add_str(t, kind, &payload, err);
}

static void put_member(ds4_str *out, const char *name, ds4_slice text)
{
    ds4_str_addf(out, "%s\"%s\": ", out->data[out->n_bytes - 1] == '{' ? "" : ", ", name);
    ds4_pyjson_add_string(out, text);
}

static ds4_slice slice(const char *text)
{
    return (ds4_slice){ text, strlen(text) };
}

static ds4_status add_meta(ds4_talk *t, const ds4_talk_meta *meta, ds4_err *err)
{
    ds4_str json = { 0 };

    ds4_str_add_char(&json, '{');
    if (json.failed) return no_memory(err);
    put_member(&json, "model", slice(meta->model));
    put_member(&json, "root", slice(meta->root));
    put_member(&json, "vocabulary", slice(meta->vocabulary));
    ds4_str_addf(&json, ", \"created\": %llu}", (unsigned long long)meta->created);
    return add_str(t, DS4_TALK_META, &json, err);
}

ds4_status ds4_talk_create(ds4_talk *t, const char *dir, uint32_t n_vocab, const ds4_talk_meta *meta,
                           const ds4_tokens *base, ds4_err *err)
{
    ds4_str content = { 0 }, tokens = { 0 };

    *t = (ds4_talk){ .n_vocab = n_vocab };
    if (mkdir(dir, 0700) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", dir, strerror(errno));
    const ds4_status st = open_journal(t, dir, &content, err);
    ds4_str_clear(&content);
    DS4_TRY(st);
    DS4_TRY(add_meta(t, meta, err));
    put_tokens(&tokens, base->ids, base->n);
    return add_str(t, DS4_TALK_BASE, &tokens, err);
}

static ds4_status need(const ds4_talk *t, ds4_talk_phase phase, ds4_err *err)
{
    if (t->phase == phase) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "a session in phase %d was changed as if in %d", t->phase, phase);
}

ds4_status ds4_talk_user(ds4_talk *t, uint64_t mark, bool from_queue, ds4_slice text, ds4_err *err)
{
    ds4_str payload = { 0 };

    put_u64(&payload, mark);
    ds4_str_add_char(&payload, from_queue);
    ds4_str_add(&payload, text.data, text.n_bytes);
    return add_str(t, DS4_TALK_USER, &payload, err);
}

ds4_status ds4_talk_tokens(ds4_talk *t, const ds4_tokens *tokens, bool thinking, ds4_err *err)
{
    ds4_str payload = { 0 };

    ds4_str_add_char(&payload, thinking);
    put_tokens(&payload, tokens->ids, tokens->n);
    return add_str(t, DS4_TALK_TOKENS, &payload, err);
}

ds4_status ds4_talk_sampled(ds4_talk *t, const int32_t *ids, uint32_t n, ds4_err *err)
{
    uint8_t small[16 * sizeof *ids];
    ds4_str payload = { 0 };

    DS4_TRY(need(t, DS4_TALK_ANSWERING, err));
    if (n > 16) {
        put_tokens(&payload, ids, n);
        return add_str(t, DS4_TALK_SAMPLED, &payload, err);
    }
    for (uint32_t i = 0; i < n * 4; i++) small[i] = (uint8_t)((uint32_t)ids[i / 4] >> (8 * (i % 4)));
    return add(t, DS4_TALK_SAMPLED, small, n * 4, err);
}

ds4_status ds4_talk_answer(ds4_talk *t, const ds4_reply_result *said, ds4_err *err)
{
    ds4_str json = { 0 };

    DS4_TRY(need(t, DS4_TALK_ANSWERING, err));
    ds4_str_addf(&json, "{\"finish\": %d, \"in_reasoning\": %s", (int)said->finish,
                 said->state == DS4_DSML_THINK ? "true" : "false");
    if (json.failed) return no_memory(err);
    put_member(&json, "reasoning", said->reasoning);
    put_member(&json, "content", said->content);
    ds4_str_add_text(&json, ", \"calls\": [");
    for (uint32_t i = 0; i < said->n_calls; i++) {
        ds4_str_add_text(&json, i ? ", {" : "{");
        put_member(&json, "name", said->calls[i].name);
        put_member(&json, "arguments", said->calls[i].arguments);
        ds4_str_add_char(&json, '}');
    }
    ds4_str_add_text(&json, "]}");
    return add_str(t, DS4_TALK_ANSWER, &json, err);
}

ds4_status ds4_talk_call_begins(ds4_talk *t, uint32_t i_call, ds4_err *err)
{
    DS4_TRY(need(t, DS4_TALK_CALLING, err));
    DS4_TRY(add_u32(t, DS4_TALK_CALL, i_call, err));
    return ds4_journal_sync(t->journal, err);
}

ds4_status ds4_talk_call_ends(ds4_talk *t, uint32_t i_call, bool failed, ds4_slice text, ds4_err *err)
{
    ds4_str payload = { 0 };

    DS4_TRY(need(t, DS4_TALK_CALLING, err));
    put_u32(&payload, i_call);
    put_u32(&payload, failed);
    ds4_str_add(&payload, text.data, text.n_bytes);
    return add_str(t, DS4_TALK_RESULT, &payload, err);
}

ds4_status ds4_talk_stop(ds4_talk *t, ds4_stop stop, ds4_err *err)
{
    DS4_TRY(add_u32(t, DS4_TALK_STOP, (uint32_t)stop, err));
    return ds4_journal_sync(t->journal, err);
}

ds4_status ds4_talk_drop(ds4_talk *t, uint32_t n_tokens, ds4_err *err)
{
    return add_u32(t, DS4_TALK_DROP, n_tokens, err);
}

ds4_status ds4_talk_compact(ds4_talk *t, ds4_slice summary, const ds4_tokens *context, bool ends_with_answer,
                            ds4_err *err)
{
    ds4_str payload = { 0 };

    ds4_str_add_char(&payload, ends_with_answer);
    put_u32(&payload, (uint32_t)summary.n_bytes);
    ds4_str_add(&payload, summary.data, summary.n_bytes);
    put_tokens(&payload, context->ids, context->n);
    return add_str(t, DS4_TALK_COMPACT, &payload, err);
}

ds4_status ds4_talk_plan(ds4_talk *t, bool planning, ds4_err *err)
{
    return add_u32(t, DS4_TALK_PLAN, planning, err);
}

ds4_status ds4_talk_enqueue(ds4_talk *t, ds4_slice text, ds4_err *err)
{
    return add(t, DS4_TALK_QUEUE, text.data, text.n_bytes, err);
}

ds4_status ds4_talk_unqueue(ds4_talk *t, bool last, ds4_err *err)
{
    return add_u32(t, DS4_TALK_UNQUEUE, last, err);
}

/* ---- going back, and away ------------------------------------------------------------------- */

static ds4_status read_own(const ds4_talk *t, ds4_str *content, ds4_err *err)
{
    ds4_str path = { 0 };

    ds4_str_addf(&path, "%s/journal", t->dir);
    const ds4_status st =
        path.failed ? no_memory(err) : ds4_journal_peek(path.data, DS4_JOURNAL_MAX_BYTES, content, err);
    ds4_str_clear(&path);
    return st;
}

ds4_status ds4_talk_cut(ds4_talk *t, uint64_t at, ds4_err *err)
{
    ds4_str  content = { 0 }, payload = { 0 };
    ds4_talk again = { 0 };
    bool     known = false;

    for (uint32_t i = 0; i < t->n_items; i++)
        known |= at > 0 && (t->items[i].at == at || t->items[i].answer_at == at);
    if (!known || !t->journal)
        return ds4_fail(err, DS4_E_ARG, "a session has nothing at byte %llu", (unsigned long long)at);
    put_u64(&payload, at);
    ds4_status st = payload.failed
                        ? no_memory(err)
                        : ds4_journal_add(t->journal, DS4_TALK_CUT, payload.data, payload.n_bytes, err);
    ds4_str_clear(&payload);
    if (st == DS4_OK) st = ds4_journal_sync(t->journal, err);
    if (st == DS4_OK) st = read_own(t, &content, err);
    if (st == DS4_OK)
        st = ds4_talk_load(&again, (ds4_slice){ content.data, content.n_bytes }, t->n_vocab, err);
    ds4_str_clear(&content);
    if (st != DS4_OK) {
        ds4_talk_close(&again);
        return st;
    }
    again.journal = t->journal;
    again.dir = t->dir;
    again.id = t->id;
    t->journal = NULL;
    t->dir = t->id = NULL;
    ds4_talk_close(t);
    *t = again;
    return DS4_OK;
}

ds4_status ds4_talk_fork(const ds4_talk *t, const char *dir, ds4_err *err)
{
    ds4_str     content = { 0 }, nothing = { 0 };
    ds4_record *live = NULL;
    uint32_t    n = 0;
    ds4_talk    to = { 0 };

    if (mkdir(dir, 0700) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", dir, strerror(errno));
    ds4_status st = open_journal(&to, dir, &nothing, err);
    if (st == DS4_OK) st = read_own(t, &content, err);
    if (st == DS4_OK) st = live_records((ds4_slice){ content.data, content.n_bytes }, &live, &n, err);
    for (uint32_t i = 0; i < n && st == DS4_OK; i++) {
        st = ds4_journal_add(to.journal, live[i].kind, live[i].payload.data, live[i].payload.n_bytes, err);
    }
    if (st == DS4_OK) st = ds4_journal_sync(to.journal, err);
    free(live);
    ds4_str_clear(&content);
    ds4_str_clear(&nothing);
    ds4_talk_close(&to);
    return st;
}
