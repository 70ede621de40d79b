/* eval_mini.c - ds4-eval mini: the ability cases of the bundled model. */
#include "app/eval/eval.h"
#include "app/eval/mini_case.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/output.h"
#include "service/conversation.h"
#include "text/pyjson.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_KINDS = 64, MAX_FILE_BYTES = 1 << 30, ROOM = 16 };

typedef struct tally {
    char     kind[64];
    uint32_t passed, total;
    /* With --pairs: the best times of all cases, and what was guessed. */
    uint64_t plain_ns, guessing_ns, n_tokens, n_guessed, n_agreed;
    uint64_t plain_cpu_ns, guessing_cpu_ns;
} tally;

typedef struct exam {
    ds4_app_model    want;
    const char      *cases_path, *filler_path, *json_path;
    ds4_option_texts kinds;             /* only these; none: all */
    uint32_t         limit;             /* cases of each kind; 0: all */
    bool             verbose;
    int              speculate;         /* a ds4_speculate */
    uint32_t         n_pairs;           /* 0: each case is answered once */
    uint32_t         n_different;       /* answers with guesses that were not those without */
    ds4_step_costs   costs;             /* of steps, for all answers */
    const ds4_case  *now;               /* the case that is answered */
    uint64_t         read_cpu_ns;       /* when its prompt had been read */
    ds4_model        model;
    ds4_str          cases, filler;
    tally            tallies[MAX_KINDS];
    uint32_t         n_tallies, n_done;
    ds4_cancel      *cancel;
    ds4_str          json;              /* the list of results */
} exam;

/* The counter of a kind; NULL when there are too many kinds. */
static tally *find_tally(exam *x, const char *kind)
{
    for (uint32_t i = 0; i < x->n_tallies; i++) {
        if (strcmp(x->tallies[i].kind, kind) == 0) return &x->tallies[i];
    }
    if (x->n_tallies == MAX_KINDS || strlen(kind) >= sizeof x->tallies[0].kind) return NULL;
    tally *t = &x->tallies[x->n_tallies++];
    memcpy(t->kind, kind, strlen(kind) + 1);
    return t;
}

static bool is_wanted(const exam *x, const char *kind)
{
    for (uint32_t i = 0; i < x->kinds.n; i++) {
        if (strcmp(x->kinds.item[i], kind) == 0) return true;
    }
    return x->kinds.n == 0;
}

/* ---- one case ------------------------------------------------------------------------------ */

static void add_result(exam *x, const ds4_case *c, const ds4_conversation *talk, bool passed,
                       const ds4_str *why)
{
    const ds4_reply_result *r = ds4_conversation_result(talk);
    const ds4_turn_stats   *s = ds4_conversation_stats(talk);
    ds4_str                *out = &x->json;

    ds4_str_add_text(out, x->n_done ? ",\n  {\"id\": " : "\n  {\"id\": ");
    ds4_pyjson_add_string(out, (ds4_slice){ ds4_str_text(&c->id), c->id.n_bytes });
    ds4_str_add_text(out, ", \"kind\": ");
    ds4_pyjson_add_string(out, (ds4_slice){ ds4_str_text(&c->kind), c->kind.n_bytes });
    ds4_str_addf(out, ", \"passed\": %s, \"failed\": ", passed ? "true" : "false");
    ds4_pyjson_add_string(out, (ds4_slice){ ds4_str_text(why), why->n_bytes });
    ds4_str_add_text(out, ", \"text\": ");
    ds4_pyjson_add_string(out, r->content);
    ds4_str_add_text(out, ", \"reasoning\": ");
    ds4_pyjson_add_string(out, r->reasoning);
    ds4_str_add_text(out, ", \"calls\": [");
    for (uint32_t i = 0; i < r->n_calls; i++) {
        ds4_str_add_text(out, i ? ", {\"name\": " : "{\"name\": ");
        ds4_pyjson_add_string(out, r->calls[i].name);
        ds4_str_add_text(out, ", \"arguments\": ");
        ds4_str_add(out, r->calls[i].arguments.data, r->calls[i].arguments.n_bytes);
        ds4_str_add_text(out, "}");
    }
    ds4_str_add_text(out, "], \"raw_calls\": ");
    ds4_pyjson_add_string(out, r->raw_calls);
    ds4_str_addf(out, ", \"oddities\": %u", r->oddities);
    ds4_str_addf(out,
                 ", \"finish_reason\": \"%s\", \"prompt_tokens\": %u, \"completion_tokens\": %u, "
                 "\"prefill_s\": %.4f, \"generation_s\": %.4f, \"drafted\": %u, \"accepted\": %u}",
                 ds4_finish_name(r->finish), s->n_prompt, s->n_generated,
                 (double)s->prefill_ns / 1e9, (double)s->generate_ns / 1e9, s->n_guessed, s->n_agreed);
}

