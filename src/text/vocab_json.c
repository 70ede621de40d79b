/* vocab_json.c - see vocab_json.h. */
#include "text/vocab_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static ds4_slice string_slice(const json_t *string)
{
    return (ds4_slice){ json_string_value(string), json_string_length(string) };
}

static const char *string_or_empty(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* Refuse what the encoder does not do. */
static ds4_status check_model(const char *name, const json_t *root, ds4_err *err)
{
    const json_t *model = json_object_get(root, "model");
    const char   *type = string_or_empty(model, "type");

    if (!json_is_object(json_object_get(model, "vocab")) ||
        !json_is_array(json_object_get(model, "merges"))) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: no model.vocab and model.merges; is it a tokenizer.json?", name);
    }
    if (strcmp(type, "BPE") != 0) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: model.type is \"%s\", expected \"BPE\"", name,
                        type);
    }
    if (json_is_true(json_object_get(model, "byte_fallback"))) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "%s: model.byte_fallback is true, expected a byte-level "
                        "vocabulary",
                        name);
    }
    return DS4_OK;
}

static ds4_status set_token(ds4_vocab_json *j, const char *name, const json_t *id_value,
                            ds4_slice text, int32_t type, ds4_err *err)
{
    const json_int_t id = json_is_integer(id_value) ? json_integer_value(id_value) : -1;
    if (id < 0 || id >= (json_int_t)j->source.n_tokens) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: token \"%.40s\" has no id in 0..%d", name,
                        text.data, DS4_VOCAB_MAX_TOKENS - 1);
    }
    if (j->tokens[id].data && !ds4_slice_eq(j->tokens[id], text)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: id %lld is \"%.40s\" and \"%.40s\"", name,
                        (long long)id, j->tokens[id].data, text.data);
    }
    j->tokens[id] = text;
    j->types[id] = type;
    return DS4_OK;
}

/* The highest id decides how many tokens there are; ids out of range are refused later. */
static uint32_t count_tokens(json_t *vocab, const json_t *added)
{
    json_int_t  top = -1;
    const char *key;
    json_t     *value;
    size_t      i;

    json_object_foreach(vocab, key, value) {
        const json_int_t id = json_integer_value(value);
        if (id > top && id < DS4_VOCAB_MAX_TOKENS) top = id;
    }
    json_array_foreach(added, i, value) {
        const json_int_t id = json_integer_value(json_object_get(value, "id"));
        if (id > top && id < DS4_VOCAB_MAX_TOKENS) top = id;
    }
    return (uint32_t)(top + 1);
}

static ds4_status read_tokens(ds4_vocab_json *j, const char *name, json_t *vocab,
                              const json_t *added, ds4_err *err)
{
    const char *key;
    json_t     *value;
    size_t      i;

    j->source.n_tokens = count_tokens(vocab, added);
    j->tokens = calloc((size_t)j->source.n_tokens + 1, sizeof *j->tokens);
    j->types = calloc((size_t)j->source.n_tokens + 1, sizeof *j->types);
    if (!j->tokens || !j->types) {
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its tokens", name);
    }

    json_object_foreach(vocab, key, value) {
        const ds4_slice text = { key, strlen(key) };
        DS4_TRY(set_token(j, name, value, text, DS4_TOKEN_NORMAL, err));
    }
    json_array_foreach(added, i, value) {
        const json_t *text = json_object_get(value, "content");
        const bool special = json_is_true(json_object_get(value, "special"));
        if (!json_is_string(text)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: added_tokens[%zu] has no content", name, i);
        }
        DS4_TRY(set_token(j, name, json_object_get(value, "id"), string_slice(text),
                          special ? DS4_TOKEN_CONTROL : DS4_TOKEN_USER, err));
    }
    return DS4_OK;
}

/* A merge is "left right" or ["left", "right"]. */
static ds4_status read_merges(ds4_vocab_json *j, const char *name, const json_t *merges,
                              ds4_err *err)
{
    json_t *value;
    size_t  i;

    if (json_array_size(merges) >= UINT32_MAX) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: too many merges", name);
    }
    j->source.n_merges = (uint32_t)json_array_size(merges);
    j->merges = calloc((size_t)j->source.n_merges + 1, sizeof *j->merges);
    if (!j->merges) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its merges", name);

    json_array_foreach(merges, i, value) {
        const json_t *left = json_array_get(value, 0), *right = json_array_get(value, 1);
        if (json_is_string(value)) {
            j->merges[i] = string_slice(value);
        } else if (json_is_string(left) && json_is_string(right)) {
            const size_t before = j->made.n_bytes;
            ds4_str_add(&j->made, json_string_value(left), json_string_length(left));
            ds4_str_add_char(&j->made, ' ');
            ds4_str_add(&j->made, json_string_value(right), json_string_length(right));
            j->merges[i].n_bytes = j->made.n_bytes - before;    /* data is set by place_made() */
        } else {
            return ds4_fail(err, DS4_E_FORMAT,
                            "%s: model.merges[%zu] is neither a string nor a pair", name, i);
        }
    }
    return DS4_OK;
}

/* Name the gaps, then point at the strings that were put together, which move no more. */
static ds4_status place_made(ds4_vocab_json *j, const char *name, ds4_err *err)
{
    for (uint32_t id = 0; id < j->source.n_tokens; id++) {
        if (j->tokens[id].data) continue;
        const size_t before = j->made.n_bytes;
        ds4_str_addf(&j->made, "[PAD%u]", id);
        j->tokens[id].n_bytes = j->made.n_bytes - before;
        j->types[id] = DS4_TOKEN_UNUSED;
    }
    if (j->made.failed) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its strings", name);

    const char *next = j->made.data;
    for (uint32_t i = 0; i < j->source.n_merges; i++) {
        if (j->merges[i].data) continue;
        j->merges[i].data = next;
        next += j->merges[i].n_bytes;
    }
    for (uint32_t id = 0; id < j->source.n_tokens; id++) {
        if (j->tokens[id].data) continue;
        j->tokens[id].data = next;
        next += j->tokens[id].n_bytes;
    }
    return DS4_OK;
}

ds4_status ds4_vocab_json_read(const char *name, ds4_slice text, ds4_vocab_json *out, ds4_err *err)
{
    json_error_t   bad;
    ds4_vocab_json j = { .source = { .bos_id = -1, .eos_id = -1 } };
    json_t        *root = json_loadb(text.data, text.n_bytes, JSON_ALLOW_NUL, &bad);

    if (!root) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: line %d, column %d: %s", name, bad.line, bad.column,
                        bad.text);
    }
    j.json = root;
    ds4_status st = check_model(name, root, err);
    if (st == DS4_OK) {
        json_t *model = json_object_get(root, "model");
        st = read_tokens(&j, name, json_object_get(model, "vocab"),
                         json_object_get(root, "added_tokens"), err);
        if (st == DS4_OK) st = read_merges(&j, name, json_object_get(model, "merges"), err);
    }
    if (st == DS4_OK) st = place_made(&j, name, err);
    if (st != DS4_OK) {
        ds4_vocab_json_clear(&j);
        return st;
    }
    j.source.tokens = j.tokens;
    j.source.types = j.types;
    j.source.merges = j.merges;
    *out = j;
    return DS4_OK;
}

void ds4_vocab_json_clear(ds4_vocab_json *j)
{
    free(j->tokens);
    free(j->types);
    free(j->merges);
    ds4_str_clear(&j->made);
    json_decref(j->json);
    *j = (ds4_vocab_json){ 0 };
}
