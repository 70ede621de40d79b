/* mcp_fuzz.c - any bytes as a configuration of MCP servers, and any JSON as a server's list of tools and as
 * its answer to a call: what is taken keeps to the bounds, and the text for the model is whole UTF-8. */
#include "agent/mcp_local.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RESULT = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void read_tools(const json_t *result)
{
    char     name[] = "a server";
    mcp_talk talk = { .settings = { .name = name } };
    ds4_err  err = { .code = DS4_OK };

    const ds4_status st = mcp_talk_take_tools(&talk, result, &err);
    if (st != DS4_OK && !*err.text) abort();
    if (talk.n_tools > DS4_MCP_MAX_TOOLS) abort();
    for (uint32_t i = 0; st == DS4_OK && i < talk.n_tools; i++) {
        const char *c = talk.tools[i].shown;
        if (!*c || strlen(c) > 64) abort();
        if (c[strspn(c, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")]) abort();
    }
    mcp_talk_stop(&talk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const ds4_slice text = { (const char *)data, n_bytes };
    ds4_err         err = { .code = DS4_OK };
    ds4_mcp        *m = NULL;
    json_t         *json = NULL;

    if (ds4_mcp_create("/", NULL, &m, &err) != DS4_OK) abort();
    const ds4_status st = ds4_mcp_add_config(m, text, "file", &err);
    if (st != DS4_OK && (ds4_mcp_n_servers(m) || !*err.text)) abort();
    ds4_mcp_free(m);
    if (ds4_rpc_parse(text, &json, NULL) == DS4_OK) {
        ds4_str out = { 0 };
        mcp_result_text(json, MAX_RESULT, &out);
        if (out.n_bytes == 0 || out.n_bytes > MAX_RESULT + 100) abort();
        if (!ds4_utf8_valid(out.data, out.n_bytes)) abort();
        read_tools(json);
        ds4_str_clear(&out);
        json_decref(json);
    }
    return 0;
}
