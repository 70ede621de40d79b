/* own_experts.cuh - routed experts: IQ2_XXS and Q2_K. Stands in for experts_i8_iq2_xxs and experts_i8_q2_k,
 * and where one token is alone for all that surrounds them.
 *
 * One token is bound by reading weights: warps of a group share the columns of 16 rows. A few tokens are
 * tiles of eight pairs of one expert, many tiles of 64; rows are shared out then and weights decoded once
 * for a tile. */
#pragma once
#include "backend/gpu/cuda/own_project.cuh"

/* ---- pairs by expert ------------------------------------------------------------------------------- */

/* begin [n_experts + 1]: where an expert's pairs begin in order. One group. The order of an expert's pairs is
 * any: no result depends on it. tile_begin: the same in tiles of eight pairs. */
extern "C" __global__ void __launch_bounds__(1024) own_sort(const __grid_constant__ sort_args a, const int *expert,
                                                            uint32_t *order, uint32_t *begin, uint32_t *tile_begin)
{
    __shared__ uint32_t count[KD_MAX_EXPERTS], next[KD_MAX_EXPERTS];

    own_let_next_start();
    for (uint32_t e = threadIdx.x; e < a.n_experts; e += blockDim.x) count[e] = 0;
    own_wait_for_last();
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < a.n_pairs; i += blockDim.x) atomicAdd(&count[expert[i]], 1u);
    __syncthreads();
    if (threadIdx.x < 32) {
        uint32_t at = 0, tiles = 0;
        for (uint32_t e0 = 0; e0 < a.n_experts; e0 += 32) {
            const uint32_t e = e0 + threadIdx.x, n = e < a.n_experts ? count[e] : 0, m = (n + 7) / 8;
            const uint32_t upto = kd_scan(n, threadIdx.x), tiles_upto = kd_scan(m, threadIdx.x);
            if (e < a.n_experts) {
                next[e] = begin[e] = at + upto - n;
                tile_begin[e] = tiles + tiles_upto - m;
            }
            at += __shfl_sync(~0u, upto, 31);
            tiles += __shfl_sync(~0u, tiles_upto, 31);
        }
        if (threadIdx.x == 0) begin[a.n_experts] = at, tile_begin[a.n_experts] = tiles;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < a.n_pairs; i += blockDim.x) order[atomicAdd(&next[expert[i]], 1u)] = i;
}

/* ---- one token -------------------------------------------------------------------------------------- */

/* gate and up of 16 rows of one expert at a time, four warps each; out = their swiglu. Groups stay and take
 * one (expert, rows) after the other. x: floats. */
extern "C" __global__ void __launch_bounds__(OWN_THREADS, 2)
own_gate_up_one(const __grid_constant__ own_one_args a, const uint8_t *gate, const uint8_t *up, const float *x,
                const int *expert, const float *weight, float *out)
{
    const int      warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3, q = warp & 3;
    const uint32_t n_blocks = a.n_embd / 256, n_tiles = a.n_ffn / 16, n_items = a.n_used * n_tiles;
    const uint32_t codes = OWN_TABLE_BYTES, scales = codes + a.n_embd, parts = scales + (n_blocks * 4 + 15) / 16 * 16;
    const uint8_t *w = warp < 4 ? gate : up;
    const uint64_t w_mat = warp < 4 ? a.gate_mat : a.up_mat;

    own_let_next_start();
    own_build_table(threadIdx.x, OWN_THREADS);
    own_wait_for_last();
    auto tile_of = [&](uint32_t item) {
        return w + (uint64_t)expert[item / n_tiles] * w_mat + (uint64_t)(item % n_tiles) * n_blocks * OWN_IQ2_RECORD;
    };
    own_iq2 r[4];
    if (blockIdx.x < n_items) {
        const uint8_t *tile = tile_of(blockIdx.x);
#pragma unroll
        for (uint32_t j = 0; j < 4; j++)
            if (q + 4 * j < n_blocks) own_load(r[j], tile + (uint64_t)(q + 4 * j) * OWN_IQ2_RECORD, lane);
    }
    for (uint32_t b = warp; b < n_blocks; b += 8)
        own_round_block(OWN_IQ2_XXS, [=](uint32_t c) { return *(const float4 *)(x + b * 256 + c); }, 256,
                        &own_at<uint8_t>(codes + b * 256), &own_at<float>(scales + b * 4), lane);
    __syncthreads();
    for (uint32_t item = blockIdx.x; item < n_items; item += gridDim.x) {
        const uint32_t next = item + gridDim.x;
        const uint8_t *now = tile_of(item), *then = tile_of(next < n_items ? next : item);
        for (uint32_t j0 = 0; q + 4 * j0 < n_blocks; j0 += 4) {
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                const uint32_t b = q + 4 * (j0 + j);
                if (b >= n_blocks) continue;
                const uint32_t at = codes + b * 256 + g * 32 + 4 * t;
                const int2     s = own_sums_one(r[j], own_at<uint32_t>(at), own_at<uint32_t>(at + 16), lane);
                const float2   d = own_halves(r[j].d);
                const float    dx = own_at<float>(scales + b * 4);
                const float    v[4] = { own_part_iq2(d.x, dx, s.x), 0.0f, own_part_iq2(d.y, dx, s.y), 0.0f };
                own_put_part(parts, (warp < 4 ? 0 : n_blocks) + b, 1, v, lane);
                const uint32_t far = b + 16;
                if (far < n_blocks) own_load(r[j], now + (uint64_t)far * OWN_IQ2_RECORD, lane);
                else if (next < n_items) own_load(r[j], then + (uint64_t)(q + 4 * j) * OWN_IQ2_RECORD, lane);
            }
        }
        __syncthreads();
        if (threadIdx.x < 16) {
            const float gs = own_sum_parts(parts, 0, n_blocks, 1, threadIdx.x, 0);
            const float us = own_sum_parts(parts, n_blocks, n_blocks, 1, threadIdx.x, 0);
            const uint32_t i = item / n_tiles;
            out[(uint64_t)i * a.n_ffn + item % n_tiles * 16 + threadIdx.x] = kd_swiglu(gs, us, a.clamp, weight[i]);
        }
        __syncthreads();
    }
}

