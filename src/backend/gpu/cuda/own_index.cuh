/* own_index.cuh - the rows that a token attends to. Stands in for index_part and index_join; the same rows.
 *
 * Scores of all rows are written first, by as many groups as there are rows for; then a group for each token
 * finds the key of the last row that is chosen, by halving a range of keys 2048 times finer each time, and
 * writes what lies above it in ascending order. */
#pragma once
#include "backend/gpu/cuda/own_records.cuh"

enum { INDEX_DIMS = 128, INDEX_ROWS = 32, INDEX_BUCKETS = 2048, INDEX_THREADS = 1024 };

/* key [tokens of the launch][key_stride]: scores as order_key() has them. Grid: 32 rows, tokens. */
extern "C" __global__ void __launch_bounds__(256)
own_index_scores(const __grid_constant__ own_select_args a, const uint8_t *state, const uint8_t *query, const float *weight,
                 const uint32_t *pos, const uint32_t *span_of, const kd_span *spans, const kd_block *blocks, uint32_t *key)
{
    __shared__ __align__(16) uint32_t heads[KD_MAX_INDEX_HEADS * INDEX_DIMS / 4];
    __shared__ float                  by_head[KD_MAX_INDEX_HEADS * INDEX_DIMS / 32], dots[KD_MAX_INDEX_HEADS][INDEX_ROWS + 1];
    const select_args &s = a.select;
    const uint32_t     warp = threadIdx.x / 32, lane = threadIdx.x % 32, t = s.first_token + blockIdx.y;
    const uint32_t     row = blockIdx.x * INDEX_ROWS + lane;
    uint32_t           code[INDEX_DIMS / 4];
    float              by[INDEX_DIMS / 32];

    own_let_next_start();
    own_wait_for_last();
    const uint32_t n_rows = (pos[t] + 1) / 4;
    if (n_rows <= s.top_k || blockIdx.x * INDEX_ROWS >= n_rows) return;
    const uint8_t *mine = query + (uint64_t)t * s.n_heads * s.query_bytes;
    for (uint32_t i = threadIdx.x; i < s.n_heads * (INDEX_DIMS / 8); i += 256) {
        const uint32_t word = *(const uint32_t *)(mine + (i / 16) * s.query_bytes + 4 * (i % 16));
        spread_codes(&heads[2 * i], &heads[2 * i + 1], word);
    }
    for (uint32_t i = threadIdx.x; i < s.n_heads * 4; i += 256)
        by_head[i] = kd_of_e8m0(mine[(i / 4) * s.query_bytes + INDEX_DIMS / 2 + i % 4]);
    {
        const kd_span  span = spans[span_of[t]];
        const uint32_t r = row < n_rows ? row : 0;
        const uint8_t *block = state + blocks[span.blocks + r / s.per_block].warm;
        const uint8_t *from = block + s.irow.code + (uint64_t)(r % s.per_block) * s.irow.code_stride;
        const uint32_t scale = *(const uint32_t *)(block + s.irow.scale + (uint64_t)(r % s.per_block) * s.irow.scale_stride);
#pragma unroll
        for (uint32_t i = 0; i < INDEX_DIMS / 8; i++) spread_codes(&code[2 * i], &code[2 * i + 1], ((const uint32_t *)from)[i]);
#pragma unroll
        for (uint32_t g = 0; g < INDEX_DIMS / 32; g++) by[g] = kd_of_e8m0(scale >> (8 * g) & 255u);
    }
    __syncthreads();
    for (uint32_t h = warp; h < s.n_heads; h += 8) {
        float dot = 0.0f;
#pragma unroll
        for (uint32_t g = 0; g < INDEX_DIMS / 32; g++) {
            const uint4 u = *(const uint4 *)&heads[h * 32 + g * 8], v = *(const uint4 *)&heads[h * 32 + g * 8 + 4];
            int         part = __dp4a((int)u.x, (int)code[8 * g], 0);
            part = __dp4a((int)u.y, (int)code[8 * g + 1], part);
            part = __dp4a((int)u.z, (int)code[8 * g + 2], part);
            part = __dp4a((int)u.w, (int)code[8 * g + 3], part);
            part = __dp4a((int)v.x, (int)code[8 * g + 4], part);
            part = __dp4a((int)v.y, (int)code[8 * g + 5], part);
            part = __dp4a((int)v.z, (int)code[8 * g + 6], part);
            part = __dp4a((int)v.w, (int)code[8 * g + 7], part);
            dot = __fadd_rn(dot, __fmul_rn(__fmul_rn(0.25f, (float)part), __fmul_rn(by_head[h * 4 + g], by[g])));
        }
        dots[h][lane] = dot < 0.0f ? 0.0f : dot;
    }
    __syncthreads();
    if (warp > 0 || row >= n_rows) return;
    const float *w = weight + (uint64_t)t * s.weight_stride;
    float        sum = 0.0f;
#pragma unroll 8
    for (uint32_t h = 0; h < s.n_heads; h++) sum = __fmaf_rn(__fmul_rn(w[h], s.scale), dots[h][lane], sum);
    key[(uint64_t)blockIdx.y * a.key_stride + row] = order_key(sum);
}

