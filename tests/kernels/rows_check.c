/* rows_check.c - rounding and packing of activations, attention rows and indexer rows. All
 * of these are bit-exact. */
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Values around every rounding edge: random, integers and halves, huge, tiny, not finite. */
static float *awkward(size_t n, int round)
{
    static const float scales[] = { 1.0f, 1e-6f, 1e-30f, 1e-38f, 1e-42f, 1e30f, 500.0f };
    float      *x = kcheck_alloc(n * sizeof *x);
    const float scale = scales[kcheck_below(7)];

    for (size_t i = 0; i < n; i++) {
        const uint32_t r = kcheck_rand();
        x[i] = scale * kcheck_float((kcheck_fill)(round % KCHECK_N_FILLS));
        if (round % 2 == 0)
            x[i] = (float)((int)(r % 1025) - 512) * (float)(1 << (r >> 20) % 5) * 0.125f;
        if (round % 16 == 5) memcpy(&x[i], &r, sizeof r);           /* any bits at all */
    }
    if (round % 16 == 7) x[kcheck_below((uint32_t)n)] = NAN;
    if (round % 16 == 9) x[kcheck_below((uint32_t)n)] = -INFINITY;
    return x;
}

static void check_quantize(const kcheck *c)
{
    const size_t block = c->arg, block_bytes = block == 32 ? sizeof(ds4_q32) : sizeof(ds4_q256);

    for (int round = 0; round < kcheck_rounds(1500); round++) {
        const size_t n_blocks = 1 + kcheck_below(9), bytes = n_blocks * block_bytes;
        const float *x = awkward(n_blocks * block, round);
        uint8_t     *got = kcheck_alloc(bytes), *want = kcheck_alloc(bytes);

        memset(got, 1, bytes);
        if (block == 32) {
            c->ref->quantize_q32((void *)want, x, n_blocks * block);
            c->fast->quantize_q32((void *)got, x, n_blocks * block);
        } else {
            c->ref->quantize_q256((void *)want, x, n_blocks * block);
            c->fast->quantize_q256((void *)got, x, n_blocks * block);
        }
        kcheck_same_bytes(got, want, bytes, "quantize");
        kcheck_intact();
        kcheck_free_all();
    }
}

/* The widths of an attention row that occur, and awkward ones. */
static void row_shape(uint32_t *n_nope, uint32_t *n_rot)
{
    static const uint32_t nope[] = { 448, 64, 128, 32, 16, 48, 8, 192 };
    *n_nope = nope[kcheck_below(8)];
    *n_rot = 2 * kcheck_below(40);
    if (kcheck_rand() & 1) *n_rot = 64;
}

static void check_kv_pack(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(1500); round++) {
        uint32_t n_nope, n_rot;
        row_shape(&n_nope, &n_rot);
        const size_t bytes = ds4_kv_row_bytes(n_nope, n_rot);
        const float *x = awkward(n_nope + n_rot, round);
        uint8_t     *got = kcheck_alloc(bytes), *want = kcheck_alloc(bytes);

        memset(got, 1, bytes);
        c->ref->kv_pack(want, x, n_nope, n_rot);
        c->fast->kv_pack(got, x, n_nope, n_rot);
        kcheck_same_bytes(got, want, bytes, "kv_pack");
        kcheck_intact();
        kcheck_free_all();
    }
}

/* Any bytes at all: a row may come from a damaged file. */
static uint8_t *random_row(size_t bytes, size_t scales_at, size_t n_scales, bool sane)
{
    uint8_t *row = kcheck_alloc(bytes);
    for (size_t i = 0; i < bytes; i++) row[i] = (uint8_t)kcheck_rand();
    for (size_t i = 0; sane && i < n_scales; i++)
        row[scales_at + i] = (uint8_t)(110 + kcheck_below(20));
    return row;
}

