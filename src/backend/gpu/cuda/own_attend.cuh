/* own_attend.cuh - attention of 512-wide heads on tensor cores. Stands in for attend and attend_join.
 *
 * Its order is its own and the same for a token alone, in a batch and in a prompt. Rows are taken in chunks of
 * 64, as the dialect takes them: the window, oldest first, then compressed rows, ascending. For each head
 * (logarithms to base 2, every operation rounded to nearest, in this order):
 *
 *   q     half(query * scale * log2 e)
 *   row   half(E4M3 times its power of two), exact for exponents from -15 to 7
 *   s     low + high: chains of sixteen products over 16 dims each, from 0, of dims 0 .. 255 and 256 .. 511
 *   m     the largest s of the chunk; p = half(2^(s - m)); rows that do not exist have p = 0
 *   l     eight lanes add p of columns 32 (lane / 4) + 8 j + 2 (lane % 4), + 1; then lanes by 1, 2, 4
 *   o     chain of four products over 16 rows each, from 0
 *   join  chunks ascending, from M = sink * log2 e, L = 1, O = 0:
 *         M' = m > M + 8 ? m : M;  a = 2^(M - M');  b = 2^(m - M');  L = fma(l, b, L a);  O = fma(o, b, O a)
 *   out   O / L, rotated back
 *
 * M follows m only when it has grown by more than 8, so that O is seldom rescaled. */
#pragma once
#include "backend/gpu/cuda/own_records.cuh"

enum {
    ATTEND_DIMS = 512, ATTEND_ROWS = 64,
    ATTEND_TILE = 64 * 1024,            /* rows as halves: [16 bytes of a row][row][16 bytes] */
    ATTEND_SCORES = 68 * 4, ATTEND_WEIGHTS = 144,       /* bytes from head to head */
};

