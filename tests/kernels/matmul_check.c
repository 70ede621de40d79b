/* matmul_check.c - products and decoders of every weight type against the reference. */
#include "kcheck.h"

#include "kernels/blocks.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_TILE = 40, N_ROUNDS = 240 };

static const uint32_t types[] = { DS4_F32, DS4_F16, DS4_BF16, DS4_Q8_0, DS4_MXFP4, DS4_Q2_K,
                                  DS4_Q4_K, DS4_Q6_K, DS4_IQ2_XXS, DS4_T66 };
enum { N_TYPES = sizeof types / sizeof *types };

/* One product: n_rows encoded rows, n_tokens encoded activations. */
typedef struct problem {
    uint32_t dtype;
    size_t   n_in, n_rows, n_tokens;
    size_t   w_stride, x_stride, y_stride;
    uint8_t *w, *x;
    float   *y;
} problem;

/* ---- random weights and activations --------------------------------------------------- */

/* A finite half: moderate, or one of the edges. */
static uint16_t random_half(kcheck_fill fill)
{
    static const uint16_t edge[] = { 0x0001, 0x03ff, 0x0400, 0x7bff, 0x3c00, 0x8001, 0xfbff };
    if (fill == KCHECK_ZERO) return 0;
    if (fill == KCHECK_EXTREME) return edge[kcheck_below(sizeof edge / sizeof *edge)];
    return (uint16_t)((kcheck_rand() & 0x8000) | (0x2000 + kcheck_below(0x1800)));
}

static void put_half(uint8_t *p, kcheck_fill fill)
{
    const uint16_t h = random_half(fill);
    memcpy(p, &h, sizeof h);
}

static void fill_block(uint8_t *p, uint32_t dtype, size_t bytes, kcheck_fill fill)
{
    for (size_t i = 0; i < bytes; i++) {
        const uint32_t r = kcheck_rand();
        p[i] = fill == KCHECK_ZERO ? 0 : (uint8_t)r;
        if (fill == KCHECK_EXTREME)
            p[i] = (uint8_t)(r & 1 ? 0xff : r & 2 ? 0x80 : r & 4 ? 0x7f : 0);
    }
    switch (dtype) {
    case DS4_Q8_0:
    case DS4_IQ2_XXS:
    case DS4_T66:     put_half(p, fill); break;
    case DS4_Q4_K:    put_half(p, fill); put_half(p + 2, fill); break;
    case DS4_Q2_K:    put_half(p + 80, fill); put_half(p + 82, fill); break;
    case DS4_Q6_K:    put_half(p + 208, fill); break;
    case DS4_MXFP4:   p[0] = fill == KCHECK_EXTREME ? (uint8_t)(8 + kcheck_below(180))
                                                    : (uint8_t)(110 + kcheck_below(20)); break;
    default: break;
    }
}

static void fill_row(uint8_t *p, uint32_t dtype, size_t n_in, kcheck_fill fill)
{
    const ds4_dtype_info *info = ds4_dtype_get(dtype);

    for (size_t i = 0; i < n_in / info->block_elems; i++, p += info->block_bytes) {
        const float f = kcheck_float(fill);
        switch (dtype) {
        case DS4_F32:  memcpy(p, &f, sizeof f); break;
        case DS4_F16:  put_half(p, fill); break;
        case DS4_BF16: memcpy(p, (const uint8_t *)&f + 2, 2); break;
        default:       fill_block(p, dtype, info->block_bytes, fill); break;
        }
    }
}

static void fill_codes(int8_t *q, size_t n, kcheck_fill fill)
{
    const int same = kcheck_rand() & 2 ? 127 : -127;    /* a whole block of one extreme, or mixed */
    const bool mixed = kcheck_rand() & 1;
    for (size_t i = 0; i < n; i++)
        q[i] = fill == KCHECK_ZERO      ? 0
               : fill == KCHECK_EXTREME ? (int8_t)(mixed && (kcheck_rand() & 1) ? -same : same)
                                        : (int8_t)((int)kcheck_below(255) - 127);
}

