/* store_identity.c - see store_identity.h. */
#include "service/store/store_identity.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sysmem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#endif

enum {
    PART_BYTES = 4 << 20,
    WAIT_MS = 10000,
    NAP_MS = 50,                        /* looks at whether it shall end */
    MOST_FILES = 256,                   /* remembered in an index */
};
#define AT_ONCE_BYTES (UINT64_C(64) << 20)

/* Times of files go by the kernel's ticks, and by two seconds on some file systems: a change soon after
 * another may leave no trace. Facts that are younger prove nothing. */
#define GRAIN_NS INT64_C(2000000000)

typedef struct model_file {
    int            fd;
    ds4_file_facts facts;
    ds4_kv_key     hash;
    bool           is_known, is_noted;  /* its hash; in the index as well */
} model_file;

struct ds4_identity {
    pthread_mutex_t lock;
    pthread_cond_t  done;
    const ds4_engine *engine;
    char            family[64];
    ds4_kv_key      steering;           /* all zeros: none */
    uint32_t        n_steered;          /* changes of it when this was opened */
    uint8_t         nonce[16];          /* of facts that prove nothing */
    uint32_t        n, wait_ms;
    bool            is_young;           /* the facts prove nothing */
    bool            is_changed, said;
    bool            is_patient;         /* may hash in the background */
    bool            fits;               /* all files into memory: what is read may stay there */
    bool            has_thread, runs, stop;
    pthread_t       thread;
    char           *path;               /* of the first, for the log */
    model_file      file[];             /* [n] */
};

/* ---- facts ------------------------------------------------------------------------------------ */

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool is_young(const ds4_file_facts *f)
{
    const int64_t last = f->mtime_ns > f->ctime_ns ? f->mtime_ns : f->ctime_ns;
    return now_ns() - last < GRAIN_NS;
}

/* A change that left size and time of the content alone (chmod, a rename, a time that was set back) is
 * looked into: the hash is taken again. */
static void look_again(ds4_identity *id)
{
    for (uint32_t i = 0; i < id->n; i++) {
        model_file    *f = &id->file[i];
        ds4_file_facts now;
        if (f->fd < 0 || !ds4_file_facts_get(f->fd, &now) || now.n_bytes != f->facts.n_bytes
            || now.mtime_ns != f->facts.mtime_ns) {
            id->is_changed = true;
        } else if (!ds4_file_facts_eq(&now, &f->facts)) {
            f->facts = now;
            f->is_known = f->is_noted = false;
            id->is_young = true;
        }
    }
    if (!id->is_changed || id->said) return;
    id->said = true;
    ds4_log(DS4_LOG_WARN, "kv", "%s was changed while it is in use: nothing is stored or resumed any more;"
            " start the program again", id->path);
}

/* ---- names ------------------------------------------------------------------------------------ */

/* Steering joins what computes. Without it the name is what it always was. */
static ds4_kv_key name_of_family(const ds4_identity *id)
{
    static const ds4_kv_key none;
    const ds4_kv_key        key = ds4_kv_hash(id->family, strlen(id->family));

    if (ds4_kv_key_eq(&id->steering, &none)) return key;
    return ds4_kv_hash_on(&key, id->steering.b, sizeof id->steering.b);
}

/* The directions and both factors; zeros when nothing is steered. */
static ds4_kv_key name_of_steering(const ds4_engine *e)
{
    const ds4_steering by = ds4_engine_steering(e);
    const float        factor[2] = { by.attn + 0.0f, by.ffn + 0.0f };      /* -0 is 0 */
    ds4_kv_key         key = { { 0 } };
    size_t             n;
    const float       *v = ds4_engine_directions(e, &n);

    if (!v) return key;
    key = ds4_kv_hash(v, n * sizeof *v);
    return ds4_kv_hash_on(&key, factor, sizeof factor);
}

static ds4_kv_key name_by_facts(const ds4_identity *id)
{
    ds4_kv_key key = name_of_family(id);

    for (uint32_t i = 0; i < id->n; i++) {
        const ds4_file_facts *f = &id->file[i].facts;
        const uint64_t        what[5] = { f->device, f->inode, f->n_bytes, (uint64_t)f->mtime_ns,
                                          (uint64_t)f->ctime_ns };
        key = ds4_kv_hash_on(&key, what, sizeof what);
    }
    return id->is_young ? ds4_kv_hash_on(&key, id->nonce, sizeof id->nonce) : key;
}

