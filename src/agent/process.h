/* process.h - what the system says of a process (Linux). */
#ifndef DS4_AGENT_PROCESS_H
#define DS4_AGENT_PROCESS_H

#include <stdbool.h>

typedef struct ds4_process {
    int  parent;
    char state;                 /* 'Z' has ended */
    int  n_filters;             /* of seccomp: more than this program's own are those of a sandbox of ours */
} ds4_process;

bool ds4_process_look(int pid, ds4_process *out);       /* false: there is none, or this is no Linux */

/* Does it run in a sandbox of ours? A container may have put filters on everybody. */
bool ds4_process_is_confined(const ds4_process *p);

#endif
