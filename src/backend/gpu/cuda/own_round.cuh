/* own_round.cuh - activations to int8 in the order of records. The same rounding as the dialect's quantize. */
#pragma once
#include "backend/gpu/cuda/own_records.cuh"

/* The four columns of word w (0 .. 63) of 256 codes. */
OWN_FN uint32_t own_column(uint32_t form, uint32_t w)
{
    return form == OWN_Q2_K ? 64 * (w & 3) + 8 * (w >> 3) + 4 * (w >> 2 & 1) : 32 * (w >> 3) + 8 * (w & 3) + 4 * (w >> 2 & 1);
}

OWN_FN uint32_t own_most(const float4 &v)
{
    const uint32_t a = __float_as_uint(v.x) & 0x7fffffffu, b = __float_as_uint(v.y) & 0x7fffffffu;
    const uint32_t c = __float_as_uint(v.z) & 0x7fffffffu, d = __float_as_uint(v.w) & 0x7fffffffu;
    return max(max(a, b), max(c, d));
}
OWN_FN uint32_t own_most_of_lanes(uint32_t m, int n_lanes)
{
    for (int i = 1; i < n_lanes; i *= 2) m = max(m, __shfl_xor_sync(~0u, m, i));
    return m;
}
OWN_FN uint32_t own_codes(const float4 &v, float inv)
{
    return ((uint32_t)(int)rintf(v.x * inv) & 255u) | ((uint32_t)(int)rintf(v.y * inv) & 255u) << 8 |
           ((uint32_t)(int)rintf(v.z * inv) & 255u) << 16 | (uint32_t)(int)rintf(v.w * inv) << 24;
}

/* A block of 256 values by a warp, of which n exist: codes, sums (Q2_K), scales. x(c) gives values c .. c+3. */
template <class X> OWN_FN void own_round_block(uint32_t form, const X &x, uint32_t n, uint8_t *to, float *scale, int lane)
{
    float4   v[2];
    uint32_t most[2], sum[2];

#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t c = own_column(form, lane + 32 * i);
        v[i] = c < n ? x(c) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        most[i] = own_most(v[i]);
    }
    if (form != OWN_Q8_0) most[0] = most[1] = max(most[0], most[1]);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint32_t w = lane + 32 * i;
        const uint32_t m = own_most_of_lanes(most[i], form == OWN_Q8_0 ? 8 : 32);
        const float    d = __uint_as_float(m) / 127.0f;
        const bool     finite = m < 0x7f800000u, small = d < 0x1p-126f;
        const uint32_t codes = finite && !small ? own_codes(v[i], 1.0f / d) : 0u;
        const float    by = !finite ? __uint_as_float(0x7fc00000u) : small ? 0.0f : d;
        if (own_column(form, w) < n) ((uint32_t *)to)[w] = codes;
        if (form != OWN_Q8_0 && lane == 0 && i == 0) scale[0] = by;
        if (form == OWN_Q8_0 && (lane & 7) == 0 && 4 * w < n) scale[w >> 3] = by;
        sum[i] = __dp4a((int)codes, 0x01010101, 0);
    }
    if (form != OWN_Q2_K) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int s = (int)sum[i];
        s += __shfl_xor_sync(~0u, s, 4);
        s += __shfl_xor_sync(~0u, s, 8);
        if ((lane & 12) != 0) continue;
        const uint32_t j = 4 * (lane & 3) + (lane >> 4) + 2 * i;
        to[256 + j] = (uint8_t)(s & 15);
        to[272 + j] = (uint8_t)(s >> 4);
    }
}

OWN_FN uint32_t own_code_bytes(uint32_t form) { return form == OWN_Q2_K ? OWN_Q2K_CODES : 256; }

/* Grid: blocks of 256 / 8, tokens, matrices. */
extern "C" __global__ void __launch_bounds__(256) own_round(const __grid_constant__ own_round_args a, const float *x,
                                                            uint8_t *to)
{
    const uint32_t block = blockIdx.x * 8 + threadIdx.x / 32, first = block * 256;

    own_let_next_start();
    own_wait_for_last();
    if (first >= a.n_each) return;
    const float   *from = x + (uint64_t)blockIdx.y * a.x_stride + (uint64_t)blockIdx.z * a.x_mat + first;
    uint8_t       *row = to + (uint64_t)blockIdx.y * a.to_bytes;
    const uint32_t at = blockIdx.z * a.n_each + first;      /* of the row's values */
    uint8_t       *codes = row + (a.form == OWN_Q2_K ? at / 256 * OWN_Q2K_CODES : at);
    float         *scale = (float *)(row + a.to_scales) + at / (a.form == OWN_Q8_0 ? 32 : 256);
    own_round_block(a.form, [=](uint32_t c) { return *(const float4 *)(from + c); }, min(a.n_each - first, 256u), codes,
                    scale, threadIdx.x % 32);
}
