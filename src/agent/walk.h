/* walk.h - the files below the root, in the order of their names, as .gitignore leaves them. */
#ifndef DS4_AGENT_WALK_H
#define DS4_AGENT_WALK_H

#include "agent/root.h"

typedef struct ds4_walk_entry {
    const char        *name;        /* below the root; lent */
    const struct stat *st;          /* of the name itself: a link is a link */
    int                dir;         /* the open folder that holds it, */
    const char        *last;        /* where it has this name */
} ds4_walk_entry;

typedef enum ds4_walk_next {
    DS4_WALK_ON,
    DS4_WALK_SKIP,          /* do not enter this folder */
    DS4_WALK_STOP,
} ds4_walk_next;

typedef struct ds4_walk_options {
    bool     all;           /* also what .gitignore leaves out */
    bool     git;           /* also the folder .git, without its objects */
    unsigned max_depth;     /* of folders that are entered; 0: 64 */
    size_t   max_entries;   /* names that are looked at; 0: 200000 */
    /* Called for each name; folders come before what they hold. */
    ds4_walk_next (*see)(void *ctx, const ds4_walk_entry *entry);
    /* Called instead for a name that .gitignore leaves out; may be NULL. */
    void          (*skipped)(void *ctx, const ds4_walk_entry *entry);
    void     *ctx;
} ds4_walk_options;

typedef struct ds4_walk_end {
    size_t n_entries, n_ignored, n_unreadable;
    bool   bounded;         /* max_entries or max_depth left something out */
    bool   stopped;
} ds4_walk_end;

/* Walk over a folder (a name of ds4_root_name) or look at one file. Folders that are links are not entered.
 * Returns DS4_OK, also when some folders cannot be read (see *end); DS4_E_ARG, DS4_E_IO of the name itself;
 * DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_walk(const ds4_root *root, const char *name, const ds4_walk_options *opt,
                                   ds4_walk_end *end, ds4_err *err);

#endif
