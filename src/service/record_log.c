/* record_log.c - see record_log.h. */
#include "service/record_log.h"

#include "service/store/store_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC = 0x31525344, MAX_RECORD = 1 << 30, SUM_BYTES = 8 };

typedef struct record_head {
    uint32_t magic, n_bytes;
    uint8_t  sum[SUM_BYTES];
} record_head;

struct ds4_record_log {
    int              fd;        /* -1: writing has failed */
    uint64_t         n_bytes, max_bytes;
    bool             damaged, renewing;
    ds4_record_owner owner;
    ds4_str          out;       /* the record under way */
    char             path[];
};

static record_head head_of(const void *data, size_t n_bytes)
{
    const ds4_kv_key key = ds4_kv_hash(data, n_bytes);
    record_head      head = { .magic = MAGIC, .n_bytes = (uint32_t)n_bytes };

    memcpy(head.sum, key.b, SUM_BYTES);
    return head;
}

/* ---- reading ------------------------------------------------------------------------------------ */

/* The bytes of a record behind its head. */
static bool read_body(FILE *f, const record_head *head, uint64_t n_left, ds4_str *body)
{
    char part[16 << 10];

    if (head->magic != MAGIC || head->n_bytes > MAX_RECORD || head->n_bytes > n_left) return false;
    ds4_str_truncate(body, 0);
    for (size_t left = head->n_bytes; left > 0;) {
        const size_t n = fread(part, 1, left < sizeof part ? left : sizeof part, f);
        if (n == 0) return false;
        ds4_str_add(body, part, n);
        left -= n;
    }
    if (body->failed) return false;
    const record_head good = head_of(ds4_str_text(body), body->n_bytes);
    return !memcmp(&good, head, sizeof good);
}

static void read_all(ds4_record_log *l, FILE *f, uint64_t n_file)
{
    ds4_str     body = { 0 };
    record_head head;

    while (n_file - l->n_bytes >= sizeof head && fread(&head, sizeof head, 1, f) == 1 &&
           read_body(f, &head, n_file - l->n_bytes - sizeof head, &body)) {
        l->n_bytes += sizeof head + body.n_bytes;
        l->owner.take(l->owner.ctx, (ds4_slice){ ds4_str_text(&body), body.n_bytes });
    }
    l->damaged = l->n_bytes < n_file;
    l->n_bytes = n_file;
    ds4_str_clear(&body);
}

/* ---- writing -------------------------------------------------------------------------------------- */

/* In one write, so that a reader finds whole records unless the disk is full. */
static void append(ds4_record_log *l, ds4_slice record)
{
    if (l->fd < 0 || record.n_bytes > MAX_RECORD) return;
    const record_head head = head_of(record.data, record.n_bytes);
    ds4_str_truncate(&l->out, 0);
    ds4_str_add(&l->out, &head, sizeof head);
    ds4_str_add(&l->out, record.data, record.n_bytes);
    if (!l->out.failed && write(l->fd, l->out.data, l->out.n_bytes) == (ssize_t)l->out.n_bytes) {
        l->n_bytes += l->out.n_bytes;
        return;
    }
    close(l->fd);
    l->fd = -1;
}

static void renew(ds4_record_log *l)
{
    char           temp[PATH_MAX];
    const int      n = snprintf(temp, sizeof temp, "%s.tmp.%ld", l->path, (long)getpid());
    const int      old = l->fd;
    const uint64_t n_old = l->n_bytes;

    l->damaged = false;
    if (n < 0 || (size_t)n >= sizeof temp) return;
    unlink(temp);
    l->fd = open(temp, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    l->n_bytes = 0;
    if (l->fd >= 0) l->owner.put_all(l->owner.ctx, l);
    if (l->fd >= 0 && fsync(l->fd) == 0 && rename(temp, l->path) == 0) {
        close(old);
        return;
    }
    unlink(temp);
    if (l->fd >= 0) close(l->fd);
    l->fd = old;
    l->n_bytes = n_old;
    l->max_bytes = n_old > UINT64_MAX / 2 ? n_old : 2 * n_old; /* not again with every record */
}

static void renew_if_full(ds4_record_log *l)
{
    if (l->renewing || l->fd < 0 || !(l->damaged || l->n_bytes > l->max_bytes)) return;
    l->renewing = true;
    renew(l);
    l->renewing = false;
}

void ds4_record_log_append(ds4_record_log *l, ds4_slice record)
{
    if (!l) return;
    append(l, record);
    renew_if_full(l);
}

/* ---- life ------------------------------------------------------------------------------------------ */

ds4_status ds4_record_log_open(ds4_record_log **out, const char *path, uint64_t max_bytes,
                               const ds4_record_owner *owner, ds4_err *err)
{
    const int   fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    const int   fd_read = fd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE       *f = fd_read < 0 ? NULL : fdopen(fd_read, "rb");
    struct stat st;

    if (!f || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        const int reason = f ? EINVAL : errno;
        if (f) fclose(f);
        else if (fd_read >= 0) close(fd_read);
        if (fd >= 0) close(fd);
        return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(reason));
    }
    ds4_record_log *l = calloc(1, sizeof *l + strlen(path) + 1);
    if (!l) {
        fclose(f);
        close(fd);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %s", path);
    }
    memcpy(l->path, path, strlen(path) + 1);
    l->fd = fd;
    l->max_bytes = max_bytes;
    l->owner = *owner;
    read_all(l, f, (uint64_t)st.st_size);
    fclose(f);
    renew_if_full(l);
    *out = l;
    return DS4_OK;
}

void ds4_record_log_close(ds4_record_log *l)
{
    if (!l) return;
    if (l->fd >= 0) close(l->fd);
    ds4_str_clear(&l->out);
    free(l);
}
