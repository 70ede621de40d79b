/* kdl.h - the dialect that GPU kernels are written in: one text for Metal and for CUDA.
 *
 * The rules that make it one language:
 *   - a kernel is KERNEL(name, args_t, buffers...); args_t is a struct of args.h, read as a.member;
 *   - groups have one dimension, a multiple of 32 threads; KD_TGX, KD_TGY, KD_TGZ number groups, KD_TID
 *     threads in a group, KD_LANE threads in a row of 32 (KD_SG numbers these rows, "simdgroups");
 *   - every pointer says where it leads: DEV (device memory), TGM (the group's), PRV (the thread's);
 *   - TG_ARRAY and TG_COUNTERS stand at the top of a kernel; a group has 32 KiB of them;
 *   - a simd function (kd_sum and the like) is reached by all 32 lanes, BARRIER by all threads of a group
 *     or by none; a group or a simdgroup may return as a whole;
 *   - no double, no recursion, no pointers to functions, no 64-bit atomics, no float atomics;
 *   - floats are added in an order that depends on nothing but the length of the sum, products and sums
 *     are contracted where kd_fma says so and nowhere else, and the functions of kd_math.h replace those
 *     of the platform: then every device gives the same bits, and so does the emulator.
 *   - KD_BEGIN() is a kernel's first statement: what launches before have written is there;
 * A kernel that needs something else of one platform is an override of that backend. */
#ifndef DS4_BACKEND_GPU_KERNELS_KDL_H
#define DS4_BACKEND_GPU_KERNELS_KDL_H

#if defined(__METAL_VERSION__) || defined(KD_EMULATED)

#include <metal_stdlib>
using namespace metal;

#define DEV device
#define TGM threadgroup
#define PRV thread
#define KD_FN static inline
#define KD_TABLE(T, name, n) constant T name[n]
#define KERNEL(name, args_t, ...)                                                                      \
    kernel void name(uint3 kd_tg [[threadgroup_position_in_grid]],                                     \
                     uint kd_tid [[thread_index_in_threadgroup]],                                      \
                     uint3 kd_nt [[threads_per_threadgroup]],                                          \
                     uint kd_lane [[thread_index_in_simdgroup]],                                       \
                     uint kd_sg [[simdgroup_index_in_threadgroup]], constant args_t &a, __VA_ARGS__)
#define KD_BEGIN()
#define KD_TGX kd_tg.x
#define KD_TGY kd_tg.y
#define KD_TGZ kd_tg.z
#define KD_TID kd_tid
#define KD_NT kd_nt.x
#define KD_LANE kd_lane
#define KD_SG kd_sg
#ifndef TG_ARRAY
#define TG_ARRAY(T, name, n) threadgroup T name[n]
#define TG_COUNTERS(name, n) threadgroup atomic_uint name[n]
#endif
#define TG_COUNTER threadgroup atomic_uint
#define BARRIER() threadgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device)
#define SG_BARRIER() simdgroup_barrier(mem_flags::mem_threadgroup | mem_flags::mem_device)
#ifndef KD_UNROLL
#define KD_UNROLL _Pragma("unroll")
#define KD_UNROLL_4 _Pragma("unroll 4")     /* of a long loop: four loads are under way at once */
#endif

typedef float4 f4;
KD_FN f4 ld4(device const float *p) { return *(device const f4 *)p; }
KD_FN float kd_fma(float x, float y, float z) { return fma(x, y, z); }
KD_FN float kd_sqrt(float x) { return precise::sqrt(x); }
KD_FN float kd_rint(float x) { return rint(x); }
KD_FN uint kd_bits(float x) { return as_type<uint>(x); }
KD_FN float kd_float(uint bits) { return as_type<float>(bits); }
KD_FN float kd_of_half(ushort h) { return (float)as_type<half>(h); }
KD_FN ushort kd_to_half(float x) { return as_type<ushort>((half)x); }
KD_FN float kd_shuffle_xor(float v, uint m) { return simd_shuffle_xor(v, (ushort)m); }
KD_FN uint kd_shuffle_xor(uint v, uint m) { return simd_shuffle_xor(v, (ushort)m); }
KD_FN uint kd_shuffle(uint v, uint lane) { return simd_shuffle(v, (ushort)lane); }
KD_FN float kd_shuffle(float v, uint lane) { return simd_shuffle(v, (ushort)lane); }
KD_FN void kd_count(threadgroup atomic_uint *c, uint n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}
KD_FN uint kd_counted(threadgroup atomic_uint *c) { return atomic_load_explicit(c, memory_order_relaxed); }
KD_FN void kd_set(threadgroup atomic_uint *c, uint n) { atomic_store_explicit(c, n, memory_order_relaxed); }
KD_FN int kd_dot4(uint x, uint y, int sum)
{
    for (int i = 0; i < 32; i += 8) sum += (int)(char)(x >> i) * (int)(char)(y >> i);
    return sum;
}

#elif defined(__CUDACC__)

