/* scheduler.c - see scheduler.h: the line, the worker's life, the numbers. */
#include "service/scheduler_local.h"

#include "base/clock.h"
#include "base/wait.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the worker ----------------------------------------------------------------------------- */

static uint32_t n_running_of(const ds4_scheduler *s, const char *client)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        const ds4_job_seat *at = &s->seat[i];
        if (at->seat.state != DS4_SEAT_IDLE && !strcmp(at->job->spec.client, client)) n++;
    }
    return n;
}

/* Take the oldest job of the client that has the fewest running; NULL when none waits or
 * no seat is free. Called with the lock held. */
static ds4_job *next_job(ds4_scheduler *s)
{
    ds4_job **best = NULL;
    uint32_t  fewest = UINT32_MAX;

    if (s->n_running == s->opt.n_slots) return NULL;
    for (ds4_job **at = &s->line; *at; at = &(*at)->next) {
        const uint32_t n = n_running_of(s, (*at)->spec.client);
        if (n >= fewest) continue;
        fewest = n;
        best = at;
    }
    if (!best) return NULL;
    ds4_job *job = *best;
    *best = job->next;
    job->next = NULL;
    job->taken = true;
    s->n_waiting--;
    s->n_running++;
    return job;
}

/* For the statistics; called by the worker with the lock held. */
static void describe_slots(ds4_scheduler *s)
{
    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        const ds4_job_seat *at = &s->seat[i];
        ds4_slot_stats     *out = &s->stats.slot[i];
        out->reading = at->seat.state == DS4_SEAT_READING;
        out->answering = at->seat.state == DS4_SEAT_WRITING;
        out->n_tokens = ds4_session_pos(at->seat.session);
        if (!at->job) continue;
        out->n_prompt = at->job->stats.n_prompt;
        out->n_cached = at->job->stats.n_cached;
        out->n_generated = ds4_generation_result(at->job->answer)->n_tokens;
    }
}

/* Everything that waits for the disk is written; the engine pauses. */
static void settle_now(ds4_scheduler *s)
{
    ds4_resume_settle(s->resume);
    pthread_mutex_lock(&s->lock);
    s->settle = false;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
}

static void *work(void *arg)
{
    ds4_scheduler *s = arg;

    for (;;) {
        pthread_mutex_lock(&s->lock);
        describe_slots(s);
        while (!s->stop && !s->settle && s->n_running == 0 && s->n_waiting == 0) {
            s->stepped_ns = 0;
            pthread_cond_wait(&s->wake, &s->lock);
        }
        const bool stop = s->stop && s->n_running == 0;
        const bool settle = s->settle;
        ds4_job   *job = s->stop ? NULL : next_job(s);
        pthread_mutex_unlock(&s->lock);
        if (settle) settle_now(s);
        if (stop) return NULL;
        if (job) {
            ds4_job_begin(s, job);
        } else if (!settle) {
            ds4_scheduler_step(s);
        }
    }
}

/* ---- jobs ----------------------------------------------------------------------------------- */

static void free_job(ds4_job *job)
{
    ds4_generation_free(job->answer);
    free(job->rows);
    free(job);
}

static ds4_status make_job(ds4_scheduler *s, const ds4_job_spec *spec, ds4_job **out, ds4_err *err)
{
    ds4_job *job = calloc(1, sizeof *job);

    if (!job) return ds4_fail(err, DS4_E_NOMEM, "no memory for a job");
    job->owner = s;
    job->spec = *spec;
    job->submitted_ns = ds4_now_ns();
    ds4_rng_seed(&job->rng, spec->seed);

    const ds4_generation_options how = {
        .reply = { .vocab = s->vocab, .n_vocab = s->n_vocab,
                   .sampling = spec->sampling, .penalties = spec->penalties, .rng = &job->rng,
                   .max_tokens = spec->max_tokens,
                   .thinking = !spec->plain && ds4_chat_ends_in_thinking(spec->text),
                   .plain = spec->plain, .stops = spec->stops, .n_stops = spec->n_stops,
                   .tools = spec->tools, .n_tools = spec->n_tools,
                   .piece = ds4_job_piece, .piece_ctx = job },
        .choose = spec->choose, .single_call = spec->single_call, .loop_tokens = s->opt.loop_tokens,
        .script = spec->script, .n_script = spec->n_script,
    };
    ds4_status st = ds4_generation_create(&how, &job->answer, err);
    if (st == DS4_OK && spec->score) {
        job->rows = malloc(DS4_SEAT_ROWS * (size_t)s->n_vocab * sizeof *job->rows);
        if (!job->rows) st = ds4_fail(err, DS4_E_NOMEM, "no memory for the logits of a prompt");
    }
    if (st != DS4_OK) {
        free_job(job);
        return st;
    }
    *out = job;
    return DS4_OK;
}

