/* process.c - see process.h. */
#include "agent/process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool ds4_process_look(int pid, ds4_process *out)
{
    char path[64], line[256];

    *out = (ds4_process){ 0 };
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *fp = fopen(path, "r");
    if (!fp) return false;
    while (fgets(line, sizeof line, fp)) {
        int n = 0;
        if (sscanf(line, "PPid: %d", &n) == 1) out->parent = n;
        if (sscanf(line, "Seccomp_filters: %d", &n) == 1) out->n_filters = n;
        if (strncmp(line, "State:", 6) == 0) sscanf(line + 6, " %c", &out->state);
    }
    fclose(fp);
    return true;
}

bool ds4_process_is_confined(const ds4_process *p)
{
    ds4_process own;
    return ds4_process_look((int)getpid(), &own) && p->n_filters > own.n_filters;
}
