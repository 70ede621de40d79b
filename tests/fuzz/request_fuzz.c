/* request_fuzz.c - any bytes as a request body. The first byte chooses the API. What is read
 * is rendered too, as far as the protocol lets it. */
#include "app/server/request.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static bool recall(void *ctx, ds4_slice id, ds4_arena *arena, ds4_slice *items)
{
    (void)ctx;
    if (id.n_bytes % 2) return false;
    *items = ds4_arena_copy(arena, DS4_SLICE("{\"role\":\"user\",\"content\":\"earlier\"}"));
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const ds4_request_defaults defaults = { .protocol = DS4_PROTOCOL_V4,
                                            .sampling = { .temperature = 1, .top_p = 1 } };
    ds4_request                rq = { .api = DS4_API_CHAT };
    ds4_segments               text = { 0 };
    ds4_err                    err = { .code = DS4_OK };

    if (n_bytes == 0) return 0;
    rq.api = (ds4_api)(data[0] % DS4_API_OTHER);
    const ds4_slice body = { (const char *)data + 1, n_bytes - 1 };
    if (ds4_request_read(&rq, body, &defaults, recall, NULL, &err) == DS4_OK) {
        if (rq.n == 0 || rq.n_messages + rq.raw == 0) abort();
        if (ds4_request_render(&rq, &text, &err) != DS4_OK && err.text[0] == '\0') abort();
    } else if (err.text[0] == '\0') {
        abort();
    }
    ds4_segments_clear(&text);
    ds4_request_clear(&rq);
    return 0;
}
