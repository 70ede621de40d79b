/* metal_pace.c - see metal_pace.h. */
#include "backend/gpu/metal/metal_pace.h"

#define MOST_SECONDS 0.1

/* Before anything was measured: a GPU of a small Mac does this in milliseconds. */
enum { FIRST_THREADS = 8 << 20 };

/* A slow one counts at once and is forgotten slowly: work differs from kernel to kernel. */
void metal_pace_took(metal_pace *p, uint64_t n_threads, double s)
{
    if (n_threads == 0 || !(s > 0.0)) return;
    const double now = s / (double)n_threads, faded = 0.9 * p->s_per_thread;
    p->s_per_thread = now > faded ? now : faded;
}

bool metal_pace_full(const metal_pace *p, uint32_t n_launches, uint64_t n_threads)
{
    if (n_launches >= METAL_MOST_LAUNCHES) return true;
    if (p->s_per_thread > 0.0) return p->s_per_thread * (double)n_threads >= MOST_SECONDS;
    return n_threads >= FIRST_THREADS;
}
