/* sysmem.h - how much memory this process may use. */
#ifndef DS4_BASE_SYSMEM_H
#define DS4_BASE_SYSMEM_H

#include <stdint.h>

typedef struct ds4_sysmem {
    uint64_t total_bytes;       /* of the machine, or the limit this process runs under */
    uint64_t free_bytes;        /* can be taken without swapping: free and reclaimable, 0: unknown */
} ds4_sysmem;

ds4_sysmem ds4_sysmem_get(void);

/* Lower *mem to what the control groups of a process allow: the tightest of its group and of
 * those above it, version 1 or 2. What a group uses counts but for what can be reclaimed.
 *
 *   groups   the process's /proc/PID/cgroup
 *   root     where the groups' files are, /sys/fs/cgroup */
void ds4_sysmem_limit(ds4_sysmem *mem, const char *groups, const char *root);

/* Memory of this process that is really in use now, mapped file pages included; 0: unknown. */
uint64_t ds4_sysmem_used(void);
uint64_t ds4_sysmem_peak(void);     /* the most that it was so far */

#endif
