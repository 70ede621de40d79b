/* talk_test.c - a session on disk is the session in memory, at whatever byte its process ended. */
#include "testing.h"

#include "agent/talk.h"
#include "base/file.h"
#include "base/rng.h"

#include <sys/stat.h>

enum { VOCAB = 1000 };

static char    box[256];
static ds4_rng rng;

static uint32_t pick(uint32_t n)
{
    return (uint32_t)(ds4_rng_next(&rng) % n);
}

static int setup(void **state)
{
    const char    *seed = getenv("DS4_SEED");
    const uint64_t number = seed ? strtoull(seed, NULL, 10) : 20261201;

    (void)state;
    print_message("# seed %llu (DS4_SEED)\n", (unsigned long long)number);
    ds4_rng_seed(&rng, number);
    test_temp_path(box, "talks");
    return mkdir(box, 0700);
}

static int teardown(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", box);
    return system(command);
}

static const char *dir_of(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", box, name);
    return path;
}

static ds4_slice slice(const char *text)
{
    return (ds4_slice){ text, strlen(text) };
}

/* ---- a walk --------------------------------------------------------------------------------- */

static ds4_tokens some_tokens(uint32_t n)
{
    ds4_tokens t = { 0 };
    for (uint32_t i = 0; i < n; i++) ds4_tokens_add(&t, (int32_t)pick(VOCAB));
    return t;
}

static void begin(ds4_talk *t, const char *name)
{
    const ds4_talk_meta meta = {
        .model = "a model", .root = "a \"root\"", .vocabulary = "v", .created = 1234567
    };
    ds4_tokens base = some_tokens(20);

    assert_int_equal(DS4_OK, ds4_talk_create(t, dir_of(name), VOCAB, &meta, &base, NULL));
    ds4_tokens_clear(&base);
}

static void open_prompt(ds4_talk *t)
{
    ds4_tokens tokens = some_tokens(1 + pick(9));
    assert_int_equal(DS4_OK, ds4_talk_tokens(t, &tokens, pick(2), NULL));
    ds4_tokens_clear(&tokens);
}

static void end_answer(ds4_talk *t)
{
    static const ds4_dsml_call calls[] = {
        { .name = DS4_SLICE("bash"), .arguments = DS4_SLICE("{\"command\": \"ls \\\"x\\\"\"}"),
          .complete = true },
        { .name = DS4_SLICE("read"), .arguments = DS4_SLICE("{}"), .complete = true },
    };
    ds4_reply_result said = { .finish = DS4_FINISH_END,
                              .content = slice("what \"it\" said\n"),
                              .reasoning = slice("because"),
                              .calls = calls };

    if (pick(3) > 0) {
        said.finish = DS4_FINISH_CALLS;
        said.n_calls = 1 + pick(2);
    } else if (pick(3) == 0) {
        said.finish = DS4_FINISH_CANCELLED;
        said.state = DS4_DSML_THINK;
    }
    assert_int_equal(DS4_OK, ds4_talk_answer(t, &said, NULL));
}

static void compact(ds4_talk *t)
{
    ds4_tokens made = { 0 };

    ds4_tokens_append(&made, t->tokens.ids, t->n_base);
    for (uint32_t i = 0; i < 5; i++) ds4_tokens_add(&made, (int32_t)pick(VOCAB));
    assert_int_equal(DS4_OK, ds4_talk_compact(t, slice("it was long"), &made, pick(2), NULL));
    ds4_tokens_clear(&made);
}

static void undo(ds4_talk *t)
{
    ds4_talk_item *user = ds4_talk_last(t, DS4_TALK_USER);

    if (!user) return;
    const uint64_t at = user->answer_at > 0 && pick(2) ? user->answer_at : user->at;
    assert_int_equal(DS4_OK, ds4_talk_cut(t, at, NULL));
}