static ds4_status copy_history(const ds4_history *from, ds4_history *to, ds4_err *err)
{
    for (uint32_t i = 0; i < from->n; i++) DS4_TRY(ds4_history_add(to, &from->messages[i], err));
    return DS4_OK;
}

static void show_progress(void *ctx, uint32_t n_done, uint32_t n_total)
{
    exam *x = ctx;

    x->read_cpu_ns = ds4_cpu_ns();
    ds4_term_progress("%s: %u of %u tokens read", ds4_str_text(&x->now->id), n_done, n_total);
}

/* Answer greedily in a session made for the case. */
static ds4_status answer(exam *x, ds4_case *c, ds4_conversation *talk, ds4_err *err)
{
    ds4_rng        rng;
    uint32_t       n_prompt = 0;
    const ds4_turn turn = {
        .chat = { .protocol = x->model.protocol,
                  .thinking = c->thinking,
                  .tools = c->tools,
                  .n_tools = c->n_tools },
        .sampling = { .temperature = 0, .top_p = 1 },
        .rng = &rng,
        .max_tokens = c->max_tokens,
        .cancel = x->cancel,
        .progress = show_progress,
        .ctx = x,
    };

    x->now = c;
    ds4_rng_seed(&rng, 0);
    DS4_TRY(copy_history(&c->history, ds4_conversation_history(talk), err));
    DS4_TRY(ds4_conversation_measure(talk, &turn.chat, &n_prompt, err));
    DS4_TRY(ds4_conversation_resize(talk, n_prompt + c->max_tokens + ROOM, err));
    return ds4_conversation_reply(talk, &turn, err);
}

/* Answer in a session of its own; the caller frees *talk, also after a failure. */
static ds4_status answer_anew(exam *x, ds4_case *c, ds4_speculate how, ds4_conversation **talk, ds4_err *err)
{
    const ds4_speculation_options speculation = { .how = how, .costs = &x->costs };

    DS4_TRY(ds4_conversation_create(x->model.engine, ROOM, x->model.protocol, talk, err));
    DS4_TRY(ds4_conversation_speculate(*talk, &speculation, err));
    DS4_TRY(answer(x, c, *talk, err));
    if (ds4_conversation_result(*talk)->finish != DS4_FINISH_CANCELLED) return DS4_OK;
    return ds4_fail(err, DS4_E_CANCELLED, "interrupted");
}

static bool same_answer(const ds4_conversation *a, const ds4_conversation *b)
{
    const ds4_reply_result *x = ds4_conversation_result(a), *y = ds4_conversation_result(b);

    return x->n_tokens == y->n_tokens && x->finish == y->finish
        && (x->n_tokens == 0 || !memcmp(x->tokens, y->tokens, x->n_tokens * sizeof *x->tokens));
}

