/* seat_choice.c - which seat answers a prompt, and how much of it is there already. */
#include "service/scheduler_local.h"

#include "text/markers.h"

#include <string.h>

/* Tokens that a session and a prompt begin with alike. */
static uint32_t common_tokens(const ds4_session *s, const ds4_tokens *t)
{
    const uint32_t pos = ds4_session_pos(s), n = pos < t->n ? pos : t->n;
    const int32_t *held = ds4_session_tokens(s);
    uint32_t       i = 0;

    while (i < n && held[i] == t->ids[i]) i++;
    return i;
}

/* Whether a seat's session is of the prompt's reader. */
static bool of_reader(const ds4_job_seat *at, const ds4_prompt *prompt)
{
    return ds4_kv_key_eq(&at->seat.prompt.reader, &prompt->reader);
}

/* The idle session that is the longest beginning of the prompt. Else one that is mostly the
 * same conversation, which then goes back to an earlier place. Else an unused one, else the
 * one unused for longest. */
static ds4_job_seat *choose(ds4_scheduler *s, const ds4_prompt *prompt)
{
    ds4_job_seat *beginning = NULL, *like = NULL, *oldest = NULL;
    uint32_t      n_held = 0, n_like = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        ds4_job_seat  *at = &s->seat[i];
        const uint32_t pos = ds4_session_pos(at->seat.session);
        if (at->seat.state != DS4_SEAT_IDLE) continue;
        if (!oldest || at->used < oldest->used) oldest = at;
        if (!of_reader(at, prompt)) continue;
        const uint32_t held = ds4_prompt_held(prompt, at->seat.session, ds4_seat_has_logits(&at->seat));
        if (held > n_held) {
            n_held = held;
            beginning = at;
        }
        const uint32_t n = common_tokens(at->seat.session, &prompt->tokens);
        if (n > n_like && n >= pos / 2) {
            n_like = n;
            like = at;
        }
    }
    return beginning ? beginning : like ? like : oldest;
}

/* ---- telling why ---------------------------------------------------------------------------------- */

/* The idle session that a prompt follows furthest, before any is brought elsewhere. */
typedef struct nearest {
    uint32_t i_seat, held, common;
    int32_t  held_token;        /* where they part; -1: nowhere */
} nearest;

static nearest find_nearest(const ds4_scheduler *s, const ds4_prompt *prompt)
{
    nearest best = { .held_token = -1 };

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        const ds4_session *session = s->seat[i].seat.session;
        const uint32_t     n = common_tokens(session, &prompt->tokens);
        if (s->seat[i].seat.state != DS4_SEAT_IDLE || n <= best.common) continue;
        if (!of_reader(&s->seat[i], prompt)) continue;
        best = (nearest){ i, ds4_session_pos(session), n, -1 };
        if (n < best.held) best.held_token = ds4_session_tokens(session)[n];
    }
    return best;
}

/* One line about what must be read again though a session held it. "miss": the server lost a part
 * of what is the same, more than positions lie apart. "changed": the client sends an early part of its
 * conversation otherwise than before, and all behind it is another text. The place is told by its token
 * and its turn; what stands there is nobody's business. */
static void explain(ds4_scheduler *s, const ds4_prompt *prompt, const nearest *at)
{
    const int32_t user = ds4_vocab_specials(s->vocab)->user;
    const bool    missed = at->common >= prompt->n_held + DS4_EVEN;
    uint32_t      turn = 0;

    if (at->common == at->held || (!missed && at->common < at->held / 2)) return;
    if (!missed && at->common + DS4_EVEN > at->held) return; /* a last turn that is asked again */
    for (uint32_t i = 0; i < at->common; i++) turn += prompt->tokens.ids[i] == user;
    ds4_scheduler_note(s, "cache",
                       "%s slot=%u held=%u prompt=%u common=%u resumed=%u turn=%u "
                       "held_token=%d prompt_token=%d",
                       missed ? "miss" : "changed", at->i_seat, at->held, prompt->tokens.n, at->common,
                       prompt->n_held, turn, at->held_token,
                       at->common < prompt->tokens.n ? prompt->tokens.ids[at->common] : -1);
}

/* ---- bringing a session there ---------------------------------------------------------------------- */

/* Scores of a prompt need all of its logits, which are not kept: the session begins anew. */
static ds4_status choose_anew(ds4_scheduler *s, const ds4_tokens *tokens, ds4_job_seat **out, ds4_err *err)
{
    const ds4_prompt prompt = { .tokens = *tokens };
    ds4_job_seat    *at = choose(s, &prompt);

    *out = at;
    return ds4_seat_take_anew(&at->seat, tokens, err);
}

ds4_status ds4_seat_choose(ds4_scheduler *s, const ds4_job_spec *spec, ds4_job_seat **out, ds4_err *err)
{
    ds4_prompt prompt = { .n_held = 0 };

    if (spec->score) return choose_anew(s, spec->tokens, out, err);
    for (uint32_t i = 0; i < s->opt.n_slots; i++) s->session[i] = s->seat[i].seat.session;
    ds4_status st = spec->exact ? ds4_prompt_exact(s->resume, &prompt, spec->tokens, err)
                                : ds4_prompt_begin(s->resume, &prompt, spec->text, spec->tokens, s->session,
                                                   s->opt.n_slots, err);
    prompt.reader = spec->reader;
    if (st == DS4_OK) {
        const nearest before = find_nearest(s, &prompt);
        ds4_job_seat *at = choose(s, &prompt);
        st = ds4_seat_take(&at->seat, &prompt, err);
        if (st == DS4_OK) {
            explain(s, &at->seat.prompt, &before);
            *out = at;
        }
    }
    ds4_prompt_clear(&prompt);
    return st;
}
