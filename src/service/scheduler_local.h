/* scheduler_local.h - the inside of the scheduler: its jobs, slots and lock. */
#ifndef DS4_SERVICE_SCHEDULER_LOCAL_H
#define DS4_SERVICE_SCHEDULER_LOCAL_H

#include "service/loop_watch.h"
#include "service/resume.h"
#include "service/scheduler.h"
#include "service/store/store_index.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DS4_SCORED_ROWS = 32 };          /* prompt tokens of a step whose logits are looked at */

struct ds4_job {
    ds4_scheduler  *owner;
    ds4_job_spec    spec;
    ds4_job        *next;               /* in line; under the lock */
    bool            taken, over;        /* by the worker; under the lock */
    atomic_int      cancelled;          /* set by anyone, read by the worker */
    ds4_rng         rng;
    ds4_reply      *reply;
    ds4_chooser    *chooser;
    ds4_loop_watch  watch;
    float          *rows;               /* [DS4_SCORED_ROWS][n_vocab] when its prompt is scored, else NULL */
    bool            closed_loop;        /* reasoning was closed because of a loop */
    bool            single_closed;      /* the end of the block was forced after one call */
    uint64_t        submitted_ns, begun_ns, answering_ns;
    ds4_job_stats   stats;
    ds4_err         err;
};

typedef enum ds4_slot_state {
    DS4_SLOT_IDLE,
    DS4_SLOT_PREFILL,           /* a part of the way is still to be read */
    DS4_SLOT_DECODE,            /* `token` is to be evaluated */
} ds4_slot_state;

/* One session and what is done with it. Belongs to the worker. */
typedef struct ds4_slot {
    ds4_session   *session;
    float         *logits;      /* [n_vocab] of the session's last token, if logits_pos is its length */
    uint32_t       logits_pos;  /* 0: none */
    ds4_slot_state state;
    ds4_job       *job;         /* NULL when idle */
    ds4_way        way;         /* of its prompt, or of the last one */
    int32_t        token;
    uint64_t       used;        /* counts jobs; 0: never */
} ds4_slot;

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
    ds4_session         **session;      /* [opt.n_slots] those of the slots */
    ds4_slot             *slot;         /* [opt.n_slots] */
    ds4_work             *work;         /* [opt.n_slots] of the step under construction */
    uint32_t             *work_slot;    /* [opt.n_slots] whose it is */
    uint64_t              n_taken;      /* jobs given to slots */
    uint32_t              turn;         /* which slot reads first */
    double                token_ns;     /* of one prompt token, running mean; 0: not known */
    uint64_t              stepped_ns;   /* the end of the last step; 0: nothing to do since */

    pthread_t             worker;
    bool                  has_worker;
    pthread_mutex_t       lock;
    pthread_cond_t        wake;         /* something for the worker */
    pthread_cond_t        done;         /* a job is over, or nothing is left */
    ds4_job              *line;         /* oldest first */
    uint32_t              n_waiting, n_running;
    bool                  stop, drain;
    ds4_speed             prefill_speed, decode_speed;
    ds4_scheduler_stats   stats;
};

/* Give a free slot to a job; there is one. A failure is the job's alone. */
void ds4_slot_begin(ds4_scheduler *s, ds4_job *job);

/* Do one step of everything that is under way; false when nothing is. */
bool ds4_slots_step(ds4_scheduler *s);

/* A job is over: tell its owner and free its slot (NULL: it had none). Takes the lock. */
void ds4_job_over(ds4_scheduler *s, ds4_slot *slot, ds4_job *job);

/* Fits ds4_reply_options.piece, with the job as its context. */
void ds4_slot_piece(void *ctx, const ds4_piece *piece);

void ds4_slot_clear(ds4_slot *slot);    /* frees what it holds */

/* Choose the session for a prompt, set slot->way and bring the session to the longest known
 * beginning of it.
 *
 *   out   receives the slot, which is idle
 *
 * Returns DS4_OK; DS4_E_NOMEM; DS4_E_DEVICE; as ds4_way_begin(), ds4_way_bring().     */
DS4_MUST_CHECK ds4_status ds4_slot_resume(ds4_scheduler *s, const ds4_job_spec *spec,
                                          ds4_slot **out, ds4_err *err);

void ds4_scheduler_note(const ds4_scheduler *s, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