static void check_kv_unpack(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(1500); round++) {
        uint32_t n_nope, n_rot;
        row_shape(&n_nope, &n_rot);
        const uint32_t n = n_nope + n_rot;
        const uint8_t *row =
            random_row(ds4_kv_row_bytes(n_nope, n_rot), n_nope, (n_nope + 63) / 64, round & 1);
        float         *got = kcheck_alloc(n * sizeof *got), *want = kcheck_alloc(n * sizeof *want);

        c->ref->kv_unpack(want, row, n_nope, n_rot);
        c->fast->kv_unpack(got, row, n_nope, n_rot);
        kcheck_same_floats(got, want, n, "kv_unpack");
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_index_pack(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(1500); round++) {
        const uint32_t n = kcheck_rand() & 1 ? 128 : 64;
        const size_t   bytes = ds4_index_row_bytes(n);
        const float   *x = awkward(n, round);
        uint8_t       *got = kcheck_alloc(bytes), *want = kcheck_alloc(bytes);

        c->ref->index_pack(want, x, n);
        c->fast->index_pack(got, x, n);
        kcheck_same_bytes(got, want, bytes, "index_pack");
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_index_unpack(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(1500); round++) {
        const uint32_t n = kcheck_rand() & 1 ? 128 : 64;
        const uint8_t *row = random_row(ds4_index_row_bytes(n), n / 2, n / 32, round & 1);
        float         *got = kcheck_alloc(n * sizeof *got), *want = kcheck_alloc(n * sizeof *want);

        c->ref->index_unpack(want, row, n);
        c->fast->index_unpack(got, row, n);
        kcheck_same_floats(got, want, n, "index_unpack");
        kcheck_intact();
        kcheck_free_all();
    }
}

/* ---- timing --------------------------------------------------------------------------- */

typedef struct row_buffers {
    float   *x;
    uint8_t *row;
} row_buffers;

static void call_q32(void *ctx, const ds4_kernels *k)
{
    row_buffers *b = ctx;
    k->quantize_q32((void *)b->row, b->x, 4096);
}

static void call_q256(void *ctx, const ds4_kernels *k)
{
    row_buffers *b = ctx;
    k->quantize_q256((void *)b->row, b->x, 4096);
}

static void call_kv_pack(void *ctx, const ds4_kernels *k)
{
    row_buffers *b = ctx;
    k->kv_pack(b->row, b->x, 448, 64);
}

static void call_kv_unpack(void *ctx, const ds4_kernels *k)
{
    row_buffers *b = ctx;
    k->kv_unpack(b->x, b->row, 448, 64);
}

static void call_index_pack(void *ctx, const ds4_kernels *k)
{
    row_buffers *b = ctx;
    k->index_pack(b->row, b->x, 128);
}

static void call_index_unpack(void *ctx, const ds4_kernels *k)
{
    row_buffers *b = ctx;
    k->index_unpack(b->x, b->row, 128);
}

static void time_with(const kcheck *c, void (*call)(void *ctx, const ds4_kernels *k),
                      const char *size, double bytes)
{
    row_buffers b = { .x = kcheck_alloc(4096 * sizeof(float)), .row = kcheck_alloc(8192) };
    for (int i = 0; i < 4096; i++) b.x[i] = kcheck_float(KCHECK_ANY);
    memset(b.row, 0x38, 8192);
    kcheck_report(c, size, bytes, call, &b);
}

#define TIME(slot, size, bytes) \
    static void time_##slot(const kcheck *c) { time_with(c, call_##slot, size, bytes); }
TIME(q32, "4096", 4.0 * 4096)
TIME(q256, "4096", 4.0 * 4096)
TIME(kv_pack, "448+64", 4.0 * 512)
TIME(kv_unpack, "448+64", 584.0)
TIME(index_pack, "128", 4.0 * 128)
TIME(index_unpack, "128", 68.0)

int main(int argc, char **argv)
{
    kcheck_begin(argc, argv, 6);
    kcheck_slot("quantize_q32", offsetof(ds4_kernels, quantize_q32), 32, check_quantize, time_q32);
    kcheck_slot("quantize_q256", offsetof(ds4_kernels, quantize_q256), 256, check_quantize,
                time_q256);
    kcheck_slot("kv_pack", offsetof(ds4_kernels, kv_pack), 0, check_kv_pack, time_kv_pack);
    kcheck_slot("kv_unpack", offsetof(ds4_kernels, kv_unpack), 0, check_kv_unpack, time_kv_unpack);
    kcheck_slot("index_pack", offsetof(ds4_kernels, index_pack), 0, check_index_pack,
                time_index_pack);
    kcheck_slot("index_unpack", offsetof(ds4_kernels, index_unpack), 0, check_index_unpack,
                time_index_unpack);
    return kcheck_end();
}
