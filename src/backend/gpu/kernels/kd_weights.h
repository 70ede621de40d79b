/* kd_weights.h - eight weights of an encoded row, for every matrix type. The formats are those of
 * files, see docs/MODEL.md section 9; the values are bit for bit those of the decoders in
 * src/kernels/ref.
 *
 * Blocks of an even size are at even addresses, so that they may be read two bytes at a time. */
#ifndef DS4_BACKEND_GPU_KERNELS_KD_WEIGHTS_H
#define DS4_BACKEND_GPU_KERNELS_KD_WEIGHTS_H

#include "backend/gpu/kernels/kd_math.h"

/* Numbers of ds4_dtype, which a C enum cannot lend to every compiler. */
enum {
    KD_F32 = 0, KD_F16 = 1, KD_Q8_0 = 8, KD_Q2_K = 10, KD_Q4_K = 12, KD_Q6_K = 14, KD_IQ2_XXS = 16,
    KD_BF16 = 30, KD_MXFP4 = 39,
};

KD_TABLE(ushort, kd_iq2xxs_codes, 256) = {
#include "format/iq2xxs_codes_table.h"
};

KD_FN uint kd_load16(DEV const uchar *p)
{
    return *(DEV const ushort *)p;
}

KD_FN uint kd_load32(DEV const uchar *p)        /* at an even address */
{
    return kd_load16(p) | kd_load16(p + 2) << 16;
}

KD_FN float kd_load_half(DEV const uchar *p)
{
    return kd_of_half((ushort)kd_load16(p));
}

KD_FN float kd_signed_byte(uint word, uint i)
{
    return (float)((int)(word << (24 - 8 * i)) >> 24);
}

/* 2^(e - 127); 255 means NaN. */
KD_FN float kd_of_e8m0(uint e)
{
    return e == 0 ? 0x1p-127f : kd_float(e == 255 ? 0x7fc00000u : e << 23);
}

/* Twice the value of an E2M1 code. */
KD_FN int kd_twice_e2m1(uint c)
{
    const uint m = c & 7u;
    const int  v = (int)(m < 2u ? m : (2u + (m & 1u)) << ((m >> 1) - 1u));
    return (c & 8u) != 0 ? -v : v;
}

KD_FN void kd_decode_q8_0(PRV float *y, DEV const uchar *w, uint column)
{
    DEV const uchar *p = w + (ulong)(column / 32) * 34;
    const float      d = kd_load_half(p);
    const uint       at = 2 + column % 32;

    for (uint i = 0; i < 8; i += 4) {
        const uint word = kd_load32(p + at + i);
        for (uint j = 0; j < 4; j++) y[i + j] = d * kd_signed_byte(word, j);
    }
}

KD_FN void kd_decode_mxfp4(PRV float *y, DEV const uchar *w, uint column)
{
    DEV const uchar *p = w + (ulong)(column / 32) * 17;
    const float      d = kd_of_e8m0(p[0]);
    const uint       first = column % 16, shift = column % 32 < 16 ? 0 : 4;

    for (uint i = 0; i < 8; i++) {
        const uint  c = (uint)p[1 + first + i] >> shift & 15u;
        const float m = d * (0.5f * (float)kd_twice_e2m1(c & 7u));
        y[i] = (c & 8u) != 0 ? -m : m;      /* a zero may be negative */
    }
}

KD_FN void kd_decode_q2_k(PRV float *y, DEV const uchar *w, uint column)
{
    DEV const uchar *p = w + (ulong)(column / 256) * 84;
    const uint       j = column % 256, sm = p[j / 16], shift = 2 * (j / 32 % 4);
    const float      d = kd_load_half(p + 80), least = kd_load_half(p + 82) * (float)(sm >> 4);

    for (uint i = 0; i < 8; i += 4) {
        const uint word = kd_load32(p + 16 + 32 * (j / 128) + j % 32 + i) >> shift;
        for (uint k = 0; k < 4; k++) y[i + k] = d * (float)((sm & 15u) * (word >> (8 * k) & 3u)) - least;
    }
}

typedef struct kd_pair {
    uint scale, least;
} kd_pair;

/* Of the eight blocks of 32 in a block of Q4_K: six bits each, in twelve bytes. */
KD_FN kd_pair kd_q4_k_scale(DEV const uchar *six, uint b)
{
    kd_pair p;

    if (b < 4) {
        p.scale = six[b] & 63u;
        p.least = six[b + 4] & 63u;
    } else {
        p.scale = ((uint)six[b + 4] & 15u) | (uint)six[b - 4] >> 6 << 4;
        p.least = (uint)six[b + 4] >> 4 | (uint)six[b] >> 6 << 4;
    }
    return p;
}

