/* gguf_show.c - see gguf_show.h. */
#include "app/common/gguf_show.h"

#include <inttypes.h>
#include <stdio.h>

#include "format/gguf_text.h"

void ds4_gguf_show_keys(const ds4_gguf *g)
{
    ds4_str text = { 0 };

    printf("\nmetadata, %u keys\n", ds4_gguf_n_keys(g));
    for (uint32_t i = 0; i < ds4_gguf_n_keys(g); i++) {
        ds4_str_truncate(&text, 0);
        ds4_gguf_describe(ds4_gguf_key_at(g, i), &text);
        printf("  %s\n", ds4_str_text(&text));
    }
    ds4_str_clear(&text);
}

void ds4_gguf_show_types(const ds4_gguf *g)
{
    uint64_t n[256] = { 0 }, n_bytes[256] = { 0 };

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        n[t->dtype & 255]++;
        n_bytes[t->dtype & 255] += t->n_bytes;
    }
    printf("\ntensors by type\n");
    for (uint32_t type = 0; type < 256; type++) {
        if (n[type] == 0) continue;
        printf("  %-8s %6" PRIu64 " tensors %15" PRIu64 " bytes\n", ds4_dtype_get(type)->name,
               n[type], n_bytes[type]);
    }
}

void ds4_gguf_show_tensors(const ds4_gguf *g)
{
    ds4_str name = { 0 };

    printf("\ntensors, %u\n", ds4_gguf_n_tensors(g));
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        char dims[96];
        int  n = 0;
        for (uint32_t d = 0; d < t->n_dims && n < (int)sizeof dims; d++) {
            n += snprintf(dims + n, sizeof dims - (size_t)n, d ? " x %" PRIu64 : "%" PRIu64,
                          t->dim[d]);
        }
        ds4_str_truncate(&name, 0);
        ds4_text_clean(t->name, 80, &name);
        printf("  %-40s %-8s %-24s %15" PRIu64 " bytes\n", ds4_str_text(&name),
               ds4_dtype_get(t->dtype)->name, dims, t->n_bytes);
    }
    ds4_str_clear(&name);
}
