/* conversation.c - see conversation.h. */
#include "service/conversation.h"

#include "base/clock.h"

#include <stdlib.h>

struct ds4_conversation {
    ds4_engine    *engine;
    ds4_session   *session;
    ds4_protocol   protocol;
    ds4_history    history;
    ds4_resume    *resume;
    bool           owns_resume;
    ds4_way        way;             /* of the last prompt */
    float         *logits; /* [n_vocab] of the session's last token, if logits_pos is its length */
    uint32_t       logits_pos;      /* 0: none */
    ds4_reply     *reply;           /* the last one; NULL before */
    ds4_turn_stats stats;
};

static const ds4_reply_result no_result;

ds4_status ds4_conversation_create(ds4_engine *e, uint32_t n_ctx, ds4_protocol protocol,
                                   ds4_conversation **out, ds4_err *err)
{
    ds4_conversation *c = calloc(1, sizeof *c);

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "no memory for a conversation");
    c->engine = e;
    c->protocol = protocol;
    c->logits = malloc((size_t)ds4_engine_info(e)->n_vocab * sizeof *c->logits);
    const ds4_resume_options in_memory = { .engine = e };
    ds4_status               st =
        c->logits ? ds4_session_create(e, n_ctx, &c->session, err)
                  : ds4_fail(err, DS4_E_NOMEM, "no memory for the logits of a conversation");
    if (st == DS4_OK) st = ds4_resume_create(&in_memory, &c->resume, err);
    c->owns_resume = st == DS4_OK;
    if (st != DS4_OK) {
        ds4_conversation_free(c);
        return st;
    }
    *out = c;
    return DS4_OK;
}

void ds4_conversation_free(ds4_conversation *c)
{
    if (!c) return;
    ds4_reply_free(c->reply);
    ds4_history_clear(&c->history);
    ds4_way_clear(&c->way);
    ds4_session_free(c->session);
    if (c->owns_resume) ds4_resume_free(c->resume);
    free(c->logits);
    free(c);
}

void ds4_conversation_use(ds4_conversation *c, ds4_resume *resume)
{
    ds4_way_clear(&c->way);
    if (c->owns_resume) ds4_resume_free(c->resume);
    c->resume = resume;
    c->owns_resume = false;
}

ds4_status ds4_conversation_resize(ds4_conversation *c, uint32_t n_ctx, ds4_err *err)
{
    ds4_session *session = NULL;

    DS4_TRY(ds4_session_create(c->engine, n_ctx, &session, err));
    ds4_kept_add(ds4_resume_kept(c->resume), c->session, DS4_KEPT_TURN);
    ds4_session_free(c->session);
    c->session = session;
    c->logits_pos = 0;
    return DS4_OK;
}

uint32_t ds4_conversation_capacity(const ds4_conversation *c)
{
    return ds4_session_capacity(c->session);
}

uint32_t ds4_conversation_pos(const ds4_conversation *c)
{
    return ds4_session_pos(c->session);
}

ds4_history *ds4_conversation_history(ds4_conversation *c)
{
    return &c->history;
}

void ds4_conversation_clear(ds4_conversation *c)
{
    ds4_history_truncate(&c->history, 0);
    if (c->owns_resume) ds4_kept_clear(ds4_resume_kept(c->resume));
    ds4_session_clear(c->session);
    c->logits_pos = 0;
}

const ds4_reply_result *ds4_conversation_result(const ds4_conversation *c)
{
    return c->reply ? ds4_reply_get(c->reply) : &no_result;
}

const ds4_turn_stats *ds4_conversation_stats(const ds4_conversation *c)
{
    return &c->stats;
}

/* ---- the prompt ------------------------------------------------------------------------ */

/* Make the session hold exactly this text, with the logits of its last token. */
static ds4_status hold(ds4_conversation *c, const ds4_segments *text, const ds4_turn *turn,
                       ds4_err *err)
{
    ds4_way          *way = &c->way;
    const bool        has_logits = c->logits_pos > 0 && c->logits_pos == ds4_session_pos(c->session);
    const ds4_prefill prefill = { .logits = c->logits, .cancel = turn->cancel,
                                  .progress = turn->progress, .progress_ctx = turn->ctx };
    const uint64_t    begin = ds4_now_ns();

    ds4_way_clear(way);
    DS4_TRY(ds4_way_begin(c->resume, way, text, NULL, &c->session, 1, err));
    DS4_TRY(ds4_way_bring(c->resume, way, c->session, has_logits, err));
    c->stats.n_prompt = way->tokens.n;
    c->stats.n_cached = way->n_held;
    c->stats.resume_ns = ds4_now_ns() - begin;
    if (way->n_held == way->tokens.n) return DS4_OK;

    const uint64_t evaluating = ds4_now_ns();
    c->logits_pos = 0;
    const ds4_status st = ds4_way_prefill(c->resume, way, c->session, &prefill, err);
    c->stats.prefill_ns = ds4_now_ns() - evaluating;
    if (st == DS4_OK) c->logits_pos = ds4_session_pos(c->session);
    return st;
}

/* ---- the answer ------------------------------------------------------------------------ */

