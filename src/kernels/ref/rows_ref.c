/* rows_ref.c - round and pack vectors in plain C: activations to int8, attention rows to
 * E4M3 and F16, indexer rows to E2M1; and back.
 *
 * The largest magnitude of a block is found on the bits of the floats, where infinity and
 * NaN are above every finite value. A block that holds one gets a scale of NaN and codes
 * of zero, so that it decodes to NaN and is noticed downstream. */
#include "kernels/kernel_init.h"
#include "kernels/blocks.h"

#include <float.h>

enum { FINITE_LIMIT = 0x7f800000, E8M0_NAN = 255 };

static uint32_t max_magnitude_bits(const float *x, size_t n)
{
    uint32_t max = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of_float(x[i]) & 0x7fffffff;
        if (bits > max) max = bits;
    }
    return max;
}

/* q[i] = rint(x[i] / d) with d = amax / 127; returns d. Blocks so small that d would not
 * be a normal float count as zero, since 1/d must stay finite. */
static float quantize_block(int8_t *q, const float *x, size_t n)
{
    const uint32_t max = max_magnitude_bits(x, n);
    const float    d = float_of_bits(max) / 127.0f;

    if (max >= FINITE_LIMIT || d < FLT_MIN) {
        memset(q, 0, n);
        return max >= FINITE_LIMIT ? NAN : 0.0f;
    }
    const float inv = 1.0f / d;         /* |x| * inv stays below 127.5 */
    for (size_t i = 0; i < n; i++) q[i] = (int8_t)rintf(x[i] * inv);
    return d;
}

static void quantize_q32(ds4_q32 *out, const float *x, size_t n)
{
    for (size_t b = 0; b < n / 32; b++) out[b].d = quantize_block(out[b].q, x + 32 * b, 32);
}

static void quantize_q256(ds4_q256 *out, const float *x, size_t n)
{
    for (size_t b = 0; b < n / 256; b++) {
        out[b].d = quantize_block(out[b].q, x + 256 * b, 256);
        for (int j = 0; j < 16; j++) {
            int sum = 0;
            for (int i = 0; i < 16; i++) sum += out[b].q[16 * j + i];
            out[b].sum[j] = (int16_t)sum;
        }
    }
}

/* One E4M3 block: scale 2^ceil(log2(max(amax, 1e-4) / 448)). The quotient is rounded, but
 * never across a power of two: the floats next to 448 * 2^k are 0.57 units or more away. */
static uint8_t pack_e4m3(uint8_t *code, const float *x, size_t n)
{
    const uint32_t max = max_magnitude_bits(x, n);
    const float    amax = float_of_bits(max);

    if (max >= FINITE_LIMIT) {
        memset(code, 0, n);
        return E8M0_NAN;
    }
    const uint8_t e = e8m0_ceil((amax > 1e-4f ? amax : 1e-4f) / 448.0f);
    const float   inv = e8m0_to_float((uint8_t)(254 - e));
    for (size_t i = 0; i < n; i++) code[i] = float_to_e4m3(x[i] * inv);
    return e;
}

static void kv_pack(void *row, const float *x, uint32_t n_nope, uint32_t n_rot)
{
    uint8_t *code = row, *scale = code + n_nope;
    uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);

    for (uint32_t i = 0; i < n_nope; i += 64) {
        const uint32_t n = n_nope - i < 64 ? n_nope - i : 64;
        *scale++ = pack_e4m3(code + i, x + i, n);
    }
    while (scale < rot) *scale++ = 0;
    for (uint32_t i = 0; i < n_rot; i++) {
        const uint16_t h = float_to_half(x[n_nope + i]);
        memcpy(rot + 2 * i, &h, sizeof h);
    }
}

static void kv_unpack(float *x, const void *row, uint32_t n_nope, uint32_t n_rot)
{
    const uint8_t *code = row, *scale = code + n_nope;
    const uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);

    for (uint32_t i = 0; i < n_nope; i++)
        x[i] = e4m3_to_float(code[i]) * e8m0_to_float(scale[i / 64]);
    for (uint32_t i = 0; i < n_rot; i++) x[n_nope + i] = load_half(rot + 2 * i);
}

/* One E2M1 block of 32: scale 2^ceil(log2(max(amax, 6 * 2^-126) / 6)). As for E4M3, the
 * rounded quotient stays on its side of every power of two. */
static uint8_t pack_e2m1(uint8_t *code, const float *x)
{
    const uint32_t max = max_magnitude_bits(x, 32);
    const float    amax = float_of_bits(max), least = 6.0f * 0x1p-126f;

    if (max >= FINITE_LIMIT) {
        memset(code, 0, 16);
        return E8M0_NAN;
    }
    const uint8_t e = e8m0_ceil((amax > least ? amax : least) / 6.0f);
    const float   inv = e8m0_to_float((uint8_t)(254 - e));
    for (int i = 0; i < 16; i++) {
        const unsigned low = float_to_e2m1(x[2 * i] * inv),
                       high = float_to_e2m1(x[2 * i + 1] * inv);
        code[i] = (uint8_t)(low | high << 4);
    }
    return e;
}

static void index_pack(void *row, const float *x, uint32_t n)
{
    uint8_t *code = row, *scale = code + n / 2;
    for (uint32_t b = 0; b < n / 32; b++) scale[b] = pack_e2m1(code + 16 * b, x + 32 * b);
}

static void index_unpack(float *x, const void *row, uint32_t n)
{
    const uint8_t *code = row, *scale = code + n / 2;
    for (uint32_t i = 0; i < n / 2; i++) {
        const float d = e8m0_to_float(scale[i / 16]);
        x[2 * i] = e2m1_to_float(code[i] & 15) * d;
        x[2 * i + 1] = e2m1_to_float(code[i] >> 4) * d;
    }
}

void ds4_kernels_ref_rows(ds4_kernels *k)
{
    k->quantize_q32 = quantize_q32;
    k->quantize_q256 = quantize_q256;
    k->kv_pack = kv_pack;
    k->kv_unpack = kv_unpack;
    k->index_pack = index_pack;
    k->index_unpack = index_unpack;
}
