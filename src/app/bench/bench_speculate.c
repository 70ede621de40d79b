/* bench_speculate.c - one answer without guessed tokens and with them, in turn: what speculation brings. */
#include "app/bench/bench.h"

#include "base/clock.h"
#include "base/file.h"
#include "service/conversation.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 1 << 28 };

typedef struct pairs {
    const bench_options *o;
    ds4_model           *model;
    ds4_str              text;          /* of the prompt */
    ds4_step_costs       costs;         /* of steps, for all answers */
    int32_t             *first;         /* [n_first] the answer without guesses */
    uint32_t             n_first;
    uint64_t             read_cpu_ns;   /* when the prompt had been read */
    const ds4_cancel    *cancel;
} pairs;

/* One answer. */
typedef struct answered {
    double   seconds, work;             /* after the prompt, of the clock and of all processors */
    uint32_t n_guessed, n_agreed;
    bool     differs;
} answered;

static void note_progress(void *ctx, uint32_t n_done, uint32_t n_total)
{
    pairs *p = ctx;

    p->read_cpu_ns = ds4_cpu_ns();
    ds4_term_progress("%u of %u tokens read", n_done, n_total);
}

static ds4_status ask(pairs *p, ds4_conversation *c, ds4_err *err)
{
    const ds4_slice text = { ds4_str_text(&p->text), p->text.n_bytes };
    ds4_rng         rng;
    const ds4_turn  turn = { .sampling = { .temperature = 0, .top_p = 1 }, .rng = &rng,
                             .max_tokens = p->o->gen_tokens, .cancel = p->cancel,
                             .progress = note_progress, .ctx = p };
    ds4_history    *h = ds4_conversation_history(c);

    ds4_rng_seed(&rng, 1);
    if (!p->o->chat_path) {
        ds4_segments segments = { 0 };
        ds4_chat_render_raw(text, &segments);
        const ds4_status st = ds4_conversation_complete(c, &segments, &turn, err);
        ds4_segments_clear(&segments);
        return st;
    }
    const ds4_slice system = { p->o->system, strlen(p->o->system) };
    if (system.n_bytes > 0) DS4_TRY(ds4_history_add_text(h, DS4_ROLE_SYSTEM, system, err));
    DS4_TRY(ds4_history_add_text(h, DS4_ROLE_USER, text, err));
    return ds4_conversation_reply(c, &turn, err);
}

/* Compare with the first answer, or keep it. */
static ds4_status compare(pairs *p, const ds4_reply_result *r, bool *differs, ds4_err *err)
{
    const size_t n_bytes = r->n_tokens * sizeof *p->first;

    if (p->first) {
        *differs = r->n_tokens != p->n_first || memcmp(r->tokens, p->first, n_bytes) != 0;
        return DS4_OK;
    }
    p->first = malloc(n_bytes + 1);
    if (!p->first) return ds4_fail(err, DS4_E_NOMEM, "no memory for an answer");
    if (n_bytes > 0) memcpy(p->first, r->tokens, n_bytes);
    p->n_first = r->n_tokens;
    return DS4_OK;
}

static ds4_status answer(pairs *p, ds4_speculate how, answered *out, ds4_err *err)
{
    const ds4_speculation_options speculation = { .how = how, .costs = &p->costs };
    ds4_conversation             *c = NULL;
    ds4_status st = ds4_conversation_create(p->model->engine, p->o->ctx_alloc, p->model->protocol, &c, err);

    *out = (answered){ .differs = false };
    if (st == DS4_OK) st = ds4_conversation_speculate(c, &speculation, err);
    if (st == DS4_OK) st = ask(p, c, err);
    if (st == DS4_OK) st = compare(p, ds4_conversation_result(c), &out->differs, err);
    if (st == DS4_OK && p->cancel->stop) st = ds4_fail(err, DS4_E_CANCELLED, "interrupted");
    if (st == DS4_OK) {
        const ds4_turn_stats *s = ds4_conversation_stats(c);
        out->seconds = (double)(s->generate_ns ? s->generate_ns : 1) / 1e9;
        out->work = (double)(ds4_cpu_ns() - p->read_cpu_ns) / 1e9;
        out->n_guessed = s->n_guessed;
        out->n_agreed = s->n_agreed;
    }
    ds4_conversation_free(c);
    return st;
}

static ds4_status measure(pairs *p, ds4_str *out, ds4_err *err)
{
    ds4_str_add_text(out, "tokens,plain_tps,tps,ratio,work_ratio,drafted,accepted\n");
    for (uint32_t i = 0; i < p->o->n_repeats; i++) {
        answered plain, with;
        DS4_TRY(answer(p, DS4_SPECULATE_OFF, &plain, err));
        DS4_TRY(answer(p, (ds4_speculate)p->o->speculate, &with, err));
        ds4_term_progress_end();
        if (plain.differs || with.differs) {
            return ds4_fail(err, DS4_E_DEVICE, "the answer with guesses is another than the one without");
        }
        ds4_str_addf(out, "%u,%.2f,%.2f,%.3f,%.3f,%u,%u\n", p->n_first, p->n_first / plain.seconds,
                     p->n_first / with.seconds, plain.seconds / with.seconds, plain.work / with.work,
                     with.n_guessed, with.n_agreed);
    }
    return DS4_OK;
}

ds4_status bench_speculate(const bench_options *o, ds4_model *model, ds4_str *out, ds4_err *err)
{
    pairs       p = { .o = o, .model = model, .cancel = ds4_interrupt_catch(true) };
    const char *path = o->chat_path ? o->chat_path : o->prompt_path;
    ds4_status  st = ds4_file_read(path, MAX_TEXT_BYTES, &p.text, err);

    if (st == DS4_OK) st = measure(&p, out, err);
    ds4_term_progress_end();
    ds4_str_clear(&p.text);
    free(p.first);
    return st;
}
