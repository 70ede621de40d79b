/* loop_test.c - the agent's loop on the bundled model, with prescribed answers and real tools: what a front
 * may ask for while it works, at every place where it may ask. */
#include "testing.h"

#include "agent/agent.h"
#include "base/file.h"
#include "service/model_open.h"

#include <sys/stat.h>

enum { CTX = 8192 };

static char      box[256];
static ds4_model model;
static ds4_resume *resume;      /* what all sessions have computed */

/* ---- what the model says --------------------------------------------------------------------- */

typedef struct line {
    const char *when;           /* occurs in the last turn; NULL: whatever it is */
    const char *say;
} line;

#define CALL(name, parameter, value)                                                                \
    "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" name "\">\n"                                \
    "<｜DSML｜parameter name=\"" parameter "\" string=\"true\">" value "</｜DSML｜parameter>\n"     \
    "</｜DSML｜invoke>\n</｜DSML｜tool_calls>"

/* ---- a front that watches, and acts once at a place ------------------------------------------ */

typedef enum act_kind {
    ACT_NONE,
    ACT_INTERRUPT,
    ACT_SUBMIT,
    ACT_SUBMIT_TWO_TAKE_ONE_BACK,
    ACT_COMMAND,
} act_kind;

typedef struct watcher {
    ds4_agent      *agent;
    const line     *lines;      /* ended by a line without say */
    ds4_front_kind  at;         /* act at the nth event of this kind */
    uint32_t        nth;
    act_kind        act;
    const char     *text;
    uint32_t        n_tasks, i_task;    /* requests that follow each other when one settles */
    const char     *tasks[8];
    uint64_t        waits;      /* for this ticket */
    ds4_str         answer, notes, errors, results, users;
    ds4_stop        stops[16];
    uint64_t        tickets[16];
    uint32_t        n_stops, n_seen, n_runs;
    struct {
        uint32_t cached, total;
    } prompts[16];              /* [n_prompts] that were read */
    uint32_t        n_prompts;
    uint32_t        used;       /* of the last status */
    uint32_t        used_then[16];      /* when each request settled */
    char            id[64];
} watcher;

static ds4_slice slice(const char *text)
{
    return (ds4_slice){ text, strlen(text) };
}

static ds4_status prescribe(void *ctx, ds4_slice prompt, ds4_tokens *out, ds4_err *err)
{
    const watcher *w = ctx;
    static const char mark[] = "<｜User｜>";
    const char    *turn = prompt.data, *next;

    while ((next = strstr(turn, mark))) turn = next + strlen(mark);
    for (const line *l = w->lines; l && l->say; l++) {
        if (l->when && !strstr(turn, l->when)) continue;
        const ds4_vocab *v = ds4_engine_vocab(model.engine);
        DS4_TRY(ds4_vocab_encode(v, l->say, strlen(l->say), DS4_ENCODE_SPECIALS, out, err));
        ds4_tokens_add(out, ds4_vocab_specials(v)->eos);
        return DS4_OK;
    }
    return DS4_OK;
}

static void next_task(watcher *w)
{
    if (w->i_task == w->n_tasks) {
        ds4_agent_quit(w->agent);
        return;
    }
    const char *text = w->tasks[w->i_task++];
    w->waits = *text == '/' ? ds4_agent_command(w->agent, slice(text))
                            : ds4_agent_submit(w->agent, slice(text));
    assert_true(w->waits != 0);
}

static void act(watcher *w)
{
    ds4_str back = { 0 };

    switch (w->act) {
    case ACT_NONE: break;
    case ACT_INTERRUPT: ds4_agent_interrupt(w->agent, false); break;
    case ACT_COMMAND: ds4_agent_command(w->agent, slice(w->text)); break;
    case ACT_SUBMIT: w->waits = ds4_agent_submit(w->agent, slice(w->text)); break;
    case ACT_SUBMIT_TWO_TAKE_ONE_BACK:
        w->waits = ds4_agent_submit(w->agent, slice(w->text));
        ds4_agent_submit(w->agent, slice("never mind"));
        assert_true(ds4_agent_unqueue(w->agent, &back));
        assert_string_equal("never mind", back.data);
        ds4_str_clear(&back);
        break;
    }
}

