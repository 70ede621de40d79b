/* kv_context.c - a long context within a memory budget that cannot hold it: resident
 * memory, speeds on the way, and facts that were planted on the way are asked for at the end.
 *
 *   kv_context MODEL FILLER TOKENS KV_MIB DIR [THREADS]
 *
 * FILLER is a text that is repeated up to TOKENS tokens, with facts after given shares of it.
 * Positions are kept in DIR, so that a run which was stopped goes on where it was. On the way
 * the questions are asked already. Prints TAP lines. How many facts a model recalls is its own
 * ability; that one is, from rows that memory cannot hold, is what must work here. */
#include "base/clock.h"
#include "base/file.h"
#include "base/sysmem.h"
#include "service/conversation.h"
#include "service/model_open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fact {
    double      share;          /* of the tokens before it */
    const char *text, *question, *answer;
} fact;

static const fact facts[] = {
    { 0.10, "The telephone number of Lydia Pezjasssteern is 5176.",
      "What is the telephone number of Lydia Pezjasssteern?", "5176" },
    { 0.25, "The meeting with Cora Keller is on 2030-04-16.", "When is the meeting with Cora Keller?",
      "2030-04-16" },
    { 0.40, "The server Koagswelt listens on port 8351.", "On which port does the server Koagswelt listen?",
      "8351" },
    { 0.55, "The train to Omaha leaves at 16:40.", "When does the train to Omaha leave?", "16:40" },
    { 0.70, "The access code of the shiny saddle is 3992.",
      "What is the access code of the shiny saddle?", "3992" },
    { 0.85, "The project Gerkzi is led by Erik Ferrari.", "By whom is the project Gerkzi led?",
      "Erik Ferrari" },
};

enum {
    DECODED = 32,               /* tokens of a measurement */
    SPARSE = 131072,            /* places of measurements, from there on */
    N_FACTS = sizeof facts / sizeof *facts,
    NEAR = 4096,                /* tokens after a fact before it is asked for */
};

typedef struct run {
    ds4_model    model;
    ds4_session *session;
    ds4_resume  *resume;
    float       *logits;
    uint64_t     begin_ns, most_rss;
    ds4_tokens   ask[N_FACTS];  /* the questions, up to where the answer begins */
    uint32_t     next;          /* position of the next line */
    uint32_t     n_tokens;      /* wanted */
} run;

static void die(const ds4_err *err)
{
    printf("Bail out! %s\n", err->text);
    exit(1);
}

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) die(err);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double mib(uint64_t n_bytes)
{
    return (double)n_bytes / (1 << 20);
}

/* Whether a paragraph is one sentence: so the filler states facts of the kinds that are asked for. */
static bool is_statement(const char *text, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++) {
        if (strchr(".!?", text[i]) && text[i + 1] == ' ') return false;
    }
    return true;
}

/* The filler again and again, with the facts. What it states itself comes once: sixteen copies
 * of another telephone number would ask for something else than a long memory. */
static void write_prompt(const ds4_vocab *v, const char *path, uint32_t n_tokens, ds4_str *out)
{
    ds4_str    filler = { 0 };
    ds4_tokens once = { 0 };
    ds4_err    err;
    int        n_placed = 0;

    check(ds4_file_read(path, 1 << 26, &filler, &err), &err);
    check(ds4_vocab_encode(v, filler.data, filler.n_bytes, 0, &once, &err), &err);
    const double want = (double)filler.n_bytes / once.n * n_tokens;
    for (int round = 0; (double)out->n_bytes < want; round++) {
        const char *at = filler.data;
        const char *stop = filler.data + filler.n_bytes;
        while (at < stop && (double)out->n_bytes < want) {
            const char  *end = memmem(at, (size_t)(stop - at), "\n\n", 2);
            const size_t n = end ? (size_t)(end - at) + 2 : (size_t)(stop - at);
            if (round == 0 || !is_statement(at, n)) ds4_str_add(out, at, n);
            at += n;
            if (n_placed == N_FACTS || (double)out->n_bytes < want * facts[n_placed].share) continue;
            ds4_str_add_text(out, facts[n_placed++].text);
            ds4_str_add_text(out, "\n\n");
        }
        ds4_str_add_text(out, "\n\n");
    }
    ds4_str_clear(&filler);
    ds4_tokens_clear(&once);
}

static int32_t likeliest(const float *logits, uint32_t n)
{
    int32_t best = 0;
    for (uint32_t i = 1; i < n; i++) best = logits[i] > logits[best] ? (int32_t)i : best;
    return best;
}

static void note_memory(run *r)
{
    const uint64_t now = ds4_sysmem_used();
    r->most_rss = now > r->most_rss ? now : r->most_rss;
}

