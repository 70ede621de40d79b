/* draft_model.c - guesses that the engine's drafter computes (drafter.h).
 *
 * The drafter says of each guess how sure it is, and is surer than it should be. So a guess counts as
 * likely as guesses of its kind were right: kinds are the place in the block and how sure the drafter was. */
#include "service/drafter.h"

#include "engine/draft.h"

#include <stdlib.h>
#include <string.h>

enum {
    N_SURE = 8,                 /* classes of sureness */
    N_PLACES = 5,               /* and of places; later ones count as the last */
    BELIEF = 4,                 /* guesses that the drafter's own number counts for */
    MEMORY = 60,                /* guesses that a class remembers, more or less */
};

/* Tokens that a computed guess brings, before any was compared. */
static const float EXPECTED = 2.0f;

typedef struct model_drafter {
    ds4_drafter  base;
    ds4_engine  *engine;
    ds4_drafter *suffix;        /* NULL: none */
    uint32_t     n_draft;       /* tokens of a block */
    float        right[N_PLACES][N_SURE];       /* part of the guesses that were right */
    float        n_seen[N_PLACES][N_SURE];      /* 0: the drafter's own number is believed */
    float        brings;        /* tokens that a whole guess was right for, on average */
    ds4_draft    last;          /* the computed guess that is compared with what comes */
    float        sure[DS4_DRAFT_TOKENS];
    uint32_t     last_pos;      /* where its first token would stand */
    int32_t      last_next;     /* the token before it */
    uint32_t     pos;           /* of the token behind `next` */
    int32_t      next;
} model_drafter;

static float *class_of(float of[N_PLACES][N_SURE], uint32_t place, float sure)
{
    const int i = (int)(sure * N_SURE);

    return &of[place < N_PLACES ? place : N_PLACES - 1][i < 0 ? 0 : i < N_SURE ? i : N_SURE - 1];
}

static float likely(model_drafter *m, uint32_t place, float sure)
{
    const float n = *class_of(m->n_seen, place, sure), right = *class_of(m->right, place, sure);
    return (sure * BELIEF + right * n) / (BELIEF + n);
}

static void start_anew(model_drafter *m)
{
    memset(m->right, 0, sizeof m->right);
    memset(m->n_seen, 0, sizeof m->n_seen);
    m->brings = EXPECTED;
    m->last.n = 0;
}

static void free_model(ds4_drafter *d)
{
    model_drafter *m = (model_drafter *)d;

    if (m->suffix) m->suffix->kind->free(m->suffix);
    free(m);
}

static void forget(ds4_drafter *d)
{
    model_drafter *m = (model_drafter *)d;

    start_anew(m);
    if (m->suffix) m->suffix->kind->forget(m->suffix);
}

static void remember(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens)
{
    model_drafter *m = (model_drafter *)d;

    m->last.n = 0;
    if (m->suffix) m->suffix->kind->remember(m->suffix, tokens, n_tokens);
}

/* Compare the last guess with what came, as far as that is known. */
static void learn(model_drafter *m, const int32_t *tokens, uint32_t n_tokens, int32_t next)
{
    uint32_t n = 0;

    for (; n < m->last.n && m->last_pos + n <= n_tokens; n++) {
        const uint32_t at = m->last_pos + n;
        const bool     good = m->last.token[n] == (at < n_tokens ? tokens[at] : next);
        float         *right = class_of(m->right, n, m->sure[n]), *n_seen = class_of(m->n_seen, n,
                                                                                     m->sure[n]);
        if (*n_seen < MEMORY) *n_seen += 1;
        *right += ((good ? 1.0f : 0.0f) - *right) / *n_seen;
        if (!good) break;
    }
    m->brings += 0.05f * ((float)n - m->brings);
    m->last.n = 0;
}

static void follow(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens, int32_t next)
{
    model_drafter *m = (model_drafter *)d;
    const bool     goes_on = m->last.n > 0 && m->last_pos <= n_tokens && tokens[m->last_pos - 1] ==
        m->last_next;

    if (goes_on) learn(m, tokens, n_tokens, next);
    m->last.n = 0;
    m->pos = n_tokens + 1;
    m->next = next;
    if (m->suffix) m->suffix->kind->follow(m->suffix, tokens, n_tokens, next);
}

/* Tokens that a guess promises. */
static float promise(const ds4_draft *draft)
{
    float sum = 0, survives = 1;

    for (uint32_t i = 0; i < draft->n; i++) sum += survives *= draft->chance[i];
    return sum;
}

/* Guesses that cannot be computed are none: the next step will say why, if it is worth a word. */
static void compute(model_drafter *m, ds4_session *session, uint32_t most, ds4_draft *out)
{
    ds4_draft_work work = { .session = session, .next = m->next };

    out->n = 0;
    out->is_computed = true;
    if (most > m->n_draft) most = m->n_draft;
    if (ds4_engine_draft(m->engine, &work, 1, most, NULL) != DS4_OK) return;
    for (uint32_t i = 0; i < work.n; i++) {
        out->token[i] = work.token[i];
        out->chance[i] = likely(m, i, work.chance[i]);
        m->sure[i] = work.chance[i];
    }
    out->n = work.n;
    m->last = *out;
    m->last_pos = m->pos;
    m->last_next = m->next;
}

static void propose(ds4_drafter *d, ds4_session *session, uint32_t most, ds4_draft *out)
{
    model_drafter *m = (model_drafter *)d;
    ds4_draft      computed;

    out->n = 0;
    out->is_computed = false;
    if (m->suffix) m->suffix->kind->propose(m->suffix, NULL, most, out);
    if (!session || (out->n > 0 && promise(out) >= m->brings)) return;
    compute(m, session, most, &computed);
    if (out->n == 0 || promise(&computed) > promise(out)) *out = computed;
    out->is_computed = true;
}

static const ds4_drafter_kind model_kind = { "model", free_model, forget, remember, follow, propose };

ds4_status ds4_drafter_model_create(ds4_engine *engine, ds4_drafter *suffix, ds4_drafter **out, ds4_err *err)
{
    model_drafter *m = calloc(1, sizeof *m);

    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for guessing tokens");
    m->base.kind = &model_kind;
    m->engine = engine;
    m->suffix = suffix;
    m->n_draft = ds4_engine_info(engine)->n_draft;
    start_anew(m);
    *out = &m->base;
    return DS4_OK;
}
