/* sysmem.h - how much memory this process may use. */
#ifndef DS4_BASE_SYSMEM_H
#define DS4_BASE_SYSMEM_H

#include <stdint.h>

typedef struct ds4_sysmem {
    uint64_t total_bytes;       /* of the machine, or the limit this process runs under */
    uint64_t free_bytes;        /* can be taken without swapping: free and reclaimable, 0: unknown */
} ds4_sysmem;

ds4_sysmem ds4_sysmem_get(void);

/* Memory of this process that is really in use now, mapped file pages included; 0: unknown. */
uint64_t ds4_sysmem_used(void);
uint64_t ds4_sysmem_peak(void);     /* the most that it was so far */

#endif
