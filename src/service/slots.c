/* slots.c - the worker's step: prompts are read in chunks, answers grow by a token. */
#include "service/scheduler_local.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

void ds4_slot_clear(ds4_slot *slot)
{
    ds4_way_clear(&slot->way);
    ds4_session_free(slot->session);
    free(slot->logits);
}

/* ---- events --------------------------------------------------------------------------------- */

static void put(const ds4_job *job, ds4_event event)
{
    event.tag = job->spec.tag;
    ds4_channel_put(job->spec.out, &event);
}

void ds4_slot_piece(void *ctx, const ds4_piece *piece)
{
    put(ctx, (ds4_event){ .kind = DS4_EVENT_PIECE,
                          .piece = piece->kind,
                          .i_call = piece->i_call,
                          .text = piece->text });
}

static void fail_job(ds4_scheduler *s, ds4_slot *slot, ds4_job *job, const ds4_err *err)
{
    job->err = *err;
    ds4_scheduler_note(s, "job", "failed: %s", err->text);
    ds4_job_over(s, slot, job);
}

/* ---- answering ------------------------------------------------------------------------------ */

/* End a reply from outside and let its job go. */
static void end_reply(ds4_scheduler *s, ds4_slot *slot, ds4_finish why)
{
    ds4_job *job = slot->job;
    ds4_err  err = { .code = DS4_OK };

    if (ds4_reply_end(job->reply, why, &err) != DS4_OK) {
        fail_job(s, slot, job, &err);
        return;
    }
    ds4_job_over(s, slot, job);
}

/* Repetition in the reasoning closes it once; anywhere else it ends the answer. Arguments
 * of calls may repeat themselves: files do. */
static bool loops(ds4_scheduler *s, ds4_slot *slot, int32_t token)
{
    ds4_job       *job = slot->job;
    ds4_dsml_state state = ds4_reply_get(job->reply)->state;

    if (!ds4_loop_watch_token(&job->watch, token, s->opt.loop_tokens)) return false;
    if (state == DS4_DSML_CALLS) return false;
    pthread_mutex_lock(&s->lock);
    s->stats.n_loops++;
    pthread_mutex_unlock(&s->lock);
    if (state == DS4_DSML_THINK && !job->closed_loop &&
        ds4_chooser_force(job->chooser, "</think>", NULL) == DS4_OK) {
        ds4_scheduler_note(s, "loop", "reasoning closed after %u tokens",
                           ds4_reply_get(job->reply)->n_tokens);
        job->closed_loop = true;
        memset(&job->watch, 0, sizeof job->watch);
        return false;
    }
    ds4_scheduler_note(s, "loop", "answer ended after %u tokens",
                       ds4_reply_get(job->reply)->n_tokens);
    return true;
}

static ds4_status only_one_call(ds4_job *job, ds4_err *err)
{
    if (!job->spec.single_call || job->single_closed) return DS4_OK;
    if (ds4_reply_get(job->reply)->n_calls == 0) return DS4_OK;
    job->single_closed = true;
    return ds4_chooser_force(job->chooser, "\n</｜DSML｜tool_calls>", err);
}

/* Sample from the slot's logits: the next token to evaluate, or the end of the job. */
static void sample(ds4_scheduler *s, ds4_slot *slot)
{
    ds4_job  *job = slot->job;
    ds4_err   err = { .code = DS4_OK };
    ds4_event recorded;

    slot->state = DS4_SLOT_DECODE;
    if (job->cancelled) {
        end_reply(s, slot, DS4_FINISH_CANCELLED);
        return;
    }
    if (ds4_reply_sample(job->reply, slot->logits, &slot->token, &err) != DS4_OK ||
        only_one_call(job, &err) != DS4_OK) {
        fail_job(s, slot, job, &err);
        return;
    }
    if (ds4_chooser_recorded(job->chooser, &recorded) &&
        ds4_reply_get(job->reply)->state == DS4_DSML_CONTENT &&
        !ds4_vocab_is_special(s->vocab, recorded.token.id))
        put(job, recorded);
    if (slot->token < 0) {
        ds4_job_over(s, slot, job);
    } else if (loops(s, slot, slot->token)) {
        end_reply(s, slot, DS4_FINISH_LOOP);
    } else if (ds4_session_pos(slot->session) == ds4_session_capacity(slot->session)) {
        end_reply(s, slot, DS4_FINISH_CONTEXT);
    }
}

/* The prompt is read. */
static void answer(ds4_scheduler *s, ds4_slot *slot)
{
    slot->job->answering_ns = ds4_now_ns();
    slot->job->stats.prefill_ns = slot->job->answering_ns - slot->job->begun_ns;
    if (slot->job->spec.max_tokens > 0) {
        sample(s, slot);
    } else {
        end_reply(s, slot, DS4_FINISH_LENGTH);
    }
}

