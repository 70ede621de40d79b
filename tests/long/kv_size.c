/* kv_size.c - what a conversation of 64K tokens takes on disk, what another with the same
 * beginning adds, and how long 25,600 tokens take to come back.
 *
 *   kv_size MODEL DIR
 *
 * Only the shape of the model matters: the rows are random bytes, nothing is evaluated.
 * Prints TAP lines; DIR must not exist and is left behind for a look. */
#include "base/clock.h"
#include "base/rng.h"
#include "service/store/store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ANCHOR = 25600, SHARED = 30720, LENGTH = 65536, OTHER = 40960, MOST_BYTES_PER_TOKEN = 3600 };

static int n_tests, n_failed;

static void report(bool ok, const char *what)
{
    printf("%sok %d - %s\n", ok ? "" : "not ", ++n_tests, what);
    n_failed += !ok;
}

static void die(const ds4_err *err)
{
    printf("Bail out! %s\n", err->text);
    exit(1);
}

static uint64_t disk_bytes(const char *dir)
{
    uint64_t n = 0;
    DIR     *d = opendir(dir);

    for (struct dirent *e; d && (e = readdir(d));) {
        char        path[4096];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.' && stat(path, &info) == 0) n += (uint64_t)info.st_blocks * 512;
    }
    closedir(d);
    return n;
}

static void fill(uint8_t *bytes, uint64_t n_bytes, uint64_t seed)
{
    ds4_rng rng;

    ds4_rng_seed(&rng, seed);
    for (uint64_t i = 0; i < n_bytes; i += 8) {
        const uint64_t word = ds4_rng_next(&rng);
        memcpy(bytes + i, &word, n_bytes - i < 8 ? n_bytes - i : 8);
    }
}

static ds4_engine *engine;
static uint64_t    block_bytes;

static ds4_status random_block(void *ctx, uint32_t i, uint8_t *bytes, ds4_err *err)
{
    (void)err;
    fill(bytes, block_bytes, *(const uint64_t *)ctx + i);
    return DS4_OK;
}

static ds4_snapshot *make(const int32_t *tokens, uint32_t pos, uint64_t seed, const ds4_snapshot *base)
{
    const uint64_t n = ds4_engine_tail_bytes(engine, pos);
    uint8_t       *tail = malloc(n);
    ds4_snapshot  *p = NULL;
    ds4_err        err;

    fill(tail, n, seed + pos);
    const ds4_snapshot_parts parts = { .tokens = tokens, .pos = pos, .base = base, .source = random_block,
                                       .ctx = &seed, .tail = tail, .tail_bytes = n };
    if (ds4_snapshot_make(engine, &parts, &p, &err) != DS4_OK) die(&err);
    free(tail);
    return p;
}

static void save(ds4_store *s, const ds4_snapshot *p, ds4_tail_kind kind)
{
    ds4_err        err;
    const uint64_t begin = ds4_now_ns();

    if (ds4_store_save(s, p, kind, NULL, 0, &err) != DS4_OK) die(&err);
    printf("# saved %u tokens in %.3f s\n", ds4_snapshot_pos(p), (double)(ds4_now_ns() - begin) / 1e9);
}

/* A conversation: the end of its system prompt, then turns. */
static void converse(ds4_store *s, const int32_t *tokens, uint32_t length, uint64_t seed)
{
    ds4_snapshot  *last = NULL;
    const uint32_t turns[] = { ANCHOR, SHARED, OTHER, 50048, LENGTH };

    for (size_t i = 0; i < sizeof turns / sizeof *turns && turns[i] <= length; i++) {
        ds4_snapshot *p = make(tokens, turns[i], seed, last);
        save(s, p, i == 0 ? DS4_TAIL_ANCHOR : DS4_TAIL_TURN);
        ds4_snapshot_free(last);
        last = p;
    }
    ds4_snapshot_free(last);
}