ds4_status ds4_scheduler_submit(ds4_scheduler *s, const ds4_job_spec *spec, ds4_job **out,
                                ds4_err *err)
{
    ds4_job   *job = NULL;
    ds4_status st = DS4_OK;

    if (spec->tokens->n == 0) return ds4_fail(err, DS4_E_ARG, "the prompt is empty");
    if (spec->tokens->n >= s->opt.n_ctx) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "the prompt has %u tokens, and the context of %u tokens "
                        "must also hold the answer",
                        spec->tokens->n, s->opt.n_ctx);
    }
    DS4_TRY(make_job(s, spec, &job, err));
    pthread_mutex_lock(&s->lock);
    if (s->drain || s->stop) {
        st = ds4_fail(err, DS4_E_CANCELLED, "the program is shutting down");
    } else if (s->n_waiting >= s->opt.max_waiting &&
               s->n_running + s->n_waiting >= s->opt.n_slots) {
        s->stats.n_refused++;
        st = ds4_fail(err, DS4_E_LIMIT, "%u requests are waiting already", s->n_waiting);
    } else {
        ds4_job **end = &s->line;
        while (*end) end = &(*end)->next;
        *end = job;
        s->n_waiting++;
        s->stats.n_jobs++;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    if (st != DS4_OK) {
        free_job(job);
        return st;
    }
    *out = job;
    return DS4_OK;
}

uint32_t ds4_job_place(const ds4_job *job)
{
    ds4_scheduler *s = job->owner;
    uint32_t       place = 0, n = 0;

    pthread_mutex_lock(&s->lock);
    for (const ds4_job *at = s->line; at && place == 0; at = at->next) {
        n++;
        if (at == job) place = n;
    }
    pthread_mutex_unlock(&s->lock);
    return place;
}

void ds4_job_cancel(ds4_job *job)
{
    job->cancelled = 1;
}

/* Take a job that still waits out of the line. Called with the lock held. */
static bool leave_line(ds4_scheduler *s, ds4_job *job)
{
    for (ds4_job **at = &s->line; *at; at = &(*at)->next) {
        if (*at != job) continue;
        *at = job->next;
        s->n_waiting--;
        s->stats.n_cancelled++;
        pthread_cond_broadcast(&s->done);
        return true;
    }
    return false;
}

void ds4_job_free(ds4_job *job)
{
    if (!job) return;
    ds4_scheduler *s = job->owner;
    job->cancelled = 1;
    pthread_mutex_lock(&s->lock);
    if (job->taken || !leave_line(s, job)) {
        while (!job->over) pthread_cond_wait(&s->done, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    free_job(job);
}

const ds4_reply_result *ds4_job_result(const ds4_job *job)
{
    return ds4_generation_result(job->answer);
}

const ds4_job_stats *ds4_job_stats_get(const ds4_job *job)
{
    return &job->stats;
}

const ds4_err *ds4_job_error(const ds4_job *job)
{
    return &job->err;
}

/* ---- life ----------------------------------------------------------------------------------- */

static ds4_status make_seats(ds4_scheduler *s, ds4_err *err)
{
    const uint32_t n = s->opt.n_slots;

    s->seat = calloc(n, sizeof *s->seat);
    s->work = calloc(n, sizeof *s->work);
    s->work_seat = calloc(n, sizeof *s->work_seat);
    s->session = calloc(n, sizeof *s->session);
    s->writing = calloc(n, sizeof *s->writing);
    if (!s->seat || !s->work || !s->work_seat || !s->session || !s->writing) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u sessions", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        ds4_seat *seat = &s->seat[i].seat;
        DS4_TRY(ds4_seat_open(seat, s->opt.engine, s->resume, s->opt.n_ctx, err));
        ds4_drafter *drafter = NULL;
        DS4_TRY(ds4_speculation_drafter(s->speculation, i, &drafter, err));
        ds4_seat_set_drafter(seat, drafter);
    }
    return DS4_OK;
}

static ds4_status start(ds4_scheduler *s, ds4_err *err)
{
    if (pthread_mutex_init(&s->lock, NULL) != 0 || ds4_cond_init(&s->wake) != 0 ||
        ds4_cond_init(&s->done) != 0) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the scheduler's lock");
    }
    if (!s->resume) {
        const ds4_resume_options in_memory = { .engine = s->opt.engine };
        DS4_TRY(ds4_resume_create(&in_memory, &s->resume, err));
        s->owns_resume = true;
    }
    s->opt.speculation.engine = s->opt.engine;
    s->opt.speculation.n_seats = s->opt.n_slots;
    DS4_TRY(ds4_speculation_create(&s->opt.speculation, &s->speculation, err));
    DS4_TRY(make_seats(s, err));
    if (pthread_create(&s->worker, NULL, work, s) != 0) {
        return ds4_fail(err, DS4_E_NOMEM, "cannot start the worker thread");
    }
    s->has_worker = true;
    return DS4_OK;
}

