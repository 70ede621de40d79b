/* tool_schemas.c - see tool_schemas.h. The model reads each word of it when a session begins. */
#include "agent/tool_schemas.h"

#define TEXT "{\"type\":\"string\"}"
#define TEXT_AS(what) "{\"type\":\"string\",\"description\":\"" what "\"}"
#define NUMBER_AS(what) "{\"type\":\"integer\",\"description\":\"" what "\"}"
#define FLAG_AS(what) "{\"type\":\"boolean\",\"description\":\"" what "\"}"
#define TOOL(name, what, properties, required) \
    "{\"name\":\"" name "\",\"description\":\"" what "\"," \
    "\"parameters\":{\"type\":\"object\",\"properties\":{" \
    properties "},\"required\":[" required "]}}"

const tool_entry tool_entries[TOOLS_OURS] = {
    { "read", TOOL("read", "Read a text file. Each line comes as NUMBER, tab, text.",
        "\"path\":" TEXT ",\"start\":" NUMBER_AS("first line [1]") ",\"lines\":"
        NUMBER_AS("most lines [500]"), "\"path\""), tool_read },
    { "more", TOOL("more", "Show what the last result left out.",
        "\"from\":" NUMBER_AS("line to go on at [the next]"), ""), tool_more },
    { "write", TOOL("write", "Create or replace a whole file. Prefer edit for changes.",
        "\"path\":" TEXT ",\"content\":" TEXT, "\"path\",\"content\""), tool_write },
    { "edit", TOOL("edit", "Replace an exact text in a file.",
        "\"path\":" TEXT ",\"old\":" TEXT_AS("must occur once; no line numbers") ",\"new\":" TEXT
        ",\"all\":" FLAG_AS("replace every occurrence"), "\"path\",\"old\",\"new\""), tool_edit },
    { "search", TOOL("search", "Find lines in files, without what .gitignore names.",
        "\"pattern\":" TEXT ",\"path\":" TEXT ",\"regex\":" FLAG_AS("the pattern is PCRE2, else plain text")
        ",\"glob\":" TEXT_AS("as *.c or src/**/*.h") ",\"ignore_case\":{\"type\":\"boolean\"},\"context\":"
        NUMBER_AS("lines around, to 5") ",\"max\":" NUMBER_AS("[100]"), "\"pattern\""), tool_search },
    { "list", TOOL("list", "List a folder.",
        "\"path\":" TEXT ",\"depth\":" NUMBER_AS("[1]"), ""), tool_list },
    { "bash", TOOL("bash", "Run a shell command in the root folder, confined to it, without network.",
        "\"command\":" TEXT ",\"seconds\":" NUMBER_AS("time limit [120]") ",\"background\":"
        FLAG_AS("return at once, go on as a job") ",\"network\":" FLAG_AS("the user is asked"),
        "\"command\""), tool_bash },
    { "job", TOOL("job", "New output of a job; without id, the list of jobs.",
        "\"id\":{\"type\":\"integer\"},\"wait\":" NUMBER_AS("seconds to wait for its end")
        ",\"end\":" FLAG_AS("end it"), ""), tool_job },
    { "git", TOOL("git", "Status, diff against HEAD, or commit what is below path.",
        "\"do\":{\"type\":\"string\",\"enum\":[\"status\",\"diff\",\"commit\"]},\"path\":" TEXT
        ",\"message\":" TEXT,
        "\"do\""), tool_git },
};
