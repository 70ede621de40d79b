/* keep.c - see keep.h. */
#include "agent/keep.h"

#include "base/file_at.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC_BYTES = 4, HEAD_BYTES = MAGIC_BYTES + 8 + DS4_SHA256_BYTES };
static const char magic[MAGIC_BYTES] = { 'd', 's', '4', 'k' };

typedef struct place {
    uint8_t  hash[DS4_SHA256_BYTES];
    uint64_t offset, n_bytes;   /* of the content; offset 0 is an empty slot */
    bool     checked;           /* written or compared by this process */
} place;

struct ds4_keep {
    int      fd;
    uint64_t end;
    bool     dirty;
    place   *slot;              /* an open hash table; the hash is its own hash */
    size_t   n, n_slots;        /* n_slots is a power of two */
};

static place *find(const ds4_keep *k, const uint8_t hash[DS4_SHA256_BYTES])
{
    uint64_t at;

    memcpy(&at, hash, sizeof at);
    for (;; at++) {
        place *p = &k->slot[at & (k->n_slots - 1)];
        if (p->offset == 0 || memcmp(p->hash, hash, DS4_SHA256_BYTES) == 0) return p;
    }
}

static bool grow(ds4_keep *k)
{
    if (2 * (k->n + 1) < k->n_slots) return true;
    const size_t n_old = k->n_slots, n_new = n_old ? 2 * n_old : 256;
    place       *old = k->slot, *slot = calloc(n_new, sizeof *slot);
    if (!slot) return false;
    k->slot = slot;
    k->n_slots = n_new;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].offset) *find(k, old[i].hash) = old[i];
    }
    free(old);
    return true;
}

static bool insert(ds4_keep *k, const place *p)
{
    if (!grow(k)) return false;
    place *slot = find(k, p->hash);
    if (slot->offset == 0) k->n++;
    *slot = *p;
    return true;
}

static bool read_at(int fd, void *data, size_t n_bytes, uint64_t offset)
{
    return ds4_read_at(fd, data, n_bytes, offset) == n_bytes;
}

ds4_status ds4_keep_open(ds4_keep **out, int dir_fd, const char *name, ds4_err *err)
{
    ds4_keep *k = calloc(1, sizeof *k);
    uint8_t   head[HEAD_BYTES];

    if (!k) return ds4_fail(err, DS4_E_NOMEM, "no memory for kept contents");
    k->fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    const off_t size = k->fd < 0 ? -1 : lseek(k->fd, 0, SEEK_END);
    if (size < 0 || !grow(k)) {
        const int e = errno;
        ds4_keep_close(k);
        return ds4_fail(err, DS4_E_IO, "kept contents: %s", strerror(e));
    }
    while ((uint64_t)size - k->end >= HEAD_BYTES && read_at(k->fd, head, sizeof head, k->end)) {
        place p = { .offset = k->end + HEAD_BYTES };
        memcpy(&p.n_bytes, head + MAGIC_BYTES, sizeof p.n_bytes);
        memcpy(p.hash, head + MAGIC_BYTES + 8, DS4_SHA256_BYTES);
        if (memcmp(head, magic, MAGIC_BYTES) != 0 || p.n_bytes > (uint64_t)size - p.offset) break;
        if (!insert(k, &p)) {
            ds4_keep_close(k);
            return ds4_fail(err, DS4_E_NOMEM, "no memory for kept contents");
        }
        k->end = p.offset + p.n_bytes;
    }
    *out = k;
    return DS4_OK;
}

void ds4_keep_close(ds4_keep *k)
{
    if (!k) return;
    if (k->fd >= 0) close(k->fd);
    free(k->slot);
    free(k);
}

uint64_t ds4_keep_bytes(const ds4_keep *k)
{
    return k->end;
}

/* Are the bytes there what they ought to be? A power cut may have left a head without its content. */
static bool is_whole(ds4_keep *k, place *p, ds4_slice content)
{
    uint8_t  piece[65536];
    uint64_t at = 0;

    while (!p->checked && at < p->n_bytes && p->n_bytes == content.n_bytes) {
        const size_t n = p->n_bytes - at < sizeof piece ? (size_t)(p->n_bytes - at) : sizeof piece;
        if (!read_at(k->fd, piece, n, p->offset + at) || memcmp(piece, content.data + at, n) != 0)
            return false;
        at += n;
    }
    p->checked = p->n_bytes == content.n_bytes;
    return p->checked;
}

ds4_status ds4_keep_add(ds4_keep *k, ds4_slice content, uint8_t hash[DS4_SHA256_BYTES], ds4_err *err)
{
    uint8_t  head[HEAD_BYTES];
    place    p = { .offset = k->end + HEAD_BYTES, .n_bytes = content.n_bytes, .checked = true };

    ds4_sha256(content.n_bytes ? content.data : "", content.n_bytes, hash);
    if (find(k, hash)->offset && is_whole(k, find(k, hash), content)) return DS4_OK;
    memcpy(p.hash, hash, DS4_SHA256_BYTES);
    memcpy(head, magic, MAGIC_BYTES);
    memcpy(head + MAGIC_BYTES, &p.n_bytes, sizeof p.n_bytes);
    memcpy(head + MAGIC_BYTES + 8, hash, DS4_SHA256_BYTES);
    /* The head comes last: a record without one does not count. */
    if (!ds4_write_at(k->fd, content.data, content.n_bytes, p.offset) ||
        !ds4_write_at(k->fd, head, sizeof head, k->end)) {
        const int e = errno;
        (void)!ftruncate(k->fd, (off_t)k->end);
        return ds4_fail(err, DS4_E_IO, "kept contents: %s", strerror(e));
    }
    if (!insert(k, &p)) return ds4_fail(err, DS4_E_NOMEM, "no memory for kept contents");
    k->end = p.offset + p.n_bytes;
    k->dirty = true;
    return DS4_OK;
}

ds4_status ds4_keep_sync(ds4_keep *k, ds4_err *err)
{
    if (!k->dirty) return DS4_OK;
    if (fsync(k->fd) != 0) return ds4_fail(err, DS4_E_IO, "kept contents: %s", strerror(errno));
    k->dirty = false;
    return DS4_OK;
}

ds4_status ds4_keep_get(ds4_keep *k, const uint8_t hash[DS4_SHA256_BYTES], ds4_str *out, ds4_err *err)
{
    uint8_t      sum[DS4_SHA256_BYTES];
    const place *p = find(k, hash);

    if (p->offset == 0) return ds4_fail(err, DS4_E_ARG, "a content that was not kept");
    uint8_t *data = malloc(p->n_bytes ? (size_t)p->n_bytes : 1);
    if (!data) return ds4_fail(err, DS4_E_NOMEM, "no memory for a kept content");
    ds4_status rc = DS4_OK;
    if (!read_at(k->fd, data, (size_t)p->n_bytes, p->offset)) {
        rc = ds4_fail(err, DS4_E_IO, "a kept content cannot be read");
    } else {
        ds4_sha256(data, (size_t)p->n_bytes, sum);
        if (memcmp(sum, hash, sizeof sum) != 0)
            rc = ds4_fail(err, DS4_E_FORMAT, "a kept content was damaged");
    }
    if (rc == DS4_OK) ds4_str_add(out, data, (size_t)p->n_bytes);
    free(data);
    if (rc == DS4_OK && out->failed) rc = ds4_fail(err, DS4_E_NOMEM, "no memory for a kept content");
    return rc;
}