/* Time of a decoded token here; the session comes back to where it was. */
static double decode_ms(run *r, int32_t token)
{
    const uint32_t n_vocab = ds4_engine_info(r->model.engine)->n_vocab;
    ds4_snapshot  *here = NULL;
    ds4_err        err;

    check(ds4_session_snapshot(r->session, &here, &err), &err);
    uint64_t took = 0;
    for (int i = 0; i < DECODED + 4; i++) {
        const ds4_work work = { .session = r->session, .tokens = &token, .n_tokens = 1, .logits = r->logits };
        const uint64_t begin = ds4_now_ns();
        check(ds4_engine_step(r->model.engine, &work, 1, &err), &err);
        if (i >= 4) took += ds4_now_ns() - begin;
        token = likeliest(r->logits, n_vocab);
    }
    check(ds4_session_restore(r->session, here, &err), &err);
    ds4_snapshot_free(here);
    return seconds(took) * 1e3 / DECODED;
}

static void say(run *r, ds4_str *said)
{
    const ds4_vocab *v = ds4_engine_vocab(r->model.engine);
    ds4_err          err;

    for (int i = 0; i < 64; i++) {
        const int32_t token = likeliest(r->logits, ds4_engine_info(r->model.engine)->n_vocab);
        if (ds4_vocab_is_end(v, token)) return;
        ds4_vocab_decode(v, &token, 1, 0, said);
        const ds4_work work = { .session = r->session, .tokens = &token, .n_tokens = 1, .logits = r->logits };
        check(ds4_engine_step(r->model.engine, &work, 1, &err), &err);
    }
}

/* A question as the end of a user's turn: the tokens of a prompt behind those that open it. */
static void write_question(const run *r, const char *question, ds4_tokens *out)
{
    ds4_segments           text = { 0 };
    ds4_str                content = { 0 };
    ds4_err                err;
    const ds4_vocab       *v = ds4_engine_vocab(r->model.engine);
    const ds4_chat_options chat = { .protocol = r->model.protocol };

    ds4_str_add_text(&content, "\n\n");
    ds4_str_add_text(&content, question);
    const ds4_message m = { .role = DS4_ROLE_USER, .content = { content.data, content.n_bytes } };
    check(ds4_chat_render(&m, 1, &chat, &text, &err), &err);
    check(ds4_segments_encode(v, &text, out, &err), &err);
    uint32_t n_open = 0;
    while (n_open < out->n && ds4_vocab_is_special(v, out->ids[n_open])) n_open++;
    out->n -= n_open;
    memmove(out->ids, out->ids + n_open, out->n * sizeof *out->ids);
    ds4_segments_clear(&text);
    ds4_str_clear(&content);
}

/* Ask for each fact that was planted; the session comes back to where it was. Returns how
 * many are recalled. */
static uint32_t ask(run *r)
{
    const uint32_t pos = ds4_session_pos(r->session);
    ds4_snapshot  *here = NULL;
    uint32_t       n_right = 0;
    ds4_err        err;

    check(ds4_session_snapshot(r->session, &here, &err), &err);
    for (int i = 0; i < N_FACTS && pos > facts[i].share * r->n_tokens + NEAR; i++) {
        const ds4_prefill all = { .tokens = r->ask[i].ids, .n_tokens = r->ask[i].n, .logits = r->logits };
        ds4_str           said = { 0 };
        check(ds4_session_prefill(r->session, &all, &err), &err);
        say(r, &said);
        const bool right = strstr(ds4_str_text(&said), facts[i].answer) != NULL;
        n_right += right;
        printf("#     planted after %.0f: %s (%s)\n", facts[i].share * r->n_tokens, ds4_str_text(&said),
               right ? "right" : facts[i].answer);
        check(ds4_session_restore(r->session, here, &err), &err);
        ds4_str_clear(&said);
    }
    ds4_snapshot_free(here);
    fflush(stdout);
    return n_right;
}

