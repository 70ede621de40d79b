/* dspark_test.c - a DSpark drafter guesses what an independent evaluation guesses, whatever way led to a
 * position; files that are not for the model are refused by name. */
#include "testing.h"

#include "engine/draft.h"
#include "engine/watch.h"
#include "format/gguf.h"
#include "support/dspark_oracle.h"
#include "support/tiny_draft.h"
#include "support/tiny_model.h"

#include <math.h>
#include <unistd.h>

enum { N_EMBD = 64, N_HC = 4, N_TAPS = 3, MOST = 64, STREAM = N_HC * N_EMBD };

static const tiny_model model = { .seed = 5,
                                  .dense = DS4_F32,
                                  .gate_up = DS4_F32,
                                  .down = DS4_F32,
                                  .precise = DS4_F32,
                                  .n_embd = N_EMBD };
static char             model_path[256], new_path[256], draft_path[256];

static int set_up(void **state)
{
    (void)state;
    test_temp_path(model_path, "dspark_model.gguf");
    test_temp_path(new_path, "dspark_model_0731.gguf");
    test_temp_path(draft_path, "dspark_draft.gguf");
    tiny_model_write(&model, model_path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(draft_path);
    return unlink(model_path);
}

static ds4_engine *open_with(const tiny_draft *draft, bool exact)
{
    ds4_engine_options opt = { .model_path = model_path,
                               .dspark_path = draft_path,
                               .backend = "cpu",
                               .n_threads = 2,
                               .max_batch = 40,
                               .exact = exact };
    ds4_engine        *e = NULL;
    ds4_err            err = { 0 };

    tiny_draft_write(draft, draft_path);
    if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_int_equal(ds4_engine_info(e)->n_draft, TINY_BLOCK);
    return e;
}

static int32_t token_at(uint32_t i)
{
    return (int32_t)(3 + (i * 37 + i * i * 11) % 256);
}

static ds4_session *new_session(ds4_engine *e)
{
    ds4_session *s;
    ds4_err      err = { 0 };

    if (ds4_session_create(e, 4 * MOST, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

/* Evaluate tokens up to position n, in chunks. */
static void advance(ds4_session *s, uint32_t n, uint32_t chunk)
{
    int32_t tokens[4 * MOST];
    ds4_err err = { 0 };

    for (uint32_t i = 0; i < 4 * MOST; i++) tokens[i] = token_at(i);
    const uint32_t    pos = ds4_session_pos(s);
    const ds4_prefill p = { .tokens = tokens + pos, .n_tokens = n - pos, .chunk = chunk };
    if (n > pos && ds4_session_prefill(s, &p, &err) != DS4_OK) fail_msg("%s", err.text);
}

static ds4_draft_work guess(ds4_engine *e, ds4_session *s, int32_t next)
{
    ds4_draft_work w = { .session = s, .next = next };
    ds4_err        err = { 0 };

    if (ds4_engine_draft(e, &w, 1, TINY_BLOCK, &err) != DS4_OK) fail_msg("%s", err.text);
    assert_int_equal(w.n, TINY_BLOCK);
    return w;
}

static void expect_same(const ds4_draft_work *a, const ds4_draft_work *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->token, b->token, a->n * sizeof *a->token);
    assert_memory_equal(a->chance, b->chance, a->n * sizeof *a->chance);
}

/* ---- against the independent evaluation -------------------------------------------------------------- */

typedef struct seen {
    float    streams[MOST][N_TAPS][STREAM];
    uint32_t pos; /* of the step's first token */
} seen;

static void watch(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                  const float *x)
{
    seen *at = ctx;

    if (strcmp(name, "ffn.leave") != 0 || layer < 1 || layer > 3) return;
    assert_int_equal(n_values, STREAM);
    for (uint32_t t = 0; t < n_tokens; t++) {
        memcpy(at->streams[at->pos + t][layer - 1], x + (size_t)t * STREAM, STREAM * sizeof *x);
    }
}

typedef struct files {
    ds4_gguf *model, *draft;
} files;

static const float *tensor_of(void *ctx, const char *name)
{
    const files           *f = ctx;
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(f->draft, name);

    if (!t) t = ds4_gguf_tensor_find(f->model, name);
    if (!t || t->dtype != DS4_F32) return NULL;
    return (const float *)(const void *)t->data;
}

static dspark_oracle oracle_of(files *f, bool fp8)
{
    ds4_err err = { 0 };

    if (ds4_gguf_open(model_path, &f->model, &err) != DS4_OK) fail_msg("%s", err.text);
    if (ds4_gguf_open(draft_path, &f->draft, &err) != DS4_OK) fail_msg("%s", err.text);
    return (dspark_oracle){ .tensor = tensor_of,
                            .ctx = f,
                            .n_embd = N_EMBD,
                            .n_vocab = TINY_VOCAB,
                            .n_hc = N_HC,
                            .n_iters = 5,
                            .n_heads = 4,
                            .n_head = 96,
                            .n_rot = 32,
                            .q_rank = N_EMBD,
                            .o_groups = 2,
                            .o_rank = 128,
                            .n_window = TINY_WINDOW,
                            .n_experts = 6,
                            .n_used = 2,
                            .n_stages = 3,
                            .n_taps = N_TAPS,
                            .n_block = TINY_BLOCK,
                            .n_rank = TINY_RANK,
                            .noise = TINY_NOISE,
                            .norm_eps = 1e-6,
                            .hc_eps = 1e-6,
                            .rope_base = 10000,
                            .clamp = 3,
                            .expert_scale = 1.5,
                            .fp8 = fp8 };
}

/* Returns how many tokens were compared. A row that rounding to FP8 sends elsewhere changes what follows; so
 * what is nearly equal ends a comparison. */
static uint32_t compare(const dspark_oracle *o, const seen *at, uint32_t n_pos, uint32_t from,
                        const ds4_draft_work *w, double near)
{
    int      token[TINY_BLOCK];
    double   chance[TINY_BLOCK], margin[TINY_BLOCK];
    uint32_t i = 0;

    dspark_oracle_draft(o, &at->streams[0][0][0], (int)n_pos, (int)from, w->next, token, chance,
                        margin);
    for (; i < TINY_BLOCK; i++) {
        if (fabs((double)w->chance[i] - chance[i]) > near)
            fail_msg("at %u, guess %u: chance %.7f, expected %.7f", n_pos, i, (double)w->chance[i],
                     chance[i]);
        if (w->token[i] == token[i]) continue;
        if (margin[i] < 10 * near) break;
        fail_msg("at %u, guess %u: token %d, expected %d (by %.4f)", n_pos, i, w->token[i],
                 token[i], margin[i]);
    }
    return i;
}

static void compare_all(bool exact, double near, uint32_t at_least)
{
    static const uint32_t places[] = { 1, 2, 5, 15, 16, 17, 31, 40, 63 };
    const tiny_draft      draft = { .seed = 9 };
    static seen           at;
    ds4_engine           *e = open_with(&draft, exact);
    ds4_session          *s = new_session(e);
    files                 f;
    uint32_t              n = 0;
    const dspark_oracle   o = oracle_of(&f, !exact);

    ds4_engine_watch(e, watch, &at);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        at.pos = ds4_session_pos(s);
        advance(s, places[i], 40);
        const ds4_draft_work w = guess(e, s, token_at(places[i]));
        n += compare(&o, &at, places[i], 0, &w, near);
    }
    if (n < at_least) fail_msg("%u tokens were compared, expected %u", n, at_least);
    ds4_gguf_close(f.model);
    ds4_gguf_close(f.draft);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_independent(void **state)
{
    (void)state;
    compare_all(true, 2e-4, 45);
}

static void test_independent_rounded(void **state)
{
    (void)state;
    compare_all(false, 2e-2, 40);
}

/* ---- the way to a position ----------------------------------------------------------------------------- */

static void test_ways(void **state)
{
    static const uint32_t chunks[] = { 1, 5, 15, 16, 17 };
    const tiny_draft      draft = { .seed = 9 };
    ds4_engine           *e = open_with(&draft, false);
    ds4_session          *s = new_session(e), *other = new_session(e);
    ds4_err               err = { 0 };
    ds4_draft_work        both[2];

    (void)state;
    for (uint32_t n = 33; n <= 49; n += 8) {
        ds4_session_clear(s);
        advance(s, n, 0);
        const ds4_draft_work want = guess(e, s, token_at(n));
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            ds4_session_clear(other);
            advance(other, n, chunks[i]);
            const ds4_draft_work got = guess(e, other, token_at(n));
            expect_same(&got, &want);
        }
        /* Guesses that were refused leave nothing: as many as may be, and a few. */
        for (uint32_t wrong = 1; wrong <= DS4_MAX_DRAFT; wrong += 5) {
            ds4_session_clear(other);
            advance(other, n, 7);
            int32_t        tokens[DS4_MAX_DRAFT];
            const ds4_work work = { .session = other, .tokens = tokens, .n_tokens = wrong };
            for (uint32_t k = 0; k < wrong; k++) tokens[k] = 99;
            assert_int_equal(ds4_engine_step(e, &work, 1, &err), DS4_OK);
            assert_int_equal(ds4_session_rewind(other, wrong, &err), DS4_OK);
            const ds4_draft_work got = guess(e, other, token_at(n));
            expect_same(&got, &want);
        }
        both[0] = (ds4_draft_work){ .session = other, .next = 7 };
        both[1] = (ds4_draft_work){ .session = s, .next = token_at(n) };
        assert_int_equal(ds4_engine_draft(e, both, 2, TINY_BLOCK, &err), DS4_OK);
        expect_same(&both[1], &want);
        const ds4_draft_work alone = guess(e, other, 7);
        expect_same(&both[0], &alone);
    }
    ds4_session_free(s);
    ds4_session_free(other);
    ds4_engine_close(e);
}

/* A restored session's window begins anew; once full it is what it would have been. */
static void test_restored(void **state)
{
    const tiny_draft draft = { .seed = 9 };
    ds4_engine      *e = open_with(&draft, false);
    ds4_session     *s = new_session(e), *other = new_session(e);
    ds4_snapshot    *p;
    ds4_err          err = { 0 };

    (void)state;
    advance(s, 33, 0);
    assert_int_equal(ds4_session_snapshot(s, &p, &err), DS4_OK);
    advance(other, 20, 0); /* other rows in its rings */
    assert_int_equal(ds4_session_restore(other, p, &err), DS4_OK);
    const ds4_draft_work begin = guess(e, other, 5), whole = guess(e, s, 5);
    assert_true(memcmp(begin.chance, whole.chance, sizeof(float) * TINY_BLOCK) != 0);
    advance(other, 33 + TINY_WINDOW, 0);
    advance(s, 33 + TINY_WINDOW, 0);
    const ds4_draft_work got = guess(e, other, 5), want = guess(e, s, 5);
    expect_same(&got, &want);
    ds4_snapshot_free(p);
    ds4_session_free(s);
    ds4_session_free(other);
    ds4_engine_close(e);
}

/* The model's logits are the same bits with a drafter beside it. */
static void test_model_unchanged(void **state)
{
    const tiny_draft   draft = { .seed = 9 };
    ds4_engine        *e = open_with(&draft, false), *plain;
    ds4_engine_options opt = {
        .model_path = model_path, .backend = "cpu", .n_threads = 2, .max_batch = 40
    };
    static float with[TINY_VOCAB], without[TINY_VOCAB];
    ds4_err      err = { 0 };
    int32_t      token = 9;

    (void)state;
    assert_int_equal(ds4_engine_open(&plain, &opt, &err), DS4_OK);
    assert_int_equal(ds4_engine_info(plain)->n_draft, 0);
    ds4_session *a = new_session(e), *b = new_session(plain);
    advance(a, 37, 0);
    advance(b, 37, 0);
    for (int i = 0; i < 10; i++) {
        const ds4_draft_work w = guess(e, a, token);
        const ds4_work step = { .session = a, .tokens = &token, .n_tokens = 1, .logits = with };
        const ds4_work same = { .session = b, .tokens = &token, .n_tokens = 1, .logits = without };
        assert_int_equal(ds4_engine_step(e, &step, 1, &err), DS4_OK);
        assert_int_equal(ds4_engine_step(plain, &same, 1, &err), DS4_OK);
        assert_memory_equal(with, without, sizeof with);
        token = w.token[0];
    }
    ds4_draft_work none = { .session = b, .next = 1 };
    assert_int_equal(ds4_engine_draft(plain, &none, 1, 1, &err), DS4_E_ARG);
    ds4_session_free(a);
    ds4_session_free(b);
    ds4_engine_close(plain);
    ds4_engine_close(e);
}

/* ---- files -------------------------------------------------------------------------------------------- */

static ds4_draft_work first_guess(const tiny_draft *draft)
{
    ds4_engine  *e = open_with(draft, false);
    ds4_session *s = new_session(e);
    advance(s, 20, 0);
    const ds4_draft_work w = guess(e, s, 50);
    ds4_session_free(s);
    ds4_engine_close(e);
    return w;
}

static void test_layouts(void **state)
{
    const ds4_draft_work a = first_guess(&(tiny_draft){ .seed = 4 });
    const ds4_draft_work b = first_guess(&(tiny_draft){ .seed = 4, .layout = 'B' });
    const ds4_draft_work c = first_guess(&(tiny_draft){ .seed = 4, .layout = 'C' });

    (void)state;
    expect_same(&a, &b);
    assert_memory_equal(a.token, c.token, sizeof(int32_t) * TINY_BLOCK);
    /* Layout C may shift what the confidence is made of, here by a half. */
    for (int i = 0; i < TINY_BLOCK; i++) {
        const double x = log((double)a.chance[i] / (1 - (double)a.chance[i])) + 0.5;
        assert_true(fabs((double)c.chance[i] - 1 / (1 + exp(-x))) < 1e-4);
    }
    first_guess(&(tiny_draft){ .seed = 4, .dtype = DS4_Q8_0, .coded = DS4_Q8_0 });
    first_guess(&(tiny_draft){ .seed = 4, .dtype = DS4_F16, .coded = DS4_Q8_0, .layout = 'B' });
}

static void expect_refused(const tiny_draft *draft, const char *said)
{
    const ds4_engine_options opt = { .model_path = model_path,
                                     .dspark_path = draft_path,
                                     .backend = "cpu",
                                     .n_threads = 1,
                                     .max_batch = 40 };
    ds4_engine              *e = NULL;
    ds4_err                  err = { 0 };

    tiny_draft_write(draft, draft_path);
    assert_int_not_equal(ds4_engine_open(&e, &opt, &err), DS4_OK);
    if (!strstr(err.text, said)) fail_msg("\"%s\" was to say \"%s\"", err.text, said);
    if (!strstr(err.text, draft_path)) fail_msg("\"%s\" does not name the file", err.text);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(&(tiny_draft){ .seed = 1, .architecture = "llama" }, "but DSpark drafters are");
    expect_refused(&(tiny_draft){ .seed = 1, .architecture = "deepseek4-dflash-draft" },
                   "but DSpark drafters are");
    expect_refused(&(tiny_draft){ .seed = 1, .leave_out = "mtp.1.attn_kv.weight" },
                   "\"mtp.1.attn_kv.weight\" is missing");
    expect_refused(&(tiny_draft){ .seed = 1, .leave_out = "mtp.2.norm.weight" },
                   "\"mtp.2.norm.weight\" is missing");
    expect_refused(&(tiny_draft){ .seed = 1, .layout = 'C', .leave_out = "fc.weight" },
                   "\"fc.weight\" is missing");
    expect_refused(&(tiny_draft){ .seed = 1, .leave_out = "mtp.1.attn_norm.weight" },
                   "tensors of 1 stages");
    expect_refused(&(tiny_draft){ .seed = 1, .add = "mtp.0.e_proj.weight" },
                   "\"mtp.0.e_proj.weight\" has no use");
    expect_refused(&(tiny_draft){ .seed = 1, .n_embd = 128 }, "192 x 64 x 1");
    expect_refused(&(tiny_draft){ .seed = 1, .n_experts = 8 }, "expected 64 x 6");
    expect_refused(&(tiny_draft){ .seed = 1, .tap = { 1, 2, 4 } },
                   "expected ascending layers 0 to 3");
    expect_refused(&(tiny_draft){ .seed = 1, .tap = { 2, 1, 3 } }, "expected ascending layers");
    expect_refused(&(tiny_draft){ .seed = 1, .layout = 'C', .tap = { 1, 2, 4 } },
                   "expected ascending layers 1 to 4");
    expect_refused(&(tiny_draft){ .seed = 1, .noise = TINY_VOCAB }, "expected 0..271");
    expect_refused(&(tiny_draft){ .seed = 1, .n_block = 16 }, "expected 1..15");
}

/* Model and drafter name their generation by keys or by the file's name, and the names are compared. */
static void test_generations(void **state)
{
    ds4_engine_options opt = { .model_path = new_path,
                               .dspark_path = draft_path,
                               .backend = "cpu",
                               .n_threads = 1,
                               .max_batch = 40 };
    ds4_engine        *e = NULL;
    ds4_err            err = { 0 };

    (void)state;
    tiny_model_write(&model, new_path);
    tiny_draft_write(&(tiny_draft){ .seed = 1, .name = "DSpark Vision-Exp" }, draft_path);
    assert_int_equal(ds4_engine_open(&e, &opt, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "of the generation vision-exp, the model of 0731"));
    tiny_draft_write(&(tiny_draft){ .seed = 1, .name = "DSpark 0731" }, draft_path);
    assert_int_equal(ds4_engine_open(&e, &opt, &err), DS4_OK);
    ds4_engine_close(e);
    unlink(new_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_independent),
        cmocka_unit_test(test_independent_rounded),
        cmocka_unit_test(test_ways),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_model_unchanged),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_generations),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
