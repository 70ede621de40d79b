/* snapshot_test.c - resumed equals never left: random walks over a tree of conversations
 * that save, restore, fork, guess, take tokens back and travel through bytes, compared bit
 * for bit with conversations that were evaluated in one piece. */
#include "testing.h"

#include "base/rng.h"
#include "ds4.h"
#include "engine/engine_local.h"
#include "engine/snapshot.h"
#include "format/dtype.h"
#include "support/tiny_model.h"

enum { N_TEXTS = 4, N_TOKENS = 1100, N_CTX = 1280, N_SESSIONS = 3, N_KEPT = 24, MAX_BATCH = 160 };

static char    model_path[256];
static int32_t text[N_TEXTS][N_TOKENS];
static float  *expected[N_TEXTS];               /* [N_TOKENS][TINY_VOCAB] */
static ds4_engine *engine;

/* Where the texts part from text 0: inside a window, at a block's end and around it. */
static const uint32_t parts_at[N_TEXTS] = { 0, 255, 512, 771 };

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static void evaluate(int which)
{
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = N_TOKENS };
    ds4_engine              *e;
    ds4_session             *s;
    ds4_err                  err = { 0 };

    expected[which] = malloc(sizeof(float) * N_TOKENS * TINY_VOCAB);
    check(ds4_engine_open(&e, &opt, &err), &err);
    check(ds4_session_create(e, N_CTX, &s, &err), &err);
    const ds4_work work = { .session = s, .tokens = text[which], .n_tokens = N_TOKENS,
                            .logits = expected[which], .all_logits = true };
    check(ds4_engine_step(e, &work, 1, &err), &err);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static int set_up(void **state)
{
    const tiny_model         t = { .seed = 9, .dense = DS4_Q8_0, .gate_up = DS4_MXFP4, .down = DS4_MXFP4,
                                   .precise = DS4_F16, .n_embd = 64 };
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = MAX_BATCH };
    ds4_rng                  rng;
    ds4_err                  err = { 0 };

    (void)state;
    test_temp_path(model_path, "snapshot_test.gguf");
    tiny_model_write(&t, model_path);
    ds4_rng_seed(&rng, 1);
    for (int i = 0; i < N_TEXTS; i++) {
        memcpy(text[i], text[0], parts_at[i] * sizeof text[0][0]);
        for (uint32_t j = parts_at[i]; j < N_TOKENS; j++)
            text[i][j] = (int32_t)(ds4_rng_next(&rng) % TINY_VOCAB);
        evaluate(i);
    }
    return ds4_engine_open(&engine, &opt, &err) == DS4_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_engine_close(engine);
    for (int i = 0; i < N_TEXTS; i++) free(expected[i]);
    return unlink(model_path);
}

/* ---- a walk ------------------------------------------------------------------------------------ */

typedef struct kept {
    ds4_snapshot *p;
    int           which;
} kept;

typedef struct walker {
    ds4_rng      rng;
    ds4_session *s[N_SESSIONS];
    int          which[N_SESSIONS];             /* the text a session follows */
    kept         kept[N_KEPT];
    uint32_t     n_kept;
    float       *logits;
} walker;

static uint32_t pick(walker *w, uint32_t n)
{
    return (uint32_t)(ds4_rng_next(&w->rng) % n);
}

/* Extend to a boundary that matters, or by a random step. */
static void extend(walker *w, uint32_t i)
{
    static const uint32_t edges[] = { 3,   4,   5,   127, 128,  129,  255, 256,
                                      257, 511, 512, 513, 1023, 1024, 1025 };
    const uint32_t        pos = ds4_session_pos(w->s[i]);
    uint32_t              to = pos + 1 + pick(w, pick(w, 2) ? MAX_BATCH : 6);
    ds4_err               err = { 0 };

    if (pick(w, 3) == 0) {
        const uint32_t edge = edges[pick(w, sizeof edges / sizeof edges[0])];
        if (edge > pos && edge - pos <= MAX_BATCH) to = edge;
    }
    if (to - pos > MAX_BATCH) to = pos + MAX_BATCH;
    if (to > N_TOKENS) to = N_TOKENS;
    if (to == pos) return;
    const ds4_work work = { .session = w->s[i], .tokens = text[w->which[i]] + pos, .n_tokens = to - pos,
                            .logits = w->logits, .all_logits = true };
    check(ds4_engine_step(engine, &work, 1, &err), &err);
    if (memcmp(w->logits, expected[w->which[i]] + (size_t)pos * TINY_VOCAB,
               sizeof(float) * (to - pos) * TINY_VOCAB) != 0) {
        fail_msg("text %d: positions %u..%u differ from a run in one piece", w->which[i], pos, to - 1);
    }
}

