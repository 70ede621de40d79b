/* text_golden.h - the real vocabulary and rows of JSON for the tests of the text floor. */
#ifndef DS4_TESTS_TEXT_GOLDEN_H
#define DS4_TESTS_TEXT_GOLDEN_H

#include "testing.h"

#include "base/file.h"
#include "text/bpe.h"
#include "text/vocab_json.h"

#include <jansson.h>

static inline void golden_file(const char *name, ds4_str *out)
{
    ds4_err err;
    const char *path = test_data_path(name);
    if (ds4_file_read(path, 64u << 20, out, &err) != DS4_OK) fail_msg("%s", err.text);
}

/* The vocabulary of the reference tokenizer. */
static inline ds4_vocab *golden_vocab(void)
{
    ds4_err        err;
    ds4_str        text = { 0 };
    ds4_vocab_json json;
    ds4_vocab     *v = NULL;

    golden_file("deepseek_v4_tokenizer.json", &text);
    if (ds4_vocab_json_read("tokenizer.json", (ds4_slice){ text.data, text.n_bytes }, &json,
                            &err) != DS4_OK ||
        ds4_vocab_create(&json.source, &v, &err) != DS4_OK) {
        fail_msg("%s", err.text);
    }
    ds4_vocab_json_clear(&json);
    ds4_str_clear(&text);
    return v;
}

/* Call fn with each line of a file of JSON lines. */
static inline int golden_rows(const char *name, void (*fn)(const json_t *row, void *ctx), void *ctx)
{
    ds4_str text = { 0 };
    int     n = 0;

    golden_file(name, &text);
    for (char *line = text.data; line && *line;) {
        char *end = strchr(line, '\n');
        const size_t n_bytes = end ? (size_t)(end - line) : strlen(line);
        json_t *row = json_loadb(line, n_bytes, JSON_ALLOW_NUL, NULL);
        if (!row) fail_msg("%s: line %d is no JSON", name, n + 1);
        fn(row, ctx);
        json_decref(row);
        n++;
        line = end ? end + 1 : NULL;
    }
    ds4_str_clear(&text);
    return n;
}

static inline ds4_slice golden_string(const json_t *string)
{
    return json_is_string(string)
               ? (ds4_slice){ json_string_value(string), json_string_length(string) }
               : (ds4_slice){ "", 0 };
}

/* Stop the test unless the tokens are the ids of a JSON array. */
static inline void golden_same_ids(const ds4_tokens *got, const json_t *expected, const char *what)
{
    bool same = !got->failed && got->n == json_array_size(expected);
    for (uint32_t i = 0; same && i < got->n; i++) {
        same = got->ids[i] == (int32_t)json_integer_value(json_array_get(expected, i));
    }
    if (same) return;
    print_message("# found:");
    for (uint32_t i = 0; i < got->n && i < 200; i++) print_message(" %d", (int)got->ids[i]);
    char *text = json_dumps(expected, JSON_COMPACT);
    fail_msg("%s: other tokens than %s", what, text);
    free(text);
}

#endif
