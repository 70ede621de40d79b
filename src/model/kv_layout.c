/* kv_layout.c - see kv_layout.h. */
#include "model/kv_layout.h"

#include "kernels/kernels.h"

/* Two rows of V4 Flash are a multiple of it: its blocks have no gaps, and on disk they end
 * just before a page does. */
enum { BLOCK_ALIGN = 16 };

static uint64_t take(uint64_t *total, uint64_t n_bytes, uint64_t align)
{
    const uint64_t at = *total;
    *total += (n_bytes + align - 1) / align * align;
    return at;
}

void ds4_kv_layout_make(const ds4_shape *s, bool exact, ds4_kv_layer *layers, ds4_kv_layout *out)
{
    *out = (ds4_kv_layout){
        .n_nope = s->n_head - s->n_rot, .n_rot = s->n_rot, .n_index = s->n_index, .n_window = s->n_window,
        .exact = exact, .n_layers = s->n_layers, .layer = layers,
    };
    out->row_bytes = exact ? s->n_head * sizeof(float) : ds4_kv_row_bytes(out->n_nope, out->n_rot);
    out->irow_bytes = !s->n_index ? 0 : exact ? s->n_index * sizeof(float) : ds4_index_row_bytes(s->n_index);
    for (uint32_t i = 0; i < s->n_layers; i++) {
        ds4_kv_layer  *l = &layers[i];
        const uint32_t ratio = s->ratio[i];

        *l = (ds4_kv_layer){ .ratio = ratio };
        l->raw_off = take(&out->tail_bytes, s->n_window * out->row_bytes, 64);
        if (ratio == 0) continue;
        /* Values and scores of the last two windows of ratio 4, or of one of ratio 128. */
        l->comp_off = take(&out->tail_bytes,
                           (ratio == 4 ? 8 * 2 : 128) * 2ull * s->n_head * sizeof(float), 64);
        l->row_off = take(ratio == 4 ? &out->cold_bytes : &out->warm_bytes,
                          DS4_BLOCK_TOKENS / ratio * out->row_bytes, BLOCK_ALIGN);
        if (ratio != 4) continue;
        l->icomp_off = take(&out->tail_bytes, 8 * 2 * 2ull * s->n_index * sizeof(float), 64);
        l->irow_off = take(&out->warm_bytes, DS4_BLOCK_TOKENS / ratio * out->irow_bytes,
                           BLOCK_ALIGN);
    }
}

uint32_t ds4_kv_blocks(uint32_t n_tokens)
{
    return (n_tokens + DS4_BLOCK_TOKENS - 1) / DS4_BLOCK_TOKENS;
}
