/* resume.c - see resume.h. */
#include "service/resume.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TRIES = 64,             /* damaged files that one prompt may meet */
    MAX_AFTER = 256,            /* tokens to evaluate again rather than a larger tail */
    WORTH_STORING = 512,        /* new tokens of a prompt that are stored before the answer */
};

struct ds4_resume {
    ds4_engine *engine;
    ds4_kept   *kept;
    ds4_identity *identity;     /* with the store */
    ds4_store  *store;          /* NULL: none; for reading */
    ds4_store_writer *writer;   /* with the store */
    bool        said;           /* that the store failed */
};

/* Half of what the plan leaves, so that positions do not take what the model needs. */
static uint64_t default_bytes(const ds4_engine *e)
{
    const ds4_plan *plan = ds4_engine_plan(e);
    const uint64_t  left = plan->budget > plan->total ? (plan->budget - plan->total) / 2 : 0;

    if (left < DS4_RESUME_LEAST_BYTES) return DS4_RESUME_LEAST_BYTES;
    return left < DS4_RESUME_MEM_BYTES ? left : DS4_RESUME_MEM_BYTES;
}

ds4_status ds4_resume_create(const ds4_resume_options *opt, ds4_resume **out, ds4_err *err)
{
    ds4_resume *r = calloc(1, sizeof *r);

    if (!r) return ds4_fail(err, DS4_E_NOMEM, "no memory to keep positions in");
    r->engine = opt->engine;
    const uint64_t mem = opt->mem_bytes ? opt->mem_bytes : default_bytes(opt->engine);
    ds4_status     st = ds4_kept_create(opt->engine, mem, &r->kept, err);
    const ds4_identity_options identity = { .engine = opt->engine };
    if (st == DS4_OK && opt->dir) st = ds4_identity_open(&r->identity, &identity, err);
    if (st == DS4_OK && opt->dir) {
        ds4_store_options store = { .dir = opt->dir, .max_bytes = opt->dir_bytes,
                                    .min_tokens = opt->min_tokens, .engine = opt->engine,
                                    .identity = r->identity,
                                    .rows_bytes = ds4_engine_rows_on_disk(opt->engine), .defers_hits = true,
                                    .silent = true };
        st = ds4_store_open(&r->store, &store, err);
        store.rows_bytes = 0;
        store.silent = false;
        if (st == DS4_OK) st = ds4_store_writer_start(&store, &r->writer, err);
    }
    if (st != DS4_OK) {
        ds4_resume_free(r);
        return st;
    }
    *out = r;
    return DS4_OK;
}

void ds4_resume_free(ds4_resume *r)
{
    if (!r) return;
    ds4_store_writer_stop(r->writer);
    ds4_store_close(r->store);
    ds4_identity_close(r->identity);
    ds4_kept_free(r->kept);
    free(r);
}

ds4_kept *ds4_resume_kept(ds4_resume *r)
{
    return r->kept;
}

ds4_store *ds4_resume_store(ds4_resume *r)
{
    return r->store;
}

void ds4_resume_read_for(ds4_resume *r, const ds4_kv_key *reader)
{
    ds4_kept_set_reader(r->kept, reader);
    if (r->store) ds4_store_set_reader(r->store, reader);
    if (r->writer) ds4_store_writer_set_reader(r->writer, reader);
}

void ds4_resume_flush(ds4_resume *r)
{
    if (r->writer) ds4_store_writer_flush(r->writer);
}

bool ds4_resume_stores(const ds4_resume *r, uint64_t *n_failures)
{
    *n_failures = r->writer ? ds4_store_writer_failures(r->writer) : 0;
    return r->writer && ds4_store_writer_works(r->writer);
}

ds4_identity_names ds4_resume_names(ds4_resume *r)
{
    static const ds4_identity_names none;
    return r->identity ? ds4_identity_get(r->identity) : none;
}

void ds4_resume_settle(ds4_resume *r)
{
    if (r->writer) ds4_store_writer_settle(r->writer);
}

/* The store helps or it does not; a prompt goes on without it. */
static void note_failure(ds4_resume *r, const ds4_err *err)
{
    if (!r->said) ds4_log(DS4_LOG_WARN, "kv", "%s", err->text);
    r->said = true;
}

static void store(ds4_resume *r, const ds4_snapshot *p, ds4_tail_kind kind, const int32_t *after,
                  uint32_t n_after)
{
    ds4_err err;

    if (!r->writer) return;
    /* Kept positions may have made the rows' files grow. */
    const uint64_t rows = ds4_engine_rows_on_disk(r->engine);
    if (ds4_store_set_rows(r->store, rows, &err) != DS4_OK) note_failure(r, &err);
    ds4_store_writer_save(r->writer, p, kind, after, n_after);
}

/* ---- the tokens ---------------------------------------------------------------------------------- */

