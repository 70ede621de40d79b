/* own_gemm.cuh - Q8_0 matrices times many tokens: prefill. Stands in for project_i8_q8_0.
 *
 * A group has 128 rows and 64 tokens; a warp 16 rows and all the tokens. Records and codes come through four
 * stages of 128 columns. Sums of the segment in progress are kept apart from the total. */
#pragma once
#include "backend/gpu/cuda/own_records.cuh"

enum {
    GEMM_STAGES = 4,
    GEMM_STEP = OWN_GEMM_TOKENS * 16 + 16,  /* between chunks of 16 bytes: copies spread over the banks */
    GEMM_CODES = 8 * OWN_Q8_RECORD, GEMM_SCALES = GEMM_CODES + 8 * GEMM_STEP,
    GEMM_STAGE = GEMM_SCALES + OWN_GEMM_TOKENS * 16,
};

/* Records of 128 columns of eight row tiles, codes and scales of 64 tokens. Tokens that do not exist are the
 * last one again. */
OWN_FN void own_gemm_fetch(const own_gemm_args &a, const uint8_t *w, const uint8_t *x, uint32_t token0, int64_t scales,
                           uint32_t i)
{
    const uint32_t n_records = a.n_in / OWN_Q8_COLUMNS, at = own_address(i % GEMM_STAGES * GEMM_STAGE);
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;

    if (i < n_records) {
        const uint8_t *from = w + ((uint64_t)warp * n_records + i) * OWN_Q8_RECORD + lane * 16;
        const uint32_t to = at + warp * OWN_Q8_RECORD + lane * 16;
#pragma unroll
        for (int b = 0; b < 4; b++) own_copy16(to + b * 512, from + b * 512);
        if (lane < 8) own_copy16(to + 2048, from + 2048);
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint32_t token = threadIdx.x / 8 + 32 * k, chunk = threadIdx.x % 8;
            own_copy16(at + GEMM_CODES + chunk * GEMM_STEP + token * 16,
                       x + (uint64_t)min(token0 + token, a.n_tokens - 1) * a.x_bytes + i * 128 + chunk * 16);
        }
        if (threadIdx.x < OWN_GEMM_TOKENS) {
            own_copy16(at + GEMM_SCALES + threadIdx.x * 16,
                       x + (uint64_t)min(token0 + threadIdx.x, a.n_tokens - 1) * a.x_bytes + scales + i * 16);
        }
    }
    own_copies_commit();
}

/* Grid: 64 tokens, 128 rows, matrices. */
extern "C" __global__ void __launch_bounds__(OWN_THREADS, 2) own_gemm(const __grid_constant__ own_gemm_args a, const uint8_t *w,
                                                                      const uint8_t *x, float *y)
{
    const int      lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
    const uint32_t n_records = a.n_in / OWN_Q8_COLUMNS, token0 = blockIdx.x * OWN_GEMM_TOKENS, row0 = blockIdx.y * OWN_GEMM_ROWS;
    const int64_t  scales = (int64_t)a.x_scales + blockIdx.z * (a.x_mat / 32 * 4) - (int64_t)(blockIdx.z * a.x_mat);
    float          acc[8][4] = {}, sum[8][4] = {};

    own_let_next_start();
    own_wait_for_last();
    w += blockIdx.z * a.w_mat + (uint64_t)(row0 / 16) * n_records * OWN_Q8_RECORD;
    x += blockIdx.z * a.x_mat;
    for (int i = 0; i < GEMM_STAGES - 1; i++) own_gemm_fetch(a, w, x, token0, scales, i);
#pragma unroll 1
    for (uint32_t i = 0; i < n_records; i++) {
        own_copies_wait<GEMM_STAGES - 2>();
        __syncthreads();
        own_gemm_fetch(a, w, x, token0, scales, i + GEMM_STAGES - 1);
        const uint32_t at = i % GEMM_STAGES * GEMM_STAGE, mine = at + warp * OWN_Q8_RECORD;
        uint4          r[4];
#pragma unroll
        for (int b = 0; b < 4; b++) r[b] = own_at<uint4>(mine + b * 512 + lane * 16);
        const uint4    d = own_at<uint4>(mine + 2048 + g * 16);
        const float2   dw[4] = { own_halves(d.x), own_halves(d.y), own_halves(d.z), own_halves(d.w) };
        const uint32_t codes = own_address(at) + GEMM_CODES + (lane >> 3) * GEMM_STEP + (lane & 7) * 16;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            uint32_t b[2][4];
            own_matrices4(b[0], codes + n * 128);
            own_matrices4(b[1], codes + n * 128 + 4 * GEMM_STEP);
            const float4 u = own_at<float4>(at + GEMM_SCALES + (n * 8 + 2 * t) * 16);
            const float4 v = own_at<float4>(at + GEMM_SCALES + (n * 8 + 2 * t + 1) * 16);
            const float  dx[4][2] = { { u.x, v.x }, { u.y, v.y }, { u.z, v.z }, { u.w, v.w } };
            int          c[4][4];
#pragma unroll
            for (int k = 0; k < 4; k++) own_mma(c[k], r[k], b[k >> 1][2 * (k & 1)], b[k >> 1][2 * (k & 1) + 1], own_magic);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                acc[n][0] = __fmaf_rn(__fmul_rn(dw[k].x, dx[k][0]), own_unmagic(c[k][0]), acc[n][0]);
                acc[n][1] = __fmaf_rn(__fmul_rn(dw[k].x, dx[k][1]), own_unmagic(c[k][1]), acc[n][1]);
                acc[n][2] = __fmaf_rn(__fmul_rn(dw[k].y, dx[k][0]), own_unmagic(c[k][2]), acc[n][2]);
                acc[n][3] = __fmaf_rn(__fmul_rn(dw[k].y, dx[k][1]), own_unmagic(c[k][3]), acc[n][3]);
            }
        }
        if ((i & 3) != 3 && i + 1 < n_records) continue;    /* the segment of 512 columns ends */
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                sum[n][k] = __fadd_rn(sum[n][k], acc[n][k]);
                acc[n][k] = 0.0f;
            }
        }
    }
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const uint32_t token = token0 + n * 8 + 2 * t + (k & 1), row = row0 + warp * 16 + g + (k >> 1) * 8;
            if (token < a.n_tokens) y[(uint64_t)token * a.y_stride + blockIdx.z * a.y_mat + row] = sum[n][k];
        }
    }
}
