/* draft_control_test.c - guesses make copied text faster and no text slower, on a clock that counts what
 * steps of so many rows cost. No model runs: the texts are known, and a step advances by what was guessed
 * right. */
#include "testing.h"

#include "base/file.h"
#include "base/rng.h"
#include "model/vocab_gguf.h"
#include "service/draft_control.h"
#include "text/bpe.h"

/* Costs of one more row, in steps of one row: a small model whose steps are mostly overhead, a large one that
 * reads more experts for more rows, and a machine on which rows cost nearly as much as steps. */
typedef struct machine {
    const char *name;
    double      second, later;
} machine;

static const machine machines[] = { { "small", 0.35, 0.12 }, { "large", 0.19, 0.18 }, { "slow", 0.85, 0.8 } };

enum { N_MACHINES = sizeof machines / sizeof *machines };

static ds4_vocab *vocab;

static int open_vocab(void **state)
{
    ds4_gguf *file = NULL;

    (void)state;
    if (ds4_gguf_open("models/ds4-mini.gguf", &file, NULL) != DS4_OK) return -1;
    const ds4_status st = ds4_vocab_from_gguf(file, &vocab, NULL);
    ds4_gguf_close(file);
    return st == DS4_OK ? 0 : -1;
}

static int close_vocab(void **state)
{
    (void)state;
    ds4_vocab_free(vocab);
    return 0;
}

static double cost_of(const machine *m, uint32_t n_rows)
{
    return n_rows <= 1 ? 1 : 1 + m->second + m->later * (n_rows - 2);
}

/* One seat on a machine. */
typedef struct desk {
    const machine    *m;
    ds4_drafter      *drafter;
    ds4_draft_control control;
    ds4_step_costs    costs;
    ds4_rng           noise;
    double            took, plain;      /* steps of one row */
    uint32_t          n_guessed, n_agreed;
} desk;

static void open_desk(desk *d, const machine *m)
{
    *d = (desk){ .m = m };
    d->control.costs = &d->costs;
    ds4_rng_seed(&d->noise, 7);
    assert_int_equal(ds4_drafter_suffix_create(1 << 16, &d->drafter, NULL), DS4_OK);
}

static void close_desk(desk *d)
{
    d->drafter->kind->free(d->drafter);
}

/* A step takes 0.8 to 1.2 of its cost, and one in six up to six times as long. */
static uint64_t time_of(desk *d, double cost)
{
    double factor = 0.8 + 0.4 * ds4_rng_uniform(&d->noise);

    if (ds4_rng_uniform(&d->noise) < 0.16) factor *= 1 + 5 * ds4_rng_uniform(&d->noise);
    return (uint64_t)(cost * factor * 1e6);
}

/* An answer of the tokens from n_prompt on. */
static void answer(desk *d, const int32_t *text, uint32_t n_prompt, uint32_t n_text)
{
    const ds4_drafter_kind *kind = d->drafter->kind;

    for (uint32_t pos = n_prompt; pos + 1 < n_text;) {
        ds4_draft        draft = { .n = 0 };
        const ds4_draft *all = &draft;
        const uint32_t   left = n_text - pos - 1;
        uint32_t         length, good = 0;
        kind->follow(d->drafter, text, pos, text[pos]);
        kind->propose(d->drafter, NULL, left < DS4_DRAFT_TOKENS ? left : DS4_DRAFT_TOKENS, &draft);
        ds4_draft_control_plan(&d->control, &all, 1, 64, &length);
        while (good < length && draft.token[good] == text[pos + 1 + good]) good++;
        const double cost = cost_of(d->m, 1 + length);
        ds4_draft_control_learn(&d->control, 1 + good, true, time_of(d, cost));
        d->took += cost;
        d->plain += 1 + good;
        d->n_guessed += length;
        d->n_agreed += good;
        pos += 1 + good;
    }
}

static double speed(desk *d, const char *what)
{
    const double ratio = d->plain / d->took;

    print_message("# %s, %s machine: %.2f of plain speed, %u of %u guesses right\n", what, d->m->name, ratio,
                  d->n_agreed, d->n_guessed);
    close_desk(d);
    return ratio;
}

