/* own_enter.cuh - entering a hyper-connection of four streams. Stands in for hc_enter; the same bits.
 *
 * A thread has the values that it adds up and mixes in registers, all loaded at once; a warp of its own does
 * the Sinkhorn rounds meanwhile, without memory. */
#pragma once
#include "backend/gpu/cuda/own_records.cuh"

enum { ENTER_THREADS = KD_GROUP + 32, ENTER_HC = 4 };

/* kd_group_sum over the first KD_GROUP threads; all threads of the group get here. */
OWN_FN float own_group_sum(float v, float *part)
{
    const uint32_t warp = threadIdx.x / 32;
    float          sum = 0.0f;

    v = kd_sum(v);
    if (threadIdx.x % 32 == 0 && warp < KD_GROUP / 32) part[warp] = v;
    __syncthreads();
    for (uint32_t i = 0; i < KD_GROUP / 32; i++) sum = __fadd_rn(sum, part[i]);
    __syncthreads();
    return sum;
}

/* As sinkhorn() of token.k; lane e < 16 has element e of the matrix. */
OWN_FN float own_sinkhorn(float m, uint32_t n_iters, float eps, uint32_t lane)
{
    const uint32_t e = lane & 15, i = e / ENTER_HC, j = e % ENTER_HC;

    for (uint32_t round = 0; round < 2 * n_iters; round++) {
        const bool rows = round % 2 == 0;
        float      v[ENTER_HC];
#pragma unroll
        for (uint32_t k = 0; k < ENTER_HC; k++) v[k] = __shfl_sync(~0u, m, rows ? i * ENTER_HC + k : k * ENTER_HC + j);
        if (round == 0) {
            float top = v[0], sum = 0.0f;
#pragma unroll
            for (uint32_t k = 1; k < ENTER_HC; k++) top = kd_max(top, v[k]);
#pragma unroll
            for (uint32_t k = 0; k < ENTER_HC; k++) sum += kd_exp(v[k] - top);
            m = kd_exp(m - top) / sum + eps;
            continue;
        }
        float sum = eps;
#pragma unroll
        for (uint32_t k = 0; k < ENTER_HC; k++) sum += v[k];
        m = m / sum;
    }
    return m;
}

/* EACH: values of a stream that a thread has. */
template <int EACH> OWN_FN void own_enter(const hc_args &a, const float *h, const float *m, const float *scale,
                                          const float *base, const float *norm, float *out, float *gate)
{
    __shared__ float part[KD_GROUP / 32], pre[ENTER_HC];
    const uint32_t   tid = threadIdx.x, lane = tid % 32, t = blockIdx.x;
    const bool       mixes = tid < KD_GROUP;
    const float     *row = h + (uint64_t)t * a.h_stride, *mix = m + (uint64_t)t * a.m_stride;
    float           *post = gate + (uint64_t)t * a.gate_stride, *to = out + (uint64_t)t * a.a_stride;
    float            v[ENTER_HC][EACH], w[EACH], sum = 0.0f;

    own_let_next_start();
#pragma unroll
    for (int k = 0; k < EACH; k++) w[k] = mixes ? norm[tid + k * KD_GROUP] : 0.0f;
    own_wait_for_last();
#pragma unroll
    for (int s = 0; s < ENTER_HC; s++) {
#pragma unroll
        for (int k = 0; k < EACH; k++) v[s][k] = mixes ? row[s * EACH * KD_GROUP + tid + k * KD_GROUP] : 0.0f;
    }
    const float b = lane < 16 ? base[2 * ENTER_HC + lane] : 0.0f, x = lane < 16 ? mix[2 * ENTER_HC + lane] : 0.0f;
#pragma unroll
    for (int s = 0; s < ENTER_HC; s++) {
#pragma unroll
        for (int k = 0; k < EACH; k++) sum = __fmaf_rn(v[s][k], v[s][k], sum);
    }
    sum = own_group_sum(sum, part);
    const float r = 1.0f / kd_sqrt(sum / (float)(ENTER_HC * EACH * KD_GROUP) + a.norm_eps);
    if (tid < ENTER_HC) {
        pre[tid] = kd_sigmoid(mix[tid] * r * scale[0] + base[tid]) + a.hc_eps;
        post[tid] = 2.0f * kd_sigmoid(mix[ENTER_HC + tid] * r * scale[1] + base[ENTER_HC + tid]);
    }
    __syncthreads();
    sum = 0.0f;
    if (mixes) {
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            float u = 0.0f;
#pragma unroll
            for (int s = 0; s < ENTER_HC; s++) u = __fmaf_rn(pre[s], v[s][k], u);
            v[0][k] = u;
            sum = __fmaf_rn(u, u, sum);
        }
    }
    sum = own_group_sum(sum, part);
    if (!mixes) {
        const float comb = own_sinkhorn(x * r * scale[2] + b, a.n_iters, a.hc_eps, lane);
        if (lane < 16) post[ENTER_HC + lane] = comb;
        return;
    }
    const float by = 1.0f / kd_sqrt(sum / (float)(EACH * KD_GROUP) + a.norm_eps);
#pragma unroll
    for (int k = 0; k < EACH; k++) to[tid + k * KD_GROUP] = v[0][k] * by * w[k];
}

#define OWN_ENTER(name, each)                                                                                     \
    extern "C" __global__ void __launch_bounds__(ENTER_THREADS) name(                                            \
        const __grid_constant__ hc_args a, const float *h, const float *m, const float *scale, const float *base, \
        const float *norm, float *out, float *gate)                                                              \
    {                                                                                                             \
        own_enter<each>(a, h, m, scale, base, norm, out, gate);                                                   \
    }
OWN_ENTER(own_enter_4096, 16)
OWN_ENTER(own_enter_256, 1)
