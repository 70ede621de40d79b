/* vocab_gguf.c - see vocab_gguf.h. */
#include "model/vocab_gguf.h"

#include <stdio.h>
#include <stdlib.h>

/* The names that converters give to the three splits of the V3 and V4 tokenizers. */
static bool splits_are_known(ds4_slice pre)
{
    return pre.n_bytes == 0 || ds4_slice_eq(pre, DS4_SLICE("joyai-llm")) ||
           ds4_slice_eq(pre, DS4_SLICE("deepseek-v3"));
}

static ds4_status check_kind(const ds4_gguf *g, ds4_err *err)
{
    const char *path = ds4_gguf_path(g);
    ds4_slice   model, pre;

    DS4_TRY(ds4_gguf_get_string(g, "tokenizer.ggml.model", &model, err));
    DS4_TRY(ds4_gguf_opt_string(g, "tokenizer.ggml.pre", (ds4_slice){ "", 0 }, &pre, err));
    if (!ds4_slice_eq(model, DS4_SLICE("gpt2"))) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: tokenizer.ggml.model is '%.*s', expected gpt2",
                        path, (int)(model.n_bytes < 40 ? model.n_bytes : 40), model.data);
    }
    if (!splits_are_known(pre)) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "%s: tokenizer.ggml.pre is '%.*s', expected joyai-llm or deepseek-v3", path,
                        (int)(pre.n_bytes < 40 ? pre.n_bytes : 40), pre.data);
    }
    return DS4_OK;
}

/* The arrays as they come out of the file; freed by clear_arrays(). */
typedef struct arrays {
    ds4_slice *tokens, *merges;
    int64_t   *wide_types;
    int32_t   *types;
    uint64_t   n_tokens, n_merges, n_types;
} arrays;

static void clear_arrays(arrays *a)
{
    free(a->tokens);
    free(a->merges);
    free(a->wide_types);
    free(a->types);
}

static ds4_status read_types(const ds4_gguf *g, arrays *a, ds4_err *err)
{
    const char *key = "tokenizer.ggml.token_type";

    if (!ds4_gguf_has(g, key)) return DS4_OK;
    DS4_TRY(ds4_gguf_copy_i64s(g, key, DS4_TOKEN_NORMAL, DS4_TOKEN_BYTE, &a->wide_types,
                               &a->n_types, err));
    if (a->n_types != a->n_tokens) {
        return ds4_fail(
            err, DS4_E_FORMAT, "%s: %s has %llu entries, expected one for each of %llu tokens",
            ds4_gguf_path(g), key, (unsigned long long)a->n_types, (unsigned long long)a->n_tokens);
    }
    a->types = malloc((size_t)a->n_types * sizeof *a->types);
    if (!a->types) {
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for %llu token types", ds4_gguf_path(g),
                        (unsigned long long)a->n_types);
    }
    for (uint64_t i = 0; i < a->n_types; i++) a->types[i] = (int32_t)a->wide_types[i];
    return DS4_OK;
}

static ds4_status read_arrays(const ds4_gguf *g, arrays *a, ds4_err *err)
{
    const char *path = ds4_gguf_path(g);

    DS4_TRY(ds4_gguf_copy_strings(g, "tokenizer.ggml.tokens", &a->tokens, &a->n_tokens, err));
    if (a->n_tokens == 0 || a->n_tokens > DS4_VOCAB_MAX_TOKENS) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tokenizer.ggml.tokens has %llu entries, expected 1..%d", path,
                        (unsigned long long)a->n_tokens, DS4_VOCAB_MAX_TOKENS);
    }
    DS4_TRY(read_types(g, a, err));
    if (!ds4_gguf_has(g, "tokenizer.ggml.merges")) return DS4_OK;
    DS4_TRY(ds4_gguf_copy_strings(g, "tokenizer.ggml.merges", &a->merges, &a->n_merges, err));
    if (a->n_merges > DS4_VOCAB_MAX_TOKENS) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tokenizer.ggml.merges has %llu entries, expected at most %d", path,
                        (unsigned long long)a->n_merges, DS4_VOCAB_MAX_TOKENS);
    }
    return DS4_OK;
}

static ds4_status read_id(const ds4_gguf *g, const char *key, uint64_t n_tokens, int32_t *out,
                          ds4_err *err)
{
    uint64_t id = 0;

    *out = -1;
    if (!ds4_gguf_has(g, key)) return DS4_OK;
    DS4_TRY(ds4_gguf_get_u64(g, key, 0, n_tokens - 1, &id, err));
    *out = (int32_t)id;
    return DS4_OK;
}

ds4_status ds4_vocab_from_gguf(const ds4_gguf *g, ds4_vocab **out, ds4_err *err)
{
    arrays           a = { 0 };
    ds4_vocab_source src = { 0 };
    ds4_err          why = { .code = DS4_OK };

    DS4_TRY(check_kind(g, err));
    ds4_status st = read_arrays(g, &a, err);
    if (st == DS4_OK) st = read_id(g, "tokenizer.ggml.bos_token_id", a.n_tokens, &src.bos_id, err);
    if (st == DS4_OK) st = read_id(g, "tokenizer.ggml.eos_token_id", a.n_tokens, &src.eos_id, err);
    if (st == DS4_OK) {
        src.tokens = a.tokens;
        src.types = a.types;
        src.n_tokens = (uint32_t)a.n_tokens;
        src.merges = a.merges;
        src.n_merges = (uint32_t)a.n_merges;
        st = ds4_vocab_create(&src, out, &why);
        if (st != DS4_OK) {
            st = ds4_fail(err, st, "%s: tokenizer.ggml: %s", ds4_gguf_path(g), why.text);
        }
    }
    clear_arrays(&a);
    return st;
}

ds4_protocol ds4_protocol_from_gguf(const ds4_gguf *g, const ds4_vocab *v)
{
    const ds4_slice none = { "", 0 };
    ds4_slice       name = none, chat_template = none;
    char            text[256];

    if (ds4_gguf_opt_string(g, "general.name", none, &name, NULL) != DS4_OK) name = none;
    if (ds4_gguf_opt_string(g, "tokenizer.chat_template", none, &chat_template, NULL) != DS4_OK) {
        chat_template = none;
    }
    snprintf(text, sizeof text, "%.*s", (int)(name.n_bytes < 255 ? name.n_bytes : 255), name.data);
    return ds4_protocol_detect(text, chat_template, v);
}
