/* soak_memory.c - see soak_memory.h. Linux: /proc. */
#include "soak/soak_memory.h"

#include "soak/soak_http.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct soak_watch {
    int          pid;
    double       every;
    pthread_t    thread;
    atomic_bool  stop;
    soak_memory *seen;
    unsigned     n;
};

static unsigned count_entries(int pid, const char *what)
{
    char     path[64];
    unsigned n = 0;

    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    DIR *d = opendir(path);
    if (!d) return 0;
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Of a process now; false when it has gone. */
static bool memory_of(int pid, soak_memory *out)
{
    char path[64], line[256];

    *out = (soak_memory){ .at = soak_now() };
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    while (fgets(line, sizeof line, f)) {
        double kib;
        if (sscanf(line, "Rss: %lf kB", &kib) == 1) out->rss = kib / 1024;
        if (sscanf(line, "Pss: %lf kB", &kib) == 1) out->pss = kib / 1024;
    }
    fclose(f);
    out->n_threads = count_entries(pid, "task");
    out->n_files = count_entries(pid, "fd");
    return out->rss > 0;
}

static void *watch(void *arg)
{
    soak_watch *w = arg;
    double      next = soak_now();

    while (!atomic_load(&w->stop)) {
        soak_memory m;
        if (soak_now() >= next && memory_of(w->pid, &m)) {
            soak_memory *grown = realloc(w->seen, (w->n + 1) * sizeof *grown);
            if (!grown) break;
            w->seen = grown;
            w->seen[w->n++] = m;
            next += w->every;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    }
    return NULL;
}

soak_watch *soak_watch_start(int pid, double every)
{
    soak_watch *w = calloc(1, sizeof *w);

    if (!w) return NULL;
    w->pid = pid;
    w->every = every;
    if (pthread_create(&w->thread, NULL, watch, w) == 0) return w;
    free(w);
    return NULL;
}

const soak_memory *soak_watch_stop(soak_watch *w, unsigned *n)
{
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    *n = w->n;
    return w->seen;
}

void soak_watch_free(soak_watch *w)
{
    if (!w) return;
    free(w->seen);
    free(w);
}
