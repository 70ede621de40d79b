/* planted.h - the kernels of planted.cpp. */
#ifndef DS4_TESTS_EMULATOR_PLANTED_H
#define DS4_TESTS_EMULATOR_PLANTED_H

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PLANTED_NO_BARRIER, PLANTED_WRITE_TOO_EARLY, PLANTED_HALF_A_SIMDGROUP, PLANTED_HALF_A_GROUP,
    PLANTED_OUTSIDE, PLANTED_SOUND
};

/* x and y of a group of 256 threads: float [256], [512]. */
typedef struct planted_kernel {
    const char *name;
    void (*call)(const void *args, void *const *buffer);
} planted_kernel;

extern const planted_kernel planted_kernels[];

#ifdef __cplusplus
}
#endif

#endif
