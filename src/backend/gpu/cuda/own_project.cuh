/* own_project.cuh - matrices times up to 64 tokens: decoding. Stands in for project_i8_q8_0 and project_f16.
 *
 * One launch has all matrices of an operation. The weights of a group of threads are on their way before
 * it waits for the launch before it, all in registers. */
#pragma once
#include "backend/gpu/cuda/own_round.cuh"

/* Where things lie in shared memory; tokens are 1 or 8. */
struct own_room {
    uint32_t zero, scales, parts;
};
OWN_FN own_room own_room_of(uint32_t n_codes, uint32_t n_scales, uint32_t n_tokens)
{
    own_room r;
    r.zero = n_codes * n_tokens;
    r.scales = r.zero + 16;
    r.parts = r.scales + (n_scales * n_tokens * 4 + 15) / 16 * 16;
    return r;
}

/* How a lane finds the tokens that lie at `at`. */
OWN_FN own_tokens own_tokens_of(uint32_t at, uint32_t zero, uint32_t n_tokens, int lane)
{
    own_tokens x;
    const bool none = n_tokens == 1 && (lane & 7) != 0;
    x.base = own_address(none ? zero : at + ((lane >> 3) * n_tokens + (lane & 7)) * 16);
    x.stride = none ? 0 : n_tokens * 16;
    return x;
}

/* Rounded rows of up to eight tokens into shared memory, [chunk][8][16 bytes]. row: of token threadIdx.x % 8;
 * without it there are zeros. */
OWN_FN void own_stage(uint32_t to, uint32_t scales, const uint8_t *row, uint32_t n_chunks, uint32_t n_scales,
                      const float *row_scales)
{
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < n_chunks * 8; i += OWN_THREADS)
        own_at<uint4>(to + i * 16) = row ? *(const uint4 *)(row + (i >> 3) * 16) : make_uint4(0, 0, 0, 0);
    for (uint32_t i = threadIdx.x; i < n_scales * 8; i += OWN_THREADS)
        own_at<float>(scales + i * 4) = row ? row_scales[i >> 3] : 0.0f;
}

/* A lane's results of 16 rows and 1 or 8 tokens, as part i of a sum. */
OWN_FN void own_put_part(uint32_t parts, uint32_t i, uint32_t n_tokens, const float (&v)[4], int lane)
{
    const int g = lane >> 2, t = lane & 3;
    if (n_tokens == 1) {
        if (t == 0) own_at<float>(parts + (i * 16 + g) * 4) = v[0], own_at<float>(parts + (i * 16 + g + 8) * 4) = v[2];
        return;
    }
    const uint32_t at = parts + ((i * 8 + 2 * t) * OWN_PITCH + g) * 4;
    own_at<float>(at) = v[0];
    own_at<float>(at + OWN_PITCH * 4) = v[1];
    own_at<float>(at + 32) = v[2];
    own_at<float>(at + OWN_PITCH * 4 + 32) = v[3];
}
/* Parts first .. first + n - 1 of a row and token, in order. */
OWN_FN float own_sum_parts(uint32_t parts, uint32_t first, uint32_t n, uint32_t n_tokens, uint32_t row, uint32_t token)
{
    const uint32_t step = n_tokens == 1 ? 64 : 8 * OWN_PITCH * 4;
    const uint32_t at = parts + first * step + (n_tokens == 1 ? row : token * OWN_PITCH + row) * 4;
    float          y = 0.0f;
#pragma unroll 8
    for (uint32_t i = 0; i < n; i++) y = __fadd_rn(y, own_at<float>(at + i * step));
    return y;
}

/* ---- Q8_0 ----------------------------------------------------------------------------------------- */

/* Warps of a row tile: as many as it has segments of 512 columns, a power of two, at most eight. */
OWN_FN uint32_t own_sharing(uint32_t n_segments)
{
    return n_segments > 4 ? 8 : n_segments > 2 ? 4 : n_segments > 1 ? 2 : 1;
}

OWN_FN void own_load_segment(own_q8 (&r)[4], const uint8_t *tile, uint32_t segment, uint32_t n_records, int lane)
{
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        if (segment * 4 + j < n_records) own_load(r[j], tile + (uint64_t)(segment * 4 + j) * OWN_Q8_RECORD, lane);
    }
}

