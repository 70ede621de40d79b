/* cpu_spill.c - see cpu_spill.h.
 *
 * The cache has sets of WAYS rows; a row's place in its file says which set. A set's oldest row
 * makes room. Writing other than by row gives all rows of the buffer new names, so that what
 * the cache has of the old ones is never found again. */
#include "backend/cpu/cpu_spill.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    WAYS = 8,
    LOCKS = 256,
    REGION = 65536,             /* bytes of a buffer that get new names together */
    SPINS = 200,                /* before a thread that waits lets others run */
};

struct cpu_spill {
    char            *dir;
    uint64_t         row_bytes;
    uint32_t         n_sets;
    uint64_t        *name;              /* [n_sets][WAYS]; 0: empty */
    uint32_t        *used;              /* [n_sets][WAYS] */
    uint8_t         *rows;              /* [n_sets][WAYS][row_bytes] */
    _Atomic uint32_t now;
    _Atomic uint64_t n_rows;
    atomic_flag      lock[LOCKS];
    uint64_t         next_name;         /* of a region */
};

struct cpu_spill_buf {
    cpu_spill *spill;
    int        fd;
    uint64_t   n_bytes;
    uint64_t  *region;          /* [n_regions] names, none used twice */
};

/* ---- the cache ---------------------------------------------------------------------------------- */

static uint64_t place_bytes(uint64_t row_bytes)
{
    return row_bytes + sizeof(uint64_t) + sizeof(uint32_t);
}

static uint64_t n_places(const cpu_spill *s)
{
    return (uint64_t)s->n_sets * WAYS;
}

