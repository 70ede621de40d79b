/* kernels.c - choose CPU kernels once, at start. */
#include "kernels/kernels.h"
#include "kernels/kernel_init.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if defined(__x86_64__)

#if defined(DS4_AMX_EMULATED)       /* see lab/amx_emulated.h */
static bool have_amx(void)
{
    return true;
}
#elif defined(__linux__)
/* The processor has tiles of int8 and the system keeps them for this process: it does so
 * when asked, once for all threads (Linux, Documentation/arch/x86/xstate.rst). */
static bool have_amx(void)
{
    enum { TILE = 1 << 24, INT8 = 1 << 25, REQ_XCOMP_PERM = 0x1023, XFEATURE_TILE_DATA = 18 };
    unsigned a, b, c, d;

    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & TILE) || !(d & INT8)) return false;
    return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XFEATURE_TILE_DATA) == 0;
}
#else
static bool have_amx(void)
{
    return false;
}
#endif

unsigned ds4_cpu_features(void)
{
    unsigned features = 0;

    /* F16C has no name in every compiler; each processor with AVX2 has it. */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2"))
        features |= DS4_CPU_AVX2;
    if (features && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni"))
        features |= DS4_CPU_AVX512;
    if ((features & DS4_CPU_AVX512) && __builtin_cpu_supports("avx512vbmi") &&
        __builtin_cpu_supports("gfni"))
        features |= DS4_CPU_VBMI;
    if ((features & DS4_CPU_VBMI) && have_amx()) features |= DS4_CPU_AMX;
    return features;
}

#elif defined(__aarch64__)

unsigned ds4_cpu_features(void)
{
#if defined(__linux__)
    const unsigned long need = HWCAP_ASIMDDP | HWCAP_FPHP | HWCAP_ASIMDHP;
    return (getauxval(AT_HWCAP) & need) == need ? DS4_CPU_NEON : 0;
#else
    return DS4_CPU_NEON;        /* every Apple processor has them */
#endif
}

#else

unsigned ds4_cpu_features(void)
{
    return 0;
}

#endif

/* Without those that lack what they build on, whatever a mask took away. */
static unsigned usable(unsigned features)
{
    if (!(features & DS4_CPU_AVX2)) features &= ~(unsigned)DS4_CPU_AVX512;
    if (!(features & DS4_CPU_AVX512)) features &= ~(unsigned)DS4_CPU_VBMI;
    if (!(features & DS4_CPU_VBMI)) features &= ~(unsigned)DS4_CPU_AMX;
    return features;
}

const char *ds4_cpu_features_text(unsigned features)
{
    features = usable(features);
    if (features & DS4_CPU_AVX512) return "avx2 avx512";
    if (features & DS4_CPU_AVX2) return "avx2";
    if (features & DS4_CPU_NEON) return "neon";
    return "plain C";
}

void ds4_kernels_init(ds4_kernels *k, unsigned features)
{
    features = usable(features);
    memset(k, 0, sizeof *k);
    ds4_kernels_ref_matmul(k);
    ds4_kernels_ref_vector(k);
    ds4_kernels_ref_rows(k);
    ds4_kernels_ref_attend(k);
#if defined(__x86_64__)
    if (features & DS4_CPU_AVX2) {
        ds4_kernels_avx2_decode(k);
        ds4_kernels_avx2_q256(k);
        ds4_kernels_avx2_t66(k);
        ds4_kernels_avx2_q32(k);
        ds4_kernels_avx2_float(k);
        ds4_kernels_avx2_vector(k);
        ds4_kernels_avx2_rows(k);
        ds4_kernels_avx2_attend(k);
    }
    if (features & DS4_CPU_AVX512) {
        ds4_kernels_avx512_q256(k);
        ds4_kernels_avx512_iq2(k);
        ds4_kernels_avx512_t66(k);
        ds4_kernels_avx512_q32(k);
        ds4_kernels_avx512_float(k);
        ds4_kernels_avx512_vector(k);
        ds4_kernels_avx512_rows(k);
        ds4_kernels_avx512_attend(k);
        ds4_kernels_avx512_index(k);
    }
    if (features & DS4_CPU_VBMI) {
        ds4_kernels_vbmi_iq2(k);
        ds4_kernels_vbmi_t66(k);
    }
    if (features & DS4_CPU_AMX) {
        ds4_kernels_amx_q256(k);
        ds4_kernels_amx_q32(k);
    }
#elif defined(__aarch64__)
    if (features & DS4_CPU_NEON) {
        ds4_kernels_neon_q256(k);
        ds4_kernels_neon_q32(k);
        ds4_kernels_neon_float(k);
        ds4_kernels_neon_rows(k);
        ds4_kernels_neon_attend(k);
    }
#else
    (void)features;
#endif
}