static void consider(void *ctx, const int32_t *tokens, uint32_t n_tokens)
{
    ds4_wording_consider(ctx, tokens, n_tokens);
}

static void consider_all(ds4_resume *r, ds4_wording *w, ds4_session *const *session, uint32_t n_sessions)
{
    ds4_err err;

    for (uint32_t i = 0; i < n_sessions; i++) {
        ds4_wording_consider(w, ds4_session_tokens(session[i]), ds4_session_pos(session[i]));
    }
    for (uint32_t i = 0; i < ds4_kept_n(r->kept); i++) {
        const ds4_snapshot *p = ds4_kept_at(r->kept, i);
        ds4_wording_consider(w, ds4_snapshot_tokens(p), ds4_snapshot_pos(p));
    }
    if (r->store && ds4_store_recall(r->store, ds4_segments_text(w->text), consider, w, &err) != DS4_OK) {
        note_failure(r, &err);
    }
}

/* The place before the last token: it opens the reasoning or the answer, and the next prompt may show
 * this turn with the other one. */
static void find_marks(const ds4_vocab *vocab, ds4_prompt *prompt)
{
    prompt->turn = prompt->tokens.n - 1;
    prompt->marks = ds4_prompt_marks_find(vocab, &prompt->tokens, DS4_EVEN, DS4_ANCHOR_MIN,
                                          prompt->turn / DS4_EVEN * DS4_EVEN);
}

ds4_status ds4_prompt_begin(ds4_resume *r, ds4_prompt *prompt, const ds4_segments *text,
                            const ds4_tokens *plain, ds4_session *const *session, uint32_t n_sessions,
                            ds4_err *err)
{
    const ds4_vocab *vocab = ds4_engine_vocab(r->engine);
    ds4_wording      w;

    *prompt = (ds4_prompt){ .pin = { .fd = -1 } };
    if (r->writer) ds4_store_writer_tidy(r->writer);
    ds4_status st = ds4_wording_begin(&w, vocab, text, plain, err);
    if (st == DS4_OK) {
        consider_all(r, &w, session, n_sessions);
        st = ds4_wording_finish(&w, &prompt->tokens, err);
    }
    if (st == DS4_OK && prompt->tokens.n == 0) st = ds4_fail(err, DS4_E_ARG, "the prompt is empty");
    if (st == DS4_OK) find_marks(vocab, prompt);
    ds4_wording_clear(&w);
    return st;
}