OWN_FN float own_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
OWN_FN uint32_t own_two_halves(float a, float b)
{
    return (uint32_t)__half_as_ushort(__float2half_rn(a)) | (uint32_t)__half_as_ushort(__float2half_rn(b)) << 16;
}
OWN_FN void own_mma_halves(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
OWN_FN void own_matrices4_turned(uint32_t (&r)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

/* ---- rows -------------------------------------------------------------------------------------------- */

/* Codes 16 bits apart as halves: the fields of E4M3 are those of a half, 2^8 too small. */
OWN_FN uint32_t own_scaled_codes(uint32_t bytes, uint32_t by)
{
    const uint32_t  h = (bytes & 0x80008000u) | (bytes >> 1 & 0x3f803f80u);
    const __half2   r = __hmul2(*(const __half2 *)&h, *(const __half2 *)&by);
    return *(const uint32_t *)&r;
}
OWN_FN uint4 own_eight_codes(uint2 c, uint32_t by)
{
    return make_uint4(own_scaled_codes(own_prmt(c.x, 0, 0x1404), by), own_scaled_codes(own_prmt(c.x, 0, 0x3424), by),
                      own_scaled_codes(own_prmt(c.y, 0, 0x1404), by), own_scaled_codes(own_prmt(c.y, 0, 0x3424), by));
}
/* 2^(e - 127) times 2^8, twice. */
OWN_FN uint32_t own_scale_of(uint32_t e)
{
    const __half2 s = __float2half2_rn(e >= 247 ? __uint_as_float(0x7fc00000u) : __uint_as_float((e + 8) << 23));
    return *(const uint32_t *)&s;
}

/* What a token attends to. */
struct own_rows {
    kd_kv           kv;
    kd_span         span;
    const uint8_t  *state, *rows;
    const kd_block *blocks;
    const int      *chosen;
    uint32_t        pos, n_raw, n_rows;
};
OWN_FN own_rows own_rows_of(const attend_args &a, const uint8_t *state, const uint8_t *rows, const int *chosen,
                            const uint32_t *pos, const uint32_t *span_of, const kd_span *spans, const kd_block *blocks,
                            uint32_t t)
{
    own_rows r;
    r.kv = a.kv;
    r.span = spans[span_of[t]];
    r.state = state;
    r.rows = rows;
    r.blocks = blocks;
    r.pos = pos[t];
    r.n_raw = kd_min(r.pos + 1, a.kv.n_window);
    const uint32_t n_seen = a.kv.ratio != 0 ? (r.pos + 1) / a.kv.ratio : 0;
    const bool     choose = a.kv.ratio == 4 && n_seen > a.top_k;
    r.chosen = choose ? chosen + (uint64_t)t * a.top_k : NULL;
    r.n_rows = r.n_raw + (choose ? a.top_k : n_seen);
    return r;
}

/* 8 N values of a row in each of its eight blocks of 64, on their way. Rows lie on multiples of eight bytes. */
template <int N> struct own_row_part {
    uint2 code[7][N], rot[N][2];
    uint2 scale;
};
template <int N> OWN_FN void own_load_row(own_row_part<N> &p, const own_rows &r, uint32_t i, uint32_t u)
{
    const row_place  at = place_of(r.kv, r.span, r.state, r.rows, r.blocks, r.chosen, r.pos, r.n_raw, i < r.n_rows ? i : 0);
    const uint8_t   *code = at.base + at.form.code + (uint64_t)at.i * at.form.code_stride + 8 * N * u;
    const uint8_t   *rot = at.base + at.form.rot + (uint64_t)at.i * at.form.rot_stride + 16 * N * u;
    p.scale = *(const uint2 *)(at.base + at.form.scale + (uint64_t)at.i * at.form.scale_stride);
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int b = 0; b < 7; b++) p.code[b][n] = *(const uint2 *)(code + 64 * b + 8 * n);
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        p.rot[n][0] = *(const uint2 *)(rot + 16 * n);
        p.rot[n][1] = *(const uint2 *)(rot + 16 * n + 8);
    }
}
/* The same lane's values into the tile. */
template <int N> OWN_FN void own_store_row(const own_row_part<N> &p, uint32_t tile, uint32_t i, uint32_t u)
{
#pragma unroll
    for (int b = 0; b < 7; b++) {
        const uint32_t by = own_scale_of((b < 4 ? p.scale.x : p.scale.y) >> (8 * (b & 3)) & 255u);
#pragma unroll
        for (int n = 0; n < N; n++) own_at<uint4>(tile + ((b * 8 + u * N + n) * 64 + i) * 16) = own_eight_codes(p.code[b][n], by);
    }
#pragma unroll
    for (int n = 0; n < N; n++)
        own_at<uint4>(tile + ((56 + u * N + n) * 64 + i) * 16) = make_uint4(p.rot[n][0].x, p.rot[n][0].y, p.rot[n][1].x, p.rot[n][1].y);
}

/* Queries of n_heads heads as halves, [16 bytes of a head][head][16 bytes]. q: of the first head. */
OWN_FN void own_stage_queries(uint32_t to, const float *q, uint32_t n_heads, float scale)
{
    for (uint32_t i = threadIdx.x; i < n_heads * 64; i += blockDim.x) {
        const uint32_t head = i >> 6, chunk = i & 63;
        const float4   v = *(const float4 *)(q + head * ATTEND_DIMS + chunk * 8);
        const float4   w = *(const float4 *)(q + head * ATTEND_DIMS + chunk * 8 + 4);
        own_at<uint4>(to + (chunk * n_heads + head) * 16) =
            make_uint4(own_two_halves(v.x * scale, v.y * scale), own_two_halves(v.z * scale, v.w * scale),
                       own_two_halves(w.x * scale, w.y * scale), own_two_halves(w.z * scale, w.w * scale));
    }
}

/* ---- one chunk -------------------------------------------------------------------------------------- */