static void call(ds4_talk *t)
{
    ds4_talk_item *answer = ds4_talk_last(t, DS4_TALK_ANSWER);
    uint32_t       i = 0;

    while (i < answer->n_calls && answer->calls[i].done) i++;
    if (i == answer->n_calls) open_prompt(t);
    else if (!answer->calls[i].begun) assert_int_equal(DS4_OK, ds4_talk_call_begins(t, i, NULL));
    else assert_int_equal(DS4_OK, ds4_talk_call_ends(t, i, pick(2), slice("a \xff result"), NULL));
}

/* One thing that may happen where the talk stands. */
static void happen(ds4_talk *t)
{
    if (pick(12) == 0) {
        assert_int_equal(DS4_OK, ds4_talk_enqueue(t, slice("wait"), NULL));
    } else if (pick(12) == 0 && t->n_queue > 0) {
        assert_int_equal(DS4_OK, ds4_talk_unqueue(t, pick(2), NULL));
    } else if (pick(15) == 0) {
        undo(t);
    } else if (t->phase == DS4_TALK_IDLE && pick(6) == 0) {
        compact(t);
    } else if (t->phase == DS4_TALK_IDLE && pick(6) == 0) {
        assert_int_equal(DS4_OK, ds4_talk_plan(t, pick(2), NULL));
    } else if (t->phase == DS4_TALK_IDLE) {
        assert_int_equal(DS4_OK, ds4_talk_user(t, pick(100), t->n_queue > 0, slice("do it\nplease"), NULL));
    } else if (t->phase == DS4_TALK_PROMPTING) {
        open_prompt(t);
    } else if (t->phase == DS4_TALK_CALLING) {
        call(t);
    } else if (pick(4) > 0) {
        ds4_tokens tokens = some_tokens(pick(20) ? 1 : 30);
        assert_int_equal(DS4_OK, ds4_talk_sampled(t, tokens.ids, tokens.n, NULL));
        ds4_tokens_clear(&tokens);
    } else if (t->n_answer > 0 && pick(3) == 0) {
        assert_int_equal(DS4_OK, ds4_talk_drop(t, pick(t->n_answer), NULL));
    } else {
        end_answer(t);
        if (t->phase == DS4_TALK_IDLE) assert_int_equal(DS4_OK, ds4_talk_stop(t, DS4_STOP_DONE, NULL));
    }
}

/* ---- comparing ------------------------------------------------------------------------------ */

static void same_text(const ds4_str *a, const ds4_str *b)
{
    assert_int_equal(a->n_bytes, b->n_bytes);
    if (a->n_bytes > 0) assert_memory_equal(a->data, b->data, a->n_bytes);
}

static void same_item(const ds4_talk_item *a, const ds4_talk_item *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->mark == b->mark);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->finish, b->finish);
    same_text(&a->text, &b->text);
    same_text(&a->reasoning, &b->reasoning);
    assert_int_equal(a->n_calls, b->n_calls);
    for (uint32_t i = 0; i < a->n_calls; i++) {
        same_text(&a->calls[i].name, &b->calls[i].name);
        same_text(&a->calls[i].arguments, &b->calls[i].arguments);
        same_text(&a->calls[i].result, &b->calls[i].result);
        assert_int_equal(a->calls[i].begun, b->calls[i].begun);
        assert_int_equal(a->calls[i].done, b->calls[i].done);
        assert_int_equal(a->calls[i].failed, b->calls[i].failed);
    }
}

static void same(const ds4_talk *a, const ds4_talk *b)
{
    assert_int_equal(a->tokens.n, b->tokens.n);
    assert_memory_equal(a->tokens.ids, b->tokens.ids, a->tokens.n * sizeof(int32_t));
    assert_int_equal(a->n_base, b->n_base);
    assert_int_equal(a->n_answer, b->n_answer);
    assert_int_equal(a->phase, b->phase);
    assert_int_equal(a->thinking, b->thinking);
    assert_int_equal(a->answer_open_reasoning, b->answer_open_reasoning);
    assert_int_equal(a->ends_with_answer, b->ends_with_answer);
    assert_int_equal(a->untold, b->untold);
    assert_int_equal(a->planning, b->planning);
    assert_int_equal(a->n_items, b->n_items);
    for (uint32_t i = 0; i < a->n_items; i++) same_item(&a->items[i], &b->items[i]);
    assert_int_equal(a->n_queue, b->n_queue);
    for (uint32_t i = 0; i < a->n_queue; i++) same_text(&a->queue[i], &b->queue[i]);
    same_text(&a->root, &b->root);
    assert_true(a->created == b->created);
}