/* The English text that comes with the model. */
static void read_tokens(ds4_tokens *out)
{
    ds4_str text = { 0 };

    assert_int_equal(ds4_file_read("models/eval/filler.txt", 1 << 22, &text, NULL), DS4_OK);
    assert_int_equal(ds4_vocab_encode(vocab, ds4_str_text(&text), text.n_bytes, 0, out, NULL), DS4_OK);
    ds4_str_clear(&text);
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void test_nothing_to_guess(void **state)
{
    enum { N = 6000 };
    int32_t text[N];
    ds4_rng rng;

    (void)state;
    ds4_rng_seed(&rng, 3);
    for (uint32_t i = 0; i < N; i++) text[i] = (int32_t)(ds4_rng_next(&rng) % 300);
    for (uint32_t i = 0; i < N_MACHINES; i++) {
        desk d;
        open_desk(&d, &machines[i]);
        answer(&d, text, 1000, N);
        assert_true(speed(&d, "random tokens") >= 0.97);
    }
}

static void test_prose(void **state)
{
    ds4_tokens t = { 0 };

    (void)state;
    read_tokens(&t);
    assert_true(t.n > 20000);
    for (uint32_t i = 0; i < N_MACHINES; i++) {
        desk d;
        open_desk(&d, &machines[i]);
        for (uint32_t k = 0; k < 3; k++) answer(&d, t.ids + k * 6000, 2000, 6000);
        assert_true(speed(&d, "prose") >= 0.97);
    }
    ds4_tokens_clear(&t);
}

/* Text that is copied for a while and then goes on otherwise, again and again. */
static void test_broken_promises(void **state)
{
    ds4_tokens t = { 0 };
    ds4_rng    rng;

    (void)state;
    read_tokens(&t);
    for (uint32_t run = 2; run <= 32; run *= 2) {
        int32_t text[8000];
        ds4_rng_seed(&rng, run);
        memcpy(text, t.ids, 4000 * sizeof *text);
        for (uint32_t n = 4000; n < 8000; n += run) {
            const uint32_t from = (uint32_t)(ds4_rng_next(&rng) % 3900);
            for (uint32_t k = 0; k < run && n + k < 8000; k++) text[n + k] = text[from + k];
        }
        for (uint32_t i = 0; i < N_MACHINES; i++) {
            char what[64];
            desk d;
            open_desk(&d, &machines[i]);
            answer(&d, text, 4000, 8000);
            snprintf(what, sizeof what, "runs of %u tokens", run);
            assert_true(speed(&d, what) >= 0.97);
        }
    }
    ds4_tokens_clear(&t);
}

/* A text is written again with every 90th token another one. */
static void test_edits(void **state)
{
    ds4_tokens t = { 0 };

    (void)state;
    read_tokens(&t);
    const uint32_t n = t.n = 6000;
    ds4_tokens_append(&t, t.ids, n);
    for (uint32_t k = n + 40; k < 2 * n; k += 90) t.ids[k] = t.ids[k - 7];
    for (uint32_t i = 0; i < N_MACHINES; i++) {
        desk d;
        open_desk(&d, &machines[i]);
        answer(&d, t.ids, n, 2 * n);
        const double ratio = speed(&d, "edits");
        assert_true(ratio >= (i == 0 ? 3 : i == 1 ? 2.4 : 1));
    }
    ds4_tokens_clear(&t);
}

/* Guesses that take 0.3 steps to compute, five at a time, and are right so often. */
static double computed_speed(const machine *m, double right)
{
    desk d;

    open_desk(&d, m);
    for (uint32_t i = 0; i < 6000; i++) {
        ds4_draft        draft = { .n = 0 };
        const ds4_draft *all = &draft;
        uint32_t         length, good = 0;
        const double     spent = ds4_draft_control_computes(&d.control) ? 0.3 : 0;
        for (; spent > 0 && draft.n < 5; draft.n++) draft.chance[draft.n] = (float)right;
        if (spent > 0) ds4_draft_control_spent(&d.control, time_of(&d, spent));
        ds4_draft_control_plan(&d.control, &all, 1, 64, &length);
        while (good < length && ds4_rng_uniform(&d.noise) < right) good++;
        const double cost = cost_of(m, 1 + length);
        ds4_draft_control_learn(&d.control, 1 + good, true, time_of(&d, cost));
        d.took += cost + spent;
        d.plain += 1 + good;
        d.n_guessed += length;
        d.n_agreed += good;
    }
    return speed(&d, "computed guesses");
}

/* They are used where they pay, and do no harm where they do not. */
static void test_computed_guesses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        assert_true(computed_speed(&machines[i], 0.1) > 0.97);
        assert_true(computed_speed(&machines[i], 0.4) > 0.97);
        assert_true(computed_speed(&machines[i], 0.7) > 0.97);
    }
    assert_true(computed_speed(&machines[0], 0.85) > 1.3);
}

/* Words of an earlier conversation are guessed in a new one, across its end. */
static void test_earlier_texts(void **state)
{
    ds4_tokens t = { 0 };
    desk       d;

    (void)state;
    read_tokens(&t);
    open_desk(&d, &machines[0]);
    const ds4_drafter_kind *kind = d.drafter->kind;
    kind->remember(d.drafter, t.ids, 900);
    ds4_draft draft;
    kind->follow(d.drafter, t.ids + 400, 30, t.ids[430]);
    kind->propose(d.drafter, NULL, 8, &draft);
    assert_int_equal(draft.n, 8);
    assert_memory_equal(draft.token, t.ids + 431, 8 * sizeof *t.ids);
    /* Nothing is guessed behind the end of a text. */
    kind->forget(d.drafter);
    kind->remember(d.drafter, t.ids, 435);
    kind->follow(d.drafter, t.ids + 400, 30, t.ids[430]);
    kind->propose(d.drafter, NULL, 8, &draft);
    assert_int_equal(draft.n, 4);
    kind->forget(d.drafter);
    kind->follow(d.drafter, t.ids + 400, 30, t.ids[430]);
    kind->propose(d.drafter, NULL, 8, &draft);
    assert_true(draft.n == 0 || draft.token[0] != t.ids[431]);
    close_desk(&d);
    ds4_tokens_clear(&t);
}

/* Many short answers, each of which is half new and half from its prompt. */
static void test_short_answers(void **state)
{
    ds4_tokens t = { 0 };

    (void)state;
    read_tokens(&t);
    for (uint32_t i = 0; i < N_MACHINES; i++) {
        desk d;
        open_desk(&d, &machines[i]);
        for (uint32_t k = 0; k < 40000 && k + 400 < t.n; k += 400) {
            int32_t text[160];
            memcpy(text, t.ids + k, 120 * sizeof *text);
            memcpy(text + 120, t.ids + k + 60, 20 * sizeof *text);
            memcpy(text + 140, t.ids + k + 200, 20 * sizeof *text);
            answer(&d, text, 100, 160);
        }
        assert_true(speed(&d, "short answers") >= 0.97);
    }
    ds4_tokens_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_computed_guesses),
        cmocka_unit_test(test_nothing_to_guess), cmocka_unit_test(test_prose),
        cmocka_unit_test(test_broken_promises), cmocka_unit_test(test_edits),
        cmocka_unit_test(test_short_answers), cmocka_unit_test(test_earlier_texts),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
