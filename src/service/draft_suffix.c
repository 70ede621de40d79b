/* draft_suffix.c - guesses by what followed the last time (drafter.h).
 *
 * Its text is what its seat read and wrote: one conversation behind another, parted by gaps.
 * The rate of right guesses depends on the length of what was found again, and is learned: each of
 * its guesses is compared with what came, whether a step was spent on it or not. */
#include "service/drafter.h"

#include "service/suffix_index.h"

#include <stdlib.h>
#include <string.h>

enum {
    GAP = -1,
    N_LENGTHS = 10,             /* classes of lengths */
    N_AFTER = 4,                /* and of the first lengths behind a change in a copy */
    N_CLASSES = N_LENGTHS + N_AFTER,
    LONG_RUN = 8,               /* tokens that were the source's in a row: a copy */
    CHANGE = 24,                /* most tokens of a change in a copy */
    BELIEF = 3,                 /* guesses that the expectation counts for */
    MEMORY = 40,                /* guesses that a class remembers, more or less */
};

typedef struct ds4_suffix_drafter {
    ds4_drafter  base;
    suffix_index index;
    int32_t     *said;          /* [n_said] the conversation as it was followed */
    uint32_t     n_said, said_room;
    float        right[N_CLASSES];      /* part of the guesses that were right */
    uint32_t     n_seen[N_CLASSES];     /* guesses that this knows, and BELIEF */
    /* The copy under way: the text goes on as it did at `source`, for `run` tokens now. Behind a change the
     * place where it ended is remembered. */
    uint32_t     source, run;   /* source 0: none */
    uint32_t     broke_at, since;       /* broke_at 0: no change is under way */
    ds4_draft    last;          /* the guess that is compared with what comes */
    uint32_t     last_len;      /* of what was found for it */
    bool         last_changed;  /* it was behind a change in a copy */
} ds4_suffix_drafter;

/* Lengths that are alike: 1, 2, 3, 4, 5-6, 7-9, 10-15, 16-31, 32-63, more. */
static uint32_t class_of(uint32_t len, bool changed)
{
    static const uint32_t most[N_LENGTHS - 1] = { 1, 2, 3, 4, 6, 9, 15, 31, 63 };
    uint32_t              i = 0;

    if (changed && len > 0 && len <= N_AFTER) return N_LENGTHS + len - 1;
    while (i < N_LENGTHS - 1 && len > most[i]) i++;
    return i;
}

/* Rates to expect before anything was compared; about what prompts of code and tools gave. */
static const float expected[N_CLASSES] = { 0.3f, 0.5f, 0.6f, 0.65f, 0.7f, 0.75f, 0.85f, 0.92f, 0.96f, 0.97f,
                                           0.6f, 0.75f, 0.8f, 0.85f };

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
    s->source = s->broke_at = 0;
    expect(s);
}

/* Compare the last guess with the tokens that came behind what it was made for. */
static void learn(ds4_suffix_drafter *s, const int32_t *came, uint32_t n_came)
{
    for (uint32_t i = 0; i < s->last.n && i < n_came; i++) {
        const bool     good = s->last.token[i] == came[i];
        const uint32_t class = class_of(s->last_len + i, s->last_changed);
        if (s->n_seen[class] < MEMORY) s->n_seen[class]++;
        s->right[class] += ((good ? 1.0f : 0.0f) - s->right[class]) / (float)s->n_seen[class];
        if (!good) break;
    }
    s->last.n = 0;
}

/* Tokens, at most 4, that the text ends with and that stand before a place of it. */
static uint32_t alike_before(const suffix_index *x, uint32_t place)
{
    uint32_t n = 0;

    while (n < 4 && n < place && x->text[place - 1 - n] == x->text[x->n_text - 1 - n]) n++;
    return n;
}

/* Find where the copy goes on behind its change: where the source has the last tokens, near to where
 * it broke. */