/* Tell how likely the tokens behind those of a step were; the session's position is that of the last. */
static void tell_scores(ds4_scheduler *s, ds4_slot *slot, const ds4_work *work)
{
    const ds4_tokens *t = &slot->way.tokens;
    const uint32_t    first = ds4_session_pos(slot->session) - work->n_tokens;
    const float      *row = work->logits;

    for (uint32_t i = 0; i < work->n_tokens; i++, row += s->n_vocab) {
        ds4_event e = { .kind = DS4_EVENT_PROMPT_TOKEN };
        if (first + i + 1 == t->n) break;
        ds4_chooser_score(slot->job->chooser, row, t->ids[first + i + 1], &e);
        put(slot->job, e);
    }
    memcpy(slot->logits, work->logits + (size_t)(work->n_tokens - 1) * s->n_vocab,
           s->n_vocab * sizeof *slot->logits);
}

/* ---- beginning ------------------------------------------------------------------------------ */

void ds4_slot_begin(ds4_scheduler *s, ds4_job *job)
{
    ds4_slot *slot = NULL;
    ds4_err   err = { .code = DS4_OK };

    job->begun_ns = ds4_now_ns();
    job->stats.wait_ns = job->begun_ns - job->submitted_ns;
    if (ds4_slot_resume(s, &job->spec, &slot, &err) != DS4_OK) {
        fail_job(s, NULL, job, &err);
        return;
    }
    slot->job = job;
    slot->used = ++s->n_taken;
    job->stats.n_cached = slot->way.n_held;
    job->stats.n_prompt = slot->way.tokens.n;
    put(job, (ds4_event){ .kind = DS4_EVENT_STARTED,
                          .n_prompt = job->stats.n_prompt,
                          .n_cached = job->stats.n_cached });
    slot->state = DS4_SLOT_PREFILL;
    if (ds4_session_pos(slot->session) == slot->way.tokens.n) answer(s, slot);
}

/* ---- the step ------------------------------------------------------------------------------- */

/* Prompt tokens that one step may read. Beside answers that are being given it is as many
 * as take about step_ms. */
static uint32_t reading_room(const ds4_scheduler *s, uint32_t n_decoding)
{
    const uint32_t batch = ds4_engine_max_batch(s->opt.engine);
    uint32_t       most = s->opt.max_chunk && s->opt.max_chunk < batch ? s->opt.max_chunk : batch;

    if (n_decoding > 0 && s->token_ns > 0) {
        const double fits = s->opt.step_ms * 1e6 / s->token_ns;
        if (fits < most) most = fits < 8 ? 8 : (uint32_t)fits;
    }
    return most < batch - n_decoding ? most : batch - n_decoding;
}

static void add_work(ds4_scheduler *s, uint32_t *n, ds4_slot *slot, ds4_work work)
{
    work.session = slot->session;
    s->work_slot[*n] = (uint32_t)(slot - s->slot);
    s->work[(*n)++] = work;
}

/* A slot's next chunk: up to a position that is to be kept, and to the end of the prompt. */
static uint32_t chunk_of(const ds4_slot *slot, uint32_t room)
{
    const uint32_t pos = ds4_session_pos(slot->session);
    const uint32_t left = ds4_way_next(&slot->way, pos) - pos;

    if (slot->job->rows && room > DS4_SCORED_ROWS) room = DS4_SCORED_ROWS;
    return left < room ? left : room;
}

/* Everybody who reads gets an equal part; what short ones leave goes to the others, who
 * are visited in turn. */
static uint32_t collect(ds4_scheduler *s)
{
    uint32_t n = 0, n_reading = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        ds4_slot *slot = &s->slot[i];
        if (slot->state == DS4_SLOT_PREFILL) n_reading++;
        if (slot->state != DS4_SLOT_DECODE) continue;
        add_work(s, &n, slot,
                 (ds4_work){ .tokens = &slot->token, .n_tokens = 1, .logits = slot->logits });
    }
    uint32_t room = reading_room(s, n);
    s->turn = (s->turn + 1) % s->opt.n_slots;
    for (uint32_t i = 0; i < s->opt.n_slots && n_reading > 0 && room > 0; i++) {
        ds4_slot *slot = &s->slot[(s->turn + i) % s->opt.n_slots];
        if (slot->state != DS4_SLOT_PREFILL) continue;
        const uint32_t share = room / n_reading ? room / n_reading : 1;
        const uint32_t take = chunk_of(slot, share);
        const uint32_t pos = ds4_session_pos(slot->session);
        float *const   rows = slot->job->rows;
        const bool     last = pos + take == slot->way.tokens.n;
        add_work(s, &n, slot,
                 (ds4_work){ .tokens = slot->way.tokens.ids + pos,
                             .n_tokens = take,
                             .logits = rows ? rows : last ? slot->logits : NULL,
                             .all_logits = rows != NULL });
        room -= take;
        n_reading--;
    }
    return n;
}

