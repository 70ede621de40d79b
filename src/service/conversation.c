/* conversation.c - see conversation.h. */
#include "service/conversation.h"

#include "base/clock.h"

#include <stdlib.h>

struct ds4_conversation {
    ds4_engine     *engine;
    ds4_seat        seat;
    ds4_protocol    protocol;
    ds4_history     history;
    ds4_speculation *speculation;   /* NULL after a failure: nothing is guessed */
    ds4_resume     *own_resume;     /* NULL: positions are kept elsewhere */
    ds4_generation *answer;         /* the last one; NULL before */
    ds4_turn_stats  stats;
};

static const ds4_reply_result no_result;

ds4_status ds4_conversation_create(ds4_engine *e, uint32_t n_ctx, ds4_protocol protocol,
                                   ds4_conversation **out, ds4_err *err)
{
    ds4_conversation        *c = calloc(1, sizeof *c);
    const ds4_resume_options in_memory = { .engine = e };

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "no memory for a conversation");
    c->engine = e;
    c->protocol = protocol;
    ds4_status st = ds4_resume_create(&in_memory, &c->own_resume, err);
    if (st == DS4_OK) st = ds4_seat_open(&c->seat, e, c->own_resume, n_ctx, err);
    if (st == DS4_OK) st = ds4_conversation_speculate(c, &(ds4_speculation_options){ 0 }, err);
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
    ds4_generation_free(c->answer);
    ds4_history_clear(&c->history);
    ds4_seat_close(&c->seat);
    ds4_speculation_free(c->speculation);
    ds4_resume_free(c->own_resume);
    free(c);
}

ds4_status ds4_conversation_speculate(ds4_conversation *c, const ds4_speculation_options *opt, ds4_err *err)
{
    ds4_speculation_options own = *opt;

    own.engine = c->engine;
    own.n_seats = 1;
    ds4_seat_set_drafter(&c->seat, NULL);
    ds4_speculation_free(c->speculation);
    c->speculation = NULL;
    DS4_TRY(ds4_speculation_create(&own, &c->speculation, err));
    ds4_drafter *drafter = NULL;
    DS4_TRY(ds4_speculation_drafter(c->speculation, 0, &drafter, err));
    ds4_seat_set_drafter(&c->seat, drafter);
    return DS4_OK;
}

void ds4_conversation_use(ds4_conversation *c, ds4_resume *resume)
{
    ds4_prompt_clear(&c->seat.prompt);
    ds4_resume_free(c->own_resume);
    c->own_resume = NULL;
    c->seat.resume = resume;
}

ds4_status ds4_conversation_resize(ds4_conversation *c, uint32_t n_ctx, ds4_err *err)
{
    return ds4_seat_renew(&c->seat, n_ctx, err);
}

uint32_t ds4_conversation_capacity(const ds4_conversation *c)
{
    return ds4_session_capacity(c->seat.session);
}

uint32_t ds4_conversation_pos(const ds4_conversation *c)
{
    return ds4_session_pos(c->seat.session);
}

ds4_history *ds4_conversation_history(ds4_conversation *c)
{
    return &c->history;
}

const ds4_reply_result *ds4_conversation_result(const ds4_conversation *c)
{
    return c->answer ? ds4_generation_result(c->answer) : &no_result;
}

const ds4_turn_stats *ds4_conversation_stats(const ds4_conversation *c)
{
    return &c->stats;
}

/* ---- a turn ------------------------------------------------------------------------------ */

static bool is_cancelled(const ds4_turn *turn)
{
    return turn->cancel && turn->cancel->stop;
}

/* Bring the session to what is known of this text. */
static ds4_status take_prompt(ds4_conversation *c, const ds4_segments *text, ds4_err *err)
{
    const uint64_t begin = ds4_now_ns();
    ds4_prompt     prompt = { 0 };
    ds4_status     st = ds4_prompt_begin(c->seat.resume, &prompt, text, NULL, &c->seat.session, 1, err);

    if (st == DS4_OK) st = ds4_seat_take(&c->seat, &prompt, err);
    ds4_prompt_clear(&prompt);
    DS4_TRY(st);
    c->stats.n_prompt = c->seat.prompt.tokens.n;
    c->stats.n_cached = c->seat.prompt.n_held;
    c->stats.resume_ns = ds4_now_ns() - begin;
    return DS4_OK;
}

