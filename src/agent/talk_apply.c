/* talk_apply.c - see talk_apply.h. Files are from outside: every length and every token is checked. */
#include "agent/talk_apply.h"

#include "text/pyjson.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CALLS = 4096, MAX_QUEUE = 1024 };

static ds4_status damaged(const ds4_record *r, const char *what, ds4_err *err)
{
    return ds4_fail(err, DS4_E_FORMAT, "the session's record of kind %u at byte %llu %s", r->kind,
                    (unsigned long long)r->at, what);
}

static ds4_status no_memory(ds4_err *err)
{
    return ds4_fail(err, DS4_E_NOMEM, "no memory for a session");
}

/* ---- numbers and tokens --------------------------------------------------------------------- */

static uint32_t u32_at(ds4_slice payload, size_t at)
{
    const uint8_t *b = (const uint8_t *)payload.data + at;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t ds4_talk_u64(ds4_slice payload)
{
    if (payload.n_bytes < 8) return UINT64_MAX;
    return u32_at(payload, 0) | (uint64_t)u32_at(payload, 4) << 32;
}

static ds4_slice behind(ds4_slice payload, size_t n)
{
    return (ds4_slice){ payload.data + n, payload.n_bytes - n };
}

static ds4_status add_tokens(ds4_talk *t, const ds4_record *r, ds4_slice bytes, uint32_t *n_added,
                             ds4_err *err)
{
    if (bytes.n_bytes % 4 != 0) return damaged(r, "has half a token", err);
    for (size_t i = 0; i < bytes.n_bytes; i += 4) {
        const uint32_t id = u32_at(bytes, i);
        if (id >= t->n_vocab) return damaged(r, "has a token that the model does not have", err);
        ds4_tokens_add(&t->tokens, (int32_t)id);
    }
    *n_added = (uint32_t)(bytes.n_bytes / 4);
    return t->tokens.failed ? no_memory(err) : DS4_OK;
}

/* ---- items ---------------------------------------------------------------------------------- */

static ds4_talk_item *new_item(ds4_talk *t, const ds4_record *r)
{
    if (t->n_items == t->items_capacity) {
        const uint32_t capacity = t->items_capacity ? t->items_capacity * 2 : 32;
        ds4_talk_item *more = realloc(t->items, capacity * sizeof *more);
        if (!more) return NULL;
        t->items = more;
        t->items_capacity = capacity;
    }
    ds4_talk_item *item = &t->items[t->n_items++];
    *item = (ds4_talk_item){ .kind = (ds4_talk_record)r->kind, .at = r->at };
    return item;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static ds4_status get_text(ds4_slice json, const char *name, ds4_str *out, ds4_err *err)
{
    ds4_slice value;

    if (!ds4_pyjson_get(json, name, &value) || ds4_pyjson_kind(value) != DS4_JSON_STRING) {
        return ds4_fail(err, DS4_E_FORMAT, "the session lacks '%s'", name);
    }
    return ds4_pyjson_decode_string(value, out, err);
}

static uint64_t get_number(ds4_slice json, const char *name)
{
    ds4_slice value;
    uint64_t  number = 0;

    if (!ds4_pyjson_get(json, name, &value)) return 0;
    for (size_t i = 0; i < value.n_bytes && i < 19 && value.data[i] >= '0' && value.data[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    return number;
}

static ds4_status apply_meta(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    if (t->model.n_bytes > 0) return damaged(r, "comes twice", err);
    DS4_TRY(get_text(r->payload, "model", &t->model, err));
    DS4_TRY(get_text(r->payload, "root", &t->root, err));
    DS4_TRY(get_text(r->payload, "vocabulary", &t->vocabulary, err));
    t->created = get_number(r->payload, "created");
    return DS4_OK;
}

static ds4_status read_calls(ds4_talk_item *item, ds4_slice list, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       call;

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    while (ds4_pyjson_next(&it, NULL, &call)) {
        if (item->n_calls == MAX_CALLS) return ds4_fail(err, DS4_E_LIMIT, "too many calls in an answer");
        ds4_talk_call *more = realloc(item->calls, (item->n_calls + 1) * sizeof *more);
        if (!more) return no_memory(err);
        item->calls = more;
        ds4_talk_call *to = &item->calls[item->n_calls++];
        *to = (ds4_talk_call){ 0 };
        DS4_TRY(get_text(call, "name", &to->name, err));
        DS4_TRY(get_text(call, "arguments", &to->arguments, err));
    }
    return DS4_OK;
}

static ds4_status apply_answer(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    ds4_slice calls, value;

    if (t->phase != DS4_TALK_ANSWERING) return damaged(r, "answers nothing", err);
    ds4_talk_item *item = new_item(t, r);
    if (!item) return no_memory(err);
    DS4_TRY(get_text(r->payload, "reasoning", &item->reasoning, err));
    DS4_TRY(get_text(r->payload, "content", &item->text, err));
    if (!ds4_pyjson_get(r->payload, "calls", &calls)) return damaged(r, "has no calls", err);
    DS4_TRY(read_calls(item, calls, err));
    item->n_tokens = t->n_answer;
    item->finish = (ds4_finish)get_number(r->payload, "finish");
    t->answer_open_reasoning =
        ds4_pyjson_get(r->payload, "in_reasoning", &value) && ds4_pyjson_kind(value) == DS4_JSON_TRUE;
    t->ends_with_answer = true;
    t->untold = item->finish == DS4_FINISH_CALLS && item->n_calls > 0;
    t->phase = t->untold ? DS4_TALK_CALLING : DS4_TALK_IDLE;
    return DS4_OK;
}

/* ---- the other kinds ------------------------------------------------------------------------ */

static void take_first(ds4_talk *t)
{
    ds4_str_clear(&t->queue[0]);
    memmove(t->queue, t->queue + 1, --t->n_queue * sizeof *t->queue);
}

static ds4_status apply_user(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    if (r->payload.n_bytes < 9) return damaged(r, "is too short", err);
    const bool from_queue = r->payload.data[8] != 0;
    if (from_queue && t->n_queue == 0) return damaged(r, "takes what is not there", err);
    if (from_queue) take_first(t);
    ds4_talk_item *item = new_item(t, r);
    if (!item) return no_memory(err);
    const ds4_slice text = behind(r->payload, 9);
    item->mark = ds4_talk_u64(r->payload);
    ds4_str_add(&item->text, text.data, text.n_bytes);
    if (item->text.failed) return no_memory(err);
    t->phase = DS4_TALK_PROMPTING;
    return DS4_OK;
}

static ds4_status apply_tokens(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    uint32_t n;

    if (r->payload.n_bytes < 5) return damaged(r, "is too short", err);
    if (t->phase != DS4_TALK_PROMPTING && t->phase != DS4_TALK_CALLING)
        return damaged(r, "opens no answer", err);
    DS4_TRY(add_tokens(t, r, behind(r->payload, 1), &n, err));
    t->thinking = r->payload.data[0] != 0;
    t->n_answer = 0;
    t->ends_with_answer = t->answer_open_reasoning = t->untold = false;
    t->phase = DS4_TALK_ANSWERING;
    ds4_talk_item *user = ds4_talk_last(t, DS4_TALK_USER);
    if (user && user->answer_at == 0) user->answer_at = r->next;
    return DS4_OK;
}

static ds4_status apply_sampled(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    uint32_t n;

    if (t->phase != DS4_TALK_ANSWERING) return damaged(r, "answers nothing", err);
    DS4_TRY(add_tokens(t, r, r->payload, &n, err));
    t->n_answer += n;
    return DS4_OK;
}

static ds4_status apply_call(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    ds4_talk_item *item = ds4_talk_last(t, DS4_TALK_ANSWER);
    const size_t   least = r->kind == DS4_TALK_RESULT ? 8 : 4;

    if (r->payload.n_bytes < least) return damaged(r, "is too short", err);
    const uint32_t i = u32_at(r->payload, 0);
    if (t->phase != DS4_TALK_CALLING || !item || i >= item->n_calls) return damaged(r, "is of no call", err);
    item->calls[i].begun = true;
    if (r->kind == DS4_TALK_CALL) return DS4_OK;
    const ds4_slice text = behind(r->payload, 8);
    item->calls[i].done = true;
    item->calls[i].failed = u32_at(r->payload, 4) != 0;
    ds4_str_truncate(&item->calls[i].result, 0);
    ds4_str_add(&item->calls[i].result, text.data, text.n_bytes);
    return item->calls[i].result.failed ? no_memory(err) : DS4_OK;
}

static ds4_status apply_compact(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    uint32_t n;

    if (r->payload.n_bytes < 5) return damaged(r, "is too short", err);
    const uint32_t n_summary = u32_at(r->payload, 1);
    if (n_summary > r->payload.n_bytes - 5) return damaged(r, "is too short", err);
    ds4_talk_item *item = new_item(t, r);
    if (!item) return no_memory(err);
    ds4_str_add(&item->text, r->payload.data + 5, n_summary);
    t->tokens.n = t->n_answer = 0;
    DS4_TRY(add_tokens(t, r, behind(r->payload, 5 + n_summary), &n, err));
    if (t->n_base > n) return damaged(r, "is too short", err);
    t->ends_with_answer = r->payload.data[0] != 0;
    t->answer_open_reasoning &= t->ends_with_answer;
    return item->text.failed ? no_memory(err) : DS4_OK;
}

static ds4_status apply_queue(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    if (t->n_queue == MAX_QUEUE) return ds4_fail(err, DS4_E_LIMIT, "too many messages wait");
    ds4_str *more = realloc(t->queue, (t->n_queue + 1) * sizeof *more);
    if (!more) return no_memory(err);
    t->queue = more;
    t->queue[t->n_queue] = (ds4_str){ 0 };
    ds4_str_add(&t->queue[t->n_queue], r->payload.data, r->payload.n_bytes);
    return t->queue[t->n_queue++].failed ? no_memory(err) : DS4_OK;
}

static ds4_status apply_unqueue(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    if (t->n_queue == 0 || r->payload.n_bytes < 4) return damaged(r, "takes what is not there", err);
    if (u32_at(r->payload, 0) == 0) take_first(t);
    else ds4_str_clear(&t->queue[--t->n_queue]);
    return DS4_OK;
}

static ds4_status apply_number(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    if (r->payload.n_bytes < 4) return damaged(r, "is too short", err);
    const uint32_t value = u32_at(r->payload, 0);

    switch (r->kind) {
    case DS4_TALK_STOP:
        if (value > DS4_STOP_FAILED) return damaged(r, "has an unknown reason", err);
        t->stop = (ds4_stop)value;
        t->phase = DS4_TALK_IDLE;
        break;
    case DS4_TALK_DROP:
        if (value > t->n_answer) return damaged(r, "drops too much", err);
        t->tokens.n -= value;
        t->n_answer -= value;
        break;
    default: t->planning = value != 0; break;
    }
    return DS4_OK;
}

ds4_status ds4_talk_apply(ds4_talk *t, const ds4_record *r, ds4_err *err)
{
    switch (r->kind) {
    case DS4_TALK_META: return apply_meta(t, r, err);
    case DS4_TALK_BASE:
        if (t->tokens.n > 0) return damaged(r, "comes twice", err);
        return add_tokens(t, r, r->payload, &t->n_base, err);
    case DS4_TALK_USER: return apply_user(t, r, err);
    case DS4_TALK_TOKENS: return apply_tokens(t, r, err);
    case DS4_TALK_SAMPLED: return apply_sampled(t, r, err);
    case DS4_TALK_ANSWER: return apply_answer(t, r, err);
    case DS4_TALK_CALL:
    case DS4_TALK_RESULT: return apply_call(t, r, err);
    case DS4_TALK_COMPACT: return apply_compact(t, r, err);
    case DS4_TALK_QUEUE: return apply_queue(t, r, err);
    case DS4_TALK_UNQUEUE: return apply_unqueue(t, r, err);
    case DS4_TALK_STOP:
    case DS4_TALK_DROP:
    case DS4_TALK_PLAN: return apply_number(t, r, err);
    default: return damaged(r, "is of a later version", err);
    }
}