ds4_status ds4_prompt_exact(ds4_resume *r, ds4_prompt *prompt, const ds4_tokens *tokens, ds4_err *err)
{
    *prompt = (ds4_prompt){ .pin = { .fd = -1 } };
    if (r->writer) ds4_store_writer_tidy(r->writer);
    if (tokens->n == 0) return ds4_fail(err, DS4_E_ARG, "the prompt is empty");
    ds4_tokens_append(&prompt->tokens, tokens->ids, tokens->n);
    if (prompt->tokens.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt");
    find_marks(ds4_engine_vocab(r->engine), prompt);
    return DS4_OK;
}

void ds4_prompt_clear(ds4_prompt *prompt)
{
    ds4_tokens_clear(&prompt->tokens);
    if (prompt->pin.pos > 0) ds4_store_unpin(&prompt->pin);
    *prompt = (ds4_prompt){ .pin = { .fd = -1 } };
}

/* ---- the beginning -------------------------------------------------------------------------------- */

static bool is_beginning(const ds4_prompt *prompt, const ds4_session *s)
{
    const uint32_t pos = ds4_session_pos(s);

    return pos <= prompt->tokens.n
        && (pos == 0 || memcmp(ds4_session_tokens(s), prompt->tokens.ids, pos * sizeof(int32_t)) == 0);
}

uint32_t ds4_prompt_held(const ds4_prompt *prompt, const ds4_session *s, bool has_logits)
{
    const uint32_t pos = ds4_session_pos(s);

    if (!is_beginning(prompt, s)) return 0;
    return pos < prompt->tokens.n || has_logits ? pos : 0;
}

/* Load the longest stored position that is longer than n. Hands out the snapshot, or NULL. */
static ds4_snapshot *load_longer(ds4_resume *r, ds4_prompt *prompt, uint32_t n, const ds4_snapshot *base)
{
    const ds4_tokens *t = &prompt->tokens;
    ds4_snapshot     *p = NULL;
    ds4_err           err;

    for (int tries = 0; r->store && tries < MAX_TRIES && !p; tries++) {
        ds4_stored found;
        if (ds4_store_find(r->store, t->ids, t->n, t->n - 1, &found, &err) != DS4_OK) {
            note_failure(r, &err);
            return NULL;
        }
        if (found.pos <= n) {
            ds4_store_unpin(&found);
            return NULL;
        }
        const ds4_status st = ds4_store_load(r->store, &found, t->ids, base, &p, &err);
        if (st == DS4_OK) {
            ds4_store_writer_hit(r->writer, found.tail);
            prompt->pin = found;
            return p;
        }
        ds4_store_unpin(&found);
        if (st != DS4_E_FORMAT && st != DS4_E_IO) {
            note_failure(r, &err);
            return NULL;
        }
    }
    return p;
}

/* Go to a position. When there is none the session begins anew. */
static ds4_status go_to(ds4_prompt *prompt, ds4_session *s, const ds4_snapshot *p, ds4_err *err)
{
    if (!p) {
        ds4_session_clear(s);
        prompt->n_held = 0;
        return DS4_OK;
    }
    DS4_TRY(ds4_session_restore(s, p, err));
    prompt->n_held = ds4_snapshot_pos(p);
    return DS4_OK;
}

static ds4_status bring(ds4_resume *r, ds4_prompt *prompt, ds4_session *s, bool has_logits, ds4_err *err)
{
    const ds4_tokens   *t = &prompt->tokens;
    const uint32_t      held = ds4_prompt_held(prompt, s, has_logits);
    const ds4_snapshot *near_by = ds4_kept_find(r->kept, t->ids, t->n, t->n - 1, true);
    const uint32_t      best = near_by && ds4_snapshot_pos(near_by) > held ? ds4_snapshot_pos(near_by) : held;

    if (best < t->n - 1) {
        ds4_snapshot *p = load_longer(r, prompt, best, near_by);
        if (p) {
            const ds4_status st = go_to(prompt, s, p, err);
            ds4_kept_give(r->kept, p, DS4_KEPT_TURN);
            return st;
        }
    }
    if (held > 0 && held >= best) {
        prompt->n_held = held;
        return DS4_OK;
    }
    return go_to(prompt, s, near_by, err);
}

ds4_status ds4_prompt_bring(ds4_resume *r, ds4_prompt *prompt, ds4_session *s, bool has_logits, ds4_err *err)
{
    const ds4_tokens *t = &prompt->tokens;

    if (t->n >= ds4_session_capacity(s)) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "the prompt has %u tokens, and the context of %u tokens must also hold "
                        "the answer", t->n, ds4_session_capacity(s));
    }
    if (prompt->pin.pos > 0) ds4_store_unpin(&prompt->pin);
    ds4_resume_read_for(r, &prompt->reader);
    /* The end of the turn before, or a conversation that is left: either may come back. */
    if (ds4_session_pos(s) < t->n || !is_beginning(prompt, s)) ds4_kept_add(r->kept, s, DS4_KEPT_TURN);
    const uint32_t common = ds4_kept_common(r->kept, t->ids, t->n);
    DS4_TRY(bring(r, prompt, s, has_logits, err));
    /* A client that changed something here may do so again. */
    prompt->parting = common > prompt->n_held ? common / DS4_EVEN * DS4_EVEN : 0;
    return DS4_OK;
}

/* ---- the rest ---------------------------------------------------------------------------------------- */

uint32_t ds4_prompt_next(const ds4_prompt *prompt, uint32_t pos, uint32_t cut)
{
    const ds4_prompt_marks *m = &prompt->marks;
    const uint32_t stops[] = { m->anchor, m->way[0], m->way[1], m->way[2], prompt->parting, prompt->turn,
                               prompt->turn / DS4_EVEN * DS4_EVEN,
                               (pos / DS4_PROMPT_STEP + 1) * DS4_PROMPT_STEP };
    uint32_t       next = prompt->tokens.n;

    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        if (stops[i] > pos && stops[i] < next && stops[i] % cut == 0) next = stops[i];
    }
    return next;
}

/* Store where the session is, if memory has it. */
static void store_here(ds4_resume *r, const ds4_prompt *prompt, const ds4_session *s, ds4_tail_kind kind)
{
    const uint32_t      pos = ds4_session_pos(s), n = prompt->tokens.n;
    const ds4_snapshot *p = ds4_kept_find(r->kept, ds4_session_tokens(s), pos, pos, false);

    if (!p || ds4_snapshot_pos(p) != pos) return;
    const uint32_t n_after = n - pos < MAX_AFTER ? n - pos : 0;
    store(r, p, kind, prompt->tokens.ids + pos, n_after);
}

static bool is_way(const ds4_prompt *prompt, uint32_t pos)
{
    bool is = pos == prompt->parting;

    for (uint32_t i = 0; i < prompt->marks.n_ways; i++) is |= pos == prompt->marks.way[i];
    return is;
}

/* Behind this place the prompt may be shown otherwise, or was. What lies in front of the first question
 * serves other conversations too. Of the marks the last one goes to the disk. */
