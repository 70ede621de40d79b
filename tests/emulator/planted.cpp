/* planted.cpp - kernels with a fault each, to see that the emulator finds it. Written like those of
 * src/backend/gpu/kernels. */
#include "backend/gpu/kernels/kdl.h"

struct planted_args {
    uint n;
};

/* Sum of x [n] by one group. The barrier is missing: whoever is early adds what is not there yet. */
KERNEL(no_barrier, planted_args, DEV const float *x, DEV float *y)
{
    TG_ARRAY(float, part, 8);
    float v = kd_sum(x[KD_TID]), sum = 0.0f;

    if (KD_LANE == 0) part[KD_SG] = v;
    for (uint i = 0; i < KD_NT / 32; i++) sum += part[i];
    y[KD_TID] = sum;
}

/* Each thread gets its neighbour's value, then everybody writes again without waiting. */
KERNEL(write_too_early, planted_args, DEV const float *x, DEV float *y)
{
    TG_ARRAY(float, v, 256);

    for (uint round = 0; round < 2; round++) {
        v[KD_TID] = x[KD_TID] + (float)round;
        BARRIER();
        y[256 * round + KD_TID] = v[(KD_TID + 100) % KD_NT];
    }
}

KERNEL(half_a_simdgroup, planted_args, DEV const float *x, DEV float *y)
{
    if (KD_LANE < 16) y[KD_TID] = kd_sum(x[KD_TID]);
}

KERNEL(half_a_group, planted_args, DEV const float *x, DEV float *y)
{
    if (KD_SG == 0) return;
    BARRIER();
    y[KD_TID] = x[KD_TID];
}

KERNEL(outside, planted_args, DEV const float *x, DEV float *y)
{
    TG_ARRAY(float, v, 256);

    v[KD_TID + (KD_TID == 255 ? 1 : 0)] = x[KD_TID];
    BARRIER();
    y[KD_TID] = v[KD_TID];
}

/* Nothing is wrong with this one. */
KERNEL(sound, planted_args, DEV const float *x, DEV float *y)
{
    TG_ARRAY(float, part, 8);

    y[KD_TID] = kd_group_sum(x[KD_TID], part, KD_LANE, KD_SG, KD_NT);
}

#undef char
#undef kernel
#undef thread
#include "emulator/planted.h"

#define PLANTED(name)                                                                                         \
    static void call_##name(const void *args, void *const *buffer)                                            \
    {                                                                                                         \
        const emulator::place &p = emulator::here();                                                          \
        name(uint3{ p.group[0], p.group[1], p.group[2] }, p.index, uint3{ p.n_threads, 1, 1 }, p.index & 31,   \
             p.index >> 5, *(const planted_args *)args, (const float *)buffer[0], (float *)buffer[1]);         \
    }
PLANTED(no_barrier)
PLANTED(write_too_early)
PLANTED(half_a_simdgroup)
PLANTED(half_a_group)
PLANTED(outside)
PLANTED(sound)

extern "C" const planted_kernel planted_kernels[] = {
    { "no_barrier", call_no_barrier }, { "write_too_early", call_write_too_early },
    { "half_a_simdgroup", call_half_a_simdgroup }, { "half_a_group", call_half_a_group },
    { "outside", call_outside }, { "sound", call_sound },
};
