/* acp_prompt.c - the content of a prompt as a message for a model that reads text. */
#include "app/agent/acp.h"

#include <string.h>

static ds4_status add_resource(const json_t *resource, ds4_str *out, ds4_err *err)
{
    const ds4_slice uri = ds4_rpc_slice(resource, "uri"), text = ds4_rpc_slice(resource, "text");

    if (!json_is_string(json_object_get(resource, "text"))) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "a file in the prompt is no text");
    }
    ds4_str_addf(out, "\n<file name=\"%.*s\">\n", (int)(uri.n_bytes > 4096 ? 4096 : uri.n_bytes), uri.data);
    ds4_str_add(out, text.data, text.n_bytes);
    ds4_str_add_text(out, "\n</file>\n");
    return DS4_OK;
}

/* file:///a/b is written as its path. */
static void add_link(const json_t *block, ds4_str *out)
{
    ds4_slice uri = ds4_rpc_slice(block, "uri");

    if (uri.n_bytes > 7 && memcmp(uri.data, "file://", 7) == 0)
        uri = (ds4_slice){ uri.data + 7, uri.n_bytes - 7 };
    ds4_str_add(out, uri.data, uri.n_bytes);
}

ds4_status ds4_acp_prompt_text(const json_t *blocks, ds4_str *out, ds4_err *err)
{
    if (!json_is_array(blocks)) return ds4_fail(err, DS4_E_FORMAT, "prompt is no list of content");
    for (size_t i = 0; i < json_array_size(blocks); i++) {
        const json_t *block = json_array_get(blocks, i);
        const char   *type = ds4_rpc_text(block, "type");
        if (strcmp(type, "text") == 0) {
            const ds4_slice text = ds4_rpc_slice(block, "text");
            ds4_str_add(out, text.data, text.n_bytes);
        } else if (strcmp(type, "resource_link") == 0) {
            add_link(block, out);
        } else if (strcmp(type, "resource") == 0) {
            DS4_TRY(add_resource(json_object_get(block, "resource"), out, err));
        } else {
            return ds4_fail(err, DS4_E_UNSUPPORTED,
                            "the prompt has content that this agent does not take: %.60s", type);
        }
    }
    if (out->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the prompt");
    return out->n_bytes ? DS4_OK : ds4_fail(err, DS4_E_FORMAT, "the prompt is empty");
}
