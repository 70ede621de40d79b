/* sampled_turns.c - see sampled_turns.h. */
#include "service/sampled_turns.h"

#include <stdlib.h>
#include <string.h>

/* Find the begin of the run of ordinary tokens that ends at `end`. */
static uint32_t run_begin(const ds4_vocab *v, const int32_t *ids, uint32_t end)
{
    while (end > 0 && !ds4_vocab_is_special(v, ids[end - 1])) end--;
    return end;
}

/* Do two runs stand for the same bytes? */
static bool same_bytes(const ds4_vocab *v, const int32_t *a, uint32_t n_a, const int32_t *b, uint32_t n_b)
{
    ds4_slice x = { NULL, 0 }, y = { NULL, 0 };
    uint32_t  i = 0, k = 0;

    for (;;) {
        while (x.n_bytes == 0 && i < n_a) x = ds4_vocab_token_bytes(v, a[i++]);
        while (y.n_bytes == 0 && k < n_b) y = ds4_vocab_token_bytes(v, b[k++]);
        if (x.n_bytes == 0 || y.n_bytes == 0) return x.n_bytes == y.n_bytes;
        const size_t n = x.n_bytes < y.n_bytes ? x.n_bytes : y.n_bytes;
        if (memcmp(x.data, y.data, n) != 0) return false;
        x = (ds4_slice){ x.data + n, x.n_bytes - n };
        y = (ds4_slice){ y.data + n, y.n_bytes - n };
    }
}

static bool same_ids(const int32_t *a, uint32_t n_a, const int32_t *b, uint32_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof *a) == 0);
}

/* Compare a turn that ends at `end` with what was sampled, backwards: *begin of the prompt, and the
 * number of sampled tokens that stand there. */
static uint32_t agree(const ds4_vocab *v, const int32_t *ids, uint32_t end, const ds4_sampled_turn *t,
                      uint32_t *begin)
{
    uint32_t at = end, left = t->n_tokens, n = 0;

    *begin = end;
    while (left > 0) {
        const uint32_t i = run_begin(v, ids, at), k = run_begin(v, t->tokens, left);
        if (!same_bytes(v, ids + i, at - i, t->tokens + k, left - k)) break;
        *begin = i;
        n = t->n_tokens - k;
        if (i == 0 || k == 0 || ids[i - 1] != t->tokens[k - 1]) break;
        at = i - 1;
        left = k - 1;
    }
    return n;
}

ds4_status ds4_put_sampled(const ds4_vocab *v, ds4_tokens *prompt, const ds4_sampled_turn *turn,
                           uint32_t n_turns, uint32_t *n_others, ds4_err *err)
{
    const int32_t eos = ds4_vocab_specials(v)->eos;
    ds4_tokens    out = { 0 };
    uint32_t      i_turn = 0, done = 0;

    *n_others = 0;
    for (uint32_t end = 0; end < prompt->n && i_turn < n_turns; end++) {
        if (prompt->ids[end] != eos) continue;
        const ds4_sampled_turn *t = &turn[i_turn++];
        uint32_t                begin;
        const uint32_t          n = agree(v, prompt->ids, end, t, &begin);
        const int32_t          *sampled = n ? t->tokens + t->n_tokens - n : NULL;
        if (begin < done || n == 0 || same_ids(prompt->ids + begin, end - begin, sampled, n)) continue;
        ds4_tokens_append(&out, prompt->ids + done, begin - done);
        ds4_tokens_append(&out, sampled, n);
        *n_others += n;
        done = end;
    }
    if (*n_others == 0) return DS4_OK;
    ds4_tokens_append(&out, prompt->ids + done, prompt->n - done);
    if (out.failed) {
        ds4_tokens_clear(&out);
        *n_others = 0;
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt");
    }
    ds4_tokens_clear(prompt);
    *prompt = out;
    return DS4_OK;
}
