/* tools.h - what the model can do to a project: the tools, one call after the other, and the way back.
 *
 * The loop (agent.h) opens the tools on a root folder, shows their schemas to the model, and runs each call
 * that the model writes. A call never fails in C: what went wrong is text for the model. Before each turn of
 * the user the loop sets a mark; restoring it gives every file back the content that it had there.
 *
 * Belongs to one thread, on which the callbacks are called too; only ds4_tools_cancel() may be called from
 * another one. Nothing is printed. */
#ifndef DS4_AGENT_TOOLS_H
#define DS4_AGENT_TOOLS_H

#include "base/err.h"
#include "base/str.h"

/* Modes differ in the things that are done without a question. Masked secrets stay masked in all of them. */
typedef enum ds4_tools_mode {
    DS4_TOOLS_WORK,             /* files under the root are changed, commands run in the sandbox; asked:
                                   the network, and commands where there is no sandbox */
    DS4_TOOLS_ASK,              /* every change and every command is asked first */
    DS4_TOOLS_READ_ONLY,        /* nothing is changed; commands run only where a sandbox forbids writing */
    DS4_TOOLS_YOLO,             /* nothing is asked, commands run without a sandbox */
} ds4_tools_mode;

typedef enum ds4_permission {
    DS4_PERMISSION_DENY,        /* zero, so that a front that knows nothing denies */
    DS4_PERMISSION_ONCE,
    DS4_PERMISSION_ALWAYS,      /* as long as these tools are open: this kind for this tool */
} ds4_permission;

/* One question. Lent during the call. */
typedef struct ds4_question {
    ds4_slice call_id;          /* as in ds4_tool_call */
    ds4_slice tool;             /* its name */
    ds4_slice what;             /* a short line: the command, "write src/a.c", "fetch over the network" */
    ds4_slice diff;             /* of a change that is proposed; empty for none */
    bool      may_always;       /* ALWAYS is offered */
} ds4_question;

typedef ds4_permission ds4_ask_fn(void *ctx, const ds4_question *question);

typedef struct ds4_tools_limits {           /* 0 takes the number in brackets */
    uint64_t max_file_bytes;                /* of a file that is read or written [16 MiB] */
    uint32_t max_result_bytes;              /* of a result, see ds4_tools_set_room() [24 KiB] */
    uint32_t command_seconds;               /* of a command that names no limit [120] */
    uint32_t refresh_seconds;               /* until a running command is reported as a job [60] */
    uint32_t max_jobs;                      /* [8] */
} ds4_tools_limits;

typedef struct ds4_tools_options {
    const char      *root;      /* the folder that everything happens under; opened once */
    ds4_tools_mode   mode;
    bool             allow_secrets;         /* .env and the like are shown as they are */
    const char      *undo_dir;  /* where earlier contents are kept, made if it is missing; outside of the
                                   root; NULL: nothing can be restored */
    ds4_ask_fn      *ask;       /* NULL: what would be asked is denied */
    void            *ask_ctx;
    ds4_tools_limits limits;
    unsigned         without;   /* sandboxes that are not to be used, DS4_SANDBOX_WITHOUT_*; for tests */
} ds4_tools_options;

typedef struct ds4_tools ds4_tools;

/* Returns DS4_OK; DS4_E_IO for a root or an undo folder that cannot be opened; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_tools_open(const ds4_tools_options *opt, ds4_tools **out, ds4_err *err);
void                      ds4_tools_close(ds4_tools *t);        /* NULL is fine; ends all jobs */

/* One sentence on how commands are confined, for the first line of the program. Lent. */
const char *ds4_tools_sandbox(const ds4_tools *t);
const char *ds4_tools_root(const ds4_tools *t);                 /* absolute, without links; lent */

void           ds4_tools_set_mode(ds4_tools *t, ds4_tools_mode mode);
ds4_tools_mode ds4_tools_get_mode(const ds4_tools *t);

/* The most bytes of a result from now on, because the context is nearly full; at most the limit. */
void ds4_tools_set_room(ds4_tools *t, uint32_t n_bytes);

/* ---- what the model sees ------------------------------------------------------------------------- */

/* The tools in a fixed order, foreign ones behind ours in the order of adding: JSON text of bare function
 * objects, {"name": ..., "description": ..., "parameters": {...}}, as ds4_chat_options.tools wants them. The
 * list does not depend on the mode, so that a change of mode costs no cached token. Lent until the next add.
 *
 *   n   receives their number                                                              */