/* Answer without guesses and with them in turn, compare, and count the best time of each. */
static ds4_status run_pairs(exam *x, ds4_case *c, const ds4_conversation *first, tally *t, ds4_err *err)
{
    uint64_t best[2] = { UINT64_MAX, UINT64_MAX }, best_cpu[2] = { UINT64_MAX, UINT64_MAX };

    for (uint32_t i = 0; i < 2 * x->n_pairs; i++) {
        const uint32_t    guesses = i % 2;
        ds4_conversation *talk = NULL;
        const ds4_status  st = answer_anew(x, c, guesses ? (ds4_speculate)x->speculate : DS4_SPECULATE_OFF,
                                           &talk, err);
        if (st == DS4_OK) {
            const ds4_turn_stats *s = ds4_conversation_stats(talk);
            const uint64_t        cpu_ns = ds4_cpu_ns() - x->read_cpu_ns;
            if (cpu_ns < best_cpu[guesses]) best_cpu[guesses] = cpu_ns;
            if (s->generate_ns < best[guesses]) best[guesses] = s->generate_ns;
            x->n_different += !same_answer(first, talk);
            t->n_guessed += i == 1 ? s->n_guessed : 0;
            t->n_agreed += i == 1 ? s->n_agreed : 0;
        }
        ds4_conversation_free(talk);
        if (st != DS4_OK) return st;
    }
    t->plain_ns += best[0];
    t->guessing_ns += best[1];
    t->plain_cpu_ns += best_cpu[0];
    t->guessing_cpu_ns += best_cpu[1];
    t->n_tokens += ds4_conversation_result(first)->n_tokens;
    return DS4_OK;
}

static ds4_status run_case(exam *x, ds4_case *c, tally *t, ds4_err *err)
{
    ds4_conversation *talk = NULL;
    ds4_str           why = { 0 };
    ds4_status        st = DS4_OK;

    if (c->has_context) {
        const ds4_slice filler = { ds4_str_text(&x->filler), x->filler.n_bytes };
        st = ds4_case_add_context(c, ds4_engine_vocab(x->model.engine), filler, err);
    }
    const ds4_speculate how = x->n_pairs ? DS4_SPECULATE_OFF : (ds4_speculate)x->speculate;
    if (st == DS4_OK) st = answer_anew(x, c, how, &talk, err);
    if (st == DS4_OK && x->n_pairs) st = run_pairs(x, c, talk, t, err);
    if (st == DS4_OK) {
        const bool passed = ds4_case_passed(c, ds4_conversation_result(talk), &why);
        t->total++;
        t->passed += passed;
        if (x->json_path) add_result(x, c, talk, passed, &why);
        x->n_done++;
        ds4_term_progress_end();
        if (x->verbose) {
            printf("%s %s%s%s\n", passed ? "ok  " : "FAIL", ds4_str_text(&c->id),
                   passed ? "" : ": ", ds4_str_text(&why));
            fflush(stdout);
        } else {
            ds4_term_progress("%u cases done, last %s", x->n_done, ds4_str_text(&c->id));
        }
    }
    ds4_str_clear(&why);
    ds4_conversation_free(talk);
    return st;
}

/* ---- all cases ------------------------------------------------------------------------------ */

static ds4_status run_line(exam *x, ds4_slice line, uint32_t number, ds4_err *err)
{
    ds4_case   c = { .tools = NULL };
    ds4_err    why = { .code = DS4_OK };
    ds4_status st = ds4_case_read(line, &c, &why);

    if (st == DS4_OK && is_wanted(x, ds4_str_text(&c.kind))) {
        tally *t = find_tally(x, ds4_str_text(&c.kind));
        if (!t) {
            st = ds4_fail(&why, DS4_E_FORMAT,
                          "more than %d kinds of cases, or one with a longer name", MAX_KINDS);
        } else if (x->limit == 0 || t->total < x->limit) {
            st = run_case(x, &c, t, &why);
        }
    }
    ds4_case_clear(&c);
    if (st == DS4_OK || st == DS4_E_CANCELLED) {
        return st == DS4_OK ? st : ds4_fail(err, st, "interrupted");
    }
    return ds4_fail(err, st, "%s: line %u: %s", x->cases_path, number, why.text);
}

