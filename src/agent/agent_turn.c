/* agent_turn.c - a turn of the agent: prompts, answers and calls until the model has ended it.
 *
 * Everything is decided by where the talk stands, so that a turn that a process left in the middle goes on
 * like one that was never left. */
#include "agent/agent_local.h"

#include <stdlib.h>
#include <string.h>

/* ---- what the model writes, as it comes ----------------------------------------------------- */

static void hand_out(void *ctx, const ds4_piece *piece)
{
    ds4_agent *a = ctx;

    switch (piece->kind) {
    case DS4_PIECE_THINKING: ds4_agent_tell_text(a, DS4_FRONT_REASONING, piece->text); break;
    case DS4_PIECE_CONTENT: ds4_agent_tell_text(a, DS4_FRONT_ANSWER, piece->text); break;
    case DS4_PIECE_CALL:
        a->call = ds4_agent_call_of(a, NULL, piece->i_call);
        a->call.name = piece->text;
        ds4_agent_tell_call(a, DS4_FRONT_CALL_BEGIN, &a->call, (ds4_slice){ "", 0 });
        break;
    case DS4_PIECE_ARGUMENTS:
        a->call.name = (ds4_slice){ "", 0 };
        ds4_agent_tell_call(a, DS4_FRONT_CALL_ARGUMENTS, &a->call, piece->text);
        break;
    case DS4_PIECE_CALL_DROPPED:
        ds4_agent_tell_call(a, DS4_FRONT_CALL_DROPPED, &a->call, (ds4_slice){ "", 0 });
        break;
    }
}

/* ---- an answer ------------------------------------------------------------------------------ */

/* Write down what was sampled since the last time. A failure ends the turn at its next step. */
static void keep_sampled(ds4_agent *a)
{
    const ds4_reply_result *r = ds4_generation_result(a->answer);
    ds4_err                 err;

    if (r->n_tokens <= a->talk.n_answer) return;
    const uint32_t n = r->n_tokens - a->talk.n_answer;
    if (ds4_talk_sampled(&a->talk, r->tokens + a->talk.n_answer, n, &err) != DS4_OK) {
        ds4_agent_error(a, &err);
        ds4_inbox_interrupt(a->inbox, true);
    }
    ds4_agent_tell_state(a, DS4_AGENT_WRITING);
}

static uint32_t answer_room(const ds4_agent *a)
{
    const uint32_t used = a->talk.tokens.n - a->talk.n_answer + ds4_agent_reserve(a);
    const uint32_t room = used < a->opt.n_ctx ? a->opt.n_ctx - used : 1;

    return room < a->opt.max_tokens ? room : a->opt.max_tokens;
}

static ds4_status begin_answer(ds4_agent *a, ds4_tokens *script, ds4_err *err)
{
    const ds4_vocab    *vocab = ds4_engine_vocab(a->opt.engine);
    const ds4_turn_text how = ds4_agent_text(a);
    const uint32_t      n_before = a->talk.n_answer;
    ds4_tokens          before = { 0 };
    ds4_str             prompt = { 0 };

    if (a->opt.prescribe) {
        ds4_vocab_decode(vocab, a->talk.tokens.ids, a->talk.tokens.n - n_before, 0, &prompt);
        const ds4_status st = a->opt.prescribe(
            a->opt.prescribe_ctx, (ds4_slice){ ds4_str_text(&prompt), prompt.n_bytes }, script, err);
        ds4_str_clear(&prompt);
        DS4_TRY(st);
    }
    const uint32_t         skip = script->n < n_before ? script->n : n_before;
    ds4_generation_options options = {
        .reply = { .vocab = vocab,
                   .n_vocab = ds4_engine_info(a->opt.engine)->n_vocab,
                   .sampling = a->opt.sampling,
                   .rng = &a->rng,
                   .max_tokens = answer_room(a),
                   .thinking = a->talk.thinking,
                   .tools = how.tools,
                   .n_tools = how.n_tools,
                   .piece = hand_out,
                   .piece_ctx = a },
        .choose = { .thinking_budget = a->opt.think_budget },
        .loop_tokens = a->opt.loop_tokens,
        .script = script->ids + (script->n > 0 ? skip : 0),
        .n_script = script->n - skip,
    };
    if (script->n == 0) options.script = NULL;
    DS4_TRY(ds4_generation_create(&options, &a->answer, err));
    /* Tokens that an earlier process sampled are copied, because the front may make the talk grow. */
    ds4_tokens_append(&before, a->talk.tokens.ids + a->talk.tokens.n - n_before, n_before);
    a->replays = n_before > 0;
    const ds4_status st = before.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for an answer")
                                        : ds4_generation_take(a->answer, before.ids, before.n, err);
    a->replays = false;
    ds4_tokens_clear(&before);
    return st;
}

