/* tool_ask.c - how a call fails, is refused, or asks the user. */
#include "agent/tools_local.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fail_with(tool_run *r, const char *fmt, va_list args)
{
    char text[1024];

    if (r->failed) return;          /* the first reason counts */
    vsnprintf(text, sizeof text, fmt, args);
    ds4_str_truncate(&r->body, 0);
    ds4_str_addf(&r->body, "Error: %s.", text);
    r->failed = true;
}

void tool_fail(tool_run *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fail_with(r, fmt, args);
    va_end(args);
}

void tool_deny(tool_run *r, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fail_with(r, fmt, args);
    va_end(args);
    r->denied = true;
}

bool tool_ask(tool_run *r, const char *what, const ds4_str *diff, bool *always)
{
    const ds4_tools   *t = r->t;
    const ds4_question q = {
        .call_id = r->call->id, .tool = r->call->name, .what = { what, strlen(what) },
        .diff = { diff ? ds4_str_text(diff) : "", diff ? diff->n_bytes : 0 }, .may_always = true,
    };

    if (*always) return true;
    const ds4_permission answer = t->ask ? t->ask(t->ask_ctx, &q) : DS4_PERMISSION_DENY;
    if (answer == DS4_PERMISSION_ALWAYS) *always = true;
    if (answer == DS4_PERMISSION_DENY) tool_deny(r, "the user did not allow it");
    return answer != DS4_PERMISSION_DENY;
}

bool tool_may_change(tool_run *r, const char *what, const ds4_str *diff)
{
    if (r->failed) return false;
    if (r->t->mode == DS4_TOOLS_READ_ONLY) {
        tool_deny(r, "read-only mode: nothing is changed");
        return false;
    }
    return r->t->mode != DS4_TOOLS_ASK || tool_ask(r, what, diff, &r->t->always_change);
}
