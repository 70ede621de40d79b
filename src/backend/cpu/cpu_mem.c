/* cpu_mem.c - the memory of the CPU backend: plain host memory, and rows in files. */
#include "backend/cpu/cpu_local.h"

#include "base/log.h"
#include "base/mem_pages.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

void *cpu_reserve(uint64_t n_bytes)
{
    void *p = mmap(NULL, (size_t)(n_bytes ? n_bytes : 1), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Fewer address translations for what every token reads. */
void *cpu_reserve_large(uint64_t n_bytes)
{
    enum { LARGE = 64 << 20 };
    void *data = cpu_reserve(n_bytes);

#ifdef MADV_HUGEPAGE
    if (data && n_bytes >= LARGE) madvise(data, (size_t)n_bytes, MADV_HUGEPAGE);
#endif
    return data;
}

void cpu_release(void *data, uint64_t n_bytes)
{
    if (data) munmap(data, (size_t)(n_bytes ? n_bytes : 1));
}

/* ---- buffers -------------------------------------------------------------------------------- */

static ds4_status new_buf(void *data, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    ds4_buf *buf = data ? malloc(sizeof *buf) : NULL;
    if (!buf) {
        cpu_release(data, n_bytes);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %llu bytes", (unsigned long long)n_bytes);
    }
    *buf = (ds4_buf){ .data = data, .n_bytes = n_bytes };
    *out = buf;
    return DS4_OK;
}

ds4_status cpu_alloc(ds4_dev *dev, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    (void)dev;
    return new_buf(cpu_reserve_large(n_bytes), n_bytes, out, err);
}

ds4_status cpu_alloc_spill(ds4_dev *dev, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    cpu_spill_buf *spill = NULL;

    if (!dev->spill) return cpu_alloc(dev, n_bytes, out, err);
    DS4_TRY(cpu_spill_alloc(dev->spill, n_bytes, &spill, err));
    ds4_buf *buf = malloc(sizeof *buf);
    if (!buf) {
        cpu_spill_release(spill);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a buffer of rows");
    }
    *buf = (ds4_buf){ .n_bytes = n_bytes, .spill = spill };
    *out = buf;
    return DS4_OK;
}

uint64_t cpu_resident(const ds4_dev *dev)
{
    return dev->spill ? cpu_spill_resident(dev->spill) : 0;
}

void cpu_free(ds4_dev *dev, ds4_buf *buf)
{
    (void)dev;
    if (!buf) return;
    if (buf->spill) cpu_spill_release(buf->spill);
    else cpu_release(buf->data, buf->n_bytes);
    free(buf);
}

static ds4_status check_range(ds4_view v, uint64_t n_bytes, ds4_err *err)
{
    if (v.off <= v.buf->n_bytes && n_bytes <= v.buf->n_bytes - v.off) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "%llu bytes at %llu are outside a buffer of %llu",
                    (unsigned long long)n_bytes, (unsigned long long)v.off,
                    (unsigned long long)v.buf->n_bytes);
}

ds4_status cpu_write(ds4_dev *dev, ds4_view to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    (void)dev;
    DS4_TRY(check_range(to, n_bytes, err));
    if (to.buf->spill) return cpu_spill_write(to.buf->spill, to.off, from, n_bytes, err);
    memcpy(cpu_at(to), from, (size_t)n_bytes);
    return DS4_OK;
}

ds4_status cpu_read(ds4_dev *dev, ds4_view from, void *to, uint64_t n_bytes, ds4_err *err)
{
    (void)dev;
    DS4_TRY(check_range(from, n_bytes, err));
    if (from.buf->spill) return cpu_spill_read(from.buf->spill, from.off, to, n_bytes, err);
    memcpy(to, cpu_at(from), (size_t)n_bytes);
    return DS4_OK;
}

/* The inner pages go back to the system. */
void cpu_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes)
{
    /* Files keep their space, and a row is written before it is read again. */
    if (at.buf->spill || ds4_pages_give_back(cpu_at(at), n_bytes)) return;
    if (!dev->keeps_pages) {
        ds4_log(DS4_LOG_WARN, "memory", "the system does not take memory back; what was used stays in use");
    }
    dev->keeps_pages = true;
}
