/* matmul_q256_neon.c - products of Q2_K, Q4_K, Q6_K, IQ2_XXS and T66 rows with activations in
 * blocks of 256, for NEON with dot products.
 *
 * One block of 4 rows becomes a tile of signed bytes (see tile_neon.h), which then serves all
 * tokens. The float chain of an output is that of x86/product_q256_avx512.h. */
#include "kernels/arm/tile_neon.h"
#include "kernels/kernel_init.h"

#include "format/iq2xxs_table.h"

enum { MAX_TOKENS = 64, MAX_PART = Q6_K_BYTES };

typedef enum tile_kind {
    KIND_MIN16,         /* 16 groups of 16 with scales and mins:  Q2_K */
    KIND_MIN32,         /* 8 groups of 32 with scales and mins:   Q4_K */
    KIND_PLAIN16,       /* 16 groups with scales:                 Q6_K */
    KIND_PLAIN32,       /* 8 groups with scales:                  IQ2_XXS */
    KIND_PLAIN256,      /* no scales:                             T66 */
} tile_kind;

typedef struct tile256 {
    int8x16_t   w[64];      /* bytes 4i..4i+3 of the block */
    int32x4_t   scale[16];  /* of each group */
    int16x4_t   min[16];
    float32x4_t d, dmin;
} tile256;

/* ---- tiles of each type ------------------------------------------------------------ */

static void fill_q2_k(tile256 *t, const uint8_t *w, size_t stride)
{
    const uint8x16_t three = vdupq_n_u8(3);
    uint8x16_t v[4];

    for (int c = 0; c < 4; c++) {           /* 16 bytes of qs: half c / 2, lanes 16 * (c % 2) */
        int8x16_t *out = t->w + 32 * (c >> 1) + 4 * (c & 1);
        load_columns(v, w + 16 + 16 * c, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            out[i] = vreinterpretq_s8_u8(vandq_u8(v[i], three));
            out[i + 8] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(v[i], 2), three));
            out[i + 16] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(v[i], 4), three));
            out[i + 24] = vreinterpretq_s8_u8(vshrq_n_u8(v[i], 6));
        }
    }
    load_columns(v, w, stride);
    for (int j = 0; j < 16; j++) {
        t->scale[j] = lane_byte(vandq_u8(v[j >> 2], vdupq_n_u8(15)), j & 3);
        t->min[j] = vmovn_s32(lane_byte(vshrq_n_u8(v[j >> 2], 4), j & 3));
    }
    t->d = load_halves(w + 80, stride);
    t->dmin = load_halves(w + 82, stride);
}

static void fill_q4_k(tile256 *t, const uint8_t *w, size_t stride)
{
    const uint8x16_t nibbles = vdupq_n_u8(15), six = vdupq_n_u8(63), high2 = vdupq_n_u8(0x30);
    uint8x16_t v[4], scale[2], min[2];

    for (int c = 0; c < 8; c++) {           /* 16 bytes of qs: groups 2 * (c / 2) and the next */
        int8x16_t *out = t->w + 16 * (c >> 1) + 4 * (c & 1);
        load_columns(v, w + 16 + 16 * c, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            out[i] = vreinterpretq_s8_u8(vandq_u8(v[i], nibbles));
            out[i + 8] = vreinterpretq_s8_u8(vshrq_n_u8(v[i], 4));
        }
    }
    load_columns(v, w, stride);             /* d and dmin, then the three words of p */
    scale[0] = vandq_u8(v[1], six);
    min[0] = vandq_u8(v[2], six);
    scale[1] = vorrq_u8(vandq_u8(v[3], nibbles), vandq_u8(vshrq_n_u8(v[1], 2), high2));
    min[1] = vorrq_u8(vshrq_n_u8(v[3], 4), vandq_u8(vshrq_n_u8(v[2], 2), high2));
    for (int g = 0; g < 8; g++) {
        t->scale[g] = lane_byte(scale[g >> 2], g & 3);
        t->min[g] = vmovn_s32(lane_byte(min[g >> 2], g & 3));
    }
    t->d = load_halves(w, stride);
    t->dmin = load_halves(w + 2, stride);
}

