/* openai_fuzz.c - any bytes as messages and as tools: refused, or safe to render. */
#include "service/openai_json.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void try_messages(ds4_slice json, const ds4_slice *tools, uint32_t n_tools)
{
    ds4_history  h = { 0 };
    ds4_segments text = { 0 };
    ds4_err      err = { .code = DS4_OK };

    if (ds4_openai_messages(json, &h, &err) == DS4_OK) {
        for (int thinking = 0; thinking < 2; thinking++) {
            const ds4_chat_options how = { .thinking = thinking,
                                           .tools = tools,
                                           .n_tools = n_tools };
            ds4_segments_clear(&text);
            if (ds4_chat_render(h.messages, h.n, &how, &text, &err) != DS4_OK &&
                err.text[0] == '\0')
                abort();
        }
    } else if (err.text[0] == '\0') {
        abort();
    }
    ds4_segments_clear(&text);
    ds4_history_clear(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const ds4_slice json = { (const char *)data, n_bytes };
    ds4_slice      *tools = NULL;
    uint32_t        n_tools = 0;

    if (ds4_openai_tools(json, &tools, &n_tools, NULL) == DS4_OK) {
        try_messages(DS4_SLICE("[{\"role\":\"user\",\"content\":\"q\"}]"), tools, n_tools);
    }
    free(tools);
    try_messages(json, NULL, 0);
    return 0;
}