static void reached_way(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s)
{
    const ds4_prompt_marks *m = &prompt->marks;
    const uint32_t          pos = ds4_session_pos(s);
    const uint32_t          known = m->anchor > prompt->n_held ? m->anchor : prompt->n_held;
    const bool              is_last = m->n_ways == 0 || pos >= m->way[m->n_ways - 1];

    ds4_kept_add(r->kept, s, m->opens ? DS4_KEPT_ANCHOR : DS4_KEPT_TURN);
    if (!is_last || pos - known < WORTH_STORING) return;
    store_here(r, prompt, s, m->opens ? DS4_TAIL_ANCHOR : DS4_TAIL_WAY);
}

void ds4_prompt_reached(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s)
{
    const uint32_t pos = ds4_session_pos(s);

    if (pos == 0 || pos >= prompt->tokens.n) return;
    ds4_resume_read_for(r, &prompt->reader);
    if (pos == prompt->marks.anchor) {
        ds4_kept_add(r->kept, s, DS4_KEPT_ANCHOR);
        store_here(r, prompt, s, DS4_TAIL_ANCHOR);
    } else if (is_way(prompt, pos)) {
        reached_way(r, prompt, s);
    } else if (pos == prompt->turn) {
        ds4_kept_add(r->kept, s, DS4_KEPT_TURN);
    } else if (pos % DS4_PROMPT_STEP == 0) {
        ds4_kept_add(r->kept, s, DS4_KEPT_MIDWAY);
        if (pos % DS4_PROMPT_STORE_STEP == 0) store_here(r, prompt, s, DS4_TAIL_WAY);
    }
    if (pos == prompt->turn / DS4_EVEN * DS4_EVEN) {
        ds4_kept_add(r->kept, s, DS4_KEPT_TRAIL);
        if (pos - prompt->n_held < WORTH_STORING) return;
        store_here(r, prompt, s, prompt->marks.is_result ? DS4_TAIL_WAY : DS4_TAIL_TURN);
    }
}

void ds4_prompt_stopped(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s)
{
    const uint32_t pos = ds4_session_pos(s);

    ds4_resume_read_for(r, &prompt->reader);
    const ds4_snapshot *p = ds4_kept_find_even(r->kept, ds4_session_tokens(s), pos, DS4_EVEN);
    if (pos - prompt->n_held < WORTH_STORING) return;
    if (p && pos - ds4_snapshot_pos(p) < MAX_AFTER) {
        store(r, p, DS4_TAIL_WAY, NULL, 0);
        return;
    }
    ds4_kept_add(r->kept, s, DS4_KEPT_MIDWAY);
    store_here(r, prompt, s, DS4_TAIL_WAY);
}

/* ---- an answer ----------------------------------------------------------------------------------------- */

void ds4_resume_sampled(ds4_resume *r, const ds4_prompt *prompt, ds4_session *s)
{
    if (r->writer) ds4_store_writer_tidy(r->writer);
    if (ds4_session_pos(s) % DS4_EVEN != 0) return;
    ds4_resume_read_for(r, &prompt->reader);
    ds4_kept_add(r->kept, s, DS4_KEPT_TRAIL);
}

/* An answer that calls tools is a place on the way to its turn's end. */
static ds4_tail_kind kind_of_end(const ds4_resume *r, const ds4_prompt *prompt, const ds4_session *s)
{
    const int32_t  dsml = ds4_vocab_specials(ds4_engine_vocab(r->engine))->dsml;
    const int32_t *tokens = ds4_session_tokens(s);

    for (uint32_t i = prompt->tokens.n; i < ds4_session_pos(s); i++) {
        if (tokens[i] == dsml) return DS4_TAIL_WAY;
    }
    return DS4_TAIL_TURN;
}

void ds4_resume_turn_over(ds4_resume *r, ds4_prompt *prompt, ds4_session *s)
{
    const uint32_t pos = ds4_session_pos(s);
    const int32_t *tokens = ds4_session_tokens(s);

    /* The stored position that was resumed may go now: this turn's position serves in its place. */
    if (prompt->pin.pos > 0) ds4_store_unpin(&prompt->pin);
    if (!r->writer || pos == 0) return;
    ds4_resume_read_for(r, &prompt->reader);
    const ds4_tail_kind kind = kind_of_end(r, prompt, s);
    const ds4_snapshot *even = ds4_kept_find_even(r->kept, tokens, pos, DS4_EVEN);
    if (even && pos - ds4_snapshot_pos(even) <= MAX_AFTER) {
        store(r, even, kind, tokens + ds4_snapshot_pos(even), pos - ds4_snapshot_pos(even));
        return;
    }
    ds4_kept_add(r->kept, s, DS4_KEPT_TURN);
    const ds4_snapshot *here = ds4_kept_find(r->kept, tokens, pos, pos, false);
    if (here && ds4_snapshot_pos(here) == pos) store(r, here, kind, NULL, 0);
}
