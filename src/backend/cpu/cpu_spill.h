/* cpu_spill.h - rows that lie in unlinked files, and a cache of those that were used last.
 *
 * A buffer is a file. Single rows are written to it as they are made and fetched as they are
 * chosen, a batch at a time: what the cache has is copied, the rest is read, all of it under way
 * at once. The cache is all the memory that this takes; the system keeps pages of the files
 * as long as it has memory to spare. Rows of one cache have one length and never change while
 * anybody may fetch them. Any thread may fetch and put; the rest is for one at a time. */
#ifndef DS4_BACKEND_CPU_SPILL_H
#define DS4_BACKEND_CPU_SPILL_H

#include "base/err.h"

typedef struct cpu_spill cpu_spill;     /* the cache, shared by the buffers of a device */
typedef struct cpu_spill_buf cpu_spill_buf;

/*   dir         lent until the call returns; a folder on a disk
 *   max_bytes   that the cache may take
 *   row_bytes   of each row                                                               */
DS4_MUST_CHECK ds4_status cpu_spill_create(const char *dir, uint64_t max_bytes, uint64_t row_bytes,
                                           cpu_spill **out, ds4_err *err);
void                      cpu_spill_free(cpu_spill *s);         /* NULL is fine */

/* Zeroed memory. Returns DS4_OK; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status cpu_spill_alloc(cpu_spill *s, uint64_t n_bytes, cpu_spill_buf **out,
                                          ds4_err *err);
void                      cpu_spill_release(cpu_spill_buf *b);

/* Copy in or out, past the cache. */
DS4_MUST_CHECK ds4_status cpu_spill_write(cpu_spill_buf *b, uint64_t off, const void *from,
                                          uint64_t n_bytes, ds4_err *err);
DS4_MUST_CHECK ds4_status cpu_spill_read(cpu_spill_buf *b, uint64_t off, void *to, uint64_t n_bytes,
                                         ds4_err *err);

/* ---- rows ------------------------------------------------------------------------------------- */

typedef struct cpu_spill_row {
    cpu_spill_buf *b;
    uint64_t       off;
} cpu_spill_row;

enum { CPU_SPILL_BATCH = 64 };          /* rows fetched at once */

/* Both return 0 or the reason for cpu_spill_failed(). n <= CPU_SPILL_BATCH. */
DS4_MUST_CHECK int cpu_spill_put(cpu_spill_row row, const void *from);
DS4_MUST_CHECK int cpu_spill_fetch(cpu_spill *s, const cpu_spill_row *row, uint32_t n, uint8_t *to);

/* Fills err, returns DS4_E_IO. */
ds4_status cpu_spill_failed(const cpu_spill *s, int reason, ds4_err *err);

uint64_t cpu_spill_resident(const cpu_spill *s);        /* bytes of the cache in use */

#endif