static ds4_status run_all(exam *x, ds4_err *err)
{
    uint32_t number = 0;

    for (size_t at = 0; at < x->cases.n_bytes;) {
        const char  *end = memchr(x->cases.data + at, '\n', x->cases.n_bytes - at);
        const size_t n = end ? (size_t)(end - x->cases.data) - at : x->cases.n_bytes - at;
        number++;
        if (n > 0) DS4_TRY(run_line(x, (ds4_slice){ x->cases.data + at, n }, number, err));
        at += n + 1;
    }
    return DS4_OK;
}

static void print_row(const char *kind, uint32_t passed, uint32_t total)
{
    printf("%-12s %6u %6u %7.1f\n", kind, passed, total, total ? 100.0 * passed / total : 0.0);
}

static void print_table(const exam *x)
{
    uint32_t passed = 0, total = 0;

    printf("%-12s %6s %6s %7s\n", "kind", "passed", "total", "percent");
    for (uint32_t i = 0; i < x->n_tallies; i++) {
        print_row(x->tallies[i].kind, x->tallies[i].passed, x->tallies[i].total);
        passed += x->tallies[i].passed;
        total += x->tallies[i].total;
    }
    print_row("all", passed, total);
}

static double tokens_per_second(uint64_t n_tokens, uint64_t ns)
{
    return ns ? (double)n_tokens * 1e9 / (double)ns : 0;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

/* Speeds without and with guesses. */
static void print_pairs(const exam *x)
{
    printf("\n%-12s %8s %10s %10s %6s %9s %9s\n", "kind", "tokens", "plain t/s", "with t/s", "ratio",
           "of work", "came true");
    for (uint32_t i = 0; i < x->n_tallies; i++) {
        const tally *t = &x->tallies[i];
        printf("%-12s %8llu %10.1f %10.1f %6.2f %9.2f %8.0f%%\n", t->kind, (unsigned long long)t->n_tokens,
               tokens_per_second(t->n_tokens, t->plain_ns), tokens_per_second(t->n_tokens, t->guessing_ns),
               ratio(t->plain_ns, t->guessing_ns), ratio(t->plain_cpu_ns, t->guessing_cpu_ns),
               100 * ratio(t->n_agreed, t->n_guessed));
    }
    printf("%u answers differ\n", x->n_different);
}

static ds4_status write_json(const exam *x, ds4_err *err)
{
    ds4_str     out = { 0 };
    const char *path = ds4_engine_info(x->model.engine)->path;

    ds4_str_add_text(&out, "{\"model\": ");
    ds4_pyjson_add_string(&out, (ds4_slice){ path, strlen(path) });
    ds4_str_add_text(&out, ", \"kinds\": {");
    for (uint32_t i = 0; i < x->n_tallies; i++) {
        const tally *t = &x->tallies[i];
        ds4_str_add_text(&out, i ? ", " : "");
        ds4_pyjson_add_string(&out, (ds4_slice){ t->kind, strlen(t->kind) });
        ds4_str_addf(&out, ": {\"passed\": %u, \"total\": %u}", t->passed, t->total);
    }
    ds4_str_add_text(&out, "}, \"cases\": [");
    ds4_str_add(&out, ds4_str_text(&x->json), x->json.n_bytes);
    ds4_str_add_text(&out, "\n]}\n");
    const ds4_status st = out.failed || x->json.failed
                              ? ds4_fail(err, DS4_E_NOMEM, "no memory for the results")
                              : ds4_output_put(x->json_path, out.data, out.n_bytes, err);
    ds4_str_clear(&out);
    return st;
}

/* The files beside the model, when none are named: models/eval/cases.jsonl and filler.txt. */
static void find_beside(const char *model_path, const char *name, const char **path, ds4_str *made)
{
    const char *slash = strrchr(model_path, '/');

    if (*path) return;
    if (slash) ds4_str_add(made, model_path, (size_t)(slash - model_path) + 1);
    ds4_str_addf(made, "eval/%s", name);
    *path = ds4_str_text(made);
}

static int run(exam *x)
{
    ds4_err        err = { .code = DS4_OK };
    ds4_str        cases_path = { 0 }, filler_path = { 0 };
    const int      code = ds4_app_open(&x->want, &x->model);
    const uint64_t begin = ds4_now_ns();

    if (code != DS4_EXIT_OK) return code;
    const char *model_path = ds4_engine_info(x->model.engine)->path;
    find_beside(model_path, "cases.jsonl", &x->cases_path, &cases_path);
    find_beside(model_path, "filler.txt", &x->filler_path, &filler_path);
    x->cancel = ds4_interrupt_catch(true);

    ds4_status st = ds4_file_read(x->cases_path, MAX_FILE_BYTES, &x->cases, &err);
    if (st == DS4_OK && ds4_file_exists(x->filler_path)) {
        st = ds4_file_read(x->filler_path, MAX_FILE_BYTES, &x->filler, &err);
    }
    if (st == DS4_OK) st = run_all(x, &err);
    ds4_term_progress_end();
    if (st == DS4_OK || st == DS4_E_CANCELLED) print_table(x);
    if ((st == DS4_OK || st == DS4_E_CANCELLED) && x->n_pairs) print_pairs(x);
    if (st == DS4_OK && x->json_path) st = write_json(x, &err);
    if (st == DS4_OK) {
        ds4_app_say(DS4_EVAL_NAME, "%u cases in %.1f s", x->n_done,
                    (double)(ds4_now_ns() - begin) / 1e9);
    }
    ds4_str_clear(&cases_path);
    ds4_str_clear(&filler_path);
    if (st != DS4_OK) return ds4_app_failed(DS4_EVAL_NAME, &err);
    return x->n_different ? DS4_EXIT_FAILURE : DS4_EXIT_OK;
}

int ds4_eval_mini(const char *argv0, int argc, char **argv)
{
    exam x = { .want = { .program = DS4_EVAL_NAME, .argv0 = argv0 } };
    const ds4_option options[] = {
        DS4_OPT_TEXT('m', "model", "FILE", &x.want.path,
                     "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_TEXT(0, "cases", "FILE", &x.cases_path,
                     "one case on each line [eval/cases.jsonl beside the\n"
                     "model]"),
        DS4_OPT_TEXT(0, "filler", "FILE", &x.filler_path,
                     "text for the recall cases [eval/filler.txt]"),
        DS4_OPT_TEXTS(0, "kind", "K", &x.kinds, "only cases of this kind; may be repeated"),
        DS4_OPT_U32(0, "limit", "N", &x.limit, 1, 1 << 30, "at most N cases of each kind"),
        DS4_OPT_TEXT(0, "json", "FILE", &x.json_path, "write every answer and the counts there"),
        DS4_APP_SPECULATE_OPTIONS(&x.speculate, &x.want),
        DS4_OPT_U32(0, "pairs", "N", &x.n_pairs, 1, 1000,
                    "also answer each case N times without guesses and N\n"
                    "times with them, in turn; compare answers and speeds"),
        DS4_OPT_FLAG('v', "verbose", &x.verbose, "print a line for each case"),
        DS4_APP_DEVICE_OPTIONS(&x.want),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval mini [options]",
        .about =
            "Answer the ability cases greedily, each in an empty session, and print how many of\n"
            "each kind are right. With --pairs, 1 is returned when an answer differs.",
        .options = options,
    };
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);

    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    const int code = run(&x);
    ds4_model_close(&x.model);
    ds4_str_clear(&x.cases);
    ds4_str_clear(&x.filler);
    ds4_str_clear(&x.json);
    return code;
}
