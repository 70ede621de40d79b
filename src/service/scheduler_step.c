/* scheduler_step.c - the worker's step: prompts are read in chunks, answers grow by a token. */
#include "service/scheduler_local.h"

#include "base/clock.h"

/* ---- events --------------------------------------------------------------------------------- */

static void put(const ds4_job *job, ds4_event event)
{
    event.tag = job->spec.tag;
    ds4_channel_put(job->spec.out, &event);
}

void ds4_job_piece(void *ctx, const ds4_piece *piece)
{
    put(ctx, (ds4_event){ .kind = DS4_EVENT_PIECE,
                          .piece = piece->kind,
                          .i_call = piece->i_call,
                          .text = piece->text });
}

static void fail_job(ds4_scheduler *s, ds4_job_seat *at, ds4_job *job, const ds4_err *err)
{
    job->err = *err;
    ds4_scheduler_note(s, "job", "failed: %s", err->text);
    ds4_job_over(s, at, job);
}

static void tell_loop(ds4_scheduler *s, const ds4_job *job)
{
    const ds4_loop_end what = ds4_generation_loop(job->answer);
    const uint32_t     n = ds4_generation_result(job->answer)->n_tokens;

    if (what == DS4_LOOP_NONE) return;
    pthread_mutex_lock(&s->lock);
    s->stats.n_loops++;
    pthread_mutex_unlock(&s->lock);
    ds4_scheduler_note(s, "loop", what == DS4_LOOP_CLOSED ? "reasoning closed after %u tokens"
                                                          : "answer ended after %u tokens", n);
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* Tell of the token that the seat has chosen. */
static void tell_token(ds4_scheduler *s, const ds4_job_seat *at)
{
    const ds4_job *job = at->job;
    ds4_event      recorded;

    if (!at->seat.writing_ns || job->cancelled) return;
    tell_loop(s, job);
    if (ds4_generation_recorded(job->answer, &recorded)) put(job, recorded);
}

/* The seat has gone on, or `st` says why not: tell of it, and let the job go when it is over. */
static void went_on(ds4_scheduler *s, ds4_job_seat *at, ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) {
        fail_job(s, at, at->job, err);
        return;
    }
    tell_token(s, at);
    if (at->seat.state == DS4_SEAT_IDLE) ds4_job_over(s, at, at->job);
}

void ds4_job_begin(ds4_scheduler *s, ds4_job *job)
{
    ds4_job_seat *at = NULL;
    ds4_err       err = { .code = DS4_OK };

    job->begun_ns = ds4_now_ns();
    job->stats.wait_ns = job->begun_ns - job->submitted_ns;
    if (ds4_seat_choose(s, &job->spec, &at, &err) != DS4_OK) {
        fail_job(s, NULL, job, &err);
        return;
    }
    at->job = job;
    at->used = ++s->n_taken;
    job->stats.n_cached = at->seat.prompt.n_held;
    job->stats.n_prompt = at->seat.prompt.tokens.n;
    put(job, (ds4_event){ .kind = DS4_EVENT_STARTED,
                          .n_prompt = job->stats.n_prompt,
                          .n_cached = job->stats.n_cached });
    const ds4_status st = ds4_seat_begin(&at->seat, job->answer, job->rows, job->cancelled, &err);
    went_on(s, at, st, &err);
}

/* Tell how likely the tokens behind those of a step were; the session's position is that of
 * the last. */
static void tell_scores(const ds4_scheduler *s, const ds4_job_seat *at, const ds4_work *work)
{
    const ds4_tokens *t = &at->seat.prompt.tokens;
    const uint32_t    first = ds4_session_pos(at->seat.session) - work->n_tokens;
    const float      *row = work->logits;

    for (uint32_t i = 0; i < work->n_tokens && first + i + 1 < t->n; i++, row += s->n_vocab) {
        ds4_event e = { .kind = DS4_EVENT_PROMPT_TOKEN };
        ds4_generation_score(at->job->answer, row, t->ids[first + i + 1], &e);
        put(at->job, e);
    }
}

static void count_token(const ds4_scheduler *s, ds4_job *job)
{
    const uint64_t now = ds4_now_ns();

    if (job->sampled_ns) ds4_histogram_add(s->opt.between_tokens, (double)(now - job->sampled_ns) / 1e9);
    job->sampled_ns = now;
}

static void count_speed(ds4_speed *speed, uint64_t now_ns, uint32_t n)
{
    const uint64_t second = now_ns / 1000000000u;
    const uint32_t i = (uint32_t)(second % DS4_SPEED_SECONDS);

    if (speed->second[i] != second) speed->n[i] = 0;
    speed->second[i] = second;
    speed->n[i] += n;
}

