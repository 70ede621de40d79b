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

ds4_status cpu_alloc(ds4_dev *dev, ds4_mem kind, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    cpu_buf *buf = calloc(1, sizeof *buf);

    if (!buf) return ds4_fail(err, DS4_E_NOMEM, "no memory for a buffer");
    buf->head = (ds4_buf){ .backend = dev->backend, .kind = kind, .n_bytes = n_bytes };
    if (kind == DS4_MEM_COLD && dev->spill) {
        const ds4_status st = cpu_spill_alloc(dev->spill, n_bytes, &buf->spill, err);
        if (st != DS4_OK) {
            free(buf);
            return st;
        }
    } else if (!(buf->head.host = cpu_reserve_large(n_bytes))) {
        free(buf);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %llu bytes", (unsigned long long)n_bytes);
    }
    *out = &buf->head;
    return DS4_OK;
}

/* The system takes memory as it is touched. */
ds4_status cpu_commit(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err)
{
    return ds4_view_check(dev->backend, at, n_bytes, err);
}

uint64_t cpu_resident(const ds4_dev *dev, ds4_mem kind)
{
    return kind == DS4_MEM_COLD && dev->spill ? cpu_spill_resident(dev->spill) : 0;
}

void cpu_free(ds4_dev *dev, ds4_buf *buf)
{
    (void)dev;
    if (!buf) return;
    cpu_spill_buf *spill = cpu_spill_of(buf);
    if (spill) cpu_spill_release(spill);
    else cpu_release(buf->host, buf->n_bytes);
    free(buf);
}

ds4_status cpu_write(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const ds4_copy *c = &copies[i];
        DS4_TRY(ds4_view_check(dev->backend, c->at, c->n_bytes, err));
        cpu_spill_buf *spill = cpu_spill_of(c->at.buf);
        if (spill) DS4_TRY(cpu_spill_write(spill, c->at.off, c->host, c->n_bytes, err));
        else memcpy(cpu_at(c->at), c->host, (size_t)c->n_bytes);
    }
    return DS4_OK;
}

ds4_status cpu_read(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const ds4_copy *c = &copies[i];
        DS4_TRY(ds4_view_check(dev->backend, c->at, c->n_bytes, err));
        cpu_spill_buf *spill = cpu_spill_of(c->at.buf);
        if (spill) DS4_TRY(cpu_spill_read(spill, c->at.off, c->host, c->n_bytes, err));
        else memcpy(c->host, cpu_at(c->at), (size_t)c->n_bytes);
    }
    return DS4_OK;
}

/* The inner pages go back to the system. */
void cpu_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes)
{
    /* Files keep their space, and a row is written before it is read again. */
    if (cpu_spill_of(at.buf) || ds4_pages_give_back(cpu_at(at), n_bytes)) return;
    if (!dev->keeps_pages) {
        ds4_log(DS4_LOG_WARN, "memory", "the system does not take memory back; what was used stays in use");
    }
    dev->keeps_pages = true;
}
