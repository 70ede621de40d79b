/* slot_resume.c - which session answers a prompt, and how much of it is there already. */
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

/* The idle session that is the longest beginning of the prompt. Else one that is mostly the
 * same conversation, which then goes back to an earlier place. Else an unused one, else the
 * one unused for longest. */
static ds4_slot *choose(ds4_scheduler *s, const ds4_way *way)
{
    ds4_slot *beginning = NULL, *like = NULL, *oldest = NULL;
    uint32_t  n_held = 0, n_like = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        ds4_slot      *slot = &s->slot[i];
        const uint32_t pos = ds4_session_pos(slot->session);
        if (slot->state != DS4_SLOT_IDLE) continue;
        if (!oldest || slot->used < oldest->used) oldest = slot;
        const uint32_t held = ds4_way_held(way, slot->session, pos > 0 && slot->logits_pos == pos);
        if (held > n_held) {
            n_held = held;
            beginning = slot;
        }
        const uint32_t n = common_tokens(slot->session, &way->tokens);
        if (n > n_like && n >= pos / 2) {
            n_like = n;
            like = slot;
        }
    }
    return beginning ? beginning : like ? like : oldest;
}

/* ---- telling why ---------------------------------------------------------------------------------- */

/* One line about what was lost: where the nearest idle session and the prompt part. The
 * place is told by its token and its turn; what stands there is nobody's business. */
static void explain(ds4_scheduler *s, const ds4_way *way)
{
    const int32_t user = ds4_vocab_specials(s->vocab)->user;
    uint32_t      best = 0, held = 0, i_slot = 0, turn = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        const ds4_session *session = s->slot[i].session;
        const uint32_t     n = common_tokens(session, &way->tokens);
        if (s->slot[i].state != DS4_SLOT_IDLE || n <= best) continue;
        best = n;
        held = ds4_session_pos(session);
        i_slot = i;
    }
    if (best < way->n_held + 64 || best == held) return; /* nothing worth a line was lost */
    for (uint32_t i = 0; i < best; i++) turn += way->tokens.ids[i] == user;
    ds4_scheduler_note(s, "cache",
                       "miss slot=%u held=%u prompt=%u common=%u resumed=%u turn=%u "
                       "held_token=%d prompt_token=%d",
                       i_slot, held, way->tokens.n, best, way->n_held, turn,
                       best < held ? ds4_session_tokens(s->slot[i_slot].session)[best] : -1,
                       best < way->tokens.n ? way->tokens.ids[best] : -1);
}

/* ---- bringing a session there ---------------------------------------------------------------------- */

/* Scores of a prompt need all of its logits, which are not kept: the session begins anew. */
static ds4_status begin_anew(ds4_scheduler *s, const ds4_job_spec *spec, ds4_slot **out, ds4_err *err)
{
    ds4_way way = { .n_held = 0 };

    ds4_tokens_append(&way.tokens, spec->tokens->ids, spec->tokens->n);
    if (way.tokens.failed) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", spec->tokens->n);
    }
    ds4_slot *slot = choose(s, &way);
    ds4_kept_add(ds4_resume_kept(s->resume), slot->session, DS4_KEPT_TURN);
    ds4_session_clear(slot->session);
    slot->logits_pos = 0;
    ds4_way_clear(&slot->way);
    slot->way = way;
    *out = slot;
    return DS4_OK;
}

ds4_status ds4_slot_resume(ds4_scheduler *s, const ds4_job_spec *spec, ds4_slot **out, ds4_err *err)
{
    ds4_way way = { .n_held = 0 };

    if (spec->score) return begin_anew(s, spec, out, err);
    for (uint32_t i = 0; i < s->opt.n_slots; i++) s->session[i] = s->slot[i].session;
    ds4_status st =
        ds4_way_begin(s->resume, &way, spec->text, spec->tokens, s->session, s->opt.n_slots, err);
    if (st == DS4_OK) {
        ds4_slot      *slot = choose(s, &way);
        const uint32_t pos = ds4_session_pos(slot->session);
        *out = slot;
        st = ds4_way_bring(s->resume, &way, slot->session, pos > 0 && slot->logits_pos == pos, err);
        if (st == DS4_OK) {
            explain(s, &way);
            if (slot->logits_pos != ds4_session_pos(slot->session)) slot->logits_pos = 0;
            ds4_way_clear(&slot->way);
            slot->way = way;
            return DS4_OK;
        }
        if (st == DS4_E_DEVICE) slot->logits_pos = 0;
    }
    ds4_way_clear(&way);
    return st;
}
