/* bits_test.c - hashes of logits: what a change must leave alone when it keeps every bit.
 *
 * The golden models, the bundled model over 2,000 tokens, and a walk of random splits, forks,
 * restores and mixed batches, whose every row of logits must also equal a run in one piece.
 * Lines "#| bits NAME HASH" go to whoever compares builds; see `make test-bits`. The walk has
 * DS4_BITS_MOVES moves. */
#include "testing.h"

#include "base/rng.h"
#include "ds4.h"
#include "format/dtype.h"
#include "support/tiny_model.h"

enum {
    DEFAULT_MOVES = 400, STEP_TOKENS = 250, LONG_TOKENS = 2000,
    N_TEXTS = 4, TEXT_TOKENS = 700, MAX_STEP = 96, N_SESSIONS = 4, N_KEPT = 12,
};

/* Where the texts of the walk part from the first one: in a window, around a block's end. */
static const uint32_t parts_at[N_TEXTS] = { 0, 131, 256, 515 };

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

/* FNV-1a over words; the order of the values counts. */
static uint64_t hash_floats(uint64_t hash, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        hash = (hash ^ bits) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static const uint64_t first_hash = UINT64_C(0xcbf29ce484222325);

static void show(const char *name, uint64_t hash)
{
    printf("#| bits %s %016llx\n", name, (unsigned long long)hash);
}

/* ---- one run ------------------------------------------------------------------------------- */

typedef struct run {
    ds4_engine  *engine;
    ds4_session *session;
    uint32_t     n_vocab;
} run;

static run open_run(const ds4_engine_options *opt, uint32_t n_ctx)
{
    run     r = { 0 };
    ds4_err err = { 0 };

    check(ds4_engine_open(&r.engine, opt, &err), &err);
    check(ds4_session_create(r.engine, n_ctx, &r.session, &err), &err);
    r.n_vocab = ds4_engine_info(r.engine)->n_vocab;
    return r;
}

static void close_run(run *r)
{
    ds4_session_free(r->session);
    ds4_engine_close(r->engine);
}

/* All logits of the tokens, in steps of STEP_TOKENS; out [n_tokens][n_vocab] may be NULL. */
static uint64_t evaluate(const run *r, const int32_t *tokens, uint32_t n_tokens, float *out)
{
    float   *rows = malloc(sizeof(float) * STEP_TOKENS * r->n_vocab);
    uint64_t hash = first_hash;
    ds4_err  err = { 0 };

    assert_non_null(rows);
    for (uint32_t at = 0; at < n_tokens; at += STEP_TOKENS) {
        const uint32_t n = n_tokens - at < STEP_TOKENS ? n_tokens - at : STEP_TOKENS;
        const ds4_work work = { .session = r->session, .tokens = tokens + at, .n_tokens = n, .logits = rows,
                                .all_logits = true };
        check(ds4_engine_step(r->engine, &work, 1, &err), &err);
        hash = hash_floats(hash, rows, (size_t)n * r->n_vocab);
        if (out) memcpy(out + (size_t)at * r->n_vocab, rows, sizeof(float) * n * r->n_vocab);
    }
    free(rows);
    return hash;
}

static void random_tokens(int32_t *tokens, uint32_t n, uint32_t n_vocab, uint64_t seed)
{
    ds4_rng rng;

    ds4_rng_seed(&rng, seed);
    for (uint32_t i = 0; i < n; i++) tokens[i] = (int32_t)(ds4_rng_next(&rng) % n_vocab);
}

/* ---- goldens and the bundled model ------------------------------------------------------------ */

static void hash_golden(const char *folder, const char *name)
{
    char    path[4300], title[64];
    int32_t tokens[1024];

    snprintf(path, sizeof path, "%s/%s.tokens.i32", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    const uint32_t n = (uint32_t)fread(tokens, sizeof *tokens, 1024, file);
    fclose(file);
    snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    for (int exact = 0; exact < 2; exact++) {
        const ds4_engine_options opt = { .model_path = path, .exact = exact };
        run                      r = open_run(&opt, 1024);
        snprintf(title, sizeof title, "%s.%s", name, exact ? "exact" : "rounded");
        show(title, evaluate(&r, tokens, n, NULL));
        close_run(&r);
    }
}

static void test_goldens(void **state)
{
    const char *folder = test_reference_dir();

    (void)state;
    hash_golden("tests/golden", "flashlike");
    if (folder) hash_golden(folder, "prolike");
}

static void test_bundled_model(void **state)
{
    const ds4_engine_options opt = { .model_path = "models/ds4-mini.gguf" };
    run                      r = open_run(&opt, LONG_TOKENS);
    int32_t                  tokens[LONG_TOKENS];

    (void)state;
    random_tokens(tokens, LONG_TOKENS, r.n_vocab, 3);
    show("ds4-mini", evaluate(&r, tokens, LONG_TOKENS, NULL));
    close_run(&r);
}

/* ---- a walk ------------------------------------------------------------------------------------ */

static int32_t text[N_TEXTS][TEXT_TOKENS];
static float  *expected[N_TEXTS];           /* [TEXT_TOKENS][n_vocab] */

typedef struct walker {
    ds4_rng       rng;
    run           r;                        /* its session is the first one */
    ds4_session  *s[N_SESSIONS];
    int           which[N_SESSIONS];        /* the text that a session follows */
    ds4_snapshot *kept[N_KEPT];
    int           kept_which[N_KEPT];
    float        *logits[N_SESSIONS];       /* [MAX_STEP][n_vocab] */
    uint64_t      hash;
} walker;

static uint32_t pick(walker *w, uint32_t n)
{
    return (uint32_t)(ds4_rng_next(&w->rng) % n);
}

/* Rows of logits that a session got, from position pos on. */
static void compare(walker *w, uint32_t i, uint32_t pos, uint32_t n)
{
    const size_t n_values = (size_t)n * w->r.n_vocab;

    const float *want = expected[w->which[i]] + (size_t)pos * w->r.n_vocab;
    if (memcmp(w->logits[i], want, n_values * sizeof(float)) != 0) {
        fail_msg("text %d, position %u: not what a run in one piece gave", w->which[i], pos);
    }
    w->hash = hash_floats(w->hash, w->logits[i], n_values);
}

/* One step over some of the sessions, each by another number of tokens. */
static void step(walker *w)
{
    const uint32_t wanted = 1 + pick(w, N_SESSIONS), first = pick(w, N_SESSIONS);
    const uint32_t most = pick(w, 4) ? 6 : MAX_STEP;
    ds4_work       work[N_SESSIONS];
    uint32_t       session[N_SESSIONS], pos[N_SESSIONS], n = 0;
    ds4_err        err = { 0 };

    for (uint32_t j = 0; j < wanted; j++) {
        const uint32_t i = (first + j) % N_SESSIONS, at = ds4_session_pos(w->s[i]);
        const uint32_t left = TEXT_TOKENS - at, n_tokens = 1 + pick(w, most), what = pick(w, 4);
        if (left == 0) ds4_session_clear(w->s[i]);
        if (left == 0) continue;
        session[n] = i;
        pos[n] = at;
        work[n++] = (ds4_work){ .session = w->s[i], .tokens = text[w->which[i]] + at,
                                .n_tokens = n_tokens < left ? n_tokens : left,
                                .logits = what ? w->logits[i] : NULL, .all_logits = what > 1 };
    }
    if (n == 0) return;
    check(ds4_engine_step(w->r.engine, work, n, &err), &err);
    for (uint32_t j = 0; j < n; j++) {
        const uint32_t n_rows = work[j].all_logits ? work[j].n_tokens : 1;
        if (work[j].logits) compare(w, session[j], pos[j] + work[j].n_tokens - n_rows, n_rows);
    }
}

static void keep(walker *w)
{
    const uint32_t i = pick(w, N_SESSIONS), k = pick(w, N_KEPT);
    ds4_err        err = { 0 };

    ds4_snapshot_free(w->kept[k]);
    w->kept[k] = NULL;
    check(ds4_session_snapshot(w->s[i], &w->kept[k], &err), &err);
    w->kept_which[k] = w->which[i];
}

/* Go back to a kept position, or fork from it, and follow any text that agrees so far. */
static void come_back(walker *w)
{
    const uint32_t i = pick(w, N_SESSIONS), k = pick(w, N_KEPT), other = pick(w, N_TEXTS);
    ds4_err        err = { 0 };

    if (!w->kept[k]) return;
    check(ds4_session_restore(w->s[i], w->kept[k], &err), &err);
    const size_t n_bytes = ds4_snapshot_pos(w->kept[k]) * sizeof text[0][0];
    w->which[i] = w->kept_which[k];
    if (memcmp(text[other], text[w->which[i]], n_bytes) == 0) w->which[i] = (int)other;
}

static uint64_t walk(const ds4_engine_options *opt, uint32_t n_moves)
{
    walker  w = { .r = open_run(opt, TEXT_TOKENS), .hash = first_hash };
    ds4_err err = { 0 };

    ds4_rng_seed(&w.rng, 11);
    for (uint32_t i = 0; i < N_SESSIONS; i++) {
        if (i == 0) w.s[i] = w.r.session;
        else check(ds4_session_create(w.r.engine, TEXT_TOKENS, &w.s[i], &err), &err);
        w.which[i] = (int)pick(&w, N_TEXTS);
        w.logits[i] = malloc(sizeof(float) * MAX_STEP * w.r.n_vocab);
    }
    for (uint32_t n = 0; n < n_moves; n++) {
        const uint32_t move = pick(&w, 10);
        if (move < 7) step(&w);
        else if (move < 8) keep(&w);
        else come_back(&w);
    }
    for (uint32_t k = 0; k < N_KEPT; k++) ds4_snapshot_free(w.kept[k]);
    for (uint32_t i = 0; i < N_SESSIONS; i++) {
        if (i > 0) ds4_session_free(w.s[i]);
        free(w.logits[i]);
    }
    close_run(&w.r);
    return w.hash;
}

/* However steps are cut and mixed, in memory, with streamed experts and with rows on disk. */
static void walk_both_ways(const char *path, const char *name, uint32_t n_moves)
{
    const char        *out = getenv("OUT");
    ds4_engine_options opt = { .model_path = path, .n_threads = 2, .max_batch = N_SESSIONS * MAX_STEP };
    char               title[64];

    for (int i = 0; i < N_TEXTS; i++) {
        run r = open_run(&opt, TEXT_TOKENS);
        random_tokens(text[i], TEXT_TOKENS, r.n_vocab, 20 + (uint64_t)i);
        memcpy(text[i], text[0], parts_at[i] * sizeof text[0][0]);
        expected[i] = malloc(sizeof(float) * TEXT_TOKENS * r.n_vocab);
        evaluate(&r, text[i], TEXT_TOKENS, expected[i]);
        close_run(&r);
    }
    snprintf(title, sizeof title, "walk.%s", name);
    show(title, walk(&opt, n_moves));
    opt.kv_dir = out && access(out, W_OK) == 0 ? out : "build";
    opt.kv_mem_bytes = 64 << 10;
    opt.experts = DS4_EXPERTS_STREAM;
    opt.expert_cache_bytes = 1 << 20;
    snprintf(title, sizeof title, "walk.%s.streamed", name);
    show(title, walk(&opt, n_moves / 4));
    for (int i = 0; i < N_TEXTS; i++) free(expected[i]);
}

static uint32_t n_moves(void)
{
    const char *moves = getenv("DS4_BITS_MOVES");
    return moves ? (uint32_t)strtoul(moves, NULL, 10) : DEFAULT_MOVES;
}

static void test_walks_of_the_golden_model(void **state)
{
    (void)state;
    walk_both_ways("tests/golden/flashlike.gguf", "flashlike", n_moves());
}

/* The types of the published 2-bit file. */
static void test_walks_of_a_model_of_blocks(void **state)
{
    const tiny_model t = { .seed = 5, .dense = DS4_Q8_0, .gate_up = DS4_IQ2_XXS, .down = DS4_Q2_K,
                           .precise = DS4_F16, .n_embd = 256 };
    char             path[256];

    (void)state;
    test_temp_path(path, "bits_test.gguf");
    tiny_model_write(&t, path);
    walk_both_ways(path, "blocks", n_moves() / 2);
    unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_goldens),
    cmocka_unit_test(test_bundled_model),
    cmocka_unit_test(test_walks_of_the_golden_model),
    cmocka_unit_test(test_walks_of_a_model_of_blocks),
};

TEST_MAIN(tests)