/* Guess: some tokens of the text, then others; take back what was wrong, and now and then some
 * of what was right. The logits of right tokens must be right whatever was there before. */
static void guess(walker *w, uint32_t i)
{
    ds4_session   *s = w->s[i];
    const uint32_t pos = ds4_session_pos(s), n_right = 1 + pick(w, pick(w, 3) ? 4 : 150);
    const uint32_t n_wrong = pick(w, DS4_MAX_DRAFT + 1);
    int32_t        tokens[MAX_BATCH + DS4_MAX_DRAFT];
    ds4_err        err = { 0 };

    if (pos + n_right + n_wrong > N_TOKENS || n_right + n_wrong > MAX_BATCH) return;
    memcpy(tokens, text[w->which[i]] + pos, n_right * sizeof *tokens);
    for (uint32_t j = 0; j < n_wrong; j++) tokens[n_right + j] = (int32_t)pick(w, TINY_VOCAB);
    const ds4_work work = { .session = s, .tokens = tokens, .n_tokens = n_right + n_wrong,
                            .logits = w->logits, .all_logits = true };
    check(ds4_engine_step(engine, &work, 1, &err), &err);
    if (memcmp(w->logits, expected[w->which[i]] + (size_t)pos * TINY_VOCAB,
               sizeof(float) * n_right * TINY_VOCAB) != 0) {
        fail_msg("text %d: positions %u..%u before a guess differ", w->which[i], pos, pos + n_right - 1);
    }
    check(ds4_session_rewind(s, n_wrong, &err), &err);
    assert_int_equal(ds4_session_pos(s), pos + n_right);
}

/* Take back right tokens, and go on along any text that agrees so far. */
static void take_back(walker *w, uint32_t i)
{
    ds4_err        err = { 0 };
    const uint32_t most = ds4_session_rewindable(w->s[i]), pos = ds4_session_pos(w->s[i]);

    assert_int_equal(ds4_session_rewind(w->s[i], most + 1, &err), DS4_E_LIMIT);
    assert_int_equal(ds4_session_pos(w->s[i]), pos);
    const uint32_t n = pick(w, most + 1);
    check(ds4_session_rewind(w->s[i], n, &err), &err);
    assert_int_equal(ds4_session_rewindable(w->s[i]), most - n);
    const int other = (int)pick(w, N_TEXTS);
    if (memcmp(text[other], text[w->which[i]], (pos - n) * sizeof(int32_t)) == 0) w->which[i] = other;
}

static void keep(walker *w, uint32_t i)
{
    ds4_err err = { 0 };
    kept   *k = &w->kept[w->n_kept < N_KEPT ? w->n_kept++ : pick(w, N_KEPT)];

    ds4_snapshot_free(k->p);
    k->p = NULL;
    check(ds4_session_snapshot(w->s[i], &k->p, &err), &err);
    k->which = w->which[i];
}

/* Go back to a kept position, and on along any text that agrees so far. */
static void come_back(walker *w, uint32_t i)
{
    ds4_err err = { 0 };

    if (w->n_kept == 0) return;
    const kept *k = &w->kept[pick(w, w->n_kept)];
    check(ds4_session_restore(w->s[i], k->p, &err), &err);
    const uint32_t pos = ds4_snapshot_pos(k->p);
    assert_int_equal(ds4_session_pos(w->s[i]), pos);
    assert_memory_equal(ds4_session_tokens(w->s[i]), text[k->which], pos * sizeof(int32_t));
    w->which[i] = k->which;
    const int other = (int)pick(w, N_TEXTS);
    if (memcmp(text[other], text[k->which], pos * sizeof(int32_t)) == 0) w->which[i] = other;
}

static ds4_status give_block(void *ctx, uint32_t i, uint8_t *bytes, ds4_err *err)
{
    return ds4_snapshot_block(ctx, i, bytes, err);
}