/* (low nibble | high two bits) - 32 */
INLINE int8x16_t join6(uint8x16_t low, uint8x16_t high)
{
    const uint8x16_t q = vorrq_u8(low, vandq_u8(high, vdupq_n_u8(0x30)));
    return vsubq_s8(vreinterpretq_s8_u8(q), vdupq_n_s8(32));
}

static void fill_q6_k(tile256 *t, const uint8_t *w, size_t stride)
{
    const uint8x16_t nibbles = vdupq_n_u8(15);
    uint8x16_t h[4], a[4], b[4], sc[4];

    for (int c = 0; c < 4; c++) {           /* 16 lanes of each plane of half c / 2 */
        const int  half = c >> 1, lane = 16 * (c & 1);
        int8x16_t *out = t->w + 32 * half + 4 * (c & 1);
        load_columns(a, w + 64 * half + lane, stride);
        load_columns(b, w + 64 * half + 32 + lane, stride);
        load_columns(h, w + 128 + 32 * half + lane, stride);
        for (int i = 0; i < 4; i++) {
            out[i] = join6(vandq_u8(a[i], nibbles), vshlq_n_u8(h[i], 4));
            out[i + 8] = join6(vandq_u8(b[i], nibbles), vshlq_n_u8(h[i], 2));
            out[i + 16] = join6(vshrq_n_u8(a[i], 4), h[i]);
            out[i + 24] = join6(vshrq_n_u8(b[i], 4), vshrq_n_u8(h[i], 2));
        }
    }
    load_columns(sc, w + 192, stride);
    for (int j = 0; j < 16; j++) {
        const int32x4_t v = vreinterpretq_s32_u8(sc[j >> 2]);
        t->scale[j] = vshrq_n_s32(vshlq_s32(v, vdupq_n_s32(24 - 8 * (j & 3))), 24);
    }
    t->d = load_halves(w + 208, stride);
}

typedef struct iq2_tables {
    uint8_t grid[256][8];
} iq2_tables;

/* Each 16-bit part of a code's 64 bits gets the two digits it needs in its low four bits,
 * which then go to the low bits of its two bytes. */
static void make_iq2_tables(iq2_tables *t)
{
    static const uint8_t value[16] = { 8, 25, 43 };
    static const int16_t shift[8] = { 0, -4, -8, -12, 0, -4, -8, -12 };
    const uint8x16_t values = vld1q_u8(value);
    const int16x8_t  shifts = vld1q_s16(shift);

    for (int i = 0; i < 256; i += 2) {
        const uint16x8_t codes = vcombine_u16(vdup_n_u16(ds4_iq2xxs_codes[i]),
                                              vdup_n_u16(ds4_iq2xxs_codes[i + 1]));
        const uint16x8_t pair = vandq_u16(vshlq_u16(codes, shifts), vdupq_n_u16(15));
        const uint16x8_t spread = vorrq_u16(pair, vshlq_n_u16(pair, 6));
        const uint8x16_t digits = vandq_u8(vreinterpretq_u8_u16(spread), vdupq_n_u8(3));
        vst1q_u8(t->grid[i], vqtbl1q_u8(values, digits));
    }
}

/* Two vectors of eight with the signs of two bytes. */
INLINE uint8x16_t iq2_values(const uint8_t *index, uint8_t s0, uint8_t s1, const iq2_tables *tab)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    const uint8x16_t v = vcombine_u8(vld1_u8(tab->grid[index[0]]), vld1_u8(tab->grid[index[1]]));
    const uint8x16_t minus = vtstq_u8(vcombine_u8(vdup_n_u8(s0), vdup_n_u8(s1)), bit);
    return vsubq_u8(veorq_u8(v, minus), minus);
}

