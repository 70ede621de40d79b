/* scheduler.h - many jobs on one engine: one worker thread owns the engine, its sessions
 * decode together, and prompts are read in chunks between.
 *
 * A job is a rendered prompt and how to answer it; what happens to it arrives as events in
 * a channel. Jobs wait in one bounded line and are taken fairly between clients. A job
 * gets the session that already holds most of its prompt. What an answer says does not
 * depend on its company.
 *
 * Threads: every function may be called from any thread; a job belongs to the thread that
 * submitted it. */
#ifndef DS4_SERVICE_SCHEDULER_H
#define DS4_SERVICE_SCHEDULER_H

#include "base/histogram.h"
#include "service/chooser.h"
#include "service/resume.h"
#include "service/speculation.h"

typedef struct ds4_scheduler ds4_scheduler;
typedef struct ds4_job       ds4_job;

/* A line for the log or the trace: about cache misses, loops, failures. From the worker. */
typedef void ds4_note_fn(void *ctx, const char *subject, const char *text);

typedef struct ds4_scheduler_options {
    ds4_engine  *engine;        /* lent; nobody else may use it until the scheduler is freed */
    ds4_resume  *resume;        /* lent like the engine; NULL: positions are kept in memory only */
    uint32_t     n_ctx;         /* tokens of each session */
    uint32_t     n_slots;       /* sessions, 1 .. 256 */
    uint32_t     max_waiting;   /* jobs in line, without those that run */
    uint32_t     max_chunk;     /* prompt tokens in one step; 0: the engine's max_batch */
    uint32_t     step_ms;       /* aim for a mixed step while others decode; 0: 150 */
    uint32_t     loop_tokens;   /* see loop_watch.h; 0: never */
    ds4_histogram *between_tokens;      /* seconds from a token of an answer to the next; NULL: not counted */
    ds4_speculation_options speculation;        /* zeroed: whatever helps; engine and n_seats are filled in */
    ds4_note_fn *note;          /* NULL: silent */
    void        *note_ctx;
} ds4_scheduler_options;

/* Everything is borrowed until ds4_job_free() returns. */
typedef struct ds4_job_spec {
    const ds4_segments *text;           /* the prompt */
    const ds4_tokens   *tokens;         /* its encoding, or what stands in its place */
    ds4_kv_key          reader;         /* for whom: see ds4_prompt; zero: nobody in particular */
    bool                exact;          /* these, whatever is known of the text; see ds4_prompt_exact() */
    ds4_sampling        sampling;
    ds4_penalties       penalties;      /* see token_weights.h */
    uint64_t            seed;
    uint32_t            max_tokens;     /* the room in the context limits it too; 0: the prompt alone */
    bool                score;          /* tell how likely each token of the prompt was; it is then
                                           evaluated whole, whatever is known of it */
    bool                plain;          /* no conversation, see ds4_reply_options */
    const ds4_slice    *stops;          /* [n_stops] */
    uint32_t            n_stops;
    const ds4_slice    *tools;          /* [n_tools] */
    uint32_t            n_tools;
    bool                single_call;    /* the turn ends after one call */
    ds4_chooser_options choose;         /* vocab, n_vocab and thinking are filled in */
    const int32_t      *script;         /* [n_script] see ds4_chooser_prescribe() */
    uint32_t            n_script;
    const char         *client;         /* who asks; "" is one client too */
    ds4_channel        *out;
    uint32_t            tag;            /* of the job's events */
} ds4_job_spec;

typedef struct ds4_job_stats {
    uint32_t n_prompt, n_cached, n_generated;
    uint32_t n_guessed, n_agreed;       /* tokens of drafts that were evaluated; that the answer has */
    uint64_t wait_ns, prefill_ns, generate_ns;
} ds4_job_stats;

DS4_MUST_CHECK ds4_status ds4_scheduler_create(const ds4_scheduler_options *opt,
                                               ds4_scheduler **out, ds4_err *err);

/* Cancels what runs and ends the worker. Jobs must have been freed. NULL is fine. */
void ds4_scheduler_free(ds4_scheduler *s);

/* Put a job in line.
 *
 * Returns DS4_OK; DS4_E_LIMIT when the line is full or the prompt leaves no room for an
 * answer; DS4_E_CANCELLED after ds4_scheduler_drain(); DS4_E_NOMEM; as
 * ds4_reply_create(), ds4_chooser_create().                                          */
DS4_MUST_CHECK ds4_status ds4_scheduler_submit(ds4_scheduler *s, const ds4_job_spec *spec,
                                               ds4_job **out, ds4_err *err);

/* Its place in the line, from 1; 0 when it has left it. */
uint32_t ds4_job_place(const ds4_job *job);

void ds4_job_cancel(ds4_job *job);      /* it ends with the next step at the latest */

/* Cancel it if it is not over, wait for the worker to let go, and free it. NULL is fine. */
void ds4_job_free(ds4_job *job);

/* After its DS4_EVENT_END only, lent until the job is freed. */
const ds4_reply_result *ds4_job_result(const ds4_job *job);
const ds4_job_stats    *ds4_job_stats_get(const ds4_job *job);
const ds4_err          *ds4_job_error(const ds4_job *job);      /* code DS4_OK: none */

/* Take no more jobs; those in line are still answered. */
void ds4_scheduler_drain(ds4_scheduler *s);

/* Wait until all that was kept is on the disk; what runs pauses meanwhile. */
void ds4_scheduler_settle(ds4_scheduler *s);

/* Wait until nothing runs or waits; false when that took longer. */
bool ds4_scheduler_idle(ds4_scheduler *s, uint32_t wait_ms);

enum { DS4_MAX_SLOTS = 256 };

typedef struct ds4_slot_stats {
    bool     reading, answering;        /* neither: idle */
    uint32_t n_tokens;          /* in its session */
    uint32_t n_prompt, n_cached, n_generated;   /* of its job, or of the last one */
} ds4_slot_stats;

typedef struct ds4_scheduler_stats {
    uint32_t n_slots, n_ctx, n_running, n_waiting, max_waiting;
    uint64_t n_jobs, n_refused, n_cancelled, n_failed, n_loops;         /* since the start */
    uint64_t n_prompt_tokens, n_cached_tokens, n_prefilled_tokens, n_generated_tokens;
    uint64_t prefill_ns, decode_ns;             /* time of steps, shared by their tokens */
    uint64_t between_ns;        /* from the end of a step to the begin of the next: sampling, reading
                                   what was sampled, telling of it, keeping positions */
    uint64_t n_steps;
    ds4_speculation_stats speculation;
    uint64_t kept_bytes;        /* positions in memory */
    uint64_t disk_bytes, disk_max_bytes, n_disk;        /* on disk; 0: no store */
    uint64_t n_hits, n_misses;  /* jobs that went on from something, and that began anew */
    double   prefill_speed, decode_speed;       /* tokens per second, lately; 0: nothing ran */
    ds4_err  broken;            /* why the last job that was evaluated failed; DS4_OK: it did not */
    ds4_slot_stats slot[DS4_MAX_SLOTS];         /* [n_slots] */
} ds4_scheduler_stats;

void ds4_scheduler_stats_get(ds4_scheduler *s, ds4_scheduler_stats *out);

#endif