static ds4_kv_key name_by_content(const ds4_identity *id)
{
    ds4_kv_key key = name_of_family(id);

    for (uint32_t i = 0; i < id->n; i++)
        key = ds4_kv_hash_on(&key, id->file[i].hash.b, sizeof id->file[i].hash.b);
    return key;
}

static bool all_known(const ds4_identity *id)
{
    for (uint32_t i = 0; i < id->n; i++) {
        if (!id->file[i].is_known) return false;
    }
    return true;
}

/* ---- hashing ---------------------------------------------------------------------------------- */

/* A part of a file, and whether the disk had to be asked for it. */
static ssize_t read_part(int fd, uint8_t *to, uint64_t at, bool *from_disk)
{
    *from_disk = true;
#ifdef RWF_NOWAIT
    const struct iovec iov = { to, PART_BYTES };
    const ssize_t      n_cached = preadv2(fd, &iov, 1, (off_t)at, RWF_NOWAIT);
    *from_disk = n_cached <= 0;
    if (n_cached > 0) return n_cached;
#endif
    ssize_t n;
    do {
        n = pread(fd, to, PART_BYTES, (off_t)at);
    } while (n < 0 && errno == EINTR);
    return n;
}

static bool shall_end(ds4_identity *id)
{
    pthread_mutex_lock(&id->lock);
    const bool stop = id->stop || id->is_changed;
    pthread_mutex_unlock(&id->lock);
    return stop;
}

/* Hash a file. patient: leave the disk to others for as long as each part took, and memory to weights
 * and rows where these do not fit beside the file. */
static bool hash_file(ds4_identity *id, int fd, uint64_t n_bytes, bool patient, ds4_kv_key *out)
{
    ds4_kv_stream *stream = ds4_kv_stream_begin();
    uint8_t       *part = malloc(PART_BYTES);
    uint64_t       at = 0;
    bool           ok = stream && part;

    while (ok && at < n_bytes) {
        const uint64_t begin = ds4_now_ns();
        bool           from_disk;
        const ssize_t  n = read_part(fd, part, at, &from_disk);
        ok = n > 0 && !(patient && shall_end(id));
        if (!ok) break;
        ds4_kv_stream_add(stream, part, (size_t)n);
        if (patient && from_disk) {
#ifdef POSIX_FADV_DONTNEED
            if (!id->fits) posix_fadvise(fd, (off_t)at, n, POSIX_FADV_DONTNEED);
#endif
            const uint64_t        took = ds4_now_ns() - begin;
            const struct timespec rest = { (time_t)(took / 1000000000), (long)(took % 1000000000) };
            nanosleep(&rest, NULL);
        }
        at += (uint64_t)n;
    }
    ok = ok && at == n_bytes;
    if (stream) *out = ds4_kv_stream_end(stream);
    free(part);
    return ok;
}

/* Hash those that are not known, as they are now. */
static void hash_all(ds4_identity *id, bool patient)
{
    for (uint32_t i = 0; i < id->n; i++) {
        model_file *f = &id->file[i];
        ds4_kv_key  hash;
        pthread_mutex_lock(&id->lock);
        const ds4_file_facts facts = f->facts;
        const bool           wanted = !f->is_known && f->fd >= 0 && !id->is_changed;
        pthread_mutex_unlock(&id->lock);
        if (!wanted || !hash_file(id, f->fd, facts.n_bytes, patient, &hash)) continue;
        pthread_mutex_lock(&id->lock);
        look_again(id);
        if (ds4_file_facts_eq(&facts, &f->facts)) {
            static const ds4_kv_key none;
            if (!ds4_kv_key_eq(&f->hash, &none) && !ds4_kv_key_eq(&f->hash, &hash)) {
                id->is_changed = true;          /* known before, and another now */
                look_again(id);
            }
            f->hash = hash;
            f->is_known = !id->is_changed;
        }
        pthread_mutex_unlock(&id->lock);
    }
}

/* Other work of this machine comes first. */
static void be_modest(void)
{
#ifdef __linux__
    enum { WHO_PROCESS = 1, CLASS_IDLE = 3, CLASS_SHIFT = 13 };
    const pid_t me = (pid_t)syscall(SYS_gettid);
    setpriority(PRIO_PROCESS, (id_t)me, 19);
    syscall(SYS_ioprio_set, WHO_PROCESS, me, CLASS_IDLE << CLASS_SHIFT);
#endif
}