/* Scores of 16 M heads from `head` on and 16 rows over 256 dims. n_heads: in the queries and in the result. */
template <int M> OWN_FN void own_scores(uint32_t queries, uint32_t tile, uint32_t scores, uint32_t n_heads, uint32_t head,
                                        uint32_t row, uint32_t half, int lane)
{
    float          acc[M][2][4] = {};
    const uint32_t a0 = own_address(queries) + ((lane >> 4) * n_heads + head + (lane & 15)) * 16;
    const uint32_t b0 = own_address(tile) + ((lane >> 3) & 1) * 1024 + (row + (lane & 7) + (lane >> 4) * 8) * 16;

#pragma unroll 4
    for (uint32_t i = 0; i < 16; i++) {
        const uint32_t chunk = (half * 16 + i) * 2;
        uint32_t       b[4];
        own_matrices4(b, b0 + chunk * 1024);
#pragma unroll
        for (int m = 0; m < M; m++) {
            uint32_t a[4];
            own_matrices4(a, a0 + (chunk * n_heads + m * 16) * 16);
            own_mma_halves(acc[m][0], a, b[0], b[1]);
            own_mma_halves(acc[m][1], a, b[2], b[3]);
        }
    }
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const uint32_t at = scores + (half * n_heads + head + m * 16 + (lane >> 2)) * ATTEND_SCORES + (row + j * 8 + 2 * (lane & 3)) * 4;
            own_at<float2>(at) = make_float2(acc[m][j][0], acc[m][j][1]);
            own_at<float2>(at + 8 * ATTEND_SCORES) = make_float2(acc[m][j][2], acc[m][j][3]);
        }
    }
}

/* Weights of one head by eight lanes (number k), for the chunk's first n rows: returns m and l. */
OWN_FN float2 own_weigh(uint32_t scores, uint32_t weights, uint32_t n_heads, uint32_t head, uint32_t k, uint32_t n)
{
    float s[8], m = -INFINITY, l = 0.0f;

#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        const uint32_t column = (k >> 2) * 32 + 8 * j + 2 * (k & 3), at = scores + head * ATTEND_SCORES + column * 4;
        const float2   low = own_at<float2>(at), high = own_at<float2>(at + n_heads * ATTEND_SCORES);
        s[2 * j] = column < n ? __fadd_rn(low.x, high.x) : -INFINITY;
        s[2 * j + 1] = column + 1 < n ? __fadd_rn(low.y, high.y) : -INFINITY;
        m = fmaxf(m, fmaxf(s[2 * j], s[2 * j + 1]));
    }
#pragma unroll
    for (int i = 1; i < 8; i *= 2) m = fmaxf(m, __shfl_xor_sync(~0u, m, i));
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        const uint32_t p = own_two_halves(own_exp2(s[2 * j] - m), own_exp2(s[2 * j + 1] - m));
        const float2   f = own_halves(p);
        l = __fadd_rn(l, f.x);
        l = __fadd_rn(l, f.y);
        own_at<uint32_t>(weights + head * ATTEND_WEIGHTS + ((k >> 2) * 32 + 8 * j + 2 * (k & 3)) * 2) = p;
    }
#pragma unroll
    for (int i = 1; i < 8; i *= 2) l = __fadd_rn(l, __shfl_xor_sync(~0u, l, i));
    return make_float2(m, l);
}

/* Rows of the tile as the tensor cores take them for sums over rows: 16 dims from `dim` on. */
OWN_FN void own_rows_turned(uint32_t (&b)[4][4], uint32_t tile, uint32_t dim, int lane)
{
    const uint32_t at = own_address(tile) + (dim / 8 + (lane >> 4)) * 1024 + ((lane & 7) + ((lane >> 3) & 1) * 8) * 16;
#pragma unroll
    for (int i = 0; i < 4; i++) own_matrices4_turned(b[i], at + i * 256);
}
/* Weighted rows of 16 heads from `head` on. */
OWN_FN void own_weighted(float (&o)[2][4], uint32_t weights, const uint32_t (&b)[4][4], uint32_t head, int lane)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t a[4];
        own_matrices4(a, own_address(weights) + (head + (lane & 15)) * ATTEND_WEIGHTS + (i * 16 + (lane >> 4) * 8) * 2);
        own_mma_halves(o[0], a, b[i][0], b[i][1]);
        own_mma_halves(o[1], a, b[i][2], b[i][3]);
    }
}

