/* cpu.c - the CPU backend: opening, and the table of its functions.
 *
 * Memory is plain host memory, so views are pointers and run() has finished when it
 * returns. Every operation splits its work by a fixed rule over independent outputs;
 * nothing is ever summed across threads, which is why results do not depend on their
 * number. */
#include "backend/cpu/cpu_ops.h"

#include "base/knob.h"
#include "base/mem_pages.h"
#include "base/sysmem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void cpu_close(ds4_dev *dev)
{
    if (!dev) return;
    if (dev->team) cpu_scratch_free(dev);
    cpu_weights_free(dev);
    cpu_spill_free(dev->spill);
    ds4_team_free(dev->team);
    cpu_ahead_free(dev);            /* members look at it while they wait */
    free(dev);
}

static unsigned features(void)
{
    return ds4_cpu_features() & ~(unsigned)ds4_knob_u64(DS4_KNOB_CPU_MASK, 0);
}

/* The processor's name as the system knows it, or "". */
static void processor_name(char *out, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char  line[256];

    *out = '\0';
    while (file && !*out && fgets(line, sizeof line, file)) {
        const char *at = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (at) snprintf(out, size, "%.*s", (int)strcspn(at + 2, "\n"), at + 2);
    }
    if (file) fclose(file);
}

static ds4_status cpu_probe(uint32_t i_dev, ds4_dev_info *out, ds4_err *err)
{
    const ds4_sysmem mem = ds4_sysmem_get();

    if (i_dev > 0) return ds4_fail(err, DS4_E_ARG, "the cpu backend has no device %u, only device 0", i_dev);
    *out = (ds4_dev_info){ .mem_total = mem.total_bytes, .mem_free = mem.free_bytes, .unified = true,
                           .page_bytes = (uint32_t)ds4_page_bytes(), .cut = 1, .kv_form = DS4_KV_RECORDS,
                           .n_threads = ds4_cpu_count() };
    processor_name(out->name, sizeof out->name);
    snprintf(out->family, sizeof out->family, "%s", ds4_cpu_features_text(features()));
    return DS4_OK;
}

static ds4_status open_parts(ds4_dev *dev, ds4_err *err)
{
    const ds4_limits *l = &dev->limits;

    DS4_TRY(ds4_team_create(&dev->team, l->n_threads ? l->n_threads : ds4_cpu_count(), err));
    DS4_TRY(cpu_weights_create(dev, err));
    DS4_TRY(cpu_ahead_create(dev, err));
    if (!l->spill_dir) return DS4_OK;
    return cpu_spill_create(l->spill_dir, l->spill_bytes, l->spill_row, &dev->spill, err);
}

static ds4_status cpu_open(uint32_t i_dev, const ds4_limits *limits, ds4_dev **out, ds4_err *err)
{
    ds4_dev_info info;

    DS4_TRY(cpu_probe(i_dev, &info, err));
    ds4_dev *dev = calloc(1, sizeof *dev);
    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for a device");
    dev->backend = &ds4_backend_cpu;
    dev->limits = *limits;
    ds4_kernels_init(&dev->k, features());
    const ds4_status st = open_parts(dev, err);
    if (st != DS4_OK) {
        cpu_close(dev);
        return st;
    }
    *out = dev;
    return DS4_OK;
}

static void cpu_time(ds4_dev *dev, ds4_time_fn *fn, void *ctx)
{
    dev->time_fn = fn;
    dev->time_ctx = ctx;
}

static ds4_status cpu_wait(ds4_dev *dev, ds4_ticket ticket, ds4_err *err)
{
    (void)dev;
    (void)ticket;
    (void)err;
    return DS4_OK;
}

const ds4_backend ds4_backend_cpu = {
    .name = "cpu",
    .probe = cpu_probe,
    .open = cpu_open,
    .close = cpu_close,
    .scratch_bytes = cpu_scratch_bytes,
    .alloc = cpu_alloc,
    .commit = cpu_commit,
    .resident = cpu_resident,
    .free = cpu_free,
    .write = cpu_write,
    .read = cpu_read,
    .discard = cpu_discard,
    .bind = cpu_bind,
    .load = cpu_load,
    .compile = cpu_compile,
    .drop_program = cpu_drop_program,
    .run = cpu_run_program,
    .wait = cpu_wait,
    .time = cpu_time,
};
