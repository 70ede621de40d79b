/* kv_layout.c - see kv_layout.h. */
#include "model/kv_layout.h"

#include "kernels/kernels.h"

enum { TAIL_ALIGN = 64 };

/* A token that is taken back has overwritten what the ring held a round before it; so many
 * may be taken back and leave what their predecessors need. A multiple of 4, so that no
 * window of ratio 4 lies across the end of its ring. */
enum { SLACK = DS4_MAX_DRAFT };
_Static_assert(SLACK % 4 == 0, "windows of ratio 4 lie side by side");

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

static uint64_t take(uint64_t *total, uint64_t n_bytes, uint64_t align)
{
    const uint64_t at = *total;
    *total += round_up(n_bytes, align);
    return at;
}

/* The fields of a packed row, in the order of docs/MODEL.md section 7. */
typedef struct row_fields {
    uint32_t n, width[DS4_KV_MAX_PLANES];
} row_fields;

static row_fields attention_fields(const ds4_kv_layout *kv)
{
    const uint32_t packed = (uint32_t)ds4_kv_row_bytes(kv->n_nope, kv->n_rot), rotated = 2 * kv->n_rot;
    return (row_fields){ 3, { kv->n_nope, packed - kv->n_nope - rotated, rotated } };
}

static row_fields index_fields(const ds4_kv_layout *kv)
{
    const uint32_t packed = (uint32_t)ds4_index_row_bytes(kv->n_index), codes = kv->n_index / 2;
    return (row_fields){ 2, { codes, packed - codes } };
}

/* Room for a table of n_rows in memory that holds *total bytes. */
static ds4_kv_rows table(uint64_t *total, uint64_t align, ds4_kv_form form, row_fields f, uint64_t row_bytes,
                         uint32_t n_rows)
{
    ds4_kv_rows t = { .n_rows = n_rows, .n_planes = 1, .width = { (uint32_t)row_bytes } };
    uint64_t    n_bytes = n_rows * row_bytes;

    if (form == DS4_KV_PLANES) {
        t.n_planes = f.n;
        n_bytes = 0;
        for (uint32_t i = 0; i < f.n; i++) {
            t.width[i] = f.width[i];
            n_bytes += round_up((uint64_t)n_rows * f.width[i], DS4_KV_ALIGN);
        }
    }
    t.off = take(total, n_bytes, align);
    return t;
}

/* The ring of a compressor of n values: two windows of ratio 4, or one of ratio 128. */
static ds4_kv_ring compressor(ds4_kv_layout *kv, uint32_t ratio, uint32_t n)
{
    ds4_kv_ring ring = { .n_rows = (ratio == 4 ? 2 * 4 : ratio) + SLACK,
                         .width = ratio == 4 ? 2 * n : n };

    ring.off = take(&kv->tail_bytes, ring.n_rows * 2ull * ring.width * sizeof(float), TAIL_ALIGN);
    return ring;
}

void ds4_kv_layout_make(const ds4_shape *s, ds4_kv_form form, ds4_kv_form cold, ds4_kv_layer *layers,
                        ds4_kv_layout *out)
{
    const bool exact = form == DS4_KV_FLOATS;

    *out = (ds4_kv_layout){
        .form = form, .n_nope = s->n_head - s->n_rot, .n_rot = s->n_rot, .n_index = s->n_index,
        .n_window = s->n_window, .n_layers = s->n_layers + s->draft.n_stages, .n_model = s->n_layers,
        .layer = layers,
    };
    out->row_bytes = exact ? s->n_head * sizeof(float) : ds4_kv_row_bytes(out->n_nope, out->n_rot);
    out->irow_bytes = !s->n_index ? 0 : exact ? s->n_index * sizeof(float) : ds4_index_row_bytes(s->n_index);
    const row_fields row = attention_fields(out), irow = index_fields(out);
    for (uint32_t i = 0; i < out->n_layers; i++) {
        ds4_kv_layer  *l = &layers[i];
        const uint32_t ratio = s->ratio[i], per_block = ratio ? DS4_BLOCK_TOKENS / ratio : 0;

        *l = (ds4_kv_layer){ .ratio = ratio };
        l->raw = table(&out->tail_bytes, TAIL_ALIGN, form, row, out->row_bytes, s->n_window + SLACK);
        if (ratio == 0) continue;
        l->comp = compressor(out, ratio, s->n_head);
        /* Two records of V4 Flash are a multiple of the alignment: its blocks have no gaps,
         * and on disk they end just before a page does. */
        l->row = ratio == 4 ? table(&out->cold_bytes, DS4_KV_ALIGN, cold, row, out->row_bytes, per_block)
                            : table(&out->warm_bytes, DS4_KV_ALIGN, form, row, out->row_bytes, per_block);
        if (ratio != 4) continue;
        l->icomp = compressor(out, ratio, s->n_index);
        l->irow = table(&out->warm_bytes, DS4_KV_ALIGN, form, irow, out->irow_bytes, per_block);
    }
}

uint32_t ds4_kv_blocks(uint32_t n_tokens)
{
    return (n_tokens + DS4_BLOCK_TOKENS - 1) / DS4_BLOCK_TOKENS;
}
