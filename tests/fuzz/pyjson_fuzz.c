/* pyjson_fuzz.c - any bytes as JSON: what is accepted is written so that it stays as it is. */
#include "text/pyjson.h"

#include "text/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(bool holds)
{
    if (!holds) abort();
}

/* Walk the whole tree, so that every slice is read. */
static void walk(ds4_slice json, int depth)
{
    ds4_pyjson_iter it;
    ds4_slice       name, value;

    if (depth > 4 || ds4_pyjson_open(&it, json, NULL) != DS4_OK) return;
    while (ds4_pyjson_next(&it, &name, &value)) {
        ds4_str text = { 0 };
        if (it.kind == DS4_JSON_OBJECT) {
            require(ds4_pyjson_decode_string(name, &text, NULL) == DS4_OK);
        }
        require(ds4_utf8_valid(ds4_str_text(&text), text.n_bytes));
        require(ds4_pyjson_kind(value) != DS4_JSON_NONE);
        walk(value, depth + 1);
        ds4_str_clear(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const ds4_slice json = { (const char *)data, n_bytes };
    ds4_str once = { 0 }, twice = { 0 }, text = { 0 };
    ds4_err err;

    const ds4_status st = ds4_pyjson_dump(json, &once, &err);
    require(st == ds4_pyjson_check(json, &err));
    if (st == DS4_OK) {
        require(ds4_utf8_valid(once.data, once.n_bytes));
        require(ds4_pyjson_dump((ds4_slice){ once.data, once.n_bytes }, &twice, &err) == DS4_OK);
        require(once.n_bytes == twice.n_bytes && memcmp(once.data, twice.data, once.n_bytes) == 0);
        walk(json, 0);
    } else {
        require(err.text[0] != '\0' && once.n_bytes == 0);
    }

    /* The bytes are a text too: any text is a string, and comes back repaired. */
    ds4_str repaired = { 0 };
    ds4_utf8_repair(json.data, json.n_bytes, &repaired);
    ds4_str_truncate(&twice, 0);
    ds4_pyjson_add_string(&twice, json);
    require(ds4_pyjson_decode_string((ds4_slice){ twice.data, twice.n_bytes }, &text, &err) ==
            DS4_OK);
    require(text.n_bytes == repaired.n_bytes &&
            memcmp(ds4_str_text(&text), ds4_str_text(&repaired), text.n_bytes) == 0);
    ds4_str_clear(&once);
    ds4_str_clear(&twice);
    ds4_str_clear(&text);
    ds4_str_clear(&repaired);
    return 0;
}
