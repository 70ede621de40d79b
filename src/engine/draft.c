/* draft.c - see draft.h. */
#include "engine/draft.h"
#include "engine/engine_local.h"

static ds4_status check_work(const ds4_engine *e, const ds4_draft_work *w, ds4_err *err)
{
    const ds4_session *s = w->session;

    if (!s || s->engine != e) return ds4_fail(err, DS4_E_ARG, "guesses for a session of another engine");
    if (s->is_broken || s->pos == 0) {
        return ds4_fail(err, DS4_E_ARG,
                        "guesses for a session that holds no tokens, or whose last step failed");
    }
    if (w->next >= 0 && (uint32_t)w->next < e->network.shape.n_vocab) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "token %d is outside the vocabulary of %u", w->next,
                    e->network.shape.n_vocab);
}

/* A span of the chosen token and noise behind what each session holds. */
static ds4_status make_block(ds4_engine *e, const ds4_draft_work *work, uint32_t n_work, uint32_t *row,
                             ds4_batch *out, ds4_err *err)
{
    const ds4_draft_shape *d = &e->network.shape.draft;
    uint32_t               n = 0;

    for (uint32_t i = 0; i < n_work; i++) {
        DS4_TRY(check_work(e, &work[i], err));
        const ds4_session *s = work[i].session;
        e->span[i] = (ds4_span){ .first = n, .n = d->n_block, .pos = s->pos, .decode = true,
                                 .window_from = s->draft_from, .tail = { s->tail, 0 }, .blocks = s->at };
        for (uint32_t j = 0; j < d->n_block; j++, n++) {
            e->token[n] = j == 0 ? work[i].next : d->noise;
            e->pos[n] = s->pos + j;
            e->span_of[n] = i;
            row[n] = n;
        }
    }
    *out = (ds4_batch){ .n_tokens = n, .n_spans = n_work, .token = e->token, .pos = e->pos, .span = e->span,
                        .span_of = e->span_of, .logit_row = row, .n_logit_rows = n, .kv = &e->network.kv };
    return DS4_OK;
}

static void hand_out(const ds4_guessed *g, uint32_t most, ds4_draft_work *w)
{
    for (w->n = 0; w->n < most && g[w->n].token >= 0; w->n++) {
        w->token[w->n] = g[w->n].token;
        w->chance[w->n] = g[w->n].chance;
    }
}

ds4_status ds4_engine_draft(ds4_engine *e, ds4_draft_work *work, uint32_t n_work, uint32_t most, ds4_err *err)
{
    const uint32_t n_block = e->network.shape.draft.n_block, room = ds4_head_rows(e->network.max_batch);
    ds4_guessed    guessed[DS4_HEAD_ROWS];
    uint32_t       row[DS4_HEAD_ROWS];
    ds4_batch      block;

    if (n_block == 0) return ds4_fail(err, DS4_E_ARG, "the engine has no drafter");
    if (most < 1 || most > n_block || n_work < 1 || n_work > room / n_block) {
        return ds4_fail(err, DS4_E_ARG, "%u guesses for %u sessions, expected 1 to %u for 1 to %u", most,
                        n_work,
                        n_block, room / n_block);
    }
    DS4_TRY(make_block(e, work, n_work, row, &block, err));
    DS4_TRY(ds4_network_draft(&e->network, &block, most, guessed, err));
    for (uint32_t i = 0; i < n_work; i++) hand_out(guessed + (uint64_t)i * most, most, &work[i]);
    return DS4_OK;
}
