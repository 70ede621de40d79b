/* kv_tail.c - see kv_tail.h. */
#include "model/kv_tail.h"

#include <stdlib.h>

/* ---- the list ------------------------------------------------------------------------------ */

typedef struct list {
    const ds4_kv_layout *kv;
    ds4_kv_extent        *out;           /* [max] */
    uint32_t             n, max;
    uint64_t             n_bytes;
    ds4_kv_extent         last;          /* not yet in out: its neighbour may join it */
} list;

static void finish(list *l)
{
    if (l->last.n_bytes == 0) return;
    if (l->n < l->max) l->out[l->n] = l->last;
    l->n++;
    l->last.n_bytes = 0;
}

static void add_extent(list *l, ds4_kv_memory memory, uint64_t off, uint64_t n_bytes)
{
    if (n_bytes == 0) return;
    l->n_bytes += n_bytes;
    if (l->last.n_bytes && l->last.memory == memory && l->last.off + l->last.n_bytes == off) {
        l->last.n_bytes += n_bytes;
        return;
    }
    finish(l);
    l->last = (ds4_kv_extent){ memory, off, n_bytes };
}

static void rows(list *l, ds4_kv_memory memory, const ds4_kv_rows *t, uint32_t first, uint32_t n)
{
    ds4_kv_range   range[DS4_KV_MAX_PLANES];
    const uint32_t n_ranges = ds4_kv_rows_at(t, first, n, range);

    for (uint32_t i = 0; i < n_ranges; i++) add_extent(l, memory, range[i].off, range[i].n_bytes);
}

static void raw_window(list *l, const ds4_kv_rows *t, uint32_t pos)
{
    const uint32_t from = pos > l->kv->n_window ? pos - l->kv->n_window : 0;

    for (uint32_t p = from, n; p < pos; p += n) {
        n = ds4_kv_run(p, pos, t->n_rows);
        rows(l, DS4_KV_OWN, t, p % t->n_rows, n);
    }
}

/* Tokens of the unfinished window; before them, of ratio 4, the first halves of the window
 * before: its second halves have served their own row. */
static void compressor(list *l, const ds4_kv_ring *ring, uint32_t ratio, uint32_t pos)
{
    const uint64_t width = ring->width * sizeof(float);
    const uint32_t window = pos / ratio * ratio;

    for (uint32_t score = 0; score < 2; score++) {
        const uint64_t at = ring->off + (uint64_t)score * ring->n_rows * width;
        for (uint32_t p = window - 4; ratio == 4 && window >= 4 && p < window; p++) {
            add_extent(l, DS4_KV_OWN, at + p % ring->n_rows * width, width / 2);
        }
        for (uint32_t p = window, n; p < pos; p += n) {
            n = ds4_kv_run(p, pos, ring->n_rows);
            add_extent(l, DS4_KV_OWN, at + p % ring->n_rows * width, n * width);
        }
    }
}

static void layer(list *l, const ds4_kv_layer *at, uint32_t pos)
{
    const uint32_t in_block = pos % DS4_BLOCK_TOKENS;

    raw_window(l, &at->raw, pos);
    if (at->ratio == 0) return;
    compressor(l, &at->comp, at->ratio, pos);
    rows(l, at->ratio == 4 ? DS4_KV_COLD : DS4_KV_WARM, &at->row, 0, in_block / at->ratio);
    if (at->ratio != 4) return;
    compressor(l, &at->icomp, at->ratio, pos);
    rows(l, DS4_KV_WARM, &at->irow, 0, in_block / at->ratio);
}

static list list_of(const ds4_kv_layout *kv, uint32_t pos, ds4_kv_extent *out, uint32_t max)
{
    list l = { .kv = kv, .out = out, .max = max };

    for (uint32_t i = 0; i < kv->n_model; i++) layer(&l, &kv->layer[i], pos);
    finish(&l);
    return l;
}

uint32_t ds4_kv_tail_extents(const ds4_kv_layout *kv, uint32_t pos, ds4_kv_extent *out, uint32_t max)
{
    return list_of(kv, pos, out, max).n;
}

uint64_t ds4_kv_tail_bytes(const ds4_kv_layout *kv, uint32_t pos)
{
    return list_of(kv, pos, NULL, 0).n_bytes;
}

/* ---- copying ------------------------------------------------------------------------------- */

static ds4_view view_of(const ds4_kv_place *place, const ds4_kv_extent *p)
{
    const ds4_view base = p->memory == DS4_KV_OWN ? place->tail
                        : p->memory == DS4_KV_COLD ? place->last.cold : place->last.warm;
    return (ds4_view){ base.buf, base.off + p->off };
}

/* Copy all extents, to `into` or else from `from`, in one go. */
static ds4_status copy(const ds4_kv_place *place, uint32_t pos, uint8_t *into, const uint8_t *from,
                       ds4_err *err)
{
    const uint32_t n = ds4_kv_tail_extents(place->kv, pos, NULL, 0);
    ds4_kv_extent  *p = malloc((n + 1) * sizeof *p);
    ds4_copy      *c = malloc((n + 1) * sizeof *c);
    uint8_t       *bytes = into ? into : (uint8_t *)(uintptr_t)from;    /* only read from then */
    ds4_status     st;

    if (p && c) {
        ds4_kv_tail_extents(place->kv, pos, p, n);
        for (uint32_t i = 0; i < n; bytes += p[i++].n_bytes) {
            c[i] = (ds4_copy){ view_of(place, &p[i]), p[i].n_bytes, bytes };
        }
        st = into ? place->backend->read(place->dev, c, n, err)
                  : place->backend->write(place->dev, c, n, err);
    } else {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for the list of %u extents of a tail", n);
    }
    free(p);
    free(c);
    return st;
}

ds4_status ds4_kv_tail_save(const ds4_kv_place *from, uint32_t pos, uint8_t *bytes, ds4_err *err)
{
    return copy(from, pos, bytes, NULL, err);
}

ds4_status ds4_kv_tail_load(const ds4_kv_place *to, uint32_t pos, const uint8_t *bytes, ds4_err *err)
{
    return copy(to, pos, NULL, bytes, err);
}
