/* seat.c - see seat.h. */
#include "service/seat.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

ds4_status ds4_seat_open(ds4_seat *seat, ds4_engine *e, ds4_resume *resume, uint32_t n_ctx, ds4_err *err)
{
    *seat = (ds4_seat){ .engine = e, .resume = resume };
    seat->logits = malloc((size_t)ds4_engine_info(e)->n_vocab * sizeof *seat->logits);
    if (!seat->logits) return ds4_fail(err, DS4_E_NOMEM, "no memory for the logits of a session");
    return ds4_session_create(e, n_ctx, &seat->session, err);
}

void ds4_seat_close(ds4_seat *seat)
{
    ds4_prompt_clear(&seat->prompt);
    ds4_session_free(seat->session);
    free(seat->logits);
    ds4_seat_set_drafter(seat, NULL);
    *seat = (ds4_seat){ 0 };
}

void ds4_seat_set_drafter(ds4_seat *seat, ds4_drafter *drafter)
{
    if (seat->drafter) seat->drafter->kind->free(seat->drafter);
    seat->drafter = drafter;
    seat->has_texts = false;
}

/* The session's content belongs to the reader of its last prompt. */
static void leave(ds4_seat *seat)
{
    ds4_resume_read_for(seat->resume, &seat->prompt.reader);
    ds4_kept_add(ds4_resume_kept(seat->resume), seat->session, DS4_KEPT_TURN);
}

/* Texts of one reader are no guesses for another: how fast they come true would tell of them. */
static void new_reader(ds4_seat *seat, const ds4_kv_key *reader)
{
    if (ds4_kv_key_eq(&seat->prompt.reader, reader)) return;
    if (seat->drafter) seat->drafter->kind->forget(seat->drafter);
    seat->has_texts = false;
}

enum {
    MAX_TEXTS = 4,              /* earlier conversations that a new drafter is told of */
    MAX_TEXT_TOKENS = 8192,     /* of each, its end */
};

/* A drafter that knows nothing is told what the reader's last conversations were, on whichever seat. */
static void tell_texts(ds4_seat *seat)
{
    const ds4_prompt *prompt = &seat->prompt;
    const ds4_kept   *kept = ds4_resume_kept(seat->resume);
    uint64_t          used = UINT64_MAX;

    if (!seat->drafter || seat->has_texts) return;
    for (int i = 0; i < MAX_TEXTS; i++) {
        const ds4_snapshot *p = ds4_kept_before(kept, &prompt->reader, &used);
        if (!p) break;
        const uint32_t n = ds4_snapshot_pos(p), n_end = n < MAX_TEXT_TOKENS ? n : MAX_TEXT_TOKENS;
        const int32_t *tokens = ds4_snapshot_tokens(p);
        if (n <= prompt->tokens.n && !memcmp(tokens, prompt->tokens.ids, n * sizeof *tokens)) continue;
        seat->drafter->kind->remember(seat->drafter, tokens + (n - n_end), n_end);
    }
    seat->has_texts = true;
}

ds4_status ds4_seat_renew(ds4_seat *seat, uint32_t n_ctx, ds4_err *err)
{
    ds4_session *fresh = NULL;

    DS4_TRY(ds4_session_create(seat->engine, n_ctx, &fresh, err));
    leave(seat);
    ds4_session_free(seat->session);
    seat->session = fresh;
    seat->logits_pos = 0;
    return DS4_OK;
}

void ds4_seat_clear(ds4_seat *seat)
{
    ds4_session_clear(seat->session);
    seat->logits_pos = 0;
}

