/* vocab_put.c - see vocab_put.h. */
#include "app/quantize/vocab_put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/vocab_json.h"

enum { MAX_TOKENIZER_BYTES = 256 << 20, NAME_BYTES = 24 };

static ds4_status no_memory(const char *path, ds4_err *err)
{
    return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its vocabulary", path);
}

/* Tokens and types, filled up to n entries. */
static ds4_status put_tokens(const char *path, const ds4_vocab_json *j, uint32_t n, ds4_gguf_writer *w,
                             ds4_err *err)
{
    const uint32_t n_have = j->source.n_tokens;
    ds4_status     st = DS4_OK;
    ds4_slice     *tokens = calloc((size_t)n + 1, sizeof *tokens);
    int32_t       *types = calloc((size_t)n + 1, sizeof *types);
    char          *names = calloc((size_t)(n - n_have) + 1, NAME_BYTES);

    if (!tokens || !types || !names) {
        st = no_memory(path, err);
        goto done;
    }
    memcpy(tokens, j->tokens, n_have * sizeof *tokens);
    memcpy(types, j->types, n_have * sizeof *types);
    for (uint32_t i = n_have; i < n; i++) {
        char *name = names + (size_t)(i - n_have) * NAME_BYTES;
        const int n_bytes = snprintf(name, NAME_BYTES, "[PAD%u]", i);
        tokens[i] = (ds4_slice){ name, (size_t)n_bytes };
        types[i] = DS4_TOKEN_UNUSED;
    }
    ds4_gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, n);
    ds4_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, n);
done:
    free(tokens);
    free(types);
    free(names);
    return st;
}

static void put_id(ds4_gguf_writer *w, const char *key, int32_t id)
{
    if (id >= 0) ds4_gguf_put_u32(w, key, (uint32_t)id);
}

/* The ids that the vocabulary finds by name. */
static ds4_status put_ids(const char *path, const ds4_vocab_json *j, ds4_gguf_writer *w, ds4_err *err)
{
    ds4_vocab *v = NULL;
    ds4_err    why = { .code = DS4_OK };

    if (ds4_vocab_create(&j->source, &v, &why) != DS4_OK) {
        return ds4_fail(err, why.code, "%s: %s", path, why.text);
    }
    put_id(w, "tokenizer.ggml.bos_token_id", ds4_vocab_specials(v)->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", ds4_vocab_specials(v)->eos);
    put_id(w, "tokenizer.ggml.padding_token_id", ds4_vocab_find(v, "<｜▁pad▁｜>"));
    ds4_vocab_free(v);
    return DS4_OK;
}

static ds4_status put_all(const char *path, const ds4_vocab_json *j, uint32_t n_vocab, ds4_gguf_writer *w,
                          ds4_err *err)
{
    const uint32_t n = n_vocab ? n_vocab : j->source.n_tokens;

    if (j->source.n_tokens > n) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %u tokens, but the configuration's vocabulary has %u", path,
                        j->source.n_tokens, n);
    }
    ds4_gguf_put_string(w, "tokenizer.ggml.model", DS4_SLICE("gpt2"));
    ds4_gguf_put_string(w, "tokenizer.ggml.pre", DS4_SLICE("joyai-llm"));
    DS4_TRY(put_tokens(path, j, n, w, err));
    ds4_gguf_put_strings(w, "tokenizer.ggml.merges", j->merges, j->source.n_merges);
    ds4_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    ds4_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", false);
    return put_ids(path, j, w, err);
}

ds4_status vocab_put(const char *path, uint32_t n_vocab, ds4_gguf_writer *w, ds4_err *err)
{
    ds4_str        text = { 0 };
    ds4_vocab_json j = { 0 };
    ds4_status     st = ds4_file_read(path, MAX_TOKENIZER_BYTES, &text, err);

    if (st == DS4_OK) {
        st = ds4_vocab_json_read(path, (ds4_slice) { ds4_str_text(&text), text.n_bytes }, &j, err);
    }
    if (st == DS4_OK) st = put_all(path, &j, n_vocab, w, err);
    ds4_vocab_json_clear(&j);
    ds4_str_clear(&text);
    return st;
}