static void add(ds4_str *to, ds4_slice text)
{
    ds4_str_add(to, text.data, text.n_bytes);
}

static void settle(watcher *w, const ds4_front_event *e)
{
    assert_true(w->n_stops < 16);
    for (uint32_t i = 0; i < w->n_stops; i++) assert_true(w->tickets[i] != e->ticket);
    w->tickets[w->n_stops] = e->ticket;
    w->used_then[w->n_stops] = w->used;
    w->stops[w->n_stops++] = e->stop;
    if (e->ticket == w->waits) next_task(w);
}

static void note_prompt(watcher *w, uint32_t cached, uint32_t total)
{
    if (w->n_prompts > 0 && w->prompts[w->n_prompts - 1].total == total) return;
    assert_true(w->n_prompts < 16);
    w->prompts[w->n_prompts].cached = cached;
    w->prompts[w->n_prompts++].total = total;
}

static void watch(void *ctx, const ds4_front_event *e)
{
    watcher *w = ctx;

    switch (e->kind) {
    case DS4_FRONT_SESSION: snprintf(w->id, sizeof w->id, "%s", e->session->id); break;
    case DS4_FRONT_ANSWER: if (!e->replayed) add(&w->answer, e->text); break;
    case DS4_FRONT_USER: add(&w->users, e->text); ds4_str_add_char(&w->users, '|'); break;
    case DS4_FRONT_NOTE: add(&w->notes, e->text); ds4_str_add_char(&w->notes, '\n'); break;
    case DS4_FRONT_ERROR: add(&w->errors, e->text); ds4_str_add_char(&w->errors, '\n'); break;
    case DS4_FRONT_CALL_RUN: w->n_runs += !e->replayed; break;
    case DS4_FRONT_CALL_END:
        add(&w->results, (ds4_slice){ ds4_str_text(&e->result->text), e->result->text.n_bytes });
        ds4_str_add_char(&w->results, '|');
        break;
    case DS4_FRONT_PREFILL:
        note_prompt(w, e->progress.cached, e->progress.total);
        break;
    case DS4_FRONT_STATUS: w->used = e->status->n_used; break;
    default: break;
    }
    if (w->act != ACT_NONE && e->kind == w->at && !e->replayed && ++w->n_seen == w->nth) act(w);
    if (e->kind == DS4_FRONT_SETTLED) settle(w, e);
}

static void clear(watcher *w)
{
    ds4_str_clear(&w->answer);
    ds4_str_clear(&w->notes);
    ds4_str_clear(&w->errors);
    ds4_str_clear(&w->results);
    ds4_str_clear(&w->users);
}

/* ---- a run ----------------------------------------------------------------------------------- */

static const char *inside(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", box, name);
    return path;
}

static void run_in(watcher *w, const char *session, uint32_t n_ctx)
{
    char    dir[600], root[600];
    ds4_err err = { .code = DS4_OK };

    snprintf(dir, sizeof dir, "%s/sessions", box);
    snprintf(root, sizeof root, "%s/project", box);
    const ds4_agent_options opt = {
        .engine = model.engine, .resume = resume, .protocol = model.protocol, .n_ctx = n_ctx, .dir = dir,
        .root = root, .session = session, .mode = DS4_TOOLS_YOLO, .no_notes = true, .thinking = true,
        .max_tokens = 2000, .loop_tokens = 512, .max_rounds = 50, .seed = 7,
        .front = { .ctx = w, .event = watch }, .prescribe = prescribe, .prescribe_ctx = w,
    };
    const ds4_status st = ds4_agent_create(&opt, &w->agent, &err);
    if (st != DS4_OK) print_message("# %s\n", err.text);
    assert_int_equal(DS4_OK, st);
    next_task(w);
    assert_int_equal(DS4_OK, ds4_agent_run(w->agent, &err));
    ds4_agent_free(w->agent);
}

static void run(watcher *w)
{
    run_in(w, NULL, CTX);
}

