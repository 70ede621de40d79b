/* bench_prompt.c - the tokens that are prefilled; see bench.h. */
#include "app/bench/bench.h"

#include "base/file.h"
#include "base/rng.h"
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 1 << 30, SEED = 20260418 };

static ds4_status read_text(const ds4_vocab *v, const char *path, ds4_tokens *out, ds4_err *err)
{
    ds4_str text = { 0 };

    DS4_TRY(ds4_file_read(path, MAX_TEXT_BYTES, &text, err));
    const ds4_status st = ds4_vocab_encode(v, ds4_str_text(&text), text.n_bytes, 0, out, err);
    ds4_str_clear(&text);
    return st;
}

/* Random normal tokens, the same each time. */
static void make_tokens(const ds4_vocab *v, uint32_t n, ds4_tokens *out)
{
    const uint32_t n_vocab = ds4_vocab_size(v);
    ds4_rng        rng;
    bool           any = false;

    for (uint32_t i = 0; i < n_vocab && !any; i++) {
        any = ds4_vocab_token_type(v, (int32_t)i) == DS4_TOKEN_NORMAL;
    }
    ds4_rng_seed(&rng, SEED);
    while (out->n < n && !out->failed) {
        const int32_t id = (int32_t)(ds4_rng_next(&rng) % n_vocab);
        if (!any || ds4_vocab_token_type(v, id) == DS4_TOKEN_NORMAL) ds4_tokens_add(out, id);
    }
}

/* Render the text as ds4 does with --nothink. */
static ds4_status read_chat(const ds4_engine *e, const bench_options *o, ds4_tokens *out, ds4_err *err)
{
    ds4_str text = { 0 };

    DS4_TRY(ds4_file_read(o->chat_path, MAX_TEXT_BYTES, &text, err));
    const ds4_chat_turn turns[] = { { DS4_SYSTEM, o->system }, { DS4_USER, ds4_str_text(&text) } };
    const bool          alone = *o->system == '\0';
    const ds4_chat      chat = { .turns = turns + alone, .n_turns = alone ? 1 : 2 };
    uint32_t            n = 0;
    ds4_status          st = ds4_chat_prompt(e, &chat, NULL, 0, &n, err);
    int32_t            *ids = NULL;

    if (st == DS4_E_LIMIT) {
        ids = malloc(n * sizeof *ids);
        st = ids ? ds4_chat_prompt(e, &chat, ids, n, &n, err)
                 : ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", n);
    }
    for (uint32_t i = 0; st == DS4_OK && i < n; i++) ds4_tokens_add(out, ids[i]);
    free(ids);
    ds4_str_clear(&text);
    return st;
}

ds4_status bench_prompt(const ds4_engine *e, const bench_options *o, int32_t **out, ds4_err *err)
{
    const ds4_vocab *v = ds4_engine_vocab(e);
    const int32_t    bos = ds4_vocab_specials(v)->bos;
    ds4_tokens       tokens = { 0 };
    ds4_status       st = DS4_OK;

    if (bos >= 0 && !o->chat_path) ds4_tokens_add(&tokens, bos);
    if (o->chat_path) st = read_chat(e, o, &tokens, err);
    else if (o->prompt_path) st = read_text(v, o->prompt_path, &tokens, err);
    else make_tokens(v, o->ctx_max, &tokens);
    if (st == DS4_OK && tokens.failed) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for %u tokens", o->ctx_max);
    }
    if (st == DS4_OK && tokens.n < o->ctx_max) {
        st = ds4_fail(err, DS4_E_LIMIT, "%s: %u tokens, --ctx-max asks for %u",
                      o->chat_path ? o->chat_path : o->prompt_path, tokens.n, o->ctx_max);
    }
    if (st != DS4_OK) {
        ds4_tokens_clear(&tokens);
        return st;
    }
    *out = tokens.ids;
    return DS4_OK;
}
