/* copy_tree.h - a folder of ours is copied, with what is below it. */
#ifndef DS4_AGENT_COPY_TREE_H
#define DS4_AGENT_COPY_TREE_H

#include "base/err.h"

/* Copy the files of a folder and of those in it to a new one. Files of folders inside share their bytes with
 * the first where the system can: they must never be changed in place. Links and devices are left out.
 *
 * Returns DS4_OK, also when `from` is not there; DS4_E_IO; DS4_E_LIMIT for a tree of more than a few floors;
 * DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_copy_tree(const char *from, const char *to, ds4_err *err);

#endif