/* ---- joining ------------------------------------------------------------------------------------------- */

struct own_joint {
    float most, total;          /* M, L */
};
/* What the sums so far and the chunk's are multiplied with. */
OWN_FN float2 own_join(own_joint &j, float2 chunk)
{
    const float  most = chunk.x > __fadd_rn(j.most, 8.0f) ? chunk.x : j.most;
    const float2 by = make_float2(own_exp2(j.most - most), own_exp2(chunk.x - most));
    j.most = most;
    j.total = __fmaf_rn(chunk.y, by.y, __fmul_rn(j.total, by.x));
    return by;
}
/* Dims d and d + 1 of a head, divided and rotated back. angle: cosines, then sines. */
OWN_FN float2 own_finish(float2 o, float total, uint32_t d, uint32_t n_rot, const float *angle)
{
    const float u = o.x / total, v = o.y / total;
    if (d < ATTEND_DIMS - n_rot) return make_float2(u, v);
    const uint32_t k = (d - (ATTEND_DIMS - n_rot)) / 2;
    const float    c = angle[k], s = angle[n_rot / 2 + k];
    return make_float2(__fmaf_rn(u, c, __fmul_rn(v, s)), __fmaf_rn(v, c, -__fmul_rn(u, s)));
}

/* ---- a few tokens: chunks side by side ------------------------------------------------------------------- */

enum {
    PART_QUERIES = ATTEND_TILE, PART_SCORES = PART_QUERIES + 16 * 1024, PART_WEIGHTS = PART_SCORES + 32 * ATTEND_SCORES,
};

/* Grid: chunks, 16 heads, tokens. chunk: [token of the launch][head][chunk] {m, l, o [512]} as of attend. */
extern "C" __global__ void __launch_bounds__(256, 2)
own_attend_part(const __grid_constant__ attend_args a, const uint8_t *state, const uint8_t *rows, const float *q,
                const int *chosen, const uint32_t *pos, const uint32_t *span_of, const kd_span *spans,
                const kd_block *blocks, float *chunk)
{
    const int      warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t t = a.first_token + blockIdx.z, head0 = blockIdx.y * 16, first = blockIdx.x * ATTEND_ROWS;

    own_let_next_start();
    own_wait_for_last();
    const own_rows r = own_rows_of(a, state, rows, chosen, pos, span_of, spans, blocks, t);
    if (first >= r.n_rows) return;
    {
        own_row_part<2> part;
        const uint32_t  i = warp * 8 + (lane & 7), u = lane >> 3;
        own_load_row<2>(part, r, first + i, u);
        own_stage_queries(PART_QUERIES, q + (uint64_t)t * a.q_stride + head0 * ATTEND_DIMS, 16, a.scale * 0x1.715476p+0f);
        own_store_row<2>(part, 0, i, u);
    }
    __syncthreads();
    own_scores<1>(PART_QUERIES, 0, PART_SCORES, 16, 0, (warp & 3) * 16, warp >> 2, lane);
    __syncthreads();
    float *to = chunk + (((uint64_t)blockIdx.z * a.n_heads + head0) * a.n_chunks + blockIdx.x) * (2 + ATTEND_DIMS);
    const uint64_t step = (uint64_t)a.n_chunks * (2 + ATTEND_DIMS);      /* from head to head */
    if (threadIdx.x < 128) {
        const uint32_t head = threadIdx.x >> 3;
        const float2   ml = own_weigh(PART_SCORES, PART_WEIGHTS, 16, head, threadIdx.x & 7, r.n_rows - first);
        if ((threadIdx.x & 7) == 0) *(float2 *)(to + head * step) = ml;
    }
    __syncthreads();
    for (uint32_t d = warp * 64; d < warp * 64 + 64; d += 16) {
        uint32_t b[4][4];
        float    o[2][4] = {};
        own_rows_turned(b, 0, d, lane);
        own_weighted(o, PART_WEIGHTS, b, 0, lane);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float *at = to + (lane >> 2) * step + 2 + d + j * 8 + 2 * (lane & 3);
            *(float2 *)at = make_float2(o[j][0], o[j][1]);
            *(float2 *)(at + 8 * step) = make_float2(o[j][2], o[j][3]);
        }
    }
}