ds4_status ds4_scheduler_create(const ds4_scheduler_options *opt, ds4_scheduler **out, ds4_err *err)
{
    const uint32_t batch = ds4_engine_max_batch(opt->engine);

    if (opt->n_slots == 0 || opt->n_slots > DS4_MAX_SLOTS || opt->n_slots >= batch) {
        return ds4_fail(err, DS4_E_ARG, "%u sessions, expected 1..%u", opt->n_slots,
                        batch - 1 < DS4_MAX_SLOTS ? batch - 1 : (uint32_t)DS4_MAX_SLOTS);
    }
    ds4_scheduler *s = calloc(1, sizeof *s);
    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory for a scheduler");
    s->opt = *opt;
    s->resume = opt->resume;
    if (s->opt.step_ms == 0) s->opt.step_ms = 150;
    s->vocab = ds4_engine_vocab(opt->engine);
    s->n_vocab = ds4_engine_info(opt->engine)->n_vocab;
    s->stats = (ds4_scheduler_stats){ .n_slots = opt->n_slots,
                                      .n_ctx = opt->n_ctx,
                                      .max_waiting = opt->max_waiting };
    const ds4_status st = start(s, err);
    if (st != DS4_OK) {
        ds4_scheduler_free(s);
        return st;
    }
    *out = s;
    return DS4_OK;
}

void ds4_scheduler_free(ds4_scheduler *s)
{
    if (!s) return;
    if (s->has_worker) {
        pthread_mutex_lock(&s->lock);
        s->stop = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->worker, NULL);
    }
    for (uint32_t i = 0; s->seat && i < s->opt.n_slots; i++) ds4_seat_close(&s->seat[i].seat);
    free(s->seat);
    free(s->work);
    free(s->work_seat);
    free(s->session);
    free(s->writing);
    ds4_speculation_free(s->speculation);
    if (s->owns_resume) ds4_resume_free(s->resume);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->done);
    free(s);
}

void ds4_scheduler_drain(ds4_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->drain = true;
    pthread_mutex_unlock(&s->lock);
}

void ds4_scheduler_settle(ds4_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->settle = true;
    pthread_cond_signal(&s->wake);
    while (s->settle && !s->stop) pthread_cond_wait(&s->done, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

bool ds4_scheduler_idle(ds4_scheduler *s, uint32_t wait_ms)
{
    const uint64_t until_ns = ds4_now_ns() + (uint64_t)wait_ms * 1000000u;

    pthread_mutex_lock(&s->lock);
    while (s->n_running + s->n_waiting > 0) {
        if (!ds4_cond_wait_until(&s->done, &s->lock, until_ns)) break;
    }
    const bool idle = s->n_running + s->n_waiting == 0;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

static double speed_of(const ds4_speed *speed)
{
    const uint64_t now = ds4_now_ns() / 1000000000u;
    uint64_t       n = 0, oldest = now;

    for (uint32_t i = 0; i < DS4_SPEED_SECONDS; i++) {
        if (speed->n[i] == 0 || now - speed->second[i] >= DS4_SPEED_SECONDS) continue;
        n += speed->n[i];
        if (speed->second[i] < oldest) oldest = speed->second[i];
    }
    return (double)n / (double)(now - oldest + 1);
}

void ds4_scheduler_stats_get(ds4_scheduler *s, ds4_scheduler_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->n_running = s->n_running;
    out->n_waiting = s->n_waiting;
    out->prefill_speed = speed_of(&s->prefill_speed);
    out->decode_speed = speed_of(&s->decode_speed);
    pthread_mutex_unlock(&s->lock);
}