static float random_scale(kcheck_fill fill)
{
    return fill == KCHECK_ZERO ? 0.0f : 0.001f + (float)kcheck_below(1000) * 1e-4f;
}

static void fill_act(uint8_t *p, ds4_act act, size_t n_in, kcheck_fill fill)
{
    for (size_t i = 0; act == DS4_ACT_F32 && i < n_in; i++)
        ((float *)(void *)p)[i] = kcheck_float(fill);
    for (size_t b = 0; act == DS4_ACT_Q32 && b < n_in / 32; b++) {
        ds4_q32 *block = (ds4_q32 *)(void *)p + b;
        block->d = random_scale(fill);
        fill_codes(block->q, 32, fill);
    }
    for (size_t b = 0; act == DS4_ACT_Q256 && b < n_in / 256; b++) {
        ds4_q256 *block = (ds4_q256 *)(void *)p + b;
        block->d = random_scale(fill);
        fill_codes(block->q, 256, fill);
        for (int j = 0; j < 16; j++) {
            int sum = 0;
            for (int i = 0; i < 16; i++) sum += block->q[16 * j + i];
            block->sum[j] = (int16_t)sum;
        }
    }
}

/* Rows lie a random, possibly odd distance apart; the last one ends where the buffer ends. */
static problem make_problem(uint32_t dtype, size_t n_in, size_t n_rows, size_t n_tokens,
                            kcheck_fill fill)
{
    const ds4_act act = ds4_act_of(dtype);
    const size_t  row_bytes = ds4_row_bytes(dtype, n_in), act_bytes = ds4_act_bytes(act, n_in);
    problem p = { .dtype = dtype, .n_in = n_in, .n_rows = n_rows, .n_tokens = n_tokens };

    p.w_stride = row_bytes + (kcheck_rand() & 1 ? kcheck_below(9) : 0);
    p.x_stride = act_bytes + (kcheck_rand() & 1 ? 4 * kcheck_below(9) : 0);
    p.y_stride = n_rows + (kcheck_rand() & 1 ? kcheck_below(9) : 0);
    p.w = kcheck_alloc((n_rows - 1) * p.w_stride + row_bytes);
    p.x = kcheck_alloc((n_tokens - 1) * p.x_stride + act_bytes);
    p.y = kcheck_alloc(((n_tokens - 1) * p.y_stride + n_rows) * sizeof(float));
    memset(p.w, 0, (n_rows - 1) * p.w_stride + row_bytes);
    memset(p.x, 0, (n_tokens - 1) * p.x_stride + act_bytes);
    for (size_t i = 0; i < (n_tokens - 1) * p.y_stride + n_rows; i++) p.y[i] = -77.0f;
    for (size_t r = 0; r < n_rows; r++) fill_row(p.w + r * p.w_stride, dtype, n_in, fill);
    for (size_t t = 0; t < n_tokens; t++) fill_act(p.x + t * p.x_stride, act, n_in, fill);
    return p;
}

/* ---- what must hold ------------------------------------------------------------------- */

static void call_matmul(void *ctx, const ds4_kernels *k)
{
    const problem *p = ctx;
    k->matmul[p->dtype](p->y, p->y_stride, p->w, p->w_stride, p->n_rows, p->x, p->x_stride,
                        p->n_tokens, p->n_in);
}

static void decode_act(float *x, const uint8_t *p, ds4_act act, size_t n)
{
    if (act == DS4_ACT_F32) memcpy(x, p, n * sizeof *x);
    for (size_t i = 0; act == DS4_ACT_Q32 && i < n; i++) {
        const ds4_q32 *b = (const ds4_q32 *)(const void *)p + i / 32;
        x[i] = b->d * b->q[i % 32];
    }
    for (size_t i = 0; act == DS4_ACT_Q256 && i < n; i++) {
        const ds4_q256 *b = (const ds4_q256 *)(const void *)p + i / 256;
        x[i] = b->d * b->q[i % 256];
    }
}

