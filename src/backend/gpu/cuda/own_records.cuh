/* own_records.cuh - weights as records, and how a warp multiplies them with int8 tokens.
 *
 * A product is weights (A, 16 rows) times tokens (B, 8 columns) on tensor cores that add integers. Lane
 * 4g + t of a warp has rows g and g + 8 of A, and columns 2t and 2t + 1 of the result. Records are what
 * lanes load whole, 16 bytes at a time; their sizes are those of the file's blocks:
 *
 *   Q8_0     16 rows x 128 columns, 2176 bytes: for each block of 32 [lane]{row g, row g+8: columns
 *            8t .. 8t+3; the same of 8t+4 ..}, then [g][block]{d of g, of g+8}
 *   IQ2_XXS  16 x 256, 1056 bytes: [lane]{8 words, one for each 32 columns: codeword t of row g, its sign
 *            byte, the same of row g+8}, then [g]{d of g, of g+8}. A sign byte is 7 signs << 1 and a bit of
 *            a scale: the 16 bits of a lane are the scales (g,2t) (g,2t+1) (g+8,2t) (g+8,2t+1)
 *   Q2_K     16 x 256, 1344 bytes: [lane]{16 bytes of row g}, [lane]{of row g+8}, [lane]{4 bytes of scales
 *            and mins of g, of g+8}, [g]{d, least of g, of g+8}. Lane t has columns 64t .. 64t+63
 *
 * Codes of tokens lie in the order that these want: in a block of 32 byte 16h + 4t + i is column 8t + 4h + i;
 * for Q2_K in a block of 256 byte 32b + 16h + 4t + i is column 64t + 8b + 4h + i, and 32 bytes follow, the
 * low and high parts of the sums of 16 columns: sum = low + 16 high.
 *
 * Integers are exact; floats are those of product_i8.k, one by one. */
#pragma once
#include "backend/gpu/cuda/own_args.h"

#define OWN_FN static __device__ __forceinline__

constexpr int own_magic = 0x4B400000;   /* as a float 1.5 * 2^23: adding a small integer adds it exactly */

OWN_FN float own_unmagic(int v) { return __fadd_rn(__int_as_float(v), -12582912.0f); }
/* Byte i of the result is byte (by >> 4i & 7) of the eight bytes of a and b. */
OWN_FN uint32_t own_prmt(uint32_t a, uint32_t b, uint32_t by)
{
    uint32_t r;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(by));
    return r;
}
OWN_FN float2 own_halves(uint32_t v)
{
    return make_float2(__half2float(__ushort_as_half((unsigned short)v)),
                       __half2float(__ushort_as_half((unsigned short)(v >> 16))));
}

/* ---- the launch before and the one behind (programmatic dependent launch) ------------------------------ */

/* Those behind may start now; what they read of this launch they wait for. */
OWN_FN void own_let_next_start()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/* All launches before are done, and what they wrote is seen. Until then only weights may be read. */
OWN_FN void own_wait_for_last()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* ---- memory -------------------------------------------------------------------------------------- */

extern __shared__ __align__(128) unsigned char own_shared[];
template <class T> OWN_FN T &own_at(uint32_t off) { return *reinterpret_cast<T *>(own_shared + off); }
OWN_FN uint32_t own_address(uint32_t off) { return (uint32_t)__cvta_generic_to_shared(own_shared) + off; }

