/* cpu_kv.c - see cpu_kv.h. */
#include "backend/cpu/cpu_kv.h"

#include <string.h>

static uint64_t record_bytes(const ds4_kv_rows *t)
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < t->n_planes; i++) n_bytes += t->width[i];
    return n_bytes;
}

void cpu_kv_join(const ds4_kv_rows *t, const uint8_t *base, const ds4_kv_range *at, uint32_t n,
                 uint8_t *records)
{
    const uint64_t stride = record_bytes(t);

    for (uint32_t i = 0; i < t->n_planes; i++) {
        for (uint32_t r = 0; r < n; r++) {
            memcpy(records + r * stride, base + at[i].off + (uint64_t)r * t->width[i], t->width[i]);
        }
        records += t->width[i];
    }
}

void cpu_kv_split(const ds4_kv_rows *t, uint8_t *base, const ds4_kv_range *at, uint32_t n,
                  const uint8_t *records)
{
    const uint64_t stride = record_bytes(t);

    if (t->n_planes == 1) {
        memcpy(base + at[0].off, records, (size_t)at[0].n_bytes);
        return;
    }
    for (uint32_t i = 0; i < t->n_planes; i++) {
        for (uint32_t r = 0; r < n; r++) {
            memcpy(base + at[i].off + (uint64_t)r * t->width[i], records + r * stride, t->width[i]);
        }
        records += t->width[i];
    }
}
