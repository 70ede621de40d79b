/* metal_pace.h - when a command buffer has enough work. Numbers only: no Metal in it.
 *
 * The system stops work that keeps the display waiting, so that a command buffer is closed before it takes
 * a tenth of a second, by what the last ones took; and early enough in a token for the GPU to begin. */
#ifndef DS4_BACKEND_METAL_PACE_H
#define DS4_BACKEND_METAL_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { METAL_MOST_LAUNCHES = 256 };     /* of a command buffer */

typedef struct metal_pace {
    double s_per_thread;                /* of the slowest of late; 0: nothing is known */
} metal_pace;

/* A command buffer of so many threads took so many seconds on the GPU. */
void metal_pace_took(metal_pace *p, uint64_t n_threads, double s);

/* Is a command buffer full that has this many launches and threads? */
bool metal_pace_full(const metal_pace *p, uint32_t n_launches, uint64_t n_threads);

#endif