/* y = the experts' down products in order, then the shared expert's. A group has 16 rows; a warp a block of 256
 * columns of each expert, and half a segment of the shared one. h: [n_used][n_ffn] of own_gate_up_one;
 * shared_gate, shared_up: products not yet joined. */
extern "C" __global__ void __launch_bounds__(OWN_THREADS, 2)
own_down_one(const __grid_constant__ own_one_args a, const uint8_t *down, const uint8_t *shared, const float *h,
             const float *shared_gate, const float *shared_up, const int *expert, float *y)
{
    enum { AHEAD = 3 };
    const int      warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t n_blocks = a.n_ffn / 256, n_all = a.n_used * n_blocks, n_records = a.n_ffn / OWN_Q8_COLUMNS;
    const uint32_t n_segments = (n_records + 3) / 4, tile = blockIdx.x;
    const uint32_t scales = n_all * OWN_Q2K_CODES, codes8 = scales + (n_all * 4 + 15) / 16 * 16;
    const uint32_t scales8 = codes8 + a.n_ffn, zero = scales8 + a.n_ffn / 32 * 4, parts = zero + 16;
    const uint8_t *w8 = shared + (uint64_t)tile * n_records * OWN_Q8_RECORD;
    const uint32_t half = warp >> 2;            /* of segments warp % 4, and 4 more, .. */
    own_q8         r8[2];

    auto load_half = [&](uint32_t s) {
#pragma unroll
        for (uint32_t j = 0; j < 2; j++) {
            const uint32_t i = s * 4 + half * 2 + j;
            if (i < n_records) own_load(r8[j], w8 + (uint64_t)i * OWN_Q8_RECORD, lane);
        }
    };
    own_let_next_start();
    load_half(warp & 3);
    if (threadIdx.x == 0) own_at<uint4>(zero) = make_uint4(0, 0, 0, 0);
    own_wait_for_last();
    own_q2k r[AHEAD];
    auto    load_block = [&](uint32_t slot, uint32_t i, uint32_t b) {
        if (i < a.n_used && b < n_blocks)
            own_load(r[slot], down + (uint64_t)expert[i] * a.down_mat + ((uint64_t)tile * n_blocks + b) * OWN_Q2K_RECORD, lane);
    };
#pragma unroll
    for (uint32_t i = 0; i < AHEAD; i++) load_block(i, i, warp);
    for (uint32_t b = warp; b < n_all; b += 8)
        own_round_block(OWN_Q2_K, [=](uint32_t c) { return *(const float4 *)(h + b * 256 + c); }, 256,
                        &own_at<uint8_t>(b * OWN_Q2K_CODES), &own_at<float>(scales + b * 4), lane);
    for (uint32_t b = warp; b * 256 < a.n_ffn; b += 8)
        own_round_block(OWN_Q8_0, [=](uint32_t c) {
            const float4 u = *(const float4 *)(shared_gate + b * 256 + c), v = *(const float4 *)(shared_up + b * 256 + c);
            return make_float4(kd_swiglu(u.x, v.x, a.clamp, 1.0f), kd_swiglu(u.y, v.y, a.clamp, 1.0f),
                               kd_swiglu(u.z, v.z, a.clamp, 1.0f), kd_swiglu(u.w, v.w, a.clamp, 1.0f));
        }, min(a.n_ffn - b * 256, 256u), &own_at<uint8_t>(codes8 + b * 256), &own_at<float>(scales8 + b * 32), lane);
    __syncthreads();
    for (uint32_t b = warp; b < n_blocks; b += 8) {
        for (uint32_t i0 = 0; i0 < a.n_used; i0 += AHEAD) {
#pragma unroll
            for (uint32_t k = 0; k < AHEAD; k++) {
                const uint32_t i = i0 + k;
                if (i >= a.n_used) continue;
                uint4 m[9];
                int   sum[4], least[4];
                const float2 dg = own_halves(r[k].d.x), dh = own_halves(r[k].d.y);
                own_weights(m, r[k]);
                if (i + AHEAD < a.n_used) load_block(k, i + AHEAD, b);
                else load_block(k, k, b + 8);
                own_sums(sum, least, m, own_tokens_of((i * n_blocks + b) * OWN_Q2K_CODES, zero, 1, lane), 0, 0);
                const float dx = own_at<float>(scales + (i * n_blocks + b) * 4);
                const float v[4] = { own_part_q2k(dg.x, dg.y, dx, sum[0], least[0]), 0.0f,
                                     own_part_q2k(dh.x, dh.y, dx, sum[2], least[2]), 0.0f };
                own_put_part(parts, i * n_blocks + b, 1, v, lane);
            }
        }
    }
    /* The second half of a segment goes on where the first has ended. */
    const own_tokens x8 = own_tokens_of(codes8, zero, 1, lane);
    for (uint32_t s0 = 0; s0 < n_segments; s0 += 4) {
        const uint32_t s = s0 + (warp & 3), at = parts + ((n_all + s) * 16 + (lane >> 2)) * 4;
        for (uint32_t turn = 0; turn < 2; turn++) {
            if (turn == half && s < n_segments) {
                float acc[4] = { half ? own_at<float>(at) : 0.0f, 0.0f, half ? own_at<float>(at + 32) : 0.0f, 0.0f };
                if (s0 > 0) load_half(s);
#pragma unroll
                for (uint32_t j = 0; j < 2; j++) {
                    const uint32_t i = s * 4 + half * 2 + j;
                    if (i < n_records) own_add(acc, r8[j], x8, i * 8, scales8 + i * 16, 4, true);
                }
                __syncwarp();
                own_put_part(parts, n_all + s, 1, acc, lane);
            }
            __syncthreads();
        }
    }
    if (threadIdx.x < 16) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < a.n_used; i++)
            sum = __fadd_rn(sum, own_sum_parts(parts, i * n_blocks, n_blocks, 1, threadIdx.x, 0));
        y[tile * 16 + threadIdx.x] = __fadd_rn(sum, own_sum_parts(parts, n_all, n_segments, 1, threadIdx.x, 0));
    }
}