static bool wait_for(ds4_identity *id, uint32_t ms)
{
    const uint64_t until = ds4_now_ns() + ms * UINT64_C(1000000);

    while (ds4_now_ns() < until) {
        const struct timespec nap = { 0, NAP_MS * 1000000 };
        if (shall_end(id)) return false;
        nanosleep(&nap, NULL);
    }
    return !shall_end(id);
}

static bool any_young(ds4_identity *id)
{
    bool young = false;

    pthread_mutex_lock(&id->lock);
    for (uint32_t i = 0; i < id->n; i++) young |= is_young(&id->file[i].facts);
    pthread_mutex_unlock(&id->lock);
    return young;
}

static void *work(void *arg)
{
    ds4_identity *id = arg;

    be_modest();
    bool on = wait_for(id, id->wait_ms);
    while (on && any_young(id)) on = wait_for(id, NAP_MS);
    if (on) hash_all(id, true);
    pthread_mutex_lock(&id->lock);
    pthread_cond_broadcast(&id->done);
    id->runs = false;
    pthread_mutex_unlock(&id->lock);
    return NULL;
}

/* Called with the lock. */
static void start_thread(ds4_identity *id)
{
    if (!id->is_patient || id->runs || id->stop || id->is_changed || all_known(id)) return;
    if (id->has_thread) pthread_join(id->thread, NULL);         /* it needs the lock no more */
    id->runs = id->has_thread = pthread_create(&id->thread, NULL, work, id) == 0;
}

void ds4_identity_start(ds4_identity *id)
{
    pthread_mutex_lock(&id->lock);
    id->is_patient = true;
    start_thread(id);
    pthread_mutex_unlock(&id->lock);
}

void ds4_identity_settle(ds4_identity *id)
{
    pthread_mutex_lock(&id->lock);
    while (id->runs) pthread_cond_wait(&id->done, &id->lock);
    pthread_mutex_unlock(&id->lock);
}

ds4_identity_names ds4_identity_get(ds4_identity *id)
{
    ds4_identity_names names = { .is_known = false };

    pthread_mutex_lock(&id->lock);
    look_again(id);
    names.is_changed = id->is_changed || ds4_engine_steer_changes(id->engine) != id->n_steered;
    names.is_known = !names.is_changed && all_known(id);
    names.by_facts = name_by_facts(id);
    if (names.is_known) names.by_content = name_by_content(id);
    start_thread(id);
    pthread_mutex_unlock(&id->lock);
    return names;
}

/* ---- the index -------------------------------------------------------------------------------- */

static void bind_facts(ds4_sql_row *row, const ds4_file_facts *f)
{
    ds4_sql_number(row, 1, (int64_t)f->device);
    ds4_sql_number(row, 2, (int64_t)f->inode);
    ds4_sql_number(row, 3, (int64_t)f->n_bytes);
    ds4_sql_number(row, 4, f->mtime_ns);
    ds4_sql_number(row, 5, f->ctime_ns);
}

static ds4_status read_file(model_file *f, ds4_index *ix, ds4_err *err)
{
    static const char find[] = "SELECT hash FROM file WHERE device = ? AND inode = ? AND size = ?"
                               " AND mtime = ? AND ctime = ?";
    ds4_sql          *db = ds4_index_sql(ix);
    ds4_sql_row      *row;
    ds4_status        st;

    DS4_TRY(ds4_sql_ready(db, find, &row, err));
    bind_facts(row, &f->facts);
    while (ds4_sql_next(db, row, &st, err)) {
        const ds4_slice hash = ds4_sql_get_bytes(row, 0);
        if (hash.n_bytes != sizeof f->hash.b) continue;
        memcpy(f->hash.b, hash.data, hash.n_bytes);
        f->is_known = f->is_noted = true;
    }
    return st;
}

ds4_status ds4_identity_read(ds4_identity *id, ds4_index *ix, ds4_err *err)
{
    ds4_status st = DS4_OK;

    pthread_mutex_lock(&id->lock);
    for (uint32_t i = 0; st == DS4_OK && !id->is_young && i < id->n; i++) {
        if (!id->file[i].is_known) st = read_file(&id->file[i], ix, err);
    }
    pthread_mutex_unlock(&id->lock);
    return st;
}

