/* mcp_offer.c - tools of MCP servers among those of the agent. */
#include "agent/mcp_local.h"

#include <stdlib.h>
#include <string.h>

static void call_foreign(void *ctx, const ds4_tool_call *call, const volatile int *cancelled,
                         ds4_tool_result *result)
{
    const mcp_bound *b = ctx;
    ds4_err          err = { .code = DS4_OK };
    ds4_str          text = { 0 };
    bool             failed = false;

    const ds4_status st = mcp_talk_call(b->talk, b->name, call->arguments, cancelled, &text, &failed, &err);
    result->failed = st != DS4_OK || failed;
    if (result->failed) ds4_str_add_text(&result->text, "Error: ");
    if (st == DS4_OK) ds4_str_add(&result->text, ds4_str_text(&text), text.n_bytes);
    else ds4_str_addf(&result->text, "MCP server %s: %s", b->talk->settings.name, err.text);
    ds4_str_clear(&text);
}

static ds4_status offer_one(ds4_mcp *m, mcp_talk *talk, const mcp_tool *tool, ds4_tools *t, ds4_err *err)
{
    mcp_bound **more = realloc(m->bound, (m->n_bound + 1) * sizeof *more);
    if (more) m->bound = more;
    mcp_bound *b = calloc(1, sizeof *b);
    if (b) b->name = strdup(tool->name);
    if (!more || !b || !b->name) {
        if (b) free(b->name);
        free(b);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a tool");
    }
    b->talk = talk;
    m->bound[m->n_bound++] = b;
    const ds4_foreign_tool foreign = {
        .name = { tool->shown, strlen(tool->shown) },
        .description = { tool->description, strlen(tool->description) },
        .parameters = { tool->parameters, strlen(tool->parameters) },
        .reads_only = tool->reads_only, .call = call_foreign, .ctx = b,
    };
    return ds4_tools_add(t, &foreign, err);
}

uint32_t ds4_mcp_offer(ds4_mcp *m, ds4_tools *t, ds4_str *told)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        for (uint32_t k = 0; k < m->talk[i]->n_tools; k++) {
            ds4_err err = { .code = DS4_OK };
            if (offer_one(m, m->talk[i], &m->talk[i]->tools[k], t, &err) == DS4_OK) n++;
            else ds4_str_addf(told, "MCP tool %s: %s\n", m->talk[i]->tools[k].shown, err.text);
        }
    }
    return n;
}