/* Every y within 4e-6 of sum |w_i x_i|, and nothing written between the rows of y. */
static void compare_with_ref(const kcheck *c, const problem *p, const char *fill)
{
    const size_t n = p->n_in;
    float  *want = malloc(p->n_tokens * p->n_rows * sizeof *want);
    float  *w = malloc(n * sizeof *w), *x = malloc(p->n_tokens * n * sizeof *x);

    c->ref->matmul[p->dtype](want, p->n_rows, p->w, p->w_stride, p->n_rows, p->x, p->x_stride,
                             p->n_tokens, n);
    for (size_t t = 0; t < p->n_tokens; t++)
        decode_act(x + t * n, p->x + t * p->x_stride, ds4_act_of(p->dtype), n);
    for (size_t r = 0; r < p->n_rows; r++) {
        c->ref->decode[p->dtype](w, p->w + r * p->w_stride, n);
        for (size_t t = 0; t < p->n_tokens; t++) {
            double magnitude = 0.0;
            for (size_t i = 0; i < n; i++) magnitude += fabs((double)w[i] * x[t * n + i]);
            kcheck_near(p->y[t * p->y_stride + r], want[t * p->n_rows + r], 4e-6 * magnitude,
                        "n_in=%zu row %zu/%zu token %zu/%zu %s", n, r, p->n_rows, t, p->n_tokens,
                        fill);
        }
    }
    for (size_t t = 0; t + 1 < p->n_tokens; t++)
        for (size_t r = p->n_rows; r < p->y_stride; r++)
            if (p->y[t * p->y_stride + r] != -77.0f) kcheck_fail("wrote between the rows of y");
    free(want);
    free(w);
    free(x);
}

/* Any part of the product, computed from copies that lie elsewhere, has the same bits. */
static void compare_with_cut(const kcheck *c, const problem *p)
{
    problem part = *p;
    const size_t r0 = kcheck_below((uint32_t)p->n_rows), t0 = kcheck_below((uint32_t)p->n_tokens);
    const size_t row_bytes = ds4_row_bytes(p->dtype, p->n_in);
    const size_t act_bytes = ds4_act_bytes(ds4_act_of(p->dtype), p->n_in);

    part.n_rows = 1 + kcheck_below((uint32_t)(p->n_rows - r0));
    part.n_tokens = 1 + kcheck_below((uint32_t)(p->n_tokens - t0));
    part.w = kcheck_alloc((part.n_rows - 1) * p->w_stride + row_bytes);
    part.x = kcheck_alloc((part.n_tokens - 1) * p->x_stride + act_bytes);
    memcpy(part.w, p->w + r0 * p->w_stride, (part.n_rows - 1) * p->w_stride + row_bytes);
    memcpy(part.x, p->x + t0 * p->x_stride, (part.n_tokens - 1) * p->x_stride + act_bytes);
    part.y_stride = part.n_rows;
    part.y = kcheck_alloc(part.n_rows * part.n_tokens * sizeof(float));
    call_matmul(&part, c->fast);
    for (size_t t = 0; t < part.n_tokens; t++)
        kcheck_same_floats(part.y + t * part.y_stride, p->y + (t0 + t) * p->y_stride + r0,
                           part.n_rows, "a part of the product differs from the whole");
    kcheck_intact();
}

static void check_one(const kcheck *c, size_t n_in, kcheck_fill fill)
{
    static const char *const fill_name[KCHECK_N_FILLS] = { "any", "extreme", "zero" };
    const size_t n_rows = 1 + kcheck_below(kcheck_rand() & 1 ? MAX_TILE : 5);
    const size_t n_tokens = 1 + kcheck_below(kcheck_rand() & 1 ? MAX_TILE : 5);
    problem p = make_problem(c->arg, n_in, n_rows, n_tokens, fill);

    call_matmul(&p, c->fast);
    kcheck_intact();
    compare_with_ref(c, &p, fill_name[fill]);
    for (int i = 0; i < 4; i++) compare_with_cut(c, &p);
    kcheck_free_all();
}

