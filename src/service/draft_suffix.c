/* draft_suffix.c - guesses by what followed the last time (drafter.h).
 *
 * Its text is what its seat read and wrote: one conversation behind another, parted by gaps.
 * How often it is right depends on the length of what was found again, and is learned: each of
 * its guesses is compared with what came, whether a step was spent on it or not. */
#include "service/drafter.h"

#include "service/suffix_index.h"

#include <stdlib.h>
#include <string.h>

enum {
    GAP = -1,
    N_CLASSES = 10,             /* of lengths */
    BELIEF = 5,                 /* guesses that the expectation counts for */
    MEMORY = 40,                /* guesses that a class remembers, more or less */
};

typedef struct ds4_suffix_drafter {
    ds4_drafter  base;
    suffix_index index;
    int32_t     *said;          /* [n_said] the conversation as it was followed */
    uint32_t     n_said, said_room;
    float        right[N_CLASSES];      /* part of the guesses that were right */
    uint32_t     n_seen[N_CLASSES];     /* guesses that this knows, and BELIEF */
    ds4_draft    last;          /* the guess that is compared with what comes */
    uint32_t     last_len;      /* of what was found for it */
} ds4_suffix_drafter;

/* Lengths that are alike: 1, 2, 3, 4, 5-6, 7-9, 10-15, 16-31, 32-63, more. */
static uint32_t class_of(uint32_t len)
{
    static const uint32_t most[N_CLASSES - 1] = { 1, 2, 3, 4, 6, 9, 15, 31, 63 };
    uint32_t              i = 0;

    while (i < N_CLASSES - 1 && len > most[i]) i++;
    return i;
}

/* What to expect before anything was compared; about what prompts of code and tools gave. */
static const float expected[N_CLASSES] = { 0.1f, 0.25f, 0.4f, 0.5f, 0.6f, 0.7f, 0.8f, 0.9f, 0.95f, 0.97f };

static void expect(ds4_suffix_drafter *s)
{
    memcpy(s->right, expected, sizeof expected);
    for (uint32_t i = 0; i < N_CLASSES; i++) s->n_seen[i] = BELIEF;
}

static void free_suffix(ds4_drafter *d)
{
    ds4_suffix_drafter *s = (ds4_suffix_drafter *)d;

    suffix_index_clear(&s->index);
    free(s->said);
    free(s);
}

static void forget(ds4_drafter *d)
{
    ds4_suffix_drafter *s = (ds4_suffix_drafter *)d;

    suffix_index_clear(&s->index);
    s->n_said = 0;
    s->last.n = 0;
    expect(s);
}

/* Compare the last guess with the tokens that came behind what it was made for. */
static void learn(ds4_suffix_drafter *s, const int32_t *came, uint32_t n_came)
{
    for (uint32_t i = 0; i < s->last.n && i < n_came; i++) {
        const bool     good = s->last.token[i] == came[i];
        const uint32_t class = class_of(s->last_len + i);
        if (s->n_seen[class] < MEMORY) s->n_seen[class]++;
        s->right[class] += ((good ? 1.0f : 0.0f) - s->right[class]) / (float)s->n_seen[class];
        if (!good) break;
    }
    s->last.n = 0;
}

static bool remember(ds4_suffix_drafter *s, int32_t token)
{
    if (s->n_said == s->said_room) {
        const uint32_t room = s->said_room ? s->said_room * 2 : 1024;
        int32_t       *more = realloc(s->said, room * sizeof *more);
        if (!more) return false;
        s->said = more;
        s->said_room = room;
    }
    s->said[s->n_said++] = token;
    suffix_index_add(&s->index, token);
    return true;
}

static void follow(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens, int32_t next)
{
    ds4_suffix_drafter *s = (ds4_suffix_drafter *)d;
    const uint32_t      most = s->n_said < n_tokens ? s->n_said : n_tokens;
    uint32_t            n = 0;

    if (most > 0 && !memcmp(s->said, tokens, most * sizeof *tokens)) n = most;
    while (n < most && s->said[n] == tokens[n]) n++;
    if (n < s->n_said && n == n_tokens && n + 1 == s->n_said && s->said[n] == next) return;
    if (n == s->n_said) {
        int32_t  came[DS4_DRAFT_TOKENS + 1];
        uint32_t n_came = 0;
        for (uint32_t i = n; i < n_tokens && n_came < DS4_DRAFT_TOKENS; i++) came[n_came++] = tokens[i];
        came[n_came++] = next;
        learn(s, came, n_came);
    } else {
        /* The conversation is another one, or it went back: what comes is a text of its own. */
        suffix_index_add(&s->index, GAP);
        s->n_said = n;
        s->last.n = 0;
    }
    for (uint32_t i = n; i < n_tokens; i++) {
        if (!remember(s, tokens[i])) return;
    }
    remember(s, next);
}

static void propose(ds4_drafter *d, uint32_t most, ds4_draft *out)
{
    ds4_suffix_drafter *s = (ds4_suffix_drafter *)d;
    const suffix_index *x = &s->index;
    uint32_t            from, len = suffix_index_match(x, &from);
    float               chance = 1;

    out->n = 0;
    if (x->n_text == 0 || len == 0 || x->text[x->n_text - 1] == GAP) return;
    for (uint32_t i = 0; i < most; i++) {
        /* A text that repeats itself goes on inside of the guess. */
        const int32_t token = from + i < x->n_text ? x->text[from + i] : out->token[from + i - x->n_text];
        if (token == GAP) break;
        chance = s->right[class_of(len + i)];
        out->token[i] = token;
        out->chance[i] = chance;
        out->n = i + 1;
    }
    s->last = *out;
    s->last_len = len;
}

static const ds4_drafter_kind suffix_kind = { "suffix", free_suffix, forget, follow, propose };

ds4_status ds4_drafter_suffix_create(uint32_t max_tokens, ds4_drafter **out, ds4_err *err)
{
    ds4_suffix_drafter *s = calloc(1, sizeof *s);

    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory for guessing tokens");
    s->base.kind = &suffix_kind;
    s->index.max_tokens = max_tokens;
    expect(s);
    *out = &s->base;
    return DS4_OK;
}