static int setup(void **state)
{
    const ds4_engine_options opt = { .model_path = "models/ds4-mini.gguf", .n_threads = 2 };
    ds4_err err = { .code = DS4_OK };

    (void)state;
    test_temp_path(box, "loop");
    if (mkdir(box, 0700) != 0 || mkdir(inside("project"), 0700) != 0) return -1;
    if (ds4_model_open(&opt, &model, &err) != DS4_OK) return -1;
    const ds4_resume_options keep = { .engine = model.engine };
    return ds4_resume_create(&keep, &resume, &err) == DS4_OK ? 0 : -1;
}

static int teardown(void **state)
{
    char command[300];

    (void)state;
    ds4_resume_free(resume);
    ds4_model_close(&model);
    snprintf(command, sizeof command, "rm -rf '%s'", box);
    return system(command);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static const line two_rounds[] = {
    { "hello-from-tool", "Seen.</think>It said hello." },
    { "second", "Easy.</think>Second answer." },
    { NULL, "I run it.</think>Running." CALL("bash", "command", "echo hello-from-tool") },
    { NULL, NULL },
};

static void test_a_turn_runs_its_calls_and_ends(void **state)
{
    watcher w = { .lines = two_rounds, .n_tasks = 1, .tasks = { "say hello" } };

    (void)state;
    run(&w);
    assert_string_equal("Running.It said hello.", ds4_str_text(&w.answer));
    assert_int_equal(1, w.n_runs);
    assert_non_null(strstr(ds4_str_text(&w.results), "hello-from-tool"));
    assert_int_equal(1, w.n_stops);
    assert_int_equal(DS4_STOP_DONE, w.stops[0]);
    clear(&w);
}

/* Tokens that were read or sampled are not read again: a prompt reads what is new, and at most the token that
 * ended the answer before it, which was sampled and not evaluated. */
static void test_a_second_turn_reads_only_what_is_new(void **state)
{
    watcher w = { .lines = two_rounds, .n_tasks = 3, .tasks = { "say hello", "second", "second" } };

    (void)state;
    run(&w);
    assert_int_equal(3, w.n_stops);
    assert_int_equal(4, w.n_prompts);           /* the first turn has two, because of its call */
    assert_true(w.prompts[1].cached > w.prompts[0].total);      /* with what was sampled */
    assert_int_equal(w.used_then[0], w.prompts[2].cached);
    assert_int_equal(w.used_then[1], w.prompts[3].cached);

    /* Another process has the same tokens, whatever it has of their state. */
    watcher again = { .lines = two_rounds, .n_tasks = 1, .tasks = { "second" } };
    run_in(&again, w.id, CTX);
    const uint32_t n_new = again.prompts[0].total - w.used_then[2];
    assert_int_equal(w.prompts[3].total - w.used_then[1], n_new);
    assert_non_null(strstr(ds4_str_text(&again.users), "say hello|second|second|second|"));
    clear(&again);
    clear(&w);
}

typedef struct place {
    ds4_front_kind at;
    uint32_t       nth;
    const char    *name;
} place;

static const place places[] = {
    { DS4_FRONT_PREFILL, 1, "in the first chunk of the prompt" },
    { DS4_FRONT_REASONING, 2, "in the reasoning" },
    { DS4_FRONT_ANSWER, 2, "in the answer" },
    { DS4_FRONT_CALL_ARGUMENTS, 1, "in a call" },
    { DS4_FRONT_CALL_RUN, 1, "before a tool" },
    { DS4_FRONT_TOOL_OUTPUT, 1, "in a tool" },
};

static const line slow_tool[] = {
    { "again", "Well.</think>Here again." },
    { "slow-done", "Oh.</think>It came to its end." },
    { NULL, "I run it slowly, that takes a while.</think>Running something slow now."
            CALL("bash", "command", "echo started; sleep 20; echo slow-done") },
    { NULL, NULL },
};

static void test_an_interrupt_ends_a_turn_at_every_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        watcher w = { .lines = slow_tool, .n_tasks = 2, .tasks = { "go", "again" }, .at = places[i].at,
                      .nth = places[i].nth, .act = ACT_INTERRUPT };
        run(&w);
        print_message("# %s\n", places[i].name);
        assert_int_equal(2, w.n_stops);
        assert_int_equal(DS4_STOP_INTERRUPTED, w.stops[0]);
        assert_int_equal(DS4_STOP_DONE, w.stops[1]);
        assert_null(strstr(ds4_str_text(&w.results), "slow-done"));
        assert_non_null(strstr(ds4_str_text(&w.answer), "Here again."));
        assert_string_equal("", ds4_str_text(&w.errors));
        clear(&w);
    }
}

