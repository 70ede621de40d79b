/* agent_sample.c - tokens of a context are evaluated and those of an answer sampled. */
#include "agent/agent_local.h"

#include "base/clock.h"

ds4_turn_text ds4_agent_text(const ds4_agent *a)
{
    ds4_turn_text how = { .vocab = ds4_engine_vocab(a->opt.engine),
                          .protocol = a->opt.protocol,
                          .effort = a->opt.effort,
                          .thinking = a->opt.thinking,
                          .more = a->opt.instructions };

    how.tools = ds4_tools_schemas(a->tools, &how.n_tools);
    return how;
}

ds4_status ds4_agent_take_prompt(ds4_agent *a, const ds4_tokens *tokens, ds4_err *err)
{
    ds4_prompt prompt = { 0 };
    ds4_status st = ds4_prompt_exact(a->opt.resume, &prompt, tokens, err);

    if (st == DS4_OK) st = ds4_seat_take(&a->seat, &prompt, err);
    ds4_prompt_clear(&prompt);
    DS4_TRY(st);
    a->n_prompt = tokens->n;
    a->n_cached = a->seat.prompt.n_held;
    return DS4_OK;
}

static void tell_progress(ds4_agent *a, uint64_t began_ns)
{
    const uint32_t  pos = ds4_session_pos(a->seat.session);
    ds4_front_event e = { .kind = DS4_FRONT_PREFILL,
                          .progress = { .done = pos, .total = a->n_prompt, .cached = a->n_cached } };
    const uint64_t  ns = ds4_now_ns() - began_ns;

    if (ns > 0 && pos > a->n_cached) a->read_tps = (pos - a->n_cached) * 1e9 / (double)ns;
    ds4_agent_tell(a, &e);
}

/* One step, and what it tells of the prompt. */
static ds4_status step(ds4_agent *a, uint64_t began_ns, void (*sampled)(ds4_agent *a), ds4_err *err)
{
    ds4_seat      *seat = &a->seat;
    const uint32_t most = ds4_engine_max_batch(a->opt.engine);
    const bool     reads = seat->state == DS4_SEAT_READING;

    if (!reads) ds4_speculation_plan(a->speculation, &seat, 1, most - 1);
    const ds4_work work = ds4_seat_work(seat, most);
    const uint64_t begin_ns = ds4_now_ns();
    DS4_TRY(ds4_engine_step(a->opt.engine, &work, 1, err));
    const uint64_t took_ns = ds4_now_ns() - begin_ns;
    if (reads) tell_progress(a, began_ns);
    DS4_TRY(ds4_seat_done(seat, &work, ds4_agent_look_around(a), err));
    sampled(a);
    while (ds4_seat_agrees(seat)) {
        DS4_TRY(ds4_seat_next(seat, ds4_agent_look_around(a), err));
        sampled(a);
    }
    if (!reads) ds4_speculation_learn(a->speculation, seat->n_kept, true, took_ns);
    return DS4_OK;
}

ds4_status ds4_agent_sample(ds4_agent *a, void (*sampled)(ds4_agent *a), ds4_err *err)
{
    ds4_seat      *seat = &a->seat;
    const uint64_t began_ns = ds4_now_ns();
    ds4_status     st = ds4_seat_begin(seat, a->answer, NULL, false, err);

    if (st == DS4_OK) sampled(a);
    while (st == DS4_OK && seat->state != DS4_SEAT_IDLE) {
        st = step(a, began_ns, sampled, err);
        const uint64_t ns = seat->writing_ns ? ds4_now_ns() - seat->writing_ns : 0;
        if (ns > 0) a->write_tps = ds4_generation_result(a->answer)->n_tokens * 1e9 / (double)ns;
    }
    if (st != DS4_OK) ds4_seat_give_up(seat);
    else ds4_seat_keep(seat);
    return st;
}