static void fill_iq2_xxs(tile256 *t, const uint8_t *w, size_t stride, const iq2_tables *tab)
{
    uint8_t    value[TILE_ROWS][256];
    uint32_t   scale[TILE_ROWS][8];
    uint8x16_t v[4];
    uint32x4_t s[4];

    for (size_t r = 0; r < TILE_ROWS; r++) {
        const uint8_t *block = w + r * stride;
        for (int h = 0; h < 2; h++) {       /* four groups: indices and words alternate */
            const uint8_t *p = block + 2 + 32 * h;
            const uint32x4_t a = vreinterpretq_u32_u8(vld1q_u8(p)),
                             b = vreinterpretq_u32_u8(vld1q_u8(p + 16));
            const uint32x4_t word = vuzp2q_u32(a, b);
            const uint32x4_t s0 = vandq_u32(word, vdupq_n_u32(0x7f));
            const uint32x4_t s1 = vandq_u32(vshlq_n_u32(word, 1), vdupq_n_u32(0x7f00));
            const uint32x4_t s2 = vandq_u32(vshlq_n_u32(word, 2), vdupq_n_u32(0x7f0000));
            const uint32x4_t s3 = vandq_u32(vshlq_n_u32(word, 3), vdupq_n_u32(0x7f000000));
            const uint8x16_t s7 =
                vreinterpretq_u8_u32(vorrq_u32(vorrq_u32(s0, s1), vorrq_u32(s2, s3)));
            uint8_t signs[16];
            vst1q_u8(signs, vorrq_u8(s7, vshlq_n_u8(vcntq_u8(s7), 7)));
            const uint32x4_t nibble = vshrq_n_u32(word, 28);
            vst1q_u32(scale[r] + 4 * h, vaddq_u32(vaddq_u32(nibble, nibble), vdupq_n_u32(1)));
            for (int g = 0; g < 4; g++) {
                uint8_t *out = value[r] + 128 * h + 32 * g;
                vst1q_u8(out, iq2_values(p + 8 * g, signs[4 * g], signs[4 * g + 1], tab));
                vst1q_u8(out + 16,
                         iq2_values(p + 8 * g + 2, signs[4 * g + 2], signs[4 * g + 3], tab));
            }
        }
    }
    for (int i = 0; i < 16; i++) {
        load_columns(v, value[0] + 16 * i, 256);
        for (int j = 0; j < 4; j++) t->w[4 * i + j] = vreinterpretq_s8_u8(v[j]);
    }
    for (int i = 0; i < 2; i++) {
        for (int r = 0; r < 4; r++) s[r] = vld1q_u32(scale[r] + 4 * i);
        transpose4(s);
        for (int j = 0; j < 4; j++) t->scale[4 * i + j] = vreinterpretq_s32_u32(s[j]);
    }
    t->d = vmulq_f32(load_halves(w, stride), vdupq_n_f32(0.125f));
}

/* The four six-bit numbers of each state's product, added; `at` says to which byte of a lane the
 * sum goes. States are 16 bits from bit 2 m on of two words, m 0..15. */
INLINE uint32x4_t t66_sum(uint32x4_t word, uint32x4_t next, int m, int at)
{
    const uint32x4_t low = vshlq_u32(word, vdupq_n_s32(-2 * m));
    const uint32x4_t high = vshlq_u32(next, vdupq_n_s32(32 - 2 * m));
    const uint32x4_t state = vandq_u32(m > 8 ? vorrq_u32(low, high) : low, vdupq_n_u32(0xffff));
    const uint32x4_t fields = vandq_u32(vmulq_n_u32(state, T66_FACTOR), vdupq_n_u32(T66_FIELDS));
    const uint32x4_t sum = vpaddlq_u16(vpaddlq_u8(vreinterpretq_u8_u32(fields)));

    return vshlq_u32(sum, vdupq_n_s32(8 * at));
}

