/* mcp_call.c - the agent's MCP client by hand: which tools a server has, and what calls answer.
 *
 *   mcp_call CONFIG                    the tools of all servers of a configuration
 *   mcp_call CONFIG TOOL ARGUMENTS     one call; exit 3 when the tool calls its result an error
 *   mcp_call http://...                every tool of a server is called, with a = 2 and b = 3 */
#include "agent/mcp_local.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int call(mcp_talk *t, const mcp_tool *tool, const char *arguments)
{
    char   *name = strdup(tool->name);  /* the list may be asked for again */
    ds4_str text = { 0 };
    ds4_err err = { .code = DS4_OK };
    bool    failed = false;

    const ds4_status st =
        mcp_talk_call(t, name, (ds4_slice){ arguments, strlen(arguments) }, NULL, &text, &failed, &err);
    printf("%s\n", st == DS4_OK ? ds4_str_text(&text) : err.text);
    ds4_str_clear(&text);
    free(name);
    return st != DS4_OK ? 1 : failed ? 3 : 0;
}

static int call_all(ds4_mcp *m, const char *name, const char *arguments)
{
    int code = name ? 2 : 0;

    for (uint32_t i = 0; i < m->n; i++) {
        for (uint32_t k = 0; k < m->talk[i]->n_tools; k++) {
            const mcp_tool *tool = &m->talk[i]->tools[k];
            if (name && strcmp(tool->shown, name) != 0) continue;
            const int one = call(m->talk[i], tool, arguments);
            if (name) return one;
            if (one) code = one;
        }
    }
    return code;
}

static ds4_status set_up(ds4_mcp *m, const char *from, ds4_err *err)
{
    const ds4_mcp_server server = { .name = "server", .url = from };
    ds4_str              json = { 0 };

    if (strncmp(from, "http", 4) == 0) return ds4_mcp_add(m, &server, err);
    ds4_status st = ds4_file_read(from, DS4_MCP_MAX_CONFIG, &json, err);
    if (st == DS4_OK) st = ds4_mcp_add_config(m, (ds4_slice){ json.data, json.n_bytes }, from, err);
    ds4_str_clear(&json);
    return st;
}

int main(int argc, char **argv)
{
    ds4_mcp *m = NULL;
    ds4_err  err = { .code = DS4_OK };
    ds4_str  told = { 0 };
    int      code = 0;

    if (argc != 2 && argc != 4) return 2;
    char *root = realpath(".", NULL);
    if (ds4_mcp_create(root, NULL, &m, &err) != DS4_OK || set_up(m, argv[1], &err) != DS4_OK) {
        fprintf(stderr, "mcp_call: %s\n", err.text);
        code = 1;
    } else if (ds4_mcp_start(m, NULL, &told) != ds4_mcp_n_servers(m)) {
        fputs(ds4_str_text(&told), stderr);
        code = 1;
    } else if (argc == 4) {
        code = call_all(m, argv[2], argv[3]);
    } else if (strncmp(argv[1], "http", 4) == 0) {
        code = call_all(m, NULL, "{\"a\": 2, \"b\": 3}");
    } else {
        ds4_mcp_describe(m, &told);
        fputs(ds4_str_text(&told), stdout);
    }
    ds4_str_clear(&told);
    ds4_mcp_free(m);
    free(root);
    return code;
}
