/* agent_compact.c - a context that is nearly full becomes a short one: the instructions and tools as they
 * are, so that their state is used again, a summary that the model writes, and the last part as it is. */
#include "agent/agent_local.h"

#include <string.h>

static const char request[] =
    "The context is nearly full and will be shortened. Write down what is needed to go on with the work, for"
    " yourself: the goals and wishes of the user, what was done and decided and why, files with their state, "
    "commands"
    " that matter with their outcome, what is still to be done. Plain text, no calls, at most 800 words.";

uint32_t ds4_agent_reserve(const ds4_agent *a)
{
    const uint32_t part = a->opt.n_ctx / 8;
    return part < DS4_AGENT_SUMMARY_MOST + 256 ? part : DS4_AGENT_SUMMARY_MOST + 256;
}

bool ds4_agent_is_full(const ds4_agent *a, uint32_t n_more)
{
    const uint32_t n_ctx = a->opt.n_ctx, used = a->talk.tokens.n;
    const uint32_t least = n_ctx / 4 < 8192 ? n_ctx / 4 : 8192;

    if (used + n_more + least > n_ctx) return true;
    return (uint64_t)used * 100 >= (uint64_t)n_ctx * 85;
}

static void ignore(ds4_agent *a)
{
    ds4_agent_tell_status(a, false);
}

/* The model's own words about what the context holds. */
static ds4_status summarize(ds4_agent *a, ds4_str *summary, ds4_err *err)
{
    const ds4_turn_text how = ds4_agent_text(a);
    const uint32_t      most = ds4_agent_reserve(a) > 512 ? ds4_agent_reserve(a) - 256 : 256;
    ds4_tokens          prompt = { 0 };

    ds4_tokens_append(&prompt, a->talk.tokens.ids, a->talk.tokens.n);
    ds4_status             st = ds4_turn_request(&how, &a->talk, request, false, &prompt, err);
    ds4_generation_options options = {
        .reply = { .vocab = how.vocab,
                   .n_vocab = ds4_engine_info(a->opt.engine)->n_vocab,
                   .rng = &a->rng,
                   .max_tokens = most },
        .loop_tokens = a->opt.loop_tokens,
    };
    if (st == DS4_OK) st = ds4_generation_create(&options, &a->answer, err);
    if (st == DS4_OK) st = ds4_agent_take_prompt(a, &prompt, err);
    if (st == DS4_OK) st = ds4_agent_sample(a, ignore, err);
    if (st == DS4_OK) {
        const ds4_reply_result *r = ds4_generation_result(a->answer);
        if (r->finish == DS4_FINISH_CANCELLED) st = ds4_fail(err, DS4_E_CANCELLED, "compaction was stopped");
        else ds4_str_add(summary, r->content.data, r->content.n_bytes);
    }
    ds4_generation_free(a->answer);
    a->answer = NULL;
    ds4_tokens_clear(&prompt);
    return st;
}

/* The last part begins at a message of the user or at results, such that it is short enough. The last
 * of these may be longer, because it is what the model works on. */
static uint32_t tail_of(const ds4_agent *a)
{
    const int32_t     user = ds4_vocab_specials(ds4_engine_vocab(a->opt.engine))->user;
    const ds4_tokens *t = &a->talk.tokens;
    const uint32_t most = a->opt.n_ctx / 10 < 50000 ? a->opt.n_ctx / 10 : 50000, last_most = a->opt.n_ctx / 4;
    uint32_t       tail = t->n;

    for (uint32_t at = t->n; at > a->talk.n_base; at--) {
        if (t->ids[at - 1] != user) continue;
        const uint32_t n = t->n - (at - 1);
        if (n > (tail == t->n ? last_most : most)) break;
        tail = at - 1;
    }
    return tail;
}

static ds4_status make_anew(ds4_agent *a, ds4_slice summary, ds4_err *err)
{
    const ds4_turn_text how = ds4_agent_text(a);
    const ds4_tokens   *old = &a->talk.tokens;
    const uint32_t      tail = tail_of(a), n_before = old->n;
    ds4_tokens          made = { 0 };

    ds4_tokens_append(&made, old->ids, a->talk.n_base);
    ds4_status st = ds4_turn_summary(&how, summary, &made, err);
    ds4_tokens_append(&made, old->ids + tail, old->n - tail);
    if (st == DS4_OK && made.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a context");
    if (st == DS4_OK && made.n >= n_before)
        st = ds4_fail(err, DS4_E_LIMIT, "the context cannot become shorter");
    const bool ends_with_answer = tail < old->n && a->talk.ends_with_answer;
    if (st == DS4_OK) st = ds4_talk_compact(&a->talk, summary, &made, ends_with_answer, err);
    if (st == DS4_OK) ds4_agent_note(a, "the context was compacted from %u to %u tokens", n_before, made.n);
    ds4_tokens_clear(&made);
    return st;
}

ds4_status ds4_agent_compact(ds4_agent *a, ds4_err *err)
{
    const ds4_agent_state before = a->state;
    ds4_str               summary = { 0 };

    if (a->talk.tokens.n == a->talk.n_base) return ds4_fail(err, DS4_E_LIMIT, "there is nothing to compact");
    ds4_agent_tell_state(a, DS4_AGENT_COMPACTING);
    ds4_status st = summarize(a, &summary, err);
    if (st == DS4_OK && summary.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a summary");
    if (st == DS4_OK) st = make_anew(a, (ds4_slice){ ds4_str_text(&summary), summary.n_bytes }, err);
    ds4_str_clear(&summary);
    ds4_agent_tell_state(a, before);
    return st;
}