/* A call that is not whole is no part of the context: the next turn would begin inside it. */
static ds4_status drop_half_call(ds4_agent *a, ds4_err *err)
{
    const ds4_vocab  *v = ds4_engine_vocab(a->opt.engine);
    const ds4_tokens *t = &a->talk.tokens;
    uint32_t          at = t->n - a->talk.n_answer;

    while (at < t->n && t->ids[at] != ds4_vocab_specials(v)->dsml) at++;
    if (at == t->n) return DS4_OK;
    /* The bracket before the marker, with the white space that one token may hold beside it. */
    if (at > t->n - a->talk.n_answer) {
        const ds4_slice bytes = ds4_vocab_token_bytes(v, t->ids[at - 1]);
        if (bytes.n_bytes > 0 && bytes.data[bytes.n_bytes - 1] == '<') at--;
    }
    return ds4_talk_drop(&a->talk, t->n - at, err);
}

static ds4_stop stop_of(const ds4_agent *a, ds4_finish finish)
{
    switch (finish) {
    case DS4_FINISH_LENGTH: return a->talk.n_answer < a->opt.max_tokens ? DS4_STOP_CONTEXT : DS4_STOP_LENGTH;
    case DS4_FINISH_CONTEXT: return DS4_STOP_CONTEXT;
    case DS4_FINISH_CANCELLED: return DS4_STOP_INTERRUPTED;
    case DS4_FINISH_LOOP: return DS4_STOP_LOOP;
    default: return DS4_STOP_DONE;
    }
}

/* The answer is over, for whatever reason: written down as a whole. */
static ds4_status end_answer(ds4_agent *a, ds4_err *err)
{
    const ds4_reply_result *r = ds4_generation_result(a->answer);

    keep_sampled(a);
    a->stop = stop_of(a, r->finish);
    if (r->finish != DS4_FINISH_END && r->finish != DS4_FINISH_CALLS) {
        /* Calls that were whole when the answer was cut are not run: what follows them is not known. */
        ds4_reply_result cut = *r;
        if (r->state == DS4_DSML_CALLS || r->n_calls > 0) DS4_TRY(drop_half_call(a, err));
        cut.n_calls = 0;
        return ds4_talk_answer(&a->talk, &cut, err);
    }
    return ds4_talk_answer(&a->talk, r, err);
}

static ds4_status write_answer(ds4_agent *a, ds4_err *err)
{
    ds4_tokens script = { 0 };
    ds4_err    failed = { .code = DS4_OK };

    ds4_agent_tell_state(a, DS4_AGENT_READING);
    ds4_status st = begin_answer(a, &script, err);
    if (st == DS4_OK && ds4_generation_result(a->answer)->finish == DS4_FINISH_NONE) {
        if (!ds4_agent_look_around(a)) {
            st = ds4_agent_take_prompt(a, &a->talk.tokens, err);
            if (st == DS4_OK) st = ds4_agent_sample(a, keep_sampled, err);
        }
    }
    if (st != DS4_OK && err) failed = *err;
    if (a->answer) {
        const ds4_status ended = ds4_generation_end(a->answer, DS4_FINISH_CANCELLED, err);
        if (ended == DS4_OK) {
            const ds4_status kept = end_answer(a, err);
            if (st == DS4_OK) st = kept;
        }
    }
    if (failed.code != DS4_OK && err) *err = failed;
    ds4_generation_free(a->answer);
    a->answer = NULL;
    ds4_tokens_clear(&script);
    return st;
}

/* ---- a prompt ------------------------------------------------------------------------------- */