template <bool ONE> OWN_FN void own_project_q8(const own_part &p, uint32_t n_tokens, uint32_t mat, uint32_t group)
{
    constexpr uint32_t T = ONE ? 1 : 8;
    const int          warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t     n_records = p.n_in / OWN_Q8_COLUMNS, n_segments = (n_records + 3) / 4;
    const uint32_t     sharing = own_sharing(n_segments), n_tiles = 8 / sharing, i_tile = warp / sharing;
    const uint32_t     first = warp % sharing, tile = group * n_tiles + i_tile;
    const bool         live = tile < p.n_out / 16, again = n_segments > sharing;
    const uint8_t     *w = (const uint8_t *)p.w + mat * p.w_mat + (uint64_t)tile * n_records * OWN_Q8_RECORD;
    const own_room     room = own_room_of(p.n_in, p.n_in / 32, T);
    own_q8             r[4];

    if (live && first < n_segments) own_load_segment(r, w, first, n_records, lane);
    own_wait_for_last();
    if (ONE && threadIdx.x == 0) own_at<uint4>(room.zero) = make_uint4(0, 0, 0, 0);
    const own_tokens x = own_tokens_of(0, room.zero, T, lane);
    const uint32_t   scale = room.scales + (ONE ? 0 : (lane & 3) * 8);
    for (uint32_t t0 = 0; t0 < n_tokens; t0 += T) {
        const uint32_t n = min(n_tokens - t0, T);
        if (ONE) {
            const float *from = (const float *)p.x + mat * p.x_mat;
#pragma unroll 2
            for (uint32_t b = warp; b * 256 < p.n_in; b += 8) {
                own_round_block(OWN_Q8_0, [=](uint32_t c) { return *(const float4 *)(from + b * 256 + c); },
                                min(p.n_in - b * 256, 256u), &own_at<uint8_t>(b * 256), &own_at<float>(room.scales + b * 32), lane);
            }
        } else {
            const uint32_t token = threadIdx.x & 7;
            const uint8_t *row = (const uint8_t *)p.x + (uint64_t)(t0 + token) * p.x_bytes;
            own_stage(0, room.scales, token < n ? row + mat * p.x_mat : NULL, p.n_in / 16, p.n_in / 32,
                      (const float *)(row + p.x_scales) + mat * (p.x_mat / 32));
        }
        __syncthreads();
        for (uint32_t s = first; live && s < n_segments; s += sharing) {
            float acc[4] = { 0.0f, 0.0f, 0.0f, 0.0f };
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                const uint32_t i = s * 4 + j;
                if (i < n_records) own_add(acc, r[j], x, i * 8, scale + i * 4 * T * 4, T * 4, ONE);
            }
            own_put_part(room.parts, i_tile * n_segments + s, T, acc, lane);
            const uint32_t next = s + sharing < n_segments ? s + sharing : first;
            if (again && (next > s || t0 + T < n_tokens)) own_load_segment(r, w, next, n_records, lane);
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < n_tiles * 16 * n; i += blockDim.x) {
            const uint32_t to = i % 16, token = i / 16 % n, of = i / 16 / n, row = (group * n_tiles + of) * 16 + to;
            if (row >= p.n_out) continue;
            ((float *)p.y)[(uint64_t)(t0 + token) * p.y_stride + mat * p.y_mat + row] =
                own_sum_parts(room.parts, of * n_segments, n_segments, T, to, token);
        }
    }
}

/* ---- float activations: the order of product.k ------------------------------------------------------------ */

OWN_FN uint32_t own_float_sharing(uint32_t n_in)
{
    uint32_t n = 1;
    while (n < KD_ROWS && n * KD_SEGMENT < n_in) n *= 2;
    return n;
}

/* Eight weights of a row of halves. */
struct own_row_f16 {
    const uint8_t *row;
    __device__ __forceinline__ own_row_f16(const uint8_t *w, uint32_t i, uint32_t n_in) : row(w + (uint64_t)i * n_in * 2) {}
    __device__ __forceinline__ uint4 load(uint32_t column) const { return own_load4(row + (uint64_t)column * 2); }
    static __device__ __forceinline__ void decode(float (&v)[8], const uint4 &w)
    {
        const float2 a = own_halves(w.x), b = own_halves(w.y), c = own_halves(w.z), d = own_halves(w.w);
        v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = c.x, v[5] = c.y, v[6] = d.x, v[7] = d.y;
    }
};
/* The same out of records of Q8_0: x and y are the codes, z the scale. */
struct own_row_q8 {
    const uint8_t *tile;
    uint32_t       g, below;
    __device__ __forceinline__ own_row_q8(const uint8_t *w, uint32_t i, uint32_t n_in)
        : tile(w + (uint64_t)(i / 16) * (n_in / OWN_Q8_COLUMNS) * OWN_Q8_RECORD), g(i % 8), below(i / 8 % 2)
    {
    }
    __device__ __forceinline__ uint4 load(uint32_t column) const
    {
        const uint8_t *r = tile + (uint64_t)(column / OWN_Q8_COLUMNS) * OWN_Q8_RECORD;
        const uint32_t b = column / 32 % 4, at = b * 512 + (g * 4 + column % 32 / 8) * 16 + below * 4;
        const uint32_t d = own_load1(r + 2048 + g * 16 + b * 4);
        return make_uint4(own_load1(r + at), own_load1(r + at + 8), below ? d >> 16 : d & 0xffffu, 0);
    }
    static __device__ __forceinline__ void decode(float (&v)[8], const uint4 &w)
    {
        const float d = __half2float(__ushort_as_half((unsigned short)w.z));
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            v[i] = __fmul_rn(d, kd_signed_byte(w.x, i));
            v[4 + i] = __fmul_rn(d, kd_signed_byte(w.y, i));
        }
    }
};

