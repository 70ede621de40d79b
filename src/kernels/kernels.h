/* kernels.h - the CPU kernels (floor 1): pure functions on buffers.
 *
 * No allocation, no threads, no I/O, no globals. Every slot has a plain C version in
 * ref/, which defines the operation; the versions in x86/ and arm/ agree with it as
 * stated at the slot. Slots are filled once by ds4_kernels_init() and never change.
 *
 * Two promises hold for every slot of every instruction set and carry the engine's
 * determinism: a result depends on nothing but its own inputs (not on alignment, on the
 * other rows or tokens of the call, or on where it lies in a tile), and the order of
 * every sum is fixed by its length. Different instruction sets may differ in rounding. */
#ifndef DS4_KERNELS_KERNELS_H
#define DS4_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include "format/dtype.h"

/* ---- activations as the integer products want them ------------------------------- */

/* The form of activations that a weight type multiplies. */
typedef enum ds4_act {
    DS4_ACT_F32,    /* plain floats:            F32, F16, BF16 */
    DS4_ACT_Q32,    /* ds4_q32 per 32 values:   Q8_0, MXFP4 */
    DS4_ACT_Q256,   /* ds4_q256 per 256 values: Q2_K, Q4_K, Q6_K, IQ2_XXS, T66 */
} ds4_act;

/* 32 activations: value i is d * q[i]. */
typedef struct ds4_q32 {
    float   d;
    int8_t  q[32];          /* -127..127; -128 never occurs, the x86 kernels rely on it */
} ds4_q32;
_Static_assert(sizeof(ds4_q32) == 36, "packed");

/* 256 activations: value i is d * q[i]; sum[j] = q[16j] + ... + q[16j+15]. */
typedef struct ds4_q256 {
    float   d;
    int8_t  q[256];         /* -127..127 */
    int16_t sum[16];
} ds4_q256;
_Static_assert(sizeof(ds4_q256) == 292, "packed");

ds4_act ds4_act_of(uint32_t dtype);                        /* for types with is_matrix */
size_t  ds4_act_bytes(ds4_act act, size_t n_values);       /* bytes of n_values in that form */

/* ---- KV rows ---------------------------------------------------------------------- */

/* A packed attention row of n_nope + n_rot values (docs/MODEL.md section 7):
 * n_nope E4M3 codes | one E8M0 scale byte per 64 codes, padded to a multiple of 8 bytes |
 * n_rot F16 values. n_nope is a multiple of 64 or less than 64 (then one scale).
 * 448 + 64 values take 584 bytes. */
size_t ds4_kv_row_bytes(uint32_t n_nope, uint32_t n_rot);

/* A packed indexer row of n values (64 or 128): E2M1 codes, value 2i in the low nibble of
 * byte i | one E8M0 scale byte per 32 values. 128 values take 68 bytes. */
size_t ds4_index_row_bytes(uint32_t n);

/* ---- the table -------------------------------------------------------------------- */

/* y[t][r] = sum_i w[r][i] * x[t][i], the product of a slab of rows with a few tokens.
 *
 *   y          [n_tokens] rows of y_stride floats; y[t * y_stride + r] is written
 *   w          [n_rows] encoded rows, w_stride bytes apart, any alignment
 *   x          [n_tokens] activations in the form ds4_act_of() says, x_stride bytes apart
 *   n_in       row length: a multiple of the type's block, >= 1
 *
 * Agreement: |new - ref| <= 4e-6 * sum_i |w_i * x_i| with the same encoded x; the integer
 * part of every block is exact. y[t][r] is bit for bit the same however rows and tokens
 * are cut into calls.                                                                  */
typedef void ds4_matmul_fn(float *y, size_t y_stride, const void *w, size_t w_stride, size_t n_rows,
                           const void *x, size_t x_stride, size_t n_tokens, size_t n_in);

