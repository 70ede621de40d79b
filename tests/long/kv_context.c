/* kv_context.c - a long context within a memory budget that cannot hold it: resident
 * memory, speeds on the way, and a fact that was planted early is recalled at the end.
 *
 *   kv_context MODEL FILLER TOKENS KV_MIB DIR [THREADS [FACT_AT]]
 *
 * FILLER is a text that is repeated up to TOKENS tokens; the fact comes after FACT_AT of them, or
 * a tenth. Positions are kept in DIR, so that a run which was stopped goes on where it was. The
 * question is asked on the way too, and two more at the end about facts that were planted late.
 * Prints TAP lines. */
#include "base/clock.h"
#include "base/file.h"
#include "base/sysmem.h"
#include "service/conversation.h"
#include "service/model_open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char fact[] = "The telephone number of Lydia Pezjasssteern is 5176.\n\n";
static const char question[] = "What is the telephone number of Lydia Pezjasssteern?";
static const char answer[] = "5176";

/* Planted late, so that a long run says from how far away things are recalled. */
static const struct { double at; const char *fact, *question, *answer; } late[] = {
    { 0.92, "The server Slompmiap listens on port 777386.\n\n",
      "On which port does the server Slompmiap listen?", "777386" },
    { 0.96, "The telephone number of Kind is 787.\n\n",
      "Under which telephone number can I reach Kind?", "787" },
};
enum { N_LATE = sizeof late / sizeof *late };

enum {
    DECODED = 32,               /* tokens of a measurement */
    SPARSE = 131072,            /* places of measurements, from there on */
};

