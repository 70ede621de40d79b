/* kd_rows.h - attention rows and indexer rows: reading a value, rounding and packing a row that lies
 * in the group's memory. Bit for bit what src/kernels/ref/rows_ref.c writes. Source: docs/MODEL.md
 * sections 3.8 and 7. */
#ifndef DS4_BACKEND_GPU_KERNELS_KD_ROWS_H
#define DS4_BACKEND_GPU_KERNELS_KD_ROWS_H

#include "backend/gpu/kernels/kd_weights.h"
#include "backend/gpu/args.h"

/* ---- reading ------------------------------------------------------------------------------------- */

KD_FN float kd_of_e4m3(uint c)
{
    const uint  e = c >> 3 & 15u, f = c & 7u;
    const float m = e != 0 ? kd_float((e + 120) << 23 | f << 20) : (float)f * 0x1p-9f;

    if ((c & 127u) == 127u) return kd_float(0x7fc00000u);
    return (c & 128u) != 0 ? -m : m;
}

/* Value d of row i of the rows that begin at base. */
KD_FN float kd_row_value(DEV const uchar *base, kd_row_form f, uint n_nope, uint exact, uint i, uint d)
{
    if (exact != 0) return ((DEV const float *)(base + f.code + (ulong)i * f.code_stride))[d];
    if (d >= n_nope) {
        DEV const ushort *rot = (DEV const ushort *)(base + f.rot + (ulong)i * f.rot_stride);
        return kd_of_half(rot[d - n_nope]);
    }
    const uint code = base[f.code + (ulong)i * f.code_stride + d];
    const uint scale = base[f.scale + (ulong)i * f.scale_stride + d / 64];
    return kd_of_e4m3(code) * kd_of_e8m0(scale);
}

/* ---- rounding ------------------------------------------------------------------------------------ */

/* The code of the smallest power of two >= v, for normal v. */
KD_FN uint kd_e8m0_ceil(float v)
{
    const uint bits = kd_bits(v);
    return (bits >> 23) + ((bits & 0x7fffffu) != 0 ? 1u : 0u);
}

/* Nearest code, ties to the even one, at most +-448; v is not NaN. */
KD_FN uint kd_to_e4m3(float v)
{
    const uint bits = kd_bits(v), sign = bits >> 24 & 0x80u;
    uint       m = bits & 0x7fffffffu;

    if (m > 0x43e00000u) m = 0x43e00000u;
    if (m < 0x3c800000u) return sign | (uint)kd_rint(kd_float(m) * 512.0f);
    return sign | ((m + 0x7ffffu + (m >> 20 & 1u)) - 0x3c000000u) >> 20;
}

KD_FN uint kd_to_e2m1(float v)
{
    const float m = kd_abs(v);
    const uint  c = (m > 0.25f ? 1u : 0u) + (m >= 0.75f ? 1u : 0u) + (m > 1.25f ? 1u : 0u)
                 + (m >= 1.75f ? 1u : 0u) + (m > 2.5f ? 1u : 0u) + (m >= 3.5f ? 1u : 0u)
                 + (m > 5.0f ? 1u : 0u);
    return (kd_bits(v) >> 31 << 3) | c;
}

/* Rotate the interleaved pair (x0, x1) forward by an angle. */
KD_FN void kd_rotate(PRV float *x0, PRV float *x1, float c, float s)
{
    const float u = *x0, v = *x1;
    *x0 = kd_fma(u, c, -(v * s));
    *x1 = kd_fma(u, s, v * c);
}

/* ---- packing, by the whole group ------------------------------------------------------------------ */

/* z [n_nope + n_rot] becomes row i. Each simdgroup takes blocks of 64 values. */
KD_FN void kd_pack_row(DEV uchar *base, kd_row_form f, uint n_nope, uint n_rot, uint exact, uint i,
                       TGM const float *z, uint tid, uint n_threads)
{
    const uint lane = tid % 32, n_groups = n_threads / 32;
    DEV uchar *codes = base + f.code + (ulong)i * f.code_stride;
    DEV uchar *scales = base + f.scale + (ulong)i * f.scale_stride;
    DEV ushort *rot = (DEV ushort *)(base + f.rot + (ulong)i * f.rot_stride);

    if (exact != 0) {
        for (uint d = tid; d < n_nope + n_rot; d += n_threads) ((DEV float *)codes)[d] = z[d];
        return;
    }
    for (uint b = tid / 32; 64 * b < n_nope; b += n_groups) {
        const uint  d0 = 64 * b + lane, d1 = d0 + 32;
        const float v0 = d0 < n_nope ? z[d0] : 0.0f, v1 = d1 < n_nope ? z[d1] : 0.0f;
        const uint  m0 = kd_bits(v0) & 0x7fffffffu, m1 = kd_bits(v1) & 0x7fffffffu;
        const uint  most = kd_max_uint(m0 > m1 ? m0 : m1);
        const bool  finite = most < 0x7f800000u;
        const uint  e = finite ? kd_e8m0_ceil(kd_max(1e-4f, kd_float(most)) / 448.0f) : 255u;
        const float inv = kd_float((254u - (finite ? e : 127u)) << 23);
        if (d0 < n_nope) codes[d0] = (uchar)(finite ? kd_to_e4m3(v0 * inv) : 0u);
        if (d1 < n_nope) codes[d1] = (uchar)(finite ? kd_to_e4m3(v1 * inv) : 0u);
        if (lane == 0) scales[b] = (uchar)e;
    }
    /* The scales are padded to a multiple of eight bytes with zeros. */
    const uint n_scales = (n_nope + 63) / 64, n_padded = (n_nope + n_scales + 7) / 8 * 8 - n_nope;
    if (tid >= n_scales && tid < n_padded) scales[tid] = 0;
    for (uint d = tid; d < n_rot; d += n_threads) rot[d] = kd_to_half(z[n_nope + d]);
}

/* x = H x / sqrt(n) of n values, n a power of two >= 32, by one simdgroup. */
KD_FN void kd_hadamard(TGM float *x, uint n, uint lane)
{
    for (uint stride = 1; stride < n; stride *= 2) {
        SG_BARRIER();
        for (uint i = lane; i < n / 2; i += 32) {
            const uint  at = i / stride * 2 * stride + i % stride;
            const float u = x[at], v = x[at + stride];
            x[at] = u + v;
            x[at + stride] = u - v;
        }
    }
    SG_BARRIER();
    const float scale = 1.0f / kd_sqrt((float)n);
    for (uint i = lane; i < n; i += 32) x[i] *= scale;
    SG_BARRIER();
}

/* x [n] becomes a packed indexer row, by one simdgroup: codes in pairs, a scale for each 32. */
KD_FN void kd_pack_index(DEV uchar *codes, DEV uchar *scales, TGM const float *x, uint n, uint lane)
{
    const float least = 6.0f * 0x1p-126f;

    for (uint b = 0; b < n / 32; b++) {
        const float v = x[32 * b + lane];
        const uint  most = kd_max_uint(kd_bits(v) & 0x7fffffffu);
        const bool  finite = most < 0x7f800000u;
        const uint  e = finite ? kd_e8m0_ceil(kd_max(least, kd_float(most)) / 6.0f) : 255u;
        const float inv = kd_float((254u - (finite ? e : 127u)) << 23);
        const uint  code = finite ? kd_to_e2m1(v * inv) : 0u;
        const uint  next = kd_shuffle_xor(code, 1u);
        if (lane % 2 == 0) codes[16 * b + lane / 2] = (uchar)(code | next << 4);
        if (lane == 0) scales[b] = (uchar)e;
    }
}

#endif