/* What one piece of work has achieved. */
static void advance(ds4_scheduler *s, ds4_slot *slot, const ds4_work *work)
{
    ds4_job *job = slot->job;

    if (work->logits) slot->logits_pos = ds4_session_pos(slot->session);
    if (slot->state == DS4_SLOT_DECODE) {
        ds4_resume_sampled(s->resume, slot->session);
        sample(s, slot);
        return;
    }
    if (job->rows) tell_scores(s, slot, work);
    ds4_way_reached(s->resume, &slot->way, slot->session);
    const uint32_t pos = ds4_session_pos(slot->session);
    if (pos < slot->way.tokens.n) {
        put(job, (ds4_event){
                     .kind = DS4_EVENT_PROGRESS, .n_prompt = job->stats.n_prompt, .n_done = pos });
        if (job->cancelled) end_reply(s, slot, DS4_FINISH_CANCELLED);
        return;
    }
    answer(s, slot);
}

/* A session that failed may be damaged: it is replaced by a new one. */
static void replace_session(ds4_scheduler *s, ds4_slot *slot)
{
    ds4_session *fresh = NULL;

    slot->logits_pos = 0;
    if (ds4_session_create(s->opt.engine, s->opt.n_ctx, &fresh, NULL) == DS4_OK) {
        ds4_session_free(slot->session);
        slot->session = fresh;
    } else {
        ds4_session_clear(slot->session);
    }
}

static void give_up(ds4_scheduler *s, ds4_slot *slot, const ds4_err *err)
{
    ds4_job *job = slot->job;

    replace_session(s, slot);
    fail_job(s, slot, job, err);
}

/* A step of several was refused and changed nothing: each is done alone, so that only those
 * at fault fail. One that failed halfway has damaged all of its sessions. */
static void step_failed(ds4_scheduler *s, uint32_t n, const ds4_err *reason)
{
    const bool was_refused = reason->code == DS4_E_ARG || reason->code == DS4_E_LIMIT;

    for (uint32_t i = 0; i < n; i++) {
        ds4_slot *slot = &s->slot[s->work_slot[i]];
        ds4_err   err = *reason;
        if (was_refused && ds4_engine_step(s->opt.engine, &s->work[i], 1, &err) == DS4_OK) {
            advance(s, slot, &s->work[i]);
        } else {
            give_up(s, slot, &err);
        }
    }
}

static void count_speed(ds4_speed *speed, uint64_t now_ns, uint32_t n)
{
    const uint64_t second = now_ns / 1000000000u;
    const uint32_t i = (uint32_t)(second % DS4_SPEED_SECONDS);

    if (speed->second[i] != second) speed->n[i] = 0;
    speed->second[i] = second;
    speed->n[i] += n;
}

static void account(ds4_scheduler *s, uint32_t n, uint64_t begin_ns, uint64_t end_ns)
{
    const uint64_t took_ns = end_ns - begin_ns;
    uint32_t       n_reading = 0, n_decoding = 0;

    for (uint32_t i = 0; i < n; i++) {
        const bool decodes = s->slot[s->work_slot[i]].state == DS4_SLOT_DECODE;
        n_decoding += decodes ? 1 : 0;
        n_reading += decodes ? 0 : s->work[i].n_tokens;
    }
    const double each = (double)took_ns / (n_reading + n_decoding);
    if (n_reading > 0) s->token_ns = s->token_ns > 0 ? 0.75 * s->token_ns + 0.25 * each : each;
    pthread_mutex_lock(&s->lock);
    s->stats.n_steps++;
    s->stats.n_prefilled_tokens += n_reading;
    s->stats.prefill_ns += (uint64_t)(each * n_reading);
    s->stats.decode_ns += (uint64_t)(each * n_decoding);
    if (s->stepped_ns) s->stats.between_ns += begin_ns - s->stepped_ns;
    count_speed(&s->prefill_speed, end_ns, n_reading);
    count_speed(&s->decode_speed, end_ns, n_decoding);
    pthread_mutex_unlock(&s->lock);
    s->stepped_ns = end_ns;
}

bool ds4_slots_step(ds4_scheduler *s)
{
    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        ds4_slot *slot = &s->slot[i];
        if (slot->state != DS4_SLOT_IDLE && slot->job->cancelled) {
            end_reply(s, slot, DS4_FINISH_CANCELLED);
        }
    }
    const uint32_t n = collect(s);
    if (n == 0) {
        s->stepped_ns = 0;
        return false;
    }
    const uint64_t begin = ds4_now_ns();
    ds4_err        err = { .code = DS4_OK };
    if (ds4_engine_step(s->opt.engine, s->work, n, &err) != DS4_OK) {
        s->stepped_ns = 0;
        step_failed(s, n, &err);
        return true;
    }
    account(s, n, begin, ds4_now_ns());
    for (uint32_t i = 0; i < n; i++) advance(s, &s->slot[s->work_slot[i]], &s->work[i]);
    return true;
}