/* Queries of the indexer and the rows they are scored against. */
enum { DS4_INDEX_PART = 64 };
typedef struct ds4_index_batch {
    const void  *query;         /* [n_queries] of [n_heads] packed rows (index_pack) */
    size_t       query_stride;  /* bytes from query to query */
    const float *weight;        /* [n_queries] of [n_heads] */
    size_t       weight_stride; /* floats */
    uint32_t     n_queries, n_heads, n;     /* n values in a row, 64 or 128 */
    const void *const *rows;    /* each leads to DS4_INDEX_PART packed rows, the last to the rest */
    size_t       n_rows;        /* of all parts together */
} ds4_index_batch;

/* Attention of several tokens whose rows are nearly the same. Token i reads rows
 * raw[i .. i + n_raw - 1], then shared[0 .. n_shared[i] - 1]. */
enum { DS4_ATTEND_CHAIN = 128 };
typedef struct ds4_attend_batch {
    float       *out;           /* [n_tokens] of [n_heads][n]; must not overlap q */
    const float *q;             /* the same */
    size_t       stride;        /* floats from token to token, in both */
    const float *const *raw, *const *shared;
    size_t       n_raw;         /* a multiple of DS4_ATTEND_CHAIN, or 0 */
    const size_t *n_shared;     /* [n_tokens], none less than the one before */
    uint32_t     n_tokens, n_heads, n;
    const float *sink;          /* [n_heads] */
    float        scale;
    float       *scores;        /* [n_tokens][n_heads][n_raw + the last n_shared] scratch */
} ds4_attend_batch;

