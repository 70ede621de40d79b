/* kernel_x86.h - what the kernels of all x86 instruction sets share: how functions and loops become
 * straight code, and prefetching. */
#ifndef DS4_KERNELS_KERNEL_X86_H
#define DS4_KERNELS_KERNEL_X86_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"       /* sanitizers prevent unrolling */
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Ask for the bytes at p + ahead, which may lie behind the buffer: a prefetch cannot fault.
 * prefetch_far asks into the second cache, where more can be under way. */
#define PREFETCH(name, hint)                                                    \
    INLINE void name(const void *p, size_t ahead, size_t bytes)                 \
    {                                                                           \
        const uintptr_t from = (uintptr_t)p + ahead, end = from + bytes;        \
        for (uintptr_t a = (from + 63) & ~(uintptr_t)63; a < end; a += 64)      \
            _mm_prefetch((const void *)a, hint);                                \
    }
PREFETCH(prefetch_span, _MM_HINT_T0)
PREFETCH(prefetch_far, _MM_HINT_T1)
#undef PREFETCH

#endif
