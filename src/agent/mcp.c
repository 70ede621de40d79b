/* mcp.c - see mcp.h: the servers of one agent. */
#include "agent/mcp_local.h"

#include <stdlib.h>
#include <string.h>

ds4_status ds4_mcp_create(const char *root, const ds4_mcp_limits *limits, ds4_mcp **out, ds4_err *err)
{
    ds4_mcp *m = calloc(1, sizeof *m);

    if (m) m->root = strdup(root);
    if (!m || !m->root) {
        free(m);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for MCP");
    }
    if (limits) m->limits = *limits;
    ds4_mcp_limits *l = &m->limits;
    if (!l->start_ms) l->start_ms = 30000;
    if (!l->call_ms) l->call_ms = 120000;
    if (!l->call_most_ms) l->call_most_ms = 1800000;
    if (!l->max_message_bytes) l->max_message_bytes = 8u << 20;
    if (!l->max_result_bytes) l->max_result_bytes = 256u << 10;
    *out = m;
    return DS4_OK;
}

void ds4_mcp_free(ds4_mcp *m)
{
    if (!m) return;
    for (uint32_t i = 0; i < m->n; i++) {
        mcp_talk_clear(m->talk[i]);
        free(m->talk[i]);
    }
    for (uint32_t i = 0; i < m->n_bound; i++) {
        free(m->bound[i]->name);
        free(m->bound[i]);
    }
    free(m->bound);
    free(m->root);
    free(m);
}

ds4_status ds4_mcp_add(ds4_mcp *m, const ds4_mcp_server *server, ds4_err *err)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (server->name && strcmp(m->talk[i]->settings.name, server->name) == 0) {
            return ds4_fail(err, DS4_E_ARG, "two MCP servers are called %s", server->name);
        }
    }
    if (m->n == DS4_MCP_MAX_SERVERS) return ds4_fail(err, DS4_E_LIMIT, "more than %u MCP servers", m->n);
    mcp_talk *talk = calloc(1, sizeof *talk);
    if (!talk) return ds4_fail(err, DS4_E_NOMEM, "no memory for an MCP server");
    const ds4_status st = mcp_settings_copy(server, m->root, &talk->settings, err);
    if (st != DS4_OK) {
        free(talk);
        return st;
    }
    talk->root = m->root;
    talk->limits = m->limits;
    m->talk[m->n++] = talk;
    return DS4_OK;
}

static ds4_status add_one(void *ctx, const ds4_mcp_server *server, ds4_err *err)
{
    return ds4_mcp_add(ctx, server, err);
}

ds4_status ds4_mcp_add_config(ds4_mcp *m, ds4_slice json, const char *name, ds4_err *err)
{
    const uint32_t   before = m->n;
    const ds4_status st = mcp_config_read(json, name, add_one, m, err);

    while (st != DS4_OK && m->n > before) {
        mcp_talk_clear(m->talk[--m->n]);
        free(m->talk[m->n]);
    }
    return st;
}

uint32_t ds4_mcp_n_servers(const ds4_mcp *m)
{
    return m->n;
}

uint32_t ds4_mcp_start(ds4_mcp *m, const volatile int *cancelled, ds4_str *told)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        ds4_err err = { .code = DS4_OK };
        if (m->talk[i]->wire || mcp_talk_start(m->talk[i], cancelled, &err) == DS4_OK) n++;
        else ds4_str_addf(told, "MCP server %s: %s\n", m->talk[i]->settings.name, err.text);
    }
    return n;
}

void ds4_mcp_describe(ds4_mcp *m, ds4_str *out)
{
    if (m->n == 0) ds4_str_add_text(out, "no MCP servers\n");
    for (uint32_t i = 0; i < m->n; i++) {
        const mcp_talk *talk = m->talk[i];
        ds4_str_addf(out, "%s: %s\n", talk->settings.name, talk->wire ? talk->label : "not running");
        for (uint32_t k = 0; k < talk->n_tools; k++) {
            ds4_str_addf(out, "  %s%s\n", talk->tools[k].shown,
                         talk->tools[k].reads_only ? " (only reads)" : "");
        }
    }
}