/* The seat has gone on from a step of its answer. */
static void count_step(ds4_scheduler *s, const ds4_seat *seat, const ds4_work *work)
{
    pthread_mutex_lock(&s->lock);
    count_speed(&s->decode_speed, ds4_now_ns(), seat->n_kept);
    s->stats.speculation.n_guessed += work->n_tokens - 1;
    s->stats.speculation.n_agreed += seat->n_kept > 0 ? seat->n_kept - 1 : 0;
    pthread_mutex_unlock(&s->lock);
}

/* A step with this work of the seat has succeeded. */
static void advance(ds4_scheduler *s, ds4_job_seat *at, const ds4_work *work)
{
    ds4_job         *job = at->job;
    const bool       read = at->seat.state == DS4_SEAT_READING;
    ds4_err          err = { .code = DS4_OK };

    if (read && work->all_logits) tell_scores(s, at, work);
    ds4_status st = ds4_seat_done(&at->seat, work, job->cancelled, &err);

    if (at->seat.writing_ns) count_token(s, job);
    if (read && at->seat.writing_ns) job->stats.prefill_ns = at->seat.writing_ns - job->begun_ns;
    if (read && !at->seat.writing_ns) {
        put(job, (ds4_event){ .kind = DS4_EVENT_PROGRESS,
                              .n_prompt = job->stats.n_prompt,
                              .n_done = ds4_session_pos(at->seat.session) });
    }
    while (st == DS4_OK && ds4_seat_agrees(&at->seat)) {
        tell_token(s, at);
        st = ds4_seat_next(&at->seat, job->cancelled, &err);
        count_token(s, job);
    }
    if (!read) count_step(s, &at->seat, work);
    went_on(s, at, st, &err);
}

/* ---- the step ------------------------------------------------------------------------------- */

/* Tokens that a prompt should be given of a step: as few as the device lets it be cut into, unless so
 * many might never be left beside answers. */
static uint32_t least_chunk(const ds4_scheduler *s)
{
    const uint32_t cut = ds4_engine_cut(s->opt.engine);
    return cut + s->opt.n_slots <= ds4_engine_max_batch(s->opt.engine) ? cut : 1;
}

/* Prompt tokens that one step may read. Beside n_decoding tokens of answers that are being given it is
 * as many as take about step_ms. */
static uint32_t reading_room(const ds4_scheduler *s, uint32_t n_decoding)
{
    const uint32_t batch = ds4_engine_max_batch(s->opt.engine);
    const uint32_t cut = least_chunk(s), least = cut < 8 ? 8 : cut;
    uint32_t       most = s->opt.max_chunk && s->opt.max_chunk < batch ? s->opt.max_chunk : batch;

    if (most < cut) most = cut;
    if (n_decoding > 0 && s->token_ns > 0) {
        const double fits = s->opt.step_ms * 1e6 / s->token_ns;
        if (fits < most) most = fits < least ? least : (uint32_t)fits;
    }
    return most < batch - n_decoding ? most : batch - n_decoding;
}

static void add_work(ds4_scheduler *s, uint32_t *n, ds4_job_seat *at, uint32_t most)
{
    s->work_seat[*n] = (uint32_t)(at - s->seat);
    s->work[(*n)++] = ds4_seat_work(&at->seat, most);
}

/* The work of everybody who writes, with guesses where they promise something. Returns the tokens. */
static uint32_t collect_writing(ds4_scheduler *s, uint32_t n_reading, uint32_t *n)
{
    const uint32_t batch = ds4_engine_max_batch(s->opt.engine);
    uint32_t       n_tokens = 0;

    s->n_writing = 0;
    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        if (s->seat[i].seat.state == DS4_SEAT_WRITING) s->writing[s->n_writing++] = &s->seat[i].seat;
    }
    const uint32_t taken = s->n_writing + (n_reading > 0 ? least_chunk(s) : 0);
    ds4_speculation_plan(s->speculation, s->writing, s->n_writing, taken < batch ? batch - taken : 0);
    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        if (s->seat[i].seat.state != DS4_SEAT_WRITING) continue;
        add_work(s, n, &s->seat[i], 1);
        n_tokens += s->work[*n - 1].n_tokens;
    }
    return n_tokens;
}

/* Everybody who reads gets an equal part, but no less than the device lets prompts be cut into; what
 * short ones leave goes to the others, who are visited in turn. */
static uint32_t collect(ds4_scheduler *s)
{
    const uint32_t cut = least_chunk(s);
    uint32_t       n = 0, n_reading = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) n_reading += s->seat[i].seat.state == DS4_SEAT_READING;
    uint32_t room = reading_room(s, collect_writing(s, n_reading, &n));
    s->turn = (s->turn + 1) % s->opt.n_slots;
    for (uint32_t i = 0; i < s->opt.n_slots && n_reading > 0 && room >= cut; i++) {
        ds4_job_seat *at = &s->seat[(s->turn + i) % s->opt.n_slots];
        if (at->seat.state != DS4_SEAT_READING) continue;
        add_work(s, &n, at, room / n_reading > cut ? room / n_reading : cut);
        room -= s->work[n - 1].n_tokens;
        n_reading--;
    }
    return n;
}