#include <cuda_fp16.h>
#include <stdint.h>

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long long kd_u64;
#define ulong kd_u64
#define DEV
#define TGM
#define PRV
#define KD_FN static __device__ __forceinline__
#define KD_TABLE(T, name, n) static __device__ const T name[n]
#define KERNEL(name, args_t, ...)                                                                      \
    extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ args_t a, __VA_ARGS__)
/* Programmatic dependent launch: the next launch may begin to start, this one waits for the last. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define KD_BEGIN()                                                                                     \
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");                                    \
    asm volatile("griddepcontrol.wait;" ::: "memory")
#else
#define KD_BEGIN()
#endif
#define KD_TGX blockIdx.x
#define KD_TGY blockIdx.y
#define KD_TGZ blockIdx.z
#define KD_TID threadIdx.x
#define KD_NT blockDim.x
#define KD_LANE (threadIdx.x & 31u)
#define KD_SG (threadIdx.x >> 5)
#define TG_ARRAY(T, name, n) __shared__ __align__(16) T name[n]
#define TG_COUNTERS(name, n) __shared__ uint name[n]
#define TG_COUNTER uint
#define BARRIER() __syncthreads()
#define SG_BARRIER() __syncwarp()
#define KD_UNROLL _Pragma("unroll")
#define KD_UNROLL_4 _Pragma("unroll 4")

typedef float4 f4;
KD_FN f4 ld4(const float *p) { return *(const f4 *)p; }
KD_FN float kd_fma(float x, float y, float z) { return __fmaf_rn(x, y, z); }
KD_FN float kd_sqrt(float x) { return __fsqrt_rn(x); }
KD_FN float kd_rint(float x) { return rintf(x); }
KD_FN uint kd_bits(float x) { return __float_as_uint(x); }
KD_FN float kd_float(uint bits) { return __uint_as_float(bits); }
KD_FN float kd_of_half(ushort h) { return __half2float(__ushort_as_half(h)); }
KD_FN ushort kd_to_half(float x) { return __half_as_ushort(__float2half_rn(x)); }
KD_FN float kd_shuffle_xor(float v, uint m) { return __shfl_xor_sync(~0u, v, m); }
KD_FN uint kd_shuffle_xor(uint v, uint m) { return __shfl_xor_sync(~0u, v, m); }
KD_FN uint kd_shuffle(uint v, uint lane) { return __shfl_sync(~0u, v, lane); }
KD_FN float kd_shuffle(float v, uint lane) { return __shfl_sync(~0u, v, lane); }
KD_FN void kd_count(uint *c, uint n) { atomicAdd(c, n); }
KD_FN uint kd_counted(uint *c) { return *c; }
KD_FN void kd_set(uint *c, uint n) { *c = n; }
KD_FN int kd_dot4(uint x, uint y, int sum) { return __dp4a((int)x, (int)y, sum); }

#else
#error "kernels are read by Metal's compiler, by nvcc, or by the emulator with KD_EMULATED"
#endif

KD_FN uint kd_min(uint x, uint y)
{
    return y < x ? y : x;
}

/* The order of these sums is part of what every device agrees on. */
KD_FN float kd_sum(float v)
{
    for (uint m = 16; m > 0; m /= 2) v += kd_shuffle_xor(v, m);
    return v;
}

/* Eight sums at once, each bit for bit that of kd_sum: lane l gets sum l / 4. The lanes of a half give
 * away what the other half adds up, so that nine exchanges do instead of forty. */
KD_FN float kd_sum_eight(PRV float *v, uint lane)
{
    KD_UNROLL
    for (uint n = 4; n > 0; n /= 2) {
        const bool upper = (lane & (4 * n)) != 0;
        KD_UNROLL
        for (uint i = 0; i < n; i++) {
            const float mine = upper ? v[n + i] : v[i], given = upper ? v[i] : v[n + i];
            v[i] = mine + kd_shuffle_xor(given, 4 * n);
        }
    }
    const float two = v[0] + kd_shuffle_xor(v[0], 2u);
    return two + kd_shuffle_xor(two, 1u);
}

KD_FN uint kd_sum_uint(uint v)
{
    for (uint m = 16; m > 0; m /= 2) v += kd_shuffle_xor(v, m);
    return v;
}

KD_FN uint kd_max_uint(uint v)
{
    for (uint m = 16; m > 0; m /= 2) {
        const uint other = kd_shuffle_xor(v, m);
        v = other > v ? other : v;
    }
    return v;
}

/* The sum over lanes 0 .. lane. */
KD_FN uint kd_scan(uint v, uint lane)
{
    for (uint step = 1; step < 32; step *= 2) {
        const uint other = kd_shuffle(v, lane >= step ? lane - step : lane);
        v += lane >= step ? other : 0u;
    }
    return v;
}

/* The sum of v over a whole group; part has a float for each simdgroup. Ends with a barrier before
 * part may be used again. */
KD_FN float kd_group_sum(float v, TGM float *part, uint lane, uint sg, uint n_threads)
{
    float sum = 0.0f;

    v = kd_sum(v);
    if (lane == 0) part[sg] = v;
    BARRIER();
    for (uint i = 0; i < n_threads / 32; i++) sum += part[i];
    BARRIER();
    return sum;
}

#endif