typedef struct run {
    ds4_model    model;
    ds4_session *session;
    ds4_resume  *resume;
    float       *logits;
    uint64_t     begin_ns, most_rss;
    ds4_tokens   gap;           /* before a question */
    uint32_t     next;          /* position of the next line */
    uint32_t     fact_at;
    ds4_snapshot *before;       /* the question */
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

/* The filler again and again, the fact somewhere, the question at the end. */
static void write_prompt(const ds4_vocab *v, const char *path, uint32_t n_tokens, uint32_t fact_at,
                         ds4_str *out)
{
    ds4_str    filler = { 0 };
    ds4_tokens once = { 0 };
    ds4_err    err;

    check(ds4_file_read(path, 1 << 26, &filler, &err), &err);
    check(ds4_vocab_encode(v, filler.data, filler.n_bytes, 0, &once, &err), &err);
    const double each = (double)filler.n_bytes / once.n, want = each * n_tokens;
    bool         placed = false, late_placed[N_LATE] = { false };
    while ((double)out->n_bytes < want) {
        const char  *at = filler.data;
        const char  *stop = filler.data + filler.n_bytes;
        while (at < stop && (double)out->n_bytes < want) {
            const char  *end = memmem(at, (size_t)(stop - at), "\n\n", 2);
            const size_t n = end ? (size_t)(end - at) + 2 : (size_t)(stop - at);
            ds4_str_add(out, at, n);
            at += n;
            for (int i = 0; i < N_LATE; i++) {
                if (late_placed[i] || (double)out->n_bytes < want * late[i].at) continue;
                ds4_str_add_text(out, late[i].fact);
                late_placed[i] = true;
            }
            if (placed || (double)out->n_bytes < each * fact_at) continue;
            ds4_str_add_text(out, fact);
            placed = true;
        }
        ds4_str_add_text(out, "\n\n");
    }
    ds4_str_add_text(out, question);
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

/* Where the question begins: the last tokens of the way, which also open the answer. */
static uint32_t question_at(const run *r, const ds4_way *way)
{
    const ds4_vocab *v = ds4_engine_vocab(r->model.engine);
    uint32_t         at = way->tokens.n;
    ds4_str          text = { 0 };

    while (at > 0 && (text.n_bytes == 0 || !strstr(ds4_str_text(&text), question))) {
        at--;
        ds4_str_truncate(&text, 0);
        ds4_vocab_decode(v, way->tokens.ids + at, way->tokens.n - at, 0, &text);
    }
    ds4_str_clear(&text);
    return at;
}

/* Ask here already; the session comes back to where it was. */
static void ask(run *r, const ds4_way *way)
{
    const uint32_t    from = question_at(r, way);
    const ds4_prefill gap = { .tokens = r->gap.ids, .n_tokens = r->gap.n };
    const ds4_prefill all = { .tokens = way->tokens.ids + from, .n_tokens = way->tokens.n - from,
                              .logits = r->logits };
    ds4_snapshot     *here = NULL;
    ds4_str           said = { 0 };
    ds4_err           err;

    check(ds4_session_snapshot(r->session, &here, &err), &err);
    check(ds4_session_prefill(r->session, &gap, &err), &err);
    check(ds4_session_prefill(r->session, &all, &err), &err);
    say(r, &said);
    check(ds4_session_restore(r->session, here, &err), &err);
    ds4_snapshot_free(here);
    printf("#          asked here: %s\n", ds4_str_text(&said));
    ds4_str_clear(&said);
}

/* Questions about the other facts, from the place before the question. Returns how many answers
 * are right. */
static int ask_more(run *r, const ds4_way *way)
{
    const ds4_vocab *v = ds4_engine_vocab(r->model.engine);
    const uint32_t   from = question_at(r, way);
    int              n_right = 0;
    ds4_tokens       t = { 0 };
    ds4_err          err;

    check(ds4_vocab_encode(v, question, strlen(question), 0, &t, &err), &err);
    const uint32_t  n_close = way->tokens.n - from - t.n;
    const int32_t  *close_ids = way->tokens.ids + from + t.n;
    for (int i = 0; i < N_LATE; i++) {
        ds4_str said = { 0 };
        ds4_tokens_clear(&t);
        check(ds4_vocab_encode(v, late[i].question, strlen(late[i].question), 0, &t, &err), &err);
        ds4_tokens_append(&t, close_ids, n_close);
        const ds4_prefill all = { .tokens = t.ids, .n_tokens = t.n, .logits = r->logits };
        check(ds4_session_restore(r->session, r->before, &err), &err);
        check(ds4_session_prefill(r->session, &all, &err), &err);
        say(r, &said);
        const bool right = strstr(ds4_str_text(&said), late[i].answer) != NULL;
        printf("# planted at %.0f %%: %s (%s)\n", 100 * late[i].at, ds4_str_text(&said),
               right ? "right" : "wrong");
        n_right += right;
        ds4_str_clear(&said);
    }
    ds4_tokens_clear(&t);
    return n_right;
}

static void read_prompt(run *r, ds4_way *way)
{
    const uint32_t before = question_at(r, way);
    uint32_t last = ds4_session_pos(r->session);
    uint64_t since = ds4_now_ns();
    ds4_err  err;

    while (ds4_session_pos(r->session) < way->tokens.n) {
        const uint32_t    pos = ds4_session_pos(r->session), next = ds4_way_next(way, pos);
        const uint32_t    to = pos < before && before < next ? before : next;
        const ds4_prefill part = { .tokens = way->tokens.ids + pos, .n_tokens = to - pos,
                                   .logits = to == way->tokens.n ? r->logits : NULL };
        check(ds4_session_prefill(r->session, &part, &err), &err);
        ds4_way_reached(r->resume, way, r->session);
        note_memory(r);
        if (to == before && !r->before) check(ds4_session_snapshot(r->session, &r->before, &err), &err);
        if (to < r->next || to == way->tokens.n) continue;
        const double took = seconds(ds4_now_ns() - since);
        const double each = decode_ms(r, way->tokens.ids[to]);
        const bool   planted = to > r->fact_at + 4096;
        printf("# %8u tokens: read at %.0f t/s, a token decoded in %.2f ms, %.1f MiB resident,"
               " of these rows %.1f\n", to, (to - last) / took, each, mib(ds4_sysmem_used()),
               mib(ds4_engine_cold_bytes(r->model.engine)));
        fflush(stdout);
        if (planted && to < way->tokens.n) ask(r, way);
        fflush(stdout);
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
    check(ds4_vocab_encode(ds4_engine_vocab(r->model.engine), "\n\n", 2, 0, &r->gap, &err), &err);
    r->next = 4096;
    r->begin_ns = ds4_now_ns();
}

int main(int argc, char **argv)
{
    run          r = { .most_rss = 0 };
    ds4_str      prompt = { 0 }, said = { 0 };
    ds4_segments text = { 0 };
    ds4_way      way = { .n_held = 0 };
    ds4_err      err;

    if (argc < 6) {
        printf("Bail out! usage: kv_context MODEL FILLER TOKENS KV_MIB DIR [THREADS [FACT_AT]]\n");
        return 2;
    }
    open_all(&r, argv, argc);
    const ds4_vocab *v = ds4_engine_vocab(r.model.engine);
    const uint32_t n_tokens = (uint32_t)strtoul(argv[3], NULL, 10);
    const uint32_t fact_at = argc > 7 ? (uint32_t)strtoul(argv[7], NULL, 10) : n_tokens / 10;
    r.fact_at = fact_at;
    write_prompt(v, argv[2], n_tokens, fact_at, &prompt);
    const ds4_message      m = { .role = DS4_ROLE_USER, .content = { prompt.data, prompt.n_bytes } };
    const ds4_chat_options chat = { .protocol = r.model.protocol };
    check(ds4_chat_render(&m, 1, &chat, &text, &err), &err);
    check(ds4_way_begin(r.resume, &way, &text, NULL, &r.session, 1, &err), &err);
    check(ds4_way_bring(r.resume, &way, r.session, false, &err), &err);
    printf("# %u tokens, of which %u were known after %.2f s\n", way.tokens.n, way.n_held,
           seconds(ds4_now_ns() - r.begin_ns));
    read_prompt(&r, &way);
    printf("# read in %.1f s; a token decoded in %.2f ms\n", seconds(ds4_now_ns() - r.begin_ns),
           decode_ms(&r, way.tokens.ids[way.tokens.n - 1]));
    /* Decoding left other logits behind. */
    ds4_session_clear(r.session);
    check(ds4_way_bring(r.resume, &way, r.session, false, &err), &err);
    read_prompt(&r, &way);
    say(&r, &said);
    const int n_late = r.before ? ask_more(&r, &way) : 0;
    const ds4_plan *plan = ds4_engine_plan(r.model.engine);
    printf("# answer: %s\n# most resident %.1f MiB, planned %.1f; rows on disk %.1f MiB\n",
           ds4_str_text(&said), mib(r.most_rss), mib(plan->total), mib(plan->kv_on_disk));
    const bool right = strstr(ds4_str_text(&said), answer) != NULL;
    printf("%sok 1 - of 3 planted facts %d are recalled, one at least\n1..1\n", right || n_late ? "" : "not ",
           right + n_late);
    ds4_snapshot_free(r.before);
    ds4_way_clear(&way);
    ds4_segments_clear(&text);
    ds4_str_clear(&prompt);
    ds4_str_clear(&said);
    ds4_resume_free(r.resume);
    ds4_session_free(r.session);
    ds4_model_close(&r.model);
    ds4_tokens_clear(&r.gap);
    free(r.logits);
    return !right && n_late == 0;
}
