/* tools_local.h - what the files of the tools share: the open tools, and one call. */
#ifndef DS4_AGENT_TOOLS_LOCAL_H
#define DS4_AGENT_TOOLS_LOCAL_H

#include "agent/shell_job.h"
#include "agent/root.h"
#include "agent/secrets.h"
#include "agent/tools.h"
#include "agent/undo.h"

#include <jansson.h>

enum {
    TOOLS_MOST_JOBS = 32, TOOLS_MOST_FOREIGN = 256, TOOLS_MOST_SEEN = 4096, TOOLS_MOST_NOTES = 64,
    TOOLS_MOST_ARGUMENTS = 20 << 20,    /* bytes of the arguments of a call */
    TOOLS_LINE_BYTES = 2000,            /* of a line that is shown */
};

/* A file as the model saw it last. */
typedef struct tools_seen {
    char   *name;
    uint8_t hash[32];
} tools_seen;

/* The part of the last result that was not shown, for `more`. */
typedef struct tools_rest {
    ds4_str text;               /* all lines of the result */
    size_t  next;               /* the line to go on at, from 1 */
    char   *file;               /* or: the file, which is read again */
} tools_rest;

typedef struct tools_job {
    uint32_t id;                /* 0: free */
    ds4_shell_job *job;
    size_t   n_told;            /* lines of its output that were shown */
    bool     ended_told;
} tools_job;

typedef struct tools_foreign {
    char           *name, *description, *parameters;
    ds4_foreign_fn *call;
    void           *ctx;
    bool            reads_only;
    bool            always;     /* the user allowed it for good */
} tools_foreign;

struct guard;

struct ds4_tools {
    ds4_root        *root;
    ds4_undo        *undo;
    ds4_sandbox     *sandbox;
    ds4_secrets     *secrets;
    uint64_t         learned_ns;        /* when files with keys were looked for last */
    char            *temp;              /* made by us, removed at the end */
    ds4_tools_mode   mode;
    bool             allow_secrets;
    ds4_ask_fn      *ask;
    void            *ask_ctx;
    ds4_tools_limits limits;
    uint32_t         room;
    volatile int     cancelled;
    bool             always_change, always_command, always_network;
    bool             links_checked;     /* for names that lead outside, see tool_bash.c */
    size_t           n_links_left;
    tools_seen       seen[TOOLS_MOST_SEEN];
    size_t           n_seen;
    tools_rest       rest;
    tools_job        job[TOOLS_MOST_JOBS];
    uint32_t         next_job;
    struct guard    *guard;
    tools_foreign    foreign[TOOLS_MOST_FOREIGN];
    uint32_t         n_foreign;
    ds4_slice       *schemas;
    char           **own_schema;        /* texts of foreign ones */
    char            *noted[TOOLS_MOST_NOTES];   /* folders whose notes were told */
    size_t           n_noted;
};

/* One call. Tools write into `body`; fail() makes it the text of an error. */
typedef struct tool_run {
    ds4_tools           *t;
    const ds4_tool_call *call;
    json_t              *args;
    ds4_str              body;
    bool                 failed, denied;
    bool                 shows_ends;    /* of a long text the beginning and the end, else the beginning */
    bool                 is_more;       /* the body is cut already, and the rest stays */
    ds4_tool_sink_fn    *sink;
    void                *sink_ctx;
    ds4_tool_result     *result;
} tool_run;

/* ---- tool_ask.c ---- */

void tool_fail(tool_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tool_deny(tool_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* May this change happen? Asks when the mode wants it. False: the call has failed. */
bool tool_may_change(tool_run *r, const char *what, const ds4_str *diff);
bool tool_ask(tool_run *r, const char *what, const ds4_str *diff, bool *always);

/* ---- tool_args.c: arguments of any shape; the first that is wrong fails the call ---- */

bool        tool_args_open(tool_run *r, const char *const *known);      /* ends in NULL */
const char *tool_arg_text(tool_run *r, const char *name, bool required, size_t max_bytes, size_t *n_bytes);
int64_t     tool_arg_int(tool_run *r, const char *name, int64_t least, int64_t most, int64_t otherwise);
bool        tool_arg_bool(tool_run *r, const char *name, bool otherwise);
/* The name below the root of a path, or of "." when it is missing and not required. */
bool        tool_arg_path(tool_run *r, const char *name, bool required, char out[DS4_ROOT_NAME_BYTES]);

/* ---- tool_text.c ---- */

size_t tool_count_lines(ds4_slice text);
/* Append lines [first, ...) as long as they fit; returns the line behind the last. */
size_t tool_add_lines(ds4_slice text, size_t first, size_t max_bytes, ds4_str *out);
/* Cut what is too long, keep the rest for `more`. */
void   tool_text_finish(tool_run *r);
/* Output of a program as text: UTF-8, no escape sequences, of a line written over itself the last. */
void   tool_clean_output(ds4_slice bytes, ds4_str *out);
/* The longest line of a result of so many bytes, and a line that is cut there. */
size_t tool_line_bytes(size_t room);
void   tool_add_cut_line(ds4_slice line, size_t most, ds4_str *out);
bool   tool_is_binary(ds4_slice text);

/* ---- tool_files.c ---- */

void tool_read(tool_run *r);
void tool_more(tool_run *r);
void tool_write(tool_run *r);
void tool_edit(tool_run *r);
void tool_add_change(tool_run *r, const char *name, ds4_slice before, ds4_slice after, bool made,
                     bool removed);

/* ---- tool_find.c ---- */

void tool_search(tool_run *r);
void tool_list(tool_run *r);

/* ---- tool_bash.c ---- */

void tool_bash(tool_run *r);
void tool_job(tool_run *r);
void tool_git(tool_run *r);
void tools_end_jobs(ds4_tools *t);
/* Changes by a running job are written down. */
ds4_status tools_settle(ds4_tools *t, ds4_err *err);

/* ---- guard.c: git's own settings, which programs outside of the sandbox obey ---- */

struct guard *guard_take(const ds4_root *root);         /* NULL without memory */
/* Put back what differs. Returns how many files; names them in *told. */
unsigned      guard_check(const struct guard *g, const ds4_root *root, ds4_str *told);
void          guard_free(struct guard *g);

/* ---- notes.c ---- */

/* The notes of the folders above a name that were not told yet, appended to the body. */
void tool_add_notes(tool_run *r, const char *name);

#endif
