/* request_reading.h - what the tests of request bodies share. Bodies are written with ' in place of ". */
#ifndef DS4_TESTS_REQUEST_READING_H
#define DS4_TESTS_REQUEST_READING_H

#include "testing.h"

#include "app/server/request.h"

#define BOS       "<｜begin▁of▁sentence｜>"
#define EOS       "<｜end▁of▁sentence｜>"
#define USER      "<｜User｜>"
#define ASSISTANT "<｜Assistant｜>"

static const ds4_request_defaults defaults = { .protocol = DS4_PROTOCOL_V4,
                                               .sampling = { .temperature = 1, .top_p = 1 } };

/* One response is known: resp_1, and the same under a longer name, to which items belong. */
static char earlier[] =
    "{\"role\":\"user\",\"content\":\"a\"},{\"type\":\"message\",\"role\":\"assistant\","
    "\"id\":\"msg_000000000000000000000000000000010001\","
    "\"content\":[{\"type\":\"output_text\",\"text\":\"b\"}]}";

static inline bool recall(void *ctx, ds4_slice id, ds4_arena *arena, ds4_slice *items)
{
    if (!ds4_slice_is(id, "resp_1") && !ds4_slice_is(id, "resp_00000000000000000000000000000001"))
        return false;
    *items = ds4_arena_copy(arena, (ds4_slice){ ctx, strlen(ctx) });
    return true;
}

/* JSON text from a text with ' for "; texts with " are left alone. Lent until the next call. */
static inline ds4_slice json_of(const char *text)
{
    static char json[1 << 16];
    const bool  plain = strchr(text, '"') != NULL;
    size_t      n = 0;

    for (; text[n] && n + 1 < sizeof json; n++) json[n] = text[n] == '\'' && !plain ? '"' : text[n];
    json[n] = '\0';
    return (ds4_slice){ json, n };
}

/* Read a body; fails the test when it is refused. The caller clears it. */
static inline void read_body(ds4_request *rq, ds4_api api, const char *body)
{
    ds4_err err = { .code = DS4_OK };

    *rq = (ds4_request){ .api = api };
    if (ds4_request_read(rq, json_of(body), &defaults, recall, earlier, &err) != DS4_OK) {
        fail_msg("%s: %s", body, err.text);
    }
}

static inline void renders(ds4_api api, const char *body, const char *expected)
{
    ds4_request  rq;
    ds4_segments text = { 0 };

    read_body(&rq, api, body);
    assert_int_equal(ds4_request_render(&rq, &text, NULL), DS4_OK);
    assert_string_equal(ds4_segments_text(&text).data, expected);
    ds4_segments_clear(&text);
    ds4_request_clear(&rq);
}

static inline void refuses(ds4_api api, const char *body, const char *param, const char *what)
{
    ds4_request rq = { .api = api };
    ds4_err     err = { .code = DS4_OK };

    if (ds4_request_read(&rq, json_of(body), &defaults, recall, earlier, &err) == DS4_OK) {
        fail_msg("taken: %s", body);
    }
    if (!strstr(err.text, what)) fail_msg("%s: %s", body, err.text);
    assert_string_equal(rq.refusal.param, param);
    ds4_request_clear(&rq);
}

#endif