const ds4_slice *ds4_tools_schemas(const ds4_tools *t, uint32_t *n);

/* Append what the project's notes say (AGENTS.md, else CLAUDE.md; names and first lines of skills): text for
 * the system prompt, the same for the same files. At most max_bytes; what was cut is said in it. */
DS4_MUST_CHECK ds4_status ds4_tools_notes(const ds4_tools *t, size_t max_bytes, ds4_str *out, ds4_err *err);

/* ---- calls ----------------------------------------------------------------------------------------- */

typedef struct ds4_tool_call {
    ds4_slice id;               /* of this call, for questions and the front */
    ds4_slice name;
    ds4_slice arguments;        /* JSON text as the model wrote it: hostile */
} ds4_tool_call;

/* A file that a call changed, for whoever shows it. */
typedef struct ds4_tool_change {
    char   *path;               /* relative to the root */
    ds4_str before, after;      /* whole contents; empty when the file was made or removed */
    ds4_str diff;               /* unified, without colours */
    bool    made, removed;
} ds4_tool_change;

/* Zeroed is empty. */
typedef struct ds4_tool_result {
    ds4_str          text;      /* valid UTF-8 for the model; never empty after a call */
    bool             failed;    /* the text begins with "Error: " */
    bool             denied;    /* failed, because the mode or the user said no */
    ds4_tool_change *changes;   /* [n_changes] */
    uint32_t         n_changes;
} ds4_tool_result;

/* Receives output of a command as it arrives: raw bytes, lent. */
typedef void ds4_tool_sink_fn(void *ctx, ds4_slice bytes);

/* Run one call. Blocks until it is done, became a job, or was cancelled.
 *
 *   sink     NULL: only the result is wanted
 *   result   zeroed; filled, also with what went wrong                                     */
void ds4_tools_call(ds4_tools *t, const ds4_tool_call *call, ds4_tool_sink_fn *sink, void *sink_ctx,
                    ds4_tool_result *result);
void ds4_tool_result_clear(ds4_tool_result *result);

/* Any thread: the call that runs ends soon, with a result that says so; with none, the next one does. */
void ds4_tools_cancel(ds4_tools *t);
/* The next calls run again. */
void ds4_tools_resume(ds4_tools *t);

/* ---- tools from elsewhere (MCP) -------------------------------------------------------------------- */

/* Does a call: fills text and failed. `cancelled` may be polled from the thread of the call. */
typedef void ds4_foreign_fn(void *ctx, const ds4_tool_call *call, const volatile int *cancelled,
                            ds4_tool_result *result);

typedef struct ds4_foreign_tool {
    ds4_slice       name;       /* letters, digits, '_' and '-', 1 to 64, not one that is there */
    ds4_slice       description;
    ds4_slice       parameters; /* JSON text of a schema of an object */
    bool            reads_only; /* it says that it changes nothing: not asked in DS4_TOOLS_WORK */
    ds4_foreign_fn *call;
    void           *ctx;        /* lent for the life of the tools */
} ds4_foreign_tool;

/* All texts are copied. Returns DS4_OK; DS4_E_ARG with what is wrong; DS4_E_LIMIT; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_tools_add(ds4_tools *t, const ds4_foreign_tool *tool, ds4_err *err);

/* ---- the way back -------------------------------------------------------------------------------------- */

/* Marks are numbers that grow, stay valid in later processes with the same undo_dir, and are on the disk
 * before this returns. Contents are on the disk before a file is changed.
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED without an undo_dir; DS4_E_IO.                          */
DS4_MUST_CHECK ds4_status ds4_tools_mark(ds4_tools *t, uint64_t *mark, ds4_err *err);

/* Give every file that was changed since the mark its content of then, also files that were made (removed
 * again) or removed. A file that somebody else changed since is left alone and named in *told, one line for
 * each file, restored or left. Later marks are forgotten.
 *
 * Returns DS4_OK; DS4_E_ARG for a mark that is not known; DS4_E_IO when some could not be written. */
DS4_MUST_CHECK ds4_status ds4_tools_restore(ds4_tools *t, uint64_t mark, ds4_str *told, ds4_err *err);

/* Another session is worked on: its folder, as in ds4_tools_options. */
DS4_MUST_CHECK ds4_status ds4_tools_set_undo(ds4_tools *t, const char *undo_dir, ds4_err *err);

#endif