/* Read up to the end of the text; what opens the answer stays. */
static void read_prompt(run *r, ds4_prompt *prompt)
{
    uint32_t last = ds4_session_pos(r->session);
    uint64_t since = ds4_now_ns();
    ds4_err  err;

    uint32_t end = prompt->tokens.n;
    while (ds4_vocab_is_special(ds4_engine_vocab(r->model.engine), prompt->tokens.ids[end - 1])) end--;
    while (ds4_session_pos(r->session) < end) {
        const uint32_t    pos = ds4_session_pos(r->session), next = ds4_prompt_next(prompt, pos, 1);
        const uint32_t    to = next < end ? next : end;
        const ds4_prefill part = { .tokens = prompt->tokens.ids + pos, .n_tokens = to - pos };
        check(ds4_session_prefill(r->session, &part, &err), &err);
        ds4_prompt_reached(r->resume, prompt, r->session);
        note_memory(r);
        if (to < r->next && to < end) continue;
        const double took = seconds(ds4_now_ns() - since);
        const double each = decode_ms(r, prompt->tokens.ids[to]);
        printf("# %8u tokens: read at %.0f t/s, a token decoded in %.2f ms, %.1f MiB resident,"
               " of these rows %.1f\n", to, (to - last) / took, each, mib(ds4_sysmem_used()),
               mib(ds4_engine_cold_bytes(r->model.engine)));
        fflush(stdout);
        if (to < end) ask(r);
        last = to;
        since = ds4_now_ns();
        while (r->next <= to) r->next = r->next < SPARSE ? 2 * r->next : r->next + SPARSE;
    }
}

static void open_all(run *r, char **argv, int argc)
{
    const uint64_t           kv = strtoull(argv[4], NULL, 10) << 20;
    const uint32_t           n_ctx = (uint32_t)strtoul(argv[3], NULL, 10) + 4096;
    const ds4_engine_options opt = {
        .model_path = argv[1], .kv_mem_bytes = kv / 4 * 3, .kv_dir = argv[5],
        .plan_ctx = n_ctx < 1048576 ? n_ctx : 1048576,
        .max_batch = 1024,      /* on a busy machine each step waits for both threads many times */
        .n_threads = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 10) : 0,
    };
    ds4_err                  err;

    check(ds4_model_open(&opt, &r->model, &err), &err);
    const ds4_resume_options keep = { .engine = r->model.engine, .dir = argv[5], .mem_bytes = kv / 4 };
    check(ds4_resume_create(&keep, &r->resume, &err), &err);
    check(ds4_session_create(r->model.engine, opt.plan_ctx, &r->session, &err), &err);
    r->logits = malloc(sizeof(float) * ds4_engine_info(r->model.engine)->n_vocab);
    r->next = 4096;
    r->begin_ns = ds4_now_ns();
}

static void begin(run *r, ds4_prompt *prompt, char **argv)
{
    ds4_str      prompt = { 0 };
    ds4_segments text = { 0 };
    ds4_err      err;

    for (int i = 0; i < N_FACTS; i++) write_question(r, facts[i].question, &r->ask[i]);
    write_prompt(ds4_engine_vocab(r->model.engine), argv[2], r->n_tokens, &prompt);
    const ds4_message      m = { .role = DS4_ROLE_USER, .content = { prompt.data, prompt.n_bytes } };
    const ds4_chat_options chat = { .protocol = r->model.protocol };
    check(ds4_chat_render(&m, 1, &chat, &text, &err), &err);
    check(ds4_prompt_begin(r->resume, prompt, &text, NULL, &r->session, 1, &err), &err);
    check(ds4_prompt_bring(r->resume, prompt, r->session, false, &err), &err);
    printf("# %u tokens, of which %u were known after %.2f s\n", prompt->tokens.n, prompt->n_held,
           seconds(ds4_now_ns() - r->begin_ns));
    ds4_segments_clear(&text);
    ds4_str_clear(&prompt);
}

int main(int argc, char **argv)
{
    run     r = { .most_rss = 0 };
    ds4_prompt prompt = { .n_held = 0 };

    if (argc < 6) {
        printf("Bail out! usage: kv_context MODEL FILLER TOKENS KV_MIB DIR [THREADS]\n");
        return 2;
    }
    r.n_tokens = (uint32_t)strtoul(argv[3], NULL, 10);
    open_all(&r, argv, argc);
    begin(&r, &prompt, argv);
    read_prompt(&r, &prompt);
    printf("# read in %.1f s\n", seconds(ds4_now_ns() - r.begin_ns));
    const uint32_t  n_right = ask(&r);
    const ds4_plan *plan = ds4_engine_plan(r.model.engine);
    note_memory(&r);
    printf("# most resident %.1f MiB, planned %.1f; rows on disk %.1f MiB\n", mib(r.most_rss),
           mib(plan->total), mib(plan->kv_on_disk));
    printf("%sok 1 - planted facts are recalled: %u of %d\n1..1\n", n_right ? "" : "not ", n_right, N_FACTS);
    ds4_prompt_clear(&prompt);
    for (int i = 0; i < N_FACTS; i++) ds4_tokens_clear(&r.ask[i]);
    ds4_resume_free(r.resume);
    ds4_session_free(r.session);
    ds4_model_close(&r.model);
    free(r.logits);
    return n_right == 0;
}