static ds4_status step(ds4_conversation *c, int32_t token, ds4_err *err)
{
    const ds4_work work = {
        .session = c->session, .tokens = &token, .n_tokens = 1, .logits = c->logits
    };

    c->logits_pos = 0;
    DS4_TRY(ds4_engine_step(c->engine, &work, 1, err));
    c->logits_pos = ds4_session_pos(c->session);
    ds4_resume_sampled(c->resume, c->session);
    return DS4_OK;
}

static ds4_status generate(ds4_conversation *c, const ds4_turn *turn, uint64_t begin, ds4_err *err)
{
    int32_t token = -1;

    for (;;) {
        if (turn->cancel && turn->cancel->stop) {
            return ds4_reply_end(c->reply, DS4_FINISH_CANCELLED, err);
        }
        DS4_TRY(ds4_reply_sample(c->reply, c->logits, &token, err));
        if (c->stats.first_token_ns == 0) c->stats.first_token_ns = ds4_now_ns() - begin;
        if (token < 0) return DS4_OK;
        if (ds4_session_pos(c->session) == ds4_session_capacity(c->session)) {
            return ds4_reply_end(c->reply, DS4_FINISH_CONTEXT, err);
        }
        DS4_TRY(step(c, token, err));
    }
}

static ds4_status answer(ds4_conversation *c, const ds4_segments *text, bool plain,
                         const ds4_turn *turn, ds4_err *err)
{
    const uint64_t          begin = ds4_now_ns();
    const ds4_reply_options how = {
        .vocab = ds4_engine_vocab(c->engine), .n_vocab = ds4_engine_info(c->engine)->n_vocab,
        .sampling = turn->sampling, .rng = turn->rng, .max_tokens = turn->max_tokens,
        .thinking = !plain && ds4_chat_ends_in_thinking(text), .plain = plain,
        .stops = turn->stops, .n_stops = turn->n_stops,
        .tools = turn->chat.tools, .n_tools = turn->chat.n_tools,
        .piece = turn->piece, .piece_ctx = turn->ctx,
    };

    ds4_reply_free(c->reply);
    c->reply = NULL;
    c->stats = (ds4_turn_stats){ 0 };
    DS4_TRY(hold(c, text, turn, err));
    DS4_TRY(ds4_reply_create(&how, &c->reply, err));

    const uint64_t   generating = ds4_now_ns();
    const ds4_status st = generate(c, turn, begin, err);
    c->stats.generate_ns = ds4_now_ns() - generating;
    c->stats.n_generated = ds4_reply_get(c->reply)->n_tokens;
    if (st == DS4_OK) ds4_resume_turn_over(c->resume, &c->way, c->session);
    return st;
}

/* The answer becomes part of the history, unless it is wholly empty. */
static ds4_status remember(ds4_conversation *c, ds4_err *err)
{
    const ds4_reply_result *r = ds4_reply_get(c->reply);
    ds4_message             m = { .role = DS4_ROLE_ASSISTANT,
                                  .content = r->content,
                                  .reasoning = r->reasoning,
                                  .raw_calls = r->raw_calls };
    ds4_call               *calls = NULL;

    if (r->n_tokens == 0 && r->finish != DS4_FINISH_END) return DS4_OK;
    if (r->n_calls > 0) {
        calls = calloc(r->n_calls, sizeof *calls);
        if (!calls) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u tool calls", r->n_calls);
    }
    for (uint32_t i = 0; i < r->n_calls; i++) {
        calls[i].name = r->calls[i].name;
        calls[i].arguments = r->calls[i].arguments;
    }
    m.calls = calls;
    m.n_calls = r->n_calls;
    const ds4_status st = ds4_history_add(&c->history, &m, err);
    free(calls);
    return st;
}

static ds4_status render(const ds4_conversation *c, const ds4_chat_options *chat, ds4_segments *out,
                         ds4_err *err)
{
    ds4_chat_options options = *chat;

    options.protocol = c->protocol;
    return ds4_chat_render(c->history.messages, c->history.n, &options, out, err);
}

ds4_status ds4_conversation_reply(ds4_conversation *c, const ds4_turn *turn, ds4_err *err)
{
    ds4_segments text = { 0 };
    ds4_status   st = render(c, &turn->chat, &text, err);

    if (st == DS4_OK) st = answer(c, &text, false, turn, err);
    if (st == DS4_OK) st = remember(c, err);
    ds4_segments_clear(&text);
    return st;
}

ds4_status ds4_conversation_complete(ds4_conversation *c, const ds4_segments *text,
                                     const ds4_turn *turn, ds4_err *err)
{
    return answer(c, text, true, turn, err);
}

ds4_status ds4_conversation_measure(const ds4_conversation *c, const ds4_chat_options *chat,
                                    uint32_t *n_tokens, ds4_err *err)
{
    ds4_segments text = { 0 };
    ds4_tokens   tokens = { 0 };
    ds4_status   st = render(c, chat, &text, err);

    if (st == DS4_OK) st = ds4_segments_encode(ds4_engine_vocab(c->engine), &text, &tokens, err);
    if (st == DS4_OK) *n_tokens = tokens.n;
    ds4_tokens_clear(&tokens);
    ds4_segments_clear(&text);
    return st;
}
