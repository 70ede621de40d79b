/* tail_speed.c - how long the tail of a V4 Flash session takes to copy: record by record, as it
 * was once done, and by the list of kv_tail.h, in turns in one run. No model file is needed.
 *
 *     build/tests/long/tail_speed [POSITION ...] */
#include "base/clock.h"
#include "kernels/kernels.h"
#include "model/kv_layout.h"
#include "model/kv_tail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_LAYERS = 43, N_ROUNDS = 41 };

typedef struct bench {
    ds4_kv_layer  layer[N_LAYERS];
    ds4_kv_layout kv;
    ds4_kv_place  place;
    uint8_t      *elsewhere;            /* as large as the caches: copying begins without them */
    uint64_t      elsewhere_bytes;
    uint32_t      n_copies;             /* of the last walk */
} bench;

static void stop(const ds4_err *err)
{
    fprintf(stderr, "tail_speed: %s\n", err->text);
    exit(1);
}

static ds4_view memory(bench *b, uint64_t n_bytes)
{
    ds4_buf *buf;
    ds4_err  err;
    uint8_t *noise = malloc(n_bytes);

    const ds4_backend *backend = b->place.backend;
    if (!noise) exit(1);
    if (ds4_backend_take(backend, b->place.dev, DS4_MEM_DEVICE, n_bytes, &buf, &err) != DS4_OK) stop(&err);
    memset(noise, 0x5a, n_bytes);
    const ds4_view at = { buf, 0 };
    if (ds4_backend_write(backend, b->place.dev, at, noise, n_bytes, &err) != DS4_OK) stop(&err);
    free(noise);
    return at;
}

static void open_bench(bench *b)
{
    ds4_shape  s = { .n_layers = N_LAYERS, .n_head = 512, .n_rot = 64, .n_window = 128, .n_index = 128 };
    const ds4_limits limits = { .n_threads = 1, .max_batch = 1 };
    ds4_err    err;

    for (uint32_t i = 2; i < N_LAYERS; i++) s.ratio[i] = i % 2 == 0 ? 4 : 128;
    ds4_kv_layout_make(&s, DS4_KV_RECORDS, DS4_KV_RECORDS, b->layer, &b->kv);
    b->place = (ds4_kv_place){ .backend = &ds4_backend_cpu, .kv = &b->kv };
    if (ds4_backend_cpu.open(0, &limits, &b->place.dev, &err) != DS4_OK) stop(&err);
    b->place.tail = memory(b, b->kv.tail_bytes);
    b->place.last.cold = memory(b, b->kv.cold_bytes);
    b->place.last.warm = memory(b, b->kv.warm_bytes);
    b->elsewhere_bytes = UINT64_C(64) << 20;
    b->elsewhere = malloc(b->elsewhere_bytes);
    if (!b->elsewhere) exit(1);
}

static void forget(bench *b, int round)
{
    memset(b->elsewhere, round, b->elsewhere_bytes);
}

/* ---- record by record ------------------------------------------------------------------------ */

static uint8_t *one(bench *b, ds4_view at, uint64_t off, uint64_t n_bytes, uint8_t *to)
{
    ds4_err err;

    if (n_bytes == 0) return to;
    at.off += off;
    if (ds4_backend_read(b->place.backend, b->place.dev, at, to, n_bytes, &err) != DS4_OK) stop(&err);
    b->n_copies++;
    return to + n_bytes;
}

static uint8_t *old_compressor(bench *b, const ds4_kv_ring *r, uint32_t ratio, uint32_t pos, uint8_t *to)
{
    const uint64_t place = 4ull * r->width;
    const uint32_t window = pos / ratio * ratio;

    for (uint32_t score = 0; score < 2; score++) {
        const uint64_t at = r->off + score * r->n_rows * place;
        for (uint32_t p = window; ratio == 4 && p < window + 4; p++) {
            to = one(b, b->place.tail, at + (p - 4) % r->n_rows * place, place / 2, to);
        }
        for (uint32_t p = window; p < pos; p++) {
            to = one(b, b->place.tail, at + p % r->n_rows * place, place, to);
        }
    }
    return to;
}

static void old_save(bench *b, uint32_t pos, uint8_t *to)
{
    const ds4_kv_layout *kv = &b->kv;

    b->n_copies = 0;
    for (uint32_t i = 0; i < kv->n_layers; i++) {
        const ds4_kv_layer *l = &kv->layer[i];
        for (uint32_t p = pos - kv->n_window; p < pos; p++) {
            to = one(b, b->place.tail, l->raw.off + p % l->raw.n_rows * kv->row_bytes, kv->row_bytes, to);
        }
        if (l->ratio == 0) continue;
        to = old_compressor(b, &l->comp, l->ratio, pos, to);
        to = one(b, l->ratio == 4 ? b->place.last.cold : b->place.last.warm, l->row.off,
                 pos % DS4_BLOCK_TOKENS / l->ratio * kv->row_bytes, to);
        if (l->ratio != 4) continue;
        to = old_compressor(b, &l->icomp, 4, pos, to);
        to = one(b, b->place.last.warm, l->irow.off, pos % DS4_BLOCK_TOKENS / 4 * kv->irow_bytes, to);
    }
}

/* ---- both ------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *us)
{
    qsort(us, N_ROUNDS, sizeof *us, ascending);
    return us[N_ROUNDS / 2];
}

static void measure(bench *b, uint32_t pos)
{
    const uint64_t n = ds4_kv_tail_bytes(&b->kv, pos);
    double         old_us[N_ROUNDS], new_us[N_ROUNDS];
    uint8_t       *old = malloc(n), *now = malloc(n);
    ds4_err        err;

    if (!old || !now) exit(1);
    memset(old, 0, n);
    memset(now, 0, n);
    for (int i = 0; i < N_ROUNDS; i++) {
        forget(b, i);
        const uint64_t start = ds4_now_ns();
        old_save(b, pos, old);
        old_us[i] = (double)(ds4_now_ns() - start) / 1e3;
        forget(b, i);
        const uint64_t again = ds4_now_ns();
        if (ds4_kv_tail_save(&b->place, pos, now, &err) != DS4_OK) stop(&err);
        new_us[i] = (double)(ds4_now_ns() - again) / 1e3;
    }
    if (memcmp(old, now, n) != 0) {
        fprintf(stderr, "tail_speed: the two tails at %u differ\n", pos);
        exit(1);
    }
    const double before = median(old_us), after = median(new_us);
    const uint32_t n_pieces = ds4_kv_tail_extents(&b->kv, pos, NULL, 0);
    printf("position %7u  %8.2f MB  %5u copies %8.0f us   %4u copies %8.0f us   %.2f times\n", pos,
           (double)n / 1e6, b->n_copies, before, n_pieces, after, before / after);
    free(old);
    free(now);
}

int main(int argc, char **argv)
{
    static const uint32_t usual[] = { 30720, 30000, 30079 };
    bench                 b = { 0 };

    open_bench(&b);
    for (int i = 1; i < argc; i++) {
        const unsigned long pos = strtoul(argv[i], NULL, 10);
        if (pos >= 256 && pos <= DS4_MAX_CONTEXT) measure(&b, (uint32_t)pos);
    }
    for (size_t i = 0; argc == 1 && i < sizeof usual / sizeof *usual; i++) measure(&b, usual[i]);
    return 0;
}