static void test_a_message_waits_for_the_next_safe_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        watcher w = { .lines = slow_tool, .n_tasks = 1, .tasks = { "go" }, .at = places[i].at,
                      .nth = places[i].nth, .act = ACT_SUBMIT, .text = "again please" };
        run(&w);
        print_message("# %s\n", places[i].name);
        assert_int_equal(2, w.n_stops);
        assert_int_equal(DS4_STOP_QUEUED, w.stops[0]);
        assert_int_equal(DS4_STOP_DONE, w.stops[1]);
        assert_int_equal(0, w.n_runs);          /* the call was not run, and the model knows it */
        assert_non_null(strstr(ds4_str_text(&w.results), "a new message of the user waits"));
        assert_non_null(strstr(ds4_str_text(&w.answer), "Here again."));
        clear(&w);
    }
}

static void test_a_message_can_be_taken_back(void **state)
{
    watcher w = { .lines = slow_tool, .n_tasks = 1, .tasks = { "go" }, .at = DS4_FRONT_ANSWER, .nth = 1,
                  .act = ACT_SUBMIT_TWO_TAKE_ONE_BACK, .text = "again" };

    (void)state;
    run(&w);
    assert_int_equal(3, w.n_stops);
    uint32_t n_back = 0;
    for (uint32_t i = 0; i < 3; i++) n_back += w.stops[i] == DS4_STOP_INTERRUPTED;
    assert_int_equal(1, n_back);
    assert_null(strstr(ds4_str_text(&w.users), "never mind"));
    assert_non_null(strstr(ds4_str_text(&w.users), "again|"));
    clear(&w);
}

static void test_commands_run_while_the_model_works(void **state)
{
    watcher w = { .lines = two_rounds, .n_tasks = 1, .tasks = { "say hello" }, .at = DS4_FRONT_ANSWER,
                  .nth = 1, .act = ACT_COMMAND, .text = "/list" };

    (void)state;
    run(&w);
    assert_int_equal(2, w.n_stops);
    assert_true(w.tickets[0] > w.tickets[1]);           /* it did not wait for the turn */
    assert_non_null(strstr(ds4_str_text(&w.notes), "say hello"));
    clear(&w);
}

static void test_undo_takes_files_and_words_back(void **state)
{
    static const line writes[] = {
        { "written", "Ok.</think>Written." },
        { "Edited",
          "Now the other one.</think>Made." CALL("bash", "command", "echo x >made.txt; echo written") },
        { "1\told", "It is there.</think>" "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"edit\">\n"
                    "<｜DSML｜parameter name=\"path\" string=\"true\">undone.txt</｜DSML｜parameter>\n"
                    "<｜DSML｜parameter name=\"old\" string=\"true\">old</｜DSML｜parameter>\n"
                    "<｜DSML｜parameter name=\"new\" string=\"true\">new</｜DSML｜parameter>\n"
                    "</｜DSML｜invoke>\n</｜DSML｜tool_calls>" },
        { NULL, "I read.</think>Reading." CALL("read", "path", "undone.txt") },
        { NULL, NULL },
    };
    watcher w = { .lines = writes, .n_tasks = 1, .tasks = { "write it" } };
    ds4_str text = { 0 };

    (void)state;
    FILE *file = fopen(inside("project/undone.txt"), "w");
    fputs("old\n", file);
    fclose(file);
    run(&w);
    assert_int_equal(DS4_OK, ds4_file_read(inside("project/undone.txt"), 100, &text, NULL));
    assert_string_equal("new\n", text.data);
    assert_true(ds4_file_exists(inside("project/made.txt")));
    ds4_str_clear(&text);

    watcher back = { .lines = writes, .n_tasks = 3, .tasks = { "/fork", "/undo", "/history" } };
    run_in(&back, w.id, CTX);
    assert_int_equal(DS4_STOP_DONE, back.stops[0]);
    assert_int_equal(DS4_STOP_DONE, back.stops[1]);
    assert_int_equal(DS4_OK, ds4_file_read(inside("project/undone.txt"), 100, &text, NULL));
    assert_string_equal("old\n", text.data);
    assert_false(ds4_file_exists(inside("project/made.txt")));
    assert_string_equal("write it|", ds4_str_text(&back.users));        /* at the opening, and not later */
    ds4_str_clear(&text);
    clear(&back);
    clear(&w);
}