/* Weights are read once: they shall not push other things out of the L1 cache. */
OWN_FN uint4 own_load4(const uint8_t *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
OWN_FN uint2 own_load2(const uint8_t *p)
{
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}
OWN_FN uint32_t own_load1(const uint8_t *p)
{
    uint32_t v;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}
OWN_FN void own_copy16(uint32_t to, const void *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
OWN_FN void own_copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> OWN_FN void own_copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* ---- tensor cores --------------------------------------------------------------------------------- */

/* Lane l names 16 bytes: row l % 8 of matrix l / 8. */
OWN_FN void own_matrices4(uint32_t (&r)[4], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
OWN_FN void own_matrices2(uint32_t (&r)[2], uint32_t at)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(at) : "memory");
}
/* d = a b + c, 16 x 32 bytes times 32 x 8. */
OWN_FN void own_mma(int (&d)[4], const uint4 &a, uint32_t b0, uint32_t b1, int c)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1), "r"(c));
}
OWN_FN void own_mma_add(int (&d)[4], const uint4 &a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
/* The same with unsigned weights. */
OWN_FN void own_mma_unsigned(int (&d)[4], const uint4 &a, uint32_t b0, uint32_t b1, int c)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1), "r"(c));
}
OWN_FN void own_mma_unsigned_add(int (&d)[4], const uint4 &a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/* Tokens in shared memory, [16-byte chunk][token][16 bytes], as a lane names them to own_matrices4. With one
 * token the other seven columns are a row of zeros. */
struct own_tokens {
    uint32_t base, stride;
    __device__ __forceinline__ uint32_t at(uint32_t chunk) const { return base + chunk * stride; }
};

/* ---- Q8_0 ----------------------------------------------------------------------------------------- */

struct own_q8 {
    uint4 a[4], d;
};
OWN_FN void own_load(own_q8 &r, const uint8_t *p, int lane)
{
#pragma unroll
    for (int b = 0; b < 4; b++) r.a[b] = own_load4(p + b * 512 + lane * 16);
    r.d = own_load4(p + 2048 + (lane >> 2) * 16);
}
/* acc goes on over the record's four blocks. scale: [block][token] of the record's first block, at the lane's
 * column 2t; scale_step bytes from block to block. */
OWN_FN void own_add(float (&acc)[4], const own_q8 &r, const own_tokens &x, uint32_t chunk, uint32_t scale,
                    uint32_t scale_step, bool one)
{
    const uint32_t d[4] = { r.d.x, r.d.y, r.d.z, r.d.w };
    uint32_t       b[2][4];

    own_matrices4(b[0], x.at(chunk));
    own_matrices4(b[1], x.at(chunk + 4));
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 dw = own_halves(d[i]);
        const float2 dx = one ? make_float2(own_at<float>(scale + i * scale_step), 0.0f)
                              : own_at<float2>(scale + i * scale_step);
        int c[4];
        own_mma(c, r.a[i], b[i >> 1][2 * (i & 1)], b[i >> 1][2 * (i & 1) + 1], own_magic);
        acc[0] = __fmaf_rn(__fmul_rn(dw.x, dx.x), own_unmagic(c[0]), acc[0]);
        acc[1] = __fmaf_rn(__fmul_rn(dw.x, dx.y), own_unmagic(c[1]), acc[1]);
        acc[2] = __fmaf_rn(__fmul_rn(dw.y, dx.x), own_unmagic(c[2]), acc[2]);
        acc[3] = __fmaf_rn(__fmul_rn(dw.y, dx.y), own_unmagic(c[3]), acc[3]);
    }
}

/* ---- IQ2_XXS -------------------------------------------------------------------------------------- */

/* The table at the beginning of shared memory: [256] of 16 copies of a codeword's eight digits, four bits
 * each; then [256] of 16 copies of eight signs, bit 2 of each four. A lane reads its own copy. */
enum { OWN_SIGNS = OWN_TABLE_BYTES / 2 };
OWN_FN void own_build_table(int tid, int n_threads)
{
    for (int i = tid; i < 256 * 4; i += n_threads) {        /* four copies at once */
        const int      e = i >> 2;
        const uint32_t code = kd_iq2xxs_codes[e], signs = kd_eight_signs((uint32_t)e >> 1);
        uint32_t       digits = 0, spread = 0;
        for (int j = 0; j < 8; j++) {
            digits |= (code >> (2 * j) & 3u) << (4 * j);
            spread |= (signs >> j & 1u) << (4 * j + 2);
        }
        own_at<uint4>(16 * i) = make_uint4(digits, digits, digits, digits);
        own_at<uint4>(OWN_SIGNS + 16 * i) = make_uint4(spread, spread, spread, spread);
    }
}

