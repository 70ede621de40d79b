/* rng.c - xoshiro256**, seeded by splitmix64: small, fast, and the same everywhere.
 * Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators". */
#include "base/rng.h"

static uint64_t rotate_left(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

void ds4_rng_seed(ds4_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        rng->state[i] = z ^ (z >> 31);
    }
}

uint64_t ds4_rng_next(ds4_rng *rng)
{
    uint64_t      *s = rng->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double ds4_rng_uniform(ds4_rng *rng)
{
    return (double)(ds4_rng_next(rng) >> 11) * 0x1p-53;
}