static double restore_s(ds4_store *s, const int32_t *tokens, uint32_t pos, ds4_session *session)
{
    ds4_stored     found;
    ds4_snapshot  *p = NULL;
    ds4_err        err;
    const uint64_t begin = ds4_now_ns();

    if (ds4_store_find(s, tokens, pos, pos, &found, &err) != DS4_OK) die(&err);
    if (found.pos != pos) {
        printf("Bail out! %u tokens were found, not %u\n", found.pos, pos);
        exit(1);
    }
    if (ds4_store_load(s, &found, tokens, NULL, &p, &err) != DS4_OK) die(&err);
    if (ds4_session_restore(session, p, &err) != DS4_OK) die(&err);
    const double took = (double)(ds4_now_ns() - begin) / 1e9;
    ds4_store_unpin(&found);
    ds4_snapshot_free(p);
    ds4_session_clear(session);
    return took;
}

static void measure(const char *dir)
{
    const ds4_store_options opt = { .dir = dir, .engine = engine };
    ds4_store              *s = NULL;
    ds4_session            *session = NULL;
    ds4_err                 err;
    int32_t                *a = malloc(LENGTH * sizeof *a), *b = malloc(LENGTH * sizeof *b);
    char                    what[128];

    for (int i = 0; i < LENGTH; i++) {
        a[i] = i * 7919 % 251;
        b[i] = i < SHARED ? a[i] : (i * 104729 + 1) % 241;
    }
    if (ds4_store_open(&s, &opt, &err) != DS4_OK) die(&err);
    /* The other conversation comes first, so that the long one shares its beginning. */
    converse(s, b, SHARED, 1);
    const uint64_t shared = disk_bytes(dir);
    converse(s, a, LENGTH, 1);
    const double per_token = (double)disk_bytes(dir) / LENGTH;
    snprintf(what, sizeof what, "%.1f bytes for a token at %d tokens, %d at most", per_token, LENGTH,
             MOST_BYTES_PER_TOKEN);
    report(per_token <= MOST_BYTES_PER_TOKEN, what);

    const uint64_t before = disk_bytes(dir);
    converse(s, b, OTHER, 2);
    const uint64_t rows = (OTHER - SHARED) / 256 * block_bytes;
    const double   added = (double)(disk_bytes(dir) - before);
    snprintf(what, sizeof what, "another with %d tokens in common adds %.1f MB, its rows are %.1f MB", SHARED,
             added / 1e6, (double)rows / 1e6);
    /* Tokens and texts, in files and in the index, and the ends of files on the disk. */
    const double around = (OTHER - SHARED) * 40.0 + 3.1 * (double)ds4_engine_tail_bytes(engine, OTHER);
    report(added < (double)rows * 1.005 + around, what);

    if (ds4_session_create(engine, LENGTH, &session, &err) != DS4_OK) die(&err);
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        const double took = restore_s(s, b, SHARED, session);
        best = took < best ? took : best;
    }
    best *= (double)ANCHOR / SHARED;
    snprintf(what, sizeof what, "%d tokens (%.1f MB) come back in %.3f s", ANCHOR,
             (double)ANCHOR / 256 * (double)block_bytes / 1e6, best);
    report(best < 0.3, what);
    printf("# %d tokens alone had taken %.1f MB\n", SHARED, (double)shared / 1e6);
    ds4_session_free(session);
    ds4_store_close(s);
    free(a);
    free(b);
}

int main(int argc, char **argv)
{
    /* The weights are not touched, so they need no memory. */
    ds4_engine_options opt = { .model_path = argc > 1 ? argv[1] : "", .mem_bytes = UINT64_C(1) << 40,
                               .experts = DS4_EXPERTS_RESIDENT };
    ds4_err            err;

    if (argc != 3) {
        printf("Bail out! usage: kv_size MODEL DIR\n");
        return 2;
    }
    if (ds4_engine_open(&engine, &opt, &err) != DS4_OK) die(&err);
    block_bytes = ds4_engine_state_form(engine).block_bytes;
    printf("# a block of 256 tokens has %llu bytes, a tail at %d tokens %llu\n",
           (unsigned long long)block_bytes, LENGTH,
           (unsigned long long)ds4_engine_tail_bytes(engine, LENGTH));
    measure(argv[2]);
    ds4_engine_close(engine);
    printf("1..%d\n", n_tests);
    return n_failed > 0;
}
