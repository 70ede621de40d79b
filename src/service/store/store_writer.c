/* store_writer.c - see store_writer.h. */
#include "service/store/store_writer.h"

#include "base/log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A position to store, or a hit to count. */
typedef struct job {
    struct job   *next;
    ds4_snapshot *p;            /* NULL: a hit */
    ds4_tail_kind kind;
    int64_t       tail;         /* that was hit */
    ds4_kv_key    reader;
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
    bool            busy, stop, hurry;
    atomic_bool     failed;     /* writing has, and is tried again; what waits goes on waiting */
    atomic_ullong   n_failures;
    atomic_bool     any_done;
    ds4_kv_key      reader;     /* the owner's: of what is saved now */
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

/* ---- waiting ----------------------------------------------------------------------------------- */

/* The clock of waits does not follow those who set the time, where the system has such a one. */
static void make_wake(ds4_store_writer *w)
{
    pthread_condattr_t how;

    pthread_condattr_init(&how);
#ifdef __linux__
    pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&w->wake, &how);
    pthread_condattr_destroy(&how);
}

static void wait_ns(ds4_store_writer *w, uint64_t ns)
{
    struct timespec until;

#ifdef __linux__
    clock_gettime(CLOCK_MONOTONIC, &until);
#else
    clock_gettime(CLOCK_REALTIME, &until);
#endif
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_cond_timedwait(&w->wake, &w->lock, &until);
}

/* ---- the thread --------------------------------------------------------------------------------- */

/* False when it is to be tried again. */
static bool carry_out(ds4_store_writer *w, const job *j)
{
    ds4_err err;

    if (!j->p) {
        ds4_store_count_hit(w->store, j->tail);
        return true;
    }
    ds4_store_set_reader(w->store, &j->reader);
    const ds4_status st = ds4_store_save(w->store, j->p, j->kind, j->after, j->n_after, &err);
    atomic_store(&w->failed, st == DS4_E_IO);
    atomic_store(&w->n_failures, ds4_store_n_stops(w->store));
    if (st == DS4_E_IO) return false;           /* the store itself has said so */
    if (st != DS4_OK && !w->said) {
        ds4_log(DS4_LOG_WARN, "kv", "%s", err.text);
        w->said = true;
    }
    return true;
}

/* Until there is something to do, and the store may be asked again. Called with the lock. */
static void wait_for_work(ds4_store_writer *w)
{
    for (;;) {
        const uint64_t retry_ns = atomic_load(&w->failed) ? ds4_store_retry_ns(w->store) : 0;
        if (w->stop || (w->waiting.first && (retry_ns == 0 || w->hurry))) break;
        if (!w->waiting.first || retry_ns == 0) {
            pthread_cond_wait(&w->wake, &w->lock);
        } else {
            wait_ns(w, retry_ns);
        }
    }
    if (w->hurry || w->stop) ds4_store_retry_now(w->store);
    w->hurry = false;
}

/* A job that could not be done waits again, before all others; at the end of the program it is given
 * up, as they are. */
static void put_back(ds4_store_writer *w, job *j)
{
    j->next = w->waiting.first;
    if (!j->next) w->waiting.end = &j->next;
    w->waiting.first = j;
    w->n_waiting++;
    w->n_bytes += ds4_snapshot_bytes(j->p);
    while (w->stop && w->waiting.first) {
        job *left = take(&w->waiting, &w->waiting.first);
        append(&w->done, left);
        atomic_store(&w->any_done, true);
    }
}

static void *work(void *arg)
{
    ds4_store_writer *w = arg;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        wait_for_work(w);
        if (!w->waiting.first) break;
        job *j = take(&w->waiting, &w->waiting.first);
        if (j->p) {
            w->n_waiting--;
            w->n_bytes -= ds4_snapshot_bytes(j->p);
        }
        w->busy = true;
        pthread_mutex_unlock(&w->lock);
        const bool over = carry_out(w, j);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        if (over) append(&w->done, j);
        else put_back(w, j);
        atomic_store(&w->any_done, true);
        if (!over || !w->waiting.first) pthread_cond_signal(&w->idle);
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
    make_wake(w);
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
    while (w->busy || (w->waiting.first && !atomic_load(&w->failed))) pthread_cond_wait(&w->idle, &w->lock);
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

void ds4_store_writer_flush(ds4_store_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->hurry = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

bool ds4_store_writer_works(const ds4_store_writer *w)
{
    return !atomic_load(&w->failed);
}

uint64_t ds4_store_writer_failures(const ds4_store_writer *w)
{
    return atomic_load(&w->n_failures);
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
    job           *j = new_job(n_after);

    ds4_store_writer_tidy(w);
    if (!j) return;
    j->p = ds4_snapshot_share(p);
    j->kind = kind;
    j->reader = w->reader;
    j->n_after = n_after;
    if (n_after > 0) memcpy(j->after, after, n_after * sizeof *after);
    pthread_mutex_lock(&w->lock);
    make_room(w, n_bytes);
    w->n_waiting++;
    w->n_bytes += n_bytes;
    hand_over(w, j);
    pthread_mutex_unlock(&w->lock);
}

void ds4_store_writer_set_reader(ds4_store_writer *w, const ds4_kv_key *reader)
{
    w->reader = *reader;
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