KD_FN void kd_decode_q4_k(PRV float *y, DEV const uchar *w, uint column)
{
    DEV const uchar *p = w + (ulong)(column / 256) * 144;
    const uint       j = column % 256, b = j / 32, shift = b % 2 != 0 ? 4 : 0;
    const kd_pair    sm = kd_q4_k_scale(p + 4, b);
    const uint       scale = sm.scale;
    const float      d = kd_load_half(p), least = kd_load_half(p + 2) * (float)sm.least;

    for (uint i = 0; i < 8; i += 4) {
        const uint word = kd_load32(p + 16 + 32 * (j / 64) + j % 32 + i) >> shift;
        for (uint k = 0; k < 4; k++) y[i + k] = d * (float)(scale * (word >> (8 * k) & 15u)) - least;
    }
}

KD_FN void kd_decode_q6_k(PRV float *y, DEV const uchar *w, uint column)
{
    DEV const uchar *p = w + (ulong)(column / 256) * 210;
    const uint       j = column % 256, upper = j / 128, plane = j / 32 % 4;
    const int        scale = (int)((uint)p[192 + j / 16] << 24) >> 24;
    const float      d = kd_load_half(p + 208);
    DEV const uchar *low = p + 64 * upper + 32 * (plane % 2) + j % 32;
    DEV const uchar *high = p + 128 + 32 * upper + j % 32;

    for (uint i = 0; i < 8; i += 4) {
        const uint l = kd_load32(low + i) >> (plane < 2 ? 0 : 4), h = kd_load32(high + i) >> (2 * plane);
        for (uint k = 0; k < 4; k++) {
            const int q = (int)((l >> (8 * k) & 15u) | (h >> (8 * k) & 3u) << 4) - 32;
            y[i + k] = d * (float)(scale * q);
        }
    }
}

/* The number of negatives is even: seven signs say what the eighth is. */
KD_FN uint kd_eight_signs(uint seven)
{
    uint parity = seven ^ seven >> 4;

    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1u) << 7;
}

KD_FN void kd_decode_iq2_xxs(PRV float *y, DEV const uchar *w, uint column)
{
    DEV const uchar *group = w + (ulong)(column / 256) * 66 + 2 + 8 * (column % 256 / 32);
    const uint       k = column % 32 / 8, word = kd_load32(group + 4);
    const uint       code = kd_iq2xxs_codes[group[k]];
    const float      d = kd_load_half(w + (ulong)(column / 256) * 66);
    const float      unit = d * 0.125f * (float)(2 * (word >> 28) + 1);
    const uint       signs = kd_eight_signs(word >> (7 * k) & 127u);

    for (uint i = 0; i < 8; i++) {
        const uint  digit = code >> (2 * i) & 3u;
        const float m = digit == 0 ? 8.0f : digit == 1 ? 25.0f : 43.0f;
        y[i] = unit * ((signs >> i & 1u) != 0 ? -m : m);
    }
}

/* Columns beyond n_in count as zero; only the float types have rows of any length. */
KD_FN void kd_decode_float(uint dtype, PRV float *y, DEV const uchar *w, uint column, uint n_in)
{
    for (uint i = 0; i < 8; i++) {
        const ulong at = column + i;
        if (at >= n_in) y[i] = 0.0f;
        else if (dtype == KD_F32) y[i] = ((DEV const float *)w)[at];
        else if (dtype == KD_F16) y[i] = kd_of_half(((DEV const ushort *)w)[at]);
        else y[i] = kd_float((uint)((DEV const ushort *)w)[at] << 16);
    }
}

/* Weights column .. column + 7 of a row; column is a multiple of 8. dtype is a constant where this is
 * called, so that one case of it is compiled. */
KD_FN void kd_decode(uint dtype, PRV float *y, DEV const uchar *w, uint column, uint n_in)
{
    switch (dtype) {
    case KD_Q8_0:    kd_decode_q8_0(y, w, column); break;
    case KD_MXFP4:   kd_decode_mxfp4(y, w, column); break;
    case KD_Q2_K:    kd_decode_q2_k(y, w, column); break;
    case KD_Q4_K:    kd_decode_q4_k(y, w, column); break;
    case KD_Q6_K:    kd_decode_q6_k(y, w, column); break;
    case KD_IQ2_XXS: kd_decode_iq2_xxs(y, w, column); break;
    default:         kd_decode_float(dtype, y, w, column, n_in); break;
    }
}

#endif