/* What a group has found: keys above `least` are chosen, of those equal to it the first n_equal rows. */
struct own_cut {
    uint32_t least, n_equal;
};

/* The bucket of the k-th largest and how many are above it. count [INDEX_BUCKETS], by the first warp: a lane has
 * 64 buckets, the topmost lane 0. */
OWN_FN void own_find_bucket(const uint32_t *count, uint32_t k, uint32_t *found, uint32_t lane)
{
    const uint32_t top = INDEX_BUCKETS - 1 - lane * (INDEX_BUCKETS / 32);
    uint32_t       n = 0;
    for (uint32_t i = 0; i < INDEX_BUCKETS / 32; i++) n += count[top - i];
    const uint32_t upto = kd_scan(n, lane);
    if (upto < k || upto - n >= k) return;
    uint32_t above = upto - n, b = top;
    while (above + count[b] < k) above += count[b--];
    found[0] = b;
    found[1] = above;
    found[2] = count[b];
}

OWN_FN own_cut own_find_cut(const uint32_t *key, uint32_t n, uint32_t k, uint32_t *count, uint32_t *found)
{
    uint32_t low = 0xffffffffu, high = 0;

    if (threadIdx.x == 0) found[3] = low, found[4] = high;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += INDEX_THREADS) low = min(low, key[i]), high = max(high, key[i]);
    for (int m = 16; m > 0; m /= 2) low = min(low, __shfl_xor_sync(~0u, low, m)), high = max(high, __shfl_xor_sync(~0u, high, m));
    if (threadIdx.x % 32 == 0) atomicMin(&found[3], low), atomicMax(&found[4], high);
    __syncthreads();
    low = found[3];
    high = found[4];
    for (;;) {
        const uint32_t bits = 32 - __clz(high - low), shift = bits > 11 ? bits - 11 : 0;
        for (uint32_t i = threadIdx.x; i < INDEX_BUCKETS; i += INDEX_THREADS) count[i] = 0;
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < n; i += INDEX_THREADS) {
            const uint32_t x = key[i];
            if (x >= low && x <= high) atomicAdd(&count[(x - low) >> shift], 1u);
        }
        __syncthreads();
        if (threadIdx.x < 32) own_find_bucket(count, k, found, threadIdx.x);
        __syncthreads();
        const uint32_t at = low + (found[0] << shift), in_it = found[2];
        k -= found[1];
        if (shift == 0) return own_cut{ at, k };
        if (in_it == k) return own_cut{ at - 1, 0 };        /* all of the bucket; the lowest key is never in it */
        high = min(high, at + ((1u << shift) - 1));
        low = at;
        __syncthreads();
    }
}

/* Grid: tokens. */
extern "C" __global__ void __launch_bounds__(INDEX_THREADS)
own_index_choose(const __grid_constant__ own_select_args a, const uint32_t *all, const uint32_t *pos, int *chosen)
{
    __shared__ uint32_t count[INDEX_BUCKETS], found[5], in_warp[64];
    const uint32_t      t = a.select.first_token + blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t     *key = all + (uint64_t)blockIdx.x * a.key_stride;

    own_let_next_start();
    own_wait_for_last();
    const uint32_t n = (pos[t] + 1) / 4, k = a.select.top_k;
    if (n <= k) return;
    const own_cut  cut = own_find_cut(key, n, k, count, found);
    const uint32_t each = (n + INDEX_THREADS - 1) / INDEX_THREADS, from = min(threadIdx.x * each, n), to = min(from + each, n);
    uint32_t       above = 0, equal = 0;
    for (uint32_t i = from; i < to; i++) above += key[i] > cut.least, equal += key[i] == cut.least;
    const uint32_t upto_above = kd_scan(above, lane), upto_equal = kd_scan(equal, lane);
    if (lane == 31) in_warp[warp] = upto_above, in_warp[32 + warp] = upto_equal;
    __syncthreads();
    uint32_t n_above = upto_above - above, n_equal = upto_equal - equal;
    for (uint32_t i = 0; i < warp; i++) n_above += in_warp[i], n_equal += in_warp[32 + i];
    int *out = chosen + (uint64_t)t * k;
    for (uint32_t i = from; i < to; i++) {
        const uint32_t x = key[i];
        if (x > cut.least) out[n_above++ + min(n_equal, cut.n_equal)] = (int)i;
        else if (x == cut.least && n_equal < cut.n_equal) out[n_above + n_equal++] = (int)i;
        else if (x == cut.least) n_equal++;
    }
}