template <class R> OWN_FN void own_load_floats(uint4 (&w)[8], const R &row, uint32_t segment, uint32_t n_in, int lane)
{
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t column = segment * KD_SEGMENT + i * 256 + lane * 8;
        if (column < n_in) w[i] = row.load(column);
    }
}

/* Lane 4i gets the product of a segment with token i. */
template <class R> OWN_FN float own_dot_floats(const uint4 (&w)[8], const float *x, uint32_t stride, uint32_t n, uint32_t segment,
                                               uint32_t n_in, int lane)
{
    float sum[8] = { 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f };
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t column = segment * KD_SEGMENT + i * 256 + lane * 8;
        float          v[8];
        if (column >= n_in) continue;
        R::decode(v, w[i]);
#pragma unroll
        for (uint32_t t = 0; t < 8; t++) {
            if (t >= n) continue;
            const float4 a = *(const float4 *)(x + (uint64_t)t * stride + column);
            const float4 b = *(const float4 *)(x + (uint64_t)t * stride + column + 4);
            sum[t] = __fmaf_rn(v[0], a.x, sum[t]);
            sum[t] = __fmaf_rn(v[1], a.y, sum[t]);
            sum[t] = __fmaf_rn(v[2], a.z, sum[t]);
            sum[t] = __fmaf_rn(v[3], a.w, sum[t]);
            sum[t] = __fmaf_rn(v[4], b.x, sum[t]);
            sum[t] = __fmaf_rn(v[5], b.y, sum[t]);
            sum[t] = __fmaf_rn(v[6], b.z, sum[t]);
            sum[t] = __fmaf_rn(v[7], b.w, sum[t]);
        }
    }
    return n == 1 ? kd_sum(sum[0]) : kd_sum_eight(sum, lane);
}

template <class R> OWN_FN void own_project_floats(const own_part &p, uint32_t n_tokens, uint32_t mat, uint32_t group)
{
    const int      warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t sharing = own_float_sharing(p.n_in), n_segments = (p.n_in + KD_SEGMENT - 1) / KD_SEGMENT;
    const uint32_t row = group * (KD_ROWS / sharing) + warp / sharing, first = warp % sharing;
    const bool     live = row < p.n_out, again = n_segments > sharing;
    const R        w((const uint8_t *)p.w + mat * p.w_mat, row, p.n_in);
    const uint32_t part = warp / sharing * n_segments * 8 * 4;
    uint4          r[8];

    if (live && first < n_segments) own_load_floats(r, w, first, p.n_in, lane);
    own_wait_for_last();
    for (uint32_t t0 = 0; t0 < n_tokens; t0 += 8) {
        const uint32_t n = min(n_tokens - t0, 8u), stride = p.x_bytes / 4;
        const float   *x = (const float *)p.x + (uint64_t)t0 * stride + mat * p.x_mat;
        float          sum = 0.0f;
        for (uint32_t s = first; live && s < n_segments; s += sharing) {
            sum = own_dot_floats<R>(r, x, stride, n, s, p.n_in, lane);
            if (n_segments > 1 && lane % 4 == 0) own_at<float>(part + (s * 8 + lane / 4) * 4) = sum;
            const uint32_t next = s + sharing < n_segments ? s + sharing : first;
            if (again && (next > s || t0 + 8 < n_tokens)) own_load_floats(r, w, next, p.n_in, lane);
        }
        if (n_segments > 1) {
            __syncthreads();
            sum = 0.0f;
            for (uint32_t s = 0; s < n_segments; s++) sum = __fadd_rn(sum, own_at<float>(part + (s * 8 + lane / 4) * 4));
            __syncthreads();
        }
        if (live && first == 0 && lane % 4 == 0 && lane / 4 < n)
            ((float *)p.y)[(uint64_t)(t0 + lane / 4) * p.y_stride + mat * p.y_mat + row] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(OWN_THREADS, 2) own_project(const __grid_constant__ own_project_args a)
{
    uint32_t i = 0;

    own_let_next_start();
    while (i + 1 < a.n_parts && blockIdx.x >= a.part[i + 1].first) i++;
    const own_part &p = a.part[i];
    const uint32_t  at = blockIdx.x - p.first, mat = at / p.n_groups, group = at % p.n_groups;
    if (p.form == OWN_ROWS) own_project_floats<own_row_f16>(p, a.n_tokens, mat, group);
    else if (p.form == OWN_Q8_0_PRECISE) own_project_floats<own_row_q8>(p, a.n_tokens, mat, group);
    else if (a.n_tokens == 1) own_project_q8<true>(p, 1, mat, group);
    else own_project_q8<false>(p, a.n_tokens, mat, group);
}