static void *reserve(uint64_t n_bytes)
{
    void *p = mmap(NULL, (size_t)n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void give_back(void *p, uint64_t n_bytes)
{
    if (p) munmap(p, (size_t)n_bytes);
}

ds4_status cpu_spill_create(const char *dir, uint64_t max_bytes, uint64_t row_bytes, cpu_spill **out,
                            ds4_err *err)
{
    cpu_spill *s = calloc(1, sizeof *s);

    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory to keep rows on disk");
    s->row_bytes = row_bytes;
    const uint64_t n_sets = max_bytes / (WAYS * place_bytes(row_bytes));
    s->n_sets = n_sets < 1 ? 1 : n_sets < UINT32_MAX ? (uint32_t)n_sets : UINT32_MAX;
    s->next_name = 1;
    atomic_init(&s->now, 1);
    for (int i = 0; i < LOCKS; i++) atomic_flag_clear(&s->lock[i]);
    s->dir = malloc(strlen(dir) + 1);
    s->name = reserve(n_places(s) * sizeof *s->name);
    s->used = reserve(n_places(s) * sizeof *s->used);
    s->rows = reserve(n_places(s) * row_bytes);
    if (!s->dir || !s->name || !s->used || !s->rows) {
        cpu_spill_free(s);
        return ds4_fail(err, DS4_E_NOMEM, "no memory to keep rows on disk");
    }
    strcpy(s->dir, dir);
    *out = s;
    return DS4_OK;
}

void cpu_spill_free(cpu_spill *s)
{
    if (!s) return;
    give_back(s->name, n_places(s) * sizeof *s->name);
    give_back(s->used, n_places(s) * sizeof *s->used);
    give_back(s->rows, n_places(s) * s->row_bytes);
    free(s->dir);
    free(s);
}

/* No two rows have the same name, 0 is nobody's. */
static uint64_t name_of(cpu_spill_row row)
{
    return row.b->region[row.off / REGION] * REGION + row.off % REGION;
}

static uint32_t set_of(const cpu_spill *s, uint64_t name)
{
    const uint64_t mixed = name * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return (uint32_t)(mixed * s->n_sets >> 32);
}

static atomic_flag *hold(cpu_spill *s, uint32_t set)
{
    atomic_flag *lock = &s->lock[set % LOCKS];

    for (int i = 0; atomic_flag_test_and_set_explicit(lock, memory_order_acquire); i++) {
        if (i >= SPINS) sched_yield();
    }
    return lock;
}

/* The place of a name in its set, or -1. */
static int64_t find(const cpu_spill *s, uint32_t set, uint64_t name)
{
    for (uint64_t i = (uint64_t)set * WAYS; i < ((uint64_t)set + 1) * WAYS; i++) {
        if (s->name[i] == name) return (int64_t)i;
    }
    return -1;
}

/* The place that a new row takes: an empty one or the oldest. */
static uint64_t oldest(const cpu_spill *s, uint32_t set, uint32_t now)
{
    const uint64_t first = (uint64_t)set * WAYS;
    uint64_t       best = first;

    for (uint64_t i = first; i < first + WAYS; i++) {
        if (s->name[i] == 0) return i;
        if (now - s->used[i] > now - s->used[best]) best = i;
    }
    return best;
}

static bool copy_if_there(cpu_spill *s, uint64_t name, uint32_t now, uint8_t *to)
{
    const uint32_t set = set_of(s, name);
    atomic_flag   *lock = hold(s, set);
    const int64_t  i = find(s, set, name);

    if (i >= 0) {
        memcpy(to, s->rows + (uint64_t)i * s->row_bytes, (size_t)s->row_bytes);
        s->used[i] = now;
    }
    atomic_flag_clear_explicit(lock, memory_order_release);
    return i >= 0;
}

static void insert(cpu_spill *s, uint64_t name, uint32_t now, const uint8_t *row)
{
    const uint32_t set = set_of(s, name);
    atomic_flag   *lock = hold(s, set);
    const int64_t  there = find(s, set, name);
    const uint64_t i = there >= 0 ? (uint64_t)there : oldest(s, set, now);

    if (s->name[i] == 0) atomic_fetch_add_explicit(&s->n_rows, 1, memory_order_relaxed);
    s->name[i] = name;
    s->used[i] = now;
    memcpy(s->rows + i * s->row_bytes, row, (size_t)s->row_bytes);
    atomic_flag_clear_explicit(lock, memory_order_release);
}

uint64_t cpu_spill_resident(const cpu_spill *s)
{
    return atomic_load(&s->n_rows) * place_bytes(s->row_bytes);
}

/* ---- files ---------------------------------------------------------------------------------------- */

/* Its space is taken at once: a full disk should refuse a session and not stop it. */
static bool take_space(int fd, uint64_t n_bytes)
{
    if (ftruncate(fd, (off_t)n_bytes) != 0) return false;
#ifdef __linux__
    const int reason = posix_fallocate(fd, 0, (off_t)n_bytes);
    if (reason != 0) errno = reason;
    return reason == 0;
#else
    return true;
#endif
}

/* A file that nobody else sees and that goes with the process. */
static int open_file(const char *dir, uint64_t n_bytes)
{
    const size_t n = strlen(dir) + sizeof "/rows-XXXXXX";
    char        *path = malloc(n);
    int          fd = -1;

    if (!path) return -1;
    snprintf(path, n, "%s/rows-XXXXXX", dir);
    fd = mkstemp(path);
    if (fd >= 0) {
        unlink(path);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (!take_space(fd, n_bytes)) {
            const int reason = errno;
            close(fd);
            errno = reason;
            fd = -1;
        }
    }
    free(path);
    return fd;
}

static void rename_regions(cpu_spill_buf *b, uint64_t from, uint64_t to)
{
    for (uint64_t i = from / REGION; i * REGION < to; i++) b->region[i] = b->spill->next_name++;
}

ds4_status cpu_spill_alloc(cpu_spill *s, uint64_t n_bytes, cpu_spill_buf **out, ds4_err *err)
{
    cpu_spill_buf *b = calloc(1, sizeof *b);

    if (b) b->region = malloc((size_t)(n_bytes / REGION + 1) * sizeof *b->region);
    if (!b || !b->region) {
        free(b);
        return ds4_fail(err, DS4_E_NOMEM, "no memory to keep rows on disk");
    }
    b->spill = s;
    b->n_bytes = n_bytes;
    b->fd = open_file(s->dir, n_bytes);
    if (b->fd < 0) {
        const int reason = errno;
        free(b->region);
        free(b);
        return ds4_fail(err, DS4_E_IO, "%s: no file of %llu MB for rows: %s", s->dir,
                        (unsigned long long)(n_bytes >> 20), strerror(reason));
    }
#ifdef __linux__
    /* A row is wanted, not what lies beside it. */
    posix_fadvise(b->fd, 0, 0, POSIX_FADV_RANDOM);
#endif
    rename_regions(b, 0, n_bytes);
    *out = b;
    return DS4_OK;
}

void cpu_spill_release(cpu_spill_buf *b)
{
    close(b->fd);
    free(b->region);
    free(b);
}

/* All of it, or the reason why not: errno, -1 where the file ends. */
static int read_all(const cpu_spill_buf *b, uint64_t off, uint8_t *to, uint64_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = pread(b->fd, to, (size_t)n_bytes, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0 ? -1 : errno;
        to += n;
        off += (uint64_t)n;
        n_bytes -= (uint64_t)n;
    }
    return 0;
}

static int write_all(const cpu_spill_buf *b, uint64_t off, const uint8_t *from, uint64_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = pwrite(b->fd, from, (size_t)n_bytes, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n == 0 ? ENOSPC : errno;
        from += n;
        off += (uint64_t)n;
        n_bytes -= (uint64_t)n;
    }
    return 0;
}

ds4_status cpu_spill_failed(const cpu_spill *s, int reason, ds4_err *err)
{
    return ds4_fail(err, DS4_E_IO, "%s: rows on disk: %s", s->dir,
                    reason < 0 ? "the file ends" : strerror(reason));
}

ds4_status cpu_spill_write(cpu_spill_buf *b, uint64_t off, const void *from, uint64_t n_bytes, ds4_err *err)
{
    const int reason = write_all(b, off, from, n_bytes);

    rename_regions(b, off, off + n_bytes);
    return reason == 0 ? DS4_OK : cpu_spill_failed(b->spill, reason, err);
}

ds4_status cpu_spill_read(cpu_spill_buf *b, uint64_t off, void *to, uint64_t n_bytes, ds4_err *err)
{
    const int reason = read_all(b, off, to, n_bytes);
    return reason == 0 ? DS4_OK : cpu_spill_failed(b->spill, reason, err);
}

/* ---- rows ----------------------------------------------------------------------------------------- */

int cpu_spill_put(cpu_spill_row row, const void *from)
{
    cpu_spill *s = row.b->spill;

    insert(s, name_of(row), atomic_load_explicit(&s->now, memory_order_relaxed), from);
    return write_all(row.b, row.off, from, s->row_bytes);
}

/* Read n_bytes if the system has them at hand. */
static bool read_at_hand(const cpu_spill_buf *b, uint64_t off, uint8_t *to, uint64_t n_bytes)
{
#if defined(__linux__) && defined(RWF_NOWAIT)
    const struct iovec v = { .iov_base = to, .iov_len = (size_t)n_bytes };
    return preadv2(b->fd, &v, 1, (off_t)off, RWF_NOWAIT) == (ssize_t)n_bytes;
#else
    return read_all(b, off, to, n_bytes) == 0;
#endif
}

/* Neighbours among the rows wanted, that one read brings. */
typedef struct stretch {
    uint32_t first, n;
} stretch;

int cpu_spill_fetch(cpu_spill *s, const cpu_spill_row *row, uint32_t n, uint8_t *to)
{
    const uint32_t now = atomic_fetch_add_explicit(&s->now, 1, memory_order_relaxed);
    const uint64_t bytes = s->row_bytes;
    stretch        missing[CPU_SPILL_BATCH], late[CPU_SPILL_BATCH];
    uint32_t       n_missing = 0, n_late = 0;

    assert(n <= CPU_SPILL_BATCH);
    for (uint32_t i = 0; i < n; i++) {
        if (copy_if_there(s, name_of(row[i]), now, to + i * bytes)) continue;
        stretch *last = n_missing ? &missing[n_missing - 1] : NULL;
        if (last && last->first + last->n == i && row[i].b == row[i - 1].b
            && row[i].off == row[i - 1].off + bytes) {
            last->n++;
        } else {
            missing[n_missing++] = (stretch){ i, 1 };
        }
    }
    for (uint32_t i = 0; i < n_missing; i++) {
        const cpu_spill_row *r = &row[missing[i].first];
        if (read_at_hand(r->b, r->off, to + missing[i].first * bytes, missing[i].n * bytes)) continue;
#ifdef __linux__
        posix_fadvise(r->b->fd, (off_t)r->off, (off_t)(missing[i].n * bytes), POSIX_FADV_WILLNEED);
#endif
        late[n_late++] = missing[i];
    }
    for (uint32_t i = 0; i < n_late; i++) {
        const cpu_spill_row *r = &row[late[i].first];
        const int reason = read_all(r->b, r->off, to + late[i].first * bytes, late[i].n * bytes);
        if (reason != 0) return reason;
    }
    for (uint32_t i = 0; i < n_missing; i++) {
        for (uint32_t j = missing[i].first; j < missing[i].first + missing[i].n; j++) {
            insert(s, name_of(row[j]), now, to + j * bytes);
        }
    }
    return 0;
}
