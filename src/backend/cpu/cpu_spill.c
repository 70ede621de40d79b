/* cpu_spill.c - see cpu_spill.h. */
#include "backend/cpu/cpu_spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    FAULTS_PER_TICK = 64,               /* at most; an eighth of a small budget */
    /* A row that a thread is about to read was touched a moment ago: grains of the last
     * ticks are not dropped under it. If one were, reading would merely fault once more. */
    SAFE_TICKS = 2,
    ROOM = 16,                          /* grains over the budget before none is spared */
};

ds4_status cpu_spill_create(const char *dir, uint64_t max_bytes, cpu_spill **out, ds4_err *err)
{
    cpu_spill *s = calloc(1, sizeof *s);

    if (s) s->dir = malloc(strlen(dir) + 1);
    if (!s || !s->dir) {
        free(s);
        return ds4_fail(err, DS4_E_NOMEM, "no memory to keep rows on disk");
    }
    strcpy(s->dir, dir);
    atomic_init(&s->now, 1);
    s->max_resident = max_bytes / CPU_GRAIN ? max_bytes / CPU_GRAIN : 1;
    s->faults_per_tick = s->max_resident / 8 < FAULTS_PER_TICK ? s->max_resident / 8 + 1 : FAULTS_PER_TICK;
    atomic_flag_clear(&s->dropping);
    *out = s;
    return DS4_OK;
}

void cpu_spill_free(cpu_spill *s)
{
    if (!s) return;
    free(s->dir);
    free(s);
}

/* Its space is taken at once: a page that finds no room on the disk when it is written
 * would end the process. */
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