static ds4_status make_prompt(ds4_agent *a, ds4_tokens *prompt, ds4_err *err)
{
    const ds4_turn_text how = ds4_agent_text(a);

    prompt->n = 0;
    return ds4_turn_prompt(&how, &a->talk, (ds4_slice){ ds4_str_text(&a->notes), a->notes.n_bytes },
                           a->compacted, prompt, err);
}

/* The message enters the context, which is compacted before it is full. */
static ds4_status open_answer(ds4_agent *a, ds4_err *err)
{
    ds4_tokens prompt = { 0 };
    ds4_status st = make_prompt(a, &prompt, err);

    a->compacted = false;
    if (st == DS4_OK && ds4_agent_is_full(a, prompt.n)) {
        st = ds4_agent_compact(a, err);
        a->compacted = st == DS4_OK;
        if (st == DS4_E_LIMIT) st = DS4_OK; /* it was as short as it can be */
        if (st == DS4_OK) st = make_prompt(a, &prompt, err);
    }
    a->compacted = false;
    if (st == DS4_OK && a->talk.tokens.n + prompt.n + DS4_AGENT_REPLY_LEAST > a->opt.n_ctx) {
        st = ds4_fail(err, DS4_E_LIMIT, "the context of %u tokens has no room for %u more and an answer",
                      a->opt.n_ctx, prompt.n);
    }
    if (st == DS4_OK) st = ds4_talk_tokens(&a->talk, &prompt, a->opt.thinking, err);
    ds4_tokens_clear(&prompt);
    return st;
}

/* ---- the turn ------------------------------------------------------------------------------- */

/* An answer that the context cut goes on behind a compaction, once. */
static ds4_status go_on_compacted(ds4_agent *a, ds4_err *err)
{
    static const char go_on[] = "The context was compacted. Go on where you stopped.";

    DS4_TRY(ds4_agent_compact(a, err));
    DS4_TRY(ds4_talk_user(&a->talk, 0, false, (ds4_slice){ go_on, sizeof go_on - 1 }, err));
    return DS4_OK;
}

static ds4_status advance(ds4_agent *a, bool *given_up, ds4_err *err)
{
    switch (a->talk.phase) {
    case DS4_TALK_PROMPTING: return open_answer(a, err);
    case DS4_TALK_ANSWERING:
        a->n_rounds++;
        DS4_TRY(write_answer(a, err));
        if (a->talk.phase == DS4_TALK_IDLE && a->stop == DS4_STOP_CONTEXT &&
            a->n_rounds < a->opt.max_rounds) {
            return go_on_compacted(a, err);
        }
        return DS4_OK;
    case DS4_TALK_CALLING:
        DS4_TRY(ds4_agent_calls(a, given_up, err));
        if (!*given_up && a->n_rounds >= a->opt.max_rounds) {
            ds4_agent_note(a, "the turn was ended after %u answers; /continue goes on", a->opt.max_rounds);
            *given_up = true;
            a->stop = DS4_STOP_CALLS;
        }
        return *given_up ? DS4_OK : open_answer(a, err);
    case DS4_TALK_IDLE: break;
    }
    return DS4_OK;
}

ds4_status ds4_agent_turn(ds4_agent *a, ds4_err *err)
{
    ds4_status st = DS4_OK;
    bool       given_up = false;

    a->n_rounds = 0;
    a->stop = DS4_STOP_DONE;
    while (st == DS4_OK && a->talk.phase != DS4_TALK_IDLE && !given_up) st = advance(a, &given_up, err);
    if (st == DS4_E_CANCELLED) {
        a->stop = DS4_STOP_INTERRUPTED;
        st = DS4_OK;
    } else if (st == DS4_E_LIMIT) {
        ds4_agent_error(a, err);
        a->stop = DS4_STOP_CONTEXT;
        st = DS4_OK;
    }
    if (st != DS4_OK) {
        a->stop = DS4_STOP_FAILED;
        ds4_agent_error(a, err);
    }
    ds4_err stopped;
    if (ds4_talk_stop(&a->talk, a->stop, &stopped) != DS4_OK && st == DS4_OK) {
        ds4_agent_error(a, &stopped);
        a->stop = DS4_STOP_FAILED;
    }
    ds4_inbox_calm(a->inbox);
    ds4_agent_tell_state(a, DS4_AGENT_IDLE);
    return st == DS4_E_DEVICE || st == DS4_E_NOMEM ? st : DS4_OK;
}
