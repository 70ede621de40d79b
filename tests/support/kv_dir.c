/* kv_dir.c - see kv_dir.h. */
#include "testing.h"

#include "support/kv_dir.h"

#include <dirent.h>
#include <sys/stat.h>

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

void kv_dir_each(const char *dir, kv_file_fn *fn, void *ctx)
{
    DIR *d = opendir(dir);

    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        fn(ctx, path, e->d_name);
    }
    closedir(d);
}

static void remove_one(void *ctx, const char *path, const char *name)
{
    (void)ctx;
    (void)name;
    unlink(path);
}

void kv_dir_remove(const char *dir)
{
    kv_dir_each(dir, remove_one, NULL);
    rmdir(dir);
}

void kv_dir_name(char dir[256], const char *name)
{
    /* Memory, where there is such a folder: the tests sync thousands of files. */
    if (access("/dev/shm", W_OK) == 0) snprintf(dir, 256, "/dev/shm/%ld.%.60s", (long)getpid(), name);
    else test_temp_path(dir, name);
    kv_dir_remove(dir);
}

static void copy_one(void *ctx, const char *path, const char *name)
{
    char  to[600], buf[65536];
    FILE *in = fopen(path, "rb");

    snprintf(to, sizeof to, "%s/%s", (const char *)ctx, name);
    FILE *out = fopen(to, "wb");
    assert_true(in && out);
    for (size_t n; (n = fread(buf, 1, sizeof buf, in)) > 0;) assert_int_equal(n, fwrite(buf, 1, n, out));
    fclose(in);
    assert_int_equal(0, fclose(out));
}

void kv_dir_copy(const char *from, const char *to)
{
    kv_dir_remove(to);
    assert_int_equal(0, mkdir(to, 0700));
    kv_dir_each(from, copy_one, (void *)(uintptr_t)to);
}

static void add_bytes(void *ctx, const char *path, const char *name)
{
    struct stat info;
    (void)name;
    if (lstat(path, &info) == 0) *(uint64_t *)ctx += (uint64_t)info.st_size;
}

uint64_t kv_dir_bytes(const char *dir)
{
    uint64_t n = 0;
    kv_dir_each(dir, add_bytes, &n);
    return n;
}

typedef struct counter {
    const char *end;
    uint32_t    n;
} counter;

static void count_one(void *ctx, const char *path, const char *name)
{
    counter     *c = ctx;
    const size_t n = strlen(name), n_end = strlen(c->end);

    (void)path;
    c->n += n >= n_end && strcmp(name + n - n_end, c->end) == 0;
}

uint32_t kv_dir_count(const char *dir, const char *end)
{
    counter c = { end, 0 };
    kv_dir_each(dir, count_one, &c);
    return c.n;
}

/* ---- positions --------------------------------------------------------------------------------- */

ds4_store *kv_store_open(const char *dir, ds4_engine *e, uint64_t max_bytes)
{
    const ds4_store_options opt = { .dir = dir, .engine = e, .max_bytes = max_bytes, .min_tokens = 1 };
    ds4_store              *s = NULL;
    ds4_err                 err = { 0 };

    check(ds4_store_open(&s, &opt, &err), &err);
    return s;
}

ds4_snapshot *kv_position(const kv_texts *t, ds4_engine *e, int which, uint32_t pos)
{
    ds4_session      *session;
    ds4_snapshot     *p;
    ds4_err           err = { 0 };
    const ds4_prefill fill = { .tokens = t->text[which], .n_tokens = pos };

    check(ds4_session_create(e, KV_CTX, &session, &err), &err);
    check(ds4_session_prefill(session, &fill, &err), &err);
    check(ds4_session_snapshot(session, &p, &err), &err);
    ds4_session_free(session);
    return p;
}

uint32_t kv_restore(const kv_texts *t, ds4_store *s, ds4_session *session, int which, uint32_t max_pos,
                    const ds4_snapshot *base)
{
    ds4_err err = { 0 };

    ds4_session_clear(session);
    for (int tries = 0; tries < 100; tries++) {
        ds4_stored       found;
        ds4_snapshot    *p = NULL;
        const ds4_status st = ds4_store_find(s, t->text[which], KV_TOKENS, max_pos, &found, &err);
        const uint32_t   pos = found.pos;
        if (st == DS4_E_FORMAT || st == DS4_E_IO || (st == DS4_OK && pos == 0)) return 0;
        check(st, &err);
        const ds4_status loaded = ds4_store_load(s, &found, t->text[which], base, &p, &err);
        ds4_store_unpin(&found);
        if (loaded == DS4_E_FORMAT || loaded == DS4_E_IO) continue;
        check(loaded, &err);
        assert_true(pos <= max_pos);
        check(ds4_session_restore(session, p, &err), &err);
        assert_int_equal(pos, ds4_session_pos(session));
        assert_memory_equal(ds4_session_tokens(session), t->text[which], pos * sizeof(int32_t));
        ds4_snapshot_free(p);
        return pos;
    }
    fail_msg("a stored position fails again and again");
    return 0;
}

uint32_t kv_probe(const kv_texts *t, ds4_store *s, ds4_engine *e, int which, uint32_t max_pos)
{
    ds4_session *session;
    ds4_err      err = { 0 };
    float       *logits = malloc(sizeof(float) * KV_BATCH * t->n_vocab);

    check(ds4_session_create(e, KV_CTX, &session, &err), &err);
    const uint32_t pos = kv_restore(t, s, session, which, max_pos, NULL);
    const uint32_t to = pos + 6 < KV_TOKENS ? pos + 6 : KV_TOKENS;
    if (pos > 0) kv_extend(t, e, session, which, to, logits);
    ds4_session_free(session);
    free(logits);
    return pos;
}
