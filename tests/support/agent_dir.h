/* agent_dir.h - folders with files for the tests of the agent. */
#ifndef DS4_TESTS_AGENT_DIR_H
#define DS4_TESTS_AGENT_DIR_H

#include "base/str.h"

/* Two folders beside each other: the agent's root and what must not change. */
typedef struct agent_dir {
    char top[256], root[300], outside[300], state[300];     /* absolute */
} agent_dir;

void agent_dir_make(agent_dir *d, const char *name);    /* fails the test when that does not work */
void agent_dir_remove(const agent_dir *d);

/* Files by a name below a folder; folders above are made. */
void agent_put(const char *folder, const char *name, const char *content);
void agent_get(const char *folder, const char *name, ds4_str *out);         /* replaces *out */
bool agent_is(const char *folder, const char *name, const char *content);   /* a file with this content? */
bool agent_has(const char *folder, const char *name);                       /* anything of this name? */

/* The names, kinds, modes and contents of everything below a folder as 64 hexadecimal digits. */
void agent_hash(const char *folder, char out[65]);

#endif
