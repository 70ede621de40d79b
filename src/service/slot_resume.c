/* slot_resume.c - which session answers a prompt, and how much of it is there already.
 *
 * A session may hold a beginning of the prompt as it stands, or a place it (or another)
 * was at may be one: places are shared, so a conversation can begin where another did.  */
#include "service/scheduler_local.h"

#include "text/markers.h"

#include <string.h>

typedef struct resume {
    ds4_slot           *slot;  /* NULL: none fits */
    const ds4_snapshot *place; /* NULL: the session as it is */
    ds4_slot           *owner; /* of the place */
    uint32_t            n_kept;
    size_t              n_bytes; /* of the text that they cover */
} resume;

/* An idle session that is a beginning of the text, with something left to evaluate or
 * logits to go on from. */
static void look_at_session(const ds4_scheduler *s, const ds4_job_spec *spec, ds4_slot *slot,
                            resume *best)
{
    const uint32_t pos = ds4_session_pos(slot->session);
    size_t         n_bytes = 0;

    if (slot->state != DS4_SLOT_IDLE || pos <= best->n_kept) return;
    if (ds4_segments_match(s->vocab, spec->text, ds4_session_tokens(slot->session), pos,
                           &n_bytes) != pos)
        return;
    const bool whole = n_bytes == ds4_segments_text(spec->text).n_bytes;
    if (whole && slot->logits_pos != pos) return;
    *best = (resume){ .slot = slot, .n_kept = pos, .n_bytes = n_bytes };
}

static void look_at_places(const ds4_scheduler *s, const ds4_job_spec *spec, ds4_slot *slot,
                           resume *best)
{
    size_t              n_bytes = 0;
    const ds4_snapshot *place =
        ds4_rewind_find(&slot->rewind, s->vocab, spec->text, s->opt.n_ctx, &n_bytes);

    if (!place || ds4_snapshot_pos(place) <= best->n_kept) return;
    *best = (resume){
        .place = place, .owner = slot, .n_kept = ds4_snapshot_pos(place), .n_bytes = n_bytes
    };
}

/* The idle slot whose loss costs least: an unused one, else the one unused for longest. */
static ds4_slot *cheapest(ds4_scheduler *s)
{
    ds4_slot *best = NULL;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        ds4_slot *slot = &s->slot[i];
        if (slot->state != DS4_SLOT_IDLE) continue;
        if (!best || slot->used < best->used) best = slot;
    }
    return best;
}

/* Where a place is put: back into its own session when most of that is the same
 * conversation, else where it costs least. */
static ds4_slot *target_of(ds4_scheduler *s, const resume *r)
{
    if (r->owner && r->owner->state == DS4_SLOT_IDLE &&
        r->n_kept >= ds4_session_pos(r->owner->session) / 2)
        return r->owner;
    return cheapest(s);
}

/* ---- telling why ---------------------------------------------------------------------------- */

/* The turn of the conversation that a place in the text belongs to, for the log. */
static uint32_t turn_at(const ds4_segments *text, size_t n_bytes)
{
    const ds4_slice all = ds4_segments_text(text);
    const ds4_slice mark = DS4_SLICE(DS4_MARK_USER);
    uint32_t        n = 0;
    const char     *at = all.data;
    size_t          left = n_bytes < all.n_bytes ? n_bytes : all.n_bytes;

    while (left >= mark.n_bytes && (at = memmem(at, left, mark.data, mark.n_bytes))) {
        n++;
        at += mark.n_bytes;
        left = n_bytes - (size_t)(at - all.data);
    }
    return n;
}

/* One line about what was lost: how far the nearest session agrees with the prompt. */
static void explain(ds4_scheduler *s, const ds4_job_spec *spec, uint32_t n_kept)
{
    uint32_t best = 0, held = 0, i_slot = 0;
    size_t   best_bytes = 0;

    for (uint32_t i = 0; i < s->opt.n_slots; i++) {
        const ds4_session *session = s->slot[i].session;
        size_t             n_bytes = 0;
        const uint32_t     n = ds4_segments_match(s->vocab, spec->text, ds4_session_tokens(session),
                                                  ds4_session_pos(session), &n_bytes);
        if (n <= best || s->slot[i].state != DS4_SLOT_IDLE) continue;
        best = n;
        best_bytes = n_bytes;
        held = ds4_session_pos(session);
        i_slot = i;
    }
    if (best < n_kept + 64 || best == held) return; /* nothing worth a line was lost */
    ds4_scheduler_note(
        s, "cache", "miss slot=%u held=%u common=%u kept=%u differs_at_byte=%llu turn=%u", i_slot,
        held, best, n_kept, (unsigned long long)best_bytes, turn_at(spec->text, best_bytes));
}

/* ---- bringing a session there --------------------------------------------------------------- */

/* The tokens behind the beginning. Encoding is not repeated when the beginning consists of
 * the very tokens that encoding gave. */
static ds4_status encode_rest(const ds4_scheduler *s, const ds4_job_spec *spec, const int32_t *held,
                              const resume *r, ds4_tokens *rest, ds4_err *err)
{
    rest->n = 0;
    if (r->n_kept <= spec->tokens->n &&
        (r->n_kept == 0 || !memcmp(held, spec->tokens->ids, r->n_kept * sizeof *held))) {
        ds4_tokens_append(rest, spec->tokens->ids + r->n_kept, spec->tokens->n - r->n_kept);
        return rest->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt") : DS4_OK;
    }
    return ds4_segments_encode_from(s->vocab, spec->text, r->n_bytes, rest, err);
}

static ds4_status go_there(ds4_scheduler *s, ds4_slot *slot, const resume *r, ds4_err *err)
{
    (void)s;
    if (r->place) {
        DS4_TRY(ds4_session_restore(slot->session, r->place, err));
        if (slot != r->owner) ds4_rewind_clear(&slot->rewind);
    } else if (r->n_kept == 0) {
        ds4_session_clear(slot->session);
        ds4_rewind_clear(&slot->rewind);
    } else {
        ds4_rewind_keep(&slot->rewind, slot->session); /* the end of the turn before */
        return DS4_OK;
    }
    slot->logits_pos = 0;
    return DS4_OK;
}

ds4_status ds4_slot_resume(ds4_scheduler *s, const ds4_job_spec *spec, ds4_slot **out, ds4_err *err)
{
    resume best = { .slot = NULL };

    for (uint32_t i = 0; i < s->opt.n_slots; i++) look_at_session(s, spec, &s->slot[i], &best);
    for (uint32_t i = 0; i < s->opt.n_slots; i++) look_at_places(s, spec, &s->slot[i], &best);
    explain(s, spec, best.n_kept);

    ds4_slot *slot = best.slot ? best.slot : target_of(s, &best);
    *out = slot;
    const int32_t *held =
        best.place ? ds4_snapshot_tokens(best.place) : ds4_session_tokens(slot->session);
    DS4_TRY(encode_rest(s, spec, held, &best, &slot->rest, err));
    if (best.n_kept + slot->rest.n >= s->opt.n_ctx) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "the prompt has %u tokens, and the context of %u tokens "
                        "must also hold the answer",
                        best.n_kept + slot->rest.n, s->opt.n_ctx);
    }
    return go_there(s, slot, &best, err);
}