typedef struct ds4_kernels {
    /* Products by weight type; NULL where the type is no matrix type. */
    ds4_matmul_fn *matmul[DS4_N_DTYPE];

    /* y[0..n) = decoded weights of one encoded row. Bit-exact everywhere: see
     * docs/MODEL.md section 9. Indexed by type like matmul. */
    void (*decode[DS4_N_DTYPE])(float *y, const void *w, size_t n);

    /* out = x[0..n) rounded to int8 per block, round half to even. n is whole blocks.
     * q32: d = amax/127. q256: d = amax/127 too. A block of zeros has d = 0.
     * Agreement: bit-exact. */
    void (*quantize_q32)(ds4_q32 *out, const float *x, size_t n);
    void (*quantize_q256)(ds4_q256 *out, const float *x, size_t n);

    /* Sum of a[i] * b[i]. Agreement: 4e-6 * sum |a_i b_i|. */
    float (*dot_f32)(const float *a, const float *b, size_t n);

    /* y = x * (mean(x^2) + eps)^-1/2 * w. w may be NULL (all ones); y may be x.
     * Agreement: relative 4e-6. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);

    /* y[i] += a * x[i]. Agreement: relative 1e-6 of |y| + |a x|. */
    void (*axpy)(float *y, float a, const float *x, size_t n);

    /* y[i] = silu(min(gate[i], clamp)) * clamp(up[i], -clamp, clamp) * weight.
     * y may be gate or up. Agreement: 4e-6 * |y| + 1e-30. */
    void (*swiglu)(float *y, const float *gate, const float *up, size_t n, float clamp,
                   float weight);

    /* Leave a hyper-connection: with h_old = streams before the sublayer,
     * h_new[j][d] = post[j] * y[d] + sum_i comb[i * n_hc + j] * h_old[i][d].
     *   h_new, h_old [n_hc] streams of n, stride floats apart, must not overlap
     *   comb         [n_hc][n_hc], input stream first
     * Agreement: 4e-6 * sum of magnitudes. */
    void (*hc_leave)(float *h_new, const float *h_old, const float *y, const float *post,
                     const float *comb, size_t n_hc, size_t n, size_t stride);

    /* u[d] = sum_s pre[s] * h[s][d]. Agreement: 4e-6 * sum of magnitudes. */
    void (*hc_mix)(float *u, const float *h, const float *pre, size_t n_hc, size_t n);

    /* Sum of x[i]^2 (for norms whose scaling is applied elsewhere). Agreement: 4e-6 relative. */
    float (*sum_squares)(const float *x, size_t n);

    /* Rotate the interleaved pairs (x[2i], x[2i+1]) by the angles whose cosines and sines
     * are given; negate the sines for the inverse. x [n_rot], c and s [n_rot / 2].
     * Agreement: 2e-7 * (|x0| + |x1|). */
    void (*rope)(float *x, const float *c, const float *s, size_t n_rot);

    /* Round an attention row to FP8 E4M3 per 64 (first n_nope values) and F16 (the n_rot
     * last), packed. Scales are powers of two from the exponent bits; ties go to the even
     * code. Agreement: bit-exact. */
    void (*kv_pack)(void *row, const float *x, uint32_t n_nope, uint32_t n_rot);
    void (*kv_unpack)(float *x, const void *row, uint32_t n_nope, uint32_t n_rot);

    /* x = H x / sqrt(n), the Walsh-Hadamard transform in natural order; n a power of two
     * >= 32. Butterflies by stride 1, 2, 4, ... then one product. Agreement: bit-exact. */
    void (*hadamard)(float *x, size_t n);

    /* Round to FP4 E2M1 per 32, packed as ds4_index_row_bytes() says; and back.
     * Agreement: bit-exact. */
    void (*index_pack)(void *row, const float *x, uint32_t n);
    void (*index_unpack)(float *x, const void *row, uint32_t n);

    /* score[i * stride + r] = sum_h weight[i][h] * max(0, dot(query[i][h], row[r])) for queries
     * and packed rows. Agreement: 4e-6 * sum_h |weight[h]| * sum |q_j r_j|. Bit for bit the
     * same however queries and rows are cut into calls. */
    void (*index_score)(float *score, size_t stride, const ds4_index_batch *batch);

    /* Ascending i < n with x[i] > limit or either of them NaN; returns how many. index [n]
     * has room for all. Agreement: exact. */
    size_t (*above)(uint32_t *index, const float *x, size_t n, float limit);

    /* Sink-aware softmax attention of one token's heads over the same rows (K = V = row):
     * s_r = scale * dot(q_h, row_r); m = max(sink_h, max s_r);
     * out_h = sum_r exp(s_r - m) row_r / (exp(sink_h - m) + sum_r exp(s_r - m)).
     *   out, q   [n_heads][n]; out must not overlap q
     *   rows     [n_rows] pointers to [n] floats; n_rows >= 1
     *   scores   [n_heads][n_rows] scratch
     * n is a multiple of 32. Agreement: 2e-5 * max |row| in each component. */
    void (*attend)(float *out, const float *q, const float *const *rows, size_t n_rows,
                   uint32_t n_heads, uint32_t n, const float *sink, float scale, float *scores);

    /* The same bits as attend() for each of the tokens. NULL where a set has no faster way. */
    void (*attend_shared)(const ds4_attend_batch *batch);
} ds4_kernels;

/* ---- choosing ---------------------------------------------------------------------- */

enum {
    DS4_CPU_AVX2    = 1u << 0,      /* with FMA and F16C */
    DS4_CPU_AVX512  = 1u << 1,      /* F, BW, VL, DQ, VNNI (Cascade Lake and later, Zen 4 and
                                     * later); implies AVX2 */
    DS4_CPU_VBMI    = 1u << 4,      /* VBMI, GFNI (Ice Lake, Zen 4 and later); implies AVX512 and
                                     * gives the same bits */
    DS4_CPU_AMX     = 1u << 3,      /* tiles of int8, which the system must allow; implies VBMI
                                     * and gives the same bits as AVX512 */
    DS4_CPU_NEON    = 1u << 2,      /* Arm v8.2 with dotprod and half-precision conversion */
};

unsigned    ds4_cpu_features(void);                     /* found on this machine, DS4_CPU_* */
/* "avx2 avx512", "plain C" for 0. Features with the same text give the same bits. */
const char *ds4_cpu_features_text(unsigned features);

/* Fill every slot with the fastest version that features allow; 0 is the reference set. */
void ds4_kernels_init(ds4_kernels *k, unsigned features);

#endif