ds4_status cpu_spill_alloc(cpu_spill *s, uint64_t n_bytes, cpu_spill_buf **out, ds4_err *err)
{
    cpu_spill_buf *b = calloc(1, sizeof *b);

    if (!b) return ds4_fail(err, DS4_E_NOMEM, "no memory to keep rows on disk");
    b->spill = s;
    b->n_bytes = n_bytes;
    b->n_grains = (uint32_t)((n_bytes + CPU_GRAIN - 1) / CPU_GRAIN);
    b->stamp = calloc(b->n_grains, sizeof *b->stamp);
    b->fd = open_file(s->dir, n_bytes);
    void *data = b->fd < 0 ? MAP_FAILED
                           : mmap(NULL, (size_t)n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    if (!b->stamp || data == MAP_FAILED) {
        const int reason = errno;
        if (b->fd >= 0) close(b->fd);
        free((void *)b->stamp);
        free(b);
        return ds4_fail(err, DS4_E_IO, "%s: no file of %llu MB for rows: %s", s->dir,
                        (unsigned long long)(n_bytes >> 20), strerror(reason));
    }
    b->data = data;
    /* A row is wanted, not what lies beside it. */
    madvise(data, (size_t)n_bytes, MADV_RANDOM);
    b->next = s->bufs;
    s->bufs = b;
    *out = b;
    return DS4_OK;
}

void cpu_spill_release(cpu_spill_buf *b)
{
    cpu_spill *s = b->spill;

    for (cpu_spill_buf **at = &s->bufs; *at; at = &(*at)->next) {
        if (*at != b) continue;
        *at = b->next;
        break;
    }
    s->hand = NULL;
    for (uint32_t i = 0; i < b->n_grains; i++) {
        if (atomic_load(&b->stamp[i])) atomic_fetch_sub(&s->n_resident, 1);
    }
    munmap(b->data, (size_t)b->n_bytes);
    close(b->fd);
    free((void *)b->stamp);
    free(b);
}

/* ---- copying ------------------------------------------------------------------------------------ */

ds4_status cpu_spill_write(cpu_spill_buf *b, uint64_t off, const void *from, uint64_t n_bytes, ds4_err *err)
{
    const uint8_t *bytes = from;

    while (n_bytes > 0) {
        const ssize_t n = pwrite(b->fd, bytes, (size_t)n_bytes, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            return ds4_fail(err, DS4_E_DEVICE, "%s: rows cannot be written: %s", b->spill->dir,
                            n == 0 ? "the disk is full" : strerror(errno));
        }
        bytes += n;
        off += (uint64_t)n;
        n_bytes -= (uint64_t)n;
    }
    return DS4_OK;
}

ds4_status cpu_spill_read(cpu_spill_buf *b, uint64_t off, void *to, uint64_t n_bytes, ds4_err *err)
{
    uint8_t *bytes = to;

    while (n_bytes > 0) {
        const ssize_t n = pread(b->fd, bytes, (size_t)n_bytes, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            return ds4_fail(err, DS4_E_DEVICE, "%s: rows cannot be read: %s", b->spill->dir,
                            n == 0 ? "the file ends" : strerror(errno));
        }
        bytes += n;
        off += (uint64_t)n;
        n_bytes -= (uint64_t)n;
    }
    return DS4_OK;
}

/* ---- dropping ------------------------------------------------------------------------------------- */

/* Unmap grains from .. to-1 of a buffer. The system keeps its copy of the file as long as
 * it has memory to spare, so that what comes back soon comes back fast. */
static void unmap(cpu_spill_buf *b, uint32_t from, uint32_t to)
{
    const uint64_t off = (uint64_t)from * CPU_GRAIN;
    const uint64_t end = (uint64_t)to * CPU_GRAIN < b->n_bytes ? (uint64_t)to * CPU_GRAIN : b->n_bytes;

    madvise(b->data + off, (size_t)(end - off), MADV_DONTNEED);
#ifndef __linux__
    msync(b->data + off, (size_t)(end - off), MS_ASYNC | MS_INVALIDATE);
#endif
}

/* Take a grain's stamp away if it is old enough. */
static bool retire(cpu_spill_buf *b, uint32_t i, uint32_t now, uint32_t age)
{
    uint32_t was = atomic_load_explicit(&b->stamp[i], memory_order_relaxed);

    if (was == 0 || now - was < age) return false;
    if (!atomic_compare_exchange_strong(&b->stamp[i], &was, 0)) return false;
    atomic_fetch_sub(&b->spill->n_resident, 1);
    return true;
}

/* One round over all buffers, dropping what was not used for `age` ticks. */
static void round_of(cpu_spill *s, uint64_t enough, uint32_t age)
{
    const uint32_t now = atomic_load(&s->now);
    uint64_t       left = 0;

    for (const cpu_spill_buf *b = s->bufs; b; b = b->next) left += b->n_grains;
    while (left > 0 && atomic_load(&s->n_resident) > enough) {
        if (!s->hand || s->hand_at >= s->hand->n_grains) {
            s->hand = s->hand && s->hand->next ? s->hand->next : s->bufs;
            s->hand_at = 0;
        }
        cpu_spill_buf *b = s->hand;
        uint32_t       i = s->hand_at, from = i;
        for (; i < b->n_grains && left > 0 && i - from < 64; i++, left--) {
            if (!retire(b, i, now, age)) break;
        }
        if (i > from) unmap(b, from, i);
        else left--;
        s->hand_at = i > from ? i : i + 1;
    }
}

static void drop(cpu_spill *s)
{
    const uint64_t enough = s->max_resident - s->max_resident / 16;
    const uint32_t now = atomic_load(&s->now);

    /* Old grains first: half of the whole time back, then a quarter, and so on. */
    for (uint32_t age = now / 2; age > SAFE_TICKS; age /= 2) {
        if (atomic_load(&s->n_resident) <= enough) return;
        round_of(s, enough, age);
    }
    if (atomic_load(&s->n_resident) > enough) round_of(s, enough, SAFE_TICKS);
    if (atomic_load(&s->n_resident) > s->max_resident + ROOM) round_of(s, s->max_resident, 0);
}

void cpu_spill_fault(cpu_spill_buf *b, uint32_t i_grain)
{
    cpu_spill     *s = b->spill;
    const uint32_t now = atomic_load(&s->now);
    uint32_t       none = 0;

    if (!atomic_compare_exchange_strong(&b->stamp[i_grain], &none, now)) return;    /* another did */
    const uint64_t n = atomic_fetch_add(&s->n_resident, 1) + 1;
    const uint64_t n_faults = atomic_fetch_add(&s->n_faults, 1) + 1;
    if (n_faults % s->faults_per_tick == 0 && now < UINT32_MAX) atomic_fetch_add(&s->now, 1);
    if (n <= s->max_resident || atomic_flag_test_and_set(&s->dropping)) return;
    drop(s);
    atomic_flag_clear(&s->dropping);
}

void cpu_spill_discard(cpu_spill_buf *b, uint64_t off, uint64_t n_bytes)
{
    const uint64_t from = (off + CPU_GRAIN - 1) / CPU_GRAIN, to = (off + n_bytes) / CPU_GRAIN;

    for (uint64_t i = from; i < to; i++) {
        if (atomic_exchange(&b->stamp[i], 0)) atomic_fetch_sub(&b->spill->n_resident, 1);
    }
    madvise(b->data + off, (size_t)n_bytes, MADV_DONTNEED);
}

uint64_t cpu_spill_resident(const cpu_spill *s)
{
    return atomic_load(&s->n_resident) * CPU_GRAIN;
}