/* Grid: heads, tokens; 256 threads have two dims each. */
extern "C" __global__ void __launch_bounds__(256)
own_attend_join(const __grid_constant__ attend_args a, const float *sink, const float *angle, const uint32_t *pos,
                const float *chunk, float *out)
{
    enum { AHEAD = 12 };
    const uint32_t t = a.first_token + blockIdx.y, d = threadIdx.x * 2;

    own_let_next_start();
    own_wait_for_last();
    const uint32_t p = pos[t], n_seen = a.kv.ratio != 0 ? (p + 1) / a.kv.ratio : 0;
    const uint32_t n_rows = kd_min(p + 1, a.kv.n_window) + (a.kv.ratio == 4 ? kd_min(n_seen, a.top_k) : n_seen);
    const uint32_t n = (n_rows + ATTEND_ROWS - 1) / ATTEND_ROWS;
    const float   *from = chunk + ((uint64_t)blockIdx.y * a.n_heads + blockIdx.x) * a.n_chunks * (2 + ATTEND_DIMS);
    own_joint      j = { sink[blockIdx.x] * 0x1.715476p+0f, 1.0f };
    float2         o = make_float2(0.0f, 0.0f);
    for (uint32_t c0 = 0; c0 < n; c0 += AHEAD) {
        float2 ml[AHEAD], v[AHEAD];
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++) {
            if (c0 + i >= n) continue;
            ml[i] = *(const float2 *)(from + (uint64_t)(c0 + i) * (2 + ATTEND_DIMS));
            v[i] = *(const float2 *)(from + (uint64_t)(c0 + i) * (2 + ATTEND_DIMS) + 2 + d);
        }
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++) {
            if (c0 + i >= n) continue;
            const float2 by = own_join(j, ml[i]);
            o.x = __fmaf_rn(v[i].x, by.y, __fmul_rn(o.x, by.x));
            o.y = __fmaf_rn(v[i].y, by.y, __fmul_rn(o.y, by.x));
        }
    }
    *(float2 *)(out + (uint64_t)t * a.out_stride + blockIdx.x * ATTEND_DIMS + d) =
        own_finish(o, j.total, d, a.kv.n_rot, angle + (uint64_t)t * a.angles_stride);
}

/* ---- many tokens: a group has all heads of a token ------------------------------------------------------------ */

enum {
    ALL_QUERIES = ATTEND_TILE, ALL_SCORES = ALL_QUERIES + 64 * 1024, ALL_WEIGHTS = ALL_SCORES + 128 * ATTEND_SCORES,
    ALL_JOINTS = ALL_WEIGHTS + 64 * ATTEND_WEIGHTS, ALL_FACTORS = ALL_JOINTS + 64 * 8,
};

