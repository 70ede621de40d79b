/* root.h - the one folder that an agent works in, opened once.
 *
 * Every path that comes from a model is resolved beneath the open folder: by openat2() with
 * RESOLVE_BENEATH where the system has it, else by a walk over the components that follows links
 * itself and gives the same answers. Links that stay inside are followed; `..` above the folder,
 * absolute paths elsewhere, absolute links, /proc's magic links and special files are refused.
 *
 * A file with several names (hard links) is neither read nor changed: another name may lie outside. */
#ifndef DS4_AGENT_ROOT_H
#define DS4_AGENT_ROOT_H

#include "base/err.h"
#include "base/str.h"

#include <sys/stat.h>

enum {
    DS4_ROOT_NAME_BYTES = 4096,         /* of a name below the root, with its zero byte */
    DS4_ROOT_MAX_FILE = 16 << 20,       /* the largest file that is read or written as a whole */
};

typedef struct ds4_root ds4_root;

/* Open a folder. path may be relative to the working directory; links in it are followed.
 * Returns DS4_OK; DS4_E_IO with the reason; DS4_E_ARG for "/"; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_root_open(ds4_root **out, const char *path, ds4_err *err);
void                      ds4_root_close(ds4_root *root);       /* NULL is fine */

int         ds4_root_fd(const ds4_root *root);      /* of the folder; lent */
const char *ds4_root_path(const ds4_root *root);    /* absolute, without links; lent */

/* Resolve by the walk, though openat2() is there: tests compare both. */
void ds4_root_set_walk(ds4_root *root, bool walk);

/* The name below the root of a path as a model writes it: "./a//b/../c" is "a/c", the root's own path is
 * taken off, the root itself is ".". Looks at the text alone.
 * Returns DS4_OK; DS4_E_ARG for a path outside, an empty or too long one or one with a zero byte. */
DS4_MUST_CHECK ds4_status ds4_root_name(const ds4_root *root, ds4_slice path, char out[DS4_ROOT_NAME_BYTES],
                                        ds4_err *err);

/* Follow the links of a name to one without any; parts that do not exist yet are kept as written.
 * Returns DS4_OK; DS4_E_ARG when a link leads outside or in circles; DS4_E_IO. */
DS4_MUST_CHECK ds4_status ds4_root_real(const ds4_root *root, const char *name,
                                        char out[DS4_ROOT_NAME_BYTES], ds4_err *err);

/* Open what has this name (of ds4_root_name). flags are those of open(); O_CREAT is refused. Never waits
 * for a FIFO. The caller closes *fd.
 * Returns DS4_OK; DS4_E_ARG when the name leads outside; DS4_E_IO with the reason. */
DS4_MUST_CHECK ds4_status ds4_root_open_at(const ds4_root *root, const char *name, int flags, int *fd,
                                           ds4_err *err);

/* The facts of what has this name, links followed beneath the root. As ds4_root_open_at(). */
DS4_MUST_CHECK ds4_status ds4_root_stat(const ds4_root *root, const char *name, struct stat *st,
                                        ds4_err *err);

/* Open the folder that holds a name without links (of ds4_root_real); with `make`, create it and those
 * above it when they are missing. *last points into name.
 * Returns as ds4_root_open_at(). */
DS4_MUST_CHECK ds4_status ds4_root_open_parent(const ds4_root *root, const char *name, bool make, int *fd,
                                               const char **last, ds4_err *err);

/* Read a regular file of at most max_bytes; appends to *out. st receives its facts; may be NULL.
 * Returns DS4_OK; DS4_E_ARG for a special file or one with several names; DS4_E_LIMIT for a larger one;
 * DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_root_read(const ds4_root *root, const char *name, size_t max_bytes,
                                        ds4_str *out,
                                        struct stat *st, ds4_err *err);

/* Replace a regular file, or create it and the folders above it. The new content is written beside it,
 * synced and renamed over it, so that a reader sees the old or the new content and nothing between.
 *
 *   name   without links (ds4_root_real)
 *   mode   permissions; of an existing file they are kept when mode is 0, of a new one 0 means 0644
 *
 * Returns DS4_OK; DS4_E_ARG for a folder, a special file or one with several names; DS4_E_IO. */
DS4_MUST_CHECK ds4_status ds4_root_write(const ds4_root *root, const char *name, ds4_slice content,
                                         mode_t mode,
                                         ds4_err *err);

/* Remove what writes of processes that are gone left beside a name (of ds4_root_real). */
void ds4_root_sweep(const ds4_root *root, const char *name);

/* Remove a file, a link or an empty folder; what is not there is fine. name without links in its folders. */
DS4_MUST_CHECK ds4_status ds4_root_remove(const ds4_root *root, const char *name, ds4_err *err);

#endif
