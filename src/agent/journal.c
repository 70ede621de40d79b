/* journal.c - see journal.h. */
#include "agent/journal.h"

#include "base/file_at.h"
#include "service/store/store_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[DS4_JOURNAL_HEAD + 1] = "DS4 AGENT LOG 1\n";

struct ds4_journal {
    int      fd;
    uint64_t end;
    bool     failed; /* half a record could not be taken back */
    char    *path;
};

/* ---- bytes ---------------------------------------------------------------------------------- */

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* The first 8 bytes of the hash of kind and length, then of the payload behind it. */
static void checksum(const uint8_t head[8], const void *payload, size_t n_bytes, uint8_t sum[8])
{
    const ds4_kv_key begin = ds4_kv_hash(head, 8);
    const ds4_kv_key all = n_bytes > 0 ? ds4_kv_hash_on(&begin, payload, n_bytes) : begin;

    memcpy(sum, all.b, 8);
}

bool ds4_journal_read(ds4_slice content, uint64_t at, ds4_record *out)
{
    uint8_t sum[8];

    if (at < DS4_JOURNAL_HEAD || at > content.n_bytes || content.n_bytes - at < DS4_JOURNAL_RECORD_HEAD) {
        return false;
    }
    const uint8_t *head = (const uint8_t *)content.data + at;
    const uint32_t n_bytes = get_u32(head + 4);
    if (n_bytes > DS4_JOURNAL_MAX_RECORD || n_bytes > content.n_bytes - at - DS4_JOURNAL_RECORD_HEAD)
        return false;
    const char *payload = content.data + at + DS4_JOURNAL_RECORD_HEAD;
    checksum(head, payload, n_bytes, sum);
    if (memcmp(sum, head + 8, 8) != 0) return false;
    *out = (ds4_record){ .kind = get_u32(head),
                         .payload = { payload, n_bytes },
                         .at = at,
                         .next = at + DS4_JOURNAL_RECORD_HEAD + n_bytes };
    return true;
}

/* ---- the file ------------------------------------------------------------------------------- */

static ds4_status read_all(int fd, const char *path, uint64_t n_bytes, ds4_str *content, ds4_err *err)
{
    char   buffer[1 << 16];
    size_t done = 0;

    while (done < n_bytes) {
        const size_t want = n_bytes - done < sizeof buffer ? (size_t)(n_bytes - done) : sizeof buffer;
        const size_t n = ds4_read_at(fd, buffer, want, done);
        if (n < want && errno != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
        ds4_str_add(content, buffer, n);
        done += n;
        if (n < want) break;
    }
    if (content->failed) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for %zu bytes", path, done);
    return DS4_OK;
}

/* Find the end of the last whole record. */
static uint64_t whole_end(ds4_slice content)
{
    uint64_t   at = DS4_JOURNAL_HEAD;
    ds4_record record;

    while (ds4_journal_read(content, at, &record)) at = record.next;
    return at;
}

static ds4_status check_size(int fd, const char *path, uint64_t *n_bytes, ds4_err *err)
{
    struct stat facts;

    if (fstat(fd, &facts) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(facts.st_mode)) return ds4_fail(err, DS4_E_FORMAT, "%s: not a file", path);
    if ((uint64_t)facts.st_size > DS4_JOURNAL_MAX_BYTES) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: a session of %lld bytes is too long to go on", path,
                        (long long)facts.st_size);
    }
    *n_bytes = (uint64_t)facts.st_size;
    return DS4_OK;
}

static ds4_status check_magic(const char *path, const ds4_str *content, ds4_err *err)
{
    if (content->n_bytes >= DS4_JOURNAL_HEAD && memcmp(content->data, magic, DS4_JOURNAL_HEAD) == 0)
        return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: not a session of ds4-agent, or of another version", path);
}

static ds4_status write_at(ds4_journal *j, const void *data, size_t n_bytes, uint64_t at, ds4_err *err)
{
    if (ds4_write_at(j->fd, data, n_bytes, at)) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s: %s", j->path, strerror(errno));
}