/* Grid: tokens, 64 heads. While a chunk is computed the rows of the next are on their way. */
extern "C" __global__ void __launch_bounds__(512, 1)
own_attend_all(const __grid_constant__ attend_args a, const uint8_t *state, const uint8_t *rows, const float *q,
               const float *sink, const float *angle, const int *chosen, const uint32_t *pos, const uint32_t *span_of,
               const kd_span *spans, const kd_block *blocks, float *out)
{
    const int      warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const uint32_t t = a.first_token + blockIdx.x, head0 = blockIdx.y * 64;
    const uint32_t i = (warp & 7) * 8 + (lane & 7), u = (warp >> 3) * 4 + (lane >> 3);
    own_row_part<1> part;
    float           o[2][4][2][4] = {};        /* 16 dims twice, 16 heads four times */

    own_let_next_start();
    own_wait_for_last();
    const own_rows r = own_rows_of(a, state, rows, chosen, pos, span_of, spans, blocks, t);
    own_load_row<1>(part, r, i, u);
    own_stage_queries(ALL_QUERIES, q + (uint64_t)t * a.q_stride + head0 * ATTEND_DIMS, 64, a.scale * 0x1.715476p+0f);
    if (threadIdx.x < 64) {
        const own_joint begin = { sink[head0 + threadIdx.x] * 0x1.715476p+0f, 1.0f };
        own_at<own_joint>(ALL_JOINTS + threadIdx.x * 8) = begin;
    }
#pragma unroll 1
    for (uint32_t first = 0; first < r.n_rows; first += ATTEND_ROWS) {
        own_store_row<1>(part, 0, i, u);
        __syncthreads();
        if (first + ATTEND_ROWS < r.n_rows) own_load_row<1>(part, r, first + ATTEND_ROWS + i, u);
        own_scores<2>(ALL_QUERIES, 0, ALL_SCORES, 64, (warp >> 3) * 32, (warp & 3) * 16, warp >> 2 & 1, lane);
        __syncthreads();
        {
            const uint32_t head = threadIdx.x >> 3;
            const float2   ml = own_weigh(ALL_SCORES, ALL_WEIGHTS, 64, head, threadIdx.x & 7, r.n_rows - first);
            if ((threadIdx.x & 7) == 0)
                own_at<float2>(ALL_FACTORS + head * 8) = own_join(own_at<own_joint>(ALL_JOINTS + head * 8), ml);
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 2; k++) {
            uint32_t b[4][4];
            own_rows_turned(b, 0, warp * 32 + k * 16, lane);
#pragma unroll
            for (int m = 0; m < 4; m++) {
                const float2 g = own_at<float2>(ALL_FACTORS + (m * 16 + (lane >> 2)) * 8);
                const float2 h = own_at<float2>(ALL_FACTORS + (m * 16 + (lane >> 2) + 8) * 8);
                float        v[2][4] = {};
                own_weighted(v, ALL_WEIGHTS, b, m * 16, lane);
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    float (&to)[4] = o[k][m][j];
                    to[0] = __fmaf_rn(v[j][0], g.y, __fmul_rn(to[0], g.x));
                    to[1] = __fmaf_rn(v[j][1], g.y, __fmul_rn(to[1], g.x));
                    to[2] = __fmaf_rn(v[j][2], h.y, __fmul_rn(to[2], h.x));
                    to[3] = __fmaf_rn(v[j][3], h.y, __fmul_rn(to[3], h.x));
                }
            }
        }
        __syncthreads();
    }
    const float *turn = angle + (uint64_t)t * a.angles_stride;
#pragma unroll
    for (int k = 0; k < 2; k++) {
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
            for (int j = 0; j < 2; j++) {
                const uint32_t d = warp * 32 + k * 16 + j * 8 + 2 * (lane & 3), head = m * 16 + (lane >> 2);
                float         *to = out + (uint64_t)t * a.out_stride + (head0 + head) * ATTEND_DIMS + d;
                *(float2 *)to = own_finish(make_float2(o[k][m][j][0], o[k][m][j][1]),
                                           own_at<own_joint>(ALL_JOINTS + head * 8).total, d, a.kv.n_rot, turn);
                *(float2 *)(to + 8 * ATTEND_DIMS) = own_finish(make_float2(o[k][m][j][2], o[k][m][j][3]),
                                                               own_at<own_joint>(ALL_JOINTS + (head + 8) * 8).total, d,
                                                               a.kv.n_rot, turn);
            }
        }
    }
}