/* ---- a few tokens: tiles of eight pairs ----------------------------------------------------------------- */

struct own_tile {
    uint32_t expert, first, n;      /* pairs first .. first + n - 1 of the order */
};
/* Tile i of eight pairs; the expert is found by halves. */
OWN_FN own_tile own_tile_of(uint32_t i, const uint32_t *begin, const uint32_t *tile_begin, uint32_t n_experts)
{
    uint32_t low = 0, high = n_experts;     /* tile_begin[low] <= i < tile_begin[high] */
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        if (tile_begin[middle] <= i) low = middle;
        else high = middle;
    }
    own_tile t;
    t.expert = low;
    t.first = begin[low] + (i - tile_begin[low]) * 8;
    t.n = min(begin[low + 1] - t.first, 8u);
    return t;
}

struct own_kind_iq2 {
    typedef own_iq2 record;
    enum { RECORD = OWN_IQ2_RECORD, CODES = OWN_IQ2_CODES, TABLE = OWN_TABLE_BYTES };
    static __device__ __forceinline__ void part(float (&v)[4], const own_iq2 &r, const own_tokens &x, float2 dx, int lane)
    {
        int sum[1][4] = {};
        own_sums<1>(sum, r, x, 0, lane);
        const float2 d = own_halves(r.d);
        v[0] = own_part_iq2(d.x, dx.x, sum[0][0]);
        v[1] = own_part_iq2(d.x, dx.y, sum[0][1]);
        v[2] = own_part_iq2(d.y, dx.x, sum[0][2]);
        v[3] = own_part_iq2(d.y, dx.y, sum[0][3]);
    }
};
struct own_kind_q2k {
    typedef own_q2k record;
    enum { RECORD = OWN_Q2K_RECORD, CODES = OWN_Q2K_CODES, TABLE = 0 };
    static __device__ __forceinline__ void part(float (&v)[4], const own_q2k &r, const own_tokens &x, float2 dx, int lane)
    {
        uint4 m[9];
        int   sum[4], least[4];
        own_weights(m, r);
        own_sums(sum, least, m, x, 0, 0);
        const float2 dg = own_halves(r.d.x), dh = own_halves(r.d.y);
        v[0] = own_part_q2k(dg.x, dg.y, dx.x, sum[0], least[0]);
        v[1] = own_part_q2k(dg.x, dg.y, dx.y, sum[1], least[1]);
        v[2] = own_part_q2k(dh.x, dh.y, dx.x, sum[2], least[2]);
        v[3] = own_part_q2k(dh.x, dh.y, dx.y, sum[3], least[3]);
    }
};