static void fill_t66(tile256 *t, const uint8_t *w, size_t stride)
{
    uint8x16_t bytes[16];
    uint32x4_t word[17];

    for (int i = 0; i < 4; i++) load_columns(bytes + 4 * i, w + 2 + 16 * i, stride);
    for (int j = 0; j < 17; j++) word[j] = vreinterpretq_u32_u8(bytes[j & 15]);
    for (int j = 0; j < 16; j++) {
        for (int m = 0; m < 16; m += 4) {
            uint32x4_t four = t66_sum(word[j], word[j + 1], m, 0);
            for (int k = 1; k < 4; k++) four = vorrq_u32(four, t66_sum(word[j], word[j + 1], m + k, k));
            t->w[4 * j + m / 4] = vsubq_s8(vreinterpretq_s8_u32(four), vdupq_n_s8(T66_BIAS));
        }
    }
    t->d = load_halves(w, stride);
}

/* ---- tile times tokens ---------------------------------------------------------------- */

/* The sum of mins times sums of activations, for the 16 or 8 mins of a tile. */
INLINE int32x4_t min_sum(const tile256 *t, const ds4_q256 *x, const tile_kind kind)
{
    const int16x8_t low = vld1q_s16(x->sum), high = vld1q_s16(x->sum + 8);
    const int16x8_t wide = vpaddq_s16(low, high);          /* sums of 32, at most 4064 */
    int32x4_t sum = vdupq_n_s32(0);

#define MIN(i, v, lane) sum = vmlal_laneq_s16(sum, t->min[i], v, lane)
    if (kind == KIND_MIN32) {
        MIN(0, wide, 0); MIN(1, wide, 1); MIN(2, wide, 2); MIN(3, wide, 3);
        MIN(4, wide, 4); MIN(5, wide, 5); MIN(6, wide, 6); MIN(7, wide, 7);
        return sum;
    }
    MIN(0, low, 0); MIN(1, low, 1); MIN(2, low, 2); MIN(3, low, 3);
    MIN(4, low, 4); MIN(5, low, 5); MIN(6, low, 6); MIN(7, low, 7);
    MIN(8, high, 0); MIN(9, high, 1); MIN(10, high, 2); MIN(11, high, 3);
    MIN(12, high, 4); MIN(13, high, 5); MIN(14, high, 6); MIN(15, high, 7);
#undef MIN
    return sum;
}

/* acc[i] += tile * one block of token i. */
INLINE void add_tokens(float (*acc)[TILE_ROWS], const tile256 *t, const uint8_t *x, size_t x_stride,
                       const int n, const tile_kind kind)
{
    const bool wide = kind == KIND_MIN32 || kind == KIND_PLAIN32, plain = kind == KIND_PLAIN256;
    const ds4_q256 *xb[4];
    int32x4_t isum[4], part[4];

    UNROLL
    for (int i = 0; i < n; i++) {
        xb[i] = (const ds4_q256 *)(const void *)(x + (size_t)i * x_stride);
        isum[i] = part[i] = vdupq_n_s32(0);
    }
    for (int j = 0; j < 16; j++) {          /* 16 values at a time */
        const bool last = !wide || (j & 1);
        const int  g = wide ? j >> 1 : j;
        UNROLL
        for (int i = 0; i < n; i++) {
            const int8x16_t q = vld1q_s8(xb[i]->q + 16 * j);
            part[i] = vdotq_laneq_s32(part[i], t->w[4 * j], q, 0);
            part[i] = vdotq_laneq_s32(part[i], t->w[4 * j + 1], q, 1);
            part[i] = vdotq_laneq_s32(part[i], t->w[4 * j + 2], q, 2);
            part[i] = vdotq_laneq_s32(part[i], t->w[4 * j + 3], q, 3);
            if (last && !plain) {
                isum[i] = vmlaq_s32(isum[i], part[i], t->scale[g]);
                part[i] = vdupq_n_s32(0);
            }
        }
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        const float32x4_t dx = vdupq_n_f32(xb[i]->d);
        float32x4_t y = vld1q_f32(acc[i]);
        y = vfmaq_f32(y, vcvtq_f32_s32(plain ? part[i] : isum[i]), vmulq_f32(t->d, dx));
        if (kind == KIND_MIN16 || kind == KIND_MIN32)
            y = vfmsq_f32(y, vcvtq_f32_s32(min_sum(t, xb[i], kind)), vmulq_f32(t->dmin, dx));
        vst1q_f32(acc[i], y);
    }
}

