/* spaces.cl - Metal's names for clang as a compiler of C++ for OpenCL, which has the same address spaces.
 *
 * tests/cli/metal_spaces.sh reads the Metal text with it: a pointer that leads elsewhere than it says is the
 * likeliest fault that the emulator does not see and Apple's compiler refuses. Nothing is run. */
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define device __global
#define threadgroup __local
#define constant __constant
#define thread __private
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef int int32_t;
#define atomic_uint metal_atomic_uint
struct metal_atomic_uint {
    uint v;
};
enum class mem_flags { mem_none, mem_device, mem_threadgroup };
mem_flags operator|(mem_flags, mem_flags);
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
template <class T> T simd_shuffle(T, ushort);
template <class T> T simd_shuffle_xor(T, ushort);
template <class To, class From> To as_type(From);
#define memory_order_relaxed 0
uint metal_add(threadgroup metal_atomic_uint *, uint, int);
uint metal_load(threadgroup metal_atomic_uint *, int);
void metal_store(threadgroup metal_atomic_uint *, uint, int);
#define atomic_fetch_add_explicit(c, n, order) metal_add(c, n, order)
#define atomic_load_explicit(c, order) metal_load(c, order)
#define atomic_store_explicit(c, n, order) metal_store(c, n, order)
namespace metal {
namespace precise {
float sqrt(float);
}
}
