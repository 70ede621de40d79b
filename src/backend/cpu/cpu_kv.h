/* cpu_kv.h - rows of a session's state, as the kernels want them: one record behind the other.
 *
 * Records and floats are read where they lie. Of planes a record is put together first, and
 * taken apart again: the CPU does not need them, but a device that does is tested against it. */
#ifndef DS4_BACKEND_CPU_KV_H
#define DS4_BACKEND_CPU_KV_H

#include "backend/op.h"

enum { CPU_MAX_RECORD = 8192 };     /* bytes of a packed row: 4096 codes and scales, 512 F16 values */

/* Copy rows between the planes that `at` names and records. */
void cpu_kv_join(const ds4_kv_rows *t, const uint8_t *base, const ds4_kv_range *at, uint32_t n,
                 uint8_t *records);
void cpu_kv_split(const ds4_kv_rows *t, uint8_t *base, const ds4_kv_range *at, uint32_t n,
                  const uint8_t *records);

/* Rows first .. first + n - 1 of the table at base.
 *
 *   room   of planes only: receives the n records                                         */
static inline const uint8_t *cpu_kv_rows(const ds4_kv_rows *t, const uint8_t *base, uint32_t first,
                                         uint32_t n, uint8_t *room)
{
    ds4_kv_range at[DS4_KV_MAX_PLANES];

    if (ds4_kv_rows_at(t, first, n, at) == 1) return base + at[0].off;
    cpu_kv_join(t, base, at, n, room);
    return room;
}

/* Write n records into rows first .. first + n - 1 of the table at base. */
static inline void cpu_kv_write(const ds4_kv_rows *t, uint8_t *base, uint32_t first, uint32_t n,
                                const uint8_t *records)
{
    ds4_kv_range at[DS4_KV_MAX_PLANES];

    ds4_kv_rows_at(t, first, n, at);
    cpu_kv_split(t, base, at, n, records);
}

/* The part of a block that holds compressed row c of a layer; *row is its number there. */
static inline ds4_view cpu_kv_block(const ds4_span *span, const ds4_kv_layer *layer, uint32_t c,
                                    uint32_t *row)
{
    const ds4_block *b = &span->blocks[c / layer->row.n_rows];

    *row = c % layer->row.n_rows;
    return layer->ratio == 4 ? b->cold : b->warm;
}

#endif