/* A snapshot made from another one's bytes, with or without a base that shares blocks. */
static void through_bytes(walker *w)
{
    ds4_err       err = { 0 };
    ds4_snapshot *copy;
    uint64_t      n_bytes;

    if (w->n_kept == 0) return;
    kept          *k = &w->kept[pick(w, w->n_kept)];
    const uint8_t *tail = ds4_snapshot_tail(k->p, &n_bytes);
    const ds4_snapshot_parts parts = { .tokens = ds4_snapshot_tokens(k->p), .pos = ds4_snapshot_pos(k->p),
                                       .base = pick(w, 2) ? w->kept[pick(w, w->n_kept)].p : NULL,
                                       .source = give_block, .ctx = k->p, .tail = tail,
                                       .tail_bytes = n_bytes };
    check(ds4_snapshot_make(engine, &parts, &copy, &err), &err);
    ds4_snapshot_free(k->p);
    k->p = copy;
}

static void walk(uint64_t seed, uint32_t n_moves)
{
    walker  w = { .n_kept = 0 };
    ds4_err err = { 0 };

    ds4_rng_seed(&w.rng, seed);
    w.logits = malloc(sizeof(float) * MAX_BATCH * TINY_VOCAB);
    for (uint32_t i = 0; i < N_SESSIONS; i++) {
        check(ds4_session_create(engine, N_CTX, &w.s[i], &err), &err);
        w.which[i] = (int)pick(&w, N_TEXTS);
    }
    for (uint32_t n = 0; n < n_moves; n++) {
        const uint32_t i = pick(&w, N_SESSIONS), move = pick(&w, 28);
        if (move >= 25) take_back(&w, i);
        else if (move >= 20) guess(&w, i);
        else if (move < 12) extend(&w, i);
        else if (move < 15) keep(&w, i);
        else if (move < 18) come_back(&w, i);
        else if (move < 19) through_bytes(&w);
        else if (ds4_session_pos(w.s[i]) == N_TOKENS) ds4_session_clear(w.s[i]);
    }
    for (uint32_t i = 0; i < N_SESSIONS; i++) ds4_session_free(w.s[i]);
    for (uint32_t i = 0; i < w.n_kept; i++) ds4_snapshot_free(w.kept[i].p);
    free(w.logits);
}

static void test_resumed_equals_never_left(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) walk(seed, 200);
}

static void step(ds4_session *s, const int32_t *tokens, uint32_t n, float *logits)
{
    const ds4_work work = { .session = s, .tokens = tokens, .n_tokens = n, .logits = logits };
    ds4_err        err = { 0 };
    check(ds4_engine_step(engine, &work, 1, &err), &err);
}

/* How far back is possible: what ds4.h says, token by token. */
static void test_limits_of_taking_back(void **state)
{
    ds4_session  *s;
    ds4_snapshot *p;
    ds4_err       err = { 0 };
    float         logits[TINY_VOCAB];

    (void)state;
    check(ds4_session_create(engine, N_CTX, &s, &err), &err);
    assert_int_equal(ds4_session_rewind(s, 0, &err), DS4_OK);
    assert_int_equal(ds4_session_rewind(s, 1, &err), DS4_E_LIMIT);
    step(s, text[0], 5, NULL);
    assert_int_equal(ds4_session_rewindable(s), 5);
    check(ds4_session_rewind(s, 5, &err), &err);            /* to nothing at all */
    assert_int_equal(ds4_session_pos(s), 0);
    step(s, text[0], 100, NULL);
    assert_int_equal(ds4_session_rewindable(s), DS4_MAX_DRAFT);
    check(ds4_session_rewind(s, 10, &err), &err);
    assert_int_equal(ds4_session_rewindable(s), 6);
    assert_int_equal(ds4_session_rewind(s, 7, &err), DS4_E_LIMIT);
    assert_non_null(strstr(err.text, "7 tokens cannot be taken back, 6 at most"));
    step(s, text[0] + 90, 4, NULL);
    assert_int_equal(ds4_session_rewindable(s), 10);
    step(s, text[0] + 94, 6, logits);
    assert_int_equal(ds4_session_rewindable(s), DS4_MAX_DRAFT);
    assert_memory_equal(logits, expected[0] + 99 * TINY_VOCAB, sizeof logits);

    check(ds4_session_snapshot(s, &p, &err), &err);
    step(s, text[0] + 100, 3, NULL);
    check(ds4_session_restore(s, p, &err), &err);           /* nothing before it may be taken back */
    assert_int_equal(ds4_session_rewindable(s), 0);
    step(s, text[0] + 100, 2, NULL);
    assert_int_equal(ds4_session_rewindable(s), 2);
    ds4_session_clear(s);
    assert_int_equal(ds4_session_rewindable(s), 0);
    ds4_snapshot_free(p);
    ds4_session_free(s);
}

