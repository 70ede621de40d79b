/* soak_memory.h - how much memory a process holds, over time. */
#ifndef DS4_SOAK_MEMORY_H
#define DS4_SOAK_MEMORY_H

#include <stdbool.h>

typedef struct soak_memory {
    double   at;       /* seconds of soak_now() */
    double   pss, rss; /* MiB */
    unsigned n_threads, n_files;
} soak_memory;

typedef struct soak_watch soak_watch;

/* Look every `every` seconds, until it is stopped. */
soak_watch        *soak_watch_start(int pid, double every);
const soak_memory *soak_watch_stop(soak_watch *w, unsigned *n); /* in order; lent */
void               soak_watch_free(soak_watch *w);

#endif