static void align(ds4_suffix_drafter *s)
{
    const suffix_index *x = &s->index;
    const uint32_t      first = s->broke_at > 4 ? s->broke_at - 4 : 1;

    s->source = 0;
    s->run = 0;
    for (uint32_t place = first; place < s->broke_at + CHANGE && place + 4 < x->n_text; place++) {
        const uint32_t n = alike_before(x, place);
        if (n <= s->run) continue;
        s->run = n;
        s->source = place;
    }
}

/* The text has one more token: does the copy go on? */
static void trace_copy(ds4_suffix_drafter *s, uint32_t n_before)
{
    const suffix_index *x = &s->index;

    if (x->n_text != n_before + 1) {
        s->source = s->broke_at = 0;    /* the older half is gone */
        return;
    }
    const int32_t token = x->text[n_before];
    if (s->broke_at && ++s->since > CHANGE) s->broke_at = 0;
    if (s->source && x->text[s->source] == token) {
        s->source++;
        if (++s->run >= LONG_RUN) s->broke_at = 0;
        return;
    }
    if (s->source && s->run >= LONG_RUN) {
        s->broke_at = s->source;
        s->since = 0;
    }
    s->source = 0;
    if (s->broke_at) align(s);
}

static bool take(ds4_suffix_drafter *s, int32_t token)
{
    if (s->n_said == s->said_room) {
        const uint32_t room = s->said_room ? s->said_room * 2 : 1024;
        int32_t       *more = realloc(s->said, room * sizeof *more);
        if (!more) return false;
        s->said = more;
        s->said_room = room;
    }
    const uint32_t n_before = s->index.n_text;
    s->said[s->n_said++] = token;
    suffix_index_add(&s->index, token);
    trace_copy(s, n_before);
    return true;
}

/* It stands before the conversation: what is followed goes on behind a gap. */
static void remember(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens)
{
    ds4_suffix_drafter *s = (ds4_suffix_drafter *)d;

    suffix_index_add(&s->index, GAP);
    for (uint32_t i = 0; i < n_tokens; i++) suffix_index_add(&s->index, tokens[i]);
    suffix_index_add(&s->index, GAP);
    s->n_said = 0;
    s->last.n = 0;
    s->source = s->broke_at = 0;
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
        s->source = s->broke_at = 0;
    }
    for (uint32_t i = n; i < n_tokens; i++) {
        if (!take(s, tokens[i])) return;
    }
    take(s, next);
}

/* The copy under way is preferred to a later place that is alike, unless that is so for much longer;
 * and behind a change, whichever was right more often. */
static void choose_source(ds4_suffix_drafter *s)
{
    uint32_t       from;
    const uint32_t len = suffix_index_match(&s->index, &from);

    const bool     changed = s->broke_at > 0;
    const float    chance = s->right[class_of(s->run, changed)];

    if (s->source && s->run + 4 > len && (!changed || chance >= s->right[class_of(len, false)])) return;
    if (len == 0) {
        s->source = 0;
        return;
    }
    s->source = from;
    s->run = len;
}

static void propose(ds4_drafter *d, ds4_session *session, uint32_t most, ds4_draft *out)
{
    ds4_suffix_drafter *s = (ds4_suffix_drafter *)d;
    const suffix_index *x = &s->index;

    (void)session;
    out->n = 0;
    out->is_computed = false;
    if (x->n_text == 0 || x->text[x->n_text - 1] == GAP) return;
    choose_source(s);
    if (s->source == 0) return;
    const bool changed = s->broke_at > 0 && s->source <= s->broke_at + CHANGE && s->source + 4 > s->broke_at;
    for (uint32_t i = 0; i < most; i++) {
        /* A text that repeats itself goes on inside of the guess. */
        const uint32_t at = s->source + i;
        const int32_t  token = at < x->n_text ? x->text[at] : out->token[at - x->n_text];
        if (token == GAP) break;
        out->token[i] = token;
        out->chance[i] = s->right[class_of(s->run + i, changed)];
        out->n = i + 1;
    }
    s->last = *out;
    s->last_len = s->run;
    s->last_changed = changed;
}

static const ds4_drafter_kind suffix_kind = { "suffix", free_suffix, forget, remember, follow, propose };

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
