/* wording.c - see wording.h. */
#include "service/wording.h"

#include <stdlib.h>

ds4_status ds4_wording_begin(ds4_wording *w, const ds4_vocab *vocab, const ds4_segments *text,
                             const ds4_tokens *plain, ds4_err *err)
{
    size_t   at = 0;
    uint32_t n_special = 0;

    *w = (ds4_wording){ .vocab = vocab, .text = text };
    if (plain) ds4_tokens_append(&w->plain, plain->ids, plain->n);
    else DS4_TRY(ds4_segments_encode(vocab, text, &w->plain, err));
    for (uint32_t i = 0; i < w->plain.n; i++) n_special += ds4_vocab_is_special(vocab, w->plain.ids[i]);
    w->safe = malloc((2ull * n_special + 1) * sizeof *w->safe);
    w->end = malloc((w->plain.n + 1ull) * sizeof *w->end);
    if (!w->safe || !w->end || w->plain.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt");
    for (uint32_t i = 0; i < w->plain.n; i++) {
        const size_t n = ds4_vocab_token_bytes(vocab, w->plain.ids[i]).n_bytes;
        if (ds4_vocab_is_special(vocab, w->plain.ids[i])) {
            w->safe[w->n_safe++] = at;
            w->safe[w->n_safe++] = at + n;
        }
        at += n;
        w->end[i] = at;
    }
    return DS4_OK;
}

/* The last place behind token n_same where the text may be cut: how many tokens, and the
 * bytes that they cover. */
static uint32_t last_cut(const ds4_wording *w, const int32_t *ids, uint32_t n_ids, uint32_t n_same,
                         size_t *n_bytes)
{
    const uint32_t n_match = ds4_segments_match(w->vocab, w->text, ids, n_ids, NULL);
    uint32_t       n = 0, i_safe = 0;
    size_t         at = n_same ? w->end[n_same - 1] : 0;

    for (uint32_t i = n_same; i < n_match; i++) {
        at += ds4_vocab_token_bytes(w->vocab, ids[i]).n_bytes;
        while (i_safe < w->n_safe && w->safe[i_safe] < at) i_safe++;
        if (i_safe == w->n_safe || w->safe[i_safe] != at) continue;
        n = i + 1;
        *n_bytes = at;
    }
    return n;
}

void ds4_wording_consider(ds4_wording *w, const int32_t *ids, uint32_t n_ids)
{
    const uint32_t most = n_ids < w->plain.n ? n_ids : w->plain.n;
    uint32_t       n_same = 0;
    size_t         n_bytes = 0;

    while (n_same < most && ids[n_same] == w->plain.ids[n_same]) n_same++;
    if (n_same > 0 && w->end[n_same - 1] > w->best) {   /* the encoding itself is known so far */
        w->best = w->end[n_same - 1];
        w->known.n = 0;
    }
    if (n_same == n_ids) return;
    const uint32_t n = last_cut(w, ids, n_ids, n_same, &n_bytes);
    if (n == 0 || n_bytes <= w->best) return;
    w->best = w->n_bytes = n_bytes;
    w->known.n = 0;
    ds4_tokens_append(&w->known, ids, n);
}

ds4_status ds4_wording_finish(ds4_wording *w, ds4_tokens *out, ds4_err *err)
{
    if (w->known.failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt");
    if (w->known.n > 0) {
        ds4_tokens_append(out, w->known.ids, w->known.n);
        DS4_TRY(ds4_segments_encode_from(w->vocab, w->text, w->n_bytes, out, err));
    } else {
        ds4_tokens_append(out, w->plain.ids, w->plain.n);
    }
    return out->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt") : DS4_OK;
}

void ds4_wording_clear(ds4_wording *w)
{
    ds4_tokens_clear(&w->plain);
    ds4_tokens_clear(&w->known);
    free(w->safe);
    free(w->end);
    *w = (ds4_wording){ 0 };
}