static ds4_status write_file(model_file *f, ds4_index *ix, ds4_err *err)
{
    static const char add[] = "INSERT OR REPLACE INTO file(device, inode, size, mtime, ctime, hash, used)"
                              " VALUES(?, ?, ?, ?, ?, ?, " DS4_SQL_NOW ")";
    static const char prune[] = "DELETE FROM file WHERE used < (SELECT used FROM file ORDER BY used DESC"
                                " LIMIT 1 OFFSET ?)";
    ds4_sql          *db = ds4_index_sql(ix);
    ds4_sql_row      *row;

    DS4_TRY(ds4_sql_ready(db, add, &row, err));
    bind_facts(row, &f->facts);
    ds4_sql_bytes(row, 6, (ds4_slice){ (const char *)f->hash.b, sizeof f->hash.b });
    DS4_TRY(ds4_sql_run(db, row, err));
    DS4_TRY(ds4_sql_ready(db, prune, &row, err));
    ds4_sql_number(row, 1, MOST_FILES);
    return ds4_sql_run(db, row, err);
}

ds4_status ds4_identity_write(ds4_identity *id, ds4_index *ix, ds4_err *err)
{
    ds4_status st = DS4_OK;

    pthread_mutex_lock(&id->lock);
    for (uint32_t i = 0; st == DS4_OK && i < id->n; i++) {
        model_file *f = &id->file[i];
        if (!f->is_known || f->is_noted || is_young(&f->facts)) continue;
        st = write_file(f, ix, err);
        f->is_noted = st == DS4_OK;
    }
    pthread_mutex_unlock(&id->lock);
    return st;
}

/* ---- life ------------------------------------------------------------------------------------- */

static uint64_t open_files(ds4_identity *id, const ds4_engine *e)
{
    uint64_t n_bytes = 0;

    for (uint32_t i = 0; i < id->n; i++) {
        model_file    *f = &id->file[i];
        ds4_file_facts now;
        f->fd = open(ds4_engine_file(e, i, &f->facts), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        /* The name must lead to what was mapped. */
        if (f->fd < 0 || !ds4_file_facts_get(f->fd, &now) || !ds4_file_facts_eq(&now, &f->facts)) {
            id->is_changed = true;
        }
        n_bytes += f->facts.n_bytes;
        id->is_young |= is_young(&f->facts);
    }
    return n_bytes;
}

ds4_status ds4_identity_open(ds4_identity **out, const ds4_identity_options *opt, ds4_err *err)
{
    const uint32_t n = ds4_engine_n_files(opt->engine);
    const char    *path = ds4_engine_info(opt->engine)->path;
    ds4_identity  *id = calloc(1, sizeof *id + n * sizeof id->file[0]);

    if (!id) return ds4_fail(err, DS4_E_NOMEM, "no memory for the identity of a model");
    pthread_mutex_init(&id->lock, NULL);
    pthread_cond_init(&id->done, NULL);
    id->n = n;
    id->wait_ms = opt->wait_ms ? opt->wait_ms : WAIT_MS;
    id->path = malloc(strlen(path) + 1);
    if (!id->path) {
        ds4_identity_close(id);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the identity of a model");
    }
    strcpy(id->path, path);
    id->engine = opt->engine;
    id->n_steered = ds4_engine_steer_changes(opt->engine);
    id->steering = name_of_steering(opt->engine);
    ds4_engine_family(opt->engine, id->family, sizeof id->family);
    const uint64_t seed[3] = { ds4_now_ns(), (uint64_t)getpid(), (uint64_t)(uintptr_t)id };
    const ds4_kv_key nonce = ds4_kv_hash(seed, sizeof seed);
    memcpy(id->nonce, nonce.b, sizeof id->nonce);
    const uint64_t n_bytes = open_files(id, opt->engine);
    id->fits = n_bytes < ds4_sysmem_get().free_bytes / 2;
    if (n_bytes <= (opt->at_once_bytes ? opt->at_once_bytes : AT_ONCE_BYTES)) hash_all(id, false);
    *out = id;
    return DS4_OK;
}

void ds4_identity_close(ds4_identity *id)
{
    if (!id) return;
    pthread_mutex_lock(&id->lock);
    id->stop = true;
    pthread_mutex_unlock(&id->lock);
    if (id->has_thread) pthread_join(id->thread, NULL);
    for (uint32_t i = 0; i < id->n; i++) {
        if (id->file[i].fd >= 0) close(id->file[i].fd);
    }
    pthread_cond_destroy(&id->done);
    pthread_mutex_destroy(&id->lock);
    free(id->path);
    free(id);
}