struct own_iq2 {
    uint4    w[2];
    uint32_t d;
};
OWN_FN void own_load(own_iq2 &r, const uint8_t *p, int lane)
{
    r.w[0] = own_load4(p + lane * 16);
    r.w[1] = own_load4(p + 512 + lane * 16);
    r.d = own_load1(p + 1024 + (lane >> 2) * 4);
}
OWN_FN uint32_t own_word(const own_iq2 &r, int b)
{
    const uint4 &w = r.w[b >> 2];
    return (b & 3) == 0 ? w.x : (b & 3) == 1 ? w.y : (b & 3) == 2 ? w.z : w.w;
}
/* The lane's four factors 2n + 1 as bytes: (g,2t) (g,2t+1) (g+8,2t) (g+8,2t+1). */
OWN_FN uint32_t own_factors(const own_iq2 &r)
{
    uint32_t e = own_word(r, 0) & 0x01000100u;
#pragma unroll
    for (int b = 1; b < 8; b++) e = e * 2 + (own_word(r, b) & 0x01000100u);
    return ((e >> 12 & 0x000F000Fu) | (e & 0x0F000F00u)) * 2 + 0x01010101u;
}
/* Weights of 32 columns as the tensor cores take them. copy: four times the lane's copy of the table. */
OWN_FN uint4 own_weights(uint32_t w, uint32_t copy)
{
    const uint32_t plus = 0x002B1908u, minus = 0x00D5E7F8u;    /* 43, 25, 8 and their negatives */
    const uint32_t s0 = own_at<uint32_t>((w & 255u) * 64 + copy) + own_at<uint32_t>(OWN_SIGNS + (w >> 8 & 255u) * 64 + copy);
    const uint32_t s1 = own_at<uint32_t>((w >> 16 & 255u) * 64 + copy) + own_at<uint32_t>(OWN_SIGNS + (w >> 24) * 64 + copy);
    return make_uint4(own_prmt(plus, minus, s0), own_prmt(plus, minus, s1), own_prmt(plus, minus, s0 >> 16),
                      own_prmt(plus, minus, s1 >> 16));
}
/* Sums over 256 columns for N times eight tokens, from x's chunk on. */
template <int N> OWN_FN void own_sums(int (&sum)[N][4], const own_iq2 &r, const own_tokens &x, uint32_t chunk, int lane)
{
    const uint32_t f = own_factors(r), copy = (lane & 15) * 4;
#pragma unroll
    for (int p = 0; p < 4; p++) {
        const uint32_t F = __shfl_sync(~0u, f, (lane & 28) | p);
        const uint4    a[2] = { own_weights(own_word(r, 2 * p), copy), own_weights(own_word(r, 2 * p + 1), copy) };
#pragma unroll
        for (int n = 0; n < N; n++) {
            uint32_t b[4];
            own_matrices4(b, x.at(chunk + 4 * p) + n * 128);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int fg = F >> (8 * h) & 255u, fh = F >> (16 + 8 * h) & 255u;
                int       c[4];
                own_mma(c, a[h], b[2 * h], b[2 * h + 1], 0);
                sum[n][0] += c[0] * fg;
                sum[n][1] += c[1] * fg;
                sum[n][2] += c[2] * fh;
                sum[n][3] += c[3] * fh;
            }
        }
    }
}
/* For one token: block b goes through column b, so that each lane gets exactly the sums whose factors it has.
 * x0, x1: the lane's eight codes of block g. */