/* Up to 64 tokens and any number of rows. */
INLINE void run(const block_call *c, size_t block_bytes, const tile_kind kind, const iq2_tables *tab)
{
    float   acc[MAX_TOKENS][TILE_ROWS];
    uint8_t part[TILE_ROWS * MAX_PART];
    tile256 tile;

    for (size_t r = 0; r < c->n_rows; r += TILE_ROWS) {
        const size_t n_rows = c->n_rows - r;
        memset(acc, 0, c->n_tokens * sizeof acc[0]);
        for (size_t b = 0; b < c->n_blocks; b++) {
            const uint8_t *w = c->w + r * c->w_stride + b * block_bytes;
            const uint8_t *x = c->x + b * sizeof(ds4_q256);
            size_t stride = c->w_stride, t = 0;
            if (n_rows < TILE_ROWS) {
                copy_part(part, w, stride, n_rows, block_bytes);
                w = part;
                stride = block_bytes;
            }
            if (block_bytes == Q2_K_BYTES) fill_q2_k(&tile, w, stride);
            else if (block_bytes == Q4_K_BYTES) fill_q4_k(&tile, w, stride);
            else if (block_bytes == Q6_K_BYTES) fill_q6_k(&tile, w, stride);
            else if (kind == KIND_PLAIN256) fill_t66(&tile, w, stride);
            else fill_iq2_xxs(&tile, w, stride, tab);
            for (; t + 4 <= c->n_tokens; t += 4)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 4, kind);
            for (; t < c->n_tokens; t++)
                add_tokens(acc + t, &tile, x + t * c->x_stride, c->x_stride, 1, kind);
        }
        for (size_t t = 0; t < c->n_tokens; t++)
            store4(c->y + t * c->y_stride + r, n_rows, vld1q_f32(acc[t]));
    }
}

#define MATMUL(type, bytes, kind, tables)                                                       \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        tables                                                                                  \
        for (size_t t = 0; t < n_tokens; t += MAX_TOKENS) {                                     \
            const size_t  n = n_tokens - t < MAX_TOKENS ? n_tokens - t : MAX_TOKENS;            \
            const block_call c = { y + t * y_stride, y_stride, w, w_stride, n_rows,                \
                                (const uint8_t *)x + t * x_stride, x_stride, n, n_in / 256 };   \
            run(&c, bytes, kind, tab);                                                          \
        }                                                                                       \
    }

MATMUL(q2_k, Q2_K_BYTES, KIND_MIN16, const iq2_tables *tab = NULL;)
MATMUL(q4_k, Q4_K_BYTES, KIND_MIN32, const iq2_tables *tab = NULL;)
MATMUL(q6_k, Q6_K_BYTES, KIND_PLAIN16, const iq2_tables *tab = NULL;)
MATMUL(iq2_xxs, IQ2_XXS_BYTES, KIND_PLAIN32, iq2_tables tables; const iq2_tables *tab = &tables;
       make_iq2_tables(&tables);)
MATMUL(t66, T66_BYTES, KIND_PLAIN256, const iq2_tables *tab = NULL;)

void ds4_kernels_neon_q256(ds4_kernels *k)
{
    k->matmul[DS4_Q2_K] = matmul_q2_k;
    k->matmul[DS4_Q4_K] = matmul_q4_k;
    k->matmul[DS4_Q6_K] = matmul_q6_k;
    k->matmul[DS4_IQ2_XXS] = matmul_iq2_xxs;
    k->matmul[DS4_T66] = matmul_t66;
}
