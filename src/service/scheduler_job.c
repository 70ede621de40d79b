/* scheduler_job.c - the end of a job, and what the scheduler tells the program. */
#include "service/scheduler_local.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>

void ds4_scheduler_note(const ds4_scheduler *s, const char *subject, const char *fmt, ...)
{
    char    text[512];
    va_list args;

    if (!s->opt.note) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    s->opt.note(s->opt.note_ctx, subject, text);
}

/* Count what is kept in memory and on disk, for the statistics. It asks the index, so it is called
 * when something was stored. */
static void describe_kept(ds4_scheduler *s)
{
    ds4_store     *store = ds4_resume_store(s->resume);
    ds4_index_sums sums = { 0 };
    const uint64_t kept = ds4_kept_bytes(ds4_resume_kept(s->resume));
    ds4_index     *index = store ? ds4_store_index(store) : NULL;
    const bool     known = index && ds4_index_sum(index, &sums, NULL) == DS4_OK;

    pthread_mutex_lock(&s->lock);
    s->stats.kept_bytes = kept;
    if (store) s->stats.disk_max_bytes = ds4_store_budget(store);
    if (known) {
        s->stats.disk_bytes = sums.block_bytes + sums.tail_bytes + sums.aside + sums.database;
        s->stats.n_disk = sums.n_tails;
    }
    pthread_mutex_unlock(&s->lock);
}

/* A file that was cut or a device that fails is no matter of one job. */
static bool is_broken(const ds4_err *err)
{
    return err->code == DS4_E_IO || err->code == DS4_E_DEVICE;
}

static void count_job(ds4_scheduler *s, const ds4_job *job)
{
    if (job->err.code == DS4_OK || is_broken(&job->err)) s->stats.broken = job->err;
    s->stats.n_failed += job->err.code != DS4_OK;
    s->stats.n_cancelled += ds4_generation_result(job->answer)->finish == DS4_FINISH_CANCELLED;
    s->stats.n_prompt_tokens += job->stats.n_prompt;
    s->stats.n_hits += job->stats.n_cached > 0;
    s->stats.n_misses += job->stats.n_prompt > 0 && job->stats.n_cached == 0;
    s->stats.n_cached_tokens += job->stats.n_cached;
    s->stats.n_generated_tokens += job->stats.n_generated;
}

/* The owner hears of it first; what is written to disk then keeps nobody waiting. */
void ds4_job_over(ds4_scheduler *s, ds4_job_seat *at, ds4_job *job)
{
    const bool good = job->err.code == DS4_OK;

    job->stats.n_generated = ds4_generation_result(job->answer)->n_tokens;
    job->stats.n_guessed = at ? at->seat.n_guessed : 0;
    job->stats.n_agreed = at ? at->seat.n_right : 0;
    if (at && at->seat.writing_ns) job->stats.generate_ns = ds4_now_ns() - at->seat.writing_ns;
    if (at) at->job = NULL;
    const ds4_event end = { .kind = DS4_EVENT_END, .tag = job->spec.tag };
    ds4_channel_put(job->spec.out, &end);
    pthread_mutex_lock(&s->lock);
    count_job(s, job);
    job->over = true;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);

    if (at && good) {
        ds4_seat_keep(&at->seat);
        describe_kept(s);
    }
    pthread_mutex_lock(&s->lock);
    s->n_running--;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
}