/* A session that failed may be damaged: it is replaced by a new one. */
static void give_up(ds4_scheduler *s, ds4_job_seat *at, const ds4_err *err)
{
    ds4_seat_give_up(&at->seat);
    if (ds4_seat_renew(&at->seat, s->opt.n_ctx, NULL) != DS4_OK) ds4_seat_clear(&at->seat);
    fail_job(s, at, at->job, err);
}

/* A step of several was refused and changed nothing: each is done alone, so that only those
 * at fault fail. Where memory is short, positions that are kept for later make room first. One
 * that failed halfway has damaged all of its sessions. */
static void step_failed(ds4_scheduler *s, uint32_t n, const ds4_err *reason)
{
    const bool no_memory = reason->code == DS4_E_NOMEM;
    const bool was_refused = no_memory || reason->code == DS4_E_ARG || reason->code == DS4_E_LIMIT;

    if (no_memory) {
        ds4_scheduler_note(s, "memory", "%s; kept positions go", reason->text);
        ds4_kept_clear(ds4_resume_kept(s->resume));
    }
    for (uint32_t i = 0; i < n; i++) {
        ds4_job_seat *at = &s->seat[s->work_seat[i]];
        ds4_err       err = *reason;
        if (was_refused && ds4_engine_step(s->opt.engine, &s->work[i], 1, &err) == DS4_OK) {
            advance(s, at, &s->work[i]);
        } else {
            give_up(s, at, no_memory ? reason : &err);
        }
    }
}

static void account(ds4_scheduler *s, uint32_t n, uint64_t begin_ns, uint64_t end_ns)
{
    const uint64_t took_ns = end_ns - begin_ns;
    uint32_t       n_reading = 0, n_decoding = 0;

    for (uint32_t i = 0; i < n; i++) *(s->work[i].decode ? &n_decoding : &n_reading) += s->work[i].n_tokens;
    const double each = (double)took_ns / (n_reading + n_decoding);
    if (n_reading > 0) s->token_ns = s->token_ns > 0 ? 0.75 * s->token_ns + 0.25 * each : each;
    pthread_mutex_lock(&s->lock);
    s->stats.n_steps++;
    s->stats.n_prefilled_tokens += n_reading;
    s->stats.prefill_ns += (uint64_t)(each * n_reading);
    s->stats.decode_ns += (uint64_t)(each * n_decoding);
    if (s->stepped_ns) s->stats.between_ns += begin_ns - s->stepped_ns;
    count_speed(&s->prefill_speed, end_ns, n_reading);
    pthread_mutex_unlock(&s->lock);
    s->stepped_ns = end_ns;
}

/* Count what the guesses of a step were worth. */
static void learn(ds4_scheduler *s, uint32_t n_work, uint64_t took_ns)
{
    uint32_t n_tokens = 0;

    for (uint32_t i = 0; i < s->n_writing; i++) n_tokens += s->writing[i]->n_kept;
    ds4_speculation_learn(s->speculation, n_tokens, n_work == s->n_writing, took_ns);
    const ds4_speculation_stats stats = ds4_speculation_get(s->speculation);
    pthread_mutex_lock(&s->lock);
    s->stats.speculation.n_steps = stats.n_steps;
    s->stats.speculation.n_paused = stats.n_paused;
    s->stats.speculation.n_computed = stats.n_computed;
    s->stats.speculation.computed_ns = stats.computed_ns;
    pthread_mutex_unlock(&s->lock);
}

/* Cancelled jobs end before the step that they would have been part of. */
static void end_cancelled(ds4_scheduler *s)
{
    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        ds4_job_seat *at = &s->seat[i];
        ds4_err       err = { .code = DS4_OK };
        if (at->seat.state == DS4_SEAT_IDLE || !at->job->cancelled) continue;
        went_on(s, at, ds4_seat_end(&at->seat, DS4_FINISH_CANCELLED, &err), &err);
    }
}

bool ds4_scheduler_step(ds4_scheduler *s)
{
    end_cancelled(s);
    const uint32_t n = collect(s);
    if (n == 0) {
        s->stepped_ns = 0;
        return false;
    }
    const uint64_t begin = ds4_now_ns(), begin_work = ds4_speculation_clock(s->speculation);
    ds4_err        err = { .code = DS4_OK };
    if (ds4_engine_step(s->opt.engine, s->work, n, &err) != DS4_OK) {
        s->stepped_ns = 0;
        step_failed(s, n, &err);
        return true;
    }
    const uint64_t end = ds4_now_ns(), took = ds4_speculation_clock(s->speculation) - begin_work;
    account(s, n, begin, end);
    for (uint32_t i = 0; i < n; i++) advance(s, &s->seat[s->work_seat[i]], &s->work[i]);
    learn(s, n, took);
    return true;
}