/* Begin a new file, or take over what there is of an old one. */
static ds4_status take_over(ds4_journal *j, ds4_str *content, ds4_err *err)
{
    uint64_t n_bytes;

    if (flock(j->fd, LOCK_EX | LOCK_NB) != 0) {
        return ds4_fail(err, DS4_E_IO,
                        errno == EWOULDBLOCK ? "%s: another ds4-agent has this session open"
                                             : "%s: cannot be locked",
                        j->path);
    }
    DS4_TRY(check_size(j->fd, j->path, &n_bytes, err));
    DS4_TRY(read_all(j->fd, j->path, n_bytes, content, err));
    /* A process that was killed while it began the file left a beginning of the magic. */
    if (content->n_bytes < DS4_JOURNAL_HEAD && memcmp(ds4_str_text(content), magic, content->n_bytes) == 0) {
        ds4_str_truncate(content, 0);
        ds4_str_add(content, magic, DS4_JOURNAL_HEAD);
        DS4_TRY(write_at(j, magic, DS4_JOURNAL_HEAD, 0, err));
    }
    DS4_TRY(check_magic(j->path, content, err));
    j->end = whole_end((ds4_slice){ content->data, content->n_bytes });
    ds4_str_truncate(content, (size_t)j->end);
    if (ftruncate(j->fd, (off_t)j->end) != 0)
        return ds4_fail(err, DS4_E_IO, "%s: %s", j->path, strerror(errno));
    return DS4_OK;
}

ds4_status ds4_journal_open(const char *path, ds4_journal **out, ds4_str *content, ds4_err *err)
{
    ds4_journal *j = calloc(1, sizeof *j);
    ds4_status   st = DS4_OK;

    if (j) j->fd = -1;
    if (!j || !(j->path = strdup(path))) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a session");
    if (st == DS4_OK) {
        j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (j->fd < 0) st = ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    }
    if (st == DS4_OK) st = take_over(j, content, err);
    if (st != DS4_OK) {
        ds4_journal_close(j);
        return st;
    }
    *out = j;
    return DS4_OK;
}

void ds4_journal_close(ds4_journal *j)
{
    if (!j) return;
    if (j->fd >= 0) close(j->fd);
    free(j->path);
    free(j);
}

ds4_status ds4_journal_add(ds4_journal *j, uint32_t kind, const void *payload, size_t n_bytes, ds4_err *err)
{
    uint8_t      small[256], *record = small;
    const size_t whole = DS4_JOURNAL_RECORD_HEAD + n_bytes;

    if (j->failed) return ds4_fail(err, DS4_E_IO, "%s: writing failed earlier", j->path);
    if (n_bytes > DS4_JOURNAL_MAX_RECORD || j->end + whole > DS4_JOURNAL_MAX_BYTES) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: the session is too long to go on", j->path);
    }
    if (whole > sizeof small && !(record = malloc(whole))) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %zu bytes of a session", whole);
    }
    put_u32(record, kind);
    put_u32(record + 4, (uint32_t)n_bytes);
    checksum(record, payload, n_bytes, record + 8);
    if (n_bytes > 0) memcpy(record + DS4_JOURNAL_RECORD_HEAD, payload, n_bytes);
    const ds4_status st = write_at(j, record, whole, j->end, err);
    if (record != small) free(record);
    if (st == DS4_OK) j->end += whole;
    else if (ftruncate(j->fd, (off_t)j->end) != 0) j->failed = true;
    return st;
}

void ds4_journal_take_back(ds4_journal *j, uint64_t at)
{
    if (ftruncate(j->fd, (off_t)at) == 0) j->end = at;
    else j->failed = true;
}

ds4_status ds4_journal_sync(ds4_journal *j, ds4_err *err)
{
    if (fsync(j->fd) == 0 || errno == EINVAL || errno == EROFS) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s: %s", j->path, strerror(errno));
}

uint64_t ds4_journal_end(const ds4_journal *j)
{
    return j->end;
}

ds4_status ds4_journal_peek(const char *path, size_t max_bytes, ds4_str *content, ds4_err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    uint64_t  n_bytes;

    if (fd < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    ds4_status st = check_size(fd, path, &n_bytes, err);
    if (st == DS4_OK) st = read_all(fd, path, n_bytes < max_bytes ? n_bytes : max_bytes, content, err);
    if (st == DS4_OK) st = check_magic(path, content, err);
    close(fd);
    return st;
}