/* Eight warps share the columns of 16 rows for a tile. Groups stay and take rows of tiles one after the
 * other, so that a tile's codes are fetched once. */
template <class K> OWN_FN void own_experts_few(const own_experts_args &a, const uint8_t *w, const uint8_t *x, float *y,
                                               const uint32_t *order, const uint32_t *begin, const uint32_t *tile_begin)
{
    const int      warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t n_blocks = a.n_in / 256, n_rows = a.n_out / 16;
    const uint32_t codes = K::TABLE, scales = codes + n_blocks * K::CODES * 8, parts = scales + n_blocks * 32;
    uint32_t       is_here = ~0u;
    own_tile       tile;

    own_let_next_start();
    if (K::TABLE) own_build_table(threadIdx.x, OWN_THREADS);
    own_wait_for_last();
    const uint32_t n_items = tile_begin[a.n_experts] * n_rows;
    const uint32_t from = (uint32_t)((uint64_t)n_items * blockIdx.x / gridDim.x);
    const uint32_t to = (uint32_t)((uint64_t)n_items * (blockIdx.x + 1) / gridDim.x);
    for (uint32_t item = from; item < to; item++) {
        const uint32_t i_tile = item / n_rows, i_row = item % n_rows;
        if (i_tile != is_here) tile = own_tile_of(i_tile, begin, tile_begin, a.n_experts);
        const uint8_t     *rows = w + tile.expert * a.w_mat + (uint64_t)i_row * n_blocks * K::RECORD;
        typename K::record r[2];
#pragma unroll
        for (uint32_t j = 0; j < 2; j++)
            if (warp + 8 * j < n_blocks) own_load(r[j], rows + (uint64_t)(warp + 8 * j) * K::RECORD, lane);
        if (i_tile != is_here) {
            const uint32_t token = threadIdx.x & 7, pair = order[tile.first + min(token, tile.n - 1)];
            const uint8_t *row = x + (uint64_t)(a.x_by_token ? pair / a.n_used : pair) * a.x_bytes;
            own_stage(codes, scales, token < tile.n ? row : NULL, n_blocks * K::CODES / 16, n_blocks,
                      (const float *)(row + a.x_scales));
            is_here = i_tile;
        }
        __syncthreads();
        for (uint32_t b0 = warp; b0 < n_blocks; b0 += 16) {
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t b = b0 + 8 * j;
                if (b >= n_blocks) continue;
                float v[4];
                if (b >= 16) own_load(r[j], rows + (uint64_t)b * K::RECORD, lane);
                K::part(v, r[j], own_tokens_of(codes + b * K::CODES * 8, 0, 8, lane),
                        own_at<float2>(scales + b * 32 + (lane & 3) * 8), lane);
                own_put_part(parts, b, 8, v, lane);
            }
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < 16 * tile.n; i += OWN_THREADS)
            y[(uint64_t)order[tile.first + i / 16] * a.y_stride + i_row * 16 + i % 16] =
                own_sum_parts(parts, 0, n_blocks, 8, i % 16, i / 16);
    }
}