OWN_FN int2 own_sums_one(const own_iq2 &r, uint32_t x0, uint32_t x1, int lane)
{
    const uint32_t f = own_factors(r), copy = (lane & 15) * 4;
    int            even[4] = { 0, 0, 0, 0 }, odd[4] = { 0, 0, 0, 0 };
#pragma unroll
    for (int b = 0; b < 8; b++) {
        const bool mine = (lane >> 2) == b;
        own_mma_add(b & 1 ? odd : even, own_weights(own_word(r, b), copy), mine ? x0 : 0u, mine ? x1 : 0u);
    }
    int2 s = make_int2(even[0] * (int)(f & 255u) + odd[1] * (int)(f >> 8 & 255u),
                       even[2] * (int)(f >> 16 & 255u) + odd[3] * (int)(f >> 24));
    s.x += __shfl_xor_sync(~0u, s.x, 1);
    s.y += __shfl_xor_sync(~0u, s.y, 1);
    s.x += __shfl_xor_sync(~0u, s.x, 2);
    s.y += __shfl_xor_sync(~0u, s.y, 2);
    return s;
}
/* What 256 columns add to a product. */
OWN_FN float own_part_iq2(float d, float dx, int sum) { return __fmul_rn(__fmul_rn(d * 0.125f, dx), __int2float_rn(sum)); }

/* ---- Q2_K ----------------------------------------------------------------------------------------- */

struct own_q2k {
    uint4 q[2];
    uint2 s, d;
};
OWN_FN void own_load(own_q2k &r, const uint8_t *p, int lane)
{
    r.q[0] = own_load4(p + lane * 16);
    r.q[1] = own_load4(p + 512 + lane * 16);
    r.s = own_load2(p + 1024 + lane * 8);
    r.d = own_load2(p + 1280 + (lane >> 2) * 8);
}
OWN_FN void own_two_steps(uint4 &a0, uint4 &a1, uint32_t wg, uint32_t wh, uint32_t sg, uint32_t sh)
{
    a0.x = (wg & 0x03030303u) * sg;
    a0.z = (wg >> 2 & 0x03030303u) * sg;
    a1.x = (wg >> 4 & 0x03030303u) * sg;
    a1.z = (wg >> 6 & 0x03030303u) * sg;
    a0.y = (wh & 0x03030303u) * sh;
    a0.w = (wh >> 2 & 0x03030303u) * sh;
    a1.y = (wh >> 4 & 0x03030303u) * sh;
    a1.w = (wh >> 6 & 0x03030303u) * sh;
}
/* Eight steps of 32 columns, quants times their scales; then the mins, against the sums of codes. */
OWN_FN void own_weights(uint4 (&a)[9], const own_q2k &r)
{
    const uint32_t s = r.s.x & 0x0F0F0F0Fu, t = r.s.y & 0x0F0F0F0Fu;
    own_two_steps(a[0], a[1], r.q[0].x, r.q[1].x, s & 255u, t & 255u);
    own_two_steps(a[2], a[3], r.q[0].y, r.q[1].y, s >> 8 & 255u, t >> 8 & 255u);
    own_two_steps(a[4], a[5], r.q[0].z, r.q[1].z, s >> 16 & 255u, t >> 16 & 255u);
    own_two_steps(a[6], a[7], r.q[0].w, r.q[1].w, s >> 24, t >> 24);
    a[8] = make_uint4(r.s.x >> 4 & 0x0F0F0F0Fu, r.s.y >> 4 & 0x0F0F0F0Fu, r.s.x & 0xF0F0F0F0u, r.s.y & 0xF0F0F0F0u);
}
/* Sums over 256 columns for eight tokens, with own_magic added. */
OWN_FN void own_sums(int (&sum)[4], int (&least)[4], const uint4 (&a)[9], const own_tokens &x, uint32_t chunk, uint32_t off)
{
#pragma unroll
    for (int p = 0; p < 4; p++) {
        uint32_t b[4];
        own_matrices4(b, x.at(chunk + 4 * p) + off);
        if (p == 0) own_mma_unsigned(sum, a[0], b[0], b[1], own_magic);
        else own_mma_unsigned_add(sum, a[2 * p], b[0], b[1]);
        own_mma_unsigned_add(sum, a[2 * p + 1], b[2], b[3]);
    }
    uint32_t m[2];
    own_matrices2(m, x.at(chunk + 16) + off);
    own_mma_unsigned(least, a[8], m[0], m[1], own_magic);
}
OWN_FN float own_part_q2k(float d, float d_least, float dx, int sum, int least)
{
    return __fmul_rn(dx, __fmaf_rn(-d_least, own_unmagic(least), __fmul_rn(d, own_unmagic(sum))));
}