static void test_retry_answers_again(void **state)
{
    watcher w = { .lines = two_rounds, .n_tasks = 2, .tasks = { "second", "/retry" } };

    (void)state;
    run(&w);
    assert_int_equal(2, w.n_stops);
    assert_int_equal(DS4_STOP_DONE, w.stops[1]);
    assert_string_equal("Second answer.Second answer.", ds4_str_text(&w.answer));
    clear(&w);
}

static void test_a_fork_leaves_the_first_session(void **state)
{
    watcher w = { .lines = two_rounds, .n_tasks = 3, .tasks = { "second", "/fork", "second" } };

    (void)state;
    run(&w);
    watcher look = { .lines = two_rounds, .n_tasks = 1, .tasks = { "/history 9" } };
    run_in(&look, w.id, CTX);
    assert_string_equal("second|second|second|second|", ds4_str_text(&look.users));
    clear(&look);
    clear(&w);
}

static const line much[] = {
    { "nearly full", "The user wants many words; some were said." },
    { NULL, "</think>Here they are: one two three four five six seven eight nine ten." },
    { NULL, NULL },
};

/* Far more than the context holds goes through it; the beginning stays as it was. */
static void test_the_context_is_compacted_before_it_is_full(void **state)
{
    ds4_str long_text = { 0 };
    watcher w = { .lines = much, .n_tasks = 8 };

    (void)state;
    for (int i = 0; i < 250; i++) ds4_str_addf(&long_text, "word %d ", i);
    for (uint32_t i = 0; i < w.n_tasks; i++) w.tasks[i] = long_text.data;
    run(&w);
    assert_int_equal(8, w.n_stops);
    for (uint32_t i = 0; i < 8; i++) assert_int_equal(DS4_STOP_DONE, w.stops[i]);
    assert_non_null(strstr(ds4_str_text(&w.notes), "the context was compacted from"));
    assert_string_equal("", ds4_str_text(&w.errors));
    assert_true(w.used < CTX);
    /* It is read as it was left. */
    watcher again = { .lines = much, .n_tasks = 1, .tasks = { "/model" } };
    run_in(&again, w.id, CTX);
    assert_int_equal(w.used, again.used);
    clear(&again);
    clear(&w);
    ds4_str_clear(&long_text);
}

static void test_a_message_that_cannot_fit_is_refused(void **state)
{
    ds4_str long_text = { 0 };
    watcher w = { .lines = much, .n_tasks = 2, .tasks = { NULL, "short" } };

    (void)state;
    for (int i = 0; i < 5000; i++) ds4_str_addf(&long_text, "word %d ", i);
    w.tasks[0] = long_text.data;
    run(&w);
    assert_int_equal(DS4_STOP_CONTEXT, w.stops[0]);
    assert_non_null(strstr(ds4_str_text(&w.errors), "no room"));
    clear(&w);
    ds4_str_clear(&long_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_runs_its_calls_and_ends),
        cmocka_unit_test(test_a_second_turn_reads_only_what_is_new),
        cmocka_unit_test(test_an_interrupt_ends_a_turn_at_every_place),
        cmocka_unit_test(test_a_message_waits_for_the_next_safe_place),
        cmocka_unit_test(test_a_message_can_be_taken_back),
        cmocka_unit_test(test_commands_run_while_the_model_works),
        cmocka_unit_test(test_undo_takes_files_and_words_back),
        cmocka_unit_test(test_retry_answers_again),
        cmocka_unit_test(test_a_fork_leaves_the_first_session),
        cmocka_unit_test(test_the_context_is_compacted_before_it_is_full),
        cmocka_unit_test(test_a_message_that_cannot_fit_is_refused),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
