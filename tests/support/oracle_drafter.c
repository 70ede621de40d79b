/* oracle_drafter.c - see oracle_drafter.h. */
#include "support/oracle_drafter.h"

#include <stdlib.h>

typedef struct oracle_of_seat {
    ds4_drafter base;
    oracle     *o;
    uint32_t    known;          /* tokens of the text so far */
    uint32_t    expected;       /* where the text must be at the next call; 0: no guess was made */
} oracle_of_seat;

static void free_oracle(ds4_drafter *d)
{
    free(d);
}

static void forget(ds4_drafter *d)
{
    ((oracle_of_seat *)d)->expected = 0;
}

static void remember(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens)
{
    (void)tokens;
    (void)n_tokens;
    ((oracle_of_seat *)d)->o->n_texts++;
}

static void follow(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens, int32_t next)
{
    oracle_of_seat *s = (oracle_of_seat *)d;
    oracle         *o = s->o;
    const uint32_t  before = s->known;

    s->known = n_tokens + 1;
    for (uint32_t i = before; i < n_tokens && i < o->n_text; i++) o->n_astray += tokens[i] != o->text[i];
    if (s->expected && s->known == s->expected) o->n_checked[s->known - before - 1]++;
    o->n_astray += s->expected && s->known != s->expected;
    o->n_astray += n_tokens >= o->n_text || next != o->text[n_tokens];
    s->expected = 0;
}

static uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

static void propose(ds4_drafter *d, ds4_session *session, uint32_t most, ds4_draft *out)
{
    oracle_of_seat *s = (oracle_of_seat *)d;
    oracle         *o = s->o;
    const uint32_t  n_right = mix(o->n_made++) % (o->n_guesses + 1);
    uint32_t        n_good = 0;

    (void)session;
    out->n = 0;
    while (out->n < most && out->n < o->n_guesses && s->known + out->n < o->n_text) {
        const int32_t right = o->text[s->known + out->n];
        const bool    good = out->n < n_right;
        /* Bytes are the first tokens of the models of tests. */
        out->token[out->n] = good ? right : (int32_t)((uint32_t)(right + 1) % (o->n_vocab - 32));
        out->chance[out->n++] = 0.9f;
        n_good += good;
    }
    s->expected = s->known + 1 + n_good;
}

static const ds4_drafter_kind oracle_kind = { "oracle", free_oracle, forget, remember, follow, propose };

ds4_drafter *oracle_drafter(oracle *o)
{
    oracle_of_seat *s = calloc(1, sizeof *s);

    if (!s) abort();
    s->base.kind = &oracle_kind;
    s->o = o;
    return &s->base;
}
