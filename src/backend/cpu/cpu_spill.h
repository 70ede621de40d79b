/* cpu_spill.h - memory of which only as much stays resident as a budget allows; the rest
 * lies in unlinked files.
 *
 * A buffer is a shared mapping of its file, so a row that is needed comes back by a page
 * fault and nothing is ever lost by dropping. Use is noted in grains of 64 KiB, as much as
 * a fault may map at once; when more grains are resident than the budget allows, those not
 * used for longest are unmapped. Any thread may touch; one at a time drops. */
#ifndef DS4_BACKEND_CPU_SPILL_H
#define DS4_BACKEND_CPU_SPILL_H

#include "base/err.h"

#include <stdatomic.h>

enum { CPU_GRAIN = 65536 };

typedef struct cpu_spill cpu_spill;     /* the budget, shared by the buffers of a device */

typedef struct cpu_spill_buf {
    cpu_spill            *spill;
    int                   fd;
    uint8_t              *data;
    uint64_t              n_bytes;
    _Atomic uint32_t     *stamp;        /* [n_grains] time of the last use; 0: not resident */
    uint32_t              n_grains;
    struct cpu_spill_buf *next;
} cpu_spill_buf;

/*   dir         lent until the call returns; a folder on a disk
 *   max_bytes   that may be resident                                                     */
DS4_MUST_CHECK ds4_status cpu_spill_create(const char *dir, uint64_t max_bytes, cpu_spill **out,
                                           ds4_err *err);
void                      cpu_spill_free(cpu_spill *s);         /* NULL is fine */

/* Zeroed memory. Returns DS4_OK; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status cpu_spill_alloc(cpu_spill *s, uint64_t n_bytes, cpu_spill_buf **out,
                                          ds4_err *err);
void                      cpu_spill_release(cpu_spill_buf *b);

/* Copy in or out through the file: nothing becomes resident by it. */
DS4_MUST_CHECK ds4_status cpu_spill_write(cpu_spill_buf *b, uint64_t off, const void *from,
                                          uint64_t n_bytes, ds4_err *err);
DS4_MUST_CHECK ds4_status cpu_spill_read(cpu_spill_buf *b, uint64_t off, void *to, uint64_t n_bytes,
                                         ds4_err *err);
void                      cpu_spill_discard(cpu_spill_buf *b, uint64_t off, uint64_t n_bytes);

uint64_t cpu_spill_resident(const cpu_spill *s);        /* bytes, at most */

/* A grain that becomes resident. */
void cpu_spill_fault(cpu_spill_buf *b, uint32_t i_grain);

struct cpu_spill {
    _Atomic uint32_t  now;              /* grows with faults; never 0 */
    _Atomic uint64_t  n_resident;       /* grains */
    _Atomic uint64_t  n_faults;
    uint64_t          max_resident;     /* grains */
    uint64_t          faults_per_tick;
    char             *dir;
    atomic_flag       dropping;
    cpu_spill_buf    *bufs;             /* changed only between steps */
    cpu_spill_buf    *hand;             /* where dropping goes on */
    uint32_t          hand_at;
};

/* These bytes are about to be used. */
static inline void cpu_spill_touch(cpu_spill_buf *b, uint64_t off, uint64_t n_bytes)
{
    const uint32_t now = atomic_load_explicit(&b->spill->now, memory_order_relaxed);
    const uint32_t last = (uint32_t)((off + n_bytes - 1) / CPU_GRAIN);

    for (uint32_t i = (uint32_t)(off / CPU_GRAIN); i <= last; i++) {
        uint32_t was = atomic_load_explicit(&b->stamp[i], memory_order_relaxed);
        if (was == now) continue;
        if (was == 0 || !atomic_compare_exchange_strong(&b->stamp[i], &was, now)) cpu_spill_fault(b, i);
    }
}

#endif
