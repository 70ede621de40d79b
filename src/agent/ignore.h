/* ignore.h - which names the .gitignore files of a tree leave out.
 *
 * The rules are those of gitignore(5): the last pattern that fits decides, deeper files come later, `!` takes
 * back, a slash ties a pattern to its folder, and below an ignored folder nothing can be taken back.
 * Patterns are hostile: a match costs at most the product of both lengths. */
#ifndef DS4_AGENT_IGNORE_H
#define DS4_AGENT_IGNORE_H

#include "base/err.h"
#include "base/str.h"

enum {
    DS4_IGNORE_MAX_BYTES = 1 << 20,     /* of one file; what follows is not read */
    DS4_IGNORE_MAX_PATTERN = 1024,      /* bytes of one pattern; longer ones fit nothing */
    DS4_IGNORE_MAX_PATTERNS = 20000,    /* of all files together */
};

typedef struct ds4_ignore ds4_ignore;

ds4_ignore *ds4_ignore_create(void);            /* NULL without memory */
void        ds4_ignore_free(ds4_ignore *ignore);

/* Add the patterns of one file that lies in folder ("" is the top). Files are added from the top down.
 * Returns DS4_OK; DS4_E_LIMIT when there are too many patterns; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_ignore_add(ds4_ignore *ignore, const char *folder, ds4_slice text,
                                         ds4_err *err);

/* Count the patterns, and go back to that many: a walk that leaves a folder drops its file. */
size_t ds4_ignore_count(const ds4_ignore *ignore);
void   ds4_ignore_drop(ds4_ignore *ignore, size_t n_patterns);

/* Is the name left out by a pattern? Only the name itself is looked at, so that a walk asks of each folder
 * before it enters it. name is relative to the top, without a slash at its ends. */
bool ds4_ignore_matches(const ds4_ignore *ignore, const char *name, bool is_folder);

/* Does one pattern of a shell fit the whole name? `*` and `?` stop at slashes, a component `**` is any number
 * of folders; without a slash, the last component alone is compared. For the arguments of tools. */
bool ds4_glob_matches(const char *pattern, const char *name);

#endif
