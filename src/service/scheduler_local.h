/* scheduler_local.h - the inside of the scheduler: its jobs, seats and lock. */
#ifndef DS4_SERVICE_SCHEDULER_LOCAL_H
#define DS4_SERVICE_SCHEDULER_LOCAL_H

#include "service/scheduler.h"
#include "service/seat.h"
#include "service/store/store_index.h"

#include <pthread.h>
#include <stdatomic.h>

struct ds4_job {
    ds4_scheduler  *owner;
    ds4_job_spec    spec;
    ds4_job        *next;               /* in line; under the lock */
    bool            taken, over;        /* by the worker; under the lock */
    atomic_int      cancelled;          /* set by anyone, read by the worker */
    ds4_rng         rng;
    ds4_generation *answer;
    float          *rows;               /* see ds4_seat_begin(); NULL: its prompt is not scored */
    uint64_t        submitted_ns, begun_ns, sampled_ns;
    ds4_job_stats   stats;
    ds4_err         err;
};

/* A seat and whose turn is taken on it. Belongs to the worker. */
typedef struct ds4_job_seat {
    ds4_seat  seat;
    ds4_job  *job;              /* NULL when the seat is idle */
    uint64_t  used;             /* counts jobs; 0: never */
} ds4_job_seat;

/* Tokens over the last seconds, in a ring of whole seconds. */
enum { DS4_SPEED_SECONDS = 5 };

typedef struct ds4_speed {
    uint64_t n[DS4_SPEED_SECONDS];
    uint64_t second[DS4_SPEED_SECONDS];         /* of the clock, that n was counted in */
} ds4_speed;

struct ds4_scheduler {
    ds4_scheduler_options opt;
    const ds4_vocab      *vocab;
    uint32_t              n_vocab;
    ds4_resume           *resume;
    bool                  owns_resume;
    ds4_job_seat         *seat;         /* [opt.n_slots] */
    ds4_seat            **writing;      /* [opt.n_slots] those that write, of the step under construction */
    uint32_t              n_writing;
    ds4_speculation      *speculation;
    ds4_session         **session;      /* [opt.n_slots] those of the seats */
    ds4_work             *work;         /* [opt.n_slots] of the step under construction */
    uint32_t             *work_seat;    /* [opt.n_slots] whose it is */
    uint64_t              n_taken;      /* jobs given to seats */
    uint32_t              turn;         /* which seat reads first */
    double                token_ns;     /* of one prompt token, running mean; 0: not known */
    uint64_t              stepped_ns;   /* the end of the last step; 0: nothing to do since */

    pthread_t             worker;
    bool                  has_worker;
    pthread_mutex_t       lock;
    pthread_cond_t        wake;         /* something for the worker */
    pthread_cond_t        done;         /* a job is over, or nothing is left */
    ds4_job              *line;         /* oldest first */
    uint32_t              n_waiting, n_running;
    bool                  stop, drain, settle;
    ds4_speed             prefill_speed, decode_speed;
    ds4_scheduler_stats   stats;
};

/* Give a free seat to a job; there is one. A failure is the job's alone. */
void ds4_job_begin(ds4_scheduler *s, ds4_job *job);

/* Do one step of everything that is under way; false when nothing is. */
bool ds4_scheduler_step(ds4_scheduler *s);

/* A job is over: tell its owner and free its seat (NULL: it had none). Takes the lock. */
void ds4_job_over(ds4_scheduler *s, ds4_job_seat *at, ds4_job *job);

/* Fits ds4_reply_options.piece, with the job as its context. */
void ds4_job_piece(void *ctx, const ds4_piece *piece);

/* Choose the seat for a prompt and bring its session to the longest known beginning.
 *
 *   out   receives the seat, which is idle and has the prompt
 *
 * Returns DS4_OK; DS4_E_NOMEM; as ds4_prompt_begin(), ds4_seat_take().                   */
DS4_MUST_CHECK ds4_status ds4_seat_choose(ds4_scheduler *s, const ds4_job_spec *spec,
                                          ds4_job_seat **out, ds4_err *err);

void ds4_scheduler_note(const ds4_scheduler *s, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