static void check_matmul(const kcheck *c)
{
    const size_t block = ds4_dtype_get(c->arg)->block_elems;
    const int    n_tails = block == 1 ? kcheck_rounds(2 * 64 + 1) : 0;

    for (int n = 1; n <= n_tails; n++) check_one(c, (size_t)n, KCHECK_ANY);
    for (int round = 0; round < kcheck_rounds(N_ROUNDS); round++) {
        const size_t most = kcheck_rand() % 8 ? 1024 : 5000;
        const size_t n_in = (1 + kcheck_below((uint32_t)(most / block))) * block;
        check_one(c, n_in, (kcheck_fill)(round % KCHECK_N_FILLS));
        if (round % 4 == 0)                 /* long rows of full groups have ways of their own */
            check_one(c, 1024 * (1 + kcheck_below(9)), (kcheck_fill)(round / 4 % KCHECK_N_FILLS));
    }
}

static void check_decode(const kcheck *c)
{
    const size_t block = ds4_dtype_get(c->arg)->block_elems;

    for (int round = 0; round < kcheck_rounds(300); round++) {
        const size_t n = (1 + kcheck_below((uint32_t)(block == 1 ? 129 : 1024 / block))) * block;
        uint8_t     *w = kcheck_alloc(ds4_row_bytes(c->arg, n));
        float       *got = kcheck_alloc(n * sizeof *got), *want = kcheck_alloc(n * sizeof *want);

        fill_row(w, c->arg, n, (kcheck_fill)(round % KCHECK_N_FILLS));
        c->ref->decode[c->arg](want, w, n);
        c->fast->decode[c->arg](got, w, n);
        for (size_t i = 0; i < n; i++) want[i] += 0.0f, got[i] += 0.0f;    /* -0 becomes 0 */
        kcheck_same_floats(got, want, n, "decode");
        kcheck_intact();
        kcheck_free_all();
    }
}

/* ---- timing --------------------------------------------------------------------------- */

static void time_matmul(const kcheck *c)
{
    static const size_t tokens[] = { 1, 4, 16, 64 };
    const size_t n_in = 4096, n_rows = kcheck_bench() ? 256 : 32;

    for (size_t i = 0; i < (kcheck_bench() ? 4u : 2u); i++) {
        problem p = make_problem(c->arg, n_in, n_rows, tokens[i], KCHECK_ANY);
        char    size[64];
        const double ref_ns = kcheck_bench() ? 0.0 : kcheck_time_ns(call_matmul, &p, c->ref);
        const double fast_ns = kcheck_time_ns(call_matmul, &p, c->fast);

        snprintf(size, sizeof size, "%zux%zu rows, %zu token%s", n_in, n_rows, tokens[i],
                 tokens[i] == 1 ? "" : "s");
        printf("# %s %s [%s]: ", c->slot, c->isa, size);
        if (ref_ns > 0.0)
            printf("ref %.0f ns, fast %.0f ns, %.1fx, ", ref_ns, fast_ns, ref_ns / fast_ns);
        printf("%.1f GB/s, %.1f Gweights*tokens/s\n",
               (double)(n_rows * ds4_row_bytes(c->arg, n_in)) / fast_ns,
               (double)(n_rows * n_in * tokens[i]) / fast_ns);
        kcheck_free_all();
    }
}

int main(int argc, char **argv)
{
    kcheck_begin(argc, argv, 2 * N_TYPES);
    for (int i = 0; i < N_TYPES; i++) {
        const size_t at = types[i] * sizeof(ds4_matmul_fn *);
        char         name[40];
        snprintf(name, sizeof name, "matmul %s", ds4_dtype_get(types[i])->name);
        kcheck_slot(name, offsetof(ds4_kernels, matmul) + at, types[i], check_matmul, time_matmul);
        snprintf(name, sizeof name, "decode %s", ds4_dtype_get(types[i])->name);
        kcheck_slot(name, offsetof(ds4_kernels, decode) + at, types[i], check_decode, NULL);
    }
    return kcheck_end();
}