bool ds4_seat_has_logits(const ds4_seat *seat)
{
    return seat->logits_pos > 0 && seat->logits_pos == ds4_session_pos(seat->session);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

ds4_status ds4_seat_take(ds4_seat *seat, ds4_prompt *prompt, ds4_err *err)
{
    assert(seat->state == DS4_SEAT_IDLE);
    if (!ds4_kv_key_eq(&seat->prompt.reader, &prompt->reader)) {
        leave(seat);
        ds4_seat_clear(seat);
        new_reader(seat, &prompt->reader);
    }
    const ds4_status st = ds4_prompt_bring(seat->resume, prompt, seat->session, ds4_seat_has_logits(seat),
                                           err);
    if (!ds4_seat_has_logits(seat)) seat->logits_pos = 0;
    if (st != DS4_OK) return st;
    ds4_prompt_clear(&seat->prompt);
    seat->prompt = *prompt;
    *prompt = (ds4_prompt){ .pin = { .fd = -1 } };
    tell_texts(seat);
    return DS4_OK;
}

ds4_status ds4_seat_take_anew(ds4_seat *seat, const ds4_tokens *tokens, ds4_err *err)
{
    ds4_prompt prompt = { .pin = { .fd = -1 } };

    assert(seat->state == DS4_SEAT_IDLE);
    ds4_tokens_append(&prompt.tokens, tokens->ids, tokens->n);
    if (prompt.tokens.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", tokens->n);
    leave(seat);
    ds4_seat_clear(seat);
    new_reader(seat, &prompt.reader);
    ds4_prompt_clear(&seat->prompt);
    seat->prompt = prompt;
    return DS4_OK;
}

/* The answer has no more of what the step evaluated: the rest is taken back, and the session is
 * where a step for each token would have brought it. */
static ds4_status settle(ds4_seat *seat, ds4_err *err)
{
    const uint32_t n = seat->n_agreed, n_wrong = seat->n_run - n;
    const size_t   n_vocab = ds4_engine_info(seat->engine)->n_vocab;

    if (n == 0) return DS4_OK;
    seat->n_kept = n;
    seat->n_guessed += seat->n_run - 1;
    seat->n_right += n - 1;
    if (seat->n_run > 1) memcpy(seat->logits, seat->run_rows + (n - 1) * n_vocab, n_vocab * sizeof(float));
    seat->n_run = seat->n_agreed = 0;
    seat->logits_pos = 0;
    DS4_TRY(ds4_session_rewind(seat->session, n_wrong, err));
    seat->logits_pos = ds4_session_pos(seat->session);
    ds4_resume_sampled(seat->resume, &seat->prompt, seat->session);
    return DS4_OK;
}

static ds4_status end(ds4_seat *seat, ds4_finish why, ds4_err *err)
{
    seat->state = DS4_SEAT_IDLE;
    DS4_TRY(settle(seat, err));
    return ds4_generation_end(seat->answer, why, err);
}

/* The next token, from the logits of the last one. */
static ds4_status choose(ds4_seat *seat, ds4_err *err)
{
    const size_t n_vocab = ds4_engine_info(seat->engine)->n_vocab;
    const float *logits = seat->n_run > 1 ? seat->run_rows + (seat->n_agreed - 1) * n_vocab : seat->logits;
    int32_t      token = -1;
    ds4_status   st = ds4_generation_next(seat->answer, logits, &token, err);

    if (st == DS4_OK && token >= 0 && seat->n_agreed < seat->n_run && seat->run[seat->n_agreed] == token) {
        seat->n_agreed++;
        return DS4_OK;
    }
    const ds4_status settled = settle(seat, st == DS4_OK ? err : NULL);
    if (st == DS4_OK) st = settled;
    seat->state = st == DS4_OK && token >= 0 ? DS4_SEAT_WRITING : DS4_SEAT_IDLE;
    if (seat->state == DS4_SEAT_IDLE) return st;
    seat->run[0] = token;
    seat->n_run = 1;
    if (ds4_session_pos(seat->session) < ds4_session_capacity(seat->session)) return DS4_OK;
    return end(seat, DS4_FINISH_CONTEXT, err);
}

static ds4_status go_on(ds4_seat *seat, bool cancelled, ds4_err *err)
{
    if (seat->state == DS4_SEAT_READING && ds4_session_pos(seat->session) == seat->prompt.tokens.n) {
        seat->state = DS4_SEAT_WRITING;
        seat->writing_ns = ds4_now_ns();
    }
    if (cancelled) return end(seat, DS4_FINISH_CANCELLED, err);
    return seat->state == DS4_SEAT_READING ? DS4_OK : choose(seat, err);
}

ds4_status ds4_seat_begin(ds4_seat *seat, ds4_generation *answer, float *rows, bool cancelled, ds4_err *err)
{
    assert(seat->state == DS4_SEAT_IDLE && seat->prompt.tokens.n > 0);
    seat->answer = answer;
    seat->rows = rows;
    seat->writing_ns = 0;
    seat->n_run = seat->n_agreed = seat->n_guessed = seat->n_right = 0;
    seat->state = DS4_SEAT_READING;
    return go_on(seat, cancelled, err);
}

/* Tokens of the prompt's next chunk: it ends with the prompt, where a position is to be kept, or after
 * `most` tokens, and inside the prompt only where the device lets it be cut. */
static uint32_t chunk_of(const ds4_seat *seat, uint32_t pos, uint32_t most)
{
    /* Logits of all tokens are wanted of short steps, which have the right to differ. */
    const uint32_t cut = seat->rows ? 1 : ds4_engine_cut(seat->engine);
    const uint32_t room = seat->rows && most > DS4_SEAT_ROWS ? DS4_SEAT_ROWS : most;
    const uint32_t left = ds4_prompt_next(&seat->prompt, pos, cut) - pos, n = left < room ? left : room;
    const uint32_t over = (pos + n) % cut;

    return pos + n == seat->prompt.tokens.n || over >= n ? n : n - over;
}

ds4_work ds4_seat_work(ds4_seat *seat, uint32_t most)
{
    const ds4_prompt *prompt = &seat->prompt;
    const uint32_t    pos = ds4_session_pos(seat->session);

    assert(seat->state != DS4_SEAT_IDLE);
    if (seat->state == DS4_SEAT_WRITING) {
        const bool guesses = seat->n_run > 1;
        seat->n_kept = 0;
        return (ds4_work){ .session = seat->session, .tokens = seat->run, .n_tokens = seat->n_run,
                           .logits = guesses ? seat->run_rows : seat->logits, .all_logits = guesses,
                           .decode = true };
    }
    const uint32_t n = chunk_of(seat, pos, most);
    float         *last = pos + n == prompt->tokens.n ? seat->logits : NULL;
    return (ds4_work){ .session = seat->session, .tokens = prompt->tokens.ids + pos, .n_tokens = n,
                       .logits = seat->rows ? seat->rows : last, .all_logits = seat->rows != NULL };
}

ds4_status ds4_seat_done(ds4_seat *seat, const ds4_work *work, bool cancelled, ds4_err *err)
{
    const size_t n_vocab = ds4_engine_info(seat->engine)->n_vocab;

    if (seat->state == DS4_SEAT_WRITING) {
        seat->n_agreed = 1;
        return go_on(seat, cancelled, err);
    }
    seat->logits_pos = work->logits ? ds4_session_pos(seat->session) : 0;
    if (work->all_logits) {
        memcpy(seat->logits, work->logits + (work->n_tokens - 1) * n_vocab, n_vocab * sizeof(float));
    }
    ds4_prompt_reached(seat->resume, &seat->prompt, seat->session);
    return go_on(seat, cancelled, err);
}

bool ds4_seat_agrees(const ds4_seat *seat)
{
    return seat->state == DS4_SEAT_WRITING && seat->n_agreed > 0;
}

ds4_status ds4_seat_next(ds4_seat *seat, bool cancelled, ds4_err *err)
{
    assert(ds4_seat_agrees(seat));
    return go_on(seat, cancelled, err);
}

/* ---- guesses ----------------------------------------------------------------------------------- */

/* Guesses that can be of use: a step ends where a position is kept, with the context, and before the
 * last token that the answer may have. */
static uint32_t room_for_guesses(const ds4_seat *seat)
{
    const uint32_t pos = ds4_session_pos(seat->session), left = ds4_generation_left(seat->answer);
    const uint32_t even = DS4_EVEN - 1 - pos % DS4_EVEN;
    const uint32_t full = ds4_session_capacity(seat->session) - pos - 1;
    uint32_t       room = left > 0 ? left - 1 : 0;

    if (room > even) room = even;
    return room < full ? room : full;
}

const ds4_draft *ds4_seat_draft(ds4_seat *seat, uint32_t most, bool compute)
{
    const ds4_drafter_kind *kind = seat->drafter ? seat->drafter->kind : NULL;
    const uint32_t          room = room_for_guesses(seat);
    ds4_draft              *draft = &seat->draft;

    assert(seat->state == DS4_SEAT_WRITING && seat->n_run >= 1);
    draft->n = 0;
    draft->is_computed = false;
    if (!kind) return draft;
    kind->follow(seat->drafter, ds4_session_tokens(seat->session), ds4_session_pos(seat->session),
                 seat->run[0]);
    if (most > room) most = room;
    if (most > DS4_DRAFT_TOKENS) most = DS4_DRAFT_TOKENS;
    if (most == 0) return draft;
    draft->n = ds4_generation_foretell(seat->answer, draft->token, most);
    for (uint32_t i = 0; i < draft->n; i++) draft->chance[i] = 1;
    if (draft->n > 0) return draft;
    kind->propose(seat->drafter, compute ? seat->session : NULL, most, draft);
    for (uint32_t i = 0; i < draft->n; i++) {
        const int32_t token = draft->token[i];
        if (token < 0 || (uint32_t)token >= ds4_engine_info(seat->engine)->n_vocab) draft->n = i;
    }
    draft->n = ds4_generation_screen(seat->answer, draft->token, draft->n);
    return draft;
}

void ds4_seat_use_draft(ds4_seat *seat, uint32_t n, float *rows)
{
    assert(n > 0 && n <= seat->draft.n);
    memcpy(seat->run + 1, seat->draft.token, n * sizeof *seat->run);
    seat->n_run = 1 + n;
    seat->run_rows = rows;
}

ds4_status ds4_seat_end(ds4_seat *seat, ds4_finish why, ds4_err *err)
{
    return seat->state == DS4_SEAT_IDLE ? DS4_OK : end(seat, why, err);
}

void ds4_seat_give_up(ds4_seat *seat)
{
    seat->state = DS4_SEAT_IDLE;
    seat->n_run = seat->n_agreed = 0;
    seat->logits_pos = 0;
}

void ds4_seat_keep(ds4_seat *seat)
{
    if (ds4_session_pos(seat->session) < seat->prompt.tokens.n) {
        ds4_prompt_stopped(seat->resume, &seat->prompt, seat->session);
    } else {
        ds4_resume_turn_over(seat->resume, &seat->prompt, seat->session);
    }
}
