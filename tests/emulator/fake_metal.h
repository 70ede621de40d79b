/* fake_metal.h - Apple's Metal on any system, as far as the device needs it: kernels run on the emulator, and
 * every use is looked at as Metal's own validation does.
 *
 * Work is done when somebody waits for it, so that a missing wait shows old bytes. Memory of new buffers is
 * filled with 0xcd and ends at an unreadable page. Launches that no barrier separates are done backwards when
 * asked. A wrong use is noted, and told by fake_metal_misuse(). */
#ifndef DS4_TESTS_FAKE_METAL_H
#define DS4_TESTS_FAKE_METAL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fake_metal_limits {
    uint64_t working_set, max_buffer;
    uint32_t max_threads, width;        /* of a group; of a simdgroup */
    bool     has_addresses, has_residency, is_unified, has_device;
    double   s_per_thread;              /* the time that command buffers seem to take */
} fake_metal_limits;

/* Set the limits of an ordinary Mac and begin counting anew. */
fake_metal_limits *fake_metal_reset(void);

typedef enum fake_metal_kind {
    FAKE_QUEUE, FAKE_LIBRARY, FAKE_FUNCTION, FAKE_PIPELINE, FAKE_BUFFER, FAKE_VIEW, FAKE_RESIDENCY,
    FAKE_COMMAND_BUFFER,                /* no object is made */
    FAKE_WORK,                          /* a command buffer ends with an error */
    FAKE_N_KINDS
} fake_metal_kind;

/* The number-th from now on fails; 0: none. */
void fake_metal_fail(fake_metal_kind kind, uint32_t number);

typedef struct fake_metal_counts {
    int32_t  n_live;                    /* objects that were not released */
    uint32_t n_made, n_released;        /* buffers */
    uint32_t n_views;                   /* of them, of the host's memory */
    uint32_t n_commits, n_launches, n_barriers, n_most_launches;    /* the last: of a command buffer */
    uint32_t n_submitters;              /* threads that committed */
    uint64_t most_threads;              /* of a command buffer */
    bool     is_left_resident;          /* residency was requested and ended without a command between */
} fake_metal_counts;
fake_metal_counts fake_metal_count(void);

/* The first wrong use since the reset; NULL: none. */
const char *fake_metal_misuse(void);

/* Do launches backwards where no barrier forbids it. */
void fake_metal_backwards(bool on);

/* Use the API wrongly in one way, 0 .. FAKE_N_MISUSES - 1. */
enum { FAKE_N_MISUSES = 10 };
void fake_metal_use_wrongly(uint32_t way);

#endif