/* A block that became full in what is taken back stays as it is for a snapshot that shares it. */
static void test_snapshots_keep_what_is_taken_back(void **state)
{
    ds4_session  *s;
    ds4_snapshot *p;
    ds4_err       err = { 0 };
    float         logits[TINY_VOCAB];

    (void)state;
    check(ds4_session_create(engine, N_CTX, &s, &err), &err);
    for (uint32_t pos = 0; pos < 258; pos += 129) step(s, text[0] + pos, 129, NULL);
    check(ds4_session_snapshot(s, &p, &err), &err);         /* at 258: block 0 is shared */
    check(ds4_session_rewind(s, 14, &err), &err);           /* to 244, where text 1 still agrees */
    step(s, text[1] + 244, 60, NULL);
    step(s, text[1] + 304, 1, logits);
    assert_memory_equal(logits, expected[1] + 304 * TINY_VOCAB, sizeof logits);
    check(ds4_session_restore(s, p, &err), &err);
    step(s, text[0] + 258, 42, NULL);
    step(s, text[0] + 300, 1, logits);
    assert_memory_equal(logits, expected[0] + 300 * TINY_VOCAB, sizeof logits);
    ds4_snapshot_free(p);
    ds4_session_free(s);
    assert_int_equal(engine->blocks.n_in_use, 0);
    assert_int_equal(engine->blocks.n_budget, 0);
}

/* Rows in planes are the same rows: a device may choose its form. */
static void test_planes_do_not_show(void **state)
{
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = MAX_BATCH };
    ds4_engine              *records = engine;
    ds4_err                  err = { 0 };

    (void)state;
    check(ds4_engine_open(&engine, &opt, &err), &err);
    ds4_network *m = &engine->network;
    ds4_kv_layout_make(&m->shape, DS4_KV_PLANES, DS4_KV_PLANES, m->kv_layers, &m->kv);
    ds4_block_pool_clear(&engine->blocks);
    ds4_block_pool_init(&engine->blocks, m->backend, m->dev, &m->kv);
    assert_int_equal(ds4_engine_state_form(engine).rows, DS4_KV_PLANES);
    for (uint64_t seed = 21; seed <= 24; seed++) walk(seed, 150);
    ds4_engine_close(engine);
    engine = records;
}

static void test_refusals(void **state)
{
    ds4_session  *big, *small;
    ds4_snapshot *p, *none = NULL;
    ds4_err       err = { 0 };
    uint8_t       byte = 0;

    (void)state;
    check(ds4_session_create(engine, 300, &big, &err), &err);
    check(ds4_session_create(engine, 100, &small, &err), &err);
    const ds4_prefill fill = { .tokens = text[0], .n_tokens = 101 };
    check(ds4_session_prefill(big, &fill, &err), &err);
    check(ds4_session_snapshot(big, &p, &err), &err);
    assert_int_equal(ds4_session_restore(small, p, &err), DS4_E_LIMIT);
    assert_non_null(strstr(err.text, "101 tokens does not fit a context of 100"));
    const ds4_snapshot_parts parts = { .tokens = text[0], .pos = 40, .source = give_block, .ctx = p,
                                       .tail = &byte, .tail_bytes = 1 };
    assert_int_equal(ds4_snapshot_make(engine, &parts, &none, &err), DS4_E_FORMAT);
    assert_null(none);
    ds4_snapshot_free(p);
    ds4_session_free(small);
    ds4_session_free(big);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_resumed_equals_never_left),
    cmocka_unit_test(test_limits_of_taking_back),
    cmocka_unit_test(test_snapshots_keep_what_is_taken_back),
    cmocka_unit_test(test_planes_do_not_show),
    cmocka_unit_test(test_refusals),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