#define OWN_EXPERTS_FEW(name, kind)                                                                             \
    extern "C" __global__ void __launch_bounds__(OWN_THREADS, 2) name(                                         \
        const __grid_constant__ own_experts_args a, const uint8_t *w, const uint8_t *x, float *y,              \
        const uint32_t *order, const uint32_t *begin, const uint32_t *tile_begin)                              \
    {                                                                                                           \
        own_experts_few<kind>(a, w, x, y, order, begin, tile_begin);                                            \
    }
OWN_EXPERTS_FEW(own_experts_few_iq2, own_kind_iq2)
OWN_EXPERTS_FEW(own_experts_few_q2k, own_kind_q2k)

/* ---- many tokens: tiles of 64 pairs ------------------------------------------------------------------------ */

enum { MOE_TOKENS = 64, MOE_STEP = MOE_TOKENS * 16 + 16, MOE_STAGES = 3, MOE_WARPS = 16 };

OWN_FN void own_add_parts(float (&sum)[4], const float (&v)[4])
{
#pragma unroll
    for (int k = 0; k < 4; k++) sum[k] = __fadd_rn(sum[k], v[k]);
}

/* A record times N tiles of eight tokens. */
template <int N> OWN_FN void own_many(float (&total)[N][4], const own_iq2 &r, const own_tokens &x, uint32_t scale, int lane)
{
    int          sum[N][4] = {};
    const float2 d = own_halves(r.d);
    own_sums<N>(sum, r, x, 0, lane);
#pragma unroll
    for (int n = 0; n < N; n++) {
        const float2 dx = own_at<float2>(scale + n * 32);
        const float  v[4] = { own_part_iq2(d.x, dx.x, sum[n][0]), own_part_iq2(d.x, dx.y, sum[n][1]),
                              own_part_iq2(d.y, dx.x, sum[n][2]), own_part_iq2(d.y, dx.y, sum[n][3]) };
        own_add_parts(total[n], v);
    }
}
template <int N> OWN_FN void own_many(float (&total)[N][4], const own_q2k &r, const own_tokens &x, uint32_t scale, int lane)
{
    uint4        m[9];
    const float2 dg = own_halves(r.d.x), dh = own_halves(r.d.y);
    own_weights(m, r);
#pragma unroll
    for (int n = 0; n < N; n++) {
        int sum[4], least[4];
        own_sums(sum, least, m, x, 0, n * 128);
        const float2 dx = own_at<float2>(scale + n * 32);
        const float  v[4] = { own_part_q2k(dg.x, dg.y, dx.x, sum[0], least[0]), own_part_q2k(dg.x, dg.y, dx.y, sum[1], least[1]),
                              own_part_q2k(dh.x, dh.y, dx.x, sum[2], least[2]), own_part_q2k(dh.x, dh.y, dx.y, sum[3], least[3]) };
        own_add_parts(total[n], v);
    }
}

