/* kv_tail.c - see kv_tail.h.
 *
 * One walk over the pieces of a tail serves measuring, saving and loading, so that they
 * cannot disagree. */
#include "model/kv_tail.h"

typedef enum direction { MEASURE, SAVE, LOAD } direction;

typedef struct walk {
    const ds4_kv_place  *place;     /* NULL to measure */
    const ds4_kv_layout *kv;
    direction            dir;
    uint8_t             *bytes;     /* only read from when loading */
    uint64_t             n_bytes;   /* so far */
    ds4_err             *err;
    ds4_status           st;
} walk;

static void piece(walk *w, ds4_view base, uint64_t off, uint64_t n_bytes)
{
    const ds4_view at = { base.buf, base.off + off };

    if (w->st != DS4_OK || n_bytes == 0) return;
    uint8_t *bytes = w->bytes ? w->bytes + w->n_bytes : NULL;
    w->n_bytes += n_bytes;
    if (w->dir == SAVE) w->st = w->place->backend->read(w->place->dev, at, bytes, n_bytes, w->err);
    if (w->dir == LOAD) w->st = w->place->backend->write(w->place->dev, at, bytes, n_bytes, w->err);
}

static ds4_view tail_of(const walk *w)
{
    return w->place ? w->place->tail : (ds4_view){ 0 };
}

/* Slots from .. to-1 of a ring of n_slots, by position. */
static void ring(walk *w, uint64_t off, uint32_t from, uint32_t to, uint32_t n_slots, uint64_t slot_bytes,
                 uint64_t n_bytes)
{
    for (uint32_t pos = from; pos < to; pos++) {
        piece(w, tail_of(w), off + pos % n_slots * slot_bytes, n_bytes);
    }
}

/* Tokens of the unfinished window, and of ratio 4 the first halves of the window before:
 * the second halves have served their own row. */
static void compressor(walk *w, uint64_t off, uint32_t ratio, uint32_t n, uint32_t pos)
{
    const uint32_t n_slots = ratio == 4 ? 8 : ratio, window = pos / ratio * ratio;
    const uint64_t half = n * sizeof(float), slot = ratio == 4 ? 2 * half : half;

    for (int score = 0; score < 2; score++) {
        const uint64_t at = off + (uint64_t)score * n_slots * slot;
        if (ratio == 4 && window >= 4) ring(w, at, window - 4, window, n_slots, slot, half);
        ring(w, at, window, pos, n_slots, slot, slot);
    }
}

static void layer(walk *w, const ds4_kv_layer *l, uint32_t pos)
{
    const ds4_kv_layout *kv = w->kv;
    const uint32_t       in_block = pos % DS4_BLOCK_TOKENS;
    const ds4_view       cold = w->place ? w->place->last.cold : (ds4_view){ 0 };
    const ds4_view       warm = w->place ? w->place->last.warm : (ds4_view){ 0 };

    ring(w, l->raw_off, pos > kv->n_window ? pos - kv->n_window : 0, pos, kv->n_window,
         kv->row_bytes, kv->row_bytes);
    if (l->ratio == 0) return;
    compressor(w, l->comp_off, l->ratio, kv->n_nope + kv->n_rot, pos);
    piece(w, l->ratio == 4 ? cold : warm, l->row_off, in_block / l->ratio * kv->row_bytes);
    if (l->ratio != 4) return;
    compressor(w, l->icomp_off, 4, kv->n_index, pos);
    piece(w, warm, l->irow_off, in_block / 4 * kv->irow_bytes);
}

static ds4_status walk_all(walk *w, uint32_t pos)
{
    w->st = DS4_OK;
    for (uint32_t i = 0; i < w->kv->n_layers; i++) layer(w, &w->kv->layer[i], pos);
    return w->st;
}

uint64_t ds4_kv_tail_bytes(const ds4_kv_layout *kv, uint32_t pos)
{
    walk             w = { .kv = kv, .dir = MEASURE };
    const ds4_status st = walk_all(&w, pos);
    (void)st;                           /* measuring touches nothing */
    return w.n_bytes;
}

ds4_status ds4_kv_tail_save(const ds4_kv_place *from, uint32_t pos, uint8_t *bytes, ds4_err *err)
{
    walk w = { .place = from, .kv = from->kv, .dir = SAVE, .bytes = bytes, .err = err };
    return walk_all(&w, pos);
}

ds4_status ds4_kv_tail_load(const ds4_kv_place *to, uint32_t pos, const uint8_t *bytes, ds4_err *err)
{
    walk w = { .place = to, .kv = to->kv, .dir = LOAD, .bytes = (uint8_t *)(uintptr_t)bytes, .err = err };
    return walk_all(&w, pos);
}