static ds4_str journal_of(const char *dir)
{
    char    path[500];
    ds4_str content = { 0 };

    snprintf(path, sizeof path, "%s/journal", dir);
    assert_int_equal(DS4_OK, ds4_file_read(path, 1 << 24, &content, NULL));
    return content;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_what_is_read_is_what_was_done(void **state)
{
    ds4_talk t, again = { 0 };

    (void)state;
    begin(&t, "walk");
    for (int i = 0; i < 600; i++) {
        happen(&t);
        ds4_str content = journal_of(t.dir);
        assert_int_equal(DS4_OK,
                         ds4_talk_load(&again, (ds4_slice){ content.data, content.n_bytes }, VOCAB, NULL));
        same(&t, &again);
        ds4_talk_close(&again);
        ds4_str_clear(&content);
    }
    ds4_talk_close(&t);
}

/* A process that is killed leaves a beginning of the file. */
static void test_every_beginning_can_be_opened(void **state)
{
    ds4_talk t;
    ds4_err  err;

    (void)state;
    begin(&t, "cut");
    for (int i = 0; i < 80; i++) happen(&t);
    ds4_str whole = journal_of(t.dir);
    ds4_talk_close(&t);
    char path[500];
    snprintf(path, sizeof path, "%s/journal", dir_of("cut"));
    uint32_t n_opened = 0;
    for (size_t n = 0; n <= whole.n_bytes; n++) {
        FILE *file = fopen(path, "wb");
        assert_int_equal(n, fwrite(whole.data, 1, n, file));
        fclose(file);
        const ds4_status st = ds4_talk_open(&t, dir_of("cut"), VOCAB, &err);
        if (st == DS4_OK) n_opened++;
        else assert_true(n < 400 && strstr(err.text, "empty session"));
        if (st == DS4_OK) happen(&t);
        ds4_talk_close(&t);
    }
    assert_true(n_opened > whole.n_bytes - 400);
    ds4_str_clear(&whole);
}

static void test_damage_ends_the_file(void **state)
{
    ds4_talk t, again;

    (void)state;
    begin(&t, "damaged");
    for (int i = 0; i < 60; i++) happen(&t);
    ds4_str whole = journal_of(t.dir);
    for (int i = 0; i < 300; i++) {
        const size_t at = 100 + pick((uint32_t)whole.n_bytes - 100);
        const char   was = whole.data[at];
        ds4_record   record;
        uint64_t     end = DS4_JOURNAL_HEAD;
        whole.data[at] ^= (char)(1 + pick(255));
        const ds4_slice content = { whole.data, whole.n_bytes };
        while (ds4_journal_read(content, end, &record)) end = record.next;
        assert_true(end <= at);
        again = (ds4_talk){ 0 };
        (void)!ds4_talk_load(&again, content, VOCAB, NULL);
        ds4_talk_close(&again);
        whole.data[at] = was;
    }
    ds4_str_clear(&whole);
    ds4_talk_close(&t);
}

static void test_a_session_has_one_process(void **state)
{
    ds4_talk t, other;
    ds4_err  err;

    (void)state;
    begin(&t, "held");
    assert_int_equal(DS4_E_IO, ds4_talk_open(&other, dir_of("held"), VOCAB, &err));
    assert_non_null(strstr(err.text, "another ds4-agent"));
    ds4_talk_close(&other);
    ds4_talk_close(&t);
    assert_int_equal(DS4_OK, ds4_talk_open(&other, dir_of("held"), VOCAB, &err));
    ds4_talk_close(&other);
}

static void test_a_cut_is_the_state_of_then(void **state)
{
    ds4_talk t, then = { 0 };

    (void)state;
    begin(&t, "undone");
    for (int round = 0; round < 20; round++) {
        while (t.phase != DS4_TALK_IDLE || pick(3) > 0) happen(&t);
        ds4_str content = journal_of(t.dir);
        assert_int_equal(DS4_OK,
                         ds4_talk_load(&then, (ds4_slice){ content.data, content.n_bytes }, VOCAB, NULL));
        ds4_str_clear(&content);
        assert_int_equal(DS4_OK, ds4_talk_user(&t, 1, false, slice("and then"), NULL));
        const uint64_t at = ds4_talk_last(&t, DS4_TALK_USER)->at;
        open_prompt(&t);
        if (pick(2)) end_answer(&t);
        assert_int_equal(DS4_OK, ds4_talk_cut(&t, at, NULL));
        same(&then, &t);
        ds4_talk_close(&then);
    }
    assert_int_equal(DS4_E_ARG, ds4_talk_cut(&t, 17, NULL));
    ds4_talk_close(&t);
}

static void test_a_fork_is_the_same_and_apart(void **state)
{
    ds4_talk t, fork;
    ds4_str  title = { 0 };

    (void)state;
    begin(&t, "origin");
    assert_int_equal(DS4_OK, ds4_talk_user(&t, 1, false, slice("first\nmessage"), NULL));
    open_prompt(&t);
    for (int i = 0; i < 100; i++) happen(&t);
    char to[400];
    snprintf(to, sizeof to, "%s", dir_of("fork"));
    assert_int_equal(DS4_OK, ds4_talk_fork(&t, to, NULL));
    assert_int_equal(DS4_OK, ds4_talk_open(&fork, to, VOCAB, NULL));
    same(&t, &fork);
    for (int i = 0; i < 20; i++) happen(&fork);
    assert_int_equal(DS4_E_IO, ds4_talk_fork(&t, to, NULL));
    ds4_talk_title(&t, &title);
    assert_true(title.n_bytes == 0 || strcmp(title.data, "first") == 0 || strcmp(title.data, "do it") == 0);
    ds4_str_clear(&title);
    ds4_talk_close(&fork);
    ds4_talk_close(&t);
}

static void test_what_cannot_follow_is_refused(void **state)
{
    static const uint8_t big[4] = { 0xff, 0xff, 0, 0 };
    ds4_talk             t = { 0 };
    ds4_err              err;

    (void)state;
    begin(&t, "refused");
    const int32_t id = 5;
    assert_int_equal(DS4_E_ARG, ds4_talk_sampled(&t, &id, 1, &err));
    assert_int_equal(DS4_E_ARG, ds4_talk_call_begins(&t, 0, &err));
    assert_int_equal(DS4_E_FORMAT, ds4_talk_unqueue(&t, false, &err));
    ds4_talk_close(&t);
    assert_int_equal(DS4_OK, ds4_talk_open(&t, dir_of("refused"), VOCAB, &err));
    ds4_talk_close(&t);

    begin(&t, "later");
    assert_int_equal(DS4_OK, ds4_journal_add(t.journal, 99, big, sizeof big, &err));
    ds4_str  content = journal_of(t.dir);
    ds4_talk again = { 0 };
    assert_int_equal(DS4_E_FORMAT,
                     ds4_talk_load(&again, (ds4_slice){ content.data, content.n_bytes }, VOCAB, &err));
    assert_non_null(strstr(err.text, "later version"));
    ds4_talk_close(&again);
    ds4_str_clear(&content);
    ds4_talk_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_read_is_what_was_done),
        cmocka_unit_test(test_every_beginning_can_be_opened),
        cmocka_unit_test(test_damage_ends_the_file),
        cmocka_unit_test(test_a_session_has_one_process),
        cmocka_unit_test(test_a_cut_is_the_state_of_then),
        cmocka_unit_test(test_a_fork_is_the_same_and_apart),
        cmocka_unit_test(test_what_cannot_follow_is_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
