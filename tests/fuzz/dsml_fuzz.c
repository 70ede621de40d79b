/* dsml_fuzz.c - any bytes as a model's output. The first byte chooses: thinking or not, how
 * the rest is cut, whether the limit ended it. */
#include "text/dsml.h"
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

static const ds4_slice TOOL = { "{\"name\": \"a\", \"parameters\": {\"properties\": {\"t\": {}}}}",
                                54 };

static bool grew(ds4_slice now, ds4_str *seen)
{
    if (now.n_bytes < seen->n_bytes || memcmp(now.data, ds4_str_text(seen), seen->n_bytes) != 0) {
        return false;
    }
    ds4_str_add(seen, now.data + seen->n_bytes, now.n_bytes - seen->n_bytes);
    return true;
}

static ds4_dsml *read_all(const uint8_t *data, size_t n_bytes, uint8_t mode, size_t piece)
{
    const ds4_dsml_options opt = { .thinking = mode & 1, .tools = &TOOL, .n_tools = mode >> 1 & 1 };
    ds4_dsml *r = NULL;
    ds4_str   reasoning = { 0 }, content = { 0 };

    require(ds4_dsml_create(&opt, &r, NULL) == DS4_OK);
    for (size_t i = 0; i < n_bytes; i += piece) {
        const size_t n = n_bytes - i < piece ? n_bytes - i : piece;
        require(ds4_dsml_bytes(r, (const char *)data + i, n, NULL) == DS4_OK);
        require(grew(ds4_dsml_get(r)->reasoning, &reasoning) &&
                grew(ds4_dsml_get(r)->content, &content));
        ds4_dsml_in_structure(r);
    }
    require(ds4_dsml_finish(r, mode >> 2 & 1, NULL) == DS4_OK);
    require(grew(ds4_dsml_get(r)->reasoning, &reasoning) &&
            grew(ds4_dsml_get(r)->content, &content));
    ds4_str_clear(&reasoning);
    ds4_str_clear(&content);
    return r;
}

static bool same(ds4_slice a, ds4_slice b)
{
    return ds4_slice_eq(a, b);
}

static void check(const ds4_dsml_result *a)
{
    require(a->state == DS4_DSML_DONE && !a->open);
    require(ds4_utf8_valid(a->reasoning.data, a->reasoning.n_bytes));
    require(ds4_utf8_valid(a->content.data, a->content.n_bytes));
    for (uint32_t i = 0; i < a->n_calls; i++) {
        require(a->calls[i].complete &&
                ds4_utf8_valid(a->calls[i].name.data, a->calls[i].name.n_bytes));
        require(ds4_pyjson_check(a->calls[i].arguments, NULL) == DS4_OK);
        require(ds4_pyjson_kind(a->calls[i].arguments) == DS4_JSON_OBJECT);
    }
    if (a->raw_calls.n_bytes > 0) require(a->n_calls > 0 && a->raw_calls.data[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes == 0) return 0;
    const uint8_t mode = data[0];
    const size_t  piece = (size_t)(mode >> 3) % 8 + 1;
    ds4_dsml *cut = read_all(data + 1, n_bytes - 1, mode, piece);
    ds4_dsml *whole = read_all(data + 1, n_bytes - 1, mode, n_bytes);
    const ds4_dsml_result *a = ds4_dsml_get(cut), *b = ds4_dsml_get(whole);

    check(a);
    require(a->n_calls == b->n_calls && a->oddities == b->oddities);
    require(same(a->reasoning, b->reasoning) && same(a->content, b->content) &&
            same(a->rest, b->rest));
    require(same(a->raw_calls, b->raw_calls));
    for (uint32_t i = 0; i < a->n_calls; i++) {
        require(same(a->calls[i].name, b->calls[i].name) &&
                same(a->calls[i].arguments, b->calls[i].arguments));
    }
    /* Text that is no call is not lost: at most the tags of reasoning and end are left out. */
    if (a->n_calls == 0 && !memchr(data + 1, '<', n_bytes - 1) &&
        ds4_utf8_valid((const char *)data + 1, n_bytes - 1)) {
        require(a->reasoning.n_bytes + a->content.n_bytes + a->rest.n_bytes == n_bytes - 1);
    }
    ds4_dsml_free(cut);
    ds4_dsml_free(whole);
    return 0;
}