static ds4_status begin_answer(ds4_conversation *c, const ds4_segments *text, bool plain,
                               const ds4_turn *turn, ds4_err *err)
{
    const ds4_reply_options how = {
        .vocab = ds4_engine_vocab(c->engine), .n_vocab = ds4_engine_info(c->engine)->n_vocab,
        .sampling = turn->sampling, .rng = turn->rng, .max_tokens = turn->max_tokens,
        .thinking = !plain && ds4_chat_ends_in_thinking(text), .plain = plain,
        .stops = turn->stops, .n_stops = turn->n_stops,
        .tools = turn->chat.tools, .n_tools = turn->chat.n_tools,
        .piece = turn->piece, .piece_ctx = turn->ctx,
    };
    const ds4_generation_options options = { .reply = how, .choose = turn->choose,
                                             .loop_tokens = turn->loop_tokens };

    return ds4_generation_create(&options, &c->answer, err);
}

/* One step of this seat alone, and what it tells of the prompt. */
static ds4_status step(ds4_conversation *c, const ds4_turn *turn, ds4_err *err)
{
    ds4_seat      *seat = &c->seat;
    const uint32_t most = ds4_engine_max_batch(c->engine);
    const bool     reads = seat->state == DS4_SEAT_READING;

    if (!reads && c->speculation) ds4_speculation_plan(c->speculation, &seat, 1, most - 1);
    const ds4_work work = ds4_seat_work(seat, most);
    const uint64_t begin = ds4_speculation_clock(c->speculation);
    DS4_TRY(ds4_engine_step(c->engine, &work, 1, err));
    const uint64_t took_ns = ds4_speculation_clock(c->speculation) - begin;
    if (reads && turn->progress) {
        turn->progress(turn->ctx, ds4_session_pos(seat->session), seat->prompt.tokens.n);
    }
    DS4_TRY(ds4_seat_done(seat, &work, is_cancelled(turn), err));
    while (ds4_seat_agrees(seat)) DS4_TRY(ds4_seat_next(seat, is_cancelled(turn), err));
    if (!reads && c->speculation) ds4_speculation_learn(c->speculation, seat->n_kept, true, took_ns);
    return DS4_OK;
}

/* The first token was chosen if the prompt has been read. */
static void note_first(ds4_conversation *c, uint64_t called_ns)
{
    if (!c->seat.writing_ns || c->stats.first_token_ns) return;
    c->stats.first_token_ns = ds4_now_ns() - called_ns;
}

static ds4_status take_turn(ds4_conversation *c, const ds4_turn *turn, uint64_t called_ns, ds4_err *err)
{
    ds4_seat      *seat = &c->seat;
    const uint64_t begin = ds4_now_ns();
    ds4_status     st = ds4_seat_begin(seat, c->answer, NULL, is_cancelled(turn), err);

    note_first(c, called_ns);
    while (st == DS4_OK && seat->state != DS4_SEAT_IDLE) {
        st = step(c, turn, err);
        note_first(c, called_ns);
    }
    const uint64_t end = ds4_now_ns(), writing = seat->writing_ns ? seat->writing_ns : end;
    c->stats.prefill_ns = c->stats.n_cached < c->stats.n_prompt ? writing - begin : 0;
    c->stats.generate_ns = end - writing;
    c->stats.n_generated = ds4_generation_result(c->answer)->n_tokens;
    c->stats.n_guessed = seat->n_guessed;
    c->stats.n_agreed = seat->n_right;
    if (st != DS4_OK) {
        ds4_seat_give_up(seat);
        return st;
    }
    ds4_seat_keep(seat);
    if (seat->writing_ns) return DS4_OK;
    return ds4_fail(err, DS4_E_CANCELLED, "stopped after %u of %u tokens of the prompt",
                    ds4_session_pos(seat->session), seat->prompt.tokens.n);
}

static ds4_status answer(ds4_conversation *c, const ds4_segments *text, bool plain,
                         const ds4_turn *turn, ds4_err *err)
{
    const uint64_t called_ns = ds4_now_ns();

    ds4_generation_free(c->answer);
    c->answer = NULL;
    c->stats = (ds4_turn_stats){ 0 };
    DS4_TRY(take_prompt(c, text, err));
    DS4_TRY(begin_answer(c, text, plain, turn, err));
    return take_turn(c, turn, called_ns, err);
}

/* The answer becomes part of the history, unless it is wholly empty. */
static ds4_status remember(ds4_conversation *c, ds4_err *err)
{
    const ds4_reply_result *r = ds4_generation_result(c->answer);
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