/* 64 pairs (or fewer, N tiles of eight) of an expert with 16 rows of each of 16 warps. */
template <class K, int N> OWN_FN void own_tile_rows(const own_experts_args &a, const uint8_t *rows, const uint8_t *x, float *y,
                                                    const uint32_t *order, uint32_t first, uint32_t n, uint32_t row, bool live)
{
    constexpr uint32_t CHUNKS = K::CODES / 16, STAGE = CHUNKS * MOE_STEP, AT = K::TABLE, SCALES = AT + MOE_STAGES * STAGE;
    const int          lane = threadIdx.x & 31;
    const uint32_t     n_blocks = a.n_in / 256;
    float              total[N][4] = {};

    constexpr uint32_t COPIES = (N * 8 * CHUNKS + MOE_WARPS * 32 - 1) / (MOE_WARPS * 32);
    uint32_t           from[COPIES];        /* of the thread's copies, bytes from x */
    auto offset_of = [&](uint32_t token) {
        const uint32_t pair = order[first + min(token, n - 1)];
        return (a.x_by_token ? pair / a.n_used : pair) * a.x_bytes;
    };
#pragma unroll
    for (uint32_t k = 0; k < COPIES; k++) {
        const uint32_t i = threadIdx.x + k * MOE_WARPS * 32;
        from[k] = offset_of(i / CHUNKS) + i % CHUNKS * 16;
    }
    auto fetch = [&](uint32_t b) {
        if (b < n_blocks) {
#pragma unroll
            for (uint32_t k = 0; k < COPIES; k++) {
                const uint32_t i = threadIdx.x + k * MOE_WARPS * 32;
                if (i < N * 8 * CHUNKS)
                    own_copy16(own_address(AT + b % MOE_STAGES * STAGE + i % CHUNKS * MOE_STEP + i / CHUNKS * 16),
                               x + from[k] + b * K::CODES);
            }
        }
        own_copies_commit();
    };
    __syncthreads();            /* the tile before is done with shared memory */
    for (uint32_t b = 0; b < MOE_STAGES - 1; b++) fetch(b);
    for (uint32_t i = threadIdx.x; i < n_blocks * N * 8; i += MOE_WARPS * 32) {
        const uint32_t token = i / n_blocks, b = i % n_blocks;
        own_at<float>(SCALES + (b * MOE_TOKENS + token) * 4) = ((const float *)(x + offset_of(token) + a.x_scales))[b];
    }
    typename K::record r;
    if (live) own_load(r, rows, lane);
#pragma unroll 1
    for (uint32_t b = 0; b < n_blocks; b++) {
        own_copies_wait<MOE_STAGES - 2>();
        __syncthreads();
        fetch(b + MOE_STAGES - 1);
        const typename K::record now = r;
        if (live && b + 1 < n_blocks) own_load(r, rows + (uint64_t)(b + 1) * K::RECORD, lane);
        own_tokens t;
        t.base = own_address(AT + b % MOE_STAGES * STAGE + (lane >> 3) * MOE_STEP + (lane & 7) * 16);
        t.stride = MOE_STEP;
        if (live) own_many<N>(total, now, t, SCALES + (b * MOE_TOKENS + 2 * (lane & 3)) * 4, lane);
    }
    if (!live) return;
#pragma unroll
    for (int i = 0; i < N; i++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const uint32_t token = i * 8 + 2 * (lane & 3) + c;
            if (token >= n) continue;
            float *to = y + (uint64_t)order[first + token] * a.y_stride + row + (lane >> 2);
            to[0] = total[i][c];
            to[8] = total[i][2 + c];
        }
    }
}

/* Groups stay and take 256 rows of an expert one after the other. */
template <class K> OWN_FN void own_experts_many(const own_experts_args &a, const uint8_t *w, const uint8_t *x, float *y,
                                                const uint32_t *order, const uint32_t *begin)
{
    const uint32_t warp = threadIdx.x / 32, n_blocks = a.n_in / 256, n_rows = a.n_out / 16;
    const uint32_t n_parts = (n_rows + MOE_WARPS - 1) / MOE_WARPS;

    own_let_next_start();
    if (K::TABLE) own_build_table(threadIdx.x, MOE_WARPS * 32);
    own_wait_for_last();
    for (uint32_t item = blockIdx.x; item < a.n_experts * n_parts; item += gridDim.x) {
        const uint32_t e = item / n_parts, i_row = item % n_parts * MOE_WARPS + warp, end = begin[e + 1];
        const bool     live = i_row < n_rows;
        const uint8_t *rows = w + e * a.w_mat + (uint64_t)i_row * n_blocks * K::RECORD;
        for (uint32_t first = begin[e]; first < end; first += MOE_TOKENS) {
            const uint32_t n = min(end - first, (uint32_t)MOE_TOKENS);
            if (n <= 16) own_tile_rows<K, 2>(a, rows, x, y, order, first, n, i_row * 16, live);
            else if (n <= 32) own_tile_rows<K, 4>(a, rows, x, y, order, first, n, i_row * 16, live);
            else if (n <= 48) own_tile_rows<K, 6>(a, rows, x, y, order, first, n, i_row * 16, live);
            else own_tile_rows<K, 8>(a, rows, x, y, order, first, n, i_row * 16, live);
        }
    }
}

#define OWN_EXPERTS_MANY(name, kind)                                                                            \
    extern "C" __global__ void __launch_bounds__(MOE_WARPS * 32, 1) name(                                      \
        const __grid_constant__ own_experts_args a, const uint8_t *w, const uint8_t *x, float *y,              \
        const uint32_t *order, const uint32_t *begin, const uint32_t *tile_begin)                              \
    {                                                                                                           \
        own_experts_many<kind>(a, w, x, y, order, begin);                                                       \
    }
OWN_EXPERTS_MANY(own_experts_iq2, own_kind_iq2)
OWN_EXPERTS_MANY(own_experts_q2k, own_kind_q2k)
