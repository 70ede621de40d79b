/* synth_fill.c - see synth_fill.h.
 *
 * A piece is filled with random bits first; then the fields that decide how large the
 * weights are get fixed values, so that any codes give weights of the wanted size. Made
 * for speed: no weight is ever computed.                                               */
#include "app/quantize/synth_fill.h"

#include "base/rng.h"
#include "format/small_float.h"

#include <math.h>
#include <string.h>

uint64_t synth_unit_bytes(const synth_tensor *t)
{
    if (t->dtype == DS4_I32) return t->dim[0] * sizeof(int32_t);
    const ds4_dtype_info *type = ds4_dtype_get(t->dtype);
    return type ? type->block_bytes : 1;
}

static void fill_bits(void *out, uint64_t n_bytes, ds4_rng *rng)
{
    uint8_t *p = out;

    for (uint64_t i = 0; i < n_bytes; i += 8) {
        const uint64_t word = ds4_rng_next(rng);
        memcpy(p + i, &word, sizeof word);
    }
}

/* Roughly normal: a sum of four uniform values, scaled to variance 1. */
static float noise(ds4_rng *rng)
{
    double sum = 0.0;

    for (int i = 0; i < 4; i++) sum += ds4_rng_uniform(rng) - 0.5;
    return (float)(sum * 1.7320508);
}

static void fill_f32(float *out, uint64_t n, const synth_tensor *t, ds4_rng *rng)
{
    for (uint64_t i = 0; i < n; i++) out[i] = t->mean + t->scale * noise(rng);
}

/* Any sign and fraction, one exponent: uniform in 1..2 times a power of two, whose root
 * mean square is sqrt(7/3) times that power. The size is right within a factor of 1.42. */
static void stamp_f16(uint8_t *out, uint64_t n_bytes, float scale)
{
    const int      exponent = (int)lrintf(log2f(scale / 1.5275252f)) + 15;
    const uint64_t code = (uint64_t)(exponent < 1 ? 1 : exponent > 30 ? 30 : exponent) << 10;
    const uint64_t set = code * 0x0001000100010001u, keep = 0x83ff83ff83ff83ffu;

    for (uint64_t i = 0; i < n_bytes; i += 8) {
        uint64_t word;
        memcpy(&word, out + i, sizeof word);
        word = (word & keep) | set;
        memcpy(out + i, &word, sizeof word);
    }
}

/* Codes -128..127 have a root mean square of 73.9. */
static void stamp_q8_0(uint8_t *out, uint64_t n_bytes, float scale)
{
    const uint16_t d = ds4_f32_to_f16(scale / 73.9f);

    for (uint64_t i = 0; i < n_bytes; i += 34) ds4_store_u16(out + i, d);
}

/* Grid values times signs, times odd scales 1..31 over 8: 53.36, by counting over the grid. */
static void stamp_iq2_xxs(uint8_t *out, uint64_t n_bytes, float scale)
{
    const uint16_t d = ds4_f32_to_f16(scale / 53.36f);

    for (uint64_t i = 0; i < n_bytes; i += 66) ds4_store_u16(out + i, d);
}

/* Codes of T66 have a root mean square of 36.95, by counting over the states. */
static void stamp_t66(uint8_t *out, uint64_t n_bytes, float scale)
{
    const uint16_t d = ds4_f32_to_f16(scale / 36.95f);

    for (uint64_t i = 0; i < n_bytes; i += 66) ds4_store_u16(out + i, d);
}

/* Scale and min nibbles are equal, 8..15, and dmin is 1.5 d: weights are d * s * (q - 1.5),
 * with root mean squares 11.73 of s and 1.118 of the codes around their mean. */
static void stamp_q2_k(uint8_t *out, uint64_t n_bytes, float scale)
{
    const float    d = scale / (11.73f * 1.118f);
    const uint16_t codes[2] = { ds4_f32_to_f16(d), ds4_f32_to_f16(1.5f * d) };

    for (uint64_t i = 0; i < n_bytes; i += 84) {
        uint64_t word[2];
        memcpy(word, out + i, sizeof word);
        for (int j = 0; j < 2; j++) {
            const uint64_t low = (word[j] & 0x0707070707070707u) | 0x0808080808080808u;
            word[j] = low * 0x11;       /* each byte at most 15 * 17: no carry */
        }
        memcpy(out + i, word, sizeof word);
        ds4_store_u16(out + i + 80, codes[0]);
        ds4_store_u16(out + i + 82, codes[1]);
    }
}

/* As Q2_K: six-bit scales and mins are equal, 32..63, and dmin is 7.5 d; root mean squares
 * 48.39 of s and 4.610 of the codes. Equal means: bytes 0..3 as 4..7, and in bytes 8..11
 * the low nibble as the high one; bits 5 and 7 make all scales at least 32. */
static void stamp_q4_k(uint8_t *out, uint64_t n_bytes, float scale)
{
    const float    d = scale / (48.39f * 4.610f);
    const uint16_t codes[2] = { ds4_f32_to_f16(d), ds4_f32_to_f16(7.5f * d) };

    for (uint64_t i = 0; i < n_bytes; i += 144) {
        uint32_t word[3];
        memcpy(word, out + i + 4, sizeof word);
        word[0] |= 0xa0a0a0a0u;
        word[1] = word[0];
        word[2] = (word[2] & 0x0f0f0f0fu) * 0x11;
        memcpy(out + i + 4, word, sizeof word);
        ds4_store_u16(out + i, codes[0]);
        ds4_store_u16(out + i + 2, codes[1]);
    }
}

/* Different experts in each row. */
static void fill_experts(int32_t *out, uint64_t n_rows, uint32_t n_used, uint32_t n_experts,
                         ds4_rng *rng)
{
    for (uint64_t r = 0; r < n_rows; r++, out += n_used) {
        for (uint32_t i = 0; i < n_used;) {
            bool taken = false;
            out[i] = (int32_t)(ds4_rng_next(rng) % n_experts);
            for (uint32_t j = 0; j < i; j++) taken |= out[j] == out[i];
            if (!taken) i++;
        }
    }
}

void synth_fill(void *out, uint64_t n_bytes, const synth_tensor *t, uint32_t n_experts,
                ds4_rng *rng)
{
    if (t->dtype == DS4_F32) {
        fill_f32(out, n_bytes / sizeof(float), t, rng);
        return;
    }
    if (t->dtype == DS4_I32) {
        const uint32_t n_used = (uint32_t)t->dim[0];
        fill_experts(out, n_bytes / synth_unit_bytes(t), n_used, n_experts, rng);
        return;
    }
    fill_bits(out, n_bytes, rng);
    switch (t->dtype) {
    case DS4_F16:     stamp_f16(out, n_bytes, t->scale); break;
    case DS4_Q8_0:    stamp_q8_0(out, n_bytes, t->scale); break;
    case DS4_IQ2_XXS: stamp_iq2_xxs(out, n_bytes, t->scale); break;
    case DS4_T66:     stamp_t66(out, n_bytes, t->scale); break;
    case DS4_Q2_K:    stamp_q2_k(out, n_bytes, t->scale); break;
    case DS4_Q4_K:    stamp_q4_k(out, n_bytes, t->scale); break;
    default:          break;        /* synth_model.c lists no other type */
    }
}
