/* store_writer.c - see store_writer.h. */
#include "service/store/store_writer.h"

#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A position to store, or a hit to count. */
typedef struct job {
    struct job   *next;
    ds4_snapshot *p;            /* NULL: a hit */
    ds4_tail_kind kind;
    int64_t       tail;         /* that was hit */
    uint32_t      n_after;
    int32_t       after[];
} job;

typedef struct list {
    job  *first, **end;         /* where the next one goes */
} list;

struct ds4_store_writer {
    ds4_store      *store;      /* the thread's, once it runs */
    pthread_t       thread;
    pthread_mutex_t lock;       /* of all below */
    pthread_cond_t  wake, idle;
    list            waiting, done;
    uint32_t        n_waiting;  /* positions */
    uint64_t        n_bytes;    /* of their tails */
    bool            busy, stop;
    atomic_bool     failed;     /* writing has; nothing more is stored */
    atomic_bool     any_done;
    bool            said;       /* the thread's: why a position was not stored */
};

/* ---- lists ------------------------------------------------------------------------------------ */

static void append(list *l, job *j)
{
    j->next = NULL;
    *l->end = j;
    l->end = &j->next;
}

/* Takes out the job at *at. */
static job *take(list *l, job **at)
{
    job *j = *at;

    *at = j->next;
    if (l->end == &j->next) l->end = at;
    return j;
}

static void give_up_job(ds4_store_writer *w, job **at)
{
    job *j = take(&w->waiting, at);

    w->n_waiting--;
    w->n_bytes -= ds4_snapshot_bytes(j->p);
    append(&w->done, j);
    atomic_store(&w->any_done, true);
    ds4_log(DS4_LOG_DEBUG, "kv", "not stored: the disk is too slow tokens=%u", ds4_snapshot_pos(j->p));
}

/* Until another position fits: places on a way go, the oldest first, then whatever is oldest. */
static void make_room(ds4_store_writer *w, uint64_t n_bytes)
{
    while (w->n_waiting > 0
           && (w->n_waiting >= DS4_WRITER_JOBS || w->n_bytes + n_bytes > DS4_WRITER_BYTES)) {
        job **oldest = NULL, **way = NULL;
        for (job **at = &w->waiting.first; *at; at = &(*at)->next) {
            if (!(*at)->p) continue;
            if (!oldest) oldest = at;
            if (!way && (*at)->kind == DS4_TAIL_WAY) way = at;
        }
        give_up_job(w, way ? way : oldest);
    }
}

/* ---- the thread --------------------------------------------------------------------------------- */

static void carry_out(ds4_store_writer *w, const job *j)
{
    ds4_err err;

    if (!j->p) {
        ds4_store_count_hit(w->store, j->tail);
        return;
    }
    const ds4_status st = ds4_store_save(w->store, j->p, j->kind, j->after, j->n_after, &err);
    if (!ds4_store_writes(w->store)) atomic_store(&w->failed, true);
    /* When writing failed the store itself has said so. */
    if (st == DS4_OK || st == DS4_E_IO || w->said) return;
    ds4_log(DS4_LOG_WARN, "kv", "%s", err.text);
    w->said = true;
}

static void *work(void *arg)
{
    ds4_store_writer *w = arg;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->stop && !w->waiting.first) pthread_cond_wait(&w->wake, &w->lock);
        if (!w->waiting.first) break;
        job *j = take(&w->waiting, &w->waiting.first);
        if (j->p) {
            w->n_waiting--;
            w->n_bytes -= ds4_snapshot_bytes(j->p);
        }
        w->busy = true;
        pthread_mutex_unlock(&w->lock);
        if (!atomic_load(&w->failed)) carry_out(w, j);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        append(&w->done, j);
        atomic_store(&w->any_done, true);
        if (!w->waiting.first) pthread_cond_signal(&w->idle);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- the owner's side ------------------------------------------------------------------------------ */

ds4_status ds4_store_writer_start(const ds4_store_options *opt, ds4_store_writer **out, ds4_err *err)
{
    ds4_store_writer *w = calloc(1, sizeof *w);

    if (!w) return ds4_fail(err, DS4_E_NOMEM, "no memory for a thread that stores");
    w->waiting.end = &w->waiting.first;
    w->done.end = &w->done.first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    pthread_cond_init(&w->idle, NULL);
    ds4_status st = ds4_store_open(&w->store, opt, err);
    if (st == DS4_OK && pthread_create(&w->thread, NULL, work, w) != 0) {
        st = ds4_fail(err, DS4_E_NOMEM, "cannot start a thread that stores");
    }
    if (st != DS4_OK) {
        ds4_store_close(w->store);
        free(w);
        return st;
    }
    *out = w;
    return DS4_OK;
}

void ds4_store_writer_tidy(ds4_store_writer *w)
{
    if (!atomic_load(&w->any_done)) return;
    pthread_mutex_lock(&w->lock);
    job *j = w->done.first;
    w->done = (list){ .end = &w->done.first };
    atomic_store(&w->any_done, false);
    pthread_mutex_unlock(&w->lock);
    while (j) {
        job *next = j->next;
        ds4_snapshot_free(j->p);
        free(j);
        j = next;
    }
}

void ds4_store_writer_settle(ds4_store_writer *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->waiting.first || w->busy) pthread_cond_wait(&w->idle, &w->lock);
    pthread_mutex_unlock(&w->lock);
    ds4_store_writer_tidy(w);
}

void ds4_store_writer_stop(ds4_store_writer *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    ds4_store_writer_tidy(w);
    ds4_store_close(w->store);
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

bool ds4_store_writer_works(const ds4_store_writer *w)
{
    return !atomic_load(&w->failed);
}

/* Without memory a position is not stored. */
static job *new_job(uint32_t n_after)
{
    return calloc(1, sizeof(job) + n_after * sizeof(int32_t));
}

static void hand_over(ds4_store_writer *w, job *j)
{
    append(&w->waiting, j);
    pthread_cond_signal(&w->wake);
}

void ds4_store_writer_save(ds4_store_writer *w, const ds4_snapshot *p, ds4_tail_kind kind,
                           const int32_t *after, uint32_t n_after)
{
    const uint64_t n_bytes = ds4_snapshot_bytes(p);
    job           *j = ds4_store_writer_works(w) ? new_job(n_after) : NULL;

    ds4_store_writer_tidy(w);
    if (!j) return;
    j->p = ds4_snapshot_share(p);
    j->kind = kind;
    j->n_after = n_after;
    if (n_after > 0) memcpy(j->after, after, n_after * sizeof *after);
    pthread_mutex_lock(&w->lock);
    make_room(w, n_bytes);
    w->n_waiting++;
    w->n_bytes += n_bytes;
    hand_over(w, j);
    pthread_mutex_unlock(&w->lock);
}

void ds4_store_writer_hit(ds4_store_writer *w, int64_t tail)
{
    job *j = ds4_store_writer_works(w) ? new_job(0) : NULL;

    if (!j) return;
    j->tail = tail;
    pthread_mutex_lock(&w->lock);
    hand_over(w, j);
    pthread_mutex_unlock(&w->lock);
}
