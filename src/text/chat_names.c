/* chat_names.c - what the words in requests and model files mean for a conversation. */
#include "text/chat.h"
#include "text/markers.h"

#include <string.h>

typedef struct name_value {
    const char *name;
    int         value;
} name_value;

/* The value of a name, or -1. */
static int find_name(const name_value *table, size_t n, ds4_slice name)
{
    for (size_t i = 0; i < n; i++) {
        const ds4_slice known = { table[i].name, strlen(table[i].name) };
        if (ds4_slice_eq(known, name)) return table[i].value;
    }
    return -1;
}

#define FIND_NAME(table, name) find_name((table), sizeof(table) / sizeof((table)[0]), (name))

static bool contains(ds4_slice text, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.n_bytes; i++) {
        if (memcmp(text.data + i, word, n) == 0) return true;
    }
    return false;
}

ds4_protocol ds4_protocol_detect(const char *name, ds4_slice chat_template, const ds4_vocab *v)
{
    const ds4_slice model_name = { name ? name : "", name ? strlen(name) : 0 };

    if (contains(chat_template, DS4_MARK_SYSTEM) || (v && ds4_vocab_specials(v)->system >= 0)) {
        return DS4_PROTOCOL_V41;
    }
    if (contains(chat_template, "Beyond maximum") || contains(model_name, "0731")) {
        return DS4_PROTOCOL_V4_0731;
    }
    return DS4_PROTOCOL_V4;
}

bool ds4_effort_from_name(ds4_slice name, ds4_effort *effort, bool *thinking)
{
    static const name_value EFFORTS[] = {
        { "none", DS4_EFFORT_DEFAULT }, { "off", DS4_EFFORT_DEFAULT },
        { "disabled", DS4_EFFORT_DEFAULT }, { "minimal", DS4_EFFORT_DEFAULT },
        { "low", DS4_EFFORT_LOW },
        { "medium", DS4_EFFORT_HIGH }, { "high", DS4_EFFORT_HIGH }, { "xhigh", DS4_EFFORT_HIGH },
        { "max", DS4_EFFORT_MAX }, { "ultra", DS4_EFFORT_MAX },
    };
    const int value = FIND_NAME(EFFORTS, name);
    if (value < 0) return false;
    *effort = (ds4_effort)value;
    *thinking = value != DS4_EFFORT_DEFAULT;
    return true;
}

bool ds4_role_from_name(ds4_slice name, ds4_role *role)
{
    static const name_value ROLES[] = {
        { "system", DS4_ROLE_SYSTEM },  { "developer", DS4_ROLE_DEVELOPER },
        { "user", DS4_ROLE_USER },      { "assistant", DS4_ROLE_ASSISTANT },
        { "tool", DS4_ROLE_TOOL },      { "function", DS4_ROLE_TOOL },
        { "latest_reminder", DS4_ROLE_REMINDER },
    };
    const int value = FIND_NAME(ROLES, name);
    if (value >= 0) *role = (ds4_role)value;
    return value >= 0;
}

bool ds4_task_from_name(ds4_slice name, ds4_task *task)
{
    static const name_value TASKS[] = {
        { "action", DS4_TASK_ACTION },       { "query", DS4_TASK_QUERY },
        { "authority", DS4_TASK_AUTHORITY }, { "domain", DS4_TASK_DOMAIN },
        { "read_url", DS4_TASK_READ_URL },   { "title", DS4_TASK_TITLE },
    };
    const int value = FIND_NAME(TASKS, name);
    if (value >= 0) *task = (ds4_task)value;
    return value >= 0;
}
