/* tool_args_fuzz.c - any bytes as the arguments of a tool: an answer in UTF-8, and nothing changes.
 *
 * The first line names the tool, the rest are its arguments. The tools are read-only and have no sandbox, so
 * that no command runs; everything before that is the same. */
#include "agent/tools.h"

#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(bool holds)
{
    if (!holds) abort();
}

static void put(const char *folder, const char *name, const char *content)
{
    char  path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *fp = fopen(path, "wb");
    require(fp && fwrite(content, 1, strlen(content), fp) == strlen(content) && fclose(fp) == 0);
}

static ds4_tools *open_tools(void)
{
    static char folder[512];
    const char *top = getenv("TMPDIR");
    ds4_tools  *t = NULL;

    snprintf(folder, sizeof folder, "%s/ds4-fuzz-XXXXXX", top ? top : P_tmpdir);
    require(mkdtemp(folder) != NULL);
    put(folder, "a.c", "int one;\nint two;\n");
    put(folder, ".env", "API_KEY=abcdef0123456789\n");
    put(folder, ".gitignore", "*.o\n");
    const ds4_tools_options opt = { .root = folder, .mode = DS4_TOOLS_READ_ONLY, .without = 7 };
    require(ds4_tools_open(&opt, &t, NULL) == DS4_OK);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static ds4_tools *tools;
    ds4_tool_result   result = { 0 };
    const char       *text = (const char *)data, *end = n_bytes ? memchr(text, '\n', n_bytes) : NULL;
    const size_t      n_name = end ? (size_t)(end - text) : 0, skip = end ? n_name + 1 : 0;

    if (!tools) tools = open_tools();
    const ds4_tool_call call = { DS4_SLICE("1"), { text, n_name }, { text + skip, n_bytes - skip } };
    ds4_tools_call(tools, &call, NULL, NULL, &result);
    require(result.text.n_bytes > 0 && ds4_utf8_valid(result.text.data, result.text.n_bytes));
    require(result.failed == (strncmp(result.text.data, "Error: ", 7) == 0) || !result.failed);
    require(result.n_changes == 0 && !strstr(result.text.data, "abcdef0123456789"));
    ds4_tool_result_clear(&result);
    return 0;
}
