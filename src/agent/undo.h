/* undo.h - the way back: what every file was before the agent changed it.
 *
 * A folder outside of the root holds the contents (keep.h), a journal and a list of the tree. A change is
 * written down, with the content that is lost and the one that comes, and synced before it happens; a command
 * is surrounded by two looks at the whole tree. Marks are places in the journal. Going back to one gives each
 * file that was changed since the content of then, unless somebody else changed it in between.
 *
 * A crash leaves a journal that says at least what happened. A line that was not finished is dropped, and a
 * command that was not finished is looked at when the journal is opened again. */
#ifndef DS4_AGENT_UNDO_H
#define DS4_AGENT_UNDO_H

#include "agent/root.h"

typedef struct ds4_undo ds4_undo;

typedef struct ds4_undo_limits {            /* 0 takes the number in brackets */
    uint64_t max_file_bytes;                /* of a file that is kept before a command [8 MiB] */
    uint64_t max_bytes;                     /* of all that is kept before commands [1 GiB] */
    size_t   max_entries;                   /* names that a look at the tree covers [100000] */
} ds4_undo_limits;

/* Open or make the folder dir, which must not lie in the root. root is lent.
 *
 * Returns DS4_OK; DS4_E_ARG for a folder inside the root; DS4_E_IO; DS4_E_FORMAT for a journal of something
 * else; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_undo_open(ds4_undo **out, const ds4_root *root, const char *dir,
                                        const ds4_undo_limits *limits, ds4_err *err);
void                      ds4_undo_close(ds4_undo *u);      /* NULL is fine */

/* Set a mark: a number that grows, on the disk when this returns. Returns DS4_OK; DS4_E_IO. */
DS4_MUST_CHECK ds4_status ds4_undo_mark(ds4_undo *u, uint64_t *mark, ds4_err *err);

/* Before a tool changes one file: keep what it is and write down what it will be.
 *
 *   name   without links (ds4_root_real)
 *   now    the content that comes; NULL: the file goes away
 *   mode   its permissions, 0: those it has, or 0644
 *
 * Returns DS4_OK: it may be changed. DS4_E_IO (a full disk), DS4_E_LIMIT, DS4_E_NOMEM: it must not. */
DS4_MUST_CHECK ds4_status ds4_undo_before(ds4_undo *u, const char *name, const ds4_slice *now, mode_t mode,
                                          ds4_err *err);

/* Before a command: look at the tree and keep what is new in it. What is not covered (large files, what
 * .gitignore leaves out, the end of a very large tree) is appended to *told as one sentence; may be NULL.
 * Returns as ds4_undo_before(). */
DS4_MUST_CHECK ds4_status ds4_undo_begin(ds4_undo *u, ds4_str *told, ds4_err *err);

/* A file that differs from what the last look saw. */
typedef struct ds4_undo_change {
    const char *name;
    bool        made, removed, kept;    /* kept: it can be restored */
    bool        is_text;                /* before and after are lent contents of a text file */
    ds4_slice   before, after;
} ds4_undo_change;

typedef void ds4_undo_see_fn(void *ctx, const ds4_undo_change *change);

/* After a command, and any time while one runs: look again, write down what changed, and tell of each.
 *
 *   more_follows   the command still runs: other changes may follow
 *   see            may be NULL
 *
 * Returns DS4_OK; DS4_E_IO when it could not be written down. */
DS4_MUST_CHECK ds4_status ds4_undo_end(ds4_undo *u, bool more_follows, ds4_undo_see_fn *see, void *ctx,
                                       ds4_err *err);

/* Go back to a mark. One line for each file is appended to *told. Later marks are forgotten. After a crash
 * in it, it can be called again.
 *
 * Returns DS4_OK, also when a file was left alone; DS4_E_ARG for a mark that is not known; DS4_E_IO when some
 * could not be written: the others have been. */
DS4_MUST_CHECK ds4_status ds4_undo_restore(ds4_undo *u, uint64_t mark, ds4_str *told, ds4_err *err);

#endif
